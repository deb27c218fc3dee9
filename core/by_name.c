/* SPDX-License-Identifier: MIT */
/* Connections that were dialled by name: each waits for its addresses, then tries them in turn until one connects. An
 * address is checked as a literal one is, but on the connection's own thread. Who resolves names is resolver.c's to
 * say. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "err_priv.h"
#include "resolver_priv.h"

pea_err pea__target_new(pea__target **target, const pea__host *host, bool again, uint64_t wait)
{
    char name[sizeof host->name + 8];
    size_t len = (size_t)snprintf(name, sizeof name, "%s:%u", host->name, host->port);
    pea__target *t = pea__alloc(sizeof *t + len + 1);
    if (t == NULL)
        return PEA_E_NOMEM;
    t->wait = wait;
    t->again = again;
    t->give_way_ms = INT64_MAX;
    t->len = len;
    memcpy(t->name, name, len);
    *target = t;
    return PEA_OK;
}

void pea__target_free(pea__target *t)
{
    if (t == NULL)
        return;
    pea__lookup_free(t->lookup);
    pea__free(t);
}

/* ---- One address after another ---- */

/* Whether it makes sense to go there, and nobody minds; if so, the connection is known by that address from here on. */
static pea_err may_dial(pea_conn *c, const pea_addr *remote, pea_error *why)
{
    char text[PEA_ADDR_TEXT_BYTES];
    if (pea__listener_at(c->node, remote))
        return pea__errorf(why, PEA_E_INVALID, "%s is this node's own address", pea_addr_format(remote, text));
    pea_err err = pea__admission_may_dial(c->node, remote, why);
    if (err != PEA_OK)
        return err;
    err = pea__registry_move(c, remote, c->target->again);
    if (err == PEA_E_EXISTS)
        return pea__errorf(why, err, "%s is dialled already, or connected", pea_addr_format(remote, text));
    return err == PEA_OK ? err : pea__error(why, err, NULL);
}

/* When this address gives way to the next: each gets the same part of the time that is left, the last one all of it. */
static int64_t share(const pea_conn *c)
{
    const pea__target *t = c->target;
    uint32_t timeout = c->node->limits.connect_timeout_ms;
    size_t others = t->lookup->found.n - t->at;
    if (others == 0 || timeout == PEA_NEVER)
        return INT64_MAX;
    int64_t now = pea__now_ms(), left = c->since_ms + (int64_t)timeout - now;
    return now + (left > 0 ? left : 0) / (int64_t)(others + 1);
}

/* What the last address said is the reason. Told from the round. */
static void fail(pea_conn *c, const pea_error *why)
{
    if (why->sys != 0) {
        c->sys_errno = why->sys;
        pea__worker_queue(c->worker, c);
        return;
    }
    pea_origin origin = why->code == PEA_E_TIMEOUT ? PEA_BY_TIMEOUT
                        : why->code == PEA_E_LIMIT ? PEA_BY_POLICY
                                                   : PEA_BY_HANDSHAKE;
    pea__conn_abort(c, origin, why->code, why->text);
}

/* To the next address that can be dialled. `why`: what became of the one before. */
static void go_on(pea_conn *c, pea_error *why)
{
    pea__target *t = c->target;
    const pea__found *found = &t->lookup->found;
    while (t->at < found->n) {
        const pea_addr *remote = &found->addrs[t->at++];
        int fd, result = 0;
        if (may_dial(c, remote, why) != PEA_OK || pea__socket_dial(remote, &fd, &result, why) != PEA_OK)
            continue;
        if (result == 0 || result == EINPROGRESS) {
            t->give_way_ms = share(c);
            pea__conn_dials(c, fd, result);
            return;
        }
        close(fd);
        (void)pea__error_sys(why, result, "connect");
    }
    t->give_way_ms = INT64_MAX;
    fail(c, why);
}

void pea__target_gives_way(pea_conn *c, pea_err err, int sys)
{
    pea_error why;
    ev_io_stop(c->worker->loop, &c->io);
    close(c->fd);
    c->fd = -1;
    if (sys != 0)
        (void)pea__error_sys(&why, sys, "connect");
    else
        (void)pea__error(&why, err, "the connect timeout passed");
    go_on(c, &why);
}

bool pea__target_has_more(const pea_conn *c)
{
    const pea__target *t = c->target;
    return t != NULL && t->lookup != NULL && t->at < t->lookup->found.n && pea_pipe_state(c->pipe) < PEA_CLOSING;
}

/* ---- The answer ---- */

static void refuse(pea_conn *c, const pea__found *found)
{
    char text[PEA_TEXT_MAX];
    (void)snprintf(text, sizeof text, "\"%.120s\" was not resolved: %.100s", c->target->name, found->text);
    pea__conn_abort(c, PEA_BY_HANDSHAKE, found->err, text);
}

void pea__by_name_resolved(pea__worker *w, pea__post *post)
{
    pea__lookup *l = post->arg;
    pea_conn *c = pea__registry_find(w, l->ticket.conn);
    if (c == NULL || c->over || c->target->wait != l->ticket.wait || pea_pipe_state(c->pipe) >= PEA_CLOSING) {
        pea__lookup_free(l);
        return;
    }
    pea_error why = {.code = PEA_OK};
    c->target->wait = 0;
    c->target->lookup = l;
    if (l->found.n == 0)
        refuse(c, &l->found);
    else
        go_on(c, &why);
    pea__conn_retime(c);
}

/* ---- Life ---- */

/* There is no socket at first, which would keep the loop alive. */
void pea__target_begins(pea_conn *c)
{
    if (c->target == NULL)
        return;
    ev_ref(c->worker->loop);
    c->target->held = true;
}

void pea__target_ends(pea_conn *c)
{
    pea__target *t = c->target;
    if (t == NULL)
        return;
    if (t->held)
        ev_unref(c->worker->loop);
    t->held = false;
    if (t->wait != 0)
        pea__lookup_drop(c->node->runtime, t->wait);
    t->wait = 0;
    t->give_way_ms = INT64_MAX;
    pea__lookup_free(t->lookup);
    t->lookup = NULL;
}
