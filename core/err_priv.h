/* SPDX-License-Identifier: MIT */
/* Small helpers that fill in errors and read option structs. */
#ifndef PEAPOD_ERR_PRIV_H
#define PEAPOD_ERR_PRIV_H

#include "peapod/err.h"

/* Fills `why` (may be NULL) with the code and a sentence (NULL: pea_err_text(code)); returns the code. */
pea_err pea__error(pea_error *why, pea_err code, const char *text);

/* The same, printf-like. */
#if defined(__GNUC__) || defined(__clang__)
__attribute__((format(printf, 3, 4)))
#endif
pea_err
pea__errorf(pea_error *why, pea_err code, const char *format, ...);

/* PEA_E_SYS with errno `sys`: "WHAT: strerror". */
pea_err pea__error_sys(pea_error *why, int sys, const char *what);

/* Copies a sentence (NULL: none) to the reason, cut at PEA_TEXT_MAX bytes and never inside a character of UTF-8. */
void pea__reason_say(pea_reason *reason, const char *text);

/* Copies the caller's options (NULL: none) over the defaults at `dst`, whose first field is a size_t. An older
 * caller's smaller struct leaves the rest at its default; a newer, larger one is taken if what this library does not
 * know of is all zero.
 * PEA_OK | PEA_E_INVALID with a sentence */
PEA_MUST_CHECK pea_err pea__options(void *dst, size_t dst_size, const void *opts, pea_error *why);

#endif
