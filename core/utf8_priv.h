/* SPDX-License-Identifier: MIT */
/* Checked UTF-8: what a peer says is text only if it passes here. */
#ifndef PEAPOD_UTF8_PRIV_H
#define PEAPOD_UTF8_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* RFC 3629: no overlong form, no surrogate, nothing beyond U+10FFFF. */
bool pea__utf8_valid(const uint8_t *text, size_t len);

/* The longest prefix of at most `max` bytes that does not cut a character of valid UTF-8. */
size_t pea__utf8_cut(const uint8_t *text, size_t len, size_t max);

#endif
