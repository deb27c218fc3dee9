/* SPDX-License-Identifier: MIT */
/* Peers that misbehave: silence, garbage, half a greeting, a drip, a reset, deaf ones, over sockets of their own. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "chaos.h"

void vandal_init(vandal *v)
{
    for (int i = 0; i < VANDAL_SOCKETS; i++)
        v->fds[i] = -1;
}

static int dial(const pea_addr *addr)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(addr->port)};
    memcpy(&to.sin_addr, addr->u.ip, sizeof to.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    (void)connect(fd, (struct sockaddr *)&to, sizeof to); /* what comes of it is seen when it is used */
    return fd;
}

static void hang_up(int fd)
{
    if (chance(2) == 0) { /* a reset */
        struct linger now = {1, 0};
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }
    close(fd);
}

/* A greeting that fits, with one byte changed every other time, and what may follow it. */
static size_t half_a_handshake(uint8_t out[600])
{
    static const uint8_t greeting[41] = {0xF1, 'p', 'e', 'a', 'p', 'o', 'd', 1, 1};
    size_t len = 1 + (size_t)chance(600);
    for (size_t i = 0; i < len; i++)
        out[i] = i < sizeof greeting ? greeting[i] : (uint8_t)chance(256);
    if (chance(2) == 0)
        out[chance(len)] ^= (uint8_t)(1u << chance(8));
    return len;
}

void vandal_act(vandal *v, const pea_addr *to)
{
    uint8_t bytes[600];
    int *fd = &v->fds[chance(VANDAL_SOCKETS)];
    if (*fd < 0) {
        *fd = to != NULL ? dial(to) : -1;
        return;
    }
    switch (chance(5)) {
    case 0:
        hang_up(*fd);
        *fd = -1;
        break;
    case 1:
        memset(bytes, (int)chance(256), sizeof bytes);
        (void)!send(*fd, bytes, 1 + chance(sizeof bytes), MSG_NOSIGNAL);
        break;
    case 2:
        (void)!send(*fd, bytes, half_a_handshake(bytes), MSG_NOSIGNAL);
        break;
    case 3: /* a drip */
        bytes[0] = (uint8_t)chance(256);
        (void)!send(*fd, bytes, 1, MSG_NOSIGNAL);
        break;
    default: /* it says nothing, and reads only now and then */
        (void)!recv(*fd, bytes, sizeof bytes, 0);
        break;
    }
}

void vandal_leave(vandal *v)
{
    for (int i = 0; i < VANDAL_SOCKETS; i++)
        if (v->fds[i] >= 0)
            hang_up(v->fds[i]);
}
