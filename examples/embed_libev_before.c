/* SPDX-License-Identifier: MIT */
/* A small key-value service on a libev loop and sockets of its own, lines in and lines out. It is here twice: in
 * embed_libev_before.c anybody may ask, in embed_libev.c whoever proves a key that a file names; diff shows what that
 * takes. It listens on 127.0.0.1 until SIGINT or SIGTERM, and drops a client that is silent for a minute.
 *   embed_libev_before PORT
 * Requests: set KEY VALUE | get KEY | count | quit. */
#include <arpa/inet.h>
#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINE_BYTES 1024
#define OUT_BYTES 65536
#define IDLE_S 60.

/* ---- What it is about ---- */

typedef struct entry {
    struct entry *next;
    char *value, key[];
} entry;

static entry *entries;
static unsigned count;

static entry *find(const char *key)
{
    entry *e = entries;
    while (e != NULL && strcmp(e->key, key) != 0)
        e = e->next;
    return e;
}

static bool set(const char *key, const char *value)
{
    size_t len = strlen(key) + 1;
    entry *e = find(key);
    char *copy = strdup(value);
    if (copy == NULL)
        return false;
    if (e == NULL) {
        e = calloc(1, sizeof *e + len);
        if (e == NULL) {
            free(copy);
            return false;
        }
        memcpy(e->key, key, len);
        e->next = entries;
        entries = e;
        count++;
    }
    free(e->value);
    e->value = copy;
    return true;
}

/* ---- Clients ---- */

typedef struct client {
    struct client *next;
    ev_io io;
    ev_timer idle;
    bool quits, gone;
    size_t line_len, out_len;
    char line[LINE_BYTES], out[OUT_BYTES];
} client;

static client *clients;

static void client_free(struct ev_loop *loop, client *c)
{
    ev_io_stop(loop, &c->io);
    ev_timer_stop(loop, &c->idle);
    close(c->io.fd);
    client **at = &clients;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    free(c);
}

/* Bytes that wait to be written. */
static void put(client *c, const void *data, size_t len)
{
    if (len > sizeof c->out - c->out_len) { /* it asks and does not read */
        c->gone = true;
        return;
    }
    memcpy(c->out + c->out_len, data, len);
    c->out_len += len;
}

static void reply(client *c, const char *text)
{
    put(c, text, strlen(text));
}

static void answer(client *c, char *line)
{
    char text[32], *key = strchr(line, ' '), *value = key != NULL ? strchr(key + 1, ' ') : NULL;
    if (key != NULL)
        *key++ = '\0';
    if (value != NULL)
        *value++ = '\0';
    if (strcmp(line, "set") == 0 && value != NULL) {
        reply(c, set(key, value) ? "ok\n" : "no memory\n");
    } else if (strcmp(line, "get") == 0 && key != NULL) {
        entry *e = find(key);
        reply(c, e != NULL ? e->value : "none");
        reply(c, "\n");
    } else if (strcmp(line, "count") == 0) {
        snprintf(text, sizeof text, "%u\n", count);
        reply(c, text);
    } else if (strcmp(line, "quit") == 0) {
        reply(c, "bye\n");
        c->quits = true;
    } else {
        reply(c, "what?\n");
    }
}

/* Finds lines in what came. */
static void client_take(client *c, const char *data, size_t n)
{
    for (size_t i = 0; i < n && !c->quits && !c->gone; i++) {
        if (data[i] == '\n') {
            c->line[c->line_len] = '\0';
            c->line_len = 0;
            answer(c, c->line);
        } else if (c->line_len + 1 < sizeof c->line) {
            c->line[c->line_len++] = data[i];
        } else {
            c->gone = true;
        }
    }
}

static bool later(void)
{
    return errno == EAGAIN || errno == EINTR;
}

static void client_read(struct ev_loop *loop, client *c)
{
    char data[4096];
    ssize_t n = recv(c->io.fd, data, sizeof data, 0);
    if (n > 0) {
        ev_timer_again(loop, &c->idle);
        client_take(c, data, (size_t)n);
    } else if (n == 0 || !later()) {
        c->gone = true;
    }
}

static void client_write(client *c)
{
    ssize_t n = c->out_len > 0 ? send(c->io.fd, c->out, c->out_len, MSG_NOSIGNAL) : 0;
    if (n > 0) {
        c->out_len -= (size_t)n;
        memmove(c->out, c->out + n, c->out_len);
    }
    c->gone = c->gone || (n < 0 && !later()) || (c->quits && c->out_len == 0);
}

static void on_client(struct ev_loop *loop, ev_io *io, int events)
{
    client *c = io->data;
    if ((events & EV_READ) != 0)
        client_read(loop, c);
    client_write(c);
    if (c->gone) {
        client_free(loop, c);
        return;
    }
    ev_io_stop(loop, io);
    ev_io_set(io, io->fd, EV_READ | (c->out_len > 0 ? EV_WRITE : 0));
    ev_io_start(loop, io);
}

static void on_idle(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)events;
    client_free(loop, timer->data);
}

/* ---- The service ---- */

static void on_accept(struct ev_loop *loop, ev_io *io, int events)
{
    (void)events;
    client *c = calloc(1, sizeof *c);
    int fd = accept(io->fd, NULL, NULL);
    if (c == NULL || fd < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) != 0) {
        free(c);
        if (fd >= 0)
            close(fd);
        return;
    }
    c->next = clients;
    clients = c;
    ev_io_init(&c->io, on_client, fd, EV_READ);
    ev_timer_init(&c->idle, on_idle, 0., IDLE_S);
    c->io.data = c->idle.data = c;
    ev_io_start(loop, &c->io);
    ev_timer_again(loop, &c->idle);
}

static void on_signal(struct ev_loop *loop, ev_signal *signal, int events)
{
    (void)signal, (void)events;
    ev_break(loop, EVBREAK_ALL);
}

int main(int argc, char **argv)
{
    struct ev_loop *loop = EV_DEFAULT;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    ev_io listener;
    ev_signal signals[2];
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc != 2) {
        fprintf(stderr, "usage: %s PORT\n", argv[0]);
        return 2;
    }
    at.sin_port = htons((uint16_t)strtoul(argv[1], NULL, 10));
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        fcntl(fd, F_SETFL, O_NONBLOCK) != 0 || bind(fd, (struct sockaddr *)&at, sizeof at) != 0 ||
        listen(fd, 128) != 0 || getsockname(fd, (struct sockaddr *)&at, &len) != 0) {
        perror(argv[0]);
        return 1;
    }
    printf("listening 127.0.0.1:%u\n", ntohs(at.sin_port));
    ev_io_init(&listener, on_accept, fd, EV_READ);
    ev_io_start(loop, &listener);
    for (int i = 0; i < 2; i++) {
        ev_signal_init(&signals[i], on_signal, i == 0 ? SIGINT : SIGTERM);
        ev_signal_start(loop, &signals[i]);
    }
    ev_run(loop, 0);
    while (clients != NULL)
        client_free(loop, clients);
    while (entries != NULL) {
        entry *e = entries;
        entries = e->next;
        free(e->value);
        free(e);
    }
    close(fd);
    return 0;
}
