/* SPDX-License-Identifier: MIT */
/* A responder and a peer made by hand, up to READY and just behind it: streams that end in the greeting, records as
 * large as they may be, and broken input that is answered with silence, however it falls into reads. Payloads of the
 * handshake's messages are in noise_stage_test.c, chunks in channel_test.c. */
#include "noise/noise_priv.h"
#include "peapod/chain.h"
#include "support/check.h"
#include "support/faults.h"
#include "support/pair.h"
#include "support/toys.h"

#define GREETING 41u
#define MESSAGE_1 (2u + 32u)
#define MESSAGE_2 (2u + 96u)
#define MESSAGE_3 (2u + 64u)

static pea_identity *identity[2]; /* by side */

/* ---- The greeting ---- */

static void streams_that_end_in_the_greeting(void **state)
{
    static const uint8_t greeting[GREETING] = {0xF1, 'p', 'e', 'a', 'p', 'o', 'd', 1, 1};
    (void)state;
    for (pair_kind k = PLAIN; k <= XOR; k++)
        for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++)
            for (size_t len = 0; len <= GREETING; len++) {
                size_t taken, blocks = faults_blocks();
                pea_chain *chain = pair_chain(k);
                pea_pipe *pipe;
                pea_event event = {0};
                check_ok(pea_pipe_new(&pipe, chain, PEA_PIPE(.side = side), NULL));
                pea_chain_unref(chain);
                if (len > 0) {
                    check_ok(pea_pipe_feed(pipe, greeting, len, &taken));
                    assert_int_equal(taken, len);
                }
                pea_pipe_feed_end(pipe);
                check_ok(pea_pipe_next(pipe, &event)); /* at once: nobody calls it again for nothing */
                assert_int_equal(event.type, PEA_EVENT_CLOSED);
                check_err(event.reason->err, PEA_E_TRUNCATED);
                assert_int_equal(event.reason->origin, PEA_BY_PEER);
                assert_int_equal(pea_pipe_state(pipe), PEA_CLOSED);
                check_err(pea_pipe_next(pipe, &event), PEA_MORE);
                pea_pipe_free(pipe);
                assert_int_equal(faults_blocks(), blocks);
            }
}

/* ---- An initiator made by hand ---- */

typedef struct raw {
    test_link link; /* only its responder is a pipe */
    pea_noise *noise;
    pea_transform transform;
    uint8_t greeting[GREETING];
    toy_policy yes;
    size_t blocks;
} raw;

static void raw_open(raw *r)
{
    uint8_t prologue[6 + GREETING] = "peapod";
    pea_chain *chain;
    pea_policy *policy;
    *r = (raw){.blocks = faults_blocks()};
    link_init(&r->link);
    memcpy(r->greeting, "\xF1peapod\x01\x01", 9);
    memcpy(prologue + 6, r->greeting, GREETING);
    check_ok(pea_noise_new(&r->noise, PEA_INITIATOR,
                           PEA_NOISE(.identity = identity[PEA_INITIATOR], .prologue = {prologue, sizeof prologue},
                                     .record_preserving = true), /* so that a record holds what Noise allows */
                           NULL));
    check_ok(pea_chain_new(&chain, NULL, NULL));
    check_ok(pea_chain_noise(chain, PEA_NOISE(.identity = identity[PEA_RESPONDER]), NULL));
    check_ok(pea_policy_new(&policy, &toy_policy_ops, &r->yes));
    check_ok(pea_pipe_new(&r->link.party[PEA_RESPONDER].pipe, chain, PEA_PIPE(.side = PEA_RESPONDER, .policy = policy),
                          NULL));
    pea_policy_unref(policy);
    pea_chain_unref(chain);
}

static void raw_close(raw *r)
{
    if (r->transform.ops != NULL)
        r->transform.ops->destroy(r->transform.self);
    pea_noise_free(r->noise);
    link_free(&r->link);
    assert_int_equal(faults_blocks(), r->blocks);
}

static link_party *responder(raw *r)
{
    return &r->link.party[PEA_RESPONDER];
}

/* In reads of at most `cut` bytes, and as far as it takes them. Returns how many that were. */
static size_t raw_feed(raw *r, const void *data, size_t len, size_t cut)
{
    size_t at = 0, taken = 1;
    while (at < len && taken > 0) {
        taken = link_feed(&r->link, PEA_RESPONDER, (const uint8_t *)data + at, len - at < cut ? len - at : cut);
        at += taken;
        while (link_drain(&r->link, PEA_RESPONDER))
            continue;
    }
    return at;
}

/* Appends the next message of the handshake. */
static void raw_say(raw *r, pea_buf *out)
{
    pea_buf message = {0};
    check_ok(pea_noise_write(r->noise, (pea_span){NULL, 0}, &message));
    const uint8_t length[2] = {(uint8_t)(message.len >> 8), (uint8_t)message.len};
    check_ok(pea_buf_append(out, length, sizeof length));
    check_ok(pea_buf_append(out, message.data, message.len));
    pea_buf_free(&message);
}

static void raw_handshake(raw *r)
{
    pea_buf said = {0}, payload = {0};
    check_ok(pea_buf_append(&said, r->greeting, GREETING));
    raw_say(r, &said);
    assert_int_equal(raw_feed(r, said.data, said.len, said.len), said.len);
    assert_int_equal(responder(r)->wire_len, GREETING + MESSAGE_2);
    check_ok(pea_noise_read(r->noise, (pea_span){responder(r)->wire + GREETING + 2, MESSAGE_2 - 2}, &payload));
    pea_buf_consume(&said, said.len);
    raw_say(r, &said);
    assert_int_equal(raw_feed(r, said.data, said.len, said.len), said.len);
    check_ok(pea_noise_split(r->noise, true, &r->transform));
    pea_buf_free(&said);
    pea_buf_free(&payload);
    assert_int_equal(responder(r)->n_closed, 0);
}

/* One record; all of it must be taken. */
static void raw_record(raw *r, const uint8_t *data, size_t len, size_t cut)
{
    pea_buf wire = {0};
    check_ok(r->transform.ops->seal(r->transform.self, &(pea_span){data, len}, 1, &wire));
    assert_int_equal(wire.len, 2 + len + 16);
    assert_int_equal(raw_feed(r, wire.data, wire.len, cut), wire.len);
    pea_buf_free(&wire);
}

static void append(pea_buf *out, const void *data, size_t len)
{
    check_ok(pea_buf_append(out, data, len));
}

/* HELLO and ACCEPT of an initiator that does everything right: docs/wire.md. */
static void append_opening(const raw *r, pea_buf *out)
{
    static const uint8_t network[PEA_NETWORK_BYTES];
    append(out, "\x01\0\0\x7f\0\x01\0\x01\x01\0\x02\0\x20", 13);
    append(out, network, sizeof network);
    append(out, "\0\x03\0\x52", 4);
    append(out, r->greeting, GREETING);
    append(out, r->greeting, GREETING);
    append(out, "\x02\0\0\0", 4);
}

/* A DATA chunk with one message that fills `total` bytes altogether. */
static void append_data(pea_buf *out, size_t total)
{
    size_t chunk = total - 4, message = total - 8;
    const uint8_t header[] = {4, (uint8_t)(chunk >> 16),   (uint8_t)(chunk >> 8),   (uint8_t)chunk,
                              0, (uint8_t)(message >> 16), (uint8_t)(message >> 8), (uint8_t)message};
    uint8_t *at;
    append(out, header, sizeof header);
    check_ok(pea_buf_reserve(out, message, &at));
    memset(at, 'm', message);
    pea_buf_commit(out, message);
}

static const size_t cuts[] = {SIZE_MAX, 65536, 40000, 4096};

/* The longest record that Noise knows may be the first one: HELLO, ACCEPT and DATA in one. */
static void the_longest_record_comes_first(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
        raw r;
        pea_buf plain = {0};
        raw_open(&r);
        raw_handshake(&r);
        append_opening(&r, &plain);
        size_t rest = PEA__RECORD_MESSAGE - plain.len;
        append_data(&plain, rest);
        assert_int_equal(plain.len, 65519);
        raw_record(&r, plain.data, plain.len, cuts[i]);
        assert_int_equal(responder(&r)->n_ready, 1);
        assert_int_equal(responder(&r)->n_messages, 1);
        assert_int_equal(responder(&r)->n_bytes, rest - 8);
        assert_int_equal(responder(&r)->n_closed, 0);
        pea_buf_free(&plain);
        raw_close(&r);
    }
}

/* ... or the second one, while plaintext of the first still waits for its end. */
static void the_longest_record_comes_second(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
        raw r;
        pea_buf plain = {0};
        raw_open(&r);
        raw_handshake(&r);
        append_opening(&r, &plain);
        raw_record(&r, plain.data, plain.len - 6, cuts[i]); /* it ends in the HELLO */
        assert_int_equal(responder(&r)->n_ready + responder(&r)->n_closed, 0);
        pea_buf_consume(&plain, plain.len - 6);
        append_data(&plain, PEA__RECORD_MESSAGE - plain.len);
        raw_record(&r, plain.data, plain.len, cuts[i]);
        assert_int_equal(responder(&r)->n_ready, 1);
        assert_int_equal(responder(&r)->n_messages, 1);
        pea_buf_free(&plain);
        raw_close(&r);
    }
}

/* A bad message 3 is not answered and not lingered over, whether it comes alone or right behind message 1. */
static void a_bad_third_message(void **state)
{
    const size_t reads[] = {SIZE_MAX, GREETING + MESSAGE_1, 1};
    (void)state;
    for (size_t i = 0; i < sizeof reads / sizeof reads[0]; i++) {
        raw r;
        pea_buf said = {0};
        uint8_t bad[MESSAGE_3] = {0, MESSAGE_3 - 2};
        raw_open(&r);
        append(&said, r.greeting, GREETING);
        raw_say(&r, &said);
        append(&said, bad, sizeof bad);
        raw_feed(&r, said.data, said.len, reads[i]);
        assert_int_equal(responder(&r)->n_closed, 1); /* before the peer ends, and without waiting for it */
        assert_int_equal(pea_pipe_state(responder(&r)->pipe), PEA_CLOSED);
        check_err(responder(&r)->reason.err, PEA_E_CRYPTO);
        assert_int_equal(responder(&r)->reason.origin, PEA_BY_HANDSHAKE);
        assert_string_equal(responder(&r)->reason.stage, "noise");
        assert_int_equal(responder(&r)->wire_len, GREETING + MESSAGE_2);
        pea_buf_free(&said);
        raw_close(&r);
    }
}

/* Nobody but the peer can make good records: whoever sends others is told nothing. */
static void bad_records_are_met_with_silence(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        pea_err err;
    } cases[] = {
        {"\0\x01x", 3, PEA_E_PROTO}, /* shorter than its tag */
        {"\0\x0fxxxxxxxxxxxxxxx", 17, PEA_E_PROTO},
        {"\0\0", 2, PEA_E_PROTO},
        {"\0\x10xxxxxxxxxxxxxxxx", 18, PEA_E_CRYPTO},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (unsigned ready = 0; ready < 2; ready++) {
            raw r;
            pea_buf plain = {0};
            raw_open(&r);
            raw_handshake(&r);
            append_opening(&r, &plain);
            if (ready)
                raw_record(&r, plain.data, plain.len, SIZE_MAX);
            assert_int_equal(responder(&r)->n_ready, ready);
            size_t said = responder(&r)->wire_len;
            raw_feed(&r, cases[i].bytes, cases[i].len, SIZE_MAX);
            assert_int_equal(responder(&r)->n_closed, 1);
            assert_int_equal(pea_pipe_state(responder(&r)->pipe), PEA_CLOSED);
            check_err(responder(&r)->reason.err, cases[i].err);
            assert_int_equal(responder(&r)->reason.origin, PEA_BY_READING);
            assert_true(responder(&r)->reason.text[0] != '\0');
            assert_int_equal(responder(&r)->wire_len, said);
            pea_buf_free(&plain);
            raw_close(&r);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_that_end_in_the_greeting), cmocka_unit_test(the_longest_record_comes_first),
        cmocka_unit_test(the_longest_record_comes_second),  cmocka_unit_test(a_bad_third_message),
        cmocka_unit_test(bad_records_are_met_with_silence),
    };
    faults_install();
    for (int side = 0; side < 2; side++)
        if (pea_identity_generate(&identity[side], NULL) != PEA_OK)
            return 1;
    int failed = cmocka_run_group_tests_name("opening", tests, NULL, NULL);
    pea_identity_unref(identity[0]);
    pea_identity_unref(identity[1]);
    return failed;
}
