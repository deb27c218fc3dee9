/* SPDX-License-Identifier: MIT */
/* One message to many: `broadcast TRANSPORT SIZE PEERS SECONDS`. The sender has a connection to each peer, all of which
 * are the receiver's, and broadcasts; when somebody's queue is full it waits until there is room. Prints the CPU time
 * of both processes for a connection, that of each for a delivery, and deliveries per second alone. */
#include <stdio.h>

#include "count.h"
#include "ours.h"
#include "peers/peer.h"

#define SIZE_MOST (8u << 20)
#define PEERS_MOST 10000
#define AT_A_TIME 16u

static ours o;
static unsigned peers, ready;

/* ---- The sender ---- */

static pea_msg *message;
static unsigned begun; /* broadcasts that are on their way */
static bool waits;

static void on_done(void *arg, const pea_broadcast_result *result);

/* Several at a time: each peer gets them in one write. */
static void broadcast(void)
{
    for (; !waits && begun < AT_A_TIME; begun++)
        ours_must(pea_node_broadcast(o.node, message, NULL, on_done, NULL), NULL);
}

static void on_done(void *arg, const pea_broadcast_result *result)
{
    (void)arg;
    begun--;
    waits = waits || result->refused > 0;
    if (begun == 0)
        broadcast();
}

static void on_drain(pea_conn *conn, void *user)
{
    (void)conn, (void)user;
    waits = false;
    if (begun == 0)
        broadcast();
}

static void on_ready(pea_conn *conn, void *user)
{
    (void)conn, (void)user;
    ours_dial_next(&o);
    if (++ready == peers)
        broadcast();
}

/* ---- The receiver ---- */

static size_t size;
static peer_meter meter;
static count before;
static bool over;
static unsigned arrived;
static double cpu_before, cpu_us_connection;

static double cpu(void)
{
    return two_cpu(0) + two_cpu(1);
}

static void on_arrival(pea_conn *conn, void *user)
{
    (void)conn, (void)user;
    if (++arrived == peers)
        cpu_us_connection = (cpu() - cpu_before) * 1e6 / peers;
}

static void on_message(pea_conn *conn, const uint8_t *data, size_t len, void *user)
{
    (void)conn, (void)data, (void)user;
    bool counted = peer_meter_counts(&meter);
    if (over || peer_meter_message(&meter, len, size)) {
        if (!counted && peer_meter_counts(&meter))
            before = count_now();
        return;
    }
    over = true;
    count after = count_now();
    double messages = meter.count > 0 ? (double)meter.count : 1;
    printf("cpu_us_connection %.1f\n", cpu_us_connection);
    printf("syscalls_per_message %.6f\n", (double)(after.syscalls - before.syscalls) / messages);
    printf("allocs_per_message %.6f\n", (double)(after.allocations - before.allocations) / messages);
    peer_meter_print(&meter);
    ev_break(o.loop, EVBREAK_ALL);
}

int main(int argc, char **argv)
{
    ours_begin(&o, argc, argv, 3, 3, "TRANSPORT SIZE PEERS SECONDS");
    size = (size_t)two_number(argv[2], "SIZE", SIZE_MOST);
    peers = (unsigned)two_number(argv[3], "PEERS", PEERS_MOST);
    meter.seconds = two_number(argv[4], "SECONDS", 600);
    char address[128];
    if (o.sender) {
        ours_must(pea_msg_new(&message, peer_payload(size), size), NULL);
        ours_node(&o, 0, &(pea_node_callbacks){.on_connect = on_ready, .on_drain = on_drain});
        two_hear(address);
        ours_dial_all(&o, address, peers);
    } else {
        ours_node(&o, 0, &(pea_node_callbacks){.on_connect = on_arrival, .on_message = on_message});
        ours_listen(&o);
        cpu_before = cpu();
    }
    ev_run(o.loop, 0);
    (void)fflush(stdout);
    two_end();
    return 0;
}
