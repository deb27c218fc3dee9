/* SPDX-License-Identifier: MIT */
/* Rules as they are written in authorized_peers files, for those who read them (trust_rule.c, trust_file.c), keep them
 * (trust.c) and take them anew (trust_reload.c). */
#ifndef PEAPOD_RULES_PRIV_H
#define PEAPOD_RULES_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "peapod/addr.h"
#include "secure_priv.h"
#include "table_priv.h"

/* ---- trust_rule.c: one line ---- */

#define PEA__RULE_TEXT_MAX 4096u /* bytes of a line: a long role, some ranges and a SPIFFE id of 2,048 fit */
#define PEA__RULE_FROM_MAX 16u   /* ranges of one rule: what is longer belongs in several lines */
#define PEA__RULE_ROOTS_MAX 16u  /* certificates of one root's file */

/* What tells one state of a file from another. */
typedef struct pea__file_mark {
    int sys; /* errno of stat(); 0: the rest is set */
    uint64_t dev, ino, size;
    int64_t mtime_s, ctime_s;
    long mtime_ns, ctime_ns;
} pea__file_mark;

typedef struct pea__rule {
    struct pea__rule *next; /* of the same key, later in the file */
    struct pea__rule *last; /* of the first one of a key: the end of that list */
    uint32_t line;
    bool deny;
    bool by_name;  /* a `ca:` or `root:` rule: what a root says of the key, not the key, is known */
    bool member;   /* a `root:` rule */
    bool named;    /* name= was given */
    pea_peer peer; /* whose key; name and role are what a peer that matches is given */
    pea_name_kind kind;
    char *pattern;   /* of a `ca:` rule: the name, or one that ends or begins with an asterisk */
    char *root_file; /* as it was opened; NULL of a `root:` rule */
    char *names;     /* of a `root:` rule: which ones it is for, with commas; NULL: it denies, all of them */
    char *roles;     /* of a `root:` rule: which ones the root may give, with commas; NULL: none */
    pea__file_mark root_mark;
    uint8_t (*roots)[PEA_ID_BYTES];
    size_t n_roots;
    pea_prefix *from; /* NULL: from anywhere */
    size_t n_from;
    int64_t not_before, not_after; /* ms since 1970; INT64_MIN and INT64_MAX: always */
    uint8_t key[1 + PEA_ID_BYTES]; /* kind and id */
    UT_hash_handle hh;             /* of the first rule of a key */
} pea__rule;

/* Who could match, and why one does not. */
typedef enum pea__match { PEA__NO = 0, PEA__YES, PEA__ANOTHER_TIME, PEA__ANOTHER_PLACE } pea__match;

#define PEA__ROOT_FILE_MAX (1u << 20) /* bytes: some hundred certificates, of which 16 count */

/* Where a line stands, and where its roots go. */
typedef struct pea__rule_place {
    const char *folder;      /* relative roots are from there; "": the working directory */
    pea_buf *roots;          /* pea__roots_add() appends to it */
    const pea__rule *before; /* a `ca:` rule; if its root is the same, that is not read again. NULL: none */
} pea__rule_place;

/* Reads one line (no newline in it) that is no comment.
 * PEA_OK | PEA_E_FORMAT with column and sentence | as pea__certificates_each() and pea__trust_file_read() for a root's
 * file | PEA_E_NOMEM */
PEA_MUST_CHECK pea_err pea__rule_parse(pea__rule **rule, const char *text, size_t len, const pea__rule_place *place,
                                       pea_error *why);
void pea__rule_free(pea__rule *rule);

/* ---- trust_root.c: what `root:` rules say of names and roles ---- */

/* Whether it is a list of names, each with at most one asterisk, or of roles, or of an asterisk alone. */
bool pea__names_good(const char *list);
bool pea__roles_good(const char *list);

/* Whether a name is one of the list's; NULL: of any list. */
bool pea__names_have(const char *list, const char *name);

/* Whether whatever name is one of `inner` is plainly one of `outer`. */
bool pea__names_cover(const char *outer, const char *inner);

/* Those of the roles that a certificate says (NULL: none) which are in the list (NULL: none is). */
void pea__roles_give(char out[PEA_ROLE_MAX + 1], const char *list, const char *said);

/* Whether what is vouched for holds at this time. */
static inline bool pea__vouch_holds(const pea_vouch *vouch, int64_t now)
{
    return vouch->not_after_ms == 0 || (now >= vouch->not_before_ms && now < vouch->not_after_ms);
}

/* ---- Matching ---- */

/* Whether a rule, whose key is the peer's or which is by name, matches. `name` is then the one that did; NULL: it is
 * the key. */
pea__match pea__rule_match(const pea__rule *rule, const pea_candidate *candidate, int64_t now, const char **name);

/* ---- trust_file.c: many lines ---- */

/* A set of rules: made once, then only read. */
typedef struct pea__rules {
    pea__rule **list; /* in order */
    size_t n, room;
    pea__rule *by_key; /* the first of each key */
    pea__rule **by_name;
    size_t n_by_name, by_name_room;
    pea_buf roots;       /* u32 big-endian length and DER of each */
    uint32_t nobody;     /* the line that says so; 0: none does */
    pea__file_mark mark; /* of the file that they were read from */
} pea__rules;

#define PEA__TRUST_FILE_MAX (64u << 20) /* bytes: half a million keys */

pea__rules *pea__rules_new(void); /* NULL: no memory */
void pea__rules_free(pea__rules *rules);

/* Takes a rule, which is the set's from here on. PEA_OK | PEA_E_NOMEM, and it is still the caller's */
PEA_MUST_CHECK pea_err pea__rules_add(pea__rules *rules, pea__rule *rule);

/* The earliest moment after `now`, and not after `edge`, at which a rule of the set begins or ceases to hold. */
int64_t pea__rules_edge(const pea__rules *rules, int64_t now, int64_t edge);

/* The first rule of this key, or NULL. */
pea__rule *pea__rules_find(const pea__rules *rules, const pea_peer *peer);

typedef void (*pea__found_fn)(void *arg, pea_log_level level, const pea_error *what);

/* Reads a whole file's text. `found` NULL: stops at the first fault; else it is told of all of them and of what is
 * hardly meant at `now`, and *rules is not written.
 * PEA_OK | PEA_E_FORMAT with line, column and sentence | as pea__rule_parse() */
PEA_MUST_CHECK pea_err pea__rules_parse(pea__rules **rules, const char *text, size_t len, const char *folder,
                                        pea__found_fn found, void *arg, int64_t now, pea_error *why);

void pea__file_mark_take(pea__file_mark *mark, const char *path);
bool pea__file_mark_same(const pea__file_mark *a, const pea__file_mark *b);

/* Reads a regular file that is ours or root's and that nobody else may write, all of one state of it, which `mark` (may
 * be NULL) tells. The text ends with a zero byte that is not counted; the caller frees it.
 * PEA_OK | PEA_E_SYS | PEA_E_PERMISSION | PEA_E_TOO_BIG | PEA_E_NOMEM */
PEA_MUST_CHECK pea_err pea__trust_file_read(char **text, size_t *len, const char *path, size_t max,
                                            pea__file_mark *mark, pea_error *why);

/* The same of a file that is open, and of which nothing was read yet; it stays open. */
PEA_MUST_CHECK pea_err pea__trust_fd_read(char **text, size_t *len, int fd, const char *path, size_t max,
                                          pea__file_mark *mark, pea_error *why);

/* Reads, checks and parses it. Where the text is at fault, the sentence names the file. As pea__trust_file_read(),
 * pea__rules_parse() */
PEA_MUST_CHECK pea_err pea__trust_file_load(pea__rules **rules, const char *path, pea_error *why);

/* ---- trust_reload.c: files that change ---- */

typedef struct pea__watched {
    char *path;
    pea__file_mark taken, seen; /* as it was when its rules were taken; at the last look */
} pea__watched;

typedef struct pea__trust_source {
    struct pea__trust_source *next; /* in the order of loading */
    char *path;
    pea__rules *rules;
    pea__watched *files; /* the file itself, then its roots' */
    size_t n_files;
    unsigned rest;                   /* looks until what could not be taken is tried again */
    char said[PEA_ERROR_TEXT_BYTES]; /* what was wrong with it; "": nothing was said */
} pea__trust_source;

/* ---- known_peers.c: trust on first use ---- */

typedef struct pea__known_peers pea__known_peers;

/* Without its file, which is neither read nor made. PEA_OK | PEA_E_NOMEM */
PEA_MUST_CHECK pea_err pea__known_peers_new(pea__known_peers **known, const char *path, pea_error *why);

/* Takes the names of a file's text that are not known yet.
 * PEA_OK | PEA_E_FORMAT with line and sentence | PEA_E_NOMEM */
PEA_MUST_CHECK pea_err pea__known_peers_parse(pea__known_peers *known, const char *text, size_t len, pea_error *why);

PEA_MUST_CHECK pea_err pea__known_peers_open(pea__known_peers **known, const char *path, pea_error *why);
void pea__known_peers_free(pea__known_peers *known);

/* May this peer answer to that name? Remembers one that is proven.
 * PEA_OK | PEA_E_REFUSED: another key is known; `text` says which | PEA_E_SYS, ...: it cannot be remembered; `text`
 * says why. Any thread. */
PEA_MUST_CHECK pea_err pea__known_peers_check(pea__known_peers *known, const char *name, const pea_peer *peer,
                                              bool proven, char *text, size_t size);

/* ---- trust.c ---- */

typedef struct pea__key_rule {
    pea_peer peer; /* name and role are what an allowed peer is given */
    bool allowed, denied;
} pea__key_rule;

typedef struct pea__watcher {
    void (*changed)(void *arg);
    void *arg;
} pea__watcher;

struct pea_trust {
    pea_policy *policy; /* its references are ours; its destroy() is what frees us */
    atomic_uint_fast64_t generation, roots_version;

    pthread_mutex_t lock; /* what is below: held for look-ups and changes, never while foreign code runs */
    pea__key_rule **keys; /* rules by calls, sorted by kind and id */
    size_t n_keys, keys_room;
    pea__rules *added; /* lines by calls; NULL: none */
    pea__trust_source *sources;
    bool any;
    int64_t edge_ms;       /* the next moment at which a rule begins or ceases to hold */
    int64_t edge_found_ms; /* when that was found */
    pea_trust_fn ask;
    void *ask_arg;
    pea_log_fn log;
    void *log_arg;
    pea__known_peers *known; /* set once */

    pthread_mutex_t reload_lock; /* one at a time reads files and changes `sources` */
    int64_t looked_ms;           /* with it: when files were looked at last */
    pthread_mutex_t watch_lock;  /* held while watchers are told, so that none is told after it stopped watching */
    pea__watcher *watchers;
    size_t n_watchers, watchers_room;
};

/* Tells nodes that live connections must be judged again. Without the lock. */
void pea__trust_changed(pea_trust *trust);

/* Puts a source's new rules in the place of its old ones; NULL: none were there. With reload_lock held. */
void pea__trust_swap(pea_trust *trust, pea__trust_source *source, pea__rules *rules);

/* Says a line if somebody listens. */
void pea__trust_say(pea_trust *trust, pea_log_level level, const char *text);

int64_t pea__trust_tick(void *trust, int64_t wall_ms);
void pea__trust_sources_free(pea_trust *trust);

#endif
