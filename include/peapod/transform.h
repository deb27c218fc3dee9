/* SPDX-License-Identifier: MIT */
/* The second interface: a transform turns plaintext into wire bytes and back, for the rest of a connection. It sees
 * buffers only. */
#ifndef PEAPOD_TRANSFORM_H
#define PEAPOD_TRANSFORM_H

#include "peapod/buf.h"

#ifdef __cplusplus
extern "C" {
#endif

#define PEA_TRANSFORM_VERSION 1u

/* most bytes of one write on the wire: a loopback segment holds 65,483, and a second one costs */
#define PEA_WRITE_MAX 61440u

typedef enum pea_control {
    PEA_CONTROL_END = 1,  /* say that no more comes from this side (TLS: close_notify) */
    PEA_CONTROL_REKEY = 2 /* change the sending key */
} pea_control;

typedef enum pea_query {
    /* out: at most 64 bytes that name this channel, the same on both sides; public. `*out_len` is what was written */
    PEA_QUERY_BINDING = 1,
    PEA_QUERY_EXPORT = 2, /* in: a label, then a zero byte and a context if needed; out: secret bytes, *len of them */
    PEA_QUERY_CIPHER = 3, /* out: the suite's name, not terminated */
    PEA_QUERY_ALPN = 4,   /* out: the application protocol, not terminated */
    PEA_QUERY_FAILURE = 5 /* out: a sentence about its sticky error, not terminated: the peer's alert, by name */
} pea_query;

/* All of them are called on the connection's thread. Errors are sticky: after one the same function is not called
 * again. */
typedef struct pea_transform_ops {
    uint32_t version; /* PEA_TRANSFORM_VERSION */
    const char *name;
    /* Wire to plain: consumes whole records from `wire` and no byte beyond, appends their plaintext, stops once `max`
     * or more was appended (so less than max + one record); a partial record stays. What it appended before an error
     * is good and is delivered first. `reply` (an alert, a key update) is sent even on error.
     * PEA_OK: needs more wire | PEA_AGAIN: stopped at `max`, call again even if `wire` is empty | PEA_EOF:
     * authenticated end | < 0 */
    pea_err (*unseal)(void *self, pea_buf *wire, pea_buf *plain, size_t max, pea_buf *reply);
    /* Plain to wire. Packs the spans into as few records as it can and appends them. Reserves first: on failure
     * `wire` is as before, and the failure is fatal.
     * PEA_OK | PEA_EOF: it is done, and the key nears its limit: what is queued and a farewell still fit, then the
     * connection has to end | PEA_E_NOMEM | PEA_E_KEY_LIMIT: the limit would be passed | PEA_E_TOO_BIG
     * (one_message_per_record only) | < 0 */
    pea_err (*seal)(void *self, const pea_span *spans, size_t n, pea_buf *wire);
    /* May be NULL: nothing to say. PEA_OK | PEA_E_UNSUPPORTED | < 0 */
    pea_err (*control)(void *self, pea_control what, pea_buf *wire);
    /* FIN was seen with no partial record left. PEA_EOF: that was an authenticated end | PEA_E_TRUNCATED; NULL:
     * nobody can tell. */
    pea_err (*wire_end)(void *self);
    /* May be NULL. `*len` is the room at `out`, then what was written. PEA_OK | PEA_E_UNSUPPORTED | PEA_E_TOO_BIG
     * (room) | < 0 */
    pea_err (*query)(void *self, pea_query what, pea_span in, void *out, size_t *len);
    /* Wipes secrets and frees. */
    void (*destroy)(void *self);
} pea_transform_ops;

/* What a stage yields. */
typedef struct pea_transform {
    const pea_transform_ops *ops;
    void *self;
    uint32_t record_plain; /* most plaintext of one record; 0: no limit */
    /* extra bytes of one record; record_plain + overhead <= PEA_WRITE_MAX unless one_message_per_record */
    uint32_t overhead;
    /* unseal() gives one record a call (PEA_AGAIN: it did; PEA_OK: it needs more), seal() gets one message */
    bool one_message_per_record;
} pea_transform;

#ifdef __cplusplus
}
#endif
#endif
