/* SPDX-License-Identifier: MIT */
/* A node listens and dials; every connection of it passes the same chain and policy and ends in its callbacks. On the
 * runtime's loop thread only. */
#ifndef PEAPOD_NODE_H
#define PEAPOD_NODE_H

#include "peapod/conn.h"
#include "peapod/runtime.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct pea_listener pea_listener;

/* Any of them may be NULL. They run on the connection's thread and may call anything that is allowed there; nothing
 * is freed under them. */
typedef struct pea_node_callbacks {
    /* A socket was accepted and passed the limits. PEA_OK: go on | < 0: it is closed and counted as refused */
    pea_err (*on_accept)(pea_node *node, const pea_addr *from, void *user);
    /* READY: both sides accepted. Once, before any message. */
    void (*on_connect)(pea_conn *conn, void *user);
    /* One message; the bytes are good during the call (see pea_conn_keep). */
    void (*on_message)(pea_conn *conn, const uint8_t *data, size_t len, void *user);
    /* After PEA_E_QUEUE_FULL: what is queued fell below the low-water mark. */
    void (*on_drain)(pea_conn *conn, void *user);
    /* The peer sends no more (half_close only). */
    void (*on_end)(pea_conn *conn, void *user);
    /* This side begins to end a connection that was ready; pea_conn_send() still works inside, and what it queues is
     * flushed within linger. */
    void (*on_closing)(pea_conn *conn, const pea_reason *reason, void *user);
    /* The end; exactly once for each on_connect. The conn is good until it returns. */
    void (*on_disconnect)(pea_conn *conn, const pea_reason *reason, void *user);
    /* A dial or handshake, of either side, that never got to on_connect; exactly once for each. */
    void (*on_connect_failed)(pea_node *node, const pea_conn_info *info, const pea_reason *reason, void *user);
} pea_node_callbacks;

/* What becomes of messages that arrive while reading is paused. */
typedef enum pea_overflow {
    PEA_OVERFLOW_BLOCK = 0, /* they wait in the system's buffers, and TCP slows the peer down */
    PEA_OVERFLOW_DROP       /* they are read, counted and dropped: late is worse than lost */
} pea_overflow;

typedef struct pea_node_opts {
    size_t size;                  /* set by PEA_NODE */
    const char *name;             /* for logs; NULL: a number, counted from 0. Copied */
    pea_chain *chain;             /* referenced; required */
    pea_codec *codec;             /* referenced; NULL: length, 4 bytes big-endian, 8 MiB */
    pea_policy *policy;           /* referenced; NULL: only peers that a dial of ours expects are let in */
    const pea_node_callbacks *on; /* copied; NULL: none */
    size_t on_size;               /* set by PEA_NODE */
    void *user;                   /* given to every callback */

    /* Limits: 0 is the default, PEA_UNLIMITED lifts it. */
    uint32_t max_connections; /* in all states; default PEA_UNLIMITED */
    uint32_t
        max_pending; /* not yet READY, both directions; default 1,024. Where strangers have taken all of theirs, the
                           * oldest of the busiest range of addresses makes room */

    /* Times in milliseconds: 0 is the default, PEA_NEVER lifts it. */
    uint32_t connect_timeout_ms;   /* until the socket is connected; default 5,000 */
    uint32_t handshake_timeout_ms; /* from there to READY; default 10,000 */
    uint32_t linger_ms;            /* for the farewell to be written and read; default 2,000 */
    uint32_t partial_timeout_ms;   /* from the first byte of a message to its last; default 30,000 */
    uint32_t idle_timeout_ms;      /* without a byte received; default never */

    uint32_t high_water, low_water; /* bytes queued for one connection; default 128 KiB and 32 KiB */
    bool half_close;                /* a peer's END leaves our direction open */

    /* Inbound connections, by where they come from. IPv4-mapped IPv6 counts as IPv4; Unix sockets come from nowhere.
     * Who has an address of IPv6 has a /64 of them, and may have a /48: an "IP" is there the narrowest range of
     * prefix_bits6, and what a range may have, the next wider one may have four times. */
    uint32_t reserved_pending;           /* of max_pending, for dials of ours alone; default an eighth */
    uint32_t max_per_ip, max_per_prefix; /* in all states; default PEA_UNLIMITED */
    uint32_t prefix_rate, prefix_burst; /* new ones of a range a second, and at once; default PEA_UNLIMITED; the rate */
    uint8_t prefix_bits4;               /* what a range is; default /24 */
    uint8_t prefix_bits6[3];            /* from narrow to wide, zeros behind; default {64, 56, 48} */
    const pea_prefix *exempt;           /* ranges that these five do not hold for; copied. NULL: none */
    size_t n_exempt;

    uint32_t write_timeout_ms;     /* with something to write, and not a byte taken; default 60,000 */
    pea_overflow inbound_overflow; /* what pea_conn_pause() does to messages that arrive */
    /* at most one connection with each proven peer, of those in native mode: of two nodes the one with the larger id
     * decides which. Wants to be the same on all nodes of a network. Default: as many as there are */
    bool one_per_peer;
    /* from its beginning until it says END; it ends once the peer has said what was on its way, linger_ms later at the
     * latest. Of a mesh whose books replace sessions in time a bound for those that do not. Default never */
    uint32_t max_session_ms;
} pea_node_opts;

#define PEA_NODE(...) \
    (&(pea_node_opts){.size = sizeof(pea_node_opts), .on_size = sizeof(pea_node_callbacks), __VA_ARGS__})
#ifdef __cplusplus
#define PEA_NODE_INIT                                                                                                  \
    {                                                                                                                  \
        sizeof(pea_node_opts), nullptr, nullptr, nullptr, nullptr, nullptr, sizeof(pea_node_callbacks), nullptr, 0, 0, \
            0, 0, 0, 0, 0, 0, 0, false, 0, 0, 0, 0, 0, 0, {0, 0, 0}, nullptr, 0, 0, PEA_OVERFLOW_BLOCK, false, 0       \
    }
#else
#define PEA_NODE_INIT                                                        \
    {                                                                        \
        .size = sizeof(pea_node_opts), .on_size = sizeof(pea_node_callbacks) \
    }
#endif

/* A node. PEA_OK | PEA_E_NOMEM | PEA_E_INVALID with a sentence */
PEA_API PEA_MUST_CHECK pea_err pea_node_new(pea_node **node, pea_runtime *runtime, const pea_node_opts *opts,
                                            pea_error *why);

/* Frees a node in any state: listeners and connections are aborted first, with every callback that is owed. Inside a
 * callback it takes effect at the end of the round; in one on a worker thread, once the caller's loop has heard of it.
 * NULL is allowed. */
PEA_API void pea_node_free(pea_node *node);

/* Exchanges the chain (referenced), for a new identity above all: connections that begin from here on use the new one,
 * dials as well as those that listeners without a chain of their own accept; what is connected, or on its way, goes on
 * with the old one. It must be of the same mode. With a sentence the old one stays. On the node's thread; elsewhere by
 * pea_post_call(). docs/trust.md says how a mesh changes its keys.
 * PEA_OK | PEA_E_INVALID (as in pea_node_new() and, where one listens, in pea_node_listen()) | PEA_E_STATE (shut down;
 * a worker thread) | PEA_E_FORKED */
PEA_API PEA_MUST_CHECK pea_err pea_node_set_chain(pea_node *node, pea_chain *chain, pea_error *why);

/* The name, the user pointer and the runtime that it was made with. Good until pea_node_free(). */
PEA_API const char *pea_node_name(const pea_node *node);
PEA_API void *pea_node_user(const pea_node *node);
PEA_API pea_runtime *pea_node_runtime(const pea_node *node);

typedef struct pea_listen_opts {
    size_t size;      /* set by PEA_LISTEN */
    pea_chain *chain; /* referenced; NULL: the node's */
    pea_codec *codec; /* referenced; NULL: the node's */
    int backlog;      /* 0: 1,024, which the system may cut */
    int fd;           /* a stream socket that listens already, instead of an address: the listener owns it if PEA_OK was
                       * returned. 0: none */
    uint32_t unix_mode; /* of a Unix socket's file, set before anybody can connect: 0600; 0: what the umask leaves */
    bool reuse_port;    /* SO_REUSEPORT: several processes listen on one port, and the kernel spreads the load */
    bool dual_stack;    /* "[::]:PORT" takes IPv4 too, as ::ffff:a.b.c.d. Default: IPv6 alone, on every system */
} pea_listen_opts;

#define PEA_LISTEN(...) (&(pea_listen_opts){.size = sizeof(pea_listen_opts), __VA_ARGS__})
#define PEA_LISTEN_INIT                                            \
    {                                                              \
        sizeof(pea_listen_opts), NULL, NULL, 0, 0, 0, false, false \
    }

/* Listens on a literal address (addr.h; names are not resolved), any number of them; port 0 lets the system choose. A
 * Unix socket's stale file is not removed. "systemd:NAME" is the socket of that FileDescriptorName= which a service
 * manager passed (sd_listen_fds(3)); NULL goes with opts->fd. `listener` may be NULL; it belongs to the node.
 * PEA_OK | PEA_E_FORMAT | PEA_E_SYS (bind, listen: errno in `why`) | PEA_E_INVALID (options that do not go together; no
 * socket that listens) | PEA_E_NOT_FOUND (systemd:) | PEA_E_UNSUPPORTED | PEA_E_STATE (shut down) | PEA_E_NOMEM |
 * PEA_E_FORKED */
PEA_API PEA_MUST_CHECK pea_err pea_node_listen(pea_node *node, const char *addr, const pea_listen_opts *opts,
                                               pea_listener **listener, pea_error *why);

/* Stops listening; connections that it accepted live on. The listener is gone. The file of a Unix
 * socket that was bound here is removed. */
PEA_API void pea_node_unlisten(pea_node *node, pea_listener *listener);

/* The bound address, with the real port. Good until unlisten. */
PEA_API const pea_addr *pea_listener_addr(const pea_listener *listener);

/* The address of the node's first listener that is left; NULL: it does not listen. Good until that one's unlisten. */
PEA_API const pea_addr *pea_node_listen_addr(const pea_node *node);

typedef struct pea_dial_opts {
    size_t size;            /* set by PEA_DIAL */
    const pea_peer *expect; /* who must answer; copied, not of kind NONE. NULL: whoever the policy allows */
    /* the name by which the peer is known here: TLS asks for it and checks it, a certificate for Noise must have it to
     * count, trust on first use remembers the peer's key by it. Copied. NULL: the host that is dialled, which is
     * remembered with its port. Where there is none, or with "", no name is checked, and the address stands for it */
    const char *name;
    pea_chain *chain; /* referenced; NULL: the node's */
    pea_codec *codec; /* referenced; NULL: the node's */
    void *user;       /* pea_conn_user() of the connection to come */
    bool again;       /* dial even if a connection that this node dialled has the same address, or name */
    int fd; /* a stream socket made and perhaps bound or connected by the caller: the connection owns it if PEA_OK was
             * returned. 0: none */
    pea_side side; /* of the handshake; default: PEA_INITIATOR. Where both ends dial at once (TCP's simultaneous open),
                    * one of them says PEA_RESPONDER */
    /* or this one, beside `expect`: the key that the peer changes to, or from. Copied. NULL: nobody else. Where a Noise
     * pattern must know the key beforehand, that is `expect`'s */
    const pea_peer *expect_next;
    /* the id of a connection of this node with the same peer, READY, whose place the new one takes: once that is READY,
     * and on_connect has returned, the older one sends no more (as pea_conn_end()) and ends when all that the peer had
     * sent on it has come. 0: none */
    uint64_t replaces;
} pea_dial_opts;

#define PEA_DIAL(...) (&(pea_dial_opts){.size = sizeof(pea_dial_opts), __VA_ARGS__})
#define PEA_DIAL_INIT                                                                         \
    {                                                                                         \
        sizeof(pea_dial_opts), NULL, NULL, NULL, NULL, NULL, false, 0, PEA_INITIATOR, NULL, 0 \
    }

/* Dials a literal address (addr.h), or "host.example:9000": its name is resolved without blocking (runtime.h), and its
 * addresses are tried in turn. The connection is there at once, PEA_DIALING and without an address at first;
 * connect_timeout_ms covers all of it, and what the last address said is the reason of a failure. NULL goes with a
 * connected opts->fd. `opts` may be NULL, `id` may be NULL. If PEA_OK was returned, on_connect or on_connect_failed
 * follows, never from inside this call. To give it up: pea_conn_close() or pea_conn_abort() of pea_node_find(), or
 * pea_post_close().
 * PEA_OK | PEA_E_FORMAT | PEA_E_INVALID (it is this node's own address; the descriptor is of another kind, or comes
 * with a name) | PEA_E_EXISTS (that address, or name and port, is dialled already, or connected) | PEA_E_LIMIT (named
 * in `why`) | PEA_E_STATE (shut down) | PEA_E_SYS | PEA_E_NOMEM | PEA_E_FORKED */
PEA_API PEA_MUST_CHECK pea_err pea_node_connect(pea_node *node, const char *addr, const pea_dial_opts *opts,
                                                uint64_t *id, pea_error *why);

/* Live connections, in any state: by id, by remote address (any one of them), by peer (one that is or was READY; of
 * several one that is). NULL: none. */
PEA_API pea_conn *pea_node_find(const pea_node *node, uint64_t id);
PEA_API pea_conn *pea_node_find_addr(const pea_node *node, const pea_addr *remote);
PEA_API pea_conn *pea_node_find_peer(const pea_node *node, const pea_peer *peer);

/* To a peer, whichever of its connections is READY and on whatever thread: as pea_conn_send_msg(). On the node's
 * thread, or in a callback of one of its connections. PEA_OK | PEA_E_NOT_FOUND (it is not connected) | as
 * pea_conn_send_msg() | as pea_post_send(), where the connection belongs to another thread */
PEA_API PEA_MUST_CHECK pea_err pea_node_send_peer(pea_node *node, const pea_peer *peer, pea_msg *msg,
                                                  void (*on_sent)(void *arg, pea_err err), void *arg);

/* As pea_conn_close() for every connection with this peer. From where, see above. PEA_OK | PEA_E_NOT_FOUND |
 * PEA_E_NOMEM, PEA_E_QUEUE_FULL (where they belong to other threads: some may not have been told) | PEA_E_FORKED */
PEA_API PEA_MUST_CHECK pea_err pea_node_close_peer(pea_node *node, const pea_peer *peer, uint16_t code,
                                                   const char *text);

/* What became of a broadcast: how many connections took the message, and how many refused it (PEA_E_QUEUE_FULL above
 * all: a slow peer does not hold the others up). */
typedef struct pea_broadcast_result {
    uint32_t taken, refused;
} pea_broadcast_result;

/* One message to every READY connection for which filter(conn, arg) says true (NULL: to all). The memory of `msg` is
 * shared; filter runs on each connection's thread. done(arg, result) is called once, on the node's thread, after all of
 * them were asked, and never inside this call; it may be NULL. From where, see above.
 * PEA_OK | PEA_E_QUEUE_FULL (broadcasts of as many bytes as the runtime's mailbox_bytes are on their way) |
 * PEA_E_NOMEM | PEA_E_FORKED */
PEA_API PEA_MUST_CHECK pea_err pea_node_broadcast(pea_node *node, pea_msg *msg,
                                                  bool (*filter)(pea_conn *conn, void *arg),
                                                  void (*done)(void *arg, const pea_broadcast_result *result),
                                                  void *arg);

/* Calls fn for every connection that was there when it began; it may close any of them. Stops when fn returns false.
 * Where there are worker threads: those of the calling thread only; pea_node_survey() tells of all. */
PEA_API void pea_node_each(pea_node *node, bool (*fn)(pea_conn *conn, void *arg), void *arg);

/* All connections of the node by value, in whatever state and on whatever threads they are: done(arg, infos, n, err) is
 * called once, on the node's thread, after each thread has written down its own, and never inside this call. `infos` is
 * good during done(); `err` is PEA_OK or PEA_E_NOMEM, and then n is 0. On the node's thread, or in a callback of one of
 * its connections. PEA_OK | PEA_E_NOMEM | PEA_E_FORKED */
PEA_API PEA_MUST_CHECK pea_err
pea_node_survey(pea_node *node, void (*done)(void *arg, const pea_conn_info *infos, size_t n, pea_err err), void *arg);

typedef struct pea_counts {
    uint32_t connections; /* in all states */
    uint32_t pending;     /* not yet READY */
    uint32_t ready;
    uint32_t listeners;
    uint64_t refused;       /* sockets turned away by limits or on_accept, ever */
    uint64_t accept_pauses; /* times that accepting rested because descriptors or memory were exhausted, ever */
} pea_counts;

/* Fills in `*counts` as of now. */
PEA_API void pea_node_counts(const pea_node *node, pea_counts *counts);

/* Why sockets were turned away, or pending connections sent off: pea_node_stats() counts each. */
typedef enum pea_refusal {
    PEA_REFUSED_BY_ON_ACCEPT = 0,
    PEA_REFUSED_BY_BAN,
    PEA_REFUSED_BY_MAX_CONNECTIONS,
    PEA_REFUSED_BY_MAX_PENDING, /* among them those that made room */
    PEA_REFUSED_BY_MAX_PER_IP,
    PEA_REFUSED_BY_MAX_PER_PREFIX,
    PEA_REFUSED_BY_RATE,
    PEA_REFUSED_BY_MEMORY
} pea_refusal;
#define PEA_REFUSALS 8u

/* "max_per_ip": static, never NULL. Any thread. */
PEA_API const char *pea_refusal_name(pea_refusal reason);

/* Refuses whoever comes from a range, and dials there, for `ms` from now (PEA_NEVER: until it is lifted). Connections
 * that are there stay. A second ban of the same range replaces the first. PEA_OK | PEA_E_INVALID (no range) |
 * PEA_E_LIMIT (4,096 of them) | PEA_E_NOMEM */
PEA_API PEA_MUST_CHECK pea_err pea_node_ban(pea_node *node, const pea_prefix *range, uint32_t ms);

/* Lifts the ban of just this range. PEA_OK | PEA_E_NOT_FOUND */
PEA_API pea_err pea_node_unban(pea_node *node, const pea_prefix *range);

/* Stops listening and dialling, tells every peer SHUTDOWN, flushes, and at deadline_ms (0: linger) aborts what is
 * left. on_done(arg) is called once, from the loop, after the last on_disconnect. A second call only shortens the
 * deadline; its on_done is called too. May be NULL. PEA_OK | PEA_E_NOMEM | PEA_E_FORKED */
PEA_API PEA_MUST_CHECK pea_err pea_node_shutdown(pea_node *node, uint32_t deadline_ms, void (*on_done)(void *arg),
                                                 void *arg);

#ifdef __cplusplus
}
#endif
#endif
