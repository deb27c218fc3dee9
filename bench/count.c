/* SPDX-License-Identifier: MIT */
/* The counters: see count.h. The program has its own read(), send(), epoll_wait() and the like, which the dynamic
 * linker gives to libev and all other libraries as well: each counts and then asks the kernel. What is not here is not
 * counted: no steady traffic calls it (strace -c says the same). The clock is read without the kernel. */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE
#endif
#include "count.h"

#include <peapod/buf.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "two.h"

typedef struct shared_count {
    _Alignas(64) count n; /* a cache line for each process */
} shared_count;

static shared_count *shared; /* of the receiver, of the sender; each only ever written by one process */

static count nobody, *mine = &nobody;

/* ---- Allocations ---- */

static void *reallocate(void *arg, void *ptr, size_t size)
{
    (void)arg;
    mine->allocations++;
    return realloc(ptr, size);
}

static void release(void *arg, void *ptr)
{
    (void)arg;
    free(ptr);
}

void count_begin(void)
{
    shared = mmap(NULL, 2 * sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        two_fail("mmap");
    mine = &shared[0].n;
    if (pea_set_allocator(&(pea_allocator){reallocate, release, NULL}) != PEA_OK)
        two_fail("pea_set_allocator");
}

void count_as_sender(void)
{
    mine = &shared[1].n;
}

count count_now(void)
{
    volatile const count *a = &shared[0].n, *b = &shared[1].n;
    return (count){a->syscalls + b->syscalls, a->allocations + b->allocations, a->writes + b->writes};
}

/* ---- System calls ---- */

#ifdef __linux__
#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define SEEN __attribute__((visibility("default"))) /* by the dynamic linker */

SEEN ssize_t read(int fd, void *data, size_t len)
{
    mine->syscalls++;
    return syscall(SYS_read, fd, data, len);
}

SEEN ssize_t write(int fd, const void *data, size_t len)
{
    mine->syscalls++;
    mine->writes++;
    return syscall(SYS_write, fd, data, len);
}

SEEN ssize_t readv(int fd, const struct iovec *parts, int n)
{
    mine->syscalls++;
    return syscall(SYS_readv, fd, parts, n);
}

SEEN ssize_t writev(int fd, const struct iovec *parts, int n)
{
    mine->syscalls++;
    mine->writes++;
    return syscall(SYS_writev, fd, parts, n);
}

SEEN ssize_t recv(int fd, void *data, size_t len, int flags)
{
    mine->syscalls++;
    return syscall(SYS_recvfrom, fd, data, len, flags, NULL, NULL);
}

SEEN ssize_t send(int fd, const void *data, size_t len, int flags)
{
    mine->syscalls++;
    mine->writes++;
    return syscall(SYS_sendto, fd, data, len, flags, NULL, 0);
}

SEEN ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    mine->syscalls++;
    return syscall(SYS_recvmsg, fd, message, flags);
}

SEEN ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    mine->syscalls++;
    mine->writes++;
    return syscall(SYS_sendmsg, fd, message, flags);
}

SEEN int epoll_wait(int fd, struct epoll_event *events, int n, int timeout)
{
    mine->syscalls++;
    return (int)syscall(SYS_epoll_pwait, fd, events, n, timeout, NULL, 8);
}

SEEN int epoll_ctl(int fd, int what, int of, struct epoll_event *event)
{
    mine->syscalls++;
    return (int)syscall(SYS_epoll_ctl, fd, what, of, event);
}

SEEN int poll(struct pollfd *fds, nfds_t n, int timeout)
{
    struct timespec until = {timeout / 1000, (long)(timeout % 1000) * 1000000};
    mine->syscalls++;
    return ppoll(fds, n, timeout < 0 ? NULL : &until, NULL);
}
#endif
