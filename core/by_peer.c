/* SPDX-License-Identifier: MIT */
/* Connections by who is at the other end: to find, to send to, to close. Which of several may live is one_per_peer.c's
 * to say. */
#include <string.h>

#include "runtime_priv.h"

/* ---- The table; all of it with the registry's lock ---- */

static pea__peer_entry *entry_of(pea__index_link *link)
{
    return link != NULL ? (pea__peer_entry *)(void *)((char *)link - offsetof(pea__peer_entry, link)) : NULL;
}

static uint64_t peer_hash(const pea__who *who)
{
    uint8_t key[1 + PEA_ID_BYTES] = {(uint8_t)who->kind};
    memcpy(key + 1, who->id, PEA_ID_BYTES);
    return pea__table_hash(key, sizeof key);
}

static uint64_t hash_of_entry(const pea__index_link *link)
{
    const pea__peer_entry *entry =
        (const pea__peer_entry *)(const void *)((const char *)link - offsetof(pea__peer_entry, link));
    return peer_hash(&entry->who);
}

void pea__by_peer_init(pea_node *node)
{
    node->by_peer.hash = hash_of_entry;
}

static pea__peer_entry *entry_of_who(const pea_node *node, const pea__who *who)
{
    pea__peer_entry *e = entry_of(pea__index_at(&node->by_peer, peer_hash(who)));
    while (e != NULL && !pea__who_equal(&e->who, who))
        e = entry_of(e->link.next);
    return e;
}

static pea__peer_entry *entry_find(const pea_node *node, const pea_peer *peer)
{
    const pea__who who = pea__who_of(peer);
    return entry_of_who(node, &who);
}

static pea__peer_entry *entry_new(pea_node *node, const pea__who *who)
{
    pea__peer_entry *entry = pea__alloc(sizeof *entry);
    if (entry == NULL)
        return NULL;
    entry->who = *who;
    if (pea__index_add(&node->by_peer, &entry->link))
        return entry;
    pea__free(entry);
    return NULL;
}

pea__peer_entry *pea__peer_entry_of(pea_conn *conn)
{
    if (conn->named != NULL)
        return conn->named;
    const pea__who *who = pea__pipe_who(conn->pipe);
    pea__peer_entry *entry = entry_of_who(conn->node, who);
    if (entry == NULL && (entry = entry_new(conn->node, who)) == NULL)
        return NULL;
    entry->refs++;
    conn->named = entry;
    return entry;
}

/* ---- Coming and going ---- */

pea_err pea__by_peer_add(pea_conn *conn)
{
    if (pea__pipe_who(conn->pipe) == NULL)
        return PEA_OK;
    pea__registry_lock(conn->node);
    pea__peer_entry *entry = pea__peer_entry_of(conn);
    if (entry != NULL) {
        conn->fellow = entry->conns;
        conn->fellow_link = &entry->conns;
        if (conn->fellow != NULL)
            conn->fellow->fellow_link = &conn->fellow;
        entry->conns = conn;
    }
    pea__registry_unlock(conn->node);
    return entry != NULL ? PEA_OK : PEA_E_NOMEM;
}

void pea__by_peer_remove(pea_conn *conn)
{
    pea__peer_entry *entry = conn->named;
    if (entry == NULL)
        return;
    pea__registry_lock(conn->node);
    if (conn->ready && conn->fellow_link != NULL) {
        *conn->fellow_link = conn->fellow;
        if (conn->fellow != NULL)
            conn->fellow->fellow_link = conn->fellow_link;
        conn->fellow = NULL;
        conn->fellow_link = NULL;
    }
    pea__post *letter;
    uint64_t next = pea__claim_drop(entry, conn->id, &letter);
    if (--entry->refs == 0) {
        pea__index_remove(&conn->node->by_peer, &entry->link);
        pea__free(entry);
    }
    pea__registry_unlock(conn->node);
    conn->named = NULL;
    if (next != 0)
        pea__claim_grant(conn->node->runtime, next, letter);
}

/* ---- Looking up ---- */

/* Of several of this thread's the one that is READY: others end. With the lock. */
static pea_conn *find_here(const pea__peer_entry *entry)
{
    pea_conn *any = NULL;
    for (pea_conn *c = entry != NULL ? entry->conns : NULL; c != NULL; c = c->fellow) {
        if (!pea__conn_is_here(c))
            continue;
        any = c;
        if (pea_conn_state(c) == PEA_READY)
            break;
    }
    return any;
}

pea_conn *pea_node_find_peer(const pea_node *node, const pea_peer *peer)
{
    if (pea__forked(node->runtime))
        return NULL;
    pea__registry_lock(pea__node_mutable(node));
    pea_conn *found = find_here(entry_find(node, peer));
    pea__registry_unlock(pea__node_mutable(node));
    return found;
}

/* ---- Sending and closing ---- */

pea_err pea_node_send_peer(pea_node *node, const pea_peer *peer, pea_msg *msg, void (*on_sent)(void *arg, pea_err err),
                           void *arg)
{
    if (pea__forked(node->runtime))
        return PEA_E_FORKED;
    pea_conn *here = NULL;
    uint64_t elsewhere = 0;
    pea__registry_lock(node);
    const pea__peer_entry *entry = entry_find(node, peer);
    for (pea_conn *c = entry != NULL ? entry->conns : NULL; c != NULL && here == NULL; c = c->fellow) {
        if (!atomic_load(&c->usable))
            continue;
        if (pea__conn_is_here(c))
            here = c;
        else if (elsewhere == 0)
            elsewhere = c->id;
    }
    pea__registry_unlock(node);
    if (here != NULL)
        return pea_conn_send_msg(here, msg, on_sent, arg);
    return elsewhere != 0 ? pea_post_send(node->runtime, elsewhere, msg, on_sent, arg) : PEA_E_NOT_FOUND;
}

pea_err pea_node_close_peer(pea_node *node, const pea_peer *peer, uint16_t code, const char *text)
{
    if (pea__forked(node->runtime))
        return PEA_E_FORKED;
    pea_err err = PEA_OK;
    pea__registry_lock(node);
    const pea__peer_entry *entry = entry_find(node, peer);
    bool found = entry != NULL && entry->conns != NULL;
    for (pea_conn *c = found ? entry->conns : NULL; c != NULL && err == PEA_OK; c = c->fellow) {
        if (node->runtime->n_threads == 0)
            pea_conn_close(c, code, text); /* its callback may do what it likes: the list changes in the loop only */
        else
            err = pea_post_close(node->runtime, c->id, code, text);
    }
    pea__registry_unlock(node);
    return found ? err : PEA_E_NOT_FOUND;
}
