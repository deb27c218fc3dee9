/* SPDX-License-Identifier: MIT */
/* The Noise stage: frames handshake messages, hands them to the engine of secure/noise, and has the peer judged as soon
 * as it has proven its key. It knows no pattern and does no cryptography. */
#include <stdio.h>
#include <string.h>

#include "buf_priv.h"
#include "chain_priv.h"
#include "err_priv.h"
#include "peapod/chain.h"
#include "secure_priv.h"

#define FRAME_BYTES 2u /* u16 length before each message */
#define TLV_BYTES 4u   /* u16 type, u16 length */
#define TLV_MUST_UNDERSTAND 0x8000u

typedef struct noise_config {
    pea_noise_opts opts; /* its pointers are ours: the fields below */
    char *protocol;
    uint8_t *psk, *more_psks; /* guarded */
    uint8_t *prologue;
    uint8_t remote_static[PEA_KEY_BYTES];
} noise_config;

typedef struct noise_stage {
    pea_noise *noise;
    unsigned message; /* the number of the last one read or written, from 1 */
    pea_sight judged; /* by what the peer was judged; 0: it was not yet */
    bool native;
} noise_stage;

static size_t read_u16(const uint8_t *p)
{
    return (size_t)p[0] << 8 | p[1];
}

/* ---- Failing ---- */

static pea_err fail(const noise_stage *s, pea_stage_env *env, pea_err err, const char *what)
{
    char text[PEA_TEXT_MAX];
    (void)snprintf(text, sizeof text, "message %u: %s", s->message, what);
    return pea_stage_fail(env, err, text);
}

static pea_err fail_read(const noise_stage *s, pea_stage_env *env, pea_err err)
{
    if (err == PEA_E_CRYPTO)
        return fail(s, env, err,
                    "it does not authenticate: another psk, prologue or protocol, a key that is none, or it was "
                    "changed on its way");
    if (err == PEA_E_PROTO)
        return fail(s, env, err, "it is too short for its keys");
    return fail(s, env, err, pea_err_text(err));
}

static pea_err fail_write(const noise_stage *s, pea_stage_env *env, pea_err err)
{
    if (err == PEA_E_CRYPTO)
        return fail(s, env, err, "it cannot be written: the peer's key is of low order, or none");
    return fail(s, env, err, pea_err_text(err));
}

/* ---- Payloads ---- */

/* Native payloads are TLVs in ascending order. None is known today: they are skipped, unless they must be understood.
 */
static pea_err check_payload(const noise_stage *s, pea_stage_env *env, pea_span payload)
{
    size_t before = 0; /* type 0 is none */
    while (payload.len > 0) {
        if (payload.len < TLV_BYTES)
            return fail(s, env, PEA_E_PROTO, "its payload ends inside a TLV's header");
        size_t type = read_u16(payload.data), len = read_u16(payload.data + 2);
        if (len > payload.len - TLV_BYTES)
            return fail(s, env, PEA_E_PROTO, "its payload ends inside a TLV");
        if (type <= before)
            return fail(s, env, PEA_E_PROTO, "the TLVs of its payload are not in ascending order");
        if ((type & TLV_MUST_UNDERSTAND) != 0)
            return fail(s, env, PEA_E_PROTO, "its payload has a TLV that must be understood, and is not");
        before = type;
        payload = (pea_span){payload.data + TLV_BYTES + len, payload.len - TLV_BYTES - len};
    }
    return PEA_OK;
}

/* ---- Messages ---- */

/* PEA_OK: one message was read | PEA_MORE: it is not whole | < 0 */
static pea_err read_message(noise_stage *s, pea_stage_env *env, pea_buf *in)
{
    if (in->len < FRAME_BYTES)
        return PEA_MORE;
    size_t len = read_u16(in->data);
    if (len <= PEA_NOISE_HANDSHAKE_MAX && in->len - FRAME_BYTES < len)
        return PEA_MORE;
    if (pea_stage_pay(env) == PEA_WAIT)
        return PEA_WAIT;
    s->message++;
    if (len > PEA_NOISE_HANDSHAKE_MAX)
        return fail(s, env, PEA_E_PROTO, "it claims to be longer than 16,384 bytes");
    pea_buf payload = {0};
    pea_err err = pea_noise_read(s->noise, (pea_span){in->data + FRAME_BYTES, len}, &payload);
    if (err != PEA_OK)
        err = fail_read(s, env, err);
    else if (s->native)
        err = check_payload(s, env, (pea_span){payload.data, payload.len});
    pea_buf_free(&payload);
    if (err == PEA_OK)
        pea_buf_consume(in, FRAME_BYTES + len);
    return err;
}

static pea_err write_message(noise_stage *s, pea_stage_env *env, pea_buf *out)
{
    pea_buf message = {0};
    s->message++;
    pea_err err = pea_noise_write(s->noise, (pea_span){NULL, 0}, &message);
    const uint8_t frame[FRAME_BYTES] = {(uint8_t)(message.len >> 8), (uint8_t)message.len};
    if (err == PEA_OK)
        err = pea_buf_append(out, frame, sizeof frame);
    if (err == PEA_OK)
        err = pea_buf_append(out, message.data, message.len);
    pea_buf_free(&message);
    return err == PEA_OK ? PEA_OK : fail_write(s, env, err);
}

/* ---- The peer ---- */

static pea_side other(pea_side side)
{
    return side == PEA_INITIATOR ? PEA_RESPONDER : PEA_INITIATOR;
}

/* Asks about the peer as soon as its key is known, and again once it is proven. An initiator gets here before it
 * reveals its own.
 * PEA_OK: go on | PEA_WAIT | PEA_E_REFUSED: nothing more may be said | < 0 */
static pea_err judge(noise_stage *s, pea_stage_env *env)
{
    pea_peer peer = {.kind = PEA_PEER_NOISE};
    if (s->message == 0 && pea_noise_turn(s->noise) == PEA_MORE)
        return PEA_OK; /* it is known who should come, and nobody has spoken yet */
    if (pea_noise_remote_static(s->noise, peer.id) != PEA_OK)
        return PEA_OK;
    bool proven = pea_noise_proof_of(s->noise, other(pea_stage_side(env))) == PEA_NOISE_PROVEN;
    pea_sight sight = proven ? PEA_PROVEN : PEA_SEEN;
    if (s->judged >= sight)
        return PEA_OK;
    pea_err err = pea_stage_judge(env, &peer, sight);
    if (err == PEA_WAIT)
        return err; /* asked again when this stage runs again; the message was read already */
    s->judged = sight;
    /* With the last message read, the refused peer can be told so, encrypted: the pipe knows the verdict. */
    if (err == PEA_E_REFUSED && pea_noise_turn(s->noise) == PEA_DONE)
        return PEA_OK;
    return err;
}

/* What no message has proven by the end is left to the first record. PEA_DONE | < 0 */
static pea_err pledge(const noise_stage *s, pea_stage_env *env)
{
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
        pea_err err = PEA_OK;
        if (pea_noise_proof_of(s->noise, side) == PEA_NOISE_UNPROVEN)
            err = pea_stage_pledge(env, side);
        if (err != PEA_OK)
            return err;
    }
    return PEA_DONE;
}

static pea_err noise_step(void *self, pea_stage_env *env, pea_buf *in, pea_buf *out)
{
    noise_stage *s = self;
    for (;;) {
        pea_err err = judge(s, env);
        if (err != PEA_OK)
            return err;
        err = pea_noise_turn(s->noise);
        if (err == PEA_DONE)
            return pledge(s, env);
        if (err == PEA_MORE)
            err = read_message(s, env, in);
        else if (err == PEA_AGAIN && (err = write_message(s, env, out)) == PEA_OK && in->len > 0 &&
                 pea_noise_turn(s->noise) == PEA_MORE)
            return PEA_AGAIN; /* what is read next may fail: in silence, and not as the author of this message */
        if (err != PEA_OK)    /* PEA_MORE, or an error */
            return err;
    }
}

static pea_err noise_start(const void *config, pea_stage_env *env, void **self)
{
    const noise_config *c = config;
    pea_noise_opts opts = c->opts;
    pea_buf prologue = {0};
    pea_err err = PEA_OK;
    noise_stage *s = pea__alloc(sizeof *s);
    if (s == NULL)
        return PEA_E_NOMEM;
    s->native = pea_stage_native(env);
    if (s->native) {
        err = pea_stage_prologue(env, &prologue);
        opts.prologue = (pea_span){prologue.data, prologue.len};
    }
    const pea_peer *expect = pea_stage_expect(env);
    if (opts.remote_static == NULL && expect != NULL && expect->kind == PEA_PEER_NOISE)
        opts.remote_static = expect->id;
    if (err == PEA_OK)
        err = pea_noise_new(&s->noise, pea_stage_side(env), &opts, NULL);
    pea_buf_free(&prologue);
    if (err != PEA_OK) {
        pea__free(s);
        return err;
    }
    *self = s;
    return PEA_OK;
}

static void noise_destroy(void *self)
{
    noise_stage *s = self;
    pea_noise_free(s->noise);
    pea__free(s);
}

static pea_err noise_yield(void *self, pea_transform *out)
{
    noise_stage *s = self;
    return pea_noise_split(s->noise, s->native, out);
}

static const pea_stage_ops noise_ops = {
    .version = PEA_STAGE_VERSION,
    .name = "noise",
    .max_in = FRAME_BYTES + PEA_NOISE_HANDSHAKE_MAX,
    .start = noise_start,
    .step = noise_step,
    .yield = noise_yield,
    .destroy = noise_destroy,
};

/* ---- The configuration ---- */

static void config_release(void *config)
{
    noise_config *c = config;
    pea_identity_unref(c->opts.identity);
    pea__unguard(c->psk);
    pea__unguard(c->more_psks);
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
static pea_err config_copy(noise_config *c, const pea_noise_opts *o)
{
    c->opts = (pea_noise_opts){.size = sizeof c->opts, .record_preserving = o->record_preserving};
    c->opts.identity = o->identity != NULL ? pea_identity_ref(o->identity) : NULL;
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
    return PEA_OK;
}

static pea_err check_mode(pea_mode mode, const pea_noise_opts *o, pea_error *why)
{
    if (mode == PEA_NATIVE && o->prologue.len > 0)
        return pea__error(
            why, PEA_E_INVALID,
            "native mode makes the prologue itself: a prologue of your own is for PEA_STREAM and PEA_RECORDS");
    if (mode != PEA_RECORDS && o->record_preserving)
        return pea__error(why, PEA_E_INVALID, "record_preserving is for chains of mode PEA_RECORDS");
    if (mode == PEA_RECORDS && !o->record_preserving)
        return pea__error(why, PEA_E_INVALID, "a chain of mode PEA_RECORDS needs record_preserving");
    return PEA_OK;
}

/* What this side of a connection needs beside what `o` says. */
static pea_err terms_of(pea__chain_terms *terms, pea_side side, const pea_noise_opts *o, pea_error *why)
{
    static const uint8_t some_key[PEA_KEY_BYTES] = {9}; /* the base point: a key as good as any, to try the rest by */
    pea_noise_opts trial = *o;
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
    else if (pea_noise_proof_of(noise, other(side)) == PEA_NOISE_NO_PROOF)
        terms->anonymous = "this Noise pattern does not prove to this side who the peer is: it wants pea_trust_any() "
                           "for a policy, and can expect nobody";
    uint8_t key[PEA_KEY_BYTES];
    if (o->remote_static == NULL && pea_noise_remote_static(noise, key) == PEA_OK)
        terms->expects = "this Noise pattern must know the peer's static key beforehand: PEA_DIAL(.expect), or "
                         "PEA_NOISE(.remote_static)";
    pea_noise_free(noise);
    return err;
}

/* The terms of both sides. One of them may be out of reach: who has no identity can yet dial by NK. */
static pea_err terms_check(pea__chain_terms terms[2], const pea_noise_opts *o, pea_error *why)
{
    pea_err err = terms_of(&terms[PEA_INITIATOR], PEA_INITIATOR, o, why);
    pea_err second = terms_of(&terms[PEA_RESPONDER], PEA_RESPONDER, o, err == PEA_OK ? NULL : why);
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
    pea_err err = pea__options(&o, sizeof o, opts, why);
    if (err == PEA_OK)
        err = check_mode(pea__chain_mode(chain), &o, why);
    if (err == PEA_OK)
        err = terms_check(terms, &o, why); /* says what is missing now, not at the first connection */
    if (err != PEA_OK)
        return err;
    noise_config *c = pea__alloc(sizeof *c);
    if (c == NULL)
        return pea__error(why, PEA_E_NOMEM, NULL);
    err = config_copy(c, &o);
    if (err != PEA_OK)
        (void)pea__error(why, err, NULL);
    else if ((err = pea_chain_add(chain, &noise_ops, c, config_release)) != PEA_OK)
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
