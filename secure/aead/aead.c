/* SPDX-License-Identifier: MIT */
/* Which library does the work of an AEAD: decided here and nowhere else. */
#include <sodium.h>
#include <string.h>

#include "aead_priv.h"
#include "buf_priv.h"

_Static_assert(crypto_aead_chacha20poly1305_ietf_KEYBYTES == PEA__AEAD_KEY_BYTES, "ChaChaPoly's key");
_Static_assert(crypto_aead_chacha20poly1305_ietf_ABYTES == PEA__AEAD_TAG_BYTES, "ChaChaPoly's tag");
_Static_assert(crypto_aead_chacha20poly1305_ietf_NPUBBYTES == PEA__AEAD_NONCE_BYTES, "ChaChaPoly's nonce");
_Static_assert(crypto_aead_aes256gcm_KEYBYTES == PEA__AEAD_KEY_BYTES, "AESGCM's key");
_Static_assert(crypto_aead_aes256gcm_ABYTES == PEA__AEAD_TAG_BYTES, "AESGCM's tag");
_Static_assert(crypto_aead_aes256gcm_NPUBBYTES == PEA__AEAD_NONCE_BYTES, "AESGCM's nonce");

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

bool pea__aead_available(pea__aead_id aead)
{
    bool libcrypto = pea__libcrypto_available(aead); /* asked first: it starts here rather than at the first record */
    bool sodium = aead == PEA__CHACHAPOLY || (aead == PEA__AESGCM && crypto_aead_aes256gcm_is_available() != 0);
    return sodium || libcrypto || pea__mbedtls_gcm_available();
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

/* By libsodium; PEA_E_UNSUPPORTED: it has none of this. */
static pea_err sodium_seal(pea__aead_id aead, const uint8_t *k, const pea__aead_expanded *expanded,
                           const uint8_t *nonce, pea_span ad, const uint8_t *plain, size_t len, uint8_t *out)
{
    int failed;
    if (aead == PEA__CHACHAPOLY)
        failed = crypto_aead_chacha20poly1305_ietf_encrypt(out, NULL, plain, len, ad.data, ad.len, NULL, nonce, k);
    else if (expanded != NULL)
        failed = crypto_aead_aes256gcm_encrypt_afternm(out, NULL, plain, len, ad.data, ad.len, NULL, nonce,
                                                       gcm_state_const(expanded));
    else if (aead == PEA__AESGCM && crypto_aead_aes256gcm_is_available() != 0)
        failed = crypto_aead_aes256gcm_encrypt(out, NULL, plain, len, ad.data, ad.len, NULL, nonce, k);
    else
        return PEA_E_UNSUPPORTED;
    return failed == 0 ? PEA_OK : PEA_E_CRYPTO;
}

static pea_err sodium_open(pea__aead_id aead, const uint8_t *k, const pea__aead_expanded *expanded,
                           const uint8_t *nonce, pea_span ad, const uint8_t *cipher, size_t len, uint8_t *out)
{
    int failed;
    if (aead == PEA__CHACHAPOLY)
        failed = crypto_aead_chacha20poly1305_ietf_decrypt(out, NULL, NULL, cipher, len, ad.data, ad.len, nonce, k);
    else if (expanded != NULL)
        failed = crypto_aead_aes256gcm_decrypt_afternm(out, NULL, NULL, cipher, len, ad.data, ad.len, nonce,
                                                       gcm_state_const(expanded));
    else if (aead == PEA__AESGCM && crypto_aead_aes256gcm_is_available() != 0)
        failed = crypto_aead_aes256gcm_decrypt(out, NULL, NULL, cipher, len, ad.data, ad.len, nonce, k);
    else
        return PEA_E_UNSUPPORTED;
    return failed == 0 ? PEA_OK : PEA_E_CRYPTO;
}

/* Long records are libcrypto's, all else libsodium's; who cannot passes it on, in the end to mbedTLS. */
pea_err pea__aead_seal(pea__aead_id aead, const uint8_t k[PEA__AEAD_KEY_BYTES], const pea__aead_expanded *expanded,
                       const uint8_t nonce[PEA__AEAD_NONCE_BYTES], pea_span ad, bool record, const uint8_t *plain,
                       size_t len, uint8_t *out)
{
    bool asked = record && len >= PEA__LIBCRYPTO_FROM;
    pea_err err = asked ? pea__libcrypto_encrypt(aead, k, nonce, ad, plain, len, out) : PEA_E_UNSUPPORTED;
    if (err == PEA_E_UNSUPPORTED)
        err = sodium_seal(aead, k, expanded, nonce, ad, plain, len, out);
    if (err == PEA_E_UNSUPPORTED && !asked)
        err = pea__libcrypto_encrypt(aead, k, nonce, ad, plain, len, out);
    return err != PEA_E_UNSUPPORTED ? err : pea__mbedtls_gcm_encrypt(aead, k, nonce, ad, plain, len, out);
}

pea_err pea__aead_open(pea__aead_id aead, const uint8_t k[PEA__AEAD_KEY_BYTES], const pea__aead_expanded *expanded,
                       const uint8_t nonce[PEA__AEAD_NONCE_BYTES], pea_span ad, bool record, const uint8_t *cipher,
                       size_t len, uint8_t *out)
{
    if (len < PEA__AEAD_TAG_BYTES)
        return PEA_E_CRYPTO;
    bool asked = record && len - PEA__AEAD_TAG_BYTES >= PEA__LIBCRYPTO_FROM;
    pea_err err = asked ? pea__libcrypto_decrypt(aead, k, nonce, ad, cipher, len, out) : PEA_E_UNSUPPORTED;
    if (err == PEA_E_UNSUPPORTED)
        err = sodium_open(aead, k, expanded, nonce, ad, cipher, len, out);
    if (err == PEA_E_UNSUPPORTED && !asked)
        err = pea__libcrypto_decrypt(aead, k, nonce, ad, cipher, len, out);
    return err != PEA_E_UNSUPPORTED ? err : pea__mbedtls_gcm_decrypt(aead, k, nonce, ad, cipher, len, out);
}
