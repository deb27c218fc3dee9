/* SPDX-License-Identifier: MIT */
/* Certificates for Noise as objects: what nobody can issue, what no change survives, their text and files, and the keys
 * of roots. The format itself is vectors/certificate_vectors.c's business, whom they let in trust_members_test.c's. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cert_priv.h"
#include "secure_priv.h"
#include "support/check.h"
#include "support/file.h"

enum { END = 1800000000 };

static pea_root *root;
static pea_identity *identity[2];
static pea_peer peer[2];
static char folder[64];

static const char *in_folder(const char *name)
{
    static char path[96];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static int setup(void **state)
{
    (void)state;
    check_ok(pea_root_generate(&root, NULL));
    for (int i = 0; i < 2; i++) {
        check_ok(pea_identity_generate(&identity[i], NULL));
        pea_identity_peer(identity[i], &peer[i]);
    }
    (void)snprintf(folder, sizeof folder, "/tmp/peapod-cert-XXXXXX");
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    pea_root_free(root);
    pea_identity_unref(identity[0]);
    pea_identity_unref(identity[1]);
    return rmdir(folder);
}

static pea_cert *issued(const pea_cert_opts *opts)
{
    pea_cert *cert;
    pea_error why = {.code = PEA_OK};
    pea_err err = pea_cert_issue(&cert, root, opts, &why);
    if (err != PEA_OK)
        print_error("%s\n", why.text);
    check_ok(err);
    return cert;
}

/* ---- Issuing ---- */

static void defaults(void **state)
{
    (void)state;
    pea_cert *cert =
        issued(PEA_CERT(.key = peer[0].id, .name = "db-1", .roles = "web,db,admin", .not_after = INT64_C(9999999999)));
    const pea_cert_info *says = pea_cert_says(cert);
    int64_t now = time(NULL);
    assert_true(says->not_before <= now - PEA_CERT_EARLY_S && says->not_before > now - 2 * PEA_CERT_EARLY_S);
    assert_string_equal(says->roles, "admin,db,web");
    assert_false(says->has_next_key);
    assert_true(pea_cert_is_for(cert, identity[0]));
    assert_false(pea_cert_is_for(cert, identity[1]));
    assert_ptr_equal(pea_cert_ref(cert), cert);
    pea_cert_unref(cert);
    pea_cert_unref(cert);
    cert =
        issued(PEA_CERT(.key = peer[0].id, .next_key = peer[1].id, .name = "db-1", .not_after = END, .not_before = 1));
    assert_true(pea_cert_is_for(cert, identity[0]) && pea_cert_is_for(cert, identity[1]));
    pea_cert_unref(cert);
}

static void what_nobody_can_say(void **state)
{
    static const uint8_t zero[32],
        ones[32] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    char longest[PEA_NAME_MAX + 2];
    memset(longest, 'n', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    const uint8_t *key = peer[0].id;
    const struct {
        pea_cert_opts opts;
        const char *says;
    } rows[] = {
        {{.name = "a", .not_after = END}, "key"},
        {{.key = key, .not_after = END}, "name"},
        {{.key = key, .name = "", .not_after = END}, "name"},
        {{.key = key, .name = "Db", .not_after = END}, "name"},
        {{.key = key, .name = "a*", .not_after = END}, "name"},
        {{.key = key, .name = longest, .not_after = END}, "255"},
        {{.key = key, .name = "a"}, "ends some time"},
        {{.key = key, .name = "a", .not_after = 1, .not_before = 1}, "before it begins"},
        {{.key = key, .name = "a", .not_after = PEA_CERT_TIME_MAX + 1, .not_before = 1}, "9999"},
        {{.key = key, .name = "a", .not_after = END, .not_before = -1}, NULL}, /* from 1970 on */
        {{.key = key, .name = "a", .not_after = -1}, "before it begins"},
        {{.key = zero, .name = "a", .not_after = END}, "low order"},
        {{.key = ones, .name = "a", .not_after = END}, "canonical"},
        {{.key = key, .next_key = zero, .name = "a", .not_after = END}, "second key"},
        {{.key = key, .next_key = key, .name = "a", .not_after = END}, "one"},
        {{.key = key, .name = "a", .not_after = END, .roles = "db,db"}, "roles"},
        {{.key = key, .name = "a", .not_after = END, .roles = "db,"}, "roles"},
        {{.key = key, .name = "a", .not_after = END, .roles = ","}, "roles"},
        {{.key = key, .name = "a", .not_after = END, .roles = "d b"}, "roles"},
        {{.key = key, .name = "a", .not_after = END, .roles = longest}, "roles"},
        {{.key = key, .name = "a", .not_after = END, .not_before = 1, .roles = ""}, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        pea_cert_opts o = rows[i].opts;
        pea_cert *cert = NULL;
        pea_error why = {.code = PEA_OK};
        o.size = sizeof o;
        pea_err err = pea_cert_issue(&cert, root, &o, &why);
        if (err != (rows[i].says == NULL ? PEA_OK : PEA_E_INVALID) ||
            (rows[i].says != NULL && strstr(why.text, rows[i].says) == NULL))
            print_error("row %zu: %s\n", i, why.text);
        check_err(err, rows[i].says == NULL ? PEA_OK : PEA_E_INVALID);
        assert_true(rows[i].says == NULL || strstr(why.text, rows[i].says) != NULL);
        pea_cert_unref(cert);
    }
}

/* ---- Bytes ---- */

static void no_change_survives(void **state)
{
    (void)state;
    pea_cert *cert = issued(PEA_CERT(.key = peer[0].id, .next_key = peer[1].id, .name = "db-1", .roles = "db,web",
                                     .not_before = 1, .not_after = END)),
             *taken = NULL;
    pea_span bytes = pea_cert_bytes(cert);
    uint8_t *copy = malloc(bytes.len + 1);
    assert_non_null(copy);
    for (size_t len = 0; len < bytes.len; len++) {
        uint8_t *part = malloc(len > 0 ? len : 1); /* nothing behind it is read */
        assert_non_null(part);
        memcpy(part, bytes.data, len);
        assert_true(pea_cert_from_bytes(&taken, (pea_span){part, len}, NULL) < 0);
        free(part);
    }
    for (size_t at = 0; at < bytes.len; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            memcpy(copy, bytes.data, bytes.len);
            copy[at] ^= (uint8_t)(1u << bit);
            assert_true(pea_cert_from_bytes(&taken, (pea_span){copy, bytes.len}, NULL) < 0);
        }
    }
    memcpy(copy, bytes.data, bytes.len);
    copy[bytes.len] = 0;
    assert_true(pea_cert_from_bytes(&taken, (pea_span){copy, bytes.len + 1}, NULL) < 0);
    assert_null(taken);
    free(copy);
    pea_cert_unref(cert);
}

/* ---- Text ---- */

static void text(void **state)
{
    (void)state;
    pea_cert *cert = issued(PEA_CERT(.key = peer[0].id, .name = "db-1", .not_before = 1, .not_after = END)), *again;
    pea_buf out = {0};
    check_ok(pea_cert_format(cert, &out));
    const char *pem = (const char *)out.data;
    assert_memory_equal(pem, "-----BEGIN PEAPOD CERTIFICATE-----\n", 35);
    for (size_t at = 0, column = 0; at < out.len; at++)
        assert_true((column = pem[at] == '\n' ? 0 : column + 1) <= 64);
    check_ok(pea_cert_parse(&again, pem, out.len, NULL));
    check_bytes(pea_cert_bytes(again).data, pea_cert_bytes(again).len, pea_cert_bytes(cert).data,
                pea_cert_bytes(cert).len);
    pea_cert_unref(again);
    /* Any one of its letters taken out, and any one of them another. */
    char *copy = malloc(out.len);
    assert_non_null(copy);
    for (size_t at = 0; at + 1 < out.len; at++) {
        if (pem[at] == '\n')
            continue;
        memcpy(copy, pem, at);
        memcpy(copy + at, pem + at + 1, out.len - at - 1);
        assert_true(pea_cert_parse(&again, copy, out.len - 1, NULL) < 0);
        memcpy(copy, pem, out.len);
        copy[at] = copy[at] == 'A' ? 'B' : 'A';
        assert_true(pea_cert_parse(&again, copy, out.len, NULL) < 0);
    }
    free(copy);
    pea_buf_free(&out);
    pea_cert_unref(cert);
}

static void text_that_is_none(void **state)
{
    static const struct {
        const char *text;
        uint32_t line;
    } rows[] = {
        {"", 1},
        {"\n\nnonsense\n", 3},
        {"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 1},
        {"-----BEGIN PEAPOD CERTIFICATE-----", 1},
        {"-----BEGIN PEAPOD CERTIFICATE-----\n", 1},
        {"-----BEGIN PEAPOD CERTIFICATE-----\nAAAA\n", 2},
        {"-----BEGIN PEAPOD CERTIFICATE-----\nAAAA\n-----END PEAPOD CERTIFICATE-----\nx\n", 4},
        {"-----BEGIN PEAPOD CERTIFICATE-----x\nAAAA\n-----END PEAPOD CERTIFICATE-----\n", 1},
        {"-----BEGIN PEAPOD CERTIFICATE-----\nAA A\n-----END PEAPOD CERTIFICATE-----\n", 2},
        {"-----BEGIN PEAPOD CERTIFICATE-----\nAAAA\n-----END PEAPOD CERTIFICATE-----\n", 0},
        {"-----BEGIN PEAPOD CERTIFICATE-----\n-----END PEAPOD CERTIFICATE-----\n", 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        pea_cert *cert = NULL;
        pea_error why = {.code = PEA_OK};
        check_err(pea_cert_parse(&cert, rows[i].text, strlen(rows[i].text), &why), PEA_E_FORMAT);
        if (why.line != rows[i].line)
            print_error("row %zu: line %u\n", i, why.line);
        assert_int_equal(why.line, rows[i].line);
        assert_true(why.text[0] != '\0');
        assert_null(cert);
    }
}

static void files(void **state)
{
    struct stat st;
    pea_error why = {.code = PEA_OK};
    (void)state;
    pea_cert *cert = issued(PEA_CERT(.key = peer[0].id, .name = "db-1", .not_before = 1, .not_after = END)), *again;
    check_ok(pea_cert_save(cert, in_folder("a.cert"), NULL));
    assert_int_equal(stat(in_folder("a.cert"), &st), 0);
    assert_int_equal(st.st_mode & S_IRUSR, S_IRUSR);
    assert_int_equal(st.st_mode & (S_IWGRP | S_IWOTH), 0);
    check_err(pea_cert_save(cert, in_folder("a.cert"), NULL), PEA_E_EXISTS);
    check_ok(pea_cert_load(&again, in_folder("a.cert"), NULL));
    assert_string_equal(pea_cert_says(again)->name, "db-1");
    check_err(pea_cert_load(&again, in_folder("none"), NULL), PEA_E_SYS);
    check_err(pea_cert_load(&again, folder, NULL), PEA_E_PERMISSION);
    pea_cert_unref(again);
    pea_cert_unref(cert);
    assert_int_equal(unlink(in_folder("a.cert")), 0);
    pea_cert *none = NULL;
    check_ok(pea_identity_save(identity[0], in_folder("a.key"), NULL));
    check_err(pea_cert_load(&none, in_folder("a.key"), &why), PEA_E_FORMAT);
    assert_non_null(strstr(why.text, "a.key: this is no certificate"));
    assert_int_equal(unlink(in_folder("a.key")), 0);
}

/* ---- Roots ---- */

/* RFC 8410, section 10.3, and the public key of section 10.1. */
#define RFC_PEM                                                          \
    "-----BEGIN PRIVATE KEY-----\n"                                      \
    "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n" \
    "-----END PRIVATE KEY-----\n"
#define RFC_TEXT "root:Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE="

static void keys_of_roots(void **state)
{
    pea_root *r;
    uint8_t key[PEA_KEY_BYTES], parsed[PEA_KEY_BYTES];
    char shown[PEA_ROOT_TEXT_BYTES];
    (void)state;
    check_ok(pea_root_parse(&r, RFC_PEM, strlen(RFC_PEM), NULL));
    pea_root_public(r, key);
    assert_string_equal(pea_root_key_format(key, shown), RFC_TEXT);
    check_ok(pea_root_key_parse(parsed, RFC_TEXT, NULL));
    check_bytes(parsed, 32, key, 32);
    check_ok(pea_root_save(r, in_folder("root.key"), NULL));
    check_err(pea_root_save(r, in_folder("root.key"), NULL), PEA_E_EXISTS);
    char *pem = file_read(in_folder("root.key"));
    assert_string_equal(pem, RFC_PEM);
    free(pem);
    pea_root_free(r);
    check_ok(pea_root_load(&r, in_folder("root.key"), NULL));
    pea_root_public(r, parsed);
    check_bytes(parsed, 32, key, 32);
    pea_root_free(r);
    assert_int_equal(chmod(in_folder("root.key"), 0644), 0);
    r = NULL;
    check_err(pea_root_load(&r, in_folder("root.key"), NULL), PEA_E_PERMISSION);
    assert_null(r);
    assert_int_equal(unlink(in_folder("root.key")), 0);
    check_err(pea_root_from_secret(&r, (const uint8_t[32]){0}, NULL), PEA_E_INVALID);
}

/* One kind of key is not taken for the other, and the error says which it is. */
static void one_for_the_other(void **state)
{
    pea_root *r = NULL;
    pea_identity *i = NULL;
    pea_error why = {.code = PEA_OK};
    char pem[PEA__PEM_BYTES];
    (void)state;
    size_t len = pea__keyfile_write(pem, PEA__KEY_X25519, pea__identity_secret(identity[0]));
    check_err(pea_root_parse(&r, pem, len, &why), PEA_E_UNSUPPORTED);
    assert_non_null(strstr(why.text, "X25519 key, and Ed25519 is needed"));
    check_err(pea_identity_parse(&i, RFC_PEM, strlen(RFC_PEM), &why), PEA_E_UNSUPPORTED);
    assert_non_null(strstr(why.text, "Ed25519 key, and X25519 is needed"));
    static const char line[] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE=\n"; /* the other form is X25519's alone */
    check_ok(pea_identity_parse(&i, line, sizeof line - 1, NULL));
    check_err(pea_root_parse(&r, line, sizeof line - 1, &why), PEA_E_FORMAT);
    assert_null(r);
    pea_identity_unref(i);
}

static void text_of_no_root(void **state)
{
    static const char *const rows[] = {
        "",
        "root:",
        "root:Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE",
        "root:Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE==",
        "root:Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuF=", /* bits behind its end */
        "noise:Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=",
        "root:AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", /* the neutral point */
        "root:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", /* a point of order 4 */
        "root://///////////////////////////////////////////8=",
        "root:AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", /* no point */
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t key[PEA_KEY_BYTES] = {7};
        pea_error why = {.code = PEA_OK};
        check_err(pea_root_key_parse(key, rows[i], &why), PEA_E_FORMAT);
        assert_true(why.text[0] != '\0' && key[0] == 7);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),      cmocka_unit_test(what_nobody_can_say), cmocka_unit_test(no_change_survives),
        cmocka_unit_test(text),          cmocka_unit_test(text_that_is_none),   cmocka_unit_test(files),
        cmocka_unit_test(keys_of_roots), cmocka_unit_test(one_for_the_other),   cmocka_unit_test(text_of_no_root),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
