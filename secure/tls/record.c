/* SPDX-License-Identifier: MIT */
/* What a TLS handshake leaves behind: the transform of a connection. mbedTLS seals and opens the records; here they
 * are handed over whole, and several of them fill a write. */
#include <string.h>

#include "session_priv.h"

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
    pea_err whole = held > 0 ? PEA_OK : pea__tls_look(s->in, true);
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
    uint64_t blocks = s->secrets.aead == PEA__CHACHAPOLY ? 0 : total / PEA__GCM_BLOCK_BYTES + 2 * records;
    if (s->blocks + blocks > PEA__GCM_BLOCKS + PEA__GCM_BLOCKS_QUEUED)
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
    if (err != PEA_OK) {
        wire->len = had < wire->len ? had : wire->len;
        return err;
    }
    s->blocks += blocks;
    return s->blocks < PEA__GCM_BLOCKS ? PEA_OK : PEA_EOF;
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

pea_err pea__tls_answer(const char *text, void *out, size_t *len)
{
    size_t text_len = text != NULL ? strlen(text) : 0;
    if (text_len == 0)
        return PEA_E_UNSUPPORTED;
    if (text_len > *len)
        return PEA_E_TOO_BIG;
    memcpy(out, text, text_len);
    *len = text_len;
    return PEA_OK;
}

static pea_err tls_query(void *self, pea_query what, pea_span in, void *out, size_t *len)
{
    pea__tls_session *s = self;
    switch (what) {
    case PEA_QUERY_BINDING:
        return pea__tls_binding(&s->secrets, out, len);
    case PEA_QUERY_EXPORT:
        return pea__tls_export(&s->secrets, in, out, *len);
    case PEA_QUERY_CIPHER:
        return pea__tls_answer(mbedtls_ssl_get_ciphersuite(&s->ssl), out, len);
    case PEA_QUERY_ALPN:
        return pea__tls_answer(mbedtls_ssl_get_alpn_protocol(&s->ssl), out, len);
    case PEA_QUERY_FAILURE:
        return pea__tls_answer(s->sentence, out, len);
    }
    return PEA_E_UNSUPPORTED;
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

void pea__tls_fill_writes(pea_transform *transform, size_t payload, size_t expansion, size_t room)
{
    /* For the core one record is as many of TLS's as fill a write. */
    size_t records = room / (payload + expansion), rest = room - records * (payload + expansion);
    size_t plain = records * payload + (rest > expansion ? rest - expansion : 0);
    transform->record_plain = (uint32_t)plain;
    transform->overhead = (uint32_t)(PEA_WRITE_MAX - plain);
}

void pea__tls_yield(pea__tls_session *session, pea_transform *transform)
{
    pea__tls_session *s = session;
    *transform = (pea_transform){.ops = &tls_ops, .self = s};
    if (s->own != NULL) {
        pea__tls_own_yield(s->own, transform);
        s->own = NULL;
        pea__tls_session_destroy(s);
        return;
    }
    int most = mbedtls_ssl_get_max_out_record_payload(&s->ssl), extra = mbedtls_ssl_get_record_expansion(&s->ssl);
    s->yielded = true;
    s->name = NULL;
    pea__certificate_names_free(&s->peer.names); /* whoever had to know them was told */
    s->peer.vouched = false;
    /* mbedTLS gives no number only where it was broken. */
    pea__tls_fill_writes(transform, most > 0 ? (size_t)most : 1, extra > 0 ? (size_t)extra : 0, PEA_WRITE_MAX);
}
