/* SPDX-License-Identifier: MIT */
/* Each allocation of ours in conversations over TLS fails once: see oom_scene.h. */
#include "net/oom_scene.h"
#include "support/faults.h"

#include <stdio.h>

static void certify(actor *who, const char *name)
{
    char certificate[256], key[256];
    (void)snprintf(certificate, sizeof certificate, "%s/%s.crt", PEA_TEST_CERTS, name);
    (void)snprintf(key, sizeof key, "%s/%s.key", PEA_TEST_CERTS, name);
    check_ok(pea_identity_load_certificate(&who->identity, certificate, key, NULL, NULL, NULL));
}

static void cast(scene *s)
{
    certify(&s->alice, "self_a");
    certify(&s->bob, "self_b");
    certify(&s->stranger, "self_c");
}

static bool own_records;

static void chain(actor *who)
{
    pea_tls_opts *opts = PEA_TLS(.identity = who->identity, .trust = who->trust, .own_records = own_records);
    check_ok(pea_chain_tls(who->chain, opts, NULL));
}

static void on_one_thread(void **state)
{
    static scene s;
    (void)state;
    scene_open(&s, 0, cast);
    scene_play(&s, 1, chain);
    scene_close(&s);
}

static void on_worker_threads(void **state)
{
    static scene s;
    (void)state;
    scene_open(&s, 2, cast);
    scene_play(&s, 0, chain);
    scene_close(&s);
}

static void with_own_records(void **state)
{
    own_records = true;
    on_one_thread(state);
    own_records = false;
}

int main(void)
{
    faults_install();
    const struct CMUnitTest tests[] = {cmocka_unit_test(on_one_thread), cmocka_unit_test(on_worker_threads),
                                       cmocka_unit_test(with_own_records)};
    return cmocka_run_group_tests_name("oom_tls", tests, NULL, NULL);
}
