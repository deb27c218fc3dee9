/* SPDX-License-Identifier: MIT */
/* Nodes that end: in order, in a hurry, and from inside any of their own callbacks. Nothing is freed under anybody's
 * feet, and every callback that is owed comes once. */
#include "support/net.h"

#include <stdio.h>
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
    return 0;
}

static void count_done(void *arg)
{
    ++*(unsigned *)arg;
}

/* ---- Shutdown ---- */

static void shutdown_tells_everybody(void **state)
{
    net *n = *state;
    unsigned done = 0;
    net_pair(n);
    net_meet(n);
    net_meet(n);
    check_ok(pea_conn_send(n->b.conn, "flushed", 7));
    check_ok(pea_node_shutdown(n->b.node, 0, count_done, &done));
    assert_int_equal(done, 0); /* from the loop, not from inside the call */
    assert_int_equal(n->b.closings, 3);
    net_wait(n, done == 1);
    assert_int_equal(n->b.disconnects, 3); /* after the last of them */
    net_wait(n, n->a.disconnects == 3);
    assert_int_equal(n->a.messages, 1);
    assert_int_equal(n->a.reason.origin, PEA_BY_PEER);
    assert_int_equal(n->a.reason.err, PEA_OK);
    assert_int_equal(n->a.reason.code, PEA_CODE_SHUTDOWN);
    assert_int_equal(n->b.reason.origin, PEA_BY_SHUTDOWN);
    assert_int_equal(n->b.reason.code, PEA_CODE_SHUTDOWN);
}

static void after_shutdown_nothing_begins(void **state)
{
    net *n = *state;
    pea_error why;
    unsigned done = 0;
    net_pair(n);
    check_ok(pea_node_shutdown(n->b.node, 0, NULL, NULL));
    check_err(pea_node_listen(n->b.node, "127.0.0.1:0", NULL, NULL, &why), PEA_E_STATE);
    check_err(pea_node_connect(n->b.node, "127.0.0.1:1", NULL, NULL, &why), PEA_E_STATE);
    assert_non_null(strstr(why.text, "shut down"));
    pea_counts counts;
    pea_node_counts(n->b.node, &counts);
    assert_int_equal(counts.listeners, 0);
    net_wait(n, n->a.disconnects == 1 && n->b.disconnects == 1);
    check_ok(pea_node_shutdown(n->b.node, 0, count_done, &done)); /* again, when all is over */
    net_wait(n, done == 1);
    net_dial(&n->a, &n->b);
    net_wait(n, n->a.failures == 1);
    assert_int_equal(n->a.reason.err, PEA_E_SYS);
}

static void shutdown_of_an_empty_node(void **state)
{
    net *n = *state;
    unsigned done = 0;
    net_node(&n->a, PEA_NODE(.name = "a"));
    check_ok(pea_node_shutdown(n->a.node, 5000, count_done, &done));
    assert_int_equal(done, 0);
    if (ev_is_active(&n->events)) /* a runtime that is dispatched keeps the loop that watches it */
        net_wait(n, done == 1);
    else
        ev_run(n->loop, 0); /* nothing keeps the loop alive, and it is done nevertheless */
    assert_int_equal(done, 1);
}

/* The peer neither reads nor ends; a second call shortens the first one's deadline, and both are told. */
static void shutdown_at_its_deadline(void **state)
{
    net *n = *state;
    unsigned first = 0, second = 0;
    net_node(&n->b, PEA_NODE(.linger_ms = 60000));
    net_listen(&n->b);
    int fd = net_raw_connect(&n->b);
    net_raw_open(n, fd);
    net_wait(n, n->b.connects == 1);
    check_ok(pea_node_shutdown(n->b.node, 60000, count_done, &first));
    check_ok(pea_node_shutdown(n->b.node, 100, count_done, &second));
    check_ok(pea_node_shutdown(n->b.node, 90000, NULL, NULL)); /* does not lengthen it */
    net_wait(n, first == 1 && second == 1);
    assert_int_equal(n->b.disconnects, 1);
    assert_int_equal(n->b.closings, 1);
    assert_int_equal(n->b.reason.origin, PEA_BY_SHUTDOWN);
    close(fd);
}

static void shutdown_ends_dials_and_handshakes(void **state)
{
    net *n = *state;
    unsigned done = 0;
    net_node(&n->a, PEA_NODE(.name = "a"));
    net_node(&n->b, PEA_NODE(.name = "b"));
    net_listen(&n->b);
    int silent = net_raw_connect(&n->b);
    net_wait(n, n->b.accepts == 1);
    net_dial(&n->a, &n->b);
    check_ok(pea_node_shutdown(n->a.node, 0, count_done, &done));
    check_ok(pea_node_shutdown(n->b.node, 0, count_done, &done));
    net_wait(n, done == 2);
    assert_int_equal(n->a.failures, 1);
    assert_int_equal(n->b.connects + n->a.connects, 0);
    assert_int_equal(n->b.failures, n->b.accepts);
    close(silent);
}

/* ---- pea_node_free() in every state ---- */

static void free_a_live_node(void **state)
{
    net *n = *state;
    net_pair(n);
    net_meet(n);
    check_ok(pea_conn_send(n->b.conn, "never sent", 10));
    pea_node_free(n->b.node); /* outside of callbacks it is done when it returns */
    n->b.node = NULL;
    assert_int_equal(n->b.disconnects, 2);
    assert_int_equal(n->b.reason.origin, PEA_BY_SHUTDOWN);
    check_err(n->b.reason.err, PEA_E_ABORTED);
    net_wait(n, n->a.disconnects == 2);
}

static void free_while_dialling(void **state)
{
    net *n = *state;
    net_node(&n->a, PEA_NODE(.name = "a"));
    net_node(&n->b, PEA_NODE(.name = "b"));
    net_listen(&n->b);
    net_dial(&n->a, &n->b);
    pea_node_free(n->a.node);
    n->a.node = NULL;
    assert_int_equal(n->a.failures, 1);
}

static void free_during_shutdown(void **state)
{
    net *n = *state;
    unsigned done = 0;
    net_pair(n);
    check_ok(pea_node_shutdown(n->b.node, 0, count_done, &done));
    pea_node_free(n->b.node);
    n->b.node = NULL;
    assert_int_equal(done, 1); /* owed, and kept */
    assert_int_equal(n->b.disconnects, 1);
    net_wait(n, n->a.disconnects == 1);
}

static void free_now(net_side *side)
{
    pea_node_free(side->node);
    side->node = NULL;
}

static void free_in_connect(net_side *side, pea_conn *conn)
{
    (void)conn;
    free_now(side);
    check_err(pea_conn_send(conn, "x", 1), PEA_E_STATE); /* good to ask, until on_disconnect returned */
}

static void free_in_message(net_side *side, pea_conn *conn, const uint8_t *data, size_t len)
{
    (void)conn;
    free_now(side);
    check_bytes(data, len, "message", 7); /* still there, during the call */
}

static void free_in_disconnect(net_side *side, pea_conn *conn)
{
    (void)conn;
    if (side->node != NULL)
        free_now(side);
}

static void free_inside_on_connect(void **state)
{
    net *n = *state;
    net_node(&n->a, PEA_NODE(.name = "a"));
    net_node(&n->b, PEA_NODE(.name = "b"));
    net_listen(&n->b);
    n->b.on_connect = free_in_connect;
    net_dial(&n->a, &n->b);
    net_wait(n, n->b.disconnects == 1 && n->a.disconnects + n->a.failures == 1);
}

static void free_inside_on_message(void **state)
{
    net *n = *state;
    net_pair(n);
    net_meet(n);
    n->b.on_message = free_in_message;
    for (int i = 0; i < 10; i++)
        check_ok(pea_conn_send(n->a.conn, "message", 7));
    net_wait(n, n->b.disconnects == 2 && n->a.disconnects == 2);
    assert_int_equal(n->b.messages, 1);
}

static void free_inside_on_disconnect(void **state)
{
    net *n = *state;
    net_pair(n);
    net_meet(n);
    n->b.on_disconnect = free_in_disconnect;
    pea_conn_close(n->a.conn, PEA_CODE_NORMAL, NULL);
    net_wait(n, n->b.disconnects == 2 && n->a.disconnects == 2);
}

static void free_inside_on_closing(void **state)
{
    net *n = *state;
    net_pair(n);
    n->b.on_closing = free_in_disconnect;
    pea_conn_close(n->b.conn, PEA_CODE_NORMAL, NULL);
    net_wait(n, n->b.disconnects == 1 && n->a.disconnects == 1);
}

static void free_inside_on_drain(void **state)
{
    static uint8_t block[32768];
    net *n = *state;
    net_pair(n);
    n->a.on_drain = free_in_connect;
    while (pea_conn_send(n->a.conn, block, sizeof block) == PEA_OK)
        continue;
    net_wait(n, n->b.disconnects == 1 && n->a.disconnects == 1);
}

static void free_inside_on_connect_failed(void **state)
{
    net *n = *state;
    int nobody = net_raw_nobody(n->b.addr);
    net_node(&n->a, PEA_NODE(.name = "a"));
    n->a.on_failed = free_now;
    net_dial(&n->a, &n->b);
    net_wait(n, n->a.failures == 1 && n->a.node == NULL);
    assert_int_equal(n->a.reason.err, PEA_E_SYS);
    close(nobody);
}

static void free_in_done(void *arg)
{
    free_now(arg);
}

static void free_inside_on_done(void **state)
{
    net *n = *state;
    net_pair(n);
    check_ok(pea_node_shutdown(n->b.node, 0, free_in_done, &n->b));
    net_wait(n, n->b.node == NULL && n->a.disconnects == 1);
}

/* Both nodes of a connection go in the same callback. */
static void free_both(net_side *side, pea_conn *conn, const uint8_t *data, size_t len)
{
    (void)conn;
    (void)data;
    (void)len;
    free_now(&side->net->a);
    free_now(&side->net->b);
}

static void free_both_nodes_inside(void **state)
{
    net *n = *state;
    net_pair(n);
    n->b.on_message = free_both;
    check_ok(pea_conn_send(n->a.conn, "message", 7));
    net_wait(n, n->a.disconnects == 1 && n->b.disconnects == 1);
}

/* ---- Dials that fail ---- */

static void connect_refused(void **state)
{
    net *n = *state;
    int nobody = net_raw_nobody(n->b.addr);
    net_node(&n->a, PEA_NODE(.name = "a"));
    uint64_t id = net_dial(&n->a, &n->b);
    assert_int_equal(n->a.failures, 0); /* never from inside the call */
    net_wait(n, n->a.failures == 1);
    check_err(n->a.reason.err, PEA_E_SYS);
    assert_int_not_equal(n->a.reason.sys, 0);
    assert_int_equal(n->a.info.id, id);
    char line[PEA_REASON_TEXT_BYTES];
    assert_non_null(strstr(pea_reason_format(&n->a.reason, line), "refused"));
    assert_null(pea_node_find(n->a.node, id));
    close(nobody);
}

static void redial(net_side *side)
{
    if (side->failures < 20)
        net_dial(side, &side->net->b);
}

static void dial_again_inside_on_connect_failed(void **state)
{
    net *n = *state;
    int nobody = net_raw_nobody(n->b.addr);
    net_node(&n->a, PEA_NODE(.name = "a"));
    n->a.on_failed = redial;
    net_dial(&n->a, &n->b);
    net_wait(n, n->a.failures == 20);
    close(nobody);
}

static void options_and_addresses_are_checked(void **state)
{
    net *n = *state;
    pea_error why;
    pea_node *node;
    net_node(&n->a, PEA_NODE(.name = "a"));
    check_err(pea_node_new(&node, n->runtime, PEA_NODE(.name = "no chain"), &why), PEA_E_INVALID);
    assert_non_null(strstr(why.text, "chain"));
    check_err(pea_node_connect(n->a.node, "local host:1", NULL, NULL, &why), PEA_E_FORMAT);
    check_err(pea_node_listen(n->a.node, "localhost:1", NULL, NULL, &why), PEA_E_FORMAT);
    check_err(pea_node_listen(n->a.node, "192.0.2.1:0", NULL, NULL, &why), PEA_E_SYS); /* TEST-NET: not ours */
    assert_int_not_equal(why.sys, 0);
    net_listen(&n->a);
    pea_listener *second;
    check_err(pea_node_listen(n->a.node, n->a.addr, NULL, &second, &why), PEA_E_SYS); /* taken */
    check_err(pea_runtime_free(n->runtime), PEA_E_STATE);                             /* a node is left */
}

static void unix_sockets(void **state)
{
    net *n = *state;
    char path[64];
    snprintf(path, sizeof path, "/tmp/peapod-test-%ld.sock", (long)getpid());
    net_node(&n->a, PEA_NODE(.name = "a"));
    net_node(&n->b, PEA_NODE(.name = "b"));
    snprintf(n->b.addr, sizeof n->b.addr, "unix:%s", path);
    check_ok(pea_node_listen(n->b.node, n->b.addr, NULL, &n->b.listener, NULL));
    assert_int_equal(access(path, F_OK), 0);
    net_meet(n);
    net_meet(n); /* unnamed both: their addresses are equal */
    n->b.echo = true;
    check_ok(pea_conn_send(n->a.conn, "local", 5));
    net_wait(n, n->a.messages == 1);
    assert_int_equal(pea_conn_remote(n->b.conn)->family, PEA_ADDR_UNIX);
    pea_node_unlisten(n->b.node, n->b.listener);
    assert_int_not_equal(access(path, F_OK), 0); /* its file is removed, its connections live on */
    check_ok(pea_conn_send(n->a.conn, "still", 5));
    net_wait(n, n->a.messages == 2);
}

static void ipv6(void **state)
{
    net *n = *state;
    pea_error why;
    net_node(&n->a, PEA_NODE(.name = "a"));
    net_node(&n->b, PEA_NODE(.name = "b"));
    if (pea_node_listen(n->b.node, "[::1]:0", NULL, &n->b.listener, &why) != PEA_OK) {
        print_message("no IPv6 here: %s\n", why.text);
        skip();
    }
    pea_addr_format(pea_listener_addr(n->b.listener), n->b.addr);
    net_meet(n);
    assert_int_equal(pea_conn_remote(n->b.conn)->family, PEA_ADDR_IPV6);
}

#define entry(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        entry(shutdown_tells_everybody),
        entry(after_shutdown_nothing_begins),
        entry(shutdown_of_an_empty_node),
        entry(shutdown_at_its_deadline),
        entry(shutdown_ends_dials_and_handshakes),
        entry(free_a_live_node),
        entry(free_while_dialling),
        entry(free_during_shutdown),
        entry(free_inside_on_connect),
        entry(free_inside_on_message),
        entry(free_inside_on_disconnect),
        entry(free_inside_on_closing),
        entry(free_inside_on_drain),
        entry(free_inside_on_connect_failed),
        entry(free_inside_on_done),
        entry(free_both_nodes_inside),
        entry(connect_refused),
        entry(dial_again_inside_on_connect_failed),
        entry(options_and_addresses_are_checked),
        entry(unix_sockets),
        entry(ipv6),
    };
    return cmocka_run_group_tests_name("shutdown", tests, NULL, NULL);
}
