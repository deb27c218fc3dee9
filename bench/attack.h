/* SPDX-License-Identifier: MIT */
/* What the processes of the attack bench share: attack.c forks a server, a good client and an attacker for each row of
 * its table, and speaks with them over a socket of its own. */
#ifndef PEAPOD_BENCH_ATTACK_H
#define PEAPOD_BENCH_ATTACK_H

#include <peapod/peapod.h>
#include <stdnoreturn.h>

/* Where they come from, each a range of its own: 127.0.NETWORK.0/24. */
enum { FROM_ATTACKER = 1, FROM_GOOD = 2, FROM_OTHERS = 10 }; /* the others: so many in each range from there on */
#define ATTACK_OTHERS_PER_RANGE 100u

#define ATTACK_MESSAGE_BYTES 64u
#define ATTACK_FEED_ROLE "subscriber" /* of whom the server broadcasts to */
#define ATTACK_ROUNDS_MOST 99u
#define ATTACK_OTHERS 1000u /* trusted peers that are connected all the time and say nothing */

/* The server's options. */
#define ATTACK_WRITE_TIMEOUT_MS 500u /* the default of a minute would pass unseen */
#define ATTACK_MAX_PER_PREFIX 256u
#define ATTACK_PREFIX_RATE 200u /* the good peer dials a hundred times a second */
#define ATTACK_BACKLOG 4096

typedef enum attack_kind {
    ATTACK_SLOWLORIS,
    ATTACK_FLOOD,
    ATTACK_HANDSHAKES,
    ATTACK_REPLAY,
    ATTACK_DEAF,
    ATTACK_FROZEN
} attack_kind;

typedef struct attack {
    const char *name;
    attack_kind kind;
    bool limits;   /* the server has limits by range beside the defaults */
    double settle; /* seconds from the attacker's word that it has begun until the measurement */
} attack;

/* Whoever takes part has one, known to all. */
typedef struct attack_keys {
    pea_identity *server, *good, *subscriber, *stranger;
} attack_keys;

extern attack_keys keys;

typedef struct good_report {
    unsigned trips, fresh, again;   /* again: dials that failed and were dialled anew */
    double trip_us[2], fresh_us[2]; /* p50, p99 */
    bool lost;                      /* the connection ended, or a dial failed for good */
    char why[PEA_REASON_TEXT_BYTES];
} good_report;

typedef struct server_report {
    char address[PEA_ADDR_TEXT_BYTES];
    double rss_mib, buffers_mib; /* of the process; of pea_runtime_memory() */
    pea_stats_node stats;
} server_report;

/* What a row is made of. */
typedef struct attack_row {
    good_report windows[2][ATTACK_ROUNDS_MOST]; /* without and with the attack */
    server_report calm, worst, last;            /* worst: the most memory of any moment that was looked at */
} attack_row;

/* ---- attack_base.c ---- */

/* Prints why, and exits with 2: what is at fault is the bench or the machine. */
void must(bool ok, const char *what);
void must_pea(pea_err err, const pea_error *why);

/* A socket of 127.0.NETWORK.HOST, which does not block; -1: errno says why. The port is chosen by connect(). */
int socket_from(unsigned network, unsigned host);

/* A chain of Noise XX with this key. */
pea_chain *chain_of(pea_identity *me);

/* A node on the default loop. */
pea_node *node_of(pea_node_opts *opts);

/* ---- attack_table.c ---- */

void attack_print_header(unsigned rounds, double seconds, int server_cpu, int others_cpu);
void attack_print_row(const attack *a, const attack_row *r, unsigned rounds);

/* ---- The processes; each of them runs until it is killed ---- */

noreturn void attack_serve(int control, const attack *a);       /* a byte: report */
noreturn void attack_be_good(int control, const char *address); /* a double: measure for so many seconds */
noreturn void attack_from_raw(int control, const char *address, attack_kind kind);   /* a byte comes from it when it */
noreturn void attack_from_peers(int control, const char *address, attack_kind kind); /* has begun */

#endif
