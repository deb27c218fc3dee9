/* SPDX-License-Identifier: MIT */
/* A table of what there is very much of: an entry pays 8 bytes in itself and at most 8 in the table, where uthash takes
 * 56. Lists of those whose hashes end alike; whoever looks for one compares the keys himself. */
#ifndef PEAPOD_INDEX_PRIV_H
#define PEAPOD_INDEX_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In each entry, of which it is a member: at most once in one index at a time. */
typedef struct pea__index_link {
    struct pea__index_link *next;
} pea__index_link;

typedef struct pea__index {
    uint64_t (*hash)(const pea__index_link *entry); /* of its key: keyed, where peers choose it */
    pea__index_link **lists;                        /* their number is a power of two; NULL: it is empty */
    size_t n_lists, n;
    unsigned walks; /* that are under way */
} pea__index;

/* Puts it before those of the same hash. False: there is no memory, and nothing happens; only the first one needs
 * any. */
bool pea__index_add(pea__index *index, pea__index_link *entry);
void pea__index_remove(pea__index *index, pea__index_link *entry); /* it is in there */

/* The first of those among which an entry of this hash is, if there is one; the others are behind it. */
pea__index_link *pea__index_at(const pea__index *index, uint64_t hash);

/* Calls fn for each that was there when it began. fn may add others, and remove none. */
void pea__index_each(pea__index *index, void (*fn)(pea__index_link *entry, void *arg), void *arg);

#endif
