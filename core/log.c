/* SPDX-License-Identifier: MIT */
/* The ready-made log function, and how often lines are said that a peer can cause at will. What is said is decided by
 * those who say it. */
#include <inttypes.h>
#include <stdio.h>

#include "runtime_priv.h"

/* ---- In words ---- */

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

/* ---- Not too often ---- */

/* Takes one of this second's lines. */
static bool take(pea__log_limit *limit, uint64_t second)
{
    uint_fast64_t old = atomic_load(&limit->said), new;
    do {
        if (old >> 32 != second)
            new = second << 32 | 1;
        else if ((old & UINT32_MAX) < PEA__LOG_LINES_PER_S)
            new = old + 1;
        else
            return false;
    } while (!atomic_compare_exchange_weak(&limit->said, &old, new));
    return true;
}

/* It repeats until it is told otherwise, so that it is ours to stop. */
static void unsaid_start(pea__worker *w)
{
    if (ev_is_active(&w->unsaid))
        return;
    ev_timer_set(&w->unsaid, 1., 1.);
    ev_timer_start(w->loop, &w->unsaid);
    ev_unref(w->loop);
    pea__worker_touch(w);
}

bool pea__log_may(pea_runtime *runtime, pea_log_level level, pea__log_kind kind)
{
    pea__log_limit *limit = &runtime->log_limits[kind];
    if (runtime->log == NULL || level > runtime->log_level)
        return false;
    if (take(limit, (uint64_t)pea__now_ms() / 1000 & UINT32_MAX))
        return true;
    atomic_fetch_add(&limit->unsaid, 1);
    unsaid_start(pea__worker_here(runtime));
    return false;
}

void pea__log_unsaid(pea_runtime *runtime)
{
    static const struct {
        pea_log_level level;
        const char *what;
    } kinds[PEA__LOG_KINDS] = {
        [PEA__LOG_REFUSED] = {PEA_LOG_WARNING, "refusals"},
        [PEA__LOG_LOST] = {PEA_LOG_WARNING, "accepted connections lost"},
        [PEA__LOG_ENDED] = {PEA_LOG_INFO, "connections ended"},
        [PEA__LOG_FAILED] = {PEA_LOG_INFO, "dials and handshakes failed"},
    };
    char text[96];
    for (unsigned i = 0; i < PEA__LOG_KINDS; i++) {
        uint64_t n = atomic_exchange(&runtime->log_limits[i].unsaid, 0);
        if (n == 0)
            continue;
        snprintf(text, sizeof text, "%" PRIu64 " more %s, without a line for each", n, kinds[i].what);
        pea__log(runtime, kinds[i].level, NULL, NULL, text);
    }
}

void pea__log_stop(pea__worker *w)
{
    if (!ev_is_active(&w->unsaid))
        return;
    ev_ref(w->loop);
    ev_timer_stop(w->loop, &w->unsaid);
}

void pea__log_on_timer(struct ev_loop *loop, ev_timer *timer, int events)
{
    pea__worker *w = timer->data;
    (void)loop;
    (void)events;
    if (pea__forked(w->runtime))
        return;
    pea__log_stop(w); /* until there are more */
    pea__log_unsaid(w->runtime);
}
