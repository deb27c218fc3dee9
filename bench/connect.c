/* SPDX-License-Identifier: MIT */
/* Whole handshakes, acceptance included: `connect TRANSPORT INFLIGHT SECONDS`. Each connection carries one byte and its
 * answer, then it is closed, and the next one is dialled. Prints the CPU time of each process for a connection, and
 * connections per second alone, as the receiver counted answers. */
#include <stdio.h>

#include "count.h"
#include "ours.h"
#include "peers/peer.h"

#define INFLIGHT_MOST 1000

static ours o;
static char address[128];
static peer_meter meter;
static count before;
static bool over;

/* ---- The sender ---- */

static void on_ready(pea_conn *conn, void *user)
{
    (void)user;
    ours_must(pea_conn_send(conn, "?", 1), NULL);
}

static void on_answer(pea_conn *conn, const uint8_t *data, size_t len, void *user)
{
    (void)data, (void)len, (void)user;
    pea_conn_close(conn, PEA_CODE_NORMAL, NULL);
    ours_dial(&o, address);
}

/* ---- The receiver ---- */

static void print(void)
{
    count after = count_now();
    double connections = meter.count > 0 ? (double)meter.count : 1;
    printf("allocs_per_message %.2f\n", (double)(after.allocations - before.allocations) / connections);
    peer_meter_print(&meter);
}

static void answer(pea_conn *conn, const uint8_t *data, size_t len, void *user)
{
    (void)user;
    if (over) /* others of the same round of the loop */
        return;
    ours_must(pea_conn_send(conn, data, len), NULL);
    bool counted = peer_meter_counts(&meter);
    meter.count++;
    over = !peer_meter_look(&meter);
    if (over) {
        print();
        ev_break(o.loop, EVBREAK_ALL);
    } else if (!counted && peer_meter_counts(&meter)) {
        before = count_now();
    }
}

static void on_end(pea_conn *conn, const pea_reason *reason, void *user)
{
    (void)conn, (void)reason, (void)user; /* as it should be */
}

int main(int argc, char **argv)
{
    ours_begin(&o, argc, argv, 2, 2, "TRANSPORT INFLIGHT SECONDS");
    unsigned inflight = (unsigned)two_number(argv[2], "INFLIGHT", INFLIGHT_MOST);
    meter.seconds = two_number(argv[3], "SECONDS", 600);
    if (o.sender) {
        ours_node(&o, 0,
                  &(pea_node_callbacks){.on_connect = on_ready, .on_message = on_answer, .on_disconnect = on_end});
        two_hear(address);
        for (unsigned i = 0; i < inflight; i++)
            ours_dial(&o, address);
    } else {
        ours_node(&o, 0, &(pea_node_callbacks){.on_message = answer, .on_disconnect = on_end});
        ours_listen(&o);
    }
    ev_run(o.loop, 0);
    (void)fflush(stdout);
    two_end();
    return 0;
}
