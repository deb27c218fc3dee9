/* SPDX-License-Identifier: MIT */
/* The Noise engine's inside, in the terms of the specification (revision 34), whose section numbers stand beside each
 * part. The stage and everybody else use noise.h; tests look in here. */
#ifndef PEAPOD_NOISE_PRIV_H
#define PEAPOD_NOISE_PRIV_H

#include <limits.h>

#include "aead/aead_priv.h"
#include "peapod/noise.h"

/* ---- Primitives (sections 4 and 12) ---- */

typedef enum pea__hash_id { PEA__SHA256 = 1, PEA__SHA512, PEA__BLAKE2B, PEA__BLAKE2S } pea__hash_id;

#define PEA__HASH_BLOCK_MAX 128u

/* Whether this build has it. */
bool pea__hash_available(pea__hash_id hash);

/* ENCRYPT(k, n, ad, plaintext): writes len + 16 bytes at `out`, which may be `plain` itself. `expanded` may be NULL.
 * PEA_OK | PEA_E_CRYPTO (never with a good cipher) */
PEA_MUST_CHECK pea_err pea__aead_encrypt(pea__aead_id aead, const uint8_t k[PEA__AEAD_KEY_BYTES],
                                         const pea__aead_expanded *expanded, uint64_t n, pea_span ad,
                                         const uint8_t *plain, size_t len, uint8_t *out);

/* DECRYPT(k, n, ad, ciphertext): writes len - 16 bytes at `out`, or none that mean anything. PEA_OK | PEA_E_CRYPTO: the
 * tag is wrong, or there is none */
PEA_MUST_CHECK pea_err pea__aead_decrypt(pea__aead_id aead, const uint8_t k[PEA__AEAD_KEY_BYTES],
                                         const pea__aead_expanded *expanded, uint64_t n, pea_span ad,
                                         const uint8_t *cipher, size_t len, uint8_t *out);

size_t pea__hash_len(pea__hash_id hash); /* HASHLEN: 32 or 64 */

/* HASH() of all parts, one after another. The hash must be available. */
void pea__hash(pea__hash_id hash, const pea_span *parts, size_t n, uint8_t out[PEA_NOISE_HASH_MAX]);

/* HMAC-HASH(key, parts), RFC 2104. */
void pea__hmac(pea__hash_id hash, pea_span key, const pea_span *parts, size_t n, uint8_t out[PEA_NOISE_HASH_MAX]);

/* HKDF(chaining_key, input_key_material, 2 or 3) of section 4.3; out3 may be NULL. Outputs may be the chaining key
 * itself. */
void pea__hkdf(pea__hash_id hash, const uint8_t *chaining_key, pea_span input, uint8_t out1[PEA_NOISE_HASH_MAX],
               uint8_t out2[PEA_NOISE_HASH_MAX], uint8_t *out3);

/* HKDF-Expand of RFC 5869: `prk` has the hash's length. PEA_OK | PEA_E_TOO_BIG: more than 255 hashes */
PEA_MUST_CHECK pea_err pea__hkdf_expand(pea__hash_id hash, const uint8_t *prk, pea_span info, uint8_t *out, size_t len);

/* ---- The key encapsulation of hybrid patterns ("KEM-based Hybrid Forward Secrecy for Noise", revision 1) ---- */

#define PEA__KEM_NAME "MLKEM768" /* FIPS 203 */
#define PEA__KEM_PUBLIC_BYTES 1184u
#define PEA__KEM_CIPHER_BYTES 1088u
#define PEA__KEM_OUTPUT_BYTES 32u
#define PEA__KEM_SEED_BYTES 64u    /* what a key pair is made of: d and z */
#define PEA__KEM_MESSAGE_BYTES 32u /* what an encapsulation is made of: m */

/* Whether this build has it. */
bool pea__kem_available(void);

/* The public key of a secret seed. PEA_OK | PEA_E_UNSUPPORTED */
PEA_MUST_CHECK pea_err pea__kem_public(const uint8_t seed[PEA__KEM_SEED_BYTES],
                                       uint8_t public_key[PEA__KEM_PUBLIC_BYTES]);

/* Of random bytes, the ciphertext for who has the key, and what both then have. PEA_OK | PEA_E_CRYPTO: it is no public
 * key | PEA_E_UNSUPPORTED */
PEA_MUST_CHECK pea_err pea__kem_encapsulate(const uint8_t public_key[PEA__KEM_PUBLIC_BYTES],
                                            const uint8_t random[PEA__KEM_MESSAGE_BYTES],
                                            uint8_t cipher[PEA__KEM_CIPHER_BYTES],
                                            uint8_t output[PEA__KEM_OUTPUT_BYTES]);

/* Of a ciphertext that nobody made, an output that nobody else has. PEA_OK | PEA_E_CRYPTO | PEA_E_UNSUPPORTED */
PEA_MUST_CHECK pea_err pea__kem_decapsulate(const uint8_t seed[PEA__KEM_SEED_BYTES],
                                            const uint8_t cipher[PEA__KEM_CIPHER_BYTES],
                                            uint8_t output[PEA__KEM_OUTPUT_BYTES]);

/* ---- Patterns and names (sections 7 to 9) ---- */

typedef enum pea__token {
    PEA__NO_TOKEN = 0,
    PEA__E,
    PEA__S,
    PEA__EE,
    PEA__ES,
    PEA__SE,
    PEA__SS,
    PEA__PSK,
    PEA__E1,   /* hybrid patterns: a KEM's public key */
    PEA__EKEM1 /* and its ciphertext */
} pea__token;

#define PEA__PATTERN_MESSAGES 4 /* the deferred patterns have most: X1X1 */
#define PEA__PATTERN_TOKENS 5   /* of a message, as the table has it: KX has five */
#define PEA__TOKENS_MAX 7       /* of a message with what its modifiers add */

/* A handshake pattern without modifiers. Unused entries are PEA__NO_TOKEN. */
typedef struct pea__pattern {
    char name[5];
    uint8_t known; /* bit side: the other side knows its static key beforehand: a pre-message */
    uint8_t messages[PEA__PATTERN_MESSAGES]
                    [PEA__PATTERN_TOKENS]; /* the initiator writes the first, then they alternate */
} pea__pattern;

/* NULL: there is none of this name. */
const pea__pattern *pea__pattern_find(pea_span name);

#define PEA__PSK_AT(place) (1u << (place))

/* What a protocol's name says. */
typedef struct pea__protocol {
    const pea__pattern *pattern;
    uint8_t psks;          /* PEA__PSK_AT() of each */
    bool hfs;              /* hybrid: a KEM beside the Diffie-Hellman function */
    bool fallback;         /* the pattern's first message was said before: who answered it initiates (section 10.2) */
    pea__aead_id aead : 8; /* each connection has one of these */
    pea__hash_id hash : 8;
} pea__protocol;

/* the longest: "Noise_X1X1hfs+psk0+psk1+psk2+psk3+psk4_25519+MLKEM768_ChaChaPoly_BLAKE2b" */
#define PEA__PROTOCOL_NAME_BYTES 80

/* PEA_OK | PEA_E_FORMAT: not a Noise name | PEA_E_UNSUPPORTED: which part this build or CPU cannot do */
PEA_MUST_CHECK pea_err pea__protocol_parse(pea__protocol *protocol, const char *name, pea_error *why);

/* The name again. Returns its length. */
size_t pea__protocol_name(const pea__protocol *protocol, char name[PEA__PROTOCOL_NAME_BYTES]);

/* How many messages it has. */
unsigned pea__protocol_messages(const pea__protocol *protocol);

/* The tokens of message `message` (from 0), modifiers applied; returns how many: 0 past the last message. */
size_t pea__protocol_tokens(const pea__protocol *protocol, unsigned message, pea__token tokens[PEA__TOKENS_MAX]);

/* Whether records go from the initiator to the responder alone: section 7.4. */
bool pea__protocol_one_way(const pea__protocol *protocol);

/* Which party of the pattern, by whom `es` and `se` are named, this side is: after a fallback they have changed. */
pea_side pea__protocol_party(const pea__protocol *protocol, pea_side side);

/* Whether this side must know the other's static key beforehand. */
bool pea__protocol_knows(const pea__protocol *protocol, pea_side side);

/* Whether this side's part needs its static key. */
bool pea__protocol_needs_static(const pea__protocol *protocol, pea_side side);

/* The number of the message by which this side proves to the other that it holds its static key, here and now: its
 * first under a Diffie-Hellman of that key with the other's ephemeral one. `ss` counts for nothing: what it proves can
 * be said again. The number of messages: its first record does. PEA__NO_PROOF: nothing does. */
#define PEA__NO_PROOF UINT_MAX
unsigned pea__protocol_proof(const pea__protocol *protocol, pea_side side);

/* The number of the message that carries this side's static key; PEA__NO_MESSAGE: none does. `*hidden`: key and payload
 * are encrypted after a Diffie-Hellman, rather than in the clear or under a psk alone. */
#define PEA__NO_MESSAGE UINT_MAX
unsigned pea__protocol_static_in(const pea__protocol *protocol, pea_side side, bool *hidden);

/* ---- CipherState (section 5.1) ---- */

/* A copy of it must not be used once either was wiped: they share `expanded`, which handshakes do not have. */
typedef struct pea__cipher_state {
    uint64_t n;
    pea__aead_expanded *expanded; /* NULL: each use expands the key for itself */
    pea__aead_id aead;
    bool has_key;
    uint8_t k[PEA__AEAD_KEY_BYTES];
} pea__cipher_state;

/* InitializeKey(k); NULL: empty. */
void pea__cipher_initialize_key(pea__cipher_state *cs, pea__aead_id aead, const uint8_t *k);

/* Expands the key for many records. PEA_OK | PEA_E_NOMEM */
PEA_MUST_CHECK pea_err pea__cipher_expand(pea__cipher_state *cs);

/* Bytes that encryption adds: 16 with a key, else 0. */
size_t pea__cipher_overhead(const pea__cipher_state *cs);

/* EncryptWithAd: `out` takes len + overhead bytes and may be `plain`.
 * PEA_OK | PEA_E_KEY_LIMIT: the nonces are used up | PEA_E_CRYPTO */
PEA_MUST_CHECK pea_err pea__encrypt_with_ad(pea__cipher_state *cs, pea_span ad, const uint8_t *plain, size_t len,
                                            uint8_t *out);

/* DecryptWithAd: `out` takes len - overhead bytes. A failure leaves the nonce alone.
 * PEA_OK | PEA_E_KEY_LIMIT | PEA_E_CRYPTO */
PEA_MUST_CHECK pea_err pea__decrypt_with_ad(pea__cipher_state *cs, pea_span ad, const uint8_t *cipher, size_t len,
                                            uint8_t *out);

/* Rekey (section 11.3): a new key, the nonce as it was. PEA_OK | PEA_E_NOMEM | PEA_E_CRYPTO */
PEA_MUST_CHECK pea_err pea__rekey(pea__cipher_state *cs);

/* Wipes, and frees what is expanded. */
void pea__cipher_wipe(pea__cipher_state *cs);

/* ---- SymmetricState (section 5.2) ---- */

typedef struct pea__symmetric_state {
    pea__cipher_state cipher;
    pea__hash_id hash;
    uint8_t ck[PEA_NOISE_HASH_MAX];
    uint8_t h[PEA_NOISE_HASH_MAX];
} pea__symmetric_state;

void pea__initialize_symmetric(pea__symmetric_state *ss, const pea__protocol *protocol);
void pea__mix_key(pea__symmetric_state *ss, const uint8_t *input, size_t len);
void pea__mix_hash(pea__symmetric_state *ss, const uint8_t *data, size_t len);
void pea__mix_key_and_hash(pea__symmetric_state *ss, const uint8_t *input, size_t len);
PEA_MUST_CHECK pea_err pea__encrypt_and_hash(pea__symmetric_state *ss, const uint8_t *plain, size_t len, uint8_t *out);
PEA_MUST_CHECK pea_err pea__decrypt_and_hash(pea__symmetric_state *ss, const uint8_t *cipher, size_t len, uint8_t *out);

/* Split(): the initiator's sending key, the responder's, and a third output of the same HKDF: the exporter secret. */
void pea__split(const pea__symmetric_state *ss, pea__cipher_state *c1, pea__cipher_state *c2,
                uint8_t exporter[PEA_NOISE_HASH_MAX]);

/* ---- HandshakeState (section 5.3) ---- */

/* What a hybrid pattern needs besides. Not copied with the state: `public_key` means something once the message that
 * brought it was read well. */
typedef struct pea__kem_state {
    bool fixed;                                /* tests: `seed` was given, its token takes it as it is */
    uint8_t seed[PEA__KEM_SEED_BYTES];         /* of our key pair; or, in front, of our encapsulation */
    uint8_t public_key[PEA__KEM_PUBLIC_BYTES]; /* theirs */
} pea__kem_state;

typedef struct pea__handshake_state {
    pea__symmetric_state ss;
    pea__protocol protocol;
    pea_side side;
    unsigned message; /* the next message's number, from 0 */
    bool has_rs;
    bool fixed_e;          /* tests: `e` was given, the token takes it as it is */
    const pea_identity *s; /* borrowed; NULL: none */
    pea__kem_state *kem;   /* borrowed; of hybrid patterns */
    uint8_t e[PEA_KEY_BYTES], e_public[PEA_KEY_BYTES];
    uint8_t rs[PEA_KEY_BYTES], re[PEA_KEY_BYTES];
    uint8_t psk[PEA_KEY_BYTES];
} pea__handshake_state;

typedef struct pea__handshake_keys {
    const pea_identity *s; /* ours; NULL: none */
    const uint8_t *rs;     /* theirs, where a pre-message names it; NULL: none */
    const uint8_t *psk;    /* NULL: none */
    pea__kem_state *kem;   /* zeros, for hybrid patterns */
    const uint8_t *e,
        *re; /* fallback: the responder's ephemeral secret and public key, and that key to the initiator */
} pea__handshake_keys;

/* Initialize(): whatever the pattern needs must be in `keys`. */
void pea__handshake_initialize(pea__handshake_state *hs, const pea__protocol *protocol, pea_side side,
                               pea_span prologue, const pea__handshake_keys *keys);

/* Whose turn it is: PEA_AGAIN: ours, write | PEA_MORE: theirs, read | PEA_DONE: split */
pea_err pea__handshake_turn(const pea__handshake_state *hs);

/* WriteMessage(). PEA_OK | PEA_E_TOO_BIG | PEA_E_CRYPTO | PEA_E_NOMEM; on failure the handshake cannot go on. */
PEA_MUST_CHECK pea_err pea__handshake_write(pea__handshake_state *hs, pea_span payload, pea_buf *out);

/* ReadMessage(). PEA_OK | PEA_E_PROTO | PEA_E_CRYPTO | PEA_E_NOMEM; on failure nothing has changed. */
PEA_MUST_CHECK pea_err pea__handshake_read(pea__handshake_state *hs, pea_span message, pea_buf *payload);

/* ---- Records: the transform ---- */

#define PEA__RECORD_HEADER_BYTES 2u
#define PEA__RECORD_OVERHEAD (PEA__RECORD_HEADER_BYTES + PEA_NOISE_TAG_BYTES)

/* Plaintext of a stream's record: with its overhead it fills a write. Of one that is a message: what Noise allows. */
#define PEA__RECORD_PLAIN (PEA_WRITE_MAX - PEA__RECORD_OVERHEAD)
#define PEA__RECORD_MESSAGE (PEA_NOISE_MESSAGE_MAX - PEA_NOISE_TAG_BYTES)

#define PEA__REKEY_EVERY (UINT64_C(1) << 20) /* records of a direction: docs/wire.md */

typedef struct pea__record_opts {
    bool native;     /* rekeys */
    bool preserving; /* one message, one record */
} pea__record_opts;

/* What a finished handshake leaves. PEA_OK | PEA_E_NOMEM */
PEA_MUST_CHECK pea_err pea__record_new(pea_transform *transform, const pea__handshake_state *hs,
                                       const pea__record_opts *opts);

/* ---- For tests. Not exported from the library. ---- */

/* The ephemeral secret that the next `e` of this side uses instead of a random one: for published vectors, and nothing
 * else. */
void pea__noise_fix_ephemeral(pea_noise *noise, const uint8_t secret[PEA_KEY_BYTES]);

/* The same for `e1` or `ekem1`: the seed of a key pair, or of an encapsulation (its first 32 bytes). */
void pea__noise_fix_kem(pea_noise *noise, const uint8_t seed[PEA__KEM_SEED_BYTES]);

/* The handshake inside. */
pea__handshake_state *pea__noise_state(pea_noise *noise);

/* Sets the next record's number of each direction of a transform that pea_noise_split() made. */
void pea__record_set_numbers(const pea_transform *transform, uint64_t send, uint64_t receive);

/* Sets how many blocks of AES-GCM its sending key has sealed. */
void pea__record_set_blocks(const pea_transform *transform, uint64_t blocks);

/* How many records such a transform has opened. */
uint64_t pea__record_received(const pea_transform *transform);

#endif
