/* SPDX-License-Identifier: MIT */
/* What holds for every pattern: any payloads arrive, both sides come to one hash, a changed bit is found, and what each
 * message proves is what the specification's table says. That the bytes are right is noise_vectors' business. */
#include <sodium.h>
#include <stdio.h>

#include "noise/noise_priv.h"
#include "secure_priv.h"
#include "support/check.h"
#include "support/prng.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* By which message (from 1) each side is sure of the other: where the source property of sections 7.7 and 18.2 becomes
 * 2 for what it reads. One more than there are messages: by the first record. 0: never. */
static const struct pattern {
    const char *name;
    unsigned messages, initiator, responder;
} patterns[] = {
    {"N", 1, 0, 0},    {"K", 1, 0, 0},    {"X", 1, 0, 0},    {"NN", 2, 0, 0},   {"NK", 2, 2, 0},   {"NX", 2, 2, 0},
    {"XN", 3, 0, 3},   {"XK", 3, 2, 3},   {"XX", 3, 2, 3},   {"KN", 2, 0, 3},   {"KK", 2, 2, 3},   {"KX", 2, 2, 3},
    {"IN", 2, 0, 3},   {"IK", 2, 2, 3},   {"IX", 2, 2, 3},   {"NK1", 2, 2, 0},  {"NX1", 3, 4, 0},  {"X1N", 4, 0, 5},
    {"X1K", 4, 2, 5},  {"XK1", 3, 2, 3},  {"X1K1", 4, 2, 5}, {"X1X", 4, 2, 5},  {"XX1", 3, 4, 3},  {"X1X1", 4, 4, 5},
    {"K1N", 3, 0, 3},  {"K1K", 3, 2, 3},  {"KK1", 2, 2, 3},  {"K1K1", 3, 2, 3}, {"K1X", 3, 2, 3},  {"KX1", 3, 4, 3},
    {"K1X1", 3, 4, 3}, {"I1N", 3, 0, 3},  {"I1K", 3, 2, 3},  {"IK1", 2, 2, 3},  {"I1K1", 3, 2, 3}, {"I1X", 3, 2, 3},
    {"IX1", 3, 4, 3},  {"I1X1", 3, 4, 3},
};

static const char *const suites[] = {"ChaChaPoly_BLAKE2b", "AESGCM_SHA256", "ChaChaPoly_SHA512", "AESGCM_BLAKE2s"};
static const uint8_t psk[PEA_KEY_BYTES] = {4, 3, 2, 1};
static pea_identity *identity[2];
static bool hybrid; /* the patterns have hfs */

typedef struct pair {
    pea_noise *side[2];
    pea_transform transform[2];
    unsigned messages;
    bool one_way, split;
} pair;

/* `places`: bits of the psks' places. False: this build has no such suite. */
static bool pair_open(pair *p, const struct pattern *pattern, unsigned places, const char *suite)
{
    char name[96], modifiers[40] = "";
    if (hybrid)
        (void)snprintf(modifiers, sizeof modifiers, "hfs");
    for (unsigned i = 0; i <= pattern->messages; i++)
        if ((places & 1u << i) != 0)
            (void)snprintf(modifiers + strlen(modifiers), sizeof modifiers - strlen(modifiers), "%spsk%u",
                           modifiers[0] != '\0' ? "+" : "", i);
    (void)snprintf(name, sizeof name, "Noise_%s%s_25519%s_%s", pattern->name, modifiers, hybrid ? "+MLKEM768" : "",
                   suite);
    *p = (pair){.messages = pattern->messages, .one_way = pattern->messages == 1};
    for (int i = 0; i < 2; i++) {
        pea_error why;
        pea_err err =
            pea_noise_new(&p->side[i], (pea_side)i,
                          PEA_NOISE(.protocol = name, .identity = identity[i], .psk = places != 0 ? psk : NULL,
                                    .remote_static = pea__identity_public(identity[!i])),
                          &why);
        if (err == PEA_E_UNSUPPORTED)
            return false;
        if (err != PEA_OK)
            fail_msg("%s: %s", name, why.text);
    }
    assert_int_equal(pea__protocol_messages(&pea__noise_state(p->side[0])->protocol), pattern->messages);
    return true;
}

static void pair_close(pair *p)
{
    for (int i = 0; i < 2; i++) {
        if (p->split)
            p->transform[i].ops->destroy(p->transform[i].self);
        pea_noise_free(p->side[i]);
    }
}

/* Message `n` (from 0) goes over with a payload of any length; its bit `flip` is changed, if it has so many. */
static pea_err pass(pair *p, unsigned n, test_prng *prng, size_t flip)
{
    uint8_t said[300];
    pea_buf message = {0}, heard = {0};
    size_t len = prng_next(prng) % sizeof said;
    memset(said, (int)n + 1, sizeof said);
    pea_err err = pea_noise_write(p->side[n % 2], (pea_span){said, len}, &message);
    if (hybrid && n == 1 && err == PEA_E_CRYPTO) { /* what was changed is no key of the KEM's any more */
        assert_int_equal(message.len, 0);
        pea_buf_free(&message);
        return err;
    }
    check_ok(err);
    if (flip != SIZE_MAX)
        message.data[flip / 8 % message.len] ^= (uint8_t)(1u << flip % 8);
    err = pea_noise_read(p->side[(n + 1) % 2], (pea_span){message.data, message.len}, &heard);
    if (err == PEA_OK && flip == SIZE_MAX)
        check_bytes(heard.data, heard.len, said, len);
    assert_true(err == PEA_OK || heard.len == 0);
    pea_buf_free(&message);
    pea_buf_free(&heard);
    return err;
}

static void split(pair *p)
{
    for (int i = 0; i < 2; i++) {
        check_err(pea_noise_turn(p->side[i]), PEA_DONE);
        check_ok(pea_noise_split(p->side[i], false, &p->transform[i]));
    }
    p->split = true;
}

/* A record from `from` to the other side, over two pieces of wire. */
static pea_err record(pair *p, int from)
{
    pea_buf wire = {0}, rest = {0}, plain = {0}, reply = {0};
    const pea_transform *a = &p->transform[from], *b = &p->transform[!from];
    const pea_span said = {(const uint8_t *)"a record", 8};
    check_ok(a->ops->seal(a->self, &said, 1, &wire));
    check_ok(pea_buf_append(&rest, wire.data, 9));
    pea_err err = b->ops->unseal(b->self, &rest, &plain, SIZE_MAX, &reply);
    check_ok(err);
    assert_int_equal(plain.len, 0);
    check_ok(pea_buf_append(&rest, wire.data + 9, wire.len - 9));
    err = b->ops->unseal(b->self, &rest, &plain, SIZE_MAX, &reply);
    if (err == PEA_OK)
        check_bytes(plain.data, plain.len, "a record", 8);
    pea_buf_free(&wire);
    pea_buf_free(&rest);
    pea_buf_free(&plain);
    return err;
}

static bool same_hash(const pair *p)
{
    uint8_t hash[2][PEA_NOISE_HASH_MAX];
    size_t len[2] = {PEA_NOISE_HASH_MAX, PEA_NOISE_HASH_MAX};
    for (int i = 0; i < 2; i++)
        check_ok(
            p->transform[i].ops->query(p->transform[i].self, PEA_QUERY_BINDING, (pea_span){NULL, 0}, hash[i], &len[i]));
    assert_int_equal(len[0], len[1]);
    return memcmp(hash[0], hash[1], len[0]) == 0;
}

static void check_proofs(const pair *p, const struct pattern *pattern, unsigned read)
{
    const unsigned proof[2] = {pattern->initiator, pattern->responder};
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(pea_noise_proof_of(p->side[i], (pea_side)!i), proof[i] == 0      ? PEA_NOISE_NO_PROOF
                                                                       : read >= proof[i] ? PEA_NOISE_PROVEN
                                                                                          : PEA_NOISE_UNPROVEN);
}

static void any_payload_arrives(void **state)
{
    test_prng prng = {34};
    (void)state;
    for (size_t i = 0; i < COUNT(patterns); i++) {
        for (unsigned places = 0; places < 2u << patterns[i].messages; places++) {
            pair p;
            if (!pair_open(&p, &patterns[i], places, suites[places % COUNT(suites)])) {
                pair_close(&p);
                continue;
            }
            check_proofs(&p, &patterns[i], 0);
            for (unsigned n = 0; n < p.messages; n++) {
                check_ok(pass(&p, n, &prng, SIZE_MAX));
                check_proofs(&p, &patterns[i], n + 1);
            }
            for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
                unsigned by = side == PEA_INITIATOR ? patterns[i].initiator : patterns[i].responder;
                unsigned proof = pea__protocol_proof(&pea__noise_state(p.side[side])->protocol, (pea_side)!side);
                assert_int_equal(proof, by == 0 ? PEA__NO_PROOF : by - 1);
            }
            split(&p);
            assert_true(same_hash(&p));
            check_ok(record(&p, 0));
            if (!p.one_way)
                check_ok(record(&p, 1));
            pair_close(&p);
        }
    }
}

/* Whatever bit is changed in whatever message, no record passes afterwards. */
static void a_changed_bit_is_found(void **state)
{
    test_prng prng = {7748};
    (void)state;
    for (size_t i = 0; i < COUNT(patterns); i++) {
        for (unsigned run = 0; run < 24; run++) {
            unsigned which = run % patterns[i].messages;
            unsigned places = run % 3 == 2 ? 1u << prng_next(&prng) % (patterns[i].messages + 1) : 0;
            pea_err err = PEA_OK;
            pair p;
            if (!pair_open(&p, &patterns[i], places, suites[run % COUNT(suites)])) {
                pair_close(&p);
                continue;
            }
            for (unsigned n = 0; n < p.messages && err == PEA_OK; n++)
                err = pass(&p, n, &prng, n == which ? (size_t)(prng_next(&prng) >> 1) : SIZE_MAX);
            if (err == PEA_OK) {
                split(&p);
                assert_false(same_hash(&p));
                assert_true(record(&p, 0) != PEA_OK);
                assert_true(p.one_way || record(&p, 1) != PEA_OK);
            }
            pair_close(&p);
        }
    }
}

static void one_way_goes_one_way(void **state)
{
    test_prng prng = {1};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        pair p;
        pea_buf buf = {0}, plain = {0}, reply = {0};
        const pea_span said = {(const uint8_t *)"x", 1};
        assert_true(pair_open(&p, &patterns[i], 0, suites[0]));
        check_ok(pass(&p, 0, &prng, SIZE_MAX));
        split(&p);
        check_err(p.transform[1].ops->seal(p.transform[1].self, &said, 1, &buf), PEA_E_STATE);
        assert_int_equal(buf.len, 0);
        check_ok(p.transform[0].ops->seal(p.transform[0].self, &said, 1, &buf));
        check_err(p.transform[0].ops->unseal(p.transform[0].self, &buf, &plain, SIZE_MAX, &reply), PEA_E_STATE);
        assert_int_equal(plain.len, 0);
        pea_buf_free(&buf);
        pair_close(&p);
    }
}

/* ---- Keys beforehand ---- */

static void keys_beforehand(void **state)
{
    static const uint8_t low[PEA_KEY_BYTES] = {1};
    pea_noise *noise = NULL;
    pea_error why;
    (void)state;
    const char *ik = "Noise_IK_25519_ChaChaPoly_BLAKE2b", *nn = "Noise_NN_25519_ChaChaPoly_BLAKE2b";
    check_err(pea_noise_new(&noise, PEA_INITIATOR, PEA_NOISE(.protocol = ik, .identity = identity[0]), &why),
              PEA_E_INVALID);
    assert_non_null(strstr(why.text, "beforehand"));
    check_err(pea_noise_new(&noise, PEA_INITIATOR,
                            PEA_NOISE(.protocol = ik, .identity = identity[0], .remote_static = low), &why),
              PEA_E_INVALID);
    check_ok(pea_noise_new(&noise, PEA_RESPONDER, PEA_NOISE(.protocol = ik, .identity = identity[1]), &why));
    uint8_t key[PEA_KEY_BYTES];
    check_err(pea_noise_remote_static(noise, key), PEA_E_STATE);
    pea_noise_free(noise);
    check_ok(pea_noise_new(&noise, PEA_INITIATOR, PEA_NOISE(.protocol = nn), &why)); /* nobody needs a key */
    pea_noise_free(noise);
    /* A key that the pattern has no use for beforehand is not taken for the peer's. */
    check_ok(pea_noise_new(&noise, PEA_INITIATOR,
                           PEA_NOISE(.identity = identity[0], .remote_static = pea__identity_public(identity[1])),
                           &why));
    check_err(pea_noise_remote_static(noise, key), PEA_E_STATE);
    pea_noise_free(noise);
    noise = NULL;
    check_err(pea_noise_new(&noise, PEA_INITIATOR,
                            PEA_NOISE(.protocol = "Noise_XXfallback_25519_ChaChaPoly_BLAKE2b", .identity = identity[0]),
                            &why),
              PEA_E_UNSUPPORTED);
    assert_non_null(strstr(why.text, "fallback"));
}

/* ---- Several psks ---- */

enum { KEYS = PEA_NOISE_PSKS_MAX };

/* An initiator with key number `has` to a responder that has all but the last. */
static void check_psks(const char *protocol, unsigned has)
{
    uint8_t keys[KEYS + 1][PEA_KEY_BYTES];
    test_prng prng = {has};
    pair p = {.messages = 2};
    for (unsigned i = 0; i <= KEYS; i++)
        memset(keys[i], (int)i + 1, PEA_KEY_BYTES);
    const uint8_t *remote = pea__identity_public(identity[1]);
    check_ok(pea_noise_new(&p.side[0], PEA_INITIATOR,
                           PEA_NOISE(.protocol = protocol, .identity = identity[0], .psk = keys[has],
                                     .remote_static = remote, .more_psks = keys[0], .n_more_psks = KEYS - 1),
                           NULL));
    check_ok(pea_noise_new(&p.side[1], PEA_RESPONDER,
                           PEA_NOISE(.protocol = protocol, .identity = identity[1], .psk = keys[0],
                                     .more_psks = keys[1], .n_more_psks = KEYS - 1),
                           NULL));
    if (has == KEYS) {
        pea__handshake_state before = *pea__noise_state(p.side[1]);
        check_err(pass(&p, 0, &prng, SIZE_MAX), PEA_E_CRYPTO);
        assert_memory_equal(&before, pea__noise_state(p.side[1]), sizeof before); /* a failed read changes nothing */
    } else {
        check_ok(pass(&p, 0, &prng, SIZE_MAX));
        check_bytes(pea__noise_state(p.side[1])->psk, PEA_KEY_BYTES, keys[has], PEA_KEY_BYTES);
        check_ok(pass(&p, 1, &prng, SIZE_MAX)); /* psk2 is under the same */
        split(&p);
        assert_true(same_hash(&p));
    }
    pair_close(&p);
}

static void several_psks_are_tried(void **state)
{
    (void)state;
    for (unsigned has = 0; has <= KEYS; has++) {
        check_psks("Noise_NNpsk0_25519_ChaChaPoly_BLAKE2b", has);
        check_psks("Noise_IKpsk0+psk2_25519_ChaChaPoly_SHA256", has);
    }
}

static void several_psks_want_psk0(void **state)
{
    static const struct {
        const char *protocol;
        bool keys, psk;
        size_t n;
        const char *says;
    } cases[] = {
        {"Noise_NNpsk2_25519_ChaChaPoly_BLAKE2b", true, true, 1, "psk0"},
        {"Noise_NNpsk0_25519_ChaChaPoly_BLAKE2b", true, true, KEYS, "at most three"},
        {"Noise_NNpsk0_25519_ChaChaPoly_BLAKE2b", false, true, 1, "at most three"},
        {"Noise_NNpsk0_25519_ChaChaPoly_BLAKE2b", true, false, 1, "needs a psk"},
        {"Noise_NN_25519_ChaChaPoly_BLAKE2b", true, false, 1, "psk0"},
    };
    uint8_t keys[KEYS][PEA_KEY_BYTES] = {{1}, {2}, {3}, {4}};
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        pea_noise *noise = NULL;
        pea_error why;
        check_err(pea_noise_new(&noise, PEA_RESPONDER,
                                PEA_NOISE(.protocol = cases[i].protocol, .psk = cases[i].psk ? psk : NULL,
                                          .more_psks = cases[i].keys ? keys[0] : NULL, .n_more_psks = cases[i].n),
                                &why),
                  PEA_E_INVALID);
        assert_non_null(strstr(why.text, cases[i].says));
    }
}

#ifdef PEAPOD_MLKEM
static int make_hybrid(void **state)
{
    (void)state;
    hybrid = true;
    return 0;
}

static int make_plain(void **state)
{
    (void)state;
    hybrid = false;
    return 0;
}

#define HYBRID(test)                                          \
    {                                                         \
#test ", hybrid", test, make_hybrid, make_plain, NULL \
    }
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_payload_arrives),
        cmocka_unit_test(a_changed_bit_is_found),
        cmocka_unit_test(one_way_goes_one_way),
        cmocka_unit_test(keys_beforehand),
        cmocka_unit_test(several_psks_are_tried),
        cmocka_unit_test(several_psks_want_psk0),
#ifdef PEAPOD_MLKEM
        HYBRID(any_payload_arrives),
        HYBRID(a_changed_bit_is_found),
#endif
    };
    if (pea__secure_init(NULL) != PEA_OK)
        return 1;
    for (int i = 0; i < 2; i++)
        if (pea_identity_generate(&identity[i], NULL) != PEA_OK)
            return 1;
    int failed = cmocka_run_group_tests_name("noise patterns", tests, NULL, NULL);
    pea_identity_unref(identity[0]);
    pea_identity_unref(identity[1]);
    return failed;
}
