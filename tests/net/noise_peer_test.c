/* SPDX-License-Identifier: MIT */
/* Two nodes with Noise and a man between them, on real sockets: whatever he does, nobody is deceived, both ends have
 * a reason, and nothing is left behind. Then the refusals of docs/wire.md, from either side, native and foreign. */
#include "noise/noise_priv.h"
#include "peapod/chain.h"
#include "peapod/trust.h"
#include "pipe_state_priv.h"
#include "runtime_priv.h"
#include "secure_priv.h"
#include "support/net.h"
#include "support/relay.h"

#include <stdlib.h>

/* Bytes of the default suite's flights (docs/wire.md). */
enum { GREETING = 41, MESSAGE_1 = 34, MESSAGE_2 = 98, MESSAGE_3 = 66 };

typedef struct party {
    pea_identity *identity;
    pea_peer peer;
    pea_trust *trust;
    pea_chain *chain;
} party;

static net n;
static relay man;
static party a, b; /* a dials, b listens */

typedef struct config {
    pea_mode mode;
    const char *protocol;
    const uint8_t *psk, *network;
    pea_span prologue;
} config;

static void party_make(party *p, const config *c)
{
    pea_error why;
    check_ok(pea_identity_generate(&p->identity, &why));
    pea_identity_peer(p->identity, &p->peer);
    check_ok(pea_trust_new(&p->trust));
    check_ok(pea_chain_new(&p->chain, PEA_CHAIN(.mode = c->mode, .network = c->network), &why));
    check_ok(pea_chain_noise(p->chain,
                             PEA_NOISE(.identity = p->identity, .protocol = c->protocol, .psk = c->psk,
                                       .prologue = c->prologue, .record_preserving = c->mode == PEA_RECORDS),
                             &why));
}

static void party_free(party *p)
{
    pea_chain_unref(p->chain);
    pea_trust_unref(p->trust);
    pea_identity_unref(p->identity);
}

static void node_make(net_side *side, party *p)
{
    net_node(side, PEA_NODE(.chain = p->chain, .policy = pea_trust_policy(p->trust), .linger_ms = 400));
}

/* Two nodes that differ in nothing but what ca and cb say, and do not know each other yet. */
static void open_differing(const config *ca, const config *cb)
{
    net_setup(&n, PEA_NATIVE);
    party_make(&a, ca);
    party_make(&b, cb);
    node_make(&n.a, &a);
    node_make(&n.b, &b);
    net_listen(&n.b);
    relay_open(&man, n.loop, n.b.addr);
}

static void open_pair(pea_mode mode)
{
    const config c = {.mode = mode};
    open_differing(&c, &c);
    check_ok(pea_trust_allow(a.trust, &b.peer, NULL, NULL, NULL));
    check_ok(pea_trust_allow(b.trust, &a.peer, NULL, NULL, NULL));
}

static void close_pair(void)
{
    relay_close(&man);
    net_teardown(&n);
    party_free(&a);
    party_free(&b);
}

static void dial(const pea_peer *expect)
{
    pea_error why;
    if (pea_node_connect(n.a.node, man.addr, PEA_DIAL(.expect = expect), NULL, &why) != PEA_OK)
        fail_msg("%s", why.text);
}

/* Changed lengths leave a side waiting for more: its deadline is short then, and the test waits for its event. */
static void hurry(uint32_t ms)
{
    net_hurry(&n.a, ms);
    net_hurry(&n.b, ms);
}

static unsigned ends(const net_side *side)
{
    return side->disconnects + side->failures;
}

/* Both sides have ended `rounds` connections. A responder whose dialler never got through to it has none. */
static void wait_ended(unsigned rounds)
{
    net_wait(&n, ends(&n.a) == rounds && ends(&n.b) == rounds);
}

static void connect_pair(void)
{
    unsigned before = n.b.connects;
    dial(NULL);
    net_wait(&n, n.a.connects == before + 1 && n.b.connects == before + 1);
}

/* ---- The man in the middle, before READY ---- */

/* One run with a change made; whatever it is, no side is READY and both end. */
static void run_changed(unsigned way, size_t at, unsigned *rounds)
{
    man.way[0].passed = man.way[1].passed = 0;
    man.way[way].flip_at = at;
    dial(NULL);
    wait_ended(++*rounds);
    man.way[way].flip_at = RELAY_NEVER;
    if (n.b.messages + n.a.messages + n.a.connects > 0)
        fail_msg("byte %zu of way %u was changed and the dialler was connected", at, way);
}

static void a_bit_flipped_in_every_handshake_byte(void **state)
{
    unsigned rounds = 0;
    (void)state;
    open_pair(PEA_NATIVE);
    hurry(400);
    for (size_t at = 0; at < GREETING + MESSAGE_1 + MESSAGE_3; at++)
        run_changed(0, at, &rounds);
    for (size_t at = 0; at < GREETING + MESSAGE_2; at++)
        run_changed(1, at, &rounds);
    assert_int_equal(n.b.connects, 0);
    hurry(20000);
    connect_pair(); /* and he can only spoil his own connections */
    close_pair();
}

static void one_byte_at_a_time(void **state)
{
    (void)state;
    open_pair(PEA_NATIVE);
    man.way[0].piece = man.way[1].piece = 1;
    connect_pair();
    check_ok(pea_conn_send(n.a.conn, "slowly", 6));
    check_ok(pea_conn_send(n.b.conn, "so am I", 7));
    net_wait(&n, n.a.messages == 1 && n.b.messages == 1);
    assert_memory_equal(n.b.last, "slowly", 6);
    close_pair();
}

static void cut_and_reset_at_every_stage(void **state)
{
    static const size_t places[2][7] = {
        {0, 1, GREETING, GREETING + 5, GREETING + MESSAGE_1, GREETING + MESSAGE_1 + 9,
         GREETING + MESSAGE_1 + MESSAGE_3 + 4},
        {0, 1, GREETING, GREETING + 5, GREETING + MESSAGE_2, GREETING + MESSAGE_2 + 1, GREETING + MESSAGE_2 + 9}};
    unsigned rounds = 0;
    (void)state;
    open_pair(PEA_NATIVE);
    for (unsigned way = 0; way < 2; way++) {
        for (unsigned i = 0; i < 14; i++) {
            size_t *at = i < 7 ? &man.way[way].cut_at : &man.way[way].reset_at;
            man.way[0].passed = man.way[1].passed = 0;
            *at = places[way][i % 7];
            dial(NULL);
            wait_ended(++rounds);
            *at = RELAY_NEVER;
            assert_int_equal(n.a.connects, 0);
            assert_true(n.a.reason.err < 0);
            assert_true(n.b.reason.err < 0);
        }
    }
    close_pair();
}

/* ---- After READY ---- */

/* What is sent in one round leaves as one chunk in one record. */
static void one_record_for_a_flush(void **state)
{
    (void)state;
    open_pair(PEA_NATIVE);
    connect_pair();
    pea_pipe *in = n.b.conn->pipe;
    uint64_t records = pea__record_received(pea__transform_at(in, in->top)), chunks = in->chunks_in;
    for (unsigned i = 0; i < 100; i++)
        check_ok(pea_conn_send(n.a.conn, "all of us together", 18));
    net_wait(&n, n.b.messages == 100);
    assert_int_equal(pea__record_received(pea__transform_at(in, in->top)) - records, 1);
    assert_int_equal(in->chunks_in - chunks, 1);
    close_pair();
}

/* Holds back one record of a's for each message, and returns where the second begins. */
static size_t hold_two(void)
{
    relay_way *w = &man.way[0];
    w->hold = true;
    w->held.len = 0;
    check_ok(pea_conn_send(n.a.conn, "first", 5));
    pea_conn_flush(n.a.conn);
    net_wait(&n, w->held.len > 0);
    size_t first = w->held.len;
    check_ok(pea_conn_send(n.a.conn, "other", 5));
    pea_conn_flush(n.a.conn);
    net_wait(&n, w->held.len == 2 * first);
    w->hold = false;
    return first;
}

/* b ends for this error, having delivered `messages` of the new connection. */
static void expect_end(pea_err err, unsigned messages)
{
    net_wait(&n, n.b.disconnects == n.b.connects && n.a.disconnects == n.a.connects);
    check_err(n.b.reason.err, err);
    assert_int_equal(n.b.reason.origin, PEA_BY_READING);
    assert_int_equal(n.b.messages, messages);
}

static void records_replayed_reordered_and_changed(void **state)
{
    (void)state;
    open_pair(PEA_NATIVE);
    const pea_buf *held = &man.way[0].held;

    connect_pair();
    size_t first = hold_two();
    relay_say(&man, 0, held->data, first);
    relay_say(&man, 0, held->data, first); /* once more */
    expect_end(PEA_E_CRYPTO, 1);

    connect_pair();
    first = hold_two();
    relay_say(&man, 0, held->data + first, first); /* the second before the first */
    expect_end(PEA_E_CRYPTO, 1);

    for (size_t at = 0; at < first; at++) {
        connect_pair();
        first = hold_two();
        held->data[at] ^= (uint8_t)(1u << at % 8);
        relay_say(&man, 0, held->data, first);
        hurry(400);
        net_wait(&n, n.b.disconnects == n.b.connects && n.a.disconnects == n.a.connects);
        hurry(20000);
        assert_true(n.b.reason.err < 0);
        assert_int_equal(n.b.messages, 1);
    }

    connect_pair();
    first = hold_two();
    man.way[0].cut_at = 0;
    relay_say(&man, 0, held->data, first - 1); /* a record cut short, then FIN */
    check_ok(pea_conn_send(n.a.conn, "x", 1));
    expect_end(PEA_E_TRUNCATED, 1);
    close_pair();
}

/* ---- Who says what when it refuses ---- */

/* The responder's list does not have the initiator: told inside the channel (native), or by the stream's end
 * (foreign). */
static void unlisted_initiator(void **state)
{
    (void)state;
    open_pair(PEA_NATIVE);
    check_ok(pea_trust_forget(b.trust, &a.peer));
    dial(NULL);
    wait_ended(1);
    check_err(n.a.reason.err, PEA_E_REJECTED);
    assert_int_equal(n.a.reason.code, PEA_CODE_DENIED | PEA_CODE_PERMANENT);
    assert_string_equal(n.a.reason.text, "not admitted");
    check_err(n.b.reason.err, PEA_E_REFUSED);
    assert_int_equal(n.b.reason.origin, PEA_BY_POLICY);
    assert_true(pea_peer_equal(&n.b.info.peer, &a.peer));
    assert_int_equal(n.a.connects + n.b.connects, 0);
    close_pair();

    for (pea_mode mode = PEA_STREAM; mode <= PEA_RECORDS; mode++) {
        open_pair(mode);
        check_ok(pea_trust_forget(b.trust, &a.peer));
        dial(NULL);
        wait_ended(1);
        check_err(n.b.reason.err, PEA_E_REFUSED);
        assert_int_equal(n.b.connects, 0);
        /* foreign: the initiator was READY already, and sees an end */
        assert_int_equal(n.a.reason.origin, PEA_BY_PEER);
        assert_true(n.a.reason.err == PEA_EOF_UNAUTHENTICATED);
        close_pair();
    }
}

/* The initiator refuses the responder, by expectation or policy: no byte after message 1. */
static void wrong_responder(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        pea_mode mode = i < 2 ? PEA_NATIVE : i < 4 ? PEA_STREAM : PEA_RECORDS;
        pea_peer other;
        open_pair(mode);
        other = b.peer;
        other.id[0] ^= 1;
        if (i % 2 == 1)
            check_ok(pea_trust_deny(a.trust, &b.peer, NULL));
        dial(i % 2 == 0 ? &other : NULL);
        wait_ended(1);
        check_err(n.a.reason.err, PEA_E_REFUSED);
        assert_int_equal(n.a.reason.origin, PEA_BY_POLICY);
        assert_true(pea_peer_equal(&n.a.info.peer, &b.peer));
        check_err(n.b.reason.err, PEA_E_TRUNCATED); /* silence, and FIN */
        assert_int_equal(n.b.reason.origin, PEA_BY_PEER);
        assert_int_equal(man.way[0].passed, (mode == PEA_NATIVE ? GREETING : 0) + MESSAGE_1);
        assert_int_equal(n.a.connects + n.b.connects, 0);
        close_pair();
    }
}

/* Another network: a silent close, and not one Diffie-Hellman by the responder. */
static void another_network(void **state)
{
    static const uint8_t network[PEA_NETWORK_BYTES] = {7};
    (void)state;
    open_differing(&(config){.network = network}, &(config){.network = NULL});
    pea_trust_any(a.trust);
    pea_trust_any(b.trust);
    uint64_t before = pea__x25519_count;
    dial(NULL);
    wait_ended(1);
    assert_int_equal(pea__x25519_count - before, 1); /* the initiator's ephemeral key */
    check_err(n.b.reason.err, PEA_E_NETWORK);
    assert_int_equal(n.b.bytes + n.a.connects + n.b.connects, 0);
    assert_int_equal(man.way[1].passed, 0);
    close_pair();
}

/* Another psk or prologue: the tag is wrong, and both ends close without a word. */
static void another_secret(void **state)
{
    static const uint8_t psk[2][PEA_KEY_BYTES] = {{1}, {2}};
    static const pea_span prologue[2] = {{(const uint8_t *)"one", 3}, {(const uint8_t *)"two", 3}};
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        config c[2];
        for (unsigned side = 0; side < 2; side++) {
            c[side] = (config){.mode = i < 1 ? PEA_NATIVE : i < 3 ? PEA_STREAM : PEA_RECORDS};
            if (i < 2) {
                c[side].protocol = "Noise_XXpsk3_25519_ChaChaPoly_SHA256";
                c[side].psk = psk[side];
            } else {
                c[side].prologue = prologue[side];
            }
        }
        open_differing(&c[0], &c[1]);
        pea_trust_any(a.trust);
        pea_trust_any(b.trust);
        dial(NULL);
        wait_ended(1);
        const net_side *reader = i < 2 ? &n.b : &n.a; /* psk3: message 3 fails; a prologue: message 2 */
        check_err(reader->reason.err, PEA_E_CRYPTO);
        assert_int_equal(reader->reason.origin, PEA_BY_HANDSHAKE);
        assert_string_equal(reader->reason.stage, "noise");
        assert_int_equal(n.b.connects, 0);
        close_pair();
    }
}

/* SHUTDOWN in the middle of a conversation reaches the peer, and so does the application's own code. */
static void farewells_arrive(void **state)
{
    (void)state;
    open_pair(PEA_NATIVE);
    connect_pair();
    pea_conn_close(n.b.conn, PEA_CODE_APPLICATION | 42, "enough");
    net_wait(&n, n.a.disconnects == 1 && n.b.disconnects == 1);
    check_err(n.a.reason.err, PEA_E_CLOSED);
    assert_int_equal(n.a.reason.code, PEA_CODE_APPLICATION | 42);
    assert_string_equal(n.a.reason.text, "enough");
    connect_pair();
    check_ok(pea_node_shutdown(n.b.node, 0, NULL, NULL));
    net_wait(&n, n.a.disconnects == 2 && n.b.disconnects == 2);
    check_err(n.a.reason.err, PEA_OK);
    assert_int_equal(n.a.reason.code, PEA_CODE_SHUTDOWN);
    close_pair();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bit_flipped_in_every_handshake_byte),
        cmocka_unit_test(one_byte_at_a_time),
        cmocka_unit_test(cut_and_reset_at_every_stage),
        cmocka_unit_test(one_record_for_a_flush),
        cmocka_unit_test(records_replayed_reordered_and_changed),
        cmocka_unit_test(unlisted_initiator),
        cmocka_unit_test(wrong_responder),
        cmocka_unit_test(another_network),
        cmocka_unit_test(another_secret),
        cmocka_unit_test(farewells_arrive),
    };
    return cmocka_run_group_tests_name("noise_peer", tests, NULL, NULL);
}
