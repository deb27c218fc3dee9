/* SPDX-License-Identifier: MIT */
/* What happens to every message, inline, with the default codec: a send that meets an open window, and messages that
 * lie whole in the plaintext on top. Both say no wherever something else needs a thought; pea_pipe_send() and
 * pea_pipe_next() then give it one. */
#ifndef PEAPOD_PIPE_FAST_PRIV_H
#define PEAPOD_PIPE_FAST_PRIV_H

#include <string.h>

#include "pipe_state_priv.h"

static inline void pea__put_be32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

static inline uint32_t pea__get_be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Whether the window is open for a message of `len` bytes: then it has its place at the queue's back, and is put there
 * at once, by pea__message_put(). */
static inline bool pea__pipe_place(pea_pipe *p, size_t len, uint8_t **at)
{
    if (len >= p->length4_end || len + 4 >= p->tx_room) /* a closed window has no room for nothing */
        return false;
    *at = p->flow->tx.data + p->flow->tx.len;
    p->flow->tx.len += len + 4;
    p->tx_room -= len + 4;
    return true;
}

static inline void pea__message_put(uint8_t *at, const void *data, size_t len)
{
    pea__put_be32(at, (uint32_t)len);
    if (len > 0)
        memcpy(at + 4, data, len);
}

/* Plaintext at whose front messages may be handed out one after another; empty where anything else comes first. */
static inline pea_span pea__pipe_view(const pea_pipe *p)
{
    const pea_buf *plain = &p->flow->rx[p->top];
    if (p->phase != PEA__OPEN || p->want_drain || p->judge_due || p->withheld || p->flow->carry.len > 0)
        return (pea_span){NULL, 0};
    return (pea_span){plain->data, plain->len < p->left ? plain->len : p->left};
}

/* Whether a message lies whole at the front of a view. */
static inline bool pea__message_whole(const pea_pipe *p, pea_span view, size_t *len)
{
    if (view.len < 4)
        return false;
    *len = pea__get_be32(view.data);
    return *len < p->length4_end && *len <= view.len - 4;
}

/* `n` bytes at its front, of whole messages, have been handed out. They are good until the pipe is asked again. */
static inline void pea__pipe_viewed(pea_pipe *p, size_t n)
{
    if (n == 0)
        return;
    pea_buf *plain = &p->flow->rx[p->top];
    plain->data += n;
    plain->len -= n;
    if (p->left != SIZE_MAX)
        p->left -= n;
    p->flow->need = p->flow->scanned = 0;
    p->flow->partial_since = -1;
}

#endif
