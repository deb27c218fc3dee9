/* SPDX-License-Identifier: MIT */
/* What TLS and trust learn from a certificate: the key's id, the names that a root may vouch for, whether it is a CA.
 * Whether it is valid is not said here. Included only where mbedTLS is: a build without TLS has none of this. */
#ifndef PEAPOD_CERTIFICATE_PRIV_H
#define PEAPOD_CERTIFICATE_PRIV_H

#include <mbedtls/x509_crt.h>

#include "peapod/identity.h"
#include "peapod/policy.h"

/* Most names of a certificate that are taken; more is an error, as dropping some could drop what a rule denies. Public
 * CAs put at most 100 in one (Let's Encrypt's limit). */
#define PEA__CERTIFICATE_NAMES_MAX 128

/* The SPIFFE specification's limit on its ids, which are the longest names in use. A DNS name has at most 253 bytes. */
#define PEA__URI_MAX 2048

/* Most certificates of an identity's chain. mbedTLS follows 8 above the leaf; other peers may follow more. */
#define PEA__CHAIN_MAX 16

/* Most bytes of all DERs of an identity's chain: mbedTLS sends and takes a handshake message of 16 KiB at most, and
 * beside the certificates there are 3 bytes of length and in TLS 1.3 2 of extensions for each, and 8 for the
 * message. */
#define PEA__CHAIN_BYTES_MAX (16384u - 8u - 5u * PEA__CHAIN_MAX)

/* SHA-256 of the certificate's SubjectPublicKeyInfo: the peer's id. */
void pea__certificate_id(const mbedtls_x509_crt *crt, uint8_t id[PEA_ID_BYTES]);

/* basicConstraints says cA. Many self-signed certificates do. */
bool pea__certificate_is_ca(const mbedtls_x509_crt *crt);

/* The names of a certificate, in its order. All zero is an empty one. */
typedef struct pea__certificate_names {
    pea_name *list; /* one allocation with the texts behind it */
    size_t n;
} pea__certificate_names;

/* The DNS names and URIs of the certificate's subjectAltName; other kinds, and the subject's CN, are none. A
 * certificate in which any of them is malformed has none, but is an error: its issuer meant something that nobody can
 * tell. PEA_OK (`names` may be empty) | PEA_E_FORMAT with a sentence | PEA_E_NOMEM; after an error `names` is empty.
 * Free it. */
PEA_MUST_CHECK pea_err pea__certificate_names_read(const mbedtls_x509_crt *crt, pea__certificate_names *names,
                                                   pea_error *why);

/* The same from the DER of Extensions (RFC 5280, section 4.1.2.9), as v3_ext has it; empty: there are none. */
PEA_MUST_CHECK pea_err pea__extensions_names(pea_span extensions, pea__certificate_names *names, pea_error *why);

void pea__certificate_names_free(pea__certificate_names *names);

/* Parses one DER certificate into an initialised, empty `crt`: all of `der` and nothing behind it.
 * PEA_OK | PEA_E_FORMAT with a sentence | PEA_E_UNSUPPORTED (its key or signature is of a kind that mbedTLS has not) |
 * PEA_E_NOMEM. The caller frees `crt` in any case. */
PEA_MUST_CHECK pea_err pea__certificate_parse(mbedtls_x509_crt *crt, pea_span der, pea_error *why);

/* What mbedTLS answered as one of ours, with a sentence: WHAT, then mbedTLS's own words. NOMEM where it had no memory,
 * UNSUPPORTED where it has not what was asked for, else FORMAT. */
pea_err pea__mbedtls_error(pea_error *why, int answer, const char *what);

/* mbedTLS's f_rng by libsodium. */
int pea__tls_random(void *unused, unsigned char *dst, size_t len);

#endif
