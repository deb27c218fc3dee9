/* SPDX-License-Identifier: MIT */
/* Two pipes in memory with a wire between them that a test can cut into pieces, change and break. It records events; it
 * knows no stage and no transform. */
#ifndef PEAPOD_TEST_LINK_H
#define PEAPOD_TEST_LINK_H

#include "peapod/pipe.h"
#include "prng.h"

/* How the bytes of either direction fall into reads. */
typedef enum link_cut {
    LINK_WHOLE = 0, /* whatever was written */
    LINK_AT,        /* no read goes across byte `at` of its direction */
    LINK_BYTES,     /* one byte a read */
    LINK_RANDOM     /* random pieces, and writes that are short */
} link_cut;

typedef struct link_message {
    uint8_t *data;
    size_t len;
} link_message;

#define LINK_MESSAGES_MAX 64

/* One side: what it is to do, and what became of it. */
typedef struct link_party {
    pea_pipe *pipe;
    /* The script. */
    const pea_span *send; /* sent in this order from READY on */
    size_t n_send;
    size_t await; /* closes once it has so many messages, or bytes if `raw` */
    bool closes, raw;
    bool half_close; /* says END when all is sent, in place of nothing */
    /* What happened. */
    size_t n_sent;
    size_t n_messages, n_bytes;
    link_message messages[LINK_MESSAGES_MAX];
    unsigned n_ready, n_end, n_drain, n_closed;
    pea_reason reason;
    bool close_called, end_called;
    bool data_with_handshake; /* a read held both handshake and messages */
    size_t heard;             /* bytes it had been fed when it became CLOSING or CLOSED */
    bool heard_set;
    /* What it wrote. */
    uint8_t *wire;
    size_t wire_len, wire_cap, delivered;
    size_t ready_at; /* wire_len when READY was told */
    bool wire_eof, fin_delivered;
} link_party;

typedef struct test_link {
    link_party party[2]; /* by side */
    link_cut cut;
    size_t at;
    test_prng prng;
    /* The one in the middle, who changes what `victim` says: at these offsets of what it wrote. SIZE_MAX: not. */
    pea_side victim;
    size_t flip_at, cut_off_at, insert_at;
    uint8_t flip_mask;
    pea_span insert;
    /* Called when nothing moves. Returns whether it has done something; NULL: nobody. */
    bool (*idle)(void *arg);
    void *idle_arg;
    /* Called for each event after it was recorded; may be NULL. */
    void (*on_event)(struct test_link *link, pea_side side, const pea_event *event, void *arg);
    void *on_event_arg;
} test_link;

/* A link without pipes and faults. */
void link_init(test_link *link);

/* Lets bytes flow until nothing moves any more. */
void link_run(test_link *link);

/* Whoever still waits sees the end of the stream; then runs again until both are CLOSED. */
void link_hang_up(test_link *link);

/* Pulls events and output of one side; returns whether there were any. */
bool link_drain(test_link *link, pea_side side);

/* Hands `len` bytes to a side as one read, from memory that ends with them and is gone afterwards.
 * Returns how many it took. */
size_t link_feed(test_link *link, pea_side side, const uint8_t *data, size_t len);

/* Frees pipes and records. */
void link_free(test_link *link);

/* What `side` received is a prefix of what its peer sent: nothing changed, doubled, reordered or made up. */
void link_check_prefix(const test_link *link, pea_side side);

/* ... and nothing is missing. */
void link_check_all(const test_link *link, pea_side side);

static inline pea_side link_other(pea_side side)
{
    return side == PEA_INITIATOR ? PEA_RESPONDER : PEA_INITIATOR;
}

#endif
