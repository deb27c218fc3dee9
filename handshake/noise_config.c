/* SPDX-License-Identifier: MIT */
/* What the Noise stage is told once, for all connections of a chain: copied, and checked when the chain is made rather
 * than at the first connection. */
#include <string.h>

#include "buf_priv.h"
#include "chain_priv.h"
#include "err_priv.h"
#include "noise_stage_priv.h"
#include "secure_priv.h"

static void config_release(void *config)
{
    pea__noise_config *c = config;
    pea_identity_unref(c->opts.identity);
    pea_cert_unref(c->opts.certificate);
    pea__unguard(c->psk);
    pea__unguard(c->more_psks);
    pea__noise_gate_free(c->gate);
    pea__free(c->prologue);
    pea__free(c->protocol);
    pea__free(c);
}

static uint8_t *copy_bytes(const void *data, size_t len)
{
    uint8_t *copy = pea__alloc(len);
    if (copy != NULL)
        memcpy(copy, data, len);
    return copy;
}

/* Copies what `o` points to. PEA_OK | PEA_E_NOMEM: release it all the same */
static pea_err config_copy(pea__noise_config *c, const pea_noise_opts *o)
{
    c->opts = (pea_noise_opts){.size = sizeof c->opts, .record_preserving = o->record_preserving};
    c->opts.identity = o->identity != NULL ? pea_identity_ref(o->identity) : NULL;
    c->opts.certificate = o->certificate != NULL ? pea_cert_ref(o->certificate) : NULL;
    if (o->protocol != NULL && (c->protocol = (char *)copy_bytes(o->protocol, strlen(o->protocol) + 1)) == NULL)
        return PEA_E_NOMEM;
    if (o->psk != NULL && (c->psk = pea__guard(o->psk, PEA_KEY_BYTES)) == NULL)
        return PEA_E_NOMEM;
    size_t more = o->n_more_psks * PEA_KEY_BYTES;
    if (more > 0 && (c->more_psks = pea__guard(o->more_psks, more)) == NULL)
        return PEA_E_NOMEM;
    if (o->prologue.len > 0 && (c->prologue = copy_bytes(o->prologue.data, o->prologue.len)) == NULL)
        return PEA_E_NOMEM;
    c->opts.protocol = c->protocol;
    c->opts.psk = c->psk;
    c->opts.more_psks = c->more_psks;
    c->opts.n_more_psks = o->n_more_psks;
    if (o->remote_static != NULL) {
        memcpy(c->remote_static, o->remote_static, PEA_KEY_BYTES);
        c->opts.remote_static = c->remote_static;
    }
    c->opts.prologue = (pea_span){c->prologue, o->prologue.len};
    c->psk_fn = o->psk_fn;
    c->psk_arg = o->psk_arg;
    return PEA_OK;
}

static pea_err check_mode(pea_mode mode, const pea_noise_opts *o, pea_error *why)
{
    if (mode == PEA_NATIVE && o->prologue.len > 0)
        return pea__error(
            why, PEA_E_INVALID,
            "native mode makes the prologue itself: a prologue of your own is for PEA_STREAM and PEA_RECORDS");
    if (mode != PEA_NATIVE && o->certificate != NULL)
        return pea__error(why, PEA_E_INVALID,
                          "certificates are said in native mode only: others would not know what they are");
    if (mode != PEA_RECORDS && o->record_preserving)
        return pea__error(why, PEA_E_INVALID, "record_preserving is for chains of mode PEA_RECORDS");
    if (mode == PEA_RECORDS && !o->record_preserving)
        return pea__error(why, PEA_E_INVALID, "a chain of mode PEA_RECORDS needs record_preserving");
    return PEA_OK;
}

static pea_err check_gate(pea_mode mode, const pea_noise_opts *o, pea_error *why)
{
    if (o->psk_fn != NULL && (o->psk != NULL || o->n_more_psks > 0))
        return pea__error(why, PEA_E_INVALID, "psk_fn stands instead of psk and more_psks: give one of them");
    if (o->gate_window_ms > PEA_GATE_WINDOW_MS_MAX)
        return pea__error(why, PEA_E_INVALID, "gate_window_ms is at most a day, 86,400,000");
    if (o->gate_remembers > PEA_GATE_REMEMBERS_MAX)
        return pea__error(why, PEA_E_INVALID, "gate_remembers is at most 16,777,216");
    if (o->gate_window_ms != 0 && mode != PEA_NATIVE)
        return pea__error(why, PEA_E_INVALID, "gate_window_ms is for native mode: no other has payloads of ours");
    return PEA_OK;
}

/* What follows from the pattern. */
static pea_err gate_make(pea__noise_gate **gate, bool first_under_psk, const pea_noise_opts *o, pea_error *why)
{
    pea_err err = PEA_OK;
    *gate = NULL;
    if (first_under_psk)
        err = pea__noise_gate_new(gate, o->gate_window_ms,
                                  o->gate_remembers != 0 ? o->gate_remembers : PEA_GATE_REMEMBERS);
    else if (o->gate_window_ms != 0 || o->gate_remembers != 0)
        return pea__error(why, PEA_E_INVALID,
                          "gate_window_ms and gate_remembers are for patterns whose first message is under a psk, as "
                          "XXpsk0");
    return err == PEA_OK ? PEA_OK : pea__error(why, err, NULL);
}

pea_err pea__noise_ask_psks(const pea__noise_config *config, const pea_stage_env *env, pea_noise_psks *psks,
                            pea_noise_opts *opts, pea_error *why)
{
    pea_err err = config->psk_fn(config->psk_arg, pea_stage_side(env), pea_stage_expect(env), psks, why);
    if (err != PEA_OK) {
        err = err < 0 ? err : PEA_E_INVALID;
        return why->text[0] != '\0' ? err : pea__error(why, err, "psk_fn has no key for this connection");
    }
    if (psks->n == 0 || psks->n > PEA_NOISE_PSKS_MAX)
        return pea__error(why, PEA_E_INVALID, "psk_fn said neither 1 nor up to 4 keys");
    opts->psk = psks->keys[0];
    opts->more_psks = psks->n > 1 ? psks->keys[1] : NULL;
    opts->n_more_psks = psks->n - 1;
    return PEA_OK;
}

/* What this side of a connection needs beside what `o` says. */
static pea_err terms_of(pea__chain_terms *terms, bool *first_under_psk, pea_side side, const pea_noise_opts *o,
                        pea_error *why)
{
    static const uint8_t some_key[PEA_KEY_BYTES] = {9}; /* the base point: a key as good as any, to try the rest by */
    pea_noise_opts trial = *o;
    trial.psk_fn = NULL;
    trial.gate_window_ms = trial.gate_remembers = 0;
    if (o->psk_fn != NULL)
        trial.psk = some_key;
    pea_noise *noise = NULL;
    *terms = (pea__chain_terms){NULL, NULL, NULL};
    if (o->remote_static == NULL)
        trial.remote_static = some_key;
    pea_err err = pea_noise_new(&noise, side, &trial, why);
    if (err != PEA_OK)
        return err;
    if (pea__noise_one_way(noise))
        err = pea__error(why, PEA_E_INVALID,
                         "a one-way Noise pattern makes no connection: it is for pea_noise_new(), without one");
    else if (pea_noise_proof_of(noise, pea__other_side(side)) == PEA_NOISE_NO_PROOF)
        terms->anonymous = "this Noise pattern does not prove to this side who the peer is: it wants pea_trust_any() "
                           "for a policy, and can expect nobody";
    uint8_t key[PEA_KEY_BYTES];
    if (o->remote_static == NULL && pea_noise_remote_static(noise, key) == PEA_OK)
        terms->expects = "this Noise pattern must know the peer's static key beforehand: PEA_DIAL(.expect), or "
                         "PEA_NOISE(.remote_static)";
    *first_under_psk = pea__noise_first_under_psk(noise);
    pea_noise_free(noise);
    return err;
}

/* The terms of both sides. One of them may be out of reach: who has no identity can yet dial by NK. */
static pea_err terms_check(pea__chain_terms terms[2], bool *first_under_psk, const pea_noise_opts *o, pea_error *why)
{
    pea_err err = terms_of(&terms[PEA_INITIATOR], first_under_psk, PEA_INITIATOR, o, why);
    pea_err second = terms_of(&terms[PEA_RESPONDER], first_under_psk, PEA_RESPONDER, o, err == PEA_OK ? NULL : why);
    if ((err == PEA_OK) != (second == PEA_OK) && o->identity == NULL) {
        terms[err == PEA_OK ? PEA_RESPONDER : PEA_INITIATOR].unable =
            "this side of the Noise pattern needs an identity: see pea_identity_load()";
        return PEA_OK;
    }
    return err != PEA_OK ? err : second;
}

pea_err pea_chain_noise(pea_chain *chain, const pea_noise_opts *opts, pea_error *why)
{
    pea_noise_opts o = PEA_NOISE_INIT;
    pea__chain_terms terms[2];
    bool first_under_psk = false;
    pea__noise_gate *gate = NULL;
    pea_err err = pea__options(&o, sizeof o, opts, why);
    if (err == PEA_OK)
        err = check_mode(pea__chain_mode(chain), &o, why);
    if (err == PEA_OK)
        err = check_gate(pea__chain_mode(chain), &o, why);
    if (err == PEA_OK)
        err = terms_check(terms, &first_under_psk, &o, why); /* now, not at the first connection */
    if (err == PEA_OK)
        err = gate_make(&gate, first_under_psk, &o, why);
    if (err != PEA_OK)
        return err;
    pea__noise_config *c = pea__alloc(sizeof *c);
    if (c == NULL) {
        pea__noise_gate_free(gate);
        return pea__error(why, PEA_E_NOMEM, NULL);
    }
    c->gate = gate;
    memcpy(c->network, pea__chain_network(chain), sizeof c->network);
    err = config_copy(c, &o);
    if (err != PEA_OK)
        (void)pea__error(why, err, NULL);
    else
        err = pea__noise_certificate_check(c, why);
    if (err == PEA_OK && (err = pea_chain_add(chain, &pea__noise_ops, c, config_release)) != PEA_OK)
        (void)pea__error(why, err,
                         err == PEA_E_STATE ? "the chain is in use and cannot change any more"
                                            : "the chain takes no more stages");
    if (err != PEA_OK) {
        config_release(c);
        return err;
    }
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++)
        pea__chain_terms_add(chain, side, &terms[side]);
    if (o.identity != NULL) {
        pea_peer self;
        pea_identity_peer(o.identity, &self);
        err = pea_chain_self(chain, &self);
    }
    return err;
}
