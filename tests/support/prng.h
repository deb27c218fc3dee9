/* SPDX-License-Identifier: MIT */
/* Numbers that look random and are the same in every run: a test that failed fails again. splitmix64, public domain
 * by Sebastiano Vigna. */
#ifndef PEAPOD_TEST_PRNG_H
#define PEAPOD_TEST_PRNG_H

#include <stddef.h>
#include <stdint.h>

typedef struct test_prng {
    uint64_t state; /* the seed */
} test_prng;

static inline uint64_t prng_next(test_prng *prng)
{
    uint64_t z = (prng->state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* 0 ... below - 1; below is at least 1. */
static inline size_t prng_below(test_prng *prng, size_t below)
{
    return (size_t)(prng_next(prng) % below);
}

static inline void prng_fill(test_prng *prng, uint8_t *dst, size_t len)
{
    for (size_t i = 0; i < len; i++)
        dst[i] = (uint8_t)prng_next(prng);
}

#endif
