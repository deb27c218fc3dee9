/* SPDX-License-Identifier: MIT */
/* A mesh of 50 nodes changes all its keys, one node after another, and then renews all sessions for their age. What is
 * asserted, of each pair of neighbours and at both ends of it: from the first moment to the last there is a connection
 * that is READY; whatever is sent is taken, and arrives once; every rumour reaches everybody; no dial fails, and no
 * connection ends but in good order. */
#include <stdlib.h>

#include "peapod/address_book.h"
#include "peapod/chain.h"
#include "peapod/identity.h"
#include "peapod/topology.h"
#include "peapod/trust.h"
#include "support/faults.h"
#include "support/net.h"

enum { NODES = 50, SEQUENCE_MAX = 1 << 16, RUMOURS = NODES + 1 };

#define MAX_AGE_MS 1000000
#define PATIENCE_S 60.

typedef struct link { /* one direction of a pair of neighbours, as its sender sees it */
    bool is;          /* they are neighbours */
    bool dials;       /* and this one dials */
    uint32_t entry;   /* in its book, then */
    pea_conn *conn;   /* the newest that is READY */
    unsigned live, connects;
    unsigned sent, received;
    uint8_t *seen; /* by number, at the other end */
} link;

typedef struct member {
    pea_identity *identity;
    pea_peer peer, before; /* its key; the one that it had */
    pea_chain *chain;
    pea_trust *trust;
    pea_node *node;
    pea_book *book;
    link to[NODES];
    bool heard[RUMOURS];
} member;

typedef struct message {
    uint32_t rumour; /* 0: it is one of many */
    uint32_t number;
} message;

static struct {
    net n; /* loop and runtime of it */
    member m[NODES];
    int64_t now_ms;
    bool steady; /* all are connected, and nobody is to be without from here on */
    unsigned rumours;
    ev_timer patience;
    bool late;
} w;

static size_t index_of(const member *m)
{
    return (size_t)(m - w.m);
}

static size_t index_of_peer(const pea_peer *peer)
{
    size_t i = 0;
    while (i < NODES && !pea_peer_equal(peer, &w.m[i].peer) && !pea_peer_equal(peer, &w.m[i].before))
        i++;
    assert_true(i < NODES);
    return i;
}

/* ---- Messages ---- */

static void spread(member *m, uint32_t rumour)
{
    const message say = {.rumour = rumour};
    pea_msg *msg;
    if (m->heard[rumour - 1])
        return;
    m->heard[rumour - 1] = true;
    check_ok(pea_msg_new(&msg, &say, sizeof say));
    check_ok(pea_node_broadcast(m->node, msg, NULL, NULL, NULL));
    pea_msg_unref(msg);
}

static void send_to(member *m, size_t to)
{
    link *l = &m->to[to];
    const message say = {.number = l->sent++};
    assert_true(l->sent <= SEQUENCE_MAX);
    assert_non_null(l->conn);
    check_ok(pea_conn_send(l->conn, &say, sizeof say));
}

static void on_message(pea_conn *conn, const uint8_t *data, size_t len, void *user)
{
    member *m = user;
    message said;
    assert_int_equal(len, sizeof said);
    memcpy(&said, data, sizeof said);
    if (said.rumour != 0) {
        spread(m, said.rumour);
        return;
    }
    link *l = &w.m[index_of_peer(pea_conn_peer(conn))].to[index_of(m)];
    assert_true(said.number < l->sent);
    assert_int_equal(l->seen[said.number], 0);
    l->seen[said.number] = 1;
    l->received++;
}

/* ---- Connections, and the books ---- */

static void dial_due(member *m)
{
    pea_book_entry e;
    char text[PEA_ADDR_TEXT_BYTES];
    while (pea_book_due(m->book, w.now_ms, &e) == PEA_OK)
        check_ok(pea_node_connect(m->node, pea_addr_format(e.addr, text),
                                  PEA_DIAL(.expect = e.peer, .expect_next = e.peer_next, .replaces = e.conn), NULL,
                                  NULL));
}

static void on_connect(pea_conn *conn, void *user)
{
    member *m = user;
    size_t to = index_of_peer(pea_conn_peer(conn));
    link *l = &m->to[to];
    assert_true(l->is);
    assert_int_equal(l->dials, pea_conn_side(conn) == PEA_INITIATOR);
    l->live++;
    l->connects++;
    l->conn = conn;
    if (l->dials)
        check_ok(pea_book_session(m->book, l->entry, pea_conn_id(conn), true, w.now_ms));
}

static void on_disconnect(pea_conn *conn, const pea_reason *reason, void *user)
{
    member *m = user;
    link *l = &m->to[index_of_peer(pea_conn_peer(conn))];
    l->live--;
    if (!w.steady)
        return;
    assert_int_equal(reason->err, PEA_OK);
    assert_int_equal(reason->code, PEA_CODE_NORMAL);
    assert_true(l->live >= 1);
    assert_true(l->conn != conn);
    if (l->dials)
        check_ok(pea_book_session_ended(m->book, l->entry, pea_conn_id(conn), w.now_ms, pea_conn_peer(conn), reason));
}

static void on_failed(pea_node *node, const pea_conn_info *info, const pea_reason *reason, void *user)
{
    char text[PEA_REASON_TEXT_BYTES];
    (void)info, (void)user;
    if (w.steady)
        fail_msg("%s: %s", pea_node_name(node), pea_reason_format(reason, text));
}

/* ---- The mesh ---- */

static void take_identity(member *m)
{
    pea_identity_unref(m->identity);
    pea_chain_unref(m->chain);
    check_ok(pea_identity_generate(&m->identity, NULL));
    m->before = m->peer;
    pea_identity_peer(m->identity, &m->peer);
    check_ok(pea_chain_new(&m->chain, NULL, NULL));
    check_ok(pea_chain_noise(m->chain, PEA_NOISE(.identity = m->identity), NULL));
}

static void make(member *m, bool one_per_peer)
{
    static const pea_node_callbacks on = {.on_connect = on_connect,
                                          .on_message = on_message,
                                          .on_disconnect = on_disconnect,
                                          .on_connect_failed = on_failed};
    take_identity(m);
    m->before = m->peer;
    check_ok(pea_trust_new(&m->trust));
    check_ok(pea_node_new(&m->node, w.n.runtime,
                          PEA_NODE(.chain = m->chain, .policy = pea_trust_policy(m->trust), .on = &on, .user = m,
                                   .one_per_peer = one_per_peer),
                          NULL));
    check_ok(pea_node_listen(m->node, "127.0.0.1:0", NULL, NULL, NULL));
    check_ok(pea_book_new(&m->book, PEA_BOOK(.max_age_ms = MAX_AGE_MS, .seed = 1), NULL));
}

static pea_err introduce(void *arg, size_t from, size_t to)
{
    member *a = &w.m[from], *b = &w.m[to];
    link *out = &a->to[to], *in = &b->to[from];
    out->is = in->is = out->dials = true;
    out->seen = calloc(2, SEQUENCE_MAX);
    assert_non_null(out->seen);
    in->seen = out->seen + SEQUENCE_MAX;
    check_ok(pea_book_add(a->book, &b->peer, pea_node_listen_addr(b->node), &out->entry, NULL));
    check_ok(pea_trust_allow(a->trust, &b->peer, NULL, NULL, NULL));
    check_ok(pea_trust_allow(b->trust, &a->peer, NULL, NULL, NULL));
    (void)arg;
    return PEA_OK;
}

static void each_link(void (*fn)(member *m, size_t to))
{
    for (size_t i = 0; i < NODES; i++)
        for (size_t to = 0; to < NODES; to++)
            if (w.m[i].to[to].is)
                fn(&w.m[i], to);
}

static void check_live(member *m, size_t to)
{
    assert_true(m->to[to].live >= 1);
    assert_int_equal(pea_conn_state(m->to[to].conn), PEA_READY);
}

static void dial_all(void)
{
    for (size_t i = 0; i < NODES; i++)
        dial_due(&w.m[i]);
}

/* One turn of the loop, in which each tells each neighbour something. */
static void turn(void)
{
    assert_false(w.late);
    dial_all();
    if (w.steady) {
        each_link(check_live);
        each_link(send_to);
    }
    ev_run(w.n.loop, ev_pending_count(w.n.loop) > 0 ? EVRUN_NOWAIT : EVRUN_ONCE);
    if (getenv("PEA_TEST_DISPATCH") != NULL)
        check_ok(pea_runtime_dispatch(w.n.runtime));
}

static bool whole; /* what the loops below found */

static void is_whole(member *m, size_t to)
{
    whole = whole && m->to[to].live == 1;
}

/* The first, one for either's key, one for its age; and no more than that. */
static void is_renewed(member *m, size_t to)
{
    assert_in_range(m->to[to].connects, 3, 4);
    whole = whole && m->to[to].live == 1 && m->to[to].connects == 4;
}

static void is_quiet(member *m, size_t to)
{
    whole = whole && m->to[to].received == m->to[to].sent;
}

static bool holds(void (*fn)(member *m, size_t to))
{
    whole = true;
    each_link(fn);
    return whole;
}

/* ---- Rotation ---- */

/* Its neighbours get to know the key that it will have: a second line, and a second expectation. */
static void announce(member *m)
{
    for (size_t i = 0; i < NODES; i++) {
        member *neighbour = &w.m[i];
        if (!m->to[i].is)
            continue;
        check_ok(pea_trust_allow(neighbour->trust, &m->peer, NULL, NULL, NULL));
        const link *l = &neighbour->to[index_of(m)];
        if (l->dials)
            check_ok(pea_book_expect(neighbour->book, l->entry, &m->before, &m->peer, NULL));
    }
}

/* Sessions with it are replaced by whoever dialled them. */
static void renew(member *m)
{
    for (size_t i = 0; i < NODES; i++) {
        if (!m->to[i].is)
            continue;
        if (m->to[i].dials)
            check_ok(pea_book_renew(m->book, m->to[i].entry, w.now_ms));
        else
            check_ok(pea_book_renew(w.m[i].book, w.m[i].to[index_of(m)].entry, w.now_ms));
    }
}

static bool has_changed(const member *m)
{
    for (size_t i = 0; i < NODES; i++) {
        if (!m->to[i].is)
            continue;
        const link *back = &w.m[i].to[index_of(m)];
        if (m->to[i].live != 1 || back->live != 1 || !pea_peer_equal(pea_conn_peer(back->conn), &m->peer))
            return false;
    }
    return true;
}

static void forget(const member *m)
{
    for (size_t i = 0; i < NODES; i++) {
        member *neighbour = &w.m[i];
        if (!m->to[i].is)
            continue;
        check_ok(pea_trust_forget(neighbour->trust, &m->before));
        const link *l = &neighbour->to[index_of(m)];
        if (l->dials)
            check_ok(pea_book_expect(neighbour->book, l->entry, &m->peer, NULL, NULL));
    }
}

static void rotate(member *m)
{
    take_identity(m);
    announce(m);
    check_ok(pea_node_set_chain(m->node, m->chain, NULL));
    spread(&w.m[(index_of(m) + NODES / 2) % NODES], ++w.rumours);
    renew(m);
    while (!has_changed(m))
        turn();
    forget(m);
    m->before = m->peer;
}

static void check_known(void)
{
    for (size_t i = 0; i < NODES; i++)
        for (unsigned rumour = 0; rumour < w.rumours; rumour++)
            assert_true(w.m[i].heard[rumour]);
}

/* ---- Its life ---- */

static void on_patience_over(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop, (void)timer, (void)events;
    w.late = true;
}

static void settle(void)
{
    w.steady = false; /* nobody says anything more */
    while (!holds(is_quiet))
        turn();
}

static void tear_down(void)
{
    for (size_t i = 0; i < NODES; i++) {
        member *m = &w.m[i];
        pea_node_free(m->node);
        pea_book_free(m->book);
        pea_trust_unref(m->trust);
        pea_chain_unref(m->chain);
        pea_identity_unref(m->identity);
        for (size_t to = 0; to < NODES; to++)
            if (m->to[to].dials)
                free(m->to[to].seen);
    }
    ev_timer_stop(w.n.loop, &w.patience);
    net_teardown(&w.n);
    assert_int_equal(faults_blocks(), 0);
}

static void a_mesh_changes_its_keys(bool one_per_peer)
{
    const pea_topology shape = {.shape = PEA_TOPOLOGY_RANDOM, .degree = 2, .seed = 7};
    memset(&w, 0, sizeof w);
    net_setup(&w.n, PEA_NATIVE);
    ev_timer_init(&w.patience, on_patience_over, PATIENCE_S, 0.);
    ev_timer_start(w.n.loop, &w.patience);
    for (size_t i = 0; i < NODES; i++)
        make(&w.m[i], one_per_peer);
    check_ok(pea_topology_each(&shape, NODES, introduce, NULL, NULL));
    while (!holds(is_whole))
        turn();
    w.steady = true;
    for (size_t i = 0; i < NODES; i++)
        rotate(&w.m[i]);
    spread(&w.m[0], ++w.rumours);
    w.now_ms += MAX_AGE_MS; /* and all sessions at once for their age */
    while (!holds(is_renewed))
        turn();
    settle();
    check_known();
    tear_down();
}

static void one_connection_for_each_pair(void **state)
{
    (void)state;
    a_mesh_changes_its_keys(true);
}

static void as_many_as_there_are(void **state)
{
    (void)state;
    a_mesh_changes_its_keys(false);
}

int main(void)
{
    faults_install();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_connection_for_each_pair),
        cmocka_unit_test(as_many_as_there_are),
    };
    return cmocka_run_group_tests_name("rotation", tests, NULL, NULL);
}
