/* SPDX-License-Identifier: MIT */
/* A service that nobody can take more of than his share. Who connects is limited by where he comes from, before his
 * handshake costs anything; what a friend asks is limited by a bucket of tokens, and who asks faster is read more
 * slowly: nothing is dropped, TCP holds him back. It echoes.
 *   rate_limit ADDRESS KEYFILE AUTHORIZED_PEERS RATE    messages a second for each friend; until SIGTERM
 * Exit status: 0, or 2 wrong use, 1 anything else. */
#include <ev.h>
#include <peapod/peapod.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static double rate; /* tokens a second; as many fit into a bucket */

/* A friend's share. It fills while nobody looks. */
typedef struct bucket {
    double tokens;
    ev_tstamp filled;
    ev_timer refill; /* runs while the friend is not read */
    pea_conn *conn;
} bucket;

static void fill(bucket *b)
{
    b->tokens += (ev_now(EV_DEFAULT) - b->filled) * rate;
    b->tokens = b->tokens < rate ? b->tokens : rate;
    b->filled = ev_now(EV_DEFAULT);
}

static void on_refill(struct ev_loop *loop, ev_timer *timer, int events)
{
    bucket *b = timer->data;
    (void)loop, (void)events;
    pea_conn_resume(b->conn);
}

static void on_connect(pea_conn *conn, void *user)
{
    bucket *b = malloc(sizeof *b);
    (void)user;
    if (b == NULL) {
        pea_conn_abort(conn);
        return;
    }
    *b = (bucket){.tokens = rate, .filled = ev_now(EV_DEFAULT), .conn = conn};
    ev_init(&b->refill, on_refill);
    b->refill.data = b;
    pea_conn_set_user(conn, b);
}

static void on_message(pea_conn *conn, const uint8_t *data, size_t len, void *user)
{
    bucket *b = pea_conn_user(conn);
    (void)user;
    if (pea_conn_send(conn, data, len) == PEA_E_QUEUE_FULL) /* it does not read what it asked for */
        pea_conn_close(conn, PEA_CODE_APPLICATION | 1, "you are too slow");
    fill(b);
    b->tokens -= 1.;
    if (b->tokens >= 1.)
        return;
    printf("%s waits\n", pea_conn_peer(conn)->name);
    pea_conn_pause(conn); /* no message comes until there is a token again */
    ev_timer_set(&b->refill, (1. - b->tokens) / rate, 0.);
    ev_timer_start(EV_DEFAULT, &b->refill);
}

static void on_disconnect(pea_conn *conn, const pea_reason *reason, void *user)
{
    bucket *b = pea_conn_user(conn);
    (void)reason, (void)user;
    if (b != NULL)
        ev_timer_stop(EV_DEFAULT, &b->refill);
    free(b);
}

static void on_signal(struct ev_loop *loop, ev_signal *w, int events)
{
    (void)events;
    if (pea_node_shutdown(w->data, 0, NULL, NULL) != PEA_OK)
        ev_break(loop, EVBREAK_ALL);
}

static void must(pea_err err, const pea_error *why, int exit_status)
{
    if (err == PEA_OK)
        return;
    fprintf(stderr, "rate_limit: %s\n", why->text[0] != '\0' ? why->text : pea_err_text(err));
    exit(exit_status);
}

int main(int argc, char **argv)
{
    static const pea_node_callbacks on = {
        .on_connect = on_connect, .on_message = on_message, .on_disconnect = on_disconnect};
    static ev_signal stop;
    pea_error why = {.text = "usage: rate_limit ADDRESS KEYFILE AUTHORIZED_PEERS RATE"};
    char text[PEA_ADDR_TEXT_BYTES];
    pea_identity *me;
    pea_trust *trust;
    pea_chain *chain;
    pea_runtime *runtime;
    pea_node *node;
    setvbuf(stdout, NULL, _IOLBF, 0);
    rate = argc == 5 ? strtod(argv[4], NULL) : 0.;
    must(rate >= 1. ? PEA_OK : PEA_E_INVALID, &why, 2);
    must(pea_identity_load(&me, argv[2], &why), &why, 1);
    must(pea_trust_new(&trust), &why, 1);
    must(pea_trust_load(trust, argv[3], &why), &why, 1);
    must(pea_chain_new(&chain, NULL, &why), &why, 1);
    must(pea_chain_noise(chain, PEA_NOISE(.identity = me), &why), &why, 1);
    must(pea_runtime_new(&runtime, PEA_RUNTIME(.loop = EV_DEFAULT, .log = pea_log_stderr), &why), &why, 1);
    pea_node_opts *opts = PEA_NODE(.chain = chain, .policy = pea_trust_policy(trust), .on = &on);
    opts->max_connections = 1000;
    opts->max_per_ip = 20;     /* an address's connections, in any state */
    opts->max_per_prefix = 50; /* and those of its neighbours: a /24, or a /64 of IPv6 */
    opts->prefix_rate = 10;    /* new ones of such a range a second, once a burst of 50 is used up */
    opts->prefix_burst = 50;
    opts->one_per_peer = true; /* or a friend had as many buckets as connections */
    must(pea_node_new(&node, runtime, opts, &why), &why, 1);
    must(pea_node_listen(node, argv[1], NULL, NULL, &why), &why, 1);
    printf("listening %s\n", pea_addr_format(pea_node_listen_addr(node), text));
    ev_signal_init(&stop, on_signal, SIGTERM);
    stop.data = node;
    ev_signal_start(EV_DEFAULT, &stop);
    ev_unref(EV_DEFAULT); /* waiting for a signal keeps nobody here */
    ev_run(EV_DEFAULT, 0);
    pea_node_free(node);
    pea_chain_unref(chain);
    pea_trust_unref(trust);
    pea_identity_unref(me);
    return pea_runtime_free(runtime) == PEA_OK ? 0 : 1;
}
