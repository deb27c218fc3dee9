/* SPDX-License-Identifier: MIT */
/* What every bench of two processes needs: a fork, a core for each, a way to tell an address, and the clock. Nothing
 * of peapod is in here. */
#ifndef PEAPOD_BENCH_TWO_H
#define PEAPOD_BENCH_TWO_H

#include <stddef.h>
#include <stdint.h>

#define TWO_SENDER_CPU 0
#define TWO_RECEIVER_CPU 1
#define TWO_WARM_UP 0.1 /* seconds that do not count: slow start, first buffers */

/* Forks. Without it the program is sender and receiver in one. Returns 1 in the sender (the child), 0 in the receiver;
 * each is pinned to its core where there are two. */
int two_fork(void);

/* Pins the calling process to a core; where that is not possible it says so. */
void two_pin(int cpu);

/* The receiver tells where it listens; the sender waits for it. At most 127 bytes. */
void two_tell(const char *address);
void two_hear(char address[128]);

/* The receiver ends the sender, by its id, and waits for it. */
void two_end(void);

/* Seconds of a monotonic clock. */
double two_now(void);

/* Seconds of CPU time, user and system, that the sender (or else the receiver) has used: none for the sender if there
 * is only one process. Called by the receiver. */
double two_cpu(int of_sender);

/* KiB of memory that are resident in this process now. */
double two_rss_kib(void);

/* Prints why, and exits with 1. */
_Noreturn void two_fail(const char *what);

/* Reads a decimal number from 1 to `max`; exits with 2 and names it if it is none. */
double two_number(const char *text, const char *what, double max);

/* Lets this process and its children have as many descriptors as the system does: one for each connection. */
void two_allow_descriptors(void);

#endif
