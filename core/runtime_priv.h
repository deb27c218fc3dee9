/* SPDX-License-Identifier: MIT */
/* What the rooms of the connection core share: runtime, worker, node, listener and connection, and who may call what
 * of each other. */
#ifndef PEAPOD_RUNTIME_PRIV_H
#define PEAPOD_RUNTIME_PRIV_H

#include <ev.h>
#include <pthread.h>
#include <stdatomic.h>

#include "compiler_priv.h"
#include "index_priv.h"
#include "peapod/node.h"
#include "pipe_priv.h"
#include "prefix_table_priv.h"
#include "socket_priv.h"
#include "stats_priv.h"
#include "table_priv.h"

#define PEA__SCRATCH_BYTES 262144u /* one read of a busy connection */
#define PEA__HEADROOM_BYTES 67584u /* before it: the unfinished rest of the read before, at most a record */
#define PEA__READS_PER_EVENT 4u    /* then the others have their turn */
#define PEA__WRITES_PER_EVENT 4u
#define PEA__ACCEPTS_PER_EVENT 16u
#define PEA__ACCEPT_PAUSE_S 0.1      /* when descriptors or memory are exhausted */
#define PEA__ROOM_PAUSE_S 0.001      /* until somebody on another thread has made room */
#define PEA__HANDSHAKES_PER_ROUND 4u /* that a thread begins for others, however short the round is */
#define PEA__HANDSHAKES_PART 4       /* of what else a thread does in a round, they may have one part in so many */
#define PEA__CONN_COST 2048u /* what admission counts for a connection beside its buffers, and what its chain says */

/* ---- worker.c: one loop thread ---- */

typedef struct pea__post pea__post;

typedef struct pea__line { /* of connections, by id: a ring */
    uint64_t *ids;
    size_t first, len, room;
} pea__line;

typedef struct pea__worker {
    pea_runtime *runtime;
    struct ev_loop *loop;
    pea__index conns; /* its own, by id */
    pea__pool pool;
    uint8_t *scratch;                   /* PEA__HEADROOM_BYTES, then PEA__SCRATCH_BYTES */
    pea_conn *round, **round_end;       /* to flush or to reap when this round's callbacks are done */
    pea__line known, strangers;         /* metering.c: who waits to begin a handshake */
    uint32_t paid;                      /* handshakes begun in this round */
    int64_t paid_ms;                    /* when those of the round before had been; 0: nobody waited on */
    int64_t (*work_ms)(void);           /* that clock: pea__work_ms(), but in tests */
    pea_node *nodes_due;                /* to look after in the same moment: freed, or shut down */
    ev_timer rounds;                    /* fed for this round, started for the next */
    ev_timer trim;                      /* of the pool: it runs while traffic needs more than is kept otherwise */
    ev_timer unsaid;                    /* log.c: it runs while log lines were left out here */
    const pea_conn *event_of;           /* whose events are being told */
    const pea_event *event;             /* the one that is */
    atomic_uint_fast64_t partial_bytes; /* partial.c: that its connections hold; nobody else writes it */
    uint64_t shed_at;                   /* when that is worth a look again */
    atomic_bool shed_due;
    atomic_bool judge_due; /* a policy changed, and not everybody has been judged again */
    unsigned fork_count;   /* its runtime's: asked by every send */
    bool inside;           /* one of our callbacks runs */
    bool missed;           /* a watcher came meanwhile, in a nested loop, and did nothing */
    bool nested_told;
    uint32_t index;        /* the caller's loop is 0; of every connection's id, modulo the number of workers */
    pthread_t thread;      /* of our own, from 1 on */
    atomic_bool sweep_due; /* nodes have ended; with `stopping` its thread is to end */
    atomic_bool stopping;
    atomic_uint connected; /* connections that were given to it and have not ended */
    /* The mailbox: the only part that other threads touch, beside what is atomic. */
    ev_async mail;
    pthread_mutex_t mail_lock;
    pthread_cond_t mail_came; /* for who waits outside of his loop */
    pea__post *posts, **posts_end;
    size_t post_bytes;
} pea__worker;

/* PEA_OK | PEA_E_NOMEM | PEA_E_SYS */
PEA_MUST_CHECK pea_err pea__worker_start(pea__worker *w, pea_runtime *runtime, struct ev_loop *loop, pea_error *why);
void pea__worker_stop(pea__worker *w);

/* The worker whose thread this is. */
pea__worker *pea__worker_here(const pea_runtime *runtime);

/* Every watcher callback begins and ends so. False: an ev_run() inside a callback of ours, where nothing may be
 * done. */
bool pea__worker_enter(pea__worker *w);
void pea__worker_leave(pea__worker *w);

/* The connection is flushed, or reaped, at the end of this round; what a flush makes goes to the next. */
void pea__worker_queue(pea__worker *w, pea_conn *conn);
void pea__worker_queue_node(pea__worker *w, pea_node *node);

/* There is something to do at the end of the next round. */
void pea__worker_rounds(pea__worker *w);

/* After a watcher was started, an event fed: whoever waits for the loop shall know, if that is another thread. */
void pea__worker_touch(pea__worker *w);

/* Outside of callbacks, for who tears down: does now what the loop would do in its next round, and waits for mail where
 * there is nothing to do. */
void pea__worker_turn(pea__worker *w);

/* ---- metering.c: what handshakes a thread begins in a round ---- */

void pea__metering_ask(pea_conn *conn);   /* its pipe asks to be paid for */
bool pea__metering_round(pea__worker *w); /* once in a round; true: somebody waits for the next one */
void pea__metering_stop(pea__worker *w);

/* ---- mailbox.c: what other threads ask for ---- */

struct pea__post {
    pea__post *next;
    void (*run)(pea__worker *w, pea__post *post); /* on the worker's thread; the post is its own */
    size_t bytes;
    void (*ask)(pea_conn *conn);
    bool owed; /* it is run also where the runtime ends */
    uint64_t conn;
    pea_ticket ticket;
    pea_err verdict;
    pea_msg *msg;
    void (*on_sent)(void *arg, pea_err err); /* told PEA_E_STALE where the runtime ends before it is run */
    void *arg;
    uint16_t code;
    char text[]; /* of a close; terminated */
};

/* Calls fn for a connection on its own thread, if it is there still. False: there is no memory, and nothing happens.
 * Any loop thread. */
bool pea__mailbox_ask(pea_runtime *runtime, uint64_t conn, void (*fn)(pea_conn *conn));

/* The same in two steps, for who must not fail when the time comes: the letter is made before (NULL: no memory), then
 * sent, or freed by pea__free(). */
pea__post *pea__mailbox_letter(void);
void pea__mailbox_send(pea_runtime *runtime, pea__post *letter, uint64_t conn, void (*fn)(pea_conn *conn));

/* The same, and where there is one thread it is done before this returns: nothing is sent in between. */
void pea__mailbox_tell(pea_runtime *runtime, pea__post *letter, uint64_t conn, void (*fn)(pea_conn *conn));

/* A post from within: it does not count against the mailbox's bound. Any thread. */
void pea__mailbox_post(pea__worker *w, pea__post *post);
void pea__mailbox_run(pea__worker *w);
pea__worker *pea__mailbox_of(pea_runtime *runtime, uint64_t conn); /* to whom a connection belongs: ids say so */
void pea__mailbox_wait(pea__worker *w);                            /* until there is a post */
void pea__mailbox_drop(pea__worker *w);

/* ---- placement.c: loop threads of our own, and which connection belongs to which ---- */

/* Starts n threads. PEA_OK | PEA_E_SYS | PEA_E_NOMEM: none is left */
PEA_MUST_CHECK pea_err pea__threads_start(pea_runtime *runtime, uint32_t n, pea_error *why);
void pea__threads_stop(pea_runtime *runtime);

/* The worker that has least to do; the caller's loop where there is no thread. */
pea__worker *pea__least_loaded(pea_runtime *runtime);

/* Gives a new connection to its worker: from here on only that one's thread touches it. */
void pea__conn_place(pea_conn *conn);

/* Ends a connection, on its own thread, unless it is READY by then. False: there is no memory, and nothing happens. */
bool pea__conn_make_room(pea_runtime *runtime, uint64_t id);

/* Nothing is left of it but its memory, which is freed. */
void pea__conn_departed(pea_conn *conn);

/* The node has been freed or shut down, or its deadline has passed: its connections end, each on its own thread. */
void pea__node_ends(pea_node *node);
void pea__sweep_run(pea__worker *w); /* the other half of it, on the threads */

/* ---- dispatch.c: a loop of the runtime's own, a thread that waits for it, and a descriptor that tells ---- */

typedef struct pea__dispatch pea__dispatch;

/* A loop for a thread of ours. PEA_OK | PEA_E_SYS */
PEA_MUST_CHECK pea_err pea__loop_open(struct ev_loop **loop, pea_error *why);

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

/* ---- log.c: lines that a peer can cause at will ---- */

#define PEA__LOG_LINES_PER_S 10u /* of each kind, in a runtime: whoever attacks must not fill the disk as well */

typedef enum pea__log_kind {
    PEA__LOG_REFUSED, /* by admission */
    PEA__LOG_LOST,    /* accepted, and then there was no memory, or no socket any more */
    PEA__LOG_ENDED,   /* a connection that was READY */
    PEA__LOG_FAILED,  /* one that never was */
    PEA__LOG_KINDS
} pea__log_kind;

typedef struct pea__log_limit {
    atomic_uint_fast64_t said; /* the second (monotonic), times 2^32, and how many lines were said in it */
    atomic_uint_fast64_t unsaid;
} pea__log_limit;

/* Whether the runtime wants lines of this level and one more of this kind may be said in this second; if so, pea__log()
 * it. If not, how many there were is said later. On a loop's thread. */
PEA_MUST_CHECK bool pea__log_may(pea_runtime *runtime, pea_log_level level, pea__log_kind kind);

/* Says how many lines were left out. */
void pea__log_unsaid(pea_runtime *runtime);
void pea__log_on_timer(struct ev_loop *loop, ev_timer *timer, int events); /* of worker->unsaid */
void pea__log_stop(pea__worker *w);

/* ---- runtime.c ---- */

typedef struct pea__resolver pea__resolver;

struct pea_runtime {
    pea_runtime *next; /* of all runtimes: tickets name them by serial */
    uint64_t serial;
    unsigned fork_count; /* as it was when the runtime was made */
    pea__worker worker;
    pea__dispatch *dispatch; /* NULL: the loop is the caller's */
    uint64_t memory_limit, partial_limit, last_conn, last_node;
    uint32_t mailbox_bytes, nodes;
    atomic_uint ending;            /* nodes that have been freed and are not gone yet */
    atomic_size_t broadcast_bytes; /* of those that are on their way */
    atomic_size_t conns_kib;       /* what connections hold beside their buffers */
    pea__worker *threads;          /* beside `worker`, which is the caller's loop */
    uint32_t n_threads;
    void (*resolve)(void *arg, const char *host, uint16_t port, pea_ticket ticket); /* NULL: the system's */
    void *resolve_arg;
    pea__resolver *resolver;
    pea__judge *judges;  /* by policy */
    const char *noticed; /* the latest notice of a chain that was logged */
    pea_log_fn log;
    void *log_arg;
    pea_log_level log_level;
    pea__log_limit log_limits[PEA__LOG_KINDS];
};

/* A runtime is passed around const by those who only look; its workers are not. */
static inline pea_runtime *pea__runtime_mutable(const pea_runtime *runtime)
{
    union {
        const pea_runtime *in;
        pea_runtime *out;
    } cast = {.in = runtime};
    return cast.out;
}

extern PEA__HIDDEN unsigned pea__fork_count; /* forks between the first runtime's process and this one */

/* Whether this process is a child of the one that made the runtime. */
static inline bool pea__forked(const pea_runtime *runtime)
{
    return runtime->fork_count != pea__fork_count;
}

/* Says a line if the runtime wants such lines. Any thread. `conn` may be NULL. */
void pea__log(const pea_runtime *runtime, pea_log_level level, const pea_node *node, const pea_conn *conn,
              const char *text);

/* Calls fn(runtime, arg) for the runtime of this serial, which lives during the call; false: there is none. Any
 * thread. */
bool pea__runtime_with(uint64_t serial, void (*fn)(pea_runtime *runtime, void *arg), void *arg);

/* ---- node.c ---- */

typedef struct pea__bans pea__bans;
typedef struct pea__offer pea__offer;

/* Where a connection came from, as admission counts it. */
typedef struct pea__origin {
    uint32_t place;    /* of the narrowest range that has one in the node's table; 0: not counted */
    uint16_t cost_kib; /* what memory_limit is told of it, beside its buffers */
    bool inbound : 1;  /* not dialled by us, whichever its role is */
    bool exempt : 1;
    bool others : 1; /* a narrower range has no place: it shares one beside this */
} pea__origin;

typedef struct pea__done {
    struct pea__done *next;
    pea_node *node;
    uint32_t deadline_ms;
    void (*fn)(void *arg);
    void *arg;
} pea__done;

struct pea_node {
    pea_runtime *runtime;
    pea_node *due_next;
    char *name;
    pea_node_callbacks on;
    void *user;
    pea_chain *chain; /* the caller's loop alone looks: it may be exchanged */
    pea__who was_us;  /* whom the chain before proved; PEA_PEER_NONE: nobody else */
    pea_codec *codec; /* NULL: its chain is one of PEA_RECORDS */
    pea_policy *policy;
    pea__judge *judge;    /* NULL: the policy never changes by itself */
    pea_node_opts limits; /* numbers and times only, defaults filled in; its pointers are NULL */
    pea_listener *listeners;
    pea__offer *offer;                /* of these to a successor; NULL: none */
    pthread_mutex_t lock;             /* where there are threads: of the next five, of listeners and bans */
    pea_conn *conns;                  /* all of them, the newest first */
    pea_conn *pending, **pending_end; /* those that came to us and are not settled, the oldest first */
    pea__index by_addr;               /* those that have one */
    struct pea__target *by_name;
    pea__index by_peer; /* entries of those that are proven */
    struct {
        atomic_uint connections, pending, pending_in, ready; /* pending_in: of `pending`, those that came to us */
        atomic_uint listeners;
        atomic_uint_fast64_t refused;
    } counts;
    uint32_t placed;             /* connections of whose end the caller's loop has not heard */
    atomic_uint errands;         /* on their way over other threads: broadcasts, surveys */
    pea__prefix_table *prefixes; /* NULL: nothing is counted by range yet */
    pea_prefix *exempt;
    size_t n_exempt;
    pea__bans *bans; /* NULL: there never were any */
    pea__done *done;
    ev_timer deadline;
    atomic_bool shutting_down, overdue, freed;
    bool due;
    bool held, gone; /* pea_node_free() waits; it may free it */
    pea__post *
        free_there; /* from a worker's callback to the caller's loop; NULL: there are no threads, or it is on its way */
    /* One for each loop thread, by index. */
    pea__tally tally[];
};

/* Whether a call may give the node something new to do. PEA_OK | PEA_E_FORKED | PEA_E_STATE: the wrong thread, or shut
 * down */
PEA_MUST_CHECK pea_err pea__node_may_begin(const pea_node *node, pea_error *why);

/* A node is passed around const by those who only look; its lock is not. */
static inline pea_node *pea__node_mutable(const pea_node *node)
{
    union {
        const pea_node *in;
        pea_node *out;
    } cast = {.in = node};
    return cast.out;
}

/* The node begins to use a chain: what is to be said of it is logged, once for a runtime. */
void pea__node_notice(const pea_node *node, const pea_chain *chain);

/* The codec of connections over `chain`: their own, else the node's; NULL in PEA_RECORDS. Not a new reference. */
pea_codec *pea__node_codec(const pea_node *node, const pea_chain *chain, pea_codec *own);

/* Frees what it has; the same for one that was made in part. */
void pea__node_clear(pea_node *node);

/* ---- node_end.c ---- */

void pea__node_deadline_init(pea_node *node);
void pea__node_due(pea_node *node);         /* called in the round: on_done, the end */
void pea__node_errand_over(pea_node *node); /* on the node's thread: one of its errands has come back */

/* ---- bans.c ---- */

/* Whether an address is banned now. */
bool pea__banned(pea_node *node, const pea_addr *remote);
void pea__bans_free(pea_node *node);

/* ---- ranges.c ---- */

typedef struct pea__refused {
    pea_refusal reason;
    unsigned times, bits; /* of the limit; of the range */
    bool shared;          /* it has no place of its own */
    uint64_t value;
} pea__refused;

/* Counts who comes to us where he comes from, as pending. PEA_OK | PEA_E_LIMIT | PEA_E_NOMEM (limits hold where nothing
 * can be counted: nobody passes); then `no` says why, and he is not counted */
PEA_MUST_CHECK pea_err pea__ranges_take(pea_node *node, const pea_addr *remote, int64_t now, pea__origin *origin,
                                        pea__refused *no);
void pea__ranges_explain(const pea__refused *no, char *text, size_t size);
void pea__ranges_ready(const pea_node *node, const pea__origin *origin);
void pea__ranges_gone(const pea_node *node, const pea__origin *origin, bool was_ready);

/* Whether somebody from there was READY lately, or whoever comes from there is exempt. */
bool pea__ranges_known(const pea_node *node, const pea__origin *origin, int64_t now);

/* The place of the widest range that a pending connection comes from, 0: none; and how many are pending there. */
uint32_t pea__ranges_widest(const pea_node *node, const pea_conn *conn);
uint32_t pea__ranges_pending(const pea_node *node, uint32_t place);

/* ---- admission.c ---- */

/* Before accept(): whether all places for inbound handshakes are taken. Who waits in the socket's queue is met
 * later, */
bool pea__admission_full(const pea_node *node);

/* once the oldest pending connections of the busiest range have gone, which are asked to: at most so many. Returns how
 * many were; 0: those that were asked before have not all gone, or there is no memory to ask. */
unsigned pea__admission_make_room(pea_node *node, unsigned most);

/* May this node have one more connection, over this chain? PEA_OK, and it is counted as pending | PEA_E_LIMIT, counted
 * and logged, `why` names the limit and its value */
PEA_MUST_CHECK pea_err pea__admission_take(pea_node *node, const pea_chain *chain, const pea_addr *remote, bool inbound,
                                           pea__origin *origin, pea_error *why);
void pea__admission_refused(pea_node *node, const pea_addr *remote); /* by on_accept */
/* Whether a name's address may be dialled for a connection that was taken. PEA_OK | PEA_E_LIMIT, counted and logged.
 * Any loop thread. */
PEA_MUST_CHECK pea_err pea__admission_may_dial(pea_node *node, const pea_addr *remote, pea_error *why);

/* Pending no more. Both on the connection's own thread. */
void pea__admission_ready(pea_node *node, const pea_chain *chain, pea__origin *origin);
void pea__admission_gone(pea_node *node, const pea__origin *origin, bool was_ready);
void pea__admission_free(pea_node *node);

/* ---- registry.c ---- */

void pea__registry_worker_init(pea__worker *worker);
void pea__registry_node_init(pea_node *node);
void pea__registry_lock(pea_node *node); /* where there are threads */
void pea__registry_unlock(pea_node *node);
PEA_MUST_CHECK pea_err pea__registry_add(pea_conn *conn);
void pea__registry_remove(pea_conn *conn);
void pea__registry_settle(pea_conn *conn); /* it is READY */

/* Whether there is a connection that this node dialled at that address. */
bool pea__registry_dialled(pea_node *node, const pea_addr *remote);

/* The same of a name: "host:port" as in pea__target. */
bool pea__registry_dialled_name(pea_node *node, const char *name);

/* A connection that was dialled by name goes to this address. PEA_OK: it is known by it | PEA_E_EXISTS (another one is
 * dialled there, and not `again`) | PEA_E_NOMEM. On its own thread. */
PEA_MUST_CHECK pea_err pea__registry_move(pea_conn *conn, const pea_addr *remote, bool again);
PEA_MUST_CHECK pea_err pea__registry_adopt(pea_conn *conn); /* by id, on its own thread */
pea_conn *pea__registry_find(const pea__worker *worker, uint64_t id);

/* Calls fn for each connection of the node that belongs to this thread and was there when it began. fn may end any of
 * them; false: stop. */
void pea__registry_each(pea_node *node, bool (*fn)(pea_conn *conn, void *arg), void *arg);

/* Calls fn for each connection of this thread, whichever its node is. What fn ends goes in the round. */
void pea__registry_each_here(pea__worker *worker, void (*fn)(pea_conn *conn, void *arg), void *arg);

bool pea__conn_is_here(const pea_conn *conn); /* this is its thread, and it has arrived there */

/* ---- by_peer.c ---- */

/* A proven peer and what it has here; it lives as long as a connection refers to it. With the registry's lock. */
typedef struct pea__peer_entry {
    pea__who who; /* the key */
    uint32_t refs;
    pea_conn *conns;        /* those that became READY, the newest first */
    uint64_t holder, other; /* one_per_peer.c: ids; 0: none */
    pea__post *answer;      /* the letter that the other one, who waits, will get; NULL: it does not wait, but leaves */
    pea__index_link link;
} pea__peer_entry;

void pea__by_peer_init(pea_node *node);

/* The entry of the connection's proven peer, to which the connection refers from here on; NULL: no memory. With the
 * lock. */
pea__peer_entry *pea__peer_entry_of(pea_conn *conn);

PEA_MUST_CHECK pea_err pea__by_peer_add(pea_conn *conn); /* READY */
void pea__by_peer_remove(pea_conn *conn);                /* over */

/* ---- one_per_peer.c ---- */

#define PEA__LIFE_MS 3000 /* what an older connection has to answer in, when a newer one would take its place */

void pea__claim(pea_conn *conn);         /* its pipe asks whether it may accept */
void pea__claim_lives(pea_conn *conn);   /* it was challenged, and there is somebody */
void pea__claim_overdue(pea_conn *conn); /* it waited in line for PEA__LIFE_MS */

/* What becomes of a connection whose place another one was to take. */
typedef enum pea__claim_left {
    PEA__KEPT,    /* that came to nothing: it has its place */
    PEA__LEAVING, /* once the other one is READY */
    PEA__LEFT     /* it is */
} pea__claim_left;

pea__claim_left pea__claim_leaves(const pea_conn *conn);
void pea__claim_ends(pea_conn *conn); /* it leaves no more: it is over, and its end is yet to be told */

/* A connection has no claim any more: returns who comes next and the letter that tells it, 0 and NULL: nobody. With the
 * lock. */
uint64_t pea__claim_drop(pea__peer_entry *entry, uint64_t id, pea__post **letter);
void pea__claim_grant(pea_runtime *runtime, uint64_t id, pea__post *letter); /* it is next */

/* ---- by_name.c ---- */

struct pea__host;
struct pea__lookup;

/* What a connection has that was dialled by name. */
typedef struct pea__target {
    UT_hash_handle hh;          /* in its node, for life; with the registry's lock */
    uint64_t wait;              /* the lookup that is open; 0: none */
    struct pea__lookup *lookup; /* its addresses, until one of them is connected; NULL: none */
    size_t at;                  /* the next of them */
    int64_t give_way_ms;        /* when the one that is tried has had its time */
    bool again;                 /* as in pea_dial_opts */
    bool names;                 /* it is the name that the peer must prove, too */
    bool held;                  /* the loop is kept alive */
    size_t len;
    char name[]; /* "host:port": the key */
} pea__target;

PEA_MUST_CHECK pea_err pea__target_new(pea__target **target, const struct pea__host *host, bool again, uint64_t wait);
void pea__target_free(pea__target *target);
void pea__target_begins(pea_conn *conn); /* the connection lives */
void pea__target_ends(pea_conn *conn);   /* it is connected, or over */
bool pea__target_has_more(const pea_conn *conn);

/* The address that is tried has failed, by an errno of the socket's or an error. */
void pea__target_gives_way(pea_conn *conn, pea_err err, int sys);
void pea__by_name_resolved(pea__worker *w, pea__post *post); /* the answer has come */

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
    int fd;        /* -1: a name that has none yet */
    int sys_errno; /* what connect() or, once connected, send() said; told from the loop */
    /* Bits: there are very many of these structures. */
    bool connecting : 1, ready : 1, closing : 1, over : 1, paused : 1, blocked : 1, shut : 1, fin : 1;
    bool queued : 1, pump_due : 1;
    bool challenged : 1;               /* one_per_peer.c: a newcomer waits for a sign of life from here */
    bool in_line : 1;                  /* and this is the newcomer */
    bool waiting : 1;                  /* it is READY, and the policy that was asked again has yet to answer */
    bool responder : 1;                /* its pea_side */
    bool retiring : 1;                 /* another one takes its place: it ends when nothing more comes */
    bool is_by_id : 1, is_by_addr : 1; /* it is in the index of its thread, of its node */
    /* Bytes: other threads look. */
    bool makes_room;     /* the caller's loop, and it alone, has asked for its end */
    atomic_bool settled; /* READY, or over */
    atomic_bool usable;  /* READY, and no end of it has begun */
    pea__origin origin;
    uint32_t told_in, told_out;                        /* messages that the node's tally knows of, modulo 2^32 */
    uint32_t queue_full, pauses, dropped, queued_most; /* as in pea_stats_conn */
    uint32_t partial_bytes;                            /* partial.c: that its pipe holds of what the peer sent */
    uint64_t messages_in, messages_out, bytes_in, bytes_out;
    int64_t born_ms;
    int64_t since_ms; /* this state began */
    int64_t heard_ms; /* the last byte received */
    int64_t taken_ms; /* while `blocked`: the last byte that the socket took */
    int64_t armed_ms; /* when the timer fires; 0: it does not run */
    union {
        pea_conn *round_next; /* of the worker's round */
        pea__post *travel;    /* until it is placed: brings it to its thread; NULL: it is of the caller's loop */
    };
    pea_conn *next, **link; /* of the node */
    pea_conn *fellow;       /* the next that is pending and came to us; once READY, of the same peer */
    pea_conn **fellow_link;
    union {
        pea__sent *sent_last; /* READY: a ring: its next is the first; NULL: none */
        pea__post *to_older;  /* until then: the letter to the one whose place it takes; NULL: it takes nobody's */
    };
    pea__peer_entry *named; /* its peer's entry; NULL: it has not come so far */
    pea__target *target;    /* NULL: it was not dialled by name */
    void *user;
    pea__place remote;
    pea__index_link by_id, by_addr;
};

/* A connection over a socket, which it owns if PEA_OK was returned. `dial`: what the dialler was told of the
 * peer, and connect() said `dial_errno`: 0, EINPROGRESS or an error; NULL: the peer came to us. `target`: it was
 * dialled by name, there is neither socket (-1) nor address yet, and the target is its own if PEA_OK was returned. It
 * lives once it is placed. */
PEA_MUST_CHECK pea_err pea__conn_new(pea_conn **conn, pea_node *node, int fd, const pea_addr *remote,
                                     const pea__origin *origin, pea_chain *chain, pea_codec *codec,
                                     const pea_dial_opts *dial, pea__target *target, int dial_errno, pea_error *why);
void pea__conn_live(pea_conn *conn);                      /* on its own thread, once */
void pea__conn_dials(pea_conn *conn, int fd, int result); /* by this socket, now; connect() said 0 or EINPROGRESS */
void pea__conn_obey(pea_conn *conn);                      /* its node may have been freed, or shut down */
void pea__conn_judge(pea_conn *conn);                     /* its policy has changed */
void pea__conn_round(pea_conn *conn);                     /* in the round: flush, or free */
bool pea__conn_holds_unread(const pea_conn *conn);        /* it is paused, and what the peer sent waits for us */
void pea__conn_pump(pea_conn *conn); /* delivers events until there are none, or a callback paused or ended it */

/* ---- partial.c ---- */

/* After its events were told: what it holds of unfinished messages may be too much. */
void pea__partial_note(pea_conn *conn);
void pea__partial_shed(pea__worker *w); /* on its thread: if it was asked to */

/* ---- conn_close.c ---- */

void pea__conn_finish(pea_conn *conn, const pea_reason *reason); /* with a farewell */
void pea__conn_abort(pea_conn *conn, pea_origin origin, pea_err err, const char *text);

/* It says no more, and hears what is still to come: another one has taken its place, or it is too old. */
void pea__conn_retire(pea_conn *conn);
void pea__conn_too_old(pea_conn *conn);          /* and the second time it is over */
void pea__conn_retired(pea_conn *conn);          /* nothing came for linger_ms */
bool pea__conn_superseded(const pea_conn *conn); /* its successor gets what is meant for the peer */

/* ---- conn_write.c ---- */

/* Writes what is queued, until the socket is full or its turn is over. */
void pea__conn_write_out(pea_conn *conn);

/* Calls back for all confirmed sends that have left (PEA_OK), or for all. */
void pea__conn_confirm(pea_conn *conn, pea_err err);

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
    unsigned room;  /* for how many it is made when all places for handshakes are taken */
    pea_addr addr;
    pea_chain *chain; /* NULL: the node's */
    pea_codec *codec;
    bool bound_here;
    bool handed;    /* to a successor that has yet to say that it listens */
    bool exhausted; /* the last accept() found no descriptor or memory */
    bool accepting; /* its callback runs: unlisten leaves the memory to it */
};

/* Whether whoever connects to this address reaches a listener of the node. Any loop thread. */
bool pea__listener_at(pea_node *node, const pea_addr *addr);

/* Whether all listeners that use the node's chain could use this one. PEA_OK | PEA_E_INVALID with a sentence */
PEA_MUST_CHECK pea_err pea__listeners_suit(const pea_node *node, const pea_chain *chain, pea_error *why);

/* Whether the node listens on a copy of this descriptor, which was passed to the process. */
bool pea__listener_passed(const pea_node *node, int fd);

#endif
