/* SPDX-License-Identifier: MIT */
/* JSON that is written: one object a line, whose first member is "event". */
#ifndef PEAPOD_JSON_PRIV_H
#define PEAPOD_JSON_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Whether it is UTF-8 (RFC 3629), and may be written as a string. */
bool tool_json_is_text(const void *data, size_t len);

/* A member; `name` needs no escape. The text is UTF-8. */
void tool_json_text(FILE *to, const char *name, const void *data, size_t len);
void tool_json_string(FILE *to, const char *name, const char *text);
void tool_json_base64(FILE *to, const char *name, const void *data, size_t len);
void tool_json_number(FILE *to, const char *name, uint64_t number);

/* The end of the object and the line. */
void tool_json_end(FILE *to);

#endif
