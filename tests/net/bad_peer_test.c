/* SPDX-License-Identifier: MIT */
/* Peers that are slow, rude or broken, over plain chains and real sockets: each is ended with the right words and the
 * right reason, and costs no more than it sent. */
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

static void listen_b(net *n)
{
    net_node(&n->b, PEA_NODE(.name = "b"));
    net_listen(&n->b);
}

/* A raw peer that is READY. */
static int open_raw(net *n)
{
    unsigned before = n->b.connects;
    int fd = net_raw_connect(&n->b);
    net_raw_open(n, fd);
    net_wait(n, n->b.connects == before + 1);
    return fd;
}

/* One chunk of a farewell: its code is `code`, its text is coarse and its length right. */
static void check_farewell(const uint8_t *chunk, size_t len, uint8_t type, uint16_t code)
{
    assert_true(len >= 6);
    assert_int_equal(chunk[0], type);
    assert_int_equal((size_t)chunk[1] << 16 | (size_t)chunk[2] << 8 | chunk[3], len - 4);
    assert_int_equal(chunk[4] << 8 | chunk[5], code);
    assert_true(len <= 6 + 40);
}

/* What the node says from now on, until its FIN, is nothing but CLOSE with this code. */
static void check_close(net *n, int fd, uint16_t code)
{
    uint8_t got[512];
    check_farewell(got, net_raw_recv(n, fd, got, sizeof got, NULL), 6, code);
}

static void reset_by(int fd)
{
    const struct linger now = {1, 0};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
    close(fd);
}

static uint64_t bytes_in(const net_side *side)
{
    pea_conn_info info;
    pea_conn_snapshot(side->conn, &info);
    return info.bytes_in;
}

/* ---- After READY ---- */

/* What a peer says that nobody may say, what it is told, and what our log has. */
static void breaches_are_told(void **state)
{
    static const struct {
        const char *says;
        size_t len;
        uint16_t code;
        pea_err err;
        const char *text;
    } cases[] = {
        {"\x00\x00\x00\x00", 4, PEA_CODE_PROTO, PEA_E_PROTO, "reserved type"},
        {"\x80\x00\x00\x00", 4, PEA_CODE_PROTO, PEA_E_PROTO, "must be understood"},
        {"\x09\x01\x00\x01", 4, PEA_CODE_PROTO, PEA_E_PROTO, "64 KiB"},
        {"\x01\x00\x00\x00", 4, PEA_CODE_PROTO, PEA_E_PROTO, "HELLO"},
        {"\x02\x00\x00\x00", 4, PEA_CODE_PROTO, PEA_E_PROTO, "ACCEPT"},
        {"\x03\x00\x00\x02\x00\x00", 6, PEA_CODE_PROTO, PEA_E_PROTO, "REJECT"},
        {"\x07\x00\x00\x01\x00", 5, PEA_CODE_PROTO, PEA_E_PROTO, "length"},
        {"\x06\x00\x00\x04\x00\x00\xc3\x28", 8, PEA_CODE_PROTO, PEA_E_PROTO, "UTF-8"},
        {"\x04\x00\x00\x04\xff\xff\xff\xff", 8, PEA_CODE_TOO_BIG, PEA_E_TOO_BIG, "larger"},
        {"\x04\x00\x00\x05\x00\x00\x00\x02h\x05\x00\x00\x00", 13, PEA_CODE_PROTO, PEA_E_PROTO, "END"},
    };
    net *n = *state;
    listen_b(n);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int fd = open_raw(n);
        net_raw_send(fd, cases[i].says, cases[i].len);
        check_close(n, fd, cases[i].code);
        close(fd);
        net_wait(n, n->b.disconnects == i + 1);
        check_err(n->b.reason.err, cases[i].err);
        assert_int_equal(n->b.reason.origin, PEA_BY_READING);
        if (strstr(n->b.reason.text, cases[i].text) == NULL)
            fail_msg("case %zu: \"%s\" does not say \"%s\"", i, n->b.reason.text, cases[i].text);
        assert_int_equal(n->b.messages, 0);
    }
}

/* In a foreign mode nobody can be told; the connection ends. */
static void a_claim_of_4_gib(void **state)
{
    net *n = *state;
    listen_b(n);
    int fd = net_raw_connect(&n->b);
    net_raw_send(fd, "\xff\xff\xff\xff", 4);
    uint8_t byte;
    assert_int_equal(net_raw_recv(n, fd, &byte, 1, NULL), 0);
    close(fd);
    net_wait(n, n->b.disconnects == 1);
    check_err(n->b.reason.err, PEA_E_TOO_BIG);
}

/* Nothing is lost and nothing repeated when every byte comes alone. */
static void one_byte_at_a_time(void **state)
{
    static const char talk[] = "\x04\x00\x00\x09\x00\x00\x00\x05hello\x04\x00\x00\x01\x00\x04\x00\x00\x03\x00\x00\x00"
                               "\x06\x00\x00\x05\x00\x00"
                               "bye";
    net *n = *state;
    listen_b(n);
    int fd = open_raw(n);
    uint64_t before = bytes_in(&n->b);
    for (size_t i = 0; i + 1 < sizeof talk; i++) {
        net_raw_send(fd, talk + i, 1);
        net_wait(n, n->b.conn == NULL || bytes_in(&n->b) == before + i + 1);
    }
    net_wait(n, n->b.disconnects == 1);
    assert_int_equal(n->b.messages, 2); /* "hello", and an empty one */
    assert_int_equal(n->b.bytes, 5);
    assert_int_equal(n->b.reason.err, PEA_OK);
    assert_int_equal(n->b.reason.origin, PEA_BY_PEER);
    assert_string_equal(n->b.reason.text, "bye");
    close(fd);
}

/* Somebody asks and asks, and never reads the answers: at most one is owed, and nothing piles up. */
static void pings_without_reading(void **state)
{
    enum { PINGS = 4096 };
    net *n = *state;
    uint8_t block[PINGS * 12];
    for (size_t i = 0; i < PINGS; i++)
        memcpy(block + 12 * i, "\x07\x00\x00\x08pingpong", 12);
    listen_b(n);
    int fd = open_raw(n);
    uint64_t sent = bytes_in(&n->b);
    for (int i = 0; i < 200; i++) {
        net_raw_send(fd, block, sizeof block);
        sent += sizeof block;
        net_wait(n, bytes_in(&n->b) == sent);
        assert_true(pea_runtime_memory(n->runtime) <= 2048);
    }
    net_raw_send(fd, "\x04\x00\x00\x06\x00\x00\x00\x02hi", 10);
    net_wait(n, n->b.messages == 1);
    uint8_t pong[12];
    assert_int_equal(net_raw_recv(n, fd, pong, sizeof pong, NULL), sizeof pong);
    check_bytes(pong, sizeof pong, "\x08\x00\x00\x08pingpong", 12);
    close(fd);
    net_wait(n, n->b.disconnects == 1);
}

/* The peer ends in every state there is; each end has its reason, and none leaves anything behind. */
static void gone_at_every_stage(void **state)
{
    net *n = *state;
    listen_b(n);
    close(net_raw_connect(&n->b)); /* before its first byte */
    net_wait(n, n->b.failures == 1);
    check_err(n->b.reason.err, PEA_E_TRUNCATED);
    int fd = net_raw_connect(&n->b);
    net_raw_send(fd, "\xF1peap", 5);
    close(fd); /* in the greeting */
    net_wait(n, n->b.failures == 2);
    check_err(n->b.reason.err, PEA_E_TRUNCATED);
    fd = net_raw_connect(&n->b);
    net_raw_send(fd, "\xF1peap", 5);
    net_wait(n, n->b.accepts == 3);
    reset_by(fd);
    net_wait(n, n->b.failures == 3);
    assert_true(n->b.reason.err == PEA_E_RESET || n->b.reason.err == PEA_E_TRUNCATED);
    fd = open_raw(n);
    close(fd); /* without a farewell */
    net_wait(n, n->b.disconnects == 1);
    check_err(n->b.reason.err, PEA_E_TRUNCATED);
    fd = open_raw(n);
    net_raw_send(fd, "\x04\x00\x00\x09\x00\x00", 6);
    reset_by(fd); /* in a message */
    net_wait(n, n->b.disconnects == 2);
    assert_true(n->b.reason.err == PEA_E_RESET || n->b.reason.err == PEA_E_TRUNCATED);
    assert_int_equal(n->b.messages, 0);
    assert_int_equal(pea_runtime_memory(n->runtime), 0);
}

/* ---- Before READY ---- */

static void another_network(void **state)
{
    net *n = *state;
    const uint8_t ours[PEA_NETWORK_BYTES] = {1};
    pea_chain *other;
    check_ok(pea_chain_new(&other, PEA_CHAIN(.network = ours), NULL));
    check_ok(pea_chain_plain(other));
    listen_b(n);
    net_node(&n->a, PEA_NODE(.chain = other));
    pea_chain_unref(other);
    net_dial(&n->a, &n->b);
    net_wait(n, n->a.failures == 1 && n->b.failures == 1);
    check_err(n->b.reason.err, PEA_E_NETWORK);
    assert_non_null(strstr(n->b.reason.text, "network"));
    check_err(n->a.reason.err, PEA_E_TRUNCATED); /* who refuses here says nothing */
}

static pea_err deny(void *self, pea_peer *peer, const pea_candidate *candidate, pea_reason *why)
{
    (void)self;
    (void)peer;
    (void)candidate;
    memcpy(why->text, "mallory is not welcome", 23);
    return PEA_E_REFUSED;
}

static const pea_policy_ops deny_ops = {.version = PEA_POLICY_VERSION, .name = "deny", .check = deny};

static pea_err judge_step(void *self, pea_stage_env *env, pea_buf *in, pea_buf *out)
{
    const pea_peer mallory = {.kind = PEA_PEER_OTHER, .id = {13}};
    (void)self;
    (void)in;
    (void)out;
    if (pea_stage_side(env) == PEA_RESPONDER && pea_stage_judge(env, &mallory, PEA_PROVEN) == PEA_E_NOMEM)
        return PEA_E_NOMEM;
    return PEA_DONE; /* a refusal is sticky: the peer is told in the channel */
}

static const pea_stage_ops judge_ops = {.version = PEA_STAGE_VERSION, .name = "judge", .step = judge_step};

enum { RUNS = 1000, IN_FLIGHT = 32768 };

/* A refused peer has 32 KiB on their way that nobody will read, and the smallest receive buffer there is. To close a
 * socket with unread input makes the kernel reset it, which destroys what was said last: the REJECT must arrive in
 * every single run. */
static void a_refusal_arrives(void **state)
{
    static const uint8_t greeting[41] = {0xF1, 'p', 'e', 'a', 'p', 'o', 'd', 1, 1};
    static uint8_t flood[IN_FLIGHT], got[1024];
    net *n = *state;
    pea_policy *policy;
    pea_chain_unref(n->chain);
    check_ok(pea_chain_new(&n->chain, NULL, NULL));
    check_ok(pea_chain_add(n->chain, &judge_ops, NULL, NULL));
    check_ok(pea_chain_plain(n->chain));
    check_ok(pea_policy_new(&policy, &deny_ops, n));
    net_node(&n->b, PEA_NODE(.policy = policy));
    pea_policy_unref(policy);
    net_listen(&n->b);
    for (unsigned i = 1; i <= RUNS; i++) {
        int least = 1;
        int fd = net_raw_connect(&n->b);
        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &least, sizeof least), 0);
        net_raw_send(fd, greeting, sizeof greeting);
        net_raw_send(fd, flood, sizeof flood);
        size_t n_got = net_raw_recv(n, fd, got, sizeof got, NULL); /* until FIN; a reset fails the test */
        assert_true(n_got > sizeof greeting + 4);
        const uint8_t *hello = got + sizeof greeting;
        assert_int_equal(hello[0], 1);
        size_t said = sizeof greeting + 4 + ((size_t)hello[2] << 8 | hello[3]);
        assert_true(n_got > said);
        check_farewell(got + said, n_got - said, 3, PEA_CODE_DENIED | PEA_CODE_PERMANENT);
        close(fd);
        net_wait(n, n->b.failures == i);
        check_err(n->b.reason.err, PEA_E_REFUSED);
        assert_int_equal(n->b.reason.origin, PEA_BY_POLICY);
        assert_non_null(strstr(n->b.reason.text, "mallory"));
        assert_int_equal(n->b.info.peer.id[0], 13);
    }
}

#define entry(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        entry(breaches_are_told),   cmocka_unit_test_setup_teardown(a_claim_of_4_gib, setup_stream, teardown),
        entry(one_byte_at_a_time),  entry(pings_without_reading),
        entry(gone_at_every_stage), entry(another_network),
        entry(a_refusal_arrives),
    };
    return cmocka_run_group_tests_name("bad_peer", tests, NULL, NULL);
}
