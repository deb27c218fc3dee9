/* SPDX-License-Identifier: MIT */
/* Socket addresses as values: IPv4, IPv6 and Unix. Parsing takes literals only; names are resolved elsewhere. */
#ifndef PEAPOD_ADDR_H
#define PEAPOD_ADDR_H

#include "peapod/err.h"

#ifdef __cplusplus
extern "C" {
#endif

#define PEA_UNIX_PATH_MAX 103 /* the shortest sun_path of the systems we know has 104 bytes; one is the terminator */

typedef enum pea_family { PEA_ADDR_NONE = 0, PEA_ADDR_IPV4 = 4, PEA_ADDR_IPV6 = 6, PEA_ADDR_UNIX = 1 } pea_family;

/* A value: copy it freely. Compare by pea_addr_equal(). */
typedef struct pea_addr {
    uint8_t family;   /* pea_family */
    uint8_t path_len; /* Unix: bytes of `path`; 0: unnamed. A first byte of 0 is the abstract namespace */
    uint16_t port;    /* host order */
    uint32_t scope;   /* IPv6 zone index of a link-local address, else 0 */
    union {
        uint8_t ip[16];                   /* network order; IPv4 takes the first four bytes */
        char path[PEA_UNIX_PATH_MAX + 1]; /* terminated */
    } u;
} pea_addr;

/* Parses "127.0.0.1:9000", "[::1]:9000", "[fe80::1%eth0]:9000", "unix:/run/x", "unix:@abstract" (Linux).
 * PEA_OK | PEA_E_FORMAT with a sentence in `why`. `addr` is written only on success. Any thread. */
PEA_API PEA_MUST_CHECK pea_err pea_addr_parse(pea_addr *addr, const char *text, pea_error *why);

#define PEA_ADDR_TEXT_BYTES 128

/* The text that pea_addr_parse() takes; "unix:" for an unnamed Unix address, "none" for no address. Bytes of a path
 * that do not print are escaped. Returns dst. Any thread. */
PEA_API char *pea_addr_format(const pea_addr *addr, char dst[PEA_ADDR_TEXT_BYTES]);

/* Same family, address, port and scope. Any thread. */
PEA_API bool pea_addr_equal(const pea_addr *a, const pea_addr *b);

/* A loopback address (127.0.0.0/8, ::1, the IPv4-mapped ones) or a Unix one. Any thread. */
PEA_API bool pea_addr_is_local(const pea_addr *addr);

/* A range of IP addresses, by what they begin with. A value; bits behind the prefix are zero. IPv4-mapped IPv6
 * addresses are IPv4 here. */
typedef struct pea_prefix {
    uint8_t family; /* PEA_ADDR_IPV4 or PEA_ADDR_IPV6; PEA_ADDR_NONE: no range */
    uint8_t bits;   /* at most 32 or 128 */
    uint8_t ip[16]; /* network order; IPv4 takes the first four bytes */
} pea_prefix;

/* Parses "10.0.0.0/8", "2001:db8::/32", or one address. Strict: what has bits set behind the prefix is refused, with
 * what was probably meant.
 * PEA_OK | PEA_E_FORMAT with a sentence. `prefix` is written only on success. Any thread. */
PEA_API PEA_MUST_CHECK pea_err pea_prefix_parse(pea_prefix *prefix, const char *text, pea_error *why);

#define PEA_PREFIX_TEXT_BYTES 64

/* The text that pea_prefix_parse() takes; "none". Returns dst. Any thread. */
PEA_API char *pea_prefix_format(const pea_prefix *prefix, char dst[PEA_PREFIX_TEXT_BYTES]);

/* Whether an address lies in it; its port does not matter. Any thread. */
PEA_API bool pea_prefix_has(const pea_prefix *prefix, const pea_addr *addr);

/* The range around an address, of bits4 or bits6 bits by its family. False: it is no IP address, and *prefix is no
 * range. Any thread. */
PEA_API bool pea_prefix_of(pea_prefix *prefix, const pea_addr *addr, uint8_t bits4, uint8_t bits6);

#ifdef __cplusplus
}
#endif
#endif
