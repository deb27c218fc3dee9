/* SPDX-License-Identifier: MIT */
/* Shapes: which pairs they make, how many, and what cannot be made. That nodes really meet so is a net test's
 * business. */
#include <stdlib.h>

#include "peapod/topology.h"
#include "support/check.h"
#include "support/faults.h"

#define NODES_MAX 64

typedef struct drawn {
    size_t edges, stop_at;
    uint8_t met[NODES_MAX][NODES_MAX]; /* by either, how often */
    size_t dials[NODES_MAX], dialled[NODES_MAX];
} drawn;

static pea_err draw(void *arg, size_t from, size_t to)
{
    drawn *d = arg;
    assert_true(from < NODES_MAX && to < NODES_MAX && from != to);
    if (d->edges == d->stop_at)
        return PEA_E_STATE;
    d->edges++;
    d->met[from][to]++;
    d->met[to][from]++;
    d->dials[from]++;
    d->dialled[to]++;
    return PEA_OK;
}

static size_t reach(const drawn *d, size_t n, size_t from, bool *seen)
{
    size_t count = 1;
    seen[from] = true;
    for (size_t to = 0; to < n; to++)
        if (d->met[from][to] > 0 && !seen[to])
            count += reach(d, n, to, seen);
    return count;
}

/* Whatever the shape: as many as expected, nobody twice, and everybody can be reached. */
static void check_shape(const pea_topology *t, size_t n, drawn *d)
{
    bool seen[NODES_MAX] = {false};
    *d = (drawn){.stop_at = SIZE_MAX};
    check_ok(pea_topology_each(t, n, draw, d, NULL));
    assert_int_equal(d->edges, pea_topology_expected(t, n));
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            assert_true(d->met[i][j] <= 1);
    assert_int_equal(reach(d, n, 0, seen), n);
}

static void every_shape(void **state)
{
    drawn d;
    (void)state;
    for (size_t n = 2; n <= 40; n++) {
        check_shape(&(pea_topology){.shape = PEA_TOPOLOGY_LINE}, n, &d);
        assert_int_equal(d.edges, n - 1);
        check_shape(&(pea_topology){.shape = PEA_TOPOLOGY_MESH}, n, &d);
        assert_int_equal(d.edges, n * (n - 1) / 2);
        check_shape(&(pea_topology){.shape = PEA_TOPOLOGY_STAR}, n, &d);
        assert_int_equal(d.dialled[0], n - 1);
        check_shape(&(pea_topology){.shape = PEA_TOPOLOGY_TREE}, n, &d);
        assert_int_equal(d.dials[0], n > 2 ? 2 : 1);
        check_shape(&(pea_topology){.shape = PEA_TOPOLOGY_TREE, .degree = 5}, n, &d);
        assert_int_equal(d.dials[0], n > 5 ? 5 : n - 1);
        if (n >= 3) {
            check_shape(&(pea_topology){.shape = PEA_TOPOLOGY_RING}, n, &d);
            assert_int_equal(d.edges, n);
        }
        for (size_t width = 1; width <= n; width++)
            if (n % width == 0)
                check_shape(&(pea_topology){.shape = PEA_TOPOLOGY_GRID, .width = width, .height = n / width}, n, &d);
    }
}

static void random_ones(void **state)
{
    drawn d, again, other;
    (void)state;
    for (size_t n = 3; n <= 41; n++)
        for (size_t degree = 1; degree <= (n - 1) / 2; degree++) {
            const pea_topology t = {.shape = PEA_TOPOLOGY_RANDOM, .degree = degree, .seed = n};
            check_shape(&t, n, &d);
            for (size_t i = 0; i < n; i++)
                assert_true(d.dials[i] == degree && d.dialled[i] == degree);
        }
    pea_topology t = {.shape = PEA_TOPOLOGY_RANDOM, .degree = 4, .seed = 1};
    check_shape(&t, 40, &d);
    check_shape(&t, 40, &again);
    assert_memory_equal(d.met, again.met, sizeof d.met);
    t.seed = 2;
    check_shape(&t, 40, &other);
    assert_memory_not_equal(d.met, other.met, sizeof d.met);
}

static void what_cannot_be_made(void **state)
{
    static const struct {
        pea_topology t;
        size_t n;
    } bad[] = {
        {{.shape = PEA_TOPOLOGY_LINE}, 0},
        {{.shape = PEA_TOPOLOGY_MESH}, 1},
        {{.shape = PEA_TOPOLOGY_RING}, 2},
        {{.shape = PEA_TOPOLOGY_GRID, .width = 3, .height = 3}, 8},
        {{.shape = PEA_TOPOLOGY_GRID, .width = 0, .height = 0}, 4},
        {{.shape = PEA_TOPOLOGY_GRID, .width = 4, .height = 2}, 4},
        {{.shape = PEA_TOPOLOGY_RANDOM, .degree = 0}, 9},
        {{.shape = PEA_TOPOLOGY_RANDOM, .degree = 5}, 10},
        {{.shape = (pea_topology_shape)99}, 10},
    };
    drawn d = {.stop_at = SIZE_MAX};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        pea_error why = {0};
        check_err(pea_topology_each(&bad[i].t, bad[i].n, draw, &d, &why), PEA_E_INVALID);
        assert_true(why.text[0] != '\0');
        assert_int_equal(pea_topology_expected(&bad[i].t, bad[i].n), 0);
    }
    assert_int_equal(d.edges, 0);
}

static void a_dial_that_fails_ends_it(void **state)
{
    (void)state;
    for (pea_topology_shape shape = PEA_TOPOLOGY_LINE; shape <= PEA_TOPOLOGY_RANDOM; shape++) {
        const pea_topology t = {.shape = shape, .width = 3, .height = 3, .degree = 2};
        for (size_t at = 0; at < pea_topology_expected(&t, 9); at++) {
            drawn d = {.stop_at = at};
            check_err(pea_topology_each(&t, 9, draw, &d, NULL), PEA_E_STATE);
            assert_int_equal(d.edges, at);
        }
    }
}

static void no_memory(void **state)
{
    const pea_topology t = {.shape = PEA_TOPOLOGY_RANDOM, .degree = 2};
    size_t blocks = faults_blocks();
    bool hit = true;
    (void)state;
    for (size_t nth = 0; hit; nth++) {
        drawn d = {.stop_at = SIZE_MAX};
        faults_arm(nth);
        pea_err err = pea_topology_each(&t, 9, draw, &d, NULL);
        hit = faults_disarm();
        check_err(err, hit ? PEA_E_NOMEM : PEA_OK);
        assert_int_equal(faults_blocks(), blocks);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_shape),         cmocka_unit_test(random_ones),
        cmocka_unit_test(what_cannot_be_made), cmocka_unit_test(a_dial_that_fails_ends_it),
        cmocka_unit_test(no_memory),
    };
    faults_install();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
