/* SPDX-License-Identifier: MIT */
/* authorized_peers files: what they may say and where they are wrong, whom their rules match, and files that change
 * under a policy that is in use. Time is passed in, so that nothing here waits. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "policy_priv.h"
#include "rules_priv.h"
#include "support/check.h"
#include "support/faults.h"

#define A "spki:sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "spki:sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static char folder[64];

static const char *in_folder(const char *name)
{
    static char path[2][128];
    static unsigned turn;
    turn = 1 - turn;
    (void)snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

static void write_file(const char *name, const char *text)
{
    FILE *f = fopen(in_folder(name), "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(in_folder(name), 0644), 0);
}

static pea_peer peer_of(const char *text)
{
    pea_peer peer;
    check_ok(pea_peer_parse(&peer, text, NULL));
    return peer;
}

static pea_err asked(pea_trust *t, pea_peer *peer, const pea_candidate *c, pea_reason *why)
{
    const pea_policy *policy = pea_trust_policy(t);
    pea_reason scratch = {.origin = PEA_BY_POLICY};
    return policy->ops->check(policy->self, peer, c, why != NULL ? why : &scratch);
}

static bool admits(pea_trust *t, const char *who)
{
    pea_peer peer = peer_of(who);
    return asked(t, &peer, &(pea_candidate){.proven = true, .wall_ms = 1}, NULL) == PEA_OK;
}

static int64_t tick(pea_trust *t, int64_t now)
{
    const pea_policy *policy = pea_trust_policy(t);
    return policy->ops->tick(policy->self, now);
}

/* ---- What is written ---- */

static void faults_of_a_line(void **state)
{
    static const struct {
        const char *text;
        uint32_t line, column;
        const char *says;
    } rows[] = {
        {"", 0, 0, "no rule"},
        {"# nothing\n\n", 0, 0, "no rule"},
        {A, 1, 0, "newline"},
        {A "\n" B, 2, 0, "cut short"},
        {A "\r\n", 1, 0, "CR LF"},
        {"\xEF\xBB\xBF" A "\n", 1, 0, "byte order mark"},
        {A " name=\xFF\n", 1, 0, "UTF-8"},
        {"noise:\n", 1, 1, ""},
        {"noise:AAAA\n", 1, 1, ""},
        {"noise:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n", 1, 1, ""}, /* of low order */
        {"spki:sha256:12\n", 1, 1, ""},
        {"spki:md5:12\n", 1, 1, ""},
        {"alice\n", 1, 1, ""},
        {"\n\n  allow " A "\n", 3, 3, ""},
        {"deny\n", 1, 5, "after \"deny\""},
        {A " nmae=x\n", 1, 78, "no such option"},
        {A " admin\n", 1, 78, "no option"},
        {A " name=\n", 1, 78, "no value"},
        {A " name=a name=b\n", 1, 85, "twice"},
        {A " role=a role=b\n", 1, 85, "twice"},
        {A " name=\"two words\n", 1, 83, "not closed"},
        {A " name=a\"b\n", 1, 84, "whole value"},
        {A " name=\"a\"b\n", 1, 85, "whole value"},
        {A " from=10.0.0.1/8\n", 1, 78, "is 10.0.0.0/8 meant?"},
        {A " from=10.0.0.0/8,\n", 1, 78, "not an IP address"},
        {A " from=10.0.0.0/8 from=::1\n", 1, 94, "twice"},
        {A " not-after=tomorrow\n", 1, 78, "2027-01-01T00:00:00Z"},
        {A " not-after=2027-02-29T00:00:00Z\n", 1, 78, "no time"},
        {A " not-after=2027-01-01T24:00:00Z\n", 1, 78, "no time"},
        {A " not-after=2027-01-01T00:00:00\n", 1, 78, "no time"},
        {A " not-after=2027-01-01 00:00:00Z\n", 1, 78, "no time"},
        {A " not-before=2027-01-01T00:00:00Z not-after=2026-01-01T00:00:00Z\n", 1, 1, "never hold"},
        {"deny " A " role=admin\n", 1, 83, "denies"},
        {"ca: dns:a.example\n", 1, 1, "no file"},
        {"ca:missing.pem dns:a.example\n", 1, 1, "missing.pem"},
        {A "\n" B " rolle=x\n" A "\n", 2, 78, "no such option"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        pea__rules *rules = NULL;
        pea_error why = {.code = PEA_OK};
        pea_err err = pea__rules_parse(&rules, rows[i].text, strlen(rows[i].text), folder, NULL, NULL, 0, &why);
        if (err == PEA_OK || why.line != rows[i].line || why.column != rows[i].column ||
            strstr(why.text, rows[i].says) == NULL)
            print_error("row %zu: %u:%u: %s\n", i, why.line, why.column, why.text);
        assert_true(err < 0);
        assert_int_equal(why.code, err);
        assert_int_equal(why.line, rows[i].line);
        assert_int_equal(why.column, rows[i].column);
        assert_non_null(strstr(why.text, rows[i].says));
        assert_true(why.text[0] != '\0');
        assert_null(rules);
    }
}

/* Cut anywhere, a good file is either refused, or cut at a line's end and then says what its lines say. */
static void every_prefix(void **state)
{
    static const char text[] =
        "# who may come\n" A " name=alice role=admin from=10.0.0.0/8,::1 not-after=2027-01-01T00:00:00Z\n"
        "\n   " B "\tname=\"bob the second\"  # is no comment\n";
    static const char good[] =
        "# who may come\n" A " name=alice role=admin from=10.0.0.0/8,::1 not-after=2027-01-01T00:00:00Z\n"
        "\n   deny " B "\nnobody\n";
    pea__rules *rules = NULL;
    (void)state;
    check_err(pea__rules_parse(&rules, text, strlen(text), "", NULL, NULL, 0, NULL), PEA_E_FORMAT);
    for (size_t len = 0; len <= strlen(good); len++) {
        rules = NULL;
        pea_err err = pea__rules_parse(&rules, good, len, "", NULL, NULL, 0, NULL);
        bool whole = len > 15 && good[len - 1] == '\n';
        assert_int_equal(err == PEA_OK, whole);
        if (err == PEA_OK)
            assert_int_equal(rules->n, len == strlen(good) || len > strlen(good) - 8 ? 2 : 1);
        pea__rules_free(rules);
    }
}

/* ---- Whom it matches ---- */

static void first_line_counts(void **state)
{
    pea_trust *t;
    pea_peer peer = peer_of(A);
    pea_addr lan, wan;
    (void)state;
    check_ok(pea_addr_parse(&lan, "10.1.2.3:4", NULL));
    check_ok(pea_addr_parse(&wan, "192.0.2.1:4", NULL));
    write_file("peers", A " name=alice role=admin from=10.0.0.0/8\n" A " name=\"alice abroad\"\n" A " name=never\n" B
                          "\ndeny " B " from=192.0.2.0/24\n");
    check_ok(pea_trust_new(&t));
    check_ok(pea_trust_load(t, in_folder("peers"), NULL));
    check_ok(asked(t, &peer, &(pea_candidate){.from = &lan, .wall_ms = 1}, NULL));
    assert_string_equal(peer.name, "alice");
    assert_string_equal(peer.role, "admin");
    check_ok(asked(t, &peer, &(pea_candidate){.from = &wan, .wall_ms = 1}, NULL));
    assert_string_equal(peer.name, "alice abroad");
    assert_string_equal(peer.role, "");
    peer = peer_of(B);
    check_ok(asked(t, &peer, &(pea_candidate){.from = &lan, .wall_ms = 1}, NULL));
    check_err(asked(t, &peer, &(pea_candidate){.from = &wan, .wall_ms = 1}, NULL),
              PEA_E_REFUSED);                                                        /* deny wins anywhere */
    check_err(asked(t, &peer, &(pea_candidate){.wall_ms = 1}, NULL), PEA_E_REFUSED); /* also where nobody knows */
    check_err(pea_trust_load(t, in_folder("peers"), NULL), PEA_E_EXISTS);
    pea_trust_unref(t);
}

static void times(void **state)
{
    const int64_t y2026 = INT64_C(1767225600000), y2027 = INT64_C(1798761600000);
    pea_trust *t;
    pea_reason why = {.origin = PEA_BY_POLICY};
    pea_peer peer = peer_of(A);
    (void)state;
    check_ok(pea_trust_new(&t));
    check_ok(pea_trust_add(t, A " not-before=2026-01-01T00:00:00Z not-after=2027-01-01T00:00:00Z", NULL));
    check_err(asked(t, &peer, &(pea_candidate){.wall_ms = y2026 - 1}, NULL), PEA_E_REFUSED);
    check_ok(asked(t, &peer, &(pea_candidate){.wall_ms = y2026}, NULL));
    check_ok(asked(t, &peer, &(pea_candidate){.wall_ms = y2027 - 1}, NULL));
    check_err(asked(t, &peer, &(pea_candidate){.wall_ms = y2027}, &why), PEA_E_REFUSED);
    assert_int_equal(why.code, PEA_CODE_EXPIRED);
    /* The policy asks to be asked at the edges, and changes there. */
    const pea_policy *policy = pea_trust_policy(t);
    assert_int_equal(tick(t, y2026 - 1000), y2026);
    uint64_t before = pea__policy_generation(policy);
    assert_int_equal(tick(t, y2026 - 1), y2026);
    assert_int_equal(pea__policy_generation(policy), before);
    assert_int_equal(tick(t, y2026 + 5), y2027); /* a little late */
    assert_true(pea__policy_generation(policy) > before);
    before = pea__policy_generation(policy);
    assert_int_equal(tick(t, y2027), -1);
    assert_true(pea__policy_generation(policy) > before);
    pea_trust_unref(t);
}

static void lines_by_call(void **state)
{
    pea_trust *t;
    pea_error why = {.code = PEA_OK};
    (void)state;
    check_ok(pea_trust_new(&t));
    check_err(pea_trust_add(t, A " naem=x", &why), PEA_E_FORMAT);
    assert_int_equal(why.column, 78);
    check_err(pea_trust_add(t, A "\n" B, &why), PEA_E_FORMAT);
    assert_false(admits(t, A));
    check_ok(pea_trust_add(t, A, NULL));
    assert_true(admits(t, A));
    check_ok(pea_trust_add(t, "deny " A, NULL));
    assert_false(admits(t, A));
    pea_trust_unref(t);
}

/* ---- Files that change ---- */

static char said[512];
static unsigned n_said;

static void on_log(const pea_log_line *line, void *arg)
{
    (void)arg;
    n_said++;
    (void)snprintf(said, sizeof said, "%s", line->text);
}

static void count(void *arg)
{
    ++*(unsigned *)arg;
}

/* Two looks that agree. */
static void look_twice(pea_trust *t)
{
    (void)tick(t, 1000);
    (void)tick(t, 1250);
}

static pea_trust *watched(const char *text, unsigned *changes)
{
    pea_trust *t;
    *changes = n_said = 0;
    write_file("peers", text);
    check_ok(pea_trust_new(&t));
    pea_trust_log(t, on_log, NULL);
    check_ok(pea_trust_load(t, in_folder("peers"), NULL));
    const pea_policy *policy = pea_trust_policy(t);
    check_ok(policy->ops->watch(policy->self, count, changes));
    assert_int_equal(tick(t, 500), 750);
    *changes = 0;
    return t;
}

static void a_change_is_taken_when_it_rests(void **state)
{
    unsigned changes;
    pea_trust *t = watched(A "\n", &changes);
    (void)state;
    look_twice(t);
    assert_int_equal(changes + n_said, 0); /* nothing happened */
    write_file("peers", B "\n#\n");
    (void)tick(t, 2000);
    assert_true(admits(t, A) && !admits(t, B)); /* it may not be whole yet */
    (void)tick(t, 2010);                        /* somebody else's runtime looks as well */
    assert_true(admits(t, A) && !admits(t, B));
    (void)tick(t, 2250);
    assert_true(!admits(t, A) && admits(t, B));
    assert_true(changes >= 1);
    assert_non_null(strstr(said, "taken anew"));
    pea_trust_unref(t);
}

static void a_bad_file_changes_nothing(void **state)
{
    static const char *const bad[] = {"", "# all gone\n", A, A " naem=x\n", "garbage\n"};
    unsigned changes;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        pea_trust *t = watched(A "\n" B "\n", &changes);
        write_file("peers", bad[i]);
        look_twice(t);
        look_twice(t);
        assert_true(admits(t, A) && admits(t, B));
        assert_int_equal(changes, 0);
        assert_int_equal(n_said, 1); /* once, not at each look */
        assert_non_null(strstr(said, "stay as they were"));
        check_err(pea_trust_reload(t, NULL), PEA_E_FORMAT);
        assert_int_equal(unlink(in_folder("peers")), 0);
        look_twice(t);
        assert_true(admits(t, A));
        assert_int_equal(n_said, 2);
        write_file("peers", B "\n");
        look_twice(t);
        assert_true(!admits(t, A) && admits(t, B));
        assert_int_equal(chmod(in_folder("peers"), 0666), 0); /* anybody could say whom to trust */
        look_twice(t);
        assert_non_null(strstr(said, "chmod go-w"));
        pea_trust_unref(t);
    }
}

/* As Kubernetes does it: the file is a link to a link to a folder, and the second link is turned. */
static void a_link_is_turned(void **state)
{
    unsigned changes;
    (void)state;
    (void)unlink(in_folder("peers"));
    assert_int_equal(mkdir(in_folder("one"), 0755) + mkdir(in_folder("two"), 0755), 0);
    write_file("one/peers", A "\n");
    write_file("two/peers", B "\n");
    assert_int_equal(symlink("one", in_folder("data")), 0);
    assert_int_equal(symlink("data/peers", in_folder("linked")), 0);
    pea_trust *t = watched(A "\n", &changes);
    check_ok(pea_trust_load(t, in_folder("linked"), NULL));
    (void)tick(t, 1);
    check_ok(pea_trust_deny(t, &(pea_peer){.kind = PEA_PEER_OTHER}, NULL)); /* calls are beside files */
    assert_false(admits(t, B));
    assert_int_equal(symlink("two", in_folder("data.new")), 0);
    assert_int_equal(rename(in_folder("data.new"), in_folder("data")), 0);
    look_twice(t);
    assert_true(admits(t, A) && admits(t, B));
    pea_trust_unref(t);
}

static void safe_files_only(void **state)
{
    pea_trust *t;
    pea_error why = {.code = PEA_OK};
    (void)state;
    check_ok(pea_trust_new(&t));
    write_file("peers", A "\n");
    assert_int_equal(chmod(in_folder("peers"), 0664), 0);
    check_err(pea_trust_load(t, in_folder("peers"), &why), PEA_E_PERMISSION);
    assert_non_null(strstr(why.text, "chmod go-w"));
    check_err(pea_trust_load(t, folder, &why), PEA_E_PERMISSION);
    check_err(pea_trust_load(t, in_folder("none"), &why), PEA_E_SYS);
    assert_int_equal(mkfifo(in_folder("fifo"), 0600), 0);
    check_err(pea_trust_load(t, in_folder("fifo"), &why), PEA_E_PERMISSION); /* and it does not hang */
    if (geteuid() == 0) {
        assert_int_equal(chmod(in_folder("peers"), 0644) + chown(in_folder("peers"), 12345, 0), 0);
        check_err(pea_trust_load(t, in_folder("peers"), &why), PEA_E_PERMISSION);
        assert_non_null(strstr(why.text, "12345"));
        (void)unlink(in_folder("peers"));
    }
    pea_trust_unref(t);
}

static void a_hundred_thousand(void **state)
{
    enum { N = 100000 };
    size_t room = (size_t)N * 80 + 1, len = 0;
    char *text = malloc(room);
    pea__rules *rules = NULL;
    (void)state;
    assert_non_null(text);
    for (unsigned i = 0; i < N; i++)
        len += (size_t)snprintf(text + len, room - len, "spki:sha256:%064x\n", i);
    check_ok(pea__rules_parse(&rules, text, len, "", NULL, NULL, 0, NULL));
    assert_int_equal(rules->n, N);
    for (unsigned i = 0; i < N; i += 997) {
        pea_peer peer = {.kind = PEA_PEER_SPKI};
        peer.id[31] = (uint8_t)i, peer.id[30] = (uint8_t)(i >> 8), peer.id[29] = (uint8_t)(i >> 16);
        assert_int_equal(pea__rules_find(rules, &peer)->line, i + 1);
    }
    pea__rules_free(rules);
    free(text);
}

typedef struct findings {
    unsigned errors, warnings;
    char text[2048];
} findings;

static void found(void *arg, pea_log_level level, const pea_error *what)
{
    findings *f = arg;
    size_t len = strlen(f->text);
    f->errors += level == PEA_LOG_ERROR;
    f->warnings += level == PEA_LOG_WARNING;
    (void)snprintf(f->text + len, sizeof f->text - len, "%u: %s\n", what->line, what->text);
}

static void lint(void **state)
{
    findings f = {.errors = 0};
    (void)state;
    write_file("peers", A "\n" A " role=x\n" B " not-after=2001-01-01T00:00:00Z\ndeny " B "\nwhat\n" A " name=\n");
    check_err(pea_trust_lint(in_folder("peers"), found, &f), PEA_E_FORMAT);
    assert_int_equal(f.errors, 2);
    assert_int_equal(f.warnings, 3);
    assert_non_null(strstr(f.text, "2: this rule is idle: line 1"));
    assert_non_null(strstr(f.text, "3: this rule has expired"));
    assert_non_null(strstr(f.text, "3: this rule is idle: line 4 denies"));
}

/* ---- Trust on first use ---- */

static pea_err dial(pea_trust *t, const char *name, const char *who, bool proven, pea_reason *why)
{
    pea_peer peer = peer_of(who);
    return asked(t, &peer, &(pea_candidate){.side = PEA_INITIATOR, .dialled = name, .proven = proven, .wall_ms = 1},
                 why);
}

static void first_use(void **state)
{
    pea_trust *t;
    pea_reason why = {.origin = PEA_BY_POLICY};
    struct stat st;
    (void)state;
    (void)unlink(in_folder("known"));
    check_ok(pea_trust_new(&t));
    pea_trust_log(t, on_log, NULL);
    check_err(dial(t, "db.example", A, true, NULL), PEA_E_REFUSED);
    check_ok(pea_trust_first_use(t, in_folder("known"), NULL));
    check_err(pea_trust_first_use(t, in_folder("known"), NULL), PEA_E_EXISTS);
    assert_int_equal(stat(in_folder("known"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    check_ok(dial(t, "db.example", B, false, NULL)); /* only shown: not remembered */
    check_ok(dial(t, "db.example", A, true, NULL));
    check_ok(dial(t, "db.example", A, true, NULL));
    n_said = 0;
    check_err(dial(t, "db.example", B, false, &why), PEA_E_REFUSED); /* a changed key, loudly */
    assert_non_null(strstr(why.text, "HAS CHANGED"));
    assert_int_equal(n_said, 1);
    assert_non_null(strstr(said, "db.example"));
    check_ok(dial(t, "192.0.2.1:443", B, true, NULL));
    check_ok(pea_trust_deny(t, &(pea_peer){.kind = PEA_PEER_OTHER}, NULL));
    pea_peer denied = peer_of(A);
    check_ok(pea_trust_deny(t, &denied, NULL));
    check_err(dial(t, "db.example", A, true, NULL), PEA_E_REFUSED); /* deny wins */
    pea_peer inbound = peer_of(B);
    check_err(asked(t, &inbound, &(pea_candidate){.side = PEA_RESPONDER, .proven = true, .wall_ms = 1}, NULL),
              PEA_E_REFUSED); /* whoever comes is nobody's first use */
    pea_trust_unref(t);
    check_ok(pea_trust_new(&t)); /* another process, later */
    check_ok(pea_trust_first_use(t, in_folder("known"), NULL));
    check_err(dial(t, "db.example", B, true, NULL), PEA_E_REFUSED);
    check_ok(dial(t, "192.0.2.1:443", B, true, NULL));
    assert_int_equal(unlink(in_folder("known")), 0);
    check_err(dial(t, "new.example", B, true, &why), PEA_E_REFUSED); /* what cannot be remembered is not let in */
    pea_trust_unref(t);
    write_file("known", "db.example nonsense\n");
    check_ok(pea_trust_new(&t));
    pea_error error = {.code = PEA_OK};
    check_err(pea_trust_first_use(t, in_folder("known"), &error), PEA_E_FORMAT);
    assert_non_null(strstr(error.text, "known:1:"));
    pea_trust_unref(t);
}

/* Two processes with one file: what one has learnt counts for the other at once. */
static void shared_file(void **state)
{
    pea_trust *one, *two;
    (void)state;
    (void)unlink(in_folder("known"));
    check_ok(pea_trust_new(&one));
    check_ok(pea_trust_new(&two));
    check_ok(pea_trust_first_use(one, in_folder("known"), NULL));
    check_ok(pea_trust_first_use(two, in_folder("known"), NULL));
    check_ok(dial(one, "a.example", A, true, NULL));
    check_err(dial(two, "a.example", B, true, NULL), PEA_E_REFUSED);
    check_ok(dial(two, "b.example", B, true, NULL));
    check_ok(dial(one, "b.example", B, true, NULL));
    pea_trust_unref(one);
    pea_trust_unref(two);
}

static void no_memory(void **state)
{
    size_t blocks = faults_blocks();
    bool hit = true;
    (void)state;
    write_file("peers", A " name=a from=::1\n" B "\n");
    for (size_t nth = 0; hit; nth++) {
        pea_trust *t = NULL;
        faults_arm(nth);
        pea_err err = pea_trust_new(&t);
        if (err == PEA_OK)
            err = pea_trust_load(t, in_folder("peers"), NULL);
        if (err == PEA_OK)
            err = pea_trust_add(t, A, NULL);
        hit = faults_disarm();
        check_err(err, hit ? PEA_E_NOMEM : PEA_OK);
        pea_trust_unref(t);
        assert_int_equal(faults_blocks(), blocks);
    }
}

static int open_folder(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/peapod-trust-XXXXXX");
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static int remove_folder(void **state)
{
    static const char *const names[] = {"peers", "linked", "data",  "one/peers", "two/peers",
                                        "one",   "two",    "known", "fifo"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        (void)remove(in_folder(names[i]));
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(faults_of_a_line),
        cmocka_unit_test(every_prefix),
        cmocka_unit_test(first_line_counts),
        cmocka_unit_test(times),
        cmocka_unit_test(lines_by_call),
        cmocka_unit_test(a_change_is_taken_when_it_rests),
        cmocka_unit_test(a_bad_file_changes_nothing),
        cmocka_unit_test(a_link_is_turned),
        cmocka_unit_test(safe_files_only),
        cmocka_unit_test(a_hundred_thousand),
        cmocka_unit_test(lint),
        cmocka_unit_test(first_use),
        cmocka_unit_test(shared_file),
        cmocka_unit_test(no_memory),
    };
    faults_install();
    return cmocka_run_group_tests(tests, open_folder, remove_folder);
}
