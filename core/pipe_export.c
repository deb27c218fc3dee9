/* SPDX-License-Identifier: MIT */
/* What an application may take out of a channel: its binding, and secrets of its own. Transforms know how; what may be
 * asked, and when, is the same for all of them, and said here. */
#include <string.h>

#include "pipe_state_priv.h"

pea_err pea_pipe_binding(const pea_pipe *p, void *out, size_t *len)
{
    return p->ready_told ? pea_pipe_query(p, PEA_QUERY_BINDING, (pea_span){NULL, 0}, out, len) : PEA_E_STATE;
}

pea_err pea_pipe_export(const pea_pipe *p, const char *label, const void *context, size_t context_len, void *out,
                        size_t len)
{
    uint8_t in[PEA_EXPORT_LABEL_MAX + 1 + PEA_EXPORT_CONTEXT_MAX];
    size_t label_len = label != NULL ? strnlen(label, PEA_EXPORT_LABEL_MAX + 1) : 0, n = label_len;
    if (label_len == 0 || (context == NULL && context_len > 0) || out == NULL || len == 0)
        return PEA_E_INVALID;
    if (label_len > PEA_EXPORT_LABEL_MAX || context_len > PEA_EXPORT_CONTEXT_MAX || len > PEA_EXPORT_MAX)
        return PEA_E_TOO_BIG;
    if (!p->ready_told)
        return PEA_E_STATE;
    memcpy(in, label, label_len);
    if (context_len > 0) { /* an empty one is none */
        in[n++] = '\0';
        memcpy(in + n, context, context_len);
        n += context_len;
    }
    return pea_pipe_query(p, PEA_QUERY_EXPORT, (pea_span){in, n}, out, &len);
}
