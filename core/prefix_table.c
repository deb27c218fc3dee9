/* SPDX-License-Identifier: MIT */
/* Where connections come from, by range of addresses: counts and buckets of tokens. The table has a fixed size, so that
 * whoever has many addresses cannot make it grow, and a keyed hash, so that he cannot choose who shares a set with him.
 * What follows from the numbers is admission.c's to say. */
#include "prefix_table_priv.h"

#include <string.h>

#include "buf_priv.h"
#include "hash_priv.h"

#define SETS 64u
#define WAYS 8u

struct pea__prefix_table {
    pea__prefix_slot slots[SETS][WAYS];
};

pea__prefix_table *pea__prefix_table_new(void)
{
    return pea__alloc(sizeof(pea__prefix_table));
}

void pea__prefix_table_free(pea__prefix_table *table)
{
    pea__free(table);
}

pea__prefix_slot *pea__prefix_table_at(pea__prefix_table *table, uint16_t place)
{
    return place == 0 ? NULL : &table->slots[(place - 1u) / WAYS][(place - 1u) % WAYS];
}

static bool same(const pea_prefix *a, const pea_prefix *b)
{
    return a->family == b->family && a->bits == b->bits && memcmp(a->ip, b->ip, sizeof a->ip) == 0;
}

static unsigned set_of(const pea_prefix *prefix)
{
    uint8_t key[2 + sizeof prefix->ip] = {prefix->family, prefix->bits};
    memcpy(key + 2, prefix->ip, sizeof prefix->ip);
    return (unsigned)(pea__table_hash(key, sizeof key) % SETS);
}

uint16_t pea__prefix_table_find(const pea__prefix_table *table, const pea_prefix *prefix)
{
    unsigned set = set_of(prefix);
    for (unsigned i = 0; i < WAYS; i++)
        if (same(&table->slots[set][i].prefix, prefix))
            return (uint16_t)(set * WAYS + i + 1);
    return 0;
}

/* Strangers go before those who have authenticated; else who came longest ago. */
static bool goes_first(pea__prefix_slot *a, pea__prefix_slot *b)
{
    bool a_known = atomic_load(&a->ready_ms) != 0, b_known = atomic_load(&b->ready_ms) != 0;
    return a_known != b_known ? b_known : a->used_ms < b->used_ms;
}

uint16_t pea__prefix_table_take(pea__prefix_table *table, const pea_prefix *prefix, int64_t now_ms)
{
    unsigned set = set_of(prefix), oldest = WAYS;
    pea__prefix_slot *slots = table->slots[set];
    for (unsigned i = 0; i < WAYS; i++) {
        if (same(&slots[i].prefix, prefix)) {
            slots[i].used_ms = now_ms;
            return (uint16_t)(set * WAYS + i + 1);
        }
        bool idle = atomic_load(&slots[i].connections) == 0;
        if (idle && (oldest == WAYS || goes_first(&slots[i], &slots[oldest])))
            oldest = i;
    }
    if (oldest == WAYS)
        return 0;
    slots[oldest].prefix = *prefix;
    slots[oldest].used_ms = now_ms;
    atomic_store(&slots[oldest].ready_ms, 0);
    slots[oldest].filled_ms = INT64_MIN; /* a full bucket */
    return (uint16_t)(set * WAYS + oldest + 1);
}

bool pea__prefix_slot_token(pea__prefix_slot *slot, uint32_t rate, uint32_t burst, int64_t now_ms)
{
    int64_t most = (int64_t)burst * 1000;
    int64_t gone = slot->filled_ms == INT64_MIN ? INT64_MAX : now_ms - slot->filled_ms;
    if (gone > most / rate + 1)
        slot->tokens = most;
    else
        slot->tokens = slot->tokens + gone * rate < most ? slot->tokens + gone * rate : most;
    slot->filled_ms = now_ms;
    if (slot->tokens < 1000)
        return false;
    slot->tokens -= 1000;
    return true;
}
