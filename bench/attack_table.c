/* SPDX-License-Identifier: MIT */
/* What the attack bench prints: a header, and one row for each attack. */
#include <stdio.h>
#include <stdlib.h>

#include "attack.h"

static int by_size(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

static double median(double *of, unsigned n)
{
    qsort(of, n, sizeof *of, by_size);
    return of[n / 2];
}

static void print_windows(const good_report *windows, unsigned rounds, bool fresh)
{
    double n[ATTACK_ROUNDS_MOST], p50[ATTACK_ROUNDS_MOST], p99[ATTACK_ROUNDS_MOST];
    for (unsigned i = 0; i < rounds; i++) {
        const good_report *w = &windows[i];
        n[i] = fresh ? w->fresh : w->trips;
        p50[i] = fresh ? w->fresh_us[0] : w->trip_us[0];
        p99[i] = fresh ? w->fresh_us[1] : w->trip_us[1];
    }
    printf(" %6.0f %6.0f %7.0f |", median(n, rounds), median(p50, rounds), median(p99, rounds));
}

static void print_count(const char *what, uint64_t n)
{
    if (n > 0)
        printf(" %s %llu", what, (unsigned long long)n);
}

void attack_print_row(const attack *a, const attack_row *r, unsigned rounds)
{
    const pea_stats_node *s = &r->last.stats;
    unsigned again = 0;
    printf("%-17s|", a->name);
    for (int fresh = 0; fresh < 2; fresh++)
        for (int with = 0; with < 2; with++)
            print_windows(r->windows[with], rounds, fresh);
    printf(" %5.1f %5.1f %5.1f | %5.1f |", r->calm.rss_mib, r->worst.rss_mib, r->last.rss_mib, r->worst.buffers_mib);
    print_count("accepted", s->accepted - r->calm.stats.accepted);
    for (pea_refusal reason = 0; reason < PEA_REFUSALS; reason++)
        print_count(pea_refusal_name(reason), s->refused[reason]);
    print_count("denied", s->failures[PEA_BY_POLICY]);
    print_count("handshake_timeout", s->handshake_timeouts);
    print_count("queue_full", s->queue_full);
    print_count("write_timeout", s->disconnects[PEA_BY_TIMEOUT]);
    for (unsigned i = 0; i < rounds; i++)
        again += r->windows[0][i].again + r->windows[1][i].again;
    print_count("(good peer dialled again:", again);
    printf("%s\n", again > 0 ? ")" : "");
}

void attack_print_header(unsigned rounds, double seconds, int server_cpu, int others_cpu)
{
    printf("attack: medians of %u rounds of %.1f s without and with each attack, in turn; server on core %d, all "
           "others on "
           "core %d\n",
           rounds, seconds, server_cpu, others_cpu);
    printf("server: write_timeout_ms = %u, %u other peers are connected; else the defaults (max_pending = 1024, no "
           "limit by "
           "range)\n",
           ATTACK_WRITE_TIMEOUT_MS, ATTACK_OTHERS);
    printf("+limits: max_per_prefix = %u, prefix_rate = %u, and the listener's backlog = %d\n", ATTACK_MAX_PER_PREFIX,
           ATTACK_PREFIX_RATE, ATTACK_BACKLOG);
    printf("%-17s| %-45s | %-45s | %-17s | bufs  |\n", "", "round trips of 64 B in us: without, with",
           "fresh connections to READY in us: without, with", "RSS, MiB");
    printf("%-17s|", "attack");
    for (int i = 0; i < 4; i++)
        printf(" %6s %6s %7s |", "n", "p50", "p99");
    printf(" %5s %5s %5s | %5s | %s\n", "first", "most", "last", "MiB", "counts of the server");
}
