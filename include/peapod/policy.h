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

typedef enum pea_name_kind {
    PEA_NAME_DNS = 1, /* a host name, in lower case; a wildcard as the certificate has it */
    PEA_NAME_URI,     /* "spiffe://trust-domain/path" */
    PEA_NAME_MEMBER   /* of a certificate for Noise (cert.h): its root is an Ed25519 key */
} pea_name_kind;

typedef struct pea_name {
    pea_name_kind kind;
    const char *text; /* checked: printable ASCII, no zero byte within */
} pea_name;

/* What a certification authority says of a key: the names in a certificate that was verified up to a root; of TLS one
 * which this side configured, else whichever signed it. */
typedef struct pea_vouch {
    uint8_t root[PEA_ID_BYTES]; /* SHA-256 of the root's SubjectPublicKeyInfo; PEA_NAME_MEMBER: its public key */
    const pea_name *names;
    size_t n_names;
    const char *roles;     /* "db,web": what the certificate says, which the root may not be allowed to; NULL: none */
    int64_t not_before_ms; /* when it holds, in ms since 1970, which is the policy's to look at: from this moment */
    int64_t not_after_ms;  /* to before this one; 0: whoever vouches has looked at the time himself */
} pea_vouch;

/* What is known beside the key of a peer that wants to be let in. Good during the call. */
typedef struct pea_candidate {
    const pea_vouch *vouch; /* NULL: the key stands for itself */
    const pea_addr *from;   /* the peer's address; NULL: not known */
    const char *dialled;    /* the name that was given for it, else what this side dialled, "host:port" or an address;
                             * NULL: the peer came to us */
    int64_t wall_ms;        /* now */
    pea_side side;          /* ours */
    bool proven;            /* the peer proved that it holds the key. If not, remember nothing of it */
    bool live;              /* it was let in before, and is judged again */
    pea_ticket ticket;      /* to answer by after PEA_WAIT */
} pea_candidate;

#define PEA_POLICY_VERSION 1u

typedef struct pea_policy_ops {
    uint32_t version; /* PEA_POLICY_VERSION */
    const char *name;
    /* May this peer connect now, or stay? It may fill in peer->name and peer->role by its rule.
     * PEA_OK | PEA_WAIT (answer by the ticket: PEA_OK or < 0) | < 0 with why->text filled in for our own log, and
     * why->code PEA_CODE_EXPIRED where it was only the time: the peer is told that, REVOKED (it was live) or DENIED,
     * and no more. On the connection's thread; several threads may be in it at once. */
    pea_err (*check)(void *self, pea_peer *peer, const pea_candidate *candidate, pea_reason *why);
    /* A number that changes whenever an answer of check() may have changed: a verdict of an older one is asked for
     * again after each wait, at READY and before the next messages of a live connection. Any thread. May be NULL:
     * answers never change. */
    uint64_t (*generation)(void *self);
    /* Expiry, reload; returns the wall time (ms) at which it wants to be called again, or -1: not before a change. May
     * be NULL. A runtime calls it from its loop: when a node begins to use the policy, at the time it asked for (within
     * a minute all the same: clocks are set), and after each changed(). A blocking connection (sync.h) calls it when it
     * reads. Whoever drives pipes by hand calls it himself. */
    int64_t (*tick)(void *self, int64_t wall_ms);
    /* Asks for changed(arg), on any thread, whenever the generation changed, before whatever changed it returns;
     * changed NULL: stop those of `arg`. changed() must not block, nor call back. PEA_OK | < 0. May be NULL. */
    pea_err (*watch)(void *self, void (*changed)(void *arg), void *arg);
    void (*destroy)(void *self); /* may be NULL */
    /* Whether a peer that no stage can prove may come, as with pea_trust_any(). Of such a peer check() is not asked.
     * Any thread. May be NULL: none may. */
    bool (*anybody)(void *self);
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
