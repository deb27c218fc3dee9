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

/* Looks through the TLVs of a payload. PEA_OK | PEA_E_PROTO, and `*what` is a sentence */
PEA_MUST_CHECK pea_err pea__noise_payload_read(pea_span payload, const char **what);

static inline size_t pea__read_u16(const uint8_t *p)
{
    return (size_t)p[0] << 8 | p[1];
}

static inline pea_side pea__other_side(pea_side side)
{
    return side == PEA_INITIATOR ? PEA_RESPONDER : PEA_INITIATOR;
}

#endif
