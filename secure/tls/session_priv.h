/* SPDX-License-Identifier: MIT */
/* The inside of the TLS engine, shared by the files that are one: library.c (which mbedTLS, and what is safe with
 * it), context.c (certificates and settings), verify.c (is this certificate good), session.c (the handshake), and what
 * follows it: record.c (by mbedTLS) or own_record.c (by ourselves, with key_schedule.c); exporter.c. */
#ifndef PEAPOD_SESSION_PRIV_H
#define PEAPOD_SESSION_PRIV_H

#include <stdatomic.h>

#include <mbedtls/md.h>
#include <mbedtls/ssl.h>
#include <mbedtls/version.h>
#include <mbedtls/x509_crt.h>
#include <pthread.h>

#include "aead/aead_priv.h"
#include "buf_priv.h"
#include "certificate_priv.h"
#include "err_priv.h"
#include "secure_priv.h"
#include "tls_priv.h"

#if MBEDTLS_VERSION_NUMBER < 0x021C0000 ||                                           \
    (MBEDTLS_VERSION_NUMBER >= 0x021D0000 && MBEDTLS_VERSION_NUMBER < 0x03060000) || \
    MBEDTLS_VERSION_NUMBER >= 0x03070000
#error "mbedTLS must be 3.6 or 2.28"
#endif
#if !defined(MBEDTLS_SSL_PROTO_TLS1_2) || !defined(MBEDTLS_SSL_ALPN) || !defined(MBEDTLS_SSL_KEEP_PEER_CERTIFICATE) || \
    !defined(MBEDTLS_HAVE_TIME_DATE) || !defined(MBEDTLS_GCM_C)
#error "this mbedTLS was built without something that peapod needs: TLS 1.2, ALPN, the peer's certificate, dates, GCM"
#endif
#if MBEDTLS_VERSION_NUMBER < 0x03000000
#define PEA__MBEDTLS_2 1 /* 2.28 */
#define MBEDTLS_PRIVATE(member) member
#else
#define PEA__MBEDTLS_2 0
#endif
#if !PEA__MBEDTLS_2 && defined(MBEDTLS_SSL_PROTO_TLS1_3)
#define PEA__TLS13 1
#else
#define PEA__TLS13 0
#endif

/* ---- library.c ---- */

/* The versions that this mbedTLS can be trusted with. */
bool pea__tls_speaks(pea_tls_version version);

/* ---- context.c ---- */

/* One thread's certificates and settings. */
typedef struct pea__tls_context {
    struct pea__tls_context *next;
    pea__tls *tls;
    const void *thread;     /* whose it is */
    uint64_t roots_version; /* of the trust's */
    size_t sessions;        /* that use it; under the lock of `tls` */
    bool has_roots;
    mbedtls_x509_crt roots; /* without any: an empty one, since mbedTLS wants a list */
    mbedtls_x509_crt own;
    mbedtls_pk_context key;
    mbedtls_ssl_config config[2]; /* by side */
} pea__tls_context;

struct pea__tls {
    atomic_uint refs;
    pea_identity *identity; /* NULL: none */
    pea_trust *trust;       /* NULL: none */
    pea_buf roots;          /* a list: pea__roots_add() */
    pea_tls_version lowest, highest;
    const char **alpn; /* NULL at the end, in one piece with its texts; NULL: none */
    bool server_only, own_records;
    pthread_mutex_t lock;
    pea__tls_context *contexts;
};

/* This thread's, parsed now if it has none of this version. PEA_OK | PEA_E_NOMEM | PEA_E_FORMAT */
PEA_MUST_CHECK pea_err pea__tls_context_get(pea__tls_context **context, pea__tls *tls, pea_error *why);
void pea__tls_context_put(pea__tls_context *context);

/* ---- verify.c ---- */

/* What was found out about the peer's certificate. */
typedef struct pea__tls_verdict {
    uint32_t flags; /* MBEDTLS_X509_BADCERT_*: all that is wrong with any of the chain */
    bool begun;     /* the first certificate of the chain was seen: the one on top */
    bool known;     /* `id` is the peer's */
    bool vouched;   /* up to a configured root */
    bool alone;     /* one certificate, which no root verifies: its key has to be let in by itself */
    bool a_ca;      /* the peer shows an authority's certificate as its own */
    bool bad_names; /* its names cannot be read */
    bool no_memory;
    uint8_t id[PEA_ID_BYTES];
    pea__certificate_names names;
    pea_vouch vouch;
} pea__tls_verdict;

/* mbedTLS's f_vrfy; `session` is a pea__tls_session. Called for each certificate of the chain, the topmost first. */
int pea__tls_verify(void *session, mbedtls_x509_crt *crt, int depth, uint32_t *flags);

/* What `flags` say, as a sentence. */
void pea__tls_verify_text(char *text, size_t size, const pea__tls_session *session, uint32_t flags);

/* ---- key_schedule.c: what a handshake leaves ---- */

#define PEA__TLS_HASH_MAX 48u /* SHA-384 */
#define PEA__TLS_MASTER_BYTES 48u

typedef struct pea__tls_secrets {
    pea_tls_version version;
    pea__aead_id aead;
    mbedtls_md_type_t md; /* of TLS 1.3's key schedule */
    mbedtls_tls_prf_types prf;
    bool master_kept, traffic_kept[2];     /* mbedTLS told them */
    bool extended;                         /* TLS 1.2: extended master secret (RFC 7627) */
    uint8_t exporter[PEA__TLS_HASH_MAX];   /* exporter_master_secret; TLS 1.2: the master secret */
    uint8_t randoms[64];                   /* TLS 1.2: the client's, the server's */
    uint8_t traffic[2][PEA__TLS_HASH_MAX]; /* TLS 1.3, with own records: the client's, the server's */
} pea__tls_secrets;

/* One direction's. */
typedef struct pea__tls_keys {
    uint64_t number; /* of the next record */
    uint64_t blocks; /* that were sealed */
    uint8_t k[PEA__AEAD_KEY_BYTES];
    uint8_t iv[PEA__AEAD_NONCE_BYTES];
    uint8_t secret[PEA__TLS_HASH_MAX]; /* TLS 1.3: of which the next one is made */
} pea__tls_keys;

/* Notes cipher and hash of the suite of this name. PEA_OK | PEA_E_UNSUPPORTED */
PEA_MUST_CHECK pea_err pea__tls_suite(pea__tls_secrets *secrets, const char *name);

/* The keys of the first records behind the handshake: the client's, the server's; their numbers are the caller's.
 * PEA_OK | PEA_E_NOMEM */
PEA_MUST_CHECK pea_err pea__tls_first_keys(const pea__tls_secrets *secrets, pea__tls_keys keys[2]);

/* TLS 1.3: the next key. PEA_OK | PEA_E_NOMEM, and what is there can be used no more */
PEA_MUST_CHECK pea_err pea__tls_update_keys(pea__tls_keys *keys, pea__aead_id aead, mbedtls_md_type_t md);

/* Returns the hash's length; 0: it failed. */
size_t pea__tls_hash(mbedtls_md_type_t md, pea_span of, uint8_t out[PEA__TLS_HASH_MAX]);

/* HKDF-Expand-Label with a secret as long as the hash. PEA_OK | PEA_E_TOO_BIG | PEA_E_NOMEM */
PEA_MUST_CHECK pea_err pea__tls_expand_label(mbedtls_md_type_t md, const uint8_t *secret, const char *label,
                                             pea_span context, uint8_t *out, size_t len);

/* ---- exporter.c ---- */

/* `in`: a label, then a zero byte and a context if needed. PEA_OK | PEA_E_TOO_BIG | PEA_E_UNSUPPORTED | PEA_E_NOMEM */
PEA_MUST_CHECK pea_err pea__tls_export(const pea__tls_secrets *secrets, pea_span in, void *out, size_t len);
PEA_MUST_CHECK pea_err pea__tls_binding(const pea__tls_secrets *secrets, void *out, size_t *len);

/* ---- session.c, record.c ---- */

typedef struct pea__tls_own pea__tls_own;

struct pea__tls_session {
    mbedtls_ssl_context ssl;
    pea__tls_context *context;
    pea_side side;
    pea_buf *in, *out; /* during a call */
    size_t record;     /* bytes of the record being handed over that mbedTLS has not fetched */
    pea_err broken;    /* what mbedTLS's callbacks found wrong */
    int alert;         /* the peer's fatal one; -1: none */
    bool strict;       /* the peer's records must say which version of TLS they are of */
    bool asked;        /* PEA_AGAIN was said */
    bool hello_seen;   /* the ServerHello went by */
    bool encrypted_extensions, over, yielded, said_end, heard_end;
    const char *name; /* that was dialled; during the handshake */
    pea__tls_verdict peer;
    uint64_t blocks; /* of AES-GCM that the sending key has sealed; ChaChaPoly has none */
    pea__tls_secrets secrets;
    pea__tls_own *own; /* when the handshake is over, with own records; NULL: mbedTLS's */
    char sentence[PEA_TEXT_MAX + 1];
};

/* mbedTLS's f_send and f_recv. */
int pea__tls_push(void *session, const unsigned char *data, size_t len);
int pea__tls_pull(void *session, unsigned char *data, size_t len);

/* PEA_OK: a whole record lies at the front | PEA_MORE | PEA_E_PROTO: it can be none, or is too long. `strict`: it must
 * say which version of TLS it is of */
PEA_MUST_CHECK pea_err pea__tls_look(const pea_buf *in, bool strict);

/* A failure of mbedTLS as one of ours; the sentence is set. */
pea_err pea__tls_failed(pea__tls_session *session, int answer);

/* Makes mbedTLS tell us its secrets; in 2.28 that is a setting of all sessions, in 3.6 of each. */
void pea__tls_keep_keys(mbedtls_ssl_config *config);

/* Says how much plaintext fills a write, in records of so much. */
void pea__tls_fill_writes(pea_transform *transform, size_t payload, size_t expansion, size_t room);

/* A query's answer; NULL: PEA_E_UNSUPPORTED. */
PEA_MUST_CHECK pea_err pea__tls_answer(const char *text, void *out, size_t *len);

extern const char pea__tls_not_authentic[]; /* what is said of a record that cannot be opened */

/* Wipes and frees. */
void pea__tls_session_destroy(pea__tls_session *session);

/* ---- own_record.c ---- */

struct pea__tls_own {
    pea__tls *tls; /* whose `alpn` is */
    const char *suite, *alpn, *failure;
    int alert; /* the peer's fatal one; -1: none */
    pea_side side;
    pea__tls_secrets secrets; /* the exporter's; those of traffic are wiped */
    pea__tls_keys send, receive;
    /* Of the handshake's message that is being read. */
    uint8_t head[4];
    uint8_t head_len;
    uint32_t left;        /* bytes of its body */
    uint16_t content_max; /* bytes of plaintext that the peer takes in a record (RFC 6066) */
    uint16_t idle;        /* records in a row that carried no data */
    bool update_owed;     /* the peer wants our key changed before we say more */
    bool declined;        /* to begin anew; once */
    bool said_end, heard_end;
};

/* Takes over from a session whose handshake is over: it may be destroyed. PEA_OK | PEA_E_NOMEM */
PEA_MUST_CHECK pea_err pea__tls_own_new(pea__tls_own **own, const pea__tls_session *session);

/* Seals a record of any type; for tests and within. PEA_OK | PEA_E_NOMEM | PEA_E_KEY_LIMIT | PEA_E_CRYPTO */
PEA_MUST_CHECK pea_err pea__tls_own_say(pea__tls_own *own, uint8_t type, const uint8_t *data, size_t len,
                                        pea_buf *wire);
void pea__tls_own_free(pea__tls_own *own); /* wipes; NULL is allowed */

/* It is the transform's from here on. */
void pea__tls_own_yield(pea__tls_own *own, pea_transform *transform);

/* ---- alert.c ---- */

/* "the peer's alert: access_denied (49)", as RFC 8446 and 5246 call it. */
void pea__tls_alert_text(char *text, size_t size, int alert);

/* Says a fatal alert. */
void pea__tls_say_alert(pea__tls_session *session, unsigned char alert);

/* Puts the keys in place that an alert has to be sealed with now, where mbedTLS has not. True: take them back. */
bool pea__tls_alert_keys_on(pea__tls_session *session);
void pea__tls_alert_keys_off(pea__tls_session *session);

#endif
