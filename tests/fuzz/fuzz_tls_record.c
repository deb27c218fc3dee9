/* SPDX-License-Identifier: MIT */
/* Own records of TLS from a peer that has the keys, and may say anything with them; and from somebody who changes what
 * it says. Input: a byte for version, cipher and side, one for the pieces in which it is read, two for a bit that is
 * changed (0: none); then records: a type, a length, and so many bytes. Whatever they are: what comes out is what went
 * in as data, in order and up to the first thing that is wrong; an answer is short; nothing stays behind. */
#include <stdlib.h>
#include <string.h>

#include "tls/session_priv.h"

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* One side, as a handshake would have left it. */
static pea__tls_own *make(pea_side side, pea_tls_version version, pea__aead_id aead)
{
    pea__tls_own *own = pea__alloc(sizeof *own);
    pea__tls_keys keys[2];
    require(own != NULL);
    own->side = side;
    own->alert = -1;
    own->content_max = 16384;
    own->secrets = (pea__tls_secrets){.version = version, .aead = aead, .prf = MBEDTLS_SSL_TLS_PRF_SHA256};
    own->secrets.md = MBEDTLS_MD_SHA256;
    memset(own->secrets.exporter, 1, sizeof own->secrets.exporter);
    memset(own->secrets.traffic[0], 2, sizeof own->secrets.traffic[0]);
    memset(own->secrets.traffic[1], 3, sizeof own->secrets.traffic[1]);
    require(pea__tls_first_keys(&own->secrets, keys) == PEA_OK);
    own->send = keys[side == PEA_INITIATOR ? 0 : 1];
    own->receive = keys[side == PEA_INITIATOR ? 1 : 0];
    return own;
}

/* Says the records of the input; what of it is data goes to `data` too. */
static void say_all(pea__tls_own *peer, pea_span in, pea_buf *wire, pea_buf *data)
{
    static const uint8_t update[] = {24, 0, 0, 1};
    while (in.len >= 2) {
        uint8_t type = in.data[0];
        size_t len = in.data[1] < in.len - 2 ? in.data[1] : in.len - 2;
        const uint8_t *said = in.data + 2;
        require(pea__tls_own_say(peer, type, said, len, wire) == PEA_OK);
        size_t true_len = len; /* TLS 1.3: a type of zero makes the content end in the true one, behind any zeros */
        if (type == 0 && peer->secrets.version == PEA_TLS_1_3) {
            while (true_len > 0 && said[true_len - 1] == 0)
                true_len--;
            type = true_len > 0 ? said[--true_len] : 0;
        }
        if (type == 23)
            require(pea_buf_append(data, said, true_len) == PEA_OK);
        bool updates = type == 22 && true_len == 5 && memcmp(said, update, 4) == 0 && said[4] <= 1;
        if (updates && peer->secrets.version == PEA_TLS_1_3)
            require(pea__tls_update_keys(&peer->send, peer->secrets.aead, peer->secrets.md) == PEA_OK);
        in.data += 2 + len;
        in.len -= 2 + len;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const pea__aead_id aeads[] = {PEA__CHACHAPOLY, PEA__AESGCM, PEA__AES128GCM, PEA__CHACHAPOLY};
    if (size < 4 || size > 16384 || pea__tls_init(NULL) != PEA_OK)
        return 0;
    pea_tls_version version = data[0] & 1 ? PEA_TLS_1_3 : PEA_TLS_1_2;
    pea_side side = data[0] & 2 ? PEA_RESPONDER : PEA_INITIATOR;
    pea__tls_own *own = make(side, version, aeads[data[0] >> 2 & 3]);
    pea__tls_own *peer = make(side == PEA_INITIATOR ? PEA_RESPONDER : PEA_INITIATOR, version, own->secrets.aead);
    pea_transform t, u;
    pea__tls_own_yield(own, &t);
    pea__tls_own_yield(peer, &u);
    size_t piece = data[1] == 0 ? SIZE_MAX : data[1], bit = (size_t)data[2] << 8 | data[3];
    pea_buf said = {0}, want = {0}, wire = {0}, plain = {0}, reply = {0};
    say_all(peer, (pea_span){data + 4, size - 4}, &said, &want);
    bool changed = bit > 0 && bit / 8 < said.len;
    if (changed)
        said.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    pea_err err = PEA_OK;
    for (size_t at = 0, n; at < said.len && err == PEA_OK; at += n) {
        n = said.len - at < piece ? said.len - at : piece;
        require(pea_buf_append(&wire, said.data + at, n) == PEA_OK);
        do
            err = t.ops->unseal(t.self, &wire, &plain, 300, &reply);
        while (err == PEA_AGAIN);
    }
    require(plain.len <= want.len && (plain.len == 0 || memcmp(plain.data, want.data, plain.len) == 0));
    require(reply.len < 100);
    if (err == PEA_OK && !changed)
        require(plain.len == want.len && wire.len == 0);
    require((err == PEA_EOF) == (t.ops->wire_end(t.self) == PEA_EOF));
    if (err == PEA_OK) { /* then it still speaks, and what it owes comes first */
        require(t.ops->seal(t.self, &(pea_span){(const uint8_t *)"and on", 6}, 1, &reply) == PEA_OK);
        pea_err heard;
        size_t before = plain.len;
        do
            heard = u.ops->unseal(u.self, &reply, &plain, 300, &wire);
        while (heard == PEA_AGAIN);
        require(heard == PEA_OK && plain.len == before + 6 && memcmp(plain.data + before, "and on", 6) == 0);
    }
    t.ops->destroy(t.self);
    u.ops->destroy(u.self);
    pea_buf_free(&said);
    pea_buf_free(&want);
    pea_buf_free(&wire);
    pea_buf_free(&plain);
    pea_buf_free(&reply);
    return 0;
}
