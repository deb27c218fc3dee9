/* SPDX-License-Identifier: MIT */
/* What a Noise handshake leaves behind: the transform of a connection. Records of a 16-bit length and a ciphertext
 * carry a stream, or one message each. It sees buffers only; docs/wire.md says what lies in them. */
#include <sodium.h>
#include <string.h>

#include "buf_priv.h"
#include "noise_priv.h"

_Static_assert(PEA__RECORD_PLAIN == 61422, "what docs/wire.md says");
_Static_assert(PEA__RECORD_MESSAGE == 65519, "what docs/wire.md says");

#define WORN_BLOCKS 16u /* each record counts for whole ones: so the count is short */
#define WORN_BYTES ((size_t)WORN_BLOCKS * PEA__GCM_BLOCK_BYTES)
_Static_assert((PEA__GCM_BLOCKS + PEA__GCM_BLOCKS_QUEUED) / WORN_BLOCKS < UINT32_MAX, "it must be counted");

/* One per connection: kept small, an idle connection holds nothing else of Noise. */
typedef struct record {
    pea__cipher_state send, receive;
    pea__protocol protocol;
    uint32_t worn; /* what the sending key has sealed, in WORN_BLOCKS, where it is limited and never changes */
    bool native : 1, preserving : 1, limited : 1;
    bool mute : 1, deaf : 1;            /* one-way patterns: it only receives, or only sends */
    bool rekeyed_send, rekeyed_receive; /* for the next record: a read that failed must not change the key twice */
    uint8_t hash_len;
    uint8_t left[]; /* by the handshake: its hash, which is public and the channel's binding, and the exporter secret */
} record;

static const uint8_t *exporter(const record *r)
{
    return r->left + r->hash_len;
}

/* Native mode changes the key before record k * 2^20 of a direction. A record's number is its nonce, which goes on. */
static pea_err rekey_when_due(const record *r, pea__cipher_state *cs, bool *rekeyed)
{
    bool due = r->native && cs->n % PEA__REKEY_EVERY == 0 && cs->n > 0;
    pea_err err = due && !*rekeyed ? pea__rekey(cs) : PEA_OK;
    *rekeyed = due && err == PEA_OK;
    return err;
}

/* ---- Wire to plain ---- */

static size_t read_u16(const uint8_t *p)
{
    return (size_t)p[0] << 8 | p[1];
}

/* One whole record's ciphertext, appended to `plain`. */
static pea_err open_record(record *r, const uint8_t *cipher, size_t len, pea_buf *plain)
{
    uint8_t nothing[1], *tail = nothing; /* an empty record must not make an empty buffer take memory */
    size_t plain_len = len - PEA_NOISE_TAG_BYTES;
    pea_err err = plain_len > 0 ? pea_buf_reserve(plain, plain_len, &tail) : PEA_OK;
    if (err == PEA_OK)
        err = rekey_when_due(r, &r->receive, &r->rekeyed_receive);
    if (err == PEA_OK)
        err = pea__decrypt_with_ad(&r->receive, (pea_span){NULL, 0}, cipher, len, tail);
    if (err == PEA_OK)
        pea_buf_commit(plain, plain_len);
    return err;
}

static pea_err record_unseal(void *self, pea_buf *wire, pea_buf *plain, size_t max, pea_buf *reply)
{
    record *r = self;
    size_t appended = 0;
    (void)reply;
    if (r->deaf)
        return PEA_E_STATE;
    while (wire->len >= PEA__RECORD_HEADER_BYTES) {
        size_t len = read_u16(wire->data);
        if (len < PEA_NOISE_TAG_BYTES)
            return PEA_E_PROTO;
        if (wire->len - PEA__RECORD_HEADER_BYTES < len)
            break;
        pea_err err = open_record(r, wire->data + PEA__RECORD_HEADER_BYTES, len, plain);
        if (err != PEA_OK)
            return err;
        pea_buf_consume(wire, PEA__RECORD_HEADER_BYTES + len);
        appended += len - PEA_NOISE_TAG_BYTES;
        if (r->preserving || appended >= max)
            return PEA_AGAIN;
    }
    return PEA_OK;
}

/* ---- Plain to wire ---- */

/* Counts what is to be sealed. False: that would be more than the key may do. */
static bool wear(record *r, size_t total, size_t records)
{
    if (!r->limited)
        return true;
    uint64_t worn = r->worn + total / WORN_BYTES + records;
    if (worn > (PEA__GCM_BLOCKS + PEA__GCM_BLOCKS_QUEUED) / WORN_BLOCKS)
        return false;
    r->worn = (uint32_t)worn;
    return true;
}

/* One record of `len` bytes of plaintext at `out`. */
static pea_err write_record(record *r, pea__gather *from, size_t len, uint8_t *out)
{
    size_t cipher_len = len + PEA_NOISE_TAG_BYTES;
    uint8_t *cipher = out + PEA__RECORD_HEADER_BYTES;
    out[0] = (uint8_t)(cipher_len >> 8);
    out[1] = (uint8_t)cipher_len;
    pea_err err = rekey_when_due(r, &r->send, &r->rekeyed_send);
    if (err != PEA_OK)
        return err;
    return pea__encrypt_with_ad(&r->send, (pea_span){NULL, 0}, pea__gather_take(from, len, cipher), len, cipher);
}

static pea_err record_seal(void *self, const pea_span *spans, size_t n, pea_buf *wire)
{
    record *r = self;
    size_t total;
    if (r->mute)
        return PEA_E_STATE;
    if (!pea__spans_total(spans, n, &total) || (r->preserving && total > PEA__RECORD_MESSAGE))
        return PEA_E_TOO_BIG;
    size_t most = r->preserving ? PEA__RECORD_MESSAGE : PEA__RECORD_PLAIN;
    size_t records = r->preserving ? 1 : (total + most - 1) / most;
    size_t wire_len = total + records * PEA__RECORD_OVERHEAD;
    uint8_t *out;
    if (records == 0)
        return PEA_OK;
    pea_err err = pea_buf_reserve(wire, wire_len, &out);
    if (err == PEA_OK && !wear(r, total, records))
        err = PEA_E_KEY_LIMIT;
    pea__gather from = {spans, 0};
    for (size_t left = total; err == PEA_OK && records > 0; records--) {
        size_t len = left < most ? left : most;
        err = write_record(r, &from, len, out);
        out += len + PEA__RECORD_OVERHEAD;
        left -= len;
    }
    if (err != PEA_OK)
        return err;
    pea_buf_commit(wire, wire_len);
    return !r->limited || r->worn < PEA__GCM_BLOCKS / WORN_BLOCKS ? PEA_OK : PEA_EOF;
}

/* ---- Queries and the end ---- */

static pea_err copy_out(const void *data, size_t data_len, void *out, size_t *len)
{
    if (data_len > *len)
        return PEA_E_TOO_BIG;
    memcpy(out, data, data_len);
    *len = data_len;
    return PEA_OK;
}

static pea_err record_query(void *self, pea_query what, pea_span in, void *out, size_t *len)
{
    const record *r = self;
    switch (what) {
    case PEA_QUERY_BINDING:
        return copy_out(r->left, r->hash_len, out, len);
    case PEA_QUERY_EXPORT:
        return pea__hkdf_expand(r->protocol.hash, exporter(r), in, out, *len);
    case PEA_QUERY_CIPHER: {
        char name[PEA__PROTOCOL_NAME_BYTES];
        size_t name_len = pea__protocol_name(&r->protocol, name);
        return copy_out(name, name_len, out, len);
    }
    case PEA_QUERY_ALPN:
    case PEA_QUERY_FAILURE:
        break;
    }
    return PEA_E_UNSUPPORTED;
}

static void record_destroy(void *self)
{
    record *r = self;
    pea__cipher_wipe(&r->send);
    pea__cipher_wipe(&r->receive);
    sodium_memzero(r, sizeof *r + (size_t)2 * r->hash_len);
    pea__free(r);
}

/* Noise has no END of its own, and nobody can tell a cut from an end by its records: the channel above says CLOSE. */
static const pea_transform_ops record_ops = {
    .version = PEA_TRANSFORM_VERSION,
    .name = "noise",
    .unseal = record_unseal,
    .seal = record_seal,
    .query = record_query,
    .destroy = record_destroy,
};

pea_err pea__record_new(pea_transform *transform, const pea__handshake_state *hs, const pea__record_opts *opts)
{
    size_t hash_len = pea__hash_len(hs->protocol.hash);
    uint8_t secret[PEA_NOISE_HASH_MAX];
    record *r = pea__alloc(sizeof *r + 2 * hash_len);
    if (r == NULL)
        return PEA_E_NOMEM;
    r->protocol = hs->protocol;
    r->native = opts->native;
    r->preserving = opts->preserving;
    r->limited = !opts->native && hs->protocol.aead != PEA__CHACHAPOLY;
    r->hash_len = (uint8_t)hash_len;
    memcpy(r->left, hs->ss.h, hash_len);
    bool initiator = hs->side == PEA_INITIATOR, one_way = pea__protocol_one_way(&hs->protocol);
    r->mute = one_way && !initiator;
    r->deaf = one_way && initiator;
    pea__split(&hs->ss, initiator ? &r->send : &r->receive, initiator ? &r->receive : &r->send, secret);
    memcpy(r->left + hash_len, secret, hash_len);
    sodium_memzero(secret, sizeof secret);
    pea_err err = pea__cipher_expand(&r->send);
    if (err == PEA_OK)
        err = pea__cipher_expand(&r->receive);
    if (err != PEA_OK) {
        record_destroy(r);
        return err;
    }
    *transform = (pea_transform){
        .ops = &record_ops,
        .self = r,
        .record_plain = opts->preserving ? PEA__RECORD_MESSAGE : PEA__RECORD_PLAIN,
        .overhead = PEA__RECORD_OVERHEAD,
        .one_message_per_record = opts->preserving,
    };
    return PEA_OK;
}

void pea__record_set_numbers(const pea_transform *transform, uint64_t send, uint64_t receive)
{
    record *r = transform->self;
    r->send.n = send;
    r->receive.n = receive;
}

void pea__record_set_blocks(const pea_transform *transform, uint64_t blocks)
{
    record *r = transform->self;
    r->worn = (uint32_t)(blocks / WORN_BLOCKS);
}

uint64_t pea__record_received(const pea_transform *transform)
{
    const record *r = transform->self;
    return r->receive.n;
}
