/* SPDX-License-Identifier: MIT */
/* The Noise protocol framework, revision 34, as code without I/O: usable without any node. All of its patterns, with
 * psk0 to psk4, over 25519 with ChaChaPoly or AESGCM and SHA256, SHA512, BLAKE2b or BLAKE2s (docs/noise.md has them in
 * a table); as hybrids with ML-KEM-768, "Noise_XXhfs_25519+MLKEM768_ChaChaPoly_BLAKE2b", where libsodium has it. The
 * stage that speaks it on connections is pea_chain_noise() in chain.h. */
#ifndef PEAPOD_NOISE_H
#define PEAPOD_NOISE_H

#include "peapod/cert.h"
#include "peapod/codec.h"
#include "peapod/identity.h"
#include "peapod/transform.h"

#ifdef __cplusplus
extern "C" {
#endif

#define PEA_NOISE_DEFAULT "Noise_XX_25519_ChaChaPoly_BLAKE2b"
#define PEA_NOISE_MESSAGE_MAX 65535u /* bytes of any Noise message: section 3 */
/* bytes of a handshake message that peapod's stage reads: certificates fit, floods do not */
#define PEA_NOISE_HANDSHAKE_MAX 16384u
#define PEA_NOISE_TAG_BYTES 16u
#define PEA_NOISE_HASH_MAX 64u
#define PEA_NOISE_PSKS_MAX 4u /* that the first message is tried with: each costs as much as a first message */

/* The gate, which keeps out who does not hold the network's key: docs/noise.md, "Gates" */
#define PEA_GATE_REMEMBERS 8192u         /* first messages; each takes 32 bytes */
#define PEA_GATE_REMEMBERS_MAX 16777216u /* half a gigabyte */
#define PEA_GATE_WINDOW_MS_MAX 86400000u /* a day */

/* The psks of one handshake. */
typedef struct pea_noise_psks {
    size_t n;                                        /* 1 to PEA_NOISE_PSKS_MAX */
    uint8_t keys[PEA_NOISE_PSKS_MAX][PEA_KEY_BYTES]; /* as `psk`, then as `more_psks` */
} pea_noise_psks;

/* Writes the psks that a connection begins with to `psks`, of which `n` is 0; we wipe them. `side` is ours, `expect`
 * whom PEA_DIAL() expects, or NULL. Called at the start of each handshake, on the connection's thread, with workers on
 * several at once; it must neither wait nor call this node.
 * PEA_OK | < 0: this connection fails so, and the sentence in `why` is the reason's */
typedef pea_err (*pea_noise_psk_fn)(void *arg, pea_side side, const pea_peer *expect, pea_noise_psks *psks,
                                    pea_error *why);

typedef struct pea_noise_opts {
    size_t size;            /* set by PEA_NOISE */
    const char *protocol;   /* NULL: PEA_NOISE_DEFAULT */
    pea_identity *identity; /* our static key; referenced. NULL where the pattern has none of ours */
    const uint8_t *psk;     /* 32 secret bytes of a psk pattern, copied; the same at each of its places. NULL: none */
    pea_span prologue;      /* copied; foreign modes only: native mode makes its own */
    bool record_preserving; /* one Noise transport message carries one application message (PEA_RECORDS) */
    /* the peer's static key, for patterns in which it is known beforehand (NK, IK, KK, ...); copied. NULL on a
     * connection: the key of PEA_DIAL(.expect) */
    const uint8_t *remote_static;
    /* psk0: further keys that the initiator may have, n_more_psks * 32 secret bytes, copied: what it uses in its first
     * message it is held to. For those who listen; who dials uses `psk`. */
    const uint8_t *more_psks;
    size_t n_more_psks; /* at most PEA_NOISE_PSKS_MAX - 1 */
    /* ---- For connections: pea_chain_noise() ---- */
    /* instead of `psk` and `more_psks`: keys that change while the chain is in use. NULL: they do not. What `psk_arg`
     * points to must outlive the chain. */
    pea_noise_psk_fn psk_fn;
    void *psk_arg;
    /* Where the first message is under a psk, in native mode: an initiator says in it when it was made, and a responder
     * takes none that is further off its own clock. All members have it, or none: who listens leaves who does not say
     * it, without a word. 0: not said, and not asked for; at most PEA_GATE_WINDOW_MS_MAX. */
    uint32_t gate_window_ms;
    /* likewise in all modes, how many first messages who listens remembers at least, to take none of them twice: best
     * as many as the whole network makes in two windows. 0: PEA_GATE_REMEMBERS; at most PEA_GATE_REMEMBERS_MAX */
    uint32_t gate_remembers;
    /* What a root says of our key, for peers who know the root and not the key: said in the handshake beside the key,
     * encrypted. Native mode; referenced. NULL: nothing */
    pea_cert *certificate;
} pea_noise_opts;

#define PEA_NOISE(...) (&(pea_noise_opts){.size = sizeof(pea_noise_opts), __VA_ARGS__})
#define PEA_NOISE_INIT                                                                                    \
    {                                                                                                     \
        sizeof(pea_noise_opts), NULL, NULL, NULL, {NULL, 0}, false, NULL, NULL, 0, NULL, NULL, 0, 0, NULL \
    }

/* One side of a Noise handshake. Read and write alternate as the pattern says; a failed read changes nothing. One
 * thread at a time. */
typedef struct pea_noise pea_noise;

/* PEA_OK | PEA_E_UNSUPPORTED: which part of the protocol's name this build or CPU cannot do | PEA_E_FORMAT: not a
 * Noise name | PEA_E_INVALID with a sentence: a key is missing, or is none, or the pattern has no use for a psk |
 * PEA_E_NOMEM */
PEA_API PEA_MUST_CHECK pea_err pea_noise_new(pea_noise **noise, pea_side side, const pea_noise_opts *opts,
                                             pea_error *why);

/* Wipes and frees, in any state. NULL is allowed. */
PEA_API void pea_noise_free(pea_noise *noise);

/* Whose turn it is: PEA_MORE: read the peer's message | PEA_AGAIN: write ours | PEA_DONE: call pea_noise_split()
 * | PEA_E_STATE: it was called | another < 0: the sticky error of a write */
PEA_API pea_err pea_noise_turn(const pea_noise *noise);

/* Writes the next message with `payload` in it, unframed, to the back of `out`. PEA_OK | PEA_E_STATE (not our turn) |
 * PEA_E_TOO_BIG | PEA_E_CRYPTO (a remote key of low order, or that is none) | PEA_E_NOMEM. On failure `out` is as
 * before, and the handshake is over. */
PEA_API PEA_MUST_CHECK pea_err pea_noise_write(pea_noise *noise, pea_span payload, pea_buf *out);

/* Reads the peer's next message, unframed, and appends its payload. PEA_OK | PEA_E_STATE (not its turn) | PEA_E_PROTO
 * (too short, too long) | PEA_E_CRYPTO (a bad tag, a low-order or non-canonical key) | PEA_E_NOMEM. A failed read
 * changes neither the handshake nor `payload`: section 5.3, CVE-2021-4239. */
PEA_API PEA_MUST_CHECK pea_err pea_noise_read(pea_noise *noise, pea_span message, pea_buf *payload);

/* The peer's static public key, once it is known: beforehand, or from a message that was read. It may be no more than
 * claimed: see the next. PEA_OK | PEA_E_STATE: not known, or split already. */
PEA_API PEA_MUST_CHECK pea_err pea_noise_remote_static(const pea_noise *noise, uint8_t key[PEA_KEY_BYTES]);

typedef enum pea_noise_proof {
    PEA_NOISE_NO_PROOF = 0, /* nothing in this pattern proves who that side is */
    PEA_NOISE_UNPROVEN,     /* a later message does; at PEA_DONE, its first record */
    PEA_NOISE_PROVEN
} pea_noise_proof;

/* Whether what `side` has said so far proves to the other one that it holds its static key, and is here now. As long as
 * the peer's is not proven, what it said may be a replay (IK, KK) or made up (IX, IN): it is good for refusing, and for
 * nothing that must happen only once. PEA_NOISE_NO_PROOF after pea_noise_split(). */
PEA_API pea_noise_proof pea_noise_proof_of(const pea_noise *noise, pea_side side);

/* After the last message: the transform of this side (records of u16 length and ciphertext). Native mode rekeys every
 * 2^20 records and packs 61,422 bytes of plaintext; foreign mode never rekeys. The handshake is wiped; only
 * pea_noise_free() is left. Of a one-way pattern (N, K, X) the initiator's seals and the responder's unseals; the other
 * says PEA_E_STATE.
 * PEA_OK | PEA_E_STATE | PEA_E_NOMEM. The transform answers PEA_QUERY_BINDING (the handshake hash), PEA_QUERY_EXPORT
 * and PEA_QUERY_CIPHER (the protocol's name). */
PEA_API PEA_MUST_CHECK pea_err pea_noise_split(pea_noise *noise, bool native, pea_transform *transform);

#ifdef __cplusplus
}
#endif
#endif
