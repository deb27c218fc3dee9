/* SPDX-License-Identifier: MIT */
/* Which mbedTLS this is, which versions of TLS it can be trusted with, and what has to happen once before threads
 * use it. */
#include <stdio.h>
#include <string.h>

#include "session_priv.h"
#include <mbedtls/aes.h>

#if PEA__TLS13
#include <psa/crypto.h>
#endif

/* The release that this program runs with; the headers' may be an older one of the same line. */
static unsigned release(void)
{
    return mbedtls_version_get_number() >> 8;
}

/* Up to 3.6.5 a TLS 1.2 client takes signature algorithms that it did not offer (CVE-2026-25834), and a server that
 * speaks both versions has been led from one to the other (CVE-2026-34873): these speak TLS 1.3 alone. */
static bool speaks_both(void)
{
    return release() >= 0x030606;
}

bool pea__tls_speaks(pea_tls_version version)
{
    if (version == PEA_TLS_1_3)
        return PEA__TLS13;
    return version == PEA_TLS_1_2 && (!PEA__TLS13 || speaks_both());
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char library[96];
static bool ready;

/* mbedTLS fills AES tables and asks the CPU for its instructions at the first use, without a lock: CVE-2025-52496. */
static bool first_aes(void)
{
    static const unsigned char key[16], block[16];
    unsigned char out[16];
    mbedtls_aes_context aes;
    mbedtls_aes_init(&aes);
    bool fine = mbedtls_aes_setkey_enc(&aes, key, 128) == 0 &&
                mbedtls_aes_crypt_ecb(&aes, MBEDTLS_AES_ENCRYPT, block, out) == 0 &&
                mbedtls_aes_setkey_dec(&aes, key, 128) == 0 &&
                mbedtls_aes_crypt_ecb(&aes, MBEDTLS_AES_DECRYPT, out, out) == 0;
    mbedtls_aes_free(&aes);
    return fine;
}

static void start(void)
{
    unsigned v = release();
    bool both = pea__tls_speaks(PEA_TLS_1_3) && pea__tls_speaks(PEA_TLS_1_2);
    (void)snprintf(library, sizeof library, "mbedTLS %u.%u.%u: TLS %s%s", v >> 16, v >> 8 & 0xff, v & 0xff,
                   both                           ? "1.3, 1.2"
                   : pea__tls_speaks(PEA_TLS_1_3) ? "1.3"
                                                  : "1.2",
                   PEA__MBEDTLS_2 ? " (a compatibility build)" : "");
    ready = first_aes();
#if PEA__TLS13
    ready = psa_crypto_init() == PSA_SUCCESS && ready;
#endif
}

pea_err pea__tls_init(pea_error *why)
{
    pea_err err = pea__secure_init(why);
    if (err != PEA_OK)
        return err;
    (void)pthread_once(&once, start);
    return ready ? PEA_OK
                 : pea__error(why, PEA_E_UNSUPPORTED, "mbedTLS does not start: it finds no randomness, or no AES");
}

const char *pea_tls_library(void)
{
    (void)pthread_once(&once, start);
    return library;
}

const char *pea__tls_notice(void)
{
    if (PEA__MBEDTLS_2)
        return "TLS is a compatibility build: mbedTLS 2.28 speaks TLS 1.2 alone, and its makers maintain it no longer";
    return speaks_both() ? NULL : "this mbedTLS 3.6 is too old to speak TLS 1.2 safely: it speaks TLS 1.3 alone";
}
