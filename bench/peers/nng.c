/* SPDX-License-Identifier: MIT */
/* nng as a peer of the bench, over tcp and (PEER_SECURE) tls+tcp. At its best: PUSH to PULL one way, PAIR for round
 * trips; queues of QUEUE_BYTES (4 MiB is slower); messages that are handed over and not copied by the library; all of
 * it in the callbacks of nng_aio, so that no thread waits for another: with nng_sendmsg() and nng_recvmsg() it takes
 * seven times as much CPU time at 16 bytes. Its threads share the core of their process. */
#include <nng/nng.h>
#include <nng/protocol/pair0/pair.h>
#include <nng/protocol/pipeline0/pull.h>
#include <nng/protocol/pipeline0/push.h>
#include <nng/supplemental/tls/tls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "peer.h"
#if PEER_SECURE
#include "certificate.h"
#define SCHEME "tls+tcp"
static certificate own;
#else
#define SCHEME "tcp"
#endif

#define QUEUE_BYTES (256u << 10)
#define QUEUE_LEAST 16u
#define QUEUE_MOST 8192u /* that it takes */

static peer_args args;
static nng_socket own_socket;
static nng_aio *sending, *receiving;
static peer_meter meter;
static peer_latencies latencies;
static double pinged; /* when */

static void must(int error, const char *what)
{
    if (error == 0)
        return;
    (void)fprintf(stderr, "bench: %s\n", nng_strerror(error));
    two_fail(what);
}

static void set_queue(nng_socket socket, const char *option)
{
    size_t queue = QUEUE_BYTES / args.size;
    queue = queue < QUEUE_LEAST ? QUEUE_LEAST : queue > QUEUE_MOST ? QUEUE_MOST : queue;
    int error = nng_socket_set_int(socket, option, (int)queue);
    if (error != NNG_ENOTSUP) /* PUSH receives nothing, PULL sends nothing */
        must(error, option);
}

static void open_socket(int (*open)(nng_socket *))
{
    must(open(&own_socket), "opening a socket");
    set_queue(own_socket, NNG_OPT_SENDBUF);
    set_queue(own_socket, NNG_OPT_RECVBUF);
    must(nng_socket_set_size(own_socket, NNG_OPT_RECVMAXSZ, 0), "NNG_OPT_RECVMAXSZ");
}

static void admit(int (*open)(nng_socket *))
{
    char address[128];
    int port;
    nng_listener listener;
    open_socket(open);
    must(nng_listener_create(&listener, own_socket, SCHEME "://127.0.0.1:0"), "nng_listener_create");
#if PEER_SECURE
    nng_tls_config *config;
    must(nng_tls_config_alloc(&config, NNG_TLS_MODE_SERVER), "nng_tls_config_alloc");
    must(nng_tls_config_own_cert(config, own.cert_pem, own.key_pem, NULL), "nng_tls_config_own_cert");
    must(nng_listener_set_ptr(listener, NNG_OPT_TLS_CONFIG, config), "NNG_OPT_TLS_CONFIG");
#endif
    must(nng_listener_start(listener, 0), "nng_listener_start");
    must(nng_listener_get_int(listener, NNG_OPT_TCP_BOUND_PORT, &port), "NNG_OPT_TCP_BOUND_PORT");
    (void)snprintf(address, sizeof address, SCHEME "://127.0.0.1:%d", port);
    two_tell(address);
}

static void dial(int (*open)(nng_socket *))
{
    char address[128];
    nng_dialer dialer;
    open_socket(open);
    two_hear(address);
    for (unsigned i = 0; i < args.connections; i++) {
        must(nng_dialer_create(&dialer, own_socket, address), "nng_dialer_create");
#if PEER_SECURE
        nng_tls_config *config;
        must(nng_tls_config_alloc(&config, NNG_TLS_MODE_CLIENT), "nng_tls_config_alloc");
        must(nng_tls_config_ca_chain(config, own.cert_pem, NULL), "nng_tls_config_ca_chain");
        must(nng_tls_config_server_name(config, CERTIFICATE_NAME), "nng_tls_config_server_name");
        must(nng_dialer_set_ptr(dialer, NNG_OPT_TLS_CONFIG, config), "NNG_OPT_TLS_CONFIG");
#endif
        must(nng_dialer_start(dialer, 0), "nng_dialer_start");
    }
}

/* ---- The sender ---- */

static nng_msg *new_message(void)
{
    nng_msg *message;
    must(nng_msg_alloc(&message, args.size), "nng_msg_alloc");
    memset(nng_msg_body(message), 0, args.size);
    return message;
}

static void send_message(nng_msg *message)
{
    nng_aio_set_msg(sending, message);
    nng_send_aio(own_socket, sending);
}

static void send_next(void *unused)
{
    (void)unused;
    must(nng_aio_result(sending), "nng_send_aio");
    send_message(new_message());
}

static void sent(void *unused)
{
    (void)unused;
    must(nng_aio_result(sending), "nng_send_aio");
}

static void echo(void *unused)
{
    (void)unused;
    must(nng_aio_result(receiving), "nng_recv_aio");
    nng_aio_wait(sending); /* the echo before is on its way already */
    send_message(nng_aio_get_msg(receiving));
    nng_recv_aio(own_socket, receiving);
}

/* ---- The receiver ---- */

/* Counts a message and lets it go; at the end of the time all is printed, and the program ends. */
static void take(nng_msg *message)
{
    size_t len = nng_msg_len(message);
    nng_msg_free(message);
    if (peer_meter_message(&meter, len, args.size))
        return;
    if (args.workload == PEER_PINGPONG)
        peer_latencies_print(&latencies, false);
    peer_meter_print(&meter);
    (void)fflush(stdout);
    two_end();
    _Exit(0); /* its threads need not wind down */
}

static void receive_next(void *unused)
{
    (void)unused;
    must(nng_aio_result(receiving), "nng_recv_aio");
    take(nng_aio_get_msg(receiving));
    nng_recv_aio(own_socket, receiving);
}

/* The first message only says that the other side is there. */
static void ping(void *unused)
{
    (void)unused;
    must(nng_aio_result(receiving), "nng_recv_aio");
    if (pinged > 0 && peer_meter_counts(&meter))
        peer_latencies_add(&latencies, two_now() - pinged);
    take(nng_aio_get_msg(receiving));
    nng_aio_wait(sending);
    pinged = two_now();
    send_message(new_message());
    nng_recv_aio(own_socket, receiving);
}

/* ---- Both ---- */

static void run(int sender)
{
    bool oneway = args.workload == PEER_ONEWAY;
    must(nng_aio_alloc(&sending, sender && oneway ? send_next : sent, NULL), "nng_aio_alloc");
    must(nng_aio_alloc(&receiving, oneway ? receive_next : sender ? echo : ping, NULL), "nng_aio_alloc");
    if (sender)
        dial(oneway ? nng_push0_open : nng_pair0_open);
    else
        admit(oneway ? nng_pull0_open : nng_pair0_open);
    if (sender)
        send_message(new_message());
    if (!sender || !oneway)
        nng_recv_aio(own_socket, receiving);
    for (;;)
        pause();
}

int main(int argc, char **argv)
{
    args = peer_parse(argc, argv, "oneway pingpong");
    meter.seconds = args.seconds;
#if PEER_SECURE
    certificate_make(&own);
#endif
    run(two_fork());
}
