/* SPDX-License-Identifier: MIT */
/* From the secrets of a handshake to the keys of records: RFC 5246, section 6.3; RFC 8446, sections 7.1 to 7.3. */
#include <sodium.h>
#include <string.h>

#include <mbedtls/hkdf.h>
#include <mbedtls/md.h>

#include "session_priv.h"

#define GCM_SALT_BYTES 4u /* of TLS 1.2's nonce; the other eight bytes go with each record (RFC 5288) */

/* ---- Suites ---- */

static const struct suite {
    int id;
    pea__aead_id aead;
    mbedtls_md_type_t md; /* of TLS 1.3's key schedule */
} suites[] = {
#if PEA__TLS13
    {MBEDTLS_TLS1_3_AES_256_GCM_SHA384, PEA__AESGCM, MBEDTLS_MD_SHA384},
    {MBEDTLS_TLS1_3_AES_128_GCM_SHA256, PEA__AES128GCM, MBEDTLS_MD_SHA256},
    {MBEDTLS_TLS1_3_CHACHA20_POLY1305_SHA256, PEA__CHACHAPOLY, MBEDTLS_MD_SHA256},
#endif
    {MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, PEA__AESGCM, MBEDTLS_MD_NONE},
    {MBEDTLS_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, PEA__AESGCM, MBEDTLS_MD_NONE},
    {MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, PEA__AES128GCM, MBEDTLS_MD_NONE},
    {MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, PEA__AES128GCM, MBEDTLS_MD_NONE},
    {MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, PEA__CHACHAPOLY, MBEDTLS_MD_NONE},
    {MBEDTLS_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, PEA__CHACHAPOLY, MBEDTLS_MD_NONE},
};

pea_err pea__tls_suite(pea__tls_secrets *secrets, const char *name)
{
    int id = name != NULL ? mbedtls_ssl_get_ciphersuite_id(name) : 0;
    for (size_t i = 0; i < sizeof suites / sizeof suites[0]; i++)
        if (suites[i].id == id && id != 0) {
            secrets->aead = suites[i].aead;
            secrets->md = suites[i].md;
            return PEA_OK;
        }
    return PEA_E_UNSUPPORTED;
}

static size_t key_bytes(pea__aead_id aead)
{
    return aead == PEA__AES128GCM ? 16 : PEA__AEAD_KEY_BYTES;
}

/* ---- HKDF, RFC 8446's way ---- */

size_t pea__tls_hash(mbedtls_md_type_t md, pea_span of, uint8_t out[PEA__TLS_HASH_MAX])
{
    static const uint8_t nothing[1];
    const mbedtls_md_info_t *info = mbedtls_md_info_from_type(md);
    if (info == NULL || mbedtls_md_get_size(info) > PEA__TLS_HASH_MAX ||
        mbedtls_md(info, of.len > 0 ? of.data : nothing, of.len, out) != 0)
        return 0;
    return mbedtls_md_get_size(info);
}

pea_err pea__tls_expand_label(mbedtls_md_type_t md, const uint8_t *secret, const char *label, pea_span context,
                              uint8_t *out, size_t len)
{
    static const char prefix[] = "tls13 ";
    const mbedtls_md_info_t *info = mbedtls_md_info_from_type(md);
    size_t label_len = strlen(label), prefix_len = sizeof prefix - 1, n = 0;
    uint8_t text[2 + 1 + 255 + 1 + PEA__TLS_HASH_MAX];
    if (info == NULL || context.len > PEA__TLS_HASH_MAX)
        return PEA_E_UNSUPPORTED;
    if (label_len > 255 - prefix_len || len > (size_t)255 * mbedtls_md_get_size(info))
        return PEA_E_TOO_BIG;
    text[n++] = (uint8_t)(len >> 8);
    text[n++] = (uint8_t)len;
    text[n++] = (uint8_t)(prefix_len + label_len);
    memcpy(text + n, prefix, prefix_len);
    n += prefix_len;
    memcpy(text + n, label, label_len);
    n += label_len;
    text[n++] = (uint8_t)context.len;
    if (context.len > 0)
        memcpy(text + n, context.data, context.len);
    n += context.len;
    int answer = mbedtls_hkdf_expand(info, secret, mbedtls_md_get_size(info), text, n, out, len);
    return answer == 0 ? PEA_OK : PEA_E_NOMEM; /* nothing else can be wrong with it */
}

/* ---- Keys ---- */

/* Key and nonce of a traffic secret. */
static pea_err keys_of_secret(pea__tls_keys *keys, pea__aead_id aead, mbedtls_md_type_t md)
{
    const pea_span none = {NULL, 0};
    pea_err err = pea__tls_expand_label(md, keys->secret, "key", none, keys->k, key_bytes(aead));
    return err == PEA_OK ? pea__tls_expand_label(md, keys->secret, "iv", none, keys->iv, sizeof keys->iv) : err;
}

pea_err pea__tls_update_keys(pea__tls_keys *keys, pea__aead_id aead, mbedtls_md_type_t md)
{
    pea__tls_keys next = {.number = 0};
    size_t len = mbedtls_md_get_size(mbedtls_md_info_from_type(md));
    pea_err err = pea__tls_expand_label(md, keys->secret, "traffic upd", (pea_span){NULL, 0}, next.secret, len);
    if (err == PEA_OK)
        err = keys_of_secret(&next, aead, md);
    if (err == PEA_OK)
        *keys = next;
    else
        keys->number = UINT64_MAX; /* the other side goes on with the next: nothing is said with this one any more */
    sodium_memzero(&next, sizeof next);
    return err;
}

static pea_err keys_13(const pea__tls_secrets *secrets, pea__tls_keys keys[2])
{
    for (size_t side = 0; side < 2; side++) {
        memcpy(keys[side].secret, secrets->traffic[side], sizeof keys[side].secret);
        pea_err err = keys_of_secret(&keys[side], secrets->aead, secrets->md);
        if (err != PEA_OK)
            return err;
    }
    return PEA_OK;
}

static pea_err keys_12(const pea__tls_secrets *secrets, pea__tls_keys keys[2])
{
    size_t key = key_bytes(secrets->aead), iv = secrets->aead == PEA__CHACHAPOLY ? sizeof keys->iv : GCM_SALT_BYTES;
    uint8_t seed[64], block[2 * (PEA__AEAD_KEY_BYTES + PEA__AEAD_NONCE_BYTES)];
    memcpy(seed, secrets->randoms + 32, 32); /* here the server's comes first */
    memcpy(seed + 32, secrets->randoms, 32);
    int answer = mbedtls_ssl_tls_prf(secrets->prf, secrets->exporter, PEA__TLS_MASTER_BYTES, "key expansion", seed,
                                     sizeof seed, block, 2 * (key + iv));
    for (size_t side = 0; side < 2 && answer == 0; side++) {
        memcpy(keys[side].k, block + side * key, key);
        memcpy(keys[side].iv, block + 2 * key + side * iv, iv);
    }
    sodium_memzero(block, sizeof block);
    return answer == 0 ? PEA_OK : PEA_E_NOMEM;
}

pea_err pea__tls_first_keys(const pea__tls_secrets *secrets, pea__tls_keys keys[2])
{
    memset(keys, 0, 2 * sizeof keys[0]);
    return secrets->version == PEA_TLS_1_3 ? keys_13(secrets, keys) : keys_12(secrets, keys);
}
