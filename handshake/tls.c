/* SPDX-License-Identifier: MIT */
/* The TLS stage: hands bytes to the engine of secure/tls, and has the peer judged when its certificate is known,
 * before this side shows its own, and again when the handshake is complete. It does no cryptography. */
#include "buf_priv.h"
#include "chain_priv.h"
#include "err_priv.h"
#include "peapod/chain.h"
#include "tls/tls_priv.h"

typedef struct tls_stage {
    pea__tls_session *session;
    pea_sight ask; /* what is to be asked before the next step; 0: nothing */
    bool shown;    /* what a root says of the peer was passed on */
    bool complete; /* the handshake is */
    bool hear_why; /* native responder: a refused peer is told so inside TLS */
} tls_stage;

/* The peer is refused. It is told: in native mode inside TLS, where a transform can be yielded, else by an alert. */
static pea_err refused(tls_stage *s, pea_stage_env *env, pea_buf *out)
{
    if (pea_stage_native(env) && s->complete)
        return PEA_OK;
    bool untrusted = pea__tls_untrusted(s->session);
    if (untrusted) /* says more than that no rule names this key */
        (void)pea_stage_fail(env, PEA_E_REFUSED, pea__tls_sentence(s->session));
    if (s->hear_why)
        return PEA_OK; /* the verdict stays, and so does the sentence */
    pea__tls_refuse(s->session, out);
    return PEA_E_REFUSED;
}

/* PEA_OK: go on | PEA_WAIT | PEA_E_REFUSED | < 0 */
static pea_err judge(tls_stage *s, pea_stage_env *env, pea_buf *out)
{
    pea_peer peer;
    pea_err err = PEA_OK;
    if (s->ask == 0 || !pea__tls_peer(s->session, &peer))
        return PEA_OK;
    if (!s->shown && pea__tls_vouch(s->session) != NULL)
        err = pea_stage_vouch(env, pea__tls_vouch(s->session));
    s->shown = true;
    if (err == PEA_OK)
        err = pea_stage_judge(env, &peer, s->ask);
    if (err == PEA_WAIT)
        return err; /* asked again when this stage runs again */
    s->ask = (pea_sight)0;
    return err == PEA_E_REFUSED ? refused(s, env, out) : err;
}

static pea_err tls_step(void *self, pea_stage_env *env, pea_buf *in, pea_buf *out)
{
    tls_stage *s = self;
    for (;;) {
        pea_err err = judge(s, env, out);
        if (err != PEA_OK)
            return err;
        if (s->complete)
            return PEA_DONE;
        if (in->len > 0 && pea_stage_pay(env) == PEA_WAIT)
            return PEA_WAIT;
        err = pea__tls_step(s->session, in, out);
        if (err == PEA_AGAIN)
            s->ask = PEA_SEEN;
        else if (err == PEA_DONE) {
            s->complete = true;
            s->ask = PEA_PROVEN;
        } else
            return err < 0 ? pea_stage_fail(env, err, pea__tls_sentence(s->session)) : err;
    }
}

static pea_err tls_start(const void *config, pea_stage_env *env, void **self)
{
    union { /* the chain keeps it const; it is shared, and counted */
        const void *in;
        pea__tls *out;
    } tls = {.in = config};
    pea_error why = {.code = PEA_OK};
    tls_stage *s = pea__alloc(sizeof *s);
    if (s == NULL)
        return PEA_E_NOMEM;
    s->hear_why = pea_stage_native(env) && pea_stage_side(env) == PEA_RESPONDER;
    pea_err err = pea__tls_session_new(&s->session, tls.out, pea_stage_side(env), pea_stage_dialled_name(env), &why);
    if (err != PEA_OK) {
        pea__free(s);
        return pea_stage_fail(env, err, why.text);
    }
    *self = s;
    return PEA_OK;
}

static pea_err tls_yield(void *self, pea_transform *out)
{
    tls_stage *s = self;
    pea__tls_yield(s->session, out);
    s->session = NULL;
    return PEA_OK;
}

static void tls_destroy(void *self)
{
    tls_stage *s = self;
    pea__tls_session_free(s->session);
    pea__free(s);
}

static const pea_stage_ops tls_ops = {
    .version = PEA_STAGE_VERSION,
    .flags = PEA_STAGE_NEGOTIATES,
    .name = "tls",
    .max_in = PEA__TLS_RECORD_MAX,
    .start = tls_start,
    .step = tls_step,
    .yield = tls_yield,
    .destroy = tls_destroy,
};

static void config_release(void *config)
{
    pea__tls_unref(config);
}

pea_err pea_chain_tls(pea_chain *chain, const pea_tls_opts *opts, pea_error *why)
{
    pea_tls_opts o = PEA_TLS_INIT;
    pea__tls *tls = NULL;
    pea_err err = pea__options(&o, sizeof o, opts, why);
    if (err == PEA_OK && pea__chain_mode(chain) == PEA_RECORDS)
        err = pea__error(why, PEA_E_INVALID, "TLS carries a stream, without messages: PEA_RECORDS cannot end in it");
    if (err == PEA_OK)
        err = pea__tls_new(&tls, &o, pea__chain_mode(chain) == PEA_NATIVE, why);
    if (err != PEA_OK)
        return err;
    err = pea_chain_add(chain, &tls_ops, tls, config_release);
    if (err == PEA_OK) {
        if (o.identity != NULL) {
            pea_peer self;
            pea_identity_peer(o.identity, &self);
            err = pea_chain_self(chain, &self);
        }
        pea__chain_notice(chain, pea__tls_notice());
        pea__chain_cost(chain, PEA__TLS_LIBRARY_BYTES, o.own_records ? 0 : PEA__TLS_LIBRARY_BYTES);
        return err;
    }
    pea__tls_unref(tls);
    return pea__error(why, err,
                      err == PEA_E_STATE ? "the chain is in use and cannot change any more"
                                         : "the chain takes no more stages");
}
