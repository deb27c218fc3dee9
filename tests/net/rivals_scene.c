/* SPDX-License-Identifier: MIT */
#include "rivals_scene.h"

#include "peapod/chain.h"
#include "peapod/trust.h"

static void make_identities(rivals *r)
{
    for (int i = 0; i < 2; i++) {
        check_ok(pea_identity_generate(&r->identity[i], NULL));
        pea_identity_peer(r->identity[i], &r->peer[i]);
    }
    if (memcmp(r->peer[0].id, r->peer[1].id, PEA_ID_BYTES) > 0)
        return;
    pea_identity *identity = r->identity[0];
    r->identity[0] = r->identity[1];
    r->identity[1] = identity;
    pea_peer peer = r->peer[0];
    r->peer[0] = r->peer[1];
    r->peer[1] = peer;
}

rivals *rivals_open(pea_mode mode, bool one_per_peer, uint32_t linger_ms)
{
    static rivals r;
    pea_trust *trust;
    memset(&r, 0, sizeof r);
    net_setup(&r.n, mode);
    pea_chain_unref(r.n.chain);
    make_identities(&r);
    for (int b = 0; b < 2; b++) {
        pea_chain **chain = b ? &r.n.chain_b : &r.n.chain;
        check_ok(pea_chain_new(chain, PEA_CHAIN(.mode = mode), NULL));
        if (mode == PEA_NATIVE)
            check_ok(pea_chain_noise(*chain, PEA_NOISE(.identity = r.identity[b]), NULL));
        else
            check_ok(pea_chain_plain(*chain));
    }
    check_ok(pea_trust_new(&trust));
    pea_trust_any(trust);
    r.n.policy = pea_policy_ref(pea_trust_policy(trust));
    pea_trust_unref(trust);
    net_side *sides[] = {&r.n.a, &r.n.b};
    for (int b = 0; b < 2; b++) {
        net_node(sides[b], PEA_NODE(.one_per_peer = one_per_peer, .linger_ms = linger_ms));
        net_listen(sides[b]);
    }
    return &r;
}

int rivals_close(void **state)
{
    rivals *r = *state;
    net_teardown(&r->n);
    pea_identity_unref(r->identity[0]);
    pea_identity_unref(r->identity[1]);
    assert_int_equal(faults_blocks(), 0);
    return 0;
}

unsigned live(const net_side *side)
{
    return side->connects - side->disconnects;
}
