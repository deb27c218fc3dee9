/* SPDX-License-Identifier: MIT */
/* What the connections of many nodes share: the loop, its timers, buffers and limits; and the calls that
 * any thread may make. */
#ifndef PEAPOD_RUNTIME_H
#define PEAPOD_RUNTIME_H

#include "peapod/addr.h"
#include "peapod/log.h"
#include "peapod/msg.h"
#include "peapod/policy.h"

struct ev_loop;

#ifdef __cplusplus
extern "C" {
#endif

#define PEA_NEVER 0xFFFFFFFFu     /* as a time: no deadline */
#define PEA_UNLIMITED 0xFFFFFFFFu /* as a number: no limit */

/* The threading rule of the whole library:
 * Every connection belongs to one loop thread for life. Its callbacks run there, and pea_conn_* and pea_node_* may
 * be called there only.
 *   From anywhere else there is one family, pea_post_*: by id, through the owner's bounded mailbox. */
typedef struct pea_runtime pea_runtime;

typedef struct pea_runtime_opts {
    size_t size; /* set by PEA_RUNTIME */
    /* the caller's: it must outlive the runtime and be run by the thread that uses it. NULL: the runtime waits on a
     * thread of its own, and its callbacks run inside pea_runtime_dispatch() */
    struct ev_loop *loop;
    /* bytes that all connections and their buffers may hold before new connections are refused; 0: 1 GiB */
    uint64_t memory_limit;
    uint32_t mailbox_bytes; /* most that pea_post_* may queue; 0: 16 MiB */
    pea_log_fn log;         /* NULL: silent */
    void *log_arg;
    pea_log_level log_level; /* the most talkative level wanted; 0: PEA_LOG_INFO */
    /* threads of the runtime's own, each with a loop: new connections are given to the one that has least, and their
     * callbacks run there. Listeners, dials and pea_node_* stay on the caller's loop. 0: none, and no lock is taken */
    uint32_t workers;
    /* bytes that messages which have begun and not ended may hold, of all connections; above it those go that hold the
     * most. 0: 256 MiB */
    uint64_t partial_limit;
    /* Finds the addresses of a name that a node dials, in pea_node_connect() and therefore without waiting: it starts
     * what it needs, keeps the ticket, and has pea_post_resolved() called, at once or later. `host` is in lower case,
     * with its last dot if it was dialled with one, and good during the call. On the loop's thread. NULL:
     * getaddrinfo(3), on a thread that the first name starts */
    void (*resolve)(void *arg, const char *host, uint16_t port, pea_ticket ticket);
    void *resolve_arg;
} pea_runtime_opts;

#define PEA_WORKERS_MAX 256u

#define PEA_RUNTIME(...) (&(pea_runtime_opts){.size = sizeof(pea_runtime_opts), __VA_ARGS__})
#ifdef __cplusplus
#define PEA_RUNTIME_INIT                                                                                    \
    {                                                                                                       \
        sizeof(pea_runtime_opts), nullptr, 0, 0, nullptr, nullptr, pea_log_level(0), 0, 0, nullptr, nullptr \
    }
#else
#define PEA_RUNTIME_INIT                                                                     \
    {                                                                                        \
        sizeof(pea_runtime_opts), NULL, 0, 0, NULL, NULL, (pea_log_level)0, 0, 0, NULL, NULL \
    }
#endif

/* A runtime on the caller's loop. Its timers and mailbox do not keep the loop alive; listeners,
 * dials and connections do.
 * PEA_OK | PEA_E_INVALID with a sentence | PEA_E_NOMEM | PEA_E_SYS. On the loop's thread. */
PEA_API PEA_MUST_CHECK pea_err pea_runtime_new(pea_runtime **runtime, const pea_runtime_opts *opts, pea_error *why);

/* Frees a runtime whose nodes are all freed. If getaddrinfo(3) hangs just then it is not waited for: its thread frees
 * what it has when it comes back.
 * PEA_OK | PEA_E_STATE: nodes are left, nothing was done | PEA_E_FORKED. NULL is allowed. On the loop's thread. */
PEA_API pea_err pea_runtime_free(pea_runtime *runtime);

/* ---- Without a libev loop of the caller's (.loop = NULL) ---- */

/* A descriptor that is readable while pea_runtime_dispatch() has something to do: for poll, epoll, libuv, glib. Only
 * wait on it; it belongs to the runtime. -1: the runtime has a loop of the caller's. Any thread. */
PEA_API int pea_runtime_event_fd(const pea_runtime *runtime);

/* Runs the callbacks that are due, and does not block. The thread that calls it is the runtime's loop thread:
 * pea_node_* and pea_conn_* are called on it only, inside of callbacks or outside, and always on the same one.
 * PEA_OK | PEA_E_STATE (the runtime has a loop of the caller's; or inside of a callback) | PEA_E_FORKED */
PEA_API PEA_MUST_CHECK pea_err pea_runtime_dispatch(pea_runtime *runtime);

/* Bytes of buffers in use by connections now. On the loop's thread. */
PEA_API uint64_t pea_runtime_memory(const pea_runtime *runtime);

/* ---- Any thread ---- */

/* Answers a ticket of a stage or policy that said PEA_WAIT: PEA_OK lets it go on, an error refuses.
 * PEA_OK: on its way (should the connection have ended by then, nothing happens) | PEA_E_STALE: no such runtime any
 * more | PEA_E_QUEUE_FULL | PEA_E_NOMEM | PEA_E_FORKED */
PEA_API PEA_MUST_CHECK pea_err pea_post_resume(pea_ticket ticket, pea_err verdict);

/* Answers the ticket of pea_runtime_opts.resolve: addresses in the order in which they are to be tried, or an error.
 * They are copied; the first eight are used. A port of 0 stands for the one that was dialled. None at all is
 * PEA_E_NOT_FOUND. An answer never fails for want of room.
 * PEA_OK: on its way | PEA_E_STALE: nobody waits for it, because it was answered, the connection has ended or the
 * runtime is gone | PEA_E_INVALID (err > 0, or an address of no family: the ticket can be answered still) |
 * PEA_E_FORKED */
PEA_API PEA_MUST_CHECK pea_err pea_post_resolved(pea_ticket ticket, const pea_addr *addrs, size_t n, pea_err err);

/* As pea_conn_send_msg(): on_sent(arg, err) is called on the connection's thread exactly once if PEA_OK was returned,
 * with PEA_E_STALE where the connection is gone.
 * PEA_OK | PEA_E_QUEUE_FULL | PEA_E_NOMEM | PEA_E_FORKED. The caller vouches that the runtime lives. */
PEA_API PEA_MUST_CHECK pea_err pea_post_send(pea_runtime *runtime, uint64_t conn, pea_msg *msg,
                                             void (*on_sent)(void *arg, pea_err err), void *arg);

/* Calls fn(arg, err) on the runtime's loop thread, exactly once if PEA_OK was returned, never inside this call: the way
 * from anywhere to pea_node_*. `err` is PEA_OK; PEA_E_STALE where the runtime was freed before.
 * PEA_OK | PEA_E_QUEUE_FULL | PEA_E_NOMEM | PEA_E_FORKED. The caller vouches that the runtime lives. */
PEA_API PEA_MUST_CHECK pea_err pea_post_call(pea_runtime *runtime, void (*fn)(void *arg, pea_err err), void *arg);

/* As pea_conn_close().
 * PEA_OK | PEA_E_QUEUE_FULL | PEA_E_NOMEM | PEA_E_FORKED. The caller vouches that the runtime lives. */
PEA_API PEA_MUST_CHECK pea_err pea_post_close(pea_runtime *runtime, uint64_t conn, uint16_t code, const char *text);

#ifdef __cplusplus
}
#endif
#endif
