/* SPDX-License-Identifier: MIT */
/* Messages by schedule, whatever the receiver does: `openloop TRANSPORT SIZE RATE SECONDS`. Each is flushed by itself.
 * Prints percentiles of the time from when a message was due until the receiver had it, the CPU times, and messages per
 * second alone: less than RATE where that is above the peak. */
#include <stdio.h>

#include "ours.h"
#include "peers/peer.h"

#define SIZE_MOST (8u << 20)
#define RATE_MOST 1e7

static ours o;
static uint8_t *payload;
static size_t size;
static double rate;
static peer_meter meter;
static peer_latencies latencies;
static bool over;

/* What the queue does not take waits here, and is late. */
static void send_by_schedule(pea_conn *conn)
{
    peer_schedule schedule = {.period = 1 / rate};
    for (;;) {
        peer_stamp(payload, peer_schedule_wait(&schedule));
        pea_err err;
        while ((err = pea_conn_send(conn, payload, size)) == PEA_E_QUEUE_FULL)
            ev_run(o.loop, EVRUN_ONCE);
        ours_must(err, NULL);
        pea_conn_flush(conn);
        if (pea_conn_queued(conn) > 0)
            ev_run(o.loop, EVRUN_NOWAIT);
    }
}

static uint64_t ready;

static void on_ready(pea_conn *conn, void *user)
{
    (void)user;
    ready = pea_conn_id(conn);
}

static void on_message(pea_conn *conn, const uint8_t *data, size_t len, void *user)
{
    (void)conn, (void)user;
    if (over) /* others of the same round of the loop */
        return;
    if (len != size)
        two_fail("a message of another size");
    meter.count++;
    if (peer_meter_counts(&meter))
        peer_latencies_add(&latencies, two_now() - peer_stamped(data));
    over = !peer_meter_look(&meter);
    if (!over)
        return;
    peer_latencies_print(&latencies, true);
    peer_meter_print(&meter);
    ev_break(o.loop, EVBREAK_ALL);
}

int main(int argc, char **argv)
{
    ours_begin(&o, argc, argv, 3, 3, "TRANSPORT SIZE RATE SECONDS");
    size = (size_t)two_number(argv[2], "SIZE", SIZE_MOST);
    rate = two_number(argv[3], "RATE", RATE_MOST);
    meter.seconds = two_number(argv[4], "SECONDS", 600);
    if (size < sizeof(double))
        two_fail("SIZE must have room for a time of 8 bytes");
    payload = peer_payload(size);
    if (o.sender) {
        char address[128];
        ours_node(&o, 0, &(pea_node_callbacks){.on_connect = on_ready});
        two_hear(address);
        ours_dial(&o, address);
        while (ready == 0)
            ev_run(o.loop, EVRUN_ONCE);
        send_by_schedule(pea_node_find(o.node, ready));
    } else {
        ours_node(&o, 0, &(pea_node_callbacks){.on_message = on_message});
        ours_listen(&o);
        ev_run(o.loop, 0);
    }
    (void)fflush(stdout);
    two_end();
    return 0;
}
