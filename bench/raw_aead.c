/* SPDX-License-Identifier: MIT */
/* ChaCha20-Poly1305 and AES-256-GCM by libsodium and libcrypto: see raw_aead.h. */
#include "raw_aead.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "two.h"
#ifdef RAW_LIBCRYPTO
#include <openssl/evp.h>
#endif

#define KEY_BYTES 32u
#define NONCE_BYTES 12u

static const uint8_t key[KEY_BYTES] = {1};

struct raw_aead {
    void (*seal)(raw_aead *a, const uint8_t *nonce, const uint8_t *plain, size_t len, uint8_t *out);
    bool (*open)(raw_aead *a, const uint8_t *nonce, const uint8_t *sealed, size_t len, uint8_t *out);
    crypto_aead_aes256gcm_state *expanded;
#ifdef RAW_LIBCRYPTO
    EVP_CIPHER_CTX *context;
#endif
};

static void must(bool ok, const char *why)
{
    errno = 0;
    if (!ok)
        two_fail(why);
}

/* ---- libsodium ---- */

static void seal_chachapoly(raw_aead *a, const uint8_t *nonce, const uint8_t *plain, size_t len, uint8_t *out)
{
    (void)a;
    crypto_aead_chacha20poly1305_ietf_encrypt(out, NULL, plain, len, NULL, 0, NULL, nonce, key);
}

static bool open_chachapoly(raw_aead *a, const uint8_t *nonce, const uint8_t *sealed, size_t len, uint8_t *out)
{
    (void)a;
    return crypto_aead_chacha20poly1305_ietf_decrypt(out, NULL, NULL, sealed, len, NULL, 0, nonce, key) == 0;
}

static void seal_aes(raw_aead *a, const uint8_t *nonce, const uint8_t *plain, size_t len, uint8_t *out)
{
    crypto_aead_aes256gcm_encrypt_afternm(out, NULL, plain, len, NULL, 0, NULL, nonce, a->expanded);
}

static bool open_aes(raw_aead *a, const uint8_t *nonce, const uint8_t *sealed, size_t len, uint8_t *out)
{
    return crypto_aead_aes256gcm_decrypt_afternm(out, NULL, NULL, sealed, len, NULL, 0, nonce, a->expanded) == 0;
}

static void use_sodium(raw_aead *a, bool aes)
{
    a->seal = aes ? seal_aes : seal_chachapoly;
    a->open = aes ? open_aes : open_chachapoly;
    must(sodium_init() >= 0, "sodium_init");
    if (!aes)
        return;
    must(crypto_aead_aes256gcm_is_available() != 0, "libsodium has no AES-256-GCM on this CPU");
    a->expanded = sodium_malloc((sizeof *a->expanded + 15) & ~(size_t)15); /* aligned to 16 then */
    must(a->expanded != NULL && crypto_aead_aes256gcm_beforenm(a->expanded, key) == 0, "expanding a key");
}

/* ---- libcrypto ---- */

#ifdef RAW_LIBCRYPTO
static void seal_libcrypto(raw_aead *a, const uint8_t *nonce, const uint8_t *plain, size_t len, uint8_t *out)
{
    int n;
    must(EVP_EncryptInit_ex(a->context, NULL, NULL, NULL, nonce) == 1 &&
             EVP_EncryptUpdate(a->context, out, &n, plain, (int)len) == 1 &&
             EVP_EncryptFinal_ex(a->context, out + len, &n) == 1 &&
             EVP_CIPHER_CTX_ctrl(a->context, EVP_CTRL_AEAD_GET_TAG, (int)RAW_TAG_BYTES, out + len) == 1,
         "libcrypto");
}

static bool open_libcrypto(raw_aead *a, const uint8_t *nonce, const uint8_t *sealed, size_t len, uint8_t *out)
{
    int n;
    uint8_t tag[RAW_TAG_BYTES], rest[16];
    size_t plain = len - RAW_TAG_BYTES;
    memcpy(tag, sealed + plain, sizeof tag);
    return EVP_DecryptInit_ex(a->context, NULL, NULL, NULL, nonce) == 1 &&
           EVP_DecryptUpdate(a->context, out, &n, sealed, (int)plain) == 1 &&
           EVP_CIPHER_CTX_ctrl(a->context, EVP_CTRL_AEAD_SET_TAG, (int)RAW_TAG_BYTES, tag) == 1 &&
           EVP_DecryptFinal_ex(a->context, rest, &n) == 1;
}

static void use_libcrypto(raw_aead *a, bool aes, bool seals)
{
    a->seal = seal_libcrypto;
    a->open = open_libcrypto;
    a->context = EVP_CIPHER_CTX_new();
    must(a->context != NULL && EVP_CipherInit_ex(a->context, aes ? EVP_aes_256_gcm() : EVP_chacha20_poly1305(), NULL,
                                                 key, NULL, seals) == 1,
         "libcrypto has no such AEAD");
}
#endif

/* ---- All ---- */

raw_aead *raw_aead_new(const char *name, bool seals)
{
    raw_aead *a = calloc(1, sizeof *a);
    must(a != NULL, "calloc");
    bool aes = strncmp(name, "aes", 3) == 0;
    (void)seals;
    if (strstr(name, "-sodium") != NULL)
        use_sodium(a, aes);
#ifdef RAW_LIBCRYPTO
    else
        use_libcrypto(a, aes, seals);
#endif
    must(a->seal != NULL, "built without libcrypto: libssl-dev");
    return a;
}

/* Four zero bytes, then the counter: no AEAD minds which way round. */
static void make_nonce(uint64_t n, uint8_t nonce[NONCE_BYTES])
{
    memset(nonce, 0, NONCE_BYTES);
    memcpy(nonce + 4, &n, sizeof n);
}

void raw_seal(raw_aead *a, uint64_t n, const uint8_t *plain, size_t len, uint8_t *out)
{
    uint8_t nonce[NONCE_BYTES];
    make_nonce(n, nonce);
    a->seal(a, nonce, plain, len, out);
}

void raw_open(raw_aead *a, uint64_t n, const uint8_t *sealed, size_t len, uint8_t *out)
{
    uint8_t nonce[NONCE_BYTES];
    make_nonce(n, nonce);
    must(len >= RAW_TAG_BYTES && a->open(a, nonce, sealed, len, out), "a record that does not authenticate");
}
