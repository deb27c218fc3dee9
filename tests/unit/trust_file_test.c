/* SPDX-License-Identifier: MIT */
/* authorized_peers files: what they may say and where they are wrong, and whom their rules match. Files that change are
 * trust_reload_test.c's business, rules by name trust_roots_test.c's. Time is passed in, so that nothing here waits. */
#include "support/faults.h"
#include "trust_scene.h"

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
        {A " name=a=\"b\"\n", 1, 85, "whole value"},
        {"noise:3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=\"\"\n", 1, 51, "whole value"},
        {"\"" A "\"\n", 1, 1, "whole value"},
        {"# a comment\rdeny " A "\n" A "\n", 1, 0, "carriage return"}, /* some editors show two lines */
        {"# \xFF\n" A "\n", 1, 0, "UTF-8"},
        {A "\nnobody\n", 2, 0, "line 1 admits somebody"},
        {"nobody\ndeny " B "\n" A "\n", 1, 0, "line 3 admits somebody"},
        {"nobody else\n", 1, 1, ""},
        {"deny deny " A "\n", 1, 6, ""},
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

/* A zero byte ends nothing early: what lies behind it is not lost. */
static void zero_bytes(void **state)
{
    static const char rule[] = A "\0 from=10.0.0.0/8\n", comment[] = "# \0\ndeny " A "\n";
    pea__rules *rules = NULL;
    pea_error why = {.code = PEA_OK};
    (void)state;
    check_err(pea__rules_parse(&rules, rule, sizeof rule - 1, "", NULL, NULL, 0, &why), PEA_E_FORMAT);
    assert_non_null(strstr(why.text, "zero byte"));
    check_err(pea__rules_parse(&rules, comment, sizeof comment - 1, "", NULL, NULL, 0, &why), PEA_E_FORMAT);
    assert_non_null(strstr(why.text, "zero byte"));
}

/* Cut anywhere, a good file is either refused, or cut at a line's end and then says what its lines say. */
static void every_prefix(void **state)
{
    static const char text[] =
        "# who may come\n" A " name=alice role=admin from=10.0.0.0/8,::1 not-after=2027-01-01T00:00:00Z\n"
        "\n   " B "\tname=\"bob the second\"  # is no comment\n";
    static const char good[] =
        "# who may come\n" A " name=alice role=admin from=10.0.0.0/8,::1 not-after=2027-01-01T00:00:00Z\n"
        "\n   deny " B " \t\n # end\n";
    pea__rules *rules = NULL;
    (void)state;
    check_err(pea__rules_parse(&rules, text, strlen(text), "", NULL, NULL, 0, NULL), PEA_E_FORMAT);
    for (size_t len = 0; len <= strlen(good); len++) {
        rules = NULL;
        pea_err err = pea__rules_parse(&rules, good, len, "", NULL, NULL, 0, NULL);
        bool whole = len > 15 && good[len - 1] == '\n';
        assert_int_equal(err == PEA_OK, whole);
        if (err == PEA_OK)
            assert_int_equal(rules->n, len > strlen(good) - 9 ? 2 : 1);
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

/* A rule that denies holds also where nobody knows the place, but not at other times. */
static void denied_for_a_time(void **state)
{
    pea_trust *t;
    pea_addr lan;
    pea_peer peer = peer_of(A);
    (void)state;
    check_ok(pea_addr_parse(&lan, "10.1.2.3:4", NULL));
    check_ok(pea_trust_new(&t));
    check_ok(pea_trust_add(t, A, NULL));
    check_ok(pea_trust_add(t, "deny " A " from=10.0.0.0/8 not-after=2026-01-01T00:00:00Z", NULL));
    check_err(asked(t, &peer, &(pea_candidate){.wall_ms = 1}, NULL), PEA_E_REFUSED);
    check_err(asked(t, &peer, &(pea_candidate){.wall_ms = 1, .from = &lan}, NULL), PEA_E_REFUSED);
    check_ok(asked(t, &peer, &(pea_candidate){.wall_ms = INT64_C(1767225600000), .from = &lan}, NULL));
    check_ok(asked(t, &peer, &(pea_candidate){.wall_ms = INT64_C(1767225600000)}, NULL));
    pea_trust_unref(t);
}

static pea_err say_yes(void *arg, pea_peer *peer, const pea_candidate *candidate)
{
    (void)peer;
    (void)candidate;
    ++*(unsigned *)arg;
    return PEA_OK;
}

/* Nobody is asked about a peer that a rule names for other times or places. */
static void the_rule_has_answered(void **state)
{
    unsigned calls = 0;
    pea_trust *t;
    pea_reason why = {.origin = PEA_BY_POLICY};
    pea_peer a = peer_of(A), b = peer_of(B), c = peer_of(C);
    (void)state;
    check_ok(pea_trust_new(&t));
    pea_trust_ask(t, say_yes, &calls);
    check_ok(pea_trust_add(t, A " not-after=1970-01-01T00:00:00Z", NULL));
    check_ok(pea_trust_add(t, B " from=10.0.0.0/8", NULL));
    check_err(asked(t, &a, &(pea_candidate){.wall_ms = 1}, &why), PEA_E_REFUSED);
    assert_int_equal(why.code, PEA_CODE_EXPIRED);
    why.code = 0;
    check_err(asked(t, &b, &(pea_candidate){.wall_ms = 1}, &why), PEA_E_REFUSED);
    assert_int_equal(why.code, 0);
    assert_int_equal(calls, 0);
    check_ok(asked(t, &c, &(pea_candidate){.wall_ms = 1}, NULL));
    assert_int_equal(calls, 1);
    pea_trust_any(t); /* says more than all rules but those that deny */
    check_ok(asked(t, &a, &(pea_candidate){.wall_ms = 1}, NULL));
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
    check_err(pea_trust_add(t, "", &why), PEA_E_FORMAT);
    assert_int_equal(why.column, 1);
    check_err(pea_trust_add(t, " \t", &why), PEA_E_FORMAT);
    assert_int_equal(why.column, 3);
    check_err(pea_trust_add(t, "# " A, &why), PEA_E_FORMAT);
    check_err(pea_trust_add(t, "nobody", &why), PEA_E_FORMAT);
    check_err(pea_trust_add(t, A " name=\xFF", &why), PEA_E_FORMAT);
    check_err(pea_trust_add(t, A " name=a\r", &why), PEA_E_FORMAT);
    assert_false(admits(t, A));
    check_ok(pea_trust_add(t, A, NULL));
    assert_true(admits(t, A));
    check_ok(pea_trust_add(t, "deny " A, NULL));
    assert_false(admits(t, A));
    pea_trust_unref(t);
}

/* ---- Files ---- */

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

/* A file is read on the loop's thread: its keys cost no multiplication, and the same key many times no walk each. */
static void a_long_file_is_read_quickly(void **state)
{
    enum { N = 100000 };
    size_t room = (size_t)N * 80 + 1, len = 0;
    char *text = malloc(room);
    pea__rules *rules = NULL;
    uint64_t before = atomic_load(&pea__x25519_count);
    (void)state;
    assert_non_null(text);
    for (unsigned i = 0; i < N; i++)
        len +=
            (size_t)snprintf(text + len, room - len, "noise:3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08= role=%u\n", i);
    check_ok(pea__rules_parse(&rules, text, len, "", NULL, NULL, 0, NULL));
    assert_int_equal(rules->n, N);
    assert_int_equal(atomic_load(&pea__x25519_count), before);
    const pea__rule *r = rules->list[0];
    for (unsigned i = 0; i < N; i++, r = r->next)
        assert_int_equal(r->line, i + 1);
    assert_null(r);
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
    f = (findings){.errors = 0};
    check_err(pea_trust_lint(in_folder("none"), found, &f), PEA_E_SYS);
    assert_int_equal(f.errors, 1);
    size_t blocks = faults_blocks();
    write_file("peers", A "\n");
    check_ok(pea_trust_lint(in_folder("peers"), found, &f));
    check_ok(pea_trust_lint(in_folder("peers"), NULL, NULL)); /* only whether it could be loaded */
    assert_int_equal(faults_blocks(), blocks);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(faults_of_a_line),
        cmocka_unit_test(zero_bytes),
        cmocka_unit_test(every_prefix),
        cmocka_unit_test(first_line_counts),
        cmocka_unit_test(times),
        cmocka_unit_test(denied_for_a_time),
        cmocka_unit_test(the_rule_has_answered),
        cmocka_unit_test(lines_by_call),
        cmocka_unit_test(safe_files_only),
        cmocka_unit_test(a_hundred_thousand),
        cmocka_unit_test(a_long_file_is_read_quickly),
        cmocka_unit_test(lint),
        cmocka_unit_test(no_memory),
    };
    faults_install();
    return cmocka_run_group_tests(tests, open_folder, remove_folder);
}
