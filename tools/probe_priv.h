/* SPDX-License-Identifier: MIT */
/* What `peapod probe` is made of: where an address leads, one try of one protocol, and what foreign bytes look like. */
#ifndef PEAPOD_PROBE_PRIV_H
#define PEAPOD_PROBE_PRIV_H

#include <sys/socket.h>

#include "tool_priv.h"

/* ---- Where to: probe_dial.c ---- */

#define PROBE_PLACES_MAX 8 /* addresses of a name that are tried: who has more has one that works among them */

typedef struct probe_place {
    struct sockaddr_storage address;
    socklen_t len;
    pea_addr addr; /* the same */
} probe_place;

typedef struct probe_target {
    const char *text; /* as it was given */
    char name[254];   /* the host that it names; "": an address */
    probe_place places[PROBE_PLACES_MAX];
    size_t n, at; /* how many there are; which one answered last */
} probe_target;

/* Finds the addresses of "host:port", or takes a literal one; a lookup that lasts longer ends the program with a line
 * that says so. TOOL_OK | another status, and the error is printed */
int probe_resolve(probe_target *target, const char *text, int timeout_ms);

/* A connected, non-blocking socket to the first of them that takes us, which is target->at. -1: none did, with the
 * errno of the last one. */
int probe_dial(probe_target *target, int64_t deadline_us);

/* Microseconds of the monotonic clock. */
int64_t probe_now(void);

/* ---- One try: probe_try.c ---- */

#define PROBE_FLIGHTS_MAX 12
#define PROBE_FIRST_MAX 256

typedef struct probe_flight {
    bool ours;
    size_t bytes;
    int64_t after_us; /* since the flight before it, or since the socket was connected */
} probe_flight;

/* What our rules say of whom we met; the policy of a try. */
typedef struct probe_judge {
    pea_trust *trust; /* NULL: no rules were given, and nothing is revealed by going on */
    const char *dialled;
    bool met; /* the rest is filled in */
    pea_peer peer;
    pea_err verdict;
    pea_trust_account account;
} probe_judge;

typedef enum probe_end {
    PROBE_NO_SOCKET = 1, /* `sys` says why */
    PROBE_READY,         /* both sides accepted */
    PROBE_CLOSED,        /* `reason` */
    PROBE_LATE           /* the deadline passed */
} probe_end;

typedef struct probe_result {
    probe_end end;
    int sys;
    int64_t connect_us;
    pea_reason reason;
    probe_flight flights[PROBE_FLIGHTS_MAX];
    size_t n_flights;
    uint8_t first[PROBE_FIRST_MAX]; /* what the peer said first */
    size_t n_first;
    bool fin;        /* the peer ended the stream */
    char cipher[64]; /* of what was agreed on; "": not known */
    probe_judge judge;
} probe_result;

/* Dials, and passes the chain until it is READY, closed or late; then ends it in an orderly way. judge is filled in by
 * the caller as far as `met`. TOOL_OK: `result` says what came of it | another status, and the error is printed */
int probe_try(probe_target *target, pea_chain *chain, const char *name, int timeout_ms, probe_result *result);

/* Dials, sends these bytes and takes what comes first. */
void probe_say(probe_target *target, const char *text, int timeout_ms, probe_result *result);

/* ---- What it looks like: probe_guess.c ---- */

/* The protocol that begins like this; NULL: none that is known here. */
const char *probe_guess(const uint8_t *first, size_t n);

bool probe_is_tls(const uint8_t *first, size_t n);

#endif
