/* SPDX-License-Identifier: MIT */
/* The life of a connection over loopback sockets: messages both ways, looking at it, and its ends; in
 * native and in stream mode. */
#include "support/net.h"
#include "support/prng.h"
#include "support/toys.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static int setup_native(void **state)
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

/* ---- Messages ---- */

static void echo(void **state)
{
    net *n = *state;
    net_pair(n);
    n->b.echo = true;
    check_ok(pea_conn_send(n->a.conn, "hello", 5));
    net_wait(n, n->a.messages == 1);
    check_bytes(n->a.last, n->a.last_len, "hello", 5);
    assert_int_equal(pea_conn_side(n->a.conn), PEA_INITIATOR);
    assert_int_equal(pea_conn_side(n->b.conn), PEA_RESPONDER);
}

static void send_from_on_connect(net_side *side, pea_conn *conn)
{
    (void)side;
    check_ok(pea_conn_send(conn, "first", 5));
}

/* Both sides speak the moment they may. */
static void both_directions_at_once(void **state)
{
    net *n = *state;
    n->a.on_connect = n->b.on_connect = send_from_on_connect;
    net_pair(n);
    net_wait(n, n->a.messages == 1 && n->b.messages == 1);
    check_bytes(n->a.last, n->a.last_len, "first", 5);
    check_bytes(n->b.last, n->b.last_len, "first", 5);
}

static void check_count(net_side *side, pea_conn *conn, const uint8_t *data, size_t len)
{
    uint32_t number;
    (void)conn;
    assert_int_equal(len, sizeof number + (side->messages - 1) % 300);
    memcpy(&number, data, sizeof number);
    assert_int_equal(number, side->messages - 1);
}

static void many_messages(void **state)
{
    enum { MANY = 20000 };
    net *n = *state;
    uint8_t message[304] = {0};
    net_pair(n);
    n->b.on_message = check_count;
    for (uint32_t i = 0; i < MANY; i++) {
        memcpy(message, &i, sizeof i);
        pea_err err;
        while ((err = pea_conn_send(n->a.conn, message, sizeof i + i % 300)) == PEA_E_QUEUE_FULL) {
            unsigned drains = n->a.drains;
            net_wait(n, n->a.drains > drains);
        }
        check_ok(err);
    }
    net_wait(n, n->b.messages == MANY);
    pea_conn_info info;
    pea_conn_snapshot(n->a.conn, &info);
    assert_int_equal(info.messages_out, MANY);
    pea_conn_snapshot(n->b.conn, &info);
    assert_int_equal(info.messages_in, MANY);
}

static void sizes(void **state)
{
    static const size_t lengths[] = {0, 1, 1023, 1024, 61435, 61436, 61440, 65536, 262144, 1000000, 8u << 20};
    net *n = *state;
    net_pair(n);
    uint8_t *data = malloc(8u << 20);
    assert_non_null(data);
    prng_fill(&(test_prng){1}, data, 8u << 20);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        check_ok(pea_conn_send(n->a.conn, data, lengths[i]));
        net_wait(n, n->b.messages == i + 1);
        check_bytes(n->b.last, n->b.last_len, data, lengths[i]);
        net_wait(n, pea_conn_queued(n->a.conn) == 0);
    }
    check_err(pea_conn_send(n->a.conn, data, (8u << 20) + 1), PEA_E_TOO_BIG);
    free(data);
    check_ok(pea_conn_send(n->a.conn, "still fine", 10));
    net_wait(n, n->b.messages == sizeof lengths / sizeof lengths[0] + 1);
    assert_int_equal(pea_runtime_memory(n->runtime), 0);
}

static void keep_it(net_side *side, pea_conn *conn, const uint8_t *data, size_t len)
{
    pea_msg *msg;
    (void)data;
    (void)len;
    check_ok(pea_conn_keep(conn, &msg));
    side->arg = msg;
}

static void keep(void **state)
{
    net *n = *state;
    pea_msg *msg = NULL;
    net_pair(n);
    check_err(pea_conn_keep(n->b.conn, &msg), PEA_E_STATE);
    n->b.on_message = keep_it;
    check_ok(pea_conn_send(n->a.conn, "kept", 4));
    net_wait(n, n->b.messages == 1);
    n->b.on_message = NULL;
    check_ok(pea_conn_send(n->a.conn, "overwritten", 11));
    net_wait(n, n->b.messages == 2);
    msg = n->b.arg;
    check_bytes(pea_msg_span(msg).data, pea_msg_span(msg).len, "kept", 4);
    pea_msg_unref(msg);
}

/* ---- Looking at connections ---- */

static bool count_conns(pea_conn *conn, void *arg)
{
    (void)conn;
    ++*(unsigned *)arg;
    return true;
}

static bool stop_at_once(pea_conn *conn, void *arg)
{
    (void)conn;
    ++*(unsigned *)arg;
    return false;
}

static void looking(void **state)
{
    net *n = *state;
    pea_counts counts;
    pea_conn_info info;
    pea_addr remote;
    unsigned seen = 0;
    net_pair(n);
    pea_conn *conn = n->a.conn;
    uint64_t id = pea_conn_id(conn);
    check_ok(pea_addr_parse(&remote, n->b.addr, NULL));
    assert_ptr_equal(pea_node_find(n->a.node, id), conn);
    assert_null(pea_node_find(n->b.node, id)); /* another node's */
    assert_null(pea_node_find(n->a.node, 0));
    assert_ptr_equal(pea_node_find_addr(n->a.node, &remote), conn);
    assert_null(pea_node_find_addr(n->b.node, &remote));
    assert_null(pea_node_find_peer(n->a.node, &(pea_peer){.kind = PEA_PEER_NOISE}));
    assert_null(pea_conn_peer(conn));
    assert_true(pea_addr_equal(pea_conn_remote(conn), &remote));
    pea_node_counts(n->b.node, &counts);
    assert_int_equal(counts.connections, 1);
    assert_int_equal(counts.ready, 1);
    assert_int_equal(counts.pending, 0);
    assert_int_equal(counts.listeners, 1);
    pea_conn_snapshot(conn, &info);
    assert_int_equal(info.id, id);
    assert_int_equal(info.state, PEA_READY);
    assert_true(pea_addr_equal(&info.remote, &remote));
    assert_int_equal(info.local.family, PEA_ADDR_IPV4);
    assert_true(pea_addr_equal(&info.local, pea_conn_remote(n->b.conn)));
    assert_int_equal(info.peer.kind, PEA_PEER_NONE);

    assert_null(pea_conn_user(conn));
    pea_conn_set_user(conn, &seen);
    assert_ptr_equal(pea_conn_user(conn), &seen);
    net_dial(&n->a, &n->b);
    net_wait(n, n->a.connects == 2 && n->b.connects == 2);
    pea_node_each(n->a.node, count_conns, &seen);
    assert_int_equal(seen, 2);
    pea_node_each(n->a.node, stop_at_once, &seen);
    assert_int_equal(seen, 3);
    assert_non_null(pea_node_find_addr(n->a.node, &remote)); /* either of the two */
    pea_conn_abort(conn);
    net_wait(n, n->a.disconnects == 1 && n->b.disconnects == 1);
    assert_null(pea_node_find(n->a.node, id));
    assert_ptr_equal(pea_node_find_addr(n->a.node, &remote), n->a.conn);
    assert_string_equal(pea_node_name(n->a.node), "a");
    assert_ptr_equal(pea_node_user(n->a.node), &n->a);
    assert_ptr_equal(pea_node_runtime(n->a.node), n->runtime);
}

static bool close_it(pea_conn *conn, void *arg)
{
    pea_conn_close(conn, PEA_CODE_NORMAL, arg);
    return true;
}

static void each_may_close(void **state)
{
    net *n = *state;
    net_pair(n);
    for (int i = 0; i < 4; i++)
        net_meet(n);
    pea_node_each(n->b.node, close_it, NULL);
    net_wait(n, n->a.disconnects == 5 && n->b.disconnects == 5);
}

static void dial_with_user(void **state)
{
    net *n = *state;
    uint64_t id;
    net_node(&n->a, PEA_NODE(.name = NULL));
    net_node(&n->b, PEA_NODE(.name = NULL));
    assert_string_equal(pea_node_name(n->a.node), "0");
    assert_string_equal(pea_node_name(n->b.node), "1");
    net_listen(&n->b);
    check_ok(pea_node_connect(n->a.node, n->b.addr, PEA_DIAL(.user = n, .again = true), &id, NULL));
    assert_int_equal(n->a.connects + n->a.failures, 0); /* never from inside the call */
    pea_conn *conn = pea_node_find(n->a.node, id);
    assert_non_null(conn);
    assert_true(pea_conn_state(conn) <= PEA_HANDSHAKING);
    check_err(pea_conn_send(conn, "early", 5), PEA_E_STATE);
    net_wait(n, n->a.connects == 1);
    assert_ptr_equal(n->a.conn, conn);
    assert_ptr_equal(pea_conn_user(conn), n);
}

/* ---- Ends ---- */

static void close_with_text(void **state)
{
    net *n = *state;
    net_pair(n);
    check_ok(pea_conn_send(n->a.conn, "before the end", 14));
    pea_conn_close(n->a.conn, PEA_CODE_APPLICATION | 7, "enough");
    check_err(pea_conn_send(n->a.conn, "after", 5), PEA_E_STATE);
    pea_conn_close(n->a.conn, PEA_CODE_NORMAL, "twice"); /* does nothing */
    net_wait(n, n->a.disconnects == 1 && n->b.disconnects == 1);
    assert_int_equal(n->b.messages, 1); /* what was queued came first */
    assert_int_equal(n->a.closings, 1);
    assert_int_equal(n->b.closings, 0);
    assert_int_equal(n->a.reason.origin, PEA_BY_USER);
    assert_int_equal(n->a.reason.err, PEA_OK);
    assert_int_equal(n->a.reason.code, PEA_CODE_APPLICATION | 7);
    assert_string_equal(n->a.reason.text, "enough");
    assert_int_equal(n->b.reason.origin, PEA_BY_PEER);
}

static void close_reaches_the_native_peer(void **state)
{
    net *n = *state;
    net_pair(n);
    pea_conn_close(n->a.conn, PEA_CODE_APPLICATION | 7, "enough");
    net_wait(n, n->b.disconnects == 1);
    assert_int_equal(n->b.reason.origin, PEA_BY_PEER);
    assert_int_equal(n->b.reason.err, PEA_E_CLOSED);
    assert_int_equal(n->b.reason.code, PEA_CODE_APPLICATION | 7);
    assert_string_equal(n->b.reason.text, "enough");
    net_wait(n, n->a.disconnects == 1);
}

static void both_close_at_once(void **state)
{
    net *n = *state;
    net_pair(n);
    pea_conn_close(n->a.conn, PEA_CODE_NORMAL, "a");
    pea_conn_close(n->b.conn, PEA_CODE_NORMAL, "b");
    net_wait(n, n->a.disconnects == 1 && n->b.disconnects == 1);
    assert_int_equal(n->a.reason.origin, PEA_BY_USER);
    assert_int_equal(n->b.reason.origin, PEA_BY_USER);
}

static void say_goodbye(net_side *side, pea_conn *conn)
{
    (void)side;
    check_ok(pea_conn_send(conn, "goodbye", 7));
    pea_conn_close(conn, PEA_CODE_NORMAL, "again"); /* does nothing */
}

static void last_words_in_on_closing(void **state)
{
    net *n = *state;
    net_pair(n);
    n->a.on_closing = say_goodbye;
    pea_conn_close(n->a.conn, PEA_CODE_NORMAL, NULL);
    net_wait(n, n->a.disconnects == 1 && n->b.disconnects == 1);
    assert_int_equal(n->a.closings, 1);
    check_bytes(n->b.last, n->b.last_len, "goodbye", 7);
    assert_int_equal(n->b.reason.origin, PEA_BY_PEER);
}

static void abort_drops_at_once(void **state)
{
    net *n = *state;
    net_pair(n);
    check_ok(pea_conn_send(n->a.conn, "dropped", 7));
    pea_conn_abort(n->a.conn);
    assert_int_equal(n->a.disconnects, 0); /* from the loop, not from inside the call */
    check_err(pea_conn_send(n->a.conn, "late", 4), PEA_E_STATE);
    net_wait(n, n->a.disconnects == 1 && n->b.disconnects == 1);
    assert_int_equal(n->b.messages, 0);
    assert_int_equal(n->a.reason.origin, PEA_BY_USER);
    assert_int_equal(n->a.reason.err, PEA_E_ABORTED);
    assert_int_equal(n->a.closings, 0);
}

/* A FIN without a farewell: native mode knows that something is missing, plain stream mode cannot. */
static void abort_as_the_peer_sees_it(net *n, pea_err want)
{
    net_pair(n);
    pea_conn_abort(n->a.conn);
    net_wait(n, n->b.disconnects == 1);
    assert_int_equal(n->b.reason.err, want);
    assert_true(strlen(n->b.reason.text) > 0 || want > 0);
}

static void native_abort_is_a_truncation(void **state)
{
    abort_as_the_peer_sees_it(*state, PEA_E_TRUNCATED);
}

static void stream_abort_is_an_unproven_end(void **state)
{
    abort_as_the_peer_sees_it(*state, PEA_EOF_UNAUTHENTICATED);
}

static void abort_inside(net_side *side, pea_conn *conn, const uint8_t *data, size_t len)
{
    (void)side;
    (void)data;
    (void)len;
    pea_conn_abort(conn);
}

static void close_inside(net_side *side, pea_conn *conn, const uint8_t *data, size_t len)
{
    (void)side;
    (void)data;
    (void)len;
    pea_conn_close(conn, PEA_CODE_NORMAL, "one is enough");
}

/* Many messages lie in the same segment: after the call no other is delivered. */
static void ended_inside_on_message(net *n,
                                    void (*how)(net_side *side, pea_conn *conn, const uint8_t *data, size_t len))
{
    net_pair(n);
    n->b.on_message = how;
    for (int i = 0; i < 100; i++)
        check_ok(pea_conn_send(n->a.conn, "message", 7));
    net_wait(n, n->a.disconnects == 1 && n->b.disconnects == 1);
    assert_int_equal(n->b.messages, 1);
}

static void abort_inside_on_message(void **state)
{
    ended_inside_on_message(*state, abort_inside);
}

static void close_inside_on_message(void **state)
{
    ended_inside_on_message(*state, close_inside);
}

static void abort_in_on_connect(net_side *side, pea_conn *conn)
{
    (void)side;
    pea_conn_abort(conn);
}

static void abort_inside_on_connect(void **state)
{
    net *n = *state;
    n->b.on_connect = abort_in_on_connect;
    net_node(&n->a, PEA_NODE(.name = "a"));
    net_node(&n->b, PEA_NODE(.name = "b"));
    net_listen(&n->b);
    net_dial(&n->a, &n->b);
    net_wait(n, n->b.disconnects == 1 && n->a.disconnects + n->a.failures == 1);
    assert_int_equal(n->b.reason.err, PEA_E_ABORTED);
}

/* ---- Half-close ---- */

static void answer_and_close(net_side *side, pea_conn *conn)
{
    (void)side;
    check_ok(pea_conn_send(conn, "all of it arrived", 17));
    pea_conn_close(conn, PEA_CODE_NORMAL, NULL);
}

static void half_close(void **state)
{
    net *n = *state;
    net_node(&n->a, PEA_NODE(.half_close = true));
    net_node(&n->b, PEA_NODE(.half_close = true));
    net_listen(&n->b);
    net_meet(n);
    n->b.on_end = answer_and_close;
    check_ok(pea_conn_send(n->a.conn, "question", 8));
    check_ok(pea_conn_end(n->a.conn));
    check_err(pea_conn_end(n->a.conn), PEA_E_STATE);
    check_err(pea_conn_send(n->a.conn, "more", 4), PEA_E_STATE);
    net_wait(n, n->a.disconnects == 1 && n->b.disconnects == 1);
    assert_int_equal(n->b.ends, 1);
    assert_int_equal(n->b.messages, 1);
    check_bytes(n->a.last, n->a.last_len, "all of it arrived", 17);
    assert_int_equal(n->a.reason.err, PEA_OK);
    assert_int_equal(n->a.reason.origin, PEA_BY_PEER);
}

/* A node that does not want half-open connections answers an END with the end of both. */
static void end_without_half_close(void **state)
{
    net *n = *state;
    net_pair(n);
    check_ok(pea_conn_send(n->b.conn, "queued", 6));
    check_ok(pea_conn_end(n->a.conn));
    net_wait(n, n->a.disconnects == 1 && n->b.disconnects == 1);
    assert_int_equal(n->b.ends, 0);
    assert_int_equal(n->a.messages, 1);
    assert_int_equal(n->a.reason.err, PEA_OK);
    assert_int_equal(n->b.reason.err, PEA_OK);
}

/* ---- Peers that are not peapod ---- */

static void a_stranger_is_dropped(void **state)
{
    net *n = *state;
    uint8_t byte;
    net_node(&n->b, PEA_NODE(.name = "b"));
    net_listen(&n->b);
    int fd = net_raw_connect(&n->b);
    net_raw_send(fd, "G", 1); /* the first byte of an HTTP request is wrong already */
    assert_int_equal(net_raw_recv(n, fd, &byte, 1, NULL), 0);
    close(fd);
    net_wait(n, n->b.failures == 1);
    assert_int_equal(n->b.connects, 0);
    assert_int_equal(n->b.reason.err, PEA_E_NETWORK);
    assert_int_equal(n->b.reason.origin, PEA_BY_HANDSHAKE);
    assert_int_equal(n->b.info.side, PEA_RESPONDER);
    assert_int_equal(n->b.info.bytes_in, 1);
    assert_true(pea_addr_is_local(&n->b.info.remote));
}

static void reset_is_told_as_such(void **state)
{
    net *n = *state;
    const struct linger now = {1, 0};
    net_node(&n->b, PEA_NODE(.name = "b"));
    net_listen(&n->b);
    int fd = net_raw_connect(&n->b);
    net_raw_open(n, fd);
    net_wait(n, n->b.connects == 1);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
    close(fd);
    net_wait(n, n->b.disconnects == 1);
    assert_int_equal(n->b.reason.err, PEA_E_RESET);
    assert_int_equal(n->b.reason.origin, PEA_BY_READING);
    assert_int_not_equal(n->b.reason.sys, 0);
}

/* ---- What stages and transforms mean to a connection ---- */

/* Takes a line, answers with an error in its own words, and fails. */
static pea_err refuse_step(void *self, pea_stage_env *env, pea_buf *in, pea_buf *out)
{
    (void)self;
    if (in->len < 12)
        return PEA_MORE;
    pea_buf_consume(in, 12);
    pea_err err = pea_buf_append(out, "ERR go away\n", 12);
    return err != PEA_OK ? err : pea_stage_fail(env, PEA_E_PROTO, "it did not say please");
}

static const pea_stage_ops refuse_ops = {
    .version = PEA_STAGE_VERSION, .name = "refuse", .max_in = 64, .step = refuse_step};

static void other_chain(net *n, pea_mode mode, const pea_stage_ops *ops, void *config)
{
    pea_chain_unref(n->chain);
    check_ok(pea_chain_new(&n->chain, PEA_CHAIN(.mode = mode), NULL));
    check_ok(pea_chain_add(n->chain, ops, config, NULL));
    check_ok(pea_chain_plain(n->chain));
}

/* What a stage says beside its error reaches the peer, though unread input lies in the socket when it is said. */
static void a_failing_stage_has_its_say(void **state)
{
    net *n = *state;
    char line[12], block[16384] = "GIVE ME ALL\n";
    other_chain(n, PEA_STREAM, &refuse_ops, NULL);
    net_node(&n->b, PEA_NODE(.name = "b"));
    net_listen(&n->b);
    int fd = net_raw_connect(&n->b);
    net_raw_send(fd, block, sizeof block);
    net_raw_send(fd, block, sizeof block);
    assert_int_equal(net_raw_recv(n, fd, line, sizeof line, NULL), sizeof line);
    check_bytes(line, sizeof line, "ERR go away\n", 12);
    assert_int_equal(net_raw_recv(n, fd, line, 1, NULL), 0);
    close(fd);
    net_wait(n, n->b.failures == 1);
    check_err(n->b.reason.err, PEA_E_PROTO);
    assert_int_equal(n->b.reason.origin, PEA_BY_HANDSHAKE);
    assert_string_equal(n->b.reason.stage, "refuse");
    assert_string_equal(n->b.reason.text, "it did not say please");
}

static const char lasting[] = "the bytes of a message are good for as long as the call";

static void end_and_read_on(net_side *side, pea_conn *conn, const uint8_t *data, size_t len)
{
    uint8_t other[sizeof lasting];
    memset(other, 'x', sizeof other);
    pea_conn_abort(conn);
    for (int i = 0; i < 8; i++) /* other buffers of the same pool are taken and written */
        check_ok(pea_conn_send(side->arg, other, sizeof other));
    pea_conn_flush(side->arg);
    check_bytes(data, len, lasting, sizeof lasting);
    side->on_message = NULL;
}

/* Behind a transform a message lies in a buffer of the connection's own: to end the connection inside the
 * call leaves it alone. */
static void a_message_survives_its_connection(void **state)
{
    net *n = *state;
    toy_upgrade upgrade = {.nonce = {{1}, {2}}, .secret = 3};
    other_chain(n, PEA_NATIVE, &toy_upgrade_ops, &upgrade);
    net_pair(n);
    n->b.arg = n->b.conn;
    net_meet(n);
    n->b.on_message = end_and_read_on;
    check_ok(pea_conn_send(n->a.conn, lasting, sizeof lasting));
    net_wait(n, n->b.disconnects == 1 && n->a.disconnects == 1);
    net_wait(n, n->a.messages == 8);
}

#define both(test)                                            \
    {#test " (native)", test, setup_native, teardown, NULL},  \
    {                                                         \
#test " (stream)", test, setup_stream, teardown, NULL \
    }
#define native(test)                              \
    {                                             \
#test, test, setup_native, teardown, NULL \
    }
#define stream(test)                              \
    {                                             \
#test, test, setup_stream, teardown, NULL \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        both(echo),
        both(both_directions_at_once),
        both(many_messages),
        both(sizes),
        both(keep),
        both(looking),
        both(each_may_close),
        both(dial_with_user),
        both(close_with_text),
        native(close_reaches_the_native_peer),
        both(both_close_at_once),
        both(last_words_in_on_closing),
        both(abort_drops_at_once),
        native(native_abort_is_a_truncation),
        stream(stream_abort_is_an_unproven_end),
        both(abort_inside_on_message),
        both(close_inside_on_message),
        both(abort_inside_on_connect),
        native(half_close),
        native(end_without_half_close),
        native(a_stranger_is_dropped),
        native(reset_is_told_as_such),
        stream(a_failing_stage_has_its_say),
        native(a_message_survives_its_connection),
    };
    return cmocka_run_group_tests_name("conn", tests, NULL, NULL);
}
