/* SPDX-License-Identifier: MIT */
/* A small world in which each allocation of the library fails once: Alice dials, Bob listens, and a stranger whom
 * nobody trusts tries to get in all the while. A run is one act of theirs with one failure; whatever it hit, the books
 * must balance, the stranger stays outside, and the next ordinary conversation works.
 *
 * What libev, mbedTLS and libsodium allocate of their own is not among what fails: libev aborts, mbedTLS and libsodium
 * take from malloc. */
#ifndef PEAPOD_TEST_OOM_SCENE_H
#define PEAPOD_TEST_OOM_SCENE_H

#include "support/check.h"

#include <ev.h>
#include <pthread.h>
#include <stdatomic.h>

#include "peapod/chain.h"
#include "peapod/identity.h"
#include "peapod/node.h"
#include "peapod/trust.h"

enum { TICKETS = 8, LARGE = 300000 }; /* more than the high-water mark and than a read: it comes in parts */

typedef struct scene scene;

typedef struct actor {
    scene *s;
    pea_identity *identity; /* stays over all runs */
    pea_peer peer;
    pea_chain *chain;
    pea_trust *trust;
    pea_node *node;
    char addr[PEA_ADDR_TEXT_BYTES]; /* where the node listens */
    unsigned dials;
    /* Counted on any thread: */
    atomic_uint connects, disconnects, failures, dials_ended, messages;
    atomic_uint sent;       /* messages that went out */
    atomic_uint owed, told; /* confirmations of sends, broadcasts and shutdowns */
    atomic_uint wrong;      /* met whom nobody may meet, or a callback out of order */
    atomic_ullong id;       /* of the latest connection that is ready; 0: none */
} actor;

struct scene {
    actor alice, bob, stranger;
    unsigned workers;
    struct ev_loop *loop;
    pea_runtime *runtime;
    ev_async wake; /* something was counted */
    ev_timer clock;
    bool late;
    bool talks;          /* Alice speaks first, Bob echoes */
    pea_policy *patient; /* waits with each verdict; of acts that want it */
    pthread_mutex_t lock;
    pea_ticket tickets[TICKETS];
    pea_peer asked[TICKETS]; /* about whom */
    atomic_uint n_tickets;
    size_t blocks; /* that were out before all runs */
};

/* What happens in a run, as far as memory allows. True: all of it did; it must when nothing fails. */
typedef struct act {
    const char *name;
    bool (*play)(scene *s);
    bool one_per_peer; /* of both nodes */
    bool patient;      /* Bob's policy waits */
    unsigned rank;     /* 0: worth playing with each chain and any threads; 1: with each chain; 2: once */
} act;

extern const act acts[]; /* ends with one without a name */

/* Plays each act of no more than this rank over and over, with its first allocation failing, its second, and so on.
 * With worker threads the count is nobody's to repeat: there are as many runs, and the same must hold. */
void scene_open(scene *s, unsigned workers, void (*cast)(scene *s));
void scene_play(scene *s, unsigned rank, void (*chain)(actor *who));
void scene_close(scene *s);

/* ---- For acts ---- */

#define until(s, condition)                                    \
    do {                                                       \
        scene_clock((s), true);                                \
        while (!(condition)) {                                 \
            if ((s)->late)                                     \
                fail_msg("waited in vain for %s", #condition); \
            scene_turn(s);                                     \
        }                                                      \
        scene_clock((s), false);                               \
    } while (0)

void scene_clock(scene *s, bool on);
void scene_turn(scene *s);
void scene_say(scene *s);

/* The call did what it should, or had no memory; anything else fails the test. */
#define did(call) did_at((call), #call, __FILE__, __LINE__)
bool did_at(pea_err err, const char *what, const char *file, int line);

/* Begins a dial. False: there was no memory for it. */
bool actor_dial(actor *from, const char *addr, const actor *expect);

/* Dials and waits for the end of that. True: it is ready on this side. */
bool actor_meet(actor *from, const char *addr, const actor *expect);

/* True: connected once more than disconnected. */
bool actor_is_connected(const actor *who);

void on_sent(void *arg, pea_err err); /* arg: who owes it */
void on_asked(void *arg, const pea_broadcast_result *result);
void on_done(void *arg);

#endif
