/* SPDX-License-Identifier: MIT */
/* Shared messages: the count and the bytes lie in one allocation. */
#include "peapod/msg.h"

#include <stdatomic.h>
#include <string.h>

#include "buf_priv.h"

struct pea_msg {
    atomic_uint refs;
    size_t len;
    uint8_t data[];
};

pea_err pea_msg_new(pea_msg **msg, const void *data, size_t len)
{
    if (len > SIZE_MAX - sizeof(pea_msg))
        return PEA_E_NOMEM;
    pea_msg *m = pea__realloc(NULL, sizeof *m + len);
    if (m == NULL)
        return PEA_E_NOMEM;
    atomic_init(&m->refs, 1);
    m->len = len;
    if (len > 0)
        memcpy(m->data, data, len);
    *msg = m;
    return PEA_OK;
}

pea_msg *pea_msg_ref(pea_msg *msg)
{
    atomic_fetch_add_explicit(&msg->refs, 1, memory_order_relaxed);
    return msg;
}

void pea_msg_unref(pea_msg *msg)
{
    if (msg != NULL && atomic_fetch_sub_explicit(&msg->refs, 1, memory_order_acq_rel) == 1)
        pea__free(msg);
}

pea_span pea_msg_span(const pea_msg *msg)
{
    return (pea_span){msg->data, msg->len};
}
