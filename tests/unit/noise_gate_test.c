/* SPDX-License-Identifier: MIT */
/* The gate of a network's key, in pipes: what strangers, recordings, wrong clocks and members cost, what the reason
 * says of each, keys that come from a callback, and what pea_chain_noise() refuses. */
#include <sodium.h>
#include <stdio.h>

#include "noise_stage_priv.h"
#include "peapod/trust.h"
#include "pipe_priv.h"
#include "secure_priv.h"
#include "support/check.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define XXPSK0 "Noise_XXpsk0_25519_ChaChaPoly_BLAKE2b"

enum { GREETING = 41, MESSAGE_1 = 2 + 32 + 16, TIMESTAMP = 4 + 8, WINDOW_MS = 60000 };

static const int64_t now_ms = INT64_C(1700000000000);
static const uint8_t network_key[PEA_KEY_BYTES] = {1}, other_keys[3][PEA_KEY_BYTES] = {{2}, {3}, {4}};
static pea_identity *identity;
static pea_trust *anybody;

static pea_chain *chain_of(pea_mode mode, const pea_noise_opts *opts)
{
    pea_chain *chain;
    pea_noise_opts o = *opts;
    pea_error why;
    o.identity = identity;
    o.record_preserving = mode == PEA_RECORDS;
    check_ok(pea_chain_new(&chain, PEA_CHAIN(.mode = mode), NULL));
    if (pea_chain_noise(chain, &o, &why) != PEA_OK)
        fail_msg("%s", why.text);
    return chain;
}

static pea_chain *gated(uint32_t window_ms)
{
    return chain_of(PEA_NATIVE, PEA_NOISE(.protocol = XXPSK0, .psk = network_key, .gate_window_ms = window_ms));
}

static pea_pipe *open_pipe(pea_chain *chain, pea_side side, int64_t wall_ms)
{
    pea_pipe *pipe;
    check_ok(pea_pipe_new(&pipe, chain, PEA_PIPE(.side = side, .policy = pea_trust_policy(anybody)), NULL));
    pea_pipe_tick(pipe, 0, wall_ms);
    return pipe;
}

/* ---- One end, and what became of it ---- */

typedef struct outcome {
    bool closed;
    pea_reason reason;
    pea_buf said;
    uint64_t multiplications;
} outcome;

static void drain(pea_pipe *pipe, outcome *o)
{
    pea_event event;
    pea_span span;
    for (int i = 0; i < 2; i++) {
        while (pea_pipe_next(pipe, &event) == PEA_OK)
            if (event.type == PEA_EVENT_CLOSED) {
                o->closed = true;
                o->reason = *event.reason;
            }
        while (pea_pipe_output(pipe, &span) == PEA_OK) {
            check_ok(pea_buf_append(&o->said, span.data, span.len));
            pea_pipe_sent(pipe, span.len);
        }
    }
}

/* What an initiator says before it hears anything. */
static pea_buf first_flight(pea_chain *chain, int64_t wall_ms)
{
    outcome o = {.closed = false};
    pea_pipe *pipe = open_pipe(chain, PEA_INITIATOR, wall_ms);
    drain(pipe, &o);
    assert_false(o.closed);
    pea_pipe_free(pipe);
    return o.said;
}

/* What a responder makes of it. */
static outcome hear(pea_chain *chain, int64_t wall_ms, const pea_buf *flight)
{
    outcome o = {.closed = false};
    size_t taken;
    pea_pipe *pipe = open_pipe(chain, PEA_RESPONDER, wall_ms);
    uint64_t before = atomic_load(&pea__x25519_count);
    check_ok(pea_pipe_feed(pipe, flight->data, flight->len, &taken));
    drain(pipe, &o);
    o.multiplications = atomic_load(&pea__x25519_count) - before;
    pea_pipe_free(pipe);
    pea_buf_free(&o.said);
    return o;
}

/* It is refused without a word, for nothing, and the reason has this in it. */
static void check_refused(const outcome *o, pea_err err, const char *says)
{
    assert_true(o->closed);
    check_err(o->reason.err, err);
    assert_int_equal(o->reason.origin, PEA_BY_HANDSHAKE);
    assert_string_equal(o->reason.stage, "noise");
    if (strstr(o->reason.text, says) == NULL)
        fail_msg("\"%s\" is not in: %s", says, o->reason.text);
    assert_int_equal(o->multiplications, 0);
}

static void check_answered(const outcome *o)
{
    if (o->closed)
        fail_msg("%s", o->reason.text);
    assert_true(o->multiplications > 0);
}

/* ---- Strangers ---- */

static void test_strangers_cost_no_multiplication(void **state)
{
    pea_chain *us = gated(0), *more, *them = chain_of(PEA_NATIVE, PEA_NOISE(.protocol = XXPSK0, .psk = other_keys[0]));
    pea_chain *plain = chain_of(PEA_NATIVE, PEA_NOISE(.identity = NULL));
    (void)state;
    more = chain_of(PEA_NATIVE,
                    PEA_NOISE(.protocol = XXPSK0, .psk = network_key, .more_psks = other_keys[1], .n_more_psks = 2));
    pea_buf flights[] = {first_flight(them, now_ms), first_flight(plain, now_ms), first_flight(us, now_ms)};
    assert_int_equal(flights[0].len, GREETING + MESSAGE_1);
    outcome o = hear(us, now_ms, &flights[0]);
    check_refused(&o, PEA_E_CRYPTO, "message 1: it does not authenticate");
    o = hear(more, now_ms, &flights[0]);
    check_refused(&o, PEA_E_CRYPTO, "message 1: it does not authenticate");
    o = hear(us, now_ms, &flights[1]);
    check_refused(&o, PEA_E_PROTO, "message 1: it is too short");
    o = hear(us, now_ms, &flights[2]);
    check_answered(&o);
    for (size_t i = 0; i < COUNT(flights); i++)
        pea_buf_free(&flights[i]);
    pea_chain_unref(us);
    pea_chain_unref(more);
    pea_chain_unref(them);
    pea_chain_unref(plain);
}

/* Whatever is changed in it, it is no message; and what was not taken is not remembered. */
static void test_changed_messages_are_not_remembered(void **state)
{
    pea_chain *chain = gated(WINDOW_MS);
    pea_buf flight = first_flight(chain, now_ms);
    outcome o;
    (void)state;
    assert_int_equal(flight.len, GREETING + MESSAGE_1 + TIMESTAMP);
    for (size_t at = GREETING + 2; at < flight.len; at++) {
        flight.data[at] ^= 1;
        o = hear(chain, now_ms, &flight);
        check_refused(&o, PEA_E_CRYPTO, "message 1: it does not authenticate");
        flight.data[at] ^= 1;
    }
    o = hear(chain, now_ms, &flight);
    check_answered(&o);
    pea_buf_free(&flight);
    pea_chain_unref(chain);
}

/* The share of handshakes that members have is theirs: a bill is written for nobody else. */
static void check_bill(pea_chain *chain, const pea_buf *flight, bool pays)
{
    outcome o = {.closed = false};
    size_t taken;
    pea_pipe *pipe = open_pipe(chain, PEA_RESPONDER, now_ms);
    pea__pipe_meter(pipe);
    check_ok(pea_pipe_feed(pipe, flight->data, flight->len, &taken));
    drain(pipe, &o);
    assert_int_equal(pea__pipe_take_bill(pipe), pays);
    assert_int_equal(o.closed, !pays);
    assert_int_equal(o.said.len, GREETING); /* until it was paid for nothing is said, or computed */
    pea__pipe_paid(pipe);
    drain(pipe, &o);
    if (pays)
        assert_int_equal(o.said.len, GREETING + 2 + 96);
    pea_buf_free(&o.said);
    pea_pipe_free(pipe);
}

static void test_strangers_and_recordings_pay_nothing(void **state)
{
    pea_chain *us = gated(WINDOW_MS), *plain = chain_of(PEA_NATIVE, PEA_NOISE(.identity = NULL));
    pea_chain *them = chain_of(PEA_NATIVE, PEA_NOISE(.protocol = XXPSK0, .psk = other_keys[0]));
    (void)state;
    pea_buf member = first_flight(us, now_ms), stranger = first_flight(them, now_ms), xx = first_flight(plain, now_ms);
    check_bill(us, &stranger, false);
    check_bill(us, &member, true);
    check_bill(us, &member, false);
    check_bill(plain, &xx, true);
    check_bill(plain, &xx, true); /* where there is no gate, a recording is as good as anybody */
    pea_buf_free(&member);
    pea_buf_free(&stranger);
    pea_buf_free(&xx);
    pea_chain_unref(us);
    pea_chain_unref(plain);
    pea_chain_unref(them);
}

/* ---- Recordings ---- */

static void test_recordings(void **state)
{
    (void)state;
    for (int mode = PEA_NATIVE; mode <= PEA_RECORDS; mode++) {
        pea_chain *chain = chain_of((pea_mode)mode, PEA_NOISE(.protocol = XXPSK0, .psk = network_key));
        pea_buf one = first_flight(chain, now_ms), two = first_flight(chain, now_ms);
        outcome o = hear(chain, now_ms, &one);
        check_answered(&o);
        for (int i = 0; i < 3; i++) {
            o = hear(chain, now_ms + i, &one);
            check_refused(&o, PEA_E_REFUSED, "message 1: it came before");
        }
        o = hear(chain, now_ms, &two);
        check_answered(&o);
        pea_buf_free(&one);
        pea_buf_free(&two);
        pea_chain_unref(chain);
    }
}

static void test_window(void **state)
{
    static const struct {
        int64_t off_ms; /* the listener's clock less the dialler's */
        const char *says;
    } cases[] = {
        {0, NULL},
        {WINDOW_MS, NULL},
        {-WINDOW_MS, NULL},
        {WINDOW_MS + 1, "made 60.001 s ago, and .gate_window_ms is 60000: it is a recording, or"},
        {-WINDOW_MS - 1, "made 60.001 s from now, and .gate_window_ms is 60000: the clocks differ"},
        {INT64_C(86400000) * 365, "made 31536000.000 s ago"},
        {-now_ms, "made 1700000000.000 s from now"},
    };
    pea_chain *chain = gated(WINDOW_MS);
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        pea_buf flight = first_flight(chain, now_ms);
        outcome o = hear(chain, now_ms + cases[i].off_ms, &flight);
        if (cases[i].says == NULL)
            check_answered(&o);
        else
            check_refused(&o, PEA_E_REFUSED, cases[i].says);
        /* What was too old is so for ever, and what was too new may come in its time; once. */
        o = hear(chain, now_ms, &flight);
        if (cases[i].says == NULL)
            check_refused(&o, PEA_E_REFUSED, "came before");
        else
            check_answered(&o);
        pea_buf_free(&flight);
    }
    pea_chain_unref(chain);
}

/* A window on one side alone. */
static void test_only_one_has_a_window(void **state)
{
    pea_chain *with = gated(WINDOW_MS), *without = gated(0);
    pea_buf dated = first_flight(with, now_ms), undated = first_flight(without, now_ms);
    (void)state;
    outcome o = hear(with, now_ms, &undated);
    check_refused(&o, PEA_E_PROTO, "message 1: it does not say when it was made: the peer has no .gate_window_ms");
    o = hear(without, now_ms + 10 * WINDOW_MS, &dated);
    check_answered(&o);
    pea_buf_free(&dated);
    pea_buf_free(&undated);
    pea_chain_unref(with);
    pea_chain_unref(without);
}

/* A first flight with a payload made by hand. */
static pea_buf flight_with(const uint8_t *payload, size_t len)
{
    uint8_t prologue[6 + GREETING] = "peapod";
    pea_noise *noise;
    pea_buf flight = {0}, message = {0};
    memcpy(prologue + 6, "\xF1peapod\x01\x01", 9);
    check_ok(pea_noise_new(&noise, PEA_INITIATOR,
                           PEA_NOISE(.protocol = XXPSK0, .psk = network_key, .identity = identity,
                                     .prologue = {prologue, sizeof prologue}),
                           NULL));
    check_ok(pea_noise_write(noise, (pea_span){payload, len}, &message));
    const uint8_t length[2] = {(uint8_t)(message.len >> 8), (uint8_t)message.len};
    check_ok(pea_buf_append(&flight, prologue + 6, GREETING));
    check_ok(pea_buf_append(&flight, length, sizeof length));
    check_ok(pea_buf_append(&flight, message.data, message.len));
    pea_buf_free(&message);
    pea_noise_free(noise);
    return flight;
}

static void test_payloads(void **state)
{
    static const struct {
        uint8_t bytes[20];
        size_t len;
        pea_err err;
        const char *says;
    } cases[] = {
        {{0, 1, 0, 0}, 4, PEA_E_PROTO, "not 8 bytes"},
        {{0, 1, 0, 7, 0, 0, 0, 0, 0, 0, 1}, 11, PEA_E_PROTO, "not 8 bytes"},
        {{0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 13, PEA_E_PROTO, "not 8 bytes"},
        {{0, 2, 0, 0}, 4, PEA_E_PROTO, "does not say when"},
        {{0, 1, 0, 8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 12, PEA_E_REFUSED, "s from now"},
        {{0, 1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0}, 12, PEA_E_REFUSED, "1700000000.000 s ago"},
        {{0, 1, 0, 8, 0, 0, 1, 0x8b, 0xcf, 0xe5, 0x68}, 11, PEA_E_PROTO, "inside a TLV"},
        {{0, 1, 0, 8, 0, 0, 1, 0x8b, 0xcf, 0xe5, 0x68, 0, 0, 9, 0, 0}, 16, PEA_OK, NULL},
    };
    pea_chain *chain = gated(WINDOW_MS);
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        pea_buf flight = flight_with(cases[i].bytes, cases[i].len);
        outcome o = hear(chain, now_ms, &flight);
        if (cases[i].err == PEA_OK)
            check_answered(&o);
        else
            check_refused(&o, cases[i].err, cases[i].says);
        pea_buf_free(&flight);
    }
    pea_chain_unref(chain);
}

/* ---- What is remembered ---- */

static pea_err pass(pea__noise_gate *gate, uint64_t number, int64_t said_ms)
{
    uint8_t ephemeral[PEA_KEY_BYTES] = {0}, payload[TIMESTAMP];
    char what[PEA__GATE_TEXT_MAX];
    memcpy(ephemeral, &number, sizeof number);
    for (unsigned i = 0; i < 8; i++)
        payload[4 + i] = (uint8_t)(said_ms >> 8 * (7 - i));
    return pea__noise_gate_pass(gate, ephemeral, (pea_span){payload + 4, 8}, now_ms, what);
}

/* When it is full, the one goes that leaves the window first, or, without one, that came first. */
static void test_full(void **state)
{
    pea__noise_gate *gate;
    (void)state;
    for (uint32_t window_ms = 0; window_ms <= WINDOW_MS; window_ms += WINDOW_MS) {
        check_ok(pea__noise_gate_new(&gate, window_ms, 8)); /* one set of 16 */
        for (uint64_t i = 0; i < 16; i++)
            check_ok(pass(gate, i, now_ms - 5000 * (i == 7) - (int64_t)i));
        for (uint64_t i = 0; i < 16; i++)
            check_err(pass(gate, i, now_ms - 5000 * (i == 7) - (int64_t)i), PEA_E_REFUSED);
        check_ok(pass(gate, 16, now_ms));
        uint64_t gone = window_ms != 0 ? 7 : 0;
        for (uint64_t i = 0; i < 17; i++)
            if (i != gone)
                check_err(pass(gate, i, now_ms), PEA_E_REFUSED);
        check_ok(pass(gate, gone, now_ms));
        pea__noise_gate_free(gate);
    }
}

/* So many are remembered as was asked for, but for what chance crowds into one set. */
static void test_as_many_as_asked_for(void **state)
{
    enum { MANY = 4096, CROWDED = MANY / 50 };
    pea__noise_gate *gate;
    unsigned forgotten = 0;
    (void)state;
    check_ok(pea__noise_gate_new(&gate, WINDOW_MS, MANY));
    for (uint64_t i = 0; i < MANY; i++)
        check_ok(pass(gate, i, now_ms + (int64_t)i));
    for (uint64_t i = 0; i < MANY; i++)
        forgotten += pass(gate, i, now_ms + (int64_t)i) == PEA_OK;
    assert_in_range(forgotten, 0, CROWDED);
    pea__noise_gate_free(gate);
}

/* ---- Keys that change ---- */

typedef struct keeper {
    unsigned asked;
    pea_side side;
    size_t n;
    const uint8_t *keys[PEA_NOISE_PSKS_MAX];
    pea_err err;
    const char *says;
} keeper;

static pea_err keep(void *arg, pea_side side, const pea_peer *expect, pea_noise_psks *psks, pea_error *why)
{
    keeper *k = arg;
    assert_null(expect);
    assert_int_equal(psks->n, 0);
    k->asked++;
    k->side = side;
    psks->n = k->n;
    for (size_t i = 0; i < k->n && i < PEA_NOISE_PSKS_MAX; i++)
        memcpy(psks->keys[i], k->keys[i], PEA_KEY_BYTES);
    if (k->says != NULL)
        (void)snprintf(why->text, sizeof why->text, "%s", k->says);
    return k->err;
}

static void test_keys_that_change(void **state)
{
    const uint8_t *old = other_keys[0], *new = other_keys[1], *next = other_keys[2];
    keeper dials = {.n = 1, .keys = {old}}, listens = {.n = 1, .keys = {old}};
    pea_chain *a = chain_of(PEA_NATIVE, PEA_NOISE(.protocol = XXPSK0, .psk_fn = keep, .psk_arg = &dials));
    pea_chain *b = chain_of(PEA_NATIVE, PEA_NOISE(.protocol = XXPSK0, .psk_fn = keep, .psk_arg = &listens));
    (void)state;
    pea_buf flight = first_flight(a, now_ms);
    assert_int_equal(dials.asked, 1);
    assert_int_equal(dials.side, PEA_INITIATOR);
    outcome o = hear(b, now_ms, &flight);
    check_answered(&o);
    assert_int_equal(listens.asked, 1);
    assert_int_equal(listens.side, PEA_RESPONDER);
    pea_buf_free(&flight);

    listens = (keeper){.n = 2, .keys = {new, old}}; /* the new one has come, and the old one is taken yet */
    flight = first_flight(a, now_ms);
    o = hear(b, now_ms, &flight);
    check_answered(&o);
    o = hear(b, now_ms, &flight); /* under whichever key */
    check_refused(&o, PEA_E_REFUSED, "came before");
    pea_buf_free(&flight);

    dials.keys[0] = new;
    listens = (keeper){.n = 2, .keys = {next, new}};
    flight = first_flight(a, now_ms);
    o = hear(b, now_ms, &flight);
    check_answered(&o);
    pea_buf_free(&flight);

    dials.keys[0] = old;
    flight = first_flight(a, now_ms);
    o = hear(b, now_ms, &flight);
    check_refused(&o, PEA_E_CRYPTO, "does not authenticate");
    pea_buf_free(&flight);
    pea_chain_unref(a);
    pea_chain_unref(b);
}

static void test_no_key(void **state)
{
    const keeper cases[] = {
        {.err = PEA_E_NOT_FOUND, .says = "no key for today"},
        {.err = PEA_E_NOMEM, .n = 1, .keys = {network_key}},
        {.err = PEA_WAIT},
        {.n = 0},
        {.n = 5, .keys = {network_key, network_key, network_key, network_key}},
    };
    static const struct {
        pea_err err;
        const char *text;
    } want[] = {
        {PEA_E_NOT_FOUND, "no key for today"}, {PEA_E_NOMEM, "psk_fn has no key"},
        {PEA_E_INVALID, "psk_fn has no key"},  {PEA_E_INVALID, "neither 1 nor up to"},
        {PEA_E_INVALID, "neither 1 nor up"},
    };
    keeper k;
    pea_chain *chain = chain_of(PEA_NATIVE, PEA_NOISE(.protocol = XXPSK0, .psk_fn = keep, .psk_arg = &k));
    (void)state;
    k = (keeper){.n = 1, .keys = {network_key}};
    pea_buf flight = first_flight(chain, now_ms);
    for (size_t i = 0; i < COUNT(cases); i++) {
        k = cases[i];
        outcome o = hear(chain, now_ms, &flight);
        check_refused(&o, want[i].err, want[i].text);
    }
    pea_buf_free(&flight);
    pea_chain_unref(chain);
    /* Several keys say something with psk0 alone. */
    chain = chain_of(PEA_NATIVE,
                     PEA_NOISE(.protocol = "Noise_XXpsk3_25519_ChaChaPoly_BLAKE2b", .psk_fn = keep, .psk_arg = &k));
    k = (keeper){.n = 2, .keys = {network_key, network_key}};
    pea_pipe *pipe = open_pipe(chain, PEA_INITIATOR, now_ms);
    outcome o = {.closed = false};
    drain(pipe, &o);
    assert_true(o.closed);
    check_err(o.reason.err, PEA_E_INVALID);
    assert_non_null(strstr(o.reason.text, "psk0"));
    pea_buf_free(&o.said);
    pea_pipe_free(pipe);
    pea_chain_unref(chain);
}

/* ---- What may not be asked for ---- */

static void test_options(void **state)
{
#define PSK3 "Noise_XXpsk3_25519_ChaChaPoly_BLAKE2b"
    static const struct {
        pea_mode mode;
        pea_noise_opts opts;
        const char *says;
    } cases[] = {
        {PEA_NATIVE, {.gate_window_ms = 1}, "under a psk"},
        {PEA_NATIVE, {.gate_remembers = 1}, "under a psk"},
        {PEA_NATIVE, {.protocol = PSK3, .psk = network_key, .gate_window_ms = 1}, "under a psk"},
        {PEA_STREAM, {.protocol = XXPSK0, .psk = network_key, .gate_window_ms = 1}, "native mode"},
        {PEA_NATIVE, {.protocol = XXPSK0, .psk = network_key, .gate_window_ms = 86400001}, "a day"},
        {PEA_NATIVE, {.protocol = XXPSK0, .psk = network_key, .gate_remembers = 16777217}, "16,777,216"},
        {PEA_NATIVE, {.protocol = XXPSK0, .psk = network_key, .psk_fn = keep}, "instead of"},
        {PEA_NATIVE, {.protocol = XXPSK0, .more_psks = network_key, .n_more_psks = 1, .psk_fn = keep}, "instead of"},
        {PEA_NATIVE, {.psk_fn = keep}, "no psk modifier"},
        {PEA_NATIVE, {.protocol = XXPSK0}, "needs a psk"},
        {PEA_NATIVE, {.protocol = XXPSK0, .psk = network_key, .gate_window_ms = 86400000}, NULL},
        {PEA_STREAM, {.protocol = XXPSK0, .psk = network_key, .gate_remembers = 1}, NULL},
        {PEA_NATIVE, {.protocol = "Noise_IKpsk1_25519_ChaChaPoly_BLAKE2b", .psk_fn = keep, .gate_window_ms = 1}, NULL},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        pea_chain *chain;
        pea_noise_opts opts = cases[i].opts;
        pea_error why = {.text = ""};
        opts.size = sizeof opts;
        opts.identity = identity;
        check_ok(pea_chain_new(&chain, PEA_CHAIN(.mode = cases[i].mode), NULL));
        check_err(pea_chain_noise(chain, &opts, &why), cases[i].says == NULL ? PEA_OK : PEA_E_INVALID);
        if (cases[i].says != NULL && strstr(why.text, cases[i].says) == NULL)
            fail_msg("case %zu: %s", i, why.text);
        pea_chain_unref(chain);
    }
    /* A handshake without a connection has no gate. */
    pea_noise *noise;
    pea_error why;
    check_err(pea_noise_new(
                  &noise, PEA_RESPONDER,
                  PEA_NOISE(.protocol = XXPSK0, .psk = network_key, .identity = identity, .gate_window_ms = 1), &why),
              PEA_E_INVALID);
    assert_non_null(strstr(why.text, "pea_chain_noise()"));
}

static int setup(void **state)
{
    (void)state;
    pea_trust_any(anybody);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strangers_cost_no_multiplication),
        cmocka_unit_test(test_changed_messages_are_not_remembered),
        cmocka_unit_test(test_strangers_and_recordings_pay_nothing),
        cmocka_unit_test(test_recordings),
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_only_one_has_a_window),
        cmocka_unit_test(test_payloads),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_as_many_as_asked_for),
        cmocka_unit_test(test_keys_that_change),
        cmocka_unit_test(test_no_key),
        cmocka_unit_test(test_options),
    };
    if (pea_identity_generate(&identity, NULL) != PEA_OK || pea_trust_new(&anybody) != PEA_OK)
        return 1;
    int failed = cmocka_run_group_tests(tests, setup, NULL);
    pea_trust_unref(anybody);
    pea_identity_unref(identity);
    return failed;
}
