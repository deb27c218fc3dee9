/* SPDX-License-Identifier: MIT */
/* Dials that make no sense, sockets that the caller brings, and roles. How dials fail and end is in node_test.c. */
#include "support/net.h"

#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "peapod/chain.h"
#include "peapod/identity.h"
#include "peapod/trust.h"

static int setup(void **state)
{
    static net n;
    net_setup(&n, PEA_NATIVE);
    net_node(&n.a, PEA_NODE(.name = "a"));
    net_node(&n.b, PEA_NODE(.name = "b"));
    *state = &n;
    return 0;
}

static int teardown(void **state)
{
    net_teardown(*state);
    return 0;
}

static pea_err dial(const net *n, const char *addr, const pea_dial_opts *opts, const char *says)
{
    pea_error why = {.code = PEA_OK};
    pea_err err = pea_node_connect(n->a.node, addr, opts, NULL, &why);
    if (err != PEA_OK && strstr(why.text, says) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", why.text, says);
    return err;
}

/* ---- Oneself ---- */

static void own_addresses(void **state)
{
    net *n = *state;
    char text[64];
    pea_listener *all;
    net_listen(&n->a);
    check_err(dial(n, n->a.addr, NULL, "own address"), PEA_E_INVALID);
    check_err(dial(n, n->a.addr, PEA_DIAL(.again = true), "own address"), PEA_E_INVALID);
    check_ok(pea_node_listen(n->a.node, "0.0.0.0:0", NULL, &all, NULL));
    (void)snprintf(text, sizeof text, "127.0.0.5:%u", pea_listener_addr(all)->port);
    check_err(dial(n, text, NULL, "own address"), PEA_E_INVALID);
    (void)snprintf(text, sizeof text, "unix:/tmp/peapod-dial-test-%ld", (long)getpid());
    check_ok(pea_node_listen(n->a.node, text, NULL, NULL, NULL));
    check_err(dial(n, text, NULL, "own address"), PEA_E_INVALID);
    pea_counts counts;
    pea_node_counts(n->a.node, &counts);
    assert_int_equal(counts.connections, 0);
}

/* Another way to the same listener: only the identity tells. */
static void own_identity(void **state)
{
    net *n = *state;
    pea_identity *me;
    pea_trust *trust;
    pea_chain *chain;
    check_ok(pea_identity_generate(&me, NULL));
    check_ok(pea_trust_new(&trust));
    pea_trust_any(trust);
    check_ok(pea_chain_new(&chain, NULL, NULL));
    check_ok(pea_chain_noise(chain, PEA_NOISE(.identity = me), NULL));
    pea_node_free(n->a.node);
    pea_node_free(n->b.node);
    net_node(&n->a, PEA_NODE(.chain = chain, .policy = pea_trust_policy(trust)));
    net_node(&n->b, PEA_NODE(.chain = chain, .policy = pea_trust_policy(trust)));
    net_listen(&n->b);
    check_ok(dial(n, n->b.addr, NULL, ""));
    net_wait(n, n->a.failures == 1 && n->b.failures == 1);
    assert_string_equal(n->a.reason.text, "the peer is this node itself, or has its identity");
    check_err(n->a.reason.err, PEA_E_REFUSED);
    pea_chain_unref(chain);
    pea_trust_unref(trust);
    pea_identity_unref(me);
}

/* ---- Twice ---- */

static void the_same_address_twice(void **state)
{
    net *n = *state;
    net_listen(&n->b);
    check_ok(dial(n, n->b.addr, NULL, ""));
    check_err(dial(n, n->b.addr, NULL, "dialled already"), PEA_E_EXISTS); /* while it is on its way */
    net_wait(n, n->a.connects == 1 && n->b.connects == 1);
    check_err(dial(n, n->b.addr, NULL, "dialled already"), PEA_E_EXISTS);
    check_ok(dial(n, n->b.addr, PEA_DIAL(.again = true), ""));
    net_wait(n, n->a.connects == 2 && n->b.connects == 2);
    while (n->a.disconnects < 2) {
        if (n->a.conn != NULL)
            pea_conn_close(n->a.conn, PEA_CODE_NORMAL, NULL);
        n->a.conn = pea_node_find_addr(n->a.node, pea_listener_addr(n->b.listener));
        net_poll(n);
    }
    check_ok(dial(n, n->b.addr, NULL, ""));
    net_wait(n, n->a.connects == 3 && n->b.connects == 3);
}

/* ---- Sockets of the caller's ---- */

static int bound_socket(uint16_t *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd > 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    *port = ntohs(at.sin_port);
    return fd;
}

static void a_custom_socket(void **state)
{
    net *n = *state;
    uint16_t port;
    net_listen(&n->b);
    int fd = bound_socket(&port);
    check_ok(dial(n, n->b.addr, PEA_DIAL(.fd = fd), ""));
    net_wait(n, n->a.connects == 1 && n->b.connects == 1);
    assert_int_equal(pea_conn_remote(n->b.conn)->port, port); /* it came from where the caller bound it */
}

static void sockets_that_will_not_do(void **state)
{
    net *n = *state;
    uint16_t port;
    net_listen(&n->b);
    int stream = bound_socket(&port), datagram = socket(AF_INET, SOCK_DGRAM, 0),
        unix_stream = socket(AF_UNIX, SOCK_STREAM, 0);
    check_err(dial(n, n->b.addr, PEA_DIAL(.fd = datagram), "no stream socket"), PEA_E_INVALID);
    check_err(dial(n, n->b.addr, PEA_DIAL(.fd = unix_stream), "no stream socket"), PEA_E_INVALID);
    check_err(dial(n, NULL, PEA_DIAL(.fd = stream), "not connected"), PEA_E_SYS);
    check_err(dial(n, NULL, NULL, "no address"), PEA_E_INVALID);
    check_err(dial(n, n->b.addr, PEA_DIAL(.side = (pea_side)7), "side is"), PEA_E_INVALID);
    pea_counts counts;
    pea_node_counts(n->a.node, &counts);
    assert_int_equal(counts.connections, 0);
    assert_int_equal(close(stream) + close(datagram) + close(unix_stream), 0); /* they are still ours */
}

/* As after TCP's simultaneous open: both ends have dialled, and the connection stands. */
static void two_dials_make_one_connection(void **state)
{
    net *n = *state;
    char addr[PEA_ADDR_TEXT_BYTES];
    int listener = net_raw_listen(1, addr);
    int one = socket(AF_INET, SOCK_STREAM, 0);
    pea_addr at;
    check_ok(pea_addr_parse(&at, addr, NULL));
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(at.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(one, (struct sockaddr *)&to, sizeof to), 0);
    int other = net_raw_accept(n, listener);
    check_ok(pea_node_connect(n->a.node, NULL, PEA_DIAL(.fd = one), NULL, NULL));
    check_ok(pea_node_connect(n->b.node, NULL, PEA_DIAL(.fd = other, .side = PEA_RESPONDER), NULL, NULL));
    net_wait(n, n->a.connects == 1 && n->b.connects == 1);
    assert_int_equal(pea_conn_side(n->a.conn), PEA_INITIATOR);
    assert_int_equal(pea_conn_side(n->b.conn), PEA_RESPONDER);
    n->b.echo = true;
    check_ok(pea_conn_send(n->a.conn, "hello", 5));
    net_wait(n, n->a.messages == 1);
    assert_int_equal(close(listener), 0);
}

/* A dial that nobody answers is given up. */
static void a_dial_is_given_up(void **state)
{
    net *n = *state;
    char addr[PEA_ADDR_TEXT_BYTES];
    uint64_t id;
    int listener = net_raw_listen(1, addr);
    check_ok(pea_node_connect(n->a.node, addr, NULL, &id, NULL));
    assert_int_equal(n->a.failures, 0);
    pea_conn_abort(pea_node_find(n->a.node, id));
    net_wait(n, n->a.failures == 1);
    check_err(n->a.reason.err, PEA_E_ABORTED);
    assert_int_equal(close(listener), 0);
}

#define entry(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        entry(own_addresses),
        entry(own_identity),
        entry(the_same_address_twice),
        entry(a_custom_socket),
        entry(sockets_that_will_not_do),
        entry(two_dials_make_one_connection),
        entry(a_dial_is_given_up),
    };
    return cmocka_run_group_tests_name("dials", tests, NULL, NULL);
}
