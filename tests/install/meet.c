/* SPDX-License-Identifier: MIT */
/* What a stranger who only has the installed package would write: two nodes in one process meet over loopback by a
 * Noise handshake, and one sends the other a message. Exit status 0: it came. */
#include <ev.h>
#include <stdio.h>
#include <string.h>

#include <peapod/peapod.h>

static bool came;

static void on_connect(pea_conn *conn, void *loop)
{
    (void)loop;
    if (pea_conn_side(conn) == PEA_INITIATOR && pea_conn_send(conn, "hello", 5) != PEA_OK)
        pea_conn_abort(conn);
}

static void on_message(pea_conn *conn, const uint8_t *data, size_t len, void *loop)
{
    (void)loop;
    came = len == 5 && memcmp(data, "hello", 5) == 0;
    pea_conn_close(conn, PEA_CODE_NORMAL, NULL);
}

static void on_disconnect(pea_conn *conn, const pea_reason *reason, void *loop)
{
    (void)reason;
    if (pea_conn_side(conn) == PEA_INITIATOR)
        ev_break(loop, EVBREAK_ALL);
}

static void on_connect_failed(pea_node *node, const pea_conn_info *info, const pea_reason *reason, void *loop)
{
    char line[PEA_REASON_TEXT_BYTES];
    (void)node, (void)info;
    fprintf(stderr, "%s\n", pea_reason_format(reason, line));
    ev_break(loop, EVBREAK_ALL);
}

static void on_deadline(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)timer, (void)events;
    fputs("nothing happened for 30 seconds\n", stderr);
    ev_break(loop, EVBREAK_ALL);
}

/* A node that admits the other one, by its key alone. */
typedef struct side {
    pea_identity *me;
    pea_peer peer;
    pea_trust *trust;
    pea_chain *chain;
    pea_node *node;
} side;

static bool make(side *s, const pea_peer *other, pea_runtime *runtime, const pea_node_callbacks *on,
                 struct ev_loop *loop, pea_error *why)
{
    return pea_trust_new(&s->trust) == PEA_OK && pea_trust_allow(s->trust, other, NULL, NULL, why) == PEA_OK &&
           pea_chain_new(&s->chain, NULL, why) == PEA_OK &&
           pea_chain_noise(s->chain, PEA_NOISE(.identity = s->me), why) == PEA_OK &&
           pea_node_new(&s->node, runtime,
                        PEA_NODE(.chain = s->chain, .policy = pea_trust_policy(s->trust), .on = on, .user = loop),
                        why) == PEA_OK;
}

static void leave(side *s)
{
    pea_node_free(s->node);
    pea_chain_unref(s->chain);
    pea_trust_unref(s->trust);
    pea_identity_unref(s->me);
}

int main(void)
{
    const pea_node_callbacks on = {.on_connect = on_connect,
                                   .on_message = on_message,
                                   .on_disconnect = on_disconnect,
                                   .on_connect_failed = on_connect_failed};
    struct ev_loop *loop = ev_default_loop(0);
    pea_error why = {.text = "this library is not the one that its headers belong to"};
    side a = {NULL}, b = {NULL};
    pea_runtime *runtime = NULL;
    ev_timer deadline;
    char version[32], addr[PEA_ADDR_TEXT_BYTES];

    snprintf(version, sizeof version, "%d.%d.%d", PEA_VERSION_MAJOR, PEA_VERSION_MINOR, PEA_VERSION_PATCH);
    bool ok = strcmp(version, pea_version_string()) == 0 && pea_identity_generate(&a.me, &why) == PEA_OK &&
              pea_identity_generate(&b.me, &why) == PEA_OK;
    if (ok) {
        pea_identity_peer(a.me, &a.peer);
        pea_identity_peer(b.me, &b.peer);
    }
    ok = ok && pea_runtime_new(&runtime, PEA_RUNTIME(.loop = loop), &why) == PEA_OK &&
         make(&a, &b.peer, runtime, &on, loop, &why) && make(&b, &a.peer, runtime, &on, loop, &why) &&
         pea_node_listen(b.node, "127.0.0.1:0", NULL, NULL, &why) == PEA_OK &&
         pea_node_connect(a.node, pea_addr_format(pea_node_listen_addr(b.node), addr), PEA_DIAL(.expect = &b.peer),
                          NULL, &why) == PEA_OK;
    if (ok) {
        ev_timer_init(&deadline, on_deadline, 30.0, 0.0);
        ev_timer_start(loop, &deadline);
        ev_run(loop, 0);
    } else {
        fprintf(stderr, "%s\n", why.text);
    }
    leave(&a);
    leave(&b);
    if (runtime != NULL && pea_runtime_free(runtime) != PEA_OK)
        ok = false;
    return ok && came ? 0 : 1;
}
