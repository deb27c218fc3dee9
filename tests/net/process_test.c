/* SPDX-License-Identifier: MIT */
/* The library as a guest in a process: signals, forks, nested loops, and loops that end. Each case that may kill the
 * process runs in a child. */
#include "support/net.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs `body` in a child and returns how that ended, as waitpid() says it. */
static int in_child(void (*body)(void))
{
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const struct rlimit no_core = {0, 0};
        setrlimit(RLIMIT_CORE, &no_core);
        body();
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static int setup(void **state)
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

/* ---- SIGPIPE ---- */

static void keep_sending(struct ev_loop *loop, ev_timer *timer, int events)
{
    net *n = timer->data;
    (void)events;
    if (n->b.conn == NULL)
        return;
    pea_err err = pea_conn_send(n->b.conn, "into the void", 13);
    (void)err; /* the connection may have ended */
    ev_timer_again(loop, timer);
}

/* The peer resets while we go on writing: an error, never a signal. */
static void broken_pipes_do_not_kill(void **state)
{
    net *n = *state;
    const struct linger now = {1, 0};
    ev_timer timer;
    struct sigaction action;
    assert_int_equal(sigaction(SIGPIPE, NULL, &action), 0);
    assert_true(action.sa_handler == SIG_DFL);
    net_node(&n->b, PEA_NODE(.name = "b"));
    net_listen(&n->b);
    ev_init(&timer, keep_sending);
    timer.repeat = 0.0005;
    timer.data = n;
    for (unsigned i = 1; i <= 10; i++) {
        int fd = net_raw_connect(&n->b);
        net_wait(n, n->b.connects == i);
        pea_conn_pause(n->b.conn); /* so that writing finds it out */
        ev_timer_again(n->loop, &timer);
        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
        close(fd);
        net_wait(n, n->b.disconnects == i);
        check_err(n->b.reason.err, PEA_E_RESET);
    }
    ev_timer_stop(n->loop, &timer);
    assert_int_equal(sigaction(SIGPIPE, NULL, &action), 0);
    assert_true(action.sa_handler == SIG_DFL); /* nobody changed it */
}

/* ---- fork() ---- */

static net *forked;
static uint64_t forked_conn;

#define want(condition)                                        \
    do {                                                       \
        if (!(condition)) {                                    \
            fprintf(stderr, "in the child: %s\n", #condition); \
            _exit(1);                                          \
        }                                                      \
    } while (0)

static void call_everything(void)
{
    pea_error why;
    pea_msg *msg;
    pea_conn *conn = pea_node_find(forked->a.node, forked_conn);
    want(conn != NULL);
    want(pea_msg_new(&msg, "x", 1) == PEA_OK);
    want(pea_conn_send(conn, "x", 1) == PEA_E_FORKED);
    want(pea_conn_send_msg(conn, msg, NULL, NULL) == PEA_E_FORKED);
    want(pea_conn_end(conn) == PEA_E_FORKED);
    pea_hello hello;
    uint8_t out[PEA_BINDING_MAX];
    size_t len = sizeof out;
    want(pea_conn_hello(conn, &hello) == PEA_E_FORKED);
    want(pea_conn_binding(conn, out, &len) == PEA_E_FORKED);
    want(pea_conn_export(conn, "label", NULL, 0, out, sizeof out) == PEA_E_FORKED);
    want(pea_node_listen(forked->a.node, "127.0.0.1:0", NULL, NULL, &why) == PEA_E_FORKED);
    want(pea_node_connect(forked->a.node, forked->b.addr, NULL, NULL, &why) == PEA_E_FORKED);
    want(pea_node_shutdown(forked->a.node, 0, NULL, NULL) == PEA_E_FORKED);
    want(pea_post_send(forked->runtime, forked_conn, msg, NULL, NULL) == PEA_E_FORKED);
    pea_msg_unref(msg);
    want(pea_post_close(forked->runtime, forked_conn, 0, NULL) == PEA_E_FORKED);
    want(pea_post_resume((pea_ticket){.runtime = 1, .conn = 1, .wait = 1}, PEA_OK) != PEA_OK);
    pea_node *node;
    want(pea_node_new(&node, forked->runtime, PEA_NODE(.chain = forked->chain), &why) == PEA_E_FORKED);
    want(strlen(why.text) > 0);
    want(pea_runtime_free(forked->runtime) == PEA_E_FORKED);
    /* These return nothing, and do nothing that the parent's peer could see. */
    pea_conn_flush(conn);
    pea_conn_pause(conn);
    pea_conn_resume(conn);
    pea_conn_close(conn, PEA_CODE_NORMAL, "from the child");
    pea_conn_abort(conn);
    pea_node_free(forked->a.node);
}

static void fork_here(net_side *side, pea_conn *conn)
{
    (void)conn;
    forked = side->net;
    forked_conn = pea_conn_id(side->net->a.conn);
    int status = in_child(call_everything);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* The child may only exec or exit; the parent's connections notice nothing. */
static void calls_in_a_child(void **state)
{
    net *n = *state;
    net_pair(n);
    fork_here(&n->a, n->a.conn);
    check_ok(pea_conn_send(n->a.conn, "from the parent", 15));
    net_wait(n, n->b.messages == 1);
    check_bytes(n->b.last, n->b.last_len, "from the parent", 15);
}

static void fork_in_message(net_side *side, pea_conn *conn, const uint8_t *data, size_t len)
{
    (void)data;
    (void)len;
    fork_here(side, conn);
}

/* The same from inside a callback, with sends on their way. */
static void calls_in_a_child_of_a_callback(void **state)
{
    net *n = *state;
    net_pair(n);
    n->b.on_message = fork_in_message;
    check_ok(pea_conn_send(n->a.conn, "now", 3));
    net_wait(n, n->b.messages == 1);
    n->b.on_message = NULL;
    check_ok(pea_conn_send(n->a.conn, "on we go", 8));
    net_wait(n, n->b.messages == 2);
    assert_int_equal(n->a.disconnects + n->b.disconnects, 0);
}

/* ---- ev_run() inside a callback ---- */

static void run_inside(net_side *side, pea_conn *conn, const uint8_t *data, size_t len)
{
    net *n = side->net;
    (void)data;
    (void)len;
    check_ok(pea_conn_send(conn, "meanwhile", 9));
    for (int i = 0; i < 10; i++)
        ev_run(n->loop, EVRUN_NOWAIT);
}

static void nested(void)
{
    net n;
    int nowhere = open("/dev/null", O_WRONLY); /* assert() speaks */
    if (nowhere < 0 || dup2(nowhere, STDERR_FILENO) < 0)
        _exit(3);
    net_setup(&n, PEA_STREAM);
    net_pair(&n);
    n.b.on_message = run_inside;
    check_ok(pea_conn_send(n.a.conn, "nest", 4));
    net_wait(&n, n.b.messages == 1 && n.a.messages == 1);
    if (n.warnings != 1 || strstr(n.warning, "ev_run") == NULL)
        _exit(2);
    net_teardown(&n);
}

/* Debug builds stop there; others say it once, and the watchers do nothing until the callback has returned. */
static void nested_loops_are_refused(void **state)
{
    (void)state;
    int status = in_child(nested);
#ifdef NDEBUG
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
#else
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
#endif
}

/* ---- Whose loop is it? ---- */

static void stop_it(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)timer;
    (void)events;
    ev_break(loop, EVBREAK_ALL);
}

/* Runs the loop until it ends by itself, or at the latest after 20 s: then it did not. */
static bool ends_by_itself(net *n)
{
    ev_timer guard;
    ev_now_update(n->loop);
    ev_timer_init(&guard, stop_it, 20., 0.);
    ev_timer_start(n->loop, &guard);
    ev_unref(n->loop);
    ev_run(n->loop, 0);
    ev_ref(n->loop);
    bool ended = ev_is_active(&guard);
    ev_timer_stop(n->loop, &guard);
    return ended;
}

static void what_keeps_a_loop_alive(void **state)
{
    net *n = *state;
    assert_true(ends_by_itself(n)); /* a runtime does not */
    net_node(&n->a, PEA_NODE(.idle_timeout_ms = 60000));
    net_node(&n->b, PEA_NODE(.name = "b"));
    assert_true(ends_by_itself(n)); /* nor do nodes */
    net_listen(&n->b);
    net_meet(n);
    pea_node_unlisten(n->b.node, n->b.listener);
    pea_conn_close(n->a.conn, PEA_CODE_NORMAL, NULL); /* connections do, until they end: no break is needed */
    assert_true(ends_by_itself(n));
    assert_int_equal(n->a.disconnects, 1);
    assert_int_equal(n->b.disconnects, 1);
}

#define entry(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        entry(broken_pipes_do_not_kill),       entry(calls_in_a_child),
        entry(calls_in_a_child_of_a_callback), cmocka_unit_test(nested_loops_are_refused),
        entry(what_keeps_a_loop_alive),
    };
    return cmocka_run_group_tests_name("process", tests, NULL, NULL);
}
