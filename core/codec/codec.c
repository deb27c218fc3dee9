/* SPDX-License-Identifier: MIT */
/* A codec as a reference-counted object, and the simplest of them: raw. */
#include "codec_priv.h"

#include <string.h>

#include "../buf_priv.h"

pea_err pea_codec_new(pea_codec **codec, const pea_codec_ops *ops, void *config, void (*release)(void *config))
{
    if (codec == NULL || ops == NULL || ops->version != PEA_CODEC_VERSION || ops->name == NULL || ops->decode == NULL ||
        ops->put == NULL || ops->marks == NULL || ops->overhead > (size_t)2 * PEA_MARK_MAX)
        return PEA_E_INVALID;
    pea_codec *c = pea__alloc(sizeof *c);
    if (c == NULL)
        return PEA_E_NOMEM;
    c->ops = ops;
    c->config = config;
    c->release = release;
    atomic_init(&c->refs, 1);
    *codec = c;
    return PEA_OK;
}

pea_codec *pea_codec_ref(pea_codec *codec)
{
    atomic_fetch_add_explicit(&codec->refs, 1, memory_order_relaxed);
    return codec;
}

void pea_codec_unref(pea_codec *codec)
{
    if (codec == NULL || atomic_fetch_sub_explicit(&codec->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (codec->release != NULL)
        codec->release(codec->config);
    pea__free(codec);
}
