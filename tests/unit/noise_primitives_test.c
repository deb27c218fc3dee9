/* SPDX-License-Identifier: MIT */
/* The primitives below Noise against published vectors: X25519, the hashes, HMAC, AES-256-GCM in both libraries; and
 * keys that must be refused. */
#include <sodium.h>

#include "noise/noise_priv.h"
#include "secure_priv.h"
#include "support/check.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static size_t from_hex(uint8_t *out, size_t size, const char *hex)
{
    size_t len = 0;
    assert_int_equal(sodium_hex2bin(out, size, hex, strlen(hex), NULL, &len, NULL), 0);
    return len;
}

static void test_x25519(void **state)
{
    /* RFC 7748, sections 5.2 and 6.1, either side. The last secret is Bob's. */
    static const struct {
        const char *secret, *point, *result;
    } cases[] = {
        {"a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
         "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
         "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"},
        {"4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
         "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
         "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957"},
        {"77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
         "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
         "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"},
        {"5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
         "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
         "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"},
    };
    (void)state;
    uint8_t secret[32], point[32], want[32], got[32];
    for (size_t i = 0; i < COUNT(cases); i++) {
        from_hex(secret, 32, cases[i].secret);
        from_hex(point, 32, cases[i].point);
        from_hex(want, 32, cases[i].result);
        check_ok(pea__x25519(got, secret, point));
        check_bytes(got, 32, want, 32);
    }
    from_hex(want, 32, "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"); /* Bob's public key */
    check_ok(pea__x25519_public(got, secret));
    check_bytes(got, 32, want, 32);
}

static void test_x25519_iterated(void **state)
{
    /* RFC 7748, section 5.2: k and u begin as 9; after each round u is k, and k the result. */
    (void)state;
    uint8_t k[32] = {9}, u[32] = {9}, result[32], want[32];
    for (int round = 1; round <= 1000; round++) {
        check_ok(pea__x25519(result, k, u));
        memcpy(u, k, 32);
        memcpy(k, result, 32);
        if (round == 1) {
            from_hex(want, 32, "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079");
            check_bytes(k, 32, want, 32);
        }
    }
    from_hex(want, 32, "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51");
    check_bytes(k, 32, want, 32);
}

#define FF15 "ffffffffffffffffffffffffffffff"

static void test_public_keys(void **state)
{
    static const struct {
        const char *key;
        bool canonical, good;
    } cases[] = {
        {"8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a", true, true},
        {"0900000000000000000000000000000000000000000000000000000000000000", true, true},
        /* Low order, canonical: 0, 1, the two of order 8, p - 1. */
        {"0000000000000000000000000000000000000000000000000000000000000000", true, false},
        {"0100000000000000000000000000000000000000000000000000000000000000", true, false},
        {"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800", true, false},
        {"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157", true, false},
        {"ec" FF15 FF15 "7f", true, false},
        /* Around p = 2^255 - 19. */
        {"eb" FF15 FF15 "7f", true, true},
        {"ed" FF15 FF15 "7f", false, false},
        {"ee" FF15 FF15 "7f", false, false},
        {"f6" FF15 FF15 "7f", false, false}, /* 9 + p: the base point's second name */
        {"ff" FF15 FF15 "7f", false, false},
        {"edfe" FF15 "ffffffffffffffffffffffffffff"
         "7f",
         true, true},
        /* The high bit, which X25519 ignores. */
        {"0900000000000000000000000000000000000000000000000000000000000080", false, false},
        {"8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4eea", false, false},
        {"ff" FF15 FF15 "ff", false, false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint8_t key[32];
        pea_error why;
        assert_int_equal(from_hex(key, 32, cases[i].key), 32);
        assert_int_equal(pea__x25519_canonical(key), cases[i].canonical);
        check_err(pea__x25519_check(key, &why), cases[i].good ? PEA_OK : PEA_E_INVALID);
        if (!cases[i].good)
            assert_non_null(strstr(why.text, cases[i].canonical ? "low order" : "2^255"));
    }
}

static void test_count(void **state)
{
    (void)state;
    uint8_t secret[32] = {1}, out[32], base[32] = {9};
    uint64_t before = atomic_load(&pea__x25519_count);
    check_ok(pea__x25519_public(out, secret));
    check_ok(pea__x25519(out, secret, base));
    assert_int_equal(atomic_load(&pea__x25519_count) - before, 2);
}

static void test_hkdf_examples(void **state)
{
    /* RFC 5869, appendices A.1, A.2 and A.3. */
    static const struct {
        unsigned ikm_from, ikm_len, salt_len, info_from, info_len;
        const char *okm;
    } cases[] = {
        {0x0b, 22, 13, 0xf0, 10,
         "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"},
        {0x00, 80, 80, 0xb0, 80,
         "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
         "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"},
        {0x0b, 22, 0, 0x00, 0, "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint8_t ikm[80], salt[80], info[80], prk[PEA_NOISE_HASH_MAX], want[82], got[82];
        for (unsigned at = 0; at < 80; at++) {
            ikm[at] = (uint8_t)(cases[i].ikm_from + (cases[i].ikm_len == 80 ? at : 0));
            salt[at] = (uint8_t)((cases[i].salt_len == 80 ? 0x60 : 0) + at);
            info[at] = (uint8_t)(cases[i].info_from + at);
        }
        const pea_span input = {ikm, cases[i].ikm_len};
        size_t len = from_hex(want, sizeof want, cases[i].okm);
        pea__hmac(PEA__SHA256, (pea_span){salt, cases[i].salt_len}, &input, 1, prk);
        check_ok(pea__hkdf_expand(PEA__SHA256, prk, (pea_span){info, cases[i].info_len}, got, len));
        check_bytes(got, len, want, len);
    }
}

static void test_hashes(void **state)
{
    /* "abc": FIPS 180-4's examples, RFC 7693's appendices. */
    static const struct {
        pea__hash_id hash;
        const char *want;
    } cases[] = {
        {PEA__SHA256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {PEA__SHA512, "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd"
                      "454d4423643ce80e2a9ac94fa54ca49f"},
        {PEA__BLAKE2B, "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d17d87c5392aab792dc252d5de4533cc9"
                       "518d38aa8dbf1925ab92386edd4009923"},
        {PEA__BLAKE2S, "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        if (!pea__hash_available(cases[i].hash))
            continue;
        uint8_t want[64], got[64];
        size_t len = from_hex(want, sizeof want, cases[i].want);
        assert_int_equal(pea__hash_len(cases[i].hash), len);
        pea__hash(cases[i].hash, (const pea_span[]){{(const uint8_t *)"a", 1}, {NULL, 0}, {(const uint8_t *)"bc", 2}},
                  3, got);
        check_bytes(got, len, want, len);
    }
    assert_true(pea__hash_available(PEA__BLAKE2B)); /* the default suite's is never skipped */
}

static void test_hmac(void **state)
{
    /* RFC 4231, test cases 1 and 6 (a key longer than the block). */
    static const char *const want[2][2] = {
        {"b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
         "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f"
         "1702e696c203a126854"},
        {"60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
         "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f3526b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0"
         "aec8b915a985d786598"},
    };
    static const char *const data[2] = {"Hi There", "Test Using Larger Than Block-Size Key - Hash Key First"};
    (void)state;
    uint8_t short_key[20], long_key[131], got[64], bytes[64];
    memset(short_key, 0x0b, sizeof short_key);
    memset(long_key, 0xaa, sizeof long_key);
    for (size_t i = 0; i < 2; i++) {
        pea_span key = i == 0 ? (pea_span){short_key, sizeof short_key} : (pea_span){long_key, sizeof long_key};
        const pea_span parts[] = {{(const uint8_t *)data[i], 3}, {(const uint8_t *)data[i] + 3, strlen(data[i]) - 3}};
        for (size_t h = 0; h < 2; h++) {
            size_t len = from_hex(bytes, sizeof bytes, want[i][h]);
            pea__hmac(h == 0 ? PEA__SHA256 : PEA__SHA512, key, parts, 2, got);
            check_bytes(got, len, bytes, len);
        }
    }
}

/* One AEAD: in place and not, with and without an expanded key, every flipped bit found. */
static void check_aead(pea__aead_id aead)
{
    uint8_t k[32], plain[100], sealed[116], again[116], ad[5] = "head";
    pea_span head = {ad, sizeof ad};
    pea__aead_expanded *expanded = NULL;
    randombytes_buf(k, sizeof k);
    randombytes_buf(plain, sizeof plain);
    check_ok(pea__aead_expand(&expanded, aead, k));
    for (size_t len = 0; len <= sizeof plain; len += 25) {
        check_ok(pea__aead_encrypt(aead, k, NULL, 7, head, plain, len, sealed));
        memcpy(again, plain, len);
        check_ok(pea__aead_encrypt(aead, k, expanded, 7, head, again, len, again));
        check_bytes(again, len + 16, sealed, len + 16);
        check_ok(pea__aead_decrypt(aead, k, NULL, 7, head, sealed, len + 16, again));
        check_bytes(again, len, plain, len);
        check_ok(pea__aead_decrypt(aead, k, expanded, 7, head, sealed, len + 16, again));
        check_bytes(again, len, plain, len);
        check_err(pea__aead_decrypt(aead, k, expanded, 8, head, sealed, len + 16, again), PEA_E_CRYPTO);
        check_err(pea__aead_decrypt(aead, k, expanded, 7, (pea_span){ad, 4}, sealed, len + 16, again), PEA_E_CRYPTO);
        check_err(pea__aead_decrypt(aead, k, expanded, 7, head, sealed, len + 15, again), PEA_E_CRYPTO);
        for (size_t bit = 0; bit < 8 * (len + 16); bit++) {
            sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
            check_err(pea__aead_decrypt(aead, k, expanded, 7, head, sealed, len + 16, again), PEA_E_CRYPTO);
            sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
    check_err(pea__aead_decrypt(aead, k, NULL, 7, head, sealed, 15, again), PEA_E_CRYPTO);
    pea__aead_expanded_free(expanded);
}

static void test_chachapoly(void **state)
{
    (void)state;
    assert_true(pea__aead_available(PEA__CHACHAPOLY));
    check_aead(PEA__CHACHAPOLY);
}

static void test_aesgcm(void **state)
{
    (void)state;
    if (!pea__aead_available(PEA__AESGCM))
        skip();
    check_aead(PEA__AESGCM);
}

typedef pea_err (*gcm_fn)(pea__aead_id aead, const uint8_t k[PEA__AEAD_KEY_BYTES], const uint8_t nonce[12], pea_span ad,
                          const uint8_t *in, size_t len, uint8_t *out);

static void check_gcm(pea__aead_id aead, gcm_fn encrypt, gcm_fn decrypt)
{
    /* The Galois/Counter Mode of Operation (McGrew, Viega), test cases 16 and 4. */
    uint8_t k[32], nonce[12], plain[60], ad[20], want[76], got[76];
    from_hex(k, 32, "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308");
    from_hex(nonce, 12, "cafebabefacedbaddecaf888");
    from_hex(plain, 60,
             "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5a"
             "a0de657ba637b39");
    from_hex(ad, 20, "feedfacedeadbeeffeedfacedeadbeefabaddad2");
    from_hex(want, 76,
             aead == PEA__AESGCM
                 ? "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b"
                   "1056828838c5f61e6393ba7a0abcc9f662"
                   "76fc6ece0f4e1768cddf8853bb2d551b"
                 : "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a"
                   "5aac84aa051ba30b396a0aac973d58e091"
                   "5bc94fbc3221a5db94fae95ae7121a47");
    check_ok(encrypt(aead, k, nonce, (pea_span){ad, sizeof ad}, plain, sizeof plain, got));
    check_bytes(got, sizeof got, want, sizeof want);
    memcpy(got, plain, sizeof plain); /* in place */
    check_ok(encrypt(aead, k, nonce, (pea_span){ad, sizeof ad}, got, sizeof plain, got));
    check_bytes(got, sizeof got, want, sizeof want);
    check_ok(decrypt(aead, k, nonce, (pea_span){ad, sizeof ad}, want, sizeof want, got));
    check_bytes(got, sizeof plain, plain, sizeof plain);
    for (size_t bit = 0; bit < 8 * sizeof want; bit++) {
        static const uint8_t zeros[60];
        want[bit / 8] ^= (uint8_t)(1u << bit % 8);
        check_err(decrypt(aead, k, nonce, (pea_span){ad, sizeof ad}, want, sizeof want, got), PEA_E_CRYPTO);
        check_bytes(got, sizeof plain, zeros, sizeof zeros); /* what was decrypted before the tag was known is gone */
        want[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    check_ok(encrypt(aead, k, nonce, (pea_span){NULL, 0}, NULL, 0, got));
    check_ok(decrypt(aead, k, nonce, (pea_span){NULL, 0}, got, 16, got + 16));
    check_err(decrypt(aead, k, nonce, (pea_span){NULL, 0}, got, 15, got + 16), PEA_E_CRYPTO);
    if (aead == PEA__AESGCM && crypto_aead_aes256gcm_is_available() != 0) {
        check_ok(encrypt(aead, k, nonce, (pea_span){ad, 7}, plain, 33, got));
        crypto_aead_aes256gcm_encrypt(want, NULL, plain, 33, ad, 7, NULL, nonce, k);
        check_bytes(got, 49, want, 49);
    }
}

static void test_libcrypto_gcm(void **state)
{
    (void)state;
    if (!pea__libcrypto_available(PEA__AESGCM))
        skip();
    check_gcm(PEA__AESGCM, pea__libcrypto_encrypt, pea__libcrypto_decrypt);
    check_gcm(PEA__AES128GCM, pea__libcrypto_encrypt, pea__libcrypto_decrypt);
}

static void test_mbedtls_gcm(void **state)
{
    (void)state;
    if (!pea__mbedtls_gcm_available())
        skip();
    check_gcm(PEA__AESGCM, pea__mbedtls_gcm_encrypt, pea__mbedtls_gcm_decrypt);
    check_gcm(PEA__AES128GCM, pea__mbedtls_gcm_encrypt, pea__mbedtls_gcm_decrypt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_x25519),      cmocka_unit_test(test_x25519_iterated),
        cmocka_unit_test(test_public_keys), cmocka_unit_test(test_count),
        cmocka_unit_test(test_hashes),      cmocka_unit_test(test_hkdf_examples),
        cmocka_unit_test(test_hmac),        cmocka_unit_test(test_chachapoly),
        cmocka_unit_test(test_aesgcm),      cmocka_unit_test(test_libcrypto_gcm),
        cmocka_unit_test(test_mbedtls_gcm),
    };
    if (pea__secure_init(NULL) != PEA_OK)
        return 1;
    return cmocka_run_group_tests_name("noise primitives", tests, NULL, NULL);
}
