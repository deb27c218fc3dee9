/* SPDX-License-Identifier: MIT */
/* unseal() of Noise records. Input: one byte of settings, then bytes that are either the wire itself, or changes
 * (by exclusive or) of true records. Nothing is ever unsealed that was not sealed, and true records before the
 * first change all are. */
#include <stdlib.h>
#include <string.h>

#include "peapod/noise.h"

enum { TRUE_RECORDS = 1, AESGCM = 2, PRESERVING = 4 };

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* A pair of transforms out of a real handshake. false: this machine has no AES-GCM. */
static bool make_pair(pea_transform pair[2], uint8_t settings)
{
    static pea_identity *identity;
    static const uint8_t secret[PEA_KEY_BYTES] = {5};
    pea_noise *noise[2] = {NULL, NULL};
    bool ok = true;
    require(identity != NULL || pea_identity_from_secret(&identity, secret, NULL) == PEA_OK);
    for (pea_side side = PEA_INITIATOR; ok && side <= PEA_RESPONDER; side++)
        ok = pea_noise_new(&noise[side], side,
                           PEA_NOISE(.protocol = (settings & AESGCM) != 0 ? "Noise_XX_25519_AESGCM_SHA256" : NULL,
                                     .identity = identity, .record_preserving = (settings & PRESERVING) != 0),
                           NULL) == PEA_OK;
    for (unsigned i = 0; ok && i < 3; i++) {
        pea_buf message = {0}, payload = {0};
        require(pea_noise_write(noise[i % 2], (pea_span){NULL, 0}, &message) == PEA_OK);
        require(pea_noise_read(noise[1 - i % 2], (pea_span){message.data, message.len}, &payload) == PEA_OK);
        pea_buf_free(&message);
        pea_buf_free(&payload);
    }
    for (unsigned i = 0; ok && i < 2; i++)
        require(pea_noise_split(noise[i], (settings & PRESERVING) == 0, &pair[i]) == PEA_OK);
    pea_noise_free(noise[0]);
    pea_noise_free(noise[1]);
    return ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t text[] = "what was sealed is what is unsealed, or nothing is";
    pea_transform pair[2];
    pea_buf wire = {0}, plain = {0}, reply = {0};
    if (size < 1 || !make_pair(pair, data[0]))
        return 0;
    size_t sealed = 0, untouched = 0;
    if ((data[0] & TRUE_RECORDS) != 0) {
        for (size_t n = 1; n < sizeof text; n += 9) {
            require(pair[0].ops->seal(pair[0].self, &(pea_span){text, n}, 1, &wire) == PEA_OK);
            bool touched = false;
            for (size_t i = wire.len - n - 18; i < wire.len; i++)
                touched |= i + 1 < size && data[i + 1] != 0;
            untouched += !touched && untouched == sealed ? n : 0;
            sealed += n;
        }
        for (size_t i = 0; i + 1 < size && i < wire.len; i++)
            wire.data[i] ^= data[i + 1];
    } else if (size > 1) {
        require(pea_buf_append(&wire, data + 1, size - 1) == PEA_OK);
    }
    size_t before = wire.len;
    pea_err err;
    while ((err = pair[1].ops->unseal(pair[1].self, &wire, &plain, 16, &reply)) == PEA_AGAIN)
        continue;
    require(err == PEA_OK || err == PEA_E_CRYPTO || err == PEA_E_PROTO);
    require(wire.len <= before && plain.len <= sealed && plain.len == untouched && reply.len == 0);
    pea_buf_free(&wire);
    pea_buf_free(&plain);
    pair[0].ops->destroy(pair[0].self);
    pair[1].ops->destroy(pair[1].self);
    return 0;
}
