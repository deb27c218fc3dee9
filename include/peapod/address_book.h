/* SPDX-License-Identifier: MIT */
/* Whom a node wants to be connected to, where they may be found, and when to dial them again. No I/O and no clock: time
 * is passed in, dials are the caller's (pea_node_connect). One thread at a time.
 *
 * The rhythm: at start and whenever pea_book_next_ms() has come, take entries by pea_book_due() and dial them; tell the
 * book what became of each dial and connection. */
#ifndef PEAPOD_ADDRESS_BOOK_H
#define PEAPOD_ADDRESS_BOOK_H

#include "peapod/addr.h"
#include "peapod/peer.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct pea_book pea_book;

typedef struct pea_book_opts {
    size_t size;       /* set by PEA_BOOK */
    uint32_t first_ms; /* wait after the first failure; it doubles with each further one; 0: 500 */
    uint32_t most_ms;  /* the longest wait; 0: 60,000 */
    /* a connection that ends sooner counts as one more failure, else failures are forgotten; 0: 10,000 */
    uint32_t steady_ms;
    uint64_t seed; /* of the jitter, which takes away up to half of each wait; 0: from the system */
    /* a session that we dialled, and that was told by pea_book_session(), is replaced by a new one at this age, less up
     * to a quarter of it by chance; 0: never */
    uint32_t max_age_ms;
} pea_book_opts;

#define PEA_BOOK(...) (&(pea_book_opts){.size = sizeof(pea_book_opts), __VA_ARGS__})
#define PEA_BOOK_INIT                        \
    {                                        \
        sizeof(pea_book_opts), 0, 0, 0, 0, 0 \
    }

#define PEA_BOOK_ADDRESSES_MAX 8u /* of one entry: a peer has a few interfaces, not a network */

/* An empty book. `opts` may be NULL. PEA_OK | PEA_E_NOMEM | PEA_E_INVALID: first_ms is above most_ms */
PEA_API PEA_MUST_CHECK pea_err pea_book_new(pea_book **book, const pea_book_opts *opts, pea_error *why);

/* Frees it. NULL is allowed. */
PEA_API void pea_book_free(pea_book *book);

/* Adds a peer at an address. `peer` is who is expected there; NULL: anybody whom the policy allows. A peer that is in
 * the book already gets the address as one more place to look, and its entry is `*id`; an entry for anybody is always a
 * new one. A new entry is due at once. `id` may be NULL.
 * PEA_OK | PEA_E_EXISTS (this peer at this address) | PEA_E_LIMIT (too many addresses) | PEA_E_NOMEM */
PEA_API PEA_MUST_CHECK pea_err pea_book_add(pea_book *book, const pea_peer *peer, const pea_addr *addr, uint32_t *id,
                                            pea_error *why);

/* Changes whom an entry expects; by either of the two it is found. While a peer changes its key: the key that it has
 * and the one that it will have; afterwards the new one alone. `next` may be NULL: nobody else.
 * PEA_OK | PEA_E_NOT_FOUND | PEA_E_EXISTS (another entry expects one of them) | PEA_E_INVALID (nobody, or one twice) |
 * PEA_E_NOMEM: nothing has changed */
PEA_API PEA_MUST_CHECK pea_err pea_book_expect(pea_book *book, uint32_t id, const pea_peer *peer, const pea_peer *next,
                                               pea_error *why);

/* Forgets an entry; what is connected stays so. PEA_OK | PEA_E_NOT_FOUND */
PEA_API PEA_MUST_CHECK pea_err pea_book_remove(pea_book *book, uint32_t id);

typedef enum pea_book_state {
    PEA_BOOK_WAITING = 0, /* for its time */
    PEA_BOOK_DIALLING,
    PEA_BOOK_CONNECTED,
    PEA_BOOK_STOPPED, /* the expected peer itself said that trying again will not help */
    PEA_BOOK_RENEWING /* connected, and dialling the connection that is to take its place */
} pea_book_state;

typedef struct pea_book_entry {
    uint32_t id; /* counted from 1, never used again */
    pea_book_state state;
    const pea_peer *peer; /* who is expected; NULL: anybody. Good until the entry is removed */
    const pea_addr
        *addr; /* where to dial now, or was dialled last. Good until the entry is removed or another address added */
    uint32_t failures; /* in a row */
    int64_t due_ms;    /* WAITING: when to dial */
    /* the other key that the peer may have, beside `peer`; NULL: none. Which of the two is `peer` changes with each
     * failure: Noise patterns that must know the key beforehand try one after the other. Good as `peer` */
    const pea_peer *peer_next;
    uint64_t conn; /* CONNECTED, RENEWING: the session, as it was told; else 0 */
} pea_book_entry;

/* The next entry whose time has come: it is DIALLING from here on, or RENEWING if it is connected, and the caller dials
 * entry->addr: pea_node_connect() with PEA_DIAL(.expect = entry->peer, .expect_next = entry->peer_next, .replaces =
 * entry->conn). PEA_OK | PEA_MORE: none is due */
PEA_API PEA_MUST_CHECK pea_err pea_book_due(pea_book *book, int64_t mono_ms, pea_book_entry *entry);

/* When pea_book_due() is worth asking again, as mono_ms; INT64_MAX: not before something is told to the book. */
PEA_API int64_t pea_book_next_ms(const pea_book *book);

/* It is READY; also where the peer dialled us: an entry that waits is satisfied by that.
 * PEA_OK | PEA_E_NOT_FOUND */
PEA_API PEA_MUST_CHECK pea_err pea_book_connected(pea_book *book, uint32_t id, int64_t mono_ms);

/* The dial or handshake failed, or the connection ended; `peer` is whom the connection proved (PEA_PEER_NONE or NULL:
 * nobody). It waits, longer each time, and tries the entry's next address. Only a permanent REJECT of the expected peer
 * stops it: what a stranger at that address says does not count.
 * PEA_OK | PEA_E_NOT_FOUND */
PEA_API PEA_MUST_CHECK pea_err pea_book_ended(pea_book *book, uint32_t id, int64_t mono_ms, const pea_peer *peer,
                                              const pea_reason *reason);

#define PEA_BOOK_NO_CONN UINT64_MAX /* of a dial that pea_node_connect() refused */

/* The same two for who has sessions replaced: they name the connection (pea_conn_id(), also of one that failed: its
 * pea_conn_info), since for a while there are two. `dialled`: by us, and so ours to replace. The end of the older one
 * and a replacement that fails leave the entry connected; a replacement that failed is tried again, later each time.
 * A session that ends because a key has done all its work (PEA_CODE_KEY_LIMIT) is dialled again at once. */
PEA_API PEA_MUST_CHECK pea_err pea_book_session(pea_book *book, uint32_t id, uint64_t conn, bool dialled,
                                                int64_t mono_ms);
PEA_API PEA_MUST_CHECK pea_err pea_book_session_ended(pea_book *book, uint32_t id, uint64_t conn, int64_t mono_ms,
                                                      const pea_peer *peer, const pea_reason *reason);

/* Makes the replacement of an entry's session due at once: the peer's key has changed, or ours. PEA_OK |
 * PEA_E_NOT_FOUND | PEA_E_STATE (there is none that we dialled, or it is being replaced) */
PEA_API PEA_MUST_CHECK pea_err pea_book_renew(pea_book *book, uint32_t id, int64_t mono_ms);

/* Makes an entry due at once and forgets its failures: a stopped one goes on; one that is connected or being dialled is
 * left alone. PEA_OK | PEA_E_NOT_FOUND */
PEA_API PEA_MUST_CHECK pea_err pea_book_retry(pea_book *book, uint32_t id, int64_t mono_ms);

/* Looks an entry up: by its id, or by the peer that is expected. PEA_OK | PEA_E_NOT_FOUND */
PEA_API PEA_MUST_CHECK pea_err pea_book_find(const pea_book *book, uint32_t id, pea_book_entry *entry);
PEA_API PEA_MUST_CHECK pea_err pea_book_find_peer(const pea_book *book, const pea_peer *peer, pea_book_entry *entry);

/* Calls fn for every entry until it returns false; fn must not change the book. */
PEA_API void pea_book_each(const pea_book *book, bool (*fn)(const pea_book_entry *entry, void *arg), void *arg);

#ifdef __cplusplus
}
#endif
#endif
