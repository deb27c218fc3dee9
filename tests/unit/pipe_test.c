/* SPDX-License-Identifier: MIT */
/* A pipe as its driver sees it: options, queues and water marks, what a write holds, memory, half-close,
 * farewells. What stages, transforms and codecs may do to it is in pipe_contract_test.c; the rules of the wire
 * are in channel_test.c. */
#include <errno.h>
#include <stdlib.h>

#include "pipe_priv.h"
#include "support/check.h"
#include "support/faults.h"
#include "support/link.h"
#include "support/toys.h"

/* ---- A pair that is READY ---- */

typedef enum kind { PLAIN, XOR, STREAM, STREAM_XOR, RECORDS } kind;

static toy_upgrade xor_stage = {.nonce = {"nonce-i", "nonce-r"}, .secret = 77};
static toy_upgrade record_stage = {.nonce = {"nonce-i", "nonce-r"}, .secret = 78, .preserving = true};

static pea_chain *chain_of(kind k)
{
    pea_chain *chain;
    check_ok(pea_chain_new(&chain,
                           PEA_CHAIN(.mode = k == RECORDS  ? PEA_RECORDS
                                             : k >= STREAM ? PEA_STREAM
                                                           : PEA_NATIVE),
                           NULL));
    if (k == XOR || k == STREAM_XOR)
        check_ok(pea_chain_add(chain, &toy_upgrade_ops, &xor_stage, NULL));
    if (k == RECORDS)
        check_ok(pea_chain_add(chain, &toy_upgrade_ops, &record_stage, NULL));
    check_ok(pea_chain_plain(chain));
    return chain;
}

static size_t blocks; /* that were out before */

static void open_pair(test_link *link, kind k, const pea_pipe_opts *opts)
{
    blocks = faults_blocks();
    link_init(link);
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
        pea_chain *chain = chain_of(k);
        pea_pipe_opts o = opts != NULL ? *opts : (pea_pipe_opts)PEA_PIPE_INIT;
        o.side = side;
        check_ok(pea_pipe_new(&link->party[side].pipe, chain, &o, NULL));
        pea_chain_unref(chain);
    }
    link_run(link);
    assert_int_equal(link->party[0].n_ready, 1);
    assert_int_equal(link->party[1].n_ready, 1);
}

static void close_pair(test_link *link)
{
    link_free(link);
    assert_int_equal(faults_blocks(), blocks);
}

static pea_pipe *left(test_link *link)
{
    return link->party[PEA_INITIATOR].pipe;
}

static pea_pipe *right(test_link *link)
{
    return link->party[PEA_RESPONDER].pipe;
}

/* The bytes of one write, without taking them. 0: there are none. */
static size_t peek(pea_pipe *pipe)
{
    pea_span span = {NULL, 0};
    pea_err err = pea_pipe_output(pipe, &span);
    assert_true(err == PEA_OK || span.len == 0);
    return span.len;
}

static void drop_output(pea_pipe *pipe)
{
    for (size_t n; (n = peek(pipe)) > 0;)
        pea_pipe_sent(pipe, n);
}

/* ---- Options ---- */

static void options(void **state)
{
    pea_chain *empty, *records = chain_of(RECORDS), *plain = chain_of(PLAIN);
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
    check_err(pea_chain_add(plain, &toy_upgrade_ops, &xor_stage, NULL), PEA_E_STATE);
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
        check_ok(pea_chain_add(chain, &toy_upgrade_ops, &xor_stage, NULL));
    check_err(pea_chain_add(chain, &toy_upgrade_ops, &xor_stage, NULL), PEA_E_INVALID);
    pea_chain_unref(chain);
    assert_int_equal(faults_blocks(), 0);
}

/* ---- Sending ---- */

static void only_when_ready(void **state)
{
    test_link link;
    pea_chain *chain = chain_of(XOR);
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
    for (kind k = PLAIN; k <= RECORDS; k++) {
        open_pair(&link, k, NULL);
        check_ok(pea_pipe_send(left(&link), "x", 1));
        check_ok(pea_pipe_close(left(&link), 0, NULL));
        check_err(pea_pipe_send(left(&link), "x", 1), PEA_E_STATE);
        check_err(pea_pipe_send(left(&link), NULL, 0), PEA_E_STATE);
        close_pair(&link);
    }
}

static void too_big(void **state)
{
    static uint8_t huge[(16u << 20) + 100];
    (void)state;
    for (kind k = PLAIN; k <= RECORDS; k++) {
        test_link link;
        open_pair(&link, k, NULL);
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
        close_pair(&link);
    }
}

/* Above high water nothing is queued; DRAIN comes once, when what waits falls below the low one. */
static void water_marks(void **state)
{
    static const uint8_t bytes[1000];
    (void)state;
    for (kind k = PLAIN; k <= RECORDS; k++) {
        test_link link;
        open_pair(&link, k, PEA_PIPE(.high_water = 10000, .low_water = 3000));
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
        close_pair(&link);
    }
}

static void drain_waits_for_low_water(void **state)
{
    static const uint8_t bytes[100000];
    test_link link;
    pea_event event;
    (void)state;
    open_pair(&link, PLAIN, PEA_PIPE(.high_water = 200000, .low_water = 50000));
    pea_pipe *pipe = left(&link);
    check_ok(pea_pipe_send(pipe, bytes, sizeof bytes));
    check_ok(pea_pipe_send(pipe, bytes, sizeof bytes));
    check_err(pea_pipe_send(pipe, bytes, 1), PEA_E_QUEUE_FULL);
    while (pea_pipe_queued(pipe) >= 50000) {
        check_err(pea_pipe_next(pipe, &event), PEA_MORE);
        pea_pipe_sent(pipe, peek(pipe));
    }
    check_ok(pea_pipe_next(pipe, &event));
    assert_int_equal(event.type, PEA_EVENT_DRAIN);
    check_err(pea_pipe_next(pipe, &event), PEA_MORE);
    close_pair(&link);
}

/* ---- What a write holds ---- */

static void writes_are_bounded(void **state)
{
    static uint8_t bytes[1000000];
    (void)state;
    for (kind k = PLAIN; k < RECORDS; k++) {
        test_link link;
        open_pair(&link, k, NULL);
        check_ok(pea_pipe_send(left(&link), bytes, sizeof bytes));
        size_t writes = 0, full = 0;
        for (size_t n; (n = peek(left(&link))) > 0; writes++) {
            assert_true(n <= PEA_WRITE_MAX);
            full += n >= PEA_WRITE_MAX - TOY_XOR_PLAIN - TOY_XOR_OVERHEAD;
            pea_pipe_sent(left(&link), n);
        }
        if (k == PLAIN || k == STREAM) /* a large message fills its writes */
            assert_int_equal(full, writes - 1);
        close_pair(&link);
    }
}

/* All that was queued before a flush has one DATA header, whatever the number of messages; output() again says the same
 * until some of it was sent. */
static void one_chunk_per_flush(void **state)
{
    test_link link;
    (void)state;
    open_pair(&link, PLAIN, NULL);
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
    close_pair(&link);
}

/* Messages that come while a write is under way are in the next chunk, and nothing is lost when writes are short. */
static void sends_between_short_writes(void **state)
{
    (void)state;
    for (kind k = PLAIN; k <= RECORDS; k++) {
        test_link link;
        test_prng prng = {k + 1u};
        uint32_t said = 0;
        open_pair(&link, k, PEA_PIPE(.high_water = 5000));
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
        close_pair(&link);
    }
}

/* For confirmed sends: a message has left when sent_total has come to what queued_total was behind it. */
static void totals(void **state)
{
    (void)state;
    for (kind k = PLAIN; k < RECORDS; k++) {
        test_link link;
        uint64_t after[20];
        open_pair(&link, k, NULL);
        pea_pipe *pipe = left(&link);
        drop_output(pipe);
        assert_int_equal(pea__pipe_queued_total(pipe), pea__pipe_sent_total(pipe));
        for (unsigned i = 0; i < 20; i++) {
            uint8_t bytes[5000] = {0};
            check_ok(pea_pipe_send(pipe, bytes, sizeof bytes));
            after[i] = pea__pipe_queued_total(pipe);
            assert_true(i == 0 || after[i] > after[i - 1]);
        }
        assert_true(pea__pipe_sent_total(pipe) < after[0]);
        uint64_t before = pea__pipe_sent_total(pipe);
        for (size_t n; (n = peek(pipe)) > 0;) {
            pea_pipe_sent(pipe, n < 700 ? n : 700);
            assert_true(pea__pipe_sent_total(pipe) >= before &&
                        pea__pipe_sent_total(pipe) <= pea__pipe_queued_total(pipe));
            before = pea__pipe_sent_total(pipe);
        }
        assert_int_equal(pea__pipe_sent_total(pipe), pea__pipe_queued_total(pipe));
        assert_true(before >= after[19]);
        close_pair(&link);
    }
}

/* ---- Memory ---- */

static void idle_holds_nothing(void **state)
{
    (void)state;
    for (kind k = PLAIN; k <= RECORDS; k++) {
        test_link link;
        open_pair(&link, k, NULL);
        for (unsigned i = 0; i < 10; i++) {
            check_ok(pea_pipe_send(left(&link), "ping", 4));
            check_ok(pea_pipe_send(right(&link), "pong", 4));
            link_run(&link);
        }
        assert_int_equal(pea__pipe_held(left(&link)), 0);
        assert_int_equal(pea__pipe_held(right(&link)), 0);
        close_pair(&link);
    }
}

/* All of an idle plain pipe, its codec and chain included, stays below what a connection may have. */
static void small(void **state)
{
    test_link link;
    (void)state;
    open_pair(&link, PLAIN, NULL);
    size_t chains = 2 * 600; /* each pipe here has a chain of its own; connections share one */
    assert_true(faults_bytes() < 2 * 900 + chains);
    close_pair(&link);
}

/* Steady traffic allocates nothing. */
static void no_allocation_per_message(void **state)
{
    (void)state;
    for (kind k = PLAIN; k <= RECORDS; k++) {
        pea__pool pool = {0};
        test_link link;
        link_init(&link);
        for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
            pea_chain *chain = chain_of(k);
            check_ok(pea__pipe_new(&link.party[side].pipe, chain, PEA_PIPE(.side = side), &pool, 1, side + 1u, NULL));
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
        kind kind;
        const char *bytes;
        size_t len;
    } claims[] = {
        {PLAIN, "\4\xFF\xFF\xFF\0\x80\0\0some", 12}, /* a chunk of 16 MiB with a message of 8 MiB */
        {PLAIN, "\4\0\0\6\0\x80\0\0so\4\xFF\xFF\xFFme", 16},
        {STREAM, "\0\x80\0\0some", 8},
    };
    for (size_t i = 0; i < sizeof claims / sizeof claims[0]; i++) {
        test_link link;
        open_pair(&link, claims[i].kind, NULL);
        size_t before = faults_bytes();
        link_feed(&link, PEA_RESPONDER, (const uint8_t *)claims[i].bytes, claims[i].len);
        assert_true(faults_bytes() - before <= 2048);
        uint8_t more[3000] = {0};
        link_feed(&link, PEA_RESPONDER, more, sizeof more);
        assert_true(faults_bytes() - before <= 16384);
        assert_int_equal(link.party[PEA_RESPONDER].n_closed, 0);
        close_pair(&link);
    }
}

/* A peer that pings and never reads makes us owe one answer. */
static void pings_cost_nothing(void **state)
{
    test_link link;
    pea_event event;
    (void)state;
    open_pair(&link, PLAIN, NULL);
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
    close_pair(&link);
}

/* The age of the message whose rest is missing. */
static void partial_messages_have_an_age(void **state)
{
    test_link link;
    (void)state;
    for (kind k = PLAIN; k <= STREAM; k += 2) {
        open_pair(&link, k, NULL);
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
        close_pair(&link);
    }
}

/* ---- Ends ---- */

/* The text is cut at 256 bytes, and never within a character. */
static void farewell_texts(void **state)
{
    char text[400];
    (void)state;
    for (unsigned shift = 0; shift < 3; shift++) {
        test_link link;
        open_pair(&link, XOR, NULL);
        memset(text, 0, sizeof text);
        memset(text, 'a', shift);
        for (size_t at = shift; at + 3 < sizeof text; at += 3)
            memcpy(text + at, "\xE2\x82\xAC", 3);
        check_ok(pea_pipe_close(left(&link), 0x4567, text));
        check_err(pea_pipe_close(left(&link), 0, "again"), PEA_E_STATE);
        link_run(&link);
        const pea_reason *mine = &link.party[PEA_INITIATOR].reason, *theirs = &link.party[PEA_RESPONDER].reason;
        assert_int_equal(theirs->code, 0x4567);
        check_err(theirs->err, PEA_E_CLOSED);
        assert_int_equal(strlen(theirs->text), shift + (256 - shift) / 3 * 3);
        assert_memory_equal(theirs->text, text, strlen(theirs->text));
        assert_int_equal(mine->origin, PEA_BY_USER);
        assert_int_equal(mine->code, 0x4567);
        close_pair(&link);
    }
}

/* A text of ours that is not UTF-8 must not make us break the protocol. */
static void farewell_text_that_is_none(void **state)
{
    test_link link;
    (void)state;
    open_pair(&link, PLAIN, NULL);
    check_ok(pea_pipe_close(left(&link), 0, "caf\xE9"));
    link_run(&link);
    check_err(link.party[PEA_RESPONDER].reason.err, PEA_OK);
    close_pair(&link);
}

/* What is queued goes out before the farewell, all of it. */
static void close_flushes(void **state)
{
    static const uint8_t bytes[300000];
    (void)state;
    for (kind k = PLAIN; k <= RECORDS; k++) {
        test_link link;
        open_pair(&link, k, PEA_PIPE(.high_water = 1u << 20));
        size_t len = k == RECORDS ? 4000 : sizeof bytes;
        for (unsigned i = 0; i < 3; i++)
            check_ok(pea_pipe_send(left(&link), bytes, len));
        check_ok(pea_pipe_close(left(&link), 0, NULL));
        assert_int_equal(pea_pipe_state(left(&link)), PEA_CLOSING);
        link_run(&link);
        assert_int_equal(link.party[PEA_RESPONDER].n_messages, 3);
        check_err(link.party[PEA_RESPONDER].reason.err, k == STREAM ? PEA_EOF_UNAUTHENTICATED : PEA_OK);
        assert_int_equal(link.party[PEA_INITIATOR].n_closed, 1);
        close_pair(&link);
    }
}

static void abort_drops(void **state)
{
    (void)state;
    for (kind k = PLAIN; k <= RECORDS; k++) {
        test_link link;
        pea_span span;
        open_pair(&link, k, NULL);
        check_ok(pea_pipe_send(left(&link), "lost", 4));
        pea_pipe_abort(left(&link), PEA_BY_TIMEOUT, PEA_E_TIMEOUT, "too slow");
        pea_pipe_abort(left(&link), PEA_BY_USER, PEA_E_ABORTED, "again");
        check_err(pea_pipe_output(left(&link), &span), PEA_EOF);
        link_run(&link);
        const pea_reason *reason = &link.party[PEA_INITIATOR].reason;
        assert_int_equal(reason->origin, PEA_BY_TIMEOUT);
        check_err(reason->err, PEA_E_TIMEOUT);
        assert_string_equal(reason->text, "too slow");
        assert_int_equal(link.party[PEA_RESPONDER].n_messages, 0);
        check_err(link.party[PEA_RESPONDER].reason.err, k == STREAM ? PEA_EOF_UNAUTHENTICATED : PEA_E_TRUNCATED);
        close_pair(&link);
    }
}

static void broken_transport(void **state)
{
    test_link link;
    (void)state;
    open_pair(&link, XOR, NULL);
    check_ok(pea_pipe_send(left(&link), "lost", 4));
    pea_pipe_broken(left(&link), PEA_BY_WRITING, EPIPE);
    link_run(&link);
    const pea_reason *reason = &link.party[PEA_INITIATOR].reason;
    assert_int_equal(reason->origin, PEA_BY_WRITING);
    assert_int_equal(reason->sys, EPIPE);
    assert_true(reason->err < 0);
    close_pair(&link);
    /* A closing pipe keeps the reason that it has. */
    open_pair(&link, XOR, NULL);
    check_ok(pea_pipe_close(left(&link), 0, NULL));
    pea_pipe_broken(left(&link), PEA_BY_READING, ECONNRESET);
    link_drain(&link, PEA_INITIATOR);
    assert_int_equal(link.party[PEA_INITIATOR].reason.origin, PEA_BY_USER);
    assert_int_equal(link.party[PEA_INITIATOR].n_closed, 1);
    close_pair(&link);
}

/* After our farewell 64 KiB are read and thrown away; then it is enough. */
static void discards_within_bounds(void **state)
{
    static const uint8_t bytes[100000];
    test_link link;
    (void)state;
    open_pair(&link, XOR, NULL);
    check_ok(pea_pipe_close(left(&link), 0, NULL));
    drop_output(left(&link));
    size_t before = faults_bytes(), all = 0;
    for (size_t n = 1; n > 0; all += n)
        n = link_feed(&link, PEA_INITIATOR, bytes, 10000);
    assert_int_equal(all, 65536);
    assert_true(faults_bytes() <= before);
    assert_int_equal(link.party[PEA_INITIATOR].n_closed, 1);
    check_err(link.party[PEA_INITIATOR].reason.err, PEA_OK);
    close_pair(&link);
}

/* ---- Half-close ---- */

static void half_close_either_way(void **state)
{
    const kind kinds[] = {PLAIN, XOR, STREAM_XOR, RECORDS};
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        test_link link;
        open_pair(&link, kinds[i], PEA_PIPE(.half_close = true));
        link_party *l = &link.party[PEA_INITIATOR], *r = &link.party[PEA_RESPONDER];
        check_ok(pea_pipe_send(l->pipe, "question", 8));
        check_ok(pea_pipe_end(l->pipe));
        check_err(pea_pipe_end(l->pipe), PEA_E_STATE);
        check_err(pea_pipe_send(l->pipe, "more", 4), PEA_E_STATE);
        link_run(&link);
        assert_int_equal(r->n_messages, 1);
        assert_int_equal(r->n_end, 1);
        assert_int_equal(l->n_closed + r->n_closed, 0);
        check_ok(pea_pipe_send(r->pipe, "answer", 6));
        link_run(&link);
        assert_int_equal(l->n_messages, 1);
        check_ok(pea_pipe_send(r->pipe, "another", 7));
        if (kinds[i] == PLAIN || kinds[i] == XOR)
            check_ok(pea_pipe_close(r->pipe, 0, NULL));
        else
            check_ok(pea_pipe_end(r->pipe));
        link_run(&link);
        assert_int_equal(l->n_messages, 2);
        assert_int_equal(l->n_closed, 1);
        assert_int_equal(r->n_closed, 1);
        check_err(l->reason.err, PEA_OK);
        check_err(r->reason.err, PEA_OK);
        close_pair(&link);
    }
}

/* Without half_close the peer's END ends both directions; what we have queued goes out first. */
static void whole_close(void **state)
{
    const kind kinds[] = {PLAIN, XOR, STREAM_XOR, RECORDS};
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        test_link link;
        open_pair(&link, kinds[i], NULL);
        link_party *l = &link.party[PEA_INITIATOR], *r = &link.party[PEA_RESPONDER];
        check_ok(pea_pipe_send(r->pipe, "queued", 6));
        check_ok(pea_pipe_end(l->pipe));
        link_run(&link);
        assert_int_equal(l->n_messages, 1);
        assert_int_equal(r->n_end, 0);
        check_err(l->reason.err, PEA_OK);
        check_err(r->reason.err, PEA_OK);
        close_pair(&link);
    }
}

/* On a bare stream FIN is the only end, and proves nothing; a transform that has no END of its own cannot
 * half-close. */
static void half_close_of_streams(void **state)
{
    static toy_upgrade frame_stage = {.frame = true};
    test_link link;
    (void)state;
    open_pair(&link, STREAM, PEA_PIPE(.half_close = true));
    link_party *l = &link.party[PEA_INITIATOR], *r = &link.party[PEA_RESPONDER];
    check_ok(pea_pipe_end(l->pipe));
    link_run(&link);
    assert_int_equal(r->n_end, 1);
    check_ok(pea_pipe_send(r->pipe, "answer", 6));
    check_ok(pea_pipe_end(r->pipe));
    link_run(&link);
    assert_int_equal(l->n_messages, 1);
    check_err(l->reason.err, PEA_EOF_UNAUTHENTICATED);
    check_err(r->reason.err, PEA_EOF_UNAUTHENTICATED);
    close_pair(&link);

    pea_chain *chain;
    blocks = faults_blocks();
    link_init(&link);
    check_ok(pea_chain_new(&chain, PEA_CHAIN(.mode = PEA_STREAM), NULL));
    check_ok(pea_chain_add(chain, &toy_upgrade_ops, &frame_stage, NULL));
    check_ok(pea_chain_plain(chain));
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++)
        check_ok(pea_pipe_new(&link.party[side].pipe, chain, PEA_PIPE(.side = side, .half_close = true), NULL));
    pea_chain_unref(chain);
    link_run(&link);
    check_err(pea_pipe_end(left(&link)), PEA_E_UNSUPPORTED);
    check_ok(pea_pipe_send(left(&link), "still open", 10));
    close_pair(&link);
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
        cmocka_unit_test(idle_holds_nothing),
        cmocka_unit_test(small),
        cmocka_unit_test(no_allocation_per_message),
        cmocka_unit_test(claims_cost_nothing),
        cmocka_unit_test(pings_cost_nothing),
        cmocka_unit_test(partial_messages_have_an_age),
        cmocka_unit_test(farewell_texts),
        cmocka_unit_test(farewell_text_that_is_none),
        cmocka_unit_test(close_flushes),
        cmocka_unit_test(abort_drops),
        cmocka_unit_test(broken_transport),
        cmocka_unit_test(discards_within_bounds),
        cmocka_unit_test(half_close_either_way),
        cmocka_unit_test(whole_close),
        cmocka_unit_test(half_close_of_streams),
    };
    faults_install();
    return cmocka_run_group_tests_name("pipes", tests, NULL, NULL);
}
