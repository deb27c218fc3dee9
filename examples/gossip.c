/* SPDX-License-Identifier: MIT */
/* Gossip: each node knows a few others by key and address, tells them what it has not told yet, and dials again whoever
 * is lost. Rumours reach everybody, also when a third of the nodes is gone, and later those who come back.
 *   gossip NODES    at least 6; all of them live in this process, but know of each other only what they were told
 * Exit status: 0 each rumour reached all who were there, 2 wrong use, 1 anything else. */
#include <ev.h>
#include <peapod/peapod.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NEIGHBOURS ((size_t)3) /* that each dials; as many others dial it */
#define PATIENCE_S 60.

typedef struct member {
    pea_peer peer;
    pea_chain *chain; /* with its key */
    pea_trust *trust; /* its neighbours */
    pea_node *node;   /* NULL: it is gone */
    pea_addr addr;    /* where it listens, and will again */
    pea_book *book;   /* whom it dials, and when again */
    ev_timer redial;
    unsigned newest; /* the number of the newest rumour that it has heard */
} member;

static member *members;
static size_t count;
static pea_runtime *runtime;
static unsigned rumour; /* numbers count up */
static ev_timer patience;

static void must(pea_err err, const pea_error *why, int exit_status)
{
    if (err == PEA_OK)
        return;
    fprintf(stderr, "gossip: %s\n", why->text[0] != '\0' ? why->text : pea_err_text(err));
    exit(exit_status);
}

static int64_t now_ms(void)
{
    return (int64_t)(ev_now(EV_DEFAULT) * 1000.);
}

/* ---- Redial: the book says whom and when ---- */

static void dial_due(member *m)
{
    pea_book_entry e;
    char text[PEA_ADDR_TEXT_BYTES];
    while (pea_book_due(m->book, now_ms(), &e) == PEA_OK) {
        pea_dial_opts *opts = PEA_DIAL(.expect = e.peer);
        if (pea_node_connect(m->node, pea_addr_format(e.addr, text), opts, NULL, NULL) == PEA_OK)
            continue; /* the callbacks tell the book what became of it */
        must(pea_book_ended(m->book, e.id, now_ms(), NULL, &(pea_reason){.err = PEA_E_EXISTS}), &(pea_error){0}, 1);
    }
    int64_t next = pea_book_next_ms(m->book);
    ev_timer_stop(EV_DEFAULT, &m->redial);
    if (next == INT64_MAX)
        return;
    ev_timer_set(&m->redial, next > now_ms() ? (double)(next - now_ms()) / 1000. : 0., 0.);
    ev_timer_start(EV_DEFAULT, &m->redial);
}

static void on_redial(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop, (void)events;
    dial_due(timer->data);
}

/* ---- Rumours ---- */

static void finish_stage(void);

static bool known_to_all(void)
{
    size_t i = 0;
    while (i < count && (members[i].node == NULL || members[i].newest == rumour))
        i++;
    return i == count;
}

static void hear(member *m, unsigned number)
{
    pea_msg *msg;
    if (number <= m->newest)
        return; /* old news end here */
    m->newest = number;
    must(pea_msg_new(&msg, &number, sizeof number), &(pea_error){0}, 1); /* bytes of this host: it never leaves it */
    must(pea_node_broadcast(m->node, msg, NULL, NULL, NULL), &(pea_error){0}, 1);
    pea_msg_unref(msg);
    if (number == rumour && known_to_all())
        finish_stage();
}

static void on_message(pea_conn *conn, const uint8_t *data, size_t len, void *user)
{
    unsigned number;
    if (len != sizeof number) {
        pea_conn_close(conn, PEA_CODE_PROTO, "that is no rumour");
        return;
    }
    memcpy(&number, data, sizeof number);
    hear(user, number);
}

/* ---- Neighbours come and go ---- */

/* Whoever dialled: the neighbour is there, and told the newest. */
static void on_connect(pea_conn *conn, void *user)
{
    member *m = user;
    pea_book_entry e;
    if (pea_book_find_peer(m->book, pea_conn_peer(conn), &e) == PEA_OK)
        must(pea_book_connected(m->book, e.id, now_ms()), &(pea_error){0}, 1);
    if (m->newest > 0 && pea_conn_send(conn, &m->newest, sizeof m->newest) != PEA_OK)
        pea_conn_abort(conn);
}

static void lost(member *m, const pea_peer *peer, const pea_addr *addr, const pea_reason *reason)
{
    pea_book_entry e;
    size_t i = 0;
    /* Who was not reached is known by where he was dialled. */
    while (i < count && !(peer->kind != PEA_PEER_NONE ? pea_peer_equal(&members[i].peer, peer)
                                                      : pea_addr_equal(&members[i].addr, addr)))
        i++;
    if (i == count || pea_book_find_peer(m->book, &members[i].peer, &e) != PEA_OK)
        return;
    must(pea_book_ended(m->book, e.id, now_ms(), peer, reason), &(pea_error){0}, 1);
    if (m->node != NULL)
        dial_due(m);
}

static void on_disconnect(pea_conn *conn, const pea_reason *reason, void *user)
{
    lost(user, pea_conn_peer(conn), pea_conn_remote(conn), reason);
}

static void on_failed(pea_node *node, const pea_conn_info *info, const pea_reason *reason, void *user)
{
    (void)node;
    if (info->side == PEA_INITIATOR)
        lost(user, &info->peer, &info->remote, reason);
}

static void start(member *m)
{
    static const pea_node_callbacks on = {.on_connect = on_connect,
                                          .on_message = on_message,
                                          .on_disconnect = on_disconnect,
                                          .on_connect_failed = on_failed};
    pea_error why = {.code = PEA_OK};
    char text[PEA_ADDR_TEXT_BYTES] = "127.0.0.1:0";
    must(pea_node_new(&m->node, runtime,
                      PEA_NODE(.chain = m->chain, .policy = pea_trust_policy(m->trust), .on = &on, .user = m,
                               .one_per_peer = true), /* neighbours may dial each other at once */
                      &why),
         &why, 1);
    if (m->addr.family != PEA_ADDR_NONE)
        pea_addr_format(&m->addr, text);
    must(pea_node_listen(m->node, text, NULL, NULL, &why), &why, 1);
    m->addr = *pea_node_listen_addr(m->node);
}

/* As if its power had failed. */
static void stop(member *m)
{
    pea_node *node = m->node;
    ev_timer_stop(EV_DEFAULT, &m->redial);
    m->node = NULL; /* nobody is dialled from here on */
    pea_node_free(node);
}

/* ---- The story ---- */

static void tell_rumour(const char *when)
{
    size_t there = 0;
    for (size_t i = 0; i < count; i++)
        there += members[i].node != NULL;
    rumour++;
    printf("rumour %u, %s: told to one of %zu\n", rumour, when, there);
    hear(&members[count - 1], rumour); /* the last one never goes */
}

static unsigned stage;
static ev_idle next; /* nothing is freed inside a callback */

static void finish_stage(void)
{
    printf("rumour %u: all know it\n", rumour);
    ev_idle_start(EV_DEFAULT, &next);
}

static void on_next(struct ev_loop *loop, ev_idle *idle, int events)
{
    (void)events;
    ev_idle_stop(loop, idle);
    switch (++stage) {
    case 1: /* every third one dies */
        for (size_t i = 0; i + 1 < count; i += 3)
            stop(&members[i]);
        tell_rumour("a third is gone");
        break;
    case 2: /* they come back, and know nothing of it */
        for (size_t i = 0; i + 1 < count; i += 3) {
            start(&members[i]);
            dial_due(&members[i]);
        }
        tell_rumour("they are back");
        break;
    default:
        ev_break(loop, EVBREAK_ALL);
        break;
    }
}

static void on_patience_over(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop, (void)timer, (void)events;
    must(PEA_E_TIMEOUT, &(pea_error){.text = "a rumour did not reach everybody"}, 1);
}

static pea_err introduce(void *arg, size_t from, size_t to)
{
    pea_err err = pea_book_add(members[from].book, &members[to].peer, &members[to].addr, NULL, arg);
    if (err == PEA_OK)
        err = pea_trust_allow(members[to].trust, &members[from].peer, NULL, NULL, arg);
    return err == PEA_OK ? pea_trust_allow(members[from].trust, &members[to].peer, NULL, NULL, arg) : err;
}

static void make(member *m)
{
    pea_error why = {.code = PEA_OK};
    pea_identity *me;
    must(pea_identity_generate(&me, &why), &why, 1);
    pea_identity_peer(me, &m->peer);
    must(pea_trust_new(&m->trust), &why, 1);
    must(pea_chain_new(&m->chain, NULL, &why), &why, 1);
    must(pea_chain_noise(m->chain, PEA_NOISE(.identity = me), &why), &why, 1);
    must(pea_book_new(&m->book, PEA_BOOK(.first_ms = 50, .most_ms = 500), &why), &why, 1);
    pea_identity_unref(me);
    ev_init(&m->redial, on_redial);
    m->redial.data = m;
    start(m);
}

int main(int argc, char **argv)
{
    pea_error why = {.text = "usage: gossip NODES, of which there are at least 6"};
    pea_topology who_dials_whom = {.shape = PEA_TOPOLOGY_RANDOM, .degree = 2, .seed = 1};
    setvbuf(stdout, NULL, _IOLBF, 0);
    count = argc == 2 ? strtoul(argv[1], NULL, 10) : 0;
    must(count >= 6 && count <= 5000 ? PEA_OK : PEA_E_INVALID, &why, 2);
    if (count > 2 * NEIGHBOURS)
        who_dials_whom.degree = NEIGHBOURS;
    members = calloc(count, sizeof *members);
    must(members != NULL ? PEA_OK : PEA_E_NOMEM, &(pea_error){.code = PEA_OK}, 1);
    must(pea_runtime_new(&runtime, PEA_RUNTIME(.loop = EV_DEFAULT), &why), &why, 1);
    for (size_t i = 0; i < count; i++)
        make(&members[i]);
    must(pea_topology_each(&who_dials_whom, count, introduce, &why, &why), &why, 1);
    for (size_t i = 0; i < count; i++)
        dial_due(&members[i]);
    ev_idle_init(&next, on_next);
    ev_timer_init(&patience, on_patience_over, PATIENCE_S, 0.);
    ev_timer_start(EV_DEFAULT, &patience);
    ev_unref(EV_DEFAULT);
    tell_rumour("all are there");
    ev_run(EV_DEFAULT, 0);
    for (size_t i = 0; i < count; i++) {
        stop(&members[i]);
        pea_book_free(members[i].book);
        pea_trust_unref(members[i].trust);
        pea_chain_unref(members[i].chain);
    }
    free(members);
    return pea_runtime_free(runtime) == PEA_OK ? 0 : 1;
}
