/* SPDX-License-Identifier: MIT */
/* Every limit on connections, asked in one place (those by range are in ranges.c), before anything is allocated for
 * them and before any crypto. Who is turned away is counted by reason and logged with the limit's name and value; when
 * strangers fill all places for handshakes, the oldest of the busiest range make room. On the caller's loop, but for
 * the counts and the addresses of names. */
#include <inttypes.h>
#include <stdio.h>

#include "chain_priv.h"
#include "err_priv.h"
#include "runtime_priv.h"

#define TEXT_BYTES 128u /* of why somebody is refused */

/* ---- Refusals ---- */

static const char *const reason_names[] = {[PEA_REFUSED_BY_ON_ACCEPT] = "on_accept",
                                           [PEA_REFUSED_BY_BAN] = "ban",
                                           [PEA_REFUSED_BY_MAX_CONNECTIONS] = "max_connections",
                                           [PEA_REFUSED_BY_MAX_PENDING] = "max_pending",
                                           [PEA_REFUSED_BY_MAX_PER_IP] = "max_per_ip",
                                           [PEA_REFUSED_BY_MAX_PER_PREFIX] = "max_per_prefix",
                                           [PEA_REFUSED_BY_RATE] = "prefix_rate",
                                           [PEA_REFUSED_BY_MEMORY] = "memory_limit"};
_Static_assert(sizeof reason_names / sizeof *reason_names == PEA_REFUSALS, "a refusal without a name");

const char *pea_refusal_name(pea_refusal reason)
{
    return (unsigned)reason < PEA_REFUSALS ? reason_names[reason] : "?";
}

static void count_refusal(pea_node *node, pea_refusal reason)
{
    node->counts.refused++;
    pea__tally_add(&node->tally[pea__worker_here(node->runtime)->index], PEA__T_REFUSED + (unsigned)reason, 1);
}

/* A refusal: counted, logged and told. */
static pea_err refuse_as(pea_node *node, const pea_addr *remote, pea_refusal reason, const char *text, pea_error *why)
{
    char from[PEA_ADDR_TEXT_BYTES], line[TEXT_BYTES + PEA_ADDR_TEXT_BYTES + 16];
    count_refusal(node, reason);
    if (pea__log_may(node->runtime, PEA_LOG_WARNING, PEA__LOG_REFUSED)) {
        if (remote->family == PEA_ADDR_NONE)
            (void)snprintf(from, sizeof from, "a dial by name");
        else
            (void)pea_addr_format(remote, from);
        (void)snprintf(line, sizeof line, "%s: %s refused", text, from);
        pea__log(node->runtime, PEA_LOG_WARNING, node, NULL, line);
    }
    return pea__error(why, PEA_E_LIMIT, text);
}

/* With the limit's name and value. */
static pea_err refuse(pea_node *node, const pea_addr *remote, pea_refusal reason, uint64_t value, pea_error *why)
{
    char text[TEXT_BYTES];
    (void)snprintf(text, sizeof text, "%s = %" PRIu64 " is reached", reason_names[reason], value);
    return refuse_as(node, remote, reason, text, why);
}

void pea__admission_refused(pea_node *node, const pea_addr *remote)
{
    (void)refuse_as(node, remote, PEA_REFUSED_BY_ON_ACCEPT, "on_accept said no", NULL);
}

/* On the caller's loop, and for the addresses of names on any. */
static pea_err check_ban(pea_node *node, const pea_addr *remote, pea_error *why)
{
    pea__registry_lock(node);
    bool banned = pea__banned(node, remote);
    pea__registry_unlock(node);
    return banned ? refuse_as(node, remote, PEA_REFUSED_BY_BAN, "its address is banned", why) : PEA_OK;
}

pea_err pea__admission_may_dial(pea_node *node, const pea_addr *remote, pea_error *why)
{
    return check_ban(node, remote, why);
}

void pea__admission_free(pea_node *node)
{
    pea__bans_free(node);
    pea__prefix_table_free(node->prefixes);
    pea__free(node->exempt);
}

/* ---- Making room ---- */

/* What strangers may have of the places for handshakes: the rest is for dials of ours. */
static uint32_t inbound_pending_max(const pea_node *node)
{
    const pea_node_opts *o = &node->limits;
    return o->max_pending == PEA_UNLIMITED ? PEA_UNLIMITED : o->max_pending - o->reserved_pending;
}

/* The oldest of the busiest range, at most `most`; and of its handshakes so few that it stays the busiest or nearly
 * so. */
static unsigned choose(const pea_node *node, unsigned most, uint64_t *ids)
{
    pea_conn *oldest = NULL;
    uint32_t place = 0;
    unsigned busiest = 0, n = 0;
    for (pea_conn *c = node->pending; c != NULL; c = c->fellow) {
        if (c->makes_room)
            return 0;
        uint32_t at = pea__ranges_widest(node, c);
        unsigned pending = pea__ranges_pending(node, at);
        if (oldest != NULL && pending <= busiest)
            continue;
        oldest = c;
        place = at;
        busiest = pending;
    }
    if (most > busiest / 8 + 1)
        most = busiest / 8 + 1;
    for (pea_conn *c = oldest; c != NULL && n < most; c = c->fellow) {
        if (pea__ranges_widest(node, c) != place)
            continue;
        c->makes_room = true;
        ids[n++] = c->id;
    }
    return n;
}

/* It could not be asked: it may be chosen again. Else nobody would make room before its deadline. */
static void not_asked(pea_node *node, uint64_t id)
{
    pea__registry_lock(node);
    for (pea_conn *c = node->pending; c != NULL; c = c->fellow)
        if (c->id == id)
            c->makes_room = false;
    pea__registry_unlock(node);
}

bool pea__admission_full(const pea_node *node)
{
    return atomic_load(&node->counts.pending_in) >= inbound_pending_max(node);
}

unsigned pea__admission_make_room(pea_node *node, unsigned most)
{
    uint64_t ids[PEA__ACCEPTS_PER_EVENT];
    pea__registry_lock(node);
    unsigned n = choose(node, most < PEA__ACCEPTS_PER_EVENT ? most : PEA__ACCEPTS_PER_EVENT, ids), asked = 0;
    pea__registry_unlock(node);
    for (unsigned i = 0; i < n; i++) {
        if (!pea__conn_make_room(node->runtime, ids[i])) {
            not_asked(node, ids[i]);
            continue;
        }
        count_refusal(node, PEA_REFUSED_BY_MAX_PENDING);
        asked++;
    }
    return asked;
}

/* ---- Connections ---- */

/* What a connection holds beside our buffers, in KiB: so it fits the origin. */
static uint16_t cost_of(size_t stages)
{
    size_t kib = (PEA__CONN_COST + stages + 1023) / 1024;
    return kib < UINT16_MAX ? (uint16_t)kib : UINT16_MAX;
}

pea_err pea__admission_take(pea_node *node, const pea_chain *chain, const pea_addr *remote, bool inbound,
                            pea__origin *origin, pea_error *why)
{
    pea_runtime *r = node->runtime;
    const pea_node_opts *limits = &node->limits;
    *origin = (pea__origin){.inbound = inbound, .cost_kib = cost_of(chain->handshake_cost)};
    pea_err err = check_ban(node, remote, why);
    if (err != PEA_OK)
        return err;
    if (node->counts.connections >= limits->max_connections)
        return refuse(node, remote, PEA_REFUSED_BY_MAX_CONNECTIONS, limits->max_connections, why);
    if (node->counts.pending >= limits->max_pending ||
        (inbound && node->counts.pending_in >= inbound_pending_max(node)))
        return refuse(node, remote, PEA_REFUSED_BY_MAX_PENDING, limits->max_pending, why);
    uint64_t used = pea_runtime_memory(r) + (atomic_load(&r->conns_kib) + origin->cost_kib) * UINT64_C(1024);
    if (used > r->memory_limit)
        return refuse(node, remote, PEA_REFUSED_BY_MEMORY, r->memory_limit, why);
    pea__refused no;
    if (inbound && pea__ranges_take(node, remote, pea__now_ms(), origin, &no) != PEA_OK) {
        char text[TEXT_BYTES];
        pea__ranges_explain(&no, text, sizeof text);
        return refuse_as(node, remote, no.reason, text, why);
    }
    node->counts.connections++;
    node->counts.pending++;
    if (inbound)
        node->counts.pending_in++;
    atomic_fetch_add(&r->conns_kib, origin->cost_kib);
    return PEA_OK;
}

static void pending_no_more(pea_node *node, const pea__origin *origin)
{
    node->counts.pending--;
    if (origin->inbound)
        node->counts.pending_in--;
}

void pea__admission_ready(pea_node *node, const pea_chain *chain, pea__origin *origin)
{
    uint16_t in_handshake = origin->cost_kib;
    origin->cost_kib = cost_of(chain->cost);
    atomic_fetch_add(&node->runtime->conns_kib, origin->cost_kib);
    atomic_fetch_sub(&node->runtime->conns_kib, in_handshake);
    pea__ranges_ready(node, origin);
    pending_no_more(node, origin);
    node->counts.ready++;
}

void pea__admission_gone(pea_node *node, const pea__origin *origin, bool was_ready)
{
    pea__ranges_gone(node, origin, was_ready);
    node->counts.connections--;
    atomic_fetch_sub(&node->runtime->conns_kib, origin->cost_kib);
    if (was_ready)
        node->counts.ready--;
    else
        pending_no_more(node, origin);
}
