/* SPDX-License-Identifier: MIT */
/* What every transform must keep, tried on it alone: sealed is unsealed however it is cut, no byte beyond a record is
 * taken, what was changed is found, and what fails leaves its outputs as they were. A new transform is one line in the
 * table, and the function that makes a pair of them. */
#include <stdio.h>
#include <stdlib.h>

#include "noise/noise_priv.h"
#include "support/check.h"
#include "support/faults.h"
#include "support/prng.h"
#include "support/toys.h"

typedef struct transform_case {
    const char *name;
    void (*make)(pea_transform pair[2], const void *arg); /* by side */
    const void *arg;
    bool authentic; /* what was changed is found */
} transform_case;

/* ---- The implementations ---- */

static void make_xor(pea_transform pair[2], const void *arg)
{
    check_ok(toy_xor_new(&pair[PEA_INITIATOR], 99, PEA_INITIATOR, arg != NULL));
    check_ok(toy_xor_new(&pair[PEA_RESPONDER], 99, PEA_RESPONDER, arg != NULL));
}

static void make_frame(pea_transform pair[2], const void *arg)
{
    (void)arg;
    check_ok(toy_frame_new(&pair[0]));
    check_ok(toy_frame_new(&pair[1]));
}

typedef struct noise_config {
    const char *protocol;
    bool native, preserving;
} noise_config;

static pea_identity *identity[2];

static void make_noise(pea_transform pair[2], const void *arg)
{
    const noise_config *c = arg;
    static const uint8_t psk[PEA_KEY_BYTES] = {7};
    pea_noise *noise[2];
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++)
        check_ok(pea_noise_new(&noise[side], side,
                               PEA_NOISE(.protocol = c->protocol, .identity = identity[side],
                                         .record_preserving = c->preserving,
                                         .psk = strstr(c->protocol, "psk") != NULL ? psk : NULL),
                               NULL));
    for (pea_side side = PEA_INITIATOR; pea_noise_turn(noise[side]) != PEA_DONE; side = (pea_side)(1 - side)) {
        pea_buf message = {0}, payload = {0};
        check_err(pea_noise_turn(noise[side]), PEA_AGAIN);
        check_ok(pea_noise_write(noise[side], (pea_span){NULL, 0}, &message));
        check_ok(pea_noise_read(noise[1 - side], (pea_span){message.data, message.len}, &payload));
        pea_buf_free(&message);
        pea_buf_free(&payload);
    }
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
        check_ok(pea_noise_split(noise[side], c->native, &pair[side]));
        pea_noise_free(noise[side]);
    }
}

#define NOISE(...) make_noise, &(const noise_config){__VA_ARGS__}, true

static const transform_case cases[] = {
    {"toy_xor", make_xor, NULL, true},
    {"toy_xor, one message a record", make_xor, "", true},
    {"toy_frame", make_frame, NULL, false},
    {"noise: ChaChaPoly", NOISE("Noise_XX_25519_ChaChaPoly_BLAKE2b", true, false)},
    {"noise: AESGCM", NOISE("Noise_XX_25519_AESGCM_SHA256", true, false)},
    {"noise: ChaChaPoly, one message a record", NOISE("Noise_XXpsk3_25519_ChaChaPoly_SHA512", false, true)},
    {"noise: AESGCM, one message a record", NOISE("Noise_XXpsk3_25519_AESGCM_BLAKE2b", false, true)},
};

/* ---- A pair and what flows from one to the other ---- */

typedef struct pair {
    pea_transform t[2];
    pea_buf wire, plain, reply;
} pair;

static void pair_open(pair *p, const transform_case *what)
{
    *p = (pair){0};
    what->make(p->t, what->arg);
    for (unsigned i = 0; i < 2; i++) {
        const pea_transform *t = &p->t[i];
        assert_true(t->ops->version == PEA_TRANSFORM_VERSION && t->ops->name != NULL);
        assert_non_null(t->ops->seal);
        assert_non_null(t->ops->unseal);
        assert_non_null(t->ops->destroy);
        assert_true(t->one_message_per_record || (size_t)t->record_plain + t->overhead <= PEA_WRITE_MAX);
    }
}

static void pair_close(pair *p)
{
    p->t[0].ops->destroy(p->t[0].self);
    p->t[1].ops->destroy(p->t[1].self);
    pea_buf_free(&p->wire);
    pea_buf_free(&p->plain);
    pea_buf_free(&p->reply);
}

static pea_err seal(pair *p, const void *data, size_t len)
{
    return p->t[0].ops->seal(p->t[0].self, &(pea_span){data, len}, 1, &p->wire);
}

static pea_err unseal(pair *p, pea_buf *wire, size_t max)
{
    return p->t[1].ops->unseal(p->t[1].self, wire, &p->plain, max, &p->reply);
}

/* Until it wants more. What a record-preserving one gives is put together. */
static pea_err unseal_all(pair *p, pea_buf *wire)
{
    pea_err err;
    while ((err = unseal(p, wire, SIZE_MAX)) == PEA_AGAIN)
        continue;
    return err;
}

/* Most that one seal() takes: a few records, or one. */
static size_t most(const pair *p)
{
    size_t record = p->t[0].record_plain != 0 ? p->t[0].record_plain : 20000;
    return p->t[0].one_message_per_record ? record : 3 * record + 7;
}

static uint8_t *random_bytes(size_t len, uint64_t seed)
{
    test_prng prng = {seed};
    uint8_t *bytes = malloc(len + 1);
    assert_non_null(bytes);
    prng_fill(&prng, bytes, len);
    return bytes;
}

/* ---- The cases ---- */

/* All sizes around records and none at all; the wire is no longer than what was promised. */
static void sizes(void **state)
{
    pair p;
    pair_open(&p, *state);
    size_t record = p.t[0].record_plain != 0 ? p.t[0].record_plain : 20000, top = most(&p);
    const size_t tried[] = {1, 2, 0, record - 1, record, 1, record + 1, top, 3};
    uint8_t *bytes = random_bytes(top, 1);
    for (size_t i = 0; i < sizeof tried / sizeof tried[0]; i++) {
        if (tried[i] > top)
            continue;
        check_ok(seal(&p, bytes, tried[i]));
        size_t records = p.t[0].one_message_per_record ? 1 : (tried[i] + record - 1) / record;
        assert_true(p.wire.len <= tried[i] + records * p.t[0].overhead);
        check_ok(unseal_all(&p, &p.wire));
        assert_int_equal(p.wire.len, 0);
        assert_int_equal(p.reply.len, 0);
        check_bytes(p.plain.data, p.plain.len, bytes, tried[i]);
        pea_buf_consume(&p.plain, p.plain.len);
    }
    free(bytes);
    pair_close(&p);
}

static void both_ways(void **state)
{
    pair p;
    pair_open(&p, *state);
    for (unsigned i = 0; i < 40; i++) {
        pea_transform swapped = p.t[0];
        uint8_t byte = (uint8_t)i;
        check_ok(seal(&p, &byte, 1));
        check_ok(unseal_all(&p, &p.wire));
        check_bytes(p.plain.data, p.plain.len, &byte, 1);
        pea_buf_consume(&p.plain, 1);
        if (i % 3 == 0) {
            p.t[0] = p.t[1];
            p.t[1] = swapped;
        }
    }
    pair_close(&p);
}

/* Spans are one message, wherever they are cut, and empty ones are nothing. */
static void gathered(void **state)
{
    test_prng prng = {3};
    pair p;
    pair_open(&p, *state);
    size_t len = most(&p) < 70000 ? most(&p) : 70000;
    uint8_t *bytes = random_bytes(len, 2);
    for (unsigned round = 0; round < 20; round++) {
        pea_span spans[6];
        for (size_t i = 0, at = 0; i < 6; i++) {
            size_t n = i == 5 ? len - at : i == 2 ? 0 : prng_below(&prng, len - at + 1);
            spans[i] = (pea_span){n > 0 ? bytes + at : NULL, n};
            at += n;
        }
        check_ok(p.t[0].ops->seal(p.t[0].self, spans, 6, &p.wire));
        check_ok(unseal_all(&p, &p.wire));
        check_bytes(p.plain.data, p.plain.len, bytes, len);
        pea_buf_consume(&p.plain, p.plain.len);
    }
    free(bytes);
    pair_close(&p);
}

/* Every cut in two, and random pieces: the same plaintext, and a partial record stays where it is. */
static void cut_anywhere(void **state)
{
    uint8_t *bytes = random_bytes(450, 4);
    pair p;
    pair_open(&p, *state);
    size_t wire_len = SIZE_MAX;
    for (size_t at = 0; at <= wire_len; at++) {
        pea_buf wire = {0};
        check_ok(seal(&p, bytes, 450));
        wire_len = p.wire.len;
        size_t first = at < wire_len ? at : wire_len;
        check_ok(pea_buf_append(&wire, p.wire.data, first));
        check_ok(unseal_all(&p, &wire));
        assert_true(wire.len < (size_t)p.t[0].record_plain + p.t[0].overhead);
        check_bytes(p.plain.data, p.plain.len, bytes, p.plain.len);
        check_ok(pea_buf_append(&wire, p.wire.data + first, wire_len - first));
        check_ok(unseal_all(&p, &wire));
        assert_int_equal(wire.len, 0);
        check_bytes(p.plain.data, p.plain.len, bytes, 450);
        pea_buf_consume(&p.plain, p.plain.len);
        pea_buf_consume(&p.wire, p.wire.len);
        pea_buf_free(&wire);
    }
    free(bytes);
    pair_close(&p);
}

static void random_pieces(void **state)
{
    uint8_t *bytes = random_bytes(150000, 5);
    for (uint64_t seed = 1; seed <= 10; seed++) {
        test_prng prng = {seed};
        pair p;
        pea_buf wire = {0};
        pair_open(&p, *state);
        for (size_t at = 0, n; at < 150000; at += n) {
            n = 1 + prng_below(&prng, most(&p));
            n = n < 150000 - at ? n : 150000 - at;
            check_ok(seal(&p, bytes + at, n));
        }
        for (size_t n; p.wire.len > 0; pea_buf_consume(&p.wire, n)) {
            n = 1 + prng_below(&prng, 9000);
            n = n < p.wire.len ? n : p.wire.len;
            check_ok(pea_buf_append(&wire, p.wire.data, n));
            check_ok(unseal_all(&p, &wire));
        }
        check_bytes(p.plain.data, p.plain.len, bytes, 150000);
        pea_buf_free(&wire);
        pair_close(&p);
    }
    free(bytes);
}

/* `max` bounds what one call appends: less than max and a record. */
static void bounded(void **state)
{
    pair p;
    pair_open(&p, *state);
    size_t len = most(&p), record = p.t[0].record_plain != 0 ? p.t[0].record_plain : len;
    uint8_t *bytes = random_bytes(len, 6);
    check_ok(seal(&p, bytes, len));
    check_ok(seal(&p, bytes, 1));
    check_ok(seal(&p, bytes, 1));
    for (;;) {
        size_t before = p.plain.len, wire_before = p.wire.len;
        pea_err err = unseal(&p, &p.wire, 1);
        assert_true(p.plain.len - before < 1 + record);
        if (err == PEA_OK)
            break;
        check_err(err, PEA_AGAIN);
        assert_true(p.plain.len > before && p.wire.len < wire_before);
    }
    assert_int_equal(p.plain.len, len + 2);
    check_bytes(p.plain.data, len, bytes, len);
    free(bytes);
    pair_close(&p);
}

/* One message a record: a call gives one, an empty one too; one that is too big is refused, and the next is not
 * harmed. */
static void one_message_a_record(void **state)
{
    pair p;
    pair_open(&p, *state);
    if (p.t[0].one_message_per_record) {
        size_t len = (size_t)p.t[0].record_plain + 1;
        uint8_t *bytes = random_bytes(len, 7);
        const size_t tried[] = {0, 1, 0, len - 1, 5};
        for (size_t i = 0; i < 5; i++)
            check_ok(seal(&p, bytes, tried[i]));
        size_t before = p.wire.len;
        check_err(seal(&p, bytes, len), PEA_E_TOO_BIG);
        assert_int_equal(p.wire.len, before);
        check_ok(seal(&p, bytes, 2));
        for (size_t i = 0; i < 6; i++) {
            check_err(unseal(&p, &p.wire, SIZE_MAX), PEA_AGAIN);
            check_bytes(p.plain.data, p.plain.len, bytes, i < 5 ? tried[i] : 2);
            pea_buf_consume(&p.plain, p.plain.len);
        }
        check_ok(unseal(&p, &p.wire, SIZE_MAX));
        free(bytes);
    }
    pair_close(&p);
}

/* Each byte changed in turn: nothing wrong comes out, and what came out before it is good. */
static void changed_anywhere(void **state)
{
    const transform_case *what = *state;
    uint8_t *bytes = random_bytes(260, 8);
    size_t len = SIZE_MAX;
    for (size_t at = 0; what->authentic && at < len; at++) {
        pair p;
        pair_open(&p, what);
        check_ok(seal(&p, bytes, 60));
        check_ok(seal(&p, bytes + 60, 200));
        len = p.wire.len;
        p.wire.data[at] ^= (uint8_t)(1u << (at % 8));
        pea_err err = unseal_all(&p, &p.wire);
        /* a longer length waits for more */
        assert_true(err == PEA_E_CRYPTO || err == PEA_E_PROTO || (err == PEA_OK && p.wire.len > 0));
        assert_true(p.plain.len < 260);
        check_bytes(p.plain.data, p.plain.len, bytes, p.plain.len);
        pair_close(&p);
    }
    free(bytes);
}

/* Records that are left out, doubled, swapped or sent back do not open. */
static void replayed_and_reordered(void **state)
{
    const transform_case *what = *state;
    for (unsigned attack = 0; what->authentic && attack < 4; attack++) {
        pair p;
        pea_buf wire = {0}, back = {0};
        pair_open(&p, what);
        check_ok(seal(&p, "first", 5));
        size_t one = p.wire.len;
        check_ok(seal(&p, "other", 5));
        const uint8_t *first = p.wire.data, *second = p.wire.data + one;
        if (attack == 0 || attack == 1) { /* doubled; left out */
            check_ok(pea_buf_append(&wire, attack == 0 ? first : second, one));
            check_ok(pea_buf_append(&wire, attack == 0 ? first : second, one));
        } else if (attack == 2) { /* swapped */
            check_ok(pea_buf_append(&wire, second, one));
            check_ok(pea_buf_append(&wire, first, one));
        } else { /* sent back to who said it */
            check_ok(pea_buf_append(&back, first, one));
            pea_transform t = p.t[0];
            assert_true(t.ops->unseal(t.self, &back, &p.plain, SIZE_MAX, &p.reply) < 0);
        }
        if (attack < 3)
            assert_true(unseal_all(&p, &wire) < 0);
        assert_int_equal(p.plain.len, attack == 0 ? 5 : 0);
        pea_buf_free(&wire);
        pea_buf_free(&back);
        pair_close(&p);
    }
}

/* Memory that runs out in seal() leaves the wire as it was; in unseal() the plaintext holds whole records only. */
static void no_memory(void **state)
{
    uint8_t *bytes = random_bytes(20000, 9);
    bool hit = true;
    for (size_t nth = 0; hit; nth++) {
        pair p;
        pair_open(&p, *state);
        size_t len = most(&p) < 20000 ? most(&p) : 20000;
        check_ok(pea_buf_append(&p.wire, "before", 6));
        faults_arm(nth);
        pea_err err = seal(&p, bytes, len);
        if (err != PEA_OK) {
            (void)faults_disarm();
            check_err(err, PEA_E_NOMEM);
            check_bytes(p.wire.data, p.wire.len, "before", 6);
            pair_close(&p);
            continue;
        }
        pea_buf_consume(&p.wire, 6);
        err = unseal_all(&p, &p.wire);
        hit = faults_disarm();
        assert_true(err == PEA_OK || (err == PEA_E_NOMEM && hit));
        check_bytes(p.plain.data, p.plain.len, bytes, p.plain.len);
        assert_int_equal(err == PEA_OK ? len : p.plain.len, p.plain.len);
        assert_true(p.t[0].record_plain == 0 || p.plain.len % p.t[0].record_plain == 0 || p.plain.len == len);
        pair_close(&p);
    }
    free(bytes);
}

/* The end, where there is one, is the end; without it a cut is a cut. */
static void ends(void **state)
{
    pair p;
    pair_open(&p, *state);
    pea_transform *from = &p.t[0], *to = &p.t[1];
    check_ok(seal(&p, "last", 4));
    pea_err err =
        from->ops->control != NULL ? from->ops->control(from->self, PEA_CONTROL_END, &p.wire) : PEA_E_UNSUPPORTED;
    if (err == PEA_OK) {
        assert_non_null(to->ops->wire_end);
        check_err(to->ops->wire_end(to->self), PEA_E_TRUNCATED);
        check_err(unseal_all(&p, &p.wire), PEA_EOF);
        check_err(to->ops->wire_end(to->self), PEA_EOF);
    } else {
        check_err(err, PEA_E_UNSUPPORTED);
        check_ok(unseal_all(&p, &p.wire));
    }
    check_bytes(p.plain.data, p.plain.len, "last", 4);
    pair_close(&p);
}

/* Where the key can be changed on request, all goes on. */
static void rekeys(void **state)
{
    pair p;
    pair_open(&p, *state);
    for (unsigned i = 0; i < 5; i++) {
        pea_err err = p.t[0].ops->control != NULL ? p.t[0].ops->control(p.t[0].self, PEA_CONTROL_REKEY, &p.wire)
                                                  : PEA_E_UNSUPPORTED;
        assert_true(err == PEA_OK || err == PEA_E_UNSUPPORTED);
        check_ok(seal(&p, &i, sizeof i));
    }
    check_ok(unseal_all(&p, &p.wire));
    assert_int_equal(p.plain.len, 5 * sizeof(unsigned));
    pair_close(&p);
}

/* Queries: the same on both sides; too little room changes nothing; what is not known is unsupported. */
static void queries(void **state)
{
    pair p;
    pair_open(&p, *state);
    for (pea_query what = PEA_QUERY_BINDING; p.t[0].ops->query != NULL && what <= PEA_QUERY_ALPN; what++) {
        uint8_t a[64] = {0}, b[64] = {0};
        size_t a_len = what == PEA_QUERY_EXPORT ? 32 : sizeof a, b_len = a_len, none = 1;
        pea_span label = {(const uint8_t *)"label", 5};
        pea_err err = p.t[0].ops->query(p.t[0].self, what, label, a, &a_len);
        check_err(p.t[1].ops->query(p.t[1].self, what, label, b, &b_len), err);
        if (err == PEA_E_UNSUPPORTED)
            continue;
        check_ok(err);
        check_bytes(a, a_len, b, b_len);
        if (what != PEA_QUERY_EXPORT) {
            uint8_t byte = 0x77;
            check_err(p.t[0].ops->query(p.t[0].self, what, label, &byte, &none), PEA_E_TOO_BIG);
            assert_int_equal(byte, 0x77);
        } else {
            check_ok(p.t[0].ops->query(p.t[0].self, what, (pea_span){(const uint8_t *)"other", 5}, b, &b_len));
            assert_memory_not_equal(a, b, 32);
        }
    }
    pair_close(&p);
}

/* ---- Every case over every transform ---- */

#define CASE(f) \
    {           \
#f, f   \
    }

static const struct suite_case {
    const char *name;
    CMUnitTestFunction run;
} suite[] = {
    CASE(sizes),
    CASE(both_ways),
    CASE(gathered),
    CASE(cut_anywhere),
    CASE(random_pieces),
    CASE(bounded),
    CASE(one_message_a_record),
    CASE(changed_anywhere),
    CASE(replayed_and_reordered),
    CASE(no_memory),
    CASE(ends),
    CASE(rekeys),
    CASE(queries),
};

#define N_CASES (sizeof cases / sizeof cases[0])
#define N_SUITE (sizeof suite / sizeof suite[0])

int main(void)
{
    static struct CMUnitTest tests[N_CASES * N_SUITE];
    static char names[N_CASES * N_SUITE][80];
    faults_install();
    for (unsigned side = 0; side < 2; side++) {
        uint8_t secret[PEA_KEY_BYTES];
        memset(secret, 0x21 + (int)side, sizeof secret);
        if (pea_identity_from_secret(&identity[side], secret, NULL) != PEA_OK)
            return 1;
    }
    for (size_t i = 0; i < N_CASES * N_SUITE; i++) {
        union {
            const transform_case *in;
            void *out;
        } state = {.in = &cases[i / N_SUITE]};
        snprintf(names[i], sizeof names[i], "%s: %s", cases[i / N_SUITE].name, suite[i % N_SUITE].name);
        tests[i] =
            (struct CMUnitTest){.name = names[i], .test_func = suite[i % N_SUITE].run, .initial_state = state.out};
    }
    int failed = _cmocka_run_group_tests("transforms", tests, N_CASES * N_SUITE, NULL, NULL);
    pea_identity_unref(identity[0]);
    pea_identity_unref(identity[1]);
    return failed;
}
