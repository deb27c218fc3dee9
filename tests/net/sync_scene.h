/* SPDX-License-Identifier: MIT */
/* The scene of the blocking client's tests: who it may talk to, a node and peers without the library, and the words it
 * says. */
#ifndef PEAPOD_TEST_SYNC_SCENE_H
#define PEAPOD_TEST_SYNC_SCENE_H

#include "support/check.h"

#include <ev.h>
#include <pthread.h>

#include "peapod/chain.h"
#include "peapod/node.h"
#include "peapod/sync.h"
#include "peapod/trust.h"

#define LONG_MS 20000u /* for what must come: it takes milliseconds, on a busy machine more */
#define SHORT_MS 60u   /* for what never comes */
#define RECORD_MOST 65519u
#define LARGE 1000000u

extern uint8_t block[LARGE]; /* what messages are made of */
extern pea_peer id[2];       /* with Noise: the client, the server */

/* ---- Chains: what a client and a server share ---- */

typedef enum kind { NOISE, PLAIN, NOISE_STREAM, PLAIN_STREAM, NOISE_RECORDS, KINDS, TLS = KINDS, TLS_STREAM } kind;

extern unsigned kinds; /* KINDS, with those of TLS where there is TLS */

bool plain(kind k);
const pea_peer *id_of(kind k, pea_side side);
pea_chain *chain_of(kind k, pea_side side);

/* ---- A node on a thread of its own: it echoes, but for commands that begin with "!" ---- */

typedef struct server {
    pthread_t thread;
    struct ev_loop *loop;
    pea_runtime *runtime;
    pea_node *node;
    pea_chain *chain;
    pea_trust *trust;
    ev_async stop;
    char addr[PEA_ADDR_TEXT_BYTES];
    unsigned flood; /* messages still to send */
    /* Good after server_stop(). */
    unsigned connects, disconnects, failures, messages;
    uint64_t bytes;
    pea_reason reason; /* of the last disconnect or failure */
} server;

/* On 127.0.0.1, or where it is said. */
void server_start(server *s, kind k);
void server_start_at(server *s, kind k, const char *addr);

/* All of it but the thread. */
void server_make(server *s, kind k, const char *addr);

/* Ends it, and checks that the callbacks were paired. */
void server_stop(server *s);

/* ---- The client. What is not as it should be fails the test ---- */

/* `opts` get the chain, and whom to expect unless they say it. */
pea_err try_connect(pea_sync **sync, const char *addr, kind k, pea_sync_opts *opts, pea_error *why);
pea_sync *connected(const char *addr, kind k);
void say(pea_sync *sync, const char *word);
void expect_bytes(pea_sync *sync, const void *want, size_t want_len);
void expect_end(pea_sync *sync, pea_err end);

/* ---- Peers without the library: plain bytes in the length codec ---- */

typedef struct raw {
    int listener, fd;
    char addr[PEA_ADDR_TEXT_BYTES];
} raw;

void raw_listen(raw *r);
pea_sync *raw_meet(raw *r); /* listens, and connects a client to it */
void raw_end(raw *r);
void put_length(uint8_t at[4], uint32_t len);
void write_all(int fd, const void *data, size_t len);
void raw_say(raw *r, const void *data, uint32_t len);

/* Makes the identities and runs the tests. Returns how many failed. */
int sync_scene_run(const char *name, const struct CMUnitTest *tests, size_t n);

#endif
