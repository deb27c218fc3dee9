/* SPDX-License-Identifier: MIT */
/* How far a stream has come, on a terminal: one line that is written over twice a second. */
#include "progress_priv.h"

#include <stdio.h>
#include <unistd.h>

#define EVERY 0.5 /* seconds */

static const char *scale(double bytes, char text[32])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    size_t i = 0;
    for (; bytes >= 1024 && i + 1 < sizeof units / sizeof units[0]; i++)
        bytes /= 1024;
    (void)snprintf(text, 32, i == 0 ? "%.0f %s" : "%.1f %s", bytes, units[i]);
    return text;
}

static void show(tool_progress *p, bool last)
{
    char all[2][32], rate[32], share[16] = "";
    uint64_t sent, received;
    tool_stream_counts(p->stream, &sent, &received);
    ev_tstamp now = ev_time();
    double seconds = last ? now - p->began : now - p->before;
    double bytes = (double)(sent + received) - (last ? 0 : p->bytes_before);
    if (p->size > 0)
        (void)snprintf(share, sizeof share, " (%.0f %%)", 100.0 * (double)sent / (double)p->size);
    (void)fprintf(stderr, "\rsent %s%s, received %s, %s/s\033[K%s", scale((double)sent, all[0]), share,
                  scale((double)received, all[1]), scale(seconds > 0 ? bytes / seconds : 0, rate), last ? "\n" : "");
    p->before = now;
    p->bytes_before = (double)(sent + received);
}

static void on_time(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop, (void)events;
    show(timer->data, false);
}

void tool_progress_begin(tool_progress *p, struct ev_loop *loop, const tool_stream *stream, off_t size)
{
    *p = (tool_progress){.loop = loop, .stream = stream, .size = size, .began = ev_time()};
    p->before = p->began;
    if (isatty(STDERR_FILENO) != 1)
        return;
    ev_timer_init(&p->timer, on_time, EVERY, EVERY);
    p->timer.data = p;
    ev_timer_start(loop, &p->timer);
}

void tool_progress_end(tool_progress *p)
{
    if (p->loop == NULL || !ev_is_active(&p->timer))
        return;
    show(p, true);
    ev_timer_stop(p->loop, &p->timer);
}
