/* SPDX-License-Identifier: MIT */
/* Who may meet at a hand-over: processes of one user, in a folder of that user's alone. */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* struct ucred */
#endif
#include "handover_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
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

pea_err pea__handover_addr(const char *path, pea_addr *addr, pea_error *why)
{
    char folder[PEA_UNIX_PATH_MAX + 1];
    size_t len = path != NULL ? strlen(path) : 0;
    if (len == 0 || len > PEA_UNIX_PATH_MAX)
        return pea__errorf(why, PEA_E_FORMAT, "the path of a hand-over has 1 to %d bytes", PEA_UNIX_PATH_MAX);
    *addr = (pea_addr){.family = PEA_ADDR_UNIX, .path_len = (uint8_t)len};
    memcpy(addr->u.path, path, len);
    memcpy(folder, path, len + 1);
    char *slash = strrchr(folder, '/');
    if (slash == NULL)
        return check_folder(".", why);
    slash[slash == folder] = '\0';
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
