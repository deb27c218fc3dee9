/* SPDX-License-Identifier: MIT */
/* The `peapod` program: finds the command, runs it, and sees to it that what was printed has arrived. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tool_priv.h"

static const tool_command commands[] = {
    {"keygen", "make a key, and print the id that others know it by", tool_keygen},
    {"id", "print the id and fingerprint of a key, certificate or id", tool_id},
    /* What carries bytes: */
};

#define N_COMMANDS (sizeof commands / sizeof commands[0])

static const tool_command *find(const char *name)
{
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static void help(FILE *to)
{
    fprintf(to, "Usage: peapod COMMAND [OPTION...] [ARGUMENT...]\n"
                "Authenticated, encrypted connections between peers that know each other by their keys.\n\n"
                "Commands:\n");
    for (size_t i = 0; i < N_COMMANDS; i++)
        fprintf(to, "  %-9s %s\n", commands[i].name, commands[i].summary);
    fprintf(to, "\n  peapod COMMAND --help   its options, with examples\n"
                "  peapod --version        versions of the program and of the libraries below\n"
                "\nExit status: 0 done, 1 failed, 2 wrong use, 3 the peer refused us, 4 we refused the peer.\n"
                "The manual: man peapod\n");
}

static int version(void)
{
    printf("peapod %s (TLS: %s)\n", pea_version_string(), pea_tls_library());
    return TOOL_OK;
}

static int run(const tool_command *command, int argc, char **argv)
{
    static char name[64]; /* error lines begin with it to the end */
    (void)snprintf(name, sizeof name, "peapod %s", command->name);
    tool_name(name);
    argv[0] = name;
    return command->run(argc, argv);
}

static int dispatch(int argc, char **argv)
{
    const char *first = argc > 1 ? argv[1] : "";
    bool helps = strcmp(first, "help") == 0 || strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0;
    char *help_argv[] = {NULL, (char[]){"--help"}, NULL};
    const tool_command *command = find(helps && argc > 2 ? argv[2] : first);
    if (command != NULL)
        return helps ? run(command, 2, help_argv) : run(command, argc - 1, argv + 1);
    if (strcmp(first, "--version") == 0 || strcmp(first, "-V") == 0)
        return version();
    if (helps && argc <= 2) {
        help(stdout);
        return TOOL_OK;
    }
    if (argc > 1)
        return tool_fail(TOOL_USAGE, "there is no command '%s': `peapod --help` lists them", helps ? argv[2] : first);
    help(stderr);
    return TOOL_USAGE;
}

int main(int argc, char **argv)
{
    tool_name("peapod");
    int status = dispatch(argc, argv);
    if (fflush(stdout) != 0 || ferror(stdout))
        return tool_fail(TOOL_FAILED, "what was printed could not be written: %s", strerror(errno));
    return status;
}
