/* SPDX-License-Identifier: MIT */
/* What somebody dials: literal addresses, names of hosts, and what is neither. */
#include "support/check.h"

#include <stdio.h>
#include <stdlib.h>

#include "host_priv.h"

#define LABEL_63 "a23456789012345678901234567890123456789012345678901234567890123"

static void literals(void **state)
{
    static const char *const texts[] = {"127.0.0.1:9000", "[::1]:9000", "unix:/run/x", "unix:host.example:9000"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        pea__host host;
        pea_addr addr, same;
        check_ok(pea__host_parse(texts[i], &host, &addr, NULL));
        check_ok(pea_addr_parse(&same, texts[i], NULL));
        assert_string_equal(host.name, "");
        assert_true(pea_addr_equal(&addr, &same));
    }
}

static void names(void **state)
{
    static const struct {
        const char *text, *name, *plain;
        uint16_t port;
    } cases[] = {
        {"localhost:9000", "localhost", "localhost", 9000},
        {"Host-1.Example.ORG:1", "host-1.example.org", "host-1.example.org", 1},
        {"host.example.:65535", "host.example.", "host.example", 65535},
        {"_peapod._tcp.my_host:80", "_peapod._tcp.my_host", "_peapod._tcp.my_host", 80},
        {"1and1.com:80", "1and1.com", "1and1.com", 80},
        {"10.0.0.1.example:80", "10.0.0.1.example", "10.0.0.1.example", 80},
        {"xn--mnchen-3ya.example:80", "xn--mnchen-3ya.example", "xn--mnchen-3ya.example", 80},
        {"0xg:80", "0xg", "0xg", 80},
        {LABEL_63 ".x:80", LABEL_63 ".x", LABEL_63 ".x", 80},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pea__host host;
        pea_addr addr;
        pea_error why;
        char plain[PEA__HOST_MAX + 1];
        if (pea__host_parse(cases[i].text, &host, &addr, &why) != PEA_OK)
            fail_msg("%s: %s", cases[i].text, why.text);
        assert_string_equal(host.name, cases[i].name);
        assert_string_equal(pea__host_plain(&host, plain), cases[i].plain);
        assert_int_equal(host.port, cases[i].port);
    }
}

/* Each is wrong in one way, and the sentence names it. */
static void what_is_refused(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {NULL, "no address"},
        {"", "HOST:PORT"},
        {"localhost", "HOST:PORT"},
        {"localhost:", "HOST:PORT"},
        {"localhost:http", "HOST:PORT"},
        {"localhost:65536", "HOST:PORT"},
        {"localhost:+80", "HOST:PORT"},
        {"localhost:80 ", "HOST:PORT"},
        {"tcp://localhost:80", "HOST:PORT"},
        {"::1:9000", "[IPv6]:PORT"},
        {"localhost:0", "port 0"},
        {":80", "is empty"},
        {".:80", "empty label"},
        {"..:80", "empty label"},
        {"a..b:80", "empty label"},
        {".a:80", "empty label"},
        {"a.b..:80", "empty label"},
        {"-a.b:80", "hyphen"},
        {"a.b-:80", "hyphen"},
        {LABEL_63 "4.x:80", "63 bytes"},
        {"a b:80", "no host name has"},
        {"a/b:80", "no host name has"},
        {"*.example:80", "no host name has"},
        {"a%eth0:80", "no host name has"},
        {"m\xC3\xBCnchen.example:80", "xn--"},
        {"127.1:80", "number"},
        {"256.0.0.1:80", "number"},
        {"2130706433:80", "number"},
        {"0x7f000001:80", "number"},
        {"127.0.0.0X1:80", "number"},
        {"0x:80", "number"},
        {"1.2.3.4.:80", "number"},
        {"[::1]", "[IPv6]:PORT"},
        {"unix:", "no path"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pea__host host;
        pea_addr addr;
        pea_error why = {.code = PEA_OK};
        check_err(pea__host_parse(cases[i].text, &host, &addr, &why), PEA_E_FORMAT);
        assert_string_equal(host.name, "");
        if (strstr(why.text, cases[i].says) == NULL)
            fail_msg("\"%s\": \"%s\" does not say \"%s\"", cases[i].text, why.text, cases[i].says);
    }
}

static void the_longest(void **state)
{
    char text[512];
    pea__host host;
    pea_addr addr;
    pea_error why;
    (void)state;
    for (size_t len = 252; len <= 300; len++)
        for (int dot = 0; dot < 2; dot++) {
            for (size_t i = 0; i < len; i++)
                text[i] = i % 50 == 49 && i + 1 < len ? '.' : 'n';
            (void)snprintf(text + len, sizeof text - len, "%s:9000", dot ? "." : "");
            pea_err err = pea__host_parse(text, &host, &addr, &why);
            check_err(err, len <= PEA__HOST_MAX ? PEA_OK : PEA_E_FORMAT);
            if (err == PEA_OK)
                assert_int_equal(strlen(host.name), len + (size_t)dot);
            else
                assert_non_null(strstr(why.text, "253"));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(literals),
        cmocka_unit_test(names),
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(the_longest),
    };
    return cmocka_run_group_tests_name("host", tests, NULL, NULL);
}
