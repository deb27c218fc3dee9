/* SPDX-License-Identifier: MIT */
/* The Noise stage inside a pipe: when the peer is judged and what is said after a refusal, what a peer may put into
 * handshake messages, what strangers can make us compute, and what pea_chain_noise() wants. That bytes may come in any
 * pieces is the conformance suite's business. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "noise/noise_priv.h"
#include "peapod/chain.h"
#include "peapod/trust.h"
#include "secure_priv.h"
#include "support/check.h"
#include "support/toys.h"

#define GREETING 41u

static pea_identity *identity[2]; /* by side */
static pea_peer id[2];

static pea_side other(pea_side side)
{
    return side == PEA_INITIATOR ? PEA_RESPONDER : PEA_INITIATOR;
}

/* ---- One pipe, and what comes out of it ---- */

typedef struct end {
    pea_pipe *pipe;
    pea_buf out;    /* what it wrote and nobody has read yet */
    size_t written; /* ever */
    bool ready, closed, eof;
    pea_reason reason;
} end;

typedef struct end_opts {
    pea_mode mode;
    const uint8_t *network;
    pea_noise_opts noise; /* identity NULL: the side's own */
    pea_policy *policy;   /* NULL: expects `expect`, or the other side */
    const pea_peer *expect;
} end_opts;

static void end_open(end *e, pea_side side, const end_opts *o)
{
    pea_chain *chain;
    pea_noise_opts noise = o->noise;
    *e = (end){0};
    noise.size = sizeof noise;
    if (noise.identity == NULL)
        noise.identity = identity[side];
    noise.record_preserving = o->mode == PEA_RECORDS;
    check_ok(pea_chain_new(&chain, PEA_CHAIN(.mode = o->mode, .network = o->network), NULL));
    check_ok(pea_chain_noise(chain, &noise, NULL));
    const pea_peer *expect = o->expect != NULL ? o->expect : o->policy == NULL ? &id[other(side)] : NULL;
    check_ok(pea_pipe_new(&e->pipe, chain, PEA_PIPE(.side = side, .policy = o->policy, .expect = expect), NULL));
    pea_chain_unref(chain);
}

static void end_close(end *e)
{
    pea_pipe_free(e->pipe);
    pea_buf_free(&e->out);
}

static void take_events(end *e)
{
    pea_event event;
    while (pea_pipe_next(e->pipe, &event) == PEA_OK) {
        e->ready |= event.type == PEA_EVENT_READY;
        if (event.type == PEA_EVENT_CLOSED) {
            e->closed = true;
            e->reason = *event.reason;
        }
    }
}

/* Events and output, until there is nothing. */
static void drain(end *e)
{
    pea_span span;
    pea_err err;
    take_events(e);
    while ((err = pea_pipe_output(e->pipe, &span)) == PEA_OK) {
        check_ok(pea_buf_append(&e->out, span.data, span.len));
        e->written += span.len;
        pea_pipe_sent(e->pipe, span.len);
    }
    e->eof = err == PEA_EOF;
    take_events(e);
}

static void feed(end *e, const void *data, size_t len)
{
    size_t taken;
    check_ok(pea_pipe_feed(e->pipe, data, len, &taken));
    drain(e);
}

/* Lets two ends talk until neither says more; an end of writing is passed on. */
static void talk(end ends[2])
{
    bool told[2] = {false, false};
    drain(&ends[0]);
    drain(&ends[1]);
    for (bool moved = true; moved;) {
        moved = false;
        for (int i = 0; i < 2; i++) {
            end *from = &ends[i], *to = &ends[!i];
            if (from->out.len > 0) {
                pea_buf data = from->out;
                from->out = (pea_buf){0};
                if (!to->closed)
                    feed(to, data.data, data.len);
                pea_buf_free(&data);
                moved = true;
            } else if (from->eof && !told[i]) {
                told[i] = moved = true;
                pea_pipe_feed_end(to->pipe);
                drain(to);
            }
        }
    }
}

static uint64_t multiplications(void)
{
    return atomic_load(&pea__x25519_count);
}

/* ---- Strangers ---- */

static void test_other_network_costs_nothing(void **state)
{
    static const uint8_t network[32] = {1};
    end ends[2];
    (void)state;
    end_open(&ends[0], PEA_INITIATOR, &(end_opts){.network = network});
    end_open(&ends[1], PEA_RESPONDER, &(end_opts){.mode = PEA_NATIVE});
    drain(&ends[0]); /* the initiator has made its ephemeral key */
    uint64_t before = multiplications();
    talk(ends);
    assert_int_equal(multiplications() - before, 0);
    assert_int_equal(ends[1].written, 0);
    assert_true(ends[1].closed);
    check_err(ends[1].reason.err, PEA_E_NETWORK);
    end_close(&ends[0]);
    end_close(&ends[1]);
}

static void test_work_of_a_handshake(void **state)
{
    /* XX: each side makes one key and multiplies three times (ee, es, se). Judging, and anything after, costs nothing.
     */
    end ends[2];
    (void)state;
    end_open(&ends[0], PEA_INITIATOR, &(end_opts){.mode = PEA_NATIVE});
    end_open(&ends[1], PEA_RESPONDER, &(end_opts){.mode = PEA_NATIVE});
    uint64_t before = multiplications();
    talk(ends);
    assert_true(ends[0].ready && ends[1].ready);
    assert_int_equal(multiplications() - before, 8);
    assert_true(pea_peer_equal(pea_pipe_peer(ends[0].pipe), &id[1]));
    assert_true(pea_peer_equal(pea_pipe_peer(ends[1].pipe), &id[0]));
    end_close(&ends[0]);
    end_close(&ends[1]);
}

/* ---- Verdicts ---- */

static void test_wrong_expectation_reveals_nothing(void **state)
{
    (void)state;
    for (int mode = PEA_NATIVE; mode <= PEA_RECORDS; mode++) {
        end ends[2];
        end_open(&ends[0], PEA_INITIATOR, &(end_opts){.mode = (pea_mode)mode, .expect = &id[0]});
        end_open(&ends[1], PEA_RESPONDER, &(end_opts){.mode = (pea_mode)mode});
        uint64_t before = multiplications();
        talk(ends);
        assert_int_equal(ends[0].written, (mode == PEA_NATIVE ? GREETING : 0) + 2 + 32); /* no byte after message 1 */
        assert_int_equal(multiplications() - before, 6);                                 /* `se` was not reached */
        assert_true(ends[0].closed && !ends[0].ready && !ends[1].ready);
        check_err(ends[0].reason.err, PEA_E_REFUSED);
        assert_int_equal(ends[0].reason.origin, PEA_BY_POLICY);
        assert_true(pea_peer_equal(pea_pipe_refused(ends[0].pipe), &id[1]));
        end_close(&ends[0]);
        end_close(&ends[1]);
    }
}

static void test_refused_initiator_is_told(void **state)
{
    pea_trust *nobody;
    (void)state;
    check_ok(pea_trust_new(&nobody));
    for (int mode = PEA_NATIVE; mode <= PEA_RECORDS; mode++) {
        end ends[2];
        end_open(&ends[0], PEA_INITIATOR, &(end_opts){.mode = (pea_mode)mode});
        end_open(&ends[1], PEA_RESPONDER, &(end_opts){.mode = (pea_mode)mode, .policy = pea_trust_policy(nobody)});
        talk(ends);
        assert_false(ends[1].ready);
        check_err(ends[1].reason.err, PEA_E_REFUSED);
        assert_true(pea_peer_equal(pea_pipe_refused(ends[1].pipe), &id[0]));
        assert_true(ends[0].closed);
        if (mode == PEA_NATIVE) {
            assert_false(ends[0].ready);
            check_err(ends[0].reason.err, PEA_E_REJECTED);
            assert_int_equal(ends[0].reason.code, PEA_CODE_DENIED | PEA_CODE_PERMANENT);
        }
        end_close(&ends[0]);
        end_close(&ends[1]);
    }
    pea_trust_unref(nobody);
}

/* The policy of one side answers later: yes or no. No message is processed twice, and nothing is written while it
 * waits. */
static void check_waiting(pea_side waits, pea_err verdict)
{
    toy_policy policy = {.verdict = PEA_WAIT};
    pea_policy *object;
    end ends[2];
    check_ok(pea_policy_new(&object, &toy_policy_ops, &policy));
    for (int i = 0; i < 2; i++)
        end_open(&ends[i], (pea_side)i, &(end_opts){.policy = i == (int)waits ? object : NULL});
    pea_policy_unref(object);
    talk(ends);
    assert_true(policy.open);
    assert_int_equal(policy.checks, 1);
    assert_true(pea_peer_equal(&policy.asked, &id[other(waits)]));
    size_t written = ends[waits].written;
    assert_int_equal(written, waits == PEA_INITIATOR ? GREETING + 34 : GREETING + 98);
    uint64_t before = multiplications();
    drain(&ends[waits]); /* stepping without an answer changes nothing */
    assert_int_equal(ends[waits].written, written);
    assert_false(ends[waits].closed);
    check_ok(pea_pipe_resume(ends[waits].pipe, policy.ticket, verdict));
    check_err(pea_pipe_resume(ends[waits].pipe, policy.ticket, PEA_OK), PEA_E_STALE);
    talk(ends);
    assert_int_equal(policy.checks, 1);
    if (verdict == PEA_OK) {
        assert_true(ends[0].ready && ends[1].ready);
        assert_int_equal(multiplications() - before,
                         waits == PEA_INITIATOR ? 2 : 0); /* `se` on both sides, or all was done */
    } else {
        assert_true(!ends[0].ready && !ends[1].ready);
        check_err(ends[waits].reason.err, PEA_E_REFUSED);
        if (waits == PEA_INITIATOR)
            assert_int_equal(ends[0].written, written); /* silent */
        else
            check_err(ends[0].reason.err, PEA_E_REJECTED);
    }
    end_close(&ends[0]);
    end_close(&ends[1]);
}

static void test_waiting(void **state)
{
    (void)state;
    check_waiting(PEA_INITIATOR, PEA_OK);
    check_waiting(PEA_INITIATOR, PEA_E_REFUSED);
    check_waiting(PEA_RESPONDER, PEA_OK);
    check_waiting(PEA_RESPONDER, PEA_E_NOT_FOUND);
}

/* ---- A peer made by hand ---- */

/* The initiator's greeting for the zero network: what a pipe says first. */
static void greeting(uint8_t out[GREETING])
{
    memset(out, 0, GREETING);
    memcpy(out, "\xF1peapod\x01\x01", 9);
}

/* A native initiator's engine, with the prologue that the responder will have. */
static pea_noise *hand_made(pea_side side, pea_identity *with)
{
    uint8_t prologue[6 + GREETING] = "peapod";
    pea_noise *noise;
    greeting(prologue + 6);
    check_ok(pea_noise_new(&noise, side, PEA_NOISE(.identity = with, .prologue = {prologue, sizeof prologue}), NULL));
    return noise;
}

static void append_frame(pea_buf *out, pea_span message)
{
    const uint8_t length[2] = {(uint8_t)(message.len >> 8), (uint8_t)message.len};
    check_ok(pea_buf_append(out, length, 2));
    check_ok(pea_buf_append(out, message.data, message.len));
}

static void append_written(pea_buf *out, pea_noise *noise, pea_span payload)
{
    pea_buf message = {0};
    check_ok(pea_noise_write(noise, payload, &message));
    append_frame(out, (pea_span){message.data, message.len});
    pea_buf_free(&message);
}

/* Message 2 as the responder's pipe wrote it. */
static void read_second(pea_noise *noise, end *responder)
{
    pea_buf payload = {0};
    assert_int_equal(responder->out.len, GREETING + 2 + 96);
    check_ok(pea_noise_read(noise, (pea_span){responder->out.data + GREETING + 2, 96}, &payload));
    assert_int_equal(payload.len, 0);
    pea_buf_free(&payload);
}

#define TLV(...) ((const uint8_t[]){__VA_ARGS__}), sizeof((const uint8_t[]){__VA_ARGS__})

static const struct payload_case {
    const char *says; /* NULL: it is taken */
    const uint8_t *data;
    size_t len;
} payload_cases[] = {
    {NULL, NULL, 0},
    {NULL, TLV(0, 1, 0, 3, 'a', 'b', 'c')},
    {NULL, TLV(0, 1, 0, 0, 0, 9, 0, 1, 'x', 0x7f, 0xff, 0, 0)},
    {"header", TLV(0)},
    {"header", TLV(0, 1, 0)},
    {"header", TLV(0, 1, 0, 0, 0, 2)},
    {"inside a TLV", TLV(0, 1, 0, 1)},
    {"inside a TLV", TLV(0, 1, 0xff, 0xff, 'x')},
    {"ascending", TLV(0, 0, 0, 0)}, /* type 0 is none */
    {"ascending", TLV(0, 1, 0, 0, 0, 1, 0, 0)},
    {"ascending", TLV(0, 2, 0, 0, 0, 1, 0, 0)},
    {"must be understood", TLV(0x80, 0, 0, 0)},
    {"must be understood", TLV(0, 1, 0, 0, 0xff, 0xff, 0, 0)},
};

/* Each payload in messages 1 and 3 to a responder, and in message 2 to an initiator. */
static void test_payloads(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof payload_cases / sizeof payload_cases[0]; i++) {
        const struct payload_case *c = &payload_cases[i];
        for (int number = 1; number <= 3; number++) {
            uint8_t hello[GREETING];
            pea_buf bytes = {0};
            pea_side side = number == 2 ? PEA_INITIATOR : PEA_RESPONDER;
            pea_noise *peer = hand_made(other(side), identity[other(side)]);
            pea_span payload = {c->data, c->len}, none = {NULL, 0};
            end e;
            end_open(&e, side, &(end_opts){.mode = PEA_NATIVE});
            drain(&e);
            greeting(hello);
            feed(&e, hello, GREETING);
            if (side == PEA_INITIATOR) {
                pea_buf first = {0};
                check_ok(pea_noise_read(peer, (pea_span){e.out.data + GREETING + 2, 32}, &first));
                pea_buf_free(&first);
                append_written(&bytes, peer, payload);
            } else {
                append_written(&bytes, peer, number == 1 ? payload : none);
                if (number == 3) {
                    feed(&e, bytes.data, bytes.len);
                    read_second(peer, &e);
                    pea_buf_free(&bytes);
                    append_written(&bytes, peer, payload);
                }
            }
            size_t written = e.written;
            feed(&e, bytes.data, bytes.len);
            if (c->says == NULL) {
                assert_false(e.closed);
                assert_true(number == 3 || e.written > written);
            } else {
                char want[32];
                assert_true(e.closed);
                check_err(e.reason.err, PEA_E_PROTO);
                assert_string_equal(e.reason.stage, "noise");
                (void)snprintf(want, sizeof want, "message %d: ", number);
                assert_memory_equal(e.reason.text, want, strlen(want));
                assert_non_null(strstr(e.reason.text, c->says));
                assert_int_equal(e.written, written); /* silent */
            }
            pea_buf_free(&bytes);
            pea_noise_free(peer);
            end_close(&e);
        }
    }
}

/* First messages that are wrong in themselves. */
static void test_bad_first_messages(void **state)
{
    static const struct {
        size_t claims, sent;
        uint8_t fill;
        pea_err err;
        const char *says;
        uint64_t work;
    } cases[] = {
        {0, 0, 0, PEA_E_PROTO, "too short", 0},
        {31, 31, 1, PEA_E_PROTO, "too short", 0},
        {16385, 0, 0, PEA_E_PROTO, "16,384", 0}, /* before any of it came */
        {65535, 100, 0, PEA_E_PROTO, "16,384", 0},
        {32, 32, 0, PEA_E_CRYPTO, "low order", 2}, /* a point of low order: found at the first multiplication */
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t bytes[GREETING + 2 + 100];
        end e;
        end_open(&e, PEA_RESPONDER, &(end_opts){.mode = PEA_NATIVE});
        greeting(bytes);
        bytes[GREETING] = (uint8_t)(cases[i].claims >> 8);
        bytes[GREETING + 1] = (uint8_t)cases[i].claims;
        memset(bytes + GREETING + 2, cases[i].fill, cases[i].sent);
        uint64_t before = multiplications();
        feed(&e, bytes, GREETING + 2 + cases[i].sent);
        assert_true(e.closed);
        check_err(e.reason.err, cases[i].err);
        assert_int_equal(e.reason.origin, PEA_BY_HANDSHAKE);
        assert_non_null(strstr(e.reason.text, cases[i].says));
        assert_int_equal(multiplications() - before, cases[i].work);
        assert_true(e.written <= GREETING);
        end_close(&e);
    }
}

/* 16 KiB are read, in however many pieces; what is more than it claims is the next message's. */
static void test_largest_message(void **state)
{
    uint8_t bytes[GREETING], *payload = calloc(1, 16384 - 32);
    pea_buf message = {0};
    pea_noise *peer = hand_made(PEA_INITIATOR, identity[0]);
    end e;
    (void)state;
    payload[1] = 9; /* one unknown TLV, filling the message */
    payload[2] = (uint8_t)((16384 - 36) >> 8);
    payload[3] = (uint8_t)(16384 - 36);
    append_written(&message, peer, (pea_span){payload, 16384 - 32});
    assert_int_equal(message.len, 2 + 16384);
    end_open(&e, PEA_RESPONDER, &(end_opts){.mode = PEA_NATIVE});
    greeting(bytes);
    feed(&e, bytes, GREETING);
    size_t written = e.written;
    feed(&e, message.data, message.len - 1);
    assert_int_equal(e.written, written);
    feed(&e, message.data + message.len - 1, 1);
    assert_false(e.closed);
    read_second(peer, &e);
    pea_buf_free(&message);
    pea_noise_free(peer);
    end_close(&e);
    free(payload);
}

/* In foreign modes a payload is nobody's business: taken, and forgotten. */
static void test_foreign_payloads(void **state)
{
    pea_noise *peer;
    pea_buf bytes = {0}, payload = {0};
    end e;
    (void)state;
    check_ok(pea_noise_new(&peer, PEA_INITIATOR,
                           PEA_NOISE(.identity = identity[0], .prologue = {(const uint8_t *)"hi", 2}), NULL));
    end_open(&e, PEA_RESPONDER, &(end_opts){.mode = PEA_STREAM, .noise = {.prologue = {(const uint8_t *)"hi", 2}}});
    append_written(&bytes, peer, (pea_span){(const uint8_t *)"\xff", 1});
    feed(&e, bytes.data, bytes.len);
    assert_int_equal(e.out.len, 2 + 96);
    check_ok(pea_noise_read(peer, (pea_span){e.out.data + 2, 96}, &payload));
    assert_int_equal(payload.len, 0);
    pea_buf_free(&bytes);
    append_written(&bytes, peer, (pea_span){(const uint8_t *)"\xff", 1});
    feed(&e, bytes.data, bytes.len);
    assert_true(e.ready && !e.closed);
    pea_buf_free(&bytes);
    pea_buf_free(&payload);
    pea_noise_free(peer);
    end_close(&e);
}

/* ---- Both sides must know the same ---- */

static void check_mismatch(const end_opts *a, const end_opts *b, pea_side finds, const char *says)
{
    end ends[2];
    end_open(&ends[0], PEA_INITIATOR, a);
    end_open(&ends[1], PEA_RESPONDER, b);
    talk(ends);
    assert_true(!ends[0].ready && !ends[1].ready && ends[finds].closed);
    check_err(ends[finds].reason.err, PEA_E_CRYPTO);
    assert_int_equal(ends[finds].reason.origin, PEA_BY_HANDSHAKE);
    assert_string_equal(ends[finds].reason.stage, "noise");
    assert_non_null(strstr(ends[finds].reason.text, says));
    end_close(&ends[0]);
    end_close(&ends[1]);
}

static void test_mismatches(void **state)
{
    static const uint8_t a[32] = {1}, b[32] = {2};
    const char *psk3 = "Noise_XXpsk3_25519_ChaChaPoly_BLAKE2b";
    (void)state;
    check_mismatch(&(end_opts){.noise = {.protocol = psk3, .psk = a}},
                   &(end_opts){.noise = {.protocol = psk3, .psk = b}}, PEA_RESPONDER, "message 3");
    check_mismatch(&(end_opts){.noise = {.protocol = "Noise_XX_25519_ChaChaPoly_SHA256"}},
                   &(end_opts){.mode = PEA_NATIVE}, PEA_INITIATOR, "message 2");
    check_mismatch(&(end_opts){.mode = PEA_STREAM, .noise = {.prologue = {a, 1}}}, &(end_opts){.mode = PEA_STREAM},
                   PEA_INITIATOR, "message 2");
}

/* ---- The chain's side ---- */

static void test_options(void **state)
{
    static const uint8_t psk[32] = {1};
    static const struct {
        pea_mode mode;
        pea_err err;
        const char *protocol, *says;
        bool no_identity, psk, prologue, preserving;
    } cases[] = {
        {PEA_NATIVE, PEA_OK, NULL, "", false, false, false, false},
        {PEA_STREAM, PEA_OK, NULL, "", false, false, true, false},
        {PEA_RECORDS, PEA_OK, NULL, "", false, false, true, true},
        {PEA_NATIVE, PEA_OK, "Noise_XXpsk3_25519_ChaChaPoly_SHA256", "", false, true, false, false},
        {PEA_NATIVE, PEA_E_INVALID, NULL, "identity", true, false, false, false},
        {PEA_NATIVE, PEA_E_INVALID, NULL, "prologue", false, false, true, false},
        {PEA_NATIVE, PEA_E_INVALID, NULL, "record_preserving", false, false, false, true},
        {PEA_STREAM, PEA_E_INVALID, NULL, "record_preserving", false, false, false, true},
        {PEA_RECORDS, PEA_E_INVALID, NULL, "record_preserving", false, false, false, false},
        {PEA_NATIVE, PEA_E_INVALID, NULL, "psk", false, true, false, false},
        {PEA_NATIVE, PEA_E_INVALID, "Noise_XXpsk3_25519_ChaChaPoly_SHA256", "psk", false, false, false, false},
        {PEA_NATIVE, PEA_E_UNSUPPORTED, "Noise_NI_25519_ChaChaPoly_SHA256", "NI", false, false, false, false},
        {PEA_NATIVE, PEA_E_UNSUPPORTED, "Noise_XXfallback_25519_ChaChaPoly_SHA256", "fallback", false, false, false,
         false},
        {PEA_NATIVE, PEA_E_INVALID, "Noise_N_25519_ChaChaPoly_SHA256", "one-way", false, false, false, false},
        {PEA_NATIVE, PEA_E_INVALID, "Noise_Xpsk1_25519_ChaChaPoly_SHA256", "one-way", false, true, false, false},
        {PEA_NATIVE, PEA_E_INVALID, "Noise_IK_25519_ChaChaPoly_SHA256", "identity", true, false, false, false},
        {PEA_NATIVE, PEA_OK, "Noise_IK_25519_ChaChaPoly_SHA256", "", false, false, false, false},
        {PEA_STREAM, PEA_OK, "Noise_NK_25519_ChaChaPoly_SHA256", "", true, false, false, false},
        {PEA_NATIVE, PEA_OK, "Noise_KKpsk0_25519_ChaChaPoly_SHA256", "", false, true, false, false},
        {PEA_NATIVE, PEA_E_FORMAT, "XX", "five parts", false, false, false, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pea_chain *chain;
        pea_error why = {0};
        char protocol[64];
        uint8_t prologue[1] = {1}, secret[32];
        memcpy(secret, psk, 32);
        (void)snprintf(protocol, sizeof protocol, "%s", cases[i].protocol != NULL ? cases[i].protocol : "");
        check_ok(pea_chain_new(&chain, PEA_CHAIN(.mode = cases[i].mode), NULL));
        pea_err err = pea_chain_noise(
            chain,
            PEA_NOISE(.protocol = cases[i].protocol != NULL ? protocol : NULL,
                      .identity = cases[i].no_identity ? NULL : identity[0], .psk = cases[i].psk ? secret : NULL,
                      .prologue = {prologue, cases[i].prologue ? 1 : 0}, .record_preserving = cases[i].preserving),
            &why);
        check_err(err, cases[i].err);
        assert_non_null(strstr(why.text, cases[i].says));
        assert_int_equal(why.code, err);
        /* All of it was copied: what the caller does with his own is not seen. */
        memset(protocol, 'x', sizeof protocol);
        sodium_memzero(secret, sizeof secret);
        if (err == PEA_OK) {
            pea_pipe *pipe;
            pea_event event;
            pea_span span;
            check_ok(pea_pipe_new(&pipe, chain, PEA_PIPE(.codec = NULL, .expect = &id[1]), NULL));
            check_err(pea_pipe_next(pipe, &event), PEA_MORE);
            check_ok(pea_pipe_output(pipe, &span));
            check_err(pea_chain_noise(
                          chain, PEA_NOISE(.identity = identity[0], .record_preserving = cases[i].preserving), &why),
                      PEA_E_STATE);
            pea_pipe_free(pipe);
        }
        pea_chain_unref(chain);
    }
}

static void test_too_many_stages(void **state)
{
    pea_chain *chain;
    pea_error why;
    (void)state;
    check_ok(pea_chain_new(&chain, NULL, NULL));
    for (size_t i = 0; i < PEA_STAGES_MAX; i++)
        check_ok(pea_chain_noise(chain, PEA_NOISE(.identity = identity[0]), &why));
    check_err(pea_chain_noise(chain, PEA_NOISE(.identity = identity[0]), &why), PEA_E_INVALID);
    assert_non_null(strstr(why.text, "stages"));
    pea_chain_unref(chain);
}

int main(void)
{
    for (int i = 0; i < 2; i++) {
        if (pea_identity_generate(&identity[i], NULL) != PEA_OK)
            return 1;
        pea_identity_peer(identity[i], &id[i]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_other_network_costs_nothing),
        cmocka_unit_test(test_work_of_a_handshake),
        cmocka_unit_test(test_wrong_expectation_reveals_nothing),
        cmocka_unit_test(test_refused_initiator_is_told),
        cmocka_unit_test(test_waiting),
        cmocka_unit_test(test_payloads),
        cmocka_unit_test(test_bad_first_messages),
        cmocka_unit_test(test_largest_message),
        cmocka_unit_test(test_foreign_payloads),
        cmocka_unit_test(test_mismatches),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_too_many_stages),
    };
    int failed = cmocka_run_group_tests_name("noise stage", tests, NULL, NULL);
    pea_identity_unref(identity[0]);
    pea_identity_unref(identity[1]);
    return failed;
}
