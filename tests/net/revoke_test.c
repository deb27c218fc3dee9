/* SPDX-License-Identifier: MIT */
/* Rules that change while connections live, on real sockets with Noise: who may no longer stay goes at once and hears
 * why, nobody else notices. What one pipe does is unit/judge_test.c's business, how files are read
 * unit/trust_file_test.c's. */
#include "support/net.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "peapod/chain.h"
#include "peapod/identity.h"
#include "peapod/trust.h"
#include "pipe_priv.h"

enum { CROWD = 1000 };

/* ---- A server with a trust, and dialers of many identities on one node ---- */

typedef struct dialer {
    pea_peer peer;
    pea_chain *chain;
    uint64_t conn; /* its connection of the client's node */
    unsigned heard, connects, disconnects;
    uint16_t code;
} dialer;

static net n;
static pea_trust *trust; /* the server's */
static pea_peer server;
static dialer *crowd;
static size_t in_crowd;
static char folder[64], rules[96];

static pea_chain *noise_chain(pea_peer *peer)
{
    pea_identity *identity;
    pea_chain *chain;
    check_ok(pea_identity_generate(&identity, NULL));
    pea_identity_peer(identity, peer);
    check_ok(pea_chain_new(&chain, NULL, NULL));
    check_ok(pea_chain_noise(chain, PEA_NOISE(.identity = identity), NULL));
    pea_identity_unref(identity);
    return chain;
}

/* n.b serves with `opts`, whose chain and policy are filled in; n.a dials, as any of `size` identities. */
static void open_city(size_t size, pea_node_opts *opts)
{
    pea_chain *chain = noise_chain(&server);
    net_setup(&n, PEA_NATIVE);
    check_ok(pea_trust_new(&trust));
    opts->chain = chain;
    opts->policy = pea_trust_policy(trust);
    net_node(&n.b, opts);
    net_listen(&n.b);
    crowd = calloc(size, sizeof *crowd);
    assert_non_null(crowd);
    in_crowd = size;
    for (size_t i = 0; i < size; i++)
        crowd[i].chain = noise_chain(&crowd[i].peer);
    net_node(&n.a, PEA_NODE(.chain = crowd[0].chain, .max_pending = 4096, .handshake_timeout_ms = PEA_NEVER));
    pea_chain_unref(chain);
    (void)snprintf(folder, sizeof folder, "/tmp/peapod-revoke-XXXXXX");
    assert_non_null(mkdtemp(folder));
    (void)snprintf(rules, sizeof rules, "%s/authorized_peers", folder);
}

static void close_city(void)
{
    net_teardown(&n);
    for (size_t i = 0; i < in_crowd; i++)
        pea_chain_unref(crowd[i].chain);
    free(crowd);
    pea_trust_unref(trust);
    (void)unlink(rules);
    assert_int_equal(rmdir(folder), 0);
}

static void dial(dialer *d)
{
    check_ok(pea_node_connect(
        n.a.node, n.b.addr, PEA_DIAL(.expect = &server, .chain = d->chain, .user = d, .again = true), &d->conn, NULL));
}

static pea_conn *conn_of(const dialer *d)
{
    return pea_node_find(n.a.node, d->conn);
}

/* The dialer behind a connection of the server's; rules of ours name it by its number. */
static dialer *behind(const pea_conn *conn)
{
    return &crowd[strtoul(pea_conn_peer(conn)->name, NULL, 10)];
}

/* A new file in the place of the old one: those of the crowd that `in` says yes to. */
static void write_rules(bool (*in)(size_t i), const char *last_line)
{
    char fresh[128], id[PEA_PEER_TEXT_BYTES];
    (void)snprintf(fresh, sizeof fresh, "%s.new", rules);
    FILE *f = fopen(fresh, "w");
    assert_non_null(f);
    for (size_t i = 0; i < in_crowd; i++)
        if (in(i))
            (void)fprintf(f, "%s name=%zu\n", pea_peer_format(&crowd[i].peer, id), i);
    (void)fputs(last_line, f);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(fresh, 0600), 0);
    assert_int_equal(rename(fresh, rules), 0);
}

static bool everybody(size_t i)
{
    (void)i;
    return true;
}

static bool even(size_t i)
{
    return i % 2 == 0;
}

static void need_descriptors(void)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_cur < 2 * CROWD + 64) {
        limit.rlim_cur = 2 * CROWD + 64;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    }
}

/* ---- Half of a crowd ---- */

static void server_hears(net_side *side, pea_conn *conn, const uint8_t *data, size_t len)
{
    (void)side, (void)data, (void)len;
    behind(conn)->heard++;
}

static void server_loses(net_side *side, pea_conn *conn)
{
    dialer *d = behind(conn);
    d->disconnects++;
    assert_int_equal(side->reason.origin, PEA_BY_POLICY);
    assert_int_equal(side->reason.code, PEA_CODE_REVOKED | PEA_CODE_PERMANENT);
}

static void client_loses(net_side *side, pea_conn *conn)
{
    dialer *d = pea_conn_user(conn);
    assert_int_equal(side->reason.origin, PEA_BY_PEER);
    d->code = side->reason.code;
}

static void log_of_trust(const pea_log_line *line, void *arg)
{
    if (line->level == PEA_LOG_ERROR && strstr(line->text, "the rules stay as they were") != NULL)
        ++*(unsigned *)arg;
}

static void all_say(const char *text)
{
    for (size_t i = 0; i < in_crowd; i++)
        if (conn_of(&crowd[i]) != NULL)
            check_ok(pea_conn_send(conn_of(&crowd[i]), text, strlen(text)));
}

static void half_of_a_crowd(void **state)
{
    unsigned bad_files = 0;
    (void)state;
    need_descriptors();
    open_city(CROWD, PEA_NODE(.max_pending = 4096, .handshake_timeout_ms = PEA_NEVER));
    n.b.on_message = server_hears;
    n.b.on_disconnect = server_loses;
    n.a.on_disconnect = client_loses;
    pea_trust_log(trust, log_of_trust, &bad_files);
    write_rules(everybody, "");
    check_ok(pea_trust_load(trust, rules, NULL));
    for (size_t i = 0; i < CROWD; i++)
        dial(&crowd[i]);
    net_wait(&n, n.b.connects == CROWD && n.a.connects == CROWD);

    write_rules(even, "noise:not a key\n"); /* wrong in its last line: nothing changes */
    all_say("before");
    net_wait(&n, bad_files == 1 && n.b.messages == CROWD);
    write_rules(even, "noise:AAAA"); /* and cut short: neither */
    net_wait(&n, bad_files == 2);
    assert_int_equal(n.b.disconnects, 0);

    write_rules(even, ""); /* nobody calls anything: the runtime sees it */
    all_say("then");
    net_wait(&n, n.b.disconnects == CROWD / 2 && n.a.disconnects == CROWD / 2);
    all_say("after");
    for (size_t i = 0; i < CROWD; i++) {
        const dialer *d = &crowd[i];
        if (even(i))
            net_wait(&n, d->heard == 3);
        assert_int_equal(d->disconnects, even(i) ? 0 : 1);
        assert_int_equal(d->code, even(i) ? 0 : PEA_CODE_REVOKED | PEA_CODE_PERMANENT);
        assert_true(even(i) || d->heard <= 2);
    }
    n.b.on_disconnect = n.a.on_disconnect = NULL;
    close_city();
}

/* ---- While the next message is being decoded ---- */

/* The length codec, which lets a thread in once it has begun to look for the second message. */
static struct {
    sem_t decoding, go;
    unsigned frames;
    atomic_bool revoked;
} gate;

static pea_err gate_decode(void *self, const uint8_t *data, size_t len, pea_frame *frame)
{
    (void)self;
    if (data[0] > len - 1) {
        frame->total = data[0] + 1u;
        return PEA_MORE;
    }
    if (++gate.frames == 2) {
        assert_int_equal(sem_post(&gate.decoding), 0);
        while (sem_wait(&gate.go) != 0)
            continue;
    }
    *frame = (pea_frame){.total = data[0] + 1u, .offset = 1, .len = data[0]};
    return PEA_OK;
}

static size_t gate_put(void *self, const void *payload, size_t len, uint8_t *dst)
{
    (void)self;
    if (len > 255)
        return 0;
    dst[0] = (uint8_t)len;
    memcpy(dst + 1, payload, len);
    return len + 1;
}

static pea_err gate_marks(void *self, const void *payload, size_t len, pea_frame_marks *marks)
{
    (void)self, (void)payload;
    *marks = (pea_frame_marks){.before = {(uint8_t)len}, .before_len = 1};
    return len > 255 ? PEA_E_TOO_BIG : PEA_OK;
}

static const pea_codec_ops gate_ops = {.version = PEA_CODEC_VERSION,
                                       .name = "gate",
                                       .decode = gate_decode,
                                       .overhead = 1,
                                       .put = gate_put,
                                       .marks = gate_marks};

static void *revoke_meanwhile(void *arg)
{
    while (sem_wait(&gate.decoding) != 0)
        continue;
    check_ok(pea_trust_deny(trust, arg, NULL));
    atomic_store(&gate.revoked, true);
    check_ok(sem_post(&gate.go) == 0 ? PEA_OK : PEA_E_SYS);
    return NULL;
}

static void not_once_revoked(net_side *side, pea_conn *conn, const uint8_t *data, size_t len)
{
    (void)side, (void)conn, (void)data, (void)len;
    assert_false(atomic_load(&gate.revoked));
}

static void after_revoke_returned_no_message_fires(void **state)
{
    pea_codec *codec;
    pthread_t thread;
    (void)state;
    memset(&gate, 0, sizeof gate);
    assert_int_equal(sem_init(&gate.decoding, 0, 0) + sem_init(&gate.go, 0, 0), 0);
    check_ok(pea_codec_new(&codec, &gate_ops, NULL, NULL));
    open_city(1, PEA_NODE(.codec = codec));
    n.b.on_message = not_once_revoked;
    check_ok(pea_trust_allow(trust, &crowd[0].peer, "0", NULL, NULL));
    check_ok(pea_node_connect(n.a.node, n.b.addr, PEA_DIAL(.expect = &server, .codec = codec, .user = &crowd[0]),
                              &crowd[0].conn, NULL));
    net_wait(&n, n.a.connects == 1 && n.b.connects == 1);
    assert_int_equal(pthread_create(&thread, NULL, revoke_meanwhile, &crowd[0].peer), 0);
    for (int i = 0; i < 3; i++)
        check_ok(pea_conn_send(n.a.conn, "batch", 5));
    net_wait(&n, n.b.disconnects == 1);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(n.b.messages, 1);
    assert_int_equal(n.b.reason.origin, PEA_BY_POLICY);
    assert_int_equal(n.b.reason.code, PEA_CODE_REVOKED | PEA_CODE_PERMANENT);
    close_city();
    pea_codec_unref(codec);
}

/* ---- Reloads while a crowd comes in ---- */

enum { ALWAYS, AT_TIMES, NEVER, KINDS, RELOADS = 100, AT_ONCE = 50 };

static atomic_uint reloads;

static bool always(size_t i)
{
    return i % KINDS == ALWAYS;
}

static bool always_and_at_times(size_t i)
{
    return i % KINDS != NEVER;
}

static void *reload_often(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < RELOADS; i++) {
        write_rules(i % 2 == 0 ? always : always_and_at_times, "");
        check_ok(pea_trust_reload(trust, NULL));
        atomic_fetch_add(&reloads, 1);
    }
    return NULL;
}

static void client_meets(net_side *side, pea_conn *conn)
{
    (void)side;
    ((dialer *)pea_conn_user(conn))->connects++;
}

static void nobody_who_was_never_allowed(net_side *side, pea_conn *conn)
{
    (void)side;
    size_t i = (size_t)(behind(conn) - crowd);
    assert_true(pea_peer_equal(pea_conn_peer(conn), &crowd[i].peer));
    assert_true(i % KINDS != NEVER);
}

static void nobody_allowed_throughout_goes(net_side *side, pea_conn *conn)
{
    (void)side;
    assert_true((size_t)(behind(conn) - crowd) % KINDS == AT_TIMES);
}

static void reloads_while_a_crowd_comes(void **state)
{
    pthread_t thread;
    (void)state;
    need_descriptors();
    atomic_store(&reloads, 0);
    open_city(CROWD, PEA_NODE(.max_pending = 4096, .handshake_timeout_ms = PEA_NEVER));
    write_rules(always, "");
    check_ok(pea_trust_load(trust, rules, NULL));
    n.b.on_connect = nobody_who_was_never_allowed;
    n.b.on_disconnect = nobody_allowed_throughout_goes;
    n.a.on_connect = client_meets;
    assert_int_equal(pthread_create(&thread, NULL, reload_often, NULL), 0);
    for (size_t i = 0; i < CROWD || atomic_load(&reloads) < RELOADS;
         i++) { /* those of the middle come again and again */
        size_t who = i < CROWD ? i : i % CROWD / KINDS * KINDS + AT_TIMES;
        pea_counts counts;
        if (who < CROWD && conn_of(&crowd[who]) == NULL)
            dial(&crowd[who]);
        net_wait(&n, (pea_node_counts(n.a.node, &counts), counts.pending) < AT_ONCE);
        net_poll(&n);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    pea_counts ca, cb;
    net_wait(&n,
             (pea_node_counts(n.a.node, &ca), ca.pending) == 0 && (pea_node_counts(n.b.node, &cb), cb.pending) == 0);
    for (size_t i = 0; i < CROWD; i++) {
        if (i % KINDS == ALWAYS)
            assert_true(crowd[i].connects == 1 && conn_of(&crowd[i]) != NULL);
        if (i % KINDS == NEVER)
            assert_int_equal(crowd[i].connects, 0);
    }
    n.b.on_disconnect = NULL;
    close_city();
}

/* ---- Time ---- */

static void who_expires_goes_by_himself(void **state)
{
    char line[256], id[PEA_PEER_TEXT_BYTES], when[32];
    (void)state;
    open_city(1, PEA_NODE(.name = "b"));
    time_t end = time(NULL) + 2; /* long enough to be let in */
    struct tm utc;
    assert_non_null(gmtime_r(&end, &utc));
    assert_true(strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &utc) > 0);
    (void)snprintf(line, sizeof line, "%s name=0 not-after=%s", pea_peer_format(&crowd[0].peer, id), when);
    check_ok(pea_trust_add(trust, line, NULL));
    dial(&crowd[0]);
    net_wait(&n, n.b.connects == 1 || n.b.failures == 1);
    net_wait(&n, n.b.disconnects == n.b.connects && n.a.disconnects + n.a.failures == 1);
    struct timespec now; /* time() may be a little behind */
    assert_int_equal(clock_gettime(CLOCK_REALTIME, &now), 0);
    assert_true(now.tv_sec >= end);
    assert_int_equal(n.b.reason.origin, PEA_BY_POLICY);
    assert_int_equal(n.b.reason.code, PEA_CODE_EXPIRED | PEA_CODE_PERMANENT);
    assert_int_equal(n.a.reason.code, PEA_CODE_EXPIRED | PEA_CODE_PERMANENT);
    close_city();
}

/* ---- Pending handshakes, and answers that come later ---- */

static pea_ticket asked_by;
static unsigned asked;
static pea_err answer_at_once;

static pea_err ask(void *arg, pea_peer *peer, const pea_candidate *c)
{
    (void)arg, (void)peer;
    asked++;
    asked_by = c->ticket;
    return answer_at_once;
}

static void a_pending_handshake_is_ended(void **state)
{
    (void)state;
    answer_at_once = PEA_WAIT;
    asked = 0;
    open_city(1, PEA_NODE(.handshake_timeout_ms = PEA_NEVER));
    pea_trust_ask(trust, ask, NULL);
    dial(&crowd[0]);
    net_wait(&n, asked == 1);
    check_ok(pea_trust_deny(trust, &crowd[0].peer, NULL));
    net_wait(&n, n.b.failures == 1 && n.a.failures == 1);
    assert_int_equal(n.b.reason.origin, PEA_BY_POLICY);
    assert_int_equal(n.a.reason.code, PEA_CODE_DENIED | PEA_CODE_PERMANENT);
    check_err(pea_post_resume(asked_by, PEA_OK), PEA_OK); /* too late for anything */
    net_poll(&n);
    assert_int_equal(n.b.connects, 0);
    close_city();
}

/* Connected, and the rules have changed to "let me think": a message of the peer's is on its way. */
static void open_thinking(bool paused)
{
    answer_at_once = PEA_OK;
    asked = 0;
    open_city(1, PEA_NODE(.name = "b"));
    pea_trust_ask(trust, ask, NULL);
    dial(&crowd[0]);
    net_wait(&n, n.a.connects == 1 && n.b.connects == 1);
    unsigned before = asked;
    answer_at_once = PEA_WAIT;
    if (paused)
        pea_conn_pause(n.b.conn);
    pea_trust_ask(trust, ask, NULL); /* a change */
    check_ok(pea_conn_send(n.a.conn, "well?", 5));
    net_wait(&n, asked == before + 1);
    assert_int_equal(n.b.messages, 0);
}

static void a_late_yes(void **state)
{
    (void)state;
    open_thinking(false);
    check_ok(pea_post_resume(asked_by, PEA_OK));
    net_wait(&n, n.b.messages == 1);
    assert_int_equal(n.b.disconnects, 0);
    close_city();
}

static void a_late_no(void **state)
{
    (void)state;
    for (int paused = 0; paused < 2; paused++) {
        open_thinking(paused != 0);
        check_ok(pea_post_resume(asked_by, PEA_E_REFUSED));
        net_wait(&n, n.b.disconnects == 1 && n.a.disconnects == 1);
        assert_int_equal(n.b.messages, 0);
        assert_int_equal(n.a.reason.code, PEA_CODE_REVOKED | PEA_CODE_PERMANENT);
        close_city();
    }
}

static void no_answer_is_a_no(void **state)
{
    (void)state;
    open_thinking(false);
    net_hurry(&n.b, 300);
    net_wait(&n, n.b.disconnects == 1 && n.a.disconnects == 1);
    assert_int_equal(n.b.messages, 0);
    assert_int_equal(n.b.reason.origin, PEA_BY_POLICY);
    assert_string_equal(n.b.reason.text, "the policy was asked again, and did not answer in time");
    assert_int_equal(n.a.reason.code, PEA_CODE_REVOKED | PEA_CODE_PERMANENT);
    close_city();
}

/* ---- The ends of nodes ---- */

static atomic_bool stop;

static void *change_often(void *arg)
{
    while (!atomic_load(&stop))
        check_ok(pea_trust_deny(trust, arg, NULL));
    return NULL;
}

static void nodes_come_and_go_while_rules_change(void **state)
{
    static pea_peer nobody = {.kind = PEA_PEER_OTHER, .id = {1}};
    pthread_t thread;
    (void)state;
    open_city(1, PEA_NODE(.name = "b"));
    check_ok(pea_trust_allow(trust, &crowd[0].peer, "0", NULL, NULL));
    atomic_store(&stop, false);
    assert_int_equal(pthread_create(&thread, NULL, change_often, &nobody), 0);
    dial(&crowd[0]);
    net_wait(&n, n.b.connects == 1 && n.a.connects == 1);
    for (int i = 0; i < 300; i++) { /* the last of them that goes has the watch with it */
        pea_trust *other;
        pea_node *nodes[2];
        check_ok(pea_trust_new(&other));
        for (int j = 0; j < 2; j++)
            check_ok(pea_node_new(&nodes[j], n.runtime,
                                  PEA_NODE(.chain = crowd[0].chain, .policy = pea_trust_policy(j == 0 ? trust : other)),
                                  NULL));
        pea_trust_unref(other);
        check_ok(pea_trust_deny(trust, &nobody, NULL));
        net_poll(&n);
        pea_node_free(nodes[0]);
        pea_node_free(nodes[1]);
    }
    pea_node_free(n.b.node); /* and now it is the last one, while the thread goes on */
    n.b.node = NULL;
    net_wait(&n, n.a.disconnects == 1);
    atomic_store(&stop, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    close_city();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(half_of_a_crowd),
        cmocka_unit_test(after_revoke_returned_no_message_fires),
        cmocka_unit_test(reloads_while_a_crowd_comes),
        cmocka_unit_test(who_expires_goes_by_himself),
        cmocka_unit_test(a_pending_handshake_is_ended),
        cmocka_unit_test(a_late_yes),
        cmocka_unit_test(a_late_no),
        cmocka_unit_test(no_answer_is_a_no),
        cmocka_unit_test(nodes_come_and_go_while_rules_change),
    };
    return cmocka_run_group_tests_name("revoke", tests, NULL, NULL);
}
