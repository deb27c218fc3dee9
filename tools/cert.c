/* SPDX-License-Identifier: MIT */
/* `peapod cert`: makes certificates for Noise with a root's key, and says what is in one. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tool_priv.h"

#define DAYS_DEFAULT 90
#define DAY_S 86400

/* ---- What one says ---- */

static void show_time(const char *what, int64_t s)
{
    char text[32];
    time_t at = (time_t)s;
    struct tm utc;
    if (gmtime_r(&at, &utc) != NULL && strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc) > 0)
        printf("%s %s\n", what, text);
}

static void show_key(const char *what, const uint8_t key[PEA_KEY_BYTES])
{
    char text[PEA_PEER_TEXT_BYTES];
    pea_peer peer = {.kind = PEA_PEER_NOISE};
    memcpy(peer.id, key, sizeof peer.id);
    printf("%s %s\n", what, pea_peer_format(&peer, text));
}

/* Names and roles are of letters that no terminal obeys. */
static void show_certificate(const pea_cert *cert)
{
    static const uint8_t none[PEA_NETWORK_BYTES];
    const pea_cert_info *says = pea_cert_says(cert);
    char root[PEA_ROOT_TEXT_BYTES];
    printf("name %s\n", says->name);
    if (says->roles[0] != '\0')
        printf("roles %s\n", says->roles);
    show_key("id", says->key);
    if (says->has_next_key)
        show_key("next", says->next_key);
    if (memcmp(says->network, none, sizeof none) != 0) {
        printf("network ");
        for (size_t i = 0; i < sizeof says->network; i++)
            printf("%02x", says->network[i]);
        printf("\n");
    }
    show_time("not-before", says->not_before);
    show_time("not-after", says->not_after);
    printf("by %s\n", pea_root_key_format(says->root, root));
}

/* ---- cert issue ---- */

static tool_texts said_root, said_name, said_roles, said_next, said_network_name, said_out;
static int days;

static const struct poptOption issue_options[] = {
    {"root", 'r', POPT_ARG_ARGV, &said_root, 0, "the root's private key (see `peapod keygen --root`)", "FILE"},
    {"name", '\0', POPT_ARG_ARGV, &said_name, 0, "the name that the peer is given: a-z 0-9 - . _ /", "NAME"},
    {"roles", '\0', POPT_ARG_ARGV, &said_roles, 0, "its roles, with commas between them; else none", "ROLES"},
    {"days", '\0', POPT_ARG_INT, &days, 0, "how long the certificate is good; else 90", "N"},
    {"next", '\0', POPT_ARG_ARGV, &said_next, 0, "another key that it is for as well: the peer is about to change its",
     "FILE|ID"},
    {"network-name", 'n', POPT_ARG_ARGV, &said_network_name, 0, "the network that it is for, as of the other commands",
     "NAME"},
    {"out", 'o', POPT_ARG_ARGV, &said_out, 0, "the new file for the certificate", "FILE"},
    POPT_TABLEEND,
};

static const tool_usage issue_usage = {
    .arguments = "FILE|ID",
    .examples = "  peapod cert issue --root fleet.root --name db-1 --roles db --out db-1.cert noise:gLLq...=\n"
                "      who has the certificate and that key is let in by a line `root:... names=* roles=db`\n"
                "  peapod cert issue -r fleet.root --name db-1 --next new.key -o db-1.cert old.key     both keys, to "
                "change them\n",
    .options = issue_options,
    .least = 1,
    .most = 1,
};

static int check_issue(void)
{
    if (said_root == NULL)
        return tool_fail(TOOL_USAGE, "who says so? Say --root FILE; `peapod keygen --root FILE` makes one");
    if (said_name == NULL)
        return tool_fail(TOOL_USAGE, "under which name? Say --name NAME");
    if (said_out == NULL)
        return tool_fail(TOOL_USAGE, "where shall the certificate go? Say --out FILE");
    if (days < 0 || days > 36500)
        return tool_fail(TOOL_USAGE, "--days is from 1 to 36500");
    return TOOL_OK;
}

static int identify(pea_peer *peer, const char *what)
{
    int status = tool_identify(peer, what);
    if (status == TOOL_OK && peer->kind != PEA_PEER_NOISE)
        return tool_fail(TOOL_USAGE, "%s: this is no key of Noise, and these certificates are for those", what);
    return status;
}

/* Makes it and saves it: for `peer`, and for `next` unless its kind is none. */
static pea_err issue_for(const pea_peer *peer, const pea_peer *next, pea_error *why)
{
    uint8_t network[PEA_NETWORK_BYTES];
    const char *name = tool_text(said_network_name);
    pea_root *root = NULL;
    pea_cert *cert = NULL;
    pea_cert_opts opts = PEA_CERT_INIT;
    opts.key = peer->id;
    opts.next_key = next->kind != PEA_PEER_NONE ? next->id : NULL;
    opts.name = tool_text(said_name);
    opts.roles = tool_text(said_roles);
    opts.not_after = (int64_t)time(NULL) + (int64_t)(days > 0 ? days : DAYS_DEFAULT) * DAY_S;
    opts.network = name != NULL ? network : NULL;
    pea_err err = name != NULL ? pea_network_id(network, name, strlen(name)) : PEA_OK;
    if (err == PEA_OK)
        err = pea_root_load(&root, tool_text(said_root), why);
    if (err == PEA_OK)
        err = pea_cert_issue(&cert, root, &opts, why);
    if (err == PEA_OK)
        err = pea_cert_save(cert, tool_text(said_out), why);
    if (err == PEA_OK)
        show_certificate(cert);
    pea_cert_unref(cert);
    pea_root_free(root);
    if (err != PEA_OK)
        why->code = err;
    return err;
}

static int issue(int argc, char **argv)
{
    const char *const *args;
    pea_error why = {.code = PEA_OK};
    pea_peer peer, next = {.kind = PEA_PEER_NONE};
    int status;
    if (!tool_options(&issue_usage, argc, argv, &args, &status))
        return status;
    status = check_issue();
    if (status == TOOL_OK)
        status = identify(&peer, args[0]);
    if (status == TOOL_OK && said_next != NULL)
        status = identify(&next, tool_text(said_next));
    if (status == TOOL_OK && issue_for(&peer, &next, &why) != PEA_OK)
        status = tool_fail_why(NULL, &why);
    tool_options_done(issue_options);
    return status;
}

/* ---- cert show ---- */

static const struct poptOption show_options[] = {
    POPT_TABLEEND,
};

static const tool_usage show_usage = {
    .arguments = "FILE...",
    .examples = "  peapod cert show db-1.cert      1 if one is none, or does not hold now\n",
    .options = show_options,
    .least = 1,
    .most = -1,
};

static int show_file(const char *file)
{
    pea_error why = {.code = PEA_OK};
    pea_cert *cert;
    int64_t now = (int64_t)time(NULL);
    if (pea_cert_load(&cert, file, &why) != PEA_OK)
        return tool_fail_why(NULL, &why);
    show_certificate(cert);
    int64_t begins = pea_cert_says(cert)->not_before, ends = pea_cert_says(cert)->not_after;
    pea_cert_unref(cert);
    if (now < begins || now >= ends)
        return tool_fail(TOOL_FAILED, "%s: %s", file, now < begins ? "it does not hold yet" : "it has expired");
    return TOOL_OK;
}

static int show(int argc, char **argv)
{
    const char *const *args;
    int status;
    if (!tool_options(&show_usage, argc, argv, &args, &status))
        return status;
    for (const char *const *file = args; *file != NULL; file++) {
        if (args[1] != NULL)
            printf("%s%s:\n", file == args ? "" : "\n", *file);
        if (show_file(*file) != TOOL_OK)
            status = TOOL_FAILED; /* the others are told all the same */
    }
    tool_options_done(show_options);
    return status;
}

/* ---- cert ---- */

static const tool_command commands[] = {
    {"issue", "make a certificate for a key, by a root's", issue},
    {"show", "print what certificates for Noise say", show},
    {NULL, NULL, NULL},
};

int tool_cert(int argc, char **argv)
{
    return tool_dispatch(commands, argc, argv);
}
