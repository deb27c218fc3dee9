/* SPDX-License-Identifier: MIT */
/* What secure/ keeps to itself: X25519, guarded memory, and the parts of an identity that no caller may see. */
#ifndef PEAPOD_SECURE_PRIV_H
#define PEAPOD_SECURE_PRIV_H

#include <stdatomic.h>

#include "peapod/identity.h"
#include "peapod/noise.h"
#include "peapod/trust.h"

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

/* Whether the pattern only ever carries records from the initiator to the responder. */
bool pea__noise_one_way(const pea_noise *noise);

/* Whether the first message is under a psk: who does not hold it cannot make one, and can only say one again. */
bool pea__noise_first_under_psk(const pea_noise *noise);

/* Whether the next message to read multiplies, Diffie-Hellman. If not, a wrong one costs a tag and a few hashes. */
bool pea__noise_multiplies(const pea_noise *noise);

/* Which message of a protocol (NULL: the default), from 1, carries the static key of that side; 0: none does.
 * `*hidden`: key and payload are encrypted after a Diffie-Hellman, rather than in the clear or under a psk alone. */
unsigned pea__noise_static_in(const char *protocol, pea_side side, bool *hidden);

/* ---- Guarded memory: long-term keys only, it costs pages ---- */

/* A copy that is locked, fenced by guard pages and read-only; NULL: no memory. */
uint8_t *pea__guard(const uint8_t *secret, size_t len);

/* Wipes and frees. NULL is allowed. */
void pea__unguard(uint8_t *guarded);

/* For those who include no crypto library: overwrites a secret on the stack, whatever the optimiser thinks of it. */
void pea__wipe(void *secret, size_t len);

/* ---- Identities ---- */

/* Of an X25519 key pair; a certificate has neither. */
const uint8_t *pea__identity_secret(const pea_identity *identity); /* PEA_KEY_BYTES, guarded */
const uint8_t *pea__identity_public(const pea_identity *identity); /* PEA_KEY_BYTES */

/* A certificate and its key, rather than an X25519 key pair. */
bool pea__identity_is_certificate(const pea_identity *identity);

/* The DERs of a certificate's chain, leaf first, and their number; of another identity none. Good as long as it. */
size_t pea__identity_chain(const pea_identity *identity, const pea_span **chain);

/* The certificate's private key, DER as mbedtls_pk_parse_key() takes it, in the clear, guarded; empty where there is
 * none. */
pea_span pea__identity_key(const pea_identity *identity);

/* An identity of parts that were checked: the id of chain[0], copies of the chain and of the key.
 * PEA_OK | PEA_E_NOMEM */
PEA_MUST_CHECK pea_err pea__identity_from_certificate(pea_identity **identity, const uint8_t id[PEA_ID_BYTES],
                                                      const pea_span *chain, size_t n, pea_span key, pea_error *why);

/* ---- Roots: what trust and TLS know of each other ---- */

/* Calls each(arg, der, id) for every certificate in `text` (PEM, any number; or DER, one), id being the SHA-256 of its
 * SubjectPublicKeyInfo; stops at the first call that does not return PEA_OK.
 * PEA_OK | PEA_E_FORMAT with a sentence (none in it, or one that is broken) | PEA_E_UNSUPPORTED (built without TLS) |
 * PEA_E_NOMEM | what each() returned. In tls/certificate.c. */
PEA_MUST_CHECK pea_err pea__certificates_each(pea_span text,
                                              pea_err (*each)(void *arg, pea_span der, const uint8_t id[PEA_ID_BYTES]),
                                              void *arg, pea_error *why);

/* Lists of roots: u32 big-endian length and DER of each. In trust_rule.c.
 * The first adds a certificate that is not in the list: PEA_OK | PEA_E_NOMEM, and some of it may be there.
 * The second takes the next one off its front; false: there is none, and what is left in the list is none either. */
PEA_MUST_CHECK pea_err pea__roots_add(pea_buf *roots, pea_span der);
bool pea__roots_next(pea_span *list, pea_span *der);

/* A number that changes when the roots that `ca:` rules name change. Any thread. In trust.c. */
uint64_t pea__trust_roots_version(pea_trust *trust);

/* Appends the list of these roots to `out`, and says of which version they are.
 * PEA_OK | PEA_E_NOMEM. Any thread. In trust.c. */
PEA_MUST_CHECK pea_err pea__trust_roots(pea_trust *trust, pea_buf *out, uint64_t *version);

/* ---- Key files: their text ---- */

/* Bytes of a key file. An X25519 key takes 119; other kinds of key fit too, so that an error can name them. */
#define PEA__KEY_TEXT_MAX 4096u
#define PEA__PEM_BYTES 128u /* room for what pea__keyfile_write() writes */

/* Of an identity, and of a root that signs certificates. */
typedef enum pea__key_kind { PEA__KEY_X25519 = 0, PEA__KEY_ED25519 } pea__key_kind;

/* Reads PEM, or of X25519 the other form. As pea_identity_parse(); `secret` is written only on success, and the caller
 * wipes it. */
PEA_MUST_CHECK pea_err pea__keyfile_read(uint8_t secret[PEA_KEY_BYTES], pea__key_kind kind, const char *text,
                                         size_t len, pea_error *why);

/* Writes PKCS#8 PEM, terminated, and returns its length. The caller wipes it. */
size_t pea__keyfile_write(char pem[PEA__PEM_BYTES], pea__key_kind kind, const uint8_t secret[PEA_KEY_BYTES]);

/* The same to a file, as pea_identity_save(). */
PEA_MUST_CHECK pea_err pea__keyfile_save(const char *path, pea__key_kind kind, const uint8_t secret[PEA_KEY_BYTES],
                                         pea_error *why);

/* Fills in `why` with the line of `at` in `text`, and returns the code. */
pea_err pea__text_error(pea_error *why, pea_err code, const char *text, const char *at, const char *sentence);

#define PEA__KEY_LINE_LETTERS 44u /* of 32 bytes in base64, one of padding included */

/* Takes the blanks off [*at, *end). Whether what is left is as long as a key's line, and padded like one: such a line
 * (if it `may_be_line`) is known by its end, and its letters are not looked at. */
bool pea__key_text_trim(const char **at, const char **end, bool may_be_line);

/* Whether one of them is zero, without a branch on any. */
bool pea__text_has_zero(const char *text, size_t len);

/* Room for what pea__network_key_write() writes. In network_key.c, as it. */
#define PEA__NETWORK_KEY_TEXT_BYTES 128u

/* Writes the text of a network key, terminated, and returns its length. The caller wipes it. */
size_t pea__network_key_write(char text[PEA__NETWORK_KEY_TEXT_BYTES], const uint8_t key[PEA_KEY_BYTES]);

/* ---- Key files: the files ---- */

/* Reads a regular file into guarded memory that sodium_free() wipes and frees; one that holds a secret only if its
 * owner and mode are as pea_identity_load() wants them. A file longer than `max` gives max + 1 bytes.
 * PEA_OK | PEA_E_SYS | PEA_E_PERMISSION | PEA_E_NOMEM */
PEA_MUST_CHECK pea_err pea__file_slurp(char **text, size_t *len, const char *path, size_t max, bool secret,
                                       pea_error *why);

/* Writes a new file of mode 0600: all of it or nothing, synced, never over another.
 * PEA_OK | PEA_E_EXISTS | PEA_E_SYS | PEA_E_NOMEM */
PEA_MUST_CHECK pea_err pea__file_save(const char *path, const char *text, size_t len, pea_error *why);

/* Puts the path before a sentence about a file's content. */
void pea__name_file(pea_error *why, const char *path);

#endif
