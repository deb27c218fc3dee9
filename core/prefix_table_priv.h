/* SPDX-License-Identifier: MIT */
/* What a node remembers of where connections come from: a table of fixed size, by range of addresses. */
#ifndef PEAPOD_PREFIX_TABLE_PRIV_H
#define PEAPOD_PREFIX_TABLE_PRIV_H

#include <stdatomic.h>

#include "peapod/addr.h"

typedef struct pea__prefix_slot {
    pea_prefix prefix; /* PEA_ADDR_NONE: the place is free, or one for others */
    uint32_t wider;    /* the place of the next wider range around it, which it has as long as it has connections; 0: it
                        * is the widest. Its user's to say */
    atomic_uint connections, pending;
    int64_t used_ms;              /* when somebody came last */
    atomic_int_fast64_t ready_ms; /* and when somebody was READY last; 0: never */
    /* A bucket of tokens, in thousandths; one is taken for each new connection. */
    int64_t filled_ms, tokens;
} pea__prefix_slot;
_Static_assert(sizeof(pea__prefix_slot) <= 64, "docs/node.md says what a table takes");

typedef struct pea__prefix_table pea__prefix_table;

/* A table for so many ranges at once: it has about twice as many places, in sets of 16 and one for others, so that few
 * sets run over; 136 bytes for each range. NULL: no memory. */
pea__prefix_table *pea__prefix_table_new(uint32_t ranges);
void pea__prefix_table_free(pea__prefix_table *table);

/* The place of a range, taken if it has none: the one of its neighbours' that was used least lately and has no
 * connection makes room. 0: all of them have; then it is one of the others of its set. */
uint32_t pea__prefix_table_take(pea__prefix_table *table, const pea_prefix *prefix, int64_t now_ms);

/* The place that a range has; 0: none. */
uint32_t pea__prefix_table_find(const pea__prefix_table *table, const pea_prefix *prefix);

/* The place that those share who have none: in a range's set; in the set of another place. */
uint32_t pea__prefix_table_others(const pea__prefix_table *table, const pea_prefix *prefix);
uint32_t pea__prefix_table_beside(uint32_t place);

/* The place of this number, which is not 0. */
pea__prefix_slot *pea__prefix_table_at(pea__prefix_table *table, uint32_t place);

/* Whether there is a token in a bucket that holds `burst` and fills by `rate` a second; and takes it. */
bool pea__prefix_slot_token(pea__prefix_slot *slot, uint64_t rate, uint64_t burst, int64_t now_ms);
void pea__prefix_slot_spend(pea__prefix_slot *slot);

#endif
