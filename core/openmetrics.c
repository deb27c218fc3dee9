/* SPDX-License-Identifier: MIT */
/* What nodes have counted, as text for OpenMetrics 1.0 scrapers. The numbers come from stats.c. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err_priv.h"
#include "runtime_priv.h"
#include "utf8_priv.h"

/* One metric family: `count` numbers of each node, from `first` on, told apart by a label if there are several. */
typedef struct family {
    const char *name, *unit, *help; /* unit: NULL, or the end of the name */
    bool gauge;                     /* else a counter */
    unsigned first, count;
    const char *label;
    const char *(*value)(unsigned i);
} family;

/* ---- What there is ---- */

static const char *state_of(unsigned i)
{
    return i == 0 ? "pending" : "ready";
}

static const char *direction_of(unsigned i)
{
    return i == 0 ? "in" : "out";
}

static const char *side_of(unsigned i)
{
    return i == 0 ? "accepted" : "dialled";
}

static const char *phase_of(unsigned i)
{
    return i == 0 ? "connect" : "handshake";
}

static const char *origin_of(unsigned i)
{
    return pea_origin_name((pea_origin)i);
}

static const char *refusal_of(unsigned i)
{
    return pea_refusal_name((pea_refusal)i);
}

static const family families[] = {
    {"peapod_connections", NULL, "Connections that live now.", true, PEA__T_PENDING, 2, "state", state_of},
    {"peapod_listeners", NULL, "Addresses that are listened on now.", true, PEA__T_LISTENERS, 1, NULL, NULL},
    {"peapod_messages", NULL, "Messages handed out (in) and taken for sending (out).", false, PEA__T_MESSAGES_IN, 2,
     "direction", direction_of},
    {"peapod_wire_bytes", "bytes", "Bytes received from and written to sockets.", false, PEA__T_BYTES_IN, 2,
     "direction", direction_of},
    {"peapod_sends_refused", NULL, "Sends refused because the queue was above its high-water mark.", false,
     PEA__T_QUEUE_FULL, 1, NULL, NULL},
    {"peapod_read_pauses", NULL, "Times that the reading of a connection was paused.", false, PEA__T_PAUSES, 1, NULL,
     NULL},
    {"peapod_messages_dropped", NULL, "Messages dropped because they came while reading was paused.", false,
     PEA__T_DROPPED, 1, NULL, NULL},
    {"peapod_begun", NULL, "Connections that began.", false, PEA__T_ACCEPTED, 2, "by", side_of},
    {"peapod_connects", NULL, "Connections that both sides accepted.", false, PEA__T_CONNECTS, 1, NULL, NULL},
    {"peapod_disconnects", NULL, "Ends of connections that both sides had accepted, by who or what ended them.", false,
     PEA__T_DISCONNECTS, PEA_ORIGINS, "origin", origin_of},
    {"peapod_failures", NULL, "Dials and handshakes that failed, by who or what ended them.", false, PEA__T_FAILURES,
     PEA_ORIGINS, "origin", origin_of},
    {"peapod_timeouts", NULL, "Failures because a deadline passed.", false, PEA__T_CONNECT_TIMEOUTS, 2, "phase",
     phase_of},
    {"peapod_refusals", NULL, "Sockets and dials turned away before there was a connection.", false, PEA__T_REFUSED,
     PEA_REFUSALS, "reason", refusal_of},
    {"peapod_accept_pauses", NULL, "Times that accepting rested because descriptors or memory were exhausted.", false,
     PEA__T_ACCEPT_PAUSES, 1, NULL, NULL},
};

/* ---- Text ---- */

/* Appends to a buffer until an append fails; the first error stays. */
typedef struct text {
    pea_buf *out;
    pea_err err;
} text;

static void put(text *t, const char *s, size_t len)
{
    if (t->err == PEA_OK && len > 0)
        t->err = pea_buf_append(t->out, s, len);
}

static void say(text *t, const char *s)
{
    put(t, s, strlen(s));
}

/* A label's value: what would end it or the line is escaped. */
static void say_escaped(text *t, const char *s)
{
    for (size_t n; *s != '\0'; s += n + 1) {
        n = strcspn(s, "\\\"\n");
        put(t, s, n);
        if (s[n] == '\0')
            return;
        say(t, s[n] == '\\' ? "\\\\" : s[n] == '"' ? "\\\"" : "\\n");
    }
}

static void say_about(text *t, const family *f, const char *what, const char *value)
{
    say(t, "# ");
    say(t, what);
    say(t, " ");
    say(t, f->name);
    say(t, " ");
    say(t, value);
    say(t, "\n");
}

static void say_sample(text *t, const family *f, const char *node, unsigned i, uint64_t value)
{
    char number[24];
    say(t, f->name);
    say(t, f->gauge ? "{node=\"" : "_total{node=\"");
    say_escaped(t, node);
    if (f->label != NULL) {
        say(t, "\",");
        say(t, f->label);
        say(t, "=\"");
        say(t, f->value(i));
    }
    snprintf(number, sizeof number, "%" PRIu64, value);
    say(t, "\"} ");
    say(t, number);
    say(t, "\n");
}

/* ---- Nodes ---- */

/* All numbers of a node are taken at once, though they are scattered over the text. */
typedef struct row {
    const char *name;
    uint64_t stats[PEA__STATS];
} row;

static int by_name(const void *a, const void *b)
{
    return strcmp(((const row *)a)->name, ((const row *)b)->name);
}

static pea_err check_names(const row *rows, size_t n, pea_error *why)
{
    for (size_t i = 0; i < n; i++) {
        if (!pea__utf8_valid((const uint8_t *)rows[i].name, strlen(rows[i].name)))
            return pea__error(why, PEA_E_FORMAT, "the name of a node is not UTF-8");
        if (i > 0 && strcmp(rows[i - 1].name, rows[i].name) == 0)
            return pea__errorf(why, PEA_E_EXISTS, "two nodes are named \"%.100s\"", rows[i].name);
    }
    return PEA_OK;
}

static void say_family(text *t, const family *f, const row *rows, size_t n)
{
    say_about(t, f, "TYPE", f->gauge ? "gauge" : "counter");
    if (f->unit != NULL)
        say_about(t, f, "UNIT", f->unit);
    say_about(t, f, "HELP", f->help);
    for (size_t r = 0; r < n; r++)
        for (unsigned i = 0; i < f->count; i++)
            say_sample(t, f, rows[r].name, i, rows[r].stats[f->first + i]);
}

pea_err pea_stats_openmetrics(pea_buf *out, const pea_node *const *nodes, size_t n, pea_error *why)
{
    row *rows = NULL;
    text t = {.out = out, .err = PEA_OK};
    size_t before = out->len;
    if (n > SIZE_MAX / sizeof *rows || (n > 0 && (rows = pea__alloc(n * sizeof *rows)) == NULL))
        return pea__error(why, PEA_E_NOMEM, NULL);
    for (size_t i = 0; i < n; i++) {
        rows[i].name = pea_node_name(nodes[i]);
        pea__stats_read(nodes[i], rows[i].stats);
    }
    if (n > 1)
        qsort(rows, n, sizeof *rows, by_name);
    pea_err err = check_names(rows, n, why);
    if (err != PEA_OK)
        goto out;
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++)
        say_family(&t, &families[i], rows, n);
    say(&t, "# EOF\n");
    err = t.err;
    if (err != PEA_OK) {
        out->len = before;
        pea__error(why, err, NULL);
    }
out:
    pea__free(rows);
    return err;
}
