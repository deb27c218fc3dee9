/* SPDX-License-Identifier: MIT */
/* Secrets as valgrind sees them: memory that is marked undefined, so that every branch and every address that
 * depends on it is reported. What becomes public is declassified in boundary.c, and nowhere else but in the tests'
 * own eyes. */
#ifndef PEAPOD_TEST_SECRETS_H
#define PEAPOD_TEST_SECRETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Marks bytes secret; marks them public. */
void secrets_hide(const void *data, size_t len);
void secrets_show(const void *data, size_t len);

/* How many of these bytes are secret, at least in one bit. */
size_t secrets_hidden(const void *data, size_t len);

/* What is unsealed is public from then on: for layers that read messages. Off at first, the tests of records want it
 * off. */
extern bool secrets_show_plaintext;

/* What read(2) brings is a key file: what is secret in it is marked. Off at first. */
extern bool secrets_read_keys;

/* The places where a deliberate leak can be had, for the proof that leaks are found; each is where our code has the
 * secret in its hands. */
typedef enum secrets_place {
    SECRETS_NOWHERE = 0,
    SECRETS_SCALAR,    /* the scalar of a Diffie-Hellman: static and ephemeral */
    SECRETS_EPHEMERAL, /* the ephemeral, when its public key is made */
    SECRETS_SHARED,    /* what a Diffie-Hellman gives */
    SECRETS_PSK,
    SECRETS_KEY,     /* of a cipher, when something is encrypted */
    SECRETS_TAG,     /* the tag that ought to have come with what is decrypted */
    SECRETS_REKEYED, /* a cipher's next key */
    SECRETS_EXPORT,  /* what the exporter gave */
    SECRETS_DECODED, /* the key in a key file */
    SECRETS_WRITTEN, /* the text of a key file that is to be written */
    SECRETS_GUARDED, /* the copy in guarded memory */
#ifdef PEA_TEST_TLS
    SECRETS_CERTIFIED,  /* a certificate's key, on its way into guarded memory */
    SECRETS_PASSPHRASE, /* of such a key */
#endif
    SECRETS_N_PLACES
} secrets_place;

/* Where to leak, and how: by a branch, or by an index. */
extern secrets_place secrets_leak_at;
extern bool secrets_leak_by_index;

/* Leaks if this is the place. */
void secrets_leak(secrets_place place, const void *secret);

#endif
