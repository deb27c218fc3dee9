/* SPDX-License-Identifier: MIT */
/* See net.h. */
#include "net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runtime_priv.h"

#define DEADLINE_S \
    20. /* of a wait: what takes milliseconds here may take seconds on a machine that does other things */

/* ---- Callbacks: recorded, checked for their order, then the script ---- */

static pea_err on_accept(pea_node *node, const pea_addr *from, void *user)
{
    net_side *s = user;
    assert_ptr_equal(node, s->node);
    assert_true(pea_addr_is_local(from));
    s->accepts++;
    if (s->on_accept != NULL)
        s->on_accept(s);
    return s->accept;
}

static void on_connect(pea_conn *conn, void *user)
{
    net_side *s = user;
    assert_int_equal(pea_conn_state(conn), PEA_READY);
    assert_ptr_equal(pea_conn_node(conn), s->node);
    s->connects++;
    s->conn = conn;
    if (s->on_connect != NULL)
        s->on_connect(s, conn);
}

static void on_message(pea_conn *conn, const uint8_t *data, size_t len, void *user)
{
    net_side *s = user;
    assert_true(s->connects > s->disconnects);
    s->messages++;
    s->bytes += len;
    free(s->last);
    s->last = malloc(len + 1);
    assert_non_null(s->last);
    memcpy(s->last, data, len);
    s->last_len = len;
    if (s->echo)
        check_ok(pea_conn_send(conn, data, len));
    if (s->on_message != NULL)
        s->on_message(s, conn, data, len);
}

static void on_drain(pea_conn *conn, void *user)
{
    net_side *s = user;
    s->drains++;
    if (s->on_drain != NULL)
        s->on_drain(s, conn);
}

static void on_end(pea_conn *conn, void *user)
{
    net_side *s = user;
    s->ends++;
    if (s->on_end != NULL)
        s->on_end(s, conn);
}

static void on_closing(pea_conn *conn, const pea_reason *reason, void *user)
{
    net_side *s = user;
    (void)reason;
    s->closings++;
    if (s->on_closing != NULL)
        s->on_closing(s, conn);
}

static void on_disconnect(pea_conn *conn, const pea_reason *reason, void *user)
{
    net_side *s = user;
    assert_int_equal(pea_conn_state(conn), PEA_CLOSED);
    s->disconnects++;
    assert_true(s->disconnects <= s->connects);
    s->reason = *reason;
    if (s->conn == conn)
        s->conn = NULL;
    if (s->on_disconnect != NULL)
        s->on_disconnect(s, conn);
}

static void on_connect_failed(pea_node *node, const pea_conn_info *info, const pea_reason *reason, void *user)
{
    net_side *s = user;
    assert_ptr_equal(node, s->node);
    s->failures++;
    s->reason = *reason;
    s->info = *info;
    if (s->on_failed != NULL)
        s->on_failed(s);
}

static const pea_node_callbacks callbacks = {on_accept, on_connect, on_message,    on_drain,
                                             on_end,    on_closing, on_disconnect, on_connect_failed};

static void on_log(const pea_log_line *line, void *arg)
{
    net *n = arg;
    if (line->level > PEA_LOG_WARNING)
        return;
    n->warnings++;
    snprintf(n->warning, sizeof n->warning, "%s", line->text);
}

/* ---- Waiting ---- */

static void on_clock(struct ev_loop *loop, ev_timer *timer, int events)
{
    net *n = timer->data;
    (void)loop;
    (void)events;
    n->late = true;
}

void net_clock_start(net *n)
{
    n->late = false;
    ev_now_update(n->loop);
    ev_timer_init(&n->clock, on_clock, DEADLINE_S, 1.);
    n->clock.data = n;
    ev_timer_start(n->loop, &n->clock);
}

void net_clock_stop(net *n)
{
    ev_timer_stop(n->loop, &n->clock);
}

static void show(const net_side *s, const char *name)
{
    char reason[PEA_REASON_TEXT_BYTES];
    print_error("%s: %u accepts, %u connects, %u messages, %u drains, %u ends, %u disconnects, %u failures; %s\n", name,
                s->accepts, s->connects, s->messages, s->drains, s->ends, s->disconnects, s->failures,
                pea_reason_format(&s->reason, reason));
}

void net_turn(net *n, const char *waiting_for, const char *file, int line)
{
    if (n->late) {
        print_error("waited in vain for %s\n", waiting_for);
        show(&n->a, "a");
        show(&n->b, "b");
        _fail(file, line);
    }
    /* What is pending may be all there is: the turn must not go on to wait for more. */
    ev_run(n->loop, ev_pending_count(n->loop) > 0 ? EVRUN_NOWAIT : EVRUN_ONCE);
}

void net_poll(net *n)
{
    if (ev_is_active(&n->events)) /* what was asked for since the last one may not show in the descriptor yet */
        check_ok(pea_runtime_dispatch(n->runtime));
    ev_run(n->loop, EVRUN_NOWAIT);
}

/* ---- Nodes ---- */

static void on_events(struct ev_loop *loop, ev_io *io, int events)
{
    (void)loop;
    (void)events;
    check_ok(pea_runtime_dispatch(io->data));
}

void net_setup_runtime(net *n, pea_mode mode, pea_runtime_opts *opts)
{
    pea_error why = {.code = PEA_OK};
    memset(n, 0, sizeof *n);
    n->a.net = n->b.net = n;
    n->loop = ev_loop_new(EVFLAG_AUTO);
    assert_non_null(n->loop);
    bool dispatched = getenv("PEA_TEST_DISPATCH") != NULL;
    opts->loop = dispatched ? NULL : n->loop;
    opts->log = on_log;
    opts->log_arg = n;
    check_ok(pea_runtime_new(&n->runtime, opts, &why));
    ev_io_init(&n->events, on_events, pea_runtime_event_fd(n->runtime), EV_READ);
    n->events.data = n->runtime;
    if (dispatched)
        ev_io_start(n->loop, &n->events);
    check_ok(pea_chain_new(&n->chain, PEA_CHAIN(.mode = mode), &why));
    check_ok(pea_chain_plain(n->chain));
}

void net_setup(net *n, pea_mode mode)
{
    net_setup_runtime(n, mode, PEA_RUNTIME(.loop = NULL));
}

void net_node(net_side *side, pea_node_opts *opts)
{
    pea_error why = {.code = PEA_OK};
    if (opts->chain == NULL)
        opts->chain = side == &side->net->b && side->net->chain_b != NULL ? side->net->chain_b : side->net->chain;
    if (opts->policy == NULL)
        opts->policy = side->net->policy;
    opts->on = &callbacks;
    opts->user = side;
    if (pea_node_new(&side->node, side->net->runtime, opts, &why) != PEA_OK)
        fail_msg("pea_node_new: %s", why.text);
}

void net_listen(net_side *side)
{
    pea_error why = {.code = PEA_OK};
    if (pea_node_listen(side->node, "127.0.0.1:0", NULL, &side->listener, &why) != PEA_OK)
        fail_msg("pea_node_listen: %s", why.text);
    pea_addr_format(pea_listener_addr(side->listener), side->addr);
}

uint64_t net_dial(net_side *from, const net_side *to)
{
    pea_error why = {.code = PEA_OK};
    uint64_t id = 0;
    if (pea_node_connect(from->node, to->addr, PEA_DIAL(.again = true), &id, &why) != PEA_OK)
        fail_msg("pea_node_connect: %s", why.text);
    assert_int_not_equal(id, 0);
    return id;
}

void net_meet(net *n)
{
    unsigned a = n->a.connects, b = n->b.connects;
    net_dial(&n->a, &n->b);
    net_wait(n, n->a.connects > a && n->b.connects > b);
}

void net_pair(net *n)
{
    net_node(&n->a, PEA_NODE(.name = "a"));
    net_node(&n->b, PEA_NODE(.name = "b"));
    net_listen(&n->b);
    net_meet(n);
}

static bool retime(pea_conn *conn, void *arg)
{
    (void)arg;
    pea__conn_retime(conn);
    return true;
}

void net_hurry(net_side *side, uint32_t ms)
{
    side->node->limits.handshake_timeout_ms = side->node->limits.partial_timeout_ms = ms;
    pea_node_each(side->node, retime, NULL);
}

void net_narrow(int fd)
{
    const int bytes = 262144;
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes), 0);
}

void net_narrow_pair(net *n)
{
    net_narrow(n->a.conn->fd);
    net_narrow(n->b.conn->fd);
}

static void node_gone(net_side *side)
{
    pea_node_free(side->node);
    assert_int_equal(side->connects, side->disconnects);
    free(side->last);
}

void net_teardown(net *n)
{
    ev_timer_stop(n->loop, &n->clock);
    node_gone(&n->a);
    node_gone(&n->b);
    assert_int_equal(pea_runtime_memory(n->runtime), 0);
    ev_io_stop(n->loop, &n->events);
    check_ok(pea_runtime_free(n->runtime));
    pea_chain_unref(n->chain);
    pea_chain_unref(n->chain_b);
    pea_policy_unref(n->policy);
    ev_run(n->loop, 0); /* returns at once: nothing of ours keeps it alive */
    ev_loop_destroy(n->loop);
}

/* ---- Peers without the library ---- */

static void raw_addr(const char *text, struct sockaddr_in *out)
{
    pea_addr addr;
    check_ok(pea_addr_parse(&addr, text, NULL));
    memset(out, 0, sizeof *out);
    out->sin_family = AF_INET;
    out->sin_port = htons(addr.port);
    memcpy(&out->sin_addr, addr.u.ip, 4);
}

uint64_t net_refused(const net_side *side, pea_refusal reason)
{
    pea_stats_node stats;
    pea_node_stats(side->node, &stats);
    return stats.refused[reason];
}

int net_raw_connect(const net_side *to)
{
    struct sockaddr_in at;
    raw_addr(to->addr, &at);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

int net_raw_from(unsigned network, unsigned host)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7F000000u | network << 8 | host)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
#ifdef IP_BIND_ADDRESS_NO_PORT /* else each takes a port from all others for as long as TIME_WAIT lasts */
    const int on = 1;
    assert_int_equal(setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on), 0);
#endif
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

int net_raw_nobody(char addr[PEA_ADDR_TEXT_BYTES])
{
    struct sockaddr_in at;
    socklen_t len = sizeof at;
    raw_addr("127.0.0.1:0", &at);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    snprintf(addr, PEA_ADDR_TEXT_BYTES, "127.0.0.1:%u", ntohs(at.sin_port));
    return fd;
}

int net_raw_listen(int backlog, char addr[PEA_ADDR_TEXT_BYTES])
{
    int fd = net_raw_nobody(addr);
    assert_int_equal(listen(fd, backlog), 0);
    return fd;
}

static void wake(struct ev_loop *loop, ev_io *io, int events)
{
    (void)loop;
    (void)io;
    (void)events;
}

static bool turn_until_readable(net *n, int fd)
{
    ev_io io;
    struct sockaddr_storage unused;
    (void)unused;
    ev_io_init(&io, wake, fd, EV_READ);
    ev_io_start(n->loop, &io);
    net_turn(n, "a raw socket to be readable", __FILE__, __LINE__);
    ev_io_stop(n->loop, &io);
    return true;
}

int net_raw_accept(net *n, int listener)
{
    net_clock_start(n);
    turn_until_readable(n, listener);
    net_clock_stop(n);
    int fd = accept(listener, NULL, NULL);
    assert_true(fd >= 0);
    return fd;
}

void net_raw_send(int fd, const void *data, size_t len)
{
    assert_int_equal(send(fd, data, len, MSG_NOSIGNAL), (ssize_t)len);
}

size_t net_raw_recv(net *n, int fd, void *data, size_t want, bool *reset)
{
    size_t got = 0;
    net_clock_start(n);
    while (got < want) {
        ssize_t r = recv(fd, (uint8_t *)data + got, want - got, MSG_DONTWAIT);
        if (r > 0) {
            got += (size_t)r;
        } else if (r == 0) {
            break;
        } else if (errno == EAGAIN) {
            turn_until_readable(n, fd);
        } else {
            assert_int_equal(errno, ECONNRESET);
            if (reset == NULL)
                fail_msg("the connection was reset");
            *reset = true;
            break;
        }
    }
    net_clock_stop(n);
    return got;
}

/* docs/wire.md: greeting; HELLO with version, network and transcript (both greetings); ACCEPT. */
void net_raw_open(net *n, int fd)
{
    static const uint8_t greeting[41] = {0xF1, 'p', 'e', 'a', 'p', 'o', 'd', 1, 1};
    uint8_t opening[41 + 4 + 127 + 4] = {0}, answer[sizeof opening], *at = opening;
    memcpy(at, greeting, sizeof greeting);
    at += sizeof greeting;
    memcpy(at,
           "\x01\x00\x00\x7f"
           "\x00\x01\x00\x01\x01"
           "\x00\x02\x00\x20",
           13);
    at += 13 + 32;
    memcpy(at, "\x00\x03\x00\x52", 4);
    memcpy(at + 4, greeting, sizeof greeting);
    memcpy(at + 4 + 41, greeting, sizeof greeting);
    at += 4 + 82;
    memcpy(at, "\x02\x00\x00\x00", 4);
    assert_int_equal(at + 4 - opening, sizeof opening);
    net_raw_send(fd, opening, sizeof opening);
    assert_int_equal(net_raw_recv(n, fd, answer, sizeof answer, NULL), sizeof answer);
    check_bytes(answer, sizeof answer, opening, sizeof opening);
}
