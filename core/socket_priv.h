/* SPDX-License-Identifier: MIT */
/* What core asks of the system's sockets and clocks in more than one place, without any loop. */
#ifndef PEAPOD_SOCKET_PRIV_H
#define PEAPOD_SOCKET_PRIV_H

#include "addr_priv.h"

#ifndef MSG_MORE
#define MSG_MORE 0 /* more segments: no harm */
#endif
#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* such systems have SO_NOSIGPIPE instead: see pea__socket_ready() */
#endif

/* Sets CLOEXEC and NONBLOCK, and no delay on TCP. PEA_OK | PEA_E_SYS */
PEA_MUST_CHECK pea_err pea__socket_ready(int fd, const pea_addr *addr, pea_error *why);

/* accept() on a socket that is ready in this sense. A descriptor, or -1 and errno; it is ready as well after
 * pea__socket_accepted(): PEA_OK | PEA_E_SYS */
int pea__socket_accept(int listener, struct sockaddr_storage *from, socklen_t *len);
PEA_MUST_CHECK pea_err pea__socket_accepted(int fd, const pea_addr *from, pea_error *why);

/* A new socket that begins to connect. `*result` is what connect() said: 0, EINPROGRESS or an error. PEA_OK |
 * PEA_E_SYS */
PEA_MUST_CHECK pea_err pea__socket_dial(const pea_addr *addr, int *fd, int *result, pea_error *why);

/* The same with a socket of the caller's, which may be bound, or connected already. It stays the caller's.
 * PEA_OK | PEA_E_INVALID (no stream socket of that family) | PEA_E_SYS */
PEA_MUST_CHECK pea_err pea__socket_dial_with(int fd, const pea_addr *addr, int *result, pea_error *why);

/* How a dial in progress went, once the socket is writable: 0 or an error. */
int pea__socket_dialled(int fd);

/* Whether this errno of recv() or send() only says "later". */
bool pea__would_block(int sys);

/* Whether this errno of accept() says that descriptors or memory are exhausted: accepting again at once would spin. */
bool pea__exhausted(int sys);

/* Milliseconds: monotonic, and since 1970. */
int64_t pea__now_ms(void);
int64_t pea__wall_ms(void);

/* Milliseconds that the calling thread has worked: a system call. */
int64_t pea__work_ms(void);

/* A pipe of the system's, for one thread to wake another: it does not block, and is closed on exec. PEA_OK |
 * PEA_E_SYS */
PEA_MUST_CHECK pea_err pea__fds_open(int fds[2], pea_error *why);
void pea__fds_close(const int fds[2]);

#endif
