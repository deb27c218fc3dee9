/* SPDX-License-Identifier: MIT */
/* What secure/ keeps to itself: X25519, guarded memory, and the parts of an identity that no caller may see. */
#ifndef PEAPOD_SECURE_PRIV_H
#define PEAPOD_SECURE_PRIV_H

#include <stdatomic.h>

#include "peapod/identity.h"

/* Readies libsodium. Any thread, any number of times. PEA_OK | PEA_E_UNSUPPORTED: it finds no randomness */
PEA_MUST_CHECK pea_err pea__secure_init(pea_error *why);

/* ---- X25519 (RFC 7748) ---- */

/* Scalar multiplications so far, key generation included: what a stranger can make us pay for. Tests compare it before
 * and after. */
extern atomic_uint_fast64_t pea__x25519_count;

/* The public key of a secret. PEA_OK | PEA_E_CRYPTO */
PEA_MUST_CHECK pea_err pea__x25519_public(uint8_t public_key[PEA_KEY_BYTES], const uint8_t secret[PEA_KEY_BYTES]);

/* The shared secret. PEA_OK | PEA_E_CRYPTO: the public key is of low order, and the secret would be all zero */
PEA_MUST_CHECK pea_err pea__x25519(uint8_t shared[PEA_KEY_BYTES], const uint8_t secret[PEA_KEY_BYTES],
                                   const uint8_t public_key[PEA_KEY_BYTES]);

/* Below 2^255 - 19. X25519 takes other encodings of the same point too; as an id they would be a second name for one
 * key. */
bool pea__x25519_canonical(const uint8_t public_key[PEA_KEY_BYTES]);

/* Whether a key may be somebody's static key. PEA_OK | PEA_E_INVALID with a sentence: not canonical, or of low order */
PEA_MUST_CHECK pea_err pea__x25519_check(const uint8_t public_key[PEA_KEY_BYTES], pea_error *why);

/* ---- Guarded memory: long-term keys only, it costs pages ---- */

/* A copy that is locked, fenced by guard pages and read-only; NULL: no memory. */
uint8_t *pea__guard(const uint8_t *secret, size_t len);

/* Wipes and frees. NULL is allowed. */
void pea__unguard(uint8_t *guarded);

/* ---- Identities ---- */

const uint8_t *pea__identity_secret(const pea_identity *identity); /* PEA_KEY_BYTES, guarded */
const uint8_t *pea__identity_public(const pea_identity *identity); /* PEA_KEY_BYTES */

/* ---- Key files: their text ---- */

/* Bytes of a key file. An X25519 key takes 119; other kinds of key fit too, so that an error can name them. */
#define PEA__KEY_TEXT_MAX 4096u
#define PEA__PEM_BYTES 128u /* room for what pea__keyfile_write() writes */

/* Reads either form. As pea_identity_parse(); `secret` is written only on success, and the caller wipes it. */
PEA_MUST_CHECK pea_err pea__keyfile_read(uint8_t secret[PEA_KEY_BYTES], const char *text, size_t len, pea_error *why);

/* Writes PKCS#8 PEM, terminated, and returns its length. The caller wipes it. */
size_t pea__keyfile_write(char pem[PEA__PEM_BYTES], const uint8_t secret[PEA_KEY_BYTES]);

#endif
