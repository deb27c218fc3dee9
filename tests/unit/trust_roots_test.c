/* SPDX-License-Identifier: MIT */
/* `ca:` rules: whom a root's word lets in. What core would know of a certificate is passed in; how it is verified is
 * tested where TLS is. Without TLS these rules are PEA_E_UNSUPPORTED, and that is all there is to see. */
#include "support/faults.h"
#include "trust_scene.h"

static uint8_t root_id[PEA_ID_BYTES], other_id[PEA_ID_BYTES];
static bool without_tls;

static pea_err take_id(void *arg, pea_span der, const uint8_t id[PEA_ID_BYTES])
{
    (void)der;
    memcpy(arg, id, PEA_ID_BYTES);
    return PEA_OK;
}

/* Copies a certificate of the tests into the folder, and says its id. */
static void place(const char *certificate, const char *name, uint8_t id[PEA_ID_BYTES])
{
    char path[256], text[8192];
    (void)snprintf(path, sizeof path, "%s/%s", PEA_TEST_CERTS, certificate);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    size_t len = fread(text, 1, sizeof text, f);
    assert_int_equal(fclose(f), 0);
    write_bytes(name, text, len);
    pea_err err = pea__certificates_each((pea_span){(const uint8_t *)text, len}, take_id, id, NULL);
    without_tls = err == PEA_E_UNSUPPORTED;
    assert_true(without_tls || err == PEA_OK);
}

static int open_with_roots(void **state)
{
    if (open_folder(state) != 0)
        return -1;
    place("root.crt", "root.pem", root_id);
    place("other_root.crt", "other.pem", other_id);
    return 0;
}

/* Whether the key A with one verified name is let in. */
static bool vouched(pea_trust *t, const uint8_t root[PEA_ID_BYTES], const char *text, pea_peer *peer)
{
    pea_name name = {strchr(text, ':') != NULL ? PEA_NAME_URI : PEA_NAME_DNS, text};
    pea_vouch vouch = {.names = &name, .n_names = 1};
    pea_peer scratch = peer_of(A);
    memcpy(vouch.root, root, PEA_ID_BYTES);
    if (peer == NULL)
        peer = &scratch;
    *peer = peer_of(A);
    return asked(t, peer, &(pea_candidate){.vouch = &vouch, .proven = true, .wall_ms = 1}, NULL) == PEA_OK;
}

static pea_trust *loaded(const char *text)
{
    pea_trust *t;
    pea_error why = {.code = PEA_OK};
    write_file("peers", text);
    check_ok(pea_trust_new(&t));
    pea_err err = pea_trust_load(t, in_folder("peers"), &why);
    if (err != PEA_OK)
        print_error("%s\n", why.text);
    check_ok(err);
    return t;
}

static void without(void **state)
{
    pea_trust *t;
    pea_error why = {.code = PEA_OK};
    (void)state;
    if (!without_tls)
        return;
    write_file("peers", "ca:root.pem dns:a.example\n");
    check_ok(pea_trust_new(&t));
    check_err(pea_trust_load(t, in_folder("peers"), &why), PEA_E_UNSUPPORTED);
    assert_int_equal(why.line, 1);
    assert_true(why.text[0] != '\0');
    pea_trust_unref(t);
}

static void names_and_wildcards(void **state)
{
    static const struct {
        const char *pattern, *name;
        bool fits;
    } rows[] = {
        {"dns:db.mesh.example", "db.mesh.example", true},
        {"dns:db.mesh.example", "a.db.mesh.example", false},
        {"dns:db.mesh.example", "xdb.mesh.example", false},
        {"dns:db.mesh.example", "*.mesh.example", false}, /* a wildcard in a certificate lets nobody in */
        {"dns:*.mesh.example", "db.mesh.example", true},
        {"dns:*.mesh.example", "mesh.example", false},
        {"dns:*.mesh.example", ".mesh.example", false},
        {"dns:*.mesh.example", "a.b.mesh.example", false}, /* one label */
        {"dns:*.mesh.example", "*.mesh.example", false},
        {"dns:*.mesh.example", "db.mesh.example.evil.example", false},
        {"dns:db.mesh.example", "spiffe://db.mesh.example", false}, /* another kind of name */
        {"spiffe://mesh.example/db/1", "spiffe://mesh.example/db/1", true},
        {"spiffe://mesh.example/db/1", "spiffe://mesh.example/db/1/", false},
        {"spiffe://mesh.example/db/1", "spiffe://mesh.example/db/10", false},
        {"spiffe://mesh.example/db/1", "spiffe://mesh.example/DB/1", false},
        {"spiffe://mesh.example/db/*", "spiffe://mesh.example/db/1", true},
        {"spiffe://mesh.example/db/*", "spiffe://mesh.example/db/", false},
        {"spiffe://mesh.example/db/*", "spiffe://mesh.example/db", false},
        {"spiffe://mesh.example/db/*", "spiffe://mesh.example/db/1/2", false}, /* one segment */
        {"spiffe://mesh.example/*", "spiffe://mesh.example/db", true},
        {"spiffe://mesh.example/*", "spiffe://mesh.example.evil.example/db", false},
        {"spiffe://mesh.example", "spiffe://mesh.example", true},
        {"spiffe://mesh.example", "spiffe://mesh.example/db", false},
    };
    char line[160];
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0] && !without_tls; i++) {
        (void)snprintf(line, sizeof line, "ca:root.pem %s\n", rows[i].pattern);
        pea_trust *t = loaded(line);
        if (vouched(t, root_id, rows[i].name, NULL) != rows[i].fits)
            print_error("%s, %s\n", rows[i].pattern, rows[i].name);
        assert_int_equal(vouched(t, root_id, rows[i].name, NULL), rows[i].fits);
        assert_false(vouched(t, other_id, rows[i].name, NULL)); /* another root's word is nothing */
        assert_false(admits(t, A));                             /* nor is nobody's */
        pea_trust_unref(t);
    }
}

static void patterns_that_are_none(void **state)
{
    static const char *const rows[] = {
        "",
        "db.mesh.example",
        "dns:",
        "dns:*",
        "dns:*.",
        "dns:DB.mesh.example",
        "dns:a..example",
        "dns:a.*.example",
        "dns:a*.example",
        "dns:a.example.",
        "dns:a_very_long_label_of_more_than_sixty_three_bytes_which_is_no_label_any_more.example",
        "spiffe://",
        "spiffe:///db",
        "spiffe://Mesh.example/db",
        "spiffe://mesh.example/",
        "spiffe://mesh.example//db",
        "spiffe://mesh.example/../db",
        "spiffe://mesh.example/*/db",
        "spiffe://mesh.example/d*",
        "spiffe://mesh.example/d%62",
        "spiffe://*/db",
        "SPIFFE://mesh.example/db",
        "https://mesh.example/db",
        "name=db",
    };
    char line[160];
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0] && !without_tls; i++) {
        pea__rules *rules = NULL;
        pea_error why = {.code = PEA_OK};
        (void)snprintf(line, sizeof line, "ca:root.pem %s\n", rows[i]);
        check_err(pea__rules_parse(&rules, line, strlen(line), folder, NULL, NULL, 0, &why), PEA_E_FORMAT);
        assert_int_equal(why.line, 1);
        assert_int_equal(why.column, rows[i][0] != '\0' ? 13 : 12);
    }
}

/* Who is denied by name does not get in by a wildcard in his certificate that could be that name. */
static void denied_by_name(void **state)
{
    (void)state;
    if (without_tls)
        return;
    pea_trust *t = loaded(A "\ndeny ca:root.pem dns:db.mesh.example\ndeny ca:root.pem dns:*.old.example\n"
                            "deny ca:root.pem spiffe://mesh.example/old/*\n");
    assert_true(admits(t, A));
    assert_true(vouched(t, root_id, "web.mesh.example", NULL));
    assert_false(vouched(t, root_id, "db.mesh.example", NULL));
    assert_false(vouched(t, root_id, "*.mesh.example", NULL));
    assert_false(vouched(t, root_id, "x.old.example", NULL));
    assert_false(vouched(t, root_id, "*.old.example", NULL));
    assert_true(vouched(t, root_id, "*.example", NULL));
    assert_false(vouched(t, root_id, "spiffe://mesh.example/old/7", NULL));
    assert_true(vouched(t, other_id, "db.mesh.example", NULL)); /* another root's word is nothing against him either */
    pea_trust_unref(t);
}

/* By key or by name, the first line that matches counts, and the verified name is given where the line has none. */
static void what_is_given(void **state)
{
    pea_peer peer;
    (void)state;
    if (without_tls)
        return;
    pea_trust *t = loaded("ca:root.pem dns:*.mesh.example role=mesh\n" A " name=key role=key\n"
                          "ca:root.pem spiffe://mesh.example/* name=late\n");
    assert_true(vouched(t, root_id, "db.mesh.example", &peer));
    assert_string_equal(peer.name, "db.mesh.example");
    assert_string_equal(peer.role, "mesh");
    assert_true(vouched(t, root_id, "spiffe://mesh.example/x", &peer));
    assert_string_equal(peer.name, "key");
    assert_true(vouched(t, other_id, "db.mesh.example", &peer));
    assert_string_equal(peer.role, "key");
    pea_trust_unref(t);
}

/* What TLS verifies against: each root once, however many lines name it. */
static size_t roots_of(pea_trust *t)
{
    pea_buf roots = {0};
    uint64_t version;
    size_t n = 0;
    check_ok(pea__trust_roots(t, &roots, &version));
    assert_int_equal(version, pea__trust_roots_version(t));
    for (size_t at = 0; at < roots.len; n++) {
        const uint8_t *l = roots.data + at;
        at += 4 + ((size_t)l[0] << 24 | (size_t)l[1] << 16 | (size_t)l[2] << 8 | l[3]);
        assert_true(at <= roots.len);
    }
    pea_buf_free(&roots);
    return n;
}

static void each_root_once(void **state)
{
    char line[160];
    (void)state;
    if (without_tls)
        return;
    pea_trust *t = loaded("ca:root.pem dns:a.example\nca:other.pem dns:a.example\nca:root.pem dns:b.example\n"
                          "ca:root.pem dns:c.example\n");
    assert_int_equal(roots_of(t), 2);
    assert_true(vouched(t, root_id, "c.example", NULL) && vouched(t, other_id, "a.example", NULL));
    assert_false(vouched(t, other_id, "c.example", NULL));
    pea_trust_unref(t);
    check_ok(pea_trust_new(&t));
    (void)snprintf(line, sizeof line, "ca:%s dns:a.example", in_folder("root.pem"));
    for (int i = 0; i < 3; i++)
        check_ok(pea_trust_add(t, line, NULL));
    assert_int_equal(roots_of(t), 1);
    uint64_t version = pea__trust_roots_version(t);
    check_ok(pea_trust_add(t, line, NULL));
    check_ok(pea_trust_add(t, B, NULL));
    assert_int_equal(pea__trust_roots_version(t), version); /* TLS need not parse them anew */
    pea_trust_unref(t);
}

/* Roots are watched like the file that names them; one that comes late is waited for. */
static void roots_that_change(void **state)
{
    unsigned changes;
    uint8_t id[PEA_ID_BYTES];
    (void)state;
    if (without_tls)
        return;
    place("root.crt", "turning.pem", id);
    pea_trust *t = watched("ca:turning.pem dns:a.example\n", &changes);
    uint64_t version = pea__trust_roots_version(t);
    assert_true(vouched(t, root_id, "a.example", NULL));
    place("other_root.crt", "turning.pem", id);
    look_twice(t);
    assert_true(pea__trust_roots_version(t) > version);
    assert_true(!vouched(t, root_id, "a.example", NULL) && vouched(t, other_id, "a.example", NULL));
    write_file("turning.pem", "-----BEGIN CERTIFICATE-----\n");
    n_said = 0;
    look_twice(t);
    assert_non_null(strstr(said, "turning.pem"));
    assert_true(vouched(t, other_id, "a.example", NULL));

    write_file("peers", "ca:late.pem dns:a.example\n");
    look_on(t, 60);
    assert_non_null(strstr(said, "late.pem"));
    assert_int_equal(n_said, 2);
    assert_true(vouched(t, other_id, "a.example", NULL));
    write_file("late.pem", "no certificate yet\n");
    look_on(t, 60);
    assert_int_equal(n_said, 3);
    place("root.crt", "late.pem", id);
    set_mode("late.pem", 0666);
    look_on(t, 60);
    assert_non_null(strstr(said, "chmod go-w"));
    set_mode("late.pem", 0600);
    look_on(t, 30);
    assert_true(vouched(t, root_id, "a.example", NULL) && !vouched(t, other_id, "a.example", NULL));
    pea_trust_unref(t);
}

/* A line that was not taken leaves no root behind. */
static void no_memory(void **state)
{
    char line[160];
    bool hit = !without_tls;
    (void)state;
    (void)snprintf(line, sizeof line, "ca:%s dns:a.example", in_folder("root.pem"));
    for (size_t nth = 0; hit; nth++) {
        pea_trust *t;
        check_ok(pea_trust_new(&t));
        faults_arm(nth);
        pea_err err = pea_trust_add(t, line, NULL);
        hit = faults_disarm();
        assert_true(err == PEA_OK || hit);
        assert_int_equal(roots_of(t), err == PEA_OK);
        assert_int_equal(vouched(t, root_id, "a.example", NULL), err == PEA_OK);
        pea_trust_unref(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without),        cmocka_unit_test(names_and_wildcards),
        cmocka_unit_test(denied_by_name), cmocka_unit_test(patterns_that_are_none),
        cmocka_unit_test(what_is_given),  cmocka_unit_test(each_root_once),
        cmocka_unit_test(no_memory),      cmocka_unit_test(roots_that_change),
    };
    faults_install();
    return cmocka_run_group_tests_name("rules by name", tests, open_with_roots, remove_folder);
}
