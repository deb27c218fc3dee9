/* SPDX-License-Identifier: MIT */
/* Each allocation of conversations over Noise, on worker threads, fails once: see oom_scene.h. */
#include "net/oom_scene.h"
#include "support/faults.h"

static void cast(scene *s)
{
    check_ok(pea_identity_generate(&s->alice.identity, NULL));
    check_ok(pea_identity_generate(&s->bob.identity, NULL));
    check_ok(pea_identity_generate(&s->stranger.identity, NULL));
}

static void chain(actor *who)
{
    check_ok(pea_chain_noise(who->chain, PEA_NOISE(.identity = who->identity), NULL));
}

static void on_worker_threads(void **state)
{
    static scene s;
    (void)state;
    scene_open(&s, 2, cast);
    scene_play(&s, 2, chain);
    scene_close(&s);
}

int main(void)
{
    faults_install();
    const struct CMUnitTest tests[] = {cmocka_unit_test(on_worker_threads)};
    return cmocka_run_group_tests_name("oom_threads", tests, NULL, NULL);
}
