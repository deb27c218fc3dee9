/* SPDX-License-Identifier: MIT */
/* Messages per second one way: `oneway TRANSPORT SIZE SECONDS [CONNECTIONS [BUSY]]`. The sender sends on each
 * connection whatever its queue takes, or only on BUSY of them, and the others rest; the receiver counts in
 * on_message of READY connections. Its last line is the figure alone; before it come the CPU time of each process,
 * the chunks and records of the wire, system calls and allocations of both processes, all for one message. */
#include <stdio.h>
#include <stdlib.h>

#include "count.h"
#include "ours.h"
#include "peek.h"
#include "peers/peer.h"

#define SIZE_MOST (8u << 20)
#define CONNECTIONS_MOST 10000
#define LOOK_EVERY 0.002 /* seconds */

static ours o;
static uint8_t *payload;
static size_t size;
static unsigned connections = 1, busy, ready;
static pea_conn *conns[CONNECTIONS_MOST];

/* ---- The sender ---- */

static void send_all(pea_conn *conn, void *user)
{
    (void)user;
    pea_err err = PEA_OK;
    while (err == PEA_OK)
        err = pea_conn_send(conn, payload, size);
    if (err != PEA_E_QUEUE_FULL)
        ours_must(err, NULL);
}

/* No handshake has to wait behind the messages of those who have theirs. */
static void send_on_all(pea_conn *conn, void *user)
{
    conns[ready++] = conn;
    ours_dial_next(&o);
    for (unsigned i = 0; ready == connections && i < busy; i++)
        send_all(conns[i], user);
}

/* ---- The receiver ---- */

static peer_meter meter;
static ev_timer timer;
static bool counting;
static count before;
static uint64_t chunks_before, records_before;

static void sum(uint64_t *chunks, uint64_t *records)
{
    *chunks = *records = 0;
    for (unsigned i = 0; i < connections; i++) {
        *chunks += peek_chunks(conns[i]);
        *records += peek_records(conns[i]);
    }
}

static void print(void)
{
    count after = count_now();
    uint64_t chunks, records;
    double messages = meter.count > 0 ? (double)meter.count : 1;
    sum(&chunks, &records);
    printf("chunks_per_message %.6f\n", (double)(chunks - chunks_before) / messages);
    printf("records_per_message %.6f\n", (double)(records - records_before) / messages);
    printf("syscalls_per_message %.6f\n", (double)(after.syscalls - before.syscalls) / messages);
    printf("allocs_per_message %.6f\n", (double)(after.allocations - before.allocations) / messages);
    peer_meter_print(&meter);
}

static void on_time(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)w, (void)events;
    bool more = peer_meter_look(&meter);
    if (!counting && peer_meter_counts(&meter)) {
        counting = true;
        before = count_now();
        sum(&chunks_before, &records_before);
    }
    if (!more) {
        print();
        ev_break(loop, EVBREAK_ALL);
    }
}

static void on_connect(pea_conn *conn, void *user)
{
    (void)user;
    conns[ready++] = conn;
    if (ready < connections)
        return;
    ev_timer_init(&timer, on_time, 0., LOOK_EVERY);
    ev_timer_start(o.loop, &timer);
}

static void on_message(pea_conn *conn, const uint8_t *data, size_t len, void *user)
{
    (void)conn, (void)user, (void)data;
    meter.count++;
    if (len != size)
        two_fail("a message of another size");
}

int main(int argc, char **argv)
{
    ours_begin(&o, argc, argv, 2, 4, "TRANSPORT SIZE SECONDS [CONNECTIONS [BUSY]]");
    size = (size_t)two_number(argv[2], "SIZE", SIZE_MOST);
    meter.seconds = two_number(argv[3], "SECONDS", 600);
    if (argc >= 5)
        connections = (unsigned)two_number(argv[4], "CONNECTIONS", CONNECTIONS_MOST);
    busy = argc >= 6 ? (unsigned)two_number(argv[5], "BUSY", connections) : connections;
    char address[128];
    if (o.sender) {
        payload = peer_payload(size);
        ours_node(&o, 0, &(pea_node_callbacks){.on_connect = send_on_all, .on_drain = send_all});
        two_hear(address);
        ours_dial_all(&o, address, connections);
    } else {
        ours_node(&o, 0, &(pea_node_callbacks){.on_connect = on_connect, .on_message = on_message});
        ours_listen(&o);
    }
    ev_run(o.loop, 0);
    (void)fflush(stdout);
    two_end();
    return 0;
}
