/* SPDX-License-Identifier: MIT */
/* Codecs on any stream. Input: five bytes of configuration, then the stream. A frame lies within what was lent, is the
 * same however much of the stream was there when it was asked for, and put() writes it again. */
#include <stdlib.h>
#include <string.h>

#include "codec/codec_priv.h"

static void require(bool condition)
{
    if (!condition)
        abort();
}

static pea_codec *make(const uint8_t c[5])
{
    pea_codec *codec = NULL;
    pea_err made = PEA_MORE;
    if (c[0] == 0xFF)
        made = pea_codec_raw(&codec);
    else if (c[0] == 0xFE)
        made = pea_codec_varint(&codec, PEA_VARINT(.max = c[1]), NULL);
    else if (c[0] == 0xFD)
        made = pea_codec_delimiter(&codec, PEA_DELIMITER(.delimiter = {c + 2, c[1] % 4u}, .max = 100), NULL);
    else if (c[0] == 0xFC)
        made = pea_codec_fixed(&codec, c[1] + 1u, NULL);
    require(made == PEA_OK || made == PEA_MORE);
    if (made == PEA_OK)
        return codec;
    pea_err err = pea_codec_length(&codec,
                                   PEA_LENGTH(.field = c[0] % 10, .offset = c[1] % 10,
                                              .order = (c[2] & 1) != 0 ? PEA_LITTLE_ENDIAN : PEA_BIG_ENDIAN,
                                              .adjustment = (int32_t)(int8_t)c[3] * ((c[2] & 2) != 0 ? 16777216 : 1),
                                              .max = (c[2] & 4) != 0 ? c[4] : (uint64_t)c[4] << 40),
                                   NULL);
    require(err == PEA_OK || err == PEA_E_INVALID);
    return codec;
}

/* decode() on bytes that end where they end. */
static pea_err decode(const pea_codec *codec, const uint8_t *data, size_t len, pea_frame *frame)
{
    uint8_t *lent = malloc(len);
    require(lent != NULL);
    memcpy(lent, data, len);
    pea_err err = codec->ops->decode(codec->config, lent, len, frame);
    free(lent);
    require(err != PEA_OK || (frame->total >= 1 && frame->total <= len && frame->offset <= frame->total &&
                              frame->len <= frame->total - frame->offset));
    require(err != PEA_MORE || frame->total > len);
    require(err == PEA_OK || err == PEA_MORE || err == PEA_E_TOO_BIG || err == PEA_E_PROTO);
    return err;
}

/* The same frame, asked for byte by byte, or as it wishes to be asked. */
static void ask_again(const pea_codec *codec, const uint8_t *data, size_t len, pea_err want, const pea_frame *found,
                      bool thrifty)
{
    pea_frame frame = {0};
    pea_err err = PEA_MORE;
    for (size_t n = 1; err == PEA_MORE && n <= len; n = thrifty ? frame.total : n + 1) {
        frame = (pea_frame){.scanned = frame.scanned};
        err = decode(codec, data, n, &frame);
    }
    require(err == want);
    require(err != PEA_OK || (frame.total == found->total && frame.offset == found->offset && frame.len == found->len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pea_codec *codec = size > 5 ? make(data) : NULL;
    if (codec == NULL)
        return 0;
    bool raw = data[0] == 0xFF;
    for (size_t at = 5; at < size;) {
        pea_frame frame = {0};
        pea_err err = decode(codec, data + at, size - at, &frame);
        size_t rest = err == PEA_OK ? frame.total : size - at;
        if (!raw && rest < 2000) {
            ask_again(codec, data + at, size - at, err, &frame, true);
            ask_again(codec, data + at, size - at, err, &frame, false);
        }
        if (err != PEA_OK)
            break;
        uint8_t *out = malloc(frame.len + codec->ops->overhead);
        require(out != NULL || frame.len + codec->ops->overhead == 0);
        size_t n = codec->ops->put(codec->config, data + at + frame.offset, frame.len, out);
        require(n == frame.total);
        require(memcmp(out + frame.offset, data + at + frame.offset, frame.len) == 0);
        free(out);
        at += frame.total;
    }
    pea_codec_unref(codec);
    return 0;
}
