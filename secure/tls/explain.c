/* SPDX-License-Identifier: MIT */
/* What a trust would say of the holder of a certificate, as a TLS handshake would ask it: the chain is verified by the
 * same code and up to the same roots, only that nobody proves to have the key. */
#include <string.h>

#include <mbedtls/oid.h>

#include "err_priv.h"
#include "session_priv.h"

static pea_err add_certificate(void *chain, pea_span der, const uint8_t id[PEA_ID_BYTES])
{
    (void)id;
    return mbedtls_x509_crt_parse_der(chain, der.data, der.len) == 0 ? PEA_OK : PEA_E_FORMAT;
}

/* What mbedTLS looks at beside the chain: may this key sign, and for that side of TLS? */
static uint32_t usage_flags(const mbedtls_x509_crt *leaf, pea_side ours)
{
    uint32_t flags = 0;
    if (mbedtls_x509_crt_check_key_usage(leaf, MBEDTLS_X509_KU_DIGITAL_SIGNATURE) != 0)
        flags |= MBEDTLS_X509_BADCERT_KEY_USAGE;
    int answer = ours == PEA_INITIATOR
                     ? mbedtls_x509_crt_check_extended_key_usage(leaf, MBEDTLS_OID_SERVER_AUTH,
                                                                 MBEDTLS_OID_SIZE(MBEDTLS_OID_SERVER_AUTH))
                     : mbedtls_x509_crt_check_extended_key_usage(leaf, MBEDTLS_OID_CLIENT_AUTH,
                                                                 MBEDTLS_OID_SIZE(MBEDTLS_OID_CLIENT_AUTH));
    if (answer != 0)
        flags |= MBEDTLS_X509_BADCERT_EXT_KEY_USAGE;
    return flags;
}

/* Fills in s->peer. The flags that are left say what is wrong. */
static uint32_t verify(pea__tls_session *s, mbedtls_x509_crt *chain)
{
    const mbedtls_x509_crt_profile *profile = s->context->config[s->side].MBEDTLS_PRIVATE(cert_profile);
    uint32_t flags = 0;
    int answer = mbedtls_x509_crt_verify_with_profile(chain, &s->context->roots, NULL, profile, NULL, &flags,
                                                      pea__tls_verify, s);
    if (answer != 0 && flags == 0)
        flags = UINT32_MAX;
    return flags == UINT32_MAX ? flags : flags | usage_flags(chain, s->side);
}

/* As pea_trust_explain_certificate(), with all that it needs. */
static pea_err explain(pea__tls_session *s, pea_trust *trust, mbedtls_x509_crt *chain, const pea_candidate *candidate,
                       pea_peer *peer, pea_trust_account *account)
{
    pea_candidate c = *candidate;
    uint32_t flags = verify(s, chain);
    if (s->peer.no_memory)
        return PEA_E_NOMEM;
    *peer = (pea_peer){.kind = PEA_PEER_SPKI};
    pea__certificate_id(chain, peer->id);
    if (flags != 0) {
        *account = (pea_trust_account){.ground = PEA_TRUST_NO_RULE};
        pea__tls_verify_text(account->text, sizeof account->text, s, flags);
        return PEA_E_REFUSED;
    }
    c.vouch = s->peer.vouched ? &s->peer.vouch : NULL;
    return pea_trust_explain(trust, peer, &c, account);
}

pea_err pea_trust_explain_certificate(pea_trust *trust, pea_span certificate, const pea_candidate *candidate,
                                      pea_peer *peer, pea_trust_account *account, pea_error *why)
{
    pea__tls *tls = NULL;
    pea__tls_session *s = pea__alloc(sizeof *s);
    mbedtls_x509_crt chain;
    if (s == NULL)
        return pea__error(why, PEA_E_NOMEM, NULL);
    mbedtls_x509_crt_init(&chain);
    s->side = candidate->side;
    pea_err err = pea__certificates_each(certificate, add_certificate, &chain, why);
    if (err == PEA_OK) /* whoever shows no certificate needs no identity */
        err = pea__tls_new(&tls, PEA_TLS(.trust = trust, .server_only = true), false, why);
    if (err == PEA_OK)
        err = pea__tls_context_get(&s->context, tls, why);
    if (err == PEA_OK) {
        err = explain(s, trust, &chain, candidate, peer, account);
        if (err == PEA_E_NOMEM)
            (void)pea__error(why, err, NULL);
    }
    if (s->context != NULL)
        pea__tls_context_put(s->context);
    if (tls != NULL)
        pea__tls_unref(tls);
    pea__certificate_names_free(&s->peer.names);
    mbedtls_x509_crt_free(&chain);
    pea__free(s);
    return err;
}
