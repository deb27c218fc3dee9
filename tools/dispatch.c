/* SPDX-License-Identifier: MIT */
/* Commands by name: of the program, and of commands that have some of their own. */
#include <stdio.h>
#include <string.h>

#include "tool_priv.h"

static const tool_command *find(const tool_command *commands, const char *name)
{
    for (; commands->name != NULL; commands++)
        if (strcmp(commands->name, name) == 0)
            return commands;
    return NULL;
}

static void help(FILE *to, const tool_command *commands, const char *name)
{
    bool top = strchr(name, ' ') == NULL;
    fprintf(to, "Usage: %s COMMAND [OPTION...] [ARGUMENT...]\n", name);
    if (top)
        fprintf(to, "Authenticated, encrypted connections between peers that know each other by their keys.\n");
    fprintf(to, "\nCommands:\n");
    for (const tool_command *c = commands; c->name != NULL; c++)
        fprintf(to, "  %-9s %s\n", c->name, c->summary);
    fprintf(to, "\n%s COMMAND --help shows its options, with examples.", name);
    if (top)
        fprintf(to, " %s --version shows versions.", name);
    fprintf(
        to,
        "\nExit status: 0 done, 1 failed, 2 wrong use, 3 the peer refused us, 4 we refused the peer. See peapod(1).\n");
}

static int run(const tool_command *command, const char *above, int argc, char **argv)
{
    char name[64];
    (void)snprintf(name, sizeof name, "%s %s", above, command->name);
    tool_name(name);
    argv[0] = name;
    return command->run(argc, argv);
}

static bool asks_for_help(const char *word)
{
    return strcmp(word, "help") == 0 || strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

int tool_dispatch(const tool_command *commands, int argc, char **argv)
{
    char above[32], help_word[] = "--help";
    const char *word = argc > 1 ? argv[1] : NULL;
    (void)snprintf(above, sizeof above, "%s", argv[0]);
    if (word == NULL) {
        help(stderr, commands, above);
        return TOOL_USAGE;
    }
    if (!asks_for_help(word)) {
        const tool_command *command = find(commands, word);
        return command != NULL ? run(command, above, argc - 1, argv + 1)
                               : tool_fail(TOOL_USAGE, "there is no command '%s': `%s --help` lists them", word, above);
    }
    if (argc == 2) {
        help(stdout, commands, above);
        return TOOL_OK;
    }
    const tool_command *command = find(commands, argv[2]); /* `peapod help trust check` is `peapod trust help check` */
    if (command == NULL)
        return tool_fail(TOOL_USAGE, "there is no command '%s': `%s --help` lists them", argv[2], above);
    argv[2] = help_word;
    return run(command, above, argc - 1, argv + 1);
}
