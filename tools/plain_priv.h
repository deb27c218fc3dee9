/* SPDX-License-Identifier: MIT */
/* Plain sockets: the side of `forward` that knows nothing of peapod. */
#ifndef PEAPOD_PLAIN_PRIV_H
#define PEAPOD_PLAIN_PRIV_H

#include <stdbool.h>
#include <sys/socket.h>

#include "tool_priv.h"

/* Where a service is, or shall be. */
typedef struct tool_plain {
    pea_addr addr; /* for people */
    struct sockaddr_storage to;
    socklen_t len;
} tool_plain;

/* "127.0.0.1:5432", "[::1]:5432", "unix:/run/x", "unix:@x", and "localhost:5432": a name is asked for now, once,
 * and its first address taken. TOOL_OK | another status, and the error is printed */
int tool_plain_parse(tool_plain *plain, const char *text);

/* Begins to connect. The descriptor, with *sys 0 or EINPROGRESS, else -1 with *sys why; EAGAIN: a Unix socket
 * whose queue is full, to be tried again. */
int tool_plain_connect(const tool_plain *plain, int *sys);

/* Whether it is connected now: 0, or an errno. */
int tool_plain_connected(int fd);

/* Listens; writes where to plain->addr, with the real port. -1: and the error is printed. */
int tool_plain_listen(tool_plain *plain);

/* One connection; -1 with errno. */
int tool_plain_accept(int fd);

/* Closes what tool_plain_listen() made, and removes its file. */
void tool_plain_unlisten(const tool_plain *plain, int fd);

#endif
