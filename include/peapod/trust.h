/* SPDX-License-Identifier: MIT */
/* The ready-made policy: whom to trust, by public key. An empty one admits nobody. */
#ifndef PEAPOD_TRUST_H
#define PEAPOD_TRUST_H

#include "peapod/policy.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Rules that say who may connect. Any thread may change and ask them at any time; every change counts the policy's
 * generation up. A change is for handshakes: a connection that is READY lives on, in this version; end it yourself,
 * by pea_node_find_peer() and pea_conn_close(). */
typedef struct pea_trust pea_trust;

/* An empty trust: nobody. PEA_OK | PEA_E_NOMEM */
PEA_API PEA_MUST_CHECK pea_err pea_trust_new(pea_trust **trust);

/* One more reference; returns trust. */
PEA_API pea_trust *pea_trust_ref(pea_trust *trust);

/* One less; the last one frees. NULL is allowed. A policy made from it holds a reference of its own. */
PEA_API void pea_trust_unref(pea_trust *trust);

/* Allows one id. name and role (may be NULL) are given to the peer where it matches. A later rule for the same id
 * replaces the earlier one.
 * PEA_OK | PEA_E_INVALID (kind none, a Noise id that is not canonical or of low order, name or role too long) |
 * PEA_E_NOMEM */
PEA_API PEA_MUST_CHECK pea_err pea_trust_allow(pea_trust *trust, const pea_peer *peer, const char *name,
                                               const char *role, pea_error *why);

/* Denies one id, whatever else allows it. PEA_OK | PEA_E_INVALID | PEA_E_NOMEM */
PEA_API PEA_MUST_CHECK pea_err pea_trust_deny(pea_trust *trust, const pea_peer *peer, pea_error *why);

/* Takes back what allow and deny said of an id. PEA_OK | PEA_E_NOT_FOUND */
PEA_API PEA_MUST_CHECK pea_err pea_trust_forget(pea_trust *trust, const pea_peer *peer);

/* Allows everybody who proves a key, but those denied. Say it only where strangers are wanted. */
PEA_API void pea_trust_any(pea_trust *trust);

/* Asks the user for ids that no rule names. Called on the connection's thread; several may be in it at once.
 * PEA_OK: allowed | PEA_WAIT: the answer comes by pea_post_resume() or pea_pipe_resume() with this ticket | < 0:
 * refused */
typedef pea_err (*pea_trust_fn)(void *arg, pea_peer *peer, const pea_candidate *candidate);

/* NULL takes it away. After it returned, the earlier one is not taken up again; a call on another thread that had
 * taken it up may still run. */
PEA_API void pea_trust_ask(pea_trust *trust, pea_trust_fn fn, void *arg);

/* The policy of these rules, for PEA_NODE and PEA_PIPE. It belongs to the trust and lives as long; who keeps it takes
 * a reference. Never NULL. */
PEA_API pea_policy *pea_trust_policy(pea_trust *trust);

#ifdef __cplusplus
}
#endif
#endif
