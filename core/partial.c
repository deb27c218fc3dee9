/* SPDX-License-Identifier: MIT */
/* What peers may leave unfinished. A message is kept until its last byte has come; ten thousand peers that each begin a
 * large one would take all memory there is. So each loop thread adds up what its connections hold of such messages.
 * When all of them together pass the runtime's budget, those threads that have more than their share of it send off
 * the connections that hold the most. */
#include <inttypes.h>
#include <stdio.h>

#include "err_priv.h"
#include "runtime_priv.h"

#define SIZES 33u /* powers of two */

/* Where connections are. */
static pea__worker *worker_at(pea_runtime *r, uint32_t i)
{
    return r->n_threads > 0 ? &r->threads[i] : &r->worker;
}

static uint32_t workers(const pea_runtime *r)
{
    return r->n_threads > 0 ? r->n_threads : 1;
}

static uint64_t share(const pea_runtime *r)
{
    return r->partial_limit / workers(r);
}

static uint64_t held(const pea__worker *w)
{
    return atomic_load_explicit(&w->partial_bytes, memory_order_relaxed);
}

static uint64_t held_by_all(pea_runtime *r)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < workers(r); i++)
        sum += held(worker_at(r, i));
    return sum;
}

/* ---- Counting ---- */

/* Nobody else writes the sum. */
static void set(pea_conn *c, uint32_t bytes)
{
    pea__worker *w = c->worker;
    atomic_store_explicit(&w->partial_bytes, held(w) - c->partial_bytes + bytes, memory_order_relaxed);
    c->partial_bytes = bytes;
}

/* ---- Sending off ---- */

static unsigned size_of(uint32_t bytes)
{
    unsigned n = 0;
    while (bytes > 1) {
        bytes >>= 1;
        n++;
    }
    return n;
}

static void sort_in(pea_conn *c, void *arg)
{
    uint64_t *of = arg;
    of[size_of(c->partial_bytes)] += c->partial_bytes;
}

/* Those who hold more than this power of two all go, and of those who hold so much as many as it takes. */
static unsigned threshold(pea__worker *w)
{
    uint64_t of[SIZES] = {0}, left = held(w);
    unsigned size = SIZES;
    pea__registry_each_here(w, sort_in, of);
    while (size > 1 && left > share(w->runtime))
        left -= of[--size];
    return size;
}

typedef struct shedding {
    unsigned least; /* as threshold() says */
    pea_reason reason;
} shedding;

static void shed_one(pea_conn *c, void *arg)
{
    const shedding *s = arg;
    const pea__worker *w = c->worker;
    unsigned size = size_of(c->partial_bytes);
    if (size < s->least || (size == s->least && held(w) <= share(w->runtime)))
        return;
    set(c, 0); /* it is given back in the round */
    pea__conn_finish(c, &s->reason);
}

void pea__partial_shed(pea__worker *w)
{
    if (!atomic_exchange(&w->shed_due, false) || held(w) <= share(w->runtime))
        return;
    shedding s = {.least = threshold(w),
                  .reason = {.origin = PEA_BY_POLICY, .err = PEA_E_LIMIT, .code = PEA_CODE_FULL}};
    (void)snprintf(s.reason.text, sizeof s.reason.text,
                   "partial_limit = %" PRIu64 " is reached, and this unfinished message is among the largest",
                   w->runtime->partial_limit);
    pea__registry_each_here(w, shed_one, &s);
    w->shed_at = held(w) + share(w->runtime) / 8; /* so much more before everybody is looked at again */
}

static void ask_to_shed(pea_runtime *r, const pea__worker *self)
{
    for (uint32_t i = 0; i < workers(r); i++) {
        pea__worker *w = worker_at(r, i);
        if (held(w) <= share(r) || atomic_exchange(&w->shed_due, true) || w == self)
            continue;
        ev_async_send(w->loop, &w->mail);
    }
}

void pea__partial_note(pea_conn *c)
{
    pea__worker *w = c->worker;
    bool ours = c->paused || c->closing || c->over; /* what waits by our own doing is no unfinished message */
    size_t unread = ours ? 0 : pea__pipe_unread(c->pipe);
    uint32_t now = unread < UINT32_MAX ? (uint32_t)unread : UINT32_MAX, before = c->partial_bytes;
    if (now == before)
        return;
    set(c, now);
    if (now < before || held(w) < w->shed_at || held_by_all(w->runtime) <= w->runtime->partial_limit)
        return;
    ask_to_shed(w->runtime, w);
    pea__partial_shed(w);
}
