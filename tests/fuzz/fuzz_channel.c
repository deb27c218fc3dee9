/* SPDX-License-Identifier: MIT */
/* The channel of an open connection: the peer has behaved until READY, then says anything, while our application sends,
 * ends and closes. Input: pairs of one byte for what we do, one for how many of the next bytes the peer says. */
#include <stdlib.h>
#include <string.h>

#include "pipe_priv.h"

static void require(bool condition)
{
    if (!condition)
        abort();
}

static unsigned closed;

static void take(pea_pipe *pipe, bool write)
{
    pea_event event;
    pea_span span;
    while (pea_pipe_next(pipe, &event) == PEA_OK) {
        require(closed == 0);
        closed += event.type == PEA_EVENT_CLOSED;
    }
    require(pea_pipe_next(pipe, &event) == PEA_MORE);
    while (write && pea_pipe_output(pipe, &span) == PEA_OK)
        pea_pipe_sent(pipe, span.len > 7 ? span.len - 3 : span.len);
}

static void feed(pea_pipe *pipe, const uint8_t *data, size_t len)
{
    uint8_t *lent = malloc(len + 1);
    size_t taken;
    require(lent != NULL);
    if (len > 0)
        memcpy(lent, data, len);
    require(pea_pipe_feed(pipe, lent, len, &taken) == PEA_OK);
    take(pipe, false);
    free(lent);
}

/* What the peer says to get there: our own words, but for the side. */
static void open_up(pea_pipe *pipe, pea_chain *chain, pea_side side)
{
    pea_pipe *peer;
    pea_span span;
    pea_event event;
    size_t taken;
    require(pea_pipe_new(&peer, chain, PEA_PIPE(.side = side == PEA_INITIATOR ? PEA_RESPONDER : PEA_INITIATOR), NULL) ==
            PEA_OK);
    for (unsigned i = 0; i < 6; i++) {
        pea_pipe *from = i % 2 == 0 ? peer : pipe, *to = i % 2 == 0 ? pipe : peer;
        while (pea_pipe_next(from, &event) == PEA_OK)
            continue;
        while (pea_pipe_output(from, &span) == PEA_OK) {
            require(pea_pipe_feed(to, span.data, span.len, &taken) == PEA_OK && taken == span.len);
            while (pea_pipe_next(to, &event) == PEA_OK)
                continue;
            pea_pipe_sent(from, span.len);
        }
    }
    pea_pipe_free(peer);
    require(pea_pipe_state(pipe) == PEA_READY);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pea_chain *chain;
    pea_pipe *pipe;
    if (size < 1)
        return 0;
    pea_side side = (data[0] & 1) != 0 ? PEA_RESPONDER : PEA_INITIATOR;
    closed = 0;
    require(pea_chain_new(&chain, NULL, NULL) == PEA_OK && pea_chain_plain(chain) == PEA_OK);
    require(pea_pipe_new(&pipe, chain, PEA_PIPE(.side = side, .half_close = (data[0] & 2) != 0, .high_water = 300),
                         NULL) == PEA_OK);
    open_up(pipe, chain, side);
    for (size_t at = 1; at + 2 <= size;) {
        uint8_t what = data[at] % 8;
        size_t n = data[at + 1] < size - at - 2 ? data[at + 1] : size - at - 2;
        pea_err err = what == 0            ? pea_pipe_send(pipe, data + at + 2, n)
                      : what == 1 && n > 3 ? pea_pipe_end(pipe)
                                           : PEA_OK;
        if (what == 2 && n > 5)
            err = pea_pipe_close(pipe, data[at + 1], "text");
        require(err == PEA_OK || err == PEA_E_STATE || err == PEA_E_QUEUE_FULL);
        feed(pipe, data + at + 2, n);
        take(pipe, what != 3);
        require(pea__pipe_held(pipe) <= 8 * size + 65536);
        at += 2 + n;
    }
    pea_pipe_abort(pipe, PEA_BY_USER, PEA_E_ABORTED, NULL);
    take(pipe, true);
    require(closed == 1);
    pea_pipe_free(pipe);
    pea_chain_unref(chain);
    return 0;
}
