/* SPDX-License-Identifier: MIT */
/* The conformance suite over chains with Noise. */
#include "chains.h"
#include "chains_noise.h"
#include "support/faults.h"

int main(void)
{
    faults_install();
    noise_chains_setup();
    int failed = chain_suite("stages and transforms: Noise", noise_chains, n_noise_chains);
    noise_chains_teardown();
    return failed;
}
