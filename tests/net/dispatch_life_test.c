/* SPDX-License-Identifier: MIT */
/* Runtimes without a libev loop among threads, signals and other runtimes, and how they end: at any moment, after a
 * fork, without descriptors. */
#include "dispatch_scene.h"

#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- Other threads ---- */

enum { POSTERS = 4, EACH = 500 };

typedef struct poster {
    pthread_t thread;
    uint64_t conn;
    unsigned sent, failed; /* told on the loop's thread */
} poster;

static void on_sent(void *arg, pea_err err)
{
    poster *p = arg;
    p->sent += err == PEA_OK;
    p->failed += err != PEA_OK;
}

static void *post_many(void *arg)
{
    poster *p = arg;
    pea_msg *msg;
    if (pea_msg_new(&msg, "from elsewhere", 14) != PEA_OK)
        abort();
    for (unsigned i = 0; i < EACH;)
        i += pea_post_send(s.runtime, p->conn, msg, on_sent, p) == PEA_OK;
    pea_msg_unref(msg);
    return NULL;
}

static void posts_from_other_threads(void **state)
{
    static poster p[POSTERS];
    (void)state;
    memset(p, 0, sizeof p);
    node_new(&s.a, s.runtime, PEA_NODE(.high_water = 16u << 20));
    node_new(&s.b, s.runtime, PEA_NODE(.name = "b"));
    listen_b();
    meet();
    for (unsigned i = 0; i < POSTERS; i++) {
        p[i].conn = pea_conn_id(s.a.conn);
        assert_int_equal(pthread_create(&p[i].thread, NULL, post_many, &p[i]), 0);
    }
    wait_for(s.b.messages == POSTERS * EACH);
    for (unsigned i = 0; i < POSTERS; i++) {
        assert_int_equal(pthread_join(p[i].thread, NULL), 0);
        wait_for(p[i].sent == EACH);
        assert_int_equal(p[i].failed, 0);
    }
    check_ok(pea_post_close(s.runtime, pea_conn_id(s.a.conn), PEA_CODE_NORMAL, "bye"));
    wait_for(s.a.disconnects == 1 && s.b.disconnects == 1);
}

static volatile sig_atomic_t signals;
static pthread_t signalled;

static void on_signal(int number)
{
    (void)number;
    signals++;
    signalled = pthread_self();
}

/* Signals are for the process's own threads: ours blocks them all. */
static void the_thread_takes_no_signal(void **state)
{
    sigset_t usr, before, pending;
    struct sigaction action = {.sa_handler = on_signal}, old;
    (void)state;
    sigemptyset(&usr);
    sigaddset(&usr, SIGUSR1);
    assert_int_equal(sigaction(SIGUSR1, &action, &old), 0);
    assert_int_equal(pthread_sigmask(SIG_BLOCK, &usr, &before), 0);
    nodes();
    meet();
    assert_int_equal(kill(getpid(), SIGUSR1), 0);
    check_ok(pea_conn_send(s.a.conn, "x", 1));
    wait_for(s.b.messages == 1);
    assert_int_equal(sigpending(&pending), 0);
    assert_int_equal(sigismember(&pending, SIGUSR1), 1);
    assert_int_equal(signals, 0);
    assert_int_equal(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
    assert_int_equal(signals, 1);
    assert_true(pthread_equal(signalled, pthread_self()));
    assert_int_equal(sigaction(SIGUSR1, &old, NULL), 0);
}

/* ---- Several runtimes ---- */

static void two_runtimes_in_one_poll(void **state)
{
    pea_runtime *other;
    pea_error why;
    (void)state;
    check_ok(pea_runtime_new(&other, PEA_RUNTIME(.memory_limit = 0), &why));
    node_new(&s.a, s.runtime, PEA_NODE(.name = "a"));
    node_new(&s.b, other, PEA_NODE(.name = "b"));
    s.b.echo = true;
    listen_b();
    dial();
    bool sent = false;
    for (int64_t until = now_ms() + WAIT_MS; s.a.messages == 0;) {
        struct pollfd at[2] = {{.fd = pea_runtime_event_fd(s.runtime), .events = POLLIN},
                               {.fd = pea_runtime_event_fd(other), .events = POLLIN}};
        int64_t left = until - now_ms();
        assert_true(left > 0 && poll(at, 2, (int)left) > 0);
        if (at[0].revents != 0)
            check_ok(pea_runtime_dispatch(s.runtime));
        if (at[1].revents != 0)
            check_ok(pea_runtime_dispatch(other));
        if (s.a.conn != NULL && !sent) {
            check_ok(pea_conn_send(s.a.conn, "across", 6));
            sent = true;
        }
    }
    check_err(pea_runtime_free(other), PEA_E_STATE); /* a node is left, and nothing was done */
    pea_node_free(s.b.node);
    s.b.node = NULL;
    check_ok(pea_runtime_free(other));
    wait_for(s.a.disconnects == 1);
}

/* ---- The end ---- */

static unsigned open_fds(void)
{
    unsigned count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void free_at_any_moment(void **state)
{
    pea_error why;
    (void)state;
    check_ok(pea_runtime_free(s.runtime));
    s.runtime = NULL;
    unsigned before = open_fds();
    for (unsigned turns = 0; turns < 20; turns++) {
        check_ok(pea_runtime_new(&s.runtime, PEA_RUNTIME(.loop = NULL), &why));
        assert_true((fcntl(pea_runtime_event_fd(s.runtime), F_GETFD) & FD_CLOEXEC) != 0);
        if (turns > 0) {
            nodes();
            dial();
            for (unsigned i = 1; i < turns; i++) {
                readable(s.runtime, 10);
                check_ok(pea_runtime_dispatch(s.runtime));
            }
            if (turns % 2 == 0)
                readable(s.runtime, 10); /* the thread may have arrived, and is waiting for us */
            pea_node_free(s.a.node);
            pea_node_free(s.b.node);
            s.a.node = s.b.node = NULL;
        }
        check_ok(pea_runtime_free(s.runtime));
        s.runtime = NULL;
        assert_int_equal(open_fds(), before);
    }
    assert_int_equal(s.a.connects, s.a.disconnects);
    assert_true(s.a.connects > 0 && s.a.failures > 0);
}

static int in_child(void (*body)(void))
{
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        alarm(20); /* what hangs is killed */
        body();
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void child_calls(void)
{
    pea_node *node;
    pea_error why;
    if (pea_runtime_dispatch(s.runtime) != PEA_E_FORKED)
        _exit(1);
    if (pea_node_new(&node, s.runtime, PEA_NODE(.chain = s.a.chain), &why) != PEA_E_FORKED)
        _exit(2);
    pea_conn_pause(s.a.conn);
    pea_conn_resume(s.a.conn);
    pea_conn_abort(s.a.conn);
    pea_node_free(s.a.node);
    if (pea_runtime_free(s.runtime) != PEA_E_FORKED)
        _exit(3);
}

static void forked_inside(side *at, pea_conn *conn)
{
    (void)at;
    (void)conn;
    assert_int_equal(in_child(child_calls), 0);
}

/* In a child there is no thread to wait for: calls there return at once, and the parent goes on as if nothing was. */
static void forks(void **state)
{
    (void)state;
    nodes();
    meet();
    s.a.echo = false;
    assert_int_equal(in_child(child_calls), 0); /* the thread polls, or has arrived */
    check_ok(pea_conn_send(s.a.conn, "after a fork", 12));
    s.b.on_message = forked_inside; /* the thread waits for the callbacks */
    wait_for(s.b.messages == 1);
    s.b.on_message = NULL;
    check_ok(pea_conn_send(s.a.conn, "after another", 13));
    wait_for(s.b.messages == 2);
}

/* Less than it needs is an error, however much less. */
static void no_descriptors_left(void **state)
{
    enum { MOST = 200, NEEDED = 5 };
    struct rlimit limit, few;
    pea_runtime *runtime;
    pea_error why = {.code = PEA_OK};
    int fds[MOST], count = 0;
    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    few = limit;
    few.rlim_cur = MOST;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    while (count < MOST && (fds[count] = dup(0)) >= 0)
        count++;
    assert_true(count > NEEDED);
    for (int spare = 0; spare < NEEDED; spare++) {
        check_err(pea_runtime_new(&runtime, PEA_RUNTIME(.loop = NULL), &why), PEA_E_SYS);
        assert_int_equal(why.sys, EMFILE);
        close(fds[--count]);
    }
    check_ok(pea_runtime_new(&runtime, PEA_RUNTIME(.loop = NULL), &why)); /* the failures gave back what they had */
    check_ok(pea_runtime_free(runtime));
    while (count > 0)
        close(fds[--count]);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void a_loop_of_the_callers(void **state)
{
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    pea_runtime *runtime;
    pea_error why;
    (void)state;
    assert_non_null(loop);
    check_ok(pea_runtime_new(&runtime, PEA_RUNTIME(.loop = loop), &why));
    check_err(pea_runtime_dispatch(runtime), PEA_E_STATE);
    assert_int_equal(pea_runtime_event_fd(runtime), -1);
    check_ok(pea_runtime_free(runtime));
    ev_loop_destroy(loop);
}
int main(void)
{
    const struct CMUnitTest tests[] = {
        entry(posts_from_other_threads),
        entry(the_thread_takes_no_signal),
        entry(two_runtimes_in_one_poll),
        entry(free_at_any_moment),
        entry(forks),
        entry(no_descriptors_left),
        cmocka_unit_test(a_loop_of_the_callers),
    };
    return cmocka_run_group_tests_name("dispatch_life", tests, NULL, NULL);
}
