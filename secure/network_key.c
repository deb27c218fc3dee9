/* SPDX-License-Identifier: MIT */
/* The key of a network as text and as a file: 32 random bytes in base64, between lines that say what they are, or the
 * bare line of `wg genpsk`. As in keyfile.c no branch and no index depends on the letters of a key. What it is good for
 * is the Noise stage's business. */
#include <sodium.h>
#include <string.h>

#include "err_priv.h"
#include "secure_priv.h"

#define BEGIN "-----BEGIN PEAPOD NETWORK KEY-----"
#define END "-----END PEAPOD NETWORK KEY-----"

typedef struct span {
    const char *at, *end;
} span;

static span trim(span s)
{
    (void)pea__key_text_trim(&s.at, &s.end, true);
    return s;
}

/* Whether it is no longer than a bare line, which may be a key: its letters must not be looked at. */
static bool bare(span s)
{
    return (size_t)(s.end - s.at) <= PEA__KEY_LINE_LETTERS;
}

/* Takes the BEGIN and END lines off, if there are any. false: they are not as they should be */
static bool unmark(span *s)
{
    size_t len = (size_t)(s->end - s->at);
    if (bare(*s))
        return true;
    if (len < strlen(BEGIN) + strlen(END) + 2 || memcmp(s->at, BEGIN, strlen(BEGIN)) != 0 ||
        memcmp(s->end - strlen(END), END, strlen(END)) != 0)
        return false;
    span inner = {s->at + strlen(BEGIN), s->end - strlen(END)};
    if ((*inner.at != '\n' && *inner.at != '\r') || inner.end[-1] != '\n')
        return false;
    *s = trim(inner);
    return true;
}

/* A key that nobody drew: zero, or 32 letters that somebody thought of. Of random ones less than one in 10^13 looks
 * like that. */
static pea_err check(const uint8_t key[PEA_KEY_BYTES], pea_error *why)
{
    uint8_t others = 0; /* not a printable letter of ASCII: below ' ', or above '~' */
    for (size_t i = 0; i < PEA_KEY_BYTES; i++)
        others |= (uint8_t)(((key[i] - 0x20u) | (0x7eu - key[i])) >> 8);
    if (sodium_is_zero(key, PEA_KEY_BYTES))
        return pea__error(why, PEA_E_INVALID, "this is no network key: it is all zero");
    if (sodium_is_zero(&others, 1))
        return pea__error(why, PEA_E_INVALID,
                          "this is a passphrase: a network key is 32 random bytes, as wg genpsk makes them");
    return PEA_OK;
}

static pea_err format_error(pea_error *why, const char *text, span s)
{
    if (!bare(s) && memcmp(s.at, "-----", 5) == 0)
        return pea__text_error(why, PEA_E_FORMAT, text, s.at,
                               "this is another kind of key, or not whole: a network key begins with the line " BEGIN);
    return pea__text_error(why, PEA_E_FORMAT, text, s.at,
                           "this is no network key: that is 32 random bytes in base64, as wg genpsk makes them, and "
                           "never a passphrase");
}

pea_err pea_network_key_parse(uint8_t key[PEA_KEY_BYTES], const char *text, size_t len, pea_error *why)
{
    uint8_t fresh[PEA_KEY_BYTES];
    size_t n = 0;
    pea_err err = pea__secure_init(why);
    if (err != PEA_OK)
        return err;
    if (len > PEA__KEY_TEXT_MAX)
        return pea__error(why, PEA_E_FORMAT, "this is no network key: it is longer than 4,096 bytes");
    if (pea__text_has_zero(text, len)) /* libsodium's base64 would skip them */
        return pea__error(why, PEA_E_FORMAT, "this is no network key: there are zero bytes in it");
    span s = trim((span){text, text + len});
    if (s.at == s.end)
        return pea__error(why, PEA_E_FORMAT, "there is no network key in it: it is empty");
    if (!unmark(&s) || (size_t)(s.end - s.at) != PEA__KEY_LINE_LETTERS ||
        sodium_base642bin(fresh, sizeof fresh, s.at, PEA__KEY_LINE_LETTERS, NULL, &n, NULL,
                          sodium_base64_VARIANT_ORIGINAL) != 0 ||
        n != sizeof fresh)
        err = format_error(why, text, s);
    else
        err = check(fresh, why);
    if (err == PEA_OK)
        memcpy(key, fresh, sizeof fresh);
    sodium_memzero(fresh, sizeof fresh);
    return err;
}

size_t pea__network_key_write(char text[PEA__NETWORK_KEY_TEXT_BYTES], const uint8_t key[PEA_KEY_BYTES])
{
    static const char before[] = BEGIN "\n", after[] = "\n" END "\n";
    _Static_assert(sizeof before - 1 + PEA__KEY_LINE_LETTERS + sizeof after <= PEA__NETWORK_KEY_TEXT_BYTES,
                   "it has room");
    /* Every length is known: printf() would look for the end of the letters among them. */
    memcpy(text, before, sizeof before - 1);
    sodium_bin2base64(text + sizeof before - 1, PEA__KEY_LINE_LETTERS + 1, key, PEA_KEY_BYTES,
                      sodium_base64_VARIANT_ORIGINAL);
    memcpy(text + sizeof before - 1 + PEA__KEY_LINE_LETTERS, after, sizeof after);
    return sizeof before - 1 + PEA__KEY_LINE_LETTERS + sizeof after - 1;
}

pea_err pea_network_key_generate(uint8_t key[PEA_KEY_BYTES])
{
    pea_err err = pea__secure_init(NULL);
    if (err != PEA_OK)
        return err;
    randombytes_buf(key, PEA_KEY_BYTES);
    return PEA_OK;
}

pea_err pea_network_key_load(uint8_t key[PEA_KEY_BYTES], const char *path, pea_error *why)
{
    char *text = NULL;
    size_t len = 0;
    pea_err err = pea__file_slurp(&text, &len, path, PEA__KEY_TEXT_MAX, true, why);
    if (err != PEA_OK)
        return err;
    err = pea_network_key_parse(key, text, len, why);
    if (err != PEA_OK)
        pea__name_file(why, path);
    sodium_free(text); /* wipes */
    return err;
}

pea_err pea_network_key_save(const uint8_t key[PEA_KEY_BYTES], const char *path, pea_error *why)
{
    char text[PEA__NETWORK_KEY_TEXT_BYTES];
    pea_err err = pea__secure_init(why);
    if (err == PEA_OK)
        err = check(key, why);
    if (err != PEA_OK)
        return err;
    size_t len = pea__network_key_write(text, key);
    err = pea__file_save(path, text, len, why);
    sodium_memzero(text, sizeof text);
    return err;
}
