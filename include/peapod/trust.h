/* SPDX-License-Identifier: MIT */
/* The ready-made policy: whom to trust, by public key or by a root's word. An empty one admits nobody. */
#ifndef PEAPOD_TRUST_H
#define PEAPOD_TRUST_H

#include "peapod/log.h"
#include "peapod/policy.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Rules that say who may connect. Any thread may change and ask them at any time; every change counts the policy's
 * generation up. Live connections and pending handshakes that the rules no longer allow are ended: after the change
 * returned, no message of such a peer is handed out that was not already on its way to on_message. */
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

/* Asks the user for ids that no rule names; one that names it for another time or place has answered. Called on the
 * connection's thread; several may be in it at once.
 * PEA_OK: allowed | PEA_WAIT: the answer comes by pea_post_resume() or pea_pipe_resume() with this ticket | < 0:
 * refused */
typedef pea_err (*pea_trust_fn)(void *arg, pea_peer *peer, const pea_candidate *candidate);

/* NULL takes it away. After it returned, the earlier one is not taken up again; a call on another thread that had
 * taken it up may still run. */
PEA_API void pea_trust_ask(pea_trust *trust, pea_trust_fn fn, void *arg);

/* ---- Rules in files: docs/trust.md ---- */

/* Adds one rule, written as a line of an authorized_peers file: "spki:sha256:HEX name=db
 * not-after=2027-01-01T00:00:00Z". Relative names of files in it are relative to the working directory, and they are
 * read now and never again. It stays as long as the trust: what shall be taken back belongs into a file, or is allowed
 * by pea_trust_allow().
 * PEA_OK | PEA_E_FORMAT with column and sentence | as the root's file (PEA_E_SYS, PEA_E_UNSUPPORTED) | PEA_E_NOMEM */
PEA_API PEA_MUST_CHECK pea_err pea_trust_add(pea_trust *trust, const char *line, pea_error *why);

/* Takes the rules of an authorized_peers file, and takes them anew whenever the file changes: the runtime of a node
 * with this policy looks, and waits until the file is at rest. A new file that is empty, cut short or wrong changes
 * nothing and is logged: the last good rules stay, and it is tried again every few seconds. Rules by calls are beside
 * them and stay as they are; so may several files be loaded. The open file must be a regular one, owned by us or root,
 * and writable by nobody else.
 * PEA_OK | PEA_E_SYS | PEA_E_PERMISSION | PEA_E_FORMAT with line, column and sentence | PEA_E_EXISTS (loaded already) |
 * PEA_E_TOO_BIG (64 MiB; a root's file: 1 MiB, 16 certificates) | PEA_E_UNSUPPORTED (`ca:` in a build without TLS) |
 * PEA_E_NOMEM. After an error the rules are as before. */
PEA_API PEA_MUST_CHECK pea_err pea_trust_load(pea_trust *trust, const char *path, pea_error *why);

/* Reads all loaded files now, changed or not. PEA_OK | as pea_trust_load() for the first that is wrong: its last good
 * rules stay, those of the others are taken. */
PEA_API PEA_MUST_CHECK pea_err pea_trust_reload(pea_trust *trust, pea_error *why);

/* Reads a file as pea_trust_load() does, and calls found() for everything that is wrong in it, and (level
 * PEA_LOG_WARNING) for what is allowed and hardly meant: a rule that an earlier one makes idle, one that has expired.
 * found may be NULL.
 * Returns PEA_OK if it could be loaded, else the first error. */
PEA_API PEA_MUST_CHECK pea_err pea_trust_lint(const char *path,
                                              void (*found)(void *arg, pea_log_level level, const pea_error *what),
                                              void *arg);

/* What a verdict rests on, in the order of docs/trust.md. */
typedef enum pea_trust_ground {
    PEA_TRUST_NO_RULE = 0, /* nothing speaks of this peer */
    PEA_TRUST_ALLOWED,     /* a rule that matches */
    PEA_TRUST_DENIED,
    PEA_TRUST_ANOTHER_TIME,  /* a rule names it, and is for another time */
    PEA_TRUST_ANOTHER_PLACE, /* a rule names it, and is for other addresses */
    PEA_TRUST_ANYBODY,       /* pea_trust_any() */
    PEA_TRUST_FIRST_USE,     /* no rule: what is remembered of the name that was dialled */
    PEA_TRUST_ASKED          /* no rule: the callback of pea_trust_ask() */
} pea_trust_ground;

/* Filled in by pea_trust_explain(). */
typedef struct pea_trust_account {
    pea_trust_ground ground;
    const char *file; /* where the first four rules are written; good as long as the trust. NULL: a call made them */
    uint32_t line;    /* in it; with file NULL: which one of pea_trust_add(), from 1; 0: pea_trust_allow() or deny() */
    char text[PEA_TEXT_MAX + 1]; /* where it is refused: the sentence for our own log */
} pea_trust_account;

/* What the policy would say of a peer, and why: for tools and for who wonders. Nobody is asked, nothing is remembered
 * or logged, and no connection is touched; candidate->proven is not looked at. peer->name and peer->role are filled in
 * as the policy would.
 * PEA_OK | PEA_E_REFUSED | PEA_WAIT: only the callback of pea_trust_ask() knows. Any thread. */
PEA_API PEA_MUST_CHECK pea_err pea_trust_explain(pea_trust *trust, pea_peer *peer, const pea_candidate *candidate,
                                                 pea_trust_account *account);

/* Trust on first use, for outbound dials: a peer that no rule names and that this side dialled is let in when its name
 * (else its address) was never dialled before, and remembered in the file at `path` (made if missing, mode 0600); from
 * then on only the same key answers to that name, in upper or lower case. A changed key is refused and logged as an
 * error; so is a new one that cannot be remembered. deny rules and expectations hold all the same, and a peer that a
 * rule names for another time or place is no stranger. The file: lines of name and key.
 * PEA_OK | PEA_E_SYS | PEA_E_PERMISSION | PEA_E_FORMAT with line | PEA_E_TOO_BIG (16 MiB) | PEA_E_TIMEOUT (another
 * process keeps it locked) | PEA_E_EXISTS (there is one already) | PEA_E_NOMEM */
PEA_API PEA_MUST_CHECK pea_err pea_trust_first_use(pea_trust *trust, const char *path, pea_error *why);

/* Where this trust says what nobody called it for: a file taken anew, a file left alone and why, a changed key. Called
 * on whatever thread finds it out. NULL: nowhere. */
PEA_API void pea_trust_log(pea_trust *trust, pea_log_fn log, void *arg);

/* The policy of these rules, for PEA_NODE and PEA_PIPE. It belongs to the trust and lives as long; who keeps it takes
 * a reference. Never NULL. */
PEA_API pea_policy *pea_trust_policy(pea_trust *trust);

#ifdef __cplusplus
}
#endif
#endif
