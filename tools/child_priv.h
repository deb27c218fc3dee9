/* SPDX-License-Identifier: MIT */
/* The command of --exec. */
#ifndef PEAPOD_CHILD_PRIV_H
#define PEAPOD_CHILD_PRIV_H

#include "stream_priv.h"

typedef struct tool_child {
    pid_t pid;         /* of `sh -c COMMAND`, and of its process group */
    tool_end to, from; /* its standard input and output */
} tool_child;

/* Starts it, with PEAPOD_ID, PEAPOD_NAME, PEAPOD_ROLE and PEAPOD_ADDRESS in its environment. False, with errno: it was
 * not started. */
bool tool_child_start(tool_child *child, const char *command, const pea_conn_info *who);

/* Whether it failed, by what waitpid(2) said of it, and as a sentence. */
bool tool_child_failed(int status, char *text, size_t size);

/* Tells its whole process group to end (SIGTERM): before its input is closed, so that it does not take what was cut
 * short for all there is. It has not been waited for yet. */
void tool_child_end(const tool_child *child);

#endif
