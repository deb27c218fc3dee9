/* SPDX-License-Identifier: MIT */
/* `peapod keygen`: makes a key in a new file, and prints what others know it by. */
#include <string.h>

#include "tool_priv.h"

static int for_tls, for_network, for_root, days;
static tool_texts said_cert, said_name;

static const struct poptOption options[] = {
    {"tls", '\0', POPT_ARG_NONE, &for_tls, 0, "a key for TLS, and a certificate that it signs itself: with --cert",
     NULL},
    {"cert", 'c', POPT_ARG_ARGV, &said_cert, 0, "with --tls: the new file for the certificate", "FILE"},
    {"name", '\0', POPT_ARG_ARGV, &said_name, 0, "with --tls: the host name that the certificate is for; else none",
     "HOST"},
    {"days", '\0', POPT_ARG_INT, &days, 0, "with --tls: how long the certificate is good; else 3650", "N"},
    {"network", '\0', POPT_ARG_NONE, &for_network, 0,
     "the secret key of a network, which all its members hold: without it nobody gets as far as showing a key", NULL},
    {"root", '\0', POPT_ARG_NONE, &for_root, 0,
     "the key of a root, which signs certificates (see `peapod cert`): for where they are made, and no node", NULL},
    POPT_TABLEEND,
};

static const tool_usage usage = {
    .arguments = "FILE",
    .examples =
        "  peapod keygen alice.key                      for Noise: the id goes to your peers, the file to nobody\n"
        "  peapod keygen --tls --cert a.crt a.key       for TLS, known by the key of the certificate\n"
        "  peapod keygen --network mesh.key             for all members of a network, and nobody else\n"
        "  peapod keygen --root fleet.root              says who belongs to a fleet; nodes know it by root:...\n",
    .options = options,
    .least = 1,
    .most = 1,
};

static int check(void)
{
    if (for_tls + for_network + for_root > 1)
        return tool_fail(TOOL_USAGE, "--tls, --network and --root are keys of different kinds: make them one by one");
    if (!for_tls && (said_cert != NULL || said_name != NULL || days != 0))
        return tool_fail(TOOL_USAGE, "--cert, --name and --days go with --tls");
    if (for_tls && said_cert == NULL)
        return tool_fail(TOOL_USAGE, "where shall the certificate go? Say --cert FILE");
    if (days < 0 || days > 36500)
        return tool_fail(TOOL_USAGE, "--days is from 1 to 36500");
    return TOOL_OK;
}

/* The key of one peer. */
static int peer_key(const char *file)
{
    const char *cert = tool_text(said_cert);
    pea_error why = {.code = PEA_OK};
    pea_identity *identity = NULL;
    pea_peer peer;
    pea_err err = for_tls ? pea_identity_generate_certificate(&identity, tool_text(said_name), (uint32_t)days, &why)
                          : pea_identity_generate(&identity, &why);
    if (err == PEA_OK)
        err = for_tls ? pea_identity_save_certificate(identity, cert, file, &why)
                      : pea_identity_save(identity, file, &why);
    if (err == PEA_OK) {
        pea_identity_peer(identity, &peer);
        tool_show_peer(&peer);
    }
    pea_identity_unref(identity);
    return err == PEA_OK ? TOOL_OK : tool_fail_why(NULL, &why);
}

static int network_key(const char *file)
{
    uint8_t key[PEA_KEY_BYTES];
    pea_error why = {.code = PEA_OK};
    pea_err err = pea_network_key_generate(key);
    if (err == PEA_OK && (err = pea_network_key_save(key, file, &why)) == PEA_OK)
        tool_show_network_key(key);
    else if (why.code == PEA_OK)
        why.code = err;
    explicit_bzero(key, sizeof key);
    return err == PEA_OK ? TOOL_OK : tool_fail_why(file, &why);
}

static int root_key(const char *file)
{
    pea_error why = {.code = PEA_OK};
    pea_root *root = NULL;
    pea_err err = pea_root_generate(&root, &why);
    if (err == PEA_OK && (err = pea_root_save(root, file, &why)) == PEA_OK)
        tool_show_root(root);
    pea_root_free(root);
    return err == PEA_OK ? TOOL_OK : tool_fail_why(NULL, &why);
}

int tool_keygen(int argc, char **argv)
{
    const char *const *args;
    int status;
    if (!tool_options(&usage, argc, argv, &args, &status))
        return status;
    status = check();
    if (status == TOOL_OK)
        status = for_root ? root_key(args[0]) : for_network ? network_key(args[0]) : peer_key(args[0]);
    tool_options_done(options);
    return status;
}
