/* SPDX-License-Identifier: MIT */
/* A handshake stage of the user's own: in plain text the initiator says "STARTTLS\n", the responder "GO\n", and
 * whatever follows is the next stage's. Put it before pea_chain_tls() in a chain. The test of upgrades uses this very
 * file. */
#ifndef PEAPOD_EXAMPLE_STARTTLS_STAGE_H
#define PEAPOD_EXAMPLE_STARTTLS_STAGE_H

#include <peapod/stage.h>
#include <stdlib.h>
#include <string.h>

typedef struct starttls {
    bool asked;
} starttls;

static pea_err starttls_start(const void *config, pea_stage_env *env, void **self)
{
    (void)config, (void)env;
    *self = calloc(1, sizeof(starttls));
    return *self != NULL ? PEA_OK : PEA_E_NOMEM;
}

/* Takes exactly this line and not a byte more: what the peer sent behind it is not plain text, whatever it looks like.
 * A wrong byte is wrong at once, so that nobody waits for the rest of something else.
 * PEA_OK | PEA_MORE | PEA_E_PROTO */
static pea_err starttls_take(pea_buf *in, const char *line)
{
    size_t len = strlen(line), n = in->len < len ? in->len : len;
    if (n > 0 && memcmp(in->data, line, n) != 0)
        return PEA_E_PROTO;
    if (n < len)
        return PEA_MORE;
    pea_buf_consume(in, len);
    return PEA_OK;
}

/* Called at once, then whenever more came. There is no way to go on without the upgrade: a peer, or somebody between
 * us, who answers anything else ends the connection. */
static pea_err starttls_step(void *self, pea_stage_env *env, pea_buf *in, pea_buf *out)
{
    starttls *s = (starttls *)self;
    bool initiator = pea_stage_side(env) == PEA_INITIATOR;
    if (initiator && !s->asked) {
        s->asked = true;
        pea_err err = pea_buf_append(out, "STARTTLS\n", 9);
        if (err != PEA_OK)
            return err;
    }
    pea_err err = starttls_take(in, initiator ? "GO\n" : "STARTTLS\n");
    if (err == PEA_E_PROTO)
        return pea_stage_fail(env, err, initiator ? "the peer does not say GO" : "the peer does not say STARTTLS");
    if (err == PEA_OK && !initiator)
        err = pea_buf_append(out, "GO\n", 3);
    return err == PEA_OK ? PEA_DONE : err;
}

static const pea_stage_ops starttls_ops = {
    .version = PEA_STAGE_VERSION,
    .name = "starttls",
    .max_in = 16, /* a line, and no more, may wait here */
    .start = starttls_start,
    .step = starttls_step,
    .destroy = free, /* no yield(): it only talks */
};

#endif
