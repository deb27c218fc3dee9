/* SPDX-License-Identifier: MIT */
/* What every policy must keep, seen from both ends of a connection: who is refused never gets READY nor a message and
 * is told no more than DENIED; who is admitted does; later answers count, once; and what changed between a verdict and
 * READY is asked again. Waits of a stage's own are in wait_test.c. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "peapod/chain.h"
#include "peapod/trust.h"
#include "support/check.h"
#include "support/faults.h"
#include "support/link.h"
#include "support/toys.h"

/* ---- Implementations: a policy of a responder that is to admit, or not to admit, alice ---- */

typedef enum wish { ADMIT, REFUSE, ADMIT_LATER, REFUSE_LATER } wish;

typedef struct subject {
    pea_policy *policy;
    pea_trust *trust;
    toy_policy toy;
    wish wish;
    bool open; /* somebody waits for our answer */
    pea_ticket ticket;
    unsigned asked;
} subject;

typedef struct policy_case {
    const char *name;
    bool (*make)(subject *s, wish w);   /* false: it knows no such thing as this wish */
    void (*change)(subject *s, wish w); /* from now on; NULL: it cannot change */
} policy_case;

static pea_peer alice, bob;

static bool toy_make(subject *s, wish w)
{
    s->toy.verdict = w == ADMIT ? PEA_OK : w == REFUSE ? PEA_E_REFUSED : PEA_WAIT;
    check_ok(pea_policy_new(&s->policy, &toy_policy_ops, &s->toy));
    return true;
}

static void toy_change(subject *s, wish w)
{
    s->wish = w;
    s->toy.verdict = w == ADMIT ? PEA_OK : w == REFUSE ? PEA_E_REFUSED : PEA_WAIT;
    s->toy.generation++;
}

static void trust_new(subject *s)
{
    check_ok(pea_trust_new(&s->trust));
    s->policy = pea_policy_ref(pea_trust_policy(s->trust));
}

static bool allow_make(subject *s, wish w)
{
    if (w != ADMIT && w != REFUSE)
        return false;
    trust_new(s);
    check_ok(pea_trust_allow(s->trust, w == ADMIT ? &alice : &bob, "a name", "a role", NULL));
    return true;
}

static void allow_change(subject *s, wish w)
{
    s->wish = w;
    if (w == ADMIT)
        check_ok(pea_trust_allow(s->trust, &alice, NULL, NULL, NULL));
    else
        check_ok(pea_trust_deny(s->trust, &alice, NULL));
}

static bool any_make(subject *s, wish w)
{
    if (w != ADMIT && w != REFUSE)
        return false;
    trust_new(s);
    pea_trust_any(s->trust);
    if (w == REFUSE)
        check_ok(pea_trust_deny(s->trust, &alice, NULL));
    return true;
}

static bool empty_make(subject *s, wish w)
{
    if (w != REFUSE)
        return false;
    trust_new(s);
    return true;
}

static pea_err ask(void *arg, pea_peer *peer, const pea_candidate *candidate)
{
    subject *s = arg;
    assert_int_equal(candidate->side, PEA_RESPONDER);
    assert_true(pea_peer_equal(peer, &alice));
    s->asked++;
    if (s->wish == ADMIT || s->wish == REFUSE)
        return s->wish == ADMIT ? PEA_OK : PEA_E_REFUSED;
    s->open = true;
    s->ticket = candidate->ticket;
    return PEA_WAIT;
}

static bool ask_make(subject *s, wish w)
{
    (void)w;
    trust_new(s);
    pea_trust_ask(s->trust, ask, s);
    return true;
}

static void ask_change(subject *s, wish w)
{
    s->wish = w;
    pea_trust_ask(s->trust, ask, s); /* a change of rules, as far as others can tell */
}

static bool none_make(subject *s, wish w)
{
    (void)s;
    return w == REFUSE; /* no policy, and nobody expected: nobody gets in */
}

static const policy_case cases[] = {
    {"toy", toy_make, toy_change},          {"trust: allow", allow_make, allow_change},
    {"trust: any", any_make, allow_change}, {"trust: empty", empty_make, allow_change},
    {"trust: asks", ask_make, ask_change},  {"no policy", none_make, NULL},
};

/* ---- One connection whose responder has the policy ---- */

static const pea_span hello = {(const uint8_t *)"hello", 5};
static pea_identity *identity[2];

typedef struct meeting {
    subject s;
    test_link link;
    pea_policy *open; /* the initiator's: lets everybody in */
    toy_policy open_toy;
    size_t blocks;
} meeting;

static void set_pipe(meeting *m, pea_side side, pea_chain *chain, const pea_peer *expect)
{
    link_party *p = &m->link.party[side];
    check_ok(pea_pipe_new(
        &p->pipe, chain,
        PEA_PIPE(.side = side, .policy = side == PEA_RESPONDER ? m->s.policy : m->open, .expect = expect), NULL));
    p->send = &hello;
    p->n_send = 1;
    p->closes = side == PEA_INITIATOR;
    p->await = 1;
    pea_chain_unref(chain);
}

/* false: the policy knows no such wish. */
static bool meet(meeting *m, const policy_case *what, wish w)
{
    *m = (meeting){.s = {.wish = w}, .blocks = faults_blocks()};
    link_init(&m->link);
    if (!what->make(&m->s, w))
        return false;
    check_ok(pea_policy_new(&m->open, &toy_policy_ops, &m->open_toy));
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
        pea_chain *chain;
        check_ok(pea_chain_new(&chain, NULL, NULL));
        check_ok(pea_chain_noise(chain, PEA_NOISE(.identity = identity[side]), NULL));
        set_pipe(m, side, chain, NULL);
    }
    return true;
}

static void part(meeting *m)
{
    link_free(&m->link);
    pea_policy_unref(m->s.policy);
    pea_policy_unref(m->open);
    pea_trust_unref(m->s.trust);
    assert_int_equal(faults_blocks(), m->blocks);
}

static bool waiting(const meeting *m)
{
    return m->s.open || m->s.toy.open;
}

static pea_err answer(meeting *m, pea_err verdict)
{
    pea_ticket ticket = m->s.toy.open ? m->s.toy.ticket : m->s.ticket;
    return pea_pipe_resume(m->link.party[PEA_RESPONDER].pipe, ticket, verdict);
}

static void check_admitted(meeting *m)
{
    link_check_all(&m->link, PEA_INITIATOR);
    link_check_all(&m->link, PEA_RESPONDER);
    check_err(m->link.party[PEA_RESPONDER].reason.err, PEA_OK);
    const pea_peer *peer = pea_pipe_peer(m->link.party[PEA_RESPONDER].pipe);
    assert_non_null(peer);
    assert_true(pea_peer_equal(peer, &alice));
    assert_null(pea_pipe_refused(m->link.party[PEA_RESPONDER].pipe));
}

static void check_refused(meeting *m)
{
    const link_party *i = &m->link.party[PEA_INITIATOR], *r = &m->link.party[PEA_RESPONDER];
    assert_int_equal(i->n_ready + r->n_ready, 0);
    assert_int_equal(i->n_messages + r->n_messages, 0);
    assert_int_equal(r->reason.origin, PEA_BY_POLICY);
    check_err(r->reason.err, PEA_E_REFUSED);
    assert_true(r->reason.text[0] != '\0');
    assert_int_equal(i->reason.origin, PEA_BY_PEER);
    check_err(i->reason.err, PEA_E_REJECTED);
    assert_int_equal(i->reason.code, PEA_CODE_DENIED | PEA_CODE_PERMANENT);
    assert_string_equal(i->reason.text, "not admitted"); /* no more than that */
    assert_null(pea_pipe_peer(r->pipe));
    assert_non_null(pea_pipe_refused(r->pipe));
    assert_true(pea_peer_equal(pea_pipe_refused(r->pipe), &alice));
}

/* ---- The cases ---- */

static void admits(void **state)
{
    meeting m;
    if (meet(&m, *state, ADMIT)) {
        link_run(&m.link);
        check_admitted(&m);
        part(&m);
    }
}

static void refuses(void **state)
{
    meeting m;
    if (meet(&m, *state, REFUSE)) {
        link_run(&m.link);
        check_refused(&m);
        part(&m);
    }
}

/* The answer comes when everything else has come to rest; a second one is stale. */
static void answers_later(void **state)
{
    for (wish w = ADMIT_LATER; w <= REFUSE_LATER; w++) {
        for (unsigned cut = LINK_WHOLE; cut <= LINK_RANDOM; cut++) {
            meeting m;
            if (meet(&m, *state, w)) {
                m.link.cut = (link_cut)cut;
                link_run(&m.link);
                assert_true(waiting(&m));
                assert_int_equal(m.link.party[0].n_ready + m.link.party[1].n_ready + m.link.party[1].n_closed, 0);
                check_ok(answer(&m, w == ADMIT_LATER ? PEA_OK : PEA_E_REFUSED));
                check_err(answer(&m, PEA_OK), PEA_E_STALE);
                link_run(&m.link);
                check_err(answer(&m, PEA_OK), PEA_E_STALE);
                if (w == ADMIT_LATER)
                    check_admitted(&m);
                else
                    check_refused(&m);
                part(&m);
            }
        }
    }
}

/* The connection dies first: the late answer is stale and does nothing. */
static void dies_while_it_waits(void **state)
{
    for (unsigned way = 0; way < 4; way++) {
        meeting m;
        if (meet(&m, *state, ADMIT_LATER)) {
            link_party *r = &m.link.party[PEA_RESPONDER];
            link_run(&m.link);
            assert_true(waiting(&m));
            if (way == 0)
                pea_pipe_feed_end(r->pipe);
            else if (way == 1)
                pea_pipe_abort(r->pipe, PEA_BY_TIMEOUT, PEA_E_TIMEOUT, NULL);
            else if (way == 2)
                pea_pipe_broken(r->pipe, PEA_BY_READING, ECONNRESET);
            else
                check_ok(pea_pipe_close(r->pipe, PEA_CODE_SHUTDOWN, "going"));
            link_run(&m.link);
            link_hang_up(&m.link);
            check_err(answer(&m, PEA_OK), PEA_E_STALE);
            assert_int_equal(r->n_ready, 0);
            const pea_err want[] = {PEA_E_TRUNCATED, PEA_E_TIMEOUT, PEA_E_RESET, PEA_OK};
            check_err(r->reason.err, want[way]);
            part(&m);
        }
    }
}

/* Rules change after the verdict, before READY: it is judged anew. The responder has seen message 3 by
 * then, and not yet ACCEPT. */
static void changes_before_ready(void **state)
{
    const policy_case *what = *state;
    meeting m;
    if (what->change != NULL && meet(&m, what, ADMIT)) {
        link_party *i = &m.link.party[PEA_INITIATOR], *r = &m.link.party[PEA_RESPONDER];
        m.link.cut = LINK_BYTES;
        for (unsigned turn = 0; pea_pipe_state(r->pipe) < PEA_OPENING; turn++) {
            assert_true(turn < 10000);
            link_drain(&m.link, PEA_INITIATOR);
            link_drain(&m.link, PEA_RESPONDER);
            if (r->delivered < r->wire_len)
                link_feed(&m.link, PEA_INITIATOR, r->wire + r->delivered, r->wire_len - r->delivered);
            else
                link_feed(&m.link, PEA_RESPONDER, i->wire + i->delivered, 1);
        }
        assert_non_null(pea_pipe_peer(r->pipe));
        what->change(&m.s, REFUSE);
        link_run(&m.link);
        check_refused(&m);
        part(&m);
    }
}

/* ... and to the better, or to "later", while an answer was awaited: it is asked anew, and the earlier ticket is
 * stale. */
static void changes_while_it_waits(void **state)
{
    const policy_case *what = *state;
    meeting m;
    if (what->change != NULL && meet(&m, what, ADMIT_LATER)) {
        link_run(&m.link);
        assert_true(waiting(&m));
        pea_ticket earlier = m.s.toy.open ? m.s.toy.ticket : m.s.ticket;
        what->change(&m.s, REFUSE);
        check_ok(answer(&m, PEA_OK));
        link_run(&m.link);
        check_refused(&m);
        check_err(pea_pipe_resume(m.link.party[PEA_RESPONDER].pipe, earlier, PEA_OK), PEA_E_STALE);
        part(&m);
    }
}

/* ---- Expectations, names and refusals by an initiator ---- */

static void run_expectation(const pea_peer *expect, bool with_policy, meeting *m)
{
    *m = (meeting){.blocks = faults_blocks()};
    link_init(&m->link);
    check_ok(pea_policy_new(&m->open, &toy_policy_ops, &m->open_toy));
    check_ok(pea_policy_new(&m->s.policy, &toy_policy_ops, &m->s.toy));
    if (!with_policy) {
        pea_policy_unref(m->open);
        m->open = NULL;
    }
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
        pea_chain *chain;
        check_ok(pea_chain_new(&chain, NULL, NULL));
        check_ok(pea_chain_noise(chain, PEA_NOISE(.identity = identity[side]), NULL));
        set_pipe(m, side, chain, side == PEA_INITIATOR ? expect : NULL);
    }
    link_run(&m->link);
}

static void expectation_is_met(void **state)
{
    meeting m;
    (void)state;
    run_expectation(&bob, false, &m);
    check_admitted(&m);
    assert_true(pea_peer_equal(pea_pipe_peer(m.link.party[PEA_INITIATOR].pipe), &bob));
    assert_string_equal(pea_pipe_peer(m.link.party[PEA_RESPONDER].pipe)->role, "toy"); /* what the policy gave */
    assert_int_equal(m.s.toy.checks, 1);
    assert_int_equal(m.s.toy.side, PEA_RESPONDER);
    assert_false(m.s.toy.has_from);
    part(&m);
}

/* An initiator that expected another says nothing after message 1, and the policy is not even asked. */
static void expectation_is_not_met(void **state)
{
    meeting m;
    (void)state;
    run_expectation(&alice, true, &m);
    const link_party *i = &m.link.party[PEA_INITIATOR], *r = &m.link.party[PEA_RESPONDER];
    assert_int_equal(i->wire_len, 41 + 2 + 32);
    assert_int_equal(m.open_toy.checks, 0);
    check_err(i->reason.err, PEA_E_REFUSED);
    assert_int_equal(i->reason.origin, PEA_BY_POLICY);
    assert_true(pea_peer_equal(pea_pipe_refused(i->pipe), &bob));
    check_err(r->reason.err, PEA_E_TRUNCATED);
    assert_int_equal(m.s.toy.checks, 0); /* it never learnt who that was */
    part(&m);
}

static void nobody_expected_and_no_policy(void **state)
{
    meeting m;
    (void)state;
    run_expectation(NULL, false, &m);
    assert_int_equal(m.link.party[PEA_INITIATOR].wire_len, 41 + 2 + 32);
    check_err(m.link.party[PEA_INITIATOR].reason.err, PEA_E_REFUSED);
    part(&m);
}

/* Two stages that prove two different peers prove nobody. */
static void stages_disagree(void **state)
{
    static toy_upgrade first = {.nonce = {"nonce-i", "nonce-r"}, .judges = true};
    static toy_lookup second = {.name = "alice", .proves = true};
    (void)state;
    for (unsigned agree = 0; agree < 2; agree++) {
        meeting m = {.blocks = faults_blocks()};
        link_init(&m.link);
        check_ok(pea_policy_new(&m.open, &toy_policy_ops, &m.open_toy));
        check_ok(pea_policy_new(&m.s.policy, &toy_policy_ops, &m.s.toy));
        toy_named_peer(&first.peer[PEA_INITIATOR], "alice");
        toy_named_peer(&first.peer[PEA_RESPONDER], agree ? "server" : "somebody else"); /* the look-up says "server" */
        for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
            pea_chain *chain;
            check_ok(pea_chain_new(&chain, NULL, NULL));
            check_ok(pea_chain_add(chain, &toy_upgrade_ops, &first, NULL));
            check_ok(pea_chain_add(chain, &toy_lookup_ops, &second, NULL));
            set_pipe(&m, side, chain, NULL);
        }
        link_run(&m.link);
        check_ok(pea_pipe_resume(m.link.party[PEA_RESPONDER].pipe, second.ticket, PEA_OK));
        link_run(&m.link);
        link_hang_up(&m.link);
        assert_int_equal(m.link.party[PEA_INITIATOR].n_ready, agree);
        check_err(m.link.party[PEA_INITIATOR].reason.err, agree ? PEA_OK : PEA_E_REFUSED);
        part(&m);
    }
}

/* ---- Every case over every policy ---- */

#define CASE(f) \
    {           \
#f, f   \
    }

static const struct suite_case {
    const char *name;
    CMUnitTestFunction run;
} suite[] = {CASE(admits),
             CASE(refuses),
             CASE(answers_later),
             CASE(dies_while_it_waits),
             CASE(changes_before_ready),
             CASE(changes_while_it_waits)};

#define N_CASES (sizeof cases / sizeof cases[0])
#define N_SUITE (sizeof suite / sizeof suite[0])

int main(void)
{
    static struct CMUnitTest tests[N_CASES * N_SUITE];
    static char names[N_CASES * N_SUITE][80];
    const struct CMUnitTest own[] = {
        cmocka_unit_test(expectation_is_met),
        cmocka_unit_test(expectation_is_not_met),
        cmocka_unit_test(nobody_expected_and_no_policy),
        cmocka_unit_test(stages_disagree),
    };
    faults_install();
    for (unsigned side = 0; side < 2; side++) {
        uint8_t secret[PEA_KEY_BYTES];
        memset(secret, 0x31 + (int)side, sizeof secret);
        if (pea_identity_from_secret(&identity[side], secret, NULL) != PEA_OK)
            return 1;
    }
    pea_identity_peer(identity[PEA_INITIATOR], &alice);
    pea_identity_peer(identity[PEA_RESPONDER], &bob);
    for (size_t i = 0; i < N_CASES * N_SUITE; i++) {
        union {
            const policy_case *in;
            void *out;
        } state = {.in = &cases[i / N_SUITE]};
        snprintf(names[i], sizeof names[i], "%s: %s", cases[i / N_SUITE].name, suite[i % N_SUITE].name);
        tests[i] =
            (struct CMUnitTest){.name = names[i], .test_func = suite[i % N_SUITE].run, .initial_state = state.out};
    }
    int failed = _cmocka_run_group_tests("policies", tests, N_CASES * N_SUITE, NULL, NULL);
    failed += cmocka_run_group_tests_name("expectations", own, NULL, NULL);
    pea_identity_unref(identity[0]);
    pea_identity_unref(identity[1]);
    return failed;
}
