/* SPDX-License-Identifier: MIT */
/* See faults.h. Sizes are asked of malloc itself, so that a sanitizer sees each block's own bounds. */
#include "faults.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "peapod/buf.h"

/* Threads allocate too. */
static atomic_size_t countdown = SIZE_MAX; /* allocations until the one that fails; SIZE_MAX: none */
static atomic_bool all, hit;
static atomic_size_t blocks, bytes, allocations;

/* Counts one allocation; whether it is the one. */
static bool its_turn(void)
{
    size_t left = countdown;
    while (left != SIZE_MAX && !atomic_compare_exchange_weak(&countdown, &left, left == 0 ? SIZE_MAX : left - 1))
        continue;
    return left == 0;
}

static void *counted_realloc(void *arg, void *ptr, size_t size)
{
    (void)arg;
    allocations++;
    bool fails = its_turn() || all || size > PTRDIFF_MAX; /* malloc refuses that as well; a sanitizer would stop */
    if (fails) {
        hit = true;
        return NULL;
    }
    size_t before = ptr != NULL ? malloc_usable_size(ptr) : 0;
    void *fresh = realloc(ptr, size);
    if (fresh == NULL)
        abort(); /* the machine itself is out of memory: no test can go on */
    blocks += ptr == NULL;
    bytes += malloc_usable_size(fresh) - before;
    return fresh;
}

static void counted_free(void *arg, void *ptr)
{
    (void)arg;
    blocks--;
    bytes -= malloc_usable_size(ptr);
    free(ptr);
}

void faults_install(void)
{
    const pea_allocator allocator = {counted_realloc, counted_free, NULL};
    if (pea_set_allocator(&allocator) != PEA_OK) {
        fputs("faults_install(): the library has allocated already\n", stderr);
        exit(1);
    }
}

void faults_arm(size_t nth)
{
    countdown = nth;
    hit = false;
}

void faults_arm_all(void)
{
    all = true;
    hit = false;
}

bool faults_disarm(void)
{
    countdown = SIZE_MAX;
    all = false;
    return hit;
}

size_t faults_blocks(void)
{
    return blocks;
}

size_t faults_bytes(void)
{
    return bytes;
}

size_t faults_allocations(void)
{
    return allocations;
}
