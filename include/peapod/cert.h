/* SPDX-License-Identifier: MIT */
/* Certificates for Noise: a root's signed word that a static key has a name and roles for some time. A mesh that knows
 * the root needs no list of its members: docs/certificates.md. */
#ifndef PEAPOD_CERT_H
#define PEAPOD_CERT_H

#include "peapod/buf.h"
#include "peapod/identity.h"
#include "peapod/peer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Roots ---- */

/* The key pair that signs certificates: Ed25519, its secret half in guarded memory. It belongs where certificates are
 * made, and nowhere else: nodes know roots by their public keys. Immutable, any thread. */
typedef struct pea_root pea_root;

/* A new random key pair. PEA_OK | PEA_E_NOMEM */
PEA_API PEA_MUST_CHECK pea_err pea_root_generate(pea_root **root, pea_error *why);

/* From the 32 secret bytes that RFC 8032 calls the private key (the caller wipes its own copy).
 * PEA_OK | PEA_E_NOMEM | PEA_E_INVALID: they are all zero */
PEA_API PEA_MUST_CHECK pea_err pea_root_from_secret(pea_root **root, const uint8_t secret[PEA_KEY_BYTES],
                                                    pea_error *why);

/* From the text of a key file: PKCS#8 PEM (RFC 8410), as `openssl genpkey -algorithm ED25519` writes.
 * PEA_OK | PEA_E_FORMAT with line and sentence | PEA_E_UNSUPPORTED (another algorithm, an encrypted key) |
 * PEA_E_INVALID | PEA_E_NOMEM */
PEA_API PEA_MUST_CHECK pea_err pea_root_parse(pea_root **root, const char *text, size_t len, pea_error *why);

/* From a file, which must be closed to others as pea_identity_load() wants it.
 * PEA_OK | PEA_E_SYS | PEA_E_PERMISSION | as pea_root_parse() */
PEA_API PEA_MUST_CHECK pea_err pea_root_load(pea_root **root, const char *path, pea_error *why);

/* Writes PKCS#8 PEM to a new file of mode 0600, as pea_identity_save() does. PEA_OK | PEA_E_EXISTS | PEA_E_SYS |
 * PEA_E_NOMEM */
PEA_API PEA_MUST_CHECK pea_err pea_root_save(const pea_root *root, const char *path, pea_error *why);

/* Wipes and frees. NULL is allowed. */
PEA_API void pea_root_free(pea_root *root);

/* The public key, by which others know the root. */
PEA_API void pea_root_public(const pea_root *root, uint8_t key[PEA_KEY_BYTES]);

#define PEA_ROOT_TEXT_BYTES 56

/* A root's public key as a rule has it: "root:BASE64". Returns dst. Any thread. */
PEA_API char *pea_root_key_format(const uint8_t key[PEA_KEY_BYTES], char dst[PEA_ROOT_TEXT_BYTES]);

/* Parses what pea_root_key_format() writes. PEA_OK | PEA_E_FORMAT with a sentence: not of that form, or no key of
 * Ed25519 that could sign. `key` is written only on success. Any thread. */
PEA_API PEA_MUST_CHECK pea_err pea_root_key_parse(uint8_t key[PEA_KEY_BYTES], const char *text, pea_error *why);

/* ---- Certificates ---- */

#define PEA_CERT_MAX 1024u                      /* bytes of a certificate */
#define PEA_CERT_EARLY_S 300                    /* a certificate holds so long before it was made: clocks differ */
#define PEA_CERT_TIME_MAX INT64_C(253402300799) /* 9999-12-31T23:59:59Z */

/* A certificate whose signature is good. Whether anybody trusts the root that made it is pea_trust's to say. Immutable,
 * reference-counted, any thread. */
typedef struct pea_cert pea_cert;

/* What a certificate says. */
typedef struct pea_cert_info {
    uint8_t network[32];             /* PEA_CHAIN(.network); zeros: none */
    uint8_t key[PEA_KEY_BYTES];      /* the X25519 key that it is for */
    uint8_t next_key[PEA_KEY_BYTES]; /* another one that it is for as well, if has_next_key: so that keys can change */
    bool has_next_key;
    char name[PEA_NAME_MAX + 1];   /* a-z, 0-9, '-', '.', '_', '/' */
    char roles[PEA_ROLE_MAX + 1];  /* of the same letters, sorted, with commas between them; "": none */
    int64_t not_before, not_after; /* s since 1970: it holds from the one to before the other */
    uint8_t root[PEA_KEY_BYTES];   /* whose word it is: the Ed25519 public key */
} pea_cert_info;

typedef struct pea_cert_opts {
    size_t size;             /* set by PEA_CERT */
    const uint8_t *network;  /* PEA_NETWORK_BYTES, as the chain has them; NULL: zeros */
    const uint8_t *key;      /* PEA_KEY_BYTES: the X25519 public key, the id of a peer */
    const uint8_t *next_key; /* PEA_KEY_BYTES; NULL: it is for one key */
    const char *name;        /* 1 to 255 of the letters above */
    const char *roles;       /* "db,web", in any order, at most 63 bytes; NULL, "": none */
    int64_t not_before;      /* s since 1970; 0: now, less PEA_CERT_EARLY_S */
    int64_t not_after;       /* s since 1970, later than that */
} pea_cert_opts;

#define PEA_CERT(...) (&(pea_cert_opts){.size = sizeof(pea_cert_opts), __VA_ARGS__})
#define PEA_CERT_INIT                                             \
    {                                                             \
        sizeof(pea_cert_opts), NULL, NULL, NULL, NULL, NULL, 0, 0 \
    }

/* Makes a certificate: the root says all of `opts`.
 * PEA_OK | PEA_E_INVALID with a sentence: which of them nobody can say | PEA_E_NOMEM */
PEA_API PEA_MUST_CHECK pea_err pea_cert_issue(pea_cert **cert, const pea_root *root, const pea_cert_opts *opts,
                                              pea_error *why);

/* From its bytes. PEA_OK | PEA_E_FORMAT with a sentence: not the one way in which it is written | PEA_E_CRYPTO: the
 * signature is not that of the root which it names | PEA_E_NOMEM */
PEA_API PEA_MUST_CHECK pea_err pea_cert_from_bytes(pea_cert **cert, pea_span bytes, pea_error *why);

/* From the text of a file: the bytes in base64 between lines "-----BEGIN PEAPOD CERTIFICATE-----" and "-----END PEAPOD
 * CERTIFICATE-----", and nothing else. As pea_cert_from_bytes(), PEA_E_FORMAT with a line where it is the text's */
PEA_API PEA_MUST_CHECK pea_err pea_cert_parse(pea_cert **cert, const char *text, size_t len, pea_error *why);

/* From a file, which may be anybody's: what is in it is signed. PEA_OK | PEA_E_SYS | PEA_E_PERMISSION (not a regular
 * file) | as pea_cert_parse() */
PEA_API PEA_MUST_CHECK pea_err pea_cert_load(pea_cert **cert, const char *path, pea_error *why);

/* Writes the text to a new file of mode 0600, all of it or nothing; others may read it. PEA_OK | PEA_E_EXISTS |
 * PEA_E_SYS | PEA_E_NOMEM */
PEA_API PEA_MUST_CHECK pea_err pea_cert_save(const pea_cert *cert, const char *path, pea_error *why);

/* Appends the text. PEA_OK | PEA_E_NOMEM */
PEA_API PEA_MUST_CHECK pea_err pea_cert_format(const pea_cert *cert, pea_buf *out);

/* What it says; the struct belongs to the certificate, and may get more fields at its end. */
PEA_API const pea_cert_info *pea_cert_says(const pea_cert *cert);

/* Its bytes; they belong to the certificate. */
PEA_API pea_span pea_cert_bytes(const pea_cert *cert);

/* Whether it is for this identity: an X25519 key pair whose public key is one of the certificate's. */
PEA_API bool pea_cert_is_for(const pea_cert *cert, const pea_identity *identity);

/* One more reference; returns cert. */
PEA_API pea_cert *pea_cert_ref(pea_cert *cert);

/* One less; the last one frees. NULL is allowed. */
PEA_API void pea_cert_unref(pea_cert *cert);

#ifdef __cplusplus
}
#endif
#endif
