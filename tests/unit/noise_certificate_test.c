/* SPDX-License-Identifier: MIT */
/* Certificates in Noise handshakes, between pipes whose time is passed in: where they are said, whom they let in as
 * whom and until when, what a peer may not put there, and which chains can have one. Which rule matches is
 * trust_members_test.c's business, real sockets members_test.c's. */
#include <stdio.h>
#include <stdlib.h>

#include "cert_priv.h"
#include "noise/noise_priv.h"
#include "peapod/chain.h"
#include "peapod/pipe.h"
#include "peapod/trust.h"
#include "policy_priv.h"
#include "secure_priv.h"
#include "support/check.h"

#define GREETING 41u
#define NOW INT64_C(1700000000)   /* s */
#define END (NOW + INT64_C(3600)) /* when certificates end */

static const uint8_t network[PEA_NETWORK_BYTES] = {7};
static pea_root *root, *other_root;
static pea_identity *identity[3]; /* by side, and one more */
static pea_peer id[3];
static pea_cert *cert[2]; /* by side: "left" and "right" of the root, in this network */

static pea_cert *issue(const pea_root *by, const pea_cert_opts *opts)
{
    pea_cert *c;
    pea_error why = {.code = PEA_OK};
    if (pea_cert_issue(&c, by, opts, &why) != PEA_OK) {
        print_error("%s\n", why.text);
        fail();
    }
    return c;
}

static pea_trust *trust_of(const char *rest)
{
    pea_trust *t;
    uint8_t key[PEA_KEY_BYTES];
    char line[256], text[PEA_ROOT_TEXT_BYTES];
    pea_root_public(root, key);
    (void)snprintf(line, sizeof line, "%s %s", pea_root_key_format(key, text), rest);
    check_ok(pea_trust_new(&t));
    check_ok(pea_trust_add(t, line, NULL));
    return t;
}

/* ---- Pipes ---- */

typedef struct end {
    pea_pipe *pipe;
    pea_buf out;
    bool ready, closed, told;
    unsigned messages;
    pea_reason reason;
} end;

typedef struct end_opts {
    const char *protocol;
    pea_identity *identity; /* NULL: the side's */
    pea_cert *cert;
    pea_policy *policy;
    const pea_peer *expect;
    const char *name;
} end_opts;

static pea_chain *chain_of(pea_side side, const end_opts *o)
{
    pea_chain *chain;
    pea_error why = {.code = PEA_OK};
    check_ok(pea_chain_new(&chain, PEA_CHAIN(.network = network), NULL));
    pea_err err = pea_chain_noise(chain,
                                  PEA_NOISE(.identity = o->identity != NULL ? o->identity : identity[side],
                                            .protocol = o->protocol, .certificate = o->cert),
                                  &why);
    if (err != PEA_OK)
        print_error("%s\n", why.text);
    check_ok(err);
    return chain;
}

static void end_open(end *e, pea_side side, const end_opts *o)
{
    pea_chain *chain = chain_of(side, o);
    *e = (end){0};
    check_ok(pea_pipe_new(&e->pipe, chain,
                          PEA_PIPE(.side = side, .policy = o->policy, .expect = o->expect, .name = o->name), NULL));
    pea_pipe_tick(e->pipe, 1, NOW * 1000);
    pea_chain_unref(chain);
}

static void end_close(end *e)
{
    pea_pipe_free(e->pipe);
    pea_buf_free(&e->out);
}

static void take_events(end *e)
{
    pea_event event;
    while (pea_pipe_next(e->pipe, &event) == PEA_OK) {
        e->ready |= event.type == PEA_EVENT_READY;
        e->messages += event.type == PEA_EVENT_MESSAGE;
        if (event.type == PEA_EVENT_CLOSED) {
            e->closed = true;
            e->reason = *event.reason;
        }
    }
}

static bool drain(end *e)
{
    pea_span span;
    pea_err err;
    take_events(e);
    while ((err = pea_pipe_output(e->pipe, &span)) == PEA_OK) {
        check_ok(pea_buf_append(&e->out, span.data, span.len));
        pea_pipe_sent(e->pipe, span.len);
    }
    take_events(e);
    return err == PEA_EOF;
}

static void feed(end *e, const void *data, size_t len)
{
    size_t taken;
    if (!e->closed)
        check_ok(pea_pipe_feed(e->pipe, data, len, &taken));
    (void)drain(e);
}

static void talk(end ends[2])
{
    for (bool moved = true; moved;) {
        moved = false;
        for (int i = 0; i < 2; i++) {
            bool eof = drain(&ends[i]);
            if (ends[i].out.len > 0) {
                pea_buf data = ends[i].out;
                ends[i].out = (pea_buf){0};
                feed(&ends[!i], data.data, data.len);
                pea_buf_free(&data);
                moved = true;
            } else if (eof && !ends[i].told) {
                ends[i].told = moved = true;
                pea_pipe_feed_end(ends[!i].pipe);
                (void)drain(&ends[!i]);
            }
        }
    }
}

static void meet(end ends[2], const end_opts *left, const end_opts *right)
{
    end_open(&ends[0], PEA_INITIATOR, left);
    end_open(&ends[1], PEA_RESPONDER, right);
    talk(ends);
}

static void part(end ends[2])
{
    end_close(&ends[0]);
    end_close(&ends[1]);
}

/* ---- Whom they let in ---- */

static void both_ways(void **state)
{
    static const char *const protocols[] = {NULL, "Noise_XX1_25519_ChaChaPoly_BLAKE2b", "Noise_X1X_25519_AESGCM_SHA256",
                                            "Noise_X1X1_25519_ChaChaPoly_SHA512"};
    (void)state;
    for (size_t i = 0; i < sizeof protocols / sizeof protocols[0]; i++) {
        end ends[2];
        pea_trust *t = trust_of("names=* roles=l,x");
        meet(ends, &(end_opts){.protocol = protocols[i], .cert = cert[0], .policy = pea_trust_policy(t)},
             &(end_opts){.protocol = protocols[i], .cert = cert[1], .policy = pea_trust_policy(t)});
        assert_true(ends[0].ready && ends[1].ready);
        assert_string_equal(pea_pipe_peer(ends[0].pipe)->name, "right");
        assert_string_equal(pea_pipe_peer(ends[0].pipe)->role, "");
        assert_string_equal(pea_pipe_peer(ends[1].pipe)->name, "left");
        assert_string_equal(pea_pipe_peer(ends[1].pipe)->role, "l");
        assert_true(pea_peer_equal(pea_pipe_peer(ends[1].pipe), &id[0])); /* the key is who he is */
        part(ends);
        pea_trust_unref(t);
    }
}

/* Of patterns in which one side's key is known beforehand, the other one's certificate is all there is to say. */
static void one_way(void **state)
{
    static const char *const protocols[] = {"Noise_IK_25519_ChaChaPoly_BLAKE2b", "Noise_XK_25519_ChaChaPoly_BLAKE2b",
                                            "Noise_IK1_25519_ChaChaPoly_BLAKE2b"};
    (void)state;
    for (size_t i = 0; i < sizeof protocols / sizeof protocols[0]; i++) {
        end ends[2];
        pea_trust *t = trust_of("names=left");
        if (i == 2) { /* the initiator's key is in the clear */
            pea_chain *chain;
            pea_error why;
            check_ok(pea_chain_new(&chain, PEA_CHAIN(.network = network), NULL));
            check_err(
                pea_chain_noise(
                    chain, PEA_NOISE(.identity = identity[0], .protocol = protocols[i], .certificate = cert[0]), &why),
                PEA_E_INVALID);
            pea_chain_unref(chain);
            pea_trust_unref(t);
            continue;
        }
        meet(ends, &(end_opts){.protocol = protocols[i], .cert = cert[0], .expect = &id[1]},
             &(end_opts){.protocol = protocols[i], .cert = cert[1], .policy = pea_trust_policy(t)});
        assert_true(ends[0].ready && ends[1].ready);
        assert_string_equal(pea_pipe_peer(ends[1].pipe)->name, "left");
        part(ends);
        pea_trust_unref(t);
    }
}

/* The responder refuses, and says so within. What the initiator's certificate is, and the time (s). */
static void refused(pea_cert *c, const char *rule, int64_t now, uint16_t code, const char *says)
{
    end ends[2];
    pea_trust *t = trust_of(rule);
    end_open(&ends[0], PEA_INITIATOR, &(end_opts){.cert = c, .expect = &id[1]});
    end_open(&ends[1], PEA_RESPONDER, &(end_opts){.policy = pea_trust_policy(t)});
    pea_pipe_tick(ends[1].pipe, 1, now * 1000);
    talk(ends);
    assert_false(ends[0].ready || ends[1].ready);
    assert_true(ends[0].closed && ends[1].closed);
    assert_int_equal(ends[0].reason.origin, PEA_BY_PEER);
    assert_int_equal(ends[0].reason.code, code | PEA_CODE_PERMANENT);
    assert_int_equal(ends[1].reason.code, code | PEA_CODE_PERMANENT);
    if (strstr(ends[1].reason.text, says) == NULL)
        print_error("%s\n", ends[1].reason.text);
    assert_non_null(strstr(ends[1].reason.text, says));
    part(ends);
    pea_trust_unref(t);
}

static void the_refused_are_told(void **state)
{
    (void)state;
    pea_cert *stranger = issue(
        other_root, PEA_CERT(.key = id[0].id, .name = "left", .network = network, .not_before = 1, .not_after = END));
    refused(stranger, "names=*", NOW, PEA_CODE_DENIED, "no rule names");
    refused(NULL, "names=*", NOW, PEA_CODE_DENIED, "no rule names");
    refused(cert[0], "names=right,l*x", NOW, PEA_CODE_DENIED, "no rule names");
    refused(cert[0], "names=*", END, PEA_CODE_EXPIRED, "does not hold at this time");
    refused(cert[0], "names=*", NOW - 1, PEA_CODE_EXPIRED, "does not hold at this time");
    pea_cert_unref(stranger);
}

/* The initiator refuses before its own key is out, and says nothing. */
static void a_refused_responder_learns_nothing(void **state)
{
    end ends[2];
    (void)state;
    pea_trust *t = trust_of("names=left");
    meet(ends, &(end_opts){.cert = cert[0], .policy = pea_trust_policy(t)},
         &(end_opts){.cert = cert[1], .policy = pea_trust_policy(t)});
    assert_true(ends[0].closed && ends[1].closed);
    assert_null(pea_pipe_refused(ends[1].pipe));
    assert_null(pea_pipe_peer(ends[1].pipe));
    part(ends);
    pea_trust_unref(t);
}

/* ---- Names that were dialled ---- */

static void names_that_were_dialled(void **state)
{
    static const struct {
        const char *name;
        bool by_key, in;
    } rows[] = {
        {NULL, false, true},    {"", false, true},        {"right", false, true}, {"RIGHT", false, true},
        {"righ", false, false}, {"rightx", false, false}, {"left", false, false}, {"left", true, true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        end ends[2];
        pea_trust *t = trust_of("names=*");
        if (rows[i].by_key)
            check_ok(pea_trust_allow(t, &id[1], "by-key", NULL, NULL));
        meet(ends, &(end_opts){.cert = cert[0], .policy = pea_trust_policy(t), .name = rows[i].name},
             &(end_opts){.cert = cert[1], .policy = pea_trust_policy(t)});
        assert_int_equal(ends[0].ready, rows[i].in);
        if (rows[i].in)
            assert_string_equal(pea_pipe_peer(ends[0].pipe)->name, rows[i].by_key ? "by-key" : "right");
        else
            assert_non_null(strstr(ends[0].reason.text, "its certificate is for right, and"));
        part(ends);
        pea_trust_unref(t);
    }
}

/* ---- Until when ---- */

static void tick(pea_trust *t, int64_t now)
{
    const pea_policy *policy = pea_trust_policy(t);
    (void)policy->ops->tick(policy->self, now);
}

static void a_session_ends_with_it(void **state)
{
    end ends[2];
    (void)state;
    pea_trust *t = trust_of("names=*");
    meet(ends, &(end_opts){.cert = cert[0], .expect = &id[1]}, &(end_opts){.policy = pea_trust_policy(t)});
    assert_true(ends[0].ready && ends[1].ready);
    tick(t, END * 1000 - 1);
    pea_pipe_tick(ends[1].pipe, 1, END * 1000 - 1);
    check_ok(pea_pipe_send(ends[0].pipe, "in time", 7));
    talk(ends);
    assert_int_equal(ends[1].messages, 1);
    tick(t, END * 1000);
    pea_pipe_tick(ends[1].pipe, 1, END * 1000);
    check_ok(pea_pipe_send(ends[0].pipe, "too late", 8));
    talk(ends);
    assert_int_equal(ends[1].messages, 1);
    assert_true(ends[1].closed && ends[0].closed);
    assert_int_equal(ends[1].reason.code, PEA_CODE_EXPIRED | PEA_CODE_PERMANENT);
    assert_int_equal(ends[0].reason.code, PEA_CODE_EXPIRED | PEA_CODE_PERMANENT);
    part(ends);
    pea_trust_unref(t);
}

static void revoked(const char *line, const pea_peer *peer)
{
    end ends[2];
    char text[PEA_ROOT_TEXT_BYTES], rule[160];
    uint8_t key[PEA_KEY_BYTES];
    pea_trust *t = trust_of("names=*");
    meet(ends, &(end_opts){.cert = cert[0], .expect = &id[1]}, &(end_opts){.policy = pea_trust_policy(t)});
    assert_true(ends[1].ready);
    if (peer != NULL)
        check_ok(pea_trust_deny(t, peer, NULL));
    else {
        pea_root_public(root, key);
        (void)snprintf(rule, sizeof rule, "deny %s%s", pea_root_key_format(key, text), line);
        check_ok(pea_trust_add(t, rule, NULL));
    }
    pea_pipe_judge(ends[1].pipe);
    talk(ends);
    assert_true(ends[1].closed);
    assert_int_equal(ends[0].reason.code, PEA_CODE_REVOKED | PEA_CODE_PERMANENT);
    part(ends);
    pea_trust_unref(t);
}

static void revocation(void **state)
{
    (void)state;
    revoked(NULL, &id[0]);
    revoked("", NULL);
    revoked(" names=l*", NULL);
}

/* ---- A certificate for two keys ---- */

static void either_key(void **state)
{
    (void)state;
    pea_cert *both = issue(root, PEA_CERT(.key = id[2].id, .next_key = id[0].id, .name = "left", .network = network,
                                          .not_before = 1, .not_after = END));
    pea_trust *t = trust_of("names=*");
    for (int i = 0; i <= 2; i += 2) {
        end ends[2];
        meet(ends, &(end_opts){.identity = identity[i], .cert = both, .expect = &id[1]},
             &(end_opts){.policy = pea_trust_policy(t)});
        assert_true(ends[0].ready && ends[1].ready);
        assert_true(pea_peer_equal(pea_pipe_peer(ends[1].pipe), &id[i]));
        part(ends);
    }
    pea_trust_unref(t);
    pea_cert_unref(both);
}

/* ---- What a peer may not say ---- */

static void frame(pea_buf *out, pea_noise *noise, pea_span payload)
{
    pea_buf message = {0};
    check_ok(pea_noise_write(noise, payload, &message));
    const uint8_t header[2] = {(uint8_t)(message.len >> 8), (uint8_t)message.len};
    check_ok(pea_buf_append(out, header, sizeof header));
    check_ok(pea_buf_append(out, message.data, message.len));
    pea_buf_free(&message);
}

static pea_buf tlv(pea_span value)
{
    pea_buf out = {0};
    const uint8_t header[4] = {0, 2, (uint8_t)(value.len >> 8), (uint8_t)value.len};
    check_ok(pea_buf_append(&out, header, sizeof header));
    if (value.len > 0)
        check_ok(pea_buf_append(&out, value.data, value.len));
    return out;
}

/* An initiator of our own, which puts `certificate` into message `in` before a responder that trusts the root. Returns
 * how that ended: nothing but silence, or PEA_OK if it is judged. */
static pea_err says(const char *protocol, unsigned in, pea_span certificate, pea_reason *reason)
{
    end e;
    pea_noise *peer;
    pea_buf bytes = {0}, prologue = {0}, payload = tlv(certificate), heard = {0};
    uint8_t greeting[GREETING] = {0xF1, 'p', 'e', 'a', 'p', 'o', 'd', 1, 1};
    pea_trust *t = trust_of("names=*");
    memcpy(greeting + 9, network, sizeof network);
    check_ok(pea_buf_append(&prologue, "peapod", 6));
    check_ok(pea_buf_append(&prologue, greeting, sizeof greeting));
    check_ok(pea_noise_new(
        &peer, PEA_INITIATOR,
        PEA_NOISE(.identity = identity[0], .protocol = protocol, .prologue = {prologue.data, prologue.len}), NULL));
    end_open(&e, PEA_RESPONDER, &(end_opts){.protocol = protocol, .policy = pea_trust_policy(t)});
    check_ok(pea_buf_append(&bytes, greeting, sizeof greeting));
    const pea_span none = {NULL, 0}, said = {payload.data, payload.len};
    frame(&bytes, peer, in == 1 ? said : none);
    feed(&e, bytes.data, bytes.len);
    pea_buf_consume(&bytes, bytes.len);
    if (!e.closed) {
        size_t n = (size_t)e.out.data[GREETING] << 8 | e.out.data[GREETING + 1];
        check_ok(pea_noise_read(peer, (pea_span){e.out.data + GREETING + 2, n}, &heard));
        pea_buf_consume(&e.out, GREETING + 2 + n);
        if (pea_noise_turn(peer) == PEA_AGAIN) {
            frame(&bytes, peer, in == 3 ? said : none);
            feed(&e, bytes.data, bytes.len);
        }
    }
    pea_err err = e.closed ? e.reason.err : PEA_OK;
    if (e.closed)
        *reason = e.reason;
    if (err == PEA_E_PROTO || err == PEA_E_CRYPTO) { /* it hears nothing of it */

        assert_true(drain(&e));
    }
    pea_noise_free(peer);
    end_close(&e);
    pea_buf_free(&bytes);
    pea_buf_free(&prologue);
    pea_buf_free(&payload);
    pea_buf_free(&heard);
    pea_trust_unref(t);
    return err;
}

static void never_said(const char *protocol, unsigned in, pea_span certificate, pea_err want, const char *text)
{
    pea_reason reason = {.origin = PEA_BY_POLICY};
    pea_err err = says(protocol, in, certificate, &reason);
    if (err != want || strstr(reason.text, text) == NULL)
        print_error("%d: %s\n", err, reason.text);
    check_err(err, want);
    assert_non_null(strstr(reason.text, text));
}

static void bad_certificates(void **state)
{
    (void)state;
    pea_reason reason;
    pea_span good = pea_cert_bytes(cert[0]);
    uint8_t bent[PEA_CERT_MAX + 1] = {0};
    memcpy(bent, good.data, good.len);
    check_ok(says(NULL, 3, good, &reason));

    bent[good.len - 1] ^= 1;
    never_said(NULL, 3, (pea_span){bent, good.len}, PEA_E_CRYPTO, "its signature is not that of the root");
    never_said(NULL, 3, (pea_span){good.data, good.len - 1}, PEA_E_PROTO, "message 3");
    never_said(NULL, 3, (pea_span){good.data, 0}, PEA_E_PROTO, "no certificate of peapod's");
    never_said(NULL, 3, (pea_span){bent, sizeof bent}, PEA_E_PROTO, "1,024");
    never_said(NULL, 3, pea_cert_bytes(cert[1]), PEA_E_PROTO, "for another key");
    pea_cert *elsewhere = issue(root, PEA_CERT(.key = id[0].id, .name = "left", .not_before = 1, .not_after = END));
    never_said(NULL, 3, pea_cert_bytes(elsewhere), PEA_E_PROTO, "for another network");
    pea_cert_unref(elsewhere);
    /* Where it does not belong: in the clear, or not beside the key. */
    never_said(NULL, 1, good, PEA_E_PROTO, "belongs beside a hidden static key");
    never_said("Noise_IX_25519_ChaChaPoly_BLAKE2b", 1, good, PEA_E_PROTO, "belongs beside a hidden static key");
}

/* ---- Chains ---- */

static void chains(void **state)
{
    static const struct {
        const char *protocol, *says; /* NULL: it can have one */
    } rows[] = {
        {NULL, NULL},
        {"Noise_XXpsk3_25519_ChaChaPoly_BLAKE2b", NULL},
        {"Noise_XXpsk0_25519_ChaChaPoly_BLAKE2b", NULL},
        {"Noise_XK_25519_ChaChaPoly_BLAKE2b", NULL},
        {"Noise_IK_25519_ChaChaPoly_BLAKE2b", NULL},
        {"Noise_KX_25519_ChaChaPoly_BLAKE2b", NULL},
        {"Noise_NX_25519_ChaChaPoly_BLAKE2b", NULL},
        {"Noise_XN_25519_ChaChaPoly_BLAKE2b", NULL},
        {"Noise_IX_25519_ChaChaPoly_BLAKE2b", "in the clear"},
        {"Noise_IN_25519_ChaChaPoly_BLAKE2b", "in the clear"},
        {"Noise_INpsk1_25519_ChaChaPoly_BLAKE2b", "in the clear"},
        {"Noise_IXpsk0_25519_ChaChaPoly_BLAKE2b", "under a psk alone"},
        {"Noise_I1X1_25519_ChaChaPoly_BLAKE2b", "in the clear"},
        {"Noise_KK_25519_ChaChaPoly_BLAKE2b", "no message"},
        {"Noise_NK_25519_ChaChaPoly_BLAKE2b", "no message"},
        {"Noise_KN_25519_ChaChaPoly_BLAKE2b", "no message"},
        {"Noise_NN_25519_ChaChaPoly_BLAKE2b", "no message"},
    };
    static const uint8_t psk[PEA_KEY_BYTES] = {1};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        pea_chain *chain;
        pea_error why = {.code = PEA_OK};
        const char *p = rows[i].protocol;
        check_ok(pea_chain_new(&chain, PEA_CHAIN(.network = network), NULL));
        pea_err err = pea_chain_noise(chain,
                                      PEA_NOISE(.identity = identity[0], .protocol = p, .certificate = cert[0],
                                                .remote_static = p != NULL && strchr(p, 'K') != NULL ? id[1].id : NULL,
                                                .psk = p != NULL && strstr(p, "psk") != NULL ? psk : NULL),
                                      &why);
        if ((err == PEA_OK) != (rows[i].says == NULL) || (err != PEA_OK && strstr(why.text, rows[i].says) == NULL))
            print_error("%s: %s\n", p, why.text);
        check_err(err, rows[i].says == NULL ? PEA_OK : PEA_E_INVALID);
        assert_true(rows[i].says == NULL || strstr(why.text, rows[i].says) != NULL);
        pea_chain_unref(chain);
    }
}

static void chain_with(const pea_chain_opts *chain_opts, const pea_noise_opts *opts, const char *says)
{
    pea_chain *chain;
    pea_error why = {.code = PEA_OK};
    check_ok(pea_chain_new(&chain, chain_opts, NULL));
    check_err(pea_chain_noise(chain, opts, &why), PEA_E_INVALID);
    assert_non_null(strstr(why.text, says));
    pea_chain_unref(chain);
}

static void certificates_that_do_not_fit(void **state)
{
    (void)state;
    chain_with(PEA_CHAIN(.network = network), PEA_NOISE(.identity = identity[0], .certificate = cert[1]),
               "another key");
    chain_with(PEA_CHAIN(.network = network),
               PEA_NOISE(.protocol = "Noise_XN_25519_ChaChaPoly_BLAKE2b", .certificate = cert[1]), "another key");
    chain_with(NULL, PEA_NOISE(.identity = identity[0], .certificate = cert[0]), "another network");
    chain_with(PEA_CHAIN(.mode = PEA_STREAM), PEA_NOISE(.identity = identity[0], .certificate = cert[0]), "native");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_ways),
        cmocka_unit_test(one_way),
        cmocka_unit_test(the_refused_are_told),
        cmocka_unit_test(a_refused_responder_learns_nothing),
        cmocka_unit_test(names_that_were_dialled),
        cmocka_unit_test(a_session_ends_with_it),
        cmocka_unit_test(revocation),
        cmocka_unit_test(either_key),
        cmocka_unit_test(bad_certificates),
        cmocka_unit_test(chains),
        cmocka_unit_test(certificates_that_do_not_fit),
    };
    if (pea_root_generate(&root, NULL) != PEA_OK || pea_root_generate(&other_root, NULL) != PEA_OK)
        return 1;
    for (int i = 0; i < 3; i++) {
        if (pea_identity_generate(&identity[i], NULL) != PEA_OK)
            return 1;
        pea_identity_peer(identity[i], &id[i]);
    }
    cert[0] = issue(root, PEA_CERT(.key = id[0].id, .name = "left", .roles = "a,l", .network = network,
                                   .not_before = NOW, .not_after = END));
    cert[1] = issue(root, PEA_CERT(.key = id[1].id, .name = "right", .roles = "r", .network = network,
                                   .not_before = NOW, .not_after = END));
    int failed = cmocka_run_group_tests_name("certificates in Noise", tests, NULL, NULL);
    for (int i = 0; i < 3; i++)
        pea_identity_unref(identity[i]);
    pea_cert_unref(cert[0]);
    pea_cert_unref(cert[1]);
    pea_root_free(root);
    pea_root_free(other_root);
    return failed;
}
