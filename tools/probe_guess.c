/* SPDX-License-Identifier: MIT */
/* Which protocol a server's first bytes belong to: those that are met where somebody dials a wrong port. */
#include <string.h>

#include "probe_priv.h"

bool probe_is_tls(const uint8_t *first, size_t n)
{
    return n >= 3 && (first[0] == 0x15 || first[0] == 0x16) && first[1] == 3 && first[2] <= 4;
}

static bool is_mysql(const uint8_t *first, size_t n)
{
    return n >= 6 && first[2] == 0 && first[3] == 0 && first[4] == 10 && first[5] >= '0' && first[5] <= '9';
}

const char *probe_guess(const uint8_t *first, size_t n)
{
    static const struct {
        const char *begins, *what;
    } table[] = {
        {"SSH-", "SSH"},
        {"HTTP/", "HTTP"},
        {"<html", "HTTP"},
        {"<!DOC", "HTTP"},
        {"* OK", "IMAP"},
        {"+OK", "POP3"},
        {"220", "SMTP or FTP"},
        {"-ERR", "redis"},
        {"-NOAUTH", "redis"},
        {"-DENIED", "redis"},
        {"AMQP", "AMQP"},
        {"RFB ", "VNC"},
        {"ERROR\r\n", "memcached"},
        {"\x13"
         "BitTorrent",
         "BitTorrent"},
        {"\x13/multistream", "libp2p"},
    };
    if (probe_is_tls(first, n))
        return "TLS";
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        size_t len = strlen(table[i].begins);
        if (n >= len && memcmp(first, table[i].begins, len) == 0)
            return table[i].what;
    }
    return is_mysql(first, n) ? "MySQL" : NULL;
}
