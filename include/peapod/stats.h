/* SPDX-License-Identifier: MIT */
/* Numbers to look at: of one connection, of one node over its whole life, and of many nodes as OpenMetrics text.
 * What each of them means is in docs/stats.md. */
#ifndef PEAPOD_STATS_H
#define PEAPOD_STATS_H

#include "peapod/buf.h"
#include "peapod/node.h"

#ifdef __cplusplus
extern "C" {
#endif

#define PEA_ORIGINS 9 /* how many pea_origin there are: they index arrays */

/* One connection since it was dialled or accepted. Counters never go back. */
typedef struct pea_stats_conn {
    uint64_t messages_in, messages_out; /* handed out; taken by pea_conn_send() and its kind */
    uint64_t bytes_in, bytes_out;       /* as on the wire */
    uint64_t queue_full;                /* sends that were refused with PEA_E_QUEUE_FULL */
    uint64_t pauses;                    /* times that reading was paused by pea_conn_pause() */
    uint64_t dropped;                   /* messages that came meanwhile and were dropped (PEA_OVERFLOW_DROP) */
    uint64_t queued;                    /* bytes that wait to be written, now */
    uint64_t queued_most;               /* and the most that ever waited when a write began */
    uint64_t age_ms;                    /* since it was dialled or accepted */
    uint64_t silent_ms; /* since the last byte was received; as the idle timeout has it, a resume counts as one */
} pea_stats_conn;

/* Fills in `*stats` as of now. On the connection's thread. */
PEA_API void pea_conn_stats(const pea_conn *conn, pea_stats_conn *stats);

/* One node since it was made: sums over all of its connections, living and gone, and how they came and went. Counters
 * never go back. */
typedef struct pea_stats_node {
    uint32_t connections, pending, ready, listeners; /* now, as in pea_counts */
    uint64_t messages_in, messages_out, bytes_in, bytes_out;
    uint64_t queue_full, pauses, dropped;
    uint64_t accepted, dialled;        /* connections that began */
    uint64_t connects;                 /* and became READY */
    uint64_t disconnects[PEA_ORIGINS]; /* those of them that ended, by pea_origin */
    uint64_t failures[PEA_ORIGINS];    /* those that ended without ever being READY, by pea_origin */
    uint64_t connect_timeouts;         /* among the failures: the socket was not connected in time */
    uint64_t handshake_timeouts;       /* among the failures: connected, but not READY in time */
    uint64_t refused[PEA_REFUSALS];    /* turned away before there was a connection, by pea_refusal */
    uint64_t accept_pauses;            /* times that accepting rested because descriptors or memory were exhausted */
} pea_stats_node;

/* Fills in `*stats`. What a connection counts is added to its node's after each batch of events and at its end: inside
 * of a callback the messages of the same batch may be missing yet. Where there are worker threads, two numbers may be
 * of slightly different moments. Any thread, as long as the node is not freed meanwhile; takes no lock. */
PEA_API void pea_node_stats(const pea_node *node, pea_stats_node *stats);

/* The Content-Type of what pea_stats_openmetrics() writes. */
#define PEA_OPENMETRICS_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"

/* Appends one complete exposition of `n` nodes (0 is allowed) to `out`, in the text format of OpenMetrics 1.0, "# EOF"
 * included. Nodes are told apart by their names, as the label `node`, and come in the order of these. They may be of
 * several runtimes.
 * PEA_OK | PEA_E_EXISTS (two nodes of one name) | PEA_E_FORMAT (a name is not UTF-8) | PEA_E_NOMEM. On failure `out`
 * is as before. Any thread, as pea_node_stats(). */
PEA_API PEA_MUST_CHECK pea_err pea_stats_openmetrics(pea_buf *out, const pea_node *const *nodes, size_t n,
                                                     pea_error *why);

#ifdef __cplusplus
}
#endif
#endif
