/* SPDX-License-Identifier: MIT */
/* Between pea_addr and the system's socket addresses. */
#ifndef PEAPOD_ADDR_PRIV_H
#define PEAPOD_ADDR_PRIV_H

#include <sys/socket.h>

#include "peapod/addr.h"

/* A stream socket's type, closed on exec from its first moment where the system can do that;
 * pea__socket_ready() does it elsewhere. */
#ifdef SOCK_CLOEXEC
#define PEA__STREAM (SOCK_STREAM | SOCK_CLOEXEC)
#else
#define PEA__STREAM SOCK_STREAM
#endif

/* An address as connections keep it: few have a path, and there are very many of these. All zero is no address. */
typedef struct pea__place {
    uint8_t family, path_len;
    uint16_t port;
    uint32_t scope;
    uint8_t ip[16];
    pea_addr *whole; /* of a path, or for who asked for it; else NULL */
} pea__place;

/* What was asked for whole follows. PEA_OK | PEA_E_NOMEM (a path alone takes memory), and it is as before */
PEA_MUST_CHECK pea_err pea__place_set(pea__place *place, const pea_addr *addr);
void pea__place_clear(pea__place *place);
pea_addr pea__place_addr(const pea__place *place);
bool pea__place_is(const pea__place *place, const pea_addr *addr); /* pea_addr_equal() */

/* The same until it is cleared, for who asks; no address where there is no memory. */
const pea_addr *pea__place_whole(pea__place *place);

/* 0 to 65535 in decimal digits and nothing else. */
bool pea__port_read(const char *text, uint16_t *port);

/* For bind() and connect(). Returns the length. */
socklen_t pea__addr_to_socket(const pea_addr *addr, struct sockaddr_storage *out);

/* What accept(), getsockname() and getpeername() gave; PEA_ADDR_NONE for a family that we do not speak. */
void pea__addr_from_socket(pea_addr *addr, const struct sockaddr_storage *from, socklen_t len);

#endif
