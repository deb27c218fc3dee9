/* SPDX-License-Identifier: MIT */
/* Drives one pipe over one socket: readable bytes in, events out to the node's callbacks, the end. What the bytes mean
 * is the pipe's affair; what goes out is conn_write.c's. */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "addr_priv.h"
#include "err_priv.h"
#include "pipe_fast_priv.h"
#include "runtime_priv.h"

/* ---- What the loop watches ---- */

/* Messages wait until reading is resumed. */
static bool holds_back(const pea_conn *c)
{
    return c->paused && c->node->limits.inbound_overflow == PEA_OVERFLOW_BLOCK;
}

bool pea__conn_holds_unread(const pea_conn *c)
{
    int waits = 0;
    return holds_back(c) && (pea__pipe_unread(c->pipe) > 0 || (ioctl(c->fd, FIONREAD, &waits) == 0 && waits > 0));
}

/* A pause is for messages: after our farewell the peer's end is awaited all the same. */
static bool wants_read(const pea_conn *c)
{
    bool paused = holds_back(c) && !c->challenged && pea_pipe_state(c->pipe) < PEA_CLOSING;
    return !c->connecting && !paused && !c->fin && pea_pipe_room(c->pipe) > 0;
}

/* Tells the loop which events matter now. A socket without any still keeps the loop alive. */
static void watch(pea_conn *c)
{
    if (c->over || c->fd < 0)
        return;
    int events = 0;
    if (c->connecting || c->blocked)
        events |= EV_WRITE;
    if (wants_read(c))
        events |= EV_READ;
    struct ev_loop *loop = c->worker->loop;
    if (ev_is_active(&c->io) && (c->io.events & (EV_READ | EV_WRITE)) == events)
        return;
    ev_io_stop(loop, &c->io);
    ev_io_set(&c->io, c->fd, events);
    ev_io_start(loop, &c->io);
    pea__worker_touch(c->worker);
}

static void tick(pea_conn *c)
{
    pea_pipe_tick(c->pipe, pea__now_ms(), pea__wall_ms());
}

/* ---- The end ---- */

static void snapshot_refused(const pea_conn *c, pea_conn_info *info)
{
    pea_conn_snapshot(c, info);
    (void)pea__pipe_copy_refused(c->pipe, &info->peer);
}

static void log_end(pea_conn *c, const pea_reason *reason)
{
    char text[PEA_REASON_TEXT_BYTES];
    pea_runtime *r = c->node->runtime;
    if (pea__log_may(r, PEA_LOG_INFO, c->ready ? PEA__LOG_ENDED : PEA__LOG_FAILED))
        pea__log(r, PEA_LOG_INFO, c->node, c, pea_reason_format(reason, text));
}

/* The older one keeps its place. */
static void drop_letter(pea_conn *c)
{
    if (c->ready)
        return;
    pea__free(c->to_older);
    c->to_older = NULL;
}

/* CLOSED: the callbacks that are owed, then nothing of the connection is left but its memory, until the round frees
 * it. */
static void end(pea_conn *c, const pea_reason *reason)
{
    c->over = true;
    atomic_store(&c->usable, false);
    pea__partial_note(c);
    pea__conn_timer_stop(c);
    ev_io_stop(c->worker->loop, &c->io);
    drop_letter(c);
    pea__claim_ends(c);           /* whoever is told of the end may dial the next one that replaces */
    pea__target_ends(c);          /* whoever is told of the end finds no look-up of it in line */
    pea__conn_confirm(c, PEA_OK); /* what has left has left */
    pea__conn_confirm(c, reason->err < 0 ? reason->err : PEA_E_STATE);
    pea__conn_tally_end(c, reason);
    log_end(c, reason);
    const pea_node_callbacks *on = &c->node->on;
    if (c->ready) {
        if (on->on_disconnect != NULL)
            on->on_disconnect(c, reason, c->node->user);
    } else if (on->on_connect_failed != NULL) {
        pea_conn_info info;
        snapshot_refused(c, &info);
        on->on_connect_failed(c->node, &info, reason, c->node->user);
    }
    if (c->fd >= 0)
        close(c->fd);
    pea__registry_remove(c);
    pea__admission_gone(c->node, &c->origin, c->ready);
    pea__worker_queue(c->worker, c);
}

/* ---- Events ---- */

/* A message may have been decoded while another thread changed the rules: once that has returned, none is handed out
 * that was not judged by the new ones. */
static bool may_hand_out(pea_conn *c, const pea_event *message)
{
    if (!atomic_load_explicit(&c->worker->judge_due, memory_order_acquire))
        return true;
    pea_err err = pea__pipe_judge(c->pipe);
    if (err == PEA_WAIT && pea__pipe_withhold(c->pipe, message) != PEA_OK)
        pea__conn_abort(c, PEA_BY_READING, PEA_E_NOMEM, NULL);
    return err == PEA_OK;
}

/* Whether something else than the next message wants a thought: after each callback, and on any other thread's word. */
static inline bool interrupted(const pea_conn *c)
{
    return c->paused || c->pipe->phase != PEA__OPEN ||
           atomic_load_explicit(&c->worker->judge_due, memory_order_acquire);
}

/* Hands out the messages that lie ready, as long as nothing else comes first. What the loop reads of the connection is
 * all that a callback can change of it: the pipe is told at the end how far it went. False: there was none. */
static bool hand_out(pea_conn *c, pea_event *event)
{
    void (*on_message)(pea_conn *, const uint8_t *, size_t, void *) = c->node->on.on_message;
    pea_span view = pea__pipe_view(c->pipe);
    const uint8_t *began = view.data;
    void *user = c->node->user;
    size_t len;
    if (on_message == NULL)
        return false;
    event->type = PEA_EVENT_MESSAGE;
    while (pea__message_whole(c->pipe, view, &len) && !interrupted(c)) {
        event->data = view.data + 4;
        event->len = len;
        view.data += len + 4;
        view.len -= len + 4;
        c->messages_in++;
        on_message(c, event->data, len, user);
    }
    pea__pipe_viewed(c->pipe, (size_t)(view.data - began));
    return view.data != began;
}

static void deliver_message(pea_conn *c, const pea_event *event)
{
    if (!may_hand_out(c, event))
        return;
    if (c->paused) { /* else it would not have been read: PEA_OVERFLOW_DROP */
        c->dropped++;
        pea__conn_tally(c, PEA__T_DROPPED, 1);
        return;
    }
    c->messages_in++;
    if (c->node->on.on_message != NULL)
        c->node->on.on_message(c, event->data, event->len, c->node->user);
}

/* READY. Whose place it takes is told after on_connect, which may yet end it. */
static void deliver_ready(pea_conn *c)
{
    pea__post *to_older = c->to_older;
    c->sent_last = NULL;
    c->heard_ms = pea__now_ms();
    pea__registry_settle(c);
    pea__admission_ready(c->node, pea__pipe_chain(c->pipe), &c->origin);
    pea__conn_tally(c, PEA__T_CONNECTS, 1);
    if (pea__by_peer_add(c) != PEA_OK)
        pea__conn_abort(c, PEA_BY_HANDSHAKE, PEA_E_NOMEM, NULL);
    if (c->challenged)
        pea__claim_lives(c);
    pea__log(c->node->runtime, PEA_LOG_DEBUG, c->node, c, "connected");
    if (c->node->on.on_connect != NULL)
        c->node->on.on_connect(c, c->node->user);
    if (to_older != NULL && pea_pipe_state(c->pipe) == PEA_READY)
        pea__mailbox_tell(c->node->runtime, to_older, to_older->conn, pea__conn_retire);
    else
        pea__free(to_older);
}

static void deliver(pea_conn *c, const pea_event *event)
{
    const pea_node_callbacks *on = &c->node->on;
    void *user = c->node->user;
    switch (event->type) {
    case PEA_EVENT_READY:
        deliver_ready(c);
        break;
    case PEA_EVENT_MESSAGE:
        deliver_message(c, event);
        break;
    case PEA_EVENT_DRAIN:
        if (on->on_drain != NULL)
            on->on_drain(c, user);
        break;
    case PEA_EVENT_END:
        if (on->on_end != NULL)
            on->on_end(c, user);
        break;
    case PEA_EVENT_CLOSED:
        end(c, event->reason);
        break;
    }
}

/* Delivers events until there are none, or until a callback paused or ended the connection. */
void pea__conn_pump(pea_conn *c)
{
    pea_event event = {.type = PEA_EVENT_CLOSED};
    if (c->connecting && pea_pipe_state(c->pipe) < PEA_CLOSING)
        return; /* the pipe would begin to speak, and in foreign modes be READY */
    c->worker->event_of = c;
    c->worker->event = &event;
    while (!c->over && !(holds_back(c) && pea_pipe_state(c->pipe) == PEA_READY)) {
        if (hand_out(c, &event))
            continue;
        if (pea_pipe_next(c->pipe, &event) == PEA_OK) {
            deliver(c, &event);
        } else if (pea__pipe_take_ask(c->pipe)) {
            pea__claim(c);
        } else if (pea__pipe_take_bill(c->pipe)) {
            pea__metering_ask(c);
        } else {
            break;
        }
    }
    c->worker->event_of = NULL;
    if (c->over)
        return;
    pea__conn_tally_messages(c);
    if (pea__pipe_hold(c->pipe) != PEA_OK) /* paused: the rest of the scratch must not be lost */
        pea__conn_abort(c, PEA_BY_READING, PEA_E_NOMEM, NULL);
    pea__partial_note(c);
}

/* Our side ended it: the state's deadline is linger from now on. */
static void note_closing(pea_conn *c)
{
    if (!c->over && !c->closing && pea_pipe_state(c->pipe) >= PEA_CLOSING) {
        c->closing = true;
        atomic_store(&c->usable, false);
        c->since_ms = pea__now_ms();
    }
}

void pea__conn_judge(pea_conn *c)
{
    if (c->over || c->connecting)
        return;
    tick(c);
    if (pea__pipe_judge(c->pipe) == PEA_OK)
        return;
    c->pump_due = true;
    pea__worker_queue(c->worker, c);
}

/* ---- Reading ---- */

/* One recv() and what comes of it. True: there may be more. */
static bool read_once(pea_conn *c)
{
    if (c->over || !wants_read(c))
        return false;
    size_t room = pea_pipe_room(c->pipe);
    if (room > PEA__SCRATCH_BYTES)
        room = PEA__SCRATCH_BYTES;
    uint8_t *scratch = c->worker->scratch + PEA__HEADROOM_BYTES;
    ssize_t n;
    do
        n = recv(c->fd, scratch, room, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        if (!pea__would_block(errno)) {
            pea_pipe_broken(c->pipe, PEA_BY_READING, errno);
            pea__conn_pump(c);
        }
        return false;
    }
    if (n == 0) {
        c->fin = true;
        pea_pipe_feed_end(c->pipe);
    } else {
        size_t taken;
        c->bytes_in += (size_t)n;
        pea__conn_tally(c, PEA__T_BYTES_IN, (size_t)n);
        tick(c);
        c->heard_ms = pea__now_ms();
        if (c->challenged && c->ready && !c->closing)
            pea__claim_lives(c);
        pea_err err = pea__pipe_lend(c->pipe, scratch, (size_t)n, PEA__HEADROOM_BYTES, &taken);
        (void)err; /* a failure is the pipe's end, which pea__conn_pump() tells */
    }
    pea__conn_pump(c);
#ifndef NDEBUG
    memset(scratch, 0xDB, room); /* whoever kept a view into it shall see that he must not */
#endif
    return n > 0 && (size_t)n == room;
}

static void readable(pea_conn *c)
{
    for (unsigned i = 0; i < PEA__READS_PER_EVENT; i++)
        if (!read_once(c))
            return;
}

/* ---- Writing ---- */

/* send() failed. The peer's last words may still lie in the socket: they are read before the error is taken for the
 * reason. */
static void write_failed(pea_conn *c)
{
    while (read_once(c))
        continue;
    if (c->over)
        return;
    pea_pipe_broken(c->pipe, PEA_BY_WRITING, c->sys_errno);
    pea__conn_pump(c);
}

/* Writes, and tells what the writing brought: confirmations, a drained queue, the end. */
static void flush(pea_conn *c)
{
    pea__conn_write_out(c);
    if (c->sys_errno != 0)
        write_failed(c);
    if (c->over)
        return;
    pea__conn_confirm(c, PEA_OK);
    if (c->paused &&
        pea__pipe_take_drain(c->pipe)) /* room to write is told all the same: it may be what the pause waits for */
        deliver(c, &(pea_event){.type = PEA_EVENT_DRAIN});
    pea__conn_pump(c);
    if (c->over)
        return;
    note_closing(c);
    watch(c);
    pea__conn_retime(c);
}

/* ---- The loop's calls ---- */

/* The socket is connected. */
static void begin(pea_conn *c)
{
    c->connecting = false;
    c->since_ms = c->heard_ms = pea__now_ms();
    c->pump_due = true; /* it speaks, and is spoken of, from the loop */
    pea__worker_queue(c->worker, c);
    watch(c);
    pea__target_ends(c);
    pea__conn_retime(c);
}

void pea__conn_dials(pea_conn *c, int fd, int result)
{
    c->fd = fd;
    if (result == 0)
        begin(c);
    else
        watch(c);
}

static void on_io(struct ev_loop *loop, ev_io *io, int events)
{
    pea_conn *c = io->data;
    (void)loop;
    if (!pea__worker_enter(c->worker))
        return;
    if (c->connecting && c->sys_errno != 0) {
        pea__worker_queue(c->worker, c); /* it failed at once, and the round will say so */
    } else if (c->connecting) {
        int sys = pea__socket_dialled(c->fd);
        if (sys == 0)
            begin(c);
        else if (pea__target_has_more(c))
            pea__target_gives_way(c, PEA_E_SYS, sys);
        else
            c->sys_errno = sys;
    } else {
        if ((events & EV_WRITE) != 0)
            c->blocked = false;
        if ((events & EV_READ) != 0)
            readable(c);
    }
    if (!c->over) {
        if ((events & EV_WRITE) != 0 || c->sys_errno != 0 || pea__pipe_has_output(c->pipe))
            pea__worker_queue(c->worker, c);
        note_closing(c);
        watch(c);
        pea__conn_retime(c);
    }
    pea__worker_leave(c->worker);
}

/* Frees all but the structure itself. */
static void conn_clear(pea_conn *c)
{
    pea_pipe_free(c->pipe);
    pea__place_clear(&c->remote);
    pea__target_free(c->target);
}

void pea__conn_round(pea_conn *c)
{
    if (c->over) {
        conn_clear(c);
        pea__conn_departed(c);
        return;
    }
    if (c->connecting && c->sys_errno != 0) {
        pea_pipe_broken(c->pipe, PEA_BY_HANDSHAKE, c->sys_errno);
        pea__conn_pump(c);
        return;
    }
    if (c->pump_due) {
        c->pump_due = false;
        tick(c);
        pea__conn_pump(c);
        if (c->over)
            return;
    }
    flush(c);
}

/* ---- Birth ---- */

/* It is dialled to take another one's place, who will be told when it is READY. */
static pea_err take_place(pea_conn *c, uint64_t older, pea_error *why)
{
    c->to_older = pea__mailbox_letter();
    if (c->to_older == NULL)
        return pea__error(why, PEA_E_NOMEM, NULL);
    *c->to_older = (pea__post){.conn = older};
    pea__pipe_replace(c->pipe);
    return PEA_OK;
}

/* What its pipe is told beside its options. */
static pea_err tell_pipe(pea_conn *c, const pea_dial_opts *dial, pea_error *why)
{
    const pea__who *was_us = &c->node->was_us;
    if (dial == NULL)
        pea__pipe_meter(c->pipe);
    if (c->target != NULL && c->target->names)
        pea__pipe_name_has_port(c->pipe);
    if (c->node->limits.one_per_peer)
        pea__pipe_gate(c->pipe);
    if (was_us->kind != PEA_PEER_NONE && pea__pipe_was_us(c->pipe, was_us) != PEA_OK)
        return pea__error(why, PEA_E_NOMEM, NULL);
    return dial != NULL && dial->replaces != 0 ? take_place(c, dial->replaces, why) : PEA_OK;
}

pea_err pea__conn_new(pea_conn **conn, pea_node *node, int fd, const pea_addr *remote, const pea__origin *origin,
                      pea_chain *chain, pea_codec *codec, const pea_dial_opts *dial, pea__target *target,
                      int dial_errno, pea_error *why)
{
    pea_runtime *r = node->runtime;
    pea_err err;
    pea_conn *c = pea__alloc(sizeof *c);
    if (c == NULL) {
        err = pea__error(why, PEA_E_NOMEM, NULL);
        goto out;
    }
    pea__node_notice(node, chain);
    c->worker = pea__least_loaded(r);
    c->node = node;
    c->id = ++r->last_conn * (r->n_threads + 1u) + c->worker->index;
    c->fd = fd;
    c->responder = dial == NULL || dial->side == PEA_RESPONDER;
    c->origin = *origin;
    c->since_ms = c->born_ms = pea__now_ms();
    c->connecting = dial_errno != 0;
    c->sys_errno = dial_errno == EINPROGRESS ? 0 : dial_errno;
    c->user = dial != NULL ? dial->user : NULL;
    c->target = target;
    pea_pipe_opts opts = {.size = sizeof opts,
                          .side = c->responder ? PEA_RESPONDER : PEA_INITIATOR,
                          .codec = codec,
                          .policy = node->policy,
                          .expect = dial != NULL ? dial->expect : NULL,
                          .expect_next = dial != NULL ? dial->expect_next : NULL,
                          .name = dial != NULL ? dial->name : NULL,
                          .high_water = node->limits.high_water,
                          .low_water = node->limits.low_water,
                          .half_close = node->limits.half_close};
    err = pea__place_set(&c->remote, remote);
    if (err != PEA_OK)
        (void)pea__error(why, err, NULL);
    else
        err = pea__pipe_new(&c->pipe, chain, &opts, &c->worker->pool, &c->remote, r->serial, c->id, why);
    if (err == PEA_OK)
        err = tell_pipe(c, dial, why);
    if (err == PEA_OK && c->worker != &r->worker && (c->travel = pea__alloc(sizeof *c->travel)) == NULL)
        err = pea__error(why, PEA_E_NOMEM, NULL);
    ev_init(&c->io, on_io);
    ev_init(&c->timer, pea__conn_on_timer);
    c->io.data = c->timer.data = c;
    if (err == PEA_OK && pea__registry_add(c) != PEA_OK)
        err = pea__error(why, PEA_E_NOMEM, NULL);
    if (err != PEA_OK)
        goto out;
    pea__tally_add(&node->tally[0], dial != NULL ? PEA__T_DIALLED : PEA__T_ACCEPTED, 1);
    *conn = c;
    return PEA_OK;
out:
    if (c != NULL) {
        pea__free(c->travel);
        pea__free(c->to_older);
        c->target = NULL;
        conn_clear(c);
        pea__free(c);
    }
    pea__admission_gone(node, origin, false);
    return err;
}

void pea__conn_live(pea_conn *c)
{
    if (pea__registry_adopt(c) != PEA_OK)
        pea__conn_abort(c, PEA_BY_HANDSHAKE, PEA_E_NOMEM, NULL);
    pea__target_begins(c);
    if (!c->connecting) {
        begin(c);
    } else {
        if (c->sys_errno != 0)
            pea__worker_queue(c->worker, c);
        watch(c);
        pea__conn_retime(c);
    }
    pea__conn_obey(c);
}

void pea__conn_obey(pea_conn *c)
{
    static const pea_reason shutdown_reason = {
        .origin = PEA_BY_SHUTDOWN, .err = PEA_OK, .code = PEA_CODE_SHUTDOWN, .text = "the node shuts down"};
    if (c->node->freed)
        pea__conn_abort(c, PEA_BY_SHUTDOWN, PEA_E_ABORTED, "the node was freed");
    else if (c->node->overdue)
        pea__conn_abort(c, PEA_BY_SHUTDOWN, PEA_E_TIMEOUT, "the shutdown's deadline passed");
    else if (c->node->shutting_down)
        pea__conn_finish(c, &shutdown_reason);
}

/* ---- The public face; sends are in conn_write.c, ends in conn_close.c ---- */

pea_err pea_conn_keep(pea_conn *c, pea_msg **msg)
{
    const pea__worker *w = c->worker;
    if (w->event_of != c || w->event->type != PEA_EVENT_MESSAGE)
        return PEA_E_STATE;
    return pea_msg_new(msg, w->event->data, w->event->len);
}

void pea_conn_pause(pea_conn *c)
{
    if (!c->paused) {
        c->pauses++;
        pea__conn_tally(c, PEA__T_PAUSES, 1);
    }
    c->paused = true;
    watch(c);
}

void pea_conn_resume(pea_conn *c)
{
    if (c->over || !c->paused)
        return;
    c->paused = false;
    c->pump_due = true; /* what was held back comes first, from the loop */
    c->heard_ms = pea__now_ms();
    if (c->ready && !c->closing)
        c->since_ms = c->heard_ms;
    pea__worker_queue(c->worker, c);
    watch(c);
}
