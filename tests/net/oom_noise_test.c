/* SPDX-License-Identifier: MIT */
/* Each allocation of conversations over Noise fails once: see oom_scene.h. */
#include "net/oom_scene.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "peapod/handover.h"
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

static void on_one_thread(void **state)
{
    static scene s;
    (void)state;
    scene_open(&s, 0, cast);
    scene_play(&s, 2, chain);
    scene_close(&s);
}

/* ---- The same, and each shows a certificate ---- */

static pea_cert *certs[3];

static void cast_certified(scene *s)
{
    pea_root *root;
    cast(s);
    check_ok(pea_root_generate(&root, NULL));
    actor *const all[] = {&s->alice, &s->bob, &s->stranger};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        pea_peer peer;
        pea_identity_peer(all[i]->identity, &peer);
        check_ok(pea_cert_issue(&certs[i], root,
                                PEA_CERT(.key = peer.id, .name = "a", .roles = "b,c", .not_after = INT64_C(4000000000)),
                                NULL));
    }
    pea_root_free(root);
}

static void chain_certified(actor *who)
{
    for (size_t i = 0; i < sizeof certs / sizeof certs[0]; i++)
        if (pea_cert_is_for(certs[i], who->identity))
            check_ok(pea_chain_noise(who->chain, PEA_NOISE(.identity = who->identity, .certificate = certs[i]), NULL));
}

static void with_certificates(void **state)
{
    static scene s;
    (void)state;
    scene_open(&s, 0, cast_certified);
    scene_play(&s, 2, chain_certified);
    for (size_t i = 0; i < sizeof certs / sizeof certs[0]; i++)
        pea_cert_unref(certs[i]);
    scene_close(&s);
}

/* ---- A hand-over within one process: the successor has a thread and a runtime of its own ---- */

typedef struct successor {
    struct ev_loop *loop;
    pea_runtime *runtime;
    pea_node *node;
    char path[64];
    pea_err err;
    atomic_bool back;
    scene *s;
} successor;

static void *take(void *arg)
{
    successor *next = arg;
    next->err = pea_handover_take(next->node, next->path, NULL, NULL);
    next->back = true;
    scene_say(next->s);
    return NULL;
}

static void on_taken(pea_node *node, void *arg)
{
    (void)node;
    ++*(unsigned *)arg;
}

/* Exactly one of the two listens at the end, whatever failed. Returns whether something did. */
static bool hand_over(scene *s, successor *next, size_t nth)
{
    pthread_t thread;
    pea_error why;
    pea_counts before, after;
    unsigned taken = 0;
    check_ok(pea_runtime_new(&s->runtime, PEA_RUNTIME(.loop = s->loop), NULL));
    check_ok(pea_runtime_new(&next->runtime, PEA_RUNTIME(.loop = next->loop), NULL));
    check_ok(pea_chain_new(&s->bob.chain, NULL, NULL));
    chain(&s->bob);
    check_ok(pea_node_new(&s->bob.node, s->runtime, PEA_NODE(.chain = s->bob.chain), NULL));
    check_ok(pea_node_new(&next->node, next->runtime, PEA_NODE(.chain = s->bob.chain), NULL));
    check_ok(pea_node_listen(s->bob.node, "127.0.0.1:0", NULL, NULL, NULL));
    faults_arm(nth);
    next->back = false;
    if (did(pea_handover_offer(s->bob.node, next->path, on_taken, &taken, &why))) {
        assert_int_equal(pthread_create(&thread, NULL, take, next), 0);
        until(s, next->back);
        assert_int_equal(pthread_join(thread, NULL), 0);
    } else {
        next->err = PEA_E_NOMEM;
    }
    bool hit = faults_disarm();
    if (next->err == PEA_OK)
        until(s, taken == 1);
    pea_node_counts(s->bob.node, &before);
    pea_node_counts(next->node, &after);
    assert_int_equal(taken, next->err == PEA_OK);
    assert_int_equal(before.listeners, next->err != PEA_OK);
    assert_int_equal(after.listeners, next->err == PEA_OK);
    assert_true(hit || next->err == PEA_OK);
    pea_node_free(s->bob.node);
    pea_node_free(next->node);
    pea_chain_unref(s->bob.chain);
    check_ok(pea_runtime_free(s->runtime));
    check_ok(pea_runtime_free(next->runtime));
    assert_int_equal(faults_blocks(), s->blocks);
    return hit;
}

static void handed_over(void **state)
{
    static scene s;
    char folder[] = "/tmp/peapod-oom-XXXXXX";
    successor next = {.s = &s, .loop = ev_loop_new(EVFLAG_AUTO)};
    size_t nth = 0;
    (void)state;
    assert_non_null(next.loop);
    assert_non_null(mkdtemp(folder));
    (void)snprintf(next.path, sizeof next.path, "%s/offer", folder);
    scene_open(&s, 0, cast);
    while (hand_over(&s, &next, nth))
        nth++;
    assert_true(nth > 1);
    scene_close(&s);
    ev_loop_destroy(next.loop);
    assert_int_equal(rmdir(folder), 0); /* no offer is left either */
}

int main(void)
{
    faults_install();
    const struct CMUnitTest tests[] = {cmocka_unit_test(on_one_thread), cmocka_unit_test(with_certificates),
                                       cmocka_unit_test(handed_over)};
    return cmocka_run_group_tests_name("oom_noise", tests, NULL, NULL);
}
