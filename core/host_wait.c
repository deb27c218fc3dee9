/* SPDX-License-Identifier: MIT */
/* A name's addresses within a deadline, for a caller that blocks: getaddrinfo(3) knows no deadline, so that it is
 * called on a thread of its own, which is left behind if it takes too long. */
#include "host_priv.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "buf_priv.h"
#include "err_priv.h"

typedef struct question {
    pthread_mutex_t lock;
    pthread_cond_t came;
    bool answered;
    bool abandoned; /* the thread frees it */
    pea__host host;
    pea__found found;
} question;

static void question_free(question *q)
{
    (void)pthread_cond_destroy(&q->came);
    (void)pthread_mutex_destroy(&q->lock);
    pea__free(q);
}

static void *ask(void *arg)
{
    question *q = arg;
    pea__host_find(&q->host, &q->found);
    (void)pthread_mutex_lock(&q->lock);
    q->answered = true;
    bool abandoned = q->abandoned;
    (void)pthread_cond_signal(&q->came);
    (void)pthread_mutex_unlock(&q->lock);
    if (abandoned)
        question_free(q);
    return NULL;
}

/* Signals are the application's, and are taken by its own threads. */
static int thread_create(pthread_t *thread, question *q)
{
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int sys = pthread_create(thread, NULL, ask, q);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return sys;
}

static question *question_new(const pea__host *host)
{
    pthread_condattr_t monotonic;
    question *q = pea__alloc(sizeof *q);
    if (q == NULL)
        return NULL;
    (void)pthread_mutex_init(&q->lock, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&q->came, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    q->host = *host;
    return q;
}

/* Whether the answer came in time. */
static bool wait_for(question *q, int64_t deadline)
{
    const struct timespec at = {.tv_sec = (time_t)(deadline / 1000), .tv_nsec = (long)(deadline % 1000) * 1000000};
    int sys = 0;
    (void)pthread_mutex_lock(&q->lock);
    while (!q->answered && sys == 0)
        sys = deadline == INT64_MAX ? pthread_cond_wait(&q->came, &q->lock)
                                    : pthread_cond_timedwait(&q->came, &q->lock, &at);
    q->abandoned = !q->answered;
    bool answered = q->answered;
    (void)pthread_mutex_unlock(&q->lock);
    return answered;
}

pea_err pea__host_find_until(const pea__host *host, int64_t deadline, pea__found *found, pea_error *why)
{
    pthread_t thread;
    question *q = question_new(host);
    if (q == NULL)
        return pea__error(why, PEA_E_NOMEM, NULL);
    int sys = thread_create(&thread, q);
    if (sys != 0) {
        question_free(q);
        return pea__error_sys(why, sys, "pthread_create");
    }
    if (!wait_for(q, deadline)) { /* it is not ours any more */
        (void)pthread_detach(thread);
        return pea__errorf(why, PEA_E_TIMEOUT, "\"%.120s\" was not resolved in time", host->name);
    }
    (void)pthread_join(thread, NULL);
    *found = q->found;
    question_free(q);
    if (found->n > 0)
        return PEA_OK;
    return pea__errorf(why, found->err, "\"%.120s\" was not resolved: %.100s", host->name, found->text);
}
