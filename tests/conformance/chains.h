/* SPDX-License-Identifier: MIT */
/* The chains that the conformance suite runs over. A new stage or transform is one more line in a table of these, and
 * the function that builds it. */
#ifndef PEAPOD_TEST_CHAINS_H
#define PEAPOD_TEST_CHAINS_H

#include "support/link.h"

/* Both ends of a connection, ready to become pipes. build() fills it; what it leaves zero is the library's default. */
typedef struct chain_ends {
    pea_chain *chain[2]; /* by side */
    pea_codec *codec[2];
    pea_policy *policy[2];
    const pea_peer *expect[2];
    bool (*idle)(void *arg); /* answers what waits; returns whether it did. NULL: nothing waits */
    void *arg;               /* of idle() and release(); `link` is told to it before the first byte */
    void (*set_link)(void *arg, test_link *link);
    void (*release)(void *arg); /* after chains and the like are gone */
} chain_ends;

typedef enum chain_flags {
    CHAIN_AUTHENTIC = 1, /* whatever is changed on the way, from the first byte on, is found */
    CHAIN_END = 2,       /* the end is authenticated: a cut is PEA_E_TRUNCATED, never less */
    CHAIN_RAW = 4,       /* messages have no boundaries */
    /* no two conversations are equally long, since signatures are not: the last bytes of what is heard are not tried */
    CHAIN_VARIES = 8,
    CHAIN_LATE = 16 /* the policy is waited for at READY: no messages come in the read that ends the handshake */
} chain_flags;

typedef struct chain_case {
    const char *name;
    void (*build)(chain_ends *ends, const void *arg);
    const void *arg;
    unsigned flags;
    unsigned stride; /* of cases that try every byte: 0 and 1 are every one */
    unsigned splits; /* the same for split_at_every_byte, which needs no more than a conversation each; 0: stride */
} chain_case;

/* Runs the suite over `n` chains; returns the number of failed cases, as main() does. */
int chain_suite(const char *name, const chain_case *cases, size_t n);

extern const chain_case toy_chains[];
extern const size_t n_toy_chains;

extern const chain_case tls_chains[];
extern const size_t n_tls_chains;

extern const chain_case noise_chains[];
extern const size_t n_noise_chains;

#endif
