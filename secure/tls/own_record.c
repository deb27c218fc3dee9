/* SPDX-License-Identifier: MIT */
/* Records without mbedTLS: once its handshake is over, its keys are taken and it is freed. What it did from there on is
 * done here, by RFC 5246 (with 5288 and 7905) and RFC 8446: sealing and opening, alerts, the close_notify that makes an
 * end authentic, and of the handshake's messages those that may still come: tickets, which nobody asked for, key
 * updates, and TLS 1.2's wish to begin anew, which is declined. */
#include <sodium.h>
#include <string.h>

#include "session_priv.h"

#define CONTENT_MAX 16384u          /* bytes of a record's plaintext */
#define EXPLICIT_NONCE_BYTES 8u     /* of TLS 1.2 with GCM: a part of the record */
#define KEY_UPDATE_RECORD_BYTES 27u /* header, five bytes of message, type, tag */
#define TICKET_MAX 131072u          /* a NewSessionTicket has two vectors of 2^16 bytes at most, and is skipped */
#define IDLE_MAX 128u               /* records in a row without data: who says so many wants our time */

enum { CHANGE_CIPHER_SPEC = 20, ALERT = 21, HANDSHAKE = 22, APPLICATION_DATA = 23 };
enum { HELLO_REQUEST = 0, CLIENT_HELLO = 1, NEW_SESSION_TICKET = 4, KEY_UPDATE = 24 };
enum { WARNING = 1, FATAL = 2 };

static bool is_13(const pea__tls_own *o)
{
    return o->secrets.version == PEA_TLS_1_3;
}

/* Bytes before the ciphertext and behind the header. */
static size_t explicit_nonce(const pea__tls_own *o)
{
    return is_13(o) || o->secrets.aead == PEA__CHACHAPOLY ? 0 : EXPLICIT_NONCE_BYTES;
}

static size_t expansion(const pea__tls_own *o)
{
    return PEA__TLS_HEADER_BYTES + explicit_nonce(o) + (is_13(o) ? 1 : 0) + PEA__AEAD_TAG_BYTES;
}

static void put_u64(uint8_t *at, uint64_t n)
{
    for (unsigned i = 0; i < 8; i++)
        at[i] = (uint8_t)(n >> (56 - 8 * i));
}

/* The record's number, exclusive-or the secret part. With TLS 1.2's GCM the latter ends in eight zeros, and the number
 * is what goes with the record. */
static void make_nonce(const pea__tls_keys *keys, uint8_t nonce[PEA__AEAD_NONCE_BYTES])
{
    uint8_t number[8];
    put_u64(number, keys->number);
    memcpy(nonce, keys->iv, PEA__AEAD_NONCE_BYTES);
    for (unsigned i = 0; i < 8; i++)
        nonce[4 + i] ^= number[i];
}

/* What a record says of itself, and is authentic like its content: in TLS 1.3 its header, before it number, type and
 * the length of the plaintext. */
static pea_span associated_data(const pea__tls_own *o, const pea__tls_keys *keys, const uint8_t *header,
                                size_t plain_len, uint8_t room[13])
{
    if (is_13(o))
        return (pea_span){header, PEA__TLS_HEADER_BYTES};
    put_u64(room, keys->number);
    memcpy(room + 8, header, 3);
    room[11] = (uint8_t)(plain_len >> 8);
    room[12] = (uint8_t)plain_len;
    return (pea_span){room, 13};
}

/* ---- Plain to wire ---- */

/* One record of `len` bytes at `out`, where expansion() more have room. */
static pea_err seal_record(pea__tls_own *o, uint8_t type, const uint8_t *data, size_t len, uint8_t *out)
{
    pea__tls_keys *keys = &o->send;
    uint8_t nonce[PEA__AEAD_NONCE_BYTES], ad[13], *body = out + PEA__TLS_HEADER_BYTES;
    size_t body_len = expansion(o) - PEA__TLS_HEADER_BYTES + len;
    if (keys->number == UINT64_MAX)
        return PEA_E_KEY_LIMIT;
    out[0] = is_13(o) ? APPLICATION_DATA : type;
    out[1] = out[2] = 3;
    out[3] = (uint8_t)(body_len >> 8);
    out[4] = (uint8_t)body_len;
    make_nonce(keys, nonce);
    if (explicit_nonce(o) > 0)
        put_u64(body, keys->number);
    body += explicit_nonce(o);
    const pea_span about = associated_data(o, keys, out, len, ad);
    if (is_13(o)) { /* the true type is hidden behind the content */
        if (data != body && len > 0)
            memcpy(body, data, len);
        body[len++] = type;
        data = body;
    }
    pea_err err = pea__aead_seal(o->secrets.aead, keys->k, NULL, nonce, about, true, data, len, body);
    if (err == PEA_OK) {
        keys->number++;
        keys->blocks += len / PEA__GCM_BLOCK_BYTES + 2;
    }
    return err;
}

/* A short record. */
pea_err pea__tls_own_say(pea__tls_own *o, uint8_t type, const uint8_t *data, size_t len, pea_buf *wire)
{
    uint8_t *out;
    pea_err err = pea_buf_reserve(wire, len + expansion(o), &out);
    if (err == PEA_OK)
        err = seal_record(o, type, data, len, out);
    if (err == PEA_OK)
        pea_buf_commit(wire, len + expansion(o));
    return err;
}

static pea_err say_alert(pea__tls_own *o, uint8_t level, uint8_t alert, pea_buf *wire)
{
    const uint8_t said[] = {level, alert};
    return pea__tls_own_say(o, ALERT, said, sizeof said, wire);
}

/* Tells the peer that our key changes, and changes it. */
static pea_err update_send(pea__tls_own *o, pea_buf *wire)
{
    static const uint8_t update[] = {KEY_UPDATE, 0, 0, 1, 0}; /* we ask for none in return */
    size_t had = wire->len;
    pea_err err = pea__tls_own_say(o, HANDSHAKE, update, sizeof update, wire);
    if (err == PEA_OK)
        err = pea__tls_update_keys(&o->send, o->secrets.aead, o->secrets.md);
    if (err == PEA_OK)
        o->update_owed = false;
    else
        wire->len = had;
    return err;
}

static bool limited(const pea__tls_own *o)
{
    return o->secrets.aead != PEA__CHACHAPOLY;
}

/* Changes the key if it is due before so many bytes. TLS 1.2 cannot, and ends when what is queued has been sealed. */
static pea_err fresh_key(pea__tls_own *o, size_t total, size_t records, pea_buf *wire)
{
    uint64_t blocks = o->send.blocks + total / PEA__GCM_BLOCK_BYTES + 2 * records;
    uint64_t most = PEA__GCM_BLOCKS + (is_13(o) ? 0 : PEA__GCM_BLOCKS_QUEUED);
    bool due = limited(o) && blocks > most;
    if (!due && !o->update_owed)
        return PEA_OK;
    return is_13(o) ? update_send(o, wire) : PEA_E_KEY_LIMIT;
}

static pea_err own_seal(void *self, const pea_span *spans, size_t n, pea_buf *wire)
{
    pea__tls_own *o = self;
    size_t total, had = wire->len;
    if (!pea__spans_total(spans, n, &total))
        return PEA_E_TOO_BIG;
    if (total == 0)
        return PEA_OK;
    size_t most = o->content_max, records = (total + most - 1) / most;
    uint8_t *out;
    pea_err err = pea_buf_reserve(wire, KEY_UPDATE_RECORD_BYTES + total + records * expansion(o), &out);
    if (err == PEA_OK)
        err = fresh_key(o, total, records, wire);
    pea__gather from = {spans, 0};
    for (size_t left = total; err == PEA_OK && left > 0;) {
        size_t len = left < most ? left : most;
        out = wire->data + wire->len; /* reserved */
        const uint8_t *data = pea__gather_take(&from, len, out + PEA__TLS_HEADER_BYTES + explicit_nonce(o));
        err = seal_record(o, APPLICATION_DATA, data, len, out);
        if (err == PEA_OK)
            pea_buf_commit(wire, len + expansion(o));
        left -= len;
    }
    if (err != PEA_OK) {
        wire->len = had;
        return err;
    }
    return is_13(o) || !limited(o) || o->send.blocks < PEA__GCM_BLOCKS ? PEA_OK : PEA_EOF;
}

/* ---- Wire to plain ---- */

/* Ends it with an alert of ours. */
static pea_err fail(pea__tls_own *o, uint8_t alert, pea_err err, const char *sentence, pea_buf *reply)
{
    o->failure = sentence;
    pea_err said = say_alert(o, FATAL, alert, reply);
    (void)said; /* the failure is what counts */
    return err;
}

static pea_err unexpected(pea__tls_own *o, const char *sentence, pea_buf *reply)
{
    return fail(o, MBEDTLS_SSL_ALERT_MSG_UNEXPECTED_MESSAGE, PEA_E_PROTO, sentence, reply);
}

static pea_err too_long(pea__tls_own *o, pea_buf *reply)
{
    return fail(o, MBEDTLS_SSL_ALERT_MSG_RECORD_OVERFLOW, PEA_E_PROTO, "a record is too long", reply);
}

static pea_err take_alert(pea__tls_own *o, const uint8_t *content, size_t len, pea_buf *reply)
{
    if (len != 2)
        return fail(o, MBEDTLS_SSL_ALERT_MSG_DECODE_ERROR, PEA_E_PROTO, "an alert that is none", reply);
    if (content[1] == MBEDTLS_SSL_ALERT_MSG_CLOSE_NOTIFY) {
        o->heard_end = true;
        return PEA_EOF;
    }
    /* TLS 1.3 knows two that are not fatal, whatever their level says. */
    bool fatal = is_13(o) ? content[1] != MBEDTLS_SSL_ALERT_MSG_USER_CANCELED : content[0] != WARNING;
    if (!fatal)
        return PEA_OK;
    o->alert = content[1];
    return PEA_E_REJECTED;
}

/* A message's header is whole. */
static pea_err begin_message(pea__tls_own *o, pea_buf *reply)
{
    uint8_t type = o->head[0];
    o->left = (uint32_t)o->head[1] << 16 | (uint32_t)o->head[2] << 8 | o->head[3];
    if (is_13(o)) {
        bool ticket = type == NEW_SESSION_TICKET && o->side == PEA_INITIATOR && o->left <= TICKET_MAX;
        bool update = type == KEY_UPDATE && o->left == 1;
        return ticket || update ? PEA_OK : unexpected(o, "a message of the handshake that has no place here", reply);
    }
    bool anew = o->side == PEA_INITIATOR ? type == HELLO_REQUEST && o->left == 0
                                         : type == CLIENT_HELLO && o->left <= CONTENT_MAX;
    if (!anew)
        return unexpected(o, "a message of the handshake that has no place here", reply);
    if (o->declined)
        return PEA_OK;
    o->declined = true;
    return say_alert(o, WARNING, MBEDTLS_SSL_ALERT_MSG_NO_RENEGOTIATION, reply);
}

/* The peer's key changes with the next record; `last`: nothing of this one is left. Ours follows before we say more: at
 * once it need not, and then many demands cost no more than one (RFC 8446, section 4.6.3). */
static pea_err take_update(pea__tls_own *o, uint8_t request, bool last, pea_buf *reply)
{
    if (request > 1)
        return fail(o, MBEDTLS_SSL_ALERT_MSG_ILLEGAL_PARAMETER, PEA_E_PROTO, "a key update that is none", reply);
    if (!last)
        return unexpected(o, "a key update with more behind it in its record", reply);
    o->update_owed |= request == 1;
    return pea__tls_update_keys(&o->receive, o->secrets.aead, o->secrets.md);
}

/* Messages of the handshake, in any pieces. */
static pea_err take_messages(pea__tls_own *o, const uint8_t *content, size_t len, pea_buf *reply)
{
    if (len == 0)
        return unexpected(o, "an empty piece of a message of the handshake", reply);
    while (len > 0) {
        if (o->head_len < sizeof o->head) {
            o->head[o->head_len++] = *content++;
            len--;
            pea_err err = o->head_len == sizeof o->head ? begin_message(o, reply) : PEA_OK;
            if (err != PEA_OK)
                return err;
        } else {
            size_t part = len < o->left ? len : o->left;
            pea_err err =
                is_13(o) && o->head[0] == KEY_UPDATE ? take_update(o, content[0], part == len, reply) : PEA_OK;
            if (err != PEA_OK)
                return err;
            o->left -= (uint32_t)part;
            content += part;
            len -= part;
        }
        if (o->head_len == sizeof o->head && o->left == 0)
            o->head_len = 0;
    }
    return PEA_OK;
}

/* What a record carried, at the tail of `plain`. */
static pea_err take_content(pea__tls_own *o, uint8_t type, const uint8_t *content, size_t len, pea_buf *plain,
                            pea_buf *reply)
{
    o->idle = type == APPLICATION_DATA && len > 0 ? 0 : (uint16_t)(o->idle + 1);
    if (o->idle > IDLE_MAX)
        return unexpected(o, "too many records in a row that carry no data", reply);
    if (type == HANDSHAKE)
        return take_messages(o, content, len, reply);
    if (o->head_len > 0)
        return unexpected(o, "a message of the handshake is interrupted", reply);
    if (type == APPLICATION_DATA) {
        pea_buf_commit(plain, len);
        return PEA_OK;
    }
    return type == ALERT ? take_alert(o, content, len, reply) : unexpected(o, "a type of record unknown here", reply);
}

/* A whole record's body; opens it to `out`, which has room for it. `*len` becomes the plaintext's. PEA_OK |
 * PEA_E_CRYPTO | PEA_E_KEY_LIMIT */
static pea_err open_record(pea__tls_own *o, const uint8_t *header, const uint8_t *body, size_t *len, uint8_t *out)
{
    pea__tls_keys *keys = &o->receive;
    uint8_t nonce[PEA__AEAD_NONCE_BYTES], ad[13];
    size_t before = explicit_nonce(o);
    if (keys->number == UINT64_MAX)
        return PEA_E_KEY_LIMIT;
    if (*len < before + PEA__AEAD_TAG_BYTES)
        return PEA_E_CRYPTO;
    make_nonce(keys, nonce);
    if (before > 0)
        memcpy(nonce + PEA__AEAD_NONCE_BYTES - before, body, before);
    size_t sealed = *len - before;
    *len = sealed - PEA__AEAD_TAG_BYTES;
    const pea_span about = associated_data(o, keys, header, *len, ad);
    pea_err err = pea__aead_open(o->secrets.aead, keys->k, NULL, nonce, about, true, body + before, sealed, out);
    if (err == PEA_OK)
        keys->number++;
    return err;
}

/* In TLS 1.3 the true type stands behind the content, and behind it any number of zeros. 0: there is none. */
static uint8_t true_type(const uint8_t *content, size_t *len)
{
    while (*len > 0 && content[*len - 1] == 0)
        --*len;
    return *len > 0 ? content[--*len] : 0;
}

static pea_err unseal_record(pea__tls_own *o, pea_buf *wire, pea_buf *plain, pea_buf *reply)
{
    const uint8_t *header = wire->data;
    size_t len = (size_t)header[3] << 8 | header[4], record = PEA__TLS_HEADER_BYTES + len;
    uint8_t type = header[0], nothing[1], *tail = nothing;
    if (is_13(o) && type != APPLICATION_DATA)
        return unexpected(o, "a record is not sealed", reply);
    if (is_13(o) && len > CONTENT_MAX + 256)
        return too_long(o, reply);
    if (len > 0 && pea_buf_reserve(plain, len, &tail) != PEA_OK)
        return PEA_E_NOMEM;
    pea_err err = open_record(o, header, header + PEA__TLS_HEADER_BYTES, &len, tail);
    if (err == PEA_OK) {
        bool fits = len <= CONTENT_MAX + (is_13(o) ? 1 : 0); /* the type and all zeros behind it count */
        if (is_13(o))
            type = true_type(tail, &len);
        err = !fits ? too_long(o, reply) : take_content(o, type, tail, len, plain, reply);
        pea_buf_consume(wire, record);
    } else if (err == PEA_E_CRYPTO) {
        err = fail(o, MBEDTLS_SSL_ALERT_MSG_BAD_RECORD_MAC, PEA_E_CRYPTO, pea__tls_not_authentic, reply);
    }
    if (plain->len == 0)
        pea_buf_free(plain); /* what carries no data must not make an empty buffer take memory */
    return err;
}

/* A header as they are, whatever its length. */
static bool is_header(const uint8_t *header)
{
    return header[0] >= CHANGE_CIPHER_SPEC && header[0] <= APPLICATION_DATA && header[1] == 3 && header[2] == 3;
}

static pea_err own_unseal(void *self, pea_buf *wire, pea_buf *plain, size_t max, pea_buf *reply)
{
    pea__tls_own *o = self;
    size_t before = plain->len;
    while (plain->len - before < max) {
        pea_err err = pea__tls_look(wire, true);
        if (err == PEA_MORE)
            return PEA_OK;
        if (err == PEA_OK)
            err = unseal_record(o, wire, plain, reply);
        else if (wire->len >= PEA__TLS_HEADER_BYTES && is_header(wire->data))
            err = too_long(o, reply);
        else
            err = unexpected(o, "what the peer says is no record of TLS", reply);
        if (err != PEA_OK)
            return err;
    }
    return PEA_AGAIN;
}

/* ---- The end, and queries ---- */

static pea_err own_control(void *self, pea_control what, pea_buf *wire)
{
    pea__tls_own *o = self;
    if (what == PEA_CONTROL_REKEY && !is_13(o))
        return PEA_E_UNSUPPORTED;
    if (o->said_end)
        return PEA_OK;
    if (what == PEA_CONTROL_REKEY)
        return update_send(o, wire);
    pea_err err = say_alert(o, WARNING, MBEDTLS_SSL_ALERT_MSG_CLOSE_NOTIFY, wire);
    o->said_end = err == PEA_OK;
    return err;
}

static pea_err own_wire_end(void *self)
{
    const pea__tls_own *o = self;
    return o->heard_end ? PEA_EOF : PEA_E_TRUNCATED;
}

static pea_err own_query(void *self, pea_query what, pea_span in, void *out, size_t *len)
{
    const pea__tls_own *o = self;
    char text[PEA_TEXT_MAX + 1];
    switch (what) {
    case PEA_QUERY_BINDING:
        return pea__tls_binding(&o->secrets, out, len);
    case PEA_QUERY_EXPORT:
        return pea__tls_export(&o->secrets, in, out, *len);
    case PEA_QUERY_CIPHER:
        return pea__tls_answer(o->suite, out, len);
    case PEA_QUERY_ALPN:
        return pea__tls_answer(o->alpn, out, len);
    case PEA_QUERY_FAILURE:
        if (o->alert < 0)
            return pea__tls_answer(o->failure, out, len);
        pea__tls_alert_text(text, sizeof text, o->alert);
        return pea__tls_answer(text, out, len);
    }
    return PEA_E_UNSUPPORTED;
}

static void own_destroy(void *self)
{
    pea__tls_own *o = self;
    pea__tls_unref(o->tls);
    sodium_memzero(o, sizeof *o);
    pea__free(o);
}

static const pea_transform_ops own_ops = {
    .version = PEA_TRANSFORM_VERSION,
    .name = "tls",
    .unseal = own_unseal,
    .seal = own_seal,
    .control = own_control,
    .wire_end = own_wire_end,
    .query = own_query,
    .destroy = own_destroy,
};

/* ---- Birth ---- */

static uint64_t get_u64(const unsigned char *at)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < 8; i++)
        n = n << 8 | at[i];
    return n;
}

pea_err pea__tls_own_new(pea__tls_own **own, const pea__tls_session *session)
{
    const mbedtls_ssl_context *ssl = &session->ssl;
    pea__tls_own *o = pea__alloc(sizeof *o);
    pea__tls_keys keys[2]; /* the client's, the server's */
    if (o == NULL)
        return PEA_E_NOMEM;
    pea_err err = pea__tls_first_keys(&session->secrets, keys);
    o->tls = pea__tls_ref(session->context->tls);
    o->suite = mbedtls_ssl_get_ciphersuite(ssl);
    o->alpn = mbedtls_ssl_get_alpn_protocol(ssl); /* one of `tls->alpn` */
    o->alert = -1;
    o->side = session->side;
    o->secrets = session->secrets;
    sodium_memzero(o->secrets.traffic, sizeof o->secrets.traffic);
    o->send = keys[o->side == PEA_INITIATOR ? 0 : 1];
    o->receive = keys[o->side == PEA_INITIATOR ? 1 : 0];
    sodium_memzero(keys, sizeof keys);
    o->send.number = get_u64(ssl->MBEDTLS_PRIVATE(cur_out_ctr)); /* in TLS 1.2 each Finished was the first */
    o->receive.number = get_u64(ssl->MBEDTLS_PRIVATE(in_ctr));
    int most = mbedtls_ssl_get_max_out_record_payload(ssl);
    o->content_max = most > 0 && (unsigned)most < CONTENT_MAX ? (uint16_t)most : CONTENT_MAX;
    if (err != PEA_OK) {
        own_destroy(o);
        return err;
    }
    *own = o;
    return PEA_OK;
}

void pea__tls_own_free(pea__tls_own *own)
{
    if (own != NULL)
        own_destroy(own);
}

void pea__tls_own_yield(pea__tls_own *own, pea_transform *transform)
{
    size_t reserve = is_13(own) ? KEY_UPDATE_RECORD_BYTES : 0; /* one may come before the data */
    pea__tls_fill_writes(transform, own->content_max, expansion(own), PEA_WRITE_MAX - reserve);
    transform->ops = &own_ops;
    transform->self = own;
}
