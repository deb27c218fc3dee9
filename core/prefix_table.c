/* SPDX-License-Identifier: MIT */
/* Where connections come from, by range of addresses: counts and buckets of tokens. A table keeps the size that it was
 * made with, so that whoever has many addresses cannot make it grow, and has a keyed hash, so that he cannot choose who
 * shares a set with him. Each set has one place more, for all those for whom it has none. What follows from the numbers
 * is ranges.c's to say. */
#include "prefix_table_priv.h"

#include <string.h>

#include "buf_priv.h"
#include "hash_priv.h"

#define WAYS 16u
#define EACH (WAYS + 1u) /* the last one is for others */

struct pea__prefix_table {
    uint32_t sets;
    pea__prefix_slot slots[];
};

pea__prefix_table *pea__prefix_table_new(uint32_t ranges)
{
    uint32_t sets = ranges / (WAYS / 2) + 1;
    pea__prefix_table *table = pea__alloc(sizeof *table + (size_t)sets * EACH * sizeof table->slots[0]);
    if (table == NULL)
        return NULL;
    table->sets = sets;
    for (size_t i = 0; i < (size_t)sets * EACH; i++)
        table->slots[i].filled_ms = INT64_MIN; /* a full bucket */
    return table;
}

void pea__prefix_table_free(pea__prefix_table *table)
{
    pea__free(table);
}

pea__prefix_slot *pea__prefix_table_at(pea__prefix_table *table, uint32_t place)
{
    return &table->slots[place - 1];
}

static bool same(const pea_prefix *a, const pea_prefix *b)
{
    return a->family == b->family && a->bits == b->bits && memcmp(a->ip, b->ip, sizeof a->ip) == 0;
}

/* The number of the first place of a range's set, from 1. */
static uint32_t set_of(const pea__prefix_table *table, const pea_prefix *prefix)
{
    uint8_t key[2 + sizeof prefix->ip] = {prefix->family, prefix->bits};
    memcpy(key + 2, prefix->ip, sizeof prefix->ip);
    return (uint32_t)(pea__table_hash(key, sizeof key) % table->sets) * EACH + 1;
}

uint32_t pea__prefix_table_find(const pea__prefix_table *table, const pea_prefix *prefix)
{
    uint32_t first = set_of(table, prefix);
    for (uint32_t place = first; place < first + WAYS; place++)
        if (same(&table->slots[place - 1].prefix, prefix))
            return place;
    return 0;
}

/* Strangers go before those who have authenticated; else who came longest ago. */
static bool goes_first(pea__prefix_slot *a, pea__prefix_slot *b)
{
    bool a_known = atomic_load(&a->ready_ms) != 0, b_known = atomic_load(&b->ready_ms) != 0;
    return a_known != b_known ? b_known : a->used_ms < b->used_ms;
}

uint32_t pea__prefix_table_take(pea__prefix_table *table, const pea_prefix *prefix, int64_t now_ms)
{
    uint32_t first = set_of(table, prefix), oldest = 0;
    for (uint32_t place = first; place < first + WAYS; place++) {
        pea__prefix_slot *slot = pea__prefix_table_at(table, place);
        if (same(&slot->prefix, prefix)) {
            slot->used_ms = now_ms;
            return place;
        }
        bool idle = atomic_load(&slot->connections) == 0;
        if (idle && (oldest == 0 || goes_first(slot, pea__prefix_table_at(table, oldest))))
            oldest = place;
    }
    if (oldest == 0)
        return 0;
    pea__prefix_slot *slot = pea__prefix_table_at(table, oldest);
    slot->prefix = *prefix;
    slot->wider = 0;
    slot->used_ms = now_ms;
    atomic_store(&slot->ready_ms, 0);
    slot->filled_ms = INT64_MIN;
    return oldest;
}

uint32_t pea__prefix_table_others(const pea__prefix_table *table, const pea_prefix *prefix)
{
    return set_of(table, prefix) + WAYS;
}

uint32_t pea__prefix_table_beside(uint32_t place)
{
    return (place - 1) / EACH * EACH + WAYS + 1;
}

bool pea__prefix_slot_token(pea__prefix_slot *slot, uint64_t rate, uint64_t burst, int64_t now_ms)
{
    int64_t most = (int64_t)burst * 1000, each = (int64_t)rate;
    int64_t gone = slot->filled_ms == INT64_MIN ? INT64_MAX : now_ms - slot->filled_ms;
    if (gone > most / each + 1)
        slot->tokens = most;
    else
        slot->tokens = slot->tokens + gone * each < most ? slot->tokens + gone * each : most;
    slot->filled_ms = now_ms;
    return slot->tokens >= 1000;
}

void pea__prefix_slot_spend(pea__prefix_slot *slot)
{
    slot->tokens -= 1000;
}
