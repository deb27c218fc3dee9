/* SPDX-License-Identifier: MIT */
/* cmocka with what it wants included before it, and assertions of our own types that name what they saw. */
#ifndef PEAPOD_TEST_CHECK_H
#define PEAPOD_TEST_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "peapod/err.h"

/* The two results are the same; else both names are printed. */
#define check_err(got, want) check_err_at((got), (want), #got, __FILE__, __LINE__)
#define check_ok(got) check_err_at((got), PEA_OK, #got, __FILE__, __LINE__)

static inline void check_err_at(pea_err got, pea_err want, const char *what, const char *file, int line)
{
    if (got == want)
        return;
    print_error("%s: %d (%s), not %d (%s)\n", what, got, got < 0 ? pea_err_name(got) : "status", want,
                want < 0 ? pea_err_name(want) : "status");
    _fail(file, line);
}

/* Unlike assert_memory_equal(), it takes no bytes as well as some, and says their number. */
#define check_bytes(got, got_len, want, want_len) \
    check_bytes_at((got), (got_len), (want), (want_len), __FILE__, __LINE__)

static inline void check_bytes_at(const void *got, size_t got_len, const void *want, size_t want_len, const char *file,
                                  int line)
{
    if (got_len == want_len && (want_len == 0 || memcmp(got, want, want_len) == 0))
        return;
    const uint8_t *a = got, *b = want;
    size_t at = 0;
    while (at < got_len && at < want_len && a[at] == b[at])
        at++;
    print_error("%zu bytes, wanted %zu; they differ at %zu\n", got_len, want_len, at);
    _fail(file, line);
}

#endif
