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
    const pea_peer *expect;      /* copied, not of kind NONE; NULL: whoever the policy allows */
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

/* What the peer's HELLO says of its application (native mode): PEA_CHAIN(.application) and the like of its chain. It is
 * the peer's own word, and as good as the peer is. */
typedef struct pea_hello {
    const char *application; /* UTF-8 (a zero byte in it is shown as a space); "": unnamed. Good as long as the pipe */
    uint32_t application_lowest, application_highest; /* both 0: not said */
    uint64_t capabilities;                            /* 0: not said */
} pea_hello;

/* Fills in `*hello`, from READY on. After an error it is as before.
 * PEA_OK | PEA_E_STATE (never READY yet) | PEA_E_UNSUPPORTED (a foreign mode: there is no HELLO) */
PEA_API PEA_MUST_CHECK pea_err pea_pipe_hello(const pea_pipe *pipe, pea_hello *hello);

#define PEA_BINDING_MAX 64u          /* bytes of the longest channel binding */
#define PEA_EXPORT_LABEL_MAX 249u    /* bytes of a label: what TLS 1.3 has room for */
#define PEA_EXPORT_CONTEXT_MAX 1024u /* bytes of a context: hash what is longer */
#define PEA_EXPORT_MAX 8160u         /* bytes that are asked for at once: what HKDF gives with a hash of 32 bytes */

/* The channel binding: bytes that name this channel, the same on both sides and on no other connection. They are
 * PUBLIC: whoever watched the handshake may be able to compute them. Sign them, compare them, never use them as a key
 * or in place of one: pea_pipe_export() is for that. Noise: the handshake hash, 32 or 64 bytes. TLS: tls-exporter of
 * RFC 9266, 32 bytes. From READY on, of the innermost transform; stages have pea_stage_binding().
 * `*len` is the room at `out` (PEA_BINDING_MAX is always enough), then what was written. After an error both are as
 * before.
 * PEA_OK | PEA_E_STATE (never READY yet) | PEA_E_UNSUPPORTED (a plain chain; TLS 1.2 without the extended master secret
 * of RFC 7627) | PEA_E_TOO_BIG (room) | PEA_E_NOMEM */
PEA_API PEA_MUST_CHECK pea_err pea_pipe_binding(const pea_pipe *pipe, void *out, size_t *len);

/* `len` SECRET bytes that both sides of this channel can compute, and nobody else: for tokens, or keys of the
 * application's own. They differ for another connection, label or context; asked for again they are the same. Noise: as
 * docs/wire.md, section 11; TLS 1.3: the exporter of RFC 8446, section 7.5. From READY on, of the innermost transform.
 * label: what the secret is for, 1 to PEA_EXPORT_LABEL_MAX bytes; one for each purpose, and for each length: with Noise
 * a longer answer begins with the shorter one. context: at most PEA_EXPORT_CONTEXT_MAX bytes, any; no context (NULL)
 * and an empty one are the same, with Noise as with TLS 1.3. After an error `out` is as before.
 * PEA_OK | PEA_E_INVALID (no label, or an empty one; no `out` or context where its length is not 0; a `len` of 0)
 * | PEA_E_TOO_BIG (a longer label or context, or more than PEA_EXPORT_MAX bytes) | PEA_E_STATE (never READY yet)
 * | PEA_E_UNSUPPORTED (a plain chain; TLS 1.2, docs/tls.md says why) | PEA_E_NOMEM */
PEA_API PEA_MUST_CHECK pea_err pea_pipe_export(const pea_pipe *pipe, const char *label, const void *context,
                                               size_t context_len, void *out, size_t len);

/* As pea_transform_ops.query of the innermost transform. PEA_OK | PEA_E_UNSUPPORTED | < 0 */
PEA_API PEA_MUST_CHECK pea_err pea_pipe_query(const pea_pipe *pipe, pea_query what, pea_span in, void *out,
                                              size_t *len);

#ifdef __cplusplus
}
#endif
#endif
