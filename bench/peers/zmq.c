/* SPDX-License-Identifier: MIT */
/* ZeroMQ as a peer of the bench, NULL and (PEER_SECURE) CURVE. At its best: one context with one I/O thread, which
 * shares the core with the caller; PUSH to PULL one way, PAIR for round trips; a high-water mark of QUEUE_BYTES, so
 * that the two threads change seldom; messages that share one payload (zmq_msg_copy()) and are read where they lie
 * (zmq_msg_recv()). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "peer.h"

#define QUEUE_BYTES (4u << 20)
#define QUEUE_LEAST 64u
#define QUEUE_MOST 65536u
#define KEY_TEXT 41 /* Z85, with its end */

static peer_args args;
static void *context;
static struct {
    char public_key[KEY_TEXT], secret_key[KEY_TEXT];
} server, client;

static void must(int result, const char *what)
{
    if (result < 0)
        two_fail(what);
}

static void set(void *socket, int option, int value)
{
    must(zmq_setsockopt(socket, option, &value, sizeof value), "zmq_setsockopt");
}

static void set_key(void *socket, int option, const char *key)
{
    must(zmq_setsockopt(socket, option, key, KEY_TEXT), "zmq_setsockopt of a key");
}

static void *open_socket(int type, bool listens)
{
    void *socket = zmq_socket(context, type);
    if (socket == NULL)
        two_fail("zmq_socket");
    size_t queue = args.size == 0 ? QUEUE_LEAST : QUEUE_BYTES / args.size;
    queue = queue < QUEUE_LEAST ? QUEUE_LEAST : queue > QUEUE_MOST ? QUEUE_MOST : queue;
    set(socket, ZMQ_SNDHWM, (int)queue);
    set(socket, ZMQ_RCVHWM, (int)queue);
    set(socket, ZMQ_LINGER, 0);
    if (PEER_SECURE && listens) {
        set(socket, ZMQ_CURVE_SERVER, 1);
        set_key(socket, ZMQ_CURVE_SECRETKEY, server.secret_key);
    } else if (PEER_SECURE) {
        set_key(socket, ZMQ_CURVE_SERVERKEY, server.public_key);
        set_key(socket, ZMQ_CURVE_PUBLICKEY, client.public_key);
        set_key(socket, ZMQ_CURVE_SECRETKEY, client.secret_key);
    }
    return socket;
}

static void *admit(int type)
{
    char address[128];
    size_t len = sizeof address;
    void *socket = open_socket(type, true);
    set(socket, ZMQ_BACKLOG, 1024);
    must(zmq_bind(socket, "tcp://127.0.0.1:*"), "zmq_bind");
    must(zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, address, &len), "zmq_getsockopt");
    two_tell(address);
    return socket;
}

static void *dial(int type)
{
    char address[128];
    void *socket = open_socket(type, false);
    two_hear(address);
    for (unsigned i = 0; i < args.connections; i++)
        must(zmq_connect(socket, address), "zmq_connect");
    return socket;
}

/* ---- One way ---- */

static void push(void)
{
    void *socket = dial(ZMQ_PUSH);
    zmq_msg_t shared, message;
    must(zmq_msg_init_size(&shared, args.size), "zmq_msg_init_size");
    memset(zmq_msg_data(&shared), 0, args.size);
    for (;;) {
        must(zmq_msg_init(&message), "zmq_msg_init");
        must(zmq_msg_copy(&message, &shared), "zmq_msg_copy");
        must(zmq_msg_send(&message, socket, 0), "zmq_msg_send");
    }
}

static void pull(void)
{
    void *socket = admit(ZMQ_PULL);
    peer_meter meter = {.seconds = args.seconds};
    zmq_msg_t message;
    must(zmq_msg_init(&message), "zmq_msg_init");
    do
        must(zmq_msg_recv(&message, socket, 0), "zmq_msg_recv");
    while (peer_meter_message(&meter, zmq_msg_size(&message), args.size));
    peer_meter_print(&meter);
}

/* ---- Round trips ---- */

static void echo(void)
{
    void *socket = dial(ZMQ_PAIR);
    zmq_msg_t message;
    must(zmq_msg_init(&message), "zmq_msg_init");
    for (;;) {
        must(zmq_msg_recv(&message, socket, 0), "zmq_msg_recv");
        must(zmq_msg_send(&message, socket, 0), "zmq_msg_send");
    }
}

static void ping(void)
{
    void *socket = admit(ZMQ_PAIR);
    uint8_t *payload = peer_payload(args.size);
    peer_meter meter = {.seconds = args.seconds};
    peer_latencies latencies = {0};
    do {
        double sent = two_now();
        must(zmq_send(socket, payload, args.size, 0), "zmq_send");
        if (zmq_recv(socket, payload, args.size, 0) != (int)args.size)
            two_fail("an echo of another size");
        meter.count++;
        if (peer_meter_counts(&meter))
            peer_latencies_add(&latencies, two_now() - sent);
    } while (peer_meter_look(&meter));
    peer_latencies_print(&latencies, false);
    peer_meter_print(&meter);
    free(payload);
}

/* ---- An open loop ---- */

static void send_by_schedule(void)
{
    void *socket = dial(ZMQ_PUSH);
    uint8_t *payload = peer_payload(args.size);
    peer_schedule schedule = {.period = 1 / args.rate};
    for (;;) {
        peer_stamp(payload, peer_schedule_wait(&schedule));
        must(zmq_send(socket, payload, args.size, 0), "zmq_send");
    }
}

static void receive_by_schedule(void)
{
    void *socket = admit(ZMQ_PULL);
    uint8_t *payload = peer_payload(args.size);
    peer_meter meter = {.seconds = args.seconds};
    peer_latencies latencies = {0};
    do {
        if (zmq_recv(socket, payload, args.size, 0) != (int)args.size)
            two_fail("a message of another size");
        if (peer_meter_counts(&meter))
            peer_latencies_add(&latencies, two_now() - peer_stamped(payload));
    } while (peer_meter_look(&meter));
    peer_latencies_print(&latencies, true);
    free(payload);
}

/* ---- Connections ---- */

/* Keeps `connections` of them in the making. Each is a socket of its own, sends one byte, and is closed at the
 * answer. */
static void dial_again_and_again(void)
{
    char address[128], byte = 1;
    zmq_pollitem_t *items = calloc(args.connections, sizeof *items);
    if (items == NULL)
        two_fail("calloc");
    two_hear(address);
    for (;;) {
        for (unsigned i = 0; i < args.connections; i++) {
            if (items[i].socket != NULL && (items[i].revents & ZMQ_POLLIN) == 0)
                continue;
            if (items[i].socket != NULL) {
                must(zmq_recv(items[i].socket, &byte, 1, 0), "zmq_recv");
                must(zmq_close(items[i].socket), "zmq_close");
            }
            items[i] = (zmq_pollitem_t){.socket = open_socket(ZMQ_DEALER, false), .events = ZMQ_POLLIN};
            must(zmq_connect(items[i].socket, address), "zmq_connect");
            must(zmq_send(items[i].socket, &byte, 1, 0), "zmq_send");
        }
        must(zmq_poll(items, (int)args.connections, -1), "zmq_poll");
    }
}

static void answer(void)
{
    void *socket = admit(ZMQ_ROUTER);
    peer_meter meter = {.seconds = args.seconds};
    char id[256], byte;
    do {
        int len = zmq_recv(socket, id, sizeof id, 0);
        must(len, "zmq_recv");
        must(zmq_recv(socket, &byte, 1, 0), "zmq_recv");
        must(zmq_send(socket, id, (size_t)len, ZMQ_SNDMORE), "zmq_send");
        must(zmq_send(socket, &byte, 1, 0), "zmq_send");
        meter.count++;
    } while (peer_meter_look(&meter));
    peer_meter_print(&meter);
}

/* ---- Both ---- */

int main(int argc, char **argv)
{
    static void (*const run[][2])(void) = {
        [PEER_ONEWAY] = {pull, push},
        [PEER_PINGPONG] = {ping, echo},
        [PEER_OPENLOOP] = {receive_by_schedule, send_by_schedule},
        [PEER_CONNECT] = {answer, dial_again_and_again},
    };
    args = peer_parse(argc, argv, "oneway pingpong openloop connect");
    if (PEER_SECURE) {
        must(zmq_curve_keypair(server.public_key, server.secret_key), "zmq_curve_keypair");
        must(zmq_curve_keypair(client.public_key, client.secret_key), "zmq_curve_keypair");
    }
    int sender = two_fork();
    context = zmq_ctx_new();
    if (context == NULL)
        two_fail("zmq_ctx_new");
    run[args.workload][sender]();
    (void)fflush(stdout);
    two_end();
    _Exit(0); /* queues that nobody reads any more would have to be waited for */
}
