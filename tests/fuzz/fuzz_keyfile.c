/* SPDX-License-Identifier: MIT */
/* The parsers of key files: of a private key, and of a network's. What they take is a key that can be written and read
 * again; what they refuse has a sentence, and left nothing behind. */
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t secret[PEA_KEY_BYTES], again[PEA_KEY_BYTES], before[PEA_KEY_BYTES];
    char pem[PEA__PEM_BYTES];
    pea_error why;
    memset(secret, 0xEE, sizeof secret);
    memcpy(before, secret, sizeof before);
    memset(&why, 0, sizeof why);
    char *text = malloc(size + 1); /* not terminated: a length is given */
    require(text != NULL);
    if (size > 0)
        memcpy(text, data, size);
    network_key(text, size);
    pea_err err = pea__keyfile_read(secret, text, size, &why);
    free(text);
    if (err != PEA_OK) {
        require(err == PEA_E_FORMAT || err == PEA_E_UNSUPPORTED || err == PEA_E_INVALID);
        require(why.text[0] != '\0' && memchr(why.text, 0, sizeof why.text) != NULL && why.code == err);
        require(memcmp(secret, before, sizeof secret) == 0);
        return 0;
    }
    size_t len = pea__keyfile_write(pem, secret);
    require(len > 0 && len <= sizeof pem);
    require(pea__keyfile_read(again, pem, len, &why) == PEA_OK);
    require(memcmp(again, secret, sizeof secret) == 0);
    return 0;
}
