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

pea_err pea__x25519_check(const uint8_t public_key[PEA_KEY_BYTES], pea_error *why)
{
    if (!pea__x25519_canonical(public_key))
        return pea__error(why, PEA_E_INVALID, "this is no X25519 public key: its number is not below 2^255 - 19");
    /* Clamped secrets are multiples of eight, so any of them takes every point of low order to zero. */
    static const uint8_t some_secret[PEA_KEY_BYTES] = {8};
    uint8_t shared[PEA_KEY_BYTES];
    if (pea__x25519(shared, some_secret, public_key) != PEA_OK)
        return pea__error(why, PEA_E_INVALID, "this is no X25519 public key: its point is of low order");
    return PEA_OK;
}
