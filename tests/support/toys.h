/* SPDX-License-Identifier: MIT */
/* Small implementations of the four interfaces, as a user would write them: two transforms, three stages, a codec, a
 * policy. They protect nothing and serve tests alone: what passes with them owes nothing to Noise. */
#ifndef PEAPOD_TEST_TOYS_H
#define PEAPOD_TEST_TOYS_H

#include "peapod/pipe.h"

/* ---- Transforms ---- */

#define TOY_XOR_PLAIN 200u   /* plaintext of one record: small, so that short messages span records */
#define TOY_XOR_OVERHEAD 10u /* u16 length, 8 bytes of checksum */
#define TOY_FRAME_PLAIN 300u
#define TOY_FRAME_OVERHEAD 302u /* u16 length; run-length coding at its worst doubles */

/* Records with a keyed checksum over number and content: what was changed is found. It has an authenticated end, a
 * binding, and a "rekey". `preserving`: one record is one message. Bytes that one side sends are keyed by its side, so
 * that nothing can be reflected.
 * PEA_OK | PEA_E_NOMEM */
PEA_MUST_CHECK pea_err toy_xor_new(pea_transform *transform, uint64_t key, pea_side side, bool preserving);

/* Run-length coding in small records: no checksum, no end, no binding; wire and plaintext differ in length.
 * PEA_OK | PEA_E_NOMEM */
PEA_MUST_CHECK pea_err toy_frame_new(pea_transform *transform);

/* ---- Stages. Their configuration is the caller's and must live as long as the chain ---- */

/* Talks and leaves nothing: the initiator says `ask`, the responder answers `answer`; each is a line that ends in \n.
 * Anything else is PEA_E_PROTO. */
typedef struct toy_talk {
    const char *ask, *answer;
} toy_talk;

extern const pea_stage_ops toy_talk_ops;

/* Leaves a transform: either side says 8 bytes, and both make a key of them. What it proves of the peer is its
 * configured word for it. */
typedef struct toy_upgrade {
    uint8_t nonce[2][8]; /* by side */
    uint64_t secret;     /* the key, but for the nonces */
    bool frame;          /* leaves toy_frame instead of toy_xor */
    bool preserving;
    bool judges;      /* asks for the verdict on `peer` of the other side */
    pea_peer peer[2]; /* by side */
} toy_upgrade;

extern const pea_stage_ops toy_upgrade_ops;

/* The same under the flag PEA_STAGE_NEGOTIATES: its native chains have no greeting. */
extern const pea_stage_ops toy_negotiate_ops;

/* A look-up that takes its time: the initiator says a name and \n, the responder asks somebody (`ticket` lies in the
 * configuration) and waits; then it says '+' and the initiator's peer is proven to be that name; or it fails. The
 * configuration serves one pipe at a time on each side. */
typedef struct toy_lookup {
    const char *name;
    bool proves; /* judges the initiator by its name on the responder's side, and "server" on the other */
    bool open;   /* somebody waits for an answer */
    pea_ticket ticket;
    unsigned asked;
} toy_lookup;

extern const pea_stage_ops toy_lookup_ops;

/* The peer that toy_lookup makes of a name. */
void toy_named_peer(pea_peer *peer, const char *name);

/* ---- Codec: netstrings, "5:hello," : a mark on either side, a length of many digits, state of its own ---- */

/* `made` counts its instances that are alive; at most 9,999,999 bytes a message. PEA_OK | PEA_E_NOMEM */
PEA_MUST_CHECK pea_err toy_netstring_new(pea_codec **codec, int *made);

/* ---- Policy: says what it is told to say ---- */

typedef struct toy_policy {
    pea_err verdict; /* of check(): PEA_OK, PEA_WAIT, or an error */
    uint64_t generation;
    unsigned checks; /* calls of check() */
    bool open;       /* a wait is open; its ticket: */
    pea_ticket ticket;
    pea_peer asked; /* about whom check() was asked last */
    pea_side side;
    bool has_from;
    bool destroyed;
} toy_policy;

extern const pea_policy_ops toy_policy_ops;

#endif
