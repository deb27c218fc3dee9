/* SPDX-License-Identifier: MIT */
/* What every chain must keep, whatever its stages and transforms are: a conversation arrives however it is cut,
 * nothing changed or missing goes unnoticed, errors last, and memory that runs out breaks nothing. It knows
 * implementations by their table only. */
#include <stdio.h>
#include <stdlib.h>

#include "chains.h"
#include "support/check.h"
#include "support/faults.h"

#define N_MESSAGES 3

typedef struct talk {
    const chain_case *what;
    chain_ends ends;
    test_link link;
    size_t blocks; /* of the library that were out before */
    bool complete; /* both pipes could be made */
} talk;

/* ---- One conversation ---- */

static const uint8_t runs[45] = "aaaaaaaaaaaaaaaaaaaaaaabcdefffffffff\n\0\0\0\0\0";
static const pea_span to_say[2][N_MESSAGES] = {
    {{(const uint8_t *)"", 0}, {(const uint8_t *)"x", 1}, {runs, sizeof runs}},
    {{(const uint8_t *)"hello, initiator", 16}, {(const uint8_t *)"", 0}, {(const uint8_t *)"\n", 1}},
};

static void talk_build(talk *t, const chain_case *what)
{
    *t = (talk){.what = what, .blocks = faults_blocks()};
    link_init(&t->link);
    what->build(&t->ends, what->arg);
    t->link.idle = t->ends.idle;
    t->link.idle_arg = t->ends.arg;
    if (t->ends.set_link != NULL)
        t->ends.set_link(t->ends.arg, &t->link);
}

/* Makes the pipes; with `script` they say three messages each, and the initiator closes once it has heard all.
 * PEA_OK | PEA_E_NOMEM */
static pea_err talk_start(talk *t, const pea_span script[2][N_MESSAGES])
{
    size_t bytes = 0;
    for (size_t i = 0; script != NULL && i < N_MESSAGES; i++)
        bytes += script[PEA_RESPONDER][i].len;
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
        link_party *p = &t->link.party[side];
        pea_error why;
        pea_err err = pea_pipe_new(&p->pipe, t->ends.chain[side],
                                   PEA_PIPE(.side = side, .codec = t->ends.codec[side], .policy = t->ends.policy[side],
                                            .expect = t->ends.expect[side], .high_water = 1u << 20),
                                   &why);
        if (err != PEA_OK) {
            check_err(err, PEA_E_NOMEM);
            return err;
        }
        pea_pipe_tick(p->pipe, 1000, 1700000000000);
        p->raw = (t->what->flags & CHAIN_RAW) != 0;
        if (script == NULL)
            continue;
        p->send = script[side];
        p->n_send = N_MESSAGES;
        p->closes = side == PEA_INITIATOR;
        p->await = p->raw ? bytes : N_MESSAGES;
    }
    t->complete = true;
    return PEA_OK;
}

static void talk_open(talk *t, const chain_case *what)
{
    talk_build(t, what);
    check_ok(talk_start(t, to_say));
}

static void talk_end(talk *t)
{
    link_free(&t->link);
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
        pea_chain_unref(t->ends.chain[side]);
        pea_codec_unref(t->ends.codec[side]);
        pea_policy_unref(t->ends.policy[side]);
    }
    if (t->ends.release != NULL)
        t->ends.release(t->ends.arg);
    assert_int_equal(faults_blocks(), t->blocks);
}

static void check_orderly(const talk *t)
{
    const link_party *i = &t->link.party[PEA_INITIATOR], *r = &t->link.party[PEA_RESPONDER];
    link_check_all(&t->link, PEA_INITIATOR);
    link_check_all(&t->link, PEA_RESPONDER);
    assert_int_equal(i->n_ready, 1);
    assert_int_equal(r->n_ready, 1);
    assert_int_equal(i->n_closed, 1);
    assert_int_equal(r->n_closed, 1);
    assert_int_equal(i->reason.origin, PEA_BY_USER);
    check_err(i->reason.err, PEA_OK);
    assert_int_equal(r->reason.origin, PEA_BY_PEER);
    check_err(r->reason.err, (t->what->flags & CHAIN_END) != 0 ? PEA_OK : PEA_EOF_UNAUTHENTICATED);
}

/* How far a side has to hear before it ends by itself: what comes behind is nobody's. And how much there is in all. */
typedef struct extent {
    size_t heard[2]; /* by the side that said it */
    size_t written[2];
    size_t handshake[2]; /* written before READY */
} extent;

/* A signature is a few bytes longer or shorter each time, which mbedTLS's records of TLS 1.3 round to 16; TLS within
 * TLS does so twice. */
#define SLACK 48

static extent measure(const chain_case *what)
{
    talk t;
    extent e;
    talk_open(&t, what);
    t.link.cut = LINK_BYTES;
    link_run(&t.link);
    check_orderly(&t);
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
        size_t heard = t.link.party[link_other(side)].heard, slack = (what->flags & CHAIN_VARIES) != 0 ? SLACK : 0;
        e.heard[side] = heard > slack ? heard - slack : 0;
        e.written[side] = t.link.party[side].wire_len;
        e.handshake[side] = t.link.party[side].ready_at;
    }
    talk_end(&t);
    return e;
}

/* With PEA_TEST_EVERY_BYTE in the environment (.ci/nightly) nothing is left out. */
static bool every_byte(void)
{
    return getenv("PEA_TEST_EVERY_BYTE") != NULL;
}

static size_t stride(const chain_case *what)
{
    return what->stride > 0 && !every_byte() ? what->stride : 1;
}

static size_t split_stride(const chain_case *what)
{
    return what->splits > 0 && !every_byte() ? what->splits : stride(what);
}

/* ---- The cases ---- */

static void whole(void **state)
{
    talk t;
    talk_open(&t, *state);
    link_run(&t.link);
    check_orderly(&t);
    /* Somebody got messages in the very read that brought the end of the handshake. */
    /* a foreign chain without stages has no handshake */
    bool silent = t.link.party[0].ready_at + t.link.party[1].ready_at == 0;
    silent = silent || (t.what->flags & CHAIN_LATE) != 0;
    assert_true(silent || t.link.party[0].data_with_handshake || t.link.party[1].data_with_handshake);
    talk_end(&t);
}

static void split_at_every_byte(void **state)
{
    extent e = measure(*state);
    size_t most = e.written[0] > e.written[1] ? e.written[0] : e.written[1];
    const chain_case *what = *state;
    for (size_t at = 1; at < most; at += split_stride(what)) {
        talk t;
        talk_open(&t, *state);
        t.link.cut = LINK_AT;
        t.link.at = at;
        link_run(&t.link);
        check_orderly(&t);
        talk_end(&t);
    }
}

static void byte_by_byte(void **state)
{
    measure(*state);
}

static void random_pieces(void **state)
{
    for (uint64_t seed = 1; seed <= 60; seed++) {
        talk t;
        talk_open(&t, *state);
        t.link.cut = LINK_RANDOM;
        t.link.prng.state = seed;
        link_run(&t.link);
        check_orderly(&t);
        talk_end(&t);
    }
}

/* Larger than any record, any chunk's window and any buffer class. PEA_RECORDS says only what a record holds. */
static void large_messages(void **state)
{
    static uint8_t bytes[200000];
    test_prng prng = {7};
    prng_fill(&prng, bytes, sizeof bytes);
    for (uint64_t seed = 0; seed < 4; seed++) {
        talk t;
        talk_build(&t, *state);
        size_t len = t.ends.codec[0] == NULL && seed < 2 ? 3900 : sizeof bytes;
        const pea_span script[2][N_MESSAGES] = {{{bytes, len}, {bytes, 1}, {bytes + 1, 3000}},
                                                {{bytes + 2, len - 2}, {bytes, 0}, {bytes + 3, 900}}};
        if (seed >= 2 && strncmp(t.what->name, "records", 7) == 0) {
            talk_end(&t);
            break;
        }
        check_ok(talk_start(&t, script));
        t.link.cut = seed % 2 == 0 ? LINK_WHOLE : LINK_RANDOM;
        t.link.prng.state = seed;
        link_run(&t.link);
        check_orderly(&t);
        talk_end(&t);
    }
}

/* Whoever is cut off says so. Where nobody can tell a cut from an end, it says that. */
static void truncated_at_every_byte(void **state)
{
    extent e = measure(*state);
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
        for (size_t at = 0; at < e.heard[side]; at += stride(*state)) {
            talk t;
            talk_open(&t, *state);
            t.link.victim = side;
            t.link.cut_off_at = at;
            link_run(&t.link);
            link_hang_up(&t.link);
            const link_party *p = &t.link.party[link_other(side)];
            link_check_prefix(&t.link, PEA_INITIATOR);
            link_check_prefix(&t.link, PEA_RESPONDER);
            bool honest = p->reason.err == PEA_E_TRUNCATED || (p->reason.err == PEA_EOF_UNAUTHENTICATED &&
                                                               (t.what->flags & CHAIN_END) == 0 && p->n_ready > 0);
            if (!honest)
                print_error("cut at %zu of side %d: %d (%s)\n", at, side, p->reason.err, p->reason.text);
            assert_true(honest);
            talk_end(&t);
        }
    }
}

/* Nothing that was changed is delivered, and whoever hears it ends with an error. */
static void flipped_at_every_byte(void **state)
{
    const chain_case *what = *state;
    extent e = measure(what);
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
        for (size_t at = 0; at < e.heard[side]; at += stride(what)) {
            talk t;
            talk_open(&t, what);
            t.link.victim = side;
            t.link.flip_at = at;
            t.link.flip_mask = (uint8_t)(1u << (at % 8));
            link_run(&t.link);
            link_hang_up(&t.link);
            link_check_prefix(&t.link, PEA_INITIATOR);
            link_check_prefix(&t.link, PEA_RESPONDER);
            const link_party *p = &t.link.party[link_other(side)];
            if (p->reason.err >= 0)
                print_error("flip at %zu of side %d: %d\n", at, side, p->reason.err);
            assert_true(p->reason.err < 0);
            talk_end(&t);
        }
    }
}

/* Plaintext that somebody slips in before or around an upgrade is never a message after it. */
static void injected_plaintext(void **state)
{
    /* DATA, with a message of the default codec */
    static const uint8_t evil[] = {4, 0, 0, 8, 0, 0, 0, 4, 'e', 'v', 'i', 'l'};
    const chain_case *what = *state;
    extent e = measure(what);
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
        for (size_t at = 0; at < e.handshake[side]; at += stride(what)) {
            for (size_t skip_header = 0; skip_header <= 4; skip_header += 4) {
                talk t;
                talk_open(&t, what);
                t.link.victim = side;
                t.link.insert_at = at;
                t.link.insert = (pea_span){evil + skip_header, sizeof evil - skip_header};
                link_run(&t.link);
                link_hang_up(&t.link);
                link_check_prefix(&t.link, PEA_INITIATOR);
                link_check_prefix(&t.link, PEA_RESPONDER);
                assert_true(t.link.party[link_other(side)].reason.err < 0);
                talk_end(&t);
            }
        }
    }
}

/* One allocation fails, whichever: either it did not matter, or a side ends with PEA_E_NOMEM; nothing
 * leaks, nothing is doubled. */
static void every_allocation_fails(void **state)
{
    bool hit = true;
    for (size_t nth = 0; hit; nth++) {
        talk t;
        assert_true(nth < 5000);
        talk_build(&t, *state);
        faults_arm(nth);
        if (talk_start(&t, to_say) == PEA_OK) {
            link_run(&t.link);
            link_hang_up(&t.link);
        }
        hit = faults_disarm();
        if (t.complete) {
            const link_party *i = &t.link.party[PEA_INITIATOR], *r = &t.link.party[PEA_RESPONDER];
            link_check_prefix(&t.link, PEA_INITIATOR);
            link_check_prefix(&t.link, PEA_RESPONDER);
            bool told = i->reason.err == PEA_E_NOMEM || r->reason.err == PEA_E_NOMEM;
            pea_err cut = (t.what->flags & CHAIN_END) != 0 ? PEA_E_TRUNCATED : PEA_EOF_UNAUTHENTICATED;
            /* a closing pipe keeps its reason; its peer sees the cut */
            bool farewell = i->close_called && r->reason.err == cut;
            if (!told && !farewell)
                check_orderly(&t);
        }
        talk_end(&t);
    }
}

/* Random bytes in place of a peer: never a message, always an end. */
static void garbage(void **state)
{
    const chain_case *what = *state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
            talk t;
            uint8_t bytes[700];
            test_prng prng = {seed};
            prng_fill(&prng, bytes, sizeof bytes);
            talk_open(&t, what);
            link_drain(&t.link, side);
            for (size_t at = 0, n; at < sizeof bytes; at += n) {
                n = 1 + prng_below(&prng, 90);
                n = n < sizeof bytes - at ? n : sizeof bytes - at;
                link_feed(&t.link, side, bytes + at, n);
            }
            pea_pipe_feed_end(t.link.party[side].pipe);
            while (link_drain(&t.link, side))
                continue;
            assert_int_equal(t.link.party[side].n_messages, 0);
            assert_int_equal(t.link.party[side].n_closed, 1);
            assert_true(t.link.party[side].reason.err < 0);
            talk_end(&t);
        }
    }
}

static void check_dead(pea_pipe *pipe)
{
    pea_event event;
    pea_span span;
    size_t taken = 1;
    check_ok(pea_pipe_feed(pipe, "more", 4, &taken));
    assert_int_equal(taken, 0);
    assert_int_equal(pea_pipe_room(pipe), 0);
    check_err(pea_pipe_next(pipe, &event), PEA_MORE);
    check_err(pea_pipe_send(pipe, "x", 1), PEA_E_STATE);
    check_err(pea_pipe_output(pipe, &span), PEA_EOF);
    check_err(pea_pipe_end(pipe), PEA_E_STATE);
    check_err(pea_pipe_close(pipe, 0, ""), PEA_E_STATE);
    pea_pipe_feed_end(pipe);
    pea_pipe_abort(pipe, PEA_BY_USER, PEA_E_ABORTED, "again");
    pea_pipe_broken(pipe, PEA_BY_WRITING, 32);
    check_err(pea_pipe_next(pipe, &event), PEA_MORE);
    assert_int_equal(pea_pipe_state(pipe), PEA_CLOSED);
}

/* After CLOSED every call fails in its own way and changes nothing: after an orderly end, and after a cut anywhere. */
static void ends_are_final(void **state)
{
    extent e = measure(*state);
    for (size_t at = 0; at <= e.heard[0]; at += 1 + e.heard[0] / 20) {
        talk t;
        talk_open(&t, *state);
        if (at > 0)
            t.link.cut_off_at = at - 1;
        link_run(&t.link);
        link_hang_up(&t.link);
        for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
            pea_reason before = t.link.party[side].reason;
            check_dead(t.link.party[side].pipe);
            assert_int_equal(before.err, t.link.party[side].reason.err);
        }
        talk_end(&t);
    }
}

/* Freed in any state, half-way or later: nothing leaks. */
static void freed_at_any_time(void **state)
{
    extent e = measure(*state);
    for (size_t at = 0; at < e.written[0] + e.written[1]; at += 1 + (e.written[0] + e.written[1]) / 30) {
        talk t;
        talk_open(&t, *state);
        for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++)
            link_drain(&t.link, side);
        for (size_t fed = 0; fed < at; fed++) {
            pea_side side = fed % 2 == 0 ? PEA_RESPONDER : PEA_INITIATOR;
            link_party *from = &t.link.party[link_other(side)];
            if (from->delivered < from->wire_len)
                link_feed(&t.link, side, from->wire + from->delivered, 1);
            link_drain(&t.link, side);
            if (t.link.idle != NULL && fed % 7 == 0)
                t.link.idle(t.link.idle_arg);
        }
        talk_end(&t);
    }
}

/* ---- Every case over every chain ---- */

typedef struct suite_case {
    const char *name;
    CMUnitTestFunction run;
    unsigned needs; /* flags of the chains that it is about */
} suite_case;

#define CASE(f, needs) \
    {                  \
#f, f, needs   \
    }

static const suite_case suite[] = {
    CASE(whole, 0),
    CASE(split_at_every_byte, 0),
    CASE(byte_by_byte, 0),
    CASE(random_pieces, 0),
    CASE(large_messages, 0),
    CASE(truncated_at_every_byte, 0),
    CASE(flipped_at_every_byte, CHAIN_AUTHENTIC),
    CASE(injected_plaintext, CHAIN_AUTHENTIC),
    CASE(every_allocation_fails, 0),
    CASE(garbage, CHAIN_AUTHENTIC),
    CASE(ends_are_final, 0),
    CASE(freed_at_any_time, 0),
};

int chain_suite(const char *name, const chain_case *cases, size_t n)
{
    const size_t n_suite = sizeof suite / sizeof suite[0];
    struct CMUnitTest *tests = calloc(n * n_suite, sizeof *tests);
    char(*names)[96] = calloc(n * n_suite, sizeof *names);
    union {
        const chain_case *in;
        void *out;
    } state;
    if (tests == NULL || names == NULL)
        abort();
    size_t count = 0;
    for (size_t i = 0; i < n * n_suite; i++) {
        const chain_case *what = &cases[i / n_suite];
        const suite_case *c = &suite[i % n_suite];
        if ((what->flags & c->needs) != c->needs)
            continue;
        state.in = what;
        snprintf(names[count], sizeof names[count], "%s: %s", what->name, c->name);
        tests[count] = (struct CMUnitTest){.name = names[count], .test_func = c->run, .initial_state = state.out};
        count++;
    }
    int failed = _cmocka_run_group_tests(name, tests, count, NULL, NULL);
    free(tests);
    free(names);
    return failed;
}
