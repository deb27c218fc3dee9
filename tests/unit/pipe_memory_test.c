/* SPDX-License-Identifier: MIT */
/* What a pipe holds: nothing when idle, no more than was received, and no allocation for a message. */
#include <stdlib.h>

#include "pipe_state_priv.h"
#include "support/check.h"
#include "support/faults.h"
#include "support/pair.h"

static void idle_holds_nothing(void **state)
{
    (void)state;
    for (pair_kind k = PLAIN; k <= RECORDS; k++) {
        test_link link;
        pair_open(&link, k, NULL);
        for (unsigned i = 0; i < 10; i++) {
            check_ok(pea_pipe_send(left(&link), "ping", 4));
            check_ok(pea_pipe_send(right(&link), "pong", 4));
            link_run(&link);
        }
        assert_int_equal(pea__pipe_held(left(&link)), 0);
        assert_int_equal(pea__pipe_held(right(&link)), 0);
        pair_close(&link);
    }
}

/* An idle plain pipe with its codec. */
static void small(void **state)
{
    test_link link;
    (void)state;
    pair_open(&link, PLAIN, NULL);
    assert_true(faults_bytes() <= 2 * 300 + sizeof(pea_chain));
    pair_close(&link);
}

/* Steady traffic allocates nothing. */
static void no_allocation_per_message(void **state)
{
    (void)state;
    for (pair_kind k = PLAIN; k <= RECORDS; k++) {
        pea__pool pool = {0};
        test_link link;
        link_init(&link);
        for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
            pea_chain *chain = pair_chain(k);
            check_ok(
                pea__pipe_new(&link.party[side].pipe, chain, PEA_PIPE(.side = side), &pool, NULL, 1, side + 1u, NULL));
            pea_chain_unref(chain);
        }
        link_run(&link);
        size_t before = 0;
        for (unsigned i = 0; i < 300; i++) {
            uint8_t bytes[3000] = {0};
            if (i == 100)
                before = faults_allocations();
            for (unsigned n = 0; n < 5; n++) {
                check_ok(pea_pipe_send(left(&link), bytes, (i * 37 + n * 501) % sizeof bytes));
                check_ok(pea_pipe_send(right(&link), bytes, 16));
            }
            link_run(&link);
            for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
                link_party *p = &link.party[side];
                while (p->n_messages > 0)
                    free(p->messages[--p->n_messages].data);
            }
        }
        assert_int_equal(faults_allocations(), before);
        link_free(&link);
        pea__pool_clear(&pool);
        assert_int_equal(faults_blocks(), 0);
    }
}

/* Who claims much and sends little costs little. */
static void claims_cost_nothing(void **state)
{
    (void)state;
    const struct {
        pair_kind kind;
        const char *bytes;
        size_t len;
    } claims[] = {
        {PLAIN, "\4\xFF\xFF\xFF\0\x80\0\0some", 12}, /* a chunk of 16 MiB with a message of 8 MiB */
        {PLAIN, "\4\0\0\6\0\x80\0\0so\4\xFF\xFF\xFFme", 16},
        {STREAM, "\0\x80\0\0some", 8},
    };
    for (size_t i = 0; i < sizeof claims / sizeof claims[0]; i++) {
        test_link link;
        pair_open(&link, claims[i].kind, NULL);
        size_t before = faults_bytes();
        link_feed(&link, PEA_RESPONDER, (const uint8_t *)claims[i].bytes, claims[i].len);
        assert_true(faults_bytes() - before <= 2048);
        uint8_t more[3000] = {0};
        link_feed(&link, PEA_RESPONDER, more, sizeof more);
        assert_true(faults_bytes() - before <= 16384);
        assert_int_equal(link.party[PEA_RESPONDER].n_closed, 0);
        pair_close(&link);
    }
}

/* A peer that pings and never reads makes us owe one answer. */
static void pings_cost_nothing(void **state)
{
    test_link link;
    pea_event event;
    (void)state;
    pair_open(&link, PLAIN, NULL);
    size_t before = faults_bytes();
    for (unsigned i = 0; i < 20000; i++) {
        size_t taken;
        uint8_t ping[12] = {7, 0, 0, 8, 0, 0, 0, 0, 0, 0, (uint8_t)(i >> 8), (uint8_t)i};
        check_ok(pea_pipe_feed(right(&link), ping, sizeof ping, &taken));
        assert_int_equal(taken, sizeof ping);
        check_err(pea_pipe_next(right(&link), &event), PEA_MORE);
        if (i == 0) { /* one answer is under way, and stays there */
            pea_span span;
            check_ok(pea_pipe_output(right(&link), &span));
        }
    }
    assert_true(faults_bytes() - before <= 2048);
    pea_span span;
    check_ok(pea_pipe_output(right(&link), &span));
    check_bytes(span.data, span.len, "\x08\0\0\x08\0\0\0\0\0\0\0\0", 12);
    pea_pipe_sent(right(&link), span.len);
    check_ok(pea_pipe_output(right(&link), &span));
    check_bytes(span.data, span.len, "\x08\0\0\x08\0\0\0\0\0\0\x4E\x1F", 12); /* the last one */
    pea_pipe_sent(right(&link), span.len);
    check_err(pea_pipe_output(right(&link), &span), PEA_MORE);
    pair_close(&link);
}

/* The age of the message whose rest is missing. */
static void partial_messages_have_an_age(void **state)
{
    test_link link;
    (void)state;
    for (pair_kind k = PLAIN; k <= STREAM; k += 2) {
        pair_open(&link, k, NULL);
        pea_pipe *pipe = right(&link);
        const char *message = k == PLAIN ? "\4\0\0\6\0\0\0\2ab" : "\0\0\0\2ab";
        size_t len = k == PLAIN ? 10 : 6;
        assert_int_equal(pea_pipe_partial_since(pipe), -1);
        pea_pipe_tick(pipe, 5000, 0);
        link_feed(&link, PEA_RESPONDER, (const uint8_t *)message, 3);
        assert_int_equal(pea_pipe_partial_since(pipe), 5000);
        pea_pipe_tick(pipe, 6000, 0);
        link_feed(&link, PEA_RESPONDER, (const uint8_t *)message + 3, len - 4);
        assert_int_equal(pea_pipe_partial_since(pipe), 5000);
        link_feed(&link, PEA_RESPONDER, (const uint8_t *)message + len - 1, 1);
        assert_int_equal(link.party[PEA_RESPONDER].n_messages, 1);
        assert_int_equal(pea_pipe_partial_since(pipe), -1);
        pair_close(&link);
    }
}

/* Pipes of one pool that take turns work with the same flow; one that has half a message keeps its own. */
static void flows_are_shared(void **state)
{
    (void)state;
    pea__pool pool = {0};
    test_link link;
    link_init(&link);
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
        pea_chain *chain = pair_chain(PLAIN);
        check_ok(pea__pipe_new(&link.party[side].pipe, chain, PEA_PIPE(.side = side), &pool, NULL, 1, side + 1u, NULL));
        pea_chain_unref(chain);
        assert_false(pea__flow_rests(link.party[side].pipe));
    }
    link_run(&link);
    assert_true(pea__flow_rests(left(&link)) && pea__flow_rests(right(&link)));
    check_ok(pea_pipe_send(left(&link), "ping", 4));
    const pea__flow *flow = left(&link)->flow;
    assert_false(pea__flow_rests(left(&link)));
    link_run(&link);
    assert_int_equal(link.party[PEA_RESPONDER].n_messages, 1);
    assert_true(pea__flow_rests(left(&link)) && pea__flow_rests(right(&link)));
    size_t before = faults_allocations();
    check_ok(pea_pipe_send(right(&link), "pong", 4));
    check_ok(pea_pipe_send(left(&link), "ping", 4));
    assert_true(right(&link)->flow == flow || left(&link)->flow == flow);
    assert_ptr_not_equal(right(&link)->flow, left(&link)->flow);
    link_run(&link);
    link_feed(&link, PEA_RESPONDER, (const uint8_t *)"\4\0\0\6\0\0", 6);
    assert_true(pea__flow_rests(left(&link)) && !pea__flow_rests(right(&link)));
    link_feed(&link, PEA_RESPONDER, (const uint8_t *)"\0\2ab", 4);
    assert_true(pea__flow_rests(right(&link)));
    assert_int_equal(link.party[PEA_RESPONDER].n_messages, 3);
    assert_int_equal(faults_allocations(), before);
    link_free(&link);
    pea__pool_clear(&pool);
    assert_int_equal(faults_blocks(), 0);
}

/* A pipe that rests, and finds no memory when there is something to do. */
static void no_memory_to_go_on(void **state)
{
    (void)state;
    test_link link;
    size_t taken;
    pea_event event;
    pea_span span;
    pair_open(&link, PLAIN, NULL);
    faults_arm(0);
    check_err(pea_pipe_send(left(&link), "ping", 4), PEA_E_NOMEM);
    assert_true(faults_disarm());
    check_ok(pea_pipe_send(left(&link), "ping", 4));
    link_run(&link);
    assert_int_equal(link.party[PEA_RESPONDER].n_messages, 1);
    faults_arm_all();
    check_err(pea_pipe_feed(right(&link), "\4\0\0\6\0\0\0\2ab", 10, &taken), PEA_E_NOMEM);
    check_err(pea_pipe_output(right(&link), &span), PEA_EOF); /* there is none to say goodbye, either */
    check_ok(pea_pipe_next(right(&link), &event));
    assert_true(faults_disarm());
    assert_int_equal(event.type, PEA_EVENT_CLOSED);
    assert_int_equal(event.reason->err, PEA_E_NOMEM);
    pair_close(&link);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(idle_holds_nothing),        cmocka_unit_test(small),
        cmocka_unit_test(no_allocation_per_message), cmocka_unit_test(claims_cost_nothing),
        cmocka_unit_test(pings_cost_nothing),        cmocka_unit_test(partial_messages_have_an_age),
        cmocka_unit_test(flows_are_shared),          cmocka_unit_test(no_memory_to_go_on),
    };
    faults_install();
    return cmocka_run_group_tests_name("pipes: memory", tests, NULL, NULL);
}
