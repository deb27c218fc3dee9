/* SPDX-License-Identifier: MIT */
/* What connections and nodes have counted: it fits what happened, it survives connections, and any thread may ask. */
#include "support/net.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "peapod/stats.h"

static int setup(void **state)
{
    static net n;
    net_setup(&n, PEA_NATIVE);
    *state = &n;
    return 0;
}

static int setup_small(void **state)
{
    static net n;
    net_setup_runtime(&n, PEA_NATIVE, PEA_RUNTIME(.memory_limit = 8192));
    *state = &n;
    return 0;
}

static int setup_workers(void **state)
{
    static net n;
    net_setup_runtime(&n, PEA_NATIVE, PEA_RUNTIME(.workers = 2));
    *state = &n;
    return 0;
}

static int teardown(void **state)
{
    net_teardown(*state);
    return 0;
}

static pea_stats_node stats(const net_side *side)
{
    pea_stats_node s;
    memset(&s, 0xEE, sizeof s);
    pea_node_stats(side->node, &s);
    return s;
}

static pea_stats_conn conn_stats(const pea_conn *conn)
{
    pea_stats_conn s;
    memset(&s, 0xEE, sizeof s);
    pea_conn_stats(conn, &s);
    return s;
}

static uint64_t sum(const uint64_t *n, size_t count)
{
    uint64_t all = 0;
    for (size_t i = 0; i < count; i++)
        all += n[i];
    return all;
}

/* Every connection that began is pending, or failed, or was connected; and who was, is or was disconnected. */
static void check_balance(const pea_stats_node *s)
{
    assert_int_equal(s->accepted + s->dialled, s->pending + s->connects + sum(s->failures, PEA_ORIGINS));
    assert_int_equal(s->connects, s->ready + sum(s->disconnects, PEA_ORIGINS));
    assert_int_equal(s->connections, s->pending + s->ready);
}

/* ---- Connections ---- */

static void message_stats(void **state)
{
    net *n = *state;
    n->b.echo = true;
    net_pair(n);
    for (int i = 0; i < 10; i++)
        check_ok(pea_conn_send(n->a.conn, "hello", 5));
    assert_int_equal(conn_stats(n->a.conn).queued, pea_conn_queued(n->a.conn));
    assert_true(conn_stats(n->a.conn).queued >= 50);
    net_wait(n, n->a.messages == 10);
    pea_stats_conn a = conn_stats(n->a.conn), b = conn_stats(n->b.conn);
    assert_int_equal(a.messages_out, 10);
    assert_int_equal(a.messages_in, 10);
    assert_int_equal(b.messages_in, 10);
    assert_int_equal(b.messages_out, 10);
    assert_int_equal(a.bytes_in, b.bytes_out);
    assert_int_equal(a.bytes_out, b.bytes_in);
    assert_true(a.bytes_out > 50);
    assert_int_equal(a.queued, 0);
    assert_true(a.queued_most >= 50);
    assert_true(a.age_ms < 3600000 && a.silent_ms <= a.age_ms);
    assert_int_equal(a.queue_full + a.pauses, 0);
    pea_stats_node s = stats(&n->a);
    assert_int_equal(s.messages_in, 10);
    assert_int_equal(s.messages_out, 10);
    assert_int_equal(s.bytes_in, a.bytes_in);
    assert_int_equal(s.bytes_out, a.bytes_out);
    assert_int_equal(s.dialled, 1);
    assert_int_equal(s.accepted, 0);
    assert_int_equal(stats(&n->b).accepted, 1);
    assert_int_equal(stats(&n->b).listeners, 1);
    check_balance(&s);
}

static void what_was_refused_and_paused(void **state)
{
    net *n = *state;
    static uint8_t zeros[1000];
    net_node(&n->a, PEA_NODE(.high_water = 4000, .low_water = 100));
    net_node(&n->b, PEA_NODE(.name = "b"));
    net_listen(&n->b);
    net_meet(n);
    unsigned taken = 0;
    while (pea_conn_send(n->a.conn, zeros, sizeof zeros) == PEA_OK)
        taken++;
    check_err(pea_conn_send(n->a.conn, zeros, sizeof zeros), PEA_E_QUEUE_FULL);
    pea_stats_conn a = conn_stats(n->a.conn);
    assert_int_equal(a.messages_out, taken);
    assert_int_equal(a.queue_full, 2);
    assert_true(a.queued_most >= taken * sizeof zeros && a.queued_most <= 4000 + 100);
    assert_int_equal(stats(&n->a).queue_full, 2);
    net_wait(n, n->a.drains == 1);
    assert_int_equal(conn_stats(n->a.conn).queued, 0);
    assert_int_equal(conn_stats(n->a.conn).queued_most, a.queued_most);
    pea_conn_pause(n->b.conn);
    pea_conn_pause(n->b.conn); /* it is paused already */
    pea_conn_resume(n->b.conn);
    pea_conn_pause(n->b.conn);
    assert_int_equal(conn_stats(n->b.conn).pauses, 2);
    assert_int_equal(stats(&n->b).pauses, 2);
    pea_conn_resume(n->b.conn);
    net_wait(n, n->b.messages == taken);
    assert_int_equal(stats(&n->a).messages_out, taken);
}

/* ---- Nodes ---- */

static uint64_t seen_in, seen_ends; /* what the node's stats were inside of on_disconnect */

static void look(net_side *side, pea_conn *conn)
{
    pea_stats_node s = stats(side);
    seen_in = s.messages_in;
    seen_ends = s.disconnects[PEA_BY_PEER];
    assert_int_equal(conn_stats(conn).messages_in, 3);
}

static void node_stats_survive_a_disconnect(void **state)
{
    net *n = *state;
    n->b.on_disconnect = look;
    net_pair(n);
    for (int i = 0; i < 3; i++)
        check_ok(pea_conn_send(n->a.conn, "hello", 5));
    pea_conn_close(n->a.conn, 0, NULL); /* messages and end come as one batch */
    net_wait(n, n->a.disconnects == 1 && n->b.disconnects == 1);
    assert_int_equal(seen_in, 3);
    assert_int_equal(seen_ends, 1);
    pea_stats_node before = stats(&n->b), a = stats(&n->a);
    assert_int_equal(before.connections, 0);
    assert_int_equal(before.messages_in, 3);
    assert_int_equal(before.bytes_in, a.bytes_out);
    assert_int_equal(a.messages_out, 3);
    assert_int_equal(a.disconnects[PEA_BY_USER], 1);
    n->b.on_disconnect = NULL;
    net_meet(n);
    check_ok(pea_conn_send(n->a.conn, "hello", 5));
    net_wait(n, n->b.messages == 4);
    pea_stats_node after = stats(&n->b);
    assert_int_equal(after.messages_in, 4);
    assert_int_equal(after.connects, 2);
    assert_true(after.bytes_in > before.bytes_in);
    check_balance(&before);
    check_balance(&after);
}

static void ends_by_origin(void **state)
{
    net *n = *state;
    net_node(&n->a, PEA_NODE(.name = "a"));
    net_node(&n->b, PEA_NODE(.linger_ms = 20));
    net_listen(&n->b);
    net_meet(n);
    pea_conn_abort(n->a.conn);
    net_wait(n, n->a.disconnects == 1 && n->b.disconnects == 1);
    net_hurry(&n->b, 20);
    int silent = net_raw_connect(&n->b); /* says nothing */
    net_wait(n, n->b.failures == 1);
    net_hurry(&n->b, 20000);
    int rude = net_raw_connect(&n->b); /* is no peapod */
    net_raw_send(rude, "GET / HTTP/1.1\r\n\r\n", 18);
    net_wait(n, n->b.failures == 2);
    pea_stats_node b = stats(&n->b);
    assert_int_equal(b.accepted, 3);
    assert_int_equal(b.failures[PEA_BY_TIMEOUT], 1);
    assert_int_equal(b.handshake_timeouts, 1);
    assert_int_equal(b.connect_timeouts, 0);
    assert_int_equal(b.failures[PEA_BY_HANDSHAKE], 1);
    assert_int_equal(sum(b.failures, PEA_ORIGINS), 2);
    assert_int_equal(sum(b.disconnects, PEA_ORIGINS), 1);
    assert_int_equal(stats(&n->a).disconnects[PEA_BY_USER], 1);
    close(silent);
    close(rude);
    net_meet(n);
    check_ok(pea_node_shutdown(n->b.node, 0, NULL, NULL));
    net_wait(n, n->a.disconnects == 2 && n->b.disconnects == 2);
    b = stats(&n->b);
    assert_int_equal(b.disconnects[PEA_BY_SHUTDOWN], 1);
    assert_int_equal(b.listeners, 0);
    check_balance(&b);
}

#define FILLERS 8

/* As in deadline_test: a listener that accepts nobody and whose queue is full. */
static void connect_timeouts(void **state)
{
    net *n = *state;
    int fillers[FILLERS];
    int listener = net_raw_listen(0, n->b.addr);
    net_node(&n->a, PEA_NODE(.connect_timeout_ms = 50));
    for (size_t i = 0; i < FILLERS; i++) {
        struct sockaddr_storage at;
        socklen_t len = sizeof at;
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
        (void)!connect(fillers[i], (const struct sockaddr *)&at, len);
    }
    net_dial(&n->a, &n->b);
    net_wait(n, n->a.failures == 1);
    pea_stats_node a = stats(&n->a);
    assert_int_equal(a.connect_timeouts, 1);
    assert_int_equal(a.handshake_timeouts, 0);
    assert_int_equal(a.failures[PEA_BY_TIMEOUT], 1);
    check_balance(&a);
    for (size_t i = 0; i < FILLERS; i++)
        close(fillers[i]);
    close(listener);
}

static void refusals_by_reason(void **state)
{
    net *n = *state;
    net_node(&n->a, PEA_NODE(.max_pending = 1));
    net_node(&n->b, PEA_NODE(.max_connections = 1));
    net_listen(&n->b);
    n->b.accept = PEA_E_REFUSED;
    net_dial(&n->a, &n->b);
    check_err(pea_node_connect(n->a.node, n->b.addr, PEA_DIAL(.again = true), NULL, NULL), PEA_E_LIMIT);
    net_wait(n, n->a.failures == 1);
    n->b.accept = PEA_OK;
    net_meet(n);
    net_dial(&n->a, &n->b);
    net_wait(n, n->a.failures == 2);
    pea_stats_node a = stats(&n->a), b = stats(&n->b);
    assert_int_equal(a.refused[PEA_REFUSED_BY_MAX_PENDING], 1);
    assert_int_equal(sum(a.refused, PEA_REFUSALS), 1);
    assert_int_equal(b.refused[PEA_REFUSED_BY_ON_ACCEPT], 1);
    assert_int_equal(b.refused[PEA_REFUSED_BY_MAX_CONNECTIONS], 1);
    assert_int_equal(sum(b.refused, PEA_REFUSALS), 2);
    pea_counts counts;
    pea_node_counts(n->b.node, &counts);
    assert_int_equal(counts.refused, 2);
    check_balance(&a);
    check_balance(&b);
    assert_string_equal(pea_refusal_name(PEA_REFUSED_BY_MEMORY), "memory_limit");
    assert_string_equal(pea_refusal_name((pea_refusal)PEA_REFUSALS), "?");
}

static void refused_for_memory(void **state)
{
    net *n = *state; /* 8 KiB: room for four connections, and none of their buffers */
    net_node(&n->a, PEA_NODE(.name = "a"));
    pea_err err = PEA_OK;
    int listener = net_raw_listen(8, n->b.addr);
    for (int i = 0; i < 8 && err == PEA_OK; i++)
        err = pea_node_connect(n->a.node, n->b.addr, PEA_DIAL(.again = true), NULL, NULL);
    check_err(err, PEA_E_LIMIT);
    assert_int_equal(stats(&n->a).refused[PEA_REFUSED_BY_MEMORY], 1);
    close(listener);
}

/* ---- Threads ---- */

typedef struct scraper {
    const pea_node *node;
    atomic_bool stop;
    atomic_uint looks;
    bool went_back;
} scraper;

static void *scrape(void *arg)
{
    scraper *s = arg;
    uint64_t in = 0, out = 0, ends = 0;
    while (!s->stop) {
        pea_stats_node now;
        pea_node_stats(s->node, &now);
        uint64_t over = sum(now.disconnects, PEA_ORIGINS);
        s->went_back = s->went_back || now.messages_in < in || now.messages_out < out || over < ends;
        in = now.messages_in;
        out = now.messages_out;
        ends = over;
        s->looks++;
    }
    return NULL;
}

/* Connections on several threads come, talk and go, and another one looks on. No script but this: what happens on a
 * side is told by the numbers themselves. */
static void talk(pea_conn *conn, void *user)
{
    (void)user;
    for (int i = 0; i < 7; i++)
        assert_true(pea_conn_send(conn, "hello", 5) == PEA_OK);
}

static void answer(pea_conn *conn, const uint8_t *data, size_t len, void *user)
{
    (void)user;
    if (pea_conn_send(conn, data, len) != PEA_OK)
        pea_conn_abort(conn);
}

static void count_down(pea_conn *conn, const uint8_t *data, size_t len, void *user)
{
    (void)data, (void)len, (void)user;
    if (conn_stats(conn).messages_in == 7)
        pea_conn_close(conn, 0, NULL);
}

static void look_again(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop, (void)timer, (void)events;
}

#define GUESTS 40u

static void any_thread_may_ask(void **state)
{
    net *n = *state;
    pthread_t thread;
    const pea_node_callbacks a_on = {.on_connect = talk, .on_message = count_down}, b_on = {.on_message = answer};
    check_ok(pea_node_new(&n->a.node, n->runtime, PEA_NODE(.chain = n->chain, .on = &a_on), NULL));
    check_ok(pea_node_new(&n->b.node, n->runtime, PEA_NODE(.chain = n->chain, .on = &b_on), NULL));
    net_listen(&n->b);
    scraper s = {.node = n->b.node};
    ev_timer beat; /* what happens on the workers does not wake this loop */
    ev_timer_init(&beat, look_again, 0.01, 0.01);
    ev_timer_start(n->loop, &beat);
    assert_int_equal(pthread_create(&thread, NULL, scrape, &s), 0);
    for (unsigned i = 0; i < GUESTS; i++)
        net_dial(&n->a, &n->b);
    net_wait(n, sum(stats(&n->a).disconnects, PEA_ORIGINS) == GUESTS &&
                    sum(stats(&n->b).disconnects, PEA_ORIGINS) == GUESTS && s.looks > 0);
    s.stop = true;
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_false(s.went_back);
    pea_stats_node a = stats(&n->a), b = stats(&n->b);
    assert_int_equal(b.messages_in, 7 * GUESTS);
    assert_int_equal(b.messages_out, 7 * GUESTS);
    assert_int_equal(a.messages_in, 7 * GUESTS);
    assert_int_equal(a.messages_out, 7 * GUESTS);
    assert_int_equal(a.bytes_out, b.bytes_in);
    assert_int_equal(a.bytes_in, b.bytes_out);
    net_wait(n, stats(&n->a).connections == 0 && stats(&n->b).connections == 0);
    ev_timer_stop(n->loop, &beat);
    a = stats(&n->a);
    check_balance(&a);
}

#define entry(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        entry(message_stats),
        entry(what_was_refused_and_paused),
        entry(node_stats_survive_a_disconnect),
        entry(ends_by_origin),
        entry(connect_timeouts),
        entry(refusals_by_reason),
        cmocka_unit_test_setup_teardown(refused_for_memory, setup_small, teardown),
        cmocka_unit_test_setup_teardown(any_thread_may_ask, setup, teardown),
        cmocka_unit_test_setup_teardown(any_thread_may_ask, setup_workers, teardown),
    };
    return cmocka_run_group_tests_name("stats", tests, NULL, NULL);
}
