/* SPDX-License-Identifier: MIT */
/* The pipe's way out: messages and chunks are queued as plaintext, sealed a record at a time when the driver asks for
 * output, and handed over as wire bytes. */
#include <string.h>

#include "pipe_fast_priv.h"

/* ---- The queue ---- */

/* Writes the length of the open DATA chunk: it holds what was queued until now. An empty one vanishes. */
static void chunk_close(pea_pipe *p)
{
    if (p->tx_open == SIZE_MAX)
        return;
    size_t len = p->tx.len - p->tx_open - PEA__CHUNK_HEADER;
    if (len == 0)
        p->tx.len = p->tx_open;
    else
        pea__put_be32(p->tx.data + p->tx_open, (uint32_t)PEA__CHUNK_DATA << 24 | (uint32_t)len);
    p->tx_open = SIZE_MAX;
}

void pea__window_close(pea_pipe *p)
{
    chunk_close(p);
    p->tx_room = 0;
}

void pea__tx_drop(pea_pipe *p)
{
    p->tx_open = SIZE_MAX;
    p->tx_room = 0;
    pea_buf_free(&p->tx); /* what was dropped counts as queued no more, and was never sent */
}

void pea__tx_cut(pea_pipe *p)
{
    pea__window_close(p);
    p->tx_cut = true;
    if (p->tx_rest == 0)
        pea_buf_free(&p->tx);
    else
        p->tx.len = p->tx_rest;
}

/* Takes bytes from the queue's front, and remembers how much of a chunk that the peer sees begin is left there. */
static void tx_consume(pea_pipe *p, size_t n)
{
    if (p->mode == PEA_NATIVE) {
        size_t at = p->tx_rest;
        while (at < n)
            at += PEA__CHUNK_HEADER + (pea__get_be32(p->tx.data + at) & PEA__CHUNK_MAX);
        p->tx_rest = (uint32_t)(at - n);
    }
    pea_buf_consume(&p->tx, n);
    if (!p->tx_cut)
        p->sealed_total += n;
}

pea_err pea__chunk_say(pea_pipe *p, uint8_t type, const void *payload, size_t len)
{
    pea__window_close(p);
    uint8_t *at;
    pea_err err = pea_buf_reserve(&p->tx, PEA__CHUNK_HEADER + len, &at);
    if (err != PEA_OK)
        return err;
    pea__put_be32(at, (uint32_t)type << 24 | (uint32_t)len);
    if (len > 0)
        memcpy(at + PEA__CHUNK_HEADER, payload, len);
    pea_buf_commit(&p->tx, PEA__CHUNK_HEADER + len);
    return PEA_OK;
}

/* Opens the window for a message of `len` payload bytes: memory for it, a DATA chunk around it, and as much again as
 * may follow without a thought. */
static pea_err window_open(pea_pipe *p, size_t len)
{
    size_t need = PEA__CHUNK_HEADER + len + p->codec_ops->overhead;
    if (need < len)
        return PEA_E_TOO_BIG;
    if (p->tx_open != SIZE_MAX && p->tx.len - p->tx_open + need > PEA__CHUNK_MAX)
        pea__window_close(p);
    uint8_t *tail;
    bool first = p->tx.base == NULL; /* take at once what the last flush needed, instead of growing there again */
    pea_err err = pea_buf_reserve(&p->tx, first && p->tx_hint > need ? p->tx_hint : need, &tail);
    if (err != PEA_OK)
        return err;
    if (p->mode == PEA_NATIVE && p->tx_open == SIZE_MAX) {
        p->tx_open = p->tx.len;
        pea_buf_commit(&p->tx, PEA__CHUNK_HEADER);
    }
    size_t space = p->tx.cap - (size_t)(p->tx.data - p->tx.base) - p->tx.len;
    size_t high = p->high_water > p->tx.len ? p->high_water - p->tx.len : 0;
    size_t chunk = p->tx_open == SIZE_MAX ? SIZE_MAX : PEA__CHUNK_MAX + PEA__CHUNK_HEADER - (p->tx.len - p->tx_open);
    size_t room = space < high ? space : high;
    room = room < chunk ? room : chunk;
    /* It shuts when a full write has gathered: its driver wants to know, and to write it. */
    size_t full = p->tx.len < PEA_WRITE_MAX ? PEA_WRITE_MAX - p->tx.len : SIZE_MAX;
    p->tx_room = room < full ? room : full;
    return PEA_OK;
}

/* Frames one message at the queue's back, where there is room for it. Returns the bytes it took; SIZE_MAX: the
 * codec cannot say it. */
static size_t put(pea_pipe *p, const void *data, size_t len)
{
    uint8_t *at = p->tx.data + p->tx.len;
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
    p->tx.len += n;
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
        if (p->tx_open == SIZE_MAX) {
            p->tx_open = p->tx.len;
            err = pea_buf_append(&p->tx, header, sizeof header);
        }
        size_t room = PEA__CHUNK_MAX + PEA__CHUNK_HEADER - (p->tx.len - p->tx_open);
        size_t n = len < room ? len : room;
        if (err == PEA_OK)
            err = pea_buf_append(&p->tx, data, n);
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
    err = pea_buf_reserve(&p->tx, m.before_len + len + m.after_len + headers, &tail); /* all of it or nothing */
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
    if (p->out.len >= p->high_water) {
        p->want_drain = true;
        return PEA_E_QUEUE_FULL;
    }
    pea_transform *t = &p->floors[p->top].transform;
    pea_err err;
    if (p->top == 1) {
        err = t->ops->seal(t->self, &(pea_span){data, len}, 1, &p->out);
    } else {
        pea_buf one = {.pool = p->tx.pool};
        err = t->ops->seal(t->self, &(pea_span){data, len}, 1, &one);
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

static pea_err send_slowly(pea_pipe *p, const void *data, size_t len)
{
    if (p->phase != PEA__OPEN || (p->said & PEA__END) != 0 || !p->ready_told)
        return PEA_E_STATE;
    if (p->mode == PEA_RECORDS)
        return send_record(p, data, len);
    if (pea_pipe_queued(p) >= p->high_water) {
        p->want_drain = true;
        return PEA_E_QUEUE_FULL;
    }
    if (p->mode == PEA_NATIVE && len > PEA__CHUNK_MAX - PEA__CHUNK_HEADER - p->codec_ops->overhead)
        return send_huge(p, data, len);
    pea_err err = window_open(p, len);
    if (err != PEA_OK)
        return err;
    size_t n = put(p, data, len);
    if (n == SIZE_MAX) { /* nothing was queued: let go of what was reserved for it */
        pea__window_close(p);
        if (p->tx.len == 0)
            pea_buf_free(&p->tx);
        return cannot_say(p, data, len);
    }
    p->tx_room = p->tx_room > n ? p->tx_room - n : 0;
    return PEA_OK;
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
        return send_slowly(p, data, len);
    size_t n = put(p, data, len);
    if (n == SIZE_MAX)
        return cannot_say(p, data, len);
    p->tx_room -= n;
    return PEA_OK;
}

size_t pea_pipe_queued(const pea_pipe *p)
{
    return p->tx.len + (p->mode == PEA_RECORDS ? p->out.len : 0);
}

uint64_t pea__pipe_queued_total(const pea_pipe *p)
{
    return p->sealed_total + p->tx.len;
}

uint64_t pea__pipe_sent_total(const pea_pipe *p)
{
    return p->out.len == 0 ? p->sealed_total : p->sealed_when_empty;
}

/* ---- The wire ---- */

/* Seals `n` bytes through the transforms of floors `floor` ... 1 to the back of the wire. */
static pea_err seal_down(pea_pipe *p, pea_span plain, size_t floor)
{
    if (floor == 0)
        return pea_buf_append(&p->out, plain.data, plain.len);
    pea_buf from = {.pool = p->tx.pool}, to = {.pool = p->tx.pool};
    pea_err err = PEA_OK;
    for (size_t i = floor; i >= 1 && err == PEA_OK; i--) {
        pea_transform *t = &p->floors[i].transform;
        err = t->ops->seal(t->self, &plain, 1, i == 1 ? &p->out : &to);
        if (i == 1 || err != PEA_OK)
            break;
        pea_buf_free(&from);
        from = to;
        to = (pea_buf){.pool = p->tx.pool};
        plain = (pea_span){from.data, from.len};
    }
    pea_buf_free(&from);
    pea_buf_free(&to);
    return err;
}

pea_err pea__wire_control(pea_pipe *p, pea_buf *plain, size_t floor)
{
    if (plain->len == 0)
        return PEA_OK;
    size_t before = p->out.len;
    pea_err err = seal_down(p, (pea_span){plain->data, plain->len}, floor);
    p->out_control += p->out.len - before;
    pea_buf_consume(plain, plain->len);
    return err;
}

/* How much plaintext the next record may take, so that its wire bytes fit a write beside what lies in `out`
 * already; 0: it has to wait. */
static size_t record_share(const pea_pipe *p)
{
    if (p->out.len > 0 && p->out_control == 0)
        return 0; /* the rest of an earlier write: let it go first, for full records */
    size_t overhead = 0, most = PEA_WRITE_MAX;
    for (size_t i = 1; i <= p->top; i++) {
        const pea_transform *t = &p->floors[i].transform;
        overhead += t->overhead;
        if (t->record_plain != 0 && t->record_plain < most)
            most = t->record_plain;
    }
    if (p->out.len + overhead >= PEA_WRITE_MAX)
        return 0;
    size_t fits = PEA_WRITE_MAX - overhead - p->out.len;
    return fits < most ? fits : most;
}

/* Seals what is queued, as far as one write goes. */
static pea_err seal_queued(pea_pipe *p)
{
    size_t n = record_share(p);
    if (n > p->tx.len)
        n = p->tx.len;
    if (n == 0)
        return PEA_OK;
    pea_err err = seal_down(p, (pea_span){p->tx.data, n}, p->top);
    if (err != PEA_OK)
        return err;
    tx_consume(p, n);
    if (p->tx.len == 0)
        pea_buf_free(&p->tx);
    return PEA_OK;
}

/* The transforms say the end, innermost first, once all messages and chunks are out. In foreign modes this
 * is the only farewell. */
static pea_err say_wire_end(pea_pipe *p)
{
    p->wire_end_said = true;
    for (size_t i = p->top; i >= 1; i--) {
        pea_transform *t = &p->floors[i].transform;
        pea_buf last = {.pool = p->tx.pool};
        pea_err err = t->ops->control != NULL ? t->ops->control(t->self, PEA_CONTROL_END, &last) : PEA_E_UNSUPPORTED;
        if (err == PEA_OK)
            err = pea__wire_control(p, &last, i - 1);
        pea_buf_free(&last);
        if (err < 0 && err != PEA_E_UNSUPPORTED)
            return err;
    }
    return PEA_OK;
}

static bool is_last_word(const pea_pipe *p)
{
    return p->phase == PEA__FAREWELL || p->phase == PEA__OVER;
}

pea_err pea_pipe_output(pea_pipe *p, pea_span *span)
{
    p->out_direct = false;
    if (p->pong_owed && p->tx.len + p->out.len == 0 && p->phase == PEA__OPEN) {
        p->pong_owed = false;
        if (pea__chunk_say(p, PEA__CHUNK_PONG, p->pong, sizeof p->pong) != PEA_OK)
            pea__pipe_fail(p, PEA_BY_WRITING, PEA_E_NOMEM, NULL);
    }
    pea__window_close(p);
    p->tx_hint = p->tx.len < PEA_WRITE_MAX ? (uint32_t)p->tx.len : PEA_WRITE_MAX;
    pea_err err = PEA_OK;
    if (p->tx.len > 0 && (p->top > 0 || p->out.len > 0))
        err = seal_queued(p);
    if (err == PEA_OK && p->tx.len == 0 && (p->phase == PEA__FAREWELL || p->end_wanted) && !p->wire_end_said)
        err = say_wire_end(p);
    if (err != PEA_OK) /* what cannot be sealed cannot be followed by a farewell either */
        pea_pipe_abort(p, PEA_BY_WRITING, err, pea_err_text(err));

    const pea_buf *from = &p->out;
    if (p->out.len == 0 && p->top == 0 && p->tx.len > 0) {
        from = &p->tx;
        p->out_direct = true;
    }
    if (from->len == 0)
        return is_last_word(p) || p->wire_end_said ? PEA_EOF : PEA_MORE;
    size_t most = p->mode == PEA_RECORDS ? from->len : PEA_WRITE_MAX;
    *span = (pea_span){from->data, from->len < most ? from->len : most};
    return PEA_OK;
}

void pea_pipe_sent(pea_pipe *p, size_t n)
{
    pea_buf *from = p->out_direct ? &p->tx : &p->out;
    if (n > from->len)
        n = from->len;
    if (p->out_direct)
        tx_consume(p, n);
    else
        pea_buf_consume(from, n);
    if (from->len > 0)
        return;
    pea_buf_free(from);
    if (!p->out_direct)
        p->out_control = 0;
    p->sealed_when_empty = p->sealed_total;
}

bool pea__pipe_has_output(const pea_pipe *p)
{
    return p->tx.len + p->out.len > 0 || p->pong_owed || (is_last_word(p) && !p->wire_end_said);
}
