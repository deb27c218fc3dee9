/* SPDX-License-Identifier: MIT */
/* The budget of messages that have begun and not ended: those who hold the most go, and nobody else is touched. */
#include "support/net.h"

#include <sys/socket.h>
#include <unistd.h>

enum { LIMIT = 1 << 20, PIECE = 20000, SMALL = 8 };

static int setup(void **state)
{
    static net n;
    net_setup_runtime(&n, PEA_STREAM, PEA_RUNTIME(.partial_limit = LIMIT));
    *state = &n;
    return 0;
}

static int setup_threads(void **state)
{
    static net n;
    net_setup_runtime(&n, PEA_STREAM, PEA_RUNTIME(.partial_limit = LIMIT, .workers = 2));
    *state = &n;
    return 0;
}

static int teardown(void **state)
{
    net_teardown(*state);
    return 0;
}

static pea_stats_node stats(const pea_node *node)
{
    pea_stats_node s;
    pea_node_stats(node, &s);
    return s;
}

/* Turns the loop until the node has read so much, or ended somebody more. */
static void until_read(net *n, const pea_node *node, uint64_t bytes, uint64_t ended)
{
    net_wait(n, stats(node).bytes_in >= bytes || stats(node).disconnects[PEA_BY_POLICY] > ended);
}

/* Begins a message of 4 MiB, and sends `pieces` of it, as long as it is let. */
static void send_some(net *n, const pea_node *node, int fd, unsigned pieces)
{
    static const uint8_t piece[PIECE];
    uint64_t ended = stats(node).disconnects[PEA_BY_POLICY];
    net_raw_send(fd, "\x00\x40\x00\x00", 4);
    for (unsigned i = 0; i < pieces && stats(node).disconnects[PEA_BY_POLICY] == ended; i++) {
        uint64_t had = stats(node).bytes_in;
        net_raw_send(fd, piece, sizeof piece);
        until_read(n, node, had + sizeof piece, ended);
    }
}

static void the_largest_goes(void **state)
{
    net *n = *state;
    static const uint8_t half[1000];
    int small[SMALL], large[2];
    net_node(&n->b, PEA_NODE(.name = "b"));
    net_listen(&n->b);
    for (unsigned i = 0; i < SMALL; i++) {
        small[i] = net_raw_connect(&n->b);
        net_raw_send(small[i], "\x00\x00\x07\xd0", 4);
        net_raw_send(small[i], half, sizeof half);
    }
    net_wait(n, stats(n->b.node).bytes_in == SMALL * (4 + sizeof half));
    for (unsigned i = 0; i < 2; i++) {
        large[i] = net_raw_connect(&n->b);
        send_some(n, n->b.node, large[i], 10); /* more than 128 KiB: its buffer has 512 */
    }
    net_wait(n, n->b.disconnects == 1);
    assert_int_equal(n->b.reason.origin, PEA_BY_POLICY);
    assert_int_equal(n->b.reason.err, PEA_E_LIMIT);
    assert_int_equal(n->b.reason.code, PEA_CODE_FULL);
    assert_non_null(strstr(n->b.reason.text, "partial_limit = 1048576"));
    assert_true(pea_runtime_memory(n->runtime) <= LIMIT);
    for (unsigned i = 0; i < SMALL; i++)
        net_raw_send(small[i], half, sizeof half);
    net_wait(n, n->b.messages == SMALL);
    assert_int_equal(n->b.disconnects, 1);
    for (unsigned i = 0; i < SMALL; i++)
        close(small[i]);
    close(large[0]);
    close(large[1]);
    net_wait(n, n->b.disconnects == SMALL + 2);
}

static void pause_it(net_side *side, pea_conn *conn, const uint8_t *data, size_t len)
{
    (void)side, (void)data, (void)len;
    pea_conn_pause(conn);
}

/* Whatever has ended counts no more: one after another may be as large as the budget allows. */
static void what_ended_is_forgotten(void **state)
{
    net *n = *state;
    net_node(&n->b, PEA_NODE(.name = "b"));
    net_listen(&n->b);
    for (unsigned i = 1; i <= 5; i++) {
        int fd = net_raw_connect(&n->b);
        send_some(n, n->b.node, fd, 10);
        close(fd);
        net_wait(n, n->b.disconnects == i);
        assert_int_equal(n->b.reason.err, PEA_E_TRUNCATED);
    }
}

static void look_again(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop, (void)timer, (void)events;
}

/* One worker has more than its share: that hurts nobody as long as all together have room. Then its own largest go. */
static void workers_share_it(void **state)
{
    net *n = *state;
    int fds[3];
    ev_timer beat; /* what happens on the workers does not wake this loop */
    ev_timer_init(&beat, look_again, 0.01, 0.01);
    ev_timer_start(n->loop, &beat);
    check_ok(pea_node_new(&n->b.node, n->runtime, PEA_NODE(.chain = n->chain), NULL));
    check_ok(pea_node_listen(n->b.node, "127.0.0.1:0", NULL, NULL, NULL));
    (void)pea_addr_format(pea_node_listen_addr(n->b.node), n->b.addr);
    for (unsigned i = 0; i < 3; i++) {
        fds[i] = net_raw_connect(&n->b);
        net_wait(n, stats(n->b.node).connects == i + 1);
    }
    send_some(n, n->b.node, fds[0], 10);
    send_some(n, n->b.node, fds[2], 10);
    net_wait(n, pea_runtime_memory(n->runtime) == LIMIT); /* two of one worker have all there is */
    assert_int_equal(stats(n->b.node).ready, 3);
    send_some(n, n->b.node, fds[1], 2); /* of the other worker, which stays below its share */
    net_wait(n, stats(n->b.node).disconnects[PEA_BY_POLICY] == 1);
    net_wait(n, stats(n->b.node).ready == 2); /* counted by its worker, one after the other */
    ev_timer_stop(n->loop, &beat);
    for (unsigned i = 0; i < 3; i++)
        close(fds[i]);
}

/* What waits since reading is paused is our own doing. How much of it is read at once is the system's to say. */
static void a_pause_is_not_held_against_them(void **state)
{
    net *n = *state;
    enum { MOST = 400 };
    int fds[MOST];
    unsigned many = 0;
    static const uint8_t messages[100000];
    net_node(&n->b, PEA_NODE(.name = "b"));
    net_listen(&n->b);
    n->b.on_message = pause_it;
    while (pea_runtime_memory(n->runtime) <= LIMIT) {
        assert_true(many < MOST);
        fds[many] = net_raw_connect(&n->b);
        assert_true(send(fds[many], messages, sizeof messages, MSG_DONTWAIT) > 0); /* many, all of them empty */
        many++;
        net_wait(n, n->b.messages == many);
    }
    net_poll(n);
    assert_int_equal(n->b.disconnects, 0);
    for (unsigned i = 0; i < many; i++)
        close(fds[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_largest_goes, setup, teardown),
        cmocka_unit_test_setup_teardown(what_ended_is_forgotten, setup, teardown),
        cmocka_unit_test_setup_teardown(workers_share_it, setup_threads, teardown),
        cmocka_unit_test_setup_teardown(a_pause_is_not_held_against_them, setup, teardown),
    };
    return cmocka_run_group_tests_name("partial", tests, NULL, NULL);
}
