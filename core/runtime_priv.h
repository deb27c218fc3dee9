/* SPDX-License-Identifier: MIT */
/* What the rooms of the connection core share: runtime, worker, node, listener and connection, and who may call what
 * of each other. */
#ifndef PEAPOD_RUNTIME_PRIV_H
#define PEAPOD_RUNTIME_PRIV_H

#include <ev.h>
#include <pthread.h>
#include <stdatomic.h>

#include "peapod/node.h"
#include "pipe_priv.h"
#include "socket_priv.h"
#include "table_priv.h"

#define PEA__SCRATCH_BYTES 262144u /* one read of a busy connection */
#define PEA__HEADROOM_BYTES 67584u /* before it: the unfinished rest of the read before, at most a record */
#define PEA__READS_PER_EVENT 4u    /* then the others have their turn */
#define PEA__WRITES_PER_EVENT 4u
#define PEA__ACCEPTS_PER_EVENT 16u
#define PEA__ACCEPT_PAUSE_S 0.1 /* when descriptors or memory are exhausted */
#define PEA__CONN_COST 2048u    /* what admission counts for a connection beside its buffers */

/* ---- worker.c: one loop thread ---- */

typedef struct pea__post pea__post;

typedef struct pea__worker {
    pea_runtime *runtime;
    struct ev_loop *loop;
    pea__pool pool;
    uint8_t *scratch;             /* PEA__HEADROOM_BYTES, then PEA__SCRATCH_BYTES */
    pea_conn *round, **round_end; /* to flush or to reap when this round's callbacks are done */
    pea_node *nodes_due;          /* to look after in the same moment: freed, or shut down */
    ev_timer rounds;              /* fed for this round, started for the next */
    const pea_conn *message_of;   /* during its on_message */
    const pea_event *message;
    atomic_bool judge_due; /* a policy changed, and not everybody has been judged again */
    bool inside;           /* one of our callbacks runs */
    bool missed;           /* a watcher came meanwhile, in a nested loop, and did nothing */
    bool nested_told;
    /* The mailbox: the only part that other threads touch. */
    ev_async mail;
    pthread_mutex_t mail_lock;
    pea__post *posts, **posts_end;
    size_t post_bytes;
} pea__worker;

PEA_MUST_CHECK pea_err pea__worker_start(pea__worker *w, pea_runtime *runtime, struct ev_loop *loop);
void pea__worker_stop(pea__worker *w);

/* Every watcher callback begins and ends so. False: an ev_run() inside a callback of ours, where nothing may be
 * done. */
bool pea__worker_enter(pea__worker *w);
void pea__worker_leave(pea__worker *w);

/* The connection is flushed, or reaped, at the end of this round; what a flush makes goes to the next. */
void pea__worker_queue(pea__worker *w, pea_conn *conn);
void pea__worker_queue_node(pea__worker *w, pea_node *node);

/* After a watcher was started, an event fed: whoever waits for the loop shall know, if that is another thread. */
void pea__worker_touch(pea__worker *w);

/* Outside of callbacks: does at once all that is due, so that whoever tears down need not run the loop again. */
void pea__worker_settle(pea__worker *w);

/* ---- mailbox.c: what other threads ask for ---- */

struct pea__post {
    pea__post *next;
    void (*run)(pea__worker *w, pea__post *post); /* on the worker's thread; owns what the post refers to */
    size_t bytes;
    uint64_t conn;
    pea_ticket ticket;
    pea_err verdict;
    pea_msg *msg;
    void (*on_sent)(void *arg, pea_err err);
    void *arg;
    uint16_t code;
    char text[]; /* of a close; terminated */
};

void pea__mailbox_run(pea__worker *w);
void pea__mailbox_drop(pea__worker *w);

/* ---- dispatch.c: a loop of the runtime's own, a thread that waits for it, and a descriptor that tells ---- */

typedef struct pea__dispatch pea__dispatch;

/* A new loop, in which nobody waits yet. PEA_OK | PEA_E_NOMEM | PEA_E_SYS */
PEA_MUST_CHECK pea_err pea__dispatch_new(pea__dispatch **dispatch, struct ev_loop **loop, pea_error *why);

/* Starts the thread, once the watcher that wakes it runs. PEA_OK | PEA_E_SYS */
PEA_MUST_CHECK pea_err pea__dispatch_start(pea__dispatch *dispatch, pea_error *why);

bool pea__dispatch_inside(const pea__dispatch *dispatch); /* pea_runtime_dispatch() is on the stack */
void pea__dispatch_touch(pea__dispatch *dispatch, ev_async *wake);
void pea__dispatch_stop(pea__dispatch *dispatch, ev_async *wake); /* joins the thread */
void pea__dispatch_free(pea__dispatch *dispatch);                 /* and its loop; NULL is allowed */

/* ---- judge.c: policies that change ---- */

typedef struct pea__judge pea__judge;

/* A node begins to use its policy, and ceases to. PEA_OK | PEA_E_NOMEM | as the policy's watch() */
PEA_MUST_CHECK pea_err pea__judge_join(pea_node *node, pea_error *why);
void pea__judge_leave(pea_node *node);

/* Judges the connections of all policies that changed. */
void pea__judge_run(pea__worker *w);

/* ---- runtime.c ---- */

struct pea_runtime {
    pea_runtime *next; /* of all runtimes: tickets name them by serial */
    uint64_t serial;
    unsigned fork_count; /* as it was when the runtime was made */
    pea__worker worker;
    pea__dispatch *dispatch; /* NULL: the loop is the caller's */
    uint64_t memory_limit, last_conn, last_node;
    uint32_t mailbox_bytes, nodes, connections;
    pea_conn *conns;     /* by id */
    pea__judge *judges;  /* by policy */
    const char *noticed; /* the latest notice of a chain that was logged */
    pea_log_fn log;
    void *log_arg;
    pea_log_level log_level;
};

extern unsigned pea__fork_count; /* forks between the first runtime's process and this one */

/* Whether this process is a child of the one that made the runtime. */
static inline bool pea__forked(const pea_runtime *runtime)
{
    return runtime->fork_count != pea__fork_count;
}

/* Says a line if the runtime wants such lines. `conn` may be NULL. */
void pea__log(const pea_runtime *runtime, pea_log_level level, const pea_node *node, const pea_conn *conn,
              const char *text);

/* Calls fn(runtime, arg) for the runtime of this serial, which lives during the call; false: there is none. Any
 * thread. */
bool pea__runtime_with(uint64_t serial, void (*fn)(pea_runtime *runtime, void *arg), void *arg);

/* ---- node.c ---- */

typedef struct pea__done {
    struct pea__done *next;
    void (*fn)(void *arg);
    void *arg;
} pea__done;

struct pea_node {
    pea_runtime *runtime;
    pea_node *due_next;
    char *name;
    pea_node_callbacks on;
    void *user;
    pea_chain *chain;
    pea_codec *codec; /* NULL: its chain is one of PEA_RECORDS */
    pea_policy *policy;
    pea__judge *judge; /* NULL: the policy never changes by itself */
    pea_node *judge_next, **judge_link;
    pea_node_opts limits; /* numbers and times only, defaults filled in; its pointers are NULL */
    pea_listener *listeners;
    pea_conn *conns; /* all of them, the newest first */
    pea_conn *by_addr;
    struct pea__peer_entry *by_peer;
    pea_counts counts;
    int64_t refused_said_ms; /* when refusals were logged last; 0: never */
    uint64_t refused_unsaid; /* and how many there were since */
    pea__done *done;
    ev_timer deadline;
    bool shutting_down, freed, due;
};

void pea__node_due(pea_node *node); /* called in the round: on_done, the end */

/* The node begins to use a chain: what is to be said of it is logged, once for a runtime. */
void pea__node_notice(const pea_node *node, const pea_chain *chain);

/* The codec of connections over `chain`: their own, else the node's; NULL in PEA_RECORDS. Not a new reference. */
pea_codec *pea__node_codec(const pea_node *node, const pea_chain *chain, pea_codec *own);

/* ---- admission.c ---- */

/* May this node have one more connection? PEA_OK, and it is counted as pending | PEA_E_LIMIT, counted and logged,
 * `why` names the limit and its value */
PEA_MUST_CHECK pea_err pea__admission_take(pea_node *node, const pea_addr *remote, pea_error *why);
void pea__admission_refused(pea_node *node); /* by on_accept */
void pea__admission_ready(pea_node *node);   /* pending no more */
void pea__admission_gone(pea_node *node, bool was_ready);

/* ---- registry.c ---- */

typedef struct pea__peer_entry {
    pea_peer_kind kind; /* with the id: the key */
    uint8_t id[PEA_ID_BYTES];
    pea_conn *conn;
    UT_hash_handle hh;
} pea__peer_entry;

PEA_MUST_CHECK pea_err pea__registry_add(pea_conn *conn);
PEA_MUST_CHECK pea_err pea__registry_name(pea_conn *conn); /* once its peer is proven */
void pea__registry_remove(pea_conn *conn);
pea_conn *pea__registry_find(const pea_runtime *runtime, uint64_t id);

/* ---- conn.c ---- */

typedef struct pea__sent {
    struct pea__sent *next;
    uint64_t position; /* of the stream: the message has left when that much has */
    void (*fn)(void *arg, pea_err err);
    void *arg;
} pea__sent;

struct pea_conn {
    pea_pipe *pipe;
    pea__worker *worker;
    pea_node *node;
    ev_io io;
    ev_timer timer;
    uint64_t id;
    int fd;
    int sys_errno; /* what connect() or, once connected, send() said; told from the loop */
    bool connecting, ready, closing, over, paused, blocked, shut, fin, queued, pump_due;
    bool waiting; /* it is READY, and the policy that was asked again has yet to answer */
    uint8_t side;
    uint64_t messages_in, messages_out, bytes_in, bytes_out;
    int64_t since_ms;                    /* this state began */
    int64_t heard_ms;                    /* the last byte received */
    int64_t armed_ms;                    /* when the timer fires; 0: it does not run */
    pea_conn *round_next, *next, **link; /* of the worker's round; of the node */
    pea__sent *sent_last;                /* a ring: its next is the first; NULL: none */
    pea__peer_entry *named;
    void *user;
    pea_addr remote;
    UT_hash_handle hh, hh_addr;
};

/* A connection over a socket, which it owns from here on, also on failure. `dial`: what the dialler was told of the
 * peer; NULL: the peer came to us. */
PEA_MUST_CHECK pea_err pea__conn_new(pea_conn **conn, pea_node *node, int fd, const pea_addr *remote, pea_chain *chain,
                                     pea_codec *codec, const pea_dial_opts *dial, pea_error *why);
void pea__conn_dial(pea_conn *conn, int dial_errno); /* connect() said so: 0, EINPROGRESS or an error */
void pea__conn_begin(pea_conn *conn);                /* the socket is connected */
void pea__conn_finish(pea_conn *conn, const pea_reason *reason);
void pea__conn_abort(pea_conn *conn, pea_origin origin, pea_err err, const char *text);
void pea__conn_judge(pea_conn *conn); /* its policy has changed */
void pea__conn_round(pea_conn *conn); /* in the round: flush, or free */
void pea__conn_pump(pea_conn *conn);  /* delivers events until there are none, or a callback paused or ended it */

/* ---- conn_deadline.c ---- */

void pea__conn_retime(pea_conn *conn); /* after anything that may bring the deadline forward */
void pea__conn_timer_stop(pea_conn *conn);
void pea__conn_on_timer(struct ev_loop *loop, ev_timer *timer, int events);

/* ---- listen_socket.c ---- */

typedef struct pea__listen_socket {
    int fd;
    int passed;      /* the descriptor of the service manager's that it is a copy of; 0: none */
    bool bound_here; /* and not brought: its file is ours to remove */
    pea_addr addr;
} pea__listen_socket;

/* A socket that listens on what `text` and `o` say: bound, brought or passed. PEA_OK | as pea_node_listen() */
PEA_MUST_CHECK pea_err pea__listen_socket_open(const pea_node *node, const char *text, const pea_listen_opts *o,
                                               pea__listen_socket *out, pea_error *why);

/* Removes the file of a Unix socket, if it has one. */
void pea__listen_socket_unlink(const pea_addr *addr);

/* ---- listener.c ---- */

struct pea_listener {
    pea_node *node;
    pea_listener *next;
    ev_io io;
    ev_timer pause;
    int fd, passed; /* as in pea__listen_socket */
    pea_addr addr;
    pea_chain *chain;
    pea_codec *codec;
    bool bound_here;
    bool exhausted; /* the last accept() found no descriptor or memory */
    bool accepting; /* its callback runs: unlisten leaves the memory to it */
};

/* Whether the node listens on a copy of this descriptor, which was passed to the process. */
bool pea__listener_passed(const pea_node *node, int fd);

#endif
