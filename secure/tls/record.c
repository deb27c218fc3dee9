/* SPDX-License-Identifier: MIT */
/* What a TLS handshake leaves behind: the transform of a connection. mbedTLS seals and opens the records; here they
 * are handed over whole, and several of them fill a write. */
#include <sodium.h>
#include <string.h>

#include "session_priv.h"

#define BLOCK 16u /* bytes: what the limits on a key of AES-GCM count */

/* mbedTLS changes no key after the handshake. RFC 8446, section 5.5 allows AES-GCM 2^24.5 records of 2^14 bytes:
 * what is left of that is a margin. */
#define GCM_BLOCKS ((uint64_t)1 << 34)

/* Rooms for the exporter of RFC 5705: labels in use have 30 bytes, contexts are hashes or nonces. */
#define LABEL_MAX 249u
#define BINDING_BYTES 32u /* RFC 9266 */

/* ---- Wire to plain ---- */

/* What ended it, for good. */
static pea_err ended(pea__tls_session *s, int answer)
{
    if (answer == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY) {
        s->heard_end = true;
        return PEA_EOF;
    }
    return pea__tls_failed(s, answer);
}

/* One read of mbedTLS, of a record or of what it holds of one. PEA_OK: go on | PEA_MORE | PEA_EOF | < 0 */
static pea_err read_some(pea__tls_session *s, pea_buf *plain)
{
    size_t held = mbedtls_ssl_get_bytes_avail(&s->ssl);
    pea_err whole = held > 0 ? PEA_OK : pea__tls_look(s);
    if (whole < 0)
        (void)mbedtls_ssl_send_alert_message(&s->ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL,
                                             MBEDTLS_SSL_ALERT_MSG_UNEXPECTED_MESSAGE);
    if (whole != PEA_OK)
        return whole;
    /* A record's content is never longer than what carries it. */
    size_t room = held > 0 ? held : (size_t)s->in->data[3] << 8 | s->in->data[4];
    uint8_t nothing[1], *tail = nothing;
    if (room > 0 && pea_buf_reserve(plain, room, &tail) != PEA_OK)
        return PEA_E_NOMEM;
    int answer = mbedtls_ssl_read(&s->ssl, tail, room);
    if (answer > 0) {
        pea_buf_commit(plain, (size_t)answer);
        return PEA_OK;
    }
    if (plain->len == 0)
        pea_buf_free(plain); /* an empty record must not make an empty buffer take memory */
    if (answer == 0 || answer == MBEDTLS_ERR_SSL_WANT_READ)
        return PEA_OK; /* an empty record, a warning, a message that is ignored: look again */
#if PEA__TLS13
    if (answer == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET)
        return PEA_OK; /* nothing is resumed */
#endif
    return ended(s, answer);
}

static pea_err tls_unseal(void *self, pea_buf *wire, pea_buf *plain, size_t max, pea_buf *reply)
{
    pea__tls_session *s = self;
    size_t before = plain->len;
    pea_err err = PEA_OK;
    s->in = wire;
    s->out = reply;
    while (err == PEA_OK && plain->len - before < max)
        err = read_some(s, plain);
    s->in = s->out = NULL;
    return err == PEA_OK ? PEA_AGAIN : err == PEA_MORE ? PEA_OK : err;
}

/* ---- Plain to wire ---- */

static pea_err tls_seal(void *self, const pea_span *spans, size_t n, pea_buf *wire)
{
    pea__tls_session *s = self;
    size_t total, had = wire->len;
    if (!pea__spans_total(spans, n, &total))
        return PEA_E_TOO_BIG;
    int most = mbedtls_ssl_get_max_out_record_payload(&s->ssl), extra = mbedtls_ssl_get_record_expansion(&s->ssl);
    if (total == 0)
        return PEA_OK;
    if (most <= 0 || extra < 0)
        return PEA_E_CRYPTO;
    size_t records = (total + (size_t)most - 1) / (size_t)most;
    uint64_t blocks = total / BLOCK + 2 * records;
    if (blocks > s->blocks_max - s->blocks)
        return PEA_E_KEY_LIMIT;
    uint8_t *tail; /* what is not in one place is gathered there, before mbedTLS takes it and puts the record there */
    pea_err err = pea_buf_reserve(wire, total + records * (size_t)extra, &tail);
    pea__gather from = {spans, 0};
    s->out = wire;
    for (size_t left = total; err == PEA_OK && left > 0;) {
        size_t len = left < (size_t)most ? left : (size_t)most;
        int answer = mbedtls_ssl_write(&s->ssl, pea__gather_take(&from, len, wire->data + wire->len), len);
        if (answer != (int)len)
            err = answer < 0 ? pea__tls_failed(s, answer) : PEA_E_CRYPTO;
        left -= len;
    }
    s->out = NULL;
    if (err != PEA_OK)
        wire->len = had < wire->len ? had : wire->len;
    else
        s->blocks += blocks;
    return err;
}

/* ---- The end, and queries ---- */

static pea_err tls_control(void *self, pea_control what, pea_buf *wire)
{
    pea__tls_session *s = self;
    if (what != PEA_CONTROL_END)
        return PEA_E_UNSUPPORTED; /* mbedTLS has no key update */
    if (s->said_end)
        return PEA_OK;
    s->said_end = true;
    s->out = wire;
    int answer = mbedtls_ssl_close_notify(&s->ssl);
    s->out = NULL;
    return answer == 0 ? PEA_OK : pea__tls_failed(s, answer);
}

static pea_err tls_wire_end(void *self)
{
    const pea__tls_session *s = self;
    return s->heard_end ? PEA_EOF : PEA_E_TRUNCATED;
}

static pea_err copy_out(const void *data, size_t data_len, void *out, size_t *len)
{
    if (data_len > *len)
        return PEA_E_TOO_BIG;
    if (data_len > 0)
        memcpy(out, data, data_len);
    *len = data_len;
    return PEA_OK;
}

/* The exporter of TLS (RFC 5705; RFC 8446, section 7.5). */
static pea_err export(pea__tls_session *s, pea_span label, const pea_span *context, void *out, size_t len)
{
    char text[LABEL_MAX + 1];
    if (label.len > LABEL_MAX || (context != NULL && context->len > UINT16_MAX))
        return PEA_E_TOO_BIG;
    if (label.len > 0)
        memcpy(text, label.data, label.len);
    text[label.len] = '\0';
#if PEA__MBEDTLS_2
    pea_buf seed = {0};
    pea_err err = pea_buf_append(&seed, s->randoms, sizeof s->randoms);
    if (err == PEA_OK && context != NULL) {
        const uint8_t size[] = {(uint8_t)(context->len >> 8), (uint8_t)context->len};
        err = pea_buf_append(&seed, size, sizeof size);
        if (err == PEA_OK)
            err = pea_buf_append(&seed, context->data, context->len);
    }
    if (err == PEA_OK &&
        mbedtls_ssl_tls_prf(s->prf, s->master, sizeof s->master, text, seed.data, seed.len, out, len) != 0)
        err = PEA_E_UNSUPPORTED;
    pea_buf_free(&seed);
    return err;
#elif defined(MBEDTLS_SSL_KEYING_MATERIAL_EXPORT)
    int answer =
        mbedtls_ssl_export_keying_material(&s->ssl, out, len, text, label.len, context != NULL ? context->data : NULL,
                                           context != NULL ? context->len : 0, context != NULL);
    return answer == 0 ? PEA_OK : len > MBEDTLS_SSL_EXPORT_MAX_KEY_LEN ? PEA_E_TOO_BIG : PEA_E_UNSUPPORTED;
#else
    (void)s, (void)out, (void)len;
    return PEA_E_UNSUPPORTED;
#endif
}

/* A label, then a zero byte and a context if needed. */
static pea_err export_query(pea__tls_session *s, pea_span in, void *out, size_t len)
{
    const uint8_t *zero = in.len > 0 ? memchr(in.data, '\0', in.len) : NULL;
    if (zero == NULL)
        return export(s, in, NULL, out, len);
    size_t label = (size_t)(zero - in.data);
    const pea_span context = {zero + 1, in.len - label - 1};
    return export(s, (pea_span){in.data, label}, &context, out, len);
}

/* tls-exporter of RFC 9266. Without the extended master secret two connections could be made to have the same. */
static pea_err binding(pea__tls_session *s, void *out, size_t *len)
{
    static const uint8_t label[] = "EXPORTER-Channel-Binding";
    const pea_span empty = {label, 0};
    bool unique = s->extended;
#if PEA__TLS13
    unique = unique || mbedtls_ssl_get_version_number(&s->ssl) == MBEDTLS_SSL_VERSION_TLS1_3;
#endif
    if (!unique)
        return PEA_E_UNSUPPORTED;
    if (*len < BINDING_BYTES)
        return PEA_E_TOO_BIG;
    *len = BINDING_BYTES;
    return export(s, (pea_span){label, sizeof label - 1}, &empty, out, BINDING_BYTES);
}

static pea_err tls_query(void *self, pea_query what, pea_span in, void *out, size_t *len)
{
    pea__tls_session *s = self;
    const char *text = NULL;
    switch (what) {
    case PEA_QUERY_BINDING:
        return binding(s, out, len);
    case PEA_QUERY_EXPORT:
        return export_query(s, in, out, *len);
    case PEA_QUERY_CIPHER:
        text = mbedtls_ssl_get_ciphersuite(&s->ssl);
        break;
    case PEA_QUERY_ALPN:
        text = mbedtls_ssl_get_alpn_protocol(&s->ssl);
        break;
    case PEA_QUERY_FAILURE:
        text = s->sentence[0] != '\0' ? s->sentence : NULL;
        break;
    }
    return text != NULL ? copy_out(text, strlen(text), out, len) : PEA_E_UNSUPPORTED;
}

static void tls_destroy(void *self)
{
    pea__tls_session_destroy(self);
}

static const pea_transform_ops tls_ops = {
    .version = PEA_TRANSFORM_VERSION,
    .name = "tls",
    .unseal = tls_unseal,
    .seal = tls_seal,
    .control = tls_control,
    .wire_end = tls_wire_end,
    .query = tls_query,
    .destroy = tls_destroy,
};

void pea__tls_yield(pea__tls_session *session, pea_transform *transform)
{
    pea__tls_session *s = session;
    int most = mbedtls_ssl_get_max_out_record_payload(&s->ssl), extra = mbedtls_ssl_get_record_expansion(&s->ssl);
    s->yielded = true;
    s->name = NULL;
    pea__certificate_names_free(&s->peer.names); /* whoever had to know them was told */
    s->peer.vouched = false;
    const char *suite = mbedtls_ssl_get_ciphersuite(&s->ssl);
    s->blocks_max = suite != NULL && strstr(suite, "GCM") != NULL ? GCM_BLOCKS : UINT64_MAX;
    /* For the core one record is as many of TLS's as fill a write. mbedTLS gives no number only where it was broken. */
    size_t payload = most > 0 ? (size_t)most : 1, expansion = extra > 0 ? (size_t)extra : 0;
    size_t records = PEA_WRITE_MAX / (payload + expansion), rest = PEA_WRITE_MAX - records * (payload + expansion);
    size_t plain = records * payload + (rest > expansion ? rest - expansion : 0);
    *transform = (pea_transform){
        .ops = &tls_ops,
        .self = s,
        .record_plain = (uint32_t)plain,
        .overhead = (uint32_t)(PEA_WRITE_MAX - plain),
    };
}
