/* SPDX-License-Identifier: MIT */
/* Chains: which stages a connection passes, and in which mode it goes on. The ready-made stages are in handshake/. */
#include "chain_priv.h"

#include <string.h>

#include "buf_priv.h"
#include "err_priv.h"
#include "policy_priv.h"
#include "utf8_priv.h"

static pea_err check_options(const pea_chain_opts *o, pea_error *why)
{
    if (o->mode != PEA_NATIVE && o->mode != PEA_STREAM && o->mode != PEA_RECORDS)
        return pea__error(why, PEA_E_INVALID, "mode is none of PEA_NATIVE, PEA_STREAM and PEA_RECORDS");
    bool said = o->network != NULL || o->application != NULL || o->application_lowest != 0 ||
                o->application_highest != 0 || o->capabilities != 0;
    if (o->mode != PEA_NATIVE && said)
        return pea__error(why, PEA_E_INVALID, "network, application and capabilities are said in native mode only");
    if (o->application != NULL) {
        size_t len = strlen(o->application);
        if (len == 0 || len > PEA__APPLICATION_MAX)
            return pea__error(why, PEA_E_INVALID, "the application's name must have 1 to 255 bytes");
        if (!pea__utf8_valid((const uint8_t *)o->application, len))
            return pea__error(why, PEA_E_INVALID, "the application's name is not valid UTF-8");
    }
    if (o->application_lowest > o->application_highest)
        return pea__error(why, PEA_E_INVALID, "the application's lowest version is above its highest");
    return PEA_OK;
}

pea_err pea_chain_new(pea_chain **chain, const pea_chain_opts *opts, pea_error *why)
{
    pea_chain_opts o = PEA_CHAIN_INIT;
    pea_err err = pea__options(&o, sizeof o, opts, why);
    if (err == PEA_OK)
        err = check_options(&o, why);
    if (err != PEA_OK)
        return err;
    pea_chain *c = pea__alloc(sizeof *c);
    if (c == NULL)
        return pea__error(why, PEA_E_NOMEM, NULL);
    atomic_init(&c->refs, 1);
    atomic_init(&c->frozen, false);
    c->mode = o.mode;
    if (o.network != NULL)
        memcpy(c->network, o.network, PEA_NETWORK_BYTES);
    if (o.application != NULL)
        memcpy(c->application, o.application, strlen(o.application) + 1);
    c->application_lowest = o.application_lowest;
    c->application_highest = o.application_highest;
    c->capabilities = o.capabilities;
    *chain = c;
    return PEA_OK;
}

pea_err pea_chain_add(pea_chain *chain, const pea_stage_ops *ops, void *config, void (*release)(void *config))
{
    if (chain == NULL || ops == NULL || ops->version != PEA_STAGE_VERSION ||
        (ops->flags & ~PEA_STAGE_NEGOTIATES) != 0 || ops->name == NULL || ops->step == NULL ||
        ops->max_in > PEA_STAGE_IN_MAX || chain->n_stages == PEA_STAGES_MAX)
        return PEA_E_INVALID;
    if (atomic_load(&chain->frozen))
        return PEA_E_STATE;
    chain->stages[chain->n_stages++] = (pea__chain_stage){ops, config, release};
    chain->negotiates = chain->negotiates || (ops->flags & PEA_STAGE_NEGOTIATES) != 0;
    return PEA_OK;
}

pea_err pea_chain_plain(pea_chain *chain)
{
    if (atomic_load(&chain->frozen))
        return PEA_E_STATE;
    chain->plain = true;
    return PEA_OK;
}

pea_err pea_chain_self(pea_chain *chain, const pea_peer *self)
{
    if (atomic_load(&chain->frozen))
        return PEA_E_STATE;
    chain->self = *self;
    return PEA_OK;
}

pea_chain *pea_chain_ref(pea_chain *chain)
{
    atomic_fetch_add_explicit(&chain->refs, 1, memory_order_relaxed);
    return chain;
}

void pea_chain_unref(pea_chain *chain)
{
    if (chain == NULL || atomic_fetch_sub_explicit(&chain->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < chain->n_stages; i++)
        if (chain->stages[i].release != NULL)
            chain->stages[i].release(chain->stages[i].config);
    pea__free(chain);
}

const uint8_t *pea__chain_network(const pea_chain *chain)
{
    return chain->network;
}

pea_mode pea__chain_mode(const pea_chain *chain)
{
    return chain->mode;
}

void pea__chain_notice(pea_chain *chain, const char *notice)
{
    if (notice != NULL)
        chain->notice = notice;
}

pea_err pea__chain_can_decide(const pea_chain *chain, pea_error *why)
{
    if (chain->plain || chain->self.kind != PEA_PEER_NONE)
        return PEA_OK;
    return pea__error(
        why, PEA_E_INVALID,
        "one_per_peer needs to know who we are on this chain: give it an identity, or see pea_chain_self()");
}

void pea__chain_terms_add(pea_chain *chain, pea_side side, const pea__chain_terms *terms)
{
    pea__chain_terms *t = &chain->terms[side];
    t->unable = t->unable != NULL ? t->unable : terms->unable;
    t->expects = t->expects != NULL ? t->expects : terms->expects;
    t->anonymous = t->anonymous != NULL ? t->anonymous : terms->anonymous;
    if (terms->anonymous != NULL)
        chain->n_anonymous[side]++;
}

pea_err pea__chain_suits(const pea_chain *chain, pea_side side, const pea_policy *policy, const pea_peer *expect,
                         pea_error *why)
{
    const pea__chain_terms *t = &chain->terms[side];
    bool anonymous = t->anonymous != NULL && chain->n_anonymous[side] == chain->n_stages; /* another may prove him */
    bool anybody = policy != NULL ? pea__policy_takes_anybody(policy) : chain->plain;
    if (t->unable != NULL)
        return pea__error(why, PEA_E_INVALID, t->unable);
    if (t->expects != NULL && expect == NULL)
        return pea__error(why, PEA_E_INVALID, t->expects);
    if (anonymous && (expect != NULL || !anybody))
        return pea__error(why, PEA_E_INVALID, t->anonymous);
    return PEA_OK;
}

void pea__chain_cost(pea_chain *chain, size_t in_handshake, size_t after)
{
    chain->handshake_cost += in_handshake;
    chain->cost += after;
}

pea_err pea__chain_use(pea_chain *chain, pea_error *why)
{
    if (chain == NULL)
        return pea__error(why, PEA_E_INVALID, "a chain is required: see pea_chain_new()");
    if (chain->n_stages == 0 && !chain->plain)
        return pea__error(
            why, PEA_E_INVALID,
            "the chain has no stage that could prove a peer: add one, or say pea_chain_plain() to do without");
    atomic_store(&chain->frozen, true);
    return PEA_OK;
}
