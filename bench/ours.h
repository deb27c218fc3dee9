/* SPDX-License-Identifier: MIT */
/* What the benches of peapod share: a transport's name becomes a chain, and each of the two processes has one node. */
#ifndef PEAPOD_BENCH_OURS_H
#define PEAPOD_BENCH_OURS_H

#include <ev.h>
#include <peapod/peapod.h>
#include <stdbool.h>

#define OURS_TRANSPORTS "plain|plain-stream|noise|noise-sodium|noise-aes|tls|tls-mbedtls"

/* plain: native mode without a transform; plain-stream: the codec alone on TCP; noise: PEA_NOISE_DEFAULT, by the
 * libraries that this build has; noise-sodium: the same by libsodium alone; noise-aes: the same with AESGCM; tls, with
 * records of our own; tls-mbedtls: with mbedTLS's. */
typedef struct ours {
    const char *transport;
    bool sender;
    bool nobody;                /* is let in; otherwise anybody */
    const uint8_t *network_key; /* noise: XXpsk0 with this key and this window; NULL: plain XX */
    uint32_t window_ms;
    struct ev_loop *loop;
    pea_runtime *runtime;
    pea_node *node;
    const char *address; /* of ours_dial_all() */
    unsigned to_dial;
} ours;

/* Takes the transport from the command line and makes what the two sides need in common. `least` and `most` arguments
 * stand behind the transport; else prints `usage`, and exits with 2. */
void ours_prepare(ours *o, int argc, char **argv, int least, int most, const char *usage);

/* ours_prepare(), then divides the program in two: see two_fork(). */
void ours_begin(ours *o, int argc, char **argv, int least, int most, const char *usage);

/* The chain and the policy that ours_node() takes; the caller unrefs the former. */
pea_chain *ours_chain(const ours *o);
pea_policy *ours_policy(const ours *o);

/* Makes the node, and a runtime if there is none. Connections that fail or end fail the program, unless `on` says
 * otherwise. */
void ours_node(ours *o, uint32_t workers, const pea_node_callbacks *on);

/* Listens, and writes where. */
void ours_listen_here(const ours *o, char address[PEA_ADDR_TEXT_BYTES]);

/* Listens, and tells the sender where. */
void ours_listen(const ours *o);

/* Dials; the address is the one that two_hear() told. */
void ours_dial(const ours *o, const char *address);

/* Dials `n` connections, a few at a time: whoever is told of one that is ready says so by ours_dial_next(). `address`
 * is kept. */
void ours_dial_all(ours *o, const char *address, unsigned n);
void ours_dial_next(ours *o);

/* Fails the program with that reason. */
_Noreturn void ours_fail(const pea_reason *reason);

/* Fails the program if this is an error. */
void ours_must(pea_err err, const pea_error *why);

#endif
