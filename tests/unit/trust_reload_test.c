/* SPDX-License-Identifier: MIT */
/* Files of rules that change under a policy that is in use: edited, renamed over, reached by a link that is turned,
 * written in two halves, emptied, wrong, unsafe, gone and back. What they may say is trust_file_test.c's business. */
#include <sys/resource.h>

#include "support/faults.h"
#include "trust_scene.h"

static void a_change_is_taken_when_it_rests(void **state)
{
    unsigned changes;
    pea_trust *t = watched(A "\n", &changes);
    (void)state;
    look_on(t, 4);
    assert_int_equal(changes + n_said, 0); /* nothing happened */
    write_file("peers", B "\n#\n");
    look_on(t, 1);
    assert_true(admits(t, A) && !admits(t, B)); /* it may not be whole yet */
    look_on(t, 1);
    assert_true(!admits(t, A) && admits(t, B));
    assert_true(changes >= 1);
    assert_int_equal(n_said, 1);
    assert_non_null(strstr(said, "taken anew"));
    pea_trust_unref(t);
}

/* Two runtimes share a policy: two looks in one moment say nothing of whether a file is at rest. */
static void looks_of_a_moment_are_one(void **state)
{
    unsigned changes;
    pea_trust *t = watched(A "\n", &changes);
    const int64_t now = 1 << 20;
    (void)state;
    write_file("peers", B "\n");
    (void)tick(t, now);
    (void)tick(t, now + 10);
    assert_true(admits(t, A) && !admits(t, B));
    (void)tick(t, now + 250);
    assert_true(!admits(t, A) && admits(t, B));
    pea_trust_unref(t);
}

static void another_file_by_rename(void **state)
{
    unsigned changes;
    pea_trust *t = watched(A "\n", &changes);
    (void)state;
    write_file("fresh", B "\n");
    rename_over("fresh", "peers");
    look_twice(t);
    assert_true(!admits(t, A) && admits(t, B));
    pea_trust_unref(t);
}

/* The first half ends in mid-line, then with a line; the second comes before the file has rested, then long after. */
static void written_in_two_halves(void **state)
{
    unsigned changes;
    pea_trust *t = watched(A "\n" B "\n", &changes);
    (void)state;
    write_file("peers", B "\n");
    look_on(t, 1);
    write_file("peers", B "\n" A " name=again\n"); /* another size: it is moving still */
    look_on(t, 1);
    assert_true(admits(t, A) && admits(t, B));
    assert_int_equal(changes + n_said, 0);
    look_on(t, 1);
    pea_peer peer = peer_of(A);
    check_ok(asked(t, &peer, &(pea_candidate){.wall_ms = 1}, NULL));
    assert_string_equal(peer.name, "again");
    write_file("peers", B "\nspki:sha256:cc");
    n_said = 0;
    look_on(t, 10); /* whoever writes it fell asleep */
    assert_true(admits(t, A) && admits(t, B));
    assert_int_equal(n_said, 1);
    assert_non_null(strstr(said, "cut short"));
    write_file("peers", B "\n" C "\n");
    look_twice(t);
    assert_true(!admits(t, A) && admits(t, B) && admits(t, C));
    pea_trust_unref(t);
}

static void a_bad_file_changes_nothing(void **state)
{
    static const char *const bad[] = {"", "# all gone\n", A, A " naem=x\n", "garbage\n", "nobody\n" A "\n"};
    unsigned changes;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        pea_trust *t = watched(A "\n" B "\n", &changes);
        write_file("peers", bad[i]);
        look_on(t, 60);
        assert_true(admits(t, A) && admits(t, B));
        assert_int_equal(changes, 0);
        assert_int_equal(n_said, 1); /* once, not at each look or try */
        assert_non_null(strstr(said, "stay as they were"));
        assert_non_null(strstr(said, "peers"));
        check_err(pea_trust_reload(t, NULL), PEA_E_FORMAT);
        assert_true(admits(t, A) && admits(t, B));
        write_file("peers", "nobody\n"); /* what an empty file does not say */
        look_twice(t);
        assert_true(!admits(t, A) && !admits(t, B));
        pea_trust_unref(t);
    }
}

static void gone_and_back(void **state)
{
    unsigned changes;
    pea_trust *t = watched(A "\n", &changes);
    (void)state;
    assert_int_equal(unlink(in_folder("peers")), 0);
    look_on(t, 60);
    assert_true(admits(t, A));
    assert_int_equal(changes, 0);
    assert_int_equal(n_said, 1);
    check_err(pea_trust_reload(t, NULL), PEA_E_SYS);
    write_file("peers", B "\n");
    look_twice(t);
    assert_true(!admits(t, A) && admits(t, B));
    pea_trust_unref(t);
}

static void unsafe_and_safe_again(void **state)
{
    unsigned changes;
    pea_trust *t = watched(A "\n", &changes);
    (void)state;
    write_file("peers", B "\n");
    set_mode("peers", 0666); /* anybody could say whom to trust */
    look_on(t, 10);
    assert_true(admits(t, A) && !admits(t, B));
    assert_int_equal(n_said, 1);
    assert_non_null(strstr(said, "chmod go-w"));
    set_mode("peers", 0644); /* its text is as before */
    look_twice(t);
    assert_true(!admits(t, A) && admits(t, B));
    pea_trust_unref(t);
}

/* As Kubernetes does it: the file is a link into "..data", which is a link to a folder with the time in its name; the
 * second is turned by rename(), and the folder that it led to is removed. */
static void a_link_in_the_middle_is_turned(void **state)
{
    unsigned changes;
    (void)state;
    assert_int_equal(mkdir(in_folder("..2026_01"), 0755) + mkdir(in_folder("..2026_02"), 0755), 0);
    write_file("..2026_01/rules", A "\n");
    write_file("..2026_02/rules", B "\n");
    assert_int_equal(symlink("..2026_01", in_folder("..data")), 0);
    assert_int_equal(symlink("..data/rules", in_folder("rules")), 0);
    pea_trust *t = watched(C "\n", &changes);
    check_ok(pea_trust_load(t, in_folder("rules"), NULL));
    check_ok(pea_trust_add(t,
                           "other:"
                           "dddddddddddddddddddddddddddddddd"
                           "dddddddddddddddddddddddddddddddd",
                           NULL));
    look_twice(t);
    assert_true(admits(t, A) && !admits(t, B) && admits(t, C));
    assert_int_equal(symlink("..2026_02", in_folder("..data_tmp")), 0);
    rename_over("..data_tmp", "..data");
    assert_int_equal(unlink(in_folder("..2026_01/rules")) + rmdir(in_folder("..2026_01")), 0);
    look_twice(t);
    assert_true(!admits(t, A) && admits(t, B));
    assert_true(admits(t, C)); /* other files and rules by call stay as they are */
    assert_true(admits(t, "other:"
                          "dddddddddddddddddddddddddddddddd"
                          "dddddddddddddddddddddddddddddddd"));
    pea_trust_unref(t);
}

/* Shortness of our own must not keep a rule from being taken back: what failed so is tried again. */
static void tried_again_when_we_were_short(void **state)
{
    unsigned changes;
    struct rlimit before, none = {0, 0};
    pea_trust *t = watched(A "\n", &changes);
    (void)state;
    write_file("peers", B "\n");
    look_on(t, 1);
    faults_arm_all();
    look_on(t, 1);
    assert_true(faults_disarm());
    assert_true(admits(t, A) && !admits(t, B));
    look_on(t, 30);
    assert_true(!admits(t, A) && admits(t, B));

    write_file("peers", C "\n");
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none.rlim_max = before.rlim_max;
    look_on(t, 1);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    n_said = 0;
    look_on(t, 60);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(n_said, 1);
    assert_true(admits(t, B) && !admits(t, C));
    look_on(t, 30);
    assert_true(!admits(t, B) && admits(t, C));
    pea_trust_unref(t);
}

/* Reading by call: at once, and all files of which some are wrong. */
static void by_call(void **state)
{
    unsigned changes;
    pea_error why = {.code = PEA_OK};
    pea_trust *t = watched(A "\n", &changes);
    (void)state;
    write_file("more", B "\n");
    check_ok(pea_trust_load(t, in_folder("more"), NULL));
    check_err(pea_trust_load(t, in_folder("more"), &why), PEA_E_EXISTS);
    write_file("peers", "wrong\n");
    write_file("more", C "\n");
    check_err(pea_trust_reload(t, &why), PEA_E_FORMAT);
    assert_int_equal(why.line, 1);
    assert_non_null(strstr(why.text, "/peers:1:1: "));
    assert_true(admits(t, A) && !admits(t, B) && admits(t, C));
    pea_trust_unref(t);
}

/* A log's lines hold no control characters, whatever a file holds. */
static void what_is_logged_is_escaped(void **state)
{
    unsigned changes;
    pea_trust *t = watched(A "\n", &changes);
    (void)state;
    write_file("peers", A " from=\x1B[31m\n");
    look_twice(t);
    assert_int_equal(n_said, 1);
    assert_non_null(strstr(said, "\\x1b[31m"));
    assert_null(strchr(said, '\x1B'));
    pea_trust_unref(t);
}

/* Rules are walked for the next moment at which one begins or ends only when that may be another. */
static void the_clock_is_set_back(void **state)
{
    const int64_t y2026 = INT64_C(1767225600000), y2027 = INT64_C(1798761600000);
    pea_trust *t;
    (void)state;
    check_ok(pea_trust_new(&t));
    check_ok(pea_trust_add(t, A " not-before=2026-01-01T00:00:00Z not-after=2027-01-01T00:00:00Z", NULL));
    const pea_policy *policy = pea_trust_policy(t);
    assert_int_equal(tick(t, y2026 + 1), y2027);
    uint64_t before = pea__policy_generation(policy);
    assert_int_equal(tick(t, y2026 + 2), y2027);
    assert_int_equal(pea__policy_generation(policy), before);
    assert_int_equal(tick(t, y2026 - 1), y2026); /* whoever was let in is too early now */
    assert_true(pea__policy_generation(policy) > before);
    pea_trust_unref(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_change_is_taken_when_it_rests), cmocka_unit_test(looks_of_a_moment_are_one),
        cmocka_unit_test(another_file_by_rename),          cmocka_unit_test(written_in_two_halves),
        cmocka_unit_test(a_bad_file_changes_nothing),      cmocka_unit_test(gone_and_back),
        cmocka_unit_test(unsafe_and_safe_again),           cmocka_unit_test(a_link_in_the_middle_is_turned),
        cmocka_unit_test(tried_again_when_we_were_short),  cmocka_unit_test(by_call),
        cmocka_unit_test(what_is_logged_is_escaped),       cmocka_unit_test(the_clock_is_set_back),
    };
    faults_install();
    return cmocka_run_group_tests_name("files of rules that change", tests, open_folder, remove_folder);
}
