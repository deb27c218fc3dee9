/* SPDX-License-Identifier: MIT */
/* The keys that sign certificates: Ed25519 key pairs in guarded memory, their files, and how others write down their
 * public halves. What is signed is cert.c's business. */
#include <sodium.h>
#include <string.h>

#include "buf_priv.h"
#include "cert_priv.h"
#include "err_priv.h"
#include "secure_priv.h"

struct pea_root {
    uint8_t *secret; /* guarded */
    uint8_t key[PEA_KEY_BYTES];
};

_Static_assert(crypto_sign_PUBLICKEYBYTES == PEA_KEY_BYTES && crypto_sign_SEEDBYTES == PEA_KEY_BYTES, "Ed25519's keys");

const uint8_t *pea__root_secret(const pea_root *root)
{
    return root->secret;
}

pea_err pea_root_from_secret(pea_root **root, const uint8_t secret[PEA_KEY_BYTES], pea_error *why)
{
    uint8_t pair[crypto_sign_SECRETKEYBYTES];
    pea_err err = pea__secure_init(why);
    if (err != PEA_OK)
        return err;
    if (sodium_is_zero(secret, PEA_KEY_BYTES))
        return pea__error(why, PEA_E_INVALID, "this is no secret key: it is all zero");
    pea_root *fresh = pea__alloc(sizeof *fresh);
    if (fresh == NULL)
        return pea__error(why, PEA_E_NOMEM, NULL);
    (void)crypto_sign_seed_keypair(fresh->key, pair, secret); /* never fails */
    fresh->secret = pea__guard(pair, sizeof pair);
    sodium_memzero(pair, sizeof pair);
    if (fresh->secret == NULL) {
        pea__free(fresh);
        return pea__error(why, PEA_E_NOMEM, "no guarded memory for a secret key");
    }
    *root = fresh;
    return PEA_OK;
}

pea_err pea_root_generate(pea_root **root, pea_error *why)
{
    uint8_t secret[PEA_KEY_BYTES];
    pea_err err = pea__secure_init(why);
    if (err != PEA_OK)
        return err;
    randombytes_buf(secret, sizeof secret);
    err = pea_root_from_secret(root, secret, why);
    sodium_memzero(secret, sizeof secret);
    return err;
}

pea_err pea_root_parse(pea_root **root, const char *text, size_t len, pea_error *why)
{
    uint8_t secret[PEA_KEY_BYTES];
    pea_err err = pea__secure_init(why);
    if (err == PEA_OK)
        err = pea__keyfile_read(secret, PEA__KEY_ED25519, text, len, why);
    if (err == PEA_OK)
        err = pea_root_from_secret(root, secret, why);
    sodium_memzero(secret, sizeof secret);
    return err;
}

pea_err pea_root_load(pea_root **root, const char *path, pea_error *why)
{
    char *text = NULL;
    size_t len = 0;
    pea_err err = pea__file_slurp(&text, &len, path, PEA__KEY_TEXT_MAX, true, why);
    if (err != PEA_OK)
        return err;
    err = pea_root_parse(root, text, len, why);
    if (err != PEA_OK)
        pea__name_file(why, path);
    sodium_free(text); /* wipes */
    return err;
}

pea_err pea_root_save(const pea_root *root, const char *path, pea_error *why)
{
    return pea__keyfile_save(path, PEA__KEY_ED25519, root->secret, why); /* its first half is RFC 8032's private key */
}

void pea_root_free(pea_root *root)
{
    if (root == NULL)
        return;
    pea__unguard(root->secret);
    pea__free(root);
}

/* ---- The public key ---- */

#define PREFIX "root:"
#define PREFIX_BYTES (sizeof PREFIX - 1)

_Static_assert(PREFIX_BYTES + PEA__KEY_LINE_LETTERS < PEA_ROOT_TEXT_BYTES, "a root's key has room");

void pea_root_public(const pea_root *root, uint8_t key[PEA_KEY_BYTES])
{
    memcpy(key, root->key, PEA_KEY_BYTES);
}

char *pea_root_key_format(const uint8_t key[PEA_KEY_BYTES], char dst[PEA_ROOT_TEXT_BYTES])
{
    memcpy(dst, PREFIX, PREFIX_BYTES);
    return sodium_bin2base64(dst + PREFIX_BYTES, PEA_ROOT_TEXT_BYTES - PREFIX_BYTES, key, PEA_KEY_BYTES,
                             sodium_base64_VARIANT_ORIGINAL) -
           PREFIX_BYTES;
}

pea_err pea_root_key_parse(uint8_t key[PEA_KEY_BYTES], const char *text, pea_error *why)
{
    uint8_t fresh[PEA_KEY_BYTES];
    size_t len = 0, letters = strlen(text);
    const char *end = NULL;
    pea_err err = pea__secure_init(why);
    if (err != PEA_OK)
        return err;
    if (letters != PREFIX_BYTES + PEA__KEY_LINE_LETTERS || strncmp(text, PREFIX, PREFIX_BYTES) != 0 ||
        sodium_base642bin(fresh, sizeof fresh, text + PREFIX_BYTES, PEA__KEY_LINE_LETTERS, NULL, &len, &end,
                          sodium_base64_VARIANT_ORIGINAL) != 0 ||
        len != sizeof fresh || end != text + letters)
        return pea__error(why, PEA_E_FORMAT, "this is no root's key: root: and 32 bytes in base64, padded");
    if (crypto_core_ed25519_is_valid_point(fresh) != 1)
        return pea__error(why, PEA_E_FORMAT,
                          "this is no key of Ed25519 that could sign: not canonical, of low order, "
                          "or no point of the curve");
    memcpy(key, fresh, sizeof fresh);
    return PEA_OK;
}
