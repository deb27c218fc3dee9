/* SPDX-License-Identifier: MIT */
/* More than the other side takes: full queues, pauses, and sends that want to be told when they left. */
#include "support/net.h"

#include <stdlib.h>
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
    return 0;
}

static uint8_t block[32768];

/* Sends until the queue is full; returns how many messages were taken. */
static unsigned fill(net *n, pea_conn *conn)
{
    unsigned taken = 0;
    net_clock_start(n);
    for (;;) {
        pea_err err = pea_conn_send(conn, block, sizeof block);
        if (err == PEA_E_QUEUE_FULL)
            break;
        check_ok(err);
        taken++;
        net_poll(n); /* lets the socket take what it takes */
    }
    net_clock_stop(n);
    return taken;
}

static void a_full_queue_refuses_then_drains(void **state)
{
    net *n = *state;
    net_pair(n);
    net_narrow_pair(n);
    pea_conn_pause(n->b.conn);
    unsigned taken = fill(n, n->a.conn);
    size_t queued = pea_conn_queued(n->a.conn);
    assert_true(queued >= PEA_HIGH_WATER_DEFAULT && queued < PEA_HIGH_WATER_DEFAULT + 2 * sizeof block);
    check_err(pea_conn_send(n->a.conn, block, 1), PEA_E_QUEUE_FULL);
    assert_int_equal(pea_conn_queued(n->a.conn), queued); /* nothing was queued */
    assert_int_equal(n->a.drains, 0);
    pea_conn_resume(n->b.conn);
    net_wait(n, n->a.drains == 1);
    assert_true(pea_conn_queued(n->a.conn) < PEA_LOW_WATER_DEFAULT);
    net_wait(n, n->b.messages == taken);
    check_ok(pea_conn_send(n->a.conn, "and on", 6));
    net_wait(n, n->b.messages == taken + 1);
    assert_int_equal(n->a.drains, 1); /* once for each time it was full */
}

static void marks_of_ones_own(void **state)
{
    net *n = *state;
    net_node(&n->a, PEA_NODE(.high_water = 4000, .low_water = 100));
    net_node(&n->b, PEA_NODE(.name = "b"));
    net_listen(&n->b);
    net_meet(n);
    check_ok(pea_conn_send(n->a.conn, block, 3990));
    check_ok(pea_conn_send(n->a.conn, block, 1000)); /* below the mark when it came */
    check_err(pea_conn_send(n->a.conn, block, 1), PEA_E_QUEUE_FULL);
    net_wait(n, n->a.drains == 1 && n->b.messages == 2);
    pea_error why;
    pea_node *node;
    check_err(pea_node_new(&node, n->runtime, PEA_NODE(.chain = n->chain, .high_water = 10, .low_water = 11), &why),
              PEA_E_INVALID);
    assert_non_null(strstr(why.text, "low_water"));
}

static void refill(net_side *side, pea_conn *conn)
{
    unsigned *left = side->arg;
    while (*left > 0 && pea_conn_send(conn, block, sizeof block) == PEA_OK)
        --*left;
}

/* on_drain sends until it is full again: the loop's other work goes on beside it. */
static void drain_goes_on(void **state)
{
    net *n = *state;
    unsigned left = 2000;
    net_pair(n);
    net_narrow_pair(n);
    n->a.arg = &left;
    n->a.on_drain = refill;
    refill(&n->a, n->a.conn);
    check_ok(pea_conn_send(n->b.conn, "meanwhile", 9));
    net_wait(n, n->a.messages == 1);
    assert_true(left > 0); /* it came in between, not at the end */
    net_wait(n, n->b.messages == 2000);
    assert_true(n->a.drains > 10);
}

static void pause_inside(net_side *side, pea_conn *conn, const uint8_t *data, size_t len)
{
    (void)side;
    (void)data;
    (void)len;
    pea_conn_pause(conn);
}

/* Many messages lie in one segment, and each of them pauses: nothing is delivered until the next
 * resume, nothing is lost. */
static void pause_inside_on_message(void **state)
{
    enum { MANY = 50 };
    net *n = *state;
    net_pair(n);
    n->b.on_message = pause_inside;
    for (int i = 0; i < MANY; i++)
        check_ok(pea_conn_send(n->a.conn, "message", 7));
    for (unsigned i = 1; i <= MANY; i++) {
        net_wait(n, n->b.messages == i);
        for (int turns = 0; turns < 3; turns++)
            net_poll(n);
        assert_int_equal(n->b.messages, i);
        pea_conn_resume(n->b.conn);
        assert_int_equal(n->b.messages, i); /* from the loop, not from inside the call */
    }
    n->b.on_message = NULL;
    check_ok(pea_conn_send(n->a.conn, "last", 4));
    net_wait(n, n->b.messages == MANY + 1);
}

static void echo_or_pause(net_side *side, pea_conn *conn, const uint8_t *data, size_t len)
{
    uint32_t *unsent = side->arg;
    if (pea_conn_send(conn, data, len) != PEA_OK) {
        ++*unsent; /* one message: it is said again when there is room */
        pea_conn_pause(conn);
    }
}

static void say_the_unsent(net_side *side, pea_conn *conn)
{
    uint32_t *unsent = side->arg;
    while (*unsent > 0 && pea_conn_send(conn, block, sizeof block) == PEA_OK)
        --*unsent;
    pea_conn_resume(conn);
}

/* What every relay does: stop reading while the answer has no room. Draining must be told to a paused connection
 * too. */
static void pause_until_drained(void **state)
{
    enum { MANY = 400 };
    net *n = *state;
    unsigned left = MANY;
    uint32_t unsent = 0;
    net_pair(n);
    net_narrow_pair(n);
    n->a.arg = &left;
    n->a.on_drain = refill;
    n->b.arg = &unsent;
    n->b.on_message = echo_or_pause;
    n->b.on_drain = say_the_unsent;
    pea_conn_pause(n->a.conn); /* so that b's answers pile up */
    refill(&n->a, n->a.conn);
    net_wait(n, unsent > 0);
    pea_conn_resume(n->a.conn);
    net_wait(n, n->a.messages == MANY);
    assert_int_equal(n->b.messages, MANY);
}

/* The end is told to a paused connection when it is its own doing. */
static void close_while_paused(void **state)
{
    net *n = *state;
    net_pair(n);
    pea_conn_pause(n->a.conn);
    check_ok(pea_conn_send(n->b.conn, "never read", 10));
    net_wait(n, pea_conn_queued(n->b.conn) == 0);
    pea_conn_close(n->a.conn, PEA_CODE_NORMAL, NULL);
    net_wait(n, n->a.disconnects == 1 && n->b.disconnects == 1);
    assert_int_equal(n->a.messages, 0);
    assert_int_equal(n->a.reason.err, PEA_OK);
}

/* ---- Confirmed sends ---- */

typedef struct receipt {
    unsigned calls;
    pea_err err;
    unsigned order;
} receipt;

static unsigned receipts;

static void on_sent(void *arg, pea_err err)
{
    receipt *r = arg;
    r->calls++;
    r->err = err;
    r->order = receipts++;
}

static void confirmed_in_order(void **state)
{
    enum { MANY = 100 };
    net *n = *state;
    receipt got[MANY] = {{0}};
    pea_msg *msg;
    net_pair(n);
    receipts = 0;
    check_ok(pea_msg_new(&msg, block, 5000));
    for (size_t i = 0; i < MANY; i++) {
        pea_err err;
        while ((err = pea_conn_send_msg(n->a.conn, msg, on_sent, &got[i])) == PEA_E_QUEUE_FULL) {
            assert_int_equal(got[i].calls, 0);
            unsigned drains = n->a.drains;
            net_wait(n, n->a.drains > drains);
        }
        check_ok(err);
        assert_int_equal(got[i].calls, 0); /* never from inside the call */
    }
    check_ok(pea_conn_send_msg(n->a.conn, msg, NULL, NULL));
    pea_msg_unref(msg);
    net_wait(n, n->b.messages == MANY + 1);
    net_wait(n, receipts == MANY);
    for (unsigned i = 0; i < MANY; i++) {
        assert_int_equal(got[i].calls, 1);
        assert_int_equal(got[i].err, PEA_OK);
        assert_int_equal(got[i].order, i);
    }
}

/* Some have left and some have not when the connection dies; each is told once, and told the truth. */
static void confirmed_once_at_the_end(void **state)
{
    enum { MANY = 4000 };
    net *n = *state;
    static receipt got[MANY];
    pea_msg *msg;
    size_t sent = 0;
    memset(got, 0, sizeof got);
    receipts = 0;
    net_pair(n);
    net_narrow_pair(n);
    pea_conn_pause(n->b.conn);
    check_ok(pea_msg_new(&msg, block, sizeof block));
    while (sent < MANY && pea_conn_send_msg(n->a.conn, msg, on_sent, &got[sent]) == PEA_OK) {
        sent++;
        net_poll(n);
    }
    pea_msg_unref(msg);
    assert_true(receipts > 0 && receipts < sent);
    unsigned before = receipts;
    pea_conn_abort(n->a.conn);
    net_wait(n, n->a.disconnects == 1);
    assert_int_equal(receipts, sent);
    for (size_t i = 0; i < sent; i++) {
        assert_int_equal(got[i].calls, 1);
        check_err(got[i].err, i < before ? PEA_OK : PEA_E_ABORTED);
    }
}

static void confirmed_before_an_orderly_end(void **state)
{
    net *n = *state;
    receipt got = {0};
    pea_msg *msg;
    net_pair(n);
    check_ok(pea_msg_new(&msg, "last", 4));
    check_ok(pea_conn_send_msg(n->a.conn, msg, on_sent, &got));
    pea_conn_close(n->a.conn, PEA_CODE_NORMAL, NULL);
    check_err(pea_conn_send_msg(n->a.conn, msg, on_sent, &got), PEA_E_STATE);
    pea_msg_unref(msg);
    net_wait(n, n->a.disconnects == 1 && n->b.disconnects == 1);
    assert_int_equal(got.calls, 1);
    assert_int_equal(got.err, PEA_OK);
    assert_int_equal(n->b.messages, 1);
}

static void flush_now(void **state)
{
    net *n = *state;
    net_pair(n);
    check_ok(pea_conn_send(n->a.conn, "now", 3));
    assert_int_not_equal(pea_conn_queued(n->a.conn), 0);
    pea_conn_flush(n->a.conn);
    assert_int_equal(pea_conn_queued(n->a.conn), 0);
    net_wait(n, n->b.messages == 1);
}

#define entry(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        entry(a_full_queue_refuses_then_drains),
        entry(marks_of_ones_own),
        entry(drain_goes_on),
        entry(pause_inside_on_message),
        entry(pause_until_drained),
        entry(close_while_paused),
        entry(confirmed_in_order),
        entry(confirmed_once_at_the_end),
        entry(confirmed_before_an_orderly_end),
        entry(flush_now),
    };
    return cmocka_run_group_tests_name("backpressure", tests, NULL, NULL);
}
