/* SPDX-License-Identifier: MIT */
/* Ranges of IP addresses, as "10.0.0.0/8". An IPv4 address inside of IPv6 (::ffff:0:0/96) is that IPv4 address. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "err_priv.h"
#include "peapod/addr.h"

static unsigned width(const pea_prefix *p)
{
    return p->family == PEA_ADDR_IPV4 ? 32 : 128;
}

/* Clears what lies behind the prefix. Returns whether there was anything. */
static bool cut(pea_prefix *p)
{
    uint8_t lost = 0;
    for (unsigned i = 0; i < width(p) / 8; i++) {
        unsigned kept = p->bits >= 8 * (i + 1) ? 8 : p->bits > 8 * i ? p->bits - 8 * i : 0;
        uint8_t mask = (uint8_t)(0xFF00u >> kept);
        lost |= (uint8_t)(p->ip[i] & ~mask);
        p->ip[i] &= mask;
    }
    return lost != 0;
}

/* The address as a range of one; false: it is no IP address. */
static bool host(pea_prefix *p, const pea_addr *addr)
{
    static const uint8_t mapped[12] = {[10] = 0xFF, [11] = 0xFF};
    memset(p, 0, sizeof *p);
    if (addr->family != PEA_ADDR_IPV4 && addr->family != PEA_ADDR_IPV6)
        return false;
    if (addr->family == PEA_ADDR_IPV4 || memcmp(addr->u.ip, mapped, sizeof mapped) == 0) {
        p->family = PEA_ADDR_IPV4;
        memcpy(p->ip, addr->family == PEA_ADDR_IPV4 ? addr->u.ip : addr->u.ip + 12, 4);
    } else {
        p->family = PEA_ADDR_IPV6;
        memcpy(p->ip, addr->u.ip, 16);
    }
    p->bits = (uint8_t)width(p);
    return true;
}

bool pea_prefix_of(pea_prefix *prefix, const pea_addr *addr, uint8_t bits4, uint8_t bits6)
{
    if (!host(prefix, addr))
        return false;
    uint8_t bits = prefix->family == PEA_ADDR_IPV4 ? bits4 : bits6;
    if (bits < prefix->bits)
        prefix->bits = bits;
    (void)cut(prefix);
    return true;
}

bool pea_prefix_has(const pea_prefix *prefix, const pea_addr *addr)
{
    pea_prefix other;
    if (!host(&other, addr) || other.family != prefix->family)
        return false;
    other.bits = prefix->bits;
    (void)cut(&other);
    return memcmp(other.ip, prefix->ip, sizeof other.ip) == 0;
}

/* 0 to `most`, in decimal digits without a leading zero. */
static bool bits_read(const char *text, unsigned most, uint8_t *bits)
{
    unsigned value = 0;
    size_t digits = 0;
    for (; text[digits] >= '0' && text[digits] <= '9' && digits < 4; digits++)
        value = value * 10 + (unsigned)(text[digits] - '0');
    if (digits == 0 || digits > 3 || text[digits] != '\0' || value > most || (digits > 1 && text[0] == '0'))
        return false;
    *bits = (uint8_t)value;
    return true;
}

pea_err pea_prefix_parse(pea_prefix *prefix, const char *text, pea_error *why)
{
    char ip[INET6_ADDRSTRLEN];
    pea_addr addr = {0};
    pea_prefix p;
    const char *slash = text != NULL ? strchr(text, '/') : NULL;
    size_t len = text == NULL ? 0 : slash != NULL ? (size_t)(slash - text) : strlen(text);
    if (len == 0 || len >= sizeof ip)
        return pea__errorf(why, PEA_E_FORMAT, "\"%.60s\" is not an IP address or a range of them, as 10.0.0.0/8", text);
    memcpy(ip, text, len);
    ip[len] = '\0';
    if (inet_pton(AF_INET, ip, addr.u.ip) == 1)
        addr.family = PEA_ADDR_IPV4;
    else if (inet_pton(AF_INET6, ip, addr.u.ip) == 1)
        addr.family = PEA_ADDR_IPV6;
    else
        return pea__errorf(why, PEA_E_FORMAT, "\"%.60s\" is not an IP address or a range of them, as 10.0.0.0/8", text);
    (void)host(&p, &addr);
    if (slash != NULL && p.family != addr.family)
        return pea__errorf(why, PEA_E_FORMAT, "\"%.60s\" is a range of IPv4 addresses: write it as IPv4", text);
    if (slash != NULL && !bits_read(slash + 1, width(&p), &p.bits))
        return pea__errorf(why, PEA_E_FORMAT, "\"%.60s\": after the slash there must be a number from 0 to %u", text,
                           width(&p));
    if (cut(&p)) {
        char said[PEA_PREFIX_TEXT_BYTES];
        return pea__errorf(why, PEA_E_FORMAT, "\"%.60s\" has bits set behind its prefix: is %s meant?", text,
                           pea_prefix_format(&p, said));
    }
    *prefix = p;
    return PEA_OK;
}

char *pea_prefix_format(const pea_prefix *prefix, char dst[PEA_PREFIX_TEXT_BYTES])
{
    char ip[INET6_ADDRSTRLEN] = "";
    if (prefix->family != PEA_ADDR_IPV4 && prefix->family != PEA_ADDR_IPV6) {
        (void)snprintf(dst, PEA_PREFIX_TEXT_BYTES, "none");
        return dst;
    }
    (void)inet_ntop(prefix->family == PEA_ADDR_IPV4 ? AF_INET : AF_INET6, prefix->ip, ip, sizeof ip);
    (void)snprintf(dst, PEA_PREFIX_TEXT_BYTES, "%s/%u", ip, prefix->bits);
    return dst;
}
