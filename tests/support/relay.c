/* SPDX-License-Identifier: MIT */
/* The man in the middle: see relay.h. He writes with blocking sockets: tests send little, and nodes always read. */
#include "support/relay.h"

#include "support/check.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int fd_towards(const relay *r, unsigned way)
{
    return r->way[1 - way].fd; /* bytes of one way go where those of the other come from */
}

static void end_way(relay_way *w)
{
    if (ev_is_active(&w->io))
        ev_io_stop(w->relay->loop, &w->io);
    int to = fd_towards(w->relay, (unsigned)(w - w->relay->way));
    if (to >= 0)
        shutdown(to, SHUT_WR);
}

static void close_both(relay *r, bool reset)
{
    const struct linger now = {1, 0};
    for (unsigned i = 0; i < 2; i++) {
        if (ev_is_active(&r->way[i].io))
            ev_io_stop(r->loop, &r->way[i].io);
        if (r->way[i].fd < 0)
            continue;
        if (reset)
            assert_int_equal(setsockopt(r->way[i].fd, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
        close(r->way[i].fd);
        r->way[i].fd = -1;
    }
}

void relay_say(relay *r, unsigned way, const void *data, size_t len)
{
    const uint8_t *at = data;
    while (len > 0 && fd_towards(r, way) >= 0) {
        ssize_t n = send(fd_towards(r, way), at, len, MSG_NOSIGNAL);
        if (n <= 0)
            return; /* that side has gone */
        at += n;
        len -= (size_t)n;
    }
}

/* Passes on what came, but for what is to be done to it. */
static void pass(relay_way *w, uint8_t *data, size_t n)
{
    unsigned way = (unsigned)(w - w->relay->way);
    size_t from = w->passed;
    w->passed += n;
    if (w->flip_at >= from && w->flip_at < w->passed)
        data[w->flip_at - from] ^= (uint8_t)(1u << (w->flip_at % 8));
    if (w->reset_at < w->passed) {
        relay_say(w->relay, way, data, w->reset_at > from ? w->reset_at - from : 0);
        close_both(w->relay, true);
    } else if (w->cut_at < w->passed) {
        relay_say(w->relay, way, data, w->cut_at > from ? w->cut_at - from : 0);
        end_way(w);
    } else if (w->hold) {
        check_ok(pea_buf_append(&w->held, data, n));
    } else {
        relay_say(w->relay, way, data, n);
    }
}

static void on_bytes(struct ev_loop *loop, ev_io *io, int events)
{
    relay_way *w = io->data;
    uint8_t data[16384];
    (void)loop, (void)events;
    ssize_t n = recv(w->fd, data, w->piece > 0 ? w->piece : sizeof data, MSG_DONTWAIT);
    if (n > 0)
        pass(w, data, (size_t)n);
    else
        end_way(w);
}

static void way_open(relay_way *w, int fd)
{
    w->fd = fd;
    ev_io_init(&w->io, on_bytes, fd, EV_READ);
    w->io.data = w;
    ev_io_start(w->relay->loop, &w->io);
}

static void on_dialled(struct ev_loop *loop, ev_io *io, int events)
{
    relay *r = io->data;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    (void)loop, (void)events;
    int from = accept(r->listener, NULL, NULL), fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(from >= 0 && fd >= 0);
    to.sin_port = htons((uint16_t)strtoul(strchr(r->to, ':') + 1, NULL, 10));
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    close_both(r, false);
    way_open(&r->way[0], from);
    way_open(&r->way[1], fd);
}

void relay_open(relay *r, struct ev_loop *loop, const char *to)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof at;
    memset(r, 0, sizeof *r);
    r->loop = loop;
    for (unsigned i = 0; i < 2; i++)
        r->way[i] =
            (relay_way){.relay = r, .fd = -1, .flip_at = RELAY_NEVER, .cut_at = RELAY_NEVER, .reset_at = RELAY_NEVER};
    (void)snprintf(r->to, sizeof r->to, "%s", to);
    r->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(r->listener >= 0);
    assert_int_equal(bind(r->listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(r->listener, 4), 0);
    assert_int_equal(getsockname(r->listener, (struct sockaddr *)&at, &len), 0);
    (void)snprintf(r->addr, sizeof r->addr, "127.0.0.1:%u", (unsigned)ntohs(at.sin_port));
    ev_io_init(&r->io, on_dialled, r->listener, EV_READ);
    r->io.data = r;
    ev_io_start(loop, &r->io);
}

void relay_close(relay *r)
{
    close_both(r, false);
    ev_io_stop(r->loop, &r->io);
    close(r->listener);
    pea_buf_free(&r->way[0].held);
    pea_buf_free(&r->way[1].held);
}
