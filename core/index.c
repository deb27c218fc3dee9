/* SPDX-License-Identifier: MIT */
/* A chained hash table whose entries hold the links. It doubles when there are two entries for each list, and is given
 * back with its last entry. Where memory is short it stays as it is, and its lists grow. */
#include "index_priv.h"

#include "buf_priv.h"

#define LISTS_FIRST 8u
#define ENTRIES_PER_LIST 2u

static pea__index_link **list_of(pea__index_link **lists, size_t n_lists, uint64_t hash)
{
    return &lists[hash & (n_lists - 1)];
}

static void put(pea__index_link **list, pea__index_link *entry)
{
    entry->next = *list;
    *list = entry;
}

/* Twice as many lists, or the first ones. A walk would lose its way: whoever adds after it makes up for it. */
static void grow(pea__index *index)
{
    size_t n_lists = index->lists != NULL ? 2 * index->n_lists : LISTS_FIRST;
    pea__index_link **lists = index->walks == 0 ? pea__alloc(n_lists * sizeof *lists) : NULL;
    if (lists == NULL)
        return;
    for (size_t i = 0; index->lists != NULL && i < index->n_lists; i++) {
        for (pea__index_link *entry = index->lists[i], *next; entry != NULL; entry = next) {
            next = entry->next;
            put(list_of(lists, n_lists, index->hash(entry)), entry);
        }
    }
    pea__free(index->lists);
    index->lists = lists;
    index->n_lists = n_lists;
}

bool pea__index_add(pea__index *index, pea__index_link *entry)
{
    if (index->lists == NULL || index->n >= ENTRIES_PER_LIST * index->n_lists)
        grow(index);
    if (index->lists == NULL)
        return false;
    put(list_of(index->lists, index->n_lists, index->hash(entry)), entry);
    index->n++;
    return true;
}

void pea__index_remove(pea__index *index, pea__index_link *entry)
{
    pea__index_link **at = list_of(index->lists, index->n_lists, index->hash(entry));
    while (*at != entry)
        at = &(*at)->next;
    *at = entry->next;
    entry->next = NULL;
    if (--index->n > 0)
        return;
    pea__free(index->lists);
    index->lists = NULL;
}

pea__index_link *pea__index_at(const pea__index *index, uint64_t hash)
{
    return index->lists != NULL ? *list_of(index->lists, index->n_lists, hash) : NULL;
}

void pea__index_each(pea__index *index, void (*fn)(pea__index_link *entry, void *arg), void *arg)
{
    index->walks++; /* no list moves meanwhile */
    for (size_t i = 0; index->lists != NULL && i < index->n_lists; i++) {
        for (pea__index_link *entry = index->lists[i], *next; entry != NULL; entry = next) {
            next = entry->next;
            fn(entry, arg);
        }
    }
    index->walks--;
}
