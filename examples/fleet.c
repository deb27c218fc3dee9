/* SPDX-License-Identifier: MIT */
/* A fleet that knows one key: that of the root, which has signed each node's certificate. No node has a list of the
 * others, and each knows whom it dials by name. Somebody with a root of his own comes, too. In one process here; else
 * the root stays where certificates are made, and nodes get theirs as files (pea_cert_save(), pea_cert_load()).
 *   fleet
 * Exit status: 0 all of the fleet have met and the stranger was refused, 1 anything else. */
#include <ev.h>
#include <peapod/peapod.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FLEET = 3, STRANGER = FLEET, ALL };

static const char *const names[ALL] = {"web-1", "web-2", "db-1", "db-1"}; /* the stranger would be one of them */
static const char *const roles[ALL] = {"web", "web", "db", "db"};
static pea_node *nodes[ALL];
static pea_listener *listeners[ALL];
static pea_trust *trust;
static int greetings, refusals;

static void shut_down(void)
{
    for (int i = 0; i < ALL; i++)
        if (pea_node_shutdown(nodes[i], 0, NULL, NULL) != PEA_OK)
            abort();
}

static void look(void)
{
    if (greetings == FLEET * (FLEET - 1) && refusals == 1)
        shut_down();
}

static void on_connect(pea_conn *conn, void *user)
{
    (void)user;
    if (pea_conn_send(conn, "hello", 5) != PEA_OK)
        pea_conn_abort(conn);
}

static void on_message(pea_conn *conn, const uint8_t *data, size_t len, void *user)
{
    const pea_peer *peer = pea_conn_peer(conn);
    (void)user;
    printf("%s: %.*s from %s, which is %s\n", pea_node_name(pea_conn_node(conn)), (int)len, (const char *)data,
           peer->name, pea_peer_has_role(peer, "db") ? "a database" : "no database");
    greetings++;
    look();
}

static void on_failed(pea_node *node, const pea_conn_info *info, const pea_reason *reason, void *user)
{
    (void)info, (void)user;
    if (node != nodes[STRANGER])
        return; /* whom he came to says it in its log */
    printf("stranger: %s\n", (reason->code & ~PEA_CODE_PERMANENT) == PEA_CODE_DENIED ? "refused" : "failed");
    refusals++;
    look();
}

static void must(pea_err err, const pea_error *why)
{
    if (err == PEA_OK)
        return;
    fprintf(stderr, "fleet: %s\n", why->text[0] != '\0' ? why->text : pea_err_text(err));
    exit(1);
}

/* What happens where certificates are made: a key, a name, roles and an end go in. */
static pea_cert *certificate(const pea_root *root, const pea_identity *identity, int i)
{
    pea_error why = {.code = PEA_OK};
    pea_cert *cert;
    pea_peer peer;
    pea_identity_peer(identity, &peer);
    must(pea_cert_issue(
             &cert, root,
             PEA_CERT(.key = peer.id, .name = names[i], .roles = roles[i], .not_after = (int64_t)time(NULL) + 86400),
             &why),
         &why);
    return cert;
}

/* A node with a key of its own and the certificate that this root makes for it. All trust alike. */
static void start(int i, pea_runtime *runtime, const pea_root *root)
{
    static const pea_node_callbacks on = {
        .on_connect = on_connect, .on_message = on_message, .on_connect_failed = on_failed};
    pea_error why = {.code = PEA_OK};
    pea_identity *me;
    pea_chain *chain;
    must(pea_identity_generate(&me, &why), &why);
    pea_cert *cert = certificate(root, me, i);
    must(pea_chain_new(&chain, NULL, &why), &why);
    must(pea_chain_noise(chain, PEA_NOISE(.identity = me, .certificate = cert), &why), &why);
    must(pea_node_new(&nodes[i], runtime,
                      PEA_NODE(.name = i == STRANGER ? "stranger" : names[i], .chain = chain,
                               .policy = pea_trust_policy(trust), .on = &on),
                      &why),
         &why);
    must(pea_node_listen(nodes[i], "127.0.0.1:0", NULL, &listeners[i], &why), &why);
    pea_chain_unref(chain); /* the node holds them now */
    pea_cert_unref(cert);
    pea_identity_unref(me);
}

static void dial(int from, int to)
{
    pea_error why = {.code = PEA_OK};
    char addr[PEA_ADDR_TEXT_BYTES];
    pea_addr_format(pea_listener_addr(listeners[to]), addr);
    must(pea_node_connect(nodes[from], addr, PEA_DIAL(.name = names[to]), NULL, &why), &why);
}

int main(void)
{
    pea_error why = {.code = PEA_OK};
    pea_runtime *runtime;
    pea_root *root, *other;
    uint8_t key[PEA_KEY_BYTES];
    char line[128], text[PEA_ROOT_TEXT_BYTES];
    must(pea_root_generate(&root, &why), &why);
    must(pea_root_generate(&other, &why), &why);
    pea_root_public(root, key);
    snprintf(line, sizeof line, "%s names=web-*,db-* roles=web,db", pea_root_key_format(key, text));
    must(pea_trust_new(&trust), &why);
    must(pea_trust_add(trust, line, &why), &why); /* all that nodes know of each other */
    must(pea_runtime_new(&runtime, PEA_RUNTIME(.loop = EV_DEFAULT), &why), &why);
    for (int i = 0; i < ALL; i++)
        start(i, runtime, i == STRANGER ? other : root);
    for (int i = 0; i < FLEET; i++)
        for (int j = 0; j < i; j++)
            dial(i, j);
    dial(STRANGER, 0);
    ev_run(EV_DEFAULT, 0);
    for (int i = 0; i < ALL; i++)
        pea_node_free(nodes[i]);
    pea_trust_unref(trust);
    pea_root_free(root);
    pea_root_free(other);
    must(pea_runtime_free(runtime), &why);
    return greetings == FLEET * (FLEET - 1) && refusals == 1 ? 0 : 1;
}
