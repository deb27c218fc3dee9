/* SPDX-License-Identifier: MIT */
/* Whether a good peer is served while a node is attacked: `attack [-r ROUNDS] [-s SECONDS] [ATTACK...]`, all by
 * default. For each of them a server, a good client and, in every other window, an attacker run in processes of their
 * own; one row says how the good peer fared without and with the attack, as medians over the rounds, what was refused,
 * and what the server's memory was.
 * Exit status: 0 the good peer got through in all of them, however slowly; 1 it did not; 2 anything else. */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE
#endif
#include "attack.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "two.h"

#define SERVER_CPU 1
#define OTHERS_CPU 0    /* the attacker too, which is nicer than the good peer: it is the server that is measured */
#define TRAFFIC_S 0.2   /* before a process is stopped */
#define PATIENCE_S 60   /* for anything that another process is asked */
#define RECOVERY_S 15.0 /* in which the server gets rid of what the attacker left */

static const attack attacks[] = {
    {"slowloris", ATTACK_SLOWLORIS, false, 0.2},
    {"flood", ATTACK_FLOOD, false, 0.2},
    {"handshakes", ATTACK_HANDSHAKES, false, 0.2},
    {"replay", ATTACK_REPLAY, false, 0.2},
    {"deaf", ATTACK_DEAF, false, 0.8},
    {"frozen", ATTACK_FROZEN, false, 0.8},
    {"slowloris+limits", ATTACK_SLOWLORIS, true, 0.2},
    {"flood+limits", ATTACK_FLOOD, true, 0.2},
    {"handshakes+limits", ATTACK_HANDSHAKES, true, 0.2},
    {"replay+limits", ATTACK_REPLAY, true, 0.2},
};
#define ATTACKS (sizeof attacks / sizeof *attacks)

typedef enum part { SERVER, GOOD, ATTACKER, PARTS } part;

static struct {
    pid_t pid;
    int control;
} children[PARTS];

static unsigned rounds = 3;
static double seconds = 0.6;

/* ---- Processes ---- */

static void end(part p)
{
    if (children[p].pid <= 0)
        return;
    kill(children[p].pid, SIGKILL); /* also one that is stopped */
    (void)waitpid(children[p].pid, NULL, 0);
    close(children[p].control);
    children[p].pid = 0;
}

static void end_all(void)
{
    for (part p = 0; p < PARTS; p++)
        end(p);
}

static noreturn void run(part p, const attack *a, const char *address, int control)
{
    if (p == SERVER)
        attack_serve(control, a);
    if (p == GOOD)
        attack_be_good(control, address);
    if (nice(19) == -1)
        errno = 0;
    if (a->kind == ATTACK_SLOWLORIS || a->kind == ATTACK_FLOOD || a->kind == ATTACK_REPLAY)
        attack_from_raw(control, address, a->kind);
    attack_from_peers(control, address, a->kind);
}

static void spawn(part p, const attack *a, const char *address)
{
    int ends[2];
    struct timeval patience = {.tv_sec = PATIENCE_S};
    must(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) == 0, "a pair of sockets");
    must(setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0, "a socket's timeout");
    (void)fflush(stdout);
    pid_t pid = fork();
    must(pid >= 0, "fork");
    if (pid == 0) {
        memset(children, 0, sizeof children); /* they are not ours to end */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        two_pin(p == SERVER ? SERVER_CPU : OTHERS_CPU);
        run(p, a, address, ends[1]);
    }
    close(ends[1]);
    children[p].pid = pid;
    children[p].control = ends[0];
}

/* False: the process has ended, or says nothing. */
static bool hear(part p, void *message, size_t size)
{
    ssize_t n;
    do
        n = recv(children[p].control, message, size, 0);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)size;
}

static server_report ask_server(void)
{
    server_report said = {0};
    must(send(children[SERVER].control, "", 1, MSG_NOSIGNAL) == 1 && hear(SERVER, &said, sizeof said),
         "the server is gone");
    return said;
}

/* ---- One attack ---- */

static noreturn void not_served(const attack *a, const char *why)
{
    printf("%-17s the good peer was not served: %s\n", a->name, why);
    exit(1);
}

static void pause_s(double s)
{
    (void)usleep((useconds_t)(s * 1e6));
}

/* The good peer's process is gone, or says nothing. What it calls the bench's own fault is that. */
static noreturn void silent(const attack *a)
{
    int status;
    pause_s(0.1);
    if (waitpid(children[GOOD].pid, &status, WNOHANG) == children[GOOD].pid) {
        children[GOOD].pid = 0;
        if (WIFEXITED(status) && WEXITSTATUS(status) == 2)
            exit(2);
    }
    not_served(a, "it ended, or waited in vain");
}

static good_report measure(const attack *a)
{
    good_report said;
    (void)!send(children[GOOD].control, &seconds, sizeof seconds, MSG_NOSIGNAL); /* it may have had its last word */
    if (!hear(GOOD, &said, sizeof said))
        silent(a);
    if (said.lost)
        not_served(a, said.why);
    if (said.trips == 0 || said.fresh == 0)
        not_served(a, said.trips == 0 ? "no round trip" : "no fresh connection");
    return said;
}

static void note_memory(attack_row *r)
{
    server_report now = ask_server();
    if (now.rss_mib > r->worst.rss_mib)
        r->worst.rss_mib = now.rss_mib;
    if (now.buffers_mib > r->worst.buffers_mib)
        r->worst.buffers_mib = now.buffers_mib;
}

static void attack_once(const attack *a, attack_row *r, unsigned round, const char *address)
{
    char byte;
    spawn(ATTACKER, a, address);
    must(hear(ATTACKER, &byte, 1), "the attacker has not begun");
    if (a->kind == ATTACK_FROZEN) {
        pause_s(TRAFFIC_S);
        kill(children[ATTACKER].pid, SIGSTOP);
    }
    pause_s(a->settle);
    note_memory(r);
    r->windows[1][round] = measure(a);
    note_memory(r);
    if (a->kind == ATTACK_FROZEN)
        kill(children[ATTACKER].pid, SIGCONT);
    end(ATTACKER);
}

/* The server gets rid of what the attacker has left. */
static server_report recover(void)
{
    server_report said;
    double until = two_now() + RECOVERY_S;
    do {
        pause_s(0.05);
        said = ask_server();
    } while (said.stats.connections > ATTACK_OTHERS + 1 && two_now() < until);
    return said;
}

static void run_attack(const attack *a, attack_row *r)
{
    server_report first;
    good_report there;
    spawn(SERVER, a, NULL);
    first = ask_server();
    spawn(GOOD, a, first.address);
    if (!hear(GOOD, &there, sizeof there))
        silent(a);
    if (there.lost)
        not_served(a, there.why);
    r->calm = recover();
    for (unsigned i = 0; i < rounds; i++) {
        r->windows[0][i] = measure(a);
        attack_once(a, r, i, first.address);
        r->last = recover();
    }
    end_all();
}

/* ---- The command line ---- */

static const attack *find(const char *name)
{
    for (size_t i = 0; i < ATTACKS; i++)
        if (strcmp(attacks[i].name, name) == 0)
            return &attacks[i];
    (void)fprintf(stderr, "attack: there is no '%s'; these are:", name);
    for (size_t i = 0; i < ATTACKS; i++)
        (void)fprintf(stderr, " %s", attacks[i].name);
    (void)fprintf(stderr, "\n");
    exit(2);
}

static void allow_descriptors(void)
{
    struct rlimit limit;
    must(getrlimit(RLIMIT_NOFILE, &limit) == 0, "the limit of descriptors");
    limit.rlim_cur = limit.rlim_max;
    errno = 0;
    must(limit.rlim_max >= 12000, "12000 descriptors are needed in a process: raise the hard limit (ulimit -Hn)");
    must(setrlimit(RLIMIT_NOFILE, &limit) == 0, "the limit of descriptors");
}

static void make_keys(void)
{
    pea_error why = {.text = ""};
    pea_identity **all[] = {&keys.server, &keys.good, &keys.subscriber, &keys.stranger};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        must_pea(pea_identity_generate(all[i], &why), &why);
}

static void run_and_print(const attack *a)
{
    static attack_row r;
    r = (attack_row){.calm = {.rss_mib = 0}};
    run_attack(a, &r);
    attack_print_row(a, &r, rounds);
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    int option;
    while ((option = getopt(argc, argv, "r:s:")) != -1) {
        if (option == 'r')
            rounds = (unsigned)two_number(optarg, "ROUNDS", ATTACK_ROUNDS_MOST);
        else if (option == 's')
            seconds = two_number(optarg, "SECONDS", 20);
        else {
            (void)fprintf(stderr, "usage: attack [-r ROUNDS] [-s SECONDS] [ATTACK...]\n");
            return 2;
        }
    }
    for (int i = optind; i < argc; i++)
        (void)find(argv[i]);
    allow_descriptors();
    make_keys();
    if (atexit(end_all) != 0)
        return 2;
    attack_print_header(rounds, seconds, SERVER_CPU, OTHERS_CPU);
    for (int i = optind; i < argc; i++)
        run_and_print(find(argv[i]));
    for (size_t i = 0; optind == argc && i < ATTACKS; i++)
        run_and_print(&attacks[i]);
    return 0;
}
