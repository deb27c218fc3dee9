/* SPDX-License-Identifier: MIT */
/* Addresses: what is parsed and what is not, back to text and to the system's form. */
#include "support/check.h"

#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/un.h>

#include "addr_priv.h"

static void there_and_back(void **state)
{
    static const char *const texts[] = {
        "127.0.0.1:9000",       "0.0.0.0:0",   "255.255.255.255:65535", "[::1]:9000",     "[2001:db8::1]:443",
        "[::ffff:10.0.0.1]:80", "unix:/run/x", "unix:relative/path",    "unix:@abstract",
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        pea_addr addr, again, back;
        char text[PEA_ADDR_TEXT_BYTES];
        check_ok(pea_addr_parse(&addr, texts[i], NULL));
        assert_string_equal(pea_addr_format(&addr, text), texts[i]);
        check_ok(pea_addr_parse(&again, text, NULL));
        assert_true(pea_addr_equal(&addr, &again));
        struct sockaddr_storage ss;
        pea__addr_from_socket(&back, &ss, pea__addr_to_socket(&addr, &ss));
        assert_true(pea_addr_equal(&addr, &back));
        check_bytes(&back, sizeof back, &addr, sizeof addr); /* tables take addresses by their bytes */
    }
}

/* Each is wrong in one way, and the sentence quotes or names it. */
static void what_is_refused(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"", "IPv4:PORT"},
        {"localhost:9000", "names are not resolved"},
        {"example.org:9000", "names are not resolved"},
        {"127.0.0.1", "IPv4:PORT"},
        {"127.0.0.1:", "IPv4:PORT"},
        {"127.0.0.1:65536", "IPv4:PORT"},
        {"127.0.0.1:0x50", "IPv4:PORT"},
        {"127.0.0.1:80 ", "IPv4:PORT"},
        {"127.0.0.1:-1", "IPv4:PORT"},
        {"127.0.0.1:000000080", "IPv4:PORT"},
        {"127.1:80", "127.1"},
        {"256.0.0.1:80", "256.0.0.1"},
        {"1.2.3.4.5.6.7.8.9.10.11:80", "IPv4"},
        {"::1:9000", "IPv4"},
        {"[::1]", "[IPv6]:PORT"},
        {"[::1]9000", "[IPv6]:PORT"},
        {"[::1:9000", "[IPv6]:PORT"},
        {"[]:9000", "IPv6"},
        {"[::g]:9000", "::g"},
        {"[127.0.0.1]:9000", "127.0.0.1"},
        {"[fe80::1%no-such-interface]:9000", "no-such-interface"},
        {"[1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc:dddd:eeee:ffff]:1", "IPv6"},
        {"unix:", "no path"},
        {"tcp://127.0.0.1:80", "IPv4"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pea_addr addr, before;
        pea_error why = {.code = PEA_OK};
        memset(&addr, 0xA5, sizeof addr);
        before = addr;
        check_err(pea_addr_parse(&addr, cases[i].text, &why), PEA_E_FORMAT);
        assert_int_equal(why.code, PEA_E_FORMAT);
        if (strstr(why.text, cases[i].says) == NULL)
            fail_msg("\"%s\": \"%s\" does not say \"%s\"", cases[i].text, why.text, cases[i].says);
        check_bytes(&addr, sizeof addr, &before, sizeof before);
    }
    pea_addr addr;
    check_err(pea_addr_parse(&addr, NULL, NULL), PEA_E_FORMAT);
}

static void paths_up_to_their_limit(void **state)
{
    char text[8 + PEA_UNIX_PATH_MAX] = "unix:";
    pea_addr addr, back;
    struct sockaddr_storage ss;
    (void)state;
    memset(text + 5, 'p', PEA_UNIX_PATH_MAX);
    check_ok(pea_addr_parse(&addr, text, NULL));
    assert_int_equal(addr.path_len, PEA_UNIX_PATH_MAX);
    socklen_t len = pea__addr_to_socket(&addr, &ss);
    assert_true(len <= sizeof(struct sockaddr_un));
    pea__addr_from_socket(&back, &ss, len);
    assert_true(pea_addr_equal(&addr, &back));
    text[5 + PEA_UNIX_PATH_MAX] = 'p';
    pea_error why;
    check_err(pea_addr_parse(&addr, text, &why), PEA_E_FORMAT);
    assert_non_null(strstr(why.text, "104"));
}

/* A zone is an interface of this machine; the loopback one is everywhere. */
static void zones(void **state)
{
    char name[IF_NAMESIZE], text[64], out[PEA_ADDR_TEXT_BYTES];
    pea_addr addr, other;
    (void)state;
    struct if_nameindex *all = if_nameindex();
    assert_non_null(all);
    snprintf(name, sizeof name, "%s", all[0].if_name);
    unsigned index = all[0].if_index;
    if_freenameindex(all);
    snprintf(text, sizeof text, "[fe80::1%%%s]:9000", name);
    check_ok(pea_addr_parse(&addr, text, NULL));
    assert_int_equal(addr.scope, index);
    assert_string_equal(pea_addr_format(&addr, out), text);
    check_ok(pea_addr_parse(&other, "[fe80::1]:9000", NULL));
    assert_false(pea_addr_equal(&addr, &other));
}

static void unnamed_and_unknown(void **state)
{
    char text[PEA_ADDR_TEXT_BYTES];
    pea_addr addr;
    (void)state;
    const struct sockaddr_storage un = {.ss_family = AF_UNIX}, other = {.ss_family = AF_PACKET};
    pea__addr_from_socket(&addr, &un, sizeof(sa_family_t)); /* what accept() gives for a client that did not bind */
    assert_int_equal(addr.family, PEA_ADDR_UNIX);
    assert_int_equal(addr.path_len, 0);
    assert_string_equal(pea_addr_format(&addr, text), "unix:");
    pea__addr_from_socket(&addr, &other, sizeof other);
    assert_int_equal(addr.family, PEA_ADDR_NONE);
    assert_string_equal(pea_addr_format(&addr, text), "none");
}

static void paths_are_escaped(void **state)
{
    char text[PEA_ADDR_TEXT_BYTES];
    pea_addr addr;
    (void)state;
    check_ok(pea_addr_parse(&addr, "unix:/a\x1b[2J\n", NULL));
    assert_string_equal(pea_addr_format(&addr, text), "unix:/a\\x1b[2J\\n");
    char longest[8 + PEA_UNIX_PATH_MAX] = "unix:";
    memset(longest + 5, 0x01, PEA_UNIX_PATH_MAX);
    check_ok(pea_addr_parse(&addr, longest, NULL));
    assert_true(strlen(pea_addr_format(&addr, text)) < sizeof text);
}

static void equality(void **state)
{
    static const char *const different[] = {"127.0.0.1:1", "127.0.0.2:1", "127.0.0.1:2", "[::1]:1", "[::1]:2",
                                            "[::2]:1",     "unix:a",      "unix:ab",     "unix:@a"};
    pea_addr a[sizeof different / sizeof different[0]];
    (void)state;
    for (size_t i = 0; i < sizeof a / sizeof a[0]; i++)
        check_ok(pea_addr_parse(&a[i], different[i], NULL));
    for (size_t i = 0; i < sizeof a / sizeof a[0]; i++)
        for (size_t j = 0; j < sizeof a / sizeof a[0]; j++)
            assert_int_equal(pea_addr_equal(&a[i], &a[j]), i == j);
}

static void what_is_local(void **state)
{
    static const struct {
        const char *text;
        bool local;
    } cases[] = {
        {"127.0.0.1:1", true},
        {"127.255.0.9:1", true},
        {"128.0.0.1:1", false},
        {"10.0.0.1:1", false},
        {"[::1]:1", true},
        {"[::ffff:127.0.0.1]:1", true},
        {"[::ffff:10.0.0.1]:1", false},
        {"[::2]:1", false},
        {"[::]:1", false},
        {"[2001:db8::127.0.0.1]:1", false},
        {"unix:/x", true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pea_addr addr;
        check_ok(pea_addr_parse(&addr, cases[i].text, NULL));
        assert_int_equal(pea_addr_is_local(&addr), cases[i].local);
    }
    const pea_addr none = {0};
    assert_false(pea_addr_is_local(&none));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(paths_up_to_their_limit),
        cmocka_unit_test(zones),
        cmocka_unit_test(unnamed_and_unknown),
        cmocka_unit_test(paths_are_escaped),
        cmocka_unit_test(equality),
        cmocka_unit_test(what_is_local),
    };
    return cmocka_run_group_tests_name("addr", tests, NULL, NULL);
}
