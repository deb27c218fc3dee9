/* SPDX-License-Identifier: MIT */
/* A node ties listeners, dials and connections to one chain, policy and set of callbacks. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "chain_priv.h"
#include "err_priv.h"
#include "runtime_priv.h"

/* ---- Birth ---- */

static void or_default(uint32_t *value, uint32_t otherwise)
{
    if (*value == 0)
        *value = otherwise;
}

/* The numbers of docs/node.md. */
static void fill_in(pea_node_opts *o)
{
    or_default(&o->max_connections, PEA_UNLIMITED);
    or_default(&o->max_pending, 1024);
    or_default(&o->reserved_pending, o->max_pending == PEA_UNLIMITED ? 0 : o->max_pending / 8);
    or_default(&o->max_per_ip, PEA_UNLIMITED);
    or_default(&o->max_per_prefix, PEA_UNLIMITED);
    or_default(&o->prefix_rate, PEA_UNLIMITED);
    or_default(&o->prefix_burst, o->prefix_rate);
    if (o->prefix_bits4 == 0)
        o->prefix_bits4 = 24;
    static const uint8_t bits6[sizeof o->prefix_bits6] = {64, 56, 48}, none[sizeof bits6];
    if (memcmp(o->prefix_bits6, none, sizeof none) == 0)
        memcpy(o->prefix_bits6, bits6, sizeof bits6);
    or_default(&o->connect_timeout_ms, 5000);
    or_default(&o->handshake_timeout_ms, 10000);
    or_default(&o->linger_ms, 2000);
    or_default(&o->partial_timeout_ms, 30000);
    or_default(&o->idle_timeout_ms, PEA_NEVER);
    or_default(&o->write_timeout_ms, 60000);
    or_default(&o->max_session_ms, PEA_NEVER);
}

/* An older caller's callbacks are fewer; a newer one's must not name what we do not know. */
static bool callbacks_fit(const pea_node_opts *o)
{
    const uint8_t *bytes = (const uint8_t *)o->on;
    for (size_t i = sizeof *o->on; o->on != NULL && i < o->on_size; i++)
        if (bytes[i] != 0)
            return false;
    return o->on == NULL || o->on_size > 0;
}

/* From narrow to wide, zeros behind. */
static bool widths_fit(const pea_node_opts *o)
{
    const uint8_t *bits = o->prefix_bits6;
    if (bits[0] == 0 || bits[0] > 128)
        return false;
    for (size_t i = 1; i < sizeof o->prefix_bits6; i++)
        if (bits[i] != 0 && bits[i] >= bits[i - 1])
            return false;
    return true;
}

static pea_err check_chain(pea_chain *chain, bool one_per_peer, pea_error *why)
{
    pea_err err = pea__chain_use(chain, why);
    return err == PEA_OK && one_per_peer ? pea__chain_can_decide(chain, why) : err;
}

/* After the defaults are filled in: some numbers must fit each other. */
static pea_err check(const pea_node_opts *o, pea_error *why)
{
    if (!callbacks_fit(o))
        return pea__error(why, PEA_E_INVALID, "on_size is not set, or a callback is that this library does not know");
    pea_err err = check_chain(o->chain, o->one_per_peer, why);
    if (err != PEA_OK)
        return err;
    if (pea__chain_mode(o->chain) == PEA_RECORDS && o->codec != NULL)
        return pea__error(why, PEA_E_INVALID, "in PEA_RECORDS one record is one message: there is no codec");
    if (o->prefix_bits4 > 32 || !widths_fit(o))
        return pea__error(why, PEA_E_INVALID,
                          "prefix_bits4 is at most 32, prefix_bits6 at most 128, and each smaller than the one before");
    if (o->max_pending != PEA_UNLIMITED && o->reserved_pending >= o->max_pending)
        return pea__error(why, PEA_E_INVALID, "reserved_pending leaves nobody else a place of max_pending");
    if (o->n_exempt > 0 && o->exempt == NULL)
        return pea__error(why, PEA_E_INVALID, "n_exempt is set, and exempt is not");
    if (o->inbound_overflow != PEA_OVERFLOW_BLOCK && o->inbound_overflow != PEA_OVERFLOW_DROP)
        return pea__error(why, PEA_E_INVALID, "inbound_overflow is PEA_OVERFLOW_BLOCK or PEA_OVERFLOW_DROP");
    if (o->low_water != 0 && o->high_water != 0 && o->low_water > o->high_water)
        return pea__error(why, PEA_E_INVALID, "low_water is above high_water");
    return PEA_OK;
}

static char *name_of(pea_runtime *runtime, const char *name)
{
    char number[24];
    snprintf(number, sizeof number, "%" PRIu64, runtime->last_node++);
    const char *from = name != NULL ? name : number;
    char *copy = pea__alloc(strlen(from) + 1);
    if (copy != NULL)
        memcpy(copy, from, strlen(from));
    return copy;
}

void pea__node_clear(pea_node *node)
{
    (void)pthread_mutex_destroy(&node->lock);
    pea__free(node->free_there);
    pea__admission_free(node);
    pea_chain_unref(node->chain);
    pea_codec_unref(node->codec);
    pea_policy_unref(node->policy);
    pea__free(node->name);
    pea__free(node);
}

static pea_err copy_exempt(pea_node *node, const pea_node_opts *o)
{
    if (o->n_exempt == 0)
        return PEA_OK;
    node->exempt = pea__alloc(o->n_exempt * sizeof *node->exempt);
    if (node->exempt == NULL)
        return PEA_E_NOMEM;
    memcpy(node->exempt, o->exempt, o->n_exempt * sizeof *node->exempt);
    node->n_exempt = o->n_exempt;
    return PEA_OK;
}

/* One codec for all connections. */
static pea_err take_codec(pea_node *node, const pea_node_opts *o, pea_error *why)
{
    if (o->codec != NULL)
        node->codec = pea_codec_ref(o->codec);
    else if (pea__chain_mode(o->chain) != PEA_RECORDS)
        return pea_codec_length(&node->codec, NULL, why);
    return PEA_OK;
}

/* A node with all memory that it needs from the beginning. */
static pea_err node_make(pea_node **node, pea_runtime *runtime, const pea_node_opts *o, pea_error *why)
{
    pea_node *n = pea__alloc(sizeof *n + (runtime->n_threads + 1u) * sizeof n->tally[0]);
    if (n == NULL)
        return pea__error(why, PEA_E_NOMEM, NULL);
    if (pthread_mutex_init(&n->lock, NULL) != 0) {
        pea__free(n);
        return pea__error(why, PEA_E_NOMEM, NULL);
    }
    n->runtime = runtime;
    pea__registry_node_init(n);
    pea__by_peer_init(n);
    pea_err err = take_codec(n, o, why);
    if (err == PEA_OK && ((n->name = name_of(runtime, o->name)) == NULL || copy_exempt(n, o) != PEA_OK ||
                          (runtime->n_threads > 0 && (n->free_there = pea__alloc(sizeof *n->free_there)) == NULL)))
        err = pea__error(why, PEA_E_NOMEM, NULL);
    if (err != PEA_OK)
        pea__node_clear(n);
    else
        *node = n;
    return err;
}

pea_err pea_node_new(pea_node **node, pea_runtime *runtime, const pea_node_opts *opts, pea_error *why)
{
    pea_node *n;
    pea_node_opts o = PEA_NODE_INIT;
    pea_err err = pea__options(&o, sizeof o, opts, why);
    if (err == PEA_OK && pea__forked(runtime))
        err = pea__error(why, PEA_E_FORKED, NULL);
    fill_in(&o);
    if (err == PEA_OK)
        err = check(&o, why);
    if (err == PEA_OK)
        err = node_make(&n, runtime, &o, why);
    if (err != PEA_OK)
        return err;
    if (o.on != NULL)
        memcpy(&n->on, o.on, o.on_size < sizeof n->on ? o.on_size : sizeof n->on);
    n->user = o.user;
    n->chain = pea_chain_ref(o.chain);
    n->policy = o.policy != NULL ? pea_policy_ref(o.policy) : NULL;
    o.name = NULL;
    o.chain = NULL;
    o.codec = NULL;
    o.policy = NULL;
    o.exempt = NULL;
    o.on = NULL;
    o.user = NULL;
    n->limits = o;
    pea__node_deadline_init(n);
    err = pea__judge_join(n, why);
    if (err != PEA_OK) {
        pea__node_clear(n);
        return err;
    }
    pea__node_notice(n, n->chain);
    runtime->nodes++;
    *node = n;
    return PEA_OK;
}

void pea__node_notice(const pea_node *node, const pea_chain *chain)
{
    pea_runtime *r = node->runtime;
    if (chain->notice == NULL || chain->notice == r->noticed)
        return;
    r->noticed = chain->notice;
    pea__log(r, PEA_LOG_WARNING, node, NULL, chain->notice);
}

/* ---- Another chain ---- */

pea_err pea_node_set_chain(pea_node *node, pea_chain *chain, pea_error *why)
{
    pea_err err = pea__node_may_begin(node, why);
    if (err == PEA_OK)
        err = check_chain(chain, node->limits.one_per_peer, why);
    if (err == PEA_OK && pea__chain_mode(chain) != pea__chain_mode(node->chain))
        err = pea__error(why, PEA_E_INVALID, "the chain is of another mode than the node's, whose codec stays");
    if (err == PEA_OK)
        err = pea__listeners_suit(node, chain, why);
    if (err != PEA_OK)
        return err;
    pea_chain *before = node->chain;
    if (before->self.kind != PEA_PEER_NONE && !pea_peer_equal(&before->self, &chain->self))
        node->was_us = pea__who_of(&before->self);
    node->chain = pea_chain_ref(chain);
    pea_chain_unref(before);
    pea__node_notice(node, chain);
    return PEA_OK;
}

/* ---- Beginning ---- */

pea_err pea__node_may_begin(const pea_node *node, pea_error *why)
{
    if (pea__forked(node->runtime))
        return pea__error(why, PEA_E_FORKED, NULL);
    if (pea__worker_here(node->runtime) != &node->runtime->worker)
        return pea__error(why, PEA_E_STATE,
                          "this is a worker thread: pea_post_call() leads to the loop where nodes are");
    if (node->shutting_down || node->freed)
        return pea__error(why, PEA_E_STATE, "the node is shut down");
    return PEA_OK;
}

/* ---- Looking in ---- */

pea_codec *pea__node_codec(const pea_node *node, const pea_chain *chain, pea_codec *own)
{
    return own != NULL || pea__chain_mode(chain) == PEA_RECORDS ? own : node->codec;
}

const char *pea_node_name(const pea_node *node)
{
    return node->name;
}

void *pea_node_user(const pea_node *node)
{
    return node->user;
}

pea_runtime *pea_node_runtime(const pea_node *node)
{
    return node->runtime;
}

void pea_node_counts(const pea_node *node, pea_counts *counts)
{
    *counts = (pea_counts){.connections = node->counts.connections,
                           .pending = node->counts.pending,
                           .ready = node->counts.ready,
                           .listeners = node->counts.listeners,
                           .refused = node->counts.refused,
                           .accept_pauses = node->tally[0].n[PEA__T_ACCEPT_PAUSES]};
}

void pea_node_each(pea_node *node, bool (*fn)(pea_conn *conn, void *arg), void *arg)
{
    pea__worker *w = pea__worker_here(node->runtime);
    bool inside = w->inside;
    if (pea__forked(node->runtime))
        return;
    w->inside = true; /* what fn frees must wait for the round, also outside of the loop */
    pea__registry_each(node, fn, arg);
    if (!inside)
        pea__worker_leave(w);
}
