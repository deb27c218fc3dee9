/* SPDX-License-Identifier: MIT */
/* Certificates for Noise against certificates.json, which certificates.py made from docs/certificates.md: good ones
 * come out as they are, by reading and by issuing, and none of the bad ones is taken. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include <cjson/cJSON.h>

#include "cert_priv.h"
#include "support/check.h"
#include "support/file.h"

static cJSON *vectors;

static const char *text_of(const cJSON *item, const char *key)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(item, key);
    assert_non_null(value);
    return cJSON_IsNull(value) ? NULL : value->valuestring;
}

static int64_t number_of(const cJSON *item, const char *key)
{
    return (int64_t)cJSON_GetObjectItemCaseSensitive(item, key)->valuedouble;
}

/* The bytes of a hexadecimal string, with nothing behind them that a sanitizer would not see; the caller frees them. */
static pea_span unhex(const char *text)
{
    size_t n = strlen(text) / 2, len;
    uint8_t *bytes = malloc(n > 0 ? n : 1);
    assert_non_null(bytes);
    assert_int_equal(sodium_hex2bin(bytes, n, text, 2 * n, NULL, &len, NULL), 0);
    assert_int_equal(len, n);
    return (pea_span){bytes, n};
}

static void forget(pea_span span)
{
    union {
        const uint8_t *in;
        uint8_t *out;
    } bytes = {.in = span.data};
    free(bytes.out);
}

static void same_key(const uint8_t key[32], const char *hex)
{
    pea_span want = unhex(hex);
    check_bytes(key, 32, want.data, want.len);
    forget(want);
}

static void good_one(const cJSON *item)
{
    pea_cert *read, *made;
    pea_root *root;
    uint8_t key[PEA_KEY_BYTES];
    pea_span bytes = unhex(text_of(item, "certificate")), network = unhex(text_of(item, "network"));
    pea_span secret = unhex(text_of(item, "root_secret")), first = unhex(text_of(item, "key"));
    const char *next = text_of(item, "next_key");
    pea_span second = unhex(next != NULL ? next : "");
    check_ok(pea_cert_from_bytes(&read, bytes, NULL));
    const pea_cert_info *says = pea_cert_says(read);
    same_key(says->network, text_of(item, "network"));
    same_key(says->key, text_of(item, "key"));
    assert_int_equal(says->has_next_key, next != NULL);
    if (next != NULL)
        same_key(says->next_key, next);
    assert_string_equal(says->name, text_of(item, "name"));
    assert_string_equal(says->roles, text_of(item, "roles"));
    assert_int_equal(says->not_before, number_of(item, "not_before"));
    assert_int_equal(says->not_after, number_of(item, "not_after"));
    same_key(says->root, text_of(item, "root"));
    check_bytes(pea_cert_bytes(read).data, pea_cert_bytes(read).len, bytes.data, bytes.len);

    check_ok(pea_root_from_secret(&root, secret.data, NULL));
    pea_root_public(root, key);
    same_key(key, text_of(item, "root"));
    if (says->not_before != 0) { /* 0 is the default: now */
        check_ok(
            pea_cert_issue(&made, root,
                           PEA_CERT(.network = network.data, .key = first.data,
                                    .next_key = next != NULL ? second.data : NULL, .name = says->name,
                                    .roles = says->roles, .not_before = says->not_before, .not_after = says->not_after),
                           NULL));
        check_bytes(pea_cert_bytes(made).data, pea_cert_bytes(made).len, bytes.data, bytes.len);
        pea_cert_unref(made);
    }
    pea_root_free(root);
    pea_cert_unref(read);
    forget(bytes);
    forget(network);
    forget(secret);
    forget(first);
    forget(second);
}

static void good_ones(void **state)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(vectors, "good"), *item;
    (void)state;
    assert_true(cJSON_GetArraySize(list) >= 5);
    cJSON_ArrayForEach(item, list) good_one(item);
}

static void bad_ones(void **state)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(vectors, "bad"), *item;
    (void)state;
    assert_true(cJSON_GetArraySize(list) >= 60);
    cJSON_ArrayForEach(item, list)
    {
        pea_span bytes = unhex(text_of(item, "certificate"));
        pea_err want = strcmp(text_of(item, "error"), "crypto") == 0 ? PEA_E_CRYPTO : PEA_E_FORMAT;
        pea_cert *cert = NULL;
        pea_error why = {.code = PEA_OK};
        pea_err got = pea_cert_from_bytes(&cert, bytes, &why);
        if (got != want)
            print_error("%s\n", text_of(item, "about"));
        check_err(got, want);
        assert_null(cert);
        assert_true(why.code == want && why.text[0] != '\0');
        forget(bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(good_ones), cmocka_unit_test(bad_ones)};
    char *text = file_read(PEA_TEST_DIR "/vectors/certificates.json");
    vectors = text != NULL ? cJSON_Parse(text) : NULL;
    if (vectors == NULL || sodium_init() < 0) {
        (void)fputs("certificates.json cannot be read\n", stderr);
        return 2;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    cJSON_Delete(vectors);
    free(text);
    return failed;
}
