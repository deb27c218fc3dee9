/* SPDX-License-Identifier: MIT */
/* The parser of key files, of each kind of key, a network's too. What it takes is a key that can be written and read
 * again; what it refuses has a sentence, and left nothing behind. */
#include <stdlib.h>
#include <string.h>

#include "secure_priv.h"

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void network_key(const char *text, size_t size)
{
    uint8_t key[PEA_KEY_BYTES], again[PEA_KEY_BYTES], before[PEA_KEY_BYTES];
    char written[PEA__NETWORK_KEY_TEXT_BYTES];
    pea_error why = {.text = ""};
    memset(key, 0xEE, sizeof key);
    memcpy(before, key, sizeof before);
    pea_err err = pea_network_key_parse(key, text, size, &why);
    if (err != PEA_OK) {
        require(err == PEA_E_FORMAT || err == PEA_E_INVALID);
        require(why.text[0] != '\0' && why.code == err && memcmp(key, before, sizeof key) == 0);
        return;
    }
    size_t len = pea__network_key_write(written, key);
    require(len < sizeof written && pea_network_key_parse(again, written, len, &why) == PEA_OK);
    require(memcmp(again, key, sizeof key) == 0);
}

static void try_as(pea__key_kind kind, const char *text, size_t size)
{
    uint8_t secret[PEA_KEY_BYTES], again[PEA_KEY_BYTES], before[PEA_KEY_BYTES];
    char pem[PEA__PEM_BYTES];
    pea_error why;
    memset(secret, 0xEE, sizeof secret);
    memcpy(before, secret, sizeof before);
    memset(&why, 0, sizeof why);
    pea_err err = pea__keyfile_read(secret, kind, text, size, &why);
    if (err != PEA_OK) {
        require(err == PEA_E_FORMAT || err == PEA_E_UNSUPPORTED || err == PEA_E_INVALID);
        require(why.text[0] != '\0' && memchr(why.text, 0, sizeof why.text) != NULL && why.code == err);
        require(memcmp(secret, before, sizeof secret) == 0);
        return;
    }
    size_t len = pea__keyfile_write(pem, kind, secret);
    require(len > 0 && len <= sizeof pem);
    require(pea__keyfile_read(again, kind, pem, len, &why) == PEA_OK);
    require(memcmp(again, secret, sizeof secret) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1); /* not terminated: a length is given */
    require(text != NULL);
    if (size > 0)
        memcpy(text, data, size);
    network_key(text, size);
    try_as(PEA__KEY_X25519, text, size);
    try_as(PEA__KEY_ED25519, text, size);
    free(text);
    return 0;
}
