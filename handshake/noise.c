/* SPDX-License-Identifier: MIT */
/* The Noise stage: frames handshake messages, hands them to the engine of secure/noise, and has the peer judged as soon
 * as it has proven its key. It knows no pattern and does no cryptography. */
#include <stdio.h>

#include "buf_priv.h"
#include "noise_stage_priv.h"
#include "secure_priv.h"
#include "tlv_priv.h"

#define FRAME_BYTES 2u /* u16 length before each message */

typedef struct noise_stage {
    pea_noise *noise;
    const pea__noise_config *config; /* the chain's, which outlives the connection */
    unsigned message;                /* the number of the last one read or written, from 1 */
    pea_sight judged;                /* by what the peer was judged; 0: it was not yet */
    bool native;
    bool owes;                /* a message was read that cost nothing: before more is done, that has to be paid for */
    char doubt[PEA_TEXT_MAX]; /* why the peer's certificate counts for nothing; "": it counts, or there is none */
} noise_stage;

/* ---- Failing ---- */

static pea_err fail(const noise_stage *s, pea_stage_env *env, pea_err err, const char *what)
{
    char text[PEA_TEXT_MAX];
    (void)snprintf(text, sizeof text, "message %u: %s", s->message, what);
    return pea_stage_fail(env, err, text);
}

static pea_err fail_read(const noise_stage *s, pea_stage_env *env, pea_err err)
{
    if (err == PEA_E_CRYPTO)
        return fail(s, env, err,
                    "it does not authenticate: another psk, prologue or protocol, a key that is none, or it was "
                    "changed on its way");
    if (err == PEA_E_PROTO)
        return fail(s, env, err, "it is too short for its keys");
    return fail(s, env, err, pea_err_text(err));
}

static pea_err fail_write(const noise_stage *s, pea_stage_env *env, pea_err err)
{
    if (err == PEA_E_CRYPTO)
        return fail(s, env, err, "it cannot be written: the peer's key is of low order, or none");
    return fail(s, env, err, pea_err_text(err));
}

/* ---- Messages ---- */

/* The first message, which a stranger without the psk could not make. */
static pea_err pass_gate(const noise_stage *s, pea_stage_env *env, pea_span message, pea_span timestamp)
{
    char what[PEA__GATE_TEXT_MAX];
    pea_err err = pea__noise_gate_pass(s->config->gate, message.data, timestamp, pea_stage_wall_ms(env), what);
    return err == PEA_OK ? PEA_OK : fail(s, env, err, what);
}

static pea_err hear_certificate(noise_stage *s, pea_stage_env *env, pea_span certificate)
{
    const char *what = NULL;
    pea_err err = pea__noise_certificate_hear(s->config, env, s->noise, s->message, certificate, s->doubt, &what);
    return err == PEA_OK ? PEA_OK : fail(s, env, err, what != NULL ? what : pea_err_text(err));
}

static pea_err read_payload(noise_stage *s, pea_stage_env *env, pea_span message, pea_span payload)
{
    pea__noise_payload known = {.timestamp = {NULL, 0}};
    const char *what = NULL;
    pea_err err = s->native ? pea__noise_payload_read(payload, &known, &what) : PEA_OK;
    if (err != PEA_OK)
        return fail(s, env, err, what);
    if (s->message == 1 && s->config->gate != NULL)
        err = pass_gate(s, env, message, known.timestamp);
    if (err != PEA_OK || known.certificate.data == NULL)
        return err;
    return hear_certificate(s, env, known.certificate);
}

/* PEA_OK: one message was read | PEA_MORE: it is not whole | < 0 */
static pea_err read_message(noise_stage *s, pea_stage_env *env, pea_buf *in)
{
    if (in->len < FRAME_BYTES)
        return PEA_MORE;
    size_t len = (size_t)pea__get_be(in->data, FRAME_BYTES);
    if (len <= PEA_NOISE_HANDSHAKE_MAX && in->len - FRAME_BYTES < len)
        return PEA_MORE;
    bool cheap = s->config->gate != NULL && !pea__noise_multiplies(s->noise);
    if (!cheap && pea_stage_pay(env) == PEA_WAIT)
        return PEA_WAIT;
    s->message++;
    if (len > PEA_NOISE_HANDSHAKE_MAX)
        return fail(s, env, PEA_E_PROTO, "it claims to be longer than 16,384 bytes");
    pea_buf payload = {0};
    const pea_span message = {in->data + FRAME_BYTES, len};
    pea_err err = pea_noise_read(s->noise, message, &payload);
    if (err != PEA_OK)
        err = fail_read(s, env, err);
    else
        err = read_payload(s, env, message, (pea_span){payload.data, payload.len});
    s->owes = cheap;
    pea_buf_free(&payload);
    if (err == PEA_OK)
        pea_buf_consume(in, FRAME_BYTES + len);
    return err;
}

/* What we say beside keys in the message that is written now. PEA_OK | PEA_E_NOMEM */
static pea_err write_payload(const noise_stage *s, pea_stage_env *env, pea_buf *payload)
{
    if (s->message == 1 && s->config->gate != NULL) {
        pea_err err = pea__noise_gate_say(s->config->gate, pea_stage_wall_ms(env), payload);
        if (err != PEA_OK)
            return err;
    }
    return pea__noise_certificate_say(s->config, pea_stage_side(env), s->message, payload);
}

static pea_err write_message(noise_stage *s, pea_stage_env *env, pea_buf *out)
{
    pea_buf message = {0}, payload = {0};
    s->message++;
    pea_err err = s->native ? write_payload(s, env, &payload) : PEA_OK;
    if (err == PEA_OK)
        err = pea_noise_write(s->noise, (pea_span){payload.data, payload.len}, &message);
    pea_buf_free(&payload);
    const uint8_t frame[FRAME_BYTES] = {(uint8_t)(message.len >> 8), (uint8_t)message.len};
    if (err == PEA_OK)
        err = pea_buf_append(out, frame, sizeof frame);
    if (err == PEA_OK)
        err = pea_buf_append(out, message.data, message.len);
    pea_buf_free(&message);
    return err == PEA_OK ? PEA_OK : fail_write(s, env, err);
}

/* ---- The peer ---- */

/* Asks about the peer as soon as its key is known, and again once it is proven. An initiator gets here before it
 * reveals its own.
 * PEA_OK: go on | PEA_WAIT | PEA_E_REFUSED: nothing more may be said | < 0 */
static pea_err judge(noise_stage *s, pea_stage_env *env)
{
    pea_peer peer = {.kind = PEA_PEER_NOISE};
    if (s->message == 0 && pea_noise_turn(s->noise) == PEA_MORE)
        return PEA_OK; /* it is known who should come, and nobody has spoken yet */
    if (pea_noise_remote_static(s->noise, peer.id) != PEA_OK)
        return PEA_OK;
    bool proven = pea_noise_proof_of(s->noise, pea__other_side(pea_stage_side(env))) == PEA_NOISE_PROVEN;
    pea_sight sight = proven ? PEA_PROVEN : PEA_SEEN;
    if (s->judged >= sight)
        return PEA_OK;
    pea_err err = pea_stage_judge(env, &peer, sight);
    if (err == PEA_WAIT)
        return err; /* asked again when this stage runs again; the message was read already */
    s->judged = sight;
    if (err == PEA_E_REFUSED && s->doubt[0] != '\0') /* says more than that no rule names this key */
        (void)pea_stage_fail(env, err, s->doubt);
    /* With the last message read, the refused peer can be told so, encrypted: the pipe knows the verdict. */
    if (err == PEA_E_REFUSED && pea_noise_turn(s->noise) == PEA_DONE)
        return PEA_OK;
    return err;
}

/* What no message has proven by the end is left to the first record. PEA_DONE | < 0 */
static pea_err pledge(const noise_stage *s, pea_stage_env *env)
{
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
        pea_err err = PEA_OK;
        if (pea_noise_proof_of(s->noise, side) == PEA_NOISE_UNPROVEN)
            err = pea_stage_pledge(env, side);
        if (err != PEA_OK)
            return err;
    }
    return PEA_DONE;
}

static pea_err noise_step(void *self, pea_stage_env *env, pea_buf *in, pea_buf *out)
{
    noise_stage *s = self;
    for (;;) {
        if (s->owes && pea_stage_pay(env) == PEA_WAIT)
            return PEA_WAIT;
        s->owes = false;
        pea_err err = judge(s, env);
        if (err != PEA_OK)
            return err;
        err = pea_noise_turn(s->noise);
        if (err == PEA_DONE)
            return pledge(s, env);
        if (err == PEA_MORE)
            err = read_message(s, env, in);
        else if (err == PEA_AGAIN && (err = write_message(s, env, out)) == PEA_OK && in->len > 0 &&
                 pea_noise_turn(s->noise) == PEA_MORE)
            return PEA_AGAIN; /* what is read next may fail: in silence, and not as the author of this message */
        if (err != PEA_OK)    /* PEA_MORE, or an error */
            return err;
    }
}

/* The engine of this connection. */
static pea_err start_engine(noise_stage *s, pea_stage_env *env, pea_error *why)
{
    pea_noise_opts opts = s->config->opts;
    pea_noise_psks psks = {.n = 0};
    pea_buf prologue = {0};
    pea_err err = PEA_OK;
    if (s->native) {
        err = pea_stage_prologue(env, &prologue);
        opts.prologue = (pea_span){prologue.data, prologue.len};
    }
    const pea_peer *expect = pea_stage_expect(env);
    if (opts.remote_static == NULL && expect != NULL && expect->kind == PEA_PEER_NOISE)
        opts.remote_static = expect->id;
    if (err == PEA_OK && s->config->psk_fn != NULL)
        err = pea__noise_ask_psks(s->config, env, &psks, &opts, why);
    if (err == PEA_OK)
        err = pea_noise_new(&s->noise, pea_stage_side(env), &opts, why);
    pea__wipe(&psks, sizeof psks);
    pea_buf_free(&prologue);
    return err;
}

static pea_err noise_start(const void *config, pea_stage_env *env, void **self)
{
    pea_error why = {.text = ""};
    noise_stage *s = pea__alloc(sizeof *s);
    if (s == NULL)
        return PEA_E_NOMEM;
    s->config = config;
    s->native = pea_stage_native(env);
    pea_err err = start_engine(s, env, &why);
    if (err != PEA_OK) {
        pea__free(s);
        return pea_stage_fail(env, err, why.text);
    }
    *self = s;
    return PEA_OK;
}

static void noise_destroy(void *self)
{
    noise_stage *s = self;
    pea_noise_free(s->noise);
    pea__free(s);
}

static pea_err noise_yield(void *self, pea_transform *out)
{
    noise_stage *s = self;
    return pea_noise_split(s->noise, s->native, out);
}

const pea_stage_ops pea__noise_ops = {
    .version = PEA_STAGE_VERSION,
    .name = "noise",
    .max_in = FRAME_BYTES + PEA_NOISE_HANDSHAKE_MAX,
    .start = noise_start,
    .step = noise_step,
    .yield = noise_yield,
    .destroy = noise_destroy,
};
