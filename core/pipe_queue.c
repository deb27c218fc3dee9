/* SPDX-License-Identifier: MIT */
/* The pipe's way out, its first half: messages and chunks are queued as plaintext. What is large enough to fill a write
 * may be lent instead of copied: then it is the queue's end, and goes out from where it lies. */
#include <string.h>

#include "pipe_fast_priv.h"

#define LEND_LEAST 1024u /* bytes of a message: below that a copy costs less than a second piece of a write */

/* ---- Chunks ---- */

/* Writes the length of the open DATA chunk: it holds what was queued until now, and so much behind it. An empty one
 * vanishes. */
static void chunk_close_with(pea_pipe *p, size_t behind)
{
    if (p->flow->tx_open == SIZE_MAX)
        return;
    size_t len = p->flow->tx.len - p->flow->tx_open - PEA__CHUNK_HEADER + behind;
    if (len == 0)
        p->flow->tx.len = p->flow->tx_open;
    else
        pea__put_be32(p->flow->tx.data + p->flow->tx_open, (uint32_t)PEA__CHUNK_DATA << 24 | (uint32_t)len);
    p->flow->tx_open = SIZE_MAX;
}

static void chunk_close(pea_pipe *p)
{
    chunk_close_with(p, 0);
}

void pea__window_close(pea_pipe *p)
{
    chunk_close(p);
    p->tx_room = 0;
}

/* ---- What is lent ---- */

static void lent_end(pea_pipe *p)
{
    pea__lent *lent = p->flow->lent;
    p->flow->lent = NULL;
    if (lent == NULL || lent->msg == NULL)
        return;
    pea_msg_unref(lent->msg);
    pea__free(lent);
}

/* What is lent is copied after all: something is to follow it, or whoever lent it wants it back. */
static pea_err lent_copy(pea_pipe *p)
{
    if (p->flow->lent == NULL)
        return PEA_OK;
    pea_err err = pea_buf_append(&p->flow->tx, p->flow->lent->rest.data, p->flow->lent->rest.len);
    if (err == PEA_OK)
        lent_end(p);
    return err;
}

pea_err pea__pipe_lent_back(pea_pipe *p, pea_msg *msg)
{
    if (p->flow->lent == NULL || p->flow->lent->msg != NULL)
        return PEA_OK;
    pea__lent *kept = msg != NULL && p->flow->lent->rest.len > PEA_WRITE_MAX ? pea__alloc(sizeof *kept) : NULL;
    if (kept != NULL) {
        *kept = (pea__lent){.rest = p->flow->lent->rest, .msg = pea_msg_ref(msg)};
        p->flow->lent = kept;
        return PEA_OK;
    }
    pea_err err = lent_copy(p);
    if (err != PEA_OK) { /* some of it has gone out: nothing can follow */
        p->flow->lent = NULL;
        pea_pipe_abort(p, PEA_BY_WRITING, err, pea_err_text(err));
    }
    return err;
}

/* ---- Taking from the front ---- */

size_t pea__tx_front(const pea_pipe *p, size_t n, pea_span spans[2])
{
    size_t first = n < p->flow->tx.len ? n : p->flow->tx.len, count = 0;
    if (first > 0)
        spans[count++] = (pea_span){p->flow->tx.data, first};
    if (n > first)
        spans[count++] = (pea_span){p->flow->lent->rest.data, n - first};
    return count;
}

/* Remembers how much of a chunk that the peer sees begin is left at the front. Only the last chunk ends in what is
 * lent. */
void pea__tx_consume(pea_pipe *p, size_t n)
{
    if (p->mode == PEA_NATIVE) {
        size_t at = p->tx_rest;
        while (at < n)
            at += PEA__CHUNK_HEADER + (pea__get_be32(p->flow->tx.data + at) & PEA__CHUNK_MAX);
        p->tx_rest = (uint32_t)(at - n);
    }
    size_t first = n < p->flow->tx.len ? n : p->flow->tx.len;
    pea_buf_consume(&p->flow->tx, first);
    if (p->flow->lent != NULL) {
        p->flow->lent->rest.data += n - first;
        p->flow->lent->rest.len -= n - first;
        if (p->flow->lent->rest.len == 0)
            lent_end(p);
    }
    if (p->flow->tx.len == 0)
        pea_buf_free(&p->flow->tx);
    if (!p->tx_cut)
        p->sealed_total += n;
}

void pea__tx_drop(pea_pipe *p)
{
    if (p->flow == NULL || pea__flow_rests(p))
        return;
    p->flow->tx_open = SIZE_MAX;
    p->tx_room = 0;
    pea_buf_free(&p->flow->tx); /* what was dropped counts as queued no more, and was never sent */
    lent_end(p);
}

void pea__tx_cut(pea_pipe *p)
{
    pea__window_close(p);
    p->tx_cut = true;
    if (pea__flow_rests(p))
        return;
    if (p->tx_rest <= p->flow->tx.len)
        lent_end(p); /* else its beginning has gone out */
    if (p->tx_rest == 0)
        pea_buf_free(&p->flow->tx);
    else if (p->tx_rest < p->flow->tx.len)
        p->flow->tx.len = p->tx_rest;
}

/* ---- Putting to the back ---- */

pea_err pea__chunk_say(pea_pipe *p, uint8_t type, const void *payload, size_t len)
{
    pea__window_close(p);
    uint8_t *at;
    pea_err err = pea__flow_take(p);
    if (err == PEA_OK)
        err = lent_copy(p);
    if (err == PEA_OK)
        err = pea_buf_reserve(&p->flow->tx, PEA__CHUNK_HEADER + len, &at);
    if (err != PEA_OK)
        return err;
    pea__put_be32(at, (uint32_t)type << 24 | (uint32_t)len);
    if (len > 0)
        memcpy(at + PEA__CHUNK_HEADER, payload, len);
    pea_buf_commit(&p->flow->tx, PEA__CHUNK_HEADER + len);
    return PEA_OK;
}

/* Opens the window for a message of `len` payload bytes: memory for it, a DATA chunk around it, and as much again as
 * may follow without a thought. */
static pea_err window_open(pea_pipe *p, size_t len)
{
    size_t need = PEA__CHUNK_HEADER + len + p->codec_ops->overhead;
    if (need < len)
        return PEA_E_TOO_BIG;
    pea_err err = lent_copy(p);
    if (err != PEA_OK)
        return err;
    if (p->flow->tx_open != SIZE_MAX && p->flow->tx.len - p->flow->tx_open + need > PEA__CHUNK_MAX)
        pea__window_close(p);
    uint8_t *tail;
    bool first = p->flow->tx.base == NULL; /* take at once what the last flush needed, instead of growing there again */
    err = pea_buf_reserve(&p->flow->tx, first && p->tx_hint > need ? p->tx_hint : need, &tail);
    if (err != PEA_OK)
        return err;
    if (p->mode == PEA_NATIVE && p->flow->tx_open == SIZE_MAX) {
        p->flow->tx_open = p->flow->tx.len;
        pea_buf_commit(&p->flow->tx, PEA__CHUNK_HEADER);
    }
    size_t space = p->flow->tx.cap - (size_t)(p->flow->tx.data - p->flow->tx.base) - p->flow->tx.len;
    size_t high = p->high_water > p->flow->tx.len ? p->high_water - p->flow->tx.len : 0;
    size_t chunk = p->flow->tx_open == SIZE_MAX
                       ? SIZE_MAX
                       : PEA__CHUNK_MAX + PEA__CHUNK_HEADER - (p->flow->tx.len - p->flow->tx_open);
    size_t room = space < high ? space : high;
    room = room < chunk ? room : chunk;
    /* It shuts when a full write has gathered: its driver wants to know, and to write it. */
    size_t full = p->flow->tx.len < PEA_WRITE_MAX ? PEA_WRITE_MAX - p->flow->tx.len : SIZE_MAX;
    p->tx_room = room < full ? room : full;
    return PEA_OK;
}

/* Frames one message at the queue's back, where there is room for it. Returns the bytes it took; SIZE_MAX: the
 * codec cannot say it. */
static size_t put(pea_pipe *p, const void *data, size_t len)
{
    uint8_t *at = p->flow->tx.data + p->flow->tx.len;
    size_t n;
    if (p->length4_end > 0) {
        if (len >= p->length4_end)
            return SIZE_MAX;
        pea__message_put(at, data, len);
        n = len + 4;
    } else {
        n = p->codec_ops->put(p->codec_self, data, len, at);
        if (n == 0 && (len > 0 || p->codec_ops->overhead > 0))
            return SIZE_MAX;
    }
    p->flow->tx.len += n;
    return n;
}

/* Why the codec cannot say a message. */
static pea_err cannot_say(const pea_pipe *p, const void *data, size_t len)
{
    pea_frame_marks m;
    pea_err err = p->codec_ops->marks(p->codec_self, data, len, &m);
    return err < 0 ? err : PEA_E_TOO_BIG;
}

/* Queues bytes in DATA chunks, as many as they take. There is room for them. */
static pea_err chunks_append(pea_pipe *p, const uint8_t *data, size_t len)
{
    static const uint8_t header[PEA__CHUNK_HEADER];
    pea_err err = PEA_OK;
    while (len > 0 && err == PEA_OK) {
        if (p->flow->tx_open == SIZE_MAX) {
            p->flow->tx_open = p->flow->tx.len;
            err = pea_buf_append(&p->flow->tx, header, sizeof header);
        }
        size_t room = PEA__CHUNK_MAX + PEA__CHUNK_HEADER - (p->flow->tx.len - p->flow->tx_open);
        size_t n = len < room ? len : room;
        if (err == PEA_OK)
            err = pea_buf_append(&p->flow->tx, data, n);
        data += n;
        len -= n;
        if (n == room)
            chunk_close(p);
    }
    return err;
}

/* A message that no single chunk can hold. */
static pea_err send_huge(pea_pipe *p, const void *data, size_t len)
{
    pea_frame_marks m = {.before_len = 0};
    pea_err err = p->codec_ops->marks(p->codec_self, data, len, &m);
    if (err != PEA_OK)
        return err;
    size_t headers = (len / PEA__CHUNK_MAX + 2) * PEA__CHUNK_HEADER;
    uint8_t *tail;
    pea__window_close(p);
    err = lent_copy(p);
    if (err == PEA_OK)
        err =
            pea_buf_reserve(&p->flow->tx, m.before_len + len + m.after_len + headers, &tail); /* all of it or nothing */
    if (err == PEA_OK)
        err = chunks_append(p, m.before, m.before_len);
    if (err == PEA_OK)
        err = chunks_append(p, data, len);
    if (err == PEA_OK)
        err = chunks_append(p, m.after, m.after_len);
    return err;
}

/* One message, one record, sealed at once: PEA_RECORDS. */
static pea_err send_record(pea_pipe *p, const void *data, size_t len)
{
    if (p->flow->out.len >= p->high_water) {
        p->want_drain = true;
        return PEA_E_QUEUE_FULL;
    }
    const pea_transform *t = pea__transform_at(p, p->top);
    pea_err err;
    if (p->top == 1) {
        err = pea__seal(p, t, &(pea_span){data, len}, 1, &p->flow->out);
    } else {
        pea_buf one = {.pool = p->pool};
        err = pea__seal(p, t, &(pea_span){data, len}, 1, &one);
        if (err == PEA_OK)
            err = pea__wire_control(p, &one, (size_t)p->top - 1);
        pea_buf_free(&one);
    }
    if (err == PEA_OK) {
        p->sealed_total += len + 1; /* so that an empty message is a place in the stream as well */
        return PEA_OK;
    }
    if (err != PEA_E_TOO_BIG)
        pea__pipe_fail(p, PEA_BY_WRITING, err, NULL);
    return err;
}

/* Whether a message may be lent: it fills a write, and its frame ends with it. */
static bool may_lend(const pea_pipe *p, size_t len)
{
    size_t chunk = p->flow->tx_open == SIZE_MAX ? PEA__CHUNK_HEADER : p->flow->tx.len - p->flow->tx_open;
    return len >= LEND_LEAST && len < p->length4_end && pea__tx_waits(p) + len >= PEA_WRITE_MAX &&
           (p->mode != PEA_NATIVE || chunk + 4 + len <= PEA__CHUNK_MAX);
}

/* Queues a message's frame, and what it frames as lent. */
static pea_err lend(pea_pipe *p, const void *data, size_t len, pea__lent *lent)
{
    uint8_t *at;
    pea_err err = window_open(p, 0);
    if (err == PEA_OK)
        err = pea_buf_reserve(&p->flow->tx, 4, &at);
    if (err != PEA_OK)
        return err;
    pea__put_be32(at, (uint32_t)len);
    pea_buf_commit(&p->flow->tx, 4);
    chunk_close_with(p, len);
    p->tx_room = 0;
    *lent = (pea__lent){.rest = {data, len}};
    p->flow->lent = lent;
    return PEA_OK;
}

static pea_err send_copied(pea_pipe *p, const void *data, size_t len)
{
    if (p->mode == PEA_NATIVE && len > PEA__CHUNK_MAX - PEA__CHUNK_HEADER - p->codec_ops->overhead)
        return send_huge(p, data, len);
    pea_err err = window_open(p, len);
    if (err != PEA_OK)
        return err;
    size_t n = put(p, data, len);
    if (n == SIZE_MAX) { /* nothing was queued: let go of what was reserved for it */
        pea__window_close(p);
        if (p->flow->tx.len == 0)
            pea_buf_free(&p->flow->tx);
        return cannot_say(p, data, len);
    }
    p->tx_room = p->tx_room > n ? p->tx_room - n : 0;
    return PEA_OK;
}

pea_err pea__pipe_send(pea_pipe *p, const void *data, size_t len, pea__lent *lent)
{
    if (p->phase != PEA__OPEN || (p->said & PEA__END) != 0 || !p->ready_told)
        return PEA_E_STATE;
    if (pea__flow_take(p) != PEA_OK)
        return PEA_E_NOMEM;
    if (p->mode == PEA_RECORDS)
        return send_record(p, data, len);
    if (pea_pipe_queued(p) >= p->high_water) {
        p->want_drain = true;
        return PEA_E_QUEUE_FULL;
    }
    return lent != NULL && may_lend(p, len) ? lend(p, data, len, lent) : send_copied(p, data, len);
}

pea_err pea_pipe_send(pea_pipe *p, const void *data, size_t len)
{
    uint8_t *at;
    if (pea__pipe_place(p, len, &at)) {
        pea__message_put(at, data, len);
        return PEA_OK;
    }
    size_t most = len + p->codec_ops->overhead;
    if (most >= p->tx_room || most < len)
        return pea__pipe_send(p, data, len, NULL);
    size_t n = put(p, data, len);
    if (n == SIZE_MAX)
        return cannot_say(p, data, len);
    p->tx_room -= n;
    return PEA_OK;
}

size_t pea_pipe_queued(const pea_pipe *p)
{
    return pea__tx_waits(p) + (p->mode == PEA_RECORDS ? p->flow->out.len : 0);
}

uint64_t pea__pipe_queued_total(const pea_pipe *p)
{
    return p->sealed_total + pea__tx_waits(p);
}

uint64_t pea__pipe_sent_total(const pea_pipe *p)
{
    return p->flow->out.len == 0 ? p->sealed_total : p->sealed_when_empty;
}
