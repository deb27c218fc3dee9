/* SPDX-License-Identifier: MIT */
/* The blocking client: one outbound connection, a pipe over a socket that poll(2) waits for. No loop, and no thread but
 * for the lookup of a name; listening and many connections are node.h's business. */
#include "peapod/sync.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "err_priv.h"
#include "host_priv.h"
#include "pipe_priv.h"
#include "policy_priv.h"
#include "socket_priv.h"

#define SYNC_SCRATCH_BYTES 65536u /* one read */
#define SYNC_DRAIN_BYTES 8388608u /* read at most of what lies in a socket that cannot be written any more */
#define SYNC_LINGER_MS 2000       /* for the farewell of a connection that never was READY */
#define SYNC_TIMEOUT_DEFAULT_MS 10000u
#define SYNC_RETRY_MS \
    10 /* between two dials of a Unix socket whose backlog is full: nothing else tells when it is not */

/* What a call waits for. */
typedef enum sync_goal { GOAL_READY, GOAL_SENT, GOAL_MESSAGE, GOAL_CLOSED } sync_goal;

struct pea_sync {
    pea_pipe *pipe;
    pea_policy *policy; /* the pipe's, which holds it; NULL: none */
    pid_t pid;          /* the process that made it */
    int fd;
    int write_errno;    /* what send() said; 0: it works */
    bool fin, cut;      /* the peer's stream has ended, or the socket failed */
    bool shut, blocked; /* our writing side is shut down; it is full */
    bool ready, closed; /* what the pipe said */
    bool have;          /* GOAL_MESSAGE: it came: */
    pea_span message;
    pea_buf inbox;    /* messages that came while something else was waited for: a size_t and the bytes of each */
    size_t delivered; /* bytes of the inbox's first message, which the caller looks at */
    uint8_t scratch[SYNC_SCRATCH_BYTES];
};

/* ---- Time ---- */

static int64_t deadline_of(uint32_t timeout_ms)
{
    return timeout_ms == PEA_SYNC_FOREVER ? INT64_MAX : pea__now_ms() + (int64_t)timeout_ms;
}

/* For poll(): milliseconds that are left, 0 when the deadline has passed, -1 where there is none. */
static int left_ms(int64_t deadline)
{
    if (deadline == INT64_MAX)
        return -1;
    int64_t left = deadline - pea__now_ms();
    return left <= 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}

/* The policy sees it as well: nobody else tells it that somebody's time has passed. */
static void tick(pea_sync *s)
{
    int64_t wall_ms = pea__wall_ms();
    if (s->policy != NULL)
        (void)pea__policy_tick(s->policy, wall_ms);
    pea_pipe_tick(s->pipe, pea__now_ms(), wall_ms);
}

/* ---- Events ---- */

/* The connection ends, or has ended: no message is to come but what was kept. */
static bool ending(const pea_sync *s)
{
    return s->closed || pea_pipe_state(s->pipe) >= PEA_CLOSING;
}

/* Keeps a message for a later receive. */
static void keep(pea_sync *s, const pea_event *event)
{
    uint8_t *at = NULL;
    size_t need = sizeof event->len + event->len;
    if (need < event->len || pea_buf_reserve(&s->inbox, need, &at) != PEA_OK) {
        pea_pipe_abort(s->pipe, PEA_BY_READING, PEA_E_NOMEM, "there is no memory to keep a message");
        return;
    }
    memcpy(at, &event->len, sizeof event->len);
    if (event->len > 0)
        memcpy(at + sizeof event->len, event->data, event->len);
    pea_buf_commit(&s->inbox, need);
}

/* Takes events until there are none, or what is waited for came. `bound`: most bytes of messages to keep meanwhile. */
static void pump(pea_sync *s, sync_goal goal, size_t bound)
{
    pea_event event;
    tick(s);
    while (goal == GOAL_MESSAGE || s->inbox.len < bound) {
        if (pea_pipe_next(s->pipe, &event) != PEA_OK)
            return;
        switch (event.type) {
        case PEA_EVENT_READY:
            s->ready = true;
            if (goal == GOAL_READY)
                return; /* what came with it waits in the pipe */
            break;
        case PEA_EVENT_MESSAGE:
            if (goal == GOAL_MESSAGE) {
                s->message = (pea_span){event.data, event.len};
                s->have = true;
                return;
            }
            keep(s, &event);
            break;
        case PEA_EVENT_CLOSED:
            s->closed = true;
            break;
        case PEA_EVENT_DRAIN:
        case PEA_EVENT_END: /* never: half_close is off */
            break;
        }
    }
}

/* ---- Bytes ---- */

static bool wants_read(const pea_sync *s)
{
    return !s->fin && !s->closed && pea_pipe_room(s->pipe) > 0;
}

static void broken(pea_sync *s, pea_origin origin, int sys)
{
    s->cut = true;
    pea_pipe_broken(s->pipe, origin, sys);
}

/* One recv() into the pipe. Returns the bytes that came; 0: none now, or never again. */
static size_t read_once(pea_sync *s)
{
    /* what the pipe borrowed of the scratch would be overwritten */
    if (pea__pipe_hold(s->pipe) != PEA_OK) {
        pea_pipe_abort(s->pipe, PEA_BY_READING, PEA_E_NOMEM, NULL);
        return 0;
    }
    size_t room = pea_pipe_room(s->pipe), taken;
    ssize_t n;
    do
        n = recv(s->fd, s->scratch, room < sizeof s->scratch ? room : sizeof s->scratch, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        if (!pea__would_block(errno))
            broken(s, PEA_BY_READING, errno);
        return 0;
    }
    if (n == 0) {
        s->fin = true;
        if (s->write_errno == 0) /* else it is the end that the failed write told of */
            pea_pipe_feed_end(s->pipe);
        return 0;
    }
    tick(s);
    pea_err err = pea_pipe_feed(s->pipe, s->scratch, (size_t)n, &taken);
    (void)err; /* a failure is the pipe's end, which pump() learns */
    return (size_t)n;
}

/* send() failed. The peer's last words may still lie in the socket: they are read before the error is taken for the
 * reason. */
static void write_failed(pea_sync *s)
{
    size_t n, total = 0;
    do {
        pump(s, GOAL_CLOSED, SIZE_MAX);
        n = wants_read(s) ? read_once(s) : 0;
        total += n;
    } while (n > 0 && total < SYNC_DRAIN_BYTES);
    pump(s, GOAL_CLOSED, SIZE_MAX);
    if (!s->closed)
        broken(s, PEA_BY_WRITING, s->write_errno);
}

static void write_queued(pea_sync *s)
{
    pea_span span;
    s->blocked = false;
    while (s->write_errno == 0) {
        pea_err err = pea_pipe_output(s->pipe, &span);
        if (err == PEA_EOF && !s->shut) {
            s->shut = true;
            shutdown(s->fd, SHUT_WR);
        }
        if (err != PEA_OK)
            return;
        ssize_t n;
        do
            n = send(s->fd, span.data, span.len, MSG_NOSIGNAL);
        while (n < 0 && errno == EINTR);
        if (n < 0) {
            s->blocked = pea__would_block(errno);
            s->write_errno = s->blocked ? 0 : errno;
            return;
        }
        pea_pipe_sent(s->pipe, (size_t)n);
    }
}

/* Writes until there is nothing to write, or the socket is full. */
static void write_out(pea_sync *s)
{
    write_queued(s);
    if (s->write_errno != 0 && !s->closed)
        write_failed(s);
}

/* ---- Waiting ---- */

/* Until the socket can do what is wanted of it. PEA_OK | PEA_E_TIMEOUT */
static pea_err wait_socket(pea_sync *s, int timeout_ms)
{
    struct pollfd p = {.fd = s->fd, .events = 0};
    if (wants_read(s))
        p.events |= POLLIN;
    if (s->blocked || pea__pipe_has_output(s->pipe))
        p.events |= POLLOUT;
    int n = poll(&p, 1, timeout_ms);
    if (n == 0)
        return PEA_E_TIMEOUT;
    if (n < 0 && errno != EINTR)
        broken(s, PEA_BY_READING, errno);
    if (n > 0 && (p.events & POLLIN) != 0 && (p.revents & ~POLLOUT) != 0)
        read_once(s);
    return PEA_OK; /* a signal: the caller looks at the clock again */
}

static bool reached(const pea_sync *s, sync_goal goal)
{
    switch (goal) {
    case GOAL_READY:
        return s->ready || ending(s);
    case GOAL_SENT:
        return !s->blocked || ending(s);
    case GOAL_MESSAGE:
        return ending(s);
    case GOAL_CLOSED:
        break;
    }
    return s->closed;
}

/* A ticket was taken, while the peer came or later, and only the caller could bring the answer: who waits for us. */
static void refuse_to_wait(pea_sync *s)
{
    pea_pipe_abort(s->pipe, PEA_BY_POLICY, PEA_E_UNSUPPORTED,
                   "the policy or a stage wants to answer later, and nobody could bring the answer to a blocking "
                   "client: let it answer at once, or use a node");
    pump(s, GOAL_CLOSED, SIZE_MAX);
}

/* Events, output, then the socket, until what is waited for came or the connection ends. When the deadline has passed,
 * what lies in the socket is still looked at, once: a peer that trickles cannot hold the caller up.
 * PEA_OK | PEA_E_TIMEOUT */
static pea_err run(pea_sync *s, sync_goal goal, int64_t deadline)
{
    s->have = false;
    write_out(s);
    if (goal == GOAL_SENT && reached(s, goal))
        return PEA_OK;
    for (bool late = false;;) {
        pump(s, goal, PEA_SYNC_KEPT_BYTES);
        if (s->have) /* the pipe lends it until it is called again */
            return PEA_OK;
        if (goal != GOAL_CLOSED && pea__pipe_waits(s->pipe))
            refuse_to_wait(s);
        write_out(s);
        if (ending(s)) /* the last word may just have left */
            pump(s, GOAL_CLOSED, SIZE_MAX);
        if (reached(s, goal))
            return PEA_OK;
        int left = left_ms(deadline);
        if (late)
            return PEA_E_TIMEOUT;
        late = left == 0;
        if (wait_socket(s, left) == PEA_E_TIMEOUT && left_ms(deadline) == 0)
            return PEA_E_TIMEOUT;
    }
}

/* ---- Connecting ---- */

static pea_err dial_failed(pea_error *why, const pea_addr *addr, int sys)
{
    char text[PEA_ADDR_TEXT_BYTES + 16] = "connect ";
    pea_addr_format(addr, text + strlen(text));
    return pea__error_sys(why, sys, text);
}

/* A connected socket. PEA_OK | PEA_E_SYS | PEA_E_TIMEOUT */
static pea_err dial(const pea_addr *addr, int64_t deadline, int *fd, pea_error *why)
{
    int sys;
    for (;;) {
        pea_err err = pea__socket_dial(addr, fd, &sys, why);
        if (err != PEA_OK)
            return err;
        if (addr->family != PEA_ADDR_UNIX || !pea__would_block(sys) || left_ms(deadline) == 0)
            break;
        close(*fd);
        (void)poll(NULL, 0, SYNC_RETRY_MS);
    }
    struct pollfd p = {.fd = *fd, .events = POLLOUT};
    int n = 1;
    while (sys == EINPROGRESS && (n = poll(&p, 1, left_ms(deadline))) != 0)
        if (n > 0 || errno != EINTR)
            sys = n > 0 ? pea__socket_dialled(*fd) : errno;
    if (sys == 0)
        return PEA_OK;
    close(*fd);
    if (n == 0 || pea__would_block(sys))
        return pea__error(why, PEA_E_TIMEOUT, "nobody accepted the connection in time");
    return dial_failed(why, addr, sys);
}

/* The addresses in turn, until one is connected: each has the same part of the time that is left. */
static pea_err dial_any(pea_sync *s, const pea__found *found, int64_t deadline, pea_error *why)
{
    pea_err err = PEA_E_NOT_FOUND;
    for (size_t i = 0; i < found->n; i++) {
        int64_t until = deadline, now = pea__now_ms();
        if (deadline != INT64_MAX && deadline > now)
            until = now + (deadline - now) / (int64_t)(found->n - i);
        err = dial(&found->addrs[i], until, &s->fd, why);
        if (err == PEA_OK) {
            pea__pipe_set_remote(s->pipe, &found->addrs[i]);
            return PEA_OK;
        }
        s->fd = -1;
    }
    return err;
}

static void sync_free(pea_sync *s)
{
    if (s == NULL)
        return;
    if (s->fd >= 0)
        close(s->fd);
    pea_pipe_free(s->pipe);
    pea_buf_free(&s->inbox);
    pea__free(s);
}

/* The connection ended before it was READY: our farewell leaves, as far as the time goes, and its reason is told. */
static pea_err handshake_failed(pea_sync *s, int64_t deadline, pea_error *why)
{
    char text[PEA_REASON_TEXT_BYTES];
    int64_t linger = pea__now_ms() + SYNC_LINGER_MS;
    if (!s->closed && run(s, GOAL_CLOSED, linger < deadline ? linger : deadline) != PEA_OK) {
        pea_pipe_abort(s->pipe, PEA_BY_TIMEOUT, PEA_E_TIMEOUT, NULL); /* it keeps the reason that it has */
        pump(s, GOAL_CLOSED, SIZE_MAX);
    }
    const pea_reason *reason = pea_sync_reason(s);
    pea_err err = reason->err < 0 ? reason->err : PEA_E_CLOSED;
    (void)pea__errorf(why, err, "%s", pea_reason_format(reason, text));
    if (why != NULL)
        why->sys = reason->sys;
    return err;
}

static pea_err handshake(pea_sync *s, int64_t deadline, pea_error *why)
{
    pea_err err = run(s, GOAL_READY, deadline);
    if (s->ready && !ending(s))
        return PEA_OK;
    if (err == PEA_E_TIMEOUT)
        pea_pipe_abort(s->pipe, PEA_BY_TIMEOUT, err, "the connection was not ready in time");
    return handshake_failed(s, deadline, why);
}

/* The pipe of a dial; the host is the peer's name, unless the caller says another. */
static pea_err open_pipe(pea_sync *s, const pea__host *host, const pea_addr *remote, pea_sync_opts *o, pea_error *why)
{
    char plain[PEA__HOST_MAX + 1];
    bool by_host = host->name[0] != '\0' && o->name == NULL;
    const char *name = by_host ? pea__host_plain(host, plain) : o->name;
    pea_err err = pea_pipe_new(
        &s->pipe, o->chain,
        PEA_PIPE(.codec = o->codec, .policy = o->policy, .remote = remote, .expect = o->expect, .name = name), why);
    if (err == PEA_OK && by_host)
        pea__pipe_name_has_port(s->pipe);
    if (err == PEA_OK)
        s->policy = o->policy;
    return err;
}

pea_err pea_sync_connect(pea_sync **sync, const char *addr, const pea_sync_opts *opts, pea_error *why)
{
    pea_sync_opts o = PEA_SYNC_INIT;
    pea__host host = {.port = 0};
    pea__found found = {.n = 1}; /* a literal's */
    pea_err err = pea__options(&o, sizeof o, opts, why);
    if (err == PEA_OK)
        err = pea__host_parse(addr, &host, &found.addrs[0], why);
    if (err != PEA_OK)
        return err;
    int64_t deadline = deadline_of(o.timeout_ms != 0 ? o.timeout_ms : SYNC_TIMEOUT_DEFAULT_MS);
    pea_sync *s = pea__alloc(sizeof *s);
    if (s == NULL)
        return pea__error(why, PEA_E_NOMEM, NULL);
    s->fd = -1;
    s->pid = getpid();
    err = open_pipe(s, &host, &found.addrs[0], &o, why);
    if (err == PEA_OK && host.name[0] != '\0')
        err = pea__host_find_until(&host, deadline, &found, why);
    if (err == PEA_OK)
        err = dial_any(s, &found, deadline, why);
    if (err == PEA_OK)
        err = handshake(s, deadline, why);
    if (err != PEA_OK) {
        sync_free(s);
        return err;
    }
    *sync = s;
    return PEA_OK;
}

/* ---- Talking ---- */

/* A child would speak with its parent's keys and nonces, on its parent's socket. */
static bool forked(const pea_sync *s)
{
    return s->pid != getpid();
}

/* The end as a call's result. */
static pea_err end_of(const pea_sync *s)
{
    const pea_reason *reason = pea_sync_reason(s);
    return reason->err == PEA_OK ? PEA_EOF : reason->err;
}

pea_err pea_sync_send(pea_sync *s, const void *data, size_t len, uint32_t timeout_ms)
{
    if (forked(s))
        return PEA_E_FORKED;
    if (ending(s))
        return PEA_E_STATE;
    int64_t deadline = deadline_of(timeout_ms);
    pea_err err = pea_pipe_send(s->pipe, data, len);
    if (err != PEA_OK && !ending(s))
        return err;
    err = run(s, GOAL_SENT, deadline);
    if (ending(s)) {
        err = end_of(s);
        return err < 0 ? err : PEA_E_CLOSED;
    }
    if (err == PEA_E_TIMEOUT) { /* half a message may be out: whatever follows would be taken for the rest of it */
        pea_pipe_abort(s->pipe, PEA_BY_TIMEOUT, PEA_E_ABORTED, "a message could not be sent in time");
        pump(s, GOAL_CLOSED, SIZE_MAX);
    }
    return err;
}

/* The first message that was kept. */
static void take_kept(pea_sync *s, const uint8_t **data, size_t *len)
{
    memcpy(len, s->inbox.data, sizeof *len);
    *data = s->inbox.data + sizeof *len;
    s->delivered = sizeof *len + *len;
}

pea_err pea_sync_receive(pea_sync *s, const uint8_t **data, size_t *len, uint32_t timeout_ms)
{
    if (forked(s))
        return PEA_E_FORKED;
    if (s->delivered > 0)
        pea_buf_consume(&s->inbox, s->delivered);
    s->delivered = 0;
    if (s->inbox.len > 0) {
        take_kept(s, data, len);
        return PEA_OK;
    }
    pea_err err = run(s, GOAL_MESSAGE, deadline_of(timeout_ms));
    if (s->have) {
        *data = s->message.data;
        *len = s->message.len;
        return PEA_OK;
    }
    if (s->inbox.len > 0) { /* it came beside the error that ended the connection */
        take_kept(s, data, len);
        return PEA_OK;
    }
    return err == PEA_OK ? end_of(s) : err;
}

/* ---- The end ---- */

static pea_err how_it_closed(const pea_sync *s)
{
    const pea_reason *reason = pea_sync_reason(s);
    if (reason->err < 0)
        return reason->err;
    if (reason->origin == PEA_BY_PEER)
        return PEA_OK;
    return s->cut ? PEA_E_RESET : s->fin ? PEA_OK : PEA_E_ABORTED;
}

pea_err pea_sync_close(pea_sync *s, uint16_t code, const char *text, uint32_t timeout_ms)
{
    pea_err err = PEA_E_FORKED;
    if (s == NULL)
        return PEA_OK;
    if (!forked(s)) {
        /* the peer may have ended first: what comes after our farewell is not read */
        (void)run(s, GOAL_CLOSED, 0);
        err = ending(s) ? PEA_OK : pea_pipe_close(s->pipe, code, text);
        if (err == PEA_OK)
            err = run(s, GOAL_CLOSED, deadline_of(timeout_ms));
        if (err == PEA_OK)
            err = how_it_closed(s);
    }
    sync_free(s);
    return err;
}

const pea_peer *pea_sync_peer(const pea_sync *s)
{
    return pea_pipe_peer(s->pipe);
}

const pea_reason *pea_sync_reason(const pea_sync *s)
{
    return pea__pipe_reason(s->pipe);
}

int pea_sync_fd(const pea_sync *s)
{
    return s->fd;
}
