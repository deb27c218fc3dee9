/* SPDX-License-Identifier: MIT */
/* The address book in a time of the test's own: what is due when, what stops it, and what a long random life leaves of
 * it. */
#include <stdlib.h>

#include "peapod/address_book.h"
#include "redial_priv.h"
#include "support/check.h"
#include "support/faults.h"
#include "support/prng.h"

static const pea_peer alice = {.kind = PEA_PEER_NOISE, .id = {1}}, mallory = {.kind = PEA_PEER_NOISE, .id = {2}};
static const pea_reason reset = {.origin = PEA_BY_READING, .err = PEA_E_RESET};

static pea_addr addr(uint16_t port)
{
    return (pea_addr){.family = PEA_ADDR_IPV4, .port = port, .u.ip = {192, 0, 2, 1}};
}

static pea_book *open_book(void)
{
    pea_book *b;
    check_ok(pea_book_new(&b, PEA_BOOK(.first_ms = 100, .most_ms = 1000, .steady_ms = 5000, .seed = 1), NULL));
    return b;
}

static uint32_t add(pea_book *b, const pea_peer *peer, uint16_t port)
{
    uint32_t id = 0;
    const pea_addr at = addr(port);
    check_ok(pea_book_add(b, peer, &at, &id, NULL));
    return id;
}

static pea_book_entry look(const pea_book *b, uint32_t id)
{
    pea_book_entry e;
    check_ok(pea_book_find(b, id, &e));
    return e;
}

static void waits_grow(void **state)
{
    pea__redial r = {.first_ms = 100, .most_ms = 1000, .state = 3};
    static const uint32_t most[] = {100, 200, 400, 800, 1000, 1000};
    (void)state;
    for (uint32_t failures = 1; failures <= 6; failures++) {
        uint32_t least = UINT32_MAX, longest = 0;
        for (int i = 0; i < 2000; i++) {
            uint32_t wait = pea__redial_wait(&r, failures);
            least = wait < least ? wait : least;
            longest = wait > longest ? wait : longest;
        }
        assert_true(least >= most[failures - 1] / 2 && least < most[failures - 1] * 6 / 10);
        assert_true(longest <= most[failures - 1] && longest > most[failures - 1] * 9 / 10);
    }
    r.most_ms = UINT32_MAX;
    assert_true(pea__redial_wait(&r, UINT32_MAX) >= UINT32_MAX / 2);
}

static void a_life(void **state)
{
    pea_book *b = open_book();
    pea_book_entry e;
    (void)state;
    assert_int_equal(pea_book_next_ms(b), INT64_MAX);
    check_err(pea_book_due(b, 0, &e), PEA_MORE);
    uint32_t id = add(b, &alice, 1);
    check_ok(pea_book_due(b, 0, &e)); /* at once */
    assert_int_equal(e.id, id);
    assert_true(pea_peer_equal(e.peer, &alice));
    assert_int_equal(e.addr->port, 1);
    assert_int_equal(e.state, PEA_BOOK_DIALLING);
    check_err(pea_book_due(b, 1000000, &e), PEA_MORE); /* once */
    check_ok(pea_book_ended(b, id, 1000, NULL, &reset));
    int64_t due = pea_book_next_ms(b);
    assert_true(due >= 1050 && due <= 1100);
    check_err(pea_book_due(b, due - 1, &e), PEA_MORE);
    check_ok(pea_book_due(b, due, &e));
    assert_int_equal(e.failures, 1);
    check_ok(pea_book_connected(b, id, 2000));
    assert_int_equal(look(b, id).state, PEA_BOOK_CONNECTED);
    check_ok(pea_book_ended(b, id, 3000, &alice, &reset)); /* soon: one more failure */
    assert_int_equal(look(b, id).failures, 2);
    check_ok(pea_book_due(b, 5000, &e));
    check_ok(pea_book_connected(b, id, 5000));
    check_ok(pea_book_ended(b, id, 10000, &alice, &reset)); /* it was steady: as if for the first time */
    assert_int_equal(look(b, id).failures, 1);
    assert_true(pea_book_next_ms(b) <= 10100);
    check_ok(pea_book_connected(b, id, 10001)); /* it dialled us */
    check_err(pea_book_due(b, 99999, &e), PEA_MORE);
    check_ok(pea_book_remove(b, id));
    check_err(pea_book_remove(b, id), PEA_E_NOT_FOUND);
    check_err(pea_book_ended(b, id, 1, NULL, &reset), PEA_E_NOT_FOUND);
    check_err(pea_book_connected(b, id, 1), PEA_E_NOT_FOUND);
    check_err(pea_book_find(b, id, &e), PEA_E_NOT_FOUND);
    check_err(pea_book_find_peer(b, &alice, &e), PEA_E_NOT_FOUND);
    pea_book_free(b);
}

/* Only a permanent REJECT, said by the one who was expected. */
static void what_stops_it(void **state)
{
    static const struct {
        pea_err err;
        uint16_t code;
        bool anybody, stranger, nobody, stops;
    } rows[] = {
        {PEA_E_REJECTED, PEA_CODE_DENIED | PEA_CODE_PERMANENT, false, false, false, true},
        {PEA_E_REJECTED, PEA_CODE_DENIED, false, false, false, false},
        {PEA_E_REJECTED, PEA_CODE_DENIED | PEA_CODE_PERMANENT, false, true, false, false},
        {PEA_E_REJECTED, PEA_CODE_DENIED | PEA_CODE_PERMANENT, false, false, true, false},
        {PEA_E_REJECTED, PEA_CODE_DENIED | PEA_CODE_PERMANENT, true, false, false, false},
        {PEA_E_CLOSED, PEA_CODE_REVOKED | PEA_CODE_PERMANENT, false, false, false, false},
        {PEA_E_REFUSED, PEA_CODE_DENIED | PEA_CODE_PERMANENT, false, true, false, false},
        {PEA_E_RESET, 0, false, false, false, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        pea_book *b = open_book();
        pea_book_entry e;
        const pea_reason reason = {.err = rows[i].err, .code = rows[i].code};
        uint32_t id = add(b, rows[i].anybody ? NULL : &alice, 1);
        check_ok(pea_book_due(b, 0, &e));
        assert_int_equal(e.peer == NULL, rows[i].anybody);
        check_ok(pea_book_ended(b, id, 0, rows[i].nobody ? NULL : rows[i].stranger ? &mallory : &alice, &reason));
        if ((look(b, id).state == PEA_BOOK_STOPPED) != rows[i].stops)
            print_error("row %zu\n", i);
        assert_int_equal(look(b, id).state == PEA_BOOK_STOPPED, rows[i].stops);
        assert_int_equal(pea_book_next_ms(b) == INT64_MAX, rows[i].stops);
        check_ok(pea_book_retry(b, id, 7)); /* by hand it goes on */
        assert_int_equal(pea_book_next_ms(b), 7);
        assert_int_equal(look(b, id).failures, 0);
        pea_book_free(b);
    }
}

static void several_addresses(void **state)
{
    pea_book *b = open_book();
    pea_book_entry e;
    pea_error why = {0};
    pea_addr at = addr(1);
    (void)state;
    uint32_t id = add(b, &alice, 1);
    assert_int_equal(add(b, &alice, 2), id);
    check_err(pea_book_add(b, &alice, &at, NULL, &why), PEA_E_EXISTS);
    for (uint16_t port = 3; port <= PEA_BOOK_ADDRESSES_MAX; port++)
        assert_int_equal(add(b, &alice, port), id);
    at = addr(9);
    check_err(pea_book_add(b, &alice, &at, NULL, &why), PEA_E_LIMIT);
    assert_true(add(b, NULL, 1) != id); /* for anybody: entries of their own */
    assert_true(add(b, NULL, 1) != add(b, &mallory, 1));
    check_ok(pea_book_find_peer(b, &alice, &e));
    assert_int_equal(e.id, id);
    int64_t now = 0;
    for (uint16_t i = 0; i < 20; i++, now += 2000) { /* each in turn */
        check_ok(pea_book_retry(b, id, INT64_MIN));
        check_ok(pea_book_due(b, now, &e));
        assert_int_equal(e.id, id);
        assert_int_equal(e.addr->port, 1 + i % PEA_BOOK_ADDRESSES_MAX);
        check_ok(pea_book_ended(b, id, now, NULL, &reset));
    }
    pea_book_free(b);
}

/* ---- Sessions that are replaced ---- */

static const pea_reason orderly = {.origin = PEA_BY_PEER, .err = PEA_OK};

/* Connected by the dial `conn` at `now`. */
static uint32_t connect(pea_book *b, uint64_t conn, int64_t now)
{
    pea_book_entry e;
    uint32_t id = add(b, &alice, 1);
    check_ok(pea_book_due(b, now, &e));
    check_ok(pea_book_session(b, id, conn, true, now));
    return id;
}

static pea_book *open_aging(void)
{
    pea_book *b;
    check_ok(pea_book_new(
        &b, PEA_BOOK(.first_ms = 100, .most_ms = 1000, .steady_ms = 5000, .seed = 1, .max_age_ms = 100000), NULL));
    return b;
}

static void made_before_broken(void **state)
{
    pea_book *b = open_aging();
    pea_book_entry e;
    (void)state;
    uint32_t id = connect(b, 7, 1000);
    int64_t due = pea_book_next_ms(b);
    assert_true(due >= 1000 + 75000 && due <= 1000 + 100000);
    check_err(pea_book_due(b, due - 1, &e), PEA_MORE);
    check_ok(pea_book_due(b, due, &e));
    assert_int_equal(e.state, PEA_BOOK_RENEWING);
    assert_int_equal(e.conn, 7);
    check_err(pea_book_due(b, due + 1000000, &e), PEA_MORE); /* once */
    check_ok(pea_book_session(b, id, 9, true, due + 10));
    e = look(b, id);
    assert_int_equal(e.state, PEA_BOOK_CONNECTED);
    assert_int_equal(e.conn, 9);
    int64_t next = pea_book_next_ms(b);
    assert_true(next >= due + 10 + 75000 && next <= due + 10 + 100000);
    check_ok(pea_book_session_ended(b, id, 7, due + 20, &alice, &orderly)); /* that is no news */
    assert_int_equal(look(b, id).state, PEA_BOOK_CONNECTED);
    assert_int_equal(pea_book_next_ms(b), next);
    check_ok(pea_book_session_ended(b, id, 9, due + 30, &alice, &reset)); /* and this is */
    assert_int_equal(look(b, id).state, PEA_BOOK_WAITING);
    assert_int_equal(look(b, id).failures, 1);
    pea_book_free(b);
}

/* The older one stays until a newer one is there, however often that takes; nobody is dialled twice at a time. */
static void a_replacement_that_fails(void **state)
{
    pea_book *b = open_aging();
    pea_book_entry e;
    (void)state;
    uint32_t id = connect(b, 7, 0);
    int64_t now = pea_book_next_ms(b);
    for (uint64_t conn = 8; conn < 12; conn++) {
        check_ok(pea_book_due(b, now, &e));
        assert_int_equal(e.conn, 7);
        uint64_t failed = conn == 8 ? PEA_BOOK_NO_CONN : conn;
        check_ok(pea_book_session_ended(b, id, failed, now, NULL, &reset));
        assert_int_equal(look(b, id).state, PEA_BOOK_CONNECTED);
        assert_int_equal(look(b, id).failures, 0);
        int64_t wait = pea_book_next_ms(b) - now, most = (int64_t)100 << (conn - 8);
        assert_true(wait >= most / 2 && wait <= most);
        now += wait;
    }
    check_ok(pea_book_due(b, now, &e));
    check_ok(pea_book_session_ended(b, id, 7, now, &alice, &reset)); /* it ends while the other one is dialled */
    assert_int_equal(look(b, id).state, PEA_BOOK_DIALLING);
    assert_int_equal(look(b, id).conn, 0);
    assert_int_equal(pea_book_next_ms(b), INT64_MAX);
    check_ok(pea_book_session_ended(b, id, 13, now, NULL, &reset));
    assert_int_equal(look(b, id).state, PEA_BOOK_WAITING);
    assert_int_equal(look(b, id).failures, 2);
    pea_book_free(b);
}

static void who_is_replaced(void **state)
{
    pea_book *b = open_aging();
    pea_book_entry e;
    (void)state;
    uint32_t id = add(b, &alice, 1);
    check_err(pea_book_renew(b, id, 0), PEA_E_STATE);
    check_err(pea_book_renew(b, id + 1, 0), PEA_E_NOT_FOUND);
    check_ok(pea_book_session(b, id, 3, false, 0)); /* the peer dialled: it is the peer's to replace */
    assert_int_equal(pea_book_next_ms(b), INT64_MAX);
    check_err(pea_book_renew(b, id, 0), PEA_E_STATE);
    check_ok(pea_book_session(b, id, 4, false, 10)); /* which it does */
    check_ok(pea_book_session_ended(b, id, 3, 20, &alice, &orderly));
    assert_int_equal(look(b, id).conn, 4);
    check_ok(pea_book_session(b, id, 5, true, 30)); /* ours beside it counts more, */
    assert_int_equal(look(b, id).conn, 5);
    check_ok(pea_book_session(b, id, 6, false, 40)); /* and the peer's beside ours less */
    assert_int_equal(look(b, id).conn, 5);
    check_ok(pea_book_session_ended(b, id, 6, 50, &alice, &reset));
    assert_int_equal(look(b, id).state, PEA_BOOK_CONNECTED);
    check_ok(pea_book_renew(b, id, 60)); /* by hand, at any age */
    check_ok(pea_book_due(b, 60, &e));
    assert_int_equal(e.conn, 5);
    check_err(pea_book_renew(b, id, 70), PEA_E_STATE);
    check_ok(pea_book_retry(b, id, 70)); /* it is not waited for */
    assert_int_equal(look(b, id).state, PEA_BOOK_RENEWING);
    pea_book_free(b);
}

static void a_worn_key_is_no_failure(void **state)
{
    static const pea_reason worn = {.origin = PEA_BY_PEER, .err = PEA_E_CLOSED, .code = PEA_CODE_KEY_LIMIT};
    pea_book *b = open_book();
    (void)state;
    uint32_t id = connect(b, 7, 0);
    check_ok(pea_book_session_ended(b, id, 7, 5000, &alice, &worn));
    assert_int_equal(pea_book_next_ms(b), 5000);
    check_ok(pea_book_session(b, id, 8, true, 5010));
    check_ok(pea_book_session_ended(b, id, 8, 5020, &alice, &worn)); /* so soon it is one */
    assert_true(pea_book_next_ms(b) > 5020);
    pea_book_free(b);
}

/* ---- Keys that change ---- */

static void either_of_two_keys(void **state)
{
    static const pea_peer alice2 = {.kind = PEA_PEER_NOISE, .id = {3}}, nobody = {.kind = PEA_PEER_NONE};
    static const pea_reason denied = {.err = PEA_E_REJECTED, .code = PEA_CODE_DENIED | PEA_CODE_PERMANENT};
    pea_book *b = open_book();
    pea_book_entry e;
    pea_error why;
    (void)state;
    uint32_t id = add(b, &alice, 1), other = add(b, &mallory, 2);
    check_err(pea_book_expect(b, 99, &alice, NULL, &why), PEA_E_NOT_FOUND);
    check_err(pea_book_expect(b, id, &alice, &mallory, &why), PEA_E_EXISTS);
    check_err(pea_book_expect(b, id, &mallory, NULL, &why), PEA_E_EXISTS);
    check_err(pea_book_expect(b, id, &alice, &alice, &why), PEA_E_INVALID);
    check_err(pea_book_expect(b, id, NULL, &alice, &why), PEA_E_INVALID);
    check_err(pea_book_expect(b, id, &nobody, &alice, &why), PEA_E_INVALID);
    assert_null(look(b, id).peer_next);
    check_ok(pea_book_expect(b, id, &alice, &alice2, &why));
    check_ok(pea_book_find_peer(b, &alice, &e));
    assert_int_equal(e.id, id);
    check_ok(pea_book_find_peer(b, &alice2, &e));
    assert_int_equal(e.id, id);
    check_err(pea_book_expect(b, other, &alice2, NULL, &why), PEA_E_EXISTS);
    assert_int_equal(add(b, &alice2, 3), id);
    assert_true(pea_peer_equal(e.peer, &alice) && pea_peer_equal(e.peer_next, &alice2));
    check_ok(pea_book_ended(b, id, 0, NULL, &reset)); /* the next dial begins with the other one */
    e = look(b, id);
    assert_true(pea_peer_equal(e.peer, &alice2) && pea_peer_equal(e.peer_next, &alice));
    check_ok(pea_book_ended(b, id, 0, NULL, &reset));
    check_ok(pea_book_ended(b, id, 0, NULL, &reset));
    assert_true(pea_peer_equal(look(b, id).peer, &alice));
    check_ok(pea_book_ended(b, id, 0, &alice2, &denied)); /* it speaks for the peer */
    assert_int_equal(look(b, id).state, PEA_BOOK_STOPPED);
    check_ok(pea_book_expect(b, id, &alice2, NULL, &why)); /* it has changed */
    check_err(pea_book_find_peer(b, &alice, &e), PEA_E_NOT_FOUND);
    assert_true(pea_peer_equal(look(b, id).peer, &alice2));
    assert_null(look(b, id).peer_next);
    assert_true(add(b, &alice, 1) != id);
    uint32_t anybody = add(b, NULL, 5);
    const pea_peer carol = {.kind = PEA_PEER_NOISE, .id = {4}};
    check_ok(pea_book_expect(b, anybody, &carol, NULL, &why)); /* it has become known */
    assert_true(pea_peer_equal(look(b, anybody).peer, &carol));
    pea_book_free(b);
}

/* Where a pattern must know the key beforehand, one address with one key alone leads to the peer. */
static void each_key_at_each_address(void **state)
{
    static const pea_peer alice2 = {.kind = PEA_PEER_NOISE, .id = {3}};
    pea_book *b = open_book();
    uint32_t id = add(b, &alice, 0);
    (void)state;
    check_ok(pea_book_expect(b, id, &alice, &alice2, NULL));
    for (uint16_t n = 1; n <= PEA_BOOK_ADDRESSES_MAX; n++) {
        unsigned dialled = 0; /* bits: by address and key */
        assert_int_equal(look(b, id).addr->port, 0);
        for (int i = 0; i < 2 * n; i++) {
            pea_book_entry e = look(b, id);
            dialled |= 1u << (2 * e.addr->port + pea_peer_equal(e.peer, &alice));
            check_ok(pea_book_ended(b, id, 0, NULL, &reset));
        }
        assert_int_equal(dialled, (1u << 2 * n) - 1);
        if (n < PEA_BOOK_ADDRESSES_MAX)
            assert_int_equal(add(b, &alice, n), id);
    }
    pea_book_free(b);
}

static void no_memory_for_a_key(void **state)
{
    static const pea_peer alice2 = {.kind = PEA_PEER_NOISE, .id = {3}}, alice3 = {.kind = PEA_PEER_NOISE, .id = {4}};
    bool hit = true;
    (void)state;
    for (size_t nth = 0; hit; nth++) {
        pea_book *b = open_book();
        pea_book_entry e;
        uint32_t id = add(b, &alice, 1);
        faults_arm(nth);
        pea_err err = pea_book_expect(b, id, &alice2, &alice3, NULL);
        hit = faults_disarm();
        check_err(err, hit ? PEA_E_NOMEM : PEA_OK);
        assert_int_equal(pea_book_find_peer(b, &alice, &e) == PEA_OK, hit);
        assert_int_equal(pea_book_find_peer(b, &alice2, &e) == PEA_OK, !hit);
        assert_int_equal(pea_book_find_peer(b, &alice3, &e) == PEA_OK, !hit);
        assert_true(pea_peer_equal(look(b, id).peer, hit ? &alice : &alice2));
        pea_book_free(b);
        assert_int_equal(faults_blocks(), 0);
    }
}

static bool count(const pea_book_entry *e, void *arg)
{
    size_t *counts = arg;
    counts[e->state]++;
    return true;
}

/* A long random life: what is due comes in order, never too early, and nobody is lost. */
static void many(void **state)
{
    enum { PEERS = 200 };
    pea_book *b = open_book();
    test_prng prng = {5};
    uint32_t ids[PEERS];
    size_t dials = 0;
    (void)state;
    for (uint32_t i = 0; i < PEERS; i++) {
        const pea_peer peer = {.kind = PEA_PEER_SPKI, .id = {(uint8_t)i, (uint8_t)(i >> 8), 1}};
        ids[i] = add(b, &peer, (uint16_t)(i + 1));
    }
    for (int64_t now = 0; now < 60000; now += 1 + (int64_t)prng_below(&prng, 40)) {
        pea_book_entry e;
        int64_t last = INT64_MIN;
        while (pea_book_due(b, now, &e) == PEA_OK) {
            assert_true(e.due_ms <= now && e.due_ms >= last);
            last = e.due_ms;
            dials++;
        }
        assert_true(pea_book_next_ms(b) > now);
        for (unsigned n = 0; n < 20; n++) {
            uint32_t i = (uint32_t)prng_below(&prng, PEERS);
            e = look(b, ids[i]);
            if (e.state == PEA_BOOK_DIALLING && prng_below(&prng, 2) == 0)
                check_ok(pea_book_connected(b, ids[i], now));
            else if (e.state == PEA_BOOK_DIALLING || (e.state == PEA_BOOK_CONNECTED && prng_below(&prng, 4) == 0))
                check_ok(pea_book_ended(b, ids[i], now, NULL, &reset));
        }
    }
    size_t counts[5] = {0};
    pea_book_each(b, count, counts);
    assert_int_equal(counts[0] + counts[1] + counts[2], PEERS);
    assert_int_equal(counts[PEA_BOOK_STOPPED], 0);
    assert_true(dials > PEERS);
    pea_book_free(b);
}

static void no_memory(void **state)
{
    size_t blocks = faults_blocks();
    bool hit = true;
    (void)state;
    for (size_t nth = 0; hit; nth++) {
        pea_book *b = NULL;
        const pea_addr at = addr(1);
        faults_arm(nth);
        pea_err err = pea_book_new(&b, NULL, NULL);
        if (err == PEA_OK)
            err = pea_book_add(b, &alice, &at, NULL, NULL);
        if (err == PEA_OK)
            err = pea_book_add(b, NULL, &at, NULL, NULL);
        hit = faults_disarm();
        check_err(err, hit ? PEA_E_NOMEM : PEA_OK);
        pea_book_free(b);
        assert_int_equal(faults_blocks(), blocks);
    }
    pea_book *b = NULL;
    check_err(pea_book_new(&b, PEA_BOOK(.first_ms = 2, .most_ms = 1), NULL), PEA_E_INVALID);
    pea_book_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waits_grow),
        cmocka_unit_test(a_life),
        cmocka_unit_test(what_stops_it),
        cmocka_unit_test(several_addresses),
        cmocka_unit_test(many),
        cmocka_unit_test(no_memory),
        cmocka_unit_test(made_before_broken),
        cmocka_unit_test(a_replacement_that_fails),
        cmocka_unit_test(who_is_replaced),
        cmocka_unit_test(a_worn_key_is_no_failure),
        cmocka_unit_test(either_of_two_keys),
        cmocka_unit_test(each_key_at_each_address),
        cmocka_unit_test(no_memory_for_a_key),
    };
    faults_install();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
