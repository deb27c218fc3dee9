/* SPDX-License-Identifier: MIT */
/* How long to wait before dialling again: exponential backoff with jitter. */
#include "redial_priv.h"

uint64_t pea__mix_next(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

uint32_t pea__redial_wait(pea__redial *redial, uint32_t failures)
{
    uint64_t wait = redial->first_ms;
    for (uint32_t i = 1; i < failures && wait < redial->most_ms; i++)
        wait *= 2;
    if (wait > redial->most_ms)
        wait = redial->most_ms;
    return (uint32_t)(wait - pea__mix_next(&redial->state) % (wait / 2 + 1));
}
