/* SPDX-License-Identifier: MIT */
/* At most one connection per peer, where a node wants that (docs/node.md). Of two nodes the one with the larger id
 * decides: it accepts one proven connection, asks an older one for a sign of life while a newcomer waits, and rejects
 * whichever loses. The other one obeys: what it was accepted on last is the connection.
 *
 * Whoever dialled may say that it means a new connection to take the older one's place (make before break): that is
 * accepted at once, and the older one leaves when it is READY. Until that has ended a second one of the kind is
 * rejected: the other node hears of both in any order, and would keep the one that goes.
 *
 * A peer's entry names its holder, which was accepted, and at most one other: it waits, and is accepted as soon as the
 * holder has ended; or it was the holder, and leaves. Both may belong to different threads: they speak by id, through
 * mailboxes, and whether the holder lives is decided on its own thread alone. */
#include <string.h>

#include "runtime_priv.h"

static bool decides(const pea_conn *c)
{
    const pea_peer *self = pea__pipe_self(c->pipe);
    const pea__who *peer = pea__pipe_who(c->pipe);
    return self->kind != PEA_PEER_NONE && memcmp(self->id, peer->id, PEA_ID_BYTES) > 0;
}

/* ---- What is asked of a connection, on its own thread ---- */

/* A newcomer waits to take its place: is somebody there at all? */
static void challenge(pea_conn *c)
{
    if (c->over || c->closing)
        return; /* it ends within its deadline, and then the newcomer is told */
    c->challenged = true;
    if (pea__conn_holds_unread(c)) { /* who waits for us to read is there, as far as we can know */
        pea__claim_lives(c);
        return;
    }
    if (c->ready && pea__pipe_ping(c->pipe) != PEA_OK)
        pea__conn_abort(c, PEA_BY_WRITING, PEA_E_NOMEM, NULL);
    pea__worker_queue(c->worker, c);
}

static void oust(pea_conn *c)
{
    if (c->challenged)
        pea__conn_abort(c, PEA_BY_TIMEOUT, PEA_E_TIMEOUT,
                        "the peer came by another connection, and did not answer on this one");
}

static void obey(pea_conn *c)
{
    pea__conn_abort(c, PEA_BY_PEER, PEA_E_CLOSED, "the peer came by another connection, and keeps that one");
}

static void reject(pea_conn *c)
{
    pea__conn_finish(c, &(pea_reason){.origin = PEA_BY_POLICY,
                                      .err = PEA_E_EXISTS,
                                      .code = PEA_CODE_DUPLICATE,
                                      .text = "this peer is connected already"});
}

/* Another one is to take its place. */
static void leave(pea_conn *c)
{
    c->retiring = true;
    c->heard_ms = pea__now_ms();
    pea__conn_retime(c);
}

static void cut(pea_conn *c)
{
    pea__conn_abort(c, PEA_BY_TIMEOUT, PEA_E_TIMEOUT,
                    "the peer came by yet another connection before this one had ended");
}

static void grant(pea_conn *c)
{
    pea__pipe_admit(c->pipe);
    c->in_line = false;
    c->since_ms = pea__now_ms();
    c->pump_due = true;
    pea__worker_queue(c->worker, c);
}

void pea__claim_grant(pea_runtime *runtime, uint64_t id, pea__post *letter)
{
    pea__mailbox_send(runtime, letter, id, grant);
}

/* ---- Claims ---- */

typedef enum claim { GRANTED, WAITS, LOST, NO_MEMORY } claim;

/* What is asked of another connection. */
typedef struct question {
    uint64_t conn; /* 0: nothing */
    void (*fn)(pea_conn *conn);
    pea__post *letter;
} question;

static uint64_t waiter_of(const pea__peer_entry *e)
{
    return e->answer != NULL ? e->other : 0;
}

static uint64_t leaving_of(const pea__peer_entry *e)
{
    return e->answer == NULL ? e->other : 0;
}

/* Who leaves has to be gone now: somebody else needs its place in the entry. */
static bool dismiss(pea__peer_entry *e, question *q)
{
    uint64_t leaving = leaving_of(e);
    pea__post *letter = leaving != 0 ? pea__mailbox_letter() : NULL;
    if (leaving == 0)
        return true;
    if (letter == NULL)
        return false;
    *q = (question){leaving, cut, letter};
    e->other = 0;
    return true;
}

/* The newcomer is what its dialler wants from here on. */
static claim take_over(const pea_conn *c, pea__peer_entry *e, question q[2])
{
    pea__post *letter = pea__mailbox_letter();
    if (letter == NULL || !dismiss(e, &q[1])) {
        pea__free(letter);
        return NO_MEMORY;
    }
    q[0] = (question){e->holder, leave, letter};
    e->other = e->holder;
    e->holder = c->id;
    return GRANTED;
}

/* The newcomer gets in line, if the letters can be made now: who cannot ask, or cannot be told, would wait in vain. */
static claim wait_in_line(const pea_conn *c, pea__peer_entry *e, question *q)
{
    pea__post *answer = pea__mailbox_letter();
    if (answer != NULL && waiter_of(e) == 0)
        q->letter = pea__mailbox_letter();
    else
        q->letter = e->answer; /* an earlier one is sent away */
    if (answer == NULL || q->letter == NULL) {
        pea__free(answer);
        return NO_MEMORY;
    }
    e->answer = answer;
    e->other = c->id;
    return WAITS;
}

/* What becomes of the newcomer. With the registry's lock. */
static claim decide(const pea_conn *c, pea__peer_entry *e, question q[2])
{
    if (e == NULL)
        return NO_MEMORY;
    if (!decides(c) && !pea__pipe_accepted(c->pipe))
        return GRANTED; /* it says that it is willing, and hears whether it is wanted */
    if (e->holder == 0)
        e->holder = c->id;
    if (e->holder == c->id || leaving_of(e) == c->id) /* who leaves was granted, and may be asked for twice */
        return GRANTED;
    if (decides(c) && (waiter_of(e) != 0 || (pea__pipe_replaces(c->pipe) && leaving_of(e) != 0)))
        return LOST;
    if (pea__pipe_replaces(c->pipe) && waiter_of(e) == 0)
        return take_over(c, e, q);
    if (!dismiss(e, &q[1]))
        return NO_MEMORY;
    question first = {e->holder, decides(c) ? challenge : obey, NULL};
    if (waiter_of(e) != 0) /* it was wanted a moment ago, and has been overtaken */
        first = (question){e->other, reject, NULL};
    claim verdict = wait_in_line(c, e, &first);
    if (verdict == WAITS)
        q[0] = first;
    return verdict;
}

void pea__claim(pea_conn *c)
{
    pea_node *node = c->node;
    question q[2] = {{0, NULL, NULL}, {0, NULL, NULL}};
    claim verdict = GRANTED;
    bool named = pea__pipe_self(c->pipe)->kind != PEA_PEER_NONE && pea__pipe_who(c->pipe) != NULL;
    if (named) { /* nobody can be connected as often as he likes */
        pea__registry_lock(node);
        verdict = decide(c, pea__peer_entry_of(c), q);
        pea__registry_unlock(node);
    }
    switch (verdict) {
    case GRANTED:
        grant(c);
        break;
    case WAITS:
        c->in_line = true;
        c->since_ms = pea__now_ms();
        pea__conn_retime(c);
        break;
    case LOST:
        reject(c);
        break;
    case NO_MEMORY:
        pea__conn_abort(c, PEA_BY_HANDSHAKE, PEA_E_NOMEM, NULL);
        break;
    }
    for (size_t i = 0; i < sizeof q / sizeof q[0]; i++)
        if (q[i].conn != 0)
            (q[i].fn == leave ? pea__mailbox_tell : pea__mailbox_send)(node->runtime, q[i].letter, q[i].conn, q[i].fn);
}

void pea__claim_lives(pea_conn *c)
{
    pea__peer_entry *e = c->named;
    c->challenged = false;
    pea__registry_lock(c->node);
    uint64_t waiter = e != NULL && e->holder == c->id ? waiter_of(e) : 0;
    pea__post *letter = NULL;
    if (waiter != 0) {
        letter = e->answer;
        e->other = 0;
        e->answer = NULL;
    }
    pea__registry_unlock(c->node);
    if (waiter != 0)
        pea__mailbox_send(c->node->runtime, letter, waiter, reject);
}

void pea__claim_overdue(pea_conn *c)
{
    c->in_line = false;
    c->since_ms = pea__now_ms();
    pea__registry_lock(c->node);
    uint64_t holder = c->named != NULL && waiter_of(c->named) == c->id ? c->named->holder : 0;
    pea__registry_unlock(c->node);
    if (holder != 0 && !pea__mailbox_ask(c->node->runtime, holder, oust))
        pea__conn_abort(c, PEA_BY_HANDSHAKE, PEA_E_NOMEM, NULL);
}

pea__claim_left pea__claim_leaves(const pea_conn *c)
{
    pea__claim_left left = PEA__KEPT;
    pea__registry_lock(c->node);
    const pea__peer_entry *e = c->named;
    if (e != NULL && leaving_of(e) == c->id) {
        left = PEA__LEAVING;
        for (const pea_conn *at = e->conns; at != NULL; at = at->fellow)
            if (at->id == e->holder)
                left = PEA__LEFT;
    }
    pea__registry_unlock(c->node);
    return left;
}

void pea__claim_ends(pea_conn *c)
{
    pea__peer_entry *e = c->named;
    if (e == NULL)
        return;
    pea__registry_lock(c->node);
    if (leaving_of(e) == c->id)
        e->other = 0;
    pea__registry_unlock(c->node);
}

uint64_t pea__claim_drop(pea__peer_entry *e, uint64_t id, pea__post **letter)
{
    *letter = NULL;
    if (e->other == id) {
        e->other = 0;
        pea__free(e->answer);
        e->answer = NULL;
    }
    if (e->holder != id)
        return 0;
    e->holder = e->other; /* who waited, or who would have left */
    e->other = 0;
    *letter = e->answer;
    e->answer = NULL;
    return *letter != NULL ? e->holder : 0;
}
