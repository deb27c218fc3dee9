/* SPDX-License-Identifier: MIT */
/* Where buffers get their memory: the library's allocator, and a pool of size classes for each loop thread. */
#ifndef PEAPOD_BUF_PRIV_H
#define PEAPOD_BUF_PRIV_H

#include <stdatomic.h>

#include "peapod/buf.h"

/* The user's allocator, or malloc. Both may be called on any thread. pea__alloc() clears what it gives. */
void *pea__alloc(size_t size);
void *pea__realloc(void *ptr, size_t size);
void pea__free(void *ptr);

#define PEA__POOL_CLASSES 4

/* At the front of what the pool keeps beside buffers' memory, one like the other: flows of pipes. */
typedef struct pea__spare {
    struct pea__spare *next;
} pea__spare;

/* Memory for the buffers of one thread. A buffer that is empty holds none, so what is out is what traffic needs right
 * now. Freed blocks are kept for the next user, up to a bound for each class, and while `trims` as many as were out
 * lately: steady traffic allocates nothing. */
typedef struct pea__pool {
    struct pea__block *free_blocks[PEA__POOL_CLASSES];
    uint32_t kept[PEA__POOL_CLASSES], out[PEA__POOL_CLASSES]; /* blocks of each class: here, and with buffers */
    uint32_t most[PEA__POOL_CLASSES];                         /* that were out since pea__pool_trim() */
    bool trims;                                               /* somebody calls that once in a while */
    atomic_uint_fast64_t held; /* bytes that buffers hold now; written by the owner alone */
    uint64_t allocations;      /* calls of the allocator, ever: tests count them */
    pea__spare *spares;
    uint32_t spares_kept;
} pea__pool;

/* Any thread. */
static inline uint64_t pea__pool_held(const pea__pool *pool)
{
    return atomic_load_explicit(&pool->held, memory_order_relaxed);
}

/* Whether more are out than are kept without `trims`. */
bool pea__pool_is_stretched(const pea__pool *pool);

/* Gives back what was not needed since the last time. */
void pea__pool_trim(pea__pool *pool);

/* Gives back what the pool keeps. Buffers must have been freed before. */
void pea__pool_clear(pea__pool *pool);

/* One that was given back; NULL: there is none. What is given was pea__alloc()'s. */
pea__spare *pea__pool_take_spare(pea__pool *pool);
void pea__pool_give_spare(pea__pool *pool, pea__spare *spare);

/* After a burst: an empty buffer gives its memory back; a small rest moves to the smallest class that holds it. Failing
 * to find memory changes nothing. */
void pea__buf_settle(pea_buf *buf);

/* Where somebody who packs spans into records stands among them. */
typedef struct pea__gather {
    const pea_span *spans;
    size_t offset; /* bytes of the first that are taken */
} pea__gather;

/* The bytes of all spans together. False: more than a quarter of the address space. */
bool pea__spans_total(const pea_span *spans, size_t n, size_t *total);

/* The next `len` bytes, which must be there: where they lie, if that is one place, else gathered at `room`. */
const uint8_t *pea__gather_take(pea__gather *from, size_t len, uint8_t *room);

/* Makes an empty buffer look at somebody's bytes. They are copied before the first append, or by pea__buf_own(). */
void pea__buf_borrow(pea_buf *buf, const uint8_t *data, size_t n);

/* Copies what is borrowed. PEA_OK | PEA_E_NOMEM */
PEA_MUST_CHECK pea_err pea__buf_own(pea_buf *buf);

#endif
