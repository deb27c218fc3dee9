/* SPDX-License-Identifier: MIT */
/* What the files of the Noise stage share. */
#ifndef PEAPOD_NOISE_STAGE_PRIV_H
#define PEAPOD_NOISE_STAGE_PRIV_H

#include "peapod/chain.h"
#include "peapod/err.h"

extern const pea_stage_ops pea__noise_ops;

/* ---- The gate: noise_gate.c ---- */

typedef struct pea__noise_gate pea__noise_gate;

#define PEA__GATE_TEXT_MAX 200u /* room for a sentence; "message 1: " comes before it */

/* window_ms 0: the time is neither said nor asked for; `remembers`: about how many first messages, from 1 to
 * PEA_GATE_REMEMBERS_MAX. PEA_OK | PEA_E_NOMEM */
PEA_MUST_CHECK pea_err pea__noise_gate_new(pea__noise_gate **gate, uint32_t window_ms, uint32_t remembers);
void pea__noise_gate_free(pea__noise_gate *gate); /* NULL is allowed */

/* Adds to the payload of a first message what the other side's gate asks for. PEA_OK | PEA_E_NOMEM */
PEA_MUST_CHECK pea_err pea__noise_gate_say(const pea__noise_gate *gate, int64_t now_ms, pea_buf *payload);

/* May this first message, which authenticated, be answered? Remembers it if so. Any thread.
 * PEA_OK | PEA_E_PROTO, PEA_E_REFUSED, and `what` is a sentence */
PEA_MUST_CHECK pea_err pea__noise_gate_pass(pea__noise_gate *gate, const uint8_t ephemeral[PEA_KEY_BYTES],
                                            pea_span timestamp, int64_t now_ms, char what[PEA__GATE_TEXT_MAX]);

/* ---- The configuration: noise_config.c ---- */

typedef struct pea__noise_config {
    pea_noise_opts opts; /* its pointers are ours: the fields below */
    char *protocol;
    uint8_t *psk, *more_psks; /* guarded */
    pea_noise_psk_fn psk_fn;  /* instead of those; NULL: there are those, or none */
    void *psk_arg;
    pea__noise_gate *gate; /* NULL: the first message is under no psk */
    uint8_t *prologue;
    uint8_t remote_static[PEA_KEY_BYTES];
    uint8_t network[PEA_NETWORK_BYTES];
    unsigned certificate_in[2]; /* by side: the message, from 1, that may carry its certificate; 0: none may */
} pea__noise_config;

/* Asks psk_fn() for the psks of a connection, and has opts->psk and more_psks point to them.
 * PEA_OK | < 0, and `why` has a sentence */
PEA_MUST_CHECK pea_err pea__noise_ask_psks(const pea__noise_config *config, const pea_stage_env *env,
                                           pea_noise_psks *psks, pea_noise_opts *opts, pea_error *why);

/* ---- The payloads of handshake messages in native mode: noise_payload.c ---- */

enum { PEA__NOISE_TLV_TIMESTAMP = 1, PEA__NOISE_TLV_CERTIFICATE };

/* The TLVs that we know, where they lie in the payload. `data` is NULL: there is none. */
typedef struct pea__noise_payload {
    pea_span timestamp, certificate;
} pea__noise_payload;

/* Looks through the TLVs of a payload; what they hold is not looked at. PEA_OK | PEA_E_PROTO, and `*what` is a
 * sentence, `*known` as before */
PEA_MUST_CHECK pea_err pea__noise_payload_read(pea_span payload, pea__noise_payload *known, const char **what);

/* Appends a TLV: in ascending order of types. PEA_OK | PEA_E_TOO_BIG | PEA_E_NOMEM, and `payload` is as before */
PEA_MUST_CHECK pea_err pea__noise_payload_add(pea_buf *payload, uint16_t type, pea_span value);

/* ---- Certificates in them: noise_certificate.c ---- */

/* Finds out where certificates are said, and whether ours, if there is one, may be. The rest of the configuration is
 * there. PEA_OK | PEA_E_INVALID with a sentence */
PEA_MUST_CHECK pea_err pea__noise_certificate_check(pea__noise_config *config, pea_error *why);

/* Appends ours to the payload of message `message`, if it is said there. PEA_OK | PEA_E_NOMEM */
PEA_MUST_CHECK pea_err pea__noise_certificate_say(const pea__noise_config *config, pea_side side, unsigned message,
                                                  pea_buf *payload);

/* Takes the peer's, which message `message` carried, and shows it to the policy. `doubt` is a sentence
 * where it is good and yet not shown, else as before.
 * PEA_OK | PEA_E_PROTO, PEA_E_CRYPTO, and `*what` is a sentence | PEA_E_NOMEM */
PEA_MUST_CHECK pea_err pea__noise_certificate_hear(const pea__noise_config *config, pea_stage_env *env,
                                                   const pea_noise *noise, unsigned message, pea_span certificate,
                                                   char doubt[PEA_TEXT_MAX], const char **what);

static inline pea_side pea__other_side(pea_side side)
{
    return side == PEA_INITIATOR ? PEA_RESPONDER : PEA_INITIATOR;
}

#endif
