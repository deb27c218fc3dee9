/* SPDX-License-Identifier: MIT */
/* What a chain holds, for the pipe that runs it. */
#ifndef PEAPOD_CHAIN_PRIV_H
#define PEAPOD_CHAIN_PRIV_H

#include <stdatomic.h>

#include "peapod/stage.h"

#define PEA__APPLICATION_MAX 255u /* bytes: docs/wire.md, HELLO */

typedef struct pea__chain_stage {
    const pea_stage_ops *ops;
    void *config;
    void (*release)(void *config);
} pea__chain_stage;

/* What a stage wants of a connection before it begins, for one of the sides: sentences for whoever configured it
 * otherwise, static. NULL: it does not. */
typedef struct pea__chain_terms {
    const char *unable;    /* this side cannot be played */
    const char *expects;   /* it must be told whom to expect */
    const char *anonymous; /* it proves nobody to this side */
} pea__chain_terms;

struct pea_chain {
    atomic_uint refs;
    atomic_bool frozen; /* in use: what connections rely on must not change any more */
    bool plain;         /* peers need not prove who they are */
    bool negotiates;    /* a stage has the flag PEA_STAGE_NEGOTIATES: there is no greeting */
    pea_mode mode;
    uint8_t network[PEA_NETWORK_BYTES];
    char application[PEA__APPLICATION_MAX + 1];
    uint32_t application_lowest, application_highest;
    uint64_t capabilities;
    pea_peer self; /* whom our identity proves; PEA_PEER_NONE: nobody */
    /* Bytes that its stages hold for each connection, beside PEA__CONN_COST and our buffers: until it is READY, and
     * then. */
    size_t handshake_cost, cost;
    const char *notice;        /* what a log should say once of something in it; static. NULL: nothing */
    pea__chain_terms terms[2]; /* by side */
    uint8_t n_anonymous[2];    /* how many stages prove nobody to that side */
    size_t n_stages;
    pea__chain_stage stages[PEA_STAGES_MAX];
};

/* The chain's first use: refuses one that could never become READY, then freezes it.
 * PEA_OK | PEA_E_INVALID with a sentence */
PEA_MUST_CHECK pea_err pea__chain_use(pea_chain *chain, pea_error *why);

pea_mode pea__chain_mode(const pea_chain *chain);
const uint8_t *pea__chain_network(const pea_chain *chain); /* PEA_NETWORK_BYTES, zeros for none */

/* For whoever adds a stage: its terms for one side. */
void pea__chain_terms_add(pea_chain *chain, pea_side side, const pea__chain_terms *terms);

/* Whether this side of it can be played under this policy (NULL: none), with this peer expected (NULL: anybody).
 * PEA_OK | PEA_E_INVALID with a sentence */
PEA_MUST_CHECK pea_err pea__chain_suits(const pea_chain *chain, pea_side side, const pea_policy *policy,
                                        const pea_peer *expect, pea_error *why);

/* Whether two nodes can say which of them decides. PEA_OK | PEA_E_INVALID */
PEA_MUST_CHECK pea_err pea__chain_can_decide(const pea_chain *chain, pea_error *why);

/* For whoever adds a stage: what a log should say of it, static, or NULL; how many bytes it and then its transform hold
 * for each connection where the runtime's memory_limit does not see them. */
void pea__chain_notice(pea_chain *chain, const char *notice);
void pea__chain_cost(pea_chain *chain, size_t in_handshake, size_t after);

#endif
