/* SPDX-License-Identifier: MIT */
/* noise_vectors FILE...: checks the Noise engine against vectors in the JSON format of cacophony, which snow,
 * flynn/noise and others share. Both sides are run with the ephemeral keys of the vector; every message, the handshake
 * hash and the transport messages must come out as written. Prints why vectors were skipped, what failed, and last "N
 * passed, M failed, K skipped". Exit status 1 if any failed or a file could not be read. */
#include <cjson/cJSON.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "noise/noise_priv.h"
#include "support/file.h"

#define REASONS_MAX 256
#define BYTES_MAX 65536

static struct {
    char text[PEA_ERROR_TEXT_BYTES];
    unsigned count;
} reasons[REASONS_MAX];

static unsigned n_reasons, passed, failed, skipped;

typedef struct bytes {
    uint8_t data[BYTES_MAX];
    size_t len;
    bool there;
} bytes;

/* One side of a vector. */
typedef struct side {
    pea_noise *noise;
    pea_identity *identity;
    pea_transform transform;
    bool split;
} side;

static void skip(const char *reason)
{
    unsigned i = 0;
    skipped++;
    while (i < n_reasons && strcmp(reasons[i].text, reason) != 0)
        i++;
    if (i == REASONS_MAX)
        return;
    if (i == n_reasons)
        (void)snprintf(reasons[n_reasons++].text, sizeof reasons[0].text, "%s", reason);
    reasons[i].count++;
}

/* A field of hexadecimal text. False: it is there, and broken. */
static bool get_hex(bytes *out, const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    out->len = 0;
    out->there = item != NULL;
    if (item == NULL)
        return true;
    const char *end = NULL;
    return cJSON_IsString(item) &&
           sodium_hex2bin(out->data, sizeof out->data, item->valuestring, strlen(item->valuestring), NULL, &out->len,
                          &end) == 0 &&
           *end == '\0';
}

/* "init_static" and the like. */
static bool get_of(bytes *out, const cJSON *vector, const char *who, const char *what)
{
    char name[64];
    (void)snprintf(name, sizeof name, "%s_%s", who, what);
    return get_hex(out, vector, name);
}

/* The one psk that a side may have. Returns how many it has, -1: broken. */
static int get_psk(bytes *out, const cJSON *vector, const char *who)
{
    char name[64];
    (void)snprintf(name, sizeof name, "%s_psks", who);
    const cJSON *psks = cJSON_GetObjectItemCaseSensitive(vector, name);
    const cJSON *first = cJSON_GetArrayItem(psks, 0);
    out->len = 0;
    if (first == NULL)
        return 0;
    if (!cJSON_IsString(first) ||
        sodium_hex2bin(out->data, sizeof out->data, first->valuestring, strlen(first->valuestring), NULL, &out->len,
                       NULL) != 0 ||
        out->len != PEA_KEY_BYTES)
        return -1;
    return cJSON_GetArraySize(psks);
}

/* XXfallback goes on from the first message of another handshake, for which the public API has no words: its keys are
 * put into the state. */
static void side_fall_back(side *s, pea_side which, const pea__protocol *protocol, pea_span prologue,
                           const uint8_t *psk, const bytes *ephemeral, const bytes *remote_ephemeral)
{
    uint8_t e[2 * PEA_KEY_BYTES];
    memcpy(e, ephemeral->data, PEA_KEY_BYTES);
    if (crypto_scalarmult_base(e + PEA_KEY_BYTES, e) != 0)
        abort();
    const pea__handshake_keys keys = {.s = s->identity,
                                      .psk = psk,
                                      .e = which == PEA_RESPONDER ? e : NULL,
                                      .re = which == PEA_INITIATOR ? remote_ephemeral->data : NULL};
    pea__handshake_initialize(pea__noise_state(s->noise), protocol, which, prologue, &keys);
}

/* What this side's key pair or encapsulation is made of. */
static bool fix_kem(pea_noise *noise, const cJSON *vector, const char *who)
{
    static bytes seed;
    if (!get_of(&seed, vector, who, "kem_seed") || seed.len < PEA__KEM_MESSAGE_BYTES || seed.len > PEA__KEM_SEED_BYTES)
        return false;
    memset(seed.data + seed.len, 0, PEA__KEM_SEED_BYTES - seed.len);
    pea__noise_fix_kem(noise, seed.data);
    return true;
}

/* NULL: ready. Else what is wrong with the vector; `*supported` false: this build cannot do it, in `why`. */
static const char *side_open(side *s, pea_side which, const cJSON *vector, bool *supported, pea_error *why)
{
    static bytes key, remote, psk, prologue, ephemeral, remote_ephemeral;
    const char *who = which == PEA_INITIATOR ? "init" : "resp";
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(vector, "protocol_name");
    if (!cJSON_IsString(item) || !get_of(&key, vector, who, "static") ||
        !get_of(&remote, vector, who, "remote_static") || !get_of(&ephemeral, vector, who, "ephemeral") ||
        !get_of(&prologue, vector, who, "prologue") || !get_of(&remote_ephemeral, vector, who, "remote_ephemeral"))
        return "the vector is malformed";
    const char *name = item->valuestring;
    int psks = get_psk(&psk, vector, who);
    if (psks < 0)
        return "the psk is malformed";
    pea__protocol protocol;
    pea_err err = pea__protocol_parse(&protocol, name, why);
    if (err == PEA_E_UNSUPPORTED) {
        *supported = false;
        return NULL;
    }
    if (err != PEA_OK)
        return "the protocol's name is malformed";
    if (key.there && (key.len != PEA_KEY_BYTES || pea_identity_from_secret(&s->identity, key.data, why) != PEA_OK))
        return "the static key is malformed";
    /* Of a fallback, a side of plain XX is made, whose handshake is then put in its place. */
    err = pea_noise_new(&s->noise, which,
                        PEA_NOISE(.protocol = protocol.fallback ? NULL : name, .identity = s->identity,
                                  .psk = psks > 0 && !protocol.fallback ? psk.data : NULL,
                                  .remote_static = remote.there ? remote.data : NULL,
                                  .prologue = {prologue.data, prologue.len}, .record_preserving = true),
                        why);
    if (err != PEA_OK || psks > 1)
        return "the keys do not fit the pattern";
    if (protocol.fallback)
        side_fall_back(s, which, &protocol, (pea_span){prologue.data, prologue.len}, psks > 0 ? psk.data : NULL,
                       &ephemeral, &remote_ephemeral);
    if (ephemeral.len == PEA_KEY_BYTES)
        pea__noise_fix_ephemeral(s->noise, ephemeral.data);
    if (protocol.hfs && !fix_kem(s->noise, vector, who))
        return "the seed of the KEM is malformed";
    return NULL;
}

static void side_close(side *s)
{
    if (s->split)
        s->transform.ops->destroy(s->transform.self);
    pea_noise_free(s->noise);
    pea_identity_unref(s->identity);
}

static const char *handshake_message(side *from, side *to, const bytes *payload, const bytes *message)
{
    const char *wrong = NULL;
    pea_buf out = {0}, in = {0};
    if (pea_noise_write(from->noise, (pea_span){payload->data, payload->len}, &out) != PEA_OK)
        wrong = "a handshake message could not be written";
    else if (out.len != message->len || memcmp(out.data, message->data, out.len) != 0)
        wrong = "a handshake message differs";
    else if (pea_noise_read(to->noise, (pea_span){out.data, out.len}, &in) != PEA_OK)
        wrong = "a handshake message could not be read";
    else if (in.len != payload->len || (in.len > 0 && memcmp(in.data, payload->data, in.len) != 0))
        wrong = "a handshake payload differs";
    pea_buf_free(&out);
    pea_buf_free(&in);
    return wrong;
}

static const char *transport_message(side *from, side *to, const bytes *payload, const bytes *message)
{
    const char *wrong = NULL;
    pea_buf wire = {0}, plain = {0}, reply = {0};
    pea_span span = {payload->data, payload->len};
    if (from->transform.ops->seal(from->transform.self, &span, 1, &wire) != PEA_OK)
        wrong = "a transport message could not be sealed";
    else if (wire.len != 2 + message->len || memcmp(wire.data + 2, message->data, message->len) != 0)
        wrong = "a transport message differs";
    else if (to->transform.ops->unseal(to->transform.self, &wire, &plain, SIZE_MAX, &reply) != PEA_AGAIN ||
             wire.len != 0)
        wrong = "a transport message could not be unsealed";
    else if (plain.len != payload->len || (plain.len > 0 && memcmp(plain.data, payload->data, plain.len) != 0))
        wrong = "a transport payload differs";
    pea_buf_free(&wire);
    pea_buf_free(&plain);
    pea_buf_free(&reply);
    return wrong;
}

/* After the last handshake message: both hashes must be the vector's, where it names one. */
static const char *sides_split(side sides[2], const cJSON *vector)
{
    static bytes hash;
    if (!get_hex(&hash, vector, "handshake_hash"))
        return "the vector is malformed";
    for (int i = 0; i < 2; i++) {
        side *s = &sides[i];
        uint8_t binding[PEA_NOISE_HASH_MAX];
        size_t len = sizeof binding;
        if (pea_noise_split(s->noise, false, &s->transform) != PEA_OK)
            return "the handshake is not over where the vector ends it";
        s->split = true;
        if (s->transform.ops->query(s->transform.self, PEA_QUERY_BINDING, (pea_span){NULL, 0}, binding, &len) != PEA_OK)
            return "there is no handshake hash";
        if (hash.there && (len != hash.len || memcmp(binding, hash.data, len) != 0))
            return "the handshake hash differs";
    }
    return NULL;
}

/* NULL: everything came out as the vector says. */
static const char *run(side sides[2], const cJSON *vector)
{
    static bytes payload, message;
    const cJSON *messages = cJSON_GetObjectItemCaseSensitive(vector, "messages"), *item;
    bool one_way = pea__protocol_one_way(&pea__noise_state(sides[0].noise)->protocol);
    int number = 0;
    cJSON_ArrayForEach(item, messages)
    {
        int speaker = one_way ? 0 : number % 2;
        side *from = &sides[speaker], *to = &sides[!speaker];
        const char *wrong = NULL;
        if (!get_hex(&payload, item, "payload") || !get_hex(&message, item, "ciphertext") || !payload.there ||
            !message.there)
            return "the vector is malformed";
        if (!from->split && pea_noise_turn(from->noise) == PEA_DONE)
            wrong = sides_split(sides, vector);
        if (wrong == NULL)
            wrong = (from->split ? transport_message : handshake_message)(from, to, &payload, &message);
        if (wrong != NULL)
            return wrong;
        number++;
    }
    return sides[0].split ? NULL : sides_split(sides, vector);
}

static void check(const cJSON *vector)
{
    side sides[2] = {{0}, {0}};
    pea_error why = {0};
    bool supported = true;
    const char *wrong = side_open(&sides[0], PEA_INITIATOR, vector, &supported, &why);
    if (wrong == NULL && supported)
        wrong = side_open(&sides[1], PEA_RESPONDER, vector, &supported, &why);
    if (wrong == NULL && supported)
        wrong = run(sides, vector);
    if (wrong != NULL) {
        const cJSON *name = cJSON_GetObjectItemCaseSensitive(vector, "protocol_name");
        printf("FAILED %s: %s %s\n", cJSON_IsString(name) ? name->valuestring : "(no name)", wrong, why.text);
        failed++;
    } else if (!supported) {
        skip(why.text);
    } else {
        passed++;
    }
    side_close(&sides[0]);
    side_close(&sides[1]);
}

static bool check_file(const char *path)
{
    char *text = file_read(path);
    cJSON *root = text != NULL ? cJSON_Parse(text) : NULL;
    const cJSON *vectors = cJSON_GetObjectItemCaseSensitive(root, "vectors"), *vector;
    bool good = cJSON_GetArraySize(vectors) > 0;
    if (!good)
        printf("FAILED %s: %s\n", path, text == NULL ? "cannot be read" : "holds no vectors");
    cJSON_ArrayForEach(vector, vectors) check(vector);
    cJSON_Delete(root);
    free(text);
    return good;
}

int main(int argc, char **argv)
{
    bool good = true;
    if (argc < 2 || sodium_init() < 0) {
        (void)fprintf(stderr, "usage: noise_vectors FILE...\n");
        return 2;
    }
    for (int i = 1; i < argc; i++)
        good = check_file(argv[i]) && good;
    for (unsigned i = 0; i < n_reasons; i++)
        printf("skipped %u: %s\n", reasons[i].count, reasons[i].text);
    printf("%u passed, %u failed, %u skipped\n", passed, failed, skipped);
    return good && failed == 0 ? 0 : 1;
}
