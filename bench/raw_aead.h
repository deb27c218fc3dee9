/* SPDX-License-Identifier: MIT */
/* The AEADs that the raw programs seal records with, each library as fast as it goes: keys are expanded once. */
#ifndef PEAPOD_BENCH_RAW_AEAD_H
#define PEAPOD_BENCH_RAW_AEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RAW_TAG_BYTES 16u
#define RAW_AEADS "chachapoly-sodium|chachapoly-libcrypto|aes-sodium|aes-libcrypto"

typedef struct raw_aead raw_aead;

/* One direction of it; fails the program if this machine or build has none of that name. */
raw_aead *raw_aead_new(const char *name, bool seals);

/* Record `n`: `len` bytes, and the tag behind them. */
void raw_seal(raw_aead *a, uint64_t n, const uint8_t *plain, size_t len, uint8_t *out);

/* `len` counts the tag. Fails the program if the record does not authenticate. */
void raw_open(raw_aead *a, uint64_t n, const uint8_t *sealed, size_t len, uint8_t *out);

#endif
