/* SPDX-License-Identifier: MIT */
/* A stream of bytes between a connection and two descriptors, each direction by itself. What is read goes as
 * messages of one block, from the block itself; what comes is written from where it was decrypted. Who cannot go
 * on stops the other: a full queue stops the reading, a full descriptor pauses the connection.
 *
 * The beginning: who dialled says so, with the first bytes of his own; whoever only looked in (`probe`) began
 * nothing, no command was run for him and no input lost.
 *
 * The end: an empty message says that the input has ended, and the other end's output may end. END says more: all
 * that came is written, and nothing follows. Two ENDs, and both ends know that everything has arrived, not only
 * left. A foreign peer knows no such message: there the end of the stream is all that is said. */
#include "stream_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* Bytes of a message: it fills a write of the library's, which then lends it instead of copying it. */
#define BLOCK_BYTES 61440u
#define HELLO "peapod stream 1" /* the first message of who dialled */
#define BLOCKS_PER_EVENT 16u    /* a busy stream lets the others have their turn */
#define HIGH_WATER (128u << 10) /* bytes queued, above which reading waits: two blocks */
#define LINGER_MS 10000u        /* what is queued when one end fails still goes out */

struct tool_stream {
    struct ev_loop *loop;
    pea_conn *conn; /* NULL: it has ended */
    tool_end in, out;
    bool one_socket; /* both are the same */
    ev_io readable, writable;
    uint8_t *rest; /* what `out` has not taken yet, while the connection is paused; NULL: nothing */
    size_t rest_at, rest_len;
    bool foreign, follows, holds_end, may_stop, read_all;
    char failure[128];        /* said instead of the end */
    bool said_eof, heard_eof; /* of the inputs */
    bool said_end, heard_end; /* of all: END; a foreign peer's is both */
    bool failed;              /* the verdict is there */
    tool_verdict verdict;
    uint64_t sent, received;
    void (*on_over)(void *arg, const tool_verdict *verdict);
    void *arg;
};

static void (*begins)(pea_conn *conn, void *user); /* what the command does with a connection: it has one node */
static uint8_t block[BLOCK_BYTES];                 /* of whoever reads just now: nothing of it outlives a send */

/* ---- The end ---- */

static void give_verdict(tool_stream *s, int status, const char *text)
{
    if (s->failed)
        return;
    s->failed = true;
    s->verdict.status = status;
    (void)snprintf(s->verdict.text, sizeof s->verdict.text, "%s", text);
}

/* An application that reads a reset knows that something is missing; a plain close looks like the end. */
static void reset(const tool_end *end)
{
    if (end->kind == TOOL_END_SOCKET && end->fd >= 0)
        (void)setsockopt(end->fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1, .l_linger = 0},
                         sizeof(struct linger));
}

static void over(tool_stream *s)
{
    ev_io_stop(s->loop, &s->readable);
    ev_io_stop(s->loop, &s->writable);
    s->on_over(s->arg, &s->verdict);
    if (s->verdict.status != TOOL_OK) {
        reset(&s->in);
        reset(&s->out);
    }
    (void)tool_end_close(&s->in);
    if (!s->one_socket)
        (void)tool_end_close(&s->out);
    free(s->rest);
    free(s);
}

static void stop_reading(tool_stream *s)
{
    ev_io_stop(s->loop, &s->readable);
}

void tool_stream_fail(tool_stream *s, uint16_t code, const char *text)
{
    give_verdict(s, TOOL_FAILED, text);
    stop_reading(s);
    s->rest_len = 0;
    ev_io_stop(s->loop, &s->writable);
    if (s->conn == NULL)
        return;
    if (s->foreign) /* a farewell would be taken for the end of what was sent */
        pea_conn_abort(s->conn);
    else
        pea_conn_close(s->conn, PEA_CODE_APPLICATION | code, text);
}

static void fail_by(tool_stream *s, uint16_t code, const char *what)
{
    char text[PEA_TEXT_MAX + 1];
    (void)snprintf(text, sizeof text, "%s: %s", what, strerror(errno));
    tool_stream_fail(s, code, text);
}

/* The output is complete: whoever reads it sees the end. */
static void end_output(tool_stream *s)
{
    if (s->out.fd < 0)
        return;
    if (s->one_socket) {
        (void)shutdown(s->out.fd, SHUT_WR); /* where it fails the reading side says why */
        s->out.fd = -1;
    } else if (!tool_end_close(&s->out)) {
        fail_by(s, TOOL_CODE_OUTPUT, "the output could not be written");
    }
}

/* Our input has ended, or nobody waits for more of it. */
static void say_eof(tool_stream *s)
{
    s->said_eof = true;
    stop_reading(s);
    if (s->failure[0] != '\0') {
        tool_stream_fail(s, TOOL_CODE_COMMAND, s->failure);
        return;
    }
    pea_err err = s->foreign ? pea_conn_end(s->conn) : pea_conn_send(s->conn, block, 0);
    s->said_end = s->foreign && err == PEA_OK;
    s->said_eof = err != PEA_E_QUEUE_FULL; /* on_drain tries again */
    if (err != PEA_OK && err != PEA_E_QUEUE_FULL)
        tool_stream_fail(s, TOOL_CODE_INPUT, pea_err_text(err));
}

/* Everything is read, written and sent. */
static void say_end(tool_stream *s)
{
    pea_err err = pea_conn_end(s->conn);
    s->said_end = true;
    if (err != PEA_OK)
        tool_stream_fail(s, TOOL_CODE_OUTPUT, pea_err_text(err));
}

/* Says what has become due. */
static void settle(tool_stream *s)
{
    if (s->conn == NULL || s->failed)
        return;
    bool written = s->heard_eof && s->rest_len == 0;
    if (written)
        end_output(s);
    bool may_end = s->follows ? written : s->read_all && !s->holds_end;
    if (may_end && !s->said_eof && !s->failed)
        say_eof(s);
    if (written && s->said_eof && !s->said_end && !s->failed)
        say_end(s);
    if (s->heard_end && s->said_end && !s->failed)
        pea_conn_close(s->conn, PEA_CODE_NORMAL, "");
}

void tool_stream_release(tool_stream *s, const char *failure)
{
    s->holds_end = false;
    (void)snprintf(s->failure, sizeof s->failure, "%s", failure != NULL ? failure : "");
    settle(s);
}

/* ---- From the descriptor to the connection ---- */

/* The queue is full. A message that it refuses is what makes it call back; of an empty one nothing is lost. */
static void await_drain(tool_stream *s)
{
    stop_reading(s);
    pea_err err = pea_conn_send(s->conn, block, 0);
    if (err != PEA_E_QUEUE_FULL) /* it must not be taken for the end of the input */
        tool_stream_fail(s, TOOL_CODE_INPUT, pea_err_text(err));
}

/* One block. False: there is no more for now. */
static bool read_block(tool_stream *s)
{
    ssize_t n = tool_end_read(&s->in, block, sizeof block);
    if (n < 0 && tool_end_again(errno))
        return false;
    if (n < 0) {
        fail_by(s, TOOL_CODE_INPUT, "the input could not be read");
        return false;
    }
    if (n == 0) {
        s->read_all = true;
        stop_reading(s);
        s->follows = s->foreign && s->sent == 0; /* ^D is a word of its own; but see --foreign in the manual */
        settle(s);
        return false;
    }
    pea_err err = pea_conn_send(s->conn, block, (size_t)n);
    if (err != PEA_OK) {
        tool_stream_fail(s, TOOL_CODE_INPUT, pea_err_text(err));
        return false;
    }
    s->sent += (uint64_t)n;
    return s->in.kind != TOOL_END_STEPS && (size_t)n == sizeof block; /* less than a block: it is empty for now */
}

static void read_on(tool_stream *s)
{
    for (unsigned i = 0; i < BLOCKS_PER_EVENT; i++) {
        if (pea_conn_queued(s->conn) >= HIGH_WATER) {
            await_drain(s);
            return;
        }
        if (!read_block(s))
            return;
    }
}

static void on_readable(struct ev_loop *loop, ev_io *io, int events)
{
    tool_stream *s = io->data;
    (void)loop, (void)events;
    if (s->conn != NULL && pea_conn_state(s->conn) == PEA_READY)
        read_on(s);
    else
        stop_reading(s);
}

static void on_drain(pea_conn *conn, void *user)
{
    tool_stream *s = pea_conn_user(conn);
    (void)user;
    if (s == NULL || s->said_eof || s->failed)
        return;
    if (s->read_all) {
        settle(s);
        return;
    }
    ev_io_start(s->loop, &s->readable);
    read_on(s);
}

/* ---- From the connection to the descriptor ---- */

/* Returns the bytes that the descriptor took; SIZE_MAX: it failed, and that is said. */
static size_t write_some(tool_stream *s, const uint8_t *data, size_t len)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = s->out.fd < 0 ? (ssize_t)(len - done) : tool_end_write(&s->out, data + done, len - done);
        if (n < 0 && errno == EPIPE && s->may_stop) {
            (void)tool_end_close(&s->out);
            return len;
        }
        if (n < 0 && !tool_end_again(errno)) {
            fail_by(s, TOOL_CODE_OUTPUT, "the output could not be written");
            return SIZE_MAX;
        }
        if (n > 0)
            done += (size_t)n;
        if (n <= 0 || s->out.kind != TOOL_END_FILE)
            break; /* what took less than all is full */
    }
    s->received += done;
    return done;
}

static void on_hello(pea_conn *conn, const uint8_t *data, size_t len, void *user)
{
    if (len == strlen(HELLO) && memcmp(data, HELLO, len) == 0)
        begins(conn, user);
    else
        pea_conn_close(conn, PEA_CODE_APPLICATION | TOOL_CODE_INPUT, "this carries a stream, and nothing else");
}

static void on_message(pea_conn *conn, const uint8_t *data, size_t len, void *user)
{
    tool_stream *s = pea_conn_user(conn);
    if (s == NULL)
        on_hello(conn, data, len, user);
    if (s == NULL || s->failed)
        return;
    if (len == 0 || s->heard_eof) {
        if (s->heard_eof)
            tool_stream_fail(s, TOOL_CODE_INPUT, "the peer sent more after its end");
        s->heard_eof = true;
        settle(s);
        return;
    }
    size_t n = write_some(s, data, len);
    if (n >= len)
        return;
    s->rest = malloc(len - n);
    if (s->rest == NULL) {
        tool_stream_fail(s, TOOL_CODE_OUTPUT, "memory is exhausted");
        return;
    }
    memcpy(s->rest, data + n, len - n);
    s->rest_at = 0;
    s->rest_len = len - n;
    pea_conn_pause(conn);
    ev_io_start(s->loop, &s->writable);
}

static void on_writable(struct ev_loop *loop, ev_io *io, int events)
{
    tool_stream *s = io->data;
    (void)events;
    size_t n = write_some(s, s->rest + s->rest_at, s->rest_len);
    if (n == SIZE_MAX) {
        if (s->conn == NULL)
            over(s);
        return;
    }
    s->rest_at += n;
    s->rest_len -= n;
    if (s->rest_len > 0)
        return;
    ev_io_stop(loop, &s->writable);
    free(s->rest);
    s->rest = NULL;
    if (s->conn == NULL) {
        over(s);
        return;
    }
    pea_conn_resume(s->conn);
    settle(s);
}

static void on_end(pea_conn *conn, void *user)
{
    tool_stream *s = pea_conn_user(conn);
    (void)user;
    if (s == NULL)
        return;
    s->heard_end = true;
    s->heard_eof = s->heard_eof || s->foreign;
    settle(s);
}

/* Whether both ends know that all is well. */
static bool is_complete(const tool_stream *s, const pea_reason *reason)
{
    if (!s->foreign)
        return s->said_end && s->heard_end;
    bool heard = s->heard_end || (reason->origin == PEA_BY_PEER && (reason->err == PEA_OK || reason->err == PEA_EOF));
    return heard && (s->said_end || s->follows) && reason->err >= PEA_OK;
}

static void judge_end(tool_stream *s, const pea_reason *reason)
{
    char why[PEA_REASON_TEXT_BYTES], text[TOOL_VERDICT_BYTES];
    if (is_complete(s, reason))
        return;
    (void)pea_reason_format(reason, why);
    const char *meaning = reason->err == PEA_E_CLOSED ? "the peer gave up"
                          : !s->heard_eof             ? "what was received is cut short"
                          : !s->said_eof              ? "the peer left before everything was sent"
                                                      : "nobody knows whether everything has arrived";
    (void)snprintf(text, sizeof text, "%s: %s", meaning, why);
    give_verdict(s, TOOL_FAILED, text);
}

static void on_disconnect(pea_conn *conn, const pea_reason *reason, void *user)
{
    tool_stream *s = pea_conn_user(conn);
    (void)user;
    if (s == NULL)
        return;
    pea_conn_set_user(conn, NULL);
    s->conn = NULL;
    stop_reading(s);
    judge_end(s, reason);
    if (s->rest_len > 0 && reason->origin != PEA_BY_SHUTDOWN) /* what has come is good, and is written */
        return;
    over(s);
}

/* ---- Making one ---- */

tool_stream *tool_stream_new(pea_conn *conn, const tool_stream_opts *opts)
{
    tool_stream *s = calloc(1, sizeof *s);
    if (s == NULL) {
        tool_end in = opts->in, out = opts->out;
        bool same = in.fd == out.fd;
        (void)tool_end_close(&in);
        if (!same)
            (void)tool_end_close(&out);
        pea_conn_abort(conn);
        return NULL;
    }
    s->loop = opts->loop;
    s->conn = conn;
    s->in = opts->in;
    s->out = opts->out;
    s->one_socket = s->in.fd == s->out.fd;
    s->foreign = opts->foreign;
    s->follows = opts->follows;
    s->holds_end = opts->holds_end;
    s->may_stop = opts->may_stop;
    s->on_over = opts->on_over;
    s->arg = opts->arg;
    ev_io_init(&s->readable, on_readable, s->in.fd, EV_READ);
    ev_io_init(&s->writable, on_writable, s->out.fd, EV_WRITE);
    s->readable.data = s->writable.data = s;
    pea_conn_set_user(conn, s);
    ev_io_start(s->loop, &s->readable);
    return s;
}

void tool_stream_counts(const tool_stream *s, uint64_t *sent, uint64_t *received)
{
    *sent = s->sent;
    *received = s->received;
}

static void on_connect(pea_conn *conn, void *user)
{
    if (pea_conn_side(conn) == PEA_RESPONDER)
        return; /* until there is a hello */
    if (pea_conn_send(conn, HELLO, strlen(HELLO)) == PEA_OK)
        begins(conn, user);
    else
        pea_conn_abort(conn);
}

int tool_stream_node(pea_node **node, pea_runtime *runtime, const tool_security *security, pea_mode mode,
                     pea_node_callbacks *on, void *user)
{
    pea_error why = {.code = PEA_OK};
    pea_codec *codec = NULL;
    begins = on->on_connect;
    if (mode == PEA_NATIVE)
        on->on_connect = on_connect;
    on->on_message = on_message;
    on->on_drain = on_drain;
    on->on_end = on_end;
    on->on_disconnect = on_disconnect;
    pea_err err =
        mode == PEA_NATIVE ? pea_codec_length(&codec, PEA_LENGTH(.max = BLOCK_BYTES), &why) : pea_codec_raw(&codec);
    if (err == PEA_OK)
        err = pea_node_new(node, runtime,
                           PEA_NODE(.chain = security->chain, .codec = codec,
                                    .policy = pea_trust_policy(security->trust), .on = on, .user = user,
                                    .half_close = true, .high_water = HIGH_WATER, .linger_ms = LINGER_MS,
                                    .partial_timeout_ms = PEA_NEVER, .write_timeout_ms = PEA_NEVER),
                           &why);
    pea_codec_unref(codec);
    return err == PEA_OK ? TOOL_OK : tool_fail_why(NULL, &why);
}
