/* SPDX-License-Identifier: MIT */
/* The limit of connect with Noise XX: `raw_x25519 SECONDS`. What one side of a handshake computes over 25519, by
 * libsodium, on both cores at once: one key pair, and ee, es and se. Prints handshakes per second alone, as the
 * receiver's core has them. */
#include <sodium.h>
#include <stdio.h>

#include "peers/peer.h"

static void handshake(const uint8_t *remote)
{
    uint8_t secret[32], public[32], shared[32];
    randombytes_buf(secret, sizeof secret);
    if (crypto_scalarmult_base(public, secret) != 0)
        two_fail("crypto_scalarmult_base");
    for (int i = 0; i < 3; i++)
        if (crypto_scalarmult(shared, secret, remote) != 0)
            two_fail("crypto_scalarmult");
}

int main(int argc, char **argv)
{
    uint8_t remote[32];
    static const uint8_t secret[32] = {1, 2, 3};
    if (argc != 2) {
        (void)fprintf(stderr, "usage: raw_x25519 SECONDS\n");
        return 2;
    }
    peer_meter meter = {.seconds = two_number(argv[1], "SECONDS", 600)};
    if (sodium_init() < 0 || crypto_scalarmult_base(remote, secret) != 0)
        two_fail("libsodium");
    bool sender = two_fork();
    do {
        handshake(remote);
        meter.count++;
    } while (sender || peer_meter_look(&meter)); /* the receiver ends the sender */
    peer_meter_print(&meter);
    (void)fflush(stdout);
    two_end();
    return 0;
}
