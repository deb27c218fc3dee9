/* SPDX-License-Identifier: MIT */
/* The chaos test: up to 32 nodes of one runtime, 16 threads that do to them what comes to mind, and peers that
 * misbehave. Each epoch draws anew which actions there are and how often. It looks for what nobody thought of: races,
 * leaks, lost or doubled callbacks, limits that do not hold, something that stands still.
 *
 *   chaos [--seconds N] [--seed S] [--workers W]
 *
 * The seed says what each thread decides, not when: threads interleave as they like. */
#include "chaos.h"

#include <dirent.h>
#include <ev.h>
#include <getopt.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "support/faults.h"

enum { THREADS = 16, EPOCH_S = 2, PATIENCE_S = 90, DESCRIPTORS_MAX = 8000, BYTES_MAX = 256 << 20 };

/* A request to the loop's thread, on the stack of who waits for it. */
typedef struct request {
    struct request *next;
    action what;
    bool done;
} request;

static struct {
    uint64_t seed;
    unsigned seconds, workers;
    struct ev_loop *loop;
    ev_async mail;
    ev_timer epoch, beat, end;
    pthread_mutex_t lock;
    pthread_cond_t answered;
    request *requests;
    atomic_uint weights[ACTIONS];
    atomic_ulong actions[ACTIONS], beats;
    atomic_llong since[THREADS]; /* when its action began; 0: none runs */
    atomic_int doing[THREADS];
    atomic_uint alive;
    atomic_bool stop, over;
} chaos;

noreturn void chaos_fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "chaos: FAILED: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, "\nchaos: --seconds %u --seed %llu --workers %u\n", chaos.seconds, (unsigned long long)chaos.seed,
            chaos.workers);
    va_end(args);
    fflush(stderr);
    abort();
}

static long long now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

/* ---- Chance ---- */

static _Thread_local uint64_t chance_state;

void chance_seed(uint64_t seed)
{
    chance_state = (seed + 1) * UINT64_C(0x9E3779B97F4A7C15);
}

uint64_t chance(uint64_t below)
{
    static atomic_uint others;
    if (chance_state == 0)
        chance_seed(chaos.seed + 1000 + atomic_fetch_add(&others, 1));
    chance_state ^= chance_state << 13;
    chance_state ^= chance_state >> 7;
    chance_state ^= chance_state << 17;
    return below == 0 ? 0 : (chance_state >> 11) % below;
}

/* ---- Action threads ---- */

static void ask_loop(action what)
{
    request r = {.what = what};
    pthread_mutex_lock(&chaos.lock);
    r.next = chaos.requests;
    chaos.requests = &r;
    ev_async_send(chaos.loop, &chaos.mail);
    while (!r.done)
        pthread_cond_wait(&chaos.answered, &chaos.lock);
    pthread_mutex_unlock(&chaos.lock);
}

static action draw(void)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < ACTIONS; i++)
        sum += chaos.weights[i];
    uint64_t at = chance(sum);
    for (unsigned i = 0; i < ACTIONS; i++) {
        if (at < chaos.weights[i])
            return (action)i;
        at -= chaos.weights[i];
    }
    return SPAWN;
}

static void act(unsigned self, action what, vandal *rude)
{
    pea_addr addr;
    atomic_store(&chaos.doing[self], (int)what);
    atomic_store(&chaos.since[self], now_s());
    if (what == VANDALISE) {
        vandal_act(rude, town_address(&addr) ? &addr : NULL);
    } else if (what <= LAST_ON_LOOP) {
        ask_loop(what);
    } else {
        town_act_anywhere(what);
    }
    atomic_store(&chaos.since[self], 0);
    atomic_fetch_add(&chaos.actions[what], 1);
}

static void *live(void *arg)
{
    unsigned self = (unsigned)(uintptr_t)arg;
    vandal rude;
    vandal_init(&rude);
    chance_seed(chaos.seed * 31 + self);
    while (!chaos.stop) {
        action what = draw();
        uint64_t times = chance(50) == 0 ? 1 + chance(40) : 1; /* a burst now and then */
        for (uint64_t i = 0; i < times && !chaos.stop; i++)
            act(self, what, &rude);
    }
    vandal_leave(&rude);
    atomic_fetch_sub(&chaos.alive, 1);
    ev_async_send(chaos.loop, &chaos.mail);
    return NULL;
}

/* ---- The loop's thread ---- */

static void on_mail(struct ev_loop *loop, ev_async *mail, int events)
{
    (void)mail, (void)events;
    pthread_mutex_lock(&chaos.lock);
    request *list = chaos.requests;
    chaos.requests = NULL;
    pthread_mutex_unlock(&chaos.lock);
    while (list != NULL) {
        request *next = list->next;
        town_act(list->what);
        pthread_mutex_lock(&chaos.lock);
        list->done = true;
        pthread_cond_broadcast(&chaos.answered);
        pthread_mutex_unlock(&chaos.lock);
        list = next;
    }
    if (chaos.alive == 0)
        ev_break(loop, EVBREAK_ALL);
}

/* How often each is done where all are done. */
static const unsigned usual[ACTIONS] = {
    [SPAWN] = 30,     [FREE] = 2,       [SHUT_DOWN] = 2,  [LISTEN] = 40,    [UNLISTEN] = 8, [CONNECT] = 400,
    [BROADCAST] = 50, [SEND_PEER] = 90, [CLOSE_PEER] = 2, [EACH] = 1,       [BAN] = 2,      [PAUSE] = 10,
    [MEASURE] = 2,    [OFFER] = 4,      [SEND] = 600,     [CLOSE] = 10,     [REVOKE] = 4,   [FORGIVE] = 20,
    [RELOAD] = 4,     [TAKE] = 4,       [RESOLVE] = 200,  [VANDALISE] = 90, [EXCHANGE] = 10};

/* About half of the actions, some of them more often than usual; there is always somebody to meet. */
static void on_epoch(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop, (void)timer, (void)events;
    for (unsigned i = 0; i < ACTIONS; i++) {
        bool wanted = i == SPAWN || i == LISTEN || i == CONNECT || chance(2) == 0;
        chaos.weights[i] = wanted ? 1 + (unsigned)chance(2 * usual[i]) : 0;
    }
}

static void on_beat(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop, (void)timer, (void)events;
    atomic_fetch_add(&chaos.beats, 1);
}

static void on_end(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop, (void)timer, (void)events;
    chaos.stop = true;
}

/* ---- The watchdog ---- */

static unsigned descriptors(void)
{
    unsigned n = 0;
    DIR *folder = opendir("/proc/self/fd");
    if (folder == NULL)
        return 0; /* no such system */
    while (readdir(folder) != NULL)
        n++;
    closedir(folder);
    return n;
}

static unsigned long total(void)
{
    unsigned long sum = 0;
    for (unsigned i = 0; i < ACTIONS; i++)
        sum += chaos.actions[i];
    return sum;
}

static void *watch(void *arg)
{
    unsigned long beats = 0, actions = 0;
    long long beat_at = now_s(), action_at = beat_at;
    (void)arg;
    while (!chaos.over) {
        (void)nanosleep(&(struct timespec){0, 100000000}, NULL);
        long long now = now_s();
        for (unsigned i = 0; i < THREADS; i++) {
            long long since = chaos.since[i];
            if (since != 0 && now - since > PATIENCE_S)
                chaos_fail("%s has taken %lld s", action_names[chaos.doing[i]], now - since);
        }
        if (chaos.beats != beats) {
            beats = chaos.beats;
            beat_at = now;
        }
        if (total() != actions || chaos.stop) {
            actions = total();
            action_at = now;
        }
        if (now - beat_at > PATIENCE_S)
            chaos_fail("the loop has stood still for %lld s", now - beat_at);
        if (now - action_at > PATIENCE_S)
            chaos_fail("nobody has done anything for %lld s", now - action_at);
        if (descriptors() > DESCRIPTORS_MAX)
            chaos_fail("%u descriptors are open", descriptors());
        if (faults_bytes() > BYTES_MAX)
            chaos_fail("%zu bytes are in use", faults_bytes());
    }
    return NULL;
}

/* ---- From the beginning to the end ---- */

static void read_options(int argc, char **argv)
{
    static const struct option known[] = {
        {"seconds", 1, NULL, 'n'}, {"seed", 1, NULL, 's'}, {"workers", 1, NULL, 'w'}, {NULL, 0, NULL, 0}};
    chaos.seconds = 10;
    if (getrandom(&chaos.seed, sizeof chaos.seed, 0) != sizeof chaos.seed)
        chaos.seed = (uint64_t)time(NULL);
    chaos.seed %= 1000000000;
    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (c == 'n')
            chaos.seconds = (unsigned)strtoul(optarg, NULL, 10);
        else if (c == 's')
            chaos.seed = strtoull(optarg, NULL, 10);
        else if (c == 'w')
            chaos.workers = (unsigned)strtoul(optarg, NULL, 10);
        else
            exit(2);
    }
    if (optind != argc || chaos.seconds == 0) {
        fprintf(stderr, "usage: chaos [--seconds N] [--seed S] [--workers W]\n");
        exit(2);
    }
}

static void timer_start(ev_timer *timer, void (*fn)(struct ev_loop *loop, ev_timer *timer, int events), double after,
                        double repeat)
{
    ev_timer_init(timer, fn, after, repeat);
    ev_timer_start(chaos.loop, timer);
}

static void run(void)
{
    pthread_t threads[THREADS];
    chaos.alive = THREADS;
    ev_async_init(&chaos.mail, on_mail);
    ev_async_start(chaos.loop, &chaos.mail);
    timer_start(&chaos.epoch, on_epoch, 0., EPOCH_S);
    timer_start(&chaos.beat, on_beat, 0., 0.05);
    timer_start(&chaos.end, on_end, chaos.seconds, 0.);
    on_epoch(chaos.loop, &chaos.epoch, 0);
    for (unsigned i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, live, (void *)(uintptr_t)i) != 0)
            chaos_fail("no thread");
    ev_run(chaos.loop, 0);
    for (unsigned i = 0; i < THREADS; i++)
        (void)pthread_join(threads[i], NULL);
    ev_timer_stop(chaos.loop, &chaos.epoch);
    ev_timer_stop(chaos.loop, &chaos.end);
}

static void wind_up(void)
{
    long long deadline = now_s() + PATIENCE_S;
    while (!town_closed()) {
        if (now_s() > deadline)
            chaos_fail("nodes do not come to an end");
        ev_run(chaos.loop, EVRUN_ONCE);
    }
    town_close();
    ev_timer_stop(chaos.loop, &chaos.beat);
    ev_async_stop(chaos.loop, &chaos.mail);
    ev_run(chaos.loop, 0); /* nothing of the library's keeps it alive */
    ledger_check();
    if (faults_blocks() != 0)
        chaos_fail("%zu blocks of memory are left", faults_blocks());
}

static void report(void)
{
    printf("chaos: seed %llu, %u workers: %lu actions, %lu a second:", (unsigned long long)chaos.seed, chaos.workers,
           total(), total() / chaos.seconds);
    for (unsigned i = 0; i < ACTIONS; i++)
        printf(" %s %lu", action_names[i], chaos.actions[i]);
    printf("\nchaos: %lu connects, as many disconnects; %lu dials failed, %lu others; %lu messages; %lu sends and %lu "
           "broadcasts were answered for; %lu nodes handed over\n",
           books.connects, books.dial_failures, books.other_failures, books.messages, books.sends_told,
           books.broadcasts_told, books.handed_over);
}

int main(int argc, char **argv)
{
    char folder[] = "/tmp/chaos.XXXXXX";
    pthread_t watchdog;
    read_options(argc, argv);
    faults_install();
    printf("chaos: --seconds %u --seed %llu --workers %u\n", chaos.seconds, (unsigned long long)chaos.seed,
           chaos.workers);
    fflush(stdout);
    if (mkdtemp(folder) == NULL)
        chaos_fail("no folder for the rules");
    pthread_mutex_init(&chaos.lock, NULL);
    pthread_cond_init(&chaos.answered, NULL);
    chance_seed(chaos.seed);
    chaos.loop = ev_loop_new(EVFLAG_AUTO);
    town_open(chaos.loop, chaos.workers, folder);
    if (pthread_create(&watchdog, NULL, watch, NULL) != 0)
        chaos_fail("no thread");
    run();
    wind_up();
    chaos.over = true;
    (void)pthread_join(watchdog, NULL);
    ev_loop_destroy(chaos.loop);
    (void)rmdir(folder);
    report();
    return 0;
}
