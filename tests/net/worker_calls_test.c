/* SPDX-License-Identifier: MIT */
/* What a callback on a worker thread may do to its node: look at it, end it, ask the loop for more; and what it meets
 * there in the wrong moment. */
#include "support/faults.h"
#include "support/net.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

static struct {
    net n;
    pea_node *node;
    ev_timer beat; /* what happens on the worker does not wake this loop */
    pthread_mutex_t lock;
    pthread_cond_t go;
    bool may_go; /* the callback that waits */
    atomic_uint connects, disconnects, messages, inside, called, done;
    atomic_int answer;
    pthread_t called_on;
    void (*on_message)(pea_conn *conn);
} t;

static void on_connect(pea_conn *conn, void *user)
{
    (void)conn, (void)user;
    atomic_fetch_add(&t.connects, 1);
}

static void on_message(pea_conn *conn, const uint8_t *data, size_t len, void *user)
{
    (void)data, (void)len, (void)user;
    atomic_fetch_add(&t.messages, 1);
    if (t.on_message != NULL)
        t.on_message(conn);
}

static void on_disconnect(pea_conn *conn, const pea_reason *reason, void *user)
{
    (void)conn, (void)reason, (void)user;
    atomic_fetch_add(&t.disconnects, 1);
}

static void look_again(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop, (void)timer, (void)events;
}

static int setup(void **state)
{
    static const pea_node_callbacks on = {
        .on_connect = on_connect, .on_message = on_message, .on_disconnect = on_disconnect};
    (void)state;
    memset(&t, 0, sizeof t);
    pthread_mutex_init(&t.lock, NULL);
    pthread_cond_init(&t.go, NULL);
    net_setup_runtime(&t.n, PEA_STREAM, PEA_RUNTIME(.workers = 1));
    ev_timer_init(&t.beat, look_again, 0.01, 0.01);
    ev_timer_start(t.n.loop, &t.beat);
    check_ok(pea_node_new(&t.node, t.n.runtime, PEA_NODE(.chain = t.n.chain, .on = &on), NULL));
    check_ok(pea_node_listen(t.node, "127.0.0.1:0", NULL, NULL, NULL));
    (void)pea_addr_format(pea_node_listen_addr(t.node), t.n.b.addr);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    pea_node_free(t.node);
    assert_int_equal(t.connects, t.disconnects);
    ev_timer_stop(t.n.loop, &t.beat);
    net_teardown(&t.n);
    assert_int_equal(faults_blocks(), 0);
    return 0;
}

/* A client whose message makes the callback run. */
static int client(void)
{
    unsigned before = t.connects;
    int fd = net_raw_connect(&t.n.b);
    net_wait(&t.n, t.connects == before + 1);
    return fd;
}

static void say(int fd)
{
    net_raw_send(fd, "\0\0\0\1!", 5);
}

static void wait_inside(void)
{
    atomic_store(&t.inside, 1);
    pthread_mutex_lock(&t.lock);
    while (!t.may_go)
        pthread_cond_wait(&t.go, &t.lock);
    pthread_mutex_unlock(&t.lock);
}

static void let_go(void)
{
    pthread_mutex_lock(&t.lock);
    t.may_go = true;
    pthread_cond_signal(&t.go);
    pthread_mutex_unlock(&t.lock);
}

/* ---- Looking ---- */

static bool abort_it(pea_conn *conn, void *arg)
{
    ++*(unsigned *)arg;
    pea_conn_abort(conn);
    return true;
}

static atomic_uint seen;

static void abort_all_later(pea_conn *conn)
{
    unsigned n = 0;
    wait_inside();
    pea_node_each(pea_conn_node(conn), abort_it, &n);
    atomic_store(&seen, n);
}

/* A connection that was made for this thread, and has yet to arrive there, is nobody's to end. */
static void who_has_not_arrived_is_not_seen(void **state)
{
    (void)state;
    t.on_message = abort_all_later;
    int fd = client();
    say(fd);
    net_wait(&t.n, t.inside == 1);
    int newcomer = net_raw_connect(&t.n.b);
    pea_counts counts = {.connections = 0};
    while (counts.connections < 2) {
        net_poll(&t.n);
        pea_node_counts(t.node, &counts);
    }
    let_go();
    net_wait(&t.n, t.disconnects == 1 && t.connects == 2);
    assert_int_equal(seen, 1);
    close(fd);
    close(newcomer);
}

/* ---- Ending ---- */

static void free_it(pea_conn *conn)
{
    pea_node_free(pea_conn_node(conn));
    pea_node_free(pea_conn_node(conn)); /* as often as he likes */
}

static void a_callback_frees_its_node(void **state)
{
    (void)state;
    t.on_message = free_it;
    int a = client(), b = client();
    say(a);
    net_wait(&t.n, t.disconnects == 2);
    close(a);
    close(b);
    t.node = NULL; /* it is gone, or about to be: the runtime's end finds out */
}

static void on_done(void *arg)
{
    (void)arg;
    t.called_on = pthread_self();
    atomic_fetch_add(&t.done, 1);
}

static void shut_it_down(pea_conn *conn)
{
    atomic_store(&t.answer, pea_node_shutdown(pea_conn_node(conn), 0, on_done, NULL));
}

static void a_callback_shuts_its_node_down(void **state)
{
    (void)state;
    t.on_message = shut_it_down;
    int a = client(), b = client();
    say(a);
    close(b);
    net_wait(&t.n, t.messages == 1);
    close(a);
    net_wait(&t.n, t.done == 1);
    assert_int_equal(t.answer, PEA_OK);
    assert_true(pthread_equal(t.called_on, pthread_self()));
    assert_int_equal(t.disconnects, 2);
}

/* ---- Asking for more ---- */

static void dial_there(pea_conn *conn)
{
    pea_node *node = pea_conn_node(conn);
    pea_err err = pea_node_connect(node, "127.0.0.1:1", NULL, NULL, NULL);
    if (err == PEA_E_STATE)
        err = pea_node_listen(node, "127.0.0.1:0", NULL, NULL, NULL);
    atomic_store(&t.answer, err);
}

static void what_begins_begins_on_the_loop(void **state)
{
    (void)state;
    t.on_message = dial_there;
    int fd = client();
    say(fd);
    net_wait(&t.n, t.messages == 1 && t.answer != PEA_OK);
    check_err(t.answer, PEA_E_STATE);
    close(fd);
}

static void on_call(void *arg, pea_err err)
{
    pea_listener *listener;
    t.called_on = pthread_self();
    atomic_store(&t.answer, err == PEA_OK ? pea_node_listen(arg, "127.0.0.1:0", NULL, &listener, NULL) : err);
    atomic_fetch_add(&t.called, 1);
}

static void call_the_loop(pea_conn *conn)
{
    check_ok(pea_post_call(pea_node_runtime(pea_conn_node(conn)), on_call, pea_conn_node(conn)));
}

static void a_call_leads_there(void **state)
{
    (void)state;
    t.on_message = call_the_loop;
    int fd = client();
    say(fd);
    net_wait(&t.n, t.called == 1);
    check_ok(t.answer);
    assert_true(pthread_equal(t.called_on, pthread_self()));
    close(fd);
}

/* The runtime ends first: it is told so. */
static void a_call_that_comes_too_late(void **state)
{
    pea_runtime *runtime;
    (void)state;
    check_ok(pea_runtime_new(&runtime, PEA_RUNTIME(.loop = t.n.loop), NULL));
    check_ok(pea_post_call(runtime, on_call, NULL));
    check_ok(pea_runtime_free(runtime));
    assert_int_equal(t.called, 1);
    check_err(t.answer, PEA_E_STALE);
}

#define entry(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    faults_install();
    const struct CMUnitTest tests[] = {
        entry(who_has_not_arrived_is_not_seen), entry(a_callback_frees_its_node), entry(a_callback_shuts_its_node_down),
        entry(what_begins_begins_on_the_loop),  entry(a_call_leads_there),        entry(a_call_that_comes_too_late),
    };
    return cmocka_run_group_tests_name("worker_calls", tests, NULL, NULL);
}
