/* SPDX-License-Identifier: MIT */
/* Ranges of addresses that a node is to have nothing to do with, for a time or for good. Who asks whether an address is
 * among them is any stranger: it costs one look for each length of prefix in use, however many bans there are. With the
 * registry's lock: the addresses of names are asked about on any thread. */
#include "runtime_priv.h"

#define BANS_MAX 4096u /* the user bans, but whom strangers make him: some 400 KiB */

typedef struct pea__ban {
    pea_prefix range;
    int64_t until_ms; /* monotonic; INT64_MAX: for ever */
    UT_hash_handle hh;
} pea__ban;

struct pea__bans {
    pea__ban *table;                      /* by range */
    uint16_t of_bits4[33], of_bits6[129]; /* how many have this length */
};

static uint16_t *of_length(pea__bans *bans, const pea_prefix *range)
{
    return range->family == PEA_ADDR_IPV4 ? &bans->of_bits4[range->bits] : &bans->of_bits6[range->bits];
}

static pea__ban *find(const pea__bans *bans, const pea_prefix *range)
{
    pea__ban *found;
    HASH_FIND(hh, bans->table, range, sizeof *range, found);
    return found;
}

static void lift(pea__bans *bans, pea__ban *ban)
{
    HASH_DELETE(hh, bans->table, ban);
    --*of_length(bans, &ban->range);
    pea__free(ban);
}

static void lift_those_over(pea__bans *bans, int64_t now)
{
    pea__ban *ban, *next;
    HASH_ITER (hh, bans->table, ban, next)
        if (ban->until_ms <= now)
            lift(bans, ban);
}

/* A ban that lasts no time yet; NULL: no memory. */
static pea__ban *ban_new(pea__bans *bans, const pea_prefix *range)
{
    pea__ban *ban = pea__alloc(sizeof *ban);
    if (ban == NULL)
        return NULL;
    ban->range = *range;
    HASH_ADD(hh, bans->table, range, sizeof ban->range, ban);
    if (ban->hh.tbl == NULL) {
        pea__free(ban);
        return NULL;
    }
    ++*of_length(bans, range);
    return ban;
}

static pea_err ban_for(pea_node *node, const pea_prefix *range, uint32_t ms)
{
    int64_t now = pea__now_ms();
    if (node->bans == NULL && (node->bans = pea__alloc(sizeof *node->bans)) == NULL)
        return PEA_E_NOMEM;
    pea__ban *ban = find(node->bans, range);
    if (ban == NULL && HASH_COUNT(node->bans->table) == BANS_MAX)
        lift_those_over(node->bans, now);
    if (ban == NULL && HASH_COUNT(node->bans->table) == BANS_MAX)
        return PEA_E_LIMIT;
    if (ban == NULL && (ban = ban_new(node->bans, range)) == NULL)
        return PEA_E_NOMEM;
    ban->until_ms = ms == PEA_NEVER ? INT64_MAX : now + (int64_t)ms;
    return PEA_OK;
}

pea_err pea_node_ban(pea_node *node, const pea_prefix *range, uint32_t ms)
{
    if (!(range->family == PEA_ADDR_IPV4 && range->bits <= 32) &&
        !(range->family == PEA_ADDR_IPV6 && range->bits <= 128))
        return PEA_E_INVALID;
    pea__registry_lock(node);
    pea_err err = ban_for(node, range, ms);
    pea__registry_unlock(node);
    return err;
}

pea_err pea_node_unban(pea_node *node, const pea_prefix *range)
{
    pea__registry_lock(node);
    pea__ban *ban = node->bans != NULL ? find(node->bans, range) : NULL;
    if (ban != NULL)
        lift(node->bans, ban);
    pea__registry_unlock(node);
    return ban != NULL ? PEA_OK : PEA_E_NOT_FOUND;
}

bool pea__banned(pea_node *node, const pea_addr *remote)
{
    pea_prefix host, range;
    if (node->bans == NULL || node->bans->table == NULL || !pea_prefix_of(&host, remote, 32, 128))
        return false;
    bool v4 = host.family == PEA_ADDR_IPV4;
    const uint16_t *of_bits = v4 ? node->bans->of_bits4 : node->bans->of_bits6;
    for (unsigned bits = 0; bits <= (v4 ? 32u : 128u); bits++) {
        if (of_bits[bits] == 0)
            continue;
        (void)pea_prefix_of(&range, remote, (uint8_t)bits, (uint8_t)bits);
        pea__ban *ban = find(node->bans, &range);
        if (ban == NULL)
            continue;
        if (ban->until_ms > pea__now_ms())
            return true;
        lift(node->bans, ban);
    }
    return false;
}

void pea__bans_free(pea_node *node)
{
    pea__ban *ban, *next;
    if (node->bans == NULL)
        return;
    HASH_ITER (hh, node->bans->table, ban, next)
        lift(node->bans, ban);
    pea__free(node->bans);
}
