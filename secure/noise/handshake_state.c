/* SPDX-License-Identifier: MIT */
/* Noise section 5.3: writes and reads handshake messages token by token, as the pattern says. Every message is worked
 * on in a copy that is committed at the end, so that one that fails has changed nothing. */
#include <sodium.h>
#include <string.h>

#include "noise_priv.h"
#include "secure_priv.h"

/* With a psk the ephemeral key enters the chaining key as well (section 9.2): else a psk alone would lead to the same
 * cipher key every time. */
static void mix_ephemeral(pea__handshake_state *hs, const uint8_t *key)
{
    pea__mix_hash(&hs->ss, key, PEA_KEY_BYTES);
    if (hs->protocol.psks != 0)
        pea__mix_key(&hs->ss, key, PEA_KEY_BYTES);
}

/* Public keys that were known before the first message: static ones, the initiator's first; or, after a fallback, the
 * ephemeral one that began the handshake which failed. */
static void mix_pre_messages(pea__handshake_state *hs)
{
    for (unsigned owner = PEA_INITIATOR; owner <= PEA_RESPONDER; owner++) {
        if ((hs->protocol.pattern->known & 1u << owner) == 0)
            continue;
        const uint8_t *key = owner == (unsigned)hs->side ? pea__identity_public(hs->s) : hs->rs;
        pea__mix_hash(&hs->ss, key, PEA_KEY_BYTES);
    }
    if (hs->protocol.fallback)
        mix_ephemeral(hs, hs->side == PEA_INITIATOR ? hs->re : hs->e_public);
}

void pea__handshake_initialize(pea__handshake_state *hs, const pea__protocol *protocol, pea_side side,
                               pea_span prologue, const pea__handshake_keys *keys)
{
    memset(hs, 0, sizeof *hs);
    hs->protocol = *protocol;
    hs->side = side;
    hs->s = keys->s;
    hs->kem = keys->kem;
    if (keys->psk != NULL)
        memcpy(hs->psk, keys->psk, PEA_KEY_BYTES);
    if (keys->rs != NULL) {
        memcpy(hs->rs, keys->rs, PEA_KEY_BYTES);
        hs->has_rs = true;
    }
    if (keys->re != NULL)
        memcpy(hs->re, keys->re, PEA_KEY_BYTES);
    if (keys->e != NULL) {
        memcpy(hs->e, keys->e, PEA_KEY_BYTES);
        memcpy(hs->e_public, keys->e + PEA_KEY_BYTES, PEA_KEY_BYTES);
    }
    pea__initialize_symmetric(&hs->ss, protocol);
    pea__mix_hash(&hs->ss, prologue.data, prologue.len);
    mix_pre_messages(hs);
}

pea_err pea__handshake_turn(const pea__handshake_state *hs)
{
    pea__token tokens[PEA__TOKENS_MAX];
    if (pea__protocol_tokens(&hs->protocol, hs->message, tokens) == 0)
        return PEA_DONE;
    return hs->message % 2 == (unsigned)hs->side ? PEA_AGAIN : PEA_MORE;
}

/* DH(key pair, public key) into the chaining key. */
static pea_err mix_dh(pea__handshake_state *hs, const uint8_t *secret, const uint8_t *remote)
{
    uint8_t shared[PEA_KEY_BYTES];
    pea_err err = pea__x25519(shared, secret, remote);
    if (err == PEA_OK)
        pea__mix_key(&hs->ss, shared, sizeof shared);
    sodium_memzero(shared, sizeof shared);
    return err;
}

/* The tokens that put nothing into the message, the same for writer and reader. */
static pea_err mix_token(pea__handshake_state *hs, pea__token token)
{
    bool initiator = pea__protocol_party(&hs->protocol, hs->side) == PEA_INITIATOR;
    switch (token) {
    case PEA__EE:
        return mix_dh(hs, hs->e, hs->re);
    case PEA__ES:
        return initiator ? mix_dh(hs, hs->e, hs->rs) : mix_dh(hs, pea__identity_secret(hs->s), hs->re);
    case PEA__SE:
        return initiator ? mix_dh(hs, pea__identity_secret(hs->s), hs->re) : mix_dh(hs, hs->e, hs->rs);
    case PEA__SS:
        return mix_dh(hs, pea__identity_secret(hs->s), hs->rs);
    case PEA__PSK:
        pea__mix_key_and_hash(&hs->ss, hs->psk, PEA_KEY_BYTES);
        return PEA_OK;
    case PEA__NO_TOKEN:
    case PEA__E:
    case PEA__S:
    case PEA__E1:
    case PEA__EKEM1:
        break;
    }
    return PEA_E_INVALID;
}

/* ---- WriteMessage ---- */

static pea_err write_e(pea__handshake_state *hs, uint8_t *out)
{
    if (!hs->fixed_e)
        randombytes_buf(hs->e, sizeof hs->e);
    hs->fixed_e = false;
    pea_err err = pea__x25519_public(hs->e_public, hs->e);
    if (err != PEA_OK)
        return err;
    memcpy(out, hs->e_public, PEA_KEY_BYTES);
    mix_ephemeral(hs, hs->e_public);
    return PEA_OK;
}

/* What the token is made of: random, but in tests. */
static void draw_seed(pea__kem_state *kem, size_t len)
{
    if (!kem->fixed)
        randombytes_buf(kem->seed, len);
    kem->fixed = false;
}

static pea_err write_e1(pea__handshake_state *hs, uint8_t *out, size_t *at)
{
    uint8_t key[PEA__KEM_PUBLIC_BYTES];
    size_t part = sizeof key + pea__cipher_overhead(&hs->ss.cipher);
    draw_seed(hs->kem, PEA__KEM_SEED_BYTES);
    pea_err err = pea__kem_public(hs->kem->seed, key);
    if (err == PEA_OK)
        err = pea__encrypt_and_hash(&hs->ss, key, sizeof key, out + *at);
    *at += part;
    return err;
}

static pea_err write_ekem1(pea__handshake_state *hs, uint8_t *out, size_t *at)
{
    uint8_t cipher[PEA__KEM_CIPHER_BYTES], shared[PEA__KEM_OUTPUT_BYTES];
    size_t part = sizeof cipher + pea__cipher_overhead(&hs->ss.cipher);
    draw_seed(hs->kem, PEA__KEM_MESSAGE_BYTES);
    pea_err err = pea__kem_encapsulate(hs->kem->public_key, hs->kem->seed, cipher, shared);
    if (err == PEA_OK)
        err = pea__encrypt_and_hash(&hs->ss, cipher, sizeof cipher, out + *at);
    if (err == PEA_OK)
        pea__mix_key(&hs->ss, shared, sizeof shared);
    sodium_memzero(shared, sizeof shared);
    *at += part;
    return err;
}

/* Writes the message at `out`, where message_room() bytes are free, and its length to `*len`. */
static pea_err write_tokens(pea__handshake_state *hs, pea_span payload, uint8_t *out, size_t room, size_t *len)
{
    pea__token tokens[PEA__TOKENS_MAX];
    size_t n = pea__protocol_tokens(&hs->protocol, hs->message, tokens), at = 0;
    pea_err err = PEA_OK;
    for (size_t i = 0; i < n && err == PEA_OK; i++) {
        switch (tokens[i]) {
        case PEA__E:
            err = write_e(hs, out + at);
            at += PEA_KEY_BYTES;
            break;
        case PEA__S: {
            size_t part = PEA_KEY_BYTES + pea__cipher_overhead(&hs->ss.cipher);
            err = pea__encrypt_and_hash(&hs->ss, pea__identity_public(hs->s), PEA_KEY_BYTES, out + at);
            at += part;
            break;
        }
        case PEA__E1:
            err = write_e1(hs, out, &at);
            break;
        case PEA__EKEM1:
            err = write_ekem1(hs, out, &at);
            break;
        default:
            err = mix_token(hs, tokens[i]);
        }
    }
    if (err != PEA_OK)
        return err;
    size_t part = payload.len + pea__cipher_overhead(&hs->ss.cipher);
    if (part > room - at)
        return PEA_E_TOO_BIG;
    *len = at + part;
    return pea__encrypt_and_hash(&hs->ss, payload.data, payload.len, out + at);
}

/* The most that a message with this payload can take: an ephemeral key, an encrypted static one, the payload's tag; and
 * in hybrid patterns what their KEM says. */
static size_t message_room(const pea__handshake_state *hs, size_t payload)
{
    size_t keys = 2 * PEA_KEY_BYTES + 2 * PEA_NOISE_TAG_BYTES;
    _Static_assert(PEA__KEM_PUBLIC_BYTES >= PEA__KEM_CIPHER_BYTES, "the larger of the two");
    if (hs->protocol.hfs)
        keys += PEA__KEM_PUBLIC_BYTES + PEA_NOISE_TAG_BYTES;
    return payload < PEA_NOISE_MESSAGE_MAX - keys ? payload + keys : PEA_NOISE_MESSAGE_MAX;
}

pea_err pea__handshake_write(pea__handshake_state *hs, pea_span payload, pea_buf *out)
{
    size_t room = message_room(hs, payload.len), len = 0;
    uint8_t *tail;
    pea_err err = pea_buf_reserve(out, room, &tail);
    if (err != PEA_OK)
        return err;
    pea__handshake_state next = *hs;
    err = write_tokens(&next, payload, tail, room, &len);
    if (err == PEA_OK) {
        next.message++;
        *hs = next;
        pea_buf_commit(out, len);
    }
    sodium_memzero(&next, sizeof next);
    return err;
}

/* ---- ReadMessage ---- */

/* The next `n` bytes of the message; NULL: it is too short. */
static const uint8_t *take(pea_span *message, size_t n)
{
    if (message->len < n)
        return NULL;
    const uint8_t *part = message->data;
    *message = (pea_span){part + n, message->len - n};
    return part;
}

static pea_err read_e(pea__handshake_state *hs, pea_span *message)
{
    const uint8_t *key = take(message, PEA_KEY_BYTES);
    if (key == NULL)
        return PEA_E_PROTO;
    memcpy(hs->re, key, PEA_KEY_BYTES);
    mix_ephemeral(hs, hs->re);
    return PEA_OK;
}

static pea_err read_s(pea__handshake_state *hs, pea_span *message)
{
    size_t len = PEA_KEY_BYTES + pea__cipher_overhead(&hs->ss.cipher);
    const uint8_t *part = take(message, len);
    if (part == NULL)
        return PEA_E_PROTO;
    pea_err err = pea__decrypt_and_hash(&hs->ss, part, len, hs->rs);
    if (err != PEA_OK)
        return err;
    /* Another encoding of the same point would be a second name for one key. Low order fails at the DH that follows. */
    if (!pea__x25519_canonical(hs->rs))
        return PEA_E_CRYPTO;
    hs->has_rs = true;
    return PEA_OK;
}

static pea_err read_e1(pea__handshake_state *hs, pea_span *message)
{
    size_t len = PEA__KEM_PUBLIC_BYTES + pea__cipher_overhead(&hs->ss.cipher);
    const uint8_t *part = take(message, len);
    return part != NULL ? pea__decrypt_and_hash(&hs->ss, part, len, hs->kem->public_key) : PEA_E_PROTO;
}

static pea_err read_ekem1(pea__handshake_state *hs, pea_span *message)
{
    uint8_t cipher[PEA__KEM_CIPHER_BYTES], shared[PEA__KEM_OUTPUT_BYTES];
    size_t len = sizeof cipher + pea__cipher_overhead(&hs->ss.cipher);
    const uint8_t *part = take(message, len);
    pea_err err = part != NULL ? pea__decrypt_and_hash(&hs->ss, part, len, cipher) : PEA_E_PROTO;
    if (err == PEA_OK)
        err = pea__kem_decapsulate(hs->kem->seed, cipher, shared);
    if (err == PEA_OK)
        pea__mix_key(&hs->ss, shared, sizeof shared);
    sodium_memzero(shared, sizeof shared);
    return err;
}

static pea_err read_tokens(pea__handshake_state *hs, pea_span message, pea_buf *payload)
{
    pea__token tokens[PEA__TOKENS_MAX];
    size_t n = pea__protocol_tokens(&hs->protocol, hs->message, tokens);
    pea_err err = PEA_OK;
    for (size_t i = 0; i < n && err == PEA_OK; i++) {
        switch (tokens[i]) {
        case PEA__E:
            err = read_e(hs, &message);
            break;
        case PEA__S:
            err = read_s(hs, &message);
            break;
        case PEA__E1:
            err = read_e1(hs, &message);
            break;
        case PEA__EKEM1:
            err = read_ekem1(hs, &message);
            break;
        default:
            err = mix_token(hs, tokens[i]);
        }
    }
    if (err != PEA_OK)
        return err;
    size_t overhead = pea__cipher_overhead(&hs->ss.cipher);
    if (message.len < overhead)
        return PEA_E_PROTO;
    uint8_t *tail;
    err = pea_buf_reserve(payload, message.len - overhead, &tail);
    if (err == PEA_OK)
        err = pea__decrypt_and_hash(&hs->ss, message.data, message.len, tail);
    if (err == PEA_OK)
        pea_buf_commit(payload, message.len - overhead);
    return err;
}

pea_err pea__handshake_read(pea__handshake_state *hs, pea_span message, pea_buf *payload)
{
    if (message.len > PEA_NOISE_MESSAGE_MAX)
        return PEA_E_PROTO;
    pea__handshake_state next = *hs;
    pea_err err = read_tokens(&next, message, payload);
    if (err == PEA_OK) {
        next.message++;
        *hs = next;
    }
    sodium_memzero(&next, sizeof next);
    return err;
}
