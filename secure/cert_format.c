/* SPDX-License-Identifier: MIT */
/* A certificate as bytes: "peapod-cert-v1", TLVs in ascending order, a signature over all of that: see
 * docs/certificates.md. What it says has one encoding: whatever is not byte for byte what pea__cert_write() makes of it
 * is refused. */
#include <sodium.h>
#include <string.h>

#include "cert_priv.h"
#include "secure_priv.h"
#include "tlv_priv.h"

static const char magic[] = "peapod-cert-v1";
#define MAGIC_BYTES (sizeof magic - 1)

enum { TLV_NETWORK = 1, TLV_KEY, TLV_NEXT_KEY, TLV_NAME, TLV_ROLES, TLV_NOT_BEFORE, TLV_NOT_AFTER, TLV_ROOT, TLV_END };

_Static_assert(MAGIC_BYTES == 14, "the magic is as long as the page says");
_Static_assert(14 + 8 * (4 + 32) + PEA_NAME_MAX + PEA_ROLE_MAX + PEA__SIGNATURE_BYTES <= PEA_CERT_MAX,
               "the largest certificate is none that is too large");

static pea_err wrong(const char **what, const char *text)
{
    *what = text;
    return PEA_E_FORMAT;
}

/* ---- Names and roles ---- */

bool pea__cert_word(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '/'))
            return false;
    }
    return len > 0;
}

/* By their letters, the shorter first where one begins the other. */
static int compare(const char *a, size_t a_len, const char *b, size_t b_len)
{
    int order = strncmp(a, b, a_len < b_len ? a_len : b_len);
    return order != 0 ? order : a_len < b_len ? -1 : a_len > b_len;
}

/* Words in ascending order with a comma between two; none at all are good, too. */
static bool good_roles(const char *roles)
{
    const char *before = NULL;
    size_t before_len = 0;
    for (const char *at = roles; *roles != '\0'; at++) {
        size_t len = strcspn(at, ",");
        if (!pea__cert_word(at, len) || (before != NULL && compare(before, before_len, at, len) >= 0))
            return false;
        before = at;
        before_len = len;
        at += len;
        if (*at == '\0')
            return true;
    }
    return true;
}

bool pea__cert_sort_roles(char roles[PEA_ROLE_MAX + 1], const char *text)
{
    size_t end = 0;
    if (strlen(text) > PEA_ROLE_MAX)
        return false;
    for (const char *at = text; *text != '\0'; at++) {
        size_t len = strcspn(at, ","), to = 0;
        while (to < end && compare(roles + to, strcspn(roles + to, ","), at, len) < 0)
            to += strcspn(roles + to, ",") + 1;
        /* Each is followed by a comma, until the last one's is taken away. */
        char word[PEA_ROLE_MAX + 1];
        memcpy(word, at, len);
        word[len] = ',';
        if (end + len + 1 > PEA_ROLE_MAX + 1)
            return false;
        memmove(roles + to + len + 1, roles + to, end - to);
        memcpy(roles + to, word, len + 1);
        end += len + 1;
        at += len;
        if (*at == '\0')
            break;
    }
    roles[end > 0 ? end - 1 : 0] = '\0';
    return good_roles(roles);
}

/* ---- Values ---- */

pea_err pea__cert_check(const pea_cert_info *info, const char **what)
{
    if (pea__x25519_check(info->key, NULL) != PEA_OK)
        return wrong(what, "its key is none of X25519: not canonical, or of low order");
    if (info->has_next_key && pea__x25519_check(info->next_key, NULL) != PEA_OK)
        return wrong(what, "its second key is none of X25519: not canonical, or of low order");
    if (info->has_next_key && memcmp(info->key, info->next_key, PEA_KEY_BYTES) == 0)
        return wrong(what, "its two keys are one");
    if (!pea__cert_word(info->name, strlen(info->name)))
        return wrong(what, "its name is none: 1 to 255 of a-z, 0-9, '-', '.', '_' and '/'");
    if (!good_roles(info->roles))
        return wrong(what,
                     "its roles are none: of a-z, 0-9, '-', '.', '_' and '/', each once, at most 63 bytes in all");
    if (info->not_before < 0 || info->not_after > PEA_CERT_TIME_MAX)
        return wrong(what, "its time is none of the years 1970 to 9999");
    if (info->not_before >= info->not_after)
        return wrong(what, "it ends before it begins");
    return PEA_OK;
}

bool pea__cert_names_key(const pea_cert_info *info, const uint8_t key[PEA_KEY_BYTES])
{
    return memcmp(key, info->key, PEA_KEY_BYTES) == 0 ||
           (info->has_next_key && memcmp(key, info->next_key, PEA_KEY_BYTES) == 0);
}

bool pea__cert_names_network(const pea_cert_info *info, const uint8_t network[32])
{
    return memcmp(network, info->network, sizeof info->network) == 0;
}

/* ---- Writing ---- */

static size_t put(uint8_t *out, uint16_t type, const void *value, size_t len)
{
    pea__tlv_head(out, type, len);
    memcpy(out + PEA__TLV_BYTES, value, len);
    return PEA__TLV_BYTES + len;
}

static size_t put_time(uint8_t *out, uint16_t type, int64_t time)
{
    uint8_t bytes[8];
    pea__put_be(bytes, (uint64_t)time, sizeof bytes);
    return put(out, type, bytes, sizeof bytes);
}

size_t pea__cert_write(uint8_t out[PEA_CERT_MAX], const pea_cert_info *info)
{
    size_t len = MAGIC_BYTES;
    memcpy(out, magic, MAGIC_BYTES);
    len += put(out + len, TLV_NETWORK, info->network, sizeof info->network);
    len += put(out + len, TLV_KEY, info->key, sizeof info->key);
    if (info->has_next_key)
        len += put(out + len, TLV_NEXT_KEY, info->next_key, sizeof info->next_key);
    len += put(out + len, TLV_NAME, info->name, strlen(info->name));
    if (info->roles[0] != '\0')
        len += put(out + len, TLV_ROLES, info->roles, strlen(info->roles));
    len += put_time(out + len, TLV_NOT_BEFORE, info->not_before);
    len += put_time(out + len, TLV_NOT_AFTER, info->not_after);
    return len + put(out + len, TLV_ROOT, info->root, sizeof info->root);
}

/* ---- Reading ---- */

/* The values of the TLVs; data NULL: it is not there. */
typedef struct values {
    pea_span at[TLV_END];
} values;

static pea_err read_tlvs(values *v, pea_span in, const char **what)
{
    uint16_t type = 0;
    pea_span value;
    pea__tlv_found found;
    while ((found = pea__tlv_next(&in, &type, &value)) == PEA__TLV_ONE && type < TLV_END)
        v->at[type] = value;
    if (found != PEA__TLV_NONE)
        return wrong(what, found == PEA__TLV_CUT_HEAD ? "it ends inside a TLV's header"
                           : found == PEA__TLV_CUT    ? "it ends inside a TLV"
                                                      : "its TLVs are not in ascending order, or one is unknown");
    return PEA_OK;
}

static bool take_bytes(uint8_t *out, pea_span value)
{
    if (value.data == NULL || value.len != 32)
        return false;
    memcpy(out, value.data, 32);
    return true;
}

/* A time that no calendar of ours has is kept as -1. */
static bool take_time(int64_t *out, pea_span value)
{
    if (value.data == NULL || value.len != 8)
        return false;
    uint64_t time = pea__get_be(value.data, value.len);
    *out = time > (uint64_t)PEA_CERT_TIME_MAX ? -1 : (int64_t)time;
    return true;
}

/* What is there has at least one byte, and none that is zero. */
static bool take_text(char *out, size_t size, pea_span value)
{
    if (value.len == 0 || value.len >= size || memchr(value.data, 0, value.len) != NULL)
        return false;
    memcpy(out, value.data, value.len);
    return true;
}

static pea_err take_values(pea_cert_info *info, const values *v, const char **what)
{
    const pea_span *at = v->at;
    if (!take_bytes(info->network, at[TLV_NETWORK]) || !take_bytes(info->key, at[TLV_KEY]) ||
        !take_bytes(info->root, at[TLV_ROOT]) || !take_time(&info->not_before, at[TLV_NOT_BEFORE]) ||
        !take_time(&info->not_after, at[TLV_NOT_AFTER]))
        return wrong(what, "a network, key or time is missing in it, or not as long as such a one is");
    info->has_next_key = at[TLV_NEXT_KEY].data != NULL;
    if (info->has_next_key && !take_bytes(info->next_key, at[TLV_NEXT_KEY]))
        return wrong(what, "its second key has not 32 bytes");
    if (at[TLV_NAME].data == NULL || !take_text(info->name, sizeof info->name, at[TLV_NAME]))
        return wrong(what, "its name is missing, or has not 1 to 255 bytes");
    if (at[TLV_ROLES].data != NULL && !take_text(info->roles, sizeof info->roles, at[TLV_ROLES]))
        return wrong(what, "its roles have not 1 to 63 bytes");
    return pea__cert_check(info, what);
}

pea_err pea__cert_read(pea_cert_info *info, pea_span bytes, const char **what)
{
    pea_cert_info fresh = {.has_next_key = false};
    values v = {0};
    if (bytes.len > PEA_CERT_MAX)
        return wrong(what, "it has more than 1,024 bytes");
    if (bytes.len < MAGIC_BYTES + PEA__SIGNATURE_BYTES || memcmp(bytes.data, magic, MAGIC_BYTES) != 0)
        return wrong(what, "it is no certificate of peapod's, version 1");
    size_t said = bytes.len - PEA__SIGNATURE_BYTES;
    pea_err err = read_tlvs(&v, (pea_span){bytes.data + MAGIC_BYTES, said - MAGIC_BYTES}, what);
    if (err == PEA_OK)
        err = take_values(&fresh, &v, what);
    if (err != PEA_OK)
        return err;
    /* libsodium refuses keys and R of low order, keys and S that are not canonical. */
    if (crypto_sign_verify_detached(bytes.data + said, bytes.data, said, fresh.root) != 0) {
        *what = "its signature is not that of the root which it names";
        return PEA_E_CRYPTO;
    }
    *info = fresh;
    return PEA_OK;
}
