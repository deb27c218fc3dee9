/* SPDX-License-Identifier: MIT */
/* Many at once, and by name: broadcasts, sends and closes by peer; and what becomes of messages that nobody takes:
 * paused readers that drop, writes that time out. */
#include "support/faults.h"
#include "support/net.h"

#include <sys/socket.h>
#include <unistd.h>

#include "peapod/chain.h"
#include "peapod/identity.h"
#include "peapod/trust.h"

typedef struct scene {
    net n;
    pea_identity *identity[2];
    pea_peer peer[2];
    pea_msg *msg;
    unsigned done, sent;
    pea_err sent_err;
    pea_broadcast_result result;
    uint64_t only; /* the filter's */
} scene;

static int setup(void **state)
{
    static scene s;
    memset(&s, 0, sizeof s);
    net_setup(&s.n, PEA_NATIVE);
    check_ok(pea_msg_new(&s.msg, "to everybody", 12));
    *state = &s;
    return 0;
}

/* Both have an identity, and everybody is trusted. */
static int setup_noise(void **state)
{
    pea_trust *trust;
    setup(state);
    scene *s = *state;
    pea_chain_unref(s->n.chain);
    for (int b = 0; b < 2; b++) {
        pea_chain **chain = b ? &s->n.chain_b : &s->n.chain;
        check_ok(pea_identity_generate(&s->identity[b], NULL));
        pea_identity_peer(s->identity[b], &s->peer[b]);
        check_ok(pea_chain_new(chain, NULL, NULL));
        check_ok(pea_chain_noise(*chain, PEA_NOISE(.identity = s->identity[b]), NULL));
    }
    check_ok(pea_trust_new(&trust));
    pea_trust_any(trust);
    s->n.policy = pea_policy_ref(pea_trust_policy(trust));
    pea_trust_unref(trust);
    return 0;
}

static int teardown(void **state)
{
    scene *s = *state;
    pea_msg_unref(s->msg);
    net_teardown(&s->n);
    pea_identity_unref(s->identity[0]);
    pea_identity_unref(s->identity[1]);
    assert_int_equal(faults_blocks(), 0);
    return 0;
}

static void on_done(void *arg, const pea_broadcast_result *result)
{
    scene *s = arg;
    s->done++;
    s->result = *result;
}

static void on_sent(void *arg, pea_err err)
{
    scene *s = arg;
    s->sent++;
    s->sent_err = err;
}

/* ---- Broadcast ---- */

static void everybody_gets_it(void **state)
{
    scene *s = *state;
    net *n = &s->n;
    net_pair(n);
    for (int i = 0; i < 9; i++)
        net_meet(n);
    check_ok(pea_node_broadcast(n->a.node, s->msg, NULL, on_done, s));
    assert_int_equal(s->done, 0); /* never inside the call */
    net_wait(n, s->done == 1 && n->b.messages == 10);
    assert_int_equal(s->result.taken, 10);
    assert_int_equal(s->result.refused, 0);
    assert_int_equal(n->a.messages, 0);
}

static bool is_the_one(pea_conn *conn, void *arg)
{
    const scene *s = arg;
    return pea_conn_id(conn) == s->only;
}

static void a_filter_chooses(void **state)
{
    scene *s = *state;
    net *n = &s->n;
    net_pair(n);
    net_meet(n);
    net_meet(n);
    s->only = pea_conn_id(n->a.conn);
    check_ok(pea_node_broadcast(n->a.node, s->msg, is_the_one, on_done, s));
    net_wait(n, s->done == 1 && n->b.messages == 1);
    assert_int_equal(s->result.taken, 1);
}

static void to_nobody(void **state)
{
    scene *s = *state;
    net *n = &s->n;
    net_node(&n->a, PEA_NODE(.name = NULL));
    check_ok(pea_node_broadcast(n->a.node, s->msg, NULL, on_done, s));
    net_wait(n, s->done == 1);
    assert_int_equal(s->result.taken + s->result.refused, 0);
}

/* Whoever is slow refuses it, and the others have it all the same. */
static void a_full_queue_refuses(void **state)
{
    scene *s = *state;
    net *n = &s->n;
    static const uint8_t block[65536];
    net_pair(n);
    net_meet(n);
    pea_err err;
    while ((err = pea_conn_send(n->a.conn, block, sizeof block)) == PEA_OK)
        continue;
    assert_int_equal(err, PEA_E_QUEUE_FULL);
    check_ok(pea_node_broadcast(n->a.node, s->msg, NULL, on_done, s));
    net_wait(n, s->done == 1);
    assert_int_equal(s->result.taken, 1);
    assert_int_equal(s->result.refused, 1);
}

/* A node that is freed owes no answer any more. */
static void done_comes_before_its_node_is_gone(void **state)
{
    scene *s = *state;
    net *n = &s->n;
    net_pair(n);
    check_ok(pea_node_broadcast(n->a.node, s->msg, NULL, on_done, s));
    assert_int_equal(s->done, 0);
    pea_node_free(n->a.node);
    n->a.node = NULL;
    assert_int_equal(s->done, 1);
    assert_int_equal(s->result.taken, 1);
}

/* Those that are on their way are bounded like any mail. */
static void too_many_broadcasts(void **state)
{
    scene *s = *state;
    net *n = &s->n;
    net_node(&n->a, PEA_NODE(.name = NULL));
    pea_msg *large;
    static const uint8_t block[4u << 20];
    check_ok(pea_msg_new(&large, block, sizeof block));
    unsigned taken = 0;
    pea_err err;
    while ((err = pea_node_broadcast(n->a.node, large, NULL, on_done, s)) == PEA_OK && taken < 100)
        taken++;
    pea_msg_unref(large);
    assert_int_equal(err, PEA_E_QUEUE_FULL);
    net_wait(n, s->done == taken);
    check_ok(pea_node_broadcast(n->a.node, s->msg, NULL, on_done, s));
    net_wait(n, s->done == taken + 1);
}

/* ---- By peer ---- */

static void a_peer_is_sent_to(void **state)
{
    scene *s = *state;
    net *n = &s->n;
    net_pair(n);
    assert_ptr_equal(pea_node_find_peer(n->a.node, &s->peer[1]), n->a.conn);
    check_ok(pea_node_send_peer(n->a.node, &s->peer[1], s->msg, on_sent, s));
    net_wait(n, s->sent == 1 && n->b.messages == 1);
    check_ok(s->sent_err);
    assert_int_equal(pea_node_send_peer(n->a.node, &s->peer[0], s->msg, on_sent, s), PEA_E_NOT_FOUND);
    assert_int_equal(s->sent, 1);
}

static void a_peer_is_closed(void **state)
{
    scene *s = *state;
    net *n = &s->n;
    net_pair(n);
    net_meet(n);
    check_ok(pea_node_close_peer(n->a.node, &s->peer[1], PEA_CODE_APPLICATION | 7, "enough"));
    net_wait(n, n->a.disconnects == 2 && n->b.disconnects == 2);
    assert_string_equal(n->b.reason.text, "enough");
    assert_int_equal(pea_node_close_peer(n->a.node, &s->peer[1], 0, NULL), PEA_E_NOT_FOUND);
    assert_int_equal(pea_node_send_peer(n->a.node, &s->peer[1], s->msg, on_sent, s), PEA_E_NOT_FOUND);
}

/* ---- Nobody takes it ---- */

static void send_some(net_side *from, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        check_ok(pea_conn_send(from->conn, "late", 4));
}

/* What comes during a pause is lost, and the rest is not. */
static void a_paused_reader_drops(void **state)
{
    scene *s = *state;
    net *n = &s->n;
    pea_stats_conn stats;
    net_node(&n->a, PEA_NODE(.name = NULL));
    net_node(&n->b, PEA_NODE(.inbound_overflow = PEA_OVERFLOW_DROP));
    net_listen(&n->b);
    net_meet(n);
    pea_conn_pause(n->b.conn);
    send_some(&n->a, 5);
    net_wait(n, (pea_conn_stats(n->b.conn, &stats), stats.dropped == 5));
    assert_int_equal(n->b.messages, 0);
    pea_conn_resume(n->b.conn);
    send_some(&n->a, 3);
    net_wait(n, n->b.messages == 3);
    pea_stats_node all;
    pea_node_stats(n->b.node, &all);
    assert_int_equal(all.dropped, 5);
    assert_int_equal(all.messages_in, 3);
}

/* A peer that takes nothing: the confirmation says so, and the connection does not wait for ever. */
static void a_write_times_out(void **state)
{
    scene *s = *state;
    net *n = &s->n;
    static const uint8_t block[65536];
    net_node(&n->a, PEA_NODE(.write_timeout_ms = 200));
    net_listen(&n->a);
    int fd = net_raw_connect(&n->a);
    net_raw_open(n, fd);
    net_wait(n, n->a.connects == 1);
    pea_msg *msg;
    check_ok(pea_msg_new(&msg, block, sizeof block));
    unsigned taken = 0;
    while (n->a.disconnects == 0) { /* as fast as the kernel takes it, until it takes no more */
        while (n->a.conn != NULL && pea_conn_send_msg(n->a.conn, msg, on_sent, s) == PEA_OK)
            taken++;
        net_clock_start(n);
        net_turn(n, "the write timeout", __FILE__, __LINE__);
        net_clock_stop(n);
    }
    pea_msg_unref(msg);
    assert_int_equal(n->a.reason.origin, PEA_BY_TIMEOUT);
    assert_int_equal(n->a.reason.err, PEA_E_TIMEOUT);
    assert_non_null(strstr(n->a.reason.text, "write timeout"));
    assert_int_equal(s->sent, taken);
    assert_int_equal(s->sent_err, PEA_E_TIMEOUT);
    close(fd);
}

#define entry(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define noise(test) cmocka_unit_test_setup_teardown(test, setup_noise, teardown)

int main(void)
{
    faults_install();
    const struct CMUnitTest tests[] = {
        entry(everybody_gets_it),
        entry(a_filter_chooses),
        entry(to_nobody),
        entry(a_full_queue_refuses),
        entry(done_comes_before_its_node_is_gone),
        entry(too_many_broadcasts),
        noise(a_peer_is_sent_to),
        noise(a_peer_is_closed),
        entry(a_paused_reader_drops),
        entry(a_write_times_out),
    };
    return cmocka_run_group_tests_name("reach", tests, NULL, NULL);
}
