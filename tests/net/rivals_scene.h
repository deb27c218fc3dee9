/* SPDX-License-Identifier: MIT */
/* Two nodes that let anybody in, and listen both: where it matters whose id is the larger one. */
#ifndef PEAPOD_TEST_RIVALS_SCENE_H
#define PEAPOD_TEST_RIVALS_SCENE_H

#include "support/faults.h"
#include "support/net.h"

#include "peapod/identity.h"

typedef struct rivals {
    net n;
    pea_identity *identity[2]; /* a's is the larger id: of one_per_peer it decides */
    pea_peer peer[2];
    uint64_t random; /* for a test's use */
} rivals;

/* Nodes by these options: over Noise in native mode, in another over a plain chain. */
rivals *rivals_open(pea_mode mode, bool one_per_peer, uint32_t linger_ms);

/* A cmocka teardown: nothing of it is left. */
int rivals_close(void **state);

/* Connections that it was told of, and of no end. */
unsigned live(const net_side *side);

#endif
