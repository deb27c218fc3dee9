/* SPDX-License-Identifier: MIT */
/* The predecessor of a hand-over: waits at a Unix socket, hands its listeners' sockets to who comes, and listens on
 * until that one says that it does. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "err_priv.h"
#include "handover_priv.h"
#include "peapod/handover.h"
#include "socket_priv.h"

#ifdef __linux__
#define LAST_WORD_KEPT true /* what came before shutdown(SHUT_RD) can still be read */
#else
#define LAST_WORD_KEPT false /* what comes just before it is lost: whether the successor listens is not certain */
#endif

struct pea__offer {
    pea_node *node;
    pea_addr addr;
    ev_io door, talk;         /* talk: with one successor at a time */
    ev_timer pause, patience; /* of the door, when descriptors or memory are exhausted; with who talks */
    bool exhausted;           /* the last accept() found none */
    int fd;                   /* the successor's socket; -1: nobody is there */
    void (*on_taken)(pea_node *node, void *arg);
    void *arg;
};

static struct ev_loop *loop_of(const pea__offer *o)
{
    return o->node->runtime->worker.loop;
}

/* Offers keep no loop alive. */
static void watch(const pea__offer *o, ev_io *io)
{
    ev_io_start(loop_of(o), io);
    ev_unref(loop_of(o));
}

static void unwatch(const pea__offer *o, ev_io *io)
{
    if (!ev_is_active(io))
        return;
    ev_ref(loop_of(o));
    ev_io_stop(loop_of(o), io);
}

/* Until it is stopped: what has come in a nested loop, where nothing may be done, comes again. */
static void timer_start(const pea__offer *o, ev_timer *timer, double in)
{
    ev_timer_set(timer, in, in);
    ev_timer_start(loop_of(o), timer);
    ev_unref(loop_of(o));
}

static void timer_stop(const pea__offer *o, ev_timer *timer)
{
    if (!ev_is_active(timer))
        return;
    ev_ref(loop_of(o));
    ev_timer_stop(loop_of(o), timer);
}

static void say(const pea__offer *o, pea_log_level level, const char *text)
{
    pea__log(o->node->runtime, level, o->node, NULL, text);
}

/* ---- Handing out ---- */

/* What the listeners are, in a message; they are marked. Returns how many, at most one too many. */
static unsigned fill(const pea__offer *o, pea__handover_msg *m, int fds[PEA__HANDOVER_MAX])
{
    unsigned n = 0;
    for (pea_listener *l = o->node->listeners; l != NULL; l = l->next, n++) {
        if (n == PEA__HANDOVER_MAX)
            return n + 1;
        fds[n] = l->fd;
        m->bytes[PEA__HANDOVER_MAGIC_BYTES + 1 + n] = l->bound_here ? PEA__OWNS_FILE : 0;
        l->handed = true;
    }
    memcpy(m->bytes, PEA__HANDOVER_MAGIC, PEA__HANDOVER_MAGIC_BYTES);
    m->bytes[PEA__HANDOVER_MAGIC_BYTES] = (uint8_t)n;
    return n;
}

static pea_err hand_out(const pea__offer *o, pea_error *why)
{
    pea__handover_msg m = {.bytes = {0}};
    int fds[PEA__HANDOVER_MAX];
    unsigned n = fill(o, &m, fds);
    if (n > PEA__HANDOVER_MAX)
        return pea__errorf(why, PEA_E_LIMIT, "more than %u listeners cannot be handed over", PEA__HANDOVER_MAX);
    struct iovec bytes = {m.bytes, PEA__HANDOVER_MAGIC_BYTES + 1 + n};
    struct msghdr h = {.msg_iov = &bytes, .msg_iovlen = 1};
    if (n > 0) {
        h.msg_control = m.control;
        h.msg_controllen = CMSG_SPACE(n * sizeof fds[0]);
        struct cmsghdr *c = CMSG_FIRSTHDR(&h);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(n * sizeof fds[0]);
        memcpy(CMSG_DATA(c), fds, n * sizeof fds[0]);
    }
    /* It is far less than any socket's buffer holds. */
    ssize_t sent = sendmsg(o->fd, &h, MSG_NOSIGNAL);
    if (sent == (ssize_t)bytes.iov_len)
        return PEA_OK;
    return pea__error_sys(why, sent < 0 ? errno : EMSGSIZE, "sendmsg");
}

/* `certain`: that one does not listen. Else the listeners' files may be its own, and stay. */
static void hang_up(pea__offer *o, bool certain)
{
    unwatch(o, &o->talk);
    timer_stop(o, &o->patience);
    close(o->fd);
    o->fd = -1;
    for (pea_listener *l = o->node->listeners; l != NULL && certain; l = l->next)
        l->handed = false;
}

/* The successor is gone, and whoever comes next may try. */
static void turn_away(pea__offer *o)
{
    hang_up(o, true);
    watch(o, &o->door);
}

static pea_err receive(pea__offer *o, pea_error *why)
{
    pea_err err = pea__socket_ready(o->fd, &o->addr, why);
    if (err == PEA_OK)
        err = pea__handover_same_user(o->fd, why);
    if (err == PEA_OK)
        err = hand_out(o, why);
    return err;
}

/* As a listener does: nobody is accepted until somebody may have given some back. */
static void rest(pea__offer *o, int sys)
{
    char text[128];
    if (!o->exhausted) { /* once, until somebody could be accepted again */
        (void)snprintf(text, sizeof text, "hand-over: accept: %s: tried again every 100 ms", strerror(sys));
        say(o, PEA_LOG_WARNING, text);
    }
    o->exhausted = true;
    unwatch(o, &o->door);
    timer_start(o, &o->pause, PEA__ACCEPT_PAUSE_S);
}

static void on_pause_over(struct ev_loop *loop, ev_timer *timer, int events)
{
    pea__offer *o = timer->data;
    (void)loop, (void)events;
    timer_stop(o, timer);
    watch(o, &o->door);
}

static void on_door(struct ev_loop *loop, ev_io *io, int events)
{
    pea__offer *o = io->data;
    pea__worker *w = &o->node->runtime->worker;
    pea_error why;
    (void)loop, (void)events;
    if (!pea__worker_enter(w))
        return;
    o->fd = accept(io->fd, NULL, NULL);
    if (o->fd >= 0) {
        char text[300];
        unwatch(o, &o->door);
        ev_io_set(&o->talk, o->fd, EV_READ);
        watch(o, &o->talk);
        timer_start(o, &o->patience, PEA__HANDOVER_TALK_S);
        o->exhausted = false;
        if (receive(o, &why) != PEA_OK) {
            (void)snprintf(text, sizeof text, "hand-over: %s", why.text);
            say(o, PEA_LOG_WARNING, text);
            turn_away(o);
        }
    } else if (pea__exhausted(errno)) {
        rest(o, errno);
    }
    pea__worker_leave(w);
}

/* ---- Letting go ---- */

static void offer_free(pea__offer *o)
{
    unwatch(o, &o->door);
    unwatch(o, &o->talk);
    timer_stop(o, &o->pause);
    timer_stop(o, &o->patience);
    if (!pea__forked(o->node->runtime)) /* else it is the parent's */
        pea__listen_socket_unlink(&o->addr);
    close(o->door.fd); /* after the file: one that nobody listens at may be another's by now */
    o->node->offer = NULL;
    if (o->fd >= 0) /* the parent's too */
        close(o->fd);
    pea__free(o);
}

static unsigned let_go(pea_node *node)
{
    unsigned n = 0;
    for (pea_listener *l = node->listeners, *next; l != NULL; l = next) {
        next = l->next;
        if (!l->handed)
            continue;
        l->bound_here = false; /* the file is the successor's now */
        pea_node_unlisten(node, l);
        n++;
    }
    return n;
}

static void complete(pea__offer *o)
{
    pea_node *node = o->node;
    void (*on_taken)(pea_node * node, void *arg) = o->on_taken;
    void *arg = o->arg;
    char text[80];
    int fd = o->fd;
    (void)snprintf(text, sizeof text, "hand-over: listeners that a successor has taken: %u", let_go(node));
    say(o, PEA_LOG_INFO, text);
    unwatch(o, &o->talk);
    o->fd = -1;
    offer_free(o); /* before the successor hears of it: it may offer at the same path at once */
    (void)!send(fd, (const char[]){PEA__HANDOVER_GONE}, 1, MSG_NOSIGNAL);
    close(fd);
    if (on_taken != NULL && !node->shutting_down && !node->freed)
        on_taken(node, arg);
}

/* Whether the successor has taken, though nobody had read that yet. If not, it cannot any more: what it says from now
 * on fails, and so does its call. */
static bool has_taken(const pea__offer *o)
{
    char said = 0;
    ssize_t n = recv(o->fd, &said, 1, 0);
    if (n < 0) {
        (void)shutdown(o->fd, SHUT_RD);
        n = recv(o->fd, &said, 1, 0);
    }
    return n == 1 && said == PEA__HANDOVER_TAKEN;
}

static void on_talk(struct ev_loop *loop, ev_io *io, int events)
{
    pea__offer *o = io->data;
    pea__worker *w = &o->node->runtime->worker;
    char said = 0;
    (void)loop, (void)events;
    if (!pea__worker_enter(w))
        return;
    ssize_t n = recv(o->fd, &said, 1, 0);
    if (n == 1 && said == PEA__HANDOVER_TAKEN) {
        complete(o);
    } else if (n >= 0 || !pea__would_block(errno)) {
        say(o, PEA_LOG_WARNING, "hand-over: the successor went without having taken the listeners");
        turn_away(o);
    }
    pea__worker_leave(w);
}

/* It is there, and says nothing: others may be waiting behind it. */
static void on_patience_over(struct ev_loop *loop, ev_timer *timer, int events)
{
    pea__offer *o = timer->data;
    pea__worker *w = &o->node->runtime->worker;
    (void)loop, (void)events;
    if (!pea__worker_enter(w))
        return;
    if (has_taken(o)) {
        complete(o);
    } else {
        say(o, PEA_LOG_WARNING, "hand-over: the successor is silent, and is turned away");
        hang_up(o, LAST_WORD_KEPT);
        watch(o, &o->door);
    }
    pea__worker_leave(w);
}

/* ---- The calls ---- */

pea_err pea_handover_offer(pea_node *node, const char *path, void (*on_taken)(pea_node *node, void *arg), void *arg,
                           pea_error *why)
{
    pea_addr addr;
    int fd;
    pea_err err = pea__node_may_begin(node, why);
    if (err != PEA_OK)
        return err;
    if (node->offer != NULL)
        return pea__error(why, PEA_E_EXISTS, "this node offers its listeners already");
    err = pea__handover_addr(path, &addr, why);
    if (err != PEA_OK)
        return err;
    pea__offer *o = pea__alloc(sizeof *o);
    if (o == NULL)
        return pea__error(why, PEA_E_NOMEM, NULL);
    err = pea__handover_open_door(&addr, &fd, why);
    if (err != PEA_OK) {
        pea__free(o);
        return err;
    }
    *o = (pea__offer){.node = node, .addr = addr, .fd = -1, .on_taken = on_taken, .arg = arg};
    ev_io_init(&o->door, on_door, fd, EV_READ);
    ev_init(&o->talk, on_talk);
    ev_init(&o->pause, on_pause_over);
    ev_init(&o->patience, on_patience_over);
    o->door.data = o->talk.data = o->pause.data = o->patience.data = o;
    node->offer = o;
    watch(o, &o->door);
    pea__worker_touch(&node->runtime->worker);
    return PEA_OK;
}

void pea_handover_withdraw(pea_node *node)
{
    pea__offer *o = node->offer;
    if (o == NULL)
        return;
    if (o->fd < 0 || pea__forked(node->runtime)) { /* a talk is the parent's */
        offer_free(o);
    } else if (has_taken(o)) {
        complete(o);
    } else {
        hang_up(o, LAST_WORD_KEPT);
        offer_free(o);
    }
}
