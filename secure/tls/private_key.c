/* SPDX-License-Identifier: MIT */
/* Private keys of certificates as text: PEM and DER, in the clear and under a passphrase. What a key is good for is
 * not asked here. */
#include "private_key_priv.h"

#include <mbedtls/asn1.h>
#include <mbedtls/version.h>
#include <sodium.h>
#include <string.h>

#include "certificate_priv.h"
#include "err_priv.h"
#include "pbes2_priv.h"

pea_err pea__secret_new(pea__secret *s, size_t len, pea_error *why)
{
    *s = (pea__secret){sodium_malloc(len), len};
    return s->data != NULL ? PEA_OK : pea__error(why, PEA_E_NOMEM, "no guarded memory for a secret key");
}

/* ---- PEM ---- */

#define PASSPHRASE_MAX 1024u /* OpenSSL's own limit */
#define DASHES "-----"
#define BEGIN DASHES "BEGIN "
#define KEY_LABEL "PRIVATE KEY" DASHES

static bool label_is(const char *label, const char *want)
{
    return strncmp(label, want, strlen(want)) == 0;
}

/* The first place of `what`, which begins with a dash, in [from, end); NULL: none. A key's letters are only asked
 * whether they are dashes, which none is: strstr() would index a table by them. */
static const char *find(const char *from, const char *end, const char *what)
{
    size_t len = strlen(what);
    while ((from = memchr(from, '-', (size_t)(end - from))) != NULL) {
        if ((size_t)(end - from) >= len && memcmp(from, what, len) == 0)
            return from;
        from++;
    }
    return NULL;
}

/* The label of the one BEGIN line of a private key in [text, end), as "EC PRIVATE KEY-----", and what comes behind
 * it. */
static pea_err find_label(const char *text, const char *end, const char **found, const char **body, pea_error *why)
{
    const char *label = NULL, *behind = NULL;
    for (const char *at = find(text, end, BEGIN); at != NULL; at = find(at, end, BEGIN)) {
        at += strlen(BEGIN);
        const char *dashes = find(at, end, DASHES);
        size_t len = dashes != NULL ? (size_t)(dashes - at) + 5 : 0;
        if (len < sizeof KEY_LABEL - 1 ||
            memcmp(at + len - (sizeof KEY_LABEL - 1), KEY_LABEL, sizeof KEY_LABEL - 1) != 0)
            continue;
        if (label != NULL)
            return pea__error(why, PEA_E_FORMAT, "there is more than one private key in it");
        label = at;
        behind = at + len;
    }
    if (label == NULL)
        return pea__error(why, PEA_E_FORMAT, "there is PEM in it, but no private key");
    if (label_is(label, "OPENSSH "))
        return pea__error(why, PEA_E_UNSUPPORTED,
                          "this is a key in OpenSSH's own form: convert it with ssh-keygen -p -m PKCS8 -f FILE");
    *found = label;
    *body = behind;
    return PEA_OK;
}

/* The DER of an ENCRYPTED PRIVATE KEY, into guarded memory of its own. */
static pea_err decode_pem(pea__secret *der, const char *body, const char *text_end, pea_error *why)
{
    const char *end = find(body, text_end, "-----END ENCRYPTED PRIVATE KEY-----"), *stop = body;
    size_t len = 0;
    if (end == NULL)
        return pea__error(why, PEA_E_FORMAT, "the private key is cut short: its END line is missing");
    pea_err err = pea__secret_new(der, (size_t)(end - body) / 4 * 3 + 3, why);
    if (err != PEA_OK)
        return err;
    if (sodium_base642bin(der->data, der->len, body, (size_t)(end - body), " \t\r\n", &len, &stop,
                          sodium_base64_VARIANT_ORIGINAL) != 0 ||
        stop != end)
        return pea__error(why, PEA_E_FORMAT, "the base64 of the private key is broken");
    der->len = len;
    return PEA_OK;
}

/* ---- Passphrases ---- */

/* A passphrase in guarded memory. */
static pea_err ask_passphrase(const pea__asker *who, pea__secret *passphrase, pea_error *why)
{
    if (who->ask == NULL)
        return pea__error(why, PEA_E_INVALID, "this key is encrypted, and there is nobody to ask for its passphrase");
    pea_err err = pea__secret_new(passphrase, PASSPHRASE_MAX, why);
    if (err != PEA_OK)
        return err;
    passphrase->len = who->ask(who->arg, (char *)passphrase->data, PASSPHRASE_MAX);
    if (passphrase->len == 0)
        return pea__error(why, PEA_E_INVALID, "this key is encrypted, and no passphrase was given");
    if (passphrase->len > PASSPHRASE_MAX)
        return pea__error(why, PEA_E_INVALID, "the passphrase callback says that it wrote more than it was allowed to");
    return PEA_OK;
}

/* What mbedTLS says where a passphrase was wrong: some wrong ones give bytes that look padded, and are no key. */
static pea_err encrypted_error(pea_error *why, int answer)
{
    pea_err err = answer == MBEDTLS_ERR_PK_PASSWORD_MISMATCH
                      ? PEA_E_INVALID
                      : pea__mbedtls_error(why, answer,
                                           "this key is encrypted in a way that cannot be read: write it anew "
                                           "with openssl pkcs8 -topk8 -v2 aes-256-cbc");
    if (err == PEA_E_INVALID || err == PEA_E_FORMAT)
        return pea__error(why, PEA_E_INVALID, "the passphrase of this key is wrong, or the key is broken");
    return err;
}

static int parse_key(mbedtls_pk_context *pk, const uint8_t *key, size_t len, const pea__secret *passphrase)
{
    const uint8_t *pwd = passphrase->data;
    size_t pwd_len = pwd != NULL ? passphrase->len : 0;
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
    return mbedtls_pk_parse_key(pk, key, len, pwd, pwd_len, pea__tls_random, NULL);
#else
    return mbedtls_pk_parse_key(pk, key, len, pwd, pwd_len);
#endif
}

/* ---- All forms ---- */

/* EncryptedPrivateKeyInfo: PBES2 by ourselves, other encryptions by mbedTLS. */
static pea_err read_encrypted_der(mbedtls_pk_context *pk, uint8_t *der, size_t len, const pea__asker *who,
                                  pea_error *why)
{
    pea__secret passphrase = {0};
    uint8_t *plain;
    size_t plain_len;
    int answer;
    pea_err err = ask_passphrase(who, &passphrase, why);
    if (err == PEA_OK) {
        err = pea__pbes2_decrypt(der, len, (pea_span){passphrase.data, passphrase.len}, &plain, &plain_len, why);
        if (err == PEA_OK && (answer = parse_key(pk, plain, plain_len, &(pea__secret){0})) != 0)
            err = encrypted_error(why, answer);
        else if (err == PEA_E_UNSUPPORTED) {
            answer = parse_key(pk, der, len, &passphrase);
            if (answer == 0 || answer == MBEDTLS_ERR_PK_PASSWORD_MISMATCH)
                err = answer == 0 ? PEA_OK : encrypted_error(why, answer);
        }
    }
    sodium_free(passphrase.data);
    return err;
}

/* Whether PEM's own encryption (RFC 1421) is named where mbedTLS wants it: right behind the BEGIN line. */
static bool is_encrypted_pem(const char *body)
{
    return label_is(body + strspn(body, " \r"), "\nProc-Type: 4,ENCRYPTED");
}

static pea_err read_pem(mbedtls_pk_context *pk, const pea__secret *text, const pea__asker *who, pea_error *why)
{
    const char *label = "", *body = "", *begin = (const char *)text->data, *end = begin + text->len - 1;
    pea__secret der = {0}, passphrase = {0};
    pea_err err = find_label(begin, end, &label, &body, why);
    if (err != PEA_OK)
        return err;
    if (label_is(label, "ENCRYPTED ")) {
        err = decode_pem(&der, body, end, why);
        if (err == PEA_OK)
            err = read_encrypted_der(pk, der.data, der.len, who, why);
        sodium_free(der.data);
        return err;
    }
    bool encrypted = is_encrypted_pem(body);
    if (encrypted)
        err = ask_passphrase(who, &passphrase, why);
    if (err == PEA_OK) {
        int answer = parse_key(pk, text->data, text->len, &passphrase);
        if (answer != 0)
            err = encrypted ? encrypted_error(why, answer)
                            : pea__mbedtls_error(why, answer, "this is no private key that can be read");
    }
    sodium_free(passphrase.data);
    return err;
}

/* Whether it is one SEQUENCE, and nothing else. What is in it is not looked at: a zero in a key would be found. */
static bool is_der(uint8_t *data, size_t len)
{
    unsigned char *p = data;
    size_t n;
    return mbedtls_asn1_get_tag(&p, data + len, &n, MBEDTLS_ASN1_CONSTRUCTED | MBEDTLS_ASN1_SEQUENCE) == 0 &&
           n == (size_t)(data + len - p);
}

pea_err pea__private_key_read(mbedtls_pk_context *pk, pea__secret *text, const pea__asker *who, pea_error *why)
{
    size_t len = text->len - 1;
    if (len == 0)
        return pea__error(why, PEA_E_FORMAT, "there is no private key in it: it is empty");
    if (is_der(text->data, len)) {
        if (pea__der_is_encrypted(text->data, len))
            return read_encrypted_der(pk, text->data, len, who, why);
        int answer = parse_key(pk, text->data, len, &(pea__secret){0});
        return answer == 0 ? PEA_OK : pea__mbedtls_error(why, answer, "this is no private key that can be read");
    }
    const char *begin = (const char *)text->data;
    if (find(begin, begin + len, BEGIN) == NULL)
        return pea__error(why, PEA_E_FORMAT, "this is neither a PEM nor a DER private key");
    return read_pem(pk, text, who, why);
}
