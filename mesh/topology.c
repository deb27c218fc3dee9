/* SPDX-License-Identifier: MIT */
/* Which of n nodes dials which, by shape. Knows nodes only to let them dial; who they are and whether they stay
 * connected is not its business. */
#include "peapod/topology.h"

#include "buf_priv.h"
#include "err_priv.h"
#include "redial_priv.h"

typedef struct walk {
    const pea_topology *t;
    size_t n;
    pea_err (*dial)(void *arg, size_t from, size_t to);
    void *arg;
} walk;

static size_t children(const pea_topology *t)
{
    return t->degree != 0 ? t->degree : 2;
}

/* ---- Random ---- */

/* The numbers first ... first + n - 1 in random order; NULL: no memory. The caller frees. */
static size_t *shuffled(size_t first, size_t n, uint64_t *state)
{
    size_t *order = pea__alloc(n * sizeof *order);
    if (order == NULL)
        return NULL;
    for (size_t i = 0; i < n; i++)
        order[i] = first + i;
    for (size_t i = n; i > 1; i--) {
        size_t j = (size_t)(pea__mix_next(state) % i), kept = order[i - 1];
        order[i - 1] = order[j];
        order[j] = kept;
    }
    return order;
}

/* The nodes lie on a circle in random order; each dials the next one, and those at degree - 1 further distances, which
 * are drawn once. Less than half of the circle, so that no pair meets twice. */
static pea_err walk_random(const walk *w)
{
    uint64_t state = w->t->seed;
    size_t n_steps = (w->n - 1) / 2 - 1; /* distances beside 1 */
    size_t *circle = shuffled(0, w->n, &state), *step = n_steps > 0 ? shuffled(2, n_steps, &state) : NULL;
    pea_err err = circle != NULL && (step != NULL || n_steps == 0) ? PEA_OK : PEA_E_NOMEM;
    for (size_t k = 0; k < w->t->degree && err == PEA_OK; k++)
        for (size_t i = 0; i < w->n && err == PEA_OK; i++)
            err = w->dial(w->arg, circle[i], circle[(i + (k == 0 ? 1 : step[k - 1])) % w->n]);
    pea__free(circle);
    pea__free(step);
    return err;
}

/* ---- The others ---- */

static pea_err walk_line(const walk *w)
{
    pea_err err = PEA_OK;
    for (size_t i = 0; i + 1 < w->n && err == PEA_OK; i++)
        err = w->dial(w->arg, i, i + 1);
    if (err == PEA_OK && w->t->shape == PEA_TOPOLOGY_RING)
        err = w->dial(w->arg, w->n - 1, 0);
    return err;
}

static pea_err walk_mesh(const walk *w)
{
    pea_err err = PEA_OK;
    for (size_t i = 0; i < w->n; i++)
        for (size_t j = i + 1; j < w->n && err == PEA_OK; j++)
            err = w->dial(w->arg, i, j);
    return err;
}

static pea_err walk_star(const walk *w)
{
    pea_err err = PEA_OK;
    for (size_t i = 1; i < w->n && err == PEA_OK; i++)
        err = w->dial(w->arg, i, 0);
    return err;
}

static pea_err walk_grid(const walk *w)
{
    pea_err err = PEA_OK;
    for (size_t i = 0; i < w->n && err == PEA_OK; i++) {
        if ((i + 1) % w->t->width != 0)
            err = w->dial(w->arg, i, i + 1);
        if (err == PEA_OK && i + w->t->width < w->n)
            err = w->dial(w->arg, i, i + w->t->width);
    }
    return err;
}

static pea_err walk_tree(const walk *w)
{
    pea_err err = PEA_OK;
    for (size_t child = 1; child < w->n && err == PEA_OK; child++)
        err = w->dial(w->arg, (child - 1) / children(w->t), child);
    return err;
}

/* ---- The public face ---- */

static pea_err check(const pea_topology *t, size_t n, pea_error *why)
{
    if (n < 2)
        return pea__error(why, PEA_E_INVALID, "a topology has at least two nodes");
    switch (t->shape) {
    case PEA_TOPOLOGY_LINE:
    case PEA_TOPOLOGY_MESH:
    case PEA_TOPOLOGY_STAR:
    case PEA_TOPOLOGY_TREE:
        return PEA_OK;
    case PEA_TOPOLOGY_RING:
        return n >= 3 ? PEA_OK : pea__error(why, PEA_E_INVALID, "a ring has at least three nodes: two are a line");
    case PEA_TOPOLOGY_GRID:
        if (t->width == 0 || n % t->width != 0 || n / t->width != t->height)
            return pea__errorf(why, PEA_E_INVALID, "a grid of %zu by %zu has not %zu nodes", t->width, t->height, n);
        return PEA_OK;
    case PEA_TOPOLOGY_RANDOM:
        if (t->degree == 0 || t->degree > (n - 1) / 2)
            return pea__errorf(why, PEA_E_INVALID, "among %zu nodes each can dial 1 to %zu others, not %zu", n,
                               (n - 1) / 2, t->degree);
        return PEA_OK;
    }
    return pea__error(why, PEA_E_INVALID, "there is no such shape");
}

pea_err pea_topology_each(const pea_topology *topology, size_t nodes,
                          pea_err (*dial)(void *arg, size_t from, size_t to), void *arg, pea_error *why)
{
    static pea_err (*const walks[])(const walk *w) = {
        [PEA_TOPOLOGY_LINE] = walk_line,     [PEA_TOPOLOGY_RING] = walk_line, [PEA_TOPOLOGY_MESH] = walk_mesh,
        [PEA_TOPOLOGY_STAR] = walk_star,     [PEA_TOPOLOGY_GRID] = walk_grid, [PEA_TOPOLOGY_TREE] = walk_tree,
        [PEA_TOPOLOGY_RANDOM] = walk_random,
    };
    pea_err err = check(topology, nodes, why);
    if (err != PEA_OK)
        return err;
    err = walks[topology->shape](&(walk){topology, nodes, dial, arg});
    return err == PEA_E_NOMEM ? pea__error(why, err, NULL) : err;
}

size_t pea_topology_expected(const pea_topology *t, size_t n)
{
    if (check(t, n, NULL) != PEA_OK)
        return 0;
    switch (t->shape) {
    case PEA_TOPOLOGY_RING:
        return n;
    case PEA_TOPOLOGY_MESH:
        return n % 2 == 0 ? n / 2 * (n - 1) : (n - 1) / 2 * n;
    case PEA_TOPOLOGY_GRID:
        return 2 * n - t->width - t->height;
    case PEA_TOPOLOGY_RANDOM:
        return n * t->degree;
    default:
        return n - 1;
    }
}

typedef struct meeting {
    pea_node *const *nodes;
    const pea_peer *peers;
    pea_error *why;
} meeting;

static pea_err meet(void *arg, size_t from, size_t to)
{
    const meeting *m = arg;
    char text[PEA_ADDR_TEXT_BYTES];
    const pea_addr *addr = pea_node_listen_addr(m->nodes[to]);
    if (addr == NULL)
        return pea__errorf(m->why, PEA_E_STATE, "node %s does not listen", pea_node_name(m->nodes[to]));
    const pea_peer *expect = m->peers != NULL ? &m->peers[to] : NULL;
    return pea_node_connect(m->nodes[from], pea_addr_format(addr, text), PEA_DIAL(.expect = expect), NULL, m->why);
}

pea_err pea_topology_connect(const pea_topology *topology, pea_node *const *nodes, size_t n, const pea_peer *peers,
                             pea_error *why)
{
    meeting m = {nodes, peers, why};
    return pea_topology_each(topology, n, meet, &m, why);
}
