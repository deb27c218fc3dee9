/* SPDX-License-Identifier: MIT */
/* The AEADs by libcrypto. When it is asked is decided in aead.c.
 *
 * A context lives as long as one call. It holds the key, what was made of it and the rest of a block of keystream, and
 * only the end of the context wipes all of that; another key does not. One that is kept for each thread would have to
 * be reset behind every record as well, and then saves a hundredth of the time of a record of 2 KiB. */
#include <sodium.h>
#include <string.h>

#include "aead_priv.h"

#ifdef PEAPOD_LIBCRYPTO
#include <limits.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <pthread.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static EVP_CIPHER *ciphers[PEA__AES128GCM + 1]; /* NULL: this libcrypto has none, or its configuration forbids it */

/* OpenSSL 3 looks algorithms up under a lock and by their names; the first time it reads its configuration. */
static void fetch(void)
{
    (void)ERR_set_mark();
    ciphers[PEA__CHACHAPOLY] = EVP_CIPHER_fetch(NULL, "ChaCha20-Poly1305", NULL);
    ciphers[PEA__AESGCM] = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    ciphers[PEA__AES128GCM] = EVP_CIPHER_fetch(NULL, "AES-128-GCM", NULL);
    (void)ERR_pop_to_mark(); /* one that is missing is no error, and the queue may be the application's */
}

static const EVP_CIPHER *cipher_of(pea__aead_id aead)
{
    (void)pthread_once(&once, fetch);
    return ciphers[aead];
}

bool pea__libcrypto_available(pea__aead_id aead)
{
    return cipher_of(aead) != NULL;
}

/* The part that both directions share: a context with key, nonce and associated data in it; NULL: there is none. */
static EVP_CIPHER_CTX *libcrypto_begin(pea__aead_id aead, const uint8_t *k, const uint8_t *nonce, pea_span ad,
                                       size_t len, int encrypt)
{
    const EVP_CIPHER *cipher = cipher_of(aead);
    if (cipher == NULL || ad.len > INT_MAX || len > INT_MAX)
        return NULL;
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n = 0;
    if (ctx != NULL && EVP_CipherInit_ex(ctx, cipher, NULL, k, nonce, encrypt) == 1 &&
        (ad.len == 0 || EVP_CipherUpdate(ctx, NULL, &n, ad.data, (int)ad.len) == 1))
        return ctx;
    EVP_CIPHER_CTX_free(ctx);
    return NULL;
}

pea_err pea__libcrypto_encrypt(pea__aead_id aead, const uint8_t k[PEA__AEAD_KEY_BYTES], const uint8_t nonce[12],
                               pea_span ad, const uint8_t *plain, size_t len, uint8_t *out)
{
    EVP_CIPHER_CTX *ctx = libcrypto_begin(aead, k, nonce, ad, len, 1);
    int n = 0;
    if (ctx == NULL)
        return PEA_E_UNSUPPORTED;
    bool good = (len == 0 || EVP_CipherUpdate(ctx, out, &n, plain, (int)len) == 1) &&
                EVP_CipherFinal_ex(ctx, out + len, &n) == 1 &&
                EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, (int)PEA__AEAD_TAG_BYTES, out + len) == 1;
    EVP_CIPHER_CTX_free(ctx); /* wipes */
    return good ? PEA_OK : PEA_E_CRYPTO;
}

pea_err pea__libcrypto_decrypt(pea__aead_id aead, const uint8_t k[PEA__AEAD_KEY_BYTES], const uint8_t nonce[12],
                               pea_span ad, const uint8_t *cipher, size_t len, uint8_t *out)
{
    if (len < PEA__AEAD_TAG_BYTES)
        return PEA_E_CRYPTO;
    size_t plain_len = len - PEA__AEAD_TAG_BYTES;
    uint8_t tag[PEA__AEAD_TAG_BYTES], rest[16];
    memcpy(tag, cipher + plain_len, sizeof tag);
    EVP_CIPHER_CTX *ctx = libcrypto_begin(aead, k, nonce, ad, len, 0);
    int n = 0;
    if (ctx == NULL)
        return PEA_E_UNSUPPORTED;
    bool good = EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, (int)sizeof tag, tag) == 1 &&
                (plain_len == 0 || EVP_CipherUpdate(ctx, out, &n, cipher, (int)plain_len) == 1) &&
                EVP_CipherFinal_ex(ctx, rest, &n) == 1;
    EVP_CIPHER_CTX_free(ctx);
    if (!good && plain_len > 0)
        sodium_memzero(out, plain_len); /* libcrypto decrypts before it knows the tag: nobody may see that */
    return good ? PEA_OK : PEA_E_CRYPTO;
}

#else

bool pea__libcrypto_available(pea__aead_id aead)
{
    (void)aead;
    return false;
}

pea_err pea__libcrypto_encrypt(pea__aead_id aead, const uint8_t k[PEA__AEAD_KEY_BYTES], const uint8_t nonce[12],
                               pea_span ad, const uint8_t *plain, size_t len, uint8_t *out)
{
    (void)aead, (void)k, (void)nonce, (void)ad, (void)plain, (void)len, (void)out;
    return PEA_E_UNSUPPORTED;
}

pea_err pea__libcrypto_decrypt(pea__aead_id aead, const uint8_t k[PEA__AEAD_KEY_BYTES], const uint8_t nonce[12],
                               pea_span ad, const uint8_t *cipher, size_t len, uint8_t *out)
{
    (void)aead, (void)k, (void)nonce, (void)ad, (void)cipher, (void)len, (void)out;
    return PEA_E_UNSUPPORTED;
}

#endif
