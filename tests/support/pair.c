/* SPDX-License-Identifier: MIT */
/* See pair.h. */
#include "pair.h"

#include "check.h"
#include "faults.h"
#include "toys.h"

static toy_upgrade xor_stage = {.nonce = {"nonce-i", "nonce-r"}, .secret = 77};
static toy_upgrade record_stage = {.nonce = {"nonce-i", "nonce-r"}, .secret = 78, .preserving = true};
static size_t blocks; /* that were out before */

pea_chain *pair_chain(pair_kind kind)
{
    pea_chain *chain;
    pea_mode mode = kind == RECORDS ? PEA_RECORDS : kind >= STREAM ? PEA_STREAM : PEA_NATIVE;
    check_ok(pea_chain_new(&chain, PEA_CHAIN(.mode = mode), NULL));
    if (kind == XOR || kind == STREAM_XOR)
        check_ok(pea_chain_add(chain, &toy_upgrade_ops, &xor_stage, NULL));
    if (kind == RECORDS)
        check_ok(pea_chain_add(chain, &toy_upgrade_ops, &record_stage, NULL));
    check_ok(pea_chain_plain(chain));
    return chain;
}

void pair_open_between(test_link *link, pea_chain *const chains[2], const pea_pipe_opts *opts)
{
    blocks = faults_blocks();
    link_init(link);
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
        pea_pipe_opts o = opts != NULL ? *opts : (pea_pipe_opts)PEA_PIPE_INIT;
        o.side = side;
        check_ok(pea_pipe_new(&link->party[side].pipe, chains[side], &o, NULL));
    }
    link_run(link);
    assert_int_equal(link->party[0].n_ready, 1);
    assert_int_equal(link->party[1].n_ready, 1);
}

void pair_open_over(test_link *link, pea_chain *chain, const pea_pipe_opts *opts)
{
    pair_open_between(link, (pea_chain *const[2]){chain, chain}, opts);
}

void pair_open(test_link *link, pair_kind kind, const pea_pipe_opts *opts)
{
    size_t before = faults_blocks();
    pea_chain *chain = pair_chain(kind);
    pair_open_over(link, chain, opts);
    pea_chain_unref(chain);
    blocks = before;
}

void pair_close(test_link *link)
{
    link_free(link);
    assert_int_equal(faults_blocks(), blocks);
}

size_t pair_peek(pea_pipe *pipe)
{
    pea_span span = {NULL, 0};
    pea_err err = pea_pipe_output(pipe, &span);
    assert_true(err == PEA_OK || span.len == 0);
    return span.len;
}

void pair_drop_output(pea_pipe *pipe)
{
    for (size_t n; (n = pair_peek(pipe)) > 0;)
        pea_pipe_sent(pipe, n);
}
