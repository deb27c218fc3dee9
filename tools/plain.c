/* SPDX-License-Identifier: MIT */
/* Plain sockets for `forward`, none of which blocks. */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* accept4(2) */
#endif
#include "plain_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 1024

/* ---- Addresses ---- */

static void from_addr(tool_plain *p)
{
    struct sockaddr_in *in4 = (struct sockaddr_in *)&p->to;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&p->to;
    struct sockaddr_un *un = (struct sockaddr_un *)&p->to;
    memset(&p->to, 0, sizeof p->to);
    switch ((pea_family)p->addr.family) {
    case PEA_ADDR_IPV4:
        in4->sin_family = AF_INET;
        in4->sin_port = htons(p->addr.port);
        memcpy(&in4->sin_addr, p->addr.u.ip, sizeof in4->sin_addr);
        p->len = sizeof *in4;
        break;
    case PEA_ADDR_IPV6:
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(p->addr.port);
        in6->sin6_scope_id = p->addr.scope;
        memcpy(&in6->sin6_addr, p->addr.u.ip, sizeof in6->sin6_addr);
        p->len = sizeof *in6;
        break;
    case PEA_ADDR_UNIX:
        un->sun_family = AF_UNIX;
        memcpy(un->sun_path, p->addr.u.path, p->addr.path_len);
        p->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + p->addr.path_len);
        if (p->addr.path_len > 0 && un->sun_path[0] != '\0')
            p->len++; /* a path is terminated, an abstract name is not */
        break;
    case PEA_ADDR_NONE:
        break;
    }
}

static void from_socket(tool_plain *p)
{
    const struct sockaddr_in *in4 = (const struct sockaddr_in *)&p->to;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&p->to;
    if (p->to.ss_family == AF_INET) {
        p->addr = (pea_addr){.family = PEA_ADDR_IPV4, .port = ntohs(in4->sin_port)};
        memcpy(p->addr.u.ip, &in4->sin_addr, sizeof in4->sin_addr);
    } else if (p->to.ss_family == AF_INET6) {
        p->addr = (pea_addr){.family = PEA_ADDR_IPV6, .port = ntohs(in6->sin6_port), .scope = in6->sin6_scope_id};
        memcpy(p->addr.u.ip, &in6->sin6_addr, sizeof in6->sin6_addr);
    }
}

static int from_name(tool_plain *p, const char *text)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    const char *colon = strrchr(text, ':');
    char host[256];
    struct addrinfo *found = NULL;
    if (colon == NULL || colon == text || (size_t)(colon - text) >= sizeof host)
        return tool_fail(TOOL_USAGE, "'%s' is no address: wanted is HOST:PORT, [IPV6]:PORT or unix:PATH", text);
    (void)snprintf(host, sizeof host, "%.*s", (int)(colon - text), text);
    int said = getaddrinfo(host, colon + 1, &hints, &found);
    if (said != 0)
        return tool_fail(TOOL_FAILED, "%s: %s", text, gai_strerror(said));
    memcpy(&p->to, found->ai_addr, found->ai_addrlen);
    p->len = found->ai_addrlen;
    freeaddrinfo(found);
    from_socket(p);
    return TOOL_OK;
}

int tool_plain_parse(tool_plain *p, const char *text)
{
    pea_error why = {.code = PEA_OK};
    *p = (tool_plain){.len = 0};
    if (pea_addr_parse(&p->addr, text, &why) != PEA_OK) {
        bool literal = strncmp(text, "unix:", 5) == 0 || text[0] == '[';
        return literal ? tool_fail(TOOL_USAGE, "%s: %s", text, why.text) : from_name(p, text);
    }
    from_addr(p);
    return TOOL_OK;
}

/* ---- Sockets ---- */

/* Small things are sent at once: both ends of a dialogue wait for them. */
static int ready(int fd, bool tcp)
{
    int on = 1;
    if (fd >= 0 && tcp)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (fd >= 0 && tcp)
        (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    return fd;
}

static int make(const tool_plain *p)
{
    int fd = socket(p->to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return ready(fd, p->to.ss_family != AF_UNIX);
}

int tool_plain_connect(const tool_plain *p, int *sys)
{
    int fd = make(p);
    *sys = 0;
    if (fd < 0 || connect(fd, (const struct sockaddr *)&p->to, p->len) != 0)
        *sys = errno;
    if (fd < 0 || *sys == 0 || *sys == EINPROGRESS)
        return fd;
    (void)close(fd);
    return -1;
}

int tool_plain_connected(int fd)
{
    int sys = 0;
    socklen_t len = sizeof sys;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &sys, &len) != 0 ? errno : sys;
}

int tool_plain_listen(tool_plain *p)
{
    char text[PEA_ADDR_TEXT_BYTES];
    int on = 1, fd = make(p);
    if (fd >= 0 && p->to.ss_family != AF_UNIX)
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd < 0 || bind(fd, (struct sockaddr *)&p->to, p->len) != 0 || listen(fd, BACKLOG) != 0) {
        int sys = errno;
        if (fd >= 0)
            (void)close(fd);
        const char *advice = sys == EADDRINUSE && p->to.ss_family == AF_UNIX
                                 ? "; if nobody listens there any more, remove the file"
                                 : "";
        (void)tool_fail(TOOL_FAILED, "cannot listen on %s: %s%s", pea_addr_format(&p->addr, text), strerror(sys),
                        advice);
        return -1;
    }
    if (p->to.ss_family != AF_UNIX && getsockname(fd, (struct sockaddr *)&p->to, &p->len) == 0)
        from_socket(p);
    return fd;
}

int tool_plain_accept(int fd)
{
    struct sockaddr_storage from = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof from;
    int got = accept4(fd, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    return ready(got, got >= 0 && from.ss_family != AF_UNIX);
}

void tool_plain_unlisten(const tool_plain *p, int fd)
{
    (void)close(fd);
    if (p->addr.family == PEA_ADDR_UNIX && p->addr.u.path[0] != '\0')
        (void)unlink(p->addr.u.path);
}
