/* SPDX-License-Identifier: MIT */
/* What a connection's life costs from the dial to the last close(), counted for both of its ends: system calls one by
 * one, Diffie-Hellmans, allocations. Waiting for events is left out: how often the loop does depends on who is
 * faster. */
#include "support/faults.h"
#include "support/net.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "peapod/chain.h"
#include "peapod/identity.h"
#include "peapod/trust.h"
#include "runtime_priv.h"
#include "secure_priv.h"

/* ---- The library's system calls, counted: the program's own definitions come before libc's ---- */

enum call {
    SOCKET,
    CONNECT,
    ACCEPT,
    POLL,
    FCNTL,
    SETSOCKOPT,
    GETSOCKOPT,
    SEND,
    RECV,
    SHUTDOWN,
    CLOSE,
    EPOLL_CTL,
    CALLS
};

static const char *const names[CALLS] = {"socket()", "connect()",    "accept4()",    "poll()",
                                         "fcntl()",  "setsockopt()", "getsockopt()", "send()",
                                         "recv()",   "shutdown()",   "close()",      "epoll_ctl()"};
static unsigned calls[CALLS];
static unsigned corked; /* sends that another segment's bytes, or the end, are to follow at once */

#define SEEN __attribute__((visibility("default"))) /* by libev as well */

static long count(enum call call, long result)
{
    calls[call]++;
    return result;
}

int socket(int family, int type, int protocol)
{
    return (int)count(SOCKET, syscall(SYS_socket, family, type, protocol));
}

int connect(int fd, const struct sockaddr *to, socklen_t len)
{
    return (int)count(CONNECT, syscall(SYS_connect, fd, to, len));
}

int accept4(int fd, struct sockaddr *from, socklen_t *len, int flags); /* declared for _GNU_SOURCE only */

int accept4(int fd, struct sockaddr *from, socklen_t *len, int flags)
{
    return (int)count(ACCEPT, syscall(SYS_accept4, fd, from, len, flags));
}

int poll(struct pollfd *fds, nfds_t n, int timeout)
{
    const struct timespec time = {.tv_sec = timeout / 1000, .tv_nsec = timeout % 1000 * 1000000L};
    return (int)count(POLL, syscall(SYS_ppoll, fds, n, timeout < 0 ? NULL : &time, NULL, 0));
}

int fcntl(int fd, int command, ...)
{
    va_list rest;
    va_start(rest, command);
    long argument = va_arg(rest, long);
    va_end(rest);
    return (int)count(FCNTL, syscall(SYS_fcntl, fd, command, argument));
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
    return (int)count(SETSOCKOPT, syscall(SYS_setsockopt, fd, level, name, value, len));
}

int getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
    return (int)count(GETSOCKOPT, syscall(SYS_getsockopt, fd, level, name, value, len));
}

ssize_t send(int fd, const void *data, size_t len, int flags)
{
    corked += (flags & MSG_MORE) != 0;
    return count(SEND, syscall(SYS_sendto, fd, data, len, flags, NULL, 0));
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    corked += (flags & MSG_MORE) != 0;
    return count(SEND, syscall(SYS_sendmsg, fd, message, flags));
}

ssize_t recv(int fd, void *data, size_t len, int flags)
{
    return count(RECV, syscall(SYS_recvfrom, fd, data, len, flags, NULL, NULL));
}

int shutdown(int fd, int how)
{
    return (int)count(SHUTDOWN, syscall(SYS_shutdown, fd, how));
}

int close(int fd)
{
    return (int)count(CLOSE, syscall(SYS_close, fd));
}

SEEN int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
    return (int)count(EPOLL_CTL, syscall(SYS_epoll_ctl, epoll, operation, fd, event));
}

/* ---- Fixtures ---- */

static int setup(void **state)
{
    static net n;
    net_setup(&n, PEA_NATIVE);
    *state = &n;
    return 0;
}

static int setup_noise(void **state)
{
    pea_trust *trust;
    setup(state);
    net *n = *state;
    check_ok(pea_trust_new(&trust));
    pea_trust_any(trust);
    n->policy = pea_policy_ref(pea_trust_policy(trust));
    pea_trust_unref(trust);
    pea_chain_unref(n->chain);
    for (int b = 0; b < 2; b++) {
        pea_chain **chain = b ? &n->chain_b : &n->chain;
        pea_identity *identity;
        check_ok(pea_chain_new(chain, NULL, NULL));
        check_ok(pea_identity_generate(&identity, NULL));
        check_ok(pea_chain_noise(*chain, PEA_NOISE(.identity = identity), NULL));
        pea_identity_unref(identity);
    }
    return 0;
}

static int teardown(void **state)
{
    net_teardown(*state);
    assert_int_equal(faults_blocks(), 0);
    return 0;
}

static void on_connect(net_side *side, pea_conn *conn)
{
    (void)side;
    check_ok(pea_conn_send(conn, "?", 1));
}

static void on_answer(net_side *side, pea_conn *conn, const uint8_t *data, size_t len)
{
    (void)side, (void)data, (void)len;
    pea_conn_close(conn, PEA_CODE_NORMAL, "enough");
}

/* Dial, handshake, acceptance, a message, its answer, CLOSE, and everything is freed. */
static void live(net *n)
{
    unsigned a = n->a.disconnects, b = n->b.disconnects;
    net_dial(&n->a, &n->b);
    net_wait(n, n->a.disconnects > a && n->b.disconnects > b);
    net_wait(n, n->runtime->worker.round == NULL); /* reaped */
    net_poll(n);                                   /* and libev knows it before it meets the same descriptors again */
    assert_int_equal(n->a.reason.err, PEA_OK);
    assert_int_equal(n->b.reason.err, PEA_OK);
}

static void nodes(net *n)
{
    net_node(&n->a, PEA_NODE(.name = "a"));
    net_node(&n->b, PEA_NODE(.name = "b"));
    net_listen(&n->b);
    n->a.on_connect = on_connect;
    n->a.on_message = on_answer;
    n->b.echo = true;
    live(n); /* pools and tables are there from here on */
}

/* ---- System calls ---- */

/* Both ends'. The flights are those of docs/wire.md; epoll_ctl() is libev's: one to add each socket, one when the dial
 * is done, and one because it takes the end of both directions for room to write. */
static void system_calls(void **state)
{
    static const unsigned most[CALLS] = {
        [SOCKET] = 1,     [CONNECT] = 1, [ACCEPT] = 1,    [POLL] = 1, /* whether there is another to accept */
        [FCNTL] = 0,                                                  /* sockets come as they shall be */
        [SETSOCKOPT] = 1, /* TCP_NODELAY, which the accepted one has from its listener */
        [GETSOCKOPT] = 1, /* how the dial went */
        [SEND] = 7,       /* greetings, openings, message, answer, CLOSE */
        [RECV] = 8,       /* the same, and the end; none finds nothing */
        [SHUTDOWN] = 1,   [CLOSE] = 2,   [EPOLL_CTL] = 4,
    };
    net *n = *state;
    nodes(n);
    memset(calls, 0, sizeof calls);
    live(n);
    for (int i = 0; i < CALLS; i++)
        if (calls[i] > most[i])
            fail_msg("%u calls of %s in a connection's life; %u are enough", calls[i], names[i], most[i]);
    assert_int_equal(calls[SEND], most[SEND]); /* and they are counted */
}

/* What says the end, and no other write, leaves in one segment with it. */
static void the_last_word_leaves_with_the_end(void **state)
{
    net *n = *state;
    nodes(n);
    n->a.on_message = NULL;
    net_meet(n);
    net_wait(n, n->a.messages == 2);
    corked = calls[SHUTDOWN] = 0;
    for (int i = 0; i < 3; i++)
        check_ok(pea_conn_send(n->a.conn, "and again", 9));
    pea_conn_flush(n->a.conn);
    net_wait(n, n->a.messages == 5);
    assert_int_equal(corked, 0);
    check_ok(pea_conn_send(n->a.conn, "before the end", 14));
    pea_conn_close(n->a.conn, PEA_CODE_NORMAL, "enough");
    net_wait(n, n->a.disconnects == 2 && n->b.disconnects == 2);
    assert_int_equal(n->b.messages, 6);
    assert_int_equal(corked, 1);
    assert_int_equal(calls[SHUTDOWN], 1);
}

/* Whoever made a socket, it blocks nobody, no child gets it, and nothing small waits in it. */
static void check_socket(int fd)
{
    int on = 0;
    socklen_t len = sizeof on;
    assert_true((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &len), 0);
    assert_true(on != 0);
}

static void sockets_are_as_they_shall_be(void **state)
{
    net *n = *state;
    net_pair(n);
    check_socket(n->a.conn->fd);
    check_socket(n->b.conn->fd);
}

/* The same where the caller brought a socket that listens, and blocks. */
static void those_of_a_brought_listener_too(void **state)
{
    net *n = *state;
    int fd = net_raw_listen(1, n->b.addr);
    net_node(&n->a, PEA_NODE(.name = "a"));
    net_node(&n->b, PEA_NODE(.name = "b"));
    check_ok(pea_node_listen(n->b.node, NULL, PEA_LISTEN(.fd = fd), &n->b.listener, NULL));
    net_meet(n);
    check_socket(n->b.conn->fd);
}

/* ---- Computing ---- */

/* Each side makes one key pair, and has ee, es and se: the least that XX allows. */
static void diffie_hellmans(void **state)
{
    net *n = *state;
    nodes(n);
    uint64_t before = atomic_load(&pea__x25519_count);
    live(n);
    assert_int_equal(atomic_load(&pea__x25519_count) - before, 2 * (1 + 3));
}

/* Both ends' */
static void allocations(net *n, size_t most)
{
    nodes(n);
    size_t before = faults_allocations();
    live(n);
    size_t were = faults_allocations() - before;
    print_message("%zu allocations in a connection's life\n", were);
    assert_true(were <= most);
}

static void allocations_of_a_plain_one(void **state)
{
    allocations(*state, 11);
}

static void allocations_of_a_noise_one(void **state)
{
    allocations(*state, 31);
}

#define entry(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define noise(test)                                         \
    {                                                       \
#test " (noise)", test, setup_noise, teardown, NULL \
    }

int main(void)
{
    faults_install();
    const struct CMUnitTest tests[] = {
        entry(system_calls),
        entry(the_last_word_leaves_with_the_end),
        entry(sockets_are_as_they_shall_be),
        entry(those_of_a_brought_listener_too),
        noise(system_calls),
        noise(the_last_word_leaves_with_the_end),
        noise(diffie_hellmans),
        entry(allocations_of_a_plain_one),
        noise(allocations_of_a_noise_one),
    };
    return cmocka_run_group_tests_name("life", tests, NULL, NULL);
}
