/* SPDX-License-Identifier: MIT */
/* What Noise handshake messages say beside keys, in native mode: TLVs in ascending order. Those that
 * are not known are skipped, unless they must be understood. What the known ones mean is said where they are used. */
#include <string.h>

#include "buf_priv.h"
#include "noise_stage_priv.h"
#include "tlv_priv.h"

static pea_err wrong(const char **what, const char *text)
{
    *what = text;
    return PEA_E_PROTO;
}

/* Where a TLV of this type is wanted; NULL: nowhere. */
static pea_span *place_of(pea__noise_payload *known, uint16_t type)
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
    uint16_t type = 0;
    pea_span value;
    pea__tlv_found found;
    while ((found = pea__tlv_next(&payload, &type, &value)) == PEA__TLV_ONE) {
        pea_span *place = place_of(&seen, type);
        if (place != NULL)
            *place = value;
        else if ((type & PEA__TLV_MUST_UNDERSTAND) != 0)
            return wrong(what, "its payload has a TLV that must be understood, and is not");
    }
    if (found != PEA__TLV_NONE)
        return wrong(what, found == PEA__TLV_CUT_HEAD ? "its payload ends inside a TLV's header"
                           : found == PEA__TLV_CUT    ? "its payload ends inside a TLV"
                                                      : "the TLVs of its payload are not in ascending order");
    *known = seen;
    return PEA_OK;
}

pea_err pea__noise_payload_add(pea_buf *payload, uint16_t type, pea_span value)
{
    uint8_t *tail;
    if (value.len > UINT16_MAX)
        return PEA_E_TOO_BIG;
    pea_err err = pea_buf_reserve(payload, PEA__TLV_BYTES + value.len, &tail);
    if (err != PEA_OK)
        return err;
    pea__tlv_head(tail, type, value.len);
    if (value.len > 0)
        memcpy(tail + PEA__TLV_BYTES, value.data, value.len);
    pea_buf_commit(payload, PEA__TLV_BYTES + value.len);
    return PEA_OK;
}
