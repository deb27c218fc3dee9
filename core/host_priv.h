/* SPDX-License-Identifier: MIT */
/* Names of hosts: what may be one, and what the system says of it. */
#ifndef PEAPOD_HOST_PRIV_H
#define PEAPOD_HOST_PRIV_H

#include "peapod/addr.h"

#define PEA__HOST_MAX 253u     /* bytes of a host name, a last dot aside: 255 on the wire (RFC 1035) */
#define PEA__HOST_ADDRS_MAX 8u /* of one name's addresses that are used: each is to have a fair share of the time */

/* A host and a port that somebody dials. */
typedef struct pea__host {
    char name[PEA__HOST_MAX + 2]; /* lower case. A last dot stays: it keeps resolvers from their search lists */
    uint16_t port;
} pea__host;

/* What is known of a host: addresses, or an error and a sentence. */
typedef struct pea__found {
    pea_addr addrs[PEA__HOST_ADDRS_MAX];
    size_t n;
    pea_err err;
    char text[PEA_TEXT_MAX];
} pea__found;

/* Parses what somebody dials: a literal address (host->name is "" then), or HOST:PORT by RFC 1123, where a label may
 * have underscores too. What resolvers would take for a number ("127.1", "0x7f000001") is neither.
 * PEA_OK | PEA_E_FORMAT with a sentence */
PEA_MUST_CHECK pea_err pea__host_parse(const char *text, pea__host *host, pea_addr *addr, pea_error *why);

/* The host's name without a last dot: as certificates have it. Returns dst. */
char *pea__host_plain(const pea__host *host, char dst[PEA__HOST_MAX + 1]);

/* Asks getaddrinfo(3). Blocks as long as that does, which may be minutes. Any thread. */
void pea__host_find(const pea__host *host, pea__found *found);

/* The same, until `deadline` by pea__now_ms() (INT64_MAX: none).
 * PEA_OK: there is an address at least | PEA_E_TIMEOUT | PEA_E_NOT_FOUND | PEA_E_SYS | PEA_E_NOMEM */
PEA_MUST_CHECK pea_err pea__host_find_until(const pea__host *host, int64_t deadline, pea__found *found, pea_error *why);

#endif
