/* SPDX-License-Identifier: MIT */
/* Where inbound connections come from: bound sockets, and accept() that neither blocks nor spins. */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "addr_priv.h"
#include "chain_priv.h"
#include "err_priv.h"
#include "runtime_priv.h"

/* ---- Accepting ---- */

/* Descriptors or memory are exhausted: nobody is accepted until somebody may have given some back. */
static void rest(pea_listener *l, int sys)
{
    struct ev_loop *loop = l->node->runtime->worker.loop;
    char text[128];
    if (!l->exhausted) { /* once, until somebody could be accepted again */
        snprintf(text, sizeof text, "accept: %s: tried again every 100 ms", strerror(sys));
        pea__log(l->node->runtime, PEA_LOG_WARNING, l->node, NULL, text);
    }
    l->exhausted = true;
    pea__tally_add(&l->node->tally[0], PEA__T_ACCEPT_PAUSES, 1);
    ev_io_stop(loop, &l->io);
    ev_timer_set(&l->pause, PEA__ACCEPT_PAUSE_S, 0.);
    ev_timer_start(loop, &l->pause);
}

static bool somebody_waits(const pea_listener *l)
{
    struct pollfd at = {.fd = l->fd, .events = POLLIN};
    return poll(&at, 1, 0) == 1 && (at.revents & POLLIN) != 0;
}

/* All places for handshakes are taken. Room is made for one, and for twice as many each time that it did not suffice:
 * else a flood would fill the socket's queue, and the system turn good peers away. Where there are threads it takes a
 * moment until those have gone. */
static bool full(pea_listener *l, bool first)
{
    struct ev_loop *loop = l->node->runtime->worker.loop;
    if (!pea__admission_full(l->node))
        return false;
    if (!first && !somebody_waits(l)) {
        l->room = 1;
        return true;
    }
    if (pea__admission_make_room(l->node, l->room) > 0 && l->room < PEA__ACCEPTS_PER_EVENT)
        l->room *= 2;
    if (l->node->runtime->n_threads > 0 && l->fd >= 0) {
        ev_io_stop(loop, &l->io);
        ev_timer_set(&l->pause, PEA__ROOM_PAUSE_S, 0.);
        ev_timer_start(loop, &l->pause);
    }
    return true;
}

static void on_pause_over(struct ev_loop *loop, ev_timer *timer, int events)
{
    pea_listener *l = timer->data;
    (void)events;
    ev_io_start(loop, &l->io);
}

/* It passed admission, and came to nothing. */
static void log_lost(const pea_node *node, const pea_error *why)
{
    if (pea__log_may(node->runtime, PEA_LOG_WARNING, PEA__LOG_LOST))
        pea__log(node->runtime, PEA_LOG_WARNING, node, NULL, why->text);
}

static pea_chain *chain_of(const pea_listener *l)
{
    return l->chain != NULL ? l->chain : l->node->chain;
}

static void admit_over(pea_listener *l, pea_chain *chain, int fd, const pea_addr *from)
{
    pea_node *node = l->node;
    pea__origin origin;
    if (pea__admission_take(node, chain, from, true, &origin, NULL) != PEA_OK) {
        close(fd);
        return;
    }
    if (node->on.on_accept != NULL && node->on.on_accept(node, from, node->user) != PEA_OK) {
        pea__admission_refused(node, from);
        pea__admission_gone(node, &origin, false);
        close(fd);
        return;
    }
    if (node->shutting_down || node->freed) { /* by on_accept */
        pea__admission_gone(node, &origin, false);
        close(fd);
        return;
    }
    pea_error why;
    pea_conn *conn;
    if (pea__socket_accepted(fd, from, &why) != PEA_OK) {
        log_lost(node, &why);
        pea__admission_gone(node, &origin, false);
        close(fd);
        return;
    }
    if (pea__conn_new(&conn, node, fd, from, &origin, chain, l->codec, NULL, NULL, 0, &why) != PEA_OK) {
        log_lost(node, &why);
        close(fd);
        return;
    }
    pea__conn_place(conn);
}

static void admit(pea_listener *l, int fd, const pea_addr *from)
{
    pea_chain *chain = pea_chain_ref(chain_of(l)); /* on_accept may exchange the node's */
    admit_over(l, chain, fd, from);
    pea_chain_unref(chain);
}

/* One accept(). False: there is nothing more for now. */
static bool accept_one(pea_listener *l)
{
    struct sockaddr_storage from;
    socklen_t len = sizeof from;
    memset(&from, 0, sizeof from);
    int fd = pea__socket_accept(l->fd, &from, &len);
    if (fd < 0) {
        if (pea__exhausted(errno))
            rest(l, errno);
        return errno == ECONNABORTED || errno == EINTR; /* that one is gone; there may be others */
    }
    l->exhausted = false;
    pea_addr addr;
    pea__addr_from_socket(&addr, &from, len);
    admit(l, fd, &addr);
    return true;
}

static void listener_free(pea_listener *l)
{
    pea_chain_unref(l->chain);
    pea_codec_unref(l->codec);
    pea__free(l);
}

static void on_acceptable(struct ev_loop *loop, ev_io *io, int events)
{
    pea_listener *l = io->data;
    pea_node *node = l->node;
    pea__worker *w = &node->runtime->worker;
    (void)loop;
    (void)events;
    if (!pea__worker_enter(w))
        return;
    l->accepting = true; /* on_accept may stop listening */
    for (unsigned i = 0; i < PEA__ACCEPTS_PER_EVENT && l->fd >= 0 && !full(l, i == 0); i++) {
        if ((i == 0 || somebody_waits(l)) && accept_one(l)) /* accept() that finds nobody makes a socket in vain */
            continue;
        l->room = 1; /* nobody waits any more */
        break;
    }
    l->accepting = false;
    if (l->fd < 0)
        listener_free(l);
    pea__worker_leave(w);
}

/* ---- Listening ---- */

static bool any_ip(const pea_addr *addr)
{
    static const uint8_t zeros[16];
    size_t n = addr->family == PEA_ADDR_IPV4 ? 4 : 16;
    return addr->family != PEA_ADDR_UNIX && memcmp(addr->u.ip, zeros, n) == 0;
}

/* Whether an IPv6 socket takes IPv4 as well. */
static bool takes_both(const pea_listener *l)
{
    int only = 1;
    socklen_t len = sizeof only;
    return getsockopt(l->fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, &len) == 0 && only == 0;
}

/* With the registry's lock. */
static bool listens_at(const pea_node *node, const pea_addr *addr)
{
    for (const pea_listener *l = node->listeners; l != NULL; l = l->next) {
        if (pea_addr_equal(&l->addr, addr))
            return true;
        bool reached = l->addr.family == addr->family || (l->addr.family == PEA_ADDR_IPV6 && takes_both(l));
        if (addr->family != PEA_ADDR_UNIX && any_ip(&l->addr) && l->addr.port == addr->port && reached &&
            pea_addr_is_local(addr))
            return true;
    }
    return false;
}

bool pea__listener_at(pea_node *node, const pea_addr *addr)
{
    pea__registry_lock(node);
    bool found = listens_at(node, addr);
    pea__registry_unlock(node);
    return found;
}

pea_err pea_node_listen(pea_node *node, const char *addr, const pea_listen_opts *opts, pea_listener **listener,
                        pea_error *why)
{
    pea_listen_opts o = PEA_LISTEN_INIT;
    pea__listen_socket s;
    pea_err err = pea__node_may_begin(node, why);
    if (err != PEA_OK)
        return err;
    err = pea__options(&o, sizeof o, opts, why);
    if (err == PEA_OK && o.chain != NULL)
        err = pea__chain_use(o.chain, why);
    if (err == PEA_OK && o.chain != NULL && node->limits.one_per_peer)
        err = pea__chain_can_decide(o.chain, why);
    if (err == PEA_OK)
        err = pea__chain_suits(o.chain != NULL ? o.chain : node->chain, PEA_RESPONDER, node->policy, NULL, why);
    if (err == PEA_OK && o.codec != NULL && pea__chain_mode(o.chain != NULL ? o.chain : node->chain) == PEA_RECORDS)
        err = pea__error(why, PEA_E_INVALID, "in PEA_RECORDS one record is one message: there is no codec");
    if (err != PEA_OK)
        return err;
    pea_listener *l = pea__alloc(sizeof *l);
    if (l == NULL)
        return pea__error(why, PEA_E_NOMEM, NULL);
    err = pea__listen_socket_open(node, addr, &o, &s, why);
    if (err != PEA_OK) {
        pea__free(l);
        return err;
    }
    l->fd = s.fd;
    l->passed = s.passed;
    l->bound_here = s.bound_here;
    l->addr = s.addr;
    l->node = node;
    l->room = 1;
    l->chain = o.chain != NULL ? pea_chain_ref(o.chain) : NULL;
    pea_codec *codec = pea__node_codec(node, chain_of(l), o.codec);
    l->codec = codec != NULL ? pea_codec_ref(codec) : NULL;
    ev_io_init(&l->io, on_acceptable, l->fd, EV_READ);
    ev_init(&l->pause, on_pause_over);
    l->io.data = l->pause.data = l;
    ev_io_start(node->runtime->worker.loop, &l->io);
    pea__worker_touch(&node->runtime->worker);
    pea__registry_lock(node);
    l->next = node->listeners;
    node->listeners = l;
    pea__registry_unlock(node);
    node->counts.listeners++;
    if (listener != NULL)
        *listener = l;
    return PEA_OK;
}

void pea_node_unlisten(pea_node *node, pea_listener *listener)
{
    struct ev_loop *loop = node->runtime->worker.loop;
    for (pea_listener **at = &node->listeners; *at != NULL; at = &(*at)->next) {
        if (*at != listener)
            continue;
        pea__registry_lock(node);
        *at = listener->next;
        pea__registry_unlock(node);
        node->counts.listeners--;
        ev_io_stop(loop, &listener->io);
        ev_timer_stop(loop, &listener->pause);
        close(listener->fd);
        listener->fd = -1;
        /* Else it is somebody else's: who bound it, a successor that may be about to listen, the parent. */
        if (listener->bound_here && !listener->handed && !pea__forked(node->runtime))
            pea__listen_socket_unlink(&listener->addr);
        if (!listener->accepting)
            listener_free(listener);
        return;
    }
}

pea_err pea__listeners_suit(const pea_node *node, const pea_chain *chain, pea_error *why)
{
    pea_err err = PEA_OK;
    for (const pea_listener *l = node->listeners; l != NULL && err == PEA_OK; l = l->next)
        if (l->chain == NULL)
            err = pea__chain_suits(chain, PEA_RESPONDER, node->policy, NULL, why);
    return err;
}

bool pea__listener_passed(const pea_node *node, int fd)
{
    const pea_listener *l = node->listeners;
    while (l != NULL && l->passed != fd)
        l = l->next;
    return l != NULL;
}

const pea_addr *pea_listener_addr(const pea_listener *listener)
{
    return &listener->addr;
}

const pea_addr *pea_node_listen_addr(const pea_node *node)
{
    const pea_listener *first = node->listeners; /* the newest comes first in the list */
    while (first != NULL && first->next != NULL)
        first = first->next;
    return first != NULL ? &first->addr : NULL;
}
