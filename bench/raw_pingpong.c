/* SPDX-License-Identifier: MIT */
/* The limit of pingpong: a socket, libev and nothing more. `raw_pingpong plain|AEAD SIZE SECONDS`: a message is SIZE
 * bytes in one write; with an AEAD (see raw_aead.h) it is a record. Prints what pingpong does. */
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

static size_t size, wire_size, have;
static uint8_t *payload, *wire;
static raw_aead *seals, *opens; /* NULL: plain */
static uint64_t sealed, opened;
static double sent;
static peer_meter meter;
static peer_latencies latencies;

static void put(int fd)
{
    const uint8_t *data = payload;
    if (seals != NULL) {
        raw_seal(seals, sealed++, payload, size, wire);
        data = wire;
    }
    sent = two_now();
    if (send(fd, data, wire_size, MSG_NOSIGNAL) != (ssize_t)wire_size)
        two_fail("send");
}

/* False: it is not all here yet. */
static bool get(int fd)
{
    ssize_t n = recv(fd, wire + have, wire_size - have, 0);
    if (n < 0 && errno == EAGAIN)
        return false;
    if (n <= 0)
        two_fail("recv");
    have += (size_t)n;
    if (have < wire_size)
        return false;
    have = 0;
    if (opens != NULL)
        raw_open(opens, opened++, wire, wire_size, payload);
    return true;
}

static void on_ping(struct ev_loop *loop, ev_io *w, int events)
{
    (void)loop, (void)events;
    if (get(w->fd))
        put(w->fd);
}

static void on_echo(struct ev_loop *loop, ev_io *w, int events)
{
    (void)events;
    if (!get(w->fd))
        return;
    meter.count++;
    if (peer_meter_counts(&meter))
        peer_latencies_add(&latencies, two_now() - sent);
    if (peer_meter_look(&meter))
        put(w->fd);
    else
        ev_break(loop, EVBREAK_ALL);
}

static int connected(bool sender)
{
    char address[128];
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    if (sender) {
        two_hear(address);
        at.sin_port = htons((uint16_t)strtoul(address, NULL, 10));
        if (connect(fd, (struct sockaddr *)&at, sizeof at) != 0)
            two_fail("connect");
    } else {
        if (bind(fd, (struct sockaddr *)&at, sizeof at) != 0 || listen(fd, 1) != 0 ||
            getsockname(fd, (struct sockaddr *)&at, &len) != 0)
            two_fail("listen");
        (void)snprintf(address, sizeof address, "%u", (unsigned)ntohs(at.sin_port));
        two_tell(address);
        fd = accept(fd, NULL, NULL);
    }
    if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 || fcntl(fd, F_SETFL, O_NONBLOCK) != 0)
        two_fail("a socket");
    return fd;
}

int main(int argc, char **argv)
{
    ev_io io;
    if (argc != 4 || (strcmp(argv[1], "plain") != 0 && strstr(RAW_AEADS, argv[1]) == NULL)) {
        (void)fprintf(stderr, "usage: raw_pingpong plain|" RAW_AEADS " SIZE SECONDS\n");
        return 2;
    }
    size = wire_size = (size_t)two_number(argv[2], "SIZE", SIZE_MOST);
    meter.seconds = two_number(argv[3], "SECONDS", 600);
    bool sender = two_fork();
    if (strcmp(argv[1], "plain") != 0) {
        wire_size += RAW_TAG_BYTES;
        seals = raw_aead_new(argv[1], true);
        opens = raw_aead_new(argv[1], false);
    }
    payload = peer_payload(size);
    wire = peer_payload(wire_size);
    struct ev_loop *loop = ev_default_loop(0);
    ev_io_init(&io, sender ? on_ping : on_echo, connected(sender), EV_READ);
    ev_io_start(loop, &io);
    if (!sender)
        put(io.fd);
    ev_run(loop, 0);
    peer_latencies_print(&latencies, false);
    peer_meter_print(&meter);
    (void)fflush(stdout);
    two_end();
    return 0;
}
