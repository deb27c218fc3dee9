/* SPDX-License-Identifier: MIT */
/* The network key: forms that are taken, forms that are refused with a sentence, and its file. The checks of files that
 * all secrets share are identity_test.c's. */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "secure_priv.h"
#include "support/check.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

#define KEY "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=" /* 1 .. 32 */
#define BEGIN "-----BEGIN PEAPOD NETWORK KEY-----\n"
#define END "-----END PEAPOD NETWORK KEY-----\n"

static char folder[64];

static const char *in_folder(const char *name)
{
    static char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "wx");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, 0600), 0);
}

static void test_good_forms(void **state)
{
    static const char *const forms[] = {
        BEGIN KEY "\n" END,
        BEGIN KEY "\n-----END PEAPOD NETWORK KEY-----", /* no newline at the end */
        "-----BEGIN PEAPOD NETWORK KEY-----\r\n" KEY "\r\n-----END PEAPOD NETWORK KEY-----\r\n",
        "\n " BEGIN "  " KEY " \n" END "\n\n",
        KEY,
        KEY "\n",
        " " KEY "\r\n",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(forms); i++) {
        uint8_t key[PEA_KEY_BYTES] = {0};
        check_ok(pea_network_key_parse(key, forms[i], strlen(forms[i]), NULL));
        for (uint8_t k = 0; k < PEA_KEY_BYTES; k++)
            assert_int_equal(key[k], k + 1);
    }
}

static void test_bad_forms(void **state)
{
    static const struct {
        const char *text;
        pea_err err;
        uint32_t line;
        const char *says;
    } cases[] = {
        {"", PEA_E_FORMAT, 0, "empty"},
        {" \n\n", PEA_E_FORMAT, 0, "empty"},
        {"correct horse battery staple", PEA_E_FORMAT, 1, "never a passphrase"},
        {"\n\nhunter2", PEA_E_FORMAT, 3, "never a passphrase"},
        {"AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA", PEA_E_FORMAT, 1, "32 random bytes"},      /* no padding */
        {"AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyB=", PEA_E_FORMAT, 1, "32 random bytes"},     /* bits behind */
        {"AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHw==", PEA_E_FORMAT, 1, "32 random bytes"},     /* 31 bytes */
        {"AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAh", PEA_E_FORMAT, 1, "32 random bytes"},     /* 33 bytes */
        {"AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAhIiM=", PEA_E_FORMAT, 1, "32 random bytes"}, /* 35 bytes */
        {"0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20", PEA_E_FORMAT, 1, "32 random bytes"},
        {KEY "\n" KEY, PEA_E_FORMAT, 1, "32 random bytes"},
        {"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", PEA_E_INVALID, 0, "all zero"},
        {"Y29ycmVjdCBob3JzZSBiYXR0ZXJ5IHN0YXBsZSB+fn4=", PEA_E_INVALID, 0, "passphrase"},
        {BEGIN "Y29ycmVjdCBob3JzZSBiYXR0ZXJ5IHN0YXBsZSB+fn4=\n" END, PEA_E_INVALID, 0, "passphrase"},
        {BEGIN KEY END, PEA_E_FORMAT, 1, "another kind of key"},
        {BEGIN KEY "\n", PEA_E_FORMAT, 1, "another kind of key"},
        {BEGIN KEY "\n" END "x", PEA_E_FORMAT, 1, "another kind of key"},
        {"x" BEGIN KEY "\n" END, PEA_E_FORMAT, 1, "32 random bytes"},
        {"-----BEGIN PEAPOD NETWORK KEY----- " KEY "\n" END, PEA_E_FORMAT, 1, "another kind of key"},
        {BEGIN END, PEA_E_FORMAT, 1, "not whole"},
        {BEGIN "\n" END, PEA_E_FORMAT, 1, "32 random bytes"},
        {BEGIN "hunter2\n" END, PEA_E_FORMAT, 2, "32 random bytes"},
        {"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VuBCIEIF2rCH5iSopLeeF/i4OADuZvO7EpJhi2/Rwviyf/iODr\n-----END "
         "PRIVATE KEY-----\n",
         PEA_E_FORMAT, 1, "another kind of key"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint8_t key[PEA_KEY_BYTES] = {0xEE};
        pea_error why = {0};
        pea_err err = pea_network_key_parse(key, cases[i].text, strlen(cases[i].text), &why);
        if (err != cases[i].err || why.line != cases[i].line || strstr(why.text, cases[i].says) == NULL)
            fail_msg("case %zu: %s, line %u: %s", i, pea_err_name(err), (unsigned)why.line, why.text);
        assert_int_equal(why.code, err);
        assert_int_equal(key[0], 0xEE); /* a failed read changes nothing */
        assert_true(sodium_is_zero(key + 1, sizeof key - 1));
    }
}

static void test_zeros_and_length(void **state)
{
    static char text[4097];
    uint8_t key[PEA_KEY_BYTES];
    pea_error why;
    (void)state;
    memcpy(text, KEY, sizeof KEY);
    check_err(pea_network_key_parse(key, text, sizeof KEY, &why), PEA_E_FORMAT);
    assert_non_null(strstr(why.text, "zero bytes"));
    memset(text, ' ', sizeof text);
    check_err(pea_network_key_parse(key, text, sizeof text, &why), PEA_E_FORMAT);
    assert_non_null(strstr(why.text, "longer"));
}

/* A network's key is nobody's identity, and the other way round. */
static void test_not_an_identity(void **state)
{
    static const char text[] = BEGIN KEY "\n" END;
    pea_identity *id = NULL;
    pea_error why;
    (void)state;
    check_err(pea_identity_parse(&id, text, sizeof text - 1, &why), PEA_E_FORMAT);
    assert_non_null(strstr(why.text, "network's key"));
    assert_null(id);
}

static void test_file(void **state)
{
    uint8_t key[PEA_KEY_BYTES], other[PEA_KEY_BYTES], again[PEA_KEY_BYTES] = {0};
    struct stat st;
    pea_error why;
    (void)state;
    check_ok(pea_network_key_generate(key));
    check_ok(pea_network_key_generate(other));
    assert_memory_not_equal(key, other, sizeof key);
    mode_t old = umask(0);
    check_ok(pea_network_key_save(key, in_folder("net.key"), &why));
    (void)umask(old);
    assert_int_equal(stat(in_folder("net.key"), &st), 0);
    assert_int_equal(st.st_mode, S_IFREG | 0600);
    assert_int_equal(st.st_nlink, 1); /* the temporary name is gone */
    check_ok(pea_network_key_load(again, in_folder("net.key"), &why));
    check_bytes(again, sizeof again, key, sizeof key);
    check_err(pea_network_key_save(other, in_folder("net.key"), &why), PEA_E_EXISTS);
    assert_non_null(strstr(why.text, "net.key"));
    check_ok(pea_network_key_load(again, in_folder("net.key"), &why));
    check_bytes(again, sizeof again, key, sizeof key);
    assert_int_equal(chmod(in_folder("net.key"), 0644), 0);
    check_err(pea_network_key_load(again, in_folder("net.key"), &why), PEA_E_PERMISSION);
    assert_non_null(strstr(why.text, "chmod 600"));
    check_err(pea_network_key_load(again, in_folder("missing"), &why), PEA_E_SYS);
    assert_int_equal(why.sys, ENOENT);
    write_file(in_folder("words"), "open sesame\n");
    check_err(pea_network_key_load(again, in_folder("words"), &why), PEA_E_FORMAT);
    assert_non_null(strstr(why.text, "words: "));
    assert_non_null(strstr(why.text, "never a passphrase"));
    check_bytes(again, sizeof again, key, sizeof key);
}

/* Nobody's key is saved: not one that was never drawn, and no words. */
static void test_save_refuses(void **state)
{
    static const uint8_t zero[PEA_KEY_BYTES];
    pea_error why;
    (void)state;
    check_err(pea_network_key_save(zero, in_folder("zero"), &why), PEA_E_INVALID);
    check_err(pea_network_key_save((const uint8_t *)"correct horse battery staple ~~~", in_folder("zero"), &why),
              PEA_E_INVALID);
    assert_non_null(strstr(why.text, "passphrase"));
    assert_int_equal(access(in_folder("zero"), F_OK), -1);
}

static int setup(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/peapod-network-key-XXXXXX");
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    static const char *const names[] = {"net.key", "words"};
    (void)state;
    for (size_t i = 0; i < COUNT(names); i++)
        (void)unlink(in_folder(names[i]));
    return rmdir(folder); /* nothing else was left in it */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_forms),
        cmocka_unit_test(test_bad_forms),
        cmocka_unit_test(test_zeros_and_length),
        cmocka_unit_test(test_not_an_identity),
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_save_refuses),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
