/* SPDX-License-Identifier: MIT */
/* Authenticated encryption with associated data (RFC 5116), for Noise and for TLS alike: three ciphers, and whichever
 * library has them. Nonces are the caller's. */
#ifndef PEAPOD_AEAD_PRIV_H
#define PEAPOD_AEAD_PRIV_H

#include "peapod/buf.h"

typedef enum pea__aead_id {
    PEA__CHACHAPOLY = 1, /* RFC 8439 */
    PEA__AESGCM,         /* AES-256-GCM */
    PEA__AES128GCM       /* TLS alone has it */
} pea__aead_id;

#define PEA__AEAD_KEY_BYTES 32u /* of which AES-128 takes the first 16 */
#define PEA__AEAD_NONCE_BYTES 12u
#define PEA__AEAD_TAG_BYTES 16u

/* What a key of AES-GCM may seal, in blocks of 16 bytes: 2^34 (256 GiB), and what a connection has queued by then. RFC
 * 8446, section 5.5 allows 2^24.5 records of 2^14 bytes, which are 2^34.5 blocks: what is left of that is a margin.
 * ChaChaPoly has no limit but its nonces. */
#define PEA__GCM_BLOCK_BYTES 16u
#define PEA__GCM_BLOCKS ((uint64_t)1 << 34)
#define PEA__GCM_BLOCKS_QUEUED ((uint64_t)1 << 32)

/* Whether this build and this CPU have it. After pea__secure_init(). */
bool pea__aead_available(pea__aead_id aead);

/* A key's expanded form, for ciphers that gain by it (AES: the key schedule). */
typedef struct pea__aead_expanded pea__aead_expanded;

/* `*expanded` becomes NULL where there is nothing to expand. PEA_OK | PEA_E_NOMEM */
PEA_MUST_CHECK pea_err pea__aead_expand(pea__aead_expanded **expanded, pea__aead_id aead,
                                        const uint8_t k[PEA__AEAD_KEY_BYTES]);
void pea__aead_expanded_free(pea__aead_expanded *expanded); /* wipes; NULL is allowed */

/* Of connections' records those of so much plaintext and more are libcrypto's, where it is there: below, a context
 * costs more than it saves (docs/performance.md). */
#define PEA__LIBCRYPTO_FROM 2048u

/* Writes len + 16 bytes at `out`, which may be `plain` itself. `expanded` may be NULL. `record`: of a connection that
 * has shown who it is; messages of handshakes, which strangers can make us read, are libsodium's whatever their length.
 * PEA_OK | PEA_E_CRYPTO (never with a good cipher) */
PEA_MUST_CHECK pea_err pea__aead_seal(pea__aead_id aead, const uint8_t k[PEA__AEAD_KEY_BYTES],
                                      const pea__aead_expanded *expanded, const uint8_t nonce[PEA__AEAD_NONCE_BYTES],
                                      pea_span ad, bool record, const uint8_t *plain, size_t len, uint8_t *out);

/* Writes len - 16 bytes at `out`, which may be `cipher` itself, or none that mean anything. PEA_OK | PEA_E_CRYPTO: the
 * tag is wrong, or there is none */
PEA_MUST_CHECK pea_err pea__aead_open(pea__aead_id aead, const uint8_t k[PEA__AEAD_KEY_BYTES],
                                      const pea__aead_expanded *expanded, const uint8_t nonce[PEA__AEAD_NONCE_BYTES],
                                      pea_span ad, bool record, const uint8_t *cipher, size_t len, uint8_t *out);

/* ---- What the other libraries can do; called by aead.c and tests only ---- */

/* All three by libcrypto; the first call readies it. Without PEAPOD_LIBCRYPTO none is available. PEA_OK | PEA_E_CRYPTO
 * | PEA_E_UNSUPPORTED: it has none, or no memory; `out` is as it was, and another library can be asked */
bool pea__libcrypto_available(pea__aead_id aead);
PEA_MUST_CHECK pea_err pea__libcrypto_encrypt(pea__aead_id aead, const uint8_t k[PEA__AEAD_KEY_BYTES],
                                              const uint8_t nonce[PEA__AEAD_NONCE_BYTES], pea_span ad,
                                              const uint8_t *plain, size_t len, uint8_t *out);
PEA_MUST_CHECK pea_err pea__libcrypto_decrypt(pea__aead_id aead, const uint8_t k[PEA__AEAD_KEY_BYTES],
                                              const uint8_t nonce[PEA__AEAD_NONCE_BYTES], pea_span ad,
                                              const uint8_t *cipher, size_t len, uint8_t *out);

/* AES-GCM by mbedTLS, in a build with TLS: where neither of the others has it. */
bool pea__mbedtls_gcm_available(void);
PEA_MUST_CHECK pea_err pea__mbedtls_gcm_encrypt(pea__aead_id aead, const uint8_t k[PEA__AEAD_KEY_BYTES],
                                                const uint8_t nonce[PEA__AEAD_NONCE_BYTES], pea_span ad,
                                                const uint8_t *plain, size_t len, uint8_t *out);
PEA_MUST_CHECK pea_err pea__mbedtls_gcm_decrypt(pea__aead_id aead, const uint8_t k[PEA__AEAD_KEY_BYTES],
                                                const uint8_t nonce[PEA__AEAD_NONCE_BYTES], pea_span ad,
                                                const uint8_t *cipher, size_t len, uint8_t *out);

#endif
