/* SPDX-License-Identifier: MIT */
/* Chains with Noise in them, alone, behind and before other stages, in all three modes. Keys are fixed and public. */
#include "chains_noise.h"
#include "chains.h"
#include "peapod/chain.h"
#include "peapod/trust.h"
#include "support/check.h"
#include "support/toys.h"

#include <stdlib.h>

static pea_identity *identity[2];
static pea_peer id[2];

void noise_chains_setup(void)
{
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
        uint8_t secret[PEA_KEY_BYTES];
        memset(secret, 0x41 + (int)side, sizeof secret);
        if (pea_identity_from_secret(&identity[side], secret, NULL) != PEA_OK)
            abort();
        pea_identity_peer(identity[side], &id[side]);
    }
}

void noise_chains_teardown(void)
{
    pea_identity_unref(identity[0]);
    pea_identity_unref(identity[1]);
}

/* One line of the table, taken apart. */
typedef struct recipe {
    const char *protocol; /* NULL: the default */
    pea_mode mode;
    bool talk, xor_before, xor_after, login; /* other stages beside Noise */
    enum { ALLOW = 0, EXPECT, ANY, ASK_LATER } trust;
    bool netstring;
} recipe;

typedef struct world {
    test_link *link;
    toy_talk talk;
    toy_upgrade before, after;
    toy_lookup lookup;
    pea_trust *trust[2];
    bool open[2]; /* somebody waits for an answer of ours */
    pea_ticket ticket[2];
    int codecs;
} world;

static pea_err ask_later(void *arg, pea_peer *peer, const pea_candidate *candidate)
{
    world *w = arg;
    pea_side side = candidate->side;
    assert_true(pea_peer_equal(peer, &id[link_other(side)]));
    w->open[side] = true;
    w->ticket[side] = candidate->ticket;
    return PEA_WAIT;
}

static bool idle(void *arg)
{
    world *w = arg;
    bool did = w->lookup.open;
    if (w->lookup.open) {
        pea_err err = pea_pipe_resume(w->link->party[PEA_RESPONDER].pipe, w->lookup.ticket, PEA_OK);
        assert_true(err == PEA_OK || err == PEA_E_STALE);
        w->lookup.open = false;
    }
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
        if (!w->open[side])
            continue;
        pea_err err = pea_pipe_resume(w->link->party[side].pipe, w->ticket[side], PEA_OK);
        assert_true(err == PEA_OK || err == PEA_E_STALE);
        w->open[side] = false;
        did = true;
    }
    return did;
}

static void set_link(void *arg, test_link *link)
{
    ((world *)arg)->link = link;
}

static void release(void *arg)
{
    world *w = arg;
    pea_trust_unref(w->trust[0]);
    pea_trust_unref(w->trust[1]);
    assert_int_equal(w->codecs, 0);
    free(w);
}

/* Whom `side` lets in: the peer's Noise key alone, or whoever the recipe says. */
static void set_policy(chain_ends *ends, world *w, const recipe *r, pea_side side)
{
    const pea_peer *peer = &id[link_other(side)];
    if (r->trust == EXPECT && side == PEA_INITIATOR) {
        ends->expect[side] = peer;
        return;
    }
    check_ok(pea_trust_new(&w->trust[side]));
    if (r->trust == ANY)
        pea_trust_any(w->trust[side]);
    else if (r->trust == ASK_LATER)
        pea_trust_ask(w->trust[side], ask_later, w);
    else
        check_ok(pea_trust_allow(w->trust[side], peer, "somebody", "tester", NULL));
    ends->policy[side] = pea_policy_ref(pea_trust_policy(w->trust[side]));
}

static void add_upgrade(pea_chain *chain, toy_upgrade *u)
{
    memcpy(u->nonce[PEA_INITIATOR], "nonce-i-", 8);
    memcpy(u->nonce[PEA_RESPONDER], "nonce-r-", 8);
    check_ok(pea_chain_add(chain, &toy_upgrade_ops, u, NULL));
}

static void build(chain_ends *ends, const void *arg)
{
    static const uint8_t psk[PEA_KEY_BYTES] = {1, 2, 3};
    const recipe *r = arg;
    world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->talk = (toy_talk){"STARTTLS\n", "220 go ahead\n"};
    w->lookup.name = "alice";
    bool with_psk = r->protocol != NULL && strstr(r->protocol, "psk") != NULL;
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
        pea_chain **chain = &ends->chain[side];
        check_ok(pea_chain_new(chain, PEA_CHAIN(.mode = r->mode), NULL));
        if (r->talk)
            check_ok(pea_chain_add(*chain, &toy_talk_ops, &w->talk, NULL));
        if (r->xor_before)
            add_upgrade(*chain, &w->before);
        pea_error why;
        pea_err err = pea_chain_noise(*chain,
                                      PEA_NOISE(.protocol = r->protocol, .identity = identity[side],
                                                .psk = with_psk ? psk : NULL, .remote_static = id[link_other(side)].id,
                                                .record_preserving = r->mode == PEA_RECORDS),
                                      &why);
        if (err != PEA_OK)
            print_error("%s\n", why.text);
        check_ok(err);
        if (r->login)
            check_ok(pea_chain_add(*chain, &toy_lookup_ops, &w->lookup, NULL));
        if (r->xor_after)
            add_upgrade(*chain, &w->after);
        if (r->netstring)
            check_ok(toy_netstring_new(&ends->codec[side], &w->codecs));
        set_policy(ends, w, r, side);
    }
    ends->idle = idle;
    ends->arg = w;
    ends->set_link = set_link;
    ends->release = release;
}

#define NOISE(...)         \
    build, &(const recipe) \
    {                      \
        __VA_ARGS__        \
    }
#define NATIVE (CHAIN_AUTHENTIC | CHAIN_END)

/* Every byte of one chain of each kind is tried, and every third of those that differ from it in little. */
const chain_case noise_chains[] = {
    {"noise", NOISE(.trust = EXPECT), NATIVE, 1, 0},
    {"noise: AESGCM, SHA256", NOISE(.protocol = "Noise_XX_25519_AESGCM_SHA256"), NATIVE, 3, 0},
    {"noise: psk3", NOISE(.protocol = "Noise_XXpsk3_25519_ChaChaPoly_SHA512", .trust = ANY), NATIVE, 3, 0},
    {"noise: judged later", NOISE(.trust = ASK_LATER), NATIVE, 3, 0},
    {"talk, noise", NOISE(.talk = true), NATIVE, 1, 0},
    {"noise, a login", NOISE(.login = true, .netstring = true), NATIVE, 3, 0},
    {"noise in xor", NOISE(.xor_before = true), NATIVE, 3, 0},
    {"xor in noise", NOISE(.xor_after = true), NATIVE, 3, 0},
    {"noise: IK", NOISE(.protocol = "Noise_IK_25519_ChaChaPoly_BLAKE2b"), NATIVE, 1, 0},
    {"noise: IK, judged later", NOISE(.protocol = "Noise_IK_25519_ChaChaPoly_BLAKE2b", .trust = ASK_LATER), NATIVE, 3,
     0},
    {"noise: KK, psk0", NOISE(.protocol = "Noise_KKpsk0_25519_AESGCM_SHA256", .trust = EXPECT), NATIVE, 3, 0},
    {"noise: NN", NOISE(.protocol = "Noise_NN_25519_ChaChaPoly_SHA512", .trust = ANY), NATIVE, 3, 0},
    {"noise: IX, a login", NOISE(.protocol = "Noise_IX_25519_ChaChaPoly_SHA256", .login = true), NATIVE, 3, 0},
    {"noise: XX1", NOISE(.protocol = "Noise_XX1_25519_ChaChaPoly_BLAKE2b"), NATIVE, 1, 0},
    {"noise: XX1, judged later", NOISE(.protocol = "Noise_XX1_25519_ChaChaPoly_SHA256", .trust = ASK_LATER),
     NATIVE | CHAIN_LATE, 3, 0},
    {"noise: X1X1 in xor", NOISE(.protocol = "Noise_X1X1_25519_AESGCM_SHA512", .xor_before = true, .xor_after = true),
     NATIVE, 3, 0},
    {"stream: IK", NOISE(.protocol = "Noise_IK_25519_ChaChaPoly_BLAKE2b", .mode = PEA_STREAM), CHAIN_AUTHENTIC, 1, 0},
    {"stream: IN, psk2", NOISE(.protocol = "Noise_INpsk2_25519_ChaChaPoly_SHA256", .mode = PEA_STREAM, .trust = ANY),
     CHAIN_AUTHENTIC, 3, 0},
    {"records: KK", NOISE(.protocol = "Noise_KK_25519_ChaChaPoly_BLAKE2b", .mode = PEA_RECORDS), CHAIN_AUTHENTIC, 1, 0},
    {"records: IK, judged later",
     NOISE(.protocol = "Noise_IK_25519_ChaChaPoly_BLAKE2b", .mode = PEA_RECORDS, .trust = ASK_LATER),
     CHAIN_AUTHENTIC | CHAIN_LATE, 3, 0},
    {"stream: noise", NOISE(.mode = PEA_STREAM), CHAIN_AUTHENTIC, 1, 0},
    {"stream: talk, AESGCM, a login, netstrings",
     NOISE(.protocol = "Noise_XX_25519_AESGCM_BLAKE2b", .mode = PEA_STREAM, .talk = true, .login = true,
           .netstring = true),
     CHAIN_AUTHENTIC, 3, 0},
    {"records: noise", NOISE(.mode = PEA_RECORDS), CHAIN_AUTHENTIC, 1, 0},
    {"records: AESGCM, psk3", NOISE(.protocol = "Noise_XXpsk3_25519_AESGCM_SHA256", .mode = PEA_RECORDS),
     CHAIN_AUTHENTIC, 3, 0},
};

const size_t n_noise_chains = sizeof noise_chains / sizeof noise_chains[0];
