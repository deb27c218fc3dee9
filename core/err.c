/* SPDX-License-Identifier: MIT */
/* Errors and reasons as text, and the helpers that fill errors in and read option structs. */
#include "err_priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "peapod/err.h"
#include "utf8_priv.h"

typedef struct name_of {
    const char *name, *text;
} name_of;

/* By the negated error; the order is that of the enum. */
static const name_of errors[] = {
    {"PEA_OK", "no error"},
    {"PEA_E_INVALID", "an argument or option makes no sense"},
    {"PEA_E_NOMEM", "memory is exhausted"},
    {"PEA_E_SYS", "the operating system refused"},
    {"PEA_E_PROTO", "the peer broke the protocol"},
    {"PEA_E_TOO_BIG", "larger than allowed"},
    {"PEA_E_TRUNCATED", "the stream ended in the middle"},
    {"PEA_E_CRYPTO", "authentication failed"},
    {"PEA_E_REFUSED", "we refused the peer"},
    {"PEA_E_REJECTED", "the peer refused us"},
    {"PEA_E_TIMEOUT", "a deadline passed"},
    {"PEA_E_QUEUE_FULL", "too much is queued already"},
    {"PEA_E_STALE", "gone, or answered already"},
    {"PEA_E_STATE", "not possible now"},
    {"PEA_E_EXISTS", "it exists already"},
    {"PEA_E_NOT_FOUND", "there is no such thing"},
    {"PEA_E_LIMIT", "a limit was reached"},
    {"PEA_E_UNSUPPORTED", "not supported by this build, library or CPU"},
    {"PEA_E_FORKED", "called in a child process after fork"},
    {"PEA_E_PERMISSION", "the file's owner or mode is unsafe"},
    {"PEA_E_FORMAT", "it could not be parsed"},
    {"PEA_E_NETWORK", "another protocol, network or version"},
    {"PEA_E_KEY_LIMIT", "a key has done all the work it may do"},
    {"PEA_E_ABORTED", "given up by this side"},
    {"PEA_E_RESET", "the connection was cut"},
    {"PEA_E_CLOSED", "the peer closed with an error"},
};

static const name_of statuses[] = {
    {"PEA_OK", "no error"},
    {"PEA_MORE", "more input is needed"},
    {"PEA_WAIT", "an answer comes later"},
    {"PEA_DONE", "done"},
    {"PEA_AGAIN", "call again"},
    {"PEA_EOF", "the end"},
    {"PEA_EOF_UNAUTHENTICATED", "the end, which nothing proves"},
};

_Static_assert(sizeof errors / sizeof errors[0] == 1 - (int)PEA_E_CLOSED, "a row for each error");
_Static_assert(sizeof statuses / sizeof statuses[0] == 1 + (int)PEA_EOF_UNAUTHENTICATED, "a row for each status");

static const name_of *row(pea_err err)
{
    static const name_of unknown = {"PEA_E_?", "an unknown error"};
    if (err >= 0)
        return err <= PEA_EOF_UNAUTHENTICATED ? &statuses[err] : &unknown;
    return err >= PEA_E_CLOSED ? &errors[-err] : &unknown;
}

const char *pea_err_text(pea_err err)
{
    return row(err)->text;
}

const char *pea_err_name(pea_err err)
{
    return row(err)->name;
}

const char *pea_origin_name(pea_origin origin)
{
    static const char *const names[] = {"nobody",    "user",   "peer",    "reading", "writing",
                                        "handshake", "policy", "timeout", "shutdown"};
    return (unsigned)origin < sizeof names / sizeof names[0] ? names[origin] : "?";
}

const char *pea_code_name(uint16_t code)
{
    static const char *const names[] = {"NORMAL",  "SHUTDOWN", "DENIED",  "DUPLICATE", "FULL",    "REVOKED", "EXPIRED",
                                        "TIMEOUT", "PROTO",    "TOO_BIG", "KEY_LIMIT", "VERSION", "NETWORK"};
    if ((code & PEA_CODE_APPLICATION) != 0)
        return "APPLICATION";
    unsigned plain = code & 0x3FFFu;
    return plain < sizeof names / sizeof names[0] ? names[plain] : "UNKNOWN";
}

size_t pea_text_escape(const char *text, size_t len, char *dst, size_t size)
{
    size_t at = 0;
    for (size_t i = 0; i < len && size > 0; i++) {
        unsigned char c = (unsigned char)text[i];
        char piece[5];
        if (c == '\n' || c == '\r' || c == '\t' || c == '\\')
            snprintf(piece, sizeof piece, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : c == '\t' ? 't' : '\\');
        else if (c < 0x20 || c >= 0x7F)
            snprintf(piece, sizeof piece, "\\x%02x", c);
        else
            snprintf(piece, sizeof piece, "%c", c);
        size_t n = strlen(piece);
        if (at + n >= size)
            break;
        memcpy(dst + at, piece, n);
        at += n;
    }
    if (size > 0)
        dst[at] = '\0';
    return at;
}

char *pea_reason_format(const pea_reason *reason, char dst[PEA_REASON_TEXT_BYTES])
{
    char text[PEA_REASON_TEXT_BYTES / 2], code[32] = "", sys[96] = "";
    pea_text_escape(reason->text, strlen(reason->text), text, sizeof text);
    if (reason->origin == PEA_BY_PEER && (reason->err != PEA_OK || reason->code != 0))
        snprintf(code, sizeof code, "%s%s", reason->code != 0 ? ": " : "",
                 reason->code != 0 ? pea_code_name(reason->code) : "");
    if (reason->sys != 0)
        snprintf(sys, sizeof sys, ": %s", strerror(reason->sys));
    snprintf(dst, PEA_REASON_TEXT_BYTES, "%s%s%s: %s%s%s%s%s", pea_origin_name(reason->origin),
             reason->stage != NULL ? ": " : "", reason->stage != NULL ? reason->stage : "",
             reason->err == PEA_OK ? "closed" : pea_err_text(reason->err), sys, code, text[0] != '\0' ? ": " : "",
             text);
    return dst;
}

/* ---- Filling errors in ---- */

void pea__error_fill(pea_error *why, pea_err code, const char *text)
{
    (void)pea__errorf(why, code, "%s", text != NULL ? text : pea_err_text(code));
}

pea_err pea__errorf(pea_error *why, pea_err code, const char *format, ...)
{
    if (why == NULL)
        return code;
    memset(why, 0, sizeof *why);
    why->code = code;
    va_list args;
    va_start(args, format);
    vsnprintf(why->text, sizeof why->text, format, args);
    va_end(args);
    return code;
}

void pea__error_fill_sys(pea_error *why, int sys, const char *what)
{
    (void)pea__errorf(why, PEA_E_SYS, "%s: %s", what, strerror(sys));
    if (why != NULL)
        why->sys = sys;
}

void pea__reason_say(pea_reason *reason, const char *text)
{
    size_t len = text != NULL ? pea__utf8_cut((const uint8_t *)text, strlen(text), PEA_TEXT_MAX) : 0;
    if (len > 0)
        memcpy(reason->text, text, len);
    reason->text[len] = '\0';
}

/* ---- Option structs ---- */

pea_err pea__options(void *dst, size_t dst_size, const void *opts, pea_error *why)
{
    if (opts == NULL)
        return PEA_OK;
    size_t size;
    memcpy(&size, opts, sizeof size);
    if (size < sizeof size)
        return pea__error(why, PEA_E_INVALID, "an option struct does not say its size: make it with its macro");
    const uint8_t *bytes = opts;
    for (size_t i = dst_size; i < size; i++)
        if (bytes[i] != 0)
            return pea__error(why, PEA_E_INVALID, "an option is set that this version of the library does not know");
    memcpy(dst, opts, size < dst_size ? size : dst_size);
    memcpy(dst, &dst_size, sizeof dst_size);
    return PEA_OK;
}
