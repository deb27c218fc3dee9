/* SPDX-License-Identifier: MIT */
/* Entries of an address book: found by id and by peer, and, while they wait, held in a heap by the time when they are
 * due. How long they wait is redial.c's business. */
#include "peapod/address_book.h"

#include <assert.h>
#include <string.h>

#include "err_priv.h"
#include "redial_priv.h"
#include "table_priv.h"

#define NOT_WAITING SIZE_MAX

typedef struct entry {
    uint32_t id, failures;
    pea_book_state state;
    uint8_t n_addrs, at; /* how many, and which one is dialled */
    int64_t due_ms;      /* WAITING */
    int64_t since_ms;    /* CONNECTED */
    size_t place;        /* in the heap */
    pea_peer peer;       /* kind NONE: anybody */
    pea_addr addrs[PEA_BOOK_ADDRESSES_MAX];
    uint8_t key[1 + PEA_ID_BYTES]; /* the peer's kind and id */
    UT_hash_handle hh, hh_peer;
} entry;

struct pea_book {
    pea__redial redial;
    uint32_t steady_ms, last_id;
    entry *by_id, *by_peer;
    entry **heap; /* of those that wait, the one that is due first on top; room for all */
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
static void wait_until(pea_book *b, entry *e, int64_t due_ms)
{
    e->state = PEA_BOOK_WAITING;
    e->due_ms = due_ms;
    b->n_heap++;
    sift_up(b, b->n_heap - 1, e);
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

static entry *find_peer(const pea_book *b, const pea_peer *peer)
{
    uint8_t key[1 + PEA_ID_BYTES];
    entry *e;
    make_key(key, peer);
    HASH_FIND(hh_peer, b->by_peer, key, sizeof key, e);
    return e;
}

static bool expects(const entry *e)
{
    return e->peer.kind != PEA_PEER_NONE;
}

static void describe(const entry *e, pea_book_entry *out)
{
    *out = (pea_book_entry){.id = e->id,
                            .state = e->state,
                            .peer = expects(e) ? &e->peer : NULL,
                            .addr = &e->addrs[e->at],
                            .failures = e->failures,
                            .due_ms = e->due_ms};
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

static void unlink_entry(pea_book *b, entry *e)
{
    wait_no_more(b, e);
    if (e->hh.tbl != NULL)
        HASH_DELETE(hh, b->by_id, e);
    if (e->hh_peer.tbl != NULL) {
        assert(b->by_peer != NULL); /* it is in it */
        HASH_DELETE(hh_peer, b->by_peer, e);
    }
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
    if (added && peer != NULL && peer->kind != PEA_PEER_NONE) {
        e->peer = *peer;
        make_key(e->key, peer);
        HASH_ADD(hh_peer, b->by_peer, key, sizeof e->key, e);
        added = e->hh_peer.tbl != NULL;
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
    entry *e = peer != NULL && peer->kind != PEA_PEER_NONE ? find_peer(b, peer) : NULL;
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

/* ---- What happens to an entry ---- */

pea_err pea_book_due(pea_book *b, int64_t mono_ms, pea_book_entry *out)
{
    if (b->n_heap == 0 || b->heap[0]->due_ms > mono_ms)
        return PEA_MORE;
    entry *e = b->heap[0];
    wait_no_more(b, e);
    e->state = PEA_BOOK_DIALLING;
    describe(e, out);
    return PEA_OK;
}

int64_t pea_book_next_ms(const pea_book *b)
{
    return b->n_heap > 0 ? b->heap[0]->due_ms : INT64_MAX;
}

pea_err pea_book_connected(pea_book *b, uint32_t id, int64_t mono_ms)
{
    entry *e = find_id(b, id);
    if (e == NULL)
        return PEA_E_NOT_FOUND;
    wait_no_more(b, e);
    e->state = PEA_BOOK_CONNECTED;
    e->since_ms = mono_ms;
    return PEA_OK;
}

/* Said by the one who was expected, in a channel that proves it. */
static bool is_final(const entry *e, const pea_peer *peer, const pea_reason *reason)
{
    return expects(e) && peer != NULL && pea_peer_equal(&e->peer, peer) && reason->err == PEA_E_REJECTED &&
           (reason->code & PEA_CODE_PERMANENT) != 0;
}

pea_err pea_book_ended(pea_book *b, uint32_t id, int64_t mono_ms, const pea_peer *peer, const pea_reason *reason)
{
    entry *e = find_id(b, id);
    if (e == NULL)
        return PEA_E_NOT_FOUND;
    bool steady = e->state == PEA_BOOK_CONNECTED && mono_ms - e->since_ms >= b->steady_ms;
    wait_no_more(b, e);
    e->failures = steady ? 1 : e->failures < UINT32_MAX ? e->failures + 1 : UINT32_MAX;
    if (is_final(e, peer, reason)) {
        e->state = PEA_BOOK_STOPPED;
        return PEA_OK;
    }
    if (!steady)
        e->at = (uint8_t)((e->at + 1) % e->n_addrs);
    wait_until(b, e, mono_ms + pea__redial_wait(&b->redial, e->failures));
    return PEA_OK;
}

pea_err pea_book_retry(pea_book *b, uint32_t id, int64_t mono_ms)
{
    entry *e = find_id(b, id);
    if (e == NULL)
        return PEA_E_NOT_FOUND;
    if (e->state == PEA_BOOK_DIALLING || e->state == PEA_BOOK_CONNECTED)
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
    const entry *e = peer->kind != PEA_PEER_NONE ? find_peer(b, peer) : NULL;
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
