/* SPDX-License-Identifier: MIT */
/* peapod connect: standard input and output, or a command, through one authenticated connection. */
#include "talk_priv.h"

static tool_talk talk;
static const char *address;
static int status = TOOL_FAILED; /* of whoever was interrupted before there was a connection */

static const struct poptOption options[] = {
    TOOL_SECURITY_OPTIONS,
    TOOL_TALK_OPTIONS,
    POPT_TABLEEND,
};

static void on_over(int of_connection)
{
    status = of_connection;
    ev_break(EV_DEFAULT, EVBREAK_ALL);
}

static void on_connect(pea_conn *conn, void *user)
{
    (void)user;
    tool_talk_begin(&talk, conn);
}

static void on_connect_failed(pea_node *node, const pea_conn_info *info, const pea_reason *reason, void *user)
{
    (void)node, (void)user;
    if (reason->err < PEA_OK)
        on_over(tool_fail_dial(address, info, reason));
    else /* an orderly end, before there was anything to be ended */
        on_over(tool_fail(TOOL_FAILED, "%s: interrupted", address));
}

static int dial(void)
{
    pea_node_callbacks on = {.on_connect = on_connect, .on_connect_failed = on_connect_failed};
    pea_error why = {.code = PEA_OK};
    talk.on_over = on_over;
    int opened = tool_talk_open(&talk, &on);
    if (opened != TOOL_OK)
        return opened;
    const pea_peer *expect = talk.security.expect.kind != PEA_PEER_NONE ? &talk.security.expect : NULL;
    if (pea_node_connect(talk.node, address, PEA_DIAL(.expect = expect), NULL, &why) != PEA_OK)
        return tool_fail_why(address, &why);
    ev_run(EV_DEFAULT, 0);
    return status;
}

int tool_connect(int argc, char **argv)
{
    static const tool_usage usage = {
        .arguments = "ADDR",
        .examples = "  peapod connect --key alice.key --expect noise:BOB bob.example:4000 < file\n"
                    "  peapod connect --key alice.key --expect noise:BOB 10.0.0.2:4000 | tar x\n",
        .options = options,
        .least = 1,
        .most = 1,
    };
    const char *const *args;
    int result;
    if (!tool_options(&usage, argc, argv, &args, &result))
        return result;
    address = args[0];
    result = dial();
    tool_talk_close(&talk);
    tool_options_done(options);
    return result;
}
