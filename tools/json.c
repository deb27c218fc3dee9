/* SPDX-License-Identifier: MIT */
/* JSON that is written (RFC 8259): objects of strings and numbers, one a line. */
#include "json_priv.h"

#include <string.h>

/* Bytes of the UTF-8 sequence at the front (RFC 3629); 0: there is none. */
static size_t sequence(const uint8_t *at, size_t len)
{
    size_t n = at[0] < 0x80 ? 1 : at[0] >= 0xc2 && at[0] < 0xe0 ? 2 : (at[0] & 0xf0) == 0xe0 ? 3 : at[0] < 0xf5 ? 4 : 0;
    if ((at[0] >= 0x80 && at[0] < 0xc2) || n == 0 || n > len)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    bool too_long = (at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xf0 && at[1] < 0x90);
    bool no_character = (at[0] == 0xed && at[1] >= 0xa0) || (at[0] == 0xf4 && at[1] >= 0x90);
    return too_long || no_character ? 0 : n;
}

bool tool_json_is_text(const void *data, size_t len)
{
    const uint8_t *at = data;
    for (size_t n; len > 0; at += n, len -= n)
        if ((n = sequence(at, len)) == 0)
            return false;
    return true;
}

static void key(FILE *to, const char *name)
{
    fprintf(to, "%s\"%s\":", strcmp(name, "event") == 0 ? "{" : ",", name);
}

void tool_json_text(FILE *to, const char *name, const void *data, size_t len)
{
    const uint8_t *at = data;
    key(to, name);
    putc('"', to);
    for (size_t i = 0; i < len; i++) {
        if (at[i] == '"' || at[i] == '\\')
            fprintf(to, "\\%c", at[i]);
        else if (at[i] < 0x20 || at[i] == 0x7f)
            fprintf(to, "\\u%04x", at[i]);
        else if (at[i] == 0xc2 && i + 1 < len && at[i + 1] < 0xa0) /* C1 controls, which terminals obey as well */
            fprintf(to, "\\u%04x", at[++i]);
        else
            putc(at[i], to);
    }
    putc('"', to);
}

void tool_json_string(FILE *to, const char *name, const char *text)
{
    tool_json_text(to, name, text, strlen(text));
}

void tool_json_base64(FILE *to, const char *name, const void *data, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *at = data;
    key(to, name);
    putc('"', to);
    for (size_t i = 0; i < len; i += 3) {
        uint32_t bits = (uint32_t)at[i] << 16;
        bits |= i + 1 < len ? (uint32_t)at[i + 1] << 8 : 0;
        bits |= i + 2 < len ? at[i + 2] : 0;
        putc(digits[bits >> 18], to);
        putc(digits[bits >> 12 & 63], to);
        putc(i + 1 < len ? digits[bits >> 6 & 63] : '=', to);
        putc(i + 2 < len ? digits[bits & 63] : '=', to);
    }
    putc('"', to);
}

void tool_json_number(FILE *to, const char *name, uint64_t number)
{
    key(to, name);
    fprintf(to, "%llu", (unsigned long long)number);
}

void tool_json_end(FILE *to)
{
    fprintf(to, "}\n");
}
