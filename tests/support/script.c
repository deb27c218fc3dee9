/* SPDX-License-Identifier: MIT */
/* See script.h. It has a writer and a reader of chunks of its own, so that a mistake of the library
 * cannot hide in its mirror. */
#include "script.h"

#include <stdio.h>
#include <stdlib.h>

#include "check.h"

#define SAID_MAX 300000u
#define SCRIPT_BYTES_MAX 300000u

typedef struct player {
    script_run *run;
    uint8_t *in; /* what the script says, until it is fed */
    size_t in_len;
    uint8_t *out; /* all that the pipe wrote */
    size_t out_len;
    bool hold, fin;
} player;

/* ---- Text ---- */

static void add_text(char *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add_text(char *text, const char *format, ...)
{
    size_t len = strlen(text);
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text + len, SCRIPT_TEXT_MAX - len, format, args);
    va_end(args);
    assert_true(n >= 0 && (size_t)n < SCRIPT_TEXT_MAX - len);
}

static size_t be(const uint8_t *p, size_t n)
{
    size_t value = 0;
    for (size_t i = 0; i < n; i++)
        value = value << 8 | p[i];
    return value;
}

/* What the pipe wrote, as text. */
static void describe_output(player *pl)
{
    static const char letters[] = "?HARDECPQ";
    char *text = pl->run->said;
    size_t at = 0;
    if (pl->out_len >= 41) {
        assert_true(pl->out[0] == 0xF1 && memcmp(pl->out + 1, "peapod\1\1", 8) == 0 &&
                    memcmp(pl->out + 9, pl->run->network, 32) == 0);
        add_text(text, "G ");
        at = 41;
    }
    while (at < pl->out_len) {
        assert_true(pl->out_len - at >= 4);
        uint8_t type = pl->out[at];
        size_t len = be(pl->out + at + 1, 3);
        assert_true(type >= 1 && type <= 8 && len <= pl->out_len - at - 4);
        const uint8_t *payload = pl->out + at + 4;
        add_text(text, "%c", letters[type]);
        if (type == 3 || type == 6)
            add_text(text, "%04zx", be(payload, 2));
        for (size_t i = 0; (type == 4 || type >= 7) && i < len; i++)
            add_text(text, "%02x", payload[i]);
        add_text(text, " ");
        at += 4 + len;
    }
    if (pl->fin)
        add_text(text, ".");
}

static void describe_event(script_run *run, const pea_event *event)
{
    switch (event->type) {
    case PEA_EVENT_READY:
        add_text(run->events, "ready ");
        break;
    case PEA_EVENT_MESSAGE:
        add_text(run->events, "m%zu:%.*s ", event->len, event->len < 20 ? (int)event->len : 20,
                 event->len > 0 ? (const char *)event->data : "");
        break;
    case PEA_EVENT_DRAIN:
        add_text(run->events, "drain ");
        break;
    case PEA_EVENT_END:
        add_text(run->events, "end ");
        break;
    case PEA_EVENT_CLOSED:
        run->closed = true;
        add_text(run->events, "closed %s %s %04x",
                 event->reason->err == PEA_OK ? "PEA_OK" : pea_err_name(event->reason->err),
                 pea_origin_name(event->reason->origin), event->reason->code);
        if (event->reason->origin == PEA_BY_PEER && event->reason->code + event->reason->text[0] != 0 &&
            event->reason->err != PEA_E_TRUNCATED)
            add_text(run->events, " %s", event->reason->text);
        break;
    }
}

/* ---- The pipe ---- */

/* All events. Once the pipe has said that there are none, it must say so again: whoever drives it will not ask
 * twice. */
static bool take_events(script_run *run)
{
    pea_event event;
    bool any = false;
    while (pea_pipe_next(run->pipe, &event) == PEA_OK) {
        describe_event(run, &event);
        any = true;
    }
    check_err(pea_pipe_next(run->pipe, &event), PEA_MORE);
    return any;
}

static void take(player *pl)
{
    pea_span span;
    for (bool moved = true; moved;) {
        moved = take_events(pl->run);
        if (pl->hold)
            return;
        pea_err err;
        while ((err = pea_pipe_output(pl->run->pipe, &span)) == PEA_OK) {
            assert_true(pl->out_len + span.len <= SAID_MAX);
            memcpy(pl->out + pl->out_len, span.data, span.len);
            pl->out_len += span.len;
            pea_pipe_sent(pl->run->pipe, span.len);
            moved = true;
        }
        pl->fin = err == PEA_EOF;
    }
}

static void feed_piece(player *pl, const uint8_t *data, size_t len)
{
    while (len > 0) {
        uint8_t *lent = malloc(len);
        size_t taken = 0;
        assert_non_null(lent);
        memcpy(lent, data, len);
        check_ok(pea_pipe_feed(pl->run->pipe, lent, len, &taken));
        take_events(pl->run);
        free(lent);
        take(pl);
        if (taken == 0)
            return; /* it takes no more, or has ended */
        data += taken;
        len -= taken;
    }
}

static void feed_said(player *pl)
{
    size_t begin = pl->run->bytes;
    pl->run->bytes += pl->in_len;
    for (size_t at = 0, n; at < pl->in_len; at += n) {
        n = pl->in_len - at;
        if (pl->run->cut == SCRIPT_BYTES)
            n = 1;
        else if (pl->run->cut == SCRIPT_AT && begin + at < pl->run->at && pl->run->at - begin - at < n)
            n = pl->run->at - begin - at;
        feed_piece(pl, pl->in + at, n);
    }
    pl->in_len = 0;
}

static void act(player *pl, const char *what, size_t len)
{
    pea_pipe *pipe = pl->run->pipe;
    feed_said(pl);
    if (len == 4 && memcmp(what, "send", 4) == 0)
        check_ok(pea_pipe_send(pipe, "hi", 2));
    else if (len == 3 && memcmp(what, "end", 3) == 0)
        check_ok(pea_pipe_end(pipe));
    else if (len == 5 && memcmp(what, "close", 5) == 0)
        check_ok(pea_pipe_close(pipe, PEA_CODE_NORMAL, "bye"));
    else if (len == 3 && memcmp(what, "fin", 3) == 0)
        pea_pipe_feed_end(pipe);
    else if (len == 4 && memcmp(what, "hold", 4) == 0)
        pl->hold = true;
    else if (len == 5 && memcmp(what, "flush", 5) == 0)
        pl->hold = false;
    else
        fail_msg("no such act: %.*s", (int)len, what);
    take(pl);
}

/* ---- What the script says ---- */

static void say(player *pl, const void *data, size_t len)
{
    assert_true(pl->in_len + len <= SCRIPT_BYTES_MAX);
    memcpy(pl->in + pl->in_len, data, len);
    pl->in_len += len;
}

static void say_greeting(player *pl, uint8_t highest)
{
    say(pl, "\xF1peapod\1", 8);
    say(pl, &highest, 1);
    say(pl, pl->run->network, 32);
}

static void say_tlv(player *pl, char which)
{
    switch (which) {
    case 'V':
        say(pl, "\0\1\0\1\1", 5);
        return;
    case 'N':
        say(pl, "\0\2\0\x20", 4);
        say(pl, pl->run->network, 32);
        return;
    default:
        say(pl, "\0\3\0\x52", 4);
        say_greeting(pl, which == 't' && pl->run->side == PEA_RESPONDER ? 2 : 1);
        say_greeting(pl, which == 't' && pl->run->side == PEA_INITIATOR ? 2 : 1);
    }
}

static void say_hello(player *pl, char transcript)
{
    say(pl, "\1\0\0\x7f", 4);
    say_tlv(pl, 'V');
    say_tlv(pl, 'N');
    say_tlv(pl, transcript);
}

static void patch_length(player *pl, size_t at, size_t bytes)
{
    size_t len = pl->in_len - at - bytes;
    for (size_t i = bytes; i-- > 0; len >>= 8)
        pl->in[at + i] = (uint8_t)len;
    assert_true(len == 0);
}

static size_t say_hex(player *pl, const char *text)
{
    size_t n = 0;
    unsigned byte;
    while (sscanf(text + n, "%2x", &byte) == 1 && text[n] != ' ' && text[n + 1] != ' ' && text[n + 1] != '\0') {
        say(pl, &(uint8_t){(uint8_t)byte}, 1);
        n += 2;
    }
    assert_true(n > 0);
    return n;
}

static void repeat(player *pl, size_t times)
{
    uint8_t last = pl->in[pl->in_len - 1];
    assert_true(pl->in_len + times <= SCRIPT_BYTES_MAX);
    memset(pl->in + pl->in_len, last, times);
    pl->in_len += times;
}

/* One word of the script; returns its characters. `open` remembers where the lengths of the open chunk and TLV
 * stand. */
static size_t word(player *pl, const char *s, size_t open[2])
{
    char *end = NULL;
    size_t n;
    switch (s[0]) {
    case '\'':
        n = strcspn(s + 1, "'");
        say(pl, s + 1, n);
        return n + 2;
    case '*':
        repeat(pl, strtoul(s + 1, &end, 10));
        return (size_t)(end - s);
    case '[':
    case '{':
        n = say_hex(pl, s + 1);
        open[s[0] == '{'] = pl->in_len;
        say(pl, "\0\0\0", s[0] == '[' ? 3 : 2);
        return n + 1;
    case ']':
    case '}':
        patch_length(pl, open[s[0] == '}'], s[0] == ']' ? 3 : 2);
        return 1;
    case '!':
        n = strcspn(s + 1, " ");
        act(pl, s + 1, n);
        return n + 1;
    default:
        break;
    }
    if (s[1] != ' ' && s[1] != '\0')
        return say_hex(pl, s);
    switch (s[0]) {
    case 'G':
    case 'g':
        say_greeting(pl, s[0] == 'g' ? 2 : 1);
        return 1;
    case 'H':
    case 'h':
        say_hello(pl, s[0] == 'h' ? 't' : 'T');
        return 1;
    case 'A':
        say(pl, "\2\0\0\0", 4);
        return 1;
    case 'V':
    case 'N':
    case 'T':
    case 't':
        say_tlv(pl, s[0]);
        return 1;
    default:
        fail_msg("no such word: %s", s);
        return 1;
    }
}

void script_play(script_run *run, const char *script)
{
    player pl = {.run = run, .in = malloc(SCRIPT_BYTES_MAX), .out = malloc(SAID_MAX)};
    size_t open[2] = {0, 0};
    assert_non_null(pl.in);
    assert_non_null(pl.out);
    take(&pl);
    while (*script != '\0') {
        if (*script == ' ')
            script++;
        else
            script += word(&pl, script, open);
    }
    feed_said(&pl);
    pl.hold = false;
    take(&pl);
    if (!run->closed && pea_pipe_state(run->pipe) == PEA_CLOSING) {
        pea_pipe_feed_end(run->pipe);
        take(&pl);
    }
    describe_output(&pl);
    free(pl.in);
    free(pl.out);
}
