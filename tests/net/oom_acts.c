/* SPDX-License-Identifier: MIT */
/* What Alice and Bob do while memory fails them: see oom_scene.h. An act goes as far as it can and ends its connections
 * itself, or leaves them to the end of the nodes. */
#include "net/oom_scene.h"

#include <stdio.h>
#include <unistd.h>

#include "peapod/stats.h"

static bool some_end(const scene *s)
{
    return s->alice.disconnects + s->bob.disconnects + s->bob.failures > s->stranger.dials_ended;
}

/* Both have what the other one sent and every confirmation came, or one of them has ended. */
static bool all_is_said(const scene *s)
{
    if (s->alice.told != s->alice.owed || s->bob.told != s->bob.owed)
        return false;
    return (s->alice.messages == s->bob.sent && s->bob.messages == s->alice.sent) || !actor_is_connected(&s->alice) ||
           s->bob.disconnects > 0;
}

static bool nobody_is_connected(const scene *s)
{
    return !actor_is_connected(&s->alice) && !actor_is_connected(&s->bob);
}

/* Small and large, there and back, confirmed; then Bob sends Alice away. */
static bool talk(scene *s)
{
    s->talks = true;
    if (!actor_meet(&s->alice, s->bob.addr, &s->bob))
        return false;
    until(s, all_is_said(s));
    bool complete = s->alice.messages == 2 && s->bob.messages == 2;
    pea_err err = pea_node_close_peer(s->bob.node, &s->alice.peer, PEA_CODE_NORMAL, "that was it");
    complete = complete && err == PEA_OK;
    if (err != PEA_OK && err != PEA_E_NOT_FOUND)
        check_err(err, PEA_E_NOMEM);
    if (err == PEA_OK)
        until(s, nobody_is_connected(s));
    return complete && s->alice.connects == 1;
}

static bool owes(actor *who, pea_err err)
{
    if (err == PEA_OK)
        return true;
    atomic_fetch_sub(&who->owed, 1);
    if (err != PEA_E_NOT_FOUND && err != PEA_E_STATE)
        check_err(err, PEA_E_NOMEM);
    return false;
}

static bool everybody(pea_conn *conn, void *arg)
{
    (void)conn, (void)arg;
    return true;
}

/* By id, by peer, to all; a ticket that is nobody's; then Alice is sent away by id. */
static bool post(scene *s)
{
    static const uint8_t large[LARGE];
    pea_msg *msg;
    if (!actor_meet(&s->alice, s->bob.addr, &s->bob) || !did(pea_msg_new(&msg, large, sizeof large)))
        return false;
    until(s, s->bob.id != 0 || some_end(s));
    atomic_fetch_add(&s->alice.owed, 2);
    bool complete = owes(&s->alice, pea_post_send(s->runtime, s->alice.id, msg, on_sent, &s->alice));
    complete &= owes(&s->alice, pea_node_send_peer(s->alice.node, &s->bob.peer, msg, on_sent, &s->alice));
    atomic_fetch_add(&s->bob.owed, 2);
    complete &= owes(&s->bob, pea_node_broadcast(s->bob.node, msg, everybody, on_asked, &s->bob));
    complete &= owes(&s->bob, pea_node_broadcast(s->bob.node, msg, NULL, on_asked, &s->bob));
    pea_msg_unref(msg);
    until(s, all_is_said(s));
    complete = complete && s->alice.messages > 0 && s->bob.messages > 0;
    complete &= did(pea_post_close(s->runtime, s->alice.id, PEA_CODE_NORMAL, "posted"));
    if (complete)
        until(s, nobody_is_connected(s));
    return complete;
}

/* Each dials the other at the same time: what is left is one connection, or none where memory failed. */
static bool cross(scene *s)
{
    bool complete = actor_dial(&s->alice, s->bob.addr, &s->bob);
    complete &= actor_dial(&s->bob, s->alice.addr, &s->alice);
    pea_counts a, b;
    do {
        until(s, s->alice.dials_ended == s->alice.dials && s->bob.dials_ended == s->bob.dials &&
                     s->stranger.dials_ended == s->stranger.dials);
        pea_node_counts(s->alice.node, &a);
        pea_node_counts(s->bob.node, &b);
        if (a.pending + b.pending > 0 || a.connections != b.connections || a.connections > 1)
            scene_turn(s);
    } while (a.pending + b.pending > 0 || a.connections != b.connections || a.connections > 1);
    return complete && a.ready == 1 && b.ready == 1;
}

/* Bob answers for the one, and against the other. Whoever answers tries until he is heard. */
static void answer(scene *s)
{
    pthread_mutex_lock(&s->lock);
    unsigned n = s->n_tickets;
    s->n_tickets = 0;
    pthread_mutex_unlock(&s->lock);
    for (unsigned i = 0; i < n; i++) {
        bool alice = pea_peer_equal(&s->asked[i], &s->alice.peer);
        while (!did(pea_post_resume(s->tickets[i], alice ? PEA_OK : PEA_E_REFUSED)))
            continue;
    }
}

static bool wait_for_bob(scene *s)
{
    bool complete = actor_dial(&s->alice, s->bob.addr, &s->bob);
    while (s->alice.dials_ended < s->alice.dials || s->stranger.dials_ended < s->stranger.dials) {
        until(s, s->n_tickets > 0 ||
                     (s->alice.dials_ended == s->alice.dials && s->stranger.dials_ended == s->stranger.dials));
        answer(s);
    }
    return complete && s->alice.connects == 1;
}

/* Denied while she is connected: she goes, and what she says after it is heard by nobody. */
static bool deny(scene *s)
{
    pea_error why;
    pea_msg *msg;
    if (!actor_meet(&s->alice, s->bob.addr, &s->bob) || !did(pea_msg_new(&msg, "and another thing", 17)))
        return false;
    until(s, s->bob.id != 0 || some_end(s));
    bool complete = s->bob.id != 0;
    bool denied = did(pea_trust_deny(s->bob.trust, &s->alice.peer, &why));
    if (!denied) /* it was not: the rules are as they were, and there is memory again */
        check_ok(pea_trust_deny(s->bob.trust, &s->alice.peer, &why));
    atomic_fetch_add(&s->alice.owed, 1);
    (void)owes(&s->alice, pea_post_send(s->runtime, s->alice.id, msg, on_sent, &s->alice));
    pea_msg_unref(msg);
    until(s, nobody_is_connected(s));
    assert_int_equal(s->bob.messages, 0);
    unsigned before = s->alice.connects;
    if (actor_dial(&s->alice, s->bob.addr, &s->bob))
        until(s, s->alice.dials_ended == s->alice.dials);
    assert_int_equal(s->alice.connects, before);
    return complete && denied;
}

/* More listeners, of either kind, that come and go. */
static bool listen_elsewhere(scene *s)
{
    char path[PEA_ADDR_TEXT_BYTES], addr[PEA_ADDR_TEXT_BYTES];
    pea_listener *listener;
    pea_error why;
    bool complete = true;
    (void)snprintf(path, sizeof path, "unix:/tmp/peapod-oom-%ld", (long)getpid());
    const char *const at[] = {"127.0.0.1:0", path};
    for (int i = 0; i < 2; i++) {
        unsigned ended = s->alice.disconnects;
        if (!did(pea_node_listen(s->bob.node, at[i], NULL, &listener, &why))) {
            complete = false;
            continue;
        }
        pea_addr_format(pea_listener_addr(listener), addr);
        bool met = actor_meet(&s->alice, addr, &s->bob);
        pea_node_unlisten(s->bob.node, listener);
        if (met && actor_is_connected(&s->alice) && s->alice.disconnects == ended) /* it outlives its listener */
            complete &= did(pea_post_close(s->runtime, s->alice.id, PEA_CODE_NORMAL, NULL));
        complete &= met;
    }
    return complete;
}

/* A ban of somewhere else, one of here, and none. */
static bool ban(scene *s)
{
    pea_prefix here, elsewhere;
    check_ok(pea_prefix_parse(&here, "127.0.0.0/8", NULL));
    check_ok(pea_prefix_parse(&elsewhere, "10.0.0.0/8", NULL));
    bool complete = did(pea_node_ban(s->bob.node, &elsewhere, PEA_NEVER));
    complete &= actor_meet(&s->alice, s->bob.addr, &s->bob);
    bool banned = did(pea_node_ban(s->bob.node, &here, PEA_NEVER));
    bool met = actor_meet(&s->alice, s->bob.addr, &s->bob);
    assert_false(banned && met);
    check_err(pea_node_unban(s->bob.node, &here), banned ? PEA_OK : PEA_E_NOT_FOUND);
    return complete & banned & actor_meet(&s->alice, s->bob.addr, &s->bob);
}

/* Numbers as text: all of it, or nothing. */
static bool measure(scene *s)
{
    const pea_node *nodes[] = {s->alice.node, s->bob.node};
    pea_buf text = {.data = NULL};
    pea_error why;
    pea_stats_node stats;
    bool met = actor_meet(&s->alice, s->bob.addr, &s->bob);
    bool complete = did(pea_buf_append(&text, "before", 6));
    size_t before = text.len;
    complete &= did(pea_stats_openmetrics(&text, nodes, 2, &why));
    assert_true(complete ? text.len > 1000 : text.len == before || before == 0);
    pea_buf_free(&text);
    pea_node_stats(s->alice.node, &stats);
    assert_int_equal(stats.connects, s->alice.connects);
    return complete && met;
}

/* Bob's node shuts down with Alice connected. One that had no memory for it is asked again. */
static bool shut_down(scene *s)
{
    bool complete = actor_meet(&s->alice, s->bob.addr, &s->bob);
    atomic_fetch_add(&s->bob.owed, 1);
    while (!did(pea_node_shutdown(s->bob.node, 1000, on_done, &s->bob)))
        complete = false;
    until(s, s->bob.told == s->bob.owed && nobody_is_connected(s));
    pea_counts counts;
    pea_node_counts(s->bob.node, &counts);
    assert_int_equal(counts.connections, 0);
    assert_int_equal(counts.listeners, 0);
    return complete;
}

const act acts[] = {
    {.name = "talk", .play = talk},
    {.name = "post", .play = post, .rank = 2},
    {.name = "cross", .play = cross, .one_per_peer = true, .rank = 1},
    {.name = "wait for Bob", .play = wait_for_bob, .patient = true, .rank = 1},
    {.name = "deny", .play = deny, .rank = 1},
    {.name = "listen elsewhere", .play = listen_elsewhere, .rank = 2},
    {.name = "ban", .play = ban, .rank = 2},
    {.name = "measure", .play = measure, .rank = 2},
    {.name = "shut down", .play = shut_down, .rank = 2},
    {.name = NULL},
};
