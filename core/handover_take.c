/* SPDX-License-Identifier: MIT */
/* The successor of a hand-over: asks for a predecessor's listening sockets, listens on them, and says so. It blocks, up
 * to a deadline: a node that does not listen yet has nothing else to do. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "err_priv.h"
#include "handover_priv.h"
#include "peapod/handover.h"
#include "socket_priv.h"

#ifndef MSG_CMSG_CLOEXEC
#define MSG_CMSG_CLOEXEC 0 /* pea_node_listen() sets it, a moment later */
#endif

typedef struct taking {
    pea_node *node;
    pea_take_opts opts;
    int fd;           /* to the predecessor */
    int64_t deadline; /* of pea__now_ms() */
    pea__handover_msg m;
    size_t got;                     /* of m.bytes */
    int sockets[PEA__HANDOVER_MAX]; /* -1: it belongs to a listener, or is closed */
    unsigned n_sockets;
} taking;

/* ---- Receiving ---- */

/* PEA_OK: there is something to read | PEA_E_TIMEOUT | PEA_E_SYS */
static pea_err wait_for(const taking *t, pea_error *why)
{
    for (;;) {
        int64_t left = t->deadline - pea__now_ms();
        struct pollfd at = {.fd = t->fd, .events = POLLIN};
        int n = left > 0 ? poll(&at, 1, left < INT32_MAX ? (int)left : INT32_MAX) : 0;
        if (n > 0)
            return PEA_OK;
        if (n == 0 && t->deadline <= pea__now_ms())
            return pea__error(why, PEA_E_TIMEOUT, "the predecessor does not answer");
        if (n < 0 && errno != EINTR)
            return pea__error_sys(why, errno, "poll");
    }
}

static void keep_sockets(taking *t, struct msghdr *h)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c != NULL; c = CMSG_NXTHDR(h, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            if (t->n_sockets < PEA__HANDOVER_MAX)
                t->sockets[t->n_sockets++] = fd;
            else
                close(fd);
        }
    }
}

/* One recvmsg(). PEA_OK: something came, or nothing for now */
static pea_err receive_some(taking *t, size_t want, pea_error *why)
{
    struct iovec bytes = {t->m.bytes + t->got, want - t->got};
    struct msghdr h = {
        .msg_iov = &bytes, .msg_iovlen = 1, .msg_control = t->m.control, .msg_controllen = sizeof t->m.control};
    ssize_t n = recvmsg(t->fd, &h, MSG_CMSG_CLOEXEC);
    if (n < 0)
        return pea__would_block(errno) || errno == EINTR ? PEA_OK : pea__error_sys(why, errno, "recvmsg");
    keep_sockets(t, &h);
    if (n == 0)
        return pea__error(why, PEA_E_PROTO, "the predecessor hung up: its log says why");
    t->got += (size_t)n;
    if ((h.msg_flags & MSG_CTRUNC) != 0)
        return pea__error(why, PEA_E_SYS, "not all sockets could be taken: too few descriptors are allowed");
    return PEA_OK;
}

static pea_err receive_until(taking *t, size_t want, pea_error *why)
{
    pea_err err = PEA_OK;
    while (err == PEA_OK && t->got < want) {
        err = wait_for(t, why);
        if (err == PEA_OK)
            err = receive_some(t, want, why);
    }
    return err;
}

static pea_err receive(taking *t, pea_error *why)
{
    static const uint8_t magic[] = PEA__HANDOVER_MAGIC;
    pea_err err = receive_until(t, PEA__HANDOVER_MAGIC_BYTES + 1, why);
    if (err != PEA_OK)
        return err;
    if (memcmp(t->m.bytes, magic, PEA__HANDOVER_MAGIC_BYTES) != 0)
        return pea__error(why, PEA_E_PROTO, "what answered is no predecessor, or of another version");
    unsigned n = t->m.bytes[PEA__HANDOVER_MAGIC_BYTES];
    if (n > PEA__HANDOVER_MAX)
        return pea__errorf(why, PEA_E_PROTO, "the predecessor says that it sends %u sockets: %u are the most", n,
                           PEA__HANDOVER_MAX);
    err = receive_until(t, PEA__HANDOVER_MAGIC_BYTES + 1 + n, why);
    if (err == PEA_OK && t->n_sockets != n)
        err = pea__error(why, PEA_E_PROTO, "the predecessor sent another number of sockets than it said");
    return err;
}

/* ---- Listening ---- */

static pea_err bound_to(int fd, pea_addr *addr, pea_error *why)
{
    struct sockaddr_storage at;
    socklen_t len = sizeof at;
    memset(&at, 0, sizeof at);
    if (getsockname(fd, (struct sockaddr *)&at, &len) != 0)
        return pea__error_sys(why, errno, "getsockname");
    pea__addr_from_socket(addr, &at, len);
    return PEA_OK;
}

static pea_err adopt(taking *t, unsigned i, pea_listener **listener, pea_error *why)
{
    pea_listen_opts o = PEA_LISTEN_INIT;
    pea_addr addr;
    *listener = NULL;
    pea_err err = bound_to(t->sockets[i], &addr, why);
    if (err != PEA_OK)
        return err;
    if (t->opts.choose != NULL && !t->opts.choose(t->opts.arg, &addr, &o))
        return PEA_OK;
    o.fd = fcntl(t->sockets[i], F_DUPFD_CLOEXEC, 3); /* never 0, which would mean none */
    if (o.fd < 0)
        return pea__error_sys(why, errno, "fcntl");
    err = pea_node_listen(t->node, NULL, &o, listener, why);
    if (err != PEA_OK)
        close(o.fd);
    return err;
}

static pea_err say_taken(const taking *t, pea_error *why)
{
    if (send(t->fd, (const char[]){PEA__HANDOVER_TAKEN}, 1, MSG_NOSIGNAL) == 1)
        return PEA_OK;
    if (errno == EPIPE || errno == ECONNRESET)
        return pea__error(why, PEA_E_NOT_FOUND, "the predecessor took its offer back");
    return pea__error_sys(why, errno, "the predecessor");
}

/* Of a Unix socket that is ours now, and on which nobody will listen. */
static void remove_file(int fd)
{
    pea_addr addr;
    if (bound_to(fd, &addr, NULL) == PEA_OK)
        pea__listen_socket_unlink(&addr);
}

static pea_err listen_on_all(taking *t, pea_error *why)
{
    pea_listener *listeners[PEA__HANDOVER_MAX];
    pea_err err = PEA_OK;
    unsigned n = 0;
    for (; n < t->n_sockets && err == PEA_OK; n++)
        err = adopt(t, n, &listeners[n], why);
    if (err == PEA_OK)
        err = say_taken(t, why);
    for (unsigned i = 0; i < n; i++) {
        bool owns_file = err == PEA_OK && t->m.bytes[PEA__HANDOVER_MAGIC_BYTES + 1 + i] == PEA__OWNS_FILE;
        if (listeners[i] != NULL) /* else it is not wanted; or the one that failed */
            listeners[i]->bound_here = owns_file;
        else if (owns_file)
            remove_file(t->sockets[i]);
        if (listeners[i] != NULL && err != PEA_OK)
            pea_node_unlisten(t->node, listeners[i]);
    }
    return err;
}

/* It says that it has gone, or goes without a word: the sockets are ours in any case. */
static void await_end(const taking *t)
{
    char said;
    while (wait_for(t, NULL) == PEA_OK && recv(t->fd, &said, 1, 0) < 0 && (pea__would_block(errno) || errno == EINTR))
        continue;
}

/* ---- The call ---- */

static pea_err dial(const pea_addr *addr, int *fd, pea_error *why)
{
    int result;
    pea_err err = pea__socket_dial(addr, fd, &result, why);
    if (err != PEA_OK)
        return err;
    if (result == 0)
        err = pea__handover_same_user(*fd, why);
    else if (result == ENOENT || result == ECONNREFUSED)
        err = pea__errorf(why, PEA_E_NOT_FOUND, "nobody offers listeners at %s", addr->u.path);
    else
        err = pea__error_sys(why, result, addr->u.path);
    if (err != PEA_OK)
        close(*fd);
    return err;
}

static pea_err take(taking *t, pea_error *why)
{
    pea_err err = receive(t, why);
    if (err == PEA_OK)
        err = listen_on_all(t, why);
    for (unsigned i = 0; i < t->n_sockets; i++)
        close(t->sockets[i]); /* listeners have copies */
    if (err == PEA_OK)
        await_end(t);
    if (err == PEA_OK && t->n_sockets == 0)
        err = pea__error(why, PEA_E_NOT_FOUND, "the predecessor listened nowhere");
    return err;
}

pea_err pea_handover_take(pea_node *node, const char *path, const pea_take_opts *opts, pea_error *why)
{
    taking t = {.node = node, .opts = PEA_TAKE_INIT};
    pea_addr addr;
    if (pea__forked(node->runtime))
        return pea__error(why, PEA_E_FORKED, NULL);
    pea_err err = pea__options(&t.opts, sizeof t.opts, opts, why);
    if (err == PEA_OK)
        err = pea__handover_addr(path, &addr, why);
    if (err == PEA_OK)
        err = dial(&addr, &t.fd, why);
    if (err != PEA_OK)
        return err;
    t.deadline = pea__now_ms() + (t.opts.timeout_ms != 0 ? t.opts.timeout_ms : 5000);
    err = take(&t, why);
    close(t.fd);
    return err;
}
