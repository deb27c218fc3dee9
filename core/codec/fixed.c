/* SPDX-License-Identifier: MIT */
/* Messages that all have the same size, with nothing between them. */
#include <string.h>

#include "../buf_priv.h"
#include "../err_priv.h"
#include "codec_priv.h"

typedef struct fixed {
    size_t size;
} fixed;

static pea_err fixed_decode(void *self, const uint8_t *data, size_t len, pea_frame *frame)
{
    const fixed *c = self;
    (void)data;
    frame->offset = 0;
    frame->len = frame->total = c->size;
    return len < c->size ? PEA_MORE : PEA_OK;
}

static size_t fixed_put(void *self, const void *payload, size_t len, uint8_t *dst)
{
    const fixed *c = self;
    if (len != c->size)
        return 0;
    memcpy(dst, payload, len);
    return len;
}

static pea_err fixed_marks(void *self, const void *payload, size_t len, pea_frame_marks *marks)
{
    const fixed *c = self;
    (void)payload;
    if (len != c->size)
        return len > c->size ? PEA_E_TOO_BIG : PEA_E_INVALID;
    marks->before_len = 0;
    marks->after_len = 0;
    return PEA_OK;
}

static const pea_codec_ops fixed_ops = {
    .version = PEA_CODEC_VERSION,
    .name = "fixed",
    .decode = fixed_decode,
    .overhead = 1, /* not 0: put() can then say that a message of no bytes is none */
    .put = fixed_put,
    .marks = fixed_marks,
};

pea_err pea_codec_fixed(pea_codec **codec, size_t size, pea_error *why)
{
    if (size == 0)
        return pea__error(why, PEA_E_INVALID, "messages of a fixed size have at least one byte");
    fixed *c = pea__alloc(sizeof *c);
    if (c == NULL)
        return pea__error(why, PEA_E_NOMEM, NULL);
    c->size = size;
    pea_err err = pea_codec_new(codec, &fixed_ops, c, pea__free);
    if (err != PEA_OK) {
        pea__free(c);
        return pea__error(why, err, NULL);
    }
    return PEA_OK;
}
