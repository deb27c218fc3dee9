/* SPDX-License-Identifier: MIT */
/* Two sides of the TLS engine, without a pipe: bytes between them, and the transforms that they leave. */
#ifndef PEAPOD_TEST_TLS_SCENE_H
#define PEAPOD_TEST_TLS_SCENE_H

#include "support/check.h"
#include "tls/session_priv.h"

extern pea_tls_version version; /* of the run */
extern bool own_records[2];     /* by side */
extern const int *ciphersuites; /* the ciphersuites of both, 0 at the end; NULL: ours */

/* A file of the test certificates; good until the fourth next. */
pea_span slurp(const char *name);
pea_identity *load(const char *name);

/* One side: what it shows, whom it trusts. */
typedef struct side_opts {
    const char *cert;  /* NULL: client, server */
    const char *roots; /* NULL: root.crt; "": none */
    const char *name;
    const char *const *alpn;
    bool native, server_only;
} side_opts;

typedef struct ends {
    pea__tls_session *s[2];
    pea_buf wire[2]; /* what each said and the other has not read */
    pea_err result[2];
    bool asked[2];
    pea_transform t[2];
} ends;

void side_open(ends *e, pea_side side, const side_opts *o);

/* Runs both until neither moves. Whoever is asked says yes. */
void run(ends *e);

void open_ends(ends *e, const side_opts *i, const side_opts *r);
void close_ends(ends *e);

/* Both must have come to the end of the handshake: what they leave is in `t`. */
void yield_ends(ends *e);

/* The usual ones, yielded. */
void open_pair(ends *e);

/* One call of side's unseal; what it replies is said. */
pea_err unseal(ends *e, pea_side side, pea_buf *plain, size_t max);

/* What a transform says of its failure. */
void failure(const ends *e, pea_side side, char text[PEA_TEXT_MAX + 1]);

#endif
