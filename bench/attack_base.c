/* SPDX-License-Identifier: MIT */
/* What every process of the attack bench needs: see attack.h. */
#define _GNU_SOURCE /* IP_BIND_ADDRESS_NO_PORT, SOCK_NONBLOCK */
#include <arpa/inet.h>
#include <errno.h>
#include <ev.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "attack.h"

attack_keys keys;

void must(bool ok, const char *what)
{
    if (ok)
        return;
    (void)fprintf(stderr, "attack: %s%s%s\n", what, errno != 0 ? ": " : "", errno != 0 ? strerror(errno) : "");
    exit(2);
}

void must_pea(pea_err err, const pea_error *why)
{
    if (err != PEA_OK)
        errno = 0;
    must(err == PEA_OK, why->text[0] != '\0' ? why->text : pea_err_text(err));
}

int socket_from(unsigned network, unsigned host)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7F000000u | network << 8 | host)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one) == 0 &&
        bind(fd, (struct sockaddr *)&at, sizeof at) == 0)
        return fd;
    int sys = errno;
    close(fd);
    errno = sys;
    return -1;
}

pea_chain *chain_of(pea_identity *me)
{
    pea_error why = {.text = ""};
    pea_chain *chain;
    must_pea(pea_chain_new(&chain, NULL, &why), &why);
    must_pea(pea_chain_noise(chain, PEA_NOISE(.identity = me), &why), &why);
    return chain;
}

pea_node *node_of(pea_node_opts *opts)
{
    pea_error why = {.text = ""};
    pea_runtime *runtime;
    pea_node *node;
    must_pea(pea_runtime_new(&runtime, PEA_RUNTIME(.loop = EV_DEFAULT), &why), &why);
    must_pea(pea_node_new(&node, runtime, opts, &why), &why);
    return node;
}
