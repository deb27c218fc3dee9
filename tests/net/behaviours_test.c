/* SPDX-License-Identifier: MIT */
/* What users of the Rust crate pea2pea know a node to do, one test for each behaviour that its own suite shows, by the
 * same names. Those of listeners, sockets and statistics are in listen_test.c (listener_toggling, custom_socket) and
 * stats_test.c (message_stats, node_stats_survive_a_disconnect), those of topologies in shapes_test.c. */
#include "support/faults.h"
#include "support/net.h"

#include <sys/socket.h>
#include <unistd.h>

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
    assert_int_equal(faults_blocks(), 0);
    return 0;
}

static pea_counts counts(const net_side *side)
{
    pea_counts now;
    pea_node_counts(side->node, &now);
    return now;
}

/* Two nodes; b, with these options, listens. */
static void nodes(net *n, pea_node_opts *of_b)
{
    net_node(&n->a, PEA_NODE(.name = "a"));
    net_node(&n->b, of_b);
    net_listen(&n->b);
}

/* ---- Coming and going ---- */

static void connect_and_disconnect(void **state)
{
    net *n = *state;
    net_pair(n);
    assert_int_equal(counts(&n->a).ready + counts(&n->b).ready, 2);
    pea_conn_close(n->a.conn, PEA_CODE_NORMAL, NULL);
    net_wait(n, n->a.disconnects == 1 && n->b.disconnects == 1);
    assert_int_equal(counts(&n->a).connections + counts(&n->b).connections, 0);
}

static void disconnect_isolates_the_peer(void **state)
{
    net *n = *state;
    net_pair(n);
    pea_addr there = *pea_conn_remote(n->a.conn);
    pea_conn_close(n->a.conn, PEA_CODE_NORMAL, NULL);
    check_err(pea_conn_send(n->a.conn, "too late", 8), PEA_E_STATE);
    net_wait(n, n->a.disconnects == 1 && n->b.disconnects == 1);
    assert_null(pea_node_find_addr(n->a.node, &there));
    assert_int_equal(n->b.messages, 0);
}

static void on_disconnect_on_both_sides(void **state)
{
    net *n = *state;
    net_pair(n);
    pea_conn_abort(n->b.conn);
    net_wait(n, n->a.disconnects == 1 && n->b.disconnects == 1);
    assert_int_equal(n->a.disconnects, n->a.connects);
}

static void origin_is_right(void **state)
{
    net *n = *state;
    net_pair(n);
    pea_conn_close(n->a.conn, PEA_CODE_NORMAL, NULL);
    net_wait(n, n->a.disconnects == 1 && n->b.disconnects == 1);
    assert_int_equal(n->a.reason.origin, PEA_BY_USER);
    assert_int_equal(n->b.reason.origin, PEA_BY_PEER);
    net_meet(n);
    check_ok(pea_node_shutdown(n->b.node, 0, NULL, NULL));
    net_wait(n, n->a.disconnects == 2 && n->b.disconnects == 2);
    assert_int_equal(n->b.reason.origin, PEA_BY_SHUTDOWN);
    assert_int_equal(n->a.reason.origin, PEA_BY_PEER);
}

static void side_is_right(void **state)
{
    net *n = *state;
    net_pair(n);
    assert_int_equal(pea_conn_side(n->a.conn), PEA_INITIATOR);
    assert_int_equal(pea_conn_side(n->b.conn), PEA_RESPONDER);
}

static void send_first(net_side *side, pea_conn *conn)
{
    (void)side;
    check_ok(pea_conn_send(conn, "first", 5));
}

static void must_be_connected(net_side *side, pea_conn *conn, const uint8_t *data, size_t len)
{
    (void)conn, (void)data, (void)len;
    assert_int_equal(side->connects, 1);
}

static void on_connect_before_messages(void **state)
{
    net *n = *state;
    n->a.on_connect = n->b.on_connect = send_first;
    n->a.on_message = n->b.on_message = must_be_connected;
    net_pair(n);
    net_wait(n, n->a.messages == 1 && n->b.messages == 1);
}

/* ---- Looking in ---- */

static void connecting_is_observable(void **state)
{
    net *n = *state;
    uint64_t id;
    nodes(n, PEA_NODE(.name = "b"));
    id = net_dial(&n->a, &n->b);
    assert_int_equal(counts(&n->a).pending, 1);
    assert_int_equal(counts(&n->a).ready, 0);
    assert_true(pea_conn_state(pea_node_find(n->a.node, id)) < PEA_READY);
    net_wait(n, n->a.connects == 1);
    assert_int_equal(counts(&n->a).pending, 0);
    assert_int_equal(counts(&n->a).ready, 1);
}

static bool count_ready(pea_conn *conn, void *arg)
{
    *(unsigned *)arg += pea_conn_state(conn) == PEA_READY;
    return true;
}

static uint64_t surveyed[8];

static void on_survey(void *arg, const pea_conn_info *infos, size_t n, pea_err err)
{
    check_ok(err);
    *(size_t *)arg = n;
    for (size_t i = 0; i < n && i < 8; i++)
        surveyed[i] = infos[i].id;
}

static void state_views_stay_consistent(void **state)
{
    net *n = *state;
    size_t infos = 0;
    net_pair(n);
    for (unsigned i = 2; i <= 5; i++) {
        unsigned seen = 0;
        net_meet(n);
        pea_node_each(n->a.node, count_ready, &seen);
        assert_int_equal(seen, i);
        assert_int_equal(counts(&n->a).ready, i);
        assert_ptr_equal(pea_node_find(n->a.node, pea_conn_id(n->a.conn)), n->a.conn);
        assert_non_null(pea_node_find_addr(n->a.node, pea_conn_remote(n->a.conn)));
        check_ok(pea_node_survey(n->a.node, on_survey, &infos));
        net_wait(n, infos == i);
        assert_int_equal(surveyed[0], pea_conn_id(n->a.conn)); /* the newest comes first */
    }
}

static void two_way_works(void **state)
{
    net *n = *state;
    nodes(n, PEA_NODE(.name = "b"));
    net_listen(&n->a);
    net_dial(&n->a, &n->b);
    net_dial(&n->b, &n->a);
    net_wait(n, n->a.connects == 2 && n->b.connects == 2); /* each has dialled the other, and they are two */
    assert_int_equal(counts(&n->a).ready, 2);
}

/* ---- Dials that must not be ---- */

static void self_connection_fails(void **state)
{
    net *n = *state;
    net_node(&n->a, PEA_NODE(.name = "a"));
    net_listen(&n->a);
    check_err(pea_node_connect(n->a.node, n->a.addr, NULL, NULL, NULL), PEA_E_INVALID);
    assert_int_equal(counts(&n->a).connections, 0);
}

static void duplicate_fails(void **state)
{
    net *n = *state;
    net_pair(n);
    check_err(pea_node_connect(n->a.node, n->b.addr, NULL, NULL, NULL), PEA_E_EXISTS);
    assert_int_equal(counts(&n->a).connections, 1);
}

static void overlapping_duplicate_attempts_fail(void **state)
{
    net *n = *state;
    nodes(n, PEA_NODE(.name = "b"));
    check_ok(pea_node_connect(n->a.node, n->b.addr, NULL, NULL, NULL));
    for (int i = 0; i < 5; i++) /* the first is on its way */
        check_err(pea_node_connect(n->a.node, n->b.addr, NULL, NULL, NULL), PEA_E_EXISTS);
    net_wait(n, n->a.connects == 1 && n->b.connects == 1);
    assert_int_equal(counts(&n->b).connections, 1);
}

static void unknown_address(void **state)
{
    net *n = *state;
    char nobody[PEA_ADDR_TEXT_BYTES];
    int bound = net_raw_nobody(nobody);
    net_node(&n->a, PEA_NODE(.name = "a"));
    check_ok(pea_node_connect(n->a.node, nobody, NULL, NULL, NULL));
    net_wait(n, n->a.failures == 1);
    pea_addr there;
    check_ok(pea_addr_parse(&there, nobody, NULL));
    assert_null(pea_node_find_addr(n->a.node, &there));
    assert_null(pea_node_find(n->a.node, 12345));
    close(bound);
}

static void connection_timeout(void **state)
{
    net *n = *state;
    char addr[PEA_ADDR_TEXT_BYTES];
    int full = net_raw_listen(0, addr);
    net_node(&n->a, PEA_NODE(.connect_timeout_ms = 100, .handshake_timeout_ms = 100));
    check_ok(pea_node_connect(n->a.node, addr, NULL, NULL, NULL)); /* nobody ever says a word there */
    net_wait(n, n->a.failures == 1);
    assert_int_equal(n->a.reason.err, PEA_E_TIMEOUT);
    close(full);
}

/* ---- Limits ---- */

static void limits_reject_on_both_sides(void **state)
{
    net *n = *state;
    net_node(&n->a, PEA_NODE(.max_connections = 2));
    net_node(&n->b, PEA_NODE(.max_connections = 1));
    net_listen(&n->b);
    net_meet(n);
    net_dial(&n->a, &n->b); /* b is full */
    net_wait(n, n->a.failures == 1);
    assert_int_equal(net_refused(&n->b, PEA_REFUSED_BY_MAX_CONNECTIONS), 1);
    char silent[PEA_ADDR_TEXT_BYTES];
    int fd = net_raw_listen(4, silent);
    check_ok(pea_node_connect(n->a.node, silent, NULL, NULL, NULL));
    check_err(pea_node_connect(n->a.node, silent, PEA_DIAL(.again = true), NULL, NULL), PEA_E_LIMIT); /* and so is a */
    assert_int_equal(net_refused(&n->a, PEA_REFUSED_BY_MAX_CONNECTIONS), 1);
    close(fd);
}

static void per_ip_is_distinct(void **state)
{
    net *n = *state;
    nodes(n, PEA_NODE(.max_per_ip = 1));
    net_meet(n);
    net_dial(&n->a, &n->b);
    net_wait(n, n->a.failures == 1);
    assert_int_equal(net_refused(&n->b, PEA_REFUSED_BY_MAX_PER_IP), 1);
    assert_int_equal(net_refused(&n->b, PEA_REFUSED_BY_MAX_CONNECTIONS), 0);
}

static void no_race_past_max_connections(void **state)
{
    net *n = *state;
    enum { MOST = 5, DIALS = 40 };
    nodes(n, PEA_NODE(.max_connections = MOST));
    for (int i = 0; i < DIALS; i++)
        net_dial(&n->a, &n->b);
    net_wait(n, n->b.connects == MOST && n->a.failures == DIALS - MOST);
    assert_int_equal(counts(&n->b).connections, MOST);
}

static void max_connecting_rejects(void **state)
{
    net *n = *state;
    char silent[PEA_ADDR_TEXT_BYTES];
    int fd = net_raw_listen(8, silent);
    net_node(&n->a, PEA_NODE(.max_pending = 2, .reserved_pending = 1));
    for (int i = 0; i < 2; i++)
        check_ok(pea_node_connect(n->a.node, silent, PEA_DIAL(.again = true), NULL, NULL));
    check_err(pea_node_connect(n->a.node, silent, PEA_DIAL(.again = true), NULL, NULL), PEA_E_LIMIT);
    close(fd);
}

/* ---- Handshakes ---- */

static void handshake_guards_connect(void **state)
{
    net *n = *state;
    nodes(n, PEA_NODE(.name = "b"));
    int fd = net_raw_connect(&n->b);
    net_wait(n, counts(&n->b).pending == 1);
    net_poll(n);
    assert_int_equal(n->b.connects, 0); /* it has a socket, and is nobody yet */
    net_raw_open(n, fd);
    net_wait(n, n->b.connects == 1);
    close(fd);
}

static void failed_handshake_blocks_reading_and_writing_and_releases_its_slot(void **state)
{
    net *n = *state;
    nodes(n, PEA_NODE(.name = "b"));
    int fd = net_raw_connect(&n->b);
    net_wait(n, counts(&n->b).pending == 1);
    net_raw_send(fd, "GET / HTTP/1.1\r\n\r\n", 18);
    net_wait(n, n->b.failures == 1);
    assert_int_equal(n->b.connects + n->b.messages, 0);
    assert_int_equal(counts(&n->b).connections, 0);
    assert_int_equal(counts(&n->b).pending, 0);
    close(fd);
    net_meet(n); /* the place is free */
}

static void spam_of_silent_connections_times_out(void **state)
{
    net *n = *state;
    enum { SPAM = 30 };
    int fds[SPAM];
    nodes(n, PEA_NODE(.handshake_timeout_ms = 150)); /* for those who say nothing */
    for (int i = 0; i < SPAM; i++)
        fds[i] = net_raw_connect(&n->b);
    net_wait(n, n->b.failures == SPAM);
    assert_int_equal(n->b.reason.origin, PEA_BY_TIMEOUT);
    assert_int_equal(counts(&n->b).connections, 0);
    for (int i = 0; i < SPAM; i++)
        close(fds[i]);
    net_hurry(&n->b, 20000);
    net_meet(n);
}

/* ---- Messages ---- */

static void drops_without_backpressure(void **state)
{
    net *n = *state;
    nodes(n, PEA_NODE(.inbound_overflow = PEA_OVERFLOW_DROP));
    net_meet(n);
    pea_conn_pause(n->b.conn);
    for (int i = 0; i < 10; i++)
        check_ok(pea_conn_send(n->a.conn, "lost", 4));
    pea_stats_node stats;
    net_wait(n, (pea_node_stats(n->b.node, &stats), stats.dropped == 10));
    assert_int_equal(n->b.messages, 0);
}

static void outbound_saturation(void **state)
{
    net *n = *state;
    static const uint8_t block[50000];
    net_pair(n);
    unsigned taken = 0;
    while (pea_conn_send(n->a.conn, block, sizeof block) == PEA_OK)
        taken++;
    check_err(pea_conn_send(n->a.conn, block, sizeof block), PEA_E_QUEUE_FULL);
    net_wait(n, n->a.drains == 1 && n->b.messages == taken); /* nothing that was taken is lost */
    check_ok(pea_conn_send(n->a.conn, block, sizeof block));
    net_wait(n, n->b.messages == taken + 1);
}

static void idle_timeout_and_its_never(void **state)
{
    net *n = *state;
    nodes(n, PEA_NODE(.idle_timeout_ms = 100));
    net_meet(n);
    net_wait(n, n->b.disconnects == 1);
    assert_int_equal(n->b.reason.origin, PEA_BY_TIMEOUT);
    net_wait(n, n->a.disconnects == 1); /* which would have waited for ever */
    assert_int_equal(n->a.reason.origin, PEA_BY_PEER);
}

static void on_sent(void *arg, pea_err err)
{
    *(pea_err *)arg = err;
}

static void write_timeout_reaches_the_confirmation(void **state)
{
    net *n = *state;
    static const uint8_t block[60000];
    pea_msg *msg;
    pea_err last = PEA_OK;
    net_node(&n->a, PEA_NODE(.write_timeout_ms = 150));
    net_listen(&n->a);
    int fd = net_raw_connect(&n->a);
    net_raw_open(n, fd);
    net_wait(n, n->a.connects == 1);
    check_ok(pea_msg_new(&msg, block, sizeof block));
    net_clock_start(n);
    while (n->a.disconnects == 0) {
        while (n->a.conn != NULL && pea_conn_send_msg(n->a.conn, msg, on_sent, &last) == PEA_OK)
            continue;
        net_turn(n, "the write timeout", __FILE__, __LINE__);
    }
    net_clock_stop(n);
    pea_msg_unref(msg);
    assert_int_equal(last, PEA_E_TIMEOUT);
    close(fd);
}

static void broadcast(void **state)
{
    net *n = *state;
    pea_msg *msg;
    net_pair(n);
    for (int i = 0; i < 4; i++)
        net_meet(n);
    check_ok(pea_msg_new(&msg, "hear, hear", 10));
    check_ok(pea_node_broadcast(n->a.node, msg, NULL, NULL, NULL));
    pea_msg_unref(msg);
    net_wait(n, n->b.messages == 5);
}

/* ---- Shutdown ---- */

static void shutdown_closes_the_listener_and_clears_state(void **state)
{
    net *n = *state;
    net_pair(n);
    check_ok(pea_node_shutdown(n->b.node, 0, NULL, NULL));
    assert_null(pea_node_listen_addr(n->b.node));
    net_wait(n, n->a.disconnects == 1 && n->b.disconnects == 1);
    assert_int_equal(counts(&n->b).connections, 0);
    assert_int_equal(counts(&n->b).listeners, 0);
    net_dial(&n->a, &n->b);
    net_wait(n, n->a.failures == 1);
}

static void count_done(void *arg)
{
    ++*(unsigned *)arg;
}

static void shutdown_idempotent(void **state)
{
    net *n = *state;
    unsigned done = 0;
    net_pair(n);
    for (int i = 0; i < 3; i++)
        check_ok(pea_node_shutdown(n->b.node, 0, count_done, &done));
    net_wait(n, done == 3 && n->a.disconnects == 1);
    assert_int_equal(n->b.disconnects, 1);
    check_ok(pea_node_shutdown(n->b.node, 0, count_done, &done));
    net_wait(n, done == 4);
}

static void connect_after_shutdown(void **state)
{
    net *n = *state;
    nodes(n, PEA_NODE(.name = "b"));
    check_ok(pea_node_shutdown(n->a.node, 0, NULL, NULL));
    check_err(pea_node_connect(n->a.node, n->b.addr, NULL, NULL, NULL), PEA_E_STATE);
    check_err(pea_node_listen(n->a.node, "127.0.0.1:0", NULL, NULL, NULL), PEA_E_STATE);
}

#define entry(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    faults_install();
    const struct CMUnitTest tests[] = {
        entry(connect_and_disconnect),
        entry(disconnect_isolates_the_peer),
        entry(on_disconnect_on_both_sides),
        entry(origin_is_right),
        entry(side_is_right),
        entry(on_connect_before_messages),
        entry(connecting_is_observable),
        entry(state_views_stay_consistent),
        entry(two_way_works),
        entry(self_connection_fails),
        entry(duplicate_fails),
        entry(overlapping_duplicate_attempts_fail),
        entry(unknown_address),
        entry(connection_timeout),
        entry(limits_reject_on_both_sides),
        entry(per_ip_is_distinct),
        entry(no_race_past_max_connections),
        entry(max_connecting_rejects),
        entry(handshake_guards_connect),
        entry(failed_handshake_blocks_reading_and_writing_and_releases_its_slot),
        entry(spam_of_silent_connections_times_out),
        entry(drops_without_backpressure),
        entry(outbound_saturation),
        entry(idle_timeout_and_its_never),
        entry(write_timeout_reaches_the_confirmation),
        entry(broadcast),
        entry(shutdown_closes_the_listener_and_clears_state),
        entry(shutdown_idempotent),
        entry(connect_after_shutdown),
    };
    return cmocka_run_group_tests_name("behaviours", tests, NULL, NULL);
}
