/* SPDX-License-Identifier: MIT */
/* Runtimes without a libev loop: traffic, calls outside of dispatch, and time. Threads, several runtimes and how they
 * end are in dispatch_life_test.c. That everything else works over them as well is shown by other tests, which run once
 * more with PEA_TEST_DISPATCH set. */
#include "dispatch_scene.h"
#include "support/prng.h"

#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BIG = 50000, MANY_BIG = 600 };

/* ---- Traffic ---- */

static void messages_both_ways(void **state)
{
    (void)state;
    nodes();
    meet();
    s.b.echo = true;
    for (unsigned i = 1; i <= 500; i++) {
        check_ok(pea_conn_send(s.a.conn, &i, sizeof i));
        wait_for(s.a.messages == i);
    }
    assert_int_equal(s.b.messages, 500);
    s.b.echo = false;
    check_ok(pea_conn_send(s.b.conn, "unasked", 7));
    wait_for(s.a.messages == 501);
    assert_string_equal(pea_conn_peer(s.b.conn)->name, "a");
}

/* 30 MB from each side at once; sends are refused above the high-water mark and go on after on_drain. */
static void large_transfers(void **state)
{
    static uint8_t data[BIG];
    (void)state;
    uint32_t sum = 0;
    side *sides[] = {&s.a, &s.b};
    unsigned sent[2] = {0, 0}, refused = 0;
    prng_fill(&(test_prng){1}, data, sizeof data);
    nodes();
    meet();
    for (unsigned i = 0; i < MANY_BIG; i++)
        sum = sum_of(sum, data, sizeof data);
    while (sent[0] < MANY_BIG || sent[1] < MANY_BIG) {
        unsigned drains = s.a.drains + s.b.drains;
        for (unsigned i = 0; i < 2; i++) {
            pea_err err = PEA_OK;
            while (sent[i] < MANY_BIG && (err = pea_conn_send(sides[i]->conn, data, sizeof data)) == PEA_OK)
                sent[i]++;
            if (err != PEA_OK)
                check_err(err, PEA_E_QUEUE_FULL);
            refused += err != PEA_OK;
        }
        if (sent[0] < MANY_BIG || sent[1] < MANY_BIG)
            wait_for(s.a.drains + s.b.drains > drains);
    }
    wait_for(s.a.messages == MANY_BIG && s.b.messages == MANY_BIG);
    assert_int_equal(s.a.bytes, (uint64_t)BIG * MANY_BIG);
    assert_int_equal(s.a.sum, sum);
    assert_int_equal(s.b.sum, sum);
    assert_true(refused > 0);
    rest();
    assert_int_equal(pea_runtime_memory(s.runtime), 0);
}

static bool close_it(pea_conn *conn, void *arg)
{
    (void)arg;
    pea_conn_close(conn, PEA_CODE_NORMAL, NULL);
    return true;
}

static void a_thousand_connects(void **state)
{
    (void)state;
    nodes();
    for (unsigned i = 0; i < 20; i++) {
        for (unsigned j = 0; j < 50; j++)
            dial();
        wait_for(s.a.connects == 50 * (i + 1) && s.b.connects == 50 * (i + 1));
        pea_node_each(s.a.node, close_it, NULL);
        wait_for(s.a.disconnects == s.a.connects && s.b.disconnects == s.b.connects);
    }
    assert_int_equal(s.a.connects, 1000);
    assert_int_equal(s.a.failures + s.b.failures, 0);
}

/* ---- Calls outside of dispatch ---- */

static void echoed(side *at, pea_conn *conn)
{
    (void)conn;
    check_err(pea_runtime_dispatch(at->scene->runtime), PEA_E_STATE);
    check_err(pea_runtime_free(at->scene->runtime), PEA_E_STATE);
}

/* What is asked for outside shows in the next dispatch, which waits for it; nothing needs a second event. */
static void the_next_dispatch_does_it(void **state)
{
    (void)state;
    nodes();
    meet();
    rest();
    for (unsigned i = 0; i < 200; i++) {
        check_ok(pea_conn_send(s.a.conn, "now", 3));
        assert_int_not_equal(pea_conn_queued(s.a.conn), 0);
        check_ok(pea_runtime_dispatch(s.runtime));
        assert_int_equal(pea_conn_queued(s.a.conn), 0);
    }
    wait_for(s.b.messages == 200);
    s.b.on_message = echoed;
    check_ok(pea_conn_send(s.a.conn, "nest", 4));
    wait_for(s.b.messages == 201);
}

static void pause_and_resume(void **state)
{
    (void)state;
    nodes();
    meet();
    rest();
    pea_conn_pause(s.b.conn); /* while the thread waits for this very socket */
    check_ok(pea_conn_send(s.a.conn, "held back", 9));
    rest();
    assert_int_equal(s.b.messages, 0);
    pea_conn_resume(s.b.conn);
    wait_for(s.b.messages == 1);
    pea_conn_close(s.b.conn, PEA_CODE_NORMAL, NULL);
    assert_int_equal(s.b.closings, 1);
    wait_for(s.a.disconnects == 1 && s.b.disconnects == 1);
    meet();
    pea_conn_abort(s.a.conn);
    wait_for(s.a.disconnects == 2 && s.b.disconnects == 2);
}

/* A dial is nothing but a socket to watch: no timer, no event, and the peer is in another process's hands. */
static void a_dial_is_noticed(void **state)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    uint8_t greeting[7];
    (void)state;
    node_new(&s.a, s.runtime, PEA_NODE(.handshake_timeout_ms = PEA_NEVER, .connect_timeout_ms = PEA_NEVER));
    rest();
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (const struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
    snprintf(s.addr, sizeof s.addr, "127.0.0.1:%u", ntohs(at.sin_port));
    dial();
    int fd = accept(listener, NULL, NULL);
    do /* it may have been sent by now, and be on its way */
        check_ok(pea_runtime_dispatch(s.runtime));
    while (poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 10) == 0);
    assert_int_equal(recv(fd, greeting, sizeof greeting, MSG_WAITALL), sizeof greeting);
    check_bytes(greeting, sizeof greeting, "\xF1peapod", 7);
    close(fd);
    close(listener);
    wait_for(s.a.failures == 1);
}

/* A listener that goes and one that comes, while the thread waits. */
static void listeners_come_and_go(void **state)
{
    (void)state;
    nodes();
    for (unsigned i = 1; i <= 20; i++) {
        meet();
        pea_conn_abort(s.a.conn);
        wait_for(s.a.disconnects == i && s.b.disconnects == i);
        pea_counts counts;
        pea_error why;
        pea_listener *fresh;
        check_ok(pea_node_listen(s.b.node, "127.0.0.1:0", NULL, &fresh, &why));
        pea_addr_format(pea_listener_addr(fresh), s.addr);
        meet();
        pea_conn_abort(s.a.conn);
        i++;
        wait_for(s.a.disconnects == i && s.b.disconnects == i);
        pea_node_unlisten(s.b.node, fresh);
        pea_node_counts(s.b.node, &counts);
        assert_int_equal(counts.listeners, 1);
        pea_addr_format(pea_node_listen_addr(s.b.node), s.addr);
    }
}

/* ---- Time ---- */

static int raw_connect(void)
{
    pea_addr at;
    struct sockaddr_in to = {.sin_family = AF_INET};
    check_ok(pea_addr_parse(&at, s.addr, NULL));
    to.sin_port = htons(at.port);
    memcpy(&to.sin_addr, at.u.ip, 4);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static void timeouts_fire(void **state)
{
    (void)state;
    node_new(&s.a, s.runtime, PEA_NODE(.name = "a"));
    node_new(&s.b, s.runtime, PEA_NODE(.handshake_timeout_ms = 200));
    listen_b();
    int fd = raw_connect(); /* and says nothing */
    int64_t began = now_ms();
    wait_for(s.b.failures == 1);
    assert_true(now_ms() - began >= 150);
    assert_int_equal(s.b.reason.origin, PEA_BY_TIMEOUT);
    close(fd);
    pea_node_free(s.b.node);
    node_new(&s.b, s.runtime, PEA_NODE(.idle_timeout_ms = 300));
    listen_b();
    began = now_ms();
    meet();
    wait_for(s.b.disconnects == 1 && s.a.disconnects == 1);
    assert_true(now_ms() - began >= 250);
    assert_int_equal(s.b.reason.origin, PEA_BY_TIMEOUT);
    assert_int_equal(s.a.reason.code, PEA_CODE_TIMEOUT);
}

static void shutdown_drains(void **state)
{
    (void)state;
    nodes();
    for (unsigned i = 0; i < 10; i++)
        meet();
    check_ok(pea_node_shutdown(s.b.node, 5000, on_done, &s.done));
    assert_int_equal(s.done, 0);
    wait_for(s.done == 1);
    assert_int_equal(s.b.disconnects, 10);
    wait_for(s.a.disconnects == 10);
    assert_int_equal(s.a.reason.code, PEA_CODE_SHUTDOWN);
    check_ok(pea_node_shutdown(s.a.node, 0, on_done, &s.done)); /* nothing is left: the next dispatch says so */
    check_ok(pea_runtime_dispatch(s.runtime));
    assert_int_equal(s.done, 2);
}

/* The peer does not read: only the deadline's timer, started outside of dispatch, can wake us. */
static void shutdown_at_its_deadline(void **state)
{
    (void)state;
    node_new(&s.a, s.runtime, PEA_NODE(.handshake_timeout_ms = PEA_NEVER));
    node_new(&s.b, s.runtime, PEA_NODE(.linger_ms = PEA_NEVER, .handshake_timeout_ms = PEA_NEVER));
    listen_b();
    meet();
    pea_conn_pause(s.a.conn);
    rest();
    int64_t began = now_ms();
    check_ok(pea_node_shutdown(s.b.node, 100, on_done, &s.done));
    wait_for(s.done == 1);
    assert_true(now_ms() - began >= 90);
    assert_int_equal(s.b.disconnects, 1);
}

/* No busy loop: with connections, but nothing to do, the descriptor is silent. libev looks up once in a minute. */
static void silent_at_rest(void **state)
{
    (void)state;
    assert_false(readable(s.runtime, 0)); /* a new one has nothing to say */
    node_new(&s.a, s.runtime, PEA_NODE(.handshake_timeout_ms = PEA_NEVER, .connect_timeout_ms = PEA_NEVER));
    node_new(&s.b, s.runtime, PEA_NODE(.handshake_timeout_ms = PEA_NEVER));
    listen_b();
    for (unsigned i = 0; i < 20; i++)
        meet();
    rest();
    unsigned woken = 0;
    for (int64_t until = now_ms() + 1000, left; (left = until - now_ms()) > 0;) {
        if (!readable(s.runtime, (int)left))
            continue;
        woken++;
        check_ok(pea_runtime_dispatch(s.runtime));
    }
    assert_true(woken <= 1);
    s.dispatches = 0;
    check_ok(pea_conn_send(s.a.conn, "one message", 11));
    wait_for(s.b.messages == 1);
    rest();
    assert_true(s.dispatches <= 8); /* to write, to read, and what else shares the round */
    for (int i = 0; i < 100; i++)
        check_ok(pea_runtime_dispatch(s.runtime)); /* in vain, and harmless */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        entry(messages_both_ways),        entry(large_transfers),  entry(a_thousand_connects),
        entry(the_next_dispatch_does_it), entry(pause_and_resume), entry(a_dial_is_noticed),
        entry(listeners_come_and_go),     entry(timeouts_fire),    entry(shutdown_drains),
        entry(shutdown_at_its_deadline),  entry(silent_at_rest),
    };
    return cmocka_run_group_tests_name("dispatch", tests, NULL, NULL);
}
