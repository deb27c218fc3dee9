/* SPDX-License-Identifier: MIT */
/* The TLS engine against a peer's bytes. Input: one byte that chooses the side, the version and how far a true
 * handshake goes before it is disturbed, then the bytes that are said in its place, whole or in pieces. Whatever
 * they are: nobody is known who did not prove it, no plaintext comes out of them, and what is not a whole record
 * stays where it is. */
#include <stdlib.h>
#include <string.h>

#include "tls/tls_priv.h"

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* A self-signed certificate of P-256, good until 2049, and its key: made for this, and for nothing else. */
#include "fuzz_tls_identity.h"

static pea__tls *tls[2];

static void make_tls(void)
{
    static const pea_tls_version versions[] = {PEA_TLS_ANY, PEA_TLS_1_2};
    if (tls[0] != NULL)
        return;
    pea_identity *me;
    require(pea_identity_parse_certificate(&me, (pea_span){identity_crt, sizeof identity_crt},
                                           (pea_span){identity_key, sizeof identity_key}, NULL, NULL, NULL) == PEA_OK);
    for (int i = 0; i < 2; i++) {
        pea_tls_opts opts = PEA_TLS_INIT;
        opts.identity = me;
        opts.highest = versions[i];
        require(pea__tls_new(&tls[i], &opts, true, NULL) == PEA_OK);
    }
    pea_identity_unref(me);
}

/* Says the input to a transform: it was not sealed with its keys. */
static void disturb_records(pea__tls_session *s, pea_buf *wire, pea_span said)
{
    pea_transform t;
    pea_buf plain = {0}, reply = {0};
    pea__tls_yield(s, &t);
    require(pea_buf_append(wire, said.data, said.len) == PEA_OK);
    pea_err err;
    do
        err = t.ops->unseal(t.self, wire, &plain, 1000, &reply);
    while (err == PEA_AGAIN);
    require(plain.len == 0 && err != PEA_EOF);
    t.ops->destroy(t.self);
    pea_buf_free(&plain);
    pea_buf_free(&reply);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    make_tls();
    pea_side victim = data[0] & 1 ? PEA_RESPONDER : PEA_INITIATOR;
    unsigned rounds = data[0] >> 2 & 7, piece = data[0] & 32 ? 7 : 1u << 20;
    pea_span said = {data + 1, size - 1};
    pea__tls_session *s[2];
    pea_buf wire[2] = {{0}, {0}};
    pea_err err[2] = {PEA_MORE, PEA_MORE};
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++)
        require(pea__tls_session_new(&s[side], tls[data[0] >> 1 & 1], side, NULL, NULL) == PEA_OK);
    for (unsigned i = 0; i < rounds; i++)
        do
            err[i % 2] = err[i % 2] < 0 || err[i % 2] == PEA_DONE
                             ? err[i % 2]
                             : pea__tls_step(s[i % 2], &wire[!(i % 2)], &wire[i % 2]);
        while (err[i % 2] == PEA_AGAIN);
    require(err[0] >= 0 && err[1] >= 0);
    bool complete = err[victim] == PEA_DONE;
    if (complete) {
        disturb_records(s[victim], &wire[!victim], said);
    } else {
        pea_buf_consume(&wire[!victim], wire[!victim].len);
        for (size_t at = 0, n; at < said.len && err[victim] == PEA_MORE; at += n) {
            n = said.len - at < piece ? said.len - at : piece;
            require(pea_buf_append(&wire[!victim], said.data + at, n) == PEA_OK);
            err[victim] = pea__tls_step(s[victim], &wire[!victim], &wire[victim]);
            require(err[victim] != PEA_DONE && err[victim] != PEA_AGAIN);
        }
        require(err[victim] >= 0 || pea__tls_sentence(s[victim])[0] != '\0');
        require(err[victim] < 0 || wire[!victim].len < PEA__TLS_RECORD_MAX);
        pea__tls_session_free(s[victim]);
    }
    pea__tls_session_free(s[!victim]);
    pea_buf_free(&wire[0]);
    pea_buf_free(&wire[1]);
    return 0;
}
