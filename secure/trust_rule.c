/* SPDX-License-Identifier: MIT */
/* One rule of an authorized_peers file: how it is written (docs/trust.md), and whom it matches. */
#include <stdio.h>
#include <string.h>

#include "cert_priv.h"
#include "err_priv.h"
#include "rules_priv.h"
#include "utf8_priv.h"

/* ---- Words ---- */

/* What is left of a line. */
typedef struct scan {
    const char *line, *at, *end;
    pea_error *why;
} scan;

/* A fault at `where`, counted in bytes from 1. */
static pea_err fault(const scan *s, const char *where, const char *text)
{
    pea_err err = pea__error(s->why, PEA_E_FORMAT, text);
    if (s->why != NULL)
        s->why->column = (uint32_t)(where - s->line) + 1;
    return err;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* A word of the line, copied without its quotes. */
typedef struct word {
    const char *where; /* in the line; NULL: there was none */
    size_t len;
    char text[PEA__RULE_TEXT_MAX + 1];
} word;

/* Whether what was read of a word is an option's name and its sign: behind that, and nowhere else, a quote opens. */
static bool at_value(const word *w)
{
    size_t len = strspn(w->text, "abcdefghijklmnopqrstuvwxyz-");
    return len > 0 && w->len == len + 1 && w->text[len] == '=';
}

/* The next word. A value may be quoted, blanks and all: name="db of the south". */
static pea_err next_word(scan *s, word *w)
{
    while (s->at < s->end && is_blank(*s->at))
        s->at++;
    w->where = s->at < s->end ? s->at : NULL;
    w->len = 0;
    w->text[0] = '\0';
    const char *quote = NULL;
    for (; s->at < s->end && (quote != NULL || !is_blank(*s->at)); s->at++) {
        if (*s->at == '"') {
            bool opens = quote == NULL && at_value(w);
            bool closes = quote != NULL && (s->at + 1 == s->end || is_blank(s->at[1]));
            if (!opens && !closes)
                return fault(s, s->at, "a quotation mark stands around a whole value: name=\"two words\"");
            quote = opens ? s->at : NULL;
            continue;
        }
        w->text[w->len++] = *s->at;
        w->text[w->len] = '\0';
    }
    return quote != NULL ? fault(s, quote, "this quotation mark is not closed") : PEA_OK;
}

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static char *copy_text(const char *text)
{
    size_t len = strlen(text);
    char *copy = pea__alloc(len + 1);
    if (copy != NULL)
        memcpy(copy, text, len);
    return copy;
}

/* ---- Roots ---- */

typedef struct gather {
    pea__rule *rule;
    pea_buf *roots;
} gather;

bool pea__roots_next(pea_span *list, pea_span *der)
{
    const uint8_t *at = list->data;
    if (list->len < 4)
        return false;
    size_t len = (size_t)at[0] << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
    if (len > list->len - 4)
        return false;
    *der = (pea_span){at + 4, len};
    *list = (pea_span){at + 4 + len, list->len - 4 - len};
    return true;
}

/* Whether a certificate is in the list already: many lines may name one root. */
static bool gathered(const pea_buf *roots, pea_span der)
{
    pea_span list = {roots->data, roots->len}, root;
    while (pea__roots_next(&list, &root))
        if (root.len == der.len && memcmp(root.data, der.data, der.len) == 0)
            return true;
    return false;
}

pea_err pea__roots_add(pea_buf *roots, pea_span der)
{
    const uint8_t len[] = {(uint8_t)(der.len >> 24), (uint8_t)(der.len >> 16), (uint8_t)(der.len >> 8),
                           (uint8_t)der.len};
    if (gathered(roots, der))
        return PEA_OK;
    pea_err err = pea_buf_append(roots, len, sizeof len);
    return err != PEA_OK ? err : pea_buf_append(roots, der.data, der.len);
}

static pea_err gather_root(void *arg, pea_span der, const uint8_t id[PEA_ID_BYTES])
{
    gather *g = arg;
    if (g->rule->n_roots == PEA__RULE_ROOTS_MAX)
        return PEA_E_TOO_BIG;
    memcpy(g->rule->roots[g->rule->n_roots++], id, PEA_ID_BYTES);
    return pea__roots_add(g->roots, der);
}

/* Reads the certificates of r->root_file. */
static pea_err read_root_file(pea__rule *r, pea_buf *roots, pea_error *why)
{
    char *text;
    size_t len;
    gather g = {r, roots};
    pea_error inner = {.code = PEA_OK};
    pea_err err = pea__trust_file_read(&text, &len, r->root_file, PEA__ROOT_FILE_MAX, &r->root_mark, why);
    if (err != PEA_OK)
        return err;
    err = pea__certificates_each((pea_span){(const uint8_t *)text, len}, gather_root, &g, &inner);
    pea__free(text);
    if (err == PEA_E_TOO_BIG)
        (void)pea__errorf(why, err, "%.100s: there are more than %u certificates in it", r->root_file,
                          PEA__RULE_ROOTS_MAX);
    else if (err != PEA_OK)
        (void)pea__errorf(why, err, "%.80s: %.160s", r->root_file, inner.text);
    return err;
}

static pea_err read_roots(scan *s, const word *w, pea__rule *r, const pea__rule_place *place)
{
    const pea__rule *before = place->before;
    const char *folder = place->folder;
    const char *name = w->text + strlen("ca:");
    size_t size = strlen(folder) + strlen(name) + 2;
    if (name[0] == '\0')
        return fault(s, w->where, "after \"ca:\" there is no file: ca:mesh-root.pem");
    r->root_file = pea__alloc(size);
    r->roots = pea__alloc(PEA__RULE_ROOTS_MAX * sizeof *r->roots);
    if (r->root_file == NULL || r->roots == NULL)
        return pea__error(s->why, PEA_E_NOMEM, NULL);
    bool relative = name[0] != '/' && folder[0] != '\0';
    (void)snprintf(r->root_file, size, "%s%s%s", relative ? folder : "", relative ? "/" : "", name);
    pea_err err = PEA_OK;
    if (before != NULL && strcmp(before->root_file, r->root_file) == 0) { /* a thousand lines read it once */
        memcpy(r->roots, before->roots, PEA__RULE_ROOTS_MAX * sizeof *r->roots);
        r->n_roots = before->n_roots;
        r->root_mark = before->root_mark;
    } else {
        err = read_root_file(r, place->roots, s->why);
    }
    if (err != PEA_OK && s->why != NULL)
        s->why->column = (uint32_t)(w->where - s->line) + 1;
    return err;
}

/* ---- Names ---- */

/* A host name in lower case; an asterisk only as its whole first label. */
static bool good_dns(const char *p)
{
    size_t label = 0, all = strlen(p);
    if (begins(p, "*."))
        p += 2;
    for (; *p != '\0'; p++) {
        bool plain = (*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || *p == '-' || *p == '_';
        if (*p == '.' ? label == 0 : !plain)
            return false;
        label = *p == '.' ? 0 : label + 1;
        if (label > 63)
            return false;
    }
    return label > 0 && all <= 253;
}

/* "spiffe://domain/path"; an asterisk only as its whole last segment. */
static bool good_spiffe(const char *p)
{
    const char *domain = p + strlen("spiffe://");
    size_t len = strcspn(domain, "/");
    if (strlen(p) > 2048 || len == 0 || strspn(domain, "abcdefghijklmnopqrstuvwxyz0123456789.-_") < len)
        return false;
    for (const char *at = domain + len; *at != '\0';) {
        const char *segment = at + 1;
        size_t n = strcspn(segment, "/");
        bool last = segment[n] == '\0', star = n == 1 && *segment == '*';
        bool plain = strspn(segment, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") >= n;
        bool dots = (n == 1 && segment[0] == '.') || (n == 2 && segment[0] == '.' && segment[1] == '.');
        if (n == 0 || dots || (star ? !last : !plain))
            return false;
        at = segment + n;
    }
    return true;
}

static pea_err read_pattern(scan *s, const word *w, pea__rule *r)
{
    if (w->where == NULL)
        return fault(s, s->end, "after a ca: there is a name: spiffe://mesh.example/db/* or dns:*.mesh.example");
    bool dns = begins(w->text, "dns:"), spiffe = begins(w->text, "spiffe://");
    if (!dns && !spiffe)
        return fault(s, w->where, "after a ca: there is a name: spiffe://mesh.example/db/* or dns:*.mesh.example");
    if (dns && !good_dns(w->text + 4))
        return fault(s, w->where,
                     "this is no host name in lower case; an asterisk is its whole first label: dns:*.mesh.example");
    if (spiffe && !good_spiffe(w->text))
        return fault(s, w->where,
                     "this is no SPIFFE id; an asterisk is its whole last segment: spiffe://mesh.example/db/*");
    r->kind = dns ? PEA_NAME_DNS : PEA_NAME_URI;
    r->pattern = copy_text(dns ? w->text + 4 : w->text);
    return r->pattern != NULL ? PEA_OK : pea__error(s->why, PEA_E_NOMEM, NULL);
}

/* ---- Keys ---- */

static pea_err read_key(scan *s, const word *w, pea__rule *r)
{
    pea_error why = {.code = PEA_OK};
    pea_err err = pea_peer_parse(&r->peer, w->text, &why);
    if (err == PEA_OK && r->peer.kind == PEA_PEER_NOISE)
        err = pea__x25519_check(r->peer.id, &why);
    return err == PEA_OK ? PEA_OK : fault(s, w->where, why.text);
}

/* A root that signs certificates for Noise. */
static pea_err read_root_key(scan *s, const word *w, pea__rule *r)
{
    pea_error why = {.code = PEA_OK};
    r->by_name = r->member = true;
    r->roots = pea__alloc(sizeof *r->roots);
    if (r->roots == NULL)
        return pea__error(s->why, PEA_E_NOMEM, NULL);
    r->n_roots = 1;
    return pea_root_key_parse(r->roots[0], w->text, &why) == PEA_OK ? PEA_OK : fault(s, w->where, why.text);
}

/* ---- Times: RFC 3339, in UTC, to the second ---- */

static bool digits(const char *text, size_t n, int *value)
{
    *value = 0;
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        *value = *value * 10 + (text[i] - '0');
    }
    return true;
}

/* Days from 1970-01-01 to a date of the Gregorian calendar. */
static int64_t days_to(int year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year; /* the year begins in March: the leap day is its last */
    int64_t month_days = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    int64_t era = y / 400, year_of_era = y % 400;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + month_days - 719468;
}

static bool read_time(const char *text, int64_t *ms)
{
    static const int days_of[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year, month, day, hour, minute, second;
    if (strlen(text) != 20 || !digits(text, 4, &year) || text[4] != '-' || !digits(text + 5, 2, &month) ||
        text[7] != '-' || !digits(text + 8, 2, &day) || text[10] != 'T' || !digits(text + 11, 2, &hour) ||
        text[13] != ':' || !digits(text + 14, 2, &minute) || text[16] != ':' || !digits(text + 17, 2, &second) ||
        text[19] != 'Z')
        return false;
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if (year < 1970 || month < 1 || month > 12 || day < 1 || day > days_of[month - 1] + (month == 2 && leap) ||
        hour > 23 || minute > 59 || second > 59)
        return false;
    *ms = ((days_to(year, month, day) * 24 + hour) * 60 + minute) * 60000 + (int64_t)second * 1000;
    return true;
}

/* ---- Options ---- */

static pea_err read_from(scan *s, const word *w, const char *value, pea__rule *r)
{
    char part[64];
    if (r->from != NULL)
        return fault(s, w->where, "from= is said twice: put its ranges together, with commas between them");
    r->from = pea__alloc(PEA__RULE_FROM_MAX * sizeof *r->from);
    if (r->from == NULL)
        return pea__error(s->why, PEA_E_NOMEM, NULL);
    for (;;) {
        pea_error why = {.code = PEA_OK};
        size_t len = strcspn(value, ",");
        (void)snprintf(part, sizeof part, "%.*s", (int)(len < sizeof part ? len : sizeof part - 1), value);
        if (r->n_from == PEA__RULE_FROM_MAX)
            return fault(s, w->where, "from= has more than 16 ranges: write several rules");
        if (pea_prefix_parse(&r->from[r->n_from], part, &why) != PEA_OK)
            return fault(s, w->where, why.text);
        r->n_from++;
        if (value[len] == '\0')
            return PEA_OK;
        value += len + 1;
    }
}

static pea_err read_text(scan *s, const word *w, const char *value, char *dst, size_t size)
{
    if (dst[0] != '\0')
        return fault(s, w->where, "this option is said twice");
    if (value[0] == '\0')
        return fault(s, w->where, "this option has no value");
    if (strlen(value) >= size)
        return fault(s, w->where, size > 64 ? "a name has at most 255 bytes" : "a role has at most 63 bytes");
    for (const char *p = value; *p != '\0'; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7F)
            return fault(s, w->where, "there is a control character in this value");
    memcpy(dst, value, strlen(value) + 1);
    return PEA_OK;
}

static pea_err read_when(scan *s, const word *w, const char *value, int64_t *ms, int64_t unset)
{
    if (*ms != unset)
        return fault(s, w->where, "this option is said twice");
    return read_time(value, ms) ? PEA_OK : fault(s, w->where, "this is no time in UTC as 2027-01-01T00:00:00Z");
}

/* names= and roles= of a root. */
static pea_err read_list(scan *s, const word *w, const char *value, pea__rule *r)
{
    bool names = w->text[0] == 'n';
    char **list = names ? &r->names : &r->roles;
    if (!r->member)
        return fault(s, w->where, "names= and roles= say what a root may give: they go with \"root:\"");
    if (r->deny && !names)
        return fault(s, w->where, "a rule that denies gives nobody a role");
    if (*list != NULL)
        return fault(s, w->where, "this option is said twice: put its list together, with commas between");
    if (!(names ? pea__names_good(value) : pea__roles_good(value)))
        return fault(s, w->where,
                     names ? "this is no list of names as web-*,db-1: of a-z, 0-9, '-', '.', '_' and '/', with an "
                             "asterisk at most"
                           : "this is no list of roles as web,db, of a-z, 0-9, '-', '.', '_' and '/', nor an asterisk");
    *list = copy_text(value);
    return *list != NULL ? PEA_OK : pea__error(s->why, PEA_E_NOMEM, NULL);
}

static pea_err read_option(scan *s, const word *w, pea__rule *r)
{
    const char *value = strchr(w->text, '=');
    size_t len = value != NULL ? (size_t)(value - w->text) : 0;
    if (value == NULL)
        return fault(s, w->where,
                     "this is no option: name=, role=, names=, roles=, from=, not-before= and not-after= are");
    value++;
    if (len == 4 && begins(w->text, "from"))
        return read_from(s, w, value, r);
    if (len == 10 && begins(w->text, "not-before"))
        return read_when(s, w, value, &r->not_before, INT64_MIN);
    if (len == 9 && begins(w->text, "not-after"))
        return read_when(s, w, value, &r->not_after, INT64_MAX);
    if (len == 5 && (begins(w->text, "names") || begins(w->text, "roles")))
        return read_list(s, w, value, r);
    if (len == 4 && (begins(w->text, "name") || begins(w->text, "role"))) {
        bool name = w->text[0] == 'n';
        if (r->deny)
            return fault(s, w->where, "a rule that denies gives nobody a name or a role");
        if (r->member)
            return fault(s, w->where, "a root's certificates give names and roles: names= and roles= say which");
        r->named = r->named || name;
        return name ? read_text(s, w, value, r->peer.name, sizeof r->peer.name)
                    : read_text(s, w, value, r->peer.role, sizeof r->peer.role);
    }
    return fault(s, w->where,
                 "there is no such option: name=, role=, names=, roles=, from=, not-before= and not-after= are");
}

/* ---- The rule ---- */

static pea_err read_rule(scan *s, pea__rule *r, const pea__rule_place *place, word *w)
{
    pea_err err = next_word(s, w);
    if (err == PEA_OK && strcmp(w->text, "deny") == 0) {
        r->deny = true;
        err = next_word(s, w);
        if (err == PEA_OK && w->where == NULL)
            err = fault(s, s->end, "after \"deny\" there is a key");
    }
    if (err == PEA_OK && w->where == NULL)
        err = fault(s, s->end, "there is no rule in this line");
    if (err != PEA_OK)
        return err;
    if (begins(w->text, "ca:")) {
        r->by_name = true;
        err = read_roots(s, w, r, place);
        if (err == PEA_OK)
            err = next_word(s, w);
        if (err == PEA_OK)
            err = read_pattern(s, w, r);
    } else if (begins(w->text, "root:")) {
        err = read_root_key(s, w, r);
    } else {
        err = read_key(s, w, r);
    }
    while (err == PEA_OK && (err = next_word(s, w)) == PEA_OK && w->where != NULL)
        err = read_option(s, w, r);
    if (err == PEA_OK && r->not_before != INT64_MIN && r->not_before >= r->not_after)
        err = fault(s, s->line, "not-before is not before not-after: this rule would never hold");
    if (err == PEA_OK && r->member && !r->deny && r->names == NULL)
        err = fault(s, s->end, "say which names this root may give: names=web-*,db-1, or names=* for whatever it says");
    return err;
}

pea_err pea__rule_parse(pea__rule **rule, const char *text, size_t len, const pea__rule_place *place, pea_error *why)
{
    scan s = {text, text, text + len, why};
    size_t had = place->roots->len;
    if (len > PEA__RULE_TEXT_MAX)
        return fault(&s, text + PEA__RULE_TEXT_MAX, "a line has at most 4,096 bytes");
    if (memchr(text, '\0', len) != NULL)
        return fault(&s, memchr(text, '\0', len), "there is a zero byte in this line");
    if (!pea__utf8_valid((const uint8_t *)text, len))
        return pea__error(why, PEA_E_FORMAT, "this line is not valid UTF-8");
    pea__rule *r = pea__alloc(sizeof *r);
    word *w = pea__alloc(sizeof *w);
    pea_err err = r != NULL && w != NULL ? PEA_OK : pea__error(why, PEA_E_NOMEM, NULL);
    if (err == PEA_OK) {
        r->not_before = INT64_MIN;
        r->not_after = INT64_MAX;
        err = read_rule(&s, r, place, w);
    }
    pea__free(w);
    if (err != PEA_OK) {
        pea__rule_free(r);
        place->roots->len = had;
        return err;
    }
    *rule = r;
    return PEA_OK;
}

void pea__rule_free(pea__rule *rule)
{
    if (rule == NULL)
        return;
    pea__free(rule->pattern);
    pea__free(rule->root_file);
    pea__free(rule->roots);
    pea__free(rule->names);
    pea__free(rule->roles);
    pea__free(rule->from);
    pea__free(rule);
}

/* ---- Matching ---- */

/* One label in the place of an asterisk in front, one segment in that of one behind, and nothing else is wider than it
 * is written. A wildcard in the certificate allows nothing: it would have to be a label or segment, and an asterisk is
 * in neither. But it is denied with any name that it could stand for. */
static bool name_fits(const pea__rule *r, const pea_name *name)
{
    if (name->kind != (r->member ? PEA_NAME_MEMBER : r->kind))
        return false;
    if (r->member)
        return pea__names_have(r->names, name->text);
    if (r->deny && r->kind == PEA_NAME_DNS && begins(name->text, "*.")) {
        const char *behind = strchr(r->pattern, '.');
        return behind != NULL && strcmp(name->text + 1, behind) == 0;
    }
    if (r->kind == PEA_NAME_DNS && begins(r->pattern, "*.")) {
        size_t label = strcspn(name->text, ".");
        return label > 0 && name->text[0] != '*' && strcmp(name->text + label, r->pattern + 1) == 0;
    }
    size_t len = strlen(r->pattern);
    if (r->kind == PEA_NAME_URI && r->pattern[len - 1] == '*') {
        const char *rest = name->text + len - 1;
        return strncmp(name->text, r->pattern, len - 1) == 0 && rest[0] != '\0' && rest[0] != '*' &&
               strchr(rest, '/') == NULL;
    }
    return strcmp(name->text, r->pattern) == 0;
}

/* The name by which a rule's root vouches for the peer; NULL: none. */
static const char *vouched_name(const pea__rule *r, const pea_vouch *vouch)
{
    bool root = false;
    for (size_t i = 0; vouch != NULL && i < r->n_roots; i++)
        root = root || memcmp(r->roots[i], vouch->root, PEA_ID_BYTES) == 0;
    for (size_t i = 0; root && i < vouch->n_names; i++)
        if (name_fits(r, &vouch->names[i]))
            return vouch->names[i].text;
    return NULL;
}

/* Who is denied in some place is denied as well where nobody knows the place. */
static bool from_fits(const pea__rule *r, const pea_addr *from)
{
    if (from == NULL && r->deny)
        return true;
    for (size_t i = 0; from != NULL && i < r->n_from; i++)
        if (pea_prefix_has(&r->from[i], from))
            return true;
    return r->from == NULL;
}

pea__match pea__rule_match(const pea__rule *rule, const pea_candidate *candidate, int64_t now, const char **name)
{
    *name = NULL;
    if (rule->by_name && (*name = vouched_name(rule, candidate->vouch)) == NULL)
        return PEA__NO;
    if (!from_fits(rule, candidate->from))
        return PEA__ANOTHER_PLACE;
    if (rule->by_name && !rule->deny && !pea__vouch_holds(candidate->vouch, now))
        return PEA__ANOTHER_TIME;
    return now >= rule->not_before && now < rule->not_after ? PEA__YES : PEA__ANOTHER_TIME;
}
