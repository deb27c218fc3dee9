/* SPDX-License-Identifier: MIT */
/* The parser of certificates for Noise: bytes as they are, bytes that a root of ours has signed, and text. What is
 * taken is byte for byte what is written of it; what is refused has a sentence, and left nothing behind. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "cert_priv.h"
#include "rules_priv.h"
#include "secure_priv.h"

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* The root of tests/vectors/certificates.py. */
static const uint8_t *signer(void)
{
    static uint8_t secret[crypto_sign_SECRETKEYBYTES], key[crypto_sign_PUBLICKEYBYTES], seed[32];
    static const char label[] = "peapod test key: root";
    if (sodium_is_zero(secret, sizeof secret)) {
        require(pea__secure_init(NULL) == PEA_OK);
        (void)crypto_hash_sha256(seed, (const uint8_t *)label, sizeof label - 1);
        (void)crypto_sign_seed_keypair(key, secret, seed);
    }
    return secret;
}

static bool try_bytes(const uint8_t *data, size_t size)
{
    pea_cert_info info, before;
    uint8_t again[PEA_CERT_MAX];
    char roles[PEA_ROLE_MAX + 1];
    const char *what = NULL;
    memset(&info, 0xEE, sizeof info);
    memcpy(&before, &info, sizeof before);
    uint8_t *copy = malloc(size > 0 ? size : 1); /* what lies behind it must not be read */
    require(copy != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    pea_err err = pea__cert_read(&info, (pea_span){copy, size}, &what);
    if (err != PEA_OK) {
        require((err == PEA_E_FORMAT || err == PEA_E_CRYPTO) && what != NULL && what[0] != '\0');
        require(memcmp(&info, &before, sizeof info) == 0);
        free(copy);
        return false;
    }
    require(size <= PEA_CERT_MAX && pea__cert_check(&info, &what) == PEA_OK);
    require(pea__cert_write(again, &info) == size - PEA__SIGNATURE_BYTES);
    require(memcmp(again, copy, size - PEA__SIGNATURE_BYTES) == 0);
    require(pea__cert_sort_roles(roles, info.roles) && strcmp(roles, info.roles) == 0);
    pea__roles_give(roles, "*", info.roles);
    require(strcmp(roles, info.roles) == 0 && pea__names_have("*", info.name) && pea__names_have(info.name, info.name));
    free(copy);
    return true;
}

static void try_signed(const uint8_t *data, size_t size)
{
    uint8_t whole[PEA_CERT_MAX + 64 + PEA__SIGNATURE_BYTES];
    if (size > PEA_CERT_MAX + 64)
        return;
    if (size > 0)
        memcpy(whole, data, size);
    (void)crypto_sign_detached(whole + size, NULL, whole, size, signer());
    (void)try_bytes(whole, size + PEA__SIGNATURE_BYTES);
}

static void try_text(const char *text, size_t size)
{
    pea_cert *cert = NULL, *again;
    pea_buf out = {0};
    pea_error why = {.code = PEA_OK};
    pea_err err = pea_cert_parse(&cert, text, size, &why);
    require((err == PEA_OK) == (cert != NULL) && (err == PEA_OK || (why.code == err && why.text[0] != '\0')));
    if (cert == NULL)
        return;
    require(pea_cert_format(cert, &out) == PEA_OK);
    require(pea_cert_parse(&again, (const char *)out.data, out.len, NULL) == PEA_OK);
    pea_span a = pea_cert_bytes(cert), b = pea_cert_bytes(again);
    require(a.len == b.len && memcmp(a.data, b.data, a.len) == 0 && try_bytes(a.data, a.len));
    pea_buf_free(&out);
    pea_cert_unref(cert);
    pea_cert_unref(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    (void)signer();
    (void)try_bytes(data, size);
    try_signed(data, size);
    try_text((const char *)data, size);
    return 0;
}
