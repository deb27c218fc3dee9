/* SPDX-License-Identifier: MIT */
/* Limits by where connections come from, bans, places that are kept for our own dials, and who makes room. Limits over
 * all connections are in limits_test.c. Loopback is 127.0.0.0/8: whoever binds first comes from another address. */
#include "support/faults.h"
#include "support/net.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "prefix_table_priv.h"
#include "runtime_priv.h"

static int setup(void **state)
{
    static net n;
    net_setup(&n, PEA_NATIVE);
    *state = &n;
    return 0;
}

static int teardown(void **state)
{
    net_teardown(*state);
    return 0;
}

/* A connection from 127.0.NET.HOST. */
static int from(const net *n, unsigned network, unsigned host)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    to.sin_port = htons(pea_listener_addr(n->b.listener)->port);
    int fd = net_raw_from(network, host);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static bool turned_away(net *n, int fd)
{
    uint8_t byte;
    bool reset = false;
    bool away = net_raw_recv(n, fd, &byte, 1, &reset) == 0;
    assert_int_equal(close(fd), 0);
    return away;
}

static void serve(net *n, pea_node_opts *opts)
{
    net_node(&n->b, opts);
    net_listen(&n->b);
}

static void check_refused(const net *n, pea_refusal reason, uint64_t count)
{
    uint64_t all = 0;
    pea_counts counts;
    for (pea_refusal r = PEA_REFUSED_BY_ON_ACCEPT; r < PEA_REFUSALS; r++)
        all += net_refused(&n->b, r);
    pea_node_counts(n->b.node, &counts);
    assert_int_equal(net_refused(&n->b, reason), count);
    assert_int_equal(counts.refused, all);
}

static void by_ip(void **state)
{
    net *n = *state;
    serve(n, PEA_NODE(.max_per_ip = 2));
    int fds[] = {from(n, 1, 1), from(n, 1, 1), from(n, 1, 2)};
    net_wait(n, n->b.accepts == 3);
    assert_true(turned_away(n, from(n, 1, 1)));
    check_refused(n, PEA_REFUSED_BY_MAX_PER_IP, 1);
    assert_non_null(strstr(n->warning, "max_per_ip = 2 is reached: 127.0.1.1:"));
    close(fds[0]); /* one that goes leaves its place */
    net_wait(n, n->b.failures == 1);
    fds[0] = from(n, 1, 1);
    net_wait(n, n->b.accepts == 4);
    for (size_t i = 0; i < 3; i++)
        close(fds[i]);
    net_wait(n, n->b.failures == 4);
}

static void by_prefix(void **state)
{
    net *n = *state;
    pea_prefix free_range;
    check_ok(pea_prefix_parse(&free_range, "127.0.9.0/24", NULL));
    serve(n, PEA_NODE(.max_per_prefix = 2, .exempt = &free_range, .n_exempt = 1));
    int fds[8];
    fds[0] = from(n, 1, 1);
    fds[1] = from(n, 1, 2);
    for (unsigned i = 2; i < 5; i++)
        fds[i] = from(n, 9, i); /* who is exempt is not counted */
    fds[5] = from(n, 2, 1);
    net_wait(n, n->b.accepts == 6);
    assert_true(turned_away(n, from(n, 1, 3)));
    check_refused(n, PEA_REFUSED_BY_MAX_PER_PREFIX, 1);
    net_raw_open(n, fds[0]); /* READY counts as well */
    net_wait(n, n->b.connects == 1);
    assert_true(turned_away(n, from(n, 1, 3)));
    for (size_t i = 0; i < 6; i++)
        close(fds[i]);
    net_wait(n, n->b.failures == 5 && n->b.disconnects == 1);
    fds[0] = from(n, 1, 3);
    net_wait(n, n->b.accepts == 7);
    close(fds[0]);
}

static void by_rate(void **state)
{
    net *n = *state;
    serve(n, PEA_NODE(.prefix_rate = 1, .prefix_burst = 3));
    int fds[4];
    for (unsigned i = 0; i < 3; i++)
        fds[i] = from(n, 1, i + 1);
    net_wait(n, n->b.accepts == 3);
    assert_true(turned_away(n, from(n, 1, 4)));
    check_refused(n, PEA_REFUSED_BY_RATE, 1);
    fds[3] = from(n, 2, 1);
    net_wait(n, n->b.accepts == 4);
    for (size_t i = 0; i < 4; i++)
        close(fds[i]);
}

static bool take_token(pea__prefix_slot *slot, uint32_t rate, uint32_t burst, int64_t now_ms)
{
    bool there = pea__prefix_slot_token(slot, rate, burst, now_ms);
    if (there)
        pea__prefix_slot_spend(slot);
    return there;
}

static void a_bucket_fills(void **state)
{
    pea__prefix_slot slot = {.filled_ms = INT64_MIN};
    (void)state;
    for (int i = 0; i < 5; i++)
        assert_true(take_token(&slot, 10, 5, 1000));
    assert_false(take_token(&slot, 10, 5, 1000));
    assert_false(take_token(&slot, 10, 5, 1099));
    assert_true(take_token(&slot, 10, 5, 1100)); /* one in 100 ms */
    assert_false(take_token(&slot, 10, 5, 1101));
    for (int i = 0; i < 5; i++)
        assert_true(take_token(&slot, 10, 5, INT64_C(1) << 40)); /* never more than it holds */
    assert_false(take_token(&slot, 10, 5, INT64_C(1) << 40));
    assert_true(take_token(&slot, UINT32_MAX - 2, 5, INT64_MAX / 2));
}

/* More ranges than there are places: those that have connections keep theirs, the others of a set share one. */
static void a_table_that_is_full(void **state)
{
    enum { RANGES = 256, PLACES = (RANGES / 8 + 1) * 16 };
    (void)state;
    pea__prefix_table *table = pea__prefix_table_new(RANGES);
    pea_prefix range = {.family = PEA_ADDR_IPV4, .bits = 24};
    assert_non_null(table);
    unsigned placed = 0, early = 0;
    uint32_t first = 0;
    for (unsigned i = 0; i < 20000; i++) {
        range.ip[0] = (uint8_t)(i >> 8), range.ip[1] = (uint8_t)i;
        uint32_t place = pea__prefix_table_take(table, &range, (int64_t)i);
        if (i == 0)
            first = place;
        if (place != 0)
            atomic_fetch_add(&pea__prefix_table_at(table, place)->connections, 1);
        placed += place != 0;
        early += place != 0 && i < RANGES;
    }
    assert_int_equal(placed, PLACES);
    assert_true(early >= RANGES - 8); /* with as many as it was made for, few sets run over */
    range.ip[0] = range.ip[1] = 0;
    assert_int_equal(pea__prefix_table_take(table, &range, 30000), first);
    assert_int_equal(pea__prefix_table_others(table, &range), pea__prefix_table_beside(first));
    range.ip[2] = 0, range.ip[0] = 200, range.ip[1] = 200;
    assert_int_equal(pea__prefix_table_take(table, &range, 30000), 0);
    uint32_t others = pea__prefix_table_others(table, &range);
    assert_int_equal(pea__prefix_table_at(table, others)->prefix.family, PEA_ADDR_NONE);
    assert_int_equal(pea__prefix_table_beside(others), others);
    pea__prefix_table_free(table);
}

static void bans(void **state)
{
    net *n = *state;
    pea_prefix range, other, none = {.family = PEA_ADDR_NONE};
    pea_error why;
    serve(n, PEA_NODE(.name = "b"));
    check_ok(pea_prefix_parse(&range, "127.0.1.0/24", NULL));
    check_ok(pea_prefix_parse(&other, "127.0.0.0/16", NULL));
    check_ok(pea_node_ban(n->b.node, &range, PEA_NEVER));
    check_err(pea_node_ban(n->b.node, &none, PEA_NEVER), PEA_E_INVALID);
    check_err(pea_node_unban(n->b.node, &other), PEA_E_NOT_FOUND);
    assert_true(turned_away(n, from(n, 1, 7)));
    check_refused(n, PEA_REFUSED_BY_BAN, 1);
    assert_non_null(strstr(n->warning, "banned"));
    check_err(pea_node_connect(n->b.node, "127.0.1.9:1", NULL, NULL, &why), PEA_E_LIMIT); /* nor do we dial there */
    assert_non_null(strstr(why.text, "banned"));
    int fd = from(n, 2, 1);
    net_wait(n, n->b.accepts == 1);
    check_ok(pea_node_unban(n->b.node, &range));
    int again = from(n, 1, 7);
    net_wait(n, n->b.accepts == 2);
    check_ok(pea_node_ban(n->b.node, &range, 1)); /* over before long */
    while (n->b.accepts == 2) {
        uint64_t refused = net_refused(&n->b, PEA_REFUSED_BY_BAN);
        int knocks = from(n, 1, 8);
        net_wait(n, n->b.accepts == 3 || net_refused(&n->b, PEA_REFUSED_BY_BAN) > refused);
        close(knocks);
    }
    close(fd);
    close(again);
}

static pea_prefix range_of(const char *text)
{
    pea_prefix range;
    check_ok(pea_prefix_parse(&range, text, NULL));
    return range;
}

/* The i-th /24 of 10.0.0.0/8, or half of it. */
static pea_prefix network(unsigned i, uint8_t bits)
{
    return (pea_prefix){PEA_ADDR_IPV4, bits, {10, (uint8_t)(i >> 8), (uint8_t)i}};
}

/* As many bans as there may be: those that are over make place, also where nobody connects meanwhile. */
static void many_bans(void **state)
{
    enum { MOST = 4096 };
    net *n = *state;
    pea_prefix range, one_more = range_of("11.0.0.0/8");
    net_node(&n->a, PEA_NODE(.name = "a"));
    for (unsigned i = 0; i < MOST; i++) {
        range = network(i, 24);
        check_ok(pea_node_ban(n->a.node, &range, i % 2 == 0 ? 0 : PEA_NEVER));
    }
    check_ok(pea_node_ban(n->a.node, &one_more, PEA_NEVER));
    for (unsigned i = 0; i < MOST / 2 - 1; i++) {
        range = network(i, 25);
        check_ok(pea_node_ban(n->a.node, &range, PEA_NEVER));
    }
    range = range_of("2001:db8::/32");
    check_err(pea_node_ban(n->a.node, &range, PEA_NEVER), PEA_E_LIMIT);
    check_ok(pea_node_ban(n->a.node, &one_more, 0)); /* the same one, for another time */
    check_ok(pea_node_ban(n->a.node, &range, PEA_NEVER));
    range.bits = 129;
    check_err(pea_node_ban(n->a.node, &range, PEA_NEVER), PEA_E_INVALID);
}

/* A ban of any width holds for all who lie in it, and for nobody else; what one that is over left others may say. */
static void bans_of_all_widths(void **state)
{
    static const struct {
        const char *addr;
        bool banned;
    } cases[] = {
        {"10.1.2.3:1", true},        {"10.1.3.3:1", true},          {"10.2.0.0:1", false},
        {"192.0.2.7:1", true},       {"192.0.2.8:1", false},        {"[::ffff:10.1.2.3]:1", true},
        {"[2001:db8:1::9]:1", true}, {"[2001:db8:2:3::9]:1", true}, {"[2001:db8:2:4::9]:1", false},
        {"[2001:db8::1]:1", true},   {"[2001:db8::2]:1", false},    {"[::a01:203]:1", false},
        {"172.16.0.1:1", false},
    };
    static const char *const ranges[] = {"10.1.0.0/16", "192.0.2.7/32", "2001:db8:1::/48", "2001:db8:2:3::/64",
                                         "2001:db8::1/128"};
    net *n = *state;
    pea_prefix range;
    net_node(&n->a, PEA_NODE(.name = "a"));
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        range = range_of(ranges[i]);
        check_ok(pea_node_ban(n->a.node, &range, PEA_NEVER));
    }
    range = range_of("10.1.2.0/24");
    check_ok(pea_node_ban(n->a.node, &range, 0));
    range = range_of("172.16.0.0/12");
    check_ok(pea_node_ban(n->a.node, &range, 0));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pea_addr addr;
        check_ok(pea_addr_parse(&addr, cases[i].addr, NULL));
        assert_int_equal(pea__banned(n->a.node, &addr), cases[i].banned);
    }
    check_err(pea_node_unban(n->a.node, &range), PEA_E_NOT_FOUND);
}

/* ---- As admission sees them: addresses from everywhere ---- */

static pea_err come(const net *n, const pea_addr *addr, pea__origin *origin, pea_error *why)
{
    return pea__admission_take(n->b.node, n->chain, addr, true, origin, why);
}

static pea_addr address(const char *text)
{
    pea_addr addr;
    check_ok(pea_addr_parse(&addr, text, NULL));
    return addr;
}

/* As many as get in of addresses that lie in so many /24s of IPv4. */
static unsigned many_come(const net *n, unsigned first, unsigned networks, pea__origin *in)
{
    unsigned taken = 0;
    for (unsigned i = first; i < first + networks; i++) {
        pea_addr addr = {.family = PEA_ADDR_IPV4, .u.ip = {(uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i, 1}};
        taken += come(n, &addr, &in[taken], NULL) == PEA_OK;
    }
    return taken;
}

/* More ranges are connected than the table has places for: who finds none is counted all the same. And all places are
 * given back. */
static void who_finds_no_place(void **state)
{
    enum { MADE_FOR = 4096, MORE = 40000, HOSTILE = 50 };
    static pea__origin in[MORE], hostile[HOSTILE * 20];
    net *n = *state;
    pea_error why;
    net_node(&n->b, PEA_NODE(.max_per_ip = 1, .max_per_prefix = 4, .max_pending = PEA_UNLIMITED));
    for (int twice = 0; twice < 2; twice++) {
        unsigned taken = many_come(n, 0, MADE_FOR, in), got_in = 0, for_want_of_places = 0;
        assert_true(taken >= MADE_FOR - 8);
        taken += many_come(n, MADE_FOR, MORE - MADE_FOR, &in[taken]);
        assert_true(taken < MORE);
        for (unsigned i = 0; i < HOSTILE * 20; i++) {
            pea_addr addr = {.family = PEA_ADDR_IPV4, .u.ip = {200, 7, (uint8_t)(i / 20), 1}};
            if (come(n, &addr, &hostile[got_in], &why) == PEA_OK)
                got_in++;
            else
                for_want_of_places +=
                    strstr(why.text, "max_per_ip = 1 is reached: the table of ranges is full") != NULL;
        }
        assert_true(got_in <= HOSTILE);
        assert_true(for_want_of_places > HOSTILE * 20 / 2); /* which sets are full is the hash's to say */
        for (unsigned i = 0; i < taken; i++)
            pea__admission_gone(n->b.node, &in[i], false);
        for (unsigned i = 0; i < got_in; i++)
            pea__admission_gone(n->b.node, &hostile[i], false);
    }
}

/* A table is made for as many as there may be. */
static void a_table_for_few(void **state)
{
    enum { FEW = 10, CROWD = 5000 };
    static pea__origin in[CROWD];
    net *n = *state;
    net_node(&n->b, PEA_NODE(.max_per_ip = 1, .max_connections = FEW));
    size_t before = faults_bytes();
    assert_int_equal(many_come(n, 0, CROWD, in), FEW);
    assert_true(faults_bytes() - before < 8192);
    for (unsigned i = 0; i < FEW; i++)
        pea__admission_gone(n->b.node, &in[i], false);
}

static void no_memory_for_the_table(void **state)
{
    net *n = *state;
    pea__origin origin;
    pea_error why;
    pea_addr addr = address("192.0.2.1:1");
    net_node(&n->b, PEA_NODE(.max_per_ip = 1));
    faults_arm(0);
    check_err(come(n, &addr, &origin, &why), PEA_E_LIMIT);
    assert_true(faults_disarm());
    assert_non_null(strstr(why.text, "no memory"));
    check_refused(n, PEA_REFUSED_BY_MEMORY, 1);
    check_ok(come(n, &addr, &origin, &why));
    pea__admission_gone(n->b.node, &origin, false);
}

/* As many as get in of 256 addresses of 2001:db8:SITE::/48: in one /64, in one /56, all over it. */
static unsigned from_ipv6(const net *n, unsigned site, unsigned home, unsigned homes, unsigned nets, pea__origin *in,
                          pea_error *why)
{
    unsigned taken = 0;
    for (unsigned i = 0; i < 256; i++) {
        pea_addr addr = {.family = PEA_ADDR_IPV6, .u.ip = {0x20, 0x01, 0x0d, 0xb8, 0, (uint8_t)site}};
        addr.u.ip[6] = (uint8_t)(home + i % homes);
        addr.u.ip[7] = (uint8_t)(i % nets);
        addr.u.ip[15] = (uint8_t)(i + 1);
        taken += come(n, &addr, &in[taken], why) == PEA_OK;
    }
    return taken;
}

/* Who has a whole /48 may have 16 times what who has a /64 may, not 65,536 times. */
static void ranges_of_ipv6(void **state)
{
    net *n = *state;
    pea__origin in[256];
    pea_error why;
    unsigned taken = 0;
    net_node(&n->b, PEA_NODE(.max_per_prefix = 2, .max_per_ip = 2));
    taken += from_ipv6(n, 1, 0, 1, 1, &in[taken], &why);
    assert_int_equal(taken, 2);
    assert_non_null(strstr(why.text, "max_per_ip = 2 is reached")); /* an address is a /64 */
    taken += from_ipv6(n, 1, 0, 1, 256, &in[taken], &why);
    assert_int_equal(taken, 8);
    assert_non_null(strstr(why.text, "4 times max_per_prefix = 2 is reached in a /56"));
    taken += from_ipv6(n, 1, 0, 256, 256, &in[taken], &why);
    assert_int_equal(taken, 32);
    assert_non_null(strstr(why.text, "16 times max_per_prefix = 2 is reached in a /48"));
    taken += from_ipv6(n, 2, 0, 1, 1, &in[taken], &why);
    assert_int_equal(taken, 34);
    /* who presses is told by the widest: all of a /48 together */
    pea_conn a = {.origin = in[0]}, b = {.origin = in[31]}, c = {.origin = in[33]};
    assert_int_not_equal(a.origin.place, b.origin.place);
    assert_int_equal(pea__ranges_widest(n->b.node, &a), pea__ranges_widest(n->b.node, &b));
    assert_int_equal(pea__ranges_pending(n->b.node, pea__ranges_widest(n->b.node, &b)), 32);
    assert_int_equal(pea__ranges_pending(n->b.node, pea__ranges_widest(n->b.node, &c)), 2);
    pea__admission_ready(n->b.node, n->chain, &in[0]);
    assert_int_equal(pea__ranges_pending(n->b.node, pea__ranges_widest(n->b.node, &b)), 31);
    assert_true(pea__ranges_known(n->b.node, &in[7], pea__now_ms())); /* of the same /56 */
    assert_false(pea__ranges_known(n->b.node, &in[31], pea__now_ms()));
    for (unsigned i = 0; i < taken; i++)
        pea__admission_gone(n->b.node, &in[i], i == 0);
    assert_int_equal(from_ipv6(n, 1, 0, 256, 256, in, &why), 32);
    for (unsigned i = 0; i < 32; i++)
        pea__admission_gone(n->b.node, &in[i], false);
}

/* One /64 does not use up what its neighbours may have. */
static void rates_of_ipv6(void **state)
{
    net *n = *state;
    pea__origin in[3 * 256];
    pea_error why;
    unsigned taken = 0;
    net_node(&n->b, PEA_NODE(.prefix_rate = 1, .prefix_burst = 3));
    int64_t now = pea__now_ms();
    taken += from_ipv6(n, 1, 7, 1, 1, &in[taken], &why);
    unsigned more = (unsigned)(pea__now_ms() - now) / 1000 + 1; /* the clock goes on */
    assert_true(taken >= 3 && taken <= 3 + more);
    taken += from_ipv6(n, 1, 7, 1, 256, &in[taken], &why);
    more = (unsigned)(pea__now_ms() - now) / 1000 + 1;
    assert_true(taken >= 12 && taken <= 12 + 4 * more);
    taken += from_ipv6(n, 1, 0, 256, 256, &in[taken], &why);
    more = (unsigned)(pea__now_ms() - now) / 1000 + 1;
    assert_true(taken >= 48 && taken <= 48 + 16 * more);
    for (unsigned i = 0; i < taken; i++)
        pea__admission_gone(n->b.node, &in[i], false);
}

/* As wide as it is said, and no wider. */
static void other_ranges_of_ipv6(void **state)
{
    net *n = *state;
    pea__origin in[258];
    pea_error why;
    net_node(&n->b, PEA_NODE(.max_per_prefix = 2, .prefix_bits6 = {56}));
    assert_int_equal(from_ipv6(n, 1, 0, 1, 256, in, &why), 2);
    assert_int_equal(from_ipv6(n, 1, 1, 128, 256, &in[2], &why), 256);
    for (unsigned i = 0; i < 258; i++)
        pea__admission_gone(n->b.node, &in[i], false);
}

/* Strangers fill all places that they may have; our own dial has one all the same. */
static void places_for_dials(void **state)
{
    net *n = *state;
    char addr[PEA_ADDR_TEXT_BYTES];
    int fds[4], listener = net_raw_listen(4, addr);
    serve(n, PEA_NODE(.max_pending = 4, .reserved_pending = 1));
    for (unsigned i = 0; i < 3; i++)
        fds[i] = from(n, i, 1);
    net_wait(n, n->b.accepts == 3);
    check_ok(pea_node_connect(n->b.node, addr, NULL, NULL, NULL));
    pea_counts counts;
    pea_node_counts(n->b.node, &counts);
    assert_int_equal(counts.pending, 4);
    for (unsigned i = 0; i < 3; i++)
        close(fds[i]);
    net_wait(n, n->b.failures == 3);
    close(listener);
}

/* A flood from one range, and somebody from elsewhere who is slow: he is not the one who goes. */
static void the_busiest_makes_room(void **state)
{
    enum { PLACES = 16, FLOOD = 60 };
    net *n = *state;
    int slow, flood[FLOOD];
    serve(n, PEA_NODE(.max_pending = PLACES, .reserved_pending = 1, .max_per_ip = 1000));
    slow = from(n, 7, 7); /* the oldest of all */
    net_wait(n, n->b.accepts == 1);
    for (unsigned i = 0; i < FLOOD; i++) {
        flood[i] = from(n, 1, 1 + i);
        net_wait(n, n->b.accepts == i + 2);
    }
    pea_counts counts;
    pea_node_counts(n->b.node, &counts);
    assert_true(counts.pending <= PLACES);
    check_refused(n, PEA_REFUSED_BY_MAX_PENDING, FLOOD + 1 - (PLACES - 1));
    net_raw_open(n, slow);
    net_wait(n, n->b.connects == 1);
    for (unsigned i = 0; i < FLOOD; i++)
        close(flood[i]);
    close(slow);
    net_wait(n, n->b.failures == FLOOD && n->b.disconnects == 1);
}

/* A burst meets a node whose places are all taken: room is not made for one in each round of the loop, or whoever comes
 * behind a flood would not be met before the socket's queue is full. And who is READY is not even looked at. */
static void room_is_made_for_many(void **state)
{
    enum { PLACES = 65, BURST = 128 };
    net *n = *state;
    int fds[PLACES + BURST];
    unsigned opened = 0;
    serve(n, PEA_NODE(.max_pending = PLACES, .reserved_pending = 1, .max_per_ip = 1000));
    int ready = from(n, 7, 7);
    net_raw_open(n, ready);
    net_wait(n, n->b.connects == 1);
    assert_null(n->b.node->pending);
    while (opened < PLACES - 1)
        fds[opened++] = from(n, 1, 1);
    net_wait(n, n->b.accepts == PLACES);
    while (opened < PLACES - 1 + BURST) /* they lie in the queue: the loop does not turn */
        fds[opened++] = from(n, 1, 2);
    unsigned turns = 0; /* in which somebody was met */
    for (unsigned before = n->b.accepts; before < PLACES + BURST; before = n->b.accepts, turns++)
        net_wait(n, n->b.accepts > before);
    assert_true(turns <= BURST / 2);
    pea_counts counts;
    pea_node_counts(n->b.node, &counts);
    assert_true(counts.pending < PLACES);
    assert_int_equal(counts.ready, 1);
    for (unsigned i = 0; i < opened; i++)
        close(fds[i]);
    close(ready);
    net_wait(n, n->b.failures == opened && n->b.disconnects == 1);
    assert_null(n->b.node->pending);
}

/* Where there is no memory to ask who is to go, he is asked the next time. */
static void who_could_not_be_asked(void **state)
{
    static net n;
    static const uint8_t greeting[41] = {0xF1, 'p', 'e', 'a', 'p', 'o', 'd', 1, 1};
    uint8_t byte;
    pea_listener *listener;
    pea_counts counts;
    (void)state;
    net_setup_runtime(&n, PEA_NATIVE, PEA_RUNTIME(.workers = 1));
    check_ok(pea_node_new(&n.b.node, n.runtime, PEA_NODE(.chain = n.chain, .max_pending = 1), NULL));
    check_ok(pea_node_listen(n.b.node, "127.0.0.1:0", NULL, &listener, NULL));
    n.b.listener = listener;
    int fd = from(&n, 1, 1);
    net_raw_send(fd, greeting, sizeof greeting);
    assert_int_equal(net_raw_recv(&n, fd, &byte, 1, NULL), 1); /* its thread has nothing more to do */
    assert_true(pea__admission_full(n.b.node));
    faults_arm(0);
    assert_int_equal(pea__admission_make_room(n.b.node, 1), 0);
    assert_true(faults_disarm());
    assert_int_equal(pea__admission_make_room(n.b.node, 1), 1);
    net_wait(&n, (pea_node_counts(n.b.node, &counts), counts.pending == 0));
    check_refused(&n, PEA_REFUSED_BY_MAX_PENDING, 1);
    close(fd);
    pea_node_free(n.b.node);
    n.b.node = NULL;
    net_teardown(&n);
}

static void numbers_that_make_no_sense(void **state)
{
    net *n = *state;
    pea_node *node;
    pea_error why;
    check_err(pea_node_new(&node, n->runtime, PEA_NODE(.chain = n->chain, .prefix_bits4 = 33), &why), PEA_E_INVALID);
    check_err(pea_node_new(&node, n->runtime, PEA_NODE(.chain = n->chain, .prefix_bits6 = {129}), &why), PEA_E_INVALID);
    check_err(pea_node_new(&node, n->runtime, PEA_NODE(.chain = n->chain, .n_exempt = 1), &why), PEA_E_INVALID);
    check_err(
        pea_node_new(&node, n->runtime, PEA_NODE(.chain = n->chain, .max_pending = 3, .reserved_pending = 3), &why),
        PEA_E_INVALID);
    static const uint8_t widths[][3] = {{56, 64}, {64, 64}, {64, 0, 48}, {0, 56, 48}, {255}};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        pea_node_opts *o = PEA_NODE(.chain = n->chain);
        memcpy(o->prefix_bits6, widths[i], sizeof o->prefix_bits6);
        check_err(pea_node_new(&node, n->runtime, o, &why), PEA_E_INVALID);
    }
    /* the default of max_pending, 1,024, counts as well */
    check_err(pea_node_new(&node, n->runtime, PEA_NODE(.chain = n->chain, .reserved_pending = 1024), &why),
              PEA_E_INVALID);
    assert_string_equal(pea_refusal_name(PEA_REFUSED_BY_RATE), "prefix_rate");
    assert_string_equal(pea_refusal_name((pea_refusal)99), "?");
    net_node(&n->a, PEA_NODE(.name = "a"));
}

#define entry(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    faults_install();
    const struct CMUnitTest tests[] = {
        entry(by_ip),
        entry(by_prefix),
        entry(by_rate),
        cmocka_unit_test(a_bucket_fills),
        cmocka_unit_test(a_table_that_is_full),
        entry(bans),
        entry(many_bans),
        entry(bans_of_all_widths),
        entry(who_finds_no_place),
        entry(a_table_for_few),
        entry(no_memory_for_the_table),
        entry(ranges_of_ipv6),
        entry(rates_of_ipv6),
        entry(other_ranges_of_ipv6),
        entry(places_for_dials),
        entry(the_busiest_makes_room),
        entry(room_is_made_for_many),
        cmocka_unit_test(who_could_not_be_asked),
        entry(numbers_that_make_no_sense),
    };
    return cmocka_run_group_tests_name("admission", tests, NULL, NULL);
}
