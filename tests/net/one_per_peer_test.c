/* SPDX-License-Identifier: MIT */
/* At most one connection per peer: whoever dials first, both at once, one that answers no more, one direction that is
 * blocked. Whatever happens, both sides end on the same one connection. */
#include "rivals_scene.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "peapod/chain.h"

static int setup(void **state)
{
    *state = rivals_open(PEA_NATIVE, true, 0);
    return 0;
}

static bool is_ready(pea_conn *conn, void *arg)
{
    if (pea_conn_state(conn) == PEA_READY)
        return true;
    *(bool *)arg = false;
    return false;
}

/* Both have as many connections, all of them READY, and if it is one, it is the same. */
static bool agreed(net *n)
{
    bool ready = true;
    pea_node_each(n->a.node, is_ready, &ready);
    pea_node_each(n->b.node, is_ready, &ready);
    if (!ready || live(&n->a) != live(&n->b))
        return false;
    if (live(&n->a) != 1)
        return true;
    pea_conn_info info;
    pea_conn_snapshot(n->a.conn, &info);
    return pea_addr_equal(&info.local, pea_conn_remote(n->b.conn));
}

/* Nothing is on its way any more, and both have one connection that works. */
static void check_one(net *n)
{
    net_wait(n, agreed(n) && live(&n->a) == 1);
    unsigned before = n->b.messages;
    check_ok(pea_conn_send(n->a.conn, "?", 1));
    net_wait(n, n->b.messages == before + 1);
    before = n->a.messages;
    check_ok(pea_conn_send(n->b.conn, "!", 1));
    net_wait(n, n->a.messages == before + 1);
}

static bool is_duplicate(const pea_reason *reason)
{
    return (reason->code & ~PEA_CODE_PERMANENT) == PEA_CODE_DUPLICATE;
}

/* ---- One after another ---- */

static void second_dial(net *n, net_side *from, net_side *to)
{
    net_meet(n);
    uint64_t kept = pea_conn_id(n->a.conn);
    net_dial(from, to);
    net_wait(n, n->a.failures == 1 && n->b.failures == 1);
    assert_true(is_duplicate(&n->a.reason));
    assert_true(is_duplicate(&n->b.reason));
    check_one(n);
    assert_int_equal(pea_conn_id(n->a.conn), kept);
    assert_int_equal(n->a.connects, 1);
    assert_int_equal(n->b.connects, 1);
}

static void the_second_dial_of_the_larger_is_rejected(void **state)
{
    rivals *s = *state;
    second_dial(&s->n, &s->n.a, &s->n.b);
}

static void the_second_dial_of_the_smaller_is_rejected(void **state)
{
    rivals *s = *state;
    second_dial(&s->n, &s->n.b, &s->n.a);
}

/* ---- Both at once ---- */

static uint64_t draw(rivals *s, uint64_t below)
{
    s->random ^= s->random << 13;
    s->random ^= s->random >> 7;
    s->random ^= s->random << 17;
    return s->random % below;
}

/* The property: however dials cross, or if only one side can dial (NAT), and whatever is aborted meanwhile, one
 * connection is left, the same for both, and nobody was told of two at a time. */
static unsigned most_live[2];

static void note_a(net_side *side, pea_conn *conn)
{
    (void)conn;
    most_live[0] = live(side) > most_live[0] ? live(side) : most_live[0];
}

static void note_b(net_side *side, pea_conn *conn)
{
    (void)conn;
    most_live[1] = live(side) > most_live[1] ? live(side) : most_live[1];
}

static bool abort_one(pea_conn *conn, void *arg)
{
    rivals *s = arg;
    if (draw(s, 3) != 0)
        return true;
    pea_conn_abort(conn);
    return false;
}

static void crossing_dials_end_in_one(void **state)
{
    rivals *s = *state;
    net *n = &s->n;
    n->a.on_connect = note_a;
    n->b.on_connect = note_b;
    for (unsigned seed = 1; seed <= 60; seed++) {
        s->random = seed * UINT64_C(0x9E3779B97F4A7C15);
        most_live[0] = most_live[1] = 0;
        unsigned who = seed % 3; /* both, a alone, b alone */
        for (uint64_t dials = 1 + draw(s, 4), i = 0; i < dials; i++) {
            bool by_a = who == 1 || (who == 0 && draw(s, 2) == 0);
            net_dial(by_a ? &n->a : &n->b, by_a ? &n->b : &n->a);
            for (uint64_t turns = draw(s, 12); turns > 0; turns--)
                net_poll(n);
            if (draw(s, 4) == 0)
                pea_node_each(draw(s, 2) == 0 ? n->a.node : n->b.node, abort_one, s);
        }
        net_wait(n, agreed(n));
        if (live(&n->a) == 0) /* all were aborted */
            net_dial(who == 2 ? &n->b : &n->a, who == 2 ? &n->a : &n->b);
        check_one(n);
        assert_int_equal(most_live[0], 1);
        assert_int_equal(most_live[1], 1);
        pea_conn_abort(n->a.conn);
        net_wait(n, live(&n->a) == 0 && live(&n->b) == 0 && agreed(n));
    }
}

static pea_err step_mute(void *self, pea_stage_env *env, pea_buf *in, pea_buf *out)
{
    (void)self, (void)env, (void)in, (void)out;
    return PEA_MORE;
}

/* ---- Somebody answers no more ---- */

/* Bytes between two sockets, as long as nobody cuts them: the network between a and b. */
typedef struct relay {
    int listener, in, out;
    char addr[PEA_ADDR_TEXT_BYTES];
} relay;

static void carry(int from, int to)
{
    uint8_t block[4096];
    ssize_t got = recv(from, block, sizeof block, MSG_DONTWAIT);
    if (got > 0)
        net_raw_send(to, block, (size_t)got);
}

/* Dials by a relay, and carries until both are connected. */
static void meet_by(net *n, relay *r, net_side *from, net_side *to)
{
    r->listener = net_raw_listen(1, r->addr);
    check_ok(pea_node_connect(from->node, r->addr, NULL, NULL, NULL));
    r->in = net_raw_accept(n, r->listener);
    r->out = net_raw_connect(to);
    net_clock_start(n);
    while (live(&n->a) != 1 || live(&n->b) != 1) {
        carry(r->in, r->out);
        carry(r->out, r->in);
        net_poll(n);
        if (n->late)
            fail_msg("the relay carried in vain");
    }
    net_clock_stop(n);
}

static void relay_close(relay *r)
{
    close(r->in);
    close(r->out);
    close(r->listener);
}

/* The network has swallowed the connection, and only one side dials anew: the newcomer waits, and takes its place. */
static void a_dead_one_makes_way(net *n, net_side *from, net_side *to)
{
    relay r;
    meet_by(n, &r, from, to);
    net_dial(from, to); /* the relay carries nothing any more */
    net_wait(n, n->a.connects == 2 && n->b.connects == 2);
    check_one(n);
    assert_int_equal(n->a.disconnects, 1);
    assert_int_equal(n->b.disconnects, 1);
    relay_close(&r);
}

static void a_dead_one_makes_way_for_the_larger(void **state)
{
    rivals *s = *state;
    a_dead_one_makes_way(&s->n, &s->n.a, &s->n.b);
}

static void a_dead_one_makes_way_for_the_smaller(void **state)
{
    rivals *s = *state;
    a_dead_one_makes_way(&s->n, &s->n.b, &s->n.a);
}

/* Whoever waits in line and goes leaves the place to the next one. */
static void who_waits_may_leave(void **state)
{
    rivals *s = *state;
    net *n = &s->n;
    relay r;
    meet_by(n, &r, &n->b, &n->a);
    uint64_t first = net_dial(&n->b, &n->a); /* the relay carries nothing any more: it waits */
    pea_counts counts = {.pending = 0};
    while (counts.pending == 0) {
        net_poll(n);
        pea_node_counts(n->a.node, &counts);
    }
    for (int i = 0; i < 50; i++)
        net_poll(n);
    assert_int_equal(n->a.failures + n->b.failures, 0);
    pea_conn_abort(pea_node_find(n->b.node, first));
    net_wait(n, n->b.failures == 1 && n->a.failures == 1);
    net_dial(&n->b, &n->a);
    net_wait(n, n->a.connects == 2 && n->b.connects == 2);
    assert_int_equal(n->b.failures, 1);
    check_one(n);
    relay_close(&r);
}

/* A paused connection lives, though nobody reads from it. */
static void a_paused_one_lives(void **state)
{
    rivals *s = *state;
    net *n = &s->n;
    net_meet(n);
    pea_conn_pause(n->a.conn);
    check_ok(pea_conn_send(n->b.conn, "held back", 9));
    net_dial(&n->b, &n->a);
    net_wait(n, n->a.failures == 1 && n->b.failures == 1);
    assert_true(is_duplicate(&n->b.reason));
    assert_int_equal(n->a.messages, 0);
    pea_conn_resume(n->a.conn);
    net_wait(n, n->a.messages == 1);
    check_one(n);
}

/* However often somebody else dials: a paused connection is not read piece by piece until it can hear nothing more. */
static void a_paused_one_lives_for_long(void **state)
{
    rivals *s = *state;
    net *n = &s->n;
    static const uint8_t block[60000];
    net_meet(n);
    pea_conn_pause(n->a.conn);
    while (pea_conn_send(n->b.conn, block, sizeof block) == PEA_OK)
        net_poll(n); /* more than all buffers hold */
    for (unsigned i = 1; i <= 12; i++) {
        net_dial(&n->b, &n->a);
        net_wait(n, n->a.failures == i && n->b.failures == i);
        assert_true(is_duplicate(&n->b.reason));
    }
    assert_int_equal(n->a.disconnects, 0);
    pea_conn_resume(n->a.conn);
    net_wait(n, n->a.messages > 0);
}

/* With stages of the user's own nobody could tell who has the larger id. */
static void who_are_we(void **state)
{
    rivals *s = *state;
    net *n = &s->n;
    pea_error why;
    pea_chain *chain;
    pea_node *node;
    pea_peer self;
    static const pea_stage_ops mute = {.version = PEA_STAGE_VERSION, .name = "mute", .step = step_mute};
    check_ok(pea_chain_new(&chain, NULL, NULL));
    check_ok(pea_chain_add(chain, &mute, NULL, NULL));
    check_err(pea_node_listen(n->a.node, "127.0.0.1:0", PEA_LISTEN(.chain = chain), NULL, &why), PEA_E_INVALID);
    assert_non_null(strstr(why.text, "pea_chain_self()"));
    check_err(pea_node_connect(n->a.node, n->b.addr, PEA_DIAL(.chain = chain), NULL, &why), PEA_E_INVALID);
    check_err(pea_node_new(&node, n->runtime, PEA_NODE(.chain = chain, .one_per_peer = true), &why), PEA_E_INVALID);
    pea_identity_peer(s->identity[0], &self);
    check_err(pea_chain_self(chain, &self), PEA_E_STATE); /* it has been looked at: nothing of it changes any more */
    pea_chain_unref(chain);
    check_ok(pea_chain_new(&chain, NULL, NULL));
    check_ok(pea_chain_add(chain, &mute, NULL, NULL));
    check_ok(pea_chain_self(chain, &self));
    check_ok(pea_node_new(&node, n->runtime, PEA_NODE(.chain = chain, .one_per_peer = true), &why));
    pea_node_free(node);
    pea_chain_unref(chain);
}

/* b lost its memory of it, and its end never came: a restart. The kernel resets, and the newcomer need not wait. */
static void a_restarted_peer_comes_back(void **state)
{
    rivals *s = *state;
    net *n = &s->n;
    net_meet(n);
    pea_node_free(n->b.node);
    n->b.connects = n->b.disconnects = 0;
    net_node(&n->b, PEA_NODE(.one_per_peer = true));
    net_listen(&n->b);
    net_dial(&n->b, &n->a);
    net_wait(n, n->b.connects == 1 && live(&n->a) == 1 && n->a.connects == 2);
    check_one(n);
}

/* Without the option there are as many as there are dials. */
static void it_is_an_option(void **state)
{
    rivals *s = *state;
    net *n = &s->n;
    pea_node_free(n->b.node);
    pea_node_free(n->a.node);
    net_node(&n->a, PEA_NODE(.name = NULL));
    net_node(&n->b, PEA_NODE(.name = NULL));
    net_listen(&n->b);
    net_meet(n);
    net_meet(n);
    assert_int_equal(live(&n->a), 2);
}

#define entry(test) cmocka_unit_test_setup_teardown(test, setup, rivals_close)

int main(void)
{
    faults_install();
    const struct CMUnitTest tests[] = {
        entry(the_second_dial_of_the_larger_is_rejected),
        entry(the_second_dial_of_the_smaller_is_rejected),
        entry(crossing_dials_end_in_one),
        entry(a_dead_one_makes_way_for_the_larger),
        entry(a_dead_one_makes_way_for_the_smaller),
        entry(who_waits_may_leave),
        entry(a_paused_one_lives),
        entry(a_paused_one_lives_for_long),
        entry(who_are_we),
        entry(a_restarted_peer_comes_back),
        entry(it_is_an_option),
    };
    return cmocka_run_group_tests_name("one_per_peer", tests, NULL, NULL);
}
