/* SPDX-License-Identifier: MIT */
/* What compilers are told beside the language, where they know it. */
#ifndef PEAPOD_COMPILER_PRIV_H
#define PEAPOD_COMPILER_PRIV_H

#if defined(__GNUC__) || defined(__clang__)
#define PEA__APART __attribute__((noinline))              /* what a fast path calls seldom: inlined it costs all */
#define PEA__HIDDEN __attribute__((visibility("hidden"))) /* a variable of ours alone: found without a table */
#else
#define PEA__APART
#define PEA__HIDDEN
#endif

#endif
