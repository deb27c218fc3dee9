/* SPDX-License-Identifier: MIT */
/* Every limit on connections, decided in one place, before anything is allocated for them and before any crypto. Who is
 * turned away is counted by reason and logged with the limit's name and value; when strangers fill all places for
 * handshakes, the oldest of the busiest range make room. On the caller's loop, but for the counts. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "chain_priv.h"
#include "err_priv.h"
#include "runtime_priv.h"

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
    pea__tally_add(&node->tally[0], PEA__T_REFUSED + (unsigned)reason, 1);
}

/* A refusal: counted, logged and told with the limit's name and value. */
static pea_err refuse(pea_node *node, const pea_addr *remote, pea_refusal reason, uint64_t value, pea_error *why)
{
    char text[96], from[PEA_ADDR_TEXT_BYTES], line[256];
    count_refusal(node, reason);
    if (reason == PEA_REFUSED_BY_BAN)
        (void)snprintf(text, sizeof text, "its address is banned");
    else if (reason == PEA_REFUSED_BY_ON_ACCEPT)
        (void)snprintf(text, sizeof text, "on_accept said no");
    else
        (void)snprintf(text, sizeof text, "%s = %" PRIu64 " is reached", reason_names[reason], value);
    if (pea__log_may(node->runtime, PEA_LOG_WARNING, PEA__LOG_REFUSED)) {
        (void)snprintf(line, sizeof line, "%s: %s refused", text, pea_addr_format(remote, from));
        pea__log(node->runtime, PEA_LOG_WARNING, node, NULL, line);
    }
    return pea__error(why, PEA_E_LIMIT, text);
}

void pea__admission_refused(pea_node *node, const pea_addr *remote)
{
    (void)refuse(node, remote, PEA_REFUSED_BY_ON_ACCEPT, 0, NULL);
}

void pea__admission_free(pea_node *node)
{
    pea__bans_free(node);
    pea__prefix_table_free(node->prefixes);
    pea__free(node->exempt);
}

/* ---- Ranges ---- */

static bool exempt(const pea_node *node, const pea_addr *remote)
{
    for (size_t i = 0; i < node->n_exempt; i++)
        if (pea_prefix_has(&node->exempt[i], remote))
            return true;
    return false;
}

/* A node without limits by range has no table until it is under pressure: then it is to be known who presses. */
static bool counts_ranges(const pea_node *node)
{
    const pea_node_opts *o = &node->limits;
    return node->prefixes != NULL || o->max_per_ip != PEA_UNLIMITED || o->max_per_prefix != PEA_UNLIMITED ||
           o->prefix_rate != PEA_UNLIMITED || node->counts.pending_in > o->max_pending / 4;
}

/* Who is connected when the counting begins has authenticated. */
static void remember_ready(pea_node *node, int64_t now)
{
    pea_prefix range;
    pea__registry_lock(node);
    for (const pea_conn *c = node->conns; c != NULL; c = c->next) {
        if (!c->origin.inbound || !atomic_load(&c->settled) ||
            !pea_prefix_of(&range, &c->remote, node->limits.prefix_bits4, node->limits.prefix_bits6))
            continue;
        uint16_t place = pea__prefix_table_take(node->prefixes, &range, now);
        if (place != 0)
            atomic_store(&pea__prefix_table_at(node->prefixes, place)->ready_ms, now);
    }
    pea__registry_unlock(node);
}

/* Where it comes from, in the table; zeros: nowhere that is counted. */
static pea__origin origin_of(pea_node *node, const pea__origin *began, const pea_addr *remote, int64_t now)
{
    const pea_node_opts *o = &node->limits;
    pea__origin origin = *began;
    pea_prefix ip, range;
    origin.exempt = exempt(node, remote);
    if (!counts_ranges(node) || origin.exempt || !pea_prefix_of(&ip, remote, 32, 128))
        return origin;
    if (node->prefixes == NULL) {
        if ((node->prefixes = pea__prefix_table_new()) == NULL)
            return origin; /* limits over all connections hold */
        remember_ready(node, now);
    }
    (void)pea_prefix_of(&range, remote, o->prefix_bits4, o->prefix_bits6);
    origin.prefix = pea__prefix_table_take(node->prefixes, &range, now);
    /* One place may push out another of its set: the range is pinned by hand until both are taken. */
    pea__prefix_slot *pinned = pea__prefix_table_at(node->prefixes, origin.prefix);
    if (pinned != NULL)
        atomic_fetch_add(&pinned->connections, 1);
    if (o->max_per_ip != PEA_UNLIMITED)
        origin.ip = pea__prefix_table_take(node->prefixes, &ip, now);
    if (pinned != NULL)
        atomic_fetch_sub(&pinned->connections, 1);
    return origin;
}

static pea__prefix_slot *slot(const pea_node *node, uint16_t place)
{
    return place == 0 ? NULL : pea__prefix_table_at(node->prefixes, place);
}

static pea_err check_ranges(pea_node *node, const pea_addr *remote, const pea__origin *origin, int64_t now,
                            pea_error *why)
{
    const pea_node_opts *o = &node->limits;
    pea__prefix_slot *ip = slot(node, origin->ip), *range = slot(node, origin->prefix);
    if (ip != NULL && atomic_load(&ip->connections) >= o->max_per_ip)
        return refuse(node, remote, PEA_REFUSED_BY_MAX_PER_IP, o->max_per_ip, why);
    if (range != NULL && atomic_load(&range->connections) >= o->max_per_prefix)
        return refuse(node, remote, PEA_REFUSED_BY_MAX_PER_PREFIX, o->max_per_prefix, why);
    if (range != NULL && o->prefix_rate != PEA_UNLIMITED &&
        !pea__prefix_slot_token(range, o->prefix_rate, o->prefix_burst, now))
        return refuse(node, remote, PEA_REFUSED_BY_RATE, o->prefix_rate, why);
    return PEA_OK;
}

static void count(const pea_node *node, const pea__origin *origin, bool connections, bool pending, unsigned by)
{
    pea__prefix_slot *of[] = {slot(node, origin->ip), slot(node, origin->prefix)};
    for (size_t i = 0; i < 2; i++) {
        if (of[i] == NULL)
            continue;
        if (connections)
            atomic_fetch_add(&of[i]->connections, by);
        if (pending)
            atomic_fetch_add(&of[i]->pending, by);
    }
}

/* ---- Making room ---- */

/* What strangers may have of the places for handshakes: the rest is for dials of ours. */
static uint32_t inbound_pending_max(const pea_node *node)
{
    const pea_node_opts *o = &node->limits;
    return o->max_pending == PEA_UNLIMITED ? PEA_UNLIMITED : o->max_pending - o->reserved_pending;
}

/* The place of the range that this one comes from; it may have come before anybody counted. */
static uint16_t place_of(const pea_node *node, const pea_conn *c)
{
    pea_prefix range;
    if (c->origin.prefix != 0 || node->prefixes == NULL || exempt(node, &c->remote) ||
        !pea_prefix_of(&range, &c->remote, node->limits.prefix_bits4, node->limits.prefix_bits6))
        return c->origin.prefix;
    return pea__prefix_table_find(node->prefixes, &range);
}

/* The oldest of the busiest range, at most `most`; and of its handshakes so few that it stays the busiest or nearly
 * so. */
static unsigned choose(const pea_node *node, unsigned most, uint64_t *ids)
{
    pea_conn *oldest = NULL;
    uint16_t place = 0;
    unsigned busiest = 0, n = 0;
    for (pea_conn *c = node->pending; c != NULL; c = c->pending_next) {
        if (c->makes_room)
            return 0;
        uint16_t at = place_of(node, c);
        const pea__prefix_slot *range = slot(node, at);
        unsigned pending = range != NULL ? atomic_load(&range->pending) : 0;
        if (oldest != NULL && pending <= busiest)
            continue;
        oldest = c;
        place = at;
        busiest = pending;
    }
    if (most > busiest / 8 + 1)
        most = busiest / 8 + 1;
    for (pea_conn *c = oldest; c != NULL && n < most; c = c->pending_next) {
        if (place_of(node, c) != place)
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
    for (pea_conn *c = node->pending; c != NULL; c = c->pending_next)
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

/* What a connection over this chain holds beside our buffers, in KiB: so it fits the origin. */
static uint16_t cost_of(const pea_chain *chain)
{
    size_t kib = (PEA__CONN_COST + chain->cost + 1023) / 1024;
    return kib < UINT16_MAX ? (uint16_t)kib : UINT16_MAX;
}

pea_err pea__admission_take(pea_node *node, const pea_chain *chain, const pea_addr *remote, bool inbound,
                            pea__origin *origin, pea_error *why)
{
    pea_runtime *r = node->runtime;
    const pea_node_opts *limits = &node->limits;
    int64_t now = pea__now_ms();
    *origin = (pea__origin){.inbound = inbound, .cost_kib = cost_of(chain)};
    if (pea__banned(node, remote))
        return refuse(node, remote, PEA_REFUSED_BY_BAN, 0, why);
    if (node->counts.connections >= limits->max_connections)
        return refuse(node, remote, PEA_REFUSED_BY_MAX_CONNECTIONS, limits->max_connections, why);
    if (node->counts.pending >= limits->max_pending ||
        (inbound && node->counts.pending_in >= inbound_pending_max(node)))
        return refuse(node, remote, PEA_REFUSED_BY_MAX_PENDING, limits->max_pending, why);
    uint64_t used = pea_runtime_memory(r) + (atomic_load(&r->conns_kib) + origin->cost_kib) * UINT64_C(1024);
    if (used > r->memory_limit)
        return refuse(node, remote, PEA_REFUSED_BY_MEMORY, r->memory_limit, why);
    if (inbound) {
        *origin = origin_of(node, origin, remote, now);
        pea_err err = check_ranges(node, remote, origin, now, why);
        if (err != PEA_OK)
            return err;
    }
    count(node, origin, true, true, 1);
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

void pea__admission_ready(pea_node *node, const pea__origin *origin)
{
    count(node, origin, false, true, UINT32_MAX);
    pending_no_more(node, origin);
    if (origin->prefix != 0)
        atomic_store(&slot(node, origin->prefix)->ready_ms, pea__now_ms());
    node->counts.ready++;
}

void pea__admission_gone(pea_node *node, const pea__origin *origin, bool was_ready)
{
    count(node, origin, true, !was_ready, UINT32_MAX);
    node->counts.connections--;
    atomic_fetch_sub(&node->runtime->conns_kib, origin->cost_kib);
    if (was_ready)
        node->counts.ready--;
    else
        pending_no_more(node, origin);
}
