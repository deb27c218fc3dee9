/* SPDX-License-Identifier: MIT */
/* Sockets and clocks, for whoever drives a pipe: with libev or without. Listening is listen_socket.c's business. */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* accept4(), pipe2() */
#endif
#include "socket_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "err_priv.h"

static pea_err option(int fd, int level, int name, const char *what, pea_error *why)
{
    int on = 1;
    return setsockopt(fd, level, name, &on, sizeof on) == 0 ? PEA_OK : pea__error_sys(why, errno, what);
}

static pea_err set_options(int fd, const pea_addr *addr, pea_error *why)
{
#ifdef SO_NOSIGPIPE
    pea_err quiet = option(fd, SOL_SOCKET, SO_NOSIGPIPE, "SO_NOSIGPIPE", why);
    if (quiet != PEA_OK)
        return quiet;
#endif
    if (addr->family == PEA_ADDR_UNIX)
        return PEA_OK;
    return option(fd, IPPROTO_TCP, TCP_NODELAY, "TCP_NODELAY",
                  why); /* what is sent together is written together already */
}

pea_err pea__socket_ready(int fd, const pea_addr *addr, pea_error *why)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
        return pea__error_sys(why, errno, "fcntl");
    return set_options(fd, addr, why);
}

/* ---- Accepting ---- */

int pea__socket_accept(int listener, struct sockaddr_storage *from, socklen_t *len)
{
#ifdef __linux__
    return accept4(listener, (struct sockaddr *)from, len, SOCK_CLOEXEC | SOCK_NONBLOCK);
#else
    return accept(listener, (struct sockaddr *)from, len);
#endif
}

pea_err pea__socket_accepted(int fd, const pea_addr *from, pea_error *why)
{
#ifdef __linux__ /* options are inherited from the socket that listens */
    (void)fd, (void)from, (void)why;
    return PEA_OK;
#else
    return pea__socket_ready(fd, from, why);
#endif
}

/* ---- Dialling ---- */

/* One that socket() made, as PEA__STREAM. */
static pea_err ready_anew(int fd, const pea_addr *addr, pea_error *why)
{
#ifdef SOCK_CLOEXEC
    return set_options(fd, addr, why);
#else
    return pea__socket_ready(fd, addr, why);
#endif
}

/* 0, EINPROGRESS or an error. */
static int begin_connect(int fd, const struct sockaddr_storage *to, socklen_t len)
{
    if (connect(fd, (const struct sockaddr *)to, len) == 0 || errno == EISCONN)
        return 0;
    return errno == EINTR ? EINPROGRESS : errno; /* it goes on by itself */
}

pea_err pea__socket_dial(const pea_addr *addr, int *fd, int *result, pea_error *why)
{
    struct sockaddr_storage to;
    socklen_t len = pea__addr_to_socket(addr, &to);
    *fd = socket(to.ss_family, PEA__STREAM, 0);
    if (*fd < 0)
        return pea__error_sys(why, errno, "socket");
    pea_err err = ready_anew(*fd, addr, why);
    if (err != PEA_OK) {
        close(*fd);
        return err;
    }
    *result = begin_connect(*fd, &to, len);
    return PEA_OK;
}

pea_err pea__socket_dial_with(int fd, const pea_addr *addr, int *result, pea_error *why)
{
    struct sockaddr_storage to, own;
    socklen_t len = pea__addr_to_socket(addr, &to), own_len = sizeof own, type_len = sizeof(int);
    int type = 0;
    memset(&own, 0, sizeof own);
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len) != 0 ||
        getsockname(fd, (struct sockaddr *)&own, &own_len) != 0)
        return pea__error_sys(why, errno, "the descriptor");
    if (type != SOCK_STREAM || own.ss_family != to.ss_family)
        return pea__errorf(why, PEA_E_INVALID, "descriptor %d is no stream socket of this address's family", fd);
    pea_err err = pea__socket_ready(fd, addr, why);
    if (err == PEA_OK)
        *result = begin_connect(fd, &to, len);
    return err;
}

int pea__socket_dialled(int fd)
{
    int sys = 0;
    socklen_t len = sizeof sys;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &sys, &len) == 0 ? sys : errno;
}

bool pea__would_block(int sys)
{
#if EAGAIN != EWOULDBLOCK
    if (sys == EWOULDBLOCK)
        return true;
#endif
    return sys == EAGAIN;
}

bool pea__exhausted(int sys)
{
    return sys == EMFILE || sys == ENFILE || sys == ENOBUFS || sys == ENOMEM;
}

/* ---- Clocks and pipes ---- */

static int64_t clock_ms(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t pea__now_ms(void)
{
    return clock_ms(CLOCK_MONOTONIC);
}

int64_t pea__wall_ms(void)
{
    return clock_ms(CLOCK_REALTIME);
}

int64_t pea__work_ms(void)
{
    return clock_ms(CLOCK_THREAD_CPUTIME_ID);
}

void pea__fds_close(const int fds[2])
{
    close(fds[0]);
    close(fds[1]);
}

pea_err pea__fds_open(int fds[2], pea_error *why)
{
#if defined(__linux__)
    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0)
        return pea__error_sys(why, errno, "pipe");
#else
    if (pipe(fds) != 0)
        return pea__error_sys(why, errno, "pipe");
    for (int i = 0; i < 2; i++)
        if (fcntl(fds[i], F_SETFL, O_NONBLOCK) != 0 || fcntl(fds[i], F_SETFD, FD_CLOEXEC) != 0) {
            pea_err err = pea__error_sys(why, errno, "fcntl");
            pea__fds_close(fds);
            return err;
        }
#endif
    return PEA_OK;
}
