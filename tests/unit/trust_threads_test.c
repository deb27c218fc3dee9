/* SPDX-License-Identifier: MIT */
/* Rules that several threads ask while others change them: whoever is always allowed is never refused, whoever never is
 * never comes in, and what is between is one of both; of two keys that answer to a new name, one is known. Made to be
 * run under ThreadSanitizer. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "peapod/trust.h"
#include "policy_priv.h"
#include "support/check.h"

#define ALWAYS "spki:sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define AT_TIMES "spki:sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define NEVER "spki:sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
#define ANOTHER "spki:sha256:dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"

enum { ASKING = 3, CHANGES = 300, NAMES = 40 };

static pea_trust *trust;
static char path[64];
static atomic_bool over;
static atomic_uint wrong, changed, admitted, refused;

static bool admits(const char *who)
{
    const pea_policy *policy = pea_trust_policy(trust);
    pea_reason why = {.origin = PEA_BY_POLICY};
    pea_peer peer;
    if (pea_peer_parse(&peer, who, NULL) != PEA_OK)
        abort();
    return policy->ops->check(policy->self, &peer, &(pea_candidate){.proven = true, .wall_ms = 1}, &why) == PEA_OK;
}

static void *ask(void *arg)
{
    (void)arg;
    while (!atomic_load(&over)) {
        atomic_fetch_add(&wrong, !admits(ALWAYS) + admits(NEVER));
        atomic_fetch_add(admits(AT_TIMES) ? &admitted : &refused, 1);
    }
    return NULL;
}

static void write_rules(const char *text)
{
    char fresh[80];
    (void)snprintf(fresh, sizeof fresh, "%s.new", path);
    FILE *f = fopen(fresh, "w");
    if (f == NULL || fputs(text, f) < 0 || fclose(f) != 0 || rename(fresh, path) != 0)
        abort();
}

static void *reload(void *arg)
{
    (void)arg;
    for (int i = 0; i < CHANGES; i++) {
        write_rules(i % 2 == 0 ? ALWAYS "\n" AT_TIMES "\n" : i % 3 == 0 ? "wrong\n" : AT_TIMES "\n" ALWAYS " name=a\n");
        pea_err err = pea_trust_reload(trust, NULL);
        atomic_fetch_add(&wrong, err != PEA_OK && err != PEA_E_FORMAT);
    }
    return NULL;
}

static void *deny_and_forget(void *arg)
{
    pea_peer peer;
    (void)arg;
    if (pea_peer_parse(&peer, AT_TIMES, NULL) != PEA_OK)
        abort();
    for (int i = 0; i < CHANGES; i++) {
        atomic_fetch_add(&wrong, pea_trust_deny(trust, &peer, NULL) != PEA_OK);
        atomic_fetch_add(&wrong, admits(AT_TIMES)); /* nobody else takes it back */
        atomic_fetch_add(&wrong, pea_trust_forget(trust, &peer) != PEA_OK);
        atomic_fetch_add(&wrong, pea_trust_add(trust, i % 2 == 0 ? "deny " ANOTHER : ANOTHER, NULL) != PEA_OK);
        atomic_fetch_add(&wrong, admits(ANOTHER));
    }
    return NULL;
}

static void *tick(void *arg)
{
    const pea_policy *policy = pea_trust_policy(trust);
    (void)arg;
    for (int64_t now = 1000; !atomic_load(&over); now += 250)
        (void)policy->ops->tick(policy->self, now);
    return NULL;
}

static void count(void *arg)
{
    (void)arg;
    atomic_fetch_add(&changed, 1);
}

static void *watch(void *arg)
{
    const pea_policy *policy = pea_trust_policy(trust);
    while (!atomic_load(&over)) {
        atomic_fetch_add(&wrong, policy->ops->watch(policy->self, count, arg) != PEA_OK);
        atomic_fetch_add(&wrong, policy->ops->watch(policy->self, NULL, arg) != PEA_OK);
    }
    return NULL;
}

static void asked_while_they_change(void **state)
{
    void *(*const changing[])(void *) = {reload, deny_and_forget};
    void *(*const beside[])(void *) = {tick, watch};
    pthread_t threads[2], others[2], asking[ASKING];
    int own = 0;
    (void)state;
    (void)snprintf(path, sizeof path, "/tmp/peapod-trust-threads-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
    write_rules(ALWAYS "\n");
    check_ok(pea_trust_new(&trust));
    check_ok(pea_trust_load(trust, path, NULL));
    for (size_t i = 0; i < ASKING; i++)
        assert_int_equal(pthread_create(&asking[i], NULL, ask, NULL), 0);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, changing[i], NULL), 0);
        assert_int_equal(pthread_create(&others[i], NULL, beside[i], &own), 0);
    }
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    atomic_store(&over, true);
    for (size_t i = 0; i < ASKING; i++)
        assert_int_equal(pthread_join(asking[i], NULL), 0);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_join(others[i], NULL), 0);
    assert_int_equal(wrong, 0);
    assert_true(admitted + refused > 0);
    pea_trust_unref(trust);
    assert_int_equal(unlink(path), 0);
}

/* ---- Names that are dialled for the first time, by two at once ---- */

static atomic_uint met[NAMES];

static void *meet(void *arg)
{
    const pea_policy *policy = pea_trust_policy(trust);
    pea_peer peer = {.kind = PEA_PEER_OTHER, .id = {*(const uint8_t *)arg}};
    char name[32];
    for (int i = 0; i < NAMES; i++) {
        pea_reason why = {.origin = PEA_BY_POLICY};
        (void)snprintf(name, sizeof name, "%d.example", i);
        pea_candidate c = {.side = PEA_INITIATOR, .dialled = name, .proven = true, .wall_ms = 1};
        pea_peer shown = peer;
        atomic_fetch_add(&met[i], policy->ops->check(policy->self, &shown, &c, &why) == PEA_OK);
    }
    return NULL;
}

static void of_two_keys_one_is_known(void **state)
{
    pthread_t threads[2];
    uint8_t keys[2] = {1, 2};
    (void)state;
    (void)snprintf(path, sizeof path, "/tmp/peapod-trust-threads-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
    check_ok(pea_trust_new(&trust));
    check_ok(pea_trust_first_use(trust, path, NULL));
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, meet, &keys[i]), 0);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (size_t i = 0; i < NAMES; i++)
        assert_int_equal(met[i], 1);
    pea_trust_unref(trust);
    assert_int_equal(unlink(path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asked_while_they_change),
        cmocka_unit_test(of_two_keys_one_is_known),
    };
    return cmocka_run_group_tests_name("trust on several threads", tests, NULL, NULL);
}
