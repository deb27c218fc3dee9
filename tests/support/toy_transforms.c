/* SPDX-License-Identifier: MIT */
/* Two transforms that keep every promise of transform.h and no secret. */
#include <stdlib.h>
#include <string.h>

#include "toys.h"

/* ---- toy_xor ---- */

#define END_MARK 0xFFFFu /* as a record's length: the end, with a checksum and no content */
#define REKEY_MARK 0xFFFEu
#define PRESERVING_MAX 4000u

typedef struct toy_xor {
    uint64_t key[2];    /* sending, receiving */
    uint64_t number[2]; /* of the next record */
    uint64_t binding;
    bool preserving, ended;
} toy_xor;

static uint64_t mix(uint64_t hash, uint64_t value)
{
    for (unsigned i = 0; i < 8; i++, value >>= 8)
        hash = (hash ^ (value & 0xFF)) * 0x100000001B3u;
    return hash ^ (hash >> 29);
}

static uint64_t checksum(uint64_t key, uint64_t number, size_t mark, const uint8_t *content, size_t len)
{
    uint64_t hash = mix(mix(mix(0xCBF29CE484222325u, key), number), mark);
    for (size_t i = 0; i < len; i++)
        hash = mix(hash, content[i]);
    return hash;
}

static void put_be(uint8_t *dst, uint64_t value, size_t bytes)
{
    for (size_t i = bytes; i-- > 0; value >>= 8)
        dst[i] = (uint8_t)value;
}

static uint64_t get_be(const uint8_t *src, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++)
        value = value << 8 | src[i];
    return value;
}

static void xor_bytes(uint64_t key, uint64_t number, const uint8_t *from, uint8_t *to, size_t len)
{
    for (size_t i = 0; i < len; i++)
        to[i] = from[i] ^ (uint8_t)(mix(key, number) >> (8 * (i % 8))) ^ (uint8_t)(i * 7);
}

static void xor_rekey(toy_xor *x, unsigned direction)
{
    x->key[direction] = mix(x->key[direction], 0x72656B6579);
}

/* A record without content. */
static pea_err xor_mark(toy_xor *x, size_t mark, pea_buf *wire)
{
    uint8_t record[TOY_XOR_OVERHEAD];
    put_be(record, mark, 2);
    put_be(record + 2, checksum(x->key[0], x->number[0], mark, NULL, 0), 8);
    pea_err err = pea_buf_append(wire, record, sizeof record);
    x->number[0] += err == PEA_OK;
    return err;
}

/* One record of `len` bytes, gathered from the spans at `*at`. */
static void xor_record(toy_xor *x, const pea_span *spans, size_t *span, size_t *at, size_t len, uint8_t *out)
{
    uint8_t *content = out + TOY_XOR_OVERHEAD;
    for (size_t done = 0; done < len; done++) {
        while (*at == spans[*span].len) {
            ++*span;
            *at = 0;
        }
        content[done] = spans[*span].data[(*at)++];
    }
    put_be(out, len, 2);
    put_be(out + 2, checksum(x->key[0], x->number[0], len, content, len), 8);
    xor_bytes(x->key[0], x->number[0], content, content, len);
    x->number[0]++;
}

static pea_err xor_seal(void *self, const pea_span *spans, size_t n, pea_buf *wire)
{
    toy_xor *x = self;
    size_t total = 0, span = 0, at = 0;
    for (size_t i = 0; i < n; i++)
        total += spans[i].len;
    size_t most = x->preserving ? PRESERVING_MAX : TOY_XOR_PLAIN;
    if (x->preserving && total > most)
        return PEA_E_TOO_BIG;
    size_t records = x->preserving ? 1 : (total + most - 1) / most;
    if (records == 0)
        return PEA_OK;
    uint8_t *out;
    pea_err err = pea_buf_reserve(wire, total + records * TOY_XOR_OVERHEAD, &out);
    if (err != PEA_OK)
        return err;
    for (size_t left = total; records > 0; records--) {
        size_t len = left < most ? left : most;
        xor_record(x, spans, &span, &at, len, out);
        out += len + TOY_XOR_OVERHEAD;
        left -= len;
        pea_buf_commit(wire, len + TOY_XOR_OVERHEAD);
    }
    return PEA_OK;
}

/* Opens the record of `len` bytes that lies whole at the front of `wire`. */
static pea_err xor_open(toy_xor *x, pea_buf *wire, size_t len, pea_buf *plain)
{
    uint8_t content[PRESERVING_MAX];
    const uint8_t *record = wire->data;
    xor_bytes(x->key[1], x->number[1], record + TOY_XOR_OVERHEAD, content, len);
    if (get_be(record + 2, 8) != checksum(x->key[1], x->number[1], len, content, len))
        return PEA_E_CRYPTO;
    pea_err err = pea_buf_append(plain, content, len);
    if (err != PEA_OK)
        return err;
    x->number[1]++;
    pea_buf_consume(wire, TOY_XOR_OVERHEAD + len);
    return PEA_OK;
}

static pea_err xor_unseal(void *self, pea_buf *wire, pea_buf *plain, size_t max, pea_buf *reply)
{
    toy_xor *x = self;
    size_t appended = 0;
    (void)reply;
    while (wire->len >= TOY_XOR_OVERHEAD) {
        size_t len = (size_t)get_be(wire->data, 2);
        if (len == END_MARK || len == REKEY_MARK) {
            if (get_be(wire->data + 2, 8) != checksum(x->key[1], x->number[1], len, NULL, 0))
                return PEA_E_CRYPTO;
            x->number[1]++;
            pea_buf_consume(wire, TOY_XOR_OVERHEAD);
            if (len == END_MARK) {
                x->ended = true;
                return PEA_EOF;
            }
            xor_rekey(x, 1);
            continue;
        }
        if (len > (x->preserving ? PRESERVING_MAX : TOY_XOR_PLAIN))
            return PEA_E_PROTO;
        if (wire->len < TOY_XOR_OVERHEAD + len)
            break;
        pea_err err = xor_open(x, wire, len, plain);
        if (err != PEA_OK)
            return err;
        appended += len;
        if (x->preserving || appended >= max)
            return PEA_AGAIN;
    }
    return PEA_OK;
}

static pea_err xor_control(void *self, pea_control what, pea_buf *wire)
{
    toy_xor *x = self;
    if (what == PEA_CONTROL_END)
        return xor_mark(x, END_MARK, wire);
    pea_err err = xor_mark(x, REKEY_MARK, wire);
    if (err == PEA_OK)
        xor_rekey(x, 0);
    return err;
}

static pea_err xor_wire_end(void *self)
{
    return ((toy_xor *)self)->ended ? PEA_EOF : PEA_E_TRUNCATED;
}

static pea_err xor_query(void *self, pea_query what, pea_span in, void *out, size_t *len)
{
    (void)in;
    if (what != PEA_QUERY_BINDING)
        return PEA_E_UNSUPPORTED;
    if (*len < 8)
        return PEA_E_TOO_BIG;
    put_be(out, ((toy_xor *)self)->binding, 8);
    *len = 8;
    return PEA_OK;
}

static const pea_transform_ops xor_ops = {
    .version = PEA_TRANSFORM_VERSION,
    .name = "toy_xor",
    .unseal = xor_unseal,
    .seal = xor_seal,
    .control = xor_control,
    .wire_end = xor_wire_end,
    .query = xor_query,
    .destroy = free,
};

pea_err toy_xor_new(pea_transform *transform, uint64_t key, pea_side side, bool preserving)
{
    toy_xor *x = calloc(1, sizeof *x);
    if (x == NULL)
        return PEA_E_NOMEM;
    x->key[side] = mix(key, 1);
    x->key[1 - side] = mix(key, 2);
    x->binding = mix(key, 3);
    x->preserving = preserving;
    *transform = (pea_transform){
        .ops = &xor_ops,
        .self = x,
        .record_plain = preserving ? PRESERVING_MAX : TOY_XOR_PLAIN,
        .overhead = TOY_XOR_OVERHEAD,
        .one_message_per_record = preserving,
    };
    return PEA_OK;
}

/* ---- toy_frame ---- */

/* One record: u16 length of what follows, then pairs of (count, byte). */
static size_t frame_record(const uint8_t *plain, size_t len, uint8_t *out)
{
    size_t n = 2;
    for (size_t i = 0; i < len;) {
        size_t run = 1;
        while (i + run < len && plain[i + run] == plain[i] && run < 255)
            run++;
        out[n++] = (uint8_t)run;
        out[n++] = plain[i];
        i += run;
    }
    put_be(out, n - 2, 2);
    return n;
}

static pea_err frame_seal(void *self, const pea_span *spans, size_t n, pea_buf *wire)
{
    (void)self;
    uint8_t plain[TOY_FRAME_PLAIN], *out;
    size_t total = 0, span = 0, at = 0;
    for (size_t i = 0; i < n; i++)
        total += spans[i].len;
    size_t records = (total + TOY_FRAME_PLAIN - 1) / TOY_FRAME_PLAIN;
    pea_err err = pea_buf_reserve(wire, total + records * TOY_FRAME_OVERHEAD, &out);
    if (err != PEA_OK)
        return err;
    size_t written = 0;
    while (total > 0) {
        size_t len = total < TOY_FRAME_PLAIN ? total : TOY_FRAME_PLAIN;
        for (size_t i = 0; i < len; i++) {
            while (at == spans[span].len) {
                span++;
                at = 0;
            }
            plain[i] = spans[span].data[at++];
        }
        written += frame_record(plain, len, out + written);
        total -= len;
    }
    pea_buf_commit(wire, written);
    return PEA_OK;
}

static pea_err frame_unseal(void *self, pea_buf *wire, pea_buf *plain, size_t max, pea_buf *reply)
{
    (void)self;
    (void)reply;
    size_t appended = 0;
    while (wire->len >= 2) {
        size_t len = (size_t)get_be(wire->data, 2), total = 0;
        if (len % 2 != 0 || len > 2 * TOY_FRAME_PLAIN)
            return PEA_E_PROTO;
        if (wire->len < 2 + len)
            break;
        for (size_t i = 2; i < 2 + len; i += 2)
            total += wire->data[i];
        if (total > TOY_FRAME_PLAIN)
            return PEA_E_PROTO;
        uint8_t *out;
        pea_err err = pea_buf_reserve(plain, total, &out);
        if (err != PEA_OK)
            return err;
        for (size_t i = 2; i < 2 + len; i += 2) {
            memset(out, wire->data[i + 1], wire->data[i]);
            out += wire->data[i];
        }
        pea_buf_commit(plain, total);
        pea_buf_consume(wire, 2 + len);
        appended += total;
        if (appended >= max)
            return PEA_AGAIN;
    }
    return PEA_OK;
}

static const pea_transform_ops frame_ops = {
    .version = PEA_TRANSFORM_VERSION,
    .name = "toy_frame",
    .unseal = frame_unseal,
    .seal = frame_seal,
    .destroy = free,
};

pea_err toy_frame_new(pea_transform *transform)
{
    void *self = malloc(1); /* so that a missing destroy() is a leak, and a second one an error */
    if (self == NULL)
        return PEA_E_NOMEM;
    *transform = (pea_transform){
        .ops = &frame_ops, .self = self, .record_plain = TOY_FRAME_PLAIN, .overhead = TOY_FRAME_OVERHEAD};
    return PEA_OK;
}
