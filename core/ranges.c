/* SPDX-License-Identifier: MIT */
/* Limits by where connections come from: an address, and the ranges around it, the wider ones with more of everything.
 * Each has a place in the node's table, which knows the next wider one, so that a connection need only remember the
 * narrowest. For whom there is no place, he shares one with others, under the limits of a single address and its range:
 * where the table is full these limits hold all the more. On the caller's loop, but for what is counted. */
#include <inttypes.h>
#include <stdio.h>

#include "runtime_priv.h"

#define LATELY_MS INT64_C(600000)

/* How often a wider range of IPv6 may have what the next narrower one may. A household has a /64, or the /56 around it;
 * an office or a hosting company's customer a /48: it may have the connections of some households, never of 65,536. One
 * /64 alone leaves three quarters of a /56 to its neighbours. */
#define WIDER_TIMES 4u

/* Who has no place in a table is refused the sooner; so it is made for as many connections as there may be at once,
 * each from elsewhere. With no limit on them it is for so many: 1.6 MiB, */
#define CONNECTIONS_DEFAULT 4096u
/* and with one at most for so many: 408 MiB. */
#define CONNECTIONS_MOST 1048576u
/* A node without limits by range only wants to know who presses: 69 KiB. */
#define RANGES_UNLIMITED 512u

/* ---- Places ---- */

#define LEVELS 3u

/* One range around an address, and what holds for it. */
typedef struct level {
    pea_prefix range;
    unsigned times; /* of max_per_prefix and prefix_rate; 0: they do not hold for it */
    bool host;      /* max_per_ip does */
} level;

/* The ranges around an address, the widest first. Returns how many; 0: it is no IP address. */
static unsigned levels_of(const pea_node *node, const pea_addr *remote, level levels[LEVELS])
{
    const pea_node_opts *o = &node->limits;
    unsigned widths = 0, n = 0, times = 1;
    while (widths + 1 < LEVELS && o->prefix_bits6[widths + 1] != 0) {
        widths++;
        times *= WIDER_TIMES;
    }
    if (!pea_prefix_of(&levels[0].range, remote, o->prefix_bits4, o->prefix_bits6[widths]))
        return 0;
    if (levels[0].range.family == PEA_ADDR_IPV4) {
        levels[n].times = 1;
        levels[n++].host = o->prefix_bits4 == 32;
        if (o->prefix_bits4 < 32 && o->max_per_ip != PEA_UNLIMITED) {
            (void)pea_prefix_of(&levels[n].range, remote, 32, 128);
            levels[n].times = 0;
            levels[n++].host = true;
        }
        return n;
    }
    for (; n <= widths; n++, times /= WIDER_TIMES) {
        (void)pea_prefix_of(&levels[n].range, remote, 32, o->prefix_bits6[widths - n]);
        levels[n].times = times;
        levels[n].host = n == widths;
    }
    return n;
}

/* NULL: it has no place. */
static pea__prefix_slot *slot(const pea_node *node, uint32_t place)
{
    return place == 0 ? NULL : pea__prefix_table_at(node->prefixes, place);
}

static pea__prefix_slot *others_beside(const pea_node *node, const pea__origin *origin)
{
    return pea__prefix_table_at(node->prefixes, pea__prefix_table_beside(origin->place));
}

static bool is_exempt(const pea_node *node, const pea_addr *remote)
{
    for (size_t i = 0; i < node->n_exempt; i++)
        if (pea_prefix_has(&node->exempt[i], remote))
            return true;
    return false;
}

static void add(pea__prefix_slot *s, bool connections, bool pending, unsigned by)
{
    if (pending)
        atomic_fetch_add(&s->pending, by);
    if (connections) /* the last: then its place may be somebody else's */
        atomic_fetch_add(&s->connections, by);
}

/* In all places that the connection has. */
static void count(const pea_node *node, const pea__origin *origin, bool connections, bool pending, unsigned by)
{
    if (origin->others)
        add(others_beside(node, origin), connections, pending, by);
    for (pea__prefix_slot *s = slot(node, origin->place), *wider; s != NULL; s = wider) {
        wider = slot(node, s->wider);
        add(s, connections, pending, by);
    }
}

/* ---- Limits ---- */

static bool has_limits(const pea_node *node)
{
    const pea_node_opts *o = &node->limits;
    return o->max_per_ip != PEA_UNLIMITED || o->max_per_prefix != PEA_UNLIMITED || o->prefix_rate != PEA_UNLIMITED;
}

static pea_err refused(pea__refused *no, pea_refusal reason, uint64_t value, unsigned times)
{
    no->reason = reason;
    no->value = value;
    no->times = times;
    return PEA_E_LIMIT;
}

/* Whether one more may come from there. PEA_OK | PEA_E_LIMIT, and `no` says why */
static pea_err check(const pea_node *node, pea__prefix_slot *s, const level *at, bool shared, int64_t now,
                     pea__refused *no)
{
    const pea_node_opts *o = &node->limits;
    uint64_t there = atomic_load(&s->connections), times = at->times;
    *no = (pea__refused){.bits = at->range.bits, .shared = shared};
    if (at->host && there >= o->max_per_ip)
        return refused(no, PEA_REFUSED_BY_MAX_PER_IP, o->max_per_ip, 1);
    if (times == 0)
        return PEA_OK;
    if (o->max_per_prefix != PEA_UNLIMITED && there >= times * o->max_per_prefix)
        return refused(no, PEA_REFUSED_BY_MAX_PER_PREFIX, o->max_per_prefix, at->times);
    if (o->prefix_rate != PEA_UNLIMITED &&
        !pea__prefix_slot_token(s, times * o->prefix_rate, times * o->prefix_burst, now))
        return refused(no, PEA_REFUSED_BY_RATE, o->prefix_rate, at->times);
    return PEA_OK;
}

/* The place that it shares with others, since there is none for its range; nothing narrower is looked at. */
static uint32_t share(const pea_node *node, pea__origin *origin, level *at)
{
    at->times = 1;
    at->host = true;
    origin->others = origin->place != 0;
    if (origin->others)
        return pea__prefix_table_beside(origin->place);
    return origin->place = pea__prefix_table_others(node->prefixes, &at->range);
}

/* Gives a connection its places, and counts it there, from the widest range on: whoever has all that a range may have
 * does not take places of narrower ones. `no` NULL: whatever the limits say. PEA_OK | PEA_E_LIMIT: it is counted all
 * the same, as far as it came */
static pea_err enter(const pea_node *node, const pea_addr *remote, int64_t now, pea__origin *origin, pea__refused *no)
{
    level levels[LEVELS];
    unsigned n = levels_of(node, remote, levels);
    bool shared = false;
    pea_err err = PEA_OK;
    for (unsigned i = 0; i < n && err == PEA_OK && !shared; i++) {
        uint32_t place = pea__prefix_table_take(node->prefixes, &levels[i].range, now);
        shared = place == 0;
        if (shared)
            place = share(node, origin, &levels[i]);
        pea__prefix_slot *s = pea__prefix_table_at(node->prefixes, place);
        if (!shared) {
            if (s->wider != origin->place) /* it has no connections: nobody else looks at it */
                s->wider = origin->place;
            origin->place = place;
        }
        if (no != NULL)
            err = check(node, s, &levels[i], shared, now, no);
        add(s, true, true, 1);
    }
    return err;
}

static void spend(const pea_node *node, const pea__origin *origin)
{
    if (origin->others)
        pea__prefix_slot_spend(others_beside(node, origin));
    for (pea__prefix_slot *s = slot(node, origin->place); s != NULL; s = slot(node, s->wider))
        pea__prefix_slot_spend(s);
}

/* ---- When somebody came from there whom we let in ---- */

/* A place for others says nothing of any of them. */
static void note_ready(const pea_node *node, const pea__origin *origin, int64_t now)
{
    for (pea__prefix_slot *s = slot(node, origin->place); s != NULL; s = slot(node, s->wider))
        if (s->prefix.family != PEA_ADDR_NONE)
            atomic_store(&s->ready_ms, now);
}

bool pea__ranges_known(const pea_node *node, const pea__origin *origin, int64_t now)
{
    if (origin->exempt)
        return true;
    const pea__prefix_slot *s = origin->others ? NULL : slot(node, origin->place);
    for (unsigned i = 0; i < 2 && s != NULL; i++, s = slot(node, s->wider)) {
        int64_t last = atomic_load(&s->ready_ms);
        if (last != 0 && now - last < LATELY_MS)
            return true;
    }
    return false;
}

/* Who is connected when the counting begins has authenticated. */
static void remember_ready(pea_node *node, int64_t now)
{
    pea__registry_lock(node);
    for (const pea_conn *c = node->conns; c != NULL; c = c->next) {
        pea__origin origin = {.place = 0};
        if (!c->origin.inbound || !atomic_load(&c->settled))
            continue;
        const pea_addr remote = pea__place_addr(&c->remote);
        (void)enter(node, &remote, now, &origin, NULL);
        note_ready(node, &origin, now);
        count(node, &origin, true, true, UINT32_MAX);
    }
    pea__registry_unlock(node);
}

/* ---- Connections ---- */

/* A node without limits by range has no table until it is under pressure: then it is to be known who presses. */
static bool counts_ranges(const pea_node *node)
{
    return node->prefixes != NULL || has_limits(node) || node->counts.pending_in > node->limits.max_pending / 4;
}

/* False: there is no memory. */
static bool begin_counting(pea_node *node, int64_t now)
{
    uint32_t most = node->limits.max_connections;
    if (most == PEA_UNLIMITED)
        most = CONNECTIONS_DEFAULT;
    if (most > CONNECTIONS_MOST)
        most = CONNECTIONS_MOST;
    node->prefixes = pea__prefix_table_new(has_limits(node) ? LEVELS * most : RANGES_UNLIMITED);
    if (node->prefixes != NULL)
        remember_ready(node, now);
    return node->prefixes != NULL;
}

pea_err pea__ranges_take(pea_node *node, const pea_addr *remote, int64_t now, pea__origin *origin, pea__refused *no)
{
    pea_prefix ip;
    origin->exempt = is_exempt(node, remote);
    if (!counts_ranges(node) || origin->exempt || !pea_prefix_of(&ip, remote, 32, 128))
        return PEA_OK;
    if (node->prefixes == NULL && !begin_counting(node, now)) {
        *no = (pea__refused){.reason = PEA_REFUSED_BY_MEMORY};
        return has_limits(node) ? PEA_E_NOMEM : PEA_OK;
    }
    pea_err err = enter(node, remote, now, origin, no);
    if (err != PEA_OK)
        count(node, origin, true, true, UINT32_MAX);
    else if (node->limits.prefix_rate != PEA_UNLIMITED)
        spend(node, origin);
    return err;
}

void pea__ranges_explain(const pea__refused *no, char *text, size_t size)
{
    const char *name = pea_refusal_name(no->reason);
    if (no->reason == PEA_REFUSED_BY_MEMORY)
        (void)snprintf(text, size, "there is no memory to count ranges of addresses in");
    else if (no->shared)
        (void)snprintf(text, size, "%s = %" PRIu64 " is reached: the table of ranges is full (see max_connections)",
                       name, no->value);
    else if (no->times > 1)
        (void)snprintf(text, size, "%u times %s = %" PRIu64 " is reached in a /%u", no->times, name, no->value,
                       no->bits);
    else
        (void)snprintf(text, size, "%s = %" PRIu64 " is reached", name, no->value);
}

void pea__ranges_ready(const pea_node *node, const pea__origin *origin)
{
    count(node, origin, false, true, UINT32_MAX);
    note_ready(node, origin, pea__now_ms());
}

void pea__ranges_gone(const pea_node *node, const pea__origin *origin, bool was_ready)
{
    count(node, origin, true, !was_ready, UINT32_MAX);
}

uint32_t pea__ranges_widest(const pea_node *node, const pea_conn *c)
{
    level levels[LEVELS];
    uint32_t place = c->origin.place;
    const pea_addr remote = pea__place_addr(&c->remote);
    if (place == 0 && node->prefixes != NULL && !is_exempt(node, &remote) && levels_of(node, &remote, levels) > 0)
        return pea__prefix_table_find(node->prefixes, &levels[0].range); /* it came before anybody counted */
    while (place != 0 && slot(node, place)->wider != 0)
        place = slot(node, place)->wider;
    return place;
}

uint32_t pea__ranges_pending(const pea_node *node, uint32_t place)
{
    const pea__prefix_slot *s = slot(node, place);
    return s != NULL ? atomic_load(&s->pending) : 0;
}
