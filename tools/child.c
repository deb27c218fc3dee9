/* SPDX-License-Identifier: MIT */
/* The command of --exec: one process for each connection, between two pipes, in a process group of its own. */
#include "child_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

#define N_SAID 4u /* what the command is told of its peer */

/* Ours does not block, and does not survive an exec; the other is the command's. */
static bool make_pipe(int *ours, int *theirs, bool ours_writes)
{
    int fds[2];
    if (pipe(fds) != 0)
        return false;
    *ours = fds[ours_writes];
    *theirs = fds[!ours_writes];
    for (int i = 0; i < 2; i++)
        (void)fcntl(fds[i], F_SETFD, FD_CLOEXEC);
    (void)fcntl(*ours, F_SETFL, fcntl(*ours, F_GETFL) | O_NONBLOCK);
    return true;
}

static char *variable(const char *name, const char *value)
{
    size_t size = strlen(name) + strlen(value) + 2;
    char *text = malloc(size);
    if (text != NULL)
        (void)snprintf(text, size, "%s=%s", name, value);
    return text;
}

/* The environment of the command: ours, and behind it who is at the other end. NULL: memory is exhausted. */
static char **environment(const pea_conn_info *who, char *said[N_SAID])
{
    char id[PEA_PEER_TEXT_BYTES], addr[PEA_ADDR_TEXT_BYTES];
    size_t n = 0, kept = 0;
    said[0] = variable("PEAPOD_ID", pea_peer_format(&who->peer, id));
    said[1] = variable("PEAPOD_NAME", who->peer.name);
    said[2] = variable("PEAPOD_ROLE", who->peer.role);
    said[3] = variable("PEAPOD_ADDRESS", pea_addr_format(&who->remote, addr));
    while (environ[n] != NULL)
        n++;
    char **all = malloc((n + N_SAID + 1) * sizeof *all);
    for (size_t i = 0; all != NULL && i < n; i++) /* what we were told ourselves is not passed on */
        if (strncmp(environ[i], "PEAPOD_", strlen("PEAPOD_")) != 0)
            all[kept++] = environ[i];
    for (size_t i = 0; all != NULL && i < N_SAID; i++) {
        if (said[i] == NULL) {
            free(all);
            return NULL;
        }
        all[kept + i] = said[i];
    }
    if (all != NULL)
        all[kept + N_SAID] = NULL;
    return all;
}

/* Returns an errno. */
static int spawn(pid_t *pid, const char *command, const pea_conn_info *who, int in, int out)
{
    char *said[N_SAID] = {NULL};
    char sh[] = "sh", dash_c[] = "-c";
    union {
        const char *in;
        char *out;
    } unconst = {.in = command}; /* nobody writes through it */
    char *argv[] = {sh, dash_c, unconst.out, NULL};
    char **env = environment(who, said);
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, defaults;
    int err = env == NULL ? ENOMEM : 0;
    (void)sigemptyset(&none);
    (void)sigemptyset(&defaults);
    (void)sigaddset(&defaults, SIGPIPE); /* which we ignore */
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawnattr_init(&attributes);
    if (err == 0)
        err = posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
    if (err == 0)
        err = posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    if (err == 0)
        err = posix_spawnattr_setflags(&attributes,
                                       POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    if (err == 0)
        err = posix_spawnattr_setsigdefault(&attributes, &defaults);
    if (err == 0)
        err = posix_spawnattr_setsigmask(&attributes, &none);
    if (err == 0)
        err = posix_spawn(pid, "/bin/sh", &actions, &attributes, argv, env);
    (void)posix_spawnattr_destroy(&attributes);
    (void)posix_spawn_file_actions_destroy(&actions);
    for (size_t i = 0; i < N_SAID; i++)
        free(said[i]);
    free(env);
    return err;
}

bool tool_child_start(tool_child *child, const char *command, const pea_conn_info *who)
{
    int ours[2] = {-1, -1}, theirs[2] = {-1, -1};
    int err = make_pipe(&ours[0], &theirs[0], true) && make_pipe(&ours[1], &theirs[1], false) ? 0 : errno;
    if (err == 0)
        err = spawn(&child->pid, command, who, theirs[0], theirs[1]);
    for (int i = 0; i < 2; i++)
        if (theirs[i] >= 0)
            (void)close(theirs[i]);
    if (err == 0) {
        tool_end_own(&child->to, ours[0], false);
        tool_end_own(&child->from, ours[1], false);
        return true;
    }
    for (int i = 0; i < 2; i++)
        if (ours[i] >= 0)
            (void)close(ours[i]);
    errno = err;
    return false;
}

bool tool_child_failed(int status, char *text, size_t size)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return false;
    if (WIFEXITED(status))
        (void)snprintf(text, size, "the command ended with status %d", WEXITSTATUS(status));
    else
        (void)snprintf(text, size, "the command was ended by signal %d", WTERMSIG(status));
    return true;
}

void tool_child_end(const tool_child *child)
{
    (void)kill(-child->pid, SIGTERM);
}
