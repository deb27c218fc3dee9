/* SPDX-License-Identifier: MIT */
/* The limit that oneway is measured against: the same work with nothing on top. `raw_oneway plain|noise SIZE
 * SECONDS`: frames of a 4-byte length and a payload, put together into writes of 61,440 bytes and parsed in place
 * from reads of 256 KiB; noise: each write is one ChaCha20-Poly1305 record by libsodium. Prints messages per second
 * as the receiver counted them. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "two.h"

#define WRITE_BYTES 61440u
#define READ_BYTES 262144u
#define RECORD_PLAIN (WRITE_BYTES - 18u) /* a 2-byte length and a 16-byte tag */
#define SIZE_MOST (8u << 20)

static const uint8_t key[crypto_aead_chacha20poly1305_ietf_KEYBYTES] = {1};

static void put_be32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

static uint32_t get_be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void nonce_of(uint64_t n, uint8_t nonce[12])
{
    memset(nonce, 0, 4);
    for (unsigned i = 0; i < 8; i++)
        nonce[4 + i] = (uint8_t)(n >> (8 * i));
}

/* ---- The sender ---- */

static void write_all(int fd, const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n < 0)
            exit(0); /* the receiver has seen enough */
        data += n;
        len -= (size_t)n;
    }
}

static uint8_t *allocate(size_t size)
{
    uint8_t *p = calloc(1, size);
    if (p == NULL)
        two_fail("calloc");
    return p;
}

static void send_batches(int fd, bool noise, size_t size)
{
    size_t batch = noise ? RECORD_PLAIN : WRITE_BYTES;
    uint8_t *payload = allocate(size), *queue = allocate(batch + size + 4), *record = allocate(WRITE_BYTES), nonce[12];
    size_t queued = 0;
    for (uint64_t n = 0;;) {
        while (queued < batch) { /* each message is copied once, as an application's would be */
            put_be32(queue + queued, (uint32_t)size);
            memcpy(queue + queued + 4, payload, size);
            queued += 4 + size;
        }
        for (; queued >= batch; queued -= batch) {
            if (noise) {
                nonce_of(n++, nonce);
                unsigned long long len;
                crypto_aead_chacha20poly1305_ietf_encrypt(record + 2, &len, queue, batch, NULL, 0, NULL, nonce, key);
                record[0] = (uint8_t)(len >> 8);
                record[1] = (uint8_t)len;
                write_all(fd, record, (size_t)len + 2);
            } else {
                write_all(fd, queue, batch);
            }
            memmove(queue, queue + batch, queued - batch);
        }
    }
}

/* ---- The receiver ---- */

typedef struct counter {
    uint64_t messages;
    size_t size;
} counter;

/* Parses whole frames in place; returns the bytes that they take. */
static size_t parse(counter *c, const uint8_t *data, size_t len)
{
    size_t at = 0;
    while (len - at >= 4) {
        size_t n = get_be32(data + at);
        if (n != c->size)
            two_fail("a message of another size");
        if (len - at - 4 < n)
            break;
        c->messages++;
        at += 4 + n;
    }
    return at;
}

/* Opens whole records; their plaintext goes behind what is in `plain`. Returns the bytes of wire that they take. */
static size_t open_records(const uint8_t *wire, size_t len, uint64_t *n, uint8_t *plain, size_t *plain_len)
{
    size_t at = 0;
    uint8_t nonce[12];
    while (len - at >= 2) {
        size_t record = (size_t)wire[at] << 8 | wire[at + 1];
        if (len - at - 2 < record)
            break;
        unsigned long long opened;
        nonce_of((*n)++, nonce);
        if (crypto_aead_chacha20poly1305_ietf_decrypt(plain + *plain_len, &opened, NULL, wire + at + 2, record, NULL, 0,
                                                      nonce, key) != 0)
            two_fail("a record that does not authenticate");
        *plain_len += (size_t)opened;
        at += 2 + record;
    }
    return at;
}

static void receive(int fd, bool noise, size_t size, double seconds)
{
    counter c = {0, size};
    size_t have = 0, plain_have = 0, room = READ_BYTES + size + 4 + WRITE_BYTES;
    uint8_t *wire = allocate(room), *plain = allocate(room + READ_BYTES);
    uint64_t n = 0;
    double begun = two_now();
    bool counting = false;
    for (;;) {
        ssize_t got = recv(fd, wire + have, READ_BYTES, 0);
        if (got <= 0)
            two_fail("recv");
        have += (size_t)got;
        size_t used;
        if (noise) {
            used = open_records(wire, have, &n, plain, &plain_have);
            size_t parsed = parse(&c, plain, plain_have);
            plain_have -= parsed;
            memmove(plain, plain + parsed, plain_have);
        } else {
            used = parse(&c, wire, have);
        }
        have -= used;
        memmove(wire, wire + used, have);
        double now = two_now();
        if (!counting && now - begun >= TWO_WARM_UP) {
            counting = true;
            begun = now;
            c.messages = 0;
        } else if (counting && now - begun >= seconds) {
            printf("%.0f\n", (double)c.messages / (now - begun));
            break;
        }
    }
    free(wire);
    free(plain);
}

/* ---- Sockets ---- */

static int tcp_socket(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0)
        two_fail("socket");
    return fd;
}

static int dial(void)
{
    char address[128];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    two_hear(address);
    to.sin_port = htons((uint16_t)strtoul(address, NULL, 10));
    int fd = tcp_socket();
    if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0)
        two_fail("connect");
    return fd;
}

static int admit(void)
{
    char address[128];
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof at;
    int fd = tcp_socket();
    if (bind(fd, (struct sockaddr *)&at, sizeof at) != 0 || listen(fd, 1) != 0 ||
        getsockname(fd, (struct sockaddr *)&at, &len) != 0)
        two_fail("listen");
    (void)snprintf(address, sizeof address, "%u", (unsigned)ntohs(at.sin_port));
    two_tell(address);
    int peer = accept(fd, NULL, NULL);
    if (peer < 0)
        two_fail("accept");
    return peer;
}

int main(int argc, char **argv)
{
    if (argc != 4 || (strcmp(argv[1], "plain") != 0 && strcmp(argv[1], "noise") != 0)) {
        (void)fprintf(stderr, "usage: raw_oneway plain|noise SIZE SECONDS\n");
        return 2;
    }
    bool noise = strcmp(argv[1], "noise") == 0;
    size_t size = (size_t)two_number(argv[2], "SIZE", SIZE_MOST);
    double seconds = two_number(argv[3], "SECONDS", 600);
    if (sodium_init() < 0)
        two_fail("sodium_init");
    if (two_fork())
        send_batches(dial(), noise, size);
    receive(admit(), noise, size, seconds);
    two_end();
    return 0;
}
