/* SPDX-License-Identifier: MIT */
/* Messages that are large for a pipe: they span chunks, they arrive piece by piece and cost no more than they must, and
 * a connection that is aborted in the middle of one knows what had left by then. */
#include <stdlib.h>

#include "pipe_priv.h"
#include "support/check.h"
#include "support/faults.h"
#include "support/pair.h"

#define CHUNK_MAX 0xFFFFFFu /* what the length of a chunk can say */

/* ---- Messages that no chunk can hold ---- */

typedef struct chunks {
    unsigned data, other;
    size_t bytes;
} chunks;

/* What `side` wrote since `from`, whose chunks are whole. */
static chunks count_chunks(const link_party *p, size_t from)
{
    chunks c = {0};
    size_t at = from;
    while (at < p->wire_len) {
        const uint8_t *header = p->wire + at;
        size_t len = (size_t)header[1] << 16 | (size_t)header[2] << 8 | header[3];
        assert_true(at + 4 + len <= p->wire_len);
        if (header[0] == 4)
            c.data++;
        else
            c.other++;
        c.bytes += header[0] == 4 ? len : 0;
        at += 4 + len;
    }
    return c;
}

static void check_huge(pair_kind kind, size_t len, unsigned least_chunks)
{
    pea_codec *codec;
    test_link link;
    uint8_t *huge = malloc(len);
    assert_non_null(huge);
    prng_fill(&(test_prng){len}, huge, len);
    check_ok(pea_codec_length(&codec, PEA_LENGTH(.max = 64u << 20), NULL));
    pair_open(&link, kind, PEA_PIPE(.codec = codec));
    size_t from = link.party[PEA_INITIATOR].wire_len;
    check_ok(pea_pipe_send(left(&link), "before", 6));
    check_ok(pea_pipe_send(left(&link), huge, len));
    link_run(&link);
    check_ok(pea_pipe_send(left(&link), "after", 5)); /* the chunk of the huge one is closed, or has room for it */
    link_run(&link);
    const link_party *r = &link.party[PEA_RESPONDER];
    assert_int_equal(r->n_messages, 3);
    check_bytes(r->messages[0].data, r->messages[0].len, "before", 6);
    check_bytes(r->messages[1].data, r->messages[1].len, huge, len);
    check_bytes(r->messages[2].data, r->messages[2].len, "after", 5);
    if (kind == PLAIN) {
        chunks c = count_chunks(&link.party[PEA_INITIATOR], from);
        assert_true(c.data >= least_chunks);
        assert_int_equal(c.other, 0);
        assert_int_equal(c.bytes, 3 * 4 + 6 + len + 5);
    }
    assert_int_equal(pea__pipe_held(left(&link)), 0);
    assert_int_equal(pea__pipe_held(right(&link)), 0);
    pair_close(&link);
    pea_codec_unref(codec);
    free(huge);
}

static void huge_messages_span_chunks(void **state)
{
    (void)state;
    check_huge(PLAIN, CHUNK_MAX - 8, 1); /* the last that its own chunk can hold, and the first that it cannot */
    check_huge(PLAIN, CHUNK_MAX - 4, 1);
    check_huge(PLAIN, CHUNK_MAX - 3, 2);
    check_huge(PLAIN, (16u << 20) + 1, 2);
    check_huge(PLAIN, 2 * CHUNK_MAX - 4, 2); /* two chunks, full to the brim */
    check_huge(PLAIN, 2 * CHUNK_MAX + 5, 3);
    check_huge(STREAM, (16u << 20) + 1, 0);
    check_huge(XOR, (16u << 20) + 1, 0);
}

/* ---- What an unfinished message costs ---- */

static size_t most_held(pair_kind kind, const char *header, size_t header_len, size_t payload)
{
    static uint8_t zeros[65536];
    test_link link;
    size_t most = 0;
    pair_open(&link, kind, NULL);
    assert_int_equal(link_feed(&link, PEA_RESPONDER, (const uint8_t *)header, header_len), header_len);
    for (size_t fed = 0; fed < payload;) {
        size_t n = payload - fed < sizeof zeros ? payload - fed : sizeof zeros;
        if (payload - fed > 1 && n == payload - fed)
            n--; /* all but the last byte */
        assert_int_equal(link_feed(&link, PEA_RESPONDER, zeros, n), n);
        fed += n;
        if (pea__pipe_held(right(&link)) > most)
            most = pea__pipe_held(right(&link));
        assert_int_equal(link.party[PEA_RESPONDER].n_messages, fed == payload);
    }
    assert_int_equal(link.party[PEA_RESPONDER].messages[0].len, payload);
    assert_int_equal(pea__pipe_held(right(&link)), 0);
    pair_close(&link);
    return most;
}

/* A message of 8 MiB is 8,388,612 bytes with its length: just above a power of two, where a buffer that grows has
 * most to give away. Twice what is needed is enough. */
static void an_unfinished_message_holds_twice_its_size_at_most(void **state)
{
    const size_t enough = (16u << 20) + 4096;
    (void)state;
    assert_true(most_held(STREAM, "\0\x80\0\0", 4, 8u << 20) <= enough);
    assert_true(most_held(PLAIN, "\4\x80\0\4\0\x80\0\0", 8, 8u << 20) <= enough);
    assert_true(most_held(STREAM, "\0\x10\0\0", 4, 1u << 20) <= (4u << 20) + 4096);
}

/* ---- What has left when the end comes ---- */

/* One write takes the first message whole. `begun`: a second one has begun when the pipe is aborted. */
static void abort_after_a_write(pair_kind kind, bool begun)
{
    static const uint8_t large[1000000];
    test_link link;
    pea_span span;
    pair_open(&link, kind, PEA_PIPE(.high_water = 8u << 20));
    pea_pipe *pipe = left(&link);
    check_ok(pea_pipe_send(pipe, "first", 5));
    uint64_t first = pea__pipe_queued_total(pipe);
    if (kind == RECORDS) { /* a write holds whole records, all that there are */
        check_ok(pea_pipe_output(pipe, &span));
        pea_pipe_sent(pipe, span.len);
    }
    check_ok(pea_pipe_send(pipe, large, kind == RECORDS ? 4000 : sizeof large));
    uint64_t second = pea__pipe_queued_total(pipe);
    assert_true(first < second);
    if (kind != RECORDS) {
        for (uint64_t sent = 0; sent < first; sent += span.len) { /* toys have small records: several make a write */
            check_ok(pea_pipe_output(pipe, &span));
            pea_pipe_sent(pipe, span.len);
        }
    }
    assert_true(pea__pipe_sent_total(pipe) >= first);
    if (begun) {
        check_ok(pea_pipe_output(pipe, &span));
        pea_pipe_sent(pipe, 1);
    }
    pea_pipe_abort(pipe, PEA_BY_USER, PEA_E_ABORTED, "");
    assert_true(pea__pipe_sent_total(pipe) >= first);
    assert_true(pea__pipe_sent_total(pipe) < second);
    check_err(pea_pipe_output(pipe, &span), PEA_EOF);
    assert_true(pea__pipe_sent_total(pipe) < second);
    pair_close(&link);
}

static void what_was_dropped_has_not_left(void **state)
{
    (void)state;
    for (pair_kind k = PLAIN; k <= RECORDS; k++) {
        abort_after_a_write(k, true);
        abort_after_a_write(k, false);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(huge_messages_span_chunks),
        cmocka_unit_test(an_unfinished_message_holds_twice_its_size_at_most),
        cmocka_unit_test(what_was_dropped_has_not_left),
    };
    faults_install();
    return cmocka_run_group_tests_name("pipes: large messages", tests, NULL, NULL);
}
