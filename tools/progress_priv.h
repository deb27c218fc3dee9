/* SPDX-License-Identifier: MIT */
/* How far a stream has come. */
#ifndef PEAPOD_PROGRESS_PRIV_H
#define PEAPOD_PROGRESS_PRIV_H

#include "stream_priv.h"

typedef struct tool_progress {
    struct ev_loop *loop;
    const tool_stream *stream;
    ev_timer timer;
    off_t size; /* of what is sent; 0: nobody knows */
    ev_tstamp began, before;
    double bytes_before;
} tool_progress;

/* Shows it where stderr is a terminal, from now to tool_progress_end(), which the stream must outlive. */
void tool_progress_begin(tool_progress *progress, struct ev_loop *loop, const tool_stream *stream, off_t size);

/* All zero is allowed. */
void tool_progress_end(tool_progress *progress);

#endif
