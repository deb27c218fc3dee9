/* SPDX-License-Identifier: MIT */
/* peapod forward: plain connections through authenticated ones, one for one. The server's side takes peers and
 * dials the service for each; the client's side takes plain connections and dials the peer for each. What happens
 * to one is nothing to the others. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "plain_priv.h"
#include "stream_priv.h"

#define SERVICE_SECONDS 10.0 /* for the service to be connected: it is near */
#define AGAIN_SECONDS 0.05   /* until a full queue is tried again, or accepting after descriptors ran out */

/* One connection: of a peer whose service is dialled, or a plain one whose peer is dialled; then a stream. */
typedef struct pair {
    struct pair *prev, *next; /* all of them */
    uint64_t id;              /* of the peer's connection */
    int fd;                   /* the plain socket; -1: none, or the stream's */
    ev_io io;
    ev_timer timer;
    ev_tstamp until; /* when the service must be connected */
} pair;

static struct {
    tool_texts listen, to, from, connect;
    int verbose;
} said;

static const struct poptOption own_options[] = {
    {"listen", 'l', POPT_ARG_ARGV, &said.listen, 0, "the server's side: take peers here", "ADDR"},
    {"to", '\0', POPT_ARG_ARGV, &said.to, 0, "and pass each of them on to this service", "ADDR"},
    {"from", '\0', POPT_ARG_ARGV, &said.from, 0, "the client's side: take plain connections here", "ADDR"},
    {"connect", '\0', POPT_ARG_ARGV, &said.connect, 0, "and pass each of them on to this peer", "ADDR"},
    {"verbose", 'v', POPT_ARG_NONE, &said.verbose, 0, "say when connections come and go", NULL},
    POPT_TABLEEND,
};

static const struct poptOption options[] = {
    {NULL, '\0', POPT_ARG_INCLUDE_TABLE, (void *)(uintptr_t)own_options, 0, "What is forwarded:", NULL},
    TOOL_SECURITY_OPTIONS,
    POPT_TABLEEND,
};

static tool_security security;
static pea_runtime *runtime;
static pea_node *node;
static tool_plain service, local; /* --to; --from */
static int local_fd = -1;
static ev_io accepts;
static ev_timer rest; /* of accepting */
static pair all = {.prev = &all, .next = &all};

/* ---- Pairs ---- */

static pair *pair_new(int fd)
{
    pair *p = calloc(1, sizeof *p);
    if (p == NULL)
        return NULL;
    p->fd = fd;
    p->prev = all.prev;
    p->next = &all;
    p->prev->next = all.prev = p;
    ev_init(&p->io, NULL);
    ev_init(&p->timer, NULL);
    p->io.data = p->timer.data = p;
    return p;
}

/* A plain socket that is left gets a reset: nothing was carried to its end. */
static void pair_free(pair *p)
{
    ev_io_stop(EV_DEFAULT, &p->io);
    ev_timer_stop(EV_DEFAULT, &p->timer);
    if (p->fd >= 0) {
        (void)setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1, .l_linger = 0},
                         sizeof(struct linger));
        (void)close(p->fd);
    }
    p->prev->next = p->next;
    p->next->prev = p->prev;
    free(p);
}

static pair *pair_find(uint64_t id)
{
    for (pair *p = all.prev; p != &all; p = p->prev) /* it is one of the newest */
        if (p->id == id)
            return p;
    return NULL;
}

static void on_over(void *arg, const tool_verdict *verdict)
{
    pair *p = arg;
    if (verdict->status != TOOL_OK)
        tool_say("connection %llu: %s", (unsigned long long)p->id, verdict->text);
    else if (said.verbose)
        tool_say("connection %llu: ended", (unsigned long long)p->id);
    pair_free(p);
}

/* Both sides are there. */
static void carry(pair *p, pea_conn *conn)
{
    tool_stream_opts opts = {.loop = EV_DEFAULT, .on_over = on_over, .arg = p};
    tool_end_own(&opts.in, p->fd, true);
    opts.out = opts.in;
    p->fd = -1;
    if (tool_stream_new(conn, &opts) == NULL) {
        (void)tool_fail(TOOL_FAILED, "memory is exhausted");
        pair_free(p);
    }
}

static void tell_connected(const pea_conn *conn)
{
    char id[PEA_PEER_TEXT_BYTES], addr[PEA_ADDR_TEXT_BYTES];
    pea_conn_info who;
    if (!said.verbose)
        return;
    pea_conn_snapshot(conn, &who);
    tool_say("connection %llu: with %s%s%s, %s", (unsigned long long)who.id, pea_peer_format(&who.peer, id),
             who.peer.name[0] != '\0' ? " " : "", who.peer.name, pea_addr_format(&who.remote, addr));
}

/* ---- The server's side: a peer is there, and the service is dialled ---- */

static void dial_service(pair *p);

static void service_failed(pair *p, int sys)
{
    char text[PEA_ADDR_TEXT_BYTES];
    pea_conn *conn = pea_node_find(node, p->id);
    tool_say("connection %llu: the service at %s cannot be reached: %s", (unsigned long long)p->id,
             pea_addr_format(&service.addr, text), strerror(sys));
    if (conn != NULL)
        pea_conn_close(conn, PEA_CODE_APPLICATION | TOOL_CODE_SERVICE, "the service cannot be reached");
    pair_free(p);
}

static void service_there(pair *p)
{
    pea_conn *conn = pea_node_find(node, p->id);
    ev_io_stop(EV_DEFAULT, &p->io);
    ev_timer_stop(EV_DEFAULT, &p->timer);
    if (conn == NULL || pea_conn_state(conn) != PEA_READY) {
        pair_free(p); /* the peer did not wait */
        return;
    }
    carry(p, conn);
    pea_conn_resume(conn);
}

static void on_service(struct ev_loop *loop, ev_io *io, int events)
{
    pair *p = io->data;
    int sys = tool_plain_connected(p->fd);
    (void)loop, (void)events;
    if (sys == 0)
        service_there(p);
    else
        service_failed(p, sys);
}

static void on_service_time(struct ev_loop *loop, ev_timer *timer, int events)
{
    pair *p = timer->data;
    (void)events;
    if (p->fd < 0 && ev_now(loop) < p->until)
        dial_service(p);
    else
        service_failed(p, ETIMEDOUT);
}

static void dial_service(pair *p)
{
    int sys;
    p->fd = tool_plain_connect(&service, &sys);
    double wait = sys == EAGAIN ? AGAIN_SECONDS : p->until - ev_now(EV_DEFAULT);
    ev_timer_stop(EV_DEFAULT, &p->timer);
    if (p->fd >= 0 && sys == 0) {
        service_there(p);
        return;
    }
    if (p->fd < 0 && sys != EAGAIN) {
        service_failed(p, sys);
        return;
    }
    ev_set_cb(&p->timer, on_service_time);
    ev_timer_set(&p->timer, wait, 0.);
    ev_timer_start(EV_DEFAULT, &p->timer);
    if (p->fd < 0)
        return;
    ev_set_cb(&p->io, on_service);
    ev_io_set(&p->io, p->fd, EV_WRITE);
    ev_io_start(EV_DEFAULT, &p->io);
}

static void on_peer(pea_conn *conn, void *user)
{
    pair *p = pair_new(-1);
    (void)user;
    tell_connected(conn);
    if (p == NULL) {
        pea_conn_abort(conn);
        return;
    }
    p->id = pea_conn_id(conn);
    p->until = ev_now(EV_DEFAULT) + SERVICE_SECONDS;
    pea_conn_pause(conn); /* what it says waits for the service */
    dial_service(p);
}

static void on_stranger(pea_node *of, const pea_conn_info *info, const pea_reason *reason, void *user)
{
    (void)of, (void)user;
    tool_say_kept_out(info, reason, said.verbose != 0);
}

/* ---- The client's side: a plain connection is there, and the peer is dialled ---- */

static void on_answer(pea_conn *conn, void *user)
{
    pair *p = pair_find(pea_conn_id(conn));
    (void)user;
    tell_connected(conn);
    if (p != NULL)
        carry(p, conn);
}

static void on_no_answer(pea_node *of, const pea_conn_info *info, const pea_reason *reason, void *user)
{
    pair *p = pair_find(info->id);
    (void)of, (void)user;
    (void)tool_fail_dial(tool_text(said.connect), info, reason);
    if (p != NULL)
        pair_free(p);
}

static void take(int fd)
{
    pea_error why = {.code = PEA_OK};
    const pea_peer *expect = security.expect.kind != PEA_PEER_NONE ? &security.expect : NULL;
    pair *p = pair_new(fd);
    if (p == NULL) {
        (void)close(fd);
        return;
    }
    if (pea_node_connect(node, tool_text(said.connect), PEA_DIAL(.expect = expect, .again = true), &p->id, &why) ==
        PEA_OK)
        return;
    (void)tool_fail_why(tool_text(said.connect), &why);
    pair_free(p);
}

static void on_plain(struct ev_loop *loop, ev_io *io, int events)
{
    static bool rested; /* the last time: that is said once in a row */
    int fd = tool_plain_accept(io->fd);
    (void)events;
    if (fd >= 0) {
        rested = false;
        take(fd);
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        if (!rested)
            tool_say("accepting rests until there is room: %s", strerror(errno));
        rested = true;
        ev_io_stop(loop, io);
        ev_timer_set(&rest, AGAIN_SECONDS, 0.);
        ev_timer_start(loop, &rest);
    }
}

static void on_rested(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)timer, (void)events;
    ev_io_start(loop, &accepts);
}

/* ---- All of it ---- */

static int check(void)
{
    bool server = said.listen != NULL || said.to != NULL, client = said.from != NULL || said.connect != NULL;
    if (server == client)
        return tool_fail(TOOL_USAGE, "wanted is either --listen ADDR --to ADDR, the server's side, or "
                                     "--from ADDR --connect ADDR, the client's");
    if (server && (said.listen == NULL || said.to == NULL))
        return tool_fail(TOOL_USAGE, "--listen and --to go together");
    if (client && (said.from == NULL || said.connect == NULL))
        return tool_fail(TOOL_USAGE, "--from and --connect go together");
    return tool_plain_parse(server ? &service : &local, tool_text(server ? said.to : said.from));
}

static void on_signal(struct ev_loop *loop, ev_signal *signal, int events)
{
    (void)signal, (void)events;
    ev_io_stop(loop, &accepts);
    ev_timer_stop(loop, &rest);
    if (pea_node_shutdown(node, 0, NULL, NULL) != PEA_OK)
        ev_break(loop, EVBREAK_ALL);
}

/* As many as the administrator allows: a connection takes two. */
static void allow_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit); /* where it fails there are fewer */
}

static int begin_listening(void)
{
    char addr[PEA_ADDR_TEXT_BYTES], to[PEA_ADDR_TEXT_BYTES], id[PEA_PEER_TEXT_BYTES];
    pea_error why = {.code = PEA_OK};
    pea_listener *listener;
    if (said.listen != NULL) {
        if (pea_node_listen(node, tool_text(said.listen), NULL, &listener, &why) != PEA_OK)
            return tool_fail_why(tool_text(said.listen), &why);
        tool_say("from peers on %s to %s, as %s", pea_addr_format(pea_listener_addr(listener), addr),
                 pea_addr_format(&service.addr, to), pea_peer_format(&security.me, id));
        return TOOL_OK;
    }
    local_fd = tool_plain_listen(&local);
    if (local_fd < 0)
        return TOOL_FAILED;
    ev_io_set(&accepts, local_fd, EV_READ);
    ev_io_start(EV_DEFAULT, &accepts);
    tool_say("from %s to the peer at %s, as %s", pea_addr_format(&local.addr, addr), tool_text(said.connect),
             pea_peer_format(&security.me, id));
    return TOOL_OK;
}

static int serve(void)
{
    static ev_signal signals[2];
    pea_error why = {.code = PEA_OK};
    pea_node_callbacks on = {.on_connect = said.listen != NULL ? on_peer : on_answer,
                             .on_connect_failed = said.listen != NULL ? on_stranger : on_no_answer};
    int status = check();
    if (status == TOOL_OK)
        status = tool_security_open(&security, PEA_NATIVE);
    if (status != TOOL_OK)
        return status;
    ev_init(&accepts, on_plain);
    ev_init(&rest, on_rested);
    (void)signal(SIGPIPE, SIG_IGN);
    allow_descriptors();
    pea_runtime_opts *opts = PEA_RUNTIME(.loop = EV_DEFAULT, .log = pea_log_stderr, .log_level = PEA_LOG_WARNING);
    if (pea_runtime_new(&runtime, opts, &why) != PEA_OK)
        return tool_fail_why(NULL, &why);
    status = tool_stream_node(&node, runtime, &security, PEA_NATIVE, &on, NULL);
    if (status == TOOL_OK)
        status = begin_listening();
    for (int i = 0; i < 2; i++) {
        ev_signal_init(&signals[i], on_signal, i == 0 ? SIGINT : SIGTERM);
        ev_signal_start(EV_DEFAULT, &signals[i]);
        ev_unref(EV_DEFAULT);
    }
    if (status == TOOL_OK)
        ev_run(EV_DEFAULT, 0);
    return status;
}

static void clean(void)
{
    pea_node_free(node);
    for (pair *p = all.next, *next; p != &all; p = next) {
        next = p->next;
        pair_free(p);
    }
    if (local_fd >= 0)
        tool_plain_unlisten(&local, local_fd);
    pea_runtime_free(runtime);
    tool_security_close(&security);
}

int tool_forward(int argc, char **argv)
{
    static const tool_usage usage = {
        .arguments = "",
        .examples =
            "  peapod forward --key db.key --trust authorized_peers --listen 0.0.0.0:5433 \\\n"
            "                 --to unix:/run/postgresql/.s.PGSQL.5432\n"
            "  peapod forward --key app.key --expect noise:DB --from 127.0.0.1:5432 --connect db.example:5433\n",
        .options = options,
        .least = 0,
        .most = 0,
    };
    const char *const *args;
    int status;
    if (!tool_options(&usage, argc, argv, &args, &status))
        return status;
    status = serve();
    clean();
    tool_options_done(options);
    return status;
}
