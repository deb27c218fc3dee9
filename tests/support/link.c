/* SPDX-License-Identifier: MIT */
/* See link.h. Each read is handed over in memory of exactly its size that is gone once the pipe says PEA_MORE: under
 * ASan a pipe that looks beyond what it was lent, or at it later, is caught. */
#include "link.h"

#include <stdlib.h>

#include "check.h"

#define ROUNDS_MAX 2000000u /* of link_run(): a conversation that does not end is a failure, not a hang */

void link_init(test_link *link)
{
    *link = (test_link){.flip_at = SIZE_MAX, .cut_off_at = SIZE_MAX, .insert_at = SIZE_MAX, .prng = {1}};
}

static void *copy_of(const void *data, size_t len)
{
    void *copy = malloc(len > 0 ? len : 1);
    assert_non_null(copy);
    if (len > 0)
        memcpy(copy, data, len);
    return copy;
}

/* ---- What a side does ---- */

static void send_script(link_party *p)
{
    if (p->n_ready == 0 || p->close_called || p->end_called)
        return;
    while (p->n_sent < p->n_send) {
        pea_err err = pea_pipe_send(p->pipe, p->send[p->n_sent].data, p->send[p->n_sent].len);
        if (err == PEA_E_NOMEM) /* nothing was queued: again */
            err = pea_pipe_send(p->pipe, p->send[p->n_sent].data, p->send[p->n_sent].len);
        if (err == PEA_E_QUEUE_FULL || err == PEA_E_STATE)
            return;
        check_ok(err);
        p->n_sent++;
    }
    if (p->half_close) {
        p->end_called = true;
        pea_err err = pea_pipe_end(p->pipe);
        assert_true(err == PEA_OK || err == PEA_E_STATE || err == PEA_E_NOMEM);
    }
}

static void close_script(link_party *p)
{
    size_t have = p->raw ? p->n_bytes : p->n_messages;
    if (!p->closes || p->close_called || p->n_ready == 0 || p->n_sent < p->n_send || have < p->await)
        return;
    p->close_called = true;
    pea_err err = pea_pipe_close(p->pipe, PEA_CODE_NORMAL, "done");
    assert_true(err == PEA_OK || err == PEA_E_STATE);
}

static void record_message(link_party *p, const pea_event *event)
{
    assert_int_equal(p->n_ready, 1);
    p->n_bytes += event->len;
    link_message *last = p->n_messages > 0 ? &p->messages[p->n_messages - 1] : NULL;
    if (p->raw && last != NULL) {
        uint8_t *grown = realloc(last->data, last->len + event->len);
        assert_non_null(grown);
        memcpy(grown + last->len, event->data, event->len);
        *last = (link_message){grown, last->len + event->len};
        return;
    }
    assert_true(p->n_messages < LINK_MESSAGES_MAX);
    p->messages[p->n_messages++] = (link_message){copy_of(event->data, event->len), event->len};
}

static void record(test_link *link, pea_side side, const pea_event *event)
{
    link_party *p = &link->party[side];
    assert_int_equal(p->n_closed, 0); /* CLOSED is the last event */
    switch (event->type) {
    case PEA_EVENT_READY:
        p->n_ready++;
        assert_int_equal(p->n_ready, 1);
        assert_int_equal(pea_pipe_state(p->pipe), PEA_READY);
        p->ready_at = p->wire_len;
        break;
    case PEA_EVENT_MESSAGE:
        record_message(p, event);
        break;
    case PEA_EVENT_DRAIN:
        p->n_drain++;
        break;
    case PEA_EVENT_END:
        p->n_end++;
        break;
    case PEA_EVENT_CLOSED:
        p->n_closed++;
        assert_non_null(event->reason);
        p->reason = *event->reason;
        assert_int_equal(pea_pipe_state(p->pipe), PEA_CLOSED);
        break;
    default:
        fail_msg("an event of no known type: %d", event->type);
    }
    if (link->on_event != NULL)
        link->on_event(link, side, event, link->on_event_arg);
}

static bool take_events(test_link *link, pea_side side)
{
    link_party *p = &link->party[side];
    bool moved = false;
    for (;;) {
        pea_event event = {0};
        pea_err err = pea_pipe_next(p->pipe, &event);
        if (err == PEA_MORE) { /* then it must say so again: whoever drives it will not ask twice */
            check_err(pea_pipe_next(p->pipe, &event), PEA_MORE);
            break;
        }
        check_ok(err);
        moved = true;
        record(link, side, &event);
        send_script(p);
        close_script(p);
    }
    if (!p->heard_set && pea_pipe_state(p->pipe) >= PEA_CLOSING) {
        p->heard_set = true;
        p->heard = link->party[link_other(side)].delivered;
    }
    return moved;
}

/* ---- The wire ---- */

static void wire_append(link_party *p, pea_span span)
{
    if (p->wire_len + span.len > p->wire_cap) {
        p->wire_cap = (p->wire_len + span.len) * 2;
        p->wire = realloc(p->wire, p->wire_cap);
        assert_non_null(p->wire);
    }
    if (span.len > 0)
        memcpy(p->wire + p->wire_len, span.data, span.len);
    p->wire_len += span.len;
}

/* What `side` wrote goes by whoever is in the middle. */
static void write_wire(test_link *link, pea_side side, pea_span span)
{
    link_party *p = &link->party[side];
    size_t begin = p->wire_len;
    if (link->victim == side && link->insert_at >= begin && link->insert_at - begin < span.len) {
        size_t before = link->insert_at - begin;
        link->insert_at = SIZE_MAX;
        wire_append(p, (pea_span){span.data, before});
        wire_append(p, link->insert);
        wire_append(p, (pea_span){span.data + before, span.len - before});
    } else {
        wire_append(p, span);
    }
    if (link->victim == side && link->flip_at >= begin && link->flip_at < p->wire_len)
        p->wire[link->flip_at] ^= link->flip_mask;
}

static bool take_output(test_link *link, pea_side side)
{
    link_party *p = &link->party[side];
    bool moved = false;
    for (;;) {
        pea_span span = {NULL, 0};
        pea_err err = pea_pipe_output(p->pipe, &span);
        if (err == PEA_EOF)
            p->wire_eof = true;
        if (err != PEA_OK) {
            assert_true(err == PEA_EOF || err == PEA_MORE);
            return moved;
        }
        assert_false(p->wire_eof); /* PEA_EOF means never again */
        assert_true(span.len > 0 && span.data != NULL);
        if (link->cut == LINK_RANDOM && span.len > 1)
            span.len = 1 + prng_below(&link->prng, span.len);
        write_wire(link, side, span);
        pea_pipe_sent(p->pipe, span.len);
        moved = true;
    }
}

bool link_drain(test_link *link, pea_side side)
{
    bool events = take_events(link, side), output = take_output(link, side);
    send_script(&link->party[side]);
    return take_events(link, side) || events || output;
}

size_t link_feed(test_link *link, pea_side side, const uint8_t *data, size_t len)
{
    link_party *p = &link->party[side];
    uint8_t *lent = copy_of(data, len);
    size_t taken = 0, messages = p->n_messages;
    bool was_ready = p->n_ready > 0;
    pea_err err = pea_pipe_feed(p->pipe, lent, len, &taken);
    assert_true(err == PEA_OK || err == PEA_E_NOMEM);
    assert_true(taken <= len);
    link->party[link_other(side)].delivered += taken; /* before the events, so that they know what had been heard */
    take_events(link, side);
    free(lent);
    p->data_with_handshake |= !was_ready && p->n_messages > messages;
    return taken;
}

/* The bytes of the next read, as the test wants them cut. */
static size_t piece(test_link *link, size_t from, size_t there)
{
    switch (link->cut) {
    case LINK_AT:
        return from < link->at && link->at - from < there ? link->at - from : there;
    case LINK_BYTES:
        return there > 0 ? 1 : 0;
    case LINK_RANDOM: {
        size_t most = prng_below(&link->prng, 4) == 0 ? 5000 : 40;
        size_t n = 1 + prng_below(&link->prng, most);
        return n < there ? n : there;
    }
    default:
        return there;
    }
}

/* One read of `side`, if there is something to read and it has room. */
static bool deliver(test_link *link, pea_side side)
{
    link_party *from = &link->party[link_other(side)], *to = &link->party[side];
    size_t end = from->wire_len;
    bool cut_off = link->victim == link_other(side) && link->cut_off_at <= end;
    if (cut_off)
        end = link->cut_off_at;
    size_t n = piece(link, from->delivered, end - from->delivered), room = pea_pipe_room(to->pipe);
    if (n > room)
        n = room;
    if (n > 0)
        return link_feed(link, side, from->wire + from->delivered, n) > 0;
    if (from->delivered == end && (from->wire_eof || cut_off) && !from->fin_delivered) {
        from->fin_delivered = true;
        pea_pipe_feed_end(to->pipe);
        take_events(link, side);
        return true;
    }
    return false;
}

void link_run(test_link *link)
{
    for (unsigned round = 0;; round++) {
        assert_true(round < ROUNDS_MAX);
        bool moved = false;
        for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++)
            moved |= link_drain(link, side);
        for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++)
            moved |= deliver(link, side);
        if (!moved && (link->idle == NULL || !link->idle(link->idle_arg)))
            return;
    }
}

void link_hang_up(test_link *link)
{
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
        link_party *from = &link->party[link_other(side)];
        if (link->party[side].n_closed > 0 || from->fin_delivered)
            continue;
        from->fin_delivered = true;
        pea_pipe_feed_end(link->party[side].pipe);
        link_run(link);
    }
    assert_int_equal(link->party[PEA_INITIATOR].n_closed, 1);
    assert_int_equal(link->party[PEA_RESPONDER].n_closed, 1);
}

void link_free(test_link *link)
{
    for (pea_side side = PEA_INITIATOR; side <= PEA_RESPONDER; side++) {
        link_party *p = &link->party[side];
        pea_pipe_free(p->pipe);
        free(p->wire);
        for (size_t i = 0; i < p->n_messages; i++)
            free(p->messages[i].data);
        *p = (link_party){0};
    }
}

/* ---- What arrived ---- */

/* The bytes of raw streams have no boundaries: compares them with all that was sent, put together. */
static void check_stream(const link_party *to, const link_party *from)
{
    size_t at = 0;
    const uint8_t *got = to->n_messages > 0 ? to->messages[0].data : NULL;
    for (size_t i = 0; i < from->n_send && at < to->n_bytes; i++) {
        size_t n = from->send[i].len < to->n_bytes - at ? from->send[i].len : to->n_bytes - at;
        check_bytes(got + at, n, from->send[i].data, n);
        at += n;
    }
    assert_int_equal(at, to->n_bytes);
}

void link_check_prefix(const test_link *link, pea_side side)
{
    const link_party *to = &link->party[side], *from = &link->party[link_other(side)];
    if (to->raw) {
        check_stream(to, from);
        return;
    }
    assert_true(to->n_messages <= from->n_send);
    for (size_t i = 0; i < to->n_messages; i++)
        check_bytes(to->messages[i].data, to->messages[i].len, from->send[i].data, from->send[i].len);
}

void link_check_all(const test_link *link, pea_side side)
{
    const link_party *to = &link->party[side], *from = &link->party[link_other(side)];
    size_t bytes = 0;
    for (size_t i = 0; i < from->n_send; i++)
        bytes += from->send[i].len;
    link_check_prefix(link, side);
    assert_int_equal(to->n_bytes, bytes);
    if (!to->raw)
        assert_int_equal(to->n_messages, from->n_send);
}
