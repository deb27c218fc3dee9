/* SPDX-License-Identifier: MIT */
/* What the two processes of a bench ask of others: system calls of the kernel, allocations of the allocator. Counted
 * one by one, never sampled. */
#ifndef PEAPOD_BENCH_COUNT_H
#define PEAPOD_BENCH_COUNT_H

#include <stdint.h>

typedef struct count {
    uint64_t syscalls, allocations;
    uint64_t writes; /* those of the system calls that send */
} count;

/* Shares the counters, and has peapod's memory counted. Before two_fork(), and before anything else of peapod. */
void count_begin(void);

/* From here on the calling process counts as the sender. */
void count_as_sender(void);

/* What both processes together have asked for until now. */
count count_now(void);

#endif
