/* SPDX-License-Identifier: MIT */
/* The ready-made log function. What is said, and how often, is decided by those who say it. */
#include "peapod/log.h"

#include <inttypes.h>
#include <stdio.h>

const char *pea_log_level_name(pea_log_level level)
{
    static const char *const names[] = {"?", "error", "warning", "info", "debug"};
    return level >= PEA_LOG_ERROR && level <= PEA_LOG_DEBUG ? names[level] : names[0];
}

void pea_log_stderr(const pea_log_line *line, void *arg)
{
    char node[64] = "", conn[40] = "", remote[PEA_ADDR_TEXT_BYTES] = "", peer[PEA_PEER_TEXT_BYTES] = "";
    (void)arg;
    if (line->node != NULL)
        snprintf(node, sizeof node, "node %.50s, ", line->node);
    if (line->conn != 0)
        snprintf(conn, sizeof conn, "connection %" PRIu64 ", ", line->conn);
    if (line->remote != NULL)
        pea_addr_format(line->remote, remote);
    if (line->peer != NULL)
        pea_peer_format(line->peer, peer);
    /* One call, so that lines of several threads do not mix. */
    fprintf(stderr, "peapod: %s: %s%s%s%s%s%s%s\n", pea_log_level_name(line->level), node, conn, remote,
            remote[0] != '\0' ? ", " : "", peer, peer[0] != '\0' ? ", " : "", line->text);
}
