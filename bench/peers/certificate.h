/* SPDX-License-Identifier: MIT */
/* A key and a certificate for the peers that speak TLS: P-256, signed by itself, for "localhost", for one run. */
#ifndef PEAPOD_BENCH_CERTIFICATE_H
#define PEAPOD_BENCH_CERTIFICATE_H

#include <openssl/evp.h>
#include <openssl/x509.h>

#define CERTIFICATE_NAME "localhost"

typedef struct certificate {
    EVP_PKEY *key;
    X509 *cert;
    char key_pem[1024], cert_pem[2048];
} certificate;

/* Fails the program if it cannot be made. */
void certificate_make(certificate *c);

#endif
