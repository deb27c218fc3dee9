/* SPDX-License-Identifier: MIT */
/* Whom to trust: rules by calls, rules from files, an explicit "anybody", keys that were met before, and a callback for
 * the rest. Deny wins, and who is not named is refused. The trust and its policy are one object with one count of
 * references. How rules are written and read is the business of trust_rule.c, trust_file.c and trust_reload.c. */
#include <string.h>

#include "err_priv.h"
#include "rules_priv.h"
#include "socket_priv.h"

/* Tells nodes that live connections must be judged again. */
void pea__trust_changed(pea_trust *t)
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
    size_t from = 0, to = t->n_keys;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (compare(&t->keys[middle]->peer, peer) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

static pea__key_rule *find_rule(const pea_trust *t, const pea_peer *peer)
{
    size_t i = lower_bound(t, peer);
    return i < t->n_keys && compare(&t->keys[i]->peer, peer) == 0 ? t->keys[i] : NULL;
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
static pea__key_rule *need_rule(pea_trust *t, const pea_peer *peer)
{
    pea__key_rule *found = find_rule(t, peer);
    if (found != NULL)
        return found;
    pea__key_rule **rules = grow(t->keys, t->n_keys, &t->keys_room, sizeof(pea__key_rule *));
    if (rules == NULL)
        return NULL;
    t->keys = rules;
    pea__key_rule *fresh = pea__alloc(sizeof *fresh);
    if (fresh == NULL)
        return NULL;
    fresh->peer.kind = peer->kind;
    memcpy(fresh->peer.id, peer->id, sizeof fresh->peer.id);
    size_t at = lower_bound(t, peer);
    memmove(rules + at + 1, rules + at, (t->n_keys - at) * sizeof(pea__key_rule *));
    rules[at] = fresh;
    t->n_keys++;
    return fresh;
}

/* ---- The policy ---- */

static pea_err refuse(pea_reason *why, const char *text)
{
    if (why != NULL)
        pea__reason_say(why, text);
    return PEA_E_REFUSED;
}

/* Where a rule is written. */
typedef struct spot {
    const char *file; /* NULL: it was added by a call */
    uint32_t line;    /* of it, or the how manieth added; 0: there is none */
} spot;

/* What the rules say of a candidate. */
typedef struct answer {
    bool denied, allowed;
    bool late;          /* a rule names it, and it was only the time */
    bool stale;         /* and that was its certificate's */
    bool place;         /* a rule names it, for other places */
    const pea__rule *r; /* that allows it; NULL: one by call, which filled in name and role */
    const char *name;   /* by which a root vouches for it */
    spot at[4];         /* the first line of each kind, in the order of `pea_trust_ground` from PEA_TRUST_ALLOWED on */
} answer;

static void note(answer *a, pea_trust_ground kind, const pea__rule *r)
{
    spot *s = &a->at[kind - PEA_TRUST_ALLOWED];
    if (s->line == 0 || r->line < s->line)
        s->line = r->line;
}

/* Of several sets the first that has such a line. */
static void note_places(answer *a, const answer *here, const char *file)
{
    for (size_t i = 0; i < sizeof a->at / sizeof a->at[0]; i++)
        if (a->at[i].line == 0 && here->at[i].line != 0)
            a->at[i] = (spot){file, here->at[i].line};
}

static void consider(answer *a, const pea__rule *r, const pea_candidate *c, int64_t now)
{
    const char *name;
    pea__match match = pea__rule_match(r, c, now, &name);
    if (r->deny) {
        a->denied = a->denied || match == PEA__YES;
        if (match == PEA__YES)
            note(a, PEA_TRUST_DENIED, r);
        return;
    }
    a->late = a->late || match == PEA__ANOTHER_TIME;
    a->stale = a->stale || (match == PEA__ANOTHER_TIME && r->by_name && !pea__vouch_holds(c->vouch, now));
    a->place = a->place || match == PEA__ANOTHER_PLACE;
    if (match != PEA__NO)
        note(a,
             match == PEA__YES            ? PEA_TRUST_ALLOWED
             : match == PEA__ANOTHER_TIME ? PEA_TRUST_ANOTHER_TIME
                                          : PEA_TRUST_ANOTHER_PLACE,
             r);
    if (match != PEA__YES || (a->allowed && a->r->line <= r->line))
        return;
    a->allowed = true;
    a->r = r;
    a->name = name;
}

/* Of one set the first line that matches counts; an earlier set goes before a later one. */
static void consider_all(answer *a, const pea__rules *rules, const char *file, const pea_peer *peer,
                         const pea_candidate *c, int64_t now)
{
    if (rules == NULL)
        return;
    answer here = {.allowed = false};
    for (const pea__rule *r = pea__rules_find(rules, peer); r != NULL; r = r->next)
        consider(&here, r, c, now);
    for (size_t i = 0; c->vouch != NULL && i < rules->n_by_name; i++)
        consider(&here, rules->by_name[i], c, now);
    a->denied = a->denied || here.denied;
    a->late = a->late || here.late;
    a->stale = a->stale || here.stale;
    a->place = a->place || here.place;
    note_places(a, &here, file);
    if (!a->allowed && here.allowed) {
        a->allowed = true;
        a->r = here.r;
        a->name = here.name;
    }
}

/* Gives the peer what the rule gives. Where the rule has no name, the verified one that fits it is the peer's; a root's
 * certificate gives roles, too. */
static void give(pea_peer *peer, const answer *a, const pea_vouch *vouch)
{
    if (a->r == NULL)
        return;
    const char *name = a->r->named ? a->r->peer.name : a->name != NULL ? a->name : "";
    memset(peer->name, 0, sizeof peer->name);
    if (strlen(name) < sizeof peer->name)
        memcpy(peer->name, name, strlen(name));
    memcpy(peer->role, a->r->peer.role, sizeof peer->role);
    if (a->r->member)
        pea__roles_give(peer->role, a->r->roles, vouch->roles);
}

/* What the rules say; with the lock. */
static answer ask_rules(const pea_trust *t, pea_peer *peer, const pea_candidate *c, int64_t now)
{
    const pea__key_rule *key = find_rule(t, peer);
    answer a = {.denied = key != NULL && key->denied, .allowed = key != NULL && key->allowed};
    if (a.allowed && !a.denied) {
        memcpy(peer->name, key->peer.name, sizeof peer->name);
        memcpy(peer->role, key->peer.role, sizeof peer->role);
    }
    consider_all(&a, t->added, NULL, peer, c, now);
    for (const pea__trust_source *s = t->sources; s != NULL; s = s->next)
        consider_all(&a, s->rules, s->path, peer, c, now);
    if (key != NULL && key->allowed) /* a call goes before lines */
        a.at[0] = (spot){NULL, 0};
    if (a.allowed && !a.denied)
        give(peer, &a, c->vouch);
    return a;
}

/* Who is let in by a certificate is let in until that ends. If nobody would be judged again so early, whoever calls
 * tick() has to know. With the lock. */
static bool ends_sooner(pea_trust *t, const answer *a, const pea_candidate *c)
{
    if (!a->allowed || a->denied || a->r == NULL || !a->r->by_name || c->vouch->not_after_ms == 0 ||
        c->vouch->not_after_ms >= t->edge_ms)
        return false;
    t->edge_ms = c->vouch->not_after_ms;
    return true;
}

/* Whom a dial of ours met may be known from before, or be new. */
static pea_err ask_known(pea_trust *t, const pea_peer *peer, const pea_candidate *c, bool aloud, pea_reason *why)
{
    char text[2 * PEA_TEXT_MAX]; /* two keys and a path: the reason may be too short for them, the log is not */
    pea_err err = pea__known_peers_check(t->known, c->dialled, peer, c->proven, text, sizeof text);
    if (err == PEA_OK)
        return PEA_OK;
    if (aloud)
        pea__trust_say(t, PEA_LOG_ERROR, text);
    return refuse(why, text);
}

/* Nobody is asked about a peer that a rule names for other times or places: the rule has answered. */
static pea_err refuse_named(const answer *a, pea_reason *why)
{
    if (a->late && why != NULL)
        why->code = PEA_CODE_EXPIRED;
    return refuse(why, a->stale  ? "the peer's certificate does not hold at this time"
                       : a->late ? "the rule that names this peer does not hold at this time"
                                 : "the rule that names this peer is for other addresses");
}

/* What is asked, and in which order, where the rules said `a`; with the lock. */
static pea_trust_ground ground_of(const pea_trust *t, const answer *a, const pea_candidate *c)
{
    if (a->denied)
        return PEA_TRUST_DENIED;
    if (a->allowed)
        return PEA_TRUST_ALLOWED;
    if (t->any)
        return PEA_TRUST_ANYBODY;
    if (a->late || a->place)
        return a->late ? PEA_TRUST_ANOTHER_TIME : PEA_TRUST_ANOTHER_PLACE;
    if (t->known != NULL && c->side == PEA_INITIATOR && c->dialled != NULL)
        return PEA_TRUST_FIRST_USE;
    return t->ask != NULL ? PEA_TRUST_ASKED : PEA_TRUST_NO_RULE;
}

/* The verdict of a ground, but where somebody has to be asked for it. */
static pea_err verdict_of(pea_trust_ground ground, const answer *a, pea_reason *why)
{
    switch (ground) {
    case PEA_TRUST_ALLOWED:
    case PEA_TRUST_ANYBODY:
        return PEA_OK;
    case PEA_TRUST_DENIED:
        return refuse(why, "a rule denies this peer");
    case PEA_TRUST_ANOTHER_TIME:
    case PEA_TRUST_ANOTHER_PLACE:
        return refuse_named(a, why);
    default:
        return refuse(why, "no rule names this peer");
    }
}

static pea_err trust_check(void *self, pea_peer *peer, const pea_candidate *candidate, pea_reason *why)
{
    pea_trust *t = self;
    if (peer->kind == PEA_PEER_NONE)
        return refuse(why, "nobody proved a key");
    int64_t now = candidate->wall_ms != 0 ? candidate->wall_ms : pea__wall_ms();
    (void)pthread_mutex_lock(&t->lock);
    answer a = ask_rules(t, peer, candidate, now);
    pea_trust_ground ground = ground_of(t, &a, candidate);
    bool sooner = ends_sooner(t, &a, candidate);
    pea_trust_fn ask = t->ask;
    void *ask_arg = t->ask_arg;
    (void)pthread_mutex_unlock(&t->lock);
    if (sooner)
        pea__trust_changed(t);
    if (ground == PEA_TRUST_FIRST_USE)
        return ask_known(t, peer, candidate, true, why);
    if (ground != PEA_TRUST_ASKED)
        return verdict_of(ground, &a, why);
    pea_err err = ask(ask_arg, peer, candidate);
    if (err == PEA_OK || err == PEA_WAIT)
        return err;
    return refuse(why, "the application refused this peer");
}

pea_err pea_trust_explain(pea_trust *trust, pea_peer *peer, const pea_candidate *candidate, pea_trust_account *account)
{
    pea_candidate c = *candidate;
    pea_reason why = {.err = PEA_OK};
    pea_err err;
    c.proven = false; /* nothing of it is remembered */
    *account = (pea_trust_account){.ground = PEA_TRUST_NO_RULE};
    if (peer->kind == PEA_PEER_NONE) {
        err = refuse(&why, "nobody proved a key");
    } else {
        int64_t now = c.wall_ms != 0 ? c.wall_ms : pea__wall_ms();
        (void)pthread_mutex_lock(&trust->lock);
        answer a = ask_rules(trust, peer, &c, now);
        account->ground = ground_of(trust, &a, &c);
        (void)pthread_mutex_unlock(&trust->lock);
        if (account->ground >= PEA_TRUST_ALLOWED && account->ground <= PEA_TRUST_ANOTHER_PLACE) {
            account->file = a.at[account->ground - PEA_TRUST_ALLOWED].file;
            account->line = a.at[account->ground - PEA_TRUST_ALLOWED].line;
        }
        if (account->ground == PEA_TRUST_FIRST_USE)
            err = ask_known(trust, peer, &c, false, &why);
        else
            err = account->ground == PEA_TRUST_ASKED ? PEA_WAIT : verdict_of(account->ground, &a, &why);
    }
    memcpy(account->text, why.text, sizeof account->text);
    return err;
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
        pea__watcher *watchers = grow(t->watchers, t->n_watchers, &t->watchers_room, sizeof *watchers);
        if (watchers == NULL) {
            err = PEA_E_NOMEM;
        } else {
            t->watchers = watchers;
            watchers[t->n_watchers++] = (pea__watcher){changed, arg};
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
    for (size_t i = 0; i < t->n_keys; i++)
        pea__free(t->keys[i]);
    pea__free(t->keys);
    pea__free(t->watchers);
    pea__rules_free(t->added);
    pea__trust_sources_free(t);
    pea__known_peers_free(t->known);
    (void)pthread_mutex_destroy(&t->reload_lock);
    (void)pthread_mutex_destroy(&t->lock);
    (void)pthread_mutex_destroy(&t->watch_lock);
    pea__free(t);
}

static bool trust_anybody(void *self)
{
    pea_trust *t = self;
    (void)pthread_mutex_lock(&t->lock);
    bool any = t->any;
    (void)pthread_mutex_unlock(&t->lock);
    return any;
}

static const pea_policy_ops trust_ops = {
    .version = PEA_POLICY_VERSION,
    .name = "trust",
    .check = trust_check,
    .generation = trust_generation,
    .tick = pea__trust_tick,
    .watch = trust_watch,
    .destroy = trust_destroy,
    .anybody = trust_anybody,
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
    pea__key_rule *r = need_rule(trust, peer);
    if (r != NULL) {
        r->allowed = true;
        set_text(r->peer.name, sizeof r->peer.name, name);
        set_text(r->peer.role, sizeof r->peer.role, role);
        atomic_fetch_add(&trust->generation, 1);
    }
    (void)pthread_mutex_unlock(&trust->lock);
    if (r == NULL)
        return pea__error(why, PEA_E_NOMEM, NULL);
    pea__trust_changed(trust);
    return PEA_OK;
}

pea_err pea_trust_deny(pea_trust *trust, const pea_peer *peer, pea_error *why)
{
    pea_err err = check_id(peer, why);
    if (err != PEA_OK)
        return err;
    (void)pthread_mutex_lock(&trust->lock);
    pea__key_rule *r = need_rule(trust, peer);
    if (r != NULL) {
        r->denied = true;
        atomic_fetch_add(&trust->generation, 1);
    }
    (void)pthread_mutex_unlock(&trust->lock);
    if (r == NULL)
        return pea__error(why, PEA_E_NOMEM, NULL);
    pea__trust_changed(trust);
    return PEA_OK;
}

pea_err pea_trust_forget(pea_trust *trust, const pea_peer *peer)
{
    (void)pthread_mutex_lock(&trust->lock);
    pea__key_rule *r = find_rule(trust, peer);
    if (r != NULL) {
        size_t at = lower_bound(trust, peer);
        trust->n_keys--;
        memmove(trust->keys + at, trust->keys + at + 1, (trust->n_keys - at) * sizeof(pea__key_rule *));
        pea__free(r);
        atomic_fetch_add(&trust->generation, 1);
    }
    (void)pthread_mutex_unlock(&trust->lock);
    if (r == NULL)
        return PEA_E_NOT_FOUND;
    pea__trust_changed(trust);
    return PEA_OK;
}

void pea_trust_any(pea_trust *trust)
{
    (void)pthread_mutex_lock(&trust->lock);
    trust->any = true;
    atomic_fetch_add(&trust->generation, 1);
    (void)pthread_mutex_unlock(&trust->lock);
    pea__trust_changed(trust);
}

void pea_trust_ask(pea_trust *trust, pea_trust_fn fn, void *arg)
{
    (void)pthread_mutex_lock(&trust->lock);
    trust->ask = fn;
    trust->ask_arg = arg;
    atomic_fetch_add(&trust->generation, 1);
    (void)pthread_mutex_unlock(&trust->lock);
    pea__trust_changed(trust);
}

/* ---- Rules as lines ---- */

static bool same_roots(const pea__rules *a, const pea__rules *b)
{
    size_t n = a != NULL ? a->roots.len : 0, m = b != NULL ? b->roots.len : 0;
    return n == m && (n == 0 || memcmp(a->roots.data, b->roots.data, n) == 0);
}

void pea__trust_swap(pea_trust *t, pea__trust_source *source, pea__rules *rules)
{
    (void)pthread_mutex_lock(&t->lock);
    pea__rules *old = source->rules;
    source->rules = rules;
    if (!same_roots(old, rules))
        atomic_fetch_add(&t->roots_version, 1);
    atomic_fetch_add(&t->generation, 1);
    t->edge_ms = INT64_MIN;
    if (old == NULL) {
        pea__trust_source **end = &t->sources;
        while (*end != NULL)
            end = &(*end)->next;
        *end = source;
    }
    (void)pthread_mutex_unlock(&t->lock);
    pea__rules_free(old);
    pea__trust_changed(t);
}

/* Adds a line and its roots, both or neither. With the lock. */
static pea_err add_rule(pea_trust *t, pea__rule *rule, pea_span roots)
{
    if (t->added == NULL && (t->added = pea__rules_new()) == NULL)
        return PEA_E_NOMEM;
    pea_err err = PEA_OK;
    size_t had = t->added->roots.len;
    pea_span der;
    while (err == PEA_OK && pea__roots_next(&roots, &der))
        err = pea__roots_add(&t->added->roots, der);
    rule->line = (uint32_t)t->added->n + 1;
    if (err == PEA_OK)
        err = pea__rules_add(t->added, rule);
    if (err != PEA_OK) {
        t->added->roots.len = had;
        return err;
    }
    if (t->added->roots.len != had)
        atomic_fetch_add(&t->roots_version, 1);
    atomic_fetch_add(&t->generation, 1);
    t->edge_ms = INT64_MIN; /* the rule may expire: the next tick finds out when */
    return PEA_OK;
}

pea_err pea_trust_add(pea_trust *trust, const char *line, pea_error *why)
{
    pea_buf roots = {0};
    pea__rule *rule = NULL;
    if (strchr(line, '\n') != NULL)
        return pea__error(why, PEA_E_FORMAT, "this is more than one line");
    pea_err err = pea__rule_parse(&rule, line, strlen(line), &(pea__rule_place){"", &roots, NULL}, why);
    if (err == PEA_OK) {
        (void)pthread_mutex_lock(&trust->lock);
        err = add_rule(trust, rule, (pea_span){roots.data, roots.len});
        (void)pthread_mutex_unlock(&trust->lock);
        if (err != PEA_OK)
            (void)pea__error(why, err, NULL);
    }
    pea_buf_free(&roots);
    if (err != PEA_OK) {
        pea__rule_free(rule);
        return err;
    }
    pea__trust_changed(trust);
    return PEA_OK;
}

uint64_t pea__trust_roots_version(pea_trust *trust)
{
    return atomic_load(&trust->roots_version);
}

pea_err pea__trust_roots(pea_trust *trust, pea_buf *out, uint64_t *version)
{
    pea_err err = PEA_OK;
    (void)pthread_mutex_lock(&trust->lock);
    *version = atomic_load(&trust->roots_version);
    if (trust->added != NULL)
        err = pea_buf_append(out, trust->added->roots.data, trust->added->roots.len);
    for (const pea__trust_source *s = trust->sources; s != NULL && err == PEA_OK; s = s->next)
        err = pea_buf_append(out, s->rules->roots.data, s->rules->roots.len);
    (void)pthread_mutex_unlock(&trust->lock);
    return err;
}

/* ---- Known peers, and the log ---- */

pea_err pea_trust_first_use(pea_trust *trust, const char *path, pea_error *why)
{
    pea__known_peers *known = NULL;
    (void)pthread_mutex_lock(&trust->lock);
    bool first = trust->known == NULL;
    (void)pthread_mutex_unlock(&trust->lock);
    pea_err err = first ? pea__known_peers_open(&known, path, why) : PEA_OK;
    if (err != PEA_OK)
        return err;
    (void)pthread_mutex_lock(&trust->lock);
    first = trust->known == NULL;
    if (first) {
        trust->known = known;
        atomic_fetch_add(&trust->generation, 1);
    }
    (void)pthread_mutex_unlock(&trust->lock);
    if (!first) {
        pea__known_peers_free(known);
        return pea__error(why, PEA_E_EXISTS, "this trust has a file of known peers already");
    }
    pea__trust_changed(trust);
    return PEA_OK;
}

void pea_trust_log(pea_trust *trust, pea_log_fn log, void *arg)
{
    (void)pthread_mutex_lock(&trust->lock);
    trust->log = log;
    trust->log_arg = arg;
    (void)pthread_mutex_unlock(&trust->lock);
}

void pea__trust_say(pea_trust *t, pea_log_level level, const char *text)
{
    (void)pthread_mutex_lock(&t->lock);
    pea_log_fn log = t->log;
    void *arg = t->log_arg;
    (void)pthread_mutex_unlock(&t->lock);
    if (log == NULL)
        return;
    char shown[4 * PEA_ERROR_TEXT_BYTES]; /* paths and values may hold what a terminal would obey */
    (void)pea_text_escape(text, strlen(text), shown, sizeof shown);
    log(&(pea_log_line){.level = level, .text = shown}, arg);
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
    atomic_init(&t->roots_version, 0);
    t->edge_ms = INT64_MAX;
    t->edge_found_ms = INT64_MIN;
    if (pthread_mutex_init(&t->lock, NULL) != 0)
        goto no_lock;
    if (pthread_mutex_init(&t->watch_lock, NULL) != 0)
        goto no_watch_lock;
    if (pthread_mutex_init(&t->reload_lock, NULL) != 0)
        goto no_reload_lock;
    err = pea_policy_new(&t->policy, &trust_ops, t);
    if (err == PEA_OK) {
        *trust = t;
        return PEA_OK;
    }
    (void)pthread_mutex_destroy(&t->reload_lock);
no_reload_lock:
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
