/* SPDX-License-Identifier: MIT */
/* Between pea_addr and the system's socket addresses. */
#ifndef PEAPOD_ADDR_PRIV_H
#define PEAPOD_ADDR_PRIV_H

#include <sys/socket.h>

#include "peapod/addr.h"

/* A stream socket's type: closed on exec from its first moment, and never waited for, where the system can do that;
 * pea__socket_ready() does it elsewhere. */
#ifdef SOCK_CLOEXEC
#define PEA__STREAM (SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK)
#else
#define PEA__STREAM SOCK_STREAM
#endif

/* 0 to 65535 in decimal digits and nothing else. */
bool pea__port_read(const char *text, uint16_t *port);

/* For bind() and connect(). Returns the length. */
socklen_t pea__addr_to_socket(const pea_addr *addr, struct sockaddr_storage *out);

/* What accept(), getsockname() and getpeername() gave; PEA_ADDR_NONE for a family that we do not speak. */
void pea__addr_from_socket(pea_addr *addr, const struct sockaddr_storage *from, socklen_t len);

#endif
