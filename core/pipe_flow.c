/* SPDX-License-Identifier: MIT */
/* What a pipe needs until it is READY, and while there are bytes in it. It gives it back when it rests: the next
 * connection of its thread that has something to do works with the same one. */
#include "pipe_state_priv.h"

const pea__flow pea__flow_at_rest = {.tx_open = SIZE_MAX, .partial_since = -1};

static pea__flow *flow_new(pea__pool *pool)
{
    pea__flow *f = pea__alloc(sizeof *f);
    if (f == NULL)
        return NULL;
    f->tx_open = SIZE_MAX;
    f->partial_since = -1;
    f->tx.pool = f->out.pool = f->carry.pool = pool;
    for (size_t i = 0; i <= PEA_STAGES_MAX; i++)
        f->rx[i].pool = pool;
    return f;
}

static pea__flow *spare_flow(pea__pool *pool)
{
    pea__spare *spare = pool != NULL ? pea__pool_take_spare(pool) : NULL;
    return spare != NULL ? (pea__flow *)(void *)((char *)spare - offsetof(pea__flow, spare)) : NULL;
}

static pea_err give(pea_pipe *p, pea__flow *f)
{
    if (f == NULL)
        return PEA_E_NOMEM;
    f->env.pipe = p;
    p->flow = f;
    return PEA_OK;
}

pea_err pea__flow_begin(pea_pipe *p)
{
    return give(p, flow_new(p->pool));
}

pea_err pea__flow_take(pea_pipe *p)
{
    if (!pea__flow_rests(p))
        return PEA_OK;
    pea__flow *f = spare_flow(p->pool);
    return give(p, f != NULL ? f : flow_new(p->pool));
}

static bool is_empty(const pea_buf *buf)
{
    return buf->base == NULL && buf->data == NULL;
}

/* Whether it is as flow_new() made it. */
static bool is_idle(const pea_pipe *p)
{
    const pea__flow *f = p->flow;
    if (f->tx_open != SIZE_MAX || f->lent != NULL || f->out_control != 0 || f->need != 0 || f->scanned != 0 ||
        f->partial_since >= 0 || f->expected != NULL || f->transcript != NULL || !is_empty(&f->tx) ||
        !is_empty(&f->out) || !is_empty(&f->carry))
        return false;
    for (size_t i = 0; i <= p->top; i++)
        if (!is_empty(&f->rx[i]))
            return false;
    return true;
}

void pea__flow_rest(pea_pipe *p)
{
    union { /* what writes to it has not asked, and must not go on */
        const pea__flow *in;
        pea__flow *out;
    } at_rest = {.in = &pea__flow_at_rest};
    if (p->busy || p->phase != PEA__OPEN || p->withheld || p->pong_owed || pea__flow_rests(p) || !is_idle(p))
        return;
    if (p->pool != NULL)
        pea__pool_give_spare(p->pool, &p->flow->spare);
    else
        pea__free(p->flow);
    p->flow = at_rest.out;
    p->tx_room = 0;
}

void pea__flow_free(pea_pipe *p)
{
    pea__flow *f = p->flow;
    if (f == NULL || pea__flow_rests(p))
        return;
    pea__free(f->expected);
    pea_buf_free(&f->tx);
    pea_buf_free(&f->out);
    pea_buf_free(&f->carry);
    for (size_t i = 0; i <= p->top; i++)
        pea_buf_free(&f->rx[i]);
    pea__free(f);
    p->flow = NULL;
}
