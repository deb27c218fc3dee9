/* SPDX-License-Identifier: MIT */
/* Noise section 5.1: a key, its counter, and what may be done with them. The counter never repeats and never wraps. */
#include <sodium.h>
#include <string.h>

#include "noise_priv.h"

#define NONCE_RESERVED UINT64_MAX /* the specification keeps it for rekeying */

void pea__cipher_initialize_key(pea__cipher_state *cs, pea__aead_id aead, const uint8_t *k)
{
    cs->aead = aead;
    cs->n = 0;
    cs->has_key = k != NULL;
    if (k != NULL)
        memcpy(cs->k, k, PEA__AEAD_KEY_BYTES);
}

pea_err pea__cipher_expand(pea__cipher_state *cs)
{
    pea__aead_expanded_free(cs->expanded);
    return pea__aead_expand(&cs->expanded, cs->aead, cs->k);
}

size_t pea__cipher_overhead(const pea__cipher_state *cs)
{
    return cs->has_key ? PEA_NOISE_TAG_BYTES : 0;
}

pea_err pea__encrypt_with_ad(pea__cipher_state *cs, pea_span ad, const uint8_t *plain, size_t len, uint8_t *out)
{
    if (!cs->has_key) {
        if (len > 0)
            memmove(out, plain, len);
        return PEA_OK;
    }
    if (cs->n == NONCE_RESERVED)
        return PEA_E_KEY_LIMIT;
    pea_err err = pea__aead_encrypt(cs->aead, cs->k, cs->expanded, cs->n, ad, plain, len, out);
    if (err == PEA_OK)
        cs->n++;
    return err;
}

pea_err pea__decrypt_with_ad(pea__cipher_state *cs, pea_span ad, const uint8_t *cipher, size_t len, uint8_t *out)
{
    if (!cs->has_key) {
        if (len > 0)
            memmove(out, cipher, len);
        return PEA_OK;
    }
    if (cs->n == NONCE_RESERVED)
        return PEA_E_KEY_LIMIT;
    pea_err err = pea__aead_decrypt(cs->aead, cs->k, cs->expanded, cs->n, ad, cipher, len, out);
    if (err == PEA_OK)
        cs->n++;
    return err;
}

pea_err pea__rekey(pea__cipher_state *cs)
{
    /* REKEY(k): the first 32 bytes of ENCRYPT(k, maxnonce, zerolen, zeros). */
    static const uint8_t zeros[PEA__AEAD_KEY_BYTES];
    uint8_t out[PEA__AEAD_KEY_BYTES + PEA_NOISE_TAG_BYTES];
    pea_err err =
        pea__aead_encrypt(cs->aead, cs->k, cs->expanded, NONCE_RESERVED, (pea_span){NULL, 0}, zeros, sizeof zeros, out);
    if (err == PEA_OK) {
        memcpy(cs->k, out, PEA__AEAD_KEY_BYTES);
        if (cs->expanded != NULL)
            err = pea__cipher_expand(cs);
    }
    sodium_memzero(out, sizeof out);
    return err;
}

void pea__cipher_wipe(pea__cipher_state *cs)
{
    pea__aead_expanded_free(cs->expanded);
    sodium_memzero(cs, sizeof *cs);
}
