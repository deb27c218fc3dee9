/* SPDX-License-Identifier: MIT */
/* What the library has to say to an operator. It is silent unless a runtime or pipe is given a function. */
#ifndef PEAPOD_LOG_H
#define PEAPOD_LOG_H

#include "peapod/addr.h"
#include "peapod/peer.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum pea_log_level { PEA_LOG_ERROR = 1, PEA_LOG_WARNING, PEA_LOG_INFO, PEA_LOG_DEBUG } pea_log_level;

/* One line. Pointers are good during the call only. Text is escaped already: it holds no control characters. */
typedef struct pea_log_line {
    pea_log_level level;
    const char *text;
    const char *node;       /* the node's name; NULL where no node is concerned */
    uint64_t conn;          /* the connection's id; 0: none */
    const pea_addr *remote; /* NULL: none */
    const pea_peer *peer;   /* NULL: not known, or not yet */
} pea_log_line;

/* Called on the thread that has something to say; must not call back into the library. */
typedef void (*pea_log_fn)(const pea_log_line *line, void *arg);

/* A ready-made log function: one line to stderr, "peapod: warning: node 3, connection 7, 127.0.0.1:4711:
 * text". arg is unused. */
PEA_API void pea_log_stderr(const pea_log_line *line, void *arg);

/* "error", "warning", "info", "debug". Any thread. */
PEA_API const char *pea_log_level_name(pea_log_level level);

#ifdef __cplusplus
}
#endif
#endif
