/* SPDX-License-Identifier: MIT */
/* Handshakes are paid for: a flood of them takes a few in each round of the loop and a part of a long one's time,
 * whoever is connected is served in between, and whose neighbours have authenticated does not wait behind
 * strangers. */
#include "support/faults.h"
#include "support/net.h"

#include "runtime_priv.h"

enum { FLOOD = 60, LONG_ROUND_MS = 80 };

/* What the stage of b's chain saw. */
typedef struct ledger {
    net *n;
    unsigned paid, paid_now; /* in all; in the latest round */
    unsigned round, most;
    pea_addr order[2 * FLOOD]; /* who was paid for, one after another */
    int64_t work_ms;           /* the only clock that metering knows */
    int64_t cost_ms;           /* of a handshake */
    ev_check watch;            /* of how long rounds take */
} ledger;

static ledger book;

/* A stage that has something costly to do before it says yes. */
static pea_err costly_step(void *self, pea_stage_env *env, pea_buf *in, pea_buf *out)
{
    (void)self, (void)in, (void)out;
    if (pea_stage_pay(env) == PEA_WAIT)
        return PEA_WAIT;
    check_ok(pea_stage_pay(env)); /* once is enough */
    if (pea_stage_side(env) == PEA_INITIATOR)
        return PEA_DONE;
    unsigned now = ev_iteration(book.n->loop);
    book.paid_now = now == book.round ? book.paid_now + 1 : 1;
    book.round = now;
    book.most = book.paid_now > book.most ? book.paid_now : book.most;
    book.work_ms += book.cost_ms;
    assert_true(book.paid < 2 * FLOOD);
    book.order[book.paid++] = *pea_stage_remote(env);
    return PEA_DONE;
}

static const pea_stage_ops costly = {.version = PEA_STAGE_VERSION, .name = "costly", .step = costly_step};

static int64_t work_ms(void)
{
    return book.work_ms;
}

/* What else there is to do in each round takes long. */
static void on_check(struct ev_loop *loop, ev_check *watch, int events)
{
    (void)loop, (void)watch, (void)events;
    book.work_ms += LONG_ROUND_MS;
}

static int setup(void **state)
{
    static net n;
    net_setup(&n, PEA_NATIVE);
    n.runtime->worker.work_ms = work_ms;
    pea_chain_unref(n.chain);
    check_ok(pea_chain_new(&n.chain, NULL, NULL));
    check_ok(pea_chain_add(n.chain, &costly, NULL, NULL));
    check_ok(pea_chain_plain(n.chain));
    memset(&book, 0, sizeof book);
    book.n = &n;
    book.work_ms = 1;
    *state = &n;
    return 0;
}

static int teardown(void **state)
{
    net_teardown(*state);
    assert_int_equal(faults_blocks(), 0);
    return 0;
}

/* From 127.0.NETWORK.HOST. */
static void dial_from(net *n, unsigned network, unsigned host)
{
    int fd = net_raw_from(network, host);
    check_ok(pea_node_connect(n->a.node, n->b.addr, PEA_DIAL(.fd = fd, .again = true), NULL, NULL));
}

static void nodes(net *n)
{
    net_node(&n->a, PEA_NODE(.name = NULL));
    net_node(&n->b, PEA_NODE(.max_per_prefix = 1000)); /* so ranges are counted */
    net_listen(&n->b);
}

static void a_flood_is_taken_in_portions(void **state)
{
    net *n = *state;
    nodes(n);
    for (int i = 0; i < FLOOD; i++)
        dial_from(n, 1, 1);
    net_wait(n, n->a.connects == FLOOD && n->b.connects == FLOOD);
    assert_int_equal(book.paid, FLOOD);
    assert_int_equal(book.most, PEA__HANDSHAKES_PER_ROUND);
}

/* Work while nobody waited saves no time up. */
static void what_was_before_a_flood_does_not_count(void **state)
{
    net *n = *state;
    nodes(n);
    for (unsigned flood = 1; flood <= 2; flood++) {
        book.work_ms += 3600000;
        for (int i = 0; i < FLOOD; i++)
            dial_from(n, 1, 1);
        net_wait(n, n->a.connects == flood * FLOOD && n->b.connects == flood * FLOOD);
    }
    assert_int_equal(book.most, PEA__HANDSHAKES_PER_ROUND);
}

/* Where whoever is connected makes rounds long, handshakes have their part of them. */
static void a_long_round_begins_more(void **state)
{
    net *n = *state;
    nodes(n);
    for (int i = 0; i < FLOOD; i++)
        dial_from(n, 1, 1);
    net_wait(n, n->b.accepts == FLOOD);
    book.cost_ms = 1;
    ev_check_init(&book.watch, on_check);
    ev_check_start(n->loop, &book.watch);
    net_wait(n, n->a.connects == FLOOD && n->b.connects == FLOOD);
    ev_check_stop(n->loop, &book.watch);
    /* and the few of every round, which count as its work */
    unsigned few = PEA__HANDSHAKES_PER_ROUND, part = (LONG_ROUND_MS + few) / PEA__HANDSHAKES_PART;
    assert_in_range(book.most, part, part + few);
}

/* Whoever waits may leave, and is not paid for. */
static void who_leaves_is_not_paid_for(void **state)
{
    net *n = *state;
    nodes(n);
    for (int i = 0; i < FLOOD; i++)
        dial_from(n, 1, 1);
    net_wait(n, n->b.accepts == FLOOD);
    while (n->b.connects == 0)
        net_poll(n);
    assert_true(book.paid < FLOOD);
    pea_node_free(n->b.node); /* with those in line */
    n->b.node = NULL;
    net_wait(n, n->a.disconnects + n->a.failures == FLOOD);
}

/* Freeing a node does at once what is due, and others' handshakes wait no longer for it. */
static void a_node_that_goes_holds_nobody_up(void **state)
{
    net *n = *state;
    pea_node *other;
    nodes(n);
    check_ok(pea_node_new(&other, n->runtime, PEA_NODE(.chain = n->chain), NULL));
    for (int i = 0; i < FLOOD; i++)
        dial_from(n, 1, 1);
    net_wait(n, n->b.accepts == FLOOD);
    while (n->b.connects == 0)
        net_poll(n);
    assert_true(book.paid < FLOOD);
    pea_node_free(other);
    net_wait(n, n->a.connects == FLOOD && n->b.connects == FLOOD);
}

static size_t place_of(const char *ip, size_t from)
{
    for (size_t i = from; i < book.paid; i++) {
        char text[PEA_ADDR_TEXT_BYTES];
        if (strncmp(pea_addr_format(&book.order[i], text), ip, strlen(ip)) == 0)
            return i;
    }
    fail_msg("%s was never paid for", ip);
    return 0;
}

static void who_has_authenticated_passes_strangers(void **state)
{
    net *n = *state;
    nodes(n);
    dial_from(n, 2, 1);
    net_wait(n, n->b.connects == 1);
    for (int i = 0; i < FLOOD; i++)
        dial_from(n, 1, 1);
    dial_from(n, 2, 77); /* a neighbour, and the last to come */
    net_wait(n, n->b.connects == FLOOD + 2);
    assert_true(place_of("127.0.2.77", 1) < FLOOD / 2);
    assert_true(book.most <= PEA__HANDSHAKES_PER_ROUND);
}

#define entry(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    faults_install();
    const struct CMUnitTest tests[] = {
        entry(a_flood_is_taken_in_portions),     entry(what_was_before_a_flood_does_not_count),
        entry(a_long_round_begins_more),         entry(who_leaves_is_not_paid_for),
        entry(a_node_that_goes_holds_nobody_up), entry(who_has_authenticated_passes_strangers),
    };
    return cmocka_run_group_tests_name("metering", tests, NULL, NULL);
}
