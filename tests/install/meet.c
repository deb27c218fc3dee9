/* SPDX-License-Identifier: MIT */
/* What a stranger who only has the installed package would write: two nodes in one process meet over loopback by a
 * Noise handshake, and one sends the other a message. Exit status 0: it came. */
#include <ev.h>
#include <stdio.h>
#include <string.h>

#include <peapod/peapod.h>

static bool came;

static void on_connect(pea_conn *conn, void *loop)
{
    (void)loop;
    if (pea_conn_side(conn) == PEA_INITIATOR && pea_conn_send(conn, "hello", 5) != PEA_OK)
        pea_conn_abort(conn);
}

static void on_message(pea_conn *conn, const uint8_t *data, size_t len, void *loop)
{
    (void)loop;
    came = len == 5 && memcmp(data, "hello", 5) == 0;
    pea_conn_close(conn, PEA_CODE_NORMAL, NULL);
}

static void on_disconnect(pea_conn *conn, const pea_reason *reason, void *loop)
{
    (void)reason;
    if (pea_conn_side(conn) == PEA_INITIATOR)
        ev_break(loop, EVBREAK_ALL);
}

static void on_connect_failed(pea_node *node, const pea_conn_info *info, const pea_reason *reason, void *loop)
{
    char line[PEA_REASON_TEXT_BYTES];
    (void)node, (void)info;
    fprintf(stderr, "%s\n", pea_reason_format(reason, line));
    ev_break(loop, EVBREAK_ALL);
}

static void on_deadline(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)timer, (void)events;
    fputs("nothing happened for 30 seconds\n", stderr);
    ev_break(loop, EVBREAK_ALL);
}

int main(void)
{
    const pea_node_callbacks on = {.on_connect = on_connect,
                                   .on_message = on_message,
                                   .on_disconnect = on_disconnect,
                                   .on_connect_failed = on_connect_failed};
    struct ev_loop *loop = ev_default_loop(0);
    pea_error why = {.text = "this library is not the one that its headers belong to"};
    pea_identity *me = NULL;
    pea_peer self;
    pea_trust *trust = NULL;
    pea_chain *chain = NULL;
    pea_runtime *runtime = NULL;
    pea_node *node = NULL;
    pea_listener *listener = NULL;
    ev_timer deadline;
    char version[32], addr[PEA_ADDR_TEXT_BYTES];

    snprintf(version, sizeof version, "%d.%d.%d", PEA_VERSION_MAJOR, PEA_VERSION_MINOR, PEA_VERSION_PATCH);
    bool ok = strcmp(version, pea_version_string()) == 0 && pea_identity_generate(&me, &why) == PEA_OK &&
              pea_trust_new(&trust) == PEA_OK;
    if (ok)
        pea_identity_peer(me, &self);
    ok = ok && pea_trust_allow(trust, &self, NULL, NULL, &why) == PEA_OK &&
         pea_chain_new(&chain, NULL, &why) == PEA_OK &&
         pea_chain_noise(chain, PEA_NOISE(.identity = me), &why) == PEA_OK &&
         pea_runtime_new(&runtime, PEA_RUNTIME(.loop = loop), &why) == PEA_OK &&
         pea_node_new(&node, runtime,
                      PEA_NODE(.chain = chain, .policy = pea_trust_policy(trust), .on = &on, .user = loop),
                      &why) == PEA_OK &&
         pea_node_listen(node, "127.0.0.1:0", NULL, &listener, &why) == PEA_OK &&
         pea_node_connect(node, pea_addr_format(pea_listener_addr(listener), addr), PEA_DIAL(.expect = &self), NULL,
                          &why) == PEA_OK;
    if (ok) {
        ev_timer_init(&deadline, on_deadline, 30.0, 0.0);
        ev_timer_start(loop, &deadline);
        ev_run(loop, 0);
    } else {
        fprintf(stderr, "%s\n", why.text);
    }
    pea_node_free(node);
    if (runtime != NULL && pea_runtime_free(runtime) != PEA_OK)
        ok = false;
    pea_chain_unref(chain);
    pea_trust_unref(trust);
    pea_identity_unref(me);
    return ok && came ? 0 : 1;
}
