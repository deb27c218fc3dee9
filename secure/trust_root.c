/* SPDX-License-Identifier: MIT */
/* What `root:` rules say of names and roles: lists with commas, which a certificate's name has to be in, and which of
 * its roles count. How such a line is read is trust_rule.c's business. */
#include <string.h>

#include "cert_priv.h"
#include "rules_priv.h"

/* An element of a list. */
typedef struct element {
    const char *text;
    size_t len;
} element;

/* The next one; false: there is none. `at` NULL: the list has ended. */
static bool next(const char **at, element *e)
{
    if (*at == NULL)
        return false;
    *e = (element){*at, strcspn(*at, ",")};
    *at = e->text[e->len] == ',' ? e->text + e->len + 1 : NULL;
    return true;
}

static bool is_star(const element *e)
{
    return e->len == 1 && e->text[0] == '*';
}

/* Without its asterisk, which may be anywhere, it is a name; alone it stands for all. */
static bool good_pattern(const element *e)
{
    const char *star = memchr(e->text, '*', e->len);
    if (star == NULL || is_star(e))
        return star != NULL || pea__cert_word(e->text, e->len);
    size_t before = (size_t)(star - e->text), after = e->len - before - 1;
    return (before == 0 || pea__cert_word(e->text, before)) && (after == 0 || pea__cert_word(star + 1, after));
}

bool pea__names_good(const char *list)
{
    element e;
    bool good = true;
    while (good && next(&list, &e))
        good = good_pattern(&e);
    return good;
}

bool pea__roles_good(const char *list)
{
    element e;
    bool good = true;
    while (good && next(&list, &e))
        good = is_star(&e) || pea__cert_word(e.text, e.len);
    return good;
}

/* An asterisk stands for at least one letter, and for no '.' or '/': a part of a name never becomes several. */
static bool fits(const element *e, const char *name)
{
    const char *star = memchr(e->text, '*', e->len);
    size_t len = strlen(name);
    if (is_star(e))
        return true;
    if (star == NULL)
        return len == e->len && memcmp(name, e->text, len) == 0;
    size_t before = (size_t)(star - e->text), after = e->len - before - 1;
    if (len < e->len || memcmp(name, e->text, before) != 0 || memcmp(name + len - after, star + 1, after) != 0)
        return false;
    return strcspn(name + before, "./") >= len - before - after;
}

bool pea__names_have(const char *list, const char *name)
{
    element e;
    if (list == NULL)
        return true;
    while (next(&list, &e))
        if (fits(&e, name))
            return true;
    return false;
}

bool pea__names_cover(const char *outer, const char *inner)
{
    element i, o;
    while (inner != NULL && next(&inner, &i)) {
        bool found = outer == NULL;
        for (const char *at = outer; !found && next(&at, &o);)
            found = is_star(&o) || (o.len == i.len && memcmp(o.text, i.text, i.len) == 0);
        if (!found)
            return false;
    }
    return true;
}

static bool may(const char *list, const element *role)
{
    element e;
    while (next(&list, &e))
        if (is_star(&e) || (e.len == role->len && memcmp(e.text, role->text, e.len) == 0))
            return true;
    return false;
}

void pea__roles_give(char out[PEA_ROLE_MAX + 1], const char *list, const char *said)
{
    size_t len = 0;
    element role;
    memset(out, 0, PEA_ROLE_MAX + 1);
    while (next(&said, &role)) {
        if (!may(list, &role) || len + (len > 0) + role.len > PEA_ROLE_MAX)
            continue;
        if (len > 0)
            out[len++] = ',';
        memcpy(out + len, role.text, role.len);
        len += role.len;
    }
}
