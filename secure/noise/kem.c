/* SPDX-License-Identifier: MIT */
/* The key encapsulation of hybrid patterns, by libsodium 1.0.22 and later; all that peapod knows of it is in here. A
 * key pair is kept as its seed of 64 bytes, not as its 2,400, and made again when it is used. */
#include <sodium.h>

#include "noise_priv.h"

#ifdef PEAPOD_MLKEM

_Static_assert(PEA__KEM_PUBLIC_BYTES == crypto_kem_mlkem768_PUBLICKEYBYTES, "sizes of FIPS 203");
_Static_assert(PEA__KEM_CIPHER_BYTES == crypto_kem_mlkem768_CIPHERTEXTBYTES, "sizes of FIPS 203");
_Static_assert(PEA__KEM_OUTPUT_BYTES == crypto_kem_mlkem768_SHAREDSECRETBYTES, "sizes of FIPS 203");
_Static_assert(PEA__KEM_SEED_BYTES == crypto_kem_mlkem768_SEEDBYTES, "sizes of FIPS 203");

bool pea__kem_available(void)
{
    return true;
}

pea_err pea__kem_public(const uint8_t seed[PEA__KEM_SEED_BYTES], uint8_t public_key[PEA__KEM_PUBLIC_BYTES])
{
    uint8_t secret[crypto_kem_mlkem768_SECRETKEYBYTES];
    int answer = crypto_kem_mlkem768_seed_keypair(public_key, secret, seed);
    sodium_memzero(secret, sizeof secret);
    return answer == 0 ? PEA_OK : PEA_E_CRYPTO;
}

pea_err pea__kem_encapsulate(const uint8_t public_key[PEA__KEM_PUBLIC_BYTES],
                             const uint8_t random[PEA__KEM_MESSAGE_BYTES], uint8_t cipher[PEA__KEM_CIPHER_BYTES],
                             uint8_t output[PEA__KEM_OUTPUT_BYTES])
{
    return crypto_kem_mlkem768_enc_deterministic(cipher, output, public_key, random) == 0 ? PEA_OK : PEA_E_CRYPTO;
}

pea_err pea__kem_decapsulate(const uint8_t seed[PEA__KEM_SEED_BYTES], const uint8_t cipher[PEA__KEM_CIPHER_BYTES],
                             uint8_t output[PEA__KEM_OUTPUT_BYTES])
{
    uint8_t secret[crypto_kem_mlkem768_SECRETKEYBYTES], public_key[PEA__KEM_PUBLIC_BYTES];
    int answer = crypto_kem_mlkem768_seed_keypair(public_key, secret, seed);
    if (answer == 0)
        answer = crypto_kem_mlkem768_dec(output, cipher, secret);
    sodium_memzero(secret, sizeof secret);
    return answer == 0 ? PEA_OK : PEA_E_CRYPTO;
}

#else

bool pea__kem_available(void)
{
    return false;
}

pea_err pea__kem_public(const uint8_t seed[PEA__KEM_SEED_BYTES], uint8_t public_key[PEA__KEM_PUBLIC_BYTES])
{
    (void)seed, (void)public_key;
    return PEA_E_UNSUPPORTED;
}

pea_err pea__kem_encapsulate(const uint8_t public_key[PEA__KEM_PUBLIC_BYTES],
                             const uint8_t random[PEA__KEM_MESSAGE_BYTES], uint8_t cipher[PEA__KEM_CIPHER_BYTES],
                             uint8_t output[PEA__KEM_OUTPUT_BYTES])
{
    (void)public_key, (void)random, (void)cipher, (void)output;
    return PEA_E_UNSUPPORTED;
}

pea_err pea__kem_decapsulate(const uint8_t seed[PEA__KEM_SEED_BYTES], const uint8_t cipher[PEA__KEM_CIPHER_BYTES],
                             uint8_t output[PEA__KEM_OUTPUT_BYTES])
{
    (void)seed, (void)cipher, (void)output;
    return PEA_E_UNSUPPORTED;
}

#endif
