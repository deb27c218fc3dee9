/* SPDX-License-Identifier: MIT */
/* The inside of a pipe, shared by the files that are one: pipe.c (life and API), pipe_stage.c (stages), pipe_verdict.c
 * (who may come in, and stay), pipe_read.c (wire to messages), pipe_queue.c and pipe_write.c (messages to wire) and
 * channel.c (what native mode says beside messages); conn.c reaches in by pipe_fast_priv.h alone. Nobody else includes
 * it. */
#ifndef PEAPOD_PIPE_STATE_PRIV_H
#define PEAPOD_PIPE_STATE_PRIV_H

#include "chain_priv.h"
#include "codec/codec_priv.h"
#include "compiler_priv.h"
#include "pipe_priv.h"
#include "policy_priv.h"

#define PEA__GREETING_BYTES 41u
#define PEA__CHUNK_HEADER 4u
#define PEA__CHUNK_MAX 0xFFFFFFu /* what a u24 says */
#define PEA__CONTROL_MAX 4096u   /* payload of known chunks other than DATA: a HELLO with its transcript fits */
#define PEA__UNKNOWN_MAX 65536u  /* payload of unknown chunks that are skipped */
#define PEA__TRANSCRIPT_MAX PEA__CONTROL_MAX /* of both sides, native: a HELLO has to hold it */
#define PEA__TRANSCRIPT_FOREIGN_MAX 16384u
#define PEA__RECORD_MAX 65537u  /* the longest record on the wire: a 2-byte length and what it can say */
#define PEA__UNSEAL_MAX 65536u  /* plaintext asked for at once: with one more record it fits the largest size class */
#define PEA__ROOM_READY 262144u /* bytes taken at once after READY */
#define PEA__DISCARD_MAX 65536u /* bytes read after our farewell: docs/wire.md, the end */

typedef enum pea__phase {
    PEA__GREETING = 0, /* native: ours is said (initiator), the peer's is awaited */
    PEA__STAGES,
    PEA__OPENING,  /* native: HELLO, ACCEPT */
    PEA__OPEN,     /* READY */
    PEA__FAREWELL, /* our last word is queued or said; what comes is discarded */
    PEA__OVER      /* CLOSED is due, or was told */
} pea__phase;

/* What the driver was asked. */
typedef enum pea__gate { PEA__GATE_IDLE = 0, PEA__GATE_ASKS, PEA__GATE_WAITS, PEA__GATE_OPEN } pea__gate;

/* Whether a stage may compute for a stranger. */
typedef enum pea__bill { PEA__BILL_NONE = 0, PEA__BILL_DUE, PEA__BILL_WRITTEN, PEA__BILL_TAKEN } pea__bill;

/* One floor of the pipe, from 1 on: the transform that it stands on. Floor 0 is the wire. */
typedef struct pea__floor {
    pea_transform transform;
    pea_err ended; /* the sticky error or end of its unseal() */
} pea__floor;

/* What was said in the plaintext stages. */
typedef struct pea__transcript {
    size_t stages;
    pea_buf said[PEA_STAGES_MAX][2]; /* by side */
} pea__transcript;

/* Who may answer, as long as that is asked. */
typedef struct pea__expected {
    pea_peer peer;   /* of kind PEA_PEER_NONE: whoever the policy allows */
    pea__who next;   /* or this one, to which it is changing; PEA_PEER_NONE: nobody else */
    pea__who was_us; /* who its node was before: it is this node itself; PEA_PEER_NONE: nobody */
} pea__expected;

struct pea_stage_env {
    pea_pipe *pipe;
};

/* What a pipe needs until it is READY, and while there are bytes in it. Most connections rest most of the time: their
 * flow is pea__flow_at_rest, which cannot be written to. */
typedef struct pea__flow {
    pea__spare spare;
    /* Sending: what every message touches comes first. */
    pea_buf tx;         /* plaintext: closed chunks, then at most one open one */
    size_t tx_open;     /* where the open DATA chunk's header lies in tx; SIZE_MAX: none */
    pea__lent *lent;    /* what follows tx, and was not copied to it; NULL: nothing */
    pea_buf out;        /* wire bytes */
    size_t out_control; /* how many of them are handshake or replies; 0 once all is written */
    /* Reading. */
    pea_buf carry;        /* a message that spans chunks */
    size_t need, scanned; /* the codec's: bytes before it is worth asking, what it has searched */
    int64_t partial_since;
    pea_buf rx[PEA_STAGES_MAX + 1]; /* by floor: the wire, and the plaintext that transforms made */
    uint8_t pong[8];                /* what is owed, if pong_owed */
    /* Before READY. */
    uint32_t stage_seen; /* bytes of its input that the stage has seen and left */
    void *stage_self;
    pea_stage_env env;
    pea__transcript *transcript;
    pea__expected *expected; /* NULL: anybody */
} pea__flow;

/* What the policy said of whom, or has yet to say. One for each peer: most have neither name nor role, and hold no room
 * for them. */
typedef struct pea__verdict {
    pea__who who;
    bool proving : 1; /* the stage says that its key is proven; the policy may have to agree yet */
    bool proven : 1, refused : 1, asked : 1; /* asked: the open or answered wait is about this peer */
    bool expired : 1;                        /* refused, and it was only the time */
    bool pledged : 1;                        /* the first record of `pledge_floor` proves the key that was seen */
    bool due : 1;                            /* it did: the policy is asked once more */
    uint8_t pledge_floor;
    char *words;         /* the policy's: name, zero, role, zero; NULL: it says neither */
    pea_peer *whole;     /* for who asked for it, until the end; NULL: nobody did */
    pea_peer *given;     /* with name and role as the stage has it; NULL: it says neither */
    pea_vouch *vouch;    /* what stands behind its key, in one piece; NULL: nothing */
    uint64_t generation; /* of the policy, when it was asked */
    uint64_t wait;       /* the wait in which it was asked */
} pea__verdict;

/* The rest of a message that goes out from where it lies: the caller's, until the call returns, or a shared one's. */
struct pea__lent {
    pea_span rest;
    pea_msg *msg; /* NULL: it is the caller's, and so is this */
};

/* What the peer's HELLO said of its application, if it said anything. */
typedef struct pea__hello {
    uint64_t capabilities;
    uint32_t lowest, highest;
    char application[]; /* "": unnamed */
} pea__hello;

/* The types of chunks: docs/wire.md. */
enum {
    PEA__CHUNK_HELLO = 1,
    PEA__CHUNK_ACCEPT,
    PEA__CHUNK_REJECT,
    PEA__CHUNK_DATA,
    PEA__CHUNK_END,
    PEA__CHUNK_CLOSE,
    PEA__CHUNK_PING,
    PEA__CHUNK_PONG
};

/* What a side has said or heard: bits. CLOSE stands for REJECT, too. */
enum { PEA__HELLO = 1, PEA__ACCEPT = 2, PEA__END = 4, PEA__CLOSE = 8 };

struct pea_pipe {
    /* Sending: what every message touches comes first. */
    size_t tx_room; /* bytes that may be put without a thought; 0 whenever anything else needs one */
    pea__flow *flow;
    const pea_codec_ops *codec_ops;
    void *codec_self;
    uint32_t length4_end; /* the codec is 4 bytes big-endian, spelled out here: no payload is so large; 0: it is not */

    /* Reading: the same. */
    uint8_t phase; /* pea__phase */
    uint8_t top;   /* the floor where plaintext comes out: transforms in place */
    bool dry, want_drain;
    bool judge_due; /* before the next message the verdict's generation is looked at, or its answer awaited */
    bool withheld;  /* `carry` holds a whole message: it was not handed out before the policy has answered */

    uint8_t side, mode, said, heard; /* pea_side, pea_mode, PEA__HELLO ... */
    uint8_t gate, bill;              /* pea__gate, pea__bill */
    uint8_t stage;                   /* the one that runs, or the number of stages */
    uint8_t greeting_seen, peer_highest;
    /* Bits: there are very many of these structures. */
    bool conn_owned : 1, fin : 1, told : 1, half_close : 1, out_direct : 1, pong_owed : 1, released : 1, begun : 1;
    bool started : 1, stage_poked : 1, ready_told : 1, end_wanted : 1, wire_end_said : 1;
    bool gated : 1;         /* the driver is asked before the peer is accepted */
    bool name_has_port : 1; /* where the policy is shown it */
    bool greets : 1;        /* native, and no stage negotiates by itself */
    bool last_words : 1;    /* a stage or transform failed and said so to the peer: an alert */
    bool judging : 1;       /* the policy's check() runs */
    bool busy : 1;          /* pea_pipe_next() runs: its flow stays, whatever a callback of its writes out */
    bool proves_next : 1;   /* our next record proves our key: HELLO does not wait */
    bool tx_cut : 1;        /* what is queued later counts no more as queued */
    bool replaces : 1;      /* whoever dialled means it to take the place of another one with the same peer */
    bool key_worn : 1;      /* a sending key nears its limit: what is queued is the last that it seals */
    uint32_t tx_rest;   /* native: bytes of the chunk at the front of tx, whose beginning has gone out; 0: none has */
    uint32_t skip;      /* bytes of an unknown chunk still to come */
    uint32_t discarded; /* bytes that came after our farewell */
    pea_err answer;     /* of the last wait: PEA_WAIT while it is open, PEA_MORE: there was none */
    size_t left;        /* bytes of the DATA chunk still to come; SIZE_MAX: no chunks */
    int64_t now_ms, wall_ms;
    uint64_t sealed_total, sealed_when_empty;
    uint32_t chunks_in; /* DATA chunks so far */
    uint32_t tx_hint;   /* what the last flush held */

    pea__pool *pool; /* of all its buffers, and of its flow */
    pea_chain *chain;
    pea_codec *codec;
    pea_policy *policy;
    pea__verdict *verdict;
    pea__hello *hello; /* NULL: it said nothing but what it must */
    char *name;        /* that was dialled; NULL: none was given */
    pea_reason *reason;
    pea__place *remote; /* the connection's, or else the pipe's own; NULL: not known */
    uint64_t runtime_id, conn_id, wait;
    uint32_t high_water, low_water;
    pea__floor floors[]; /* as many as the chain has stages: pea__floor_at() */
};

/* Floor `i`, from 1 on. */
static inline pea__floor *pea__floor_at(pea_pipe *p, size_t i)
{
    return &p->floors[i - 1];
}

static inline const pea_transform *pea__transform_at(const pea_pipe *p, size_t i)
{
    return &p->floors[i - 1].transform;
}

/* ---- pipe_flow.c ---- */

extern PEA__HIDDEN const pea__flow pea__flow_at_rest;

static inline bool pea__flow_rests(const pea_pipe *p)
{
    return p->flow == &pea__flow_at_rest;
}

/* A new pipe's first, which it keeps until READY; its pool is another thread's yet. PEA_OK | PEA_E_NOMEM */
PEA_MUST_CHECK pea_err pea__flow_begin(pea_pipe *p);

/* Whoever is about to put a byte into the pipe asks for it. PEA_OK | PEA_E_NOMEM */
PEA_MUST_CHECK pea_err pea__flow_take(pea_pipe *p);
void pea__flow_rest(pea_pipe *p); /* if nothing is in it: the next connection may have it */
void pea__flow_free(pea_pipe *p); /* with all its bytes */

/* ---- pipe.c ---- */

/* Ends the pipe for this reason: the first one counts. With a farewell where the peer can be told one, else silently.
 * Returns PEA_AGAIN: the caller's loop goes on. */
pea_err pea__pipe_fail(pea_pipe *p, pea_origin origin, pea_err err, const char *text);
pea_err pea__pipe_end(pea_pipe *p, const pea_reason *reason, bool farewell);
const char *pea__pipe_stage_name(const pea_pipe *p);
bool pea__pipe_expects(const pea_pipe *p); /* whoever dialled said whom; known until READY */
pea_buf *pea__pipe_plain(pea_pipe *p);

/* ---- pipe_stage.c ---- */

pea_err pea__stages_run(pea_pipe *p); /* PEA_AGAIN: the phase changed | PEA_MORE: starved or waiting */
void pea__stage_destroy(pea_pipe *p);
/* pea_stage_fail() */
pea_err pea__say_why(pea_pipe *p, pea_err err, const char *text);
void pea__transcript_free(pea_pipe *p);

/* ---- pipe_verdict.c ---- */

/* Opens a wait: its ticket is the next number. An earlier ticket is stale from here on. */
pea_ticket pea__wait_open(pea_pipe *p);
/* whether the open or answered wait is the policy's, and not one that a stage took later for itself */
bool pea__policy_waits(const pea_pipe *p);
/* after the stages: PEA_OK | PEA_E_REFUSED: nobody was proven who had to be */
pea_err pea__verdict_due(pea_pipe *p);
bool pea__verdict_pledged(const pea_pipe *p);        /* what the peer says next is to prove its key */
void pea__verdict_redeem(pea_pipe *p, size_t floor); /* a record of that floor was opened */
pea_err pea__verdict_settle(pea_pipe *p);            /* at READY: PEA_OK: go on, else what to return to next() */
pea_err pea__verdict_keep(pea_pipe *p);              /* before messages, if judge_due: the same */
/* Ends the pipe whose peer was refused, with the code that the peer may hear. As pea__pipe_end() */
pea_err pea__verdict_fail(pea_pipe *p);
void pea__verdict_free(pea_pipe *p);

/* ---- pipe_read.c ---- */

/* more plaintext on top: PEA_AGAIN | PEA_MORE | PEA_EOF... | < 0 */
pea_err pea__pull(pea_pipe *p);
pea_err pea__read_message(pea_pipe *p, pea_event *event); /* PEA_OK | PEA_AGAIN | PEA_MORE */
pea_err pea__read_ended(pea_pipe *p, pea_err end);        /* the stream ended so; returns PEA_AGAIN */
bool pea__read_partial(const pea_pipe *p);

/* ---- pipe_queue.c ---- */

/* Plaintext that waits: in tx, and behind it. */
static inline size_t pea__tx_waits(const pea_pipe *p)
{
    return p->flow->tx.len + (p->flow->lent != NULL ? p->flow->lent->rest.len : 0);
}

/* The first `n` bytes of it, in at most two pieces. Returns how many pieces. */
size_t pea__tx_front(const pea_pipe *p, size_t n, pea_span spans[2]);
void pea__tx_consume(pea_pipe *p, size_t n); /* they have been sealed or written */

void pea__window_close(pea_pipe *p); /* sends think again */
/* queues a whole chunk */
PEA_MUST_CHECK pea_err pea__chunk_say(pea_pipe *p, uint8_t type, const void *payload, size_t len);
void pea__tx_drop(pea_pipe *p);
/* Drops what is queued, but for the rest of a chunk that has begun to go out: a farewell may follow it. */
void pea__tx_cut(pea_pipe *p);

/* ---- pipe_write.c ---- */

/* The transform's seal(). That its key nears its limit is noted, and answered at the next output. As seal(), never
 * PEA_EOF */
PEA_MUST_CHECK pea_err pea__seal(pea_pipe *p, const pea_transform *t, const pea_span *spans, size_t n, pea_buf *wire);

/* seals through the transforms below `floor`, to the wire at once */
PEA_MUST_CHECK pea_err pea__wire_control(pea_pipe *p, pea_buf *plain, size_t floor);

/* ---- pipe_hello.c ---- */

/* What the peer says of its application: data is NULL where it does not. PEA_OK | PEA_E_NOMEM */
PEA_MUST_CHECK pea_err pea__hello_keep(pea_pipe *p, pea_span application, uint32_t lowest, uint32_t highest,
                                       uint64_t capabilities);

/* ---- channel.c ---- */

PEA_MUST_CHECK pea_err pea__greeting_say(pea_pipe *p);
pea_err pea__greeting_run(pea_pipe *p); /* PEA_AGAIN | PEA_MORE */
void pea__greeting_write(const pea_chain *chain, uint8_t highest, uint8_t out[PEA__GREETING_BYTES]);
PEA_MUST_CHECK pea_err pea__transcript_write(const pea_pipe *p, bool both_greetings, pea_buf *out);
pea_err pea__opening_begin(pea_pipe *p); /* after the last stage: PEA_AGAIN */
pea_err pea__opening_run(pea_pipe *p, pea_event *event);
/* at a chunk's beginning: PEA_OK: an event | PEA_AGAIN | PEA_MORE */
pea_err pea__chunk_next(pea_pipe *p, pea_event *event);
/* HELLO, REJECT or CLOSE; PEA_E_STATE: cannot be told */
PEA_MUST_CHECK pea_err pea__farewell_say(pea_pipe *p, uint16_t code, const char *text);
uint16_t pea__code_of(pea_err err); /* what the peer is told of an error; NORMAL: nothing */

#endif
