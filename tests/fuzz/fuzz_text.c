/* SPDX-License-Identifier: MIT */
/* Addresses, ranges of them and peers as text. What is parsed is formatted to what parses to the same; what is refused
 * has a sentence and wrote nothing. */
#include <stdlib.h>
#include <string.h>

#include "peapod/addr.h"
#include "peapod/peer.h"

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void check_refusal(pea_err err, const pea_error *why)
{
    require(err == PEA_E_FORMAT && why->code == err);
    require(why->text[0] != '\0' && memchr(why->text, 0, sizeof why->text) != NULL);
}

static void try_addr(const char *text)
{
    pea_addr addr, again, before;
    pea_error why = {.code = PEA_OK};
    char out[PEA_ADDR_TEXT_BYTES];
    memset(&addr, 0xEE, sizeof addr);
    memcpy(&before, &addr, sizeof before);
    pea_err err = pea_addr_parse(&addr, text, &why);
    if (err != PEA_OK) {
        check_refusal(err, &why);
        require(memcmp(&addr, &before, sizeof addr) == 0);
        return;
    }
    require(pea_addr_format(&addr, out) == out && memchr(out, 0, sizeof out) != NULL);
    for (const char *c = out; *c != '\0'; c++)
        require(*c >= ' ' && *c <= '~');
    require(pea_addr_equal(&addr, &addr));
    (void)pea_addr_is_local(&addr);
    pea_prefix around;
    require(!pea_prefix_of(&around, &addr, 9, 77) || pea_prefix_has(&around, &addr));
    if (addr.family == PEA_ADDR_UNIX && strchr(out, '\\') != NULL)
        return; /* escaped for people: it is not meant to be parsed */
    require(pea_addr_parse(&again, out, &why) == PEA_OK && pea_addr_equal(&addr, &again));
}

static void try_prefix(const char *text)
{
    pea_prefix prefix, again;
    pea_error why = {.code = PEA_OK};
    char out[PEA_PREFIX_TEXT_BYTES];
    pea_err err = pea_prefix_parse(&prefix, text, &why);
    if (err != PEA_OK) {
        check_refusal(err, &why);
        return;
    }
    require(pea_prefix_format(&prefix, out) == out);
    require(pea_prefix_parse(&again, out, &why) == PEA_OK && again.family == prefix.family &&
            again.bits == prefix.bits);
    require(memcmp(again.ip, prefix.ip, sizeof again.ip) == 0);
}

static void try_peer(const char *text)
{
    pea_peer peer, again, before;
    pea_error why = {.code = PEA_OK};
    char out[PEA_PEER_TEXT_BYTES];
    memset(&peer, 0xEE, sizeof peer);
    memcpy(&before, &peer, sizeof before);
    pea_err err = pea_peer_parse(&peer, text, &why);
    if (err != PEA_OK) {
        check_refusal(err, &why);
        require(memcmp(&peer, &before, sizeof peer) == 0);
        return;
    }
    require(peer.kind != PEA_PEER_NONE && peer.name[0] == '\0' && peer.role[0] == '\0');
    require(pea_peer_format(&peer, out) == out);
    require(pea_peer_parse(&again, out, &why) == PEA_OK && pea_peer_equal(&peer, &again));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    require(text != NULL);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    try_addr(text);
    try_prefix(text);
    try_peer(text);
    free(text);
    return 0;
}
