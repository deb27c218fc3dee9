/* SPDX-License-Identifier: MIT */
/* PBES2 with PBKDF2 and AES-CBC: what OpenSSL 3 encrypts private keys with, and mbedTLS before 3.6 cannot read. What
 * mbedTLS reads by itself, as 3DES, is left to it. A key file is our own: its fields are checked, but it is no
 * enemy. */
#include "pbes2_priv.h"

#include <mbedtls/aes.h>
#include <mbedtls/asn1.h>
#include <mbedtls/md.h>
#include <mbedtls/pkcs5.h>
#include <mbedtls/version.h>
#include <sodium.h>
#include <string.h>

#include "err_priv.h"

#define AES_BLOCK 16u
#define SALT_MAX 256u

/* OpenSSL 3 writes 2,048 rounds, OWASP asks for 600,000; ten million take some seconds, and more is a mistake. */
#define ROUNDS_MAX 10000000

#define SEQUENCE (MBEDTLS_ASN1_CONSTRUCTED | MBEDTLS_ASN1_SEQUENCE)

/* What a key's AlgorithmIdentifier says. */
typedef struct parameters {
    mbedtls_asn1_buf salt, iv;
    int rounds;
    mbedtls_md_type_t prf;
    unsigned key_bits;
} parameters;

/* OIDs' contents. */
static const uint8_t oid_pbes2[] = {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d};
static const uint8_t oid_pbkdf2[] = {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0c};
static const uint8_t oid_hmac[] = {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02};      /* then one byte */
static const uint8_t oid_aes[] = {0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01}; /* then one byte */
static const struct {
    uint8_t last;
    mbedtls_md_type_t md;
} prfs[] = {{7, MBEDTLS_MD_SHA1}, {9, MBEDTLS_MD_SHA256}, {10, MBEDTLS_MD_SHA384}, {11, MBEDTLS_MD_SHA512}};
static const struct {
    uint8_t last;
    uint16_t bits;
} ciphers[] = {{2, 128}, {22, 192}, {42, 256}}; /* in CBC */

static bool is_oid(const mbedtls_asn1_buf *oid, const uint8_t *want, size_t len)
{
    return oid->len == len && memcmp(oid->p, want, len) == 0;
}

/* The last byte of an OID that is `prefix` and one byte; 0: it is another. */
static uint8_t last_of(const mbedtls_asn1_buf *oid, const uint8_t *prefix, size_t len)
{
    return oid->len == len + 1 && memcmp(oid->p, prefix, len) == 0 ? oid->p[len] : 0;
}

bool pea__der_is_encrypted(const uint8_t *der, size_t len)
{
    unsigned char *p = (unsigned char *)(uintptr_t)der; /* asn1.h only reads */
    const unsigned char *end = der + len;
    size_t n;
    bool sequence = mbedtls_asn1_get_tag(&p, end, &n, SEQUENCE) == 0;
    /* Keys in the clear begin with a version, an INTEGER. */
    sequence = sequence && mbedtls_asn1_get_tag(&p, end, &n, SEQUENCE) == 0;
    return sequence && mbedtls_asn1_get_tag(&p, end, &n, MBEDTLS_ASN1_OID) == 0;
}

static pea_err malformed(pea_error *why)
{
    return pea__error(why, PEA_E_FORMAT, "this encrypted key is malformed, or cut short");
}

static pea_err beyond(pea_error *why, const char *what)
{
    return pea__errorf(why, PEA_E_UNSUPPORTED,
                       "this key's encryption has %s: write it anew with openssl pkcs8 -topk8 -v2 aes-256-cbc", what);
}

/* PBKDF2-params: salt, rounds, perhaps the key's length, perhaps a PRF. */
static pea_err read_pbkdf2(parameters *out, const mbedtls_asn1_buf *params, pea_error *why)
{
    unsigned char *p = params->p;
    const unsigned char *end = p + params->len;
    mbedtls_asn1_buf prf, null;
    int key_bytes;
    out->prf = MBEDTLS_MD_SHA1; /* RFC 8018's default */
    if (params->tag != SEQUENCE || mbedtls_asn1_get_tag(&p, end, &out->salt.len, MBEDTLS_ASN1_OCTET_STRING) != 0)
        return malformed(why);
    out->salt.p = p;
    p += out->salt.len;
    if (mbedtls_asn1_get_int(&p, end, &out->rounds) != 0)
        return malformed(why);
    if (p < end && *p == MBEDTLS_ASN1_INTEGER && mbedtls_asn1_get_int(&p, end, &key_bytes) != 0)
        return malformed(why);
    if (p < end) {
        if (mbedtls_asn1_get_alg(&p, end, &prf, &null) != 0 || p != end)
            return malformed(why);
        uint8_t last = last_of(&prf, oid_hmac, sizeof oid_hmac);
        out->prf = MBEDTLS_MD_NONE;
        for (size_t i = 0; i < sizeof prfs / sizeof prfs[0]; i++)
            if (prfs[i].last == last)
                out->prf = prfs[i].md;
        if (out->prf == MBEDTLS_MD_NONE)
            return beyond(why, "a hash that is not SHA-1, SHA-256, SHA-384 or SHA-512");
    }
    if (out->salt.len > SALT_MAX || out->rounds < 1 || out->rounds > ROUNDS_MAX)
        return beyond(why, "a salt of more than 256 bytes, or not 1 to 10,000,000 rounds");
    return PEA_OK;
}

/* PBES2-params: key derivation and cipher. */
static pea_err read_pbes2(parameters *out, const mbedtls_asn1_buf *params, pea_error *why)
{
    unsigned char *p = params->p;
    const unsigned char *end = p + params->len;
    mbedtls_asn1_buf kdf, kdf_params, cipher;
    if (params->tag != SEQUENCE || mbedtls_asn1_get_alg(&p, end, &kdf, &kdf_params) != 0 ||
        mbedtls_asn1_get_alg(&p, end, &cipher, &out->iv) != 0 || p != end)
        return malformed(why);
    if (!is_oid(&kdf, oid_pbkdf2, sizeof oid_pbkdf2))
        return beyond(why, "a key derivation that is not PBKDF2");
    uint8_t last = last_of(&cipher, oid_aes, sizeof oid_aes);
    for (size_t i = 0; i < sizeof ciphers / sizeof ciphers[0]; i++)
        if (ciphers[i].last == last)
            out->key_bits = ciphers[i].bits;
    if (out->key_bits == 0)
        return beyond(why, "a cipher that is not AES in CBC mode");
    if (out->iv.tag != MBEDTLS_ASN1_OCTET_STRING || out->iv.len != AES_BLOCK)
        return malformed(why);
    return read_pbkdf2(out, &kdf_params, why);
}

static int pbkdf2(const parameters *with, pea_span passphrase, uint8_t *key)
{
#if MBEDTLS_VERSION_NUMBER >= 0x03030000
    return mbedtls_pkcs5_pbkdf2_hmac_ext(with->prf, passphrase.data, passphrase.len, with->salt.p, with->salt.len,
                                         (unsigned)with->rounds, with->key_bits / 8, key);
#else
    mbedtls_md_context_t md;
    mbedtls_md_init(&md);
    int answer = mbedtls_md_setup(&md, mbedtls_md_info_from_type(with->prf), 1);
    if (answer == 0)
        answer = mbedtls_pkcs5_pbkdf2_hmac(&md, passphrase.data, passphrase.len, with->salt.p, with->salt.len,
                                           (unsigned)with->rounds, with->key_bits / 8, key);
    mbedtls_md_free(&md);
    return answer;
#endif
}

/* In place. 0: it could be done. */
static int decrypt_cbc(const parameters *with, const uint8_t *key, uint8_t *text, size_t len)
{
    mbedtls_aes_context aes;
    uint8_t iv[AES_BLOCK];
    memcpy(iv, with->iv.p, sizeof iv);
    mbedtls_aes_init(&aes);
    int answer = mbedtls_aes_setkey_dec(&aes, key, with->key_bits);
    if (answer == 0)
        answer = mbedtls_aes_crypt_cbc(&aes, MBEDTLS_AES_DECRYPT, len, iv, text, text);
    mbedtls_aes_free(&aes);
    return answer;
}

/* The bytes of padding (RFC 8018, section 6.1.1); 0: there is none. */
static size_t padding(const uint8_t *text, size_t len)
{
    size_t n = text[len - 1];
    if (n == 0 || n > AES_BLOCK)
        return 0;
    for (size_t i = 1; i <= n; i++)
        if (text[len - i] != n)
            return 0;
    return n;
}

pea_err pea__pbes2_decrypt(uint8_t *der, size_t len, pea_span passphrase, uint8_t **plain, size_t *plain_len,
                           pea_error *why)
{
    uint8_t key[32];
    unsigned char *p = der;
    const unsigned char *end = der + len;
    mbedtls_asn1_buf scheme, params;
    parameters with = {0};
    size_t n;
    if (mbedtls_asn1_get_tag(&p, end, &n, SEQUENCE) != 0 || n != (size_t)(end - p) ||
        mbedtls_asn1_get_alg(&p, end, &scheme, &params) != 0 ||
        mbedtls_asn1_get_tag(&p, end, &n, MBEDTLS_ASN1_OCTET_STRING) != 0 || n != (size_t)(end - p))
        return malformed(why);
    if (!is_oid(&scheme, oid_pbes2, sizeof oid_pbes2))
        return beyond(why, "a scheme that is not PBES2");
    pea_err err = read_pbes2(&with, &params, why);
    if (err != PEA_OK)
        return err;
    if (n == 0 || n % AES_BLOCK != 0)
        return malformed(why);
    if (pbkdf2(&with, passphrase, key) != 0 || decrypt_cbc(&with, key, p, n) != 0)
        err = pea__error(why, PEA_E_NOMEM, "mbedTLS cannot decrypt this key");
    sodium_memzero(key, sizeof key);
    size_t pad = err == PEA_OK ? padding(p, n) : 0;
    if (err == PEA_OK && pad == 0)
        err = pea__error(why, PEA_E_INVALID, "the passphrase of this key is wrong");
    if (err != PEA_OK)
        return err;
    *plain = p;
    *plain_len = n - pad;
    return PEA_OK;
}
