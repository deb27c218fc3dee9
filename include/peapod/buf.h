/* SPDX-License-Identifier: MIT */
/* Bytes: spans that look, buffers that hold, and where their memory comes from. Stages and transforms read and
 * write through these. */
#ifndef PEAPOD_BUF_H
#define PEAPOD_BUF_H

#include "peapod/err.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Somebody else's bytes, to read. */
typedef struct pea_span {
    const uint8_t *data;
    size_t len;
} pea_span;

struct pea__pool;

/* A queue of bytes: taken at the front, appended at the back. All zero is an empty one. Read `data` and
 * `len`; leave the rest to the functions. A pointer into a buffer is good until the next call that appends to
 * it. One thread at a time. */
typedef struct pea_buf {
    uint8_t *data; /* the first unread byte */
    size_t len;    /* unread bytes */
    /* Private. */
    uint8_t *base;          /* what was allocated; NULL with data set: borrowed, copied before the first append */
    size_t cap;             /* bytes at base */
    struct pea__pool *pool; /* where base comes from; NULL: the allocator */
} pea_buf;

/* Makes at least `n` free bytes behind the content and returns where they begin in `*tail`. Fill
 * some, then commit them.
 * PEA_OK | PEA_E_NOMEM, and the buffer is as before. */
PEA_API PEA_MUST_CHECK pea_err pea_buf_reserve(pea_buf *buf, size_t n, uint8_t **tail);

/* Takes `n` bytes that were written behind the content, at most what was reserved. */
PEA_API void pea_buf_commit(pea_buf *buf, size_t n);

/* Copies `n` bytes to the back. PEA_OK | PEA_E_NOMEM, and the buffer is as before. */
PEA_API PEA_MUST_CHECK pea_err pea_buf_append(pea_buf *buf, const void *data, size_t n);

/* Drops the first `n` bytes (at most `len`). Their memory stays readable until the next append. */
PEA_API void pea_buf_consume(pea_buf *buf, size_t n);

/* Gives the memory back; the buffer is empty and may be used again. */
PEA_API void pea_buf_free(pea_buf *buf);

/* The memory functions of the whole library. `realloc_fn` is called with NULL for new memory and never with size 0;
 * both may be called on any thread. */
typedef struct pea_allocator {
    void *(*realloc_fn)(void *arg, void *ptr, size_t size);
    void (*free_fn)(void *arg, void *ptr);
    void *arg;
} pea_allocator;

/* Replaces malloc. Call it before anything else of peapod, once; later calls are refused, since
 * memory may already be out.
 * PEA_OK | PEA_E_STATE | PEA_E_INVALID */
PEA_API PEA_MUST_CHECK pea_err pea_set_allocator(const pea_allocator *allocator);

#ifdef __cplusplus
}
#endif
#endif
