/* SPDX-License-Identifier: MIT */
/* What connections cost, counted: memory for each, allocations and system calls for each message and flush. */
#include "support/faults.h"
#include "support/net.h"

#include <errno.h>
#include <malloc.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "chain_priv.h"
#include "peapod/chain.h"
#include "peapod/identity.h"
#include "peapod/tls.h"
#include "peapod/trust.h"
#include "runtime_priv.h"
#ifdef PEA_TEST_TLS
#include "tls/tls_priv.h"
#endif

/* ---- The library's system calls, counted: the program's own definitions come before libc's ---- */

static unsigned sends, receives;
static size_t largest_send;

ssize_t send(int fd, const void *data, size_t len, int flags)
{
    sends++;
    if (len > largest_send)
        largest_send = len;
    assert_int_equal(flags & ~MSG_MORE, MSG_NOSIGNAL);
    return sendto(fd, data, len, flags, NULL, 0);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    sends++;
    return syscall(SYS_sendmsg, fd, message, flags);
}

ssize_t recv(int fd, void *data, size_t len, int flags)
{
    receives++;
    return recvfrom(fd, data, len, flags, NULL, NULL);
}

/* ---- Fixtures ---- */

static int setup(void **state)
{
    static net n;
    net_setup(&n, PEA_NATIVE);
    *state = &n;
    return 0;
}

static int teardown(void **state)
{
    net_teardown(*state);
    assert_int_equal(faults_blocks(), 0);
    return 0;
}

static uint8_t block[65536];

/* ---- System calls ---- */

static void one_call_for_each_flush(void **state)
{
    net *n = *state;
    net_pair(n);
    sends = 0;
    for (int i = 0; i < 100; i++)
        check_ok(pea_conn_send(n->a.conn, "a small message", 15));
    assert_int_equal(sends, 0);
    net_wait(n, n->b.messages == 100);
    assert_int_equal(sends, 1);
    check_ok(pea_conn_send(n->a.conn, "another", 7));
    pea_conn_flush(n->a.conn);
    assert_int_equal(sends, 2);
    net_wait(n, n->b.messages == 101);
    assert_int_equal(sends, 2); /* nothing was left for the round */
}

/* What fills a write goes at once, and no write is larger than it may be. */
static void full_writes(void **state)
{
    net *n = *state;
    net_pair(n);
    sends = 0;
    largest_send = 0;
    check_ok(pea_conn_send(n->a.conn, block, 30000));
    assert_int_equal(sends, 0);
    check_ok(pea_conn_send(n->a.conn, block, 40000));
    assert_true(sends >= 1);
    net_wait(n, n->b.messages == 2);
    assert_int_equal(sends, 2); /* 70 kB take two */
    assert_true(largest_send <= PEA_WRITE_MAX);
}

/* A burst is read with few calls: only a full buffer asks for another. */
static void one_call_reads_a_burst(void **state)
{
    net *n = *state;
    net_pair(n);
    for (int i = 0; i < 200; i++) /* as much as is one segment even where windows are small */
        check_ok(pea_conn_send(n->a.conn, "a small message", 15));
    pea_conn_flush(n->a.conn);
    receives = 0;
    net_wait(n, n->b.messages == 200);
    assert_int_equal(receives, 1);
}

static void answers_go_in_one_write(void **state)
{
    net *n = *state;
    net_pair(n);
    n->b.echo = true;
    for (int i = 0; i < 100; i++)
        check_ok(pea_conn_send(n->a.conn, "echo", 4));
    sends = 0;
    net_wait(n, n->a.messages == 100);
    assert_int_equal(sends, 2); /* ours, and all the answers */
}

/* ---- Allocations ---- */

static void exchange(net *n, unsigned rounds, size_t len)
{
    for (unsigned i = 0; i < rounds; i++) {
        unsigned before = n->a.messages;
        for (int j = 0; j < 8; j++)
            check_ok(pea_conn_send(n->a.conn, block, len));
        net_wait(n, n->a.messages == before + 8);
    }
}

/* After a first round everything that traffic needs is there. */
static void steady_traffic_allocates_nothing(void **state)
{
    static const size_t lengths[] = {0, 16, 256, 4096, 15000};
    net *n = *state;
    net_pair(n);
    n->b.echo = true;
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++)
        exchange(n, 4, lengths[i]);
    size_t before = faults_allocations();
    uint64_t pooled = n->runtime->worker.pool.allocations;
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++)
        exchange(n, 50, lengths[i]);
    assert_int_equal(faults_allocations(), before);
    assert_int_equal(n->runtime->worker.pool.allocations, pooled);
}

static void idle_connections_hold_no_buffers(void **state)
{
    net *n = *state;
    net_pair(n);
    n->b.echo = true;
    assert_int_equal(pea_runtime_memory(n->runtime), 0);
    for (int i = 0; i < 3; i++) {
        exchange(n, 2, 15000);
        net_wait(n, pea_runtime_memory(n->runtime) == 0);
        assert_int_equal(pea__pipe_held(n->a.conn->pipe) + pea__pipe_held(n->b.conn->pipe), 0);
    }
}

/* One piece of a message holds a buffer of its size, not of the size that the piece claims. */
static void claims_cost_nothing(void **state)
{
    net *n = *state;
    net_node(&n->b, PEA_NODE(.name = "b"));
    net_listen(&n->b);
    int fd = net_raw_connect(&n->b);
    net_raw_open(n, fd);
    net_wait(n, n->b.connects == 1);
    net_raw_send(fd,
                 "\x04\xff\xff\xff"
                 "\x00\x7f\xff\xff"
                 "a few bytes of 8 MiB",
                 28);
    pea_conn_info info = {.bytes_in = 0};
    net_wait(n, (pea_conn_snapshot(n->b.conn, &info), info.bytes_in >= 176 + 28));
    assert_int_equal(pea_runtime_memory(n->runtime), 1024);
    close(fd);
    net_wait(n, n->b.disconnects == 1);
    assert_int_equal(n->b.reason.err, PEA_E_TRUNCATED);
}

/* ---- Memory ---- */

/* Bytes of the whole heap that are in use; 0 where malloc() is not glibc's, as with a sanitizer or under valgrind. */
static size_t heap_bytes(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

/* Bytes for each connection of many, tables and lists and all; buffers have gone back. `others`: what is not the
 * library's own: what the crypto library takes from malloc() for them, and malloc()'s 8 bytes for each block. May be
 * NULL. */
static size_t bytes_each(net *n, size_t *others)
{
    enum { PAIRS = 64 };
    net_pair(n);
    for (int i = 0; i < 3; i++) /* tables and lists have been made */
        net_meet(n);
    net_wait(n, pea_runtime_memory(n->runtime) == 0);
    pea__pool_clear(&n->runtime->worker.pool);
    size_t before = faults_bytes(), heap = heap_bytes();
    for (int i = 0; i < PAIRS; i++)
        net_meet(n);
    net_wait(n, pea_runtime_memory(n->runtime) == 0);
    pea__pool_clear(&n->runtime->worker.pool);
    size_t ours = faults_bytes() - before;
    if (others != NULL)
        *others = heap > 0 ? (heap_bytes() - heap - ours) / (2 * PAIRS) : 0;
    return ours / (2 * PAIRS);
}

static void a_plain_connection_is_small(void **state)
{
    size_t each = bytes_each(*state, NULL);
    print_message("%zu bytes for each plain connection\n", each);
    assert_true(each <= 624);
}

/* ---- The same with Noise, and with TLS ---- */

/* A chain without stages yet, and everybody is trusted. */
static net *setup_secure(void **state)
{
    pea_trust *trust;
    setup(state);
    net *n = *state;
    pea_chain_unref(n->chain);
    check_ok(pea_chain_new(&n->chain, NULL, NULL));
    check_ok(pea_chain_new(&n->chain_b, NULL, NULL));
    check_ok(pea_trust_new(&trust));
    pea_trust_any(trust);
    n->policy = pea_policy_ref(pea_trust_policy(trust));
    pea_trust_unref(trust);
    return n;
}

static int setup_noise(void **state)
{
    net *n = setup_secure(state);
    for (int b = 0; b < 2; b++) {
        pea_identity *identity;
        check_ok(pea_identity_generate(&identity, NULL));
        check_ok(pea_chain_noise(b ? n->chain_b : n->chain, PEA_NOISE(.identity = identity), NULL));
        pea_identity_unref(identity);
    }
    return 0;
}

static void a_noise_connection_is_small(void **state)
{
    size_t each = bytes_each(*state, NULL);
    print_message("%zu bytes for each Noise connection\n", each);
    assert_true(each <= 1008);
    assert_true(each <= PEA__CONN_COST);
}

#ifdef PEA_TEST_TLS

static int setup_tls_records(void **state, bool own)
{
    static const char *const files[2][2] = {{PEA_TEST_CERTS "/self_a.crt", PEA_TEST_CERTS "/self_a.key"},
                                            {PEA_TEST_CERTS "/self_b.crt", PEA_TEST_CERTS "/self_b.key"}};
    net *n = setup_secure(state);
    for (int b = 0; b < 2; b++) {
        pea_identity *identity;
        check_ok(pea_identity_load_certificate(&identity, files[b][0], files[b][1], NULL, NULL, NULL));
        check_ok(pea_chain_tls(b ? n->chain_b : n->chain, PEA_TLS(.identity = identity, .own_records = own), NULL));
        pea_identity_unref(identity);
    }
    return 0;
}

static int setup_tls(void **state)
{
    return setup_tls_records(state, false);
}

static int setup_own(void **state)
{
    return setup_tls_records(state, true);
}

/* mbedTLS keeps a buffer for each direction of each connection, which nobody can take from it. */
static void a_tls_connection_is_mbedtls(void **state)
{
    size_t others, each = bytes_each(*state, &others);
    print_message("%zu bytes for each TLS connection, and ", each);
    if (others > 0)
        print_message("%zu of %s\n", others, pea_tls_library());
    else
        print_message("what %s holds, which this malloc() does not tell\n", pea_tls_library());
    assert_true(each <= 2368);
    assert_true(others <= PEA__TLS_LIBRARY_BYTES);
    /* and memory_limit knows of them */
    const net *n = *state;
    assert_int_equal(n->chain->cost, PEA__TLS_LIBRARY_BYTES);
    assert_true(each + others <= PEA__CONN_COST + PEA__TLS_LIBRARY_BYTES);
}

/* With records of our own nothing of mbedTLS outlives the handshake, and memory_limit knows that too. */
static void a_tls_connection_is_ours(void **state)
{
    net *n = *state;
    size_t others, each = bytes_each(n, &others);
    print_message("%zu bytes for each TLS connection with own records, and %zu\n", each, others);
    assert_true(each <= 2048);
    assert_true(others <= 512); /* malloc()'s own */
    assert_int_equal(atomic_load(&n->runtime->conns_kib), (n->a.connects + n->b.connects) * PEA__CONN_COST / 1024);
}

#endif

#define entry(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define noise(test)                                         \
    {                                                       \
#test " (noise)", test, setup_noise, teardown, NULL \
    }
#define tls(test)                                       \
    {                                                   \
#test " (tls)", test, setup_tls, teardown, NULL \
    }
#define own(test)                                                    \
    {                                                                \
#test " (tls, own records)", test, setup_own, teardown, NULL \
    }

int main(void)
{
    faults_install();
    const struct CMUnitTest tests[] = {
        entry(one_call_for_each_flush),
        entry(full_writes),
        entry(one_call_reads_a_burst),
        entry(answers_go_in_one_write),
        entry(steady_traffic_allocates_nothing),
        entry(idle_connections_hold_no_buffers),
        entry(claims_cost_nothing),
        entry(a_plain_connection_is_small),
        noise(one_call_for_each_flush),
        noise(full_writes),
        noise(steady_traffic_allocates_nothing),
        noise(idle_connections_hold_no_buffers),
        noise(a_noise_connection_is_small),
#ifdef PEA_TEST_TLS
        tls(one_call_for_each_flush),
        tls(full_writes),
        tls(idle_connections_hold_no_buffers),
        tls(a_tls_connection_is_mbedtls),
        own(one_call_for_each_flush),
        own(full_writes),
        own(idle_connections_hold_no_buffers),
        own(steady_traffic_allocates_nothing),
        own(a_tls_connection_is_ours),
#endif
    };
    return cmocka_run_group_tests_name("cost", tests, NULL, NULL);
}
