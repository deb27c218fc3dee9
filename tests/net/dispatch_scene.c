/* SPDX-License-Identifier: MIT */
/* What the tests of runtimes without a libev loop share: two Noise nodes, and poll() as the loop. */
#include "dispatch_scene.h"

#include <poll.h>
#include <time.h>

#include "peapod/chain.h"
#include "peapod/trust.h"

scene s;

/* ---- Callbacks ---- */

static void on_connect(pea_conn *conn, void *user)
{
    side *at = user;
    at->connects++;
    at->conn = conn;
    assert_non_null(pea_conn_peer(conn));
}

uint32_t sum_of(uint32_t sum, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        sum = sum * 31u + data[i];
    return sum;
}

static void on_message(pea_conn *conn, const uint8_t *data, size_t len, void *user)
{
    side *at = user;
    at->messages++;
    at->bytes += len;
    at->sum = sum_of(at->sum, data, len);
    if (at->echo)
        check_ok(pea_conn_send(conn, data, len));
    if (at->on_message != NULL)
        at->on_message(at, conn);
}

static void on_drain(pea_conn *conn, void *user)
{
    (void)conn;
    ((side *)user)->drains++;
}

/* Also from inside of pea_conn_close(), outside of dispatch. */
static void on_closing(pea_conn *conn, const pea_reason *reason, void *user)
{
    side *at = user;
    (void)conn;
    (void)reason;
    at->closings++;
    check_err(pea_runtime_dispatch(at->scene->runtime), PEA_E_STATE);
    check_err(pea_runtime_free(at->scene->runtime), PEA_E_STATE);
}

static void on_disconnect(pea_conn *conn, const pea_reason *reason, void *user)
{
    side *at = user;
    at->disconnects++;
    at->reason = *reason;
    if (at->conn == conn)
        at->conn = NULL;
}

static void on_connect_failed(pea_node *node, const pea_conn_info *info, const pea_reason *reason, void *user)
{
    side *at = user;
    (void)node;
    (void)info;
    at->failures++;
    at->reason = *reason;
}

void on_done(void *arg)
{
    ++*(unsigned *)arg;
}

/* ---- The loop: nothing but poll() ---- */

int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

bool readable(const pea_runtime *runtime, int ms)
{
    struct pollfd at = {.fd = pea_runtime_event_fd(runtime), .events = POLLIN};
    int n = poll(&at, 1, ms);
    assert_true(n >= 0);
    assert_true(n == 0 || at.revents == POLLIN);
    return n > 0;
}

void dispatch_turn(int64_t until, const char *what, int line)
{
    int64_t left = until - now_ms();
    if (left <= 0 || !readable(s.runtime, (int)left)) {
        char a[PEA_REASON_TEXT_BYTES], b[PEA_REASON_TEXT_BYTES];
        print_error("waited in vain for %s; a: %u messages, %s; b: %u messages, %s\n", what, s.a.messages,
                    pea_reason_format(&s.a.reason, a), s.b.messages, pea_reason_format(&s.b.reason, b));
        _fail(__FILE__, line);
    }
    s.dispatches++;
    check_ok(pea_runtime_dispatch(s.runtime));
}

void rest(void)
{
    for (int i = 0; i < 10000; i++) {
        if (!readable(s.runtime, 50))
            return;
        check_ok(pea_runtime_dispatch(s.runtime));
    }
    fail_msg("it never rests");
}

/* ---- Scenes ---- */

static void party_new(side *at)
{
    pea_error why = {.code = PEA_OK};
    at->scene = &s;
    check_ok(pea_identity_generate(&at->identity, &why));
    pea_identity_peer(at->identity, &at->peer);
    check_ok(pea_trust_new(&at->trust));
    check_ok(pea_chain_new(&at->chain, NULL, &why));
    check_ok(pea_chain_noise(at->chain, PEA_NOISE(.identity = at->identity), &why));
}

static void party_free(side *at)
{
    pea_chain_unref(at->chain);
    pea_trust_unref(at->trust);
    pea_identity_unref(at->identity);
}

void node_new(side *at, pea_runtime *runtime, pea_node_opts *o)
{
    static const pea_node_callbacks on = {.on_connect = on_connect,
                                          .on_message = on_message,
                                          .on_drain = on_drain,
                                          .on_closing = on_closing,
                                          .on_disconnect = on_disconnect,
                                          .on_connect_failed = on_connect_failed};
    pea_error why;
    o->chain = at->chain;
    o->policy = pea_trust_policy(at->trust);
    o->on = &on;
    o->user = at;
    check_ok(pea_node_new(&at->node, runtime, o, &why));
}

void listen_b(void)
{
    pea_error why;
    if (pea_node_listen(s.b.node, "127.0.0.1:0", NULL, NULL, &why) != PEA_OK)
        fail_msg("%s", why.text);
    pea_addr_format(pea_node_listen_addr(s.b.node), s.addr);
}

void dial(void)
{
    pea_error why;
    if (pea_node_connect(s.a.node, s.addr, PEA_DIAL(.expect = &s.b.peer, .again = true), NULL, &why) != PEA_OK)
        fail_msg("%s", why.text);
}

void meet(void)
{
    unsigned a = s.a.connects, b = s.b.connects;
    dial();
    wait_for(s.a.connects > a && s.b.connects > b);
}

int dispatch_setup(void **state)
{
    pea_error why;
    (void)state;
    memset(&s, 0, sizeof s);
    if (pea_runtime_new(&s.runtime, PEA_RUNTIME(.loop = NULL), &why) != PEA_OK)
        fail_msg("%s", why.text);
    party_new(&s.a);
    party_new(&s.b);
    check_ok(pea_trust_allow(s.a.trust, &s.b.peer, "b", NULL, NULL));
    check_ok(pea_trust_allow(s.b.trust, &s.a.peer, "a", NULL, NULL));
    return 0;
}

void nodes(void)
{
    node_new(&s.a, s.runtime, PEA_NODE(.name = "a"));
    node_new(&s.b, s.runtime, PEA_NODE(.name = "b"));
    listen_b();
}

int dispatch_teardown(void **state)
{
    (void)state;
    pea_node_free(s.a.node);
    pea_node_free(s.b.node);
    assert_int_equal(s.a.connects, s.a.disconnects);
    assert_int_equal(s.b.connects, s.b.disconnects);
    check_ok(pea_runtime_free(s.runtime));
    party_free(&s.a);
    party_free(&s.b);
    return 0;
}
