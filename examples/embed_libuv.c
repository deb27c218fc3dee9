/* SPDX-License-Identifier: MIT */
/* A service that lives on libuv, with authenticated peers: each message is answered with who sent it, and how many
 * there were. The runtime gets no loop to sit on; it has a descriptor, one more handle among the service's own.
 *   embed_libuv ADDR KEYFILE ID...    admits these ids and nobody else, until a signal; secure_handshake is a peer */
#include <peapod/peapod.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

static unsigned seconds, served;
static pea_runtime *runtime;
static pea_node *node;
static pea_error why;

static void must(pea_err err)
{
    if (err == PEA_OK)
        return;
    fprintf(stderr, "embed_libuv: %s\n", why.text[0] != '\0' ? why.text : pea_err_text(err));
    exit(1);
}

static void uv_must(int status)
{
    if (status == 0)
        return;
    fprintf(stderr, "embed_libuv: %s\n", uv_strerror(status));
    exit(1);
}

/* All callbacks of peapod run in here: on the service's thread, between its own. */
static void on_peers(uv_poll_t *handle, int status, int events)
{
    (void)handle, (void)events;
    uv_must(status);
    must(pea_runtime_dispatch(runtime));
}

static void on_message(pea_conn *conn, const uint8_t *data, size_t len, void *user)
{
    char answer[256], id[PEA_PEER_TEXT_BYTES];
    (void)data, (void)user;
    int n = snprintf(answer, sizeof answer, "%u: %zu bytes of %s, second %u", ++served, len,
                     pea_peer_format(pea_conn_peer(conn), id), seconds);
    if (pea_conn_send(conn, answer, (size_t)n) != PEA_OK) /* who does not read the answers shall not go on asking */
        pea_conn_close(conn, PEA_CODE_NORMAL, "read what you asked for");
}

/* The service's own work goes on beside it. */
static void on_second(uv_timer_t *timer)
{
    (void)timer, seconds++;
}

static void on_done(void *loop) /* every peer knows that we go */
{
    uv_stop(loop);
}

static void on_signal(uv_signal_t *handle, int number)
{
    (void)number;
    must(pea_node_shutdown(node, 0, on_done, handle->loop));
}

int main(int argc, char **argv)
{
    static const pea_node_callbacks on = {.on_message = on_message};
    pea_identity *me;
    pea_trust *trust;
    pea_chain *chain;
    pea_peer peer;
    char text[PEA_ADDR_TEXT_BYTES];
    uv_loop_t *loop = uv_default_loop();
    uv_poll_t peers; /* peapod's share of it */
    uv_timer_t second;
    uv_signal_t signals[2];
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc < 4) {
        fprintf(stderr, "usage: embed_libuv ADDR KEYFILE ID...\n");
        return 2;
    }
    must(pea_identity_load(&me, argv[2], &why));
    must(pea_trust_new(&trust));
    for (int i = 3; i < argc; i++) {
        must(pea_peer_parse(&peer, argv[i], &why));
        must(pea_trust_allow(trust, &peer, NULL, NULL, &why));
    }
    must(pea_chain_new(&chain, NULL, &why));
    must(pea_chain_noise(chain, PEA_NOISE(.identity = me), &why));
    must(pea_runtime_new(&runtime, PEA_RUNTIME(.loop = NULL), &why));
    must(pea_node_new(&node, runtime, PEA_NODE(.chain = chain, .policy = pea_trust_policy(trust), .on = &on), &why));
    must(pea_node_listen(node, argv[1], NULL, NULL, &why));
    printf("listening %s\n", pea_addr_format(pea_node_listen_addr(node), text));
    uv_must(uv_poll_init(loop, &peers, pea_runtime_event_fd(runtime)));
    uv_must(uv_poll_start(&peers, UV_READABLE, on_peers));
    uv_must(uv_timer_init(loop, &second));
    uv_must(uv_timer_start(&second, on_second, 1000, 1000));
    for (int i = 0; i < 2; i++) {
        uv_must(uv_signal_init(loop, &signals[i]));
        uv_must(uv_signal_start(&signals[i], on_signal, i == 0 ? SIGINT : SIGTERM));
    }
    uv_run(loop, UV_RUN_DEFAULT);
    printf("served %u\n", served);
    uv_poll_stop(&peers); /* the descriptor is about to close */
    pea_node_free(node);
    must(pea_runtime_free(runtime));
    pea_chain_unref(chain);
    pea_trust_unref(trust);
    pea_identity_unref(me);
    return 0;
}
