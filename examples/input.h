/* SPDX-License-Identifier: MIT */
/* Lines of standard input on a libev loop, for the examples. Nothing of peapod is in here. */
#ifndef PEAPOD_EXAMPLE_INPUT_H
#define PEAPOD_EXAMPLE_INPUT_H

#include <ev.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One line at a time: line[len] is its newline, whether the last one had it or not. NULL at the end of input. */
typedef void (*input_fn)(const char *line, size_t len);

static struct {
    struct ev_loop *loop;
    ev_io io;
    input_fn on_line;
    char *data; /* what was read: from `at` to `len` it is yet to be handed out */
    size_t at, len, room;
    bool wanted, ended;
} input;

/* Hands out the next line, if there is one. */
static bool input_line(void)
{
    const char *line = input.data + input.at;
    size_t left = input.len - input.at;
    const char *end = left > 0 ? memchr(line, '\n', left) : NULL;
    if (end == NULL && (!input.ended || left == 0))
        return false;
    if (end == NULL)
        input.data[input.len] = '\n'; /* input_on_io() left room for it */
    size_t len = end != NULL ? (size_t)(end - line) : left;
    input.at += end != NULL ? len + 1 : len;
    input.on_line(line, len);
    return true;
}

/* Makes room for 64 KiB behind what is left. */
static void input_room(void)
{
    if (input.at > 0)
        memmove(input.data, input.data + input.at, input.len - input.at);
    input.len -= input.at;
    input.at = 0;
    if (input.room - input.len >= 65536)
        return;
    input.room = 2 * input.room + 65536;
    input.data = realloc(input.data, input.room);
    if (input.data == NULL)
        abort();
}

/* Lines, as long as they are wanted. */
static void input_pump(void)
{
    while (input.wanted && input_line())
        ;
    if (input.wanted && input.ended) {
        input.wanted = false;
        input.on_line(NULL, 0);
    }
    (input.wanted ? ev_io_start : ev_io_stop)(input.loop, &input.io);
}

static void input_on_io(struct ev_loop *loop, ev_io *w, int events)
{
    (void)loop;
    if ((events & EV_READ) != 0) {
        input_room();
        ssize_t n = read(w->fd, input.data + input.len, input.room - input.len - 1);
        input.ended = n <= 0;
        input.len += n > 0 ? (size_t)n : 0;
    }
    input_pump();
}

/* Nothing is read before input_want(). */
static void input_init(struct ev_loop *loop, input_fn on_line)
{
    input.loop = loop;
    input.on_line = on_line;
    ev_io_init(&input.io, input_on_io, STDIN_FILENO, EV_READ);
}

/* Whether lines are wanted from now on. May be called from on_line(); what waits is handed out from the loop. */
static void input_want(bool wanted)
{
    input.wanted = wanted;
    if (wanted)
        ev_feed_event(input.loop, &input.io, EV_CUSTOM);
    else
        ev_io_stop(input.loop, &input.io);
}

#endif
