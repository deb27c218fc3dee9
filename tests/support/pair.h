/* SPDX-License-Identifier: MIT */
/* Two pipes over a link that are READY: the ground on which tests of pipes stand. */
#ifndef PEAPOD_TEST_PAIR_H
#define PEAPOD_TEST_PAIR_H

#include "link.h"

/* What lies between them: nothing or toy_xor, in each of the modes. */
typedef enum pair_kind { PLAIN, XOR, STREAM, STREAM_XOR, RECORDS } pair_kind;

/* A chain of that kind, which the caller unrefs. */
pea_chain *pair_chain(pair_kind kind);

/* Opens one of that kind, or over a chain of the test's own. `opts` may be NULL; its side is not looked at. */
void pair_open(test_link *link, pair_kind kind, const pea_pipe_opts *opts);
void pair_open_between(test_link *link, pea_chain *const chains[2], const pea_pipe_opts *opts); /* by side */
void pair_open_over(test_link *link, pea_chain *chain, const pea_pipe_opts *opts);

/* Frees both, and checks that no memory of the library is left. */
void pair_close(test_link *link);

/* The initiator's pipe and the responder's. */
static inline pea_pipe *left(const test_link *link)
{
    return link->party[PEA_INITIATOR].pipe;
}

static inline pea_pipe *right(const test_link *link)
{
    return link->party[PEA_RESPONDER].pipe;
}

/* The bytes of one write, without taking them. 0: there are none. */
size_t pair_peek(pea_pipe *pipe);

/* Takes all that is to be written, and loses it. */
void pair_drop_output(pea_pipe *pipe);

#endif
