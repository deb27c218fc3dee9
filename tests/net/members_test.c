/* SPDX-License-Identifier: MIT */
/* Nodes that know a root and not each other, on real sockets: who is let in by his certificate, who is not and hears
 * why, and what ends those who are in. What one pipe does is unit/noise_certificate_test.c's business. */
#include "support/net.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "peapod/cert.h"
#include "peapod/chain.h"
#include "peapod/trust.h"

enum { MEMBERS = 8 };

static const uint8_t network[PEA_NETWORK_BYTES] = {1, 2, 3};

/* One of those who dial. */
typedef struct member {
    pea_identity *identity;
    pea_peer peer;
    pea_chain *chain;
    uint64_t conn;
    unsigned connects, ends; /* disconnects and failures */
    pea_reason reason;
} member;

static net n;
static pea_root *root, *new_root;
static char root_text[PEA_ROOT_TEXT_BYTES], new_text[PEA_ROOT_TEXT_BYTES];
static pea_trust *server_trust, *client_trust;
static pea_chain *server_chain;
static member members[MEMBERS];
static char folder[64], rules[96];
static int64_t server_ends; /* its certificate does; 0: not now */

static int64_t in_seconds(int64_t s)
{
    return (int64_t)time(NULL) + s;
}

static pea_chain *chain_with(pea_identity *identity, const pea_root *by, const pea_cert_opts *opts)
{
    pea_cert *cert = NULL;
    pea_chain *chain;
    pea_peer peer;
    pea_error why = {.code = PEA_OK};
    pea_identity_peer(identity, &peer);
    if (by != NULL) {
        pea_cert_opts o = *opts;
        o.key = peer.id;
        o.network = network;
        if (o.not_after == 0)
            o.not_after = in_seconds(3600);
        check_ok(pea_cert_issue(&cert, by, &o, NULL));
    }
    check_ok(pea_chain_new(&chain, PEA_CHAIN(.network = network), NULL));
    check_ok(pea_chain_noise(chain, PEA_NOISE(.identity = identity, .certificate = cert), &why));
    pea_cert_unref(cert);
    return chain;
}

static void add_member(member *m, const pea_root *by, const pea_cert_opts *opts)
{
    *m = (member){.conn = 0};
    check_ok(pea_identity_generate(&m->identity, NULL));
    pea_identity_peer(m->identity, &m->peer);
    m->chain = chain_with(m->identity, by, opts);
}

static void write_rules(const char *text)
{
    char fresh[128];
    (void)snprintf(fresh, sizeof fresh, "%s.new", rules);
    FILE *f = fopen(fresh, "w");
    assert_non_null(f);
    (void)fputs(text, f);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(fresh, 0600), 0);
    assert_int_equal(rename(fresh, rules), 0);
}

static void on_connect(net_side *side, pea_conn *conn)
{
    (void)side;
    ((member *)pea_conn_user(conn))->connects++;
}

static void on_disconnect(net_side *side, pea_conn *conn)
{
    member *m = pea_conn_user(conn);
    m->ends++;
    m->reason = side->reason;
}

static void on_failed(net_side *side)
{
    for (size_t i = 0; i < MEMBERS; i++)
        if (members[i].conn == side->info.id) {
            members[i].ends++;
            members[i].reason = side->reason;
        }
}

/* n.b serves under the name "server", by the rules of a file; n.a dials as any member, and trusts the root alone. */
static void open_fleet(const char *text)
{
    char line[128];
    pea_identity *identity;
    uint8_t key[PEA_KEY_BYTES];
    check_ok(pea_root_generate(&root, NULL));
    check_ok(pea_root_generate(&new_root, NULL));
    pea_root_public(root, key);
    (void)pea_root_key_format(key, root_text);
    pea_root_public(new_root, key);
    (void)pea_root_key_format(key, new_text);
    (void)snprintf(folder, sizeof folder, "/tmp/peapod-members-XXXXXX");
    assert_non_null(mkdtemp(folder));
    (void)snprintf(rules, sizeof rules, "%s/authorized_peers", folder);
    char whole[512];
    (void)snprintf(whole, sizeof whole, "%s %s\n", root_text, text);
    write_rules(whole);
    check_ok(pea_trust_new(&server_trust));
    check_ok(pea_trust_load(server_trust, rules, NULL));
    check_ok(pea_trust_new(&client_trust));
    (void)snprintf(line, sizeof line, "%s names=server", root_text);
    check_ok(pea_trust_add(client_trust, line, NULL));
    check_ok(pea_identity_generate(&identity, NULL));
    server_chain = chain_with(identity, root, PEA_CERT(.name = "server", .roles = "db", .not_after = server_ends));
    pea_identity_unref(identity);
    net_setup(&n, PEA_NATIVE);
    net_node(&n.b, PEA_NODE(.chain = server_chain, .policy = pea_trust_policy(server_trust)));
    net_listen(&n.b);
    net_node(&n.a, PEA_NODE(.chain = server_chain, .policy = pea_trust_policy(client_trust)));
    n.a.on_connect = on_connect;
    n.a.on_disconnect = on_disconnect;
    n.a.on_failed = on_failed;
}

static void close_fleet(void)
{
    net_teardown(&n);
    for (size_t i = 0; i < MEMBERS; i++) {
        pea_chain_unref(members[i].chain);
        pea_identity_unref(members[i].identity);
        members[i] = (member){.conn = 0};
    }
    pea_chain_unref(server_chain);
    pea_trust_unref(server_trust);
    pea_trust_unref(client_trust);
    pea_root_free(root);
    pea_root_free(new_root);
    assert_int_equal(unlink(rules), 0);
    assert_int_equal(rmdir(folder), 0);
}

static void dial(member *m, const char *name)
{
    check_ok(pea_node_connect(n.a.node, n.b.addr, PEA_DIAL(.chain = m->chain, .user = m, .again = true, .name = name),
                              &m->conn, NULL));
}

/* Dials, and waits until that has come to something on both sides. */
static void try(member *m, const char *name)
{
    unsigned was = n.b.connects + n.b.failures + n.b.disconnects;
    dial(m, name);
    net_wait(&n, m->connects + m->ends > 0 && n.b.connects + n.b.failures + n.b.disconnects > was);
}

static void is_in(member *m, const char *name, const char *role)
{
    try(m, NULL);
    assert_int_equal(m->connects, 1);
    const pea_peer *seen = pea_conn_peer(n.b.conn);
    assert_true(pea_peer_equal(seen, &m->peer));
    assert_string_equal(seen->name, name);
    assert_string_equal(seen->role, role);
    assert_true(pea_conn_peer(n.a.conn)->role[0] == '\0'); /* this side's line gives none */
    assert_string_equal(pea_conn_peer(n.a.conn)->name, "server");
}

static void is_refused(member *m, uint16_t code)
{
    try(m, NULL);
    assert_int_equal(m->connects, 0);
    assert_int_equal(m->reason.origin, PEA_BY_PEER);
    assert_int_equal(m->reason.code, code | PEA_CODE_PERMANENT);
    assert_int_equal(n.b.reason.origin, PEA_BY_POLICY);
}

/* ---- Who is let in ---- */

static void who_is_let_in(void **state)
{
    (void)state;
    open_fleet("names=web-*,db-1 roles=web,db");
    add_member(&members[0], root, PEA_CERT(.name = "web-1", .roles = "web,admin"));
    add_member(&members[1], root, PEA_CERT(.name = "db-1", .roles = "web,db"));
    add_member(&members[2], root, PEA_CERT(.name = "mail", .roles = "web"));
    add_member(&members[3], new_root, PEA_CERT(.name = "web-2"));
    add_member(&members[4], NULL, NULL);
    add_member(&members[5], root, PEA_CERT(.name = "web-3", .not_before = 1, .not_after = in_seconds(-1)));
    add_member(&members[6], root, PEA_CERT(.name = "web-4", .not_before = in_seconds(3000)));
    is_in(&members[0], "web-1", "web");
    is_in(&members[1], "db-1", "db,web");
    is_refused(&members[2], PEA_CODE_DENIED);
    is_refused(&members[3], PEA_CODE_DENIED);
    is_refused(&members[4], PEA_CODE_DENIED);
    is_refused(&members[5], PEA_CODE_EXPIRED);
    is_refused(&members[6], PEA_CODE_EXPIRED);
    close_fleet();
}

/* Who dials under a name wants a certificate of that name. */
static void the_name_that_was_dialled(void **state)
{
    (void)state;
    open_fleet("names=*");
    add_member(&members[0], root, PEA_CERT(.name = "a"));
    add_member(&members[1], root, PEA_CERT(.name = "b"));
    try(&members[0], "server");
    assert_int_equal(members[0].connects, 1);
    try(&members[1], "other");
    assert_int_equal(members[1].connects, 0);
    assert_int_equal(members[1].reason.origin, PEA_BY_POLICY);
    assert_non_null(strstr(members[1].reason.text, "its certificate is for server, and other was dialled"));
    assert_int_equal(n.b.connects, 1); /* the server has not learnt who it was */
    close_fleet();
}

/* ---- What ends those who are in ---- */

static void let_in(size_t count)
{
    for (size_t i = 0; i < count; i++)
        dial(&members[i], NULL);
    net_wait(&n, n.a.connects == count && n.b.connects == count);
}

static void revoked_ones_go(void **state)
{
    char text[512], id[PEA_PEER_TEXT_BYTES];
    (void)state;
    open_fleet("names=*");
    (void)snprintf(text, sizeof text, "%s names=*\n%s names=*\n", root_text, new_text);
    write_rules(text);
    check_ok(pea_trust_reload(server_trust, NULL));
    for (size_t i = 0; i < 4; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "m-%zu", i);
        add_member(&members[i], i == 3 ? new_root : root, PEA_CERT(.name = name));
    }
    let_in(4);
    /* A key, then a name, then the root with all that it has signed. */
    (void)snprintf(text, sizeof text, "%s names=*\n%s names=*\ndeny %s\n", root_text, new_text,
                   pea_peer_format(&members[0].peer, id));
    write_rules(text); /* nobody calls anything: the runtime sees it */
    net_wait(&n, members[0].ends == 1 && n.b.disconnects == 1);
    (void)snprintf(text, sizeof text, "%s names=*\n%s names=*\ndeny %s names=m-1\n", root_text, new_text, root_text);
    write_rules(text);
    net_wait(&n, members[1].ends == 1 && n.b.disconnects == 2);
    (void)snprintf(text, sizeof text, "%s names=*\n%s names=*\ndeny %s\n", root_text, new_text, root_text);
    write_rules(text);
    net_wait(&n, members[2].ends == 1 && n.b.disconnects == 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(members[i].reason.origin, PEA_BY_PEER);
        assert_int_equal(members[i].reason.code, PEA_CODE_REVOKED | PEA_CODE_PERMANENT);
    }
    assert_int_equal(members[3].ends, 0); /* nobody else notices */
    close_fleet();
}

/* Roots change by two lines: nobody goes but who still has a certificate of the old one when its line does. */
static void roots_change(void **state)
{
    char text[512];
    (void)state;
    open_fleet("names=*");
    add_member(&members[0], root, PEA_CERT(.name = "old"));
    let_in(1);
    (void)snprintf(text, sizeof text, "%s names=*\n%s names=*\n", root_text, new_text);
    write_rules(text);
    check_ok(pea_trust_reload(server_trust, NULL));
    add_member(&members[1], new_root, PEA_CERT(.name = "new"));
    is_in(&members[1], "new", "");
    assert_int_equal(members[0].ends, 0);
    (void)snprintf(text, sizeof text, "%s names=*\n", new_text);
    write_rules(text);
    check_ok(pea_trust_reload(server_trust, NULL));
    net_wait(&n, members[0].ends == 1 && n.b.disconnects == 1);
    assert_int_equal(members[0].reason.code, PEA_CODE_REVOKED | PEA_CODE_PERMANENT);
    assert_int_equal(members[1].ends, 0);
    close_fleet();
}

/* The rules say nothing of time: the certificate does, and the runtime wakes up for it. */
static void a_session_ends_with_its_certificate(void **state)
{
    struct timespec now;
    (void)state;
    open_fleet("names=*");
    int64_t end = in_seconds(2); /* long enough to be let in */
    add_member(&members[0], root, PEA_CERT(.name = "short", .not_after = end));
    add_member(&members[1], root, PEA_CERT(.name = "long"));
    dial(&members[1], NULL);
    net_wait(&n, n.b.connects == 1);
    dial(&members[0], NULL);
    net_wait(&n, members[0].connects + members[0].ends > 0);
    net_wait(&n, members[0].ends == 1);
    assert_int_equal(clock_gettime(CLOCK_REALTIME, &now), 0);
    assert_true(now.tv_sec >= end);
    assert_int_equal(members[0].reason.origin, PEA_BY_PEER);
    assert_int_equal(members[0].reason.code, PEA_CODE_EXPIRED | PEA_CODE_PERMANENT);
    assert_int_equal(members[1].ends, 0);
    close_fleet();
}

/* The same of who was dialled; and no file is looked at meanwhile: the runtime has to wake up for this alone. */
static void so_does_ours(void **state)
{
    (void)state;
    server_ends = in_seconds(2);
    open_fleet("names=*");
    server_ends = 0;
    add_member(&members[0], root, PEA_CERT(.name = "a"));
    dial(&members[0], NULL);
    net_wait(&n, members[0].ends == 1);
    if (members[0].connects == 1) { /* else it was too late to be let in, on this machine */
        assert_int_equal(members[0].reason.origin, PEA_BY_POLICY);
        assert_int_equal(members[0].reason.code, PEA_CODE_EXPIRED | PEA_CODE_PERMANENT);
        net_wait(&n, n.b.disconnects == 1);
        assert_int_equal(n.b.reason.code, PEA_CODE_EXPIRED | PEA_CODE_PERMANENT);
    }
    close_fleet();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_let_in),
        cmocka_unit_test(the_name_that_was_dialled),
        cmocka_unit_test(revoked_ones_go),
        cmocka_unit_test(roots_change),
        cmocka_unit_test(a_session_ends_with_its_certificate),
        cmocka_unit_test(so_does_ours),
    };
    return cmocka_run_group_tests_name("members of a fleet", tests, NULL, NULL);
}
