/* SPDX-License-Identifier: MIT */
/* Messages per second one way over one connection: `oneway plain|plain-stream|noise SIZE SECONDS`. The sender sends
 * whatever the queue takes; the receiver counts in on_message of a READY connection. Its last line is the figure
 * alone; before it, the chunks and records that it saw in the same time. */
#include <ev.h>
#include <peapod/peapod.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "peek.h"
#include "two.h"

#define SIZE_MOST (8u << 20)

static struct {
    struct ev_loop *loop;
    uint8_t *payload;
    size_t size;
    double seconds, begun;
    pea_conn *conn;
    uint64_t messages, chunks, records; /* since the warm-up */
    uint64_t chunks_before, records_before;
    ev_timer timer;
    bool counting;
} bench;

/* ---- The sender ---- */

static void send_all(pea_conn *conn, void *user)
{
    (void)user;
    pea_err err = PEA_OK;
    while (err == PEA_OK)
        err = pea_conn_send(conn, bench.payload, bench.size);
    if (err != PEA_E_QUEUE_FULL)
        pea_conn_abort(conn);
}

/* ---- The receiver ---- */

static void on_time(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)events;
    if (!bench.counting) { /* the warm-up is over */
        bench.counting = true;
        bench.messages = 0;
        bench.chunks_before = peek_chunks(bench.conn);
        bench.records_before = peek_records(bench.conn);
        bench.begun = two_now();
        ev_timer_set(timer, bench.seconds, 0.);
        ev_timer_start(loop, timer);
        return;
    }
    double took = two_now() - bench.begun;
    printf("chunks %llu\n", (unsigned long long)(peek_chunks(bench.conn) - bench.chunks_before));
    printf("records %llu\n", (unsigned long long)(peek_records(bench.conn) - bench.records_before));
    printf("%.0f\n", (double)bench.messages / took);
    ev_break(loop, EVBREAK_ALL);
}

static void on_connect(pea_conn *conn, void *user)
{
    (void)user;
    bench.conn = conn;
    ev_timer_init(&bench.timer, on_time, TWO_WARM_UP, 0.);
    ev_timer_start(bench.loop, &bench.timer);
}

static void on_message(pea_conn *conn, const uint8_t *data, size_t len, void *user)
{
    (void)conn, (void)user, (void)data;
    bench.messages++;
    if (len != bench.size && bench.size != 0)
        two_fail("a message of another size");
}

/* With PEA_STREAM on plain TCP messages are framed by the codec alone. */
static void on_disconnect(pea_conn *conn, const pea_reason *reason, void *user)
{
    char text[PEA_REASON_TEXT_BYTES];
    (void)conn, (void)user;
    (void)fprintf(stderr, "bench: %s\n", pea_reason_format(reason, text));
    exit(1);
}

static void on_failed(pea_node *node, const pea_conn_info *info, const pea_reason *reason, void *user)
{
    (void)node, (void)info;
    on_disconnect(NULL, reason, user);
}

/* ---- Both ---- */

static pea_err add_stages(pea_chain *chain, const char *transport, bool sender, pea_trust *trust, pea_error *why)
{
    /* of no worth: they guard zeros on loopback */
    static const uint8_t secrets[2][PEA_KEY_BYTES] = {{1, 2, 3}, {4, 5, 6}};
    pea_identity *me;
    pea_trust_any(trust);
    if (strcmp(transport, "noise") != 0)
        return pea_chain_plain(chain);
    pea_err err = pea_identity_from_secret(&me, secrets[sender], why);
    if (err == PEA_OK) {
        err = pea_chain_noise(chain, PEA_NOISE(.identity = me), why);
        pea_identity_unref(me);
    }
    return err;
}

static int run(const char *transport, bool sender)
{
    pea_error why = {.text = ""};
    pea_runtime *runtime;
    pea_trust *trust;
    pea_chain *chain;
    pea_node *node;
    pea_listener *listener;
    char address[PEA_ADDR_TEXT_BYTES];
    pea_mode mode = strcmp(transport, "plain-stream") == 0 ? PEA_STREAM : PEA_NATIVE;
    pea_node_callbacks on = {.on_disconnect = on_disconnect, .on_connect_failed = on_failed};
    if (sender)
        on.on_connect = on.on_drain = send_all;
    else
        on.on_connect = on_connect, on.on_message = on_message;
    bench.loop = ev_default_loop(0);
    pea_err err = pea_runtime_new(&runtime, PEA_RUNTIME(.loop = bench.loop), &why);
    if (err == PEA_OK)
        err = pea_trust_new(&trust);
    if (err == PEA_OK)
        err = pea_chain_new(&chain, PEA_CHAIN(.mode = mode), &why);
    if (err == PEA_OK)
        err = add_stages(chain, transport, sender, trust, &why);
    if (err == PEA_OK)
        err =
            pea_node_new(&node, runtime, PEA_NODE(.chain = chain, .policy = pea_trust_policy(trust), .on = &on), &why);
    if (err == PEA_OK && sender) {
        two_hear(address);
        err = pea_node_connect(node, address, PEA_DIAL(.again = true), NULL, &why);
    } else if (err == PEA_OK) {
        err = pea_node_listen(node, "127.0.0.1:0", NULL, &listener, &why);
        if (err == PEA_OK)
            two_tell(pea_addr_format(pea_listener_addr(listener), address));
    }
    if (err != PEA_OK)
        two_fail(why.text[0] != '\0' ? why.text : pea_err_text(err));
    ev_run(bench.loop, 0);
    two_end();
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 4 ||
        (strcmp(argv[1], "plain") != 0 && strcmp(argv[1], "plain-stream") != 0 && strcmp(argv[1], "noise") != 0)) {
        (void)fprintf(stderr, "usage: oneway plain|plain-stream|noise SIZE SECONDS\n");
        return 2;
    }
    bench.size = (size_t)two_number(argv[2], "SIZE", SIZE_MOST);
    bench.seconds = two_number(argv[3], "SECONDS", 600);
    bench.payload = calloc(1, bench.size);
    if (bench.payload == NULL)
        two_fail("calloc");
    return run(argv[1], two_fork());
}
