/* SPDX-License-Identifier: MIT */
/* What conn.c may know of a pipe beyond pipe.h. */
#ifndef PEAPOD_PIPE_PRIV_H
#define PEAPOD_PIPE_PRIV_H

#include <string.h>

#include "addr_priv.h"
#include "buf_priv.h"
#include "peapod/pipe.h"

/* As pea_pipe_new(), for a connection of a runtime: its buffers come from `pool`, the peer is at `remote` (both outlive
 * it), its tickets carry these ids; runtime_id is not 0. */
PEA_MUST_CHECK pea_err pea__pipe_new(pea_pipe **pipe, pea_chain *chain, const pea_pipe_opts *opts, pea__pool *pool,
                                     pea__place *remote, uint64_t runtime_id, uint64_t conn_id, pea_error *why);

/* For confirmed sends. Bytes that were queued ever; and of these, in the same order, how many have left
 * through pea_pipe_sent() with all their records. A message that was queued when queued_total was N has left
 * when sent_total >= N. */
const pea_chain *pea__pipe_chain(const pea_pipe *pipe);
uint64_t pea__pipe_queued_total(const pea_pipe *pipe);
uint64_t pea__pipe_sent_total(const pea_pipe *pipe);

/* Ends the pipe for a reason of the driver's (shutdown, timeout, policy), with the farewell that the moment allows:
 * REJECT or CLOSE with reason->code and reason->text. As pea_pipe_close() otherwise. A pipe that is ending already
 * keeps the reason that it has. */
void pea__pipe_finish(pea_pipe *pipe, const pea_reason *reason);

/* As pea_pipe_feed(), where `headroom` bytes before `data` may be written: a short unfinished rest is put there, so
 * that nothing of `data` is copied. */
PEA_MUST_CHECK pea_err pea__pipe_lend(pea_pipe *pipe, uint8_t *data, size_t n, size_t headroom, size_t *taken);

/* Copies what was lent by pea_pipe_feed() and not yet consumed: for a driver that stops before
 * pea_pipe_next() said PEA_MORE.
 * PEA_OK | PEA_E_NOMEM */
PEA_MUST_CHECK pea_err pea__pipe_hold(pea_pipe *pipe);

/* Takes a DRAIN that is due, alone: for a connection that is paused, whose messages wait. */
bool pea__pipe_take_drain(pea_pipe *pipe);

/* The pipe is to ask before it accepts its peer: a native initiator before its ACCEPT and before READY, a native
 * responder before its ACCEPT. Before the first next(). */
void pea__pipe_gate(pea_pipe *pipe);

/* HELLO says that it is to take the place of another connection with the same peer. Before the first next(). */
void pea__pipe_replace(pea_pipe *pipe);
bool pea__pipe_replaces(const pea_pipe *pipe); /* whichever side dialled: once the initiator's HELLO has been heard */

bool pea__pipe_said_end(const pea_pipe *pipe); /* pea_pipe_end() */

/* opts->name is that of the host that was dialled: the policy is shown it with the port, because a host may have many
 * peers. Before the first next(). */
void pea__pipe_name_has_port(pea_pipe *pipe);

/* opts->remote, which was given, is known only now: an IP address. Where no connection owns the pipe. */
void pea__pipe_set_remote(pea_pipe *pipe, const pea_addr *remote);

/* After next() said PEA_MORE: whether it asks; once for each question. pea__pipe_admit() says yes. */
bool pea__pipe_take_ask(pea_pipe *pipe);
void pea__pipe_admit(pea_pipe *pipe);

/* The pipe's stages are to be paid for (pea_stage_pay()): after next() said PEA_MORE the bill is taken, once, and paid
 * at any time after. */
void pea__pipe_meter(pea_pipe *pipe);
bool pea__pipe_take_bill(pea_pipe *pipe);
void pea__pipe_paid(pea_pipe *pipe);

/* Whether the peer has said ACCEPT. */
bool pea__pipe_accepted(const pea_pipe *pipe);

/* Who we are on this connection; PEA_PEER_NONE: nobody. */
const pea_peer *pea__pipe_self(const pea_pipe *pipe);

/* What tells peers apart. */
typedef struct pea__who {
    pea_peer_kind kind;
    uint8_t id[PEA_ID_BYTES];
} pea__who;

static inline pea__who pea__who_of(const pea_peer *peer)
{
    pea__who who = {.kind = peer->kind};
    memcpy(who.id, peer->id, sizeof who.id);
    return who;
}

static inline bool pea__who_equal(const pea__who *a, const pea__who *b)
{
    return a->kind == b->kind && memcmp(a->id, b->id, PEA_ID_BYTES) == 0;
}

/* Whom the policy is not asked about, like ourselves: who our node was before. Before the first next(). PEA_OK |
 * PEA_E_NOMEM */
PEA_MUST_CHECK pea_err pea__pipe_was_us(pea_pipe *pipe, const pea__who *who);

/* Whom the stages proved; NULL: nobody. Unlike pea_pipe_peer() it takes no memory. */
const pea__who *pea__pipe_who(const pea_pipe *pipe);

/* As pea_pipe_peer() and pea_pipe_refused(), but copied. False: nobody, and nothing is written. */
bool pea__pipe_copy_peer(const pea_pipe *pipe, pea_peer *peer);
bool pea__pipe_copy_refused(const pea_pipe *pipe, pea_peer *peer);

/* Queues a PING; its PONG is nobody's event. Nothing happens where there is none (foreign modes, the end). PEA_OK |
 * PEA_E_NOMEM */
PEA_MUST_CHECK pea_err pea__pipe_ping(pea_pipe *pipe);

typedef struct pea__lent pea__lent;

/* As pea_pipe_send(). A message that fills a write may stay where it is, described by `*lent`: then it must, and
 * nothing else be queued, until pea__pipe_lent_back(). `lent` may be NULL. */
PEA_MUST_CHECK pea_err pea__pipe_send(pea_pipe *pipe, const void *data, size_t len, pea__lent *lent);

/* The caller wants its message back: what has not gone out of it is copied, or referred to if it is the end of a shared
 * one and large. PEA_OK | PEA_E_NOMEM (fatal: CLOSED follows) */
PEA_MUST_CHECK pea_err pea__pipe_lent_back(pea_pipe *pipe, pea_msg *msg);

/* As pea_pipe_output(), in up to two pieces. */
PEA_MUST_CHECK pea_err pea__pipe_output(pea_pipe *pipe, pea_span spans[2], size_t *n);

/* Whether the `n` bytes that it gave are the last: PEA_EOF follows. */
bool pea__pipe_ends_with(const pea_pipe *pipe, size_t n);

/* Whether pea_pipe_output() would have something to say. */
bool pea__pipe_has_output(const pea_pipe *pipe);

/* Whether the handshake, or the reading of a live connection, rests until a ticket is answered. */
bool pea__pipe_waits(const pea_pipe *pipe);

/* As pea_pipe_judge(), but the policy is asked only if its generation is another than the verdict's, or an answer of
 * its own has come. PEA_OK: nothing changes | PEA_WAIT: no message before the answer | < 0: the pipe ends. Call
 * pea_pipe_next() after it. */
PEA_MUST_CHECK pea_err pea__pipe_judge(pea_pipe *pipe);

/* Keeps a message that pea_pipe_next() gave, and that must not be handed out now: it comes again as the next one, once
 * the policy has answered. PEA_OK | PEA_E_NOMEM */
PEA_MUST_CHECK pea_err pea__pipe_withhold(pea_pipe *pipe, const pea_event *message);

/* Ends a live connection as revoked. `why` is for our own log. */
void pea__pipe_revoke(pea_pipe *pipe, const char *why);

/* Why the pipe ends or has ended, also before CLOSED tells it; NULL: it does not. */
const pea_reason *pea__pipe_reason(const pea_pipe *pipe);

/* Bytes of memory that the pipe's buffers hold now, and those of them that hold what the peer sent. */
size_t pea__pipe_held(const pea_pipe *pipe);
size_t pea__pipe_unread(const pea_pipe *pipe);

#endif
