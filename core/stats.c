/* SPDX-License-Identifier: MIT */
/* What connections and nodes have counted, for whoever asks. As text it is made in openmetrics.c. */
#include "runtime_priv.h"

_Static_assert(PEA_BY_SHUTDOWN + 1 == PEA_ORIGINS, "a new origin needs a place in pea_stats_node");

/* ---- Connections ---- */

static uint64_t ms_since(int64_t then, int64_t now)
{
    return now > then ? (uint64_t)(now - then) : 0;
}

void pea_conn_stats(const pea_conn *c, pea_stats_conn *stats)
{
    int64_t now = pea__now_ms();
    uint64_t queued = pea_pipe_queued(c->pipe);
    *stats = (pea_stats_conn){.messages_in = c->messages_in,
                              .messages_out = c->messages_out,
                              .bytes_in = c->bytes_in,
                              .bytes_out = c->bytes_out,
                              .queue_full = c->queue_full,
                              .pauses = c->pauses,
                              .dropped = c->dropped,
                              .queued = queued,
                              .queued_most = queued > c->queued_most ? queued : c->queued_most,
                              .age_ms = ms_since(c->born_ms, now),
                              .silent_ms = ms_since(c->heard_ms != 0 ? c->heard_ms : c->born_ms, now)};
}

void pea__conn_tally(const pea_conn *c, enum pea__tally_at at, uint64_t n)
{
    pea__tally_add(&c->node->tally[c->worker->index], at, n);
}

void pea__conn_tally_messages(pea_conn *c)
{
    if (!c->ready)
        return;
    uint32_t in = (uint32_t)c->messages_in - c->told_in, out = (uint32_t)c->messages_out - c->told_out;
    if (in > 0)
        pea__conn_tally(c, PEA__T_MESSAGES_IN, in);
    if (out > 0)
        pea__conn_tally(c, PEA__T_MESSAGES_OUT, out);
    c->told_in += in;
    c->told_out += out;
}

void pea__conn_tally_end(pea_conn *c, const pea_reason *reason)
{
    unsigned origin = (unsigned)reason->origin < PEA_ORIGINS ? (unsigned)reason->origin : PEA_BY_NOBODY;
    pea__tally *t = &c->node->tally[c->worker->index];
    pea__conn_tally_messages(c);
    pea__tally_add(t, (c->ready ? PEA__T_DISCONNECTS : PEA__T_FAILURES) + origin, 1);
    if (!c->ready && reason->origin == PEA_BY_TIMEOUT)
        pea__tally_add(t, c->connecting ? PEA__T_CONNECT_TIMEOUTS : PEA__T_HANDSHAKE_TIMEOUTS, 1);
}

/* ---- Nodes ---- */

void pea__stats_read(const pea_node *node, uint64_t stats[PEA__STATS])
{
    for (unsigned at = 0; at < PEA__TALLIES; at++) {
        stats[at] = 0;
        for (uint32_t i = 0; i <= node->runtime->n_threads; i++)
            stats[at] += atomic_load_explicit(&node->tally[i].n[at], memory_order_relaxed);
    }
    stats[PEA__T_PENDING] = node->counts.pending;
    stats[PEA__T_READY] = node->counts.ready;
    stats[PEA__T_LISTENERS] = node->counts.listeners;
}

void pea_node_stats(const pea_node *node, pea_stats_node *stats)
{
    uint64_t s[PEA__STATS];
    pea__stats_read(node, s);
    *stats = (pea_stats_node){.connections = node->counts.connections,
                              .pending = (uint32_t)s[PEA__T_PENDING],
                              .ready = (uint32_t)s[PEA__T_READY],
                              .listeners = (uint32_t)s[PEA__T_LISTENERS],
                              .messages_in = s[PEA__T_MESSAGES_IN],
                              .messages_out = s[PEA__T_MESSAGES_OUT],
                              .bytes_in = s[PEA__T_BYTES_IN],
                              .bytes_out = s[PEA__T_BYTES_OUT],
                              .queue_full = s[PEA__T_QUEUE_FULL],
                              .pauses = s[PEA__T_PAUSES],
                              .dropped = s[PEA__T_DROPPED],
                              .accepted = s[PEA__T_ACCEPTED],
                              .dialled = s[PEA__T_DIALLED],
                              .connects = s[PEA__T_CONNECTS],
                              .connect_timeouts = s[PEA__T_CONNECT_TIMEOUTS],
                              .handshake_timeouts = s[PEA__T_HANDSHAKE_TIMEOUTS],
                              .accept_pauses = s[PEA__T_ACCEPT_PAUSES]};
    for (unsigned i = 0; i < PEA_ORIGINS; i++) {
        stats->disconnects[i] = s[PEA__T_DISCONNECTS + i];
        stats->failures[i] = s[PEA__T_FAILURES + i];
    }
    for (unsigned i = 0; i < PEA_REFUSALS; i++)
        stats->refused[i] = s[PEA__T_REFUSED + i];
}
