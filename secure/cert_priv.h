/* SPDX-License-Identifier: MIT */
/* Certificates for Noise as bytes and as values, for those who make them (cert.c), hear them (handshake/) and judge
 * them (trust_root.c). The format is docs/certificates.md's. */
#ifndef PEAPOD_CERT_PRIV_H
#define PEAPOD_CERT_PRIV_H

#include "peapod/cert.h"

#define PEA__SIGNATURE_BYTES 64u

/* Reads the bytes of a certificate, and checks its signature. PEA_OK | PEA_E_FORMAT, PEA_E_CRYPTO, and `*what` is a
 * sentence: `info` is as it was */
PEA_MUST_CHECK pea_err pea__cert_read(pea_cert_info *info, pea_span bytes, const char **what);

/* Whether a certificate could say it. PEA_OK | PEA_E_FORMAT, and `*what` is a sentence */
PEA_MUST_CHECK pea_err pea__cert_check(const pea_cert_info *info, const char **what);

/* Writes what was checked, up to its signature, to `out`. Returns its length. */
size_t pea__cert_write(uint8_t out[PEA_CERT_MAX], const pea_cert_info *info);

/* Whether it is for this key, an X25519 public one. */
bool pea__cert_names_key(const pea_cert_info *info, const uint8_t key[PEA_KEY_BYTES]);

/* Whether it is for this network. */
bool pea__cert_names_network(const pea_cert_info *info, const uint8_t network[32]);

/* ---- Names and roles: the letters that they are made of are one set ---- */

/* Whether `len` letters are a name or a role. */
bool pea__cert_word(const char *text, size_t len);

/* Sorts roles with commas between them, as a certificate has them. False: they are none, or one is there twice. */
bool pea__cert_sort_roles(char roles[PEA_ROLE_MAX + 1], const char *text);

/* ---- Roots ---- */

/* Ed25519's secret and public half, as libsodium keeps them: 64 bytes, guarded. */
const uint8_t *pea__root_secret(const pea_root *root);

#endif
