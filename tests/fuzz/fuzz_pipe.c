/* SPDX-License-Identifier: MIT */
/* A pipe of a plain native chain, before whom a stranger says anything at all from the greeting on. Input: one byte of
 * settings, then the stream. Whatever it says, the pipe neither breaks nor holds more than it may, it ends once, and
 * how the bytes were cut makes no difference. */
#include <stdlib.h>
#include <string.h>

#include "pipe_priv.h"

enum { RESPONDER = 1, HALF_CLOSE = 2, RAW = 4 };

typedef struct outcome {
    unsigned ready, messages, closed;
    size_t bytes;
    pea_err err;
    uint16_t code;
} outcome;

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void take(pea_pipe *pipe, outcome *o)
{
    pea_event event;
    pea_span span;
    while (pea_pipe_next(pipe, &event) == PEA_OK) {
        require(o->closed == 0 && (event.type == PEA_EVENT_READY || event.type == PEA_EVENT_CLOSED || o->ready == 1));
        o->ready += event.type == PEA_EVENT_READY;
        o->messages += event.type == PEA_EVENT_MESSAGE && event.len > 0;
        o->bytes += event.len;
        if (event.type != PEA_EVENT_CLOSED)
            continue;
        o->closed++;
        o->err = event.reason->err;
        o->code = event.reason->code;
        require(memchr(event.reason->text, 0, sizeof event.reason->text) != NULL);
    }
    require(pea_pipe_next(pipe, &event) == PEA_MORE);
    while (pea_pipe_output(pipe, &span) == PEA_OK) {
        require(span.len > 0 && span.len <= PEA_WRITE_MAX);
        pea_pipe_sent(pipe, span.len);
    }
}

static outcome run(const uint8_t *data, size_t size, uint8_t settings, size_t step)
{
    pea_chain *chain;
    pea_codec *codec = NULL;
    pea_pipe *pipe;
    outcome o = {0};
    require(pea_chain_new(&chain, NULL, NULL) == PEA_OK && pea_chain_plain(chain) == PEA_OK);
    require((settings & RAW) == 0 || pea_codec_raw(&codec) == PEA_OK);
    require(pea_pipe_new(&pipe, chain,
                         PEA_PIPE(.side = (settings & RESPONDER) != 0 ? PEA_RESPONDER : PEA_INITIATOR, .codec = codec,
                                  .half_close = (settings & HALF_CLOSE) != 0),
                         NULL) == PEA_OK);
    take(pipe, &o);
    for (size_t at = 0; at < size;) {
        size_t n = step < size - at ? step : size - at, taken;
        uint8_t *lent = malloc(n);
        require(lent != NULL);
        memcpy(lent, data + at, n);
        require(pea_pipe_feed(pipe, lent, n, &taken) == PEA_OK && taken <= n);
        take(pipe, &o);
        free(lent);
        require(pea__pipe_held(pipe) <= 8 * size + 65536);
        if (taken == 0)
            break;
        at += taken;
    }
    pea_pipe_feed_end(pipe);
    take(pipe, &o);
    require(o.closed == 1 || ((settings & HALF_CLOSE) != 0 && o.ready == 1));
    pea_pipe_free(pipe);
    pea_chain_unref(chain);
    pea_codec_unref(codec);
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    outcome whole = run(data + 1, size - 1, data[0], size), bytes = run(data + 1, size - 1, data[0], 1);
    require(whole.ready == bytes.ready && whole.bytes == bytes.bytes && whole.closed == bytes.closed &&
            whole.err == bytes.err && whole.code == bytes.code);
    return 0;
}
