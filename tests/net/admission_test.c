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
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7F000000u | network << 8 | host)};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    to.sin_port = htons(pea_listener_addr(n->b.listener)->port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
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

static void a_bucket_fills(void **state)
{
    pea__prefix_slot slot = {.filled_ms = INT64_MIN};
    (void)state;
    for (int i = 0; i < 5; i++)
        assert_true(pea__prefix_slot_token(&slot, 10, 5, 1000));
    assert_false(pea__prefix_slot_token(&slot, 10, 5, 1000));
    assert_false(pea__prefix_slot_token(&slot, 10, 5, 1099));
    assert_true(pea__prefix_slot_token(&slot, 10, 5, 1100)); /* one in 100 ms */
    assert_false(pea__prefix_slot_token(&slot, 10, 5, 1101));
    for (int i = 0; i < 5; i++)
        assert_true(pea__prefix_slot_token(&slot, 10, 5, INT64_C(1) << 40)); /* never more than it holds */
    assert_false(pea__prefix_slot_token(&slot, 10, 5, INT64_C(1) << 40));
    assert_true(pea__prefix_slot_token(&slot, UINT32_MAX - 2, 5, INT64_MAX / 2));
}

/* More ranges than there are places: those that have connections keep theirs. */
static void a_table_that_is_full(void **state)
{
    (void)state;
    pea__prefix_table *table = pea__prefix_table_new();
    pea_prefix range = {.family = PEA_ADDR_IPV4, .bits = 24};
    assert_non_null(table);
    unsigned placed = 0;
    uint16_t first = 0;
    for (unsigned i = 0; i < 20000; i++) {
        range.ip[0] = (uint8_t)(i >> 8), range.ip[1] = (uint8_t)i;
        uint16_t place = pea__prefix_table_take(table, &range, (int64_t)i);
        if (i == 0)
            first = place;
        if (place != 0)
            atomic_fetch_add(&pea__prefix_table_at(table, place)->connections, 1);
        placed += place != 0;
    }
    assert_int_equal(placed, 512);
    range.ip[0] = range.ip[1] = 0;
    assert_int_equal(pea__prefix_table_take(table, &range, 30000), first);
    range.ip[2] = 0, range.ip[0] = 200, range.ip[1] = 200;
    assert_int_equal(pea__prefix_table_take(table, &range, 30000), 0);
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
        {"10.1.2.3:1", true},          {"10.1.3.3:1", true},          {"10.2.0.0:1", false},
        {"192.0.2.7:1", true},         {"192.0.2.8:1", false},        {"[::ffff:10.1.2.3]:1", true},
        {"[2001:db8:1::9]:1", true},   {"[2001:db8:2:3::9]:1", true}, {"[2001:db8:2:4::9]:1", false},
        {"[2001:db8::1]:1", true},     {"[2001:db8::2]:1", false},    {"[::a01:203]:1", false},
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
    unsigned turns = 0;
    for (; n->b.accepts < PLACES + BURST && turns <= BURST / 2; turns++)
        net_poll(n);
    assert_int_equal(n->b.accepts, PLACES + BURST);
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
    check_err(pea_node_new(&node, n->runtime, PEA_NODE(.chain = n->chain, .prefix_bits6 = 129), &why), PEA_E_INVALID);
    check_err(pea_node_new(&node, n->runtime, PEA_NODE(.chain = n->chain, .n_exempt = 1), &why), PEA_E_INVALID);
    check_err(
        pea_node_new(&node, n->runtime, PEA_NODE(.chain = n->chain, .max_pending = 3, .reserved_pending = 3), &why),
        PEA_E_INVALID);
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
        entry(places_for_dials),
        entry(the_busiest_makes_room),
        entry(room_is_made_for_many),
        cmocka_unit_test(who_could_not_be_asked),
        entry(numbers_that_make_no_sense),
    };
    return cmocka_run_group_tests_name("admission", tests, NULL, NULL);
}
