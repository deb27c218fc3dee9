/* SPDX-License-Identifier: MIT */
/* How a pipe runs its stages: one after another, each on the plaintext of the transforms before it. Whom they may let
 * in is pipe_verdict.c's to say. */
#include <string.h>

#include "err_priv.h"
#include "pipe_state_priv.h"

/* ---- What a stage may ask ---- */

pea_side pea_stage_side(const pea_stage_env *env)
{
    return (pea_side)env->pipe->side;
}

const pea_addr *pea_stage_remote(const pea_stage_env *env)
{
    return env->pipe->remote != NULL ? pea__place_whole(env->pipe->remote) : NULL;
}

int64_t pea_stage_wall_ms(const pea_stage_env *env)
{
    return env->pipe->wall_ms;
}

const pea_peer *pea_stage_expect(const pea_stage_env *env)
{
    return pea__pipe_expects(env->pipe) ? &env->pipe->flow->expected->peer : NULL;
}

const char *pea_stage_dialled_name(const pea_stage_env *env)
{
    return env->pipe->name;
}

bool pea_stage_native(const pea_stage_env *env)
{
    return env->pipe->mode == PEA_NATIVE;
}

pea_err pea_stage_prologue(const pea_stage_env *env, pea_buf *out)
{
    if (env->pipe->mode != PEA_NATIVE)
        return PEA_E_STATE;
    pea_err err = pea_buf_append(out, "peapod", 6);
    return err != PEA_OK ? err : pea__transcript_write(env->pipe, false, out);
}

pea_span pea_stage_transcript(const pea_stage_env *env, size_t stage, pea_side side)
{
    const pea__transcript *t = env->pipe->flow->transcript;
    if (t == NULL || stage >= t->stages)
        return (pea_span){NULL, 0};
    const pea_buf *said = &t->said[stage][side == PEA_RESPONDER];
    return (pea_span){said->data, said->len};
}

pea_err pea_stage_binding(const pea_stage_env *env, uint8_t *out, size_t *len)
{
    return pea_pipe_query(env->pipe, PEA_QUERY_BINDING, (pea_span){NULL, 0}, out, len);
}

pea_ticket pea_stage_ticket(pea_stage_env *env)
{
    pea_pipe *p = env->pipe;
    if (p->answer == PEA_WAIT && !pea__policy_waits(p))
        return (pea_ticket){p->runtime_id, p->conn_id, p->wait};
    return pea__wait_open(p);
}

pea_err pea_stage_answer(const pea_stage_env *env)
{
    const pea_pipe *p = env->pipe;
    return p->answer == PEA_MORE || pea__policy_waits(p) ? PEA_WAIT : p->answer;
}

/* ---- Paying for work ---- */

void pea__pipe_meter(pea_pipe *p)
{
    p->bill = PEA__BILL_DUE;
}

pea_err pea_stage_pay(pea_stage_env *env)
{
    pea_pipe *p = env->pipe;
    if (p->bill == PEA__BILL_NONE)
        return PEA_OK;
    if (p->bill == PEA__BILL_DUE) {
        p->bill = PEA__BILL_WRITTEN;
        (void)pea__wait_open(p);
    }
    return PEA_WAIT;
}

bool pea__pipe_take_bill(pea_pipe *p)
{
    if (p->bill != PEA__BILL_WRITTEN || p->phase != PEA__STAGES)
        return false;
    p->bill = PEA__BILL_TAKEN;
    return true;
}

void pea__pipe_paid(pea_pipe *p)
{
    if (p->bill != PEA__BILL_TAKEN)
        return;
    p->bill = PEA__BILL_NONE; /* all that follows is paid, too */
    p->answer = PEA_MORE;
    p->stage_poked = true;
}

pea_err pea__say_why(pea_pipe *p, pea_err err, const char *text)
{
    if (p->reason == NULL)
        p->reason = pea__alloc(sizeof *p->reason);
    if (p->reason != NULL)
        pea__reason_say(p->reason, text);
    return err;
}

pea_err pea_stage_fail(pea_stage_env *env, pea_err err, const char *text)
{
    return pea__say_why(env->pipe, err, text);
}

/* ---- The transcript of plaintext stages ---- */

void pea__transcript_free(pea_pipe *p)
{
    if (p->flow->transcript == NULL)
        return;
    for (size_t i = 0; i < PEA_STAGES_MAX; i++)
        for (size_t side = 0; side < 2; side++)
            pea_buf_free(&p->flow->transcript->said[i][side]);
    pea__free(p->flow->transcript);
    p->flow->transcript = NULL;
}

/* Whether the stage that runs is a plaintext one: no transform is in place, and it will leave none. */
static bool in_plaintext(const pea_pipe *p)
{
    return p->top == 0 && p->chain->stages[p->stage].ops->yield == NULL;
}

/* Notes what a plaintext stage took and what it said. */
static pea_err transcribe(pea_pipe *p, pea_span heard, pea_span said)
{
    if (p->flow->transcript == NULL && (p->flow->transcript = pea__alloc(sizeof *p->flow->transcript)) == NULL)
        return PEA_E_NOMEM;
    pea__transcript *t = p->flow->transcript;
    t->stages = (size_t)p->stage + 1;
    size_t total = heard.len + said.len;
    for (size_t i = 0; i < t->stages; i++)
        total += t->said[i][0].len + t->said[i][1].len;
    if (total > (p->mode == PEA_NATIVE ? PEA__TRANSCRIPT_MAX : PEA__TRANSCRIPT_FOREIGN_MAX))
        return PEA_E_TOO_BIG;
    pea_err err = pea_buf_append(&t->said[p->stage][p->side], said.data, said.len);
    return err != PEA_OK ? err : pea_buf_append(&t->said[p->stage][!p->side], heard.data, heard.len);
}

/* ---- Running ---- */

void pea__stage_destroy(pea_pipe *p)
{
    if (!p->started)
        return;
    p->started = false;
    const pea_stage_ops *ops = p->chain->stages[p->stage].ops;
    if (ops->start != NULL && ops->destroy != NULL)
        ops->destroy(p->flow->stage_self);
    p->flow->stage_self = NULL;
}

static pea_err stage_start(pea_pipe *p)
{
    const pea__chain_stage *s = &p->chain->stages[p->stage];
    p->flow->stage_self = s->config;
    p->flow->stage_seen = 0;
    if (p->verdict == NULL || !p->verdict->asked)
        p->answer = PEA_MORE;
    if (s->ops->start != NULL) {
        p->flow->stage_self = NULL;
        pea_err err = s->ops->start(s->config, &p->flow->env, &p->flow->stage_self);
        if (err != PEA_OK)
            return err < 0 ? err : PEA_E_INVALID;
    }
    p->started = true;
    return PEA_OK;
}

/* Pushes the transform that the stage leaves behind. Plaintext that lies on the floor below becomes its wire: nothing
 * of it is taken for plaintext after it. */
static pea_err stage_yield(pea_pipe *p)
{
    const pea_stage_ops *ops = p->chain->stages[p->stage].ops;
    if (ops->yield == NULL)
        return PEA_OK;
    pea__floor *f = pea__floor_at(p, (size_t)p->top + 1);
    pea_err err = ops->yield(p->flow->stage_self, &f->transform);
    if (err != PEA_OK)
        return err < 0 ? err : PEA_E_INVALID;
    const pea_transform_ops *t = f->transform.ops;
    if (t == NULL || t->version != PEA_TRANSFORM_VERSION || t->unseal == NULL || t->seal == NULL || t->destroy == NULL)
        return PEA_E_INVALID;
    uint64_t record = (uint64_t)f->transform.record_plain + f->transform.overhead;
    if (record > PEA_WRITE_MAX && !f->transform.one_message_per_record) {
        t->destroy(f->transform.self);
        return pea__say_why(p, PEA_E_INVALID, "a record of the transform does not fit one write");
    }
    p->top++;
    return PEA_OK;
}

/* The last stage is done. */
static pea_err stages_done(pea_pipe *p)
{
    if (p->mode == PEA_NATIVE)
        return pea__opening_begin(p);
    if (pea__verdict_due(p) != PEA_OK)
        return pea__pipe_fail(p, PEA_BY_HANDSHAKE, PEA_E_REFUSED, NULL);
    if (p->mode == PEA_RECORDS && (p->top == 0 || !pea__transform_at(p, p->top)->one_message_per_record))
        return pea__pipe_fail(p, PEA_BY_HANDSHAKE, PEA_E_INVALID,
                              "PEA_RECORDS needs a last transform that keeps one message in one record");
    p->phase = PEA__OPENING;
    return PEA_AGAIN;
}

/* The stage that ran is done; the peer's greeting may still have to come before anything of the next is read. */
static pea_err stage_done(pea_pipe *p)
{
    pea_err err = stage_yield(p);
    if (err != PEA_OK)
        return pea__pipe_fail(p, PEA_BY_HANDSHAKE, err, NULL);
    if (pea__verdict_pledged(p) && p->verdict->pledge_floor > p->top)
        return pea__pipe_fail(p, PEA_BY_HANDSHAKE, PEA_E_INVALID,
                              "the stage says that a record proves the peer, and leaves no transform for one");
    bool refused = p->verdict != NULL && p->verdict->refused;
    bool last = (size_t)p->stage + 1 == p->chain->n_stages;
    if (refused &&
        !(last && p->mode == PEA_NATIVE)) /* no later stage runs: the transform's END is all that can be said */
        return pea__verdict_fail(p);
    pea__stage_destroy(p);
    p->stage++;
    return PEA_AGAIN;
}

/* One step() with what there is, and what it said on its way to the wire. */
static pea_err stage_step(pea_pipe *p, pea_buf *in)
{
    const pea_stage_ops *ops = p->chain->stages[p->stage].ops;
    pea_buf said = {.pool = p->pool};
    const uint8_t *from = in->data;
    size_t had = in->len;
    uint64_t wait = p->wait;
    pea_err answer = p->answer;
    pea_err err = ops->step(p->flow->stage_self, &p->flow->env, in, &said);
    p->flow->stage_seen = (uint32_t)in->len; /* pea_pipe_room() bounds it */
    if (p->phase != PEA__STAGES) {           /* a callback that it made ended the pipe: nothing more is said */
        pea_buf_free(&said);
        return PEA_AGAIN;
    }
    if (err == PEA_AGAIN && said.len == 0 && in->len == had)
        err = pea__say_why(p, PEA_E_INVALID, "the stage says \"again\" and does nothing");
    pea_err sent = PEA_OK;
    if (in_plaintext(p))
        sent = transcribe(p, (pea_span){from, had - in->len}, (pea_span){said.data, said.len});
    p->last_words = err < 0 && said.len > 0;
    if (sent == PEA_OK)
        sent = pea__wire_control(p, &said, p->top);
    pea_buf_free(&said);
    if (err >= 0 && sent != PEA_OK)
        return sent;
    if (err == PEA_MORE && in->len > ops->max_in)
        return pea__say_why(p, PEA_E_PROTO, "the peer said more than this stage ever reads");
    if (err == PEA_WAIT && p->answer != PEA_WAIT) {
        bool answered = p->wait != wait || answer == PEA_WAIT;
        return answered ? PEA_AGAIN : pea__say_why(p, PEA_E_INVALID, "the stage waits without a ticket");
    }
    return err;
}

/* Whether the stage has something to do: it begins, bytes came, or its wait was answered. */
static bool stage_due(const pea_pipe *p, const pea_buf *in)
{
    return !p->started || p->stage_poked || in->len > p->flow->stage_seen;
}

pea_err pea__stages_run(pea_pipe *p)
{
    if (p->stage == p->chain->n_stages)
        return stages_done(p);
    /* An initiator's first stage speaks in the same write as the greeting, before the peer's greeting came: it must
     * not see that one's bytes. */
    bool early = p->greets && p->greeting_seen < PEA__GREETING_BYTES;
    pea_buf nothing = {.pool = p->pool};
    pea_buf *in = early ? &nothing : pea__pipe_plain(p);
    if (p->started && p->answer == PEA_WAIT)
        return PEA_MORE;
    pea_err err = PEA_MORE;
    if (stage_due(p, in)) {
        p->stage_poked = false;
        err = p->started ? PEA_OK : stage_start(p);
        if (err == PEA_OK)
            err = stage_step(p, in);
        if (p->phase != PEA__STAGES)
            return PEA_AGAIN; /* a callback that it made ended the pipe */
    } else if (!early) {
        err = pea__pull(p);
        return err == PEA_AGAIN || err == PEA_MORE ? err : pea__read_ended(p, err);
    }
    switch (err) {
    case PEA_DONE:
        (void)stage_done(p); /* a failure has ended the pipe */
        break;
    case PEA_WAIT:
        return PEA_MORE;
    case PEA_MORE:
        break;
    case PEA_AGAIN:
        p->stage_poked = true;
        return PEA_AGAIN;
    case PEA_E_REFUSED:
        if (p->verdict != NULL && p->verdict->refused)
            return pea__verdict_fail(p);
        return pea__pipe_fail(p, PEA_BY_HANDSHAKE, err, NULL);
    default:
        return pea__pipe_fail(p, PEA_BY_HANDSHAKE, err < 0 ? err : PEA_E_INVALID, NULL);
    }
    if (early && p->phase == PEA__STAGES)
        p->phase = PEA__GREETING;
    return PEA_AGAIN;
}
