/* SPDX-License-Identifier: MIT */
/* The inside of the TLS engine, shared by the files that are one: library.c (which mbedTLS, and what is safe with
 * it), context.c (certificates and settings), verify.c (is this certificate good), session.c (the handshake) and
 * record.c (what follows it). */
#ifndef PEAPOD_SESSION_PRIV_H
#define PEAPOD_SESSION_PRIV_H

#include <stdatomic.h>

#include <mbedtls/ssl.h>
#include <mbedtls/version.h>
#include <mbedtls/x509_crt.h>
#include <pthread.h>

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
    bool server_only;
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

/* ---- session.c, record.c ---- */

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
    bool extended;     /* extended master secret (RFC 7627) */
    bool encrypted_extensions, over, yielded, said_end, heard_end;
    const char *name; /* that was dialled; during the handshake */
    pea__tls_verdict peer;
    uint64_t blocks, blocks_max; /* of 16 bytes that the sending key has sealed and may seal */
#if PEA__MBEDTLS_2
    /* 2.28 has no exporter: it is made of these. */
    uint8_t master[48], randoms[64];
    mbedtls_tls_prf_types prf;
#endif
    char sentence[PEA_TEXT_MAX + 1];
};

/* mbedTLS's f_send and f_recv. */
int pea__tls_push(void *session, const unsigned char *data, size_t len);
int pea__tls_pull(void *session, unsigned char *data, size_t len);

/* PEA_OK: a whole record lies at the front of session->in | PEA_MORE | PEA_E_PROTO: it can be none, or is too long */
PEA_MUST_CHECK pea_err pea__tls_look(const pea__tls_session *session);

/* A failure of mbedTLS as one of ours; the sentence is set. */
pea_err pea__tls_failed(pea__tls_session *session, int answer);

/* Makes 2.28 tell us the keys that an exporter needs. */
void pea__tls_keep_keys(mbedtls_ssl_config *config);

/* Wipes and frees. */
void pea__tls_session_destroy(pea__tls_session *session);

/* ---- alert.c ---- */

/* "access_denied (49)", as RFC 8446 and 5246 call it. */
void pea__tls_alert_name(char *text, size_t size, int alert);

/* Says a fatal alert. */
void pea__tls_say_alert(pea__tls_session *session, unsigned char alert);

/* Puts the keys in place that an alert has to be sealed with now, where mbedTLS has not. True: take them back. */
bool pea__tls_alert_keys_on(pea__tls_session *session);
void pea__tls_alert_keys_off(pea__tls_session *session);

#endif
