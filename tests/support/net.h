/* SPDX-License-Identifier: MIT */
/* Nodes on one loop with real loopback sockets, and what their callbacks saw. It waits for conditions with a generous
 * deadline, never for time to pass. */
#ifndef PEAPOD_TEST_NET_H
#define PEAPOD_TEST_NET_H

#include "support/check.h"

#include <ev.h>

#include "peapod/stats.h"

typedef struct net net;

/* One node: its script, and what happened to it. Hooks run inside the callback, after it was recorded; all may be
 * NULL. */
typedef struct net_side {
    net *net;
    pea_node *node;
    char addr[PEA_ADDR_TEXT_BYTES]; /* where it listens, after net_listen() */
    pea_listener *listener;
    /* The script. */
    bool echo;
    pea_err accept; /* what on_accept says */
    void (*on_accept)(struct net_side *side);
    void (*on_connect)(struct net_side *side, pea_conn *conn);
    void (*on_message)(struct net_side *side, pea_conn *conn, const uint8_t *data, size_t len);
    void (*on_drain)(struct net_side *side, pea_conn *conn);
    void (*on_end)(struct net_side *side, pea_conn *conn);
    void (*on_closing)(struct net_side *side, pea_conn *conn);
    void (*on_disconnect)(struct net_side *side, pea_conn *conn);
    void (*on_failed)(struct net_side *side);
    void *arg;
    /* What happened. */
    pea_conn *conn; /* the latest that is connected */
    unsigned accepts, connects, messages, drains, ends, closings, disconnects, failures;
    uint64_t bytes;
    uint8_t *last; /* a copy of the latest message */
    size_t last_len;
    pea_reason reason;  /* of the latest disconnect or failure */
    pea_conn_info info; /* of the latest failure */
} net_side;

struct net {
    struct ev_loop *loop;
    pea_runtime *runtime;
    pea_chain *chain, *chain_b; /* of nodes that are given none; b's, if it has another (two identities); or NULL */
    pea_policy *policy;         /* of nodes that are given none; NULL: none */
    net_side a, b;
    ev_timer clock;
    bool late;
    ev_io events;      /* of a runtime without this loop */
    unsigned warnings; /* log lines of level warning or worse */
    char warning[512]; /* the latest */
};

/* A loop, a runtime and a plain chain of this mode; then nodes: net_node() or net_pair(). With PEA_TEST_DISPATCH in the
 * environment the runtime is made without the loop, which only watches its descriptor and dispatches. */
void net_setup(net *n, pea_mode mode);
void net_setup_runtime(net *n, pea_mode mode, pea_runtime_opts *opts);

/* Makes a side's node; chain, callbacks and user are filled in. */
void net_node(net_side *side, pea_node_opts *opts);

/* Listens on 127.0.0.1, port 0. */
void net_listen(net_side *side);

/* Dials the address where `to` listens. Returns the connection's id. */
uint64_t net_dial(net_side *from, const net_side *to);

/* Nodes with default options, a connected to b. */
void net_pair(net *n);

/* Connects a (existing) to b (existing) and waits until both say so. */
void net_meet(net *n);

/* From here on, and for those that have begun as well, so many milliseconds are left to handshakes, to messages that
 * have begun, and to a policy that is asked again. For what must pass: a short time from the start would end on a busy
 * machine what must work before it. */
void net_hurry(net_side *side, uint32_t ms);

/* Few bytes wait with the system from here on, whatever it is configured to hold: less than 1.5 MiB on the way from one
 * such socket to another. */
void net_narrow(int fd);

/* The same for both ends of the latest connection. */
void net_narrow_pair(net *n);

/* Frees nodes, runtime and loop, and checks that nothing is left: connections, buffers, watchers. */
void net_teardown(net *n);

/* Turns the loop until the condition holds; fails after 20 seconds. */
#define net_wait(n, condition)                             \
    do {                                                   \
        net_clock_start(n);                                \
        while (!(condition))                               \
            net_turn((n), #condition, __FILE__, __LINE__); \
        net_clock_stop(n);                                 \
    } while (0)

void net_clock_start(net *n);
void net_clock_stop(net *n);
void net_turn(net *n, const char *waiting_for, const char *file, int line);

/* Does what is due now, and waits for nothing else. */
void net_poll(net *n);

/* How many the node refused for this reason. */
uint64_t net_refused(const net_side *side, pea_refusal reason);

/* ---- A peer without the library: plain blocking sockets, turned together with the loop ---- */

/* Connects to where `to` listens. */
int net_raw_connect(const net_side *to);

/* A socket that will connect from 127.0.NETWORK.HOST: all of 127.0.0.0/8 is ours. */
int net_raw_from(unsigned network, unsigned host);

/* A socket that is bound to `addr` of 127.0.0.1 and listens never: as long as it is open, whoever dials there is
 * refused, and nobody else can take the port and listen. */
int net_raw_nobody(char addr[PEA_ADDR_TEXT_BYTES]);

/* A socket that listens on 127.0.0.1; `addr` is where. */
int net_raw_listen(int backlog, char addr[PEA_ADDR_TEXT_BYTES]);

/* The next connection that is accepted there. */
int net_raw_accept(net *n, int listener);

void net_raw_send(int fd, const void *data, size_t len);

/* Receives until `want` bytes are there or the stream ended. Returns how many; after a reset *reset
 * is set (may be NULL). */
size_t net_raw_recv(net *n, int fd, void *data, size_t want, bool *reset);

/* Plays the initiator's part of a plain native opening up to READY of the node. */
void net_raw_open(net *n, int fd);

#endif
