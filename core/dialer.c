/* SPDX-License-Identifier: MIT */
/* Where outbound connections come from: literal addresses, and a connect() that does not block. */
#include "err_priv.h"
#include "runtime_priv.h"

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
    err = pea__socket_dial(&remote, &fd, &result, why);
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
