/* SPDX-License-Identifier: MIT */
/* What a node costs: `nodes NODES`. That many nodes of one runtime, each with a key, a chain, a policy and a listener
 * of its own. Prints KiB for each (the slope of RSS between NODES/9 and NODES), and the microseconds in which one
 * starts, listening, and stops. */
#include <ev.h>
#include <peapod/peapod.h>
#include <stdio.h>
#include <stdlib.h>

#include "two.h"

#define NODES_MOST 100000

static void must(pea_err err, const pea_error *why)
{
    if (err != PEA_OK)
        two_fail(why->text[0] != '\0' ? why->text : pea_err_text(err));
}

static pea_node *start(pea_runtime *runtime)
{
    pea_error why = {.text = ""};
    pea_identity *me;
    pea_trust *trust;
    pea_chain *chain;
    pea_node *node;
    must(pea_identity_generate(&me, &why), &why);
    must(pea_trust_new(&trust), &why);
    must(pea_chain_new(&chain, NULL, &why), &why);
    must(pea_chain_noise(chain, PEA_NOISE(.identity = me), &why), &why);
    must(pea_node_new(&node, runtime, PEA_NODE(.chain = chain, .policy = pea_trust_policy(trust)), &why), &why);
    must(pea_node_listen(node, "127.0.0.1:0", NULL, NULL, &why), &why);
    pea_chain_unref(chain);
    pea_trust_unref(trust);
    pea_identity_unref(me);
    return node;
}

int main(int argc, char **argv)
{
    pea_error why = {.text = ""};
    pea_runtime *runtime;
    if (argc != 2) {
        (void)fprintf(stderr, "usage: nodes NODES\n");
        return 2;
    }
    unsigned all = (unsigned)two_number(argv[1], "NODES", NODES_MOST), few = (all + 8) / 9, i = 0;
    two_allow_descriptors();
    pea_node **nodes = calloc(all, sizeof *nodes);
    if (nodes == NULL || few == all)
        two_fail("NODES: at least 2");
    two_pin(TWO_RECEIVER_CPU);
    must(pea_runtime_new(&runtime, PEA_RUNTIME(.loop = EV_DEFAULT), &why), &why);
    for (; i < few; i++)
        nodes[i] = start(runtime);
    double kib = two_rss_kib(), begun = two_now();
    for (; i < all; i++)
        nodes[i] = start(runtime);
    printf("start_us %.1f\n", (two_now() - begun) * 1e6 / (all - few));
    printf("kib %.2f\n", (two_rss_kib() - kib) / (all - few));
    begun = two_now();
    for (i = 0; i < all; i++)
        pea_node_free(nodes[i]);
    ev_run(EV_DEFAULT, 0); /* until the last of them has gone */
    printf("stop_us %.1f\n", (two_now() - begun) * 1e6 / all);
    free(nodes);
    return pea_runtime_free(runtime) == PEA_OK ? 0 : 1;
}
