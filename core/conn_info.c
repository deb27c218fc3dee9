/* SPDX-License-Identifier: MIT */
/* Looking at a connection: who, where, in which state, how much. What moves it is in conn.c. */
#include <sys/socket.h>

#include "addr_priv.h"
#include "runtime_priv.h"

uint64_t pea_conn_id(const pea_conn *c)
{
    return c->id;
}

pea_node *pea_conn_node(const pea_conn *c)
{
    return c->node;
}

pea_side pea_conn_side(const pea_conn *c)
{
    return c->responder ? PEA_RESPONDER : PEA_INITIATOR;
}

pea_state pea_conn_state(const pea_conn *c)
{
    if (c->over)
        return PEA_CLOSED;
    return c->connecting ? PEA_DIALING : pea_pipe_state(c->pipe);
}

const pea_peer *pea_conn_peer(const pea_conn *c)
{
    return pea_pipe_peer(c->pipe);
}

const pea_addr *pea_conn_remote(const pea_conn *c)
{
    union { /* nobody sees that it is written out */
        const pea__place *in;
        pea__place *out;
    } remote = {.in = &c->remote};
    return pea__place_whole(remote.out);
}

pea_err pea_conn_hello(const pea_conn *c, pea_hello *hello)
{
    return pea__forked(c->node->runtime) ? PEA_E_FORKED : pea_pipe_hello(c->pipe, hello);
}

pea_err pea_conn_binding(const pea_conn *c, void *out, size_t *len)
{
    return pea__forked(c->node->runtime) ? PEA_E_FORKED : pea_pipe_binding(c->pipe, out, len);
}

pea_err pea_conn_export(const pea_conn *c, const char *label, const void *context, size_t context_len, void *out,
                        size_t len)
{
    return pea__forked(c->node->runtime) ? PEA_E_FORKED
                                         : pea_pipe_export(c->pipe, label, context, context_len, out, len);
}

size_t pea_conn_queued(const pea_conn *c)
{
    return pea_pipe_queued(c->pipe);
}

void pea_conn_set_user(pea_conn *c, void *user)
{
    c->user = user;
}

void *pea_conn_user(const pea_conn *c)
{
    return c->user;
}

void pea_conn_snapshot(const pea_conn *c, pea_conn_info *info)
{
    *info = (pea_conn_info){.id = c->id,
                            .side = pea_conn_side(c),
                            .state = pea_conn_state(c),
                            .remote = pea__place_addr(&c->remote),
                            .messages_in = c->messages_in,
                            .messages_out = c->messages_out,
                            .bytes_in = c->bytes_in,
                            .bytes_out = c->bytes_out};
    struct sockaddr_storage local;
    socklen_t len = sizeof local;
    if (getsockname(c->fd, (struct sockaddr *)&local, &len) == 0)
        pea__addr_from_socket(&info->local, &local, len);
    (void)pea__pipe_copy_peer(c->pipe, &info->peer);
}
