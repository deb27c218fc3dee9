/* SPDX-License-Identifier: MIT */
/* The TLVs of handshake messages: those that are known are handed out, others skipped, and what breaks the rules has a
 * sentence. */
#include "noise_stage_priv.h"
#include "peapod/buf.h"
#include "support/check.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static void test_known(void **state)
{
    static const uint8_t payload[] = {0, 1, 0, 2, 'h', 'i', 0, 9, 0, 0, 0x7f, 0xff, 0, 1, 7};
    pea__noise_payload known;
    const char *what = NULL;
    (void)state;
    check_ok(pea__noise_payload_read((pea_span){payload, sizeof payload}, &known, &what));
    assert_ptr_equal(known.timestamp.data, payload + 4);
    assert_int_equal(known.timestamp.len, 2);
    /* One that is there and empty is not one that is missing. */
    static const uint8_t empty[] = {0, 1, 0, 0};
    check_ok(pea__noise_payload_read((pea_span){empty, sizeof empty}, &known, &what));
    assert_non_null(known.timestamp.data);
    assert_int_equal(known.timestamp.len, 0);
    check_ok(pea__noise_payload_read((pea_span){NULL, 0}, &known, &what));
    assert_null(known.timestamp.data);
}

static void test_rules(void **state)
{
    static const struct {
        uint8_t bytes[16];
        size_t len;
        const char *says;
    } cases[] = {
        {{0, 1, 0}, 3, "inside a TLV's header"},          {{0, 1, 0, 1}, 4, "inside a TLV"},
        {{0, 1, 0, 1, 9, 0}, 6, "inside a TLV's header"}, {{0, 0, 0, 0}, 4, "ascending"},
        {{0, 1, 0, 0, 0, 1, 0, 0}, 8, "ascending"},       {{0, 9, 0, 0, 0, 1, 0, 0}, 8, "ascending"},
        {{0x80, 1, 0, 0}, 4, "must be understood"},       {{0, 1, 0, 1, 9, 0xff, 0xff, 0, 0}, 9, "must be understood"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        pea__noise_payload known = {.timestamp = {NULL, 7}};
        const char *what = NULL;
        check_err(pea__noise_payload_read((pea_span){cases[i].bytes, cases[i].len}, &known, &what), PEA_E_PROTO);
        assert_non_null(strstr(what, cases[i].says));
        assert_int_equal(known.timestamp.len, 7); /* a failed read changes nothing */
    }
}

static void test_add(void **state)
{
    static const uint8_t want[] = {0, 1, 0, 2, 'h', 'i', 0x12, 0x34, 0, 0}, big[UINT16_MAX + 1u];
    pea_buf payload = {0};
    (void)state;
    check_ok(pea__noise_payload_add(&payload, 1, (pea_span){(const uint8_t *)"hi", 2}));
    check_ok(pea__noise_payload_add(&payload, 0x1234, (pea_span){NULL, 0}));
    check_bytes(payload.data, payload.len, want, sizeof want);
    check_err(pea__noise_payload_add(&payload, 0x1235, (pea_span){big, sizeof big}), PEA_E_TOO_BIG);
    check_bytes(payload.data, payload.len, want, sizeof want);
    pea_buf_free(&payload);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_add),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
