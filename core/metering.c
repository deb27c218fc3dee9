/* SPDX-License-Identifier: MIT */
/* What strangers may make a thread compute: a few handshakes in each round of its loop, paid for just before the first
 * Diffie-Hellman, so that whoever is connected is served in between; and where those make rounds long, a part of the
 * time, so that whoever comes is served as well. Who cannot be paid for yet stands in one of two lines; those whose
 * neighbours have authenticated lately have a share of their own, which strangers cannot take. */
#include "runtime_priv.h"

/* ---- Lines ---- */

/* Ids, since connections end while they wait. PEA_OK | PEA_E_NOMEM */
static pea_err line_push(pea__line *line, uint64_t id)
{
    if (line->len == line->room) {
        size_t room = line->room > 0 ? 2 * line->room : 64;
        uint64_t *ids = pea__alloc(room * sizeof *ids);
        if (ids == NULL)
            return PEA_E_NOMEM;
        for (size_t i = 0; i < line->len; i++)
            ids[i] = line->ids[(line->first + i) % line->room];
        pea__free(line->ids);
        *line = (pea__line){.ids = ids, .room = room, .len = line->len};
    }
    line->ids[(line->first + line->len++) % line->room] = id;
    return PEA_OK;
}

/* The next one that is still there; NULL: nobody. An empty line holds no memory. */
static pea_conn *line_pop(pea__worker *w, pea__line *line)
{
    pea_conn *conn = NULL;
    while (line->len > 0 && conn == NULL) {
        conn = pea__registry_find(w, line->ids[line->first]);
        line->first = (line->first + 1) % line->room;
        line->len--;
        if (conn != NULL && conn->over)
            conn = NULL;
    }
    if (line->len == 0) {
        pea__free(line->ids);
        *line = (pea__line){.ids = NULL};
    }
    return conn;
}

void pea__metering_stop(pea__worker *w)
{
    pea__free(w->known.ids);
    pea__free(w->strangers.ids);
}

/* ---- Paying ---- */

static bool somebody_waits(const pea__worker *w)
{
    return w->known.len + w->strangers.len > 0;
}

static void pay(pea_conn *c)
{
    c->worker->paid++;
    pea__pipe_paid(c->pipe);
    c->pump_due = true;
}

void pea__metering_ask(pea_conn *c)
{
    pea__worker *w = c->worker;
    if (!somebody_waits(w) && w->paid < PEA__HANDSHAKES_PER_ROUND) {
        pay(c);
        pea__worker_queue(w, c); /* and so there is a round, in which the count begins anew */
        return;
    }
    if (line_push(pea__ranges_known(c->node, &c->origin, pea__now_ms()) ? &w->known : &w->strangers, c->id) != PEA_OK)
        pea__conn_abort(c, PEA_BY_HANDSHAKE, PEA_E_NOMEM, NULL);
    else
        pea__worker_rounds(w);
}

/* Pays for the next one, in turns; where one line is empty the other has it all. NULL: it has gone meanwhile. */
static pea_conn *pay_next(pea__worker *w)
{
    bool known = w->strangers.len == 0 || (w->known.len > 0 && w->paid % 2 == 0);
    pea_conn *c = line_pop(w, known ? &w->known : &w->strangers);
    if (c != NULL)
        pay(c);
    return c;
}

bool pea__metering_round(pea__worker *w)
{
    pea_conn *c;
    w->paid = 0;
    while (somebody_waits(w) && w->paid < PEA__HANDSHAKES_PER_ROUND)
        if ((c = pay_next(w)) != NULL)
            pea__worker_queue(w, c); /* for the next round: who leaves by then costs nothing */
    if (somebody_waits(w)) {
        int64_t now = w->work_ms();
        int64_t others = w->paid_ms != 0 ? now - w->paid_ms : 0; /* since the round before */
        int64_t until = now + others / PEA__HANDSHAKES_PART;
        while (somebody_waits(w) && w->work_ms() < until)
            if ((c = pay_next(w)) != NULL)
                pea__conn_round(c); /* here, so that it is known how long it takes */
    }
    w->paid_ms = somebody_waits(w) ? w->work_ms() : 0;
    return somebody_waits(w);
}
