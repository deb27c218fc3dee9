/* SPDX-License-Identifier: MIT */
/* A man in the middle of two nodes, on real sockets and the test's loop: he forwards, and can change a byte, cut,
 * reset, hold and replay. */
#ifndef PEAPOD_TEST_RELAY_H
#define PEAPOD_TEST_RELAY_H

#include <ev.h>

#include "peapod/addr.h"
#include "peapod/buf.h"

#define RELAY_NEVER SIZE_MAX

typedef struct relay relay;

/* One direction: 0 is from who dialled, 1 to it. What is done happens once, when byte number `..._at` (from 0) comes
 * by. */
typedef struct relay_way {
    relay *relay;
    ev_io io;
    int fd; /* where its bytes come from; -1: closed */
    size_t passed;
    size_t flip_at;  /* its bit (at % 8) is flipped */
    size_t cut_at;   /* it and all that follows is lost, and FIN is sent */
    size_t reset_at; /* both sides are reset instead */
    size_t piece;    /* bytes of one read; 0: as many as come */
    bool hold;       /* bytes are kept in `held` instead of passed on */
    pea_buf held;
} relay_way;

struct relay {
    struct ev_loop *loop;
    ev_io io;
    int listener;
    char addr[PEA_ADDR_TEXT_BYTES]; /* to dial */
    char to[PEA_ADDR_TEXT_BYTES];   /* where he dials */
    relay_way way[2];
};

/* Listens for one connection at a time, and passes it on to `to`. */
void relay_open(relay *r, struct ev_loop *loop, const char *to);

/* Writes bytes of his own in a direction. */
void relay_say(relay *r, unsigned way, const void *data, size_t len);

/* Closes what is open; he can be opened anew. */
void relay_close(relay *r);

#endif
