/* SPDX-License-Identifier: MIT */
/* Each allocation of a connection's whole life fails once, one after the other: somebody is told, everything else goes
 * on, and nothing is left. */
#include "support/faults.h"
#include "support/net.h"

static void echo_if_it_can(net_side *side, pea_conn *conn, const uint8_t *data, size_t len)
{
    (void)side;
    pea_err err = pea_conn_send(conn, data, len);
    assert_true(err == PEA_OK || err == PEA_E_NOMEM || err == PEA_E_STATE);
}

static void on_sent(void *arg, pea_err err)
{
    (void)err;
    --*(unsigned *)arg;
}

/* Dials, sends, and closes, as far as memory allows. */
static void live(net *n, unsigned *owed)
{
    static uint8_t block[20000];
    pea_error why;
    pea_err err = pea_node_connect(n->a.node, n->b.addr, NULL, NULL, &why);
    if (err != PEA_OK) {
        check_err(err, PEA_E_NOMEM);
        assert_true(strlen(why.text) > 0);
        return;
    }
    net_wait(n, n->a.connects + n->a.failures == 1);
    pea_msg *msg;
    if (n->a.conn == NULL || pea_msg_new(&msg, block, sizeof block) != PEA_OK)
        return;
    err = pea_conn_send_msg(n->a.conn, msg, on_sent, owed);
    pea_msg_unref(msg);
    *owed += err == PEA_OK;
    assert_true(err == PEA_OK || err == PEA_E_NOMEM || err == PEA_E_STATE);
    if (err == PEA_OK) /* it arrived, or one side has ended */
        net_wait(n, n->b.messages == 1 || n->a.disconnects + n->b.disconnects > 0);
    if (n->a.conn != NULL)
        pea_conn_close(n->a.conn, PEA_CODE_NORMAL, "that was it");
    net_wait(n, n->a.disconnects == n->a.connects && n->b.disconnects == n->b.connects);
}

static void every_allocation_fails_once(pea_mode mode)
{
    bool hit = true;
    size_t nth = 0;
    for (; hit; nth++) {
        net n;
        unsigned owed = 0;
        net_setup(&n, mode);
        net_node(&n.a, PEA_NODE(.linger_ms = 200));
        net_node(&n.b, PEA_NODE(.linger_ms = 200));
        net_listen(&n.b);
        n.b.on_message = echo_if_it_can;
        faults_arm(nth);
        live(&n, &owed);
        hit = faults_disarm();
        net_meet(&n); /* whatever failed, the next connection is as good as any */
        net_teardown(&n);
        assert_int_equal(owed, 0);
        assert_int_equal(faults_blocks(), 0);
    }
    print_message("%zu allocations failed, one at a time\n", nth - 1);
    assert_true(nth > 10);
}

static void native(void **state)
{
    (void)state;
    every_allocation_fails_once(PEA_NATIVE);
}

static void stream(void **state)
{
    (void)state;
    every_allocation_fails_once(PEA_STREAM);
}

/* No runtime and no node come out of nothing. */
static void constructors(void **state)
{
    net n;
    pea_error why;
    pea_runtime *runtime;
    pea_node *node;
    pea_listener *listener;
    (void)state;
    net_setup(&n, PEA_NATIVE);
    net_node(&n.a, PEA_NODE(.name = "a"));
    for (size_t nth = 0; nth < 4; nth++) {
        pea_err err;
        for (int own = 0; own < 2; own++) {
            faults_arm(nth);
            err = pea_runtime_new(&runtime, PEA_RUNTIME(.loop = own ? NULL : n.loop), &why);
            if (faults_disarm())
                check_err(err, PEA_E_NOMEM);
            else
                check_ok(pea_runtime_free(runtime));
        }
        faults_arm(nth);
        err = pea_node_new(&node, n.runtime, PEA_NODE(.chain = n.chain), &why);
        if (faults_disarm())
            check_err(err, PEA_E_NOMEM);
        else
            pea_node_free(node);
    }
    faults_arm(0);
    check_err(pea_node_listen(n.a.node, "127.0.0.1:0", NULL, &listener, &why), PEA_E_NOMEM);
    assert_true(faults_disarm());
    faults_arm(0);
    check_err(pea_node_shutdown(n.a.node, 0, NULL, NULL), PEA_E_NOMEM);
    assert_true(faults_disarm());
    const pea_ticket ticket = {.runtime = 1};
    faults_arm(0);
    check_err(pea_post_resume(ticket, PEA_OK), PEA_E_NOMEM);
    faults_arm(0);
    check_err(pea_post_close(n.runtime, 1, 0, NULL), PEA_E_NOMEM);
    assert_true(faults_disarm());
    net_teardown(&n);
    assert_int_equal(faults_blocks(), 0);
}

int main(void)
{
    faults_install();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(native),
        cmocka_unit_test(stream),
        cmocka_unit_test(constructors),
    };
    return cmocka_run_group_tests_name("oom", tests, NULL, NULL);
}
