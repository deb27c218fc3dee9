/* SPDX-License-Identifier: MIT */
/* The Noise engine: names, turns, messages that are wrong, keys that are none, and patterns that are only data.
 * Published vectors of the supported patterns are the business of noise_vectors. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "noise/noise_priv.h"
#include "secure_priv.h"
#include "support/check.h"
#include "support/faults.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static size_t from_hex(uint8_t *out, size_t size, const char *hex)
{
    size_t len = 0;
    assert_int_equal(sodium_hex2bin(out, size, hex, strlen(hex), NULL, &len, NULL), 0);
    return len;
}

static pea_span span(const char *text)
{
    return (pea_span){(const uint8_t *)text, strlen(text)};
}

/* Two sides that have said nothing yet. */
typedef struct pair {
    pea_noise *side[2];
    pea_identity *id[2];
} pair;

static const uint8_t some_psk[32] = "a psk of thirty-two bytes, here.";

static void pair_open(pair *p, const char *protocol, bool psk)
{
    for (int i = 0; i < 2; i++) {
        check_ok(pea_identity_generate(&p->id[i], NULL));
        check_ok(pea_noise_new(&p->side[i], (pea_side)i,
                               PEA_NOISE(.protocol = protocol, .identity = p->id[i], .psk = psk ? some_psk : NULL),
                               NULL));
    }
}

static void pair_close(pair *p)
{
    for (int i = 0; i < 2; i++) {
        pea_noise_free(p->side[i]);
        pea_identity_unref(p->id[i]);
    }
}

/* Message number `n` goes over, with a payload. */
static void pass(pair *p, int n)
{
    pea_buf message = {0}, payload = {0};
    check_err(pea_noise_turn(p->side[n % 2]), PEA_AGAIN);
    check_err(pea_noise_turn(p->side[(n + 1) % 2]), PEA_MORE);
    check_ok(pea_noise_write(p->side[n % 2], span("payload"), &message));
    check_ok(pea_noise_read(p->side[(n + 1) % 2], (pea_span){message.data, message.len}, &payload));
    check_bytes(payload.data, payload.len, "payload", 7);
    pea_buf_free(&message);
    pea_buf_free(&payload);
}

/* ---- Names ---- */

/* What this build says to a KEM. */
#ifdef PEAPOD_MLKEM
#define KEM PEA_OK
#define KEM_SAYS ""
#else
#define KEM PEA_E_UNSUPPORTED
#define KEM_SAYS "KEM \"MLKEM768\" is not supported: this build's libsodium is older than 1.0.22"
#endif
#define HYBRID "Noise_XXhfs_25519+MLKEM768_ChaChaPoly_BLAKE2b"
#define HYBRID_PSK "Noise_XXhfs+psk0_25519+MLKEM768_ChaChaPoly_SHA256"

static void test_names(void **state)
{
    static const struct {
        const char *name;
        pea_err err;
        const char *says;
    } cases[] = {
        {"Noise_XX_25519_ChaChaPoly_BLAKE2b", PEA_OK, ""},
        {"Noise_XX_25519_ChaChaPoly_SHA256", PEA_OK, ""},
        {"Noise_XXpsk3_25519_ChaChaPoly_SHA512", PEA_OK, ""},
        {"", PEA_E_FORMAT, "five parts"},
        {"Noise", PEA_E_FORMAT, "five parts"},
        {"Noise_XX_25519_ChaChaPoly", PEA_E_FORMAT, "five parts"},
        {"Noise_XX_25519_ChaChaPoly_", PEA_E_FORMAT, "five parts"},
        {"Noise__25519_ChaChaPoly_SHA256", PEA_E_FORMAT, "five parts"},
        {"Noise_XX_25519_ChaChaPoly_SHA256_", PEA_E_FORMAT, "five parts"},
        {"Noise_XX_25519_ChaChaPoly_SHA256_x", PEA_E_FORMAT, "five parts"},
        {"noise_XX_25519_ChaChaPoly_SHA256", PEA_E_FORMAT, "five parts"},
        {"Noise_IKpsk0+psk2_25519_ChaChaPoly_SHA256", PEA_OK, ""},
        {"Noise_X1X1psk0+psk1+psk2+psk3+psk4_25519_ChaChaPoly_BLAKE2b", PEA_OK, ""},
        {"Noise_XXfallback_25519_ChaChaPoly_SHA256", PEA_OK, ""},
        {"Noise_XXfallback+psk0+psk2_25519_ChaChaPoly_SHA256", PEA_OK, ""},
        {"Noise_NI_25519_ChaChaPoly_SHA256", PEA_E_UNSUPPORTED, "pattern \"NI\""},
        {"Noise_X1_25519_ChaChaPoly_SHA256", PEA_E_UNSUPPORTED, "pattern \"X1\""},
        {"Noise_xx_25519_ChaChaPoly_SHA256", PEA_E_UNSUPPORTED, "pattern \"\""},
        {"Noise_NNpsk3_25519_ChaChaPoly_SHA256", PEA_E_UNSUPPORTED, "modifier \"psk3\""},
        {"Noise_XXpsk4_25519_ChaChaPoly_SHA256", PEA_E_UNSUPPORTED, "modifier \"psk4\""},
        {"Noise_Npsk2_25519_ChaChaPoly_SHA256", PEA_E_UNSUPPORTED, "modifier \"psk2\""},
        {"Noise_XXfallback+psk3_25519_ChaChaPoly_SHA256", PEA_E_UNSUPPORTED, "modifier \"psk3\""},
        {"Noise_XXpsk9_25519_ChaChaPoly_SHA256", PEA_E_UNSUPPORTED, "modifier \"psk9\""},
        {"Noise_XXpsk_25519_ChaChaPoly_SHA256", PEA_E_UNSUPPORTED, "modifier \"psk\""},
        {"Noise_XXhfs_25519+MLKEM768_ChaChaPoly_BLAKE2b", KEM, KEM_SAYS},
        {"Noise_IKhfs+psk2_25519+MLKEM768_ChaChaPoly_SHA256", KEM, KEM_SAYS},
        {"Noise_X1X1hfs+psk0+psk1+psk2+psk3+psk4_25519+MLKEM768_ChaChaPoly_BLAKE2b", KEM, KEM_SAYS},
        {"Noise_XXhfs_25519+MLKEM512_ChaChaPoly_SHA256", PEA_E_UNSUPPORTED, "KEM \"MLKEM512\""},
        {"Noise_XXhfs_25519+_ChaChaPoly_SHA256", PEA_E_UNSUPPORTED, "KEM \"\""},
        {"Noise_XXhfs_448+MLKEM768_ChaChaPoly_SHA256", PEA_E_UNSUPPORTED, "function \"448\""},
        {"Noise_XXhfs_25519_ChaChaPoly_SHA256", PEA_E_FORMAT, "wants a KEM"},
        {"Noise_XX_25519+MLKEM768_ChaChaPoly_SHA256", PEA_E_UNSUPPORTED, "function \"25519+MLKEM768\""},
        {"Noise_Nhfs_25519+MLKEM768_ChaChaPoly_SHA256", PEA_E_UNSUPPORTED, "modifier \"hfs\""},
        {"Noise_XXfallback+hfs_25519+MLKEM768_ChaChaPoly_SHA256", PEA_E_UNSUPPORTED, "modifier \"hfs\""},
        {"Noise_XXhfs+hfs_25519+MLKEM768_ChaChaPoly_SHA256", PEA_E_FORMAT, "order"},
        {"Noise_XXpsk0+hfs_25519+MLKEM768_ChaChaPoly_SHA256", PEA_E_FORMAT, "order"},
        {"Noise_IXfallback_25519_ChaChaPoly_SHA256", PEA_E_UNSUPPORTED, "modifier \"fallback\""},
        {"Noise_XXpsk3+psk3_25519_ChaChaPoly_SHA256", PEA_E_FORMAT, "order"},
        {"Noise_XXpsk3+psk0_25519_ChaChaPoly_SHA256", PEA_E_FORMAT, "order"},
        {"Noise_XXpsk0+fallback_25519_ChaChaPoly_SHA256", PEA_E_FORMAT, "order"},
        {"Noise_XXfallback+fallback_25519_ChaChaPoly_SHA256", PEA_E_FORMAT, "order"},
        {"Noise_XXpsk3+_25519_ChaChaPoly_SHA256", PEA_E_FORMAT, "'+'"},
        {"Noise_XX+psk3_25519_ChaChaPoly_SHA256", PEA_E_UNSUPPORTED, "pattern \"XX+\""},
        {"Noise_XX_448_ChaChaPoly_SHA256", PEA_E_UNSUPPORTED, "function \"448\""},
        {"Noise_XX_25519_AES_SHA256", PEA_E_UNSUPPORTED, "cipher \"AES\""},
        {"Noise_XX_25519_ChaChaPoly_SHA1", PEA_E_UNSUPPORTED, "hash \"SHA1\""},
        {"Noise_XX_25519_ChaChaPoly_SHA256 ", PEA_E_UNSUPPORTED, "hash \"SHA256 \""},
        {"Noise_AVERYLONGPATTERNNAMETHATGOESONANDONANDONANDON_25519_ChaChaPoly_SHA256", PEA_E_UNSUPPORTED, "pattern"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        pea__protocol protocol;
        pea_error why = {0};
        check_err(pea__protocol_parse(&protocol, cases[i].name, &why), cases[i].err);
        assert_non_null(strstr(why.text, cases[i].says));
        if (cases[i].err == PEA_OK) {
            char name[PEA__PROTOCOL_NAME_BYTES];
            assert_int_equal(pea__protocol_name(&protocol, name), strlen(cases[i].name));
            assert_string_equal(name, cases[i].name);
        }
    }
}

static void test_missing_parts(void **state)
{
    pea_identity *id;
    pea_noise *noise = NULL;
    pea_error why;
    (void)state;
    check_ok(pea_identity_generate(&id, NULL));
    check_err(pea_noise_new(&noise, PEA_INITIATOR, NULL, &why), PEA_E_INVALID);
    assert_non_null(strstr(why.text, "identity"));
    check_err(pea_noise_new(&noise, PEA_INITIATOR, PEA_NOISE(.identity = id, .psk = some_psk), &why), PEA_E_INVALID);
    assert_non_null(strstr(why.text, "no psk modifier"));
    check_err(pea_noise_new(&noise, PEA_INITIATOR,
                            PEA_NOISE(.identity = id, .protocol = "Noise_XXpsk3_25519_ChaChaPoly_BLAKE2b"), &why),
              PEA_E_INVALID);
    assert_non_null(strstr(why.text, "needs a psk"));
    check_err(pea_noise_new(&noise, (pea_side)2, PEA_NOISE(.identity = id), &why), PEA_E_INVALID);
    check_err(pea_noise_new(&noise, PEA_INITIATOR, PEA_NOISE(.identity = id, .prologue = {NULL, 4}), &why),
              PEA_E_INVALID);
    assert_null(noise);
    pea_noise_free(NULL);
    pea_identity_unref(id);
}

/* ---- Turns and payloads ---- */

static void test_turns(void **state)
{
    pair p;
    uint8_t key[32];
    pea_buf out = {0};
    pea_transform transform;
    (void)state;
    pair_open(&p, NULL, false);
    check_err(pea_noise_write(p.side[1], span(""), &out), PEA_E_STATE);
    check_err(pea_noise_read(p.side[0], span("x"), &out), PEA_E_STATE);
    check_err(pea_noise_split(p.side[0], false, &transform), PEA_E_STATE);
    check_err(pea_noise_remote_static(p.side[0], key), PEA_E_STATE);
    pass(&p, 0);
    check_err(pea_noise_remote_static(p.side[1], key), PEA_E_STATE);
    pass(&p, 1);
    check_ok(pea_noise_remote_static(p.side[0], key));
    check_bytes(key, 32, pea__identity_public(p.id[1]), 32);
    check_err(pea_noise_remote_static(p.side[1], key), PEA_E_STATE);
    pass(&p, 2);
    check_ok(pea_noise_remote_static(p.side[1], key));
    check_bytes(key, 32, pea__identity_public(p.id[0]), 32);
    for (int i = 0; i < 2; i++) {
        check_err(pea_noise_turn(p.side[i]), PEA_DONE);
        check_err(pea_noise_write(p.side[i], span(""), &out), PEA_E_STATE);
        check_err(pea_noise_read(p.side[i], span("x"), &out), PEA_E_STATE);
        check_ok(pea_noise_split(p.side[i], false, &transform));
        transform.ops->destroy(transform.self);
        check_err(pea_noise_split(p.side[i], false, &transform), PEA_E_STATE);
        check_err(pea_noise_turn(p.side[i]), PEA_E_STATE);
        assert_true(sodium_is_zero((const uint8_t *)pea__noise_state(p.side[i]),
                                   sizeof(pea__handshake_state))); /* nothing is left of its secrets */
    }
    assert_int_equal(out.len, 0);
    pair_close(&p);
}

/* `overhead`: of each of its three messages. */
static void check_payload_sizes(const char *protocol, const size_t overhead[3])
{
    uint8_t *data = calloc(1, PEA_NOISE_MESSAGE_MAX);
    for (int n = 0; n < 3; n++) {
        pair p;
        pea_buf message = {0}, payload = {0};
        pair_open(&p, protocol, false);
        for (int i = 0; i < n; i++)
            pass(&p, i);
        size_t most = PEA_NOISE_MESSAGE_MAX - overhead[n];
        pea_noise *from = p.side[n % 2], *to = p.side[(n + 1) % 2];
        check_ok(pea_buf_append(&message, "before", 6));
        check_ok(pea_noise_write(from, (pea_span){data, most}, &message));
        assert_int_equal(message.len, 6 + PEA_NOISE_MESSAGE_MAX);
        pea_buf_consume(&message, 6);
        check_ok(pea_noise_read(to, (pea_span){message.data, message.len}, &payload));
        check_bytes(payload.data, payload.len, data, most);
        pair_close(&p);

        pair_open(&p, protocol, false);
        for (int i = 0; i < n; i++)
            pass(&p, i);
        from = p.side[n % 2];
        message.len = 0;
        check_err(pea_noise_write(from, (pea_span){data, most + 1}, &message), PEA_E_TOO_BIG);
        assert_int_equal(message.len, 0);
        check_err(pea_noise_turn(from), PEA_E_TOO_BIG); /* sticky */
        check_err(pea_noise_write(from, span(""), &message), PEA_E_TOO_BIG);
        check_err(pea_noise_read(p.side[1], (pea_span){data, 0}, &payload), n % 2 == 0 ? PEA_E_PROTO : PEA_E_TOO_BIG);
        pair_close(&p);
        pea_buf_free(&message);
        pea_buf_free(&payload);
    }
    free(data);
}

static void test_payload_sizes(void **state)
{
    /* XX: e; e, s and two tags; s and two tags. Hybrid: a public key in the clear; a ciphertext with its tag. */
    static const size_t xx[] = {32, 32 + 48 + 16, 48 + 16};
    static const size_t xxhfs[] = {32 + 1184, 32 + 1088 + 16 + 48 + 16, 48 + 16};
    (void)state;
    check_payload_sizes(NULL, xx);
    if (pea__kem_available())
        check_payload_sizes(HYBRID, xxhfs);
}

static void test_too_long(void **state)
{
    pair p;
    pea_buf payload = {0};
    uint8_t *data = calloc(1, PEA_NOISE_MESSAGE_MAX + 1);
    (void)state;
    pair_open(&p, NULL, false);
    check_err(pea_noise_read(p.side[1], (pea_span){data, PEA_NOISE_MESSAGE_MAX + 1}, &payload), PEA_E_PROTO);
    check_err(pea_noise_turn(p.side[1]), PEA_MORE);
    pair_close(&p);
    pea_buf_free(&payload);
    free(data);
}

/* ---- Messages that are wrong ---- */

/* A read that fails must leave the whole state as it was. */
static void must_fail(pea_noise *noise, pea_span message, pea_err want, pea_err or_want)
{
    pea__handshake_state before = *pea__noise_state(noise);
    pea_buf payload = {0};
    check_ok(pea_buf_append(&payload, "kept", 4));
    pea_err err = pea_noise_read(noise, message, &payload);
    assert_true(err == want || err == or_want);
    check_bytes(payload.data, payload.len, "kept", 4);
    assert_memory_equal(&before, pea__noise_state(noise), sizeof before);
    pea_buf_free(&payload);
}

/* For each message: each bit flipped, each shorter length, then the good one, which must still be taken. */
static void check_damage(const char *protocol, bool psk)
{
    pair p;
    pair_open(&p, protocol, psk);
    for (int n = 0; n < 3; n++) {
        pea_buf message = {0}, payload = {0};
        pea_noise *to = p.side[(n + 1) % 2];
        check_ok(pea_noise_write(p.side[n % 2], span("payload"), &message));
        bool plain = n == 0 && !psk; /* the first message of XX authenticates nothing: damage is found later */
        for (size_t bit = 0; !plain && bit < 8 * message.len; bit += 3) {
            message.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
            /* Bit 255 of an ephemeral key is ignored by X25519, but hashed. */
            must_fail(to, (pea_span){message.data, message.len}, PEA_E_CRYPTO, PEA_E_CRYPTO);
            message.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        for (size_t len = 0; len < (plain ? 32 : message.len); len++)
            must_fail(to, (pea_span){message.data, len}, PEA_E_PROTO, PEA_E_CRYPTO);
        check_ok(pea_noise_read(to, (pea_span){message.data, message.len}, &payload));
        check_bytes(payload.data, payload.len, "payload", 7);
        pea_buf_free(&message);
        pea_buf_free(&payload);
    }
    pair_close(&p);
}

static void test_damage(void **state)
{
    (void)state;
    check_damage("Noise_XX_25519_ChaChaPoly_BLAKE2b", false);
    check_damage("Noise_XXpsk3_25519_ChaChaPoly_SHA256", true);
    if (pea__kem_available()) {
        check_damage(HYBRID, false);
        check_damage(HYBRID_PSK, true);
    }
}

/* ---- Hybrid patterns ---- */

/* What is no key of the KEM's is found when something is to be said under it; what was changed in one, by message 2. */
static void test_bad_kem_keys(void **state)
{
    (void)state;
    for (int how = 0; how < 2 && pea__kem_available(); how++) {
        pair p;
        pea_buf one = {0}, two = {0}, payload = {0};
        pair_open(&p, HYBRID, false);
        check_ok(pea_noise_write(p.side[0], span(""), &one));
        assert_int_equal(one.len, 32 + 1184);
        if (how == 0)
            memset(one.data + 32, 0xFF, 1184); /* coefficients are less than 3,329 */
        else
            one.data[one.len - 1] ^= 1; /* of the seed of its matrix: as good as any */
        check_ok(pea_noise_read(p.side[1], (pea_span){one.data, one.len}, &payload));
        pea_err err = pea_noise_write(p.side[1], span(""), &two);
        check_err(err, how == 0 ? PEA_E_CRYPTO : PEA_OK);
        if (how == 0)
            assert_int_equal(two.len, 0);
        else
            must_fail(p.side[0], (pea_span){two.data, two.len}, PEA_E_CRYPTO, PEA_E_CRYPTO);
        pair_close(&p);
        pea_buf_free(&one);
        pea_buf_free(&two);
        pea_buf_free(&payload);
    }
}

/* The KEM's keys are new each time, and gone with the handshake. */
static void test_kem_keys_are_gone(void **state)
{
    uint8_t seeds[2][PEA__KEM_SEED_BYTES];
    (void)state;
    for (int run = 0; run < 2 && pea__kem_available(); run++) {
        pair p;
        pair_open(&p, HYBRID, false);
        for (int n = 0; n < 3; n++)
            pass(&p, n);
        memcpy(seeds[run], pea__noise_state(p.side[0])->kem->seed, sizeof seeds[run]);
        for (int i = 0; i < 2; i++) {
            pea_transform transform;
            pea__kem_state *kem = pea__noise_state(p.side[i])->kem;
            assert_false(sodium_is_zero(kem->seed, 32));
            check_ok(pea_noise_split(p.side[i], false, &transform));
            transform.ops->destroy(transform.self);
            assert_true(sodium_is_zero((const uint8_t *)kem, sizeof *kem));
        }
        if (run == 1)
            assert_memory_not_equal(seeds[0], seeds[1], sizeof seeds[0]);
        pair_close(&p);
    }
}

static void test_damaged_first_message(void **state)
{
    /* What nobody can see in message 1 shows in message 2. */
    (void)state;
    for (size_t at = 0; at < 32 + 7; at++) {
        pair p;
        pea_buf one = {0}, two = {0}, payload = {0};
        pair_open(&p, NULL, false);
        check_ok(pea_noise_write(p.side[0], span("payload"), &one));
        one.data[at] ^= 0x40;
        check_ok(pea_noise_read(p.side[1], (pea_span){one.data, one.len}, &payload));
        check_ok(pea_noise_write(p.side[1], span(""), &two));
        must_fail(p.side[0], (pea_span){two.data, two.len}, PEA_E_CRYPTO, PEA_E_CRYPTO);
        pair_close(&p);
        pea_buf_free(&one);
        pea_buf_free(&two);
        pea_buf_free(&payload);
    }
}

/* Two sides that differ in what both must know; message `fails` is the first that cannot be read. */
static void check_mismatch(const pea_noise_opts *a, const pea_noise_opts *b, int fails)
{
    pair p;
    const pea_noise_opts *opts[2] = {a, b};
    for (int i = 0; i < 2; i++) {
        pea_noise_opts o = *opts[i];
        check_ok(pea_identity_generate(&p.id[i], NULL));
        o.identity = p.id[i];
        check_ok(pea_noise_new(&p.side[i], (pea_side)i, &o, NULL));
    }
    for (int n = 0; n < fails; n++)
        pass(&p, n);
    pea_buf message = {0};
    check_ok(pea_noise_write(p.side[fails % 2], span(""), &message));
    must_fail(p.side[(fails + 1) % 2], (pea_span){message.data, message.len}, PEA_E_CRYPTO, PEA_E_CRYPTO);
    pea_buf_free(&message);
    pair_close(&p);
}

static void test_mismatches(void **state)
{
    static const uint8_t other_psk[32] = "another psk of thirty-two bytes.";
    const char *psk3 = "Noise_XXpsk3_25519_ChaChaPoly_BLAKE2b";
    (void)state;
    check_mismatch(PEA_NOISE(.prologue = {(const uint8_t *)"a", 1}), PEA_NOISE(.prologue = {(const uint8_t *)"b", 1}),
                   1);
    check_mismatch(PEA_NOISE(.prologue = {(const uint8_t *)"a", 1}), PEA_NOISE(.prologue = {NULL, 0}), 1);
    check_mismatch(PEA_NOISE(.protocol = psk3, .psk = some_psk), PEA_NOISE(.protocol = psk3, .psk = other_psk), 2);
    check_mismatch(PEA_NOISE(.protocol = "Noise_XX_25519_ChaChaPoly_SHA512"), PEA_NOISE(.protocol = NULL), 1);
}

/* ---- Keys that are none ---- */

static void test_low_order_ephemeral(void **state)
{
    static const char *const points[] = {
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000080",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(points); i++) {
        pair p;
        uint8_t e[32];
        pea_buf buf = {0};
        from_hex(e, 32, points[i]);
        /* From the initiator: found when the responder writes. */
        pair_open(&p, NULL, false);
        check_ok(pea_noise_read(p.side[1], (pea_span){e, 32}, &buf));
        check_err(pea_noise_write(p.side[1], span(""), &buf), PEA_E_CRYPTO);
        assert_int_equal(buf.len, 0);
        check_err(pea_noise_turn(p.side[1]), PEA_E_CRYPTO);
        /* From the responder: found when the initiator reads. */
        uint8_t two[96] = {0};
        memcpy(two, e, 32);
        check_ok(pea_noise_write(p.side[0], span(""), &buf));
        must_fail(p.side[0], (pea_span){two, sizeof two}, PEA_E_CRYPTO, PEA_E_CRYPTO);
        pea_buf_free(&buf);
        pair_close(&p);
    }
}

/* Message 2 by hand, from a responder that shows `key` as its static key: all else in it is genuine. */
static pea_err read_forged(pair *p, const uint8_t key[32])
{
    uint8_t out[32 + 48 + 16], shared[32];
    pea_noise *responder = p->side[1];
    pea_buf payload = {0};
    pass(p, 0);
    pea__handshake_state *hs = pea__noise_state(responder);
    randombytes_buf(hs->e, 32);
    check_ok(pea__x25519_public(out, hs->e)); /* e */
    pea__mix_hash(&hs->ss, out, 32);
    check_ok(pea__x25519(shared, hs->e, hs->re)); /* ee */
    pea__mix_key(&hs->ss, shared, 32);
    check_ok(pea__encrypt_and_hash(&hs->ss, key, 32, out + 32));           /* s */
    check_ok(pea__x25519(shared, pea__identity_secret(p->id[1]), hs->re)); /* es */
    pea__mix_key(&hs->ss, shared, 32);
    check_ok(pea__encrypt_and_hash(&hs->ss, NULL, 0, out + 80));
    pea_err err = pea_noise_read(p->side[0], (pea_span){out, sizeof out}, &payload);
    pea_buf_free(&payload);
    return err;
}

static void test_bad_static(void **state)
{
    static const char *const keys[] = {
        NULL, /* the genuine key: what is built by hand is right */
        "",   /* the genuine key with the high bit set: X25519 ignores that, and only the check for canonical keys can
                 object */
        "f6ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", /* the base point's second name */
        "0000000000000000000000000000000000000000000000000000000000000000",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(keys); i++) {
        pair p;
        uint8_t key[32], remote[32];
        pair_open(&p, NULL, false);
        memcpy(key, pea__identity_public(p.id[1]), 32);
        if (keys[i] != NULL && from_hex(key, 32, keys[i]) == 0)
            key[31] |= 0x80;
        check_err(read_forged(&p, key), i == 0 ? PEA_OK : PEA_E_CRYPTO);
        check_err(pea_noise_remote_static(p.side[0], remote), i == 0 ? PEA_OK : PEA_E_STATE);
        pair_close(&p);
    }
}

/* ---- CipherState ---- */

static void test_nonce_limit(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        pea__aead_id aead = i == 0 ? PEA__CHACHAPOLY : PEA__AESGCM;
        if (!pea__aead_available(aead))
            continue;
        static const uint8_t k[32] = {1};
        pea__cipher_state a = {0}, b = {0};
        uint8_t sealed[20], plain[4];
        pea_span none = {NULL, 0};
        pea__cipher_initialize_key(&a, aead, k);
        pea__cipher_initialize_key(&b, aead, k);
        check_ok(pea__cipher_expand(&b));
        a.n = b.n = UINT64_MAX - 1; /* the last that may be used */
        check_ok(pea__encrypt_with_ad(&a, none, (const uint8_t *)"last", 4, sealed));
        check_err(pea__encrypt_with_ad(&a, none, (const uint8_t *)"past", 4, plain), PEA_E_KEY_LIMIT);
        assert_true(a.n == UINT64_MAX);
        sealed[0] ^= 1;
        check_err(pea__decrypt_with_ad(&b, none, sealed, 20, plain), PEA_E_CRYPTO);
        assert_true(b.n == UINT64_MAX - 1);
        sealed[0] ^= 1;
        check_ok(pea__decrypt_with_ad(&b, none, sealed, 20, plain));
        check_bytes(plain, 4, "last", 4);
        check_err(pea__decrypt_with_ad(&b, none, sealed, 20, plain), PEA_E_KEY_LIMIT);
        /* Rekeying does not turn the counter back, and a new key does. */
        check_ok(pea__rekey(&b));
        check_err(pea__decrypt_with_ad(&b, none, sealed, 20, plain), PEA_E_KEY_LIMIT);
        pea__cipher_initialize_key(&a, aead, k);
        assert_true(a.n == 0);
        pea__cipher_wipe(&a);
        pea__cipher_wipe(&b);
        assert_true(sodium_is_zero(b.k, sizeof b.k));
    }
}

/* ---- Memory ---- */

static void handshake_once(bool *complete)
{
    pair p = {{NULL, NULL}, {NULL, NULL}};
    pea_transform transform[2];
    int split = 0;
    *complete = false;
    for (int i = 0; i < 2; i++) {
        if (pea_identity_generate(&p.id[i], NULL) != PEA_OK) {
            p.id[i] = NULL;
            goto out;
        }
        if (pea_noise_new(&p.side[i], (pea_side)i,
                          PEA_NOISE(.identity = p.id[i], .protocol = "Noise_XX_25519_AESGCM_BLAKE2b"), NULL) != PEA_OK)
            goto out;
    }
    for (int n = 0; n < 3; n++) {
        pea_buf message = {0}, payload = {0};
        pea_err err = pea_noise_write(p.side[n % 2], span("payload"), &message);
        if (err == PEA_OK)
            err = pea_noise_read(p.side[!(n % 2)], (pea_span){message.data, message.len}, &payload);
        assert_true(err == PEA_OK || err == PEA_E_NOMEM);
        assert_true(err == PEA_OK || payload.len == 0);
        pea_buf_free(&message);
        pea_buf_free(&payload);
        if (err != PEA_OK)
            goto out;
    }
    for (; split < 2; split++)
        if (pea_noise_split(p.side[split], true, &transform[split]) != PEA_OK)
            break;
    *complete = split == 2;
    while (split > 0) {
        split--;
        transform[split].ops->destroy(transform[split].self);
    }
out:
    pair_close(&p);
}

static void test_no_memory(void **state)
{
    bool complete = false;
    size_t nth = 0, blocks = faults_blocks();
    (void)state;
    if (!pea__aead_available(PEA__AESGCM))
        skip();
    for (; !complete && nth < 100; nth++) {
        faults_arm(nth);
        handshake_once(&complete);
        (void)faults_disarm();
        assert_int_equal(faults_blocks(), blocks);
    }
    assert_true(complete && nth > 10); /* each of its allocations failed once, and then none */
}

int main(void)
{
    faults_install();
    if (pea__secure_init(NULL) != PEA_OK)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),        cmocka_unit_test(test_missing_parts),
        cmocka_unit_test(test_turns),        cmocka_unit_test(test_payload_sizes),
        cmocka_unit_test(test_too_long),     cmocka_unit_test(test_damage),
        cmocka_unit_test(test_mismatches),   cmocka_unit_test(test_damaged_first_message),
        cmocka_unit_test(test_bad_kem_keys), cmocka_unit_test(test_kem_keys_are_gone),
        cmocka_unit_test(test_bad_static),   cmocka_unit_test(test_low_order_ephemeral),
        cmocka_unit_test(test_nonce_limit),  cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests_name("noise handshake", tests, NULL, NULL);
}
