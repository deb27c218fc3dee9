/* SPDX-License-Identifier: MIT */
/* What any thread may do: post sends, closes and answers into the mailbox of the connection's own thread. */
#include "support/net.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

static int setup(void **state)
{
    static net n;
    net_setup_runtime(&n, PEA_NATIVE, PEA_RUNTIME(.mailbox_bytes = 100000));
    *state = &n;
    return 0;
}

static int teardown(void **state)
{
    net_teardown(*state);
    return 0;
}

typedef struct receipts {
    atomic_uint calls, good;
    pea_err last;
    pthread_t thread;
} receipts;

static void on_sent(void *arg, pea_err err)
{
    receipts *r = arg;
    r->last = err;
    r->thread = pthread_self();
    if (err == PEA_OK)
        atomic_fetch_add(&r->good, 1);
    atomic_fetch_add(&r->calls, 1);
}

static void post_a_send(void **state)
{
    net *n = *state;
    receipts got = {.last = PEA_MORE};
    pea_msg *msg;
    net_pair(n);
    check_ok(pea_msg_new(&msg, "posted", 6));
    check_ok(pea_post_send(n->runtime, pea_conn_id(n->a.conn), msg, on_sent, &got));
    pea_msg_unref(msg);
    assert_int_equal(got.calls, 0);
    net_wait(n, n->b.messages == 1 && got.calls == 1);
    check_ok(got.last);
    check_bytes(n->b.last, n->b.last_len, "posted", 6);
    assert_true(pthread_equal(got.thread, pthread_self()));
}

enum { THREADS = 4, EACH = 500 };

typedef struct poster {
    pthread_t thread;
    net *net;
    uint64_t conn;
    receipts got;
    unsigned refused;
} poster;

/* Posts while the loop runs; a full mailbox is tried again. */
static void *post_many(void *arg)
{
    poster *p = arg;
    pea_msg *msg;
    if (pea_msg_new(&msg, "from a thread", 13) != PEA_OK)
        abort();
    for (unsigned i = 0; i < EACH;) {
        pea_err err = pea_post_send(p->net->runtime, p->conn, msg, on_sent, &p->got);
        if (err == PEA_OK)
            i++;
        else if (err == PEA_E_QUEUE_FULL)
            p->refused++;
        else
            abort();
    }
    pea_msg_unref(msg);
    return NULL;
}

static void many_threads(void **state)
{
    net *n = *state;
    static poster posters[THREADS];
    memset(posters, 0, sizeof posters);
    net_node(&n->a, PEA_NODE(.high_water = 16u << 20));
    net_node(&n->b, PEA_NODE(.name = "b"));
    net_listen(&n->b);
    net_meet(n);
    for (size_t i = 0; i < THREADS; i++) {
        posters[i].net = n;
        posters[i].conn = pea_conn_id(n->a.conn);
        assert_int_equal(pthread_create(&posters[i].thread, NULL, post_many, &posters[i]), 0);
    }
    net_wait(n, n->b.messages == THREADS * EACH);
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(posters[i].thread, NULL), 0);
        net_wait(n, posters[i].got.calls == EACH);
        assert_int_equal(posters[i].got.good, EACH);
    }
}

static void a_full_mailbox(void **state)
{
    net *n = *state;
    receipts got = {.last = PEA_MORE};
    unsigned taken = 0;
    pea_msg *msg;
    uint8_t *big = calloc(1, 30000);
    net_pair(n);
    assert_non_null(big);
    check_ok(pea_msg_new(&msg, big, 30000));
    free(big);
    uint64_t id = pea_conn_id(n->a.conn);
    pea_err err;
    while ((err = pea_post_send(n->runtime, id, msg, on_sent, &got)) == PEA_OK)
        taken++;
    check_err(err, PEA_E_QUEUE_FULL);
    assert_int_equal(taken, 3); /* of 100,000 bytes */
    net_wait(n, got.calls == taken);
    check_ok(pea_post_send(n->runtime, id, msg, on_sent, &got)); /* there is room again */
    pea_msg_unref(msg);
    net_wait(n, n->b.messages == taken + 1 && got.good == taken + 1);
}

static void connections_that_are_gone(void **state)
{
    net *n = *state;
    receipts got = {.last = PEA_MORE};
    pea_msg *msg;
    net_pair(n);
    uint64_t id = pea_conn_id(n->a.conn);
    check_ok(pea_msg_new(&msg, "late", 4));
    check_ok(pea_post_send(n->runtime, 999999, msg, on_sent, &got));
    net_wait(n, got.calls == 1);
    check_err(got.last, PEA_E_STALE);
    pea_conn_abort(n->a.conn);
    net_wait(n, n->a.disconnects == 1);
    check_ok(pea_post_send(n->runtime, id, msg, on_sent, &got));
    net_wait(n, got.calls == 2);
    check_err(got.last, PEA_E_STALE);
    check_ok(pea_post_close(n->runtime, id, PEA_CODE_NORMAL, "nobody")); /* does nothing */
    pea_msg_unref(msg);
}

static void post_a_close(void **state)
{
    net *n = *state;
    char longest[2 * PEA_TEXT_MAX];
    net_pair(n);
    memset(longest, 'x', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    check_ok(pea_post_close(n->runtime, pea_conn_id(n->a.conn), PEA_CODE_APPLICATION | 1, longest));
    net_wait(n, n->a.disconnects == 1 && n->b.disconnects == 1);
    assert_int_equal(n->b.reason.code, PEA_CODE_APPLICATION | 1);
    assert_int_equal(strlen(n->b.reason.text), PEA_TEXT_MAX); /* cut there */
}

/* Posts that were never run are answered when the runtime ends. */
static void a_runtime_that_ends(void **state)
{
    net *n = *state;
    receipts got = {.last = PEA_MORE};
    pea_runtime *other;
    pea_msg *msg;
    check_ok(pea_runtime_new(&other, PEA_RUNTIME(.loop = n->loop), NULL));
    check_ok(pea_msg_new(&msg, "lost", 4));
    check_ok(pea_post_send(other, 1, msg, on_sent, &got));
    check_ok(pea_post_close(other, 1, 0, NULL));
    pea_msg_unref(msg);
    check_ok(pea_runtime_free(other));
    assert_int_equal(got.calls, 1);
    check_err(got.last, PEA_E_STALE);
}

/* ---- Tickets: a policy of the user's that asks somebody ---- */

typedef struct asking {
    pea_ticket ticket;
    unsigned checks;
} asking;

static pea_err ask(void *self, pea_peer *peer, const pea_candidate *candidate, pea_reason *why)
{
    asking *a = self;
    (void)peer;
    (void)why;
    assert_int_equal(candidate->side, PEA_RESPONDER);
    assert_non_null(candidate->from);
    a->ticket = candidate->ticket;
    a->checks++;
    return PEA_WAIT;
}

static const pea_policy_ops ask_ops = {.version = PEA_POLICY_VERSION, .name = "ask", .check = ask};

/* A stage that asks for the verdict on whoever comes, on the side that listens. */
static pea_err judge_step(void *self, pea_stage_env *env, pea_buf *in, pea_buf *out)
{
    const pea_peer somebody = {.kind = PEA_PEER_OTHER, .id = {7}};
    (void)self;
    (void)in;
    (void)out;
    if (pea_stage_side(env) == PEA_INITIATOR)
        return PEA_DONE;
    pea_err err = pea_stage_judge(env, &somebody, PEA_PROVEN);
    return err == PEA_OK || err == PEA_E_REFUSED ? PEA_DONE : err; /* a refusal is told in the channel */
}

static const pea_stage_ops judge_ops = {.version = PEA_STAGE_VERSION, .name = "judge", .step = judge_step};

static void asked(net *n, asking *a)
{
    pea_policy *policy;
    pea_chain_unref(n->chain);
    check_ok(pea_chain_new(&n->chain, NULL, NULL));
    check_ok(pea_chain_add(n->chain, &judge_ops, NULL, NULL));
    check_ok(pea_chain_plain(n->chain));
    check_ok(pea_policy_new(&policy, &ask_ops, a));
    net_node(&n->a, PEA_NODE(.name = "a"));
    net_node(&n->b, PEA_NODE(.policy = policy));
    pea_policy_unref(policy);
    net_listen(&n->b);
    net_dial(&n->a, &n->b);
    net_wait(n, a->checks == 1);
    assert_int_equal(n->b.connects, 0);
    assert_int_not_equal(a->ticket.runtime, 0);
}

static void *answer_yes(void *arg)
{
    if (pea_post_resume(*(pea_ticket *)arg, PEA_OK) != PEA_OK)
        abort();
    return NULL;
}

static void answered_from_another_thread(void **state)
{
    net *n = *state;
    asking a = {.checks = 0};
    pthread_t thread;
    asked(n, &a);
    assert_int_equal(pthread_create(&thread, NULL, answer_yes, &a.ticket), 0);
    net_wait(n, n->a.connects == 1 && n->b.connects == 1);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(pea_conn_peer(n->b.conn)->id[0], 7);
    assert_ptr_equal(pea_node_find_peer(n->b.node, pea_conn_peer(n->b.conn)), n->b.conn);
    check_ok(pea_post_resume(a.ticket, PEA_E_REFUSED)); /* a second answer does nothing */
    check_ok(pea_conn_send(n->a.conn, "fine", 4));
    net_wait(n, n->b.messages == 1);
}

static void refused_later(void **state)
{
    net *n = *state;
    asking a = {.checks = 0};
    asked(n, &a);
    check_ok(pea_post_resume(a.ticket, PEA_E_REFUSED));
    net_wait(n, n->a.failures == 1 && n->b.failures == 1);
    check_err(n->a.reason.err, PEA_E_REJECTED);
    assert_int_equal(n->a.reason.code, PEA_CODE_DENIED | PEA_CODE_PERMANENT);
    check_err(n->b.reason.err, PEA_E_REFUSED);
    assert_int_equal(n->b.reason.origin, PEA_BY_POLICY);
    assert_int_equal(n->b.info.peer.id[0], 7); /* who was refused */
    assert_int_equal(n->a.info.peer.kind, PEA_PEER_NONE);
}

static void answered_after_the_end(void **state)
{
    net *n = *state;
    asking a = {.checks = 0};
    asked(n, &a);
    pea_node_free(n->a.node);
    n->a.node = NULL;
    net_wait(n, n->b.failures == 1);
    check_ok(pea_post_resume(a.ticket, PEA_OK)); /* on its way, to nobody */
    ev_run(n->loop, EVRUN_ONCE);                 /* the mailbox is run */
    assert_int_equal(n->b.connects, 0);
    assert_int_equal(n->b.failures, 1);
}

static void answered_after_the_runtime(void **state)
{
    net *n = *state;
    asking a = {.checks = 0};
    asked(n, &a);
    const pea_ticket never = {.runtime = UINT64_MAX, .conn = a.ticket.conn, .wait = a.ticket.wait};
    check_err(pea_post_resume(never, PEA_OK), PEA_E_STALE);
    net_teardown(n);
    check_err(pea_post_resume(a.ticket, PEA_OK), PEA_E_STALE);
    net_setup(n, PEA_NATIVE); /* for the teardown to come */
}

#define entry(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        entry(post_a_send),
        entry(many_threads),
        entry(a_full_mailbox),
        entry(connections_that_are_gone),
        entry(post_a_close),
        entry(a_runtime_that_ends),
        entry(answered_from_another_thread),
        entry(refused_later),
        entry(answered_after_the_end),
        entry(answered_after_the_runtime),
    };
    return cmocka_run_group_tests_name("post", tests, NULL, NULL);
}
