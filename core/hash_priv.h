/* SPDX-License-Identifier: MIT */
/* A keyed hash for tables whose keys peers choose. Not a cryptographic hash. */
#ifndef PEAPOD_HASH_PRIV_H
#define PEAPOD_HASH_PRIV_H

#include <stddef.h>
#include <stdint.h>

#define PEA__SIPHASH_KEY_BYTES 16

/* SipHash-2-4 (Aumasson and Bernstein, 2012). */
uint64_t pea__siphash(const uint8_t key[PEA__SIPHASH_KEY_BYTES], const void *data, size_t len);

/* The same under a key that is drawn once for each process. Any thread. */
uint64_t pea__table_hash(const void *data, size_t len);

#endif
