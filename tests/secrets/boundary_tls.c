/* SPDX-License-Identifier: MIT */
/* The boundary of what is secret, as far as our code has certificates' private keys and their passphrases in its
 * hands. mbedTLS gets copies that are not marked, because what it does with keys is not ours; what it gives back is
 * marked again. */
#include "secrets.h"

#include <mbedtls/aes.h>
#include <mbedtls/pk.h>
#include <mbedtls/pkcs5.h>
#include <mbedtls/version.h>
#include <stdlib.h>
#include <string.h>

/* For mbedTLS; the caller frees it. */
static unsigned char *copy_of(const unsigned char *secret, size_t len)
{
    unsigned char *copy = malloc(len + 1);
    if (copy == NULL)
        abort();
    if (len > 0)
        memcpy(copy, secret, len);
    secrets_show(copy, len);
    return copy;
}

/* ---- Keys ---- */

#if MBEDTLS_VERSION_NUMBER >= 0x03000000
#define RANDOM , int (*random)(void *, unsigned char *, size_t), void *arg
#define RANDOM_ARGS , random, arg
#else
#define RANDOM
#define RANDOM_ARGS
#endif
#define PARSE_KEY \
    mbedtls_pk_context *pk, const unsigned char *key, size_t len, const unsigned char *pwd, size_t pwd_len RANDOM

int __real_mbedtls_pk_parse_key(PARSE_KEY);
int __wrap_mbedtls_pk_parse_key(PARSE_KEY);
#if MBEDTLS_VERSION_NUMBER >= 0x03060000
#define PK const mbedtls_pk_context
#else
#define PK mbedtls_pk_context
#endif
int __real_mbedtls_pk_write_key_der(PK *pk, unsigned char *buf, size_t size);
int __wrap_mbedtls_pk_write_key_der(PK *pk, unsigned char *buf, size_t size);

int __wrap_mbedtls_pk_parse_key(PARSE_KEY)
{
    unsigned char *key_copy = copy_of(key, len), *pwd_copy = copy_of(pwd, pwd_len);
    int answer = __real_mbedtls_pk_parse_key(pk, key_copy, len, pwd != NULL ? pwd_copy : NULL, pwd_len RANDOM_ARGS);
    free(key_copy);
    free(pwd_copy);
    return answer;
}

/* How long it is depends on the kind of the key alone. */
int __wrap_mbedtls_pk_write_key_der(PK *pk, unsigned char *buf, size_t size)
{
    int len = __real_mbedtls_pk_write_key_der(pk, buf, size);
    if (len > 0) {
        secrets_hide(buf + size - (size_t)len, (size_t)len);
        secrets_leak(SECRETS_CERTIFIED, buf + size - (size_t)len);
    }
    return len;
}

/* ---- Keys under a passphrase ---- */

#define PBKDF2(first)                                                                                             \
    first, const unsigned char *pwd, size_t pwd_len, const unsigned char *salt, size_t salt_len, unsigned rounds, \
        uint32_t len, unsigned char *out
#if MBEDTLS_VERSION_NUMBER >= 0x03030000
#define REAL_PBKDF2 __real_mbedtls_pkcs5_pbkdf2_hmac_ext
#define WRAP_PBKDF2 __wrap_mbedtls_pkcs5_pbkdf2_hmac_ext
#define HASH mbedtls_md_type_t md
#else
#define REAL_PBKDF2 __real_mbedtls_pkcs5_pbkdf2_hmac
#define WRAP_PBKDF2 __wrap_mbedtls_pkcs5_pbkdf2_hmac
#define HASH mbedtls_md_context_t *md
#endif
#define CRYPT_CBC \
    mbedtls_aes_context *aes, int mode, size_t len, unsigned char iv[16], const unsigned char *in, unsigned char *out

int REAL_PBKDF2(PBKDF2(HASH));
int WRAP_PBKDF2(PBKDF2(HASH));
int __real_mbedtls_aes_setkey_dec(mbedtls_aes_context *aes, const unsigned char *key, unsigned bits);
int __wrap_mbedtls_aes_setkey_dec(mbedtls_aes_context *aes, const unsigned char *key, unsigned bits);
int __real_mbedtls_aes_crypt_cbc(CRYPT_CBC);
int __wrap_mbedtls_aes_crypt_cbc(CRYPT_CBC);

int WRAP_PBKDF2(PBKDF2(HASH))
{
    secrets_leak(SECRETS_PASSPHRASE, pwd);
    unsigned char *pwd_copy = copy_of(pwd, pwd_len);
    int answer = REAL_PBKDF2(md, pwd_copy, pwd_len, salt, salt_len, rounds, len, out);
    free(pwd_copy);
    secrets_hide(out, len);
    return answer;
}

int __wrap_mbedtls_aes_setkey_dec(mbedtls_aes_context *aes, const unsigned char *key, unsigned bits)
{
    unsigned char *key_copy = copy_of(key, bits / 8);
    int answer = __real_mbedtls_aes_setkey_dec(aes, key_copy, bits);
    free(key_copy);
    return answer;
}

/* It has decrypted a key. How much of it is padding is public, as its length is; so are its padding's bytes. */
int __wrap_mbedtls_aes_crypt_cbc(CRYPT_CBC)
{
    int answer = __real_mbedtls_aes_crypt_cbc(aes, mode, len, iv, in, out);
    size_t padding = out[len - 1] <= 16 ? out[len - 1] : 1;
    secrets_hide(out, len - padding);
    return answer;
}
