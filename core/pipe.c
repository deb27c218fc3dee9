/* SPDX-License-Identifier: MIT */
/* One connection without I/O: its life from the first byte to CLOSED, and the public face. What flows through it is
 * in pipe_read.c and pipe_write.c, what comes before in pipe_stage.c, who may come in and stay in pipe_verdict.c, what
 * native mode says in channel.c. */
#include <errno.h>
#include <string.h>

#include "err_priv.h"
#include "pipe_fast_priv.h"
#include "utf8_priv.h"

/* ---- Birth ---- */

static pea_err options_check(const pea_pipe_opts *o, const pea_chain *chain, pea_error *why)
{
    if (o->side != PEA_INITIATOR && o->side != PEA_RESPONDER)
        return pea__error(why, PEA_E_INVALID, "side is neither PEA_INITIATOR nor PEA_RESPONDER");
    if (pea__chain_mode(chain) == PEA_RECORDS && o->codec != NULL)
        return pea__error(why, PEA_E_INVALID, "in PEA_RECORDS one record is one message: there is no codec");
    if (o->low_water != 0 && o->high_water != 0 && o->low_water > o->high_water)
        return pea__error(why, PEA_E_INVALID, "low_water is above high_water");
    if (o->expect != NULL && o->expect->kind == PEA_PEER_NONE) /* as pea_pipe_peer() says it where there is no memory */
        return pea__error(why, PEA_E_INVALID, "expect is nobody: anybody whom the policy allows is NULL");
    if (o->expect_next != NULL && o->expect == NULL)
        return pea__error(why, PEA_E_INVALID, "expect_next goes with expect: it is the same peer's other key");
    return PEA_OK;
}

/* Where no connection has it. */
static pea_err copy_remote(pea_pipe *p, const pea_pipe_opts *o)
{
    if (o->remote == NULL || p->conn_owned)
        return PEA_OK;
    p->remote = pea__alloc(sizeof *p->remote);
    return p->remote != NULL ? pea__place_set(p->remote, o->remote) : PEA_E_NOMEM;
}

void pea__pipe_set_remote(pea_pipe *p, const pea_addr *remote)
{
    pea_err err = pea__place_set(p->remote, remote);
    (void)err; /* an IP address takes no memory */
}

void pea__pipe_name_has_port(pea_pipe *p)
{
    p->name_has_port = true;
}

static pea_err need_expected(pea_pipe *p)
{
    if (p->flow->expected == NULL)
        p->flow->expected = pea__alloc(sizeof *p->flow->expected);
    return p->flow->expected != NULL ? PEA_OK : PEA_E_NOMEM;
}

static pea_err copy_expect(pea_pipe *p, const pea_pipe_opts *o)
{
    if (o->expect == NULL)
        return PEA_OK;
    if (need_expected(p) != PEA_OK)
        return PEA_E_NOMEM;
    p->flow->expected->peer = *o->expect;
    if (o->expect_next != NULL)
        p->flow->expected->next = pea__who_of(o->expect_next);
    return PEA_OK;
}

pea_err pea__pipe_was_us(pea_pipe *p, const pea__who *who)
{
    pea_err err = need_expected(p);
    if (err == PEA_OK)
        p->flow->expected->was_us = *who;
    return err;
}

bool pea__pipe_expects(const pea_pipe *p)
{
    return p->flow->expected != NULL && p->flow->expected->peer.kind != PEA_PEER_NONE;
}

static pea_err copy_name(pea_pipe *p, const pea_pipe_opts *o)
{
    if (o->name == NULL || o->name[0] == '\0')
        return PEA_OK;
    size_t len = strlen(o->name);
    p->name = pea__alloc(len + 1);
    if (p->name == NULL)
        return PEA_E_NOMEM;
    memcpy(p->name, o->name, len);
    return PEA_OK;
}

static pea_err set_codec(pea_pipe *p, const pea_pipe_opts *o)
{
    if (p->mode == PEA_RECORDS) {
        p->codec_ops = &pea__raw_ops; /* never asked: it only says that nothing is added */
        return PEA_OK;
    }
    pea_err err = PEA_OK;
    if (o->codec != NULL)
        p->codec = pea_codec_ref(o->codec);
    else
        err = pea_codec_length(&p->codec, NULL, NULL);
    if (err != PEA_OK)
        return err;
    p->codec_ops = p->codec->ops;
    p->codec_self = p->codec->config;
    uint32_t max;
    if (pea__codec_is_length4(p->codec, &max) && max < UINT32_MAX)
        p->length4_end = max + 1;
    return PEA_OK;
}

pea_err pea__pipe_new(pea_pipe **pipe, pea_chain *chain, const pea_pipe_opts *opts, pea__pool *pool, pea__place *remote,
                      uint64_t runtime_id, uint64_t conn_id, pea_error *why)
{
    pea_pipe_opts o = PEA_PIPE_INIT;
    pea_err err = pea__options(&o, sizeof o, opts, why);
    if (err == PEA_OK)
        err = pea__chain_use(chain, why);
    if (err == PEA_OK)
        err = options_check(&o, chain, why);
    if (err == PEA_OK)
        err = pea__chain_suits(chain, o.side, o.policy, o.expect, why);
    if (err != PEA_OK)
        return err;
    pea_pipe *p = pea__alloc(sizeof *p + chain->n_stages * sizeof p->floors[0]);
    if (p == NULL)
        return pea__error(why, PEA_E_NOMEM, NULL);
    p->chain = pea_chain_ref(chain);
    p->policy = o.policy != NULL ? pea_policy_ref(o.policy) : NULL;
    p->side = (uint8_t)o.side;
    p->mode = (uint8_t)chain->mode;
    p->greets = chain->mode == PEA_NATIVE && !chain->negotiates;
    p->pool = pool;
    p->answer = PEA_MORE;
    p->high_water = o.high_water != 0 ? o.high_water : PEA_HIGH_WATER_DEFAULT;
    p->low_water = o.low_water != 0                            ? o.low_water
                   : p->high_water / 4 < PEA_LOW_WATER_DEFAULT ? p->high_water / 4
                                                               : PEA_LOW_WATER_DEFAULT;
    p->half_close = o.half_close;
    p->conn_owned = runtime_id != 0;
    p->runtime_id = runtime_id;
    p->conn_id = conn_id;
    p->remote = remote;
    err = pea__flow_begin(p);
    if (err == PEA_OK)
        err = copy_remote(p, &o);
    if (err == PEA_OK)
        err = copy_expect(p, &o);
    if (err == PEA_OK)
        err = copy_name(p, &o);
    if (err == PEA_OK)
        err = set_codec(p, &o);
    if (err != PEA_OK) {
        pea_pipe_free(p);
        return pea__error(why, err, NULL);
    }
    *pipe = p;
    return PEA_OK;
}

pea_err pea_pipe_new(pea_pipe **pipe, pea_chain *chain, const pea_pipe_opts *opts, pea_error *why)
{
    static _Atomic uint64_t last_id; /* tickets of different pipes must differ */
    return pea__pipe_new(pipe, chain, opts, NULL, NULL, 0, ++last_id, why);
}

static void codec_destroy(pea_pipe *p)
{
    if (p->ready_told && p->codec != NULL && p->codec_ops->create != NULL && p->codec_ops->destroy != NULL)
        p->codec_ops->destroy(p->codec_self);
    p->codec_self = NULL;
}

/* Gives back what only a living connection needs. Not from inside pea__pipe_end(): a stage, or whoever looks at a
 * message, may be on the stack. */
static void release(pea_pipe *p)
{
    if (p->released)
        return;
    p->released = true;
    pea__stage_destroy(p);
    pea__transcript_free(p);
    if (pea__flow_rests(p))
        return;
    pea_buf_free(&p->flow->carry);
    for (size_t i = 0; i <= p->top; i++)
        pea_buf_free(&p->flow->rx[i]);
}

void pea_pipe_free(pea_pipe *p)
{
    if (p == NULL)
        return;
    if (p->flow != NULL)
        release(p);
    codec_destroy(p);
    for (size_t i = p->top; i >= 1; i--)
        pea__transform_at(p, i)->ops->destroy(pea__transform_at(p, i)->self);
    pea__tx_drop(p);
    pea__flow_free(p);
    pea_codec_unref(p->codec);
    pea_policy_unref(p->policy);
    pea_chain_unref(p->chain);
    pea__verdict_free(p);
    pea__free(p->name);
    pea__free(p->hello);
    if (!p->conn_owned && p->remote != NULL)
        pea__place_clear(p->remote);
    if (!p->conn_owned)
        pea__free(p->remote);
    pea__free(p->reason);
    pea__free(p);
}

const pea_chain *pea__pipe_chain(const pea_pipe *p)
{
    return p->chain;
}

/* ---- Death ---- */

const char *pea__pipe_stage_name(const pea_pipe *p)
{
    return p->phase == PEA__STAGES && p->stage < p->chain->n_stages ? p->chain->stages[p->stage].ops->name : NULL;
}

/* Keeps the first reason. A stage may have left its sentence there already. */
static void keep_reason(pea_pipe *p, const pea_reason *reason)
{
    char text[PEA_TEXT_MAX + 1] = "";
    if (p->reason == NULL)
        p->reason = pea__alloc(sizeof *p->reason);
    if (p->reason == NULL)
        return; /* next() has a constant one for this */
    if (reason->text[0] == '\0')
        memcpy(text, p->reason->text, sizeof text);
    *p->reason = *reason;
    if (reason->text[0] == '\0')
        memcpy(p->reason->text, text, sizeof text);
}

pea_err pea__pipe_end(pea_pipe *p, const pea_reason *reason, bool farewell)
{
    if (p->phase == PEA__FAREWELL || p->phase == PEA__OVER)
        return PEA_AGAIN;
    keep_reason(p, reason);
    bool hushed = reason->origin == PEA_BY_PEER && (p->heard & PEA__CLOSE) != 0;
    bool ours =
        reason->origin == PEA_BY_USER || reason->origin == PEA_BY_SHUTDOWN; /* else the text is for our own log */
    bool told = farewell && !hushed && pea__farewell_say(p, reason->code, ours ? reason->text : NULL) == PEA_OK;
    bool can_end = farewell && !hushed && (p->top > 0 || p->phase == PEA__OPEN);
    if (told || can_end) {
        pea__window_close(p);
        p->phase = PEA__FAREWELL;
        return PEA_AGAIN;
    }
    pea__tx_drop(p);
    /* What a stage or transform said beside its error (an alert) still goes out, and is protected like a farewell. */
    bool heard = p->last_words && !hushed && !p->fin;
    p->phase = heard ? PEA__FAREWELL : PEA__OVER;
    p->wire_end_said = heard;
    return PEA_AGAIN;
}

pea_err pea__pipe_fail(pea_pipe *p, pea_origin origin, pea_err err, const char *text)
{
    pea_reason reason = {.origin = origin, .err = err, .stage = pea__pipe_stage_name(p), .code = pea__code_of(err)};
    if (text == NULL && (p->reason == NULL || p->reason->text[0] == '\0'))
        text = pea_err_text(err);
    pea__reason_say(&reason, text);
    return pea__pipe_end(p, &reason, reason.code != PEA_CODE_NORMAL);
}

void pea__pipe_finish(pea_pipe *p, const pea_reason *reason)
{
    pea__pipe_end(p, reason, true);
}

pea_err pea_pipe_close(pea_pipe *p, uint16_t code, const char *text)
{
    if (p->phase == PEA__FAREWELL || p->phase == PEA__OVER)
        return PEA_E_STATE;
    pea_reason reason = {.origin = PEA_BY_USER, .err = PEA_OK, .code = code};
    if (text != NULL) /* it goes to the peer: no half characters */
        memcpy(reason.text, text, pea__utf8_cut((const uint8_t *)text, strlen(text), PEA_TEXT_MAX));
    pea__pipe_end(p, &reason, true);
    return PEA_OK;
}

void pea_pipe_abort(pea_pipe *p, pea_origin origin, pea_err err, const char *text)
{
    if (p->phase != PEA__FAREWELL && p->phase != PEA__OVER) {
        pea_reason reason = {.origin = origin, .err = err};
        pea__reason_say(&reason, text);
        pea__pipe_end(p, &reason, false);
    }
    p->phase = PEA__OVER;
    pea__tx_drop(p);
    if (p->flow->out.len > 0)
        p->sealed_total = p->sealed_when_empty; /* sealed, but not sent */
    if (!pea__flow_rests(p))
        pea_buf_free(&p->flow->out);
    p->wire_end_said = true;
}

void pea_pipe_broken(pea_pipe *p, pea_origin origin, int sys_errno)
{
    if (p->phase != PEA__FAREWELL && p->phase != PEA__OVER) {
        pea_err err = sys_errno == ECONNRESET || sys_errno == EPIPE ? PEA_E_RESET : PEA_E_SYS;
        pea_reason reason = {.origin = origin, .err = err, .sys = sys_errno, .stage = pea__pipe_stage_name(p)};
        pea__pipe_end(p, &reason, false);
    }
    pea_pipe_abort(p, origin, PEA_E_SYS, NULL);
}

pea_err pea_pipe_end(pea_pipe *p)
{
    if (p->phase != PEA__OPEN || !p->ready_told || (p->said & PEA__END) != 0)
        return PEA_E_STATE;
    if (p->mode == PEA_NATIVE) {
        pea_err err = pea__chunk_say(p, PEA__CHUNK_END, NULL, 0);
        if (err != PEA_OK)
            return err;
        p->said |= PEA__END;
        return PEA_OK;
    }
    for (size_t i = 1; i <= p->top; i++)
        if (pea__transform_at(p, i)->ops->control == NULL)
            return PEA_E_UNSUPPORTED;
    pea__window_close(p);
    p->said |= PEA__END;
    p->end_wanted = true;
    return PEA_OK;
}

/* ---- Input ---- */

static size_t held(const pea_pipe *p)
{
    size_t n = p->flow->carry.len;
    for (size_t i = 0; i <= p->top; i++)
        n += p->flow->rx[i].len;
    return n;
}

size_t pea_pipe_room(const pea_pipe *p)
{
    if (p->fin || p->phase == PEA__OVER)
        return 0;
    if (p->phase == PEA__FAREWELL)
        return PEA__DISCARD_MAX - p->discarded;
    if (p->flow->out_control > PEA_HANDSHAKE_BUFFER_MAX)
        return 0; /* the peer makes us talk and does not listen */
    size_t wire = p->flow->rx[0].len, above = held(p) - wire;
    if (p->phase == PEA__OPEN && pea__pipe_waits(p))
        return 0;
    if (p->phase == PEA__OPEN)
        return p->dry ? PEA__ROOM_READY : above + wire < PEA__ROOM_READY ? PEA__ROOM_READY - above - wire : 0;
    if (above >= PEA_HANDSHAKE_BUFFER_MAX)
        return 0;
    /* what cannot be opened would wait for ever */
    size_t most = p->top > 0 ? PEA__RECORD_MAX : PEA_HANDSHAKE_BUFFER_MAX;
    return wire < most ? most - wire : 0;
}

/* How many of `n` received bytes are taken; after our farewell they are counted, and that is all. */
static size_t accept_bytes(pea_pipe *p, size_t n)
{
    size_t room = pea_pipe_room(p);
    size_t taken = n < room ? n : room;
    if (p->phase == PEA__FAREWELL)
        p->discarded += (uint32_t)taken;
    else if (taken > 0) {
        p->dry = false;
        p->judge_due = true; /* the rules may be others than when bytes came last */
    }
    return taken;
}

pea_err pea_pipe_feed(pea_pipe *p, const void *data, size_t n, size_t *taken)
{
    *taken = accept_bytes(p, n);
    if (*taken == 0 || p->phase == PEA__FAREWELL)
        return PEA_OK;
    if (pea__flow_take(p) != PEA_OK) {
        pea__pipe_fail(p, PEA_BY_READING, PEA_E_NOMEM, NULL);
        return PEA_E_NOMEM;
    }
    pea_buf *wire = &p->flow->rx[0];
    if (wire->len == 0) {
        pea__buf_borrow(wire, data, *taken);
        return PEA_OK;
    }
    pea_err err = pea_buf_append(wire, data, *taken);
    if (err != PEA_OK)
        pea__pipe_fail(p, PEA_BY_READING, err, NULL);
    return err;
}

pea_err pea__pipe_lend(pea_pipe *p, uint8_t *data, size_t n, size_t headroom, size_t *taken)
{
    pea_buf *wire = &p->flow->rx[0];
    size_t rest = wire->len;
    if (rest == 0 || rest > headroom || p->phase == PEA__FAREWELL)
        return pea_pipe_feed(p, data, n, taken);
    *taken = accept_bytes(p, n);
    memcpy(data - rest, wire->data, rest);
    pea__buf_borrow(wire, data - rest, rest + *taken);
    return PEA_OK;
}

void pea_pipe_feed_end(pea_pipe *p)
{
    p->fin = true;
}

void pea_pipe_tick(pea_pipe *p, int64_t mono_ms, int64_t wall_ms)
{
    p->now_ms = mono_ms;
    p->wall_ms = wall_ms;
}

/* ---- Events ---- */

static pea_err begin(pea_pipe *p)
{
    p->begun = true;
    p->phase = PEA__STAGES;
    if (!p->greets)
        return PEA_AGAIN;
    if (p->side == PEA_INITIATOR && pea__greeting_say(p) != PEA_OK)
        return pea__pipe_fail(p, PEA_BY_HANDSHAKE, PEA_E_NOMEM, NULL);
    if (p->side == PEA_RESPONDER || p->chain->n_stages == 0)
        p->phase = PEA__GREETING;
    return PEA_AGAIN;
}

/* Whose first record is to prove him must have said it. What is in it comes after READY. */
static pea_err hear_proof(pea_pipe *p)
{
    pea_buf *plain = pea__pipe_plain(p);
    pea_err err = pea__pull(p);
    if (err == PEA_MORE)
        return pea__verdict_pledged(p) ? err : PEA_AGAIN;
    if (err != PEA_AGAIN)
        return pea__read_ended(p, err);
    if (p->mode != PEA_RECORDS)
        return err;
    const pea_event message = {.data = plain->data, .len = plain->len};
    if (pea__pipe_withhold(p, &message) != PEA_OK)
        return pea__pipe_fail(p, PEA_BY_READING, PEA_E_NOMEM, NULL);
    pea_buf_consume(plain, plain->len);
    return err;
}

/* Foreign modes open without a word. */
static pea_err open_foreign(pea_pipe *p, pea_event *event)
{
    if (pea__verdict_pledged(p))
        return hear_proof(p);
    pea_err err = pea__verdict_settle(p);
    if (err != PEA_OK)
        return err;
    p->phase = PEA__OPEN;
    p->left = SIZE_MAX;
    p->ready_told = true;
    pea__transcript_free(p);
    *event = (pea_event){.type = PEA_EVENT_READY};
    return PEA_OK;
}

static pea_err codec_create(pea_pipe *p)
{
    if (p->codec_ops->create == NULL)
        return PEA_OK;
    void *self = NULL;
    pea_peer peer;
    bool named = pea__pipe_copy_peer(p, &peer);
    pea_err err = p->codec_ops->create(p->codec->config, (pea_side)p->side, named ? &peer : NULL, &self);
    if (err == PEA_OK)
        p->codec_self = self;
    return err;
}

/* READY, unless the codec cannot be made: then nobody was told yet that it was. */
static pea_err ready(pea_pipe *p, pea_event *event)
{
    pea_err err = codec_create(p);
    if (err == PEA_OK) {
        pea__free(p->flow->expected); /* it has been met, and stages are over */
        p->flow->expected = NULL;
        return PEA_OK;
    }
    p->ready_told = false;
    pea__pipe_fail(p, PEA_BY_HANDSHAKE, err < 0 ? err : PEA_E_INVALID, "the codec could not be created");
    *event = (pea_event){0};
    return PEA_AGAIN;
}

static pea_err opening(pea_pipe *p, pea_event *event)
{
    pea_err err = p->mode == PEA_NATIVE ? pea__opening_run(p, event) : open_foreign(p, event);
    return err == PEA_OK && event->type == PEA_EVENT_READY ? ready(p, event) : err;
}

/* After our last word: all of it must be out, and the peer must have ended, or said more than we read. */
static pea_err farewell(pea_pipe *p)
{
    bool out = pea__tx_waits(p) + p->flow->out.len == 0 && p->wire_end_said;
    if (!out || !(p->fin || p->discarded >= PEA__DISCARD_MAX))
        return PEA_MORE;
    p->phase = PEA__OVER;
    return PEA_AGAIN;
}

const pea_reason *pea__pipe_reason(const pea_pipe *p)
{
    static const pea_reason no_memory = {.origin = PEA_BY_READING, .err = PEA_E_NOMEM, .text = "memory is exhausted"};
    if (p->phase != PEA__FAREWELL && p->phase != PEA__OVER)
        return NULL;
    return p->reason != NULL ? p->reason : &no_memory;
}

static pea_err over(pea_pipe *p, pea_event *event)
{
    if (p->told)
        return PEA_MORE;
    p->told = true;
    *event = (pea_event){.type = PEA_EVENT_CLOSED, .reason = pea__pipe_reason(p)};
    return PEA_OK;
}

static pea_err advance(pea_pipe *p, pea_event *event)
{
    if (!p->begun && p->phase < PEA__FAREWELL) /* it may have ended before it began */
        return begin(p);
    switch ((pea__phase)p->phase) {
    case PEA__GREETING:
        return pea__greeting_run(p);
    case PEA__STAGES:
        return pea__stages_run(p);
    case PEA__OPENING:
        return opening(p, event);
    case PEA__OPEN:
        return pea__read_message(p, event);
    case PEA__FAREWELL:
        release(p);
        return farewell(p);
    case PEA__OVER:
        break;
    }
    release(p);
    return over(p, event);
}

/* Nothing more for now: what is borrowed is copied, what is empty goes back to the pool. */
static void settle(pea_pipe *p)
{
    p->dry = true;
    if (pea__flow_rests(p))
        return;
    bool ok = pea__buf_own(&p->flow->rx[0]) == PEA_OK;
    for (size_t i = 0; i <= p->top; i++)
        pea__buf_settle(&p->flow->rx[i]);
    pea__buf_settle(&p->flow->carry);
    if (!ok)
        pea__pipe_fail(p, PEA_BY_READING, PEA_E_NOMEM, NULL);
    else if (p->phase != PEA__OPEN || !pea__read_partial(p))
        p->flow->partial_since = -1;
    else if (p->flow->partial_since < 0)
        p->flow->partial_since = p->now_ms;
}

/* A peer that has gone while somebody else is waited for need not be waited for; if it was in, its last messages may
 * yet be handed out. Returns what it was that it did not wait for; NULL: it has not gone, or nothing waits. */
static const char *gone_while(const pea_pipe *p)
{
    if (!p->fin || p->phase >= PEA__OPEN)
        return NULL;
    if (p->bill == PEA__BILL_WRITTEN || p->bill == PEA__BILL_TAKEN)
        return "the peer closed the connection before its handshake's turn came";
    if (p->gate == PEA__GATE_WAITS)
        return "the peer closed the connection while another one of its was asked for a sign of life";
    return pea__pipe_waits(p) ? "the peer closed the connection while it was being judged" : NULL;
}

bool pea__pipe_take_drain(pea_pipe *p)
{
    bool drained = p->want_drain && p->phase == PEA__OPEN && pea_pipe_queued(p) < p->low_water;
    if (drained)
        p->want_drain = false;
    return drained;
}

/* The next message, if that is the next event. */
static bool take_message(pea_pipe *p, pea_event *event)
{
    pea_span view = pea__pipe_view(p);
    size_t len;
    if (!pea__message_whole(p, view, &len))
        return false;
    *event = (pea_event){.type = PEA_EVENT_MESSAGE, .data = view.data + 4, .len = len};
    pea__pipe_viewed(p, len + 4);
    return true;
}

/* Whether nothing came since it rests. */
static bool rests(const pea_pipe *p)
{
    return pea__flow_rests(p) && p->phase == PEA__OPEN && !p->fin && !p->judge_due && !p->want_drain;
}

static pea_err next_event(pea_pipe *p, pea_event *event)
{
    pea_err err;
    do {
        if (pea__pipe_take_drain(p)) {
            *event = (pea_event){.type = PEA_EVENT_DRAIN};
            return PEA_OK;
        }
        err = advance(p, event);
        const char *gone = err == PEA_MORE ? gone_while(p) : NULL;
        if (gone != NULL)
            err = pea__pipe_fail(p, PEA_BY_PEER, PEA_E_TRUNCATED, gone);
        if (err == PEA_MORE) {
            pea__phase before = (pea__phase)p->phase;
            settle(p);
            if ((pea__phase)p->phase != before)
                err = PEA_AGAIN;
        }
    } while (err == PEA_AGAIN);
    return err;
}

pea_err pea_pipe_next(pea_pipe *p, pea_event *event)
{
    if (take_message(p, event))
        return PEA_OK;
    if (rests(p))
        return PEA_MORE;
    if (pea__flow_take(p) != PEA_OK && p->phase == PEA__OPEN)
        pea__pipe_fail(p, PEA_BY_READING, PEA_E_NOMEM, NULL);
    p->busy = true;
    pea_err err = next_event(p, event);
    p->busy = false;
    if (err == PEA_MORE)
        pea__flow_rest(p);
    return err;
}

/* ---- Looking in ---- */

pea_state pea_pipe_state(const pea_pipe *p)
{
    switch ((pea__phase)p->phase) {
    case PEA__GREETING:
    case PEA__STAGES:
        return PEA_HANDSHAKING;
    case PEA__OPENING:
        return PEA_OPENING;
    case PEA__OPEN:
        return PEA_READY;
    case PEA__FAREWELL:
        return PEA_CLOSING;
    case PEA__OVER:
        break;
    }
    return p->told ? PEA_CLOSED : PEA_CLOSING;
}

pea_side pea_pipe_side(const pea_pipe *p)
{
    return (pea_side)p->side;
}

const pea_peer *pea__pipe_self(const pea_pipe *p)
{
    return &p->chain->self;
}

int64_t pea_pipe_partial_since(const pea_pipe *p)
{
    return p->flow->partial_since;
}

pea_err pea_pipe_query(const pea_pipe *p, pea_query what, pea_span in, void *out, size_t *len)
{
    const pea_transform *t = p->top > 0 ? pea__transform_at(p, p->top) : NULL;
    return t != NULL && t->ops->query != NULL ? t->ops->query(t->self, what, in, out, len) : PEA_E_UNSUPPORTED;
}

pea_err pea__pipe_hold(pea_pipe *p)
{
    return pea__buf_own(&p->flow->rx[0]);
}

size_t pea__pipe_unread(const pea_pipe *p)
{
    size_t n = p->flow->carry.cap;
    for (size_t i = 0; i <= p->top; i++)
        n += p->flow->rx[i].cap;
    return n;
}

size_t pea__pipe_held(const pea_pipe *p)
{
    return pea__pipe_unread(p) + p->flow->tx.cap + p->flow->out.cap;
}
