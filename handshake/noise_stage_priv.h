/* SPDX-License-Identifier: MIT */
/* What the files of the Noise stage share. */
#ifndef PEAPOD_NOISE_STAGE_PRIV_H
#define PEAPOD_NOISE_STAGE_PRIV_H

#include "peapod/chain.h"

extern const pea_stage_ops pea__noise_ops;

/* ---- The configuration: noise_config.c ---- */

typedef struct pea__noise_config {
    pea_noise_opts opts; /* its pointers are ours: the fields below */
    char *protocol;
    uint8_t *psk, *more_psks; /* guarded */
    uint8_t *prologue;
    uint8_t remote_static[PEA_KEY_BYTES];
} pea__noise_config;

/* ---- The payloads of handshake messages in native mode: noise_payload.c ---- */

enum { PEA__NOISE_TLV_TIMESTAMP = 1 };

/* The TLVs that we know, where they lie in the payload. `data` is NULL: there is none. */
typedef struct pea__noise_payload {
    pea_span timestamp;
} pea__noise_payload;

/* Looks through the TLVs of a payload; what they hold is not looked at. PEA_OK | PEA_E_PROTO, and `*what` is a
 * sentence, `*known` as before */
PEA_MUST_CHECK pea_err pea__noise_payload_read(pea_span payload, pea__noise_payload *known, const char **what);

/* Appends a TLV: in ascending order of types. PEA_OK | PEA_E_TOO_BIG | PEA_E_NOMEM; on failure `payload` is as before */
PEA_MUST_CHECK pea_err pea__noise_payload_add(pea_buf *payload, uint16_t type, pea_span value);

static inline size_t pea__read_u16(const uint8_t *p)
{
    return (size_t)p[0] << 8 | p[1];
}

static inline pea_side pea__other_side(pea_side side)
{
    return side == PEA_INITIATOR ? PEA_RESPONDER : PEA_INITIATOR;
}

#endif
