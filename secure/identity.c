/* SPDX-License-Identifier: MIT */
/* Long-term key pairs as reference-counted objects whose secret half lies in guarded memory, and what persons and
 * networks are shown of keys. Key files are keyfile.c's business, what is in a certificate
 * tls/identity_certificate.c's. */
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "buf_priv.h"
#include "err_priv.h"
#include "secure_priv.h"

struct pea_identity {
    atomic_uint refs;
    pea_peer_kind kind;       /* PEA_PEER_NOISE or PEA_PEER_SPKI */
    uint8_t id[PEA_ID_BYTES]; /* the X25519 public key, or the hash of the certificate's */
    uint8_t *secret;          /* guarded: X25519's 32 bytes, or the DER of the certificate's private key */
    size_t secret_len;
    pea_span *chain; /* of a certificate: one allocation with the DERs behind it */
    size_t n_chain;
};

_Static_assert(PEA_KEY_BYTES == PEA_ID_BYTES, "a Noise id is the public key");

uint8_t *pea__guard(const uint8_t *secret, size_t len)
{
    uint8_t *guarded = sodium_malloc(len);
    if (guarded == NULL)
        return NULL;
    memcpy(guarded, secret, len);
    /* Where the system has no mprotect(), the copy is as good as any other memory, and nothing is lost by going on. */
    (void)sodium_mprotect_readonly(guarded);
    return guarded;
}

void pea__unguard(uint8_t *guarded)
{
    sodium_free(guarded);
}

void pea__wipe(void *secret, size_t len)
{
    sodium_memzero(secret, len);
}

const uint8_t *pea__identity_secret(const pea_identity *identity)
{
    return identity->kind == PEA_PEER_NOISE ? identity->secret : NULL;
}

const uint8_t *pea__identity_public(const pea_identity *identity)
{
    return identity->kind == PEA_PEER_NOISE ? identity->id : NULL;
}

bool pea__identity_is_certificate(const pea_identity *identity)
{
    return identity->kind == PEA_PEER_SPKI;
}

size_t pea__identity_chain(const pea_identity *identity, const pea_span **chain)
{
    *chain = identity->chain;
    return identity->n_chain;
}

pea_span pea__identity_key(const pea_identity *identity)
{
    return identity->kind == PEA_PEER_SPKI ? (pea_span){identity->secret, identity->secret_len} : (pea_span){NULL, 0};
}

/* With one reference, without a chain. PEA_OK | PEA_E_NOMEM */
static pea_err identity_new(pea_identity **identity, pea_peer_kind kind, const uint8_t id[PEA_ID_BYTES],
                            pea_span secret, pea_error *why)
{
    pea_identity *fresh = pea__alloc(sizeof *fresh);
    if (fresh == NULL)
        return pea__error(why, PEA_E_NOMEM, NULL);
    atomic_init(&fresh->refs, 1);
    fresh->kind = kind;
    memcpy(fresh->id, id, PEA_ID_BYTES);
    fresh->secret_len = secret.len;
    fresh->secret = pea__guard(secret.data, secret.len);
    if (fresh->secret == NULL) {
        pea__free(fresh);
        return pea__error(why, PEA_E_NOMEM, "no guarded memory for a secret key");
    }
    *identity = fresh;
    return PEA_OK;
}

pea_err pea_identity_from_secret(pea_identity **identity, const uint8_t secret[PEA_KEY_BYTES], pea_error *why)
{
    pea_err err = pea__secure_init(why);
    if (err != PEA_OK)
        return err;
    if (sodium_is_zero(secret, PEA_KEY_BYTES))
        return pea__error(why, PEA_E_INVALID, "this is no secret key: it is all zero");
    uint8_t public_key[PEA_KEY_BYTES];
    if (pea__x25519_public(public_key, secret) != PEA_OK)
        return pea__error(why, PEA_E_INVALID, "this is no secret key: its public key would be zero");
    return identity_new(identity, PEA_PEER_NOISE, public_key, (pea_span){secret, PEA_KEY_BYTES}, why);
}

pea_err pea__identity_from_certificate(pea_identity **identity, const uint8_t id[PEA_ID_BYTES], const pea_span *chain,
                                       size_t n, pea_span key, pea_error *why)
{
    size_t size = n * sizeof *chain;
    for (size_t i = 0; i < n; i++)
        size += chain[i].len;
    pea_span *copies = pea__alloc(size);
    if (copies == NULL)
        return pea__error(why, PEA_E_NOMEM, NULL);
    uint8_t *at = (uint8_t *)(copies + n);
    for (size_t i = 0; i < n; i++) {
        memcpy(at, chain[i].data, chain[i].len);
        copies[i] = (pea_span){at, chain[i].len};
        at += chain[i].len;
    }
    pea_err err = identity_new(identity, PEA_PEER_SPKI, id, key, why);
    if (err != PEA_OK) {
        pea__free(copies);
        return err;
    }
    (*identity)->chain = copies;
    (*identity)->n_chain = n;
    return PEA_OK;
}

pea_err pea_identity_generate(pea_identity **identity, pea_error *why)
{
    pea_err err = pea__secure_init(why);
    if (err != PEA_OK)
        return err;
    uint8_t secret[PEA_KEY_BYTES];
    randombytes_buf(secret, sizeof secret);
    err = pea_identity_from_secret(identity, secret, why);
    sodium_memzero(secret, sizeof secret);
    return err;
}

pea_err pea_identity_parse(pea_identity **identity, const char *text, size_t len, pea_error *why)
{
    uint8_t secret[PEA_KEY_BYTES];
    pea_err err = pea__secure_init(why);
    if (err == PEA_OK)
        err = pea__keyfile_read(secret, PEA__KEY_X25519, text, len, why);
    if (err == PEA_OK)
        err = pea_identity_from_secret(identity, secret, why);
    sodium_memzero(secret, sizeof secret);
    return err;
}

pea_identity *pea_identity_ref(pea_identity *identity)
{
    atomic_fetch_add_explicit(&identity->refs, 1, memory_order_relaxed);
    return identity;
}

void pea_identity_unref(pea_identity *identity)
{
    if (identity == NULL || atomic_fetch_sub_explicit(&identity->refs, 1, memory_order_acq_rel) != 1)
        return;
    pea__unguard(identity->secret);
    pea__free(identity->chain);
    pea__free(identity);
}

void pea_identity_peer(const pea_identity *identity, pea_peer *peer)
{
    *peer = (pea_peer){.kind = identity->kind};
    memcpy(peer->id, identity->id, PEA_ID_BYTES);
}

char *pea_peer_fingerprint(const pea_peer *peer, char dst[PEA_FINGERPRINT_BYTES])
{
    char text[PEA_PEER_TEXT_BYTES];
    uint8_t hash[16];
    pea_peer_format(peer, text);
    (void)crypto_generichash(hash, sizeof hash, (const uint8_t *)text, strlen(text), NULL, 0);
    for (size_t i = 0; i < 8; i++)
        (void)snprintf(dst + 5 * i, PEA_FINGERPRINT_BYTES - 5 * i, "%02x%02x%s", hash[2 * i], hash[2 * i + 1],
                       i < 7 ? " " : "");
    return dst;
}

pea_err pea_network_id(uint8_t network[32], const void *name, size_t len)
{
    static const char key[] = "peapod network id";
    if (name == NULL || len == 0 || pea__secure_init(NULL) != PEA_OK)
        return PEA_E_INVALID;
    (void)crypto_generichash(network, 32, name, len, (const uint8_t *)key, sizeof key - 1);
    return PEA_OK;
}
