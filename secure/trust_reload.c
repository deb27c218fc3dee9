/* SPDX-License-Identifier: MIT */
/* Files of rules, taken when they are loaded and again whenever they change: looked at by stat(2) from the policy's
 * tick. One look sees each way in which a file can change (edited, renamed over, a symbolic link anywhere on its path
 * turned to another), on any file system, where watches for events see some of them on some. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "err_priv.h"
#include "rules_priv.h"

#define LOOK_MS 250    /* a change is taken after two looks that agree: within a second */
#define REST_LOOKS 20u /* what could not be taken is tried again after five seconds: it may be ours that was short */

/* ---- Which files ---- */

static void files_free(pea__watched *files, size_t n)
{
    for (size_t i = 0; i < n; i++)
        pea__free(files[i].path);
    pea__free(files);
}

/* A file read twice with a change between keeps its older mark: the next look sees the difference. */
static bool file_add(pea__watched *files, size_t *n, const char *path, const pea__file_mark *mark)
{
    for (size_t i = 0; i < *n; i++)
        if (strcmp(files[i].path, path) == 0)
            return true;
    char *copy = pea__alloc(strlen(path) + 1);
    if (copy == NULL)
        return false;
    memcpy(copy, path, strlen(path));
    files[(*n)++] = (pea__watched){copy, *mark, *mark};
    return true;
}

/* The file, and those of the roots that its rules name. NULL: no memory. */
static pea__watched *files_of(const char *path, const pea__rules *rules, size_t *n)
{
    pea__watched *files = pea__alloc((rules->n_by_name + 1) * sizeof *files);
    *n = 0;
    bool ok = files != NULL && file_add(files, n, path, &rules->mark);
    for (size_t i = 0; ok && i < rules->n_by_name; i++)
        ok = rules->by_name[i]->root_file == NULL ||
             file_add(files, n, rules->by_name[i]->root_file, &rules->by_name[i]->root_mark);
    if (ok)
        return files;
    if (files != NULL)
        files_free(files, *n);
    return NULL;
}

/* Reads the file's rules and what to watch. The marks are those of the files that were read: a change meanwhile is seen
 * by the next look. */
static pea_err read_source(pea_trust *t, pea__trust_source *s, pea_error *why)
{
    pea__rules *rules = NULL;
    size_t n;
    pea_err err = pea__trust_file_load(&rules, s->path, why);
    if (err != PEA_OK)
        return err;
    pea__watched *files = files_of(s->path, rules, &n);
    if (files == NULL) {
        pea__rules_free(rules);
        return pea__error(why, PEA_E_NOMEM, NULL);
    }
    files_free(s->files, s->n_files);
    s->files = files;
    s->n_files = n;
    s->said[0] = '\0';
    pea__trust_swap(t, s, rules);
    return PEA_OK;
}

/* ---- Looking ---- */

typedef enum seen { AT_REST = 0, MOVING, CHANGED } seen;

/* Whether a file of this source is another than when its rules were taken, and has been so for two looks. */
static seen look_at(pea__trust_source *s)
{
    seen all = AT_REST;
    for (size_t i = 0; i < s->n_files; i++) {
        pea__watched *f = &s->files[i];
        pea__file_mark now;
        pea__file_mark_take(&now, f->path);
        if (!pea__file_mark_same(&now, &f->seen)) {
            f->seen = now;
            all = MOVING;
        } else if (all == AT_REST && !pea__file_mark_same(&now, &f->taken)) {
            all = CHANGED;
        }
    }
    return all;
}

/* Takes a changed file, or says once why not: the last good rules stay. It is tried again even if it stays as it is,
 * since what is missing may be elsewhere: a root that comes later, memory, a descriptor. */
static void take(pea_trust *t, pea__trust_source *s)
{
    pea_error why = {.code = PEA_OK};
    char text[PEA_ERROR_TEXT_BYTES + 64];
    pea_err err = read_source(t, s, &why);
    if (err == PEA_OK) {
        (void)snprintf(text, sizeof text, "%.200s: taken anew, %zu rules", s->path, s->rules->n);
        pea__trust_say(t, PEA_LOG_INFO, text);
        return;
    }
    s->rest = REST_LOOKS;
    if (strcmp(s->said, why.text) == 0)
        return;
    memcpy(s->said, why.text, sizeof s->said);
    (void)snprintf(text, sizeof text, "not taken, the rules stay as they were: %s", why.text);
    pea__trust_say(t, PEA_LOG_ERROR, text);
}

static void look(pea_trust *t, pea__trust_source *s)
{
    seen what = look_at(s);
    if (what == MOVING) {
        s->rest = 0;
        s->said[0] = '\0';
    } else if (what == CHANGED && s->rest > 0) {
        s->rest--;
    } else if (what == CHANGED) {
        take(t, s);
    }
}

/* With the lock, like pass_edge()'s look at it: this walks all rules, and others wait. */
static int64_t find_edge(const pea_trust *t, int64_t now)
{
    int64_t edge = INT64_MAX;
    for (const pea__trust_source *s = t->sources; s != NULL; s = s->next)
        edge = pea__rules_edge(s->rules, now, edge);
    return t->added != NULL ? pea__rules_edge(t->added, now, edge) : edge;
}

/* The time at which the next rule begins or ceases to hold passes, or the clock was set back before one: whoever is
 * live is judged again. */
static int64_t pass_edge(pea_trust *t, int64_t now)
{
    (void)pthread_mutex_lock(&t->lock);
    bool back = now < t->edge_found_ms, passed = t->edge_ms <= now, had = t->edge_ms != INT64_MAX;
    if (back || passed) {
        t->edge_ms = find_edge(t, now);
        t->edge_found_ms = now;
    }
    int64_t edge = t->edge_ms;
    passed = passed || (back && (had || edge != INT64_MAX));
    if (passed)
        atomic_fetch_add(&t->generation, 1);
    (void)pthread_mutex_unlock(&t->lock);
    if (passed)
        pea__trust_changed(t);
    return edge;
}

/* Several runtimes may call: two looks in a moment say nothing of whether a file is at rest. */
static bool time_to_look(pea_trust *t, int64_t now)
{
    if (now >= t->looked_ms && now - t->looked_ms < LOOK_MS / 2)
        return false;
    t->looked_ms = now;
    return true;
}

/* Looks at all files, unless somebody reads some just now: a loop waits for nobody. Whether there are any. */
static bool look_at_all(pea_trust *t, int64_t now)
{
    if (pthread_mutex_trylock(&t->reload_lock) != 0)
        return true;
    bool looks = time_to_look(t, now), any = t->sources != NULL;
    for (pea__trust_source *s = t->sources; looks && s != NULL; s = s->next)
        look(t, s);
    (void)pthread_mutex_unlock(&t->reload_lock);
    return any;
}

int64_t pea__trust_tick(void *trust, int64_t wall_ms)
{
    pea_trust *t = trust;
    bool files = look_at_all(t, wall_ms);
    int64_t edge = pass_edge(t, wall_ms), again = files ? wall_ms + LOOK_MS : INT64_MAX;
    if (edge < again)
        again = edge;
    return again != INT64_MAX ? again : -1;
}

/* ---- The public face ---- */

static void source_free(pea__trust_source *s)
{
    pea__rules_free(s->rules);
    files_free(s->files, s->n_files);
    pea__free(s->path);
    pea__free(s);
}

void pea__trust_sources_free(pea_trust *t)
{
    while (t->sources != NULL) {
        pea__trust_source *s = t->sources;
        t->sources = s->next;
        source_free(s);
    }
}

static pea_err load(pea_trust *t, const char *path, pea_error *why)
{
    pea__trust_source **end = &t->sources;
    for (; *end != NULL; end = &(*end)->next)
        if (strcmp((*end)->path, path) == 0)
            return pea__errorf(why, PEA_E_EXISTS, "%.150s is loaded already", path);
    pea__trust_source *s = pea__alloc(sizeof *s);
    if (s == NULL || (s->path = pea__alloc(strlen(path) + 1)) == NULL) {
        pea__free(s);
        return pea__error(why, PEA_E_NOMEM, NULL);
    }
    memcpy(s->path, path, strlen(path));
    pea_err err = read_source(t, s, why); /* puts it into the list */
    if (err != PEA_OK)
        source_free(s);
    return err;
}

pea_err pea_trust_load(pea_trust *trust, const char *path, pea_error *why)
{
    (void)pthread_mutex_lock(&trust->reload_lock);
    pea_err err = load(trust, path, why);
    (void)pthread_mutex_unlock(&trust->reload_lock);
    return err;
}

pea_err pea_trust_reload(pea_trust *trust, pea_error *why)
{
    pea_err first = PEA_OK;
    (void)pthread_mutex_lock(&trust->reload_lock);
    for (pea__trust_source *s = trust->sources; s != NULL; s = s->next) {
        pea_error inner = {.code = PEA_OK};
        pea_err err = read_source(trust, s, &inner);
        if (err != PEA_OK && first == PEA_OK) {
            first = err;
            if (why != NULL)
                *why = inner;
        }
    }
    (void)pthread_mutex_unlock(&trust->reload_lock);
    return first;
}
