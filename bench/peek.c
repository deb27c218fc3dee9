/* SPDX-License-Identifier: MIT */
/* Counters out of a connection's pipe: see peek.h. */
#include "peek.h"

#include <string.h>

#include "noise/noise_priv.h"
#include "pipe_state_priv.h"
#include "runtime_priv.h"

uint64_t peek_chunks(const pea_conn *conn)
{
    return conn->pipe->chunks_in;
}

uint64_t peek_records(const pea_conn *conn)
{
    const pea_pipe *pipe = conn->pipe;
    if (pipe->top == 0)
        return 0;
    const pea_transform *t = pea__transform_at(pipe, pipe->top);
    return strcmp(t->ops->name, "noise") == 0 ? pea__record_received(t) : 0;
}
