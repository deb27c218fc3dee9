/* SPDX-License-Identifier: MIT */
/* One message to and fro: `pingpong TRANSPORT SIZE SECONDS [same]`. The receiver sends, the sender answers; `same`:
 * both are nodes of one thread. Prints percentiles of the round trip, the CPU time of each process for one, and
 * round trips per second alone. */
#include <stdio.h>
#include <string.h>

#include "count.h"
#include "ours.h"
#include "peers/peer.h"

#define SIZE_MOST (8u << 20)

static ours o;
static uint8_t *payload;
static size_t size;
static double sent;
static peer_meter meter;
static peer_latencies latencies;
static count before;

static void print(void)
{
    count after = count_now();
    double trips = meter.count > 0 ? (double)meter.count : 1;
    printf("writes_per_flush %.4f\n", (double)(after.writes - before.writes) / trips / 2);
    printf("syscalls_per_message %.4f\n", (double)(after.syscalls - before.syscalls) / trips / 2);
    printf("allocs_per_message %.4f\n", (double)(after.allocations - before.allocations) / trips / 2);
    peer_latencies_print(&latencies, false);
    peer_meter_print(&meter);
}

static void ping(pea_conn *conn, void *user)
{
    (void)user;
    sent = two_now();
    ours_must(pea_conn_send(conn, payload, size), NULL);
}

static void on_echo(pea_conn *conn, const uint8_t *data, size_t len, void *user)
{
    (void)data;
    if (len != size)
        two_fail("an echo of another size");
    bool counted = peer_meter_counts(&meter);
    meter.count++;
    if (counted)
        peer_latencies_add(&latencies, two_now() - sent);
    if (!peer_meter_look(&meter)) {
        print();
        ev_break(o.loop, EVBREAK_ALL);
        return;
    }
    if (!counted && peer_meter_counts(&meter))
        before = count_now();
    ping(conn, user);
}

static void echo(pea_conn *conn, const uint8_t *data, size_t len, void *user)
{
    (void)user;
    ours_must(pea_conn_send(conn, data, len), NULL);
}

static const pea_node_callbacks on_ping_side = {.on_connect = ping, .on_message = on_echo};
static const pea_node_callbacks on_echo_side = {.on_message = echo};

static void run_two(void)
{
    char address[128];
    o.sender = two_fork();
    if (o.sender)
        count_as_sender();
    ours_node(&o, 0, o.sender ? &on_echo_side : &on_ping_side);
    if (o.sender) {
        two_hear(address);
        ours_dial(&o, address);
    } else {
        ours_listen(&o);
    }
    ev_run(o.loop, 0);
}

static void run_one(void)
{
    char address[PEA_ADDR_TEXT_BYTES];
    two_pin(TWO_RECEIVER_CPU);
    ours_node(&o, 0, &on_ping_side);
    ours other = {.transport = o.transport, .sender = true, .runtime = o.runtime};
    ours_node(&other, 0, &on_echo_side);
    ours_listen_here(&o, address);
    ours_dial(&other, address);
    ev_run(o.loop, 0);
}

int main(int argc, char **argv)
{
    ours_prepare(&o, argc, argv, 2, 3, "TRANSPORT SIZE SECONDS [same]");
    size = (size_t)two_number(argv[2], "SIZE", SIZE_MOST);
    meter.seconds = two_number(argv[3], "SECONDS", 600);
    payload = peer_payload(size);
    if (argc == 5 && strcmp(argv[4], "same") == 0)
        run_one();
    else
        run_two();
    (void)fflush(stdout);
    two_end();
    return 0;
}
