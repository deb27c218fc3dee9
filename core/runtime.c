/* SPDX-License-Identifier: MIT */
/* A runtime: what the connections of many nodes share on one loop, the caller's or its own (dispatch.c). Nothing here
 * is global but the list that tickets need. */
#include <string.h>

#include "err_priv.h"
#include "resolver_priv.h"

#define MEMORY_LIMIT_DEFAULT (UINT64_C(1) << 30)
#define MAILBOX_BYTES_DEFAULT (16u << 20)
#define PARTIAL_LIMIT_DEFAULT (UINT64_C(256) << 20)

/* ---- All runtimes, by serial ---- */

static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static pea_runtime *all;
static uint64_t last_serial;
unsigned pea__fork_count;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

/* Another thread may have held the lock when this one forked; in the child there is no other. */
static void on_fork_child(void)
{
    pea__fork_count++;
    pthread_mutex_init(&all_lock, NULL);
}

static void fork_watch(void)
{
    pthread_atfork(NULL, NULL, on_fork_child);
}

bool pea__runtime_with(uint64_t serial, void (*fn)(pea_runtime *runtime, void *arg), void *arg)
{
    pthread_mutex_lock(&all_lock);
    pea_runtime *r = all;
    while (r != NULL && r->serial != serial)
        r = r->next;
    if (r != NULL)
        fn(r, arg);
    pthread_mutex_unlock(&all_lock);
    return r != NULL;
}

static void all_add(pea_runtime *runtime)
{
    pthread_mutex_lock(&all_lock);
    runtime->serial = ++last_serial;
    runtime->next = all;
    all = runtime;
    pthread_mutex_unlock(&all_lock);
}

static void all_remove(pea_runtime *runtime)
{
    pthread_mutex_lock(&all_lock);
    for (pea_runtime **at = &all; *at != NULL; at = &(*at)->next) {
        if (*at == runtime) {
            *at = runtime->next;
            break;
        }
    }
    pthread_mutex_unlock(&all_lock);
}

/* ---- Life ---- */

static void stop(pea_runtime *r)
{
    if (r->resolver != NULL)
        pea__resolver_stop(r->resolver);
    if (r->dispatch != NULL)
        pea__dispatch_stop(r->dispatch, &r->worker.mail);
    pea__worker_stop(&r->worker);
    pea__dispatch_free(r->dispatch);
}

static pea_err start(pea_runtime *r, struct ev_loop *loop, uint32_t workers, pea_error *why)
{
    pea_err err = loop == NULL ? pea__dispatch_new(&r->dispatch, &loop, why) : PEA_OK;
    if (err != PEA_OK)
        return err;
    err = pea__worker_start(&r->worker, r, loop, why);
    if (err != PEA_OK) {
        pea__dispatch_free(r->dispatch);
        return err;
    }
    if (r->dispatch != NULL && (err = pea__dispatch_start(r->dispatch, why)) != PEA_OK) {
        pea__worker_stop(&r->worker);
        pea__dispatch_free(r->dispatch);
        return err;
    }
    err = pea__resolver_new(&r->resolver, why);
    if (err == PEA_OK)
        err = pea__threads_start(r, workers, why);
    if (err != PEA_OK)
        stop(r);
    return err;
}

pea_err pea_runtime_new(pea_runtime **runtime, const pea_runtime_opts *opts, pea_error *why)
{
    pea_runtime_opts o = PEA_RUNTIME_INIT;
    pea_err err = pea__options(&o, sizeof o, opts, why);
    if (err == PEA_OK && o.workers > PEA_WORKERS_MAX)
        err = pea__error(why, PEA_E_INVALID, "there can be 256 worker threads");
    if (err != PEA_OK)
        return err;
    pea_runtime *r = pea__alloc(sizeof *r);
    if (r == NULL)
        return pea__error(why, PEA_E_NOMEM, NULL);
    pthread_once(&fork_once, fork_watch);
    r->fork_count = pea__fork_count;
    r->memory_limit = o.memory_limit != 0 ? o.memory_limit : MEMORY_LIMIT_DEFAULT;
    r->partial_limit = o.partial_limit != 0 ? o.partial_limit : PARTIAL_LIMIT_DEFAULT;
    r->mailbox_bytes = o.mailbox_bytes != 0 ? o.mailbox_bytes : MAILBOX_BYTES_DEFAULT;
    r->log = o.log;
    r->log_arg = o.log_arg;
    r->log_level = o.log_level != 0 ? o.log_level : PEA_LOG_INFO;
    r->resolve = o.resolve;
    r->resolve_arg = o.resolve_arg;
    err = start(r, o.loop, o.workers, why);
    if (err != PEA_OK) {
        pea__free(r);
        return err;
    }
    all_add(r);
    *runtime = r;
    return PEA_OK;
}

pea_err pea_runtime_free(pea_runtime *runtime)
{
    if (runtime == NULL)
        return PEA_OK;
    if (pea__forked(runtime))
        return PEA_E_FORKED;
    if (runtime->worker.inside || (runtime->dispatch != NULL && pea__dispatch_inside(runtime->dispatch)))
        return PEA_E_STATE;
    while (atomic_load(&runtime->ending) > 0) /* nodes that were freed inside of callbacks */
        pea__worker_turn(&runtime->worker);
    if (runtime->nodes > 0)
        return PEA_E_STATE;
    all_remove(runtime);
    pea__threads_stop(runtime);
    stop(runtime);
    pea__log_unsaid(runtime);
    pea__free(runtime);
    return PEA_OK;
}

uint64_t pea_runtime_memory(const pea_runtime *runtime)
{
    uint64_t held = pea__pool_held(&runtime->worker.pool);
    for (uint32_t i = 0; i < runtime->n_threads; i++)
        held += pea__pool_held(&runtime->threads[i].pool);
    return held;
}

void pea__log(const pea_runtime *runtime, pea_log_level level, const pea_node *node, const pea_conn *conn,
              const char *text)
{
    if (runtime->log == NULL || level > runtime->log_level)
        return;
    pea_log_line line = {.level = level, .text = text, .node = node != NULL ? node->name : NULL};
    pea_peer peer;
    pea_addr remote;
    if (conn != NULL) {
        line.conn = conn->id;
        remote = pea__place_addr(&conn->remote);
        line.remote = &remote;
        line.peer = pea__pipe_copy_peer(conn->pipe, &peer) ? &peer : NULL;
    }
    runtime->log(&line, runtime->log_arg);
}
