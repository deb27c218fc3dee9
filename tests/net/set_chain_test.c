/* SPDX-License-Identifier: MIT */
/* A node's chain is exchanged: what begins from then on uses the new one, what lives goes on, a chain that would not do
 * changes nothing; and a peer may be expected by either of two keys. */
#include "peapod/chain.h"
#include "peapod/identity.h"
#include "peapod/trust.h"
#include "support/faults.h"
#include "support/net.h"

enum { OLD, NEW, B, IDENTITIES };

static net n;
static pea_identity *identities[IDENTITIES]; /* a's, the one that it changes to, and b's */
static pea_peer peers[IDENTITIES];
static pea_chain *fresh; /* a's new one */

static void make_chain(pea_chain **chain, pea_mode mode, pea_identity *identity, const char *protocol)
{
    check_ok(pea_chain_new(chain, PEA_CHAIN(.mode = mode), NULL));
    check_ok(pea_chain_noise(*chain, PEA_NOISE(.identity = identity, .protocol = protocol), NULL));
}

static void begin(pea_runtime_opts *opts, const char *protocol)
{
    pea_trust *trust;
    net_setup_runtime(&n, PEA_NATIVE, opts);
    pea_chain_unref(n.chain);
    for (int i = 0; i < IDENTITIES; i++) {
        check_ok(pea_identity_generate(&identities[i], NULL));
        pea_identity_peer(identities[i], &peers[i]);
    }
    make_chain(&n.chain, PEA_NATIVE, identities[OLD], protocol);
    make_chain(&n.chain_b, PEA_NATIVE, identities[B], protocol);
    make_chain(&fresh, PEA_NATIVE, identities[NEW], protocol);
    check_ok(pea_trust_new(&trust));
    pea_trust_any(trust);
    n.policy = pea_policy_ref(pea_trust_policy(trust));
    pea_trust_unref(trust);
}

static int setup(void **state)
{
    (void)state;
    begin(PEA_RUNTIME(.loop = NULL), NULL);
    net_node(&n.a, PEA_NODE(.name = "a"));
    net_node(&n.b, PEA_NODE(.name = "b"));
    net_listen(&n.a);
    net_listen(&n.b);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    net_teardown(&n);
    pea_chain_unref(fresh);
    for (int i = 0; i < IDENTITIES; i++)
        pea_identity_unref(identities[i]);
    assert_int_equal(faults_blocks(), 0);
    return 0;
}

/* Whom b sees at the other end of its latest connection. */
static bool b_sees(int who)
{
    return pea_peer_equal(pea_conn_peer(n.b.conn), &peers[who]);
}

static void meet_by(net_side *from, net_side *to)
{
    unsigned a = n.a.connects, b = n.b.connects;
    net_dial(from, to);
    net_wait(&n, n.a.connects > a && n.b.connects > b);
}

static void what_begins_uses_it(void **state)
{
    (void)state;
    pea_listener *own;
    char addr[PEA_ADDR_TEXT_BYTES];
    check_ok(pea_node_listen(n.a.node, "127.0.0.1:0", PEA_LISTEN(.chain = n.chain), &own, NULL));
    pea_addr_format(pea_listener_addr(own), addr);
    meet_by(&n.a, &n.b);
    assert_true(b_sees(OLD));
    pea_conn *older[2] = {n.a.conn, n.b.conn};
    check_ok(pea_node_set_chain(n.a.node, fresh, NULL));
    meet_by(&n.a, &n.b); /* what it dials */
    assert_true(b_sees(NEW));
    meet_by(&n.b, &n.a); /* and what it accepts, */
    assert_true(b_sees(NEW));
    unsigned connects = n.b.connects;
    check_ok(pea_node_connect(n.b.node, addr, NULL, NULL, NULL)); /* but where it listens with a chain of its own */
    net_wait(&n, n.b.connects > connects && n.a.connects == n.b.connects);
    assert_true(b_sees(OLD));
    check_ok(pea_conn_send(older[0], "still here", 10));
    net_wait(&n, n.b.messages == 1);
    check_ok(pea_conn_send(older[1], "so am I", 7));
    net_wait(&n, n.a.messages == 1);
    assert_int_equal(n.a.disconnects + n.a.failures, 0);
    check_ok(pea_node_set_chain(n.a.node, n.chain, NULL)); /* and back */
    meet_by(&n.b, &n.a);
    assert_true(b_sees(OLD));
}

/* In the middle of a handshake: it goes on with the chain that it began with. */
static void exchange(net_side *side)
{
    check_ok(pea_node_set_chain(side->node, fresh, NULL));
}

static void on_accept_may_exchange_it(void **state)
{
    (void)state;
    n.a.on_accept = exchange;
    pea_chain_unref(n.chain); /* the node's and the connection's are the only references */
    n.chain = NULL;
    meet_by(&n.b, &n.a);
    assert_true(b_sees(OLD));
    meet_by(&n.b, &n.a);
    assert_true(b_sees(NEW));
}

static void refuses(pea_node *node, pea_chain *chain, const char *text)
{
    pea_error why = {.code = PEA_OK};
    check_err(pea_node_set_chain(node, chain, &why), PEA_E_INVALID);
    if (strstr(why.text, text) == NULL)
        fail_msg("%s", why.text);
}

static void one_that_will_not_do(void **state)
{
    pea_chain *chain;
    pea_node *node;
    (void)state;
    refuses(n.a.node, NULL, "required");
    check_ok(pea_chain_new(&chain, NULL, NULL));
    refuses(n.a.node, chain, "no stage");
    pea_chain_unref(chain);
    make_chain(&chain, PEA_STREAM, identities[NEW], NULL);
    refuses(n.a.node, chain, "mode");
    pea_chain_unref(chain);
    check_ok(pea_chain_new(&chain, NULL, NULL)); /* KK as a responder's: it must know who calls */
    check_ok(pea_chain_noise(
        chain, PEA_NOISE(.identity = identities[NEW], .protocol = "Noise_KK_25519_ChaChaPoly_BLAKE2b"), NULL));
    refuses(n.a.node, chain, "beforehand");
    check_ok(pea_node_new(&node, n.runtime, PEA_NODE(.chain = fresh), NULL));
    check_ok(pea_node_set_chain(node, chain, NULL)); /* nobody listens here */
    pea_node_free(node);
    pea_chain_unref(chain);
    meet_by(&n.b, &n.a);
    assert_true(b_sees(OLD));
    check_ok(pea_node_shutdown(n.a.node, 0, NULL, NULL));
    check_err(pea_node_set_chain(n.a.node, fresh, NULL), PEA_E_STATE);
    net_wait(&n, n.a.disconnects == 1 && n.b.disconnects == 1);
}

static pea_err no_step(void *self, pea_stage_env *env, pea_buf *in, pea_buf *out)
{
    (void)self, (void)env, (void)in, (void)out;
    return PEA_MORE;
}

static void one_per_peer_wants_to_know_who_we_are(void **state)
{
    static const pea_stage_ops mute = {.version = PEA_STAGE_VERSION, .name = "mute", .step = no_step};
    pea_chain *chain;
    pea_node *node;
    (void)state;
    check_ok(pea_node_new(&node, n.runtime, PEA_NODE(.chain = n.chain, .one_per_peer = true), NULL));
    check_ok(pea_chain_new(&chain, NULL, NULL));
    check_ok(pea_chain_add(chain, &mute, NULL, NULL));
    refuses(node, chain, "pea_chain_self()");
    check_ok(pea_node_set_chain(n.b.node, chain, NULL));
    pea_chain_unref(chain);
    pea_node_free(node);
}

/* A dial of the old identity that reaches this node after it took the new one is still a dial to itself. */
static void who_it_was_is_itself(void **state)
{
    (void)state;
    check_ok(pea_node_set_chain(n.a.node, fresh, NULL));
    int fd = net_raw_connect(&n.a);
    check_ok(pea_node_connect(n.a.node, n.a.addr, PEA_DIAL(.fd = fd, .chain = n.chain), NULL, NULL));
    net_wait(&n, n.a.failures == 2);
    assert_int_equal(n.a.connects, 0);
    fd = net_raw_connect(&n.a);
    check_ok(pea_node_connect(n.a.node, n.a.addr, PEA_DIAL(.fd = fd), NULL, NULL));
    net_wait(&n, n.a.failures == 4);
    assert_int_equal(n.a.connects, 0);
}

/* ---- Either of two keys ---- */

static void dial_expecting(const pea_peer *expect, const pea_peer *next)
{
    check_ok(pea_node_connect(n.b.node, n.a.addr, PEA_DIAL(.expect = expect, .expect_next = next, .again = true), NULL,
                              NULL));
}

static void two_keys_of_one_peer(void **state)
{
    pea_error why;
    (void)state;
    dial_expecting(&peers[OLD], &peers[NEW]);
    net_wait(&n, n.b.connects == 1);
    assert_true(b_sees(OLD));
    check_ok(pea_node_set_chain(n.a.node, fresh, NULL));
    dial_expecting(&peers[OLD], &peers[NEW]);
    net_wait(&n, n.b.connects == 2);
    assert_true(b_sees(NEW));
    dial_expecting(&peers[OLD], NULL);
    net_wait(&n, n.b.failures == 1);
    assert_int_equal(n.b.reason.err, PEA_E_REFUSED);
    dial_expecting(&peers[OLD], &peers[B]);
    net_wait(&n, n.b.failures == 2);
    assert_int_equal(n.b.reason.err, PEA_E_REFUSED);
    check_err(pea_node_connect(n.b.node, n.a.addr, PEA_DIAL(.expect_next = &peers[NEW], .again = true), NULL, &why),
              PEA_E_INVALID);
    assert_non_null(strstr(why.text, "expect_next"));
    assert_int_equal(n.b.connects, 2);
}

/* A peer of no kind is what pea_conn_peer() gives where there is no memory: it is nobody, and not anybody. */
static void nobody_is_not_anybody(void **state)
{
    const pea_peer nobody = {.kind = PEA_PEER_NONE};
    pea_error why;
    (void)state;
    check_err(pea_node_connect(n.b.node, n.a.addr, PEA_DIAL(.expect = &nobody), NULL, &why), PEA_E_INVALID);
    assert_non_null(strstr(why.text, "nobody"));
    check_err(pea_node_connect(n.b.node, n.a.addr, PEA_DIAL(.expect = &nobody, .expect_next = &peers[OLD]), NULL, &why),
              PEA_E_INVALID);
}

/* IK encrypts to the key that is expected first: who fails tries the other one. */
static void a_pattern_that_must_know_it(void **state)
{
    (void)state;
    begin(PEA_RUNTIME(.loop = NULL), "Noise_IK_25519_ChaChaPoly_BLAKE2b");
    net_node(&n.a, PEA_NODE(.name = "a"));
    net_node(&n.b, PEA_NODE(.name = "b"));
    net_listen(&n.a);
    check_ok(pea_node_set_chain(n.a.node, fresh, NULL));
    dial_expecting(&peers[OLD], &peers[NEW]);
    net_wait(&n, n.b.failures == 1);
    dial_expecting(&peers[NEW], &peers[OLD]);
    net_wait(&n, n.b.connects == 1 && n.a.connects == 1);
    assert_true(b_sees(NEW));
}

#define entry(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    faults_install();
    const struct CMUnitTest tests[] = {
        entry(what_begins_uses_it),   entry(on_accept_may_exchange_it),
        entry(one_that_will_not_do),  entry(one_per_peer_wants_to_know_who_we_are),
        entry(who_it_was_is_itself),  entry(two_keys_of_one_peer),
        entry(nobody_is_not_anybody), cmocka_unit_test_teardown(a_pattern_that_must_know_it, teardown),
    };
    return cmocka_run_group_tests_name("set_chain", tests, NULL, NULL);
}
