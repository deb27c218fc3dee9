/* SPDX-License-Identifier: MIT */
/* peapod's side of the interoperability tests: one end of a Noise connection in a foreign mode, on the public API
 * alone. It says and prints what snow-peer says and prints (README.md beside it), so that either may stand on either
 * side. Not an example: examples/ shows native mode, which people should use. */
#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "peapod/peapod.h"

/* A whole run takes seconds; this only keeps a peer that hangs from hanging the test. */
#define DEADLINE_S 30.0

#define SIZES_MAX 4u
#define MESSAGE_MAX 1000000u

static const char USAGE[] = "usage: interop_peer listen|connect ADDR --protocol NAME --static HEX\n"
                            "           [--remote HEX] [--psk HEX] [--prologue TEXT] [--mode stream|records|pea2pea]\n";

/* What is said in a mode: the side that dialled sends messages of these sizes and awaits the echo of all but the first
 * `unechoed`. */
struct dialogue {
    const char *name;
    pea_mode mode;
    size_t unechoed; /* pea2pea makes no record of an empty message, so it is not asked to send one */
    size_t sizes[SIZES_MAX];
};

static const struct dialogue DIALOGUES[] = {
    {"stream", PEA_STREAM, 0, {0, 1, 65519, 1000000}},
    {"records", PEA_RECORDS, 0, {0, 1, 1000, 65519}},
    {"pea2pea", PEA_RECORDS, 1, {0, 1, 1000, 65519}},
};

struct options {
    bool listen;
    const char *addr;
    const char *protocol;
    const char *prologue;
    const struct dialogue *dialogue;
    bool has_secret, has_remote, has_psk;
    uint8_t secret[PEA_KEY_BYTES], remote[PEA_KEY_BYTES], psk[32];
};

struct app {
    const struct options *opts;
    struct ev_loop *loop;
    size_t sent, echoed; /* of the dialogue's sizes */
    bool done;           /* everything that should happen did */
};

static uint8_t scratch[MESSAGE_MAX];

/* The payload of a message of this length: both sides know it. */
static uint8_t pattern(size_t i, size_t len)
{
    return (uint8_t)(i * 31 + len);
}

static void give_up(struct app *app, const char *what)
{
    fprintf(stderr, "interop_peer: %s\n", what);
    app->done = false;
    ev_break(app->loop, EVBREAK_ALL);
}

static void give_up_err(struct app *app, const char *what, pea_err err)
{
    fprintf(stderr, "interop_peer: %s: %s\n", what, pea_err_text(err));
    app->done = false;
    ev_break(app->loop, EVBREAK_ALL);
}

/* ---- The side that dialled ---- */

/* All messages at once: before the last of them the queue is still below its high-water mark. */
static void ask(struct app *app, pea_conn *conn)
{
    const struct dialogue *dialogue = app->opts->dialogue;
    for (; app->sent < SIZES_MAX; app->sent++) {
        size_t len = dialogue->sizes[app->sent];
        for (size_t i = 0; i < len; i++)
            scratch[i] = pattern(i, len);
        pea_err err = pea_conn_send(conn, scratch, len);
        if (err != PEA_OK) {
            give_up_err(app, "sending", err);
            return;
        }
    }
}

static void check_echo(struct app *app, pea_conn *conn, const uint8_t *data, size_t len)
{
    size_t number = app->opts->dialogue->unechoed + app->echoed;
    if (number >= app->sent) {
        give_up(app, "a message that nobody asked for");
        return;
    }
    size_t expected = app->opts->dialogue->sizes[number];
    if (len != expected) {
        fprintf(stderr, "interop_peer: %zu bytes came back for %zu\n", len, expected);
        give_up(app, "the echo has the wrong length");
        return;
    }
    for (size_t i = 0; i < len; i++) {
        if (data[i] != pattern(i, len)) {
            give_up(app, "the echo is not what was sent");
            return;
        }
    }
    printf("ok %zu\n", len);
    app->echoed++;
    if (number + 1 == SIZES_MAX) {
        app->done = true;
        pea_conn_close(conn, PEA_CODE_NORMAL, NULL);
    }
}

/* ---- The side that listened ---- */

/* The peer has at most 64 KiB of echoes to come before it waits for them, so the queue takes them. */
static void echo(struct app *app, pea_conn *conn, const uint8_t *data, size_t len)
{
    printf("received %zu\n", len);
    pea_err err = pea_conn_send(conn, data, len);
    if (err != PEA_OK)
        give_up_err(app, "echoing", err);
}

/* ---- Callbacks ---- */

static void on_connect(pea_conn *conn, void *user)
{
    struct app *app = user;
    const pea_peer *peer = pea_conn_peer(conn);
    if (peer == NULL && app->opts->has_remote) {
        give_up(app, "ready, but nobody was authenticated");
        return;
    }
    printf(peer != NULL ? "remote " : "remote none");
    for (size_t i = 0; peer != NULL && i < PEA_ID_BYTES; i++)
        printf("%02x", peer->id[i]);
    printf("\n");
    if (!app->opts->listen)
        ask(app, conn);
}

static void on_message(pea_conn *conn, const uint8_t *data, size_t len, void *user)
{
    struct app *app = user;
    if (app->opts->listen)
        echo(app, conn, data, len);
    else
        check_echo(app, conn, data, len);
}

/* The peer's end of the stream is all the end there is in a foreign mode: nothing authenticates it, and the reason has
 * to say so. */
static void on_disconnect(pea_conn *conn, const pea_reason *reason, void *user)
{
    struct app *app = user;
    (void)conn;
    char text[PEA_REASON_TEXT_BYTES];
    bool by_peer = reason->origin == PEA_BY_PEER && reason->err == PEA_EOF_UNAUTHENTICATED;
    bool by_us = reason->origin == PEA_BY_USER && reason->err == PEA_OK;
    if (app->opts->listen && by_peer) {
        printf("ended\n");
        app->done = true;
    } else if (app->opts->listen || !by_us) {
        give_up(app, pea_reason_format(reason, text));
    }
    ev_break(app->loop, EVBREAK_ALL);
}

static void on_connect_failed(pea_node *node, const pea_conn_info *info, const pea_reason *reason, void *user)
{
    (void)node;
    (void)info;
    char text[PEA_REASON_TEXT_BYTES];
    give_up(user, pea_reason_format(reason, text));
}

static void on_deadline(struct ev_loop *loop, ev_timer *timer, int revents)
{
    (void)loop;
    (void)revents;
    give_up(timer->data, "not finished in time");
}

/* ---- The command line ---- */

static bool parse_key(const char *name, const char *hex, uint8_t key[32], bool *given)
{
    bool good = strlen(hex) == 64 && strspn(hex, "0123456789abcdefABCDEF") == 64;
    for (size_t i = 0; good && i < 32; i++) {
        char digits[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        key[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    if (!good)
        fprintf(stderr, "interop_peer: %s wants 64 hexadecimal digits\n", name);
    *given = good;
    return good;
}

static const struct dialogue *find_dialogue(const char *name)
{
    for (size_t i = 0; i < sizeof(DIALOGUES) / sizeof(DIALOGUES[0]); i++) {
        if (strcmp(DIALOGUES[i].name, name) == 0)
            return &DIALOGUES[i];
    }
    fprintf(stderr, "interop_peer: --mode is stream, records or pea2pea, not \"%s\"\n", name);
    return NULL;
}

static bool parse_option(struct options *opts, const char *name, const char *value)
{
    if (strcmp(name, "--static") == 0)
        return parse_key(name, value, opts->secret, &opts->has_secret);
    if (strcmp(name, "--remote") == 0)
        return parse_key(name, value, opts->remote, &opts->has_remote);
    if (strcmp(name, "--psk") == 0)
        return parse_key(name, value, opts->psk, &opts->has_psk);
    if (strcmp(name, "--protocol") == 0)
        opts->protocol = value;
    else if (strcmp(name, "--prologue") == 0)
        opts->prologue = value;
    else if (strcmp(name, "--mode") == 0)
        return (opts->dialogue = find_dialogue(value)) != NULL;
    else {
        fprintf(stderr, "interop_peer: %s is not an option\n%s", name, USAGE);
        return false;
    }
    return true;
}

static bool parse_options(struct options *opts, int argc, char **argv)
{
    *opts = (struct options){.prologue = "", .dialogue = &DIALOGUES[0]};
    bool listens = argc > 1 && strcmp(argv[1], "listen") == 0;
    if (argc < 3 || argc % 2 == 0 || (!listens && strcmp(argv[1], "connect") != 0)) {
        fputs(USAGE, stderr);
        return false;
    }
    opts->listen = listens;
    opts->addr = argv[2];
    for (int i = 3; i < argc; i += 2) {
        if (!parse_option(opts, argv[i], argv[i + 1]))
            return false;
    }
    if (opts->protocol == NULL || !opts->has_secret) {
        fprintf(stderr, "interop_peer: --protocol or --static is missing\n%s", USAGE);
        return false;
    }
    return true;
}

/* ---- Putting it together ---- */

static pea_err make_chain(pea_chain **chain, const struct options *opts, pea_error *why)
{
    pea_identity *identity = NULL;
    pea_err err = pea_identity_from_secret(&identity, opts->secret, why);
    if (err != PEA_OK)
        return err;
    err = pea_chain_new(chain, PEA_CHAIN(.mode = opts->dialogue->mode), why);
    if (err == PEA_OK) {
        pea_span prologue = {(const uint8_t *)opts->prologue, strlen(opts->prologue)};
        const uint8_t *psk = opts->has_psk ? opts->psk : NULL;
        bool records = opts->dialogue->mode == PEA_RECORDS;
        pea_noise_opts *noise =
            PEA_NOISE(.protocol = opts->protocol, .identity = identity, .psk = psk, .prologue = prologue,
                      .record_preserving = records, .remote_static = opts->has_remote ? opts->remote : NULL);
        err = pea_chain_noise(*chain, noise, why);
    }
    pea_identity_unref(identity);
    return err;
}

/* Without --remote any peer is wanted: pea2pea's example makes a new key each time, and some patterns prove none. */
static pea_err make_trust(pea_trust **trust, const struct options *opts, const pea_peer *remote, pea_error *why)
{
    pea_err err = pea_trust_new(trust);
    if (err != PEA_OK)
        return err;
    if (opts->has_remote)
        return pea_trust_allow(*trust, remote, NULL, NULL, why);
    pea_trust_any(*trust);
    return PEA_OK;
}

static pea_err listen_or_connect(pea_node *node, const struct options *opts, const pea_peer *remote, pea_error *why)
{
    if (!opts->listen)
        return pea_node_connect(node, opts->addr, PEA_DIAL(.expect = opts->has_remote ? remote : NULL), NULL, why);
    pea_listener *listener = NULL;
    pea_err err = pea_node_listen(node, opts->addr, NULL, &listener, why);
    if (err == PEA_OK) {
        char text[PEA_ADDR_TEXT_BYTES];
        printf("listening %s\n", pea_addr_format(pea_listener_addr(listener), text));
    }
    return err;
}

static const pea_node_callbacks CALLBACKS = {
    .on_connect = on_connect,
    .on_message = on_message,
    .on_disconnect = on_disconnect,
    .on_connect_failed = on_connect_failed,
};

static bool run(const struct options *opts)
{
    struct app app = {.opts = opts, .loop = ev_loop_new(EVFLAG_AUTO)};
    pea_peer remote = {.kind = PEA_PEER_NOISE};
    pea_error why = {0};
    pea_chain *chain = NULL;
    pea_trust *trust = NULL;
    pea_runtime *runtime = NULL;
    pea_node *node = NULL;
    ev_timer deadline;
    if (app.loop == NULL) {
        fprintf(stderr, "interop_peer: no event loop\n");
        return false;
    }
    ev_timer_init(&deadline, on_deadline, DEADLINE_S, 0.0);
    deadline.data = &app;
    ev_timer_start(app.loop, &deadline);
    memcpy(remote.id, opts->remote, sizeof(remote.id));

    pea_err err = make_chain(&chain, opts, &why);
    if (err == PEA_OK)
        err = make_trust(&trust, opts, &remote, &why);
    if (err == PEA_OK)
        err = pea_runtime_new(&runtime, PEA_RUNTIME(.loop = app.loop, .log = pea_log_stderr), &why);
    if (err == PEA_OK)
        err = pea_node_new(&node, runtime,
                           PEA_NODE(.chain = chain, .policy = pea_trust_policy(trust), .on = &CALLBACKS, .user = &app),
                           &why);
    if (err == PEA_OK)
        err = listen_or_connect(node, opts, &remote, &why);
    if (err == PEA_OK)
        ev_run(app.loop, 0);
    else
        fprintf(stderr, "interop_peer: %s: %s\n", pea_err_text(err), why.text);

    bool done = app.done; /* pea_node_free() may still call back */
    pea_node_free(node);
    if (pea_runtime_free(runtime) != PEA_OK) {
        fprintf(stderr, "interop_peer: the runtime still has nodes\n");
        done = false;
    }
    pea_trust_unref(trust);
    pea_chain_unref(chain);
    ev_timer_stop(app.loop, &deadline);
    ev_loop_destroy(app.loop);
    return done;
}

int main(int argc, char **argv)
{
    struct options opts;
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    if (!parse_options(&opts, argc, argv))
        return 2;
    return run(&opts) ? EXIT_SUCCESS : EXIT_FAILURE;
}
