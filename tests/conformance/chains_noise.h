/* SPDX-License-Identifier: MIT */
/* The keys of the Noise chains: made before the first case, since they outlive each. */
#ifndef PEAPOD_TEST_CHAINS_NOISE_H
#define PEAPOD_TEST_CHAINS_NOISE_H

void noise_chains_setup(void);
void noise_chains_teardown(void);

#endif
