/* SPDX-License-Identifier: MIT */
/* A certificate's private key on its way from a file to an identity. */
#ifndef PEAPOD_PRIVATE_KEY_PRIV_H
#define PEAPOD_PRIVATE_KEY_PRIV_H

#include <mbedtls/pk.h>

#include "peapod/tls.h"

/* Bytes of a secret, in guarded memory. All zero is none; sodium_free(data) wipes and frees. */
typedef struct pea__secret {
    uint8_t *data;
    size_t len;
} pea__secret;

/* PEA_OK | PEA_E_NOMEM: `s` is none */
PEA_MUST_CHECK pea_err pea__secret_new(pea__secret *s, size_t len, pea_error *why);

/* Who knows the passphrase. */
typedef struct pea__asker {
    pea_passphrase_fn ask; /* NULL: nobody */
    void *arg;
} pea__asker;

/* Reads a key, PEM or DER: PKCS#8, PKCS#1 or SEC1; encrypted as PKCS#8 or by PEM itself. `text` ends with a zero byte,
 * which mbedTLS wants behind PEM and which is counted; what is in it is changed. `pk` is initialised and empty; the
 * caller frees it in any case.
 * PEA_OK | PEA_E_FORMAT | PEA_E_INVALID (the passphrase) | PEA_E_UNSUPPORTED | PEA_E_NOMEM; each with a sentence */
PEA_MUST_CHECK pea_err pea__private_key_read(mbedtls_pk_context *pk, pea__secret *text, const pea__asker *who,
                                             pea_error *why);

#endif
