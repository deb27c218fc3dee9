/* SPDX-License-Identifier: MIT */
/* Dials by name: whoever resolves, at whatever time and on whatever thread, each dial ends once, in on_connect or
 * on_connect_failed. Each case runs on the caller's loop, on worker threads and over a loop of the runtime's own. The
 * program has a getaddrinfo() of its own, which knows two names more than the system's. */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* RTLD_NEXT */
#endif
#include "support/check.h"
#include "support/faults.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <ev.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "peapod/chain.h"
#include "peapod/identity.h"
#include "peapod/node.h"
#include "peapod/stats.h"
#include "peapod/sync.h"
#include "peapod/trust.h"
#include "resolver_priv.h"

enum { DEADLINE_S = 30 };

/* ---- The system's resolver, with "slow.test", which hangs until it is let go, and "nobody.test" ---- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    unsigned entered, left, others; /* calls for slow.test, and for queued.test */
    bool go;
} slow = {.lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER};

static void hang(void)
{
    (void)pthread_mutex_lock(&slow.lock);
    slow.entered++;
    (void)pthread_cond_broadcast(&slow.moved);
    while (!slow.go)
        (void)pthread_cond_wait(&slow.moved, &slow.lock);
    slow.left++;
    (void)pthread_mutex_unlock(&slow.lock);
}

static void wait_until_it_hangs(void)
{
    (void)pthread_mutex_lock(&slow.lock);
    while (slow.entered == slow.left)
        (void)pthread_cond_wait(&slow.moved, &slow.lock);
    (void)pthread_mutex_unlock(&slow.lock);
}

static void let_go(bool go)
{
    (void)pthread_mutex_lock(&slow.lock);
    slow.go = go;
    (void)pthread_cond_broadcast(&slow.moved);
    (void)pthread_mutex_unlock(&slow.lock);
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **res)
{
    union {
        void *symbol;
        int (*call)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    } real = {.symbol = dlsym(RTLD_NEXT, "getaddrinfo")};
    if (strcmp(node, "slow.test") == 0) {
        hang();
        return EAI_AGAIN;
    }
    if (strcmp(node, "queued.test") == 0) {
        (void)pthread_mutex_lock(&slow.lock);
        slow.others++;
        (void)pthread_mutex_unlock(&slow.lock);
    }
    if (strcmp(node, "localhost") != 0)
        return EAI_NONAME; /* nobody is asked over a network */
    return real.call(node, service, hints, res);
}

/* ---- The scene: a dials b, and a resolver that does as it is told ---- */

typedef enum how {
    AT_ONCE,  /* inside of the hook */
    LATER,    /* when the test says so */
    ELSEWHERE /* on a thread of its own */
} how;

typedef struct scene {
    unsigned workers;
    bool dispatched;
    struct ev_loop *loop;
    ev_async wake; /* something happened on some thread */
    ev_timer clock;
    ev_io events;
    bool late;
    pea_runtime *runtime;
    pea_chain *chain;
    pea_node *a, *b;
    pea_addr where;  /* b listens */
    int dead;        /* a socket that listens never; */
    pea_addr nobody; /* its address: a dial is refused */
    /* What the hook does, and saw. */
    how how;
    pea_addr addrs[12];
    size_t n;
    pea_err err;
    unsigned asked;
    char host[256];
    uint16_t port;
    pea_ticket ticket;
    pthread_t thread;
    /* What happened, on any thread. */
    atomic_uint connects, failures, disconnects;
    atomic_ullong connected; /* the latest id */
    pthread_mutex_t lock;
    pea_reason reason;  /* of the latest failure */
    pea_conn_info info; /* and its last state; or remote of who connected */
} scene;

static const struct {
    unsigned workers;
    bool dispatched;
} kinds[] = {{0, false}, {2, false}, {0, true}};

static void say(scene *s)
{
    ev_async_send(s->loop, &s->wake);
}

static void on_connect(pea_conn *conn, void *user)
{
    scene *s = user;
    if (pea_conn_node(conn) != s->a)
        return;
    (void)pthread_mutex_lock(&s->lock);
    pea_conn_snapshot(conn, &s->info);
    (void)pthread_mutex_unlock(&s->lock);
    atomic_store(&s->connected, pea_conn_id(conn));
    atomic_fetch_add(&s->connects, 1);
    say(s);
}

static void on_disconnect(pea_conn *conn, const pea_reason *reason, void *user)
{
    scene *s = user;
    (void)reason;
    if (pea_conn_node(conn) != s->a)
        return;
    atomic_fetch_add(&s->disconnects, 1);
    say(s);
}

static void on_failed(pea_node *node, const pea_conn_info *info, const pea_reason *reason, void *user)
{
    scene *s = user;
    if (node != s->a)
        return;
    (void)pthread_mutex_lock(&s->lock);
    s->reason = *reason;
    s->info = *info;
    (void)pthread_mutex_unlock(&s->lock);
    atomic_fetch_add(&s->failures, 1);
    say(s);
}

static const pea_node_callbacks callbacks = {
    .on_connect = on_connect, .on_disconnect = on_disconnect, .on_connect_failed = on_failed};

static pea_err answer(const scene *s)
{
    return pea_post_resolved(s->ticket, s->addrs, s->n, s->err);
}

static void *answer_elsewhere(void *arg)
{
    if (answer(arg) != PEA_OK)
        abort();
    return NULL;
}

static void resolve(void *arg, const char *host, uint16_t port, pea_ticket ticket)
{
    scene *s = arg;
    s->asked++;
    (void)snprintf(s->host, sizeof s->host, "%s", host);
    s->port = port;
    s->ticket = ticket;
    if (s->how == AT_ONCE)
        check_ok(answer(s));
    if (s->how == ELSEWHERE)
        assert_int_equal(pthread_create(&s->thread, NULL, answer_elsewhere, s), 0);
}

static void on_wake(struct ev_loop *loop, ev_async *async, int events)
{
    (void)loop, (void)async, (void)events;
}

static void on_clock(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop, (void)events;
    ((scene *)timer->data)->late = true;
}

static void on_events(struct ev_loop *loop, ev_io *io, int events)
{
    (void)loop, (void)events;
    check_ok(pea_runtime_dispatch(io->data));
}

#define until(s, condition)                                    \
    do {                                                       \
        ev_timer_again((s)->loop, &(s)->clock);                \
        while (!(condition)) {                                 \
            if ((s)->late)                                     \
                fail_msg("waited in vain for %s", #condition); \
            ev_run((s)->loop, EVRUN_ONCE);                     \
        }                                                      \
        ev_timer_stop((s)->loop, &(s)->clock);                 \
    } while (0)

static void make_node(scene *s, pea_node **node, pea_node_opts *opts)
{
    pea_error why;
    if (opts->chain == NULL)
        opts->chain = s->chain;
    opts->on = &callbacks;
    opts->user = s;
    if (pea_node_new(node, s->runtime, opts, &why) != PEA_OK)
        fail_msg("%s", why.text);
}

/* `hook`: names are asked of resolve() above, else of the system. */
static void make_runtime(scene *s, bool hook)
{
    pea_error why;
    pea_runtime_opts *opts = PEA_RUNTIME(.loop = s->dispatched ? NULL : s->loop, .workers = s->workers,
                                         .resolve = hook ? resolve : NULL, .resolve_arg = s);
    if (pea_runtime_new(&s->runtime, opts, &why) != PEA_OK)
        fail_msg("%s", why.text);
    if (!s->dispatched)
        return;
    ev_io_init(&s->events, on_events, pea_runtime_event_fd(s->runtime), EV_READ);
    s->events.data = s->runtime;
    ev_io_start(s->loop, &s->events);
}

static void scene_open(scene *s, size_t kind, bool hook)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    pea_listener *listener;
    memset(s, 0, sizeof *s);
    s->workers = kinds[kind].workers;
    s->dispatched = kinds[kind].dispatched;
    s->loop = ev_loop_new(EVFLAG_AUTO);
    assert_non_null(s->loop);
    ev_async_init(&s->wake, on_wake);
    ev_async_start(s->loop, &s->wake);
    ev_init(&s->clock, on_clock);
    s->clock.repeat = DEADLINE_S;
    s->clock.data = s;
    assert_int_equal(pthread_mutex_init(&s->lock, NULL), 0);
    check_ok(pea_chain_new(&s->chain, NULL, NULL));
    check_ok(pea_chain_plain(s->chain));
    make_runtime(s, hook);
    make_node(s, &s->a, PEA_NODE(.name = "a"));
    make_node(s, &s->b, PEA_NODE(.name = "b"));
    check_ok(pea_node_listen(s->b, "127.0.0.1:0", NULL, &listener, NULL));
    s->where = *pea_listener_addr(listener);
    s->dead = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(s->dead, (struct sockaddr *)&at, len), 0);
    assert_int_equal(getsockname(s->dead, (struct sockaddr *)&at, &len), 0);
    s->nobody = s->where;
    s->nobody.port = ntohs(at.sin_port);
}

static void free_nodes(scene *s)
{
    pea_node_free(s->a);
    pea_node_free(s->b);
    s->a = s->b = NULL;
}

static void free_runtime(scene *s)
{
    if (s->dispatched)
        ev_io_stop(s->loop, &s->events);
    check_ok(pea_runtime_free(s->runtime));
    s->runtime = NULL;
}

static void scene_close(scene *s)
{
    free_nodes(s);
    if (s->runtime != NULL)
        free_runtime(s);
    pea_chain_unref(s->chain);
    (void)pthread_mutex_destroy(&s->lock);
    close(s->dead);
    ev_async_stop(s->loop, &s->wake);
    ev_timer_stop(s->loop, &s->clock);
    ev_run(s->loop, 0); /* returns at once: nothing of ours keeps it alive */
    ev_loop_destroy(s->loop);
}

/* Dials HOST, at b's port. */
static pea_err try_dial(scene *s, const char *host, const pea_dial_opts *opts, uint64_t *id, pea_error *why)
{
    char text[320];
    (void)snprintf(text, sizeof text, "%s:%u", host, s->where.port);
    return pea_node_connect(s->a, text, opts, id, why);
}

static uint64_t dial(scene *s, const char *host)
{
    pea_error why = {.code = PEA_OK};
    uint64_t id = 0;
    if (try_dial(s, host, PEA_DIAL(.again = true), &id, &why) != PEA_OK)
        fail_msg("%s", why.text);
    assert_int_not_equal(id, 0);
    return id;
}

static void resolves_to(scene *s, how when, size_t n, const pea_addr *const addrs[])
{
    s->how = when;
    s->n = n;
    s->err = PEA_OK;
    for (size_t i = 0; i < n; i++)
        s->addrs[i] = *addrs[i];
}

#define TO(...)                                                                                          \
    sizeof((const pea_addr *const[]){__VA_ARGS__}) / sizeof(const pea_addr *), (const pea_addr *const[]) \
    {                                                                                                    \
        __VA_ARGS__                                                                                      \
    }

static uint32_t connections(const scene *s)
{
    pea_counts counts;
    pea_node_counts(s->a, &counts);
    return counts.connections;
}

static void fails(scene *s, pea_err err, const char *says)
{
    until(s, s->failures == 1 && connections(s) == 0);
    assert_int_equal(s->connects, 0);
    check_err(s->reason.err, err);
    if (strstr(s->reason.text, says) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", s->reason.text, says);
}

static void each_kind(bool hook, void (*run)(scene *s))
{
    for (size_t kind = 0; kind < sizeof kinds / sizeof kinds[0]; kind++) {
        scene s;
        scene_open(&s, kind, hook);
        run(&s);
        scene_close(&s);
        assert_int_equal(faults_blocks(), 0);
    }
}

#define with_hook(name)              \
    static void name(void **state)   \
    {                                \
        (void)state;                 \
        each_kind(true, name##_run); \
    }

/* ---- Answers ---- */

static void connects_run(scene *s)
{
    pea_addr no_port = s->where;
    no_port.port = 0; /* the one that was dialled */
    for (how h = AT_ONCE; h <= ELSEWHERE; h++) {
        unsigned before = s->connects;
        resolves_to(s, h, TO(h == LATER ? &no_port : &s->where));
        uint64_t id = dial(s, "Bob.Example.");
        assert_string_equal(s->host, "bob.example.");
        assert_int_equal(s->port, s->where.port);
        if (h == LATER) {
            ev_run(s->loop, EVRUN_NOWAIT);
            assert_int_equal(connections(s), 1);
            check_ok(answer(s));
        }
        until(s, s->connects == before + 1);
        if (h == ELSEWHERE)
            assert_int_equal(pthread_join(s->thread, NULL), 0);
        assert_int_equal(s->connected, id);
        assert_true(pea_addr_equal(&s->info.remote, &s->where));
        if (s->workers == 0)
            assert_int_equal(pea_conn_id(pea_node_find_addr(s->a, &s->where)), id);
        check_ok(pea_post_close(s->runtime, id, PEA_CODE_NORMAL, NULL));
        until(s, s->disconnects == before + 1 && connections(s) == 0);
        assert_null(pea_node_find_addr(s->a, &s->where));
    }
    assert_int_equal(s->asked, 3);
    assert_int_equal(s->failures, 0);
}
with_hook(connects)

    static void only_one_answer_counts_run(scene *s)
{
    pea_ticket other;
    resolves_to(s, LATER, TO(&s->where));
    (void)dial(s, "b.example");
    other = s->ticket;
    other.conn++;
    check_err(pea_post_resolved(other, s->addrs, 1, PEA_OK), PEA_E_STALE);
    other = s->ticket;
    other.runtime += 1000;
    check_err(pea_post_resolved(other, s->addrs, 1, PEA_OK), PEA_E_STALE);
    check_err(pea_post_resolved(s->ticket, s->addrs, 1, PEA_WAIT), PEA_E_INVALID);
    check_err(pea_post_resolved(s->ticket, NULL, 1, PEA_OK), PEA_E_INVALID);
    check_err(pea_post_resolved(s->ticket, &(pea_addr){0}, 1, PEA_OK), PEA_E_INVALID);
    check_ok(pea_post_resume(s->ticket, PEA_OK)); /* another kind of ticket: it does nothing */
    check_ok(answer(s));
    check_err(answer(s), PEA_E_STALE);
    until(s, s->connects == 1);
    check_err(answer(s), PEA_E_STALE);
}
with_hook(only_one_answer_counts)

    static void an_error_run(scene *s)
{
    s->err = PEA_E_TIMEOUT;
    (void)dial(s, "b.example");
    fails(s, PEA_E_TIMEOUT, "was not resolved: ");
    assert_non_null(strstr(s->reason.text, "b.example:"));
    assert_int_equal(s->info.remote.family, PEA_ADDR_NONE);
    assert_int_equal(s->info.state, PEA_CLOSED);
}
with_hook(an_error)

    static void no_address_run(scene *s)
{
    (void)dial(s, "b.example");
    fails(s, PEA_E_NOT_FOUND, "was not resolved: ");
}
with_hook(no_address)

    static void no_answer_run(scene *s)
{
    pea_node_free(s->a);
    make_node(s, &s->a, PEA_NODE(.name = "a", .connect_timeout_ms = 50));
    resolves_to(s, LATER, TO(&s->where));
    (void)dial(s, "b.example");
    fails(s, PEA_E_TIMEOUT, "the connect timeout passed");
    assert_int_equal(s->reason.origin, PEA_BY_TIMEOUT);
    check_err(answer(s), PEA_E_STALE);
}
with_hook(no_answer)

    /* ---- One address after another ---- */

    static void the_next_address_run(scene *s)
{
    pea_addr many = {.family = PEA_ADDR_UNIX, .path_len = 15, .u.path = "/there/is/none!"};
    resolves_to(s, AT_ONCE, TO(&s->nobody, &many, &s->nobody, &s->where));
    (void)dial(s, "b.example");
    until(s, s->connects == 1);
    assert_true(pea_addr_equal(&s->info.remote, &s->where));
    if (s->workers == 0)
        assert_null(pea_node_find_addr(s->a, &s->nobody));
    assert_int_equal(s->failures, 0);
}
with_hook(the_next_address)

    static void the_last_error_run(scene *s)
{
    resolves_to(s, AT_ONCE, TO(&s->nobody, &s->nobody));
    (void)dial(s, "b.example");
    fails(s, PEA_E_SYS, "");
    assert_int_equal(s->reason.sys, ECONNREFUSED);
    assert_true(pea_addr_equal(&s->info.remote, &s->nobody));
}
with_hook(the_last_error)

    /* Of twelve addresses the last four are not used. */
    static void eight_addresses_run(scene *s)
{
    const pea_addr *no = &s->nobody, *yes = &s->where;
    resolves_to(s, AT_ONCE, TO(no, no, no, no, no, no, no, no, yes, yes, yes, yes));
    (void)dial(s, "b.example");
    fails(s, PEA_E_SYS, "");
}
with_hook(eight_addresses)

    /* An address that says nothing at all has half of the time. */
    static void a_fair_share(void **state)
{
    enum { FILLERS = 8 };
    scene s;
    int fillers[FILLERS], silent = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    (void)state;
    assert_int_equal(bind(silent, (struct sockaddr *)&at, len), 0);
    assert_int_equal(listen(silent, 0), 0);
    assert_int_equal(getsockname(silent, (struct sockaddr *)&at, &len), 0);
    for (size_t i = 0; i < FILLERS; i++) { /* until one stays unconnected, the queue has room */
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)!connect(fillers[i], (const struct sockaddr *)&at, len);
    }
    scene_open(&s, 0, true);
    pea_node_free(s.a);
    make_node(&s, &s.a, PEA_NODE(.name = "a", .connect_timeout_ms = 6000)); /* half of it for each */
    pea_addr nothing = s.where;
    nothing.port = ntohs(at.sin_port);
    resolves_to(&s, AT_ONCE, TO(&nothing, &s.where));
    (void)dial(&s, "b.example");
    until(&s, s.connects + s.failures == 1);
    assert_int_equal(s.connects, 1);
    assert_true(pea_addr_equal(&s.info.remote, &s.where));
    resolves_to(&s, AT_ONCE, TO(&nothing, &s.nobody));
    (void)dial(&s, "b.example");
    until(&s, s.failures == 1);
    assert_int_equal(s.reason.sys, ECONNREFUSED);
    scene_close(&s);
    for (size_t i = 0; i < FILLERS; i++)
        close(fillers[i]);
    close(silent);
}

/* ---- Addresses that are refused ---- */

static void ourselves_run(scene *s)
{
    pea_listener *own;
    check_ok(pea_node_listen(s->a, "127.0.0.1:0", NULL, &own, NULL));
    resolves_to(s, AT_ONCE, TO(pea_listener_addr(own)));
    (void)dial(s, "a.example");
    fails(s, PEA_E_INVALID, "own address");
    resolves_to(s, AT_ONCE, TO(pea_listener_addr(own), &s->where));
    (void)dial(s, "a.example");
    until(s, s->connects == 1);
}
with_hook(ourselves)

    static void banned_run(scene *s)
{
    pea_prefix range;
    pea_addr other = s->where;
    check_ok(pea_prefix_parse(&range, "127.0.0.5", NULL));
    check_ok(pea_node_ban(s->a, &range, PEA_NEVER));
    other.u.ip[3] = 5;
    resolves_to(s, AT_ONCE, TO(&other, &other));
    (void)dial(s, "b.example");
    fails(s, PEA_E_LIMIT, "banned");
    assert_int_equal(s->reason.origin, PEA_BY_POLICY);
    pea_stats_node stats;
    pea_node_stats(s->a, &stats);
    assert_int_equal(stats.refused[PEA_REFUSED_BY_BAN], 2);
    resolves_to(s, AT_ONCE, TO(&other, &s->where));
    (void)dial(s, "b.example");
    until(s, s->connects == 1);
    assert_true(pea_addr_equal(&s->info.remote, &s->where));
}
with_hook(banned)

    static void twice_run(scene *s)
{
    char text[PEA_ADDR_TEXT_BYTES];
    pea_error why;
    resolves_to(s, LATER, TO(&s->where));
    check_ok(try_dial(s, "b.example", NULL, NULL, &why));
    check_err(try_dial(s, "B.Example", NULL, NULL, &why), PEA_E_EXISTS); /* the name is on its way */
    assert_non_null(strstr(why.text, "dialled already"));
    check_ok(answer(s));
    until(s, s->connects == 1);
    check_err(try_dial(s, "b.example", NULL, NULL, &why), PEA_E_EXISTS);
    check_err(pea_node_connect(s->a, pea_addr_format(&s->where, text), NULL, NULL, &why), PEA_E_EXISTS);
    resolves_to(s, AT_ONCE, TO(&s->where));
    check_ok(try_dial(s, "another.example", NULL, NULL, &why)); /* only the resolver knows that it is the same */
    until(s, s->failures == 1 && connections(s) == 1);
    check_err(s->reason.err, PEA_E_EXISTS);
    check_ok(try_dial(s, "b.example", PEA_DIAL(.again = true), NULL, &why));
    until(s, s->connects == 2);
    pea_node_free(s->a);
    make_node(s, &s->a, PEA_NODE(.name = "a"));
    check_ok(try_dial(s, "b.example", NULL, NULL, &why));
    until(s, s->connects == 3);
}
with_hook(twice)

    static void limits_run(scene *s)
{
    pea_error why;
    pea_counts counts;
    pea_node_free(s->a);
    make_node(s, &s->a, PEA_NODE(.name = "a", .max_connections = 1));
    s->how = LATER;
    check_ok(try_dial(s, "b.example", NULL, NULL, &why));
    pea_node_counts(s->a, &counts);
    assert_int_equal(counts.connections, 1);
    assert_int_equal(counts.pending, 1);
    check_err(try_dial(s, "c.example", NULL, NULL, &why), PEA_E_LIMIT);
    assert_non_null(strstr(why.text, "max_connections"));
    assert_int_equal(s->asked, 1);
    check_err(try_dial(s, "d.example", PEA_DIAL(.fd = s->dead), NULL, &why), PEA_E_INVALID);
    check_err(try_dial(s, "-.example", NULL, NULL, &why), PEA_E_FORMAT);
    check_err(pea_node_listen(s->a, "localhost:0", NULL, NULL, &why), PEA_E_FORMAT);
    assert_non_null(strstr(why.text, "names are not resolved"));
}
with_hook(limits)

    static void lookups_have_a_bound(void **state)
{
    scene s;
    pea_error why;
    (void)state;
    scene_open(&s, 0, true);
    pea_node_free(s.a);
    make_node(&s, &s.a, PEA_NODE(.name = "a", .max_pending = PEA_UNLIMITED));
    s.how = LATER;
    for (unsigned i = 0; i < PEA__LOOKUPS_MAX; i++)
        (void)dial(&s, "b.example");
    check_err(try_dial(&s, "b.example", PEA_DIAL(.again = true), NULL, &why), PEA_E_LIMIT);
    assert_non_null(strstr(why.text, "4096"));
    scene_close(&s);
}

/* ---- The end comes first ---- */

static void given_up_run(scene *s)
{
    resolves_to(s, LATER, TO(&s->where));
    uint64_t id = dial(s, "b.example");
    if (s->workers == 0) {
        pea_conn *conn = pea_node_find(s->a, id);
        assert_non_null(conn);
        assert_int_equal(pea_conn_state(conn), PEA_DIALING);
        assert_int_equal(pea_conn_remote(conn)->family, PEA_ADDR_NONE);
        pea_conn_abort(conn);
        check_ok(answer(s)); /* it has not ended yet, and is not brought back */
    } else {
        check_ok(pea_post_close(s->runtime, id, PEA_CODE_NORMAL, "never mind"));
    }
    fails(s, PEA_E_ABORTED, "");
    assert_int_equal(s->reason.origin, PEA_BY_USER);
    check_err(answer(s), PEA_E_STALE);
    assert_null(pea_node_find(s->a, id));
}
with_hook(given_up)

    static void freed_run(scene *s)
{
    resolves_to(s, LATER, TO(&s->where));
    (void)dial(s, "b.example");
    (void)dial(s, "c.example");
    pea_node_free(s->a);
    s->a = NULL;
    assert_int_equal(s->failures, 2);
    check_err(s->reason.err, PEA_E_ABORTED);
    check_err(answer(s), PEA_E_STALE);
    free_nodes(s);
    free_runtime(s);
    check_err(answer(s), PEA_E_STALE);
}
with_hook(freed)

    static void freed_with_its_answer_run(scene *s)
{
    resolves_to(s, AT_ONCE, TO(&s->where));
    (void)dial(s, "b.example");
    free_nodes(s); /* the answer lies in a mailbox */
    free_runtime(s);
    assert_int_equal(s->failures + s->disconnects, 1);
}
with_hook(freed_with_its_answer)

    static void on_done(void *arg)
{
    *(bool *)arg = true;
}

static void shut_down_run(scene *s)
{
    bool done = false;
    resolves_to(s, LATER, TO(&s->where));
    (void)dial(s, "b.example");
    check_ok(pea_node_shutdown(s->a, 0, on_done, &done));
    until(s, done && s->failures == 1);
    assert_int_equal(s->reason.origin, PEA_BY_SHUTDOWN);
    check_err(answer(s), PEA_E_STALE);
    check_err(try_dial(s, "b.example", NULL, NULL, NULL), PEA_E_STATE);
}
with_hook(shut_down)

    /* A hook may free the node that asks. */
    static void free_inside(void *arg, const char *host, uint16_t port, pea_ticket ticket)
{
    scene *s = arg;
    (void)host, (void)port;
    s->ticket = ticket;
    pea_node_free(s->b);
}

static void freed_by_the_hook(void **state)
{
    (void)state;
    for (size_t kind = 0; kind < sizeof kinds / sizeof kinds[0]; kind++) {
        scene s;
        pea_error why;
        scene_open(&s, kind, true);
        free_nodes(&s);
        free_runtime(&s);
        check_ok(pea_runtime_new(
            &s.runtime, PEA_RUNTIME(.loop = s.loop, .workers = s.workers, .resolve = free_inside, .resolve_arg = &s),
            &why));
        s.dispatched = false;
        make_node(&s, &s.b, PEA_NODE(.name = "b"));
        s.a = s.b; /* its callbacks are counted */
        uint64_t id;
        check_ok(pea_node_connect(s.b, "b.example:9000", NULL, &id, &why));
        until(&s, s.failures == 1);
        s.a = s.b = NULL;
        pea_err err; /* the node goes at the end of the round */
        until(&s, (ev_async_send(s.loop, &s.wake), (err = pea_runtime_free(s.runtime)) == PEA_OK));
        s.runtime = NULL;
        check_err(pea_post_resolved(s.ticket, NULL, 0, PEA_OK), PEA_E_STALE);
        scene_close(&s);
        assert_int_equal(faults_blocks(), 0);
    }
}

/* ---- The loop lives as long as somebody dials ---- */

static void stop_waiting(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)events;
    *(bool *)timer->data = true;
    ev_ref(loop);
    ev_timer_stop(loop, timer);
}

static void a_lookup_keeps_the_loop(void **state)
{
    (void)state;
    for (size_t kind = 0; kind < 2; kind++) {
        scene s;
        bool fired = false;
        ev_timer timer;
        scene_open(&s, kind, true);
        resolves_to(&s, LATER, TO(&s.nobody));
        pea_node_free(s.b);
        s.b = NULL;
        ev_async_stop(s.loop, &s.wake);
        (void)dial(&s, "b.example");
        ev_timer_init(&timer, stop_waiting, 0.02, 0.);
        timer.data = &fired;
        ev_timer_start(s.loop, &timer);
        ev_unref(s.loop);
        while (!fired) /* it keeps no loop alive, but the lookup does */
            assert_true(ev_run(s.loop, EVRUN_ONCE) || fired);
        check_ok(answer(&s));
        ev_run(s.loop, 0);
        assert_int_equal(s.failures, 1);
        ev_async_start(s.loop, &s.wake);
        scene_close(&s);
    }
}

/* ---- The system's resolver ---- */

static void localhost_run(scene *s)
{
    (void)dial(s, "localhost");
    until(s, s->connects + s->failures == 1);
    if (s->failures > 0)
        fail_msg("%s", s->reason.text);
    assert_true(pea_addr_equal(&s->info.remote, &s->where));
    (void)dial(s, "nobody.test");
    until(s, s->failures == 1);
    check_err(s->reason.err, PEA_E_NOT_FOUND);
    assert_non_null(strstr(s->reason.text, "nobody.test:"));
}

static void localhost(void **state)
{
    (void)state;
    each_kind(false, localhost_run);
}

/* The thread works off one name after the other; who has given up does not wait in line. */
static void a_name_in_line_run(scene *s)
{
    unsigned others = slow.others;
    (void)dial(s, "slow.test");
    uint64_t id = dial(s, "queued.test"), last = dial(s, "localhost");
    wait_until_it_hangs();
    check_ok(pea_post_close(s->runtime, id, PEA_CODE_NORMAL, NULL));
    until(s, s->failures == 1);
    let_go(true);
    until(s, s->failures == 2 && s->connects == 1);
    let_go(false);
    check_err(s->reason.err, PEA_E_SYS);
    assert_int_equal(s->connected, last);
    assert_int_equal(slow.others, others);
}

static void a_name_in_line(void **state)
{
    (void)state;
    each_kind(false, a_name_in_line_run);
}

/* Nobody waits for getaddrinfo() when the runtime goes, and what it had is freed when it comes back. */
static void a_resolver_that_hangs(void **state)
{
    (void)state;
    for (size_t kind = 0; kind < sizeof kinds / sizeof kinds[0]; kind++) {
        scene s;
        scene_open(&s, kind, false);
        (void)dial(&s, "slow.test");
        (void)dial(&s, "queued.test");
        wait_until_it_hangs();
        scene_close(&s); /* it returns */
        assert_int_equal(s.failures, 2);
        assert_true(faults_blocks() > 0);
        let_go(true);
        for (unsigned i = 0; faults_blocks() > 0 && i < DEADLINE_S * 1000; i++)
            (void)usleep(1000);
        assert_int_equal(faults_blocks(), 0);
        let_go(false);
    }
}

/* ---- The blocking client ---- */

static void a_client_that_blocks(void **state)
{
    scene s;
    pea_sync *sync;
    pea_error why;
    (void)state;
    scene_open(&s, 0, false);
    char text[64];
    (void)snprintf(text, sizeof text, "nobody.test:%u", s.where.port);
    check_err(pea_sync_connect(&sync, text, PEA_SYNC(.chain = s.chain), &why), PEA_E_NOT_FOUND);
    assert_non_null(strstr(why.text, "nobody.test"));
    (void)snprintf(text, sizeof text, "localhost:%u", s.nobody.port);
    check_err(pea_sync_connect(&sync, text, PEA_SYNC(.chain = s.chain), &why), PEA_E_SYS);
    check_err(pea_sync_connect(&sync, "a b:1", PEA_SYNC(.chain = s.chain), &why), PEA_E_FORMAT);
    size_t before = faults_blocks();
    check_err(pea_sync_connect(&sync, "slow.test:1", PEA_SYNC(.chain = s.chain, .timeout_ms = 20), &why),
              PEA_E_TIMEOUT);
    assert_non_null(strstr(why.text, "slow.test"));
    wait_until_it_hangs(); /* perhaps it has only begun */
    let_go(true);
    for (unsigned i = 0; faults_blocks() > before && i < DEADLINE_S * 1000; i++)
        (void)usleep(1000);
    assert_int_equal(faults_blocks(), before);
    let_go(false);
    scene_close(&s);
}

/* ---- Whom the policy is shown ---- */

static pea_err note(void *arg, pea_peer *peer, const pea_candidate *candidate)
{
    (void)peer;
    if (candidate->dialled != NULL)
        (void)snprintf(arg, 300, "%s", candidate->dialled);
    return PEA_OK;
}

static void the_name_that_was_dialled(void **state)
{
    scene s;
    char dialled[300] = "", with_port[64];
    pea_trust *trust;
    pea_identity *ids[2];
    pea_chain *chains[2];
    pea_node *nodes[2];
    pea_listener *listener;
    pea_error why;
    (void)state;
    scene_open(&s, 0, true);
    free_nodes(&s);
    check_ok(pea_trust_new(&trust));
    pea_trust_ask(trust, note, dialled);
    for (int i = 0; i < 2; i++) {
        check_ok(pea_identity_generate(&ids[i], NULL));
        check_ok(pea_chain_new(&chains[i], NULL, NULL));
        check_ok(pea_chain_noise(chains[i], PEA_NOISE(.identity = ids[i]), NULL));
        make_node(&s, &nodes[i], PEA_NODE(.chain = chains[i], .policy = pea_trust_policy(trust)));
    }
    s.a = nodes[0];
    s.b = nodes[1];
    check_ok(pea_node_listen(s.b, "127.0.0.1:0", NULL, &listener, NULL));
    s.where = *pea_listener_addr(listener);
    resolves_to(&s, AT_ONCE, TO(&s.where));
    (void)dial(&s, "Bob.Example.");
    until(&s, s.connects == 1);
    (void)snprintf(with_port, sizeof with_port, "bob.example:%u", s.where.port);
    assert_string_equal(dialled, with_port); /* two peers of one host are two */
    check_ok(try_dial(&s, "bob.example", PEA_DIAL(.name = "bob"), NULL, &why));
    until(&s, s.connects == 2 || s.failures == 1);
    check_err(s.reason.err, PEA_E_EXISTS); /* the address is the same */
    check_ok(try_dial(&s, "bob.example", PEA_DIAL(.name = "bob", .again = true), NULL, &why));
    until(&s, s.connects == 2);
    assert_string_equal(dialled, "bob");
    check_ok(try_dial(&s, "bob.example", PEA_DIAL(.name = "", .again = true), NULL, &why));
    until(&s, s.connects == 3);
    char address[PEA_ADDR_TEXT_BYTES];
    assert_string_equal(dialled, pea_addr_format(&s.where, address));
    free_nodes(&s);
    for (int i = 0; i < 2; i++) {
        pea_chain_unref(chains[i]);
        pea_identity_unref(ids[i]);
    }
    pea_trust_unref(trust);
    scene_close(&s);
}

/* ---- Memory ---- */

static void every_allocation_fails_once(void **state)
{
    size_t nth = 0;
    (void)state;
    for (bool hit = true; hit; nth++) {
        scene s;
        pea_error why = {.code = PEA_OK};
        scene_open(&s, nth % 2, true); /* with threads they come in another order */
        resolves_to(&s, AT_ONCE, TO(&s.nobody, &s.where));
        faults_arm(nth / 2);
        pea_err err = try_dial(&s, "b.example", NULL, NULL, &why);
        if (err == PEA_OK) {
            until(&s, s.connects + s.failures == 1);
        } else {
            check_err(err, PEA_E_NOMEM);
            assert_true(strlen(why.text) > 0);
            assert_int_equal(connections(&s), 0);
        }
        hit = faults_disarm();
        unsigned before = s.connects;
        (void)dial(&s, "b.example"); /* whatever failed, the next is as good as any */
        until(&s, s.connects == before + 1);
        scene_close(&s);
        assert_int_equal(faults_blocks(), 0);
    }
    print_message("%zu allocations failed, one at a time\n", nth / 2);
    assert_true(nth > 10);
}

/* The thread's own part of it. */
static void the_systems_resolver_without_memory(void **state)
{
    size_t nth = 0;
    (void)state;
    for (bool hit = true; hit; nth++) {
        scene s;
        scene_open(&s, 0, false);
        faults_arm(nth);
        pea_err err = try_dial(&s, "localhost", NULL, NULL, NULL);
        if (err == PEA_OK)
            until(&s, s.connects + s.failures == 1);
        else
            check_err(err, PEA_E_NOMEM);
        hit = faults_disarm();
        scene_close(&s);
        assert_int_equal(faults_blocks(), 0);
    }
    assert_true(nth > 5);
}

int main(void)
{
    faults_install();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connects),
        cmocka_unit_test(only_one_answer_counts),
        cmocka_unit_test(an_error),
        cmocka_unit_test(no_address),
        cmocka_unit_test(no_answer),
        cmocka_unit_test(the_next_address),
        cmocka_unit_test(the_last_error),
        cmocka_unit_test(eight_addresses),
        cmocka_unit_test(a_fair_share),
        cmocka_unit_test(ourselves),
        cmocka_unit_test(banned),
        cmocka_unit_test(twice),
        cmocka_unit_test(limits),
        cmocka_unit_test(lookups_have_a_bound),
        cmocka_unit_test(given_up),
        cmocka_unit_test(freed),
        cmocka_unit_test(freed_with_its_answer),
        cmocka_unit_test(shut_down),
        cmocka_unit_test(freed_by_the_hook),
        cmocka_unit_test(a_lookup_keeps_the_loop),
        cmocka_unit_test(localhost),
        cmocka_unit_test(a_name_in_line),
        cmocka_unit_test(a_resolver_that_hangs),
        cmocka_unit_test(a_client_that_blocks),
        cmocka_unit_test(the_name_that_was_dialled),
        cmocka_unit_test(every_allocation_fails_once),
        cmocka_unit_test(the_systems_resolver_without_memory),
    };
    return cmocka_run_group_tests_name("resolve", tests, NULL, NULL);
}
