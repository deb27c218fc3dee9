/* SPDX-License-Identifier: MIT */
/* One side of a conversation over TLS in which both show a certificate: the twin of secure_handshake.
 *   tls [OPTIONS] listen ADDR CERTFILE KEYFILE TRUSTFILE           until SIGINT or SIGTERM
 *   tls [OPTIONS] connect ADDR CERTFILE KEYFILE TRUSTFILE [NAME]   until the input ends; NAME: the DNS name to prove
 * TRUSTFILE, an authorized_peers file (docs/trust.md), says who is let in. Lines of input are messages. --foreign: they
 * are bytes inside TLS and nothing more, so that any TLS program is a peer. --own-records: mbedTLS does the handshake
 * alone (docs/tls.md). "connected" says the peer's id and name, "-" where it has none. Exit status: 0 an orderly end, 3
 * the peer refused us, 4 we refused the peer, 2 wrong use, 1 anything else. */
#include <peapod/peapod.h>
#include <signal.h>
#include <stdio.h>

#include "input.h"

static pea_node *node;
static unsigned peers, unsent; /* peers connected; copies of the last line that have not left yet */
static bool listens, foreign, own_records;
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

/* One line for all peers, and the next when it has left. Between two nodes a message needs no newline to end it. */
static void on_line(const char *line, size_t len)
{
    pea_msg *msg;
    if (line == NULL && !listens)
        on_signal(EV_DEFAULT, NULL, 0);
    if (line == NULL || pea_msg_new(&msg, line, foreign ? len + 1 : len) != PEA_OK)
        return;
    pea_node_each(node, send_to, msg); /* they share its bytes */
    pea_msg_unref(msg);
    input_want(unsent == 0);
}

static void on_connect(pea_conn *conn, void *user)
{
    const pea_peer *peer = pea_conn_peer(conn); /* it has proven its key, and the trust file lets it in */
    char id[PEA_PEER_TEXT_BYTES], name[4 * PEA_NAME_MAX + 1];
    (void)user;
    pea_text_escape(peer->name, strlen(peer->name), name, sizeof name);
    printf("connected %s %s\n", pea_peer_format(peer, id), name[0] != '\0' ? name : "-");
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
    if (reason->err == PEA_E_REJECTED) /* by a REJECT with a code, or by an alert of TLS, which the text names */
        printf("refused: %s%s%s\n", reason->code != 0 ? pea_code_name(reason->code) : "", reason->code != 0 ? " " : "",
               said);
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
    fprintf(stderr, "tls: %s\n", why->text[0] != '\0' ? why->text : pea_err_text(err));
    exit(exit_status);
}

/* False: it is none. */
static bool option(const char *text)
{
    bool is_foreign = strcmp(text, "--foreign") == 0, is_own_records = strcmp(text, "--own-records") == 0;
    foreign |= is_foreign;
    own_records |= is_own_records;
    return is_foreign || is_own_records;
}

int main(int argc, char **argv)
{
    pea_error why = {.text = "usage: tls [--foreign] [--own-records] listen ADDR CERTFILE KEYFILE TRUSTFILE\n"
                             "       tls [--foreign] [--own-records] connect ADDR CERTFILE KEYFILE TRUSTFILE [NAME]"};
    pea_node_callbacks on = {.on_connect = on_connect, .on_message = on_message, .on_disconnect = on_disconnect};
    pea_identity *me;
    pea_trust *trust;
    pea_chain *chain;
    pea_codec *codec = NULL;
    pea_runtime *runtime;
    pea_listener *listener;
    pea_peer peer;
    ev_signal signals[2];
    char text[PEA_ADDR_TEXT_BYTES]; /* an id fits too */
    setvbuf(stdout, NULL, _IOLBF, 0);
    on.on_connect_failed = on_failed;
    for (; argc > 1 && option(argv[1]); argc--)
        argv++;
    listens = argc == 6 && strcmp(argv[1], "listen") == 0;
    bool connects = (argc == 6 || argc == 7) && strcmp(argv[1], "connect") == 0;
    must(connects || listens ? PEA_OK : PEA_E_INVALID, &why, 2);
    must(pea_identity_load_certificate(&me, argv[3], argv[4], NULL, NULL, &why), &why, 1);
    pea_identity_peer(me, &peer);
    printf("id %s\n", pea_peer_format(&peer, text));
    must(pea_trust_new(&trust), &why, 1);
    must(pea_trust_load(trust, argv[5], &why), &why, 2); /* and again whenever the file changes */
    must(pea_chain_new(&chain, PEA_CHAIN(.mode = foreign ? PEA_STREAM : PEA_NATIVE), &why), &why, 1);
    must(pea_chain_tls(chain, PEA_TLS(.identity = me, .trust = trust, .own_records = own_records), &why), &why, 1);
    must(foreign ? pea_codec_raw(&codec) : PEA_OK, &why, 1);
    must(pea_runtime_new(&runtime, PEA_RUNTIME(.loop = EV_DEFAULT), &why), &why, 1);
    pea_node_opts *opts = PEA_NODE(.chain = chain, .codec = codec, .policy = pea_trust_policy(trust), .on = &on);
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
    } else {
        must(pea_node_connect(node, argv[2], PEA_DIAL(.name = argv[6]), NULL, &why), &why, 1); /* argv[argc] is NULL */
    }
    ev_run(EV_DEFAULT, 0);
    pea_node_free(node);
    must(pea_runtime_free(runtime), &why, 1);
    pea_codec_unref(codec);
    pea_chain_unref(chain);
    pea_trust_unref(trust);
    pea_identity_unref(me);
    return status;
}
