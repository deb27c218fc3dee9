/* SPDX-License-Identifier: MIT */
/* The limit that oneway is measured against: the same work with nothing on top. `raw_oneway plain|AEAD SIZE SECONDS
 * [CONNECTIONS [MESSAGES]]`: frames of a 4-byte length and a payload, put together into writes of 61,440 bytes and
 * parsed in place from reads of 256 KiB; with an AEAD (see raw_aead.h) each write is one record. One connection
 * blocks, more are waited for with epoll. With MESSAGES it is the limit of broadcast: a write is that many messages,
 * each connection gets one in its turn, and the plaintext is the same for all of them. Prints the CPU time of each
 * process for a message, and messages per second as the receiver counted them. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "peers/peer.h"
#include "raw_aead.h"

#define WRITE_BYTES 61440u
#define READ_BYTES 262144u
#define RECORD_OVERHEAD (2u + RAW_TAG_BYTES) /* of a write: a 2-byte length and a tag */
#define SIZE_MOST (8u << 20)
#define CONNECTIONS_MOST 10000
#define EVENTS 64

/* What a read left over: the beginning of a record, of a frame. */
typedef struct rest {
    uint8_t *data;
    size_t len;
} rest;

typedef struct flow {
    int fd;
    uint64_t records;
    uint8_t *queue; /* the sender's: frames that are not in a write yet */
    size_t queued;
    uint8_t *record; /* the write that is under way, and where it begins */
    const uint8_t *write;
    size_t left;
    rest wire, plain; /* the receiver's */
} flow;

static raw_aead *aead; /* NULL: plain */
static size_t size, connections = 1;
static size_t messages; /* of a write; 0: as many as fit */
static size_t write_bytes = WRITE_BYTES, write_plain = WRITE_BYTES;
static flow flows[CONNECTIONS_MOST];
static uint8_t *payload;
static peer_meter meter;

static void put_be32(uint8_t *p, uint32_t v)
{
    v = htonl(v);
    memcpy(p, &v, sizeof v);
}

static uint32_t get_be32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return ntohl(v);
}

/* ---- The sender ---- */

static void prepare_to_send(flow *f)
{
    static uint8_t *common;
    if (messages == 0 || common == NULL)
        common = peer_payload(write_plain + size + 4);
    f->queue = common;
    f->record = peer_payload(write_bytes);
}

/* The next write: each message is copied once, as an application's would be. */
static void next_write(flow *f)
{
    if (messages == 0 && f->write != NULL) { /* the last one has left */
        memmove(f->queue, f->queue + write_plain, f->queued - write_plain);
        f->queued -= write_plain;
    }
    while (f->queued < write_plain) {
        put_be32(f->queue + f->queued, (uint32_t)size);
        memcpy(f->queue + f->queued + 4, payload, size);
        f->queued += 4 + size;
    }
    f->write = f->queue;
    f->left = write_bytes;
    if (aead == NULL)
        return;
    raw_seal(aead, f->records++, f->queue, write_plain, f->record + 2);
    f->record[0] = (uint8_t)((write_plain + RAW_TAG_BYTES) >> 8);
    f->record[1] = (uint8_t)(write_plain + RAW_TAG_BYTES);
    f->write = f->record;
}

/* Returns when the socket takes no more, which a blocking one always does, or when others have their turn. */
static void send_all(flow *f)
{
    do {
        if (f->left == 0)
            next_write(f);
        ssize_t n = send(f->fd, f->write, f->left, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0)
            exit(0); /* the receiver has seen enough */
        f->write += n;
        f->left -= (size_t)n;
    } while (messages == 0 || f->left > 0);
}

/* ---- The receiver ---- */

/* Parses whole frames in place; returns the bytes that they take. */
static size_t parse(const uint8_t *data, size_t len)
{
    size_t at = 0;
    while (len - at >= 4) {
        size_t n = get_be32(data + at);
        if (n != size)
            two_fail("a message of another size");
        if (len - at - 4 < n)
            break;
        meter.count++;
        at += 4 + n;
    }
    return at;
}

/* Opens whole records; their plaintext goes behind what is in `plain`. Returns the bytes of wire that they take. */
static size_t open_records(flow *f, const uint8_t *wire, size_t len, uint8_t *plain, size_t *plain_len)
{
    size_t at = 0;
    while (len - at >= 2) {
        size_t record = (size_t)wire[at] << 8 | wire[at + 1];
        if (len - at - 2 < record)
            break;
        raw_open(aead, f->records++, wire + at + 2, record, plain + *plain_len);
        *plain_len += record - RAW_TAG_BYTES;
        at += 2 + record;
    }
    return at;
}

/* The buffers are those of all connections. What is left over of one is put away if there are more. */
static size_t fetch(const rest *r, uint8_t *buffer)
{
    if (connections > 1 && r->len > 0)
        memcpy(buffer, r->data, r->len);
    return r->len;
}

static void put_away(rest *r, uint8_t *buffer, size_t used, size_t len)
{
    r->len = len - used;
    if (connections == 1) {
        memmove(buffer, buffer + used, r->len);
        return;
    }
    if (r->data == NULL)
        r->data = peer_payload(write_bytes + size + 4);
    memcpy(r->data, buffer + used, r->len);
}

static bool receive(flow *f)
{
    static uint8_t *wire, *plain;
    size_t room = READ_BYTES + size + 4 + WRITE_BYTES;
    if (wire == NULL) {
        wire = peer_payload(room);
        plain = peer_payload(room + READ_BYTES);
    }
    size_t have = fetch(&f->wire, wire);
    ssize_t got = recv(f->fd, wire + have, READ_BYTES, 0);
    if (got <= 0)
        two_fail("recv");
    have += (size_t)got;
    if (aead == NULL) {
        put_away(&f->wire, wire, parse(wire, have), have);
    } else {
        size_t opened = fetch(&f->plain, plain);
        put_away(&f->wire, wire, open_records(f, wire, have, plain, &opened), have);
        put_away(&f->plain, plain, parse(plain, opened), opened);
    }
    return peer_meter_look(&meter);
}

/* ---- Sockets ---- */

static int tcp_socket(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0)
        two_fail("socket");
    return fd;
}

static void prepare(flow *f, int poller, uint32_t events)
{
    int on = 1;
    struct epoll_event event = {.events = events, .data = {.ptr = f}};
    if (setsockopt(f->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0)
        two_fail("TCP_NODELAY");
    if (connections > 1 &&
        (fcntl(f->fd, F_SETFL, O_NONBLOCK) != 0 || epoll_ctl(poller, EPOLL_CTL_ADD, f->fd, &event) != 0))
        two_fail("epoll");
}

static void dial(void)
{
    char address[128];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    two_hear(address);
    to.sin_port = htons((uint16_t)strtoul(address, NULL, 10));
    for (size_t i = 0; i < connections; i++) {
        flows[i].fd = tcp_socket();
        if (connect(flows[i].fd, (struct sockaddr *)&to, sizeof to) != 0)
            two_fail("connect");
        prepare_to_send(&flows[i]);
    }
}

static void admit(void)
{
    char address[128];
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof at;
    int fd = tcp_socket();
    if (bind(fd, (struct sockaddr *)&at, sizeof at) != 0 || listen(fd, CONNECTIONS_MOST) != 0 ||
        getsockname(fd, (struct sockaddr *)&at, &len) != 0)
        two_fail("listen");
    (void)snprintf(address, sizeof address, "%u", (unsigned)ntohs(at.sin_port));
    two_tell(address);
    for (size_t i = 0; i < connections; i++) {
        flows[i].fd = accept(fd, NULL, NULL);
        if (flows[i].fd < 0)
            two_fail("accept");
    }
}

/* Serves the connections until the receiver's time is over. */
static void run(bool sender)
{
    struct epoll_event events[EVENTS];
    int poller = epoll_create1(0), n = 1;
    for (size_t i = 0; i < connections; i++)
        prepare(&flows[i], poller, sender ? EPOLLOUT : EPOLLIN);
    events[0].data.ptr = &flows[0];
    for (;;) {
        if (connections > 1)
            n = epoll_wait(poller, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            if (sender)
                send_all(events[i].data.ptr);
            else if (!receive(events[i].data.ptr))
                return;
        }
    }
}

int main(int argc, char **argv)
{
    if (argc < 4 || argc > 6 || (strcmp(argv[1], "plain") != 0 && strstr(RAW_AEADS, argv[1]) == NULL)) {
        (void)fprintf(stderr, "usage: raw_oneway plain|" RAW_AEADS " SIZE SECONDS [CONNECTIONS [MESSAGES]]\n");
        return 2;
    }
    size = (size_t)two_number(argv[2], "SIZE", SIZE_MOST);
    meter.seconds = two_number(argv[3], "SECONDS", 600);
    if (argc >= 5)
        connections = (size_t)two_number(argv[4], "CONNECTIONS", CONNECTIONS_MOST);
    if (argc >= 6) {
        messages = (size_t)two_number(argv[5], "MESSAGES", WRITE_BYTES / (double)(size + 4));
        write_bytes = write_plain = messages * (4 + size);
    }
    two_allow_descriptors();
    payload = peer_payload(size);
    bool sender = two_fork();
    if (strcmp(argv[1], "plain") != 0) {
        aead = raw_aead_new(argv[1], sender);
        write_plain = messages == 0 ? WRITE_BYTES - RECORD_OVERHEAD : write_plain;
        write_bytes = write_plain + RECORD_OVERHEAD;
    }
    if (sender)
        dial();
    else
        admit();
    run(sender);
    peer_meter_print(&meter);
    (void)fflush(stdout);
    two_end();
    return 0;
}
