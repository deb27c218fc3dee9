/* SPDX-License-Identifier: MIT */
/* peapod mesh: a node of a mesh that a file describes. It dials its peers again and again as the address book
 * says, what happens is a line of output, and a line of input goes to everybody who is connected. */
#include <errno.h>
#include <ev.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "json_priv.h"
#include "mesh_file_priv.h"
#include "stream_priv.h"

#define LINE_BYTES 65536u /* of a message */

static int json;

static const struct poptOption options[] = {
    {"json", 'j', POPT_ARG_NONE, &json, 0, "an event is a JSON object in a line", NULL},
    POPT_TABLEEND,
};

static tool_mesh_file file;
static tool_security security;
static pea_runtime *runtime;
static pea_node *node;
static ev_timer redial;
static tool_end input;
static ev_io readable;
static char line[LINE_BYTES + 1]; /* what was read of the next one */
static size_t line_len;
static bool line_too_long, ending;

/* ---- Events ---- */

static void tell(const char *event, const pea_peer *peer, const pea_addr *addr)
{
    char id[PEA_PEER_TEXT_BYTES], where[PEA_ADDR_TEXT_BYTES], shown[4 * PEA_NAME_MAX + 1];
    bool known = peer != NULL && peer->kind != PEA_PEER_NONE;
    if (json) {
        tool_json_string(stdout, "event", event);
        if (known)
            tool_json_string(stdout, "peer", pea_peer_format(peer, id));
        if (known && peer->name[0] != '\0')
            tool_json_string(stdout, "name", peer->name);
        if (known && peer->role[0] != '\0')
            tool_json_string(stdout, "role", peer->role);
        if (addr != NULL && addr->family != PEA_ADDR_NONE)
            tool_json_string(stdout, "address", pea_addr_format(addr, where));
        return;
    }
    printf("%s", event);
    if (known)
        printf(" %s", pea_peer_format(peer, id));
    if (known && peer->name[0] != '\0') {
        (void)pea_text_escape(peer->name, strlen(peer->name), shown, sizeof shown);
        printf(" name=%s", shown);
    }
    if (addr != NULL && addr->family != PEA_ADDR_NONE)
        printf(" %s", pea_addr_format(addr, where));
}

/* Ends the event with what is to be said beside it; NULL: nothing. */
static void tell_end(const char *reason)
{
    if (json && reason != NULL)
        tool_json_string(stdout, "reason", reason);
    else if (reason != NULL)
        printf(": %s", reason);
    if (json)
        tool_json_end(stdout);
    else
        putchar('\n');
    (void)fflush(stdout); /* whoever reads waits for it */
}

static void tell_message(const pea_peer *peer, const uint8_t *data, size_t len)
{
    tell("message", peer, NULL);
    if (json) {
        if (tool_json_is_text(data, len))
            tool_json_text(stdout, "text", data, len);
        else
            tool_json_base64(stdout, "base64", data, len);
        tell_end(NULL);
        return;
    }
    putchar(':');
    putchar(' ');
    for (size_t i = 0; i < len; i++) { /* a piece at a time: escaped it may be four times as long */
        char shown[8];
        (void)pea_text_escape((const char *)data + i, 1, shown, sizeof shown);
        printf("%s", shown);
    }
    tell_end(NULL);
}

/* ---- The address book ---- */

static int64_t mono_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Entries of peers who are connected already, however that came, are left alone. */
static void book_ended(uint32_t id, const pea_peer *expected, const pea_peer *proven, const pea_reason *reason)
{
    const pea_conn *other = pea_node_find_peer(node, expected);
    if (other != NULL && pea_conn_state(other) == PEA_READY)
        return;
    pea_err err = pea_book_ended(file.book, id, mono_ms(), proven, reason);
    (void)err; /* it is in the book */
}

static void dial(const pea_book_entry *entry)
{
    char address[PEA_ADDR_TEXT_BYTES];
    pea_error why = {.code = PEA_OK};
    (void)pea_addr_format(entry->addr, address);
    pea_err err = pea_node_connect(node, address, PEA_DIAL(.expect = entry->peer, .name = ""), NULL, &why);
    if (err == PEA_OK || err == PEA_E_EXISTS)
        return; /* what is there already tells the book at its end */
    pea_reason reason = {.origin = PEA_BY_USER, .err = err};
    tell("failed", entry->peer, entry->addr);
    tell_end(why.text);
    book_ended(entry->id, entry->peer, NULL, &reason);
}

static void look(void)
{
    pea_book_entry entry;
    if (ending)
        return;
    while (pea_book_due(file.book, mono_ms(), &entry) == PEA_OK)
        dial(&entry);
    int64_t next = pea_book_next_ms(file.book);
    ev_timer_stop(EV_DEFAULT, &redial);
    if (next == INT64_MAX)
        return;
    int64_t wait = next - mono_ms();
    ev_timer_set(&redial, wait > 0 ? (double)wait / 1000.0 : 0., 0.);
    ev_timer_start(EV_DEFAULT, &redial);
}

static void on_redial(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop, (void)timer, (void)events;
    look();
}

/* ---- Connections ---- */

static void on_connect(pea_conn *conn, void *user)
{
    const pea_peer *peer = pea_conn_peer(conn);
    pea_book_entry entry;
    (void)user;
    tell("connected", peer, pea_conn_remote(conn));
    tell_end(NULL);
    if (pea_book_find_peer(file.book, peer, &entry) == PEA_OK) {
        pea_err err = pea_book_connected(file.book, entry.id, mono_ms());
        (void)err; /* it is in the book */
    }
    look();
}

static void on_message(pea_conn *conn, const uint8_t *data, size_t len, void *user)
{
    (void)user;
    tell_message(pea_conn_peer(conn), data, len);
}

static void on_disconnect(pea_conn *conn, const pea_reason *reason, void *user)
{
    const pea_peer *peer = pea_conn_peer(conn);
    char text[PEA_REASON_TEXT_BYTES];
    pea_book_entry entry;
    (void)user;
    tell("disconnected", peer, pea_conn_remote(conn));
    tell_end(pea_reason_format(reason, text));
    if (!ending && pea_book_find_peer(file.book, peer, &entry) == PEA_OK)
        book_ended(entry.id, peer, peer, reason);
    look();
}

/* An address of the book's that is being dialled: whose? */
typedef struct search {
    const pea_addr *addr;
    pea_book_entry found; /* id 0: nobody's */
} search;

static bool is_it(const pea_book_entry *entry, void *arg)
{
    search *s = arg;
    if (entry->state == PEA_BOOK_DIALLING && pea_addr_equal(entry->addr, s->addr))
        s->found = *entry;
    return s->found.id == 0;
}

static void on_connect_failed(pea_node *of, const pea_conn_info *info, const pea_reason *reason, void *user)
{
    char text[PEA_REASON_TEXT_BYTES];
    search s = {.addr = &info->remote};
    (void)of, (void)user;
    if (info->side == PEA_INITIATOR)
        pea_book_each(file.book, is_it, &s);
    bool proven = info->peer.kind != PEA_PEER_NONE;
    tell(reason->err == PEA_E_REFUSED ? "refused" : "failed", proven ? &info->peer : s.found.peer, &info->remote);
    tell_end(pea_reason_format(reason, text));
    if (!ending && s.found.id != 0)
        book_ended(s.found.id, s.found.peer, &info->peer, reason);
    look();
}

/* ---- Input ---- */

static void on_broadcast(void *arg, const pea_broadcast_result *result)
{
    (void)arg;
    if (result->refused == 0)
        return;
    tell("unsent", NULL, NULL);
    if (json) {
        tool_json_number(stdout, "peers", result->refused);
        tell_end(NULL);
    } else {
        printf(": %u peers are too slow for it", result->refused);
        tell_end(NULL);
    }
}

static void send_line(const char *text, size_t len)
{
    pea_msg *msg = NULL;
    if (line_too_long)
        tool_say("a line of more than %u bytes was left out", LINE_BYTES);
    else if (pea_msg_new(&msg, text, len) != PEA_OK ||
             pea_node_broadcast(node, msg, NULL, on_broadcast, NULL) != PEA_OK)
        tool_say("a line was not sent: memory is exhausted, or it came too fast");
    pea_msg_unref(msg);
    line_too_long = false;
}

/* Sends the whole lines of what was read, and keeps the rest. */
static void cut_lines(void)
{
    const char *at = line, *end = line + line_len, *stop;
    while ((stop = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        send_line(at, (size_t)(stop - at));
        at = stop + 1;
    }
    line_len = (size_t)(end - at);
    memmove(line, at, line_len);
    if (line_len == sizeof line) {
        line_too_long = true;
        line_len = 0;
    }
}

static void on_readable(struct ev_loop *loop, ev_io *io, int events)
{
    (void)events;
    ssize_t n = tool_end_read(&input, line + line_len, sizeof line - line_len);
    if (n < 0 && tool_end_again(errno))
        return;
    if (n <= 0) { /* the node goes on: nobody has anything to say */
        ev_io_stop(loop, io);
        if (line_len > 0)
            send_line(line, line_len);
        line_len = 0;
        return;
    }
    line_len += (size_t)n;
    cut_lines();
}

/* ---- All of it ---- */

static void on_signal(struct ev_loop *loop, ev_signal *signal, int events)
{
    (void)signal, (void)events;
    ending = true;
    ev_io_stop(loop, &readable);
    ev_timer_stop(loop, &redial);
    if (pea_node_shutdown(node, 0, NULL, NULL) != PEA_OK)
        ev_break(loop, EVBREAK_ALL);
}

/* The file's words are what options say to other commands. */
static int open_security(void)
{
    tool_security_said = (tool_security_texts){.key = file.key.texts,
                                               .cert = file.cert.texts,
                                               .trust = file.trust.texts,
                                               .expect = file.ids.texts,
                                               .network_name = file.network_name.texts,
                                               .network_key = file.network_key.texts,
                                               .tls = file.tls};
    return tool_security_open(&security, PEA_NATIVE);
}

static int open_node(void)
{
    pea_error why = {.code = PEA_OK};
    pea_node_callbacks on = {.on_connect = on_connect,
                             .on_message = on_message,
                             .on_disconnect = on_disconnect,
                             .on_connect_failed = on_connect_failed};
    pea_codec *codec = NULL;
    pea_runtime_opts *opts = PEA_RUNTIME(.loop = EV_DEFAULT, .log = pea_log_stderr, .log_level = PEA_LOG_WARNING);
    pea_err err = pea_runtime_new(&runtime, opts, &why);
    if (err == PEA_OK)
        err = pea_codec_length(&codec, PEA_LENGTH(.max = LINE_BYTES), &why);
    if (err == PEA_OK)
        err = pea_node_new(&node, runtime,
                           PEA_NODE(.chain = security.chain, .codec = codec, .policy = pea_trust_policy(security.trust),
                                    .on = &on, .one_per_peer = true),
                           &why);
    pea_codec_unref(codec);
    for (size_t i = 0; i < file.listen.n && err == PEA_OK; i++) {
        pea_listener *listener;
        err = pea_node_listen(node, file.listen.texts[i], NULL, &listener, &why);
        if (err != PEA_OK)
            return tool_fail_why(file.listen.texts[i], &why);
        tell("listening", &security.me, pea_listener_addr(listener));
        tell_end(NULL);
    }
    return err == PEA_OK ? TOOL_OK : tool_fail_why(NULL, &why);
}

static int run(const char *path)
{
    static ev_signal signals[2];
    int status = tool_mesh_file_read(&file, path);
    if (status == TOOL_OK)
        status = open_security();
    if (status != TOOL_OK)
        return status;
    (void)signal(SIGPIPE, SIG_IGN);
    ev_timer_init(&redial, on_redial, 0., 0.);
    for (int i = 0; i < 2; i++) {
        ev_signal_init(&signals[i], on_signal, i == 0 ? SIGINT : SIGTERM);
        ev_signal_start(EV_DEFAULT, &signals[i]);
        ev_unref(EV_DEFAULT);
    }
    status = open_node();
    if (status != TOOL_OK)
        return status;
    tool_end_given(&input, STDIN_FILENO, false);
    ev_io_init(&readable, on_readable, input.fd, EV_READ);
    ev_io_start(EV_DEFAULT, &readable);
    look();
    ev_run(EV_DEFAULT, 0);
    return ferror(stdout) ? TOOL_FAILED : TOOL_OK;
}

int tool_mesh(int argc, char **argv)
{
    static const tool_usage usage = {
        .arguments = "FILE",
        .examples = "  peapod mesh mesh.conf\n"
                    "  peapod mesh --json mesh.conf < /dev/null | jq .\n"
                    "The file:\n"
                    "  key alice.key\n"
                    "  listen 10.0.0.1:4000\n"
                    "  peer noise:BOB 10.0.0.2:4000\n"
                    "  trust authorized_peers\n",
        .options = options,
        .least = 1,
        .most = 1,
    };
    const char *const *args;
    int status;
    if (!tool_options(&usage, argc, argv, &args, &status))
        return status;
    status = run(args[0]);
    pea_node_free(node);
    pea_runtime_free(runtime);
    tool_security_close(&security);
    tool_mesh_file_free(&file);
    tool_options_done(options);
    return status;
}
