/* SPDX-License-Identifier: MIT */
/* Peers as text: one spelling for each id, and no other is taken. */
#include "support/check.h"

#include "peapod/peer.h"

/* base64 of RFC 4648 section 10, padded to 32 bytes; hexadecimal in lower case. */
static const char noise_zero[] = "noise:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
static const char noise_foobar[] = "noise:Zm9vYmFyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
static const char noise_ones[] = "noise://////////////////////////////////////////8=";

static void noise_ids(void **state)
{
    pea_peer peer = {.kind = PEA_PEER_NOISE};
    char text[PEA_PEER_TEXT_BYTES];
    (void)state;
    assert_string_equal(pea_peer_format(&peer, text), noise_zero);
    memcpy(peer.id, "foobar", 6);
    assert_string_equal(pea_peer_format(&peer, text), noise_foobar);
    memset(peer.id, 0xFF, sizeof peer.id);
    assert_string_equal(pea_peer_format(&peer, text), noise_ones);
}

static void there_and_back(void **state)
{
    static const pea_peer_kind kinds[] = {PEA_PEER_NOISE, PEA_PEER_SPKI, PEA_PEER_OTHER};
    (void)state;
    for (size_t k = 0; k < 3; k++) {
        for (unsigned seed = 0; seed < 256; seed++) {
            pea_peer peer = {.kind = kinds[k]}, back;
            char text[PEA_PEER_TEXT_BYTES];
            for (size_t i = 0; i < sizeof peer.id; i++)
                peer.id[i] = (uint8_t)(seed * 7 + i * 31);
            memset(&back, 0xEE, sizeof back);
            check_ok(pea_peer_parse(&back, pea_peer_format(&peer, text), NULL));
            assert_true(pea_peer_equal(&peer, &back));
            assert_string_equal(back.name, "");
            assert_string_equal(back.role, "");
        }
    }
}

static void hexadecimal(void **state)
{
    static const char lower[] = "spki:sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    static const char upper[] = "spki:sha256:9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08";
    pea_peer a, b;
    char text[PEA_PEER_TEXT_BYTES];
    (void)state;
    check_ok(pea_peer_parse(&a, lower, NULL));
    check_ok(pea_peer_parse(&b, upper, NULL));
    assert_true(pea_peer_equal(&a, &b));
    assert_int_equal(a.id[0], 0x9F);
    assert_int_equal(a.id[31], 0x08);
    assert_string_equal(pea_peer_format(&b, text), lower);
}

static void what_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "none",
        "noise",
        "noise:",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "noise:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",  /* not padded */
        "noise:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==", /* 31 bytes */
        "noise:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", /* 33 bytes */
        "noise:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=", /* stray bits: a second spelling of zeros */
        "noise:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= ",
        "noise: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "noise:AAAA-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", /* base64url */
        "noise:AAAAAAAAAAAAAAAAAAAA=AAAAAAAAAAAAAAAAAAAAAA=",
        "NOISE:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "spki:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "spki:sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a0",
        "spki:sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a088",
        "other:zz86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        pea_peer peer, before;
        pea_error why = {.code = PEA_OK};
        memset(&peer, 0xEE, sizeof peer);
        before = peer;
        if (pea_peer_parse(&peer, texts[i], &why) != PEA_E_FORMAT)
            fail_msg("\"%s\" was taken", texts[i]);
        assert_int_equal(why.code, PEA_E_FORMAT);
        assert_true(strlen(why.text) > 0);
        check_bytes(&peer, sizeof peer, &before, sizeof before);
    }
}

static void same_kind_and_id(void **state)
{
    pea_peer a = {.kind = PEA_PEER_NOISE, .id = {1}, .name = "alice"},
             b = {.kind = PEA_PEER_NOISE, .id = {1}, .role = "admin"};
    char text[PEA_PEER_TEXT_BYTES];
    (void)state;
    assert_true(pea_peer_equal(&a, &b));
    b.kind = PEA_PEER_OTHER;
    assert_false(pea_peer_equal(&a, &b));
    b.kind = PEA_PEER_NOISE;
    b.id[31] = 1;
    assert_false(pea_peer_equal(&a, &b));
    const pea_peer nobody = {.kind = PEA_PEER_NONE};
    assert_string_equal(pea_peer_format(&nobody, text), "none");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(noise_ids),       cmocka_unit_test(there_and_back),   cmocka_unit_test(hexadecimal),
        cmocka_unit_test(what_is_refused), cmocka_unit_test(same_kind_and_id),
    };
    return cmocka_run_group_tests_name("peer", tests, NULL, NULL);
}
