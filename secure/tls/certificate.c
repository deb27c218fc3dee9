/* SPDX-License-Identifier: MIT */
/* Certificates as PEM and DER, one by one, and what the key of one is called. No chain is built or verified here, and
 * names are certificate_names.c's business. */
#include "peapod/tls.h"

#include <mbedtls/asn1.h>
#include <mbedtls/error.h>
#include <mbedtls/oid.h>
#include <mbedtls/pem.h>
#include <mbedtls/pk.h>
#include <mbedtls/version.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "buf_priv.h"
#include "certificate_priv.h"
#include "err_priv.h"
#include "secure_priv.h"

int pea__tls_random(void *unused, unsigned char *dst, size_t len)
{
    (void)unused;
    randombytes_buf(dst, len);
    return 0;
}

/* mbedTLS adds a module's low code to a high one; either may say why. */
static bool answer_has(int answer, int code)
{
    int value = -answer, wanted = -code;
    return wanted < 0x80 ? (value & 0x7f) == wanted : (value & ~0x7f) == wanted;
}

pea_err pea__mbedtls_error(pea_error *why, int answer, const char *what)
{
    static const int no_memory[] = {MBEDTLS_ERR_X509_ALLOC_FAILED, MBEDTLS_ERR_PK_ALLOC_FAILED,
                                    MBEDTLS_ERR_ASN1_ALLOC_FAILED, MBEDTLS_ERR_PEM_ALLOC_FAILED,
                                    MBEDTLS_ERR_MPI_ALLOC_FAILED};
    static const int missing[] = {MBEDTLS_ERR_X509_FEATURE_UNAVAILABLE, MBEDTLS_ERR_X509_UNKNOWN_SIG_ALG,
                                  MBEDTLS_ERR_PK_FEATURE_UNAVAILABLE, MBEDTLS_ERR_PK_UNKNOWN_PK_ALG,
                                  MBEDTLS_ERR_PK_UNKNOWN_NAMED_CURVE};
    pea_err err = PEA_E_FORMAT;
    char words[128];
    for (size_t i = 0; i < sizeof no_memory / sizeof no_memory[0]; i++)
        if (answer_has(answer, no_memory[i]))
            return pea__error(why, PEA_E_NOMEM, NULL);
    for (size_t i = 0; i < sizeof missing / sizeof missing[0]; i++)
        if (answer_has(answer, missing[i]))
            err = PEA_E_UNSUPPORTED;
    mbedtls_strerror(answer, words, sizeof words);
    return pea__errorf(why, err, "%s (mbedTLS: %s)", what, words);
}

/* ---- One certificate ---- */

void pea__certificate_id(const mbedtls_x509_crt *crt, uint8_t id[PEA_ID_BYTES])
{
    _Static_assert(crypto_hash_sha256_BYTES == PEA_ID_BYTES, "an id is a SHA-256");
    (void)crypto_hash_sha256(id, crt->pk_raw.p, crt->pk_raw.len);
}

bool pea__certificate_is_ca(const mbedtls_x509_crt *crt)
{
#if MBEDTLS_VERSION_NUMBER >= 0x03050000
    return mbedtls_x509_crt_get_ca_istrue(crt) == 1;
#else
    return crt->ca_istrue != 0;
#endif
}

pea_err pea__certificate_parse(mbedtls_x509_crt *crt, pea_span der, pea_error *why)
{
    int answer = mbedtls_x509_crt_parse_der(crt, der.data, der.len);
    if (answer != 0)
        return pea__mbedtls_error(why, answer, "this is no certificate that can be read");
    if (crt->raw.len != der.len)
        return pea__error(why, PEA_E_FORMAT, "something follows the certificate's DER");
    return PEA_OK;
}

/* ---- PEM (RFC 7468) ---- */

#define BEGIN "-----BEGIN "
#define BEGIN_CERTIFICATE "-----BEGIN CERTIFICATE-----"
#define END_CERTIFICATE "-----END CERTIFICATE-----"

typedef pea_err (*each_fn)(void *arg, pea_span der, const uint8_t id[PEA_ID_BYTES]);

/* The first place of `what` in `text`, as the span from there; data NULL: none. */
static pea_span find(pea_span text, const char *what)
{
    size_t len = strlen(what);
    for (; text.data != NULL && text.len >= len; text.data++, text.len--) {
        const uint8_t *first = memchr(text.data, what[0], text.len - len + 1);
        if (first == NULL)
            break;
        text = (pea_span){first, text.len - (size_t)(first - text.data)};
        if (memcmp(first, what, len) == 0)
            return text;
    }
    return (pea_span){NULL, 0};
}

/* Sets the line of `at` in an error that has none. */
static pea_err on_line(pea_error *why, pea_err err, pea_span text, const uint8_t *at)
{
    if (why == NULL || err >= 0 || why->line != 0)
        return err;
    why->line = 1;
    for (const uint8_t *p = text.data; p < at; p++)
        why->line += *p == '\n';
    return err;
}

static pea_err give_der(pea_span der, each_fn each, void *arg, pea_error *why)
{
    mbedtls_x509_crt crt;
    uint8_t id[PEA_ID_BYTES];
    mbedtls_x509_crt_init(&crt);
    pea_err err = pea__certificate_parse(&crt, der, why);
    if (err == PEA_OK) {
        pea__certificate_id(&crt, id);
        err = each(arg, der, id);
        if (err < 0 && why != NULL && why->code == PEA_OK)
            (void)pea__error(why, err, NULL);
    }
    mbedtls_x509_crt_free(&crt);
    return err;
}

static pea_err give_base64(pea_span body, each_fn each, void *arg, pea_error *why)
{
    size_t room = body.len / 4 * 3 + 3, len = 0;
    const char *text = (const char *)body.data, *stop = text;
    uint8_t *der = pea__alloc(room);
    if (der == NULL)
        return pea__error(why, PEA_E_NOMEM, NULL);
    pea_err err;
    if (sodium_base642bin(der, room, text, body.len, " \t\r\n", &len, &stop, sodium_base64_VARIANT_ORIGINAL) != 0 ||
        stop != text + body.len)
        err = pea__error(why, PEA_E_FORMAT, "the base64 of a certificate is broken");
    else
        err = give_der((pea_span){der, len}, each, arg, why);
    pea__free(der);
    return err;
}

/* What lies between certificates, text or other blocks, is nobody's business. */
static pea_err each_pem(pea_span text, each_fn each, void *arg, pea_error *why)
{
    size_t n = 0;
    for (pea_span rest = text;; n++) {
        pea_span begin = find(rest, BEGIN_CERTIFICATE);
        if (begin.data == NULL)
            break;
        size_t head = strlen(BEGIN_CERTIFICATE);
        pea_span body = {begin.data + head, begin.len - head};
        pea_span end = find(body, END_CERTIFICATE);
        pea_err err;
        if (end.data == NULL)
            err = pea__error(why, PEA_E_FORMAT, "a certificate is cut short: its END line is missing");
        else
            err = give_base64((pea_span){body.data, body.len - end.len}, each, arg, why);
        if (err != PEA_OK)
            return on_line(why, err, text, begin.data);
        rest = (pea_span){end.data + strlen(END_CERTIFICATE), end.len - strlen(END_CERTIFICATE)};
    }
    return n > 0 ? PEA_OK : pea__error(why, PEA_E_FORMAT, "there is PEM in it, but no CERTIFICATE");
}

pea_err pea__certificates_each(pea_span text, each_fn each, void *arg, pea_error *why)
{
    pea_err err = pea__secure_init(why);
    if (err != PEA_OK)
        return err;
    if (why != NULL)
        memset(why, 0, sizeof *why); /* each() may fill it in by itself */
    /* A certificate is a SEQUENCE of more than 127 bytes: no text begins so. */
    if (text.len >= 2 && text.data[0] == 0x30 && text.data[1] >= 0x80)
        return give_der(text, each, arg, why);
    if (text.len > 0 && memchr(text.data, '\0', text.len) != NULL) /* base64 decoders may skip them */
        return pea__error(why, PEA_E_FORMAT, "this is no certificate: there are zero bytes in it, and it is not DER");
    if (find(text, BEGIN).data == NULL)
        return pea__error(why, PEA_E_FORMAT,
                          text.len == 0 ? "there is no certificate in it: it is empty"
                                        : "this is neither a PEM nor a DER certificate");
    return each_pem(text, each, arg, why);
}

/* ---- Who its holder is ---- */

static pea_err first_only(void *arg, pea_span der, const uint8_t id[PEA_ID_BYTES])
{
    pea_peer *peer = arg;
    (void)der;
    *peer = (pea_peer){.kind = PEA_PEER_SPKI};
    memcpy(peer->id, id, PEA_ID_BYTES);
    return PEA_DONE;
}

pea_err pea_peer_from_certificate(pea_peer *peer, pea_span certificate, pea_error *why)
{
    pea_err err = pea__certificates_each(certificate, first_only, peer, why);
    return err == PEA_DONE ? PEA_OK : err;
}
