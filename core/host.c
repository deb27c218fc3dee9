/* SPDX-License-Identifier: MIT */
/* Names of hosts: what may be one, and what the system says of it. The system's own resolver is asked, so that its
 * hosts file, nsswitch and search list hold here as for every other program; on whose thread is others' business. */
#include "host_priv.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include "addr_priv.h"
#include "err_priv.h"

/* ---- Parsing ---- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f');
}

/* Of lower case. */
static bool is_letter(char c)
{
    return c >= 'a' && c <= 'z';
}

/* Whether resolvers read a last label as a number, and the whole name as an address of some kind. */
static bool is_number(const char *label, size_t len)
{
    bool hex = len > 1 && label[0] == '0' && label[1] == 'x';
    for (size_t i = hex ? 2 : 0; i < len; i++)
        if (!(hex ? is_hex(label[i]) : is_digit(label[i])))
            return false;
    return true;
}

/* What is wrong with a label; NULL: nothing. */
static const char *check_label(const char *label, size_t len)
{
    if (len == 0)
        return "has an empty label";
    if (len > 63)
        return "has a label of more than 63 bytes";
    if (label[0] == '-' || label[len - 1] == '-')
        return "has a label that begins or ends with a hyphen";
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)label[i] >= 0x80)
            return "is not ASCII: the form that begins with xn-- is";
        if (!is_letter(label[i]) && !is_digit(label[i]) && label[i] != '-' && label[i] != '_')
            return "has a byte that no host name has";
    }
    return NULL;
}

/* The same of a name in lower case, without a last dot. */
static const char *check_name(const char *name, size_t len)
{
    size_t from = 0;
    if (len == 0)
        return "is empty";
    if (len > PEA__HOST_MAX)
        return "has more than 253 bytes";
    for (size_t i = 0; i <= len; i++) {
        if (i < len && name[i] != '.')
            continue;
        const char *wrong = check_label(name + from, i - from);
        if (wrong != NULL)
            return wrong;
        if (i == len && is_number(name + from, i - from))
            return "is no IPv4 address, and no host's name ends in a number";
        from = i + 1;
    }
    return NULL;
}

static void to_lower(char *dst, const char *src, size_t len)
{
    for (size_t i = 0; i < len; i++)
        dst[i] = (char)(src[i] >= 'A' && src[i] <= 'Z' ? src[i] - 'A' + 'a' : src[i]);
    dst[len] = '\0';
}

static pea_err host_read(const char *text, pea__host *host, pea_error *why)
{
    const char *colon = strchr(text, ':');
    pea__host h = {.port = 0};
    if (colon == NULL || !pea__port_read(colon + 1, &h.port))
        return pea__errorf(why, PEA_E_FORMAT, "\"%.60s\" is not HOST:PORT, IPv4:PORT, [IPv6]:PORT or unix:PATH", text);
    if (h.port == 0)
        return pea__errorf(why, PEA_E_FORMAT, "\"%.60s\": nobody can be reached at port 0", text);
    size_t len = (size_t)(colon - text);
    if (len < sizeof h.name)
        to_lower(h.name, text, len);
    const char *wrong = check_name(h.name, len > 1 && text[len - 1] == '.' ? len - 1 : len);
    if (wrong != NULL)
        return pea__errorf(why, PEA_E_FORMAT, "the host in \"%.60s\" %s", text, wrong);
    *host = h;
    return PEA_OK;
}

pea_err pea__host_parse(const char *text, pea__host *host, pea_addr *addr, pea_error *why)
{
    host->name[0] = '\0';
    if (text == NULL || text[0] == '[' || strncmp(text, "unix:", 5) == 0 || pea_addr_parse(addr, text, NULL) == PEA_OK)
        return pea_addr_parse(addr, text, why);
    return host_read(text, host, why);
}

char *pea__host_plain(const pea__host *host, char dst[PEA__HOST_MAX + 1])
{
    size_t len = strlen(host->name);
    if (len > 0 && host->name[len - 1] == '.')
        len--;
    memcpy(dst, host->name, len);
    dst[len] = '\0';
    return dst;
}

/* ---- Finding ---- */

static void found_none(pea__found *found, int said, int sys)
{
    pea_error why;
    switch (said) {
    case EAI_NONAME:
#if defined(EAI_NODATA) && EAI_NODATA != EAI_NONAME
    case EAI_NODATA:
#endif
        found->err = PEA_E_NOT_FOUND;
        break;
    case EAI_MEMORY:
        found->err = PEA_E_NOMEM;
        break;
    default:
        found->err = PEA_E_SYS;
    }
    if (said == EAI_SYSTEM)
        (void)pea__error_sys(&why, sys, "getaddrinfo");
    (void)snprintf(found->text, sizeof found->text, "%s", said == EAI_SYSTEM ? why.text : gai_strerror(said));
}

void pea__host_find(const pea__host *host, pea__found *found)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    memset(found, 0, sizeof *found);
    int said = getaddrinfo(host->name, NULL, &hints, &list);
    if (said != 0) {
        found_none(found, said, errno);
        return;
    }
    for (const struct addrinfo *a = list; a != NULL && found->n < PEA__HOST_ADDRS_MAX; a = a->ai_next) {
        struct sockaddr_storage at;
        pea_addr *addr = &found->addrs[found->n];
        if (a->ai_addrlen > sizeof at)
            continue;
        memset(&at, 0, sizeof at);
        memcpy(&at, a->ai_addr, a->ai_addrlen);
        pea__addr_from_socket(addr, &at, a->ai_addrlen);
        addr->port = host->port;
        found->n += addr->family != PEA_ADDR_NONE;
    }
    freeaddrinfo(list);
    if (found->n == 0)
        found_none(found, EAI_NONAME, 0);
}
