/* SPDX-License-Identifier: MIT */
/* Peers as text: "noise:" and base64 as WireGuard writes keys, "spki:sha256:" and hex as certificate pins are
 * written. */
#include "peapod/peer.h"

#include <stdio.h>
#include <string.h>

#include "err_priv.h"

#define BASE64_CHARS 44u /* of 32 bytes, padded */
#define HEX_CHARS 64u

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

typedef struct kind_of {
    pea_peer_kind kind;
    const char *prefix;
    bool base64;
} kind_of;

static const kind_of kinds[] = {
    {PEA_PEER_NOISE, "noise:", true},
    {PEA_PEER_SPKI, "spki:sha256:", false},
    {PEA_PEER_OTHER, "other:", false},
};

bool pea_peer_equal(const pea_peer *a, const pea_peer *b)
{
    return a->kind == b->kind && memcmp(a->id, b->id, PEA_ID_BYTES) == 0;
}

bool pea_peer_has_role(const pea_peer *peer, const char *role)
{
    size_t len = strlen(role);
    for (const char *at = peer->role; len > 0; at++) {
        size_t here = strcspn(at, ",");
        if (here == len && memcmp(at, role, len) == 0)
            return true;
        at += here;
        if (*at == '\0')
            return false;
    }
    return false;
}

static void base64_write(const uint8_t id[PEA_ID_BYTES], char *dst)
{
    for (size_t i = 0; i < PEA_ID_BYTES; i += 3) {
        uint32_t three = (uint32_t)id[i] << 16;
        if (i + 1 < PEA_ID_BYTES)
            three |= (uint32_t)id[i + 1] << 8;
        if (i + 2 < PEA_ID_BYTES)
            three |= id[i + 2];
        *dst++ = alphabet[three >> 18];
        *dst++ = alphabet[three >> 12 & 63];
        *dst++ = i + 1 < PEA_ID_BYTES ? alphabet[three >> 6 & 63] : '=';
        *dst++ = i + 2 < PEA_ID_BYTES ? alphabet[three & 63] : '=';
    }
    *dst = '\0';
}

/* The one encoding of 32 bytes: 43 characters and one '=', no stray bits in the last. */
static bool base64_read(uint8_t id[PEA_ID_BYTES], const char *text)
{
    if (strlen(text) != BASE64_CHARS || text[BASE64_CHARS - 1] != '=')
        return false;
    uint32_t bits = 0;
    unsigned count = 0;
    size_t at = 0;
    for (size_t i = 0; i < BASE64_CHARS - 1; i++) {
        const char *found = strchr(alphabet, text[i]);
        if (found == NULL)
            return false;
        bits = (bits << 6 | (uint32_t)(found - alphabet)) & 0xFFFFu;
        count += 6;
        if (count >= 8) {
            count -= 8;
            id[at++] = (uint8_t)(bits >> count);
        }
    }
    return at == PEA_ID_BYTES && (bits & ((1u << count) - 1)) == 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static bool hex_read(uint8_t id[PEA_ID_BYTES], const char *text)
{
    if (strlen(text) != HEX_CHARS)
        return false;
    for (size_t i = 0; i < PEA_ID_BYTES; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        id[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

char *pea_peer_format(const pea_peer *peer, char dst[PEA_PEER_TEXT_BYTES])
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (kinds[i].kind != peer->kind)
            continue;
        size_t at = (size_t)snprintf(dst, PEA_PEER_TEXT_BYTES, "%s", kinds[i].prefix);
        if (kinds[i].base64) {
            base64_write(peer->id, dst + at);
            return dst;
        }
        for (size_t b = 0; b < PEA_ID_BYTES; b++, at += 2)
            snprintf(dst + at, PEA_PEER_TEXT_BYTES - at, "%02x", peer->id[b]);
        return dst;
    }
    snprintf(dst, PEA_PEER_TEXT_BYTES, "none");
    return dst;
}

pea_err pea_peer_parse(pea_peer *peer, const char *text, pea_error *why)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        size_t len = strlen(kinds[i].prefix);
        if (strncmp(text, kinds[i].prefix, len) != 0)
            continue;
        pea_peer p = {.kind = kinds[i].kind};
        bool ok = kinds[i].base64 ? base64_read(p.id, text + len) : hex_read(p.id, text + len);
        if (!ok)
            return pea__errorf(why, PEA_E_FORMAT, "after \"%s\" an id has %s", kinds[i].prefix,
                               kinds[i].base64 ? "44 characters of base64, the last of them '='"
                                               : "64 hexadecimal digits");
        *peer = p;
        return PEA_OK;
    }
    return pea__error(why, PEA_E_FORMAT, "a peer's id begins with \"noise:\", \"spki:sha256:\" or \"other:\"");
}
