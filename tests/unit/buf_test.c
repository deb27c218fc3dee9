/* SPDX-License-Identifier: MIT */
/* Buffers against a model that is too simple to be wrong, the pool's accounts, the allocator's door, and what a failed
 * allocation leaves behind. */
#include <stdlib.h>

#include "buf_priv.h"
#include "support/check.h"
#include "support/faults.h"
#include "support/prng.h"

#define MODEL_MAX 400000u

/* Random appends, reserves and consumes, with and without a pool: always the bytes of a plain array. */
static void behaves_as_a_queue(void **state)
{
    static uint8_t model[MODEL_MAX], piece[70000];
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        pea__pool pool = {0};
        pea_buf buf = {.pool = seed % 2 == 0 ? &pool : NULL};
        test_prng prng = {seed};
        size_t begin = 0, end = 0;
        for (unsigned i = 0; i < 3000 && end < MODEL_MAX - sizeof piece; i++) {
            size_t n = prng_below(&prng, prng_below(&prng, 10) == 0 ? sizeof piece : 300);
            uint8_t *tail = NULL;
            switch (prng_below(&prng, 5)) {
            case 0:
                prng_fill(&prng, piece, n < 64 ? n : 64);
                check_ok(pea_buf_append(&buf, piece, n));
                memcpy(model + end, piece, n);
                end += n;
                break;
            case 1: /* more is reserved than is used */
                check_ok(pea_buf_reserve(&buf, n + 50, &tail));
                memset(tail, (int)i, n);
                pea_buf_commit(&buf, n);
                memset(model + end, (int)i, n);
                end += n;
                break;
            case 2:
                pea__buf_settle(&buf);
                break;
            default:
                n = n < buf.len ? n : buf.len;
                pea_buf_consume(&buf, n);
                begin += n;
                break;
            }
            check_bytes(buf.data, buf.len, model + begin, end - begin);
        }
        pea_buf_free(&buf);
        assert_int_equal(buf.len, 0);
        assert_int_equal(pool.held, 0);
        pea__pool_clear(&pool);
    }
    assert_int_equal(faults_blocks(), 0);
}

static void zero_is_an_empty_buffer(void **state)
{
    pea_buf buf = {0};
    uint8_t *tail = NULL;
    (void)state;
    check_ok(pea_buf_append(&buf, NULL, 0));
    pea_buf_consume(&buf, 0);
    pea__buf_settle(&buf);
    pea_buf_free(&buf);
    pea_buf_free(&buf);
    check_ok(pea_buf_reserve(&buf, 0, &tail));
    assert_non_null(tail);
    check_err(pea_buf_reserve(&buf, SIZE_MAX, &tail), PEA_E_NOMEM);
    check_ok(pea_buf_append(&buf, "x", 1));
    check_err(pea_buf_reserve(&buf, SIZE_MAX, &tail), PEA_E_NOMEM);
    check_err(pea_buf_reserve(&buf, SIZE_MAX - 1, &tail), PEA_E_NOMEM);
    check_bytes(buf.data, buf.len, "x", 1);
    pea_buf_commit(&buf, 0);
    pea_buf_free(&buf);
    assert_int_equal(faults_blocks(), 0);
}

/* All or nothing: without memory the content is as before, and all goes on afterwards. */
static void fails_whole(void **state)
{
    static const uint8_t more[20000];
    (void)state;
    for (unsigned pooled = 0; pooled < 2; pooled++) {
        pea__pool pool = {0};
        pea_buf buf = {.pool = pooled ? &pool : NULL};
        uint8_t *tail = NULL;
        check_ok(pea_buf_append(&buf, "content", 7));
        pea_buf_consume(&buf, 3);
        faults_arm_all();
        check_err(pea_buf_append(&buf, more, sizeof more), PEA_E_NOMEM);
        check_err(pea_buf_reserve(&buf, sizeof more, &tail), PEA_E_NOMEM);
        assert_null(tail);
        pea_buf big = {.pool = buf.pool};
        check_err(pea_buf_append(&big, more, sizeof more), PEA_E_NOMEM);
        assert_int_equal(big.len, 0);
        assert_true(faults_disarm());
        check_bytes(buf.data, buf.len, "tent", 4);
        check_ok(pea_buf_append(&buf, more, sizeof more));
        assert_int_equal(buf.len, 4 + sizeof more);
        check_bytes(buf.data, 4, "tent", 4);
        /* Failing to find a smaller home changes nothing either. */
        pea_buf_consume(&buf, sizeof more);
        faults_arm_all();
        pea__buf_settle(&buf);
        (void)faults_disarm();
        assert_int_equal(buf.len, 4);
        pea_buf_free(&buf);
        pea__pool_clear(&pool);
    }
    assert_int_equal(faults_blocks(), 0);
}

/* Borrowed bytes are not written to and not freed; they are copied before anything is appended. */
static void borrows(void **state)
{
    static const uint8_t lent[] = "lent to us";
    pea_buf buf = {0};
    (void)state;
    pea__buf_borrow(&buf, lent, 10);
    assert_ptr_equal(buf.data, lent);
    pea_buf_consume(&buf, 5);
    faults_arm_all();
    check_err(pea__buf_own(&buf), PEA_E_NOMEM);
    check_err(pea_buf_append(&buf, "!", 1), PEA_E_NOMEM);
    assert_true(faults_disarm());
    check_bytes(buf.data, buf.len, "to us", 5);
    check_ok(pea_buf_append(&buf, "!", 1));
    assert_true(buf.data < lent || buf.data > lent + sizeof lent);
    check_bytes(buf.data, buf.len, "to us!", 6);
    assert_string_equal((const char *)lent, "lent to us");
    pea__buf_borrow(&buf, lent, 4);
    assert_int_equal(faults_blocks(), 0); /* what it held before was given back */
    check_ok(pea__buf_own(&buf));
    check_bytes(buf.data, buf.len, "lent", 4);
    pea_buf_free(&buf);
    pea__buf_borrow(&buf, lent, 4);
    pea_buf_consume(&buf, 4);
    pea__buf_settle(&buf);
    assert_null(buf.data);
    assert_int_equal(faults_blocks(), 0);
}

/* Memory follows content, down as well as up; an empty buffer holds none. */
static void settles(void **state)
{
    static const uint8_t bytes[300000];
    pea__pool pool = {0};
    pea_buf buf = {.pool = &pool};
    (void)state;
    check_ok(pea_buf_append(&buf, bytes, sizeof bytes));
    assert_true(pool.held >= sizeof bytes && pool.held <= 4 * sizeof bytes);
    pea_buf_consume(&buf, sizeof bytes - 900);
    pea__buf_settle(&buf);
    assert_true(pool.held <= 1024);
    assert_int_equal(buf.len, 900);
    pea_buf_consume(&buf, 900);
    assert_true(pool.held > 0);
    pea__buf_settle(&buf);
    assert_int_equal(pool.held, 0);
    pea_buf_free(&buf);
    pea__pool_clear(&pool);
    assert_int_equal(faults_blocks(), 0);
}

/* Steady traffic allocates nothing: what one buffer gives back, the next one takes. */
static void pool_serves_again(void **state)
{
    static const uint8_t bytes[100000];
    const size_t sizes[] = {10, 1024, 1025, 8000, 60000, sizeof bytes};
    pea__pool pool = {0};
    (void)state;
    for (unsigned round = 0; round < 50; round++) {
        if (round == 1)
            pool.allocations = 0;
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            pea_buf buf = {.pool = &pool};
            check_ok(pea_buf_append(&buf, bytes, sizes[i]));
            pea_buf_free(&buf);
        }
    }
    assert_int_equal(pool.allocations, 0);
    assert_int_equal(pool.held, 0);
    pea__pool_clear(&pool);
    assert_int_equal(faults_blocks(), 0);
}

/* What a pool keeps for later is bounded, however much went through it. */
static void pool_keeps_a_little(void **state)
{
    enum { MANY = 600 };
    static pea_buf bufs[MANY];
    pea__pool pool = {0};
    (void)state;
    for (size_t i = 0; i < MANY; i++) {
        bufs[i].pool = &pool;
        check_ok(pea_buf_append(&bufs[i], "x", 1));
        if (i % 3 == 0) {
            uint8_t *tail;
            check_ok(pea_buf_reserve(&bufs[i], 100000, &tail));
        }
    }
    for (size_t i = 0; i < MANY; i++)
        pea_buf_free(&bufs[i]);
    assert_int_equal(pool.held, 0);
    assert_true(faults_bytes() <= (256u << 10) + (512u << 10) + (1u << 20));
    pea__pool_clear(&pool);
    assert_int_equal(faults_blocks(), 0);
}

/* While somebody trims it, it keeps what was out lately: a burst that comes again allocates nothing, and one that does
 * not come again has its memory given back. */
static void a_trimmed_pool_keeps_bursts(void **state)
{
    enum { MANY = 600 };
    static pea_buf bufs[MANY];
    static const uint8_t bytes[20000];
    pea__pool pool = {.trims = true};
    size_t least = 0;
    (void)state;
    for (unsigned burst = 0; burst < 4; burst++) {
        for (size_t i = 0; i < MANY; i++) {
            bufs[i] = (pea_buf){.pool = &pool};
            check_ok(pea_buf_append(&bufs[i], bytes, sizeof bytes));
        }
        assert_true(pea__pool_is_stretched(&pool));
        for (size_t i = 0; i < MANY; i++)
            pea_buf_free(&bufs[i]);
        if (burst > 0)
            assert_int_equal(pool.allocations, 0);
        pool.allocations = 0;
        pea__pool_trim(&pool);
        assert_true(faults_bytes() >= MANY * sizeof bytes);
    }
    assert_false(pea__pool_is_stretched(&pool));
    pea__pool_trim(&pool); /* nothing was needed since */
    least = faults_bytes();
    assert_true(least <= (256u << 10) + (512u << 10) + (4u << 20) + (1u << 20));
    pea__pool_trim(&pool);
    assert_int_equal(faults_bytes(), least); /* what is always kept stays */
    pea__pool_clear(&pool);
    assert_int_equal(faults_blocks(), 0);
}

static void allocator_is_set_once(void **state)
{
    const pea_allocator none = {0};
    pea_allocator other;
    (void)state;
    check_err(pea_set_allocator(NULL), PEA_E_INVALID);
    check_err(pea_set_allocator(&none), PEA_E_INVALID);
    memset(&other, 0x11, sizeof other);
    check_err(pea_set_allocator(&other), PEA_E_STATE); /* ours is in use */
    uint8_t *block = pea__alloc(100);
    assert_non_null(block);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(block[i], 0);
    assert_int_equal(faults_blocks(), 1);
    pea__free(block);
    pea__free(NULL);
    assert_int_equal(faults_blocks(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(behaves_as_a_queue),
        cmocka_unit_test(zero_is_an_empty_buffer),
        cmocka_unit_test(fails_whole),
        cmocka_unit_test(borrows),
        cmocka_unit_test(settles),
        cmocka_unit_test(pool_serves_again),
        cmocka_unit_test(pool_keeps_a_little),
        cmocka_unit_test(a_trimmed_pool_keeps_bursts),
        cmocka_unit_test(allocator_is_set_once),
    };
    faults_install();
    return cmocka_run_group_tests_name("buffers", tests, NULL, NULL);
}
