/* SPDX-License-Identifier: MIT */
/* The third interface: a codec finds messages in plaintext, and marks them on the way out. It sees buffers only. */
#ifndef PEAPOD_CODEC_H
#define PEAPOD_CODEC_H

#include "peapod/buf.h"
#include "peapod/peer.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum pea_side { PEA_INITIATOR = 0, PEA_RESPONDER = 1 } pea_side;

#define PEA_CODEC_VERSION 1u
#define PEA_MARK_MAX 16u /* bytes before or after a payload: the longest built-in header is 8 + 8 of an offset */

/* Where a message lies. */
typedef struct pea_frame {
    /* PEA_OK: bytes of the whole frame | PEA_MORE: bytes needed before it is worth asking again, more than there are */
    size_t total;
    size_t offset;  /* PEA_OK: where the payload begins in the data */
    size_t len;     /* PEA_OK: its bytes */
    size_t scanned; /* the codec's own between two calls for the same frame; 0 at its first */
} pea_frame;

/* What goes before and after a payload that is not copied. */
typedef struct pea_frame_marks {
    uint8_t before[PEA_MARK_MAX], after[PEA_MARK_MAX];
    uint8_t before_len, after_len;
} pea_frame_marks;

typedef struct pea_codec_ops {
    uint32_t version; /* PEA_CODEC_VERSION */
    const char *name;
    /* One per connection, once its peer is known (NULL: nobody was authenticated). NULL: the codec has no state,
     * `self` is `config`.
     * PEA_OK | < 0, which ends the connection */
    pea_err (*create)(const void *config, pea_side side, const pea_peer *peer, void **self);
    /* Finds the first message in `data` (len >= 1).
     * PEA_OK | PEA_MORE | PEA_E_TOO_BIG | PEA_E_PROTO */
    pea_err (*decode)(void *self, const uint8_t *data, size_t len, pea_frame *frame);
    size_t overhead; /* most bytes that put() adds to a payload */
    /* Writes a message, framed, at `dst`, where len + overhead bytes are free. Returns the bytes written; 0: this
     * codec cannot say it, and writes nothing (a codec with overhead 0 writes len bytes). */
    size_t (*put)(void *self, const void *payload, size_t len, uint8_t *dst);
    /* The same for a payload that stays where it is. PEA_OK | PEA_E_TOO_BIG | PEA_E_INVALID: this codec cannot say it
     * for another reason than its length */
    pea_err (*marks)(void *self, const void *payload, size_t len, pea_frame_marks *marks);
    void (*destroy)(void *self); /* of what create() made; may be NULL */
} pea_codec_ops;

/* A codec with its configuration: immutable, reference-counted, shared by any number of connections and threads. */
typedef struct pea_codec pea_codec;

/* A codec of the user's own. `config` is handed to create(); `release` (may be NULL) is called with it when the last
 * reference goes.
 * PEA_OK | PEA_E_NOMEM | PEA_E_INVALID (a slot is missing, or the version is unknown). After an error release() was
 * not called. Any thread. */
PEA_API PEA_MUST_CHECK pea_err pea_codec_new(pea_codec **codec, const pea_codec_ops *ops, void *config,
                                             void (*release)(void *config));

/* One more reference; returns codec. Any thread. */
PEA_API pea_codec *pea_codec_ref(pea_codec *codec);

/* One less; the last one frees. NULL is allowed. Any thread. */
PEA_API void pea_codec_unref(pea_codec *codec);

typedef enum pea_byte_order { PEA_BIG_ENDIAN = 0, PEA_LITTLE_ENDIAN = 1 } pea_byte_order;

#define PEA_LENGTH_MAX_DEFAULT (8u << 20) /* 8 MiB, as tokio's LengthDelimitedCodec */
#define PEA_LENGTH_OFFSET_MAX 8u          /* header bytes before the length field */

/* A length field before each message. All zero: 4 bytes, big-endian, the payload's length, at most 8 MiB. */
typedef struct pea_length_opts {
    size_t size;          /* set by PEA_LENGTH */
    uint8_t field;        /* bytes of the length field, 1 to 8; 0: 4 */
    uint8_t offset;       /* bytes before the field, at most 8: sent as zeros, skipped when read. Default 0 */
    pea_byte_order order; /* default: big-endian */
    /* what the field says, plus this, is the payload's length: -4 where a 4-byte field counts itself. Default 0. With
     * a positive one shorter payloads cannot be said: sending them is PEA_E_TOO_BIG */
    int32_t adjustment;
    uint64_t max; /* largest payload in bytes; 0: 8 MiB, or what the field can say if that is less */
} pea_length_opts;

#define PEA_LENGTH(...) (&(pea_length_opts){.size = sizeof(pea_length_opts), __VA_ARGS__})
#define PEA_LENGTH_INIT                                     \
    {                                                       \
        sizeof(pea_length_opts), 0, 0, PEA_BIG_ENDIAN, 0, 0 \
    }

/* The length codec. `opts` may be NULL: the defaults. PEA_OK | PEA_E_NOMEM | PEA_E_INVALID with a sentence. Any
 * thread. */
PEA_API PEA_MUST_CHECK pea_err pea_codec_length(pea_codec **codec, const pea_length_opts *opts, pea_error *why);

typedef struct pea_varint_opts {
    size_t size;  /* set by PEA_VARINT */
    uint64_t max; /* largest payload in bytes; 0: 8 MiB */
} pea_varint_opts;

#define PEA_VARINT(...) (&(pea_varint_opts){.size = sizeof(pea_varint_opts), __VA_ARGS__})
#define PEA_VARINT_INIT            \
    {                              \
        sizeof(pea_varint_opts), 0 \
    }

/* The payload's length before it, as unsigned LEB128 in its shortest form: protobuf's delimited messages, libp2p's.
 * `opts` may be NULL. PEA_OK | PEA_E_NOMEM | PEA_E_INVALID with a sentence. Any thread. */
PEA_API PEA_MUST_CHECK pea_err pea_codec_varint(pea_codec **codec, const pea_varint_opts *opts, pea_error *why);

#define PEA_DELIMITER_MAX 16u       /* bytes of a delimiter */
#define PEA_LINE_MAX_DEFAULT 65536u /* bytes of a delimited message: more than any line that a person reads */

typedef struct pea_delimiter_opts {
    size_t size;        /* set by PEA_DELIMITER */
    pea_span delimiter; /* 1 to 16 bytes, copied; empty: a newline */
    uint64_t max;       /* largest payload in bytes; 0: 64 KiB */
} pea_delimiter_opts;

#define PEA_DELIMITER(...) (&(pea_delimiter_opts){.size = sizeof(pea_delimiter_opts), __VA_ARGS__})
#define PEA_DELIMITER_INIT                       \
    {                                            \
        sizeof(pea_delimiter_opts), {NULL, 0}, 0 \
    }

/* A delimiter behind each message, and in none of them: to send a message that holds it is PEA_E_INVALID. A carriage
 * return before a newline belongs to the message. `opts` may be NULL.
 * PEA_OK | PEA_E_NOMEM | PEA_E_INVALID with a sentence. Any thread. */
PEA_API PEA_MUST_CHECK pea_err pea_codec_delimiter(pea_codec **codec, const pea_delimiter_opts *opts, pea_error *why);

/* Messages of `size` bytes each, and nothing between them: to send a longer one is PEA_E_TOO_BIG, a shorter one
 * PEA_E_INVALID. PEA_OK | PEA_E_NOMEM | PEA_E_INVALID: `size` is 0. Any thread. */
PEA_API PEA_MUST_CHECK pea_err pea_codec_fixed(pea_codec **codec, size_t size, pea_error *why);

/* No framing: on_message gets bytes as they come, in pieces of any size (never empty). PEA_OK | PEA_E_NOMEM. Any
 * thread. */
PEA_API PEA_MUST_CHECK pea_err pea_codec_raw(pea_codec **codec);

#ifdef __cplusplus
}
#endif
#endif
