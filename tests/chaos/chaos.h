/* SPDX-License-Identifier: MIT */
/* What the rooms of the chaos test share. */
#ifndef PEAPOD_TEST_CHAOS_H
#define PEAPOD_TEST_CHAOS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdnoreturn.h>

#include "peapod/addr.h"

/* Ends the program with a sentence and the seed. Any thread. */
noreturn void chaos_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- Chance: one sequence for each thread; what threads make of each other is nobody's to repeat ---- */

void chance_seed(uint64_t seed);
uint64_t chance(uint64_t below); /* 0: 0. Threads that were not seeded seed themselves */

/* ---- The ledger: what is owed, and what was done; any thread ---- */

typedef struct ledger {
    atomic_ulong connects, disconnects, messages;
    atomic_ulong dials, dial_connects, dial_failures, other_failures; /* a dial of ours ends in one of the next two */
    atomic_ulong handed_over, taken; /* nodes that were taken from, and takes that may have done it */
    atomic_ulong sends_owed, sends_told, broadcasts_owed, broadcasts_told, shutdowns_owed, shutdowns_told;
} ledger;

extern ledger books;

/* Fails where something that is owed was not done, or was done twice. When all is over. */
void ledger_check(void);

/* ---- town.c: the nodes, on the loop's thread ---- */

typedef enum action {
    /* On the loop's thread: */
    SPAWN,
    FREE,
    SHUT_DOWN,
    LISTEN,
    UNLISTEN,
    CONNECT,
    BROADCAST,
    SEND_PEER,
    CLOSE_PEER,
    EACH,
    BAN,
    PAUSE,
    MEASURE,
    OFFER,
    EXCHANGE,
    LAST_ON_LOOP = EXCHANGE,
    /* On any: */
    SEND,
    CLOSE,
    REVOKE,
    FORGIVE,
    RELOAD,
    TAKE,
    RESOLVE,
    VANDALISE,
    ACTIONS
} action;

extern const char *const action_names[ACTIONS];

struct ev_loop;
void town_open(struct ev_loop *loop, unsigned workers, const char *folder);
void town_act(action what); /* up to LAST_ON_LOOP, on the loop's thread */
void town_act_anywhere(action what);
bool town_closed(void); /* ends the nodes that are left; false: some are on their way */
void town_close(void);  /* once there are none */

/* Where some node listens by IPv4, or did a moment ago. False: nowhere. Any thread. */
bool town_address(pea_addr *addr);

/* ---- heir.c: successors that take a node's listening sockets over, each with a runtime of its own ---- */

/* Takes what is offered at this path, if anything is, and lets it go again. Any thread. */
void heir_take(const char *path);

/* ---- vandal.c: peers that misbehave, on their own sockets ---- */

#define VANDAL_SOCKETS 6

typedef struct vandal {
    int fds[VANDAL_SOCKETS]; /* -1: none */
} vandal;

void vandal_init(vandal *v);
void vandal_act(vandal *v, const pea_addr *to); /* one rude thing; NULL: there is nobody to dial */
void vandal_leave(vandal *v);

#endif
