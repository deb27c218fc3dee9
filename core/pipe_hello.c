/* SPDX-License-Identifier: MIT */
/* What the peer said of its application when the channel opened, kept for whoever asks. Most peers say nothing, and
 * then nothing is kept. */
#include <string.h>

#include "pipe_state_priv.h"

pea_err pea__hello_keep(pea_pipe *p, pea_span application, uint32_t lowest, uint32_t highest, uint64_t capabilities)
{
    size_t len = application.data != NULL ? application.len : 0;
    if (len == 0 && highest == 0 && capabilities == 0)
        return PEA_OK;
    pea__hello *h = pea__alloc(sizeof *h + len + 1);
    if (h == NULL)
        return PEA_E_NOMEM;
    h->capabilities = capabilities;
    h->lowest = lowest;
    h->highest = highest;
    for (size_t i = 0; i < len; i++) /* a NUL is UTF-8, but would hide what follows it */
        h->application[i] = application.data[i] != 0 ? (char)application.data[i] : ' ';
    p->hello = h;
    return PEA_OK;
}

pea_err pea_pipe_hello(const pea_pipe *p, pea_hello *hello)
{
    if (p->mode != PEA_NATIVE)
        return PEA_E_UNSUPPORTED;
    if (!p->ready_told)
        return PEA_E_STATE;
    *hello = (pea_hello){.application = ""};
    if (p->hello != NULL)
        *hello = (pea_hello){.application = p->hello->application,
                             .application_lowest = p->hello->lowest,
                             .application_highest = p->hello->highest,
                             .capabilities = p->hello->capabilities};
    return PEA_OK;
}
