/* SPDX-License-Identifier: MIT */
/* Nodes that meet in each of the shapes: everybody is connected to whom the shape says, and to nobody else. */
#include "peapod/topology.h"
#include "support/net.h"

#define NODES 9

typedef struct mesh {
    net net;
    net_side side[NODES];
    pea_node *nodes[NODES];
} mesh;

static void setup(mesh *m)
{
    memset(m, 0, sizeof *m);
    net_setup(&m->net, PEA_NATIVE);
    for (size_t i = 0; i < NODES; i++) {
        m->side[i].net = &m->net;
        net_node(&m->side[i], PEA_NODE(.max_connections = NODES));
        net_listen(&m->side[i]);
        m->nodes[i] = m->side[i].node;
    }
}

static void teardown(mesh *m)
{
    for (size_t i = 0; i < NODES; i++)
        pea_node_free(m->nodes[i]);
    net_teardown(&m->net);
}

static size_t connects(const mesh *m)
{
    size_t sum = 0;
    for (size_t i = 0; i < NODES; i++)
        sum += m->side[i].connects;
    return sum;
}

typedef struct degrees {
    unsigned of[NODES];
} degrees;

static pea_err count(void *arg, size_t from, size_t to)
{
    degrees *d = arg;
    d->of[from]++;
    d->of[to]++;
    return PEA_OK;
}

static void each_shape(void **state)
{
    (void)state;
    for (pea_topology_shape shape = PEA_TOPOLOGY_LINE; shape <= PEA_TOPOLOGY_RANDOM; shape++) {
        const pea_topology t = {.shape = shape, .width = 3, .height = 3, .degree = 2, .seed = 7};
        degrees d = {{0}};
        mesh m;
        setup(&m);
        check_ok(pea_topology_each(&t, NODES, count, &d, NULL));
        check_ok(pea_topology_connect(&t, m.nodes, NODES, NULL, NULL));
        net_wait(&m.net, connects(&m) == 2 * pea_topology_expected(&t, NODES));
        for (size_t i = 0; i < NODES; i++) {
            pea_counts counts;
            pea_node_counts(m.nodes[i], &counts);
            assert_int_equal(counts.ready, d.of[i]);
            assert_int_equal(counts.connections, d.of[i]);
        }
        teardown(&m);
    }
}

static void a_node_that_does_not_listen(void **state)
{
    const pea_topology line = {.shape = PEA_TOPOLOGY_LINE};
    pea_error why = {0};
    mesh m;
    (void)state;
    setup(&m);
    pea_node_unlisten(m.nodes[4], m.side[4].listener);
    assert_null(pea_node_listen_addr(m.nodes[4]));
    check_err(pea_topology_connect(&line, m.nodes, NODES, NULL, &why), PEA_E_STATE);
    assert_non_null(strstr(why.text, "does not listen"));
    net_wait(&m.net, connects(&m) == 2 * 3);
    teardown(&m);
}

/* Of several addresses the first is told, until it is given up. */
static void the_first_address(void **state)
{
    pea_listener *second;
    mesh m;
    (void)state;
    setup(&m);
    check_ok(pea_node_listen(m.nodes[0], "127.0.0.1:0", NULL, &second, NULL));
    assert_ptr_equal(pea_node_listen_addr(m.nodes[0]), pea_listener_addr(m.side[0].listener));
    pea_node_unlisten(m.nodes[0], m.side[0].listener);
    assert_ptr_equal(pea_node_listen_addr(m.nodes[0]), pea_listener_addr(second));
    teardown(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_shape),
        cmocka_unit_test(a_node_that_does_not_listen),
        cmocka_unit_test(the_first_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
