/* SPDX-License-Identifier: MIT */
/* Secrets and bindings of channels between two nodes, on real sockets: both sides have the same, every other channel,
 * label and context others; what cannot be given is refused by name. Over Noise, and over each version of TLS that this
 * build speaks, with mbedTLS's records and with own ones. */
#include "peapod/chain.h"
#include "peapod/trust.h"
#include "support/net.h"

#include <stdio.h>

typedef struct party {
    pea_identity *identity[2]; /* for Noise, for TLS */
    pea_peer peer;
    pea_trust *trust;
    pea_chain *chain;
} party;

/* What the two nodes have in common. */
typedef struct way {
    const char *name;
    pea_mode mode;
    const char *noise;   /* the last stage; NULL: none */
    const char *under;   /* a Noise handshake before it */
    pea_tls_version tls; /* a TLS handshake before all; 0: none */
    bool own_records;
    size_t binding; /* its bytes */
} way;

static const way ways[] = {
    {"Noise", PEA_NATIVE, "Noise_XX_25519_ChaChaPoly_BLAKE2b", NULL, 0, false, 64},
    {"Noise, SHA256", PEA_NATIVE, "Noise_IK_25519_ChaChaPoly_SHA256", NULL, 0, false, 32},
    {"Noise, stream", PEA_STREAM, "Noise_XX_25519_ChaChaPoly_SHA512", NULL, 0, false, 64},
    {"Noise in Noise", PEA_NATIVE, "Noise_XX_25519_ChaChaPoly_SHA256", "Noise_XX_25519_ChaChaPoly_BLAKE2b", 0, false,
     32},
#ifdef PEAPOD_MLKEM
    {"Noise, hybrid", PEA_NATIVE, "Noise_XXhfs_25519+MLKEM768_ChaChaPoly_BLAKE2b", NULL, 0, false, 64},
#endif
    {"TLS 1.2", PEA_NATIVE, NULL, NULL, PEA_TLS_1_2, false, 32},
    {"TLS 1.2, own records", PEA_STREAM, NULL, NULL, PEA_TLS_1_2, true, 32},
    {"TLS 1.3", PEA_NATIVE, NULL, NULL, PEA_TLS_1_3, false, 32},
    {"TLS 1.3, own records", PEA_NATIVE, NULL, NULL, PEA_TLS_1_3, true, 32},
    {"TLS 1.3, stream", PEA_STREAM, NULL, NULL, PEA_TLS_1_3, true, 32},
};

static net n;
static party a, b; /* a dials, b listens */

static bool spoken(const way *w)
{
    const char *versions = strchr(pea_tls_library(), ':'); /* "mbedTLS 3.6.6: TLS 1.3, 1.2" */
    return w->tls == 0 || (versions != NULL && strstr(versions, w->tls == PEA_TLS_1_2 ? "1.2" : "1.3") != NULL);
}

/* Whether there is an exporter. */
static bool gives(const way *w)
{
    return w->noise != NULL || w->tls == PEA_TLS_1_3;
}

/* ---- Two nodes ---- */

static void add_noise(party *p, const char *protocol)
{
    pea_error why;
    if (protocol != NULL &&
        pea_chain_noise(p->chain, PEA_NOISE(.identity = p->identity[0], .protocol = protocol), &why) != PEA_OK)
        fail_msg("%s", why.text);
}

static void party_make(party *p, const way *w, const char *name)
{
    pea_error why;
    char crt[512], key[512];
    (void)snprintf(crt, sizeof crt, "%s/%s.crt", PEA_TEST_CERTS, name);
    (void)snprintf(key, sizeof key, "%s/%s.key", PEA_TEST_CERTS, name);
    *p = (party){.trust = NULL};
    check_ok(pea_trust_new(&p->trust));
    check_ok(pea_chain_new(&p->chain, PEA_CHAIN(.mode = w->mode), &why));
    check_ok(pea_identity_generate(&p->identity[0], &why));
    if (w->tls != 0) {
        if (pea_identity_load_certificate(&p->identity[1], crt, key, NULL, NULL, &why) != PEA_OK)
            fail_msg("%s", why.text);
        if (pea_chain_tls(
                p->chain,
                PEA_TLS(.identity = p->identity[1], .lowest = w->tls, .highest = w->tls, .own_records = w->own_records),
                &why) != PEA_OK)
            fail_msg("%s", why.text);
    }
    add_noise(p, w->under);
    add_noise(p, w->noise);
    pea_identity_peer(p->identity[w->tls != 0], &p->peer);
}

static void party_free(party *p)
{
    pea_chain_unref(p->chain);
    pea_trust_unref(p->trust);
    pea_identity_unref(p->identity[0]);
    pea_identity_unref(p->identity[1]);
}

static void open_pair(const way *w)
{
    net_setup(&n, PEA_NATIVE);
    party_make(&a, w, "self_a");
    party_make(&b, w, "self_b");
    check_ok(pea_trust_allow(a.trust, &b.peer, NULL, NULL, NULL));
    check_ok(pea_trust_allow(b.trust, &a.peer, NULL, NULL, NULL));
    net_node(&n.a, PEA_NODE(.chain = a.chain, .policy = pea_trust_policy(a.trust), .linger_ms = 500));
    net_node(&n.b, PEA_NODE(.chain = b.chain, .policy = pea_trust_policy(b.trust), .linger_ms = 500));
    net_listen(&n.b);
}

static void meet(unsigned times)
{
    pea_error why;
    if (pea_node_connect(n.a.node, n.b.addr, PEA_DIAL(.expect = &b.peer), NULL, &why) != PEA_OK)
        fail_msg("%s", why.text);
    net_wait(&n, n.a.connects == times && n.b.connects == times);
}

static void close_pair(void)
{
    net_teardown(&n);
    party_free(&a);
    party_free(&b);
}

/* ---- What they have in common ---- */

#define CONTEXT "\0any bytes\xFF"

static const struct question {
    const char *label, *context;
    size_t context_len;
} questions[] = {
    {"EXPORTER-peapod-test", NULL, 0},
    {"EXPORTER-peapod-test", CONTEXT, sizeof CONTEXT},
    {"EXPORTER-peapod-test", CONTEXT, sizeof CONTEXT - 1},
    {"EXPORTER-peapod-test", "", 1}, /* a zero byte is not nothing */
    {"EXPORTER-peapod-tesu", NULL, 0},
    {"EXPORTER-peapod-tes", "t", 1},
};

enum { QUESTIONS = sizeof questions / sizeof questions[0], BYTES = 48 };

/* What one side of a connection says. */
typedef struct answers {
    uint8_t secret[QUESTIONS][BYTES], binding[PEA_BINDING_MAX];
    size_t binding_len;
} answers;

static void ask(pea_conn *conn, const way *w, answers *out)
{
    memset(out, 0, sizeof *out);
    out->binding_len = sizeof out->binding;
    check_ok(pea_conn_binding(conn, out->binding, &out->binding_len));
    assert_int_equal(out->binding_len, w->binding);
    for (size_t i = 0; i < QUESTIONS; i++)
        check_err(pea_conn_export(conn, questions[i].label, questions[i].context, questions[i].context_len,
                                  out->secret[i], BYTES),
                  gives(w) ? PEA_OK : PEA_E_UNSUPPORTED);
}

static void all_differ(const answers *these, const answers *others)
{
    for (size_t i = 0; i < QUESTIONS; i++)
        for (size_t j = 0; j < QUESTIONS; j++)
            assert_true((these == others && i == j) || memcmp(these->secret[i], others->secret[j], 16) != 0);
}

static answers told[2]; /* what on_connect was told, then what on_disconnect was */
static const way *told_way;

static void ask_first(net_side *side, pea_conn *conn)
{
    (void)side;
    ask(conn, told_way, &told[0]);
}

static void ask_last(net_side *side, pea_conn *conn)
{
    (void)side;
    ask(conn, told_way, &told[1]);
}

static void both_sides_have_the_same(void **state)
{
    const way *w = *state;
    answers at_a, at_b, again;
    if (!spoken(w))
        skip();
    open_pair(w);
    told_way = w;
    n.b.on_connect = ask_first;
    n.b.on_disconnect = ask_last;
    meet(1);
    ask(n.a.conn, w, &at_a);
    ask(n.b.conn, w, &at_b);
    assert_memory_equal(&at_a, &at_b, sizeof at_a);
    assert_memory_equal(&told[0], &at_a, sizeof at_a);
    if (gives(w))
        all_differ(&at_a, &at_a);
    pea_conn_close(n.a.conn, PEA_CODE_NORMAL, NULL);
    net_wait(&n, n.a.disconnects == 1 && n.b.disconnects == 1);
    assert_memory_equal(&told[1], &at_a, sizeof at_a);
    n.b.on_disconnect = NULL;
    meet(2);
    ask(n.a.conn, w, &again);
    ask(n.b.conn, w, &at_b);
    assert_memory_equal(&again, &at_b, sizeof at_b);
    assert_memory_not_equal(again.binding, at_a.binding, w->binding);
    if (gives(w))
        all_differ(&again, &at_a);
    close_pair();
}

/* No context is an empty one; and what is asked for in one piece is what is asked for. */
static void contexts_and_lengths(void **state)
{
    static uint8_t most[PEA_EXPORT_MAX + 1], again[PEA_EXPORT_MAX], context[PEA_EXPORT_CONTEXT_MAX + 1];
    static char label[PEA_EXPORT_LABEL_MAX + 2];
    const way *w = *state;
    pea_err err = gives(w) ? PEA_OK : PEA_E_UNSUPPORTED;
    if (!spoken(w))
        skip();
    open_pair(w);
    meet(1);
    memset(label, 'l', sizeof label - 1);
    memset(most, 7, sizeof most);
    memset(again, 7, sizeof again);
    check_err(pea_conn_export(n.a.conn, "label", NULL, 0, most, 32), err);
    check_err(pea_conn_export(n.b.conn, "label", "", 0, again, 32), err);
    check_bytes(most, 32, again, 32);
    memset(most, 7, sizeof most);
    check_err(pea_conn_export(n.a.conn, label, NULL, 0, most, 32), PEA_E_TOO_BIG);
    check_err(pea_conn_export(n.a.conn, "label", context, sizeof context, most, 32), PEA_E_TOO_BIG);
    check_err(pea_conn_export(n.a.conn, "label", NULL, 0, most, sizeof most), PEA_E_TOO_BIG);
    check_err(pea_conn_export(n.a.conn, "label", NULL, 0, most, SIZE_MAX), PEA_E_TOO_BIG);
    check_err(pea_conn_export(n.a.conn, "label", NULL, 0, most, 0), PEA_E_INVALID);
    check_err(pea_conn_export(n.a.conn, "label", NULL, 0, NULL, 32), PEA_E_INVALID);
    check_err(pea_conn_export(n.a.conn, "label", NULL, 1, most, 32), PEA_E_INVALID);
    check_err(pea_conn_export(n.a.conn, "", NULL, 0, most, 32), PEA_E_INVALID);
    check_err(pea_conn_export(n.a.conn, NULL, NULL, 0, most, 32), PEA_E_INVALID);
    size_t len = w->binding - 1;
    check_err(pea_conn_binding(n.a.conn, most, &len), PEA_E_TOO_BIG);
    assert_int_equal(len, w->binding - 1);
    for (size_t i = 0; i < sizeof most; i++)
        assert_int_equal(most[i], 7);
    label[PEA_EXPORT_LABEL_MAX] = '\0'; /* the most of everything */
    check_err(pea_conn_export(n.a.conn, label, context, PEA_EXPORT_CONTEXT_MAX, most, PEA_EXPORT_MAX), err);
    check_err(pea_conn_export(n.b.conn, label, context, PEA_EXPORT_CONTEXT_MAX, again, PEA_EXPORT_MAX), err);
    if (err == PEA_OK)
        assert_memory_equal(most, again, PEA_EXPORT_MAX);
    close_pair();
}

/* ---- Others ---- */

static void plain_has_none(void **state)
{
    (void)state;
    for (pea_mode mode = PEA_NATIVE; mode <= PEA_STREAM; mode++) {
        uint8_t out[PEA_BINDING_MAX] = {7};
        size_t len = sizeof out;
        pea_hello hello;
        net_setup(&n, mode);
        net_pair(&n);
        check_err(pea_conn_export(n.a.conn, "label", NULL, 0, out, 32), PEA_E_UNSUPPORTED);
        check_err(pea_conn_binding(n.a.conn, out, &len), PEA_E_UNSUPPORTED);
        check_err(pea_conn_hello(n.a.conn, &hello), mode == PEA_NATIVE ? PEA_OK : PEA_E_UNSUPPORTED);
        assert_int_equal(out[0], 7);
        net_teardown(&n);
    }
}

static void hello_is_readable(void **state)
{
    pea_error why;
    pea_hello hello;
    (void)state;
    net_setup(&n, PEA_NATIVE);
    for (party *p = &a;; p = &b) {
        *p = (party){.trust = NULL};
        check_ok(pea_trust_new(&p->trust));
        pea_trust_any(p->trust);
        check_ok(pea_identity_generate(&p->identity[0], &why));
        check_ok(pea_chain_new(&p->chain,
                               PEA_CHAIN(.application = "export_test", .application_lowest = p == &a ? 1 : 2,
                                         .application_highest = p == &a ? 2 : 7, .capabilities = p == &a ? 0 : 9),
                               &why));
        add_noise(p, "Noise_XX_25519_ChaChaPoly_BLAKE2b");
        pea_identity_peer(p->identity[0], &p->peer);
        if (p == &b)
            break;
    }
    net_node(&n.a, PEA_NODE(.chain = a.chain, .policy = pea_trust_policy(a.trust)));
    net_node(&n.b, PEA_NODE(.chain = b.chain, .policy = pea_trust_policy(b.trust)));
    net_listen(&n.b);
    meet(1);
    check_ok(pea_conn_hello(n.a.conn, &hello));
    assert_string_equal(hello.application, "export_test");
    assert_int_equal(hello.application_lowest, 2);
    assert_int_equal(hello.application_highest, 7);
    assert_true(hello.capabilities == 9);
    check_ok(pea_conn_hello(n.b.conn, &hello));
    assert_int_equal(hello.application_lowest, 1);
    assert_int_equal(hello.application_highest, 2);
    assert_true(hello.capabilities == 0);
    close_pair();
}

int main(void)
{
    enum { WAYS = sizeof ways / sizeof ways[0] };
    static struct CMUnitTest tests[2 * WAYS + 2];
    static char names[2 * WAYS][64];
    for (size_t i = 0; i < WAYS; i++) {
        union { /* cmocka's are not const; nobody writes them */
            const way *in;
            void *out;
        } state = {.in = &ways[i]};
        (void)snprintf(names[2 * i], sizeof names[0], "both sides have the same: %s", ways[i].name);
        (void)snprintf(names[2 * i + 1], sizeof names[0], "contexts and lengths: %s", ways[i].name);
        tests[2 * i] = (struct CMUnitTest){names[2 * i], both_sides_have_the_same, NULL, NULL, state.out};
        tests[2 * i + 1] = (struct CMUnitTest){names[2 * i + 1], contexts_and_lengths, NULL, NULL, state.out};
    }
    tests[2 * WAYS] = (struct CMUnitTest)cmocka_unit_test(plain_has_none);
    tests[2 * WAYS + 1] = (struct CMUnitTest)cmocka_unit_test(hello_is_readable);
    return cmocka_run_group_tests_name("secrets out of channels", tests, NULL, NULL);
}
