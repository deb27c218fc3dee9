/* SPDX-License-Identifier: MIT */
/* A service that is replaced while it runs, and refuses nobody meanwhile. It echoes what its one friend sends. Start a
 * second copy with the same folder: it takes the listening socket of the first, which serves whom it has and then ends.
 *   handover ADDRESS FOLDER KEYFILE ID    keys are made by `secure_handshake keygen`; the folder has mode 0700
 * Exit status: 0 replaced, or ended by SIGTERM; 2 wrong use, 1 anything else. */
#include <ev.h>
#include <peapod/peapod.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define PATIENCE_S 30. /* for those who are connected when a successor comes */

static ev_timer patience;
static bool replaced;

static void shut_down(pea_node *node)
{
    if (pea_node_shutdown(node, 0, NULL, NULL) != PEA_OK)
        ev_break(EV_DEFAULT, EVBREAK_ALL);
}

static void on_patience_over(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop, (void)events;
    shut_down(timer->data);
}

/* Handshakes count too: whoever dialled us before the hand-over gets in. */
static void leave_if_alone(pea_node *node, uint32_t ending)
{
    pea_counts counts;
    pea_node_counts(node, &counts);
    if (!replaced || counts.connections > ending)
        return;
    ev_timer_stop(EV_DEFAULT, &patience);
    shut_down(node);
}

static void on_taken(pea_node *node, void *arg)
{
    (void)arg;
    puts("handed over");
    replaced = true;
    patience.data = node;
    ev_timer_init(&patience, on_patience_over, PATIENCE_S, 0.);
    ev_timer_start(EV_DEFAULT, &patience);
    leave_if_alone(node, 0);
}

static void on_message(pea_conn *conn, const uint8_t *data, size_t len, void *user)
{
    (void)user;
    if (pea_conn_send(conn, data, len) == PEA_E_QUEUE_FULL) /* it does not read what it asked for */
        pea_conn_close(conn, PEA_CODE_APPLICATION | 1, "you are too slow");
}

static void on_disconnect(pea_conn *conn, const pea_reason *reason, void *user)
{
    (void)reason, (void)user;
    leave_if_alone(pea_conn_node(conn), 1);
}

static void on_connect_failed(pea_node *node, const pea_conn_info *info, const pea_reason *reason, void *user)
{
    (void)info, (void)reason, (void)user;
    leave_if_alone(node, 1);
}

static void on_signal(struct ev_loop *loop, ev_signal *w, int events)
{
    (void)loop, (void)events;
    shut_down(w->data);
}

static void must(pea_err err, const pea_error *why, int exit_status)
{
    if (err == PEA_OK)
        return;
    fprintf(stderr, "handover: %s\n", why->text[0] != '\0' ? why->text : pea_err_text(err));
    exit(exit_status);
}

/* The lesson. */
static void begin(pea_node *node, const char *addr, const char *folder)
{
    char path[512], text[PEA_ADDR_TEXT_BYTES];
    pea_error why = {.code = PEA_OK};
    snprintf(path, sizeof path, "%s/handover", folder);
    pea_err err = pea_handover_take(node, path, NULL, &why);
    if (err == PEA_E_NOT_FOUND) /* we are the first */
        err = pea_node_listen(node, addr, NULL, NULL, &why);
    must(err, &why, 1);
    must(pea_handover_offer(node, path, on_taken, NULL, &why), &why, 1);
    printf("listening %s\n", pea_addr_format(pea_node_listen_addr(node), text));
}

int main(int argc, char **argv)
{
    static const pea_node_callbacks on = {
        .on_message = on_message, .on_disconnect = on_disconnect, .on_connect_failed = on_connect_failed};
    static ev_signal stop;
    pea_error why = {.text = "usage: handover ADDRESS FOLDER KEYFILE ID"};
    pea_identity *me;
    pea_peer friend;
    pea_trust *trust;
    pea_chain *chain;
    pea_runtime *runtime;
    pea_node *node;
    setvbuf(stdout, NULL, _IOLBF, 0);
    must(argc == 5 ? PEA_OK : PEA_E_INVALID, &why, 2);
    must(pea_identity_load(&me, argv[3], &why), &why, 1);
    must(pea_peer_parse(&friend, argv[4], &why), &why, 2);
    must(pea_trust_new(&trust), &why, 1);
    must(pea_trust_allow(trust, &friend, NULL, NULL, &why), &why, 1);
    must(pea_chain_new(&chain, NULL, &why), &why, 1);
    must(pea_chain_noise(chain, PEA_NOISE(.identity = me), &why), &why, 1);
    must(pea_runtime_new(&runtime, PEA_RUNTIME(.loop = EV_DEFAULT, .log = pea_log_stderr), &why), &why, 1);
    must(pea_node_new(&node, runtime, PEA_NODE(.chain = chain, .policy = pea_trust_policy(trust), .on = &on), &why),
         &why, 1);
    begin(node, argv[1], argv[2]);
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
