/* SPDX-License-Identifier: MIT */
/* What the benches of peapod share: a transport's name becomes a chain, and each of the two processes has one node. */
#ifndef PEAPOD_BENCH_OURS_H
#define PEAPOD_BENCH_OURS_H

#include <ev.h>
#include <peapod/peapod.h>
#include <stdbool.h>

#define OURS_TRANSPORTS "plain|plain-stream|noise|noise-sodium|noise-aes|tls"

/* plain: native mode without a transform; plain-stream: the codec alone on TCP; noise: PEA_NOISE_DEFAULT, by the
 * libraries that this build has; noise-sodium: the same by libsodium alone; noise-aes: the same with AESGCM; tls. */
typedef struct ours {
    const char *transport;
    bool sender;
    bool nobody; /* is let in; otherwise anybody */
    struct ev_loop *loop;
    pea_runtime *runtime;
    pea_node *node;
} ours;

/* Takes the transport from the command line and divides the program in two: see two_fork(). What the two need in
 * common is made before. `least` and `most` arguments stand behind the transport; else prints `usage`, and exits with
 * 2. */
void ours_begin(ours *o, int argc, char **argv, int least, int most, const char *usage);

/* Makes the node. Connections that fail or end fail the program, unless `on` says otherwise. */
void ours_node(ours *o, uint32_t workers, const pea_node_callbacks *on);

/* Listens, and tells the sender where. */
void ours_listen(const ours *o);

/* Dials; the address is the one that two_hear() told. */
void ours_dial(const ours *o, const char *address);

/* Fails the program with that reason. */
_Noreturn void ours_fail(const pea_reason *reason);

/* Fails the program if this is an error. */
void ours_must(pea_err err, const pea_error *why);

#endif
