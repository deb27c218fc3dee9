/* SPDX-License-Identifier: MIT */
/* The two AEADs of Noise section 12, with its nonces. Which library does the work is decided here and nowhere else;
 * what a nonce may be is CipherState's to say. */
#include <sodium.h>
#include <string.h>

#include "buf_priv.h"
#include "noise_priv.h"

#define NONCE_BYTES 12u

_Static_assert(crypto_aead_chacha20poly1305_ietf_KEYBYTES == PEA__AEAD_KEY_BYTES, "ChaChaPoly's key");
_Static_assert(crypto_aead_chacha20poly1305_ietf_ABYTES == PEA_NOISE_TAG_BYTES, "ChaChaPoly's tag");
_Static_assert(crypto_aead_chacha20poly1305_ietf_NPUBBYTES == NONCE_BYTES, "ChaChaPoly's nonce");
_Static_assert(crypto_aead_aes256gcm_KEYBYTES == PEA__AEAD_KEY_BYTES, "AESGCM's key");
_Static_assert(crypto_aead_aes256gcm_ABYTES == PEA_NOISE_TAG_BYTES, "AESGCM's tag");
_Static_assert(crypto_aead_aes256gcm_NPUBBYTES == NONCE_BYTES, "AESGCM's nonce");

#define GCM_ALIGNMENT 16u /* libsodium's key schedule; the user's allocator may promise less */

struct pea__aead_expanded {
    uint8_t room[sizeof(crypto_aead_aes256gcm_state) + GCM_ALIGNMENT - 1];
};

static crypto_aead_aes256gcm_state *gcm_state(pea__aead_expanded *expanded)
{
    size_t off = (size_t)(-(uintptr_t)expanded->room & (GCM_ALIGNMENT - 1));
    return (crypto_aead_aes256gcm_state *)(void *)(expanded->room + off);
}

static const crypto_aead_aes256gcm_state *gcm_state_const(const pea__aead_expanded *expanded)
{
    size_t off = (size_t)(-(uintptr_t)expanded->room & (GCM_ALIGNMENT - 1));
    return (const crypto_aead_aes256gcm_state *)(const void *)(expanded->room + off);
}

/* Four zero bytes, then the counter: little-endian for ChaChaPoly, big-endian for AESGCM. */
static void make_nonce(pea__aead_id aead, uint64_t n, uint8_t nonce[NONCE_BYTES])
{
    memset(nonce, 0, 4);
    for (unsigned i = 0; i < 8; i++)
        nonce[4 + i] = (uint8_t)(n >> (aead == PEA__AESGCM ? 56 - 8 * i : 8 * i));
}

/* Of all that is long records alone have no associated data: messages of handshakes, which strangers can make us read,
 * are libsodium's whatever their length. */
static bool is_large_record(pea_span ad, size_t plain_len)
{
    return ad.len == 0 && plain_len >= PEA__LIBCRYPTO_FROM;
}

bool pea__aead_available(pea__aead_id aead)
{
    bool libcrypto = pea__libcrypto_available(aead); /* asked first: it starts here rather than at the first record */
    return aead == PEA__CHACHAPOLY || crypto_aead_aes256gcm_is_available() != 0 || libcrypto ||
           pea__mbedtls_gcm_available();
}

pea_err pea__aead_expand(pea__aead_expanded **expanded, pea__aead_id aead, const uint8_t k[PEA__AEAD_KEY_BYTES])
{
    *expanded = NULL;
    if (aead != PEA__AESGCM || crypto_aead_aes256gcm_is_available() == 0)
        return PEA_OK;
    pea__aead_expanded *fresh = pea__alloc(sizeof *fresh);
    if (fresh == NULL)
        return PEA_E_NOMEM;
    (void)crypto_aead_aes256gcm_beforenm(gcm_state(fresh), k);
    *expanded = fresh;
    return PEA_OK;
}

void pea__aead_expanded_free(pea__aead_expanded *expanded)
{
    if (expanded == NULL)
        return;
    sodium_memzero(expanded, sizeof *expanded);
    pea__free(expanded);
}

static pea_err gcm_encrypt(const uint8_t *k, const pea__aead_expanded *expanded, const uint8_t *nonce, pea_span ad,
                           const uint8_t *plain, size_t len, uint8_t *out)
{
    int failed;
    if (expanded != NULL)
        failed = crypto_aead_aes256gcm_encrypt_afternm(out, NULL, plain, len, ad.data, ad.len, NULL, nonce,
                                                       gcm_state_const(expanded));
    else if (crypto_aead_aes256gcm_is_available() != 0)
        failed = crypto_aead_aes256gcm_encrypt(out, NULL, plain, len, ad.data, ad.len, NULL, nonce, k);
    else {
        pea_err err = pea__libcrypto_encrypt(PEA__AESGCM, k, nonce, ad, plain, len, out);
        return err != PEA_E_UNSUPPORTED ? err : pea__mbedtls_gcm_encrypt(k, nonce, ad, plain, len, out);
    }
    return failed == 0 ? PEA_OK : PEA_E_CRYPTO;
}

static pea_err gcm_decrypt(const uint8_t *k, const pea__aead_expanded *expanded, const uint8_t *nonce, pea_span ad,
                           const uint8_t *cipher, size_t len, uint8_t *out)
{
    int failed;
    if (expanded != NULL)
        failed = crypto_aead_aes256gcm_decrypt_afternm(out, NULL, NULL, cipher, len, ad.data, ad.len, nonce,
                                                       gcm_state_const(expanded));
    else if (crypto_aead_aes256gcm_is_available() != 0)
        failed = crypto_aead_aes256gcm_decrypt(out, NULL, NULL, cipher, len, ad.data, ad.len, nonce, k);
    else {
        pea_err err = pea__libcrypto_decrypt(PEA__AESGCM, k, nonce, ad, cipher, len, out);
        return err != PEA_E_UNSUPPORTED ? err : pea__mbedtls_gcm_decrypt(k, nonce, ad, cipher, len, out);
    }
    return failed == 0 ? PEA_OK : PEA_E_CRYPTO;
}

pea_err pea__aead_encrypt(pea__aead_id aead, const uint8_t k[PEA__AEAD_KEY_BYTES], const pea__aead_expanded *expanded,
                          uint64_t n, pea_span ad, const uint8_t *plain, size_t len, uint8_t *out)
{
    uint8_t nonce[NONCE_BYTES];
    make_nonce(aead, n, nonce);
    if (is_large_record(ad, len)) {
        pea_err err = pea__libcrypto_encrypt(aead, k, nonce, ad, plain, len, out);
        if (err != PEA_E_UNSUPPORTED)
            return err;
    }
    if (aead == PEA__AESGCM)
        return gcm_encrypt(k, expanded, nonce, ad, plain, len, out);
    int failed = crypto_aead_chacha20poly1305_ietf_encrypt(out, NULL, plain, len, ad.data, ad.len, NULL, nonce, k);
    return failed == 0 ? PEA_OK : PEA_E_CRYPTO;
}

pea_err pea__aead_decrypt(pea__aead_id aead, const uint8_t k[PEA__AEAD_KEY_BYTES], const pea__aead_expanded *expanded,
                          uint64_t n, pea_span ad, const uint8_t *cipher, size_t len, uint8_t *out)
{
    if (len < PEA_NOISE_TAG_BYTES)
        return PEA_E_CRYPTO;
    uint8_t nonce[NONCE_BYTES];
    make_nonce(aead, n, nonce);
    if (is_large_record(ad, len - PEA_NOISE_TAG_BYTES)) {
        pea_err err = pea__libcrypto_decrypt(aead, k, nonce, ad, cipher, len, out);
        if (err != PEA_E_UNSUPPORTED)
            return err;
    }
    if (aead == PEA__AESGCM)
        return gcm_decrypt(k, expanded, nonce, ad, cipher, len, out);
    int failed = crypto_aead_chacha20poly1305_ietf_decrypt(out, NULL, NULL, cipher, len, ad.data, ad.len, nonce, k);
    return failed == 0 ? PEA_OK : PEA_E_CRYPTO;
}
