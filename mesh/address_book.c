/* SPDX-License-Identifier: MIT */
/* Entries of an address book: found by id and by peer, and, while they are due at some time, held in a heap by it. How
 * long they wait is redial.c's business. */
#include "peapod/address_book.h"

#include <assert.h>
#include <string.h>

#include "err_priv.h"
#include "redial_priv.h"
#include "table_priv.h"

#define NOT_WAITING SIZE_MAX
#define KEYS 2u /* of an entry: the peer's, and the one that it changes to */

typedef struct entry entry;

/* One of the keys by which an entry is found. */
typedef struct name {
    uint8_t key[1 + PEA_ID_BYTES]; /* the peer's kind and id */
    entry *entry;
    UT_hash_handle hh;
} name;

struct entry {
    uint32_t id, failures;
    uint32_t renewals; /* that failed in a row */
    pea_book_state state;
    uint8_t n_addrs, at; /* how many, and which one is dialled */
    bool dialled;        /* by us, and so ours to replace: CONNECTED, RENEWING */
    bool turned;         /* the other key is expected first */
    int64_t due_ms;      /* where it is in the heap */
    int64_t since_ms;    /* CONNECTED, RENEWING */
    uint64_t conn;       /* the same: its id; 0: it was not told */
    uint64_t former;     /* the id of the one whose place it took, and whose end is no news; 0: none */
    size_t place;        /* in the heap */
    pea_peer peer[KEYS]; /* kind NONE: anybody; nobody else */
    name *names[KEYS];   /* of these; NULL where the kind is NONE */
    pea_addr addrs[PEA_BOOK_ADDRESSES_MAX];
    UT_hash_handle hh;
};

struct pea_book {
    pea__redial redial;
    uint32_t steady_ms, max_age_ms, last_id;
    entry *by_id;
    name *by_peer;
    entry **heap; /* of those that are due some time, the one that is due first on top; room for all */
    size_t n_heap, heap_room;
};

/* ---- The heap ---- */

static void put_at(pea_book *b, size_t place, entry *e)
{
    b->heap[place] = e;
    e->place = place;
}

static void sift_up(pea_book *b, size_t place, entry *e)
{
    while (place > 0 && e->due_ms < b->heap[(place - 1) / 2]->due_ms) {
        put_at(b, place, b->heap[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    put_at(b, place, e);
}

static void sift_down(pea_book *b, size_t place, entry *e)
{
    for (;;) {
        size_t child = 2 * place + 1;
        if (child >= b->n_heap)
            break;
        if (child + 1 < b->n_heap && b->heap[child + 1]->due_ms < b->heap[child]->due_ms)
            child++;
        if (e->due_ms <= b->heap[child]->due_ms)
            break;
        put_at(b, place, b->heap[child]);
        place = child;
    }
    put_at(b, place, e);
}

/* There is room: add() saw to it. */
static void due_at(pea_book *b, entry *e, int64_t due_ms)
{
    e->due_ms = due_ms;
    b->n_heap++;
    sift_up(b, b->n_heap - 1, e);
}

static void wait_until(pea_book *b, entry *e, int64_t due_ms)
{
    e->state = PEA_BOOK_WAITING;
    due_at(b, e, due_ms);
}

/* Takes an entry out of the heap, if it waits there. */
static void wait_no_more(pea_book *b, entry *e)
{
    size_t place = e->place;
    if (place == NOT_WAITING)
        return;
    e->place = NOT_WAITING;
    entry *last = b->heap[--b->n_heap];
    if (last == e)
        return;
    if (place > 0 && last->due_ms < b->heap[(place - 1) / 2]->due_ms)
        sift_up(b, place, last);
    else
        sift_down(b, place, last);
}

/* ---- Look-ups ---- */

static entry *find_id(const pea_book *b, uint32_t id)
{
    entry *e;
    HASH_FIND(hh, b->by_id, &id, sizeof id, e);
    return e;
}

static void make_key(uint8_t key[1 + PEA_ID_BYTES], const pea_peer *peer)
{
    key[0] = (uint8_t)peer->kind;
    memcpy(key + 1, peer->id, PEA_ID_BYTES);
}

static name *find_name(const pea_book *b, const pea_peer *peer)
{
    uint8_t key[1 + PEA_ID_BYTES];
    name *n;
    make_key(key, peer);
    HASH_FIND(hh, b->by_peer, key, sizeof key, n);
    return n;
}

static entry *find_peer(const pea_book *b, const pea_peer *peer)
{
    const name *n = find_name(b, peer);
    return n != NULL ? n->entry : NULL;
}

static bool is_somebody(const pea_peer *peer)
{
    return peer != NULL && peer->kind != PEA_PEER_NONE;
}

static bool is_expected(const entry *e, const pea_peer *peer)
{
    for (size_t i = 0; i < KEYS; i++)
        if (is_somebody(peer) && pea_peer_equal(&e->peer[i], peer))
            return true;
    return false;
}

static bool is_connected(const entry *e)
{
    return e->state == PEA_BOOK_CONNECTED || e->state == PEA_BOOK_RENEWING;
}

static void describe(const entry *e, pea_book_entry *out)
{
    bool two = is_somebody(&e->peer[1]);
    *out = (pea_book_entry){.id = e->id,
                            .state = e->state,
                            .peer = is_somebody(&e->peer[0]) ? &e->peer[two && e->turned ? 1 : 0] : NULL,
                            .addr = &e->addrs[e->at],
                            .failures = e->failures,
                            .due_ms = e->due_ms,
                            .peer_next = two ? &e->peer[e->turned ? 0 : 1] : NULL,
                            .conn = is_connected(e) ? e->conn : 0};
}

/* ---- Adding and removing ---- */

static pea_err add_address(entry *e, const pea_addr *addr, pea_error *why)
{
    for (size_t i = 0; i < e->n_addrs; i++)
        if (pea_addr_equal(&e->addrs[i], addr))
            return pea__error(why, PEA_E_EXISTS, "this peer is in the book at this address");
    if (e->n_addrs == PEA_BOOK_ADDRESSES_MAX)
        return pea__error(why, PEA_E_LIMIT, "this peer has 8 addresses in the book already");
    e->addrs[e->n_addrs++] = *addr;
    return PEA_OK;
}

static bool make_room(pea_book *b)
{
    size_t want = HASH_CNT(hh, b->by_id) + 1u;
    if (want <= b->heap_room)
        return true;
    size_t room = b->heap_room < 8 ? 16 : b->heap_room * 2;
    entry **heap = pea__realloc(b->heap, room * sizeof(entry *));
    if (heap == NULL)
        return false;
    b->heap = heap;
    b->heap_room = room;
    return true;
}

static name *add_name(pea_book *b, entry *e, const pea_peer *peer)
{
    name *n = pea__alloc(sizeof *n);
    if (n == NULL)
        return NULL;
    n->entry = e;
    make_key(n->key, peer);
    HASH_ADD(hh, b->by_peer, key, sizeof n->key, n);
    if (n->hh.tbl != NULL)
        return n;
    pea__free(n);
    return NULL;
}

/* NULL is allowed. */
static void remove_name(pea_book *b, name *n)
{
    if (n == NULL)
        return;
    assert(b->by_peer != NULL); /* it is in it */
    HASH_DELETE(hh, b->by_peer, n);
    pea__free(n);
}

static void unlink_entry(pea_book *b, entry *e)
{
    wait_no_more(b, e);
    if (e->hh.tbl != NULL)
        HASH_DELETE(hh, b->by_id, e);
    for (size_t i = 0; i < KEYS; i++)
        remove_name(b, e->names[i]);
    pea__free(e);
}

static entry *add_entry(pea_book *b, const pea_peer *peer)
{
    entry *e = make_room(b) ? pea__alloc(sizeof *e) : NULL;
    if (e == NULL)
        return NULL;
    e->id = b->last_id + 1;
    e->place = NOT_WAITING;
    HASH_ADD(hh, b->by_id, id, sizeof e->id, e);
    bool added = e->hh.tbl != NULL;
    if (added && is_somebody(peer)) {
        e->peer[0] = *peer;
        e->names[0] = add_name(b, e, peer);
        added = e->names[0] != NULL;
    }
    if (!added) {
        unlink_entry(b, e);
        return NULL;
    }
    b->last_id++;
    return e;
}

pea_err pea_book_add(pea_book *b, const pea_peer *peer, const pea_addr *addr, uint32_t *id, pea_error *why)
{
    entry *e = is_somebody(peer) ? find_peer(b, peer) : NULL;
    pea_err err = PEA_OK;
    if (e != NULL) {
        err = add_address(e, addr, why);
    } else {
        e = add_entry(b, peer);
        if (e == NULL)
            return pea__error(why, PEA_E_NOMEM, NULL);
        e->addrs[e->n_addrs++] = *addr;
        wait_until(b, e, 0);
    }
    if (err == PEA_OK && id != NULL)
        *id = e->id;
    return err;
}

pea_err pea_book_remove(pea_book *b, uint32_t id)
{
    entry *e = find_id(b, id);
    if (e == NULL)
        return PEA_E_NOT_FOUND;
    unlink_entry(b, e);
    return PEA_OK;
}

/* ---- Whom an entry expects ---- */

static pea_err check_keys(const pea_book *b, const entry *e, const pea_peer *const peer[KEYS], pea_error *why)
{
    if (!is_somebody(peer[0]))
        return pea__error(why, PEA_E_INVALID, "somebody has to be expected");
    if (is_somebody(peer[1]) && pea_peer_equal(peer[0], peer[1]))
        return pea__error(why, PEA_E_INVALID, "both keys are the same");
    for (size_t i = 0; i < KEYS; i++) {
        const entry *has = is_somebody(peer[i]) ? find_peer(b, peer[i]) : NULL;
        if (has != NULL && has != e)
            return pea__error(why, PEA_E_EXISTS, "another entry expects this peer");
    }
    return PEA_OK;
}

pea_err pea_book_expect(pea_book *b, uint32_t id, const pea_peer *peer, const pea_peer *next, pea_error *why)
{
    const pea_peer *const wanted[KEYS] = {peer, next};
    pea_peer peers[KEYS] = {{.kind = PEA_PEER_NONE}, {.kind = PEA_PEER_NONE}};
    name *names[KEYS] = {NULL, NULL};
    entry *e = find_id(b, id);
    if (e == NULL)
        return pea__error(why, PEA_E_NOT_FOUND, NULL);
    pea_err err = check_keys(b, e, wanted, why);
    for (size_t i = 0; i < KEYS && err == PEA_OK; i++) {
        if (!is_somebody(wanted[i]))
            continue;
        peers[i] = *wanted[i];
        names[i] = find_name(b, wanted[i]);
        if (names[i] == NULL && (names[i] = add_name(b, e, wanted[i])) == NULL)
            err = pea__error(why, PEA_E_NOMEM, NULL);
    }
    /* Whichever set of names loses goes, but for what both have. */
    name **lost = err == PEA_OK ? e->names : names, **kept = err == PEA_OK ? names : e->names;
    for (size_t i = 0; i < KEYS; i++)
        if (lost[i] != kept[0] && lost[i] != kept[1])
            remove_name(b, lost[i]);
    if (err != PEA_OK)
        return err;
    memcpy(e->names, names, sizeof names);
    memcpy(e->peer, peers, sizeof peers);
    e->turned = false;
    return PEA_OK;
}

/* ---- What happens to an entry ---- */

pea_err pea_book_due(pea_book *b, int64_t mono_ms, pea_book_entry *out)
{
    if (b->n_heap == 0 || b->heap[0]->due_ms > mono_ms)
        return PEA_MORE;
    entry *e = b->heap[0];
    wait_no_more(b, e);
    e->state = e->state == PEA_BOOK_CONNECTED ? PEA_BOOK_RENEWING : PEA_BOOK_DIALLING;
    describe(e, out);
    return PEA_OK;
}

int64_t pea_book_next_ms(const pea_book *b)
{
    return b->n_heap > 0 ? b->heap[0]->due_ms : INT64_MAX;
}

/* A session's greatest age, less a part by chance: those that began together do not end together. */
static int64_t age(pea_book *b)
{
    return b->max_age_ms - (int64_t)(pea__mix_next(&b->redial.state) % (b->max_age_ms / 4u + 1));
}

pea_err pea_book_session(pea_book *b, uint32_t id, uint64_t conn, bool dialled, int64_t mono_ms)
{
    entry *e = find_id(b, id);
    if (e == NULL)
        return PEA_E_NOT_FOUND;
    bool another = is_connected(e) && e->conn != 0 && conn != 0 && conn != e->conn;
    if (another && e->dialled && !dialled)
        return PEA_OK; /* the peer's, beside ours */
    wait_no_more(b, e);
    if (another)
        e->former = e->conn;
    e->state = PEA_BOOK_CONNECTED;
    e->since_ms = mono_ms;
    e->conn = conn;
    e->dialled = dialled;
    e->renewals = 0;
    if (b->max_age_ms != 0 && conn != 0 && dialled)
        due_at(b, e, mono_ms + age(b));
    return PEA_OK;
}

pea_err pea_book_connected(pea_book *b, uint32_t id, int64_t mono_ms)
{
    return pea_book_session(b, id, 0, false, mono_ms);
}

static uint32_t one_more(uint32_t failures)
{
    return failures < UINT32_MAX ? failures + 1 : failures;
}

/* The next dial tries another way: where else the peer may be, and which of its keys comes first. Of an even number of
 * addresses each would always meet the same key: then that stays once in a round. */
static void turn(entry *e)
{
    e->at = (uint8_t)((e->at + 1) % e->n_addrs);
    if (e->at != 0 || e->n_addrs % 2 != 0)
        e->turned = !e->turned;
}

/* Said by the one who was expected, in a channel that proves it. */
static bool is_final(const entry *e, const pea_peer *peer, const pea_reason *reason)
{
    return is_expected(e, peer) && reason->err == PEA_E_REJECTED && (reason->code & PEA_CODE_PERMANENT) != 0;
}

/* It was another connection that ended than the entry's: the one that was to take its place, or the one whose place it
 * took, or one beside it. */
static void other_ended(pea_book *b, entry *e, uint64_t conn, int64_t mono_ms)
{
    if (conn == e->former) {
        e->former = 0;
    } else if (e->state == PEA_BOOK_RENEWING) {
        e->state = PEA_BOOK_CONNECTED;
        e->renewals = one_more(e->renewals);
        turn(e);
        due_at(b, e, mono_ms + pea__redial_wait(&b->redial, e->renewals));
    }
}

pea_err pea_book_session_ended(pea_book *b, uint32_t id, uint64_t conn, int64_t mono_ms, const pea_peer *peer,
                               const pea_reason *reason)
{
    entry *e = find_id(b, id);
    if (e == NULL)
        return PEA_E_NOT_FOUND;
    if (conn != 0 && (conn == e->former || (is_connected(e) && e->conn != 0 && conn != e->conn))) {
        other_ended(b, e, conn, mono_ms);
        return PEA_OK;
    }
    bool steady = is_connected(e) && mono_ms - e->since_ms >= b->steady_ms;
    wait_no_more(b, e);
    e->failures = steady ? 1 : one_more(e->failures);
    if (e->state == PEA_BOOK_RENEWING) { /* what was to take its place is on its way already */
        e->state = PEA_BOOK_DIALLING;
        return PEA_OK;
    }
    if (is_final(e, peer, reason)) {
        e->state = PEA_BOOK_STOPPED;
        return PEA_OK;
    }
    if (!steady)
        turn(e);
    bool worn = steady && (reason->code & ~PEA_CODE_PERMANENT) == PEA_CODE_KEY_LIMIT; /* nothing is amiss */
    wait_until(b, e, mono_ms + (worn ? 0 : pea__redial_wait(&b->redial, e->failures)));
    return PEA_OK;
}

pea_err pea_book_ended(pea_book *b, uint32_t id, int64_t mono_ms, const pea_peer *peer, const pea_reason *reason)
{
    return pea_book_session_ended(b, id, 0, mono_ms, peer, reason);
}

pea_err pea_book_renew(pea_book *b, uint32_t id, int64_t mono_ms)
{
    entry *e = find_id(b, id);
    if (e == NULL)
        return PEA_E_NOT_FOUND;
    if (e->state != PEA_BOOK_CONNECTED || e->conn == 0 || !e->dialled)
        return PEA_E_STATE;
    wait_no_more(b, e);
    due_at(b, e, mono_ms);
    return PEA_OK;
}

pea_err pea_book_retry(pea_book *b, uint32_t id, int64_t mono_ms)
{
    entry *e = find_id(b, id);
    if (e == NULL)
        return PEA_E_NOT_FOUND;
    if (e->state == PEA_BOOK_DIALLING || is_connected(e))
        return PEA_OK;
    wait_no_more(b, e);
    e->failures = 0;
    wait_until(b, e, mono_ms);
    return PEA_OK;
}

/* ---- Looking in ---- */

pea_err pea_book_find(const pea_book *b, uint32_t id, pea_book_entry *out)
{
    const entry *e = find_id(b, id);
    if (e == NULL)
        return PEA_E_NOT_FOUND;
    describe(e, out);
    return PEA_OK;
}

pea_err pea_book_find_peer(const pea_book *b, const pea_peer *peer, pea_book_entry *out)
{
    const entry *e = is_somebody(peer) ? find_peer(b, peer) : NULL;
    if (e == NULL)
        return PEA_E_NOT_FOUND;
    describe(e, out);
    return PEA_OK;
}

void pea_book_each(const pea_book *b, bool (*fn)(const pea_book_entry *entry, void *arg), void *arg)
{
    for (const entry *e = b->by_id; e != NULL; e = e->hh.next) {
        pea_book_entry out;
        describe(e, &out);
        if (!fn(&out, arg))
            return;
    }
}

/* ---- Life ---- */

pea_err pea_book_new(pea_book **book, const pea_book_opts *opts, pea_error *why)
{
    pea_book_opts o = PEA_BOOK_INIT;
    pea_err err = pea__options(&o, sizeof o, opts, why);
    if (err != PEA_OK)
        return err;
    pea__redial redial = {
        .first_ms = o.first_ms != 0 ? o.first_ms : 500, .most_ms = o.most_ms != 0 ? o.most_ms : 60000, .state = o.seed};
    if (redial.first_ms > redial.most_ms)
        return pea__error(why, PEA_E_INVALID, "first_ms is above most_ms");
    pea_book *b = pea__alloc(sizeof *b);
    if (b == NULL)
        return pea__error(why, PEA_E_NOMEM, NULL);
    if (redial.state == 0) /* the keyed hash is as random as a jitter needs: it differs between processes and books */
        redial.state = pea__table_hash(&b, sizeof(pea_book *));
    b->redial = redial;
    b->steady_ms = o.steady_ms != 0 ? o.steady_ms : 10000;
    b->max_age_ms = o.max_age_ms;
    *book = b;
    return PEA_OK;
}

void pea_book_free(pea_book *b)
{
    if (b == NULL)
        return;
    while (b->by_id != NULL)
        unlink_entry(b, b->by_id);
    pea__free(b->heap);
    pea__free(b);
}
