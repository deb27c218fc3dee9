/* SPDX-License-Identifier: MIT */
/* Errors, reasons and escaped text as people read them, and how option structs of other versions are taken. */
#include "support/check.h"

#include <errno.h>

#include "err_priv.h"

static void every_error_has_its_name_and_sentence(void **state)
{
    (void)state;
    for (int e = PEA_E_CLOSED; e <= PEA_EOF_UNAUTHENTICATED; e++) {
        assert_true(strncmp(pea_err_name((pea_err)e), "PEA_", 4) == 0);
        assert_null(strchr(pea_err_name((pea_err)e), '?'));
        assert_string_not_equal(pea_err_text((pea_err)e), "an unknown error");
        for (int other = PEA_E_CLOSED; other < e; other++)
            assert_string_not_equal(pea_err_name((pea_err)e), pea_err_name((pea_err)other));
    }
    assert_string_equal(pea_err_name(PEA_OK), "PEA_OK");
    assert_string_equal(pea_err_name(PEA_E_PROTO), "PEA_E_PROTO");
    assert_string_equal(pea_err_name(PEA_E_KEY_LIMIT), "PEA_E_KEY_LIMIT");
    assert_string_equal(pea_err_name(PEA_E_CLOSED), "PEA_E_CLOSED");
    assert_string_equal(pea_err_name(PEA_EOF_UNAUTHENTICATED), "PEA_EOF_UNAUTHENTICATED");
}

static void values_out_of_range_are_named_so(void **state)
{
    (void)state;
    assert_string_equal(pea_err_name((pea_err)-1000), "PEA_E_?");
    assert_string_equal(pea_err_name((pea_err)1000), "PEA_E_?");
    assert_string_equal(pea_err_text((pea_err)-26), "an unknown error");
    assert_string_equal(pea_origin_name((pea_origin)99), "?");
}

static void origins(void **state)
{
    (void)state;
    assert_string_equal(pea_origin_name(PEA_BY_NOBODY), "nobody");
    assert_string_equal(pea_origin_name(PEA_BY_PEER), "peer");
    assert_string_equal(pea_origin_name(PEA_BY_HANDSHAKE), "handshake");
    assert_string_equal(pea_origin_name(PEA_BY_SHUTDOWN), "shutdown");
}

static void codes_with_and_without_their_bits(void **state)
{
    (void)state;
    assert_string_equal(pea_code_name(PEA_CODE_NORMAL), "NORMAL");
    assert_string_equal(pea_code_name(PEA_CODE_DENIED), "DENIED");
    assert_string_equal(pea_code_name(PEA_CODE_DENIED | PEA_CODE_PERMANENT), "DENIED");
    assert_string_equal(pea_code_name(PEA_CODE_NETWORK | PEA_CODE_PERMANENT), "NETWORK");
    assert_string_equal(pea_code_name(PEA_CODE_APPLICATION | 2), "APPLICATION");
    assert_string_equal(pea_code_name(PEA_CODE_PERMANENT | PEA_CODE_APPLICATION | 2), "APPLICATION");
    assert_string_equal(pea_code_name(13), "UNKNOWN");
    assert_string_equal(pea_code_name(0x3FFF), "UNKNOWN");
}

/* 1: what a peer may send. 2: what a person sees. */
static void escapes(void **state)
{
    static const struct {
        const char *text;
        size_t len;
        const char *want;
    } cases[] = {
        {"plain text", 10, "plain text"},
        {"a\nb\r\tc", 6, "a\\nb\\r\\tc"},
        {"back\\slash", 10, "back\\\\slash"},
        {"\x1b[31mred", 8, "\\x1b[31mred"},
        {"\xc3\xa9", 2, "\\xc3\\xa9"},
        {"\x7f", 1, "\\x7f"},
        {"a\0b", 3, "a\\x00b"},
        {"", 0, ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[64];
        assert_int_equal(pea_text_escape(cases[i].text, cases[i].len, out, sizeof out), strlen(cases[i].want));
        assert_string_equal(out, cases[i].want);
    }
}

/* In every size the result is terminated, and holds whole escapes only. */
static void escapes_are_cut_whole(void **state)
{
    static const size_t lengths[] = {0, 1, 1, 1, 1, 5, 5}; /* for "a\x1b..." by size - 1 */
    (void)state;
    for (size_t size = 1; size <= sizeof lengths / sizeof lengths[0]; size++) {
        char out[16];
        memset(out, '#', sizeof out);
        size_t n = pea_text_escape("a\x1b\x1b", 3, out, size);
        assert_int_equal(n, lengths[size - 1]);
        assert_int_equal(strlen(out), n);
        for (size_t i = size; i < sizeof out; i++)
            assert_int_equal(out[i], '#');
    }
    char untouched = '#';
    assert_int_equal(pea_text_escape("abc", 3, &untouched, 0), 0);
    assert_int_equal(untouched, '#');
}

static void reasons(void **state)
{
    char line[PEA_REASON_TEXT_BYTES];
    (void)state;
    pea_reason handshake = {.origin = PEA_BY_HANDSHAKE, .err = PEA_E_CRYPTO, .stage = "noise"};
    assert_string_equal(pea_reason_format(&handshake, line), "handshake: noise: authentication failed");
    pea_reason normal = {.origin = PEA_BY_PEER, .err = PEA_OK};
    assert_string_equal(pea_reason_format(&normal, line), "peer: closed");
    pea_reason rejected = {.origin = PEA_BY_PEER, .err = PEA_E_REJECTED, .code = 0x8002, .text = "go\naway"};
    assert_string_equal(pea_reason_format(&rejected, line), "peer: the peer refused us: DENIED: go\\naway");
    pea_reason broken = {.origin = PEA_BY_WRITING, .err = PEA_E_SYS, .sys = EPIPE};
    pea_reason_format(&broken, line);
    assert_non_null(strstr(line, "writing: the operating system refused"));
    assert_non_null(strstr(line, strerror(EPIPE)));
}

/* The longest and worst text a peer can say still ends in one terminated line. */
static void the_worst_reason_fits(void **state)
{
    char line[PEA_REASON_TEXT_BYTES];
    (void)state;
    pea_reason r = {.origin = PEA_BY_PEER, .err = PEA_E_REJECTED, .code = 0x8002, .sys = ECONNRESET, .stage = "stage"};
    memset(r.text, 0x01, PEA_TEXT_MAX);
    pea_reason_format(&r, line);
    assert_true(strlen(line) < sizeof line);
    for (const char *c = line; *c != '\0'; c++)
        assert_true(*c >= 0x20 && *c < 0x7F);
}

static void filling_errors_in(void **state)
{
    pea_error why;
    (void)state;
    memset(&why, 0xEE, sizeof why);
    check_err(pea__error(&why, PEA_E_FORMAT, "what was wrong"), PEA_E_FORMAT);
    assert_int_equal(why.code, PEA_E_FORMAT);
    assert_int_equal(why.sys + (int)why.line + (int)why.column, 0);
    assert_string_equal(why.text, "what was wrong");
    check_err(pea__error(&why, PEA_E_NOMEM, NULL), PEA_E_NOMEM);
    assert_string_equal(why.text, pea_err_text(PEA_E_NOMEM));
    check_err(pea__error_sys(&why, EADDRINUSE, "bind"), PEA_E_SYS);
    assert_int_equal(why.sys, EADDRINUSE);
    assert_non_null(strstr(why.text, "bind: "));
    check_err(pea__errorf(NULL, PEA_E_LIMIT, "nobody asks"), PEA_E_LIMIT);

    char longer[2 * PEA_ERROR_TEXT_BYTES];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    check_err(pea__error(&why, PEA_E_INVALID, longer), PEA_E_INVALID);
    assert_int_equal(strlen(why.text), PEA_ERROR_TEXT_BYTES - 1);
}

/* ---- Option structs ---- */

typedef struct opts_now {
    size_t size;
    uint32_t a, b;
} opts_now;

typedef struct opts_old {
    size_t size;
    uint32_t a, padding; /* `b` did not exist */
} opts_old;

typedef struct opts_new {
    opts_now now;
    uint64_t c;
} opts_new;

static void options_of_other_versions(void **state)
{
    pea_error why;
    (void)state;
    opts_now got = {sizeof got, 1, 2};
    check_ok(pea__options(&got, sizeof got, NULL, &why));
    assert_int_equal(got.a + got.b, 3);

    const opts_now same = {sizeof same, 7, 8};
    check_ok(pea__options(&got, sizeof got, &same, &why));
    assert_int_equal(got.a, 7);
    assert_int_equal(got.b, 8);

    got = (opts_now){sizeof got, 1, 2};
    const opts_old old = {offsetof(opts_old, padding), 7, 99};
    check_ok(pea__options(&got, sizeof got, &old, &why));
    assert_int_equal(got.a, 7);
    assert_int_equal(got.b, 2);
    assert_int_equal(got.size, sizeof got);

    opts_new newer = {{sizeof newer, 5, 6}, 0};
    check_ok(pea__options(&got, sizeof got, &newer, &why));
    assert_int_equal(got.size, sizeof got);
    newer.c = 1;
    check_err(pea__options(&got, sizeof got, &newer, &why), PEA_E_INVALID);
    assert_true(strlen(why.text) > 0);

    const opts_now sizeless = {0, 1, 2};
    check_err(pea__options(&got, sizeof got, &sizeless, &why), PEA_E_INVALID);
    assert_non_null(strstr(why.text, "size"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_error_has_its_name_and_sentence),
        cmocka_unit_test(values_out_of_range_are_named_so),
        cmocka_unit_test(origins),
        cmocka_unit_test(codes_with_and_without_their_bits),
        cmocka_unit_test(escapes),
        cmocka_unit_test(escapes_are_cut_whole),
        cmocka_unit_test(reasons),
        cmocka_unit_test(the_worst_reason_fits),
        cmocka_unit_test(filling_errors_in),
        cmocka_unit_test(options_of_other_versions),
    };
    return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}
