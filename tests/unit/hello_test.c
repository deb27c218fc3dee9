/* SPDX-License-Identifier: MIT */
/* What the peer's HELLO says of its application is there for whoever asks, from READY on; and until then nothing is
 * taken out of a channel, nor ever out of one that protects nothing. Secrets of real channels: net/export_test.c. */
#include <stdio.h>

#include "peapod/pipe.h"
#include "support/check.h"
#include "support/faults.h"
#include "support/pair.h"
#include "support/script.h"

static const uint8_t network[PEA_NETWORK_BYTES];

/* ---- HELLO ---- */

static const struct saying {
    const char *tlvs;
    pea_hello hello;
} sayings[] = {
    {"", {"", 0, 0, 0}},
    {"{0004 'tests' } ", {"tests", 0, 0, 0}},
    {"{0004 'a' 00 'b' } ", {"a b", 0, 0, 0}},
    {"{0004 00 } ", {" ", 0, 0, 0}},
    {"{0005 00000000 00000000 } ", {"", 0, 0, 0}},
    {"{0005 00000000 00000001 } ", {"", 0, 1, 0}},
    {"{0005 01020304 FFFFFFFF } ", {"", 0x01020304, UINT32_MAX, 0}},
    {"{0006 0102030405060708 } ", {"", 0, 0, 0x0102030405060708}},
    {"{0006 0000000000000001 } {0008 'later' } ", {"", 0, 0, 1}},
    {"{0004 'x' } {0005 00000002 00000003 } {0006 8000000000000000 } ", {"x", 2, 3, UINT64_C(1) << 63}},
};

static void what_the_peer_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof sayings / sizeof sayings[0]; i++) {
        const pea_hello *want = &sayings[i].hello;
        size_t blocks = faults_blocks();
        char text[256];
        pea_chain *chain;
        pea_hello hello;
        script_run run = {.side = PEA_RESPONDER, .network = network};
        check_ok(pea_chain_new(&chain, NULL, NULL));
        check_ok(pea_chain_plain(chain));
        check_ok(pea_pipe_new(&run.pipe, chain, PEA_PIPE(.side = PEA_RESPONDER), NULL));
        (void)snprintf(text, sizeof text, "G [01 V N T %s] A !fin", sayings[i].tlvs);
        script_play(&run, text);
        assert_string_equal(run.events, "ready closed PEA_E_TRUNCATED reading 0000");
        check_ok(pea_pipe_hello(run.pipe, &hello)); /* and after the end */
        assert_string_equal(hello.application, want->application);
        assert_int_equal(hello.application_lowest, want->application_lowest);
        assert_int_equal(hello.application_highest, want->application_highest);
        assert_true(hello.capabilities == want->capabilities);
        pea_pipe_free(run.pipe);
        pea_chain_unref(chain);
        assert_int_equal(faults_blocks(), blocks);
    }
}

static void each_side_hears_the_other(void **state)
{
    test_link link;
    pea_chain *chains[2];
    pea_hello hello;
    (void)state;
    const pea_chain_opts opts[2] = {
        {.size = sizeof(pea_chain_opts),
         .application = "tests",
         .application_lowest = 1,
         .application_highest = 3,
         .capabilities = 5},
        {.size = sizeof(pea_chain_opts), .application_lowest = 2, .application_highest = 2}};
    for (int side = 0; side < 2; side++) {
        check_ok(pea_chain_new(&chains[side], &opts[side], NULL));
        check_ok(pea_chain_plain(chains[side]));
    }
    pair_open_between(&link, chains, NULL);
    check_ok(pea_pipe_hello(right(&link), &hello));
    assert_string_equal(hello.application, "tests");
    assert_int_equal(hello.application_lowest, 1);
    assert_int_equal(hello.application_highest, 3);
    assert_true(hello.capabilities == 5);
    check_ok(pea_pipe_hello(left(&link), &hello));
    assert_string_equal(hello.application, "");
    assert_int_equal(hello.application_lowest, 2);
    assert_int_equal(hello.application_highest, 2);
    assert_true(hello.capabilities == 0);
    pair_close(&link);
    pea_chain_unref(chains[0]);
    pea_chain_unref(chains[1]);
}

/* ---- Neither too early nor where there is nothing ---- */

static void before_it_is_ready(void **state)
{
    (void)state;
    for (pair_kind kind = PLAIN; kind <= RECORDS; kind++) {
        pea_chain *chain = pair_chain(kind);
        pea_pipe *pipe;
        pea_hello hello = {.application = "as before"};
        uint8_t out[PEA_BINDING_MAX] = {7};
        size_t len = sizeof out;
        check_ok(pea_pipe_new(&pipe, chain, PEA_PIPE(.side = PEA_INITIATOR), NULL));
        check_err(pea_pipe_hello(pipe, &hello), kind >= STREAM ? PEA_E_UNSUPPORTED : PEA_E_STATE);
        assert_string_equal(hello.application, "as before");
        check_err(pea_pipe_binding(pipe, out, &len), PEA_E_STATE);
        assert_int_equal(len, sizeof out);
        check_err(pea_pipe_export(pipe, "label", NULL, 0, out, sizeof out), PEA_E_STATE);
        assert_int_equal(out[0], 7);
        pea_pipe_free(pipe);
        pea_chain_unref(chain);
    }
}

static void of_channels_that_have_none(void **state)
{
    (void)state;
    for (pair_kind kind = PLAIN; kind <= RECORDS; kind++) {
        test_link link;
        bool plain = kind == PLAIN || kind == STREAM;
        uint8_t out[PEA_BINDING_MAX] = {7};
        size_t len = sizeof out;
        pea_hello hello;
        pair_open(&link, kind, NULL);
        check_err(pea_pipe_export(left(&link), "label", NULL, 0, out, sizeof out), PEA_E_UNSUPPORTED);
        assert_int_equal(out[0], 7);
        check_err(pea_pipe_binding(left(&link), out, &len), plain ? PEA_E_UNSUPPORTED : PEA_OK);
        check_err(pea_pipe_hello(left(&link), &hello), kind >= STREAM ? PEA_E_UNSUPPORTED : PEA_OK);
        pair_close(&link);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_peer_says),
        cmocka_unit_test(each_side_hears_the_other),
        cmocka_unit_test(before_it_is_ready),
        cmocka_unit_test(of_channels_that_have_none),
    };
    faults_install();
    return cmocka_run_group_tests_name("what HELLO says", tests, NULL, NULL);
}
