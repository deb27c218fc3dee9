/* SPDX-License-Identifier: MIT */
/* What a pipe does with stages, transforms and codecs that fail, misbehave, or ask: errors are sticky, what was made is
 * destroyed once, a broken word ends the connection, and one flush is one seal. */
#include <stdlib.h>

#include "support/check.h"
#include "support/faults.h"
#include "support/link.h"
#include "support/toys.h"

/* ---- A transform that passes bytes through, counts, and breaks when told ---- */

typedef struct spy {
    unsigned seals, unseals, controls, destroys;
    unsigned failed_seals, failed_unseals;
    unsigned seal_fails_at; /* call, from 1; 0: never */
    bool unseal_fails;      /* the next one that has something to unseal, behind it */
    pea_err error;
    const char *reply;                  /* said by the first unseal() */
    bool again_for_nothing, again_then; /* then: whatever it did, there may be more */
    bool one_message;
} spy;

static pea_err spy_seal(void *self, const pea_span *spans, size_t n, pea_buf *wire)
{
    spy *s = self;
    assert_int_equal(s->failed_seals, 0); /* errors are sticky */
    if (++s->seals == s->seal_fails_at) {
        s->failed_seals++;
        return s->error;
    }
    for (size_t i = 0; i < n; i++)
        check_ok(pea_buf_append(wire, spans[i].data, spans[i].len));
    return PEA_OK;
}

static pea_err spy_unseal(void *self, pea_buf *wire, pea_buf *plain, size_t max, pea_buf *reply)
{
    spy *s = self;
    (void)max;
    size_t had = wire->len;
    assert_int_equal(s->failed_unseals, 0);
    s->unseals++;
    if (s->reply != NULL && wire->len > 0) {
        check_ok(pea_buf_append(reply, s->reply, strlen(s->reply)));
        s->reply = NULL;
    }
    if (s->again_for_nothing)
        return PEA_AGAIN;
    bool fails = s->unseal_fails && wire->len > 0;
    check_ok(pea_buf_append(plain, wire->data, wire->len));
    pea_buf_consume(wire, wire->len);
    s->failed_unseals += fails;
    return fails ? s->error : s->again_then && had > 0 ? PEA_AGAIN : PEA_OK;
}

static void spy_destroy(void *self)
{
    ((spy *)self)->destroys++;
}

static const pea_transform_ops spy_ops = {
    .version = PEA_TRANSFORM_VERSION,
    .name = "spy",
    .unseal = spy_unseal,
    .seal = spy_seal,
    .destroy = spy_destroy,
};

/* ---- A stage that does what the test says ---- */

typedef struct puppet {
    pea_err (*step)(struct puppet *p, pea_stage_env *env, pea_buf *in, pea_buf *out);
    pea_err start_result, yield_result;
    bool no_transform; /* yields one without functions */
    spy spy;
    unsigned starts, steps, destroys;
} puppet;

static puppet puppets[4]; /* by side; the upper ones last */
static unsigned floors;

static pea_err puppet_start(const void *config, pea_stage_env *env, void **self)
{
    puppet *p = &puppets[pea_stage_side(env)];
    (void)config;
    if (p->starts > 0 && floors == 2)
        p += 2;
    p->starts++;
    *self = p;
    return p->start_result;
}

static pea_err puppet_step(void *self, pea_stage_env *env, pea_buf *in, pea_buf *out)
{
    puppet *p = self;
    p->steps++;
    return p->step != NULL ? p->step(p, env, in, out) : PEA_DONE;
}

static pea_err puppet_yield(void *self, pea_transform *out)
{
    puppet *p = self;
    if (p->yield_result == PEA_OK && !p->no_transform)
        *out = (pea_transform){.ops = &spy_ops, .self = &p->spy, .one_message_per_record = p->spy.one_message};
    return p->yield_result;
}

static void puppet_destroy(void *self)
{
    ((puppet *)self)->destroys++;
}

static const pea_stage_ops puppet_ops = {
    .version = PEA_STAGE_VERSION,
    .name = "puppet",
    .max_in = 100,
    .start = puppet_start,
    .step = puppet_step,
    .yield = puppet_yield,
    .destroy = puppet_destroy,
};

static size_t blocks;

static void prepare(void)
{
    for (unsigned i = 0; i < 4; i++)
        puppets[i] = (puppet){.spy = {.error = PEA_E_CRYPTO}};
    floors = 1;
}

/* A link over puppets; the codec and the peer's half are the library's. */
static void open_link(test_link *link, pea_mode mode, const pea_pipe_opts *opts)
{
    pea_chain *chain;
    blocks = faults_blocks();
    link_init(link);
    check_ok(pea_chain_new(&chain, PEA_CHAIN(.mode = mode), NULL));
    for (unsigned i = 0; i < floors; i++)
        check_ok(pea_chain_add(chain, &puppet_ops, NULL, NULL));
    check_ok(pea_chain_plain(chain));
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
        pea_pipe_opts o = opts != NULL ? *opts : (pea_pipe_opts)PEA_PIPE_INIT;
        o.side = side;
        check_ok(pea_pipe_new(&link->party[side].pipe, chain, &o, NULL));
    }
    pea_chain_unref(chain);
    link_run(link);
}

static void close_link(test_link *link)
{
    link_free(link);
    assert_int_equal(faults_blocks(), blocks);
    for (unsigned side = 0; side < 2; side++)
        assert_int_equal(puppets[side].destroys, puppets[side].start_result == PEA_OK ? puppets[side].starts : 0);
}

/* ---- Transforms ---- */

static void one_seal_a_flush(void **state)
{
    static const uint8_t bytes[20000];
    test_link link;
    (void)state;
    prepare();
    open_link(&link, PEA_NATIVE, NULL);
    puppets[0].spy.seals = 0;
    for (unsigned flush = 1; flush <= 5; flush++) {
        pea_span span;
        for (unsigned i = 0; i < 50; i++)
            check_ok(pea_pipe_send(link.party[0].pipe, bytes, 16));
        check_ok(pea_pipe_send(link.party[0].pipe, bytes, sizeof bytes));
        check_ok(pea_pipe_output(link.party[0].pipe, &span));
        assert_int_equal(puppets[0].spy.seals, flush);
        assert_int_equal(span.len, 4 + 50 * 20 + 4 + sizeof bytes);
        pea_pipe_sent(link.party[0].pipe, span.len);
        check_err(pea_pipe_output(link.party[0].pipe, &span), PEA_MORE);
        assert_int_equal(puppets[0].spy.seals, flush);
    }
    close_link(&link);
    assert_int_equal(puppets[0].spy.destroys, 1);
    assert_int_equal(puppets[1].spy.destroys, 1);
}

/* A seal() that fails is not called again, whatever the reason; CLOSED says why. */
static void seal_fails(void **state)
{
    const pea_err errors[] = {PEA_E_KEY_LIMIT, PEA_E_NOMEM, PEA_E_CRYPTO, PEA_E_INVALID, PEA_E_REFUSED, PEA_E_PROTO};
    (void)state;
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        for (unsigned records = 0; records < 2; records++) {
            test_link link;
            prepare();
            puppets[0].spy.one_message = puppets[1].spy.one_message = records;
            puppets[0].spy.error = errors[i];
            open_link(&link, records ? PEA_RECORDS : PEA_NATIVE, NULL);
            puppets[0].spy.seal_fails_at = puppets[0].spy.seals + 1;
            pea_err err = pea_pipe_send(link.party[0].pipe, "x", 1);
            check_err(err, records ? errors[i] : PEA_OK);
            link_run(&link);
            link_hang_up(&link);
            check_err(link.party[0].reason.err, errors[i]);
            assert_int_equal(link.party[0].reason.origin, PEA_BY_WRITING);
            close_link(&link);
        }
    }
}

/* What unseal() appended before it failed is good, and delivered first. What it replied is sent. Then it
 * is not called again. */
static void unseal_fails(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        test_link link;
        prepare();
        open_link(&link, PEA_STREAM, NULL);
        puppets[1].spy.unseal_fails = true;
        puppets[1].spy.reply = i == 0 ? NULL : "alert!";
        size_t said = link.party[1].wire_len;
        check_ok(pea_pipe_send(link.party[0].pipe, "good", 4));
        link_run(&link);
        link_hang_up(&link);
        assert_int_equal(link.party[1].n_messages, 1);
        check_err(link.party[1].reason.err, PEA_E_CRYPTO);
        assert_int_equal(link.party[1].reason.origin, PEA_BY_READING);
        check_bytes(link.party[1].wire + said, link.party[1].wire_len - said, "alert!", i == 0 ? 0 : 6);
        close_link(&link);
    }
}

/* What an upper transform replies cannot be sealed by the lower one, while the upper one has more to give: that is
 * fatal like any failure of seal(), which is not called again; what was there is delivered first. */
static void a_reply_that_cannot_be_sealed(void **state)
{
    (void)state;
    test_link link;
    prepare();
    floors = 2;
    open_link(&link, PEA_STREAM, NULL);
    puppets[3].spy.reply = "said by the upper one";
    puppets[3].spy.again_then = true;
    puppets[1].spy.seal_fails_at = puppets[1].spy.seals + 1;
    check_ok(pea_pipe_send(link.party[0].pipe, "good", 4));
    link_run(&link);
    link_hang_up(&link);
    assert_int_equal(link.party[1].n_messages, 1);
    check_err(link.party[1].reason.err, PEA_E_CRYPTO);
    link_free(&link);
    assert_int_equal(faults_blocks(), blocks);
}

/* "Again", and nothing was done: an error, not a loop. */
static void unseal_spins(void **state)
{
    test_link link;
    (void)state;
    prepare();
    open_link(&link, PEA_STREAM, NULL);
    puppets[1].spy.again_for_nothing = true;
    check_ok(pea_pipe_send(link.party[0].pipe, "x", 1));
    link_run(&link);
    link_hang_up(&link);
    check_err(link.party[1].reason.err, PEA_E_PROTO);
    close_link(&link);
}

static void records_need_their_transform(void **state)
{
    test_link link;
    (void)state;
    prepare();
    open_link(&link, PEA_RECORDS, NULL);
    check_err(link.party[0].reason.err, PEA_E_INVALID);
    assert_int_equal(link.party[0].n_ready, 0);
    close_link(&link);
}

/* ---- Stages ---- */

static void stage_never_starts(void **state)
{
    test_link link;
    (void)state;
    prepare();
    puppets[0].start_result = PEA_E_NOMEM;
    open_link(&link, PEA_NATIVE, NULL);
    check_err(link.party[0].reason.err, PEA_E_NOMEM);
    assert_string_equal(link.party[0].reason.stage, "puppet");
    link_hang_up(&link);
    close_link(&link);
}

static void stage_yields_nothing_good(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        test_link link;
        prepare();
        puppets[0].yield_result = i == 0 ? PEA_E_CRYPTO : PEA_OK;
        puppets[0].no_transform = i == 1;
        open_link(&link, PEA_NATIVE, NULL);
        check_err(link.party[0].reason.err, i == 0 ? PEA_E_CRYPTO : PEA_E_INVALID);
        assert_int_equal(puppets[0].spy.destroys, 0);
        link_hang_up(&link);
        close_link(&link);
    }
}

static pea_err step_says_nonsense(puppet *p, pea_stage_env *env, pea_buf *in, pea_buf *out)
{
    (void)p;
    (void)env;
    (void)in;
    (void)out;
    return PEA_EOF;
}

static pea_err step_waits_without_a_ticket(puppet *p, pea_stage_env *env, pea_buf *in, pea_buf *out)
{
    (void)p;
    (void)env;
    (void)in;
    (void)out;
    return PEA_WAIT;
}

static pea_err step_fails_with_words(puppet *p, pea_stage_env *env, pea_buf *in, pea_buf *out)
{
    (void)p;
    (void)in;
    check_ok(pea_buf_append(out, "last words", 10));
    return pea_stage_fail(env, PEA_E_CRYPTO, "the moon is in the wrong place");
}

static pea_err step_reads_nothing(puppet *p, pea_stage_env *env, pea_buf *in, pea_buf *out)
{
    (void)p;
    (void)env;
    (void)in;
    (void)out;
    return PEA_MORE;
}

static void stage_breaks_its_word(void **state)
{
    const struct {
        pea_err (*step)(puppet *p, pea_stage_env *env, pea_buf *in, pea_buf *out);
        pea_err want;
    } rows[] = {{step_says_nonsense, PEA_E_INVALID},
                {step_waits_without_a_ticket, PEA_E_INVALID},
                {step_fails_with_words, PEA_E_CRYPTO}};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        test_link link;
        prepare();
        puppets[0].step = rows[i].step;
        open_link(&link, PEA_NATIVE, NULL);
        link_party *p = &link.party[0];
        check_err(p->reason.err, rows[i].want);
        assert_int_equal(p->reason.origin, PEA_BY_HANDSHAKE);
        assert_string_equal(p->reason.stage, "puppet");
        if (i == 2) { /* what it said is sent, also on error */
            assert_string_equal(p->reason.text, "the moon is in the wrong place");
            check_bytes(p->wire + 41, p->wire_len - 41, "last words", 10);
        }
        link_hang_up(&link);
        close_link(&link);
    }
}

/* max_in bounds what a stage may leave lying. */
static void stage_is_flooded(void **state)
{
    static const uint8_t bytes[101];
    (void)state;
    for (unsigned over = 0; over < 2; over++) {
        test_link link;
        prepare();
        puppets[1].step = step_reads_nothing;
        open_link(&link, PEA_STREAM, NULL);
        assert_int_equal(puppets[1].steps, 1);
        link_feed(&link, PEA_RESPONDER, bytes, 60);
        assert_int_equal(puppets[1].steps, 2); /* called again only when there is more */
        link_drain(&link, PEA_RESPONDER);
        assert_int_equal(puppets[1].steps, 2);
        link_feed(&link, PEA_RESPONDER, bytes, 40 + over);
        assert_int_equal(link.party[1].n_closed, over);
        if (over)
            check_err(link.party[1].reason.err, PEA_E_PROTO);
        link.party[0].delivered = link.party[0].wire_len; /* what we fed was nobody's */
        close_link(&link);
    }
}

static unsigned asked;
static pea_peer expected;

static pea_err step_looks_around(puppet *p, pea_stage_env *env, pea_buf *in, pea_buf *out)
{
    uint8_t binding[64];
    size_t len = sizeof binding;
    pea_buf prologue = {0};
    (void)p;
    (void)in;
    (void)out;
    asked++;
    assert_int_equal(pea_stage_wall_ms(env), 1234567);
    assert_non_null(pea_stage_remote(env));
    assert_int_equal(pea_stage_remote(env)->port, 4711);
    assert_true(pea_peer_equal(pea_stage_expect(env), &expected));
    assert_true(pea_stage_native(env));
    check_err(pea_stage_binding(env, binding, &len), PEA_E_UNSUPPORTED); /* nothing is in place yet */
    check_ok(pea_stage_prologue(env, &prologue));
    assert_int_equal(prologue.len, 6 + 41 + 4 + 3 + 4 + 4);
    assert_memory_equal(prologue.data, "peapod\xF1peapod", 13);
    assert_memory_equal(prologue.data + 47, "\0\0\0\3hi\n\0\0\0\4yes\n", 15);
    pea_span said = pea_stage_transcript(env, 0, PEA_RESPONDER);
    check_bytes(said.data, said.len, "yes\n", 4);
    assert_int_equal(pea_stage_transcript(env, 1, PEA_RESPONDER).len, 0);
    assert_int_equal(pea_stage_transcript(env, 99, PEA_INITIATOR).len, 0);
    check_err(pea_stage_answer(env), PEA_WAIT);
    pea_buf_free(&prologue);
    return PEA_DONE;
}

/* What a stage may ask of its connection. */
static void stage_environment(void **state)
{
    static const toy_talk talk = {"hi\n", "yes\n"};
    union {
        const toy_talk *in;
        void *out;
    } config = {.in = &talk};
    test_link link;
    pea_chain *chain;
    const pea_addr remote = {.family = PEA_ADDR_IPV4, .port = 4711};
    (void)state;
    prepare();
    asked = 0;
    toy_named_peer(&expected, "somebody");
    puppets[0].step = puppets[1].step = step_looks_around;
    link_init(&link);
    check_ok(pea_chain_new(&chain, NULL, NULL));
    check_ok(pea_chain_add(chain, &toy_talk_ops, config.out, NULL));
    check_ok(pea_chain_add(chain, &puppet_ops, NULL, NULL));
    check_ok(pea_chain_plain(chain));
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
        check_ok(pea_pipe_new(&link.party[side].pipe, chain,
                              PEA_PIPE(.side = side, .remote = &remote, .expect = &expected), NULL));
        pea_pipe_tick(link.party[side].pipe, 1, 1234567);
    }
    pea_chain_unref(chain);
    link_run(&link);
    assert_int_equal(asked, 2);
    link_free(&link);
}

/* A responder's words may lie there before the initiator has begun: its first stage must not take the greeting for
 * its own. */
static void peer_speaks_first(void **state)
{
    static const uint8_t early[41 + 4] = "\xF1peapod\1\1";
    static toy_talk talk = {"hi\n", "yes\n"};
    uint8_t said[45];
    pea_chain *chain;
    pea_pipe *pipe;
    pea_event event;
    pea_span span;
    size_t taken;
    (void)state;
    memcpy(said, early, 41);
    memcpy(said + 41, "yes\n", 4);
    check_ok(pea_chain_new(&chain, NULL, NULL));
    check_ok(pea_chain_add(chain, &toy_talk_ops, &talk, NULL));
    check_ok(pea_chain_plain(chain));
    check_ok(pea_pipe_new(&pipe, chain, NULL, NULL));
    check_ok(pea_pipe_feed(pipe, said, sizeof said, &taken));
    assert_int_equal(taken, sizeof said);
    check_err(pea_pipe_next(pipe, &event), PEA_MORE);
    assert_int_equal(pea_pipe_state(pipe), PEA_OPENING);
    check_ok(pea_pipe_output(pipe, &span));
    assert_true(span.len > 44);
    check_bytes(span.data, 41, early, 41);
    check_bytes(span.data + 41, 4, "hi\n\1", 4); /* then HELLO */
    pea_pipe_free(pipe);
    pea_chain_unref(chain);
}

/* A chain that proves nobody, and does not say that it need not, is never READY. */
static void nobody_was_proven(void **state)
{
    static const pea_mode modes[] = {PEA_NATIVE, PEA_STREAM};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        test_link link;
        pea_chain *chain;
        prepare();
        link_init(&link);
        check_ok(pea_chain_new(&chain, PEA_CHAIN(.mode = modes[i]), NULL));
        check_ok(pea_chain_add(chain, &puppet_ops, NULL, NULL));
        for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++)
            check_ok(pea_pipe_new(&link.party[side].pipe, chain, PEA_PIPE(.side = side), NULL));
        pea_chain_unref(chain);
        link_run(&link);
        link_hang_up(&link);
        assert_int_equal(link.party[0].n_ready + link.party[1].n_ready, 0);
        check_err(link.party[0].reason.err, PEA_E_REFUSED);
        link_free(&link);
    }
}

/* ---- Codecs ---- */

typedef struct liar {
    pea_err create_result, decode_result;
    pea_frame frame;
    unsigned destroys, creates;
} liar;

static liar lie;

static pea_err liar_create(const void *config, pea_side side, const pea_peer *peer, void **self)
{
    (void)config;
    (void)side;
    assert_null(peer);
    lie.creates++;
    *self = &lie;
    return lie.create_result;
}

static pea_err liar_decode(void *self, const uint8_t *data, size_t len, pea_frame *frame)
{
    (void)self;
    (void)data;
    assert_true(len >= 1);
    *frame = lie.frame;
    return lie.decode_result;
}

static size_t liar_put(void *self, const void *payload, size_t len, uint8_t *dst)
{
    (void)self;
    memcpy(dst, payload, len);
    return len;
}

static pea_err liar_marks(void *self, const void *payload, size_t len, pea_frame_marks *marks)
{
    (void)self;
    (void)payload;
    (void)len;
    *marks = (pea_frame_marks){.before_len = 0};
    return PEA_OK;
}

static void liar_destroy(void *self)
{
    ((liar *)self)->destroys++;
}

static const pea_codec_ops liar_ops = {
    .version = PEA_CODEC_VERSION,
    .name = "liar",
    .create = liar_create,
    .decode = liar_decode,
    .put = liar_put,
    .marks = liar_marks,
    .destroy = liar_destroy,
};

static void codec_lies(void **state)
{
    static const struct {
        pea_err result;
        pea_frame frame;
        pea_err want;
    } rows[] = {
        {PEA_OK, {.total = 5, .offset = 0, .len = 5}, PEA_E_INVALID}, /* more than there is */
        {PEA_OK, {.total = 0}, PEA_E_INVALID},                        /* nothing, again and again */
        {PEA_OK, {.total = 4, .offset = 5}, PEA_E_INVALID},
        {PEA_OK, {.total = 4, .offset = 3, .len = 2}, PEA_E_INVALID},
        {PEA_OK, {.total = 4, .offset = 1, .len = SIZE_MAX}, PEA_E_INVALID},
        {PEA_MORE, {.total = 4}, PEA_E_INVALID}, /* wants what it has */
        {PEA_MORE, {.total = 0}, PEA_E_INVALID},
        {PEA_E_TOO_BIG, {.total = 0}, PEA_E_TOO_BIG},
        {PEA_E_PROTO, {.total = 0}, PEA_E_PROTO},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (unsigned mode = PEA_NATIVE; mode <= PEA_STREAM; mode++) {
            test_link link;
            pea_codec *codec;
            prepare();
            lie = (liar){.decode_result = rows[i].result, .frame = rows[i].frame};
            check_ok(pea_codec_new(&codec, &liar_ops, NULL, NULL));
            open_link(&link, (pea_mode)mode, PEA_PIPE(.codec = codec));
            check_ok(pea_pipe_send(link.party[0].pipe, "four", 4));
            link_run(&link);
            link_hang_up(&link);
            assert_int_equal(link.party[1].n_messages, 0);
            check_err(link.party[1].reason.err, rows[i].want);
            close_link(&link);
            pea_codec_unref(codec);
            assert_int_equal(lie.destroys, 2);
        }
    }
}

static void codec_cannot_be_made(void **state)
{
    (void)state;
    for (unsigned mode = PEA_NATIVE; mode <= PEA_STREAM; mode++) {
        test_link link;
        pea_codec *codec;
        prepare();
        lie = (liar){.create_result = PEA_E_NOMEM};
        check_ok(pea_codec_new(&codec, &liar_ops, NULL, NULL));
        open_link(&link, (pea_mode)mode, PEA_PIPE(.codec = codec));
        link_hang_up(&link);
        assert_int_equal(link.party[0].n_ready + link.party[1].n_ready, 0);
        assert_true(link.party[0].reason.err == PEA_E_NOMEM || link.party[1].reason.err == PEA_E_NOMEM);
        assert_true(lie.creates >= 1);
        assert_int_equal(lie.destroys, 0);
        close_link(&link);
        pea_codec_unref(codec);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_seal_a_flush),      cmocka_unit_test(seal_fails),
        cmocka_unit_test(unseal_fails),          cmocka_unit_test(a_reply_that_cannot_be_sealed),
        cmocka_unit_test(unseal_spins),          cmocka_unit_test(records_need_their_transform),
        cmocka_unit_test(stage_never_starts),    cmocka_unit_test(stage_yields_nothing_good),
        cmocka_unit_test(stage_breaks_its_word), cmocka_unit_test(stage_is_flooded),
        cmocka_unit_test(stage_environment),     cmocka_unit_test(peer_speaks_first),
        cmocka_unit_test(nobody_was_proven),     cmocka_unit_test(codec_lies),
        cmocka_unit_test(codec_cannot_be_made),
    };
    faults_install();
    return cmocka_run_group_tests_name("what pipes do with others", tests, NULL, NULL);
}
