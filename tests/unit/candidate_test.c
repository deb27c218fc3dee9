/* SPDX-License-Identifier: MIT */
/* What a policy is shown of a peer beside its key: who vouches for it, what was dialled, whether the key is proven. And
 * stages that negotiate by themselves: no greeting precedes them. Whether it draws the right conclusions is the
 * policy's business. */
#include <stdio.h>

#include "peapod/chain.h"
#include "support/check.h"
#include "support/faults.h"
#include "support/link.h"
#include "support/toys.h"

static const pea_peer somebody = {.kind = PEA_PEER_OTHER, .id = {7}};

/* ---- A policy that keeps what it was shown, and a stage that shows it ---- */

typedef struct shown {
    unsigned checks, proven, vouched;
    bool live;
    char dialled[PEA_ADDR_TEXT_BYTES];
    pea_side side;
    int64_t wall_ms;
} shown;

static pea_err keep(void *self, pea_peer *peer, const pea_candidate *c, pea_reason *why)
{
    shown *s = self;
    (void)why;
    assert_true(pea_peer_equal(peer, &somebody));
    s->checks++;
    s->proven += c->proven;
    s->live = s->live || c->live;
    s->side = c->side;
    s->wall_ms = c->wall_ms;
    if (c->dialled != NULL)
        (void)snprintf(s->dialled, sizeof s->dialled, "%s", c->dialled);
    if (c->vouch != NULL) {
        s->vouched++;
        assert_int_equal(c->vouch->root[31], 0x5A);
        assert_int_equal(c->vouch->n_names, 2);
        assert_int_equal(c->vouch->names[0].kind, PEA_NAME_DNS);
        assert_string_equal(c->vouch->names[0].text, "a.example");
        assert_int_equal(c->vouch->names[1].kind, PEA_NAME_URI);
        assert_string_equal(c->vouch->names[1].text, "spiffe://example/a");
    }
    return PEA_OK;
}

static const pea_policy_ops keep_ops = {.version = PEA_POLICY_VERSION, .name = "keep", .check = keep};

/* Sees the peer, is vouched for, and has it proven; the texts that it vouches with are gone afterwards. */
static pea_err vouch_step(void *self, pea_stage_env *env, pea_buf *in, pea_buf *out)
{
    char dns[] = "a.example", uri[] = "spiffe://example/a";
    const pea_name names[] = {{PEA_NAME_DNS, dns}, {PEA_NAME_URI, uri}};
    const pea_vouch vouch = {.root = {[31] = 0x5A}, .names = names, .n_names = 2};
    (void)self, (void)in, (void)out;
    pea_err err = pea_stage_vouch(env, NULL);
    if (err == PEA_OK)
        err = pea_stage_judge(env, &somebody, PEA_SEEN);
    if (err == PEA_OK)
        err = pea_stage_vouch(env, &vouch);
    if (err == PEA_OK)
        err = pea_stage_judge(env, &somebody, PEA_PROVEN);
    memset(dns, 'x', sizeof dns - 1);
    memset(uri, 'x', sizeof uri - 1);
    const char *name = pea_stage_dialled_name(env);
    assert_true(name == NULL || strcmp(name, "a.example") == 0);
    return err == PEA_OK ? PEA_DONE : err;
}

static const pea_stage_ops vouch_ops = {.version = PEA_STAGE_VERSION, .name = "vouch", .step = vouch_step};

static void meet(shown said[2], const char *name, const char *addr)
{
    size_t blocks = faults_blocks();
    test_link link;
    pea_addr remote;
    if (addr != NULL)
        check_ok(pea_addr_parse(&remote, addr, NULL));
    link_init(&link);
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
        pea_chain *chain;
        pea_policy *policy;
        check_ok(pea_chain_new(&chain, NULL, NULL));
        check_ok(pea_chain_add(chain, &vouch_ops, NULL, NULL));
        check_ok(pea_policy_new(&policy, &keep_ops, &said[side]));
        const pea_pipe_opts *opts =
            PEA_PIPE(.side = side, .policy = policy, .name = side == PEA_INITIATOR ? name : NULL,
                     .remote = addr != NULL ? &remote : NULL);
        check_ok(pea_pipe_new(&link.party[side].pipe, chain, opts, NULL));
        pea_pipe_tick(link.party[side].pipe, 0, 1234567);
        pea_policy_unref(policy);
        pea_chain_unref(chain);
    }
    link_run(&link);
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
        assert_int_equal(link.party[side].n_ready, 1);
        assert_int_equal(said[side].checks, 2);
        assert_int_equal(said[side].proven, 1); /* the second time */
        assert_int_equal(said[side].vouched, 1);
        assert_int_equal(said[side].side, side);
        assert_int_equal(said[side].wall_ms, 1234567);
        assert_false(said[side].live);
    }
    link_free(&link);
    assert_int_equal(faults_blocks(), blocks);
}

static void what_was_dialled(void **state)
{
    (void)state;
    shown said[2] = {0};
    meet(said, "a.example", "192.0.2.1:443");
    assert_string_equal(said[PEA_INITIATOR].dialled, "a.example");
    assert_string_equal(said[PEA_RESPONDER].dialled, ""); /* it dialled nobody */
    memset(said, 0, sizeof said);
    meet(said, NULL, "192.0.2.1:443");
    assert_string_equal(said[PEA_INITIATOR].dialled, "192.0.2.1:443");
    memset(said, 0, sizeof said);
    meet(said, NULL, NULL);
    assert_string_equal(said[PEA_INITIATOR].dialled, "");
}

static void flags_that_nobody_knows(void **state)
{
    pea_chain *chain;
    pea_stage_ops ops = vouch_ops;
    (void)state;
    ops.flags = PEA_STAGE_NEGOTIATES << 1;
    check_ok(pea_chain_new(&chain, NULL, NULL));
    check_err(pea_chain_add(chain, &ops, NULL, NULL), PEA_E_INVALID);
    pea_chain_unref(chain);
}

/* The first bytes are the stage's; and HELLO holds no greeting: it is 41 bytes shorter, twice. */
static void no_greeting(void **state)
{
    size_t wire[2];
    (void)state;
    for (unsigned negotiates = 0; negotiates < 2; negotiates++) {
        toy_upgrade upgrade = {.secret = 1, .nonce = {"nonce-i", "nonce-r"}};
        test_link link;
        link_init(&link);
        for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
            pea_chain *chain;
            check_ok(pea_chain_new(&chain, NULL, NULL));
            check_ok(pea_chain_add(chain, negotiates ? &toy_negotiate_ops : &toy_upgrade_ops, &upgrade, NULL));
            check_ok(pea_chain_plain(chain));
            check_ok(pea_pipe_new(&link.party[side].pipe, chain, PEA_PIPE(.side = side), NULL));
            pea_chain_unref(chain);
        }
        link_run(&link);
        for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
            assert_int_equal(link.party[side].n_ready, 1);
            assert_memory_equal(link.party[side].wire + (negotiates ? 0 : 41), upgrade.nonce[side], 8);
        }
        wire[negotiates] = link.party[PEA_INITIATOR].wire_len;
        link_free(&link);
    }
    assert_int_equal(wire[0] - wire[1], 41 + 2 * 41);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_dialled),
        cmocka_unit_test(flags_that_nobody_knows),
        cmocka_unit_test(no_greeting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
