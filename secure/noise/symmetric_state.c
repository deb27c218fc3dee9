/* SPDX-License-Identifier: MIT */
/* Noise section 5.2: the chaining key, the handshake hash and the cipher that both sides work on in step. */
#include <sodium.h>
#include <string.h>

#include "noise_priv.h"

void pea__initialize_symmetric(pea__symmetric_state *ss, const pea__protocol *protocol)
{
    char name[PEA__PROTOCOL_NAME_BYTES];
    pea_span whole = {(const uint8_t *)name, pea__protocol_name(protocol, name)};
    memset(ss, 0, sizeof *ss);
    ss->hash = protocol->hash;
    if (whole.len <= pea__hash_len(ss->hash))
        memcpy(ss->h, name, whole.len); /* padded with the zeros that are there */
    else
        pea__hash(ss->hash, &whole, 1, ss->h);
    memcpy(ss->ck, ss->h, sizeof ss->ck);
    pea__cipher_initialize_key(&ss->cipher, protocol->aead, NULL);
}

void pea__mix_key(pea__symmetric_state *ss, const uint8_t *input, size_t len)
{
    uint8_t temp_k[PEA_NOISE_HASH_MAX];
    pea__hkdf(ss->hash, ss->ck, (pea_span){input, len}, ss->ck, temp_k, NULL);
    pea__cipher_initialize_key(&ss->cipher, ss->cipher.aead, temp_k); /* its first 32 bytes */
    sodium_memzero(temp_k, sizeof temp_k);
}

void pea__mix_hash(pea__symmetric_state *ss, const uint8_t *data, size_t len)
{
    pea__hash(ss->hash, (const pea_span[]){{ss->h, pea__hash_len(ss->hash)}, {data, len}}, 2, ss->h);
}

void pea__mix_key_and_hash(pea__symmetric_state *ss, const uint8_t *input, size_t len)
{
    uint8_t temp_h[PEA_NOISE_HASH_MAX], temp_k[PEA_NOISE_HASH_MAX];
    pea__hkdf(ss->hash, ss->ck, (pea_span){input, len}, ss->ck, temp_h, temp_k);
    pea__mix_hash(ss, temp_h, pea__hash_len(ss->hash));
    pea__cipher_initialize_key(&ss->cipher, ss->cipher.aead, temp_k);
    sodium_memzero(temp_h, sizeof temp_h);
    sodium_memzero(temp_k, sizeof temp_k);
}

pea_err pea__encrypt_and_hash(pea__symmetric_state *ss, const uint8_t *plain, size_t len, uint8_t *out)
{
    size_t cipher_len = len + pea__cipher_overhead(&ss->cipher);
    pea_err err = pea__encrypt_with_ad(&ss->cipher, (pea_span){ss->h, pea__hash_len(ss->hash)}, plain, len, out);
    if (err == PEA_OK)
        pea__mix_hash(ss, out, cipher_len);
    return err;
}

pea_err pea__decrypt_and_hash(pea__symmetric_state *ss, const uint8_t *cipher, size_t len, uint8_t *out)
{
    pea_err err = pea__decrypt_with_ad(&ss->cipher, (pea_span){ss->h, pea__hash_len(ss->hash)}, cipher, len, out);
    if (err == PEA_OK)
        pea__mix_hash(ss, cipher, len);
    return err;
}

void pea__split(const pea__symmetric_state *ss, pea__cipher_state *c1, pea__cipher_state *c2,
                uint8_t exporter[PEA_NOISE_HASH_MAX])
{
    uint8_t temp_k1[PEA_NOISE_HASH_MAX], temp_k2[PEA_NOISE_HASH_MAX];
    pea__hkdf(ss->hash, ss->ck, (pea_span){NULL, 0}, temp_k1, temp_k2, exporter);
    pea__cipher_initialize_key(c1, ss->cipher.aead, temp_k1);
    pea__cipher_initialize_key(c2, ss->cipher.aead, temp_k2);
    sodium_memzero(temp_k1, sizeof temp_k1);
    sodium_memzero(temp_k2, sizeof temp_k2);
}
