/* SPDX-License-Identifier: MIT */
/* Every limit on connections, decided in one place, before anything is allocated for them and before any crypto. */
#include <inttypes.h>
#include <stdio.h>

#include "err_priv.h"
#include "runtime_priv.h"

#define REFUSALS_SAID_MS 1000 /* one line in that time at most: whoever is refused must not fill the log as well */

/* A refusal that can be explained: counted, logged and told with the limit's name and value. */
static pea_err refuse(pea_node *node, const pea_addr *remote, const char *limit, uint64_t value, pea_error *why)
{
    char text[96], from[PEA_ADDR_TEXT_BYTES], line[256];
    node->counts.refused++;
    node->refused_unsaid++;
    snprintf(text, sizeof text, "%s = %" PRIu64 " is reached", limit, value);
    int64_t now = pea__now_ms();
    if (node->refused_said_ms == 0 || now - node->refused_said_ms >= REFUSALS_SAID_MS) {
        snprintf(line, sizeof line, "%s: %s refused, %" PRIu64 " since the last such line", text,
                 pea_addr_format(remote, from), node->refused_unsaid);
        pea__log(node->runtime, PEA_LOG_WARNING, node, NULL, line);
        node->refused_said_ms = now;
        node->refused_unsaid = 0;
    }
    return pea__error(why, PEA_E_LIMIT, text);
}

pea_err pea__admission_take(pea_node *node, const pea_addr *remote, pea_error *why)
{
    const pea_runtime *r = node->runtime;
    const pea_node_opts *limits = &node->limits;
    if (node->counts.connections >= limits->max_connections)
        return refuse(node, remote, "max_connections", limits->max_connections, why);
    if (node->counts.pending >= limits->max_pending)
        return refuse(node, remote, "max_pending", limits->max_pending, why);
    uint64_t used = r->worker.pool.held + (uint64_t)r->connections * PEA__CONN_COST;
    if (used + PEA__CONN_COST > r->memory_limit)
        return refuse(node, remote, "memory_limit", r->memory_limit, why);
    node->counts.connections++;
    node->counts.pending++;
    node->runtime->connections++;
    return PEA_OK;
}

void pea__admission_refused(pea_node *node)
{
    node->counts.refused++;
}

void pea__admission_ready(pea_node *node)
{
    node->counts.pending--;
    node->counts.ready++;
}

void pea__admission_gone(pea_node *node, bool was_ready)
{
    node->counts.connections--;
    node->runtime->connections--;
    if (was_ready)
        node->counts.ready--;
    else
        node->counts.pending--;
}
