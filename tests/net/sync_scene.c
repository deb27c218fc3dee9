/* SPDX-License-Identifier: MIT */
/* What the tests of the blocking client share: chains, a node on a thread of its own, a client, and peers without the
 * library. */
#include "sync_scene.h"

#include "support/check.h"
#include "support/faults.h"
#include "support/net.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

uint8_t block[LARGE];
static pea_identity *identity[2], *certified[2]; /* the client's, the server's; of TLS: NULL in a build without it */
pea_peer id[2];
static pea_peer certified_id[2];

/* ---- Chains: what a client and a server share ---- */

unsigned kinds = KINDS;

bool plain(kind k)
{
    return k == PLAIN || k == PLAIN_STREAM;
}

const pea_peer *id_of(kind k, pea_side side)
{
    return k >= TLS ? &certified_id[side] : &id[side];
}

pea_chain *chain_of(kind k, pea_side side)
{
    bool native = k == NOISE || k == PLAIN || k == TLS;
    pea_mode mode = native ? PEA_NATIVE : k == NOISE_RECORDS ? PEA_RECORDS : PEA_STREAM;
    pea_chain *chain;
    check_ok(pea_chain_new(&chain, PEA_CHAIN(.mode = mode), NULL));
    if (plain(k))
        check_ok(pea_chain_plain(chain));
    else if (k >= TLS)
        check_ok(pea_chain_tls(chain, PEA_TLS(.identity = certified[side]), NULL));
    else
        check_ok(pea_chain_noise(chain, PEA_NOISE(.identity = identity[side], .record_preserving = mode == PEA_RECORDS),
                                 NULL));
    return chain;
}

/* ---- A node on a thread of its own: it echoes, but for commands that begin with "!" ---- */

static void on_connect(pea_conn *conn, void *user)
{
    server *s = user;
    (void)conn;
    s->connects++;
}

static void flood(server *s, pea_conn *conn)
{
    while (s->flood > 0 && pea_conn_send(conn, block, 100000) == PEA_OK)
        s->flood--;
}

static void on_drain(pea_conn *conn, void *user)
{
    flood(user, conn);
}

static bool is(const uint8_t *data, size_t len, const char *word)
{
    return len == strlen(word) && memcmp(data, word, len) == 0;
}

static void on_message(pea_conn *conn, const uint8_t *data, size_t len, void *user)
{
    server *s = user;
    s->messages++;
    s->bytes += len;
    if (is(data, len, "!close")) {
        pea_conn_close(conn, PEA_CODE_NORMAL, "as you wish");
    } else if (is(data, len, "!code")) {
        check_ok(pea_conn_send(conn, "last words", 10));
        pea_conn_close(conn, PEA_CODE_APPLICATION | 7, "go away");
    } else if (is(data, len, "!abort")) {
        pea_conn_abort(conn);
    } else if (is(data, len, "!shutdown")) {
        check_ok(pea_node_shutdown(s->node, 0, NULL, NULL));
    } else if (is(data, len, "!flood")) {
        s->flood = 64;
        flood(s, conn);
    } else if (len < 100000 || s->flood == 0) {
        pea_err err = pea_conn_send(conn, data, len);
        assert_true(err == PEA_OK || err == PEA_E_QUEUE_FULL || err == PEA_E_STATE);
    }
}

static void on_disconnect(pea_conn *conn, const pea_reason *reason, void *user)
{
    server *s = user;
    (void)conn;
    s->disconnects++;
    s->reason = *reason;
}

static void on_failed(pea_node *node, const pea_conn_info *info, const pea_reason *reason, void *user)
{
    server *s = user;
    (void)node, (void)info;
    s->failures++;
    s->reason = *reason;
}

static void on_stop(struct ev_loop *loop, ev_async *stop, int events)
{
    (void)stop, (void)events;
    ev_break(loop, EVBREAK_ALL);
}

void server_make(server *s, kind k, const char *addr)
{
    static const pea_node_callbacks on = {.on_connect = on_connect,
                                          .on_message = on_message,
                                          .on_drain = on_drain,
                                          .on_disconnect = on_disconnect,
                                          .on_connect_failed = on_failed};
    pea_listener *listener;
    memset(s, 0, sizeof *s);
    s->loop = ev_loop_new(EVFLAG_AUTO);
    assert_non_null(s->loop);
    s->chain = chain_of(k, PEA_RESPONDER);
    check_ok(pea_trust_new(&s->trust));
    check_ok(pea_trust_allow(s->trust, id_of(k, PEA_INITIATOR), "client", NULL, NULL));
    check_ok(pea_runtime_new(&s->runtime, PEA_RUNTIME(.loop = s->loop), NULL));
    check_ok(pea_node_new(&s->node, s->runtime,
                          PEA_NODE(.chain = s->chain, .policy = pea_trust_policy(s->trust), .on = &on, .user = s),
                          NULL));
    check_ok(pea_node_listen(s->node, addr, NULL, &listener, NULL));
    pea_addr_format(pea_listener_addr(listener), s->addr);
    ev_async_init(&s->stop, on_stop);
    ev_async_start(s->loop, &s->stop);
}

static void *server_main(void *arg)
{
    server *s = arg;
    ev_run(s->loop, 0);
    return NULL;
}

void server_start_at(server *s, kind k, const char *addr)
{
    server_make(s, k, addr);
    assert_int_equal(pthread_create(&s->thread, NULL, server_main, s), 0);
}

void server_start(server *s, kind k)
{
    server_start_at(s, k, "127.0.0.1:0");
}

void server_stop(server *s)
{
    ev_async_send(s->loop, &s->stop);
    assert_int_equal(pthread_join(s->thread, NULL), 0);
    ev_async_stop(s->loop, &s->stop);
    pea_node_free(s->node);
    assert_int_equal(s->connects, s->disconnects);
    check_ok(pea_runtime_free(s->runtime));
    pea_chain_unref(s->chain);
    pea_trust_unref(s->trust);
    ev_loop_destroy(s->loop);
}

/* ---- The client ---- */

pea_err try_connect(pea_sync **sync, const char *addr, kind k, pea_sync_opts *opts, pea_error *why)
{
    pea_chain *chain = chain_of(k, PEA_INITIATOR);
    opts->chain = chain;
    if (opts->expect == NULL && opts->policy == NULL && !plain(k))
        opts->expect = id_of(k, PEA_RESPONDER);
    pea_err err = pea_sync_connect(sync, addr, opts, why);
    pea_chain_unref(chain);
    return err;
}

pea_sync *connected(const char *addr, kind k)
{
    pea_sync *sync = NULL;
    pea_error why = {.code = PEA_OK};
    if (try_connect(&sync, addr, k, PEA_SYNC(.timeout_ms = LONG_MS), &why) != PEA_OK)
        fail_msg("pea_sync_connect: %s", why.text);
    return sync;
}

void say(pea_sync *sync, const char *word)
{
    check_ok(pea_sync_send(sync, word, strlen(word), LONG_MS));
}

void expect_bytes(pea_sync *sync, const void *want, size_t want_len)
{
    const uint8_t *data = NULL;
    size_t len = 0;
    check_ok(pea_sync_receive(sync, &data, &len, LONG_MS));
    check_bytes(data, len, want, want_len);
}

void expect_end(pea_sync *sync, pea_err end)
{
    const uint8_t *data;
    size_t len;
    for (unsigned i = 0; i < 3; i++) /* it stays so */
        check_err(pea_sync_receive(sync, &data, &len, LONG_MS), end);
    assert_non_null(pea_sync_reason(sync));
    check_err(pea_sync_send(sync, "x", 1, LONG_MS), PEA_E_STATE);
}
/* ---- Peers without the library ---- */

void raw_listen(raw *r)
{
    r->listener = net_raw_listen(16, r->addr);
    r->fd = -1;
}

pea_sync *raw_meet(raw *r)
{
    raw_listen(r);
    pea_sync *sync = connected(r->addr, PLAIN_STREAM);
    r->fd = accept(r->listener, NULL, NULL);
    assert_true(r->fd >= 0);
    return sync;
}

void raw_end(raw *r)
{
    if (r->fd >= 0)
        close(r->fd);
    close(r->listener);
}

void put_length(uint8_t at[4], uint32_t len)
{
    for (unsigned i = 0; i < 4; i++)
        at[i] = (uint8_t)(len >> (24 - 8 * i));
}

void write_all(int fd, const void *data, size_t len)
{
    for (size_t at = 0; at < len;) {
        ssize_t n = send(fd, (const uint8_t *)data + at, len - at, MSG_NOSIGNAL);
        assert_true(n > 0 || errno == EINTR);
        at += n > 0 ? (size_t)n : 0;
    }
}

void raw_say(raw *r, const void *data, uint32_t len)
{
    uint8_t header[4];
    put_length(header, len);
    write_all(r->fd, header, sizeof header);
    write_all(r->fd, data, len);
}
/* ---- All of it ---- */

static void certify(pea_side side, const char *certificate, const char *key)
{
    pea_error why;
    if (pea_identity_load_certificate(&certified[side], certificate, key, NULL, NULL, &why) != PEA_OK) {
        fprintf(stderr, "%s\n", why.text);
        exit(1);
    }
    pea_identity_peer(certified[side], &certified_id[side]);
}
int sync_scene_run(const char *name, const struct CMUnitTest *tests, size_t n)
{
    faults_install();
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = (uint8_t)(i * 7 + i / 251);
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
        uint8_t secret[PEA_KEY_BYTES];
        memset(secret, 0x51 + (int)side, sizeof secret);
        if (pea_identity_from_secret(&identity[side], secret, NULL) != PEA_OK)
            return 1;
        pea_identity_peer(identity[side], &id[side]);
    }
    if (pea_tls_library()[0] == 'm') {
        certify(PEA_INITIATOR, PEA_TEST_CERTS "/client.crt", PEA_TEST_CERTS "/client.key");
        certify(PEA_RESPONDER, PEA_TEST_CERTS "/server.crt", PEA_TEST_CERTS "/server.key");
        kinds = TLS_STREAM + 1;
    }
    int failed = _cmocka_run_group_tests(name, tests, n, NULL, NULL);
    for (unsigned i = 0; i < 2; i++) {
        pea_identity_unref(identity[i]);
        pea_identity_unref(certified[i]);
    }
    return failed;
}
