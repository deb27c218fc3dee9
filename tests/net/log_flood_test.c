/* SPDX-License-Identifier: MIT */
/* However often a peer makes us say something, the log has few lines of it, and none is lost from the sum. How many
 * seconds the flood takes decides how many lines there may be, so that no machine is too slow for this test. */
#include "support/faults.h"
#include "support/net.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "runtime_priv.h"

#define FLOOD 300u

typedef struct heard {
    pthread_mutex_t lock;
    unsigned lines, named, at_level; /* said one by one; with connection and remote address; of the level they should */
    unsigned more;                   /* said in sum */
    pea_log_level level;
    const char *what; /* of the sums */
    struct ev_loop *loop;
    ev_async said; /* a worker has said something: the loop looks again */
} heard;

static void listen_to(const pea_log_line *line, void *arg)
{
    heard *h = arg;
    char *end;
    unsigned long n = strtoul(line->text, &end, 10);
    (void)pthread_mutex_lock(&h->lock);
    if (end != line->text && strncmp(end, " more ", 6) == 0) {
        if (strstr(end, h->what) != NULL)
            h->more += (unsigned)n;
    } else {
        h->lines++;
        h->named += line->conn != 0 && line->remote != NULL && line->node != NULL;
        h->at_level += line->level == h->level;
    }
    (void)pthread_mutex_unlock(&h->lock);
    ev_async_send(h->loop, &h->said);
}

static void on_said(struct ev_loop *loop, ev_async *said, int events)
{
    (void)loop, (void)said, (void)events;
}

static unsigned total(heard *h)
{
    (void)pthread_mutex_lock(&h->lock);
    unsigned all = h->lines + h->more;
    (void)pthread_mutex_unlock(&h->lock);
    return all;
}

static unsigned long now_s(void)
{
    struct timespec t;
    assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &t), 0);
    return (unsigned long)t.tv_sec;
}

static void start(net *n, heard *h, pea_log_level level, const char *what, uint32_t workers)
{
    memset(h, 0, sizeof *h);
    assert_int_equal(pthread_mutex_init(&h->lock, NULL), 0);
    h->level = level;
    h->what = what;
    net_setup_runtime(n, PEA_NATIVE, PEA_RUNTIME(.workers = workers));
    h->loop = n->loop;
    ev_async_init(&h->said, on_said);
    ev_async_start(h->loop, &h->said);
    n->runtime->log = listen_to;
    n->runtime->log_arg = h;
}

/* `began`: the second before the first line. Whatever has not been said yet is said when the runtime ends. */
static void check(net *n, heard *h, unsigned long began, unsigned named)
{
    unsigned long seconds = now_s() - began + 1;
    assert_true(h->lines <= seconds * PEA__LOG_LINES_PER_S);
    assert_true(h->lines >= PEA__LOG_LINES_PER_S);
    net_wait(n, total(h) == FLOOD); /* the rest comes by itself */
    assert_int_equal(h->at_level, h->lines);
    assert_int_equal(h->named, named == 0 ? 0 : h->lines);
    ev_async_stop(h->loop, &h->said);
    net_teardown(n);
    assert_int_equal(total(h), FLOOD);
    (void)pthread_mutex_destroy(&h->lock);
}

static void refusals(void **state)
{
    static net n;
    static heard h;
    (void)state;
    start(&n, &h, PEA_LOG_WARNING, "refusals", 0);
    net_node(&n.a, PEA_NODE(.max_connections = 1));
    net_node(&n.b, PEA_NODE(.name = "b"));
    net_listen(&n.b);
    net_meet(&n);
    unsigned long began = now_s();
    for (unsigned i = 0; i < FLOOD; i++)
        check_err(pea_node_connect(n.a.node, n.b.addr, PEA_DIAL(.again = true), NULL, NULL), PEA_E_LIMIT);
    n.runtime->log_level = PEA_LOG_WARNING; /* nothing of the end that comes */
    check(&n, &h, began, 0);
}

static void refusals_by_on_accept(void **state)
{
    static net n;
    static heard h;
    (void)state;
    start(&n, &h, PEA_LOG_WARNING, "refusals", 0);
    net_node(&n.b, PEA_NODE(.name = "b"));
    net_listen(&n.b);
    n.b.accept = PEA_E_REFUSED;
    unsigned long began = now_s();
    for (unsigned i = 0; i < FLOOD; i++) {
        close(net_raw_connect(&n.b));
        net_poll(&n);
    }
    net_wait(&n, n.b.accepts == FLOOD);
    check(&n, &h, began, 0);
}

static void no_memory_for_them(void **state)
{
    static net n;
    static heard h;
    (void)state;
    start(&n, &h, PEA_LOG_WARNING, "accepted connections lost", 0);
    net_node(&n.b, PEA_NODE(.name = "b"));
    net_listen(&n.b);
    unsigned long began = now_s();
    faults_arm_all();
    for (unsigned i = 0; i < FLOOD; i++) {
        close(net_raw_connect(&n.b));
        net_poll(&n);
    }
    net_wait(&n, n.b.accepts == FLOOD);
    assert_true(faults_disarm());
    check(&n, &h, began, 0);
}

static void handshakes_that_fail(void **state)
{
    static net n;
    static heard h;
    (void)state;
    start(&n, &h, PEA_LOG_INFO, "dials and handshakes failed", 0);
    net_node(&n.a, PEA_NODE(.name = "a"));
    net_node(&n.b, PEA_NODE(.name = "b"));
    net_listen(&n.b);
    unsigned long began = now_s();
    for (unsigned i = 0; i < FLOOD; i++) {
        int rude = net_raw_connect(&n.b);
        net_raw_send(rude, "?", 1);
        close(rude);
        net_poll(&n);
    }
    net_wait(&n, n.b.failures == FLOOD);
    check(&n, &h, began, 1);
}

static void on_end(pea_conn *conn, const pea_reason *reason, void *user)
{
    (void)conn, (void)reason;
    atomic_fetch_add((atomic_uint *)user, 1);
}

static void part(pea_conn *conn, void *user)
{
    (void)user;
    pea_conn_close(conn, 0, NULL); /* in good order, so that the other side has been connected too */
}

/* Each pair of ends is one of a's and one of b's. */
static void ends_on_several_threads(void **state)
{
    static net n;
    static heard h;
    static atomic_uint ends;
    const pea_node_callbacks a_on = {.on_disconnect = on_end}, b_on = {.on_connect = part, .on_disconnect = on_end};
    (void)state;
    start(&n, &h, PEA_LOG_INFO, "connections ended", 2);
    check_ok(pea_node_new(&n.a.node, n.runtime, PEA_NODE(.chain = n.chain, .on = &a_on, .user = &ends), NULL));
    check_ok(pea_node_new(&n.b.node, n.runtime, PEA_NODE(.chain = n.chain, .on = &b_on, .user = &ends), NULL));
    net_listen(&n.b);
    unsigned long began = now_s();
    for (unsigned i = 0; i < FLOOD / 2; i++) {
        unsigned before = ends;
        net_dial(&n.a, &n.b);
        net_wait(&n, ends == before + 2);
    }
    check(&n, &h, began, 1);
}

int main(void)
{
    faults_install();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refusals),
        cmocka_unit_test(refusals_by_on_accept),
        cmocka_unit_test(no_memory_for_them),
        cmocka_unit_test(handshakes_that_fail),
        cmocka_unit_test(ends_on_several_threads),
    };
    return cmocka_run_group_tests_name("log_flood", tests, NULL, NULL);
}
