/* SPDX-License-Identifier: MIT */
/* Two nodes of a transport: see ours.h. */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE
#endif
#include "ours.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "count.h"
#include "two.h"

#define IN_THE_MAKING 64u   /* connections of ours_dial_all(): no backlog overflows */
#define HANDSHAKE_MS 120000 /* a thousand of TLS at once, on a busy core */
#ifdef OURS_TLS
#include "peers/certificate.h"

static certificate certificates[2]; /* of the receiver, of the sender */
#endif

void ours_must(pea_err err, const pea_error *why)
{
    if (err == PEA_OK)
        return;
    errno = 0;
    two_fail(why != NULL && why->text[0] != '\0' ? why->text : pea_err_text(err));
}

_Noreturn void ours_fail(const pea_reason *reason)
{
    char text[PEA_REASON_TEXT_BYTES];
    errno = 0;
    two_fail(pea_reason_format(reason, text));
}

/* ---- The command line ---- */

#ifdef OURS_SODIUM
/* A program holds one library: that of libsodium alone is in another one. */
static void become(const char *program, char **argv)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%s" OURS_SODIUM, program);
    argv[1] = (char[]){"noise"};
    execv(path, argv);
    two_fail(path);
}
#endif

static bool knows(const char *transport)
{
    size_t len = strlen(transport);
    for (const char *at = OURS_TRANSPORTS; at != NULL; at = strchr(at, '|')) {
        at += *at == '|';
        if (strncmp(at, transport, len) == 0 && (at[len] == '|' || at[len] == '\0'))
            return len > 0;
    }
    return false;
}

void ours_prepare(ours *o, int argc, char **argv, int least, int most, const char *usage)
{
    if (argc - 2 < least || argc - 2 > most || !knows(argv[1])) {
        (void)fprintf(stderr, "usage: %s %s\nTRANSPORT is " OURS_TRANSPORTS "\n", argv[0], usage);
        exit(2);
    }
#ifdef OURS_SODIUM
    if (strcmp(argv[1], "noise-sodium") == 0)
        become(argv[0], argv);
#endif
    two_allow_descriptors();
    count_begin();
    *o = (ours){.transport = argv[1]};
#ifdef OURS_TLS
    if (strncmp(o->transport, "tls", 3) == 0)
        for (int i = 0; i < 2; i++)
            certificate_make(&certificates[i]);
#endif
}

void ours_begin(ours *o, int argc, char **argv, int least, int most, const char *usage)
{
    ours_prepare(o, argc, argv, least, most, usage);
    o->sender = two_fork();
    if (o->sender)
        count_as_sender();
}

/* ---- The node ---- */

static pea_err add_noise(const ours *o, pea_chain *chain, pea_error *why)
{
    /* of no worth: they guard zeros on loopback */
    static const uint8_t secrets[2][PEA_KEY_BYTES] = {{1, 2, 3}, {4, 5, 6}};
    const char *protocol = strcmp(o->transport, "noise-aes") == 0 ? "Noise_XX_25519_AESGCM_BLAKE2b" : NULL;
    if (o->network_key != NULL)
        protocol = "Noise_XXpsk0_25519_ChaChaPoly_BLAKE2b";
    pea_identity *me;
    pea_err err = pea_identity_from_secret(&me, secrets[o->sender], why);
    if (err == PEA_OK) {
        err = pea_chain_noise(
            chain,
            PEA_NOISE(.identity = me, .protocol = protocol, .psk = o->network_key, .gate_window_ms = o->window_ms),
            why);
        pea_identity_unref(me);
    }
    return err;
}

static pea_err add_tls(const ours *o, pea_chain *chain, pea_error *why)
{
#ifdef OURS_TLS
    const certificate *c = &certificates[o->sender];
    pea_span cert = {(const uint8_t *)c->cert_pem, strlen(c->cert_pem)};
    pea_span key = {(const uint8_t *)c->key_pem, strlen(c->key_pem)};
    pea_identity *me;
    pea_err err = pea_identity_parse_certificate(&me, cert, key, NULL, NULL, why);
    if (err == PEA_OK) {
        err = pea_chain_tls(chain, PEA_TLS(.identity = me, .own_records = strcmp(o->transport, "tls") == 0), why);
        pea_identity_unref(me);
    }
    return err;
#else
    (void)o, (void)chain, (void)why;
    errno = 0;
    two_fail("TLS wants a certificate, and libcrypto to make it: libssl-dev");
#endif
}

static void on_failed(pea_node *node, const pea_conn_info *info, const pea_reason *reason, void *user)
{
    (void)node, (void)info, (void)user;
    ours_fail(reason);
}

static void on_disconnect(pea_conn *conn, const pea_reason *reason, void *user)
{
    (void)conn, (void)user;
    ours_fail(reason);
}

pea_chain *ours_chain(const ours *o)
{
    pea_error why = {.text = ""};
    pea_chain *chain;
    pea_mode mode = strcmp(o->transport, "plain-stream") == 0 ? PEA_STREAM : PEA_NATIVE;
    ours_must(pea_chain_new(&chain, PEA_CHAIN(.mode = mode), &why), &why);
    if (strncmp(o->transport, "noise", 5) == 0)
        ours_must(add_noise(o, chain, &why), &why);
    else if (strncmp(o->transport, "tls", 3) == 0)
        ours_must(add_tls(o, chain, &why), &why);
    else
        ours_must(pea_chain_plain(chain), NULL);
    return chain;
}

pea_policy *ours_policy(const ours *o)
{
    pea_trust *trust;
    ours_must(pea_trust_new(&trust), NULL);
    if (!o->nobody)
        pea_trust_any(trust);
    return pea_trust_policy(trust);
}

void ours_node(ours *o, uint32_t workers, const pea_node_callbacks *given)
{
    pea_error why = {.text = ""};
    pea_node_callbacks on = *given;
    if (on.on_disconnect == NULL)
        on.on_disconnect = on_disconnect;
    if (on.on_connect_failed == NULL)
        on.on_connect_failed = on_failed;
    o->loop = ev_default_loop(0);
    if (o->runtime == NULL)
        ours_must(pea_runtime_new(&o->runtime, PEA_RUNTIME(.loop = o->loop, .workers = workers), &why), &why);
    pea_node_opts *opts = PEA_NODE(.chain = ours_chain(o), .policy = ours_policy(o), .on = &on,
                                   .max_pending = PEA_UNLIMITED, .handshake_timeout_ms = HANDSHAKE_MS);
    ours_must(pea_node_new(&o->node, o->runtime, opts, &why), &why);
}

void ours_listen_here(const ours *o, char address[PEA_ADDR_TEXT_BYTES])
{
    pea_error why = {.text = ""};
    pea_listener *listener;
    ours_must(pea_node_listen(o->node, "127.0.0.1:0", NULL, &listener, &why), &why);
    (void)pea_addr_format(pea_listener_addr(listener), address);
}

void ours_listen(const ours *o)
{
    char address[PEA_ADDR_TEXT_BYTES];
    ours_listen_here(o, address);
    two_tell(address);
}

void ours_dial(const ours *o, const char *address)
{
    pea_error why = {.text = ""};
    ours_must(pea_node_connect(o->node, address, PEA_DIAL(.again = true), NULL, &why), &why);
}

void ours_dial_next(ours *o)
{
    if (o->to_dial == 0)
        return;
    o->to_dial--;
    ours_dial(o, o->address);
}

void ours_dial_all(ours *o, const char *address, unsigned n)
{
    o->address = address;
    o->to_dial = n;
    for (unsigned i = 0; i < IN_THE_MAKING; i++)
        ours_dial_next(o);
}
