/* SPDX-License-Identifier: MIT */
/* Who is turned away, how the operator hears of it, and that exhausted descriptors do not make the listener spin. */
#include "support/net.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "chain_priv.h"
#include "runtime_priv.h"

static int setup(void **state)
{
    static net n;
    net_setup(&n, PEA_NATIVE);
    *state = &n;
    return 0;
}

static int setup_small(void **state)
{
    static net n;
    net_setup_runtime(&n, PEA_NATIVE, PEA_RUNTIME(.memory_limit = 8192));
    *state = &n;
    return 0;
}

static int teardown(void **state)
{
    net_teardown(*state);
    return 0;
}

static uint64_t refused(const net_side *side)
{
    pea_counts counts;
    pea_node_counts(side->node, &counts);
    return counts.refused;
}

static void check_turned_away(net *n, int fd)
{
    uint8_t byte;
    bool reset = false;
    assert_int_equal(net_raw_recv(n, fd, &byte, 1, &reset), 0);
    close(fd);
}

static void max_pending_in(void **state)
{
    net *n = *state;
    net_node(&n->b, PEA_NODE(.max_pending = 2));
    net_listen(&n->b);
    int first = net_raw_connect(&n->b), second = net_raw_connect(&n->b), third = net_raw_connect(&n->b);
    check_turned_away(n, first); /* the oldest makes room */
    net_wait(n, n->b.failures == 1);
    check_err(n->b.reason.err, PEA_E_LIMIT);
    assert_string_equal(n->b.reason.text, "it made room for others: max_pending is reached");
    net_wait(n, n->b.accepts == 3);
    assert_int_equal(refused(&n->b), 1);
    assert_int_equal(net_refused(&n->b, PEA_REFUSED_BY_MAX_PENDING), 1);
    net_raw_open(n, second); /* pending no more: there is room again */
    net_wait(n, n->b.connects == 1);
    int fourth = net_raw_connect(&n->b);
    net_raw_send(fourth, "\xF1", 1);
    net_wait(n, n->b.accepts == 4);
    assert_int_equal(refused(&n->b), 1);
    close(second);
    close(third);
    close(fourth);
    net_wait(n, n->b.disconnects == 1 && n->b.failures == 3);
}

static void max_pending_out(void **state)
{
    net *n = *state;
    pea_error why;
    uint64_t id = 99;
    net_node(&n->a, PEA_NODE(.max_pending = 1));
    net_node(&n->b, PEA_NODE(.name = "b"));
    net_listen(&n->b);
    net_dial(&n->a, &n->b);
    check_err(pea_node_connect(n->a.node, n->b.addr, PEA_DIAL(.again = true), &id, &why), PEA_E_LIMIT);
    assert_non_null(strstr(why.text, "max_pending = 1"));
    assert_int_equal(id, 99);
    net_wait(n, n->a.connects == 1 && n->b.connects == 1);
    net_meet(n);
}

static void max_connections(void **state)
{
    net *n = *state;
    pea_error why;
    net_node(&n->a, PEA_NODE(.name = "a"));
    net_node(&n->b, PEA_NODE(.max_connections = 2));
    net_listen(&n->b);
    net_meet(n);
    net_meet(n);
    net_dial(&n->a, &n->b);
    net_wait(n, n->a.failures == 1);
    assert_int_equal(refused(&n->b), 1);
    assert_non_null(strstr(n->warning, "max_connections = 2"));
    net_listen(&n->a);
    check_err(pea_node_connect(n->b.node, n->a.addr, PEA_DIAL(.again = true), NULL, &why),
              PEA_E_LIMIT); /* dials count as well */
    assert_non_null(strstr(why.text, "max_connections = 2"));
    pea_conn_abort(n->b.conn);
    net_wait(n, n->a.disconnects == 1 && n->b.disconnects == 1);
    net_meet(n);
}

static void memory_limit(void **state)
{
    net *n = *state;
    pea_error why;
    net_node(&n->a, PEA_NODE(.name = "a"));
    net_node(&n->b, PEA_NODE(.name = "b"));
    net_listen(&n->b);
    net_meet(n);
    net_meet(n);
    check_err(pea_node_connect(n->a.node, n->b.addr, PEA_DIAL(.again = true), NULL, &why), PEA_E_LIMIT);
    assert_non_null(strstr(why.text, "memory_limit = 8192"));
}

/* Whoever adds a stage says what it holds for each connection beside our buffers; it is given back at the end. */
static void memory_that_stages_hold(void **state)
{
    net *n = *state;
    pea_error why;
    pea__chain_cost(n->chain, 2000, 2000);
    net_node(&n->a, PEA_NODE(.name = "a"));
    net_node(&n->b, PEA_NODE(.name = "b"));
    net_listen(&n->b);
    for (unsigned i = 1; i <= 3; i++) {
        net_meet(n); /* twice 4 KiB, which is all there is */
        check_err(pea_node_connect(n->a.node, n->b.addr, PEA_DIAL(.again = true), NULL, &why), PEA_E_LIMIT);
        assert_non_null(strstr(why.text, "memory_limit = 8192"));
        pea_conn_abort(n->b.conn);
        net_wait(n, n->a.disconnects == i && n->b.disconnects == i);
    }
}

/* What is held for the handshake alone is given back when it is over. */
static void memory_that_handshakes_hold(void **state)
{
    net *n = *state;
    pea__chain_cost(n->chain, 2000, 0);
    net_node(&n->a, PEA_NODE(.name = "a"));
    net_node(&n->b, PEA_NODE(.name = "b"));
    net_listen(&n->b);
    net_dial(&n->a, &n->b);
    assert_int_equal(atomic_load(&n->runtime->conns_kib), 4);
    net_wait(n, n->a.connects == 1 && n->b.connects == 1);
    assert_int_equal(atomic_load(&n->runtime->conns_kib), 2 + 2);
    pea_conn_abort(n->b.conn);
    net_wait(n, n->a.disconnects == 1 && n->b.disconnects == 1);
    assert_int_equal(atomic_load(&n->runtime->conns_kib), 0);
}

static void refused_by_on_accept(void **state)
{
    net *n = *state;
    net_node(&n->b, PEA_NODE(.name = "b"));
    net_listen(&n->b);
    n->b.accept = PEA_E_REFUSED;
    check_turned_away(n, net_raw_connect(&n->b));
    assert_int_equal(refused(&n->b), 1);
    assert_non_null(strstr(n->warning, "on_accept said no: 127.0.0.1:"));
    assert_int_equal(n->b.accepts, 1);
    assert_int_equal(n->b.failures, 0); /* it never was a connection */
    pea_counts counts;
    pea_node_counts(n->b.node, &counts);
    assert_int_equal(counts.connections + counts.pending, 0);
    n->b.accept = PEA_OK;
    net_node(&n->a, PEA_NODE(.name = "a"));
    net_meet(n);
}

static void unlisten_inside(net_side *side)
{
    pea_node_unlisten(side->node, side->listener);
    side->listener = NULL;
}

/* The callback stops listening and lets this one in: what the listener had of its own is gone by then. */
static void unlisten_inside_on_accept(void **state)
{
    net *n = *state;
    pea_chain *own;
    net_node(&n->a, PEA_NODE(.name = "a"));
    net_node(&n->b, PEA_NODE(.name = "b"));
    check_ok(pea_chain_new(&own, NULL, NULL));
    check_ok(pea_chain_plain(own));
    check_ok(pea_node_listen(n->b.node, "127.0.0.1:0", PEA_LISTEN(.chain = own), &n->b.listener, NULL));
    pea_chain_unref(own);
    pea_addr_format(pea_listener_addr(n->b.listener), n->b.addr);
    n->b.on_accept = unlisten_inside;
    net_dial(&n->a, &n->b);
    net_wait(n, n->b.accepts == 1 && n->a.connects + n->a.failures == 1);
    pea_counts counts;
    pea_node_counts(n->b.node, &counts);
    assert_int_equal(counts.listeners, 0);
}

static void free_inside(net_side *side)
{
    pea_node_free(side->node);
    side->node = NULL;
}

static void free_inside_on_accept(void **state)
{
    net *n = *state;
    net_node(&n->a, PEA_NODE(.name = "a"));
    net_node(&n->b, PEA_NODE(.name = "b"));
    net_listen(&n->b);
    n->b.on_accept = free_inside;
    net_dial(&n->a, &n->b);
    net_wait(n, n->a.failures == 1);
    assert_int_equal(n->b.accepts, 1);
}

/* ---- No descriptors ---- */

static unsigned turns;

static void on_check(struct ev_loop *loop, ev_check *check, int events)
{
    (void)loop;
    (void)check;
    (void)events;
    turns++;
}

static void give_back(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, timer->data), 0);
}

/* Somebody waits in the listen queue and there is no descriptor for him. The loop must rest in between, and he is let
 * in when there is one. */
static void no_descriptors(void **state)
{
    net *n = *state;
    struct rlimit before, none;
    ev_check check;
    ev_timer later;
    net_node(&n->b, PEA_NODE(.name = "b"));
    net_listen(&n->b);
    int fd = net_raw_connect(&n->b);
    int lowest_free = dup(fd);
    close(lowest_free);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = (rlim_t)lowest_free;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    turns = 0;
    ev_check_init(&check, on_check);
    ev_check_start(n->loop, &check);
    ev_timer_init(&later, give_back, 0.35, 0.);
    later.data = &before;
    ev_timer_start(n->loop, &later);
    net_wait(n, n->b.accepts == 1);
    ev_check_stop(n->loop, &check);
    assert_int_equal(n->warnings, 1); /* not one for each try */
    assert_non_null(strstr(n->warning, "accept"));
    pea_counts counts;
    pea_node_counts(n->b.node, &counts);
    assert_true(counts.accept_pauses >= 1);
    assert_true(turns < 40); /* a loop that spins turns thousands of times in this while */
    net_raw_open(n, fd);
    net_wait(n, n->b.connects == 1);
    close(fd);
    net_wait(n, n->b.disconnects == 1);
}

/* Everything that is opened is closed on exec, and does not block. */
static void descriptors_are_marked(void **state)
{
    net *n = *state;
    bool inherited[256];
    for (int fd = 3; fd < 256; fd++)
        inherited[fd] = fcntl(fd, F_GETFD) >= 0;
    net_pair(n);
    unsigned sockets = 0;
    for (int fd = 3; fd < 256; fd++) {
        struct sockaddr_storage at;
        socklen_t len = sizeof at;
        if (inherited[fd] || getsockname(fd, (struct sockaddr *)&at, &len) != 0 || at.ss_family != AF_INET)
            continue;
        sockets++;
        assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
        assert_true((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    }
    assert_int_equal(sockets, 3); /* the listener and both ends */
}

#define entry(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

/* Too few descriptors for worker threads: there is an error, and no abort by the loop library. */
static void too_few_for_threads(void **state)
{
    struct rlimit before, limit;
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    unsigned failed = 0, made = 0;
    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    limit = before;
    int next = dup(0);
    for (unsigned left = 0; left < 24; left++) {
        pea_runtime *runtime;
        pea_error why;
        limit.rlim_cur = (rlim_t)next + left;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
        pea_err err = pea_runtime_new(&runtime, PEA_RUNTIME(.loop = loop, .workers = 4), &why);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
        if (err == PEA_OK) {
            made++;
            check_ok(pea_runtime_free(runtime));
            continue;
        }
        check_err(err, PEA_E_SYS);
        assert_int_equal(why.sys, EMFILE);
        failed++;
    }
    close(next);
    ev_loop_destroy(loop);
    assert_true(failed > 0 && made > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        entry(max_pending_in),
        entry(max_pending_out),
        entry(max_connections),
        cmocka_unit_test_setup_teardown(memory_limit, setup_small, teardown),
        cmocka_unit_test_setup_teardown(memory_that_stages_hold, setup_small, teardown),
        cmocka_unit_test_setup_teardown(memory_that_handshakes_hold, setup_small, teardown),
        entry(refused_by_on_accept),
        entry(unlisten_inside_on_accept),
        entry(free_inside_on_accept),
        entry(no_descriptors),
        entry(descriptors_are_marked),
        cmocka_unit_test(too_few_for_threads),
    };
    return cmocka_run_group_tests_name("limits", tests, NULL, NULL);
}
