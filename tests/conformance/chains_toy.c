/* SPDX-License-Identifier: MIT */
/* Chains of toys: everything that core promises, without a line of cryptography. */
#include <stdlib.h>

#include "chains.h"
#include "support/check.h"
#include "support/toys.h"

#define STEPS_MAX 4

typedef enum step {
    END_OF_STEPS = 0,
    TALK,
    XOR,
    XOR_JUDGED,
    XOR_NEGOTIATED,
    XOR_PRESERVING,
    FRAME,
    LOOKUP,
    LOOKUP_NAMED
} step;

/* One line of the table, taken apart. */
typedef struct recipe {
    pea_mode mode;
    step steps[STEPS_MAX];
    enum { LENGTH = 0, RAW, NETSTRING } codec;
    pea_err policy; /* PEA_OK: there is none where nobody is judged, else it allows; PEA_WAIT: it allows later */
    bool proven;    /* somebody is proven: the chain is not plain */
} recipe;

/* What a pair of chains refers to. */
typedef struct world {
    test_link *link;
    toy_talk talk;
    toy_upgrade upgrade[STEPS_MAX];
    toy_lookup lookup;
    toy_policy policy[2];
    int codecs;
} world;

static bool answer(world *w, pea_side side, bool *open, pea_ticket ticket)
{
    if (!*open)
        return false;
    *open = false;
    pea_err err = pea_pipe_resume(w->link->party[side].pipe, ticket, PEA_OK);
    assert_true(err == PEA_OK || err == PEA_E_STALE); /* the connection may have ended meanwhile */
    return true;
}

static bool answer_all(void *arg)
{
    world *w = arg;
    bool did = answer(w, PEA_RESPONDER, &w->lookup.open, w->lookup.ticket);
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++)
        did |= answer(w, side, &w->policy[side].open, w->policy[side].ticket);
    return did;
}

static void set_link(void *arg, test_link *link)
{
    ((world *)arg)->link = link;
}

static void release(void *arg)
{
    const world *w = arg;
    assert_int_equal(w->codecs, 0); /* each create() had its destroy() */
    free(arg);
}

static void add_step(pea_chain *chain, world *w, step s, size_t i)
{
    toy_upgrade *u = &w->upgrade[i];
    switch (s) {
    case TALK:
        check_ok(pea_chain_add(chain, &toy_talk_ops, &w->talk, NULL));
        return;
    case LOOKUP:
    case LOOKUP_NAMED:
        w->lookup.name = "alice";
        w->lookup.proves = s == LOOKUP_NAMED;
        check_ok(pea_chain_add(chain, &toy_lookup_ops, &w->lookup, NULL));
        return;
    default:
        break;
    }
    u->secret = 0x1234 + i;
    u->frame = s == FRAME;
    u->preserving = s == XOR_PRESERVING;
    u->judges = s == XOR_JUDGED;
    memcpy(u->nonce[PEA_INITIATOR], "nonce-i-", 8);
    memcpy(u->nonce[PEA_RESPONDER], "nonce-r-", 8);
    toy_named_peer(&u->peer[PEA_INITIATOR], "alice");
    toy_named_peer(&u->peer[PEA_RESPONDER], "bob");
    check_ok(pea_chain_add(chain, s == XOR_NEGOTIATED ? &toy_negotiate_ops : &toy_upgrade_ops, u, NULL));
}

static void build(chain_ends *ends, const void *arg)
{
    const recipe *r = arg;
    world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->talk = (toy_talk){"STARTTLS\n", "220 go ahead\n"};
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
        check_ok(pea_chain_new(&ends->chain[side], PEA_CHAIN(.mode = r->mode), NULL));
        for (size_t i = 0; i < STEPS_MAX && r->steps[i] != END_OF_STEPS; i++)
            add_step(ends->chain[side], w, r->steps[i], i);
        if (!r->proven)
            check_ok(pea_chain_plain(ends->chain[side]));
        if (r->codec == RAW)
            check_ok(pea_codec_raw(&ends->codec[side]));
        else if (r->codec == NETSTRING)
            check_ok(toy_netstring_new(&ends->codec[side], &w->codecs));
        w->policy[side].verdict = r->policy;
        if (r->proven)
            check_ok(pea_policy_new(&ends->policy[side], &toy_policy_ops, &w->policy[side]));
    }
    ends->idle = answer_all;
    ends->arg = w;
    ends->set_link = set_link;
    ends->release = release;
}

#define TOY(...)           \
    build, &(const recipe) \
    {                      \
        __VA_ARGS__        \
    }

const chain_case toy_chains[] = {
    {"no stage", TOY(0), CHAIN_END, 1, 0},
    {"netstrings", TOY(.codec = NETSTRING), CHAIN_END, 1, 0},
    {"raw", TOY(.codec = RAW), CHAIN_END | CHAIN_RAW, 1, 0},
    {"a stage that talks", TOY(.steps = {TALK}), CHAIN_END, 1, 0},
    {"a stage that waits", TOY(.steps = {LOOKUP}), CHAIN_END, 1, 0},
    {"a stage that waits and proves", TOY(.steps = {LOOKUP_NAMED}, .proven = true), CHAIN_END, 1, 0},
    {"xor", TOY(.steps = {XOR}), CHAIN_AUTHENTIC | CHAIN_END, 1, 0},
    {"xor, judged", TOY(.steps = {XOR_JUDGED}, .proven = true), CHAIN_AUTHENTIC | CHAIN_END, 1, 0},
    {"xor, judged later", TOY(.steps = {XOR_JUDGED}, .proven = true, .policy = PEA_WAIT), CHAIN_AUTHENTIC | CHAIN_END,
     1, 0},
    {"xor without a greeting", TOY(.steps = {XOR_NEGOTIATED}), CHAIN_AUTHENTIC | CHAIN_END, 1, 0},
    {"talk, xor without a greeting", TOY(.steps = {TALK, XOR_NEGOTIATED}), CHAIN_AUTHENTIC | CHAIN_END, 1, 0},
    {"frame", TOY(.steps = {FRAME}), CHAIN_END, 1, 0},
    {"xor in frame", TOY(.steps = {FRAME, XOR}), CHAIN_END, 1, 0},
    {"frame in xor", TOY(.steps = {XOR, FRAME}), CHAIN_AUTHENTIC | CHAIN_END, 1, 0},
    {"xor in xor", TOY(.steps = {XOR, XOR}), CHAIN_AUTHENTIC | CHAIN_END, 1, 0},
    {"talk, xor", TOY(.steps = {TALK, XOR}), CHAIN_AUTHENTIC | CHAIN_END, 1, 0},
    {"a login within xor", TOY(.steps = {XOR, LOOKUP_NAMED}, .proven = true), CHAIN_AUTHENTIC | CHAIN_END, 1, 0},
    {"talk, xor, look-up, frame", TOY(.steps = {TALK, XOR, LOOKUP, FRAME}), CHAIN_AUTHENTIC | CHAIN_END, 1, 0},
    {"xor, a login judged later", TOY(.steps = {XOR, LOOKUP_NAMED}, .proven = true, .policy = PEA_WAIT),
     CHAIN_AUTHENTIC | CHAIN_END, 1, 0},
    {"stream: no transform", TOY(.mode = PEA_STREAM), 0, 1, 0},
    {"stream: xor", TOY(.mode = PEA_STREAM, .steps = {XOR}), CHAIN_AUTHENTIC | CHAIN_END, 1, 0},
    {"stream: xor, netstrings", TOY(.mode = PEA_STREAM, .steps = {XOR}, .codec = NETSTRING),
     CHAIN_AUTHENTIC | CHAIN_END, 1, 0},
    {"stream: frame, raw", TOY(.mode = PEA_STREAM, .steps = {FRAME}, .codec = RAW), CHAIN_RAW, 1, 0},
    {"stream: talk, xor, a login", TOY(.mode = PEA_STREAM, .steps = {TALK, XOR, LOOKUP_NAMED}, .proven = true),
     CHAIN_AUTHENTIC | CHAIN_END, 1, 0},
    {"records: xor", TOY(.mode = PEA_RECORDS, .steps = {XOR_PRESERVING}), CHAIN_AUTHENTIC | CHAIN_END, 1, 0},
    {"records: in xor", TOY(.mode = PEA_RECORDS, .steps = {XOR, XOR_PRESERVING}), CHAIN_AUTHENTIC | CHAIN_END, 1, 0},
};

const size_t n_toy_chains = sizeof toy_chains / sizeof toy_chains[0];
