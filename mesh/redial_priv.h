/* SPDX-License-Identifier: MIT */
/* How long to wait before dialling again. */
#ifndef PEAPOD_REDIAL_PRIV_H
#define PEAPOD_REDIAL_PRIV_H

#include <stdint.h>

typedef struct pea__redial {
    uint32_t first_ms, most_ms;
    uint64_t state; /* of the jitter */
} pea__redial;

/* Milliseconds to wait after so many failures in a row (at least 1): first_ms, doubled with each further one, at most
 * most_ms; less a random part of up to half of it, so that peers that were cut off together do not come back
 * together. */
uint32_t pea__redial_wait(pea__redial *redial, uint32_t failures);

/* SplitMix64: for jitter and shapes, where numbers must be spread and need not be secret. */
uint64_t pea__mix_next(uint64_t *state);

#endif
