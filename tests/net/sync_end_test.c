/* SPDX-License-Identifier: MIT */
/* How the blocking client's connections end, and why they do not begin: refusals, farewells, broken sockets, fork, and
 * memory that fails. */
#include "support/faults.h"
#include "support/net.h"
#include "support/toys.h"
#include "sync_scene.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- Who refuses whom ---- */

static void refused_by_the_peer(void **state)
{
    server s;
    pea_error why;
    pea_sync *sync = NULL;
    (void)state;
    server_start(&s, NOISE);
    check_ok(pea_trust_deny(s.trust, &id[0], NULL));
    check_err(try_connect(&sync, s.addr, NOISE, PEA_SYNC(.timeout_ms = LONG_MS), &why), PEA_E_REJECTED);
    assert_int_equal(why.code, PEA_E_REJECTED);
    assert_non_null(strstr(why.text, "DENIED"));
    assert_non_null(strstr(why.text, "not admitted"));
    assert_null(sync);
    server_stop(&s);
    assert_int_equal(s.failures, 1);
    check_err(s.reason.err, PEA_E_REFUSED);
}

static void refusing_the_peer(void **state)
{
    server s;
    pea_error why;
    pea_sync *sync = NULL;
    pea_trust *trust;
    (void)state;
    check_ok(pea_trust_new(&trust));
    for (kind k = NOISE; k < kinds; k++) {
        if (plain(k))
            continue;
        pea_peer other = *id_of(k, PEA_RESPONDER);
        other.id[0] ^= 1;
        server_start(&s, k);
        check_err(try_connect(&sync, s.addr, k, PEA_SYNC(.expect = &other), &why), PEA_E_REFUSED);
        assert_non_null(strstr(why.text, "not the one that was expected"));
        check_err(try_connect(&sync, s.addr, k, PEA_SYNC(.policy = pea_trust_policy(trust)), &why), PEA_E_REFUSED);
        server_stop(&s);
        assert_int_equal(s.connects, 0);
        assert_int_equal(s.failures, 2);
    }
    pea_trust_unref(trust);
}

static pea_err take_ticket(void *self, pea_stage_env *env, pea_buf *in, pea_buf *out)
{
    (void)self, (void)in, (void)out;
    return pea_stage_ticket(env).wait != 0 ? PEA_WAIT : PEA_E_INVALID;
}

static const pea_stage_ops asks_somebody = {.version = PEA_STAGE_VERSION, .name = "ask", .step = take_ticket};

/* A policy that answers later, and a stage that does. */
static void nobody_answers_later(void **state)
{
    server s;
    pea_error why;
    pea_sync *sync = NULL;
    pea_chain *chain;
    toy_policy later = {.verdict = PEA_WAIT};
    pea_policy *policy;
    (void)state;
    server_start(&s, NOISE);
    check_ok(pea_policy_new(&policy, &toy_policy_ops, &later));
    check_err(try_connect(&sync, s.addr, NOISE, PEA_SYNC(.policy = policy, .timeout_ms = PEA_SYNC_FOREVER), &why),
              PEA_E_UNSUPPORTED);
    assert_non_null(strstr(why.text, "later"));
    assert_true(later.open);
    later.verdict = PEA_OK;
    check_ok(try_connect(&sync, s.addr, NOISE, PEA_SYNC(.policy = policy, .timeout_ms = LONG_MS), &why));
    check_ok(pea_sync_close(sync, 0, NULL, LONG_MS));
    pea_policy_unref(policy);
    server_stop(&s);

    raw r;
    raw_listen(&r);
    check_ok(pea_chain_new(&chain, PEA_CHAIN(.mode = PEA_STREAM), NULL));
    check_ok(pea_chain_add(chain, &asks_somebody, NULL, NULL));
    check_ok(pea_chain_plain(chain));
    check_err(pea_sync_connect(&sync, r.addr, PEA_SYNC(.chain = chain, .timeout_ms = PEA_SYNC_FOREVER), &why),
              PEA_E_UNSUPPORTED);
    assert_non_null(strstr(why.text, "later"));
    pea_chain_unref(chain);
    raw_end(&r);
}

/* The policy is asked again of a live connection, and wants to answer later: nobody waits for ever. */
static void nor_of_who_was_let_in(void **state)
{
    server s;
    toy_policy later = {.verdict = PEA_OK};
    pea_policy *policy;
    pea_sync *sync = NULL;
    (void)state;
    server_start(&s, NOISE);
    check_ok(pea_policy_new(&policy, &toy_policy_ops, &later));
    check_ok(try_connect(&sync, s.addr, NOISE, PEA_SYNC(.policy = policy, .timeout_ms = LONG_MS), NULL));
    say(sync, "before");
    expect_bytes(sync, "before", 6);
    later.verdict = PEA_WAIT;
    later.generation++;
    say(sync, "after");
    expect_end(sync, PEA_E_UNSUPPORTED);
    assert_int_equal(pea_sync_reason(sync)->origin, PEA_BY_POLICY);
    assert_non_null(strstr(pea_sync_reason(sync)->text, "later"));
    check_err(pea_sync_close(sync, 0, NULL, LONG_MS), PEA_E_UNSUPPORTED);
    pea_policy_unref(policy);
    server_stop(&s);
}

/* A rule or certificate that ends with time, which the policy hears of by its tick() alone. */
static int64_t let_time_pass(void *self, int64_t wall_ms)
{
    toy_policy *toy = self;
    toy->generation += toy->verdict == PEA_OK ? 0 : 1;
    return wall_ms;
}

static void nor_is_who_has_expired_heard(void **state)
{
    server s;
    toy_policy toy = {.verdict = PEA_OK};
    pea_policy_ops ops = toy_policy_ops;
    pea_policy *policy;
    pea_sync *sync = NULL;
    (void)state;
    server_start(&s, NOISE);
    ops.tick = let_time_pass;
    check_ok(pea_policy_new(&policy, &ops, &toy));
    check_ok(try_connect(&sync, s.addr, NOISE, PEA_SYNC(.policy = policy, .timeout_ms = LONG_MS), NULL));
    say(sync, "before");
    expect_bytes(sync, "before", 6);
    toy.verdict = PEA_E_REFUSED;
    check_ok(pea_sync_send(sync, "after", 5, LONG_MS));
    expect_end(sync, PEA_E_REFUSED);
    assert_int_equal(pea_sync_reason(sync)->origin, PEA_BY_POLICY);
    check_err(pea_sync_close(sync, 0, NULL, LONG_MS), PEA_E_REFUSED);
    pea_policy_unref(policy);
    server_stop(&s);
}

static void what_is_wrong_is_named(void **state)
{
    char addr[PEA_ADDR_TEXT_BYTES];
    pea_error why;
    pea_sync *sync = NULL;
    (void)state;
    check_err(pea_sync_connect(&sync, "127.0.0.1:1", NULL, &why), PEA_E_INVALID);
    assert_non_null(strstr(why.text, "chain"));
    check_err(try_connect(&sync, "localhost", PLAIN, PEA_SYNC(.timeout_ms = 0), &why), PEA_E_FORMAT);
    check_err(try_connect(&sync, NULL, PLAIN, PEA_SYNC(.timeout_ms = 0), &why), PEA_E_FORMAT);
    int nobody = net_raw_nobody(addr);
    check_err(try_connect(&sync, addr, PLAIN, PEA_SYNC(.timeout_ms = LONG_MS), &why), PEA_E_SYS);
    assert_int_equal(why.sys, ECONNREFUSED);
    assert_non_null(strstr(why.text, addr));
    close(nobody);
    check_err(try_connect(&sync, "unix:/nowhere/at/all", PLAIN, PEA_SYNC(.timeout_ms = 0), &why), PEA_E_SYS);
    assert_int_equal(why.sys, ENOENT);
    /* a native client and a server that speaks without a greeting */
    server s;
    server_start(&s, NOISE_STREAM);
    pea_err err = try_connect(&sync, s.addr, NOISE, PEA_SYNC(.timeout_ms = LONG_MS), &why);
    assert_true(err == PEA_E_TRUNCATED || err == PEA_E_RESET || err == PEA_E_NETWORK);
    assert_true(strlen(why.text) > 0);
    server_stop(&s);
    assert_null(sync);
}

/* ---- Ends ---- */

static void ends_of_a_node(void **state)
{
    server s;
    (void)state;
    server_start(&s, NOISE);
    pea_sync *sync = connected(s.addr, NOISE);
    say(sync, "!close");
    expect_end(sync, PEA_EOF);
    assert_string_equal(pea_sync_reason(sync)->text, "as you wish");
    check_ok(pea_sync_close(sync, 0, NULL, LONG_MS));

    sync = connected(s.addr, NOISE);
    say(sync, "!code");
    expect_bytes(sync, "last words", 10);
    expect_end(sync, PEA_E_CLOSED);
    assert_int_equal(pea_sync_reason(sync)->code, PEA_CODE_APPLICATION | 7);
    assert_string_equal(pea_sync_reason(sync)->text, "go away");
    check_err(pea_sync_close(sync, 0, NULL, LONG_MS), PEA_E_CLOSED);

    sync = connected(s.addr, NOISE);
    say(sync, "!abort");
    expect_end(sync, PEA_E_TRUNCATED);
    check_err(pea_sync_close(sync, 0, NULL, LONG_MS), PEA_E_TRUNCATED);

    sync = connected(s.addr, NOISE);
    say(sync, "!shutdown");
    expect_end(sync, PEA_EOF);
    assert_int_equal(pea_sync_reason(sync)->code, PEA_CODE_SHUTDOWN);
    check_ok(pea_sync_close(sync, 0, NULL, LONG_MS));
    server_stop(&s);
    assert_int_equal(s.connects, 4);
    check_ok(pea_sync_close(NULL, 0, NULL, 0));
}

/* The peer ends while we send: the send says so, and what came before the end is not lost. */
static void an_end_while_sending(void **state)
{
    server s;
    (void)state;
    server_start(&s, NOISE);
    pea_sync *sync = connected(s.addr, NOISE);
    say(sync, "hello");
    say(sync, "!code");
    pea_err err = PEA_OK;
    for (unsigned i = 0; i < 200 && err == PEA_OK; i++)
        err = pea_sync_send(sync, block, LARGE, LONG_MS);
    /* a server that has closed resets what still comes: its words may be lost by that */
    assert_true(err == PEA_E_CLOSED || err == PEA_E_RESET);
    if (err == PEA_E_CLOSED) {
        expect_bytes(sync, "hello", 5);
        expect_bytes(sync, "last words", 10);
        expect_end(sync, PEA_E_CLOSED);
    }
    check_err(pea_sync_close(sync, 0, NULL, LONG_MS), err);
    server_stop(&s);
}

static void ends_of_a_socket(void **state)
{
    raw r;
    (void)state;
    pea_sync *sync = raw_meet(&r); /* FIN between messages */
    raw_say(&r, "last", 4);
    shutdown(r.fd, SHUT_WR);
    expect_bytes(sync, "last", 4);
    expect_end(sync, PEA_EOF_UNAUTHENTICATED);
    check_ok(pea_sync_close(sync, 0, NULL, LONG_MS));
    raw_end(&r);

    sync = raw_meet(&r); /* within one */
    write_all(r.fd, "\0\0\0\5half", 8);
    shutdown(r.fd, SHUT_WR);
    expect_end(sync, PEA_E_TRUNCATED);
    check_err(pea_sync_close(sync, 0, NULL, LONG_MS), PEA_E_TRUNCATED);
    raw_end(&r);

    sync = raw_meet(&r); /* RST */
    const struct linger at_once = {.l_onoff = 1};
    assert_int_equal(setsockopt(r.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
    close(r.fd);
    r.fd = -1;
    expect_end(sync, PEA_E_RESET);
    assert_int_equal(pea_sync_reason(sync)->sys, ECONNRESET);
    check_err(pea_sync_close(sync, 0, NULL, LONG_MS), PEA_E_RESET);
    raw_end(&r);

    sync = raw_meet(&r); /* RST, found by writing: no SIGPIPE */
    assert_int_equal(setsockopt(r.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
    close(r.fd);
    r.fd = -1;
    pea_err err = PEA_OK;
    for (unsigned i = 0; i < 200 && err == PEA_OK; i++)
        err = pea_sync_send(sync, block, LARGE, LONG_MS);
    check_err(err, PEA_E_RESET);
    check_err(pea_sync_send(sync, "x", 1, LONG_MS), PEA_E_STATE);
    check_err(pea_sync_close(sync, 0, NULL, LONG_MS), PEA_E_RESET);
    raw_end(&r);

    sync = raw_meet(&r); /* too large a message */
    write_all(r.fd, "\xFF\xFF\xFF\xFF", 4);
    const uint8_t *data;
    size_t len;
    check_err(pea_sync_receive(sync, &data, &len, LONG_MS), PEA_E_TOO_BIG);
    check_err(pea_sync_close(sync, 0, NULL, SHORT_MS), PEA_E_TIMEOUT); /* it has not ended yet */
    raw_end(&r);
}
/* ---- Fork ---- */

/* A child can do nothing with its parent's connection, and the parent goes on. */
static void after_fork(void **state)
{
    server s;
    int status = 0;
    (void)state;
    server_start(&s, NOISE);
    pea_sync *sync = connected(s.addr, NOISE);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const uint8_t *data;
        size_t len;
        bool ok = pea_sync_send(sync, "x", 1, LONG_MS) == PEA_E_FORKED;
        ok = ok && pea_sync_receive(sync, &data, &len, LONG_MS) == PEA_E_FORKED;
        ok = ok && pea_sync_close(sync, 0, NULL, LONG_MS) == PEA_E_FORKED;
        _exit(ok ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    say(sync, "still here");
    expect_bytes(sync, "still here", 10);
    check_ok(pea_sync_close(sync, 0, NULL, LONG_MS));
    server_stop(&s);
    assert_int_equal(s.messages, 1);
}

/* ---- Memory ---- */

/* A node in a process of its own: its allocations are not those that fail. Returns its id. */
static pid_t server_process(kind k, char addr[PEA_ADDR_TEXT_BYTES])
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        server s;
        server_make(&s, k, "127.0.0.1:0");
        if (write(ends[1], s.addr, sizeof s.addr) != (ssize_t)sizeof s.addr)
            _exit(1);
        ev_run(s.loop, 0);
        _exit(0);
    }
    assert_int_equal(read(ends[0], addr, PEA_ADDR_TEXT_BYTES), PEA_ADDR_TEXT_BYTES);
    close(ends[0]);
    close(ends[1]);
    return child;
}

/* A whole life, as far as memory allows: nothing but its lack goes wrong, and it is said. */
static void live(const char *addr, pea_chain *chain, kind k)
{
    pea_error why = {.code = PEA_OK};
    pea_sync *sync = NULL;
    const uint8_t *data;
    size_t len;
    const pea_peer *expect = plain(k) ? NULL : id_of(k, PEA_RESPONDER);
    pea_err err =
        pea_sync_connect(&sync, addr, PEA_SYNC(.chain = chain, .expect = expect, .timeout_ms = LONG_MS), &why);
    if (err != PEA_OK) {
        check_err(err, PEA_E_NOMEM);
        check_err(why.code, PEA_E_NOMEM);
        assert_true(strlen(why.text) > 0);
        assert_null(sync);
        return;
    }
    for (unsigned i = 0; i < 8 && err == PEA_OK; i++)
        err = pea_sync_send(sync, block, 60000, LONG_MS);
    for (unsigned i = 0; i < 3 && err == PEA_OK; i++)
        err = pea_sync_receive(sync, &data, &len, LONG_MS);
    assert_true(err == PEA_OK || err == PEA_E_NOMEM);
    err = pea_sync_close(sync, 0, NULL, LONG_MS);
    assert_true(err == PEA_OK || err == PEA_E_NOMEM || err == PEA_E_ABORTED || err == PEA_E_RESET);
}

static void every_allocation_fails_once(void **state)
{
    (void)state;
    for (kind k = NOISE; k < KINDS; k++) {
        char addr[PEA_ADDR_TEXT_BYTES];
        pid_t child = server_process(k, addr);
        pea_chain *chain = chain_of(k, PEA_INITIATOR);
        size_t before = faults_blocks(), nth = 0;
        for (bool hit = true; hit; nth++) {
            faults_arm(nth);
            live(addr, chain, k);
            hit = faults_disarm();
            assert_int_equal(faults_blocks(), before);
        }
        print_message("%zu allocations failed, one at a time\n", nth - 1);
        assert_true(nth > 5);
        pea_chain_unref(chain);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
    }
}
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refused_by_the_peer),
        cmocka_unit_test(refusing_the_peer),
        cmocka_unit_test(nobody_answers_later),
        cmocka_unit_test(nor_of_who_was_let_in),
        cmocka_unit_test(nor_is_who_has_expired_heard),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(ends_of_a_node),
        cmocka_unit_test(an_end_while_sending),
        cmocka_unit_test(ends_of_a_socket),
        cmocka_unit_test(after_fork),
        cmocka_unit_test(every_allocation_fails_once),
    };
    return sync_scene_run("sync_end", tests, sizeof tests / sizeof tests[0]);
}
