/* SPDX-License-Identifier: MIT */
/* The exporter of TLS (RFC 5705; RFC 8446, section 7.5) out of the secrets that a handshake leaves, and the channel
 * binding that is made by it. */
#include <sodium.h>
#include <string.h>

#include "session_priv.h"

/* Rooms: labels in use have 30 bytes, contexts are hashes or nonces. */
#define LABEL_MAX 249u
#define BINDING_BYTES 32u /* RFC 9266 */

static pea_err export_12(const pea__tls_secrets *s, const char *label, const pea_span *context, void *out, size_t len)
{
    pea_buf seed = {0};
    pea_err err = pea_buf_append(&seed, s->randoms, sizeof s->randoms);
    if (err == PEA_OK && context != NULL) {
        const uint8_t size[] = {(uint8_t)(context->len >> 8), (uint8_t)context->len};
        err = pea_buf_append(&seed, size, sizeof size);
        if (err == PEA_OK)
            err = pea_buf_append(&seed, context->data, context->len);
    }
    if (err == PEA_OK &&
        mbedtls_ssl_tls_prf(s->prf, s->exporter, PEA__TLS_MASTER_BYTES, label, seed.data, seed.len, out, len) != 0)
        err = PEA_E_NOMEM; /* nothing else can be wrong with it */
    pea_buf_free(&seed);
    return err;
}

static pea_err export_13(const pea__tls_secrets *s, const char *label, pea_span context, void *out, size_t len)
{
    uint8_t derived[PEA__TLS_HASH_MAX], empty[PEA__TLS_HASH_MAX], hash[PEA__TLS_HASH_MAX];
    size_t n = pea__tls_hash(s->md, (pea_span){NULL, 0}, empty);
    pea_err err = PEA_E_NOMEM; /* nothing else can be wrong with a hash */
    if (n > 0 && pea__tls_hash(s->md, context, hash) == n)
        err = pea__tls_expand_label(s->md, s->exporter, label, (pea_span){empty, n}, derived, n);
    if (err == PEA_OK)
        err = pea__tls_expand_label(s->md, derived, "exporter", (pea_span){hash, n}, out, len);
    sodium_memzero(derived, sizeof derived);
    return err;
}

static pea_err export(const pea__tls_secrets *s, pea_span label, const pea_span *context, void *out, size_t len)
{
    char text[LABEL_MAX + 1];
    if (label.len > LABEL_MAX || (context != NULL && context->len > UINT16_MAX))
        return PEA_E_TOO_BIG;
    if (label.len > 0)
        memcpy(text, label.data, label.len);
    text[label.len] = '\0';
    if (s->version == PEA_TLS_1_3)
        return export_13(s, text, context != NULL ? *context : (pea_span){NULL, 0}, out, len);
    return export_12(s, text, context, out, len);
}

/* Not of TLS 1.2: there a secret is bound to the two who made it only with the extended master secret, which a peer may
 * leave out. */
pea_err pea__tls_export(const pea__tls_secrets *secrets, pea_span in, void *out, size_t len)
{
    if (secrets->version != PEA_TLS_1_3)
        return PEA_E_UNSUPPORTED;
    const uint8_t *zero = in.len > 0 ? memchr(in.data, '\0', in.len) : NULL;
    if (zero == NULL)
        return export(secrets, in, NULL, out, len);
    size_t label = (size_t)(zero - in.data);
    const pea_span context = {zero + 1, in.len - label - 1};
    return export(secrets, (pea_span){in.data, label}, &context, out, len);
}

/* tls-exporter of RFC 9266. Without the extended master secret two connections could be made to have the same. */
pea_err pea__tls_binding(const pea__tls_secrets *secrets, void *out, size_t *len)
{
    static const uint8_t label[] = "EXPORTER-Channel-Binding";
    const pea_span empty = {label, 0};
    if (secrets->version != PEA_TLS_1_3 && !secrets->extended)
        return PEA_E_UNSUPPORTED;
    if (*len < BINDING_BYTES)
        return PEA_E_TOO_BIG;
    *len = BINDING_BYTES;
    return export(secrets, (pea_span){label, sizeof label - 1}, &empty, out, BINDING_BYTES);
}
