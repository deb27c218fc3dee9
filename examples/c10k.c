/* SPDX-License-Identifier: MIT */
/* Ten thousand connections, each with a proven peer and a channel of its own; or a hundred thousand, sharded: several
 * processes listen at one address with SO_REUSEPORT, and the kernel spreads the load. As many client processes dial
 * them, and have each connection answer once. All is then there at the same time, and its memory is printed.
 *   c10k [CONNECTIONS [SHARDS]]    10000 and 1; or 100000 and 10, as a process has its limit of descriptors
 * Exit status: 0 each connection stood and answered, 2 wrong use, 1 anything else. */
#include <errno.h>
#include <ev.h>
#include <peapod/peapod.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST_SHARDS 100
#define AT_ONCE 64 /* dials of a client that are not READY yet */

/* What a process tells the first one. */
typedef struct report {
    char addr[PEA_ADDR_TEXT_BYTES]; /* a server's, at its start */
    size_t connections;             /* the rest at its end */
    long before_kib, after_kib;
} report;

typedef struct child {
    pid_t pid;
    int fd; /* reports come from here; closed for writing, it tells the child to end */
} child;

static pea_identity *server_key, *client_key;
static child children[2 * MOST_SHARDS]; /* the servers first */
static int n_children;

static void must(bool ok, const char *why)
{
    if (ok)
        return;
    fprintf(stderr, "c10k: %s\n", why);
    exit(1);
}

static void must_pea(pea_err err, const pea_error *why)
{
    must(err == PEA_OK, why->text[0] != '\0' ? why->text : pea_err_text(err));
}

static long memory_kib(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? usage.ru_maxrss : 0;
}

/* ---- A child's life: it has a node, reports, and ends when the first process says so ---- */

static struct {
    int fd;
    pea_runtime *runtime;
    pea_trust *trust;
    pea_chain *chain;
    pea_node *node;
    char addr[PEA_ADDR_TEXT_BYTES]; /* whom a client dials */
    size_t share, dialled, answers; /* of a client */
    size_t connections;             /* READY */
    report said;
} self;

static void say(void)
{
    must(write(self.fd, &self.said, sizeof self.said) == (ssize_t)sizeof self.said, "the first process is gone");
}

static void say_last(void)
{
    self.said.connections = self.connections;
    self.said.after_kib = memory_kib();
    say();
}

static void on_told_to_end(struct ev_loop *loop, ev_io *w, int events)
{
    (void)w, (void)events;
    if (self.share == 0) /* a client has reported */
        say_last();
    ev_break(loop, EVBREAK_ALL);
}

static void start_child(pea_identity *me, const pea_identity *peer, const pea_node_callbacks *on)
{
    pea_error why = {.code = PEA_OK};
    pea_peer whom;
    pea_identity_peer(peer, &whom);
    must_pea(pea_trust_new(&self.trust), &why);
    must_pea(pea_trust_allow(self.trust, &whom, NULL, NULL, &why), &why);
    must_pea(pea_chain_new(&self.chain, NULL, &why), &why);
    must_pea(pea_chain_noise(self.chain, PEA_NOISE(.identity = me), &why), &why);
    must_pea(pea_runtime_new(&self.runtime, PEA_RUNTIME(.loop = EV_DEFAULT), &why), &why);
    must_pea(pea_node_new(&self.node, self.runtime,
                          PEA_NODE(.chain = self.chain, .policy = pea_trust_policy(self.trust), .on = on), &why),
             &why);
    self.said.before_kib = memory_kib();
}

static int run_child(void)
{
    ev_io leash;
    ev_io_init(&leash, on_told_to_end, self.fd, EV_READ);
    ev_io_start(EV_DEFAULT, &leash);
    ev_run(EV_DEFAULT, 0);
    pea_node_free(self.node);
    pea_chain_unref(self.chain);
    pea_trust_unref(self.trust);
    pea_identity_unref(server_key);
    pea_identity_unref(client_key);
    return pea_runtime_free(self.runtime) == PEA_OK ? 0 : 1;
}

static void on_failed(pea_node *node, const pea_conn_info *info, const pea_reason *reason, void *user)
{
    char text[PEA_REASON_TEXT_BYTES];
    (void)node, (void)info, (void)user;
    must(false, pea_reason_format(reason, text));
}

/* ---- A server ---- */

static void on_server_connect(pea_conn *conn, void *user)
{
    (void)conn, (void)user;
    self.connections++;
}

static void on_question(pea_conn *conn, const uint8_t *data, size_t len, void *user)
{
    (void)user;
    if (pea_conn_send(conn, data, len) != PEA_OK)
        pea_conn_abort(conn);
}

static int be_server(const char *addr)
{
    static const pea_node_callbacks on = {
        .on_connect = on_server_connect, .on_message = on_question, .on_connect_failed = on_failed};
    pea_error why = {.code = PEA_OK};
    start_child(server_key, client_key, &on);
    must_pea(pea_node_listen(self.node, addr, PEA_LISTEN(.reuse_port = true), NULL, &why), &why);
    pea_addr_format(pea_node_listen_addr(self.node), self.said.addr);
    say();
    return run_child();
}

/* ---- A client ---- */

static void dial(void)
{
    static pea_peer server;
    pea_error why = {.code = PEA_OK};
    pea_identity_peer(server_key, &server);
    while (self.dialled < self.share && self.dialled - self.connections < AT_ONCE) {
        pea_dial_opts *opts = PEA_DIAL(.expect = &server, .again = true);
        must_pea(pea_node_connect(self.node, self.addr, opts, NULL, &why), &why);
        self.dialled++;
    }
}

static void on_client_connect(pea_conn *conn, void *user)
{
    (void)user;
    self.connections++;
    if (pea_conn_send(conn, "still there?", 12) != PEA_OK)
        pea_conn_abort(conn);
    dial();
}

static void on_answer(pea_conn *conn, const uint8_t *data, size_t len, void *user)
{
    (void)conn, (void)data, (void)len, (void)user;
    if (++self.answers == self.share)
        say_last();
}

static int be_client(const char *addr, size_t share)
{
    static const pea_node_callbacks on = {
        .on_connect = on_client_connect, .on_message = on_answer, .on_connect_failed = on_failed};
    snprintf(self.addr, sizeof self.addr, "%s", addr);
    self.share = share;
    start_child(client_key, server_key, &on);
    dial();
    return run_child();
}

/* ---- The first process ---- */

/* A server (share 0) or a client. */
static child *spawn(const char *addr, size_t share)
{
    int ends[2];
    child *c = &children[n_children];
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0, "no pair of sockets");
    fflush(stdout);
    c->pid = fork();
    must(c->pid >= 0, "no process can be forked");
    if (c->pid == 0) {
        for (int i = 0; i < n_children; i++) /* or its siblings would outlive the first process */
            close(children[i].fd);
        close(ends[0]);
        self.fd = ends[1];
        exit(share == 0 ? be_server(addr) : be_client(addr, share));
    }
    close(ends[1]);
    c->fd = ends[0];
    n_children++;
    return c;
}

static report hear(const child *c)
{
    report said;
    ssize_t n;
    do
        n = recv(c->fd, &said, sizeof said, MSG_WAITALL);
    while (n < 0 && errno == EINTR);
    must(n == (ssize_t)sizeof said, "a process ended before its time");
    return said;
}

/* A server, once it listens. */
static report listen_at(const char *addr)
{
    return hear(spawn(addr, 0));
}

static size_t print_reports(const char *what, int from, int to)
{
    size_t connections = 0;
    long kib = 0;
    for (int i = from; i < to; i++) {
        report said = hear(&children[i]);
        connections += said.connections;
        kib += said.after_kib - said.before_kib;
    }
    printf("%s: %zu connections, %.2f KiB for each\n", what, connections,
           (double)kib / (double)(connections > 0 ? connections : 1));
    return connections;
}

/* A process has a descriptor for each connection; the kernel does not spread them evenly. */
static void allow_descriptors(size_t share)
{
    struct rlimit limit;
    char why[160];
    size_t needed = share + share / 4 + 64;
    must(getrlimit(RLIMIT_NOFILE, &limit) == 0, "no limit of descriptors is known");
    limit.rlim_cur = limit.rlim_max;
    snprintf(why, sizeof why, "%zu descriptors are needed in a process, and %llu are allowed: use more shards", needed,
             (unsigned long long)limit.rlim_max);
    must(limit.rlim_max >= needed && setrlimit(RLIMIT_NOFILE, &limit) == 0, why);
}

int main(int argc, char **argv)
{
    pea_error why = {.code = PEA_OK};
    size_t connections = argc > 1 ? strtoul(argv[1], NULL, 10) : 10000;
    size_t shards = argc > 2 ? strtoul(argv[2], NULL, 10) : 1;
    if (argc > 3 || shards == 0 || shards > MOST_SHARDS || connections < shards || connections > 10000000) {
        fprintf(stderr, "usage: c10k [CONNECTIONS [SHARDS]], of which at most %d\n", MOST_SHARDS);
        return 2;
    }
    allow_descriptors((connections + shards - 1) / shards);
    must_pea(pea_identity_generate(&server_key, &why), &why);
    must_pea(pea_identity_generate(&client_key, &why), &why);
    report first = listen_at("0.0.0.0:0");
    for (size_t i = 1; i < shards; i++)
        listen_at(first.addr);
    ev_tstamp began = ev_time();
    for (size_t i = 0; i < shards; i++) {
        char addr[PEA_ADDR_TEXT_BYTES]; /* each client dials another one: the pair of addresses has 28,000 ports */
        snprintf(addr, sizeof addr, "127.0.0.%zu%s", i + 1, strrchr(first.addr, ':'));
        spawn(addr, connections / shards + (i < connections % shards));
    }
    size_t dialled = print_reports("clients", (int)shards, n_children);
    printf("in %.1f s\n", ev_time() - began);
    for (size_t i = 0; i < shards; i++)
        shutdown(children[i].fd, SHUT_WR); /* the servers report, with all there */
    size_t accepted = print_reports("servers", 0, (int)shards);
    int failed = dialled != connections || accepted != connections;
    for (int i = 0; i < n_children; i++) {
        int status;
        close(children[i].fd);
        failed |= waitpid(children[i].pid, &status, 0) != children[i].pid || status != 0;
    }
    pea_identity_unref(server_key);
    pea_identity_unref(client_key);
    return failed;
}
