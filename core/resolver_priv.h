/* SPDX-License-Identifier: MIT */
/* Lookups of names, between whoever answers them and the connections that wait. */
#ifndef PEAPOD_RESOLVER_PRIV_H
#define PEAPOD_RESOLVER_PRIV_H

#include "host_priv.h"
#include "runtime_priv.h"

#define PEA__LOOKUPS_MAX 4096u /* open at once in a runtime: 7 MB */

typedef struct pea__lookup pea__lookup;

/* One name that was asked for. All that its answer needs is there from the start, so that none is lost. */
struct pea__lookup {
    pea_ticket ticket;         /* .wait is the key while it is open; .conn who asks, 0: nobody yet */
    pea__post *post;           /* brings it to the connection's thread */
    pea__lookup *next, **link; /* of those that our own thread has yet to look at; link NULL: not in line */
    pea__host host;
    pea__found found;
    UT_hash_handle hh;
};

PEA_MUST_CHECK pea_err pea__resolver_new(pea__resolver **resolver, pea_error *why);

/* Once no lookup is open. Does not wait for a resolver that hangs: its thread frees the rest when it comes back. */
void pea__resolver_stop(pea__resolver *resolver);

/* Opens a lookup. `*wait` names it. PEA_OK | PEA_E_LIMIT | PEA_E_NOMEM | PEA_E_SYS. On the caller's loop. */
PEA_MUST_CHECK pea_err pea__lookup_open(pea_runtime *runtime, const pea__host *host, uint64_t *wait, pea_error *why);

/* Asks for it on behalf of a connection that has been placed. On the caller's loop. */
void pea__lookup_ask(pea_runtime *runtime, uint64_t wait, uint64_t conn, const pea__host *host);

void pea__lookup_free(pea__lookup *lookup); /* NULL is allowed */

/* Nobody wants the answer any more; nothing happens if it came. Any thread, while the runtime lives. */
void pea__lookup_drop(pea_runtime *runtime, uint64_t wait);

#endif
