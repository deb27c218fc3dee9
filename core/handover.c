/* SPDX-License-Identifier: MIT */
/* Who may meet at a hand-over, and where: processes of one user, in a folder of that user's alone, at the door of one
 * of them. */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* struct ucred */
#endif
#include "handover_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "err_priv.h"

static pea_err check_folder(const char *folder, pea_error *why)
{
    struct stat is;
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return pea__error_sys(why, errno, folder);
    int sys = fstat(fd, &is) == 0 ? 0 : errno;
    close(fd);
    if (sys != 0)
        return pea__error_sys(why, sys, folder);
    if (is.st_uid != geteuid())
        return pea__errorf(why, PEA_E_PERMISSION, "%.150s belongs to user %lu, not to us", folder,
                           (unsigned long)is.st_uid);
    if ((is.st_mode & 077) != 0)
        return pea__errorf(why, PEA_E_PERMISSION, "%.150s is open to others (mode %03o): chmod 700 it", folder,
                           (unsigned)is.st_mode & 0777);
    return PEA_OK;
}

static void folder_of(const char *path, char folder[PEA_UNIX_PATH_MAX + 1])
{
    (void)snprintf(folder, PEA_UNIX_PATH_MAX + 1, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash == NULL)
        memcpy(folder, ".", 2);
    else
        slash[slash == folder] = '\0';
}

pea_err pea__handover_addr(const char *path, pea_addr *addr, pea_error *why)
{
    char folder[PEA_UNIX_PATH_MAX + 1];
    size_t len = path != NULL ? strlen(path) : 0;
    if (len == 0 || len > PEA_UNIX_PATH_MAX)
        return pea__errorf(why, PEA_E_FORMAT, "the path of a hand-over has 1 to %d bytes", PEA_UNIX_PATH_MAX);
    *addr = (pea_addr){.family = PEA_ADDR_UNIX, .path_len = (uint8_t)len};
    memcpy(addr->u.path, path, len);
    folder_of(path, folder);
    return check_folder(folder, why);
}

static int other_user(int fd, uid_t *user)
{
#ifdef SO_PEERCRED
    struct ucred who;
    socklen_t len = sizeof who;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) != 0)
        return -1;
    *user = who.uid;
    return 0;
#else
    gid_t group;
    return getpeereid(fd, user, &group);
#endif
}

pea_err pea__handover_same_user(int fd, pea_error *why)
{
    uid_t user;
    if (other_user(fd, &user) != 0)
        return pea__error_sys(why, errno, "the credentials of who is at the other end");
    if (user != geteuid())
        return pea__errorf(why, PEA_E_PERMISSION, "user %lu is at the other end, not ours", (unsigned long)user);
    return PEA_OK;
}

/* ---- The door ---- */

#define LOCK_TRIES 1000 /* one each millisecond: whoever has it only binds a socket */

/* One process at a time replaces a stale file in this folder: else two find the same one, and the second unlinks what
 * the first has just bound. `*lock`: to be closed; -1 where the file system knows no locks, and it goes without. */
static pea_err lock_folder(const pea_addr *addr, int *lock, pea_error *why)
{
    char folder[PEA_UNIX_PATH_MAX + 1];
    folder_of(addr->u.path, folder);
    *lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*lock < 0)
        return pea__error_sys(why, errno, folder);
    for (int i = 0; i < LOCK_TRIES; i++) {
        if (flock(*lock, LOCK_EX | LOCK_NB) == 0)
            return PEA_OK;
        if (errno != EWOULDBLOCK && errno != EINTR)
            break;
        (void)poll(NULL, 0, 1);
    }
    int sys = errno;
    close(*lock);
    *lock = -1;
    if (sys != EWOULDBLOCK && sys != EINTR)
        return PEA_OK;
    return pea__errorf(why, PEA_E_EXISTS, "%s: another process holds the lock of this folder", folder);
}

static int bind_at(const pea_addr *addr)
{
    struct sockaddr_storage at;
    socklen_t len = pea__addr_to_socket(addr, &at);
    int fd = socket(AF_UNIX, PEA__STREAM, 0);
    if (fd < 0)
        return -1;
    bool bound = bind(fd, (const struct sockaddr *)&at, len) == 0;
    if (bound && chmod(addr->u.path, 0600) == 0 && listen(fd, 16) == 0)
        return fd;
    int sys = errno;
    if (bound)
        pea__listen_socket_unlink(addr);
    close(fd);
    errno = sys;
    return -1;
}

/* Whether the file at this address was left by a process that is gone. */
static bool is_stale(const pea_addr *addr)
{
    int fd, result;
    if (pea__socket_dial(addr, &fd, &result, NULL) != PEA_OK)
        return false;
    close(fd);
    return result == ECONNREFUSED;
}

static pea_err bind_door(const pea_addr *addr, int *fd, pea_error *why)
{
    *fd = bind_at(addr);
    if (*fd < 0 && errno == EADDRINUSE) {
        if (!is_stale(addr))
            return pea__errorf(why, PEA_E_EXISTS, "%s: another process offers there, or it is no socket", addr->u.path);
        pea__listen_socket_unlink(addr);
        *fd = bind_at(addr);
    }
    if (*fd < 0)
        return pea__error_sys(why, errno, addr->u.path);
    pea_err err = pea__socket_ready(*fd, addr, why);
    if (err != PEA_OK) {
        pea__listen_socket_unlink(addr);
        close(*fd);
    }
    return err;
}

pea_err pea__handover_open_door(const pea_addr *addr, int *fd, pea_error *why)
{
    int lock;
    pea_err err = lock_folder(addr, &lock, why);
    if (err != PEA_OK)
        return err;
    err = bind_door(addr, fd, why);
    if (lock >= 0)
        close(lock);
    return err;
}
