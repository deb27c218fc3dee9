/* SPDX-License-Identifier: MIT */
/* The networking floor without the floors above it: a plain connection over loopback, in a program that is linked with
 * libev and no crypto library. That it links is half of what it shows; the other half is the exit status. */
#include <ev.h>
#include <stdio.h>
#include <string.h>

#include "peapod/node.h"

static const char greeting[] = "no crypto here";

typedef struct scene {
    struct ev_loop *loop;
    bool received, orderly;
} scene;

static void on_connect(pea_conn *conn, void *user)
{
    (void)user;
    if (pea_conn_side(conn) == PEA_INITIATOR && pea_conn_send(conn, greeting, sizeof greeting) != PEA_OK)
        pea_conn_abort(conn);
}

static void on_message(pea_conn *conn, const uint8_t *data, size_t len, void *user)
{
    scene *s = user;
    s->received = len == sizeof greeting && strcmp((const char *)data, greeting) == 0;
    pea_conn_close(conn, PEA_CODE_NORMAL, NULL);
}

static void on_disconnect(pea_conn *conn, const pea_reason *reason, void *user)
{
    scene *s = user;
    if (pea_conn_side(conn) != PEA_INITIATOR)
        return;
    s->orderly = reason->err == PEA_OK;
    ev_break(s->loop, EVBREAK_ALL);
}

static void on_connect_failed(pea_node *node, const pea_conn_info *info, const pea_reason *reason, void *user)
{
    char line[PEA_REASON_TEXT_BYTES];
    (void)node, (void)info;
    fprintf(stderr, "connect failed: %s\n", pea_reason_format(reason, line));
    ev_break(((scene *)user)->loop, EVBREAK_ALL);
}

static void on_deadline(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)timer, (void)events;
    fputs("nothing happened for 30 seconds\n", stderr);
    ev_break(loop, EVBREAK_ALL);
}

/* One node listens, another dials it, and the loop runs until the connection has ended. */
static pea_err play(scene *s, pea_runtime *runtime, pea_chain *chain, pea_error *why)
{
    static const pea_node_callbacks on = {.on_connect = on_connect,
                                          .on_message = on_message,
                                          .on_disconnect = on_disconnect,
                                          .on_connect_failed = on_connect_failed};
    pea_node *server = NULL, *client = NULL;
    pea_listener *listener = NULL;
    char addr[PEA_ADDR_TEXT_BYTES];
    pea_err err = pea_node_new(&server, runtime, PEA_NODE(.chain = chain, .on = &on, .user = s), why);
    if (err == PEA_OK)
        err = pea_node_new(&client, runtime, PEA_NODE(.chain = chain, .on = &on, .user = s), why);
    if (err == PEA_OK)
        err = pea_node_listen(server, "127.0.0.1:0", NULL, &listener, why);
    if (err == PEA_OK)
        err = pea_node_connect(client, pea_addr_format(pea_listener_addr(listener), addr), NULL, NULL, why);
    if (err == PEA_OK)
        ev_run(s->loop, 0);
    pea_node_free(client);
    pea_node_free(server);
    return err;
}

int main(void)
{
    scene s = {.loop = ev_loop_new(EVFLAG_AUTO)};
    if (s.loop == NULL)
        return 1;
    ev_timer deadline;
    ev_timer_init(&deadline, on_deadline, 30.0, 0.0);
    ev_timer_start(s.loop, &deadline);

    pea_error why = {.code = PEA_OK};
    pea_chain *chain = NULL;
    pea_runtime *runtime = NULL;
    pea_err err = pea_chain_new(&chain, NULL, &why);
    if (err == PEA_OK)
        err = pea_chain_plain(chain);
    if (err == PEA_OK)
        err = pea_runtime_new(&runtime, PEA_RUNTIME(.loop = s.loop), &why);
    if (err == PEA_OK)
        err = play(&s, runtime, chain, &why);
    if (runtime != NULL && pea_runtime_free(runtime) != PEA_OK)
        err = PEA_E_STATE;
    pea_chain_unref(chain);
    ev_timer_stop(s.loop, &deadline);
    ev_loop_destroy(s.loop);
    if (err != PEA_OK)
        fprintf(stderr, "%s: %s\n", pea_err_name(err), why.text);
    return err == PEA_OK && s.received && s.orderly ? 0 : 1;
}
