/* SPDX-License-Identifier: MIT */
/* X25519 as the rest of secure/ wants it: every multiplication counted, zero results and keys with two names refused.
 * The arithmetic is libsodium's. */
#include <sodium.h>

#include "err_priv.h"
#include "secure_priv.h"

_Static_assert(crypto_scalarmult_BYTES == PEA_KEY_BYTES, "an X25519 shared secret has 32 bytes");
_Static_assert(crypto_scalarmult_SCALARBYTES == PEA_KEY_BYTES, "an X25519 secret has 32 bytes");

atomic_uint_fast64_t pea__x25519_count;

pea_err pea__secure_init(pea_error *why)
{
    if (sodium_init() < 0)
        return pea__error(why, PEA_E_UNSUPPORTED,
                          "libsodium cannot be initialised: this system gives it no randomness");
    return PEA_OK;
}

pea_err pea__x25519_public(uint8_t public_key[PEA_KEY_BYTES], const uint8_t secret[PEA_KEY_BYTES])
{
    atomic_fetch_add_explicit(&pea__x25519_count, 1, memory_order_relaxed);
    return crypto_scalarmult_base(public_key, secret) == 0 ? PEA_OK : PEA_E_CRYPTO;
}

pea_err pea__x25519(uint8_t shared[PEA_KEY_BYTES], const uint8_t secret[PEA_KEY_BYTES],
                    const uint8_t public_key[PEA_KEY_BYTES])
{
    atomic_fetch_add_explicit(&pea__x25519_count, 1, memory_order_relaxed);
    if (crypto_scalarmult(shared, secret, public_key) != 0 || sodium_is_zero(shared, PEA_KEY_BYTES))
        return PEA_E_CRYPTO;
    return PEA_OK;
}

bool pea__x25519_canonical(const uint8_t public_key[PEA_KEY_BYTES])
{
    /* Little-endian 2^255 - 19 is ed, thirty times ff, 7f. Public keys are no secret: leaving early tells nothing. */
    if (public_key[31] != 0x7f)
        return public_key[31] < 0x7f;
    for (size_t i = 30; i > 0; i--)
        if (public_key[i] != 0xff)
            return true;
    return public_key[0] < 0xed;
}

/* All points of low order, on the curve and its twist, in their canonical form: https://cr.yp.to/ecdh.html#validate. A
 * multiplication would tell as well, but a file of rules has many keys. */
static const uint8_t low_order[][PEA_KEY_BYTES] = {
    {0},
    {1},
    {0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a,
     0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00},
    {0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b,
     0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57},
    {0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
};

pea_err pea__x25519_check(const uint8_t public_key[PEA_KEY_BYTES], pea_error *why)
{
    if (!pea__x25519_canonical(public_key))
        return pea__error(why, PEA_E_INVALID, "this is no X25519 public key: its number is not below 2^255 - 19");
    for (size_t i = 0; i < sizeof low_order / sizeof low_order[0]; i++)
        if (sodium_memcmp(public_key, low_order[i], PEA_KEY_BYTES) == 0)
            return pea__error(why, PEA_E_INVALID, "this is no X25519 public key: its point is of low order");
    return PEA_OK;
}
