/* SPDX-License-Identifier: MIT */
/* First messages that are for nothing, made once: `gate noise xx|stranger|recording INFLIGHT SECONDS`. xx: a network
 * without a key answers each of them, and whoever said it leaves; stranger: the network has a key, and they were made
 * under another; recording: they are a member's, said again. INFLIGHT at a time, from plain sockets, so that the sender
 * has as little to do as it can. Prints the CPU time of each process for one, and how many per second alone, as the
 * receiver counted them. */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "ours.h"
#include "peers/peer.h"

enum { INFLIGHT_MOST = 1000, ADDRESSES = 200, WINDOW_MS = 86400000, ANSWER_MOST = 256, GREETING = 41 };

/* of no worth: they guard nothing on loopback */
static const uint8_t keys[2][PEA_KEY_BYTES] = {{7, 8, 9}, {10, 11, 12}};
static ours o;
static peer_meter meter;
static pea_err expected; /* PEA_OK: the peer has gone */
static bool over;

static void on_failed(pea_node *node, const pea_conn_info *info, const pea_reason *reason, void *user)
{
    (void)node, (void)info, (void)user;
    if (over) /* others of the same round of the loop */
        return;
    if (expected != PEA_OK && reason->err != expected && reason->origin == PEA_BY_HANDSHAKE)
        ours_fail(reason);
    meter.count++;
    over = !peer_meter_look(&meter);
    if (over) {
        peer_meter_print(&meter);
        ev_break(o.loop, EVBREAK_ALL);
    }
}

static void on_ready(pea_conn *conn, void *user)
{
    (void)conn, (void)user;
    two_fail("somebody was let in");
}

/* ---- The sender ---- */

static size_t first_flight(uint8_t *flight, size_t room)
{
    struct timespec now;
    pea_error why = {.text = ""};
    pea_pipe *pipe;
    pea_event event;
    pea_span span;
    size_t len = 0;
    pea_chain *chain = ours_chain(&o);
    ours_must(pea_pipe_new(&pipe, chain, PEA_PIPE(.side = PEA_INITIATOR, .policy = ours_policy(&o)), &why), &why);
    (void)clock_gettime(CLOCK_REALTIME, &now);
    pea_pipe_tick(pipe, 0, (int64_t)now.tv_sec * 1000);
    while (pea_pipe_next(pipe, &event) == PEA_OK)
        continue;
    while (pea_pipe_output(pipe, &span) == PEA_OK && len + span.len <= room) {
        memcpy(flight + len, span.data, span.len);
        len += span.len;
        pea_pipe_sent(pipe, span.len);
    }
    pea_pipe_free(pipe);
    pea_chain_unref(chain);
    return len;
}

/* From one of many addresses: each leaves its port in the receiver's tables for a minute. */
static int begin(const struct sockaddr_in *to, const uint8_t *flight, size_t len)
{
    static uint32_t turn;
    const struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000002u + turn++ % ADDRESSES)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&from, sizeof from) != 0 ||
        connect(fd, (const struct sockaddr *)to, sizeof *to) != 0 ||
        send(fd, flight, len, MSG_NOSIGNAL) != (ssize_t)len)
        two_fail("a socket");
    return fd;
}

/* Until it was left, or answered by more than a greeting; then it leaves no trace of its own. */
static void end(int fd)
{
    const struct linger at_once = {.l_onoff = 1};
    uint8_t answer[ANSWER_MOST];
    size_t len = 0;
    ssize_t n;
    while (len <= GREETING && (n = recv(fd, answer, sizeof answer, 0)) > 0)
        len += (size_t)n;
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    (void)close(fd);
}

_Noreturn static void flood(const char *address, unsigned inflight)
{
    static int fds[INFLIGHT_MOST];
    uint8_t flight[512];
    pea_addr addr;
    size_t len = first_flight(flight, sizeof flight);
    ours_must(pea_addr_parse(&addr, address, NULL), NULL);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(addr.port)};
    memcpy(&to.sin_addr, addr.u.ip, 4);
    for (unsigned i = 0;; i = (i + 1) % inflight) {
        if (fds[i] != 0)
            end(fds[i]);
        fds[i] = begin(&to, flight, len);
    }
}

int main(int argc, char **argv)
{
    static char address[128];
    ours_begin(&o, argc, argv, 3, 3, "xx|stranger|recording INFLIGHT SECONDS");
    bool xx = strcmp(argv[2], "xx") == 0, stranger = strcmp(argv[2], "stranger") == 0;
    if (!xx && !stranger && strcmp(argv[2], "recording") != 0)
        two_fail("xx, stranger or recording");
    unsigned inflight = (unsigned)two_number(argv[3], "INFLIGHT", INFLIGHT_MOST);
    meter.seconds = two_number(argv[4], "SECONDS", 600);
    expected = xx ? PEA_OK : stranger ? PEA_E_CRYPTO : PEA_E_REFUSED;
    if (!xx) {
        o.network_key = keys[stranger && o.sender];
        o.window_ms = WINDOW_MS;
    }
    if (o.sender) {
        two_hear(address);
        flood(address, inflight);
    }
    ours_node(&o, 0, &(pea_node_callbacks){.on_connect = on_ready, .on_connect_failed = on_failed});
    ours_listen(&o);
    ev_run(o.loop, 0);
    (void)fflush(stdout);
    two_end();
    return 0;
}
