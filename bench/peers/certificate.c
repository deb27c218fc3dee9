/* SPDX-License-Identifier: MIT */
/* A key and a certificate, by OpenSSL: see certificate.h. */
#include "certificate.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "two.h"

#define DAY 86400L

static void must(int ok)
{
    if (ok <= 0)
        two_fail("making a certificate");
}

static void add_extension(X509 *cert, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, cert, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    must(extension != NULL && X509_add_ext(cert, extension, -1));
    X509_EXTENSION_free(extension);
}

static void take_text(BIO *from, char *text, size_t room)
{
    int len = BIO_read(from, text, (int)room - 1);
    must(len);
    text[len] = '\0';
    BIO_free(from);
}

void certificate_make(certificate *c)
{
    c->key = EVP_EC_gen("P-256");
    c->cert = X509_new();
    must(c->key != NULL && c->cert != NULL);
    must(X509_set_version(c->cert, 2)); /* version 3 */
    must(ASN1_INTEGER_set(X509_get_serialNumber(c->cert), 1));
    must(X509_gmtime_adj(X509_getm_notBefore(c->cert), -DAY) != NULL);
    must(X509_gmtime_adj(X509_getm_notAfter(c->cert), DAY) != NULL);
    must(X509_set_pubkey(c->cert, c->key));
    X509_NAME *name = X509_get_subject_name(c->cert);
    must(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)CERTIFICATE_NAME, -1, -1, 0));
    must(X509_set_issuer_name(c->cert, name));
    add_extension(c->cert, NID_basic_constraints, "critical,CA:TRUE");
    add_extension(c->cert, NID_subject_alt_name, "DNS:" CERTIFICATE_NAME);
    must(X509_sign(c->cert, c->key, EVP_sha256()));

    BIO *pem = BIO_new(BIO_s_mem());
    must(pem != NULL && PEM_write_bio_PrivateKey(pem, c->key, NULL, NULL, 0, NULL, NULL));
    take_text(pem, c->key_pem, sizeof c->key_pem);
    pem = BIO_new(BIO_s_mem());
    must(pem != NULL && PEM_write_bio_X509(pem, c->cert));
    take_text(pem, c->cert_pem, sizeof c->cert_pem);
}
