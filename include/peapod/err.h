/* SPDX-License-Identifier: MIT */
/* Errors, reasons and the two attributes that every declaration of peapod uses. One enum serves the whole library:
 * 0 is success, a negative value is an error, a positive one is a status. */
#ifndef PEAPOD_ERR_H
#define PEAPOD_ERR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "peapod/export.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a fallible function returns. Values never change their meaning; new ones are added at the end of their block. */
typedef enum pea_err {
    PEA_OK = 0,

    /* Statuses: nothing went wrong. */
    PEA_MORE = 1,                /* more input is needed before there is a result */
    PEA_WAIT = 2,                /* an answer comes later, by ticket */
    PEA_DONE = 3,                /* this dialogue is complete */
    PEA_AGAIN = 4,               /* stopped at the caller's bound: call again, even without new input */
    PEA_EOF = 5,                 /* the end, and it is authenticated where anything is */
    PEA_EOF_UNAUTHENTICATED = 6, /* the end of the stream; nothing proves that the peer meant it */

    /* Errors. */
    PEA_E_INVALID = -1,      /* an argument or option makes no sense: the caller's mistake */
    PEA_E_NOMEM = -2,        /* memory is exhausted, or a memory limit was reached */
    PEA_E_SYS = -3,          /* the operating system refused: see `sys` for its errno */
    PEA_E_PROTO = -4,        /* the peer broke the protocol */
    PEA_E_TOO_BIG = -5,      /* a message, record or name is larger than allowed */
    PEA_E_TRUNCATED = -6,    /* the stream ended in the middle */
    PEA_E_CRYPTO = -7,       /* an authentication tag, key or signature is wrong */
    PEA_E_REFUSED = -8,      /* we refused the peer: policy or expectation */
    PEA_E_REJECTED = -9,     /* the peer refused us: see `code` and `text` */
    PEA_E_TIMEOUT = -10,     /* a deadline passed */
    PEA_E_QUEUE_FULL = -11,  /* above the high-water mark, or a mailbox is full: nothing was queued */
    PEA_E_STALE = -12,       /* what the ticket or id named is gone, or was answered already */
    PEA_E_STATE = -13,       /* not now: not yet ready, closing, or shut down */
    PEA_E_EXISTS = -14,      /* it is there already */
    PEA_E_NOT_FOUND = -15,   /* there is no such thing */
    PEA_E_LIMIT = -16,       /* an admission limit was reached */
    PEA_E_UNSUPPORTED = -17, /* this build, library or CPU cannot do it */
    PEA_E_FORKED = -18,      /* called in a child process after fork */
    PEA_E_PERMISSION = -19,  /* a file's owner or mode is unsafe */
    PEA_E_FORMAT = -20,      /* text or a file could not be parsed */
    PEA_E_NETWORK = -21,     /* the greeting is not peapod's, or names another network or version */
    PEA_E_KEY_LIMIT = -22,   /* a key has done all the work it may do */
    PEA_E_ABORTED = -23,     /* given up by this side, without a farewell */
    PEA_E_RESET = -24,       /* the peer or the network cut the connection */
    PEA_E_CLOSED = -25       /* the peer closed with an error code: see `code` and `text` */
} pea_err;

/* A short constant sentence for `err`, never NULL. Any thread. */
PEA_API const char *pea_err_text(pea_err err);

/* The enumerator's name, "PEA_E_PROTO"; "PEA_E_?" for a value that is none. Any thread. */
PEA_API const char *pea_err_name(pea_err err);

#define PEA_ERROR_TEXT_BYTES 256

/* Why a constructor or loader failed. The caller owns it; the callee fills it only when it fails. Any
 * `pea_error *` may be NULL. */
typedef struct pea_error {
    pea_err code;
    int sys;                         /* errno where the operating system refused, else 0 */
    uint32_t line;                   /* of the file or text, from 1; 0: none */
    uint32_t column;                 /* in bytes, from 1; 0: none */
    char text[PEA_ERROR_TEXT_BYTES]; /* a sentence that names what was wrong and says what to do */
} pea_error;

/* Who or what ended a connection. */
typedef enum pea_origin {
    PEA_BY_NOBODY = 0,
    PEA_BY_USER,      /* pea_conn_close(), pea_conn_abort() */
    PEA_BY_PEER,      /* the peer's CLOSE, REJECT or end of stream */
    PEA_BY_READING,   /* what was received is wrong, or recv() failed */
    PEA_BY_WRITING,   /* sealing or send() failed */
    PEA_BY_HANDSHAKE, /* a stage or the opening of the channel failed */
    PEA_BY_POLICY,    /* policy, expectation or admission */
    PEA_BY_TIMEOUT,
    PEA_BY_SHUTDOWN /* pea_node_shutdown() */
} pea_origin;

/* The origin's lower-case name, "peer". Any thread. */
PEA_API const char *pea_origin_name(pea_origin origin);

/* Codes that two nodes say to each other in REJECT and CLOSE (docs/wire.md). Two bits qualify them. */
#define PEA_CODE_PERMANENT 0x8000u   /* trying again will not help */
#define PEA_CODE_APPLICATION 0x4000u /* the low 14 bits are the application's own */

typedef enum pea_code {
    PEA_CODE_NORMAL = 0,
    PEA_CODE_SHUTDOWN = 1,
    PEA_CODE_DENIED = 2,
    PEA_CODE_DUPLICATE = 3,
    PEA_CODE_FULL = 4,
    PEA_CODE_REVOKED = 5,
    PEA_CODE_EXPIRED = 6,
    PEA_CODE_TIMEOUT = 7,
    PEA_CODE_PROTO = 8,
    PEA_CODE_TOO_BIG = 9,
    PEA_CODE_KEY_LIMIT = 10,
    PEA_CODE_VERSION = 11,
    PEA_CODE_NETWORK = 12
} pea_code;

/* The name of a code of ours, "DENIED", whatever its permanent bit; "APPLICATION" for an application's;
 * "UNKNOWN". Any thread. */
PEA_API const char *pea_code_name(uint16_t code);

#define PEA_TEXT_MAX 256 /* bytes of the text beside a code: a sentence, not a page */

/* Why a connection, or the attempt at one, ended. */
typedef struct pea_reason {
    pea_origin origin;
    pea_err err;                 /* PEA_OK: an orderly end */
    int sys;                     /* errno, or 0 */
    uint16_t code;               /* what was said in REJECT or CLOSE, by the origin's side; 0 where nothing was said */
    const char *stage;           /* the handshake stage that failed; NULL outside of stages. Static: never freed */
    char text[PEA_TEXT_MAX + 1]; /* a sentence. A peer's words are checked UTF-8, not escaped: see pea_text_escape() */
} pea_reason;

/* Copies `text` (len bytes) to `dst` with control characters, backslashes and bytes beyond ASCII escaped (\n, \\,
 * \x1b), always terminated. Whatever a peer said goes through here before a person sees it. Returns the characters
 * written, at most size - 1; what does not fit is left out whole. Any thread. */
PEA_API size_t pea_text_escape(const char *text, size_t len, char *dst, size_t size);

#define PEA_REASON_TEXT_BYTES 512

/* Writes a reason as one line for people, peer's words escaped: "handshake: noise: authentication failed".
 * Returns dst. Any thread. */
PEA_API char *pea_reason_format(const pea_reason *reason, char dst[PEA_REASON_TEXT_BYTES]);

#ifdef __cplusplus
}
#endif
#endif
