/* SPDX-License-Identifier: MIT */
/* Whose word counts before READY: the policy's and nobody else's, though a stage waits beside it; an expectation that
 * no stage can meet; a policy that ends the connection while it is asked; and stages that say "again". Whether policies
 * keep their own promises is the conformance suite's business. */
#include "peapod/chain.h"
#include "support/check.h"
#include "support/faults.h"
#include "support/pair.h"
#include "support/toys.h"

#define GREETING 41u

static const pea_peer somebody = {.kind = PEA_PEER_OTHER, .id = {9}};

/* ---- A stage that waits for the policy and for a look-up of its own at once ---- */

typedef struct clerk {
    bool hasty; /* takes its own answer for all that is to be known: a mistake */
    bool took;
    pea_ticket own;
} clerk;

static pea_err clerk_step(void *self, pea_stage_env *env, pea_buf *in, pea_buf *out)
{
    clerk *c = self;
    (void)in;
    (void)out;
    if (c->took && c->hasty)
        return PEA_DONE;
    pea_err err = pea_stage_judge(env, &somebody, PEA_PROVEN);
    if (err == PEA_WAIT && !c->took) {
        c->took = true;
        c->own = pea_stage_ticket(env);
    }
    return err == PEA_OK ? PEA_DONE : err;
}

static const pea_stage_ops clerk_ops = {
    .version = PEA_STAGE_VERSION, .name = "clerk", .max_in = 4096, .step = clerk_step};

typedef struct office {
    test_link link;
    clerk clerk[2];
    toy_policy says[2];
    size_t blocks;
} office;

/* Runs until the responder's policy and its stage's look-up both wait. */
static void office_open(office *o, pea_mode mode, bool hasty, bool plain)
{
    *o = (office){.says[PEA_RESPONDER].verdict = PEA_WAIT, .blocks = faults_blocks()};
    link_init(&o->link);
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
        pea_chain *chain;
        pea_policy *policy;
        o->clerk[side].hasty = hasty;
        check_ok(pea_chain_new(&chain, PEA_CHAIN(.mode = mode), NULL));
        check_ok(pea_chain_add(chain, &clerk_ops, &o->clerk[side], NULL));
        if (plain)
            check_ok(pea_chain_plain(chain));
        check_ok(pea_policy_new(&policy, &toy_policy_ops, &o->says[side]));
        check_ok(pea_pipe_new(&o->link.party[side].pipe, chain, PEA_PIPE(.side = side, .policy = policy), NULL));
        pea_policy_unref(policy);
        pea_chain_unref(chain);
    }
    link_run(&o->link);
    assert_true(o->clerk[PEA_RESPONDER].took);
    assert_int_equal(o->says[PEA_RESPONDER].checks, 1);
}

static void office_close(office *o)
{
    link_free(&o->link);
    assert_int_equal(faults_blocks(), o->blocks);
}

/* Whatever its own look-up said, a stage cannot stand in for the policy, which is asked again. */
static void own_answer_is_not_the_policys(pea_mode mode, bool hasty, pea_err own, pea_err late)
{
    office o;
    office_open(&o, mode, hasty, true);
    const link_party *r = &o.link.party[PEA_RESPONDER];
    toy_policy *policy = &o.says[PEA_RESPONDER];
    check_err(pea_pipe_resume(r->pipe, policy->ticket, PEA_OK), PEA_E_STALE); /* the stage's came after it */
    check_ok(pea_pipe_resume(r->pipe, o.clerk[PEA_RESPONDER].own, own));
    link_run(&o.link);
    assert_int_equal(r->n_ready + r->n_closed, 0);
    assert_int_equal(policy->checks, 2);
    check_err(pea_pipe_resume(r->pipe, o.clerk[PEA_RESPONDER].own, PEA_OK), PEA_E_STALE);
    link_run(&o.link);
    assert_int_equal(r->n_ready, 0);
    check_ok(pea_pipe_resume(r->pipe, policy->ticket, late));
    link_run(&o.link);
    assert_int_equal(r->n_ready, late == PEA_OK);
    assert_int_equal(policy->checks, 2);
    if (late != PEA_OK) {
        link_hang_up(&o.link);
        check_err(r->reason.err, PEA_E_REFUSED);
        assert_int_equal(r->reason.origin, PEA_BY_POLICY);
        assert_true(pea_peer_equal(pea_pipe_refused(r->pipe), &somebody));
    }
    office_close(&o);
}

static void a_stages_own_answer(void **state)
{
    (void)state;
    for (pea_mode mode = PEA_NATIVE; mode <= PEA_STREAM; mode++)
        for (unsigned hasty = 0; hasty < 2; hasty++) {
            own_answer_is_not_the_policys(mode, hasty, PEA_OK, PEA_OK);
            own_answer_is_not_the_policys(mode, hasty, PEA_OK, PEA_E_REFUSED);
            own_answer_is_not_the_policys(mode, hasty, PEA_E_NOT_FOUND, PEA_OK);
        }
}

/* Without pea_chain_plain() whoever goes on without the policy's word has proven nobody. */
static void a_hasty_stage_proves_nobody(void **state)
{
    (void)state;
    for (pea_mode mode = PEA_NATIVE; mode <= PEA_STREAM; mode++) {
        office o;
        office_open(&o, mode, true, false);
        const link_party *r = &o.link.party[PEA_RESPONDER];
        check_ok(pea_pipe_resume(r->pipe, o.clerk[PEA_RESPONDER].own, PEA_OK));
        link_run(&o.link);
        link_hang_up(&o.link);
        assert_int_equal(r->n_ready, 0);
        check_err(r->reason.err, PEA_E_REFUSED);
        assert_null(pea_pipe_peer(r->pipe));
        office_close(&o);
    }
}

/* ---- Expectations where nobody proves anything ---- */

/* Who expects a certain peer is never READY with just anybody, though the chain be plain. */
static void expectation_over_plain_chains(void **state)
{
    (void)state;
    for (pair_kind k = PLAIN; k <= RECORDS; k++)
        for (pea_side who = PEA_INITIATOR; who <= PEA_RESPONDER; who++) {
            size_t blocks = faults_blocks();
            test_link link;
            link_init(&link);
            for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
                pea_chain *chain = pair_chain(k);
                check_ok(pea_pipe_new(&link.party[side].pipe, chain,
                                      PEA_PIPE(.side = side, .expect = side == who ? &somebody : NULL), NULL));
                pea_chain_unref(chain);
            }
            link_run(&link);
            link_hang_up(&link);
            const link_party *p = &link.party[who];
            assert_int_equal(p->n_ready, 0);
            check_err(p->reason.err, PEA_E_REFUSED);
            assert_int_equal(p->reason.origin, PEA_BY_HANDSHAKE);
            assert_non_null(strstr(p->reason.text, "expected"));
            if (k == PLAIN || k == XOR) /* native: the other side knows, too */
                assert_int_equal(link.party[link_other(who)].n_ready, 0);
            link_free(&link);
            assert_int_equal(faults_blocks(), blocks);
        }
}

/* ---- A policy that ends the connection while it is asked ---- */

typedef struct trap {
    const link_party *party;
    size_t wire_len; /* what had been written by then */
    unsigned checks;
} trap;

static pea_err trap_check(void *self, pea_peer *peer, const pea_candidate *candidate, pea_reason *why)
{
    trap *t = self;
    (void)peer;
    (void)candidate;
    (void)why;
    t->checks++;
    t->wire_len = t->party->wire_len;
    pea_pipe_abort(t->party->pipe, PEA_BY_USER, PEA_E_ABORTED, "");
    return PEA_OK;
}

static const pea_policy_ops trap_ops = {.version = PEA_POLICY_VERSION, .name = "trap", .check = trap_check};

typedef enum subject { NOISE, TOY, TOY_STREAM } subject;

static pea_chain *judging_chain(subject what, pea_identity *identity)
{
    static toy_upgrade upgrade = {.nonce = {"nonce-i", "nonce-r"}, .judges = true};
    pea_chain *chain;
    toy_named_peer(&upgrade.peer[PEA_INITIATOR], "i");
    toy_named_peer(&upgrade.peer[PEA_RESPONDER], "r");
    check_ok(pea_chain_new(&chain, PEA_CHAIN(.mode = what == TOY_STREAM ? PEA_STREAM : PEA_NATIVE), NULL));
    if (what == NOISE)
        check_ok(pea_chain_noise(chain, PEA_NOISE(.identity = identity), NULL));
    else
        check_ok(pea_chain_add(chain, &toy_upgrade_ops, &upgrade, NULL));
    return chain;
}

/* Nothing is said after pea_pipe_abort(), above all not message 3, which shows who we are. */
static void abort_inside_a_policy(subject what, pea_side who)
{
    size_t blocks = faults_blocks();
    test_link link;
    toy_policy yes = {.verdict = PEA_OK};
    trap t = {.party = &link.party[who]};
    link_init(&link);
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
        pea_identity *identity;
        pea_policy *policy;
        check_ok(pea_identity_generate(&identity, NULL));
        pea_chain *chain = judging_chain(what, identity);
        pea_identity_unref(identity);
        if (side == who)
            check_ok(pea_policy_new(&policy, &trap_ops, &t));
        else
            check_ok(pea_policy_new(&policy, &toy_policy_ops, &yes));
        check_ok(pea_pipe_new(&link.party[side].pipe, chain, PEA_PIPE(.side = side, .policy = policy), NULL));
        pea_policy_unref(policy);
        pea_chain_unref(chain);
    }
    link_run(&link);
    link_hang_up(&link);
    const link_party *p = &link.party[who];
    assert_int_equal(t.checks, 1);
    assert_int_equal(p->wire_len, t.wire_len);
    if (what == NOISE)
        assert_int_equal(p->wire_len, GREETING + (who == PEA_INITIATOR ? 2 + 32 : 2 + 96));
    assert_int_equal(p->n_closed, 1);
    check_err(p->reason.err, PEA_E_ABORTED);
    assert_int_equal(p->n_ready, 0);
    if (what != TOY_STREAM) /* there whoever has said all may be READY before the other side */
        assert_int_equal(link.party[link_other(who)].n_ready, 0);
    link_free(&link);
    assert_int_equal(faults_blocks(), blocks);
}

static void nothing_is_said_after_an_abort(void **state)
{
    (void)state;
    for (subject what = NOISE; what <= TOY_STREAM; what++)
        for (pea_side who = PEA_INITIATOR; who <= PEA_RESPONDER; who++)
            abort_inside_a_policy(what, who);
}

/* ---- Stages that say "again" ---- */

typedef struct stutter {
    unsigned says; /* so many steps that say something */
    bool idles;    /* then one that does nothing, and wants to be called again */
    unsigned steps;
} stutter;

static pea_err stutter_step(void *self, pea_stage_env *env, pea_buf *in, pea_buf *out)
{
    stutter *s = self;
    (void)env;
    (void)in;
    if (++s->steps > 100)
        return PEA_E_TIMEOUT; /* a spin: fail the test instead of hanging it */
    if (s->says == 0)
        return s->idles ? PEA_AGAIN : PEA_DONE;
    s->says--;
    pea_err err = pea_buf_append(out, "x", 1);
    return err == PEA_OK ? PEA_AGAIN : err;
}

static const pea_stage_ops stutter_ops = {
    .version = PEA_STAGE_VERSION, .name = "stutter", .max_in = 16, .step = stutter_step};

static void stages_that_say_again(void **state)
{
    (void)state;
    for (unsigned idles = 0; idles < 2; idles++)
        for (unsigned says = 0; says <= 3; says += 3) {
            stutter s = {.says = says, .idles = idles};
            size_t blocks = faults_blocks();
            pea_chain *chain;
            test_link link;
            link_init(&link);
            check_ok(pea_chain_new(&chain, PEA_CHAIN(.mode = PEA_STREAM), NULL));
            check_ok(pea_chain_add(chain, &stutter_ops, &s, NULL));
            check_ok(pea_chain_plain(chain));
            check_ok(pea_pipe_new(&link.party[PEA_INITIATOR].pipe, chain, NULL, NULL));
            pea_chain_unref(chain);
            link_drain(&link, PEA_INITIATOR);
            const link_party *p = &link.party[PEA_INITIATOR];
            assert_int_equal(s.steps, says + 1);
            assert_int_equal(p->wire_len, says);
            assert_int_equal(p->n_ready, !idles);
            assert_int_equal(p->n_closed, idles);
            if (idles) {
                check_err(p->reason.err, PEA_E_INVALID);
                assert_int_equal(p->reason.origin, PEA_BY_HANDSHAKE);
                assert_string_equal(p->reason.stage, "stutter");
                assert_non_null(strstr(p->reason.text, "again"));
            }
            link_free(&link);
            assert_int_equal(faults_blocks(), blocks);
        }
}

/* ---- A stage that promises a proof which cannot come ---- */

static pea_err promise_step(void *self, pea_stage_env *env, pea_buf *in, pea_buf *out)
{
    (void)self;
    (void)in;
    (void)out;
    pea_side peer = pea_stage_side(env) == PEA_INITIATOR ? PEA_RESPONDER : PEA_INITIATOR;
    check_err(pea_stage_pledge(env, peer), PEA_E_STATE); /* nobody was judged */
    check_ok(pea_stage_judge(env, &somebody, PEA_SEEN));
    check_ok(pea_stage_pledge(env, peer));
    return PEA_DONE;
}

static const pea_stage_ops promise_ops = {.version = PEA_STAGE_VERSION, .name = "promise", .step = promise_step};

/* No transform is left that could open a record: not even a peer that says all the right chunks is let in. */
static void a_pledge_without_a_transform(void **state)
{
    (void)state;
    for (pea_mode mode = PEA_NATIVE; mode <= PEA_STREAM; mode++) {
        size_t blocks = faults_blocks();
        test_link link;
        link_init(&link);
        for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
            pea_chain *chain;
            check_ok(pea_chain_new(&chain, PEA_CHAIN(.mode = mode), NULL));
            check_ok(pea_chain_add(chain, &promise_ops, NULL, NULL));
            check_ok(pea_pipe_new(&link.party[side].pipe, chain, PEA_PIPE(.side = side, .expect = &somebody), NULL));
            pea_chain_unref(chain);
        }
        link_run(&link);
        for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++)
            assert_int_equal(link.party[side].n_ready, 0);
        check_err(link.party[PEA_INITIATOR].reason.err, PEA_E_INVALID);
        assert_non_null(strstr(link.party[PEA_INITIATOR].reason.text, "no transform"));
        link_free(&link);
        assert_int_equal(faults_blocks(), blocks);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stages_own_answer),           cmocka_unit_test(a_hasty_stage_proves_nobody),
        cmocka_unit_test(expectation_over_plain_chains), cmocka_unit_test(nothing_is_said_after_an_abort),
        cmocka_unit_test(stages_that_say_again),         cmocka_unit_test(a_pledge_without_a_transform),
    };
    faults_install();
    return cmocka_run_group_tests_name("verdicts", tests, NULL, NULL);
}
