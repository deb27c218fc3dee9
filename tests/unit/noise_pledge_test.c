/* SPDX-License-Identifier: MIT */
/* Noise patterns in which the initiator's first record alone proves it: whatever comes behind that record in the same
 * read, nobody is READY whom the policy was not asked about once it was proven. */
#include "support/check.h"

#include "peapod/chain.h"
#include "peapod/noise.h"
#include "peapod/pipe.h"
#include "peapod/policy.h"

static const char *const protocols[] = {"Noise_IK_25519_ChaChaPoly_BLAKE2b", "Noise_KK_25519_ChaChaPoly_BLAKE2b",
                                        "Noise_IX_25519_ChaChaPoly_BLAKE2b", "Noise_KX_25519_ChaChaPoly_BLAKE2b",
                                        "Noise_IK1_25519_ChaChaPoly_BLAKE2b"};

typedef struct party {
    pea_identity *identity;
    pea_peer peer;
    pea_pipe *pipe;
    unsigned readies, messages;
    bool named; /* at READY */
} party;

static party parties[2];
static unsigned asked_proven; /* the responder's policy */
static bool refuses;

static pea_err check(void *self, pea_peer *peer, const pea_candidate *candidate, pea_reason *why)
{
    (void)self, (void)peer, (void)why;
    if (candidate->side == PEA_INITIATOR || !candidate->proven)
        return PEA_OK;
    asked_proven++;
    return refuses ? PEA_E_REFUSED : PEA_OK;
}

static void turn(pea_side side)
{
    party *me = &parties[side];
    pea_event event;
    while (pea_pipe_next(me->pipe, &event) == PEA_OK) {
        if (event.type == PEA_EVENT_READY) {
            me->readies++;
            me->named = pea_pipe_peer(me->pipe) != NULL;
            assert_true(pea_pipe_peer(me->pipe) == NULL ||
                        pea_peer_equal(pea_pipe_peer(me->pipe), &parties[side == PEA_INITIATOR].peer));
        } else if (event.type == PEA_EVENT_MESSAGE) {
            me->messages++;
        }
    }
}

static size_t say(pea_side side, uint8_t *wire)
{
    size_t n = 0;
    pea_span span;
    while (pea_pipe_output(parties[side].pipe, &span) == PEA_OK) {
        memcpy(wire + n, span.data, span.len);
        n += span.len;
        pea_pipe_sent(parties[side].pipe, span.len);
    }
    return n;
}

static void hear(pea_side side, const uint8_t *wire, size_t len)
{
    size_t taken;
    if (len > 0)
        (void)!pea_pipe_feed(parties[side].pipe, wire, len, &taken);
    turn(side);
}

static void open_pipes(const char *protocol)
{
    static const pea_policy_ops ops = {.version = PEA_POLICY_VERSION, .name = "test", .check = check};
    pea_policy *policy;
    memset(parties, 0, sizeof parties);
    asked_proven = 0;
    check_ok(pea_policy_new(&policy, &ops, NULL));
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
        check_ok(pea_identity_generate(&parties[side].identity, NULL));
        pea_identity_peer(parties[side].identity, &parties[side].peer);
    }
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
        pea_chain *chain;
        const pea_peer *other = &parties[side == PEA_INITIATOR].peer;
        bool knows = strncmp(protocol, "Noise_K", 7) == 0 && side == PEA_RESPONDER;
        check_ok(pea_chain_new(&chain, PEA_CHAIN(.mode = PEA_NATIVE), NULL));
        check_ok(pea_chain_noise(chain,
                                 PEA_NOISE(.identity = parties[side].identity, .protocol = protocol,
                                           .remote_static = knows ? other->id : NULL),
                                 NULL));
        check_ok(pea_pipe_new(&parties[side].pipe, chain,
                              PEA_PIPE(.side = side, .policy = policy, .expect = side == PEA_INITIATOR ? other : NULL),
                              NULL));
        pea_chain_unref(chain);
    }
    pea_policy_unref(policy);
}

static void close_pipes(void)
{
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
        pea_pipe_free(parties[side].pipe);
        pea_identity_unref(parties[side].identity);
    }
}

enum { HONEST, A_BROKEN_HEADER, A_BROKEN_TAG, WAYS };

/* Up to the initiator's first records, behind which somebody puts something. */
static void play(const char *protocol, int way)
{
    static uint8_t wire[1 << 16];
    open_pipes(protocol);
    turn(PEA_INITIATOR);
    turn(PEA_RESPONDER);
    for (int i = 0; i < 2; i++) {
        size_t n = say(PEA_INITIATOR, wire);
        if (i == 1 && way == A_BROKEN_HEADER) {
            memset(wire + n, 0, 2);
            n += 2;
        }
        if (i == 1 && way == A_BROKEN_TAG) {
            static const uint8_t record[2 + 32] = {0, 32};
            memcpy(wire + n, record, sizeof record);
            n += sizeof record;
        }
        hear(PEA_RESPONDER, wire, n);
        n = say(PEA_RESPONDER, wire);
        hear(PEA_INITIATOR, wire, n);
    }
    for (int i = 0; i < 3; i++) {
        size_t n = say(PEA_INITIATOR, wire);
        hear(PEA_RESPONDER, wire, n);
        n = say(PEA_RESPONDER, wire);
        hear(PEA_INITIATOR, wire, n);
    }
}

static void nobody_is_ready_unasked(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof protocols / sizeof protocols[0]; i++)
        for (int way = HONEST; way < WAYS; way++)
            for (int no = 0; no < 2; no++) {
                const party *responder = &parties[PEA_RESPONDER];
                refuses = no;
                play(protocols[i], way);
                assert_int_equal(asked_proven, 1);
                if (refuses)
                    assert_int_equal(responder->readies, 0);
                else if (way == HONEST)
                    assert_int_equal(responder->readies, 1);
                assert_true(responder->readies == 0 || responder->named);
                assert_int_equal(responder->messages, 0);
                if (refuses || way != HONEST)
                    assert_int_not_equal(pea_pipe_state(responder->pipe), PEA_READY);
                close_pipes();
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(nobody_is_ready_unasked)};
    return cmocka_run_group_tests_name("proof by the first record", tests, NULL, NULL);
}
