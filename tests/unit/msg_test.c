/* SPDX-License-Identifier: MIT */
/* Shared messages: a copy, counted, and freed with its last reference on whatever thread that is. */
#include "support/check.h"
#include "support/faults.h"

#include <pthread.h>

#include "peapod/msg.h"

static void a_copy(void **state)
{
    uint8_t data[] = {1, 2, 3};
    pea_msg *msg;
    (void)state;
    check_ok(pea_msg_new(&msg, data, sizeof data));
    data[0] = 9;
    pea_span span = pea_msg_span(msg);
    check_bytes(span.data, span.len, "\1\2\3", 3);
    pea_msg_unref(msg);
    assert_int_equal(faults_blocks(), 0);
}

static void nothing_is_a_message(void **state)
{
    pea_msg *msg;
    (void)state;
    check_ok(pea_msg_new(&msg, NULL, 0));
    assert_int_equal(pea_msg_span(msg).len, 0);
    pea_msg_unref(msg);
    pea_msg_unref(NULL);
    assert_int_equal(faults_blocks(), 0);
}

static void out_of_memory(void **state)
{
    pea_msg *msg = NULL;
    (void)state;
    faults_arm(0);
    check_err(pea_msg_new(&msg, "x", 1), PEA_E_NOMEM);
    assert_true(faults_disarm());
    assert_null(msg);
    check_err(pea_msg_new(&msg, "x", SIZE_MAX), PEA_E_NOMEM);
    check_err(pea_msg_new(&msg, "x", SIZE_MAX - 8), PEA_E_NOMEM);
    assert_null(msg);
    assert_int_equal(faults_blocks(), 0);
}

enum { ROUNDS = 20000 };

static void *take_and_drop(void *arg)
{
    for (int i = 0; i < ROUNDS; i++)
        pea_msg_unref(pea_msg_ref(arg));
    pea_msg_unref(arg); /* the reference it was given */
    return NULL;
}

static void references_from_many_threads(void **state)
{
    pthread_t threads[4];
    pea_msg *msg;
    (void)state;
    check_ok(pea_msg_new(&msg, "shared", 6));
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_and_drop, pea_msg_ref(msg)), 0);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(faults_blocks(), 1);
    check_bytes(pea_msg_span(msg).data, 6, "shared", 6);
    pea_msg_unref(msg);
    assert_int_equal(faults_blocks(), 0);
}

int main(void)
{
    faults_install();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy),
        cmocka_unit_test(nothing_is_a_message),
        cmocka_unit_test(out_of_memory),
        cmocka_unit_test(references_from_many_threads),
    };
    return cmocka_run_group_tests_name("msg", tests, NULL, NULL);
}
