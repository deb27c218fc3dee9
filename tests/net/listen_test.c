/* SPDX-License-Identifier: MIT */
/* Where a node listens: on and off, on several addresses, with the options of each, and on sockets that others have
 * made. */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/net.h"

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
    return 0;
}

static void refused_with(net *n, const char *addr, const pea_listen_opts *opts, pea_err want, const char *says)
{
    pea_error why = {0};
    pea_counts counts;
    check_err(pea_node_listen(n->b.node, addr, opts, NULL, &why), want);
    if (strstr(why.text, says) == NULL)
        print_error("%s\n", why.text);
    assert_non_null(strstr(why.text, says));
    pea_node_counts(n->b.node, &counts);
    assert_int_equal(counts.listeners, 0);
}

/* Dials wherever the listener is, and waits until both sides say so. */
static void reach(net *n, const pea_listener *listener)
{
    unsigned before = n->a.connects + n->b.connects;
    pea_addr_format(pea_listener_addr(listener), n->b.addr);
    net_dial(&n->a, &n->b);
    net_wait(n, n->a.connects + n->b.connects == before + 2);
}

static void listener_toggling(void **state)
{
    net *n = *state;
    net_listen(&n->b);
    net_meet(n);
    for (unsigned i = 1; i <= 3; i++) {
        pea_node_unlisten(n->b.node, n->b.listener);
        n->b.listener = NULL;
        net_dial(&n->a, &n->b);
        net_wait(n, n->a.failures == i);
        assert_int_equal(n->a.reason.sys, ECONNREFUSED);
        assert_int_equal(n->b.disconnects, 0);                                       /* whom it had accepted stays */
        check_ok(pea_node_listen(n->b.node, n->b.addr, NULL, &n->b.listener, NULL)); /* the same port again */
        net_meet(n);
    }
}

/* Some machines have none. */
static bool ipv6_is_here(net *n)
{
    pea_listener *l;
    if (pea_node_listen(n->b.node, "[::1]:0", NULL, &l, NULL) != PEA_OK)
        return false;
    pea_node_unlisten(n->b.node, l);
    return true;
}

static void several_addresses(void **state)
{
    net *n = *state;
    pea_listener *one, *two, *three;
    char path[64];
    (void)snprintf(path, sizeof path, "unix:/tmp/peapod-listen-%ld", (long)getpid());
    check_ok(pea_node_listen(n->b.node, "127.0.0.1:0", NULL, &one, NULL));
    check_ok(pea_node_listen(n->b.node, ipv6_is_here(n) ? "[::1]:0" : "127.0.0.1:0", NULL, &two, NULL));
    check_ok(pea_node_listen(n->b.node, path, NULL, &three, NULL));
    reach(n, one);
    reach(n, two);
    reach(n, three);
    pea_node_unlisten(n->b.node, two);
    reach(n, three);
    assert_int_equal(access(path + 5, F_OK), 0);
    pea_node_unlisten(n->b.node, three);
    assert_int_equal(access(path + 5, F_OK), -1);
}

static void reuse_port(void **state)
{
    net *n = *state;
    pea_listener *one, *two;
    pea_error why;
    char addr[PEA_ADDR_TEXT_BYTES];
    check_ok(pea_node_listen(n->a.node, "127.0.0.1:0", PEA_LISTEN(.reuse_port = true), &one, NULL));
    pea_addr_format(pea_listener_addr(one), addr);
    check_err(pea_node_listen(n->b.node, addr, NULL, &two, &why), PEA_E_SYS); /* both must want it */
    assert_int_equal(why.sys, EADDRINUSE);
    check_ok(pea_node_listen(n->b.node, addr, PEA_LISTEN(.reuse_port = true), &two, NULL));
    assert_true(pea_addr_equal(pea_listener_addr(one), pea_listener_addr(two)));
}

/* IPv6 alone, unless both are asked for. */
static void dual_stack(void **state)
{
    net *n = *state;
    pea_listener *both, *alone;
    char ipv4[PEA_ADDR_TEXT_BYTES], ipv6[PEA_ADDR_TEXT_BYTES];
    if (!ipv6_is_here(n))
        skip();
    check_ok(pea_node_listen(n->b.node, "[::]:0", PEA_LISTEN(.dual_stack = true), &both, NULL));
    (void)snprintf(n->b.addr, sizeof n->b.addr, "127.0.0.1:%u", pea_listener_addr(both)->port);
    net_dial(&n->a, &n->b);
    net_wait(n, n->a.connects == 1 && n->b.connects == 1);
    assert_int_equal(pea_conn_remote(n->b.conn)->family, PEA_ADDR_IPV6); /* mapped */
    int nobody = net_raw_nobody(ipv4); /* the same port is not somebody else's there */
    (void)snprintf(ipv6, sizeof ipv6, "[::]%s", strchr(ipv4, ':'));
    check_ok(pea_node_listen(n->b.node, ipv6, NULL, &alone, NULL));
    check_ok(pea_node_connect(n->a.node, ipv4, NULL, NULL, NULL));
    net_wait(n, n->a.failures == 1);
    assert_int_equal(n->a.reason.sys, ECONNREFUSED);
    close(nobody);
}

static void unix_mode(void **state)
{
    net *n = *state;
    static const mode_t modes[] = {0600, 0660, 0666};
    char path[64];
    (void)snprintf(path, sizeof path, "unix:/tmp/peapod-mode-%ld", (long)getpid());
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        struct stat st;
        pea_listener *l;
        check_ok(pea_node_listen(n->b.node, path, PEA_LISTEN(.unix_mode = modes[i]), &l, NULL));
        assert_int_equal(stat(path + 5, &st), 0);
        assert_int_equal(st.st_mode & 07777, modes[i]);
        pea_node_unlisten(n->b.node, l);
    }
    refused_with(n, "127.0.0.1:0", PEA_LISTEN(.unix_mode = 0600), PEA_E_INVALID, "unix_mode");
    FILE *in_the_way = fopen(path + 5, "w");
    assert_non_null(in_the_way);
    (void)fclose(in_the_way);
    refused_with(n, path, NULL, PEA_E_SYS, path);
    assert_int_equal(access(path + 5, F_OK), 0); /* somebody else's file stays */
    (void)unlink(path + 5);
}

/* ---- Sockets of others ---- */

static int listening_socket(void)
{
    char addr[PEA_ADDR_TEXT_BYTES];
    return net_raw_listen(8, addr);
}

static void custom_socket(void **state)
{
    net *n = *state;
    pea_listener *l;
    int fd = listening_socket();
    check_ok(pea_node_listen(n->b.node, NULL, PEA_LISTEN(.fd = fd), &l, NULL));
    reach(n, l);
    pea_node_unlisten(n->b.node, l);
    assert_int_equal(close(fd), -1); /* it was the listener's */
}

static void sockets_that_do_not_listen(void **state)
{
    net *n = *state;
    int stream = socket(AF_INET, SOCK_STREAM, 0), datagram = socket(AF_INET, SOCK_DGRAM, 0), file = dup(1);
    int good = listening_socket(), gone = dup(1);
    close(gone);
    refused_with(n, NULL, PEA_LISTEN(.fd = stream), PEA_E_INVALID, "does not listen");
    refused_with(n, NULL, PEA_LISTEN(.fd = datagram), PEA_E_INVALID, "no stream socket");
    refused_with(n, NULL, PEA_LISTEN(.fd = file), PEA_E_SYS, "descriptor");
    refused_with(n, NULL, PEA_LISTEN(.fd = gone), PEA_E_SYS, "descriptor");
    refused_with(n, NULL, NULL, PEA_E_FORMAT, "no address");
    refused_with(n, "127.0.0.1:0", PEA_LISTEN(.fd = good), PEA_E_INVALID, "give NULL");
    refused_with(n, NULL, PEA_LISTEN(.fd = good, .backlog = 5), PEA_E_INVALID, "backlog");
    refused_with(n, NULL, PEA_LISTEN(.fd = good, .dual_stack = true), PEA_E_INVALID, "dual_stack");
    assert_int_equal(close(stream) + close(datagram) + close(file) + close(good), 0); /* and nobody took them */
}

/* As a service manager says it: this process, so many descriptors from 3 on, and their names. Returns the socket that
 * is the last of them; those before it are whatever they are, and are called "other". */
static int pass(const char *name, char names[512])
{
    char number[24];
    int fd = listening_socket();
    size_t len = 0;
    for (int i = 3; i < fd; i++)
        len += (size_t)snprintf(names + len, 512 - len, "other:");
    (void)snprintf(names + len, 512 - len, "%s", name);
    (void)snprintf(number, sizeof number, "%d", fd - 2);
    setenv("LISTEN_FDS", number, 1);
    (void)snprintf(number, sizeof number, "%ld", (long)getpid());
    setenv("LISTEN_PID", number, 1);
    setenv("LISTEN_FDNAMES", names, 1);
    return fd;
}

static void pass_nothing(void)
{
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDNAMES");
}

static void systemd_activation(void **state)
{
    net *n = *state;
    pea_listener *l;
    char names[512];
    int fd = pass("mesh", names);
    assert_true(fd < 80);
    for (unsigned i = 0; i < 2; i++) { /* it can be listened on again */
        check_ok(pea_node_listen(n->b.node, "systemd:mesh", NULL, &l, NULL));
        reach(n, l);
        pea_error why;
        check_err(pea_node_listen(n->b.node, "systemd:mesh", NULL, NULL, &why), PEA_E_NOT_FOUND); /* one at a time */
        assert_non_null(strstr(why.text, "mesh"));
        pea_node_unlisten(n->b.node, l);
    }
    refused_with(n, "systemd:mes", NULL, PEA_E_NOT_FOUND, "\"mes\"");
    refused_with(n, "systemd:", NULL, PEA_E_NOT_FOUND, "named");
    refused_with(n, "systemd:mesh", PEA_LISTEN(.reuse_port = true), PEA_E_INVALID, "reuse_port");
    setenv("LISTEN_PID", "1", 1); /* it was passed to another process */
    refused_with(n, "systemd:mesh", NULL, PEA_E_NOT_FOUND, "LISTEN_PID");
    setenv("LISTEN_PID", "x", 1);
    refused_with(n, "systemd:mesh", NULL, PEA_E_NOT_FOUND, "LISTEN_PID");
    pass_nothing();
    refused_with(n, "systemd:mesh", NULL, PEA_E_NOT_FOUND, "no sockets were passed");
    close(fd);
}

#define entry(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        entry(listener_toggling),  entry(several_addresses),
        entry(reuse_port),         entry(dual_stack),
        entry(unix_mode),          entry(custom_socket),
        entry(systemd_activation), entry(sockets_that_do_not_listen),
    };
    return cmocka_run_group_tests_name("listening", tests, NULL, NULL);
}
