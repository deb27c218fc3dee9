/* SPDX-License-Identifier: MIT */
/* A mesh of a fixed shape. Each node has a key, and lets in who is to dial it by that shape, and nobody else; who dials
 * expects whom the shape says. All nodes live in one process here, and greet their neighbours.
 *   fixed_mesh SHAPE NODES [DEGREE]    SHAPE: line ring mesh star tree random, or grid with WIDTHxHEIGHT for NODES
 * Exit status: 0 all connections stood and all greetings arrived, 2 wrong use, 1 anything else. */
#include <ev.h>
#include <peapod/peapod.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static pea_topology shape;
static size_t count, edges, connects, greetings;
static pea_node **nodes;
static pea_peer *peers; /* who they are */
static pea_trust **trusts;
static int status;

static void shut_down(void)
{
    for (size_t i = 0; i < count; i++)
        if (pea_node_shutdown(nodes[i], 0, NULL, NULL) != PEA_OK)
            abort();
}

static long memory_kib(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? usage.ru_maxrss : 0;
}

static void on_connect(pea_conn *conn, void *user)
{
    (void)user;
    if (++connects == 2 * edges)
        printf("%zu nodes, %zu connections, %ld KiB\n", count, edges, memory_kib());
    if (pea_conn_send(conn, "hello", 5) != PEA_OK)
        pea_conn_abort(conn);
}

static void on_message(pea_conn *conn, const uint8_t *data, size_t len, void *user)
{
    (void)user, (void)data, (void)len;
    if (count <= 10)
        printf("%s heard %s\n", pea_node_name(pea_conn_node(conn)), pea_conn_peer(conn)->name);
    if (++greetings == 2 * edges)
        shut_down();
}

static void on_failed(pea_node *node, const pea_conn_info *info, const pea_reason *reason, void *user)
{
    char text[PEA_REASON_TEXT_BYTES];
    (void)info, (void)user;
    fprintf(stderr, "%s: %s\n", pea_node_name(node), pea_reason_format(reason, text));
    if (status == 0)
        shut_down();
    status = 1;
}

static void must(pea_err err, const pea_error *why, int exit_status)
{
    if (err == PEA_OK)
        return;
    fprintf(stderr, "fixed_mesh: %s\n", why->text[0] != '\0' ? why->text : pea_err_text(err));
    exit(exit_status);
}

/* Node i, which as yet lets nobody in. */
static void make(size_t i, pea_runtime *runtime)
{
    static const pea_node_callbacks on = {
        .on_connect = on_connect, .on_message = on_message, .on_connect_failed = on_failed};
    pea_error why = {.code = PEA_OK};
    pea_identity *me;
    pea_chain *chain;
    char name[32];
    must(pea_identity_generate(&me, &why), &why, 1);
    pea_identity_peer(me, &peers[i]);
    snprintf(peers[i].name, sizeof peers[i].name, "node %zu", i);
    snprintf(name, sizeof name, "node %zu", i);
    must(pea_trust_new(&trusts[i]), &why, 1);
    must(pea_chain_new(&chain, NULL, &why), &why, 1);
    must(pea_chain_noise(chain, PEA_NOISE(.identity = me), &why), &why, 1);
    must(pea_node_new(&nodes[i], runtime,
                      PEA_NODE(.name = name, .chain = chain, .policy = pea_trust_policy(trusts[i]), .on = &on), &why),
         &why, 1);
    must(pea_node_listen(nodes[i], "127.0.0.1:0", PEA_LISTEN(.backlog = 16), NULL, &why), &why, 1);
    pea_chain_unref(chain); /* the node holds them now */
    pea_identity_unref(me);
}

/* An edge of the shape: both ends know each other by name. */
static pea_err introduce(void *arg, size_t from, size_t to)
{
    pea_err err = pea_trust_allow(trusts[to], &peers[from], peers[from].name, NULL, arg);
    return err == PEA_OK ? pea_trust_allow(trusts[from], &peers[to], peers[to].name, NULL, arg) : err;
}

static bool read_shape(int argc, char **argv)
{
    static const char *const names[] = {"line", "ring", "mesh", "star", "grid", "tree", "random"};
    char *end = NULL;
    if (argc < 3 || argc > 4)
        return false;
    while (shape.shape < PEA_TOPOLOGY_RANDOM && strcmp(argv[1], names[shape.shape]) != 0)
        shape.shape++;
    if (strcmp(argv[1], names[shape.shape]) != 0)
        return false;
    count = strtoul(argv[2], &end, 10);
    if (shape.shape == PEA_TOPOLOGY_GRID && *end == 'x') {
        shape.width = count;
        shape.height = strtoul(end + 1, &end, 10);
        count = shape.width < 10000 && shape.height < 10000 ? shape.width * shape.height : 0;
    }
    shape.degree = argc == 4 ? strtoul(argv[3], NULL, 10) : shape.shape == PEA_TOPOLOGY_RANDOM ? 2 : 0;
    return *end == '\0' && count <= 100000;
}

int main(int argc, char **argv)
{
    pea_error why = {.text = "usage: fixed_mesh line|ring|mesh|star|tree|random NODES [DEGREE] | grid WIDTHxHEIGHT"};
    pea_runtime *runtime;
    must(read_shape(argc, argv) ? PEA_OK : PEA_E_INVALID, &why, 2);
    edges = pea_topology_expected(&shape, count);
    snprintf(why.text, sizeof why.text, "no %s can be made of %zu nodes", argv[1], count);
    must(edges > 0 ? PEA_OK : PEA_E_INVALID, &why, 2);
    nodes = calloc(count, sizeof(pea_node *));
    peers = calloc(count, sizeof *peers);
    trusts = calloc(count, sizeof(pea_trust *));
    must(nodes != NULL && peers != NULL && trusts != NULL ? PEA_OK : PEA_E_NOMEM, &(pea_error){.code = PEA_OK}, 1);
    must(pea_runtime_new(&runtime, PEA_RUNTIME(.loop = EV_DEFAULT), &why), &why, 1);
    for (size_t i = 0; i < count; i++)
        make(i, runtime);
    must(pea_topology_each(&shape, count, introduce, &why, &why), &why, 1);
    must(pea_topology_connect(&shape, nodes, count, peers, &why), &why, 1);
    ev_run(EV_DEFAULT, 0);
    for (size_t i = 0; i < count; i++) {
        pea_node_free(nodes[i]);
        pea_trust_unref(trusts[i]);
    }
    free(nodes);
    free(peers);
    free(trusts);
    must(pea_runtime_free(runtime), &why, 1);
    return status;
}
