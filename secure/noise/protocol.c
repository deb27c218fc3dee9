/* SPDX-License-Identifier: MIT */
/* Names of Noise protocols (section 8): "Noise_IKpsk2_25519_AESGCM_SHA512" says the pattern, its modifiers, and the
 * functions. What a pattern means is pattern.c's. */
#include <stdio.h>
#include <string.h>

#include "err_priv.h"
#include "noise_priv.h"

typedef struct choice {
    const char *name;
    unsigned value;
} choice;

static const choice aeads[] = {{"ChaChaPoly", PEA__CHACHAPOLY}, {"AESGCM", PEA__AESGCM}};
static const choice hashes[] = {
    {"SHA256", PEA__SHA256}, {"SHA512", PEA__SHA512}, {"BLAKE2b", PEA__BLAKE2B}, {"BLAKE2s", PEA__BLAKE2S}};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define SHOWN 24 /* characters of a part that an error repeats */
#define UNSORTED "the modifiers of a protocol's name must each be there once, in alphabetical order: Noise section 8"

static bool span_is(pea_span part, const char *name)
{
    return part.len == strlen(name) && memcmp(part.data, name, part.len) == 0;
}

static pea_err unsupported(pea_error *why, const char *what, pea_span part, const char *hint)
{
    int shown = part.len < SHOWN ? (int)part.len : SHOWN;
    return pea__errorf(why, PEA_E_UNSUPPORTED, "the %s \"%.*s\" is not supported: %s", what, shown,
                       (const char *)part.data, hint);
}

/* One modifier. PEA_OK | < 0 */
static pea_err add_modifier(pea__protocol *protocol, pea_span modifier, pea_error *why)
{
    if (span_is(modifier, "fallback")) {
        if (strcmp(protocol->pattern->name, "XX") != 0)
            return unsupported(why, "pattern modifier", modifier, "this version has it for XX alone");
        if (protocol->fallback || protocol->psks != 0)
            return pea__error(why, PEA_E_FORMAT, UNSORTED);
        protocol->fallback = true;
        return PEA_OK;
    }
    if (span_is(modifier, "hfs")) {
        if (pea__protocol_one_way(protocol) || protocol->fallback)
            return unsupported(why, "pattern modifier", modifier, "it is for patterns in which the responder answers");
        if (protocol->hfs || protocol->psks != 0)
            return pea__error(why, PEA_E_FORMAT, UNSORTED);
        protocol->hfs = true;
        return PEA_OK;
    }
    if (modifier.len != 4 || memcmp(modifier.data, "psk", 3) != 0 || modifier.data[3] < '0' || modifier.data[3] > '9')
        return unsupported(why, "pattern modifier", modifier, "there are hfs, psk0 to psk4 and fallback");
    unsigned place = modifier.data[3] - (unsigned)'0';
    if (place > pea__protocol_messages(protocol))
        return unsupported(why, "pattern modifier", modifier, "the pattern has no such message");
    if (protocol->psks >= PEA__PSK_AT(place))
        return pea__error(why, PEA_E_FORMAT, UNSORTED);
    protocol->psks |= (uint8_t)PEA__PSK_AT(place);
    return PEA_OK;
}

/* Modifiers follow the pattern's name, joined by '+'. */
static pea_err parse_modifiers(pea__protocol *protocol, pea_span rest, pea_error *why)
{
    while (rest.len > 0) {
        const uint8_t *plus = memchr(rest.data, '+', rest.len);
        pea_span modifier = {rest.data, plus != NULL ? (size_t)(plus - rest.data) : rest.len};
        pea_err err = add_modifier(protocol, modifier, why);
        if (err != PEA_OK)
            return err;
        if (plus != NULL && modifier.len + 1 == rest.len)
            return pea__error(why, PEA_E_FORMAT, "the protocol's name ends a list of modifiers with '+'");
        size_t taken = modifier.len + (plus != NULL ? 1 : 0);
        rest = (pea_span){rest.data + taken, rest.len - taken};
    }
    return PEA_OK;
}

/* "XXpsk3": capitals and digits are the pattern's name, the first small letter begins the modifiers. */
static pea_err parse_pattern(pea__protocol *protocol, pea_span part, pea_error *why)
{
    size_t len = 0;
    while (len < part.len && (part.data[len] < 'a' || part.data[len] > 'z'))
        len++;
    pea_span name = {part.data, len};
    protocol->pattern = pea__pattern_find(name);
    if (protocol->pattern == NULL)
        return unsupported(why, "handshake pattern", name, "docs/noise.md has a table of those there are");
    return parse_modifiers(protocol, (pea_span){part.data + len, part.len - len}, why);
}

/* 0: none of them. */
static unsigned choose(const choice *choices, size_t n, pea_span part)
{
    for (size_t i = 0; i < n; i++)
        if (span_is(part, choices[i].name))
            return choices[i].value;
    return 0;
}

/* "25519", or with hfs "25519+MLKEM768". */
static pea_err parse_exchange(const pea__protocol *protocol, pea_span part, pea_error *why)
{
    const uint8_t *plus = protocol->hfs ? memchr(part.data, '+', part.len) : NULL;
    size_t len = plus != NULL ? (size_t)(plus - part.data) : part.len;
    if (!span_is((pea_span){part.data, len}, "25519"))
        return unsupported(why, "Diffie-Hellman function", (pea_span){part.data, len},
                           "this version has 25519, and a KEM behind it where the pattern has hfs");
    if (!protocol->hfs)
        return PEA_OK;
    if (plus == NULL)
        return pea__error(why, PEA_E_FORMAT, "a Noise pattern with hfs wants a KEM: 25519+" PEA__KEM_NAME);
    pea_span kem = {plus + 1, part.len - len - 1};
    if (!span_is(kem, PEA__KEM_NAME))
        return unsupported(why, "KEM", kem, "this version has " PEA__KEM_NAME);
    if (!pea__kem_available())
        return unsupported(why, "KEM", kem, "this build's libsodium is older than 1.0.22");
    return PEA_OK;
}

static pea_err parse_suite(pea__protocol *protocol, const pea_span *parts, pea_error *why)
{
    pea_err err = parse_exchange(protocol, parts[2], why);
    if (err != PEA_OK)
        return err;
    protocol->aead = (pea__aead_id)choose(aeads, COUNT(aeads), parts[3]);
    if (protocol->aead == 0)
        return unsupported(why, "cipher", parts[3], "there are ChaChaPoly and AESGCM");
    if (!pea__aead_available(protocol->aead))
        return unsupported(why, "cipher", parts[3], "this CPU has no AES instructions, and this build no libcrypto");
    protocol->hash = (pea__hash_id)choose(hashes, COUNT(hashes), parts[4]);
    if (protocol->hash == 0)
        return unsupported(why, "hash", parts[4], "there are SHA256, SHA512, BLAKE2b and BLAKE2s");
    if (!pea__hash_available(protocol->hash))
        return unsupported(why, "hash", parts[4], "this build has no libb2");
    return PEA_OK;
}

pea_err pea__protocol_parse(pea__protocol *protocol, const char *name, pea_error *why)
{
    /* Noise_PATTERN_DH_CIPHER_HASH */
    pea_span parts[5];
    size_t n = 0;
    for (const char *at = name;; at++) {
        size_t len = strcspn(at, "_");
        if (n == COUNT(parts) || len == 0)
            return pea__error(why, PEA_E_FORMAT,
                              "not a Noise protocol's name: it has five parts, as in " PEA_NOISE_DEFAULT);
        parts[n++] = (pea_span){(const uint8_t *)at, len};
        at += len;
        if (*at == '\0')
            break;
    }
    if (n != COUNT(parts) || !span_is(parts[0], "Noise"))
        return pea__error(why, PEA_E_FORMAT,
                          "not a Noise protocol's name: it has five parts, as in " PEA_NOISE_DEFAULT);
    pea__protocol p = {0};
    pea_err err = parse_pattern(&p, parts[1], why);
    if (err == PEA_OK)
        err = parse_suite(&p, parts, why);
    if (err == PEA_OK)
        *protocol = p;
    return err;
}

static const char *name_of(const choice *choices, size_t n, unsigned value)
{
    for (size_t i = 0; i < n; i++)
        if (choices[i].value == value)
            return choices[i].name;
    return "?";
}

size_t pea__protocol_name(const pea__protocol *protocol, char name[PEA__PROTOCOL_NAME_BYTES])
{
    char modifiers[40] = "";
    size_t len = 0;
    if (protocol->fallback || protocol->hfs)
        len = (size_t)snprintf(modifiers, sizeof modifiers, protocol->hfs ? "hfs" : "fallback");
    for (unsigned place = 0; place <= PEA__PATTERN_MESSAGES; place++)
        if ((protocol->psks & PEA__PSK_AT(place)) != 0)
            len += (size_t)snprintf(modifiers + len, sizeof modifiers - len, "%spsk%u", len > 0 ? "+" : "", place);
    return (size_t)snprintf(name, PEA__PROTOCOL_NAME_BYTES, "Noise_%s%s_25519%s_%s_%s", protocol->pattern->name,
                            modifiers, protocol->hfs ? "+" PEA__KEM_NAME : "",
                            name_of(aeads, COUNT(aeads), protocol->aead),
                            name_of(hashes, COUNT(hashes), protocol->hash));
}

unsigned pea__protocol_static_in(const pea__protocol *protocol, pea_side side, bool *hidden)
{
    pea__token tokens[PEA__TOKENS_MAX];
    *hidden = false;
    for (unsigned m = 0; m < pea__protocol_messages(protocol); m++) {
        size_t n = pea__protocol_tokens(protocol, m, tokens);
        for (size_t i = 0; i < n; i++) {
            if (tokens[i] == PEA__S && (m % 2 == 0) == (side == PEA_INITIATOR))
                return m;
            *hidden = *hidden || (tokens[i] >= PEA__EE && tokens[i] <= PEA__SS);
        }
    }
    *hidden = false;
    return PEA__NO_MESSAGE;
}
