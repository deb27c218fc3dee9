/* SPDX-License-Identifier: MIT */
/* Memory of a connection that rests: `idle TRANSPORT CONNECTIONS`. Each has carried one byte. Prints, alone, KiB of the
 * listener for each connection: the slope of its RSS between CONNECTIONS/9 and CONNECTIONS. Memory of the kernel is not
 * in it. */
#include <stdio.h>
#include <unistd.h>

#include "ours.h"
#include "two.h"

#define CONNECTIONS_MOST 100000
#define IN_THE_MAKING 64u
#define REST 0.3 /* seconds until a connection's buffers have gone back */

static ours o;
static char address[128];
static unsigned few, all;

/* ---- The sender: `few` connections, and all of them when the receiver says so ---- */

static unsigned dialled, goal;

static void dial_next(void)
{
    if (dialled < goal) {
        dialled++;
        ours_dial(&o, address);
    }
}

static void on_ready(pea_conn *conn, void *user)
{
    (void)user;
    ours_must(pea_conn_send(conn, "?", 1), NULL);
    dial_next();
}

static void go_on(pea_conn *conn, const uint8_t *data, size_t len, void *user)
{
    (void)conn, (void)data, (void)len, (void)user;
    goal = all;
    for (unsigned i = 0; i < IN_THE_MAKING; i++)
        dial_next();
}

/* ---- The receiver ---- */

static unsigned arrived;
static uint64_t first; /* the connection by which the sender is told */
static double kib_few;
static ev_timer timer;

static double rss_kib(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f == NULL || fscanf(f, "%*s %ld", &pages) != 1)
        two_fail("/proc/self/statm");
    (void)fclose(f);
    return (double)pages * (double)sysconf(_SC_PAGESIZE) / 1024;
}

static void on_rest(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)w, (void)events;
    if (arrived == all) {
        printf("%.2f\n", (rss_kib() - kib_few) / (all - few));
        ev_break(loop, EVBREAK_ALL);
        return;
    }
    kib_few = rss_kib();
    ours_must(pea_conn_send(pea_node_find(o.node, first), "!", 1), NULL);
}

static void on_byte(pea_conn *conn, const uint8_t *data, size_t len, void *user)
{
    (void)data, (void)len, (void)user;
    if (arrived++ == 0)
        first = pea_conn_id(conn);
    if (arrived != few && arrived != all)
        return;
    ev_timer_init(&timer, on_rest, REST, 0.);
    ev_timer_start(o.loop, &timer);
}

int main(int argc, char **argv)
{
    ours_begin(&o, argc, argv, 1, 1, "TRANSPORT CONNECTIONS");
    all = (unsigned)two_number(argv[2], "CONNECTIONS", CONNECTIONS_MOST);
    few = goal = (all + 8) / 9;
    if (few == all)
        two_fail("CONNECTIONS: a slope wants at least 2");
    if (o.sender) {
        ours_node(&o, 0, &(pea_node_callbacks){.on_connect = on_ready, .on_message = go_on});
        two_hear(address);
        for (unsigned i = 0; i < IN_THE_MAKING; i++)
            dial_next();
    } else {
        ours_node(&o, 0, &(pea_node_callbacks){.on_message = on_byte});
        ours_listen(&o);
    }
    ev_run(o.loop, 0);
    (void)fflush(stdout);
    two_end();
    return 0;
}
