/* SPDX-License-Identifier: MIT */
/* Who says what when it refuses, over TLS: the rows of docs/wire.md's table that concern it, from either side, native
 * and foreign, in each version that this build speaks, on real sockets. What foreign programs see of it is
 * tests/interop/tls/run's to show. */
#include "peapod/chain.h"
#include "peapod/trust.h"
#include "support/net.h"
#include "support/relay.h"
#include "support/toys.h"

#include <stdio.h>
#include <stdlib.h>

static net n;
static relay man;

/* How one side is made. All zero: a good certificate, and whoever is vouched for by the root may come. */
typedef struct config {
    const char *cert;    /* NULL: client, server */
    const char *pin;     /* this certificate's key is let in, and no root is configured */
    const char *expect;  /* (a) this certificate's key must answer */
    const char *name;    /* (a) this name must be proven */
    bool denies;         /* the policy refuses the other side's good certificate */
    bool waits;          /* the policy's last answer comes when the test says so */
    bool mute;           /* (a) shows no certificate */
    uint8_t network;     /* the network id's first byte (native) */
    const char *login;   /* a plain dialogue after TLS in which this is said and wanted; NULL: there is none */
    bool foreign;        /* whatever the other side is */
    const char *alpn[2]; /* of a foreign chain */
} config;

typedef struct party {
    pea_identity *identity;
    pea_peer peer;
    pea_trust *trust;
    pea_chain *chain;
    toy_talk talk;
    bool waits, proven; /* proven: the policy has been asked for the last time, and TLS is complete */
    pea_ticket ticket;  /* if it waits */
} party;

static party a, b; /* a dials, b listens */

static void load(pea_identity **identity, const char *name)
{
    pea_error why;
    char certificate[512], key[512];
    (void)snprintf(certificate, sizeof certificate, "%s/%s.crt", PEA_TEST_CERTS, name);
    (void)snprintf(key, sizeof key, "%s/%s.key", PEA_TEST_CERTS, name);
    if (pea_identity_load_certificate(identity, certificate, key, NULL, NULL, &why) != PEA_OK)
        fail_msg("%s", why.text);
}

static pea_peer holder(const char *cert)
{
    pea_identity *identity;
    pea_peer peer;
    load(&identity, cert);
    pea_identity_peer(identity, &peer);
    pea_identity_unref(identity);
    return peer;
}

/* The root's certificate. The caller frees it. */
static pea_span root(void)
{
    char *text = malloc(8192);
    FILE *file = fopen(PEA_TEST_CERTS "/root.crt", "r");
    assert_true(text != NULL && file != NULL);
    size_t len = fread(text, 1, 8192, file);
    fclose(file);
    return (pea_span){(const uint8_t *)text, len};
}

/* Who is vouched for may come. */
static pea_err vouched(void *arg, pea_peer *peer, const pea_candidate *candidate)
{
    party *p = arg;
    (void)peer;
    p->proven = candidate->proven;
    p->ticket = candidate->ticket;
    if (candidate->vouch == NULL)
        return PEA_E_REFUSED;
    return p->waits && p->proven ? PEA_WAIT : PEA_OK;
}

static void party_make(party *p, const config *c, const char *cert, pea_mode mode, pea_tls_version version)
{
    pea_error why;
    uint8_t network[PEA_NETWORK_BYTES] = {c->network};
    pea_span roots = c->pin != NULL ? (pea_span){NULL, 0} : root();
    mode = c->foreign ? PEA_STREAM : mode;
    load(&p->identity, c->cert != NULL ? c->cert : cert);
    pea_identity_peer(p->identity, &p->peer);
    p->waits = c->waits;
    p->proven = false;
    check_ok(pea_trust_new(&p->trust));
    if (c->pin != NULL) {
        const pea_peer pinned = holder(c->pin);
        check_ok(pea_trust_allow(p->trust, &pinned, NULL, NULL, &why));
    } else if (!c->denies) {
        pea_trust_ask(p->trust, vouched, p);
    }
    check_ok(pea_chain_new(&p->chain, PEA_CHAIN(.mode = mode, .network = mode == PEA_NATIVE ? network : NULL), &why));
    if (pea_chain_tls(p->chain,
                      PEA_TLS(.identity = c->mute ? NULL : p->identity, .roots = roots, .lowest = version,
                              .highest = version, .alpn = c->alpn[0] != NULL ? c->alpn : NULL, .server_only = c->mute),
                      &why) != PEA_OK)
        fail_msg("%s", why.text);
    p->talk = (toy_talk){c->login, "welcome\n"};
    if (c->login != NULL)
        check_ok(pea_chain_add(p->chain, &toy_talk_ops, &p->talk, NULL));
    free((void *)(uintptr_t)roots.data);
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

static void open_pair(const config *ca, const config *cb, pea_mode mode, pea_tls_version version)
{
    net_setup(&n, PEA_NATIVE);
    party_make(&a, ca, "client", mode, version);
    party_make(&b, cb, "server", mode, version);
    node_make(&n.a, &a);
    node_make(&n.b, &b);
    net_listen(&n.b);
    relay_open(&man, n.loop, n.b.addr);
}

static void close_pair(void)
{
    relay_close(&man);
    net_teardown(&n);
    party_free(&a);
    party_free(&b);
}

static void dial(const config *c)
{
    pea_error why;
    pea_peer expect;
    if (c->expect != NULL)
        expect = holder(c->expect);
    if (pea_node_connect(n.a.node, man.addr, PEA_DIAL(.expect = c->expect != NULL ? &expect : NULL, .name = c->name),
                         NULL, &why) != PEA_OK)
        fail_msg("%s", why.text);
}

static void wait_ended(void)
{
    net_wait(&n, n.a.disconnects + n.a.failures == 1 && n.b.disconnects + n.b.failures == 1);
}

static const pea_tls_version versions[] = {PEA_TLS_1_2, PEA_TLS_1_3};

static bool spoken(pea_tls_version version)
{
    const char *all = strstr(pea_tls_library(), ": TLS ");
    return all != NULL && strstr(all, version == PEA_TLS_1_2 ? "1.2" : "1.3") != NULL;
}

/* Runs a case in each version that is spoken, native and foreign. */
static void everywhere(void (*run)(pea_mode mode, pea_tls_version version))
{
    for (unsigned v = 0; v < 2; v++)
        for (pea_mode mode = PEA_NATIVE; mode <= PEA_STREAM && spoken(versions[v]); mode++)
            run(mode, versions[v]);
}

/* Who refuses says `ours` in its reason, and whoever is refused hears `theirs`. "": whatever. */
static void check_ends(const net_side *judge, pea_err err, const char *ours, const net_side *other, pea_err other_err,
                       const char *theirs, const char *what, pea_mode mode, pea_tls_version version)
{
    if (judge->connects == 0 && judge->reason.err == err && strstr(judge->reason.text, ours) != NULL &&
        other->reason.err == other_err && strstr(other->reason.text, theirs) != NULL)
        return;
    fail_msg("%s, refused by %s, mode %d, version %x: %s (%s), the other side %s (%s)", what, judge == &n.a ? "a" : "b",
             (int)mode, (unsigned)version, pea_err_name(judge->reason.err), judge->reason.text,
             pea_err_name(other->reason.err), other->reason.text);
}

/* Nobody is connected and no message passed. A client of TLS 1.3 has done its part before it is judged: in a foreign
 * mode it may think itself connected for a moment. */
static void check_nobody(bool by_b, pea_mode mode, pea_tls_version version)
{
    if (!by_b || mode == PEA_NATIVE || version == PEA_TLS_1_2)
        assert_int_equal(n.a.connects, 0);
    assert_int_equal(n.b.connects + n.a.messages + n.b.messages, 0);
}

/* ---- Bad certificates: an alert, and both sides name it. Some a server of ours, or whoever has such a key, does not
 * show: tests/interop/tls/run has peers that do ---- */

typedef struct bad {
    const char *cert, *pin;
    bool from_a, from_b; /* who may show it: it can be good for one side */
    const char *name;    /* that a dials, where b shows it */
    const char *ours;    /* in the reason of who refuses */
    const char *alert;   /* in the reason of who is refused */
} bad;

#define SERVER "server.mesh.example"
static const bad bad_certificates[] = {
    {"bad_expired", NULL, true, true, NULL, "has expired", "certificate_expired (45)"},
    {"bad_not_yet", NULL, true, true, NULL, "is not yet valid", "certificate_unknown (46)"},
    {"bad_name", NULL, false, true, SERVER, "wrong name: it is not for server.mesh.example", "bad_certificate (42)"},
    {"bad_no_names", NULL, false, true, SERVER, "wrong name", "bad_certificate (42)"},
    {"bad_nul_name", NULL, true, true, NULL, "its names cannot be read", "access_denied (49)"},
    {"bad_usage", NULL, true, false, NULL, "its key usage is wrong", "unsupported_certificate (43)"},
    {"bad_eku", NULL, true, false, NULL, "its extended key usage is wrong", "unsupported_certificate (43)"},
    {"bad_eku_client", NULL, true, false, NULL, "its extended key usage is wrong", "unsupported_certificate (43)"},
    {"bad_ca_leaf", NULL, true, false, NULL, "CA as leaf", "unsupported_certificate (43)"},
    {"bad_second", "self_a", true, true, NULL, "no configured root verifies it", "unknown_ca (48)"},
    {"bad_second_named", "self_a", true, true, NULL, "no configured root verifies it", "unknown_ca (48)"},
    {"bad_second_root", NULL, true, true, NULL, "no configured root verifies it", "unknown_ca (48)"},
    {"bad_long", NULL, true, true, NULL, "its chain is too long", "access_denied (49)"},
    {"bad_middle_expired", NULL, true, true, NULL, "has expired", "certificate_expired (45)"},
    {"bad_middle_leaf", NULL, true, true, NULL, "no configured root verifies it", "unknown_ca (48)"},
    {"bad_path", NULL, true, true, NULL, "no configured root verifies it", "unknown_ca (48)"},
    {"bad_sha1", NULL, true, true, NULL, "signed over a weak hash", "certificate_unknown (46)"},
};

static void shown(const bad *row, bool by_a, pea_mode mode, pea_tls_version version)
{
    const config shows = {.cert = row->cert}, judges = {.pin = row->pin, .name = by_a ? NULL : row->name};
    open_pair(by_a ? &shows : &judges, by_a ? &judges : &shows, mode, version);
    dial(by_a ? &shows : &judges);
    wait_ended();
    const net_side *judge = by_a ? &n.b : &n.a, *other = by_a ? &n.a : &n.b;
    check_ends(judge, PEA_E_REFUSED, row->ours, other, PEA_E_REJECTED, row->alert, row->cert, mode, version);
    assert_string_equal(judge->reason.stage, "tls");
    check_nobody(by_a, mode, version);
    close_pair();
}

static void bad_certificate(pea_mode mode, pea_tls_version version)
{
    for (size_t i = 0; i < sizeof bad_certificates / sizeof bad_certificates[0]; i++) {
        if (bad_certificates[i].from_a)
            shown(&bad_certificates[i], true, mode, version);
        if (bad_certificates[i].from_b)
            shown(&bad_certificates[i], false, mode, version);
    }
}

static void a_bad_certificate(void **state)
{
    (void)state;
    everywhere(bad_certificate);
}

/* ---- A good certificate, and the policy or the expectation says no ---- */

typedef struct no {
    config a, b;
    bool by_b;
    const char *ours;
    const char *native, *foreign; /* what the other side hears */
} no;

#define DENIED_49 "the peer's alert: access_denied (49)"
#define NO_ROOT "no configured root verifies it"
#define UNKNOWN_48 "the peer's alert: unknown_ca (48)"

static const no noes[] = {
    {.a = {.denies = true}, .ours = "", .native = DENIED_49, .foreign = DENIED_49},
    {.a = {.expect = "self_a"}, .ours = "not the one that was expected", .native = DENIED_49, .foreign = DENIED_49},
    {.a = {.pin = "self_b"}, .ours = "no rule names", .native = DENIED_49, .foreign = DENIED_49},
    {.b = {.cert = "bad_unknown"}, .ours = NO_ROOT, .native = UNKNOWN_48, .foreign = UNKNOWN_48},
    {.b = {.cert = "bad_other_ca"}, .ours = NO_ROOT, .native = UNKNOWN_48, .foreign = UNKNOWN_48},
    {.b = {.cert = "bad_forged"}, .ours = NO_ROOT, .native = UNKNOWN_48, .foreign = UNKNOWN_48},
    {.by_b = true, .b = {.denies = true}, .ours = "", .native = "not admitted", .foreign = DENIED_49},
    {.by_b = true, .b = {.pin = "self_b"}, .ours = "no rule names", .native = "not admitted", .foreign = DENIED_49},
    {.by_b = true, .a = {.cert = "bad_unknown"}, .ours = NO_ROOT, .native = "not admitted", .foreign = UNKNOWN_48},
    {.by_b = true, .a = {.cert = "bad_other_ca"}, .ours = NO_ROOT, .native = "not admitted", .foreign = UNKNOWN_48},
    {.by_b = true, .a = {.cert = "bad_forged"}, .ours = NO_ROOT, .native = "not admitted", .foreign = UNKNOWN_48},
};

static void said_no(pea_mode mode, pea_tls_version version)
{
    for (size_t i = 0; i < sizeof noes / sizeof noes[0]; i++) {
        const no *row = &noes[i];
        char what[32];
        (void)snprintf(what, sizeof what, "no %zu", i);
        open_pair(&row->a, &row->b, mode, version);
        dial(&row->a);
        wait_ended();
        const net_side *judge = row->by_b ? &n.b : &n.a, *other = row->by_b ? &n.a : &n.b;
        check_ends(judge, PEA_E_REFUSED, row->ours, other, PEA_E_REJECTED,
                   mode == PEA_NATIVE ? row->native : row->foreign, what, mode, version);
        assert_int_equal(judge->reason.origin, PEA_BY_POLICY);
        assert_true(pea_peer_equal(&judge->info.peer, row->by_b ? &a.peer : &b.peer)); /* who was refused is known */
        if (row->by_b && mode == PEA_NATIVE)
            assert_int_equal(other->reason.code, PEA_CODE_DENIED | PEA_CODE_PERMANENT);
        if (!row->by_b) /* it has not said who it is to somebody whom it does not want */
            assert_int_equal(other->info.peer.kind, PEA_PEER_NONE);
        check_nobody(row->by_b, mode, version);
        close_pair();
    }
}

static void the_policy_or_the_expectation(void **state)
{
    (void)state;
    everywhere(said_no);
}

/* ---- No certificate, no common protocol, another network ---- */

static void showed_none(pea_mode mode, pea_tls_version version)
{
    const config mute = {.mute = true}, plain = {0};
    open_pair(&mute, &plain, mode, version);
    dial(&mute);
    wait_ended();
    check_ends(&n.b, PEA_E_REFUSED, "the peer's certificate: it showed none", &n.a, PEA_E_REJECTED,
               "the peer's alert: ", "none", mode, version);
    check_nobody(true, mode, version);
    close_pair();
}

static void no_certificate(void **state)
{
    (void)state;
    everywhere(showed_none);
}

static void other_protocol(pea_mode mode, pea_tls_version version)
{
    static const config strangers[] = {{.foreign = true}, {.foreign = true, .alpn = {"http/1.1"}}};
    const config own = {.alpn = {"h2"}}; /* a native chain has its own */
    for (size_t i = 0; i < 4; i++) {
        bool by_b = i % 2 == 0;
        const config *stranger = &strangers[i / 2], mine = mode == PEA_STREAM ? own : (config){0};
        open_pair(by_b ? stranger : &mine, by_b ? &mine : stranger, mode, version);
        dial(by_b ? stranger : &mine);
        wait_ended();
        const net_side *mine_side = by_b ? &n.b : &n.a, *other = by_b ? &n.a : &n.b;
        if (!by_b && i / 2 == 1) { /* a server of mbedTLS's sees first that there is nothing in common */
            mine_side = other;
            other = &n.a;
        }
        check_ends(mine_side, PEA_E_PROTO, "", other, PEA_E_REJECTED, "no_application_protocol (120)", "protocol", mode,
                   version);
        check_nobody(false, mode, version);
        close_pair();
    }
}

static void no_common_protocol(void **state)
{
    (void)state;
    everywhere(other_protocol);
}

static void another_network(void **state)
{
    const config seven = {.network = 7}, eight = {.network = 8};
    (void)state;
    for (unsigned v = 0; v < 2; v++) {
        if (!spoken(versions[v]))
            continue;
        open_pair(&seven, &eight, PEA_NATIVE, versions[v]);
        dial(&seven);
        wait_ended();
        /* Both say HELLO, and find it out by themselves. */
        check_ends(&n.b, PEA_E_NETWORK, "names another network", &n.a, PEA_E_NETWORK, "names another network",
                   "network", PEA_NATIVE, versions[v]);
        check_nobody(false, PEA_NATIVE, versions[v]);
        close_pair();
    }
}

/* ---- Silence, and what was changed on its way ---- */

static void not_tls(pea_mode mode, pea_tls_version version)
{
    static const char *const words[] = {"GET / HTTP/1.1\r\n\r\n", "\xF1peapod\1\1", "\26\2\0\0\4\1\0\0\0"};
    const config plain = {0};
    for (size_t i = 0; i < 6; i++) {
        unsigned from = (unsigned)(i % 2);
        const char *text = words[i / 2];
        size_t len = i / 2 == 2 ? 9 : strlen(text);
        open_pair(&plain, &plain, mode, version);
        man.way[from].hold = true;
        dial(&plain);
        net_wait(&n, man.way[from].held.len > 0);
        size_t before = man.way[1 - from].passed;
        relay_say(&man, from, text, len);
        net_side *judge = from == 0 ? &n.b : &n.a;
        net_wait(&n, judge->failures == 1 && man.way[1 - from].fd >= 0);
        check_err(judge->reason.err, PEA_E_PROTO);
        assert_string_equal(judge->reason.text, "what the peer says is not TLS");
        net_wait(&n, n.a.failures + n.b.failures == 2); /* its FIN came by, behind all that it said */
        assert_int_equal(man.way[1 - from].passed, before);
        check_nobody(false, mode, version);
        close_pair();
    }
}

static void a_stranger_is_not_answered(void **state)
{
    (void)state;
    everywhere(not_tls);
}

/* Somebody changes a bit of a record when both are connected: nothing of it is delivered, and an alert says so. */
static void changed(pea_mode mode, pea_tls_version version)
{
    const config plain = {0};
    for (unsigned from = 0; from < 2; from++) {
        open_pair(&plain, &plain, mode, version);
        dial(&plain);
        net_wait(&n, n.a.connects == 1 && n.b.connects == 1);
        man.way[from].flip_at = man.way[from].passed + 20;
        check_ok(pea_conn_send(from == 0 ? n.a.conn : n.b.conn, "forty bytes that somebody meddles with..", 40));
        wait_ended();
        const net_side *judge = from == 0 ? &n.b : &n.a, *other = from == 0 ? &n.a : &n.b;
        check_err(judge->reason.err, PEA_E_CRYPTO);
        check_err(other->reason.err, PEA_E_REJECTED);
        assert_string_equal(other->reason.text, "the peer's alert: bad_record_mac (20)");
        assert_int_equal(n.a.messages + n.b.messages, 0);
        close_pair();
    }
}

static void a_changed_record(void **state)
{
    (void)state;
    everywhere(changed);
}

/* ---- After the upgrade ---- */

/* TLS is not the chain's last stage: a REJECT would be read as the next one's bytes, so that there is but an end. */
static void before_the_login(pea_mode mode, pea_tls_version version)
{
    const config denies = {.login = "login\n", .denies = true}, plain = {.login = "login\n"};
    open_pair(&plain, &denies, mode, version);
    dial(&plain);
    wait_ended();
    if (mode == PEA_NATIVE) {
        check_ends(&n.b, PEA_E_REFUSED, "", &n.a, PEA_E_TRUNCATED, "", "login", mode, version);
        assert_string_equal(n.a.reason.stage, "toy_talk");
    } else {
        check_ends(&n.b, PEA_E_REFUSED, "", &n.a, PEA_E_REJECTED, DENIED_49, "login", mode, version);
    }
    check_nobody(false, mode, version);
    close_pair();
}

static void a_refusal_before_the_last_stage(void **state)
{
    (void)state;
    everywhere(before_the_login);
}

/* One of them shuts down when TLS is complete and the other one's policy still thinks about it. */
static void shut_down(pea_mode mode, pea_tls_version version)
{
    const config waits = {.waits = true}, plain = {0};
    for (unsigned by = 0; by < 2 && mode == PEA_NATIVE; by++) {
        net_side *leaves = by == 0 ? &n.a : &n.b, *stays = by == 0 ? &n.b : &n.a;
        open_pair(by == 0 ? &plain : &waits, by == 0 ? &waits : &plain, mode, version);
        dial(&plain);
        net_wait(&n, a.proven && b.proven);
        check_ok(pea_node_shutdown(leaves->node, 0, NULL, NULL));
        check_ok(pea_post_resume(by == 0 ? b.ticket : a.ticket, PEA_OK));
        wait_ended();
        assert_int_equal(leaves->reason.origin, PEA_BY_SHUTDOWN);
        assert_int_equal(stays->reason.origin, PEA_BY_PEER);
        assert_int_equal(stays->reason.code, PEA_CODE_SHUTDOWN);
        assert_string_equal(stays->reason.text, "the node shuts down");
        assert_int_equal(leaves->connects + n.a.messages + n.b.messages, 0);
        if (by == 1) /* REJECT. An initiator that leaves has said ACCEPT, and says CLOSE */
            assert_int_equal(stays->connects, 0);
        close_pair();
    }
}

static void a_shutdown_after_the_upgrade(void **state)
{
    (void)state;
    everywhere(shut_down);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bad_certificate),
        cmocka_unit_test(the_policy_or_the_expectation),
        cmocka_unit_test(no_certificate),
        cmocka_unit_test(no_common_protocol),
        cmocka_unit_test(another_network),
        cmocka_unit_test(a_stranger_is_not_answered),
        cmocka_unit_test(a_changed_record),
        cmocka_unit_test(a_refusal_before_the_last_stage),
        cmocka_unit_test(a_shutdown_after_the_upgrade),
    };
    return cmocka_run_group_tests_name("refusals over TLS", tests, NULL, NULL);
}
