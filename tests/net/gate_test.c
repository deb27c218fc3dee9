/* SPDX-License-Identifier: MIT */
/* A network with a key, on real sockets: members meet; strangers, recordings and wrong clocks cost no multiplication
 * and hear nothing; keys change under way; and of recordings that come on many connections and threads at once one is
 * taken. */
#include "peapod/chain.h"
#include "peapod/trust.h"
#include "secure_priv.h"
#include "socket_priv.h"
#include "support/net.h"
#include "support/relay.h"

#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#define XXPSK0 "Noise_XXpsk0_25519_ChaChaPoly_BLAKE2b"

enum { GREETING = 41, FIRST_FLIGHT = GREETING + 2 + 32 + 16, TIMESTAMP = 4 + 8, SECOND_FLIGHT = GREETING + 2 + 96 };
enum { WINDOW_MS = 3600000 }; /* no test takes an hour */

static uint8_t keys[3][PEA_KEY_BYTES];
static pea_identity *identity[2];
static pea_trust *anybody;
static net n;

static pea_chain *chain_of(pea_side side, const pea_noise_opts *opts)
{
    pea_chain *chain;
    pea_noise_opts o = *opts;
    pea_error why;
    o.identity = identity[side];
    check_ok(pea_chain_new(&chain, NULL, NULL));
    if (pea_chain_noise(chain, &o, &why) != PEA_OK)
        fail_msg("%s", why.text);
    return chain;
}

static void open_node(net_side *side, pea_chain *chain)
{
    net_node(side, PEA_NODE(.chain = chain, .policy = pea_trust_policy(anybody)));
    pea_chain_unref(chain);
}

/* Two nodes of one network, of which b listens. */
static void open_members(uint32_t window_ms)
{
    net_setup(&n, PEA_NATIVE);
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++)
        open_node(side == PEA_INITIATOR ? &n.a : &n.b,
                  chain_of(side, PEA_NOISE(.protocol = XXPSK0, .psk = keys[0], .gate_window_ms = window_ms)));
    net_listen(&n.b);
}

static void dial(const char *addr)
{
    check_ok(pea_node_connect(n.a.node, addr, PEA_DIAL(.again = true), NULL, NULL));
}

static uint64_t multiplications(void)
{
    return atomic_load(&pea__x25519_count);
}

/* What an initiator with this key and this clock says first. */
static pea_buf first_flight(const uint8_t *key, uint32_t window_ms, int64_t wall_ms)
{
    pea_buf flight = {0};
    pea_event event;
    pea_span span;
    pea_pipe *pipe;
    pea_chain *chain = chain_of(PEA_INITIATOR, PEA_NOISE(.protocol = XXPSK0, .psk = key, .gate_window_ms = window_ms));
    check_ok(pea_pipe_new(&pipe, chain, PEA_PIPE(.side = PEA_INITIATOR, .policy = pea_trust_policy(anybody)), NULL));
    pea_pipe_tick(pipe, 0, wall_ms);
    check_err(pea_pipe_next(pipe, &event), PEA_MORE);
    while (pea_pipe_output(pipe, &span) == PEA_OK) {
        check_ok(pea_buf_append(&flight, span.data, span.len));
        pea_pipe_sent(pipe, span.len);
    }
    assert_int_equal(flight.len, FIRST_FLIGHT + (window_ms != 0 ? TIMESTAMP : 0));
    pea_pipe_free(pipe);
    pea_chain_unref(chain);
    return flight;
}

/* b hears it, answers with its greeting at most, computes nothing, and has this for a reason. */
static void check_left(const pea_buf *flight, pea_err err, const char *says)
{
    uint8_t answer[SECOND_FLIGHT];
    unsigned failures = n.b.failures;
    uint64_t before = multiplications();
    int fd = net_raw_connect(&n.b);
    net_raw_send(fd, flight->data, flight->len);
    bool reset; /* or so */
    size_t len = net_raw_recv(&n, fd, answer, sizeof answer, &reset);
    assert_true(len == 0 || len == GREETING);
    net_wait(&n, n.b.failures == failures + 1);
    assert_int_equal(close(fd), 0);
    assert_int_equal(multiplications(), before);
    check_err(n.b.reason.err, err);
    if (strstr(n.b.reason.text, says) == NULL)
        fail_msg("\"%s\" is not in: %s", says, n.b.reason.text);
}

/* b answers it with its second message. */
static void check_taken(const pea_buf *flight)
{
    uint8_t answer[SECOND_FLIGHT];
    unsigned failures = n.b.failures;
    int fd = net_raw_connect(&n.b);
    net_raw_send(fd, flight->data, flight->len);
    assert_int_equal(net_raw_recv(&n, fd, answer, sizeof answer, NULL), SECOND_FLIGHT);
    assert_int_equal(close(fd), 0);
    net_wait(&n, n.b.failures == failures + 1); /* we left */
}

static void members_meet_and_strangers_do_not(void **state)
{
    (void)state;
    pea_buf strange = first_flight(keys[1], 0, 0), ours = first_flight(keys[0], 0, 0);
    open_members(0);
    net_meet(&n);
    for (int i = 0; i < 20; i++)
        check_left(&strange, PEA_E_CRYPTO, "message 1: it does not authenticate");
    check_taken(&ours);
    net_meet(&n);
    net_teardown(&n);
    pea_buf_free(&strange);
    pea_buf_free(&ours);
}

/* A node with another network's key is left without a word, and knows no more than that. */
static void a_node_of_another_network(void **state)
{
    (void)state;
    net_setup(&n, PEA_NATIVE);
    open_node(&n.a, chain_of(PEA_INITIATOR, PEA_NOISE(.protocol = XXPSK0, .psk = keys[1])));
    open_node(&n.b, chain_of(PEA_RESPONDER, PEA_NOISE(.protocol = XXPSK0, .psk = keys[0])));
    net_listen(&n.b);
    dial(n.b.addr);
    net_wait(&n, n.a.failures == 1 && n.b.failures == 1);
    check_err(n.b.reason.err, PEA_E_CRYPTO);
    check_err(n.a.reason.err, PEA_E_TRUNCATED);
    assert_int_equal(n.a.reason.code, 0); /* nothing was said */
    net_teardown(&n);
}

/* Somebody on the way keeps what a member says first, and says it again. */
static void a_recording(void **state)
{
    static relay man;
    (void)state;
    for (uint32_t window_ms = 0; window_ms <= WINDOW_MS; window_ms += WINDOW_MS) {
        pea_buf flight = {0};
        size_t len = FIRST_FLIGHT + (window_ms != 0 ? TIMESTAMP : 0);
        open_members(window_ms);
        relay_open(&man, n.loop, n.b.addr);
        man.way[0].hold = true;
        dial(man.addr);
        net_wait(&n, man.way[0].held.len == len);
        check_ok(pea_buf_append(&flight, man.way[0].held.data, len));
        man.way[0].hold = false;
        relay_say(&man, 0, flight.data, flight.len);
        net_wait(&n, n.a.connects == 1 && n.b.connects == 1);
        for (int i = 0; i < 5; i++)
            check_left(&flight, PEA_E_REFUSED, "message 1: it came before");
        assert_int_equal(n.b.disconnects, 0); /* whose recording it is does not notice */
        net_meet(&n);
        relay_close(&man);
        net_teardown(&n);
        pea_buf_free(&flight);
    }
}

static void wrong_clocks(void **state)
{
    int64_t now = pea__wall_ms();
    (void)state;
    pea_buf old = first_flight(keys[0], WINDOW_MS, now - 2 * WINDOW_MS),
            early = first_flight(keys[0], WINDOW_MS, now + 2 * WINDOW_MS),
            slow = first_flight(keys[0], WINDOW_MS, now - WINDOW_MS / 2),
            fast = first_flight(keys[0], WINDOW_MS, now + WINDOW_MS / 2), undated = first_flight(keys[0], 0, now);
    open_members(WINDOW_MS);
    check_left(&old, PEA_E_REFUSED, "s ago, and .gate_window_ms is 3600000");
    check_left(&early, PEA_E_REFUSED, "s from now, and .gate_window_ms is 3600000");
    check_left(&undated, PEA_E_PROTO, "does not say when it was made");
    check_taken(&slow);
    check_taken(&fast);
    check_left(&slow, PEA_E_REFUSED, "came before");
    net_meet(&n);
    net_teardown(&n);
    pea_buf_free(&old);
    pea_buf_free(&early);
    pea_buf_free(&slow);
    pea_buf_free(&fast);
    pea_buf_free(&undated);
}

/* ---- Keys that change ---- */

typedef struct keeper {
    size_t n, key[PEA_NOISE_PSKS_MAX];
    unsigned asked;
    bool out; /* of keys */
} keeper;

static pea_err keep(void *arg, pea_side side, const pea_peer *expect, pea_noise_psks *psks, pea_error *why)
{
    keeper *k = arg;
    (void)side, (void)expect;
    k->asked++;
    if (k->out) {
        (void)snprintf(why->text, sizeof why->text, "the keys are out");
        return PEA_E_NOT_FOUND;
    }
    psks->n = k->n;
    for (size_t i = 0; i < k->n; i++)
        memcpy(psks->keys[i], keys[k->key[i]], PEA_KEY_BYTES);
    return PEA_OK;
}

/* First who listens takes the new key beside the old, then who dials uses it, then the old one goes: everybody meets
 * at any time, and who is connected stays. */
static void keys_change_under_way(void **state)
{
    keeper a = {.n = 1, .key = {0}}, b = {.n = 1, .key = {0}};
    (void)state;
    net_setup(&n, PEA_NATIVE);
    open_node(&n.a, chain_of(PEA_INITIATOR, PEA_NOISE(.protocol = XXPSK0, .psk_fn = keep, .psk_arg = &a)));
    open_node(&n.b, chain_of(PEA_RESPONDER, PEA_NOISE(.protocol = XXPSK0, .psk_fn = keep, .psk_arg = &b)));
    net_listen(&n.b);
    net_meet(&n);
    for (size_t new = 1; new < 3; new ++) {
        b = (keeper){.n = 2, .key = {new, new - 1}};
        net_meet(&n);
        a.key[0] = new;
        net_meet(&n);
        b = (keeper){.n = 1, .key = {new}};
        net_meet(&n);
        assert_int_equal(b.asked, 1);
    }
    assert_int_equal(n.a.disconnects + n.b.disconnects, 0);
    pea_buf old = first_flight(keys[1], 0, 0);
    check_left(&old, PEA_E_CRYPTO, "does not authenticate");
    pea_buf_free(&old);

    b.out = true;
    dial(n.b.addr);
    net_wait(&n, n.b.failures == 2);
    check_err(n.b.reason.err, PEA_E_NOT_FOUND);
    assert_string_equal(n.b.reason.text, "the keys are out");
    net_wait(&n, n.a.failures == 1);
    a.out = true;
    dial(n.b.addr);
    net_wait(&n, n.a.failures == 2);
    check_err(n.a.reason.err, PEA_E_NOT_FOUND);
    assert_string_equal(n.a.reason.text, "the keys are out");
    net_teardown(&n);
}

/* A listener with three more keys takes whoever has one of the four. */
static void four_keys(void **state)
{
    uint8_t fourth[PEA_KEY_BYTES];
    (void)state;
    check_ok(pea_network_key_generate(fourth));
    net_setup(&n, PEA_NATIVE);
    open_node(&n.a, chain_of(PEA_INITIATOR, PEA_NOISE(.protocol = XXPSK0, .psk = keys[2])));
    open_node(&n.b, chain_of(PEA_RESPONDER,
                             PEA_NOISE(.protocol = XXPSK0, .psk = keys[0], .more_psks = keys[1], .n_more_psks = 2)));
    net_listen(&n.b);
    net_meet(&n);
    pea_buf strange = first_flight(fourth, 0, 0);
    check_left(&strange, PEA_E_CRYPTO, "does not authenticate");
    pea_buf_free(&strange);
    net_teardown(&n);
}

/* ---- Threads ---- */

enum { AT_ONCE = 8, ROUNDS = 20 };

static atomic_uint failed;

static void on_failed(pea_node *node, const pea_conn_info *info, const pea_reason *reason, void *user)
{
    (void)node, (void)info, (void)reason, (void)user;
    atomic_fetch_add(&failed, 1);
}

/* Whichever threads they come to, and whoever is first. */
static void recordings_at_once(void **state)
{
    static const pea_node_callbacks on = {.on_connect_failed = on_failed};
    pea_runtime_opts opts = {.size = sizeof opts, .workers = 3};
    (void)state;
    net_setup_runtime(&n, PEA_NATIVE, &opts);
    pea_chain *chain =
        chain_of(PEA_RESPONDER, PEA_NOISE(.protocol = XXPSK0, .psk = keys[0], .gate_window_ms = WINDOW_MS));
    check_ok(pea_node_new(&n.b.node, n.runtime,
                          PEA_NODE(.chain = chain, .policy = pea_trust_policy(anybody), .on = &on), NULL));
    pea_chain_unref(chain);
    net_listen(&n.b);
    atomic_store(&failed, 0);
    for (unsigned round = 0; round < ROUNDS; round++) {
        int fds[AT_ONCE];
        unsigned taken = 0;
        pea_buf flight = first_flight(keys[0], WINDOW_MS, pea__wall_ms());
        for (int i = 0; i < AT_ONCE; i++) {
            fds[i] = net_raw_connect(&n.b);
            net_raw_send(fds[i], flight.data, GREETING);
        }
        for (int i = 0; i < AT_ONCE; i++) { /* all are with their threads now */
            uint8_t greeting[GREETING];
            assert_int_equal(net_raw_recv(&n, fds[i], greeting, sizeof greeting, NULL), GREETING);
        }
        for (int i = 0; i < AT_ONCE; i++)
            net_raw_send(fds[i], flight.data + GREETING, flight.len - GREETING);
        for (int i = 0; i < AT_ONCE; i++) {
            uint8_t answer[SECOND_FLIGHT - GREETING];
            bool reset;
            size_t len = net_raw_recv(&n, fds[i], answer, sizeof answer, &reset);
            assert_true(len == 0 || len == sizeof answer);
            taken += len > 0;
            assert_int_equal(close(fds[i]), 0);
        }
        assert_int_equal(taken, 1);
        net_wait(&n, atomic_load(&failed) == (round + 1) * AT_ONCE);
        pea_buf_free(&flight);
    }
    net_teardown(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_meet_and_strangers_do_not),
        cmocka_unit_test(a_node_of_another_network),
        cmocka_unit_test(a_recording),
        cmocka_unit_test(wrong_clocks),
        cmocka_unit_test(keys_change_under_way),
        cmocka_unit_test(four_keys),
        cmocka_unit_test(recordings_at_once),
    };
    for (int i = 0; i < 3; i++)
        if (pea_network_key_generate(keys[i]) != PEA_OK)
            return 1;
    for (int i = 0; i < 2; i++)
        if (pea_identity_generate(&identity[i], NULL) != PEA_OK)
            return 1;
    if (pea_trust_new(&anybody) != PEA_OK)
        return 1;
    pea_trust_any(anybody);
    int failures = cmocka_run_group_tests_name("gate", tests, NULL, NULL);
    pea_trust_unref(anybody);
    for (int i = 0; i < 2; i++)
        pea_identity_unref(identity[i]);
    return failures;
}
