/* SPDX-License-Identifier: MIT */
/* Netstrings as a codec of the user's own, and a policy that says what it is told to say. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "toys.h"

#define DIGITS_MAX 7u

/* ---- netstring ---- */

static pea_err netstring_create(const void *config, pea_side side, const pea_peer *peer, void **self)
{
    (void)side;
    (void)peer;
    union {
        const void *in;
        int *out;
    } unconst = {.in = config};
    int **made = malloc(sizeof *made);
    if (made == NULL)
        return PEA_E_NOMEM;
    *made = unconst.out;
    ++**made;
    *self = made;
    return PEA_OK;
}

static pea_err netstring_decode(void *self, const uint8_t *data, size_t len, pea_frame *frame)
{
    (void)self;
    size_t value = 0;
    for (size_t i = frame->scanned; i < len && i <= DIGITS_MAX; i++) {
        bool digit = data[i] >= '0' && data[i] <= '9';
        if (!digit && (data[i] != ':' || i == 0))
            return PEA_E_PROTO;
        if (digit && i == DIGITS_MAX)
            return PEA_E_TOO_BIG;
        if (digit)
            continue;
        for (size_t k = 0; k < i; k++)
            value = value * 10 + (size_t)(data[k] - '0');
        frame->scanned = i; /* the colon: found once */
        frame->offset = i + 1;
        frame->len = value;
        frame->total = i + 1 + value + 1;
        if (len < frame->total)
            return PEA_MORE;
        return data[frame->total - 1] == ',' ? PEA_OK : PEA_E_PROTO;
    }
    frame->scanned = len;
    frame->total = len + 1;
    return PEA_MORE;
}

static size_t netstring_put(void *self, const void *payload, size_t len, uint8_t *dst)
{
    (void)self;
    char head[32];
    int n = snprintf(head, sizeof head, "%zu:", len);
    if (n < 0 || (size_t)n > DIGITS_MAX + 1)
        return 0;
    memcpy(dst, head, (size_t)n);
    if (len > 0)
        memcpy(dst + n, payload, len);
    dst[(size_t)n + len] = ',';
    return (size_t)n + len + 1;
}

static pea_err netstring_marks(void *self, const void *payload, size_t len, pea_frame_marks *marks)
{
    (void)self;
    (void)payload;
    char head[32];
    int n = snprintf(head, sizeof head, "%zu:", len);
    if (n < 0 || (size_t)n > DIGITS_MAX + 1)
        return PEA_E_TOO_BIG;
    memcpy(marks->before, head, (size_t)n);
    marks->before_len = (uint8_t)n;
    marks->after[0] = ',';
    marks->after_len = 1;
    return PEA_OK;
}

static void netstring_destroy(void *self)
{
    int **made = self;
    --**made;
    free(made);
}

static const pea_codec_ops netstring_ops = {
    .version = PEA_CODEC_VERSION,
    .name = "netstring",
    .create = netstring_create,
    .decode = netstring_decode,
    .overhead = DIGITS_MAX + 2,
    .put = netstring_put,
    .marks = netstring_marks,
    .destroy = netstring_destroy,
};

pea_err toy_netstring_new(pea_codec **codec, int *made)
{
    return pea_codec_new(codec, &netstring_ops, made, NULL);
}

/* ---- policy ---- */

static pea_err policy_check(void *self, pea_peer *peer, const pea_candidate *candidate, pea_reason *why)
{
    toy_policy *p = self;
    p->checks++;
    p->asked = *peer;
    p->side = candidate->side;
    p->has_from = candidate->from != NULL;
    if (p->verdict == PEA_WAIT) {
        p->open = true;
        p->ticket = candidate->ticket;
    } else if (p->verdict < 0) {
        strncpy(why->text, "the toy says no", sizeof why->text - 1);
    } else {
        strncpy(peer->role, "toy", sizeof peer->role - 1);
    }
    return p->verdict;
}

static uint64_t policy_generation(void *self)
{
    return ((const toy_policy *)self)->generation;
}

static void policy_destroy(void *self)
{
    ((toy_policy *)self)->destroyed = true;
}

const pea_policy_ops toy_policy_ops = {
    .version = PEA_POLICY_VERSION,
    .name = "toy",
    .check = policy_check,
    .generation = policy_generation,
    .destroy = policy_destroy,
};
