/* SPDX-License-Identifier: MIT */
/* Small helpers that fill in errors and read option structs. */
#ifndef PEAPOD_ERR_PRIV_H
#define PEAPOD_ERR_PRIV_H

#include "peapod/err.h"

/* Fills `why` (may be NULL) with the code and a sentence (NULL: pea_err_text(code)). */
void pea__error_fill(pea_error *why, pea_err code, const char *text);

/* With PEA_E_SYS and errno `sys`: "WHAT: strerror". */
void pea__error_fill_sys(pea_error *why, int sys, const char *what);

/* The same; they return the code. Inline, so that compilers and analysers see which. */
static inline pea_err pea__error(pea_error *why, pea_err code, const char *text)
{
    pea__error_fill(why, code, text);
    return code;
}

static inline pea_err pea__error_sys(pea_error *why, int sys, const char *what)
{
    pea__error_fill_sys(why, sys, what);
    return PEA_E_SYS;
}

/* pea__error(), printf-like. */
#if defined(__GNUC__) || defined(__clang__)
__attribute__((format(printf, 3, 4)))
#endif
pea_err
pea__errorf(pea_error *why, pea_err code, const char *format, ...);

/* Copies a sentence (NULL: none) to the reason, cut at PEA_TEXT_MAX bytes and never inside a character of UTF-8. */
void pea__reason_say(pea_reason *reason, const char *text);

/* Copies the caller's options (NULL: none) over the defaults at `dst`, whose first field is a size_t. An older
 * caller's smaller struct leaves the rest at its default; a newer, larger one is taken if what this library does not
 * know of is all zero.
 * PEA_OK | PEA_E_INVALID with a sentence */
PEA_MUST_CHECK pea_err pea__options(void *dst, size_t dst_size, const void *opts, pea_error *why);

#endif
