/* SPDX-License-Identifier: MIT */
/* Lookups of names: which are open, who is asked, and how the answer gets to the connection that waits for it. The
 * application's resolver is asked if there is one, else the system's, on a thread that the first name starts. Who
 * answers has a ticket and no pointer, so that an answer which comes late, twice or never does no harm. */
#include "resolver_priv.h"

#include <signal.h>
#include <string.h>

#include "err_priv.h"

#define LOOKUP_BIT (UINT64_C(1) << 63) /* of a ticket's wait: the waits of pipes count from 1 */

struct pea__resolver {
    pthread_mutex_t lock;
    pthread_cond_t came; /* a name is in line, or `stopping` */
    pea__lookup *open;   /* by wait */
    pea__lookup *line, **line_end;
    uint64_t last;
    pthread_t thread;
    bool running;
    bool asking;   /* the thread is in getaddrinfo(), and cannot be called back */
    bool stopping; /* the runtime ends: */
    bool orphaned; /* without the thread, which frees all this */
};

/* ---- The table and the line; all of it with the lock ---- */

static void line_enter(pea__resolver *r, pea__lookup *l)
{
    l->next = NULL;
    l->link = r->line_end;
    *r->line_end = l;
    r->line_end = &l->next;
}

static void line_leave(pea__resolver *r, pea__lookup *l)
{
    if (l->link == NULL)
        return;
    *l->link = l->next;
    if (l->next != NULL)
        l->next->link = l->link;
    else
        r->line_end = l->link;
    l->link = NULL;
}

/* Takes an open lookup out; NULL: it was answered, or dropped. */
static pea__lookup *take(pea__resolver *r, uint64_t wait)
{
    pea__lookup *l;
    HASH_FIND(hh, r->open, &wait, sizeof wait, l);
    if (l == NULL)
        return NULL;
    HASH_DELETE(hh, r->open, l);
    line_leave(r, l);
    return l;
}

/* ---- Answers ---- */

typedef struct answer {
    pea_ticket ticket;
    const pea_addr *addrs;
    size_t n;
    pea_err err;
    const char *text; /* NULL: what the error says */
    pea_err result;
} answer;

static void fill_in(pea__found *found, uint16_t port, const answer *a)
{
    const char *text = a->text != NULL ? a->text : pea_err_text(a->err != PEA_OK ? a->err : PEA_E_NOT_FOUND);
    found->err = a->err;
    for (size_t i = 0; a->err == PEA_OK && i < a->n && found->n < PEA__HOST_ADDRS_MAX; i++) {
        pea_addr *addr = &found->addrs[found->n++];
        *addr = a->addrs[i];
        if (addr->port == 0 && addr->family != PEA_ADDR_UNIX)
            addr->port = port;
    }
    if (found->n > 0)
        return;
    if (found->err == PEA_OK)
        found->err = PEA_E_NOT_FOUND;
    size_t len = strnlen(text, sizeof found->text - 1);
    memcpy(found->text, text, len);
}

static void answer_in(pea_runtime *runtime, void *arg)
{
    answer *a = arg;
    pea__resolver *r = runtime->resolver;
    if (pea__forked(runtime)) {
        a->result = PEA_E_FORKED;
        return;
    }
    (void)pthread_mutex_lock(&r->lock);
    pea__lookup *l;
    HASH_FIND(hh, r->open, &a->ticket.wait, sizeof a->ticket.wait, l);
    bool open = l != NULL && l->ticket.conn == a->ticket.conn;
    if (open)
        l = take(r, a->ticket.wait);
    (void)pthread_mutex_unlock(&r->lock);
    if (!open)
        return;
    fill_in(&l->found, l->host.port, a);
    pea__mailbox_post(pea__mailbox_of(runtime, l->ticket.conn), l->post);
    a->result = PEA_OK;
}

static pea_err answer_now(answer *a)
{
    a->result = PEA_E_STALE;
    (void)pea__runtime_with(a->ticket.runtime, answer_in, a);
    return a->result;
}

pea_err pea_post_resolved(pea_ticket ticket, const pea_addr *addrs, size_t n, pea_err err)
{
    if (err > PEA_OK || (n > 0 && addrs == NULL))
        return PEA_E_INVALID;
    for (size_t i = 0; err == PEA_OK && i < n; i++)
        if (addrs[i].family != PEA_ADDR_IPV4 && addrs[i].family != PEA_ADDR_IPV6 && addrs[i].family != PEA_ADDR_UNIX)
            return PEA_E_INVALID;
    answer a = {.ticket = ticket, .addrs = addrs, .n = n, .err = err};
    return answer_now(&a);
}

/* ---- The system's resolver ---- */

static void resolver_free(pea__resolver *r)
{
    (void)pthread_cond_destroy(&r->came);
    (void)pthread_mutex_destroy(&r->lock);
    pea__free(r);
}

/* One name, without the lock. What is known of it is copied: it may be dropped meanwhile. */
static void look_up(const pea__host *host, pea_ticket ticket, pea__resolver *r)
{
    pea__found found;
    pea__host_find(host, &found);
    (void)pthread_mutex_lock(&r->lock);
    r->asking = false;
    bool stopping = r->stopping;
    (void)pthread_mutex_unlock(&r->lock);
    answer a = {.ticket = ticket, .addrs = found.addrs, .n = found.n, .err = found.err, .text = found.text};
    if (!stopping)
        (void)answer_now(&a); /* PEA_E_STALE: nobody waits any more */
}

static void *run(void *arg)
{
    pea__resolver *r = arg;
    (void)pthread_mutex_lock(&r->lock);
    while (!r->stopping) {
        pea__lookup *l = r->line;
        if (l == NULL) {
            (void)pthread_cond_wait(&r->came, &r->lock);
            continue;
        }
        line_leave(r, l);
        r->asking = true;
        pea__host host = l->host;
        pea_ticket ticket = l->ticket;
        (void)pthread_mutex_unlock(&r->lock);
        look_up(&host, ticket, r);
        (void)pthread_mutex_lock(&r->lock);
    }
    bool orphaned = r->orphaned;
    (void)pthread_mutex_unlock(&r->lock);
    if (orphaned)
        resolver_free(r);
    return NULL;
}

/* Signals are the application's, and are taken by its own threads. */
static pea_err thread_start(pea__resolver *r, pea_error *why)
{
    sigset_t all, before;
    if (r->running)
        return PEA_OK;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int sys = pthread_create(&r->thread, NULL, run, r);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    r->running = sys == 0;
    return sys == 0 ? PEA_OK : pea__error_sys(why, sys, "pthread_create");
}

pea_err pea__resolver_new(pea__resolver **resolver, pea_error *why)
{
    pea__resolver *r = pea__alloc(sizeof *r);
    if (r == NULL)
        return pea__error(why, PEA_E_NOMEM, NULL);
    (void)pthread_mutex_init(&r->lock, NULL); /* without attributes they cannot fail */
    (void)pthread_cond_init(&r->came, NULL);
    r->line_end = &r->line;
    *resolver = r;
    return PEA_OK;
}

void pea__resolver_stop(pea__resolver *r)
{
    (void)pthread_mutex_lock(&r->lock);
    r->stopping = true;
    r->orphaned = r->asking;
    bool running = r->running, orphaned = r->orphaned;
    pthread_t thread = r->thread;
    (void)pthread_cond_signal(&r->came);
    (void)pthread_mutex_unlock(&r->lock);
    if (orphaned) { /* it is not ours any more */
        (void)pthread_detach(thread);
        return;
    }
    if (running)
        (void)pthread_join(thread, NULL);
    resolver_free(r);
}

/* ---- Lookups ---- */

/* The post is owed: whoever runs it frees the lookup. */
static pea__lookup *lookup_new(const pea__host *host)
{
    pea__lookup *l = pea__alloc(sizeof *l);
    pea__post *post = pea__alloc(sizeof *post);
    if (l == NULL || post == NULL) {
        pea__free(l);
        pea__free(post);
        return NULL;
    }
    *post = (pea__post){.run = pea__by_name_resolved, .arg = l, .owed = true};
    l->post = post;
    l->host = *host;
    return l;
}

void pea__lookup_free(pea__lookup *l)
{
    if (l == NULL)
        return;
    pea__free(l->post);
    pea__free(l);
}

pea_err pea__lookup_open(pea_runtime *runtime, const pea__host *host, uint64_t *wait, pea_error *why)
{
    pea__resolver *r = runtime->resolver;
    pea_err err = PEA_OK;
    pea__lookup *l = lookup_new(host);
    if (l == NULL)
        return pea__error(why, PEA_E_NOMEM, NULL);
    l->ticket.runtime = runtime->serial;
    (void)pthread_mutex_lock(&r->lock);
    l->ticket.wait = *wait = ++r->last | LOOKUP_BIT;
    if (HASH_COUNT(r->open) >= PEA__LOOKUPS_MAX) {
        err = pea__errorf(why, PEA_E_LIMIT, "%u names are looked up already", PEA__LOOKUPS_MAX);
    } else {
        HASH_ADD(hh, r->open, ticket.wait, sizeof l->ticket.wait, l);
        if (l->hh.tbl == NULL)
            err = pea__error(why, PEA_E_NOMEM, NULL);
        else if (runtime->resolve == NULL && (err = thread_start(r, why)) != PEA_OK)
            (void)take(r, *wait);
    }
    (void)pthread_mutex_unlock(&r->lock);
    if (err != PEA_OK)
        pea__lookup_free(l);
    return err;
}

void pea__lookup_ask(pea_runtime *runtime, uint64_t wait, uint64_t conn, const pea__host *host)
{
    pea__resolver *r = runtime->resolver;
    pea__worker *w = &runtime->worker;
    pea__lookup *l;
    (void)pthread_mutex_lock(&r->lock);
    HASH_FIND(hh, r->open, &wait, sizeof wait, l);
    bool wanted = l != NULL; /* on its own thread the connection may have ended already */
    if (wanted) {
        l->ticket.conn = conn;
        if (runtime->resolve == NULL) {
            line_enter(r, l);
            (void)pthread_cond_signal(&r->came);
        }
    }
    (void)pthread_mutex_unlock(&r->lock);
    if (!wanted || runtime->resolve == NULL)
        return;
    bool inside = w->inside;
    w->inside = true; /* what it frees must wait for the round */
    runtime->resolve(runtime->resolve_arg, host->name, host->port,
                     (pea_ticket){.runtime = runtime->serial, .conn = conn, .wait = wait});
    if (!inside)
        pea__worker_leave(w);
}

void pea__lookup_drop(pea_runtime *runtime, uint64_t wait)
{
    pea__resolver *r = runtime->resolver;
    (void)pthread_mutex_lock(&r->lock);
    pea__lookup *l = take(r, wait);
    (void)pthread_mutex_unlock(&r->lock);
    pea__lookup_free(l);
}
