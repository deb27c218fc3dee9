/* SPDX-License-Identifier: MIT */
/* What a first message says beside keys: its TLVs, and a gate that has the time of one of them before it. Input: the
 * payload. What it refuses has a sentence; what it takes can be written again, and is not taken twice. */
#include <stdlib.h>
#include <string.h>

#include "noise_stage_priv.h"

#define NOW_MS INT64_C(1700000000000)
#define WINDOW_MS 60000

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void at_the_gate(pea_span timestamp)
{
    static const uint8_t ephemeral[PEA_KEY_BYTES] = {1};
    pea__noise_gate *gate;
    char what[PEA__GATE_TEXT_MAX] = "";
    require(pea__noise_gate_new(&gate, WINDOW_MS, 1) == PEA_OK);
    pea_err err = pea__noise_gate_pass(gate, ephemeral, timestamp, NOW_MS, what);
    if (err == PEA_OK) {
        require(timestamp.len == 8 && memcmp(timestamp.data, "\0\0\1\x8b", 4) == 0);
        err = pea__noise_gate_pass(gate, ephemeral, timestamp, NOW_MS, what);
        require(err == PEA_E_REFUSED);
    }
    require(err == PEA_E_REFUSED || err == PEA_E_PROTO);
    require(what[0] != '\0' && memchr(what, '\0', sizeof what) != NULL);
    pea__noise_gate_free(gate);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pea__noise_payload known, again;
    const char *what = NULL;
    pea_buf written = {0};
    memset(&known, 0, sizeof known);
    pea_err err = pea__noise_payload_read((pea_span){data, size}, &known, &what);
    if (err != PEA_OK) {
        require(err == PEA_E_PROTO && what != NULL && known.timestamp.data == NULL);
        return 0;
    }
    at_the_gate(known.timestamp);
    if (known.timestamp.data == NULL)
        return 0;
    require(known.timestamp.data >= data && known.timestamp.len <= (size_t)(data + size - known.timestamp.data));
    require(pea__noise_payload_add(&written, PEA__NOISE_TLV_TIMESTAMP, known.timestamp) == PEA_OK);
    require(pea__noise_payload_read((pea_span){written.data, written.len}, &again, &what) == PEA_OK);
    require(again.timestamp.len == known.timestamp.len);
    require(again.timestamp.len == 0 || memcmp(again.timestamp.data, known.timestamp.data, again.timestamp.len) == 0);
    pea_buf_free(&written);
    return 0;
}
