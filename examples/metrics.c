/* SPDX-License-Identifier: MIT */
/* A node that says how it is. It echoes what its one friend sends, over Noise, and serves its own numbers to a scraper
 * over plain HTTP, by a second listener whose chain and codec are other ones. Both are on 127.0.0.1, on ports that the
 * system chooses: the numbers are for this host alone.
 *   metrics KEYFILE ID           until SIGINT or SIGTERM; keys are made by `secure_handshake keygen`
 *   curl http://ADDRESS/metrics  with the address that it prints */
#include <ev.h>
#include <peapod/peapod.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REQUEST_BYTES 2048 /* whoever says more than that before the empty line is no scraper */

/* A request as far as it came: bytes on a stream come in pieces of any size. */
typedef struct request {
    size_t len;
    char text[REQUEST_BYTES + 1];
} request;

static void respond(pea_conn *conn, const char *status, const char *type, const void *body, size_t len)
{
    char head[256];
    int n = snprintf(head, sizeof head, "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s\r\n", status,
                     type, len, "Connection: close\r\n");
    if (pea_conn_send(conn, head, (size_t)n) != PEA_OK || pea_conn_send(conn, body, len) != PEA_OK)
        pea_conn_abort(conn);
    else
        pea_conn_close(conn, PEA_CODE_NORMAL, NULL); /* once all of it has been written */
}

static void respond_metrics(pea_conn *conn)
{
    const pea_node *node = pea_conn_node(conn);
    pea_buf text = {.data = NULL};
    pea_error why;
    if (pea_stats_openmetrics(&text, &node, 1, &why) == PEA_OK)
        respond(conn, "200 OK", PEA_OPENMETRICS_TYPE, text.data, text.len);
    else
        respond(conn, "500 Internal Server Error", "text/plain", why.text, strlen(why.text));
    pea_buf_free(&text);
}

static void on_request(pea_conn *conn, const uint8_t *data, size_t len)
{
    request *r = pea_conn_user(conn);
    if (r == NULL)
        pea_conn_set_user(conn, r = calloc(1, sizeof *r));
    if (r == NULL || len > REQUEST_BYTES - r->len) {
        pea_conn_abort(conn);
        return;
    }
    memcpy(r->text + r->len, data, len);
    r->len += len;
    if (strstr(r->text, "\r\n\r\n") == NULL) /* what calloc() gave ends it */
        return;
    if (strncmp(r->text, "GET /metrics HTTP/1.", 20) == 0)
        respond_metrics(conn);
    else
        respond(conn, "404 Not Found", "text/plain", "GET /metrics\n", 13);
}

static void on_message(pea_conn *conn, const uint8_t *data, size_t len, void *user)
{
    (void)user;
    if (pea_conn_peer(conn) == NULL) /* only a scraper is nobody whom a stage has proven */
        on_request(conn, data, len);
    else if (pea_conn_send(conn, data, len) == PEA_E_QUEUE_FULL) /* it does not read what it asked for */
        pea_conn_close(conn, PEA_CODE_APPLICATION | 1, "you are too slow");
}

static void on_disconnect(pea_conn *conn, const pea_reason *reason, void *user)
{
    (void)reason;
    (void)user;
    free(pea_conn_user(conn));
}

static void on_signal(struct ev_loop *loop, ev_signal *w, int events)
{
    (void)events;
    if (pea_node_shutdown(w->data, 0, NULL, NULL) != PEA_OK) /* the loop ends with the node's last connection */
        ev_break(loop, EVBREAK_ALL);
}

static void must(pea_err err, const pea_error *why)
{
    if (err == PEA_OK)
        return;
    fprintf(stderr, "metrics: %s\n", why->text[0] != '\0' ? why->text : pea_err_text(err));
    exit(1);
}

static void listen_and_tell(pea_node *node, const char *what, const pea_listen_opts *opts)
{
    char text[PEA_ADDR_TEXT_BYTES];
    pea_error why = {.code = PEA_OK};
    pea_listener *listener;
    must(pea_node_listen(node, "127.0.0.1:0", opts, &listener, &why), &why);
    printf("%s %s\n", what, pea_addr_format(pea_listener_addr(listener), text));
}

int main(int argc, char **argv)
{
    static const pea_node_callbacks on = {.on_message = on_message, .on_disconnect = on_disconnect};
    static ev_signal signals[2];
    pea_error why = {.text = "usage: metrics KEYFILE ID"};
    pea_identity *me;
    pea_peer friend;
    pea_trust *trust;
    pea_chain *noise, *http;
    pea_codec *raw;
    pea_runtime *runtime;
    pea_node *node;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc != 3)
        must(PEA_E_INVALID, &why);
    must(pea_identity_load(&me, argv[1], &why), &why);
    must(pea_peer_parse(&friend, argv[2], &why), &why);
    must(pea_trust_new(&trust), &why);
    must(pea_trust_allow(trust, &friend, NULL, NULL, &why), &why);
    must(pea_chain_new(&noise, NULL, &why), &why);
    must(pea_chain_noise(noise, PEA_NOISE(.identity = me), &why), &why);
    must(pea_chain_new(&http, PEA_CHAIN(.mode = PEA_STREAM), &why), &why);
    must(pea_chain_plain(http), &why);
    must(pea_codec_raw(&raw), &why);
    must(pea_runtime_new(&runtime, PEA_RUNTIME(.loop = EV_DEFAULT, .log = pea_log_stderr), &why), &why);
    pea_node_opts *opts = PEA_NODE(.name = "echo", .chain = noise, .policy = pea_trust_policy(trust), .on = &on);
    opts->idle_timeout_ms = 60000;
    must(pea_node_new(&node, runtime, opts, &why), &why);
    listen_and_tell(node, "listening", NULL);
    listen_and_tell(node, "metrics", PEA_LISTEN(.chain = http, .codec = raw));
    for (int i = 0; i < 2; i++) {
        ev_signal_init(&signals[i], on_signal, i == 0 ? SIGINT : SIGTERM);
        signals[i].data = node;
        ev_signal_start(EV_DEFAULT, &signals[i]);
        ev_unref(EV_DEFAULT); /* waiting for a signal keeps nobody here */
    }
    ev_run(EV_DEFAULT, 0);
    pea_node_free(node);
    pea_chain_unref(noise);
    pea_chain_unref(http);
    pea_codec_unref(raw);
    pea_trust_unref(trust);
    pea_identity_unref(me);
    return pea_runtime_free(runtime) == PEA_OK ? 0 : 1;
}
