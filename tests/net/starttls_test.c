/* SPDX-License-Identifier: MIT */
/* The upgrade in mid-stream, on real sockets and with a man in the middle: the stage is the example's own. What he says
 * in plain text before the upgrade is never taken for what is said under it (CVE-2011-0411), and he cannot talk two
 * nodes out of it. Everything is run over Noise and over each version of TLS that this build speaks, native and
 * foreign. */
#include "../examples/starttls_stage.h"
#include "peapod/chain.h"
#include "support/net.h"
#include "support/relay.h"
#include "support/toys.h"

#include <stdio.h>

typedef struct party {
    pea_identity *identity;
    pea_peer peer;
    pea_trust *trust;
    pea_chain *chain;
    toy_talk talk;
} party;

/* What the two nodes have in common. */
typedef struct way {
    pea_mode mode;
    bool tls;                /* the upgrade is to TLS, else to Noise */
    pea_tls_version version; /* of TLS */
} way;

static way ways[6]; /* those that this build has: see find_ways() */
static size_t n_ways;

static net n;
static relay man;
static party a, b; /* a dials, b listens */
static pea_codec *raw;

/* ask: what the stage before the upgrade says; NULL: it is the example's. */
static void party_make(party *p, const way *w, const char *name, const char *ask)
{
    pea_error why;
    char certificate[512], key[512];
    (void)snprintf(certificate, sizeof certificate, "%s/%s.crt", PEA_TEST_CERTS, name);
    (void)snprintf(key, sizeof key, "%s/%s.key", PEA_TEST_CERTS, name);
    if ((w->tls ? pea_identity_load_certificate(&p->identity, certificate, key, NULL, NULL, &why)
                : pea_identity_generate(&p->identity, &why)) != PEA_OK)
        fail_msg("%s", why.text);
    pea_identity_peer(p->identity, &p->peer);
    check_ok(pea_trust_new(&p->trust));
    check_ok(pea_chain_new(&p->chain, PEA_CHAIN(.mode = w->mode), &why));
    p->talk = (toy_talk){ask, "GO\n"};
    if (ask == NULL)
        check_ok(pea_chain_add(p->chain, &starttls_ops, NULL, NULL));
    else
        check_ok(pea_chain_add(p->chain, &toy_talk_ops, &p->talk, NULL));
    if ((w->tls ? pea_chain_tls(p->chain, PEA_TLS(.identity = p->identity, .lowest = w->version, .highest = w->version),
                                &why)
                : pea_chain_noise(p->chain, PEA_NOISE(.identity = p->identity), &why)) != PEA_OK)
        fail_msg("%s", why.text);
}

static void node_make(net_side *side, party *p)
{
    net_node(side, PEA_NODE(.chain = p->chain, .codec = raw, .policy = pea_trust_policy(p->trust), .linger_ms = 400));
}

static void open_pair(const way *w, const char *ask_a, const char *ask_b)
{
    net_setup(&n, PEA_NATIVE);
    check_ok(pea_codec_raw(&raw)); /* whatever bytes got through would be seen */
    party_make(&a, w, "self_a", ask_a);
    party_make(&b, w, "self_b", ask_b);
    check_ok(pea_trust_allow(a.trust, &b.peer, NULL, NULL, NULL));
    check_ok(pea_trust_allow(b.trust, &a.peer, NULL, NULL, NULL));
    node_make(&n.a, &a);
    node_make(&n.b, &b);
    net_listen(&n.b);
    relay_open(&man, n.loop, n.b.addr);
}

static void party_free(party *p)
{
    pea_chain_unref(p->chain);
    pea_trust_unref(p->trust);
    pea_identity_unref(p->identity);
}

static void close_pair(void)
{
    relay_close(&man);
    net_teardown(&n);
    party_free(&a);
    party_free(&b);
    pea_codec_unref(raw);
}

static void dial(void)
{
    pea_error why;
    if (pea_node_connect(n.a.node, man.addr, PEA_DIAL(.expect = &b.peer), NULL, &why) != PEA_OK)
        fail_msg("%s", why.text);
}

static void wait_both_ended(void)
{
    net_wait(&n, n.a.disconnects + n.a.failures == 1 && n.b.disconnects + n.b.failures == 1);
}

/* Bytes that a native chain over Noise says before its first stage. */
static size_t greeting(const way *w)
{
    return w->mode == PEA_NATIVE && !w->tls ? 41 : 0;
}

/* Waits until the man holds `text`, which this direction says after the greeting and before anything else. */
static void wait_held(unsigned direction, const way *w, const char *text)
{
    relay_way *held = &man.way[direction];
    size_t at = greeting(w), len = strlen(text);
    net_wait(&n, held->held.len >= at + len);
    if (direction == 0) /* who dialled waits for the answer; who answered may go on at once */
        assert_int_equal(held->held.len, at + len);
    check_bytes(held->held.data + at, len, text, len);
}

/* Passes on what was held and then `more`, in one write; from here on the man does not hold. */
static void release_with(unsigned direction, const void *more, size_t len)
{
    relay_way *held = &man.way[direction];
    check_ok(pea_buf_append(&held->held, more, len));
    relay_say(&man, direction, held->held.data, held->held.len);
    pea_buf_consume(&held->held, held->held.len);
    held->hold = false;
}

/* ---- It works ---- */

static void talk_both_ways(const way *w)
{
    net_wait(&n, n.a.connects == 1 && n.b.connects == 1);
    assert_true(pea_peer_equal(pea_conn_peer(n.a.conn), &b.peer));
    assert_true(pea_peer_equal(pea_conn_peer(n.b.conn), &a.peer));
    check_ok(pea_conn_send(n.a.conn, "ping", 4));
    net_wait(&n, n.b.bytes == 4);
    check_ok(pea_conn_send(n.b.conn, "pong!", 5));
    net_wait(&n, n.a.bytes == 5);
    pea_conn_close(n.a.conn, PEA_CODE_NORMAL, NULL);
    wait_both_ended();
    check_err(n.a.reason.err, PEA_OK);
    /* Noise alone knows no end of its own. */
    check_err(n.b.reason.err, w->tls || w->mode == PEA_NATIVE ? PEA_OK : PEA_EOF_UNAUTHENTICATED);
}

static void the_upgrade_works(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_ways; i++) {
        open_pair(&ways[i], NULL, NULL);
        man.way[0].hold = true;
        dial();
        wait_held(0, &ways[i], "STARTTLS\n"); /* in the clear, and nothing else is */
        release_with(0, NULL, 0);
        talk_both_ways(&ways[i]);
        close_pair();
    }
}

static void byte_by_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_ways; i++) {
        open_pair(&ways[i], NULL, NULL);
        man.way[0].piece = man.way[1].piece = 1;
        dial();
        talk_both_ways(&ways[i]);
        close_pair();
    }
}

/* ---- Injection: plain text behind the dialogue's last byte ---- */

/* Commands, a DATA chunk of the channel, the beginning of a record of either protocol, a HELLO of TLS in plain text. */
static const pea_span injected[] = {
    {(const uint8_t *)"MAIL FROM:<mallory@elsewhere.example>\n", 38},
    {(const uint8_t *)"X", 1},
    {(const uint8_t *)"\4\0\0\4evil", 8},
    {(const uint8_t *)"\0\4evil", 6},
    {(const uint8_t *)"\27\3\3\0\4evil", 9},
    {(const uint8_t *)"\26\3\1\0\4\1\0\0\0", 9},
    {(const uint8_t *)"STARTTLS\nGO\n", 12},
};

/* A length that is cut short leaves a side waiting for more: from here on its deadline is short, and the test waits for
 * its end. */
static void hurry(void)
{
    net_hurry(&n.a, 500);
    net_hurry(&n.b, 500);
}

static void nothing_came_of_it(size_t i, size_t j)
{
    hurry();
    wait_both_ended();
    if (n.a.connects + n.b.connects + n.a.messages + n.b.messages != 0)
        fail_msg("way %zu, injection %zu: %u and %u connected, %u and %u messages", i, j, n.a.connects, n.b.connects,
                 n.a.messages, n.b.messages);
    assert_true(n.a.reason.err < 0 && n.b.reason.err < 0);
}

static void injected_before_the_upgrade(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_ways; i++)
        for (size_t j = 0; j < sizeof injected / sizeof injected[0]; j++)
            for (unsigned direction = 0; direction < 2; direction++) {
                open_pair(&ways[i], NULL, NULL);
                man.way[direction].hold = true;
                dial();
                wait_held(direction, &ways[i], direction == 0 ? "STARTTLS\n" : "GO\n");
                release_with(direction, injected[j].data, injected[j].len);
                nothing_came_of_it(i, j);
                close_pair();
            }
}

/* ---- Stripping ---- */

/* What he answers in the responder's place, whom he keeps in the dark; and how the initiator's handshake ends. */
static const struct answer {
    const char *text;
    pea_err err;
    bool upgraded; /* the dialogue was good, and the upgrade's own stage finds him out */
} answers[] = {
    {"NO\n", PEA_E_PROTO, false},
    {"go\n", PEA_E_PROTO, false},
    {"GO \n", PEA_E_PROTO, false},
    {"500 unknown command\n", PEA_E_PROTO, false},
    {"GO\nhello in the clear\n", PEA_E_PROTO, true},
    {"", PEA_E_TIMEOUT, false},
};

static void answered_by_a_man(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_ways; i++)
        for (size_t j = 0; j < sizeof answers / sizeof answers[0]; j++) {
            open_pair(&ways[i], NULL, NULL);
            man.way[0].hold = true;
            dial();
            wait_held(0, &ways[i], "STARTTLS\n");
            relay_say(&man, 1, man.way[0].held.data, greeting(&ways[i])); /* it is no secret: he can make one */
            relay_say(&man, 1, answers[j].text, strlen(answers[j].text));
            if (answers[j].err == PEA_E_TIMEOUT)
                hurry();
            net_wait(&n, n.a.failures == 1);
            assert_int_equal(n.a.connects + n.a.messages + n.b.connects + n.b.messages, 0);
            check_err(n.a.reason.err, answers[j].err);
            if (answers[j].err != PEA_E_TIMEOUT)
                assert_string_equal(n.a.reason.stage, !answers[j].upgraded ? "starttls"
                                                      : ways[i].tls        ? "tls"
                                                                           : "noise");
            close_pair();
        }
}

/* He leaves the dialogue out, and talks to the responder as a client who never asked for the upgrade. */
static void asked_by_a_man(void **state)
{
    static const char *const words[] = {"hello in the clear\n", "starttls\n", "STARTTLS \n", "STARTTLT\n"};
    (void)state;
    for (size_t i = 0; i < n_ways; i++)
        for (size_t j = 0; j < sizeof words / sizeof words[0]; j++) {
            open_pair(&ways[i], NULL, NULL);
            man.way[0].hold = true;
            dial();
            wait_held(0, &ways[i], "STARTTLS\n");
            relay_say(&man, 0, man.way[0].held.data, greeting(&ways[i]));
            relay_say(&man, 0, words[j], strlen(words[j]));
            wait_both_ended();
            assert_int_equal(n.a.connects + n.b.connects + n.a.messages + n.b.messages, 0);
            check_err(n.b.reason.err, PEA_E_PROTO);
            assert_string_equal(n.b.reason.stage, "starttls");
            close_pair();
        }
}

/* Both are content with the dialogue that they saw, but it was not the same one. Native chains compare; in a foreign
 * chain nothing binds it, which is why the example's stage knows one dialogue only. */
static void a_dialogue_that_was_changed(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_ways; i++) {
        if (ways[i].mode != PEA_NATIVE)
            continue;
        open_pair(&ways[i], "STARTTLS all\n", "STARTTLS few\n");
        man.way[0].hold = true;
        dial();
        wait_held(0, &ways[i], "STARTTLS all\n");
        memcpy(man.way[0].held.data + greeting(&ways[i]), "STARTTLS few\n", 13);
        release_with(0, NULL, 0);
        wait_both_ended();
        assert_int_equal(n.a.connects + n.b.connects + n.a.messages + n.b.messages, 0);
        /* Over TLS it is HELLO that differs; over Noise it is the prologue, and the first tag is wrong. */
        check_err(ways[i].tls ? n.b.reason.err : n.a.reason.err, ways[i].tls ? PEA_E_PROTO : PEA_E_CRYPTO);
        close_pair();
    }
}

static void find_ways(void)
{
    const char *spoken = strstr(pea_tls_library(), ": TLS ");
    for (pea_mode mode = PEA_NATIVE; mode <= PEA_STREAM; mode++) {
        if (spoken != NULL && strstr(spoken, "1.2") != NULL)
            ways[n_ways++] = (way){mode, true, PEA_TLS_1_2};
        if (spoken != NULL && strstr(spoken, "1.3") != NULL)
            ways[n_ways++] = (way){mode, true, PEA_TLS_1_3};
        ways[n_ways++] = (way){mode, false, PEA_TLS_ANY};
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_upgrade_works),
        cmocka_unit_test(byte_by_byte),
        cmocka_unit_test(injected_before_the_upgrade),
        cmocka_unit_test(answered_by_a_man),
        cmocka_unit_test(asked_by_a_man),
        cmocka_unit_test(a_dialogue_that_was_changed),
    };
    find_ways();
    return cmocka_run_group_tests_name("starttls", tests, NULL, NULL);
}
