/* SPDX-License-Identifier: MIT */
/* The ready-made log function, as an operator reads it. */
#include "support/check.h"

#include <stdio.h>
#include <unistd.h>

#include "peapod/log.h"

/* What pea_log_stderr() writes for a line. */
static void say(const pea_log_line *line, char *out, size_t size)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    fflush(stderr);
    int saved = dup(STDERR_FILENO);
    assert_true(saved >= 0);
    assert_int_equal(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
    pea_log_stderr(line, NULL);
    fflush(stderr);
    assert_int_equal(dup2(saved, STDERR_FILENO), STDERR_FILENO);
    close(saved);
    close(ends[1]);
    ssize_t n = read(ends[0], out, size - 1);
    close(ends[0]);
    assert_true(n > 0);
    out[n] = '\0';
}

static void lines(void **state)
{
    char out[512];
    pea_addr remote;
    const pea_peer peer = {.kind = PEA_PEER_NOISE};
    (void)state;
    check_ok(pea_addr_parse(&remote, "127.0.0.1:4711", NULL));
    const pea_log_line bare = {.level = PEA_LOG_ERROR, .text = "text"};
    say(&bare, out, sizeof out);
    assert_string_equal(out, "peapod: error: text\n");
    const pea_log_line full = {
        .level = PEA_LOG_WARNING, .text = "text", .node = "3", .conn = 7, .remote = &remote, .peer = &peer};
    say(&full, out, sizeof out);
    assert_string_equal(out, "peapod: warning: node 3, connection 7, 127.0.0.1:4711, "
                             "noise:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=, text\n");
}

static void levels(void **state)
{
    (void)state;
    assert_string_equal(pea_log_level_name(PEA_LOG_ERROR), "error");
    assert_string_equal(pea_log_level_name(PEA_LOG_DEBUG), "debug");
    assert_string_equal(pea_log_level_name((pea_log_level)0), "?");
    assert_string_equal(pea_log_level_name((pea_log_level)9), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(lines), cmocka_unit_test(levels)};
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
