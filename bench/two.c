/* SPDX-License-Identifier: MIT */
/* Two processes for a bench: see two.h. */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* sched_setaffinity() */
#endif
#include "two.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

static int told[2];
static pid_t sender;

void two_fail(const char *what)
{
    (void)fprintf(stderr, "bench: %s: %s\n", what, errno != 0 ? strerror(errno) : "failed");
    if (sender > 0)
        kill(sender, SIGKILL);
    exit(1);
}

double two_number(const char *text, const char *what, double max)
{
    char *end;
    double value = strtod(text, &end);
    if (*text == '\0' || *end != '\0' || !(value > 0) || value > max) {
        (void)fprintf(stderr, "bench: %s is '%s', and must be a number above 0 and at most %g\n", what, text, max);
        exit(2);
    }
    return value;
}

void two_pin(int cpu)
{
#ifdef __linux__
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0)
        (void)fprintf(stderr, "bench: not pinned to cpu %d: figures will vary more\n", cpu);
#else
    (void)cpu;
#endif
}

int two_fork(void)
{
    if (pipe(told) != 0)
        two_fail("pipe");
    sender = fork();
    if (sender < 0)
        two_fail("fork");
    (void)close(told[sender == 0 ? 1 : 0]);
#ifdef __linux__
    if (sender == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) /* whatever ends the receiver */
        two_fail("prctl");
#endif
    two_pin(sender == 0 ? TWO_SENDER_CPU : TWO_RECEIVER_CPU);
    return sender == 0;
}

void two_tell(const char *address)
{
    size_t len = strlen(address) + 1;
    if (write(told[1], address, len) != (ssize_t)len)
        two_fail("telling the address");
}

void two_hear(char address[128])
{
    if (read(told[0], address, 128) < 1)
        two_fail("hearing the address");
    address[127] = '\0';
}

void two_end(void)
{
    if (sender <= 0) /* 0 would be all of our group */
        return;
    kill(sender, SIGTERM);
    (void)waitpid(sender, NULL, 0);
}

double two_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

double two_cpu(int of_sender)
{
    clockid_t clock;
    struct timespec t;
    if (of_sender && sender <= 0)
        return 0;
    if (clock_getcpuclockid(of_sender ? sender : 0, &clock) != 0 || clock_gettime(clock, &t) != 0)
        two_fail("the CPU time of a process");
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

double two_rss_kib(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f == NULL || fscanf(f, "%*s %ld", &pages) != 1)
        two_fail("/proc/self/statm");
    (void)fclose(f);
    return (double)pages * (double)sysconf(_SC_PAGESIZE) / 1024;
}

void two_allow_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        two_fail("the limit of descriptors");
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        two_fail("the limit of descriptors");
}
