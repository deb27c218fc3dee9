/* SPDX-License-Identifier: MIT */
/* Two nodes with TLS between them, on real sockets: whom they let in and by what, what they say in either direction,
 * and what is left where one of them is cut off. `tls_test 1.2` and `tls_test 1.3` run one version, `tls_test 1.2 own`
 * with own records; one that this build does not speak is skipped. */
#include <stdio.h>
#include <stdlib.h>

#include "peapod/chain.h"
#include "peapod/trust.h"
#include "support/net.h"

static pea_tls_version version;
static bool own_records;
static net n;

typedef struct party {
    pea_identity *identity;
    pea_peer peer;
    pea_trust *trust;
    pea_chain *chain;
} party;

static party a, b; /* a dials, b listens */

static void load(pea_identity **identity, const char *name)
{
    pea_error why;
    char crt[512], key[512];
    (void)snprintf(crt, sizeof crt, "%s/%s.crt", PEA_TEST_CERTS, name);
    (void)snprintf(key, sizeof key, "%s/%s.key", PEA_TEST_CERTS, name);
    if (pea_identity_load_certificate(identity, crt, key, NULL, NULL, &why) != PEA_OK)
        fail_msg("%s", why.text);
}

static void party_make(party *p, pea_mode mode, const char *cert, const char *roots)
{
    static char text[8192];
    pea_error why;
    size_t len = 0;
    if (roots != NULL) {
        FILE *file = fopen(roots, "r");
        assert_non_null(file);
        len = fread(text, 1, sizeof text, file);
        (void)fclose(file);
    }
    load(&p->identity, cert);
    pea_identity_peer(p->identity, &p->peer);
    check_ok(pea_trust_new(&p->trust));
    check_ok(pea_chain_new(&p->chain, PEA_CHAIN(.mode = mode), &why));
    if (pea_chain_tls(p->chain,
                      PEA_TLS(.identity = p->identity, .trust = p->trust, .roots = {(const uint8_t *)text, len},
                              .lowest = version, .highest = version, .own_records = own_records),
                      &why) != PEA_OK)
        fail_msg("%s", why.text);
}

/* Every name is b's. */
static void to_loopback(void *arg, const char *host, uint16_t port, pea_ticket ticket)
{
    const pea_addr addr = {.family = PEA_ADDR_IPV4, .port = port, .u.ip = {127, 0, 0, 1}};
    (void)arg, (void)host;
    check_ok(pea_post_resolved(ticket, &addr, 1, PEA_OK));
}

/* Two nodes, which do not know each other yet. */
static void open_pair(pea_mode mode, const char *cert_a, const char *cert_b, const char *roots)
{
    net_setup_runtime(&n, PEA_NATIVE, PEA_RUNTIME(.resolve = to_loopback));
    party_make(&a, mode, cert_a, roots);
    party_make(&b, mode, cert_b, roots);
    net_node(&n.a, PEA_NODE(.chain = a.chain, .policy = pea_trust_policy(a.trust), .linger_ms = 500));
    net_node(&n.b, PEA_NODE(.chain = b.chain, .policy = pea_trust_policy(b.trust), .linger_ms = 500));
    net_listen(&n.b);
}

static void open_pinned(pea_mode mode, const char *cert_a, const char *cert_b)
{
    open_pair(mode, cert_a, cert_b, NULL);
    check_ok(pea_trust_allow(a.trust, &b.peer, "b", "server", NULL));
    check_ok(pea_trust_allow(b.trust, &a.peer, "a", NULL, NULL));
}

static void close_pair(void)
{
    net_teardown(&n);
    pea_chain_unref(a.chain);
    pea_chain_unref(b.chain);
    pea_trust_unref(a.trust);
    pea_trust_unref(b.trust);
    pea_identity_unref(a.identity);
    pea_identity_unref(b.identity);
}

static void dial(const char *name)
{
    pea_error why;
    if (pea_node_connect(n.a.node, n.b.addr, PEA_DIAL(.name = name), NULL, &why) != PEA_OK)
        fail_msg("%s", why.text);
}

static void check_peers(void)
{
    const pea_peer *at_a = pea_conn_peer(n.a.conn), *at_b = pea_conn_peer(n.b.conn);
    assert_true(at_a != NULL && pea_peer_equal(at_a, &b.peer));
    assert_true(at_b != NULL && pea_peer_equal(at_b, &a.peer));
}

/* ---- The cases ---- */

static void pinned_keys_talk(void **state)
{
    static uint8_t big[300000];
    static const char *const certs[][2] = {
        {"self_a", "self_b"}, {"self_p384", "self_rsa"}, {"client_rsa", "server_p521"}};
    (void)state;
    for (size_t i = 0; i < sizeof certs / sizeof certs[0]; i++) {
        open_pinned(PEA_NATIVE, certs[i][0], certs[i][1]);
        n.b.echo = true;
        dial(NULL);
        net_wait(&n, n.a.connects == 1 && n.b.connects == 1);
        check_peers();
        assert_string_equal(pea_conn_peer(n.a.conn)->name, "b");
        assert_string_equal(pea_conn_peer(n.a.conn)->role, "server");
        for (size_t at = 0; at < sizeof big; at++)
            big[at] = (uint8_t)(at * 31 + (at >> 9));
        check_ok(pea_conn_send(n.a.conn, big, sizeof big));
        check_ok(pea_conn_send(n.a.conn, "small", 5));
        net_wait(&n, n.a.messages == 2);
        assert_int_equal(n.a.bytes, sizeof big + 5);
        check_bytes(n.a.last, n.a.last_len, "small", 5);
        pea_conn_close(n.a.conn, PEA_CODE_NORMAL, "done");
        net_wait(&n, n.a.disconnects == 1 && n.b.disconnects == 1);
        check_err(n.a.reason.err, PEA_OK);
        check_err(n.b.reason.err, PEA_OK);
        close_pair();
    }
}

static pea_err vouched(void *arg, pea_peer *peer, const pea_candidate *candidate)
{
    (void)arg;
    if (candidate->vouch == NULL || candidate->vouch->n_names == 0)
        return PEA_E_REFUSED;
    (void)snprintf(peer->name, sizeof peer->name, "%s", candidate->vouch->names[0].text);
    return PEA_OK;
}

static void names_by_a_root(void **state)
{
    (void)state;
    open_pair(PEA_NATIVE, "client_chain", "server_chain", PEA_TEST_CERTS "/root.crt");
    pea_trust_ask(a.trust, vouched, NULL);
    pea_trust_ask(b.trust, vouched, NULL);
    dial("server.mesh.example");
    net_wait(&n, n.a.connects == 1 && n.b.connects == 1);
    check_peers();
    assert_string_equal(pea_conn_peer(n.a.conn)->name, "server.mesh.example");
    assert_string_equal(pea_conn_peer(n.b.conn)->name, "client.mesh.example");
    pea_conn_close(n.a.conn, PEA_CODE_NORMAL, NULL);
    net_wait(&n, n.a.disconnects == 1 && n.b.disconnects == 1);
    dial("elsewhere.example");
    net_wait(&n, n.a.failures == 1 && n.b.failures + n.b.disconnects == 2);
    check_err(n.a.reason.err, PEA_E_REFUSED);
    assert_non_null(strstr(n.a.reason.text, "wrong name: it is not for elsewhere.example"));
    check_err(n.b.reason.err, PEA_E_REJECTED);
    assert_string_equal(n.b.reason.text, "the peer's alert: bad_certificate (42)");
    close_pair();
}

/* Who dials a host wants that host, unless he says another name, or none. */
static void the_host_is_the_name(void **state)
{
    char text[64];
    pea_error why;
    (void)state;
    open_pair(PEA_NATIVE, "client_chain", "server_chain", PEA_TEST_CERTS "/root.crt");
    pea_trust_ask(a.trust, vouched, NULL);
    pea_trust_ask(b.trust, vouched, NULL);
    uint16_t port = pea_listener_addr(n.b.listener)->port;
    (void)snprintf(text, sizeof text, "Server.Mesh.Example.:%u", port);
    check_ok(pea_node_connect(n.a.node, text, NULL, NULL, &why));
    net_wait(&n, n.a.connects == 1 && n.b.connects == 1);
    check_peers();
    (void)snprintf(text, sizeof text, "elsewhere.example:%u", port);
    check_ok(pea_node_connect(n.a.node, text, PEA_DIAL(.again = true), NULL, &why));
    net_wait(&n, n.a.failures == 1 && n.b.failures + n.b.disconnects == 1);
    check_err(n.a.reason.err, PEA_E_REFUSED);
    assert_non_null(strstr(n.a.reason.text, "wrong name: it is not for elsewhere.example"));
    check_ok(pea_node_connect(n.a.node, text, PEA_DIAL(.name = "server.mesh.example", .again = true), NULL, &why));
    net_wait(&n, n.a.connects == 2 && n.b.connects == 2);
    check_ok(pea_node_connect(n.a.node, text, PEA_DIAL(.name = "", .again = true), NULL, &why));
    net_wait(&n, n.a.connects == 3 && n.b.connects == 3);
    close_pair();
}

/* The roots of `ca:` rules, as they come: what was a stranger's certificate is a name's the next time. */
static void names_by_a_rule(void **state)
{
    static const char rule[] = "ca:" PEA_TEST_CERTS "/root.crt dns:%s.mesh.example name=%s";
    char line[600];
    pea_error why;
    (void)state;
    open_pair(PEA_NATIVE, "client", "server_chain", NULL);
    (void)snprintf(line, sizeof line, rule, "client", "caller");
    if (pea_trust_add(b.trust, line, &why) != PEA_OK)
        fail_msg("%s", why.text);
    dial(NULL);
    net_wait(&n, n.a.failures == 1 && n.b.failures == 1);
    check_err(n.a.reason.err, PEA_E_REFUSED); /* it came with its authority's certificate: it cannot stand alone */
    assert_non_null(strstr(n.a.reason.text, "not trusted"));
    (void)snprintf(line, sizeof line, rule, "server", "callee");
    check_ok(pea_trust_add(a.trust, line, &why));
    dial(NULL);
    net_wait(&n, n.a.connects == 1 && n.b.connects == 1);
    check_peers();
    assert_string_equal(pea_conn_peer(n.a.conn)->name, "callee");
    assert_string_equal(pea_conn_peer(n.b.conn)->name, "caller");
    close_pair();
}

static void a_stranger_is_told_so(void **state)
{
    (void)state;
    open_pinned(PEA_NATIVE, "self_a", "self_b");
    check_ok(pea_trust_forget(b.trust, &a.peer));
    dial(NULL);
    net_wait(&n, n.a.failures == 1 && n.b.failures == 1);
    check_err(n.b.reason.err, PEA_E_REFUSED);
    assert_true(pea_peer_equal(&n.b.info.peer, &a.peer));
    check_err(n.a.reason.err, PEA_E_REJECTED);
    assert_int_equal(n.a.reason.code & ~PEA_CODE_PERMANENT, PEA_CODE_DENIED);
    close_pair();
}

/* In a foreign mode there is nothing but an alert, and a client of TLS 1.3 hears it when it is connected already. */
static void a_stranger_of_a_foreign_mode(void **state)
{
    (void)state;
    open_pinned(PEA_STREAM, "self_a", "self_b");
    check_ok(pea_trust_forget(b.trust, &a.peer));
    dial(NULL);
    net_wait(&n, n.a.failures + n.a.disconnects == 1 && n.b.failures == 1);
    check_err(n.b.reason.err, PEA_E_REFUSED);
    check_err(n.a.reason.err, PEA_E_REJECTED);
    assert_int_equal(n.a.connects, version == PEA_TLS_1_3);
    assert_string_equal(n.a.reason.text, "the peer's alert: access_denied (49)");
    close_pair();
}

static void a_client_that_refuses(void **state)
{
    (void)state;
    for (pea_mode mode = PEA_NATIVE; mode <= PEA_STREAM; mode++) {
        open_pinned(mode, "self_a", "self_b");
        check_ok(pea_trust_forget(a.trust, &b.peer));
        dial(NULL);
        net_wait(&n, n.a.failures == 1 && n.b.failures == 1);
        check_err(n.a.reason.err, PEA_E_REFUSED);
        assert_true(pea_peer_equal(&n.a.info.peer, &b.peer));
        check_err(n.b.reason.err, PEA_E_REJECTED);
        assert_string_equal(n.b.reason.text, "the peer's alert: access_denied (49)");
        close_pair();
    }
}

static void a_revoked_peer_goes(void **state)
{
    (void)state;
    for (pea_mode mode = PEA_NATIVE; mode <= PEA_STREAM; mode++) {
        open_pinned(mode, "self_a", "self_b");
        dial(NULL);
        net_wait(&n, n.a.connects == 1 && n.b.connects == 1);
        check_ok(pea_trust_deny(b.trust, &a.peer, NULL));
        net_wait(&n, n.a.disconnects == 1 && n.b.disconnects == 1);
        assert_int_equal(n.b.reason.origin, PEA_BY_POLICY);
        if (mode == PEA_NATIVE) /* else close_notify is all that can be said */
            assert_int_equal(n.a.reason.code, PEA_CODE_REVOKED | PEA_CODE_PERMANENT);
        close_pair();
    }
}

/* A library of which operators should know something is logged once, however many nodes there are. */
static void the_log_says_once(void **state)
{
    bool old = strstr(pea_tls_library(), "mbedTLS 2.") != NULL;
    pea_node *more;
    (void)state;
    open_pinned(PEA_NATIVE, "self_a", "self_b");
    check_ok(pea_node_new(&more, n.runtime, PEA_NODE(.chain = b.chain), NULL));
    dial(NULL);
    net_wait(&n, n.a.connects == 1 && n.b.connects == 1);
    if (old) {
        assert_int_equal(n.warnings, 1);
        assert_non_null(strstr(n.warning, "a compatibility build"));
    }
    pea_node_free(more);
    close_pair();
}

static void a_cut_is_no_end(void **state)
{
    (void)state;
    for (pea_mode mode = PEA_NATIVE; mode <= PEA_STREAM; mode++) {
        open_pinned(mode, "self_a", "self_b");
        dial(NULL);
        net_wait(&n, n.a.connects == 1 && n.b.connects == 1);
        pea_conn_abort(n.a.conn);
        net_wait(&n, n.b.disconnects == 1);
        assert_true(n.b.reason.err == PEA_E_TRUNCATED || n.b.reason.err == PEA_E_RESET);
        close_pair();
    }
}

/* ---- Two versions ---- */

static void set_version(const char *text)
{
    version = strcmp(text, "1.3") == 0 ? PEA_TLS_1_3 : PEA_TLS_1_2;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_by_a_rule),
        cmocka_unit_test(pinned_keys_talk),
        cmocka_unit_test(names_by_a_root),
        cmocka_unit_test(the_host_is_the_name),
        cmocka_unit_test(a_stranger_is_told_so),
        cmocka_unit_test(a_client_that_refuses),
        cmocka_unit_test(a_stranger_of_a_foreign_mode),
        cmocka_unit_test(a_cut_is_no_end),
        cmocka_unit_test(a_revoked_peer_goes),
        cmocka_unit_test(the_log_says_once),
    };
    const char *text = argc > 1 ? argv[1] : "1.2";
    set_version(text);
    own_records = argc > 2 && strcmp(argv[2], "own") == 0;
    if (strstr(pea_tls_library(), text) == NULL ||
        (version == PEA_TLS_1_3 && strstr(pea_tls_library(), "TLS 1.3") == NULL)) {
        printf("skipped: TLS %s is not spoken here (%s)\n", text, pea_tls_library());
        return 77;
    }
    printf("TLS %s by %s%s\n", text, pea_tls_library(), own_records ? ", records of our own" : "");
    return cmocka_run_group_tests_name("nodes over TLS", tests, NULL, NULL);
}
