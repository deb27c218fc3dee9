/* SPDX-License-Identifier: MIT */
/* What the TLS chains need before and after a run: certificates. */
#ifndef PEAPOD_TEST_CHAINS_TLS_H
#define PEAPOD_TEST_CHAINS_TLS_H

#include <stddef.h>

void tls_chains_setup(void);
void tls_chains_teardown(void);

/* How many of tls_chains this build can run: those of TLS 1.3 come last. */
size_t tls_chains_here(void);

#endif
