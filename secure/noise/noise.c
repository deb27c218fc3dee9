/* SPDX-License-Identifier: MIT */
/* The public face of the engine (noise.h): checks what the caller gives, keeps whose turn it is, and remembers that a
 * failed write ended it. */
#include <sodium.h>
#include <string.h>

#include "buf_priv.h"
#include "err_priv.h"
#include "noise_priv.h"
#include "secure_priv.h"

struct pea_noise {
    pea__handshake_state hs;
    pea_identity *identity;
    pea_err broken;                                           /* the sticky error of a write */
    uint8_t more_psks[PEA_NOISE_PSKS_MAX - 1][PEA_KEY_BYTES]; /* that the first message may be under as well */
    size_t n_more_psks;
    bool preserving;
    bool split;           /* done: nothing is left */
    size_t size;          /* with what follows */
    pea__kem_state kem[]; /* one, in hybrid patterns */
};

/* The handshake is over. */
static void wipe(pea_noise *noise)
{
    sodium_memzero(&noise->hs, sizeof noise->hs);
    sodium_memzero(noise->kem, noise->size - sizeof *noise);
}

/* What belongs to a connection. */
static pea_err check_alone(const pea_noise_opts *o, pea_error *why)
{
    if (o->psk_fn == NULL && o->gate_window_ms == 0 && o->gate_remembers == 0)
        return PEA_OK;
    return pea__error(why, PEA_E_INVALID, "psk_fn, gate_window_ms and gate_remembers are for pea_chain_noise()");
}

static pea_err check_psks(const pea__protocol *protocol, const pea_noise_opts *o, pea_error *why)
{
    if (o->psk == NULL && protocol->psks != 0)
        return pea__error(why, PEA_E_INVALID, "this Noise pattern needs a psk of 32 bytes");
    if (o->psk != NULL && protocol->psks == 0)
        return pea__error(why, PEA_E_INVALID,
                          "there is a psk, but the Noise pattern has no psk modifier, as XXpsk3 has");
    if (o->n_more_psks == 0)
        return PEA_OK;
    if (o->more_psks == NULL || o->n_more_psks > PEA_NOISE_PSKS_MAX - 1)
        return pea__error(why, PEA_E_INVALID, "more_psks are at most three keys of 32 bytes");
    if ((protocol->psks & PEA__PSK_AT(0)) == 0)
        return pea__error(why, PEA_E_INVALID,
                          "more_psks are for patterns with psk0, whose first message tells them apart");
    return PEA_OK;
}

static pea_err check_keys(const pea__protocol *protocol, pea_side side, const pea_noise_opts *o, pea_error *why)
{
    if (side != PEA_INITIATOR && side != PEA_RESPONDER)
        return pea__error(why, PEA_E_INVALID, "side is neither PEA_INITIATOR nor PEA_RESPONDER");
    if (protocol->fallback)
        return pea__error(why, PEA_E_UNSUPPORTED,
                          "the pattern modifier \"fallback\" is not supported here: it goes on "
                          "from another handshake's first message");
    if (o->identity == NULL && pea__protocol_needs_static(protocol, side))
        return pea__error(why, PEA_E_INVALID, "this Noise pattern needs an identity: see pea_identity_load()");
    if (o->identity != NULL && pea__identity_is_certificate(o->identity))
        return pea__error(why, PEA_E_INVALID, "this identity is a certificate, for TLS: Noise needs an X25519 key");
    if (pea__protocol_knows(protocol, side)) {
        if (o->remote_static == NULL)
            return pea__error(why, PEA_E_INVALID,
                              "this Noise pattern needs the peer's static key beforehand: PEA_NOISE(.remote_static), "
                              "or PEA_DIAL(.expect)");
        if (pea__x25519_check(o->remote_static, why) != PEA_OK)
            return PEA_E_INVALID;
    }
    if (o->prologue.len > 0 && o->prologue.data == NULL)
        return pea__error(why, PEA_E_INVALID, "the prologue has a length, but no data");
    return check_psks(protocol, o, why);
}

pea_err pea_noise_new(pea_noise **noise, pea_side side, const pea_noise_opts *opts, pea_error *why)
{
    pea_noise_opts o = PEA_NOISE_INIT;
    pea__protocol protocol;
    pea_err err = pea__options(&o, sizeof o, opts, why);
    if (err == PEA_OK)
        err = check_alone(&o, why);
    if (err == PEA_OK)
        err = pea__secure_init(why);
    if (err == PEA_OK)
        err = pea__protocol_parse(&protocol, o.protocol != NULL ? o.protocol : PEA_NOISE_DEFAULT, why);
    if (err == PEA_OK)
        err = check_keys(&protocol, side, &o, why);
    if (err != PEA_OK)
        return err;
    size_t size = sizeof(pea_noise) + (protocol.hfs ? sizeof(pea__kem_state) : 0);
    pea_noise *fresh = pea__alloc(size);
    if (fresh == NULL)
        return pea__error(why, PEA_E_NOMEM, NULL);
    fresh->size = size;
    fresh->identity = o.identity != NULL ? pea_identity_ref(o.identity) : NULL;
    fresh->preserving = o.record_preserving;
    fresh->n_more_psks = side == PEA_RESPONDER ? o.n_more_psks : 0;
    if (fresh->n_more_psks > 0)
        memcpy(fresh->more_psks, o.more_psks, fresh->n_more_psks * PEA_KEY_BYTES);
    const pea__handshake_keys keys = {.s = fresh->identity,
                                      .rs = pea__protocol_knows(&protocol, side) ? o.remote_static : NULL,
                                      .psk = o.psk,
                                      .kem = protocol.hfs ? fresh->kem : NULL};
    pea__handshake_initialize(&fresh->hs, &protocol, side, o.prologue, &keys);
    *noise = fresh;
    return PEA_OK;
}

void pea_noise_free(pea_noise *noise)
{
    if (noise == NULL)
        return;
    pea_identity_unref(noise->identity);
    sodium_memzero(noise, noise->size);
    pea__free(noise);
}

pea_err pea_noise_turn(const pea_noise *noise)
{
    if (noise->broken != PEA_OK)
        return noise->broken;
    return noise->split ? PEA_E_STATE : pea__handshake_turn(&noise->hs);
}

pea_err pea_noise_write(pea_noise *noise, pea_span payload, pea_buf *out)
{
    if (noise->broken != PEA_OK)
        return noise->broken;
    if (pea_noise_turn(noise) != PEA_AGAIN)
        return PEA_E_STATE;
    noise->broken = pea__handshake_write(&noise->hs, payload, out);
    if (noise->broken != PEA_OK)
        wipe(noise);
    return noise->broken;
}

/* With psk0 the first message tells under which of the keys it is; what follows is under the same. */
static pea_err try_more_psks(pea_noise *noise, pea_span message, pea_buf *payload)
{
    uint8_t first[PEA_KEY_BYTES];
    pea_err err = PEA_E_CRYPTO;
    memcpy(first, noise->hs.psk, sizeof first);
    for (size_t i = 0; i < noise->n_more_psks && err == PEA_E_CRYPTO; i++) {
        memcpy(noise->hs.psk, noise->more_psks[i], PEA_KEY_BYTES);
        err = pea__handshake_read(&noise->hs, message, payload);
    }
    if (err != PEA_OK) /* a failed read changes nothing */
        memcpy(noise->hs.psk, first, sizeof first);
    sodium_memzero(first, sizeof first);
    return err;
}

pea_err pea_noise_read(pea_noise *noise, pea_span message, pea_buf *payload)
{
    if (noise->broken != PEA_OK)
        return noise->broken;
    if (pea_noise_turn(noise) != PEA_MORE)
        return PEA_E_STATE;
    pea_err err = pea__handshake_read(&noise->hs, message, payload);
    if (err == PEA_E_CRYPTO && noise->n_more_psks > 0)
        err = try_more_psks(noise, message, payload);
    if (err == PEA_OK && noise->n_more_psks > 0) {
        sodium_memzero(noise->more_psks, sizeof noise->more_psks);
        noise->n_more_psks = 0;
    }
    return err;
}

pea_err pea_noise_remote_static(const pea_noise *noise, uint8_t key[PEA_KEY_BYTES])
{
    if (!noise->hs.has_rs)
        return PEA_E_STATE;
    memcpy(key, noise->hs.rs, PEA_KEY_BYTES);
    return PEA_OK;
}

pea_noise_proof pea_noise_proof_of(const pea_noise *noise, pea_side side)
{
    if (noise->split || noise->broken != PEA_OK)
        return PEA_NOISE_NO_PROOF;
    unsigned proof = pea__protocol_proof(&noise->hs.protocol, side);
    if (proof == PEA__NO_PROOF)
        return PEA_NOISE_NO_PROOF;
    return noise->hs.message > proof ? PEA_NOISE_PROVEN : PEA_NOISE_UNPROVEN;
}

pea_err pea_noise_split(pea_noise *noise, bool native, pea_transform *transform)
{
    if (pea_noise_turn(noise) != PEA_DONE)
        return PEA_E_STATE;
    const pea__record_opts opts = {.native = native, .preserving = noise->preserving};
    pea_err err = pea__record_new(transform, &noise->hs, &opts);
    if (err != PEA_OK)
        return err;
    wipe(noise);
    noise->split = true;
    return PEA_OK;
}

bool pea__noise_one_way(const pea_noise *noise)
{
    return pea__protocol_one_way(&noise->hs.protocol);
}

unsigned pea__noise_static_in(const char *name, pea_side side, bool *hidden)
{
    pea__protocol protocol;
    *hidden = false;
    if (pea__protocol_parse(&protocol, name != NULL ? name : PEA_NOISE_DEFAULT, NULL) != PEA_OK)
        return 0;
    unsigned message = pea__protocol_static_in(&protocol, side, hidden);
    return message == PEA__NO_MESSAGE ? 0 : message + 1;
}

/* Whether one of the tokens of message `message` is `from` to `to`. */
static bool has_token(const pea_noise *noise, unsigned message, pea__token from, pea__token to)
{
    pea__token tokens[PEA__TOKENS_MAX];
    size_t n = pea__protocol_tokens(&noise->hs.protocol, message, tokens);
    for (size_t i = 0; i < n; i++)
        if (tokens[i] >= from && tokens[i] <= to)
            return true;
    return false;
}

bool pea__noise_first_under_psk(const pea_noise *noise)
{
    return has_token(noise, 0, PEA__PSK, PEA__PSK);
}

bool pea__noise_multiplies(const pea_noise *noise)
{
    return has_token(noise, noise->hs.message, PEA__EE, PEA__SS);
}

void pea__noise_fix_ephemeral(pea_noise *noise, const uint8_t secret[PEA_KEY_BYTES])
{
    memcpy(noise->hs.e, secret, PEA_KEY_BYTES);
    noise->hs.fixed_e = true;
}

void pea__noise_fix_kem(pea_noise *noise, const uint8_t seed[PEA__KEM_SEED_BYTES])
{
    memcpy(noise->hs.kem->seed, seed, PEA__KEM_SEED_BYTES);
    noise->hs.kem->fixed = true;
}

pea__handshake_state *pea__noise_state(pea_noise *noise)
{
    return &noise->hs;
}
