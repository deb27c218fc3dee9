/* SPDX-License-Identifier: MIT */
/* Messages that are not copied to the queue: whatever their sizes, and however slowly they go, each arrives whole and
 * in its place; and a large one that many are to have is held once. */
#include "support/faults.h"
#include "support/net.h"
#include "support/prng.h"

#include <stdlib.h>
#include <unistd.h>

#include "peapod/chain.h"
#include "peapod/identity.h"
#include "peapod/trust.h"
#include "runtime_priv.h"

enum { LARGEST = 400000, MESSAGES = 400 };

typedef struct stream {
    net n;
    test_prng sizes, sizes_there; /* the same sequence on either side */
    unsigned sent, came, confirmed, refused;
    uint8_t block[LARGEST + 256];
} stream;

static stream s;

static void secure(net *n)
{
    pea_trust *trust;
    pea_chain_unref(n->chain);
    for (int b = 0; b < 2; b++) {
        pea_chain **chain = b ? &n->chain_b : &n->chain;
        pea_identity *me;
        check_ok(pea_identity_generate(&me, NULL));
        check_ok(pea_chain_new(chain, NULL, NULL));
        check_ok(pea_chain_noise(*chain, PEA_NOISE(.identity = me), NULL));
        pea_identity_unref(me);
    }
    check_ok(pea_trust_new(&trust));
    pea_trust_any(trust);
    n->policy = pea_policy_ref(pea_trust_policy(trust));
    pea_trust_unref(trust);
}

static int setup(pea_mode mode)
{
    memset(&s, 0, sizeof s);
    net_setup(&s.n, mode);
    for (size_t i = 0; i < sizeof s.block; i++)
        s.block[i] = (uint8_t)i;
    return 0;
}

static int setup_native(void **state)
{
    (void)state;
    return setup(PEA_NATIVE);
}

static int setup_stream(void **state)
{
    (void)state;
    return setup(PEA_STREAM);
}

static int setup_noise(void **state)
{
    (void)state;
    (void)setup(PEA_NATIVE);
    secure(&s.n);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    net_teardown(&s.n);
    assert_int_equal(faults_blocks(), 0);
    return 0;
}

/* ---- A stream of all sizes ---- */

/* Small ones, some around a full write, some of several writes. */
static size_t next_size(test_prng *of)
{
    switch (prng_below(of, 4)) {
    case 0:
        return prng_below(of, 64);
    case 1:
        return 1000 + prng_below(of, 100);
    case 2:
        return PEA_WRITE_MAX - 40 + prng_below(of, 80);
    default:
        return prng_below(of, LARGEST);
    }
}

static void on_sent(void *arg, pea_err err)
{
    (void)arg;
    check_ok(err);
    s.confirmed++;
}

/* As much as the queue takes, now copied, now shared. */
static void send_on(net_side *side, pea_conn *conn)
{
    (void)side;
    while (s.sent < MESSAGES) {
        test_prng before = s.sizes;
        size_t len = next_size(&s.sizes);
        const uint8_t *data = s.block + s.sent % 256;
        pea_err err;
        if (s.sent % 2 == 0) {
            err = pea_conn_send(conn, data, len);
            s.confirmed += err == PEA_OK;
        } else {
            pea_msg *msg;
            check_ok(pea_msg_new(&msg, data, len));
            err = pea_conn_send_msg(conn, msg, on_sent, NULL);
            pea_msg_unref(msg);
        }
        if (err == PEA_E_QUEUE_FULL) {
            s.sizes = before; /* the same again, when there is room */
            s.refused++;
            return;
        }
        check_ok(err);
        s.sent++;
    }
}

static void compare(net_side *side, pea_conn *conn, const uint8_t *data, size_t len)
{
    (void)side, (void)conn;
    assert_int_equal(len, next_size(&s.sizes_there));
    assert_memory_equal(data, s.block + s.came % 256, len);
    s.came++;
}

static void all_sizes_arrive(void **state)
{
    net *n = &s.n;
    (void)state;
    s.sizes = s.sizes_there = (test_prng){7};
    n->b.on_message = compare;
    n->a.on_drain = send_on;
    net_pair(n);
    net_narrow_pair(n);
    send_on(&n->a, n->a.conn);
    while (s.came < MESSAGES) {
        unsigned before = s.came;
        net_wait(n, s.came > before);
        pea_conn_pause(n->b.conn); /* so that it waits in all places */
        for (int i = 0; i < 5; i++)
            net_poll(n);
        pea_conn_resume(n->b.conn);
    }
    net_wait(n, s.confirmed == MESSAGES);
    assert_true(s.refused > 0);
}

/* ---- One for many ---- */

enum { SLOW = 20, SHARED = 4 << 20 };

static void read_all(net *n, int fd)
{
    static uint8_t got[SHARED + 4];
    assert_int_equal(net_raw_recv(n, fd, got, sizeof got, NULL), sizeof got);
    for (size_t i = 0; i < SHARED; i += 997)
        assert_int_equal(got[4 + i], (uint8_t)(i / 997));
}

static void on_done(void *arg, const pea_broadcast_result *result)
{
    *(pea_broadcast_result *)arg = *result;
}

static void what_many_wait_for_is_held_once(void **state)
{
    net *n = &s.n;
    int fds[SLOW];
    pea_msg *msg;
    pea_broadcast_result result = {.taken = 0};
    uint8_t *data = calloc(1, SHARED);
    (void)state;
    assert_non_null(data);
    for (size_t i = 0; i < SHARED; i += 997)
        data[i] = (uint8_t)(i / 997);
    check_ok(pea_msg_new(&msg, data, SHARED));
    free(data);
    net_node(&n->b, PEA_NODE(.name = "b"));
    net_listen(&n->b);
    for (unsigned i = 0; i < SLOW; i++) {
        fds[i] = net_raw_connect(&n->b);
        net_wait(n, n->b.connects == i + 1);
        net_narrow(fds[i]);
        net_narrow(n->b.conn->fd);
    }
    check_ok(pea_node_broadcast(n->b.node, msg, NULL, NULL, NULL));
    pea_msg_unref(msg);
    for (int i = 0; i < 20; i++)
        net_poll(n);
    assert_true(pea_runtime_memory(n->runtime) <= SLOW * (size_t)131072);
    check_ok(pea_msg_new(&msg, "more", 4));
    check_ok(pea_node_broadcast(n->b.node, msg, NULL, on_done, &result));
    pea_msg_unref(msg);
    net_wait(n, result.taken + result.refused == SLOW);
    assert_int_equal(result.refused, SLOW); /* as long as so much waits */
    for (unsigned i = 0; i < SLOW; i++) {
        read_all(n, fds[i]);
        close(fds[i]);
    }
    net_wait(n, n->b.disconnects == SLOW);
}

/* What follows what is lent, and a farewell, come behind it. */
static void what_follows_comes_behind(void **state)
{
    net *n = &s.n;
    static uint8_t got[SHARED + 100];
    pea_msg *msg;
    uint8_t *data = calloc(1, SHARED);
    (void)state;
    check_ok(pea_msg_new(&msg, data, SHARED));
    free(data);
    net_node(&n->b, PEA_NODE(.high_water = SHARED * 2));
    net_listen(&n->b);
    int fd = net_raw_connect(&n->b);
    net_wait(n, n->b.connects == 1);
    net_narrow(n->b.conn->fd);
    check_ok(pea_conn_send_msg(n->b.conn, msg, NULL, NULL));
    check_ok(pea_conn_send(n->b.conn, "behind", 6));
    check_ok(pea_conn_send_msg(n->b.conn, msg, NULL, NULL));
    pea_conn_close(n->b.conn, PEA_CODE_NORMAL, NULL);
    pea_msg_unref(msg);
    assert_int_equal(net_raw_recv(n, fd, got, SHARED + 4, NULL), SHARED + 4);
    assert_int_equal(net_raw_recv(n, fd, got, 10, NULL), 10);
    assert_memory_equal(got, "\0\0\0\6behind", 10);
    assert_int_equal(net_raw_recv(n, fd, got, SHARED + 4, NULL), SHARED + 4);
    assert_int_equal(net_raw_recv(n, fd, got, 1, NULL), 0);
    close(fd);
    net_wait(n, n->b.disconnects == 1);
}

/* It is the connection's until it ends, and not after. */
static void an_abort_lets_it_go(void **state)
{
    net *n = &s.n;
    pea_msg *msg;
    uint8_t *data = calloc(1, SHARED);
    (void)state;
    check_ok(pea_msg_new(&msg, data, SHARED));
    free(data);
    net_node(&n->b, PEA_NODE(.name = "b"));
    net_listen(&n->b);
    int fd = net_raw_connect(&n->b);
    net_wait(n, n->b.connects == 1);
    net_narrow(n->b.conn->fd);
    check_ok(pea_conn_send_msg(n->b.conn, msg, NULL, NULL));
    pea_msg_unref(msg);
    pea_conn_abort(n->b.conn);
    net_wait(n, n->b.disconnects == 1);
    close(fd);
}

#define entry(test, mode)                                                                                      \
    {                                                                                                          \
        .name = #test " (" #mode ")", .test_func = test, .setup_func = setup_##mode, .teardown_func = teardown \
    }

int main(void)
{
    faults_install();
    const struct CMUnitTest tests[] = {
        entry(all_sizes_arrive, native),          entry(all_sizes_arrive, stream),
        entry(all_sizes_arrive, noise),           entry(what_many_wait_for_is_held_once, stream),
        entry(what_follows_comes_behind, stream), entry(an_abort_lets_it_go, stream),
    };
    return cmocka_run_group_tests_name("lent", tests, NULL, NULL);
}
