/* SPDX-License-Identifier: MIT */
/* The one door to the heap: malloc, or what pea_set_allocator() was given. */
#include "buf_priv.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static void *default_realloc(void *arg, void *ptr, size_t size)
{
    (void)arg;
    return realloc(ptr, size);
}

static void default_free(void *arg, void *ptr)
{
    (void)arg;
    free(ptr);
}

static pea_allocator current = {default_realloc, default_free, NULL};
static atomic_bool in_use; /* memory may be out: the allocator must not change any more */

pea_err pea_set_allocator(const pea_allocator *allocator)
{
    if (allocator == NULL || allocator->realloc_fn == NULL || allocator->free_fn == NULL)
        return PEA_E_INVALID;
    if (atomic_exchange(&in_use, true))
        return PEA_E_STATE;
    current = *allocator;
    return PEA_OK;
}

void *pea__realloc(void *ptr, size_t size)
{
    if (!atomic_load_explicit(&in_use, memory_order_relaxed))
        atomic_store(&in_use, true);
    return current.realloc_fn(current.arg, ptr, size);
}

void *pea__alloc(size_t size)
{
    void *ptr = pea__realloc(NULL, size);
    if (ptr != NULL)
        memset(ptr, 0, size);
    return ptr;
}

void pea__free(void *ptr)
{
    if (ptr != NULL)
        current.free_fn(current.arg, ptr);
}
