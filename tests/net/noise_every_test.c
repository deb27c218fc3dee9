/* SPDX-License-Identifier: MIT */
/* Every interactive pattern between two nodes on real sockets, in each mode: both are connected, messages go both ways,
 * and each side knows of the other exactly what the pattern proves. Then what a configuration may not say. */
#include "peapod/chain.h"
#include "peapod/trust.h"
#include "support/net.h"

#include <stdio.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* Which sides know whom they speak with. */
static const struct pattern {
    const char *name;
    bool initiator, responder;
} patterns[] = {
    {"NN", 0, 0},  {"NK", 1, 0},  {"NX", 1, 0},  {"XN", 0, 1},   {"XK", 1, 1},  {"XX", 1, 1},  {"KN", 0, 1},
    {"KK", 1, 1},  {"KX", 1, 1},  {"IN", 0, 1},  {"IK", 1, 1},   {"IX", 1, 1},  {"NK1", 1, 0}, {"NX1", 1, 0},
    {"X1N", 0, 1}, {"X1K", 1, 1}, {"XK1", 1, 1}, {"X1K1", 1, 1}, {"X1X", 1, 1}, {"XX1", 1, 1}, {"X1X1", 1, 1},
    {"K1N", 0, 1}, {"K1K", 1, 1}, {"KK1", 1, 1}, {"K1K1", 1, 1}, {"K1X", 1, 1}, {"KX1", 1, 1}, {"K1X1", 1, 1},
    {"I1N", 0, 1}, {"I1K", 1, 1}, {"IK1", 1, 1}, {"I1K1", 1, 1}, {"I1X", 1, 1}, {"IX1", 1, 1}, {"I1X1", 1, 1},
};

/* "NK": the responder's key is known beforehand, and "KN": the initiator's. */
static bool knows_responder(const char *name)
{
    return strchr(name + 1, 'K') != NULL;
}

static bool knows_initiator(const char *name)
{
    return name[0] == 'K';
}

static pea_identity *identity[2];
static pea_peer peer[2];

typedef struct ends {
    net n;
    pea_chain *chain[2];
    pea_trust *trust[2];
} ends;

static void chain_make(pea_chain **chain, pea_side side, pea_mode mode, const char *pattern, unsigned suite)
{
    static const uint8_t psk[PEA_KEY_BYTES] = {7};
    static const char *const suites[] = {"ChaChaPoly_BLAKE2b", "AESGCM_SHA256", "ChaChaPoly_SHA512"};
    char protocol[96];
    pea_error why;
    (void)snprintf(protocol, sizeof protocol, "Noise_%s_25519%s_%s", pattern,
                   strstr(pattern, "hfs") != NULL ? "+MLKEM768" : "", suites[suite % COUNT(suites)]);
    check_ok(pea_chain_new(chain, PEA_CHAIN(.mode = mode), &why));
    pea_err err = pea_chain_noise(
        *chain,
        PEA_NOISE(.protocol = protocol, .identity = identity[side], .psk = strstr(pattern, "psk") != NULL ? psk : NULL,
                  .remote_static = side == PEA_RESPONDER && knows_initiator(pattern) ? peer[PEA_INITIATOR].id : NULL,
                  .record_preserving = mode == PEA_RECORDS),
        &why);
    if (err != PEA_OK)
        fail_msg("%s: %s", protocol, why.text);
}

/* Each side lets in the other's key alone, or, where the pattern proves none, anybody. */
static void ends_open(ends *e, const struct pattern *p, const char *name, pea_mode mode, unsigned suite,
                      bool one_per_peer)
{
    net_setup(&e->n, mode);
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
        chain_make(&e->chain[side], side, mode, name, suite);
        check_ok(pea_trust_new(&e->trust[side]));
        if (side == PEA_INITIATOR ? p->initiator : p->responder)
            check_ok(pea_trust_allow(e->trust[side], &peer[!side], NULL, NULL, NULL));
        else
            pea_trust_any(e->trust[side]);
        net_node(side == PEA_INITIATOR ? &e->n.a : &e->n.b,
                 PEA_NODE(.chain = e->chain[side], .policy = pea_trust_policy(e->trust[side]),
                          .one_per_peer = one_per_peer));
    }
    net_listen(&e->n.b);
}

static void ends_close(ends *e)
{
    net_teardown(&e->n);
    for (int i = 0; i < 2; i++) {
        pea_chain_unref(e->chain[i]);
        pea_trust_unref(e->trust[i]);
    }
}

static void dial(ends *e, const struct pattern *p)
{
    pea_error why;
    const pea_peer *expect = knows_responder(p->name) ? &peer[PEA_RESPONDER] : NULL;
    if (pea_node_connect(e->n.a.node, e->n.b.addr, PEA_DIAL(.expect = expect), NULL, &why) != PEA_OK)
        fail_msg("%s: %s", p->name, why.text);
}

static void say_hello(net_side *side, pea_conn *conn)
{
    (void)side;
    check_ok(pea_conn_send(conn, "hello", 5));
}

static void check_known(const net_side *side, bool known, const pea_peer *other)
{
    const pea_peer *met = pea_conn_peer(side->conn);
    assert_int_equal(met != NULL, known);
    if (known)
        assert_true(pea_peer_equal(met, other));
}

static void run(const struct pattern *p, const char *name, pea_mode mode, unsigned suite, bool one_per_peer)
{
    ends e;
    ends_open(&e, p, name, mode, suite, one_per_peer);
    /* In foreign modes whoever is sure of the other speaks, and what he says may be what makes the other one sure. */
    e.n.a.on_connect = e.n.b.on_connect = say_hello;
    dial(&e, p);
    net_wait(&e.n, e.n.a.messages + e.n.a.failures > 0 && e.n.b.messages + e.n.b.failures > 0);
    if (e.n.a.failures + e.n.b.failures > 0)
        fail_msg("%s, mode %d: %s / %s", name, mode, e.n.a.reason.text, e.n.b.reason.text);
    assert_int_equal(e.n.a.connects, 1);
    assert_int_equal(e.n.b.connects, 1);
    check_bytes(e.n.a.last, e.n.a.last_len, "hello", 5);
    check_bytes(e.n.b.last, e.n.b.last_len, "hello", 5);
    check_known(&e.n.a, p->initiator, &peer[PEA_RESPONDER]);
    check_known(&e.n.b, p->responder, &peer[PEA_INITIATOR]);
    ends_close(&e);
}

static void every_pattern_native(void **state)
{
    (void)state;
    for (unsigned i = 0; i < COUNT(patterns); i++)
        run(&patterns[i], patterns[i].name, PEA_NATIVE, i, false);
}

static void every_pattern_one_per_peer(void **state)
{
    (void)state;
    for (unsigned i = 0; i < COUNT(patterns); i++)
        run(&patterns[i], patterns[i].name, PEA_NATIVE, i, true);
}

static void every_pattern_foreign(void **state)
{
    (void)state;
    for (unsigned i = 0; i < COUNT(patterns); i++) {
        run(&patterns[i], patterns[i].name, PEA_STREAM, i, false);
        run(&patterns[i], patterns[i].name, PEA_RECORDS, i, false);
    }
}

static void psks_at_every_place(void **state)
{
    (void)state;
    for (unsigned i = 0; i < COUNT(patterns); i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "%s%s", patterns[i].name,
                       (const char *const[]){"psk0", "psk1", "psk2", "psk0+psk1", "psk0+psk1+psk2"}[i % 5]);
        run(&patterns[i], name, i % 2 == 0 ? PEA_NATIVE : PEA_STREAM, i, false);
    }
}

#ifdef PEAPOD_MLKEM
static void hybrids(void **state)
{
    (void)state;
    for (unsigned i = 0; i < COUNT(patterns); i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "%s%s", patterns[i].name,
                       (const char *const[]){"hfs", "hfs+psk0", "hfs+psk2"}[i % 3]);
        run(&patterns[i], name, (const pea_mode[]){PEA_NATIVE, PEA_STREAM, PEA_RECORDS, PEA_NATIVE}[i % 4], i, false);
    }
}
#endif

/* ---- What a configuration may not say ---- */

/* What listening and dialling say to this pattern, under an empty list and under "anybody". */
static void check_config(const struct pattern *p, bool any, bool expect)
{
    net n;
    pea_chain *chain[2];
    pea_trust *trust;
    pea_error why = {0};
    net_setup(&n, PEA_NATIVE);
    check_ok(pea_trust_new(&trust));
    if (any)
        pea_trust_any(trust);
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++)
        chain_make(&chain[side], side, PEA_NATIVE, p->name, 0);
    net_node(&n.a, PEA_NODE(.chain = chain[0], .policy = pea_trust_policy(trust)));
    net_node(&n.b, PEA_NODE(.chain = chain[1], .policy = pea_trust_policy(trust)));
    pea_err err = pea_node_listen(n.b.node, "127.0.0.1:0", NULL, NULL, &why);
    check_err(err, p->responder || any ? PEA_OK : PEA_E_INVALID);
    if (err != PEA_OK)
        assert_non_null(strstr(why.text, "pea_trust_any()"));

    err = pea_node_connect(n.a.node, "127.0.0.1:1", PEA_DIAL(.expect = expect ? &peer[1] : NULL), NULL, &why);
    if (knows_responder(p->name) && !expect) {
        check_err(err, PEA_E_INVALID);
        assert_non_null(strstr(why.text, ".expect"));
    } else if (!p->initiator && (expect || !any)) {
        check_err(err, PEA_E_INVALID);
        assert_non_null(strstr(why.text, "pea_trust_any()"));
    } else {
        check_ok(err);
        net_wait(&n, n.a.failures == 1);
    }
    net_teardown(&n);
    pea_trust_unref(trust);
    pea_chain_unref(chain[0]);
    pea_chain_unref(chain[1]);
}

static void configurations(void **state)
{
    (void)state;
    for (unsigned i = 0; i < COUNT(patterns); i++)
        for (unsigned how = 0; how < 4; how++)
            check_config(&patterns[i], (how & 1) != 0, (how & 2) != 0);
}

/* Whom a K pattern knows beforehand is configured where it listens; whom nobody needs is not. */
static void sides_without_keys(void **state)
{
    net n;
    pea_chain *kk, *nk;
    pea_trust *any;
    pea_error why;
    (void)state;
    net_setup(&n, PEA_NATIVE);
    check_ok(pea_trust_new(&any));
    pea_trust_any(any);
    check_ok(pea_chain_new(&kk, NULL, NULL));
    check_ok(
        pea_chain_noise(kk, PEA_NOISE(.protocol = "Noise_KK_25519_ChaChaPoly_SHA256", .identity = identity[1]), &why));
    net_node(&n.b, PEA_NODE(.chain = kk, .policy = pea_trust_policy(any)));
    check_err(pea_node_listen(n.b.node, "127.0.0.1:0", NULL, NULL, &why), PEA_E_INVALID);
    assert_non_null(strstr(why.text, "PEA_NOISE(.remote_static)"));
    check_ok(pea_chain_new(&nk, NULL, NULL));
    check_ok(pea_chain_noise(nk, PEA_NOISE(.protocol = "Noise_NK_25519_ChaChaPoly_SHA256"), &why));
    net_node(&n.a, PEA_NODE(.chain = nk, .policy = pea_trust_policy(any)));
    check_err(pea_node_listen(n.a.node, "127.0.0.1:0", NULL, NULL, &why), PEA_E_INVALID);
    assert_non_null(strstr(why.text, "identity"));
    check_ok(pea_node_connect(n.a.node, "127.0.0.1:1", PEA_DIAL(.expect = &peer[1]), NULL, &why));
    net_wait(&n, n.a.failures == 1);
    net_teardown(&n);
    pea_trust_unref(any);
    pea_chain_unref(kk);
    pea_chain_unref(nk);
}

/* ---- Replays ---- */

/* Flight 1 of IK, heard on the wire and said again: the responder answers it, and accepts nobody. */
static void a_replayed_first_message_is_nobody(void **state)
{
    static const char *const names[] = {"IK", "KK", "IX", "IN"};
    (void)state;
    for (size_t i = 0; i < 2 * COUNT(names); i++) {
        pea_mode mode = i < COUNT(names) ? PEA_NATIVE : PEA_STREAM;
        const struct pattern *p = patterns;
        uint8_t flight[512], answer[2];
        char addr[PEA_ADDR_TEXT_BYTES];
        ends e;
        while (strcmp(p->name, names[i % COUNT(names)]) != 0)
            p++;
        ends_open(&e, p, p->name, mode, 0, true);
        int ear = net_raw_listen(1, addr);
        pea_error why;
        check_ok(pea_node_connect(
            e.n.a.node, addr, PEA_DIAL(.expect = knows_responder(p->name) ? &peer[PEA_RESPONDER] : NULL), NULL, &why));
        int victim = net_raw_accept(&e.n, ear);
        size_t head = mode == PEA_NATIVE ? 43 : 2;
        assert_int_equal(net_raw_recv(&e.n, victim, flight, head, NULL), head);
        size_t rest = (size_t)flight[head - 2] << 8 | flight[head - 1];
        assert_int_equal(net_raw_recv(&e.n, victim, flight + head, rest, NULL), rest);

        int replay = net_raw_connect(&e.n.b);
        net_raw_send(replay, flight, head + rest);
        head = mode == PEA_NATIVE ? 41 : 0;
        assert_int_equal(net_raw_recv(&e.n, replay, flight, head, NULL), head);
        assert_int_equal(net_raw_recv(&e.n, replay, answer, 2, NULL), 2); /* message 2 has come */
        net_raw_send(replay, "\0\24a record that is none", 22);
        net_wait(&e.n, e.n.b.failures == 1);
        check_err(e.n.b.reason.err, PEA_E_CRYPTO);
        assert_int_equal(e.n.b.connects, 0);
        close(replay);
        close(victim);
        close(ear);
        net_wait(&e.n, e.n.a.failures == 1);
        dial(&e, p); /* and the one whom he plays is let in */
        e.n.a.on_connect = say_hello;
        net_wait(&e.n, e.n.a.connects == 1 && e.n.b.connects == 1);
        ends_close(&e);
    }
}

int main(void)
{
    for (int i = 0; i < 2; i++) {
        if (pea_identity_generate(&identity[i], NULL) != PEA_OK)
            return 1;
        pea_identity_peer(identity[i], &peer[i]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pattern_native),
        cmocka_unit_test(every_pattern_one_per_peer),
        cmocka_unit_test(every_pattern_foreign),
        cmocka_unit_test(psks_at_every_place),
#ifdef PEAPOD_MLKEM
        cmocka_unit_test(hybrids),
#endif
        cmocka_unit_test(configurations),
        cmocka_unit_test(sides_without_keys),
        cmocka_unit_test(a_replayed_first_message_is_nobody),
    };
    int failed = cmocka_run_group_tests_name("noise_every", tests, NULL, NULL);
    pea_identity_unref(identity[0]);
    pea_identity_unref(identity[1]);
    return failed;
}
