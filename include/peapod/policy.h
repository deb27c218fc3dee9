/* SPDX-License-Identifier: MIT */
/* The fourth interface: a policy says whom to let in. core knows only this; trust.h is the ready-made one. */
#ifndef PEAPOD_POLICY_H
#define PEAPOD_POLICY_H

#include "peapod/addr.h"
#include "peapod/codec.h"
#include "peapod/peer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Names one wait of one connection, by value: keep it, give it to another thread. It outlives what it names: a late or
 * second answer is PEA_E_STALE. */
typedef struct pea_ticket {
    uint64_t runtime; /* 0: a pipe without one */
    uint64_t conn;
    uint64_t wait;
} pea_ticket;

#define PEA_POLICY_VERSION 1u

typedef struct pea_policy_ops {
    uint32_t version; /* PEA_POLICY_VERSION */
    const char *name;
    /* May this peer, seen from this side, connect now? `from` may be NULL (a pipe without addresses). It may fill in
     * peer->name and peer->role by its rule.
     * PEA_OK | PEA_WAIT (answer by the ticket:
     * PEA_OK or < 0) | < 0 with why->text filled in for our own log; the peer is told only DENIED. On the connection's
     * thread; several threads may be in it at once. */
    pea_err (*check)(void *self, pea_peer *peer, const pea_addr *from, pea_side side, pea_ticket ticket,
                     pea_reason *why);
    /* A number that changes whenever an answer of check() may have changed: a verdict of an older one is asked for
     * again after each wait and at READY. Any thread. May be NULL: answers never change. */
    uint64_t (*generation)(void *self);
    /* Expiry, reload; returns the wall time (ms) at which it wants to be asked again, or -1: never. May be NULL. Not
     * called yet: a connection that is READY is not judged again in this version. */
    int64_t (*tick)(void *self, int64_t wall_ms);
    /* Asks for changed(arg), on any thread, whenever the generation changes; changed NULL: stop those of `arg`.
     * PEA_OK | < 0. May be NULL. Not called by nodes yet: see tick(). */
    pea_err (*watch)(void *self, void (*changed)(void *arg), void *arg);
    void (*destroy)(void *self); /* may be NULL */
} pea_policy_ops;

/* A policy: reference-counted, shared by nodes, pipes and threads. */
typedef struct pea_policy pea_policy;

/* A policy of the user's own; destroy(self) is called when the last reference goes.
 * PEA_OK | PEA_E_NOMEM | PEA_E_INVALID (no check(), or the version is unknown); after an error destroy() was
 * not called. Any thread. */
PEA_API PEA_MUST_CHECK pea_err pea_policy_new(pea_policy **policy, const pea_policy_ops *ops, void *self);

/* One more reference; returns policy. Any thread. */
PEA_API pea_policy *pea_policy_ref(pea_policy *policy);

/* One less; the last one frees. NULL is allowed. Any thread. */
PEA_API void pea_policy_unref(pea_policy *policy);

#ifdef __cplusplus
}
#endif
#endif
