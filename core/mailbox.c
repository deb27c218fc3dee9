/* SPDX-License-Identifier: MIT */
/* What threads other than a connection's own may ask for: posts in a bounded mailbox, run on its thread in
 * the order they came. */
#include <string.h>

#include "runtime_priv.h"
#include "utf8_priv.h"

/* Queues a post. PEA_OK | PEA_E_QUEUE_FULL, and the post is still the caller's. */
static pea_err post_to(pea__worker *w, pea__post *post)
{
    pea_err err = PEA_OK;
    pthread_mutex_lock(&w->mail_lock);
    if (post->bytes > 0 && w->post_bytes + post->bytes > w->runtime->mailbox_bytes) {
        err = PEA_E_QUEUE_FULL;
    } else {
        w->post_bytes += post->bytes;
        *w->posts_end = post;
        w->posts_end = &post->next;
        pthread_cond_signal(&w->mail_came);
    }
    pthread_mutex_unlock(&w->mail_lock);
    if (err == PEA_OK)
        ev_async_send(w->loop, &w->mail);
    return err;
}

void pea__mailbox_post(pea__worker *w, pea__post *post)
{
    post->bytes = 0;
    (void)post_to(w, post);
}

void pea__mailbox_wait(pea__worker *w)
{
    pthread_mutex_lock(&w->mail_lock);
    while (w->posts == NULL)
        pthread_cond_wait(&w->mail_came, &w->mail_lock);
    pthread_mutex_unlock(&w->mail_lock);
}

pea__worker *pea__mailbox_of(pea_runtime *runtime, uint64_t conn)
{
    uint64_t index = conn % (runtime->n_threads + 1u);
    return index == 0 ? &runtime->worker : &runtime->threads[index - 1];
}

static pea_err deliver(pea_runtime *runtime, uint64_t conn, pea__post *post)
{
    return post_to(pea__mailbox_of(runtime, conn), post);
}

static pea__post *take_all(pea__worker *w)
{
    pthread_mutex_lock(&w->mail_lock);
    pea__post *first = w->posts;
    w->posts = NULL;
    w->posts_end = &w->posts;
    w->post_bytes = 0;
    pthread_mutex_unlock(&w->mail_lock);
    return first;
}

void pea__mailbox_run(pea__worker *w)
{
    for (pea__post *post = take_all(w), *next; post != NULL; post = next) {
        next = post->next;
        post->run(w, post);
    }
}

/* The runtime ends: nobody is left to whom a post could mean anything. */
void pea__mailbox_drop(pea__worker *w)
{
    for (pea__post *post = take_all(w), *next; post != NULL; post = next) {
        next = post->next;
        if (post->owed) {
            post->run(w, post);
            continue;
        }
        if (post->on_sent != NULL)
            post->on_sent(post->arg, PEA_E_STALE);
        pea_msg_unref(post->msg);
        pea__free(post);
    }
}

/* ---- Resume ---- */

typedef struct resume {
    pea__post *post;
    pea_err err;
} resume;

static void run_resume(pea__worker *w, pea__post *post)
{
    pea_conn *conn = pea__registry_find(w, post->ticket.conn);
    bool taken = conn != NULL && !conn->over && pea_pipe_resume(conn->pipe, post->ticket, post->verdict) == PEA_OK;
    pea__free(post);
    if (!taken)
        return; /* answered already, or too late */
    if (conn->ready)
        pea__conn_judge(conn); /* a no holds also while reading is paused */
    conn->pump_due = true;
    pea__worker_queue(w, conn);
}

static void resume_in(pea_runtime *runtime, void *arg)
{
    resume *r = arg;
    r->err = pea__forked(runtime) ? PEA_E_FORKED : deliver(runtime, r->post->ticket.conn, r->post);
}

pea_err pea_post_resume(pea_ticket ticket, pea_err verdict)
{
    pea__post *post = pea__alloc(sizeof *post);
    if (post == NULL)
        return PEA_E_NOMEM;
    *post = (pea__post){.run = run_resume, .bytes = sizeof *post, .ticket = ticket, .verdict = verdict};
    resume r = {post, PEA_E_STALE};
    pea__runtime_with(ticket.runtime, resume_in, &r);
    if (r.err != PEA_OK)
        pea__free(post);
    return r.err;
}

/* ---- Questions from within ---- */

static void run_ask(pea__worker *w, pea__post *post)
{
    pea_conn *conn = pea__registry_find(w, post->conn);
    if (conn != NULL && !conn->over)
        post->ask(conn);
    pea__free(post);
}

pea__post *pea__mailbox_letter(void)
{
    return pea__alloc(sizeof(pea__post));
}

void pea__mailbox_send(pea_runtime *runtime, pea__post *letter, uint64_t conn, void (*fn)(pea_conn *conn))
{
    *letter = (pea__post){.run = run_ask, .conn = conn, .ask = fn};
    pea__mailbox_post(pea__mailbox_of(runtime, conn), letter);
}

void pea__mailbox_tell(pea_runtime *runtime, pea__post *letter, uint64_t conn, void (*fn)(pea_conn *conn))
{
    if (runtime->n_threads > 0) {
        pea__mailbox_send(runtime, letter, conn, fn);
        return;
    }
    *letter = (pea__post){.conn = conn, .ask = fn};
    run_ask(&runtime->worker, letter);
}

bool pea__mailbox_ask(pea_runtime *runtime, uint64_t conn, void (*fn)(pea_conn *conn))
{
    pea__post *letter = pea__mailbox_letter();
    if (letter != NULL)
        pea__mailbox_send(runtime, letter, conn, fn);
    return letter != NULL;
}

static void make_room(pea_conn *conn)
{
    if (conn != NULL && !conn->ready)
        pea__conn_abort(conn, PEA_BY_HANDSHAKE, PEA_E_LIMIT, "it made room for others: max_pending is reached");
}

bool pea__conn_make_room(pea_runtime *runtime, uint64_t id)
{
    if (runtime->n_threads > 0)
        return pea__mailbox_ask(runtime, id, make_room);
    make_room(pea__registry_find(&runtime->worker, id));
    return true;
}

/* ---- Send ---- */

static void run_send(pea__worker *w, pea__post *post)
{
    pea_conn *conn = pea__registry_find(w, post->conn);
    pea_err err = conn != NULL ? pea_conn_send_msg(conn, post->msg, post->on_sent, post->arg) : PEA_E_STALE;
    if (err != PEA_OK && post->on_sent != NULL)
        post->on_sent(post->arg, err);
    pea_msg_unref(post->msg);
    pea__free(post);
}

pea_err pea_post_send(pea_runtime *runtime, uint64_t conn, pea_msg *msg, void (*on_sent)(void *arg, pea_err err),
                      void *arg)
{
    if (pea__forked(runtime))
        return PEA_E_FORKED;
    pea__post *post = pea__alloc(sizeof *post);
    if (post == NULL)
        return PEA_E_NOMEM;
    *post = (pea__post){.run = run_send,
                        .bytes = sizeof *post + pea_msg_span(msg).len,
                        .conn = conn,
                        .msg = pea_msg_ref(msg),
                        .on_sent = on_sent,
                        .arg = arg};
    pea_err err = deliver(runtime, conn, post);
    if (err != PEA_OK) {
        pea_msg_unref(msg);
        pea__free(post);
    }
    return err;
}

/* ---- Calls ---- */

static void run_call(pea__worker *w, pea__post *post)
{
    (void)w;
    post->on_sent(post->arg, PEA_OK);
    pea__free(post);
}

pea_err pea_post_call(pea_runtime *runtime, void (*fn)(void *arg, pea_err err), void *arg)
{
    if (pea__forked(runtime))
        return PEA_E_FORKED;
    pea__post *post = pea__alloc(sizeof *post);
    if (post == NULL)
        return PEA_E_NOMEM;
    *post = (pea__post){.run = run_call, .bytes = sizeof *post, .on_sent = fn, .arg = arg};
    pea_err err = post_to(&runtime->worker, post);
    if (err != PEA_OK)
        pea__free(post);
    return err;
}

/* ---- Close ---- */

static void run_close(pea__worker *w, pea__post *post)
{
    pea_conn *conn = pea__registry_find(w, post->conn);
    if (conn != NULL)
        pea_conn_close(conn, post->code, post->text);
    pea__free(post);
}

pea_err pea_post_close(pea_runtime *runtime, uint64_t conn, uint16_t code, const char *text)
{
    if (pea__forked(runtime))
        return PEA_E_FORKED;
    size_t len = text != NULL ? pea__utf8_cut((const uint8_t *)text, strlen(text), PEA_TEXT_MAX) : 0;
    pea__post *post = pea__alloc(sizeof *post + len + 1);
    if (post == NULL)
        return PEA_E_NOMEM;
    *post = (pea__post){.run = run_close, .bytes = sizeof *post + len + 1, .conn = conn, .code = code};
    if (len > 0)
        memcpy(post->text, text, len);
    pea_err err = deliver(runtime, conn, post);
    if (err != PEA_OK)
        pea__free(post);
    return err;
}
