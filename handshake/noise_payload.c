/* SPDX-License-Identifier: MIT */
/* What Noise handshake messages say beside keys, in native mode: TLVs in ascending order. Those that
 * are not known are skipped, unless they must be understood. What the known ones mean is said where they are used. */
#include <string.h>

#include "buf_priv.h"
#include "noise_stage_priv.h"

#define TLV_BYTES 4u /* u16 type, u16 length */
#define TLV_MUST_UNDERSTAND 0x8000u

static pea_err wrong(const char **what, const char *text)
{
    *what = text;
    return PEA_E_PROTO;
}

/* Where a TLV of this type is wanted; NULL: nowhere. */
static pea_span *place_of(pea__noise_payload *known, size_t type)
{
    switch (type) {
    case PEA__NOISE_TLV_TIMESTAMP:
        return &known->timestamp;
    case PEA__NOISE_TLV_CERTIFICATE:
        return &known->certificate;
    default:
        return NULL;
    }
}

pea_err pea__noise_payload_read(pea_span payload, pea__noise_payload *known, const char **what)
{
    pea__noise_payload seen = {.timestamp = {NULL, 0}};
    size_t before = 0; /* type 0 is none */
    while (payload.len > 0) {
        if (payload.len < TLV_BYTES)
            return wrong(what, "its payload ends inside a TLV's header");
        size_t type = pea__read_u16(payload.data), len = pea__read_u16(payload.data + 2);
        if (len > payload.len - TLV_BYTES)
            return wrong(what, "its payload ends inside a TLV");
        if (type <= before)
            return wrong(what, "the TLVs of its payload are not in ascending order");
        pea_span *place = place_of(&seen, type);
        if (place != NULL)
            *place = (pea_span){payload.data + TLV_BYTES, len};
        else if ((type & TLV_MUST_UNDERSTAND) != 0)
            return wrong(what, "its payload has a TLV that must be understood, and is not");
        before = type;
        payload = (pea_span){payload.data + TLV_BYTES + len, payload.len - TLV_BYTES - len};
    }
    *known = seen;
    return PEA_OK;
}

pea_err pea__noise_payload_add(pea_buf *payload, uint16_t type, pea_span value)
{
    uint8_t *tail;
    if (value.len > UINT16_MAX)
        return PEA_E_TOO_BIG;
    pea_err err = pea_buf_reserve(payload, TLV_BYTES + value.len, &tail);
    if (err != PEA_OK)
        return err;
    const uint8_t header[TLV_BYTES] = {(uint8_t)(type >> 8), (uint8_t)type, (uint8_t)(value.len >> 8),
                                       (uint8_t)value.len};
    memcpy(tail, header, TLV_BYTES);
    if (value.len > 0)
        memcpy(tail + TLV_BYTES, value.data, value.len);
    pea_buf_commit(payload, TLV_BYTES + value.len);
    return PEA_OK;
}
