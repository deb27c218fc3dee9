/* SPDX-License-Identifier: MIT */
/* What a node remembers of where connections come from: a table of fixed size, by range of addresses. */
#ifndef PEAPOD_PREFIX_TABLE_PRIV_H
#define PEAPOD_PREFIX_TABLE_PRIV_H

#include <stdatomic.h>

#include "peapod/addr.h"

typedef struct pea__prefix_slot {
    pea_prefix prefix; /* PEA_ADDR_NONE: the place is free */
    atomic_uint connections, pending;
    int64_t used_ms;              /* when somebody came last */
    atomic_int_fast64_t ready_ms; /* and when somebody was READY last; 0: never */
    /* A bucket of tokens, in thousandths; one is taken for each new connection. */
    int64_t filled_ms, tokens;
} pea__prefix_slot;

typedef struct pea__prefix_table pea__prefix_table;

/* NULL: no memory. */
pea__prefix_table *pea__prefix_table_new(void);
void pea__prefix_table_free(pea__prefix_table *table);

/* The place of a range, taken if it has none: the one of its neighbours' that was used least lately and has no
 * connection makes room. 0: all of them have; then it is not counted, and only limits over all connections hold for
 * it. */
uint16_t pea__prefix_table_take(pea__prefix_table *table, const pea_prefix *prefix, int64_t now_ms);

/* The place that a range has; 0: none. */
uint16_t pea__prefix_table_find(const pea__prefix_table *table, const pea_prefix *prefix);

/* The place of this number; NULL for 0. */
pea__prefix_slot *pea__prefix_table_at(pea__prefix_table *table, uint16_t place);

/* Takes a token of a bucket that holds `burst` and fills by `rate` a second. False: it is empty. */
bool pea__prefix_slot_token(pea__prefix_slot *slot, uint32_t rate, uint32_t burst, int64_t now_ms);

#endif
