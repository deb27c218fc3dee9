/* SPDX-License-Identifier: MIT */
/* What Noise handshake messages say beside keys, in native mode: TLVs in ascending order. None is known today: they are
 * skipped, unless they must be understood. */
#include "noise_stage_priv.h"

#define TLV_BYTES 4u /* u16 type, u16 length */
#define TLV_MUST_UNDERSTAND 0x8000u

static pea_err wrong(const char **what, const char *text)
{
    *what = text;
    return PEA_E_PROTO;
}

pea_err pea__noise_payload_read(pea_span payload, const char **what)
{
    size_t before = 0; /* type 0 is none */
    while (payload.len > 0) {
        if (payload.len < TLV_BYTES)
            return wrong(what, "its payload ends inside a TLV's header");
        size_t type = pea__read_u16(payload.data), len = pea__read_u16(payload.data + 2);
        if (len > payload.len - TLV_BYTES)
            return wrong(what, "its payload ends inside a TLV");
        if (type <= before)
            return wrong(what, "the TLVs of its payload are not in ascending order");
        if ((type & TLV_MUST_UNDERSTAND) != 0)
            return wrong(what, "its payload has a TLV that must be understood, and is not");
        before = type;
        payload = (pea_span){payload.data + TLV_BYTES + len, payload.len - TLV_BYTES - len};
    }
    return PEA_OK;
}
