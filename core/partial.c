/* SPDX-License-Identifier: MIT */
/* What peers may leave unfinished. A message is kept until its last byte has come; ten thousand peers that each begin a
 * large one would take all memory there is. So each loop thread adds up what its connections hold of such messages,
 * and above its share of the runtime's budget those that hold the most go. */
#include <inttypes.h>
#include <stdio.h>

#include "err_priv.h"
#include "runtime_priv.h"

#define SIZES 64u /* powers of two */

static uint64_t share(const pea_runtime *r)
{
    return r->partial_limit / (r->n_threads > 0 ? r->n_threads : 1);
}

static unsigned size_of(uint64_t bytes)
{
    unsigned n = 0;
    while (bytes > 1) {
        bytes >>= 1;
        n++;
    }
    return n;
}

/* Seven eighths: it takes an eighth of it in new bytes to make us look at everybody again. */
static uint64_t enough(const pea_runtime *r)
{
    return share(r) / 8 * 7;
}

/* Those who hold at least so much (a power of two) go, until it is enough. */
static unsigned threshold(const pea__worker *w)
{
    uint64_t held[SIZES] = {0}, left = w->partial_bytes;
    unsigned size = SIZES;
    for (const pea_conn *c = w->conns; c != NULL; c = c->hh.next)
        held[size_of(c->partial_bytes)] += c->partial_bytes;
    while (size > 1 && left > enough(w->runtime))
        left -= held[--size];
    return size;
}

static void forget(pea_conn *c)
{
    c->worker->partial_bytes -= c->partial_bytes;
    c->partial_bytes = 0;
}

static void shed(pea__worker *w)
{
    unsigned least = threshold(w);
    pea_reason reason = {.origin = PEA_BY_POLICY, .err = PEA_E_LIMIT, .code = PEA_CODE_FULL};
    (void)snprintf(reason.text, sizeof reason.text,
                   "partial_limit = %" PRIu64 " is reached, and this unfinished message is among the largest",
                   w->runtime->partial_limit);
    for (pea_conn *c = w->conns; c != NULL; c = c->hh.next) {
        unsigned size = size_of(c->partial_bytes);
        if (size < least || (size == least && w->partial_bytes <= enough(w->runtime)))
            continue;
        forget(c); /* it is given back in the round */
        pea__conn_finish(c, &reason);
    }
}

void pea__partial_note(pea_conn *c)
{
    pea__worker *w = c->worker;
    size_t held = c->closing || c->over ? 0 : pea__pipe_unread(c->pipe);
    uint32_t now = held < UINT32_MAX ? (uint32_t)held : UINT32_MAX;
    if (now == c->partial_bytes)
        return;
    w->partial_bytes = w->partial_bytes - c->partial_bytes + now;
    c->partial_bytes = now;
    if (w->partial_bytes > share(w->runtime))
        shed(w);
}
