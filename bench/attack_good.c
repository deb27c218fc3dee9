/* SPDX-License-Identifier: MIT */
/* The good peer of the attack bench: one connection on which it sends a message whenever the answer to the last one has
 * come, and a fresh one every few milliseconds, from the dial to READY. Beside it others hold connections and are
 * silent. What a window saw is told as its percentiles. */
#include <ev.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "attack.h"
#include "two.h"

#define FRESH_S 0.01
#define TRIPS_MOST (1u << 20) /* of a window; what is beyond is not counted */
#define FRESH_MOST 4096u
#define TRIES 5u /* then a dial has failed for good */
#define AT_ONCE 64u
#define EXTENSION_S 0.25 /* of a window in which nothing has come through */
#define EXTENDED_MOST 80u

typedef struct dial {
    uint64_t id; /* 0: the place is free */
    double began;
    unsigned tries;
} dial;

static struct {
    int control;
    const char *address;
    pea_node *node;
    pea_peer server;
    pea_conn *steady;
    uint64_t steady_id;
    unsigned others, others_ready;
    dial dials[FRESH_MOST];
    unsigned dialling, extended;
    double trips[TRIPS_MOST], fresh[FRESH_MOST]; /* seconds */
    double sent_at, window_s;
    bool counting, ending;
    good_report report;
    ev_io told;
    ev_timer window, fresh_due;
} good;

/* ---- The report ---- */

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* p50 and p99 of n > 0 seconds, in microseconds. */
static void percentiles(double out[2], double *seconds, unsigned n)
{
    qsort(seconds, n, sizeof *seconds, by_size);
    out[0] = n > 0 ? seconds[n / 2] * 1e6 : 0;
    out[1] = n > 0 ? seconds[(size_t)ceil(0.99 * n) - 1] * 1e6 : 0;
}

static void report(void)
{
    percentiles(good.report.trip_us, good.trips, good.report.trips);
    percentiles(good.report.fresh_us, good.fresh, good.report.fresh);
    must(send(good.control, &good.report, sizeof good.report, 0) == (ssize_t)sizeof good.report,
         "the good peer's report");
    good.ending = false;
}

static void lost(const pea_reason *reason)
{
    good.report.lost = true;
    (void)pea_reason_format(reason, good.report.why);
    report();
    exit(0);
}

/* ---- Dials ---- */

static uint64_t dial_from(unsigned network)
{
    pea_error why = {.text = ""};
    uint64_t id;
    int fd = socket_from(network, 1);
    must(fd >= 0, "a socket of the good peer");
    must_pea(
        pea_node_connect(good.node, good.address, PEA_DIAL(.expect = &good.server, .again = true, .fd = fd), &id, &why),
        &why);
    return id;
}

static dial *find(uint64_t id)
{
    for (size_t i = 0; i < FRESH_MOST; i++)
        if (good.dials[i].id == id)
            return &good.dials[i];
    return NULL;
}

static void settle(dial *d)
{
    d->id = 0;
    good.dialling--;
    if (good.ending && good.dialling == 0)
        report();
}

static void on_fresh_due(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop, (void)timer, (void)events;
    dial *d = find(0);
    must(d != NULL, "too many dials of the good peer wait");
    if (d == NULL)
        return;
    d->began = two_now();
    d->tries = 1;
    d->id = dial_from(FROM_GOOD);
    good.dialling++;
}

static void dial_others(void)
{
    for (; good.others < ATTACK_OTHERS && good.others - good.others_ready < AT_ONCE; good.others++)
        (void)dial_from(FROM_OTHERS + good.others / ATTACK_OTHERS_PER_RANGE);
}

/* ---- Round trips ---- */

static void ask(void)
{
    static const uint8_t question[ATTACK_MESSAGE_BYTES] = "still there?";
    good.sent_at = two_now();
    if (pea_conn_send(good.steady, question, sizeof question) != PEA_OK)
        pea_conn_abort(good.steady);
}

static void on_message(pea_conn *conn, const uint8_t *data, size_t len, void *user)
{
    (void)data, (void)len, (void)user;
    if (conn != good.steady)
        return;
    if (good.counting && good.report.trips < TRIPS_MOST)
        good.trips[good.report.trips++] = two_now() - good.sent_at;
    ask();
}

/* ---- What becomes of connections ---- */

static void on_connect(pea_conn *conn, void *user)
{
    (void)user;
    dial *d = find(pea_conn_id(conn));
    if (d != NULL) {
        if (good.report.fresh < FRESH_MOST)
            good.fresh[good.report.fresh++] = two_now() - d->began;
        pea_conn_close(conn, PEA_CODE_NORMAL, NULL);
        settle(d);
    } else if (good.steady == NULL) {
        good.steady = conn;
        good.steady_id = pea_conn_id(conn);
        ask();
        dial_others();
    } else {
        good.others_ready++;
        dial_others();
        if (good.others_ready == ATTACK_OTHERS)
            report(); /* all are there */
    }
}

static void on_failed(pea_node *node, const pea_conn_info *info, const pea_reason *reason, void *user)
{
    (void)node, (void)user;
    dial *d = find(info->id);
    if (d == NULL || d->tries == TRIES)
        lost(reason);
    d->tries++;
    good.report.again++;
    d->id = dial_from(FROM_GOOD);
}

static void on_disconnect(pea_conn *conn, const pea_reason *reason, void *user)
{
    (void)user;
    if (conn == good.steady)
        lost(reason);
}

/* ---- Windows ---- */

static void on_window(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)events;
    if (good.counting && (good.report.trips == 0 || good.report.fresh == 0) && good.extended++ < EXTENDED_MOST) {
        ev_timer_set(timer, EXTENSION_S, 0.); /* slow is not the same as not served */
        ev_timer_start(loop, timer);
        return;
    }
    if (good.counting) { /* it is over; dials that wait still count, however long they take */
        good.counting = false;
        ev_timer_stop(loop, &good.fresh_due);
        good.ending = good.dialling > 0;
        if (!good.ending)
            report();
        return;
    }
    good.report = (good_report){.trips = 0}; /* the warm-up is over */
    good.counting = true;
    good.extended = 0;
    ev_timer_set(timer, good.window_s, 0.);
    ev_timer_start(loop, timer);
    ev_timer_set(&good.fresh_due, 0., FRESH_S);
    ev_timer_start(loop, &good.fresh_due);
}

static void on_told(struct ev_loop *loop, ev_io *io, int events)
{
    (void)events;
    if (recv(io->fd, &good.window_s, sizeof good.window_s, 0) != (ssize_t)sizeof good.window_s)
        exit(0);
    ev_now_update(loop);
    ev_timer_set(&good.window, TWO_WARM_UP, 0.);
    ev_timer_start(loop, &good.window);
}

void attack_be_good(int control, const char *address)
{
    static const pea_node_callbacks on = {.on_connect = on_connect,
                                          .on_message = on_message,
                                          .on_disconnect = on_disconnect,
                                          .on_connect_failed = on_failed};
    good.control = control;
    good.address = address;
    pea_identity_peer(keys.server, &good.server);
    good.node = node_of(PEA_NODE(.chain = chain_of(keys.good), .on = &on, .max_pending = PEA_UNLIMITED));
    good.steady_id = dial_from(FROM_GOOD);
    ev_timer_init(&good.window, on_window, 0., 0.);
    ev_timer_init(&good.fresh_due, on_fresh_due, 0., FRESH_S);
    ev_io_init(&good.told, on_told, control, EV_READ);
    ev_io_start(EV_DEFAULT, &good.told);
    ev_run(EV_DEFAULT, 0);
    exit(2);
}
