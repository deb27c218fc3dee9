/* SPDX-License-Identifier: MIT */
/* The pipe's way out, its second half: what is queued is sealed, a record at a time, when the driver asks for output,
 * and handed over as wire bytes. */
#include "pipe_fast_priv.h"

/* ---- The wire ---- */

pea_err pea__seal(pea_pipe *p, const pea_transform *t, const pea_span *spans, size_t n, pea_buf *wire)
{
    pea_err err = t->ops->seal(t->self, spans, n, wire);
    if (err != PEA_EOF)
        return err;
    p->key_worn = true;
    return PEA_OK;
}

/* Seals plaintext through the transforms of floors `floor` ... 1 to the back of the wire. */
static pea_err seal_down(pea_pipe *p, const pea_span *spans, size_t n, size_t floor)
{
    pea_buf from = {.pool = p->pool}, to = {.pool = p->pool};
    pea_span one;
    pea_err err = PEA_OK;
    for (size_t i = 0; floor == 0 && i < n && err == PEA_OK; i++)
        err = pea_buf_append(&p->flow->out, spans[i].data, spans[i].len);
    for (size_t i = floor; i >= 1 && err == PEA_OK; i--) {
        const pea_transform *t = pea__transform_at(p, i);
        err = pea__seal(p, t, spans, n, i == 1 ? &p->flow->out : &to);
        if (i == 1 || err != PEA_OK)
            break;
        pea_buf_free(&from);
        from = to;
        to = (pea_buf){.pool = p->pool};
        one = (pea_span){from.data, from.len};
        spans = &one;
        n = 1;
    }
    pea_buf_free(&from);
    pea_buf_free(&to);
    return err;
}

pea_err pea__wire_control(pea_pipe *p, pea_buf *plain, size_t floor)
{
    if (plain->len == 0)
        return PEA_OK;
    size_t before = p->flow->out.len;
    pea_err err = seal_down(p, &(pea_span){plain->data, plain->len}, 1, floor);
    p->flow->out_control += p->flow->out.len - before;
    pea_buf_consume(plain, plain->len);
    return err;
}

/* How much plaintext the next record may take, so that its wire bytes fit a write beside what lies in `out`
 * already; 0: it has to wait. */
static size_t record_share(const pea_pipe *p)
{
    if (p->flow->out.len > 0 && p->flow->out_control == 0)
        return 0; /* the rest of an earlier write: let it go first, for full records */
    size_t overhead = 0, most = PEA_WRITE_MAX;
    for (size_t i = 1; i <= p->top; i++) {
        const pea_transform *t = pea__transform_at(p, i);
        overhead += t->overhead;
        if (t->record_plain != 0 && t->record_plain < most)
            most = t->record_plain;
    }
    if (p->flow->out.len + overhead >= PEA_WRITE_MAX)
        return 0;
    size_t fits = PEA_WRITE_MAX - overhead - p->flow->out.len;
    return fits < most ? fits : most;
}

/* Seals what is queued, as far as one write goes. */
static pea_err seal_queued(pea_pipe *p)
{
    pea_span spans[2];
    size_t n = record_share(p);
    if (n > pea__tx_waits(p))
        n = pea__tx_waits(p);
    if (n == 0)
        return PEA_OK;
    pea_err err = seal_down(p, spans, pea__tx_front(p, n, spans), p->top);
    if (err == PEA_OK)
        pea__tx_consume(p, n);
    return err;
}

/* The transforms say the end, innermost first, once all messages and chunks are out. In foreign modes this
 * is the only farewell. */
static pea_err say_wire_end(pea_pipe *p)
{
    p->wire_end_said = true;
    if (pea__flow_take(p) != PEA_OK)
        return PEA_E_NOMEM;
    for (size_t i = p->top; i >= 1; i--) {
        const pea_transform *t = pea__transform_at(p, i);
        pea_buf last = {.pool = p->pool};
        pea_err err = t->ops->control != NULL ? t->ops->control(t->self, PEA_CONTROL_END, &last) : PEA_E_UNSUPPORTED;
        if (err == PEA_OK)
            err = pea__wire_control(p, &last, i - 1);
        pea_buf_free(&last);
        if (err < 0 && err != PEA_E_UNSUPPORTED)
            return err;
    }
    return PEA_OK;
}

/* Ends in good order while the key still can: what is queued goes out, and a farewell behind it. */
static void end_worn(pea_pipe *p)
{
    static const pea_reason worn = {.origin = PEA_BY_WRITING,
                                    .err = PEA_E_KEY_LIMIT,
                                    .code = PEA_CODE_KEY_LIMIT,
                                    .text = "a key has sealed as much as it may: dial again"};
    if (p->phase == PEA__OPEN)
        (void)pea__pipe_end(p, &worn, true);
}

static bool is_last_word(const pea_pipe *p)
{
    return p->phase == PEA__FAREWELL || p->phase == PEA__OVER;
}

pea_err pea__pipe_output(pea_pipe *p, pea_span spans[2], size_t *n)
{
    p->out_direct = false;
    if (p->pong_owed && pea__tx_waits(p) + p->flow->out.len == 0 && p->phase == PEA__OPEN) {
        p->pong_owed = false;
        if (pea__chunk_say(p, PEA__CHUNK_PONG, p->flow->pong, sizeof p->flow->pong) != PEA_OK)
            pea__pipe_fail(p, PEA_BY_WRITING, PEA_E_NOMEM, NULL);
    }
    pea__window_close(p);
    if (p->flow->tx.len == 0 && p->flow->tx.base != NULL)
        pea_buf_free(&p->flow->tx); /* what was queued had no bytes */
    p->tx_hint = p->flow->tx.len < PEA_WRITE_MAX ? (uint32_t)p->flow->tx.len : PEA_WRITE_MAX;
    pea_err err = PEA_OK;
    if (pea__tx_waits(p) > 0 && (p->top > 0 || p->flow->out.len > 0))
        err = seal_queued(p);
    if (err == PEA_OK && p->key_worn)
        end_worn(p);
    if (err == PEA_OK && pea__tx_waits(p) == 0 && (p->phase == PEA__FAREWELL || p->end_wanted) && !p->wire_end_said)
        err = say_wire_end(p);
    if (err != PEA_OK) /* what cannot be sealed cannot be followed by a farewell either */
        pea_pipe_abort(p, PEA_BY_WRITING, err, pea_err_text(err));

    p->out_direct = p->flow->out.len == 0 && p->top == 0 && pea__tx_waits(p) > 0;
    size_t waits = p->out_direct ? pea__tx_waits(p) : p->flow->out.len;
    if (waits == 0)
        return is_last_word(p) || p->wire_end_said ? PEA_EOF : PEA_MORE;
    if (waits > PEA_WRITE_MAX && p->mode != PEA_RECORDS)
        waits = PEA_WRITE_MAX;
    if (p->out_direct) {
        *n = pea__tx_front(p, waits, spans);
    } else {
        spans[0] = (pea_span){p->flow->out.data, waits};
        *n = 1;
    }
    return PEA_OK;
}

pea_err pea_pipe_output(pea_pipe *p, pea_span *span)
{
    pea_span spans[2]; /* nothing is lent between two calls but by a node's connections */
    size_t n;
    pea_err err = pea__pipe_output(p, spans, &n);
    if (err == PEA_OK)
        *span = spans[0];
    return err;
}

void pea_pipe_sent(pea_pipe *p, size_t n)
{
    if (pea__flow_rests(p))
        return;
    size_t waits = p->out_direct ? pea__tx_waits(p) : p->flow->out.len;
    if (n > waits)
        n = waits;
    if (p->out_direct)
        pea__tx_consume(p, n);
    else
        pea_buf_consume(&p->flow->out, n);
    if (n < waits)
        return;
    if (!p->out_direct) {
        pea_buf_free(&p->flow->out);
        p->flow->out_control = 0;
    }
    p->sealed_when_empty = p->sealed_total;
    pea__flow_rest(p);
}

bool pea__pipe_ends_with(const pea_pipe *p, size_t n)
{
    return (is_last_word(p) || p->wire_end_said) && pea__tx_waits(p) + p->flow->out.len == n;
}

bool pea__pipe_has_output(const pea_pipe *p)
{
    return pea__tx_waits(p) + p->flow->out.len > 0 || p->pong_owed || (is_last_word(p) && !p->wire_end_said);
}
