/* SPDX-License-Identifier: MIT */
/* The transform that Noise leaves: how plaintext falls into records and out of them, rekeying, the end of a key, and
 * its queries. Byte for byte it is held against native.json, whose maker shares no code with it. */
#include <cjson/cJSON.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "noise/noise_priv.h"
#include "secure_priv.h"
#include "support/check.h"
#include "support/faults.h"
#include "support/prng.h"

#define HEADER 2u
#define OVERHEAD 18u
#define STREAM_PLAIN 61422u
#define MESSAGE_PLAIN 65519u

static const char *const suites[] = {"Noise_XX_25519_ChaChaPoly_BLAKE2b", "Noise_XX_25519_AESGCM_SHA256"};

/* Both ends after a handshake. */
typedef struct ends {
    pea_transform t[2];
    pea_buf wire, plain, reply;
} ends;

static void ends_open_each(ends *e, const char *protocol, const bool native[2], bool preserving)
{
    pea_noise *side[2];
    pea_identity *id[2];
    memset(e, 0, sizeof *e);
    for (int i = 0; i < 2; i++) {
        check_ok(pea_identity_generate(&id[i], NULL));
        check_ok(pea_noise_new(&side[i], (pea_side)i,
                               PEA_NOISE(.protocol = protocol, .identity = id[i], .record_preserving = preserving),
                               NULL));
    }
    for (int n = 0; n < 3; n++) {
        pea_buf message = {0}, payload = {0};
        check_ok(pea_noise_write(side[n % 2], (pea_span){NULL, 0}, &message));
        check_ok(pea_noise_read(side[!(n % 2)], (pea_span){message.data, message.len}, &payload));
        pea_buf_free(&message);
        pea_buf_free(&payload);
    }
    for (int i = 0; i < 2; i++) {
        check_ok(pea_noise_split(side[i], native[i], &e->t[i]));
        pea_noise_free(side[i]);
        pea_identity_unref(id[i]);
    }
}

static void ends_open(ends *e, const char *protocol, bool native, bool preserving)
{
    ends_open_each(e, protocol, (const bool[]){native, native}, preserving);
}

static void ends_close(ends *e)
{
    for (int i = 0; i < 2; i++)
        e->t[i].ops->destroy(e->t[i].self);
    pea_buf_free(&e->wire);
    pea_buf_free(&e->plain);
    pea_buf_free(&e->reply);
}

static pea_err seal(ends *e, int side, const void *data, size_t len)
{
    const pea_span one = {data, len};
    return e->t[side].ops->seal(e->t[side].self, &one, 1, &e->wire);
}

static pea_err unseal(ends *e, int side, size_t max)
{
    return e->t[side].ops->unseal(e->t[side].self, &e->wire, &e->plain, max, &e->reply);
}

/* ---- Sizes ---- */

static void test_numbers(void **state)
{
    ends e;
    (void)state;
    ends_open(&e, NULL, true, false);
    assert_int_equal(e.t[0].record_plain, STREAM_PLAIN);
    assert_int_equal(e.t[0].overhead, OVERHEAD);
    assert_int_equal(e.t[0].record_plain + e.t[0].overhead, PEA_WRITE_MAX);
    assert_false(e.t[0].one_message_per_record);
    ends_close(&e);
    ends_open(&e, NULL, false, true);
    assert_int_equal(e.t[0].record_plain, MESSAGE_PLAIN);
    assert_true(e.t[0].one_message_per_record);
    ends_close(&e);
}

static void test_stream_sizes(void **state)
{
    static const size_t sizes[] = {
        0, 1, 15, 16, 17, STREAM_PLAIN - 1, STREAM_PLAIN, STREAM_PLAIN + 1, 2 * STREAM_PLAIN, 1000000};
    uint8_t *data = malloc(1000000);
    test_prng prng = {1};
    (void)state;
    prng_fill(&prng, data, 1000000);
    for (size_t s = 0; s < 2; s++) {
        ends e;
        if (s == 1 && !pea__aead_available(PEA__AESGCM))
            continue;
        ends_open(&e, suites[s], true, false);
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            size_t records = (sizes[i] + STREAM_PLAIN - 1) / STREAM_PLAIN;
            check_ok(seal(&e, (int)i % 2, data, sizes[i]));
            assert_int_equal(e.wire.len, sizes[i] + records * OVERHEAD);
            check_ok(unseal(&e, !(i % 2), SIZE_MAX));
            check_bytes(e.plain.data, e.plain.len, data, sizes[i]);
            assert_int_equal(e.wire.len + e.reply.len, 0);
            pea_buf_free(&e.plain);
        }
        ends_close(&e);
    }
    free(data);
}

/* Any division of the same bytes into spans gives the same records. */
static void test_spans(void **state)
{
    enum { TOTAL = 130000, SPANS = 40 };
    uint8_t *data = malloc(TOTAL);
    test_prng prng = {2};
    (void)state;
    prng_fill(&prng, data, TOTAL);
    for (int round = 0; round < 60; round++) {
        ends e;
        pea_span spans[SPANS];
        size_t n = 0, total = round % 3 == 0 ? 500 : TOTAL;
        for (size_t at = 0; n < SPANS && at < total;) {
            size_t len = n == SPANS - 1 ? total - at : prng_below(&prng, total / 8 + 1);
            if (prng_below(&prng, 4) == 0)
                len = 0;
            if (len > total - at)
                len = total - at;
            if (n == SPANS - 1)
                len = total - at;
            spans[n++] = (pea_span){len > 0 ? data + at : NULL, len};
            at += len;
        }
        ends_open(&e, suites[round % 2 == 0 || !pea__aead_available(PEA__AESGCM) ? 0 : 1], true, false);
        check_ok(pea_buf_append(&e.wire, "before", 6));
        check_ok(e.t[0].ops->seal(e.t[0].self, spans, n, &e.wire));
        assert_int_equal(e.wire.len, 6 + total + OVERHEAD * ((total + STREAM_PLAIN - 1) / STREAM_PLAIN));
        check_bytes(e.wire.data, 6, "before", 6);
        pea_buf_consume(&e.wire, 6);
        check_ok(unseal(&e, 1, SIZE_MAX));
        check_bytes(e.plain.data, e.plain.len, data, total);
        ends_close(&e);
    }
    free(data);
}

static void test_messages(void **state)
{
    static const size_t sizes[] = {0, 1, 65519, 0, 0, 300};
    uint8_t *data = calloc(1, MESSAGE_PLAIN + 1);
    ends e;
    size_t wire = 0;
    (void)state;
    ends_open(&e, NULL, false, true);
    for (size_t i = 0; i < 6; i++) {
        const pea_span halves[] = {{data, sizes[i] / 2}, {data + sizes[i] / 2, sizes[i] - sizes[i] / 2}};
        check_ok(e.t[0].ops->seal(e.t[0].self, halves, 2, &e.wire));
        wire += OVERHEAD + sizes[i];
        assert_int_equal(e.wire.len, wire);
    }
    check_err(seal(&e, 0, data, MESSAGE_PLAIN + 1), PEA_E_TOO_BIG);
    assert_int_equal(e.wire.len, wire);
    for (size_t i = 0; i < 6; i++) {
        check_err(unseal(&e, 1, SIZE_MAX), PEA_AGAIN); /* one a call */
        check_bytes(e.plain.data, e.plain.len, data, sizes[i]);
        pea_buf_free(&e.plain);
    }
    check_ok(unseal(&e, 1, SIZE_MAX));
    assert_int_equal(e.plain.len, 0);
    ends_close(&e);
    free(data);
}

/* The longest record that Noise allows is read. */
static void test_longest_record(void **state)
{
    uint8_t *data = calloc(1, MESSAGE_PLAIN);
    ends e;
    (void)state;
    ends_open(&e, NULL, false, true);
    check_ok(seal(&e, 0, data, MESSAGE_PLAIN));
    check_bytes(e.wire.data, 2, "\xff\xff", 2);
    check_err(unseal(&e, 1, 1), PEA_AGAIN);
    check_bytes(e.plain.data, e.plain.len, data, MESSAGE_PLAIN);
    ends_close(&e);
    free(data);
}

/* ---- Bounds of unseal ---- */

static void test_max(void **state)
{
    uint8_t data[100] = {0};
    ends e;
    (void)state;
    ends_open(&e, NULL, true, false);
    for (int i = 0; i < 5; i++)
        check_ok(seal(&e, 0, data, sizeof data));
    check_err(unseal(&e, 1, 1), PEA_AGAIN);
    assert_int_equal(e.plain.len, 100);
    check_err(unseal(&e, 1, 101), PEA_AGAIN);
    assert_int_equal(e.plain.len, 300);
    check_err(unseal(&e, 1, 200), PEA_AGAIN); /* the last byte of wire went, and the bound was met too */
    assert_int_equal(e.plain.len, 500);
    check_ok(unseal(&e, 1, 1));
    assert_int_equal(e.wire.len, 0);
    ends_close(&e);
}

static void test_every_split(void **state)
{
    uint8_t data[90];
    ends e;
    test_prng prng = {3};
    (void)state;
    prng_fill(&prng, data, sizeof data);
    ends_open(&e, NULL, true, false);
    for (int i = 0; i < 3; i++)
        check_ok(seal(&e, 0, data + 30 * i, 30));
    pea_buf whole = e.wire, wire = {0};
    for (size_t i = 0; i < whole.len; i++) {
        check_ok(pea_buf_append(&wire, whole.data + i, 1));
        check_ok(e.t[1].ops->unseal(e.t[1].self, &wire, &e.plain, SIZE_MAX, &e.reply));
        assert_int_equal(e.plain.len,
                         (i + 1) / 48 * 30); /* as soon as a record is whole, and no byte of the next is taken */
        assert_int_equal(wire.len, (i + 1) % 48);
    }
    check_bytes(e.plain.data, e.plain.len, data, sizeof data);
    pea_buf_free(&wire);
    ends_close(&e);
}

/* ---- Records that are wrong ---- */

static void test_short_length(void **state)
{
    (void)state;
    for (unsigned len = 0; len < 18; len++) {
        ends e;
        const uint8_t header[2] = {0, (uint8_t)len};
        ends_open(&e, NULL, true, false);
        check_ok(pea_buf_append(&e.wire, header, 2));
        check_err(unseal(&e, 1, SIZE_MAX), len < 16 ? PEA_E_PROTO : PEA_OK); /* before its bytes come */
        ends_close(&e);
    }
}

/* A bit flipped anywhere in the second of three records: the first is delivered, nothing of the second. */
static void test_damage(void **state)
{
    (void)state;
    for (size_t bit = 8 * HEADER; bit < 8 * (HEADER + 40 + 16); bit++) {
        uint8_t data[40] = "genuine";
        ends e;
        ends_open(&e, suites[bit % 2 == 0 || !pea__aead_available(PEA__AESGCM) ? 0 : 1], true, false);
        for (int i = 0; i < 3; i++)
            check_ok(seal(&e, 0, data, sizeof data));
        e.wire.data[58 + bit / 8] ^= (uint8_t)(1u << bit % 8);
        check_err(unseal(&e, 1, SIZE_MAX), PEA_E_CRYPTO);
        check_bytes(e.plain.data, e.plain.len, data, sizeof data);
        for (size_t i = 1; i < sizeof data; i++) /* not even behind the content, where it was decrypted */
            assert_int_equal(e.plain.data[sizeof data + i], e.plain.data[sizeof data]); /* by zeros, or 0xD0 */
        ends_close(&e);
    }
}

static void test_replay_and_order(void **state)
{
    uint8_t first[19], second[19];
    ends e;
    (void)state;
    for (int order = 0; order < 3; order++) {
        ends_open(&e, NULL, true, false);
        check_ok(seal(&e, 0, "1", 1));
        check_ok(seal(&e, 0, "2", 1));
        memcpy(first, e.wire.data, 19);
        memcpy(second, e.wire.data + 19, 19);
        pea_buf_free(&e.wire);
        check_ok(pea_buf_append(&e.wire, order == 1 ? second : first, 19));
        check_ok(pea_buf_append(&e.wire, order == 1 ? first : order == 0 ? first : second, 19));
        /* 0: replayed, 1: swapped, 2: as sent */
        check_err(unseal(&e, 1, SIZE_MAX), order == 2 ? PEA_OK : PEA_E_CRYPTO);
        assert_int_equal(e.plain.len, order == 1 ? 0 : order == 0 ? 1 : 2);
        ends_close(&e);
    }
    /* Reflected: the directions have keys of their own. */
    ends_open(&e, NULL, true, false);
    check_ok(seal(&e, 0, "1", 1));
    check_err(unseal(&e, 0, SIZE_MAX), PEA_E_CRYPTO);
    ends_close(&e);
}

/* ---- Keys that have done their work ---- */

static void test_key_limit(void **state)
{
    ends e;
    (void)state;
    ends_open(&e, NULL, false, false);
    pea__record_set_numbers(&e.t[0], UINT64_MAX - 1, 0);
    pea__record_set_numbers(&e.t[1], 0, UINT64_MAX - 1);
    check_ok(seal(&e, 0, "last", 4));
    size_t len = e.wire.len;
    check_err(seal(&e, 0, "past", 4), PEA_E_KEY_LIMIT);
    assert_int_equal(e.wire.len, len); /* all or nothing */
    check_ok(pea_buf_append(&e.wire, e.wire.data, len));
    check_err(unseal(&e, 1, SIZE_MAX), PEA_E_KEY_LIMIT);
    check_bytes(e.plain.data, e.plain.len, "last", 4);
    ends_close(&e);
    /* Two records in one call, and room for one: neither is written. */
    uint8_t *data = calloc(1, STREAM_PLAIN + 1);
    ends_open(&e, NULL, false, false);
    pea__record_set_numbers(&e.t[0], UINT64_MAX - 1, 0);
    check_err(seal(&e, 0, data, STREAM_PLAIN + 1), PEA_E_KEY_LIMIT);
    assert_int_equal(e.wire.len, 0);
    ends_close(&e);
    free(data);
}

/* Native mode changes keys before records 2^20, 2 * 2^20 and so on, foreign mode never: where one side does and the
 * other does not, the first record past the line is the first that does not open. */
static void test_rekey(void **state)
{
    static const bool modes[][2] = {{true, true}, {false, false}, {true, false}, {false, true}};
    const uint64_t every = UINT64_C(1) << 20;
    (void)state;
    for (size_t m = 0; m < sizeof modes / sizeof modes[0]; m++) {
        ends e;
        bool same = modes[m][0] == modes[m][1];
        ends_open_each(&e, suites[m % 2 == 0 || !pea__aead_available(PEA__AESGCM) ? 0 : 1], modes[m], false);
        for (uint64_t k = 1; k <= (same ? 3 : 1); k++) {
            pea__record_set_numbers(&e.t[0], k * every - 1, 5);
            pea__record_set_numbers(&e.t[1], 6, k * every - 1);
            for (int i = 0; i < 3; i++)
                check_ok(seal(&e, 0, "text", 4));
            check_err(unseal(&e, 1, SIZE_MAX), same ? PEA_OK : PEA_E_CRYPTO);
            assert_int_equal(e.plain.len, same ? 12 : 4);
            pea_buf_free(&e.plain);
        }
        ends_close(&e);
    }
}

/* ---- Queries ---- */

static pea_err query(const pea_transform *t, pea_query what, const char *in, void *out, size_t *len)
{
    return t->ops->query(t->self, what, (pea_span){(const uint8_t *)in, in != NULL ? strlen(in) : 0}, out, len);
}

static void test_queries(void **state)
{
    uint8_t a[64], b[64], big[255 * 32 + 1];
    size_t len_a = sizeof a, len_b = sizeof b;
    ends e;
    (void)state;
    ends_open(&e, "Noise_XX_25519_ChaChaPoly_SHA256", true, false);
    check_ok(query(&e.t[0], PEA_QUERY_BINDING, NULL, a, &len_a));
    check_ok(query(&e.t[1], PEA_QUERY_BINDING, NULL, b, &len_b));
    assert_int_equal(len_a, 32);
    check_bytes(a, len_a, b, len_b);
    len_a = 31;
    check_err(query(&e.t[0], PEA_QUERY_BINDING, NULL, a, &len_a), PEA_E_TOO_BIG);
    len_a = sizeof a;
    check_ok(query(&e.t[0], PEA_QUERY_CIPHER, NULL, a, &len_a));
    check_bytes(a, len_a, "Noise_XX_25519_ChaChaPoly_SHA256", 32);
    check_err(query(&e.t[0], PEA_QUERY_ALPN, NULL, a, &len_a), PEA_E_UNSUPPORTED);

    len_a = len_b = 64;
    check_ok(query(&e.t[0], PEA_QUERY_EXPORT, "label", a, &len_a));
    check_ok(query(&e.t[1], PEA_QUERY_EXPORT, "label", b, &len_b));
    check_bytes(a, len_a, b, len_b);
    assert_int_equal(len_a, 64);
    check_ok(query(&e.t[1], PEA_QUERY_EXPORT, "labem", b, &len_b));
    assert_memory_not_equal(a, b, 64);
    size_t most = 255 * 32, past = most + 1;
    check_ok(query(&e.t[0], PEA_QUERY_EXPORT, "label", big, &most));
    check_bytes(big, 64, a, 64);
    check_err(query(&e.t[0], PEA_QUERY_EXPORT, "label", big, &past), PEA_E_TOO_BIG);
    ends_close(&e);
}

/* ---- Memory ---- */

static void test_no_memory(void **state)
{
    uint8_t data[4000] = {0};
    (void)state;
    ends e;
    ends_open(&e, NULL, true, false);
    faults_arm_all();
    pea_err err = seal(&e, 0, data, sizeof data);
    assert_true(faults_disarm());
    check_err(err, PEA_E_NOMEM);
    assert_int_equal(e.wire.len, 0);
    check_ok(seal(&e, 0, data, sizeof data));
    faults_arm_all();
    err = unseal(&e, 1, SIZE_MAX);
    assert_true(faults_disarm());
    check_err(err, PEA_E_NOMEM);
    assert_int_equal(e.plain.len, 0);
    ends_close(&e);
}

/* What a connection holds of Noise once its handshake is over. */
static void test_footprint(void **state)
{
    (void)state;
    for (size_t s = 0; s < 2; s++) {
        ends e;
        if (s == 1 && !pea__aead_available(PEA__AESGCM))
            continue;
        size_t blocks = faults_blocks(), bytes = faults_bytes();
        ends_open(&e, suites[s], true, false);
        print_message("%s: %zu bytes in %zu blocks a connection\n", suites[s], (faults_bytes() - bytes) / 2,
                      (faults_blocks() - blocks) / 2);
        assert_true((faults_bytes() - bytes) / 2 <= (s == 0 ? 384 : 1440));
        ends_close(&e);
        assert_int_equal(faults_blocks(), blocks);
        assert_int_equal(faults_bytes(), bytes);
    }
}

/* ---- native.json ---- */

static cJSON *vectors;

static const char *text_of(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsString(item) ? item->valuestring : NULL;
}

/* The bytes of a hexadecimal field, to be freed. */
static uint8_t *bytes_of(const cJSON *object, const char *name, size_t *len)
{
    const char *hex = text_of(object, name);
    assert_non_null(hex);
    uint8_t *out = malloc(strlen(hex) / 2 + 1);
    assert_int_equal(sodium_hex2bin(out, strlen(hex) / 2, hex, strlen(hex), NULL, len, NULL), 0);
    return out;
}

static void fixed_bytes(uint8_t *out, size_t len, const cJSON *object, const char *name)
{
    size_t got;
    uint8_t *bytes = bytes_of(object, name, &got);
    check_bytes(bytes, got, bytes, len);
    memcpy(out, bytes, len);
    free(bytes);
}

/* One scenario's two sides. */
typedef struct play {
    pea_noise *noise[2];
    pea_transform t[2];
    bool split;
} play;

static void play_open(play *p, const cJSON *scenario)
{
    static const char *const who[] = {"initiator", "responder"};
    size_t prologue_len;
    uint8_t *prologue = bytes_of(scenario, "prologue", &prologue_len);
    *p = (play){0};
    for (int i = 0; i < 2; i++) {
        const cJSON *side = cJSON_GetObjectItemCaseSensitive(scenario, who[i]);
        uint8_t secret[32], psk[32];
        pea_identity *id;
        bool has_psk = text_of(scenario, "psk") != NULL;
        fixed_bytes(secret, 32, side, "static");
        if (has_psk)
            fixed_bytes(psk, 32, scenario, "psk");
        check_ok(pea_identity_from_secret(&id, secret, NULL));
        check_ok(pea_noise_new(&p->noise[i], (pea_side)i,
                               PEA_NOISE(.protocol = text_of(scenario, "protocol"), .identity = id,
                                         .psk = has_psk ? psk : NULL, .prologue = {prologue, prologue_len}),
                               NULL));
        fixed_bytes(secret, 32, side, "ephemeral");
        pea__noise_fix_ephemeral(p->noise[i], secret);
        pea_identity_unref(id);
    }
    free(prologue);
}

static void play_message(play *p, int from, pea_span wire)
{
    pea_buf message = {0}, payload = {0};
    assert_int_equal((size_t)wire.data[0] << 8 | wire.data[1], wire.len - 2);
    check_ok(pea_noise_read(p->noise[!from], (pea_span){wire.data + 2, wire.len - 2}, &payload));
    check_ok(pea_noise_write(p->noise[from], (pea_span){payload.data, payload.len}, &message));
    check_bytes(message.data, message.len, wire.data + 2, wire.len - 2);
    pea_buf_free(&message);
    pea_buf_free(&payload);
}

static void play_record(play *p, int from, pea_span wire, const cJSON *part)
{
    pea_buf in = {0}, plain = {0}, again = {0}, reply = {0};
    for (int i = 0; i < 2 && !p->split; i++)
        check_ok(pea_noise_split(p->noise[i], true, &p->t[i]));
    p->split = true;
    check_ok(pea_buf_append(&in, wire.data, wire.len));
    check_ok(p->t[!from].ops->unseal(p->t[!from].self, &in, &plain, SIZE_MAX, &reply));
    assert_int_equal(in.len, 0);
    if (text_of(part, "plain") != NULL) {
        size_t len;
        uint8_t *want = bytes_of(part, "plain", &len);
        check_bytes(plain.data, plain.len, want, len);
        free(want);
    }
    const pea_span span = {plain.data, plain.len};
    check_ok(p->t[from].ops->seal(p->t[from].self, &span, 1, &again));
    check_bytes(again.data, again.len, wire.data, wire.len);
    pea_buf_free(&in);
    pea_buf_free(&plain);
    pea_buf_free(&again);
    pea_buf_free(&reply);
}

static void play_end(play *p, const cJSON *scenario)
{
    const cJSON *exported;
    size_t want_len;
    uint8_t *want = bytes_of(scenario, "binding", &want_len);
    for (int i = 0; i < 2; i++) {
        uint8_t got[256];
        size_t len = sizeof got;
        check_ok(query(&p->t[i], PEA_QUERY_BINDING, NULL, got, &len));
        check_bytes(got, len, want, want_len);
    }
    free(want);
    cJSON_ArrayForEach(exported, cJSON_GetObjectItemCaseSensitive(scenario, "exported"))
    {
        uint8_t got[256];
        size_t label_len, context_len, len = (size_t)cJSON_GetObjectItemCaseSensitive(exported, "length")->valueint;
        uint8_t *label = bytes_of(exported, "label", &label_len);
        uint8_t *context = bytes_of(exported, "context", &context_len);
        pea_buf in = {0};
        check_ok(pea_buf_append(&in, label, label_len));
        if (context_len > 0) {
            check_ok(pea_buf_append(&in, "", 1));
            check_ok(pea_buf_append(&in, context, context_len));
        }
        want = bytes_of(exported, "secret", &want_len);
        check_ok(p->t[0].ops->query(p->t[0].self, PEA_QUERY_EXPORT, (pea_span){in.data, in.len}, got, &len));
        check_bytes(got, len, want, want_len);
        pea_buf_free(&in);
        free(label);
        free(context);
        free(want);
    }
    for (int i = 0; i < 2; i++) {
        p->t[i].ops->destroy(p->t[i].self);
        pea_noise_free(p->noise[i]);
    }
}

static void test_native_scenarios(void **state)
{
    const cJSON *scenario, *flight, *part;
    unsigned played = 0;
    (void)state;
    cJSON_ArrayForEach(scenario, cJSON_GetObjectItemCaseSensitive(vectors, "scenarios"))
    {
        play p;
        pea__protocol protocol;
        if (text_of(scenario, "protocol") == NULL ||
            pea__protocol_parse(&protocol, text_of(scenario, "protocol"), NULL) != PEA_OK)
            continue; /* a plain chain, or a suite that this build lacks */
        play_open(&p, scenario);
        cJSON_ArrayForEach(flight, cJSON_GetObjectItemCaseSensitive(scenario, "flights"))
        {
            int from = strcmp(text_of(flight, "from"), "responder") == 0;
            size_t len, at = 0;
            uint8_t *wire = bytes_of(flight, "wire", &len);
            cJSON_ArrayForEach(part, cJSON_GetObjectItemCaseSensitive(flight, "parts"))
            {
                size_t size = (size_t)cJSON_GetObjectItemCaseSensitive(part, "size")->valueint;
                assert_true(size <= len - at);
                if (strcmp(text_of(part, "kind"), "noise") == 0)
                    play_message(&p, from, (pea_span){wire + at, size});
                else if (strcmp(text_of(part, "kind"), "record") == 0)
                    play_record(&p, from, (pea_span){wire + at, size}, part);
                at += size;
            }
            free(wire);
        }
        play_end(&p, scenario);
        played++;
    }
    print_message("%u scenarios\n", played);
    assert_true(played >= 8);
}

static void test_native_rekey(void **state)
{
    const cJSON *vector, *item;
    (void)state;
    cJSON_ArrayForEach(vector, cJSON_GetObjectItemCaseSensitive(vectors, "rekey"))
    {
        pea__aead_id aead = strcmp(text_of(vector, "cipher"), "AESGCM") == 0 ? PEA__AESGCM : PEA__CHACHAPOLY;
        const cJSON *keys = cJSON_GetObjectItemCaseSensitive(vector, "keys");
        pea__cipher_state cs[3] = {{0}, {0}, {0}};
        assert_int_equal(cJSON_GetArraySize(keys), 3);
        if (!pea__aead_available(aead))
            continue;
        for (int i = 0; i < 3; i++) { /* cs[i] was rekeyed i times */
            const char *hex = cJSON_GetArrayItem(keys, i)->valuestring;
            uint8_t key[32];
            assert_int_equal(sodium_hex2bin(key, 32, hex, strlen(hex), NULL, NULL, NULL), 0);
            pea__cipher_initialize_key(&cs[i], aead, i == 0 ? key : cs[i - 1].k);
            check_ok(pea__cipher_expand(&cs[i]));
            if (i > 0)
                check_ok(pea__rekey(&cs[i]));
            check_bytes(cs[i].k, 32, key, 32);
        }
        cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(vector, "records"))
        {
            size_t plain_len, sealed_len;
            uint8_t *plain = bytes_of(item, "plain", &plain_len), *sealed = bytes_of(item, "ciphertext", &sealed_len),
                    got[64];
            pea__cipher_state *use = &cs[cJSON_GetObjectItemCaseSensitive(item, "rekeys")->valueint];
            use->n = (uint64_t)cJSON_GetObjectItemCaseSensitive(item, "number")->valuedouble;
            check_ok(pea__encrypt_with_ad(use, (pea_span){NULL, 0}, plain, plain_len, got));
            check_bytes(got, plain_len + 16, sealed, sealed_len);
            free(plain);
            free(sealed);
        }
        for (int i = 0; i < 3; i++)
            pea__cipher_wipe(&cs[i]);
    }
}

static int load_vectors(void **state)
{
    static char text[4u << 20];
    FILE *file = fopen(PEA_TEST_DIR "/vectors/native.json", "rb");
    (void)state;
    if (file == NULL)
        return -1;
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    (void)fclose(file);
    vectors = cJSON_Parse(text);
    return vectors != NULL ? 0 : -1;
}

static int free_vectors(void **state)
{
    (void)state;
    cJSON_Delete(vectors);
    return 0;
}

int main(void)
{
    faults_install();
    if (pea__secure_init(NULL) != PEA_OK)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),      cmocka_unit_test(test_stream_sizes),     cmocka_unit_test(test_spans),
        cmocka_unit_test(test_messages),     cmocka_unit_test(test_longest_record),   cmocka_unit_test(test_max),
        cmocka_unit_test(test_every_split),  cmocka_unit_test(test_short_length),     cmocka_unit_test(test_damage),
        cmocka_unit_test(test_key_limit),    cmocka_unit_test(test_replay_and_order), cmocka_unit_test(test_rekey),
        cmocka_unit_test(test_queries),      cmocka_unit_test(test_no_memory),        cmocka_unit_test(test_footprint),
        cmocka_unit_test(test_native_rekey), cmocka_unit_test(test_native_scenarios),
    };
    return cmocka_run_group_tests_name("noise records", tests, load_vectors, free_vectors);
}
