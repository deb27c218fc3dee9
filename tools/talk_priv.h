/* SPDX-License-Identifier: MIT */
/* What `listen` and `connect` share: a connection's bytes go to and from standard input and output, or a command. */
#ifndef PEAPOD_TALK_PRIV_H
#define PEAPOD_TALK_PRIV_H

#include "stream_priv.h"

/* --exec, --foreign, --quiet. Include it by TOOL_TALK_OPTIONS. */
typedef struct tool_talk_texts {
    tool_texts exec;
    int foreign, quiet;
} tool_talk_texts;

extern tool_talk_texts tool_talk_said;
extern const struct poptOption tool_talk_options[];
#define TOOL_TALK_OPTIONS                                                                                     \
    {                                                                                                         \
        NULL, '\0', POPT_ARG_INCLUDE_TABLE, (void *)(uintptr_t)tool_talk_options, 0, "What is carried:", NULL \
    }

/* What runs: one runtime and one node of this process. */
typedef struct tool_talk {
    tool_security security;
    pea_runtime *runtime;
    pea_node *node;
    unsigned running;            /* connections that are carried now */
    void (*on_over)(int status); /* after each of them; what went wrong is printed by then */
    ev_signal signals[2];
} tool_talk;

/* Opens security, runtime and node, by the options; SIGINT and SIGTERM end them in good order. `talk` stays where it
 * is until tool_talk_close(). TOOL_OK | another status, and the error is printed. */
int tool_talk_open(tool_talk *talk, pea_node_callbacks *on);

/* Frees it; what tool_talk_open() left half made, too. */
void tool_talk_close(tool_talk *talk);

/* In on_connect: carries this connection. */
void tool_talk_begin(tool_talk *talk, pea_conn *conn);

/* "TEXT" and who it is, unless --quiet. */
void tool_talk_tell(const char *text, const pea_conn_info *who);

#endif
