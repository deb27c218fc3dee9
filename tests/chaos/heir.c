/* SPDX-License-Identifier: MIT */
/* Successors: each takes the listening sockets of some node of the town with a runtime of its own, as another process
 * would, and ends with them. */
#include <ev.h>
#include <stddef.h>

#include "chaos.h"

#include "peapod/chain.h"
#include "peapod/handover.h"

static void must(pea_err err, const char *what)
{
    if (err != PEA_OK)
        chaos_fail("an heir's %s: %s", what, pea_err_name(err));
}

/* Some are not wanted, and closed. */
static bool choose(void *arg, const pea_addr *addr, pea_listen_opts *opts)
{
    (void)arg, (void)addr, (void)opts;
    return chance(4) != 0;
}

static void take(pea_node *node, const char *path)
{
    pea_counts counts;
    pea_error why = {.code = PEA_OK};
    pea_err err = pea_handover_take(node, path, PEA_TAKE(.choose = choose, .timeout_ms = 1000), &why);
    pea_node_counts(node, &counts);
    if (err == PEA_OK || err == PEA_E_NOT_FOUND) /* nobody offered, or all that listens nowhere */
        atomic_fetch_add(&books.taken, 1);
    if (err != PEA_OK && counts.listeners != 0)
        chaos_fail("an heir failed, and has %u listeners", counts.listeners);
    if (err != PEA_OK && err != PEA_E_NOT_FOUND && err != PEA_E_TIMEOUT && err != PEA_E_SYS && err != PEA_E_PROTO)
        chaos_fail("pea_handover_take returned %s: %s", pea_err_name(err), why.text);
}

void heir_take(const char *path)
{
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    pea_runtime *runtime;
    pea_chain *chain;
    pea_node *node;
    if (loop == NULL)
        chaos_fail("no loop for an heir");
    must(pea_runtime_new(&runtime, PEA_RUNTIME(.loop = loop), NULL), "pea_runtime_new");
    must(pea_chain_new(&chain, NULL, NULL), "pea_chain_new");
    must(pea_chain_plain(chain), "pea_chain_plain");
    must(pea_node_new(&node, runtime, PEA_NODE(.chain = chain), NULL), "pea_node_new");
    take(node, path);
    for (int i = 0; i < 3; i++)
        ev_run(loop, EVRUN_NOWAIT); /* somebody may have dialled it */
    pea_node_free(node);
    pea_chain_unref(chain);
    must(pea_runtime_free(runtime), "pea_runtime_free");
    ev_loop_destroy(loop);
}
