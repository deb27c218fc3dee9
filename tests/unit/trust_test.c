/* SPDX-License-Identifier: MIT */
/* The trust: which rule decides, what the peer is given, when the generation moves, and that all of it may be changed
 * while it is asked. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "peapod/identity.h"
#include "peapod/trust.h"
#include "policy_priv.h"
#include "support/check.h"
#include "support/faults.h"

static pea_peer alice, bob, carol;

static pea_peer somebody(void)
{
    pea_identity *id;
    pea_peer peer;
    check_ok(pea_identity_generate(&id, NULL));
    pea_identity_peer(id, &peer);
    pea_identity_unref(id);
    return peer;
}

/* What the policy says of a peer; `reason` may be NULL. */
static pea_err ask_policy(pea_trust *t, pea_peer *peer, pea_reason *reason)
{
    const pea_policy *policy = pea_trust_policy(t);
    const pea_candidate candidate = {.side = PEA_RESPONDER, .proven = true, .ticket = {1, 2, 3}};
    pea_reason scratch = {0};
    return policy->ops->check(policy->self, peer, &candidate, reason != NULL ? reason : &scratch);
}

static pea_err verdict(pea_trust *t, const pea_peer *peer)
{
    pea_peer copy = *peer;
    return ask_policy(t, &copy, NULL);
}

static uint64_t generation(pea_trust *t)
{
    return pea__policy_generation(pea_trust_policy(t));
}

static void test_empty_admits_nobody(void **state)
{
    pea_trust *t;
    pea_reason why = {0};
    pea_peer peer = alice, nobody = {0};
    (void)state;
    check_ok(pea_trust_new(&t));
    check_err(ask_policy(t, &peer, &why), PEA_E_REFUSED);
    assert_string_equal(why.text, "no rule names this peer");
    check_err(verdict(t, &nobody), PEA_E_REFUSED);
    pea_trust_any(t);
    check_ok(verdict(t, &alice));
    check_err(verdict(t, &nobody), PEA_E_REFUSED); /* "anybody" must still prove a key */
    pea_trust_unref(t);
    pea_trust_unref(NULL);
}

static void test_rules(void **state)
{
    pea_trust *t;
    pea_reason why = {0};
    pea_peer peer = alice;
    (void)state;
    check_ok(pea_trust_new(&t));
    check_ok(pea_trust_allow(t, &alice, "alice", "admin", NULL));
    check_ok(ask_policy(t, &peer, NULL));
    assert_string_equal(peer.name, "alice");
    assert_string_equal(peer.role, "admin");
    check_err(verdict(t, &bob), PEA_E_REFUSED);
    /* A later rule replaces an earlier one, names included. */
    check_ok(pea_trust_allow(t, &alice, NULL, "guest", NULL));
    check_ok(ask_policy(t, &peer, NULL));
    assert_string_equal(peer.name, "");
    assert_string_equal(peer.role, "guest");
    /* Deny wins over allow, in either order, and over anybody. */
    check_ok(pea_trust_deny(t, &alice, NULL));
    check_err(ask_policy(t, &peer, &why), PEA_E_REFUSED);
    assert_string_equal(why.text, "a rule denies this peer");
    check_ok(pea_trust_allow(t, &alice, "alice", NULL, NULL));
    check_err(verdict(t, &alice), PEA_E_REFUSED);
    pea_trust_any(t);
    check_err(verdict(t, &alice), PEA_E_REFUSED);
    check_ok(verdict(t, &bob));
    check_ok(pea_trust_forget(t, &alice));
    check_ok(verdict(t, &alice));
    check_err(pea_trust_forget(t, &alice), PEA_E_NOT_FOUND);
    pea_trust_unref(t);
}

static void test_kinds_do_not_mix(void **state)
{
    pea_trust *t;
    pea_peer spki = {.kind = PEA_PEER_SPKI}, other = {.kind = PEA_PEER_OTHER};
    (void)state;
    memcpy(spki.id, alice.id, sizeof spki.id);
    memcpy(other.id, alice.id, sizeof other.id);
    check_ok(pea_trust_new(&t));
    check_ok(pea_trust_allow(t, &spki, NULL, NULL, NULL));
    check_ok(verdict(t, &spki));
    check_err(verdict(t, &alice), PEA_E_REFUSED);
    check_err(verdict(t, &other), PEA_E_REFUSED);
    pea_trust_unref(t);
}

static void test_bad_rules(void **state)
{
    pea_trust *t;
    pea_error why;
    pea_peer nobody = {0}, zero = {.kind = PEA_PEER_NOISE}, second_name = alice;
    char name[PEA_NAME_MAX + 2], role[PEA_ROLE_MAX + 2];
    (void)state;
    second_name.id[31] |= 0x80;
    memset(name, 'n', sizeof name - 1);
    memset(role, 'r', sizeof role - 1);
    name[sizeof name - 1] = role[sizeof role - 1] = '\0';
    check_ok(pea_trust_new(&t));
    uint64_t before = generation(t);
    check_err(pea_trust_allow(t, &nobody, NULL, NULL, &why), PEA_E_INVALID);
    check_err(pea_trust_allow(t, &zero, NULL, NULL, &why), PEA_E_INVALID);
    assert_non_null(strstr(why.text, "low order"));
    check_err(pea_trust_allow(t, &second_name, NULL, NULL, &why), PEA_E_INVALID);
    check_err(pea_trust_deny(t, &second_name, &why), PEA_E_INVALID);
    check_err(pea_trust_deny(t, &nobody, &why), PEA_E_INVALID);
    check_err(pea_trust_allow(t, &alice, name, NULL, &why), PEA_E_INVALID);
    assert_non_null(strstr(why.text, "name"));
    check_err(pea_trust_allow(t, &alice, NULL, role, &why), PEA_E_INVALID);
    assert_non_null(strstr(why.text, "role"));
    check_err(verdict(t, &alice), PEA_E_REFUSED);
    assert_int_equal(generation(t), before);
    check_ok(pea_trust_allow(t, &alice, name + 1, role + 1, NULL)); /* exactly as long as allowed */
    pea_peer peer = alice;
    check_ok(ask_policy(t, &peer, NULL));
    assert_string_equal(peer.name, name + 1);
    assert_string_equal(peer.role, role + 1);
    pea_trust_unref(t);
}

static void test_many(void **state)
{
    enum { MANY = 2000 };
    pea_trust *t;
    pea_peer *peers = calloc(MANY, sizeof *peers);
    (void)state;
    check_ok(pea_trust_new(&t));
    for (unsigned i = 0; i < MANY; i++) {
        char name[16];
        unsigned mixed = i * 7919 % MANY; /* not in order */
        peers[i].kind = i % 2 != 0 ? PEA_PEER_OTHER : PEA_PEER_SPKI;
        peers[i].id[0] = (uint8_t)(mixed >> 8);
        peers[i].id[31] = (uint8_t)mixed;
        (void)snprintf(name, sizeof name, "%u", i);
        check_ok(pea_trust_allow(t, &peers[i], name, NULL, NULL));
    }
    for (unsigned i = 0; i < MANY; i += 3)
        check_ok(pea_trust_forget(t, &peers[i]));
    for (unsigned i = 0; i < MANY; i++) {
        char name[16];
        check_err(ask_policy(t, &peers[i], NULL), i % 3 == 0 ? PEA_E_REFUSED : PEA_OK);
        (void)snprintf(name, sizeof name, "%s", i % 3 == 0 ? "" : "?");
        if (i % 3 != 0) {
            (void)snprintf(name, sizeof name, "%u", i);
            assert_string_equal(peers[i].name, name);
        }
    }
    pea_trust_unref(t);
    free(peers);
}

/* ---- The callback ---- */

typedef struct question {
    pea_err answer;
    unsigned asked;
    pea_ticket ticket;
    pea_side side;
} question;

static pea_err on_ask(void *arg, pea_peer *peer, const pea_candidate *candidate)
{
    question *q = arg;
    q->asked++;
    q->ticket = candidate->ticket;
    q->side = candidate->side;
    assert_null(candidate->from);
    if (q->answer == PEA_OK)
        (void)snprintf(peer->role, sizeof peer->role, "guest");
    return q->answer;
}

static void test_ask(void **state)
{
    pea_trust *t;
    question q = {.answer = PEA_OK};
    pea_peer peer = carol;
    pea_reason why = {0};
    (void)state;
    check_ok(pea_trust_new(&t));
    check_ok(pea_trust_allow(t, &alice, NULL, NULL, NULL));
    check_ok(pea_trust_deny(t, &bob, NULL));
    pea_trust_ask(t, on_ask, &q);
    check_ok(verdict(t, &alice));
    check_err(verdict(t, &bob), PEA_E_REFUSED);
    assert_int_equal(q.asked, 0); /* rules decide first */
    check_ok(ask_policy(t, &peer, NULL));
    assert_int_equal(q.asked, 1);
    assert_int_equal(q.ticket.wait, 3);
    assert_int_equal(q.side, PEA_RESPONDER);
    assert_string_equal(peer.role, "guest");
    q.answer = PEA_WAIT;
    check_err(verdict(t, &carol), PEA_WAIT);
    q.answer = PEA_E_NOT_FOUND;
    check_err(ask_policy(t, &peer, &why), PEA_E_REFUSED);
    assert_string_equal(why.text, "the application refused this peer");
    q.answer = PEA_DONE; /* makes no sense, and lets nobody in */
    check_err(verdict(t, &carol), PEA_E_REFUSED);
    pea_trust_ask(t, NULL, NULL);
    check_err(verdict(t, &carol), PEA_E_REFUSED);
    assert_int_equal(q.asked, 4);
    pea_trust_unref(t);
}

/* The callback may change the rules that it is asked about. */
static pea_err learn(void *arg, pea_peer *peer, const pea_candidate *candidate)
{
    (void)candidate;
    return pea_trust_allow(arg, peer, "learnt", NULL, NULL);
}

static void test_learning(void **state)
{
    pea_trust *t;
    pea_peer peer = carol;
    (void)state;
    check_ok(pea_trust_new(&t));
    pea_trust_ask(t, learn, t);
    check_ok(verdict(t, &carol));
    pea_trust_ask(t, NULL, NULL);
    check_ok(ask_policy(t, &peer, NULL));
    assert_string_equal(peer.name, "learnt");
    pea_trust_unref(t);
}

/* ---- Generation and watchers ---- */

static void count(void *arg)
{
    ++*(unsigned *)arg;
}

static void test_changes_are_told(void **state)
{
    pea_trust *t;
    unsigned first = 0, second = 0;
    (void)state;
    check_ok(pea_trust_new(&t));
    const pea_policy *policy = pea_trust_policy(t);
    check_ok(policy->ops->watch(policy->self, count, &first));
    check_ok(policy->ops->watch(policy->self, count, &second));
    uint64_t g[6];
    g[0] = generation(t);
    check_ok(pea_trust_allow(t, &alice, NULL, NULL, NULL));
    g[1] = generation(t);
    check_ok(pea_trust_deny(t, &alice, NULL));
    g[2] = generation(t);
    check_ok(pea_trust_forget(t, &alice));
    g[3] = generation(t);
    pea_trust_any(t);
    g[4] = generation(t);
    pea_trust_ask(t, on_ask, NULL);
    g[5] = generation(t);
    for (int i = 0; i < 5; i++)
        assert_true(g[i + 1] > g[i]);
    assert_int_equal(first, 5);
    assert_int_equal(second, 5);
    check_ok(policy->ops->watch(policy->self, NULL, &first));
    pea_trust_any(t);
    assert_int_equal(first, 5);
    assert_int_equal(second, 6);
    check_err(verdict(t, &alice), PEA_OK);
    assert_int_equal(second, 6); /* asking changes nothing */
    pea_trust_unref(t);
}

static void test_policy_outlives_trust(void **state)
{
    pea_trust *t;
    (void)state;
    size_t blocks = faults_blocks();
    check_ok(pea_trust_new(&t));
    check_ok(pea_trust_allow(t, &alice, NULL, NULL, NULL));
    assert_ptr_equal(pea_trust_ref(t), t);
    pea_trust_unref(t);
    pea_policy *policy = pea_policy_ref(pea_trust_policy(t));
    pea_trust_unref(t);
    pea_peer peer = alice;
    pea_reason why = {0};
    check_ok(policy->ops->check(policy->self, &peer, &(pea_candidate){.proven = true}, &why));
    pea_policy_unref(policy);
    assert_int_equal(faults_blocks(), blocks);
}

static void test_no_memory(void **state)
{
    size_t blocks = faults_blocks(), failed = 0;
    (void)state;
    for (size_t nth = 0; nth < 20; nth++) {
        pea_trust *t = NULL;
        unsigned told = 0;
        faults_arm(nth);
        pea_err err = pea_trust_new(&t);
        if (err == PEA_OK) {
            err = pea_trust_allow(t, &alice, NULL, NULL, NULL);
            if (err == PEA_OK)
                err = pea_trust_deny(t, &bob, NULL);
            if (err == PEA_OK)
                err = pea_trust_policy(t)->ops->watch(pea_trust_policy(t)->self, count, &told);
        }
        if (faults_disarm())
            failed++;
        assert_true(err == PEA_OK || err == PEA_E_NOMEM);
        pea_trust_unref(t);
        assert_int_equal(faults_blocks(), blocks);
    }
    assert_in_range(failed, 4, 19); /* each of its allocations failed once, then none */
}

/* ---- Threads ---- */

enum { ROUNDS = 3000 };

static void *asker(void *arg)
{
    pea_trust *t = arg;
    uint64_t last = 0;
    for (unsigned i = 0; i < ROUNDS; i++) {
        pea_peer a = alice, b = bob;
        if (ask_policy(t, &a, NULL) == PEA_OK && strcmp(a.name, "alice") != 0) /* never half a rule */
            return arg;
        if (ask_policy(t, &b, NULL) == PEA_OK)
            return arg;
        uint64_t now = generation(t);
        if (now < last)
            return arg;
        last = now;
    }
    return NULL;
}

static void *changer(void *arg)
{
    pea_trust *t = arg;
    for (unsigned i = 0; i < ROUNDS; i++) {
        pea_err err = pea_trust_allow(t, &alice, "alice", NULL, NULL);
        if (err == PEA_OK)
            err = pea_trust_deny(t, i % 2 == 0 ? &carol : &alice, NULL);
        if (err != PEA_OK)
            return arg;
        err = pea_trust_forget(t, &alice);
        if (err != PEA_OK && err != PEA_E_NOT_FOUND)
            return arg;
    }
    return NULL;
}

static void *watcher(void *arg)
{
    pea_trust *t = arg;
    const pea_policy *policy = pea_trust_policy(t);
    for (unsigned i = 0; i < ROUNDS / 10; i++) {
        unsigned told = 0; /* gone at the end of the round: nobody may tell it then */
        if (policy->ops->watch(policy->self, count, &told) != PEA_OK ||
            policy->ops->watch(policy->self, NULL, &told) != PEA_OK)
            return arg;
    }
    return NULL;
}

static void test_threads(void **state)
{
    static void *(*const work[])(void *) = {asker, asker, changer, changer, watcher};
    pthread_t threads[5];
    pea_trust *t;
    (void)state;
    check_ok(pea_trust_new(&t));
    check_ok(pea_trust_deny(t, &bob, NULL));
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work[i], t), 0);
    for (size_t i = 0; i < 5; i++) {
        void *result;
        assert_int_equal(pthread_join(threads[i], &result), 0);
        assert_null(result);
    }
    pea_trust_unref(t);
}

int main(void)
{
    faults_install();
    alice = somebody();
    bob = somebody();
    carol = somebody();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty_admits_nobody),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_kinds_do_not_mix),
        cmocka_unit_test(test_bad_rules),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_ask),
        cmocka_unit_test(test_learning),
        cmocka_unit_test(test_changes_are_told),
        cmocka_unit_test(test_policy_outlives_trust),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests_name("trust", tests, NULL, NULL);
}
