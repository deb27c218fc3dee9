/* SPDX-License-Identifier: MIT */
/* Trust on first use: a file of names that were dialled and the keys that answered, in the manner of SSH's known_hosts.
 * Lines are only appended; several processes may share a file. Who may come at all is trust.c's business. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "err_priv.h"
#include "rules_priv.h"

#define NAME_MAX_BYTES 255u        /* a DNS name has 253, an address as text fewer */
#define FILE_MAX_BYTES (16u << 20) /* a hundred thousand names */

typedef struct known {
    pea_peer peer;
    UT_hash_handle hh;
    char name[]; /* terminated */
} known;

struct pea__known_peers {
    pthread_mutex_t lock;
    char *path;
    known *by_name;
    size_t read; /* bytes of the file that are in the table */
};

static known *find(const pea__known_peers *k, const char *name)
{
    known *found;
    HASH_FIND(hh, k->by_name, name, strlen(name), found);
    return found;
}

static pea_err remember(pea__known_peers *k, const char *name, size_t len, const pea_peer *peer)
{
    known *fresh = pea__alloc(sizeof *fresh + len + 1);
    if (fresh == NULL)
        return PEA_E_NOMEM;
    memcpy(fresh->name, name, len);
    fresh->peer.kind = peer->kind;
    memcpy(fresh->peer.id, peer->id, PEA_ID_BYTES);
    HASH_ADD_KEYPTR(hh, k->by_name, fresh->name, len, fresh);
    if (fresh->hh.tbl == NULL) {
        pea__free(fresh);
        return PEA_E_NOMEM;
    }
    return PEA_OK;
}

/* ---- The file ---- */

/* One line: a name, a blank, a key. The first line of a name counts: nobody can take it over by a later one. */
static pea_err read_line(pea__known_peers *k, const char *line, size_t len, pea_error *why)
{
    char name[NAME_MAX_BYTES + 1], key[PEA_PEER_TEXT_BYTES];
    const char *blank = memchr(line, ' ', len);
    pea_peer peer;
    if (len == 0 || line[0] == '#')
        return PEA_OK;
    size_t n = blank != NULL ? (size_t)(blank - line) : 0, m = blank != NULL ? len - n - 1 : 0;
    if (n == 0 || n > NAME_MAX_BYTES || m == 0 || m >= sizeof key)
        return pea__error(why, PEA_E_FORMAT, "a line is a name, a blank and a key");
    memcpy(name, line, n);
    name[n] = '\0';
    memcpy(key, blank + 1, m);
    key[m] = '\0';
    pea_err err = pea_peer_parse(&peer, key, why);
    if (err == PEA_OK && peer.kind == PEA_PEER_NOISE)
        err = pea__x25519_check(peer.id, why);
    if (err != PEA_OK)
        return why->code = PEA_E_FORMAT;
    if (find(k, name) == NULL && remember(k, name, n, &peer) != PEA_OK)
        return pea__error(why, PEA_E_NOMEM, NULL);
    return PEA_OK;
}

/* Reads what is new in the file. */
static pea_err catch_up(pea__known_peers *k, pea_error *why)
{
    char *text;
    size_t len;
    pea_error inner = {.code = PEA_OK};
    pea_err err = pea__trust_file_read(&text, &len, k->path, FILE_MAX_BYTES, why);
    if (err != PEA_OK)
        return err;
    if (len < k->read)
        k->read = 0; /* somebody has edited it; what is known stays known until the next start */
    uint32_t line = 1;
    for (size_t i = 0; i < k->read; i++)
        line += text[i] == '\n';
    while (err == PEA_OK && k->read < len) {
        const char *at = text + k->read, *end = memchr(at, '\n', len - k->read);
        if (end == NULL)
            err = pea__error(&inner, PEA_E_FORMAT,
                             "the last line does not end with a newline: the file may be cut short");
        else
            err = read_line(k, at, (size_t)(end - at), &inner);
        if (err == PEA_OK) {
            k->read += (size_t)(end - at) + 1;
            line++;
        }
    }
    pea__free(text);
    if (err != PEA_OK) {
        (void)pea__errorf(why, err, "%.80s:%u: %.160s", k->path, line, inner.text);
        if (why != NULL)
            why->line = line;
    }
    return err;
}

static pea_err write_line(pea__known_peers *k, int fd, const char *name, const pea_peer *peer, pea_error *why)
{
    char line[NAME_MAX_BYTES + PEA_PEER_TEXT_BYTES + 4], key[PEA_PEER_TEXT_BYTES];
    int len = snprintf(line, sizeof line, "%s %s\n", name, pea_peer_format(peer, key));
    ssize_t n;
    do
        n = write(fd, line, (size_t)len);
    while (n < 0 && errno == EINTR);
    if (n != len || fsync(fd) != 0) {
        int sys = n >= 0 && n < len ? ENOSPC : errno;
        if (ftruncate(fd, (off_t)k->read) != 0) /* half a line would make the whole file useless */
            sys = errno;
        return pea__error_sys(why, sys, k->path);
    }
    k->read += (size_t)len;
    return PEA_OK;
}

/* Adds a name, unless another process has just done so: then its key counts. With the lock. */
static pea_err append(pea__known_peers *k, const char *name, const pea_peer *peer, pea_error *why)
{
    int fd = open(k->path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return pea__error_sys(why, errno, k->path);
    pea_err err = flock(fd, LOCK_EX) == 0 ? PEA_OK : pea__error_sys(why, errno, k->path);
    if (err == PEA_OK)
        err = catch_up(k, why);
    if (err == PEA_OK && find(k, name) == NULL) {
        err = write_line(k, fd, name, peer, why);
        if (err == PEA_OK && remember(k, name, strlen(name), peer) != PEA_OK)
            err = pea__error(why, PEA_E_NOMEM, NULL);
    }
    (void)close(fd); /* and unlocks */
    return err;
}

/* ---- The public face ---- */

static bool good_name(const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < len; i++)
        if (name[i] <= ' ' || name[i] >= 0x7F)
            return false;
    return len > 0 && len <= NAME_MAX_BYTES && name[0] != '#';
}

pea_err pea__known_peers_check(pea__known_peers *k, const char *name, const pea_peer *peer, bool proven, char *text,
                               size_t size)
{
    pea_error why = {.code = PEA_OK};
    char was[PEA_PEER_TEXT_BYTES], is[PEA_PEER_TEXT_BYTES];
    if (!good_name(name)) {
        (void)snprintf(text, size, "what was dialled cannot be remembered: it is no name or address");
        return PEA_E_INVALID;
    }
    (void)pthread_mutex_lock(&k->lock);
    pea_err err = find(k, name) == NULL && proven ? append(k, name, peer, &why) : PEA_OK;
    const known *found = find(k, name);
    if (err == PEA_OK && found != NULL && !pea_peer_equal(&found->peer, peer)) {
        err = PEA_E_REFUSED;
        (void)snprintf(text, size,
                       "the key of %.60s HAS CHANGED: known is %s, it shows %s. Somebody may be in between; if not, "
                       "take its line out of %.40s",
                       name, pea_peer_format(&found->peer, was), pea_peer_format(peer, is), k->path);
    } else if (err != PEA_OK) {
        (void)snprintf(text, size, "%.100s cannot be remembered: %.130s", name, why.text);
    }
    (void)pthread_mutex_unlock(&k->lock);
    return err;
}

pea_err pea__known_peers_open(pea__known_peers **out, const char *path, pea_error *why)
{
    size_t len = strlen(path);
    pea__known_peers *k = pea__alloc(sizeof *k);
    if (k == NULL || (k->path = pea__alloc(len + 1)) == NULL || pthread_mutex_init(&k->lock, NULL) != 0) {
        if (k != NULL)
            pea__free(k->path);
        pea__free(k);
        return pea__error(why, PEA_E_NOMEM, NULL);
    }
    memcpy(k->path, path, len);
    pea_err err = PEA_OK;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0)
        (void)close(fd);
    else if (errno != EEXIST)
        err = pea__error_sys(why, errno, path);
    if (err == PEA_OK)
        err = catch_up(k, why);
    if (err != PEA_OK) {
        pea__known_peers_free(k);
        return err;
    }
    *out = k;
    return PEA_OK;
}

void pea__known_peers_free(pea__known_peers *k)
{
    if (k == NULL)
        return;
    known *e, *next;
    HASH_ITER (hh, k->by_name, e, next) {
        HASH_DEL(k->by_name, e);
        pea__free(e);
    }
    (void)pthread_mutex_destroy(&k->lock);
    pea__free(k->path);
    pea__free(k);
}
