/* SPDX-License-Identifier: MIT */
/* A key and a certificate that it signs itself, for peers that know each other by public keys and want no authority;
 * and the two files of it. */
#include "peapod/tls.h"

#include <mbedtls/asn1write.h>
#include <mbedtls/ecp.h>
#include <mbedtls/oid.h>
#include <mbedtls/pem.h>
#include <mbedtls/version.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "buf_priv.h"
#include "certificate_priv.h"
#include "err_priv.h"
#include "private_key_priv.h"
#include "secure_priv.h"

#define CERTIFICATE_DER_MAX 2048u /* of P-256, with two names of 253 bytes */
#define KEY_DER_MAX 256u
#define PEM_MAX 16384u       /* of RSA with 8,192 bits too: whatever an identity holds can be saved */
#define CHAIN_PEM_MAX 65536u /* PEA__CHAIN_BYTES_MAX in base64, with lines around */
#define COMMON_NAME_MAX 64u  /* ub-common-name (RFC 5280, appendix A.1); longer names are alternative ones alone */
#define SERIAL_BYTES 16u     /* RFC 5280 allows 20 */
#define CLOCK_SLACK_S 86400  /* how far a peer's clock may be behind ours */
#define DAYS_DEFAULT 3650u
#define DAYS_MAX 36500u

#if defined(MBEDTLS_X509_CRT_WRITE_C) && defined(MBEDTLS_PEM_WRITE_C)

static pea_err check_name(const char *name, pea_error *why)
{
    size_t label = 0, len = strlen(name);
    bool good = len <= 253;
    for (const char *p = name; *p != '\0' && good; p++) {
        bool plain = (*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || *p == '-' || *p == '_';
        good = *p == '.' ? label > 0 : plain;
        label = *p == '.' ? 0 : label + 1;
        good = good && label <= 63;
    }
    return good && label > 0 ? PEA_OK
                             : pea__error(why, PEA_E_INVALID, "a certificate's name is a host name in lower case");
}

/* subjectAltName with one DNS name, as mbedTLS 2.28 cannot write it by itself. */
static int set_alternative_name(mbedtls_x509write_cert *writer, const char *name)
{
    uint8_t der[300] = {0}, *at = der + sizeof der; /* it is written from the end */
    int n = mbedtls_asn1_write_raw_buffer(&at, der, (const uint8_t *)name, strlen(name)), whole = n;
    int more = n < 0 ? n : mbedtls_asn1_write_len(&at, der, (size_t)n);
    whole += more;
    if (more >= 0 && (more = mbedtls_asn1_write_tag(&at, der, MBEDTLS_ASN1_CONTEXT_SPECIFIC | 2)) >= 0)
        whole += more;
    if (more >= 0 && (more = mbedtls_asn1_write_len(&at, der, (size_t)whole)) >= 0)
        whole += more;
    if (more >= 0 && (more = mbedtls_asn1_write_tag(&at, der, MBEDTLS_ASN1_CONSTRUCTED | MBEDTLS_ASN1_SEQUENCE)) >= 0)
        whole += more;
    return more < 0 ? more
                    : mbedtls_x509write_crt_set_extension(writer, MBEDTLS_OID_SUBJECT_ALT_NAME,
                                                          MBEDTLS_OID_SIZE(MBEDTLS_OID_SUBJECT_ALT_NAME), 0, at,
                                                          (size_t)whole);
}

static int set_serial(mbedtls_x509write_cert *writer)
{
    uint8_t serial[SERIAL_BYTES];
    randombytes_buf(serial, sizeof serial);
    serial[0] = (uint8_t)((serial[0] & 0x7f) | 0x40); /* positive, and of this length */
#if MBEDTLS_VERSION_NUMBER >= 0x03040000
    return mbedtls_x509write_crt_set_serial_raw(writer, serial, sizeof serial);
#else
    mbedtls_mpi number;
    mbedtls_mpi_init(&number);
    int answer = mbedtls_mpi_read_binary(&number, serial, sizeof serial);
    if (answer == 0)
        answer = mbedtls_x509write_crt_set_serial(writer, &number);
    mbedtls_mpi_free(&number);
    return answer;
#endif
}

static int set_validity(mbedtls_x509write_cert *writer, uint32_t days)
{
    char from[16], until[16];
    time_t now = time(NULL), begin = now - CLOCK_SLACK_S, end = now + (time_t)days * 86400;
    struct tm a, b;
    if (gmtime_r(&begin, &a) == NULL || gmtime_r(&end, &b) == NULL ||
        strftime(from, sizeof from, "%Y%m%d%H%M%S", &a) == 0 || strftime(until, sizeof until, "%Y%m%d%H%M%S", &b) == 0)
        return MBEDTLS_ERR_X509_BAD_INPUT_DATA;
    return mbedtls_x509write_crt_set_validity(writer, from, until);
}

/* Everything but the signature. */
static int describe(mbedtls_x509write_cert *writer, mbedtls_pk_context *pk, const char *name, uint32_t days)
{
    char subject[4 + COMMON_NAME_MAX];
    (void)snprintf(subject, sizeof subject, "CN=%s", name != NULL && strlen(name) < COMMON_NAME_MAX ? name : "peapod");
    mbedtls_x509write_crt_set_version(writer, MBEDTLS_X509_CRT_VERSION_3);
    mbedtls_x509write_crt_set_md_alg(writer, MBEDTLS_MD_SHA256);
    mbedtls_x509write_crt_set_subject_key(writer, pk);
    mbedtls_x509write_crt_set_issuer_key(writer, pk);
    int answer = set_serial(writer);
    if (answer == 0)
        answer = mbedtls_x509write_crt_set_subject_name(writer, subject);
    if (answer == 0)
        answer = mbedtls_x509write_crt_set_issuer_name(writer, subject);
    if (answer == 0)
        answer = set_validity(writer, days);
    if (answer == 0)
        answer = mbedtls_x509write_crt_set_basic_constraints(writer, 0, -1);
    if (answer == 0)
        answer = mbedtls_x509write_crt_set_key_usage(writer, MBEDTLS_X509_KU_DIGITAL_SIGNATURE);
    if (answer == 0 && name != NULL)
        answer = set_alternative_name(writer, name);
    return answer;
}

static int new_key(mbedtls_pk_context *pk)
{
    int answer = mbedtls_pk_setup(pk, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY));
    return answer != 0 ? answer
                       : mbedtls_ecp_gen_key(MBEDTLS_ECP_DP_SECP256R1, mbedtls_pk_ec(*pk), pea__tls_random, NULL);
}

/* Puts the key, DER in guarded memory, and the certificate together. */
static pea_err seal_up(pea_identity **identity, mbedtls_pk_context *pk, pea_span certificate, pea_error *why)
{
    uint8_t id[PEA_ID_BYTES];
    pea__secret der = {0};
    mbedtls_x509_crt leaf;
    mbedtls_x509_crt_init(&leaf);
    int len = 0;
    pea_err err = pea__certificate_parse(&leaf, certificate, why);
    if (err == PEA_OK)
        err = pea__secret_new(&der, KEY_DER_MAX, why);
    if (err == PEA_OK && (len = mbedtls_pk_write_key_der(pk, der.data, der.len)) < 0)
        err = pea__mbedtls_error(why, len, "this key cannot be kept");
    if (err == PEA_OK) { /* mbedTLS writes from the end of the buffer */
        pea__certificate_id(&leaf, id);
        err = pea__identity_from_certificate(identity, id, &certificate, 1,
                                             (pea_span){der.data + der.len - (size_t)len, (size_t)len}, why);
    }
    sodium_free(der.data); /* wipes */
    mbedtls_x509_crt_free(&leaf);
    return err;
}

pea_err pea_identity_generate_certificate(pea_identity **identity, const char *name, uint32_t days, pea_error *why)
{
    uint8_t der[CERTIFICATE_DER_MAX];
    mbedtls_pk_context pk;
    mbedtls_x509write_cert writer;
    pea_err err = pea__secure_init(why);
    if (err == PEA_OK && name != NULL)
        err = check_name(name, why);
    if (err == PEA_OK && days > DAYS_MAX)
        err = pea__errorf(why, PEA_E_INVALID, "a certificate is good for at most %u days", DAYS_MAX);
    if (err != PEA_OK)
        return err;
    mbedtls_pk_init(&pk);
    mbedtls_x509write_crt_init(&writer);
    int answer = new_key(&pk);
    if (answer == 0)
        answer = describe(&writer, &pk, name, days != 0 ? days : DAYS_DEFAULT);
    if (answer == 0)
        answer = mbedtls_x509write_crt_der(&writer, der, sizeof der, pea__tls_random, NULL);
    if (answer < 0)
        err = pea__mbedtls_error(why, answer, "no certificate could be made");
    else
        err = seal_up(identity, &pk, (pea_span){der + sizeof der - (size_t)answer, (size_t)answer}, why);
    mbedtls_x509write_crt_free(&writer);
    mbedtls_pk_free(&pk); /* wipes */
    return err;
}

/* ---- The files ---- */

/* The chain as PEM, leaf first; the caller frees it. */
static pea_err chain_text(const pea_identity *identity, char **text, size_t *len, pea_error *why)
{
    const pea_span *chain;
    size_t n = pea__identity_chain(identity, &chain);
    uint8_t *pem = pea__alloc(CHAIN_PEM_MAX);
    if (pem == NULL)
        return pea__error(why, PEA_E_NOMEM, NULL);
    *len = 0;
    for (size_t i = 0; i < n; i++) {
        size_t wrote = 0;
        int answer = mbedtls_pem_write_buffer("-----BEGIN CERTIFICATE-----\n", "-----END CERTIFICATE-----\n",
                                              chain[i].data, chain[i].len, pem + *len, CHAIN_PEM_MAX - *len, &wrote);
        if (answer != 0) {
            pea__free(pem);
            return pea__mbedtls_error(why, answer, "this certificate cannot be written");
        }
        *len += wrote - 1; /* it counts a zero byte */
    }
    *text = (char *)pem;
    return PEA_OK;
}

/* The private key as PEM, in guarded memory. */
static pea_err key_text(const pea_identity *identity, pea__secret *text, pea_error *why)
{
    pea_span der = pea__identity_key(identity);
    mbedtls_pk_context pk;
    mbedtls_pk_init(&pk);
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
    int answer = mbedtls_pk_parse_key(&pk, der.data, der.len, NULL, 0, pea__tls_random, NULL);
#else
    int answer = mbedtls_pk_parse_key(&pk, der.data, der.len, NULL, 0);
#endif
    pea_err err = answer == 0 ? pea__secret_new(text, PEM_MAX, why)
                              : pea__mbedtls_error(why, answer, "this key cannot be written");
    if (err == PEA_OK && (answer = mbedtls_pk_write_key_pem(&pk, text->data, text->len)) != 0)
        err = pea__mbedtls_error(why, answer, "this key cannot be written");
    mbedtls_pk_free(&pk); /* wipes */
    return err;
}

pea_err pea_identity_save_certificate(const pea_identity *identity, const char *certificate_file, const char *key_file,
                                      pea_error *why)
{
    char *certificate = NULL;
    size_t len = 0;
    pea__secret key = {0};
    if (!pea__identity_is_certificate(identity))
        return pea__error(why, PEA_E_UNSUPPORTED, "this identity has no certificate: pea_identity_save() is for it");
    pea_err err = chain_text(identity, &certificate, &len, why);
    if (err == PEA_OK)
        err = key_text(identity, &key, why);
    if (err == PEA_OK && key.data != NULL)
        err = pea__file_save(key_file, (const char *)key.data, strlen((const char *)key.data), why);
    if (err == PEA_OK) {
        err = pea__file_save(certificate_file, certificate, len, why);
        if (err != PEA_OK)
            (void)unlink(key_file); /* both or neither */
    }
    sodium_free(key.data); /* wipes */
    pea__free(certificate);
    return err;
}

#else

static pea_err unsupported(pea_error *why)
{
    return pea__error(why, PEA_E_UNSUPPORTED, "this mbedTLS was built without writing certificates");
}

pea_err pea_identity_generate_certificate(pea_identity **identity, const char *name, uint32_t days, pea_error *why)
{
    (void)identity, (void)name, (void)days;
    return unsupported(why);
}

pea_err pea_identity_save_certificate(const pea_identity *identity, const char *certificate_file, const char *key_file,
                                      pea_error *why)
{
    (void)identity, (void)certificate_file, (void)key_file;
    return unsupported(why);
}

#endif
