/* SPDX-License-Identifier: MIT */
/* A stage of the user's own that asks somebody and waits, as a look-up in a database does: answered late, twice, with
 * no, after the connection died, with another's ticket, and while the peer floods it. */
#include "support/check.h"
#include "support/faults.h"
#include "support/link.h"
#include "support/toys.h"

static const pea_span hello = {(const uint8_t *)"hello", 5};

typedef struct desk {
    toy_lookup lookup;
    test_link link;
    size_t blocks;
} desk;

static void desk_open(desk *d, bool behind_xor)
{
    static toy_upgrade xor_stage = {.nonce = {"nonce-i", "nonce-r"}, .secret = 5};
    *d = (desk){.lookup = {.name = "alice"}, .blocks = faults_blocks()};
    link_init(&d->link);
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
        pea_chain *chain;
        link_party *p = &d->link.party[side];
        check_ok(pea_chain_new(&chain, NULL, NULL));
        if (behind_xor)
            check_ok(pea_chain_add(chain, &toy_upgrade_ops, &xor_stage, NULL));
        check_ok(pea_chain_add(chain, &toy_lookup_ops, &d->lookup, NULL));
        check_ok(pea_chain_plain(chain));
        check_ok(pea_pipe_new(&p->pipe, chain, PEA_PIPE(.side = side), NULL));
        p->send = &hello;
        p->n_send = 1;
        p->closes = side == PEA_INITIATOR;
        p->await = 1;
        pea_chain_unref(chain);
    }
    link_run(&d->link);
    assert_true(d->lookup.open);
    assert_int_equal(d->lookup.asked, 1);
}

static void desk_close(desk *d)
{
    link_free(&d->link);
    assert_int_equal(faults_blocks(), d->blocks);
}

static pea_pipe *clerk(desk *d)
{
    return d->link.party[PEA_RESPONDER].pipe;
}

static void stage_answered_late_and_twice(void **state)
{
    for (unsigned behind = 0; behind < 2; behind++) {
        desk d;
        (void)state;
        desk_open(&d, behind);
        link_run(&d.link); /* nothing moves by itself */
        assert_int_equal(d.link.party[1].n_ready + d.link.party[1].n_closed, 0);
        check_ok(pea_pipe_resume(clerk(&d), d.lookup.ticket, PEA_OK));
        check_err(pea_pipe_resume(clerk(&d), d.lookup.ticket, PEA_E_REFUSED), PEA_E_STALE);
        link_run(&d.link);
        check_err(pea_pipe_resume(clerk(&d), d.lookup.ticket, PEA_OK), PEA_E_STALE);
        link_check_all(&d.link, PEA_INITIATOR);
        link_check_all(&d.link, PEA_RESPONDER);
        check_err(d.link.party[PEA_RESPONDER].reason.err, PEA_OK);
        desk_close(&d);
    }
}

static void stage_answered_with_no(void **state)
{
    desk d;
    (void)state;
    desk_open(&d, true);
    check_ok(pea_pipe_resume(clerk(&d), d.lookup.ticket, PEA_E_NOT_FOUND));
    link_run(&d.link);
    link_hang_up(&d.link);
    const pea_reason *why = &d.link.party[PEA_RESPONDER].reason;
    check_err(why->err, PEA_E_NOT_FOUND);
    assert_int_equal(why->origin, PEA_BY_HANDSHAKE);
    assert_string_equal(why->stage, "toy_lookup");
    assert_string_equal(why->text, "the look-up says no");
    assert_int_equal(d.link.party[0].n_ready + d.link.party[1].n_ready, 0);
    desk_close(&d);
}

static void stage_answered_after_death(void **state)
{
    for (unsigned way = 0; way < 3; way++) {
        desk d;
        (void)state;
        desk_open(&d, way % 2 == 0);
        if (way == 0)
            pea_pipe_feed_end(clerk(&d));
        else if (way == 1)
            pea_pipe_abort(clerk(&d), PEA_BY_TIMEOUT, PEA_E_TIMEOUT, "the handshake took too long");
        else
            check_ok(pea_pipe_close(clerk(&d), PEA_CODE_SHUTDOWN, NULL));
        link_run(&d.link);
        check_err(pea_pipe_resume(clerk(&d), d.lookup.ticket, PEA_OK), PEA_E_STALE);
        link_run(&d.link);
        link_hang_up(&d.link);
        assert_int_equal(d.link.party[PEA_RESPONDER].n_ready, 0);
        desk_close(&d);
    }
}

/* A ticket names one wait of one connection: neither another's nor a made-up one will do. */
static void tickets_of_others(void **state)
{
    desk a, b;
    (void)state;
    desk_open(&a, false);
    desk_open(&b, false);
    check_err(pea_pipe_resume(clerk(&a), b.lookup.ticket, PEA_OK), PEA_E_STALE);
    pea_ticket forged = a.lookup.ticket;
    forged.wait++;
    check_err(pea_pipe_resume(clerk(&a), forged, PEA_OK), PEA_E_STALE);
    check_err(pea_pipe_resume(clerk(&a), (pea_ticket){0}, PEA_OK), PEA_E_STALE);
    check_ok(pea_pipe_resume(clerk(&a), a.lookup.ticket, PEA_OK));
    link_run(&a.link);
    check_err(a.link.party[PEA_RESPONDER].reason.err, PEA_OK);
    link_free(&a.link);
    link_free(&b.link);
    assert_int_equal(faults_blocks(), a.blocks);
}

/* While a stage waits, what comes is kept up to 64 KiB, and then no more is taken. */
static void waits_within_bounds(void **state)
{
    static uint8_t flood[200000];
    desk d;
    (void)state;
    desk_open(&d, false);
    size_t all = 0;
    for (size_t taken = 1; taken > 0; all += taken)
        taken = link_feed(&d.link, PEA_RESPONDER, flood, 5000);
    assert_int_equal(all, PEA_HANDSHAKE_BUFFER_MAX);
    assert_int_equal(pea_pipe_room(clerk(&d)), 0);
    assert_true(faults_bytes() < 300000);
    check_ok(pea_pipe_resume(clerk(&d), d.lookup.ticket, PEA_OK));
    pea_pipe_feed_end(clerk(&d));
    while (link_drain(&d.link, PEA_RESPONDER))
        continue;
    check_err(d.link.party[PEA_RESPONDER].reason.err, PEA_E_PROTO); /* zeros are no HELLO */
    desk_close(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stage_answered_late_and_twice), cmocka_unit_test(stage_answered_with_no),
        cmocka_unit_test(stage_answered_after_death),    cmocka_unit_test(tickets_of_others),
        cmocka_unit_test(waits_within_bounds),
    };
    faults_install();
    return cmocka_run_group_tests_name("waits of a stage", tests, NULL, NULL);
}
