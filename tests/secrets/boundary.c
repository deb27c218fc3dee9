/* SPDX-License-Identifier: MIT */
/* The boundary of what is secret. The linker leads calls of the library to the functions here (--wrap), which call
 * the true one and say which of its results is public, and why. The library itself knows nothing of this. */
#define _GNU_SOURCE /* memmem */
#include "secrets.h"

#include <sodium.h>
#include <string.h>
#include <unistd.h>
#include <valgrind/memcheck.h>

#include "noise/noise_priv.h"
#include "secure_priv.h"

bool secrets_show_plaintext, secrets_read_keys, secrets_leak_by_index;
secrets_place secrets_leak_at;

void secrets_hide(const void *data, size_t len)
{
    (void)VALGRIND_MAKE_MEM_UNDEFINED(data, len);
}

void secrets_show(const void *data, size_t len)
{
    (void)VALGRIND_MAKE_MEM_DEFINED(data, len);
}

size_t secrets_hidden(const void *data, size_t len)
{
    size_t hidden = 0;
    for (size_t i = 0; i < len; i++) {
        uint8_t bits = 0;
        (void)VALGRIND_GET_VBITS((const uint8_t *)data + i, &bits, 1);
        hidden += bits != 0;
    }
    return hidden;
}

/* ---- Deliberate leaks ---- */

static volatile unsigned seen;

static __attribute__((noinline)) void leak_by_branch(const uint8_t *secret)
{
    if ((secret[3] & 4) != 0)
        seen++;
}

static __attribute__((noinline)) void leak_by_index(const uint8_t *secret)
{
    static const uint8_t table[256] = {1};
    seen += table[secret[3]];
}

void secrets_leak(secrets_place place, const void *secret)
{
    if (secrets_leak_at != place)
        return;
    if (secrets_leak_by_index)
        leak_by_index(secret);
    else
        leak_by_branch(secret);
}

/* ---- X25519 ---- */

int __real_crypto_scalarmult_base(unsigned char *q, const unsigned char *n);
int __wrap_crypto_scalarmult_base(unsigned char *q, const unsigned char *n);
int __real_crypto_scalarmult(unsigned char *q, const unsigned char *n, const unsigned char *p);
int __wrap_crypto_scalarmult(unsigned char *q, const unsigned char *n, const unsigned char *p);
bool __real_pea__x25519_canonical(const uint8_t public_key[PEA_KEY_BYTES]);
bool __wrap_pea__x25519_canonical(const uint8_t public_key[PEA_KEY_BYTES]);

/* A public key is public. */
int __wrap_crypto_scalarmult_base(unsigned char *q, const unsigned char *n)
{
    secrets_leak(SECRETS_EPHEMERAL, n);
    int failed = __real_crypto_scalarmult_base(q, n);
    secrets_show(q, crypto_scalarmult_BYTES);
    secrets_show(&failed, sizeof failed);
    return failed;
}

/* Whether it failed is public: only the peer's public key decides that. */
int __wrap_crypto_scalarmult(unsigned char *q, const unsigned char *n, const unsigned char *p)
{
    secrets_leak(SECRETS_SCALAR, n);
    int failed = __real_crypto_scalarmult(q, n, p);
    secrets_show(&failed, sizeof failed);
    secrets_leak(SECRETS_SHARED, q);
    return failed;
}

/* It is asked of public keys only; the peer's came encrypted. */
bool __wrap_pea__x25519_canonical(const uint8_t public_key[PEA_KEY_BYTES])
{
    secrets_show(public_key, PEA_KEY_BYTES);
    return __real_pea__x25519_canonical(public_key);
}

/* ---- Verdicts: yes or no over all bytes of something. libsodium comes to them without a branch, our code may act
 * on them. ---- */

int __real_sodium_is_zero(const unsigned char *n, size_t len);
int __wrap_sodium_is_zero(const unsigned char *n, size_t len);
int __real_sodium_memcmp(const void *a, const void *b, size_t len);
int __wrap_sodium_memcmp(const void *a, const void *b, size_t len);

int __wrap_sodium_is_zero(const unsigned char *n, size_t len)
{
    int verdict = __real_sodium_is_zero(n, len);
    secrets_show(&verdict, sizeof verdict);
    return verdict;
}

int __wrap_sodium_memcmp(const void *a, const void *b, size_t len)
{
    int verdict = __real_sodium_memcmp(a, b, len);
    secrets_show(&verdict, sizeof verdict);
    return verdict;
}

/* A dash is no letter of base64: that a letter is not one is no secret. */
void *__wrap_memchr(const void *data, int byte, size_t len);

void *__wrap_memchr(const void *data, int byte, size_t len)
{
    const uint8_t *from = data;
    for (size_t i = 0; i < len; i++) {
        int verdict = from[i] == (uint8_t)byte;
        if (byte == '-')
            secrets_show(&verdict, sizeof verdict);
        if (verdict)
            return (uint8_t *)(uintptr_t)(from + i);
    }
    return NULL;
}

/* ---- Ciphers. libsodium and libcrypto branch on a tag's verdict themselves: boundary.supp names those places. ---- */

#define PLAIN_OUT unsigned char *m, unsigned long long *m_len, unsigned char *nsec
#define CIPHER_IN const unsigned char *c, unsigned long long c_len, const unsigned char *ad, unsigned long long ad_len
#define DECRYPTS(name, key_type)                                                              \
    int __real_##name(PLAIN_OUT, CIPHER_IN, const unsigned char *nonce, const key_type *key); \
    int __wrap_##name(PLAIN_OUT, CIPHER_IN, const unsigned char *nonce, const key_type *key); \
    int __wrap_##name(PLAIN_OUT, CIPHER_IN, const unsigned char *nonce, const key_type *key)  \
    {                                                                                         \
        int verdict = __real_##name(m, m_len, nsec, c, c_len, ad, ad_len, nonce, key);        \
        secrets_show(&verdict, sizeof verdict);                                               \
        return verdict;                                                                       \
    }

DECRYPTS(crypto_aead_chacha20poly1305_ietf_decrypt, unsigned char)
DECRYPTS(crypto_aead_aes256gcm_decrypt, unsigned char)
DECRYPTS(crypto_aead_aes256gcm_decrypt_afternm, crypto_aead_aes256gcm_state)

pea_err __real_pea__aead_encrypt(pea__aead_id aead, const uint8_t *k, const pea__aead_expanded *expanded, uint64_t n,
                                 pea_span ad, const uint8_t *plain, size_t len, uint8_t *out);
pea_err __wrap_pea__aead_encrypt(pea__aead_id aead, const uint8_t *k, const pea__aead_expanded *expanded, uint64_t n,
                                 pea_span ad, const uint8_t *plain, size_t len, uint8_t *out);
pea_err __real_pea__encrypt_with_ad(pea__cipher_state *cs, pea_span ad, const uint8_t *plain, size_t len, uint8_t *out);
pea_err __wrap_pea__encrypt_with_ad(pea__cipher_state *cs, pea_span ad, const uint8_t *plain, size_t len, uint8_t *out);
pea_err __real_pea__decrypt_with_ad(pea__cipher_state *cs, pea_span ad, const uint8_t *cipher, size_t len,
                                    uint8_t *out);
pea_err __wrap_pea__decrypt_with_ad(pea__cipher_state *cs, pea_span ad, const uint8_t *cipher, size_t len,
                                    uint8_t *out);

/* Nothing of it becomes public here: rekeying uses it to make a key. */
pea_err __wrap_pea__aead_encrypt(pea__aead_id aead, const uint8_t *k, const pea__aead_expanded *expanded, uint64_t n,
                                 pea_span ad, const uint8_t *plain, size_t len, uint8_t *out)
{
    secrets_leak(SECRETS_KEY, k);
    pea_err err = __real_pea__aead_encrypt(aead, k, expanded, n, ad, plain, len, out);
    if (n == UINT64_MAX)
        secrets_leak(SECRETS_REKEYED, out);
    return err;
}

/* What is encrypted goes to the wire. */
pea_err __wrap_pea__encrypt_with_ad(pea__cipher_state *cs, pea_span ad, const uint8_t *plain, size_t len, uint8_t *out)
{
    pea_err err = __real_pea__encrypt_with_ad(cs, ad, plain, len, out);
    if (err == PEA_OK)
        secrets_show(out, len + pea__cipher_overhead(cs));
    return err;
}

/* The tag that is the right one, in a branch of our own: what comparing it by memcmp() would be. */
static void leak_tag(const pea__cipher_state *cs, pea_span ad, const uint8_t *cipher, size_t len)
{
    uint8_t again[64];
    if (secrets_leak_at != SECRETS_TAG || !cs->has_key || len > sizeof again ||
        __real_pea__aead_encrypt(cs->aead, cs->k, cs->expanded, cs->n, ad, cipher, len - PEA_NOISE_TAG_BYTES, again) !=
            PEA_OK)
        return;
    secrets_leak(SECRETS_TAG, again + len - PEA_NOISE_TAG_BYTES);
}

pea_err __wrap_pea__decrypt_with_ad(pea__cipher_state *cs, pea_span ad, const uint8_t *cipher, size_t len, uint8_t *out)
{
    leak_tag(cs, ad, cipher, len);
    pea_err err = __real_pea__decrypt_with_ad(cs, ad, cipher, len, out);
    if (err == PEA_OK && secrets_show_plaintext)
        secrets_show(out, len - pea__cipher_overhead(cs));
    return err;
}

/* ---- Where secrets come from ---- */

void __real_randombytes_buf(void *buf, size_t len);
void __wrap_randombytes_buf(void *buf, size_t len);
void __real_pea__mix_key_and_hash(pea__symmetric_state *ss, const uint8_t *input, size_t len);
void __wrap_pea__mix_key_and_hash(pea__symmetric_state *ss, const uint8_t *input, size_t len);
ssize_t __real_read(int fd, void *data, size_t len);
ssize_t __wrap_read(int fd, void *data, size_t len);

/* The library asks it for ephemeral and for new static keys; libsodium's own calls do not come here. */
void __wrap_randombytes_buf(void *buf, size_t len)
{
    __real_randombytes_buf(buf, len);
    secrets_hide(buf, len);
}

void __wrap_pea__mix_key_and_hash(pea__symmetric_state *ss, const uint8_t *input, size_t len)
{
    secrets_leak(SECRETS_PSK, input);
    __real_pea__mix_key_and_hash(ss, input, len);
}

/* In PEM all letters between the lines but the first 21, which are the same in every key of a kind, and of a network's
 * key all of them; in DER all behind the version, and what shows that it is one; else a whole line but for its padding.
 * What is encrypted, or a certificate, is public. */
static void hide_key(char *text, size_t len)
{
    static const char label[] = "PRIVATE KEY-----\n", network[] = "NETWORK KEY-----\n";
    size_t at = 0, letters = 0, public_letters = 0;
    const char *found = memmem(text, len, label, sizeof label - 1);
    if (text[0] == 0x30) {
        if (memmem(text, len, "\x2a\x86\x48\x86\xf7\x0d\x01\x05", 8) == NULL) /* PKCS#5's algorithms */
            secrets_hide(text + 8, len - 8);
        return;
    }
    if (found != NULL) {
        at = (size_t)(found - text) + sizeof label - 1;
        public_letters = 21;
        if (memmem(text, len, "ENCRYPTED", 9) != NULL)
            return;
    }
    if ((found = memmem(text, len, network, sizeof network - 1)) != NULL)
        at = (size_t)(found - text) + sizeof network - 1;
    for (; at < len && text[at] != '-' && text[at] != '='; at++)
        if (text[at] != '\n' && text[at] != '\r' && text[at] != ' ' && ++letters > public_letters)
            secrets_hide(text + at, 1);
}

ssize_t __wrap_read(int fd, void *data, size_t len)
{
    ssize_t n = __real_read(fd, data, len);
    if (n > 0 && secrets_read_keys)
        hide_key(data, (size_t)n);
    return n;
}

/* ---- Where secrets are meant to go ---- */

ssize_t __real_write(int fd, const void *data, size_t len);
ssize_t __wrap_write(int fd, const void *data, size_t len);
uint8_t *__real_pea__guard(const uint8_t *secret, size_t len);
uint8_t *__wrap_pea__guard(const uint8_t *secret, size_t len);
pea_err __real_pea__keyfile_read(uint8_t secret[PEA_KEY_BYTES], pea__key_kind kind, const char *text, size_t len,
                                 pea_error *why);
pea_err __wrap_pea__keyfile_read(uint8_t secret[PEA_KEY_BYTES], pea__key_kind kind, const char *text, size_t len,
                                 pea_error *why);

/* The user asked for this file. */
ssize_t __wrap_write(int fd, const void *data, size_t len)
{
    secrets_leak(SECRETS_WRITTEN, (const uint8_t *)data + 60);
    secrets_show(data, len);
    return __real_write(fd, data, len);
}

uint8_t *__wrap_pea__guard(const uint8_t *secret, size_t len)
{
    uint8_t *guarded = __real_pea__guard(secret, len);
    if (guarded != NULL)
        secrets_leak(SECRETS_GUARDED, guarded);
    return guarded;
}

pea_err __wrap_pea__keyfile_read(uint8_t secret[PEA_KEY_BYTES], pea__key_kind kind, const char *text, size_t len,
                                 pea_error *why)
{
    pea_err err = __real_pea__keyfile_read(secret, kind, text, len, why);
    if (err == PEA_OK)
        secrets_leak(SECRETS_DECODED, secret);
    return err;
}
