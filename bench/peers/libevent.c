/* SPDX-License-Identifier: MIT */
/* libevent as a peer of the bench, plain and (PEER_SECURE) OpenSSL bufferevents; TLS 1.3 with AES-128-GCM, its fastest.
 * At its best: frames of a 4-byte length are written into the output buffer's own space, BATCH_BYTES at a time, and
 * parsed where they lie in the input buffer; more is written as soon as less than LOW_BYTES are left; reads and writes
 * without libevent's limit of 16 KiB for each. */
#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "peer.h"
#if PEER_SECURE
#include <event2/bufferevent_ssl.h>
#include <openssl/ssl.h>

#include "certificate.h"

#define BATCH_BYTES 16384u /* a record of TLS */
#else
#define BATCH_BYTES 65536u
#endif

#define LOW_BYTES (2 * (size_t)BATCH_BYTES)
#define HIGH_BYTES (8 * (size_t)BATCH_BYTES)
#define READ_BYTES (1 << 18)
#define PREFIX 4u
#define IN_THE_MAKING 64u /* of the connections that will rest */
#define REST 300000       /* us until buffers have gone back */

static peer_args args;
static struct event_base *base;
static uint8_t *payload;
static peer_meter meter;
static peer_latencies latencies;
static double pinged; /* when; 0: not yet */

/* ---- Frames ---- */

static void put_frame(uint8_t *p)
{
    uint32_t len = htonl((uint32_t)args.size);
    memcpy(p, &len, PREFIX);
    memcpy(p + PREFIX, payload, args.size);
}

static struct sockaddr_in receiver; /* where the sender dials */

static void write_frames(struct bufferevent *bev, size_t count)
{
    struct evbuffer_iovec space;
    size_t frame = PREFIX + args.size;
    struct evbuffer *out = bufferevent_get_output(bev);
    if (evbuffer_reserve_space(out, (ev_ssize_t)(count * frame), &space, 1) != 1)
        two_fail("evbuffer_reserve_space");
    for (size_t i = 0; i < count; i++)
        put_frame((uint8_t *)space.iov_base + i * frame);
    space.iov_len = count * frame;
    if (evbuffer_commit_space(out, &space, 1) != 0)
        two_fail("evbuffer_commit_space");
}

/* Takes the whole frames that are there, and returns how many there were. Each chain is parsed in place; a frame that
 * lies in more than one is put into one first. */
static size_t take_frames(struct bufferevent *bev)
{
    struct evbuffer *in = bufferevent_get_input(bev);
    size_t frames = 0, frame = PREFIX + args.size;
    while (evbuffer_get_length(in) >= frame) {
        size_t len = evbuffer_get_contiguous_space(in), at = 0;
        const uint8_t *data = evbuffer_pullup(in, (ev_ssize_t)(len < frame ? frame : len));
        if (data == NULL)
            two_fail("evbuffer_pullup");
        if (len < frame)
            len = frame;
        for (; len - at >= frame; at += frame, frames++) {
            uint32_t size;
            memcpy(&size, data + at, PREFIX);
            if (ntohl(size) != args.size)
                two_fail("a message of another size");
            if (args.workload == PEER_OPENLOOP && peer_meter_counts(&meter))
                peer_latencies_add(&latencies, two_now() - peer_stamped(data + at + PREFIX));
        }
        evbuffer_drain(in, at);
    }
    return frames;
}

/* ---- The sender ---- */

static void fill(struct bufferevent *bev, void *unused)
{
    (void)unused;
    size_t count = BATCH_BYTES / (PREFIX + args.size);
    while (evbuffer_get_length(bufferevent_get_output(bev)) < HIGH_BYTES)
        write_frames(bev, count == 0 ? 1 : count);
}

static void dial(void);

/* An answer ends a connection, and the next one begins. */
static void dial_again(struct bufferevent *bev, void *unused)
{
    (void)unused;
    if (take_frames(bev) == 0)
        return;
    bufferevent_free(bev);
    dial();
}

/* The receiver says that it has seen the few. */
static unsigned dialled, goal;

static void dial_more(void)
{
    if (dialled < goal) {
        dialled++;
        dial();
    }
}

static void dial_rest(struct bufferevent *bev, void *unused)
{
    (void)unused;
    if (take_frames(bev) == 0)
        return;
    goal = args.connections;
    for (unsigned i = 0; i < IN_THE_MAKING; i++)
        dial_more();
}

/* What does not leave at once waits in the buffer, and is late. */
static void send_by_schedule(struct bufferevent *bev)
{
    peer_schedule schedule = {.period = 1 / args.rate};
    for (;;) {
        peer_stamp(payload, peer_schedule_wait(&schedule));
        write_frames(bev, 1);
        if (event_base_loop(base, EVLOOP_NONBLOCK) < 0)
            two_fail("event_base_loop");
    }
}

static void echo(struct bufferevent *bev, void *unused)
{
    (void)unused;
    size_t frames = take_frames(bev);
    if (frames > 0)
        write_frames(bev, frames);
}

/* ---- The receiver ---- */

static void count(struct bufferevent *bev, void *unused)
{
    (void)unused;
    meter.count += take_frames(bev);
    if (!peer_meter_look(&meter))
        event_base_loopbreak(base);
}

static void ping(struct bufferevent *bev, void *unused)
{
    (void)unused;
    if (take_frames(bev) == 0)
        return;
    if (pinged > 0) {
        meter.count++;
        if (peer_meter_counts(&meter))
            peer_latencies_add(&latencies, two_now() - pinged);
        if (!peer_meter_look(&meter))
            event_base_loopbreak(base);
    }
    pinged = two_now();
    write_frames(bev, 1);
}

static void answer(struct bufferevent *bev, void *unused)
{
    (void)unused;
    if (take_frames(bev) == 0)
        return;
    meter.count++;
    write_frames(bev, 1);
    if (!peer_meter_look(&meter))
        event_base_loopbreak(base);
}

static unsigned few, arrived;
static struct bufferevent *first; /* by which the sender is told */
static double kib_few;

static void on_rest(evutil_socket_t fd, short what, void *unused)
{
    (void)fd, (void)what, (void)unused;
    if (arrived < args.connections) {
        kib_few = two_rss_kib();
        write_frames(first, 1);
    } else {
        printf("%.2f\n", (two_rss_kib() - kib_few) / (args.connections - few));
        event_base_loopbreak(base);
    }
}

static void rest(struct bufferevent *bev, void *unused)
{
    (void)unused;
    if (take_frames(bev) == 0)
        return;
    if (arrived++ == 0)
        first = bev;
    if (arrived != few && arrived != args.connections)
        return;
    if (event_base_once(base, -1, EV_TIMEOUT, on_rest, NULL, &(struct timeval){.tv_usec = REST}) != 0)
        two_fail("event_base_once");
}

/* ---- Connections ---- */

/* What each side does with what comes in. */
static const struct {
    bufferevent_data_cb receives, sends;
} reading[] = {
    [PEER_ONEWAY] = {count, NULL},         [PEER_PINGPONG] = {ping, echo},  [PEER_OPENLOOP] = {count, NULL},
    [PEER_CONNECT] = {answer, dial_again}, [PEER_IDLE] = {rest, dial_rest},
};

static struct bufferevent *scheduled;

static void on_event(struct bufferevent *bev, short what, void *unused)
{
    (void)unused;
    if ((what & (BEV_EVENT_ERROR | BEV_EVENT_EOF | BEV_EVENT_TIMEOUT)) != 0)
        two_fail("the connection ended");
    if ((what & BEV_EVENT_CONNECTED) == 0)
        return;
    if (args.workload == PEER_ONEWAY)
        fill(bev, NULL);
    else if (args.workload == PEER_OPENLOOP)
        scheduled = bev;
    else
        write_frames(bev, 1); /* says that it is there */
    if (args.workload == PEER_IDLE)
        dial_more();
}

/* The receiver of connections that come and go. */
static void on_end(struct bufferevent *bev, short what, void *unused)
{
    (void)unused;
    if ((what & (BEV_EVENT_ERROR | BEV_EVENT_EOF)) != 0)
        bufferevent_free(bev);
}

#if PEER_SECURE
static certificate own;
static SSL_CTX *contexts[2]; /* of the receiver, of the sender */

static void prepare(int sender)
{
    SSL_CTX *context = SSL_CTX_new(TLS_method());
    if (context == NULL || SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256") != 1 ||
        SSL_CTX_use_PrivateKey(context, own.key) != 1 || SSL_CTX_use_certificate(context, own.cert) != 1 ||
        X509_STORE_add_cert(SSL_CTX_get_cert_store(context), own.cert) != 1)
        two_fail("SSL_CTX");
    if (SSL_CTX_set_num_tickets(context, 0) != 1) /* nobody comes back */
        two_fail("SSL_CTX_set_num_tickets");
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    contexts[sender] = context;
}
#endif

static struct bufferevent *new_bufferevent(int fd, bool sender)
{
#if PEER_SECURE
    SSL *ssl = SSL_new(contexts[sender]);
    if (ssl == NULL)
        two_fail("SSL_new");
    struct bufferevent *bev = bufferevent_openssl_socket_new(
        base, fd, ssl, sender ? BUFFEREVENT_SSL_CONNECTING : BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
#else
    (void)sender;
    struct bufferevent *bev = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
#endif
    if (bev == NULL || bufferevent_set_max_single_read(bev, READ_BYTES) != 0 ||
        bufferevent_set_max_single_write(bev, READ_BYTES) != 0)
        two_fail("bufferevent");
    return bev;
}

static void no_delay(int fd)
{
    int on = 1;
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0)
        two_fail("TCP_NODELAY");
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *from, int len, void *unused)
{
    (void)listener, (void)from, (void)len, (void)unused;
    no_delay(fd);
    struct bufferevent *bev = new_bufferevent(fd, false);
    bufferevent_setcb(bev, reading[args.workload].receives, NULL, args.workload == PEER_CONNECT ? on_end : NULL, NULL);
    if (bufferevent_enable(bev, EV_READ | EV_WRITE) != 0)
        two_fail("bufferevent_enable");
}

static void dial(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&receiver, sizeof receiver) != 0 ||
        evutil_make_socket_nonblocking(fd) != 0)
        two_fail("connect");
    no_delay(fd);
    struct bufferevent *bev = new_bufferevent(fd, true);
    bool fills = args.workload == PEER_ONEWAY;
    bufferevent_setcb(bev, reading[args.workload].sends, fills ? fill : NULL, on_event, NULL);
    if (fills)
        bufferevent_setwatermark(bev, EV_WRITE, LOW_BYTES, 0);
    if (bufferevent_enable(bev, EV_READ | EV_WRITE) != 0)
        two_fail("bufferevent_enable");
    if (!PEER_SECURE)
        on_event(bev, BEV_EVENT_CONNECTED, NULL);
}

/* ---- Both ---- */

static void send_side(void)
{
    char address[128];
    two_hear(address);
    receiver = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    receiver.sin_port = htons((uint16_t)strtoul(address, NULL, 10));
    goal = args.workload == PEER_IDLE ? few : args.connections;
    for (unsigned i = 0; i < (args.workload == PEER_IDLE ? IN_THE_MAKING : goal); i++)
        dial_more();
    while (args.workload == PEER_OPENLOOP && scheduled == NULL)
        if (event_base_loop(base, EVLOOP_ONCE) != 0)
            two_fail("event_base_loop");
    if (scheduled != NULL)
        send_by_schedule(scheduled);
    event_base_dispatch(base);
}

static void receive_side(void)
{
    char address[128];
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof at;
    struct evconnlistener *listener = evconnlistener_new_bind(base, on_accept, NULL, LEV_OPT_CLOSE_ON_FREE, 1024,
                                                              (struct sockaddr *)&at, (int)sizeof at);
    if (listener == NULL || getsockname(evconnlistener_get_fd(listener), (struct sockaddr *)&at, &len) != 0)
        two_fail("listen");
    (void)snprintf(address, sizeof address, "%u", (unsigned)ntohs(at.sin_port));
    two_tell(address);
    event_base_dispatch(base);
    if (args.workload == PEER_PINGPONG || args.workload == PEER_OPENLOOP)
        peer_latencies_print(&latencies, args.workload == PEER_OPENLOOP);
    if (args.workload != PEER_IDLE)
        peer_meter_print(&meter);
    (void)fflush(stdout);
    two_end();
    _Exit(0);
}

int main(int argc, char **argv)
{
    args = peer_parse(argc, argv, "oneway pingpong openloop connect idle");
    if (args.size == 0)
        args.size = 1;
    few = (args.connections + 8) / 9;
    two_allow_descriptors();
    payload = peer_payload(args.size);
    meter.seconds = args.seconds;
#if PEER_SECURE
    certificate_make(&own);
    prepare(0);
    prepare(1);
#endif
    int sender = two_fork();
    base = event_base_new();
    if (base == NULL)
        two_fail("event_base_new");
    if (sender)
        send_side();
    else
        receive_side();
    return 1; /* the loop ended with nothing to do */
}
