/* SPDX-License-Identifier: MIT */
/* `root:` rules: whom a certificate for Noise lets in, under which name, in which roles and until when. What core would
 * know of the certificate is passed in; how it gets there is noise_certificate_test.c's business. */
#include "cert_priv.h"
#include "trust_scene.h"

#define KEY "noise:gLLqqOkRxVT1nKKb5HBsnuGYDAHdlNyVOSpUxaH4Ihw="

static uint8_t key[2][PEA_KEY_BYTES];
static char root[PEA_ROOT_TEXT_BYTES], other[PEA_ROOT_TEXT_BYTES];

static int open_with_roots(void **state)
{
    if (open_folder(state) != 0)
        return -1;
    for (int i = 0; i < 2; i++) {
        pea_root *r;
        check_ok(pea_root_generate(&r, NULL));
        pea_root_public(r, key[i]);
        pea_root_free(r);
    }
    (void)pea_root_key_format(key[0], root);
    (void)pea_root_key_format(key[1], other);
    return 0;
}

/* Rules with ROOT and OTHER in the place of the two keys. */
static const char *rules(const char *text)
{
    static char out[2048];
    size_t len = 0;
    while (*text != '\0') {
        bool r = strncmp(text, "ROOT", 4) == 0, o = strncmp(text, "OTHER", 5) == 0;
        if (!r && !o) {
            out[len++] = *text++;
            continue;
        }
        len += (size_t)snprintf(out + len, sizeof out - len, "%s", r ? root : other);
        text += r ? 4 : 5;
    }
    out[len] = '\0';
    return out;
}

static pea_trust *trust_of(const char *text)
{
    pea_trust *t;
    pea_error why = {.code = PEA_OK};
    write_file("peers", rules(text));
    check_ok(pea_trust_new(&t));
    pea_err err = pea_trust_load(t, in_folder("peers"), &why);
    if (err != PEA_OK)
        print_error("%s\n", why.text);
    check_ok(err);
    return t;
}

/* A member of a root's mesh, asked about. */
typedef struct member {
    const char *name, *roles;
    int root;                  /* 0: ROOT, 1: OTHER */
    int64_t now, begins, ends; /* ms; all 0: it always holds */
    const pea_addr *from;
    pea_peer peer; /* as it came out */
    pea_reason why;
} member;

static bool lets_in(pea_trust *t, member *m)
{
    const pea_name name = {PEA_NAME_MEMBER, m->name};
    pea_vouch vouch = {.names = &name, .n_names = 1, .roles = m->roles, .not_before_ms = m->begins};
    vouch.not_after_ms = m->ends;
    memcpy(vouch.root, key[m->root], sizeof vouch.root);
    m->peer = peer_of(KEY);
    m->why = (pea_reason){.origin = PEA_BY_POLICY};
    const pea_candidate c = {
        .vouch = &vouch, .from = m->from, .wall_ms = m->now != 0 ? m->now : 1, .proven = true, .side = PEA_RESPONDER};
    return asked(t, &m->peer, &c, &m->why) == PEA_OK;
}

static bool named(pea_trust *t, const char *name)
{
    member m = {.name = name};
    return lets_in(t, &m);
}

/* ---- Names and roles ---- */

static void names(void **state)
{
    static const struct {
        const char *list, *name;
        bool fits;
    } rows[] = {
        {"*", "a", true},
        {"*", "a.b/c", true},
        {"db-1", "db-1", true},
        {"db-1", "db-10", false},
        {"db-1", "db-", false},
        {"db-1,web-*", "db-1", true},
        {"db-1,web-*", "web-7", true},
        {"db-1,web-*", "web-", false}, /* at least one letter */
        {"web-*", "xweb-7", false},
        {"web-*", "web-7.old", false}, /* never another part of a name */
        {"web-*", "web-7/x", false},
        {"*.mesh", "a.mesh", true},
        {"*.mesh", ".mesh", false},
        {"*.mesh", "a.b.mesh", false},
        {"*.mesh", "mesh", false},
        {"a*z", "abz", true},
        {"a*z", "az", false},
        {"a*z", "a.z", false},
        {"a*a", "a", false},
        {"a*.b", "ax.b", true},
        {"db/*", "db/1", true},
        {"db/*", "db/1/2", false},
        {"a,b,c", "c", true},
        {"a,b,c", "a,b", false},
    };
    char line[160];
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        (void)snprintf(line, sizeof line, "ROOT names=%s\n", rows[i].list);
        pea_trust *t = trust_of(line);
        member m = {.name = rows[i].name}, stranger = {.name = rows[i].name, .root = 1};
        if (lets_in(t, &m) != rows[i].fits)
            print_error("%s, %s\n", rows[i].list, rows[i].name);
        assert_int_equal(lets_in(t, &m), rows[i].fits);
        assert_string_equal(m.peer.name, rows[i].fits ? rows[i].name : "");
        assert_string_equal(m.peer.role, "");
        assert_false(lets_in(t, &stranger)); /* another root's word is nothing */
        assert_false(admits(t, KEY));        /* nor is nobody's */
        pea_trust_unref(t);
    }
}

static void roles(void **state)
{
    static const struct {
        const char *list, *says, *gets;
    } rows[] = {
        {NULL, "db", ""},
        {NULL, NULL, ""},
        {"db", NULL, ""},
        {"db", "db", "db"},
        {"db", "db,web", "db"},
        {"db", "web", ""},
        {"web,db", "db,web", "db,web"},
        {"*", "admin,db", "admin,db"},
        {"d", "db", ""},
        {"db", "d", ""},
        {"x,*", "a", "a"},
        {"db", "a,db,web", "db"},
    };
    char line[160];
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        (void)snprintf(line, sizeof line, "ROOT names=*%s%s\n", rows[i].list != NULL ? " roles=" : "",
                       rows[i].list != NULL ? rows[i].list : "");
        pea_trust *t = trust_of(line);
        member m = {.name = "a", .roles = rows[i].says};
        assert_true(lets_in(t, &m)); /* it comes without those that the root may not give */
        assert_string_equal(m.peer.role, rows[i].gets);
        pea_trust_unref(t);
    }
}

static void one_of_several_roles(void **state)
{
    static const pea_peer peer = {.role = "admin,db,web"}, one = {.role = "db"}, none = {.role = ""};
    (void)state;
    assert_true(pea_peer_has_role(&peer, "admin") && pea_peer_has_role(&peer, "db") && pea_peer_has_role(&peer, "web"));
    assert_false(pea_peer_has_role(&peer, "") || pea_peer_has_role(&peer, "d") || pea_peer_has_role(&peer, "dbx") ||
                 pea_peer_has_role(&peer, "admin,db"));
    assert_true(pea_peer_has_role(&one, "db"));
    assert_false(pea_peer_has_role(&none, "") || pea_peer_has_role(&none, "db"));
}

/* The first line that matches decides, of a root and of a key alike. */
static void the_first_line(void **state)
{
    (void)state;
    pea_trust *t = trust_of("ROOT names=web-* roles=web\nROOT names=* roles=*\n" KEY " name=late role=late\n");
    member m = {.name = "web-1", .roles = "admin,web"}, db = {.name = "db", .roles = "admin"},
           x = {.name = "x", .root = 1};
    assert_true(lets_in(t, &m));
    assert_string_equal(m.peer.role, "web");
    assert_true(lets_in(t, &db));
    assert_string_equal(db.peer.role, "admin");
    assert_true(lets_in(t, &x)); /* by its key */
    assert_string_equal(x.peer.name, "late");
    assert_string_equal(x.peer.role, "late");
    pea_trust_unref(t);
}

/* A root's Ed25519 key and the hash of an authority's key are two things, whatever their bytes. */
static void other_kinds_of_names(void **state)
{
    (void)state;
    pea_trust *t = trust_of("ROOT names=*\n");
    for (pea_name_kind kind = PEA_NAME_DNS; kind <= PEA_NAME_MEMBER; kind++) {
        const pea_name name = {kind, "a"};
        pea_vouch vouch = {.names = &name, .n_names = 1};
        pea_peer peer = peer_of(KEY);
        memcpy(vouch.root, key[0], sizeof vouch.root);
        pea_err err = asked(t, &peer, &(pea_candidate){.vouch = &vouch, .wall_ms = 1}, NULL);
        check_err(err, kind == PEA_NAME_MEMBER ? PEA_OK : PEA_E_REFUSED);
    }
    pea_trust_unref(t);
}

/* ---- Denying ---- */

static void denied(void **state)
{
    (void)state;
    pea_trust *t = trust_of("ROOT names=*\nOTHER names=*\ndeny ROOT names=web-*\n");
    assert_true(named(t, "db"));
    assert_false(named(t, "web-1"));
    member spared = {.name = "web-1", .root = 1};
    assert_true(lets_in(t, &spared));
    pea_trust_unref(t);

    t = trust_of("deny ROOT\nROOT names=*\n" KEY "\n");
    member m = {.name = "db"}, expired = {.name = "db", .now = 10, .begins = 1, .ends = 5};
    assert_false(lets_in(t, &m)); /* also one whose key a line lets in */
    assert_non_null(strstr(m.why.text, "denies"));
    assert_false(lets_in(t, &expired)); /* whatever the time */
    assert_true(admits(t, KEY));
    pea_trust_unref(t);

    t = trust_of("ROOT names=*\ndeny " KEY "\n");
    assert_false(named(t, "db"));
    pea_trust_unref(t);
}

/* ---- Time and place ---- */

static void time_and_place(void **state)
{
    pea_addr lan, wan;
    (void)state;
    check_ok(pea_addr_parse(&lan, "10.1.2.3:4", NULL));
    check_ok(pea_addr_parse(&wan, "192.0.2.1:4", NULL));
    pea_trust *t = trust_of("ROOT names=* from=10.0.0.0/8 not-after=2027-01-01T00:00:00Z\n");
    const int64_t y2027 = INT64_C(1798761600000);
    const struct {
        int64_t now, begins, ends;
        const pea_addr *from;
        bool in;
        uint16_t code;
    } rows[] = {
        {1000, 1000, 2000, &lan, true, 0},
        {1999, 1000, 2000, &lan, true, 0},
        {2000, 1000, 2000, &lan, false, PEA_CODE_EXPIRED},
        {999, 1000, 2000, &lan, false, PEA_CODE_EXPIRED},
        {1000, 1000, 2000, &wan, false, 0},
        {1000, 1000, 2000, NULL, false, 0},
        {y2027 - 1, 1000, y2027 + 1, &lan, true, 0},
        {y2027, 1000, y2027 + 1, &lan, false, PEA_CODE_EXPIRED}, /* the line's own time */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        member m = {.name = "a", .now = rows[i].now, .begins = rows[i].begins, .ends = rows[i].ends};
        m.from = rows[i].from;
        assert_int_equal(lets_in(t, &m), rows[i].in);
        assert_int_equal(m.why.code, rows[i].code);
    }
    pea_trust_unref(t);
}

static void count(void *arg)
{
    ++*(unsigned *)arg;
}

/* Whoever was let in by a certificate is judged again when that ends: tick() knows when, and says so before it is asked
 * again if that is earlier than it has said. */
static void judged_when_it_ends(void **state)
{
    unsigned changes = 0;
    pea_trust *t;
    (void)state;
    check_ok(pea_trust_new(&t));
    check_ok(pea_trust_add(t, rules("ROOT names=*"), NULL));
    const pea_policy *policy = pea_trust_policy(t);
    check_ok(policy->ops->watch(policy->self, count, &changes));
    assert_int_equal(tick(t, 100), -1);
    changes = 0;
    member late = {.name = "a", .now = 100, .begins = 1, .ends = 9000};
    member early = {.name = "b", .now = 100, .begins = 1, .ends = 5000};
    member between = {.name = "c", .now = 100, .begins = 1, .ends = 6000};
    member never = {.name = "d", .now = 100};
    assert_true(lets_in(t, &late));
    assert_int_equal(changes, 1);
    assert_int_equal(tick(t, 100), 9000);
    assert_true(lets_in(t, &early));
    assert_int_equal(changes, 2);
    assert_true(lets_in(t, &between) && lets_in(t, &never)); /* not earlier: nobody is woken */
    assert_int_equal(changes, 2);
    uint64_t generation = policy->ops->generation(policy->self);
    assert_int_equal(tick(t, 4999), 5000);
    assert_int_equal(policy->ops->generation(policy->self), generation);
    assert_int_equal(tick(t, 5000), -1);
    assert_int_not_equal(policy->ops->generation(policy->self), generation);
    assert_int_equal(changes, 3);
    early.now = between.now = late.now = 5000; /* all are judged again, and say again when */
    assert_false(lets_in(t, &early));
    assert_int_equal(early.why.code, PEA_CODE_EXPIRED);
    assert_true(lets_in(t, &late) && lets_in(t, &between));
    assert_int_equal(tick(t, 5000), 6000);
    /* The clock is set back: whoever is in says again when he ends. */
    generation = policy->ops->generation(policy->self);
    (void)tick(t, 50);
    assert_int_not_equal(policy->ops->generation(policy->self), generation);
    between.now = 50;
    assert_true(lets_in(t, &between));
    assert_int_equal(tick(t, 50), 6000);
    check_ok(policy->ops->watch(policy->self, NULL, &changes));
    pea_trust_unref(t);
}

/* ---- Lines that are none, or hardly meant ---- */

static void faults(void **state)
{
    static const struct {
        const char *text;
        uint32_t column; /* counted with ROOT's 49 bytes; 0: at the end */
        const char *says;
    } rows[] = {
        {"ROOT", 50, "names="},
        {"ROOT roles=db", 59, "names="},
        {"ROOT names=", 51, "list of names"},
        {"ROOT names=a,,b", 51, "list of names"},
        {"ROOT names=a,", 51, "list of names"},
        {"ROOT names=A", 51, "list of names"},
        {"ROOT names=a**", 51, "list of names"},
        {"ROOT names=*a*", 51, "list of names"},
        {"ROOT names=a names=b", 59, "twice"},
        {"ROOT names=a roles=", 59, "list of roles"},
        {"ROOT names=a roles=d*", 59, "list of roles"},
        {"ROOT names=a roles=d roles=e", 67, "twice"},
        {"ROOT names=a name=b", 59, "names= and roles="},
        {"ROOT names=a role=b", 59, "names= and roles="},
        {"ROOT dns:a.example", 51, "no option"},
        {"deny ROOT roles=a", 56, "denies"},
        {"root:AAAA names=*", 1, "no root's key"},
        {"root:AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= names=*", 1, "low order"},
        {KEY " names=a", 52, "root:"},
        {KEY " roles=a", 52, "root:"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        pea_trust *t;
        pea_error why = {.code = PEA_OK};
        check_ok(pea_trust_new(&t));
        check_err(pea_trust_add(t, rules(rows[i].text), &why), PEA_E_FORMAT);
        if (why.column != rows[i].column || strstr(why.text, rows[i].says) == NULL)
            print_error("%s: column %u: %s\n", rows[i].text, why.column, why.text);
        assert_int_equal(why.column, rows[i].column);
        assert_non_null(strstr(why.text, rows[i].says));
        pea_trust_unref(t);
    }
}

typedef struct hearing {
    unsigned errors, warnings;
    uint32_t line;
    char text[PEA_ERROR_TEXT_BYTES];
} hearing;

static void hear(void *arg, pea_log_level level, const pea_error *what)
{
    hearing *h = arg;
    h->errors += level == PEA_LOG_ERROR;
    h->warnings += level == PEA_LOG_WARNING;
    h->line = what->line;
    (void)snprintf(h->text, sizeof h->text, "%s", what->text);
}

static void lint(void **state)
{
    static const struct {
        const char *text;
        uint32_t line; /* of the one warning; 0: there is none */
        const char *says;
    } rows[] = {
        {"ROOT names=*\nOTHER names=*\ndeny ROOT names=web-*\n", 0, NULL},
        {"ROOT names=web-* roles=web\nROOT names=*\n", 0, NULL},
        {"ROOT names=* from=10.0.0.0/8\nROOT names=*\n", 0, NULL},
        {"ROOT names=*\nROOT names=web-* roles=web\n", 2, "line 1 says the same names"},
        {"ROOT names=a,b\nROOT names=b\n", 2, "line 1 says the same names"},
        {"ROOT names=*\ndeny ROOT\n", 1, "line 2 denies"},
        {"deny ROOT names=a\nROOT names=a\n", 2, "line 1 denies"},
        {"deny ROOT\ndeny ROOT names=a\n", 2, "line 1 says the same names"},
        {"ROOT names=* not-after=2001-01-01T00:00:00Z\n", 1, "expired"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        hearing h = {0};
        write_file("linted", rules(rows[i].text));
        check_ok(pea_trust_lint(in_folder("linted"), hear, &h));
        if (h.warnings != (rows[i].line != 0) || h.line != rows[i].line)
            print_error("%s: %u warnings, line %u: %s\n", rows[i].text, h.warnings, h.line, h.text);
        assert_int_equal(h.warnings, rows[i].line != 0);
        assert_int_equal(h.errors, 0);
        assert_int_equal(h.line, rows[i].line);
        assert_true(rows[i].says == NULL || strstr(h.text, rows[i].says) != NULL);
    }
}

/* Beside rules with files of roots: the one kind has a file to watch, the other none. */
static void taken_anew(void **state)
{
    unsigned changes = 0;
    (void)state;
    pea_trust *t = watched(rules("ROOT names=*\n"), &changes);
    assert_true(named(t, "a"));
    write_file("peers", rules("ROOT names=b\nOTHER names=a\n"));
    look_twice(t);
    assert_false(named(t, "a"));
    assert_true(named(t, "b"));
    member m = {.name = "a", .root = 1};
    assert_true(lets_in(t, &m)); /* roots rotate by two lines */
    pea_trust_unref(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(roles),
        cmocka_unit_test(one_of_several_roles),
        cmocka_unit_test(the_first_line),
        cmocka_unit_test(other_kinds_of_names),
        cmocka_unit_test(denied),
        cmocka_unit_test(time_and_place),
        cmocka_unit_test(judged_when_it_ends),
        cmocka_unit_test(faults),
        cmocka_unit_test(lint),
        cmocka_unit_test(taken_anew),
    };
    return cmocka_run_group_tests(tests, open_with_roots, remove_folder);
}
