/* SPDX-License-Identifier: MIT */
/* peapod listen: one authenticated connection to standard input and output, or each of them to a command. */
#include "talk_priv.h"

static tool_talk talk;
static pea_listener *listener;
static int status = TOOL_FAILED; /* of the one connection; TOOL_OK once a command is served */

static const struct poptOption options[] = {
    TOOL_SECURITY_OPTIONS,
    TOOL_TALK_OPTIONS,
    POPT_TABLEEND,
};

static void on_over(int of_connection)
{
    if (tool_talk_said.exec != NULL)
        return; /* the next one */
    status = of_connection;
    ev_break(EV_DEFAULT, EVBREAK_ALL);
}

static void on_connect(pea_conn *conn, void *user)
{
    (void)user;
    if (tool_talk_said.exec == NULL && listener == NULL) {
        pea_conn_close(conn, PEA_CODE_APPLICATION | TOOL_CODE_BUSY, "another peer was faster");
        return;
    }
    if (tool_talk_said.exec == NULL) {
        pea_node_unlisten(talk.node, listener);
        listener = NULL;
    }
    tool_talk_begin(&talk, conn);
}

/* Strangers do not end it. */
static void on_connect_failed(pea_node *node, const pea_conn_info *info, const pea_reason *reason, void *user)
{
    (void)node, (void)user;
    tool_say_kept_out(info, reason, reason->origin != PEA_BY_SHUTDOWN);
}

static int serve(const char *address)
{
    char addr[PEA_ADDR_TEXT_BYTES], id[PEA_PEER_TEXT_BYTES];
    pea_node_callbacks on = {.on_connect = on_connect, .on_connect_failed = on_connect_failed};
    pea_error why = {.code = PEA_OK};
    talk.on_over = on_over;
    int opened = tool_talk_open(&talk, &on);
    if (opened != TOOL_OK)
        return opened;
    if (pea_node_listen(talk.node, address, NULL, &listener, &why) != PEA_OK)
        return tool_fail_why(address, &why);
    if (!tool_talk_said.quiet)
        tool_say("listening on %s as %s", pea_addr_format(pea_listener_addr(listener), addr),
                 pea_peer_format(&talk.security.me, id));
    if (tool_talk_said.exec != NULL)
        status = TOOL_OK;
    ev_run(EV_DEFAULT, 0);
    return status;
}

int tool_listen(int argc, char **argv)
{
    static const tool_usage usage = {
        .arguments = "ADDR",
        .examples = "  peapod listen --key bob.key --expect noise:ALICE 0.0.0.0:4000 > file\n"
                    "  tar c folder | peapod listen --key bob.key --trust authorized_peers '[::]:4000'\n"
                    "  peapod listen --key bob.key --trust authorized_peers --exec 'date' unix:/run/date\n",
        .options = options,
        .least = 1,
        .most = 1,
    };
    const char *const *args;
    int result;
    if (!tool_options(&usage, argc, argv, &args, &result))
        return result;
    result = serve(args[0]);
    tool_talk_close(&talk);
    tool_options_done(options);
    return result;
}
