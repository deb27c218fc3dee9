/* SPDX-License-Identifier: MIT */
/* Two thousand nodes in one process, on one runtime: each has a key, listens, and dials its neighbour, so that they
 * form a ring. A bucket is passed all round it, from hand to hand; what it all took is printed.
 *   many_nodes [NODES [WORKERS]]    2000 and 0; a node wants three descriptors
 * Exit status: 0 the bucket came back, 2 wrong use, 1 anything else. */
#include <ev.h>
#include <peapod/peapod.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define MOST_NODES 100000u

typedef struct member {
    pea_trust *trust;        /* its two neighbours, and nobody else */
    _Atomic(uint64_t) ahead; /* the connection to the next one */
} member;

static struct {
    size_t count;
    pea_runtime *runtime;
    pea_node **nodes;
    pea_peer *peers; /* who they are */
    member *members;
    pea_msg *bucket;
    ev_async wake;
    atomic_size_t connects, hands; /* callbacks count on any thread */
    atomic_bool failed;
    size_t shut;
} ring;

static void must(bool ok, const char *why)
{
    if (ok)
        return;
    fprintf(stderr, "many_nodes: %s\n", why);
    exit(1);
}

static void must_pea(pea_err err, const pea_error *why)
{
    must(err == PEA_OK, why->text[0] != '\0' ? why->text : pea_err_text(err));
}

/* What is resident now; where the system does not say, the most that ever was. */
static long memory_kib(void)
{
    struct rusage usage;
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    bool known = f != NULL && fscanf(f, "%*s %ld", &pages) == 1;
    if (f != NULL)
        fclose(f);
    if (known)
        return pages * (sysconf(_SC_PAGESIZE) / 1024);
    return getrusage(RUSAGE_SELF, &usage) == 0 ? usage.ru_maxrss : 0;
}

/* ---- Callbacks: with workers they run on these ---- */

static void on_connect(pea_conn *conn, void *user)
{
    member *m = user;
    if (pea_conn_side(conn) == PEA_INITIATOR)
        atomic_store(&m->ahead, pea_conn_id(conn));
    if (atomic_fetch_add(&ring.connects, 1) + 1 == 2 * ring.count)
        ev_async_send(EV_DEFAULT_UC, &ring.wake);
}

static void hand_on(member *m)
{
    if (pea_post_send(ring.runtime, atomic_load(&m->ahead), ring.bucket, NULL, NULL) != PEA_OK)
        atomic_store(&ring.failed, true);
}

/* The first member gave it away, and keeps it when it comes back. */
static void on_message(pea_conn *conn, const uint8_t *data, size_t len, void *user)
{
    (void)conn, (void)data, (void)len;
    if (atomic_fetch_add(&ring.hands, 1) + 1 < ring.count)
        hand_on(user);
    if (user == ring.members || atomic_load(&ring.failed))
        ev_async_send(EV_DEFAULT_UC, &ring.wake);
}

static void on_failed(pea_node *node, const pea_conn_info *info, const pea_reason *reason, void *user)
{
    char text[PEA_REASON_TEXT_BYTES];
    (void)info, (void)user;
    fprintf(stderr, "many_nodes: node %s: %s\n", pea_node_name(node), pea_reason_format(reason, text));
    atomic_store(&ring.failed, true);
    ev_async_send(EV_DEFAULT_UC, &ring.wake);
}

/* ---- The loop's thread ---- */

static void on_wake(struct ev_loop *loop, ev_async *async, int events)
{
    (void)async, (void)events;
    ev_break(loop, EVBREAK_ALL);
}

/* Until `count` things were counted. */
static void wait_for(atomic_size_t *counted, size_t count)
{
    while (atomic_load(counted) < count) {
        must(!atomic_load(&ring.failed), "the ring is broken");
        ev_run(EV_DEFAULT, 0);
    }
}

static pea_chain *chain_of(pea_peer *self)
{
    pea_error why = {.code = PEA_OK};
    pea_identity *key;
    pea_chain *chain;
    must_pea(pea_identity_generate(&key, &why), &why);
    must_pea(pea_chain_new(&chain, NULL, &why), &why);
    must_pea(pea_chain_noise(chain, PEA_NOISE(.identity = key), &why), &why);
    pea_identity_peer(key, self);
    pea_identity_unref(key); /* the chain has it */
    return chain;
}

static void start(size_t i)
{
    static const pea_node_callbacks on = {
        .on_connect = on_connect, .on_message = on_message, .on_connect_failed = on_failed};
    pea_error why = {.code = PEA_OK};
    member *m = &ring.members[i];
    pea_chain *chain = chain_of(&ring.peers[i]);
    must_pea(pea_trust_new(&m->trust), &why);
    must_pea(pea_node_new(&ring.nodes[i], ring.runtime,
                          PEA_NODE(.chain = chain, .policy = pea_trust_policy(m->trust), .on = &on, .user = m,
                                   .handshake_timeout_ms = 60000),
                          &why),
             &why);
    pea_chain_unref(chain);
    must_pea(pea_node_listen(ring.nodes[i], "127.0.0.1:0", NULL, NULL, &why), &why);
}

static void connect_all(void)
{
    pea_error why = {.code = PEA_OK};
    const pea_topology shape = {.shape = PEA_TOPOLOGY_RING};
    for (size_t i = 0; i < ring.count; i++) {
        size_t next = (i + 1) % ring.count;
        must_pea(pea_trust_allow(ring.members[next].trust, &ring.peers[i], NULL, NULL, &why), &why);
        must_pea(pea_trust_allow(ring.members[i].trust, &ring.peers[next], NULL, NULL, &why), &why);
    }
    must_pea(pea_topology_connect(&shape, ring.nodes, ring.count, ring.peers, &why), &why);
    wait_for(&ring.connects, 2 * ring.count);
}

static void on_shut(void *arg)
{
    (void)arg;
    if (++ring.shut == ring.count)
        ev_break(EV_DEFAULT, EVBREAK_ALL);
}

static void stop_all(void)
{
    for (size_t i = 0; i < ring.count; i++)
        must(pea_node_shutdown(ring.nodes[i], 10000, on_shut, NULL) == PEA_OK, "no memory to shut down");
    while (ring.shut < ring.count)
        ev_run(EV_DEFAULT, 0);
    for (size_t i = 0; i < ring.count; i++) {
        pea_node_free(ring.nodes[i]);
        pea_trust_unref(ring.members[i].trust);
    }
    ev_async_stop(EV_DEFAULT, &ring.wake);
    must(pea_runtime_free(ring.runtime) == PEA_OK, "nodes are left");
}

static void allow_descriptors(size_t needed)
{
    struct rlimit limit;
    char why[120];
    must(getrlimit(RLIMIT_NOFILE, &limit) == 0, "no limit of descriptors is known");
    limit.rlim_cur = limit.rlim_max;
    snprintf(why, sizeof why, "%zu descriptors are needed, and %llu are allowed", needed,
             (unsigned long long)limit.rlim_max);
    must(limit.rlim_max >= needed && setrlimit(RLIMIT_NOFILE, &limit) == 0, why);
}

static double seconds_since(double *then)
{
    double now = ev_time(), passed = now - *then;
    *then = now;
    return passed;
}

int main(int argc, char **argv)
{
    pea_error why = {.code = PEA_OK};
    unsigned long workers = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
    ring.count = argc > 1 ? strtoul(argv[1], NULL, 10) : 2000;
    if (argc > 3 || ring.count < 3 || ring.count > MOST_NODES || workers > PEA_WORKERS_MAX) {
        fprintf(stderr, "usage: many_nodes [NODES [WORKERS]], of which 3 to %u and at most %u\n", MOST_NODES,
                PEA_WORKERS_MAX);
        return 2;
    }
    allow_descriptors(3 * ring.count + 64);
    ring.nodes = calloc(ring.count, sizeof(pea_node *));
    ring.peers = calloc(ring.count, sizeof(pea_peer));
    ring.members = calloc(ring.count, sizeof(member));
    must(ring.nodes != NULL && ring.peers != NULL && ring.members != NULL, "no memory");
    must_pea(pea_runtime_new(&ring.runtime, PEA_RUNTIME(.loop = EV_DEFAULT, .workers = (uint32_t)workers), &why), &why);
    must_pea(pea_msg_new(&ring.bucket, "water", 5), &why);
    ev_async_init(&ring.wake, on_wake);
    ev_async_start(EV_DEFAULT, &ring.wake);
    double then = ev_time();
    long empty = memory_kib();
    for (size_t i = 0; i < ring.count; i++)
        start(i);
    long idle = memory_kib();
    printf("%zu nodes listen in %.2f s, %.2f KiB for each\n", ring.count, seconds_since(&then),
           (double)(idle - empty) / (double)ring.count);
    connect_all();
    printf("%zu connections in %.2f s, %.2f KiB for both ends of each\n", ring.count, seconds_since(&then),
           (double)(memory_kib() - idle) / (double)ring.count);
    hand_on(&ring.members[0]);
    wait_for(&ring.hands, ring.count);
    printf("the bucket came back through %zu hands in %.3f s\n", atomic_load(&ring.hands), seconds_since(&then));
    stop_all();
    printf("all stopped in %.2f s\n", seconds_since(&then));
    pea_msg_unref(ring.bucket);
    free(ring.nodes);
    free(ring.peers);
    free(ring.members);
    return 0;
}
