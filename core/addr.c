/* SPDX-License-Identifier: MIT */
/* Addresses as text and as sockaddr. Literals only: nothing here asks a resolver. */
#include "addr_priv.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "buf_priv.h"
#include "err_priv.h"

/* ---- Parsing ---- */

bool pea__port_read(const char *text, uint16_t *port)
{
    uint32_t value = 0;
    size_t digits = 0;
    for (; text[digits] >= '0' && text[digits] <= '9' && digits < 6; digits++)
        value = value * 10 + (uint32_t)(text[digits] - '0');
    if (digits == 0 || text[digits] != '\0' || value > 65535)
        return false;
    *port = (uint16_t)value;
    return true;
}

static pea_err unix_read(pea_addr *addr, const char *path, pea_error *why)
{
    size_t len = strlen(path);
    if (len == 0)
        return pea__error(why, PEA_E_FORMAT, "after \"unix:\" there is no path");
    if (len > PEA_UNIX_PATH_MAX)
        return pea__errorf(why, PEA_E_FORMAT, "the path of a Unix socket has %zu bytes, and at most %d fit", len,
                           PEA_UNIX_PATH_MAX);
    addr->family = PEA_ADDR_UNIX;
    addr->path_len = (uint8_t)len;
    memcpy(addr->u.path, path, len);
    if (path[0] == '@')
        addr->u.path[0] = '\0';
    return PEA_OK;
}

static pea_err ipv6_read(pea_addr *addr, const char *text, pea_error *why)
{
    char host[INET6_ADDRSTRLEN + IF_NAMESIZE + 1];
    const char *end = strchr(text, ']');
    if (end == NULL || end[1] != ':' || !pea__port_read(end + 2, &addr->port))
        return pea__errorf(why, PEA_E_FORMAT, "\"%.60s\" is not [IPv6]:PORT", text);
    size_t len = (size_t)(end - text) - 1;
    if (len >= sizeof host)
        return pea__errorf(why, PEA_E_FORMAT, "\"%.60s\" is no IPv6 address", text);
    memcpy(host, text + 1, len);
    host[len] = '\0';
    char *zone = strchr(host, '%');
    if (zone != NULL) {
        *zone++ = '\0';
        addr->scope = if_nametoindex(zone);
        if (addr->scope == 0)
            return pea__errorf(why, PEA_E_FORMAT, "there is no interface \"%.20s\"", zone);
    }
    if (inet_pton(AF_INET6, host, addr->u.ip) != 1)
        return pea__errorf(why, PEA_E_FORMAT, "\"%.60s\" is no IPv6 address", host);
    addr->family = PEA_ADDR_IPV6;
    return PEA_OK;
}

static pea_err ipv4_read(pea_addr *addr, const char *text, pea_error *why)
{
    char host[INET_ADDRSTRLEN];
    const char *colon = strchr(text, ':');
    if (colon == NULL || !pea__port_read(colon + 1, &addr->port) || (size_t)(colon - text) >= sizeof host)
        return pea__errorf(why, PEA_E_FORMAT,
                           "\"%.60s\" is not IPv4:PORT, [IPv6]:PORT or unix:PATH; names are not resolved here", text);
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    if (inet_pton(AF_INET, host, addr->u.ip) != 1)
        return pea__errorf(why, PEA_E_FORMAT, "\"%.60s\" is no IPv4 address; names are not resolved here", host);
    addr->family = PEA_ADDR_IPV4;
    return PEA_OK;
}

pea_err pea_addr_parse(pea_addr *addr, const char *text, pea_error *why)
{
    if (text == NULL)
        return pea__error(why, PEA_E_FORMAT, "there is no address");
    pea_addr a = {0};
    pea_err err;
    if (strncmp(text, "unix:", 5) == 0)
        err = unix_read(&a, text + 5, why);
    else if (text[0] == '[')
        err = ipv6_read(&a, text, why);
    else
        err = ipv4_read(&a, text, why);
    if (err == PEA_OK)
        *addr = a;
    return err;
}

/* ---- Formatting and comparing ---- */

char *pea_addr_format(const pea_addr *addr, char dst[PEA_ADDR_TEXT_BYTES])
{
    char host[INET6_ADDRSTRLEN] = "";
    switch (addr->family) {
    case PEA_ADDR_IPV4:
        inet_ntop(AF_INET, addr->u.ip, host, sizeof host);
        snprintf(dst, PEA_ADDR_TEXT_BYTES, "%s:%u", host, addr->port);
        break;
    case PEA_ADDR_IPV6: {
        char zone[IF_NAMESIZE + 1] = "";
        if (addr->scope != 0 && if_indextoname(addr->scope, zone + 1) != NULL)
            zone[0] = '%';
        inet_ntop(AF_INET6, addr->u.ip, host, sizeof host);
        snprintf(dst, PEA_ADDR_TEXT_BYTES, "[%s%s]:%u", host, zone, addr->port);
        break;
    }
    case PEA_ADDR_UNIX: {
        bool abstract = addr->path_len > 0 && addr->u.path[0] == '\0';
        size_t at = (size_t)snprintf(dst, PEA_ADDR_TEXT_BYTES, "unix:%s", abstract ? "@" : "");
        pea_text_escape(addr->u.path + abstract, addr->path_len - (size_t)abstract, dst + at, PEA_ADDR_TEXT_BYTES - at);
        break;
    }
    default:
        snprintf(dst, PEA_ADDR_TEXT_BYTES, "none");
    }
    return dst;
}

bool pea_addr_equal(const pea_addr *a, const pea_addr *b)
{
    if (a->family != b->family)
        return false;
    switch (a->family) {
    case PEA_ADDR_IPV4:
        return a->port == b->port && memcmp(a->u.ip, b->u.ip, 4) == 0;
    case PEA_ADDR_IPV6:
        return a->port == b->port && a->scope == b->scope && memcmp(a->u.ip, b->u.ip, 16) == 0;
    case PEA_ADDR_UNIX:
        return a->path_len == b->path_len && memcmp(a->u.path, b->u.path, a->path_len) == 0;
    default:
        return true;
    }
}

bool pea_addr_is_local(const pea_addr *addr)
{
    static const uint8_t mapped[12] = {[10] = 0xFF, [11] = 0xFF}, one[16] = {[15] = 1};
    switch (addr->family) {
    case PEA_ADDR_IPV4:
        return addr->u.ip[0] == 127;
    case PEA_ADDR_IPV6:
        return memcmp(addr->u.ip, one, 16) == 0 || (memcmp(addr->u.ip, mapped, 12) == 0 && addr->u.ip[12] == 127);
    default:
        return addr->family == PEA_ADDR_UNIX;
    }
}

/* ---- Places ---- */

pea_err pea__place_set(pea__place *place, const pea_addr *addr)
{
    bool path = addr->family == PEA_ADDR_UNIX && addr->path_len > 0;
    pea_addr *whole = place->whole;
    if (path && whole == NULL && (whole = pea__alloc(sizeof *whole)) == NULL)
        return PEA_E_NOMEM;
    if (whole != NULL)
        *whole = *addr;
    *place = (pea__place){
        .family = addr->family, .path_len = addr->path_len, .port = addr->port, .scope = addr->scope, .whole = whole};
    if (addr->family != PEA_ADDR_UNIX)
        memcpy(place->ip, addr->u.ip, sizeof place->ip);
    return PEA_OK;
}

void pea__place_clear(pea__place *place)
{
    pea__free(place->whole);
    *place = (pea__place){.family = PEA_ADDR_NONE};
}

pea_addr pea__place_addr(const pea__place *place)
{
    if (place->path_len > 0)
        return *place->whole;
    pea_addr addr = {.family = place->family, .port = place->port, .scope = place->scope, .u.path = ""};
    memcpy(addr.u.ip, place->ip, sizeof place->ip);
    return addr;
}

bool pea__place_is(const pea__place *place, const pea_addr *addr)
{
    const pea_addr mine = pea__place_addr(place);
    return pea_addr_equal(&mine, addr);
}

const pea_addr *pea__place_whole(pea__place *place)
{
    static const pea_addr forgotten = {.family = PEA_ADDR_NONE};
    if (place->whole == NULL && (place->whole = pea__alloc(sizeof *place->whole)) != NULL)
        *place->whole = pea__place_addr(place);
    return place->whole != NULL ? place->whole : &forgotten;
}

/* ---- Sockets ---- */

socklen_t pea__addr_to_socket(const pea_addr *addr, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof *out);
    if (addr->family == PEA_ADDR_IPV4) {
        struct sockaddr_in *in = (struct sockaddr_in *)(void *)out;
        in->sin_family = AF_INET;
        in->sin_port = htons(addr->port);
        memcpy(&in->sin_addr, addr->u.ip, 4);
        return sizeof *in;
    }
    if (addr->family == PEA_ADDR_IPV6) {
        struct sockaddr_in6 *in = (struct sockaddr_in6 *)(void *)out;
        in->sin6_family = AF_INET6;
        in->sin6_port = htons(addr->port);
        in->sin6_scope_id = addr->scope;
        memcpy(&in->sin6_addr, addr->u.ip, 16);
        return sizeof *in;
    }
    struct sockaddr_un *un = (struct sockaddr_un *)(void *)out;
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, addr->u.path, addr->path_len);
    bool abstract = addr->path_len > 0 && addr->u.path[0] == '\0';
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + addr->path_len + (abstract ? 0 : 1));
}

void pea__addr_from_socket(pea_addr *addr, const struct sockaddr_storage *from, socklen_t len)
{
    memset(addr, 0, sizeof *addr);
    if (from->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)from;
        addr->family = PEA_ADDR_IPV4;
        addr->port = ntohs(in->sin_port);
        memcpy(addr->u.ip, &in->sin_addr, 4);
    } else if (from->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)(const void *)from;
        addr->family = PEA_ADDR_IPV6;
        addr->port = ntohs(in->sin6_port);
        addr->scope = in->sin6_scope_id;
        memcpy(addr->u.ip, &in->sin6_addr, 16);
    } else if (from->ss_family == AF_UNIX) {
        const struct sockaddr_un *un = (const struct sockaddr_un *)(const void *)from;
        size_t path = len > offsetof(struct sockaddr_un, sun_path) ? len - offsetof(struct sockaddr_un, sun_path) : 0;
        if (path > PEA_UNIX_PATH_MAX)
            path = PEA_UNIX_PATH_MAX;
        if (path > 0 && un->sun_path[0] != '\0')
            path = strnlen(un->sun_path, path);
        addr->family = PEA_ADDR_UNIX;
        addr->path_len = (uint8_t)path;
        memcpy(addr->u.path, un->sun_path, path);
    }
}
