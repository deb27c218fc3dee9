/* SPDX-License-Identifier: MIT */
/* A connection's deadlines: connect, handshake, an unfinished message, idling, a write that is not taken, linger. One
 * timer serves them all. It is moved only to come earlier; if it comes too early, it looks again: traffic never touches
 * it. */
#include <string.h>

#include "runtime_priv.h"

static int64_t after(int64_t from, uint32_t ms)
{
    return ms == PEA_NEVER ? INT64_MAX : from + (int64_t)ms;
}

/* When the unfinished message must be there. A pause puts it off: since_ms is when reading began again. */
static int64_t partial_due(const pea_conn *c)
{
    int64_t since = pea_pipe_partial_since(c->pipe);
    if (since < 0)
        return INT64_MAX;
    return after(since > c->since_ms ? since : c->since_ms, c->node->limits.partial_timeout_ms);
}

/* When a socket that takes nothing is given up. */
static int64_t write_due(const pea_conn *c)
{
    return c->taken_ms != 0 ? after(c->taken_ms, c->node->limits.write_timeout_ms) : INT64_MAX;
}

/* When a connection whose place was taken has had its time: the peer says no more. */
static int64_t retiring_due(const pea_conn *c)
{
    return c->retiring ? after(c->heard_ms, c->node->limits.linger_ms) : INT64_MAX;
}

/* When it is too old; and once it has said END, when the peer has had the time to say what was on its way. */
static int64_t session_due(const pea_conn *c)
{
    int64_t at = after(c->born_ms, c->node->limits.max_session_ms);
    return at != INT64_MAX && pea__pipe_said_end(c->pipe) ? after(at, c->node->limits.linger_ms) : at;
}

static int64_t sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* When the deadline of the state that the connection is in passes; INT64_MAX: never. */
static int64_t due(const pea_conn *c)
{
    const pea_node_opts *t = &c->node->limits;
    if (c->connecting)
        return sooner(after(c->since_ms, t->connect_timeout_ms),
                      c->target != NULL ? c->target->give_way_ms : INT64_MAX);
    if (c->closing || pea_pipe_state(c->pipe) >= PEA_CLOSING)
        return after(c->since_ms, t->linger_ms);
    if (c->in_line)
        return after(c->since_ms, PEA__LIFE_MS);
    if (!c->ready)
        return after(c->since_ms, t->handshake_timeout_ms);
    if (c->waiting)
        return after(c->since_ms, t->handshake_timeout_ms);
    if (c->paused) /* that we hear nothing is our own doing */
        return write_due(c);
    int64_t idle = sooner(after(c->heard_ms, t->idle_timeout_ms), sooner(retiring_due(c), session_due(c)));
    return sooner(sooner(idle, partial_due(c)), write_due(c));
}

void pea__conn_timer_stop(pea_conn *c)
{
    if (!ev_is_active(&c->timer))
        return;
    ev_ref(c->worker->loop);
    ev_timer_stop(c->worker->loop, &c->timer);
    c->armed_ms = 0;
}

static void timer_set(pea_conn *c, int64_t at, int64_t now)
{
    struct ev_loop *loop = c->worker->loop;
    pea__conn_timer_stop(c);
    double in = at > now ? (double)(at - now) / 1e3 : 0.;
    ev_now_update(loop);
    ev_timer_set(&c->timer, in,
                 in > 0.001 ? in : 0.001); /* it repeats until it is told otherwise, so that it is ours to stop */
    ev_timer_start(loop, &c->timer);
    ev_unref(loop);
    pea__worker_touch(c->worker);
    c->armed_ms = at;
}

/* A wait for the policy is a state of its own, with the time of a handshake. */
static void note_waiting(pea_conn *c)
{
    bool waits = c->ready && pea__pipe_waits(c->pipe);
    if (waits == c->waiting)
        return;
    c->waiting = waits;
    c->since_ms = c->heard_ms = pea__now_ms();
}

/* After anything that may bring the deadline forward. */
void pea__conn_retime(pea_conn *c)
{
    if (c->over)
        return;
    if (!c->closing)
        note_waiting(c);
    int64_t at = due(c);
    if (at != INT64_MAX && (c->armed_ms == 0 || at < c->armed_ms))
        timer_set(c, at, pea__now_ms());
}

static void expired(pea_conn *c)
{
    if (c->connecting && pea__target_has_more(c)) {
        pea__target_gives_way(c, PEA_E_TIMEOUT, 0);
        return;
    }
    if (c->connecting) {
        pea__conn_abort(c, PEA_BY_TIMEOUT, PEA_E_TIMEOUT, "the connect timeout passed");
        return;
    }
    if (c->closing || pea_pipe_state(c->pipe) >= PEA_CLOSING) {
        pea_pipe_abort(c->pipe, PEA_BY_TIMEOUT, PEA_E_TIMEOUT, "the linger time passed");
        return;
    }
    if (c->in_line) {
        pea__claim_overdue(c);
        return;
    }
    if (c->waiting) {
        pea__pipe_revoke(c->pipe, "the policy was asked again, and did not answer in time");
        return;
    }
    if (c->ready && write_due(c) <= pea__now_ms()) { /* nobody would hear a farewell */
        pea__conn_abort(c, PEA_BY_TIMEOUT, PEA_E_TIMEOUT, "the write timeout passed: the peer takes nothing");
        return;
    }
    if (c->ready && session_due(c) <= pea__now_ms()) {
        pea__conn_too_old(c);
        return;
    }
    if (c->ready && retiring_due(c) <= pea__now_ms() && partial_due(c) > pea__now_ms()) {
        pea__conn_retired(c);
        return;
    }
    const char *text = !c->ready                         ? "the handshake timeout passed"
                       : partial_due(c) <= pea__now_ms() ? "a message was begun and not finished in time"
                                                         : "the idle timeout passed";
    pea_reason reason = {.origin = PEA_BY_TIMEOUT, .err = PEA_E_TIMEOUT, .code = PEA_CODE_TIMEOUT};
    memcpy(reason.text, text, strlen(text) + 1);
    pea__conn_finish(c, &reason);
}

void pea__conn_on_timer(struct ev_loop *loop, ev_timer *timer, int events)
{
    pea_conn *c = timer->data;
    (void)loop;
    (void)events;
    if (!pea__worker_enter(c->worker))
        return;
    int64_t at = due(c), now = pea__now_ms();
    if (at > now) {
        if (at == INT64_MAX)
            pea__conn_timer_stop(c);
        else
            timer_set(c, at, now);
    } else {
        pea__conn_timer_stop(c);
        expired(c);
        pea__conn_pump(c);
        pea__worker_queue(c->worker, c);
        pea__conn_retime(c);
    }
    pea__worker_leave(c->worker);
}
