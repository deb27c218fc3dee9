/* SPDX-License-Identifier: MIT */
/* One try: a pipe over a socket until a deadline, and a record of who said how much when. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "probe_priv.h"

#define FAREWELL_US 1000000 /* for the peer to read that we go */

typedef struct trial {
    int fd;
    pea_pipe *pipe; /* NULL: bytes alone */
    probe_result *result;
    int64_t last_us; /* the end of the last flight */
    bool recording;
    bool shut;           /* we ended our side */
    uint8_t data[16384]; /* what was read last: it is lent to the pipe */
} trial;

/* `now`: of ours before they were written, since the peer may have answered when that call returns. */
static void note(trial *t, bool ours, int64_t now, const uint8_t *data, size_t n)
{
    probe_result *r = t->result;
    if (!ours && r->n_first < sizeof r->first) {
        size_t more = n < sizeof r->first - r->n_first ? n : sizeof r->first - r->n_first;
        memcpy(r->first + r->n_first, data, more);
        r->n_first += more;
    }
    if (t->recording && (r->n_flights == 0 || r->flights[r->n_flights - 1].ours != ours) &&
        r->n_flights < PROBE_FLIGHTS_MAX)
        r->flights[r->n_flights++] = (probe_flight){.ours = ours, .after_us = now - t->last_us};
    if (t->recording && r->n_flights > 0 && r->flights[r->n_flights - 1].ours == ours)
        r->flights[r->n_flights - 1].bytes += n;
    t->last_us = now;
}

/* ---- The judge ---- */

static pea_err judge_check(void *self, pea_peer *peer, const pea_candidate *candidate, pea_reason *why)
{
    probe_judge *j = self;
    pea_candidate c = *candidate;
    if (j->dialled != NULL)
        c.dialled = j->dialled;
    j->met = true;
    j->verdict = PEA_OK;
    if (j->trust != NULL)
        j->verdict = pea_trust_explain(j->trust, peer, &c, &j->account);
    j->peer = *peer;
    if (j->verdict == PEA_OK)
        return PEA_OK;
    memcpy(why->text, j->account.text, sizeof why->text);
    return PEA_E_REFUSED;
}

static const pea_policy_ops judge_ops = {.version = PEA_POLICY_VERSION, .name = "probe", .check = judge_check};

/* ---- Bytes ---- */

static void read_some(trial *t, size_t room)
{
    size_t taken;
    ssize_t n = recv(t->fd, t->data, room < sizeof t->data ? room : sizeof t->data, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0)
        note(t, false, probe_now(), t->data, (size_t)n);
    else
        t->result->fin = true;
    if (n < 0)
        t->result->sys = errno;
    if (t->pipe == NULL)
        return;
    if (n > 0 && pea_pipe_feed(t->pipe, t->data, (size_t)n, &taken) == PEA_OK)
        return; /* no more was read than there is room for; what failed says so as an event */
    if (n == 0)
        pea_pipe_feed_end(t->pipe);
    else if (n < 0)
        pea_pipe_broken(t->pipe, PEA_BY_READING, t->result->sys);
}

/* Writes what can be written. True: there is more. */
static bool write_some(trial *t)
{
    pea_span span;
    pea_err err;
    while ((err = pea_pipe_output(t->pipe, &span)) == PEA_OK) {
        int64_t now = probe_now();
        ssize_t n = send(t->fd, span.data, span.len, MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return true;
        if (n < 0) {
            pea_pipe_broken(t->pipe, PEA_BY_WRITING, errno);
            return false;
        }
        note(t, true, now, span.data, (size_t)n);
        pea_pipe_sent(t->pipe, (size_t)n);
    }
    if (err == PEA_EOF && !t->shut)
        t->shut = shutdown(t->fd, SHUT_WR) == 0;
    return false;
}

/* True: it is over. */
static bool take_events(trial *t)
{
    pea_event event;
    size_t len = sizeof t->result->cipher - 1;
    while (pea_pipe_next(t->pipe, &event) == PEA_OK) {
        if (event.type == PEA_EVENT_READY) {
            t->result->end = PROBE_READY;
            if (pea_pipe_query(t->pipe, PEA_QUERY_CIPHER, (pea_span){NULL, 0}, t->result->cipher, &len) != PEA_OK)
                len = 0;
            t->result->cipher[len] = '\0';
            return true;
        }
        if (event.type == PEA_EVENT_CLOSED) {
            t->result->reason = *event.reason;
            if (t->result->end == 0)
                t->result->end = PROBE_CLOSED;
            return true;
        }
    }
    return false;
}

/* Until it is over, or late. */
static void run(trial *t, int64_t deadline_us)
{
    for (;;) {
        struct timespec wall;
        (void)clock_gettime(CLOCK_REALTIME, &wall);
        pea_pipe_tick(t->pipe, probe_now() / 1000, (int64_t)wall.tv_sec * 1000 + wall.tv_nsec / 1000000);
        bool over = take_events(t), more = write_some(t);
        if (over || take_events(t))
            return;
        size_t room = pea_pipe_room(t->pipe);
        int64_t left = (deadline_us - probe_now() + 999) / 1000;
        struct pollfd waits = {.fd = t->fd, .events = (short)((room > 0 ? POLLIN : 0) | (more ? POLLOUT : 0))};
        if (left <= 0) {
            if (t->result->end == 0)
                t->result->end = PROBE_LATE;
            return;
        }
        if (poll(&waits, 1, (int)left) > 0 && (waits.revents & (POLLIN | POLLHUP | POLLERR)) != 0)
            read_some(t, room > 0 ? room : 1);
    }
}

/* False: no socket. */
static bool begin(trial *t, probe_target *target, int timeout_ms, probe_result *result)
{
    int64_t started = probe_now();
    *t = (trial){.result = result, .recording = true};
    t->fd = probe_dial(target, started + (int64_t)timeout_ms * 1000);
    t->last_us = probe_now();
    result->connect_us = t->last_us - started;
    if (t->fd >= 0)
        return true;
    result->end = PROBE_NO_SOCKET;
    result->sys = errno;
    return false;
}

int probe_try(probe_target *target, pea_chain *chain, const char *name, int timeout_ms, probe_result *result)
{
    pea_error why = {.code = PEA_OK};
    pea_policy *policy = NULL;
    trial t;
    if (!begin(&t, target, timeout_ms, result))
        return TOOL_OK;
    pea_err err = pea_policy_new(&policy, &judge_ops, &result->judge);
    if (err == PEA_OK) {
        const pea_addr *remote = &target->places[target->at].addr;
        err = pea_pipe_new(&t.pipe, chain, PEA_PIPE(.policy = policy, .remote = remote, .name = name), &why);
    }
    pea_policy_unref(policy);
    if (err == PEA_OK) {
        run(&t, probe_now() + (int64_t)timeout_ms * 1000);
        t.recording = false;
        if (result->end == PROBE_READY && pea_pipe_close(t.pipe, PEA_CODE_NORMAL, "probed") == PEA_OK)
            run(&t, probe_now() + FAREWELL_US);
    }
    pea_pipe_free(t.pipe);
    (void)close(t.fd);
    why.code = err;
    return err == PEA_OK ? TOOL_OK : tool_fail_why(NULL, &why);
}

void probe_say(probe_target *target, const char *text, int timeout_ms, probe_result *result)
{
    trial t;
    if (!begin(&t, target, timeout_ms, result))
        return;
    int64_t deadline = probe_now() + (int64_t)timeout_ms * 1000, left;
    int64_t now = probe_now();
    if (send(t.fd, text, strlen(text), MSG_NOSIGNAL) >= 0) /* so little always fits */
        note(&t, true, now, (const uint8_t *)text, strlen(text));
    while (result->n_first == 0 && !result->fin && (left = (deadline - probe_now() + 999) / 1000) > 0) {
        struct pollfd waits = {.fd = t.fd, .events = POLLIN};
        if (poll(&waits, 1, (int)left) > 0)
            read_some(&t, SIZE_MAX);
    }
    result->end = result->n_first > 0 || result->fin ? PROBE_CLOSED : PROBE_LATE;
    (void)close(t.fd);
}
