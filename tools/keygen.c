/* SPDX-License-Identifier: MIT */
/* `peapod keygen`: makes a key in a new file, and prints what others know it by. */
#include "tool_priv.h"

static const struct poptOption options[] = {
    POPT_TABLEEND,
};

static const tool_usage usage = {
    .arguments = "FILE",
    .examples = "  peapod keygen alice.key      a key for Noise; the id goes to your peers, the file to nobody\n",
    .options = options,
    .least = 1,
    .most = 1,
};

static int noise_key(const char *file)
{
    pea_error why = {.code = PEA_OK};
    pea_identity *identity = NULL;
    pea_peer peer;
    int status = TOOL_OK;
    if (pea_identity_generate(&identity, &why) != PEA_OK || pea_identity_save(identity, file, &why) != PEA_OK) {
        status = tool_fail_why(file, &why);
    } else {
        pea_identity_peer(identity, &peer);
        tool_show_peer(&peer);
    }
    pea_identity_unref(identity);
    return status;
}

int tool_keygen(int argc, char **argv)
{
    const char *const *args;
    int status;
    if (!tool_options(&usage, argc, argv, &args, &status))
        return status;
    status = noise_key(args[0]);
    tool_options_done(options);
    return status;
}
