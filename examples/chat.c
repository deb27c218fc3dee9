/* SPDX-License-Identifier: MIT */
/* A chat without a server: everybody is connected to everybody, over Noise, and known by a key and a name that each
 * keeps in a file of its own.
 *   chat ADDRESS KEYFILE AUTHORIZED_PEERS [ADDRESS...]    listens at the first, joins those who are at the others
 * Lines of the file: "noise:BASE64 name=alice"; keys are made by `secure_handshake keygen`. The file may change while
 * the chat goes on: who is taken out of it is out of the chat. Lines of standard input are said to all, to its end.
 * Exit status: 0 we left, 2 wrong use, 1 anything else. */
#include "input.h"

#include <peapod/peapod.h>
#include <stdio.h>

#define LINE_MAX_BYTES 4000

static pea_node *node;

static void must(pea_err err, const pea_error *why, int exit_status)
{
    if (err == PEA_OK)
        return;
    fprintf(stderr, "chat: %s\n", why->text[0] != '\0' ? why->text : pea_err_text(err));
    exit(exit_status);
}

static void on_connect(pea_conn *conn, void *user)
{
    (void)user;
    printf("* %s is here\n", pea_conn_peer(conn)->name);
}

static void on_message(pea_conn *conn, const uint8_t *data, size_t len, void *user)
{
    char text[LINE_MAX_BYTES];
    (void)user;
    pea_text_escape((const char *)data, len, text, sizeof text); /* a friend's words, and not to our terminal */
    printf("%s: %s\n", pea_conn_peer(conn)->name, text);
}

static void on_disconnect(pea_conn *conn, const pea_reason *reason, void *user)
{
    char text[PEA_REASON_TEXT_BYTES];
    (void)user;
    printf("* %s has gone: %s\n", pea_conn_peer(conn)->name, pea_reason_format(reason, text));
}

/* Also where two dialled each other at once: one of the connections is let go, which is no failure. */
static void on_failed(pea_node *self, const pea_conn_info *info, const pea_reason *reason, void *user)
{
    char text[PEA_REASON_TEXT_BYTES], where[PEA_ADDR_TEXT_BYTES];
    (void)self, (void)user;
    if ((reason->code & ~PEA_CODE_PERMANENT) != PEA_CODE_DUPLICATE)
        printf("* %s: %s\n", pea_addr_format(&info->remote, where), pea_reason_format(reason, text));
}

static void on_told(void *arg, const pea_broadcast_result *result)
{
    (void)arg;
    if (result->refused > 0)
        printf("* %u are too slow to hear this\n", result->refused);
}

static void on_line(const char *line, size_t len)
{
    pea_msg *msg;
    if (line == NULL) { /* the others hear that we go */
        must(pea_node_shutdown(node, 0, NULL, NULL), &(pea_error){.code = PEA_OK}, 1);
        return;
    }
    if (len > LINE_MAX_BYTES / 4) /* each byte may be shown as four */
        len = LINE_MAX_BYTES / 4;
    must(pea_msg_new(&msg, line, len), &(pea_error){.code = PEA_OK}, 1);
    if (pea_node_broadcast(node, msg, NULL, on_told, NULL) != PEA_OK)
        puts("* nobody heard this: try again");
    pea_msg_unref(msg);
}

int main(int argc, char **argv)
{
    static const pea_node_callbacks on = {.on_connect = on_connect,
                                          .on_message = on_message,
                                          .on_disconnect = on_disconnect,
                                          .on_connect_failed = on_failed};
    pea_error why = {.text = "usage: chat ADDRESS KEYFILE AUTHORIZED_PEERS [ADDRESS...]"};
    char text[PEA_ADDR_TEXT_BYTES];
    pea_identity *me;
    pea_trust *trust;
    pea_chain *chain;
    pea_runtime *runtime;
    setvbuf(stdout, NULL, _IOLBF, 0);
    must(argc >= 4 ? PEA_OK : PEA_E_INVALID, &why, 2);
    must(pea_identity_load(&me, argv[2], &why), &why, 1);
    must(pea_trust_new(&trust), &why, 1);
    must(pea_trust_load(trust, argv[3], &why), &why, 1);
    must(pea_chain_new(&chain, NULL, &why), &why, 1);
    must(pea_chain_noise(chain, PEA_NOISE(.identity = me), &why), &why, 1);
    must(pea_runtime_new(&runtime, PEA_RUNTIME(.loop = EV_DEFAULT), &why), &why, 1);
    pea_node_opts *opts = PEA_NODE(.chain = chain, .policy = pea_trust_policy(trust), .on = &on, .one_per_peer = true);
    must(pea_node_new(&node, runtime, opts, &why), &why, 1);
    must(pea_node_listen(node, argv[1], NULL, NULL, &why), &why, 1);
    printf("listening %s\n", pea_addr_format(pea_node_listen_addr(node), text));
    for (int i = 4; i < argc; i++)
        must(pea_node_connect(node, argv[i], NULL, NULL, &why), &why, 2);
    input_init(EV_DEFAULT, on_line);
    input_want(true);
    ev_run(EV_DEFAULT, 0);
    pea_node_free(node);
    pea_chain_unref(chain);
    pea_trust_unref(trust);
    pea_identity_unref(me);
    return pea_runtime_free(runtime) == PEA_OK ? 0 : 1;
}
