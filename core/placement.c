/* SPDX-License-Identifier: MIT */
/* Loop threads of the runtime's own, and which connection belongs to which. Listeners, dials and nodes stay on the
 * caller's loop; a connection is made there, given to the thread that has least to do, and lives there until it is
 * freed. What threads tell each other goes by mailbox or by a flag that is looked at soon after. */
#include <signal.h>
#include <string.h>

#include "err_priv.h"
#include "runtime_priv.h"

static _Thread_local pea__worker *here;

pea__worker *pea__worker_here(const pea_runtime *runtime)
{
    pea_runtime *r = pea__runtime_mutable(runtime);
    return here != NULL && here->runtime == runtime ? here : &r->worker;
}

/* ---- Threads ---- */

static void *run(void *arg)
{
    here = arg;
    ev_run(here->loop, 0);
    return NULL;
}

/* Signals are the application's, and are taken by its own threads. */
static int thread_create(pea__worker *w)
{
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int sys = pthread_create(&w->thread, NULL, run, w);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return sys;
}

static pea_err thread_start(pea_runtime *r, pea__worker *w, uint32_t index, pea_error *why)
{
    struct ev_loop *loop;
    pea_err err = pea__loop_open(&loop, why);
    if (err != PEA_OK)
        return err;
    err = pea__worker_start(w, r, loop, why);
    if (err != PEA_OK) {
        ev_loop_destroy(loop);
        return err;
    }
    w->index = index;
    ev_ref(loop); /* it has nobody else to keep it alive */
    int sys = thread_create(w);
    if (sys == 0)
        return PEA_OK;
    ev_unref(loop);
    pea__worker_stop(w);
    ev_loop_destroy(loop);
    return pea__error_sys(why, sys, "pthread_create");
}

static void thread_stop(pea__worker *w)
{
    atomic_store(&w->stopping, true);
    atomic_store(&w->sweep_due, true);
    ev_async_send(w->loop, &w->mail);
    (void)pthread_join(w->thread, NULL);
    ev_unref(w->loop);
    pea__worker_stop(w);
    ev_loop_destroy(w->loop);
}

pea_err pea__threads_start(pea_runtime *runtime, uint32_t n, pea_error *why)
{
    pea_err err = PEA_OK;
    if (n == 0)
        return PEA_OK;
    runtime->threads = pea__alloc(n * sizeof *runtime->threads);
    if (runtime->threads == NULL)
        return pea__error(why, PEA_E_NOMEM, NULL);
    while (runtime->n_threads < n && err == PEA_OK) {
        err = thread_start(runtime, &runtime->threads[runtime->n_threads], runtime->n_threads + 1, why);
        runtime->n_threads += err == PEA_OK;
    }
    if (err != PEA_OK)
        pea__threads_stop(runtime);
    return err;
}

void pea__threads_stop(pea_runtime *runtime)
{
    for (uint32_t i = 0; i < runtime->n_threads; i++)
        thread_stop(&runtime->threads[i]);
    pea__free(runtime->threads);
    runtime->threads = NULL;
    runtime->n_threads = 0;
}

/* ---- Connections ---- */

pea__worker *pea__least_loaded(pea_runtime *runtime)
{
    pea__worker *least = runtime->n_threads > 0 ? &runtime->threads[0] : &runtime->worker;
    for (uint32_t i = 1; i < runtime->n_threads; i++)
        if (atomic_load(&runtime->threads[i].connected) < atomic_load(&least->connected))
            least = &runtime->threads[i];
    return least;
}

/* On its own thread: it begins to live. */
static void arrive(pea__worker *w, pea__post *post)
{
    pea_conn *conn = post->arg;
    (void)w;
    pea__free(post);
    pea__conn_live(conn);
}

void pea__conn_place(pea_conn *conn)
{
    pea__worker *w = conn->worker;
    pea__post *travel = conn->travel;
    conn->travel = NULL;
    conn->node->placed++;
    if (travel == NULL) {
        pea__conn_live(conn);
        return;
    }
    atomic_fetch_add(&w->connected, 1);
    ev_ref(conn->node->runtime->worker.loop); /* as its socket would, if it were there */
    *travel = (pea__post){.run = arrive, .arg = conn};
    pea__mailbox_post(w, travel);
}

/* On the caller's loop: a connection is gone, and so is all that it had of its node. */
static void departed(pea__worker *w, pea_node *node)
{
    node->placed--;
    if (node->shutting_down || node->freed)
        pea__worker_queue_node(w, node);
}

static void depart(pea__worker *w, pea__post *post)
{
    pea_node *node = post->arg;
    pea__free(post);
    ev_unref(w->loop);
    departed(w, node);
}

/* Word of it must reach the caller's loop, and there may be no memory: its own becomes the letter. */
_Static_assert(sizeof(pea_conn) >= sizeof(pea__post), "a connection's memory holds a letter");

void pea__conn_departed(pea_conn *conn)
{
    pea__worker *w = conn->worker, *callers = &w->runtime->worker;
    pea_node *node = conn->node;
    if (w == callers) {
        pea__free(conn);
        departed(w, node);
        return;
    }
    atomic_fetch_sub(&w->connected, 1);
    pea__post *letter = (pea__post *)(void *)conn;
    *letter = (pea__post){.run = depart, .arg = node};
    pea__mailbox_post(callers, letter);
}

/* ---- Nodes that end ---- */

void pea__node_ends(pea_node *node)
{
    pea_runtime *r = node->runtime;
    if (r->n_threads == 0)
        for (pea_conn *c = node->conns; c != NULL; c = c->next)
            pea__conn_obey(c);
    for (uint32_t i = 0; i < r->n_threads; i++) {
        atomic_store(&r->threads[i].sweep_due, true);
        ev_async_send(r->threads[i].loop, &r->threads[i].mail);
    }
}

static void obey(pea_conn *conn, void *arg)
{
    (void)arg;
    pea__conn_obey(conn);
}

void pea__sweep_run(pea__worker *w)
{
    if (!atomic_exchange(&w->sweep_due, false))
        return;
    pea__registry_each_here(w, obey, NULL);
    if (atomic_load(&w->stopping))
        ev_break(w->loop, EVBREAK_ALL);
}
