/* SPDX-License-Identifier: MIT */
/* The table whose entries hold its links: finding, growing, walking, and memory that is short. */
#include "support/faults.h"

#include <string.h>

#include "index_priv.h"
#include "support/check.h"

typedef struct thing {
    uint64_t key;
    unsigned walked;
    pea__index_link link;
} thing;

static thing *thing_of(pea__index_link *link)
{
    return (thing *)(void *)((char *)link - offsetof(thing, link));
}

/* All keys that are alike modulo 1024 stay in one list for long. */
static uint64_t hash_of(const pea__index_link *link)
{
    return ((const thing *)(const void *)((const char *)link - offsetof(thing, link)))->key;
}

static thing *find(const pea__index *index, uint64_t key)
{
    for (pea__index_link *l = pea__index_at(index, key); l != NULL; l = l->next)
        if (thing_of(l)->key == key)
            return thing_of(l);
    return NULL;
}

enum { THINGS = 1000 };
static thing things[THINGS + 1];

/* `step` between two keys. */
static pea__index filled(uint64_t step)
{
    pea__index index = {.hash = hash_of};
    memset(things, 0, sizeof things);
    for (uint64_t i = 0; i < THINGS; i++) {
        things[i].key = i * step;
        assert_true(pea__index_add(&index, &things[i].link));
    }
    things[THINGS].key = THINGS * step;
    return index;
}

static void emptied(pea__index *index)
{
    for (size_t i = 0; i < THINGS; i++)
        pea__index_remove(index, &things[i].link);
    assert_null(index->lists);
    assert_int_equal(faults_blocks(), 0);
}

static void finds_each_and_no_other(void **state)
{
    static const uint64_t steps[] = {1, 3, 1024};
    (void)state;
    for (size_t s = 0; s < sizeof steps / sizeof steps[0]; s++) {
        pea__index index = filled(steps[s]);
        for (uint64_t i = 0; i < THINGS; i++)
            assert_ptr_equal(find(&index, i * steps[s]), &things[i]);
        assert_null(find(&index, THINGS * steps[s]));
        emptied(&index);
        assert_null(find(&index, 0));
    }
}

static void removes_one_of_a_list(void **state)
{
    (void)state;
    pea__index index = filled(1024);
    for (uint64_t i = 0; i < THINGS; i += 2)
        pea__index_remove(&index, &things[i].link);
    for (uint64_t i = 0; i < THINGS; i++)
        assert_ptr_equal(find(&index, i * 1024), i % 2 == 0 ? NULL : &things[i]);
    for (uint64_t i = 0; i < THINGS; i += 2)
        assert_true(pea__index_add(&index, &things[i].link));
    emptied(&index);
}

/* Two entries of the same key: the newer one comes first, until the lists move. */
static void equal_keys(void **state)
{
    (void)state;
    thing old = {.key = 7}, young = {.key = 7};
    pea__index index = {.hash = hash_of};
    assert_true(pea__index_add(&index, &old.link));
    assert_true(pea__index_add(&index, &young.link));
    assert_ptr_equal(find(&index, 7), &young);
    pea__index_remove(&index, &young.link);
    assert_ptr_equal(find(&index, 7), &old);
    pea__index_remove(&index, &old.link);
}

static void takes_little(void **state)
{
    (void)state;
    pea__index index = filled(1);
    assert_int_equal(faults_blocks(), 1);
    assert_true(faults_bytes() <= THINGS * sizeof(void *));
    emptied(&index);
}

/* ---- Walks ---- */

typedef struct walk {
    pea__index *index;
    size_t added; /* of `more` */
    thing more[THINGS];
} walk;

static void visit(pea__index_link *link, void *arg)
{
    walk *w = arg;
    thing_of(link)->walked++;
    if (w->added < THINGS) {
        thing *t = &w->more[w->added++];
        t->key = (uint64_t)(THINGS + w->added);
        assert_true(pea__index_add(w->index, &t->link));
    }
}

/* Each that was there is met once, though as many come meanwhile; the lists grow afterwards. */
static void a_walk_while_others_come(void **state)
{
    static walk w;
    (void)state;
    pea__index index = filled(1);
    w.index = &index;
    size_t lists = index.n_lists;
    pea__index_each(&index, visit, &w);
    assert_int_equal(w.added, THINGS);
    assert_int_equal(index.n_lists, lists);
    for (size_t i = 0; i < THINGS; i++)
        assert_int_equal(things[i].walked, 1);
    for (size_t i = 0; i < THINGS; i++) {
        assert_ptr_equal(find(&index, w.more[i].key), &w.more[i]);
        assert_true(w.more[i].walked <= 1);
        pea__index_remove(&index, &w.more[i].link);
    }
    things[THINGS].key = 5 * THINGS;
    for (size_t i = 0; i < THINGS; i++)
        assert_true(pea__index_add(&index, &w.more[i].link));
    assert_true(index.n_lists > lists);
    for (size_t i = 0; i < THINGS; i++)
        pea__index_remove(&index, &w.more[i].link);
    emptied(&index);
}

/* ---- Memory that is short ---- */

static void only_the_first_needs_memory(void **state)
{
    (void)state;
    pea__index index = {.hash = hash_of};
    memset(things, 0, sizeof things);
    faults_arm_all();
    assert_false(pea__index_add(&index, &things[0].link));
    assert_null(find(&index, 0));
    (void)faults_disarm();
    assert_true(pea__index_add(&index, &things[0].link));
    faults_arm_all();
    for (uint64_t i = 1; i < THINGS; i++) {
        things[i].key = i;
        assert_true(pea__index_add(&index, &things[i].link));
    }
    (void)faults_disarm();
    for (uint64_t i = 0; i < THINGS; i++)
        assert_ptr_equal(find(&index, i), &things[i]);
    emptied(&index);
}

int main(void)
{
    faults_install();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_each_and_no_other),
        cmocka_unit_test(removes_one_of_a_list),
        cmocka_unit_test(equal_keys),
        cmocka_unit_test(takes_little),
        cmocka_unit_test(a_walk_while_others_come),
        cmocka_unit_test(only_the_first_needs_memory),
    };
    return cmocka_run_group_tests_name("index", tests, NULL, NULL);
}
