/* SPDX-License-Identifier: MIT */
/* Replays tests/vectors/native.json (README.md beside it) against the library: either side of every conversation must
 * write exactly these bytes and take the other's however they are cut. Ephemeral keys are fixed by replacing
 * libsodium's randomness, so that the stage is the real one. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include <cjson/cJSON.h>

#include "noise/noise_priv.h"
#include "peapod/chain.h"
#include "peapod/trust.h"
#include "pipe_state_priv.h"
#include "secure_priv.h"
#include "support/check.h"
#include "support/faults.h"

enum { CHUNK_PING = 7 };

static cJSON *root;
static uint8_t ephemeral[PEA_KEY_BYTES]; /* what the next 32 random bytes are */

/* ---- Randomness ---- */

static const char *random_name(void)
{
    return "fixed ephemerals";
}

static uint32_t random_number(void)
{
    return 4;
}

static void random_buf(void *const buf, const size_t size)
{
    memset(buf, 0x5A, size);
    if (size == sizeof ephemeral)
        memcpy(buf, ephemeral, size);
}

static struct randombytes_implementation fixed_random = {
    .implementation_name = random_name, .random = random_number, .buf = random_buf};

/* ---- JSON ---- */

static const cJSON *get(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    if (item == NULL)
        print_error("no key %s\n", key);
    assert_non_null(item);
    return item;
}

static const char *get_text(const cJSON *object, const char *key)
{
    return cJSON_GetStringValue(get(object, key));
}

static uint32_t get_number(const cJSON *object, const char *key)
{
    const cJSON *item = get(object, key);
    assert_true(cJSON_IsNumber(item));
    return (uint32_t)item->valuedouble;
}

static int64_t get_time(const cJSON *object, const char *key)
{
    const cJSON *item = get(object, key);
    assert_true(cJSON_IsNumber(item));
    return (int64_t)item->valuedouble;
}

/* The bytes of a hexadecimal string; the caller frees them. */
static uint8_t *unhex(const char *text, size_t *len)
{
    size_t n = strlen(text) / 2;
    uint8_t *bytes = malloc(n + 1);
    const char *end;
    assert_non_null(bytes);
    assert_int_equal(sodium_hex2bin(bytes, n + 1, text, 2 * n, NULL, len, &end), 0);
    assert_int_equal(*len, n);
    return bytes;
}

static void unhex_to(uint8_t *dst, size_t want, const char *text)
{
    size_t len;
    uint8_t *bytes = unhex(text, &len);
    assert_int_equal(len, want);
    memcpy(dst, bytes, len);
    free(bytes);
}

/* ---- A stage that says what the scenario wants ---- */

typedef struct dialogue {
    uint8_t *says[2];
    size_t len[2];
} dialogue;

typedef struct speaker {
    const dialogue *d;
    bool said;
    size_t heard;
} speaker;

static pea_err dialogue_start(const void *config, pea_stage_env *env, void **self)
{
    (void)env;
    speaker *s = calloc(1, sizeof *s);
    if (s == NULL)
        return PEA_E_NOMEM;
    s->d = config;
    *self = s;
    return PEA_OK;
}

/* The initiator says all of its bytes, then the responder all of its own. */
static pea_err dialogue_step(void *self, pea_stage_env *env, pea_buf *in, pea_buf *out)
{
    speaker *s = self;
    pea_side side = pea_stage_side(env), other = side == PEA_INITIATOR ? PEA_RESPONDER : PEA_INITIATOR;
    bool first = side == PEA_INITIATOR;
    if (first && !s->said && pea_buf_append(out, s->d->says[side], s->d->len[side]) != PEA_OK)
        return PEA_E_NOMEM;
    s->said |= first;
    size_t rest = s->d->len[other] - s->heard, n = in->len < rest ? in->len : rest;
    if (n > 0 && memcmp(in->data, s->d->says[other] + s->heard, n) != 0)
        return PEA_E_PROTO;
    pea_buf_consume(in, n);
    s->heard += n;
    if (s->heard < s->d->len[other])
        return PEA_MORE;
    if (!s->said && pea_buf_append(out, s->d->says[side], s->d->len[side]) != PEA_OK)
        return PEA_E_NOMEM;
    return PEA_DONE;
}

static void dialogue_release(void *config)
{
    dialogue *d = config;
    free(d->says[0]);
    free(d->says[1]);
    free(d);
}

static const pea_stage_ops dialogue_ops = {
    .version = PEA_STAGE_VERSION,
    .name = "dialogue",
    .max_in = PEA_STAGE_IN_MAX,
    .start = dialogue_start,
    .step = dialogue_step,
    .destroy = free,
};

/* ---- One side of a conversation ---- */

enum { WHOLE, BYTES, JOINED, AT };

typedef struct replay {
    const cJSON *scenario;
    pea_side side; /* ours */
    int how;
    size_t at;
    pea_pipe *pipe;
    size_t heard;          /* bytes fed */
    const cJSON *expected; /* the next message that must come out, within a `do` of the other side */
    unsigned messages, ready, closed;
    pea_reason reason;
    uint8_t *out;
    size_t out_len;
} replay;

static const char *side_name(pea_side side)
{
    return side == PEA_INITIATOR ? "initiator" : "responder";
}

static bool is_ours(const replay *r, const cJSON *flight)
{
    return strcmp(get_text(flight, "from"), side_name(r->side)) == 0;
}

/* The bytes of a message that a `do` names: given, or counted up modulo 251. */
static uint8_t *message_of(const cJSON *act, size_t *len)
{
    if (!cJSON_HasObjectItem(act, "send_pattern"))
        return unhex(get_text(act, "send"), len);
    *len = get_number(act, "send_pattern");
    uint8_t *bytes = malloc(*len);
    assert_non_null(bytes);
    for (size_t i = 0; i < *len; i++)
        bytes[i] = (uint8_t)(i % 251);
    return bytes;
}

static void hear(replay *r, const pea_event *event)
{
    if (event->type == PEA_EVENT_READY)
        r->ready++;
    if (event->type == PEA_EVENT_CLOSED) {
        r->closed++;
        r->reason = *event->reason;
    }
    if (event->type != PEA_EVENT_MESSAGE)
        return;
    size_t len;
    assert_non_null(r->expected);
    uint8_t *want = message_of(r->expected, &len);
    check_bytes(event->data, event->len, want, len);
    free(want);
    r->expected = r->expected->next;
    r->messages++;
}

static void drive(replay *r)
{
    pea_event event;
    pea_span span;
    for (bool moved = true; moved;) {
        moved = false;
        while (pea_pipe_next(r->pipe, &event) == PEA_OK) {
            hear(r, &event);
            moved = true;
        }
        while (pea_pipe_output(r->pipe, &span) == PEA_OK) {
            r->out = realloc(r->out, r->out_len + span.len);
            assert_non_null(r->out);
            memcpy(r->out + r->out_len, span.data, span.len);
            r->out_len += span.len;
            pea_pipe_sent(r->pipe, span.len);
            moved = true;
        }
    }
}

static void feed(replay *r, const uint8_t *data, size_t len)
{
    while (len > 0) {
        size_t n = r->how == BYTES ? 1 : len, taken = 0;
        if (r->how == AT && r->heard < r->at && r->at - r->heard < n)
            n = r->at - r->heard;
        uint8_t *lent = malloc(n);
        assert_non_null(lent);
        memcpy(lent, data, n);
        check_ok(pea_pipe_feed(r->pipe, lent, n, &taken));
        pea_event event;
        while (pea_pipe_next(r->pipe, &event) == PEA_OK)
            hear(r, &event);
        free(lent);
        if (taken == 0 && r->closed > 0)
            return; /* nobody reads what follows a farewell */
        assert_int_equal(taken, n);
        r->heard += n;
        data += n;
        len -= n;
        if (r->how != JOINED)
            drive(r);
    }
}

/* What our application does to cause the flight. */
static void act(replay *r, const cJSON *flight)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, get(flight, "do"))
    {
        size_t len;
        uint8_t *bytes = NULL;
        if (cJSON_HasObjectItem(item, "send") || cJSON_HasObjectItem(item, "send_pattern")) {
            bytes = message_of(item, &len);
            check_ok(pea_pipe_send(r->pipe, bytes, len));
        } else if (cJSON_HasObjectItem(item, "ping")) {
            bytes = unhex(get_text(item, "ping"), &len);
            check_ok(pea__chunk_say(r->pipe, CHUNK_PING, bytes, len));
        } else if (cJSON_HasObjectItem(item, "end")) {
            check_ok(pea_pipe_end(r->pipe));
        } else {
            const cJSON *close = get(item, "close");
            check_ok(pea_pipe_close(r->pipe, (uint16_t)get_number(close, "code"), get_text(close, "text")));
        }
        free(bytes);
    }
}

static void say_flight(replay *r, const cJSON *flight)
{
    size_t len;
    uint8_t *wire = unhex(get_text(flight, "wire"), &len);
    act(r, flight);
    drive(r);
    if (r->out_len < len || memcmp(r->out, wire, len) != 0)
        print_error("%s, %s: flight \"%s\"\n", get_text(r->scenario, "name"), side_name(r->side),
                    get_text(flight, "what"));
    assert_true(r->out_len >= len);
    check_bytes(r->out, len, wire, len);
    r->out_len -= len;
    memmove(r->out, r->out + len, r->out_len);
    free(wire);
}

/* Messages that the flight brings. */
static void expect_messages(replay *r, const cJSON *flight)
{
    const cJSON *first = get(flight, "do")->child;
    if (first != NULL && (cJSON_HasObjectItem(first, "send") || cJSON_HasObjectItem(first, "send_pattern"))) {
        assert_null(r->expected); /* all of the flights before came out */
        r->expected = first;
    }
}

static void hear_flight(replay *r, const cJSON *flight)
{
    size_t len, at = 0;
    uint8_t *wire = unhex(get_text(flight, "wire"), &len);
    const cJSON *part, *refuse = get(get(r->scenario, side_name(r->side)), "refuse");
    expect_messages(r, flight);
    /* Whoever refuses does so as soon as it may: a responder before it has heard the initiator's HELLO. */
    cJSON_ArrayForEach(part, get(flight, "parts"))
    {
        size_t size = get_number(part, "size");
        feed(r, wire + at, size);
        at += size;
        if (cJSON_IsObject(refuse) && pea_pipe_state(r->pipe) == PEA_OPENING)
            check_ok(pea_pipe_close(r->pipe, (uint16_t)get_number(refuse, "code"), get_text(refuse, "text")));
    }
    assert_int_equal(at, len);
    free(wire);
}

/* ---- What it is made of ---- */

static void add_stages(pea_chain *chain, const cJSON *scenario)
{
    const cJSON *stage;
    cJSON_ArrayForEach(stage, get(scenario, "stages"))
    {
        dialogue *d = malloc(sizeof *d);
        assert_non_null(d);
        for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++)
            d->says[side] = unhex(get_text(stage, side_name(side)), &d->len[side]);
        check_ok(pea_chain_add(chain, &dialogue_ops, d, dialogue_release));
    }
}

/* PEA_OK | PEA_E_UNSUPPORTED: this build or CPU has no such cipher or hash */
static pea_err add_noise(pea_chain *chain, const cJSON *scenario, const cJSON *own)
{
    uint8_t secret[PEA_KEY_BYTES], psk[PEA_KEY_BYTES];
    pea_identity *identity;
    if (cJSON_IsNull(get(scenario, "protocol"))) {
        check_ok(pea_chain_plain(chain));
        return PEA_OK;
    }
    unhex_to(secret, sizeof secret, get_text(own, "static"));
    unhex_to(ephemeral, sizeof ephemeral, get_text(own, "ephemeral"));
    bool with_psk = !cJSON_IsNull(get(scenario, "psk"));
    if (with_psk)
        unhex_to(psk, sizeof psk, get_text(scenario, "psk"));
    check_ok(pea_identity_from_secret(&identity, secret, NULL));
    pea_err err = pea_chain_noise(chain,
                                  PEA_NOISE(.protocol = get_text(scenario, "protocol"), .identity = identity,
                                            .psk = with_psk ? psk : NULL,
                                            .gate_window_ms = get_number(scenario, "gate_window_ms")),
                                  NULL);
    pea_identity_unref(identity);
    return err;
}

static pea_err replay_open(replay *r)
{
    const cJSON *own = get(r->scenario, side_name(r->side));
    uint8_t network[PEA_NETWORK_BYTES];
    pea_chain *chain;
    pea_trust *trust;
    unhex_to(network, sizeof network, get_text(r->scenario, "network"));
    check_ok(pea_chain_new(&chain,
                           PEA_CHAIN(.network = network, .application = get_text(own, "application"),
                                     .application_lowest = get_number(own, "application_lowest"),
                                     .application_highest = get_number(own, "application_highest"),
                                     .capabilities = strtoull(get_text(own, "capabilities"), NULL, 16)),
                           NULL));
    add_stages(chain, r->scenario);
    pea_err err = add_noise(chain, r->scenario, own);
    check_ok(pea_trust_new(&trust));
    pea_trust_any(trust);
    if (err == PEA_OK)
        check_ok(pea_pipe_new(&r->pipe, chain,
                              PEA_PIPE(.side = r->side, .policy = pea_trust_policy(trust),
                                       .half_close = cJSON_IsTrue(get(own, "half_close"))),
                              NULL));
    if (err == PEA_OK)
        pea_pipe_tick(r->pipe, 0, get_time(own, "clock_ms"));
    pea_trust_unref(trust);
    pea_chain_unref(chain);
    return err;
}

static void check_secrets(const replay *r)
{
    uint8_t bytes[256], want[256];
    const cJSON *exported;
    size_t len = sizeof bytes;
    if (cJSON_IsNull(get(r->scenario, "binding")))
        return;
    check_ok(pea_pipe_query(r->pipe, PEA_QUERY_BINDING, (pea_span){NULL, 0}, bytes, &len));
    unhex_to(want, len, get_text(r->scenario, "binding"));
    check_bytes(bytes, len, want, len);
    cJSON_ArrayForEach(exported, get(r->scenario, "exported"))
    {
        size_t label_len, context_len;
        uint8_t *label = unhex(get_text(exported, "label"), &label_len);
        uint8_t *context = unhex(get_text(exported, "context"), &context_len);
        pea_buf in = {0};
        char text[64] = {0};
        len = get_number(exported, "length");
        assert_true(label_len < sizeof text);
        memcpy(text, label, label_len);
        check_ok(pea_buf_append(&in, label, label_len));
        if (context_len > 0) {
            check_ok(pea_buf_append(&in, "", 1));
            check_ok(pea_buf_append(&in, context, context_len));
        }
        check_ok(pea_pipe_query(r->pipe, PEA_QUERY_EXPORT, (pea_span){in.data, in.len}, bytes, &len));
        if (label_len > 0 && r->ready == 1) { /* else only the transform itself may be asked */
            memset(bytes, 0, sizeof bytes);
            check_ok(pea_pipe_export(r->pipe, text, context, context_len, bytes, len));
        }
        pea_buf_free(&in);
        unhex_to(want, len, get_text(exported, "secret"));
        check_bytes(bytes, len, want, len);
        free(label);
        free(context);
    }
}

/* The last flight is a farewell, whose code and text the reason has, or it led to READY. */
static void check_end(replay *r, const cJSON *last)
{
    const cJSON *refuse = get(get(r->scenario, get_text(last, "from")), "refuse"), *close = NULL;
    if (get(last, "do")->child != NULL)
        close = cJSON_GetObjectItemCaseSensitive(get(last, "do")->child, "close");
    const cJSON *farewell = cJSON_IsObject(refuse) ? refuse : close;
    assert_null(r->expected);
    if (is_ours(r, last) && pea_pipe_state(r->pipe) == PEA_CLOSING) {
        pea_pipe_feed_end(r->pipe);
        drive(r);
    }
    if (strstr(get_text(last, "what"), "ACCEPT") != NULL) {
        assert_int_equal(r->ready, 1);
        assert_int_equal(r->closed, 0);
        return;
    }
    assert_int_equal(r->closed, 1);
    assert_int_equal(r->ready, cJSON_IsObject(refuse) ? 0 : 1);
    if (farewell == NULL || is_ours(r, last))
        return;
    assert_int_equal(r->reason.origin, PEA_BY_PEER);
    assert_int_equal(r->reason.code, get_number(farewell, "code"));
    assert_string_equal(r->reason.text, get_text(farewell, "text"));
}

/* PEA_OK | PEA_E_UNSUPPORTED */
static pea_err replay_once(const cJSON *scenario, pea_side side, int how, size_t at, size_t *heard)
{
    replay r = {.scenario = scenario, .side = side, .how = how, .at = at};
    size_t blocks = faults_blocks();
    if (replay_open(&r) != PEA_OK)
        return PEA_E_UNSUPPORTED;
    const cJSON *flight, *last = NULL;
    cJSON_ArrayForEach(flight, get(scenario, "flights"))
    {
        if (is_ours(&r, flight))
            say_flight(&r, flight);
        else
            hear_flight(&r, flight);
        last = flight;
    }
    drive(&r);
    assert_int_equal(r.out_len, 0);
    assert_non_null(last);
    check_secrets(&r);
    check_end(&r, last);
    *heard = r.heard;
    pea_pipe_free(r.pipe);
    free(r.out);
    assert_int_equal(faults_blocks(), blocks);
    return PEA_OK;
}

/* ---- Tests ---- */

#define SPLITS_MAX 1200u /* a long flight is split at its beginning, and at every so many bytes of the rest */

static void conversation(void **state)
{
    const cJSON *scenario = *state;
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
        size_t heard = 0, again;
        /* An initiator of ours refuses in Noise, in silence, or by CLOSE: it has said ACCEPT by the time that its
         * application could want REJECT. */
        if (side == PEA_INITIATOR && cJSON_IsObject(get(get(scenario, "initiator"), "refuse")))
            continue;
        if (replay_once(scenario, side, WHOLE, 0, &heard) != PEA_OK) {
            print_message("%s: not in this build, or not on this CPU\n", get_text(scenario, "name"));
            skip();
        }
        check_ok(replay_once(scenario, side, BYTES, 0, &again));
        check_ok(replay_once(scenario, side, JOINED, 0, &again));
        for (size_t at = 1; at < heard; at += at < SPLITS_MAX ? 1 : 997)
            check_ok(replay_once(scenario, side, AT, at, &again));
    }
}

static pea_pipe *plain_pipe(const cJSON *from, pea_side side)
{
    uint8_t network[PEA_NETWORK_BYTES];
    pea_chain *chain;
    pea_pipe *pipe;
    bool named = cJSON_HasObjectItem(from, "application");
    unhex_to(network, sizeof network, get_text(from, "network"));
    check_ok(pea_chain_new(&chain,
                           PEA_CHAIN(.network = network, .application = named ? get_text(from, "application") : NULL,
                                     .application_lowest = named ? get_number(from, "application_lowest") : 0,
                                     .application_highest = named ? get_number(from, "application_highest") : 0),
                           NULL));
    check_ok(pea_chain_plain(chain));
    check_ok(pea_pipe_new(&pipe, chain, PEA_PIPE(.side = side, .half_close = true), NULL));
    pea_chain_unref(chain);
    return pipe;
}

/* Strangers hear nothing, and are left at the first wrong byte. */
static void bad_greetings(void **state)
{
    const cJSON *item, *all = get(root, "bad_greetings");
    (void)state;
    cJSON_ArrayForEach(item, get(all, "cases"))
    {
        size_t len, wrong = get_number(item, "wrong");
        uint8_t *greeting = unhex(get_text(item, "greeting"), &len);
        for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
            replay r = {.side = side, .how = BYTES, .pipe = plain_pipe(all, side)};
            drive(&r);
            size_t said = r.out_len;
            assert_int_equal(said, side == PEA_INITIATOR ? 41 : 0);
            feed(&r, greeting, wrong);
            assert_int_equal(r.closed, 0);
            feed(&r, greeting + wrong, 1);
            assert_int_equal(r.closed, 1);
            check_err(r.reason.err, PEA_E_NETWORK);
            assert_int_equal(r.out_len, said);
            pea_pipe_free(r.pipe);
            free(r.out);
        }
        free(greeting);
    }
}

/* The type of the last chunk that we said, and its code if it has one. */
static uint8_t last_chunk(const replay *r, bool *accepted, uint16_t *code)
{
    uint8_t type = 0;
    *accepted = false;
    assert_true(r->out_len >= 41);
    for (size_t at = 41; at < r->out_len;) {
        size_t len = (size_t)r->out[at + 1] << 16 | (size_t)r->out[at + 2] << 8 | r->out[at + 3];
        type = r->out[at];
        assert_true(at > 41 || type == 1); /* HELLO comes first */
        *accepted |= type == 2;
        if (type == 3 || type == 6)
            *code = (uint16_t)(r->out[at + 4] << 8 | r->out[at + 5]);
        at += 4 + len;
        assert_true(at <= r->out_len);
    }
    return type;
}

static void bad_peer(const cJSON *all, const cJSON *item, int how)
{
    replay r = {.side = PEA_RESPONDER, .how = how, .pipe = plain_pipe(all, PEA_RESPONDER)};
    size_t len, zeros = get_number(item, "zeros");
    const char *texts[] = {get_text(all, "greeting"), get_text(item, "initiator")};
    for (size_t i = 0; i < 2; i++) {
        uint8_t *bytes = unhex(texts[i], &len);
        if (r.closed == 0 && pea_pipe_state(r.pipe) < PEA_CLOSING)
            feed(&r, bytes, len);
        free(bytes);
    }
    uint8_t *nothing = calloc(zeros + 1, 1);
    assert_non_null(nothing);
    feed(&r, nothing, zeros);
    free(nothing);
    drive(&r);
    bool accepted;
    uint16_t code = 0;
    uint8_t type = last_chunk(&r, &accepted, &code);
    const cJSON *want = get(item, "code");
    /* a farewell came with the opening: what was queued for it is dropped */
    bool dropped = r.closed > 0 && r.reason.origin == PEA_BY_PEER;
    bool right =
        (dropped || accepted == cJSON_IsTrue(get(item, "accepted"))) && r.messages == 0 &&
        (cJSON_IsNull(want) ? type != 3 && type != 6 : code == get_number(item, "code") && type == (accepted ? 6 : 3));
    if (!right)
        print_error("%s: type %d, code %04x, %saccepted\n", get_text(item, "name"), type, code, accepted ? "" : "not ");
    assert_true(right);
    pea_pipe_free(r.pipe);
    free(r.out);
}

static void bad_peers(void **state)
{
    const cJSON *item, *all = get(root, "bad_peers");
    (void)state;
    cJSON_ArrayForEach(item, get(all, "cases"))
    {
        bad_peer(all, item, WHOLE);
        bad_peer(all, item, BYTES);
    }
}

/* ---- First messages at a gate ---- */

static void gate_case(pea_chain *chain, pea_policy *policy, const cJSON *gate, const cJSON *item, int how)
{
    replay r = {.side = PEA_RESPONDER, .how = how};
    size_t len, want_len;
    uint8_t *flight = unhex(get_text(item, "initiator"), &len);
    check_ok(pea_pipe_new(&r.pipe, chain, PEA_PIPE(.side = PEA_RESPONDER, .policy = policy), NULL));
    pea_pipe_tick(r.pipe, 0, get_time(gate, "clock_ms"));
    uint64_t before = atomic_load(&pea__x25519_count);
    feed(&r, flight, len);
    drive(&r);
    if (cJSON_IsNull(get(item, "answer"))) {
        assert_int_equal(r.closed, 1);
        assert_true(r.out_len == 0 || r.out_len == 41);
        assert_int_equal(atomic_load(&pea__x25519_count), before);
    } else {
        uint8_t *want = unhex(get_text(item, "answer"), &want_len);
        assert_int_equal(r.closed, 0);
        check_bytes(r.out, r.out_len, want, want_len);
        free(want);
    }
    pea_pipe_free(r.pipe);
    free(r.out);
    free(flight);
}

static void gate_keeping(void **state)
{
    const cJSON *item, *gate = get(root, "gate");
    uint8_t network[PEA_NETWORK_BYTES];
    (void)state;
    unhex_to(network, sizeof network, get_text(gate, "network"));
    for (int how = WHOLE; how <= BYTES; how += BYTES - WHOLE) {
        pea_chain *chain; /* which remembers */
        pea_trust *trust;
        check_ok(pea_chain_new(&chain, PEA_CHAIN(.network = network), NULL));
        check_ok(add_noise(chain, gate, gate));
        check_ok(pea_trust_new(&trust));
        pea_trust_any(trust);
        cJSON_ArrayForEach(item, get(gate, "cases")) gate_case(chain, pea_trust_policy(trust), gate, item, how);
        pea_trust_unref(trust);
        pea_chain_unref(chain);
    }
}

/* Section 11.3 of Noise: keys follow from each other, the number goes on. */
static void rekeying(void **state)
{
    const cJSON *cipher;
    (void)state;
    cJSON_ArrayForEach(cipher, get(root, "rekey"))
    {
        pea__aead_id aead = strcmp(get_text(cipher, "cipher"), "AESGCM") == 0 ? PEA__AESGCM : PEA__CHACHAPOLY;
        const cJSON *key = get(cipher, "keys")->child, *record;
        assert_int_equal(get_number(cipher, "every"), PEA__REKEY_EVERY);
        if (!pea__aead_available(aead))
            continue;
        for (uint32_t rekeys = 0; key != NULL; key = key->next, rekeys++) {
            pea__cipher_state cs = {0};
            uint8_t k[PEA__AEAD_KEY_BYTES], plain[64], out[64];
            unhex_to(k, sizeof k, cJSON_GetStringValue(key));
            pea__cipher_initialize_key(&cs, aead, k);
            cJSON_ArrayForEach(record, get(cipher, "records"))
            {
                if (get_number(record, "rekeys") != rekeys)
                    continue;
                size_t len = strlen(get_text(record, "plain")) / 2;
                unhex_to(plain, len, get_text(record, "plain"));
                cs.n = get_number(record, "number");
                check_ok(pea__encrypt_with_ad(&cs, (pea_span){NULL, 0}, plain, len, out));
                uint8_t want[64];
                unhex_to(want, len + 16, get_text(record, "ciphertext"));
                check_bytes(out, len + 16, want, len + 16);
            }
            if (key->next != NULL) {
                check_ok(pea__rekey(&cs));
                unhex_to(k, sizeof k, cJSON_GetStringValue(key->next));
                check_bytes(cs.k, sizeof cs.k, k, sizeof k);
            }
            pea__cipher_wipe(&cs);
        }
    }
}

static cJSON *load(const char *path)
{
    FILE *file = fopen(path, "rb");
    static char text[1u << 20];
    size_t len = file != NULL ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file != NULL)
        (void)fclose(file);
    cJSON *json = cJSON_ParseWithLength(text, len);
    if (json == NULL)
        fprintf(stderr, "%s: not there, or not JSON\n", path);
    return json;
}

#define SCENARIOS_MAX 64

int main(int argc, char **argv)
{
    static struct CMUnitTest tests[SCENARIOS_MAX + 4];
    size_t n = 0;
    randombytes_set_implementation(&fixed_random);
    faults_install();
    root = load(argc > 1 ? argv[1] : PEA_TEST_DIR "/vectors/native.json");
    if (root == NULL)
        return 1;
    cJSON *scenario = cJSON_GetObjectItemCaseSensitive(root, "scenarios");
    for (scenario = scenario != NULL ? scenario->child : NULL; scenario != NULL && n < SCENARIOS_MAX;
         scenario = scenario->next)
        tests[n++] = (struct CMUnitTest){.name = cJSON_GetStringValue(cJSON_GetObjectItem(scenario, "name")),
                                         .test_func = conversation,
                                         .initial_state = scenario};
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(bad_greetings);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(bad_peers);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(gate_keeping);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(rekeying);
    int failed = _cmocka_run_group_tests("native vectors", tests, n, NULL, NULL);
    cJSON_Delete(root);
    return failed;
}
