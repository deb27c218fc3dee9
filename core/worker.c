/* SPDX-License-Identifier: MIT */
/* One loop thread: its buffers, and the end of each round, when queued connections are flushed and dead ones freed.
 * Nothing is freed inside a callback. */
#include <assert.h>
#include <string.h>

#include "err_priv.h"
#include "runtime_priv.h"

bool pea__worker_enter(pea__worker *w)
{
    if (pea__forked(w->runtime))
        return false; /* a child must not speak with its parent's keys and nonces */
    if (!w->inside) {
        w->inside = true;
        return true;
    }
    w->missed = true;
    if (!w->nested_told) {
        w->nested_told = true;
        pea__log(w->runtime, PEA_LOG_ERROR, NULL, NULL,
                 "ev_run() was called inside a callback of peapod: its connections rest until that returns");
    }
    assert(false && "ev_run() inside a callback of peapod");
    return false;
}

void pea__worker_touch(pea__worker *w)
{
    pea_runtime *r = w->runtime;
    if (r->dispatch != NULL && w == &r->worker && !pea__forked(r)) /* a child has no thread to tell */
        pea__dispatch_touch(r->dispatch, &w->mail);
}

/* Makes the end of this round come, after all callbacks of higher priority. */
static void feed(pea__worker *w)
{
    ev_feed_event(w->loop, &w->rounds, EV_CUSTOM);
    pea__worker_touch(w);
}

void pea__worker_leave(pea__worker *w)
{
    w->inside = false;
    if (!w->missed)
        return;
    w->missed = false; /* sockets are asked again anyway; these two say it only once */
    feed(w);
    ev_feed_event(w->loop, &w->mail, EV_ASYNC);
}

/* ---- Rounds ---- */

void pea__worker_rounds(pea__worker *w)
{
    if (w->round == NULL && w->nodes_due == NULL)
        feed(w);
}

void pea__worker_queue(pea__worker *w, pea_conn *conn)
{
    if (conn->queued)
        return;
    conn->queued = true;
    pea__worker_rounds(w);
    conn->round_next = NULL;
    *w->round_end = conn;
    w->round_end = &conn->round_next;
}

void pea__worker_queue_node(pea__worker *w, pea_node *node)
{
    if (node->due)
        return;
    node->due = true;
    pea__worker_rounds(w);
    node->due_next = w->nodes_due;
    w->nodes_due = node;
}

/* One pass over what is queued now. */
static void run_round(pea__worker *w)
{
    pea_conn *conn = w->round;
    w->round = NULL;
    w->round_end = &w->round;
    while (conn != NULL) {
        pea_conn *next = conn->round_next;
        conn->queued = false;
        pea__conn_round(conn);
        conn = next;
    }
    pea_node *node = w->nodes_due;
    w->nodes_due = NULL;
    while (node != NULL) {
        pea_node *next = node->due_next;
        node->due = false;
        pea__node_due(node);
        node = next;
    }
}

/* ---- Memory that a burst left ---- */

#define TRIM_S 1.

static void on_trim(struct ev_loop *loop, ev_timer *timer, int events)
{
    pea__worker *w = timer->data;
    (void)events;
    if (pea__forked(w->runtime))
        return;
    w->pool.trims = pea__pool_is_stretched(&w->pool);
    pea__pool_trim(&w->pool);
    if (w->pool.trims)
        return;
    ev_ref(loop);
    ev_timer_stop(loop, timer);
}

static void trim_start(pea__worker *w)
{
    if (w->pool.trims || !pea__pool_is_stretched(&w->pool))
        return;
    w->pool.trims = true;
    ev_timer_set(&w->trim, TRIM_S, TRIM_S);
    ev_timer_start(w->loop, &w->trim);
    ev_unref(w->loop); /* it keeps no loop alive */
}

static void trim_stop(pea__worker *w)
{
    if (!ev_is_active(&w->trim))
        return;
    ev_ref(w->loop);
    ev_timer_stop(w->loop, &w->trim);
}

static void on_round(struct ev_loop *loop, ev_timer *timer, int events)
{
    pea__worker *w = timer->data;
    (void)events;
    if (!pea__worker_enter(w))
        return;
    run_round(w);
    bool more = pea__metering_round(w);
    trim_start(w);
    pea__worker_leave(w);
    ev_clear_pending(loop, timer); /* what the pass queued waits until sockets have had their turn */
    if ((more || w->round != NULL || w->nodes_due != NULL) && !ev_is_active(timer)) {
        ev_timer_set(timer, 0., 0.);
        ev_timer_start(loop, timer);
    }
}

void pea__worker_turn(pea__worker *w)
{
    if (w->round == NULL && w->nodes_due == NULL)
        pea__mailbox_wait(w);
    w->inside = true;
    pea__mailbox_run(w);
    run_round(w);
    pea__worker_leave(w);
}

/* ---- Life ---- */

static void on_mail(struct ev_loop *loop, ev_async *mail, int events)
{
    pea__worker *w = mail->data;
    (void)loop;
    (void)events;
    if (!pea__worker_enter(w))
        return;
    pea__judge_run(w);
    pea__mailbox_run(w);
    pea__sweep_run(w);
    pea__partial_shed(w);
    pea__worker_leave(w);
}

/* libev needs as many descriptors for the mailbox, and aborts where there are none. */
static pea_err two_descriptors(pea_error *why)
{
    int fds[2];
    pea_err err = pea__fds_open(fds, why);
    if (err == PEA_OK)
        pea__fds_close(fds);
    return err;
}

pea_err pea__worker_start(pea__worker *w, pea_runtime *runtime, struct ev_loop *loop, pea_error *why)
{
    pea_err err = two_descriptors(why);
    if (err != PEA_OK)
        return err;
    w->scratch = pea__realloc(NULL, PEA__HEADROOM_BYTES + PEA__SCRATCH_BYTES);
    if (w->scratch == NULL)
        return pea__error(why, PEA_E_NOMEM, NULL);
    w->runtime = runtime;
    w->fork_count = runtime->fork_count;
    w->work_ms = pea__work_ms;
    w->loop = loop;
    pea__registry_worker_init(w);
    w->round_end = &w->round;
    w->posts_end = &w->posts;
    (void)pthread_mutex_init(&w->mail_lock, NULL); /* without attributes they cannot fail */
    (void)pthread_cond_init(&w->mail_came, NULL);
    ev_timer_init(&w->rounds, on_round, 0., 0.);
    ev_set_priority(&w->rounds, EV_MINPRI);
    w->rounds.data = w;
    ev_init(&w->trim, on_trim);
    w->trim.data = w;
    ev_init(&w->unsaid, pea__log_on_timer);
    w->unsaid.data = w;
    ev_async_init(&w->mail, on_mail);
    w->mail.data = w;
    ev_async_start(loop, &w->mail);
    ev_unref(loop); /* the mailbox keeps no loop alive */
    return PEA_OK;
}

void pea__worker_stop(pea__worker *w)
{
    pea__metering_stop(w);
    ev_clear_pending(w->loop, &w->rounds);
    ev_timer_stop(w->loop, &w->rounds);
    trim_stop(w);
    pea__log_stop(w);
    ev_ref(w->loop);
    ev_async_stop(w->loop, &w->mail);
    pea__mailbox_drop(w);
    pthread_cond_destroy(&w->mail_came);
    pthread_mutex_destroy(&w->mail_lock);
    pea__pool_clear(&w->pool);
    pea__free(w->scratch);
}
