/* SPDX-License-Identifier: MIT */
/* UTF-8 as RFC 3629 defines it: a check and a cut, no conversion. */
#include "utf8_priv.h"

/* Bytes of the character that begins at `s`; 0 if it is not valid. Table 3-7 of the Unicode standard. */
static size_t character(const uint8_t *s, size_t len)
{
    uint8_t lead = s[0], low = 0x80, high = 0xBF;
    size_t n;
    if (lead < 0x80)
        return 1;
    if (lead >= 0xC2 && lead <= 0xDF)
        n = 2;
    else if (lead >= 0xE0 && lead <= 0xEF)
        n = 3;
    else if (lead >= 0xF0 && lead <= 0xF4)
        n = 4;
    else
        return 0;
    if (len < n)
        return 0;
    if (lead == 0xE0)
        low = 0xA0;
    else if (lead == 0xED)
        high = 0x9F;
    else if (lead == 0xF0)
        low = 0x90;
    else if (lead == 0xF4)
        high = 0x8F;
    if (s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if (s[i] < 0x80 || s[i] > 0xBF)
            return 0;
    return n;
}

bool pea__utf8_valid(const uint8_t *text, size_t len)
{
    for (size_t at = 0; at < len;) {
        size_t n = character(text + at, len - at);
        if (n == 0)
            return false;
        at += n;
    }
    return true;
}

size_t pea__utf8_cut(const uint8_t *text, size_t len, size_t max)
{
    if (len <= max)
        return len;
    size_t cut = max;
    while (cut > 0 && (text[cut] & 0xC0) == 0x80)
        cut--;
    return cut;
}
