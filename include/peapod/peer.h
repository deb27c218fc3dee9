/* SPDX-License-Identifier: MIT */
/* Who is at the other end, once a handshake stage has learnt it. */
#ifndef PEAPOD_PEER_H
#define PEAPOD_PEER_H

#include "peapod/err.h"

#ifdef __cplusplus
extern "C" {
#endif

#define PEA_ID_BYTES 32
#define PEA_NAME_MAX 255 /* a DNS name is at most 253 bytes */
#define PEA_ROLE_MAX 63

typedef enum pea_peer_kind {
    PEA_PEER_NONE = 0, /* nobody was authenticated */
    PEA_PEER_NOISE,    /* id: the Noise static public key (X25519, canonical) */
    PEA_PEER_SPKI,     /* id: SHA-256 of the certificate's SubjectPublicKeyInfo */
    PEA_PEER_OTHER     /* id: what the user's own stage makes of it */
} pea_peer_kind;

/* A value: copy it freely. Two peers are the same when kind and id are. */
typedef struct pea_peer {
    pea_peer_kind kind;
    uint8_t id[PEA_ID_BYTES];
    char name[PEA_NAME_MAX + 1]; /* verified, or given by the policy's own rule; "" : none */
    char role[PEA_ROLE_MAX + 1]; /* given by the policy's rule; of several "db,web"; "": none */
} pea_peer;

/* Same kind and id. Not constant in time: ids are public. Any thread. */
PEA_API bool pea_peer_equal(const pea_peer *a, const pea_peer *b);

/* Whether `role` is the peer's, or one of its several. Any thread. */
PEA_API bool pea_peer_has_role(const pea_peer *peer, const char *role);

#define PEA_PEER_TEXT_BYTES 96

/* "noise:BASE64" (standard, padded), "spki:sha256:HEX", "other:HEX", "none". Returns dst. Any thread. */
PEA_API char *pea_peer_format(const pea_peer *peer, char dst[PEA_PEER_TEXT_BYTES]);

/* Parses what pea_peer_format() writes, but "none". Name and role become empty.
 * PEA_OK | PEA_E_FORMAT with a sentence. `peer` is written only on success. Whether a Noise key is canonical is
 * secure/'s to say. Any thread. */
PEA_API PEA_MUST_CHECK pea_err pea_peer_parse(pea_peer *peer, const char *text, pea_error *why);

#ifdef __cplusplus
}
#endif
#endif
