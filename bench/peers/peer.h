/* SPDX-License-Identifier: MIT */
/* What the peers in C share: the command line, the counted time, latencies. A peer does with another library what a
 * bench here does with peapod; what it prints last are lines of a key and a value, or the figure alone. The receiver
 * is the one that measures, prints and ends the sender. */
#ifndef PEAPOD_BENCH_PEER_H
#define PEAPOD_BENCH_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "two.h"

typedef enum peer_workload { PEER_ONEWAY, PEER_PINGPONG, PEER_OPENLOOP, PEER_CONNECT, PEER_IDLE } peer_workload;

typedef struct peer_args {
    peer_workload workload;
    size_t size;          /* of a message, in bytes */
    double seconds;       /* that count */
    double rate;          /* openloop: messages per second */
    unsigned connections; /* oneway: in parallel. connect: in the making at a time. idle: that rest */
} peer_args;

/* Reads the command line. `workloads` are the names that this peer knows, with blanks between; anything else is
 * answered with the usage and exit status 2. */
peer_args peer_parse(int argc, char **argv, const char *workloads);

/* What is counted, and when: it begins TWO_WARM_UP after the first look, and lasts `seconds`. */
typedef struct peer_meter {
    double seconds;
    uint64_t count; /* the caller adds to it */
    int phase;
    double begun, took;
    double cpu_begun[2], cpu[2]; /* of the receiver, of the sender */
} peer_meter;

/* Looks at the clock. The count begins anew when the warm-up is over. False: the time is over. */
bool peer_meter_look(peer_meter *m);

/* Adds a message that must have `size` bytes, and looks at the clock now and then: that costs as much as a message. */
bool peer_meter_message(peer_meter *m, size_t len, size_t size);

bool peer_meter_counts(const peer_meter *m);

/* cpu_ns_sender, cpu_ns_receiver, and the count per second alone. */
void peer_meter_print(const peer_meter *m);

typedef struct peer_latencies {
    double *seconds;
    size_t count, room;
} peer_latencies;

void peer_latencies_add(peer_latencies *l, double seconds);

/* Sorts; then p50_us, p99_us and, if `p999`, p999_us. */
void peer_latencies_print(peer_latencies *l, bool p999);

/* The schedule of an open loop: waits until the next message is due, and returns when that was. */
typedef struct peer_schedule {
    double period, next;
} peer_schedule;

double peer_schedule_wait(peer_schedule *s);

/* `size` zeros. */
uint8_t *peer_payload(size_t size);

/* Where the time of an open loop stands in a message: its first bytes. */
void peer_stamp(uint8_t *payload, double when);
double peer_stamped(const uint8_t *payload);

#endif
