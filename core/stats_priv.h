/* SPDX-License-Identifier: MIT */
/* What a node counts for ever. Each loop thread of its runtime has a tally of its own and is the only one that writes
 * it, so that counting takes neither a lock nor a locked instruction, and whoever reads adds them up. */
#ifndef PEAPOD_STATS_PRIV_H
#define PEAPOD_STATS_PRIV_H

#include <stdatomic.h>

#include "peapod/stats.h"

/* Where in a tally a number is; those with several places are followed by what tells them apart. */
enum pea__tally_at {
    PEA__T_MESSAGES_IN,
    PEA__T_MESSAGES_OUT,
    PEA__T_BYTES_IN,
    PEA__T_BYTES_OUT,
    PEA__T_QUEUE_FULL,
    PEA__T_PAUSES,
    PEA__T_DROPPED,
    PEA__T_ACCEPTED,
    PEA__T_DIALLED,
    PEA__T_CONNECTS,
    PEA__T_DISCONNECTS,                                 /* by origin */
    PEA__T_FAILURES = PEA__T_DISCONNECTS + PEA_ORIGINS, /* by origin */
    PEA__T_CONNECT_TIMEOUTS = PEA__T_FAILURES + PEA_ORIGINS,
    PEA__T_HANDSHAKE_TIMEOUTS,
    PEA__T_REFUSED, /* by reason */
    PEA__T_ACCEPT_PAUSES = PEA__T_REFUSED + PEA_REFUSALS,
    PEA__TALLIES,
    /* What is true now stands behind, in what pea__stats_read() gives. */
    PEA__T_PENDING = PEA__TALLIES,
    PEA__T_READY,
    PEA__T_LISTENERS,
    PEA__STATS
};

typedef struct pea__tally {
    atomic_uint_fast64_t n[PEA__TALLIES];
    uint64_t apart[8]; /* two threads' tallies share no cache line */
} pea__tally;

/* On the thread whose tally it is. */
static inline void pea__tally_add(pea__tally *tally, unsigned at, uint64_t n)
{
    uint64_t now = atomic_load_explicit(&tally->n[at], memory_order_relaxed);
    atomic_store_explicit(&tally->n[at], now + n, memory_order_relaxed);
}

/* All that is known of a node, as of now. Any thread. */
void pea__stats_read(const pea_node *node, uint64_t stats[PEA__STATS]);

/* Counts for the connection's node. On the connection's thread. */
void pea__conn_tally(const pea_conn *conn, enum pea__tally_at at, uint64_t n);

/* The messages since it was called last: they are counted by the batch. */
void pea__conn_tally_messages(pea_conn *conn);

/* It is over, for this reason. */
void pea__conn_tally_end(pea_conn *conn, const pea_reason *reason);

#endif
