/* SPDX-License-Identifier: MIT */
/* How a pipe ends: farewells, what is flushed and what is dropped, broken transports, and either kind of half-close. */
#include <errno.h>

#include "support/check.h"
#include "support/faults.h"
#include "support/pair.h"
#include "support/toys.h"

/* The text is cut at 256 bytes, and never within a character. */
static void farewell_texts(void **state)
{
    char text[400];
    (void)state;
    for (unsigned shift = 0; shift < 3; shift++) {
        test_link link;
        pair_open(&link, XOR, NULL);
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
        pair_close(&link);
    }
}

/* A text of ours that is not UTF-8 must not make us break the protocol. */
static void farewell_text_that_is_none(void **state)
{
    test_link link;
    (void)state;
    pair_open(&link, PLAIN, NULL);
    check_ok(pea_pipe_close(left(&link), 0, "caf\xE9"));
    link_run(&link);
    check_err(link.party[PEA_RESPONDER].reason.err, PEA_OK);
    pair_close(&link);
}

/* What is queued goes out before the farewell, all of it. */
/* A message can be looked at while it is answered, and while whoever answers it ends the connection. */
static void a_message_outlives_its_answer(void **state)
{
    uint8_t sent[4000], wire[8192];
    (void)state;
    memset(sent, 's', sizeof sent);
    for (pair_kind k = PLAIN; k <= RECORDS; k++) {
        for (size_t cut = 0; cut < 2; cut++) { /* whole, and in two pieces */
            test_link link;
            pea_event event = {.len = 0};
            pea_span span;
            size_t taken;
            pair_open(&link, k, NULL);
            check_ok(pea_pipe_send(left(&link), sent, sizeof sent));
            size_t len = 0;
            for (; pea_pipe_output(left(&link), &span) == PEA_OK; pea_pipe_sent(left(&link), span.len)) {
                memcpy(wire + len, span.data, span.len);
                len += span.len;
            }
            check_ok(pea_pipe_feed(right(&link), wire, cut * 100, &taken));
            check_err(pea_pipe_next(right(&link), &event), PEA_MORE);
            check_ok(pea_pipe_feed(right(&link), wire + cut * 100, len - cut * 100, &taken));
            check_ok(pea_pipe_next(right(&link), &event));
            check_ok(pea_pipe_send(right(&link), event.data, event.len));
            check_bytes(event.data, event.len, sent, sizeof sent);
            while (pea_pipe_output(right(&link), &span) == PEA_OK)
                pea_pipe_sent(right(&link), span.len);
            check_bytes(event.data, event.len, sent, sizeof sent);
            check_ok(pea_pipe_close(right(&link), PEA_CODE_NORMAL, NULL));
            while (pea_pipe_output(right(&link), &span) == PEA_OK)
                pea_pipe_sent(right(&link), span.len);
            pea_pipe_abort(right(&link), PEA_BY_USER, PEA_E_ABORTED, NULL);
            check_bytes(event.data, event.len, sent, sizeof sent);
            pair_close(&link);
        }
    }
}

static void close_flushes(void **state)
{
    static const uint8_t bytes[300000];
    (void)state;
    for (pair_kind k = PLAIN; k <= RECORDS; k++) {
        test_link link;
        pair_open(&link, k, PEA_PIPE(.high_water = 1u << 20));
        size_t len = k == RECORDS ? 4000 : sizeof bytes;
        for (unsigned i = 0; i < 3; i++)
            check_ok(pea_pipe_send(left(&link), bytes, len));
        check_ok(pea_pipe_close(left(&link), 0, NULL));
        assert_int_equal(pea_pipe_state(left(&link)), PEA_CLOSING);
        link_run(&link);
        assert_int_equal(link.party[PEA_RESPONDER].n_messages, 3);
        check_err(link.party[PEA_RESPONDER].reason.err, k == STREAM ? PEA_EOF_UNAUTHENTICATED : PEA_OK);
        assert_int_equal(link.party[PEA_INITIATOR].n_closed, 1);
        pair_close(&link);
    }
}

static void abort_drops(void **state)
{
    (void)state;
    for (pair_kind k = PLAIN; k <= RECORDS; k++) {
        test_link link;
        pea_span span;
        pair_open(&link, k, NULL);
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
        pair_close(&link);
    }
}

static void broken_transport(void **state)
{
    test_link link;
    (void)state;
    pair_open(&link, XOR, NULL);
    check_ok(pea_pipe_send(left(&link), "lost", 4));
    pea_pipe_broken(left(&link), PEA_BY_WRITING, EPIPE);
    link_run(&link);
    const pea_reason *reason = &link.party[PEA_INITIATOR].reason;
    assert_int_equal(reason->origin, PEA_BY_WRITING);
    assert_int_equal(reason->sys, EPIPE);
    assert_true(reason->err < 0);
    pair_close(&link);
    /* A closing pipe keeps the reason that it has. */
    pair_open(&link, XOR, NULL);
    check_ok(pea_pipe_close(left(&link), 0, NULL));
    pea_pipe_broken(left(&link), PEA_BY_READING, ECONNRESET);
    link_drain(&link, PEA_INITIATOR);
    assert_int_equal(link.party[PEA_INITIATOR].reason.origin, PEA_BY_USER);
    assert_int_equal(link.party[PEA_INITIATOR].n_closed, 1);
    pair_close(&link);
}

/* After our farewell 64 KiB are read and thrown away; then it is enough. */
static void discards_within_bounds(void **state)
{
    static const uint8_t bytes[100000];
    test_link link;
    (void)state;
    pair_open(&link, XOR, NULL);
    check_ok(pea_pipe_close(left(&link), 0, NULL));
    pair_drop_output(left(&link));
    size_t before = faults_bytes(), all = 0;
    for (size_t n = 1; n > 0; all += n)
        n = link_feed(&link, PEA_INITIATOR, bytes, 10000);
    assert_int_equal(all, 65536);
    assert_true(faults_bytes() <= before);
    assert_int_equal(link.party[PEA_INITIATOR].n_closed, 1);
    check_err(link.party[PEA_INITIATOR].reason.err, PEA_OK);
    pair_close(&link);
}

/* ---- Half-close ---- */

static void half_close_either_way(void **state)
{
    const pair_kind kinds[] = {PLAIN, XOR, STREAM_XOR, RECORDS};
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        test_link link;
        pair_open(&link, kinds[i], PEA_PIPE(.half_close = true));
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
        pair_close(&link);
    }
}

/* Without half_close the peer's END ends both directions; what we have queued goes out first. */
static void whole_close(void **state)
{
    const pair_kind kinds[] = {PLAIN, XOR, STREAM_XOR, RECORDS};
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        test_link link;
        pair_open(&link, kinds[i], NULL);
        link_party *l = &link.party[PEA_INITIATOR], *r = &link.party[PEA_RESPONDER];
        check_ok(pea_pipe_send(r->pipe, "queued", 6));
        check_ok(pea_pipe_end(l->pipe));
        link_run(&link);
        assert_int_equal(l->n_messages, 1);
        assert_int_equal(r->n_end, 0);
        check_err(l->reason.err, PEA_OK);
        check_err(r->reason.err, PEA_OK);
        pair_close(&link);
    }
}

/* On a bare stream FIN is the only end, and proves nothing; a transform that has no END of its own cannot
 * half-close. */
static void half_close_of_streams(void **state)
{
    static toy_upgrade frame_stage = {.frame = true};
    test_link link;
    (void)state;
    pair_open(&link, STREAM, PEA_PIPE(.half_close = true));
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
    pair_close(&link);

    pea_chain *chain;
    check_ok(pea_chain_new(&chain, PEA_CHAIN(.mode = PEA_STREAM), NULL));
    check_ok(pea_chain_add(chain, &toy_upgrade_ops, &frame_stage, NULL));
    check_ok(pea_chain_plain(chain));
    pair_open_over(&link, chain, PEA_PIPE(.half_close = true));
    check_err(pea_pipe_end(left(&link)), PEA_E_UNSUPPORTED);
    check_ok(pea_pipe_send(left(&link), "still open", 10));
    pair_close(&link);
    pea_chain_unref(chain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(farewell_texts),
        cmocka_unit_test(farewell_text_that_is_none),
        cmocka_unit_test(a_message_outlives_its_answer),
        cmocka_unit_test(close_flushes),
        cmocka_unit_test(abort_drops),
        cmocka_unit_test(broken_transport),
        cmocka_unit_test(discards_within_bounds),
        cmocka_unit_test(half_close_either_way),
        cmocka_unit_test(whole_close),
        cmocka_unit_test(half_close_of_streams),
    };
    faults_install();
    return cmocka_run_group_tests_name("pipes: ends", tests, NULL, NULL);
}
