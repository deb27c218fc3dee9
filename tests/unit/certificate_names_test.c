/* SPDX-License-Identifier: MIT */
/* The names in a certificate's subjectAltName, as DER that a stranger wrote: what is taken, in which form, and that
 * whatever is not quite right is an error instead of a name. Whether a root vouches for them is tls_session_test.c's
 * business. */
#include <mbedtls/x509_crt.h>
#include <stdio.h>
#include <stdlib.h>

#include "support/check.h"
#include "support/faults.h"
#include "tls/certificate_priv.h"

/* ---- DER by hand ---- */

typedef struct der {
    uint8_t bytes[70000];
    size_t len;
} der;

static void put_header(der *d, uint8_t tag, size_t len)
{
    d->bytes[d->len++] = tag;
    if (len >= 0x10000) {
        d->bytes[d->len++] = 0x83;
        d->bytes[d->len++] = (uint8_t)(len >> 16);
    } else if (len >= 0x100) {
        d->bytes[d->len++] = 0x82;
    } else if (len >= 0x80) {
        d->bytes[d->len++] = 0x81;
    }
    if (len >= 0x100)
        d->bytes[d->len++] = (uint8_t)(len >> 8);
    d->bytes[d->len++] = (uint8_t)len;
}

static void put(der *d, uint8_t tag, const void *content, size_t len)
{
    put_header(d, tag, len);
    if (len > 0)
        memcpy(d->bytes + d->len, content, len);
    d->len += len;
}

static void put_text(der *d, uint8_t tag, const char *text)
{
    put(d, tag, text, strlen(text));
}

static void wrap(der *d, uint8_t tag)
{
    static der outer;
    outer.len = 0;
    put(&outer, tag, d->bytes, d->len);
    *d = outer;
}

/* One extension around the content of a subjectAltName. */
static void extension(der *d, uint8_t last_of_oid)
{
    static der e;
    const uint8_t oid[] = {0x55, 0x1d, last_of_oid};
    wrap(d, 0x30);
    wrap(d, 0x04);
    e.len = 0;
    put(&e, 0x06, oid, sizeof oid);
    memcpy(e.bytes + e.len, d->bytes, d->len);
    e.len += d->len;
    *d = e;
    wrap(d, 0x30);
}

/* Reads from memory that ends with the last byte. */
static pea_err read_names(const uint8_t *bytes, size_t len, pea__certificate_names *names, pea_error *why)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);
    assert_non_null(copy);
    if (len > 0)
        memcpy(copy, bytes, len);
    *why = (pea_error){.code = PEA_OK};
    pea_err err = pea__extensions_names((pea_span){copy, len}, names, why);
    free(copy);
    if (err != PEA_OK) {
        assert_true(names->list == NULL && names->n == 0);
        assert_int_equal(why->code, err);
        assert_true(why->text[0] != '\0');
    }
    return err;
}

static pea_err read_san(der *d, pea__certificate_names *names, pea_error *why)
{
    extension(d, 17);
    wrap(d, 0x30);
    return read_names(d->bytes, d->len, names, why);
}

/* ---- Names ---- */

enum { EMAIL = 0x81, DNS = 0x82, URI = 0x86, IP = 0x87 };

static void good_names(void **state)
{
    static const struct {
        uint8_t tag;
        const char *text, *taken; /* NULL: no name of ours */
    } rows[] = {
        {DNS, "db.mesh.example", "db.mesh.example"},
        {DNS, "DB.Mesh.EXAMPLE", "db.mesh.example"},
        {DNS, "*.mesh.example", "*.mesh.example"},
        {DNS, "localhost", "localhost"},
        {DNS, "_srv.x-1.example", "_srv.x-1.example"},
        {URI, "spiffe://mesh.example/db/1", "spiffe://mesh.example/db/1"},
        {URI, "spiffe://mesh.example", "spiffe://mesh.example"},
        {URI, "spiffe://mesh.example/DB", "spiffe://mesh.example/DB"}, /* a path's case counts */
        {URI, "https://a.example/?x=1#y", "https://a.example/?x=1#y"},
        {EMAIL, "somebody@mesh.example", NULL},
        {IP, "\x7f\x00\x00\x01", NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        static der d;
        pea__certificate_names names;
        pea_error why;
        d.len = 0;
        put(&d, rows[i].tag, rows[i].text, rows[i].tag == IP ? 4 : strlen(rows[i].text));
        check_ok(read_san(&d, &names, &why));
        assert_int_equal(names.n, rows[i].taken != NULL ? 1 : 0);
        if (rows[i].taken != NULL) {
            assert_string_equal(names.list[0].text, rows[i].taken);
            assert_int_equal(names.list[0].kind, rows[i].tag == DNS ? PEA_NAME_DNS : PEA_NAME_URI);
        }
        pea__certificate_names_free(&names);
    }
}

static void bad_names(void **state)
{
    static const struct {
        uint8_t tag;
        const char *text;
        size_t len; /* 0: strlen() */
        const char *says;
    } rows[] = {
        {DNS, "", 0, "1 to 253"},
        {DNS, "good.example\0.evil.example", 26, "printable"},
        {DNS,
         "b\xc3\xbc"
         "cher.example",
         0, "printable"},
        {DNS, "two words", 0, "printable"},
        {DNS, "a..b", 0, "empty label"},
        {DNS, ".a", 0, "empty label"},
        {DNS, "a.", 0, "empty label"},
        {DNS, "*", 0, "wildcard"},
        {DNS, "*.", 0, "wildcard"},
        {DNS, "a.*.b", 0, "wildcard"},
        {DNS, "d*.b", 0, "wildcard"},
        {DNS, "a/b", 0, "no host name"},
        {DNS, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.b", 0, "63"},
        {URI, "", 0, "scheme"},
        {URI, "spiffe", 0, "scheme"},
        {URI, "x:", 0, "nothing behind"},
        {URI, "1x:y", 0, "scheme"},
        {URI, "spiffe://mesh.example/a\0b", 25, "printable"},
        {URI, "SPIFFE://mesh.example/a", 0, "lower-case"},
        {URI, "spiffe://Mesh.example/a", 0, "trust domain"},
        {URI, "spiffe:///a", 0, "trust domain"},
        {URI, "spiffe://mesh.example:1/a", 0, "trust domain"},
        {URI, "spiffe://user@mesh.example/a", 0, "trust domain"},
        {URI, "spiffe://mesh.example/", 0, "segment"},
        {URI, "spiffe://mesh.example//a", 0, "segment"},
        {URI, "spiffe://mesh.example/a/", 0, "segment"},
        {URI, "spiffe://mesh.example/a/../b", 0, "segment"},
        {URI, "spiffe://mesh.example/./b", 0, "segment"},
        {URI, "spiffe://mesh.example/a%2fb", 0, "segment"},
        {URI, "spiffe://mesh.example/a?x", 0, "segment"},
        {URI, "spiffe://mesh.example/*", 0, "segment"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        static der d;
        pea__certificate_names names;
        pea_error why;
        d.len = 0;
        put_text(&d, DNS, "good.example"); /* one bad name spoils them all */
        put(&d, rows[i].tag, rows[i].text, rows[i].len > 0 ? rows[i].len : strlen(rows[i].text));
        check_err(read_san(&d, &names, &why), PEA_E_FORMAT);
        if (strstr(why.text, rows[i].says) == NULL)
            fail_msg("row %zu: \"%s\"", i, why.text);
        for (const char *p = why.text; *p != '\0'; p++)
            assert_true(*p >= 0x20 && *p < 0x7f); /* a stranger's bytes are escaped */
    }
}

/* `n` names of one byte to three; `uris` SPIFFE ids before them. */
static pea_err many(size_t n, size_t uris, pea__certificate_names *names, pea_error *why)
{
    static der d;
    char text[40];
    d.len = 0;
    for (size_t i = 0; i < uris; i++)
        put_text(&d, URI, i == 0 ? "spiffe://mesh.example/a" : "https://mesh.example/");
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(text, sizeof text, "n%zu", i);
        put_text(&d, DNS, text);
    }
    return read_san(&d, names, why);
}

static void how_many(void **state)
{
    pea__certificate_names names;
    pea_error why;
    (void)state;
    check_ok(many(PEA__CERTIFICATE_NAMES_MAX, 0, &names, &why));
    assert_int_equal(names.n, PEA__CERTIFICATE_NAMES_MAX);
    assert_string_equal(names.list[PEA__CERTIFICATE_NAMES_MAX - 1].text, "n127");
    pea__certificate_names_free(&names);
    check_err(many(PEA__CERTIFICATE_NAMES_MAX + 1, 0, &names, &why), PEA_E_FORMAT);
    check_err(many(9000, 0, &names, &why), PEA_E_FORMAT);
    check_ok(many(3, 1, &names, &why));
    pea__certificate_names_free(&names);
    check_err(many(0, 2, &names, &why), PEA_E_FORMAT); /* X509-SVID: a SPIFFE id is the only URI */
    assert_non_null(strstr(why.text, "another URI"));
    check_err(many(0, 0, &names, &why), PEA_E_FORMAT); /* it names nobody, which is forbidden */
}

/* ---- The frame around them ---- */

static void no_extension(void **state)
{
    static der d;
    pea__certificate_names names;
    pea_error why;
    (void)state;
    check_ok(read_names(NULL, 0, &names, &why));
    assert_int_equal(names.n, 0);
    d.len = 0;
    put_text(&d, DNS, "a.example");
    extension(&d, 18); /* issuerAltName is somebody else's */
    wrap(&d, 0x30);
    check_ok(read_names(d.bytes, d.len, &names, &why));
    assert_int_equal(names.n, 0);
}

static void two_of_them(void **state)
{
    static der one, two;
    pea__certificate_names names;
    pea_error why;
    (void)state;
    one.len = two.len = 0;
    put_text(&one, DNS, "a.example");
    extension(&one, 17);
    put_text(&two, DNS, "b.example");
    extension(&two, 17);
    memcpy(one.bytes + one.len, two.bytes, two.len);
    one.len += two.len;
    wrap(&one, 0x30);
    check_err(read_names(one.bytes, one.len, &names, &why), PEA_E_FORMAT);
}

/* Cut anywhere, or with any one byte changed: never more than what was said before, and nothing beyond the bytes is
 * read. */
static void every_byte(void **state)
{
    static der d;
    pea__certificate_names names;
    pea_error why;
    (void)state;
    d.len = 0;
    put_text(&d, DNS, "db.mesh.example");
    put_text(&d, URI, "spiffe://mesh.example/db");
    extension(&d, 17);
    wrap(&d, 0x30);
    for (size_t len = 1; len < d.len; len++)
        check_err(read_names(d.bytes, len, &names, &why), PEA_E_FORMAT);
    check_ok(read_names(d.bytes, d.len, &names, &why));
    assert_int_equal(names.n, 2);
    pea__certificate_names_free(&names);
    for (size_t at = 0; at < d.len; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            d.bytes[at] ^= (uint8_t)(1u << bit);
            if (read_names(d.bytes, d.len, &names, &why) == PEA_OK)
                assert_true(names.n <= 2);
            pea__certificate_names_free(&names);
            d.bytes[at] ^= (uint8_t)(1u << bit);
        }
    }
}

static void lengths_that_are_not_der(void **state)
{
    static const struct {
        const char *what;
        uint8_t bytes[16];
        size_t len;
    } rows[] = {
        {"indefinite", {0x30, 0x80, 0x00, 0x00}, 4},
        {"longer than needed", {0x30, 0x81, 0x00}, 3},
        {"a leading zero", {0x30, 0x82, 0x00, 0x80}, 4},
        {"four bytes of length", {0x30, 0x84, 0xff, 0xff, 0xff, 0xff}, 6},
        {"beyond the end", {0x30, 0x05, 0x30, 0x00}, 4},
        {"something behind", {0x30, 0x00, 0x00}, 3},
        {"a tag of two bytes", {0x3f, 0x81, 0x01, 0x00}, 4},
        {"no sequence", {0x31, 0x00}, 2},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        pea__certificate_names names;
        pea_error why;
        if (read_names(rows[i].bytes, rows[i].len, &names, &why) != PEA_E_FORMAT)
            fail_msg("%s was taken", rows[i].what);
    }
}

/* ---- Real certificates ---- */

static size_t load(const char *file, pea__certificate_names *names, pea_err *err)
{
    pea_error why;
    mbedtls_x509_crt crt;
    char path[512];
    mbedtls_x509_crt_init(&crt);
    (void)snprintf(path, sizeof path, "%s/%s.crt", PEA_TEST_CERTS, file);
    assert_int_equal(mbedtls_x509_crt_parse_file(&crt, path), 0);
    *err = pea__certificate_names_read(&crt, names, &why);
    mbedtls_x509_crt_free(&crt);
    return names->n;
}

static void real_certificates(void **state)
{
    pea__certificate_names names;
    pea_err err;
    (void)state;
    assert_int_equal(load("server", &names, &err), 3);
    check_ok(err);
    assert_string_equal(names.list[0].text, "server.mesh.example");
    assert_string_equal(names.list[1].text, "localhost");
    assert_string_equal(names.list[2].text, "spiffe://mesh.example/server");
    pea__certificate_names_free(&names);
    assert_int_equal(load("bad_no_names", &names, &err), 0); /* a common name is none */
    check_ok(err);
    assert_int_equal(load("bad_nul_name", &names, &err), 0);
    check_err(err, PEA_E_FORMAT);
}

/* Memory that runs out is an error, and leaves nothing. */
static void no_memory(void **state)
{
    pea__certificate_names names;
    pea_error why;
    (void)state;
    size_t blocks = faults_blocks();
    faults_arm(0);
    check_err(many(3, 0, &names, &why), PEA_E_NOMEM);
    assert_true(faults_disarm());
    assert_int_equal(faults_blocks(), blocks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_names),
        cmocka_unit_test(bad_names),
        cmocka_unit_test(how_many),
        cmocka_unit_test(no_extension),
        cmocka_unit_test(two_of_them),
        cmocka_unit_test(every_byte),
        cmocka_unit_test(lengths_that_are_not_der),
        cmocka_unit_test(real_certificates),
        cmocka_unit_test(no_memory),
    };
    faults_install();
    return cmocka_run_group_tests_name("certificate names", tests, NULL, NULL);
}
