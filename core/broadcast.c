/* SPDX-License-Identifier: MIT */
/* One message to many connections of a node, on whatever threads they are. Each thread that has connections is handed
 * it; the last one to have asked its own says so to the node's. */
#include "runtime_priv.h"

typedef struct broadcast {
    pea_node *node;
    pea_msg *msg;
    bool (*filter)(pea_conn *conn, void *arg);
    void (*done)(void *arg, const pea_broadcast_result *result);
    void *arg;
    atomic_uint left; /* threads that have yet to ask theirs */
    atomic_uint taken, refused;
    size_t bytes; /* what it counts for among those that are on their way */
    pea__post *answer;
    pea__post *asks[]; /* one for each thread */
} broadcast;

static void broadcast_free(broadcast *b)
{
    for (uint32_t i = 0; i < b->node->runtime->n_threads; i++)
        pea__free(b->asks[i]);
    pea__free(b->answer);
    pea__free(b);
}

/* ---- The two steps ---- */

/* On the node's thread, at the end. */
static void finish(pea__worker *w, pea__post *post)
{
    broadcast *b = post->arg;
    pea_broadcast_result result = {atomic_load(&b->taken), atomic_load(&b->refused)};
    if (b->done != NULL)
        b->done(b->arg, &result);
    pea_msg_unref(b->msg);
    atomic_fetch_sub(&w->runtime->broadcast_bytes, b->bytes);
    pea__node_errand_over(b->node);
    pea__free(post);
    pea__free(b);
}

static bool ask(pea_conn *conn, void *arg)
{
    broadcast *b = arg;
    if (pea_conn_state(conn) != PEA_READY || (b->filter != NULL && !b->filter(conn, b->arg)))
        return true;
    if (b->node->runtime->n_threads == 0 && pea__conn_superseded(conn))
        return true; /* where there are threads, nobody knows which of the two is asked first */
    bool taken = pea_conn_send_msg(conn, b->msg, NULL, NULL) == PEA_OK;
    atomic_fetch_add(taken ? &b->taken : &b->refused, 1);
    return true;
}

/* On a thread that has connections. */
static void ask_all(pea__worker *w, pea__post *post)
{
    broadcast *b = post->arg;
    pea__registry_each(b->node, ask, b);
    if (atomic_fetch_sub(&b->left, 1) == 1)
        pea__mailbox_post(&w->runtime->worker, b->answer);
    pea__free(post);
}

/* ---- The call ---- */

static pea__post *post_new(void (*run)(pea__worker *w, pea__post *post), broadcast *b)
{
    pea__post *post = pea__alloc(sizeof *post);
    if (post != NULL)
        *post = (pea__post){.run = run, .arg = b};
    return post;
}

/* All the memory that it will need, so that nothing can fail half-way. */
static broadcast *broadcast_new(pea_node *node)
{
    uint32_t threads = node->runtime->n_threads;
    broadcast *b = pea__alloc(sizeof *b + threads * sizeof b->asks[0]);
    if (b == NULL)
        return NULL;
    b->node = node;
    bool whole = (b->answer = post_new(finish, b)) != NULL;
    for (uint32_t i = 0; i < threads; i++)
        whole = (b->asks[i] = post_new(ask_all, b)) != NULL && whole;
    if (whole)
        return b;
    broadcast_free(b);
    return NULL;
}

pea_err pea_node_broadcast(pea_node *node, pea_msg *msg, bool (*filter)(pea_conn *conn, void *arg),
                           void (*done)(void *arg, const pea_broadcast_result *result), void *arg)
{
    pea_runtime *r = node->runtime;
    if (pea__forked(r))
        return PEA_E_FORKED;
    broadcast *b = broadcast_new(node);
    if (b == NULL)
        return PEA_E_NOMEM;
    size_t bytes = sizeof *b + pea_msg_span(msg).len;
    if (atomic_fetch_add(&r->broadcast_bytes, bytes) > r->mailbox_bytes) {
        atomic_fetch_sub(&r->broadcast_bytes, bytes);
        broadcast_free(b);
        return PEA_E_QUEUE_FULL;
    }
    b->msg = pea_msg_ref(msg);
    b->filter = filter;
    b->done = done;
    b->arg = arg;
    b->bytes = bytes;
    atomic_store(&b->left, r->n_threads);
    atomic_fetch_add(&node->errands, 1); /* the node waits for finish() */
    if (r->n_threads == 0) {
        pea__registry_each(node, ask, b);
        pea__mailbox_post(&r->worker, b->answer);
        return PEA_OK;
    }
    for (uint32_t i = 0, n = r->n_threads; i < n; i++)
        pea__mailbox_post(&r->threads[i], b->asks[i]);
    return PEA_OK;
}
