/* SPDX-License-Identifier: MIT */
/* A mesh without an authority: each node has a certificate that it signed itself, and knows the public keys of the
 * others. Here all nodes live in one process, and each greets each.
 *   openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=a -keyout a.key -out a.crt
 *   pinned_mesh a.crt a.key b.crt b.key [...]
 * Exit status: 0 all greetings arrived, 2 wrong use, 1 anything else. */
#include <ev.h>
#include <peapod/peapod.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMBERS_MAX 64

typedef struct member {
    pea_identity *me;
    pea_peer peer; /* what the others know of us */
    pea_trust *trust;
    pea_chain *chain;
    pea_node *node;
    pea_listener *listener;
} member;

static member members[MEMBERS_MAX];
static int count, greetings, failures;

static void shut_down(void)
{
    for (int i = 0; i < count; i++)
        if (pea_node_shutdown(members[i].node, 0, NULL, NULL) != PEA_OK)
            abort();
}

static void on_connect(pea_conn *conn, void *user)
{
    (void)user;
    if (pea_conn_send(conn, "hello", 5) != PEA_OK)
        pea_conn_abort(conn);
}

static void on_message(pea_conn *conn, const uint8_t *data, size_t len, void *user)
{
    const member *m = user;
    printf("node %d: %.*s from %s\n", (int)(m - members), (int)len, (const char *)data, pea_conn_peer(conn)->name);
    if (++greetings == count * (count - 1))
        shut_down();
}

static void on_failed(pea_node *node, const pea_conn_info *info, const pea_reason *reason, void *user)
{
    char text[PEA_REASON_TEXT_BYTES];
    (void)node, (void)info;
    printf("node %d: %s\n", (int)((member *)user - members), pea_reason_format(reason, text));
    failures++;
    shut_down();
}

static void must(pea_err err, const pea_error *why, int exit_status)
{
    if (err == PEA_OK)
        return;
    fprintf(stderr, "pinned_mesh: %s\n", why->text[0] != '\0' ? why->text : pea_err_text(err));
    exit(exit_status);
}

/* The certificates are all that members need of each other, and of those only the key counts: its holder is let in. */
static void pin_others(member *m, pea_error *why)
{
    char name[24];
    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof name, "node %d", i);
        if (&members[i] != m)
            must(pea_trust_allow(m->trust, &members[i].peer, name, NULL, why), why, 1);
    }
}

static void start(member *m, pea_runtime *runtime, pea_error *why)
{
    const pea_node_callbacks on = {.on_connect = on_connect, .on_message = on_message, .on_connect_failed = on_failed};
    must(pea_trust_new(&m->trust), why, 1);
    pin_others(m, why);
    must(pea_chain_new(&m->chain, NULL, why), why, 1);
    must(pea_chain_tls(m->chain, PEA_TLS(.identity = m->me), why), why, 1);
    pea_node_opts *opts = PEA_NODE(.chain = m->chain, .policy = pea_trust_policy(m->trust), .on = &on, .user = m);
    must(pea_node_new(&m->node, runtime, opts, why), why, 1);
    must(pea_node_listen(m->node, "127.0.0.1:0", NULL, &m->listener, why), why, 1);
}

int main(int argc, char **argv)
{
    pea_error why = {.text = "usage: pinned_mesh CERTFILE KEYFILE CERTFILE KEYFILE [CERTFILE KEYFILE...]"};
    pea_runtime *runtime;
    char text[PEA_ADDR_TEXT_BYTES]; /* an id fits too */
    count = (argc - 1) / 2;
    must(argc % 2 == 1 && count >= 2 && count <= MEMBERS_MAX ? PEA_OK : PEA_E_INVALID, &why, 2);
    for (int i = 0; i < count; i++) {
        const char *certificate = argv[1 + 2 * i], *key = argv[2 + 2 * i];
        must(pea_identity_load_certificate(&members[i].me, certificate, key, NULL, NULL, &why), &why, 1);
        pea_identity_peer(members[i].me, &members[i].peer);
        printf("node %d: %s\n", i, pea_peer_format(&members[i].peer, text));
    }
    must(pea_runtime_new(&runtime, PEA_RUNTIME(.loop = EV_DEFAULT), &why), &why, 1);
    for (int i = 0; i < count; i++)
        start(&members[i], runtime, &why);
    for (int i = 0; i < count; i++)
        for (int j = 0; j < i; j++) {
            pea_addr_format(pea_listener_addr(members[j].listener), text);
            must(pea_node_connect(members[i].node, text, PEA_DIAL(.expect = &members[j].peer), NULL, &why), &why, 1);
        }
    ev_run(EV_DEFAULT, 0);
    for (int i = 0; i < count; i++) {
        pea_node_free(members[i].node);
        pea_chain_unref(members[i].chain);
        pea_trust_unref(members[i].trust);
        pea_identity_unref(members[i].me);
    }
    must(pea_runtime_free(runtime), &why, 1);
    return failures == 0 ? 0 : 1;
}
