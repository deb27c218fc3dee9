/* SPDX-License-Identifier: MIT */
/* Many to one: `fanin TRANSPORT SIZE SENDERS WORKERS SECONDS`. The senders are connections of one process, each of
 * which sends what its queue takes; the receiver has WORKERS threads beside its loop, and all cores, since its threads
 * could not run side by side on one. Prints the CPU time of each process for a message, and messages per second alone.
 */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE
#endif
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "ours.h"
#include "peers/peer.h"

#define SIZE_MOST (8u << 20)
#define SENDERS_MOST 1000
#define LOOK_EVERY 0.002 /* seconds */

static ours o;
static size_t size;
static unsigned senders;
static uint8_t *payload;

/* ---- The senders ---- */

static unsigned ready;
static pea_conn *conns[SENDERS_MOST];

static void send_all(pea_conn *conn, void *user)
{
    (void)user;
    pea_err err = PEA_OK;
    while (err == PEA_OK)
        err = pea_conn_send(conn, payload, size);
    if (err != PEA_E_QUEUE_FULL)
        ours_must(err, NULL);
}

static void on_ready(pea_conn *conn, void *user)
{
    conns[ready++] = conn;
    ours_dial_next(&o);
    for (unsigned i = 0; ready == senders && i < senders; i++)
        send_all(conns[i], user);
}

/* ---- The receiver: a connection belongs to one thread, and has a counter and a cache line of its own ---- */

static struct {
    _Alignas(64) _Atomic(uint64_t) messages;
} counters[SENDERS_MOST];
static atomic_uint arrived;
static peer_meter meter;
static uint64_t before;
static ev_timer timer;
static atomic_bool over;

static void on_arrival(pea_conn *conn, void *user)
{
    (void)user;
    pea_conn_set_user(conn, &counters[atomic_fetch_add(&arrived, 1)]);
}

static void on_message(pea_conn *conn, const uint8_t *data, size_t len, void *user)
{
    (void)data, (void)user;
    _Atomic(uint64_t) *messages = pea_conn_user(conn);
    if (len != size)
        two_fail("a message of another size");
    atomic_store_explicit(messages, atomic_load_explicit(messages, memory_order_relaxed) + 1, memory_order_relaxed);
}

/* Threads of the receiver see the sender end. */
static void on_end(pea_conn *conn, const pea_reason *reason, void *user)
{
    (void)conn, (void)user;
    if (!atomic_load(&over))
        ours_fail(reason);
}

static uint64_t sum(void)
{
    uint64_t all = 0;
    for (unsigned i = 0; i < senders; i++)
        all += atomic_load_explicit(&counters[i].messages, memory_order_relaxed);
    return all;
}

static void on_time(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)w, (void)events;
    if (atomic_load(&arrived) < senders)
        return;
    bool counted = peer_meter_counts(&meter), more = peer_meter_look(&meter);
    if (!counted && peer_meter_counts(&meter))
        before = sum();
    if (more)
        return;
    atomic_store(&over, true);
    meter.count = sum() - before;
    peer_meter_print(&meter);
    ev_break(loop, EVBREAK_ALL);
}

static void take_all_cores(void)
{
#ifdef __linux__
    cpu_set_t all;
    memset(&all, 0xFF, sizeof all);
    if (sched_setaffinity(0, sizeof all, &all) != 0)
        two_fail("taking all cores");
#endif
}

int main(int argc, char **argv)
{
    ours_begin(&o, argc, argv, 4, 4, "TRANSPORT SIZE SENDERS WORKERS SECONDS");
    size = (size_t)two_number(argv[2], "SIZE", SIZE_MOST);
    senders = (unsigned)two_number(argv[3], "SENDERS", SENDERS_MOST);
    uint32_t workers = strcmp(argv[4], "0") == 0 ? 0 : (uint32_t)two_number(argv[4], "WORKERS", PEA_WORKERS_MAX);
    meter.seconds = two_number(argv[5], "SECONDS", 600);
    char address[128];
    if (o.sender) {
        payload = peer_payload(size);
        ours_node(&o, 0, &(pea_node_callbacks){.on_connect = on_ready, .on_drain = send_all});
        two_hear(address);
        ours_dial_all(&o, address, senders);
    } else {
        take_all_cores();
        ours_node(&o, workers,
                  &(pea_node_callbacks){.on_connect = on_arrival, .on_message = on_message, .on_disconnect = on_end});
        ours_listen(&o);
        ev_timer_init(&timer, on_time, LOOK_EVERY, LOOK_EVERY);
        ev_timer_start(o.loop, &timer);
    }
    ev_run(o.loop, 0);
    (void)fflush(stdout);
    two_end();
    return 0;
}
