/* SPDX-License-Identifier: MIT */
/* See oom_scene.h. */
#include "net/oom_scene.h"

#include <stdlib.h>

#include "peapod/stats.h"
#include "support/faults.h"

enum { DEADLINE_S = 60, RUNS_MAX = 2000 };

/* ---- Waiting ---- */

static void on_wake(struct ev_loop *loop, ev_async *async, int events)
{
    (void)loop, (void)async, (void)events;
}

static void on_clock(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop, (void)events;
    ((scene *)timer->data)->late = true;
}

void scene_clock(scene *s, bool on)
{
    ev_timer_stop(s->loop, &s->clock);
    if (!on)
        return;
    s->late = false;
    ev_now_update(s->loop);
    ev_timer_init(&s->clock, on_clock, DEADLINE_S, 0.);
    s->clock.data = s;
    ev_timer_start(s->loop, &s->clock);
}

void scene_turn(scene *s)
{
    ev_run(s->loop, ev_pending_count(s->loop) > 0 ? EVRUN_NOWAIT : EVRUN_ONCE);
}

void scene_say(scene *s)
{
    ev_async_send(s->loop, &s->wake);
}

bool did_at(pea_err err, const char *what, const char *file, int line)
{
    if (err != PEA_OK)
        check_err_at(err, PEA_E_NOMEM, what, file, line);
    return err == PEA_OK;
}

/* ---- What is said and counted, on any thread ---- */

void on_sent(void *arg, pea_err err)
{
    actor *who = arg;
    if (err == PEA_OK)
        atomic_fetch_add(&who->sent, 1);
    atomic_fetch_add(&who->told, 1);
    scene_say(who->s);
}

void on_asked(void *arg, const pea_broadcast_result *result)
{
    actor *who = arg;
    atomic_fetch_add(&who->sent, result->taken);
    atomic_fetch_add(&who->told, 1);
    scene_say(who->s);
}

void on_done(void *arg)
{
    on_sent(arg, PEA_E_CLOSED);
}

/* Whatever becomes of it, it is nobody's fault: no memory, or an end that has begun. */
static void say(actor *who, pea_conn *conn, const void *data, size_t len)
{
    pea_err err = pea_conn_send(conn, data, len);
    if (err == PEA_OK)
        atomic_fetch_add(&who->sent, 1);
    else if (err != PEA_E_NOMEM && err != PEA_E_STATE)
        atomic_fetch_add(&who->wrong, 1);
}

static void say_and_hear_of_it(actor *who, pea_conn *conn, pea_msg *msg)
{
    atomic_fetch_add(&who->owed, 1);
    pea_err err = pea_conn_send_msg(conn, msg, on_sent, who);
    if (err != PEA_OK)
        atomic_fetch_sub(&who->owed, 1);
    if (err != PEA_OK && err != PEA_E_NOMEM && err != PEA_E_STATE)
        atomic_fetch_add(&who->wrong, 1);
}

/* It is the other one, or there was no memory to say who: never nobody, and never somebody else. */
static bool is_peer(const pea_peer *peer, const actor *other)
{
    return peer != NULL && (peer->kind == PEA_PEER_NONE || pea_peer_equal(peer, &other->peer));
}

static void on_connect(pea_conn *conn, void *user)
{
    static const uint8_t large[LARGE];
    actor *who = user;
    scene *s = who->s;
    const actor *other = who == &s->alice ? &s->bob : &s->alice;
    pea_msg *msg;
    if (who == &s->stranger || !is_peer(pea_conn_peer(conn), other))
        atomic_fetch_add(&who->wrong, 1);
    atomic_store(&who->id, pea_conn_id(conn));
    if (s->talks && who == &s->alice) {
        say(who, conn, "hello", 5);
        if (pea_msg_new(&msg, large, sizeof large) == PEA_OK) {
            say_and_hear_of_it(who, conn, msg);
            pea_msg_unref(msg);
        }
    }
    atomic_fetch_add(&who->connects, 1);
    if (pea_conn_side(conn) == PEA_INITIATOR)
        atomic_fetch_add(&who->dials_ended, 1);
    scene_say(s);
}

static void on_message(pea_conn *conn, const uint8_t *data, size_t len, void *user)
{
    actor *who = user;
    pea_msg *msg;
    if (who->s->talks && who == &who->s->bob) {
        if (len < LARGE) {
            say(who, conn, data, len);
        } else if (pea_conn_keep(conn, &msg) == PEA_OK) {
            say_and_hear_of_it(who, conn, msg);
            pea_msg_unref(msg);
        }
    }
    atomic_fetch_add(&who->messages, 1); /* with its answer: or all would seem to be said */
    scene_say(who->s);
}

static void on_disconnect(pea_conn *conn, const pea_reason *reason, void *user)
{
    actor *who = user;
    unsigned long long id = pea_conn_id(conn);
    (void)atomic_compare_exchange_strong(&who->id, &id, 0);
    if (reason->origin == PEA_BY_NOBODY || atomic_fetch_add(&who->disconnects, 1) + 1 > who->connects)
        atomic_fetch_add(&who->wrong, 1);
    scene_say(who->s);
}

static void on_failed(pea_node *node, const pea_conn_info *info, const pea_reason *reason, void *user)
{
    actor *who = user;
    (void)node;
    if (reason->origin == PEA_BY_NOBODY)
        atomic_fetch_add(&who->wrong, 1);
    atomic_fetch_add(&who->failures, 1);
    if (info->side == PEA_INITIATOR)
        atomic_fetch_add(&who->dials_ended, 1);
    scene_say(who->s);
}

static const pea_node_callbacks callbacks = {
    .on_connect = on_connect, .on_message = on_message, .on_disconnect = on_disconnect, .on_connect_failed = on_failed};

/* ---- A policy that answers later ---- */

static pea_err wait_for_it(void *self, pea_peer *peer, const pea_candidate *candidate, pea_reason *why)
{
    scene *s = self;
    (void)why;
    pthread_mutex_lock(&s->lock);
    bool room = s->n_tickets < TICKETS;
    if (room) {
        s->asked[s->n_tickets] = *peer;
        s->tickets[s->n_tickets++] = candidate->ticket;
    }
    pthread_mutex_unlock(&s->lock);
    scene_say(s);
    return room ? PEA_WAIT : PEA_E_REFUSED;
}

static const pea_policy_ops patient_ops = {.version = PEA_POLICY_VERSION, .name = "patient", .check = wait_for_it};

/* ---- Actors ---- */

bool actor_dial(actor *from, const char *addr, const actor *expect)
{
    pea_error why = {.code = PEA_OK};
    pea_dial_opts *opts = PEA_DIAL(.expect = expect != NULL ? &expect->peer : NULL, .again = true);
    if (!did(pea_node_connect(from->node, addr, opts, NULL, &why))) {
        assert_true(strlen(why.text) > 0);
        return false;
    }
    from->dials++;
    return true;
}

bool actor_is_connected(const actor *who)
{
    return who->connects > who->disconnects;
}

bool actor_meet(actor *from, const char *addr, const actor *expect)
{
    unsigned before = from->connects;
    if (!actor_dial(from, addr, expect))
        return false;
    until(from->s, from->dials_ended == from->dials);
    return from->connects > before;
}

static void actor_begin(actor *who, const act *play)
{
    pea_error why = {.code = PEA_OK};
    scene *s = who->s;
    pea_policy *policy = play->patient && who == &s->bob ? s->patient : pea_trust_policy(who->trust);
    const pea_node_opts *opts =
        PEA_NODE(.chain = who->chain, .policy = policy, .on = &callbacks, .user = who, .linger_ms = 200,
                 .handshake_timeout_ms = 20000, .partial_timeout_ms = 20000, .max_per_ip = 100, .max_per_prefix = 100,
                 .prefix_rate = 1000, .one_per_peer = play->one_per_peer);
    if (pea_node_new(&who->node, s->runtime, opts, &why) != PEA_OK)
        fail_msg("pea_node_new: %s", why.text);
    check_ok(pea_node_listen(who->node, "127.0.0.1:0", NULL, NULL, &why));
    pea_addr_format(pea_node_listen_addr(who->node), who->addr);
}

static void actor_end(actor *who)
{
    pea_stats_node stats;
    pea_node_stats(who->node, &stats);
    assert_int_equal(stats.handshake_timeouts, 0); /* who has no memory says so: nobody waits for nothing */
    pea_node_free(who->node);
    who->node = NULL;
    assert_int_equal(who->connects, who->disconnects);
    assert_int_equal(who->dials, who->dials_ended);
    assert_int_equal(who->wrong, 0);
}

/* Trusts the other one, and nobody else. */
static void actor_trust(actor *who, const actor *other)
{
    check_ok(pea_trust_new(&who->trust));
    if (other == NULL)
        pea_trust_any(who->trust);
    else
        check_ok(pea_trust_allow(who->trust, &other->peer, NULL, NULL, NULL));
}

/* ---- Runs ---- */

static void begin(scene *s, const act *play, void (*chain)(actor *who))
{
    actor *all[] = {&s->alice, &s->bob, &s->stranger};
    check_ok(pea_runtime_new(&s->runtime, PEA_RUNTIME(.loop = s->loop, .workers = s->workers), NULL));
    check_ok(pea_policy_new(&s->patient, &patient_ops, s));
    s->n_tickets = 0;
    actor_trust(&s->alice, &s->bob);
    actor_trust(&s->bob, &s->alice);
    actor_trust(&s->stranger, NULL);
    for (int i = 0; i < 3; i++) {
        check_ok(pea_chain_new(&all[i]->chain, NULL, NULL));
        chain(all[i]);
        actor_begin(all[i], play);
    }
}

/* Whatever failed: Alice and Bob can talk as always, on new nodes with the chains and rules of the old ones. */
static void meet_again(scene *s)
{
    static const act ordinary = {.name = "ordinary"};
    s->talks = true;
    check_ok(pea_trust_forget(s->bob.trust, &s->alice.peer));
    check_ok(pea_trust_allow(s->bob.trust, &s->alice.peer, NULL, NULL, NULL));
    actor_begin(&s->alice, &ordinary);
    actor_begin(&s->bob, &ordinary);
    unsigned alice = s->alice.messages, bob = s->bob.messages;
    bool met = actor_meet(&s->alice, s->bob.addr, &s->bob);
    assert_true(met);
    until(s, s->alice.messages == alice + 2 && s->bob.messages == bob + 2);
    assert_false(actor_meet(&s->stranger, s->bob.addr, NULL));
}

static void end(scene *s)
{
    actor *all[] = {&s->alice, &s->bob, &s->stranger};
    for (int i = 0; i < 3; i++)
        actor_end(all[i]);
    assert_int_equal(pea_runtime_memory(s->runtime), 0);
    check_ok(pea_runtime_free(s->runtime));
    pea_policy_unref(s->patient);
    for (int i = 0; i < 3; i++) {
        actor *who = all[i];
        assert_int_equal(who->owed, who->told);
        pea_chain_unref(who->chain);
        pea_trust_unref(who->trust);
        *who = (actor){.s = s, .identity = who->identity, .peer = who->peer};
    }
    assert_int_equal(faults_blocks(), s->blocks);
}

/* Returns whether an allocation failed. */
static bool run(scene *s, const act *play, void (*chain)(actor *who), size_t nth)
{
    begin(s, play, chain);
    s->talks = false;
    faults_arm(nth);
    (void)actor_dial(&s->stranger, s->bob.addr, NULL); /* and all the while he tries */
    bool complete = play->play(s);
    until(s, s->stranger.dials_ended == s->stranger.dials);
    bool hit = faults_disarm();
    assert_int_equal(s->stranger.connects, 0);
    actor_end(&s->alice);
    actor_end(&s->bob);
    if (!hit && !complete)
        fail_msg("%s: nothing failed, and it did not come to its end", play->name);
    meet_again(s);
    end(s);
    return hit;
}

void scene_play(scene *s, unsigned rank, void (*chain)(actor *who))
{
    for (const act *play = acts; play->name != NULL; play++) {
        size_t nth = 0;
        if (play->rank > rank)
            continue;
        unsigned spared = 0; /* runs in a row that asked for less than nth: threads do not repeat themselves */
        ev_tstamp began = ev_time();
        while (spared < (s->workers == 0 ? 1 : 3) && nth < RUNS_MAX)
            spared = run(s, play, chain, nth++) ? 0 : spared + 1;
        print_message("%s: %zu runs in %.1f s\n", play->name, nth, ev_time() - began);
        assert_true(nth > 10 && nth < RUNS_MAX);
    }
}

void scene_open(scene *s, unsigned workers, void (*cast)(scene *s))
{
    memset(s, 0, sizeof *s);
    s->workers = workers;
    s->loop = ev_loop_new(EVFLAG_AUTO);
    assert_non_null(s->loop);
    pthread_mutex_init(&s->lock, NULL);
    ev_async_init(&s->wake, on_wake);
    ev_async_start(s->loop, &s->wake);
    s->alice.s = s->bob.s = s->stranger.s = s;
    cast(s);
    pea_identity_peer(s->alice.identity, &s->alice.peer);
    pea_identity_peer(s->bob.identity, &s->bob.peer);
    pea_identity_peer(s->stranger.identity, &s->stranger.peer);
    s->blocks = faults_blocks();
}

void scene_close(scene *s)
{
    pea_identity_unref(s->alice.identity);
    pea_identity_unref(s->bob.identity);
    pea_identity_unref(s->stranger.identity);
    ev_async_stop(s->loop, &s->wake);
    ev_run(s->loop, 0); /* nothing of the library's keeps it alive */
    ev_loop_destroy(s->loop);
    pthread_mutex_destroy(&s->lock);
    assert_int_equal(faults_blocks(), 0);
}
