/* SPDX-License-Identifier: MIT */
/* The TLS engine as the stage in handshake/ sees it: bytes in, bytes out, and the moments at which somebody has to
 * decide. It names nothing of mbedTLS, and knows no connection. */
#ifndef PEAPOD_TLS_PRIV_H
#define PEAPOD_TLS_PRIV_H

#include "peapod/stage.h"
#include "peapod/tls.h"

/* Bytes of a TLS record on the wire: its header, 2^14 of content, and what TLS 1.2 lets a cipher add (RFC 5246,
 * 6.2.3). */
#define PEA__TLS_HEADER_BYTES 5u
#define PEA__TLS_RECORD_MAX (PEA__TLS_HEADER_BYTES + 16384u + 2048u)

/* What mbedTLS takes from malloc() for a connection and keeps to its end: a buffer of a record for each direction
 * (MBEDTLS_SSL_IN_CONTENT_LEN and MBEDTLS_SSL_OUT_CONTENT_LEN: 2^14 bytes, and what a cipher adds), keys, and the
 * peer's certificate. tests/net/cost_test.c measures some 37,200 bytes with 2.28.3 and a small certificate, 44,000 with
 * 3.6.6; rounded up. */
#define PEA__TLS_LIBRARY_BYTES 45056u

/* Readies libsodium and mbedTLS: before any thread of ours uses it. PEA_OK | PEA_E_UNSUPPORTED */
PEA_MUST_CHECK pea_err pea__tls_init(pea_error *why);

/* What a log should say once of the library in use; NULL: nothing. Static. Any thread. */
const char *pea__tls_notice(void);

/* ---- What connections share ---- */

/* The options of one chain, checked. Reference-counted, any thread; each thread that uses it parses the certificates
 * for itself, since objects of mbedTLS are not shared between threads. */
typedef struct pea__tls pea__tls;

/* As pea_chain_tls() says. */
PEA_MUST_CHECK pea_err pea__tls_new(pea__tls **tls, const pea_tls_opts *opts, bool native, pea_error *why);
pea__tls *pea__tls_ref(pea__tls *tls);
void pea__tls_unref(pea__tls *tls);

/* ---- One side of one connection ---- */

typedef struct pea__tls_session pea__tls_session;

/* `name`: what this side dialled and the peer's certificate has to prove, good until the handshake is over; NULL:
 * none. Where it fails, `why` has a sentence.
 * PEA_OK | PEA_E_NOMEM | PEA_E_INVALID (a responder without a certificate; a name that is none) | PEA_E_FORMAT (a
 * root) */
PEA_MUST_CHECK pea_err pea__tls_session_new(pea__tls_session **session, pea__tls *tls, pea_side side, const char *name,
                                            pea_error *why);

/* Wipes and frees, unless a transform has it. NULL is allowed. */
void pea__tls_session_free(pea__tls_session *session);

/* Goes on with the handshake: takes whole records from `in`, and no byte beyond its own; what it has to say goes to
 * `out`, an alert also when it fails. PEA_MORE: needs more | PEA_AGAIN: the peer showed who it is, and before this
 * side says more it may be refused; said once | PEA_DONE: both sides proved what they had to | PEA_E_REJECTED: by an
 * alert | PEA_E_REFUSED: its certificate is no good | < 0; pea__tls_sentence() says what it was */
PEA_MUST_CHECK pea_err pea__tls_step(pea__tls_session *session, pea_buf *in, pea_buf *out);
const char *pea__tls_sentence(const pea__tls_session *session);

/* Who the peer is, from PEA_AGAIN on. False: it showed no certificate, and none was asked for. */
bool pea__tls_peer(const pea__tls_session *session, pea_peer *peer);

/* What a configured root says of the peer; NULL: none does. Good as long as the session. */
const pea_vouch *pea__tls_vouch(const pea__tls_session *session);

/* A peer that the policy refuses: true if the sentence, which is set then, says more than the policy can, that no
 * configured root verifies it either. */
bool pea__tls_untrusted(pea__tls_session *session);

/* Says the alert that refuses such a peer. */
void pea__tls_refuse(pea__tls_session *session, pea_buf *out);

/* After PEA_DONE: the transform of this side; it owns the session from here on. */
void pea__tls_yield(pea__tls_session *session, pea_transform *transform);

#endif
