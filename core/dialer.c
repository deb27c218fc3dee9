/* SPDX-License-Identifier: MIT */
/* Where outbound connections come from: literal addresses, sockets of the caller's, and a connect() that does not
 * block. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "err_priv.h"
#include "runtime_priv.h"

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

pea_err pea_node_connect(pea_node *node, const char *addr, const pea_dial_opts *opts, uint64_t *id, pea_error *why)
{
    pea_dial_opts o = PEA_DIAL_INIT;
    pea_addr remote;
    pea__origin origin;
    if (pea__forked(node->runtime))
        return pea__error(why, PEA_E_FORKED, NULL);
    if (node->shutting_down || node->freed)
        return pea__error(why, PEA_E_STATE, "the node is shut down");
    pea_err err = pea__options(&o, sizeof o, opts, why);
    if (err == PEA_OK && o.side != PEA_INITIATOR && o.side != PEA_RESPONDER)
        err = pea__error(why, PEA_E_INVALID, "side is PEA_INITIATOR or PEA_RESPONDER");
    if (err == PEA_OK)
        err = addr != NULL ? pea_addr_parse(&remote, addr, why) : peer_of(o.fd, &remote, why);
    pea_chain *chain = o.chain != NULL ? o.chain : node->chain;
    if (err == PEA_OK)
        err = check_remote(node, &remote, &o, why);
    if (err == PEA_OK)
        err = pea__admission_take(node, chain, &remote, false, &origin, why);
    if (err != PEA_OK)
        return err;
    int fd = o.fd, result = 0;
    if (o.fd > 0)
        err = pea__socket_dial_with(o.fd, &remote, &result, why);
    else
        err = pea__socket_dial(&remote, &fd, &result, why);
    if (err != PEA_OK) {
        pea__admission_gone(node, &origin, false);
        return err;
    }
    pea_conn *conn;
    err =
        pea__conn_new(&conn, node, fd, &remote, &origin, chain, pea__node_codec(node, chain, o.codec), &o, result, why);
    if (err != PEA_OK) {
        if (o.fd <= 0)
            close(fd);
        return err;
    }
    if (id != NULL)
        *id = conn->id;
    pea__conn_place(conn);
    return PEA_OK;
}
