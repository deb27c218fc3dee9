/* SPDX-License-Identifier: MIT */
/* Peers that were let in and are judged again: what ends them, what the other side hears, and what of the messages on
 * either way still passes. When a runtime judges is net/revoke_test.c's business. */
#include <stdio.h>

#include "peapod/chain.h"
#include "pipe_priv.h"
#include "support/check.h"
#include "support/faults.h"
#include "support/pair.h"
#include "support/toys.h"

static const pea_peer somebody = {.kind = PEA_PEER_OTHER, .id = {3}};

/* ---- Two pipes of which the responder's has a policy that changes ---- */

typedef struct law {
    uint64_t generation;
    pea_err verdict;
    uint16_t code;
    const char *role;
    unsigned checks, live;
    pea_ticket ticket;
    pea_pipe *kills; /* is aborted by check() itself; NULL: nobody is */
} law;

static pea_err law_check(void *self, pea_peer *peer, const pea_candidate *c, pea_reason *why)
{
    law *l = self;
    l->checks++;
    l->live += c->live;
    l->ticket = c->ticket;
    assert_string_equal(peer->role, ""); /* not what an earlier rule gave */
    if (l->role != NULL)
        (void)snprintf(peer->role, sizeof peer->role, "%s", l->role);
    if (l->kills != NULL)
        pea_pipe_abort(l->kills, PEA_BY_USER, PEA_E_ABORTED, "by the policy");
    if (l->verdict < 0) {
        (void)snprintf(why->text, sizeof why->text, "the law has changed");
        why->code = l->code;
    }
    return l->verdict;
}

static uint64_t law_generation(void *self)
{
    return ((law *)self)->generation;
}

static const pea_policy_ops law_ops = {
    .version = PEA_POLICY_VERSION, .name = "law", .check = law_check, .generation = law_generation};

/* Proves somebody and protects nothing. */
static pea_err prove_step(void *self, pea_stage_env *env, pea_buf *in, pea_buf *out)
{
    (void)self, (void)in, (void)out;
    pea_err err = pea_stage_judge(env, &somebody, PEA_PROVEN);
    return err == PEA_OK ? PEA_DONE : err;
}

static const pea_stage_ops prove_ops = {.version = PEA_STAGE_VERSION, .name = "prove", .step = prove_step};

typedef struct town {
    test_link link;
    law law;
    toy_upgrade upgrade;
    size_t blocks;
} town;

/* Both are READY. `kind`: what lies between them, as in pair.h. */
static void town_open(town *t, pair_kind kind)
{
    *t = (town){.blocks = faults_blocks(), .upgrade = {.judges = true, .peer = {somebody, somebody}}};
    t->upgrade.preserving = kind == RECORDS;
    link_init(&t->link);
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
        pea_chain *chain;
        pea_policy *policy = NULL;
        pea_mode mode = kind == PLAIN || kind == XOR ? PEA_NATIVE : kind == RECORDS ? PEA_RECORDS : PEA_STREAM;
        check_ok(pea_chain_new(&chain, PEA_CHAIN(.mode = mode), NULL));
        if (kind == PLAIN || kind == STREAM)
            check_ok(pea_chain_add(chain, &prove_ops, NULL, NULL));
        else
            check_ok(pea_chain_add(chain, &toy_upgrade_ops, &t->upgrade, NULL));
        if (side == PEA_RESPONDER)
            check_ok(pea_policy_new(&policy, &law_ops, &t->law));
        check_ok(pea_pipe_new(&t->link.party[side].pipe, chain,
                              PEA_PIPE(.side = side, .policy = policy, .expect = policy == NULL ? &somebody : NULL,
                                       .high_water = 1u << 20),
                              NULL));
        pea_policy_unref(policy);
        pea_chain_unref(chain);
    }
    link_run(&t->link);
    assert_int_equal(t->link.party[PEA_INITIATOR].n_ready, 1);
    assert_int_equal(t->link.party[PEA_RESPONDER].n_ready, 1);
}

static void town_close(town *t)
{
    link_free(&t->link);
    assert_int_equal(faults_blocks(), t->blocks);
}

static void change(town *t, pea_err verdict)
{
    t->law.verdict = verdict;
    t->law.generation++;
}

static void check_revoked(const town *t, uint16_t code, bool told)
{
    const link_party *us = &t->link.party[PEA_RESPONDER], *peer = &t->link.party[PEA_INITIATOR];
    assert_int_equal(us->n_closed, 1);
    assert_int_equal(us->reason.origin, PEA_BY_POLICY);
    assert_int_equal(us->reason.err, PEA_E_REFUSED);
    assert_int_equal(us->reason.code, code | PEA_CODE_PERMANENT);
    assert_string_equal(us->reason.text, "the law has changed");
    assert_int_equal(peer->n_closed, 1);
    assert_int_equal(peer->reason.origin, PEA_BY_PEER);
    if (told) {
        assert_int_equal(peer->reason.code, code | PEA_CODE_PERMANENT);
        assert_null(strstr(peer->reason.text, "law")); /* why is our own affair */
    }
}

/* ---- Who must go ---- */

static void who_is_refused_must_go(void **state)
{
    (void)state;
    for (pair_kind kind = PLAIN; kind <= RECORDS; kind++) {
        town t;
        town_open(&t, kind);
        pea_pipe_judge(right(&t.link)); /* nothing has changed */
        link_run(&t.link);
        assert_int_equal(t.link.party[PEA_RESPONDER].n_closed, 0);
        change(&t, PEA_E_REFUSED);
        pea_pipe_judge(right(&t.link));
        assert_int_equal(pea_pipe_state(right(&t.link)), PEA_CLOSING);
        assert_int_equal(pea_pipe_send(right(&t.link), "x", 1), PEA_E_STATE);
        assert_non_null(pea_pipe_peer(right(&t.link))); /* it is known whom that was about */
        link_run(&t.link);
        link_hang_up(&t.link);
        assert_int_equal(t.law.live, 2);
        check_revoked(&t, PEA_CODE_REVOKED, kind == PLAIN || kind == XOR);
        town_close(&t);
    }
}

static void whose_time_is_over_hears_it(void **state)
{
    town t;
    (void)state;
    town_open(&t, XOR);
    change(&t, PEA_E_REFUSED);
    t.law.code = PEA_CODE_EXPIRED;
    pea_pipe_judge(right(&t.link));
    link_run(&t.link);
    link_hang_up(&t.link);
    check_revoked(&t, PEA_CODE_EXPIRED, true);
    town_close(&t);
}

static void a_role_does_not_outlive_its_rule(void **state)
{
    town t;
    (void)state;
    town_open(&t, XOR);
    t.law.role = "admin";
    pea_pipe_judge(right(&t.link));
    assert_string_equal(pea_pipe_peer(right(&t.link))->role, "admin");
    t.law.role = NULL;
    change(&t, PEA_OK);
    check_ok(pea_pipe_send(left(&t.link), "x", 1)); /* what comes next is seen by the new rule */
    link_run(&t.link);
    assert_string_equal(pea_pipe_peer(right(&t.link))->role, "");
    assert_int_equal(t.link.party[PEA_RESPONDER].n_messages, 1);
    town_close(&t);
}

static void a_policy_that_ends_the_pipe_itself(void **state)
{
    town t;
    (void)state;
    town_open(&t, XOR);
    t.law.kills = right(&t.link);
    pea_pipe_judge(right(&t.link));
    t.law.kills = NULL;
    link_run(&t.link);
    link_hang_up(&t.link);
    assert_int_equal(t.link.party[PEA_RESPONDER].n_closed, 1);
    assert_string_equal(t.link.party[PEA_RESPONDER].reason.text, "by the policy");
    town_close(&t);
}

/* ---- Messages that come in ---- */

static void what_comes_after_the_change_is_not_handed_out(void **state)
{
    (void)state;
    for (pair_kind kind = PLAIN; kind <= RECORDS; kind++) {
        town t;
        town_open(&t, kind);
        check_ok(pea_pipe_send(left(&t.link), "before", 6));
        link_run(&t.link);
        check_ok(pea_pipe_send(left(&t.link), "after", 5));
        change(&t, PEA_E_REFUSED);
        link_run(&t.link);
        link_hang_up(&t.link);
        assert_int_equal(t.link.party[PEA_RESPONDER].n_messages, 1);
        check_revoked(&t, PEA_CODE_REVOKED, kind == PLAIN || kind == XOR);
        town_close(&t);
    }
}

/* Says three messages to a responder whose policy wants to think, and what has been handed out by then: nothing. */
static void think(town *t, pair_kind kind)
{
    town_open(t, kind);
    change(t, PEA_WAIT);
    for (int i = 0; i < 3; i++)
        check_ok(pea_pipe_send(left(&t->link), "123", (size_t)i + 1));
    link_run(&t->link);
    assert_int_equal(t->link.party[PEA_RESPONDER].n_messages, 0);
    assert_int_equal(t->law.checks, 2);
    assert_int_equal(pea_pipe_room(right(&t->link)), 0);
    check_ok(pea_pipe_send(right(&t->link), "hi", 2)); /* it is in all the while */
    link_run(&t->link);
    assert_int_equal(t->link.party[PEA_INITIATOR].n_messages, 1);
}

static void messages_wait_for_a_late_answer(void **state)
{
    (void)state;
    for (pair_kind kind = PLAIN; kind <= RECORDS; kind++) {
        town t;
        think(&t, kind);
        pea_pipe_judge(right(&t.link)); /* asked while it waits: it goes on to wait */
        assert_int_equal(t.law.checks, 2);
        check_ok(pea_pipe_resume(right(&t.link), t.law.ticket, PEA_OK));
        assert_int_equal(pea_pipe_resume(right(&t.link), t.law.ticket, PEA_E_REFUSED), PEA_E_STALE);
        link_run(&t.link);
        const link_party *p = &t.link.party[PEA_RESPONDER];
        assert_int_equal(p->n_messages, 3);
        for (size_t i = 0; i < 3; i++)
            check_bytes(p->messages[i].data, p->messages[i].len, "123", i + 1);
        assert_int_equal(p->n_closed, 0);
        town_close(&t);

        think(&t, kind);
        check_ok(pea_pipe_resume(right(&t.link), t.law.ticket, PEA_E_REFUSED));
        link_run(&t.link);
        link_hang_up(&t.link);
        assert_int_equal(t.link.party[PEA_RESPONDER].n_messages, 0);
        assert_int_equal(t.link.party[PEA_RESPONDER].reason.origin, PEA_BY_POLICY);
        assert_int_equal(t.link.party[PEA_RESPONDER].reason.code, PEA_CODE_REVOKED | PEA_CODE_PERMANENT);
        town_close(&t);
    }
}

/* The answer is of rules that have changed since: it does not count. */
static void an_answer_of_older_rules(void **state)
{
    town t;
    (void)state;
    think(&t, XOR);
    pea_ticket old = t.law.ticket;
    change(&t, PEA_E_REFUSED);
    check_ok(pea_pipe_resume(right(&t.link), old, PEA_OK));
    link_run(&t.link);
    link_hang_up(&t.link);
    assert_int_equal(t.link.party[PEA_RESPONDER].n_messages, 0);
    check_revoked(&t, PEA_CODE_REVOKED, true);
    town_close(&t);
}

static void a_message_that_was_taken_back(void **state)
{
    (void)state;
    for (pair_kind kind = PLAIN; kind <= RECORDS; kind++) {
        town t;
        pea_event event;
        town_open(&t, kind);
        pea_pipe *p = right(&t.link);
        check_ok(pea_pipe_send(left(&t.link), "one", 3));
        check_ok(pea_pipe_send(left(&t.link), "two", 3));
        uint8_t wire[1024];
        size_t len = 0, taken;
        for (pea_span span; pea_pipe_output(left(&t.link), &span) == PEA_OK; len += span.len) {
            assert_true(len + span.len <= sizeof wire);
            memcpy(wire + len, span.data, span.len);
            pea_pipe_sent(left(&t.link), span.len);
        }
        check_ok(pea_pipe_feed(p, wire, len, &taken));
        assert_int_equal(taken, len);
        check_ok(pea_pipe_next(p, &event));
        check_bytes(event.data, event.len, "one", 3);
        change(&t, PEA_WAIT); /* another thread does so now */
        assert_int_equal(pea__pipe_judge(p), PEA_WAIT);
        check_ok(pea__pipe_withhold(p, &event));
        assert_int_equal(pea_pipe_next(p, &event), PEA_MORE);
        check_ok(pea_pipe_resume(p, t.law.ticket, PEA_OK));
        check_ok(pea_pipe_next(p, &event));
        check_bytes(event.data, event.len, "one", 3);
        check_ok(pea_pipe_next(p, &event));
        check_bytes(event.data, event.len, "two", 3);
        assert_int_equal(pea_pipe_next(p, &event), PEA_MORE);
        town_close(&t);
    }
}

/* ---- Messages that go out ---- */

static void send_large(pea_pipe *pipe, uint8_t byte)
{
    static uint8_t data[150000];
    memset(data, byte, sizeof data);
    check_ok(pea_pipe_send(pipe, data, sizeof data));
}

/* What was queued and has not begun to go out is for nobody any more; and the farewell is understood all the same. */
static void what_was_queued_is_dropped(void **state)
{
    (void)state;
    for (pair_kind kind = PLAIN; kind <= STREAM_XOR; kind++) {
        for (int begun = 0; begun < 2; begun++) {
            town t;
            pea_span span;
            town_open(&t, kind);
            pea_pipe *p = right(&t.link);
            send_large(p, 1);
            if (begun) { /* a part of it reaches the other side, and the driver keeps the rest */
                check_ok(pea_pipe_output(p, &span));
                assert_int_equal(link_feed(&t.link, PEA_INITIATOR, span.data, 100), 100);
                pea_pipe_sent(p, 100);
                t.link.party[PEA_RESPONDER].delivered -= 100; /* by us, not by the link's wire */
            }
            send_large(p, 2);
            send_large(p, 3);
            uint64_t queued = pea__pipe_queued_total(p);
            change(&t, PEA_E_REFUSED);
            pea_pipe_judge(p);
            link_run(&t.link);
            link_hang_up(&t.link);
            const link_party *peer = &t.link.party[PEA_INITIATOR];
            bool native = kind == PLAIN || kind == XOR;
            assert_int_equal(peer->n_messages, begun && native ? 1 : 0);
            if (peer->n_messages > 0)
                assert_int_equal(peer->messages[0].data[149999], 1);
            assert_true(pea__pipe_sent_total(p) < queued); /* nor does it count as sent */
            if (native || !begun)
                check_revoked(&t, PEA_CODE_REVOKED, native);
            town_close(&t);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_refused_must_go),
        cmocka_unit_test(whose_time_is_over_hears_it),
        cmocka_unit_test(a_role_does_not_outlive_its_rule),
        cmocka_unit_test(a_policy_that_ends_the_pipe_itself),
        cmocka_unit_test(what_comes_after_the_change_is_not_handed_out),
        cmocka_unit_test(messages_wait_for_a_late_answer),
        cmocka_unit_test(an_answer_of_older_rules),
        cmocka_unit_test(a_message_that_was_taken_back),
        cmocka_unit_test(what_was_queued_is_dropped),
    };
    faults_install();
    return cmocka_run_group_tests_name("judge", tests, NULL, NULL);
}
