/* SPDX-License-Identifier: MIT */
/* Lists of TLVs: u16 type, u16 length, value, by strictly ascending types. HELLO is one, and so is much that other
 * floors read; what the types mean is theirs to say. And the numbers in them, big-endian. */
#ifndef PEAPOD_TLV_PRIV_H
#define PEAPOD_TLV_PRIV_H

#include "peapod/buf.h"

#define PEA__TLV_BYTES 4u /* before the value */
#define PEA__TLV_MUST_UNDERSTAND 0x8000u

static inline void pea__put_be(uint8_t *p, uint64_t value, size_t bytes)
{
    for (size_t i = bytes; i-- > 0; value >>= 8)
        p[i] = (uint8_t)value;
}

static inline uint64_t pea__get_be(const uint8_t *p, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++)
        value = value << 8 | p[i];
    return value;
}

static inline void pea__tlv_head(uint8_t head[PEA__TLV_BYTES], uint16_t type, size_t len)
{
    pea__put_be(head, type, 2);
    pea__put_be(head + 2, len, 2);
}

typedef enum pea__tlv_found {
    PEA__TLV_NONE = 0, /* the list has ended */
    PEA__TLV_ONE,
    PEA__TLV_CUT_HEAD, /* it ends inside of a TLV: before its value */
    PEA__TLV_CUT,      /* in it */
    PEA__TLV_UNSORTED  /* the next type is not above the one before */
} pea__tlv_found;

/* Takes the next one off the front of a list. `*type` is the one before; at first 0, which is no type. */
static inline pea__tlv_found pea__tlv_next(pea_span *list, uint16_t *type, pea_span *value)
{
    if (list->len == 0)
        return PEA__TLV_NONE;
    if (list->len < PEA__TLV_BYTES)
        return PEA__TLV_CUT_HEAD;
    uint16_t before = *type;
    size_t len = (size_t)pea__get_be(list->data + 2, 2);
    *type = (uint16_t)pea__get_be(list->data, 2);
    if (len > list->len - PEA__TLV_BYTES)
        return PEA__TLV_CUT;
    if (*type <= before)
        return PEA__TLV_UNSORTED;
    *value = (pea_span){list->data + PEA__TLV_BYTES, len};
    *list = (pea_span){value->data + len, list->len - PEA__TLV_BYTES - len};
    return PEA__TLV_ONE;
}

#endif
