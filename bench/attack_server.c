/* SPDX-License-Identifier: MIT */
/* The server of the attack bench: it answers every message with the same bytes, broadcasts to subscribers, and says
 * how it does when it is asked. */
#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "attack.h"

#define FEED_S 0.005
#define FEED_BYTES 32768u

static struct {
    int control;
    pea_node *node;
    pea_msg *feed;
    ev_io asked;
    ev_timer feeding;
} server;

static void on_message(pea_conn *conn, const uint8_t *data, size_t len, void *user)
{
    (void)user;
    pea_err err = pea_conn_send(conn, data, len);
    if (err != PEA_OK && err != PEA_E_QUEUE_FULL) /* who does not read gets no answer */
        pea_conn_abort(conn);
}

static bool is_subscriber(pea_conn *conn, void *arg)
{
    (void)arg;
    return strcmp(pea_conn_peer(conn)->role, ATTACK_FEED_ROLE) == 0;
}

static void on_feed(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop, (void)timer, (void)events;
    (void)!pea_node_broadcast(server.node, server.feed, is_subscriber, NULL, NULL);
}

/* Resident now, in MiB. */
static double rss_mib(void)
{
    unsigned long size = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    must(f != NULL && fscanf(f, "%lu %lu", &size, &resident) == 2, "/proc/self/statm");
    (void)fclose(f);
    return (double)resident * (double)sysconf(_SC_PAGESIZE) / (1 << 20);
}

static void report(void)
{
    server_report r = {.rss_mib = rss_mib()};
    r.buffers_mib = (double)pea_runtime_memory(pea_node_runtime(server.node)) / (1 << 20);
    pea_addr_format(pea_node_listen_addr(server.node), r.address);
    pea_node_stats(server.node, &r.stats);
    must(send(server.control, &r, sizeof r, 0) == (ssize_t)sizeof r, "the server's report");
}

static void on_asked(struct ev_loop *loop, ev_io *io, int events)
{
    char byte;
    (void)loop, (void)events;
    if (recv(io->fd, &byte, 1, 0) != 1)
        exit(0);
    report();
}

static void allow(pea_trust *trust, const pea_identity *whom, const char *role)
{
    pea_error why = {.text = ""};
    pea_peer peer;
    pea_identity_peer(whom, &peer);
    must_pea(pea_trust_allow(trust, &peer, NULL, role, &why), &why);
}

void attack_serve(int control, const attack *a)
{
    static const pea_node_callbacks on = {.on_message = on_message};
    static const uint8_t zeros[FEED_BYTES];
    pea_error why = {.text = ""};
    pea_trust *trust;
    must_pea(pea_trust_new(&trust), &why);
    allow(trust, keys.good, NULL);
    allow(trust, keys.subscriber, ATTACK_FEED_ROLE);
    pea_node_opts *opts = PEA_NODE(.chain = chain_of(keys.server), .policy = pea_trust_policy(trust), .on = &on,
                                   .write_timeout_ms = ATTACK_WRITE_TIMEOUT_MS);
    if (a->limits) {
        opts->max_per_prefix = ATTACK_MAX_PER_PREFIX;
        opts->prefix_rate = ATTACK_PREFIX_RATE;
    }
    server.control = control;
    server.node = node_of(opts);
    must_pea(
        pea_node_listen(server.node, "127.0.0.1:0", PEA_LISTEN(.backlog = a->limits ? ATTACK_BACKLOG : 0), NULL, &why),
        &why);
    must_pea(pea_msg_new(&server.feed, zeros, sizeof zeros), &why);
    ev_io_init(&server.asked, on_asked, control, EV_READ);
    ev_io_start(EV_DEFAULT, &server.asked);
    ev_timer_init(&server.feeding, on_feed, FEED_S, FEED_S);
    if (a->kind == ATTACK_DEAF || a->kind == ATTACK_FROZEN)
        ev_timer_start(EV_DEFAULT, &server.feeding);
    ev_run(EV_DEFAULT, 0);
    exit(2);
}
