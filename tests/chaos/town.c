/* SPDX-License-Identifier: MIT */
/* Up to 32 nodes of three kinds with limits of all sorts, and what can be done to them. Nodes and places belong to the
 * loop's thread; callbacks run on any. */
#include <errno.h>
#include <ev.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "chaos.h"

#include "peapod/chain.h"
#include "peapod/handover.h"
#include "peapod/identity.h"
#include "peapod/stats.h"
#include "peapod/tls.h"
#include "peapod/trust.h"

enum { PLACES = 32, PEOPLE = 12, LISTENERS = 3, IDS = 512, TICKETS = 64, MESSAGE_MAX = 100000, TTL = 4 };
enum { PLAIN, NOISE, TLS, KINDS };

const char *const action_names[ACTIONS] = {
    "spawn",        "free",   "shut down", "listen", "unlisten", "connect", "broadcast", "send to a peer",
    "close a peer", "each",   "ban",       "pause",  "measure",  "offer",   "exchange",  "send",
    "close",        "revoke", "forgive",   "reload", "take",     "resolve", "vandalise"};

/* Somebody who may run a node: several may be the same person. */
typedef struct person {
    unsigned kind;
    pea_chain *chain;
    pea_peer peer; /* plain: nobody */
} person;

typedef struct stall {
    pea_listener *listener;
    pea_addr addr;
} stall;

typedef struct place {
    pea_node *node; /* NULL: free */
    unsigned person, kind;
    unsigned tenancy; /* how many nodes it has had */
    bool shut;
    bool offers; /* its listeners: whoever begins to listen meanwhile is not among them, and stays */
    uint32_t max_connections, max_pending; /* 0: not set */
    stall stalls[LISTENERS];
} place;

static struct {
    pea_runtime *runtime;
    pea_trust *trust;
    person people[PEOPLE];
    place places[PLACES];
    unsigned paths; /* Unix sockets made so far */
    char folder[64], rules[96], draft[96], host[16];
    bool closing;
    /* Any thread: */
    atomic_ullong ids[IDS]; /* of connections that are or were */
    pthread_mutex_t lock;   /* for the three below */
    pea_addr addrs[PLACES * LISTENERS];
    unsigned drafts;
    pea_ticket tickets[TICKETS]; /* of names that were dialled: answered or not */
} town;

static void must(pea_err err, const char *what, const pea_error *why)
{
    if (err != PEA_OK)
        chaos_fail("%s: %s: %s", what, pea_err_name(err), why != NULL ? why->text : "");
}

/* Fails unless err is one of those that end with PEA_OK. */
static bool allowed(const char *what, pea_err err, const pea_err *known)
{
    const pea_err *at = known;
    while (*at != PEA_OK && *at != err)
        at++;
    if (*at != err)
        chaos_fail("%s returned %s", what, pea_err_name(err));
    return err == PEA_OK;
}

#define ALLOWED(call, ...) allowed(#call, (call), (const pea_err[]){__VA_ARGS__, PEA_OK})

/* ---- What connections say ---- */

typedef struct receipt {
    atomic_ulong *told;
} receipt;

static receipt *receipt_new(atomic_ulong *told)
{
    receipt *r = malloc(sizeof *r); /* a second call would free it twice */
    if (r == NULL)
        abort();
    r->told = told;
    return r;
}

static void on_sent(void *arg, pea_err err)
{
    receipt *r = arg;
    if (err > PEA_OK)
        chaos_fail("a confirmation with %s", pea_err_name(err));
    atomic_fetch_add(r->told, 1);
    free(r);
}

/* A message that may be passed on `ttl` times. */
static pea_msg *message_new(uint8_t ttl)
{
    static const uint8_t bytes[MESSAGE_MAX];
    uint64_t len = chance(100) == 0 ? chance(MESSAGE_MAX) : chance(1000);
    uint8_t *text = malloc(1 + len);
    pea_msg *msg;
    if (text == NULL)
        abort();
    text[0] = ttl;
    memcpy(text + 1, bytes, len);
    must(pea_msg_new(&msg, text, 1 + len), "pea_msg_new", NULL);
    free(text);
    return msg;
}

static void send_on(pea_conn *conn, pea_msg *msg)
{
    receipt *r = receipt_new(&books.sends_told);
    if (ALLOWED(pea_conn_send_msg(conn, msg, on_sent, r), PEA_E_QUEUE_FULL, PEA_E_STATE))
        atomic_fetch_add(&books.sends_owed, 1);
    else
        free(r);
}

static void on_told(void *arg, const pea_broadcast_result *result)
{
    if (result->taken > UINT32_MAX / 2)
        chaos_fail("a broadcast was taken by %u", result->taken);
    on_sent(arg, PEA_OK);
}

/* What a connection's user pointer leads to, from on_connect to on_disconnect. */
typedef struct record {
    uint64_t id;
    bool paused, closing;
} record;

static void pause_or_resume(pea_conn *conn)
{
    record *r = pea_conn_user(conn);
    if (r == NULL) /* it is not ready yet */
        return;
    r->paused = chance(3) == 0;
    if (r->paused)
        pea_conn_pause(conn);
    else
        pea_conn_resume(conn);
}

/* Nobody wants it: that some rest is all that was meant. */
static bool rest(pea_conn *conn, void *arg)
{
    (void)arg;
    if (chance(2) == 0)
        pause_or_resume(conn);
    return false;
}

/* Some want it; some do something else instead. */
static bool pick(pea_conn *conn, void *arg)
{
    (void)arg;
    if (chance(3) == 0)
        pause_or_resume(conn);
    if (chance(60) == 0)
        pea_conn_close(conn, PEA_CODE_NORMAL, "not now");
    if (chance(60) == 0)
        pea_conn_abort(conn);
    return chance(4) != 0;
}

static void broadcast(pea_node *node, pea_msg *msg, bool (*filter)(pea_conn *conn, void *arg))
{
    receipt *r = receipt_new(&books.broadcasts_told);
    if (ALLOWED(pea_node_broadcast(node, msg, filter, on_told, r), PEA_E_QUEUE_FULL))
        atomic_fetch_add(&books.broadcasts_owed, 1);
    else
        free(r);
}

/* ---- Callbacks, on any thread ---- */

static pea_err on_accept(pea_node *node, const pea_addr *from, void *user)
{
    (void)node, (void)from, (void)user;
    return chance(40) == 0 ? PEA_E_REFUSED : PEA_OK;
}

/* Whoever got in is one of the town: vandals are not. */
static void check_peer(const pea_peer *peer, unsigned kind)
{
    unsigned i = 0;
    while (peer != NULL && i < PEOPLE && (town.people[i].kind == PLAIN || !pea_peer_equal(peer, &town.people[i].peer)))
        i++;
    if (i == PEOPLE || (peer == NULL) != (kind == PLAIN))
        chaos_fail("a stranger got in");
}

static void on_connect(pea_conn *conn, void *user)
{
    const place *p = user;
    record *r = malloc(sizeof *r);
    if (r == NULL)
        abort();
    if (pea_conn_user(conn) != NULL)
        chaos_fail("on_connect came twice");
    *r = (record){pea_conn_id(conn), false, false};
    check_peer(pea_conn_peer(conn), p->kind);
    pea_conn_set_user(conn, r);
    atomic_fetch_add(&books.connects, 1);
    if (pea_conn_side(conn) == PEA_INITIATOR)
        atomic_fetch_add(&books.dial_connects, 1);
    atomic_store(&town.ids[r->id % IDS], r->id);
    if (chance(20) == 0)
        pea_conn_close(conn, PEA_CODE_NORMAL, "so soon");
}

static record *check_record(pea_conn *conn, const char *where)
{
    record *r = pea_conn_user(conn);
    if (r == NULL)
        chaos_fail("%s without on_connect, or after on_disconnect", where);
    if (r->id != pea_conn_id(conn))
        chaos_fail("%s for another connection", where);
    return r;
}

static void look_inside(pea_conn *conn)
{
    uint8_t secret[64], binding[PEA_BINDING_MAX];
    size_t len = sizeof binding;
    pea_hello hello;
    must(pea_conn_hello(conn, &hello), "pea_conn_hello", NULL);
    if (hello.application[0] != '\0')
        chaos_fail("somebody of the application %s", hello.application);
    (void)ALLOWED(pea_conn_export(conn, "chaos", "context", 7, secret, sizeof secret), PEA_E_UNSUPPORTED);
    (void)ALLOWED(pea_conn_binding(conn, binding, &len), PEA_E_UNSUPPORTED);
}

static void on_message(pea_conn *conn, const uint8_t *data, size_t len, void *user)
{
    pea_msg *msg;
    (void)user;
    const record *r = check_record(conn, "on_message");
    if (r->paused || r->closing)
        chaos_fail("a message for who %s", r->paused ? "rests" : "is about to close");
    if (len == 0 || data[0] > TTL)
        chaos_fail("a message that nobody sent");
    atomic_fetch_add(&books.messages, 1);
    switch (chance(200)) {
    case 0:
        pea_conn_close(conn, (uint16_t)chance(65536), "enough");
        break;
    case 1:
        pea_conn_abort(conn);
        break;
    case 2:
        pause_or_resume(conn);
        break;
    case 3:
        pea_conn_flush(conn);
        break;
    case 4: /* what is kept can be passed on as it is */
        must(pea_conn_keep(conn, &msg), "pea_conn_keep", NULL);
        if (data[0] == 0)
            send_on(conn, msg);
        pea_msg_unref(msg);
        break;
    case 5:
        if (data[0] > 0) {
            msg = message_new(0);
            broadcast(pea_conn_node(conn), msg, pick);
            pea_msg_unref(msg);
        }
        break;
    case 6:
        look_inside(conn);
        break;
    default:
        if (data[0] > 0 && chance(2) == 0) {
            msg = message_new((uint8_t)(data[0] - 1));
            send_on(conn, msg);
            pea_msg_unref(msg);
        }
        break;
    }
}

static void on_drain(pea_conn *conn, void *user)
{
    (void)user;
    check_record(conn, "on_drain");
}

static void on_end(pea_conn *conn, void *user)
{
    (void)user;
    check_record(conn, "on_end");
    pea_conn_close(conn, PEA_CODE_NORMAL, NULL);
}

static void on_closing(pea_conn *conn, const pea_reason *reason, void *user)
{
    pea_msg *msg = message_new(0);
    (void)reason, (void)user;
    check_record(conn, "on_closing")->closing = true;
    send_on(conn, msg);
    pea_msg_unref(msg);
}

static void on_disconnect(pea_conn *conn, const pea_reason *reason, void *user)
{
    (void)user;
    check_record(conn, "on_disconnect");
    if (reason->origin == PEA_BY_NOBODY)
        chaos_fail("an end that nobody made");
    free(pea_conn_user(conn));
    pea_conn_set_user(conn, NULL);
    atomic_fetch_add(&books.disconnects, 1);
}

static void on_connect_failed(pea_node *node, const pea_conn_info *info, const pea_reason *reason, void *user)
{
    (void)node, (void)user;
    if (reason->origin == PEA_BY_NOBODY)
        chaos_fail("a failure that nobody made");
    atomic_fetch_add(info->side == PEA_INITIATOR ? &books.dial_failures : &books.other_failures, 1);
}

static const pea_node_callbacks callbacks = {.on_accept = on_accept,
                                             .on_connect = on_connect,
                                             .on_message = on_message,
                                             .on_drain = on_drain,
                                             .on_end = on_end,
                                             .on_closing = on_closing,
                                             .on_disconnect = on_disconnect,
                                             .on_connect_failed = on_connect_failed};

/* ---- Addresses, on any thread ---- */

static bool is_at(const pea_addr *addr, unsigned kind)
{
    return addr->family != PEA_ADDR_NONE && (kind == KINDS || kind == (unsigned)(addr - town.addrs) % KINDS);
}

/* Some address of nodes of this kind; KINDS: of any. */
static bool draw_address(unsigned kind, pea_addr *addr)
{
    enum { N = sizeof town.addrs / sizeof town.addrs[0] };
    unsigned from = (unsigned)chance(N);
    bool found = false;
    pthread_mutex_lock(&town.lock);
    for (unsigned i = 0; i < N && !found; i++) {
        const pea_addr *at = &town.addrs[(from + i) % N];
        found = is_at(at, kind);
        if (found)
            *addr = *at;
    }
    pthread_mutex_unlock(&town.lock);
    return found;
}

bool town_address(pea_addr *addr)
{
    return draw_address(KINDS, addr) && addr->family == PEA_ADDR_IPV4;
}

/* There is room for it: a slot for each listener, in rows of one for each kind. */
static void post_address(const pea_addr *addr, unsigned kind)
{
    pthread_mutex_lock(&town.lock);
    for (unsigned i = kind; i < sizeof town.addrs / sizeof town.addrs[0]; i += KINDS)
        if (town.addrs[i].family == PEA_ADDR_NONE) {
            town.addrs[i] = *addr;
            break;
        }
    pthread_mutex_unlock(&town.lock);
}

static void strike_address(const pea_addr *addr)
{
    pthread_mutex_lock(&town.lock);
    for (unsigned i = 0; i < sizeof town.addrs / sizeof town.addrs[0]; i++)
        if (pea_addr_equal(&town.addrs[i], addr))
            town.addrs[i].family = PEA_ADDR_NONE;
    pthread_mutex_unlock(&town.lock);
}

/* ---- Places ---- */

static place *draw_place(bool taken)
{
    unsigned from = (unsigned)chance(PLACES);
    for (unsigned i = 0; i < PLACES; i++) {
        place *p = &town.places[(from + i) % PLACES];
        if ((p->node != NULL) == taken)
            return p;
    }
    return NULL;
}

static uint32_t perhaps(uint32_t n)
{
    return chance(3) == 0 ? 1 + (uint32_t)chance(n) : 0;
}

static void spawn(void)
{
    place *p = draw_place(false);
    pea_error why;
    if (p == NULL)
        return;
    const person *who = &town.people[p->person = (unsigned)chance(PEOPLE)];
    p->kind = who->kind;
    p->tenancy++;
    p->shut = p->offers = false;
    p->max_connections = perhaps(40);
    p->max_pending = perhaps(16);
    must(pea_node_new(&p->node, town.runtime,
                      PEA_NODE(.chain = who->chain, .policy = pea_trust_policy(town.trust), .on = &callbacks, .user = p,
                               .max_connections = p->max_connections, .max_pending = p->max_pending,
                               .connect_timeout_ms = 2000, .handshake_timeout_ms = 500 + perhaps(5000),
                               .linger_ms = 1 + perhaps(500), .partial_timeout_ms = 300 + perhaps(3000),
                               .idle_timeout_ms = perhaps(3000), .write_timeout_ms = 300 + perhaps(3000),
                               .high_water = 2048 * perhaps(40), .half_close = chance(2) == 0,
                               .max_per_ip = perhaps(60), .prefix_rate = perhaps(2000),
                               .inbound_overflow = chance(2) == 0 ? PEA_OVERFLOW_BLOCK : PEA_OVERFLOW_DROP,
                               .one_per_peer = chance(2) == 0),
                      &why),
         "pea_node_new", &why);
}

static void forget_stalls(place *p)
{
    for (unsigned i = 0; i < LISTENERS; i++)
        if (p->stalls[i].listener != NULL) {
            strike_address(&p->stalls[i].addr);
            p->stalls[i].listener = NULL;
        }
}

/* Also inside the callback of a shutdown: the node is gone at the end of the round, the place is free now. */
static void vacate(place *p)
{
    pea_node *node = p->node;
    forget_stalls(p);
    p->node = NULL;
    p->tenancy++;
    pea_node_free(node);
}

typedef struct farewell {
    place *place;
    unsigned tenancy;
} farewell;

static void on_shut(void *arg)
{
    farewell *f = arg;
    place *p = f->place;
    bool there = p->node != NULL && p->tenancy == f->tenancy;
    free(f);
    atomic_fetch_add(&books.shutdowns_told, 1);
    if (!there)
        return;
    pea_counts counts;
    pea_node_counts(p->node, &counts);
    if (counts.connections != 0 || counts.listeners != 0)
        chaos_fail("a node that shut down has %u connections and %u listeners", counts.connections, counts.listeners);
    if (town.closing || chance(2) == 0)
        vacate(p);
}

static void shut_down(place *p)
{
    farewell *f = malloc(sizeof *f);
    if (f == NULL)
        abort();
    *f = (farewell){p, p->tenancy};
    must(pea_node_shutdown(p->node, (uint32_t)chance(500), on_shut, f), "pea_node_shutdown", NULL);
    atomic_fetch_add(&books.shutdowns_owed, 1);
    p->shut = true;
    forget_stalls(p);
}

static void listen_on(place *p)
{
    char text[PEA_ADDR_TEXT_BYTES];
    pea_error why;
    for (unsigned i = 0; i < LISTENERS; i++) {
        stall *s = &p->stalls[i];
        if (s->listener != NULL)
            continue;
        if (chance(4) == 0)
            (void)snprintf(text, sizeof text, "unix:%s/%u", town.folder, town.paths++);
        else
            (void)snprintf(text, sizeof text, "%s:0", town.host);
        if (!ALLOWED(pea_node_listen(p->node, text, PEA_LISTEN(.backlog = (int)perhaps(100)), &s->listener, &why),
                     PEA_E_STATE))
            return;
        s->addr = *pea_listener_addr(s->listener);
        post_address(&s->addr, town.people[p->person].kind);
        return;
    }
}

static void unlisten(place *p)
{
    stall *s = &p->stalls[chance(LISTENERS)];
    if (s->listener == NULL)
        return;
    strike_address(&s->addr);
    pea_node_unlisten(p->node, s->listener);
    s->listener = NULL;
}

/* A ticket is answered by whoever meets it: once, twice, never, with what comes to mind. */
static void answer(pea_ticket ticket)
{
    pea_addr addrs[4];
    size_t n = 0, want = chance(5);
    while (n < want && draw_address(KINDS, &addrs[n]))
        n++;
    (void)ALLOWED(pea_post_resolved(ticket, addrs, n, chance(8) == 0 ? PEA_E_SYS : PEA_OK), PEA_E_STALE);
}

static void on_name(void *arg, const char *host, uint16_t port, pea_ticket ticket)
{
    (void)arg, (void)host, (void)port;
    pthread_mutex_lock(&town.lock);
    town.tickets[chance(TICKETS)] = ticket;
    pthread_mutex_unlock(&town.lock);
    if (chance(4) == 0)
        answer(ticket);
}

static void answer_any(void)
{
    pthread_mutex_lock(&town.lock);
    pea_ticket ticket = town.tickets[chance(TICKETS)];
    pthread_mutex_unlock(&town.lock);
    answer(ticket);
}

static void dial(place *p)
{
    pea_addr addr;
    char text[PEA_ADDR_TEXT_BYTES];
    uint64_t id;
    unsigned kind = town.people[p->person].kind;
    if (!draw_address(chance(20) == 0 ? KINDS : kind, &addr))
        return;
    pea_addr_format(&addr, text);
    if (chance(4) == 0)
        (void)snprintf(text, sizeof text, "place-%u.example:%u", (unsigned)chance(PLACES), 1 + (unsigned)chance(9));
    const pea_peer *expect = chance(10) == 0 ? &town.people[chance(PEOPLE)].peer : NULL;
    pea_err err = pea_node_connect(
        p->node, text,
        PEA_DIAL(.expect = expect, .expect_next = expect != NULL && chance(2) == 0 ? &town.people[0].peer : NULL,
                 .again = chance(2) == 0, .replaces = chance(4) == 0 ? atomic_load(&town.ids[chance(IDS)]) : 0),
        &id, NULL);
    if (ALLOWED(err, PEA_E_INVALID, PEA_E_EXISTS, PEA_E_LIMIT, PEA_E_STATE, PEA_E_SYS)) {
        atomic_fetch_add(&books.dials, 1);
        atomic_store(&town.ids[id % IDS], id);
    }
}

/* Somebody else of the same kind runs the node from here on. */
static void exchange(place *p)
{
    unsigned next = (unsigned)chance(PEOPLE);
    if (town.people[next].kind == town.people[p->person].kind &&
        ALLOWED(pea_node_set_chain(p->node, town.people[next].chain, NULL), PEA_E_STATE, PEA_E_INVALID))
        p->person = next;
}

static void send_peer(place *p)
{
    pea_msg *msg = message_new(TTL);
    receipt *r = receipt_new(&books.sends_told);
    if (ALLOWED(pea_node_send_peer(p->node, &town.people[chance(PEOPLE)].peer, msg, on_sent, r), PEA_E_NOT_FOUND,
                PEA_E_QUEUE_FULL, PEA_E_STATE))
        atomic_fetch_add(&books.sends_owed, 1);
    else
        free(r);
    pea_msg_unref(msg);
}

static bool nudge(pea_conn *conn, void *arg)
{
    (void)arg;
    if (chance(10) == 0)
        pea_conn_abort(conn);
    else if (chance(10) == 0)
        pea_conn_close(conn, PEA_CODE_NORMAL, "each");
    return chance(20) != 0;
}

static void ban(place *p)
{
    pea_prefix range;
    must(pea_prefix_parse(&range, chance(2) == 0 ? "127.0.0.0/8" : "10.0.0.0/8", NULL), "pea_prefix_parse", NULL);
    if (chance(2) == 0)
        must(pea_node_ban(p->node, &range, (uint32_t)chance(300)), "pea_node_ban", NULL);
    else
        (void)pea_node_unban(p->node, &range);
}

/* All nodes as text, which is whole. */
static void measure(void)
{
    const pea_node *nodes[PLACES];
    pea_buf text = {.data = NULL};
    pea_error why;
    size_t n = 0;
    for (unsigned i = 0; i < PLACES; i++)
        if (town.places[i].node != NULL)
            nodes[n++] = town.places[i].node;
    must(pea_stats_openmetrics(&text, nodes, n, &why), "pea_stats_openmetrics", &why);
    if (text.len < 6 || memcmp(text.data + text.len - 6, "# EOF\n", 6) != 0)
        chaos_fail("an exposition without an end");
    pea_buf_free(&text);
}

/* An heir has its listening sockets. */
static void on_taken(pea_node *node, void *arg)
{
    pea_counts counts;
    pea_node_counts(node, &counts);
    if (counts.listeners != 0)
        chaos_fail("a node that was taken from has %u listeners", counts.listeners);
    forget_stalls(arg);
    ((place *)arg)->offers = false;
    atomic_fetch_add(&books.handed_over, 1);
}

static void offer(place *p)
{
    char path[96];
    pea_error why;
    (void)snprintf(path, sizeof path, "%s/offer-%u", town.folder, (unsigned)(p - town.places));
    if (p->offers && chance(4) == 0) {
        pea_handover_withdraw(p->node);
        p->offers = false;
    } else if (ALLOWED(pea_handover_offer(p->node, path, on_taken, p, &why), PEA_E_EXISTS, PEA_E_STATE)) {
        p->offers = true;
    }
}

static void check_limits(const place *p)
{
    pea_counts counts;
    if (p->node == NULL)
        return;
    pea_node_counts(p->node, &counts);
    if (p->max_connections != 0 && counts.connections > p->max_connections)
        chaos_fail("%u connections, where %u are allowed", counts.connections, p->max_connections);
    if (p->max_pending != 0 && counts.pending > p->max_pending)
        chaos_fail("%u pending, where %u are allowed", counts.pending, p->max_pending);
}

static void act_on(place *p, action what)
{
    pea_msg *msg;
    switch (what) {
    case FREE:
        vacate(p);
        break;
    case SHUT_DOWN:
        shut_down(p);
        break;
    case LISTEN:
        if (!p->offers)
            listen_on(p);
        break;
    case UNLISTEN:
        unlisten(p);
        break;
    case CONNECT:
        dial(p);
        break;
    case BROADCAST:
        msg = message_new(TTL);
        broadcast(p->node, msg, chance(4) == 0 ? NULL : pick);
        pea_msg_unref(msg);
        break;
    case SEND_PEER:
        send_peer(p);
        break;
    case CLOSE_PEER:
        (void)ALLOWED(pea_node_close_peer(p->node, &town.people[chance(PEOPLE)].peer, PEA_CODE_NORMAL, "you"),
                      PEA_E_NOT_FOUND, PEA_E_QUEUE_FULL);
        break;
    case PAUSE:
        msg = message_new(0);
        broadcast(p->node, msg, rest);
        pea_msg_unref(msg);
        break;
    case MEASURE:
        measure();
        break;
    case OFFER:
        offer(p);
        break;
    case EXCHANGE:
        exchange(p);
        break;
    case EACH:
        pea_node_each(p->node, nudge, NULL);
        break;
    default:
        ban(p);
        break;
    }
}

void town_act(action what)
{
    place *p = draw_place(true);
    if (what == SPAWN || p == NULL)
        spawn();
    else if (p->shut && chance(8) == 0)
        vacate(p);
    else
        act_on(p, what);
    for (unsigned i = 0; i < PLACES; i++)
        check_limits(&town.places[i]);
}

/* ---- On any thread ---- */

/* Everybody but a few; now and then something that no reader of rules takes. */
static bool write_rules(const char *path)
{
    bool good = chance(5) != 0;
    FILE *file = fopen(path, "w");
    if (file == NULL)
        chaos_fail("%s: %s", path, strerror(errno));
    fprintf(file, "%s\n", good ? "# who may join" : "who may join");
    for (unsigned i = 0; i < PEOPLE; i++) {
        char text[PEA_PEER_TEXT_BYTES];
        if (town.people[i].kind != PLAIN && (i == 0 || chance(10) != 0))
            fprintf(file, "%s name=%u\n", pea_peer_format(&town.people[i].peer, text), i);
    }
    if (fchmod(fileno(file), 0600) != 0 || fclose(file) != 0)
        chaos_fail("%s: %s", path, strerror(errno));
    return good;
}

static void reload(void)
{
    pthread_mutex_lock(&town.lock);
    bool good = write_rules(town.draft);
    if (rename(town.draft, town.rules) != 0)
        chaos_fail("%s: %s", town.rules, strerror(errno));
    pea_err err = pea_trust_reload(town.trust, NULL);
    pthread_mutex_unlock(&town.lock);
    if (err != (good ? PEA_OK : PEA_E_FORMAT))
        chaos_fail("rules that are %s: %s", good ? "good" : "wrong", pea_err_name(err));
}

static void post(action what)
{
    uint64_t id = atomic_load(&town.ids[chance(IDS)]);
    if (what == CLOSE) {
        (void)ALLOWED(pea_post_close(town.runtime, id, PEA_CODE_NORMAL, "posted"), PEA_E_QUEUE_FULL);
        return;
    }
    pea_msg *msg = message_new(TTL);
    receipt *r = receipt_new(&books.sends_told);
    if (ALLOWED(pea_post_send(town.runtime, id, msg, on_sent, r), PEA_E_QUEUE_FULL))
        atomic_fetch_add(&books.sends_owed, 1);
    else
        free(r);
    pea_msg_unref(msg);
}

static void take(void)
{
    char path[96];
    (void)snprintf(path, sizeof path, "%s/offer-%u", town.folder, (unsigned)chance(PLACES));
    heir_take(path);
}

void town_act_anywhere(action what)
{
    const person *who = &town.people[chance(PEOPLE)];
    if (what == RELOAD)
        reload();
    else if (what == TAKE)
        take();
    else if (what == RESOLVE)
        answer_any();
    else if (what == SEND || what == CLOSE)
        post(what);
    else if (who->kind == PLAIN)
        return;
    else if (what == REVOKE)
        must(pea_trust_deny(town.trust, &who->peer, NULL), "pea_trust_deny", NULL);
    else
        (void)ALLOWED(pea_trust_forget(town.trust, &who->peer), PEA_E_NOT_FOUND);
}

/* ---- From the beginning to the end ---- */

static pea_identity *certificate_of(unsigned n)
{
    static const char *const names[] = {"self_a", "self_b", "self_c", "self_p384"};
    char crt[256], key[256];
    pea_identity *identity;
    pea_error why;
    (void)snprintf(crt, sizeof crt, "%s/%s.crt", PEA_TEST_CERTS, names[n % 4]);
    (void)snprintf(key, sizeof key, "%s/%s.key", PEA_TEST_CERTS, names[n % 4]);
    must(pea_identity_load_certificate(&identity, crt, key, NULL, NULL, &why), crt, &why);
    return identity;
}

/* Asked on any thread. */
static pea_err town_key(void *arg, pea_side side, const pea_peer *expect, pea_noise_psks *psks, pea_error *why)
{
    (void)arg, (void)side, (void)expect, (void)why;
    psks->n = 2;
    for (size_t i = 0; i < psks->n; i++)
        memset(psks->keys[i], side == PEA_INITIATOR ? 2 : (int)i + 1, PEA_KEY_BYTES);
    return PEA_OK;
}

static void person_init(person *who, unsigned kind, unsigned n)
{
    pea_identity *identity = NULL;
    pea_error why;
    who->kind = kind;
    must(pea_chain_new(&who->chain, NULL, &why), "pea_chain_new", &why);
    if (kind == PLAIN) {
        must(pea_chain_plain(who->chain), "pea_chain_plain", NULL);
        return;
    }
    if (kind == TLS) {
        identity = certificate_of(n);
        must(pea_chain_tls(who->chain, PEA_TLS(.identity = identity), &why), "pea_chain_tls", &why);
    } else {
        must(pea_identity_generate(&identity, &why), "pea_identity_generate", &why);
        pea_noise_opts *opts = PEA_NOISE(.identity = identity, .protocol = "Noise_XXpsk0_25519_ChaChaPoly_BLAKE2b",
                                         .psk_fn = town_key, .gate_window_ms = 3600000, .gate_remembers = 16);
        must(pea_chain_noise(who->chain, opts, &why), "pea_chain_noise", &why);
    }
    pea_identity_peer(identity, &who->peer);
    pea_identity_unref(identity);
}

/* Seven by Noise, two plain, three by TLS. */
static unsigned kind_of(unsigned n)
{
    bool tls = strcmp(pea_tls_library(), "none") != 0;
    return n < 7 ? NOISE : n < 9 ? PLAIN : tls ? TLS : NOISE;
}

/* An address of this test's own on loopback, so that nobody else is met by a dial that comes late; where the system
 * has but one, that. */
static void choose_host(void)
{
#ifdef __linux__
    unsigned pid = (unsigned)getpid();
    (void)snprintf(town.host, sizeof town.host, "127.%u.%u.%u", 64 + pid / 65536 % 128, pid / 256 % 256, 1 + pid % 254);
#else
    (void)snprintf(town.host, sizeof town.host, "127.0.0.1");
#endif
}

void town_open(struct ev_loop *loop, unsigned workers, const char *folder)
{
    pea_error why;
    pthread_mutex_init(&town.lock, NULL);
    choose_host();
    (void)snprintf(town.folder, sizeof town.folder, "%s", folder);
    (void)snprintf(town.rules, sizeof town.rules, "%s/authorized_peers", folder);
    (void)snprintf(town.draft, sizeof town.draft, "%s/authorized_peers.new", folder);
    must(pea_runtime_new(&town.runtime,
                         PEA_RUNTIME(.loop = loop, .workers = workers, .memory_limit = 64u << 20,
                                     .mailbox_bytes = 1u << 20, .resolve = on_name),
                         &why),
         "pea_runtime_new", &why);
    must(pea_trust_new(&town.trust), "pea_trust_new", NULL);
    for (unsigned i = 0; i < PEOPLE; i++)
        person_init(&town.people[i], kind_of(i), i);
    while (!write_rules(town.rules))
        continue;
    must(pea_trust_load(town.trust, town.rules, &why), town.rules, &why);
}

bool town_closed(void)
{
    bool closed = true;
    town.closing = true;
    for (unsigned i = 0; i < PLACES; i++) {
        place *p = &town.places[i];
        if (p->node != NULL && (p->shut || chance(2) == 0))
            vacate(p);
        else if (p->node != NULL)
            shut_down(p);
        closed = closed && p->node == NULL;
    }
    return closed;
}

void town_close(void)
{
    must(pea_runtime_free(town.runtime), "pea_runtime_free", NULL);
    for (unsigned i = 0; i < PEOPLE; i++)
        pea_chain_unref(town.people[i].chain);
    pea_trust_unref(town.trust);
    (void)unlink(town.rules);
}
