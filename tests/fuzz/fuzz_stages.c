/* SPDX-License-Identifier: MIT */
/* Two pipes whose chains have stages, and somebody on the wire between them: neither hears what the other did not say.
 * Input: one byte that chooses the chain, then pairs of what he does and how much of it. */
#include <stdlib.h>
#include <string.h>

#include "peapod/chain.h"
#include "pipe_priv.h"
#include "support/toys.h"

#define XXPSK0 "Noise_XXpsk0_25519_ChaChaPoly_BLAKE2b"

enum { PASS, FLIP, INSERT, DROP, ANSWER, N_ACTIONS, TALK = 1, LOOKUP = 2, STREAM = 4, GATE = 8 };

static const uint8_t words[] = "nothing but this is ever heard, in this order", secret[PEA_KEY_BYTES] = {5};
static toy_talk talk = {"STARTTLS\n", "220 go ahead\n"};
static toy_lookup lookup = {.name = "alice"};

typedef struct end {
    pea_pipe *pipe;
    pea_buf wire; /* what it wrote and nobody passed on */
    size_t heard, ready, closed;
} end;

static void require(bool condition)
{
    if (!condition)
        abort();
}

static pea_chain *make_chain(uint8_t kind, pea_identity *identity)
{
    pea_chain *chain;
    bool gate = (kind & GATE) != 0;
    require(pea_chain_new(&chain, PEA_CHAIN(.mode = (kind & STREAM) != 0 ? PEA_STREAM : PEA_NATIVE), NULL) == PEA_OK);
    require((kind & TALK) == 0 || pea_chain_add(chain, &toy_talk_ops, &talk, NULL) == PEA_OK);
    require(
        pea_chain_noise(chain,
                        PEA_NOISE(.identity = identity, .protocol = gate ? XXPSK0 : NULL, .psk = gate ? secret : NULL,
                                  .gate_window_ms = gate && (kind & STREAM) == 0 ? 1000 : 0),
                        NULL) == PEA_OK);
    require((kind & LOOKUP) == 0 || pea_chain_add(chain, &toy_lookup_ops, &lookup, NULL) == PEA_OK);
    return chain;
}

/* Takes what there is, and says `words` once it may. */
static void turn(end *e)
{
    pea_event event;
    while (pea_pipe_next(e->pipe, &event) == PEA_OK) {
        require(e->closed == 0 && (event.type != PEA_EVENT_MESSAGE || e->ready == 1));
        e->closed += event.type == PEA_EVENT_CLOSED;
        e->ready += event.type == PEA_EVENT_READY;
        for (size_t i = 0; event.type == PEA_EVENT_READY && i < 3; i++)
            require(pea_pipe_send(e->pipe, words + 15 * i, 15) <= PEA_OK);
        if (event.type == PEA_EVENT_MESSAGE)
            require(event.len == 15 && e->heard++ < 3 && memcmp(event.data, words + 15 * e->heard - 15, 15) == 0);
    }
    for (pea_span span; pea_pipe_output(e->pipe, &span) == PEA_OK; pea_pipe_sent(e->pipe, span.len))
        require(span.len <= PEA_WRITE_MAX && pea_buf_append(&e->wire, span.data, span.len) == PEA_OK);
    require(e->ready <= 1 && pea__pipe_held(e->pipe) <= 2 * PEA_HANDSHAKE_BUFFER_MAX);
}

static void act(end *from, end *to, uint8_t action, uint8_t much)
{
    size_t len = much < from->wire.len ? much : from->wire.len, taken = action == DROP ? len : 0;
    if (action == FLIP && len > 0)
        from->wire.data[0] ^= much;
    else if (action == INSERT)
        require(pea_pipe_feed(to->pipe, &much, 1, &taken) == PEA_OK);
    else if (action == PASS)
        require(pea_pipe_feed(to->pipe, from->wire.data, len, &taken) == PEA_OK && taken <= len);
    else if (action == ANSWER && lookup.open) /* it may be the wrong side: that one knows no such question */
        lookup.open = pea_pipe_resume(to->pipe, lookup.ticket, (much & 1) != 0 ? PEA_E_REFUSED : PEA_OK) != PEA_OK;
    pea_buf_consume(&from->wire, action != INSERT ? taken : 0);
    turn(to);
    turn(from);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    end ends[2] = {{0}, {0}};
    static pea_identity *identity;
    pea_peer peer;
    lookup.open = false;
    require(identity != NULL || pea_identity_from_secret(&identity, secret, NULL) == PEA_OK);
    pea_identity_peer(identity, &peer);
    pea_chain *chain = make_chain(size > 0 ? data[0] : 0, identity);
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
        require(pea_pipe_new(&ends[side].pipe, chain, PEA_PIPE(.side = side, .expect = &peer), NULL) == PEA_OK);
        turn(&ends[side]);
    }
    for (size_t i = 1; i + 1 < size; i += 2)
        act(&ends[data[i] / N_ACTIONS % 2], &ends[1 - data[i] / N_ACTIONS % 2], data[i] % N_ACTIONS, data[i + 1]);
    for (int side = 0; side < 2; side++) {
        pea_pipe_feed_end(ends[side].pipe);
        turn(&ends[side]);
        turn(&ends[side]); /* what it still had to say is written now */
        require(ends[side].closed == 1);
        pea_pipe_free(ends[side].pipe);
        pea_buf_free(&ends[side].wire);
    }
    pea_chain_unref(chain);
    return 0;
}
