/* SPDX-License-Identifier: MIT */
/* Long-term keys: make them, keep them in files, show them to people. */
#ifndef PEAPOD_IDENTITY_H
#define PEAPOD_IDENTITY_H

#include "peapod/buf.h"
#include "peapod/peer.h"

#ifdef __cplusplus
extern "C" {
#endif

#define PEA_KEY_BYTES 32

/* A long-term key in guarded memory: an X25519 key pair for Noise, or for TLS a certificate with its private key
 * (tls.h). Immutable, reference-counted, any thread. */
typedef struct pea_identity pea_identity;

/* A new random key pair. PEA_OK | PEA_E_NOMEM */
PEA_API PEA_MUST_CHECK pea_err pea_identity_generate(pea_identity **identity, pea_error *why);

/* From 32 secret bytes (the caller wipes its own copy). PEA_OK | PEA_E_NOMEM | PEA_E_INVALID: it is all zero, or its
 * public key would be */
PEA_API PEA_MUST_CHECK pea_err pea_identity_from_secret(pea_identity **identity, const uint8_t secret[PEA_KEY_BYTES],
                                                        pea_error *why);

/* From the text of a key file: PKCS#8 PEM (RFC 8410, as `openssl genpkey -algorithm X25519` writes) or the one base64
 * line of `wg genkey`.
 * PEA_OK | PEA_E_FORMAT with line and sentence | PEA_E_UNSUPPORTED (another algorithm, an encrypted key) |
 * PEA_E_NOMEM */
PEA_API PEA_MUST_CHECK pea_err pea_identity_parse(pea_identity **identity, const char *text, size_t len,
                                                  pea_error *why);

/* From a file. The open file must be a regular one, owned by us or root, and closed to others: not writable by group,
 * without any right for others; group-readable only when root owns it (0440).
 * PEA_OK | PEA_E_SYS | PEA_E_PERMISSION (says what chmod would mend it) | as pea_identity_parse() */
PEA_API PEA_MUST_CHECK pea_err pea_identity_load(pea_identity **identity, const char *path, pea_error *why);

/* Writes PKCS#8 PEM to a new file of mode 0600: all of it or nothing, synced to the disk. An existing file is never
 * overwritten.
 * PEA_OK | PEA_E_EXISTS | PEA_E_SYS | PEA_E_NOMEM | PEA_E_UNSUPPORTED (a certificate: its files are there already) */
PEA_API PEA_MUST_CHECK pea_err pea_identity_save(const pea_identity *identity, const char *path, pea_error *why);

/* One more reference; returns identity. */
PEA_API pea_identity *pea_identity_ref(pea_identity *identity);

/* One less; the last one wipes and frees. NULL is allowed. */
PEA_API void pea_identity_unref(pea_identity *identity);

/* Who we are to others: kind PEA_PEER_NOISE, the public key, as pea_peer_format() writes it "noise:BASE64"; or of a
 * certificate PEA_PEER_SPKI, "spki:sha256:HEX". */
PEA_API void pea_identity_peer(const pea_identity *identity, pea_peer *peer);

#define PEA_FINGERPRINT_BYTES 64

/* A short form that two persons can compare by voice: hex groups of a BLAKE2b hash of kind and id, 128 bits, "3f2a
 * 99c1 ..." (8 groups of 4). Not an id: it names nobody to the library. Returns dst. */
PEA_API char *pea_peer_fingerprint(const pea_peer *peer, char dst[PEA_FINGERPRINT_BYTES]);

/* A network id for PEA_CHAIN out of a name (any bytes): BLAKE2b-256 with a fixed key string. PEA_OK | PEA_E_INVALID
 * (empty) */
PEA_API PEA_MUST_CHECK pea_err pea_network_id(uint8_t network[32], const void *name, size_t len);

/* ---- The network key: what all members of a network hold, and no stranger (docs/noise.md, "Gates") ---- */

/* Is given to PEA_NOISE(.psk) with a psk0 pattern, which copies it into guarded memory: then the caller wipes its own
 * (sodium_memzero()). Any thread. */

/* 32 random bytes. Never a passphrase: whoever records one handshake could try guesses on it for ever. PEA_OK |
 * PEA_E_UNSUPPORTED: the system gives no randomness */
PEA_API PEA_MUST_CHECK pea_err pea_network_key_generate(uint8_t key[PEA_KEY_BYTES]);

/* From the text of a file: one base64 line between the lines "-----BEGIN PEAPOD NETWORK KEY-----" and "-----END PEAPOD
 * NETWORK KEY-----", as the next but one writes it, or alone, as `wg genpsk` writes it. On failure `key` is as before.
 * PEA_OK | PEA_E_FORMAT with line and sentence: a passphrase, another length, another kind of key | PEA_E_INVALID: it
 * is all zero, or its 32 bytes are all letters | PEA_E_UNSUPPORTED: as generating */
PEA_API PEA_MUST_CHECK pea_err pea_network_key_parse(uint8_t key[PEA_KEY_BYTES], const char *text, size_t len,
                                                     pea_error *why);

/* From a file, which is judged as pea_identity_load() does. As that | as pea_network_key_parse() */
PEA_API PEA_MUST_CHECK pea_err pea_network_key_load(uint8_t key[PEA_KEY_BYTES], const char *path, pea_error *why);

/* Writes it with its BEGIN and END lines to a new file of mode 0600: all of it or nothing, synced to the disk. An
 * existing file is never overwritten. PEA_OK | PEA_E_EXISTS | PEA_E_SYS | PEA_E_NOMEM | PEA_E_INVALID: as
 * pea_network_key_parse() | PEA_E_UNSUPPORTED: as generating */
PEA_API PEA_MUST_CHECK pea_err pea_network_key_save(const uint8_t key[PEA_KEY_BYTES], const char *path, pea_error *why);

#ifdef __cplusplus
}
#endif
#endif
