/* SPDX-License-Identifier: MIT */
/* How a connection is brought to its end from our side: with a farewell, or at once. What follows is the loop's:
 * conn.c. */
#include "err_priv.h"
#include "runtime_priv.h"

/* The one callback that may run from inside a call: what it frees must wait for the round all the same. */
static void tell_closing(pea_conn *c, const pea_reason *reason)
{
    pea__worker *w = c->worker;
    bool inside = w->inside;
    w->inside = true;
    c->node->on.on_closing(c, reason, c->node->user);
    if (!inside)
        pea__worker_leave(w);
}

void pea__conn_finish(pea_conn *c, const pea_reason *reason)
{
    if (c->over || c->closing || pea_pipe_state(c->pipe) >= PEA_CLOSING)
        return;
    c->closing = true; /* once: on_closing may call us again */
    atomic_store(&c->usable, false);
    if (c->ready && c->node->on.on_closing != NULL)
        tell_closing(c, reason);
    c->since_ms = pea__now_ms();
    if (c->connecting)
        pea_pipe_abort(c->pipe, reason->origin, reason->err == PEA_OK ? PEA_E_ABORTED : reason->err, reason->text);
    else
        pea__pipe_finish(c->pipe, reason);
    c->pump_due = true;
    pea__worker_queue(c->worker, c);
    pea__conn_retime(c);
}

void pea_conn_close(pea_conn *c, uint16_t code, const char *text)
{
    pea_reason reason = {.origin = PEA_BY_USER, .err = PEA_OK, .code = code};
    pea__reason_say(&reason, text);
    pea__conn_finish(c, &reason);
}

void pea__conn_abort(pea_conn *c, pea_origin origin, pea_err err, const char *text)
{
    if (c->over)
        return;
    atomic_store(&c->usable, false);
    pea_pipe_abort(c->pipe, origin, err, text);
    c->pump_due = true;
    pea__worker_queue(c->worker, c);
}

void pea_conn_abort(pea_conn *c)
{
    pea__conn_abort(c, PEA_BY_USER, PEA_E_ABORTED, "");
}

/* ---- In two steps: we say no more, then nobody does ---- */

static const pea_reason replaced = {
    .origin = PEA_BY_USER, .err = PEA_OK, .text = "another connection with this peer has taken its place"};

static const pea_reason too_old = {
    .origin = PEA_BY_TIMEOUT, .err = PEA_OK, .text = "the session has reached max_session_ms"};

static void retire(pea_conn *c, const pea_reason *reason)
{
    if (c->over || c->closing || pea_pipe_state(c->pipe) != PEA_READY)
        return;
    atomic_store(&c->usable, false);
    c->retiring = true;
    c->heard_ms = pea__now_ms();
    pea_err err = pea_pipe_end(c->pipe);
    if (err == PEA_E_UNSUPPORTED) /* no end but the stream's */
        pea__conn_finish(c, reason);
    else if (err == PEA_E_NOMEM)
        pea__conn_abort(c, PEA_BY_WRITING, err, NULL);
    pea__worker_queue(c->worker, c);
    pea__conn_retime(c);
}

void pea__conn_retire(pea_conn *c)
{
    retire(c, &replaced);
}

void pea__conn_too_old(pea_conn *c)
{
    if (pea__pipe_said_end(c->pipe)) /* and the peer talks on */
        pea__conn_finish(c, &too_old);
    else
        retire(c, &too_old);
}

void pea__conn_retired(pea_conn *c)
{
    pea__claim_left left = pea__pipe_said_end(c->pipe) ? PEA__LEFT : pea__claim_leaves(c);
    c->heard_ms = pea__now_ms();
    c->retiring = left != PEA__KEPT;
    if (left == PEA__LEFT)
        pea__conn_finish(c, &replaced);
}

bool pea__conn_superseded(const pea_conn *c)
{
    return c->retiring && (pea__pipe_said_end(c->pipe) || pea__claim_leaves(c) == PEA__LEFT);
}

pea_err pea_conn_end(pea_conn *c)
{
    if (pea__forked(c->worker->runtime))
        return PEA_E_FORKED;
    if (c->over)
        return PEA_E_STATE;
    pea_err err = pea_pipe_end(c->pipe);
    if (err == PEA_OK)
        pea__worker_queue(c->worker, c);
    return err;
}
