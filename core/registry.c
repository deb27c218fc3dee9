/* SPDX-License-Identifier: MIT */
/* Live connections: by id with their own thread, by address in their node; by peer they are in by_peer.c. Touched when
 * a connection comes, goes or is looked up, and only then locked, where there are threads. What is found is the calling
 * thread's own: nobody else may hold a pointer to it. */
#include <string.h>

#include "runtime_priv.h"

void pea__registry_lock(pea_node *node)
{
    if (node->runtime->n_threads > 0)
        (void)pthread_mutex_lock(&node->lock);
}

void pea__registry_unlock(pea_node *node)
{
    if (node->runtime->n_threads > 0)
        (void)pthread_mutex_unlock(&node->lock);
}

/* Until it has arrived it may be in the tables already, and its thread has yet to begin with it. */
bool pea__conn_is_here(const pea_conn *conn)
{
    return conn->worker == pea__worker_here(conn->node->runtime) && conn->is_by_id;
}

/* ---- The tables ---- */

static pea_conn *of_id(pea__index_link *link)
{
    return link != NULL ? (pea_conn *)(void *)((char *)link - offsetof(pea_conn, by_id)) : NULL;
}

static pea_conn *of_addr(pea__index_link *link)
{
    return link != NULL ? (pea_conn *)(void *)((char *)link - offsetof(pea_conn, by_addr)) : NULL;
}

static uint64_t id_hash(uint64_t id)
{
    return pea__table_hash(&id, sizeof id);
}

/* Of what pea_addr_equal() looks at. */
static uint64_t addr_hash(const pea_addr *addr)
{
    uint8_t key[3 + sizeof addr->u] = {addr->family, (uint8_t)(addr->port >> 8), (uint8_t)addr->port};
    size_t len = addr->family == PEA_ADDR_IPV4 ? 4 : addr->family == PEA_ADDR_IPV6 ? 16 : addr->path_len;
    len = len < sizeof addr->u ? len : sizeof addr->u;
    memcpy(key + 3, &addr->u, len);
    return pea__table_hash(key, 3 + len);
}

static uint64_t hash_of_id(const pea__index_link *link)
{
    const pea_conn *conn = (const pea_conn *)(const void *)((const char *)link - offsetof(pea_conn, by_id));
    return id_hash(conn->id);
}

static uint64_t hash_of_addr(const pea__index_link *link)
{
    const pea_conn *conn = (const pea_conn *)(const void *)((const char *)link - offsetof(pea_conn, by_addr));
    const pea_addr remote = pea__place_addr(&conn->remote);
    return addr_hash(&remote);
}

void pea__registry_worker_init(pea__worker *worker)
{
    worker->conns.hash = hash_of_id;
}

void pea__registry_node_init(pea_node *node)
{
    node->by_addr.hash = hash_of_addr;
}

/* One of those at this address. With the lock. */
static pea_conn *at_addr(const pea_node *node, const pea_addr *remote)
{
    pea_conn *c = of_addr(pea__index_at(&node->by_addr, addr_hash(remote)));
    while (c != NULL && !pea__place_is(&c->remote, remote))
        c = of_addr(c->by_addr.next);
    return c;
}

/* ---- Coming and going ---- */

/* Whoever looks for somebody to send off must not walk over those that are READY: there may be very many. */
static void pending_add(pea_conn *conn)
{
    pea_node *node = conn->node;
    conn->fellow_link = node->pending != NULL ? node->pending_end : &node->pending;
    *conn->fellow_link = conn;
    node->pending_end = &conn->fellow;
}

static void pending_remove(pea_conn *conn)
{
    if (conn->ready || conn->fellow_link == NULL)
        return;
    *conn->fellow_link = conn->fellow;
    if (conn->fellow != NULL)
        conn->fellow->fellow_link = conn->fellow_link;
    else
        conn->node->pending_end = conn->fellow_link;
    conn->fellow = NULL;
    conn->fellow_link = NULL;
}

/* By its address, or by the name that it has instead. With the lock. */
static bool enter(pea_node *node, pea_conn *conn)
{
    pea__target *t = conn->target;
    if (t != NULL) {
        HASH_ADD_KEYPTR(hh, node->by_name, t->name, t->len, t);
        return t->hh.tbl != NULL;
    }
    return conn->is_by_addr = pea__index_add(&node->by_addr, &conn->by_addr);
}

/* With the lock. */
static void leave(pea_node *node, pea_conn *conn)
{
    if (conn->is_by_addr)
        pea__index_remove(&node->by_addr, &conn->by_addr);
    conn->is_by_addr = false;
    if (conn->target != NULL && conn->target->hh.tbl != NULL) {
        HASH_DELETE(hh, node->by_name, conn->target);
        conn->target->hh.tbl = NULL;
    }
}

pea_err pea__registry_add(pea_conn *conn)
{
    pea_node *node = conn->node;
    pea__registry_lock(node);
    bool added = enter(node, conn);
    if (added) {
        conn->next = node->conns;
        conn->link = &node->conns;
        if (conn->next != NULL)
            conn->next->link = &conn->next;
        node->conns = conn;
        if (conn->origin.inbound)
            pending_add(conn);
    }
    pea__registry_unlock(node);
    return added ? PEA_OK : PEA_E_NOMEM;
}

pea_err pea__registry_adopt(pea_conn *conn)
{
    conn->is_by_id = pea__index_add(&conn->worker->conns, &conn->by_id);
    return conn->is_by_id ? PEA_OK : PEA_E_NOMEM;
}

void pea__registry_remove(pea_conn *conn)
{
    pea_node *node = conn->node;
    if (conn->is_by_id)
        pea__index_remove(&conn->worker->conns, &conn->by_id);
    conn->is_by_id = false;
    pea__by_peer_remove(conn);
    pea__registry_lock(node);
    pending_remove(conn);
    if (conn->link != NULL) {
        leave(node, conn);
        *conn->link = conn->next;
        if (conn->next != NULL)
            conn->next->link = conn->link;
    }
    conn->link = NULL;
    pea__registry_unlock(node);
    atomic_store(&conn->settled, true);
}

void pea__registry_settle(pea_conn *conn)
{
    pea__registry_lock(conn->node);
    pending_remove(conn);
    conn->ready = true;
    pea__registry_unlock(conn->node);
    atomic_store(&conn->settled, true);
    atomic_store(&conn->usable, true);
}

/* ---- Looking up ---- */

pea_conn *pea__registry_find(const pea__worker *worker, uint64_t id)
{
    pea_conn *c = of_id(pea__index_at(&worker->conns, id_hash(id)));
    while (c != NULL && c->id != id)
        c = of_id(c->by_id.next);
    return c;
}

pea_conn *pea_node_find(const pea_node *node, uint64_t id)
{
    pea_conn *found = pea__registry_find(pea__worker_here(node->runtime), id);
    return found != NULL && found->node == node ? found : NULL;
}

pea_conn *pea_node_find_addr(const pea_node *node, const pea_addr *remote)
{
    if (pea__forked(node->runtime))
        return NULL;
    pea__registry_lock(pea__node_mutable(node));
    pea_conn *found = at_addr(node, remote);
    pea__registry_unlock(pea__node_mutable(node));
    return found != NULL && pea__conn_is_here(found) ? found : NULL;
}

/* By anybody but `self`. With the lock. */
static bool dialled(const pea_node *node, const pea_addr *remote, const pea_conn *self)
{
    const pea_conn *first = at_addr(node, remote), *c;
    if (first == NULL)
        return false;
    bool found = !first->origin.inbound && first != self;
    for (c = node->conns; c != NULL && !found; c = c->next) /* one that does not count may hide one that does */
        found = !c->origin.inbound && c != self && pea__place_is(&c->remote, remote);
    return found;
}

bool pea__registry_dialled(pea_node *node, const pea_addr *remote)
{
    pea__registry_lock(node);
    bool found = dialled(node, remote, NULL);
    pea__registry_unlock(node);
    return found;
}

bool pea__registry_dialled_name(pea_node *node, const char *name)
{
    pea__target *found;
    pea__registry_lock(node);
    HASH_FIND(hh, node->by_name, name, strlen(name), found);
    pea__registry_unlock(node);
    return found != NULL;
}

pea_err pea__registry_move(pea_conn *conn, const pea_addr *remote, bool again)
{
    pea_node *node = conn->node;
    pea_err err = PEA_OK;
    pea__registry_lock(node);
    if (!again && dialled(node, remote, conn)) {
        err = PEA_E_EXISTS;
    } else {
        if (conn->is_by_addr)
            pea__index_remove(&node->by_addr, &conn->by_addr);
        err = pea__place_set(&conn->remote, remote);
        conn->is_by_addr = err == PEA_OK && pea__index_add(&node->by_addr, &conn->by_addr);
        err = conn->is_by_addr ? PEA_OK : PEA_E_NOMEM;
    }
    pea__registry_unlock(node);
    return err;
}

/* New connections come to the front, so a walk meets only those that were there; none leaves the list but in end(),
 * from the loop. Where there are threads the next one is looked up anew: others' connections come and go beside
 * ours. */
void pea__registry_each(pea_node *node, bool (*fn)(pea_conn *conn, void *arg), void *arg)
{
    pea_conn *c, *next;
    pea__registry_lock(node);
    for (c = node->conns; c != NULL && !pea__conn_is_here(c); c = c->next)
        continue;
    pea__registry_unlock(node);
    for (; c != NULL; c = next) {
        bool more = fn(c, arg);
        pea__registry_lock(node);
        for (next = c->next; next != NULL && !pea__conn_is_here(next); next = next->next)
            continue;
        pea__registry_unlock(node);
        if (!more)
            break;
    }
}

typedef struct visitor {
    void (*fn)(pea_conn *conn, void *arg);
    void *arg;
} visitor;

static void visit(pea__index_link *link, void *arg)
{
    const visitor *v = arg;
    v->fn(of_id(link), v->arg);
}

void pea__registry_each_here(pea__worker *worker, void (*fn)(pea_conn *conn, void *arg), void *arg)
{
    visitor v = {fn, arg};
    pea__index_each(&worker->conns, visit, &v);
}
