/* SPDX-License-Identifier: MIT */
/* What the TLS connections of a chain share: the checked options, and for each thread the certificates, roots and
 * settings in mbedTLS's own form. Connections and their handshakes are session.c's business. */
#include <sodium.h>
#include <string.h>

#include "session_priv.h"

/* Contexts that nobody uses are kept for threads that come again, up to this many: a process has few loops. */
#define CONTEXTS_KEPT 16u

/* ---- Settings ---- */

/* Ephemeral keys and AEAD only, in every version. With mbedTLS on both sides the server's order decides in TLS 1.2, the
 * client's in TLS 1.3. */
static const int gcm_first[] = {
#if PEA__TLS13
    MBEDTLS_TLS1_3_AES_256_GCM_SHA384,
    MBEDTLS_TLS1_3_AES_128_GCM_SHA256,
    MBEDTLS_TLS1_3_CHACHA20_POLY1305_SHA256,
#endif
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    MBEDTLS_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    MBEDTLS_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    0,
};

static const int chachapoly_first[] = {
#if PEA__TLS13
    MBEDTLS_TLS1_3_CHACHA20_POLY1305_SHA256,
    MBEDTLS_TLS1_3_AES_256_GCM_SHA384,
    MBEDTLS_TLS1_3_AES_128_GCM_SHA256,
#endif
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    MBEDTLS_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    MBEDTLS_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    0,
};

/* AES has instructions of its own on most CPUs. Ours makes the most of them; mbedTLS's, which has a cipher for each
 * block, is slower than its ChaCha20-Poly1305, by a third in 2.28 and a fifth in 3.6 (docs/tls.md). */
static const int *ciphersuites(const pea__tls *tls)
{
    return tls->own_records && crypto_aead_aes256gcm_is_available() != 0 ? gcm_first : chachapoly_first;
}

static const mbedtls_x509_crt_profile profile = {
    MBEDTLS_X509_ID_FLAG(MBEDTLS_MD_SHA256) | MBEDTLS_X509_ID_FLAG(MBEDTLS_MD_SHA384) |
        MBEDTLS_X509_ID_FLAG(MBEDTLS_MD_SHA512),
    MBEDTLS_X509_ID_FLAG(MBEDTLS_PK_ECKEY) | MBEDTLS_X509_ID_FLAG(MBEDTLS_PK_ECDSA) |
        MBEDTLS_X509_ID_FLAG(MBEDTLS_PK_RSA) | MBEDTLS_X509_ID_FLAG(MBEDTLS_PK_RSASSA_PSS),
    MBEDTLS_X509_ID_FLAG(MBEDTLS_ECP_DP_SECP256R1) | MBEDTLS_X509_ID_FLAG(MBEDTLS_ECP_DP_SECP384R1) |
        MBEDTLS_X509_ID_FLAG(MBEDTLS_ECP_DP_SECP521R1),
    2048, /* bits of an RSA key */
};

#if PEA__MBEDTLS_2

static const mbedtls_ecp_group_id groups[] = {
    MBEDTLS_ECP_DP_CURVE25519, MBEDTLS_ECP_DP_SECP256R1, MBEDTLS_ECP_DP_SECP384R1,
    MBEDTLS_ECP_DP_SECP521R1,  MBEDTLS_ECP_DP_NONE,
};

static const int hashes[] = {MBEDTLS_MD_SHA256, MBEDTLS_MD_SHA384, MBEDTLS_MD_SHA512, MBEDTLS_MD_NONE};

static void set_protocol(mbedtls_ssl_config *config, const pea__tls *tls)
{
    (void)tls; /* there is one version only */
    mbedtls_ssl_conf_min_version(config, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
    mbedtls_ssl_conf_max_version(config, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
    mbedtls_ssl_conf_curves(config, groups);
    mbedtls_ssl_conf_sig_hashes(config, hashes);
}

#else

static const uint16_t groups[] = {
    MBEDTLS_SSL_IANA_TLS_GROUP_X25519,    MBEDTLS_SSL_IANA_TLS_GROUP_SECP256R1, MBEDTLS_SSL_IANA_TLS_GROUP_SECP384R1,
    MBEDTLS_SSL_IANA_TLS_GROUP_SECP521R1, MBEDTLS_SSL_IANA_TLS_GROUP_NONE,
};

static const uint16_t signatures[] = {
    MBEDTLS_TLS1_3_SIG_ECDSA_SECP256R1_SHA256, MBEDTLS_TLS1_3_SIG_ECDSA_SECP384R1_SHA384,
    MBEDTLS_TLS1_3_SIG_ECDSA_SECP521R1_SHA512, MBEDTLS_TLS1_3_SIG_RSA_PSS_RSAE_SHA256,
    MBEDTLS_TLS1_3_SIG_RSA_PSS_RSAE_SHA384,    MBEDTLS_TLS1_3_SIG_RSA_PSS_RSAE_SHA512,
    MBEDTLS_TLS1_3_SIG_RSA_PKCS1_SHA256,       MBEDTLS_TLS1_3_SIG_RSA_PKCS1_SHA384,
    MBEDTLS_TLS1_3_SIG_RSA_PKCS1_SHA512,       MBEDTLS_TLS1_3_SIG_NONE,
};

static void set_protocol(mbedtls_ssl_config *config, const pea__tls *tls)
{
    mbedtls_ssl_conf_min_tls_version(config, (mbedtls_ssl_protocol_version)tls->lowest);
    mbedtls_ssl_conf_max_tls_version(config, (mbedtls_ssl_protocol_version)tls->highest);
    mbedtls_ssl_conf_groups(config, groups);
    mbedtls_ssl_conf_sig_algs(config, signatures);
#if PEA__TLS13
    mbedtls_ssl_conf_tls13_key_exchange_modes(config, MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_EPHEMERAL);
#endif
}

#endif

/* The settings of one side. mbedTLS's answer. */
static int set_side(pea__tls_context *c, pea_side side)
{
    mbedtls_ssl_config *config = &c->config[side];
    const pea__tls *tls = c->tls;
    int endpoint = side == PEA_INITIATOR ? MBEDTLS_SSL_IS_CLIENT : MBEDTLS_SSL_IS_SERVER;
    int answer =
        mbedtls_ssl_config_defaults(config, endpoint, MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT);
    if (answer != 0)
        return answer;
    set_protocol(config, tls);
    mbedtls_ssl_conf_ciphersuites(config, ciphersuites(tls));
    mbedtls_ssl_conf_cert_profile(config, &profile);
    mbedtls_ssl_conf_rng(config, pea__tls_random, NULL);
    /* Never OPTIONAL: in some releases it lets through what it should not (CVE-2024-45159). */
    bool anonymous = tls->server_only && side == PEA_RESPONDER;
    mbedtls_ssl_conf_authmode(config, anonymous ? MBEDTLS_SSL_VERIFY_NONE : MBEDTLS_SSL_VERIFY_REQUIRED);
    mbedtls_ssl_conf_ca_chain(config, &c->roots, NULL);
    mbedtls_ssl_conf_cert_req_ca_list(config, MBEDTLS_SSL_CERT_REQ_CA_LIST_DISABLED); /* whom we trust is our affair */
    mbedtls_ssl_conf_renegotiation(config, MBEDTLS_SSL_RENEGOTIATION_DISABLED);
#if defined(MBEDTLS_SSL_SESSION_TICKETS)
    mbedtls_ssl_conf_session_tickets(config, MBEDTLS_SSL_SESSION_TICKETS_DISABLED);
#endif
    pea__tls_keep_keys(config);
    if (tls->alpn != NULL && (answer = mbedtls_ssl_conf_alpn_protocols(config, tls->alpn)) != 0)
        return answer;
    bool shows = tls->identity != NULL && !(tls->server_only && side == PEA_INITIATOR);
    return shows ? mbedtls_ssl_conf_own_cert(config, &c->own, &c->key) : 0;
}

/* ---- Certificates ---- */

static int parse_key(mbedtls_pk_context *pk, pea_span key)
{
#if PEA__MBEDTLS_2
    return mbedtls_pk_parse_key(pk, key.data, key.len, NULL, 0);
#else
    return mbedtls_pk_parse_key(pk, key.data, key.len, NULL, 0, pea__tls_random, NULL);
#endif
}

static pea_err load_own(pea__tls_context *c, pea_error *why)
{
    const pea_span *chain;
    int answer = 0;
    if (c->tls->identity == NULL)
        return PEA_OK;
    size_t n = pea__identity_chain(c->tls->identity, &chain);
    for (size_t i = 0; i < n && answer == 0; i++)
        answer = mbedtls_x509_crt_parse_der(&c->own, chain[i].data, chain[i].len);
    if (answer != 0)
        return pea__mbedtls_error(why, answer, "our own certificate cannot be used");
    answer = parse_key(&c->key, pea__identity_key(c->tls->identity));
    return answer == 0 ? PEA_OK : pea__mbedtls_error(why, answer, "our own private key cannot be used");
}

/* Parses a list of roots. */
static pea_err add_roots(pea__tls_context *c, pea_span list, pea_error *why)
{
    pea_span der;
    while (pea__roots_next(&list, &der)) {
        int answer = mbedtls_x509_crt_parse_der(&c->roots, der.data, der.len);
        if (answer != 0)
            return pea__mbedtls_error(why, answer, "a root's certificate cannot be used");
        c->has_roots = true;
    }
    return list.len == 0 ? PEA_OK : pea__error(why, PEA_E_FORMAT, "the list of roots is cut short");
}

static pea_err load_roots(pea__tls_context *c, pea_error *why)
{
    pea_buf from_trust = {0};
    pea_err err = PEA_OK;
    if (c->tls->trust != NULL && (err = pea__trust_roots(c->tls->trust, &from_trust, &c->roots_version)) != PEA_OK)
        (void)pea__error(why, err, NULL);
    if (err == PEA_OK)
        err = add_roots(c, (pea_span){from_trust.data, from_trust.len}, why);
    if (err == PEA_OK)
        err = add_roots(c, (pea_span){c->tls->roots.data, c->tls->roots.len}, why);
    pea_buf_free(&from_trust);
    return err;
}

/* ---- One thread's context ---- */

static void context_free(pea__tls_context *c)
{
    for (size_t side = 0; side < 2; side++)
        mbedtls_ssl_config_free(&c->config[side]);
    mbedtls_pk_free(&c->key);
    mbedtls_x509_crt_free(&c->own);
    mbedtls_x509_crt_free(&c->roots);
    pea__free(c);
}

static pea_err context_new(pea__tls_context **context, pea__tls *tls, pea_error *why)
{
    pea__tls_context *c = pea__alloc(sizeof *c);
    if (c == NULL)
        return pea__error(why, PEA_E_NOMEM, NULL);
    c->tls = tls;
    mbedtls_x509_crt_init(&c->roots);
    mbedtls_x509_crt_init(&c->own);
    mbedtls_pk_init(&c->key);
    mbedtls_ssl_config_init(&c->config[0]);
    mbedtls_ssl_config_init(&c->config[1]);
    pea_err err = load_own(c, why);
    if (err == PEA_OK)
        err = load_roots(c, why);
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER && err == PEA_OK; side++) {
        int answer = set_side(c, side);
        if (answer != 0)
            err = pea__mbedtls_error(why, answer, "mbedTLS does not take its settings");
    }
    if (err != PEA_OK) {
        context_free(c);
        return err;
    }
    *context = c;
    return PEA_OK;
}

/* What tells threads apart: their own copy of it. A later thread may get the place of one that is gone, and with it
 * what that one left. */
static const void *this_thread(void)
{
    static _Thread_local char place;
    return &place;
}

/* Frees what is idle and out of date, or beyond what is kept. Under the lock. */
static void sweep(pea__tls *tls, uint64_t version)
{
    size_t idle = 0;
    for (pea__tls_context **at = &tls->contexts; *at != NULL;) {
        pea__tls_context *c = *at;
        if (c->sessions == 0 && (c->roots_version != version || ++idle > CONTEXTS_KEPT)) {
            *at = c->next;
            context_free(c);
        } else {
            at = &c->next;
        }
    }
}

static pea__tls_context *find(const pea__tls *tls, uint64_t version)
{
    pea__tls_context *c = tls->contexts;
    while (c != NULL && (c->thread != this_thread() || c->roots_version != version))
        c = c->next;
    return c;
}

pea_err pea__tls_context_get(pea__tls_context **context, pea__tls *tls, pea_error *why)
{
    uint64_t version = tls->trust != NULL ? pea__trust_roots_version(tls->trust) : 0;
    (void)pthread_mutex_lock(&tls->lock);
    pea__tls_context *c = find(tls, version);
    if (c != NULL)
        c->sessions++;
    (void)pthread_mutex_unlock(&tls->lock);
    if (c == NULL) { /* parsed without the lock: other threads need not wait for it */
        pea_err err = context_new(&c, tls, why);
        if (err != PEA_OK)
            return err;
        c->thread = this_thread();
        c->sessions = 1;
        (void)pthread_mutex_lock(&tls->lock);
        sweep(tls, c->roots_version);
        c->next = tls->contexts;
        tls->contexts = c;
        (void)pthread_mutex_unlock(&tls->lock);
    }
    *context = c;
    (void)pea__tls_ref(tls);
    return PEA_OK;
}

void pea__tls_context_put(pea__tls_context *context)
{
    pea__tls *tls = context->tls;
    (void)pthread_mutex_lock(&tls->lock);
    context->sessions--;
    (void)pthread_mutex_unlock(&tls->lock);
    pea__tls_unref(tls);
}

/* ---- Options ---- */

static pea_err choose_versions(pea__tls *tls, const pea_tls_opts *o, pea_error *why)
{
    const pea_tls_version asked[] = {o->lowest, o->highest};
    for (size_t i = 0; i < 2; i++) {
        if (asked[i] != PEA_TLS_ANY && asked[i] != PEA_TLS_1_2 && asked[i] != PEA_TLS_1_3)
            return pea__error(why, PEA_E_INVALID, "lowest and highest are PEA_TLS_1_2, PEA_TLS_1_3 or PEA_TLS_ANY");
        if (asked[i] != PEA_TLS_ANY && !pea__tls_speaks(asked[i]))
            return pea__errorf(why, PEA_E_UNSUPPORTED, "TLS %s is not spoken here: %s",
                               asked[i] == PEA_TLS_1_3 ? "1.3" : "1.2", pea_tls_library());
    }
    tls->lowest = o->lowest != PEA_TLS_ANY ? o->lowest : pea__tls_speaks(PEA_TLS_1_2) ? PEA_TLS_1_2 : PEA_TLS_1_3;
    tls->highest = o->highest != PEA_TLS_ANY ? o->highest : pea__tls_speaks(PEA_TLS_1_3) ? PEA_TLS_1_3 : PEA_TLS_1_2;
    return tls->lowest <= tls->highest
               ? PEA_OK
               : pea__error(why, PEA_E_INVALID, "the lowest version of TLS is above the highest");
}

static pea_err copy_alpn(pea__tls *tls, const char *const *names, pea_error *why)
{
    size_t n = 0, bytes = 0;
    for (; names[n] != NULL; n++) {
        size_t len = strlen(names[n]);
        bytes += len + 1;
        if (len == 0 || len > 255 || bytes > 65535)
            return pea__error(why, PEA_E_INVALID,
                              "a protocol of alpn has 1 to 255 bytes, all together less than 65,535");
    }
    if (n == 0)
        return pea__error(why, PEA_E_INVALID, "alpn names no protocol: NULL asks for none");
    tls->alpn = pea__alloc((n + 1) * sizeof *tls->alpn + bytes);
    if (tls->alpn == NULL)
        return pea__error(why, PEA_E_NOMEM, NULL);
    char *text = (char *)(tls->alpn + n + 1);
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(names[i]) + 1;
        memcpy(text, names[i], len);
        tls->alpn[i] = text;
        text += len;
    }
    return PEA_OK;
}

static pea_err append_root(void *arg, pea_span der, const uint8_t id[PEA_ID_BYTES])
{
    (void)id;
    return pea__roots_add(arg, der);
}

static pea_err check(const pea_tls_opts *o, bool native, pea_error *why)
{
    if (o->identity == NULL && !o->server_only)
        return pea__error(why, PEA_E_INVALID, "TLS needs an identity: see pea_identity_load_certificate()");
    if (o->identity != NULL && !pea__identity_is_certificate(o->identity))
        return pea__error(why, PEA_E_INVALID,
                          "this identity is no certificate, which TLS needs: see pea_identity_load_certificate()");
    if (o->roots.len > 0 && o->roots.data == NULL)
        return pea__error(why, PEA_E_INVALID, "roots have a length, but no data");
    if (native && o->alpn != NULL)
        return pea__error(why, PEA_E_INVALID, "native mode agrees on peapod's own protocol: alpn is for foreign modes");
    return PEA_OK;
}

static pea_err fill(pea__tls *tls, const pea_tls_opts *o, bool native, pea_error *why)
{
    static const char *const native_alpn[] = {PEA_ALPN_NATIVE, NULL};
    const char *const *alpn = native ? native_alpn : o->alpn;
    tls->identity = o->identity != NULL ? pea_identity_ref(o->identity) : NULL;
    tls->trust = o->trust != NULL ? pea_trust_ref(o->trust) : NULL;
    tls->server_only = o->server_only;
    tls->own_records = o->own_records;
    pea_err err = choose_versions(tls, o, why);
    if (err == PEA_OK && alpn != NULL)
        err = copy_alpn(tls, alpn, why);
    if (err == PEA_OK && o->roots.len > 0)
        err = pea__certificates_each(o->roots, append_root, &tls->roots, why);
    return err;
}

pea_err pea__tls_new(pea__tls **tls, const pea_tls_opts *opts, bool native, pea_error *why)
{
    pea__tls_context *trial;
    pea_err err = check(opts, native, why);
    if (err == PEA_OK)
        err = pea__tls_init(why);
    if (err != PEA_OK)
        return err;
    pea__tls *fresh = pea__alloc(sizeof *fresh);
    if (fresh == NULL)
        return pea__error(why, PEA_E_NOMEM, NULL);
    atomic_init(&fresh->refs, 1);
    if (pthread_mutex_init(&fresh->lock, NULL) != 0) {
        pea__free(fresh);
        return pea__error(why, PEA_E_NOMEM, NULL);
    }
    err = fill(fresh, opts, native, why);
    if (err == PEA_OK && (err = pea__tls_context_get(&trial, fresh, why)) == PEA_OK) /* says what is wrong now */
        pea__tls_context_put(trial);
    if (err != PEA_OK)
        pea__tls_unref(fresh);
    else
        *tls = fresh;
    return err;
}

pea__tls *pea__tls_ref(pea__tls *tls)
{
    (void)atomic_fetch_add_explicit(&tls->refs, 1, memory_order_relaxed);
    return tls;
}

void pea__tls_unref(pea__tls *tls)
{
    if (tls == NULL || atomic_fetch_sub_explicit(&tls->refs, 1, memory_order_acq_rel) != 1)
        return;
    while (tls->contexts != NULL) {
        pea__tls_context *c = tls->contexts;
        tls->contexts = c->next;
        context_free(c);
    }
    (void)pthread_mutex_destroy(&tls->lock);
    pea_identity_unref(tls->identity);
    pea_trust_unref(tls->trust);
    pea_buf_free(&tls->roots);
    pea__free(tls->alpn);
    pea__free(tls);
}
