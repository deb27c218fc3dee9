/* SPDX-License-Identifier: MIT */
/* Walks every path on which our code has secrets in its hands, with the secrets marked: run under valgrind, which
 * reports each branch and each address that depends on one (tests/secrets/run). That what ought to be secret is
 * still marked at the end is checked here; `secrets_test PLACE branch|index` leaks on purpose. It says nothing of
 * the time that libraries take. */
#include "secrets.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <valgrind/valgrind.h>

#include "noise/noise_priv.h"
#include "peapod/chain.h"
#include "peapod/tls.h"
#include "peapod/trust.h"
#include "secure_priv.h"
#include "support/check.h"
#include "support/pair.h"

static const char *const protocols[] = {
    "Noise_XX_25519_ChaChaPoly_BLAKE2b",     "Noise_XX_25519_AESGCM_SHA256",
    "Noise_XXpsk3_25519_ChaChaPoly_SHA512",  "Noise_XXpsk3_25519_AESGCM_BLAKE2b",
    "Noise_XXpsk3_25519_ChaChaPoly_SHA256",
#ifdef PEAPOD_LIBB2
    "Noise_XXpsk3_25519_ChaChaPoly_BLAKE2s",
#endif
};
#define N_PROTOCOLS (sizeof protocols / sizeof protocols[0])

static bool with_psk(const char *protocol)
{
    return strstr(protocol, "psk") != NULL;
}

/* An identity whose secret is marked. */
static pea_identity *secret_identity(uint8_t byte)
{
    uint8_t secret[PEA_KEY_BYTES];
    pea_identity *identity;
    memset(secret, byte, sizeof secret);
    secrets_hide(secret, sizeof secret);
    check_ok(pea_identity_from_secret(&identity, secret, NULL));
    assert_int_equal(secrets_hidden(pea__identity_secret(identity), PEA_KEY_BYTES), PEA_KEY_BYTES);
    assert_int_equal(secrets_hidden(pea__identity_public(identity), PEA_KEY_BYTES), 0);
    return identity;
}

/* All of them are marked; after it none is. */
static void check_hidden(const void *data, size_t len)
{
    assert_int_equal(secrets_hidden(data, len), len);
    secrets_show(data, len);
}

/* ---- Handshakes ---- */

typedef struct ends {
    pea_noise *noise[2];
    pea_transform t[2];
    pea_buf wire, plain, reply;
} ends;

static void ends_new(ends *e, const char *protocol, bool preserving)
{
    uint8_t psk[PEA_KEY_BYTES] = {7, 7, 7};
    secrets_hide(psk, sizeof psk);
    memset(e, 0, sizeof *e);
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
        pea_identity *identity = secret_identity((uint8_t)(0x41 + (int)side));
        check_ok(pea_noise_new(&e->noise[side], side,
                               PEA_NOISE(.protocol = protocol, .identity = identity,
                                         .psk = with_psk(protocol) ? psk : NULL, .record_preserving = preserving),
                               NULL));
        pea_identity_unref(identity);
    }
}

/* Message `n`, whose payload is secret as well. `spoil`: one that was changed is tried before. */
static void pass(ends *e, unsigned n, bool spoil)
{
    pea_noise *from = e->noise[n % 2], *to = e->noise[1 - n % 2];
    uint8_t text[] = "payload";
    secrets_hide(text, sizeof text);
    check_ok(pea_noise_write(from, (pea_span){text, sizeof text}, &e->wire));
    bool in_the_clear = n == 0; /* or, with a psk pattern, under a key that everybody knows */
    if (in_the_clear)
        secrets_show(e->wire.data, e->wire.len);
    assert_int_equal(secrets_hidden(e->wire.data, e->wire.len), 0);
    for (size_t at = 0; spoil && !in_the_clear && at < e->wire.len; at += 7) {
        e->wire.data[at] ^= 0x20;
        check_err(pea_noise_read(to, (pea_span){e->wire.data, e->wire.len}, &e->plain), PEA_E_CRYPTO);
        e->wire.data[at] ^= 0x20;
    }
    check_ok(pea_noise_read(to, (pea_span){e->wire.data, e->wire.len}, &e->plain));
    if (!in_the_clear)
        check_hidden(e->plain.data, e->plain.len);
    check_bytes(e->plain.data, e->plain.len, "payload", sizeof text);
    pea_buf_free(&e->wire);
    pea_buf_free(&e->plain);
}

static void ends_open(ends *e, const char *protocol, bool native, bool preserving)
{
    ends_new(e, protocol, preserving);
    for (unsigned n = 0; n < 3; n++)
        pass(e, n, false);
    for (int i = 0; i < 2; i++) {
        check_ok(pea_noise_split(e->noise[i], native, &e->t[i]));
        pea_noise_free(e->noise[i]);
    }
}

static void ends_close(ends *e)
{
    for (int i = 0; i < 2; i++)
        e->t[i].ops->destroy(e->t[i].self);
    pea_buf_free(&e->wire);
    pea_buf_free(&e->plain);
    pea_buf_free(&e->reply);
}

static void handshakes(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_PROTOCOLS; i++) {
        ends e;
        uint8_t key[PEA_KEY_BYTES];
        ends_new(&e, protocols[i], false);
        for (unsigned n = 0; n < 3; n++) {
            pass(&e, n, i < 2);
            const pea__handshake_state *hs = pea__noise_state(e.noise[n % 2]);
            assert_int_equal(secrets_hidden(hs->e, sizeof hs->e), sizeof hs->e);
            if (n > 0) {
                assert_int_equal(secrets_hidden(hs->ss.ck, pea__hash_len(hs->ss.hash)), pea__hash_len(hs->ss.hash));
                assert_int_equal(secrets_hidden(hs->ss.cipher.k, sizeof hs->ss.cipher.k), sizeof hs->ss.cipher.k);
            }
        }
        for (int side = 0; side < 2; side++) {
            check_ok(pea_noise_remote_static(e.noise[side], key));
            assert_int_equal(secrets_hidden(key, sizeof key), 0);
            pea_noise_free(e.noise[side]);
        }
    }
}

/* A peer whose ephemeral key is of low order: the read fails, whatever our secrets are. */
static void low_order(void **state)
{
    static const uint8_t zero[PEA_KEY_BYTES] = {0};
    ends e;
    pea_buf out = {0};
    (void)state;
    ends_new(&e, protocols[0], false);
    check_ok(pea_noise_read(e.noise[1], (pea_span){zero, sizeof zero}, &e.plain));
    check_err(pea_noise_write(e.noise[1], (pea_span){NULL, 0}, &out), PEA_E_CRYPTO);
    pea_noise_free(e.noise[0]);
    pea_noise_free(e.noise[1]);
    pea_buf_free(&out);
}

static void generated_identities(void **state)
{
    pea_identity *identity;
    (void)state;
    check_ok(pea_identity_generate(&identity, NULL));
    assert_int_equal(secrets_hidden(pea__identity_secret(identity), PEA_KEY_BYTES), PEA_KEY_BYTES);
    pea_identity_unref(identity);
}

/* ---- Records ---- */

static pea_err unseal(ends *e)
{
    pea_err err;
    while ((err = e->t[1].ops->unseal(e->t[1].self, &e->wire, &e->plain, 4096, &e->reply)) == PEA_AGAIN)
        continue;
    return err;
}

/* Two spans of secret plaintext of `len` bytes in all, sealed. */
static void seal(ends *e, size_t len)
{
    uint8_t *text = calloc(1, len + 1);
    assert_non_null(text);
    memset(text, 'x', len);
    secrets_hide(text, len);
    const pea_span spans[] = {{text, len / 3}, {text + len / 3, len - len / 3}};
    check_ok(e->t[0].ops->seal(e->t[0].self, spans, 2, &e->wire));
    assert_int_equal(secrets_hidden(e->wire.data, e->wire.len), 0);
    free(text);
}

static void records(void **state)
{
    static const size_t lengths[] = {1, 16, 100, 3000, 62000};
    (void)state;
    for (size_t p = 0; p < 2 * N_PROTOCOLS; p++) {
        ends e;
        ends_open(&e, protocols[p / 2], p % 3 == 0, p % 2 == 1);
        for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
            seal(&e, lengths[i]);
            check_err(unseal(&e), PEA_OK);
            assert_int_equal(e.plain.len, lengths[i]);
            check_hidden(e.plain.data, e.plain.len);
            assert_int_equal(e.plain.data[0], 'x');
            assert_memory_equal(e.plain.data, e.plain.data + 1, e.plain.len - 1); /* and so are all */
            pea_buf_free(&e.plain);
        }
        ends_close(&e);
    }
}

/* A wrong bit anywhere: no plaintext, and no branch says where. */
static void bad_tags(void **state)
{
    static const size_t lengths[] = {40, PEA__LIBCRYPTO_FROM};
    (void)state;
    for (size_t p = 0; p < 4; p++) {
        size_t len = lengths[p / 2], end = 2 + len + 16;
        for (size_t at = 2; at < end; at += at + 24 < end ? len / 8 : 5) {
            ends e;
            ends_open(&e, protocols[p % 2], true, false);
            seal(&e, len);
            e.wire.data[at] ^= 1;
            check_err(unseal(&e), PEA_E_CRYPTO);
            assert_int_equal(e.plain.len, 0);
            ends_close(&e);
        }
    }
}

static void rekeying(void **state)
{
    (void)state;
    for (size_t p = 0; p < 2; p++) {
        ends e;
        ends_open(&e, protocols[p], true, false);
        pea__record_set_numbers(&e.t[0], PEA__REKEY_EVERY - 1, 0);
        pea__record_set_numbers(&e.t[1], 0, PEA__REKEY_EVERY - 1);
        for (int i = 0; i < 3; i++)
            seal(&e, 10);
        check_err(unseal(&e), PEA_OK);
        assert_int_equal(e.plain.len, 30);
        check_hidden(e.plain.data, e.plain.len);
        ends_close(&e);
    }
}

static void exporting(void **state)
{
    (void)state;
    for (size_t p = 0; p < N_PROTOCOLS; p++) {
        ends e;
        uint8_t out[2][150];
        ends_open(&e, protocols[p], false, false);
        for (int side = 0; side < 2; side++) {
            size_t len = sizeof out[side];
            const pea_span label = {(const uint8_t *)"label", 5};
            check_ok(e.t[side].ops->query(e.t[side].self, PEA_QUERY_EXPORT, label, out[side], &len));
            secrets_leak(SECRETS_EXPORT, out[side]);
            check_hidden(out[side], sizeof out[side]);
        }
        assert_memory_equal(out[0], out[1], sizeof out[0]);
        ends_close(&e);
    }
}

/* libcrypto asked directly: with associated data only CPUs without AES instructions ask it. */
static void by_libcrypto(void **state)
{
    (void)state;
    for (pea__aead_id aead = PEA__CHACHAPOLY; aead <= PEA__AESGCM; aead++) {
        uint8_t key[32] = {1}, nonce[12] = {2}, text[40] = {3}, sealed[56], opened[40];
        const pea_span ad = {(const uint8_t *)"ad", 2};
        if (!pea__libcrypto_available(aead))
            skip();
        secrets_hide(key, sizeof key);
        secrets_hide(text, sizeof text);
        check_ok(pea__libcrypto_encrypt(aead, key, nonce, ad, text, sizeof text, sealed));
        check_hidden(sealed, sizeof sealed);
        check_ok(pea__libcrypto_decrypt(aead, key, nonce, ad, sealed, sizeof sealed, opened));
        check_hidden(opened, sizeof opened);
        sealed[50] ^= 1;
        check_err(pea__libcrypto_decrypt(aead, key, nonce, ad, sealed, sizeof sealed, opened), PEA_E_CRYPTO);
    }
}

/* ---- Key files ---- */

/* A key of each form and kind, 32 secret bytes in a base64 that is secret behind the first `open` letters. */
static const struct {
    const char *before, *base64, *after;
    size_t open;
    pea_err result;
} texts[] = {
    {"-----BEGIN PRIVATE KEY-----\n", "MC4CAQAwBQYDK2VuBCIEIHcHbQpzGKV9PBbBclGyZkXfTC+H68CZKrF3+6UduSwq",
     "\n-----END PRIVATE KEY-----\n", 21, PEA_OK},
    {" \r\n-----BEGIN PRIVATE KEY-----\r\n", "MC4CAQAwBQYDK2VuBCIEIHcHbQpzGKV9PBbBclGyZkXfTC+H68CZKrF3+6UduSwq",
     "\r\n-----END PRIVATE KEY-----\r\n\r\n", 21, PEA_OK},
    {"", "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo", "=\n", 0, PEA_OK},
    {"\n  ", "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo", "= \n", 0, PEA_OK},
    /* Keys of other kinds are refused by their algorithm's identifier alone: Ed25519, a curve's. */
    {"-----BEGIN PRIVATE KEY-----\n", "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC",
     "\n-----END PRIVATE KEY-----\n", 22, PEA_E_UNSUPPORTED},
    {"-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg",
     "QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJC", "\n-----END PRIVATE KEY-----\n", 0, PEA_E_UNSUPPORTED},
};

static char *secret_text(size_t i, size_t *len)
{
    size_t before = strlen(texts[i].before), base64 = strlen(texts[i].base64);
    *len = before + base64 + strlen(texts[i].after);
    char *text = malloc(*len + 1);
    assert_non_null(text);
    (void)snprintf(text, *len + 1, "%s%s%s", texts[i].before, texts[i].base64, texts[i].after);
    secrets_hide(text + before + texts[i].open, base64 - texts[i].open);
    return text;
}

static void key_texts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        pea_identity *identity;
        pea_error why;
        size_t len;
        char *text = secret_text(i, &len);
        check_err(pea_identity_parse(&identity, text, len, &why), texts[i].result);
        free(text);
        if (texts[i].result != PEA_OK)
            continue;
        assert_int_equal(secrets_hidden(pea__identity_secret(identity), PEA_KEY_BYTES), PEA_KEY_BYTES);
        pea_identity_unref(identity);
    }
}

/* Saved and loaded: what is read from the file is marked again. */
static void key_files(void **state)
{
    char folder[] = "/tmp/peapod-secrets-XXXXXX", path[64];
    pea_identity *identity = secret_identity(0x5a), *again;
    pea_peer peer[2];
    (void)state;
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/key", folder);
    check_ok(pea_identity_save(identity, path, NULL));
    secrets_read_keys = true;
    check_ok(pea_identity_load(&again, path, NULL));
    secrets_read_keys = false;
    assert_int_equal(secrets_hidden(pea__identity_secret(again), PEA_KEY_BYTES), PEA_KEY_BYTES);
    pea_identity_peer(identity, &peer[0]);
    pea_identity_peer(again, &peer[1]);
    assert_true(pea_peer_equal(&peer[0], &peer[1]));
    pea_identity_unref(identity);
    pea_identity_unref(again);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
}

/* ---- The key of a network ---- */

static void network_keys(void **state)
{
    static const char base64[] = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo";
    static const char *const around[][2] = {
        {"", "=\n"},
        {" \n", "= \r\n"},
        {"-----BEGIN PEAPOD NETWORK KEY-----\n", "=\n-----END PEAPOD NETWORK KEY-----\n"},
    };
    char folder[] = "/tmp/peapod-secrets-XXXXXX", path[64], text[256];
    uint8_t key[PEA_KEY_BYTES], again[PEA_KEY_BYTES];
    pea_error why;
    (void)state;
    for (size_t i = 0; i < sizeof around / sizeof around[0]; i++) {
        int len = snprintf(text, sizeof text, "%s%s%s", around[i][0], base64, around[i][1]);
        secrets_hide(text + strlen(around[i][0]), sizeof base64 - 1);
        check_ok(pea_network_key_parse(key, text, (size_t)len, &why));
        check_hidden(key, sizeof key);
    }
    check_ok(pea_network_key_generate(key));
    assert_int_equal(secrets_hidden(key, sizeof key), sizeof key);
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/key", folder);
    check_ok(pea_network_key_save(key, path, &why));
    secrets_read_keys = true;
    check_ok(pea_network_key_load(again, path, &why));
    secrets_read_keys = false;
    check_hidden(key, sizeof key);
    check_hidden(again, sizeof again);
    check_bytes(again, sizeof again, key, sizeof key);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
}

/* ---- Keys of certificates ---- */

#ifdef PEA_TEST_TLS
static size_t secret_passphrase(void *arg, char *passphrase, size_t room)
{
    (void)arg, (void)room;
    memcpy(passphrase, "peapod", 6);
    secrets_hide(passphrase, 6);
    return 6;
}

/* Every form of a key, in the clear and under a passphrase. What mbedTLS does with it is not looked at. */
static void certified_keys(void **state)
{
    static const char *const files[][2] = {
        {"server.crt", "server.key"},
        {"server.crt", "server.der.key"},
        {"server.crt", "server.sec1.key"},
        {"server_rsa.crt", "server_rsa.key"},
        {"server_rsa.crt", "server_rsa.pkcs1.key"},
        {"server_rsa.crt", "server_rsa.der.key"},
        {"server.crt", "server.aes.key"},
        {"server.crt", "server.aes.der.key"},
        {"server.crt", "server.des3.key"},
        {"server_rsa.crt", "server_rsa.legacy.key"},
    };
    (void)state;
    secrets_read_keys = true;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char certificate[512], key[512];
        pea_identity *identity;
        pea_error why;
        (void)snprintf(certificate, sizeof certificate, PEA_TEST_CERTS "/%s", files[i][0]);
        (void)snprintf(key, sizeof key, PEA_TEST_CERTS "/%s", files[i][1]);
        if (pea_identity_load_certificate(&identity, certificate, key, secret_passphrase, NULL, &why) != PEA_OK)
            fail_msg("%s: %s", files[i][1], why.text);
        pea_span kept = pea__identity_key(identity);
        assert_int_equal(secrets_hidden(kept.data, kept.len), kept.len);
        pea_identity_unref(identity);
    }
    secrets_read_keys = false;
}
#endif

/* ---- Whole connections ---- */

static pea_err network_psk(void *arg, pea_side side, const pea_peer *expect, pea_noise_psks *psks, pea_error *why)
{
    (void)arg, (void)side, (void)expect, (void)why;
    psks->n = 2;
    memset(psks->keys[0], 8, PEA_KEY_BYTES);
    memset(psks->keys[1], 9, PEA_KEY_BYTES);
    secrets_hide(psks->keys, 2 * sizeof psks->keys[0]);
    return PEA_OK;
}

static void add_noise(pea_chain *chain, pea_identity *identity, size_t i, const uint8_t *psk)
{
    if (i == N_PROTOCOLS) /* the gate, whose keys come from a callback */
        check_ok(pea_chain_noise(chain,
                                 PEA_NOISE(.protocol = "Noise_XXpsk0_25519_ChaChaPoly_BLAKE2b", .identity = identity,
                                           .psk_fn = network_psk, .gate_window_ms = 1000),
                                 NULL));
    else
        check_ok(pea_chain_noise(
            chain,
            PEA_NOISE(.protocol = protocols[i], .identity = identity, .psk = with_psk(protocols[i]) ? psk : NULL),
            NULL));
}

/* The stage, the channel and messages over it. What is unsealed is public here: it is read. */
static void connections(void **state)
{
    (void)state;
    secrets_show_plaintext = true;
    for (size_t i = 0; i <= N_PROTOCOLS; i++) {
        const pea_span hello = {(const uint8_t *)"hello", 5};
        uint8_t psk[PEA_KEY_BYTES] = {9};
        pea_chain *chains[2];
        pea_trust *trust;
        test_link link;
        secrets_hide(psk, sizeof psk);
        check_ok(pea_trust_new(&trust));
        pea_trust_any(trust);
        for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) { /* nobody may be connected to himself */
            pea_identity *identity = secret_identity((uint8_t)(0x77 + side));
            check_ok(pea_chain_new(&chains[side], NULL, NULL));
            add_noise(chains[side], identity, i, psk);
            pea_identity_unref(identity);
        }
        pair_open_between(&link, chains, PEA_PIPE(.policy = pea_trust_policy(trust)));
        for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
            link.party[side].send = &hello;
            link.party[side].n_send = 1;
        }
        link.party[PEA_INITIATOR].await = 1;
        link.party[PEA_INITIATOR].closes = true;
        (void)link_drain(&link, PEA_INITIATOR);
        (void)link_drain(&link, PEA_RESPONDER);
        link_run(&link);
        link_hang_up(&link);
        link_check_all(&link, PEA_INITIATOR);
        link_check_all(&link, PEA_RESPONDER);
        link_free(&link);
        pea_chain_unref(chains[PEA_INITIATOR]);
        pea_chain_unref(chains[PEA_RESPONDER]);
        pea_trust_unref(trust);
    }
    secrets_show_plaintext = false;
}

/* ---- */

static const char *const places[SECRETS_N_PLACES] = {
    [SECRETS_SCALAR] = "scalar",
    [SECRETS_EPHEMERAL] = "ephemeral",
    [SECRETS_SHARED] = "shared",
    [SECRETS_PSK] = "psk",
    [SECRETS_KEY] = "key",
    [SECRETS_TAG] = "tag",
    [SECRETS_REKEYED] = "rekeyed",
    [SECRETS_EXPORT] = "export",
    [SECRETS_DECODED] = "decoded",
    [SECRETS_WRITTEN] = "written",
    [SECRETS_GUARDED] = "guarded",
#ifdef PEA_TEST_TLS
    [SECRETS_CERTIFIED] = "certified",
    [SECRETS_PASSPHRASE] = "passphrase",
#endif
};

/* Which leak is asked for. `places` alone prints the names. Exit status 2: there is no such thing. */
static void choose_leak(int argc, char **argv)
{
    if (argc == 1)
        return;
    for (int place = 1; place < SECRETS_N_PLACES; place++) {
        if (argc == 2 && strcmp(argv[1], "places") == 0)
            puts(places[place]);
        if (argc == 3 && strcmp(argv[1], places[place]) == 0)
            secrets_leak_at = (secrets_place)place;
    }
    if (argc == 2 && strcmp(argv[1], "places") == 0)
        exit(0);
    secrets_leak_by_index = argc == 3 && strcmp(argv[2], "index") == 0;
    if (secrets_leak_at == SECRETS_NOWHERE || (!secrets_leak_by_index && strcmp(argv[2], "branch") != 0)) {
        fprintf(stderr, "usage: %s [PLACE branch|index | places]\n", argv[0]);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    /* the short ones first: a deliberate leak is waited for until it comes */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(handshakes),     cmocka_unit_test(low_order), cmocka_unit_test(generated_identities),
        cmocka_unit_test(key_texts),      cmocka_unit_test(key_files), cmocka_unit_test(network_keys),
#ifdef PEA_TEST_TLS
        cmocka_unit_test(certified_keys),
#endif
        cmocka_unit_test(by_libcrypto),   cmocka_unit_test(exporting), cmocka_unit_test(rekeying),
        cmocka_unit_test(bad_tags),       cmocka_unit_test(records),   cmocka_unit_test(connections),
    };
    choose_leak(argc, argv);
    if (RUNNING_ON_VALGRIND == 0) {
        fprintf(stderr, "secrets_test: only valgrind sees anything here: tests/secrets/run\n");
        return 2;
    }
    return cmocka_run_group_tests_name("secrets", tests, NULL, NULL);
}
