/* SPDX-License-Identifier: MIT */
/* peapod's side of tests/interop/tls/run for HTTP clients: a node whose foreign peers send one request and get one
 * answer, over TLS. It understands no more of HTTP than where a request's head ends.
 *   tls_http_peer CERTFILE KEYFILE [TRUSTFILE]   without a trust file only the node shows a certificate
 * It prints "library ...", "id spki:sha256:HEX", "listening ADDR", then what happens. It ends with its input. */
#include <ev.h>
#include <peapod/peapod.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HEAD_MAX 8192

/* A request's head, as far as it came. */
typedef struct request {
    size_t len;
    char head[HEAD_MAX];
} request;

static pea_node *node;

static void must(pea_err err, const pea_error *why)
{
    if (err == PEA_OK)
        return;
    fprintf(stderr, "tls_http_peer: %s\n", why->text[0] != '\0' ? why->text : pea_err_text(err));
    exit(2);
}

static void on_connect(pea_conn *conn, void *user)
{
    char id[PEA_PEER_TEXT_BYTES];
    pea_peer nobody = {.kind = PEA_PEER_NONE};
    (void)user;
    printf("connected %s\n", pea_peer_format(pea_conn_peer(conn) != NULL ? pea_conn_peer(conn) : &nobody, id));
    pea_conn_set_user(conn, calloc(1, sizeof(request)));
}

static bool head_ended(const request *r)
{
    return r->len >= 4 && memcmp(r->head + r->len - 4, "\r\n\r\n", 4) == 0;
}

static void answer(pea_conn *conn, const request *r)
{
    static const char text[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 18\r\n"
                               "Connection: close\r\n\r\nhello from peapod\n";
    const char *end = memchr(r->head, '\r', r->len);
    printf("request %.*s\n", end != NULL ? (int)(end - r->head) : 0, r->head);
    if (pea_conn_send(conn, text, sizeof text - 1) == PEA_OK)
        pea_conn_close(conn, PEA_CODE_NORMAL, NULL);
    else
        pea_conn_abort(conn);
}

static void on_message(pea_conn *conn, const uint8_t *data, size_t len, void *user)
{
    request *r = pea_conn_user(conn);
    (void)user;
    if (r == NULL || len > HEAD_MAX - r->len) {
        pea_conn_abort(conn);
        return;
    }
    memcpy(r->head + r->len, data, len);
    r->len += len;
    if (head_ended(r))
        answer(conn, r);
}

static void on_disconnect(pea_conn *conn, const pea_reason *reason, void *user)
{
    char text[PEA_REASON_TEXT_BYTES];
    (void)user;
    free(pea_conn_user(conn));
    printf("closed: %s\n", pea_reason_format(reason, text));
}

static void on_failed(pea_node *from, const pea_conn_info *info, const pea_reason *reason, void *user)
{
    char text[PEA_REASON_TEXT_BYTES];
    (void)from, (void)info, (void)user;
    printf("failed: %s\n", pea_reason_format(reason, text));
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
    pea_error why = {.text = "usage: tls_http_peer CERTFILE KEYFILE [TRUSTFILE]"};
    pea_node_callbacks on = {.on_connect = on_connect, .on_message = on_message, .on_disconnect = on_disconnect};
    pea_identity *me;
    pea_trust *trust = NULL;
    pea_chain *chain;
    pea_codec *codec;
    pea_runtime *runtime;
    pea_listener *listener;
    pea_peer peer;
    ev_io input;
    char text[PEA_ADDR_TEXT_BYTES];
    setvbuf(stdout, NULL, _IOLBF, 0);
    on.on_connect_failed = on_failed;
    must(argc == 3 || argc == 4 ? PEA_OK : PEA_E_INVALID, &why);
    bool mutual = argc == 4;
    printf("library %s\n", pea_tls_library());
    must(pea_identity_load_certificate(&me, argv[1], argv[2], NULL, NULL, &why), &why);
    pea_identity_peer(me, &peer);
    printf("id %s\n", pea_peer_format(&peer, text));
    must(pea_trust_new(&trust), &why);
    must(mutual ? pea_trust_load(trust, argv[3], &why) : PEA_OK, &why);
    must(pea_chain_new(&chain, PEA_CHAIN(.mode = PEA_STREAM), &why), &why);
    must(pea_chain_tls(chain, PEA_TLS(.identity = me, .trust = trust, .server_only = !mutual), &why), &why);
    must(mutual ? PEA_OK : pea_chain_plain(chain), &why); /* whoever comes is served, and nobody says who he is */
    must(pea_codec_raw(&codec), &why);
    must(pea_runtime_new(&runtime, PEA_RUNTIME(.loop = EV_DEFAULT), &why), &why);
    pea_node_opts *opts =
        PEA_NODE(.chain = chain, .codec = codec, .policy = mutual ? pea_trust_policy(trust) : NULL, .on = &on);
    must(pea_node_new(&node, runtime, opts, &why), &why);
    must(pea_node_listen(node, "127.0.0.1:0", NULL, &listener, &why), &why);
    printf("listening %s\n", pea_addr_format(pea_listener_addr(listener), text));
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
