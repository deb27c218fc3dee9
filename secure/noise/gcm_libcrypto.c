/* SPDX-License-Identifier: MIT */
/* AES-256-GCM by libcrypto, where the CPU has no instructions for libsodium's. When it is asked is decided in
 * aead.c. */
#include <sodium.h>
#include <string.h>

#include "noise_priv.h"

#ifdef PEAPOD_LIBCRYPTO
#include <limits.h>
#include <openssl/evp.h>

bool pea__libcrypto_gcm_available(void)
{
    return true;
}

/* The part that both directions share: a context with key, nonce and associated data in it; NULL: libcrypto failed. */
static EVP_CIPHER_CTX *libcrypto_begin(const uint8_t *k, const uint8_t *nonce, pea_span ad, size_t len, int encrypt)
{
    if (ad.len > INT_MAX || len > INT_MAX)
        return NULL;
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n = 0;
    if (ctx != NULL && EVP_CipherInit_ex(ctx, EVP_aes_256_gcm(), NULL, k, nonce, encrypt) == 1 &&
        (ad.len == 0 || EVP_CipherUpdate(ctx, NULL, &n, ad.data, (int)ad.len) == 1))
        return ctx;
    EVP_CIPHER_CTX_free(ctx);
    return NULL;
}

pea_err pea__libcrypto_gcm_encrypt(const uint8_t k[PEA__AEAD_KEY_BYTES], const uint8_t nonce[12], pea_span ad,
                                   const uint8_t *plain, size_t len, uint8_t *out)
{
    EVP_CIPHER_CTX *ctx = libcrypto_begin(k, nonce, ad, len, 1);
    int n = 0;
    bool good = ctx != NULL && (len == 0 || EVP_CipherUpdate(ctx, out, &n, plain, (int)len) == 1) &&
                EVP_CipherFinal_ex(ctx, out + len, &n) == 1 &&
                EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, (int)PEA_NOISE_TAG_BYTES, out + len) == 1;
    EVP_CIPHER_CTX_free(ctx); /* wipes the key */
    return good ? PEA_OK : PEA_E_CRYPTO;
}

pea_err pea__libcrypto_gcm_decrypt(const uint8_t k[PEA__AEAD_KEY_BYTES], const uint8_t nonce[12], pea_span ad,
                                   const uint8_t *cipher, size_t len, uint8_t *out)
{
    if (len < PEA_NOISE_TAG_BYTES)
        return PEA_E_CRYPTO;
    size_t plain_len = len - PEA_NOISE_TAG_BYTES;
    uint8_t tag[PEA_NOISE_TAG_BYTES], rest[16];
    memcpy(tag, cipher + plain_len, sizeof tag);
    EVP_CIPHER_CTX *ctx = libcrypto_begin(k, nonce, ad, len, 0);
    int n = 0;
    bool good = ctx != NULL && EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, (int)sizeof tag, tag) == 1 &&
                (plain_len == 0 || EVP_CipherUpdate(ctx, out, &n, cipher, (int)plain_len) == 1) &&
                EVP_CipherFinal_ex(ctx, rest, &n) == 1;
    EVP_CIPHER_CTX_free(ctx);
    if (!good && plain_len > 0)
        sodium_memzero(out, plain_len); /* libcrypto decrypts before it knows the tag: nobody may see that */
    return good ? PEA_OK : PEA_E_CRYPTO;
}

#else

bool pea__libcrypto_gcm_available(void)
{
    return false;
}

pea_err pea__libcrypto_gcm_encrypt(const uint8_t k[PEA__AEAD_KEY_BYTES], const uint8_t nonce[12], pea_span ad,
                                   const uint8_t *plain, size_t len, uint8_t *out)
{
    (void)k, (void)nonce, (void)ad, (void)plain, (void)len, (void)out;
    return PEA_E_CRYPTO;
}

pea_err pea__libcrypto_gcm_decrypt(const uint8_t k[PEA__AEAD_KEY_BYTES], const uint8_t nonce[12], pea_span ad,
                                   const uint8_t *cipher, size_t len, uint8_t *out)
{
    (void)k, (void)nonce, (void)ad, (void)cipher, (void)len, (void)out;
    return PEA_E_CRYPTO;
}

#endif
