/* SPDX-License-Identifier: MIT */
/* The `peapod` program: its commands, and that what they printed has arrived. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tool_priv.h"

static const tool_command commands[] = {
    {"keygen", "make a key, and print the id that others know it by", tool_keygen},
    {"id", "print the id and fingerprint of a key, certificate or network key", tool_id},
    {"cert", "certificates for Noise: issue FILE|ID, show FILE", tool_cert},
    {"trust", "look at rules: lint FILE, check FILE PEER", tool_trust},
    {"probe", "say what an endpoint speaks, who it is, and whether it admits us", tool_probe},
    /* What carries bytes: */
    {"listen", "wait for a peer: its bytes to standard output, standard input to it", tool_listen},
    {"connect", "the same with a peer that listens", tool_connect},
    {"forward", "plain connections to a service through authenticated ones", tool_forward},
    {"mesh", "take part in the mesh that a file describes", tool_mesh},
    {NULL, NULL, NULL},
};

static int version(void)
{
    printf("peapod %s (TLS: %s)\n", pea_version_string(), pea_tls_library());
    return TOOL_OK;
}

/* Whoever started us may have closed one of the three. The next socket would get its number, and what is printed would
 * go to a peer in the clear: so the number is taken, by what fails where it is used. False: it cannot be. */
static bool hold_standard(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
            return false;
    return true;
}

int main(int argc, char **argv)
{
    char name[] = "peapod"; /* however it was called: that is what its manual calls it */
    int status;
    if (!hold_standard())
        return TOOL_FAILED;
    tool_name(name);
    argv[0] = name;
    if (argc > 1 && (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0))
        status = version();
    else
        status = tool_dispatch(commands, argc, argv);
    if (fflush(stdout) != 0 || ferror(stdout))
        return tool_fail(TOOL_FAILED, "what was printed could not be written: %s", strerror(errno));
    return status;
}
