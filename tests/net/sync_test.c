/* SPDX-License-Identifier: MIT */
/* The blocking client's messages, against a node on another thread and against peers without the library: all modes,
 * both directions at once, deadlines, signals. How connections end, and do not begin, is in sync_end_test.c. */
#include "support/faults.h"
#include "support/net.h"
#include "sync_scene.h"

#include "socket_priv.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* ---- Messages ---- */

static void echo_of_every_size(void **state)
{
    static const size_t sizes[] = {0, 1, RECORD_MOST, LARGE, 5};
    (void)state;
    for (kind k = NOISE; k < kinds; k++) {
        server s;
        server_start(&s, k);
        pea_sync *sync = connected(s.addr, k);
        assert_null(pea_sync_reason(sync));
        if (plain(k))
            assert_null(pea_sync_peer(sync));
        else
            assert_true(pea_peer_equal(pea_sync_peer(sync), id_of(k, PEA_RESPONDER)));
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            pea_err err = pea_sync_send(sync, block, sizes[i], LONG_MS);
            if (k == NOISE_RECORDS && sizes[i] > RECORD_MOST) {
                check_err(err, PEA_E_TOO_BIG); /* and the connection goes on */
                continue;
            }
            check_ok(err);
            expect_bytes(sync, block, sizes[i]);
        }
        for (unsigned i = 0; i < 100; i++)
            check_ok(pea_sync_send(sync, block + i, i, LONG_MS));
        for (unsigned i = 0; i < 100; i++)
            expect_bytes(sync, block + i, i);
        pea_err end = pea_sync_close(sync, PEA_CODE_NORMAL, "bye", LONG_MS);
        check_ok(end);
        server_stop(&s);
        assert_int_equal(s.connects, 1);
        assert_int_equal(s.messages, k == NOISE_RECORDS ? 104 : 105);
        assert_int_equal(s.reason.origin, PEA_BY_PEER);
        bool authentic = k == NOISE || k == PLAIN || k >= TLS;
        check_err(s.reason.err, authentic ? PEA_OK : PEA_EOF_UNAUTHENTICATED);
        assert_string_equal(s.reason.text, k == NOISE || k == PLAIN || k == TLS ? "bye" : "");
    }
}

static void unix_socket(void **state)
{
    char path[] = "/tmp/peapod-sync-XXXXXX", addr[64];
    (void)state;
    assert_non_null(mkdtemp(path));
    snprintf(addr, sizeof addr, "unix:%s/s", path);
    server s;
    server_start_at(&s, NOISE, addr);
    pea_sync *sync = connected(addr, NOISE);
    check_ok(pea_sync_send(sync, block, LARGE, LONG_MS));
    expect_bytes(sync, block, LARGE);
    assert_true(pea_sync_fd(sync) >= 0);
    check_ok(pea_sync_close(sync, 0, NULL, LONG_MS));
    server_stop(&s);
    assert_int_equal(rmdir(path), 0);
}

/* 6.4 MB each way at the same time, and neither reads on purpose while it sends. */
static void both_at_once(void **state)
{
    (void)state;
    for (kind k = NOISE; k < kinds; k++) {
        if (k == NOISE_RECORDS) /* its messages are smaller */
            continue;
        server s;
        server_start(&s, k);
        pea_sync *sync = connected(s.addr, k);
        say(sync, "!flood");
        for (unsigned i = 0; i < 64; i++)
            check_ok(pea_sync_send(sync, block, 99999, LONG_MS)); /* echoed as far as the server's queue goes */
        unsigned floods = 0;
        while (floods < 64) {
            const uint8_t *data;
            size_t len;
            check_ok(pea_sync_receive(sync, &data, &len, LONG_MS));
            assert_true(len == 100000 || len == 99999);
            check_bytes(data, len, block, len);
            floods += len == 100000;
        }
        say(sync, "!close"); /* what comes behind all that was sent: the server has heard it then */
        while (pea_sync_receive(sync, &(const uint8_t *){NULL}, &(size_t){0}, LONG_MS) == PEA_OK)
            continue; /* echoes */
        (void)pea_sync_close(sync, 0, NULL, LONG_MS);
        server_stop(&s);
        assert_int_equal(s.messages, 66);
        assert_int_equal(s.bytes, 6 + 64 * 99999 + 6);
    }
}
/* ---- Peers without the library ---- */

/* A blocking peer that says its large message to the end before it reads a byte. */
static void *talks_first(void *arg)
{
    raw *r = arg;
    static uint8_t got[4 + LARGE];
    raw_say(r, block, LARGE);
    for (size_t at = 0; at < sizeof got;) {
        ssize_t n = recv(r->fd, got + at, sizeof got - at, 0);
        if (n <= 0)
            return NULL;
        at += (size_t)n;
    }
    return memcmp(got + 4, block, LARGE) == 0 ? r : NULL;
}

static void a_blocking_peer_talks_first(void **state)
{
    raw r;
    pthread_t thread;
    void *result;
    (void)state;
    pea_sync *sync = raw_meet(&r);
    assert_int_equal(pthread_create(&thread, NULL, talks_first, &r), 0);
    check_ok(pea_sync_send(sync, block, LARGE, LONG_MS));
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_ptr_equal(result, &r);
    expect_bytes(sync, block, LARGE);
    shutdown(r.fd, SHUT_WR);
    expect_end(sync, PEA_EOF_UNAUTHENTICATED);
    check_ok(pea_sync_close(sync, 0, NULL, LONG_MS));
    raw_end(&r);
}

/* It never reads: a send does not hang. What the peer said before is not lost. */
static void a_peer_that_never_reads(void **state)
{
    raw r;
    const uint8_t *data;
    size_t len;
    (void)state;
    pea_sync *sync = raw_meet(&r);
    raw_say(&r, "one", 3);
    raw_say(&r, "", 0);
    raw_say(&r, "three", 5);
    pea_err err = PEA_OK;
    for (unsigned i = 0; i < 200 && err == PEA_OK; i++)
        err = pea_sync_send(sync, block, LARGE, SHORT_MS);
    check_err(err, PEA_E_TIMEOUT);
    expect_bytes(sync, "one", 3);
    check_err(pea_sync_send(sync, "x", 1, LONG_MS), PEA_E_STATE);
    expect_bytes(sync, "", 0);
    expect_bytes(sync, "three", 5);
    check_err(pea_sync_receive(sync, &data, &len, LONG_MS), PEA_E_ABORTED);
    assert_int_equal(pea_sync_reason(sync)->origin, PEA_BY_TIMEOUT);
    assert_true(strlen(pea_sync_reason(sync)->text) > 0);
    check_err(pea_sync_close(sync, 0, NULL, LONG_MS), PEA_E_ABORTED);
    raw_end(&r);
}

/* It talks without end and never reads: neither memory nor time is without bound. */
static void a_peer_that_only_talks(void **state)
{
    raw r;
    (void)state;
    pea_sync *sync = raw_meet(&r);
    static uint8_t message[4 + 10000];
    put_length(message, 10000);
    struct timeval at_once = {.tv_usec = 1000};
    assert_int_equal(setsockopt(r.fd, SOL_SOCKET, SO_SNDTIMEO, &at_once, sizeof at_once), 0);
    size_t before = faults_bytes(), said = 0;
    pea_err err = PEA_OK;
    for (unsigned i = 0; i < 400 && err == PEA_OK; i++) {
        ssize_t n = 1;
        while (n > 0 && said < 64u << 20) {
            size_t at = said % sizeof message;
            n = send(r.fd, message + at, sizeof message - at, MSG_NOSIGNAL);
            said += n > 0 ? (size_t)n : 0;
        }
        err = pea_sync_send(sync, block, 500000, SHORT_MS);
    }
    check_err(err, PEA_E_TIMEOUT);
    assert_true(faults_bytes() - before < 4u << 20);
    expect_bytes(sync, message + 4, 10000);
    (void)pea_sync_close(sync, 0, NULL, SHORT_MS);
    raw_end(&r);
}

/* ---- Deadlines ---- */

static void connect_to_a_full_backlog(void **state)
{
    char dir[] = "/tmp/peapod-sync-XXXXXX";
    raw r;
    pea_error why;
    pea_sync *sync = NULL;
    int fds[8];
    (void)state;
    /* TCP: the first ones fill the backlog, for others nothing answers. */
    r.listener = net_raw_listen(0, r.addr);
    r.fd = -1;
    for (unsigned i = 0; i < 3; i++)
        check_err(try_connect(&sync, r.addr, NOISE, PEA_SYNC(.timeout_ms = SHORT_MS), &why), PEA_E_TIMEOUT);
    raw_end(&r);
    /* Unix sockets answer otherwise: EAGAIN, at once. */
    pea_addr addr;
    struct sockaddr_storage at;
    char text[64];
    assert_non_null(mkdtemp(dir));
    snprintf(text, sizeof text, "unix:%s/s", dir);
    check_ok(pea_addr_parse(&addr, text, NULL));
    socklen_t len = pea__addr_to_socket(&addr, &at);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (const struct sockaddr *)&at, len), 0);
    assert_int_equal(listen(listener, 0), 0);
    int sys = 0;
    unsigned n = 0;
    for (; n < 8 && sys == 0; n++)
        check_ok(pea__socket_dial(&addr, &fds[n], &sys, NULL));
    assert_int_equal(sys, EAGAIN);
    check_err(try_connect(&sync, text, NOISE, PEA_SYNC(.timeout_ms = SHORT_MS), &why), PEA_E_TIMEOUT);
    assert_string_equal(why.text, "nobody accepted the connection in time");
    while (n > 0)
        close(fds[--n]);
    close(listener);
    assert_int_equal(unlink(addr.u.path), 0);
    assert_int_equal(rmdir(dir), 0);
    assert_null(sync);
}

/* Somebody accepts and says nothing; or says half of it. */
static void handshake_silence(void **state)
{
    raw r;
    pea_error why;
    pea_sync *sync = NULL;
    (void)state;
    for (kind k = NOISE; k < kinds; k++) {
        if (k == PLAIN_STREAM)
            continue; /* READY without a word */
        raw_listen(&r);
        check_err(try_connect(&sync, r.addr, k, PEA_SYNC(.timeout_ms = SHORT_MS), &why), PEA_E_TIMEOUT);
        assert_int_equal(why.code, PEA_E_TIMEOUT);
        assert_non_null(strstr(why.text, "not ready in time"));
        raw_end(&r);
    }
}

static void receive_in_pieces(void **state)
{
    raw r;
    uint8_t header[4];
    const uint8_t *data;
    size_t len;
    (void)state;
    pea_sync *sync = raw_meet(&r);
    check_err(pea_sync_receive(sync, &data, &len, 0), PEA_E_TIMEOUT);
    check_err(pea_sync_receive(sync, &data, &len, SHORT_MS), PEA_E_TIMEOUT);
    put_length(header, 10);
    write_all(r.fd, header, 3);
    check_err(pea_sync_receive(sync, &data, &len, SHORT_MS), PEA_E_TIMEOUT);
    write_all(r.fd, header + 3, 1);
    write_all(r.fd, "abcde", 5);
    check_err(pea_sync_receive(sync, &data, &len, SHORT_MS), PEA_E_TIMEOUT);
    write_all(r.fd, "fghij", 5);
    raw_say(&r, "next", 4);
    expect_bytes(sync, "abcdefghij", 10);
    /* what is here already comes without waiting, as soon as it was read */
    struct pollfd p = {.fd = pea_sync_fd(sync), .events = POLLIN};
    pea_err err = pea_sync_receive(sync, &data, &len, 0);
    if (err == PEA_E_TIMEOUT) {
        assert_int_equal(poll(&p, 1, (int)LONG_MS), 1);
        err = pea_sync_receive(sync, &data, &len, 0);
    }
    check_ok(err);
    check_bytes(data, len, "next", 4);
    check_ok(pea_sync_send(sync, "x", 1, 0));                          /* room is there: no need to wait */
    check_err(pea_sync_close(sync, 0, NULL, SHORT_MS), PEA_E_TIMEOUT); /* it does not end */
    raw_end(&r);
}

/* A peer whose bytes trickle and never make a message cannot hold the caller up. */
static void *trickle(void *arg)
{
    raw *r = arg;
    while (send(r->fd, "a", 1, MSG_NOSIGNAL) == 1)
        continue;
    return NULL;
}

static void a_trickle_is_no_progress(void **state)
{
    raw r;
    pthread_t thread;
    uint8_t header[4];
    const uint8_t *data;
    size_t len;
    (void)state;
    pea_sync *sync = raw_meet(&r);
    put_length(header, 8u << 20);
    write_all(r.fd, header, 4);
    assert_int_equal(pthread_create(&thread, NULL, trickle, &r), 0);
    for (unsigned i = 0; i < 3; i++)
        check_err(pea_sync_receive(sync, &data, &len, i * 10), PEA_E_TIMEOUT);
    pea_err err = pea_sync_close(sync, 0, NULL, SHORT_MS);
    assert_true(err == PEA_E_TIMEOUT || err == PEA_E_ABORTED);
    assert_int_equal(pthread_join(thread, NULL), 0);
    raw_end(&r);
}
/* ---- Signals ---- */

static void on_alarm(int number)
{
    (void)number;
}

static void signals_do_not_matter(void **state)
{
    const struct sigaction action = {.sa_handler = on_alarm}; /* no SA_RESTART */
    const struct itimerval often = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};
    const uint8_t *data;
    size_t len;
    server s;
    sigset_t mask, old;
    (void)state;
    sigemptyset(&mask);
    sigaddset(&mask, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &mask, &old); /* of the server's thread */
    server_start(&s, NOISE);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    sigaction(SIGALRM, &action, NULL); /* and it stays so: under valgrind the last signal comes late */
    setitimer(ITIMER_REAL, &often, NULL);
    pea_sync *sync = connected(s.addr, NOISE);
    check_err(pea_sync_receive(sync, &data, &len, 20), PEA_E_TIMEOUT);
    for (unsigned i = 0; i < 10; i++) {
        check_ok(pea_sync_send(sync, block, LARGE, LONG_MS));
        expect_bytes(sync, block, LARGE);
    }
    check_ok(pea_sync_close(sync, 0, NULL, LONG_MS));
    setitimer(ITIMER_REAL, &never, NULL);
    server_stop(&s);
}

/* The server is on 127.0.0.1 alone: where the system says ::1 first, that gives way. */
static void by_name(void **state)
{
    (void)state;
    for (kind k = NOISE; k < kinds; k++) {
        server s;
        char addr[64];
        server_start(&s, k);
        (void)snprintf(addr, sizeof addr, "localhost%s", strchr(s.addr, ':'));
        pea_sync *sync = connected(addr, k);
        say(sync, "hello");
        expect_bytes(sync, "hello", 5);
        check_ok(pea_sync_close(sync, PEA_CODE_NORMAL, NULL, LONG_MS));
        server_stop(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(echo_of_every_size),
        cmocka_unit_test(by_name),
        cmocka_unit_test(unix_socket),
        cmocka_unit_test(both_at_once),
        cmocka_unit_test(a_blocking_peer_talks_first),
        cmocka_unit_test(a_peer_that_never_reads),
        cmocka_unit_test(a_peer_that_only_talks),
        cmocka_unit_test(connect_to_a_full_backlog),
        cmocka_unit_test(handshake_silence),
        cmocka_unit_test(receive_in_pieces),
        cmocka_unit_test(a_trickle_is_no_progress),
        cmocka_unit_test(signals_do_not_matter),
    };
    return sync_scene_run("sync", tests, sizeof tests / sizeof tests[0]);
}
