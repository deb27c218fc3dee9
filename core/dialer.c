/* SPDX-License-Identifier: MIT */
/* Where outbound connections come from: literal addresses, sockets of the caller's, names, and a connect() that does
 * not block. What becomes of a name is by_name.c's to say. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "chain_priv.h"
#include "err_priv.h"
#include "resolver_priv.h"

/* Whom a connected socket leads to. */
static pea_err peer_of(int fd, pea_addr *remote, pea_error *why)
{
    struct sockaddr_storage at;
    socklen_t len = sizeof at;
    memset(&at, 0, sizeof at);
    if (fd <= 0)
        return pea__error(why, PEA_E_INVALID, "there is no address, and no socket that is connected");
    if (getpeername(fd, (struct sockaddr *)&at, &len) != 0)
        return pea__error_sys(why, errno, "there is no address, and the socket is not connected");
    pea__addr_from_socket(remote, &at, len);
    return PEA_OK;
}

/* Whether it makes sense to dial there. */
static pea_err check_remote(pea_node *node, const pea_addr *remote, const pea_dial_opts *o, pea_error *why)
{
    char text[PEA_ADDR_TEXT_BYTES];
    if (o->fd > 0)
        return PEA_OK; /* the caller knows what it leads to */
    if (pea__listener_at(node, remote))
        return pea__errorf(why, PEA_E_INVALID, "%s is this node's own address", pea_addr_format(remote, text));
    if (!o->again && pea__registry_dialled(node, remote))
        return pea__errorf(why, PEA_E_EXISTS, "%s is dialled already, or connected", pea_addr_format(remote, text));
    return PEA_OK;
}

static pea_chain *chain_of(const pea_node *node, const pea_dial_opts *o)
{
    return o->chain != NULL ? o->chain : node->chain;
}

/* What the caller said of the peer, and where the connection comes to hang. */
static pea_err new_conn(pea_conn **conn, pea_node *node, int fd, const pea_addr *remote, const pea__origin *origin,
                        const pea_dial_opts *o, pea__target *target, int result, pea_error *why)
{
    pea_chain *chain = chain_of(node, o);
    return pea__conn_new(conn, node, fd, remote, origin, chain, pea__node_codec(node, chain, o->codec), o, target,
                         result, why);
}

/* ---- Literal addresses ---- */

static pea_err dial_addr(pea_node *node, const pea_addr *remote, const pea_dial_opts *o, uint64_t *id, pea_error *why)
{
    pea__origin origin;
    pea_conn *conn;
    pea_err err = check_remote(node, remote, o, why);
    if (err == PEA_OK)
        err = pea__admission_take(node, chain_of(node, o), remote, false, &origin, why);
    if (err != PEA_OK)
        return err;
    int fd = o->fd, result = 0;
    if (o->fd > 0)
        err = pea__socket_dial_with(o->fd, remote, &result, why);
    else
        err = pea__socket_dial(remote, &fd, &result, why);
    if (err != PEA_OK) {
        pea__admission_gone(node, &origin, false);
        return err;
    }
    err = new_conn(&conn, node, fd, remote, &origin, o, NULL, result, why);
    if (err != PEA_OK) {
        if (o->fd <= 0)
            close(fd);
        return err;
    }
    if (id != NULL)
        *id = conn->id;
    pea__conn_place(conn);
    return PEA_OK;
}

/* ---- Names ---- */

static pea_err check_name(pea_node *node, const pea__target *target, const pea_dial_opts *o, pea_error *why)
{
    if (o->fd > 0)
        return pea__error(why, PEA_E_INVALID, "a socket of the caller's goes with a literal address, not with a name");
    if (!o->again && pea__registry_dialled_name(node, target->name))
        return pea__errorf(why, PEA_E_EXISTS, "%.120s is dialled already, or connected", target->name);
    return PEA_OK;
}

/* The host is the peer's name, unless the caller says another. */
static void name_by_host(pea_dial_opts *o, pea__target *target, const pea__host *host, char plain[PEA__HOST_MAX + 1])
{
    if (o->name != NULL)
        return;
    o->name = pea__host_plain(host, plain);
    target->names = true;
}

/* A connection that waits for the lookup `target->wait`. It may be gone when this returns: it has its own thread. */
static pea_err place_named(pea_node *node, const pea__host *host, pea__target *target, const pea_dial_opts *opts,
                           uint64_t *id, pea_error *why)
{
    static const pea_addr nowhere = {0};
    char plain[PEA__HOST_MAX + 1];
    pea_dial_opts o = *opts;
    pea__origin origin;
    pea_conn *conn;
    pea_err err = check_name(node, target, &o, why);
    if (err == PEA_OK)
        err = pea__admission_take(node, chain_of(node, &o), &nowhere, false, &origin, why);
    if (err != PEA_OK)
        return err;
    name_by_host(&o, target, host, plain);
    err = new_conn(&conn, node, -1, &nowhere, &origin, &o, target, EINPROGRESS, why);
    if (err != PEA_OK)
        return err;
    *id = conn->id;
    pea__conn_place(conn);
    return PEA_OK;
}

static pea_err dial_name(pea_node *node, const pea__host *host, const pea_dial_opts *o, uint64_t *id, pea_error *why)
{
    pea_runtime *r = node->runtime;
    pea__target *target;
    uint64_t wait, conn;
    pea_err err = pea__lookup_open(r, host, &wait, why);
    if (err != PEA_OK)
        return err;
    if (pea__target_new(&target, host, o->again, wait) != PEA_OK) {
        pea__lookup_drop(r, wait);
        return pea__error(why, PEA_E_NOMEM, NULL);
    }
    err = place_named(node, host, target, o, &conn, why);
    if (err != PEA_OK) {
        pea__target_free(target);
        pea__lookup_drop(r, wait);
        return err;
    }
    if (id != NULL)
        *id = conn;
    pea__lookup_ask(r, wait, conn, host); /* only now can an answer be brought */
    return PEA_OK;
}

pea_err pea_node_connect(pea_node *node, const char *addr, const pea_dial_opts *opts, uint64_t *id, pea_error *why)
{
    pea_dial_opts o = PEA_DIAL_INIT;
    pea__host host = {.port = 0};
    pea_addr remote;
    pea_err err = pea__node_may_begin(node, why);
    if (err != PEA_OK)
        return err;
    err = pea__options(&o, sizeof o, opts, why);
    if (err == PEA_OK && o.chain != NULL && node->limits.one_per_peer)
        err = pea__chain_can_decide(o.chain, why);
    o.again = o.again || o.replaces != 0;
    if (err == PEA_OK && o.side != PEA_INITIATOR && o.side != PEA_RESPONDER)
        err = pea__error(why, PEA_E_INVALID, "side is PEA_INITIATOR or PEA_RESPONDER");
    if (err == PEA_OK)
        err = addr != NULL ? pea__host_parse(addr, &host, &remote, why) : peer_of(o.fd, &remote, why);
    if (err != PEA_OK)
        return err;
    return host.name[0] != '\0' ? dial_name(node, &host, &o, id, why) : dial_addr(node, &remote, &o, id, why);
}
