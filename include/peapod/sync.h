/* SPDX-License-Identifier: MIT */
/* A blocking client: one outbound connection over a pipe, without a loop. For tools, tests and scripts; a
 * service wants node.h. One thread at a time; two connections may be used by two threads. Times are in milliseconds,
 * by the monotonic clock; as an argument 0 does not wait. After fork only the parent may use its connections: in the
 * child every call is PEA_E_FORKED, and pea_sync_close() frees without a word to the peer. */
#ifndef PEAPOD_SYNC_H
#define PEAPOD_SYNC_H

#include "peapod/pipe.h"

#ifdef __cplusplus
extern "C" {
#endif

#define PEA_SYNC_FOREVER 0xFFFFFFFFu /* as a time: no deadline */
#define PEA_SYNC_KEPT_BYTES 262144u  /* messages kept while something else is awaited, beside what the pipe holds */

typedef struct pea_sync pea_sync;

typedef struct pea_sync_opts {
    size_t size;            /* set by PEA_SYNC */
    pea_chain *chain;       /* referenced; required */
    pea_codec *codec;       /* referenced; NULL: length, 4 bytes big-endian, 8 MiB */
    pea_policy *policy;     /* referenced; NULL: only the expected peer */
    const pea_peer *expect; /* copied; NULL: whoever the policy allows */
    const char *name;       /* as in PEA_DIAL; copied; NULL: the host that is dialled, if any */
    uint32_t timeout_ms;    /* from the call to READY; 0: 10,000; PEA_SYNC_FOREVER lifts it */
} pea_sync_opts;

#define PEA_SYNC(...) (&(pea_sync_opts){.size = sizeof(pea_sync_opts), __VA_ARGS__})
#define PEA_SYNC_INIT                                          \
    {                                                          \
        sizeof(pea_sync_opts), NULL, NULL, NULL, NULL, NULL, 0 \
    }

/* Dials a literal address (addr.h), or "host.example:9000", whose addresses are tried in turn, and returns when the
 * connection is READY. A name is resolved by getaddrinfo(3) on a thread of its own; one that takes too long is left
 * behind, and frees what it has when it comes back.
 * PEA_OK | PEA_E_FORMAT (the address) | PEA_E_NOT_FOUND (the name) | PEA_E_INVALID | PEA_E_SYS |
 * PEA_E_TIMEOUT | PEA_E_REJECTED (the peer refused us) | PEA_E_REFUSED (we refused it) | any error of a handshake;
 * `why` has the sentence | PEA_E_NOMEM. Policy and stages must answer at once, here and when the policy is asked again
 * later: PEA_WAIT is PEA_E_UNSUPPORTED, and ends the connection. */
PEA_API PEA_MUST_CHECK pea_err pea_sync_connect(pea_sync **sync, const char *addr, const pea_sync_opts *opts,
                                                pea_error *why);

/* Sends one message, and returns when the kernel has all of it. Messages of the peer that come meanwhile are kept for
 * pea_sync_receive(), up to PEA_SYNC_KEPT_BYTES and what the pipe holds; a peer that goes on talking beyond that and
 * does not read runs into the timeout.
 * PEA_OK | PEA_E_TOO_BIG, PEA_E_INVALID (the codec cannot say it), PEA_E_NOMEM: nothing was sent, go on |
 * PEA_E_TIMEOUT (how much of it left is not known, so the connection was dropped) | PEA_E_CLOSED (the peer ended),
 * PEA_E_RESET, ...: the connection ended, see pea_sync_reason(); what was kept can still be received | PEA_E_STATE
 * (ended before) | PEA_E_FORKED */
PEA_API PEA_MUST_CHECK pea_err pea_sync_send(pea_sync *sync, const void *data, size_t len, uint32_t timeout_ms);

/* The next message: `*data` is good until the next call on this connection. An end comes after all messages that came
 * before it, and again at each further call.
 * PEA_OK | PEA_EOF (an orderly, authenticated end) | PEA_EOF_UNAUTHENTICATED | PEA_E_TIMEOUT (nothing is lost: call
 * again) | < 0: the connection ended, see pea_sync_reason() | PEA_E_FORKED */
PEA_API PEA_MUST_CHECK pea_err pea_sync_receive(pea_sync *sync, const uint8_t **data, size_t *len, uint32_t timeout_ms);

/* An orderly end: says CLOSE with code and text (foreign modes: the transform's END), waits at most timeout_ms until
 * it is written and the peer has read it, and frees. Messages that were not received are dropped. NULL is allowed.
 * PEA_OK: the peer ended too | PEA_E_TIMEOUT, PEA_E_RESET, PEA_E_ABORTED (it went on talking) and other errors: it may
 * not have read what was sent last | the error that had ended the connection before | PEA_E_FORKED. It is freed in any
 * case. */
PEA_API pea_err pea_sync_close(pea_sync *sync, uint16_t code, const char *text, uint32_t timeout_ms);

/* Who answered; NULL: a plain chain. Good until pea_sync_close(). */
PEA_API const pea_peer *pea_sync_peer(const pea_sync *sync);

/* Why the connection ended; NULL: it did not, as far as is known. Good until pea_sync_close(). */
PEA_API const pea_reason *pea_sync_reason(const pea_sync *sync);

/* Its socket, for whoever wants to wait for it among others: receive with a timeout of 0 until PEA_E_TIMEOUT before
 * waiting, because messages may be here already; readable does not say that a message is whole. */
PEA_API int pea_sync_fd(const pea_sync *sync);

#ifdef __cplusplus
}
#endif
#endif
