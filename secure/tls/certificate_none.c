/* SPDX-License-Identifier: MIT */
/* Certificates in a build without TLS: the functions are there, and say that they can do nothing. */
#include "peapod/tls.h"

#include "err_priv.h"
#include "secure_priv.h"

static pea_err unsupported(pea_error *why)
{
    return pea__error(why, PEA_E_UNSUPPORTED, "this library was built without TLS, and knows no certificates");
}

pea_err pea__certificates_each(pea_span text, pea_err (*each)(void *arg, pea_span der, const uint8_t id[PEA_ID_BYTES]),
                               void *arg, pea_error *why)
{
    (void)text, (void)each, (void)arg;
    return unsupported(why);
}

pea_err pea_peer_from_certificate(pea_peer *peer, pea_span certificate, pea_error *why)
{
    (void)peer, (void)certificate;
    return unsupported(why);
}

pea_err pea_identity_parse_certificate(pea_identity **identity, pea_span certificate, pea_span key,
                                       pea_passphrase_fn ask, void *arg, pea_error *why)
{
    (void)identity, (void)certificate, (void)key, (void)ask, (void)arg;
    return unsupported(why);
}

pea_err pea_identity_load_certificate(pea_identity **identity, const char *certificate_file, const char *key_file,
                                      pea_passphrase_fn ask, void *arg, pea_error *why)
{
    (void)identity, (void)certificate_file, (void)key_file, (void)ask, (void)arg;
    return unsupported(why);
}

pea_err pea_identity_generate_certificate(pea_identity **identity, const char *name, uint32_t days, pea_error *why)
{
    (void)identity, (void)name, (void)days;
    return unsupported(why);
}

pea_err pea_identity_save_certificate(const pea_identity *identity, const char *certificate_file, const char *key_file,
                                      pea_error *why)
{
    (void)identity, (void)certificate_file, (void)key_file;
    return unsupported(why);
}

pea_err pea_trust_explain_certificate(pea_trust *trust, pea_span certificate, const pea_candidate *candidate,
                                      pea_peer *peer, pea_trust_account *account, pea_error *why)
{
    (void)trust, (void)certificate, (void)candidate, (void)peer, (void)account;
    return unsupported(why);
}
