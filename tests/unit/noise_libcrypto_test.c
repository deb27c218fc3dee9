/* SPDX-License-Identifier: MIT */
/* AEADs by libcrypto beside libsodium's: the same bytes whichever of them made them, libsodium where libcrypto has no
 * memory, and nothing secret in what libcrypto gives back. Its memory comes from here, which also tells who worked. */
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>

#include "noise/noise_priv.h"
#include "secure_priv.h"
#include "support/check.h"
#include "support/prng.h"

enum { AFTER = 8, MESSAGE_PLAIN = 65519 };

static const size_t sizes[] = {0,    1,    15,   16,   17,   63,    64,    65,    255,   1000,
                               2047, 2048, 2049, 2063, 4096, 16384, 61422, 61423, 65518, MESSAGE_PLAIN};
#define N_SIZES (sizeof sizes / sizeof sizes[0])

/* ---- libcrypto's memory ---- */

typedef union block {
    size_t len;
    max_align_t align;
} block;

/* Of the thread that looks: other threads' are counted for nobody. */
static _Thread_local size_t allocations, fail_at = SIZE_MAX, freed, freed_dirty;

static void *libcrypto_malloc(size_t len, const char *file, int line)
{
    (void)file, (void)line;
    block *b = allocations++ >= fail_at ? NULL : malloc(sizeof *b + len);
    if (b == NULL)
        return NULL;
    b->len = len;
    return b + 1;
}

static void libcrypto_free(void *data, const char *file, int line)
{
    (void)file, (void)line;
    if (data == NULL)
        return;
    block *b = (block *)data - 1;
    size_t left = 0;
    for (size_t i = 0; i < b->len; i++)
        left += ((const uint8_t *)data)[i] != 0;
    freed++;
    freed_dirty += left > sizeof(int); /* a context that is reset has a length of -1 in it */
    free(b);
}

static void *libcrypto_realloc(void *data, size_t len, const char *file, int line)
{
    void *fresh = libcrypto_malloc(len, file, line);
    if (fresh != NULL && data != NULL) {
        size_t old = ((block *)data - 1)->len;
        memcpy(fresh, data, old < len ? old : len);
        libcrypto_free(data, file, line);
    }
    return fresh;
}

/* From now on the `nth` allocation and all behind it fail; SIZE_MAX: none does. Returns how many were asked for. */
static size_t memory_ends(size_t nth)
{
    size_t before = allocations;
    allocations = 0;
    fail_at = nth;
    return before;
}

/* ---- Both libraries ---- */

static bool has(pea__aead_id aead)
{
    return aead == PEA__CHACHAPOLY || crypto_aead_aes256gcm_is_available() != 0;
}

static void sodium_encrypt(pea__aead_id aead, const uint8_t *k, const uint8_t *nonce, pea_span ad, const uint8_t *plain,
                           size_t len, uint8_t *out)
{
    int failed = aead == PEA__CHACHAPOLY
                     ? crypto_aead_chacha20poly1305_ietf_encrypt(out, NULL, plain, len, ad.data, ad.len, NULL, nonce, k)
                     : crypto_aead_aes256gcm_encrypt(out, NULL, plain, len, ad.data, ad.len, NULL, nonce, k);
    assert_int_equal(failed, 0);
}

static int sodium_decrypt(pea__aead_id aead, const uint8_t *k, const uint8_t *nonce, pea_span ad, const uint8_t *cipher,
                          size_t len, uint8_t *out)
{
    return aead == PEA__CHACHAPOLY
               ? crypto_aead_chacha20poly1305_ietf_decrypt(out, NULL, NULL, cipher, len, ad.data, ad.len, nonce, k)
               : crypto_aead_aes256gcm_decrypt(out, NULL, NULL, cipher, len, ad.data, ad.len, nonce, k);
}

/* What the tests work on. */
static uint8_t k[PEA__AEAD_KEY_BYTES], plain[MESSAGE_PLAIN], sealed[MESSAGE_PLAIN + 16],
    got[MESSAGE_PLAIN + 16 + AFTER];
static const uint8_t nonce[12] = {0, 0, 0, 0, 9, 8, 7, 6, 5, 4, 3, 2};
static const pea_span ads[] = {{NULL, 0}, {(const uint8_t *)"associated", 10}};

static void test_same_bytes(void **state)
{
    (void)state;
    for (pea__aead_id aead = PEA__CHACHAPOLY; aead <= PEA__AESGCM; aead++) {
        for (size_t i = 0; has(aead) && i < 2 * N_SIZES; i++) {
            size_t len = sizes[i / 2];
            pea_span ad = ads[i % 2];
            assert_true(pea__libcrypto_available(aead));
            sodium_encrypt(aead, k, nonce, ad, plain, len, sealed);
            check_ok(pea__libcrypto_encrypt(aead, k, nonce, ad, plain, len, got));
            check_bytes(got, len + 16, sealed, len + 16);
            memcpy(got, plain, sizeof plain); /* in place */
            check_ok(pea__libcrypto_encrypt(aead, k, nonce, ad, got, len, got));
            check_bytes(got, len + 16, sealed, len + 16);
            check_ok(pea__libcrypto_decrypt(aead, k, nonce, ad, got, len + 16, got));
            check_bytes(got, len, plain, len);
            check_ok(pea__libcrypto_encrypt(aead, k, nonce, ad, plain, len, sealed));
            assert_int_equal(sodium_decrypt(aead, k, nonce, ad, sealed, len + 16, got), 0);
            check_bytes(got, len, plain, len);
        }
    }
}

/* What does not open leaves zeros where its plaintext would be, and nothing behind them. */
static void check_refused(pea__aead_id aead, const uint8_t *with, pea_span ad, size_t len)
{
    size_t plain_len = len - 16;
    memset(got, 0xaa, plain_len + AFTER);
    check_err(pea__libcrypto_decrypt(aead, k, with, ad, sealed, len, got), PEA_E_CRYPTO);
    assert_true(sodium_is_zero(got, plain_len));
    for (size_t i = 0; i < AFTER; i++)
        assert_int_equal(got[plain_len + i], 0xaa);
}

static void test_refused(void **state)
{
    static const uint8_t other_nonce[12] = {1};
    (void)state;
    for (pea__aead_id aead = PEA__CHACHAPOLY; aead <= PEA__AESGCM; aead++) {
        for (size_t i = 0; has(aead) && i < N_SIZES; i++) {
            size_t len = sizes[i] + 16;
            check_ok(pea__libcrypto_encrypt(aead, k, nonce, ads[1], plain, sizes[i], sealed));
            for (size_t at = 0; at < len; at += at + 16 < len ? sizes[i] / 7 + 1 : 1) {
                sealed[at] ^= 0x10;
                check_refused(aead, nonce, ads[1], len);
                sealed[at] ^= 0x10;
            }
            check_refused(aead, other_nonce, ads[1], len);
            check_refused(aead, nonce, ads[0], len);
            check_refused(aead, nonce, (pea_span){ads[1].data, 9}, len);
            if (sizes[i] > 0)
                check_refused(aead, nonce, ads[1], len - 1);
            check_err(pea__libcrypto_decrypt(aead, k, nonce, ads[1], sealed, 15, got), PEA_E_CRYPTO);
            check_ok(pea__libcrypto_decrypt(aead, k, nonce, ads[1], sealed, len, got));
        }
    }
    assert_int_equal(ERR_peek_error(), 0); /* the application may have a use of its own for OpenSSL */
}

/* ---- Who does the work ---- */

/* How often libcrypto asks for memory while one is encrypted and decrypted. */
static size_t asked(pea__aead_id aead, pea_span ad, size_t len)
{
    (void)memory_ends(SIZE_MAX);
    check_ok(pea__aead_encrypt(aead, k, NULL, 7, ad, plain, len, sealed));
    check_ok(pea__aead_decrypt(aead, k, NULL, 7, ad, sealed, len + 16, got));
    check_bytes(got, len, plain, len);
    return memory_ends(SIZE_MAX);
}

/* Large records alone; a message of a handshake has associated data. */
static void test_who_works(void **state)
{
    (void)state;
    for (pea__aead_id aead = PEA__CHACHAPOLY; aead <= PEA__AESGCM; aead++) {
        for (size_t i = 0; has(aead) && i < N_SIZES; i++) {
            assert_int_equal(asked(aead, ads[0], sizes[i]) > 0, sizes[i] >= 2048);
            assert_int_equal(asked(aead, ads[1], sizes[i]), 0);
        }
    }
}

/* Memory that ends at any point of libcrypto's: nothing is touched, and libsodium does it. */
static void test_no_memory(void **state)
{
    (void)state;
    for (pea__aead_id aead = PEA__CHACHAPOLY; aead <= PEA__AESGCM; aead++) {
        if (!has(aead))
            continue;
        size_t points = asked(aead, ads[0], 5000) / 2;
        assert_true(points > 0);
        check_ok(pea__aead_encrypt(aead, k, NULL, 7, ads[0], plain, 5000, sealed));
        for (size_t nth = 0; nth < points; nth++) {
            memset(got, 0xaa, sizeof got);
            (void)memory_ends(nth);
            check_err(pea__libcrypto_encrypt(aead, k, nonce, ads[0], plain, 5000, got), PEA_E_UNSUPPORTED);
            (void)memory_ends(nth);
            check_err(pea__libcrypto_decrypt(aead, k, nonce, ads[0], sealed, 5016, got), PEA_E_UNSUPPORTED);
            for (size_t i = 0; i < 5016; i++)
                assert_int_equal(got[i], 0xaa);
            memcpy(got, plain, 5000);
            (void)memory_ends(nth);
            check_ok(pea__aead_encrypt(aead, k, NULL, 7, ads[0], got, 5000, got));
            check_bytes(got, 5016, sealed, 5016);
            (void)memory_ends(nth);
            check_ok(pea__aead_decrypt(aead, k, NULL, 7, ads[0], sealed, 5016, got));
            check_bytes(got, 5000, plain, 5000);
            (void)memory_ends(SIZE_MAX);
        }
    }
}

/* Nothing is kept between calls, and what is given back was wiped: after good ones and after bad ones. */
static void test_wiped(void **state)
{
    (void)state;
    for (pea__aead_id aead = PEA__CHACHAPOLY; aead <= PEA__AESGCM; aead++) {
        for (size_t len = 2048; has(aead) && len < 2048 + 70; len++) {
            freed = freed_dirty = 0;
            size_t taken = asked(aead, ads[0], len);
            sealed[len] ^= 1;
            check_err(pea__aead_decrypt(aead, k, NULL, 7, ads[0], sealed, len + 16, got), PEA_E_CRYPTO);
            taken += memory_ends(SIZE_MAX);
            assert_int_equal(freed, taken);
            assert_int_equal(freed_dirty, 0);
        }
    }
}

/* ---- Connections ---- */

static void ends_open(pea_transform t[2], const char *protocol, bool native, bool preserving)
{
    pea_noise *side[2];
    for (int i = 0; i < 2; i++) {
        pea_identity *id;
        check_ok(pea_identity_generate(&id, NULL));
        check_ok(pea_noise_new(&side[i], (pea_side)i,
                               PEA_NOISE(.protocol = protocol, .identity = id, .record_preserving = preserving), NULL));
        pea_identity_unref(id);
    }
    for (int n = 0; n < 3; n++) {
        pea_buf message = {0}, payload = {0};
        check_ok(pea_noise_write(side[n % 2], (pea_span){NULL, 0}, &message));
        check_ok(pea_noise_read(side[!(n % 2)], (pea_span){message.data, message.len}, &payload));
        pea_buf_free(&message);
        pea_buf_free(&payload);
    }
    for (int i = 0; i < 2; i++) {
        check_ok(pea_noise_split(side[i], native, &t[i]));
        pea_noise_free(side[i]);
    }
}

/* One side has libcrypto and the other has not: in each mode, both directions, over a change of keys. */
static void test_one_has_it(void **state)
{
    static const char *const protocols[] = {"Noise_XX_25519_ChaChaPoly_BLAKE2b", "Noise_XX_25519_AESGCM_SHA256"};
    (void)state;
    for (size_t round = 0; round < 12; round++) {
        bool aes = round % 2 == 1, native = round % 3 == 0, preserving = round % 3 == 1, sealer_has = round >= 6;
        pea_transform t[2];
        pea_buf wire = {0}, back = {0}, reply = {0};
        if (aes && !has(PEA__AESGCM))
            continue;
        ends_open(t, protocols[aes], native, preserving);
        for (int i = 0; i < 2; i++)
            pea__record_set_numbers(&t[i], PEA__REKEY_EVERY - 5, PEA__REKEY_EVERY - 5);
        for (size_t i = 0; i < 2 * N_SIZES; i++) {
            const pea_transform *from = &t[i % 2], *to = &t[1 - i % 2];
            const pea_span text = {plain, sizes[i / 2]};
            (void)memory_ends(sealer_has ? SIZE_MAX : 0);
            check_ok(from->ops->seal(from->self, &text, 1, &wire));
            assert_int_equal(memory_ends(sealer_has ? 0 : SIZE_MAX) > 0, text.len >= 2048);
            pea_err err;
            while ((err = to->ops->unseal(to->self, &wire, &back, SIZE_MAX, &reply)) == PEA_AGAIN)
                continue;
            assert_int_equal(memory_ends(SIZE_MAX) > 0, text.len >= 2048);
            check_ok(err);
            check_bytes(back.data, back.len, text.data, text.len);
            pea_buf_free(&back);
        }
        for (int i = 0; i < 2; i++)
            t[i].ops->destroy(t[i].self);
        pea_buf_free(&wire);
    }
}

/* Threads at once, which come and go. */
static void *one_thread(void *arg)
{
    uint8_t key[PEA__AEAD_KEY_BYTES] = {1}, cipher[3000 + 16], again[3000];
    bool *good = arg;
    *good = true;
    for (unsigned i = 0; *good && i < 200; i++) {
        pea__aead_id aead = i % 2 == 1 && has(PEA__AESGCM) ? PEA__AESGCM : PEA__CHACHAPOLY;
        key[1] = (uint8_t)i;
        *good = pea__aead_encrypt(aead, key, NULL, i, ads[0], plain + i, sizeof again, cipher) == PEA_OK &&
                pea__aead_decrypt(aead, key, NULL, i, ads[0], cipher, sizeof cipher, again) == PEA_OK &&
                memcmp(again, plain + i, sizeof again) == 0;
    }
    return NULL;
}

static void test_threads(void **state)
{
    enum { THREADS = 4 };
    (void)state;
    for (int round = 0; round < 3; round++) {
        pthread_t threads[THREADS];
        bool good[THREADS];
        for (int i = 0; i < THREADS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, one_thread, &good[i]), 0);
        for (int i = 0; i < THREADS; i++) {
            assert_int_equal(pthread_join(threads[i], NULL), 0);
            assert_true(good[i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads), /* first: they start libcrypto together */
        cmocka_unit_test(test_same_bytes), cmocka_unit_test(test_refused), cmocka_unit_test(test_who_works),
        cmocka_unit_test(test_no_memory),  cmocka_unit_test(test_wiped),   cmocka_unit_test(test_one_has_it),
    };
    test_prng prng = {4};
    if (CRYPTO_set_mem_functions(libcrypto_malloc, libcrypto_realloc, libcrypto_free) != 1 ||
        pea__secure_init(NULL) != PEA_OK)
        return 1;
    prng_fill(&prng, plain, sizeof plain);
    prng_fill(&prng, k, sizeof k);
    return cmocka_run_group_tests_name("noise by libcrypto", tests, NULL, NULL);
}
