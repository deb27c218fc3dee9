/* SPDX-License-Identifier: MIT */
/* SipHash-2-4 as its authors define it: "SipHash: a fast short-input PRF", 2012. */
#include "hash_priv.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#ifdef __APPLE__
#include <sys/random.h>
#else
#include <unistd.h>
#endif

static uint64_t rotl(uint64_t x, unsigned n)
{
    return x << n | x >> (64 - n);
}

static uint64_t load_le64(const uint8_t *p)
{
    uint64_t v = 0;
    for (unsigned i = 8; i-- > 0;)
        v = v << 8 | p[i];
    return v;
}

static void sip_rounds(uint64_t v[4], unsigned n)
{
    while (n-- > 0) {
        v[0] += v[1];
        v[2] += v[3];
        v[1] = rotl(v[1], 13) ^ v[0];
        v[3] = rotl(v[3], 16) ^ v[2];
        v[0] = rotl(v[0], 32);
        v[2] += v[1];
        v[0] += v[3];
        v[1] = rotl(v[1], 17) ^ v[2];
        v[3] = rotl(v[3], 21) ^ v[0];
        v[2] = rotl(v[2], 32);
    }
}

uint64_t pea__siphash(const uint8_t key[PEA__SIPHASH_KEY_BYTES], const void *data, size_t len)
{
    uint64_t k0 = load_le64(key), k1 = load_le64(key + 8);
    uint64_t v[4] = {k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261,
                     k1 ^ 0x7465646279746573};
    const uint8_t *p = data;
    size_t rest = len;
    for (; rest >= 8; p += 8, rest -= 8) {
        uint64_t m = load_le64(p);
        v[3] ^= m;
        sip_rounds(v, 2);
        v[0] ^= m;
    }
    uint64_t last = (uint64_t)len << 56;
    for (size_t i = 0; i < rest; i++)
        last |= (uint64_t)p[i] << (8 * i);
    v[3] ^= last;
    sip_rounds(v, 2);
    v[0] ^= last;
    v[2] ^= 0xFF;
    sip_rounds(v, 4);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static uint8_t table_key[PEA__SIPHASH_KEY_BYTES];
static pthread_once_t table_key_once = PTHREAD_ONCE_INIT;

static void table_key_draw(void)
{
    if (getentropy(table_key, sizeof table_key) != 0)
        /* 16 bytes never come short once the system has booted; a known key would open every table to floods */
        abort();
}

uint64_t pea__table_hash(const void *data, size_t len)
{
    pthread_once(&table_key_once, table_key_draw);
    return pea__siphash(table_key, data, len);
}
