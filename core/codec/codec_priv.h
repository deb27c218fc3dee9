/* SPDX-License-Identifier: MIT */
/* The codec object, and the configuration of the length codec, which the pipe reads to call the default one
 * directly. */
#ifndef PEAPOD_CODEC_PRIV_H
#define PEAPOD_CODEC_PRIV_H

#include <stdatomic.h>

#include "peapod/codec.h"

struct pea_codec {
    const pea_codec_ops *ops;
    void *config;
    void (*release)(void *config);
    atomic_uint refs;
};

typedef struct pea__length {
    uint8_t field, offset, header; /* header = offset + field */
    bool little;
    int32_t adjustment;
    uint64_t max;
} pea__length;

extern const pea_codec_ops pea__length_ops;
extern const pea_codec_ops pea__raw_ops;

/* Whether the codec is 4 bytes big-endian with nothing special: the pipe has a straight path for it. `*max` is
 * its largest payload. */
bool pea__codec_is_length4(const pea_codec *codec, uint32_t *max);

#endif
