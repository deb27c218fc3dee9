/* SPDX-License-Identifier: MIT */
/* A length field before each message: 1 to 8 bytes, either byte order, at an offset, with an adjustment and a
 * maximum. */
#include <string.h>

#include "../buf_priv.h"
#include "../err_priv.h"
#include "codec_priv.h"

static uint64_t field_read(const pea__length *c, const uint8_t *p)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < c->field; i++)
        value = value << 8 | p[c->little ? c->field - 1u - i : i];
    return value;
}

static void field_write(const pea__length *c, uint8_t *p, uint64_t value)
{
    for (unsigned i = 0; i < c->field; i++) {
        p[c->little ? i : c->field - 1u - i] = (uint8_t)value;
        value >>= 8;
    }
}

static uint64_t field_max(uint8_t field)
{
    return field == 8 ? UINT64_MAX : (UINT64_C(1) << (8u * field)) - 1;
}

static pea_err length_decode(void *self, const uint8_t *data, size_t len, pea_frame *frame)
{
    const pea__length *c = self;
    if (len < c->header) {
        frame->total = c->header;
        return PEA_MORE;
    }
    uint64_t said = field_read(c, data + c->offset);
    uint64_t back = (uint64_t)(-(int64_t)c->adjustment); /* only used where the adjustment is negative */
    if (c->adjustment < 0 && said < back)
        return PEA_E_PROTO;
    if (c->adjustment > 0 && said > UINT64_MAX - (uint64_t)c->adjustment)
        return PEA_E_TOO_BIG;
    uint64_t payload = c->adjustment < 0 ? said - back : said + (uint64_t)c->adjustment;
    if (payload > c->max || payload > SIZE_MAX - c->header)
        return PEA_E_TOO_BIG;
    frame->offset = c->header;
    frame->len = (size_t)payload;
    frame->total = c->header + (size_t)payload;
    return len < frame->total ? PEA_MORE : PEA_OK;
}

/* Writes the header for a payload of `len` bytes; false: the field cannot say it, or it is above the maximum. */
static bool header_write(const pea__length *c, size_t len, uint8_t *dst)
{
    if (len > c->max || (c->adjustment > 0 && len < (size_t)c->adjustment))
        return false;
    memset(dst, 0, c->offset);
    field_write(c, dst + c->offset, (uint64_t)((int64_t)len - c->adjustment));
    return true;
}

static size_t length_put(void *self, const void *payload, size_t len, uint8_t *dst)
{
    const pea__length *c = self;
    if (!header_write(c, len, dst))
        return 0;
    if (len > 0)
        memcpy(dst + c->header, payload, len);
    return c->header + len;
}

static pea_err length_marks(void *self, const void *payload, size_t len, pea_frame_marks *marks)
{
    const pea__length *c = self;
    (void)payload;
    if (!header_write(c, len, marks->before))
        return PEA_E_TOO_BIG;
    marks->before_len = c->header;
    marks->after_len = 0;
    return PEA_OK;
}

const pea_codec_ops pea__length_ops = {
    .version = PEA_CODEC_VERSION,
    .name = "length",
    .decode = length_decode,
    .overhead = PEA_LENGTH_OFFSET_MAX + 8,
    .put = length_put,
    .marks = length_marks,
};

_Static_assert(PEA_LENGTH_OFFSET_MAX + 8 <= PEA_MARK_MAX, "the longest header fits the marks");

/* Largest payload whose field value exists: said = payload - adjustment must be in 0 ... field_max. */
static uint64_t payload_max(uint8_t field, int32_t adjustment)
{
    uint64_t most = field_max(field);
    if (adjustment < 0) {
        uint64_t back = (uint64_t)(-(int64_t)adjustment);
        return most < back ? 0 : most - back;
    }
    uint64_t forth = (uint64_t)adjustment;
    return most > (uint64_t)INT64_MAX - forth ? (uint64_t)INT64_MAX : most + forth;
}

pea_err pea_codec_length(pea_codec **codec, const pea_length_opts *opts, pea_error *why)
{
    pea_length_opts o = PEA_LENGTH_INIT;
    pea_err err = pea__options(&o, sizeof o, opts, why);
    if (err != PEA_OK)
        return err;
    if (o.field == 0)
        o.field = 4;
    if (o.field > 8)
        return pea__error(why, PEA_E_INVALID, "the length field must have 1 to 8 bytes");
    if (o.offset > PEA_LENGTH_OFFSET_MAX)
        return pea__error(why, PEA_E_INVALID, "the length field's offset must be at most 8");
    if (o.order != PEA_BIG_ENDIAN && o.order != PEA_LITTLE_ENDIAN)
        return pea__error(why, PEA_E_INVALID, "the byte order is neither big nor little endian");
    uint64_t most = payload_max(o.field, o.adjustment);
    if (most == 0 || o.max > most)
        return pea__error(why, PEA_E_INVALID, "the length field cannot say the largest payload");
    pea__length *c = pea__alloc(sizeof *c);
    if (c == NULL)
        return pea__error(why, PEA_E_NOMEM, NULL);
    *c = (pea__length){.field = o.field,
                       .offset = o.offset,
                       .header = (uint8_t)(o.offset + o.field),
                       .little = o.order == PEA_LITTLE_ENDIAN,
                       .adjustment = o.adjustment,
                       .max = o.max != 0 ? o.max : (most < PEA_LENGTH_MAX_DEFAULT ? most : PEA_LENGTH_MAX_DEFAULT)};
    err = pea_codec_new(codec, &pea__length_ops, c, pea__free);
    if (err != PEA_OK) {
        pea__free(c);
        return pea__error(why, err, NULL);
    }
    return PEA_OK;
}

bool pea__codec_is_length4(const pea_codec *codec, uint32_t *max)
{
    if (codec->ops != &pea__length_ops)
        return false;
    const pea__length *c = codec->config;
    *max = c->max < UINT32_MAX ? (uint32_t)c->max : UINT32_MAX;
    return c->field == 4 && c->offset == 0 && !c->little && c->adjustment == 0;
}
