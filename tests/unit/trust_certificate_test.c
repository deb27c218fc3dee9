/* SPDX-License-Identifier: MIT */
/* pea_trust_explain_certificate(): what a handshake with the holder of a certificate would come to, without him. */
#include "peapod/tls.h"
#include "trust_scene.h"

static void place(const char *from, const char *name)
{
    char path[256], text[16384];
    (void)snprintf(path, sizeof path, "%s/%s", PEA_TEST_CERTS, from);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    size_t len = fread(text, 1, sizeof text, f);
    assert_true(len < sizeof text);
    assert_int_equal(fclose(f), 0);
    write_bytes(name, text, len);
}

static size_t certificate(const char *name, uint8_t *text, size_t size)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s.crt", PEA_TEST_CERTS, name);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    size_t len = fread(text, 1, size, f);
    assert_true(len < size);
    assert_int_equal(fclose(f), 0);
    return len;
}

static void who_comes(void **state)
{
    static const char rules[] = "ca:root.pem dns:client.mesh.example name=c\n"   /* 1 */
                                "ca:root.pem spiffe://mesh.example/* role=any\n" /* 2 */
                                "deny ca:root.pem dns:wildcard.mesh.example\n"   /* 3 */
                                "ca:other.pem dns:server.mesh.example\n";        /* 4 */
    static const struct {
        const char *name;
        pea_side ours;
        pea_err verdict;
        pea_trust_ground ground;
        uint32_t line;
        const char *says; /* a part of the sentence; or the name that is given */
    } rows[] = {
        {"client", PEA_RESPONDER, PEA_OK, PEA_TRUST_ALLOWED, 1, "c"},
        {"client_chain", PEA_RESPONDER, PEA_OK, PEA_TRUST_ALLOWED, 1, "c"},
        {"client_rsa", PEA_RESPONDER, PEA_OK, PEA_TRUST_ALLOWED, 1, "c"},
        {"server", PEA_INITIATOR, PEA_OK, PEA_TRUST_ALLOWED, 2, "spiffe://mesh.example/server"},
        {"wildcard", PEA_RESPONDER, PEA_E_REFUSED, PEA_TRUST_DENIED, 3, "denies"},
        {"self_a", PEA_RESPONDER, PEA_E_REFUSED, PEA_TRUST_NO_RULE, 0, "no rule names"},
        {"bad_expired", PEA_INITIATOR, PEA_E_REFUSED, PEA_TRUST_NO_RULE, 0, "expired"},
        {"bad_other_ca", PEA_INITIATOR, PEA_OK, PEA_TRUST_ALLOWED, 4, "server.mesh.example"},
        {"bad_forged", PEA_INITIATOR, PEA_E_REFUSED, PEA_TRUST_NO_RULE, 0, ""},
        {"bad_name", PEA_INITIATOR, PEA_E_REFUSED, PEA_TRUST_NO_RULE, 0, "no rule names"},
        {"bad_usage", PEA_INITIATOR, PEA_E_REFUSED, PEA_TRUST_NO_RULE, 0, "may not sign"},
        {"bad_eku_server", PEA_INITIATOR, PEA_E_REFUSED, PEA_TRUST_NO_RULE, 0, "not for this side"},
        {"bad_eku_client", PEA_RESPONDER, PEA_E_REFUSED, PEA_TRUST_NO_RULE, 0, "not for this side"},
        {"bad_ca_leaf", PEA_INITIATOR, PEA_E_REFUSED, PEA_TRUST_NO_RULE, 0, "CA as leaf"},
        {"bad_second_root", PEA_INITIATOR, PEA_E_REFUSED, PEA_TRUST_NO_RULE, 0, "not trusted"},
        {"bad_sha1", PEA_INITIATOR, PEA_E_REFUSED, PEA_TRUST_NO_RULE, 0, "weak hash"},
    };
    static uint8_t text[65536];
    pea_trust *t;
    (void)state;
    place("root.crt", "root.pem");
    place("other_root.crt", "other.pem");
    write_file("peers", rules);
    check_ok(pea_trust_new(&t));
    check_ok(pea_trust_load(t, in_folder("peers"), NULL));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        pea_trust_account account;
        pea_peer peer, same;
        pea_error why = {.code = PEA_OK};
        size_t len = certificate(rows[i].name, text, sizeof text);
        const pea_candidate c = {.side = rows[i].ours};
        pea_err verdict = pea_trust_explain_certificate(t, (pea_span){text, len}, &c, &peer, &account, &why);
        if (verdict != rows[i].verdict || account.ground != rows[i].ground || account.line != rows[i].line)
            fail_msg("%s: %s, ground %d, line %u: %s %s", rows[i].name, pea_err_name(verdict), (int)account.ground,
                     account.line, account.text, why.text);
        const char *told = verdict == PEA_OK ? peer.name : account.text;
        if (strstr(told, rows[i].says) == NULL)
            fail_msg("%s: '%s' is not in '%s'", rows[i].name, rows[i].says, told);
        check_ok(pea_peer_from_certificate(&same, (pea_span){text, len}, NULL));
        assert_true(pea_peer_equal(&peer, &same));
    }
    pea_trust_unref(t);
}

static void by_key(void **state)
{
    static uint8_t text[65536];
    pea_candidate c = {.side = PEA_RESPONDER};
    pea_trust_account account;
    pea_trust *t;
    pea_peer peer;
    pea_error why;
    size_t len = certificate("self_a", text, sizeof text);
    (void)state;
    check_ok(pea_trust_new(&t));
    check_ok(pea_peer_from_certificate(&peer, (pea_span){text, len}, NULL));
    check_ok(pea_trust_allow(t, &peer, "a", NULL, NULL));
    check_ok(pea_trust_explain_certificate(t, (pea_span){text, len}, &c, &peer, &account, &why));
    assert_string_equal(peer.name, "a");
    assert_int_equal(account.ground, PEA_TRUST_ALLOWED);
    pea_span none = {(const uint8_t *)"nothing", 7};
    check_err(pea_trust_explain_certificate(t, none, &c, &peer, &account, &why), PEA_E_FORMAT);
    assert_true(why.text[0] != '\0');
    pea_trust_unref(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_comes),
        cmocka_unit_test(by_key),
    };
    return cmocka_run_group_tests(tests, open_folder, remove_folder);
}
