/* SPDX-License-Identifier: MIT */
/* Attackers of the attack bench that speak no more of the protocol than they must: many connections that never finish
 * their first message (slowloris), as many connections as one range can make (flood), and first messages of a
 * handshake, made once and replayed, that cost the server its Diffie-Hellman and the attacker nothing (replay). */
#include <arpa/inet.h>
#include <errno.h>
#include <ev.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "attack.h"
#include "two.h"

#define SLOW 10000u
#define SLOW_ROUND_S 1.0 /* in which each of them says one byte */
#define SLOW_PARTS 100u
#define SILENT 8000u /* of the flood, that stay until the server or their turn ends them */
#define REPLAYS 128u /* at once */
#define BEGIN_S 2.0  /* in which an attacker has begun, even if a busy machine let it dial less by then */

typedef struct raw {
    ev_io io; /* its fd is -1: there is no connection */
    size_t said;
} raw;

static struct {
    int control;
    struct sockaddr_in server;
    uint8_t first[512]; /* what an initiator says before it has heard anything */
    size_t first_len;
    double started;
    unsigned dials;
    raw conns[SLOW];
    unsigned turn;
    bool begun;
} attacker;

/* ---- All of them ---- */

static void begun(void)
{
    if (!attacker.begun)
        must(send(attacker.control, "", 1, 0) == 1, "the attacker's word");
    attacker.begun = true;
}

/* It has dialled so many, or had its time. */
static void begun_at(unsigned dials)
{
    if (attacker.dials >= dials || two_now() - attacker.started > BEGIN_S)
        begun();
}

/* A connection that is on its way, from the next address of the attacker's range; -1: for now there is none. */
static int dial(void)
{
    int fd = socket_from(FROM_ATTACKER, 1 + attacker.dials++ % 250);
    must(fd >= 0, "a socket of the attacker");
    if (connect(fd, (struct sockaddr *)&attacker.server, sizeof attacker.server) == 0 || errno == EINPROGRESS)
        return fd;
    must(errno == EADDRNOTAVAIL || errno == EAGAIN || errno == ECONNREFUSED, "connect");
    close(fd);
    return -1;
}

/* Without a FIN, and with no trace in the kernel's tables. */
static void drop(int fd)
{
    struct linger at_once = {.l_onoff = 1};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(fd);
}

/* The greeting and the first message of Noise, from a pipe that is never fed. */
static void record_first(void)
{
    pea_error why = {.text = ""};
    pea_pipe *pipe;
    pea_event event;
    pea_span out;
    pea_peer server;
    pea_identity_peer(keys.server, &server);
    must_pea(pea_pipe_new(&pipe, chain_of(keys.stranger), PEA_PIPE(.expect = &server), &why), &why);
    (void)!pea_pipe_next(pipe, &event);
    while (pea_pipe_output(pipe, &out) == PEA_OK) {
        must(attacker.first_len + out.len <= sizeof attacker.first, "a first message of this length");
        memcpy(attacker.first + attacker.first_len, out.data, out.len);
        attacker.first_len += out.len;
        pea_pipe_sent(pipe, out.len);
    }
    must(attacker.first_len > 0, "a first message");
    pea_pipe_free(pipe);
}

/* ---- Slowloris ---- */

static void forget(struct ev_loop *loop, raw *c)
{
    ev_io_stop(loop, &c->io);
    drop(c->io.fd);
    c->io.fd = -1;
}

static void on_slow_end(struct ev_loop *loop, ev_io *io, int events)
{
    char byte;
    (void)events;
    if (recv(io->fd, &byte, 1, 0) > 0 || errno == EAGAIN)
        return;
    forget(loop, (raw *)io->data);
}

/* The last byte of the message never comes. */
static void visit(struct ev_loop *loop, raw *c)
{
    if (c->io.fd >= 0) {
        if (c->said + 1 < attacker.first_len && send(c->io.fd, attacker.first + c->said, 1, MSG_NOSIGNAL) == 1)
            c->said++;
        return;
    }
    int fd = dial();
    if (fd < 0)
        return;
    ev_io_set(&c->io, fd, EV_READ);
    ev_io_start(loop, &c->io);
    c->said = 0;
}

static void on_slow(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)timer, (void)events;
    for (unsigned i = 0; i < SLOW / SLOW_PARTS; i++)
        visit(loop, &attacker.conns[attacker.turn++ % SLOW]);
    begun_at(SLOW);
}

static void slowloris(void)
{
    static ev_timer timer;
    for (size_t i = 0; i < SLOW; i++) {
        ev_io_init(&attacker.conns[i].io, on_slow_end, -1, EV_READ);
        attacker.conns[i].io.data = &attacker.conns[i];
    }
    ev_timer_init(&timer, on_slow, 0., SLOW_ROUND_S / SLOW_PARTS);
    ev_timer_start(EV_DEFAULT, &timer);
    ev_run(EV_DEFAULT, 0);
}

/* ---- Flood ---- */

/* Every other one is closed at once, the rest is left silent. */
static void flood(void)
{
    static int silent[SILENT];
    memset(silent, -1, sizeof silent);
    for (;;) {
        int fd = dial();
        if (fd < 0)
            continue;
        if (attacker.dials % 2 == 0) {
            drop(fd);
            continue;
        }
        int *place = &silent[attacker.turn++ % SILENT];
        if (*place >= 0)
            drop(*place);
        *place = fd;
        begun_at(SILENT);
    }
}

/* ---- Replay ---- */

static void replay_next(struct ev_loop *loop, raw *c);

/* Connected, or answered, or ended. */
static void on_replay(struct ev_loop *loop, ev_io *io, int events)
{
    raw *c = io->data;
    if ((events & EV_WRITE) != 0 &&
        send(io->fd, attacker.first, attacker.first_len, MSG_NOSIGNAL) == (ssize_t)attacker.first_len) {
        ev_io_stop(loop, io);
        ev_io_set(io, io->fd, EV_READ);
        ev_io_start(loop, io);
        return;
    }
    forget(loop, c);
    replay_next(loop, c);
    begun_at(4 * REPLAYS);
}

static void replay_next(struct ev_loop *loop, raw *c)
{
    int fd = dial();
    must(fd >= 0, "a connection of the attacker");
    ev_io_set(&c->io, fd, EV_WRITE);
    ev_io_start(loop, &c->io);
}

static void replay(void)
{
    for (size_t i = 0; i < REPLAYS; i++) {
        ev_init(&attacker.conns[i].io, on_replay);
        attacker.conns[i].io.data = &attacker.conns[i];
        replay_next(EV_DEFAULT, &attacker.conns[i]);
    }
    ev_run(EV_DEFAULT, 0);
}

void attack_from_raw(int control, const char *address, attack_kind kind)
{
    pea_error why = {.text = ""};
    pea_addr to;
    must_pea(pea_addr_parse(&to, address, &why), &why);
    attacker.control = control;
    attacker.started = two_now();
    attacker.server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(to.port)};
    memcpy(&attacker.server.sin_addr, to.u.ip, sizeof attacker.server.sin_addr);
    (void)ev_default_loop(0);
    record_first();
    if (kind == ATTACK_SLOWLORIS)
        slowloris();
    else if (kind == ATTACK_FLOOD)
        flood();
    else
        replay();
    exit(2);
}
