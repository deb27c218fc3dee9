/* SPDX-License-Identifier: MIT */
/* What a responder asks of a first message that was made under the network's key, before it costs anything: that it is
 * not old, and that it did not come before. So a recording is worth nothing to somebody without the key. One for each
 * chain, and all threads share it. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "buf_priv.h"
#include "hash_priv.h"
#include "noise_stage_priv.h"
#include "tlv_priv.h"

#define TIMESTAMP_BYTES 8u /* u64 milliseconds since 1970 */
#define WAYS 16u           /* places of a set, for half as many on average: few sets run over */

/* A first message that came. `age` orders them: the time that it says it was made, or the number that it had here. */
typedef struct seen {
    uint64_t tag; /* a keyed hash of its ephemeral key; 0: the place is free */
    uint64_t age;
} seen;

struct pea__noise_gate {
    uint32_t window_ms; /* 0: nobody is asked for the time */
    size_t sets;
    pthread_mutex_t lock; /* over what follows: to look and to remember is one step */
    uint64_t number;
    seen places[];
};

pea_err pea__noise_gate_new(pea__noise_gate **gate, uint32_t window_ms, uint32_t remembers)
{
    size_t sets = ((size_t)remembers + WAYS / 2 - 1) / (WAYS / 2);
    pea__noise_gate *g = pea__alloc(sizeof *g + sets * WAYS * sizeof g->places[0]);
    if (g == NULL)
        return PEA_E_NOMEM;
    g->window_ms = window_ms;
    g->sets = sets;
    if (pthread_mutex_init(&g->lock, NULL) != 0) {
        pea__free(g);
        return PEA_E_NOMEM;
    }
    *gate = g;
    return PEA_OK;
}

void pea__noise_gate_free(pea__noise_gate *gate)
{
    if (gate == NULL)
        return;
    (void)pthread_mutex_destroy(&gate->lock);
    pea__free(gate);
}

/* ---- The time ---- */

pea_err pea__noise_gate_say(const pea__noise_gate *gate, int64_t now_ms, pea_buf *payload)
{
    uint8_t time[TIMESTAMP_BYTES];
    if (gate->window_ms == 0)
        return PEA_OK;
    pea__put_be(time, (uint64_t)now_ms, sizeof time);
    return pea__noise_payload_add(payload, PEA__NOISE_TLV_TIMESTAMP, (pea_span){time, sizeof time});
}

static pea_err check_time(const pea__noise_gate *gate, uint64_t said, uint64_t now, char what[PEA__GATE_TEXT_MAX])
{
    bool late = now >= said;
    uint64_t off = late ? now - said : said - now;
    if (off <= gate->window_ms)
        return PEA_OK;
    (void)snprintf(what, PEA__GATE_TEXT_MAX,
                   "by our clock it was made %llu.%03llu s %s, and .gate_window_ms is %lu: %s",
                   (unsigned long long)(off / 1000), (unsigned long long)(off % 1000), late ? "ago" : "from now",
                   (unsigned long)gate->window_ms,
                   late ? "it is a recording, or the clocks differ by so much" : "the clocks differ by so much");
    return PEA_E_REFUSED;
}

static pea_err read_time(pea_span timestamp, uint64_t *said, char what[PEA__GATE_TEXT_MAX])
{
    if (timestamp.data == NULL) {
        (void)snprintf(what, PEA__GATE_TEXT_MAX, "it does not say when it was made: the peer has no .gate_window_ms");
        return PEA_E_PROTO;
    }
    if (timestamp.len != TIMESTAMP_BYTES) {
        (void)snprintf(what, PEA__GATE_TEXT_MAX, "the time that it says has not 8 bytes");
        return PEA_E_PROTO;
    }
    *said = pea__get_be(timestamp.data, TIMESTAMP_BYTES);
    return PEA_OK;
}

/* ---- What came before ---- */

/* Remembers it; where there is no room the one goes that leaves the window first, or that came first. false: it was
 * remembered already. */
static bool remember(pea__noise_gate *gate, uint64_t tag, uint64_t age)
{
    seen *set = gate->places + tag % gate->sets * WAYS, *oldest = set;
    for (seen *s = set; s < set + WAYS; s++) {
        if (s->tag == tag)
            return false;
        if (oldest->tag != 0 && (s->tag == 0 || s->age < oldest->age))
            oldest = s;
    }
    *oldest = (seen){tag, age};
    return true;
}

pea_err pea__noise_gate_pass(pea__noise_gate *gate, const uint8_t ephemeral[PEA_KEY_BYTES], pea_span timestamp,
                             int64_t now_ms, char what[PEA__GATE_TEXT_MAX])
{
    uint64_t said = 0, tag = pea__table_hash(ephemeral, PEA_KEY_BYTES);
    pea_err err = gate->window_ms == 0 ? PEA_OK : read_time(timestamp, &said, what);
    if (err == PEA_OK && gate->window_ms != 0)
        err = check_time(gate, said, (uint64_t)now_ms, what);
    if (err != PEA_OK)
        return err;
    (void)pthread_mutex_lock(&gate->lock);
    bool first = remember(gate, tag != 0 ? tag : 1, gate->window_ms != 0 ? said : ++gate->number);
    (void)pthread_mutex_unlock(&gate->lock);
    if (first)
        return PEA_OK;
    (void)snprintf(what, PEA__GATE_TEXT_MAX, "it came before: it is a recording");
    return PEA_E_REFUSED;
}
