/* SPDX-License-Identifier: MIT */
/* peapod's side of tests/interop/tls/run for secrets out of a channel: a node of a foreign mode that says what it
 * exports over TLS, once it is connected. The words of its command line are those of examples/tls.
 *   tls_export_peer [--own-records] --foreign listen|connect ADDR CERTFILE KEYFILE TRUSTFILE [NAME]
 * It prints "listening ADDR", "alone HEX" (no context), "context HEX" and "binding HEX", each of which may be an
 * error's name, then "closed". It ends with its input. */
#include <ev.h>
#include <peapod/peapod.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LABEL "EXPORTER-peapod-test" /* tests/interop/tls/peers.py has the same */
#define CONTEXT "a context"

static pea_node *node;

static void must(pea_err err, const pea_error *why)
{
    if (err == PEA_OK)
        return;
    fprintf(stderr, "tls_export_peer: %s\n", why->text[0] != '\0' ? why->text : pea_err_text(err));
    exit(2);
}

static void say(const char *what, pea_err err, const uint8_t *bytes, size_t len)
{
    printf("%s %s", what, err == PEA_OK ? "" : pea_err_name(err));
    for (size_t i = 0; i < len && err == PEA_OK; i++)
        printf("%02x", bytes[i]);
    printf("\n");
}

static void on_connect(pea_conn *conn, void *user)
{
    uint8_t out[48], binding[PEA_BINDING_MAX];
    size_t len = sizeof binding;
    (void)user;
    say("alone", pea_conn_export(conn, LABEL, NULL, 0, out, sizeof out), out, sizeof out);
    say("context", pea_conn_export(conn, LABEL, CONTEXT, strlen(CONTEXT), out, sizeof out), out, sizeof out);
    pea_err err = pea_conn_binding(conn, binding, &len);
    say("binding", err, binding, len);
}

static void on_disconnect(pea_conn *conn, const pea_reason *reason, void *user)
{
    char text[PEA_REASON_TEXT_BYTES];
    (void)conn, (void)user;
    printf("closed: %s\n", pea_reason_format(reason, text));
}

static void on_failed(pea_node *from, const pea_conn_info *info, const pea_reason *reason, void *user)
{
    (void)from, (void)info;
    on_disconnect(NULL, reason, user);
}

static void on_input(struct ev_loop *loop, ev_io *w, int events)
{
    char data[64];
    (void)events;
    if (read(w->fd, data, sizeof data) > 0)
        return;
    ev_io_stop(loop, w);
    if (pea_node_shutdown(node, 0, NULL, NULL) != PEA_OK)
        ev_break(loop, EVBREAK_ALL);
}

int main(int argc, char **argv)
{
    pea_error why = {.text = "usage: tls_export_peer [--own-records] --foreign listen|connect ADDR CERTFILE KEYFILE "
                             "TRUSTFILE [NAME]"};
    pea_node_callbacks on = {.on_connect = on_connect, .on_disconnect = on_disconnect};
    pea_identity *me;
    pea_trust *trust;
    pea_chain *chain;
    pea_codec *codec;
    pea_runtime *runtime;
    pea_listener *listener;
    ev_io input;
    char text[PEA_ADDR_TEXT_BYTES];
    bool own_records = argc > 1 && strcmp(argv[1], "--own-records") == 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    on.on_connect_failed = on_failed;
    argc -= own_records, argv += own_records;
    must(argc == 7 || argc == 8 ? PEA_OK : PEA_E_INVALID, &why);
    must(pea_identity_load_certificate(&me, argv[4], argv[5], NULL, NULL, &why), &why);
    must(pea_trust_new(&trust), &why);
    must(pea_trust_load(trust, argv[6], &why), &why);
    must(pea_chain_new(&chain, PEA_CHAIN(.mode = PEA_STREAM), &why), &why);
    must(pea_chain_tls(chain, PEA_TLS(.identity = me, .trust = trust, .own_records = own_records), &why), &why);
    must(pea_codec_raw(&codec), &why);
    must(pea_runtime_new(&runtime, PEA_RUNTIME(.loop = EV_DEFAULT), &why), &why);
    must(pea_node_new(&node, runtime,
                      PEA_NODE(.chain = chain, .codec = codec, .policy = pea_trust_policy(trust), .on = &on), &why),
         &why);
    if (strcmp(argv[2], "listen") == 0) {
        must(pea_node_listen(node, argv[3], NULL, &listener, &why), &why);
        printf("listening %s\n", pea_addr_format(pea_listener_addr(listener), text));
    } else {
        must(pea_node_connect(node, argv[3], PEA_DIAL(.name = argc == 8 ? argv[7] : NULL), NULL, &why), &why);
    }
    ev_io_init(&input, on_input, STDIN_FILENO, EV_READ);
    ev_io_start(EV_DEFAULT, &input);
    ev_run(EV_DEFAULT, 0);
    pea_node_free(node);
    must(pea_runtime_free(runtime), &why);
    pea_codec_unref(codec);
    pea_chain_unref(chain);
    pea_trust_unref(trust);
    pea_identity_unref(me);
    return 0;
}
