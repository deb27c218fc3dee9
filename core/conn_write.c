/* SPDX-License-Identifier: MIT */
/* A connection's way out: sends that queue, full writes that leave at once, the rest that leaves in the round; and who
 * wants to know when a message has left. */
#include <errno.h>
#include <limits.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "pipe_fast_priv.h"
#include "runtime_priv.h"

/* ---- Confirmed sends ---- */

/* Calls back for all that have left (err PEA_OK), or for all. */
void pea__conn_confirm(pea_conn *c, pea_err err)
{
    if (!c->ready)
        return; /* nothing was sent */
    while (c->sent_last != NULL && (err != PEA_OK || c->sent_last->next->position <= pea__pipe_sent_total(c->pipe))) {
        pea__sent *s = c->sent_last->next;
        if (s == c->sent_last)
            c->sent_last = NULL;
        else
            c->sent_last->next = s->next;
        s->fn(s->arg, err);
        pea__free(s);
    }
}

/* ---- Writing ---- */

/* The system's word for bytes to write. */
static struct iovec piece(pea_span span)
{
    union {
        const uint8_t *in;
        uint8_t *out;
    } unconst = {.in = span.data}; /* nobody writes through it */
    return (struct iovec){unconst.out, span.len};
}

/* One system call. Returns the bytes that the socket took, -1 after an error that it told the round. `last`: our end of
 * the stream follows at once, and leaves in the same segment. */
static ssize_t write_once(pea_conn *c, const pea_span *spans, size_t n_spans, bool last)
{
    int flags = MSG_NOSIGNAL | (last ? MSG_MORE : 0);
    struct iovec pieces[2];
    struct msghdr h = {.msg_iov = pieces, .msg_iovlen = n_spans};
    for (size_t i = 0; i < n_spans; i++)
        pieces[i] = piece(spans[i]);
    ssize_t n;
    do
        n = n_spans == 1 ? send(c->fd, spans[0].data, spans[0].len, flags) : sendmsg(c->fd, &h, flags);
    while (n < 0 && errno == EINTR);
    if (n < 0 && !pea__would_block(errno)) {
        c->sys_errno = errno; /* told in the round: a callback may be on the stack */
        pea__worker_queue(c->worker, c);
        return -1;
    }
    return n > 0 ? n : 0;
}

/* Writes what is queued, one record and one system call after another, until the socket is full or its turn is over: so
 * many writes, and only as long as `least` bytes wait. */
static void write_some(pea_conn *c, unsigned writes, size_t least)
{
    if (pea_pipe_queued(c->pipe) > c->queued_most)
        c->queued_most = (uint32_t)pea_pipe_queued(c->pipe);
    if (c->connecting || c->blocked || c->over || c->sys_errno != 0)
        return;
    for (unsigned i = 0; i < writes && pea_pipe_queued(c->pipe) >= least; i++) {
        pea_span spans[2];
        size_t n_spans;
        pea_err err = pea__pipe_output(c->pipe, spans, &n_spans);
        if (err != PEA_OK) {
            if (err == PEA_EOF && !c->shut) {
                c->shut = true;
                shutdown(c->fd, SHUT_WR);
            }
            return;
        }
        size_t want = spans[0].len + (n_spans > 1 ? spans[1].len : 0);
        ssize_t n = write_once(c, spans, n_spans, pea__pipe_ends_with(c->pipe, want));
        if (n < 0)
            return;
        size_t sent = (size_t)n;
        c->bytes_out += sent;
        pea__conn_tally(c, PEA__T_BYTES_OUT, sent);
        pea_pipe_sent(c->pipe, sent);
        if (sent < want) {
            if (sent > 0 || c->taken_ms == 0)
                c->taken_ms = pea__now_ms();
            c->blocked = true;
            return;
        }
        c->taken_ms = 0;
    }
    pea__worker_queue(c->worker, c); /* its turn is over: the rest goes in the next round */
}

void pea__conn_write_out(pea_conn *c)
{
    write_some(c, PEA__WRITES_PER_EVENT, 0);
}

/* Full writes need not wait for the round; what they bring is told there. A message that was lent is written as far as
 * the socket takes it. */
static void write_full(pea_conn *c)
{
    if (!c->blocked)
        write_some(c, UINT_MAX, PEA_WRITE_MAX);
}

/* ---- Sending ---- */

static pea_err not_sent(pea_conn *c, pea_err err)
{
    if (err == PEA_E_QUEUE_FULL) {
        c->queue_full++;
        pea__conn_tally(c, PEA__T_QUEUE_FULL, 1);
    }
    return err;
}

/* `msg`: whose bytes they are; NULL: the caller's. */
static PEA__APART pea_err send_slowly(pea_conn *c, const void *data, size_t len, pea_msg *msg)
{
    pea__lent lent;
    if (pea__forked(c->worker->runtime))
        return PEA_E_FORKED;
    if (!c->queued) {
        if (c->over)
            return PEA_E_STATE;
        pea__worker_queue(c->worker, c);
    }
    bool may_lend = !c->blocked || (msg != NULL && len > PEA_WRITE_MAX);
    pea_err err = pea__pipe_send(c->pipe, data, len, may_lend ? &lent : NULL);
    if (err != PEA_OK)
        return not_sent(c, err);
    c->messages_out++;
    write_full(c);
    err = pea__pipe_lent_back(c->pipe, msg);
    c->pump_due = c->pump_due || err != PEA_OK;
    return err;
}

pea_err pea_conn_send(pea_conn *c, const void *data, size_t len)
{
    uint8_t *at;
    /* Where there is room something waits already: the connection is queued, or blocked. */
    if (c->worker->fork_count != pea__fork_count || !pea__pipe_place(c->pipe, len, &at))
        return send_slowly(c, data, len, NULL);
    c->messages_out++;
    pea__message_put(at, data, len);
    return PEA_OK;
}

pea_err pea_conn_send_msg(pea_conn *c, pea_msg *msg, void (*on_sent)(void *arg, pea_err err), void *arg)
{
    pea__sent *s = NULL;
    if (on_sent != NULL && (s = pea__alloc(sizeof *s)) == NULL)
        return PEA_E_NOMEM;
    pea_span span = pea_msg_span(msg);
    pea_err err =
        span.len > PEA_WRITE_MAX ? send_slowly(c, span.data, span.len, msg) : pea_conn_send(c, span.data, span.len);
    if (err != PEA_OK || s == NULL) {
        pea__free(s);
        return err;
    }
    *s = (pea__sent){.next = c->sent_last != NULL ? c->sent_last->next : s,
                     .position = pea__pipe_queued_total(c->pipe),
                     .fn = on_sent,
                     .arg = arg};
    if (c->sent_last != NULL)
        c->sent_last->next = s;
    c->sent_last = s;
    return PEA_OK;
}

void pea_conn_flush(pea_conn *c)
{
    if (c->over || pea__forked(c->node->runtime))
        return;
    pea__conn_write_out(c);
    pea__worker_queue(c->worker, c);
}
