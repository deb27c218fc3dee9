/* SPDX-License-Identifier: MIT */
/* Where an address leads, and a socket to it, by a deadline. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "probe_priv.h"

int64_t probe_now(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* ---- Names ---- */

/* getaddrinfo() takes as long as it takes: a signal ends the program meanwhile. */
static void on_late(int signal)
{
    static const char text[] = "peapod probe: the name is not resolved by now: is a name server there?\n";
    (void)signal;
    ssize_t n = write(STDERR_FILENO, text, sizeof text - 1);
    (void)n; /* the status tells it as well */
    _exit(TOOL_FAILED);
}

static void add_place(probe_target *t, const struct addrinfo *found)
{
    char host[64], port[8], text[96];
    probe_place *place = &t->places[t->n];
    if (t->n == PROBE_PLACES_MAX || found->ai_addrlen > sizeof place->address ||
        getnameinfo(found->ai_addr, found->ai_addrlen, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return;
    (void)snprintf(text, sizeof text, found->ai_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
    if (pea_addr_parse(&place->addr, text, NULL) != PEA_OK)
        return;
    memcpy(&place->address, found->ai_addr, found->ai_addrlen);
    place->len = found->ai_addrlen;
    t->n++;
}

static int look_up(probe_target *t, const char *host, const char *port, int flags)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int answer = getaddrinfo(host, port, &hints, &found);
    for (const struct addrinfo *f = found; answer == 0 && f != NULL; f = f->ai_next)
        add_place(t, f);
    if (found != NULL)
        freeaddrinfo(found);
    if (answer != 0)
        return tool_fail(TOOL_FAILED, "%s: %s", t->text, gai_strerror(answer));
    return t->n > 0 ? TOOL_OK : tool_fail(TOOL_FAILED, "%s: it has no address", t->text);
}

static int take_unix(probe_target *t, const pea_addr *addr)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    probe_place *place = &t->places[0];
    memcpy(address.sun_path, addr->u.path, addr->path_len);
    place->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + addr->path_len + (addr->u.path[0] != '\0'));
    memcpy(&place->address, &address, sizeof address);
    place->addr = *addr;
    t->n = 1;
    return TOOL_OK;
}

int probe_resolve(probe_target *target, const char *text, int timeout_ms)
{
    char host[256];
    pea_addr literal;
    pea_error why = {.code = PEA_OK};
    *target = (probe_target){.text = text};
    bool is_literal = pea_addr_parse(&literal, text, &why) == PEA_OK;
    if (is_literal && literal.family == PEA_ADDR_UNIX)
        return take_unix(target, &literal);
    const char *colon = strrchr(text, ':');
    size_t len = colon != NULL ? (size_t)(colon - text) : 0;
    bool bracket = len > 2 && text[0] == '[' && text[len - 1] == ']';
    if (!is_literal && (len == 0 || len >= sizeof target->name || memchr(text, ':', len) != NULL ||
                        strspn(colon + 1, "0123456789") != strlen(colon + 1) || colon[1] == '\0'))
        return tool_fail(TOOL_USAGE, "%s: this is no address: HOST:PORT, [IPv6]:PORT or unix:PATH is", text);
    (void)snprintf(host, sizeof host, "%.*s", (int)(bracket ? len - 2 : len), text + bracket);
    if (is_literal)
        return look_up(target, host, colon + 1, AI_NUMERICHOST);
    memcpy(target->name, text, len);
    (void)signal(SIGALRM, on_late);
    (void)alarm((unsigned)(timeout_ms + 999) / 1000);
    int status = look_up(target, host, colon + 1, 0);
    (void)alarm(0);
    return status;
}

/* ---- Sockets ---- */

/* 0 | errno */
static int wait_connected(int fd, int64_t deadline_us)
{
    struct pollfd waits = {.fd = fd, .events = POLLOUT};
    int error = 0;
    socklen_t len = sizeof error;
    for (;;) {
        int64_t left = (deadline_us - probe_now() + 999) / 1000;
        int n = poll(&waits, 1, left > 0 ? (int)left : 0);
        if (n > 0)
            break;
        if (n == 0)
            return ETIMEDOUT;
        if (errno != EINTR)
            return errno;
    }
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 ? error : errno;
}

static int dial(const probe_place *place, int64_t deadline_us)
{
    int fd = socket(place->address.ss_family, SOCK_STREAM, 0);
    if (fd < 0)
        return -1;
    int error = fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 || fcntl(fd, F_SETFL, O_NONBLOCK) != 0 ? errno : 0;
    if (error == 0 && connect(fd, (const struct sockaddr *)&place->address, place->len) != 0)
        error = errno == EINPROGRESS ? wait_connected(fd, deadline_us) : errno;
    if (error == 0)
        return fd;
    (void)close(fd);
    errno = error;
    return -1;
}

int probe_dial(probe_target *target, int64_t deadline_us)
{
    int fd = -1;
    for (size_t i = 0; i < target->n && fd < 0; i++) {
        int64_t left = deadline_us - probe_now(); /* each has its share, and the last one the rest */
        fd = dial(&target->places[i], probe_now() + left / (int64_t)(target->n - i));
        if (fd >= 0)
            target->at = i;
    }
    return fd;
}
