/* SPDX-License-Identifier: MIT */
/* An upgrade in mid-stream: a plain-text dialogue of our own (starttls_stage.h), then TLS, then messages. The dialling
 * side greets. The peer is pinned by its public key: ID, as the first line of its output says it.
 *   starttls listen ADDR CERTFILE KEYFILE ID | starttls connect ADDR CERTFILE KEYFILE ID
 * It ends after one connection. Exit status: 0 an orderly end, 2 wrong use, 1 anything else. */
#include <ev.h>
#include <peapod/peapod.h>
#include <stdio.h>

#include "starttls_stage.h"

static pea_node *node;
static int status = 1;

static void on_connect(pea_conn *conn, void *user)
{
    char id[PEA_PEER_TEXT_BYTES];
    (void)user;
    printf("connected %s\n", pea_peer_format(pea_conn_peer(conn), id)); /* all of it under TLS by now */
    if (pea_conn_side(conn) == PEA_INITIATOR && pea_conn_send(conn, "hello", 5) != PEA_OK)
        pea_conn_abort(conn);
}

static void on_message(pea_conn *conn, const uint8_t *data, size_t len, void *user)
{
    char text[256];
    (void)user;
    pea_text_escape((const char *)data, len, text, sizeof text);
    printf("received %s\n", text);
    if (pea_conn_side(conn) == PEA_INITIATOR)
        pea_conn_close(conn, PEA_CODE_NORMAL, NULL);
    else if (pea_conn_send(conn, "hello yourself", 14) != PEA_OK)
        pea_conn_abort(conn);
}

static void on_end(const pea_reason *reason)
{
    char text[PEA_REASON_TEXT_BYTES];
    printf("ended: %s\n", pea_reason_format(reason, text));
    status = reason->err == PEA_OK ? 0 : 1;
    if (pea_node_shutdown(node, 0, NULL, NULL) !=
        PEA_OK) /* a listener stops listening; then nothing keeps the loop alive */
        ev_break(EV_DEFAULT, EVBREAK_ALL);
}

static void on_disconnect(pea_conn *conn, const pea_reason *reason, void *user)
{
    (void)conn, (void)user;
    on_end(reason);
}

static void on_failed(pea_node *from, const pea_conn_info *info, const pea_reason *reason, void *user)
{
    (void)from, (void)info, (void)user;
    on_end(reason);
}

static void must(pea_err err, const pea_error *why, int exit_status)
{
    if (err == PEA_OK)
        return;
    fprintf(stderr, "starttls: %s\n", why->text[0] != '\0' ? why->text : pea_err_text(err));
    exit(exit_status);
}

int main(int argc, char **argv)
{
    pea_error why = {.text = "usage: starttls listen | connect ADDR CERTFILE KEYFILE ID"};
    pea_node_callbacks on = {.on_connect = on_connect, .on_message = on_message, .on_disconnect = on_disconnect};
    pea_identity *me;
    pea_trust *trust;
    pea_chain *chain;
    pea_runtime *runtime;
    pea_listener *listener;
    pea_peer peer;
    char text[PEA_ADDR_TEXT_BYTES]; /* an id fits too */
    setvbuf(stdout, NULL, _IOLBF, 0);
    on.on_connect_failed = on_failed;
    bool listens = argc == 6 && strcmp(argv[1], "listen") == 0, connects = argc == 6 && strcmp(argv[1], "connect") == 0;
    must(listens || connects ? PEA_OK : PEA_E_INVALID, &why, 2);
    must(pea_identity_load_certificate(&me, argv[3], argv[4], NULL, NULL, &why), &why, 1);
    pea_identity_peer(me, &peer);
    printf("id %s\n", pea_peer_format(&peer, text));
    must(pea_peer_parse(&peer, argv[5], &why), &why, 2);
    must(pea_trust_new(&trust), &why, 1);
    must(pea_trust_allow(trust, &peer, NULL, NULL, &why), &why, 2);
    must(pea_chain_new(&chain, NULL, &why), &why, 1);
    /* First the dialogue, then TLS on the same stream. */
    must(pea_chain_add(chain, &starttls_ops, NULL, NULL), &why, 1);
    must(pea_chain_tls(chain, PEA_TLS(.identity = me), &why), &why, 1);
    must(pea_runtime_new(&runtime, PEA_RUNTIME(.loop = EV_DEFAULT), &why), &why, 1);
    must(pea_node_new(&node, runtime, PEA_NODE(.chain = chain, .policy = pea_trust_policy(trust), .on = &on), &why),
         &why, 1);
    if (listens) {
        must(pea_node_listen(node, argv[2], NULL, &listener, &why), &why, 1);
        printf("listening %s\n", pea_addr_format(pea_listener_addr(listener), text));
    } else {
        must(pea_node_connect(node, argv[2], NULL, NULL, &why), &why, 1);
    }
    ev_run(EV_DEFAULT, 0);
    pea_node_free(node);
    must(pea_runtime_free(runtime), &why, 1);
    pea_chain_unref(chain);
    pea_trust_unref(trust);
    pea_identity_unref(me);
    return status;
}
