/* SPDX-License-Identifier: MIT */
/* A length before each message as unsigned LEB128: 7 bits a byte, the lowest first, the top bit says that more follow.
 * As in protobuf's delimited streams and in libp2p. A length has one encoding here, the shortest: a longer one is
 * refused, as libp2p does. */
#include <string.h>

#include "../buf_priv.h"
#include "../err_priv.h"
#include "codec_priv.h"

#define VARINT_BYTES 9u /* 63 bits: what libp2p allows, and more than anybody sends */

typedef struct varint {
    uint64_t max;
} varint;

static pea_err varint_decode(void *self, const uint8_t *data, size_t len, pea_frame *frame)
{
    const varint *c = self;
    uint64_t value = 0;
    size_t n = 0;
    for (;;) {
        if (n == len) {
            frame->total = len + 1;
            return PEA_MORE;
        }
        uint8_t byte = data[n];
        value |= (uint64_t)(byte & 0x7F) << (7 * n);
        n++;
        if ((byte & 0x80) == 0) {
            if (byte == 0 && n > 1)
                return PEA_E_PROTO; /* a shorter encoding says the same */
            break;
        }
        if (n == VARINT_BYTES || value > c->max)
            return PEA_E_TOO_BIG;
    }
    if (value > c->max || value > SIZE_MAX - n)
        return PEA_E_TOO_BIG;
    frame->offset = n;
    frame->len = (size_t)value;
    frame->total = n + (size_t)value;
    return len < frame->total ? PEA_MORE : PEA_OK;
}

/* Writes the length; returns its bytes. */
static size_t header_write(uint64_t len, uint8_t *dst)
{
    size_t n = 0;
    for (; len >= 0x80; len >>= 7)
        dst[n++] = (uint8_t)(len | 0x80);
    dst[n++] = (uint8_t)len;
    return n;
}

static size_t varint_put(void *self, const void *payload, size_t len, uint8_t *dst)
{
    const varint *c = self;
    if (len > c->max)
        return 0;
    size_t n = header_write(len, dst);
    if (len > 0)
        memcpy(dst + n, payload, len);
    return n + len;
}

static pea_err varint_marks(void *self, const void *payload, size_t len, pea_frame_marks *marks)
{
    const varint *c = self;
    (void)payload;
    if (len > c->max)
        return PEA_E_TOO_BIG;
    marks->before_len = (uint8_t)header_write(len, marks->before);
    marks->after_len = 0;
    return PEA_OK;
}

static const pea_codec_ops varint_ops = {
    .version = PEA_CODEC_VERSION,
    .name = "varint",
    .decode = varint_decode,
    .overhead = VARINT_BYTES,
    .put = varint_put,
    .marks = varint_marks,
};

_Static_assert(VARINT_BYTES <= PEA_MARK_MAX, "the longest header fits the marks");

pea_err pea_codec_varint(pea_codec **codec, const pea_varint_opts *opts, pea_error *why)
{
    pea_varint_opts o = PEA_VARINT_INIT;
    pea_err err = pea__options(&o, sizeof o, opts, why);
    if (err != PEA_OK)
        return err;
    if (o.max > INT64_MAX)
        return pea__error(why, PEA_E_INVALID, "a varint here says at most 63 bits");
    varint *c = pea__alloc(sizeof *c);
    if (c == NULL)
        return pea__error(why, PEA_E_NOMEM, NULL);
    c->max = o.max != 0 ? o.max : PEA_LENGTH_MAX_DEFAULT;
    err = pea_codec_new(codec, &varint_ops, c, pea__free);
    if (err != PEA_OK) {
        pea__free(c);
        return pea__error(why, err, NULL);
    }
    return PEA_OK;
}
