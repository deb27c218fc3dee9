/* SPDX-License-Identifier: MIT */
/* Certificates in Noise handshakes: where ours is said, and what the peer's has to be before the policy sees it. Whose
 * word counts is the policy's to say. */
#include <stdio.h>

#include "cert_priv.h"
#include "err_priv.h"
#include "noise_stage_priv.h"
#include "secure_priv.h"

static pea_err wrong(const char **what, pea_err err, const char *text)
{
    *what = text;
    return err;
}

/* ---- Ours ---- */

/* Where certificates are said follows from the pattern: beside the key that they are for, and never in the clear. */
static pea_err find_places(pea__noise_config *c, pea_error *why)
{
    bool wanted = c->opts.certificate != NULL;
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
        bool hidden;
        unsigned message = pea__noise_static_in(c->opts.protocol, side, &hidden);
        c->certificate_in[side] = hidden ? message : 0;
        if (wanted && message != 0 && !hidden)
            return pea__errorf(why, PEA_E_INVALID,
                               "in this Noise pattern the %s's key is said in the clear, or under a psk alone, and a "
                               "certificate never is: XX, XK and IK hide both",
                               side == PEA_INITIATOR ? "initiator" : "responder");
    }
    if (wanted && c->certificate_in[PEA_INITIATOR] == 0 && c->certificate_in[PEA_RESPONDER] == 0)
        return pea__error(why, PEA_E_INVALID,
                          "no message of this Noise pattern carries a static key, nor then a certificate: take XX");
    return PEA_OK;
}

pea_err pea__noise_certificate_check(pea__noise_config *config, pea_error *why)
{
    const pea_cert *cert = config->opts.certificate;
    const pea_identity *identity = config->opts.identity;
    pea_err err = find_places(config, why);
    if (err != PEA_OK || cert == NULL)
        return err;
    if (identity == NULL || !pea_cert_is_for(cert, identity))
        return pea__error(why, PEA_E_INVALID, "this certificate is for another key than that of the identity");
    if (!pea__cert_names_network(pea_cert_says(cert), config->network))
        return pea__error(why, PEA_E_INVALID, "this certificate is for another network than that of the chain");
    return PEA_OK;
}

pea_err pea__noise_certificate_say(const pea__noise_config *config, pea_side side, unsigned message, pea_buf *payload)
{
    const pea_cert *cert = config->opts.certificate;
    if (cert == NULL || message != config->certificate_in[side])
        return PEA_OK;
    return pea__noise_payload_add(payload, PEA__NOISE_TLV_CERTIFICATE, pea_cert_bytes(cert));
}

/* ---- The peer's ---- */

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* The certificate's name is in lower case anyway. */
static bool same_name(const char *name, const char *dialled)
{
    while (*name != '\0' && *name == lower(*dialled)) {
        name++;
        dialled++;
    }
    return *name == *dialled;
}

pea_err pea__noise_certificate_hear(const pea__noise_config *config, pea_stage_env *env, const pea_noise *noise,
                                    unsigned message, pea_span certificate, char doubt[PEA_TEXT_MAX], const char **what)
{
    pea_cert_info info;
    uint8_t key[PEA_KEY_BYTES];
    if (message != config->certificate_in[pea__other_side(pea_stage_side(env))] ||
        pea_noise_remote_static(noise, key) != PEA_OK)
        return wrong(what, PEA_E_PROTO, "it has a certificate, which belongs beside a hidden static key");
    pea_err err = pea__cert_read(&info, certificate, what);
    if (err != PEA_OK)
        return err == PEA_E_CRYPTO ? err : PEA_E_PROTO;
    if (!pea__cert_names_key(&info, key))
        return wrong(what, PEA_E_PROTO, "its certificate is for another key");
    if (!pea__cert_names_network(&info, config->network))
        return wrong(what, PEA_E_PROTO, "its certificate is for another network");
    const char *dialled = pea_stage_side(env) == PEA_INITIATOR ? pea_stage_dialled_name(env) : NULL;
    if (dialled != NULL && !same_name(info.name, dialled)) {
        (void)snprintf(doubt, PEA_TEXT_MAX, "its certificate is for %.80s, and %.80s was dialled", info.name, dialled);
        return PEA_OK;
    }
    const pea_name name = {PEA_NAME_MEMBER, info.name};
    pea_vouch vouch = {.names = &name,
                       .n_names = 1,
                       .roles = info.roles[0] != '\0' ? info.roles : NULL,
                       .not_before_ms = info.not_before * 1000,
                       .not_after_ms = info.not_after * 1000};
    for (size_t i = 0; i < sizeof vouch.root; i++)
        vouch.root[i] = info.root[i];
    return pea_stage_vouch(env, &vouch);
}
