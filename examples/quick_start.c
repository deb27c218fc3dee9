/* SPDX-License-Identifier: MIT */
/* The quick start of the README: greets the peer whose id is given, and nobody else, and prints its first answer. Try
 * it against `secure_handshake listen`: quick_start ADDRESS KEYFILE ID */
#include <ev.h>
#include <peapod/peapod.h>
#include <stdio.h>

static void on_connect(pea_conn *conn, void *user)
{
    (void)user;
    if (pea_conn_send(conn, "hello", 5) != PEA_OK)
        pea_conn_abort(conn);
}

static void on_message(pea_conn *conn, const uint8_t *data, size_t len, void *user)
{
    (void)user;
    printf("%.*s\n", (int)len, (const char *)data);
    pea_conn_close(conn, PEA_CODE_NORMAL, "thank you");
}

int main(int argc, char **argv)
{
    pea_error why = {.text = "usage: quick_start ADDRESS KEYFILE ID"};
    pea_identity *me = NULL;
    pea_peer peer;
    pea_chain *chain = NULL;
    pea_runtime *runtime = NULL;
    pea_node *node = NULL;
    pea_node_callbacks on = {.on_connect = on_connect, .on_message = on_message};
    bool ok = argc == 4 && pea_identity_load(&me, argv[2], &why) == PEA_OK &&
              pea_peer_parse(&peer, argv[3], &why) == PEA_OK && pea_chain_new(&chain, NULL, &why) == PEA_OK &&
              pea_chain_noise(chain, PEA_NOISE(.identity = me), &why) == PEA_OK &&
              pea_runtime_new(&runtime, PEA_RUNTIME(.loop = EV_DEFAULT, .log = pea_log_stderr), &why) == PEA_OK &&
              pea_node_new(&node, runtime, PEA_NODE(.chain = chain, .on = &on), &why) == PEA_OK &&
              pea_node_connect(node, argv[1], PEA_DIAL(.expect = &peer), NULL, &why) == PEA_OK;
    if (ok)
        ev_run(EV_DEFAULT, 0); /* returns when the connection has ended */
    else
        fprintf(stderr, "%s\n", why.text);
    pea_node_free(node);
    pea_chain_unref(chain);
    pea_identity_unref(me);
    return pea_runtime_free(runtime) == PEA_OK && ok ? 0 : 1;
}
