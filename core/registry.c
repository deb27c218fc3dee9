/* SPDX-License-Identifier: MIT */
/* Live connections: by id with their own thread, by address in their node; by peer they are in by_peer.c. Touched when
 * a connection comes, goes or is looked up, and only then locked, where there are threads. What is found is the calling
 * thread's own: nobody else may hold a pointer to it. */
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

static pea_node *mutable(const pea_node *node)
{
    union {
        const pea_node *in;
        pea_node *out;
    } cast = {.in = node};
    return cast.out;
}

bool pea__conn_is_here(const pea_conn *conn)
{
    return conn->worker == pea__worker_here(conn->node->runtime);
}

/* ---- Coming and going ---- */

/* Whoever looks for somebody to send off must not walk over those that are READY: there may be very many. */
static void pending_add(pea_conn *conn)
{
    pea_node *node = conn->node;
    conn->pending_link = node->pending != NULL ? node->pending_end : &node->pending;
    *conn->pending_link = conn;
    node->pending_end = &conn->pending_next;
}

static void pending_remove(pea_conn *conn)
{
    if (atomic_load(&conn->settled) || conn->pending_link == NULL)
        return;
    *conn->pending_link = conn->pending_next;
    if (conn->pending_next != NULL)
        conn->pending_next->pending_link = conn->pending_link;
    else
        conn->node->pending_end = conn->pending_link;
    conn->pending_next = NULL;
    conn->pending_link = NULL;
}

pea_err pea__registry_add(pea_conn *conn)
{
    pea_node *node = conn->node;
    pea__registry_lock(node);
    HASH_ADD(hh_addr, node->by_addr, remote, sizeof conn->remote, conn);
    bool added = conn->hh_addr.tbl != NULL;
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
    HASH_ADD(hh, conn->worker->conns, id, sizeof conn->id, conn);
    return conn->hh.tbl != NULL ? PEA_OK : PEA_E_NOMEM;
}

void pea__registry_remove(pea_conn *conn)
{
    pea_node *node = conn->node;
    if (conn->hh.tbl != NULL)
        HASH_DELETE(hh, conn->worker->conns, conn);
    conn->hh.tbl = NULL;
    pea__by_peer_remove(conn);
    pea__registry_lock(node);
    pending_remove(conn);
    if (conn->hh_addr.tbl != NULL) {
        HASH_DELETE(hh_addr, node->by_addr, conn);
        *conn->link = conn->next;
        if (conn->next != NULL)
            conn->next->link = conn->link;
    }
    pea__registry_unlock(node);
    conn->hh_addr.tbl = NULL;
    atomic_store(&conn->settled, true);
}

void pea__registry_settle(pea_conn *conn)
{
    pea__registry_lock(conn->node);
    pending_remove(conn);
    pea__registry_unlock(conn->node);
    atomic_store(&conn->settled, true);
}

/* ---- Looking up ---- */

pea_conn *pea__registry_find(const pea__worker *worker, uint64_t id)
{
    pea_conn *found;
    HASH_FIND(hh, worker->conns, &id, sizeof id, found);
    return found;
}

pea_conn *pea_node_find(const pea_node *node, uint64_t id)
{
    pea_conn *found = pea__registry_find(pea__worker_here(node->runtime), id);
    return found != NULL && found->node == node ? found : NULL;
}

pea_conn *pea_node_find_addr(const pea_node *node, const pea_addr *remote)
{
    pea_conn *found;
    pea__registry_lock(mutable(node));
    HASH_FIND(hh_addr, node->by_addr, remote, sizeof *remote, found);
    pea__registry_unlock(mutable(node));
    return found != NULL && pea__conn_is_here(found) ? found : NULL;
}

bool pea__registry_dialled(pea_node *node, const pea_addr *remote)
{
    pea_conn *first, *c;
    bool found = false;
    pea__registry_lock(node);
    HASH_FIND(hh_addr, node->by_addr, remote, sizeof *remote, first);
    found = first != NULL && !first->origin.inbound;
    if (first != NULL && !found) /* a peer that dialled us from there hides one that we dialled */
        for (c = node->conns; c != NULL && !found; c = c->next)
            found = !c->origin.inbound && pea_addr_equal(&c->remote, remote);
    pea__registry_unlock(node);
    return found;
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
