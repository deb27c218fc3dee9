/* SPDX-License-Identifier: MIT */
/* Keys that have done their work, on real sockets: native Noise changes them on its way; where a protocol cannot, the
 * connection ends in good order before the limit is passed, all that was queued has arrived, and a new dial goes on.
 * Limits are not lowered: the count begins near them. */
#include "peapod/chain.h"
#include "peapod/identity.h"
#include "peapod/trust.h"
#include "runtime_priv.h"
#include "support/faults.h"
#include "support/net.h"

#include "noise/noise_priv.h"
#include "pipe_state_priv.h"
#ifdef PEA_TEST_TLS
#include "tls/session_priv.h"
#endif

enum { LARGE = 20000 };

static net n;
static pea_identity *identities[2];

/* ---- Pairs ---- */

static void open_noise(pea_mode mode, const char *protocol)
{
    pea_trust *trust;
    net_setup(&n, mode);
    pea_chain_unref(n.chain);
    for (int b = 0; b < 2; b++) {
        pea_chain **chain = b ? &n.chain_b : &n.chain;
        check_ok(pea_identity_generate(&identities[b], NULL));
        check_ok(pea_chain_new(chain, PEA_CHAIN(.mode = mode), NULL));
        check_ok(pea_chain_noise(
            *chain,
            PEA_NOISE(.identity = identities[b], .protocol = protocol, .record_preserving = mode == PEA_RECORDS),
            NULL));
    }
    check_ok(pea_trust_new(&trust));
    pea_trust_any(trust);
    n.policy = pea_policy_ref(pea_trust_policy(trust));
    pea_trust_unref(trust);
    net_pair(&n);
}

#ifdef PEA_TEST_TLS
/* AES-GCM alone, which has a limit. */
void __real_mbedtls_ssl_conf_ciphersuites(mbedtls_ssl_config *config, const int *suites);
void __wrap_mbedtls_ssl_conf_ciphersuites(mbedtls_ssl_config *config, const int *suites);

void __wrap_mbedtls_ssl_conf_ciphersuites(mbedtls_ssl_config *config, const int *suites)
{
    static const int gcm[] = {
#if PEA__TLS13
        MBEDTLS_TLS1_3_AES_256_GCM_SHA384,
#endif
        MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        0
    };
    (void)suites;
    __real_mbedtls_ssl_conf_ciphersuites(config, gcm);
}

static void load(pea_identity **identity, const char *name)
{
    char crt[512], key[512];
    (void)snprintf(crt, sizeof crt, "%s/%s.crt", PEA_TEST_CERTS, name);
    (void)snprintf(key, sizeof key, "%s/%s.key", PEA_TEST_CERTS, name);
    check_ok(pea_identity_load_certificate(identity, crt, key, NULL, NULL, NULL));
}

/* False: this build does not speak that version. */
static bool open_tls(pea_mode mode, pea_tls_version version, bool own_records)
{
    pea_trust *trust;
    if (!pea__tls_speaks(version))
        return false;
    net_setup(&n, mode);
    pea_chain_unref(n.chain);
    check_ok(pea_trust_new(&trust));
    pea_trust_any(trust);
    for (int b = 0; b < 2; b++) {
        pea_chain **chain = b ? &n.chain_b : &n.chain;
        load(&identities[b], b ? "self_b" : "self_a");
        check_ok(pea_chain_new(chain, PEA_CHAIN(.mode = mode), NULL));
        check_ok(pea_chain_tls(*chain,
                               PEA_TLS(.identity = identities[b], .trust = trust, .lowest = version, .highest = version,
                                       .own_records = own_records),
                               NULL));
    }
    n.policy = pea_policy_ref(pea_trust_policy(trust));
    pea_trust_unref(trust);
    net_pair(&n);
    return true;
}
#endif

static void close_pair(void)
{
    net_teardown(&n);
    pea_identity_unref(identities[0]);
    pea_identity_unref(identities[1]);
    assert_int_equal(faults_blocks(), 0);
}

static const pea_transform *transform_of(const pea_conn *conn)
{
    return pea__transform_at(conn->pipe, conn->pipe->top);
}

/* ---- What ends ---- */

/* a's key has `left` blocks to seal before it counts as worn. */
static void wear_noise(uint64_t left)
{
    pea__record_set_blocks(transform_of(n.a.conn), PEA__GCM_BLOCKS - left);
}

/* Sends until it is told to stop: first so much at once that the limit lies in the middle of what is queued. */
static unsigned send_all(void)
{
    static const uint8_t large[LARGE];
    unsigned sent = 0;
    pea_err err = PEA_OK;
    for (int i = 0; i < 5; i++)
        sent += pea_conn_send(n.a.conn, large, sizeof large) == PEA_OK;
    assert_true(sent > 0);
    net_clock_start(&n);
    while (n.a.conn != NULL && err != PEA_E_STATE) {
        assert_false(n.late);
        err = pea_conn_send(n.a.conn, "more", 4);
        sent += err == PEA_OK;
        net_poll(&n);
    }
    net_clock_stop(&n);
    return sent;
}

static void ends_in_good_order(void (*wear)(uint64_t left), pea_err heard, uint16_t code)
{
    net_wait(&n, n.a.conn != NULL && n.b.conn != NULL);
    check_ok(pea_conn_send(n.b.conn, "on its way", 10)); /* before the end it is heard */
    net_wait(&n, n.a.messages == 1);
    wear(3000);
    unsigned sent = send_all();
    net_wait(&n, n.a.disconnects == 1 && n.b.disconnects == 1);
    assert_int_equal(n.b.messages, sent);
    assert_int_equal(n.a.reason.origin, PEA_BY_WRITING);
    assert_int_equal(n.a.reason.err, PEA_E_KEY_LIMIT);
    assert_int_equal(n.a.reason.code, PEA_CODE_KEY_LIMIT);
    assert_int_equal(n.b.reason.origin, PEA_BY_PEER);
    assert_int_equal(n.b.reason.err, heard);
    assert_int_equal(n.b.reason.code, code);
    net_meet(&n); /* with new keys */
    check_ok(pea_conn_send(n.a.conn, "anew", 4));
    net_wait(&n, n.b.messages == sent + 1);
    close_pair();
}

static void noise_in_a_stream(void **state)
{
    (void)state;
    if (!pea__aead_available(PEA__AESGCM))
        skip();
    open_noise(PEA_STREAM, "Noise_XX_25519_AESGCM_SHA256");
    ends_in_good_order(wear_noise, PEA_EOF_UNAUTHENTICATED, PEA_CODE_NORMAL);
}

static void noise_in_records(void **state)
{
    (void)state;
    if (!pea__aead_available(PEA__AESGCM))
        skip();
    open_noise(PEA_RECORDS, "Noise_XX_25519_AESGCM_BLAKE2b");
    ends_in_good_order(wear_noise, PEA_EOF_UNAUTHENTICATED, PEA_CODE_NORMAL);
}

#ifdef PEA_TEST_TLS
static void wear_mbedtls(uint64_t left)
{
    pea__tls_session *s = transform_of(n.a.conn)->self;
    assert_int_not_equal(s->secrets.aead, PEA__CHACHAPOLY);
    s->blocks = PEA__GCM_BLOCKS - left;
}

static void wear_own(uint64_t left)
{
    pea__tls_own *o = transform_of(n.a.conn)->self;
    assert_int_not_equal(o->secrets.aead, PEA__CHACHAPOLY);
    o->send.blocks = PEA__GCM_BLOCKS - left;
}

static void tls(pea_tls_version version, bool own)
{
    if (!open_tls(PEA_STREAM, version, own))
        skip();
    ends_in_good_order(own ? wear_own : wear_mbedtls, PEA_OK, PEA_CODE_NORMAL);
    assert_true(open_tls(PEA_NATIVE, version, own));
    ends_in_good_order(own ? wear_own : wear_mbedtls, PEA_E_CLOSED, PEA_CODE_KEY_LIMIT);
}

static void tls13_by_mbedtls(void **state)
{
    (void)state;
    tls(PEA_TLS_1_3, false);
}

static void tls12_by_mbedtls(void **state)
{
    (void)state;
    tls(PEA_TLS_1_2, false);
}

static void tls12_with_own_records(void **state)
{
    (void)state;
    tls(PEA_TLS_1_2, true);
}

/* KeyUpdate: nobody notices. */
static void tls13_with_own_records_goes_on(void **state)
{
    static const uint8_t large[LARGE];
    (void)state;
    if (!open_tls(PEA_STREAM, PEA_TLS_1_3, true))
        skip();
    wear_own(3000);
    for (unsigned i = 0; i < 5; i++)
        check_ok(pea_conn_send(n.a.conn, large, sizeof large));
    net_wait(&n, n.b.messages == 5);
    const pea__tls_own *o = transform_of(n.a.conn)->self;
    assert_in_range(o->send.blocks, 1, 5 * LARGE / 16 + 100); /* of a new key */
    assert_int_equal(n.a.disconnects, 0);
    close_pair();
}
#endif

/* ---- What goes on ---- */

static void set_numbers(uint64_t from_a, uint64_t from_b)
{
    pea__record_set_numbers(transform_of(n.a.conn), from_a, from_b);
    pea__record_set_numbers(transform_of(n.b.conn), from_b, from_a);
}

static void ping_pong(unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++) { /* each is a record */
        unsigned at_a = n.a.messages, at_b = n.b.messages;
        check_ok(pea_conn_send(n.a.conn, "ping", 4));
        net_wait(&n, n.b.messages == at_b + 1);
        check_ok(pea_conn_send(n.b.conn, "pong", 4));
        net_wait(&n, n.a.messages == at_a + 1);
    }
}

static void native_noise_rekeys(void **state)
{
    static const char *const protocols[] = {PEA_NOISE_DEFAULT, "Noise_XX_25519_AESGCM_SHA256"};
    (void)state;
    for (size_t i = 0; i < sizeof protocols / sizeof protocols[0]; i++) {
        if (i == 1 && !pea__aead_available(PEA__AESGCM))
            continue;
        open_noise(PEA_NATIVE, protocols[i]);
        ping_pong(1); /* nothing is on its way now */
        set_numbers(PEA__REKEY_EVERY - 3, 2 * PEA__REKEY_EVERY - 2);
        ping_pong(6);
        assert_int_equal(pea__record_received(transform_of(n.b.conn)), PEA__REKEY_EVERY + 3);
        assert_int_equal(pea__record_received(transform_of(n.a.conn)), 2 * PEA__REKEY_EVERY + 4);
        wear_noise(0); /* a key that changes never wears out */
        ping_pong(3);
        close_pair();
    }
}

int main(void)
{
    faults_install();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(native_noise_rekeys),    cmocka_unit_test(noise_in_a_stream),
        cmocka_unit_test(noise_in_records),
#ifdef PEA_TEST_TLS
        cmocka_unit_test(tls13_by_mbedtls),       cmocka_unit_test(tls12_by_mbedtls),
        cmocka_unit_test(tls12_with_own_records), cmocka_unit_test(tls13_with_own_records_goes_on),
#endif
    };
    return cmocka_run_group_tests_name("key_limit", tests, NULL, NULL);
}
