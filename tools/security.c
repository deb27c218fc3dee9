/* SPDX-License-Identifier: MIT */
/* Who we are, whom we let in and by which protocol: the options that every command on the network shares, and what
 * they become. */
#include "tool_priv.h"

#include <string.h>

tool_security_texts tool_security_said;

const struct poptOption tool_security_options[] = {
    {"key", 'k', POPT_ARG_ARGV, &tool_security_said.key, 0, "our private key (see `peapod keygen`)", "FILE"},
    {"trust", 't', POPT_ARG_ARGV, &tool_security_said.trust, TOOL_MANY,
     "rules that say whom to let in (see `peapod trust`); may be given more than once", "FILE"},
    {"expect", 'e', POPT_ARG_ARGV, &tool_security_said.expect, TOOL_MANY,
     "let this peer in, and without --trust nobody else; may be given more than once", "ID"},
    {"known", '\0', POPT_ARG_ARGV, &tool_security_said.known, 0,
     "of peers that we dial and nothing else names: let in whom we meet first, remember the key here, and accept no "
     "other from then on",
     "FILE"},
    {"noise", '\0', POPT_ARG_NONE, &tool_security_said.noise, 0, "speak Noise (the default)", NULL},
    {"tls", '\0', POPT_ARG_NONE, &tool_security_said.tls, 0, "speak TLS: with --cert", NULL},
    {"cert", 'c', POPT_ARG_ARGV, &tool_security_said.cert, 0,
     "our certificate, of which --key is the key: with --tls one of TLS, else one of `peapod cert issue`", "FILE"},
    {"network-name", 'n', POPT_ARG_ARGV, &tool_security_said.network_name, 0,
     "the network: peers of another one are dropped; no secret", "NAME"},
    {"network-key", 'N', POPT_ARG_ARGV, &tool_security_said.network_key, 0,
     "the secret key of the network (see `peapod keygen --network`): who has it not is dropped at the first message",
     "FILE"},
    POPT_TABLEEND,
};

#define NETWORK_PROTOCOL "Noise_XXpsk0_25519_ChaChaPoly_BLAKE2b"

/* What does not go together. */
static int check_options(pea_mode mode)
{
    const tool_security_texts *said = &tool_security_said;
    if (said->tls && said->noise)
        return tool_fail(TOOL_USAGE, "--tls and --noise exclude each other");
    if (!said->tls && said->cert != NULL && mode != PEA_NATIVE)
        return tool_fail(TOOL_USAGE, "--cert is for peapod nodes, or --tls: a foreign peer knows nothing of it");
    if (said->tls && said->cert == NULL && said->key != NULL)
        return tool_fail(TOOL_USAGE, "TLS shows a certificate: say --cert FILE");
    if (said->tls && said->network_key != NULL)
        return tool_fail(TOOL_USAGE, "--network-key is for Noise: TLS knows nothing of it");
    if (said->cert != NULL && said->key == NULL)
        return tool_fail(TOOL_USAGE, "say --key FILE too: the private key of the certificate");
    if (said->network_name != NULL && mode != PEA_NATIVE)
        return tool_fail(TOOL_USAGE, "--network-name is for peapod nodes: a foreign peer knows nothing of it");
    if (said->network_name != NULL && said->network_name[0][0] == '\0')
        return tool_fail(TOOL_USAGE, "--network-name is empty: leave it out, or name a network");
    return TOOL_OK;
}

static int open_identity(tool_security *s)
{
    const char *key = tool_text(tool_security_said.key), *cert = tool_text(tool_security_said.cert);
    pea_error why = {.code = PEA_OK};
    if (key == NULL)
        return tool_fail(TOOL_USAGE, tool_security_said.tls
                                         ? "who are we? Say --key FILE --cert FILE; `peapod keygen --tls` makes them"
                                         : "who are we? Say --key FILE; `peapod keygen FILE` makes one");
    bool tls = tool_security_said.tls != 0;
    pea_err err = tls ? pea_identity_load_certificate(&s->identity, cert, key, NULL, NULL, &why)
                      : pea_identity_load(&s->identity, key, &why);
    if (err != PEA_OK)
        return tool_fail_why(tls ? NULL : key, &why);
    pea_identity_peer(s->identity, &s->me);
    return TOOL_OK;
}

static int open_expect(tool_security *s)
{
    pea_error why = {.code = PEA_OK};
    for (tool_texts id = tool_security_said.expect; id != NULL && *id != NULL; id++) {
        pea_peer peer;
        if (pea_peer_parse(&peer, *id, &why) != PEA_OK || pea_trust_allow(s->trust, &peer, NULL, NULL, &why) != PEA_OK)
            return tool_fail(TOOL_USAGE, "--expect %s: %s", *id, why.text);
        if (peer.kind == PEA_PEER_NOISE && tool_security_said.tls)
            return tool_fail(TOOL_USAGE, "--expect %s: over TLS a peer is known by spki:sha256:...", *id);
        if (peer.kind != PEA_PEER_NOISE && !tool_security_said.tls)
            return tool_fail(TOOL_USAGE, "--expect %s: over Noise a peer is known by noise:..., or is --tls meant?",
                             *id);
        s->expect = id == tool_security_said.expect ? peer : (pea_peer){.kind = PEA_PEER_NONE};
    }
    return TOOL_OK;
}

static int open_trust(tool_security *s)
{
    pea_error why = {.code = PEA_OK};
    const char *known = tool_text(tool_security_said.known);
    if (tool_security_said.trust == NULL && tool_security_said.expect == NULL && known == NULL)
        return tool_fail(TOOL_USAGE, "whom shall we let in? Say --expect ID, or --trust FILE for several");
    if (pea_trust_new(&s->trust) != PEA_OK)
        return tool_fail(TOOL_FAILED, "memory is exhausted");
    pea_trust_log(s->trust, pea_log_stderr, NULL);
    for (tool_texts file = tool_security_said.trust; file != NULL && *file != NULL; file++)
        if (pea_trust_load(s->trust, *file, &why) != PEA_OK)
            return tool_fail_why(*file, &why);
    if (known != NULL && pea_trust_first_use(s->trust, known, &why) != PEA_OK)
        return tool_fail_why(known, &why);
    return open_expect(s);
}

/* Noise, behind the network's key if there is one, with our certificate if that is one of Noise. */
static pea_err add_noise(pea_chain *chain, pea_identity *identity, pea_mode mode, pea_error *why)
{
    const char *file = tool_text(tool_security_said.network_key);
    bool shown = !tool_security_said.tls && mode == PEA_NATIVE;
    const char *cert = shown ? tool_text(tool_security_said.cert) : NULL;
    uint8_t key[PEA_KEY_BYTES];
    pea_noise_opts opts = PEA_NOISE_INIT;
    opts.identity = identity;
    opts.record_preserving = mode == PEA_RECORDS;
    pea_err err = cert != NULL ? pea_cert_load(&opts.certificate, cert, why) : PEA_OK;
    if (err == PEA_OK && file != NULL) {
        opts.protocol = NETWORK_PROTOCOL;
        opts.psk = key;
        err = pea_network_key_load(key, file, why);
    }
    if (err == PEA_OK)
        err = pea_chain_noise(chain, &opts, why);
    explicit_bzero(key, sizeof key);
    pea_cert_unref(opts.certificate); /* the chain holds it now */
    return err;
}

int tool_chain(pea_chain **chain, pea_identity *identity, pea_trust *trust, bool tls, pea_mode mode)
{
    const char *name = mode == PEA_NATIVE ? tool_text(tool_security_said.network_name) : NULL;
    uint8_t network[PEA_NETWORK_BYTES];
    pea_chain *fresh = NULL;
    pea_error why = {.code = PEA_OK};
    pea_err err = name != NULL ? pea_network_id(network, name, strlen(name)) : PEA_OK;
    if (err == PEA_OK)
        err = pea_chain_new(&fresh, PEA_CHAIN(.mode = mode, .network = name != NULL ? network : NULL), &why);
    if (err == PEA_OK)
        err = tls ? pea_chain_tls(fresh, PEA_TLS(.identity = identity, .trust = trust), &why)
                  : add_noise(fresh, identity, mode, &why);
    if (err == PEA_OK) {
        *chain = fresh;
        return TOOL_OK;
    }
    pea_chain_unref(fresh);
    why.code = err;
    return tool_fail_why(NULL, &why);
}

int tool_security_load(tool_security *security, pea_mode mode, bool stranger)
{
    const tool_security_texts *said = &tool_security_said;
    tool_security s = {.identity = NULL};
    bool nameless = stranger && said->key == NULL;
    bool rules = said->trust != NULL || said->expect != NULL || said->known != NULL;
    int status = check_options(mode);
    if (status == TOOL_OK && stranger && !nameless && !rules)
        status = tool_fail(TOOL_USAGE, "--key shows who we are: say to whom, by --expect ID or --trust FILE");
    if (status == TOOL_OK && !nameless)
        status = open_identity(&s);
    if (status == TOOL_OK && (!nameless || rules))
        status = open_trust(&s);
    if (status == TOOL_OK)
        *security = s;
    else
        tool_security_close(&s);
    return status;
}

int tool_security_open(tool_security *security, pea_mode mode)
{
    int status = tool_security_load(security, mode, false);
    if (status != TOOL_OK)
        return status;
    status = tool_chain(&security->chain, security->identity, security->trust, tool_security_said.tls, mode);
    if (status != TOOL_OK)
        tool_security_close(security);
    return status;
}

void tool_security_close(tool_security *security)
{
    pea_chain_unref(security->chain);
    pea_trust_unref(security->trust);
    pea_identity_unref(security->identity);
    *security = (tool_security){.identity = NULL};
}
