/* SPDX-License-Identifier: MIT */
/* The scene of the tests of runtimes without a libev loop: two Noise nodes of one of them under nothing but poll(). */
#ifndef PEAPOD_TEST_DISPATCH_SCENE_H
#define PEAPOD_TEST_DISPATCH_SCENE_H

#include "support/check.h"

#include "peapod/chain.h"
#include "peapod/node.h"
#include "peapod/trust.h"

#define WAIT_MS 20000 /* for what must come */

struct scene;

typedef struct side {
    struct scene *scene;
    pea_identity *identity;
    pea_trust *trust;
    pea_chain *chain;
    pea_node *node;
    pea_peer peer;
    pea_conn *conn;
    bool echo;
    void (*on_message)(struct side *side, pea_conn *conn);
    unsigned connects, messages, drains, closings, disconnects, failures;
    uint64_t bytes;
    uint32_t sum; /* over all bytes of all messages, in their order */
    pea_reason reason;
} side;

typedef struct scene {
    pea_runtime *runtime;
    side a, b; /* a dials, b listens */
    unsigned dispatches, done;
    char addr[PEA_ADDR_TEXT_BYTES];
} scene;

extern scene s;

/* ---- Nodes ---- */

/* Of each test: a runtime and two parties, who trust each other; at its end callbacks are paired, nothing is left. */
int dispatch_setup(void **state);
int dispatch_teardown(void **state);

void node_new(side *at, pea_runtime *runtime, pea_node_opts *o);
void listen_b(void);
void nodes(void); /* a and b, and b listens */
void dial(void);
void meet(void); /* dials, and waits until both sides are connected */

/* For pea_node_shutdown(): counts in an unsigned. */
void on_done(void *arg);

/* Of all bytes, in their order. */
uint32_t sum_of(uint32_t sum, const uint8_t *data, size_t len);

/* ---- The loop ---- */

int64_t now_ms(void);

/* Whether the runtime has something to do, at once or within the time. */
bool readable(const pea_runtime *runtime, int ms);

/* One dispatch, once there is something to do; when the time is up the test fails. */
void dispatch_turn(int64_t until, const char *what, int line);

#define wait_for(condition)                              \
    do {                                                 \
        int64_t until_ = now_ms() + WAIT_MS;             \
        while (!(condition))                             \
            dispatch_turn(until_, #condition, __LINE__); \
    } while (0)

/* Dispatches until nothing comes any more. */
void rest(void);

#define entry(test) cmocka_unit_test_setup_teardown(test, dispatch_setup, dispatch_teardown)

#endif
