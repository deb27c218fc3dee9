/* SPDX-License-Identifier: MIT */
/* A successor takes a program's listening sockets over, and no client is refused meanwhile: the sockets never close,
 * only who accepts changes. Predecessor and successor meet at a Unix socket in a folder that is closed to others, and
 * each checks that the other is the same user. docs/node.md tells how a service restarts with it. */
#ifndef PEAPOD_HANDOVER_H
#define PEAPOD_HANDOVER_H

#include "peapod/node.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The predecessor: offers all listeners of the node to whichever process of the same user calls pea_handover_take()
 * with this path. When one has taken them the node listens on them no more, the offer is over, and on_taken(node, arg)
 * is called from the loop. A listener that was added after a successor had come stays, and may be offered again.
 * Connections stay here: shut down when those that matter have ended. A successor that fails half-way changes nothing;
 * one that is silent for 3 s is turned away. The folder must be our own, mode 0700. The offer keeps no loop alive; it
 * ends with the node or its shutdown, as by pea_handover_withdraw(). on_taken may be NULL; it is not called once the
 * node is shut down or freed. On the loop's thread. Another process that offers in the same folder at the same moment
 * may hold this one up, for a second at most.
 * PEA_OK | PEA_E_EXISTS (this node offers already; at this path another process does) | PEA_E_PERMISSION (the folder) |
 * PEA_E_FORMAT (too long a path) | PEA_E_SYS | PEA_E_STATE (shut down) | PEA_E_NOMEM | PEA_E_FORKED */
PEA_API PEA_MUST_CHECK pea_err pea_handover_offer(pea_node *node, const char *path,
                                                  void (*on_taken)(pea_node *node, void *arg), void *arg,
                                                  pea_error *why);

/* Takes the offer back; nothing if there is none. If a successor has taken the listeners in this very moment they are
 * its own: on_taken is called from within. If it has yet to take them its call fails. On the loop's thread. */
PEA_API void pea_handover_withdraw(pea_node *node);

typedef struct pea_take_opts {
    size_t size; /* set by PEA_TAKE */
    /* asked for each socket: fills in chain and codec of its listener where they are not the node's. False: it is not
     * wanted, and closed here; of a Unix socket that the predecessor bound the file is removed as well. NULL: all are
     * taken as they are */
    bool (*choose)(void *arg, const pea_addr *addr, pea_listen_opts *opts);
    void *arg;
    uint32_t timeout_ms; /* for the predecessor to answer; 0: 5,000 */
} pea_take_opts;

#define PEA_TAKE(...) (&(pea_take_opts){.size = sizeof(pea_take_opts), __VA_ARGS__})
#define PEA_TAKE_INIT                        \
    {                                        \
        sizeof(pea_take_opts), NULL, NULL, 0 \
    }

/* The successor: listens on what a predecessor offers at this path, with this node, and lets the predecessor go. Blocks
 * for at most timeout_ms: call it before the node does anything else. `opts` may be NULL. After an error the node
 * listens on nothing of it, and the predecessor serves on.
 * PEA_OK | PEA_E_NOT_FOUND (nobody offers, or who did took it back, or listens nowhere: listen by pea_node_listen()) |
 * PEA_E_PERMISSION (the folder, or the other is another user) | PEA_E_TIMEOUT | PEA_E_PROTO (what answered is no such
 * offer) | PEA_E_FORMAT (the path) | PEA_E_SYS | as pea_node_listen() */
PEA_API PEA_MUST_CHECK pea_err pea_handover_take(pea_node *node, const char *path, const pea_take_opts *opts,
                                                 pea_error *why);

#ifdef __cplusplus
}
#endif
#endif
