/* SPDX-License-Identifier: MIT */
/* TLS's alerts: what they are called, and how one is said so that the other side can read it. Which one, and when,
 * is for others to decide. */
#include <stdio.h>
#include <string.h>

#include "session_priv.h"

void pea__tls_alert_text(char *text, size_t size, int alert)
{
    static const struct {
        int alert;
        const char *name;
    } names[] = {
        {0, "close_notify"},
        {10, "unexpected_message"},
        {20, "bad_record_mac"},
        {21, "decryption_failed"},
        {22, "record_overflow"},
        {30, "decompression_failure"},
        {40, "handshake_failure"},
        {41, "no_certificate"},
        {42, "bad_certificate"},
        {43, "unsupported_certificate"},
        {44, "certificate_revoked"},
        {45, "certificate_expired"},
        {46, "certificate_unknown"},
        {47, "illegal_parameter"},
        {48, "unknown_ca"},
        {49, "access_denied"},
        {50, "decode_error"},
        {51, "decrypt_error"},
        {60, "export_restriction"},
        {70, "protocol_version"},
        {71, "insufficient_security"},
        {80, "internal_error"},
        {86, "inappropriate_fallback"},
        {90, "user_canceled"},
        {100, "no_renegotiation"},
        {109, "missing_extension"},
        {110, "unsupported_extension"},
        {111, "certificate_unobtainable"},
        {112, "unrecognized_name"},
        {113, "bad_certificate_status_response"},
        {115, "unknown_psk_identity"},
        {116, "certificate_required"},
        {120, "no_application_protocol"},
    };
    const char *name = "unknown";
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].alert == alert)
            name = names[i].name;
    (void)snprintf(text, size, "the peer's alert: %s (%d)", name, alert);
}

#if PEA__TLS13

/* Sets the keys that the next record is sealed with; no other was before. */
static void seal_with(mbedtls_ssl_context *ssl, mbedtls_ssl_transform *keys)
{
    ssl->MBEDTLS_PRIVATE(transform_out) = keys;
    memset(ssl->MBEDTLS_PRIVATE(cur_out_ctr), 0, sizeof ssl->MBEDTLS_PRIVATE(cur_out_ctr));
}

/* mbedTLS changes its sending keys when it needs them for the next message of the handshake, which is too late for
 * an alert: a client's goes out in the clear until its certificate does, and a server's, after its Finished, is
 * sealed with keys that the client has put away (RFC 8446, section 7.1 wants those of the application). Neither can
 * be read by whoever keeps to the rules. So the right ones are put in place whenever nothing but an alert can be
 * said. True: take them back by pea__tls_alert_keys_off(). */
bool pea__tls_alert_keys_on(pea__tls_session *s)
{
    mbedtls_ssl_context *ssl = &s->ssl;
    int state = ssl->MBEDTLS_PRIVATE(state);
    mbedtls_ssl_transform *in = ssl->MBEDTLS_PRIVATE(transform_in),
                          *application = ssl->MBEDTLS_PRIVATE(transform_application);
    if (mbedtls_ssl_get_version_number(ssl) != MBEDTLS_SSL_VERSION_TLS1_3)
        return false;
    if (s->side == PEA_RESPONDER) {
        bool listens = state == MBEDTLS_SSL_CLIENT_CERTIFICATE || state == MBEDTLS_SSL_CLIENT_CERTIFICATE_VERIFY ||
                       state == MBEDTLS_SSL_CLIENT_FINISHED;
        if (listens && application != NULL && ssl->MBEDTLS_PRIVATE(transform_out) != application)
            seal_with(ssl, application); /* to stay: what follows the handshake begins with them as well */
        return false;
    }
    if (ssl->MBEDTLS_PRIVATE(transform_out) != NULL || in == NULL)
        return false;
    seal_with(ssl, in); /* one object has the keys of both directions */
    return true;
}

void pea__tls_alert_keys_off(pea__tls_session *s)
{
    s->ssl.MBEDTLS_PRIVATE(transform_out) = NULL;
}

#else

bool pea__tls_alert_keys_on(pea__tls_session *s)
{
    (void)s;
    return false;
}

void pea__tls_alert_keys_off(pea__tls_session *s)
{
    (void)s;
}

#endif

void pea__tls_say_alert(pea__tls_session *s, unsigned char alert)
{
    bool lent = !s->over && pea__tls_alert_keys_on(s);
    (void)mbedtls_ssl_send_alert_message(&s->ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL, alert);
    if (lent)
        pea__tls_alert_keys_off(s);
}
