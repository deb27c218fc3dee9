/* SPDX-License-Identifier: MIT */
/* Handshakes that are for nothing: `refuse TRANSPORT stranger|wrong-key INFLIGHT SECONDS`. stranger: the receiver lets
 * nobody in; wrong-key: the sender expects another peer than answers. INFLIGHT at a time. Prints the CPU time of each
 * process for a refusal, and refusals per second alone, as the receiver counted them. */
#include <stdio.h>
#include <string.h>

#include "ours.h"
#include "peers/peer.h"

#define INFLIGHT_MOST 1000

static ours o;
static char address[128];
static const pea_peer *expected;
static peer_meter meter;
static bool over;

static void dial(void)
{
    pea_error why = {.text = ""};
    ours_must(pea_node_connect(o.node, address, PEA_DIAL(.again = true, .expect = expected), NULL, &why), &why);
}

/* A stranger is told; who expects another says so to itself, and goes. */
static void on_sender_failed(pea_node *node, const pea_conn_info *info, const pea_reason *reason, void *user)
{
    (void)node, (void)info, (void)user;
    if (reason->err != (expected == NULL ? PEA_E_REJECTED : PEA_E_REFUSED))
        ours_fail(reason);
    dial();
}

static void on_receiver_failed(pea_node *node, const pea_conn_info *info, const pea_reason *reason, void *user)
{
    (void)node, (void)info, (void)user;
    if (over) /* others of the same round of the loop */
        return;
    if (o.nobody && reason->err != PEA_E_REFUSED)
        ours_fail(reason);
    meter.count++;
    over = !peer_meter_look(&meter);
    if (over) {
        peer_meter_print(&meter);
        ev_break(o.loop, EVBREAK_ALL);
    }
}

static void on_ready(pea_conn *conn, void *user)
{
    (void)conn, (void)user;
    two_fail("somebody was let in");
}

int main(int argc, char **argv)
{
    ours_begin(&o, argc, argv, 3, 3, "TRANSPORT stranger|wrong-key INFLIGHT SECONDS");
    bool stranger = strcmp(argv[2], "stranger") == 0;
    if (!stranger && strcmp(argv[2], "wrong-key") != 0)
        two_fail("stranger or wrong-key");
    unsigned inflight = (unsigned)two_number(argv[3], "INFLIGHT", INFLIGHT_MOST);
    meter.seconds = two_number(argv[4], "SECONDS", 600);
    o.nobody = stranger && !o.sender;
    if (o.sender) {
        pea_peer other;
        ours_must(pea_peer_parse(&other, "noise:AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE=", NULL), NULL);
        expected = stranger ? NULL : &other;
        ours_node(&o, 0, &(pea_node_callbacks){.on_connect = on_ready, .on_connect_failed = on_sender_failed});
        two_hear(address);
        for (unsigned i = 0; i < inflight; i++)
            dial();
        ev_run(o.loop, 0);
    } else {
        ours_node(&o, 0, &(pea_node_callbacks){.on_connect = on_ready, .on_connect_failed = on_receiver_failed});
        ours_listen(&o);
        ev_run(o.loop, 0);
    }
    (void)fflush(stdout);
    two_end();
    return 0;
}
