/* SPDX-License-Identifier: MIT */
/* The conformance suite over chains of toy stages and transforms. */
#include "chains.h"
#include "support/faults.h"

int main(void)
{
    faults_install();
    return chain_suite("stages and transforms: toys", toy_chains, n_toy_chains);
}
