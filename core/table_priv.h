/* SPDX-License-Identifier: MIT */
/* uthash as peapod uses it: the library's allocator, a keyed hash, and no exit() where memory is short: after an add,
 * hh.tbl is NULL if it failed. */
#ifndef PEAPOD_TABLE_PRIV_H
#define PEAPOD_TABLE_PRIV_H

#include "buf_priv.h"
#include "hash_priv.h"

#define HASH_NONFATAL_OOM 1
#define HASH_FUNCTION(keyptr, keylen, hashv) ((hashv) = (unsigned)pea__table_hash((keyptr), (keylen)))
#define uthash_malloc(size) pea__realloc(NULL, (size))
#define uthash_free(ptr, size) pea__free(ptr)
#include <uthash.h>

#endif
