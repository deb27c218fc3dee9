/* SPDX-License-Identifier: MIT */
/* Trust on first use: names that were dialled, the keys that answered, and the file that remembers them. */
#include <sys/file.h>

#include "support/faults.h"
#include "trust_scene.h"

static pea_err dial(pea_trust *t, const char *name, const char *who, bool proven, pea_reason *why)
{
    pea_peer peer = peer_of(who);
    return asked(t, &peer, &(pea_candidate){.side = PEA_INITIATOR, .dialled = name, .proven = proven, .wall_ms = 1},
                 why);
}

/* A trust over the file "known", which says `text`; NULL: there is none. */
static pea_trust *knowing(const char *text)
{
    pea_trust *t;
    (void)unlink(in_folder("known"));
    if (text != NULL)
        write_file("known", text);
    check_ok(pea_trust_new(&t));
    pea_trust_log(t, on_log, NULL);
    check_ok(pea_trust_first_use(t, in_folder("known"), NULL));
    n_said = 0;
    said[0] = '\0';
    return t;
}

static size_t known_bytes(void)
{
    struct stat st;
    assert_int_equal(stat(in_folder("known"), &st), 0);
    return (size_t)st.st_size;
}

static void first_use(void **state)
{
    pea_trust *t;
    pea_reason why = {.origin = PEA_BY_POLICY};
    struct stat st;
    (void)state;
    check_ok(pea_trust_new(&t));
    check_err(dial(t, "db.example", A, true, NULL), PEA_E_REFUSED);
    pea_trust_unref(t);
    t = knowing(NULL);
    assert_int_equal(stat(in_folder("known"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    check_ok(dial(t, "db.example", B, false, NULL)); /* only shown: not remembered */
    assert_int_equal(known_bytes(), 0);
    check_ok(dial(t, "db.example", A, true, NULL));
    check_ok(dial(t, "db.example", A, true, NULL));
    assert_int_equal(known_bytes(), strlen("db.example " A "\n"));
    check_err(dial(t, "db.example", B, false, &why), PEA_E_REFUSED); /* a changed key, loudly */
    assert_non_null(strstr(why.text, "HAS CHANGED"));
    assert_int_equal(why.code, 0); /* the peer is not told why */
    assert_int_equal(n_said, 1);
    assert_non_null(strstr(said, "db.example"));
    assert_non_null(strstr(said, "/known. Known is " A ", shown is " B)); /* all that it takes to find out */
    check_err(dial(t, "db.example", B, true, NULL), PEA_E_REFUSED);
    check_ok(dial(t, "192.0.2.1:443", B, true, NULL));
    pea_trust_unref(t);
    check_ok(pea_trust_new(&t)); /* another process, later */
    check_ok(pea_trust_first_use(t, in_folder("known"), NULL));
    check_err(dial(t, "db.example", B, true, NULL), PEA_E_REFUSED);
    check_ok(dial(t, "192.0.2.1:443", B, true, NULL));
    pea_trust_unref(t);
}

/* Rules go before what is known: those that allow, those that deny, and those that name a peer for other times or
 * places, which are no reason to take him for a stranger. */
static void rules_go_first(void **state)
{
    pea_reason why = {.origin = PEA_BY_POLICY};
    pea_trust *t = knowing("db.example " A "\n");
    pea_peer inbound = peer_of(C), denied = peer_of(A);
    (void)state;
    check_err(asked(t, &inbound, &(pea_candidate){.side = PEA_RESPONDER, .proven = true, .wall_ms = 1}, NULL),
              PEA_E_REFUSED); /* whoever comes is nobody's first use */
    check_ok(pea_trust_deny(t, &denied, NULL));
    check_err(dial(t, "db.example", A, true, NULL), PEA_E_REFUSED);
    check_ok(pea_trust_forget(t, &denied));
    check_ok(dial(t, "db.example", A, true, NULL));
    check_ok(pea_trust_add(t, A " not-after=1970-01-01T00:00:00Z", NULL));
    check_err(dial(t, "db.example", A, true, &why), PEA_E_REFUSED);
    assert_int_equal(why.code, PEA_CODE_EXPIRED);
    check_ok(pea_trust_add(t, B " from=10.0.0.0/8", NULL));
    check_err(dial(t, "new.example", B, true, NULL), PEA_E_REFUSED);
    check_ok(dial(t, "new.example", C, true, NULL));
    check_ok(pea_trust_add(t, C, NULL));
    check_ok(dial(t, "db.example", C, true, NULL)); /* said by name is more than met before */
    pea_trust_unref(t);
}

static void names(void **state)
{
    pea_trust *t = knowing("DB.Example " A "\nunix:/run/Mesh " A "\n");
    char longest[300] = "";
    (void)state;
    check_err(dial(t, "db.example", B, true, NULL), PEA_E_REFUSED); /* upper and lower case are one host */
    check_ok(dial(t, "dB.eXAMPLE", A, true, NULL));
    check_ok(dial(t, "unix:/run/mesh", B, true, NULL)); /* but two files */
    check_err(dial(t, "unix:/run/Mesh", B, true, NULL), PEA_E_REFUSED);
    memset(longest, 'n', 259);
    check_ok(dial(t, longest, B, true, NULL));
    check_err(dial(t, longest, A, true, NULL), PEA_E_REFUSED);
    longest[259] = 'n';
    check_err(dial(t, longest, B, true, NULL), PEA_E_REFUSED);
    check_err(dial(t, "", B, true, NULL), PEA_E_REFUSED);
    check_err(dial(t, "#x", B, true, NULL), PEA_E_REFUSED);
    check_err(dial(t, "two words", B, true, NULL), PEA_E_REFUSED);
    check_err(dial(t, "x\ndb2.example", B, true, NULL), PEA_E_REFUSED); /* no line of its own */
    pea_trust_unref(t);
    check_ok(pea_trust_new(&t));
    check_ok(pea_trust_first_use(t, in_folder("known"), NULL)); /* and the file can be read again */
    pea_trust_unref(t);
}

static void faults_of_the_file(void **state)
{
    static const struct {
        const char *text;
        uint32_t line;
        const char *says;
    } rows[] = {
        {"db.example nonsense\n", 1, "known:1: "},
        {"# keys\n\ndb.example\n", 3, "a name, a blank and a key"},
        {" " A "\n", 1, "a name, a blank and a key"},
        {"a.example " A " \n", 1, ""},
        {"a.example " A "\nb.example " B, 2, "cut short"},
        {"a.example noise:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n", 1, "low order"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        pea_trust *t;
        pea_error why = {.code = PEA_OK};
        write_file("known", rows[i].text);
        check_ok(pea_trust_new(&t));
        check_err(pea_trust_first_use(t, in_folder("known"), &why), PEA_E_FORMAT);
        assert_int_equal(why.line, rows[i].line);
        assert_non_null(strstr(why.text, rows[i].says));
        check_err(dial(t, "a.example", A, true, NULL), PEA_E_REFUSED); /* no half of it counts */
        pea_trust_unref(t);
    }
}

/* Only one file, and a refusal leaves nothing behind. */
static void one_file(void **state)
{
    pea_trust *t = knowing(NULL);
    (void)state;
    check_err(pea_trust_first_use(t, in_folder("another"), NULL), PEA_E_EXISTS);
    assert_int_equal(access(in_folder("another"), F_OK), -1);
    pea_trust_unref(t);
}

/* Two processes with one file: what one has learnt counts for the other at once. */
static void shared_file(void **state)
{
    pea_trust *one = knowing(NULL), *two;
    (void)state;
    check_ok(pea_trust_new(&two));
    check_ok(pea_trust_first_use(two, in_folder("known"), NULL));
    check_ok(dial(one, "a.example", A, true, NULL));
    check_err(dial(two, "a.example", B, true, NULL), PEA_E_REFUSED);
    check_ok(dial(two, "b.example", B, true, NULL));
    check_ok(dial(one, "b.example", B, true, NULL));
    pea_trust_unref(one);
    pea_trust_unref(two);
}

/* Somebody edits the file while it is in use. No name may be found in the middle of another. */
static void edited_meanwhile(void **state)
{
    pea_trust *t = knowing(NULL);
    (void)state;
    check_ok(dial(t, "a.example", A, true, NULL));
    write_file("known", "# comment\nnot-b.example " B "\n"); /* longer, and one line another */
    check_ok(dial(t, "c.example", C, true, NULL));
    check_err(dial(t, "not-b.example", A, true, NULL), PEA_E_REFUSED);
    check_ok(dial(t, "b.example", A, true, NULL));
    check_err(dial(t, "a.example", B, true, NULL), PEA_E_REFUSED); /* known until the next start */
    write_file("fresh", "d.example " B "\n");
    rename_over("fresh", "known");
    check_err(dial(t, "d.example", A, true, NULL), PEA_E_REFUSED);
    check_ok(dial(t, "e.example", A, true, NULL));
    assert_int_equal(known_bytes(), 2 * strlen("e.example " A "\n"));
    pea_trust_unref(t);
}

/* By whatever name it is reached, the file that was opened is what is judged and written. */
static void a_link(void **state)
{
    pea_trust *t;
    (void)state;
    write_file("known", "");
    assert_int_equal(symlink("known", in_folder("known.link")), 0);
    check_ok(pea_trust_new(&t));
    check_ok(pea_trust_first_use(t, in_folder("known.link"), NULL));
    check_ok(dial(t, "a.example", A, true, NULL));
    assert_int_equal(known_bytes(), strlen("a.example " A "\n"));
    assert_int_equal(unlink(in_folder("known.link")), 0);
    pea_trust_unref(t);
}

static void what_cannot_be_remembered(void **state)
{
    pea_reason why = {.origin = PEA_BY_POLICY};
    pea_trust *t = knowing("a.example " A "\n"), *other;
    (void)state;
    set_mode("known", 0666); /* anybody could have written into it */
    check_err(dial(t, "new.example", B, true, &why), PEA_E_REFUSED);
    assert_non_null(strstr(why.text, "cannot be remembered"));
    assert_non_null(strstr(said, "chmod go-w"));
    check_ok(dial(t, "a.example", A, true, NULL));
    check_ok(pea_trust_new(&other));
    check_err(pea_trust_first_use(other, in_folder("known"), NULL), PEA_E_PERMISSION);
    pea_trust_unref(other);
    set_mode("known", 0600);
    int fd = open(in_folder("known"), O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(flock(fd, LOCK_EX), 0); /* another process is in the middle of it, and stopped */
    check_err(dial(t, "new.example", B, true, &why), PEA_E_REFUSED);
    assert_non_null(strstr(why.text, "locked"));
    assert_int_equal(close(fd), 0);
    check_ok(dial(t, "new.example", B, true, NULL));
    assert_int_equal(truncate(in_folder("known"), 16 << 20), 0); /* zero bytes, and no more would be read again */
    check_err(dial(t, "third.example", B, true, NULL), PEA_E_REFUSED);
    assert_int_equal(unlink(in_folder("known")), 0);
    check_err(dial(t, "fourth.example", B, true, NULL), PEA_E_REFUSED);
    check_ok(dial(t, "a.example", A, true, NULL));
    pea_trust_unref(t);
}

/* A file that is full stays one that can be read: nothing is put behind its last line. */
static void a_full_file(void **state)
{
    enum { FULL = 16 << 20 };
    char *text = malloc(FULL);
    (void)state;
    assert_non_null(text);
    memset(text, '#', FULL);
    text[FULL - 1] = '\n';
    write_bytes("known", text, FULL);
    free(text);
    pea_trust *t;
    check_ok(pea_trust_new(&t));
    check_ok(pea_trust_first_use(t, in_folder("known"), NULL));
    check_err(dial(t, "a.example", A, true, NULL), PEA_E_REFUSED);
    assert_int_equal(known_bytes(), FULL);
    pea_trust_unref(t);
}

static void no_memory(void **state)
{
    size_t blocks = faults_blocks();
    bool hit = true;
    (void)state;
    for (size_t nth = 0; hit; nth++) {
        pea_trust *t = NULL;
        write_file("known", "a.example " A "\n");
        faults_arm(nth);
        pea_err err = pea_trust_new(&t);
        if (err == PEA_OK)
            err = pea_trust_first_use(t, in_folder("known"), NULL);
        bool opened = err == PEA_OK;
        if (opened)
            err = dial(t, "b.example", B, true, NULL);
        hit = faults_disarm();
        check_err(err, !hit ? PEA_OK : opened ? PEA_E_REFUSED : PEA_E_NOMEM);
        pea_trust_unref(t);
        assert_int_equal(faults_blocks(), blocks);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_use),
        cmocka_unit_test(rules_go_first),
        cmocka_unit_test(names),
        cmocka_unit_test(faults_of_the_file),
        cmocka_unit_test(one_file),
        cmocka_unit_test(shared_file),
        cmocka_unit_test(edited_meanwhile),
        cmocka_unit_test(a_link),
        cmocka_unit_test(what_cannot_be_remembered),
        cmocka_unit_test(a_full_file),
        cmocka_unit_test(no_memory),
    };
    faults_install();
    return cmocka_run_group_tests_name("trust on first use", tests, open_folder, remove_folder);
}
