/* SPDX-License-Identifier: MIT */
/* pea_trust_explain(): the verdict is the policy's, and the ground is the rule that it rests on. */
#include "trust_scene.h"

static const char rules[] = "# the first\n"                                                /* 1 */
    A " name=a role=r from=10.0.0.0/8\n"                                                   /* 2 */
    A " name=late not-after=1971-01-01T00:00:00Z from=192.168.0.0/16\n" A " name=second\n" /* 4 */
    B " not-after=1971-01-01T00:00:00Z\n"                                                  /* 5 */
                            "deny " B " from=10.0.0.0/8\n"                                 /* 6 */
    B " from=172.16.0.0/12\n";                                                             /* 7 */

static pea_trust *loaded(void)
{
    pea_trust *t;
    write_file("peers", rules);
    check_ok(pea_trust_new(&t));
    check_ok(pea_trust_load(t, in_folder("peers"), NULL));
    return t;
}

static void lines(void **state)
{
    static const struct {
        const char *who, *from;
        int64_t now;
        pea_err verdict;
        pea_trust_ground ground;
        uint32_t line;
        const char *name;
    } rows[] = {
        {A, "10.1.2.3:1", 1, PEA_OK, PEA_TRUST_ALLOWED, 2, "a"},
        {A, "192.168.2.3:1", 1, PEA_OK, PEA_TRUST_ALLOWED, 3, "late"},
        {A, "192.168.2.3:1", INT64_C(40000000000), PEA_OK, PEA_TRUST_ALLOWED, 4, "second"},
        {A, NULL, 1, PEA_OK, PEA_TRUST_ALLOWED, 4, "second"},
        {B, "1.2.3.4:1", 1, PEA_OK, PEA_TRUST_ALLOWED, 5, ""},
        {B, "1.2.3.4:1", INT64_C(40000000000), PEA_E_REFUSED, PEA_TRUST_ANOTHER_TIME, 5, ""},
        {B, "10.2.3.4:1", 1, PEA_E_REFUSED, PEA_TRUST_DENIED, 6, ""},
        {B, "172.16.0.1:1", INT64_C(40000000000), PEA_OK, PEA_TRUST_ALLOWED, 7, ""},
        {B, NULL, 1, PEA_E_REFUSED, PEA_TRUST_DENIED, 6, ""},
        {C, NULL, 1, PEA_E_REFUSED, PEA_TRUST_NO_RULE, 0, ""},
    };
    pea_trust *t = loaded();
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        pea_addr from;
        pea_peer peer = peer_of(rows[i].who), same = peer;
        pea_trust_account account;
        if (rows[i].from != NULL)
            check_ok(pea_addr_parse(&from, rows[i].from, NULL));
        const pea_candidate c = {.from = rows[i].from != NULL ? &from : NULL, .wall_ms = rows[i].now, .proven = true};
        assert_int_equal(pea_trust_explain(t, &peer, &c, &account), rows[i].verdict);
        assert_int_equal(account.ground, rows[i].ground);
        assert_int_equal(account.line, rows[i].line);
        assert_string_equal(peer.name, rows[i].name);
        assert_int_equal(asked(t, &same, &c, NULL), rows[i].verdict);
        assert_string_equal(same.name, rows[i].name);
        if (rows[i].line != 0)
            assert_string_equal(account.file, in_folder("peers"));
        else
            assert_null(account.file);
        assert_int_equal(account.text[0] != '\0', rows[i].verdict != PEA_OK);
    }
    pea_trust_unref(t);
}

static pea_err never(void *arg, pea_peer *peer, const pea_candidate *candidate)
{
    (void)arg, (void)peer, (void)candidate;
    fail_msg("nobody is asked");
    return PEA_OK;
}

static pea_trust_account explained(pea_trust *t, const char *who, const pea_candidate *c, pea_err verdict)
{
    pea_peer peer = who != NULL ? peer_of(who) : (pea_peer){.kind = PEA_PEER_NONE};
    pea_trust_account account;
    assert_int_equal(pea_trust_explain(t, &peer, c, &account), verdict);
    return account;
}

static void calls(void **state)
{
    const pea_candidate c = {.wall_ms = 1}, dial = {.wall_ms = 1, .side = PEA_INITIATOR, .dialled = "a.example:1"};
    pea_peer a = peer_of(A), b = peer_of(B);
    pea_trust *t = loaded();
    (void)state;
    check_ok(pea_trust_allow(t, &a, "called", NULL, NULL));
    check_ok(pea_trust_deny(t, &b, NULL));
    pea_trust_account account = explained(t, A, &c, PEA_OK);
    assert_int_equal(account.ground, PEA_TRUST_ALLOWED);
    assert_null(account.file);
    assert_int_equal(account.line, 0);
    assert_int_equal(explained(t, B, &c, PEA_E_REFUSED).ground, PEA_TRUST_DENIED);
    check_ok(pea_trust_forget(t, &a));
    check_ok(pea_trust_add(t, C " name=c", NULL));
    account = explained(t, C, &c, PEA_OK); /* added before a file's, whatever came first */
    assert_null(account.file);
    assert_int_equal(account.line, 1);
    assert_int_equal(explained(t, NULL, &c, PEA_E_REFUSED).ground, PEA_TRUST_NO_RULE);
    pea_trust_unref(t);
    check_ok(pea_trust_new(&t));
    pea_trust_ask(t, never, NULL);
    assert_int_equal(explained(t, A, &c, PEA_WAIT).ground, PEA_TRUST_ASKED);
    check_ok(pea_trust_first_use(t, in_folder("known"), NULL));
    assert_int_equal(explained(t, A, &dial, PEA_OK).ground, PEA_TRUST_FIRST_USE);
    assert_int_equal(explained(t, B, &dial, PEA_OK).ground, PEA_TRUST_FIRST_USE); /* A was not remembered */
    pea_trust_any(t);
    assert_int_equal(explained(t, A, &dial, PEA_OK).ground, PEA_TRUST_ANYBODY);
    pea_trust_unref(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines),
        cmocka_unit_test(calls),
    };
    return cmocka_run_group_tests(tests, open_folder, remove_folder);
}
