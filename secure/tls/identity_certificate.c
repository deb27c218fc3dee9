/* SPDX-License-Identifier: MIT */
/* A certificate and its private key as an identity: read, decrypted, checked against each other, kept in guarded
 * memory. Whether anybody trusts the certificate, or its time has come, is for peers to say. */
#include "peapod/tls.h"

#include <mbedtls/ecp.h>
#include <mbedtls/pk.h>
#include <mbedtls/version.h>
#include <sodium.h>
#include <string.h>

#include "buf_priv.h"
#include "certificate_priv.h"
#include "err_priv.h"
#include "private_key_priv.h"
#include "secure_priv.h"

/* A chain of PEA__CHAIN_BYTES_MAX takes 22 KiB of base64; openssl's -text, which may stand beside it, twice that. */
#define CERTIFICATE_TEXT_MAX 131072u
/* An RSA key of 8,192 bits, the largest of mbedTLS, takes 6.5 KiB of PEM. */
#define KEY_TEXT_MAX 16384u
#define KEY_DER_MAX 8192u
#define RSA_BITS_MIN 2048u

/* ---- The chain ---- */

typedef struct chain {
    pea_buf bytes; /* the DERs, one after another */
    size_t lens[PEA__CHAIN_MAX];
    size_t n;
    pea_error *why;
} chain;

static pea_err chain_add(void *arg, pea_span der, const uint8_t id[PEA_ID_BYTES])
{
    chain *c = arg;
    (void)id;
    if (c->n == PEA__CHAIN_MAX)
        return pea__errorf(c->why, PEA_E_FORMAT,
                           "there are more than %d certificates in it: a chain is a leaf and the "
                           "intermediate ones",
                           PEA__CHAIN_MAX);
    if (der.len > PEA__CHAIN_BYTES_MAX - c->bytes.len)
        return pea__errorf(c->why, PEA_E_FORMAT,
                           "its certificates have more than %u bytes in all, which TLS cannot send",
                           (unsigned)PEA__CHAIN_BYTES_MAX);
    c->lens[c->n++] = der.len;
    return pea_buf_append(&c->bytes, der.data, der.len);
}

static void chain_spans(const chain *c, pea_span spans[PEA__CHAIN_MAX])
{
    const uint8_t *at = c->bytes.data;
    for (size_t i = 0; i < c->n; i++) {
        spans[i] = (pea_span){at, c->lens[i]};
        at += c->lens[i];
    }
}

/* ---- Whether they are good, and each other's ---- */

static mbedtls_ecp_group_id curve_of(const mbedtls_pk_context *pk)
{
    const mbedtls_ecp_keypair *ec = mbedtls_pk_ec(*pk);
    if (ec == NULL)
        return MBEDTLS_ECP_DP_NONE;
#if MBEDTLS_VERSION_NUMBER >= 0x03060000
    return mbedtls_ecp_keypair_get_group_id(ec);
#else
    return ec->grp.id;
#endif
}

static pea_err check_strength(const mbedtls_pk_context *pk, pea_error *why)
{
    mbedtls_pk_type_t type = mbedtls_pk_get_type(pk);
    if (type == MBEDTLS_PK_RSA) {
        size_t bits = mbedtls_pk_get_bitlen(pk);
        return bits >= RSA_BITS_MIN
                   ? PEA_OK
                   : pea__errorf(why, PEA_E_INVALID, "this RSA key of %zu bits is too weak: 2,048 are needed", bits);
    }
    if (type == MBEDTLS_PK_ECKEY) {
        mbedtls_ecp_group_id curve = curve_of(pk);
        if (curve == MBEDTLS_ECP_DP_SECP256R1 || curve == MBEDTLS_ECP_DP_SECP384R1 || curve == MBEDTLS_ECP_DP_SECP521R1)
            return PEA_OK;
    }
    return pea__error(why, PEA_E_INVALID,
                      "this key is of a kind that is not used here: P-256, P-384, P-521 and RSA from 2,048 bits are");
}

static pea_err check_pair(const mbedtls_x509_crt *leaf, mbedtls_pk_context *pk, pea_error *why)
{
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
    int answer = mbedtls_pk_check_pair(&leaf->pk, pk, pea__tls_random, NULL);
#else
    int answer = mbedtls_pk_check_pair(&leaf->pk, pk);
#endif
    return answer == 0 ? PEA_OK
                       : pea__error(why, PEA_E_INVALID,
                                    "this private key is not the first certificate's: the leaf comes first in a chain");
}

/* ---- Together ---- */

/* Reads the key, checks it against the leaf, and makes the identity. */
static pea_err make(pea_identity **identity, const chain *c, const mbedtls_x509_crt *leaf, pea__secret *text,
                    const pea__asker *who, pea_error *why)
{
    uint8_t id[PEA_ID_BYTES];
    pea_span spans[PEA__CHAIN_MAX];
    pea__secret der = {0};
    mbedtls_pk_context pk;
    mbedtls_pk_init(&pk);
    int len = 0;
    pea_err err = pea__private_key_read(&pk, text, who, why);
    if (err == PEA_OK)
        err = check_strength(&pk, why);
    if (err == PEA_OK)
        err = check_pair(leaf, &pk, why);
    if (err == PEA_OK)
        err = pea__secret_new(&der, KEY_DER_MAX, why);
    if (err == PEA_OK && (len = mbedtls_pk_write_key_der(&pk, der.data, der.len)) < 0)
        err = pea__mbedtls_error(why, len, "this key cannot be kept");
    if (err == PEA_OK) { /* mbedTLS writes from the end of the buffer */
        chain_spans(c, spans);
        pea__certificate_id(leaf, id);
        pea_span key = {der.data + der.len - (size_t)len, (size_t)len};
        err = pea__identity_from_certificate(identity, id, spans, c->n, key, why);
    }
    sodium_free(der.data);
    mbedtls_pk_free(&pk); /* wipes */
    return err;
}

/* The names of files are put before what is wrong with them; NULL: there are no files. */
static pea_err parse(pea_identity **identity, pea_span certificate, pea_span key, const pea__asker *who,
                     const char *certificate_file, const char *key_file, pea_error *why)
{
    chain c = {.why = why};
    pea__secret text = {0};
    mbedtls_x509_crt leaf;
    mbedtls_x509_crt_init(&leaf);
    const char *file = certificate_file;
    pea_err err = pea__secure_init(why);
    if (err == PEA_OK && certificate.len > CERTIFICATE_TEXT_MAX)
        err = pea__error(why, PEA_E_FORMAT, "this is no certificate: it is longer than 131,072 bytes");
    if (err == PEA_OK)
        err = pea__certificates_each(certificate, chain_add, &c, why);
    if (err == PEA_OK)
        err = pea__certificate_parse(&leaf, (pea_span){c.bytes.data, c.lens[0]}, why);
    if (err == PEA_OK) {
        file = key_file;
        if (key.len > KEY_TEXT_MAX)
            err = pea__error(why, PEA_E_FORMAT, "this is no private key: it is longer than 16,384 bytes");
    }
    if (err == PEA_OK && (err = pea__secret_new(&text, key.len + 1, why)) == PEA_OK) {
        if (key.len > 0)
            memcpy(text.data, key.data, key.len);
        text.data[key.len] = '\0';
        err = make(identity, &c, &leaf, &text, who, why);
    }
    if (err != PEA_OK && file != NULL)
        pea__name_file(why, file);
    sodium_free(text.data);
    mbedtls_x509_crt_free(&leaf);
    pea_buf_free(&c.bytes);
    return err;
}

pea_err pea_identity_parse_certificate(pea_identity **identity, pea_span certificate, pea_span key,
                                       pea_passphrase_fn ask, void *arg, pea_error *why)
{
    return parse(identity, certificate, key, &(pea__asker){ask, arg}, NULL, NULL, why);
}

pea_err pea_identity_load_certificate(pea_identity **identity, const char *certificate_file, const char *key_file,
                                      pea_passphrase_fn ask, void *arg, pea_error *why)
{
    char *certificate = NULL, *key = NULL;
    size_t certificate_len = 0, key_len = 0;
    pea_err err = pea__file_slurp(&certificate, &certificate_len, certificate_file, CERTIFICATE_TEXT_MAX, false, why);
    if (err == PEA_OK)
        err = pea__file_slurp(&key, &key_len, key_file, KEY_TEXT_MAX, true, why);
    if (err == PEA_OK)
        err =
            parse(identity, (pea_span){(const uint8_t *)certificate, certificate_len},
                  (pea_span){(const uint8_t *)key, key_len}, &(pea__asker){ask, arg}, certificate_file, key_file, why);
    sodium_free(key); /* wipes */
    sodium_free(certificate);
    return err;
}
