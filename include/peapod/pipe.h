/* SPDX-License-Identifier: MIT */
/* One connection without I/O: stages, transforms, channel and codec. Bytes go in, bytes and events come out; time is
 * passed in. For any event loop, for tests, fuzzers and bindings. A pipe is used by one thread at a time, and until
 * READY by the same one if its chain has TLS (contexts are parsed once a thread); it makes no system call but
 * getrandom(2).
 *
 * The rhythm, whatever happens outside:
 *   feed() what was received; next() until it says PEA_MORE; output() and sent() until there is nothing to write. */
#ifndef PEAPOD_PIPE_H
#define PEAPOD_PIPE_H

#include "peapod/msg.h"
#include "peapod/stage.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct pea_pipe pea_pipe;

#define PEA_HANDSHAKE_BUFFER_MAX 65536u /* bytes held before READY; with a transform in place one record besides */
#define PEA_HIGH_WATER_DEFAULT 131072u  /* queued bytes above which sends are refused: what waits longer turns cold */
#define PEA_LOW_WATER_DEFAULT 32768u    /* queued bytes below which DRAIN is told */

typedef struct pea_pipe_opts {
    size_t size;                 /* set by PEA_PIPE */
    pea_side side;               /* default: initiator */
    pea_codec *codec;            /* referenced; NULL: the length codec's defaults. Must be NULL with PEA_RECORDS */
    pea_policy *policy;          /* referenced; NULL: only the expected peer may connect */
    const pea_addr *remote;      /* copied; may be NULL. For the policy and stages */
    const pea_peer *expect;      /* copied; NULL: whoever the policy allows */
    const char *name;            /* an initiator's: the name that was dialled (PEA_DIAL); copied; NULL, "": none */
    uint32_t high_water;         /* bytes; 0: 128 KiB */
    uint32_t low_water;          /* bytes; 0: 32 KiB, or a quarter of high_water if that is less */
    bool half_close;             /* the peer's END leaves our direction open; default: it ends both */
    const pea_peer *expect_next; /* or this one, beside `expect`: as in PEA_DIAL (node.h); copied. NULL: nobody else */
} pea_pipe_opts;

#define PEA_PIPE(...) (&(pea_pipe_opts){.size = sizeof(pea_pipe_opts), __VA_ARGS__})
#define PEA_PIPE_INIT                                                                         \
    {                                                                                         \
        sizeof(pea_pipe_opts), PEA_INITIATOR, NULL, NULL, NULL, NULL, NULL, 0, 0, false, NULL \
    }

/* A new pipe over `chain` (referenced, and frozen). Nothing happens before the first pea_pipe_next().
 * PEA_OK | PEA_E_NOMEM | PEA_E_INVALID with a sentence: PEA_RECORDS with a codec, a chain with neither a stage nor
 * pea_chain_plain() */
PEA_API PEA_MUST_CHECK pea_err pea_pipe_new(pea_pipe **pipe, pea_chain *chain, const pea_pipe_opts *opts,
                                            pea_error *why);

/* Frees in any state; wipes secrets. NULL is allowed. */
PEA_API void pea_pipe_free(pea_pipe *pipe);

typedef enum pea_event_type {
    PEA_EVENT_READY = 1, /* both sides accepted; once, before any message */
    PEA_EVENT_MESSAGE,   /* `data`, `len`: good until the next next(), feed() or free(): it may be sent, or answered */
    PEA_EVENT_DRAIN,     /* after PEA_E_QUEUE_FULL, what is queued fell below the low-water mark */
    PEA_EVENT_END,       /* the peer sends no more; only with half_close */
    PEA_EVENT_CLOSED     /* the end, once, and the last event: `reason`, good until pea_pipe_free() */
} pea_event_type;

typedef struct pea_event {
    pea_event_type type;
    const uint8_t *data;
    size_t len;
    const pea_reason *reason;
} pea_event;

/* Lends `n` received bytes. They must stay unchanged until pea_pipe_next() says PEA_MORE, or the next
 * pea_pipe_feed(): what was not consumed by then is copied. `*taken` says how many were taken: fewer than n where the
 * pipe holds as much as it may (feed the rest later); 0 after CLOSED.
 * PEA_OK | PEA_E_NOMEM (fatal: CLOSED follows) */
PEA_API PEA_MUST_CHECK pea_err pea_pipe_feed(pea_pipe *pipe, const void *data, size_t n, size_t *taken);

/* The stream has ended (FIN). */
PEA_API void pea_pipe_feed_end(pea_pipe *pipe);

/* The transport failed: recv() or send() said `sys_errno`. CLOSED follows. `origin` is PEA_BY_READING or
 * PEA_BY_WRITING. */
PEA_API void pea_pipe_broken(pea_pipe *pipe, pea_origin origin, int sys_errno);

/* The next event. PEA_OK: `*event` is one | PEA_MORE: nothing until bytes, time, a resume or room for output come.
 * Never fails: errors are CLOSED. */
PEA_API PEA_MUST_CHECK pea_err pea_pipe_next(pea_pipe *pipe, pea_event *event);

/* Queues one message (copied). In native mode and PEA_STREAM it is framed by the codec; in PEA_RECORDS it is one
 * record.
 * PEA_OK | PEA_E_QUEUE_FULL (above high water: nothing is queued, DRAIN follows) | PEA_E_STATE (not READY, ended or
 * closing) | PEA_E_TOO_BIG | PEA_E_NOMEM (nothing queued) */
PEA_API PEA_MUST_CHECK pea_err pea_pipe_send(pea_pipe *pipe, const void *data, size_t len);

/* What to write to the wire now: at most PEA_WRITE_MAX bytes, sealed from what is queued (PEA_RECORDS: whole records).
 * Good until the next call but next() and sent().
 * PEA_OK: `*span` is not empty | PEA_MORE: nothing now | PEA_EOF: nothing now, nor ever again: shut the writing side
 * down */
PEA_API PEA_MUST_CHECK pea_err pea_pipe_output(pea_pipe *pipe, pea_span *span);

/* The first `n` bytes of the last output were written. Call it before the next output. */
PEA_API void pea_pipe_sent(pea_pipe *pipe, size_t n);

/* Payload bytes and framing that were queued and are not sealed or written yet. */
PEA_API size_t pea_pipe_queued(const pea_pipe *pipe);

/* How many bytes feed() would take now: read no more than that from the transport. 0 while too much input or output
 * waits, and after the end. */
PEA_API size_t pea_pipe_room(const pea_pipe *pipe);

/* An ordered farewell: what is queued goes out, then REJECT or CLOSE with `code` and `text` (UTF-8, at most
 * PEA_TEXT_MAX bytes, cut there; NULL: "") in native mode, the transform's END in foreign ones; then CLOSED, once the
 * peer's end or pea_pipe_abort() comes. Before READY an initiator or stage that cannot say anything just ends.
 * PEA_OK | PEA_E_STATE (closing or closed already) */
PEA_API PEA_MUST_CHECK pea_err pea_pipe_close(pea_pipe *pipe, uint16_t code, const char *text);

/* Half-close: no more messages from this side; the peer's still come. PEA_OK | PEA_E_STATE | PEA_E_UNSUPPORTED (a
 * foreign mode whose transform knows no END) */
PEA_API PEA_MUST_CHECK pea_err pea_pipe_end(pea_pipe *pipe);

/* Ends at once: nothing more is written, CLOSED follows with this origin and error. For timeouts and the like; a
 * closing pipe keeps the reason that it has. */
PEA_API void pea_pipe_abort(pea_pipe *pipe, pea_origin origin, pea_err err, const char *text);

/* Answers a wait. PEA_OK: call pea_pipe_next() | PEA_E_STALE (answered already, or not of this pipe) */
PEA_API PEA_MUST_CHECK pea_err pea_pipe_resume(pea_pipe *pipe, pea_ticket ticket, pea_err verdict);

/* Asks the policy again about a peer that was let in: after its rules changed, where no runtime does so. A refusal ends
 * the connection, and tells the peer REVOKED or EXPIRED. pea_pipe_next() asks by itself before messages that came with
 * bytes fed after the generation changed. Call pea_pipe_next() after it. */
PEA_API void pea_pipe_judge(pea_pipe *pipe);

/* Passes the time: wall_ms is what stages see. Deadlines are the driver's (conn.c has them all); mono_ms lets the
 * pipe date a partial message. */
PEA_API void pea_pipe_tick(pea_pipe *pipe, int64_t mono_ms, int64_t wall_ms);

/* Since when (mono_ms of the tick before it came) the unfinished message at the front waits; -1: there is none. */
PEA_API int64_t pea_pipe_partial_since(const pea_pipe *pipe);

typedef enum pea_state { PEA_DIALING = 0, PEA_HANDSHAKING, PEA_OPENING, PEA_READY, PEA_CLOSING, PEA_CLOSED } pea_state;

/* Where in its life the pipe is (never PEA_DIALING), and which side it plays. */
PEA_API pea_state pea_pipe_state(const pea_pipe *pipe);
PEA_API pea_side pea_pipe_side(const pea_pipe *pipe);

/* Whom the stages proved; NULL: nobody (yet). Good until pea_pipe_free(). It is kept in a shorter form until it is
 * asked for first; where there is no memory then, its kind is PEA_PEER_NONE. */
PEA_API const pea_peer *pea_pipe_peer(const pea_pipe *pipe);

/* Who was refused, if somebody was: the peer of the sticky verdict. NULL: nobody. As pea_pipe_peer() otherwise. */
PEA_API const pea_peer *pea_pipe_refused(const pea_pipe *pipe);

/* As pea_transform_ops.query of the innermost transform. PEA_OK | PEA_E_UNSUPPORTED | < 0 */
PEA_API PEA_MUST_CHECK pea_err pea_pipe_query(const pea_pipe *pipe, pea_query what, pea_span in, void *out,
                                              size_t *len);

#ifdef __cplusplus
}
#endif
#endif
