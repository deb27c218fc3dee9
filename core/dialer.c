/* SPDX-License-Identifier: MIT */
/* Where outbound connections come from: literal addresses, and a connect() that does not block. */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "addr_priv.h"
#include "err_priv.h"
#include "runtime_priv.h"

static int socket_family(const pea_addr *addr)
{
    return addr->family == PEA_ADDR_IPV4 ? AF_INET : addr->family == PEA_ADDR_IPV6 ? AF_INET6 : AF_UNIX;
}

/* Begins to connect. `*result` is what connect() said: 0, EINPROGRESS or an error. */
static pea_err begin(const pea_addr *addr, int *fd, int *result, pea_error *why)
{
    *fd = socket(socket_family(addr), PEA__STREAM, 0);
    if (*fd < 0)
        return pea__error_sys(why, errno, "socket");
    pea_err err = pea__socket_ready(*fd, addr, why);
    if (err != PEA_OK) {
        close(*fd);
        return err;
    }
    struct sockaddr_storage to;
    socklen_t len = pea__addr_to_socket(addr, &to);
    *result = connect(*fd, (const struct sockaddr *)&to, len) == 0 ? 0 : errno;
    if (*result == EINTR)
        *result = EINPROGRESS; /* it goes on by itself */
    return PEA_OK;
}

pea_err pea_node_connect(pea_node *node, const char *addr, const pea_dial_opts *opts, uint64_t *id, pea_error *why)
{
    pea_dial_opts o = PEA_DIAL_INIT;
    pea_addr remote;
    int fd, result = 0;
    if (pea__forked(node->runtime))
        return pea__error(why, PEA_E_FORKED, NULL);
    if (node->shutting_down || node->freed)
        return pea__error(why, PEA_E_STATE, "the node is shut down");
    pea_err err = pea__options(&o, sizeof o, opts, why);
    if (err == PEA_OK)
        err = pea_addr_parse(&remote, addr, why);
    if (err == PEA_OK)
        err = pea__admission_take(node, &remote, why);
    if (err != PEA_OK)
        return err;
    err = begin(&remote, &fd, &result, why);
    if (err != PEA_OK) {
        pea__admission_gone(node, false);
        return err;
    }
    pea_conn *conn;
    pea_chain *chain = o.chain != NULL ? o.chain : node->chain;
    err = pea__conn_new(&conn, node, fd, &remote, chain, pea__node_codec(node, chain, o.codec), &o, why);
    if (err != PEA_OK)
        return err;
    conn->user = o.user;
    if (id != NULL)
        *id = conn->id;
    pea__conn_dial(conn, result);
    return PEA_OK;
}
