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
} pea_book_opts;

#define PEA_BOOK(...) (&(pea_book_opts){.size = sizeof(pea_book_opts), __VA_ARGS__})
#define PEA_BOOK_INIT                     \
    {                                     \
        sizeof(pea_book_opts), 0, 0, 0, 0 \
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

/* Forgets an entry; what is connected stays so. PEA_OK | PEA_E_NOT_FOUND */
PEA_API PEA_MUST_CHECK pea_err pea_book_remove(pea_book *book, uint32_t id);

typedef enum pea_book_state {
    PEA_BOOK_WAITING = 0, /* for its time */
    PEA_BOOK_DIALLING,
    PEA_BOOK_CONNECTED,
    PEA_BOOK_STOPPED /* the expected peer itself said that trying again will not help */
} pea_book_state;

typedef struct pea_book_entry {
    uint32_t id; /* counted from 1, never used again */
    pea_book_state state;
    const pea_peer *peer; /* who is expected; NULL: anybody. Good until the entry is removed */
    const pea_addr
        *addr; /* where to dial now, or was dialled last. Good until the entry is removed or another address added */
    uint32_t failures; /* in a row */
    int64_t due_ms;    /* WAITING: when to dial */
} pea_book_entry;

/* The next entry whose time has come: it is DIALLING from here on, and the caller dials entry->addr with entry->peer as
 * expectation. PEA_OK | PEA_MORE: none is due */
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
