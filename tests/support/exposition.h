/* SPDX-License-Identifier: MIT */
/* Reads OpenMetrics text as strictly as its specification, version 1.0, says: what a lenient scraper would let pass is
 * an error here. Of the types it knows gauge and counter. */
#ifndef PEAPOD_TEST_EXPOSITION_H
#define PEAPOD_TEST_EXPOSITION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct exposition_sample {
    char name[80];         /* with _total */
    char labels[4][2][80]; /* names and values, unescaped */
    size_t n_labels;
    uint64_t value;
    size_t family;
} exposition_sample;

typedef struct exposition {
    char families[64][80];
    size_t n_families;
    exposition_sample *samples;
    size_t n_samples;
    char error[200]; /* why it is none */
} exposition;

/* False: it is not OpenMetrics, see error. Free it in either case. */
bool exposition_read(exposition *e, const char *text, size_t len);
void exposition_free(exposition *e);

/* The value of the one sample of this name that has these labels ("node", "a", "direction", "in", NULL), in any order
 * and no others; UINT64_MAX: there is none. */
uint64_t exposition_value(const exposition *e, const char *name, ...);

#endif
