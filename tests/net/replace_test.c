/* SPDX-License-Identifier: MIT */
/* A connection takes the place of an older one (PEA_DIAL(.replaces)): whoever dials, with one_per_peer and without, in
 * native mode and in others. Both sides send all the time, nobody is ever without a connection, and nothing is lost. */
#include "rivals_scene.h"
#include "runtime_priv.h"

static int set_up_one(void **state)
{
    *state = rivals_open(PEA_NATIVE, true, 0);
    return 0;
}

static int set_up_impatient(void **state)
{
    *state = rivals_open(PEA_NATIVE, true, 50);
    return 0;
}

static int set_up_many(void **state)
{
    *state = rivals_open(PEA_NATIVE, false, 0);
    return 0;
}

static int set_up_foreign(void **state)
{
    *state = rivals_open(PEA_STREAM, false, 0);
    return 0;
}

static uint64_t dial_in_place(net_side *from, const net_side *to, uint64_t older)
{
    uint64_t id = 0;
    check_ok(pea_node_connect(from->node, to->addr, PEA_DIAL(.replaces = older), &id, NULL));
    return id;
}

static void meet(net *n, net_side *from, net_side *to)
{
    net_dial(from, to);
    net_wait(n, live(&n->a) == 1 && live(&n->b) == 1);
}

/* ---- Both send all the time ---- */

static unsigned sent[2]; /* by side: taken for sending, in on_connect and in each turn */

static void say(net_side *side)
{
    if (side->conn != NULL && pea_conn_send(side->conn, "now", 3) == PEA_OK)
        sent[side == &side->net->b]++;
}

/* The older connection gets a last word while the newer one is there already. */
static void on_newer(net_side *side, pea_conn *conn)
{
    pea_conn *older = side->arg;
    for (int i = 0; i < 100 && older != NULL && older != conn; i++)
        if (pea_conn_send(older, "last words", 10) == PEA_OK)
            sent[side == &side->net->b]++;
    side->arg = conn;
}

static void on_gone(net_side *side, pea_conn *conn)
{
    if (side->arg == conn)
        side->arg = NULL;
    assert_true(conn->named == NULL || conn->named->other != pea_conn_id(conn)); /* the next one may follow */
}

static void replace(net *n, net_side *from, net_side *to)
{
    net_side *sides[] = {&n->a, &n->b};
    sent[0] = sent[1] = 0;
    for (int i = 0; i < 2; i++) {
        sides[i]->on_connect = on_newer;
        sides[i]->on_disconnect = on_gone;
    }
    meet(n, from, to);
    for (unsigned round = 1; round <= 3; round++) {
        dial_in_place(from, to, pea_conn_id(from->conn));
        net_clock_start(n);
        while (n->a.disconnects != round || n->b.disconnects != round) {
            if (n->late)
                fail_msg("round %u: the older one did not end", round);
            assert_true(live(&n->a) >= 1 && live(&n->b) >= 1); /* at any time */
            say(&n->a);
            say(&n->b);
            net_poll(n);
        }
        net_clock_stop(n);
        assert_int_equal(n->a.connects, round + 1);
        assert_int_equal(n->b.connects, round + 1);
        assert_true(n->a.reason.err >= 0 && n->b.reason.err >= 0);
        assert_int_equal(n->a.reason.code | n->b.reason.code, PEA_CODE_NORMAL);
    }
    net_wait(n, n->a.messages == sent[1] && n->b.messages == sent[0]);
    assert_true(sent[0] > 300 && sent[1] > 300);
    for (int i = 0; i < 100; i++) /* and it stays so */
        net_poll(n);
    assert_int_equal(live(&n->a), 1);
    assert_int_equal(live(&n->b), 1);
    assert_int_equal(n->a.failures + n->b.failures, 0);
    assert_int_equal(n->a.messages, sent[1]);
    assert_int_equal(n->b.messages, sent[0]);
}

static void by_the_larger(void **state)
{
    rivals *s = *state;
    replace(&s->n, &s->n.a, &s->n.b);
}

static void by_the_smaller(void **state)
{
    rivals *s = *state;
    replace(&s->n, &s->n.b, &s->n.a);
}

/* ---- What is meant for the peer goes by one of them ---- */

static unsigned told;

static void note_result(void *arg, const pea_broadcast_result *result)
{
    (void)arg;
    assert_int_equal(result->refused, 0);
    told += result->taken;
}

static void each_broadcast_reaches_it_once(void **state)
{
    rivals *s = *state;
    net *n = &s->n;
    unsigned broadcasts = 0;
    pea_msg *msg;
    told = 0;
    check_ok(pea_msg_new(&msg, "news", 4));
    meet(n, &n->a, &n->b);
    dial_in_place(&n->a, &n->b, pea_conn_id(n->a.conn));
    net_clock_start(n);
    while (n->a.disconnects != 1 || n->b.disconnects != 1) {
        assert_false(n->late);
        check_ok(pea_node_broadcast(n->a.node, msg, NULL, note_result, NULL));
        check_ok(pea_node_broadcast(n->b.node, msg, NULL, note_result, NULL));
        check_ok(pea_node_send_peer(n->a.node, &s->peer[1], msg, NULL, NULL));
        check_ok(pea_node_send_peer(n->b.node, &s->peer[0], msg, NULL, NULL));
        broadcasts++;
        net_poll(n);
    }
    net_clock_stop(n);
    net_wait(n, n->a.messages >= 2 * broadcasts && n->b.messages >= 2 * broadcasts);
    net_wait(n, told == 2 * broadcasts);
    assert_int_equal(n->a.messages, 2 * broadcasts);
    assert_int_equal(n->b.messages, 2 * broadcasts);
    pea_msg_unref(msg);
}

/* ---- What may go wrong ---- */

/* The newcomer comes to nothing: the older one has its place again, and the next replacement works. */
static void refuse_newer(net_side *side, pea_conn *conn)
{
    (void)side;
    pea_conn_abort(conn);
}

static void failed_replacement(net *n, net_side *from, net_side *to)
{
    meet(n, from, to);
    uint64_t older = pea_conn_id(from->conn), other = pea_conn_id(to->conn);
    to->on_connect = refuse_newer;
    dial_in_place(from, to, older);
    net_wait(n, to->disconnects == 1 && from->failures + from->disconnects == 1);
    if (from->disconnects == 1)
        return; /* it had been accepted in that moment, and was in place */
    to->on_connect = NULL;
    const pea_conn *kept = pea_node_find(to->node, other);
    assert_non_null(kept);
    net_wait(n, !kept->retiring);
    from->conn = pea_node_find(from->node, older);
    to->conn = pea_node_find(to->node, other);
    assert_non_null(from->conn);
    assert_int_equal(live(&n->a) + live(&n->b), 2);
    dial_in_place(from, to, older);
    net_wait(n, n->a.connects >= 2 && n->b.connects >= 2 && live(&n->a) == 1 && live(&n->b) == 1);
    check_ok(pea_conn_send(from->conn, "?", 1));
    net_wait(n, to->messages == 1);
}

static void the_older_keeps_its_place_with_the_larger(void **state)
{
    rivals *s = *state;
    failed_replacement(&s->n, &s->n.b, &s->n.a);
}

static void the_older_keeps_its_place_with_the_smaller(void **state)
{
    rivals *s = *state;
    failed_replacement(&s->n, &s->n.a, &s->n.b);
}

/* Whoever dialled names another one, and never ends the older: each side does so by itself. */
static void one_is_left_all_the_same(void **state)
{
    rivals *s = *state;
    net *n = &s->n;
    for (unsigned i = 0; i < 2; i++) {
        meet(n, &n->a, &n->b);
        unsigned disconnects = n->a.disconnects;
        dial_in_place(i == 0 ? &n->a : &n->b, i == 0 ? &n->b : &n->a, UINT64_MAX);
        net_wait(n, n->a.disconnects == disconnects + 1 && n->b.disconnects == disconnects + 1);
        assert_int_equal(live(&n->a), 1);
        assert_int_equal(live(&n->b), 1);
        assert_int_equal(n->a.reason.code | n->b.reason.code, PEA_CODE_NORMAL);
        pea_conn_abort(n->a.conn);
        net_wait(n, live(&n->a) == 0 && live(&n->b) == 0);
    }
}

/* One after another without a pause: three live at most, one is left, and whoever is told of an end is told once. */
static void many_at_once(void **state)
{
    rivals *s = *state;
    net *n = &s->n;
    meet(n, &n->b, &n->a);
    for (int i = 0; i < 20; i++) {
        dial_in_place(&n->b, &n->a, pea_conn_id(n->b.conn));
        for (int turn = 0; turn < i % 5; turn++)
            net_poll(n);
        assert_true(live(&n->a) <= 3);
    }
    net_wait(n, live(&n->a) == 1 && live(&n->b) == 1 && n->b.connects + n->b.failures == 21);
    pea_counts counts;
    do {
        net_poll(n);
        pea_node_counts(n->a.node, &counts);
    } while (counts.connections != 1);
    check_ok(pea_conn_send(n->b.conn, "?", 1));
    net_wait(n, n->a.messages == 1);
}

/* Two at once: the connection that is there is not broken before one of them is made, and one is left. */
static unsigned broken;

static void note_broken(net_side *side, pea_conn *conn)
{
    (void)conn;
    broken += side->reason.err < 0;
}

static void two_at_once(net *n, net_side *first, net_side *second)
{
    meet(n, &n->a, &n->b);
    broken = 0;
    n->a.on_disconnect = n->b.on_disconnect = note_broken;
    uint64_t older[2] = {pea_conn_id(first->conn), pea_conn_id(second->conn)};
    dial_in_place(first, first == &n->a ? &n->b : &n->a, older[0]);
    dial_in_place(second, second == &n->a ? &n->b : &n->a, older[1]);
    net_wait(n, n->a.connects + n->a.failures == 3 && n->b.connects + n->b.failures == 3);
    net_wait(n, live(&n->a) <= 1 && live(&n->b) <= 1);
    for (int i = 0; i < 100; i++)
        net_poll(n);
    assert_int_equal(live(&n->a), 1);
    assert_int_equal(live(&n->b), 1);
    assert_int_equal(broken, 0);
}

static void two_at_once_by_the_larger(void **state)
{
    rivals *s = *state;
    two_at_once(&s->n, &s->n.a, &s->n.a);
}

static void two_at_once_by_the_smaller(void **state)
{
    rivals *s = *state;
    two_at_once(&s->n, &s->n.b, &s->n.b);
}

static void two_at_once_by_both(void **state)
{
    rivals *s = *state;
    two_at_once(&s->n, &s->n.a, &s->n.b);
}

/* What is dialled without a word of it is a duplicate, as ever. */
static void without_a_word_it_is_a_duplicate(void **state)
{
    rivals *s = *state;
    net *n = &s->n;
    meet(n, &n->b, &n->a);
    net_dial(&n->b, &n->a);
    net_wait(n, n->a.failures == 1 && n->b.failures == 1);
    assert_int_equal(n->b.reason.code, PEA_CODE_DUPLICATE);
    assert_int_equal(live(&n->a), 1);
}

/* The user ends the newer one in on_connect: the older one is left alone. */
static void whoever_is_closed_at_once_replaces_nobody(void **state)
{
    rivals *s = *state;
    net *n = &s->n;
    meet(n, &n->a, &n->b);
    uint64_t older = pea_conn_id(n->a.conn);
    n->a.on_connect = refuse_newer;
    dial_in_place(&n->a, &n->b, older);
    net_wait(n, n->a.disconnects == 1 && n->b.disconnects + n->b.failures == 1);
    for (int i = 0; i < 50; i++)
        net_poll(n);
    assert_non_null(pea_node_find(n->a.node, older));
    assert_int_equal(live(&n->a), 1);
}

#define one(test) cmocka_unit_test_setup_teardown(test, set_up_one, rivals_close)

int main(void)
{
    faults_install();
    const struct CMUnitTest tests[] = {
        one(by_the_larger),
        one(by_the_smaller),
        {"by_the_larger, one of many", by_the_larger, set_up_many, rivals_close, NULL},
        {"by_the_smaller, one of many", by_the_smaller, set_up_many, rivals_close, NULL},
        {"in a foreign mode", by_the_larger, set_up_foreign, rivals_close, NULL},
        one(each_broadcast_reaches_it_once),
        cmocka_unit_test_setup_teardown(the_older_keeps_its_place_with_the_larger, set_up_impatient, rivals_close),
        cmocka_unit_test_setup_teardown(the_older_keeps_its_place_with_the_smaller, set_up_impatient, rivals_close),
        cmocka_unit_test_setup_teardown(one_is_left_all_the_same, set_up_impatient, rivals_close),
        one(many_at_once),
        one(two_at_once_by_the_larger),
        one(two_at_once_by_the_smaller),
        one(two_at_once_by_both),
        one(without_a_word_it_is_a_duplicate),
        one(whoever_is_closed_at_once_replaces_nobody),
    };
    return cmocka_run_group_tests_name("replace", tests, NULL, NULL);
}
