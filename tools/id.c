/* SPDX-License-Identifier: MIT */
/* `peapod id`: what others know a key by, whatever kind of file it is in. It never prints a secret. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tool_priv.h"

static int only_id;

static const struct poptOption options[] = {
    {"quiet", 'q', POPT_ARG_NONE, &only_id, 0, "print the id alone, a line for each", NULL},
    POPT_TABLEEND,
};

static const tool_usage usage = {
    .arguments = "FILE|ID...",
    .examples = "  peapod id alice.key           the id to give to peers, and a fingerprint to read out\n"
                "  peapod id -q alice.key        for scripts: the id alone\n"
                "  peapod id server.crt          of a certificate, for `--tls --expect`\n"
                "  peapod id noise:gLLq...=      the fingerprint of an id that somebody gave to you\n",
    .options = options,
    .least = 1,
    .most = -1,
};

bool tool_read_certificate(const char *file, uint8_t text[TOOL_CERTIFICATE_MAX], size_t *len)
{
    FILE *from = fopen(file, "re");
    if (from == NULL)
        return false;
    (void)setvbuf(from, NULL, _IONBF, 0); /* no copy of it is left that nobody wipes */
    *len = fread(text, 1, TOOL_CERTIFICATE_MAX, from);
    bool whole = *len < TOOL_CERTIFICATE_MAX && !ferror(from);
    (void)fclose(from);
    return whole;
}

static bool from_certificate(pea_peer *peer, const char *file)
{
    static uint8_t text[TOOL_CERTIFICATE_MAX];
    size_t len;
    bool is = tool_read_certificate(file, text, &len) &&
              pea_peer_from_certificate(peer, (pea_span){text, len}, NULL) == PEA_OK;
    explicit_bzero(text, sizeof text);
    return is;
}

/* Says what is wrong with a file that is none of those that are known. */
static int neither(const char *what, const pea_error *why)
{
    if (why->code == PEA_E_UNSUPPORTED)
        return tool_fail(TOOL_FAILED, "%s: a private key that is none of Noise: of TLS, name the certificate", what);
    return tool_fail_why(what, why);
}

static bool looks_like_id(const char *what)
{
    return strncmp(what, "noise:", 6) == 0 || strncmp(what, "spki:", 5) == 0 || strncmp(what, "other:", 6) == 0;
}

int tool_identify(pea_peer *peer, const char *what)
{
    pea_error why = {.code = PEA_OK};
    pea_identity *identity = NULL;
    if (pea_peer_parse(peer, what, &why) == PEA_OK)
        return TOOL_OK;
    if (looks_like_id(what))
        return tool_fail(TOOL_FAILED, "%s: %s", what, why.text);
    if (pea_identity_load(&identity, what, &why) == PEA_OK) {
        pea_identity_peer(identity, peer);
        pea_identity_unref(identity);
        return TOOL_OK;
    }
    return from_certificate(peer, what) ? TOOL_OK : neither(what, &why);
}

/* False: it is none, or cannot be read; nothing was said. A line of base64 alone could be either: it is taken for the
 * private key that it more often is. */
static bool show_network_key(const char *file)
{
    uint8_t key[PEA_KEY_BYTES];
    pea_identity *identity = NULL;
    bool is = pea_identity_load(&identity, file, NULL) != PEA_OK && pea_network_key_load(key, file, NULL) == PEA_OK;
    if (is)
        tool_show_network_key(key);
    pea_identity_unref(identity);
    explicit_bzero(key, sizeof key);
    return is;
}

/* False: it is none, or cannot be read; nothing was said. */
static bool show_root(const char *file)
{
    pea_root *root = NULL;
    bool is = pea_root_load(&root, file, NULL) == PEA_OK;
    if (is)
        tool_show_root(root);
    pea_root_free(root);
    return is;
}

static int show(const char *what)
{
    char id[PEA_PEER_TEXT_BYTES];
    pea_peer peer;
    if (show_network_key(what) || show_root(what))
        return TOOL_OK;
    int status = tool_identify(&peer, what);
    if (status == TOOL_OK && only_id)
        printf("%s\n", pea_peer_format(&peer, id));
    else if (status == TOOL_OK)
        tool_show_peer(&peer);
    return status;
}

int tool_id(int argc, char **argv)
{
    const char *const *args;
    int status;
    if (!tool_options(&usage, argc, argv, &args, &status))
        return status;
    for (const char *const *what = args; *what != NULL; what++) {
        if (!only_id && args[1] != NULL)
            printf("%s%s:\n", what == args ? "" : "\n", *what);
        int one = show(*what);
        if (one != TOOL_OK)
            status = one; /* the others are told all the same */
    }
    tool_options_done(options);
    return status;
}
