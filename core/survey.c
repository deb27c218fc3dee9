/* SPDX-License-Identifier: MIT */
/* All connections of a node by value, wherever they live: a question goes from thread to thread, each writes down its
 * own, and the node's thread hands out the list. */
#include "runtime_priv.h"

typedef struct survey {
    pea_node *node;
    void (*done)(void *arg, const pea_conn_info *infos, size_t n, pea_err err);
    void *arg;
    pea_buf infos;
    pea_err err;
} survey;

static bool write_down(pea_conn *conn, void *arg)
{
    survey *s = arg;
    pea_conn_info info;
    pea_conn_snapshot(conn, &info);
    s->err = pea_buf_append(&s->infos, &info, sizeof info);
    return s->err == PEA_OK;
}

/* On the node's thread, at the end. */
static void finish(pea__worker *w, pea__post *post)
{
    (void)w;
    survey *s = post->arg;
    size_t n = s->err == PEA_OK ? s->infos.len / sizeof(pea_conn_info) : 0;
    s->done(s->arg, (const pea_conn_info *)(const void *)s->infos.data, n, s->err);
    pea__node_errand_over(s->node);
    pea_buf_free(&s->infos);
    pea__free(s);
    pea__free(post);
}

static void visit(pea__worker *w, pea__post *post)
{
    survey *s = post->arg;
    pea_runtime *r = w->runtime;
    if (s->err == PEA_OK)
        pea__registry_each(s->node, write_down, s);
    bool last = w->index == r->n_threads;
    *post = (pea__post){.run = last ? finish : visit, .arg = s};
    pea__mailbox_post(last ? &r->worker : &r->threads[w->index], post);
}

pea_err pea_node_survey(pea_node *node, void (*done)(void *arg, const pea_conn_info *infos, size_t n, pea_err err),
                        void *arg)
{
    pea_runtime *r = node->runtime;
    if (pea__forked(r))
        return PEA_E_FORKED;
    survey *s = pea__alloc(sizeof *s);
    pea__post *post = pea__alloc(sizeof *post);
    if (s == NULL || post == NULL) {
        pea__free(s);
        pea__free(post);
        return PEA_E_NOMEM;
    }
    *s = (survey){.node = node, .done = done, .arg = arg};
    *post = (pea__post){.run = visit, .arg = s};
    atomic_fetch_add(&node->errands, 1); /* the node waits for finish() */
    if (r->n_threads == 0)
        visit(&r->worker, post);
    else
        pea__mailbox_post(&r->threads[0], post);
    return PEA_OK;
}
