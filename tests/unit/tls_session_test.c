/* SPDX-License-Identifier: MIT */
/* The TLS engine by itself, two sessions with bytes between them: which certificates are good and what is said of
 * the others, what each version agrees on, and what the transform that is left behind promises. */
#include "peapod/chain.h"
#include "tls_scene.h"

#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- Certificates ---- */

/* A certificate that one side shows; NULL sentence: it is good. */
typedef struct shown {
    const char *cert;
    const char *sentence; /* a part of what the other side says of it */
    const char *name;     /* that the initiator dialled, where the responder shows it */
    const char *roots;    /* of the side that judges; NULL: root.crt */
    int only;             /* 1: shown by the initiator only, 2: by the responder only */
    int alert;            /* that the showing side hears; 0: whichever */
    bool shy;             /* a server of mbedTLS sees by itself that it cannot show it */
} shown;

static const shown certificates[] = {
    {.cert = "server"},
    {.cert = "server_p384"},
    {.cert = "server_p521"},
    {.cert = "server_rsa"},
    {.cert = "server_chain"},
    {.cert = "no_usage"},
    {.cert = "server", .name = "server.mesh.example", .only = 2},
    {.cert = "wildcard", .name = "db.mesh.example", .only = 2},
    {.cert = "self_a", .roots = ""},
    {.cert = "self_rsa", .roots = ""},
    {.cert = "self_ca", .roots = ""},
    {.cert = "self_a"}, /* alone: somebody else judges its key */
    {.cert = "self_a", .name = "server.mesh.example", .only = 2},
    {.cert = "bad_unknown"},
    {.cert = "bad_other_ca"},
    {.cert = "server", .roots = ""},
    {.cert = "bad_other_ca", .roots = "roots.crt"},
    {.cert = "bad_expired", .sentence = "expired", .alert = 45},
    {.cert = "bad_expired", .roots = "", .sentence = "expired"},
    {.cert = "bad_not_yet", .sentence = "not yet valid"},
    {.cert = "bad_not_yet", .roots = "", .sentence = "not yet valid"},
    {.cert = "bad_name",
     .name = "server.mesh.example",
     .only = 2,
     .sentence = "wrong name: it is not for server.mesh.example"},
    {.cert = "bad_no_names", .name = "server.mesh.example", .only = 2, .sentence = "wrong name"},
    {.cert = "wildcard", .name = "a.b.mesh.example", .only = 2, .sentence = "wrong name"},
    {.cert = "bad_nul_name", .sentence = ""},
    {.cert = "bad_usage", .shy = true, .sentence = "key usage", .alert = 43},
    {.cert = "bad_usage", .shy = true, .roots = "", .sentence = "key usage"},
    {.cert = "bad_eku", .shy = true, .sentence = "extended key usage"},
    {.cert = "bad_eku_server", .shy = true, .only = 2, .sentence = "extended key usage"},
    {.cert = "bad_eku_server", .only = 1},
    {.cert = "bad_eku_client", .only = 1, .sentence = "extended key usage"},
    {.cert = "bad_eku_client", .only = 2},
    {.cert = "bad_ca_leaf", .shy = true, .sentence = "CA as leaf"},
    {.cert = "bad_ca_leaf", .shy = true, .roots = "", .sentence = "CA as leaf"},
    {.cert = "bad_second", .sentence = "not trusted", .alert = 48},
    {.cert = "bad_second", .roots = "", .sentence = "not trusted", .alert = 48},
    {.cert = "bad_second_named", .roots = "", .sentence = "not trusted"},
    {.cert = "bad_second_root", .sentence = "not trusted"},
    {.cert = "server_chain", .roots = "", .sentence = "not trusted"},
    {.cert = "bad_long", .sentence = "chain is too long"},
    {.cert = "bad_middle_expired", .sentence = "expired"},
    {.cert = "bad_middle_leaf", .sentence = "not trusted"},
    {.cert = "bad_path", .sentence = "not trusted"},
    {.cert = "bad_sha1", .sentence = "weak hash"},
    {.cert = "bad_forged"}, /* alone, and no root verifies it */
};

static void show(const shown *c, pea_side shower)
{
    ends e;
    side_opts o[2] = {{.native = true}, {.native = true}};
    pea_side judge = shower == PEA_INITIATOR ? PEA_RESPONDER : PEA_INITIATOR;
    o[shower].cert = c->cert;
    o[judge].roots = c->roots;
    o[judge].name = c->name;
    open_ends(&e, &o[0], &o[1]);
    const char *said = pea__tls_sentence(e.s[judge]);
    char heard[PEA_TEXT_MAX + 1];
    (void)snprintf(heard, sizeof heard, "%s", pea__tls_sentence(e.s[shower]));
    if (c->sentence == NULL) {
        if (e.result[judge] != PEA_DONE || e.result[shower] != PEA_DONE)
            fail_msg("%s by side %d: %d \"%s\", and the other: %d \"%s\"", c->cert, shower, e.result[judge], said,
                     e.result[shower], heard);
        assert_true(e.asked[judge]);
        close_ends(&e);
        return;
    }
    if (c->shy && shower == PEA_RESPONDER && e.result[shower] == PEA_E_PROTO) {
        check_err(e.result[judge], PEA_E_REJECTED);
        close_ends(&e);
        return;
    }
    if (e.result[judge] != PEA_E_REFUSED || strstr(said, c->sentence) == NULL)
        fail_msg("%s by side %d: %d \"%s\"", c->cert, shower, e.result[judge], said);
    assert_false(e.asked[judge]);       /* nobody is asked about a bad certificate */
    if (e.result[shower] == PEA_DONE) { /* TLS 1.3: the client hears of it later */
        assert_true(version == PEA_TLS_1_3 && shower == PEA_INITIATOR);
        pea_buf plain = {0};
        pea__tls_yield(e.s[shower], &e.t[shower]);
        check_err(unseal(&e, shower, &plain, 100), PEA_E_REJECTED);
        failure(&e, shower, heard);
        pea_buf_free(&plain);
    } else {
        check_err(e.result[shower], PEA_E_REJECTED);
    }
    char name[64];
    assert_memory_equal(heard, "the peer's alert: ", 18);
    if (c->alert != 0) {
        pea__tls_alert_text(name, sizeof name, c->alert);
        assert_string_equal(heard, name);
    }
    close_ends(&e);
}

static void each_certificate_shown_by_either_side(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof certificates / sizeof certificates[0]; i++)
        for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++)
            if (certificates[i].only == 0 || certificates[i].only == (int)side + 1)
                show(&certificates[i], side);
}

static void a_key_that_is_too_weak(void **state)
{
    (void)state; /* our own side does not take such a key: the other's word is not tried here */
    pea_identity *identity;
    pea_error why;
    check_err(
        pea_identity_parse_certificate(&identity, slurp("bad_rsa1024.crt"), slurp("bad_rsa1024.key"), NULL, NULL, &why),
        PEA_E_INVALID);
}

static void nobody_without_a_certificate(void **state)
{
    (void)state;
    ends e;
    open_ends(&e, &(side_opts){.cert = "", .server_only = true, .native = true}, &(side_opts){.native = true});
    check_err(e.result[PEA_RESPONDER], PEA_E_REFUSED);
    assert_non_null(strstr(pea__tls_sentence(e.s[PEA_RESPONDER]), "showed none"));
    close_ends(&e);
}

static void a_server_that_asks_for_none(void **state)
{
    (void)state;
    ends e;
    pea_peer peer;
    open_ends(&e, &(side_opts){.cert = "", .server_only = true}, &(side_opts){.server_only = true});
    check_err(e.result[0], PEA_DONE);
    check_err(e.result[1], PEA_DONE);
    assert_true(pea__tls_peer(e.s[PEA_INITIATOR], &peer));
    assert_false(pea__tls_peer(e.s[PEA_RESPONDER], &peer));
    close_ends(&e);
}

/* What a root says: names, and which root it was. A certificate that no root verifies has none. */
static void names_count_when_a_root_verifies_them(void **state)
{
    static const struct {
        const char *cert, *roots, *root;
    } cases[] = {{"server", "roots.crt", "root.crt"},
                 {"server_chain", "roots.crt", "root.crt"},
                 {"bad_other_ca", "roots.crt", "other_root.crt"},
                 {"server", "", NULL},
                 {"bad_other_ca", "root.crt", NULL}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ends e;
        pea_peer peer, root, want;
        open_ends(&e, &(side_opts){.roots = cases[i].roots, .native = true},
                  &(side_opts){.cert = cases[i].cert, .native = true});
        char crt[64];
        (void)snprintf(crt, sizeof crt, "%s.crt", cases[i].cert);
        check_ok(pea_peer_from_certificate(&want, slurp(crt), NULL));
        assert_true(pea__tls_peer(e.s[0], &peer));
        assert_true(pea_peer_equal(&peer, &want));
        const pea_vouch *vouch = pea__tls_vouch(e.s[0]);
        assert_int_equal(vouch != NULL, cases[i].root != NULL);
        if (vouch != NULL) {
            check_ok(pea_peer_from_certificate(&root, slurp(cases[i].root), NULL));
            assert_memory_equal(vouch->root, root.id, PEA_ID_BYTES);
            assert_int_equal(vouch->n_names, 3); /* two DNS names and a URI */
            assert_string_equal(vouch->names[0].text, "server.mesh.example");
        }
        close_ends(&e);
    }
}

/* ---- What is agreed on ---- */

static void protocols(void **state)
{
    static const char *const h2[] = {"h2", NULL}, *const both[] = {"http/1.1", "h2", NULL};
    static const struct {
        side_opts i, r;
        const char *agreed; /* NULL: they fail */
    } cases[] = {
        {{.native = true}, {.native = true}, PEA_ALPN_NATIVE},
        {{.alpn = h2}, {.alpn = both}, "h2"},
        {{.alpn = h2}, {.native = true}, NULL},
        {{.native = true}, {.alpn = h2}, NULL},
        {{.native = true}, {.alpn = NULL}, NULL},
        {{.alpn = NULL}, {.native = true}, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ends e;
        open_ends(&e, &cases[i].i, &cases[i].r);
        if (cases[i].agreed == NULL) {
            for (int side = 0; side < 2; side++) {
                const char *said = pea__tls_sentence(e.s[side]);
                assert_true(e.result[side] == PEA_E_PROTO || e.result[side] == PEA_E_REJECTED);
                if (e.result[side] == PEA_E_REJECTED)
                    assert_string_equal(said, "the peer's alert: no_application_protocol (120)");
                assert_false(e.asked[side]);
            }
            close_ends(&e);
            continue;
        }
        yield_ends(&e);
        for (int side = 0; side < 2; side++) {
            char text[300];
            size_t len = sizeof text;
            check_ok(e.t[side].ops->query(e.t[side].self, PEA_QUERY_ALPN, (pea_span){NULL, 0}, text, &len));
            check_bytes(text, len, cases[i].agreed, strlen(cases[i].agreed));
            len = sizeof text;
            check_ok(e.t[side].ops->query(e.t[side].self, PEA_QUERY_CIPHER, (pea_span){NULL, 0}, text, &len));
            text[len] = '\0';
            /* mbedTLS goes by the server's order in TLS 1.2, by the client's in TLS 1.3 */
            bool gcm = own_records[version == PEA_TLS_1_2 ? PEA_RESPONDER : PEA_INITIATOR] &&
                       crypto_aead_aes256gcm_is_available() != 0;
            assert_non_null(strstr(text, gcm ? "GCM" : "CHACHA20"));
        }
        close_ends(&e);
    }
}

static void bindings_and_exports_agree(void **state)
{
    static const char with_context[] = "EXPORTER-test\0context";
    const pea_span labels[] = {{(const uint8_t *)"EXPORTER-test", 13},
                               {(const uint8_t *)with_context, sizeof with_context - 1},
                               {(const uint8_t *)"EXPORTER-test", 14},
                               {(const uint8_t *)"EXPORTER-other", 14}};
    (void)state;
    ends e;
    uint8_t got[2][5][80];
    memset(got, 0, sizeof got);
    open_pair(&e);
    for (int side = 0; side < 2; side++) {
        const pea_transform *t = &e.t[side];
        for (size_t i = 0; i < 4; i++) {
            size_t len = 80;
            check_err(t->ops->query(t->self, PEA_QUERY_EXPORT, labels[i], got[side][i], &len),
                      version == PEA_TLS_1_3 ? PEA_OK : PEA_E_UNSUPPORTED);
        }
        size_t len = 80;
        check_ok(t->ops->query(t->self, PEA_QUERY_BINDING, (pea_span){NULL, 0}, got[side][4], &len));
        assert_int_equal(len, 32);
        len = 31;
        check_err(t->ops->query(t->self, PEA_QUERY_BINDING, (pea_span){NULL, 0}, got[side][4], &len), PEA_E_TOO_BIG);
    }
    assert_memory_equal(got[0], got[1], sizeof got[0]);
    for (size_t i = 0; i < 5 && version == PEA_TLS_1_3; i++)
        for (size_t j = 0; j < i; j++) /* an empty context is none */
            assert_true((memcmp(got[0][i], got[0][j], 32) == 0) == (i == 2 && j == 0));
    close_ends(&e);
}

/* ---- The transform ---- */

static void a_write_holds_several_records(void **state)
{
    static uint8_t bytes[200000];
    (void)state;
    ends e;
    open_pair(&e);
    const pea_transform *t = &e.t[PEA_INITIATOR];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7 + (i >> 8));
    assert_int_equal((size_t)t->record_plain + t->overhead, PEA_WRITE_MAX);
    assert_true(t->record_plain > 3 * 16384 + 11000);
    const pea_span parts[] = {{bytes, 1}, {NULL, 0}, {bytes + 1, 20000}, {bytes + 20001, t->record_plain - 20001}};
    size_t before = e.wire[0].len;
    check_ok(t->ops->seal(t->self, parts, 4, &e.wire[0]));
    assert_in_range(e.wire[0].len - before, t->record_plain + 1, PEA_WRITE_MAX);
    pea_buf plain = {0};
    while (plain.len < t->record_plain) {
        size_t had = plain.len;
        pea_err err = unseal(&e, PEA_RESPONDER, &plain, 1000);
        assert_true(err == PEA_AGAIN && plain.len - had <= 1000 + 16384);
    }
    check_bytes(plain.data, plain.len, bytes, t->record_plain);
    check_ok(unseal(&e, PEA_RESPONDER, &plain, 1000));
    pea_buf_free(&plain);
    close_ends(&e);
}

static void whole_records_only(void **state)
{
    (void)state;
    ends e;
    pea_buf plain = {0}, all = {0};
    open_pair(&e);
    const pea_transform *t = &e.t[PEA_RESPONDER];
    check_ok(t->ops->seal(t->self, &(pea_span){(const uint8_t *)"hello", 5}, 1, &all));
    check_ok(unseal(&e, PEA_INITIATOR, &plain, 100)); /* what is left of the handshake */
    for (size_t i = 0; i < all.len; i++) {
        assert_int_equal(plain.len, 0);
        assert_int_equal(e.wire[1].len, i); /* it stays where it is */
        check_ok(pea_buf_append(&e.wire[1], all.data + i, 1));
        check_ok(unseal(&e, PEA_INITIATOR, &plain, 100));
    }
    check_bytes(plain.data, plain.len, "hello", 5);
    assert_int_equal(e.wire[1].len, 0);
    pea_buf_free(&plain);
    pea_buf_free(&all);
    close_ends(&e);
}

static void ends_are_said_and_missed(void **state)
{
    (void)state;
    ends e;
    pea_buf plain = {0};
    open_pair(&e);
    const pea_transform *i = &e.t[0], *r = &e.t[1];
    check_ok(unseal(&e, PEA_INITIATOR, &plain, 100));
    check_err(i->ops->wire_end(i->self), PEA_E_TRUNCATED);
    check_ok(r->ops->seal(r->self, &(pea_span){(const uint8_t *)"bye", 3}, 1, &e.wire[1]));
    check_ok(r->ops->control(r->self, PEA_CONTROL_END, &e.wire[1]));
    check_ok(pea_buf_append(&e.wire[1], "rest", 4));
    check_err(unseal(&e, PEA_INITIATOR, &plain, 100), PEA_EOF);
    check_bytes(plain.data, plain.len, "bye", 3);
    assert_int_equal(e.wire[1].len, 4); /* no byte beyond */
    check_err(i->ops->wire_end(i->self), PEA_EOF);
    check_ok(i->ops->seal(i->self, &(pea_span){(const uint8_t *)"still here", 10}, 1, &e.wire[0])); /* half closed */
    pea_buf_consume(&plain, plain.len);
    check_ok(unseal(&e, PEA_RESPONDER, &plain, 100));
    check_bytes(plain.data, plain.len, "still here", 10);
    if (!own_records[1] || version == PEA_TLS_1_2)
        check_err(r->ops->control(r->self, PEA_CONTROL_REKEY, &e.wire[1]), PEA_E_UNSUPPORTED);
    pea_buf_free(&plain);
    close_ends(&e);
}

static void what_was_changed_is_found_and_said(void **state)
{
    (void)state;
    ends e;
    pea_buf plain = {0};
    open_pair(&e);
    const pea_transform *r = &e.t[1];
    check_ok(unseal(&e, PEA_INITIATOR, &plain, 100));
    check_ok(r->ops->seal(r->self, &(pea_span){(const uint8_t *)"good", 4}, 1, &e.wire[1]));
    check_ok(r->ops->seal(r->self, &(pea_span){(const uint8_t *)"evil", 4}, 1, &e.wire[1]));
    e.wire[1].data[e.wire[1].len - 1] ^= 1;
    check_err(unseal(&e, PEA_INITIATOR, &plain, 100), PEA_E_CRYPTO);
    check_bytes(plain.data, plain.len, "good", 4);
    pea_buf_consume(&plain, plain.len);
    check_err(unseal(&e, PEA_RESPONDER, &plain, 100), PEA_E_REJECTED);
    char text[PEA_TEXT_MAX + 1];
    failure(&e, PEA_RESPONDER, text);
    assert_string_equal(text, "the peer's alert: bad_record_mac (20)");
    failure(&e, PEA_INITIATOR, text);
    assert_string_equal(text, "a record is not authentic: it was changed, or sealed with another key");
    pea_buf_free(&plain);
    close_ends(&e);
}

/* A key of AES-GCM has a limit, and it is not passed. */
static void a_key_wears_out(void **state)
{
    (void)state;
    static const int gcm[] = {
#if PEA__TLS13
        MBEDTLS_TLS1_3_AES_256_GCM_SHA384,
#endif
        MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        0
    };
    ends e;
    ciphersuites = gcm;
    open_pair(&e);
    ciphersuites = NULL;
    if (own_records[0]) { /* tls_own_record_test.c */
        close_ends(&e);
        return;
    }
    const pea_transform *i = &e.t[0];
    e.s[0]->blocks = PEA__GCM_BLOCKS - 3;
    check_ok(i->ops->seal(i->self, &(pea_span){(const uint8_t *)"near", 4}, 1, &e.wire[0]));
    check_err(i->ops->seal(i->self, &(pea_span){(const uint8_t *)"over", 4}, 1, &e.wire[0]), PEA_EOF);
    e.s[0]->blocks = PEA__GCM_BLOCKS + PEA__GCM_BLOCKS_QUEUED - 2;
    check_err(i->ops->seal(i->self, &(pea_span){(const uint8_t *)"last", 4}, 1, &e.wire[0]), PEA_EOF);
    size_t before = e.wire[0].len;
    check_err(i->ops->seal(i->self, &(pea_span){(const uint8_t *)"more", 4}, 1, &e.wire[0]), PEA_E_KEY_LIMIT);
    assert_int_equal(e.wire[0].len, before);
    close_ends(&e);
}

/* ---- Strangers ---- */

static pea_err say_to(pea_side side, const void *data, size_t len, char sentence[PEA_TEXT_MAX + 1], size_t *answer)
{
    ends e = {.result = {PEA_MORE, PEA_MORE}};
    pea_buf in = {0}, out = {0};
    side_open(&e, side, &(side_opts){.native = true});
    check_err(pea__tls_step(e.s[side], &in, &out), PEA_MORE);
    pea_buf_consume(&out, out.len);
    check_ok(pea_buf_append(&in, data, len));
    pea_err err = pea__tls_step(e.s[side], &in, &out);
    (void)snprintf(sentence, PEA_TEXT_MAX + 1, "%s", pea__tls_sentence(e.s[side]));
    *answer = out.len;
    pea_buf_free(&in);
    pea_buf_free(&out);
    pea__tls_session_free(e.s[side]);
    return err;
}

static void strangers_are_not_answered(void **state)
{
    static const char *const words[] = {"GET / HTTP/1.1\r\n", "SSH-2.0-x\r\n", "peapod\0\1",
                                        "\x16\x02\x00",       "\x16\x03\x00",  "\x16\x03\x01\xff\xff\x01"};
    (void)state;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        char sentence[PEA_TEXT_MAX + 1];
        size_t answer;
        check_err(say_to(PEA_RESPONDER, words[i],
                         i == 4   ? 3
                         : i == 5 ? 6
                                  : strlen(words[i]),
                         sentence, &answer),
                  PEA_E_PROTO);
        assert_string_equal(sentence, "what the peer says is not TLS");
        assert_int_equal(answer, 0);
    }
}

static void an_alert_instead_of_an_answer(void **state)
{
    (void)state;
    char sentence[PEA_TEXT_MAX + 1];
    size_t answer;
    check_err(say_to(PEA_INITIATOR, "\x15\x03\x01\x00\x02\x02\x46", 7, sentence, &answer), PEA_E_REJECTED);
    assert_string_equal(sentence, "the peer's alert: protocol_version (70)");
    check_err(say_to(PEA_INITIATOR, "\x15\x03\x03\x00\x02\x02\xc8", 7, sentence, &answer), PEA_E_REJECTED);
    assert_string_equal(sentence, "the peer's alert: unknown (200)");
}

/* A ServerHello that says TLS 1.3 as TLS 1.2 would say it, with no key share: a client must not go on with keys that
 * are none (CVE-2026-115490). */
static void versions_are_not_mixed(void **state)
{
    static const uint8_t suites[][2] = {{0x13, 0x01}, {0x13, 0x02}, {0x13, 0x03}, {0xc0, 0x2b}};
    pea_tls_version now = version;
    (void)state;
    version = PEA_TLS_ANY;
    for (size_t i = 0; i < sizeof suites / sizeof suites[0]; i++) {
        for (uint8_t minor = 3; minor <= 4; minor++) {
            uint8_t hello[5 + 4 + 38 + 2 + 15] = {0x16, 3, 3, 0, sizeof hello - 5, 2, 0, 0, sizeof hello - 9, 3, minor};
            char sentence[PEA_TEXT_MAX + 1];
            size_t answer;
            memset(hello + 11, 0x5a, 32); /* random */
            uint8_t *p = hello + 11 + 32;
            *p++ = 0; /* session id */
            *p++ = suites[i][0];
            *p++ = suites[i][1];
            *p++ = 0; /* compression */
            *p++ = 0;
            *p++ = 15; /* extensions: ALPN */
            const uint8_t alpn[] = {0, 16, 0, 11, 0, 9, 8, 'p', 'e', 'a', 'p', 'o', 'd', '/', '1'};
            memcpy(p, alpn, sizeof alpn);
            pea_err err = say_to(PEA_INITIATOR, hello, sizeof hello, sentence, &answer);
            if (minor == 3 && suites[i][0] == 0xc0) {
                check_err(err, PEA_MORE); /* as TLS 1.2 it is in order */
                continue;
            }
            check_err(err, PEA_E_PROTO);
            assert_true(answer > 0);
        }
    }
    version = now;
}

/* A record with a ServerHello that has no extensions, and a Certificate behind it, whose bytes are none of its. */
static void what_stands_behind_a_hello(void **state)
{
    enum { HELLO = 4 + 38, CHAIN = 0x0b00 };
    static uint8_t record[5 + HELLO + 4 + CHAIN + 16] = {22, 3, 3, (sizeof record - 5) >> 8,
                                                         (uint8_t)(sizeof record - 5)};
    static const uint8_t hello[] = {2, 0, 0, 38, 3, 3}, certificate[] = {11, 0, 0x0b, 0x0c, 0, 0x0b, 0x09};
    pea_tls_version now = version;
    (void)state;
    memcpy(record + 5, hello, sizeof hello);
    memcpy(record + 5 + HELLO, certificate, sizeof certificate); /* read as extensions: 0x0b00 bytes, one of 11 first */
    record[5 + HELLO + 6 + 12] = 23;                             /* and then this one */
    version = PEA_TLS_1_2;
    ends e = {.result = {PEA_MORE, PEA_MORE}};
    pea_buf in = {0};
    uint8_t got[5];
    side_open(&e, PEA_INITIATOR, &(side_opts){.native = true});
    check_ok(pea_buf_append(&in, record, sizeof record));
    e.s[0]->in = &in;
    assert_int_equal(pea__tls_pull(e.s[0], got, sizeof got), sizeof got);
    e.s[0]->in = NULL;
    assert_true(e.s[0]->hello_seen);
    assert_false(e.s[0]->secrets.extended);
    pea_buf_free(&in);
    pea__tls_session_free(e.s[0]);
    version = now;
}

/* ---- Options ---- */

static void options_are_checked(void **state)
{
    static const char *const none[] = {NULL}, *const empty[] = {"", NULL};
    pea_error why;
    pea_identity *noise, *good = load("server");
    pea_chain *chain, *records;
    (void)state;
    check_ok(pea_identity_generate(&noise, &why));
    check_ok(pea_chain_new(&chain, PEA_CHAIN(.mode = PEA_STREAM), &why));
    check_ok(pea_chain_new(&records, PEA_CHAIN(.mode = PEA_RECORDS), &why));
    check_err(pea_chain_tls(chain, NULL, &why), PEA_E_INVALID);
    check_err(pea_chain_tls(chain, PEA_TLS(.identity = noise), &why), PEA_E_INVALID);
    check_err(pea_chain_tls(chain, PEA_TLS(.identity = good, .alpn = none), &why), PEA_E_INVALID);
    check_err(pea_chain_tls(chain, PEA_TLS(.identity = good, .alpn = empty), &why), PEA_E_INVALID);
    check_err(pea_chain_tls(chain, PEA_TLS(.identity = good, .lowest = (pea_tls_version)0x0302), &why), PEA_E_INVALID);
    check_err(pea_chain_tls(chain, PEA_TLS(.identity = good, .roots = {(const uint8_t *)"x", 1}), &why), PEA_E_FORMAT);
    check_err(pea_chain_tls(records, PEA_TLS(.identity = good), &why), PEA_E_INVALID);
    bool newest = pea__tls_speaks(PEA_TLS_1_3);
    check_err(pea_chain_tls(chain, PEA_TLS(.identity = good, .lowest = PEA_TLS_1_3), &why),
              newest ? PEA_OK : PEA_E_UNSUPPORTED);
    if (newest)
        check_err(pea_chain_tls(chain, PEA_TLS(.identity = good, .lowest = PEA_TLS_1_3, .highest = PEA_TLS_1_2), &why),
                  PEA_E_INVALID);
    assert_non_null(strstr(pea_tls_library(), "mbedTLS "));
    assert_non_null(strstr(pea_tls_library(), newest ? "1.3, 1.2" : "compatibility"));
    assert_int_equal(pea__tls_notice() != NULL, !newest);
    pea_chain_unref(chain);
    pea_chain_unref(records);
    pea_identity_unref(noise);
    pea_identity_unref(good);
}

/* ---- Threads ---- */

static void *handshakes(void *arg)
{
    pea__tls **tls = arg;
    for (int round = 0; round < 3; round++) {
        ends e = {.result = {PEA_MORE, PEA_MORE}};
        for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++)
            if (pea__tls_session_new(&e.s[side], tls[side], side, NULL, NULL) != PEA_OK)
                abort();
        run(&e);
        if (e.result[0] != PEA_DONE || e.result[1] != PEA_DONE)
            abort();
        close_ends(&e);
    }
    return NULL;
}

static void threads_share_nothing_of_mbedtls(void **state)
{
    pea__tls *tls[2];
    pthread_t thread[4];
    (void)state;
    for (size_t side = 0; side < 2; side++) {
        pea_identity *identity = load(side == 0 ? "client" : "server_rsa");
        pea_tls_opts opts = PEA_TLS_INIT;
        opts.identity = identity;
        opts.roots = slurp("root.crt");
        check_ok(pea__tls_new(&tls[side], &opts, true, NULL));
        pea_identity_unref(identity);
    }
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, handshakes, tls), 0);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    pea__tls_unref(tls[0]);
    pea__tls_unref(tls[1]);
}

/* ---- Each of them in each version, and with whose records ---- */

typedef struct setting {
    pea_tls_version version;
    bool own[2];
    const char *name;
} setting;

static const setting settings[] = {
    {PEA_TLS_1_2, {false, false}, "TLS 1.2"},
    {PEA_TLS_1_2, {true, true}, "TLS 1.2, own records"},
    {PEA_TLS_1_2, {true, false}, "TLS 1.2, the initiator's own records"},
    {PEA_TLS_1_2, {false, true}, "TLS 1.2, the responder's own records"},
    {PEA_TLS_1_3, {false, false}, "TLS 1.3"},
    {PEA_TLS_1_3, {true, true}, "TLS 1.3, own records"},
    {PEA_TLS_1_3, {true, false}, "TLS 1.3, the initiator's own records"},
    {PEA_TLS_1_3, {false, true}, "TLS 1.3, the responder's own records"},
};

static int use(void **state)
{
    const setting *with = *state;
    version = with->version;
    own_records[0] = with->own[0];
    own_records[1] = with->own[1];
    return 0;
}

static int in_each_setting(const struct CMUnitTest *tests, size_t n)
{
    int failed = 0;
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        setting with = settings[i];
        struct CMUnitTest here[16];
        if (!pea__tls_speaks(with.version))
            continue;
        assert(n <= 16);
        for (size_t j = 0; j < n; j++) {
            here[j] = tests[j];
            here[j].setup_func = use;
            here[j].initial_state = &with;
        }
        failed += _cmocka_run_group_tests(with.name, here, n, NULL, NULL);
    }
    return failed;
}

int main(void)
{
    const struct CMUnitTest each[] = {
        cmocka_unit_test(each_certificate_shown_by_either_side),
        cmocka_unit_test(nobody_without_a_certificate),
        cmocka_unit_test(a_server_that_asks_for_none),
        cmocka_unit_test(names_count_when_a_root_verifies_them),
        cmocka_unit_test(protocols),
        cmocka_unit_test(bindings_and_exports_agree),
        cmocka_unit_test(a_write_holds_several_records),
        cmocka_unit_test(whole_records_only),
        cmocka_unit_test(ends_are_said_and_missed),
        cmocka_unit_test(what_was_changed_is_found_and_said),
        cmocka_unit_test(a_key_wears_out),
        cmocka_unit_test(an_alert_instead_of_an_answer),
    };
    const struct CMUnitTest once[] = {
        cmocka_unit_test(a_key_that_is_too_weak), cmocka_unit_test(strangers_are_not_answered),
        cmocka_unit_test(versions_are_not_mixed), cmocka_unit_test(what_stands_behind_a_hello),
        cmocka_unit_test(options_are_checked),    cmocka_unit_test(threads_share_nothing_of_mbedtls),
    };
    int failed = in_each_setting(each, sizeof each / sizeof each[0]);
    return failed + cmocka_run_group_tests_name("a TLS session", once, NULL, NULL);
}
