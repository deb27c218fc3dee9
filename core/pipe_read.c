/* SPDX-License-Identifier: MIT */
/* The pipe's way in: wire bytes rise through the transforms, floor by floor, and become messages on top. Messages are
 * views; only an unfinished rest is copied. */
#include "err_priv.h"
#include "pipe_fast_priv.h"

pea_buf *pea__pipe_plain(pea_pipe *p)
{
    return &p->flow->rx[p->top];
}

bool pea__read_partial(const pea_pipe *p)
{
    if (p->flow->carry.len > 0)
        return true;
    for (size_t i = 0; i <= p->top; i++)
        if (p->flow->rx[i].len > 0)
            return true;
    return false;
}

/* ---- Rising ---- */

/* The transport's stream ended below floor `i`, by `how`: what does its transform say to that? */
static pea_err end_of(pea_pipe *p, size_t i, pea_err how)
{
    if (p->flow->rx[i - 1].len > 0)
        return PEA_E_TRUNCATED;
    const pea_transform *t = pea__transform_at(p, i);
    return t->ops->wire_end != NULL ? t->ops->wire_end(t->self) : how;
}

/* One unseal() of floor `i`. PEA_AGAIN: there is more plaintext | PEA_MORE: starved | an end or
 * error, from now on sticky. */
static pea_err unseal(pea_pipe *p, size_t i)
{
    pea__floor *f = pea__floor_at(p, i);
    pea_buf *wire = &p->flow->rx[i - 1], *plain = &p->flow->rx[i];
    for (;;) {
        size_t had = plain->len, wire_had = wire->len;
        pea_buf reply = {.pool = p->pool};
        pea_err err = f->transform.ops->unseal(f->transform.self, wire, plain, PEA__UNSEAL_MAX, &reply);
        p->last_words |= err < 0 && reply.len > 0;
        pea_err sealed = pea__wire_control(p, &reply, i - 1);
        pea_buf_free(&reply);
        if (err >= 0 && sealed != PEA_OK) /* what it appended before is good */
            err = sealed;
        bool opened = plain->len > had || (err >= 0 && wire->len < wire_had); /* a record, whatever came behind it */
        if (p->phase < PEA__OPEN && opened && pea__verdict_pledged(p))
            pea__verdict_redeem(p, i);
        if (err < 0 || err == PEA_EOF)
            f->ended = err;
        if (plain->len > had || (err == PEA_AGAIN && f->transform.one_message_per_record))
            return PEA_AGAIN;
        if (err < 0 || err == PEA_EOF)
            return err;
        if (err == PEA_OK)
            return PEA_MORE;
        if (wire->len == wire_had)
            return f->ended = PEA_E_PROTO; /* it says "again" and does nothing: never spin */
    }
}

static pea_err pull_floor(pea_pipe *p, size_t i)
{
    if (i == 0)
        return p->fin ? PEA_EOF_UNAUTHENTICATED : PEA_MORE;
    pea__floor *f = pea__floor_at(p, i);
    for (;;) {
        if (f->ended != PEA_OK)
            return f->ended;
        pea_err err = unseal(p, i);
        if (err != PEA_MORE)
            return err;
        err = pull_floor(p, i - 1);
        if (err == PEA_MORE)
            return err;
        if (err == PEA_EOF || err == PEA_EOF_UNAUTHENTICATED)
            f->ended = end_of(p, i, err);
        else if (err < 0)
            f->ended = err;
    }
}

pea_err pea__pull(pea_pipe *p)
{
    return pull_floor(p, p->top);
}

/* ---- Messages ---- */

/* The codec's decode(); the default one is spelled out. */
static pea_err decode(pea_pipe *p, const uint8_t *data, size_t len, pea_frame *frame)
{
    if (p->length4_end == 0)
        return p->codec_ops->decode(p->codec_self, data, len, frame);
    if (len < 4) {
        frame->total = 4;
        return PEA_MORE;
    }
    uint32_t n = pea__get_be32(data);
    if (n >= p->length4_end)
        return PEA_E_TOO_BIG;
    frame->offset = 4;
    frame->len = n;
    frame->total = (size_t)n + 4;
    return len < frame->total ? PEA_MORE : PEA_OK;
}

static pea_err message_failed(pea_pipe *p, pea_err err)
{
    return pea__pipe_fail(p, PEA_BY_READING, err,
                          err == PEA_E_TOO_BIG ? "the peer's message is larger than the codec allows"
                                               : "the codec cannot read what the peer sent");
}

/* Whether the codec kept its word on a frame found in `len` bytes. */
static bool frame_fits(const pea_frame *f, size_t len)
{
    return f->total >= 1 && f->total <= len && f->offset <= f->total && f->len <= f->total - f->offset;
}

static void taken(pea_pipe *p, size_t n)
{
    if (p->left != SIZE_MAX)
        p->left -= n;
}

/* A message that spans chunks is put together in `carry`, which takes no byte beyond it. */
static pea_err carry_message(pea_pipe *p, pea_event *event)
{
    pea_buf *plain = pea__pipe_plain(p);
    size_t there = plain->len < p->left ? plain->len : p->left;
    size_t want = p->flow->need > p->flow->carry.len ? p->flow->need - p->flow->carry.len : 1;
    size_t n = want < there ? want : there;
    if (pea_buf_append(&p->flow->carry, plain->data, n) != PEA_OK)
        return pea__pipe_fail(p, PEA_BY_READING, PEA_E_NOMEM, NULL);
    pea_buf_consume(plain, n);
    taken(p, n);
    if (n < want)
        return p->left == 0 ? PEA_AGAIN : PEA_MORE; /* the next chunk may lie there already */
    pea_frame f = {.scanned = p->flow->scanned};
    pea_err err = decode(p, p->flow->carry.data, p->flow->carry.len, &f);
    if (err < 0)
        return message_failed(p, err);
    if (err == PEA_MORE) {
        if (f.total <= p->flow->carry.len)
            return message_failed(p, PEA_E_INVALID);
        p->flow->need = f.total;
        p->flow->scanned = f.scanned;
        return PEA_AGAIN;
    }
    if (!frame_fits(&f, p->flow->carry.len) || f.total != p->flow->carry.len)
        return message_failed(p, PEA_E_INVALID);
    *event = (pea_event){.type = PEA_EVENT_MESSAGE, .data = p->flow->carry.data + f.offset, .len = f.len};
    pea_buf_consume(&p->flow->carry, f.total);
    p->flow->need = p->flow->scanned = 0;
    p->flow->partial_since = -1;
    return PEA_OK;
}

/* The next message out of the plaintext on top.
 * PEA_OK | PEA_AGAIN: this chunk is used up | PEA_MORE | as pea__pipe_fail() */
static pea_err next_message(pea_pipe *p, pea_event *event)
{
    if (p->flow->carry.len > 0)
        return carry_message(p, event);
    pea_buf *plain = pea__pipe_plain(p);
    size_t there = plain->len < p->left ? plain->len : p->left;
    if (there == 0)
        return PEA_MORE;
    if (there >= p->flow->need) {
        pea_frame f = {.scanned = p->flow->scanned};
        pea_err err = decode(p, plain->data, there, &f);
        if (err == PEA_OK) {
            if (!frame_fits(&f, there))
                return message_failed(p, PEA_E_INVALID);
            *event = (pea_event){.type = PEA_EVENT_MESSAGE, .data = plain->data + f.offset, .len = f.len};
            pea_buf_consume(plain, f.total);
            taken(p, f.total);
            p->flow->need = p->flow->scanned = 0;
            p->flow->partial_since = -1;
            return PEA_OK;
        }
        if (err < 0)
            return message_failed(p, err);
        if (f.total <= there)
            return message_failed(p, PEA_E_INVALID);
        p->flow->need = f.total;
        p->flow->scanned = f.scanned;
    }
    if (there < p->left)
        return PEA_MORE;
    if (pea_buf_append(&p->flow->carry, plain->data, there) != PEA_OK) /* the chunk ends within the message */
        return pea__pipe_fail(p, PEA_BY_READING, PEA_E_NOMEM, NULL);
    pea_buf_consume(plain, there);
    taken(p, there);
    return PEA_AGAIN;
}

static bool unfinished(const pea_pipe *p)
{
    /* below the top lies at most what came behind an authenticated end */
    return p->flow->carry.len + p->flow->rx[p->top].len > 0;
}

/* The stream ended by `end`. A foreign peer that may half-close has no other way to say it, where its end is
 * authentic or nothing is. */
static pea_err stream_ended(pea_pipe *p, pea_err end, pea_event *event)
{
    bool half = p->half_close && p->mode != PEA_NATIVE && (p->said & PEA__END) == 0 &&
                (end == PEA_EOF || (end > 0 && p->top == 0));
    if (!half || unfinished(p))
        return pea__read_ended(p, end);
    if ((p->heard & PEA__END) != 0)
        return PEA_MORE;
    p->heard |= PEA__END;
    *event = (pea_event){.type = PEA_EVENT_END};
    return PEA_OK;
}

/* PEA_RECORDS: a record is a message, an empty one too. */
static pea_err next_record(pea_pipe *p, pea_event *event)
{
    pea_buf *plain = pea__pipe_plain(p);
    pea_err err = pea__pull(p);
    if (err != PEA_AGAIN)
        return err == PEA_MORE ? err : stream_ended(p, err, event);
    *event = (pea_event){.type = PEA_EVENT_MESSAGE, .data = plain->data, .len = plain->len};
    pea_buf_consume(plain, plain->len);
    p->flow->partial_since = -1;
    return PEA_OK;
}

/* Nothing is carried while a whole message is handed out: its place is free. */
pea_err pea__pipe_withhold(pea_pipe *p, const pea_event *message)
{
    pea_buf kept = {.pool = p->pool};
    pea_err err = pea_buf_append(&kept, message->data, message->len);
    if (err != PEA_OK)
        return err;
    pea_buf_free(&p->flow->carry);
    p->flow->carry = kept;
    p->withheld = true;
    return PEA_OK;
}

static pea_err hand_out_withheld(pea_pipe *p, pea_event *event)
{
    p->withheld = false;
    *event = (pea_event){.type = PEA_EVENT_MESSAGE, .data = p->flow->carry.data, .len = p->flow->carry.len};
    pea_buf_consume(&p->flow->carry, p->flow->carry.len);
    p->flow->partial_since = -1;
    return PEA_OK;
}

pea_err pea__read_message(pea_pipe *p, pea_event *event)
{
    pea_err verdict = p->judge_due ? pea__verdict_keep(p) : PEA_OK;
    if (verdict != PEA_OK)
        return verdict;
    if (p->withheld)
        return hand_out_withheld(p, event);
    if (p->mode == PEA_RECORDS)
        return next_record(p, event);
    for (;;) {
        pea_err err = p->left > 0 ? next_message(p, event) : pea__chunk_next(p, event);
        if (err == PEA_AGAIN && p->phase == PEA__OPEN)
            continue;
        if (err != PEA_MORE)
            return err;
        err = pea__pull(p);
        if (err == PEA_MORE)
            return err;
        if (err != PEA_AGAIN)
            return stream_ended(p, err, event);
    }
}

/* ---- Ends ---- */

static const char *end_text(pea_err end)
{
    switch (end) {
    case PEA_E_TRUNCATED:
        return "the stream ended without the peer's farewell";
    case PEA_E_CRYPTO:
        return "a record is not authentic: it was changed, or sealed with another key";
    case PEA_E_PROTO:
        return "a record is malformed";
    default:
        return NULL;
    }
}

/* The failed transform's own sentence, or ours about such an error. */
static void say_failure(const pea_pipe *p, pea_reason *reason)
{
    char text[PEA_TEXT_MAX + 1];
    size_t len = 0, i = 1;
    while (i < p->top && p->floors[i - 1].ended >= 0) /* those above it failed for its sake */
        i++;
    const pea_transform *t = pea__transform_at(p, i);
    if (i <= p->top && p->floors[i - 1].ended < 0 && t->ops->query != NULL) {
        len = PEA_TEXT_MAX;
        if (t->ops->query(t->self, PEA_QUERY_FAILURE, (pea_span){NULL, 0}, text, &len) != PEA_OK || len > PEA_TEXT_MAX)
            len = 0;
    }
    text[len] = '\0';
    const char *known = end_text(reason->err);
    pea__reason_say(reason, len > 0 ? text : known != NULL ? known : pea_err_text(reason->err));
}

pea_err pea__read_ended(pea_pipe *p, pea_err end)
{
    if (end < 0) { /* what cannot be authenticated is not answered, but by the transform itself */
        pea_origin origin = end == PEA_E_REJECTED ? PEA_BY_PEER : PEA_BY_READING;
        pea_reason reason = {.origin = origin, .err = end, .stage = pea__pipe_stage_name(p)};
        say_failure(p, &reason);
        reason.code = end == PEA_E_KEY_LIMIT ? PEA_CODE_KEY_LIMIT : PEA_CODE_NORMAL;
        return pea__pipe_end(p, &reason, end == PEA_E_KEY_LIMIT);
    }
    if (p->phase != PEA__OPEN)
        return pea__pipe_fail(p, PEA_BY_PEER, PEA_E_TRUNCATED,
                              "the peer closed the connection before both sides had accepted");
    if (p->mode == PEA_NATIVE || unfinished(p))
        return pea__pipe_fail(p, PEA_BY_READING, PEA_E_TRUNCATED, end_text(PEA_E_TRUNCATED));
    pea_reason reason = {.origin = PEA_BY_PEER, .err = end == PEA_EOF ? PEA_OK : end};
    return pea__pipe_end(p, &reason, true);
}
