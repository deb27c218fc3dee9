/* SPDX-License-Identifier: MIT */
/* What the peers in C share: see peer.h. */
#include "peer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef __linux__
#include <sys/prctl.h>
#endif

#define SIZE_MOST (8u << 20)
#define CONNECTIONS_MOST 1000
#define IDLE_MOST 100000
#define RATE_MOST 1e6
#define LOOK_EVERY 64u /* messages: 1 ms at 64 k/s */

enum { BEFORE, WARM_UP, COUNTED };

/* ---- The command line ---- */

static const struct {
    const char *name;
    const char *usage;
    int least, most; /* arguments */
} workloads[] = {
    [PEER_ONEWAY] = {"oneway", "oneway SIZE SECONDS [CONNECTIONS]", 2, 3},
    [PEER_PINGPONG] = {"pingpong", "pingpong SIZE SECONDS", 2, 2},
    [PEER_OPENLOOP] = {"openloop", "openloop SIZE RATE SECONDS", 3, 3},
    [PEER_CONNECT] = {"connect", "connect INFLIGHT SECONDS", 2, 2},
    [PEER_IDLE] = {"idle", "idle CONNECTIONS", 1, 1},
};
#define WORKLOADS (sizeof workloads / sizeof workloads[0])

static bool knows(const char *names, const char *name)
{
    size_t len = strlen(name);
    for (const char *at = names; (at = strstr(at, name)) != NULL; at += len)
        if ((at == names || at[-1] == ' ') && (at[len] == ' ' || at[len] == '\0'))
            return true;
    return false;
}

static void usage(const char *program, const char *names)
{
    for (size_t i = 0; i < WORKLOADS; i++)
        if (knows(names, workloads[i].name))
            (void)fprintf(stderr, "usage: %s %s\n", program, workloads[i].usage);
    exit(2);
}

peer_args peer_parse(int argc, char **argv, const char *names)
{
    size_t w = 0;
    while (argc > 1 && w < WORKLOADS && strcmp(argv[1], workloads[w].name) != 0)
        w++;
    if (argc < 2 || w == WORKLOADS || !knows(names, argv[1]) || argc - 2 < workloads[w].least ||
        argc - 2 > workloads[w].most)
        usage(argv[0], names);
    peer_args args = {.workload = (peer_workload)w, .connections = 1};
    if (args.workload == PEER_IDLE) {
        args.connections = (unsigned)two_number(argv[2], "CONNECTIONS", IDLE_MOST);
        return args;
    }
    if (args.workload == PEER_CONNECT)
        args.connections = (unsigned)two_number(argv[2], "INFLIGHT", CONNECTIONS_MOST);
    else
        args.size = (size_t)two_number(argv[2], "SIZE", SIZE_MOST);
    if (args.workload == PEER_OPENLOOP) {
        args.rate = two_number(argv[3], "RATE", RATE_MOST);
        if (args.size < sizeof(double)) {
            (void)fprintf(stderr, "bench: SIZE is '%s', and must have room for a time of 8 bytes\n", argv[2]);
            exit(2);
        }
    }
    args.seconds = two_number(argv[args.workload == PEER_OPENLOOP ? 4 : 3], "SECONDS", 600);
    if (args.workload == PEER_ONEWAY && argc == 5)
        args.connections = (unsigned)two_number(argv[4], "CONNECTIONS", CONNECTIONS_MOST);
    return args;
}

/* ---- The counted time ---- */

static void begin(peer_meter *m, int phase, double now)
{
    m->phase = phase;
    m->begun = now;
    m->count = 0;
    for (int sender = 0; sender < 2; sender++)
        m->cpu_begun[sender] = two_cpu(sender);
}

bool peer_meter_look(peer_meter *m)
{
    double now = two_now();
    if (m->phase == BEFORE)
        begin(m, WARM_UP, now);
    else if (m->phase == WARM_UP && now - m->begun >= TWO_WARM_UP)
        begin(m, COUNTED, now);
    m->took = now - m->begun;
    if (m->phase != COUNTED || m->took < m->seconds)
        return true;
    for (int sender = 0; sender < 2; sender++)
        m->cpu[sender] = two_cpu(sender) - m->cpu_begun[sender];
    return false;
}

bool peer_meter_message(peer_meter *m, size_t len, size_t size)
{
    if (len != size)
        two_fail("a message of another size");
    return m->count++ % LOOK_EVERY != 0 || peer_meter_look(m);
}

bool peer_meter_counts(const peer_meter *m)
{
    return m->phase == COUNTED;
}

void peer_meter_print(const peer_meter *m)
{
    double count = (double)m->count;
    if (m->count > 0) {
        printf("cpu_ns_sender %.1f\n", m->cpu[1] * 1e9 / count);
        printf("cpu_ns_receiver %.1f\n", m->cpu[0] * 1e9 / count);
    }
    printf("%.0f\n", count / m->took);
}

/* ---- Latencies ---- */

void peer_latencies_add(peer_latencies *l, double seconds)
{
    if (l->count == l->room) {
        l->room = l->room == 0 ? 65536 : 2 * l->room;
        l->seconds = realloc(l->seconds, l->room * sizeof *l->seconds);
        if (l->seconds == NULL)
            two_fail("realloc");
    }
    l->seconds[l->count++] = seconds;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double percentile(const peer_latencies *l, double part)
{
    return l->seconds[(size_t)(part * (double)(l->count - 1))];
}

void peer_latencies_print(peer_latencies *l, bool p999)
{
    if (l->count == 0)
        two_fail("no message came in the counted time");
    qsort(l->seconds, l->count, sizeof *l->seconds, compare);
    printf("p50_us %.1f\n", percentile(l, 0.5) * 1e6);
    printf("p99_us %.1f\n", percentile(l, 0.99) * 1e6);
    if (p999)
        printf("p999_us %.1f\n", percentile(l, 0.999) * 1e6);
    free(l->seconds);
    *l = (peer_latencies){0};
}

/* ---- An open loop ---- */

double peer_schedule_wait(peer_schedule *s)
{
    if (s->next <= 0) {
#ifdef __linux__
        (void)prctl(PR_SET_TIMERSLACK, 1UL); /* else each sleep is 50 us longer */
#endif
        s->next = two_now();
    }
    s->next += s->period;
    double whole = floor(s->next);
    struct timespec until = {.tv_sec = (time_t)whole, .tv_nsec = (long)((s->next - whole) * 1e9)};
    while (two_now() < s->next)
        (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
    return s->next;
}

uint8_t *peer_payload(size_t size)
{
    uint8_t *payload = calloc(1, size);
    if (payload == NULL)
        two_fail("calloc");
    return payload;
}

void peer_stamp(uint8_t *payload, double when)
{
    memcpy(payload, &when, sizeof when);
}

double peer_stamped(const uint8_t *payload)
{
    double when;
    memcpy(&when, payload, sizeof when);
    return when;
}
