/* SPDX-License-Identifier: MIT */
/* A pipe as its driver sees it: options, queues and water marks, and what a write holds. Memory is in
 * pipe_memory_test.c, farewells and half-close in pipe_end_test.c, what stages, transforms and codecs may do to it in
 * pipe_contract_test.c, the rules of the wire in channel_test.c. */
#include "pipe_priv.h"
#include "support/check.h"
#include "support/faults.h"
#include "support/pair.h"
#include "support/toys.h"

/* ---- Options ---- */

static void options(void **state)
{
    pea_chain *empty, *records = pair_chain(RECORDS), *plain = pair_chain(PLAIN);
    pea_codec *codec;
    pea_pipe *pipe = NULL;
    pea_error why;
    (void)state;
    check_ok(pea_chain_new(&empty, NULL, NULL));
    check_ok(pea_codec_raw(&codec));
    const struct {
        pea_chain *chain;
        pea_pipe_opts opts;
    } bad[] = {
        {NULL, PEA_PIPE_INIT},
        {empty, PEA_PIPE_INIT},
        {records, {.size = sizeof(pea_pipe_opts), .codec = codec}},
        {plain, {.size = sizeof(pea_pipe_opts), .side = (pea_side)2}},
        {plain, {.size = sizeof(pea_pipe_opts), .high_water = 10, .low_water = 11}},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        memset(&why, 0, sizeof why);
        check_err(pea_pipe_new(&pipe, bad[i].chain, &bad[i].opts, &why), PEA_E_INVALID);
        check_err(why.code, PEA_E_INVALID);
        assert_true(why.text[0] != '\0');
        check_err(pea_pipe_new(&pipe, bad[i].chain, &bad[i].opts, NULL), PEA_E_INVALID);
        assert_null(pipe);
    }
    check_ok(pea_pipe_new(&pipe, plain, NULL, NULL)); /* no options are the defaults */
    assert_int_equal(pea_pipe_side(pipe), PEA_INITIATOR);
    check_err(pea_chain_plain(plain), PEA_E_STATE); /* frozen */
    check_err(pea_chain_add(plain, &toy_upgrade_ops, &(toy_upgrade){.secret = 1}, NULL), PEA_E_STATE);
    pea_pipe_free(pipe);
    pea_pipe_free(NULL);
    pea_chain_unref(empty);
    pea_chain_unref(records);
    pea_chain_unref(plain);
    pea_codec_unref(codec);
    assert_int_equal(faults_blocks(), 0);
}

static void chain_options(void **state)
{
    static const char too_long[257] = "";
    char name[257];
    memset(name, 'a', 256);
    name[256] = '\0';
    (void)state;
    const pea_chain_opts bad[] = {
        {.size = sizeof(pea_chain_opts), .mode = (pea_mode)3},
        {.size = sizeof(pea_chain_opts), .application = name},
        {.size = sizeof(pea_chain_opts), .application = ""},
        {.size = sizeof(pea_chain_opts), .application = "\xC3"},
        {.size = sizeof(pea_chain_opts), .application_lowest = 2, .application_highest = 1},
        {.size = sizeof(pea_chain_opts), .mode = PEA_STREAM, .application = "a"},
        {.size = sizeof(pea_chain_opts), .mode = PEA_RECORDS, .network = (const uint8_t *)too_long},
        {.size = sizeof(pea_chain_opts), .mode = PEA_STREAM, .capabilities = 1},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        pea_chain *chain = NULL;
        pea_error why = {0};
        check_err(pea_chain_new(&chain, &bad[i], &why), PEA_E_INVALID);
        assert_true(why.text[0] != '\0' && chain == NULL);
    }
    pea_chain *chain;
    pea_stage_ops ops = toy_upgrade_ops;
    check_ok(pea_chain_new(&chain, NULL, NULL));
    ops.version++;
    check_err(pea_chain_add(chain, &ops, NULL, NULL), PEA_E_INVALID);
    ops = toy_upgrade_ops;
    ops.step = NULL;
    check_err(pea_chain_add(chain, &ops, NULL, NULL), PEA_E_INVALID);
    ops = toy_upgrade_ops;
    ops.max_in = PEA_STAGE_IN_MAX + 1;
    check_err(pea_chain_add(chain, &ops, NULL, NULL), PEA_E_INVALID);
    for (unsigned i = 0; i < PEA_STAGES_MAX; i++)
        check_ok(pea_chain_add(chain, &toy_upgrade_ops, &(toy_upgrade){.secret = 1}, NULL));
    check_err(pea_chain_add(chain, &toy_upgrade_ops, &(toy_upgrade){.secret = 1}, NULL), PEA_E_INVALID);
    pea_chain_unref(chain);
    assert_int_equal(faults_blocks(), 0);
}

/* ---- Sending ---- */

static void only_when_ready(void **state)
{
    test_link link;
    pea_chain *chain = pair_chain(XOR);
    pea_pipe *pipe;
    pea_event event;
    (void)state;
    check_ok(pea_pipe_new(&pipe, chain, NULL, NULL));
    check_err(pea_pipe_send(pipe, "x", 1), PEA_E_STATE);
    check_err(pea_pipe_send(pipe, NULL, 0), PEA_E_STATE);
    check_err(pea_pipe_end(pipe), PEA_E_STATE);
    assert_int_equal(pea_pipe_state(pipe), PEA_HANDSHAKING);
    check_err(pea_pipe_next(pipe, &event), PEA_MORE);
    check_err(pea_pipe_send(pipe, "x", 1), PEA_E_STATE);
    pea_pipe_free(pipe);
    pea_chain_unref(chain);
    for (pair_kind k = PLAIN; k <= RECORDS; k++) {
        pair_open(&link, k, NULL);
        check_ok(pea_pipe_send(left(&link), "x", 1));
        check_ok(pea_pipe_close(left(&link), 0, NULL));
        check_err(pea_pipe_send(left(&link), "x", 1), PEA_E_STATE);
        check_err(pea_pipe_send(left(&link), NULL, 0), PEA_E_STATE);
        pair_close(&link);
    }
}

static void too_big(void **state)
{
    static uint8_t huge[(16u << 20) + 100];
    (void)state;
    for (pair_kind k = PLAIN; k <= RECORDS; k++) {
        test_link link;
        pair_open(&link, k, NULL);
        size_t largest = k == RECORDS ? 4000 : PEA_LENGTH_MAX_DEFAULT;
        check_err(pea_pipe_send(left(&link), huge, largest + 1), PEA_E_TOO_BIG);
        check_err(pea_pipe_send(left(&link), huge, sizeof huge), PEA_E_TOO_BIG);
        assert_int_equal(pea_pipe_queued(left(&link)), 0);
        assert_int_equal(pea__pipe_held(left(&link)), 0);
        check_ok(pea_pipe_send(left(&link), "after", 5)); /* nothing was harmed */
        check_ok(pea_pipe_send(left(&link), huge, k == RECORDS ? largest : largest - 5));
        link_run(&link);
        assert_int_equal(link.party[PEA_RESPONDER].n_messages, 2);
        assert_int_equal(link.party[PEA_RESPONDER].messages[0].len, 5);
        pair_close(&link);
    }
}

/* Above high water nothing is queued; DRAIN comes once, when what waits falls below the low one. */
static void water_marks(void **state)
{
    static const uint8_t bytes[1000];
    (void)state;
    for (pair_kind k = PLAIN; k <= RECORDS; k++) {
        test_link link;
        pair_open(&link, k, PEA_PIPE(.high_water = 10000, .low_water = 3000));
        link_party *l = &link.party[PEA_INITIATOR];
        size_t sent = 0;
        while (pea_pipe_send(l->pipe, bytes, sizeof bytes) == PEA_OK)
            sent++;
        size_t queued = pea_pipe_queued(l->pipe);
        assert_true(queued >= 10000 && queued < 12000);
        check_err(pea_pipe_send(l->pipe, bytes, 0), PEA_E_QUEUE_FULL);
        assert_int_equal(pea_pipe_queued(l->pipe), queued);
        pea_event event;
        check_err(pea_pipe_next(l->pipe, &event), PEA_MORE); /* not yet */
        link_run(&link);
        assert_int_equal(l->n_drain, 1);
        assert_int_equal(link.party[PEA_RESPONDER].n_messages, sent);
        check_ok(pea_pipe_send(l->pipe, bytes, 1));
        link_run(&link);
        assert_int_equal(l->n_drain, 1); /* only after a refusal */
        pair_close(&link);
    }
}

static void drain_waits_for_low_water(void **state)
{
    static const uint8_t bytes[100000];
    test_link link;
    pea_event event;
    (void)state;
    pair_open(&link, PLAIN, PEA_PIPE(.high_water = 200000, .low_water = 50000));
    pea_pipe *pipe = left(&link);
    check_ok(pea_pipe_send(pipe, bytes, sizeof bytes));
    check_ok(pea_pipe_send(pipe, bytes, sizeof bytes));
    check_err(pea_pipe_send(pipe, bytes, 1), PEA_E_QUEUE_FULL);
    while (pea_pipe_queued(pipe) >= 50000) {
        check_err(pea_pipe_next(pipe, &event), PEA_MORE);
        pea_pipe_sent(pipe, pair_peek(pipe));
    }
    check_ok(pea_pipe_next(pipe, &event));
    assert_int_equal(event.type, PEA_EVENT_DRAIN);
    check_err(pea_pipe_next(pipe, &event), PEA_MORE);
    pair_close(&link);
}

/* ---- What a write holds ---- */

static void writes_are_bounded(void **state)
{
    static uint8_t bytes[1000000];
    (void)state;
    for (pair_kind k = PLAIN; k < RECORDS; k++) {
        test_link link;
        pair_open(&link, k, NULL);
        check_ok(pea_pipe_send(left(&link), bytes, sizeof bytes));
        size_t writes = 0, full = 0;
        for (size_t n; (n = pair_peek(left(&link))) > 0; writes++) {
            assert_true(n <= PEA_WRITE_MAX);
            full += n >= PEA_WRITE_MAX - TOY_XOR_PLAIN - TOY_XOR_OVERHEAD;
            pea_pipe_sent(left(&link), n);
        }
        if (k == PLAIN || k == STREAM) /* a large message fills its writes */
            assert_int_equal(full, writes - 1);
        pair_close(&link);
    }
}

/* All that was queued before a flush has one DATA header, whatever the number of messages; output() again says the same
 * until some of it was sent. */
static void one_chunk_per_flush(void **state)
{
    test_link link;
    (void)state;
    pair_open(&link, PLAIN, NULL);
    pea_pipe *pipe = left(&link);
    for (unsigned flush = 0; flush < 3; flush++) {
        pea_span a, b;
        for (unsigned i = 0; i < 100; i++)
            check_ok(pea_pipe_send(pipe, "0123456789abcdef", 16));
        check_ok(pea_pipe_output(pipe, &a));
        assert_int_equal(a.len, 4 + 100 * 20);
        assert_memory_equal(a.data, "\4\0\x07\xD0\0\0\0\x10", 8);
        check_ok(pea_pipe_output(pipe, &b));
        check_bytes(a.data, a.len, b.data, b.len);
        pea_pipe_sent(pipe, 7);
        check_ok(pea_pipe_output(pipe, &b));
        assert_int_equal(b.len, a.len - 7);
        pea_pipe_sent(pipe, b.len);
        check_err(pea_pipe_output(pipe, &b), PEA_MORE);
    }
    pair_close(&link);
}

/* Messages that come while a write is under way are in the next chunk, and nothing is lost when writes are short. */
static void sends_between_short_writes(void **state)
{
    (void)state;
    for (pair_kind k = PLAIN; k <= RECORDS; k++) {
        test_link link;
        test_prng prng = {k + 1u};
        uint32_t said = 0;
        pair_open(&link, k, PEA_PIPE(.high_water = 5000));
        link_party *l = &link.party[PEA_INITIATOR], *r = &link.party[PEA_RESPONDER];
        while (said < 60) {
            for (size_t i = prng_below(&prng, 4); i > 0 && said < 60; i--) {
                uint8_t bytes[300] = {(uint8_t)said};
                if (pea_pipe_send(l->pipe, bytes, 1 + prng_below(&prng, 299)) == PEA_OK)
                    said++;
            }
            pea_span span;
            if (pea_pipe_output(l->pipe, &span) == PEA_OK) {
                size_t n = 1 + prng_below(&prng, span.len);
                assert_int_equal(link_feed(&link, PEA_RESPONDER, span.data, n), n);
                pea_pipe_sent(l->pipe, n);
            }
        }
        for (pea_span span; pea_pipe_output(l->pipe, &span) == PEA_OK; pea_pipe_sent(l->pipe, span.len))
            link_feed(&link, PEA_RESPONDER, span.data, span.len);
        assert_int_equal(r->n_messages, 60);
        for (unsigned i = 0; i < 60; i++)
            assert_int_equal(r->messages[i].data[0], i);
        pair_close(&link);
    }
}

/* For confirmed sends: a message has left when sent_total has come to what queued_total was behind it. */
static void totals(void **state)
{
    (void)state;
    for (pair_kind k = PLAIN; k < RECORDS; k++) {
        test_link link;
        uint64_t after[20];
        pair_open(&link, k, NULL);
        pea_pipe *pipe = left(&link);
        pair_drop_output(pipe);
        assert_int_equal(pea__pipe_queued_total(pipe), pea__pipe_sent_total(pipe));
        for (unsigned i = 0; i < 20; i++) {
            uint8_t bytes[5000] = {0};
            check_ok(pea_pipe_send(pipe, bytes, sizeof bytes));
            after[i] = pea__pipe_queued_total(pipe);
            assert_true(i == 0 || after[i] > after[i - 1]);
        }
        assert_true(pea__pipe_sent_total(pipe) < after[0]);
        uint64_t before = pea__pipe_sent_total(pipe);
        for (size_t n; (n = pair_peek(pipe)) > 0;) {
            pea_pipe_sent(pipe, n < 700 ? n : 700);
            assert_true(pea__pipe_sent_total(pipe) >= before &&
                        pea__pipe_sent_total(pipe) <= pea__pipe_queued_total(pipe));
            before = pea__pipe_sent_total(pipe);
        }
        assert_int_equal(pea__pipe_sent_total(pipe), pea__pipe_queued_total(pipe));
        assert_true(before >= after[19]);
        pair_close(&link);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options),
        cmocka_unit_test(chain_options),
        cmocka_unit_test(only_when_ready),
        cmocka_unit_test(too_big),
        cmocka_unit_test(water_marks),
        cmocka_unit_test(drain_waits_for_low_water),
        cmocka_unit_test(writes_are_bounded),
        cmocka_unit_test(one_chunk_per_flush),
        cmocka_unit_test(sends_between_short_writes),
        cmocka_unit_test(totals),
    };
    faults_install();
    return cmocka_run_group_tests_name("pipes: sending", tests, NULL, NULL);
}
