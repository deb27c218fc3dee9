/* SPDX-License-Identifier: MIT */
/* The ready-made stages. Chains themselves are in stage.h: they carry the user's own stages as well. */
#ifndef PEAPOD_CHAIN_H
#define PEAPOD_CHAIN_H

#include "peapod/noise.h"
#include "peapod/stage.h"
#include "peapod/tls.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Appends a Noise handshake, checked now: what it lacks is said here, not at the first connection. Options are
 * copied, the identity is referenced.
 * PEA_OK | as pea_noise_new() | as pea_chain_add() | PEA_E_INVALID with a sentence: a prologue in
 * native mode, record_preserving in another mode than PEA_RECORDS, or PEA_RECORDS without it */
PEA_API PEA_MUST_CHECK pea_err pea_chain_noise(pea_chain *chain, const pea_noise_opts *opts, pea_error *why);

/* Appends TLS: who initiates is its client. Options are copied, identity and trust are referenced, and all of it is
 * checked now. In native mode the chain has no greeting, and ALPN agrees on the wire's version.
 * PEA_OK | as pea_chain_add() | PEA_E_INVALID with a sentence | PEA_E_UNSUPPORTED (built without TLS, or without that
 * version) | PEA_E_FORMAT (roots) | PEA_E_NOMEM */
PEA_API PEA_MUST_CHECK pea_err pea_chain_tls(pea_chain *chain, const pea_tls_opts *opts, pea_error *why);

#ifdef __cplusplus
}
#endif
#endif
