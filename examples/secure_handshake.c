/* SPDX-License-Identifier: MIT */
/* One side of a conversation that is encrypted, and whose other side has proven who it is. Lines of input are messages.
 *   secure_handshake keygen FILE                 makes a key, and prints the id that others know it by
 *   secure_handshake listen ADDR KEYFILE ID...   admits these ids and nobody else, until SIGINT or SIGTERM
 *   secure_handshake connect ADDR KEYFILE ID     talks to this id and nobody else, until the input ends
 * Exit status: 0 an orderly end, 3 the peer refused us, 4 we refused the peer, 2 wrong use, 1 anything else. */
#include <peapod/peapod.h>
#include <signal.h>
#include <stdio.h>

#include "input.h"

static pea_node *node;
static unsigned peers, unsent; /* peers connected; copies of the last line that have not left yet */
static bool listens;
static int status;

static void on_sent(void *arg, pea_err err)
{
    (void)arg, (void)err; /* where it failed the peer is gone, and on_disconnect says why */
    input_want(--unsent == 0 && peers > 0);
}

static bool send_to(pea_conn *conn, void *msg)
{
    unsent += pea_conn_send_msg(conn, msg, on_sent, NULL) == PEA_OK;
    return true;
}

static void on_signal(struct ev_loop *loop, ev_signal *w, int events)
{
    (void)w, (void)events;
    if (pea_node_shutdown(node, 0, NULL, NULL) != PEA_OK) /* an orderly end; then nothing keeps the loop alive */
        ev_break(loop, EVBREAK_ALL);
}

/* One line for all peers, and the next when it has left: a slow peer slows the reading down, and nothing piles up. */
static void on_line(const char *line, size_t len)
{
    pea_msg *msg;
    if (line == NULL && !listens)
        on_signal(EV_DEFAULT, NULL, 0);
    if (line == NULL || pea_msg_new(&msg, line, len) != PEA_OK)
        return;
    pea_node_each(node, send_to, msg); /* they share its bytes */
    pea_msg_unref(msg);
    input_want(unsent == 0);
}

static void on_connect(pea_conn *conn, void *user)
{
    char id[PEA_PEER_TEXT_BYTES];
    (void)user;
    printf("connected %s\n", pea_peer_format(pea_conn_peer(conn), id)); /* it has proven its key, and admits us too */
    peers++;
    input_want(unsent == 0);
}

static void on_message(pea_conn *conn, const uint8_t *data, size_t len, void *user)
{
    char text[4 * 60 + 1]; /* an escaped byte takes four characters at most */
    (void)conn, (void)user;
    pea_text_escape((const char *)data, len < 60 ? len : 60, text, sizeof text);
    printf("received %zu bytes: %s\n", len, text);
}

static void on_failed(pea_node *from, const pea_conn_info *info, const pea_reason *reason, void *user)
{
    char text[PEA_REASON_TEXT_BYTES], said[4 * PEA_TEXT_MAX + 1], id[PEA_PEER_TEXT_BYTES];
    (void)from, (void)user;
    pea_reason_format(reason, text);
    pea_text_escape(reason->text, strlen(reason->text), said, sizeof said);
    if (reason->err == PEA_E_REJECTED)
        printf("refused: %s %s\n", pea_code_name(reason->code), said);
    else if (reason->err == PEA_E_REFUSED)
        printf("rejected %s: %s\n", pea_peer_format(&info->peer, id), text);
    else
        printf("closed: %s\n", text);
    if (!listens) /* a listener goes on */
        status = reason->err == PEA_OK ? 0 : reason->err == PEA_E_REJECTED ? 3 : reason->err == PEA_E_REFUSED ? 4 : 1;
}

static void on_disconnect(pea_conn *conn, const pea_reason *reason, void *user)
{
    pea_conn_info info;
    pea_conn_snapshot(conn, &info);
    on_failed(node, &info, reason, user);
    input_want(--peers > 0 && unsent == 0);
}

static void must(pea_err err, const pea_error *why, int exit_status)
{
    if (err == PEA_OK)
        return;
    fprintf(stderr, "secure_handshake: %s\n", why->text[0] != '\0' ? why->text : pea_err_text(err));
    exit(exit_status);
}

int main(int argc, char **argv)
{
    pea_error why = {.text =
                         "usage: secure_handshake keygen FILE | listen ADDR KEYFILE ID... | connect ADDR KEYFILE ID"};
    bool keygen = argc == 3 && strcmp(argv[1], "keygen") == 0, connects = argc == 5 && strcmp(argv[1], "connect") == 0;
    pea_node_callbacks on = {.on_connect = on_connect, .on_message = on_message, .on_disconnect = on_disconnect};
    pea_identity *me;
    pea_trust *trust;
    pea_chain *chain;
    pea_runtime *runtime;
    pea_listener *listener;
    pea_peer peer;
    ev_signal signals[2];
    char text[PEA_ADDR_TEXT_BYTES];
    setvbuf(stdout, NULL, _IOLBF, 0);
    on.on_connect_failed = on_failed;
    listens = argc >= 5 && strcmp(argv[1], "listen") == 0;
    must(keygen || connects || listens ? PEA_OK : PEA_E_INVALID, &why, 2);
    must(keygen ? pea_identity_generate(&me, &why) : pea_identity_load(&me, argv[3], &why), &why, 1);
    must(keygen ? pea_identity_save(me, argv[2], &why) : PEA_OK, &why, 1);
    pea_identity_peer(me, &peer);
    printf("id %s\n", pea_peer_format(&peer, text));
    must(pea_trust_new(&trust), &why, 1);
    for (int i = 4; i < argc; i++) {
        must(pea_peer_parse(&peer, argv[i], &why), &why, 2);
        must(pea_trust_allow(trust, &peer, NULL, NULL, &why), &why, 2);
    }
    must(pea_chain_new(&chain, NULL, &why), &why, 1);
    must(pea_chain_noise(chain, PEA_NOISE(.identity = me), &why), &why, 1);
    must(pea_runtime_new(&runtime, PEA_RUNTIME(.loop = EV_DEFAULT), &why), &why, 1);
    pea_node_opts *opts = PEA_NODE(.chain = chain, .policy = pea_trust_policy(trust), .on = &on);
    must(pea_node_new(&node, runtime, opts, &why), &why, 1);
    input_init(EV_DEFAULT, on_line);
    for (int i = 0; i < 2; i++) {
        ev_signal_init(&signals[i], on_signal, i == 0 ? SIGINT : SIGTERM);
        ev_signal_start(EV_DEFAULT, &signals[i]);
        ev_unref(EV_DEFAULT);
    }
    if (listens) {
        must(pea_node_listen(node, argv[2], NULL, &listener, &why), &why, 1);
        printf("listening %s\n", pea_addr_format(pea_listener_addr(listener), text));
    } else if (connects) {
        must(pea_node_connect(node, argv[2], PEA_DIAL(.expect = &peer), NULL, &why), &why, 1);
    }
    ev_run(EV_DEFAULT, 0);
    pea_node_free(node);
    must(pea_runtime_free(runtime), &why, 1);
    pea_chain_unref(chain);
    pea_trust_unref(trust);
    pea_identity_unref(me);
    return status;
}
