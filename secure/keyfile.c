/* SPDX-License-Identifier: MIT */
/* Secret keys as text and as files: PKCS#8 PEM with an X25519 or Ed25519 key (RFC 8410), or the base64 line of `wg
 * genkey`. The forms are matched exactly, no general parser of PEM or DER is here. No branch and no index depends on
 * the letters of a key: tests/secrets/ holds it to that. Files that others could read or change are refused, and none
 * is ever overwritten. */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf_priv.h"
#include "err_priv.h"
#include "secure_priv.h"

/* ---- Text ---- */

#define BEGIN "-----BEGIN "
#define DASHES "-----"
#define END "-----END PRIVATE KEY-----"

/* RFC 8410, section 7: PrivateKeyInfo { version 0, AlgorithmIdentifier { 1.3.101.110 or 112 }, OCTET STRING { OCTET
 * STRING { 32 bytes } } } */
#define PREFIX_BYTES 16u
static const uint8_t der_prefix[][PREFIX_BYTES] = {
    [PEA__KEY_X25519] = {0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x6e, 0x04, 0x22, 0x04,
                         0x20},
    [PEA__KEY_ED25519] = {0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04,
                          0x20},
};
static const char *const wanted[] = {[PEA__KEY_X25519] = "X25519", [PEA__KEY_ED25519] = "Ed25519"};

#define DER_BYTES (PREFIX_BYTES + PEA_KEY_BYTES)
#define DER_MAX (PEA__KEY_TEXT_MAX / 4 * 3)

/* Algorithms' identifiers, so that an error can name what somebody took for the key that is wanted. */
static const struct {
    const char *name;
    uint8_t len;
    uint8_t oid[11];
} algorithms[] = {
    {"an X25519", 5, {0x06, 0x03, 0x2b, 0x65, 0x6e}},
    {"an Ed25519", 5, {0x06, 0x03, 0x2b, 0x65, 0x70}},
    {"an Ed448", 5, {0x06, 0x03, 0x2b, 0x65, 0x71}},
    {"an X448", 5, {0x06, 0x03, 0x2b, 0x65, 0x6f}},
    {"an elliptic-curve", 9, {0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01}},
    {"an RSA", 11, {0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01}},
};

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

pea_err pea__text_error(pea_error *why, pea_err code, const char *text, const char *at, const char *sentence)
{
    uint32_t line = 1;
    for (const char *p = text; p < at; p++)
        line += *p == '\n';
    (void)pea__error(why, code, sentence);
    if (why != NULL)
        why->line = line;
    return code;
}

/* The first place of `what` in [from, end); NULL: none. */
static const char *find(const char *from, const char *end, const char *what)
{
    size_t len = strlen(what);
    for (; (size_t)(end - from) >= len; from++)
        if (memcmp(from, what, len) == 0)
            return from;
    return NULL;
}

bool pea__text_has_zero(const char *text, size_t len)
{
    uint8_t seen = 0;
    for (size_t i = 0; i < len; i++)
        seen |= (uint8_t)(((uint8_t)text[i] - 1u) >> 8); /* 0 alone wraps */
    return !sodium_is_zero(&seen, 1);
}

/* Behind the tag and the length of a SEQUENCE, or the whole of a primitive: `*at` moves on. false: there is none. */
static bool der_enter(const uint8_t *der, size_t len, size_t *at, uint8_t tag)
{
    if (len - *at < 2 || der[*at] != tag)
        return false;
    size_t size = der[*at + 1], more = size > 0x80 ? size - 0x80 : 0; /* a long length has so many bytes of its own */
    *at += 2 + (tag == 0x30 ? more : size);
    return more <= 4 && *at <= len;
}

/* Where PKCS#8 (RFC 5208) names the algorithm: SEQUENCE { INTEGER version, SEQUENCE { OID. The key lies behind it, and
 * of that nothing is looked at. len: there is none. */
static size_t der_algorithm(const uint8_t *der, size_t len)
{
    size_t at = 0;
    return der_enter(der, len, &at, 0x30) && der_enter(der, len, &at, 0x02) && der_enter(der, len, &at, 0x30) ? at
                                                                                                              : len;
}

static pea_err der_error(pea_error *why, pea__key_kind kind, const uint8_t *der, size_t len)
{
    const char *name = wanted[kind];
    size_t at = der_algorithm(der, len);
    for (size_t i = 0; i < sizeof algorithms / sizeof algorithms[0]; i++)
        if (len - at >= algorithms[i].len && memcmp(der + at, algorithms[i].oid, algorithms[i].len) == 0 &&
            strcmp(algorithms[i].name + strlen("an "), name) != 0)
            return pea__errorf(why, PEA_E_UNSUPPORTED,
                               "this is %s key, and %s is needed: openssl genpkey -algorithm %s", algorithms[i].name,
                               name, name);
    return pea__errorf(why, PEA_E_FORMAT, "this is no PKCS#8 %s key as openssl genpkey -algorithm %s writes it", name,
                       name);
}

/* The base64 between the two lines of PEM. */
static pea_err read_der(uint8_t secret[PEA_KEY_BYTES], pea__key_kind kind, const char *text, const char *body,
                        const char *end, pea_error *why)
{
    uint8_t der[DER_MAX];
    size_t len = 0;
    const char *stop = body;
    pea_err err = PEA_OK;
    int bad = sodium_base642bin(der, sizeof der, body, (size_t)(end - body), "\r\n", &len, &stop,
                                sodium_base64_VARIANT_ORIGINAL);
    if (bad != 0 || stop != end)
        err = pea__text_error(why, PEA_E_FORMAT, text, stop, "the base64 between the BEGIN and END lines is broken");
    else if (len != DER_BYTES || sodium_memcmp(der, der_prefix[kind], PREFIX_BYTES) != 0)
        err = der_error(why, kind, der, len);
    else
        memcpy(secret, der + PREFIX_BYTES, PEA_KEY_BYTES);
    sodium_memzero(der, sizeof der);
    return err;
}

static pea_err label_error(pea_error *why, pea__key_kind kind, const char *text, const char *at, const char *label,
                           size_t len)
{
    if (len == 21 && memcmp(label, "ENCRYPTED PRIVATE KEY", 21) == 0)
        return pea__text_error(why, PEA_E_UNSUPPORTED, text, at,
                               "this key is encrypted: write it in the clear with openssl pkey -in FILE -out NEW");
    if (len == 10 && memcmp(label, "PUBLIC KEY", 10) == 0)
        return pea__text_error(why, PEA_E_FORMAT, text, at, "this is a public key, and the private one is needed");
    if (len == 18 && memcmp(label, "PEAPOD NETWORK KEY", 18) == 0)
        return pea__text_error(why, PEA_E_FORMAT, text, at,
                               "this is a network's key, and one's own private key is needed");
    return pea__text_error(why, PEA_E_UNSUPPORTED, text, at,
                           kind == PEA__KEY_X25519
                               ? "this is not a PKCS#8 PRIVATE KEY: make one with openssl genpkey -algorithm X25519"
                               : "this is not a PKCS#8 PRIVATE KEY: make one with openssl genpkey -algorithm Ed25519");
}

/* `at` is where BEGIN stands, `end` where the last line ends. */
static pea_err read_pem(uint8_t secret[PEA_KEY_BYTES], pea__key_kind kind, const char *text, const char *at,
                        const char *end, pea_error *why)
{
    const char *label = at + strlen(BEGIN);
    const char *label_end = find(label, end, DASHES);
    if (label_end == NULL)
        return pea__text_error(why, PEA_E_FORMAT, text, at, "the BEGIN line is cut short");
    size_t label_len = (size_t)(label_end - label);
    if (label_len != 11 || memcmp(label, "PRIVATE KEY", 11) != 0)
        return label_error(why, kind, text, at, label, label_len);
    const char *body = label_end + strlen(DASHES);
    if (body == end || (*body != '\n' && *body != '\r'))
        return pea__text_error(why, PEA_E_FORMAT, text, at, "the BEGIN line goes on behind its dashes");
    const char *body_end = end - strlen(END);
    if ((size_t)(end - body) <= strlen(END) || memcmp(body_end, END, strlen(END)) != 0 || body_end[-1] != '\n')
        return pea__text_error(why, PEA_E_FORMAT, text, end, "the END line is missing, or something follows it");
    return read_der(secret, kind, text, body, body_end, why);
}

static pea_err neither_error(pea_error *why, pea__key_kind kind, const char *text, const char *at)
{
    if (kind != PEA__KEY_X25519)
        return pea__text_error(why, PEA_E_FORMAT, text, at, "this is no PEM private key");
    return pea__text_error(why, PEA_E_FORMAT, text, at,
                           "this is neither a PEM private key nor 32 bytes of base64, as wg genkey writes them");
}

bool pea__key_text_trim(const char **at, const char **end, bool may_be_line)
{
    while (*end > *at && is_space((*end)[-1])) /* stops at a dash or at padding: neither is the key's */
        (*end)--;
    bool ends = may_be_line && *end - *at >= (ptrdiff_t)PEA__KEY_LINE_LETTERS && (*end)[-1] == '=';
    const char *line = ends ? *end - PEA__KEY_LINE_LETTERS : *end;
    while (*at < line && is_space(**at))
        (*at)++;
    return ends && *at == line;
}

/* Exactly the letters in [at, end). */
static pea_err read_base64(uint8_t secret[PEA_KEY_BYTES], const char *text, const char *at, const char *end,
                           pea_error *why)
{
    uint8_t key[PEA_KEY_BYTES];
    size_t len = 0;
    const char *stop = at;
    pea_err err = PEA_OK;
    int bad =
        sodium_base642bin(key, sizeof key, at, (size_t)(end - at), NULL, &len, &stop, sodium_base64_VARIANT_ORIGINAL);
    if (bad != 0 || stop != end || len != sizeof key)
        err = neither_error(why, PEA__KEY_X25519, text, at);
    else
        memcpy(secret, key, sizeof key);
    sodium_memzero(key, sizeof key);
    return err;
}

pea_err pea__keyfile_read(uint8_t secret[PEA_KEY_BYTES], pea__key_kind kind, const char *text, size_t len,
                          pea_error *why)
{
    const char *at = text, *end = text + len;
    if (len > PEA__KEY_TEXT_MAX)
        return pea__error(why, PEA_E_FORMAT, "this is no key: it is longer than 4,096 bytes");
    if (pea__text_has_zero(text, len)) /* libsodium's base64 would skip them */
        return pea__error(why, PEA_E_FORMAT, "this is no key: there are zero bytes in it");
    bool line = pea__key_text_trim(&at, &end, kind == PEA__KEY_X25519);
    if (at == end)
        return pea__error(why, PEA_E_FORMAT, "there is no key in it: it is empty");
    if (line)
        return read_base64(secret, text, at, end, why);
    if ((size_t)(end - at) > strlen(BEGIN) && memcmp(at, BEGIN, strlen(BEGIN)) == 0)
        return read_pem(secret, kind, text, at, end, why);
    return neither_error(why, kind, text, at);
}

size_t pea__keyfile_write(char pem[PEA__PEM_BYTES], pea__key_kind kind, const uint8_t secret[PEA_KEY_BYTES])
{
    uint8_t der[DER_BYTES];
    char base64[sodium_base64_ENCODED_LEN(DER_BYTES, sodium_base64_VARIANT_ORIGINAL)];
    memcpy(der, der_prefix[kind], PREFIX_BYTES);
    memcpy(der + PREFIX_BYTES, secret, PEA_KEY_BYTES);
    sodium_bin2base64(base64, sizeof base64, der, sizeof der, sodium_base64_VARIANT_ORIGINAL);
    /* Every length is known: printf() would look for the end of the letters among them. */
    static const char before[] = BEGIN "PRIVATE KEY" DASHES "\n", after[] = "\n" END "\n";
    const size_t letters = sizeof base64 - 1;
    _Static_assert(sizeof before - 1 + sizeof base64 - 1 + sizeof after <= PEA__PEM_BYTES, "a PEM has room");
    memcpy(pem, before, sizeof before - 1);
    memcpy(pem + sizeof before - 1, base64, letters);
    memcpy(pem + sizeof before - 1 + letters, after, sizeof after);
    sodium_memzero(der, sizeof der);
    sodium_memzero(base64, sizeof base64);
    return sizeof before - 1 + letters + sizeof after - 1;
}

/* ---- Reading a file ---- */

/* What fstat() said of the open file: who owns it, and who else may touch it. */
static pea_err check_file(const struct stat *st, const char *path, bool secret, pea_error *why)
{
    if (!S_ISREG(st->st_mode))
        return pea__errorf(why, PEA_E_PERMISSION, "%s: not a regular file", path);
    if (!secret)
        return PEA_OK;
    if (st->st_uid != geteuid() && st->st_uid != 0)
        return pea__errorf(why, PEA_E_PERMISSION, "%s: belongs to user %lu, neither to us nor to root: chown it", path,
                           (unsigned long)st->st_uid);
    mode_t forbidden = S_IRWXO | S_IWGRP | S_IXGRP | (st->st_uid == 0 ? 0 : S_IRGRP);
    if ((st->st_mode & forbidden) != 0)
        return pea__errorf(why, PEA_E_PERMISSION, "%s: mode %04o lets others touch the secret key: chmod 600 it", path,
                           (unsigned)(st->st_mode & 07777));
    return PEA_OK;
}

/* Reads all of an open file into guarded memory. */
static pea_err read_all(int fd, const char *path, char *text, size_t room, size_t *len, pea_error *why)
{
    size_t at = 0;
    while (at < room) {
        ssize_t n = read(fd, text + at, room - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return pea__error_sys(why, errno, path);
        if (n == 0)
            break;
        at += (size_t)n;
    }
    *len = at;
    return PEA_OK;
}

void pea__name_file(pea_error *why, const char *path)
{
    char sentence[PEA_ERROR_TEXT_BYTES];
    if (why == NULL)
        return;
    memcpy(sentence, why->text, sizeof sentence);
    (void)snprintf(why->text, sizeof why->text, "%.120s: %.130s", path, sentence);
}

/* O_NONBLOCK: the path may name a FIFO, which would have us wait for a writer before we can see what it is. */
static pea_err open_file(int *fd, struct stat *st, const char *path, pea_error *why)
{
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (*fd >= 0 && fstat(*fd, st) == 0)
        return PEA_OK;
    pea_err err = pea__error_sys(why, errno, path);
    if (*fd >= 0)
        (void)close(*fd);
    return err;
}

pea_err pea__file_slurp(char **text, size_t *len, const char *path, size_t max, bool secret, pea_error *why)
{
    struct stat st = {.st_mode = 0};
    int fd;
    char *fresh = NULL;
    pea_err err = pea__secure_init(why);
    if (err == PEA_OK)
        err = open_file(&fd, &st, path, why);
    if (err != PEA_OK)
        return err;
    err = check_file(&st, path, secret, why);
    if (err == PEA_OK && (fresh = sodium_malloc(max + 1)) == NULL)
        err = pea__error(why, PEA_E_NOMEM, "no guarded memory to read a file into");
    if (err == PEA_OK)
        err = read_all(fd, path, fresh, max + 1, len, why);
    (void)close(fd);
    if (err != PEA_OK) {
        sodium_free(fresh); /* wipes */
        return err;
    }
    *text = fresh;
    return PEA_OK;
}

pea_err pea_identity_load(pea_identity **identity, const char *path, pea_error *why)
{
    char *text = NULL;
    size_t len = 0;
    pea_err err = pea__file_slurp(&text, &len, path, PEA__KEY_TEXT_MAX, true, why);
    if (err != PEA_OK)
        return err;
    err = pea_identity_parse(identity, text, len, why);
    if (err != PEA_OK)
        pea__name_file(why, path);
    sodium_free(text); /* wipes */
    return err;
}

/* ---- Writing a file ---- */

static pea_err write_all(int fd, const char *path, const char *text, size_t len, pea_error *why)
{
    for (size_t at = 0; at < len;) {
        ssize_t n = write(fd, text + at, len - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return pea__error_sys(why, errno, path);
        at += (size_t)n;
    }
    if (fsync(fd) != 0)
        return pea__error_sys(why, errno, path);
    return PEA_OK;
}

/* A name on the disk lasts only once its folder is synced. */
static pea_err sync_folder(const char *path, pea_error *why)
{
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    char *folder = pea__alloc(len + 2);
    if (folder == NULL)
        return pea__error(why, PEA_E_NOMEM, NULL);
    if (len > 0)
        memcpy(folder, path, len);
    else
        folder[0] = '.';
    pea_err err = PEA_OK;
    int fd = open(folder, O_RDONLY | O_CLOEXEC | O_DIRECTORY);
    /* EINVAL: a file system without folders to sync. */
    if (fd < 0 || (fsync(fd) != 0 && errno != EINVAL))
        err = pea__error_sys(why, errno, folder);
    if (fd >= 0)
        (void)close(fd);
    pea__free(folder);
    return err;
}

/* Writes `text` to a new file beside `path`, and only when it is whole and on the disk gives it that name: link() never
 * overwrites. */
static pea_err write_file(const char *path, const char *temporary, const char *text, size_t len, pea_error *why)
{
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR);
    if (fd < 0)
        return pea__error_sys(why, errno, path);
    pea_err err = write_all(fd, path, text, len, why);
    if (close(fd) != 0 && err == PEA_OK)
        err = pea__error_sys(why, errno, path);
    if (err == PEA_OK && link(temporary, path) != 0)
        err = errno == EEXIST ? pea__errorf(why, PEA_E_EXISTS, "%s: exists already, and is not overwritten", path)
                              : pea__error_sys(why, errno, path);
    (void)unlink(temporary);
    return err;
}

pea_err pea__file_save(const char *path, const char *text, size_t len, pea_error *why)
{
    size_t room = strlen(path) + 16;
    char *temporary = pea__alloc(room);
    if (temporary == NULL)
        return pea__error(why, PEA_E_NOMEM, NULL);
    (void)snprintf(temporary, room, "%s.%08x.new", path, (unsigned)randombytes_random());
    pea_err err = write_file(path, temporary, text, len, why);
    if (err == PEA_OK) {
        err = sync_folder(path, why);
        if (err != PEA_OK)
            (void)unlink(path);
    }
    pea__free(temporary);
    return err;
}

pea_err pea__keyfile_save(const char *path, pea__key_kind kind, const uint8_t secret[PEA_KEY_BYTES], pea_error *why)
{
    char pem[PEA__PEM_BYTES];
    size_t len = pea__keyfile_write(pem, kind, secret);
    pea_err err = pea__file_save(path, pem, len, why);
    sodium_memzero(pem, sizeof pem);
    return err;
}

pea_err pea_identity_save(const pea_identity *identity, const char *path, pea_error *why)
{
    if (pea__identity_is_certificate(identity))
        return pea__error(why, PEA_E_UNSUPPORTED, "this identity is a certificate: keep the files that it came from");
    return pea__keyfile_save(path, PEA__KEY_X25519, pea__identity_secret(identity), why);
}
