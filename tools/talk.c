/* SPDX-License-Identifier: MIT */
/* Carries connections of `listen` and `connect`: who they are with, to what, and what becomes of them. */
#include "talk_priv.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "child_priv.h"
#include "progress_priv.h"

tool_talk_texts tool_talk_said;

const struct poptOption tool_talk_options[] = {
    {"exec", 'x', POPT_ARG_ARGV, &tool_talk_said.exec, 0,
     "run this by the shell for each connection, instead of standard input and output", "COMMAND"},
    {"foreign", '\0', POPT_ARG_NONE, &tool_talk_said.foreign, 0,
     "the peer is another program: the bare stream inside of Noise or TLS", NULL},
    {"quiet", 'q', POPT_ARG_NONE, &tool_talk_said.quiet, 0, "say nothing but errors", NULL},
    POPT_TABLEEND,
};

/* One connection that is carried. */
typedef struct carried {
    tool_talk *talk;
    tool_stream *stream; /* NULL: over */
    tool_progress progress;
    tool_child child;
    ev_child watch; /* active while the command runs */
} carried;

/* ---- One connection ---- */

static void release(carried *c)
{
    if (c->stream == NULL && !ev_is_active(&c->watch))
        free(c);
}

static void on_over(void *arg, const tool_verdict *verdict)
{
    carried *c = arg;
    tool_progress_end(&c->progress);
    if (ev_is_active(&c->watch))
        tool_child_end(&c->child);
    int status = verdict->status == TOOL_OK ? TOOL_OK : tool_fail(verdict->status, "%s", verdict->text);
    c->stream = NULL;
    c->talk->running--;
    c->talk->on_over(status);
    release(c);
}

static void on_exit_of_child(struct ev_loop *loop, ev_child *watch, int events)
{
    carried *c = watch->data;
    char text[64];
    (void)events;
    ev_child_stop(loop, watch);
    bool failed = tool_child_failed(watch->rstatus, text, sizeof text);
    if (c->stream != NULL)
        tool_stream_release(c->stream, failed ? text : NULL);
    release(c);
}

/* A command for this connection. */
static bool use_command(carried *c, const pea_conn_info *who, tool_stream_opts *opts)
{
    if (!tool_child_start(&c->child, tool_text(tool_talk_said.exec), who)) {
        (void)tool_fail(TOOL_FAILED, "the command could not be started: %s", strerror(errno));
        return false;
    }
    ev_child_init(&c->watch, on_exit_of_child, c->child.pid, 0);
    c->watch.data = c;
    ev_child_start(opts->loop, &c->watch);
    opts->in = c->child.from;
    opts->out = c->child.to;
    opts->holds_end = opts->may_stop = true;
    return true;
}

static void use_standard(tool_stream_opts *opts)
{
    tool_end_given(&opts->in, STDIN_FILENO, false);
    tool_end_given(&opts->out, STDOUT_FILENO, true);
    opts->follows = opts->in.terminal;
}

void tool_talk_begin(tool_talk *talk, pea_conn *conn)
{
    pea_conn_info who;
    tool_stream_opts opts = {.loop = EV_DEFAULT, .foreign = tool_talk_said.foreign != 0, .on_over = on_over};
    carried *c = calloc(1, sizeof *c);
    pea_conn_snapshot(conn, &who);
    tool_talk_tell("connected to", &who);
    opts.arg = c;
    if (c == NULL || (tool_talk_said.exec != NULL && !use_command(c, &who, &opts))) {
        free(c);
        pea_conn_close(conn, PEA_CODE_APPLICATION | TOOL_CODE_COMMAND, "the command could not be started");
        talk->on_over(TOOL_FAILED);
        return;
    }
    if (tool_talk_said.exec == NULL)
        use_standard(&opts);
    c->talk = talk;
    c->stream = tool_stream_new(conn, &opts);
    if (c->stream == NULL) {
        release(c);
        talk->on_over(tool_fail(TOOL_FAILED, "memory is exhausted"));
        return;
    }
    talk->running++;
    if (tool_talk_said.exec == NULL && !tool_talk_said.quiet && !opts.out.terminal)
        tool_progress_begin(&c->progress, opts.loop, c->stream, opts.in.size);
}

void tool_talk_tell(const char *text, const pea_conn_info *who)
{
    char id[PEA_PEER_TEXT_BYTES], addr[PEA_ADDR_TEXT_BYTES];
    if (tool_talk_said.quiet)
        return;
    tool_say("%s %s%s%s, %s", text, pea_peer_format(&who->peer, id), who->peer.name[0] != '\0' ? " " : "",
             who->peer.name, pea_addr_format(&who->remote, addr));
}

/* ---- All of it ---- */

static void on_signal(struct ev_loop *loop, ev_signal *signal, int events)
{
    const tool_talk *talk = signal->data;
    (void)events;
    if (talk->node == NULL || pea_node_shutdown(talk->node, 0, NULL, NULL) != PEA_OK)
        ev_break(loop, EVBREAK_ALL);
}

int tool_talk_open(tool_talk *talk, pea_node_callbacks *on)
{
    pea_mode mode = tool_talk_said.foreign ? PEA_STREAM : PEA_NATIVE;
    pea_error why = {.code = PEA_OK};
    int status = tool_security_open(&talk->security, mode);
    if (status != TOOL_OK)
        return status;
    (void)signal(SIGPIPE, SIG_IGN);
    pea_runtime_opts *opts = PEA_RUNTIME(.loop = EV_DEFAULT, .log = pea_log_stderr, .log_level = PEA_LOG_WARNING);
    if (pea_runtime_new(&talk->runtime, opts, &why) != PEA_OK)
        return tool_fail_why(NULL, &why);
    status = tool_stream_node(&talk->node, talk->runtime, &talk->security, mode, on, talk);
    for (int i = 0; i < 2 && status == TOOL_OK; i++) {
        ev_signal_init(&talk->signals[i], on_signal, i == 0 ? SIGINT : SIGTERM);
        talk->signals[i].data = talk;
        ev_signal_start(EV_DEFAULT, &talk->signals[i]);
        ev_unref(EV_DEFAULT);
    }
    return status;
}

void tool_talk_close(tool_talk *talk)
{
    pea_node_free(talk->node);
    pea_runtime_free(talk->runtime);
    tool_security_close(&talk->security);
}
