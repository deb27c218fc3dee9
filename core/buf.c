/* SPDX-License-Identifier: MIT */
/* Buffers and the pool that their memory comes from. A buffer grows with the bytes that were put in, never with what
 * somebody claims will come. */
#include "buf_priv.h"

#include <string.h>

/* Size classes: a tail of a few messages; a message or two; what a round says to one of many; a full write or read with
 * room for its overhead. */
static const size_t class_size[PEA__POOL_CLASSES] = {1u << 10, 8u << 10, 32u << 10, 128u << 10};

/* Blocks of each class kept for later: 256 KiB, 512 KiB, 4 MiB and 1 MiB of idle memory for each thread at most. */
static const uint32_t class_keep[PEA__POOL_CLASSES] = {256, 64, 128, 8};

/* Buffers below this grow fourfold, larger ones twofold: a message of 8 MiB must not hold 32. */
#define GROW_FAST_BELOW (1u << 20)

/* Spares kept: 150 KiB. */
#define SPARES_KEEP 256u

struct pea__block {
    struct pea__block *next;
};

/* The smallest class that holds `n`; PEA__POOL_CLASSES if none does. */
static unsigned class_of(size_t n)
{
    unsigned c = 0;
    while (c < PEA__POOL_CLASSES && class_size[c] < n)
        c++;
    return c;
}

/* What to ask for when `n` bytes are needed: a class, or past them a multiple of what is there. */
static size_t grown(size_t cap, size_t n)
{
    unsigned c = class_of(n);
    if (c < PEA__POOL_CLASSES)
        return class_size[c];
    size_t size = cap < class_size[PEA__POOL_CLASSES - 1] ? class_size[PEA__POOL_CLASSES - 1] : cap;
    while (size < n) {
        if (size > SIZE_MAX / 4)
            return n;
        size *= size < GROW_FAST_BELOW ? 4 : 2;
    }
    return size;
}

/* Nobody else writes it. */
static void count(pea__pool *pool, uint64_t more)
{
    atomic_store_explicit(&pool->held, pea__pool_held(pool) + more, memory_order_relaxed);
}

/* The class of blocks of this size; PEA__POOL_CLASSES: they have none. */
static unsigned class_exactly(size_t size)
{
    unsigned c = class_of(size);
    return c < PEA__POOL_CLASSES && class_size[c] == size ? c : PEA__POOL_CLASSES;
}

/* One that is kept. */
static uint8_t *block_of(pea__pool *pool, unsigned c)
{
    struct pea__block *block = pool->free_blocks[c];
    pool->free_blocks[c] = block->next;
    pool->kept[c]--;
    return (uint8_t *)block;
}

static uint8_t *block_take(pea__pool *pool, size_t size)
{
    if (pool == NULL)
        return pea__realloc(NULL, size);
    unsigned c = class_exactly(size);
    uint8_t *base;
    if (c < PEA__POOL_CLASSES && pool->free_blocks[c] != NULL) {
        base = block_of(pool, c);
    } else {
        pool->allocations++;
        base = pea__realloc(NULL, size);
    }
    if (base == NULL)
        return NULL;
    count(pool, size);
    if (c < PEA__POOL_CLASSES && ++pool->out[c] > pool->most[c])
        pool->most[c] = pool->out[c];
    return base;
}

/* Whether one more block is worth keeping. */
static bool is_wanted(const pea__pool *pool, unsigned c)
{
    return pool->kept[c] < class_keep[c] || (pool->trims && pool->kept[c] + pool->out[c] < pool->most[c]);
}

static void block_give(pea__pool *pool, uint8_t *base, size_t size)
{
    if (base == NULL)
        return;
    if (pool == NULL) {
        pea__free(base);
        return;
    }
    count(pool, (uint64_t)0 - size);
    unsigned c = class_exactly(size);
    if (c < PEA__POOL_CLASSES)
        pool->out[c]--;
    if (c < PEA__POOL_CLASSES && is_wanted(pool, c)) {
        struct pea__block *block = (struct pea__block *)(void *)base;
        block->next = pool->free_blocks[c];
        pool->free_blocks[c] = block;
        pool->kept[c]++;
    } else {
        pea__free(base);
    }
}

bool pea__pool_is_stretched(const pea__pool *pool)
{
    for (unsigned c = 0; c < PEA__POOL_CLASSES; c++)
        if (pool->most[c] > class_keep[c])
            return true;
    return false;
}

void pea__pool_trim(pea__pool *pool)
{
    for (unsigned c = 0; c < PEA__POOL_CLASSES; c++) {
        while (pool->kept[c] > class_keep[c] && pool->kept[c] + pool->out[c] > pool->most[c])
            pea__free(block_of(pool, c));
        pool->most[c] = pool->out[c];
    }
}

void pea__pool_clear(pea__pool *pool)
{
    for (unsigned c = 0; c < PEA__POOL_CLASSES; c++)
        while (pool->free_blocks[c] != NULL)
            pea__free(block_of(pool, c));
    while (pool->spares != NULL)
        pea__free(pea__pool_take_spare(pool));
}

pea__spare *pea__pool_take_spare(pea__pool *pool)
{
    pea__spare *spare = pool->spares;
    if (spare == NULL)
        return NULL;
    pool->spares = spare->next;
    pool->spares_kept--;
    return spare;
}

void pea__pool_give_spare(pea__pool *pool, pea__spare *spare)
{
    if (pool->spares_kept == SPARES_KEEP) {
        pea__free(spare);
        return;
    }
    spare->next = pool->spares;
    pool->spares = spare;
    pool->spares_kept++;
}

/* Moves the content to new memory of `size` bytes. */
static pea_err move_to(pea_buf *buf, size_t size)
{
    uint8_t *base = block_take(buf->pool, size);
    if (base == NULL)
        return PEA_E_NOMEM;
    if (buf->len > 0)
        memcpy(base, buf->data, buf->len);
    block_give(buf->pool, buf->base, buf->cap);
    buf->base = base;
    buf->cap = size;
    buf->data = base;
    return PEA_OK;
}

pea_err pea_buf_reserve(pea_buf *buf, size_t n, uint8_t **tail)
{
    if (n > SIZE_MAX - buf->len)
        return PEA_E_NOMEM;
    size_t need = buf->len + n;
    if (buf->base == NULL || need > buf->cap) {
        pea_err err = move_to(buf, grown(buf->cap, need > 0 ? need : 1));
        if (err != PEA_OK)
            return err;
    } else if ((size_t)(buf->data - buf->base) > buf->cap - need) {
        memmove(buf->base, buf->data, buf->len);
        buf->data = buf->base;
    }
    *tail = buf->data + buf->len;
    return PEA_OK;
}

void pea_buf_commit(pea_buf *buf, size_t n)
{
    buf->len += n;
}

pea_err pea_buf_append(pea_buf *buf, const void *data, size_t n)
{
    if (n == 0)
        return PEA_OK;
    uint8_t *tail;
    pea_err err = pea_buf_reserve(buf, n, &tail);
    if (err != PEA_OK)
        return err;
    memcpy(tail, data, n);
    buf->len += n;
    return PEA_OK;
}

void pea_buf_consume(pea_buf *buf, size_t n)
{
    if (n == 0)
        return; /* there may be no data to point into */
    buf->data += n;
    buf->len -= n;
}

void pea_buf_free(pea_buf *buf)
{
    block_give(buf->pool, buf->base, buf->cap);
    *buf = (pea_buf){.pool = buf->pool};
}

void pea__buf_borrow(pea_buf *buf, const uint8_t *data, size_t n)
{
    block_give(buf->pool, buf->base, buf->cap);
    /* Nobody writes through a borrowed pointer: reserve() copies first, because base is NULL. */
    union {
        const uint8_t *in;
        uint8_t *out;
    } unconst = {.in = data};
    *buf = (pea_buf){.data = unconst.out, .len = n, .pool = buf->pool};
}

pea_err pea__buf_own(pea_buf *buf)
{
    if (buf->base != NULL || buf->len == 0)
        return PEA_OK;
    return move_to(buf, grown(0, buf->len));
}

void pea__buf_settle(pea_buf *buf)
{
    if (buf->len == 0) {
        if (buf->base != NULL || buf->data != NULL)
            pea_buf_free(buf);
        return;
    }
    size_t fit = grown(0, buf->len);
    if (buf->base != NULL && fit < buf->cap) {
        pea_err err = move_to(buf, fit); /* no memory for the smaller block: keep the larger one */
        (void)err;
    }
}

/* ---- Spans ---- */

bool pea__spans_total(const pea_span *spans, size_t n, size_t *total)
{
    *total = 0;
    for (size_t i = 0; i < n; i++) {
        if (spans[i].len > SIZE_MAX / 4 - *total)
            return false;
        *total += spans[i].len;
    }
    return true;
}

static void skip_taken(pea__gather *from)
{
    while (from->offset == from->spans->len) {
        from->spans++;
        from->offset = 0;
    }
}

const uint8_t *pea__gather_take(pea__gather *from, size_t len, uint8_t *room)
{
    if (len == 0)
        return room;
    skip_taken(from);
    if (from->spans->len - from->offset >= len) {
        const uint8_t *where = from->spans->data + from->offset;
        from->offset += len;
        return where;
    }
    for (size_t done = 0; done < len;) {
        skip_taken(from);
        size_t left = from->spans->len - from->offset, part = left < len - done ? left : len - done;
        memcpy(room + done, from->spans->data + from->offset, part);
        from->offset += part;
        done += part;
    }
    return room;
}
