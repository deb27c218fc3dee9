/* SPDX-License-Identifier: MIT */
/* Records of our own after a handshake of mbedTLS's: everything that a peer may say, and must not, in both versions and
 * with each cipher; keys that change, wear out and are wiped; and the key schedule by RFC 8448. */
#include "tls_scene.h"

#include <stdio.h>
#include <stdlib.h>

enum { CHANGE_CIPHER_SPEC = 20, ALERT = 21, HANDSHAKE = 22, APPLICATION_DATA = 23 };

/* ---- Ground: both sides have own records, and one of them says what it is told to ---- */

static pea__tls_own *own_of(ends *e, pea_side side)
{
    return e->t[side].self;
}

/* Says a record of any type. */
static void say(ends *e, pea_side side, uint8_t type, const void *data, size_t len)
{
    check_ok(pea__tls_own_say(own_of(e, side), type, data, len, &e->wire[side]));
}

static void send_text(ends *e, pea_side side, const char *text)
{
    const pea_transform *t = &e->t[side];
    check_ok(t->ops->seal(t->self, &(pea_span){(const uint8_t *)text, strlen(text)}, 1, &e->wire[side]));
}

static pea_err read_all(ends *e, pea_side side, pea_buf *plain)
{
    pea_err err;
    do
        err = unseal(e, side, plain, 100000);
    while (err == PEA_AGAIN);
    return err;
}

/* What was sent arrives, and nothing else. */
static void expect_text(ends *e, pea_side side, const char *text)
{
    pea_buf plain = {0};
    check_ok(read_all(e, side, &plain));
    check_bytes(plain.data, plain.len, text, strlen(text));
    pea_buf_free(&plain);
}

static void both_still_talk(ends *e)
{
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
        send_text(e, side, "still here");
        expect_text(e, !side, "still here");
    }
}

/* `side` finds this in what it reads, says so by this alert, and the other side hears it. */
static void expect_failure(ends *e, pea_side side, pea_err want, int alert)
{
    pea_buf plain = {0};
    char text[PEA_TEXT_MAX + 1], name[PEA_TEXT_MAX + 1];
    check_err(read_all(e, side, &plain), want);
    assert_int_equal(plain.len, 0);
    assert_null(plain.data); /* and no memory is held */
    failure(e, side, text);
    assert_true(text[0] != '\0');
    check_err(e->t[side].ops->wire_end(e->t[side].self), PEA_E_TRUNCATED);
    check_err(read_all(e, !side, &plain), PEA_E_REJECTED);
    failure(e, !side, text);
    pea__tls_alert_text(name, sizeof name, alert);
    assert_string_equal(text, name);
}

/* ---- What a peer may say ---- */

static void texts_of_all_lengths(void **state)
{
    static uint8_t bytes[70000];
    static const size_t lengths[] = {1, 2, 15, 16, 17, 2047, 2048, 16383, 16384, 16385, 50000, 61000, 70000};
    (void)state;
    ends e;
    pea_buf plain = {0};
    open_pair(&e);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 31 + (i >> 9));
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++)
        for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
            const pea_span parts[] = {{bytes, lengths[i] / 3}, {bytes + lengths[i] / 3, lengths[i] - lengths[i] / 3}};
            check_ok(e.t[side].ops->seal(e.t[side].self, parts, 2, &e.wire[side]));
            check_ok(read_all(&e, !side, &plain));
            check_bytes(plain.data, plain.len, bytes, lengths[i]);
            pea_buf_consume(&plain, plain.len);
        }
    pea_buf_free(&plain);
    close_ends(&e);
}

static void empty_records_hold_nothing(void **state)
{
    (void)state;
    ends e;
    pea_buf plain = {0};
    open_pair(&e);
    for (int i = 0; i < 10; i++)
        say(&e, PEA_INITIATOR, APPLICATION_DATA, "", 0);
    check_ok(read_all(&e, PEA_RESPONDER, &plain));
    assert_null(plain.data);
    both_still_talk(&e);
    close_ends(&e);
}

static void alerts_that_end_nothing(void **state)
{
    (void)state;
    ends e;
    open_pair(&e);
    if (version == PEA_TLS_1_3) {
        say(&e, PEA_INITIATOR, ALERT, "\x01\x5a", 2); /* user_canceled */
    } else {
        say(&e, PEA_INITIATOR, ALERT, "\x01\x5a", 2);
        say(&e, PEA_INITIATOR, ALERT, "\x01\x64", 2); /* no_renegotiation */
    }
    both_still_talk(&e);
    close_ends(&e);
}

static void alerts_that_end_all(void **state)
{
    static const char *const fatal[] = {"\x02\x14", "\x02\x31", "\x02\x5a", "\x02\xc8"};
    (void)state;
    for (size_t i = 0; i < sizeof fatal / sizeof fatal[0]; i++) {
        if (version == PEA_TLS_1_3 && fatal[i][1] == 0x5a)
            continue;
        ends e;
        pea_buf plain = {0};
        char text[PEA_TEXT_MAX + 1], name[PEA_TEXT_MAX + 1];
        open_pair(&e);
        say(&e, PEA_RESPONDER, ALERT, fatal[i], 2);
        size_t said = e.wire[0].len;
        check_err(read_all(&e, PEA_INITIATOR, &plain), PEA_E_REJECTED);
        assert_int_equal(e.wire[0].len, said); /* not answered */
        failure(&e, PEA_INITIATOR, text);
        pea__tls_alert_text(name, sizeof name, (uint8_t)fatal[i][1]);
        assert_string_equal(text, name);
        close_ends(&e);
    }
}

/* TLS 1.3: tickets, in any pieces, several in a record. */
static void tickets_are_passed_over(void **state)
{
    (void)state;
    if (version != PEA_TLS_1_3)
        return;
    static uint8_t tickets[3 * 304], large[4 + 70000];
    for (size_t i = 0; i < 3; i++) {
        uint8_t *ticket = tickets + i * 304;
        memset(ticket, 0x18, 304); /* if it were read as messages, they would be key updates */
        memcpy(ticket, "\x04\x00\x01\x2c", 4);
    }
    large[0] = 4;
    large[1] = 1;
    large[2] = (uint8_t)(70000 >> 8);
    large[3] = (uint8_t)70000;
    for (size_t piece = 8; piece <= sizeof tickets; piece = piece < 20 ? piece + 1 : piece + 97) {
        ends e;
        open_pair(&e);
        for (size_t at = 0; at < sizeof tickets; at += piece)
            say(&e, PEA_RESPONDER, HANDSHAKE, tickets + at, piece < sizeof tickets - at ? piece : sizeof tickets - at);
        both_still_talk(&e);
        for (size_t at = 0; at < sizeof large; at += 16384)
            say(&e, PEA_RESPONDER, HANDSHAKE, large + at, 16384 < sizeof large - at ? 16384 : sizeof large - at);
        both_still_talk(&e);
        close_ends(&e);
    }
}

/* TLS 1.2: a wish to begin anew is declined once, and all is as it was. */
static void nobody_begins_anew(void **state)
{
    (void)state;
    if (version != PEA_TLS_1_2)
        return;
    static const uint8_t hello[4 + 50] = {1, 0, 0, 50};
    ends e;
    pea_buf plain = {0};
    open_pair(&e);
    for (int i = 0; i < 3; i++) {
        say(&e, PEA_RESPONDER, HANDSHAKE, "\0\0\0\0", 4); /* HelloRequest */
        check_ok(read_all(&e, PEA_INITIATOR, &plain));
        assert_int_equal(e.wire[0].len > 0, i == 0);
        check_ok(read_all(&e, PEA_RESPONDER, &plain)); /* a warning ends nothing */
        say(&e, PEA_INITIATOR, HANDSHAKE, hello, 10);
        say(&e, PEA_INITIATOR, HANDSHAKE, hello + 10, sizeof hello - 10);
        check_ok(read_all(&e, PEA_RESPONDER, &plain));
        assert_int_equal(e.wire[1].len > 0, i == 0);
        check_ok(read_all(&e, PEA_INITIATOR, &plain));
    }
    both_still_talk(&e);
    close_ends(&e);
}

/* ---- Keys that change ---- */

static void keys_change_when_asked(void **state)
{
    (void)state;
    ends e;
    open_pair(&e);
    if (version == PEA_TLS_1_2) {
        check_err(e.t[0].ops->control(e.t[0].self, PEA_CONTROL_REKEY, &e.wire[0]), PEA_E_UNSUPPORTED);
        close_ends(&e);
        return;
    }
    for (int i = 0; i < 5; i++)
        for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
            check_ok(e.t[side].ops->control(e.t[side].self, PEA_CONTROL_REKEY, &e.wire[side]));
            both_still_talk(&e);
        }
    close_ends(&e);
}

/* The peer demands a new key of ours: it comes before the next data, once for any number of demands. */
static void a_demand_is_met_before_more_is_said(void **state)
{
    (void)state;
    if (version != PEA_TLS_1_3)
        return;
    ends e;
    open_pair(&e);
    for (int i = 0; i < 100; i++) {
        say(&e, PEA_INITIATOR, HANDSHAKE, "\x18\0\0\x01\x01", 5);
        pea__tls_own *own = own_of(&e, PEA_INITIATOR);
        check_ok(pea__tls_update_keys(&own->send, own->secrets.aead, own->secrets.md));
    }
    expect_text(&e, PEA_RESPONDER, "");
    assert_int_equal(e.wire[1].len, 0); /* nothing is said of it yet, however often it was demanded */
    send_text(&e, PEA_RESPONDER, "new");
    assert_int_equal(e.wire[1].len, 27 + 5 + 3 + 1 + 16);
    expect_text(&e, PEA_INITIATOR, "new");
    send_text(&e, PEA_RESPONDER, "newer");
    assert_int_equal(e.wire[1].len, 5 + 5 + 1 + 16);
    expect_text(&e, PEA_INITIATOR, "newer");
    both_still_talk(&e);
    close_ends(&e);
}

/* A key of AES-GCM has a limit: TLS 1.3 takes the next, TLS 1.2 has none. */
static void a_key_wears_out(void **state)
{
    (void)state;
    ends e;
    open_pair(&e);
    pea__tls_keys *send = &own_of(&e, PEA_INITIATOR)->send;
    const pea_transform *i = &e.t[0];
    uint8_t key[PEA__AEAD_KEY_BYTES];
    memcpy(key, send->k, sizeof key);
    send->blocks = PEA__GCM_BLOCKS - 3;
    send_text(&e, PEA_INITIATOR, "last");
    assert_memory_equal(send->k, key, sizeof key);
    expect_text(&e, PEA_RESPONDER, "last");
    if (own_of(&e, PEA_INITIATOR)->secrets.aead == PEA__CHACHAPOLY) {
        send_text(&e, PEA_INITIATOR, "more"); /* this one has none that can be reached */
        assert_memory_equal(send->k, key, sizeof key);
    } else if (version == PEA_TLS_1_3) {
        send_text(&e, PEA_INITIATOR, "more");
        assert_memory_not_equal(send->k, key, sizeof key);
        assert_in_range(send->blocks, 1, 10);
        expect_text(&e, PEA_RESPONDER, "more");
        both_still_talk(&e);
    } else {
        check_err(i->ops->seal(i->self, &(pea_span){(const uint8_t *)"more", 4}, 1, &e.wire[0]), PEA_EOF);
        expect_text(&e, PEA_RESPONDER, "more");
        send->blocks = PEA__GCM_BLOCKS + PEA__GCM_BLOCKS_QUEUED - 2;
        check_err(i->ops->seal(i->self, &(pea_span){(const uint8_t *)"last", 4}, 1, &e.wire[0]), PEA_EOF);
        check_err(i->ops->seal(i->self, &(pea_span){(const uint8_t *)"more", 4}, 1, &e.wire[0]), PEA_E_KEY_LIMIT);
    }
    close_ends(&e);
}

/* The number of a record never comes again. */
static void numbers_end(void **state)
{
    (void)state;
    ends e;
    pea_buf plain = {0};
    open_pair(&e);
    const pea_transform *i = &e.t[0];
    own_of(&e, PEA_INITIATOR)->send.number = UINT64_MAX - 1;
    own_of(&e, PEA_RESPONDER)->receive.number = UINT64_MAX - 1;
    send_text(&e, PEA_INITIATOR, "the last");
    expect_text(&e, PEA_RESPONDER, "the last");
    check_err(i->ops->seal(i->self, &(pea_span){(const uint8_t *)"more", 4}, 1, &e.wire[0]), PEA_E_KEY_LIMIT);
    assert_int_equal(e.wire[0].len, 0);
    check_ok(pea_buf_append(&e.wire[0], "\x17\x03\x03\0\x20________________________________", 37));
    check_err(read_all(&e, PEA_RESPONDER, &plain), PEA_E_KEY_LIMIT);
    close_ends(&e);
}

/* A key that cannot be made is no key: nothing is said with the old one, nor with a half of the new one. */
static int derivations_left = -1; /* before one fails, once; -1: none does */

int __real_mbedtls_hkdf_expand(const mbedtls_md_info_t *md, const unsigned char *key, size_t key_len,
                               const unsigned char *info, size_t info_len, unsigned char *out, size_t len);
int __wrap_mbedtls_hkdf_expand(const mbedtls_md_info_t *md, const unsigned char *key, size_t key_len,
                               const unsigned char *info, size_t info_len, unsigned char *out, size_t len);

int __wrap_mbedtls_hkdf_expand(const mbedtls_md_info_t *md, const unsigned char *key, size_t key_len,
                               const unsigned char *info, size_t info_len, unsigned char *out, size_t len)
{
    if (derivations_left >= 0 && derivations_left-- == 0)
        return MBEDTLS_ERR_MD_ALLOC_FAILED;
    return __real_mbedtls_hkdf_expand(md, key, key_len, info, info_len, out, len);
}

static void a_key_that_cannot_be_made(void **state)
{
    (void)state;
    if (version != PEA_TLS_1_3)
        return;
    for (int derivation = 0; derivation < 3; derivation++) {
        ends e;
        open_pair(&e);
        const pea_transform *t = &e.t[0];
        send_text(&e, PEA_INITIATOR, "first");
        own_of(&e, PEA_INITIATOR)->update_owed = true;
        size_t before = e.wire[0].len;
        derivations_left = derivation;
        check_err(t->ops->seal(t->self, &(pea_span){(const uint8_t *)"second", 6}, 1, &e.wire[0]), PEA_E_NOMEM);
        check_err(t->ops->control(t->self, PEA_CONTROL_END, &e.wire[0]), PEA_E_KEY_LIMIT);
        assert_int_equal(e.wire[0].len, before);
        assert_int_equal(derivations_left, -1);
        close_ends(&e);
    }
}

/* A client of TLS 1.2 that takes short records alone gets no others. */
static void short_records(void **state)
{
    static uint8_t bytes[4000];
    (void)state;
    ends e = {.result = {PEA_MORE, PEA_MORE}};
    pea_buf plain = {0};
    side_open(&e, PEA_INITIATOR, &(side_opts){.native = true});
    side_open(&e, PEA_RESPONDER, &(side_opts){.native = true});
    mbedtls_ssl_config *client = &e.s[PEA_INITIATOR]->context->config[PEA_INITIATOR];
    assert_int_equal(mbedtls_ssl_conf_max_frag_len(client, MBEDTLS_SSL_MAX_FRAG_LEN_512), 0);
    run(&e);
    yield_ends(&e);
    check_ok(e.t[1].ops->seal(e.t[1].self, &(pea_span){bytes, sizeof bytes}, 1, &e.wire[1]));
    size_t len = (size_t)e.wire[1].data[3] << 8 | e.wire[1].data[4];
    if (version == PEA_TLS_1_2) /* mbedTLS's TLS 1.3 does not know the extension */
        assert_in_range(len, 512, 512 + 24);
    check_ok(read_all(&e, PEA_INITIATOR, &plain));
    assert_int_equal(plain.len, sizeof bytes);
    pea_buf_free(&plain);
    close_ends(&e);
}

/* ---- What a peer must not say ---- */

typedef struct bad {
    const char *what;
    pea_tls_version version; /* PEA_TLS_ANY: both */
    int from;                /* the side that says it; -1: either */
    uint8_t type;
    const char *said;
    size_t len;
    int alert;
} bad;

static const bad bads[] = {
    {"a type of record that there is none", PEA_TLS_ANY, -1, 24, "x", 1, 10},
    {"a change of cipher", PEA_TLS_ANY, -1, CHANGE_CIPHER_SPEC, "\x01", 1, 10},
    {"half an alert", PEA_TLS_ANY, -1, ALERT, "\x02", 1, 50},
    {"two alerts in one", PEA_TLS_ANY, -1, ALERT, "\x01\x5a\x01\x5a", 4, 50},
    {"no alert", PEA_TLS_ANY, -1, ALERT, "", 0, 50},
    {"no message", PEA_TLS_ANY, -1, HANDSHAKE, "", 0, 10},
    {"a Finished", PEA_TLS_ANY, -1, HANDSHAKE, "\x14\0\0\x0c", 4, 10},
    {"a ticket from a client", PEA_TLS_1_3, PEA_INITIATOR, HANDSHAKE, "\x04\0\0\x10", 4, 10},
    {"a ticket without an end", PEA_TLS_1_3, PEA_RESPONDER, HANDSHAKE, "\x04\xff\xff\xff", 4, 10},
    {"a certificate asked for", PEA_TLS_1_3, PEA_RESPONDER, HANDSHAKE, "\x0d\0\0\x10", 4, 10},
    {"a ClientHello", PEA_TLS_1_3, PEA_INITIATOR, HANDSHAKE, "\x01\0\0\x10", 4, 10},
    {"a HelloRequest", PEA_TLS_1_3, PEA_RESPONDER, HANDSHAKE, "\0\0\0\0", 4, 10},
    {"a key update with two bytes", PEA_TLS_1_3, -1, HANDSHAKE, "\x18\0\0\x02\0\0", 6, 10},
    {"a key update without any", PEA_TLS_1_3, -1, HANDSHAKE, "\x18\0\0\0", 4, 10},
    {"a key update that asks for more", PEA_TLS_1_3, -1, HANDSHAKE, "\x18\0\0\x01\x02", 5, 47},
    {"a key update with more behind it", PEA_TLS_1_3, -1, HANDSHAKE, "\x18\0\0\x01\0\x18", 6, 10},
    {"a key update in TLS 1.2", PEA_TLS_1_2, -1, HANDSHAKE, "\x18\0\0\x01\0", 5, 10},
    {"a HelloRequest from a client", PEA_TLS_1_2, PEA_INITIATOR, HANDSHAKE, "\0\0\0\0", 4, 10},
    {"a HelloRequest with something in it", PEA_TLS_1_2, PEA_RESPONDER, HANDSHAKE, "\0\0\0\x01", 4, 10},
    {"a ClientHello from a server", PEA_TLS_1_2, PEA_RESPONDER, HANDSHAKE, "\x01\0\0\x10", 4, 10},
};

static void what_must_not_be_said(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bads / sizeof bads[0]; i++)
        for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
            const bad *b = &bads[i];
            if ((b->version != PEA_TLS_ANY && b->version != version) || (b->from >= 0 && b->from != (int)side))
                continue;
            ends e;
            open_pair(&e);
            say(&e, side, b->type, b->said, b->len);
            expect_failure(&e, !side, PEA_E_PROTO, b->alert);
            close_ends(&e);
        }
}

/* A message of the handshake is not interrupted by anything else. */
static void no_message_is_interrupted(void **state)
{
    (void)state;
    ends e;
    open_pair(&e);
    if (version == PEA_TLS_1_3)
        say(&e, PEA_RESPONDER, HANDSHAKE, "\x04\0\x01\0half", 8);
    else
        say(&e, PEA_RESPONDER, HANDSHAKE, "\0\0", 2);
    send_text(&e, PEA_RESPONDER, "meanwhile");
    expect_failure(&e, PEA_INITIATOR, PEA_E_PROTO, 10);
    close_ends(&e);
}

/* Any bit of a record that is changed is found; nothing of it is given out. */
static void each_bit_counts(void **state)
{
    (void)state;
    ends e;
    pea_buf good = {0};
    open_pair(&e);
    pea__tls_own *own = own_of(&e, PEA_INITIATOR), before = *own;
    const pea_transform *r = &e.t[1];
    check_ok(r->ops->seal(r->self, &(pea_span){(const uint8_t *)"hello", 5}, 1, &good));
    for (size_t bit = 0; bit < good.len * 8; bit++) {
        pea_buf plain = {0};
        check_ok(pea_buf_append(&e.wire[1], good.data, good.len));
        e.wire[1].data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        pea_err err = read_all(&e, PEA_INITIATOR, &plain);
        if (err == PEA_OK) { /* it says that it is longer: the end of the stream will tell */
            assert_in_range(bit, 24, 39);
            check_err(e.t[0].ops->wire_end(own), PEA_E_TRUNCATED);
        } else {
            assert_true(err == PEA_E_CRYPTO || err == PEA_E_PROTO);
        }
        assert_null(plain.data);
        pea_buf_consume(&e.wire[1], e.wire[1].len);
        *own = before;
    }
    check_ok(pea_buf_append(&e.wire[1], good.data, good.len));
    expect_text(&e, PEA_INITIATOR, "hello");
    pea_buf_free(&good);
    close_ends(&e);
}

static void records_that_are_too_long(void **state)
{
    static uint8_t bytes[5 + 16384 + 2048 + 1] = {23, 3, 3};
    (void)state;
    const size_t limit = 16384 + (version == PEA_TLS_1_3 ? 256 : 2048);
    ends e;
    for (int how = 0; how < 2; how++) {
        open_pair(&e);
        if (how == 0) { /* by its header */
            bytes[3] = (uint8_t)((limit + 1) >> 8);
            bytes[4] = (uint8_t)(limit + 1);
            check_ok(pea_buf_append(&e.wire[1], bytes, 5 + limit + 1));
            expect_failure(&e, PEA_INITIATOR, PEA_E_PROTO, 22);
        } else { /* by what is in it */
            say(&e, PEA_RESPONDER, APPLICATION_DATA, bytes, 16385);
            expect_failure(&e, PEA_INITIATOR, PEA_E_PROTO, 22);
        }
        close_ends(&e);
    }
}

static void records_that_are_too_short(void **state)
{
    (void)state;
    for (uint8_t len = 0; len < 16; len++) {
        ends e;
        uint8_t bytes[5 + 16] = {23, 3, 3, 0, len};
        open_pair(&e);
        check_ok(pea_buf_append(&e.wire[1], bytes, 5 + (size_t)len));
        expect_failure(&e, PEA_INITIATOR, PEA_E_CRYPTO, 20);
        close_ends(&e);
    }
}

/* TLS 1.3 hides the type behind zeros, any number of them; without a type there is none. */
static void padding(void **state)
{
    (void)state;
    if (version != PEA_TLS_1_3)
        return;
    ends e;
    uint8_t padded[300] = "text\x17"; /* and zeros; say() adds a type of zero, which is one more */
    open_pair(&e);
    for (size_t len = 5; len < sizeof padded; len += 59)
        say(&e, PEA_RESPONDER, 0, padded, len);
    expect_text(&e, PEA_INITIATOR, "texttexttexttexttext");
    static uint8_t most[16384] = {'x', 23}; /* with the type of zero: 2^14 + 1 bytes */
    say(&e, PEA_RESPONDER, 0, most, sizeof most);
    expect_text(&e, PEA_INITIATOR, "x");
    say(&e, PEA_RESPONDER, 0, padded + 5, 100);
    expect_failure(&e, PEA_INITIATOR, PEA_E_PROTO, 10);
    close_ends(&e);
}

static void zeros_count(void **state)
{
    static uint8_t more[16384 + 1] = {'x', 23};
    (void)state;
    if (version != PEA_TLS_1_3)
        return;
    ends e;
    open_pair(&e);
    say(&e, PEA_RESPONDER, 0, more, sizeof more);
    expect_failure(&e, PEA_INITIATOR, PEA_E_PROTO, 22);
    close_ends(&e);
}

/* Who says nothing, and that again and again, is not listened to for ever. */
static void nothing_again_and_again(void **state)
{
    (void)state;
    ends e;
    open_pair(&e);
    for (int i = 0; i < 128; i++)
        say(&e, PEA_RESPONDER, APPLICATION_DATA, "", 0);
    both_still_talk(&e);
    for (int i = 0; i < 129; i++)
        say(&e, PEA_RESPONDER, ALERT, "\x01\x5a", 2);
    expect_failure(&e, PEA_INITIATOR, PEA_E_PROTO, 10);
    close_ends(&e);
}

/* TLS 1.3: what is not sealed has no place. */
static void nothing_in_the_clear(void **state)
{
    static const char *const clear[] = {"\x15\x03\x03\0\x02\x02\x28", "\x14\x03\x03\0\x01\x01",
                                        "\x16\x03\x03\0\x01\x01"};
    static const size_t len[] = {7, 6, 6};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        ends e;
        open_pair(&e);
        check_ok(pea_buf_append(&e.wire[1], clear[i], len[i]));
        if (version == PEA_TLS_1_3)
            expect_failure(&e, PEA_INITIATOR, PEA_E_PROTO, 10);
        else
            expect_failure(&e, PEA_INITIATOR, PEA_E_CRYPTO, 20);
        close_ends(&e);
    }
}

/* A record again, one left out, two in the wrong order. */
static void order_counts(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        ends e;
        pea_buf plain = {0}, one = {0}, two = {0};
        open_pair(&e);
        const pea_transform *t = &e.t[0];
        check_ok(t->ops->seal(t->self, &(pea_span){(const uint8_t *)"one", 3}, 1, &one));
        check_ok(t->ops->seal(t->self, &(pea_span){(const uint8_t *)"two", 3}, 1, &two));
        if (how == 0) {
            check_ok(pea_buf_append(&e.wire[0], one.data, one.len));
            check_ok(pea_buf_append(&e.wire[0], one.data, one.len));
            check_err(read_all(&e, PEA_RESPONDER, &plain), PEA_E_CRYPTO);
            check_bytes(plain.data, plain.len, "one", 3);
        } else {
            check_ok(pea_buf_append(&e.wire[0], two.data, two.len));
            if (how == 1)
                check_ok(pea_buf_append(&e.wire[0], one.data, one.len));
            check_err(read_all(&e, PEA_RESPONDER, &plain), PEA_E_CRYPTO);
            assert_int_equal(plain.len, 0);
        }
        pea_buf_free(&plain);
        pea_buf_free(&one);
        pea_buf_free(&two);
        close_ends(&e);
    }
}

/* ---- The key schedule ---- */

static void from_hex(uint8_t *out, size_t len, const char *hex)
{
    assert_int_equal(strlen(hex), 2 * len);
    for (size_t i = 0; i < len; i++) {
        unsigned byte;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        out[i] = (uint8_t)byte;
    }
}

/* RFC 8448, section 3: keys of the application's traffic, and the client's record. */
static void the_simple_handshake_of_rfc_8448(void **state)
{
    (void)state;
    pea__tls_secrets secrets = {.version = PEA_TLS_1_3, .aead = PEA__AES128GCM, .md = MBEDTLS_MD_SHA256};
    pea__tls_keys keys[2];
    uint8_t key[2][16], iv[2][12], record[72], plain[51], want[51];
    from_hex(secrets.traffic[0], 32, "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5");
    from_hex(secrets.traffic[1], 32, "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643");
    from_hex(key[0], 16, "17422dda596ed5d9acd890e3c63f5051");
    from_hex(iv[0], 12, "5b78923dee08579033e523d9");
    from_hex(key[1], 16, "9f02283b6c9c07efc26bb9f2ac92e356");
    from_hex(iv[1], 12, "cf782b88dd83549aadf1e984");
    check_ok(pea__tls_first_keys(&secrets, keys));
    for (int side = 0; side < 2; side++) {
        check_bytes(keys[side].k, 16, key[side], 16);
        check_bytes(keys[side].iv, 12, iv[side], 12);
    }
    from_hex(
        record, sizeof record,
        "1703030043a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f2b9819a8a5b46b395bd54a9a20441e2b62974e1f5a"
        "6292a2977014bd1e3deae63aeebb21694915e4");
    for (uint8_t i = 0; i < 50; i++)
        want[i] = i;
    want[50] = APPLICATION_DATA;
    check_ok(pea__aead_open(PEA__AES128GCM, keys[0].k, NULL, keys[0].iv, (pea_span){record, 5}, true, record + 5, 67,
                            plain));
    check_bytes(plain, sizeof plain, want, sizeof want);
}

/* What mbedTLS exports by itself, where it does. */
static void exports_are_those_of_mbedtls(void **state)
{
    (void)state;
#if !PEA__MBEDTLS_2 && defined(MBEDTLS_SSL_KEYING_MATERIAL_EXPORT)
    ends e;
    const side_opts usual = {.native = true};
    static const uint8_t in[] = "EXPORTER-test\0context", alone[] = "EXPORTER-test";
    bool own[2] = {own_records[0], own_records[1]};
    own_records[0] = own_records[1] = false;
    open_ends(&e, &usual, &usual);
    yield_ends(&e);
    for (int side = 0; side < 2; side++) {
        uint8_t got[100], want[100];
        size_t len = sizeof got;
        check_ok(pea__tls_binding(&e.s[side]->secrets, got, &len));
        assert_int_equal(
            mbedtls_ssl_export_keying_material(&e.s[side]->ssl, want, len, "EXPORTER-Channel-Binding", 24, want, 0, 1),
            0);
        check_bytes(got, len, want, len);
        if (version != PEA_TLS_1_3)
            continue;
        check_ok(pea__tls_export(&e.s[side]->secrets, (pea_span){in, sizeof in - 1}, got, sizeof got));
        assert_int_equal(
            mbedtls_ssl_export_keying_material(&e.s[side]->ssl, want, sizeof want, "EXPORTER-test", 13, in + 14, 7, 1),
            0);
        check_bytes(got, sizeof got, want, sizeof want);
        check_ok(pea__tls_export(&e.s[side]->secrets, (pea_span){alone, 13}, got, sizeof got));
        assert_int_equal(
            mbedtls_ssl_export_keying_material(&e.s[side]->ssl, want, sizeof want, "EXPORTER-test", 13, NULL, 0, 0), 0);
        check_bytes(got, sizeof got, want, sizeof want);
    }
    close_ends(&e);
    own_records[0] = own[0];
    own_records[1] = own[1];
#endif
}

/* ---- Each of them in each version with each cipher ---- */

static const struct setting {
    pea_tls_version version;
    int suites[2];
    const char *name;
} settings[] = {
    {PEA_TLS_1_2, {MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, 0}, "own records, TLS 1.2, AES-256-GCM"},
    {PEA_TLS_1_2, {MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, 0}, "own records, TLS 1.2, AES-128-GCM"},
    {PEA_TLS_1_2,
     {MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, 0},
     "own records, TLS 1.2, ChaCha20-Poly1305"},
#if PEA__TLS13
    {PEA_TLS_1_3, {MBEDTLS_TLS1_3_AES_256_GCM_SHA384, 0}, "own records, TLS 1.3, AES-256-GCM"},
    {PEA_TLS_1_3, {MBEDTLS_TLS1_3_AES_128_GCM_SHA256, 0}, "own records, TLS 1.3, AES-128-GCM"},
    {PEA_TLS_1_3, {MBEDTLS_TLS1_3_CHACHA20_POLY1305_SHA256, 0}, "own records, TLS 1.3, ChaCha20-Poly1305"},
#endif
};

int main(void)
{
    const struct CMUnitTest each[] = {
        cmocka_unit_test(texts_of_all_lengths),
        cmocka_unit_test(empty_records_hold_nothing),
        cmocka_unit_test(alerts_that_end_nothing),
        cmocka_unit_test(alerts_that_end_all),
        cmocka_unit_test(tickets_are_passed_over),
        cmocka_unit_test(nobody_begins_anew),
        cmocka_unit_test(keys_change_when_asked),
        cmocka_unit_test(a_demand_is_met_before_more_is_said),
        cmocka_unit_test(a_key_wears_out),
        cmocka_unit_test(numbers_end),
        cmocka_unit_test(what_must_not_be_said),
        cmocka_unit_test(no_message_is_interrupted),
        cmocka_unit_test(each_bit_counts),
        cmocka_unit_test(records_that_are_too_long),
        cmocka_unit_test(records_that_are_too_short),
        cmocka_unit_test(padding),
        cmocka_unit_test(zeros_count),
        cmocka_unit_test(nothing_again_and_again),
        cmocka_unit_test(a_key_that_cannot_be_made),
        cmocka_unit_test(short_records),
        cmocka_unit_test(nothing_in_the_clear),
        cmocka_unit_test(order_counts),
        cmocka_unit_test(exports_are_those_of_mbedtls),
    };
    const struct CMUnitTest once[] = {cmocka_unit_test(the_simple_handshake_of_rfc_8448)};
    int failed = cmocka_run_group_tests_name("the key schedule of TLS 1.3", once, NULL, NULL);
    own_records[0] = own_records[1] = true;
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        version = settings[i].version;
        ciphersuites = settings[i].suites;
        if (pea__tls_speaks(version))
            failed += _cmocka_run_group_tests(settings[i].name, each, sizeof each / sizeof each[0], NULL, NULL);
    }
    return failed;
}
