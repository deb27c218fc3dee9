/* SPDX-License-Identifier: MIT */
/* What `listen`, `connect` and `forward` share: a stream of bytes between a connection and descriptors. */
#ifndef PEAPOD_STREAM_PRIV_H
#define PEAPOD_STREAM_PRIV_H

#include <ev.h>
#include <sys/types.h>

#include "tool_priv.h"

/* ---- Descriptors: descriptor.c ---- */

typedef enum tool_end_kind {
    TOOL_END_FILE,   /* a regular file: it never blocks for long */
    TOOL_END_SOCKET, /* by recv(2) and send(2), told not to wait */
    TOOL_END_PIPE,   /* an open file of our own, which does not wait */
    TOOL_END_STEPS   /* one that waits: one step each time that poll(2) says so */
} tool_end_kind;

typedef struct tool_end {
    int fd;    /* what is read or written; -1: closed */
    int given; /* the descriptor that somebody gave us; -1: none */
    tool_end_kind kind;
    bool terminal;
    off_t size; /* of a regular file */
} tool_end;

/* One that was there when the program started. */
void tool_end_given(tool_end *end, int fd, bool writes);

/* One that was made here, and does not block (a socket may). */
void tool_end_own(tool_end *end, int fd, bool socket);

/* As read(2) and write(2), never interrupted; a socket raises no SIGPIPE. */
ssize_t tool_end_read(const tool_end *end, void *data, size_t len);
ssize_t tool_end_write(const tool_end *end, const void *data, size_t len);

/* Whether an errno of these only means: not now. */
bool tool_end_again(int sys);

/* Closes it. False, with errno: what was written may be lost. Closed already is fine. */
bool tool_end_close(tool_end *end);

/* ---- Streams: stream.c ---- */

/* What CLOSE says beside PEA_CODE_APPLICATION when one end fails and the other must know. */
enum { TOOL_CODE_INPUT = 1, TOOL_CODE_OUTPUT, TOOL_CODE_SERVICE, TOOL_CODE_COMMAND, TOOL_CODE_BUSY };

#define TOOL_VERDICT_BYTES (PEA_REASON_TEXT_BYTES + 64) /* a reason, and what it means here */

/* How it ended. */
typedef struct tool_verdict {
    int status;                    /* TOOL_OK: all bytes of both directions have arrived, and both ends meant it */
    char text[TOOL_VERDICT_BYTES]; /* else a sentence */
} tool_verdict;

typedef struct tool_stream tool_stream;

typedef struct tool_stream_opts {
    struct ev_loop *loop;
    tool_end in, out; /* the stream's from here on; the same socket is both */
    bool foreign;     /* the peer is not ours: it is told nothing but the end */
    bool follows;     /* our end follows the peer's: a person types, and has nothing to add */
    bool holds_end;   /* the end of the input is not said before tool_stream_release() */
    bool may_stop;    /* who reads the output may have had enough: that is no failure, and the rest is dropped */
    /* once, at the end, before the descriptors are closed; the stream is freed behind it */
    void (*on_over)(void *arg, const tool_verdict *verdict);
    void *arg;
} tool_stream_opts;

/* A node for streams: half-close, messages of one block, and no deadline for peers who are slow. `on` has
 * on_connect, which is called once the peer has something to carry, and on_connect_failed; the rest is filled in.
 * The connections' pea_conn_user() is a stream, or NULL: then they are ignored. TOOL_OK | another status, and the
 * error is printed. */
int tool_stream_node(pea_node **node, pea_runtime *runtime, const tool_security *security, pea_mode mode,
                     pea_node_callbacks *on, void *user);

/* Begins on a connection that is READY. NULL: memory is exhausted; the descriptors are closed and the connection is
 * aborted. */
tool_stream *tool_stream_new(pea_conn *conn, const tool_stream_opts *opts);

/* The end that was held may be said, once all of the input is read: as an end, or (failure not NULL) as a failure of
 * the command that it comes from. */
void tool_stream_release(tool_stream *stream, const char *failure);

/* Gives up: the peer is told by this code and text, and so is on_over(). */
void tool_stream_fail(tool_stream *stream, uint16_t code, const char *text);

/* Bytes so far: read and taken by the connection; received and written. */
void tool_stream_counts(const tool_stream *stream, uint64_t *sent, uint64_t *received);

#endif
