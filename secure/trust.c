/* SPDX-License-Identifier: MIT */
/* Whom to trust, by public key: rules for single ids, an explicit "anybody", and a callback for the rest. Deny wins,
 * and who is not named is refused. The trust and its policy are one object with one count of references. Files of rules
 * are not read here. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "buf_priv.h"
#include "err_priv.h"
#include "peapod/trust.h"
#include "secure_priv.h"

typedef struct rule {
    pea_peer peer; /* name and role are what an allowed peer is given */
    bool allowed, denied;
} rule;

typedef struct watcher {
    void (*changed)(void *arg);
    void *arg;
} watcher;

struct pea_trust {
    pea_policy *policy; /* its references are ours; its destroy() is what frees us */
    atomic_uint_fast64_t generation;

    pthread_mutex_t lock; /* rules, any, ask: held for look-ups and changes, never while foreign code runs */
    rule **rules;         /* sorted by kind and id */
    size_t n_rules, rules_room;
    bool any;
    pea_trust_fn ask;
    void *ask_arg;

    pthread_mutex_t watch_lock; /* held while watchers are told, so that none is told after it stopped watching */
    watcher *watchers;
    size_t n_watchers, watchers_room;
};

/* Tells nodes that live connections must be judged again. */
static void rules_changed(pea_trust *t)
{
    (void)pthread_mutex_lock(&t->watch_lock);
    for (size_t i = 0; i < t->n_watchers; i++)
        t->watchers[i].changed(t->watchers[i].arg);
    (void)pthread_mutex_unlock(&t->watch_lock);
}

/* Ids are public: the comparison may take a time that tells where they differ. */
static int compare(const pea_peer *a, const pea_peer *b)
{
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    return memcmp(a->id, b->id, sizeof a->id);
}

/* Where the rule of this peer is or belongs. */
static size_t lower_bound(const pea_trust *t, const pea_peer *peer)
{
    size_t from = 0, to = t->n_rules;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (compare(&t->rules[middle]->peer, peer) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

static rule *find_rule(const pea_trust *t, const pea_peer *peer)
{
    size_t i = lower_bound(t, peer);
    return i < t->n_rules && compare(&t->rules[i]->peer, peer) == 0 ? t->rules[i] : NULL;
}

/* Room for one more element of an array that doubles; NULL: no memory, and the array is as before. */
static void *grow(void *array, size_t n, size_t *room, size_t element)
{
    if (n < *room)
        return array;
    size_t more = *room == 0 ? 8 : *room * 2;
    void *grown = pea__realloc(array, more * element);
    if (grown != NULL)
        *room = more;
    return grown;
}

/* The rule of this peer, made if there is none; NULL: no memory. */
static rule *need_rule(pea_trust *t, const pea_peer *peer)
{
    rule *found = find_rule(t, peer);
    if (found != NULL)
        return found;
    rule **rules = grow(t->rules, t->n_rules, &t->rules_room, sizeof *rules);
    if (rules == NULL)
        return NULL;
    t->rules = rules;
    rule *fresh = pea__alloc(sizeof *fresh);
    if (fresh == NULL)
        return NULL;
    fresh->peer.kind = peer->kind;
    memcpy(fresh->peer.id, peer->id, sizeof fresh->peer.id);
    size_t at = lower_bound(t, peer);
    memmove(rules + at + 1, rules + at, (t->n_rules - at) * sizeof *rules);
    rules[at] = fresh;
    t->n_rules++;
    return fresh;
}

/* ---- The policy ---- */

static pea_err refuse(pea_reason *why, const char *text)
{
    if (why != NULL)
        (void)snprintf(why->text, sizeof why->text, "%s", text);
    return PEA_E_REFUSED;
}

static pea_err trust_check(void *self, pea_peer *peer, const pea_candidate *candidate, pea_reason *why)
{
    pea_trust *t = self;
    if (peer->kind == PEA_PEER_NONE)
        return refuse(why, "nobody proved a key");
    (void)pthread_mutex_lock(&t->lock);
    const rule *r = find_rule(t, peer);
    bool denied = r != NULL && r->denied;
    bool allowed = !denied && ((r != NULL && r->allowed) || t->any);
    if (allowed && r != NULL && r->allowed) {
        memcpy(peer->name, r->peer.name, sizeof peer->name);
        memcpy(peer->role, r->peer.role, sizeof peer->role);
    }
    pea_trust_fn ask = t->ask;
    void *ask_arg = t->ask_arg;
    (void)pthread_mutex_unlock(&t->lock);
    if (denied)
        return refuse(why, "a rule denies this key");
    if (allowed)
        return PEA_OK;
    if (ask == NULL)
        return refuse(why, "no rule names this key");
    pea_err err = ask(ask_arg, peer, candidate);
    if (err == PEA_OK || err == PEA_WAIT)
        return err;
    return refuse(why, "the application refused this key");
}

static uint64_t trust_generation(void *self)
{
    pea_trust *t = self;
    return atomic_load(&t->generation);
}

static pea_err trust_watch(void *self, void (*changed)(void *arg), void *arg)
{
    pea_trust *t = self;
    pea_err err = PEA_OK;
    (void)pthread_mutex_lock(&t->watch_lock);
    if (changed != NULL) {
        watcher *watchers = grow(t->watchers, t->n_watchers, &t->watchers_room, sizeof *watchers);
        if (watchers == NULL) {
            err = PEA_E_NOMEM;
        } else {
            t->watchers = watchers;
            watchers[t->n_watchers++] = (watcher){changed, arg};
        }
    } else {
        size_t kept = 0;
        for (size_t i = 0; i < t->n_watchers; i++)
            if (t->watchers[i].arg != arg)
                t->watchers[kept++] = t->watchers[i];
        t->n_watchers = kept;
    }
    (void)pthread_mutex_unlock(&t->watch_lock);
    return err;
}

static void trust_destroy(void *self)
{
    pea_trust *t = self;
    for (size_t i = 0; i < t->n_rules; i++)
        pea__free(t->rules[i]);
    pea__free(t->rules);
    pea__free(t->watchers);
    (void)pthread_mutex_destroy(&t->lock);
    (void)pthread_mutex_destroy(&t->watch_lock);
    pea__free(t);
}

static const pea_policy_ops trust_ops = {
    .version = PEA_POLICY_VERSION,
    .name = "trust",
    .check = trust_check,
    .generation = trust_generation,
    .watch = trust_watch,
    .destroy = trust_destroy,
};

/* ---- Rules ---- */

/* An id that could be somebody's; a rule for another would never match, and its author should hear of it. */
static pea_err check_id(const pea_peer *peer, pea_error *why)
{
    if (peer->kind == PEA_PEER_NOISE)
        return pea__x25519_check(peer->id, why);
    if (peer->kind != PEA_PEER_SPKI && peer->kind != PEA_PEER_OTHER)
        return pea__error(why, PEA_E_INVALID, "this peer has no id: its kind is none");
    return PEA_OK;
}

static pea_err check_text(const char *what, const char *text, size_t max, pea_error *why)
{
    if (text != NULL && strlen(text) > max)
        return pea__errorf(why, PEA_E_INVALID, "the %s is longer than %zu bytes", what, max);
    return PEA_OK;
}

static void set_text(char *dst, size_t size, const char *text)
{
    memset(dst, 0, size);
    if (text != NULL)
        memcpy(dst, text, strlen(text));
}

pea_err pea_trust_allow(pea_trust *trust, const pea_peer *peer, const char *name, const char *role, pea_error *why)
{
    pea_err err = check_id(peer, why);
    if (err == PEA_OK)
        err = check_text("name", name, PEA_NAME_MAX, why);
    if (err == PEA_OK)
        err = check_text("role", role, PEA_ROLE_MAX, why);
    if (err != PEA_OK)
        return err;
    (void)pthread_mutex_lock(&trust->lock);
    rule *r = need_rule(trust, peer);
    if (r != NULL) {
        r->allowed = true;
        set_text(r->peer.name, sizeof r->peer.name, name);
        set_text(r->peer.role, sizeof r->peer.role, role);
        atomic_fetch_add(&trust->generation, 1);
    }
    (void)pthread_mutex_unlock(&trust->lock);
    if (r == NULL)
        return pea__error(why, PEA_E_NOMEM, NULL);
    rules_changed(trust);
    return PEA_OK;
}

pea_err pea_trust_deny(pea_trust *trust, const pea_peer *peer, pea_error *why)
{
    pea_err err = check_id(peer, why);
    if (err != PEA_OK)
        return err;
    (void)pthread_mutex_lock(&trust->lock);
    rule *r = need_rule(trust, peer);
    if (r != NULL) {
        r->denied = true;
        atomic_fetch_add(&trust->generation, 1);
    }
    (void)pthread_mutex_unlock(&trust->lock);
    if (r == NULL)
        return pea__error(why, PEA_E_NOMEM, NULL);
    rules_changed(trust);
    return PEA_OK;
}

pea_err pea_trust_forget(pea_trust *trust, const pea_peer *peer)
{
    (void)pthread_mutex_lock(&trust->lock);
    rule *r = find_rule(trust, peer);
    if (r != NULL) {
        size_t at = lower_bound(trust, peer);
        trust->n_rules--;
        memmove(trust->rules + at, trust->rules + at + 1, (trust->n_rules - at) * sizeof(rule *));
        pea__free(r);
        atomic_fetch_add(&trust->generation, 1);
    }
    (void)pthread_mutex_unlock(&trust->lock);
    if (r == NULL)
        return PEA_E_NOT_FOUND;
    rules_changed(trust);
    return PEA_OK;
}

void pea_trust_any(pea_trust *trust)
{
    (void)pthread_mutex_lock(&trust->lock);
    trust->any = true;
    atomic_fetch_add(&trust->generation, 1);
    (void)pthread_mutex_unlock(&trust->lock);
    rules_changed(trust);
}

void pea_trust_ask(pea_trust *trust, pea_trust_fn fn, void *arg)
{
    (void)pthread_mutex_lock(&trust->lock);
    trust->ask = fn;
    trust->ask_arg = arg;
    atomic_fetch_add(&trust->generation, 1);
    (void)pthread_mutex_unlock(&trust->lock);
    rules_changed(trust);
}

/* ---- The object ---- */

pea_err pea_trust_new(pea_trust **trust)
{
    pea_err err = pea__secure_init(NULL);
    if (err != PEA_OK)
        return err;
    pea_trust *t = pea__alloc(sizeof *t);
    if (t == NULL)
        return PEA_E_NOMEM;
    atomic_init(&t->generation, 1);
    if (pthread_mutex_init(&t->lock, NULL) != 0)
        goto no_lock;
    if (pthread_mutex_init(&t->watch_lock, NULL) != 0)
        goto no_watch_lock;
    err = pea_policy_new(&t->policy, &trust_ops, t);
    if (err == PEA_OK) {
        *trust = t;
        return PEA_OK;
    }
    (void)pthread_mutex_destroy(&t->watch_lock);
no_watch_lock:
    (void)pthread_mutex_destroy(&t->lock);
no_lock:
    pea__free(t);
    return PEA_E_NOMEM;
}

pea_trust *pea_trust_ref(pea_trust *trust)
{
    (void)pea_policy_ref(trust->policy);
    return trust;
}

void pea_trust_unref(pea_trust *trust)
{
    if (trust != NULL)
        pea_policy_unref(trust->policy);
}

pea_policy *pea_trust_policy(pea_trust *trust)
{
    return trust->policy;
}
