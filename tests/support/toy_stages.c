/* SPDX-License-Identifier: MIT */
/* Three stages: one that only talks, one that leaves a transform, and one that waits for somebody's answer. */
#include <stdlib.h>
#include <string.h>

#include "toys.h"

#define LINE_MAX_BYTES 64u

/* Takes a line that must be `want`. PEA_OK | PEA_MORE | PEA_E_PROTO as soon as it cannot be that line any more */
static pea_err expect_line(pea_buf *in, const char *want)
{
    size_t len = strlen(want), n = in->len < len ? in->len : len;
    if (n > 0 && memcmp(in->data, want, n) != 0)
        return PEA_E_PROTO;
    if (n < len)
        return PEA_MORE;
    pea_buf_consume(in, len);
    return PEA_OK;
}

/* ---- talk ---- */

typedef struct talk {
    const toy_talk *config;
    bool asked;
} talk;

static pea_err talk_start(const void *config, pea_stage_env *env, void **self)
{
    (void)env;
    talk *t = calloc(1, sizeof *t);
    if (t == NULL)
        return PEA_E_NOMEM;
    t->config = config;
    *self = t;
    return PEA_OK;
}

static pea_err talk_step(void *self, pea_stage_env *env, pea_buf *in, pea_buf *out)
{
    talk *t = self;
    bool initiator = pea_stage_side(env) == PEA_INITIATOR;
    if (initiator && !t->asked) {
        t->asked = true;
        pea_err err = pea_buf_append(out, t->config->ask, strlen(t->config->ask));
        if (err != PEA_OK)
            return err;
    }
    pea_err err = expect_line(in, initiator ? t->config->answer : t->config->ask);
    if (err == PEA_E_PROTO)
        return pea_stage_fail(env, err, "that is not what this dialogue says");
    if (err != PEA_OK)
        return err;
    err = initiator ? PEA_OK : pea_buf_append(out, t->config->answer, strlen(t->config->answer));
    return err == PEA_OK ? PEA_DONE : err;
}

const pea_stage_ops toy_talk_ops = {
    .version = PEA_STAGE_VERSION,
    .name = "toy_talk",
    .max_in = LINE_MAX_BYTES,
    .start = talk_start,
    .step = talk_step,
    .destroy = free,
};

/* ---- upgrade ---- */

typedef struct upgrade {
    const toy_upgrade *config;
    pea_side side;
    bool said, heard;
    uint64_t key;
} upgrade;

static pea_err upgrade_start(const void *config, pea_stage_env *env, void **self)
{
    upgrade *u = calloc(1, sizeof *u);
    if (u == NULL)
        return PEA_E_NOMEM;
    u->config = config;
    u->side = pea_stage_side(env);
    u->key = u->config->secret;
    *self = u;
    return PEA_OK;
}

/* The key is made of both nonces and of whatever was said in plaintext before, as a real handshake binds it. */
static pea_err derive(upgrade *u, pea_stage_env *env, const uint8_t theirs[8])
{
    const uint8_t *first = u->side == PEA_INITIATOR ? u->config->nonce[PEA_INITIATOR] : theirs;
    const uint8_t *second = u->side == PEA_INITIATOR ? theirs : u->config->nonce[PEA_RESPONDER];
    pea_buf said = {0};
    pea_err err = pea_stage_native(env) ? pea_stage_prologue(env, &said) : PEA_OK;
    if (err == PEA_OK)
        err = pea_buf_append(&said, first, 8);
    if (err == PEA_OK)
        err = pea_buf_append(&said, second, 8);
    for (size_t i = 0; i < said.len; i++)
        u->key = (u->key ^ said.data[i]) * 0x100000001B3u;
    pea_buf_free(&said);
    return err;
}

static pea_err upgrade_step(void *self, pea_stage_env *env, pea_buf *in, pea_buf *out)
{
    upgrade *u = self;
    if (u->side == PEA_INITIATOR && !u->said) {
        u->said = true;
        pea_err err = pea_buf_append(out, u->config->nonce[u->side], 8);
        if (err != PEA_OK)
            return err;
    }
    if (!u->heard) {
        if (in->len < 8)
            return PEA_MORE;
        pea_err err = derive(u, env, in->data);
        if (err != PEA_OK)
            return err;
        pea_buf_consume(in, 8);
        u->heard = true;
    }
    if (u->config->judges) {
        pea_err err = pea_stage_judge(env, &u->config->peer[1 - u->side], PEA_PROVEN);
        if (err == PEA_WAIT || err == PEA_E_NOMEM)
            return err;
        if (err == PEA_E_REFUSED && u->side == PEA_INITIATOR)
            return err;
    }
    if (u->side == PEA_RESPONDER) {
        pea_err err = pea_buf_append(out, u->config->nonce[u->side], 8);
        if (err != PEA_OK)
            return err;
    }
    return PEA_DONE;
}

static pea_err upgrade_yield(void *self, pea_transform *out)
{
    const upgrade *u = self;
    return u->config->frame ? toy_frame_new(out) : toy_xor_new(out, u->key, u->side, u->config->preserving);
}

const pea_stage_ops toy_upgrade_ops = {
    .version = PEA_STAGE_VERSION,
    .name = "toy_upgrade",
    .max_in = 8,
    .start = upgrade_start,
    .step = upgrade_step,
    .yield = upgrade_yield,
    .destroy = free,
};

const pea_stage_ops toy_negotiate_ops = {
    .version = PEA_STAGE_VERSION,
    .flags = PEA_STAGE_NEGOTIATES,
    .name = "toy_negotiate",
    .max_in = 8,
    .start = upgrade_start,
    .step = upgrade_step,
    .yield = upgrade_yield,
    .destroy = free,
};

/* ---- lookup ---- */

typedef struct lookup {
    toy_lookup *config;
    bool said, asked, answered;
} lookup;

void toy_named_peer(pea_peer *peer, const char *name)
{
    *peer = (pea_peer){.kind = PEA_PEER_OTHER};
    strncpy((char *)peer->id, name, sizeof peer->id - 1);
    strncpy(peer->name, name, sizeof peer->name - 1);
}

static pea_err lookup_start(const void *config, pea_stage_env *env, void **self)
{
    union {
        const void *in;
        toy_lookup *out;
    } unconst = {.in = config}; /* the test's own, shared with the pipe for as long as the chain lives */
    (void)env;
    lookup *l = calloc(1, sizeof *l);
    if (l == NULL)
        return PEA_E_NOMEM;
    l->config = unconst.out;
    *self = l;
    return PEA_OK;
}

static pea_err prove(const lookup *l, pea_stage_env *env, const char *name)
{
    pea_peer peer;
    if (!l->config->proves)
        return PEA_OK;
    toy_named_peer(&peer, name);
    return pea_stage_judge(env, &peer, PEA_PROVEN);
}

static pea_err lookup_ask(lookup *l, pea_stage_env *env, pea_buf *in, pea_buf *out)
{
    if (!l->said) {
        l->said = true;
        pea_err err = pea_buf_append(out, l->config->name, strlen(l->config->name));
        if (err == PEA_OK)
            err = pea_buf_append(out, "\n", 1);
        if (err != PEA_OK)
            return err;
    }
    if (!l->answered) {
        pea_err err = expect_line(in, "+");
        if (err != PEA_OK)
            return err;
        l->answered = true;
    }
    pea_err err = prove(l, env, "server");
    return err == PEA_OK ? PEA_DONE : err;
}

static pea_err lookup_answer(lookup *l, pea_stage_env *env, pea_buf *in, pea_buf *out)
{
    if (!l->asked) {
        char line[LINE_MAX_BYTES];
        size_t len = strlen(l->config->name);
        memcpy(line, l->config->name, len);
        memcpy(line + len, "\n", 2);
        pea_err err = expect_line(in, line);
        if (err != PEA_OK)
            return err;
        l->asked = true;
        l->config->asked++;
        l->config->open = true;
        l->config->ticket = pea_stage_ticket(env);
        return PEA_WAIT;
    }
    if (!l->answered) {
        pea_err answer = pea_stage_answer(env);
        if (answer != PEA_OK)
            return answer == PEA_WAIT ? PEA_WAIT : pea_stage_fail(env, answer, "the look-up says no");
        l->answered = true;
    }
    pea_err err = prove(l, env, l->config->name);
    if (err != PEA_OK)
        return err;
    err = pea_buf_append(out, "+", 1);
    return err == PEA_OK ? PEA_DONE : err;
}

static pea_err lookup_step(void *self, pea_stage_env *env, pea_buf *in, pea_buf *out)
{
    return pea_stage_side(env) == PEA_INITIATOR ? lookup_ask(self, env, in, out) : lookup_answer(self, env, in, out);
}

const pea_stage_ops toy_lookup_ops = {
    .version = PEA_STAGE_VERSION,
    .name = "toy_lookup",
    .max_in = LINE_MAX_BYTES,
    .start = lookup_start,
    .step = lookup_step,
    .destroy = free,
};
