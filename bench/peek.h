/* SPDX-License-Identifier: MIT */
/* What a bench looks at inside the library. */
#ifndef PEAPOD_BENCH_PEEK_H
#define PEAPOD_BENCH_PEEK_H

#include "peapod/conn.h"

/* DATA chunks that came in so far; 0 in foreign modes. */
uint64_t peek_chunks(const pea_conn *conn);

/* Noise records that came in so far; 0 without Noise. */
uint64_t peek_records(const pea_conn *conn);

#endif
