/* SPDX-License-Identifier: MIT */
/* Private keys under a passphrase, in the one form that today's tools write. */
#ifndef PEAPOD_PBES2_PRIV_H
#define PEAPOD_PBES2_PRIV_H

#include "peapod/buf.h"

/* Whether this is an EncryptedPrivateKeyInfo (RFC 5958, section 3), in any encryption. */
bool pea__der_is_encrypted(const uint8_t *der, size_t len);

/* Decrypts one in place that PBES2 made of PBKDF2 and AES-CBC (RFC 8018), as `openssl genpkey -aes-256-cbc` writes it;
 * its plaintext is then the *plain_len bytes at *plain, within `der`.
 * PEA_OK | PEA_E_UNSUPPORTED (another encryption: mbedTLS may know it) | PEA_E_FORMAT | PEA_E_INVALID (the passphrase
 * is wrong) | PEA_E_NOMEM; each error with a sentence. One wrong passphrase of some 200 goes unnoticed here, and gives
 * plaintext that is no key. */
PEA_MUST_CHECK pea_err pea__pbes2_decrypt(uint8_t *der, size_t len, pea_span passphrase, uint8_t **plain,
                                          size_t *plain_len, pea_error *why);

#endif
