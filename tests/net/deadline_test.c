/* SPDX-License-Identifier: MIT */
/* Every deadline, each against a peer that lets it pass. The times are short so that the tests are; nothing asserts
 * that something took little time, but only that it did not come early. */
#include "support/net.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static int setup(void **state)
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

static double began;

static void begin(net *n)
{
    ev_now_update(n->loop);
    began = ev_now(n->loop);
}

/* Milliseconds are whole: one of slack on either side. */
static void check_not_early(net *n, double seconds)
{
    ev_now_update(n->loop);
    if (ev_now(n->loop) - began < seconds - 0.002)
        fail_msg("after %f s, %f s were due", ev_now(n->loop) - began, seconds);
}

#define FILLERS 8

/* A listener that accepts nobody and whose queue is full: a dial gets no answer at all. */
static void connect_timeout(void **state)
{
    net *n = *state;
    int fillers[FILLERS];
    int listener = net_raw_listen(0, n->b.addr);
    net_node(&n->a, PEA_NODE(.connect_timeout_ms = 150));
    for (size_t i = 0; i < FILLERS; i++) { /* until one stays unconnected, the queue has room */
        struct sockaddr_storage at;
        socklen_t len = sizeof at;
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
        (void)!connect(fillers[i], (const struct sockaddr *)&at, len);
    }
    begin(n);
    uint64_t id = net_dial(&n->a, &n->b);
    assert_int_equal(pea_conn_state(pea_node_find(n->a.node, id)), PEA_DIALING);
    net_wait(n, n->a.failures == 1);
    check_not_early(n, 0.150);
    assert_int_equal(n->a.reason.origin, PEA_BY_TIMEOUT);
    assert_int_equal(n->a.reason.err, PEA_E_TIMEOUT);
    assert_non_null(strstr(n->a.reason.text, "connect"));
    assert_int_equal(n->a.info.id, id);
    assert_int_equal(n->a.info.side, PEA_INITIATOR);
    for (size_t i = 0; i < FILLERS; i++)
        close(fillers[i]);
    close(listener);
}

static void handshake_timeout_of_the_dialler(void **state)
{
    net *n = *state;
    uint8_t greeting[41];
    int listener = net_raw_listen(1, n->b.addr);
    net_node(&n->a, PEA_NODE(.handshake_timeout_ms = 150));
    begin(n);
    net_dial(&n->a, &n->b);
    int fd = net_raw_accept(n, listener);
    assert_int_equal(net_raw_recv(n, fd, greeting, sizeof greeting, NULL), sizeof greeting);
    net_wait(n, n->a.failures == 1);
    check_not_early(n, 0.150);
    assert_int_equal(n->a.reason.origin, PEA_BY_TIMEOUT);
    assert_non_null(strstr(n->a.reason.text, "handshake"));
    close(fd);
    close(listener);
}

/* Silence, and a peer that trickles bytes: the deadline covers all of the handshake. */
static void handshake_timeout_of_the_listener(void **state)
{
    net *n = *state;
    uint8_t byte;
    net_node(&n->b, PEA_NODE(.handshake_timeout_ms = 150));
    net_listen(&n->b);
    begin(n);
    int silent = net_raw_connect(&n->b), slow = net_raw_connect(&n->b);
    net_raw_send(slow, "\xF1pea", 4);
    assert_int_equal(net_raw_recv(n, silent, &byte, 1, NULL), 0);
    check_not_early(n, 0.150);
    assert_int_equal(net_raw_recv(n, slow, &byte, 1, NULL), 0);
    net_wait(n, n->b.failures == 2);
    assert_int_equal(n->b.reason.err, PEA_E_TIMEOUT);
    assert_int_equal(n->b.connects, 0);
    close(silent);
    close(slow);
}

/* The peer reads our CLOSE and stays: after linger the end is ours. */
static void linger(void **state)
{
    net *n = *state;
    uint8_t close_chunk[11];
    net_node(&n->b, PEA_NODE(.linger_ms = 150));
    net_listen(&n->b);
    int fd = net_raw_connect(&n->b);
    net_raw_open(n, fd);
    net_wait(n, n->b.connects == 1);
    begin(n);
    pea_conn_close(n->b.conn, PEA_CODE_NORMAL, "ciao!");
    assert_int_equal(net_raw_recv(n, fd, close_chunk, sizeof close_chunk, NULL), sizeof close_chunk);
    check_bytes(close_chunk, sizeof close_chunk,
                "\x06\x00\x00\x07\x00\x00"
                "ciao!",
                11);
    assert_int_equal(net_raw_recv(n, fd, close_chunk, 1, NULL), 0); /* FIN at once */
    net_wait(n, n->b.disconnects == 1);
    check_not_early(n, 0.150);
    assert_int_equal(n->b.reason.origin, PEA_BY_USER); /* the reason it had, not the linger's */
    assert_int_equal(n->b.reason.err, PEA_OK);
    close(fd);
}

/* Whoever goes on talking after our farewell is read, up to a bound, so that no reset overtakes the farewell. */
static void linger_reads_what_comes(void **state)
{
    net *n = *state;
    uint8_t block[4096] = {0}, close_chunk[6];
    net_node(&n->b, PEA_NODE(.name = "b"));
    net_listen(&n->b);
    int fd = net_raw_connect(&n->b);
    net_raw_open(n, fd);
    net_wait(n, n->b.connects == 1);
    pea_conn_close(n->b.conn, PEA_CODE_NORMAL, NULL);
    for (int i = 0; i < 8; i++)
        net_raw_send(fd, block, sizeof block); /* not even chunks: discarded unchecked */
    assert_int_equal(net_raw_recv(n, fd, close_chunk, sizeof close_chunk, NULL), sizeof close_chunk);
    assert_int_equal(net_raw_recv(n, fd, block, 1, NULL), 0);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    net_wait(n, n->b.disconnects == 1);
    assert_int_equal(n->b.reason.err, PEA_OK);
    assert_int_equal(n->b.messages, 0);
    close(fd);
}

/* A message is begun and never finished, though bytes of it trickle in. */
static void partial_timeout(void **state)
{
    net *n = *state;
    uint8_t byte;
    net_node(&n->b, PEA_NODE(.partial_timeout_ms = 150, .idle_timeout_ms = 60000));
    net_listen(&n->b);
    int fd = net_raw_connect(&n->b);
    net_wait(n, n->b.connects == 1);
    begin(n);
    net_raw_send(fd, "\0\0\0\x02hi\0\0\0\x05he", 12); /* one whole message, and the beginning of another */
    net_wait(n, n->b.messages == 1);
    net_raw_send(fd, "l", 1);
    assert_int_equal(net_raw_recv(n, fd, &byte, 1, NULL), 0);
    net_wait(n, n->b.disconnects == 1);
    check_not_early(n, 0.150);
    assert_int_equal(n->b.reason.origin, PEA_BY_TIMEOUT);
    assert_int_equal(n->b.reason.err, PEA_E_TIMEOUT);
    assert_non_null(strstr(n->b.reason.text, "not finished"));
    close(fd);
}

static void finish_later(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    net_raw_send(*(int *)timer->data, "lo", 2);
}

/* A message that is finished in time ends nothing, and the next one has the whole time again. */
static void partial_in_time(void **state)
{
    net *n = *state;
    net_node(&n->b, PEA_NODE(.partial_timeout_ms = 10000));
    net_listen(&n->b);
    int fd = net_raw_connect(&n->b);
    net_wait(n, n->b.connects == 1);
    net_raw_send(fd, "\0\0\0\x05hel", 7);
    ev_timer later;
    ev_timer_init(&later, finish_later, 0.05, 0.);
    later.data = &fd;
    ev_timer_start(n->loop, &later);
    net_wait(n, n->b.messages == 1);
    check_bytes(n->b.last, n->b.last_len, "hello", 5);
    assert_int_equal(n->b.disconnects, 0);
    close(fd);
    net_wait(n, n->b.disconnects == 1);
}

static void idle_timeout(void **state)
{
    net *n = *state;
    net_node(&n->a, PEA_NODE(.name = "a"));
    net_node(&n->b, PEA_NODE(.idle_timeout_ms = 150));
    net_listen(&n->b);
    net_meet(n);
    begin(n);
    check_ok(pea_conn_send(n->a.conn, "not idle", 8));
    net_wait(n, n->a.disconnects == 1 && n->b.disconnects == 1);
    if (n->b.messages == 1) /* else the machine was, for so long */
        check_not_early(n, 0.150);
    assert_int_equal(n->b.reason.origin, PEA_BY_TIMEOUT);
    assert_non_null(strstr(n->b.reason.text, "idle"));
    assert_int_equal(n->b.closings, 1);
    assert_int_equal(n->a.reason.origin, PEA_BY_PEER);
    assert_int_equal(n->a.reason.err, PEA_E_CLOSED);
    assert_int_equal(n->a.reason.code, PEA_CODE_TIMEOUT);
}

typedef struct pinger {
    ev_timer timer;
    net_side *side;
    unsigned left;
} pinger;

static void on_ping(struct ev_loop *loop, ev_timer *timer, int events)
{
    pinger *p = timer->data;
    (void)events;
    if (p->side->conn != NULL)
        check_ok(pea_conn_send(p->side->conn, "tick", 4));
    if (--p->left == 0)
        ev_timer_stop(loop, timer);
}

/* Who speaks often enough is never idle: four idle times pass, none of them in one piece. */
static void idle_is_put_off_by_traffic(void **state)
{
    net *n = *state;
    pinger p = {.side = &n->a, .left = 20};
    net_node(&n->a, PEA_NODE(.name = "a"));
    net_node(&n->b, PEA_NODE(.idle_timeout_ms = 2000));
    net_listen(&n->b);
    net_meet(n);
    ev_timer_init(&p.timer, on_ping, 0.05, 0.05);
    p.timer.data = &p;
    ev_timer_start(n->loop, &p.timer);
    net_wait(n, n->b.messages == 20);
    assert_int_equal(n->b.disconnects, 0);
    pea_conn_close(n->b.conn, PEA_CODE_NORMAL, NULL);
    net_wait(n, n->b.disconnects == 1 && n->a.disconnects == 1);
}

static void on_alarm(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    *(bool *)timer->data = true;
}

/* Turns the loop for a while, without which there is no deadline to pass. */
static void let_pass(net *n, double seconds)
{
    bool passed = false;
    ev_timer alarm_timer;
    ev_now_update(n->loop);
    ev_timer_init(&alarm_timer, on_alarm, seconds, 0.);
    alarm_timer.data = &passed;
    ev_timer_start(n->loop, &alarm_timer);
    net_wait(n, passed);
}

/* While we do not read, the peer cannot be called idle or slow; both times begin anew with the resume. */
static void a_pause_is_not_the_peers_fault(void **state)
{
    net *n = *state;
    net_node(&n->b, PEA_NODE(.partial_timeout_ms = 1000, .idle_timeout_ms = 1000));
    net_listen(&n->b);
    int fd = net_raw_connect(&n->b);
    net_wait(n, n->b.connects == 1);
    net_raw_send(fd, "\0\0\0\x05he", 6);
    pea_conn_info info = {.bytes_in = 0};
    net_clock_start(n);
    while (info.bytes_in < 6) {
        net_turn(n, "the piece to be read", __FILE__, __LINE__);
        pea_conn_snapshot(n->b.conn, &info);
    }
    net_clock_stop(n);
    pea_conn_pause(n->b.conn);
    net_raw_send(fd, "llo", 3);
    let_pass(n, 1.5);
    assert_int_equal(n->b.disconnects, 0);
    pea_conn_resume(n->b.conn);
    net_wait(n, n->b.messages == 1);
    check_bytes(n->b.last, n->b.last_len, "hello", 5);
    assert_int_equal(n->b.disconnects, 0);
    close(fd);
    net_wait(n, n->b.disconnects == 1);
}

/* A session that is too old ends in two steps: we say no more, the peer says what it has, and nothing is lost. */
static void too_old(net *n, net_side *old, net_side *other, uint32_t linger_ms, bool half_close)
{
    unsigned sent[2] = {0, 0};
    net_node(old, PEA_NODE(.max_session_ms = 100, .linger_ms = linger_ms));
    net_node(other, PEA_NODE(.half_close = half_close));
    net_listen(&n->b);
    begin(n);
    net_meet(n);
    net_clock_start(n);
    while (n->a.disconnects == 0 || n->b.disconnects == 0) {
        assert_false(n->late);
        if (n->a.conn != NULL && pea_conn_send(n->a.conn, "a", 1) == PEA_OK)
            sent[0]++;
        if (!half_close && n->b.conn != NULL && pea_conn_send(n->b.conn, "b", 1) == PEA_OK)
            sent[1]++;
        net_poll(n);
    }
    net_clock_stop(n);
    check_not_early(n, 0.1);
    assert_int_equal(n->b.messages, sent[0]);
    assert_int_equal(n->a.messages, sent[1]);
    assert_true(n->a.reason.err >= 0 && n->b.reason.err >= 0); /* in a stream nothing authenticates the end */
    assert_int_equal(n->a.reason.code | n->b.reason.code, PEA_CODE_NORMAL);
}

static void who_accepted_ends_what_is_too_old(void **state)
{
    net *n = *state;
    too_old(n, &n->b, &n->a, 0, false);
}

static void who_dialled_ends_what_is_too_old(void **state)
{
    net *n = *state;
    too_old(n, &n->a, &n->b, 0, false);
}

/* The peer heard our END, and may say more, but is silent: linger_ms later that is the end. */
static void a_peer_that_leaves_it_open(void **state)
{
    net *n = *state;
    too_old(n, &n->a, &n->b, 100, true);
    assert_int_equal(n->b.ends, 1);
}

/* The peer heard our END, and talks on: linger_ms later that is over as well. */
static void a_peer_that_does_not_stop(void **state)
{
    net *n = *state;
    unsigned said = 0;
    net_node(&n->a, PEA_NODE(.max_session_ms = 100, .linger_ms = 200));
    net_node(&n->b, PEA_NODE(.half_close = true));
    net_listen(&n->b);
    begin(n);
    net_meet(n);
    net_clock_start(n);
    while (n->a.disconnects == 0) {
        assert_false(n->late);
        if (n->b.conn != NULL)
            said += pea_conn_send(n->b.conn, "b", 1) == PEA_OK;
        net_poll(n);
    }
    net_clock_stop(n);
    check_not_early(n, 0.3);
    assert_true(said > 0);
    assert_int_equal(n->b.ends, 1);
    assert_int_equal(n->a.reason.origin, PEA_BY_TIMEOUT);
    assert_true(n->a.reason.err >= 0);
}

/* PEA_NEVER means it, and a node that was told so arms nothing. */
static void never(void **state)
{
    net *n = *state;
    net_node(&n->b, PEA_NODE(.handshake_timeout_ms = PEA_NEVER, .partial_timeout_ms = PEA_NEVER,
                             .idle_timeout_ms = PEA_NEVER));
    net_listen(&n->b);
    int fd = net_raw_connect(&n->b);
    net_wait(n, n->b.connects == 1);
    net_raw_send(fd, "\0\0\0\x05he", 6);
    let_pass(n, 0.1);
    assert_int_equal(n->b.disconnects, 0);
    close(fd);
    net_wait(n, n->b.disconnects == 1);
    assert_int_equal(n->b.reason.err, PEA_E_TRUNCATED);
}

#define entry(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define stream(test) cmocka_unit_test_setup_teardown(test, setup_stream, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        entry(connect_timeout),
        entry(handshake_timeout_of_the_dialler),
        entry(handshake_timeout_of_the_listener),
        entry(linger),
        entry(linger_reads_what_comes),
        stream(partial_timeout),
        stream(partial_in_time),
        entry(idle_timeout),
        entry(idle_is_put_off_by_traffic),
        entry(who_accepted_ends_what_is_too_old),
        entry(who_dialled_ends_what_is_too_old),
        stream(who_accepted_ends_what_is_too_old),
        entry(a_peer_that_leaves_it_open),
        entry(a_peer_that_does_not_stop),
        stream(a_pause_is_not_the_peers_fault),
        stream(never),
    };
    return cmocka_run_group_tests_name("deadline", tests, NULL, NULL);
}
