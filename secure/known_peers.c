/* SPDX-License-Identifier: MIT */
/* Trust on first use: a file of names that were dialled and the keys that answered, in the manner of SSH's known_hosts.
 * Lines are only appended; several processes may share a file. Who may come at all is trust.c's business. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "err_priv.h"
#include "rules_priv.h"

#define NAME_MAX_BYTES 259u        /* a DNS name has 253, a port 6 with its colon, an address as text fewer */
#define FILE_MAX_BYTES (16u << 20) /* a hundred thousand names */
#define LOCK_TRIES 200
#define LOCK_WAIT_NS 5000000L /* between two of them: a second in all */

typedef struct known {
    pea_peer peer;
    UT_hash_handle hh;
    char name[]; /* terminated */
} known;

struct pea__known_peers {
    pthread_mutex_t lock;
    char *path;
    known *by_name;
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

/* Host names are the same in upper and lower case, paths of sockets are not. */
static void fold(char *name)
{
    for (char *c = name; strchr(name, '/') == NULL && *c != '\0'; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c | 0x20);
}

/* One line: a name, a blank, a key. The first line of a name counts: nobody can take it over by a later one. */
static pea_err read_line(pea__known_peers *k, const char *line, size_t len, pea_error *why)
{
    char name[NAME_MAX_BYTES + 1], key[PEA_PEER_TEXT_BYTES];
    const char *blank = memchr(line, ' ', len);
    pea_peer peer;
    if (len == 0 || line[0] == '#')
        return PEA_OK;
    size_t n = blank != NULL ? (size_t)(blank - line) : 0, m = blank != NULL ? len - n - 1 : 0;
    if (n == 0 || n > NAME_MAX_BYTES || m == 0 || m >= sizeof key || memchr(line, '\0', len) != NULL)
        return pea__error(why, PEA_E_FORMAT, "a line is a name, a blank and a key");
    memcpy(name, line, n);
    name[n] = '\0';
    fold(name);
    if (find(k, name) != NULL)
        return PEA_OK;
    memcpy(key, blank + 1, m);
    key[m] = '\0';
    pea_err err = pea_peer_parse(&peer, key, why);
    if (err == PEA_OK && peer.kind == PEA_PEER_NOISE)
        err = pea__x25519_check(peer.id, why);
    if (err != PEA_OK)
        return why->code = PEA_E_FORMAT;
    return remember(k, name, n, &peer) == PEA_OK ? PEA_OK : pea__error(why, PEA_E_NOMEM, NULL);
}

pea_err pea__known_peers_parse(pea__known_peers *k, const char *text, size_t len, pea_error *why)
{
    pea_error inner = {.code = PEA_OK};
    pea_err err = PEA_OK;
    uint32_t line = 0;
    while (err == PEA_OK && len > 0) {
        const char *end = memchr(text, '\n', len);
        size_t n = end != NULL ? (size_t)(end - text) : 0;
        line++;
        err = end != NULL ? read_line(k, text, n, &inner)
                          : pea__error(&inner, PEA_E_FORMAT,
                                       "the last line does not end with a newline: the file may be cut short");
        text += n + 1;
        len -= n + 1;
    }
    if (err == PEA_OK)
        return PEA_OK;
    (void)pea__errorf(why, err, "%.80s:%u: %.160s", k->path, line, inner.text);
    if (why != NULL)
        why->line = line;
    return err;
}

/* Reads it all: what somebody has edited meanwhile may lie anywhere. What is known stays known until the next start. */
static pea_err read_file(pea__known_peers *k, int fd, size_t *len, pea_error *why)
{
    char *text;
    pea_err err = pea__trust_fd_read(&text, len, fd, k->path, FILE_MAX_BYTES, NULL, why);
    if (err != PEA_OK)
        return err;
    err = pea__known_peers_parse(k, text, *len, why);
    pea__free(text);
    return err;
}

/* `had`: bytes of the file. */
static pea_err write_line(pea__known_peers *k, int fd, size_t had, const char *name, const pea_peer *peer,
                          pea_error *why)
{
    char line[NAME_MAX_BYTES + PEA_PEER_TEXT_BYTES + 4], key[PEA_PEER_TEXT_BYTES];
    int len = snprintf(line, sizeof line, "%s %s\n", name, pea_peer_format(peer, key));
    ssize_t n;
    if (had + (size_t)len > FILE_MAX_BYTES) /* it could not be read again */
        return pea__errorf(why, PEA_E_TOO_BIG, "%.150s: it would have more than %u bytes", k->path, FILE_MAX_BYTES);
    do
        n = write(fd, line, (size_t)len);
    while (n < 0 && errno == EINTR);
    if (n != len || fsync(fd) != 0) {
        int sys = n >= 0 && n < len ? ENOSPC : errno;
        if (ftruncate(fd, (off_t)had) != 0) /* half a line would make the whole file useless */
            return pea__errorf(why, PEA_E_SYS, "%.150s: its last line is half written, take it out by hand", k->path);
        return pea__error_sys(why, sys, k->path);
    }
    return PEA_OK;
}

/* Whoever may read the file may lock it, and keep it locked: this waits a second and no more. */
static pea_err lock_file(const pea__known_peers *k, int fd, int how, pea_error *why)
{
    const struct timespec wait = {.tv_nsec = LOCK_WAIT_NS};
    for (int i = 0; i < LOCK_TRIES; i++) {
        if (flock(fd, how | LOCK_NB) == 0)
            return PEA_OK;
        if (errno != EWOULDBLOCK && errno != EINTR)
            return pea__error_sys(why, errno, k->path);
        (void)nanosleep(&wait, NULL);
    }
    return pea__errorf(why, PEA_E_TIMEOUT, "%.150s: another process keeps it locked", k->path);
}

/* Adds a name, unless another process has just done so: then its key counts. With the lock. */
static pea_err append(pea__known_peers *k, const char *name, const pea_peer *peer, pea_error *why)
{
    size_t len = 0;
    int fd = open(k->path, O_RDWR | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return pea__error_sys(why, errno, k->path);
    pea_err err = lock_file(k, fd, LOCK_EX, why);
    if (err == PEA_OK)
        err = read_file(k, fd, &len, why);
    if (err == PEA_OK && find(k, name) == NULL) {
        err = write_line(k, fd, len, name, peer, why);
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

pea_err pea__known_peers_check(pea__known_peers *k, const char *dialled, const pea_peer *peer, bool proven, char *text,
                               size_t size)
{
    pea_error why = {.code = PEA_OK};
    char was[PEA_PEER_TEXT_BYTES], is[PEA_PEER_TEXT_BYTES], name[NAME_MAX_BYTES + 1];
    if (!good_name(dialled)) {
        (void)snprintf(text, size, "what was dialled cannot be remembered: it is no name or address");
        return PEA_E_INVALID;
    }
    memcpy(name, dialled, strlen(dialled) + 1);
    fold(name);
    (void)pthread_mutex_lock(&k->lock);
    pea_err err = find(k, name) == NULL && proven ? append(k, name, peer, &why) : PEA_OK;
    const known *found = find(k, name);
    if (err == PEA_OK && found != NULL && !pea_peer_equal(&found->peer, peer)) {
        err = PEA_E_REFUSED;
        (void)snprintf(text, size,
                       "the key of %.60s HAS CHANGED: somebody may be in between. If not, take its line out of %.80s. "
                       "Known is %s, shown is %s",
                       name, k->path, pea_peer_format(&found->peer, was), pea_peer_format(peer, is));
    } else if (err != PEA_OK) {
        (void)snprintf(text, size, "%.100s cannot be remembered: %.200s", name, why.text);
    }
    (void)pthread_mutex_unlock(&k->lock);
    return err;
}

pea_err pea__known_peers_new(pea__known_peers **out, const char *path, pea_error *why)
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
    *out = k;
    return PEA_OK;
}

pea_err pea__known_peers_open(pea__known_peers **out, const char *path, pea_error *why)
{
    pea__known_peers *k = NULL;
    pea_err err = pea__known_peers_new(&k, path, why);
    if (err != PEA_OK)
        return err;
    size_t len;
    int fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);
    if (fd < 0) {
        err = pea__error_sys(why, errno, path);
    } else {
        err = lock_file(k, fd, LOCK_SH, why);
        if (err == PEA_OK)
            err = read_file(k, fd, &len, why);
        (void)close(fd);
    }
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
