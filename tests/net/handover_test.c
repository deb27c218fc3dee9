/* SPDX-License-Identifier: MIT */
/* Listening sockets that pass from one process to the next: nobody who dials is refused meanwhile, and a hand-over that
 * fails changes nothing. The processes are this program again, with arguments. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "peapod/handover.h"
#include "support/net.h"

#define GENERATIONS 4
#define DIALS_EACH 100 /* that the client makes of a generation before the next one comes */

static char folder[64], path[96];
static const char *self; /* this program */

/* ---- The processes ---- */

typedef struct life {
    struct ev_loop *loop;
    pea_runtime *runtime;
    pea_chain *chain;
    pea_node *node;
    const char *what;
    char generation; /* a server's own; of the client, whom it met last */
    bool taken;      /* and of a client: nobody is dialled any more */
    unsigned met;    /* times */
    char addr[PEA_ADDR_TEXT_BYTES];
    ev_io input;
} life;

static void must(pea_err err, const life *l, const pea_error *why)
{
    if (err == PEA_OK)
        return;
    fprintf(stderr, "%s %c: %s: %s\n", l->what, l->generation, pea_err_name(err), why->text);
    _exit(1);
}

static void tell(char c)
{
    if (write(STDOUT_FILENO, &c, 1) != 1)
        _exit(1);
}

/* Whoever started it wants it to end. */
static void on_input(struct ev_loop *loop, ev_io *io, int events)
{
    life *l = io->data;
    pea_counts counts;
    (void)events;
    ev_io_stop(loop, io);
    l->taken = true;
    pea_node_counts(l->node, &counts);
    if (counts.connections == 0)
        ev_break(loop, EVBREAK_ALL);
}

static void open_life(life *l, const pea_node_callbacks *on)
{
    pea_error why = {0};
    (void)alarm(120);
    l->loop = ev_loop_new(EVFLAG_AUTO);
    must(pea_runtime_new(&l->runtime, PEA_RUNTIME(.loop = l->loop), &why), l, &why);
    must(pea_chain_new(&l->chain, NULL, &why), l, &why);
    must(pea_chain_plain(l->chain), l, &why);
    must(pea_node_new(&l->node, l->runtime, PEA_NODE(.chain = l->chain, .on = on, .user = l), &why), l, &why);
    ev_io_init(&l->input, on_input, STDIN_FILENO, EV_READ);
    l->input.data = l;
    ev_io_start(l->loop, &l->input);
}

static int run_life(life *l)
{
    ev_run(l->loop, 0);
    ev_io_stop(l->loop, &l->input);
    pea_node_free(l->node);
    pea_chain_unref(l->chain);
    pea_error why = {0};
    must(pea_runtime_free(l->runtime), l, &why);
    ev_loop_destroy(l->loop);
    return 0;
}

static void leave_if_done(life *l)
{
    pea_counts counts;
    pea_node_counts(l->node, &counts);
    if (l->taken && counts.connections <= 1) /* the one that ends now counts still */
        ev_break(l->loop, EVBREAK_ALL);
}

static void server_on_connect(pea_conn *conn, void *user)
{
    life *l = user;
    if (pea_conn_send(conn, &l->generation, 1) != PEA_OK)
        _exit(1);
}

static void server_on_disconnect(pea_conn *conn, const pea_reason *reason, void *user)
{
    (void)conn, (void)reason;
    leave_if_done(user);
}

static void server_on_failed(pea_node *node, const pea_conn_info *info, const pea_reason *reason, void *user)
{
    life *l = user;
    (void)node, (void)info;
    fprintf(stderr, "server %c: %s\n", l->generation, pea_err_name(reason->err));
    _exit(1);
}

static void server_on_taken(pea_node *node, void *arg)
{
    life *l = arg;
    pea_counts counts;
    l->taken = true;
    pea_node_counts(node, &counts);
    if (counts.listeners != 0)
        _exit(1);
    if (counts.connections == 0)
        ev_break(l->loop, EVBREAK_ALL);
}

/* The first one listens, each other takes from its predecessor; it ends when it has been taken from. */
static int be_server(char generation, const char *offer)
{
    static const pea_node_callbacks on = {
        .on_connect = server_on_connect, .on_disconnect = server_on_disconnect, .on_connect_failed = server_on_failed};
    life l = {.what = "server", .generation = generation};
    pea_error why = {0};
    open_life(&l, &on);
    pea_err err = pea_handover_take(l.node, offer, NULL, &why);
    if (generation == 'a' && err == PEA_E_NOT_FOUND)
        err = pea_node_listen(l.node, "127.0.0.1:0", NULL, NULL, &why);
    must(err, &l, &why);
    must(pea_handover_offer(l.node, offer, server_on_taken, &l, &why), &l, &why);
    if (generation == 'a') {
        pea_addr_format(pea_node_listen_addr(l.node), l.addr);
        for (size_t i = 0; i <= strlen(l.addr); i++)
            tell(l.addr[i]);
    } else {
        tell(generation);
    }
    return run_life(&l);
}

static void client_dial(life *l)
{
    pea_error why = {0};
    must(pea_node_connect(l->node, l->addr, PEA_DIAL(.again = true), NULL, &why), l, &why);
}

static void client_on_message(pea_conn *conn, const uint8_t *data, size_t len, void *user)
{
    life *l = user;
    (void)len;
    if ((char)data[0] != l->generation) {
        l->generation = (char)data[0];
        l->met = 0;
    }
    if (++l->met == DIALS_EACH)
        tell(l->generation);
    pea_conn_close(conn, PEA_CODE_NORMAL, NULL);
}

static void client_on_disconnect(pea_conn *conn, const pea_reason *reason, void *user)
{
    (void)conn, (void)reason;
    leave_if_done(user);
    if (!((life *)user)->taken)
        client_dial(user);
}

static void client_on_failed(pea_node *node, const pea_conn_info *info, const pea_reason *reason, void *user)
{
    (void)node, (void)info;
    fprintf(stderr, "a dial failed: %s: %s\n", pea_err_name(reason->err), reason->text);
    (void)user;
    _exit(1);
}

/* Dials all the time, on several connections at once, until its input ends; says each generation of servers that it
 * has met often. */
static int be_client(const char *addr)
{
    static const pea_node_callbacks on = {
        .on_message = client_on_message, .on_disconnect = client_on_disconnect, .on_connect_failed = client_on_failed};
    life l = {.what = "client", .generation = '-'};
    open_life(&l, &on);
    (void)snprintf(l.addr, sizeof l.addr, "%s", addr);
    for (int i = 0; i < 8; i++)
        client_dial(&l);
    return run_life(&l);
}

/* ---- Who starts them ---- */

typedef struct child {
    pid_t pid;
    int in, out; /* we write, we read */
} child;

static child start(const char *role, const char *generation, const char *arg)
{
    int in[2], out[2];
    assert_int_equal(pipe(in), 0);
    assert_int_equal(pipe(out), 0);
    assert_int_equal(fcntl(in[1], F_SETFD, FD_CLOEXEC), 0); /* else the next child holds it open */
    assert_int_equal(fcntl(out[0], F_SETFD, FD_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void)dup2(in[0], STDIN_FILENO);
        (void)dup2(out[1], STDOUT_FILENO);
        execl(self, self, role, generation, arg, (char *)NULL);
        _exit(127);
    }
    assert_true(pid > 0);
    close(in[0]);
    close(out[1]);
    return (child){pid, in[1], out[0]};
}

static char heard(const child *c)
{
    char said = 0;
    assert_int_equal(read(c->out, &said, 1), 1);
    return said;
}

static void ended_well(const child *c)
{
    int status;
    close(c->in);
    assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
    close(c->out);
    assert_int_equal(status, 0);
}

static void nobody_is_refused(void **state)
{
    char addr[PEA_ADDR_TEXT_BYTES];
    (void)state;
    child server = start("server", "a", path);
    for (size_t i = 0; i == 0 || addr[i - 1] != '\0'; i++)
        addr[i] = heard(&server);
    child client = start("client", "-", addr);
    assert_int_equal(heard(&client), 'a');
    for (char generation = 'b'; generation < 'a' + GENERATIONS; generation++) {
        child next = start("server", (const char[]){generation, '\0'}, path);
        assert_int_equal(heard(&next), generation);
        ended_well(&server); /* once all that it had has gone */
        server = next;
        assert_int_equal(heard(&client), generation);
    }
    ended_well(&client);
    ended_well(&server);
    assert_int_equal(access(path, F_OK), -1);
}

/* ---- In one process: the successor has a thread ---- */

typedef struct successor {
    pthread_t thread;
    struct ev_loop *loop;
    pea_runtime *runtime;
    pea_node *node;
    pea_take_opts opts;
    pea_err err;
    pea_error why;
    atomic_bool done;
} successor;

static void *take(void *arg)
{
    successor *s = arg;
    s->err = pea_handover_take(s->node, path, &s->opts, &s->why);
    s->done = true;
    return NULL;
}

static void successor_open(successor *s, net *n)
{
    *s = (successor){.opts = PEA_TAKE_INIT, .loop = ev_loop_new(EVFLAG_AUTO)};
    check_ok(pea_runtime_new(&s->runtime, PEA_RUNTIME(.loop = s->loop), NULL));
    check_ok(pea_node_new(&s->node, s->runtime, PEA_NODE(.chain = n->chain), NULL));
}

static void successor_close(successor *s)
{
    pea_node_free(s->node);
    check_ok(pea_runtime_free(s->runtime));
    ev_loop_destroy(s->loop);
}

static void successor_take(successor *s, net *n)
{
    assert_int_equal(pthread_create(&s->thread, NULL, take, s), 0);
    net_clock_start(n);
    while (!s->done)
        net_poll(n);
    net_clock_stop(n);
    assert_int_equal(pthread_join(s->thread, NULL), 0);
}

/* Stream sockets at the offer's path: bound only, one that listens, a client's. */
static int raw_open(struct sockaddr_un *at)
{
    *at = (struct sockaddr_un){.sun_family = AF_UNIX};
    (void)snprintf(at->sun_path, sizeof at->sun_path, "%s", path);
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static int raw_bound(void)
{
    struct sockaddr_un at;
    int fd = raw_open(&at);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

static int raw(bool listens)
{
    struct sockaddr_un at;
    if (listens) {
        int door = raw_bound();
        assert_int_equal(listen(door, 4), 0);
        return door;
    }
    int fd = raw_open(&at);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

/* A successor without the library, to which the sockets have been handed out; it has read nothing yet. */
static int talk(net *n)
{
    char byte;
    int fd = raw(false);
    net_wait(n, recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 1);
    return fd;
}

static uint32_t listeners_of(const pea_node *node)
{
    pea_counts counts;
    pea_node_counts(node, &counts);
    return counts.listeners;
}

static int setup(void **state)
{
    static net n;
    net_setup(&n, PEA_NATIVE);
    net_node(&n.a, PEA_NODE(.name = "a"));
    net_node(&n.b, PEA_NODE(.name = "b"));
    *state = &n;
    return 0;
}

static int teardown(void **state)
{
    net_teardown(*state);
    assert_int_equal(access(path, F_OK), -1); /* whatever happened, the offer's file is gone */
    return 0;
}

static void on_taken(pea_node *node, void *arg)
{
    assert_int_equal(listeners_of(node), 0);
    (*(unsigned *)arg)++;
}

static void count_taken(pea_node *node, void *arg)
{
    (void)node;
    (*(unsigned *)arg)++;
}

/* Chooses: IPv4 alone, with a chain that is not the node's. */
static bool ipv4_alone(void *arg, const pea_addr *addr, pea_listen_opts *opts)
{
    opts->chain = arg;
    return addr->family == PEA_ADDR_IPV4;
}

static void listeners_change_hands(void **state)
{
    net *n = *state;
    successor s;
    char file[128];
    unsigned taken = 0;
    (void)snprintf(file, sizeof file, "unix:%s/service", folder);
    net_listen(&n->b);
    net_meet(n);
    check_ok(pea_node_listen(n->b.node, file, NULL, NULL, NULL));
    check_ok(pea_handover_offer(n->b.node, path, on_taken, &taken, NULL));
    successor_open(&s, n);
    successor_take(&s, n);
    check_err(s.err, PEA_OK);
    assert_int_equal(taken, 1);
    assert_int_equal(listeners_of(s.node), 2);
    assert_int_equal(listeners_of(n->b.node), 0);
    assert_int_equal(n->b.disconnects, 0); /* who is connected stays */
    n->b.listener = NULL;
    assert_int_equal(access(file + 5, F_OK), 0);
    successor_close(&s);
    assert_int_equal(access(file + 5, F_OK), -1); /* it was the successor's to remove */
}

static void what_is_not_wanted_is_closed(void **state)
{
    net *n = *state;
    successor s;
    char file[128];
    (void)snprintf(file, sizeof file, "unix:%s/service", folder);
    net_listen(&n->b);
    n->b.listener = NULL;
    check_ok(pea_node_listen(n->b.node, file, NULL, NULL, NULL));
    check_ok(pea_handover_offer(n->b.node, path, NULL, NULL, NULL));
    successor_open(&s, n);
    s.opts.choose = ipv4_alone;
    s.opts.arg = n->chain;
    successor_take(&s, n);
    check_err(s.err, PEA_OK);
    assert_int_equal(listeners_of(s.node), 1);
    successor_close(&s);
    assert_int_equal(access(file + 5, F_OK), -1); /* nobody wanted it */
}

/* Listens after the sockets were handed out: the successor has no part in that. */
static void a_listener_that_comes_too_late(void **state)
{
    net *n = *state;
    unsigned taken = 0;
    net_listen(&n->b);
    check_ok(pea_handover_offer(n->b.node, path, count_taken, &taken, NULL));
    int fd = talk(n);
    net_listen(&n->b); /* another */
    assert_int_equal(send(fd, "T", 1, 0), 1);
    net_wait(n, taken == 1);
    assert_int_equal(listeners_of(n->b.node), 1);
    net_meet(n);
    check_ok(pea_handover_offer(n->b.node, path, count_taken, &taken, NULL)); /* it may be handed over as well */
    close(fd);
}

/* ---- An end while the sockets are handed out ---- */

enum { WITHDRAW, SHUT_DOWN, FREE };

static void end(net *n, int how)
{
    if (how == WITHDRAW)
        pea_handover_withdraw(n->b.node);
    else if (how == SHUT_DOWN)
        check_ok(pea_node_shutdown(n->b.node, 0, NULL, NULL));
    else
        pea_node_free(n->b.node);
}

/* b listens at a Unix socket and offers; its sockets are handed out. Returns the successor's end of the talk. */
static int hand_out(net *n, const char *file, unsigned *taken, pea_listener **listener)
{
    check_ok(pea_node_listen(n->b.node, file, NULL, listener, NULL));
    check_ok(pea_handover_offer(n->b.node, path, count_taken, taken, NULL));
    return talk(n);
}

/* What the predecessor said last before it went. */
static char last_said(int fd)
{
    char said = 0;
    while (recv(fd, &said, 1, 0) == 1)
        continue;
    return said;
}

/* The successor has said that it listens, and nobody has read it: the sockets and their files are its own. */
static void an_end_after_the_successor_took(void **state)
{
    net *n = *state;
    char file[128];
    (void)snprintf(file, sizeof file, "unix:%s/service", folder);
    for (int how = WITHDRAW; how <= FREE; how++) {
        unsigned taken = 0;
        int fd = hand_out(n, file, &taken, NULL);
        assert_int_equal(send(fd, "T", 1, 0), 1);
        end(n, how);
        assert_int_equal(taken, how == WITHDRAW);
        assert_int_equal(unlink(file + 5), 0);
        assert_int_equal(last_said(fd), 'G');
        if (how != FREE)
            assert_int_equal(listeners_of(n->b.node), 0);
        close(fd);
        if (how == SHUT_DOWN) {
            pea_node_free(n->b.node);
            net_node(&n->b, PEA_NODE(.name = "b"));
        }
    }
    n->b.node = NULL;
}

/* It has yet to say so: it cannot any more. Where that is certain, the file is not left behind. */
static void an_end_before_the_successor_takes(void **state)
{
    net *n = *state;
    char file[128];
    (void)snprintf(file, sizeof file, "unix:%s/service", folder);
    for (int how = WITHDRAW; how <= FREE; how++) {
        unsigned taken = 0;
        pea_listener *listener;
        int fd = hand_out(n, file, &taken, &listener);
        end(n, how);
        assert_int_equal(send(fd, "T", 1, MSG_NOSIGNAL), -1);
        assert_int_equal(taken, 0);
        if (how == WITHDRAW) {
            assert_int_equal(listeners_of(n->b.node), 1);
            pea_node_unlisten(n->b.node, listener);
        }
#ifdef __linux__
        assert_int_equal(access(file + 5, F_OK), -1);
#else
        (void)unlink(file + 5);
#endif
        close(fd);
        if (how == SHUT_DOWN) {
            pea_node_free(n->b.node);
            net_node(&n->b, PEA_NODE(.name = "b"));
        }
    }
    n->b.node = NULL;
}

typedef struct gate {
    atomic_bool reached, open;
} gate;

/* The successor hears of it as of an offer that there is not. */
static bool wait_for_the_end(void *arg, const pea_addr *addr, pea_listen_opts *opts)
{
    gate *g = arg;
    (void)addr, (void)opts;
    g->reached = true;
    while (!g->open)
        (void)sched_yield();
    return true;
}

static void a_successor_that_comes_too_late(void **state)
{
    net *n = *state;
    successor s;
    gate g = {.reached = false};
    unsigned taken = 0;
    net_listen(&n->b);
    check_ok(pea_handover_offer(n->b.node, path, count_taken, &taken, NULL));
    successor_open(&s, n);
    s.opts.choose = wait_for_the_end;
    s.opts.arg = &g;
    assert_int_equal(pthread_create(&s.thread, NULL, take, &s), 0);
    net_clock_start(n);
    while (!g.reached)
        net_poll(n);
    net_clock_stop(n);
    pea_handover_withdraw(n->b.node);
    g.open = true;
    assert_int_equal(pthread_join(s.thread, NULL), 0);
    check_err(s.err, PEA_E_NOT_FOUND);
    assert_int_equal(listeners_of(s.node), 0);
    assert_int_equal(taken, 0);
    successor_close(&s);
    net_meet(n); /* it is served as before */
}

/* The predecessor listens no more on what it has handed out: the file is left to who may be about to take it. */
static void unlistened_while_handed_out(void **state)
{
    net *n = *state;
    char file[128];
    unsigned taken = 0;
    pea_listener *listener;
    (void)snprintf(file, sizeof file, "unix:%s/service", folder);
    int fd = hand_out(n, file, &taken, &listener);
    pea_node_unlisten(n->b.node, listener);
    assert_int_equal(unlink(file + 5), 0);
    assert_int_equal(send(fd, "T", 1, 0), 1);
    net_wait(n, taken == 1);
    close(fd);
}

static void whoever_listens_nowhere_goes_too(void **state)
{
    net *n = *state;
    successor s;
    unsigned taken = 0;
    check_ok(pea_handover_offer(n->b.node, path, on_taken, &taken, NULL));
    successor_open(&s, n);
    successor_take(&s, n);
    check_err(s.err, PEA_E_NOT_FOUND);
    assert_int_equal(taken, 1);
    successor_close(&s);
}

/* ---- What goes wrong ---- */

static void a_successor_that_fails_changes_nothing(void **state)
{
    net *n = *state;
    successor s;
    char byte;
    unsigned taken = 0;
    net_listen(&n->b);
    check_ok(pea_handover_offer(n->b.node, path, on_taken, &taken, NULL));
    static const char *const said[] = {"", "x", "xT"};
    for (size_t i = 0; i < sizeof said / sizeof said[0]; i++) {
        int fd = raw(false);
        assert_int_equal(send(fd, said[i], strlen(said[i]), 0), (ssize_t)strlen(said[i]));
        net_wait(n, recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 1); /* the sockets are on their way */
        close(fd);
    }
    net_meet(n); /* it is served as before */
    assert_int_equal(taken, 0);
    n->b.listener = NULL;
    successor_open(&s, n); /* and the next one may take */
    successor_take(&s, n);
    check_err(s.err, PEA_OK);
    assert_int_equal(taken, 1);
    successor_close(&s);
}

static void give_back(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop, (void)events;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, timer->data), 0);
}

static unsigned turns;

static void on_check(struct ev_loop *loop, ev_check *check, int events)
{
    (void)loop, (void)check, (void)events;
    turns++;
}

/* A successor waits at the door and there is no descriptor for it. The loop must rest in between. */
static void a_door_without_descriptors(void **state)
{
    net *n = *state;
    struct rlimit before, none;
    ev_check check;
    ev_timer later;
    char byte;
    check_ok(pea_handover_offer(n->b.node, path, NULL, NULL, NULL));
    int fd = raw(false);
    int lowest_free = dup(fd);
    close(lowest_free);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = (rlim_t)lowest_free;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    turns = 0;
    ev_check_init(&check, on_check);
    ev_check_start(n->loop, &check);
    ev_timer_init(&later, give_back, 0.35, 0.);
    later.data = &before;
    ev_timer_start(n->loop, &later);
    net_wait(n, recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 1); /* it has its turn */
    ev_check_stop(n->loop, &check);
    assert_int_equal(n->warnings, 1); /* not one for each try */
    assert_non_null(strstr(n->warning, "accept"));
    assert_true(turns < 40); /* a loop that spins turns thousands of times in this while */
    close(fd);
}

/* Somebody talks to the predecessor, and says nothing. */
static void a_successor_that_is_silent(void **state)
{
    net *n = *state;
    successor s;
    unsigned taken = 0;
    net_listen(&n->b);
    n->b.listener = NULL;
    check_ok(pea_handover_offer(n->b.node, path, on_taken, &taken, NULL));
    int silent = raw(false);
    successor_open(&s, n);
    s.opts.timeout_ms = 15000;
    successor_take(&s, n);
    check_err(s.err, PEA_OK);
    assert_int_equal(taken, 1);
    assert_non_null(strstr(n->warning, "silent"));
    successor_close(&s);
    close(silent);
}

static void predecessors_that_are_none(void **state)
{
    static const struct {
        const char *says;
        size_t len;
        const char *text;
    } cases[] = {
        {"", 0, "hung up"},
        {"HTTP/1.1 400 Bad Request\r\n", 26, "no predecessor"},
        {"peapod handover 2\n\0", 19, "no predecessor"},
        {"peapod handover 1\n", 18, "hung up"},
        {"peapod handover 1\n\2\0\0", 21, "another number"}, /* two sockets, of which none comes */
        {"peapod handover 1\n\372\0\0", 21, "hung up"},      /* 250: cut short */
        {"peapod handover 1\n\373\0\0", 21, "says that it sends 251 sockets"},
        {"peapod handover 1\n\377\0\0", 21, "says that it sends 255 sockets"},
    };
    net *n = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        successor s;
        int door = raw(true);
        successor_open(&s, n);
        assert_int_equal(pthread_create(&s.thread, NULL, take, &s), 0);
        int fd = accept(door, NULL, NULL);
        assert_int_equal(send(fd, cases[i].says, cases[i].len, 0), (ssize_t)cases[i].len);
        close(fd);
        assert_int_equal(pthread_join(s.thread, NULL), 0);
        check_err(s.err, PEA_E_PROTO);
        assert_non_null(strstr(s.why.text, cases[i].text));
        assert_int_equal(listeners_of(s.node), 0);
        successor_close(&s);
        close(door);
        (void)unlink(path);
    }
}

static void a_predecessor_that_is_silent(void **state)
{
    net *n = *state;
    successor s;
    int door = raw(true);
    successor_open(&s, n);
    s.opts.timeout_ms = 50;
    successor_take(&s, n);
    check_err(s.err, PEA_E_TIMEOUT);
    successor_close(&s);
    close(door);
    (void)unlink(path);
}

static void folders_and_paths(void **state)
{
    net *n = *state;
    pea_error why;
    char elsewhere[300];
    check_err(pea_handover_take(n->b.node, path, NULL, &why), PEA_E_NOT_FOUND);
    (void)snprintf(elsewhere, sizeof elsewhere, "%s/no/handover", folder);
    check_err(pea_handover_offer(n->b.node, elsewhere, NULL, NULL, &why), PEA_E_SYS);
    assert_int_equal(why.sys, ENOENT);
    check_err(pea_handover_offer(n->b.node, "", NULL, NULL, &why), PEA_E_FORMAT);
    memset(elsewhere, 'x', sizeof elsewhere);
    elsewhere[sizeof elsewhere - 1] = '\0';
    check_err(pea_handover_offer(n->b.node, elsewhere, NULL, NULL, &why), PEA_E_FORMAT);
    check_err(pea_handover_take(n->b.node, elsewhere, NULL, &why), PEA_E_FORMAT);
    for (unsigned mode = 0701; mode <= 0740; mode += 037) {
        assert_int_equal(chmod(folder, (mode_t)mode), 0);
        check_err(pea_handover_offer(n->b.node, path, NULL, NULL, &why), PEA_E_PERMISSION);
        assert_non_null(strstr(why.text, "chmod 700"));
        check_err(pea_handover_take(n->b.node, path, NULL, &why), PEA_E_PERMISSION);
    }
    assert_int_equal(chmod(folder, 0700), 0);
}

static void one_offer_at_a_time(void **state)
{
    net *n = *state;
    close(raw(true)); /* a file that somebody left who is gone */
    check_ok(pea_handover_offer(n->b.node, path, NULL, NULL, NULL));
    check_err(pea_handover_offer(n->b.node, path, NULL, NULL, NULL), PEA_E_EXISTS);
    check_err(pea_handover_offer(n->a.node, path, NULL, NULL, NULL), PEA_E_EXISTS);
    pea_handover_withdraw(n->b.node);
    pea_handover_withdraw(n->b.node);
    assert_int_equal(access(path, F_OK), -1);
    check_ok(pea_handover_offer(n->a.node, path, NULL, NULL, NULL));
    check_ok(pea_node_shutdown(n->a.node, 0, NULL, NULL)); /* ends it */
    check_err(pea_handover_offer(n->a.node, path, NULL, NULL, NULL), PEA_E_STATE);
    check_ok(pea_handover_offer(n->b.node, path, NULL, NULL, NULL)); /* ends with the node */
    net_poll(n);
}

/* Another process has bound its socket and does not listen yet: that looks like a stale file, and is none. */
static void an_offer_that_is_about_to_be(void **state)
{
    net *n = *state;
    pea_error why;
    int lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(flock(lock, LOCK_EX), 0);
    int fd = raw_bound();
    check_err(pea_handover_offer(n->b.node, path, NULL, NULL, &why), PEA_E_EXISTS);
    assert_non_null(strstr(why.text, "lock"));
    assert_int_equal(listen(fd, 4), 0);
    close(lock);
    check_err(pea_handover_offer(n->b.node, path, NULL, NULL, &why), PEA_E_EXISTS);
    close(fd); /* it is gone, and has left the file */
    check_ok(pea_handover_offer(n->b.node, path, NULL, NULL, &why));
}

static int make_folder(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/handover.XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    (void)snprintf(path, sizeof path, "%s/handover", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder); /* nothing is left in it */
}

int main(int argc, char **argv)
{
    self = argv[0];
    if (argc == 4)
        return strcmp(argv[1], "server") == 0 ? be_server(argv[2][0], argv[3]) : be_client(argv[3]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_is_refused),
        cmocka_unit_test_setup_teardown(listeners_change_hands, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_not_wanted_is_closed, setup, teardown),
        cmocka_unit_test_setup_teardown(a_listener_that_comes_too_late, setup, teardown),
        cmocka_unit_test_setup_teardown(an_end_after_the_successor_took, setup, teardown),
        cmocka_unit_test_setup_teardown(an_end_before_the_successor_takes, setup, teardown),
        cmocka_unit_test_setup_teardown(a_successor_that_comes_too_late, setup, teardown),
        cmocka_unit_test_setup_teardown(unlistened_while_handed_out, setup, teardown),
        cmocka_unit_test_setup_teardown(whoever_listens_nowhere_goes_too, setup, teardown),
        cmocka_unit_test_setup_teardown(a_successor_that_fails_changes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_door_without_descriptors, setup, teardown),
        cmocka_unit_test_setup_teardown(a_successor_that_is_silent, setup, teardown),
        cmocka_unit_test_setup_teardown(predecessors_that_are_none, setup, teardown),
        cmocka_unit_test_setup_teardown(a_predecessor_that_is_silent, setup, teardown),
        cmocka_unit_test_setup_teardown(folders_and_paths, setup, teardown),
        cmocka_unit_test_setup_teardown(one_offer_at_a_time, setup, teardown),
        cmocka_unit_test_setup_teardown(an_offer_that_is_about_to_be, setup, teardown),
    };
    return cmocka_run_group_tests_name("handover", tests, make_folder, remove_folder);
}
