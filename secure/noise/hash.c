/* SPDX-License-Identifier: MIT */
/* The four hashes of Noise section 12, and HMAC and HKDF over any of them as section 4.3 defines them: libsodium has no
 * HKDF before 1.0.19. */
#include <sodium.h>
#include <string.h>

#include "noise_priv.h"

#ifdef PEAPOD_LIBB2
#include <blake2.h>
#endif

#define EXPAND_BLOCKS_MAX 255u /* RFC 5869: the block number is one byte */

typedef union hash_state {
    crypto_hash_sha256_state sha256;
    crypto_hash_sha512_state sha512;
    crypto_generichash_state blake2b;
#ifdef PEAPOD_LIBB2
    blake2s_state blake2s;
#endif
} hash_state;

bool pea__hash_available(pea__hash_id hash)
{
#ifdef PEAPOD_LIBB2
    return hash >= PEA__SHA256 && hash <= PEA__BLAKE2S;
#else
    return hash >= PEA__SHA256 && hash <= PEA__BLAKE2B;
#endif
}

size_t pea__hash_len(pea__hash_id hash)
{
    return hash == PEA__SHA512 || hash == PEA__BLAKE2B ? 64 : 32;
}

/* BLOCKLEN */
static size_t block_len(pea__hash_id hash)
{
    return 2 * pea__hash_len(hash);
}

static void hash_begin(hash_state *state, pea__hash_id hash)
{
    switch (hash) {
    case PEA__SHA256:
        (void)crypto_hash_sha256_init(&state->sha256);
        break;
    case PEA__SHA512:
        (void)crypto_hash_sha512_init(&state->sha512);
        break;
    case PEA__BLAKE2B:
        (void)crypto_generichash_init(&state->blake2b, NULL, 0, 64);
        break;
    case PEA__BLAKE2S:
#ifdef PEAPOD_LIBB2
        (void)blake2s_init(&state->blake2s, 32);
#endif
        break;
    }
}

static void hash_update(hash_state *state, pea__hash_id hash, pea_span part)
{
    if (part.len == 0)
        return;
    switch (hash) {
    case PEA__SHA256:
        (void)crypto_hash_sha256_update(&state->sha256, part.data, part.len);
        break;
    case PEA__SHA512:
        (void)crypto_hash_sha512_update(&state->sha512, part.data, part.len);
        break;
    case PEA__BLAKE2B:
        (void)crypto_generichash_update(&state->blake2b, part.data, part.len);
        break;
    case PEA__BLAKE2S:
#ifdef PEAPOD_LIBB2
        (void)blake2s_update(&state->blake2s, part.data, part.len);
#endif
        break;
    }
}

static void hash_end(hash_state *state, pea__hash_id hash, uint8_t out[PEA_NOISE_HASH_MAX])
{
    switch (hash) {
    case PEA__SHA256:
        (void)crypto_hash_sha256_final(&state->sha256, out);
        break;
    case PEA__SHA512:
        (void)crypto_hash_sha512_final(&state->sha512, out);
        break;
    case PEA__BLAKE2B:
        (void)crypto_generichash_final(&state->blake2b, out, 64);
        break;
    case PEA__BLAKE2S:
#ifdef PEAPOD_LIBB2
        (void)blake2s_final(&state->blake2s, out, 32);
#endif
        break;
    }
    sodium_memzero(state, sizeof *state);
}

void pea__hash(pea__hash_id hash, const pea_span *parts, size_t n, uint8_t out[PEA_NOISE_HASH_MAX])
{
    hash_state state;
    hash_begin(&state, hash);
    for (size_t i = 0; i < n; i++)
        hash_update(&state, hash, parts[i]);
    hash_end(&state, hash, out);
}

void pea__hmac(pea__hash_id hash, pea_span key, const pea_span *parts, size_t n, uint8_t out[PEA_NOISE_HASH_MAX])
{
    uint8_t block[PEA__HASH_BLOCK_MAX] = {0}, inner[PEA_NOISE_HASH_MAX];
    size_t block_bytes = block_len(hash);
    hash_state state;
    if (key.len > block_bytes)
        pea__hash(hash, &key, 1, block);
    else if (key.len > 0)
        memcpy(block, key.data, key.len);

    for (size_t i = 0; i < block_bytes; i++)
        block[i] ^= 0x36;
    hash_begin(&state, hash);
    hash_update(&state, hash, (pea_span){block, block_bytes});
    for (size_t i = 0; i < n; i++)
        hash_update(&state, hash, parts[i]);
    hash_end(&state, hash, inner);

    for (size_t i = 0; i < block_bytes; i++)
        block[i] ^= 0x36 ^ 0x5c;
    hash_begin(&state, hash);
    hash_update(&state, hash, (pea_span){block, block_bytes});
    hash_update(&state, hash, (pea_span){inner, pea__hash_len(hash)});
    hash_end(&state, hash, out);
    sodium_memzero(block, sizeof block);
    sodium_memzero(inner, sizeof inner);
}

void pea__hkdf(pea__hash_id hash, const uint8_t *chaining_key, pea_span input, uint8_t out1[PEA_NOISE_HASH_MAX],
               uint8_t out2[PEA_NOISE_HASH_MAX], uint8_t *out3)
{
    static const uint8_t one = 1, two = 2, three = 3;
    uint8_t temp_key[PEA_NOISE_HASH_MAX];
    size_t len = pea__hash_len(hash);
    pea_span key = {temp_key, len};
    pea__hmac(hash, (pea_span){chaining_key, len}, &input, 1, temp_key);
    pea__hmac(hash, key, (const pea_span[]){{&one, 1}}, 1, out1);
    pea__hmac(hash, key, (const pea_span[]){{out1, len}, {&two, 1}}, 2, out2);
    if (out3 != NULL)
        pea__hmac(hash, key, (const pea_span[]){{out2, len}, {&three, 1}}, 2, out3);
    sodium_memzero(temp_key, sizeof temp_key);
}

pea_err pea__hkdf_expand(pea__hash_id hash, const uint8_t *prk, pea_span info, uint8_t *out, size_t len)
{
    size_t hash_len = pea__hash_len(hash);
    if (len > EXPAND_BLOCKS_MAX * hash_len)
        return PEA_E_TOO_BIG;
    uint8_t block[PEA_NOISE_HASH_MAX];
    size_t before = 0; /* the first block has none before it */
    uint8_t number = 1;
    for (size_t done = 0; done < len; number++) {
        const pea_span parts[] = {{block, before}, info, {&number, 1}};
        pea__hmac(hash, (pea_span){prk, hash_len}, parts, 3, block);
        before = hash_len;
        size_t part = len - done < hash_len ? len - done : hash_len;
        memcpy(out + done, block, part);
        done += part;
    }
    sodium_memzero(block, sizeof block);
    return PEA_OK;
}
