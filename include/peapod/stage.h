/* SPDX-License-Identifier: MIT */
/* The first interface: a stage is a finite dialogue before messages flow. It may leave a transform behind. Stages
 * form chains. */
#ifndef PEAPOD_STAGE_H
#define PEAPOD_STAGE_H

#include "peapod/policy.h"
#include "peapod/transform.h"

#ifdef __cplusplus
extern "C" {
#endif

#define PEA_STAGE_VERSION 1u
#define PEA_STAGE_IN_MAX 32768u /* the largest max_in */
#define PEA_STAGES_MAX 8u       /* stages of one chain */
#define PEA_NETWORK_BYTES 32

/* What a stage sees of its connection. It belongs to the connection and outlives the stage. */
typedef struct pea_stage_env pea_stage_env;

/* How sure a stage is of the key that it names. */
typedef enum pea_sight {
    PEA_SEEN = 1,  /* the peer showed it. It may be refused already; nothing else follows from it */
    PEA_PROVEN = 2 /* the peer proved that it holds it */
} pea_sight;

/* The stage agrees by its own means that both sides speak peapod's wire, and which version (TLS: ALPN): a native chain
 * with such a stage has no greeting. */
#define PEA_STAGE_NEGOTIATES 1u

typedef struct pea_stage_ops {
    uint32_t version; /* PEA_STAGE_VERSION */
    uint32_t flags;   /* PEA_STAGE_NEGOTIATES */
    const char *name;
    /* most bytes it may leave unconsumed in `in`, at most PEA_STAGE_IN_MAX; more ends the connection with
     * PEA_E_PROTO */
    size_t max_in;
    /* One per connection and side. `env` outlives it. May be NULL: no state, `self` is `config`. PEA_OK | < 0 */
    pea_err (*start)(const void *config, pea_stage_env *env, void **self);
    /* Called at once with what there is (the first speaker speaks), then whenever `in` grew or a wait was answered.
     * Consumes exactly its own bytes and leaves the rest. `out` is sent always, also on error, under the transforms
     * before this stage's own.
     * PEA_MORE | PEA_WAIT (until the ticket is answered the pipe reads on to its 64 KiB, then stops)
     * | PEA_AGAIN (it took or said something: call it again; a failure then is apart from what it said) | PEA_DONE |
     * < 0 */
    pea_err (*step)(void *self, pea_stage_env *env, pea_buf *in, pea_buf *out);
    /* After PEA_DONE; may be NULL: it only talked. The transform is the pipe's from here on. PEA_OK | < 0 */
    pea_err (*yield)(void *self, pea_transform *out);
    void (*destroy)(void *self); /* wipes secrets; may be NULL */
} pea_stage_ops;

/* ---- What a stage may ask of its connection; on the connection's thread, from start(), step() and yield() only
 * ---- */

/* Which side of the connection this is. */
PEA_API pea_side pea_stage_side(const pea_stage_env *env);

/* The peer's address; NULL where the pipe was given none. */
PEA_API const pea_addr *pea_stage_remote(const pea_stage_env *env);

/* Wall time in milliseconds since 1970. */
PEA_API int64_t pea_stage_wall_ms(const pea_stage_env *env);

/* The peer that whoever dialled expects, as long as stages run; NULL: no expectation. pea_stage_judge() enforces it. */
PEA_API const pea_peer *pea_stage_expect(const pea_stage_env *env);

/* The name under which this side dialled, and that a certificate must prove: the one that was given, else the host;
 * NULL: neither. */
PEA_API const char *pea_stage_dialled_name(const pea_stage_env *env);

/* Whether the chain is native: what is said is then bound by pea_stage_prologue(). */
PEA_API bool pea_stage_native(const pea_stage_env *env);

/* Appends what a handshake of native mode binds: "peapod", the initiator's greeting, and the transcripts of the
 * plaintext stages before (docs/wire.md).
 * PEA_OK | PEA_E_NOMEM | PEA_E_STATE (a foreign mode) */
PEA_API PEA_MUST_CHECK pea_err pea_stage_prologue(const pea_stage_env *env, pea_buf *out);

/* What `side` said in plaintext stage number `stage` (0 is the first) of the stages before this one; empty where
 * there was no such stage. */
PEA_API pea_span pea_stage_transcript(const pea_stage_env *env, size_t stage, pea_side side);

/* The channel binding of the innermost transform in place: `*len` is the room, then what was written. PEA_OK |
 * PEA_E_UNSUPPORTED (there is none) | < 0 */
PEA_API PEA_MUST_CHECK pea_err pea_stage_binding(const pea_stage_env *env, uint8_t *out, size_t *len);

/* May this peer connect? Asks the expectation, then the policy. The verdict is final: a refusal is sticky, and READY
 * is impossible after it.
 * PEA_OK | PEA_WAIT (return PEA_WAIT from step(), and ask again when it runs again) | PEA_E_REFUSED (return it, and
 * the peer is told nothing; or, once the transform can be yielded, PEA_DONE, and the peer is told DENIED inside it) |
 * PEA_E_NOMEM */
PEA_API PEA_MUST_CHECK pea_err pea_stage_judge(pea_stage_env *env, const pea_peer *peer, pea_sight sight);

/* `side`, the peer's or ours, proves the key that it has shown only by what it says next, under the transform that this
 * stage leaves. The peer, who must have been judged as PEA_SEEN: it is proven by the first record that opens, and until
 * then there is no READY; then the policy is asked once more. We: in native mode HELLO is said at once, since the peer
 * waits for it.
 * PEA_OK | PEA_E_STATE: no such peer was judged */
PEA_API PEA_MUST_CHECK pea_err pea_stage_pledge(pea_stage_env *env, pea_side side);

/* What stands behind the key of the peer that this stage asks about next: copied, and shown to the policy whenever it
 * is asked about that peer. Only what was verified may be said here. NULL takes it back. PEA_OK | PEA_E_NOMEM */
PEA_API PEA_MUST_CHECK pea_err pea_stage_vouch(pea_stage_env *env, const pea_vouch *vouch);

/* A ticket for this stage's own wait: take it, hand it to whoever will answer, return PEA_WAIT. The same until it is
 * answered. */
PEA_API pea_ticket pea_stage_ticket(pea_stage_env *env);

/* What the last answer of a ticket of this stage said: PEA_OK or < 0; PEA_WAIT while there is none. */
PEA_API pea_err pea_stage_answer(const pea_stage_env *env);

/* Before the first costly work for a peer who has proven nothing yet (a Diffie-Hellman): a node begins only a few
 * handshakes of strangers in each round of its loop. Not while a ticket of the stage's own is open. Where nobody counts
 * (dials of ours, pipes of one's own) it is always PEA_OK; and so it is once it was.
 * PEA_OK | PEA_WAIT (return it from step(), and ask again when it runs again) */
PEA_API PEA_MUST_CHECK pea_err pea_stage_pay(pea_stage_env *env);

/* A sentence for the reason, beside the error that step() is about to return. Copied, cut at PEA_TEXT_MAX. Not told
 * to the peer. Returns err. */
PEA_API pea_err pea_stage_fail(pea_stage_env *env, pea_err err, const char *text);

/* ---- Chains ---- */

typedef enum pea_mode {
    PEA_NATIVE = 0, /* two peapod nodes: greeting, channel */
    PEA_STREAM = 1, /* a foreign peer: the codec's bytes in the last transform */
    PEA_RECORDS = 2 /* a foreign peer: one message, one record, no codec */
} pea_mode;

typedef struct pea_chain_opts {
    size_t size;            /* set by PEA_CHAIN */
    pea_mode mode;          /* default: native */
    const uint8_t *network; /* PEA_NETWORK_BYTES that both sides must share; NULL: zeros. Native only */
    /* UTF-8, at most 255 bytes; both sides must name the same if both name one. NULL: unnamed. Native only */
    const char *application;
    uint32_t application_lowest; /* versions of the application that this side speaks; both 0: not said. Native only */
    uint32_t application_highest;
    uint64_t capabilities; /* bits the peer can read; 0: not said. Native only */
} pea_chain_opts;

#define PEA_CHAIN(...) (&(pea_chain_opts){.size = sizeof(pea_chain_opts), __VA_ARGS__})
#define PEA_CHAIN_INIT                                          \
    {                                                           \
        sizeof(pea_chain_opts), PEA_NATIVE, NULL, NULL, 0, 0, 0 \
    }

/* The stages that a connection passes, in order, and what follows them. Reference-counted; frozen once a node, pipe
 * or listener uses it. */
typedef struct pea_chain pea_chain;

/* An empty chain. `opts` may be NULL: native. PEA_OK | PEA_E_NOMEM | PEA_E_INVALID with a sentence. Any thread. */
PEA_API PEA_MUST_CHECK pea_err pea_chain_new(pea_chain **chain, const pea_chain_opts *opts, pea_error *why);

/* Appends a stage. `config` is handed to start(); `release` (may be NULL) is called with it when the chain's last
 * reference goes.
 * PEA_OK | PEA_E_NOMEM | PEA_E_INVALID (ops incomplete, too many stages) | PEA_E_STATE (the chain is in use). After
 * an error release() was not called. Any thread, one at a time. */
PEA_API PEA_MUST_CHECK pea_err pea_chain_add(pea_chain *chain, const pea_stage_ops *ops, void *config,
                                             void (*release)(void *config));

/* Whom the stages of this chain prove us to be; the ready-made ones say so themselves. Nobody is connected to himself,
 * and PEA_NODE(.one_per_peer) asks which of two nodes has the larger id.
 * PEA_OK | PEA_E_STATE (the chain is in use). Any thread, one at a time. */
PEA_API PEA_MUST_CHECK pea_err pea_chain_self(pea_chain *chain, const pea_peer *self);

/* Says that peers of this chain need not prove who they are. Without it a connection whose stages proved no peer is
 * never READY.
 * PEA_OK | PEA_E_STATE (the chain is in use). Any thread, one at a time. */
PEA_API PEA_MUST_CHECK pea_err pea_chain_plain(pea_chain *chain);

/* One more reference; returns chain. Any thread. */
PEA_API pea_chain *pea_chain_ref(pea_chain *chain);

/* One less; the last one frees. NULL is allowed. Any thread. */
PEA_API void pea_chain_unref(pea_chain *chain);

#ifdef __cplusplus
}
#endif
#endif
