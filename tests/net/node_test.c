/* SPDX-License-Identifier: MIT */
/* What a node promises beside its connections' lives (those are in conn_test.c): dials that cannot succeed, walks and
 * look-ups over connections that end meanwhile, and confirmed sends, whose answer must be true. */
#include "support/net.h"

#include <errno.h>
#include <stdlib.h>

#include "peapod/chain.h"
#include "peapod/trust.h"
#include "support/toys.h"

static int setup_native(void **state)
{
    static net n;
    net_setup(&n, PEA_NATIVE);
    *state = &n;
    return 0;
}

static int setup_stream(void **state)
{
    static net n;
    net_setup(&n, PEA_STREAM);
    *state = &n;
    return 0;
}

static int teardown(void **state)
{
    net_teardown(*state);
    return 0;
}

/* ---- Dials ---- */

/* A dial that expects somebody is not satisfied by anybody, though the chain asks for no proof. */
static void an_expectation_over_a_plain_chain(void **state)
{
    net *n = *state;
    const pea_peer who = {.kind = PEA_PEER_NOISE, .id = {7}};
    net_node(&n->a, PEA_NODE(.name = "a"));
    net_node(&n->b, PEA_NODE(.name = "b"));
    net_listen(&n->b);
    check_ok(pea_node_connect(n->a.node, n->b.addr, PEA_DIAL(.expect = &who, .again = true), NULL, NULL));
    net_wait(n, n->a.failures + n->a.connects == 1 && n->b.failures + n->b.disconnects == 1);
    assert_int_equal(n->a.connects, 0);
    check_err(n->a.reason.err, PEA_E_REFUSED);
    assert_int_equal(n->a.reason.origin, PEA_BY_HANDSHAKE);
    net_meet(n); /* without an expectation the chain is as plain as ever */
}

enum { REDIALS = 5 };

static void redial(net_side *side)
{
    check_err(side->reason.err, PEA_E_SYS);
    assert_int_equal(side->reason.sys, ENOENT);
    if (side->failures < REDIALS)
        check_ok(pea_node_connect(side->node, "unix:/nonexistent/peapod", PEA_DIAL(.again = true), NULL, NULL));
}

/* connect() says no at once; what is dialled inside on_connect_failed fails in the same way, and never "connects". */
static void redials_that_fail_at_once(void **state)
{
    net *n = *state;
    net_node(&n->a, PEA_NODE(.name = "a"));
    n->a.on_failed = redial;
    check_ok(pea_node_connect(n->a.node, "unix:/nonexistent/peapod", NULL, NULL, NULL));
    net_wait(n, n->a.failures + n->a.connects == REDIALS);
    assert_int_equal(n->a.connects, 0);
    assert_int_equal(n->a.disconnects, 0);
    pea_counts counts;
    pea_node_counts(n->a.node, &counts);
    assert_int_equal(counts.pending, 0);
}

/* ---- Listeners ---- */

static void records_have_no_codec(void **state)
{
    net *n = *state;
    toy_upgrade upgrade = {.nonce = {{1}, {2}}, .secret = 3, .preserving = true};
    pea_chain *records;
    pea_codec *codec;
    pea_listener *listener = NULL;
    pea_error why = {.code = PEA_OK};
    check_ok(pea_chain_new(&records, PEA_CHAIN(.mode = PEA_RECORDS), NULL));
    check_ok(pea_chain_add(records, &toy_upgrade_ops, &upgrade, NULL));
    check_ok(pea_chain_plain(records));
    check_ok(pea_codec_raw(&codec));
    net_node(&n->a, PEA_NODE(.name = "a"));
    check_err(pea_node_listen(n->a.node, "127.0.0.1:0", PEA_LISTEN(.chain = records, .codec = codec), &listener, &why),
              PEA_E_INVALID);
    assert_non_null(strstr(why.text, "codec"));
    assert_null(listener);
    pea_counts counts;
    pea_node_counts(n->a.node, &counts);
    assert_int_equal(counts.listeners, 0);
    check_ok(pea_node_listen(n->a.node, "127.0.0.1:0", PEA_LISTEN(.chain = records), NULL, &why));
    check_ok(pea_node_listen(n->a.node, "127.0.0.1:0", PEA_LISTEN(.codec = codec), NULL, &why));
    /* the node's own chain may be the one of records */
    net_node(&n->b, PEA_NODE(.chain = records));
    check_err(pea_node_listen(n->b.node, "127.0.0.1:0", PEA_LISTEN(.codec = codec), &listener, &why), PEA_E_INVALID);
    pea_codec_unref(codec);
    pea_chain_unref(records);
    pea_node_free(n->a.node); /* before the stage's configuration goes */
    pea_node_free(n->b.node);
    n->a.node = n->b.node = NULL;
}

/* ---- Walks and look-ups ---- */

static bool free_the_node(pea_conn *conn, void *arg)
{
    net_side *side = arg;
    assert_ptr_equal(pea_conn_node(conn), side->node);
    assert_true(pea_conn_id(conn) > 0);
    pea_node_free(side->node);
    pea_conn_close(conn, PEA_CODE_NORMAL, "too late"); /* what was freed is still there while the walk lasts */
    return true;
}

/* Outside of the loop, where a call usually takes effect at once. */
static void a_walk_that_frees_its_node(void **state)
{
    net *n = *state;
    net_pair(n);
    net_meet(n);
    net_meet(n);
    pea_node_each(n->a.node, free_the_node, &n->a);
    n->a.node = NULL;
    net_wait(n, n->a.disconnects == 3 && n->b.disconnects == 3);
    assert_int_equal(n->a.reason.origin, PEA_BY_SHUTDOWN);
    check_err(n->a.reason.err, PEA_E_ABORTED);
}

static bool abort_it(pea_conn *conn, void *arg)
{
    (void)arg;
    pea_conn_abort(conn);
    return true;
}

static void abort_the_others(net_side *side, pea_conn *conn)
{
    pea_node_each(side->node, abort_it, NULL); /* walks nest */
    assert_int_equal(pea_conn_state(conn), PEA_CLOSED);
}

static void walks_nest(void **state)
{
    net *n = *state;
    net_pair(n);
    net_meet(n);
    net_meet(n);
    n->a.on_disconnect = abort_the_others;
    pea_node_each(n->a.node, abort_it, NULL);
    net_wait(n, n->a.disconnects == 3 && n->b.disconnects == 3);
}

static void use_noise(net *n)
{
    pea_identity *identity;
    pea_trust *trust;
    pea_chain_unref(n->chain);
    check_ok(pea_identity_generate(&identity, NULL));
    check_ok(pea_chain_new(&n->chain, NULL, NULL));
    check_ok(pea_chain_noise(n->chain, PEA_NOISE(.identity = identity), NULL));
    pea_identity_unref(identity);
    check_ok(pea_identity_generate(&identity, NULL));
    check_ok(pea_chain_new(&n->chain_b, NULL, NULL));
    check_ok(pea_chain_noise(n->chain_b, PEA_NOISE(.identity = identity), NULL));
    pea_identity_unref(identity);
    check_ok(pea_trust_new(&trust));
    pea_trust_any(trust);
    n->policy = pea_policy_ref(pea_trust_policy(trust));
    pea_trust_unref(trust);
}

/* Of several connections with one peer those that end do not hide the one that is READY, wherever they stand. */
static void find_peer_prefers_who_is_ready(void **state)
{
    net *n = *state;
    use_noise(n);
    net_pair(n);
    for (unsigned last = 0; last < 3; last++) {
        pea_conn *conns[3] = {n->a.conn};
        for (size_t i = 1; i < 3; i++) {
            net_meet(n);
            conns[i] = n->a.conn;
        }
        const pea_peer peer = *pea_conn_peer(conns[0]);
        assert_non_null(pea_node_find_peer(n->a.node, &peer));
        for (unsigned i = 0; i < 3; i++)
            if (i != last)
                pea_conn_close(conns[i], PEA_CODE_NORMAL, NULL);
        assert_ptr_equal(pea_node_find_peer(n->a.node, &peer), conns[last]);
        pea_conn_close(conns[last], PEA_CODE_NORMAL, NULL);
        assert_non_null(pea_node_find_peer(n->a.node, &peer)); /* all of them end: any */
        unsigned all = n->a.connects;
        net_wait(n, n->a.disconnects == all && n->b.disconnects == all);
        assert_null(pea_node_find_peer(n->a.node, &peer));
        net_meet(n);
    }
}

/* ---- Confirmed sends ---- */

typedef struct receipt {
    pea_conn *aborts; /* this connection, when it is told PEA_OK */
    unsigned told;
    pea_err err;
} receipt;

static void on_sent(void *arg, pea_err err)
{
    receipt *r = arg;
    r->told++;
    r->err = err;
    if (err == PEA_OK && r->aborts != NULL)
        pea_conn_abort(r->aborts);
}

static void send_confirmed(pea_conn *conn, size_t len, receipt *r)
{
    pea_msg *msg;
    uint8_t *data = calloc(len, 1);
    assert_non_null(data);
    check_ok(pea_msg_new(&msg, data, len));
    check_ok(pea_conn_send_msg(conn, msg, on_sent, r));
    pea_msg_unref(msg);
    free(data);
}

static void use_xor(net *n, toy_upgrade *upgrade)
{
    pea_chain_unref(n->chain);
    check_ok(pea_chain_new(&n->chain, NULL, NULL));
    check_ok(pea_chain_add(n->chain, &toy_upgrade_ops, upgrade, NULL));
    check_ok(pea_chain_plain(n->chain));
}

/* The confirmation of a small message aborts while a large one behind it has not left: that one is told so. */
static void abort_from_a_confirmation(net *n)
{
    receipt first = {0}, second = {0}, third = {0};
    net_node(&n->a, PEA_NODE(.high_water = 16u << 20));
    net_node(&n->b, PEA_NODE(.name = "b"));
    net_listen(&n->b);
    net_meet(n);
    net_narrow_pair(n);
    pea_conn_pause(n->b.conn);
    first.aborts = n->a.conn;
    send_confirmed(n->a.conn, 100, &first);
    send_confirmed(n->a.conn, 4000000, &second);
    send_confirmed(n->a.conn, 100, &third);
    net_wait(n, n->a.disconnects == 1);
    assert_int_equal(first.told, 1);
    check_err(first.err, PEA_OK);
    assert_int_equal(second.told, 1);
    check_err(second.err, PEA_E_ABORTED);
    assert_int_equal(third.told, 1);
    check_err(third.err, PEA_E_ABORTED);
    pea_conn_resume(n->b.conn);
    net_wait(n, n->b.disconnects == 1);
    assert_true(n->b.messages <= 1); /* the first may be lost to a reset; the others never were there */
}

static void what_has_not_left_is_told_so(void **state)
{
    abort_from_a_confirmation(*state);
}

static void what_has_not_left_is_told_so_behind_a_transform(void **state)
{
    net *n = *state;
    static toy_upgrade upgrade = {.nonce = {{1}, {2}}, .secret = 3};
    use_xor(n, &upgrade);
    abort_from_a_confirmation(n);
}

static receipt written[2];

static void send_flush_abort(net_side *side, pea_conn *conn)
{
    (void)side;
    send_confirmed(conn, 1000, &written[0]);
    send_confirmed(conn, 0, &written[1]);
    pea_conn_flush(conn); /* both are with the system from here on */
    pea_conn_abort(conn);
}

/* What has left before an abort has left. */
static void what_has_left_is_told_so(void **state)
{
    net *n = *state;
    memset(written, 0, sizeof written);
    n->a.on_connect = send_flush_abort;
    net_node(&n->a, PEA_NODE(.name = "a"));
    net_node(&n->b, PEA_NODE(.name = "b"));
    net_listen(&n->b);
    net_dial(&n->a, &n->b);
    net_wait(n, n->a.disconnects == 1 && n->b.disconnects == 1);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(written[i].told, 1);
        check_err(written[i].err, PEA_OK);
    }
    assert_int_equal(n->b.messages, 2);
    check_err(n->a.reason.err, PEA_E_ABORTED);
}

/* Several messages leave in one write, and the first one's confirmation aborts: the others have left all the same. */
static void what_left_together_is_told_so(void **state)
{
    net *n = *state;
    receipt all[4] = {0};
    net_pair(n);
    all[0].aborts = n->a.conn;
    for (size_t i = 0; i < 4; i++)
        send_confirmed(n->a.conn, 100, &all[i]);
    net_wait(n, n->a.disconnects == 1 && n->b.disconnects == 1);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(all[i].told, 1);
        check_err(all[i].err, PEA_OK);
    }
    assert_int_equal(n->b.messages, 4);
}

#define both(test)                                            \
    {#test " (native)", test, setup_native, teardown, NULL},  \
    {                                                         \
#test " (stream)", test, setup_stream, teardown, NULL \
    }
#define native(test)                              \
    {                                             \
#test, test, setup_native, teardown, NULL \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        both(an_expectation_over_a_plain_chain),
        both(redials_that_fail_at_once),
        native(records_have_no_codec),
        both(a_walk_that_frees_its_node),
        both(walks_nest),
        native(find_peer_prefers_who_is_ready),
        both(what_has_not_left_is_told_so),
        native(what_has_not_left_is_told_so_behind_a_transform),
        both(what_has_left_is_told_so),
        both(what_left_together_is_told_so),
    };
    return cmocka_run_group_tests_name("node", tests, NULL, NULL);
}
