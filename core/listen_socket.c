/* SPDX-License-Identifier: MIT */
/* Sockets that listen: bound here, brought by the caller, or passed by the service manager (sd_listen_fds(3)).
 * Accepting is listener.c's business. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "addr_priv.h"
#include "err_priv.h"
#include "runtime_priv.h"

#define BACKLOG_DEFAULT 1024 /* a burst of dials waits here; the system may cut it */
#define ACTIVATED_FIRST 3    /* the first descriptor that a service manager passes: SD_LISTEN_FDS_START */
#define ACTIVATED_PREFIX "systemd:"

static pea_err option(int fd, int level, int name, int value, const char *what, pea_error *why)
{
    return setsockopt(fd, level, name, &value, sizeof value) == 0 ? PEA_OK : pea__error_sys(why, errno, what);
}

/* ---- Bound here ---- */

static pea_err set_options(int fd, const pea_addr *addr, const pea_listen_opts *o, pea_error *why)
{
    pea_err err = pea__socket_ready(fd, addr, why);
    if (err == PEA_OK && addr->family != PEA_ADDR_UNIX)
        err = option(fd, SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR", why);
#ifdef SO_REUSEPORT
    if (err == PEA_OK && o->reuse_port)
        err = option(fd, SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT", why);
#else
    if (err == PEA_OK && o->reuse_port)
        err = pea__error(why, PEA_E_UNSUPPORTED, "this system has no SO_REUSEPORT");
#endif
    if (err == PEA_OK && addr->family == PEA_ADDR_IPV6) /* said always: the system's default differs */
        err = option(fd, IPPROTO_IPV6, IPV6_V6ONLY, !o->dual_stack, "IPV6_V6ONLY", why);
    return err;
}

/* Between bind() and listen() nobody can connect: the file has its mode before it is of any use. */
static pea_err set_mode(const pea_addr *addr, uint32_t mode, pea_error *why)
{
    bool named = addr->family == PEA_ADDR_UNIX && addr->path_len > 0 && addr->u.path[0] != '\0';
    if (mode == 0)
        return PEA_OK;
    if (!named)
        return pea__error(why, PEA_E_INVALID, "unix_mode is for Unix sockets that have a file");
    return chmod(addr->u.path, (mode_t)mode) == 0 ? PEA_OK : pea__error_sys(why, errno, addr->u.path);
}

static pea_err bind_socket(const pea_addr *addr, const pea_listen_opts *o, int *out, pea_error *why)
{
    struct sockaddr_storage at;
    char text[PEA_ADDR_TEXT_BYTES];
    socklen_t len = pea__addr_to_socket(addr, &at);
    int fd = socket(at.ss_family, PEA__STREAM, 0);
    bool bound = false;
    if (fd < 0)
        return pea__error_sys(why, errno, "socket");
    pea_err err = set_options(fd, addr, o, why);
    if (err == PEA_OK) {
        bound = bind(fd, (const struct sockaddr *)&at, len) == 0;
        if (!bound)
            err = pea__error_sys(why, errno, pea_addr_format(addr, text));
    }
    if (err == PEA_OK)
        err = set_mode(addr, o->unix_mode, why);
    if (err == PEA_OK && listen(fd, o->backlog > 0 ? o->backlog : BACKLOG_DEFAULT) != 0)
        err = pea__error_sys(why, errno, "listen");
    if (err != PEA_OK) {
        close(fd);
        if (bound)
            pea__listen_socket_unlink(addr);
        return err;
    }
    *out = fd;
    return PEA_OK;
}

void pea__listen_socket_unlink(const pea_addr *addr)
{
    if (addr->family == PEA_ADDR_UNIX && addr->path_len > 0 && addr->u.path[0] != '\0')
        (void)unlink(addr->u.path);
}

/* ---- Brought ---- */

/* The address of a socket that was bound elsewhere, if it is one that listens. */
static pea_err take_socket(int fd, pea_addr *addr, pea_error *why)
{
    struct sockaddr_storage at;
    socklen_t len = sizeof at;
    int value = 0;
    memset(&at, 0, sizeof at);
    char what[32];
    (void)snprintf(what, sizeof what, "descriptor %d", fd);
    if (getsockname(fd, (struct sockaddr *)&at, &len) != 0)
        return pea__error_sys(why, errno, what);
    pea__addr_from_socket(addr, &at, len);
    len = sizeof value;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, &len) != 0 || value != SOCK_STREAM)
        return pea__errorf(why, PEA_E_INVALID, "descriptor %d is no stream socket", fd);
    len = sizeof value;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &len) == 0 && value == 0)
        return pea__errorf(why, PEA_E_INVALID, "descriptor %d is a socket that does not listen", fd);
    if (addr->family == PEA_ADDR_NONE)
        return pea__errorf(why, PEA_E_INVALID, "descriptor %d is of an address family that is not spoken here", fd);
    return pea__socket_ready(fd, addr, why);
}

/* ---- Passed by the service manager ---- */

/* 0 to INT32_MAX; -1: it is no number. */
static long number(const char *text)
{
    char *end = NULL;
    if (text == NULL || text[0] < '0' || text[0] > '9')
        return -1;
    errno = 0;
    long value = strtol(text, &end, 10);
    return errno == 0 && *end == '\0' && value <= INT32_MAX ? value : -1;
}

/* The descriptor of this name that is not listened on yet; several may have the same name. Names are separated by
 * colons. */
static int find_passed(const char *name, const char *names, long count, const pea_node *node)
{
    for (long i = 0; i < count && names != NULL; i++) {
        size_t len = strcspn(names, ":");
        int fd = ACTIVATED_FIRST + (int)i;
        if (len == strlen(name) && strncmp(names, name, len) == 0 && !pea__listener_passed(node, fd))
            return fd;
        names = names[len] == ':' ? names + len + 1 : NULL;
    }
    return -1;
}

static pea_err take_passed(const char *name, const pea_node *node, pea__listen_socket *out, pea_error *why)
{
    long pid = number(getenv("LISTEN_PID")), count = number(getenv("LISTEN_FDS"));
    if (pid < 0 || count <= 0 || (long)getpid() != pid)
        return pea__error(why, PEA_E_NOT_FOUND,
                          "no sockets were passed to this process: LISTEN_PID and LISTEN_FDS do not say so");
    out->passed = find_passed(name, getenv("LISTEN_FDNAMES"), count, node);
    if (out->passed < 0)
        return pea__errorf(why, PEA_E_NOT_FOUND,
                           "no socket that was passed is named \"%.60s\", or all of them are listened on", name);
    pea_err err = take_socket(out->passed, &out->addr, why);
    if (err != PEA_OK)
        return err;
    /* The one that was passed stays open, so that it can be listened on again and its number means nothing else. */
    out->fd = fcntl(out->passed, F_DUPFD_CLOEXEC, ACTIVATED_FIRST);
    return out->fd >= 0 ? PEA_OK : pea__error_sys(why, errno, "fcntl");
}

/* ---- Any of them ---- */

static pea_err bind_here(const char *text, const pea_listen_opts *o, pea__listen_socket *out, pea_error *why)
{
    struct sockaddr_storage at;
    socklen_t len = sizeof at;
    pea_err err = pea_addr_parse(&out->addr, text, why);
    if (err == PEA_OK)
        err = bind_socket(&out->addr, o, &out->fd, why);
    if (err != PEA_OK)
        return err;
    memset(&at, 0, sizeof at);
    if (getsockname(out->fd, (struct sockaddr *)&at, &len) == 0) /* with the real port */
        pea__addr_from_socket(&out->addr, &at, len);
    out->bound_here = true;
    return PEA_OK;
}

pea_err pea__listen_socket_open(const pea_node *node, const char *text, const pea_listen_opts *o,
                                pea__listen_socket *out, pea_error *why)
{
    bool passed = text != NULL && strncmp(text, ACTIVATED_PREFIX, strlen(ACTIVATED_PREFIX)) == 0;
    *out = (pea__listen_socket){.fd = -1};
    if (o->fd > 0 && text != NULL)
        return pea__error(why, PEA_E_INVALID, "with a descriptor there is no address to listen on: give NULL");
    if (!passed && o->fd <= 0)
        return bind_here(text, o, out, why);
    if (o->backlog > 0 || o->reuse_port || o->dual_stack || o->unix_mode != 0)
        return pea__error(why, PEA_E_INVALID,
                          "backlog, reuse_port, dual_stack and unix_mode are for sockets that are bound here");
    if (passed)
        return take_passed(text + strlen(ACTIVATED_PREFIX), node, out, why);
    pea_err err = take_socket(o->fd, &out->addr, why);
    if (err == PEA_OK)
        out->fd = o->fd;
    return err;
}
