/* SPDX-License-Identifier: MIT */
/* Ranges of addresses: what parses, what does not and why, and who lies in them. */
#include "peapod/addr.h"
#include "support/check.h"
#include "support/prng.h"

static void good(void **state)
{
    static const struct {
        const char *text, *formatted;
    } rows[] = {
        {"10.0.0.0/8", "10.0.0.0/8"},
        {"0.0.0.0/0", "0.0.0.0/0"},
        {"192.0.2.1", "192.0.2.1/32"},
        {"192.0.2.1/32", "192.0.2.1/32"},
        {"192.0.2.128/25", "192.0.2.128/25"},
        {"2001:db8::/32", "2001:db8::/32"},
        {"::/0", "::/0"},
        {"::1", "::1/128"},
        {"fe80::/10", "fe80::/10"},
        {"2001:DB8::1/128", "2001:db8::1/128"},
        {"::ffff:192.0.2.1", "192.0.2.1/32"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        pea_prefix p, again;
        char text[PEA_PREFIX_TEXT_BYTES];
        check_ok(pea_prefix_parse(&p, rows[i].text, NULL));
        assert_string_equal(pea_prefix_format(&p, text), rows[i].formatted);
        check_ok(pea_prefix_parse(&again, text, NULL));
        assert_memory_equal(&p, &again, sizeof p);
    }
    char text[PEA_PREFIX_TEXT_BYTES];
    assert_string_equal(pea_prefix_format(&(pea_prefix){0}, text), "none");
}

static void bad(void **state)
{
    static const struct {
        const char *text, *says;
    } rows[] = {
        {NULL, "not an IP address"},
        {"", "not an IP address"},
        {"/8", "not an IP address"},
        {"10.0.0/8", "not an IP address"},
        {"10.0.0.0.0/8", "not an IP address"},
        {"mesh.example/8", "not an IP address"},
        {"10.0.0.0:80/8", "not an IP address"},
        {"[::1]/128", "not an IP address"},
        {" 10.0.0.0/8", "not an IP address"},
        {"10.0.0.0/", "from 0 to 32"},
        {"10.0.0.0/33", "from 0 to 32"},
        {"10.0.0.0/-1", "from 0 to 32"},
        {"10.0.0.0/08", "from 0 to 32"},
        {"10.0.0.0/8 ", "from 0 to 32"},
        {"10.0.0.0/255.0.0.0", "from 0 to 32"},
        {"10.0.0.0/4294967304", "from 0 to 32"},
        {"2001:db8::/129", "from 0 to 128"},
        {"10.0.0.1/8", "is 10.0.0.0/8 meant?"},
        {"192.0.2.129/25", "is 192.0.2.128/25 meant?"},
        {"2001:db8::1/32", "is 2001:db8::/32 meant?"},
        {"::ffff:10.0.0.0/104", "write it as IPv4"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        pea_error why = {0};
        pea_prefix p = {.bits = 77};
        check_err(pea_prefix_parse(&p, rows[i].text, &why), PEA_E_FORMAT);
        if (strstr(why.text, rows[i].says) == NULL)
            print_error("row %zu: %s\n", i, why.text);
        assert_non_null(strstr(why.text, rows[i].says));
        assert_int_equal(p.bits, 77);
    }
}

static pea_addr parse(const char *text)
{
    pea_addr a;
    check_ok(pea_addr_parse(&a, text, NULL));
    return a;
}

static void who_lies_in_it(void **state)
{
    static const struct {
        const char *prefix, *addr;
        bool in;
    } rows[] = {
        {"10.0.0.0/8", "10.255.255.255:1", true},
        {"10.0.0.0/8", "11.0.0.0:1", false},
        {"10.0.0.0/8", "[::ffff:10.1.2.3]:1", true}, /* mapped is IPv4 */
        {"10.0.0.0/8", "[a00::]:1", false},
        {"0.0.0.0/0", "255.255.255.255:1", true},
        {"0.0.0.0/0", "[2001:db8::1]:1", false},
        {"::/0", "[2001:db8::1]:1", true},
        {"::/0", "[::ffff:10.1.2.3]:1", false},
        {"::/0", "10.1.2.3:1", false},
        {"2001:db8::/33", "[2001:db8:7fff::1]:1", true},
        {"2001:db8::/33", "[2001:db8:8000::1]:1", false},
        {"192.0.2.1", "192.0.2.1:65535", true},
        {"192.0.2.1", "192.0.2.0:65535", false},
        {"0.0.0.0/0", "unix:/run/x", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const pea_addr addr = parse(rows[i].addr);
        pea_prefix p;
        check_ok(pea_prefix_parse(&p, rows[i].prefix, NULL));
        if (pea_prefix_has(&p, &addr) != rows[i].in)
            print_error("row %zu\n", i);
        assert_int_equal(pea_prefix_has(&p, &addr), rows[i].in);
    }
}

/* The range around an address has it, and shares it with whoever differs only behind its bits. */
static void around(void **state)
{
    test_prng prng = {1};
    (void)state;
    for (unsigned i = 0; i < 4000; i++) {
        pea_addr a = {.family = i % 2 == 0 ? PEA_ADDR_IPV4 : PEA_ADDR_IPV6};
        unsigned width = i % 2 == 0 ? 32 : 128;
        prng_fill(&prng, a.u.ip, width / 8);
        uint8_t bits = (uint8_t)prng_below(&prng, width + 1);
        pea_prefix p, other;
        assert_true(pea_prefix_of(&p, &a, bits, bits));
        assert_true(pea_prefix_has(&p, &a));
        assert_int_equal(p.bits, bits);
        unsigned flip = (unsigned)prng_below(&prng, width);
        pea_addr b = a;
        b.u.ip[flip / 8] ^= (uint8_t)(0x80u >> flip % 8);
        assert_int_equal(pea_prefix_has(&p, &b), flip >= bits);
        assert_true(pea_prefix_of(&other, &b, bits, bits));
        assert_int_equal(memcmp(&p, &other, sizeof p) == 0, flip >= bits);
    }
    pea_prefix p;
    const pea_addr mapped = parse("[::ffff:192.0.2.77]:1"), path = parse("unix:/run/x");
    char text[PEA_PREFIX_TEXT_BYTES];
    assert_true(pea_prefix_of(&p, &mapped, 24, 48));
    assert_string_equal(pea_prefix_format(&p, text), "192.0.2.0/24");
    assert_true(pea_prefix_of(&p, &mapped, 99, 99));
    assert_string_equal(pea_prefix_format(&p, text), "192.0.2.77/32");
    assert_false(pea_prefix_of(&p, &path, 24, 48));
    assert_int_equal(p.family, PEA_ADDR_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good),
        cmocka_unit_test(bad),
        cmocka_unit_test(who_lies_in_it),
        cmocka_unit_test(around),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
