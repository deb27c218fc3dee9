/* SPDX-License-Identifier: MIT */
/* What every codec must keep: what put() and marks() write, decode() finds, however much of it is there; a limit is a
 * limit on both sides; nothing is read beyond what was lent. A new codec is one line in the table. */
#include <stdio.h>
#include <stdlib.h>

#include "codec/codec_priv.h"
#include "support/check.h"
#include "support/faults.h"
#include "support/prng.h"
#include "support/toys.h"

typedef struct codec_case {
    const char *name;
    pea_err (*make)(pea_codec **codec, const void *arg);
    const void *arg;
    size_t largest;   /* payload; 0: there is no limit worth a test */
    const char *five; /* "hello", framed */
    size_t five_len;
    bool raw;        /* no boundaries */
    size_t smallest; /* payload that it can say */
} codec_case;

static pea_err make_length(pea_codec **codec, const void *arg)
{
    return pea_codec_length(codec, arg, NULL);
}

static pea_err make_raw(pea_codec **codec, const void *arg)
{
    (void)arg;
    return pea_codec_raw(codec);
}

static pea_err make_varint(pea_codec **codec, const void *arg)
{
    return pea_codec_varint(codec, arg, NULL);
}

static pea_err make_delimiter(pea_codec **codec, const void *arg)
{
    const pea_span *delimiter = arg;
    return pea_codec_delimiter(codec, delimiter != NULL ? PEA_DELIMITER(.delimiter = *delimiter) : NULL, NULL);
}

static pea_err make_fixed(pea_codec **codec, const void *arg)
{
    return pea_codec_fixed(codec, *(const size_t *)arg, NULL);
}

static int netstrings;

static pea_err make_netstring(pea_codec **codec, const void *arg)
{
    (void)arg;
    return toy_netstring_new(codec, &netstrings);
}

#define LENGTH(...)                                  \
    make_length, &(const pea_length_opts)            \
    {                                                \
        .size = sizeof(pea_length_opts), __VA_ARGS__ \
    }
#define BYTES(text) text, sizeof(text) - 1
#define LITTLE .order = PEA_LITTLE_ENDIAN

static const codec_case cases[] = {
    {"length: defaults", make_length, NULL, 8u << 20, BYTES("\0\0\0\5hello"), false, 0},
    {"length: 1 byte", LENGTH(.field = 1), 255, BYTES("\5hello"), false, 0},
    {"length: 2 bytes", LENGTH(.field = 2), 65535, BYTES("\0\5hello"), false, 0},
    {"length: 2 bytes, little", LENGTH(.field = 2, LITTLE), 65535, BYTES("\5\0hello"), false, 0},
    {"length: 3 bytes", LENGTH(.field = 3), 8u << 20, BYTES("\0\0\5hello"), false, 0},
    {"length: 3 bytes, little", LENGTH(.field = 3, LITTLE), 8u << 20, BYTES("\5\0\0hello"), false, 0},
    {"length: 4 bytes, little", LENGTH(.field = 4, LITTLE), 8u << 20, BYTES("\5\0\0\0hello"), false, 0},
    {"length: 5 bytes", LENGTH(.field = 5), 8u << 20, BYTES("\0\0\0\0\5hello"), false, 0},
    {"length: 6 bytes, little", LENGTH(.field = 6, LITTLE), 8u << 20, BYTES("\5\0\0\0\0\0hello"), false, 0},
    {"length: 7 bytes", LENGTH(.field = 7), 8u << 20, BYTES("\0\0\0\0\0\0\5hello"), false, 0},
    {"length: 8 bytes", LENGTH(.field = 8), 8u << 20, BYTES("\0\0\0\0\0\0\0\5hello"), false, 0},
    {"length: 8 bytes, little", LENGTH(.field = 8, LITTLE), 8u << 20, BYTES("\5\0\0\0\0\0\0\0hello"), false, 0},
    {"length: an offset", LENGTH(.field = 2, .offset = 3), 65535, BYTES("\0\0\0\0\5hello"), false, 0},
    {"length: the longest header", LENGTH(.field = 8, .offset = 8), 8u << 20,
     BYTES("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\5hello"), false, 0},
    {"length: counts itself", LENGTH(.adjustment = -4), 8u << 20, BYTES("\0\0\0\x09hello"), false, 0},
    {"length: counts its offset too", LENGTH(.field = 2, .offset = 2, .adjustment = -4), 65531,
     BYTES("\0\0\0\x09hello"), false, 0},
    {"length: one less than there is", LENGTH(.field = 1, .adjustment = 1), 256, BYTES("\4hello"), false, 1},
    {"length: 1 byte that counts itself, little", LENGTH(.field = 1, .adjustment = -1, LITTLE), 254, BYTES("\6hello"),
     false, 0},
    {"length: a maximum", LENGTH(.max = 5), 5, BYTES("\0\0\0\5hello"), false, 0},
    {"length: a maximum and an adjustment", LENGTH(.field = 2, .max = 100, .adjustment = -2), 100, BYTES("\0\7hello"),
     false, 0},
    {"length: a maximum above the default", LENGTH(.max = 9u << 20), 9u << 20, BYTES("\0\0\0\5hello"), false, 0},
    {"varint", make_varint, NULL, 8u << 20, BYTES("\5hello"), false, 0},
    {"varint: a maximum", make_varint, PEA_VARINT(.max = 200), 200, BYTES("\5hello"), false, 0},
    {"delimiter: two bytes", make_delimiter, &(const pea_span){(const uint8_t *)"\r\n", 2}, 65536, BYTES("hello\r\n"),
     false, 0},
    {"delimiter: sixteen bytes", make_delimiter, &(const pea_span){(const uint8_t *)"0123456789ABCDEF", 16}, 65536,
     BYTES("hello0123456789ABCDEF"), false, 0},
    {"fixed: 5 bytes", make_fixed, &(const size_t){5}, 5, BYTES("hello"), false, 5},
    {"raw", make_raw, NULL, 0, BYTES("hello"), true, 0},
    {"netstrings", make_netstring, NULL, 9999999, BYTES("5:hello,"), false, 0},
};

/* ---- One codec at work ---- */

typedef struct work {
    pea_codec *codec;
    const pea_codec_ops *ops;
    void *self;
} work;

static void work_open(work *w, const codec_case *what)
{
    check_ok(what->make(&w->codec, what->arg));
    w->ops = w->codec->ops;
    w->self = w->codec->config;
    if (w->ops->create != NULL)
        check_ok(w->ops->create(w->codec->config, PEA_INITIATOR, NULL, &w->self));
    assert_true(w->ops->overhead <= 2 * PEA_MARK_MAX);
}

static void work_close(work *w)
{
    if (w->ops->create != NULL && w->ops->destroy != NULL)
        w->ops->destroy(w->self);
    pea_codec_unref(w->codec);
    assert_int_equal(netstrings, 0);
}

/* put() into memory that ends where it was promised to end. Returns the frame, which the caller frees; NULL: too
 * big. */
static uint8_t *framed(work *w, const void *payload, size_t len, size_t *total)
{
    uint8_t *dst = malloc(len + w->ops->overhead + 1);
    assert_non_null(dst);
    dst[len + w->ops->overhead] = 0x5A;
    *total = w->ops->put(w->self, payload, len, dst);
    assert_true(*total <= len + w->ops->overhead);
    assert_int_equal(dst[len + w->ops->overhead], 0x5A);
    if (*total > 0 || len == 0)
        return dst;
    free(dst);
    return NULL;
}

/* decode() on bytes that end where they end. */
static pea_err decode(work *w, const uint8_t *data, size_t len, pea_frame *frame)
{
    uint8_t *lent = malloc(len);
    assert_non_null(lent);
    memcpy(lent, data, len);
    pea_err err = w->ops->decode(w->self, lent, len, frame);
    free(lent);
    return err;
}

/* ---- The cases ---- */

static void known_bytes(void **state)
{
    const codec_case *what = *state;
    work w;
    size_t total;
    work_open(&w, what);
    uint8_t *frame = framed(&w, "hello", 5, &total);
    check_bytes(frame, total, what->five, what->five_len);
    free(frame);
    work_close(&w);
}

/* Asked with one byte more each time, as it wishes to be, or with all at once: the same frame. What decode() wants is
 * more than there is, and never beyond the frame. */
static void found_however_much_is_there(void **state)
{
    const codec_case *what = *state;
    const size_t sizes[] = {0, 1, 5, 9, 10, 99, 100, 250, 1000};
    work w;
    work_open(&w, what);
    for (size_t i = 0; !what->raw && i < sizeof sizes / sizeof sizes[0]; i++) {
        if (sizes[i] > what->largest || sizes[i] < what->smallest)
            continue;
        uint8_t payload[1000];
        size_t total;
        test_prng prng = {i};
        prng_fill(&prng, payload, sizeof payload);
        uint8_t *bytes = framed(&w, payload, sizes[i], &total);
        assert_non_null(bytes);
        for (unsigned thrifty = 0; thrifty < 2; thrifty++) {
            pea_frame frame = {0};
            pea_err err = PEA_MORE;
            for (size_t len = 1; err == PEA_MORE; len = thrifty ? frame.total : len + 1) {
                size_t scanned = frame.scanned;
                assert_true(len <= total);
                frame = (pea_frame){.scanned = scanned};
                err = decode(&w, bytes, len, &frame);
                assert_true(err != PEA_MORE || (frame.total > len && frame.total <= total));
            }
            check_ok(err);
            assert_int_equal(frame.total, total);
            check_bytes(bytes + frame.offset, frame.len, payload, sizes[i]);
        }
        free(bytes);
    }
    work_close(&w);
}

/* Frames back to back: the first is found, and what follows is left alone. */
static void back_to_back(void **state)
{
    const codec_case *what = *state;
    uint8_t stream[400];
    size_t len = 0, one;
    work w;
    work_open(&w, what);
    for (size_t i = what->smallest; i < 6; i++) {
        uint8_t *frame = framed(&w, "abcdef", i, &one);
        memcpy(stream + len, frame, one);
        len += one;
        free(frame);
    }
    for (size_t at = 0, i = what->smallest; !what->raw && i < 6; i++) {
        pea_frame frame = {0};
        check_ok(decode(&w, stream + at, len - at, &frame));
        check_bytes(stream + at + frame.offset, frame.len, "abcdef", i);
        at += frame.total;
        assert_true(i < 5 || at == len);
    }
    if (what->raw) {
        pea_frame frame = {0};
        check_ok(decode(&w, stream, len, &frame));
        assert_true(frame.offset == 0 && frame.len == len && frame.total == len);
    }
    work_close(&w);
}

/* marks() says around a payload what put() writes around it. */
static void marks_agree(void **state)
{
    const codec_case *what = *state;
    uint8_t payload[300] = {1, 2, 3};
    work w;
    work_open(&w, what);
    for (size_t len = what->smallest; len <= sizeof payload && (what->raw || len <= what->largest);
         len += len < 20 ? 1 : 47) {
        pea_frame_marks m = {.before_len = 99, .after_len = 99};
        size_t total;
        uint8_t *frame = framed(&w, payload, len, &total);
        check_ok(w.ops->marks(w.self, payload, len, &m));
        assert_true(m.before_len <= PEA_MARK_MAX && m.after_len <= PEA_MARK_MAX);
        assert_int_equal(total, m.before_len + len + m.after_len);
        check_bytes(frame, m.before_len, m.before, m.before_len);
        check_bytes(frame + total - m.after_len, m.after_len, m.after, m.after_len);
        free(frame);
    }
    work_close(&w);
}

/* The largest goes, one more does not; and whoever receives one more refuses it before it is there. */
static void limits(void **state)
{
    const codec_case *what = *state;
    work w;
    work_open(&w, what);
    if (what->largest > 0) {
        uint8_t *payload = calloc(what->largest + 1, 1);
        size_t total;
        pea_frame_marks m;
        pea_frame found = {0};
        assert_non_null(payload);
        uint8_t *frame = framed(&w, payload, what->largest, &total);
        assert_non_null(frame);
        check_ok(w.ops->decode(w.self, frame, total, &found));
        assert_int_equal(found.len, what->largest);
        check_ok(w.ops->marks(w.self, payload, what->largest, &m));
        check_err(w.ops->marks(w.self, payload, what->largest + 1, &m), PEA_E_TOO_BIG);
        assert_null(framed(&w, payload, what->largest + 1, &total));
        free(frame);
        free(payload);
    }
    work_close(&w);
}

/* Random bytes: it may find or refuse what it likes, within what it was lent. */
static void garbage(void **state)
{
    test_prng prng = {11};
    work w;
    work_open(&w, *state);
    for (unsigned i = 0; i < 3000; i++) {
        uint8_t bytes[64];
        size_t len = 1 + prng_below(&prng, sizeof bytes);
        pea_frame frame = {0};
        prng_fill(&prng, bytes, len);
        if (i % 2 == 0)
            memset(bytes, 0, len / 2);
        pea_err err = decode(&w, bytes, len, &frame);
        if (err == PEA_OK)
            assert_true(frame.total >= 1 && frame.total <= len && frame.offset + frame.len <= frame.total);
        else if (err == PEA_MORE)
            assert_true(frame.total > len);
        else
            assert_true(err == PEA_E_TOO_BIG || err == PEA_E_PROTO);
    }
    work_close(&w);
}

static void no_memory(void **state)
{
    const codec_case *what = *state;
    size_t blocks = faults_blocks();
    bool hit = true;
    for (size_t nth = 0; hit; nth++) {
        pea_codec *codec = NULL;
        faults_arm(nth);
        pea_err err = what->make(&codec, what->arg);
        hit = faults_disarm();
        check_err(err, hit ? PEA_E_NOMEM : PEA_OK);
        pea_codec_unref(codec);
        assert_int_equal(faults_blocks(), blocks);
    }
}

/* ---- The length codec's own ---- */

/* What a header claims, against what is done about it. */
static void length_headers(void **state)
{
    static const struct {
        pea_length_opts opts;
        const char *bytes;
        size_t len;
        pea_err want;
        size_t total;
    } rows[] = {
        {PEA_LENGTH_INIT, BYTES("\0"), PEA_MORE, 4},
        {PEA_LENGTH_INIT, BYTES("\0\0\0\1"), PEA_MORE, 5},
        {PEA_LENGTH_INIT, BYTES("\0\0\0\0"), PEA_OK, 4},
        {PEA_LENGTH_INIT, BYTES("\0\x80\0\0"), PEA_MORE, (8u << 20) + 4},
        {PEA_LENGTH_INIT, BYTES("\0\x80\0\1"), PEA_E_TOO_BIG, 0},
        {PEA_LENGTH_INIT, BYTES("\xFF\xFF\xFF\xFF"), PEA_E_TOO_BIG, 0},
        {{.size = sizeof(pea_length_opts), .field = 8}, BYTES("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"), PEA_E_TOO_BIG, 0},
        {{.size = sizeof(pea_length_opts), .field = 8, .adjustment = 10},
         BYTES("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"),
         PEA_E_TOO_BIG,
         0},
        {{.size = sizeof(pea_length_opts), .field = 8, .adjustment = INT32_MAX},
         BYTES("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFE"),
         PEA_E_TOO_BIG,
         0},
        {{.size = sizeof(pea_length_opts), .adjustment = -4}, BYTES("\0\0\0\3"), PEA_E_PROTO, 0},
        {{.size = sizeof(pea_length_opts), .adjustment = -4}, BYTES("\0\0\0\4"), PEA_OK, 4},
        {{.size = sizeof(pea_length_opts), .adjustment = INT32_MIN}, BYTES("\x7F\xFF\xFF\xFF"), PEA_E_PROTO, 0},
        {{.size = sizeof(pea_length_opts), .adjustment = INT32_MIN}, BYTES("\x80\0\0\0"), PEA_OK, 4},
        {{.size = sizeof(pea_length_opts), .field = 1, .adjustment = 3}, BYTES("\0"), PEA_MORE, 4},
        {{.size = sizeof(pea_length_opts), .offset = 8, .field = 1}, BYTES("12345678"), PEA_MORE, 9},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        work w;
        pea_frame frame = {0};
        const codec_case what = {.make = make_length, .arg = &rows[i].opts};
        work_open(&w, &what);
        pea_err err = decode(&w, (const uint8_t *)rows[i].bytes, rows[i].len, &frame);
        if (err != rows[i].want || (err >= 0 && frame.total != rows[i].total))
            print_error("row %zu\n", i);
        check_err(err, rows[i].want);
        if (err >= 0)
            assert_int_equal(frame.total, rows[i].total);
        work_close(&w);
    }
}

/* With an adjustment above zero the field cannot say less than that. */
static void length_too_short_to_say(void **state)
{
    work w;
    const pea_length_opts opts = {.size = sizeof opts, .field = 1, .adjustment = 3};
    const codec_case what = {.make = make_length, .arg = &opts};
    pea_frame_marks m;
    size_t total;
    (void)state;
    work_open(&w, &what);
    assert_null(framed(&w, "ab", 2, &total));
    check_err(w.ops->marks(w.self, "ab", 2, &m), PEA_E_TOO_BIG);
    uint8_t *frame = framed(&w, "abc", 3, &total);
    check_bytes(frame, total, "\0abc", 4);
    free(frame);
    work_close(&w);
}

static void length_options(void **state)
{
    static const pea_length_opts bad[] = {
        {.size = sizeof(pea_length_opts), .field = 9},
        {.size = sizeof(pea_length_opts), .offset = 9},
        {.size = sizeof(pea_length_opts), .order = (pea_byte_order)2},
        {.size = sizeof(pea_length_opts), .field = 1, .max = 256},
        {.size = sizeof(pea_length_opts), .field = 1, .max = 255, .adjustment = -1},
        {.size = sizeof(pea_length_opts), .field = 2, .max = 65536},
        {.size = sizeof(pea_length_opts), .field = 1, .adjustment = -255},
        {.size = sizeof(pea_length_opts), .field = 1, .adjustment = -300},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        pea_codec *codec = NULL;
        pea_error why = {0};
        pea_err err = pea_codec_length(&codec, &bad[i], &why);
        if (err != PEA_E_INVALID)
            print_error("row %zu\n", i);
        check_err(err, PEA_E_INVALID);
        assert_true(why.text[0] != '\0' && why.code == err);
        assert_null(codec);
    }
}

/* ---- The others' own ---- */

typedef struct row {
    const char *bytes;
    size_t len;
    pea_err want;
    size_t total, payload;
} row;

static void check_rows(const codec_case *what, const row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        work w;
        pea_frame frame = {0};
        work_open(&w, what);
        pea_err err = decode(&w, (const uint8_t *)rows[i].bytes, rows[i].len, &frame);
        if (err != rows[i].want || (err >= 0 && frame.total != rows[i].total))
            print_error("row %zu\n", i);
        check_err(err, rows[i].want);
        if (err >= 0)
            assert_int_equal(frame.total, rows[i].total);
        if (err == PEA_OK)
            assert_int_equal(frame.len, rows[i].payload);
        work_close(&w);
    }
}

/* Lengths as unsigned LEB128: 300 is AC 02, as in the documentation of protobuf. */
static void varint_headers(void **state)
{
    static const row rows[] = {
        {BYTES("\0"), PEA_OK, 1, 0},
        {BYTES("\1a"), PEA_OK, 2, 1},
        {BYTES("\xAC"), PEA_MORE, 2, 0},
        {BYTES("\xAC\x02"), PEA_MORE, 302, 0},
        {BYTES("\x80\x80\x80\x04"), PEA_MORE, (8u << 20) + 4, 0},
        {BYTES("\x81\x80\x80\x04"), PEA_E_TOO_BIG, 0, 0},
        {BYTES("\x80\x00"), PEA_E_PROTO, 0, 0}, /* 0 in two bytes */
        {BYTES("\x85\x80\x00"), PEA_E_PROTO, 0, 0},
        {BYTES("\xFF\xFF\xFF\xFF"), PEA_E_TOO_BIG, 0, 0}, /* before its end is there */
        {BYTES("\x80\x80\x80\x80\x80\x80\x80\x80"), PEA_MORE, 9, 0},
        {BYTES("\x80\x80\x80\x80\x80\x80\x80\x80\x80"), PEA_E_TOO_BIG, 0, 0},
        {BYTES("\x80\x80\x80\x80\x80\x80\x80\x80\x01"), PEA_E_TOO_BIG, 0, 0},
    };
    const codec_case what = {.make = make_varint};
    uint8_t frame[309], payload[300] = {0};
    work w;
    (void)state;
    check_rows(&what, rows, sizeof rows / sizeof rows[0]);
    work_open(&w, &what);
    assert_int_equal(w.ops->put(w.self, payload, sizeof payload, frame), 302);
    check_bytes(frame, 2, "\xAC\x02", 2);
    work_close(&w);
    pea_error why = {0};
    pea_codec *codec = NULL;
    check_err(pea_codec_varint(&codec, PEA_VARINT(.max = UINT64_MAX), &why), PEA_E_INVALID);
    assert_true(why.text[0] != '\0');
}

static void lines(void **state)
{
    static const row rows[] = {
        {BYTES("\n"), PEA_OK, 1, 0},    {BYTES("a\nb\n"), PEA_OK, 2, 1}, {BYTES("a\r\n"), PEA_OK, 3, 2},
        {BYTES("abc"), PEA_MORE, 4, 0}, {BYTES("\n\n"), PEA_OK, 1, 0},
    };
    const codec_case what = {.make = make_delimiter};
    (void)state;
    check_rows(&what, rows, sizeof rows / sizeof rows[0]);
}

/* A message that its reader would find to be another one is not sent. */
static void what_delimiters_cannot_say(void **state)
{
    static const struct {
        const char *delimiter, *payload;
        pea_err want;
    } rows[] = {
        {"\n", "one line", PEA_OK},
        {"\n", "two\nlines", PEA_E_INVALID},
        {"\n", "\n", PEA_E_INVALID},
        {"\r\n", "half \r", PEA_OK},
        {"\r\n", "\r\r\n", PEA_E_INVALID},
        {"aa", "a", PEA_E_INVALID},
        {"aa", "ba", PEA_E_INVALID},
        {"aa", "ab", PEA_OK},
        {"aab", "aa", PEA_OK},
        {"abab", "ab", PEA_E_INVALID},
        {"abab", "aab", PEA_E_INVALID},
        {"abab", "a", PEA_OK},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const pea_span delimiter = {(const uint8_t *)rows[i].delimiter, strlen(rows[i].delimiter)};
        const codec_case what = {.make = make_delimiter, .arg = &delimiter};
        size_t len = strlen(rows[i].payload), total;
        pea_frame_marks m;
        work w;
        work_open(&w, &what);
        pea_err err = w.ops->marks(w.self, rows[i].payload, len, &m);
        if (err != rows[i].want)
            print_error("row %zu\n", i);
        check_err(err, rows[i].want);
        uint8_t *frame = framed(&w, rows[i].payload, len, &total);
        assert_int_equal(total > 0, err == PEA_OK);
        if (total > 0) { /* and what is sent is read as it was */
            pea_frame found = {0};
            check_ok(decode(&w, frame, total, &found));
            check_bytes(frame + found.offset, found.len, rows[i].payload, len);
        }
        free(frame);
        work_close(&w);
    }
}

/* A line without an end is refused once it is longer than any that could end yet. */
static void endless_line(void **state)
{
    const pea_span delimiter = {(const uint8_t *)"\r\n", 2};
    pea_codec *codec;
    uint8_t line[12];
    (void)state;
    memset(line, 'x', sizeof line);
    line[10] = '\r';
    check_ok(pea_codec_delimiter(&codec, PEA_DELIMITER(.delimiter = delimiter, .max = 10), NULL));
    pea_frame frame = {0};
    check_err(codec->ops->decode(codec->config, line, 11, &frame), PEA_MORE);
    assert_int_equal(frame.total, 12);
    check_err(codec->ops->decode(codec->config, line, 12, &frame), PEA_E_TOO_BIG);
    line[11] = '\n';
    check_ok(codec->ops->decode(codec->config, line, 12, &frame));
    assert_int_equal(frame.len, 10);
    pea_codec_unref(codec);
}

static void other_options(void **state)
{
    pea_codec *codec = NULL;
    pea_error why = {0};
    const pea_span long_one = {(const uint8_t *)"0123456789ABCDEFG", 17};
    pea_frame_marks m;
    (void)state;
    check_err(pea_codec_delimiter(&codec, PEA_DELIMITER(.delimiter = long_one), &why), PEA_E_INVALID);
    assert_non_null(strstr(why.text, "16 bytes"));
    check_err(pea_codec_fixed(&codec, 0, &why), PEA_E_INVALID);
    assert_null(codec);
    check_ok(pea_codec_fixed(&codec, 4, NULL));
    check_err(codec->ops->marks(codec->config, "abc", 3, &m), PEA_E_INVALID);
    check_err(codec->ops->marks(codec->config, "abcde", 5, &m), PEA_E_TOO_BIG);
    pea_codec_unref(codec);
}

static void objects(void **state)
{
    pea_codec *codec = NULL;
    pea_codec_ops ops = {.version = PEA_CODEC_VERSION, .name = "none"};
    (void)state;
    check_err(pea_codec_new(&codec, &ops, NULL, NULL), PEA_E_INVALID);
    check_err(pea_codec_new(&codec, NULL, NULL, NULL), PEA_E_INVALID);
    check_ok(pea_codec_raw(&codec));
    ops = *codec->ops;
    assert_ptr_equal(pea_codec_ref(codec), codec);
    pea_codec_unref(codec);
    pea_codec_unref(codec);
    ops.version = PEA_CODEC_VERSION + 1;
    check_err(pea_codec_new(&codec, &ops, NULL, NULL), PEA_E_INVALID);
    pea_codec_unref(NULL);
}

/* ---- Every case over every codec ---- */

#define CASE(f) \
    {           \
#f, f   \
    }

static const struct suite_case {
    const char *name;
    CMUnitTestFunction run;
} suite[] = {CASE(known_bytes),  CASE(found_however_much_is_there),
             CASE(back_to_back), CASE(marks_agree),
             CASE(limits),       CASE(garbage),
             CASE(no_memory)};

#define N_CASES (sizeof cases / sizeof cases[0])
#define N_SUITE (sizeof suite / sizeof suite[0])

int main(void)
{
    static struct CMUnitTest tests[N_CASES * N_SUITE];
    static char names[N_CASES * N_SUITE][96];
    const struct CMUnitTest own[] = {
        cmocka_unit_test(length_headers), cmocka_unit_test(length_too_short_to_say),
        cmocka_unit_test(length_options), cmocka_unit_test(varint_headers),
        cmocka_unit_test(lines),          cmocka_unit_test(what_delimiters_cannot_say),
        cmocka_unit_test(endless_line),   cmocka_unit_test(other_options),
        cmocka_unit_test(objects),
    };
    faults_install();
    for (size_t i = 0; i < N_CASES * N_SUITE; i++) {
        union {
            const codec_case *in;
            void *out;
        } state = {.in = &cases[i / N_SUITE]};
        snprintf(names[i], sizeof names[i], "%s: %s", cases[i / N_SUITE].name, suite[i % N_SUITE].name);
        tests[i] =
            (struct CMUnitTest){.name = names[i], .test_func = suite[i % N_SUITE].run, .initial_state = state.out};
    }
    int failed = _cmocka_run_group_tests("codecs", tests, N_CASES * N_SUITE, NULL, NULL);
    return failed + cmocka_run_group_tests_name("what is their own", own, NULL, NULL);
}
