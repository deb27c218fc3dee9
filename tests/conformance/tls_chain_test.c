/* SPDX-License-Identifier: MIT */
/* The conformance suite over chains with TLS, of the versions that this build speaks. */
#include "chains.h"
#include "chains_tls.h"
#include "support/faults.h"

int main(void)
{
    faults_install();
    tls_chains_setup();
    int failed = chain_suite("stages and transforms: TLS", tls_chains, tls_chains_here());
    tls_chains_teardown();
    return failed;
}
