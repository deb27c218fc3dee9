/* SPDX-License-Identifier: MIT */
/* pea_noise_read() in the place of each message of a few patterns, so that all tokens, pre-messages, several psks and
 * four messages are met. Input: one byte that chooses, then the message. A read that fails must leave the handshake as
 * it was: the true message is read after it, and the handshake ends well. */
#include <stdlib.h>
#include <string.h>

#include "peapod/noise.h"

static void require(bool condition)
{
    if (!condition)
        abort();
}

static pea_identity *identity[2];

static void make_identities(void)
{
    for (unsigned i = 0; i < 2 && identity[i] == NULL; i++) {
        uint8_t secret[PEA_KEY_BYTES];
        memset(secret, 0x61 + (int)i, sizeof secret);
        require(pea_identity_from_secret(&identity[i], secret, NULL) == PEA_OK);
    }
}

/* One true message from one to the other; before it is read, the false one is tried. Returns
 * whether that one was taken. */
static bool pass(pea_noise *from, pea_noise *to, const pea_span *false_one)
{
    pea_buf message = {0}, payload = {0};
    bool taken = false;
    require(pea_noise_write(from, (pea_span){NULL, 0}, &message) == PEA_OK);
    if (false_one != NULL) {
        pea_err err = pea_noise_read(to, *false_one, &payload);
        taken = err == PEA_OK;
        require(taken || err == PEA_E_PROTO || err == PEA_E_CRYPTO);
        require(taken || (payload.len == 0 && pea_noise_turn(to) == PEA_MORE));
    }
    if (!taken)
        require(pea_noise_read(to, (pea_span){message.data, message.len}, &payload) == PEA_OK);
    pea_buf_free(&message);
    pea_buf_free(&payload);
    return taken;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const protocols[] = {
        "Noise_XX_25519_ChaChaPoly_BLAKE2b",     "Noise_XXpsk3_25519_ChaChaPoly_SHA256",
        "Noise_IK_25519_ChaChaPoly_BLAKE2b",     "Noise_KK_25519_ChaChaPoly_SHA512",
        "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2b", "Noise_IX1psk2_25519_ChaChaPoly_SHA256",
        "Noise_X1X1_25519_ChaChaPoly_SHA256"};
    static const uint8_t psks[2 * PEA_KEY_BYTES] = {9};
    if (size < 1)
        return 0;
    make_identities();
    unsigned which = data[0] % 3, protocol = data[0] / 3;
    if (protocol > 1) { /* the first two have three messages each, the rest up to four */
        which = (data[0] - 6u) % 4;
        protocol = 2 + (data[0] - 6u) / 4 % 5;
    }
    bool psk = strstr(protocols[protocol], "psk") != NULL, psk0 = strstr(protocols[protocol], "psk0") != NULL;
    pea_span said = {data + 1, size - 1};
    pea_noise *noise[2];
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
        pea_peer peer;
        pea_identity_peer(identity[!side], &peer);
        require(pea_noise_new(&noise[side], side,
                              PEA_NOISE(.protocol = protocols[protocol], .identity = identity[side],
                                        .psk = psk ? psks : NULL, .remote_static = peer.id,
                                        .more_psks = psk0 ? psks : NULL, .n_more_psks = psk0 ? 2 : 0),
                              NULL) == PEA_OK);
    }
    bool taken = false;
    unsigned i = 0;
    for (; !taken && pea_noise_turn(noise[0]) != PEA_DONE; i++) {
        taken = pass(noise[i % 2], noise[1 - i % 2], i == which ? &said : NULL);
        require(!taken || i == 0); /* a first message can be made up, or said again: nothing in it answers anybody */
    }
    require(taken || pea_noise_turn(noise[1]) == PEA_DONE);
    pea_noise_free(noise[0]);
    pea_noise_free(noise[1]);
    return 0;
}
