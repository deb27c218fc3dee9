/* SPDX-License-Identifier: MIT */
/* No framing: what came is a message, whatever its size. For peers that speak a protocol of their own, parsed above. */
#include <string.h>

#include "codec_priv.h"

static pea_err raw_decode(void *self, const uint8_t *data, size_t len, pea_frame *frame)
{
    (void)self;
    (void)data;
    frame->offset = 0;
    frame->len = len;
    frame->total = len;
    return PEA_OK;
}

static size_t raw_put(void *self, const void *payload, size_t len, uint8_t *dst)
{
    (void)self;
    if (len > 0)
        memcpy(dst, payload, len);
    return len;
}

static pea_err raw_marks(void *self, const void *payload, size_t len, pea_frame_marks *marks)
{
    (void)self;
    (void)payload;
    (void)len;
    marks->before_len = 0;
    marks->after_len = 0;
    return PEA_OK;
}

const pea_codec_ops pea__raw_ops = {
    .version = PEA_CODEC_VERSION,
    .name = "raw",
    .decode = raw_decode,
    .overhead = 0,
    .put = raw_put,
    .marks = raw_marks,
};

pea_err pea_codec_raw(pea_codec **codec)
{
    return pea_codec_new(codec, &pea__raw_ops, NULL, NULL);
}
