/* SPDX-License-Identifier: MIT */
/* How a node ends: shut down, with a deadline, or freed; on its own thread, or in a callback on a worker. It is gone
 * when the last of its connections and errands is. */
#include "peapod/handover.h"
#include "runtime_priv.h"

static void deadline_stop(pea_node *node)
{
    if (!ev_is_active(&node->deadline))
        return;
    ev_ref(node->runtime->worker.loop);
    ev_timer_stop(node->runtime->worker.loop, &node->deadline);
}

static void tell_done(pea_node *node)
{
    while (node->done != NULL) {
        pea__done *d = node->done;
        node->done = d->next;
        if (d->fn != NULL)
            d->fn(d->arg);
        pea__free(d);
    }
}

static void unlisten_all(pea_node *node)
{
    pea_handover_withdraw(node);
    while (node->listeners != NULL)
        pea_node_unlisten(node, node->listeners);
}

static void bury(pea_node *node)
{
    pea__judge_leave(node);
    node->runtime->nodes--;
    atomic_fetch_sub(&node->runtime->ending, 1);
    pea__node_clear(node);
}

void pea__node_due(pea_node *node)
{
    if (node->placed > 0 || atomic_load(&node->errands) > 0)
        return;
    deadline_stop(node);
    tell_done(node);
    if (!node->freed || node->due) /* freed by on_done: the next pass has it */
        return;
    node->gone = true;
    if (!node->held)
        bury(node);
}

void pea__node_errand_over(pea_node *node)
{
    atomic_fetch_sub(&node->errands, 1);
    if (node->shutting_down || node->freed)
        pea__worker_queue_node(&node->runtime->worker, node);
}

static void run_free(pea__worker *w, pea__post *post)
{
    pea_node *node = post->arg;
    pea__free(post);
    pea__node_errand_over(node);
    pea_node_free(node);
    atomic_fetch_sub(&w->runtime->ending, 1);
}

/* From a callback on a worker. */
static void free_by_post(pea_node *node)
{
    pea__registry_lock(node);
    pea__post *post = node->free_there;
    node->free_there = NULL;
    pea__registry_unlock(node);
    if (post == NULL)
        return;
    atomic_fetch_add(&node->errands, 1);         /* until it has arrived */
    atomic_fetch_add(&node->runtime->ending, 1); /* the same */
    *post = (pea__post){.run = run_free, .arg = node};
    pea__mailbox_post(&node->runtime->worker, post);
}

void pea_node_free(pea_node *node)
{
    if (node == NULL || pea__forked(node->runtime))
        return;
    pea__worker *w = &node->runtime->worker;
    if (pea__worker_here(node->runtime) != w) {
        free_by_post(node);
        return;
    }
    if (node->freed)
        return;
    node->freed = true;
    atomic_fetch_add(&node->runtime->ending, 1);
    node->held = !w->inside;
    unlisten_all(node);
    pea__node_ends(node);
    pea__worker_queue_node(w, node);
    if (!node->held)
        return;
    while (!node->gone)
        pea__worker_turn(w);
    bury(node);
}

/* ---- Shutdown ---- */

static void on_deadline(struct ev_loop *loop, ev_timer *timer, int events)
{
    pea_node *node = timer->data;
    (void)loop;
    (void)events;
    deadline_stop(node);
    node->overdue = true;
    pea__node_ends(node);
}

void pea__node_deadline_init(pea_node *node)
{
    ev_init(&node->deadline, on_deadline);
    node->deadline.data = node;
}

static void deadline_set(pea_node *node, uint32_t ms)
{
    struct ev_loop *loop = node->runtime->worker.loop;
    double in = (ms != 0 ? ms : node->limits.linger_ms) / 1e3;
    if (ev_is_active(&node->deadline) && ev_timer_remaining(loop, &node->deadline) <= in)
        return; /* a second call only shortens it */
    deadline_stop(node);
    ev_now_update(loop);
    ev_timer_set(&node->deadline, in, 1.);
    ev_timer_start(loop, &node->deadline);
    ev_unref(loop);
    pea__worker_touch(&node->runtime->worker);
}

static void shut_down(pea_node *node, uint32_t deadline_ms, pea__done *done)
{
    done->next = node->done;
    node->done = done;
    node->shutting_down = true;
    unlisten_all(node);
    pea__node_ends(node);
    if (node->counts.connections > 0)
        deadline_set(node, deadline_ms);
    pea__worker_queue_node(&node->runtime->worker, node);
}

static void run_shutdown(pea__worker *w, pea__post *post)
{
    pea__done *done = post->arg;
    pea_node *node = done->node;
    (void)w;
    pea__free(post);
    shut_down(node, done->deadline_ms, done);
    pea__node_errand_over(node);
}

pea_err pea_node_shutdown(pea_node *node, uint32_t deadline_ms, void (*on_done)(void *arg), void *arg)
{
    if (pea__forked(node->runtime))
        return PEA_E_FORKED;
    bool here = pea__worker_here(node->runtime) == &node->runtime->worker;
    pea__done *done = pea__alloc(sizeof *done);
    pea__post *post = here ? NULL : pea__alloc(sizeof *post);
    if (done == NULL || (!here && post == NULL)) {
        pea__free(done);
        pea__free(post);
        return PEA_E_NOMEM;
    }
    *done = (pea__done){.node = node, .deadline_ms = deadline_ms, .fn = on_done, .arg = arg};
    if (here) {
        shut_down(node, deadline_ms, done);
        return PEA_OK;
    }
    atomic_fetch_add(&node->errands, 1); /* until it has arrived */
    *post = (pea__post){.run = run_shutdown, .arg = done};
    pea__mailbox_post(&node->runtime->worker, post);
    return PEA_OK;
}
