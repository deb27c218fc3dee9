/* SPDX-License-Identifier: MIT */
/* Descriptors that others gave us, read and written without ever blocking the loop. Whether a descriptor blocks belongs
 * to the open file, which we share with whoever started us (a shell and its terminal): it is never changed here. */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* F_SETPIPE_SZ */
#endif
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "stream_priv.h"

#define PIPE_BYTES (1 << 20) /* what Linux gives a pipe without privileges: fewer turns between the two processes */

/* A pipe or terminal is opened once more, as an open file of our own, for no more than it was opened for. Where the
 * system has no such paths, or does not allow it, the one that is there is used, in steps that do not block after
 * poll(2) said so. */
static int open_anew(int fd, bool writes)
{
    char path[64];
    int mode = fcntl(fd, F_GETFL) & O_ACCMODE;
    if (mode != O_RDWR && mode != (writes ? O_WRONLY : O_RDONLY))
        return -1;
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return open(path, (writes ? O_WRONLY : O_RDONLY) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

void tool_end_given(tool_end *end, int fd, bool writes)
{
    struct stat st;
    *end = (tool_end){.fd = fd, .given = fd, .kind = TOOL_END_STEPS};
    if (fstat(fd, &st) != 0)
        return; /* the first read or write says what is wrong */
    if (S_ISREG(st.st_mode)) {
        end->kind = TOOL_END_FILE;
        end->size = st.st_size;
    } else if (S_ISSOCK(st.st_mode)) {
        end->kind = TOOL_END_SOCKET;
    } else {
        int own = open_anew(fd, writes);
        if (own >= 0)
            end->fd = own, end->kind = TOOL_END_PIPE;
        end->terminal = isatty(fd) == 1;
    }
#ifdef F_SETPIPE_SZ
    if (S_ISFIFO(st.st_mode))
        (void)fcntl(end->fd, F_SETPIPE_SZ, PIPE_BYTES); /* a wish */
#endif
}

void tool_end_own(tool_end *end, int fd, bool socket)
{
    *end = (tool_end){.fd = fd, .given = -1, .kind = socket ? TOOL_END_SOCKET : TOOL_END_PIPE};
}

bool tool_end_again(int sys)
{
#if EAGAIN != EWOULDBLOCK
    if (sys == EWOULDBLOCK)
        return true;
#endif
    return sys == EAGAIN;
}

ssize_t tool_end_read(const tool_end *end, void *data, size_t len)
{
    ssize_t n;
    do
        n = end->kind == TOOL_END_SOCKET ? recv(end->fd, data, len, MSG_DONTWAIT) : read(end->fd, data, len);
    while (n < 0 && errno == EINTR);
    return n;
}

ssize_t tool_end_write(const tool_end *end, const void *data, size_t len)
{
    ssize_t n;
    if (end->kind == TOOL_END_STEPS && len > PIPE_BUF)
        len = PIPE_BUF; /* there is room for so much when a pipe can be written at all */
    do
        n = end->kind == TOOL_END_SOCKET ? send(end->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL)
                                         : write(end->fd, data, len);
    while (n < 0 && errno == EINTR);
    return n;
}

/* A number that is ours for good (stdin, stdout) is not left free: the next socket would get it. */
static bool give_back(int fd)
{
    bool closed = close(fd) == 0;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0 && null != fd) {
        (void)dup2(null, fd);
        (void)close(null);
    }
    return closed;
}

bool tool_end_close(tool_end *end)
{
    bool closed = true;
    if (end->fd >= 0 && end->fd != end->given)
        closed = close(end->fd) == 0;
    if (end->given >= 0)
        closed = give_back(end->given) && closed;
    end->fd = end->given = -1;
    return closed;
}
