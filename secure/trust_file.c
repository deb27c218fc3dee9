/* SPDX-License-Identifier: MIT */
/* authorized_peers files: read safely, line by line, into a set of rules. What one line says is trust_rule.c's
 * business, and when a file is read again trust_reload.c's. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "err_priv.h"
#include "rules_priv.h"
#include "socket_priv.h"
#include "utf8_priv.h"

/* ---- Sets of rules ---- */

pea__rules *pea__rules_new(void)
{
    return pea__alloc(sizeof(pea__rules));
}

void pea__rules_free(pea__rules *rules)
{
    if (rules == NULL)
        return;
    HASH_CLEAR(hh, rules->by_key);
    for (size_t i = 0; i < rules->n; i++)
        pea__rule_free(rules->list[i]);
    pea__free(rules->list);
    pea__free(rules->by_name);
    pea_buf_free(&rules->roots);
    pea__free(rules);
}

/* Room for one more pointer; false: no memory. */
static bool room_for_one(pea__rule ***array, size_t n, size_t *room)
{
    if (n < *room)
        return true;
    size_t more = *room == 0 ? 8 : *room * 2;
    pea__rule **grown = pea__realloc(*array, more * sizeof(pea__rule *));
    if (grown == NULL)
        return false;
    *array = grown;
    *room = more;
    return true;
}

/* The key of the table: kind and id. */
static void key_of(uint8_t key[1 + PEA_ID_BYTES], const pea_peer *peer)
{
    key[0] = (uint8_t)peer->kind;
    memcpy(key + 1, peer->id, PEA_ID_BYTES);
}

static pea__rule *find_key(const pea__rules *rules, const uint8_t key[1 + PEA_ID_BYTES])
{
    pea__rule *r;
    HASH_FIND(hh, rules->by_key, key, 1 + PEA_ID_BYTES, r);
    return r;
}

pea__rule *pea__rules_find(const pea__rules *rules, const pea_peer *peer)
{
    uint8_t key[1 + PEA_ID_BYTES];
    key_of(key, peer);
    return find_key(rules, key);
}

pea_err pea__rules_add(pea__rules *rules, pea__rule *rule)
{
    if (!room_for_one(&rules->list, rules->n, &rules->room) ||
        (rule->by_name && !room_for_one(&rules->by_name, rules->n_by_name, &rules->by_name_room)))
        return PEA_E_NOMEM;
    if (!rule->by_name) {
        key_of(rule->key, &rule->peer);
        pea__rule *first = find_key(rules, rule->key);
        if (first == NULL) {
            HASH_ADD(hh, rules->by_key, key, sizeof rule->key, rule);
            if (rule->hh.tbl == NULL)
                return PEA_E_NOMEM;
            rule->last = rule;
        } else {
            first->last->next = rule;
            first->last = rule;
        }
    } else {
        rules->by_name[rules->n_by_name++] = rule;
    }
    rules->list[rules->n++] = rule;
    return PEA_OK;
}

int64_t pea__rules_edge(const pea__rules *rules, int64_t now, int64_t edge)
{
    for (size_t i = 0; i < rules->n; i++) {
        const pea__rule *r = rules->list[i];
        if (r->not_before > now && r->not_before < edge)
            edge = r->not_before;
        if (r->not_after > now && r->not_after < edge)
            edge = r->not_after;
    }
    return edge;
}

/* ---- Text ---- */

typedef struct reader {
    pea__rules *rules;
    const char *folder;
    pea__found_fn found;
    void *arg;
    int64_t now;
    pea_error *why; /* of the first fault */
    pea_err first;
    const pea__rule *ca; /* the latest that names a root's file */
} reader;

/* Notes a fault. Returns whether reading goes on. */
static bool note(reader *rd, uint32_t line, pea_error *what)
{
    what->line = line;
    if (rd->found != NULL)
        rd->found(rd->arg, PEA_LOG_ERROR, what);
    if (rd->first == PEA_OK) {
        rd->first = what->code;
        if (rd->why != NULL)
            *rd->why = *what;
    }
    return rd->found != NULL && what->code != PEA_E_NOMEM;
}

static void warn(const reader *rd, const pea__rule *r, const char *text)
{
    pea_error what = {.code = PEA_OK, .line = r->line};
    (void)snprintf(what.text, sizeof what.text, "%s", text);
    rd->found(rd->arg, PEA_LOG_WARNING, &what);
}

/* Whether an earlier rule matches whoever a later one does. */
static bool covers(const pea__rule *earlier, const pea__rule *later)
{
    return earlier->from == NULL && earlier->not_before <= later->not_before && earlier->not_after >= later->not_after;
}

/* A rule of the same root that makes this one idle. */
static void look_over_root(const reader *rd, const pea__rule *r)
{
    char text[128];
    for (size_t i = 0; i < rd->rules->n_by_name; i++) {
        const pea__rule *e = rd->rules->by_name[i];
        if (e == r || !e->member || memcmp(e->roots[0], r->roots[0], PEA_ID_BYTES) != 0 || !covers(e, r) ||
            (r->names != NULL ? !pea__names_cover(e->names, r->names) : e->names != NULL))
            continue;
        if (e->deny && !r->deny)
            (void)snprintf(text, sizeof text, "this rule is idle: line %u denies the same names of this root", e->line);
        else if (e->line < r->line && e->deny == r->deny)
            (void)snprintf(text, sizeof text, "this rule is idle: line %u says the same names before it", e->line);
        else
            continue;
        warn(rd, r, text);
        return;
    }
}

/* What is allowed and hardly meant. */
static void look_over(const reader *rd)
{
    char text[128];
    for (size_t i = 0; i < rd->rules->n; i++) {
        const pea__rule *r = rd->rules->list[i];
        if (r->not_after <= rd->now)
            warn(rd, r, "this rule has expired");
        if (r->member)
            look_over_root(rd, r);
        for (const pea__rule *e = r->by_name ? NULL : find_key(rd->rules, r->key); e != NULL; e = e->next) {
            if (e->deny && !r->deny && covers(e, r)) {
                (void)snprintf(text, sizeof text, "this rule is idle: line %u denies the same key", e->line);
                warn(rd, r, text);
                break;
            }
            if (e->line < r->line && e->deny == r->deny && covers(e, r)) {
                (void)snprintf(text, sizeof text, "this rule is idle: line %u says the same key before it", e->line);
                warn(rd, r, text);
                break;
            }
        }
    }
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* What no line may hold, not even a comment: an editor may show a rule behind it that is none. */
static pea_err check_line(const char *line, size_t len, pea_error *why)
{
    if (len > 0 && line[len - 1] == '\r')
        return pea__error(why, PEA_E_FORMAT, "this line ends as on Windows (CR LF): save the file with LF alone");
    if (memchr(line, '\r', len) != NULL)
        return pea__error(why, PEA_E_FORMAT, "there is a carriage return in this line: lines end with LF alone");
    if (memchr(line, '\0', len) != NULL)
        return pea__error(why, PEA_E_FORMAT, "there is a zero byte in this line");
    if (!pea__utf8_valid((const uint8_t *)line, len))
        return pea__error(why, PEA_E_FORMAT, "this line is not valid UTF-8");
    return PEA_OK;
}

/* A line without its newline. */
static bool read_line(reader *rd, uint32_t number, const char *line, size_t len)
{
    pea__rules *rules = rd->rules;
    pea_error what = {.code = PEA_OK};
    pea__rule *rule = NULL;
    size_t from = 0, to = len;
    if (check_line(line, len, &what) != PEA_OK)
        return note(rd, number, &what);
    while (from < len && is_blank(line[from]))
        from++;
    while (to > from && is_blank(line[to - 1]))
        to--;
    if (from == to || line[from] == '#')
        return true;
    if (to - from == 6 && memcmp(line + from, "nobody", 6) == 0) {
        rules->nobody = number;
        return true;
    }
    pea_err err = pea__rule_parse(&rule, line, to, &(pea__rule_place){rd->folder, &rules->roots, rd->ca}, &what);
    if (err == PEA_OK) {
        rule->line = number;
        err = pea__rules_add(rules, rule);
        if (err != PEA_OK) {
            pea__rule_free(rule);
            (void)pea__error(&what, err, NULL);
        } else if (rule->root_file != NULL) {
            rd->ca = rule;
        }
    }
    return err == PEA_OK || note(rd, number, &what);
}

/* What a set of rules that are good by themselves may lack, or say too much. */
static void check_set(reader *rd)
{
    const pea__rules *rules = rd->rules;
    pea_error what = {.code = PEA_OK};
    if (rules->n == 0 && rules->nobody == 0) {
        (void)pea__error(&what, PEA_E_FORMAT,
                         "there is no rule in it; where nobody shall be admitted, say so by a line \"nobody\"");
        (void)note(rd, 0, &what);
    }
    for (size_t i = 0; i < rules->n && rules->nobody != 0; i++) {
        if (rules->list[i]->deny)
            continue;
        (void)pea__errorf(&what, PEA_E_FORMAT, "this line says \"nobody\", and line %u admits somebody",
                          rules->list[i]->line);
        (void)note(rd, rules->nobody, &what);
        return;
    }
}

static void read_lines(reader *rd, const char *text, size_t len)
{
    uint32_t number = 1;
    pea_error what = {.code = PEA_OK};
    if (len >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) {
        (void)pea__error(&what, PEA_E_FORMAT, "the file begins with a byte order mark: save it as UTF-8 without one");
        if (!note(rd, 1, &what))
            return;
        text += 3;
        len -= 3;
    }
    while (len > 0) {
        const char *end = memchr(text, '\n', len);
        if (end == NULL) {
            (void)pea__error(&what, PEA_E_FORMAT,
                             "the last line does not end with a newline: the file may be cut short");
            (void)note(rd, number, &what);
            return;
        }
        size_t n = (size_t)(end - text);
        if (!read_line(rd, number, text, n))
            return;
        number++;
        text += n + 1;
        len -= n + 1;
    }
    if (rd->first == PEA_OK)
        check_set(rd);
}

pea_err pea__rules_parse(pea__rules **rules, const char *text, size_t len, const char *folder, pea__found_fn found,
                         void *arg, int64_t now, pea_error *why)
{
    reader rd = {pea__rules_new(), folder, found, arg, now, why, PEA_OK, NULL};
    if (rd.rules == NULL)
        return pea__error(why, PEA_E_NOMEM, NULL);
    read_lines(&rd, text, len);
    if (found != NULL)
        look_over(&rd);
    if (found != NULL || rd.first != PEA_OK)
        pea__rules_free(rd.rules);
    else
        *rules = rd.rules;
    return rd.first;
}

/* ---- Files ---- */

static void mark_from(pea__file_mark *mark, const struct stat *st)
{
    *mark = (pea__file_mark){.dev = (uint64_t)st->st_dev,
                             .ino = (uint64_t)st->st_ino,
                             .size = (uint64_t)st->st_size,
                             .mtime_s = st->st_mtim.tv_sec,
                             .mtime_ns = st->st_mtim.tv_nsec,
                             .ctime_s = st->st_ctim.tv_sec,
                             .ctime_ns = st->st_ctim.tv_nsec};
}

void pea__file_mark_take(pea__file_mark *mark, const char *path)
{
    struct stat st;
    *mark = (pea__file_mark){.sys = 0};
    if (stat(path, &st) != 0)
        mark->sys = errno;
    else
        mark_from(mark, &st);
}

bool pea__file_mark_same(const pea__file_mark *a, const pea__file_mark *b)
{
    return a->sys == b->sys && a->dev == b->dev && a->ino == b->ino && a->size == b->size && a->mtime_s == b->mtime_s &&
           a->mtime_ns == b->mtime_ns && a->ctime_s == b->ctime_s && a->ctime_ns == b->ctime_ns;
}

/* Who may say whom to trust: us, and root. Of the open file; folders above it are the system's business. */
static pea_err check_file(const struct stat *st, const char *path, size_t max, pea_error *why)
{
    if (!S_ISREG(st->st_mode))
        return pea__errorf(why, PEA_E_PERMISSION, "%.150s: this is no regular file", path);
    if (st->st_uid != geteuid() && st->st_uid != 0)
        return pea__errorf(why, PEA_E_PERMISSION, "%.150s: it belongs to user %ld, and must be yours or root's", path,
                           (long)st->st_uid);
    if ((st->st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return pea__errorf(why, PEA_E_PERMISSION, "%.150s: others may write it: chmod go-w mends that", path);
    if ((uint64_t)st->st_size > max)
        return pea__errorf(why, PEA_E_TOO_BIG, "%.150s: it has more than %zu bytes", path, max);
    return PEA_OK;
}

static pea_err read_whole(int fd, const char *path, char *text, size_t len, pea_error *why)
{
    for (size_t at = 0; at < len;) {
        ssize_t n = read(fd, text + at, len - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return pea__error_sys(why, errno, path);
        if (n == 0)
            return pea__errorf(why, PEA_E_SYS, "%.150s: it changed while it was read", path);
        at += (size_t)n;
    }
    return PEA_OK;
}

pea_err pea__trust_fd_read(char **text, size_t *len, int fd, const char *path, size_t max, pea__file_mark *mark,
                           pea_error *why)
{
    struct stat st, after;
    pea__file_mark first, last;
    char *fresh = NULL;
    pea_err err = fstat(fd, &st) == 0 ? check_file(&st, path, max, why) : pea__error_sys(why, errno, path);
    if (err == PEA_OK && (fresh = pea__alloc((size_t)st.st_size + 1)) == NULL)
        err = pea__error(why, PEA_E_NOMEM, NULL);
    if (err == PEA_OK)
        err = read_whole(fd, path, fresh, (size_t)st.st_size, why);
    if (err == PEA_OK && fstat(fd, &after) != 0)
        err = pea__error_sys(why, errno, path);
    if (err == PEA_OK) {
        mark_from(&first, &st);
        mark_from(&last, &after);
        if (!pea__file_mark_same(&first, &last))
            err = pea__errorf(why, PEA_E_SYS, "%.150s: it changed while it was read", path);
    }
    if (err != PEA_OK) {
        pea__free(fresh);
        return err;
    }
    *text = fresh;
    *len = (size_t)st.st_size;
    if (mark != NULL)
        *mark = first;
    return PEA_OK;
}

pea_err pea__trust_file_read(char **text, size_t *len, const char *path, size_t max, pea__file_mark *mark,
                             pea_error *why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); /* a pipe in its place must not hold us up */
    if (fd < 0)
        return pea__error_sys(why, errno, path);
    pea_err err = pea__trust_fd_read(text, len, fd, path, max, mark, why);
    (void)close(fd);
    return err;
}

/* The folder of a path, "" for one without; NULL: no memory. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    char *folder = pea__alloc(len + 1);
    if (folder != NULL && len > 0)
        memcpy(folder, path, len);
    return folder;
}

/* The file's name goes before what is wrong in it. */
static void name_file(pea_error *why, const char *path)
{
    char text[PEA_ERROR_TEXT_BYTES];
    if (why == NULL || why->code == PEA_E_NOMEM)
        return;
    memcpy(text, why->text, sizeof text);
    if (why->line > 0 && why->column > 0)
        (void)snprintf(why->text, sizeof why->text, "%.60s:%u:%u: %.160s", path, why->line, why->column, text);
    else if (why->line > 0)
        (void)snprintf(why->text, sizeof why->text, "%.60s:%u: %.160s", path, why->line, text);
    else
        (void)snprintf(why->text, sizeof why->text, "%.60s: %.160s", path, text);
}

static pea_err load(pea__rules **rules, const char *path, pea__found_fn found, void *arg, int64_t now, pea_error *why)
{
    char *text, *folder = folder_of(path);
    pea__file_mark mark;
    size_t len;
    if (folder == NULL)
        return pea__error(why, PEA_E_NOMEM, NULL);
    pea_err err = pea__trust_file_read(&text, &len, path, PEA__TRUST_FILE_MAX, &mark, why);
    if (err == PEA_OK) {
        err = pea__rules_parse(rules, text, len, folder, found, arg, now, why);
        if (err != PEA_OK)
            name_file(why, path);
        else if (found == NULL)
            (*rules)->mark = mark;
        pea__free(text);
    } else if (found != NULL && why != NULL) {
        found(arg, PEA_LOG_ERROR, why);
    }
    pea__free(folder);
    return err;
}

pea_err pea__trust_file_load(pea__rules **rules, const char *path, pea_error *why)
{
    return load(rules, path, NULL, NULL, 0, why);
}

pea_err pea_trust_lint(const char *path, void (*found)(void *arg, pea_log_level level, const pea_error *what),
                       void *arg)
{
    pea__rules *rules = NULL; /* made where nobody wants to hear what is found */
    pea_error why = {.code = PEA_OK};
    pea_err err = pea__secure_init(&why);
    if (err != PEA_OK)
        return err;
    err = load(&rules, path, found, arg, pea__wall_ms(), &why);
    pea__rules_free(rules);
    return err;
}
