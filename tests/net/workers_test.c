/* SPDX-License-Identifier: MIT */
/* Worker threads: every connection lives on one of them, nodes on the caller's loop, and whatever comes from either
 * side at any time, each on_connect has its on_disconnect. Made to be run under ThreadSanitizer. */
#include "support/check.h"

#include <ev.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "peapod/chain.h"
#include "peapod/identity.h"
#include "peapod/node.h"
#include "peapod/trust.h"

enum { WORKERS = 3, DEADLINE_S = 30 };

typedef struct city {
    struct ev_loop *loop;
    ev_async wake; /* something was counted */
    ev_timer clock;
    bool late;
    pea_runtime *runtime;
    pea_chain *chain[2]; /* of a and b */
    pea_trust *trust;
    pea_peer self[2]; /* who they are, if anybody */
    pea_node *a, *b;  /* a dials b */
    char addr[PEA_ADDR_TEXT_BYTES];
    /* What the callbacks count, on any thread. */
    atomic_uint connects, messages, disconnects, failures, done, wrong_thread, policy;
    atomic_uint served[WORKERS + 1]; /* connections by worker */
    bool echo;
    bool one_per_peer; /* for both nodes; set before city_open() */
    pea_msg *relayed;  /* what a callback broadcasts on */
    bool exchanges;    /* a callback tries to exchange b's chain */
} city;

/* What a connection's user pointer leads to: the thread on which it was met. */
typedef struct home {
    pthread_t thread;
} home;

static void say(city *c)
{
    ev_async_send(c->loop, &c->wake);
}

static void on_connect(pea_conn *conn, void *user)
{
    city *c = user;
    home *h = malloc(sizeof *h);
    if (h == NULL)
        abort();
    h->thread = pthread_self();
    pea_conn_set_user(conn, h);
    atomic_fetch_add(&c->served[pea_conn_id(conn) % (WORKERS + 1)], 1);
    atomic_fetch_add(&c->connects, 1);
    say(c);
}

static void check_thread(city *c, pea_conn *conn)
{
    const home *h = pea_conn_user(conn);
    if (!pthread_equal(h->thread, pthread_self()) || pea_node_find(pea_conn_node(conn), pea_conn_id(conn)) != conn)
        atomic_fetch_add(&c->wrong_thread, 1);
}

static void on_message(pea_conn *conn, const uint8_t *data, size_t len, void *user)
{
    city *c = user;
    check_thread(c, conn);
    atomic_fetch_add(&c->messages, 1);
    if (c->echo && pea_conn_side(conn) == PEA_RESPONDER && pea_conn_send(conn, data, len) != PEA_OK)
        abort();
    if (c->exchanges && pea_node_set_chain(pea_conn_node(conn), c->chain[0], NULL) != PEA_E_STATE)
        abort();
    if (c->relayed != NULL && len == 1 && pea_node_broadcast(c->b, c->relayed, NULL, NULL, NULL) != PEA_OK)
        abort();
    say(c);
}

static void on_disconnect(pea_conn *conn, const pea_reason *reason, void *user)
{
    city *c = user;
    check_thread(c, conn);
    free(pea_conn_user(conn));
    if (reason->origin == PEA_BY_POLICY)
        atomic_fetch_add(&c->policy, 1);
    atomic_fetch_add(&c->disconnects, 1);
    say(c);
}

static void on_failed(pea_node *node, const pea_conn_info *info, const pea_reason *reason, void *user)
{
    city *c = user;
    (void)node, (void)info, (void)reason;
    atomic_fetch_add(&c->failures, 1);
    say(c);
}

static const pea_node_callbacks callbacks = {
    .on_connect = on_connect, .on_message = on_message, .on_disconnect = on_disconnect, .on_connect_failed = on_failed};

static void on_wake(struct ev_loop *loop, ev_async *async, int events)
{
    (void)loop, (void)async, (void)events;
}

static void on_clock(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop, (void)events;
    ((city *)timer->data)->late = true;
}

#define until(c, condition)                                    \
    do {                                                       \
        ev_timer_again((c)->loop, &(c)->clock);                \
        while (!(condition)) {                                 \
            if ((c)->late)                                     \
                fail_msg("waited in vain for %s", #condition); \
            ev_run((c)->loop, EVRUN_ONCE);                     \
        }                                                      \
        ev_timer_stop((c)->loop, &(c)->clock);                 \
    } while (0)

/* `secure`: Noise, and everybody is trusted until somebody is denied. */
static void city_open(city *c, bool secure, uint32_t max_connections)
{
    pea_error why;
    bool one_per_peer = c->one_per_peer;
    memset(c, 0, sizeof *c);
    c->loop = ev_loop_new(EVFLAG_AUTO);
    assert_non_null(c->loop);
    ev_async_init(&c->wake, on_wake);
    ev_async_start(c->loop, &c->wake);
    ev_init(&c->clock, on_clock);
    c->clock.repeat = DEADLINE_S;
    c->clock.data = c;
    check_ok(pea_runtime_new(&c->runtime, PEA_RUNTIME(.loop = c->loop, .workers = WORKERS), &why));
    check_ok(pea_trust_new(&c->trust));
    pea_trust_any(c->trust);
    for (int i = 0; i < 2; i++) {
        check_ok(pea_chain_new(&c->chain[i], NULL, NULL));
        if (!secure) {
            check_ok(pea_chain_plain(c->chain[i]));
            continue;
        }
        pea_identity *identity;
        check_ok(pea_identity_generate(&identity, NULL));
        check_ok(pea_chain_noise(c->chain[i], PEA_NOISE(.identity = identity), NULL));
        pea_identity_peer(identity, &c->self[i]);
        pea_identity_unref(identity);
    }
    pea_policy *policy = pea_trust_policy(c->trust);
    check_ok(pea_node_new(&c->a, c->runtime,
                          PEA_NODE(.name = "a", .chain = c->chain[0], .policy = policy, .on = &callbacks, .user = c,
                                   .one_per_peer = one_per_peer),
                          NULL));
    check_ok(pea_node_new(&c->b, c->runtime,
                          PEA_NODE(.name = "b", .chain = c->chain[1], .policy = policy, .on = &callbacks, .user = c,
                                   .max_connections = max_connections, .one_per_peer = one_per_peer),
                          NULL));
    check_ok(pea_node_listen(c->b, "127.0.0.1:0", NULL, NULL, NULL));
    pea_addr_format(pea_node_listen_addr(c->b), c->addr);
}

static void city_close(city *c)
{
    pea_node_free(c->a);
    pea_node_free(c->b);
    assert_int_equal(c->connects, c->disconnects); /* also of what was there when they were freed */
    assert_int_equal(c->wrong_thread, 0);
    check_ok(pea_runtime_free(c->runtime));
    pea_chain_unref(c->chain[0]);
    pea_chain_unref(c->chain[1]);
    pea_trust_unref(c->trust);
    ev_async_stop(c->loop, &c->wake);
    ev_run(c->loop, 0); /* nothing keeps it alive */
    ev_loop_destroy(c->loop);
}

static uint64_t dial(city *c)
{
    uint64_t id;
    check_ok(pea_node_connect(c->a, c->addr, PEA_DIAL(.again = true), &id, NULL));
    return id;
}

/* ---- Traffic ---- */

typedef struct receipts {
    atomic_uint sent, lost;
} receipts;

static void on_sent(void *arg, pea_err err)
{
    receipts *r = arg;
    atomic_fetch_add(err == PEA_OK ? &r->sent : &r->lost, 1);
}

static pea_msg *message(size_t len)
{
    static uint8_t zeros[100000];
    pea_msg *msg;
    check_ok(pea_msg_new(&msg, zeros, len));
    return msg;
}

static void connections_live_on_their_threads(void **state)
{
    enum { CONNS = 60, MESSAGES = 50 };
    static city c;
    receipts got = {.sent = 0};
    uint64_t ids[CONNS];
    (void)state;
    for (int secure = 0; secure < 2; secure++) {
        city_open(&c, secure != 0, 0);
        c.echo = true;
        for (size_t i = 0; i < CONNS; i++)
            ids[i] = dial(&c);
        until(&c, c.connects == 2 * CONNS);
        assert_int_equal(c.served[0], 0);
        for (size_t i = 1; i <= WORKERS; i++)
            assert_true(c.served[i] >= 2 * CONNS / WORKERS - 1); /* each took its share */
        assert_null(pea_node_find(c.a, ids[0]));                 /* it is not this thread's */
        pea_msg *msg = message(secure != 0 ? 100 : 30000);
        atomic_store(&got.sent, 0);
        for (size_t m = 0; m < MESSAGES; m++) {
            for (size_t i = 0; i < CONNS; i++)
                while (pea_post_send(c.runtime, ids[i], msg, on_sent, &got) == PEA_E_QUEUE_FULL)
                    ev_run(c.loop, EVRUN_NOWAIT);
            until(&c, atomic_load(&c.messages) >= 2 * CONNS * (m + 1));
        }
        pea_msg_unref(msg);
        assert_int_equal(got.sent, CONNS * MESSAGES);
        assert_int_equal(c.messages, 2 * CONNS * MESSAGES);
        pea_counts counts;
        pea_node_counts(c.b, &counts);
        assert_int_equal(counts.ready, CONNS);
        for (size_t i = 0; i < CONNS / 2; i++)
            check_ok(pea_post_close(c.runtime, ids[i], PEA_CODE_NORMAL, "done"));
        until(&c, c.disconnects == CONNS);
        city_close(&c); /* with the rest of them */
    }
}

/* ---- Ends ---- */

static void on_done(void *arg)
{
    city *c = arg;
    atomic_store(&c->done, atomic_load(&c->disconnects) + 1); /* how many had ended by then */
}

static void shutdown_waits_for_all_threads(void **state)
{
    static city c;
    (void)state;
    city_open(&c, true, 0);
    for (int i = 0; i < 20; i++)
        (void)dial(&c);
    until(&c, c.connects == 40);
    check_ok(pea_node_shutdown(c.b, 0, on_done, &c));
    check_ok(pea_node_shutdown(c.a, 0, NULL, NULL));
    until(&c, c.done != 0 && c.disconnects == 40);
    assert_true(c.done >= 20 + 1);
    city_close(&c);
}

/* The loop that only has connections elsewhere goes on until they have ended. */
static void the_loop_stays_for_them(void **state)
{
    static city c;
    (void)state;
    city_open(&c, false, 0);
    uint64_t id = dial(&c);
    until(&c, c.connects == 2);
    ev_async_stop(c.loop, &c.wake);
    check_ok(pea_node_shutdown(c.b, 0, NULL, NULL));
    check_ok(pea_post_close(c.runtime, id, PEA_CODE_NORMAL, NULL));
    ev_run(c.loop, 0);
    assert_int_equal(c.disconnects, 2);
    ev_async_start(c.loop, &c.wake);
    city_close(&c);
}

static void dials_that_fail(void **state)
{
    static city c;
    (void)state;
    city_open(&c, true, 0);
    check_ok(pea_node_shutdown(c.b, 0, NULL, NULL)); /* nobody is there any more */
    for (int i = 0; i < 20; i++)
        (void)dial(&c);
    until(&c, c.failures == 20);
    city_close(&c);
}

static void a_limit_is_exact(void **state)
{
    static city c;
    (void)state;
    city_open(&c, false, 10);
    for (int i = 0; i < 100; i++)
        (void)dial(&c);
    until(&c, c.connects + c.failures >= 100 + 10 && c.failures >= 90);
    pea_counts counts;
    pea_node_counts(c.b, &counts);
    assert_int_equal(counts.connections, 10);
    assert_int_equal(counts.refused, 90);
    city_close(&c);
}

static void who_is_denied_goes_from_every_thread(void **state)
{
    static city c;
    (void)state;
    city_open(&c, true, 0);
    for (int i = 0; i < 30; i++)
        (void)dial(&c);
    until(&c, c.connects == 60);
    check_ok(pea_trust_deny(c.trust, &c.self[0], NULL)); /* on this thread, who belongs to the others */
    until(&c, c.disconnects == 60);
    assert_true(c.policy >= 30);
    city_close(&c);
}

/* Whatever is on its way: sockets, dials, handshakes, messages, posts. */
static void nodes_are_freed_at_any_time(void **state)
{
    static city c;
    (void)state;
    for (int round = 0; round < 40; round++) {
        city_open(&c, round % 2 == 0, 0);
        c.echo = true;
        receipts got = {.sent = 0};
        pea_msg *msg = message(1000);
        unsigned posted = 0;
        for (int i = 0; i < 10; i++) {
            uint64_t id = dial(&c);
            posted += pea_post_send(c.runtime, id, msg, on_sent, &got) == PEA_OK;
            for (int turn = 0; turn < round % 5; turn++)
                ev_run(c.loop, EVRUN_NOWAIT);
        }
        pea_msg_unref(msg);
        city_close(&c);
        assert_int_equal(got.sent + got.lost, posted);
    }
}

/* ---- By peer, and to all, on whatever thread they are ---- */

static void on_broadcast(void *arg, const pea_broadcast_result *result)
{
    city *c = arg;
    atomic_store(&c->done, result->taken + 1000 * result->refused);
}

static void broadcasts_reach_all_threads(void **state)
{
    enum { CONNS = 30 };
    static city c;
    (void)state;
    city_open(&c, true, 0);
    pea_msg *msg = message(500), *one = message(1);
    c.relayed = msg;
    for (int i = 0; i < CONNS; i++)
        (void)dial(&c);
    until(&c, c.connects == 2 * CONNS);
    check_ok(pea_node_broadcast(c.b, msg, NULL, on_broadcast, &c));
    until(&c, c.done == CONNS && c.messages == CONNS);
    receipts got = {.sent = 0};
    /* The one byte makes a callback, on a thread of the runtime's, broadcast too. */
    check_ok(pea_node_send_peer(c.a, &c.self[1], one, on_sent, &got));
    until(&c, c.messages == 2 * CONNS + 1 && got.sent == 1);
    check_ok(pea_node_broadcast(c.b, msg, NULL, on_broadcast, &c)); /* and is still on its way when all ends */
    check_ok(pea_node_close_peer(c.a, &c.self[1], PEA_CODE_NORMAL, NULL));
    until(&c, c.disconnects == 2 * CONNS);
    pea_msg_unref(msg);
    pea_msg_unref(one);
    city_close(&c);
}

typedef struct seen {
    unsigned answers;
    size_t n, ready;
    uint64_t messages;
} seen;

static void on_survey(void *arg, const pea_conn_info *infos, size_t n, pea_err err)
{
    seen *s = arg;
    check_ok(err);
    *s = (seen){.answers = s->answers + 1, .n = n};
    for (size_t i = 0; i < n; i++) {
        s->ready += infos[i].state == PEA_READY;
        s->messages += infos[i].messages_in;
    }
}

/* Where pea_node_each() sees nothing: the loop has none of the connections. */
static void a_survey_sees_all_threads(void **state)
{
    enum { CONNS = 20 };
    static city c;
    (void)state;
    city_open(&c, true, 0);
    pea_msg *msg = message(100);
    for (int i = 0; i < CONNS; i++)
        (void)dial(&c);
    until(&c, c.connects == 2 * CONNS);
    check_ok(pea_node_broadcast(c.a, msg, NULL, on_broadcast, &c));
    until(&c, c.done == CONNS && c.messages == CONNS);
    seen s = {.answers = 0}, last = {.answers = 0};
    check_ok(pea_node_survey(c.b, on_survey, &s));
    assert_int_equal(s.answers, 0);
    until(&c, s.answers == 1);
    assert_int_equal(s.n, CONNS);
    assert_int_equal(s.ready, CONNS);
    assert_int_equal(s.messages, CONNS);
    check_ok(pea_node_survey(c.b, on_survey, &last)); /* on its way when the node is freed: it is answered */
    pea_msg_unref(msg);
    city_close(&c);
    assert_int_equal(last.answers, 1);
}

static void on_answer(void *arg, const pea_broadcast_result *result)
{
    unsigned *answers = arg;
    (void)result;
    (*answers)++;
}

static void broadcasts_while_nodes_are_freed(void **state)
{
    static city c;
    (void)state;
    for (unsigned round = 0; round < 24; round++) {
        unsigned answers = 0;
        city_open(&c, round % 2 == 0, 0);
        for (unsigned i = 0; i < round % 6; i++) /* also none: nothing else keeps the node then */
            (void)dial(&c);
        until(&c, c.connects >= round % 6);
        pea_msg *msg = message(1000);
        for (int i = 0; i < 3; i++)
            check_ok(pea_node_broadcast(c.b, msg, NULL, on_answer, &answers));
        pea_msg_unref(msg);
        city_close(&c);
        assert_int_equal(answers, 3);
    }
}

/* Connections with one peer, each on a thread of its own: one is left, and the node agrees with itself. */
static void one_per_peer_across_threads(void **state)
{
    static city c;
    (void)state;
    for (int round = 0; round < 20; round++) {
        c.one_per_peer = true;
        city_open(&c, true, 0);
        pea_addr at;
        char back[PEA_ADDR_TEXT_BYTES];
        check_ok(pea_node_listen(c.a, "127.0.0.1:0", NULL, NULL, NULL));
        at = *pea_node_listen_addr(c.a);
        for (int i = 0; i < 4; i++) {
            (void)dial(&c);
            check_ok(pea_node_connect(c.b, pea_addr_format(&at, back), PEA_DIAL(.again = true), NULL, NULL));
        }
        pea_counts a, b;
        do {
            until(&c, c.connects >= 2 && c.connects + c.failures >= 16);
            pea_node_counts(c.a, &a);
            pea_node_counts(c.b, &b);
            ev_run(c.loop, EVRUN_NOWAIT);
        } while (a.pending + b.pending > 0 || a.connections != 1 || b.connections != 1);
        assert_int_equal(c.connects - c.disconnects, 2);
        city_close(&c);
    }
}

/* ---- Other chains, other connections ---- */

/* They are exchanged while workers shake hands with them. */
static void chains_are_exchanged(void **state)
{
    enum { DIALS = 60 };
    static city c;
    pea_chain *other[2];
    (void)state;
    city_open(&c, true, 0);
    c.exchanges = true;
    for (int i = 0; i < 2; i++) {
        pea_identity *identity;
        check_ok(pea_identity_generate(&identity, NULL));
        check_ok(pea_chain_new(&other[i], NULL, NULL));
        check_ok(pea_chain_noise(other[i], PEA_NOISE(.identity = identity), NULL));
        pea_identity_unref(identity);
    }
    for (int i = 0; i < DIALS; i++) {
        check_ok(pea_node_set_chain(c.a, i % 2 == 0 ? other[0] : c.chain[0], NULL));
        check_ok(pea_node_set_chain(c.b, i % 3 == 0 ? other[1] : c.chain[1], NULL));
        (void)dial(&c);
        ev_run(c.loop, EVRUN_NOWAIT);
    }
    for (int i = 0; i < 2; i++)
        pea_chain_unref(other[i]);
    until(&c, c.connects == 2 * DIALS);
    assert_int_equal(c.failures, 0);
    pea_msg *msg = message(1);
    check_ok(pea_node_broadcast(c.a, msg, NULL, NULL, NULL)); /* whose callbacks try it on their own threads */
    pea_msg_unref(msg);
    until(&c, c.messages == DIALS);
    city_close(&c);
}

/* Of two on different threads one takes the other's place, again and again: nothing that was sent is lost. */
static void connections_are_replaced(void **state)
{
    enum { ROUNDS = 30, MESSAGES = 20 };
    static city c;
    (void)state;
    for (int one = 0; one < 2; one++) {
        receipts got = {.sent = 0};
        unsigned posted = 0;
        c.one_per_peer = one != 0;
        city_open(&c, true, 0);
        uint64_t id = dial(&c);
        until(&c, c.connects == 2);
        pea_msg *msg = message(100);
        for (unsigned round = 1; round <= ROUNDS; round++) {
            check_ok(pea_node_connect(c.a, c.addr, PEA_DIAL(.replaces = id), &id, NULL));
            for (int i = 0; i < MESSAGES; i++, posted++) {
                check_ok(pea_node_send_peer(c.a, &c.self[1], msg, on_sent, &got));
                ev_run(c.loop, EVRUN_NOWAIT);
            }
            until(&c, c.connects == 2 * (round + 1) && c.disconnects == 2 * round);
        }
        until(&c, got.sent + got.lost == posted && c.messages == got.sent);
        assert_int_equal(c.failures, 0);
        assert_true(got.sent > posted / 2); /* who had said its last word refused, and told */
        pea_msg_unref(msg);
        city_close(&c);
    }
}

static void note_id(void *arg, const pea_conn_info *infos, size_t n, pea_err err)
{
    uint64_t *id = arg;
    check_ok(err);
    assert_int_equal(n, 1);
    *id = infos[0].id;
}

/* Two at once, on different threads, want the place of one: both sides keep the same one. */
static void two_replace_one(void **state)
{
    enum { ROUNDS = 20 };
    static city c;
    (void)state;
    c.one_per_peer = true;
    city_open(&c, true, 0);
    (void)dial(&c);
    until(&c, c.connects == 2);
    for (unsigned round = 1; round <= ROUNDS; round++) {
        uint64_t id = 0;
        pea_counts counts;
        check_ok(pea_node_survey(c.a, note_id, &id));
        until(&c, id != 0);
        for (int i = 0; i < 2; i++)
            check_ok(pea_node_connect(c.a, c.addr, PEA_DIAL(.replaces = id), NULL, NULL));
        until(&c, c.connects + c.failures == 2 + 4 * round);
        do {
            until(&c, c.connects - c.disconnects <= 2);
            pea_node_counts(c.a, &counts);
            ev_run(c.loop, EVRUN_NOWAIT);
        } while (counts.connections > 1);
        assert_int_equal(c.connects - c.disconnects, 2);
    }
    city_close(&c);
}

static void bad_numbers(void **state)
{
    pea_runtime *runtime;
    pea_error why;
    (void)state;
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    check_err(pea_runtime_new(&runtime, PEA_RUNTIME(.loop = loop, .workers = PEA_WORKERS_MAX + 1), &why),
              PEA_E_INVALID);
    ev_loop_destroy(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connections_live_on_their_threads),
        cmocka_unit_test(shutdown_waits_for_all_threads),
        cmocka_unit_test(the_loop_stays_for_them),
        cmocka_unit_test(dials_that_fail),
        cmocka_unit_test(a_limit_is_exact),
        cmocka_unit_test(who_is_denied_goes_from_every_thread),
        cmocka_unit_test(nodes_are_freed_at_any_time),
        cmocka_unit_test(broadcasts_reach_all_threads),
        cmocka_unit_test(broadcasts_while_nodes_are_freed),
        cmocka_unit_test(a_survey_sees_all_threads),
        cmocka_unit_test(one_per_peer_across_threads),
        cmocka_unit_test(chains_are_exchanged),
        cmocka_unit_test(connections_are_replaced),
        cmocka_unit_test(two_replace_one),
        cmocka_unit_test(bad_numbers),
    };
    return cmocka_run_group_tests_name("workers", tests, NULL, NULL);
}
