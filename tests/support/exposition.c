/* SPDX-License-Identifier: MIT */
/* See exposition.h. Sections are those of the OpenMetrics 1.0 text format. */
#include "exposition.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "utf8_priv.h"

/* What is said of the family that is being read. */
typedef struct meta {
    bool type, unit, help, samples, counter;
    char unit_name[80];
} meta;

static bool bad(exposition *e, const char *what, const char *line, size_t len)
{
    snprintf(e->error, sizeof e->error, "%s: %.*s", what, (int)(len < 120 ? len : 120), line);
    return false;
}

/* ---- Names ---- */

static size_t name_len(const char *s, size_t len, bool colons)
{
    size_t n = 0;
    while (n < len && (isalpha((unsigned char)s[n]) || s[n] == '_' || (colons && s[n] == ':') ||
                       (n > 0 && isdigit((unsigned char)s[n]))))
        n++;
    return n;
}

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

static bool copy(char dst[80], const char *s, size_t len)
{
    if (len == 0 || len >= 80)
        return false;
    memcpy(dst, s, len);
    dst[len] = '\0';
    return true;
}

/* ---- Metadata: "# TYPE name counter" ---- */

/* The family that the line speaks of: the one that is being read, or a new one. */
static bool enter_family(exposition *e, meta *m, const char *name)
{
    if (e->n_families > 0 && strcmp(e->families[e->n_families - 1], name) == 0)
        return true;
    for (size_t i = 0; i < e->n_families; i++)
        if (strcmp(e->families[i], name) == 0)
            return false; /* families must not be interleaved, nor said twice */
    if (e->n_families == 64)
        return false;
    memset(m, 0, sizeof *m);
    memcpy(e->families[e->n_families++], name, strlen(name) + 1);
    return true;
}

static bool escapes_are_good(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (s[i] == '\\' && (++i == len || strchr("\\\"n", s[i]) == NULL))
            return false;
        else if (s[i] == '"' && (i == 0 || s[i - 1] != '\\'))
            return false;
    return true;
}

static bool metadata(exposition *e, meta *m, const char *line, size_t len)
{
    char what[80], name[80];
    size_t at = 2, n = name_len(line + at, len - at, false);
    if (!copy(what, line + at, n) || at + n >= len || line[at + n] != ' ')
        return bad(e, "not a metadata line", line, len);
    at += n + 1;
    n = name_len(line + at, len - at, true);
    if (!copy(name, line + at, n) || at + n >= len || line[at + n] != ' ')
        return bad(e, "no family's name", line, len);
    at += n + 1;
    const char *rest = line + at;
    size_t left = len - at;
    if (!enter_family(e, m, name))
        return bad(e, "the family comes twice", line, len);
    if (m->samples)
        return bad(e, "metadata behind samples", line, len);
    if (strcmp(what, "TYPE") == 0 && !m->type) {
        m->type = true;
        m->counter = left == 7 && memcmp(rest, "counter", 7) == 0;
        if (!m->counter && (left != 5 || memcmp(rest, "gauge", 5) != 0))
            return bad(e, "unknown type", line, len);
        if (m->counter && ends_with(name, "_total"))
            return bad(e, "a counter's family is named without _total", line, len);
        return true;
    }
    if (strcmp(what, "UNIT") == 0 && !m->unit) {
        m->unit = true;
        char end[82] = "_";
        if (!copy(m->unit_name, rest, left))
            return bad(e, "no unit", line, len);
        memcpy(end + 1, m->unit_name, strlen(m->unit_name) + 1);
        return ends_with(name, end) || bad(e, "the name does not end with the unit", line, len);
    }
    if (strcmp(what, "HELP") == 0 && !m->help) {
        m->help = true;
        return escapes_are_good(rest, left) || bad(e, "a wrong escape", line, len);
    }
    return bad(e, "unknown metadata, or it comes twice", line, len);
}

/* ---- Samples: "name{label="value"} 1" ---- */

/* A quoted value, unescaped. Returns what is behind it; NULL: it is wrong. */
static const char *quoted(const char *s, const char *end, char dst[80])
{
    size_t n = 0;
    if (s == end || *s++ != '"')
        return NULL;
    for (; s < end && *s != '"'; s++) {
        char c = *s;
        if (c == '\\') {
            if (++s == end || strchr("\\\"n", *s) == NULL)
                return NULL;
            c = *s == 'n' ? '\n' : *s;
        }
        if (n + 1 >= 80)
            return NULL;
        dst[n++] = c;
    }
    dst[n] = '\0';
    return s < end ? s + 1 : NULL;
}

static const char *labels(exposition_sample *out, const char *s, const char *end)
{
    while (s < end && *s != '}') {
        if (out->n_labels == 4 || (out->n_labels > 0 && *s++ != ','))
            return NULL;
        size_t n = name_len(s, (size_t)(end - s), false);
        if (!copy(out->labels[out->n_labels][0], s, n) || s + n == end || s[n] != '=')
            return NULL;
        for (size_t i = 0; i < out->n_labels; i++)
            if (strcmp(out->labels[i][0], out->labels[out->n_labels][0]) == 0)
                return NULL; /* a label twice */
        s = quoted(s + n + 1, end, out->labels[out->n_labels][1]);
        if (s == NULL)
            return NULL;
        out->n_labels++;
    }
    return s < end ? s + 1 : NULL;
}

static bool same_labels(const exposition_sample *a, const exposition_sample *b)
{
    size_t same = 0;
    for (size_t i = 0; i < a->n_labels; i++)
        for (size_t j = 0; j < b->n_labels; j++)
            same += strcmp(a->labels[i][0], b->labels[j][0]) == 0 && strcmp(a->labels[i][1], b->labels[j][1]) == 0;
    return a->n_labels == b->n_labels && same == a->n_labels;
}

/* All samples of a family have the same labels' names, and none has the same values as another. */
static bool fits_others(const exposition *e, const exposition_sample *s)
{
    for (size_t i = e->n_samples; i-- > 0 && e->samples[i].family == s->family;) {
        const exposition_sample *o = &e->samples[i];
        if (o->n_labels != s->n_labels || same_labels(o, s))
            return false;
        for (size_t j = 0; j < s->n_labels; j++)
            if (strcmp(o->labels[j][0], s->labels[j][0]) != 0)
                return false;
    }
    return true;
}

static bool whole_number(const char *s, const char *end, uint64_t *value)
{
    char text[24];
    size_t n = (size_t)(end - s);
    if (n == 0 || n >= sizeof text || strspn(s, "0123456789") < n)
        return false;
    memcpy(text, s, n);
    text[n] = '\0';
    errno = 0;
    *value = strtoull(text, NULL, 10);
    return errno == 0;
}

static bool sample(exposition *e, meta *m, const char *line, size_t len)
{
    exposition_sample s;
    char want[90];
    memset(&s, 0, sizeof s);
    const char *end = line + len, *at = line + name_len(line, len, true);
    if (!copy(s.name, line, (size_t)(at - line)))
        return bad(e, "no name", line, len);
    if (e->n_families == 0 || !m->type)
        return bad(e, "a sample without a type", line, len);
    s.family = e->n_families - 1;
    snprintf(want, sizeof want, "%s%s", e->families[s.family], m->counter ? "_total" : "");
    if (strcmp(s.name, want) != 0)
        return bad(e, "not the family's name", line, len);
    if (at < end && *at == '{' && (at = labels(&s, at + 1, end)) == NULL)
        return bad(e, "wrong labels", line, len);
    if (at == end || *at++ != ' ' || !whole_number(at, end, &s.value))
        return bad(e, "not a whole number", line, len);
    if (!fits_others(e, &s))
        return bad(e, "the labels are those of another sample, or of other names", line, len);
    m->samples = true;
    exposition_sample *more = realloc(e->samples, (e->n_samples + 1) * sizeof s);
    if (more == NULL)
        abort();
    e->samples = more;
    e->samples[e->n_samples++] = s;
    return true;
}

/* ---- The whole ---- */

/* No family's sample may be named as another family: "a_total" is a counter's, and a gauge's. */
static bool names_apart(exposition *e)
{
    for (size_t i = 0; i < e->n_samples; i++)
        for (size_t f = 0; f < e->n_families; f++)
            if (f != e->samples[i].family && strcmp(e->samples[i].name, e->families[f]) == 0)
                return bad(e, "two families share a name", e->families[f], strlen(e->families[f]));
    return true;
}

bool exposition_read(exposition *e, const char *text, size_t len)
{
    meta m = {.type = false};
    memset(e, 0, sizeof *e);
    if (!pea__utf8_valid((const uint8_t *)text, len))
        return bad(e, "not UTF-8", "", 0);
    while (len > 0) {
        const char *nl = memchr(text, '\n', len);
        if (nl == NULL)
            return bad(e, "the last line has no end", text, len);
        size_t n = (size_t)(nl - text);
        if (n == 5 && memcmp(text, "# EOF", 5) == 0)
            return len == 6 ? names_apart(e) : bad(e, "something behind EOF", text, len);
        if (!(n > 2 && memcmp(text, "# ", 2) == 0 ? metadata(e, &m, text, n) : sample(e, &m, text, n)))
            return false;
        len -= n + 1;
        text = nl + 1;
    }
    return bad(e, "no EOF", "", 0);
}

void exposition_free(exposition *e)
{
    free(e->samples);
    e->samples = NULL;
}

uint64_t exposition_value(const exposition *e, const char *name, ...)
{
    exposition_sample want;
    const char *label;
    memset(&want, 0, sizeof want);
    va_list list;
    va_start(list, name);
    while ((label = va_arg(list, const char *)) != NULL && want.n_labels < 4) {
        snprintf(want.labels[want.n_labels][0], 80, "%s", label);
        snprintf(want.labels[want.n_labels++][1], 80, "%s", va_arg(list, const char *));
    }
    va_end(list);
    for (size_t i = 0; i < e->n_samples; i++)
        if (strcmp(e->samples[i].name, name) == 0 && same_labels(&e->samples[i], &want))
            return e->samples[i].value;
    return UINT64_MAX;
}
