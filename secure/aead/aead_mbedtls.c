/* SPDX-License-Identifier: MIT */
/* AES-GCM by mbedTLS, where neither libsodium nor libcrypto has it. When it is asked is decided in aead.c. */
#include <sodium.h>
#include <string.h>

#include "aead_priv.h"

#ifdef PEAPOD_TLS
#include <mbedtls/gcm.h>

#include "tls/tls_priv.h"

static unsigned key_bits(pea__aead_id aead)
{
    return aead == PEA__AES128GCM ? 128 : 256;
}

bool pea__mbedtls_gcm_available(void)
{
    return pea__tls_init(NULL) == PEA_OK; /* AES is used once before threads do: see library.c */
}

pea_err pea__mbedtls_gcm_encrypt(pea__aead_id aead, const uint8_t k[PEA__AEAD_KEY_BYTES], const uint8_t nonce[12],
                                 pea_span ad, const uint8_t *plain, size_t len, uint8_t *out)
{
    mbedtls_gcm_context gcm;
    mbedtls_gcm_init(&gcm);
    bool good = mbedtls_gcm_setkey(&gcm, MBEDTLS_CIPHER_ID_AES, k, key_bits(aead)) == 0 &&
                mbedtls_gcm_crypt_and_tag(&gcm, MBEDTLS_GCM_ENCRYPT, len, nonce, PEA__AEAD_NONCE_BYTES, ad.data, ad.len,
                                          plain, out, PEA__AEAD_TAG_BYTES, out + len) == 0;
    mbedtls_gcm_free(&gcm); /* wipes the key */
    return good ? PEA_OK : PEA_E_CRYPTO;
}

pea_err pea__mbedtls_gcm_decrypt(pea__aead_id aead, const uint8_t k[PEA__AEAD_KEY_BYTES], const uint8_t nonce[12],
                                 pea_span ad, const uint8_t *cipher, size_t len, uint8_t *out)
{
    if (len < PEA__AEAD_TAG_BYTES)
        return PEA_E_CRYPTO;
    size_t plain_len = len - PEA__AEAD_TAG_BYTES;
    uint8_t tag[PEA__AEAD_TAG_BYTES];
    memcpy(tag, cipher + plain_len, sizeof tag);
    mbedtls_gcm_context gcm;
    mbedtls_gcm_init(&gcm);
    bool good = mbedtls_gcm_setkey(&gcm, MBEDTLS_CIPHER_ID_AES, k, key_bits(aead)) == 0 &&
                mbedtls_gcm_auth_decrypt(&gcm, plain_len, nonce, PEA__AEAD_NONCE_BYTES, ad.data, ad.len, tag,
                                         sizeof tag, cipher, out) == 0;
    mbedtls_gcm_free(&gcm);
    if (!good && plain_len > 0)
        sodium_memzero(out, plain_len);
    return good ? PEA_OK : PEA_E_CRYPTO;
}

#else

bool pea__mbedtls_gcm_available(void)
{
    return false;
}

pea_err pea__mbedtls_gcm_encrypt(pea__aead_id aead, const uint8_t k[PEA__AEAD_KEY_BYTES], const uint8_t nonce[12],
                                 pea_span ad, const uint8_t *plain, size_t len, uint8_t *out)
{
    (void)aead, (void)k, (void)nonce, (void)ad, (void)plain, (void)len, (void)out;
    return PEA_E_CRYPTO;
}

pea_err pea__mbedtls_gcm_decrypt(pea__aead_id aead, const uint8_t k[PEA__AEAD_KEY_BYTES], const uint8_t nonce[12],
                                 pea_span ad, const uint8_t *cipher, size_t len, uint8_t *out)
{
    (void)aead, (void)k, (void)nonce, (void)ad, (void)cipher, (void)len, (void)out;
    return PEA_E_CRYPTO;
}

#endif
