/* SPDX-License-Identifier: MIT */
/* What a record costs in each library: `aead` prints nanoseconds by size for both ciphers, and their ratio. The
 * libraries take turns, and medians of many turns are shown: a busy machine changes the figures and hardly the ratios.
 * It is how PEA__LIBCRYPTO_FROM was found. `aead CIPHER LIBRARY SIZE TIMES` only encrypts: for counting
 * instructions. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "noise/noise_priv.h"
#include "secure_priv.h"

enum { TURNS = 101, LARGEST = 61422 };
enum { SODIUM, LIBCRYPTO };

static const char *const ciphers[] = {[PEA__CHACHAPOLY] = "ChaChaPoly", [PEA__AESGCM] = "AESGCM"};
static const uint8_t k[PEA__AEAD_KEY_BYTES] = {1}, nonce[12] = {2};
static uint8_t plain[LARGEST], sealed[LARGEST + 16], out[LARGEST + 16];
static crypto_aead_aes256gcm_state expanded;

static bool sodium(pea__aead_id aead, bool encrypt, size_t len)
{
    if (aead == PEA__AESGCM)
        return encrypt
                   ? crypto_aead_aes256gcm_encrypt_afternm(out, NULL, plain, len, NULL, 0, NULL, nonce, &expanded) == 0
                   : crypto_aead_aes256gcm_decrypt_afternm(out, NULL, NULL, sealed, len + 16, NULL, 0, nonce,
                                                           &expanded) == 0;
    return encrypt
               ? crypto_aead_chacha20poly1305_ietf_encrypt(out, NULL, plain, len, NULL, 0, NULL, nonce, k) == 0
               : crypto_aead_chacha20poly1305_ietf_decrypt(out, NULL, NULL, sealed, len + 16, NULL, 0, nonce, k) == 0;
}

static void work(pea__aead_id aead, int library, bool encrypt, size_t len, unsigned times)
{
    const pea_span none = {NULL, 0};
    bool good = true;
    while (good && times-- > 0)
        good = library == SODIUM ? sodium(aead, encrypt, len)
               : encrypt         ? pea__libcrypto_encrypt(aead, k, nonce, none, plain, len, out) == PEA_OK
                                 : pea__libcrypto_decrypt(aead, k, nonce, none, sealed, len + 16, out) == PEA_OK;
    if (!good) {
        fprintf(stderr, "aead: %s of %zu bytes failed\n", ciphers[aead], len);
        exit(1);
    }
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Nanoseconds of one record in each library. */
static void measure(pea__aead_id aead, bool encrypt, size_t len, double ns[2])
{
    static double turns[2][TURNS];
    unsigned times = 1 + 200000 / (unsigned)(len + 1000);
    for (unsigned turn = 0; turn < 2 * TURNS; turn++) {
        struct timespec from, to;
        (void)clock_gettime(CLOCK_MONOTONIC, &from);
        work(aead, turn % 2, encrypt, len, times);
        (void)clock_gettime(CLOCK_MONOTONIC, &to);
        turns[turn % 2][turn / 2] =
            ((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) / times;
    }
    for (int library = SODIUM; library <= LIBCRYPTO; library++) {
        qsort(turns[library], TURNS, sizeof turns[library][0], by_value);
        ns[library] = turns[library][TURNS / 2];
    }
}

static void print(pea__aead_id aead)
{
    static const size_t sizes[] = {64, 256, 512, 1024, 1536, 2048, 3072, 4096, 8192, 16384, LARGEST};
    printf("%-10s %7s %10s %10s %6s %10s %10s %6s\n", ciphers[aead], "size", "encrypt", "libcrypto", "ratio", "decrypt",
           "libcrypto", "ratio");
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        double ns[2][2];
        if (pea__libcrypto_encrypt(aead, k, nonce, (pea_span){NULL, 0}, plain, sizes[i], sealed) != PEA_OK)
            return;
        for (int decrypt = 0; decrypt < 2; decrypt++)
            measure(aead, decrypt == 0, sizes[i], ns[decrypt]);
        printf("%-10s %7zu %10.0f %10.0f %6.2f %10.0f %10.0f %6.2f\n", "", sizes[i], ns[0][0], ns[0][1],
               ns[0][0] / ns[0][1], ns[1][0], ns[1][1], ns[1][0] / ns[1][1]);
    }
}

int main(int argc, char **argv)
{
    bool aes, counts = argc == 5;
    if (pea__secure_init(NULL) != PEA_OK || !pea__libcrypto_available(PEA__CHACHAPOLY)) {
        fprintf(stderr, "aead: this build has no libcrypto to measure\n");
        return 1;
    }
    aes = crypto_aead_aes256gcm_is_available() != 0;
    if (aes)
        (void)crypto_aead_aes256gcm_beforenm(&expanded, k);
    if (counts) {
        pea__aead_id aead = strcmp(argv[1], ciphers[PEA__AESGCM]) == 0 ? PEA__AESGCM : PEA__CHACHAPOLY;
        size_t len = strtoul(argv[3], NULL, 10);
        if (len > LARGEST || (aead == PEA__AESGCM && !aes))
            return 2;
        work(aead, strcmp(argv[2], "libcrypto") == 0 ? LIBCRYPTO : SODIUM, true, len,
             (unsigned)strtoul(argv[4], NULL, 10));
        return 0;
    }
    print(PEA__CHACHAPOLY);
    if (aes)
        print(PEA__AESGCM);
    return 0;
}
