/* SPDX-License-Identifier: MIT */
/* Messages that end with a delimiter: lines, for one. The delimiter is not part of the message, and no message may hold
 * it: to send one that does is refused, since the peer would read it as two. */
#include <string.h>

#include "../buf_priv.h"
#include "../err_priv.h"
#include "codec_priv.h"

typedef struct delimiter {
    uint64_t max;
    uint8_t len;
    uint8_t bytes[PEA_DELIMITER_MAX];
} delimiter;

/* Where the delimiter first lies in `data`, from `from` on; SIZE_MAX: nowhere. */
static size_t find(const delimiter *c, const uint8_t *data, size_t len, size_t from)
{
    while (len - from >= c->len) {
        const uint8_t *at = memchr(data + from, c->bytes[0], len - from - c->len + 1);
        if (at == NULL)
            break;
        if (memcmp(at, c->bytes, c->len) == 0)
            return (size_t)(at - data);
        from = (size_t)(at - data) + 1;
    }
    return SIZE_MAX;
}

static pea_err delimiter_decode(void *self, const uint8_t *data, size_t len, pea_frame *frame)
{
    const delimiter *c = self;
    size_t at = find(c, data, len, frame->scanned < len ? frame->scanned : 0);
    if (at == SIZE_MAX) {
        if (len > c->max && len - c->max >= c->len)
            return PEA_E_TOO_BIG;
        frame->scanned = len >= c->len ? len - c->len + 1 : 0; /* its last bytes may begin a delimiter */
        frame->total = len + 1;
        return PEA_MORE;
    }
    if (at > c->max)
        return PEA_E_TOO_BIG;
    frame->offset = 0;
    frame->len = at;
    frame->total = at + c->len;
    return PEA_OK;
}

/* Whether a reader would find the message as it is: the first delimiter is the one behind it, which can begin earlier
 * than it should (the message "a" and the delimiter "aa"). */
static pea_err check(const delimiter *c, const uint8_t *payload, size_t len)
{
    if (len > c->max)
        return PEA_E_TOO_BIG;
    if (len > 0 && find(c, payload, len, 0) != SIZE_MAX)
        return PEA_E_INVALID;
    uint8_t seam[2 * PEA_DELIMITER_MAX];
    size_t tail = len < c->len - 1u ? len : c->len - 1u;
    if (tail > 0)
        memcpy(seam, payload + len - tail, tail);
    memcpy(seam + tail, c->bytes, c->len);
    return find(c, seam, tail + c->len, 0) == tail ? PEA_OK : PEA_E_INVALID;
}

static size_t delimiter_put(void *self, const void *payload, size_t len, uint8_t *dst)
{
    const delimiter *c = self;
    if (check(c, payload, len) != PEA_OK)
        return 0;
    if (len > 0)
        memcpy(dst, payload, len);
    memcpy(dst + len, c->bytes, c->len);
    return len + c->len;
}

static pea_err delimiter_marks(void *self, const void *payload, size_t len, pea_frame_marks *marks)
{
    const delimiter *c = self;
    pea_err err = check(c, payload, len);
    if (err != PEA_OK)
        return err;
    memcpy(marks->after, c->bytes, c->len);
    marks->before_len = 0;
    marks->after_len = c->len;
    return PEA_OK;
}

static const pea_codec_ops delimiter_ops = {
    .version = PEA_CODEC_VERSION,
    .name = "delimiter",
    .decode = delimiter_decode,
    .overhead = PEA_DELIMITER_MAX,
    .put = delimiter_put,
    .marks = delimiter_marks,
};

_Static_assert(PEA_DELIMITER_MAX <= PEA_MARK_MAX, "the longest delimiter fits the marks");

pea_err pea_codec_delimiter(pea_codec **codec, const pea_delimiter_opts *opts, pea_error *why)
{
    static const uint8_t newline[] = {'\n'};
    pea_delimiter_opts o = PEA_DELIMITER_INIT;
    pea_err err = pea__options(&o, sizeof o, opts, why);
    if (err != PEA_OK)
        return err;
    if (o.delimiter.len == 0)
        o.delimiter = (pea_span){newline, sizeof newline};
    if (o.delimiter.len > PEA_DELIMITER_MAX)
        return pea__error(why, PEA_E_INVALID, "the delimiter has more than 16 bytes");
    delimiter *c = pea__alloc(sizeof *c);
    if (c == NULL)
        return pea__error(why, PEA_E_NOMEM, NULL);
    c->max = o.max != 0 ? o.max : PEA_LINE_MAX_DEFAULT;
    c->len = (uint8_t)o.delimiter.len;
    memcpy(c->bytes, o.delimiter.data, o.delimiter.len);
    err = pea_codec_new(codec, &delimiter_ops, c, pea__free);
    if (err != PEA_OK) {
        pea__free(c);
        return pea__error(why, err, NULL);
    }
    return PEA_OK;
}
