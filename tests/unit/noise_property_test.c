/* SPDX-License-Identifier: MIT */
/* Noise by properties: whatever pattern, psks, suite, payloads, pieces of wire and bounds of plaintext are drawn, both
 * sides come to the same hash, keys and exporter; and a bit that is changed, in whatever byte, is refused and changes
 * nothing: the right message is taken afterwards. Draws are the same in every run, keys and all; what failed says its
 * seed. With PEA_TEST_EVERY_BYTE there are many more draws, and every bit of every byte is changed. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "noise/noise_priv.h"
#include "secure_priv.h"
#include "support/check.h"
#include "support/prng.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const char *const patterns[] = {
    "N",   "K",    "X",   "NN",  "NK",   "NX",  "XN",  "XK",   "XX",   "KN",  "KK",   "KX",   "IN",
    "IK",  "IX",   "NK1", "NX1", "X1N",  "X1K", "XK1", "X1K1", "X1X",  "XX1", "X1X1", "K1N",  "K1K",
    "KK1", "K1K1", "K1X", "KX1", "K1X1", "I1N", "I1K", "IK1",  "I1K1", "I1X", "IX1",  "I1X1",
};
static const char *const suites[] = {
    "ChaChaPoly_SHA256", "ChaChaPoly_SHA512", "ChaChaPoly_BLAKE2b", "ChaChaPoly_BLAKE2s",
    "AESGCM_SHA256",     "AESGCM_SHA512",     "AESGCM_BLAKE2b",     "AESGCM_BLAKE2s",
};

enum { PAYLOAD_MAX = 4000, PLAIN_MAX = 200000 };

static pea_identity *identity[2];
static bool every_byte;

/* ---- One draw: two sides that were made for each other ---- */

typedef struct draw {
    uint64_t seed;
    test_prng prng;
    char protocol[PEA__PROTOCOL_NAME_BYTES];
    bool preserving;
    pea_noise *side[2];
    unsigned messages;
    pea_transform transform[2];
    bool split;
} draw;

/* So that a failure can be drawn again: shown before the assertion's own words. */
static void check_draw(const draw *d, bool holds, const char *what)
{
    if (!holds)
        fail_msg("seed %llu, %s: %s", (unsigned long long)d->seed, d->protocol, what);
}

static bool is(const pea_buf *heard, const uint8_t *said, size_t len)
{
    return heard->len == len && (len == 0 || memcmp(heard->data, said, len) == 0);
}

static void draw_name(draw *d, const char *pattern, const char *suite)
{
    pea__protocol plain;
    char name[2 * PEA__PROTOCOL_NAME_BYTES], modifiers[40] = "";
    (void)snprintf(name, sizeof name, "Noise_%s_25519_ChaChaPoly_SHA256", pattern);
    check_ok(pea__protocol_parse(&plain, name, NULL));
    d->messages = pea__protocol_messages(&plain);
    size_t places = prng_below(&d->prng, 3) == 0 ? 0 : prng_below(&d->prng, (size_t)2 << d->messages);
    for (unsigned i = 0; i <= d->messages; i++)
        if ((places & 1u << i) != 0)
            (void)snprintf(modifiers + strlen(modifiers), sizeof modifiers - strlen(modifiers), "%spsk%u",
                           modifiers[0] != '\0' ? "+" : "", i);
    (void)snprintf(name, sizeof name, "Noise_%s%s_25519_%s", pattern, modifiers, suite);
    assert_true(strlen(name) < sizeof d->protocol);
    memcpy(d->protocol, name, strlen(name) + 1);
}

/* False: this build or machine has no such suite. */
static bool draw_open(draw *d, uint64_t seed, const char *pattern, const char *suite)
{
    uint8_t psk[PEA_KEY_BYTES], ephemeral[PEA_KEY_BYTES], prologue[100];
    *d = (draw){.seed = seed, .prng = {seed}};
    draw_name(d, pattern, suite);
    prng_fill(&d->prng, psk, sizeof psk);
    prng_fill(&d->prng, prologue, sizeof prologue);
    const pea_span said = {prologue, prng_below(&d->prng, sizeof prologue + 1)};
    d->preserving = prng_below(&d->prng, 2) == 0;
    for (int i = 0; i < 2; i++) {
        pea_error why;
        pea_err err = pea_noise_new(&d->side[i], (pea_side)i,
                                    PEA_NOISE(.protocol = d->protocol, .identity = identity[i], .prologue = said,
                                              .psk = strstr(d->protocol, "psk") != NULL ? psk : NULL,
                                              .record_preserving = d->preserving,
                                              .remote_static = pea__identity_public(identity[!i])),
                                    &why);
        if (err == PEA_E_UNSUPPORTED)
            return false;
        check_draw(d, err == PEA_OK, why.text);
        prng_fill(&d->prng, ephemeral, sizeof ephemeral);
        pea__noise_fix_ephemeral(d->side[i], ephemeral);
    }
    return true;
}

static void draw_close(draw *d)
{
    for (int i = 0; i < 2; i++) {
        if (d->split)
            d->transform[i].ops->destroy(d->transform[i].self);
        pea_noise_free(d->side[i]);
    }
}

/* ---- The handshake ---- */

static void read_whole(draw *d, unsigned n, const pea_buf *message, const uint8_t *said, size_t len)
{
    pea_buf heard = {0};
    pea_err err = pea_noise_read(d->side[(n + 1) % 2], (pea_span){message->data, message->len}, &heard);
    check_draw(d, err == PEA_OK, pea_err_name(err));
    check_draw(d, is(&heard, said, len), "another payload arrived");
    pea_buf_free(&heard);
}

/* A wrong message is refused, and nothing of whoever reads is another than it was. */
static void refuse(draw *d, unsigned n, const pea_buf *message, size_t len)
{
    pea_noise *reader = d->side[(n + 1) % 2];
    pea__handshake_state before = *pea__noise_state(reader);
    pea_buf heard = {0};
    pea_err err = pea_noise_read(reader, (pea_span){message->data, len}, &heard);
    check_draw(d, err == PEA_E_CRYPTO || err == PEA_E_PROTO, "a message that was changed was not refused");
    check_draw(d, heard.len == 0, "something was heard of a message that was changed");
    check_draw(d, memcmp(&before, pea__noise_state(reader), sizeof before) == 0, "a refusal changed the reader");
    pea_buf_free(&heard);
    sodium_memzero(&before, sizeof before);
}

/* A bit of each byte, or each bit, is changed; then bytes are missing, and one is too many. */
static void damage(draw *d, unsigned n, pea_buf *message)
{
    for (size_t at = 0; at < message->len; at++) {
        unsigned drawn = (unsigned)prng_below(&d->prng, 8);
        for (unsigned bit = every_byte ? 0 : drawn; bit <= (every_byte ? 7 : drawn); bit++) {
            message->data[at] ^= (uint8_t)(1u << bit);
            refuse(d, n, message, message->len);
            message->data[at] ^= (uint8_t)(1u << bit);
        }
    }
    refuse(d, n, message, prng_below(&d->prng, message->len));
    check_ok(pea_buf_append(message, "", 1));
    refuse(d, n, message, message->len);
    message->len--;
}

/* Message `n` with a payload of any length up to `most` goes over; damaged before, if its payload is encrypted: what is
 * not is found out by the next that is, which is noise_patterns_test's business. */
static void pass(draw *d, unsigned n, size_t most, bool damaged)
{
    static uint8_t said[PAYLOAD_MAX];
    pea_buf message = {0};
    size_t len = prng_below(&d->prng, most + 1);
    prng_fill(&d->prng, said, len);
    check_ok(pea_noise_write(d->side[n % 2], (pea_span){said, len}, &message));
    if (damaged && pea__noise_state(d->side[n % 2])->ss.cipher.has_key)
        damage(d, n, &message);
    read_whole(d, n, &message, said, len);
    pea_buf_free(&message);
}

static void shake_hands(draw *d, size_t most, bool damaged)
{
    for (unsigned n = 0; n < d->messages; n++)
        pass(d, n, most, damaged);
    for (int i = 0; i < 2; i++) {
        check_err(pea_noise_turn(d->side[i]), PEA_DONE);
        check_ok(pea_noise_split(d->side[i], false, &d->transform[i]));
    }
    d->split = true;
}

/* ---- What it leaves ---- */

static void ask(const draw *d, int side, pea_query what, pea_span in, uint8_t *out, size_t len)
{
    size_t n = len;
    check_ok(d->transform[side].ops->query(d->transform[side].self, what, in, out, &n));
}

static void check_secrets(draw *d)
{
    uint8_t got[2][200];
    uint8_t label[40];
    prng_fill(&d->prng, label, sizeof label);
    const pea_span in = {label, 1 + prng_below(&d->prng, sizeof label)};
    memset(got, 0, sizeof got);
    for (int i = 0; i < 2; i++)
        ask(d, i, PEA_QUERY_BINDING, (pea_span){NULL, 0}, got[i], PEA_NOISE_HASH_MAX);
    check_draw(d, memcmp(got[0], got[1], sizeof got[0]) == 0, "the hashes differ");
    check_draw(d, !sodium_is_zero(got[0], 32), "there is no hash");
    size_t len = 1 + prng_below(&d->prng, sizeof got[0]);
    for (int i = 0; i < 2; i++)
        ask(d, i, PEA_QUERY_EXPORT, in, got[i], len);
    check_draw(d, memcmp(got[0], got[1], sizeof got[0]) == 0, "the exporters differ");
}

/* As many bytes as are drawn, small or large, in up to four spans. */
static void seal(draw *d, int from, const uint8_t *plain, size_t len, pea_buf *wire)
{
    pea_span spans[4];
    size_t n = 1 + prng_below(&d->prng, COUNT(spans)), at = 0;
    for (size_t i = 0; i < n; i++) {
        size_t piece = i + 1 < n ? prng_below(&d->prng, len - at + 1) : len - at;
        spans[i] = (pea_span){plain + at, piece};
        at += piece;
    }
    check_ok(d->transform[from].ops->seal(d->transform[from].self, spans, n, wire));
}

/* All of `wire` arrives at `to` in pieces, with another bound of plaintext for each. */
static void unseal_in_pieces(draw *d, int to, const pea_buf *wire, size_t largest_piece, pea_buf *plain)
{
    const pea_transform *t = &d->transform[to];
    pea_buf come = {0}, reply = {0};
    for (size_t at = 0, piece; at < wire->len; at += piece) {
        piece = 1 + prng_below(&d->prng, largest_piece);
        piece = piece < wire->len - at ? piece : wire->len - at;
        check_ok(pea_buf_append(&come, wire->data + at, piece));
        pea_err err;
        do
            err = t->ops->unseal(t->self, &come, plain, 1 + prng_below(&d->prng, 100000), &reply);
        while (err == PEA_AGAIN);
        check_draw(d, err == PEA_OK, pea_err_name(err));
    }
    check_draw(d, come.len == 0 && reply.len == 0, "something was left, or answered");
    pea_buf_free(&come);
}

static void talk(draw *d, int from)
{
    static uint8_t said[PLAIN_MAX];
    pea_buf wire = {0}, heard = {0};
    size_t total = 0;
    for (size_t seals = 1 + prng_below(&d->prng, 4); seals > 0; seals--) {
        size_t len = prng_below(&d->prng, prng_below(&d->prng, 4) > 0 ? 200 : PLAIN_MAX / 4);
        prng_fill(&d->prng, said + total, len);
        seal(d, from, said + total, len, &wire);
        total += len;
    }
    size_t pieces = 1 + prng_below(&d->prng, wire.len + 1); /* nothing may be no record at all */
    unseal_in_pieces(d, !from, &wire, wire.len / pieces + 1, &heard);
    check_draw(d, is(&heard, said, total), "another plaintext arrived");
    pea_buf_free(&wire);
    pea_buf_free(&heard);
}

/* A record of which a bit was changed says nothing, whether it is refused or waited for; the right one does. */
static void damage_record(draw *d, int from)
{
    const pea_transform *t = &d->transform[!from];
    uint8_t said[40];
    pea_buf wire = {0}, heard = {0};
    size_t len = 1 + prng_below(&d->prng, sizeof said);
    prng_fill(&d->prng, said, len);
    seal(d, from, said, len, &wire);
    for (size_t at = 0; at < wire.len; at++) {
        unsigned drawn = (unsigned)prng_below(&d->prng, 8);
        for (unsigned bit = every_byte ? 0 : drawn; bit <= (every_byte ? 7 : drawn); bit++) {
            pea_buf come = {0}, reply = {0};
            check_ok(pea_buf_append(&come, wire.data, wire.len));
            come.data[at] ^= (uint8_t)(1u << bit);
            pea_err err = t->ops->unseal(t->self, &come, &heard, SIZE_MAX, &reply);
            check_draw(d, err < 0 || (at < PEA__RECORD_HEADER_BYTES && err == PEA_OK && come.len == wire.len),
                       "a record that was changed was not refused");
            check_draw(d, heard.len == 0, "something was heard of a record that was changed");
            pea_buf_free(&come);
        }
    }
    unseal_in_pieces(d, !from, &wire, wire.len, &heard);
    check_draw(d, is(&heard, said, len), "the right record came to nothing");
    pea_buf_free(&wire);
    pea_buf_free(&heard);
}

/* ---- The properties ---- */

/* A draw of each pattern with each suite, `times` over, and what is to hold of it. */
static void for_each(uint64_t first_seed, unsigned times, void (*holds)(draw *d))
{
    uint64_t seed = first_seed;
    unsigned drawn = 0;
    for (unsigned i = 0; i < times * COUNT(patterns) * COUNT(suites); i++) {
        draw d;
        if (draw_open(&d, seed++, patterns[i % COUNT(patterns)], suites[i / COUNT(patterns) % COUNT(suites)])) {
            holds(&d);
            drawn++;
        }
        draw_close(&d);
    }
    print_message("%u draws, from seed %llu on\n", drawn, (unsigned long long)first_seed);
    assert_true(drawn >= times * COUNT(patterns));
}

static void agrees(draw *d)
{
    shake_hands(d, PAYLOAD_MAX, false);
    check_secrets(d);
    for (int way = 0; way < (d->messages > 1 ? 4 : 1); way++)
        talk(d, way % 2);
}

static void both_sides_agree(void **state)
{
    (void)state;
    for_each(1000000, every_byte ? 20 : 1, agrees);
}

static void is_refused(draw *d)
{
    shake_hands(d, 12, true);
    check_secrets(d);
    for (int way = 0; way < (d->messages > 1 ? 2 : 1); way++)
        damage_record(d, way);
}

static void what_was_changed_is_refused(void **state)
{
    (void)state;
    for_each(2000000, 1, is_refused);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_sides_agree),
        cmocka_unit_test(what_was_changed_is_refused),
    };
    every_byte = getenv("PEA_TEST_EVERY_BYTE") != NULL;
    if (pea__secure_init(NULL) != PEA_OK)
        return 1;
    for (int i = 0; i < 2; i++) {
        uint8_t secret[PEA_KEY_BYTES];
        prng_fill(&(test_prng){(uint64_t)i}, secret, sizeof secret);
        if (pea_identity_from_secret(&identity[i], secret, NULL) != PEA_OK)
            return 1;
    }
    int failed = cmocka_run_group_tests_name("noise properties", tests, NULL, NULL);
    pea_identity_unref(identity[0]);
    pea_identity_unref(identity[1]);
    return failed;
}
