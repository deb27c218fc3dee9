/* SPDX-License-Identifier: MIT */
/* One live connection of a node: send, pause, close, and look at it. All of it on the connection's own thread; a
 * pea_conn * is good until on_disconnect returned. Keep the id, not the pointer, for later. */
#ifndef PEAPOD_CONN_H
#define PEAPOD_CONN_H

#include "peapod/msg.h"
#include "peapod/pipe.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct pea_node pea_node;
typedef struct pea_conn pea_conn;

/* Queues one message (copied): fire and forget. It leaves in the same round of the loop.
 * PEA_OK | PEA_E_QUEUE_FULL (above high water: nothing is queued, on_drain follows) | PEA_E_STATE (not ready, or
 * closing) | PEA_E_TOO_BIG | PEA_E_NOMEM | PEA_E_FORKED */
PEA_API PEA_MUST_CHECK pea_err pea_conn_send(pea_conn *conn, const void *data, size_t len);

/* The same for a shared message; if PEA_OK was returned, on_sent(arg, err) is called exactly once: PEA_OK when its
 * last byte reached the kernel, or why it never will. on_sent may be NULL. Returns as pea_conn_send(). */
PEA_API PEA_MUST_CHECK pea_err pea_conn_send_msg(pea_conn *conn, pea_msg *msg, void (*on_sent)(void *arg, pea_err err),
                                                 void *arg);

/* Writes what is queued now, instead of at the end of this round. */
PEA_API void pea_conn_flush(pea_conn *conn);

/* Inside on_message: the message beyond the call, as shared memory (the caller owns a reference). PEA_OK |
 * PEA_E_NOMEM | PEA_E_STATE (not inside on_message) */
PEA_API PEA_MUST_CHECK pea_err pea_conn_keep(pea_conn *conn, pea_msg **msg);

/* Flushes what is queued, tells the peer code and text (native mode; UTF-8, at most PEA_TEXT_MAX bytes; NULL: ""),
 * lets it read them within linger, then on_disconnect. No on_message after it. Calling it again, or while the
 * connection ends, does nothing. */
PEA_API void pea_conn_close(pea_conn *conn, uint16_t code, const char *text);

/* Drops the connection at once, with what is queued. on_disconnect follows, from the loop, not from inside this
 * call. */
PEA_API void pea_conn_abort(pea_conn *conn);

/* No more messages from this side; the peer's still come (its node wants half_close). PEA_OK | PEA_E_STATE |
 * PEA_E_UNSUPPORTED | PEA_E_FORKED */
PEA_API PEA_MUST_CHECK pea_err pea_conn_end(pea_conn *conn);

/* Stops and restarts reading; no on_message after pause returned. TCP slows the peer down. */
PEA_API void pea_conn_pause(pea_conn *conn);
PEA_API void pea_conn_resume(pea_conn *conn);

/* What a connection is. */
PEA_API uint64_t pea_conn_id(const pea_conn *conn); /* unique in its runtime, never 0, never used again */
PEA_API pea_node *pea_conn_node(const pea_conn *conn);
PEA_API pea_side pea_conn_side(const pea_conn *conn); /* who dialled: PEA_INITIATOR is us */
PEA_API pea_state pea_conn_state(const pea_conn *conn);

/* Whom the stages proved; NULL: nobody. And where it is: PEA_ADDR_NONE while a name is being resolved. Connections keep
 * both in a shorter form: what is asked for first takes 356 and 112 bytes until the end. Where there is no memory then,
 * the kind is PEA_PEER_NONE, the family PEA_ADDR_NONE. pea_conn_snapshot() takes none. */
PEA_API const pea_peer *pea_conn_peer(const pea_conn *conn);
PEA_API const pea_addr *pea_conn_remote(const pea_conn *conn);

/* As pea_pipe_hello(), pea_pipe_binding() (public, never a key) and pea_pipe_export() (secret), from on_connect until
 * on_disconnect returned; and PEA_E_FORKED. */
PEA_API PEA_MUST_CHECK pea_err pea_conn_hello(const pea_conn *conn, pea_hello *hello);
PEA_API PEA_MUST_CHECK pea_err pea_conn_binding(const pea_conn *conn, void *out, size_t *len);
PEA_API PEA_MUST_CHECK pea_err pea_conn_export(const pea_conn *conn, const char *label, const void *context,
                                               size_t context_len, void *out, size_t len);

PEA_API size_t pea_conn_queued(const pea_conn *conn); /* bytes that wait to be written */

/* A pointer of the user's own; NULL at first. */
PEA_API void pea_conn_set_user(pea_conn *conn, void *user);
PEA_API void *pea_conn_user(const pea_conn *conn);

/* A snapshot, by value: it outlives the connection. */
typedef struct pea_conn_info {
    uint64_t id;
    pea_side side;
    pea_state state;
    pea_addr local;  /* PEA_ADDR_NONE where not known */
    pea_addr remote; /* of a name: the address that was tried last; PEA_ADDR_NONE: none was */
    pea_peer peer;   /* PEA_PEER_NONE: nobody was proven. In on_connect_failed after a refusal: who was refused */
    uint64_t messages_in, messages_out, bytes_in, bytes_out; /* bytes as on the wire */
} pea_conn_info;

/* Fills in `*info` as of now. */
PEA_API void pea_conn_snapshot(const pea_conn *conn, pea_conn_info *info);

#ifdef __cplusplus
}
#endif
#endif
