/* SPDX-License-Identifier: MIT */
/* Memory of a connection that rests: `idle TRANSPORT CONNECTIONS [pending]`. Each has carried one byte; `pending`: each
 * is a bare socket that has said nothing yet. Prints, alone, KiB of the listener for each connection: the slope of its
 * RSS between CONNECTIONS/9 and CONNECTIONS. Memory of the kernel is not in it. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ours.h"
#include "two.h"

#define CONNECTIONS_MOST 100000
#define REST 0.3 /* seconds until a connection's buffers have gone back */
#define LOOK_EVERY 0.005

static ours o;
static char address[128];
static unsigned few, all;

/* ---- The sender: `few` connections, and all of them when the receiver says so ---- */

static void on_ready(pea_conn *conn, void *user)
{
    (void)user;
    ours_must(pea_conn_send(conn, "?", 1), NULL);
    ours_dial_next(&o);
}

static void go_on(pea_conn *conn, const uint8_t *data, size_t len, void *user)
{
    (void)conn, (void)data, (void)len, (void)user;
    ours_dial_all(&o, address, all - few);
}

static void connect_silently(unsigned n)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    to.sin_port = htons((uint16_t)strtoul(strrchr(address, ':') + 1, NULL, 10));
    while (n-- > 0) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0)
            two_fail("connect");
    }
}

static void dial_silently(void)
{
    char word[128];
    connect_silently(few);
    two_hear(word);
    connect_silently(all - few);
    (void)pause(); /* until it is ended */
}

/* ---- The receiver ---- */

static unsigned arrived;
static uint64_t first; /* the connection by which the sender is told */
static double kib_few;
static ev_timer timer;

static void print_slope(void)
{
    printf("%.2f\n", (two_rss_kib() - kib_few) / (all - few));
    ev_break(o.loop, EVBREAK_ALL);
}

static void on_rest(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)loop, (void)w, (void)events;
    if (arrived == all) {
        print_slope();
        return;
    }
    kib_few = two_rss_kib();
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

/* Nobody tells of connections that are pending. */
static void on_look(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)loop, (void)w, (void)events;
    pea_counts counts;
    pea_node_counts(o.node, &counts);
    if (counts.pending == few && kib_few <= 0) {
        kib_few = two_rss_kib();
        two_tell("go on");
    } else if (counts.pending == all) {
        print_slope();
    }
}

int main(int argc, char **argv)
{
    ours_begin(&o, argc, argv, 1, 2, "TRANSPORT CONNECTIONS [pending]");
    all = (unsigned)two_number(argv[2], "CONNECTIONS", CONNECTIONS_MOST);
    bool pending = argc == 4 && strcmp(argv[3], "pending") == 0;
    few = (all + 8) / 9;
    if (few == all)
        two_fail("CONNECTIONS: a slope wants at least 2");
    if (o.sender && pending) {
        two_hear(address);
        dial_silently();
    } else if (o.sender) {
        ours_node(&o, 0, &(pea_node_callbacks){.on_connect = on_ready, .on_message = go_on});
        two_hear(address);
        ours_dial_all(&o, address, few);
    } else {
        ours_node(&o, 0, &(pea_node_callbacks){.on_message = on_byte});
        ours_listen(&o);
        if (pending) {
            ev_timer_init(&timer, on_look, LOOK_EVERY, LOOK_EVERY);
            ev_timer_start(o.loop, &timer);
        }
    }
    ev_run(o.loop, 0);
    (void)fflush(stdout);
    two_end();
    return 0;
}
