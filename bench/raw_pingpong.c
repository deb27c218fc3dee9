/* SPDX-License-Identifier: MIT */
/* The limit of pingpong: a socket, libev and nothing more. `raw_pingpong plain|AEAD SIZE SECONDS [same]`: a message is
 * SIZE bytes in one write; with an AEAD (see raw_aead.h) it is a record. `same`: both ends are in one thread. Prints
 * what pingpong does. */
#include <arpa/inet.h>
#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "peers/peer.h"
#include "raw_aead.h"

#define SIZE_MOST 65536 /* a write takes it whole */

/* One of the two. */
typedef struct end {
    ev_io io;
    size_t have; /* of a message that comes in */
    uint8_t *payload, *wire;
    raw_aead *seals, *opens; /* NULL: plain */
    uint64_t sealed, opened;
} end;

static size_t size, wire_size;
static double sent;
static peer_meter meter;
static peer_latencies latencies;

static void put(end *e)
{
    const uint8_t *data = e->payload;
    if (e->seals != NULL) {
        raw_seal(e->seals, e->sealed++, e->payload, size, e->wire);
        data = e->wire;
    }
    if (send(e->io.fd, data, wire_size, MSG_NOSIGNAL) != (ssize_t)wire_size)
        two_fail("send");
}

/* False: it is not all here yet. */
static bool get(end *e)
{
    ssize_t n = recv(e->io.fd, e->wire + e->have, wire_size - e->have, 0);
    if (n < 0 && errno == EAGAIN)
        return false;
    if (n <= 0)
        two_fail("recv");
    e->have += (size_t)n;
    if (e->have < wire_size)
        return false;
    e->have = 0;
    if (e->opens != NULL)
        raw_open(e->opens, e->opened++, e->wire, wire_size, e->payload);
    return true;
}

static void ping(end *e)
{
    sent = two_now();
    put(e);
}

static void on_ping(struct ev_loop *loop, ev_io *w, int events)
{
    (void)loop, (void)events;
    if (get(w->data))
        put(w->data);
}

static void on_echo(struct ev_loop *loop, ev_io *w, int events)
{
    (void)events;
    if (!get(w->data))
        return;
    meter.count++;
    if (peer_meter_counts(&meter))
        peer_latencies_add(&latencies, two_now() - sent);
    if (peer_meter_look(&meter))
        ping(w->data);
    else
        ev_break(loop, EVBREAK_ALL);
}

/* ---- Sockets ---- */

static int listening(char address[128])
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) != 0 || listen(fd, 1) != 0 ||
        getsockname(fd, (struct sockaddr *)&at, &len) != 0)
        two_fail("listen");
    (void)snprintf(address, 128, "%u", (unsigned)ntohs(at.sin_port));
    return fd;
}

static int dialled(const char *address)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    to.sin_port = htons((uint16_t)strtoul(address, NULL, 10));
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0)
        two_fail("connect");
    return fd;
}

static void start(end *e, int fd, bool echoes, const char *aead)
{
    int on = 1;
    if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 || fcntl(fd, F_SETFL, O_NONBLOCK) != 0)
        two_fail("a socket");
    if (strcmp(aead, "plain") != 0) {
        e->seals = raw_aead_new(aead, true);
        e->opens = raw_aead_new(aead, false);
    }
    e->payload = peer_payload(size);
    e->wire = peer_payload(wire_size);
    ev_io_init(&e->io, echoes ? on_ping : on_echo, fd, EV_READ);
    e->io.data = e;
    ev_io_start(ev_default_loop(0), &e->io);
}

static void start_two(const char *aead)
{
    static end mine;
    char address[128];
    if (two_fork()) {
        two_hear(address);
        start(&mine, dialled(address), true, aead);
    } else {
        int listener = listening(address);
        two_tell(address);
        start(&mine, accept(listener, NULL, NULL), false, aead);
        ping(&mine);
    }
}

static void start_one(const char *aead)
{
    static end pings, echoes;
    char address[128];
    int listener = listening(address);
    two_pin(TWO_RECEIVER_CPU);
    start(&echoes, dialled(address), true, aead);
    start(&pings, accept(listener, NULL, NULL), false, aead);
    ping(&pings);
}

int main(int argc, char **argv)
{
    bool same = argc == 5 && strcmp(argv[4], "same") == 0;
    if ((argc != 4 && !same) || (strcmp(argv[1], "plain") != 0 && strstr(RAW_AEADS, argv[1]) == NULL)) {
        (void)fprintf(stderr, "usage: raw_pingpong plain|" RAW_AEADS " SIZE SECONDS [same]\n");
        return 2;
    }
    size = wire_size = (size_t)two_number(argv[2], "SIZE", SIZE_MOST);
    meter.seconds = two_number(argv[3], "SECONDS", 600);
    if (strcmp(argv[1], "plain") != 0)
        wire_size += RAW_TAG_BYTES;
    if (same)
        start_one(argv[1]);
    else
        start_two(argv[1]);
    ev_run(ev_default_loop(0), 0);
    peer_latencies_print(&latencies, false);
    peer_meter_print(&meter);
    (void)fflush(stdout);
    two_end();
    return 0;
}
