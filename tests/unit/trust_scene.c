/* SPDX-License-Identifier: MIT */
/* See trust_scene.h. Time is passed in, so that nothing here waits. */
#define _XOPEN_SOURCE 700 /* nftw() */

#include "trust_scene.h"

#include <ftw.h>

char folder[64];
char said[1024];
unsigned n_said;
static int64_t clock_ms;

int open_folder(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/peapod-trust-XXXXXX");
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *walk)
{
    (void)st;
    (void)type;
    (void)walk;
    return remove(path);
}

int remove_folder(void **state)
{
    (void)state;
    return nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *in_folder(const char *name)
{
    static char path[2][128];
    static unsigned turn;
    turn = 1 - turn;
    (void)snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

void set_mode(const char *name, mode_t mode)
{
    static time_t times;
    const struct timespec when[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = ++times}};
    assert_int_equal(chmod(in_folder(name), mode), 0);
    assert_int_equal(utimensat(AT_FDCWD, in_folder(name), when, 0), 0);
}

void write_bytes(const char *name, const void *text, size_t len)
{
    FILE *f = fopen(in_folder(name), "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
    set_mode(name, 0644);
}

void write_file(const char *name, const char *text)
{
    write_bytes(name, text, strlen(text));
}

void rename_over(const char *from, const char *to)
{
    assert_int_equal(rename(in_folder(from), in_folder(to)), 0);
}

pea_peer peer_of(const char *text)
{
    pea_peer peer;
    check_ok(pea_peer_parse(&peer, text, NULL));
    return peer;
}

pea_err asked(pea_trust *t, pea_peer *peer, const pea_candidate *c, pea_reason *why)
{
    const pea_policy *policy = pea_trust_policy(t);
    pea_reason scratch = {.origin = PEA_BY_POLICY};
    return policy->ops->check(policy->self, peer, c, why != NULL ? why : &scratch);
}

bool admits(pea_trust *t, const char *who)
{
    pea_peer peer = peer_of(who);
    return asked(t, &peer, &(pea_candidate){.side = PEA_RESPONDER, .proven = true, .wall_ms = 1}, NULL) == PEA_OK;
}

int64_t tick(pea_trust *t, int64_t now)
{
    const pea_policy *policy = pea_trust_policy(t);
    return policy->ops->tick(policy->self, now);
}

void look_on(pea_trust *t, unsigned n)
{
    while (n-- > 0)
        (void)tick(t, clock_ms += 250);
}

void look_twice(pea_trust *t)
{
    look_on(t, 2);
}

void on_log(const pea_log_line *line, void *arg)
{
    (void)arg;
    n_said++;
    (void)snprintf(said, sizeof said, "%s", line->text);
}

static void count(void *arg)
{
    ++*(unsigned *)arg;
}

pea_trust *watched(const char *text, unsigned *changes)
{
    pea_trust *t;
    write_file("peers", text);
    check_ok(pea_trust_new(&t));
    pea_trust_log(t, on_log, NULL);
    check_ok(pea_trust_load(t, in_folder("peers"), NULL));
    const pea_policy *policy = pea_trust_policy(t);
    check_ok(policy->ops->watch(policy->self, count, changes));
    clock_ms += 1000;
    assert_int_equal(tick(t, clock_ms), clock_ms + 250);
    *changes = n_said = 0;
    said[0] = '\0';
    return t;
}
