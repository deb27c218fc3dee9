/* SPDX-License-Identifier: MIT */
/* Attackers of the attack bench that are whole peers: handshakes as fast as they can be made, by strangers and by
 * trusted keys in turn; trusted subscribers that ask and never read; and some that are well-behaved until their process
 * is stopped. */
#include <ev.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "attack.h"

#define HANDSHAKES 256u /* at once */
#define SUBSCRIBERS 32u
#define QUESTION_BYTES 4096u
#define QUESTION_S 0.01

static struct {
    int control;
    attack_kind kind;
    const char *address;
    pea_node *node;
    pea_chain *chains[2]; /* a stranger's, a trusted one's */
    pea_peer server;
    unsigned dials, ended, ready;
    bool begun;
} attacker;

static void begun_if(bool so)
{
    if (!so || attacker.begun)
        return;
    attacker.begun = true;
    must(send(attacker.control, "", 1, 0) == 1, "the attacker's word");
}

static void dial(void)
{
    pea_error why = {.text = ""};
    unsigned n = attacker.dials++;
    int fd = socket_from(FROM_ATTACKER, 1 + n % 250);
    must(fd >= 0, "a socket of the attacker");
    pea_chain *chain = attacker.chains[attacker.kind == ATTACK_HANDSHAKES ? n % 2 : 1];
    pea_dial_opts *opts = PEA_DIAL(.expect = &attacker.server, .chain = chain, .again = true, .fd = fd);
    must_pea(pea_node_connect(attacker.node, attacker.address, opts, NULL, &why), &why);
}

static void on_connect(pea_conn *conn, void *user)
{
    (void)user;
    attacker.ready++;
    if (attacker.kind == ATTACK_HANDSHAKES)
        pea_conn_abort(conn);
    if (attacker.kind == ATTACK_DEAF)
        pea_conn_pause(conn);
    begun_if(attacker.kind != ATTACK_HANDSHAKES && attacker.ready == SUBSCRIBERS);
}

static void on_disconnect(pea_conn *conn, const pea_reason *reason, void *user)
{
    (void)conn, (void)reason, (void)user;
    begun_if(++attacker.ended == HANDSHAKES);
    dial();
}

static void on_failed(pea_node *node, const pea_conn_info *info, const pea_reason *reason, void *user)
{
    (void)node, (void)info;
    on_disconnect(NULL, reason, user);
}

static bool ask(pea_conn *conn, void *arg)
{
    static const uint8_t question[QUESTION_BYTES];
    (void)arg;
    if (pea_conn_state(conn) == PEA_READY)
        (void)!pea_conn_send(conn, question, sizeof question); /* what the queue does not take is not asked */
    return true;
}

static void on_ask(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop, (void)timer, (void)events;
    pea_node_each(attacker.node, ask, NULL);
}

void attack_from_peers(int control, const char *address, attack_kind kind)
{
    static const pea_node_callbacks on = {
        .on_connect = on_connect, .on_disconnect = on_disconnect, .on_connect_failed = on_failed};
    static ev_timer timer;
    attacker.control = control;
    attacker.kind = kind;
    attacker.address = address;
    attacker.chains[0] = chain_of(keys.stranger);
    attacker.chains[1] = chain_of(keys.subscriber);
    pea_identity_peer(keys.server, &attacker.server);
    attacker.node = node_of(PEA_NODE(.chain = attacker.chains[0], .on = &on, .max_pending = PEA_UNLIMITED));
    for (unsigned i = 0; i < (kind == ATTACK_HANDSHAKES ? HANDSHAKES : SUBSCRIBERS); i++)
        dial();
    ev_timer_init(&timer, on_ask, QUESTION_S, QUESTION_S);
    if (kind != ATTACK_HANDSHAKES)
        ev_timer_start(EV_DEFAULT, &timer);
    ev_run(EV_DEFAULT, 0);
    exit(2);
}
