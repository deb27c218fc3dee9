/* SPDX-License-Identifier: MIT */
/* A server with a loop of its own, epoll(7), that carries authenticated connections over its own sockets: what one peer
 * says, all others hear. A connection is a pipe; drive() is the rhythm that docs/pipe.md explains.
 *   embed_epoll PORT KEYFILE AUTHORIZED_PEERS     on 127.0.0.1, for the peers that the file names, until it is
 * killed */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <peapod/peapod.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS_MAX 1000 /* descriptors: fewer than a process may open, so that accept() always finds one */
#define HANDSHAKE_MS 10000
#define LINGER_MS 2000 /* for the peer to read our last words */

typedef struct client {
    pea_pipe *pipe;   /* NULL: there is none */
    int64_t deadline; /* of the handshake, then of the farewell */
    bool due;
} client;

static client clients[CLIENTS_MAX]; /* by descriptor */
static pea_chain *chain;
static pea_trust *trust;
static int loop;

static int64_t now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void watch(int how, int fd, uint32_t events)
{
    if (epoll_ctl(loop, how, fd, &(struct epoll_event){.events = events, .data.fd = fd}) != 0)
        err(1, "epoll_ctl");
}

static void broadcast(const client *from, const uint8_t *data, size_t len)
{
    for (client *c = clients; c < clients + CLIENTS_MAX; c++) {
        if (c == from || c->pipe == NULL)
            continue;
        if (pea_pipe_send(c->pipe, data, len) == PEA_E_QUEUE_FULL)
            pea_pipe_abort(c->pipe, PEA_BY_USER, PEA_E_ABORTED, "it does not read what it is sent");
        c->due = true; /* for the loop: a pipe is not driven from inside another's event */
    }
}

/* Takes what the pipe has found. Returns whether it is over. */
static bool take_events(client *c)
{
    char text[PEA_REASON_TEXT_BYTES];
    pea_event event = {.len = 0};
    while (pea_pipe_next(c->pipe, &event) == PEA_OK) {
        if (event.type == PEA_EVENT_MESSAGE) {
            broadcast(c, event.data, event.len);
        } else if (event.type == PEA_EVENT_READY) {
            printf("connected %s\n", pea_peer_format(pea_pipe_peer(c->pipe), text));
            c->deadline = INT64_MAX;
        } else if (event.type == PEA_EVENT_CLOSED) {
            printf("closed: %s\n", pea_reason_format(event.reason, text));
        }
    }
    return event.type == PEA_EVENT_CLOSED; /* always the last */
}

/* Input: no more than the pipe takes. */
static void receive(client *c, int fd)
{
    static uint8_t data[65536]; /* lent to the pipe until take_events() returns */
    size_t room = pea_pipe_room(c->pipe), taken;
    if (room == 0)
        return;
    ssize_t n = recv(fd, data, room < sizeof data ? room : sizeof data, 0);
    if (n == 0)
        pea_pipe_feed_end(c->pipe);
    else if (n < 0 && errno != EAGAIN)
        pea_pipe_broken(c->pipe, PEA_BY_READING, errno);
    else if (n > 0 && pea_pipe_feed(c->pipe, data, (size_t)n, &taken) != PEA_OK)
        warnx("memory is exhausted"); /* the pipe is over: its next event says so */
}

/* Output: as much as the socket takes. Returns whether more waits. */
static bool transmit(client *c, int fd)
{
    pea_span out;
    pea_err result;
    ssize_t n;
    while ((result = pea_pipe_output(c->pipe, &out)) == PEA_OK && (n = send(fd, out.data, out.len, MSG_NOSIGNAL)) >= 0)
        pea_pipe_sent(c->pipe, (size_t)n);
    if (result == PEA_OK && errno != EAGAIN)
        pea_pipe_broken(c->pipe, PEA_BY_WRITING, errno);
    if (result == PEA_EOF)
        shutdown(fd, SHUT_WR);
    return result == PEA_OK;
}

/* The rhythm: input, events, output, then what to wait for. */
static void drive(int fd, bool readable)
{
    client *c = &clients[fd];
    c->due = false;
    pea_pipe_tick(c->pipe, now(CLOCK_MONOTONIC), now(CLOCK_REALTIME));
    if (readable)
        receive(c, fd);
    if (c->deadline <= now(CLOCK_MONOTONIC))
        pea_pipe_abort(c->pipe, PEA_BY_TIMEOUT, PEA_E_TIMEOUT, "the deadline passed");
    bool over = take_events(c), more = transmit(c, fd);
    if (over || take_events(c)) { /* our last word may just have left */
        pea_pipe_free(c->pipe);
        c->pipe = NULL;
        close(fd);
        return;
    }
    if (pea_pipe_state(c->pipe) >= PEA_CLOSING && c->deadline == INT64_MAX)
        c->deadline = now(CLOCK_MONOTONIC) + LINGER_MS;
    watch(EPOLL_CTL_MOD, fd, (pea_pipe_room(c->pipe) > 0 ? EPOLLIN : 0u) | (more ? EPOLLOUT : 0u));
}

static void on_accept(int fd)
{
    pea_pipe_opts *opts = PEA_PIPE(.side = PEA_RESPONDER, .policy = pea_trust_policy(trust));
    if (fd < 0) /* it has gone already */
        return;
    if (fd >= CLIENTS_MAX || fcntl(fd, F_SETFL, O_NONBLOCK) != 0 ||
        pea_pipe_new(&clients[fd].pipe, chain, opts, NULL) != PEA_OK) {
        close(fd);
        return;
    }
    clients[fd].deadline = now(CLOCK_MONOTONIC) + HANDSHAKE_MS;
    watch(EPOLL_CTL_ADD, fd, EPOLLIN);
}

int main(int argc, char **argv)
{
    pea_error why = {.text = "memory is exhausted"};
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    struct epoll_event events[64];
    pea_identity *me;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc != 4)
        errx(2, "usage: embed_epoll PORT KEYFILE AUTHORIZED_PEERS");
    if (pea_identity_load(&me, argv[2], &why) != PEA_OK || pea_trust_new(&trust) != PEA_OK ||
        pea_trust_load(trust, argv[3], &why) != PEA_OK || pea_chain_new(&chain, NULL, &why) != PEA_OK ||
        pea_chain_noise(chain, PEA_NOISE(.identity = me), &why) != PEA_OK)
        errx(1, "%s", why.text);
    at.sin_port = htons((uint16_t)strtoul(argv[1], NULL, 10));
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&at, len) != 0 || listen(listener, 128) != 0 ||
        getsockname(listener, (struct sockaddr *)&at, &len) != 0)
        err(1, "port %s", argv[1]);
    printf("listening 127.0.0.1:%u\n", ntohs(at.sin_port));
    if ((loop = epoll_create1(EPOLL_CLOEXEC)) < 0)
        err(1, "epoll_create1");
    watch(EPOLL_CTL_ADD, listener, EPOLLIN);
    for (;;) {
        int n = epoll_wait(loop, events, 64, 200); /* deadlines may be late by that */
        if (n < 0 && errno != EINTR)
            err(1, "epoll_wait");
        for (int i = 0; i < n; i++)
            if (events[i].data.fd == listener)
                on_accept(accept(listener, NULL, NULL));
            else
                drive(events[i].data.fd, (events[i].events & ~(uint32_t)EPOLLOUT) != 0);
        for (int fd = 0; fd < CLIENTS_MAX; fd++) /* what others made them say, and deadlines */
            if (clients[fd].pipe != NULL && (clients[fd].due || clients[fd].deadline <= now(CLOCK_MONOTONIC)))
                drive(fd, false);
    }
}
