/* SPDX-License-Identifier: MIT */
/* wycheproof_vectors FILE...: Project Wycheproof's vectors through what peapod calls X25519, the AEADs, HMAC and HKDF.
 * What has no use here is skipped: other key, nonce and tag sizes. An AEAD is asked by each library that has it; under
 * the nonces that Noise can make, also as Noise asks it. Prints what failed, and last "N passed, M failed, K skipped".
 * Exit status 1 if any failed or a file could not be read. */
#include <cjson/cJSON.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "noise/noise_priv.h"
#include "secure_priv.h"
#include "support/file.h"

#define BYTES_MAX 70000

typedef struct bytes {
    uint8_t data[BYTES_MAX];
    size_t len;
} bytes;

typedef enum verdict { FAILED, PASSED, SKIPPED } verdict;

static unsigned count[3];

/* A field of hexadecimal text, which must be there. */
static void get_hex(bytes *out, const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    if (!cJSON_IsString(item) || sodium_hex2bin(out->data, sizeof out->data, item->valuestring,
                                                strlen(item->valuestring), NULL, &out->len, NULL) != 0) {
        (void)fprintf(stderr, "the field %s is missing or malformed\n", name);
        exit(1);
    }
}

static size_t get_size(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsNumber(item) ? (size_t)item->valuedouble : 0;
}

static bool is(const cJSON *object, const char *name, const char *value)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsString(item) && strcmp(item->valuestring, value) == 0;
}

static bool has_flag(const cJSON *test, const char *flag)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(test, "flags")) if (strcmp(item->valuestring, flag) ==
                                                                                  0) return true;
    return false;
}

static verdict expect(bool good)
{
    return good ? PASSED : FAILED;
}

/* ---- X25519 ---- */

/* What is only "acceptable" is computed as well, but a shared secret of zeros is refused. */
static verdict check_x25519(const cJSON *group, const cJSON *test)
{
    static bytes public_key, private_key, shared;
    uint8_t out[PEA_KEY_BYTES];
    (void)group;
    get_hex(&public_key, test, "public");
    get_hex(&private_key, test, "private");
    get_hex(&shared, test, "shared");
    pea_err err = pea__x25519(out, private_key.data, public_key.data);
    if (has_flag(test, "ZeroSharedSecret"))
        return expect(err == PEA_E_CRYPTO && sodium_is_zero(shared.data, shared.len));
    return expect(err == PEA_OK && shared.len == sizeof out && memcmp(out, shared.data, sizeof out) == 0);
}

/* ---- AEADs ---- */

typedef pea_err (*aead_fn)(pea__aead_id aead, const uint8_t *k, const uint8_t *nonce, pea_span ad, const uint8_t *in,
                           size_t len, uint8_t *out);

/* The counter that Noise makes this nonce of. */
static uint64_t counter_of(pea__aead_id aead, const uint8_t nonce[12])
{
    uint64_t n = 0;
    for (unsigned i = 0; i < 8; i++)
        n = n << 8 | nonce[aead == PEA__AESGCM ? 4 + i : 11 - i];
    return n;
}

static pea_err noise_encrypt(pea__aead_id aead, const uint8_t *k, const uint8_t *nonce, pea_span ad, const uint8_t *in,
                             size_t len, uint8_t *out)
{
    return pea__aead_encrypt(aead, k, NULL, counter_of(aead, nonce), ad, in, len, out);
}

static pea_err noise_decrypt(pea__aead_id aead, const uint8_t *k, const uint8_t *nonce, pea_span ad, const uint8_t *in,
                             size_t len, uint8_t *out)
{
    return pea__aead_decrypt(aead, k, NULL, counter_of(aead, nonce), ad, in, len, out);
}

static pea_err mbedtls_encrypt(pea__aead_id aead, const uint8_t *k, const uint8_t *nonce, pea_span ad,
                               const uint8_t *in, size_t len, uint8_t *out)
{
    (void)aead;
    return pea__mbedtls_gcm_encrypt(PEA__AESGCM, k, nonce, ad, in, len, out);
}

static pea_err mbedtls_decrypt(pea__aead_id aead, const uint8_t *k, const uint8_t *nonce, pea_span ad,
                               const uint8_t *in, size_t len, uint8_t *out)
{
    (void)aead;
    return pea__mbedtls_gcm_decrypt(PEA__AESGCM, k, nonce, ad, in, len, out);
}

typedef struct aead_case {
    bytes key, nonce, ad, plain, sealed, tag;
    bool valid;
} aead_case;

static bool aead_holds(const aead_case *c, pea__aead_id aead, aead_fn encrypt, aead_fn decrypt)
{
    static uint8_t out[BYTES_MAX + 16];
    pea_span ad = {c->ad.data, c->ad.len};
    if (c->valid && (encrypt(aead, c->key.data, c->nonce.data, ad, c->plain.data, c->plain.len, out) != PEA_OK ||
                     memcmp(out, c->sealed.data, c->sealed.len) != 0))
        return false;
    pea_err err = decrypt(aead, c->key.data, c->nonce.data, ad, c->sealed.data, c->sealed.len, out);
    if (!c->valid)
        return err == PEA_E_CRYPTO;
    return err == PEA_OK && memcmp(out, c->plain.data, c->plain.len) == 0;
}

static verdict check_aead(pea__aead_id aead, const cJSON *group, const cJSON *test)
{
    static aead_case c;
    if (get_size(group, "keySize") != 256 || get_size(group, "ivSize") != 96 || get_size(group, "tagSize") != 128)
        return SKIPPED;
    get_hex(&c.key, test, "key");
    get_hex(&c.nonce, test, "iv");
    get_hex(&c.ad, test, "aad");
    get_hex(&c.plain, test, "msg");
    get_hex(&c.sealed, test, "ct");
    get_hex(&c.tag, test, "tag");
    if (c.sealed.len + c.tag.len > BYTES_MAX)
        return SKIPPED;
    memcpy(c.sealed.data + c.sealed.len, c.tag.data, c.tag.len);
    c.sealed.len += c.tag.len;
    c.valid = is(test, "result", "valid");
    unsigned asked = 0;
    bool good = true;
    if (sodium_is_zero(c.nonce.data, 4) && pea__aead_available(aead)) {
        good = good && aead_holds(&c, aead, noise_encrypt, noise_decrypt);
        asked++;
    }
    if (pea__libcrypto_available(aead)) {
        good = good && aead_holds(&c, aead, pea__libcrypto_encrypt, pea__libcrypto_decrypt);
        asked++;
    }
    if (aead == PEA__AESGCM && pea__mbedtls_gcm_available()) {
        good = good && aead_holds(&c, aead, mbedtls_encrypt, mbedtls_decrypt);
        asked++;
    }
    return asked > 0 ? expect(good) : SKIPPED;
}

static verdict check_chachapoly(const cJSON *group, const cJSON *test)
{
    return check_aead(PEA__CHACHAPOLY, group, test);
}

static verdict check_aesgcm(const cJSON *group, const cJSON *test)
{
    return check_aead(PEA__AESGCM, group, test);
}

/* ---- HMAC and HKDF ---- */

static verdict check_hmac(pea__hash_id hash, const cJSON *group, const cJSON *test)
{
    static bytes key, message, tag;
    uint8_t out[PEA_NOISE_HASH_MAX];
    size_t len = get_size(group, "tagSize") / 8; /* the first bytes of the whole */
    get_hex(&key, test, "key");
    get_hex(&message, test, "msg");
    get_hex(&tag, test, "tag");
    if (len != tag.len || len > pea__hash_len(hash))
        return FAILED;
    const pea_span whole = {message.data, message.len};
    pea__hmac(hash, (pea_span){key.data, key.len}, &whole, 1, out);
    return expect((memcmp(out, tag.data, len) == 0) == is(test, "result", "valid"));
}

static verdict check_hmac_256(const cJSON *group, const cJSON *test)
{
    return check_hmac(PEA__SHA256, group, test);
}

static verdict check_hmac_512(const cJSON *group, const cJSON *test)
{
    return check_hmac(PEA__SHA512, group, test);
}

/* HKDF-Extract is HMAC, and what Noise calls HKDF is both with an empty info, as far as it goes. */
static verdict check_hkdf(pea__hash_id hash, const cJSON *test)
{
    static bytes ikm, salt, info, okm;
    static uint8_t out[BYTES_MAX];
    uint8_t prk[PEA_NOISE_HASH_MAX];
    size_t len = get_size(test, "size"), hash_len = pea__hash_len(hash);
    get_hex(&ikm, test, "ikm");
    get_hex(&salt, test, "salt");
    get_hex(&info, test, "info");
    get_hex(&okm, test, "okm");
    const pea_span input = {ikm.data, ikm.len};
    pea__hmac(hash, (pea_span){salt.data, salt.len}, &input, 1, prk);
    pea_err err =
        len <= sizeof out ? pea__hkdf_expand(hash, prk, (pea_span){info.data, info.len}, out, len) : PEA_E_TOO_BIG;
    if (!is(test, "result", "valid"))
        return expect(err == PEA_E_TOO_BIG);
    if (err != PEA_OK || okm.len != len || memcmp(out, okm.data, len) != 0)
        return FAILED;
    if (info.len == 0 && salt.len == hash_len && len <= 3 * hash_len) {
        uint8_t three[3][PEA_NOISE_HASH_MAX];
        pea__hkdf(hash, salt.data, input, three[0], three[1], three[2]);
        for (size_t i = 0; i < len; i++)
            if (three[i / hash_len][i % hash_len] != okm.data[i])
                return FAILED;
    }
    return PASSED;
}

static verdict check_hkdf_256(const cJSON *group, const cJSON *test)
{
    (void)group;
    return check_hkdf(PEA__SHA256, test);
}

static verdict check_hkdf_512(const cJSON *group, const cJSON *test)
{
    (void)group;
    return check_hkdf(PEA__SHA512, test);
}

/* ---- Files ---- */

static const struct algorithm {
    const char *name;
    verdict (*check)(const cJSON *group, const cJSON *test);
} algorithms[] = {
    {"XDH", check_x25519},
    {"CHACHA20-POLY1305", check_chachapoly},
    {"AES-GCM", check_aesgcm},
    {"HMACSHA256", check_hmac_256},
    {"HMACSHA512", check_hmac_512},
    {"HKDF-SHA-256", check_hkdf_256},
    {"HKDF-SHA-512", check_hkdf_512},
};

static bool check_file(const char *path)
{
    char *text = file_read(path);
    cJSON *root = text != NULL ? cJSON_Parse(text) : NULL;
    const struct algorithm *a = algorithms, *end = algorithms + sizeof algorithms / sizeof algorithms[0];
    while (a < end && !is(root, "algorithm", a->name))
        a++;
    if (a == end)
        printf("FAILED %s: %s\n", path, text == NULL ? "cannot be read" : "is of no algorithm that is known here");
    const cJSON *groups = a < end ? cJSON_GetObjectItemCaseSensitive(root, "testGroups") : NULL, *group, *test;
    size_t seen = 0;
    cJSON_ArrayForEach(group, groups)
    {
        cJSON_ArrayForEach(test, cJSON_GetObjectItemCaseSensitive(group, "tests"))
        {
            verdict v = a->check(group, test);
            if (v == FAILED)
                printf("FAILED %s: test %zu\n", path, get_size(test, "tcId"));
            count[v]++;
            seen++;
        }
    }
    bool good = seen > 0 && seen == get_size(root, "numberOfTests");
    if (a < end && !good)
        printf("FAILED %s: it does not hold as many tests as it says\n", path);
    cJSON_Delete(root);
    free(text);
    return good;
}

int main(int argc, char **argv)
{
    bool good = true;
    if (argc < 2 || pea__secure_init(NULL) != PEA_OK) {
        (void)fprintf(stderr, "usage: wycheproof_vectors FILE...\n");
        return 2;
    }
    for (int i = 1; i < argc; i++)
        good = check_file(argv[i]) && good;
    printf("%u passed, %u failed, %u skipped\n", count[PASSED], count[FAILED], count[SKIPPED]);
    return good && count[FAILED] == 0 ? 0 : 1;
}
