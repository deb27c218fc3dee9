/* SPDX-License-Identifier: MIT */
/* A runtime without a libev loop of the caller's: a loop of its own, a thread that only waits for it, and the thread
 * that calls pea_runtime_dispatch(), which runs every callback. It is libev's documented way to wait in one thread and
 * invoke in another (ev(3), THREAD LOCKING EXAMPLE), as a baton: the caller's thread owns the loop but while dispatch
 * hands it over. What the callbacks do is not known here. */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* pipe2() */
#endif
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "err_priv.h"
#include "runtime_priv.h"

/* What the waiting thread is at. The baton, which is the loop and everything that hangs on it, is the waiting thread's
 * while it COLLECTS, and the other's at all other times. */
typedef enum turn {
    COLLECTS, /* it works on the loop; only inside of dispatch, and while it starts and stops */
    PENDING,  /* inside of dispatch it waits until the callbacks have run */
    POLLS,    /* it is in the system's poll, and touches nothing */
    ARRIVED   /* poll returned: event_fd is readable, it waits for the next dispatch */
} turn;

struct pea__dispatch {
    struct ev_loop *loop;
    int event_fd, event_in; /* a pipe; one byte lies in it while `turn` is ARRIVED */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t moved; /* `turn` or `stop` changed */
    turn turn;
    bool stop;
    /* The caller's thread alone: */
    bool inside;  /* dispatch is on the stack */
    bool touched; /* since the last dispatch: what the waiting thread polls by is out of date */
};

/* ---- The waiting thread ---- */

static void move(pea__dispatch *d, turn to)
{
    d->turn = to;
    pthread_cond_signal(&d->moved);
}

/* libev: about to poll. */
static void on_release(struct ev_loop *loop)
{
    pea__dispatch *d = ev_userdata(loop);
    pthread_mutex_lock(&d->lock);
    move(d, POLLS);
    pthread_mutex_unlock(&d->lock);
}

/* libev: poll has returned. */
static void on_acquire(struct ev_loop *loop)
{
    pea__dispatch *d = ev_userdata(loop);
    pthread_mutex_lock(&d->lock);
    ssize_t n;
    do
        n = write(d->event_in, "", 1);
    while (n < 0 && errno == EINTR); /* the pipe is empty, so that there is room */
    move(d, ARRIVED);
    while (d->turn == ARRIVED && !d->stop)
        pthread_cond_wait(&d->moved, &d->lock);
    pthread_mutex_unlock(&d->lock);
}

/* libev: the callbacks that are pending should run now. */
static void on_invoke(struct ev_loop *loop)
{
    pea__dispatch *d = ev_userdata(loop);
    pthread_mutex_lock(&d->lock);
    if (d->stop) {
        ev_break(loop, EVBREAK_ALL);
    } else if (ev_pending_count(loop) > 0) {
        move(d, PENDING);
        while (d->turn == PENDING)
            pthread_cond_wait(&d->moved, &d->lock);
    }
    pthread_mutex_unlock(&d->lock);
}

static void *wait_for_events(void *arg)
{
    pea__dispatch *d = arg;
    ev_run(d->loop, 0);
    return NULL;
}

/* ---- The caller's thread ---- */

/* Lets the waiting thread work until it polls; runs the callbacks in between. With the lock. */
static void serve(pea__dispatch *d)
{
    while (d->turn == COLLECTS || d->turn == PENDING) {
        if (d->turn == COLLECTS) {
            pthread_cond_wait(&d->moved, &d->lock);
            continue;
        }
        pthread_mutex_unlock(&d->lock);
        ev_invoke_pending(d->loop);
        pthread_mutex_lock(&d->lock);
        move(d, COLLECTS);
    }
}

pea_err pea_runtime_dispatch(pea_runtime *runtime)
{
    pea__dispatch *d = runtime->dispatch;
    if (pea__forked(runtime))
        return PEA_E_FORKED;
    if (d == NULL || d->inside || runtime->worker.inside)
        return PEA_E_STATE;
    d->inside = true;
    pthread_mutex_lock(&d->lock);
    while (d->touched && d->turn == POLLS) /* it is on its way */
        pthread_cond_wait(&d->moved, &d->lock);
    if (d->turn == ARRIVED) {
        char byte;
        while (read(d->event_fd, &byte, 1) < 0 && errno == EINTR)
            continue;
        d->touched = false;
        move(d, COLLECTS);
        serve(d);
    }
    pthread_mutex_unlock(&d->lock);
    d->inside = false;
    return PEA_OK;
}

int pea_runtime_event_fd(const pea_runtime *runtime)
{
    return runtime->dispatch != NULL ? runtime->dispatch->event_fd : -1;
}

bool pea__dispatch_inside(const pea__dispatch *d)
{
    return d->inside;
}

void pea__dispatch_touch(pea__dispatch *d, ev_async *wake)
{
    if (d->inside || d->touched) /* it will look anyway before it polls again */
        return;
    d->touched = true;
    pthread_mutex_lock(&d->lock);
    if (d->turn == POLLS)
        ev_async_send(d->loop, wake);
    pthread_mutex_unlock(&d->lock);
}

/* ---- Life ---- */

/* Only a backend that forgets by itself what is closed while it waits: poll(2) would meet the closed descriptor, or the
 * next one of that number, and libev would stop its watchers. */
static struct ev_loop *open_loop(void)
{
    unsigned backends = ev_recommended_backends() & (EVBACKEND_EPOLL | EVBACKEND_KQUEUE | EVBACKEND_PORT);
    if (backends == 0)
        backends = EVBACKEND_SELECT; /* which libev asks anew about every descriptor when one of them is closed */
    return ev_loop_new(backends | EVFLAG_NOENV); /* how we wait is no business of the environment's */
}

pea_err pea__loop_open(struct ev_loop **loop, pea_error *why)
{
    *loop = open_loop();
    return *loop != NULL ? PEA_OK : pea__error_sys(why, errno, "ev_loop_new");
}

pea_err pea__dispatch_new(pea__dispatch **dispatch, struct ev_loop **loop, pea_error *why)
{
    int fds[2] = {-1, -1};
    pea__dispatch *d = pea__alloc(sizeof *d);
    if (d == NULL)
        return pea__error(why, PEA_E_NOMEM, NULL);
    pea_err err = pea__fds_open(fds, why);
    if (err != PEA_OK)
        goto out;
    err = pea__loop_open(&d->loop, why);
    if (err != PEA_OK)
        goto out;
    d->event_fd = fds[0];
    d->event_in = fds[1];
    pthread_mutex_init(&d->lock, NULL); /* without attributes they cannot fail */
    pthread_cond_init(&d->moved, NULL);
    ev_set_userdata(d->loop, d);
    ev_set_loop_release_cb(d->loop, on_release, on_acquire);
    ev_set_invoke_pending_cb(d->loop, on_invoke);
    ev_ref(d->loop); /* it waits even when there is nothing to wait for */
    *dispatch = d;
    *loop = d->loop;
    return PEA_OK;
out:
    if (fds[0] >= 0)
        pea__fds_close(fds);
    pea__free(d);
    return err;
}

pea_err pea__dispatch_start(pea__dispatch *d, pea_error *why)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* the thread inherits it: signals are for those of the process */
    int sys = pthread_create(&d->thread, NULL, wait_for_events, d);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (sys != 0)
        return pea__error_sys(why, sys, "pthread_create");
    pthread_mutex_lock(&d->lock);
    serve(d); /* from here on the baton is the caller's */
    pthread_mutex_unlock(&d->lock);
    return PEA_OK;
}

void pea__dispatch_stop(pea__dispatch *d, ev_async *wake)
{
    pthread_mutex_lock(&d->lock);
    d->stop = true;
    if (d->turn == POLLS)
        ev_async_send(d->loop, wake);
    pthread_cond_signal(&d->moved);
    pthread_mutex_unlock(&d->lock);
    pthread_join(d->thread, NULL);
}

void pea__dispatch_free(pea__dispatch *d)
{
    if (d == NULL)
        return;
    ev_loop_destroy(d->loop);
    pthread_cond_destroy(&d->moved);
    pthread_mutex_destroy(&d->lock);
    close(d->event_fd);
    close(d->event_in);
    pea__free(d);
}
