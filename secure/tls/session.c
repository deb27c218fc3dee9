/* SPDX-License-Identifier: MIT */
/* One side's handshake, step by step: bytes go in and out through memory, and between two steps somebody may be
 * asked about the peer. Whether its certificate is good is verify.c's business, what follows the handshake is
 * record.c's or own_record.c's. */
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include <mbedtls/error.h>

#include "session_priv.h"

#define ALERT_RECORD 21
#define HANDSHAKE_RECORD 22
#define SERVER_HELLO 2
#define EXTENDED_MASTER_SECRET 23 /* RFC 7627 */

/* ---- Sentences ---- */

const char pea__tls_not_authentic[] = "a record is not authentic: it was changed, or sealed with another key";

static pea_err fail(pea__tls_session *s, pea_err err, const char *sentence)
{
    (void)snprintf(s->sentence, sizeof s->sentence, "%s", sentence);
    return err;
}

static pea_err fail_alert(pea__tls_session *s, int alert)
{
    pea__tls_alert_text(s->sentence, sizeof s->sentence, alert);
    return PEA_E_REJECTED;
}

/* Ends it with an alert of ours. */
static pea_err fail_saying(pea__tls_session *s, unsigned char alert, pea_err err, const char *sentence)
{
    pea__tls_say_alert(s, alert);
    return fail(s, err, sentence);
}

const char *pea__tls_sentence(const pea__tls_session *session)
{
    return session->sentence;
}

/* Whether the record that mbedTLS read last is an alert of the peer's. It answers so for alerts of its own, too. */
static bool heard_alert(const pea__tls_session *s, int answer)
{
    const mbedtls_ssl_context *ssl = &s->ssl;
    return answer == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE && ssl->MBEDTLS_PRIVATE(in_msgtype) == MBEDTLS_SSL_MSG_ALERT &&
           ssl->MBEDTLS_PRIVATE(in_msg) != NULL;
}

pea_err pea__tls_failed(pea__tls_session *s, int answer)
{
    pea_error why = {.code = PEA_OK};
    if (s->broken == PEA_E_NOMEM)
        return fail(s, PEA_E_NOMEM, pea_err_text(PEA_E_NOMEM));
    if (heard_alert(s, answer))
        s->alert = s->ssl.MBEDTLS_PRIVATE(in_msg)[1];
    if (s->alert >= 0)
        return fail_alert(s, s->alert);
    pea_err err = pea__mbedtls_error(&why, answer, "TLS failed");
    if (err == PEA_E_NOMEM || answer == MBEDTLS_ERR_SSL_ALLOC_FAILED)
        return fail(s, PEA_E_NOMEM, pea_err_text(PEA_E_NOMEM));
    if (answer == MBEDTLS_ERR_SSL_INVALID_MAC)
        return fail(s, PEA_E_CRYPTO, pea__tls_not_authentic);
    return fail(s, PEA_E_PROTO, why.text);
}

/* ---- Bytes ---- */

pea_err pea__tls_look(const pea_buf *in, bool strict)
{
    if (in->len > 0 && (in->data[0] < ALERT_RECORD - 1 || in->data[0] > HANDSHAKE_RECORD + 1))
        return PEA_E_PROTO; /* not a type of record */
    /* Every TLS since 1.2 calls itself 3.3 there, but for a client's first record, and for whoever cannot speak it.
     * Nothing else protects these bytes in the handshake: what was changed on its way is to be found. */
    uint8_t least = !strict || (in->len > 0 && in->data[0] == ALERT_RECORD) ? 1 : 3;
    if ((in->len > 1 && in->data[1] != 3) || (in->len > 2 && (in->data[2] < least || in->data[2] > 3)))
        return PEA_E_PROTO;
    if (in->len < PEA__TLS_HEADER_BYTES)
        return PEA_MORE;
    size_t len = PEA__TLS_HEADER_BYTES + ((size_t)in->data[3] << 8 | in->data[4]);
    if (len > PEA__TLS_RECORD_MAX)
        return PEA_E_PROTO;
    return in->len < len ? PEA_MORE : PEA_OK;
}

/* Whether the ServerHello in this record has the extension. In TLS 1.2 alone it says so in the clear. */
static bool extends_master_secret(const uint8_t *record, size_t len)
{
    const uint8_t *p = record + PEA__TLS_HEADER_BYTES, *end = record + len;
    if (end - p < 4 + 2 + 32 + 1 || p[0] != SERVER_HELLO)
        return false;
    size_t message = 4 + ((size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3]);
    if (message < 4 + 2 + 32 + 1 || message > (size_t)(end - p))
        return false;
    end = p + message; /* what stands behind it is none of it */
    p += 4 + 2 + 32;
    size_t id = *p++;
    if ((size_t)(end - p) < id + 2 + 1 + 2)
        return false;
    p += id + 2 + 1;
    size_t left = (size_t)p[0] << 8 | p[1];
    p += 2;
    if (left > (size_t)(end - p))
        return false;
    while (left >= 4) {
        size_t type = (size_t)p[0] << 8 | p[1], n = (size_t)p[2] << 8 | p[3];
        if (type == EXTENDED_MASTER_SECRET)
            return true;
        if (n > left - 4)
            return false;
        p += 4 + n;
        left -= 4 + n;
    }
    return false;
}

/* A record goes by, in the handshake. */
static void notice(pea__tls_session *s, const uint8_t *record, size_t len, bool theirs)
{
    if (theirs == (s->side == PEA_INITIATOR) && !s->hello_seen && record[0] == HANDSHAKE_RECORD) {
        s->hello_seen = true;
        s->secrets.extended = extends_master_secret(record, len);
    }
    /* A TLS 1.3 client of mbedTLS says its alerts in the clear until its own certificate is out. The other side
     * takes such a record for a broken one. Anybody can make one up, but then he could cut the connection as well. */
    if (theirs && record[0] == ALERT_RECORD && len == PEA__TLS_HEADER_BYTES + 2 &&
        record[5] == MBEDTLS_SSL_ALERT_LEVEL_FATAL)
        s->alert = record[6];
}

int pea__tls_push(void *session, const unsigned char *data, size_t len)
{
    pea__tls_session *s = session;
    if (s->out == NULL)
        return MBEDTLS_ERR_SSL_WANT_WRITE;
    if (!s->over && len > PEA__TLS_HEADER_BYTES)
        notice(s, data, len, false);
    if (pea_buf_append(s->out, data, len) != PEA_OK) {
        s->broken = PEA_E_NOMEM;
        return MBEDTLS_ERR_SSL_ALLOC_FAILED;
    }
    return (int)len;
}

int pea__tls_pull(void *session, unsigned char *data, size_t len)
{
    pea__tls_session *s = session;
    if (s->in == NULL)
        return MBEDTLS_ERR_SSL_WANT_READ;
    if (s->record == 0) {
        pea_err err = pea__tls_look(s->in, s->strict);
        if (err < 0)
            s->broken = err;
        if (err != PEA_OK)
            return MBEDTLS_ERR_SSL_WANT_READ;
        s->record = PEA__TLS_HEADER_BYTES + ((size_t)s->in->data[3] << 8 | s->in->data[4]);
        if (!s->over)
            notice(s, s->in->data, s->record, true);
        s->strict = true;
    }
    size_t n = len < s->record ? len : s->record;
    memcpy(data, s->in->data, n);
    pea_buf_consume(s->in, n);
    s->record -= n;
    return (int)n;
}

/* ---- The handshake ---- */

static bool speaks_13(const pea__tls_session *s)
{
#if PEA__TLS13
    return mbedtls_ssl_get_version_number(&s->ssl) == MBEDTLS_SSL_VERSION_TLS1_3;
#else
    (void)s;
    return false;
#endif
}

/* Both hellos are known, and who we are is not yet said. */
static bool hellos_done(const pea__tls_session *s)
{
    int state = s->ssl.MBEDTLS_PRIVATE(state);
    if (s->side == PEA_RESPONDER)
        return state == MBEDTLS_SSL_SERVER_HELLO;
    return state == MBEDTLS_SSL_SERVER_CERTIFICATE || state == MBEDTLS_SSL_CERTIFICATE_REQUEST;
}

/* The peer has proven its key by a signature, and our next words depend on who it is: a client's certificate, a
 * server's Finished (TLS 1.2) or nothing (1.3: it has spoken). */
static bool time_to_ask(const pea__tls_session *s)
{
    int state = s->ssl.MBEDTLS_PRIVATE(state);
    if (s->side == PEA_RESPONDER)
        return state == MBEDTLS_SSL_CLIENT_CHANGE_CIPHER_SPEC || state == MBEDTLS_SSL_CLIENT_FINISHED;
#if PEA__TLS13
    if (state == MBEDTLS_SSL_CLIENT_CCS_AFTER_SERVER_FINISHED)
        return true;
#endif
    return state == MBEDTLS_SSL_CLIENT_CERTIFICATE;
}

/* What mbedTLS does not insist on after the hellos. PEA_OK | < 0 */
static pea_err check_hellos(pea__tls_session *s)
{
#if PEA__TLS13
    /* A client up to 3.6.7 can be led into TLS 1.3 through the door of 1.2, past the messages that make its keys secret
     * (CVE-2026-115490): who speaks 1.3 must have come by EncryptedExtensions. */
    int state = s->ssl.MBEDTLS_PRIVATE(state);
    s->encrypted_extensions = s->encrypted_extensions || state == MBEDTLS_SSL_ENCRYPTED_EXTENSIONS;
    bool past = s->side == PEA_INITIATOR && hellos_done(s);
    if (past && speaks_13(s) && !s->encrypted_extensions)
        return fail_saying(s, MBEDTLS_SSL_ALERT_MSG_ILLEGAL_PARAMETER, PEA_E_PROTO,
                           "the peer mixes TLS 1.2 and 1.3 in its answer");
#endif
    if (hellos_done(s) && s->context->tls->alpn != NULL && mbedtls_ssl_get_alpn_protocol(&s->ssl) == NULL)
        return fail_saying(s, MBEDTLS_SSL_ALERT_MSG_NO_APPLICATION_PROTOCOL, PEA_E_PROTO,
                           "the peer agrees on none of our protocols (ALPN)");
    return PEA_OK;
}

/* What is needed of mbedTLS's secrets from here on. PEA_OK | < 0 */
static pea_err leave_secrets(pea__tls_session *s)
{
    pea__tls_secrets *secrets = &s->secrets;
    if (s->record > 0 || mbedtls_ssl_check_pending(&s->ssl) != 0)
        return fail_saying(s, MBEDTLS_SSL_ALERT_MSG_UNEXPECTED_MESSAGE, PEA_E_PROTO,
                           "the peer says more in the record of its Finished");
    /* Zeros in their place would make keys that everybody knows. */
    bool kept = secrets->version == PEA_TLS_1_3
                    ? !s->context->tls->own_records || (secrets->traffic_kept[0] && secrets->traffic_kept[1])
                    : secrets->master_kept;
    if (!kept || pea__tls_suite(secrets, mbedtls_ssl_get_ciphersuite(&s->ssl)) != PEA_OK)
        return fail_saying(s, MBEDTLS_SSL_ALERT_MSG_INTERNAL_ERROR, PEA_E_CRYPTO, "mbedTLS kept its secrets");
#if PEA__TLS13
    if (secrets->version == PEA_TLS_1_3)
        memcpy(s->secrets.exporter,
               s->ssl.MBEDTLS_PRIVATE(session)->MBEDTLS_PRIVATE(app_secrets).exporter_master_secret,
               sizeof s->secrets.exporter);
#endif
    return PEA_OK;
}

/* The handshake is over. What must be true of it is checked once more. */
static pea_err finish(pea__tls_session *s)
{
    const pea__tls *tls = s->context->tls;
    bool mutual = s->side == PEA_INITIATOR || !tls->server_only;
    pea_tls_version version = speaks_13(s) ? PEA_TLS_1_3 : PEA_TLS_1_2;
    if (mutual && (!s->peer.known || !s->asked || mbedtls_ssl_get_verify_result(&s->ssl) != 0))
        return fail_saying(s, MBEDTLS_SSL_ALERT_MSG_INTERNAL_ERROR, PEA_E_CRYPTO, "the peer did not prove who it is");
    /* see check_hellos() */
    bool mixed = s->side == PEA_INITIATOR && version == PEA_TLS_1_3 && !s->encrypted_extensions;
    if (mixed || version < tls->lowest || version > tls->highest)
        return fail_saying(s, MBEDTLS_SSL_ALERT_MSG_PROTOCOL_VERSION, PEA_E_PROTO, "this version of TLS is not wanted");
    s->over = true;
    s->secrets.version = version;
    pea_err err = leave_secrets(s);
    if (err != PEA_OK)
        return err;
    if (tls->own_records && (err = pea__tls_own_new(&s->own, s)) != PEA_OK)
        return fail_saying(s, MBEDTLS_SSL_ALERT_MSG_INTERNAL_ERROR, err, pea_err_text(err));
    return PEA_DONE;
}

/* A step of mbedTLS's failed. */
static pea_err step_failed(pea__tls_session *s, int answer)
{
    uint32_t flags = mbedtls_ssl_get_verify_result(&s->ssl);
    if (answer == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY)
        return fail_alert(s, MBEDTLS_SSL_ALERT_MSG_CLOSE_NOTIFY);
    if (s->peer.no_memory)
        s->broken = PEA_E_NOMEM;
    bool ours = s->broken == PEA_OK && s->alert < 0 && !heard_alert(s, answer);
    if (ours && (answer == MBEDTLS_ERR_SSL_NO_CLIENT_CERTIFICATE || (s->peer.begun && flags != 0) ||
                 answer == MBEDTLS_ERR_X509_FATAL_ERROR)) {
        pea__tls_verify_text(s->sentence, sizeof s->sentence, s,
                             answer == MBEDTLS_ERR_SSL_NO_CLIENT_CERTIFICATE ? MBEDTLS_X509_BADCERT_MISSING
                             : answer == MBEDTLS_ERR_X509_FATAL_ERROR        ? UINT32_MAX
                                                                             : flags);
        /* mbedTLS says nothing of it in TLS 1.2; RFC 5246, section 7.4.6 */
        if (answer == MBEDTLS_ERR_SSL_NO_CLIENT_CERTIFICATE && !speaks_13(s))
            pea__tls_say_alert(s, MBEDTLS_SSL_ALERT_MSG_HANDSHAKE_FAILURE);
        return PEA_E_REFUSED;
    }
    return pea__tls_failed(s, answer);
}

static void keep_master(pea__tls_session *s, const unsigned char *master, const unsigned char client_random[32],
                        const unsigned char server_random[32], mbedtls_tls_prf_types prf)
{
    s->secrets.master_kept = true;
    memcpy(s->secrets.exporter, master, PEA__TLS_MASTER_BYTES);
    memcpy(s->secrets.randoms, client_random, 32);
    memcpy(s->secrets.randoms + 32, server_random, 32);
    s->secrets.prf = prf;
}

#if PEA__MBEDTLS_2
static _Thread_local pea__tls_session *running; /* the callback below is told of settings only, which many share */

static int keep_keys(void *unused, const unsigned char *master, const unsigned char *block, size_t mac_len,
                     size_t key_len, size_t iv_len, const unsigned char client_random[32],
                     const unsigned char server_random[32], mbedtls_tls_prf_types prf)
{
    (void)unused, (void)block, (void)mac_len, (void)key_len, (void)iv_len;
    if (running != NULL)
        keep_master(running, master, client_random, server_random, prf);
    return 0;
}

void pea__tls_keep_keys(mbedtls_ssl_config *config)
{
    mbedtls_ssl_conf_export_keys_ext_cb(config, keep_keys, NULL);
}

static void keep_own_keys(pea__tls_session *s)
{
    (void)s; /* as above */
}

static int one_step(pea__tls_session *s)
{
    running = s;
    int answer = mbedtls_ssl_handshake_step(&s->ssl);
    running = NULL;
    return answer;
}
#else
static void keep_secret(void *session, mbedtls_ssl_key_export_type type, const unsigned char *secret, size_t len,
                        const unsigned char client_random[32], const unsigned char server_random[32],
                        mbedtls_tls_prf_types prf)
{
    pea__tls_session *s = session;
    if (type == MBEDTLS_SSL_KEY_EXPORT_TLS12_MASTER_SECRET && len == PEA__TLS_MASTER_BYTES)
        keep_master(s, secret, client_random, server_random, prf);
#if PEA__TLS13
    bool fits = s->context->tls->own_records && len <= PEA__TLS_HASH_MAX;
    for (size_t side = 0; side < 2 && fits; side++)
        if (type == (side == 0 ? MBEDTLS_SSL_KEY_EXPORT_TLS1_3_CLIENT_APPLICATION_TRAFFIC_SECRET
                               : MBEDTLS_SSL_KEY_EXPORT_TLS1_3_SERVER_APPLICATION_TRAFFIC_SECRET)) {
            s->secrets.traffic_kept[side] = true;
            memcpy(s->secrets.traffic[side], secret, len);
        }
#endif
}

void pea__tls_keep_keys(mbedtls_ssl_config *config)
{
    (void)config; /* as below */
}

static void keep_own_keys(pea__tls_session *s)
{
    mbedtls_ssl_set_export_keys_cb(&s->ssl, keep_secret, s);
}

/* Whether a step in this state says nothing, if all goes well. */
static bool only_reads(const pea__tls_session *s)
{
    switch (s->ssl.MBEDTLS_PRIVATE(state)) {
    case MBEDTLS_SSL_ENCRYPTED_EXTENSIONS:
    case MBEDTLS_SSL_CERTIFICATE_REQUEST:
    case MBEDTLS_SSL_SERVER_CERTIFICATE:
    case MBEDTLS_SSL_CERTIFICATE_VERIFY:
    case MBEDTLS_SSL_SERVER_FINISHED:
        return s->side == PEA_INITIATOR;
    case MBEDTLS_SSL_CLIENT_CERTIFICATE:
    case MBEDTLS_SSL_CLIENT_CERTIFICATE_VERIFY:
    case MBEDTLS_SSL_CLIENT_FINISHED:
        return s->side == PEA_RESPONDER;
    default:
        return false;
    }
}

static int one_step(pea__tls_session *s)
{
    bool lent = only_reads(s) && pea__tls_alert_keys_on(s);
    int answer = mbedtls_ssl_handshake_step(&s->ssl);
    if (lent)
        pea__tls_alert_keys_off(s);
    return answer;
}
#endif

static pea_err steps(pea__tls_session *s)
{
    while (s->ssl.MBEDTLS_PRIVATE(state) != MBEDTLS_SSL_HANDSHAKE_OVER) {
        if (s->peer.known && !s->asked && time_to_ask(s)) {
            s->asked = true;
            return PEA_AGAIN;
        }
        int answer = one_step(s);
        if (s->broken == PEA_E_PROTO) /* a stranger, who is not answered */
            return fail(s, PEA_E_PROTO, "what the peer says is not TLS");
        if (answer == MBEDTLS_ERR_SSL_WANT_READ)
            return PEA_MORE;
        if (answer != 0)
            return step_failed(s, answer);
        pea_err err = check_hellos(s);
        if (err != PEA_OK)
            return err;
    }
    return finish(s);
}

pea_err pea__tls_step(pea__tls_session *session, pea_buf *in, pea_buf *out)
{
    session->in = in;
    session->out = out;
    pea_err err = steps(session);
    session->in = session->out = NULL;
    return err;
}

bool pea__tls_peer(const pea__tls_session *session, pea_peer *peer)
{
    if (!session->peer.known)
        return false;
    *peer = (pea_peer){.kind = PEA_PEER_SPKI};
    memcpy(peer->id, session->peer.id, PEA_ID_BYTES);
    return true;
}

const pea_vouch *pea__tls_vouch(const pea__tls_session *session)
{
    return session->peer.vouched ? &session->peer.vouch : NULL;
}

bool pea__tls_untrusted(pea__tls_session *session)
{
    bool untrusted = session->peer.alone && session->context->has_roots;
    if (untrusted)
        (void)fail(session, PEA_E_REFUSED,
                   "the peer's certificate: not trusted: no configured root verifies it, and the policy does not let "
                   "its key in by itself");
    return untrusted;
}

void pea__tls_refuse(pea__tls_session *session, pea_buf *out)
{
    bool untrusted = pea__tls_untrusted(session);
    session->out = out;
    pea__tls_say_alert(session, untrusted ? MBEDTLS_SSL_ALERT_MSG_UNKNOWN_CA : MBEDTLS_SSL_ALERT_MSG_ACCESS_DENIED);
    session->out = NULL;
}

/* ---- Birth and death ---- */

pea_err pea__tls_session_new(pea__tls_session **session, pea__tls *tls, pea_side side, const char *name, pea_error *why)
{
    if (side == PEA_RESPONDER && tls->identity == NULL)
        return pea__error(why, PEA_E_INVALID, "a responder of TLS needs an identity with a certificate");
    pea__tls_session *s = pea__alloc(sizeof *s);
    if (s == NULL)
        return pea__error(why, PEA_E_NOMEM, NULL);
    pea_err err = pea__tls_context_get(&s->context, tls, why);
    if (err != PEA_OK) {
        pea__free(s);
        return err;
    }
    s->side = side;
    s->alert = -1;
    s->strict = side == PEA_INITIATOR;
    s->name = side == PEA_INITIATOR ? name : NULL;
    mbedtls_ssl_init(&s->ssl);
    int answer = mbedtls_ssl_setup(&s->ssl, &s->context->config[side]);
    /* Always said, also that there is none: later releases refuse to go on where nobody said so (CVE-2025-27809). */
    if (answer == 0 && side == PEA_INITIATOR)
        answer = mbedtls_ssl_set_hostname(&s->ssl, s->name);
    if (answer != 0) {
        err = answer == MBEDTLS_ERR_SSL_ALLOC_FAILED
                  ? pea__error(why, PEA_E_NOMEM, NULL)
                  : pea__error(why, PEA_E_INVALID, "the name that was dialled is no DNS name");
        pea__tls_session_free(s);
        return err;
    }
    mbedtls_ssl_set_verify(&s->ssl, pea__tls_verify, s);
    mbedtls_ssl_set_bio(&s->ssl, s, pea__tls_push, pea__tls_pull, NULL);
    keep_own_keys(s);
    *session = s;
    return PEA_OK;
}

void pea__tls_session_destroy(pea__tls_session *s)
{
    mbedtls_ssl_free(&s->ssl); /* wipes its keys */
    pea__tls_own_free(s->own);
    pea__certificate_names_free(&s->peer.names);
    pea__tls_context_put(s->context);
    sodium_memzero(s, sizeof *s);
    pea__free(s);
}

void pea__tls_session_free(pea__tls_session *session)
{
    if (session != NULL && !session->yielded)
        pea__tls_session_destroy(session);
}
