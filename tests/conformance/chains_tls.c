/* SPDX-License-Identifier: MIT */
/* Chains with TLS in them, alone, behind and before other stages, of either version, native and foreign, where a
 * peer is known by its key or by a root. */
#include "chains_tls.h"
#include "chains.h"
#include "peapod/chain.h"
#include "peapod/trust.h"
#include "support/check.h"
#include "support/toys.h"

#include <stdio.h>
#include <stdlib.h>

enum { SELF, BY_ROOT, RSA, N_KINDS };

static const char *const files[N_KINDS][2] = {{"self_a", "self_b"}, {"client", "server"}, {"client_rsa", "server_rsa"}};
static pea_identity *identity[N_KINDS][2];
static pea_peer id[N_KINDS][2];
static char root[8192];
static size_t root_len;

void tls_chains_setup(void)
{
    for (size_t kind = 0; kind < N_KINDS; kind++) {
        for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
            char crt[512], key[512];
            pea_error why;
            (void)snprintf(crt, sizeof crt, "%s/%s.crt", PEA_TEST_CERTS, files[kind][side]);
            (void)snprintf(key, sizeof key, "%s/%s.key", PEA_TEST_CERTS, files[kind][side]);
            if (pea_identity_load_certificate(&identity[kind][side], crt, key, NULL, NULL, &why) != PEA_OK) {
                print_error("%s\n", why.text);
                abort();
            }
            pea_identity_peer(identity[kind][side], &id[kind][side]);
        }
    }
    FILE *file = fopen(PEA_TEST_CERTS "/root.crt", "r");
    if (file == NULL)
        abort();
    root_len = fread(root, 1, sizeof root, file);
    (void)fclose(file);
}

void tls_chains_teardown(void)
{
    for (size_t kind = 0; kind < N_KINDS; kind++)
        for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++)
            pea_identity_unref(identity[kind][side]);
}

/* One line of the table, taken apart. */
typedef struct recipe {
    pea_tls_version version;
    pea_mode mode;
    int kind;                            /* of certificate */
    bool talk, xor_before, login, twice; /* other stages beside TLS; twice: TLS in TLS */
    bool own[2];                         /* records, by side */
    enum { ALLOW = 0, EXPECT, VOUCHED, ASK_LATER } trust;
} recipe;

typedef struct world {
    test_link *link;
    toy_talk talk;
    toy_upgrade before;
    toy_lookup lookup;
    pea_trust *trust[2];
    int kind;
    bool open[2]; /* somebody waits for an answer of ours */
    pea_ticket ticket[2];
} world;

/* Says of each question that the answer comes later. */
static pea_err ask_later(void *arg, pea_peer *peer, const pea_candidate *candidate)
{
    world *w = arg;
    pea_side side = candidate->side;
    assert_true(pea_peer_equal(peer, &id[w->kind][link_other(side)]));
    w->open[side] = true;
    w->ticket[side] = candidate->ticket;
    return PEA_WAIT;
}

/* Lets in whom the root vouches for, by the name that the certificate has. */
static pea_err vouched(void *arg, pea_peer *peer, const pea_candidate *candidate)
{
    const char *const names[] = {"spiffe://mesh.example/client", "spiffe://mesh.example/server"};
    (void)arg, (void)peer;
    for (size_t i = 0; candidate->vouch != NULL && i < candidate->vouch->n_names; i++)
        if (candidate->vouch->names[i].kind == PEA_NAME_URI &&
            strcmp(candidate->vouch->names[i].text, names[link_other(candidate->side)]) == 0)
            return PEA_OK;
    return PEA_E_REFUSED;
}

static bool idle(void *arg)
{
    world *w = arg;
    bool did = w->lookup.open;
    if (w->lookup.open) {
        pea_err err = pea_pipe_resume(w->link->party[PEA_RESPONDER].pipe, w->lookup.ticket, PEA_OK);
        assert_true(err == PEA_OK || err == PEA_E_STALE);
        w->lookup.open = false;
    }
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
        if (!w->open[side])
            continue;
        pea_err err = pea_pipe_resume(w->link->party[side].pipe, w->ticket[side], PEA_OK);
        assert_true(err == PEA_OK || err == PEA_E_STALE);
        w->open[side] = false;
        did = true;
    }
    return did;
}

static void set_link(void *arg, test_link *link)
{
    ((world *)arg)->link = link;
}

static void release(void *arg)
{
    world *w = arg;
    pea_trust_unref(w->trust[0]);
    pea_trust_unref(w->trust[1]);
    free(w);
}

static void set_policy(chain_ends *ends, world *w, const recipe *r, pea_side side)
{
    const pea_peer *peer = &id[r->kind][link_other(side)];
    if (r->trust == EXPECT && side == PEA_INITIATOR) {
        ends->expect[side] = peer;
        return;
    }
    check_ok(pea_trust_new(&w->trust[side]));
    if (r->trust == VOUCHED)
        pea_trust_ask(w->trust[side], vouched, NULL);
    else if (r->trust == ASK_LATER)
        pea_trust_ask(w->trust[side], ask_later, w);
    else
        check_ok(pea_trust_allow(w->trust[side], peer, "somebody", "tester", NULL));
    ends->policy[side] = pea_policy_ref(pea_trust_policy(w->trust[side]));
}

static void add_tls(pea_chain *chain, const recipe *r, pea_side side)
{
    pea_error why;
    pea_span roots = {(const uint8_t *)root, r->trust == VOUCHED ? root_len : 0};
    pea_err err = pea_chain_tls(chain,
                                PEA_TLS(.identity = identity[r->kind][side], .roots = roots, .lowest = r->version,
                                        .highest = r->version, .own_records = r->own[side]),
                                &why);
    if (err != PEA_OK)
        print_error("%s\n", why.text);
    check_ok(err);
}

static void build(chain_ends *ends, const void *arg)
{
    const recipe *r = arg;
    world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->talk = (toy_talk){"STARTTLS\n", "220 go ahead\n"};
    w->lookup.name = "alice";
    w->kind = r->kind;
    memcpy(w->before.nonce[PEA_INITIATOR], "nonce-i-", 8);
    memcpy(w->before.nonce[PEA_RESPONDER], "nonce-r-", 8);
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
        pea_chain **chain = &ends->chain[side];
        check_ok(pea_chain_new(chain, PEA_CHAIN(.mode = r->mode), NULL));
        if (r->talk)
            check_ok(pea_chain_add(*chain, &toy_talk_ops, &w->talk, NULL));
        if (r->xor_before)
            check_ok(pea_chain_add(*chain, &toy_upgrade_ops, &w->before, NULL));
        add_tls(*chain, r, side);
        if (r->twice)
            add_tls(*chain, r, side);
        if (r->login)
            check_ok(pea_chain_add(*chain, &toy_lookup_ops, &w->lookup, NULL));
        set_policy(ends, w, r, side);
    }
    ends->idle = idle;
    ends->arg = w;
    ends->set_link = set_link;
    ends->release = release;
}

#define TLS(...)           \
    build, &(const recipe) \
    {                      \
        __VA_ARGS__        \
    }
#define NATIVE (CHAIN_AUTHENTIC | CHAIN_END | CHAIN_VARIES)

/* A handshake costs milliseconds: one chain of each version is split at every byte, and changed at some; the others
 * less. With own records the handshake is the same: what they add is tls_own_record_test.c's. */
const chain_case tls_chains[] = {
    {"tls 1.2", TLS(.version = PEA_TLS_1_2, .trust = EXPECT), NATIVE, 23, 1},
    {"tls 1.2: by the root", TLS(.version = PEA_TLS_1_2, .kind = BY_ROOT, .trust = VOUCHED), NATIVE, 131, 41},
    {"tls 1.2: RSA", TLS(.version = PEA_TLS_1_2, .kind = RSA), NATIVE, 211, 61},
    {"tls 1.2: judged later", TLS(.version = PEA_TLS_1_2, .trust = ASK_LATER), NATIVE, 131, 41},
    {"talk, tls 1.2, a login", TLS(.version = PEA_TLS_1_2, .talk = true, .login = true), NATIVE, 131, 41},
    {"tls 1.2 in xor", TLS(.version = PEA_TLS_1_2, .xor_before = true), NATIVE, 131, 41},
    {"tls 1.2, own records", TLS(.version = PEA_TLS_1_2, .trust = EXPECT, .own = {true, true}), NATIVE, 89, 7},
    {"tls 1.2, own records: the initiator's", TLS(.version = PEA_TLS_1_2, .own = {true, false}), NATIVE, 311, 97},
    {"tls 1.2, own records: the responder's", TLS(.version = PEA_TLS_1_2, .own = {false, true}), NATIVE, 311, 97},
    {"stream: tls 1.2, own records", TLS(.version = PEA_TLS_1_2, .mode = PEA_STREAM, .own = {true, true}), NATIVE, 131,
     41},
    {"stream: tls 1.2", TLS(.version = PEA_TLS_1_2, .mode = PEA_STREAM), NATIVE, 131, 41},
    {"stream: talk, tls 1.2, by the root",
     TLS(.version = PEA_TLS_1_2, .mode = PEA_STREAM, .talk = true, .kind = BY_ROOT, .trust = VOUCHED), NATIVE, 131, 41},
    {"tls 1.3", TLS(.version = PEA_TLS_1_3, .trust = EXPECT), NATIVE, 23, 1},
    {"tls 1.3: by the root", TLS(.version = PEA_TLS_1_3, .kind = BY_ROOT, .trust = VOUCHED), NATIVE, 131, 41},
    {"tls 1.3: RSA", TLS(.version = PEA_TLS_1_3, .kind = RSA), NATIVE, 211, 61},
    {"tls 1.3: judged later", TLS(.version = PEA_TLS_1_3, .trust = ASK_LATER), NATIVE, 131, 41},
    {"talk, tls 1.3, a login", TLS(.version = PEA_TLS_1_3, .talk = true, .login = true), NATIVE, 131, 41},
    {"tls 1.3 in tls 1.3", TLS(.version = PEA_TLS_1_3, .twice = true), NATIVE, 211, 61},
    {"tls 1.3, own records", TLS(.version = PEA_TLS_1_3, .trust = EXPECT, .own = {true, true}), NATIVE, 89, 7},
    {"tls 1.3, own records: the initiator's", TLS(.version = PEA_TLS_1_3, .own = {true, false}), NATIVE, 311, 97},
    {"tls 1.3, own records: the responder's", TLS(.version = PEA_TLS_1_3, .own = {false, true}), NATIVE, 311, 97},
    {"tls 1.3 in tls 1.3, own records", TLS(.version = PEA_TLS_1_3, .twice = true, .own = {true, true}), NATIVE, 211,
     61},
    {"stream: tls 1.3, own records", TLS(.version = PEA_TLS_1_3, .mode = PEA_STREAM, .own = {true, true}), NATIVE, 131,
     41},
    {"stream: tls 1.3", TLS(.version = PEA_TLS_1_3, .mode = PEA_STREAM), NATIVE, 131, 41},
    {"stream: tls 1.3 in xor", TLS(.version = PEA_TLS_1_3, .mode = PEA_STREAM, .xor_before = true), NATIVE, 131, 41},
};

const size_t n_tls_chains = sizeof tls_chains / sizeof tls_chains[0];

size_t tls_chains_here(void)
{
    size_t n = 0;
    bool newest = strstr(pea_tls_library(), "1.3") != NULL && strstr(pea_tls_library(), "2.28") == NULL;
    while (n < n_tls_chains && (newest || strstr(tls_chains[n].name, "1.3") == NULL))
        n++;
    return n;
}
