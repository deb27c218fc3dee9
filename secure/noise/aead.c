/* SPDX-License-Identifier: MIT */
/* Noise's two AEADs (section 12) with its nonces; what a nonce may be is CipherState's to say. */
#include <string.h>

#include "noise_priv.h"

/* Four zero bytes, then the counter: little-endian for ChaChaPoly, big-endian for AESGCM. */
static void make_nonce(pea__aead_id aead, uint64_t n, uint8_t nonce[PEA__AEAD_NONCE_BYTES])
{
    memset(nonce, 0, 4);
    for (unsigned i = 0; i < 8; i++)
        nonce[4 + i] = (uint8_t)(n >> (aead == PEA__AESGCM ? 56 - 8 * i : 8 * i));
}

/* Messages of handshakes have their hash as associated data. */
static bool is_record(pea_span ad)
{
    return ad.len == 0;
}

pea_err pea__aead_encrypt(pea__aead_id aead, const uint8_t k[PEA__AEAD_KEY_BYTES], const pea__aead_expanded *expanded,
                          uint64_t n, pea_span ad, const uint8_t *plain, size_t len, uint8_t *out)
{
    uint8_t nonce[PEA__AEAD_NONCE_BYTES];
    make_nonce(aead, n, nonce);
    return pea__aead_seal(aead, k, expanded, nonce, ad, is_record(ad), plain, len, out);
}

pea_err pea__aead_decrypt(pea__aead_id aead, const uint8_t k[PEA__AEAD_KEY_BYTES], const pea__aead_expanded *expanded,
                          uint64_t n, pea_span ad, const uint8_t *cipher, size_t len, uint8_t *out)
{
    uint8_t nonce[PEA__AEAD_NONCE_BYTES];
    make_nonce(aead, n, nonce);
    return pea__aead_open(aead, k, expanded, nonce, ad, is_record(ad), cipher, len, out);
}
