/* SPDX-License-Identifier: MIT */
/* TLS 1.3 and 1.2 (RFC 8446, RFC 5246) by mbedTLS: certificates as identities, and what a chain's TLS stage is told.
 * In a library that was built without TLS all of it is there, and returns PEA_E_UNSUPPORTED. */
#ifndef PEAPOD_TLS_H
#define PEAPOD_TLS_H

#include "peapod/identity.h"
#include "peapod/trust.h"

#ifdef __cplusplus
extern "C" {
#endif

#define PEA_ALPN_NATIVE "peapod/1" /* what native chains agree on */

/* ---- Certificates as identities ---- */

/* Asked for the passphrase of an encrypted private key: writes at most `size` bytes to `dst` and returns how many; 0:
 * there is none. What it wrote is wiped after use. */
typedef size_t (*pea_passphrase_fn)(void *arg, char *dst, size_t size);

/* An identity for TLS from two files: the certificate, leaf first and then the intermediate ones, and its private
 * key (elliptic curve P-256, P-384 or P-521, or RSA of 2,048 bits and more); each PEM or DER. The key file's owner
 * and mode are checked as in pea_identity_load(). `ask` may be NULL: an encrypted key is an error then.
 * PEA_OK | PEA_E_SYS | PEA_E_PERMISSION | PEA_E_FORMAT (names the file and what is wrong in it) | PEA_E_INVALID (the
 * key is not the certificate's, or too weak; the passphrase is wrong) | PEA_E_UNSUPPORTED | PEA_E_NOMEM. Any thread. */
PEA_API PEA_MUST_CHECK pea_err pea_identity_load_certificate(pea_identity **identity, const char *certificate_file,
                                                             const char *key_file, pea_passphrase_fn ask, void *arg,
                                                             pea_error *why);

/* The same from memory; the caller wipes its copy of the key. */
PEA_API PEA_MUST_CHECK pea_err pea_identity_parse_certificate(pea_identity **identity, pea_span certificate,
                                                              pea_span key, pea_passphrase_fn ask, void *arg,
                                                              pea_error *why);

/* A new key of the curve P-256 and a certificate for it that it signs itself: for peers that know each other by public
 * keys (`spki:sha256:`), without an authority. `name` (may be NULL) is a host name in lower case that it is for; `days`
 * is how long it is good, 0: 3,650, at most 36,500. It is good since yesterday, as clocks differ; once it has expired
 * peers refuse it, whatever they know of the key.
 * PEA_OK | PEA_E_INVALID (name, days) | PEA_E_UNSUPPORTED (without TLS, or an mbedTLS that writes no certificates) |
 * PEA_E_NOMEM. Any thread. */
PEA_API PEA_MUST_CHECK pea_err pea_identity_generate_certificate(pea_identity **identity, const char *name,
                                                                 uint32_t days, pea_error *why);

/* Writes the certificates of an identity and its private key, PEM in the clear, to two new files of mode 0600: both or
 * neither, synced to the disk. Existing files are never overwritten.
 * PEA_OK | PEA_E_EXISTS | PEA_E_SYS | PEA_E_NOMEM | PEA_E_UNSUPPORTED (it has no certificate; as above). Any thread. */
PEA_API PEA_MUST_CHECK pea_err pea_identity_save_certificate(const pea_identity *identity, const char *certificate_file,
                                                             const char *key_file, pea_error *why);

/* Who the holder of a certificate (PEM or DER; of several the first) is to others: kind PEA_PEER_SPKI, the SHA-256
 * of its SubjectPublicKeyInfo. Says nothing of whether it is valid.
 * PEA_OK | PEA_E_FORMAT | PEA_E_UNSUPPORTED | PEA_E_NOMEM. Any thread. */
PEA_API PEA_MUST_CHECK pea_err pea_peer_from_certificate(pea_peer *peer, pea_span certificate, pea_error *why);

/* As pea_trust_explain() of the holder of a certificate (PEM, leaf first and then the intermediate ones; or DER): it is
 * verified now, as a handshake with him would, up to the roots that the `ca:` rules of `trust` name; his names are not
 * compared with what is dialled. candidate->vouch is not looked at; `peer` is written. Only whether he has the key is
 * not known.
 * As pea_trust_explain(), where PEA_E_REFUSED may mean the certificate: account->text | PEA_E_FORMAT |
 * PEA_E_UNSUPPORTED | PEA_E_NOMEM: `why` has the sentence. Any thread. */
PEA_API PEA_MUST_CHECK pea_err pea_trust_explain_certificate(pea_trust *trust, pea_span certificate,
                                                             const pea_candidate *candidate, pea_peer *peer,
                                                             pea_trust_account *account, pea_error *why);

/* ---- The stage ---- */

typedef enum pea_tls_version {
    PEA_TLS_ANY = 0, /* the best that both sides have: 1.3 and 1.2 with mbedTLS 3.6.6 and newer; else see docs/tls.md */
    PEA_TLS_1_2 = 0x0303,
    PEA_TLS_1_3 = 0x0304
} pea_tls_version;

typedef struct pea_tls_opts {
    size_t size;            /* set by PEA_TLS */
    pea_identity *identity; /* our certificate and key; referenced. Required but of an initiator with server_only */
    /* Roots that verify certificates, in any of two ways. A peer whose certificate no root verifies is known by its
     * public key alone, and must be let in by that: its certificate then stands alone, self-signed or not. */
    pea_trust *trust; /* the roots that its `ca:` rules name, as they change; referenced; NULL: none */
    pea_span roots;   /* certificates, PEM (any number) or DER (one); copied; empty: none */
    /* versions to speak; PEA_TLS_ANY: the library's choice. PEA_E_UNSUPPORTED where the build has it not */
    pea_tls_version lowest, highest;
    /* protocols (RFC 7301) by preference, NULL at the end; copied. One must be agreed on. NULL: none is asked for.
     * Foreign modes only: native chains agree on PEA_ALPN_NATIVE */
    const char *const *alpn;
    /* Only the responder shows a certificate: its chain must say pea_chain_plain(), and its policy is not asked.
     * Default: both do. */
    bool server_only;
    /* Once mbedTLS's handshake is over its keys are taken over and it is freed: records are sealed and opened by the
     * library's own AEADs, as Noise's are. Several times as fast, and 2 KiB instead of 40 for an idle connection; bytes
     * on the wire are TLS's either way. Off by default, since mbedTLS's code for it is older than ours. */
    bool own_records;
} pea_tls_opts;

#define PEA_TLS(...) (&(pea_tls_opts){.size = sizeof(pea_tls_opts), __VA_ARGS__})
#define PEA_TLS_INIT                                                                              \
    {                                                                                             \
        sizeof(pea_tls_opts), NULL, NULL, {NULL, 0}, PEA_TLS_ANY, PEA_TLS_ANY, NULL, false, false \
    }

/* The library that speaks TLS here and the versions that it speaks with us, "mbedTLS 3.6.6: TLS 1.3, 1.2"; "none" in a
 * build without TLS. Static. Any thread. */
PEA_API const char *pea_tls_library(void);

#ifdef __cplusplus
}
#endif
#endif
