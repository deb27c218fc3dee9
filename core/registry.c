/* SPDX-License-Identifier: MIT */
/* Live connections: by id in the runtime, by address and by proven peer in their node. Touched when a connection comes,
 * goes or is looked up. */
#include <string.h>

#include "runtime_priv.h"

pea_err pea__registry_add(pea_conn *conn)
{
    pea_node *node = conn->node;
    HASH_ADD(hh, node->runtime->conns, id, sizeof conn->id, conn);
    if (conn->hh.tbl == NULL)
        return PEA_E_NOMEM;
    HASH_ADD(hh_addr, node->by_addr, remote, sizeof conn->remote, conn);
    if (conn->hh_addr.tbl == NULL) {
        HASH_DELETE(hh, node->runtime->conns, conn);
        conn->hh.tbl = NULL;
        return PEA_E_NOMEM;
    }
    conn->next = node->conns;
    conn->link = &node->conns;
    if (conn->next != NULL)
        conn->next->link = &conn->next;
    node->conns = conn;
    return PEA_OK;
}

pea_err pea__registry_name(pea_conn *conn)
{
    const pea_peer *peer = pea_pipe_peer(conn->pipe);
    if (peer == NULL)
        return PEA_OK;
    pea__peer_entry *entry = pea__alloc(sizeof *entry);
    if (entry == NULL)
        return PEA_E_NOMEM;
    entry->kind = peer->kind;
    memcpy(entry->id, peer->id, PEA_ID_BYTES);
    entry->conn = conn;
    HASH_ADD_KEYPTR(hh, conn->node->by_peer, &entry->kind, sizeof entry->kind + PEA_ID_BYTES, entry);
    if (entry->hh.tbl == NULL) {
        pea__free(entry);
        return PEA_E_NOMEM;
    }
    conn->named = entry;
    return PEA_OK;
}

void pea__registry_remove(pea_conn *conn)
{
    if (conn->named != NULL) {
        HASH_DELETE(hh, conn->node->by_peer, conn->named);
        pea__free(conn->named);
        conn->named = NULL;
    }
    if (conn->hh.tbl == NULL)
        return;
    HASH_DELETE(hh, conn->node->runtime->conns, conn);
    HASH_DELETE(hh_addr, conn->node->by_addr, conn);
    conn->hh.tbl = NULL;
    *conn->link = conn->next;
    if (conn->next != NULL)
        conn->next->link = conn->link;
}

pea_conn *pea__registry_find(const pea_runtime *runtime, uint64_t id)
{
    pea_conn *found;
    HASH_FIND(hh, runtime->conns, &id, sizeof id, found);
    return found;
}

pea_conn *pea_node_find(const pea_node *node, uint64_t id)
{
    pea_conn *found = pea__registry_find(node->runtime, id);
    return found != NULL && found->node == node ? found : NULL;
}

pea_conn *pea_node_find_addr(const pea_node *node, const pea_addr *remote)
{
    pea_conn *found;
    HASH_FIND(hh_addr, node->by_addr, remote, sizeof *remote, found);
    return found;
}

pea_conn *pea_node_find_peer(const pea_node *node, const pea_peer *peer)
{
    pea__peer_entry key = {.kind = peer->kind}, *found;
    memcpy(key.id, peer->id, PEA_ID_BYTES);
    HASH_FIND(hh, node->by_peer, &key.kind, sizeof key.kind + PEA_ID_BYTES, found);
    if (found == NULL || pea_conn_state(found->conn) == PEA_READY)
        return found != NULL ? found->conn : NULL;
    for (pea__peer_entry *e = node->by_peer; e != NULL; e = e->hh.next) /* one that ends: there may be another */
        if (e->kind == key.kind && memcmp(e->id, key.id, PEA_ID_BYTES) == 0 && pea_conn_state(e->conn) == PEA_READY)
            return e->conn;
    return found->conn;
}
