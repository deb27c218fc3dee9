/* SPDX-License-Identifier: MIT */
/* Shapes of a mesh: which of n nodes dials which. For test networks, simulations and fixed meshes; the same seed makes
 * the same mesh everywhere. */
#ifndef PEAPOD_TOPOLOGY_H
#define PEAPOD_TOPOLOGY_H

#include "peapod/node.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum pea_topology_shape {
    PEA_TOPOLOGY_LINE = 0, /* each dials the next */
    PEA_TOPOLOGY_RING,     /* and the last one the first; at least 3 nodes */
    PEA_TOPOLOGY_MESH,     /* everybody with everybody */
    PEA_TOPOLOGY_STAR,     /* all others dial the first */
    PEA_TOPOLOGY_GRID,     /* width * height nodes, row by row; each dials the one to its right and the one below */
    PEA_TOPOLOGY_TREE,     /* each dials its children: `degree` of them, by default 2 */
    PEA_TOPOLOGY_RANDOM /* each dials `degree` others and is dialled by as many; no pair twice, and all hang together */
} pea_topology_shape;

typedef struct pea_topology {
    pea_topology_shape shape;
    size_t width, height; /* GRID */
    size_t degree;        /* TREE: children, 0: 2. RANDOM: at least 1, at most (nodes - 1) / 2 */
    uint64_t seed;        /* RANDOM */
} pea_topology;

/* Calls dial(arg, from, to) for each connection of the shape over nodes 0 ... nodes - 1, until it returns an error.
 * PEA_OK | PEA_E_INVALID with a sentence: the shape cannot be made of so many nodes (of fewer than 2 none can) |
 * PEA_E_NOMEM | what dial() returned. Any thread. */
PEA_API PEA_MUST_CHECK pea_err pea_topology_each(const pea_topology *topology, size_t nodes,
                                                 pea_err (*dial)(void *arg, size_t from, size_t to), void *arg,
                                                 pea_error *why);

/* How many connections that makes, each counted once; 0: the shape cannot be made of so many nodes. Any thread. */
PEA_API size_t pea_topology_expected(const pea_topology *topology, size_t nodes);

/* Lets the nodes dial each other where they listen (the first address of each). `peers` names who each node is, for the
 * dials' expectations; NULL: whoever the nodes' policies allow. The dials are begun when this returns: count on_connect
 * of either side against pea_topology_expected(). On the thread of the nodes.
 * PEA_OK | as pea_topology_each() | PEA_E_STATE: a node that is to be dialled does not listen | as
 * pea_node_connect() */
PEA_API PEA_MUST_CHECK pea_err pea_topology_connect(const pea_topology *topology, pea_node *const *nodes, size_t n,
                                                    const pea_peer *peers, pea_error *why);

#ifdef __cplusplus
}
#endif
#endif
