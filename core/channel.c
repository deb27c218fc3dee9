/* SPDX-License-Identifier: MIT */
/* Native mode: the greeting, and what two peapod nodes say beside messages. docs/wire.md is the specification; names
 * here are its own. */
#include <string.h>

#include "pipe_state_priv.h"
#include "tlv_priv.h"
#include "utf8_priv.h"

enum { WIRE_VERSION = 1, WIRE_HIGHEST = 1 };
enum { TLV_VERSION = 1, TLV_NETWORK, TLV_TRANSCRIPT, TLV_APPLICATION, TLV_RANGE, TLV_CAPABILITIES, TLV_REPLACES };

#define MUST_UNDERSTAND_CHUNK 0x80u

static const uint8_t magic[7] = {0xF1, 'p', 'e', 'a', 'p', 'o', 'd'};

/* ---- The greeting ---- */

void pea__greeting_write(const pea_chain *chain, uint8_t highest, uint8_t out[PEA__GREETING_BYTES])
{
    memcpy(out, magic, sizeof magic);
    out[7] = WIRE_VERSION;
    out[8] = highest;
    memcpy(out + 9, chain->network, PEA_NETWORK_BYTES);
}

pea_err pea__greeting_say(pea_pipe *p)
{
    uint8_t greeting[PEA__GREETING_BYTES];
    pea__greeting_write(p->chain, WIRE_HIGHEST, greeting);
    p->flow->out_control += sizeof greeting;
    return pea_buf_append(&p->flow->out, greeting, sizeof greeting);
}

/* Reads the peer's greeting byte by byte: strangers are dropped at the first wrong one. */
pea_err pea__greeting_run(pea_pipe *p)
{
    uint8_t ours[PEA__GREETING_BYTES];
    pea__greeting_write(p->chain, WIRE_HIGHEST, ours);
    pea_buf *wire = &p->flow->rx[0];
    while (p->greeting_seen < PEA__GREETING_BYTES) {
        if (wire->len == 0)
            return p->fin ? pea__read_ended(p, PEA_EOF_UNAUTHENTICATED) : PEA_MORE;
        uint8_t byte = wire->data[0];
        if (p->greeting_seen == 8 && byte >= WIRE_VERSION)
            p->peer_highest = byte;
        else if (byte != ours[p->greeting_seen])
            return pea__pipe_fail(p, PEA_BY_HANDSHAKE, PEA_E_NETWORK,
                                  p->greeting_seen < 7    ? "the peer's greeting is not peapod's"
                                  : p->greeting_seen == 7 ? "the peer speaks another version of the wire"
                                                          : "the peer's greeting names another network");
        pea_buf_consume(wire, 1);
        p->greeting_seen++;
    }
    if (p->side == PEA_RESPONDER && pea__greeting_say(p) != PEA_OK)
        return pea__pipe_fail(p, PEA_BY_HANDSHAKE, PEA_E_NOMEM, NULL);
    p->phase = PEA__STAGES;
    return PEA_AGAIN;
}

/* ---- The transcript of what was said in plaintext ---- */

static pea_err append_said(const pea_buf *said, pea_buf *out)
{
    uint8_t len[4];
    pea__put_be(len, said->len, sizeof len);
    pea_err err = pea_buf_append(out, len, sizeof len);
    return err != PEA_OK ? err : pea_buf_append(out, said->data, said->len);
}

pea_err pea__transcript_write(const pea_pipe *p, bool both_greetings, pea_buf *out)
{
    uint8_t ours[PEA__GREETING_BYTES], theirs[PEA__GREETING_BYTES];
    pea__greeting_write(p->chain, WIRE_HIGHEST, ours);
    pea__greeting_write(p->chain, p->peer_highest, theirs);
    pea_err err = PEA_OK;
    if (p->greets)
        err = pea_buf_append(out, p->side == PEA_INITIATOR ? ours : theirs, PEA__GREETING_BYTES);
    if (err == PEA_OK && p->greets && both_greetings)
        err = pea_buf_append(out, p->side == PEA_INITIATOR ? theirs : ours, PEA__GREETING_BYTES);
    size_t stages = p->flow->transcript != NULL ? p->flow->transcript->stages : 0;
    for (size_t i = 0; i < stages && err == PEA_OK; i++) {
        err = append_said(&p->flow->transcript->said[i][PEA_INITIATOR], out);
        if (err == PEA_OK)
            err = append_said(&p->flow->transcript->said[i][PEA_RESPONDER], out);
    }
    return err;
}

/* ---- HELLO ---- */

static pea_err append_tlv(pea_buf *out, uint16_t type, const void *value, size_t len)
{
    uint8_t head[PEA__TLV_BYTES];
    pea__tlv_head(head, type, len);
    pea_err err = pea_buf_append(out, head, sizeof head);
    return err != PEA_OK ? err : pea_buf_append(out, value, len);
}

static pea_err hello_write(const pea_pipe *p, pea_buf *out)
{
    const pea_chain *c = p->chain;
    uint8_t version = WIRE_VERSION, number[8];
    pea_buf transcript = {.pool = p->pool};
    pea_err err = pea__transcript_write(p, true, &transcript);
    if (err == PEA_OK)
        err = append_tlv(out, TLV_VERSION, &version, 1);
    if (err == PEA_OK)
        err = append_tlv(out, TLV_NETWORK, c->network, PEA_NETWORK_BYTES);
    if (err == PEA_OK)
        err = append_tlv(out, TLV_TRANSCRIPT, transcript.data, transcript.len);
    if (err == PEA_OK && c->application[0] != '\0')
        err = append_tlv(out, TLV_APPLICATION, c->application, strlen(c->application));
    if (err == PEA_OK && c->application_highest != 0) {
        pea__put_be(number, c->application_lowest, 4);
        pea__put_be(number + 4, c->application_highest, 4);
        err = append_tlv(out, TLV_RANGE, number, 8);
    }
    if (err == PEA_OK && c->capabilities != 0) {
        pea__put_be(number, c->capabilities, 8);
        err = append_tlv(out, TLV_CAPABILITIES, number, 8);
    }
    if (err == PEA_OK && p->replaces && p->side == PEA_INITIATOR)
        err = append_tlv(out, TLV_REPLACES, number, 0);
    pea_buf_free(&transcript);
    return err;
}

static pea_err hello_say(pea_pipe *p)
{
    pea_buf hello = {.pool = p->pool};
    pea_err err = hello_write(p, &hello);
    if (err == PEA_OK && hello.len > PEA__CONTROL_MAX)
        err = PEA_E_TOO_BIG; /* more was said in plaintext than it can carry */
    if (err == PEA_OK)
        err = pea__chunk_say(p, PEA__CHUNK_HELLO, hello.data, hello.len);
    if (err == PEA_OK)
        p->said |= PEA__HELLO;
    pea_buf_free(&hello);
    return err;
}

/* One side of a comparison that failed, and what is said of it. */
typedef struct verdict {
    pea_code code; /* NORMAL: nothing is wrong */
    const char *text;
} verdict;

static const verdict fine = {PEA_CODE_NORMAL, NULL};

static verdict attributes_check(const pea_chain *c, const pea_span tlv[])
{
    pea_span name = tlv[TLV_APPLICATION], range = tlv[TLV_RANGE];
    if (name.data != NULL && c->application[0] != '\0' &&
        (name.len != strlen(c->application) || memcmp(name.data, c->application, name.len) != 0))
        return (verdict){PEA_CODE_VERSION, "the peer is of another application"};
    if (range.data != NULL && c->application_highest != 0 &&
        (pea__get_be(range.data, 4) > c->application_highest || pea__get_be(range.data + 4, 4) < c->application_lowest))
        return (verdict){PEA_CODE_VERSION, "no version of the application is common to the peer and us"};
    return fine;
}

/* Whether a known TLV has its form; the transcript's is checked by its comparison. */
static bool tlv_fits(uint16_t type, pea_span v)
{
    switch (type) {
    case TLV_NETWORK:
        return v.len == PEA_NETWORK_BYTES;
    case TLV_APPLICATION:
        return v.len >= 1 && v.len <= PEA__APPLICATION_MAX && pea__utf8_valid(v.data, v.len);
    case TLV_RANGE:
        return v.len == 8 && pea__get_be(v.data, 4) <= pea__get_be(v.data + 4, 4);
    case TLV_CAPABILITIES:
        return v.len == 8;
    case TLV_REPLACES:
        return v.len == 0;
    default:
        return true;
    }
}

/* What a HELLO says, taken apart: known TLVs by type; data is NULL where there was none. */
typedef struct hello {
    pea_span tlv[TLV_REPLACES + 1];
    bool unknown; /* an attribute that must be understood, and is not */
} hello;

/* false: it is not TLVs in ascending order. What the known ones hold is not looked at. */
static bool hello_parse(hello *h, pea_span list)
{
    uint16_t type = 0;
    pea_span value;
    pea__tlv_found found;
    while ((found = pea__tlv_next(&list, &type, &value)) == PEA__TLV_ONE) {
        if (type <= TLV_REPLACES)
            h->tlv[type] = value;
        else if ((type & PEA__TLV_MUST_UNDERSTAND) != 0)
            h->unknown = true;
    }
    return found == PEA__TLV_NONE;
}

/* Takes a HELLO apart and compares it with what we would say: the table of docs/wire.md, section 6, row by row. */
static verdict hello_check(const pea_pipe *p, pea_span transcript, const uint8_t *data, size_t len, hello *h)
{
    static const verdict malformed = {PEA_CODE_PROTO, "the peer's HELLO is malformed"};
    if (!hello_parse(h, (pea_span){data, len}) || h->tlv[TLV_VERSION].data == NULL || h->tlv[TLV_VERSION].len != 1)
        return malformed;
    if (h->tlv[TLV_VERSION].data[0] != WIRE_VERSION) /* first: a later version may shape the rest anew */
        return (verdict){PEA_CODE_VERSION, "the peer's HELLO is of another version of the wire"};
    if (h->tlv[TLV_NETWORK].data == NULL || h->tlv[TLV_TRANSCRIPT].data == NULL)
        return malformed;
    for (unsigned type = TLV_NETWORK; type <= TLV_REPLACES; type++)
        if (h->tlv[type].data != NULL && !tlv_fits((uint16_t)type, h->tlv[type]))
            return malformed;
    if (memcmp(h->tlv[TLV_NETWORK].data, p->chain->network, PEA_NETWORK_BYTES) != 0)
        return (verdict){PEA_CODE_NETWORK, "the peer's HELLO names another network"};
    if (h->tlv[TLV_TRANSCRIPT].len != transcript.len ||
        (transcript.len > 0 && memcmp(h->tlv[TLV_TRANSCRIPT].data, transcript.data, transcript.len) != 0))
        return (verdict){
            PEA_CODE_PROTO,
            "the peer's HELLO and ours differ in what was said in plaintext before: somebody may have changed it"};
    verdict v = attributes_check(p->chain, h->tlv);
    if (v.code == PEA_CODE_NORMAL && h->unknown)
        v = (verdict){PEA_CODE_VERSION,
                      "the peer's HELLO has an attribute that must be understood and is not known here"};
    return v;
}

/* What it says of the peer's application, for whoever asks. */
static pea_err hello_keep(pea_pipe *p, const hello *h)
{
    pea_span range = h->tlv[TLV_RANGE], capabilities = h->tlv[TLV_CAPABILITIES];
    return pea__hello_keep(p, h->tlv[TLV_APPLICATION], range.data != NULL ? (uint32_t)pea__get_be(range.data, 4) : 0,
                           range.data != NULL ? (uint32_t)pea__get_be(range.data + 4, 4) : 0,
                           capabilities.data != NULL ? pea__get_be(capabilities.data, 8) : 0);
}

/* ---- Farewells ---- */

uint16_t pea__code_of(pea_err err)
{
    switch (err) {
    case PEA_E_PROTO:
        return PEA_CODE_PROTO;
    case PEA_E_TOO_BIG:
        return PEA_CODE_TOO_BIG;
    case PEA_E_TIMEOUT:
        return PEA_CODE_TIMEOUT;
    case PEA_E_KEY_LIMIT:
        return PEA_CODE_KEY_LIMIT;
    case PEA_E_REFUSED:
        return PEA_CODE_DENIED | PEA_CODE_PERMANENT;
    default:
        return PEA_CODE_NORMAL;
    }
}

/* What the peer is told beside a code of ours: coarse on purpose, the details stay in our own log. */
static const char *coarse_text(uint16_t code)
{
    static const char *const texts[] = {
        [PEA_CODE_NORMAL] = "",
        [PEA_CODE_SHUTDOWN] = "shutting down",
        [PEA_CODE_DENIED] = "not admitted",
        [PEA_CODE_DUPLICATE] = "connected already",
        [PEA_CODE_FULL] = "no room",
        [PEA_CODE_REVOKED] = "no longer admitted",
        [PEA_CODE_EXPIRED] = "no longer admitted",
        [PEA_CODE_TIMEOUT] = "too slow",
        [PEA_CODE_PROTO] = "the protocol was broken",
        [PEA_CODE_TOO_BIG] = "a message is too big",
        [PEA_CODE_KEY_LIMIT] = "a key has done all its work",
        [PEA_CODE_VERSION] = "no common version",
        [PEA_CODE_NETWORK] = "another network",
    };
    unsigned plain = code & ~PEA_CODE_PERMANENT;
    return plain < sizeof texts / sizeof texts[0] ? texts[plain] : "";
}

pea_err pea__farewell_say(pea_pipe *p, uint16_t code, const char *text)
{
    if (p->mode != PEA_NATIVE || (p->said & PEA__CLOSE) != 0 || (p->phase != PEA__OPENING && p->phase != PEA__OPEN))
        return PEA_E_STATE;
    uint8_t payload[2 + PEA_TEXT_MAX];
    if (text == NULL)
        text = coarse_text(code);
    size_t len = pea__utf8_cut((const uint8_t *)text, strlen(text), PEA_TEXT_MAX);
    if (!pea__utf8_valid((const uint8_t *)text, len))
        len = 0; /* the caller's mistake must not become a breach of the protocol */
    pea__put_be(payload, code, 2);
    if (len > 0)
        memcpy(payload + 2, text, len);
    pea_err err = (p->said & PEA__HELLO) == 0 ? hello_say(p) : PEA_OK;
    if (err == PEA_OK)
        err = pea__chunk_say(p, (p->said & PEA__ACCEPT) != 0 ? PEA__CHUNK_CLOSE : PEA__CHUNK_REJECT, payload, 2 + len);
    if (err == PEA_OK)
        p->said |= PEA__CLOSE;
    return err;
}

/* Says why, then fails with the details for our own log. */
static pea_err refuse(pea_pipe *p, verdict v)
{
    bool permanent = v.code == PEA_CODE_VERSION || v.code == PEA_CODE_NETWORK;
    pea_reason reason = {.origin = PEA_BY_HANDSHAKE,
                         .err = v.code == PEA_CODE_PROTO ? PEA_E_PROTO : PEA_E_NETWORK,
                         .code = (uint16_t)(v.code | (permanent ? PEA_CODE_PERMANENT : 0u))};
    memcpy(reason.text, v.text, strlen(v.text) + 1);
    return pea__pipe_end(p, &reason, true);
}

static pea_err protocol_error(pea_pipe *p, const char *text)
{
    return pea__pipe_fail(p, PEA_BY_READING, PEA_E_PROTO, text);
}

/* ---- Opening ---- */

pea_err pea__opening_begin(pea_pipe *p)
{
    p->phase = PEA__OPENING;
    p->left = 0;
    if (p->verdict != NULL && p->verdict->refused)
        return pea__verdict_fail(p);
    if (pea__verdict_due(p) != PEA_OK)
        return pea__pipe_fail(p, PEA_BY_HANDSHAKE, PEA_E_REFUSED, NULL);
    pea_err err = p->side == PEA_INITIATOR || p->proves_next ? hello_say(p) : PEA_OK;
    return err == PEA_OK ? PEA_AGAIN : pea__pipe_fail(p, PEA_BY_HANDSHAKE, err, NULL);
}

/* Whether we may go on to accept the peer; else the driver has yet to say so. */
static bool gate_passed(pea_pipe *p)
{
    if (!p->gated)
        return true;
    if (p->gate == PEA__GATE_OPEN) {
        p->gate = PEA__GATE_IDLE;
        return true;
    }
    if (p->gate == PEA__GATE_IDLE)
        p->gate = PEA__GATE_ASKS;
    return false;
}

void pea__pipe_replace(pea_pipe *p)
{
    p->replaces = true;
}

bool pea__pipe_replaces(const pea_pipe *p)
{
    return p->replaces;
}

bool pea__pipe_said_end(const pea_pipe *p)
{
    return (p->said & PEA__END) != 0;
}

void pea__pipe_gate(pea_pipe *p)
{
    p->gated = true;
}

bool pea__pipe_take_ask(pea_pipe *p)
{
    if (p->gate != PEA__GATE_ASKS || p->phase != PEA__OPENING)
        return false;
    p->gate = PEA__GATE_WAITS;
    return true;
}

void pea__pipe_admit(pea_pipe *p)
{
    if (p->gate == PEA__GATE_WAITS)
        p->gate = PEA__GATE_OPEN;
}

bool pea__pipe_accepted(const pea_pipe *p)
{
    return (p->heard & PEA__ACCEPT) != 0;
}

/* ACCEPT, and HELLO before it if that was not said. */
static pea_err accept_say(pea_pipe *p)
{
    pea_err err = (p->said & PEA__HELLO) == 0 ? hello_say(p) : PEA_OK;
    if (err == PEA_OK)
        err = pea__chunk_say(p, PEA__CHUNK_ACCEPT, NULL, 0);
    if (err == PEA_OK)
        p->said |= PEA__ACCEPT;
    return err;
}

/* Both sides' HELLO and ACCEPT are in order, but for ours if we are the responder. */
static pea_err opening_finish(pea_pipe *p, pea_event *event)
{
    if (!gate_passed(p))
        return PEA_MORE;
    pea_err err = pea__verdict_settle(p);
    if (err != PEA_OK)
        return err;
    if (p->side == PEA_RESPONDER && (err = accept_say(p)) != PEA_OK)
        return pea__pipe_fail(p, PEA_BY_HANDSHAKE, err, NULL);
    p->phase = PEA__OPEN;
    pea__transcript_free(p);
    *event = (pea_event){.type = PEA_EVENT_READY};
    p->ready_told = true;
    return PEA_OK;
}

pea_err pea__opening_run(pea_pipe *p, pea_event *event)
{
    pea_err err = PEA_OK;
    if (p->side == PEA_INITIATOR && (p->said & PEA__ACCEPT) == 0 && !pea__verdict_pledged(p) && gate_passed(p))
        err = accept_say(p);
    if (err != PEA_OK)
        return pea__pipe_fail(p, PEA_BY_HANDSHAKE, err, NULL);
    if ((p->heard & PEA__ACCEPT) != 0 && (p->side == PEA_RESPONDER || (p->said & PEA__ACCEPT) != 0))
        return opening_finish(p, event);
    err = (p->heard & PEA__ACCEPT) != 0 ? PEA_MORE : pea__chunk_next(p, event);
    if (err != PEA_MORE)
        return err;
    err = pea__pull(p);
    return err == PEA_AGAIN || err == PEA_MORE ? err : pea__read_ended(p, err);
}

/* ---- PING ---- */

pea_err pea__pipe_ping(pea_pipe *p)
{
    static const uint8_t nothing[8]; /* any answer will do */
    if (p->mode != PEA_NATIVE || p->phase != PEA__OPEN)
        return PEA_OK;
    return pea__chunk_say(p, PEA__CHUNK_PING, nothing, sizeof nothing);
}

/* ---- Chunks ---- */

static pea_err hear_hello(pea_pipe *p, const uint8_t *data, size_t len)
{
    if ((p->heard & PEA__HELLO) != 0)
        return protocol_error(p, "a second HELLO");
    p->heard |= PEA__HELLO;
    pea_buf transcript = {.pool = p->pool};
    pea_err err = pea__transcript_write(p, true, &transcript);
    hello h = {.unknown = false};
    verdict v = err == PEA_OK ? hello_check(p, (pea_span){transcript.data, transcript.len}, data, len, &h) : fine;
    if (err == PEA_OK && v.code == PEA_CODE_NORMAL)
        err = hello_keep(p, &h);
    if (p->side == PEA_RESPONDER)
        p->replaces = h.tlv[TLV_REPLACES].data != NULL;
    pea_buf_free(&transcript);
    if (err != PEA_OK)
        return pea__pipe_fail(p, PEA_BY_HANDSHAKE, err, NULL);
    return v.code == PEA_CODE_NORMAL ? PEA_AGAIN : refuse(p, v);
}

static pea_err hear_accept(pea_pipe *p)
{
    if ((p->heard & PEA__ACCEPT) != 0)
        return protocol_error(p, "a second ACCEPT");
    p->heard |= PEA__ACCEPT;
    return PEA_AGAIN;
}

/* REJECT and CLOSE: the peer's last word, with its reason. */
static pea_err hear_farewell(pea_pipe *p, uint8_t type, const uint8_t *data, size_t len)
{
    if (type == PEA__CHUNK_REJECT && (p->heard & PEA__ACCEPT) != 0)
        return protocol_error(p, "a REJECT after ACCEPT");
    if (type == PEA__CHUNK_CLOSE && (p->heard & PEA__ACCEPT) == 0)
        return protocol_error(p, "a CLOSE before ACCEPT");
    if (!pea__utf8_valid(data + 2, len - 2))
        return protocol_error(p, "a farewell whose text is not UTF-8");
    uint16_t code = (uint16_t)pea__get_be(data, 2), plain = (uint16_t)(code & ~PEA_CODE_PERMANENT);
    bool orderly = plain == PEA_CODE_NORMAL || plain == PEA_CODE_SHUTDOWN;
    pea_err err = type == PEA__CHUNK_REJECT ? PEA_E_REJECTED
                  : !orderly                ? PEA_E_CLOSED
                  : p->flow->carry.len > 0  ? PEA_E_TRUNCATED
                                            : PEA_OK;
    pea_reason reason = {.origin = PEA_BY_PEER, .err = err, .code = code};
    for (size_t i = 0; i < len - 2; i++) /* a NUL is UTF-8, but would hide what follows it */
        reason.text[i] = data[2 + i] != 0 ? (char)data[2 + i] : ' ';
    p->heard |= PEA__CLOSE;
    return pea__pipe_end(p, &reason, false);
}

static pea_err hear_end(pea_pipe *p, pea_event *event)
{
    if ((p->heard & PEA__END) != 0)
        return protocol_error(p, "a second END");
    if (p->flow->carry.len > 0)
        return protocol_error(p, "an END in the middle of a message");
    p->heard |= PEA__END;
    if (p->half_close) { /* two ENDs are no end: somebody says CLOSE */
        *event = (pea_event){.type = PEA_EVENT_END};
        return PEA_OK;
    }
    return pea__pipe_end(p, &(pea_reason){.origin = PEA_BY_PEER, .err = PEA_OK}, true);
}

static pea_err hear_ping(pea_pipe *p, const uint8_t *data)
{
    memcpy(p->flow->pong, data, sizeof p->flow->pong);
    p->pong_owed = true;
    return PEA_AGAIN;
}

/* A whole known chunk other than DATA. */
static pea_err hear(pea_pipe *p, uint8_t type, const uint8_t *data, size_t len, pea_event *event)
{
    switch (type) {
    case PEA__CHUNK_HELLO:
        return hear_hello(p, data, len);
    case PEA__CHUNK_ACCEPT:
        return hear_accept(p);
    case PEA__CHUNK_REJECT:
    case PEA__CHUNK_CLOSE:
        return hear_farewell(p, type, data, len);
    default:
        break;
    }
    if ((p->heard & PEA__ACCEPT) == 0)
        return protocol_error(p, "a chunk that may follow ACCEPT only");
    switch (type) {
    case PEA__CHUNK_END:
        return hear_end(p, event);
    case PEA__CHUNK_PING:
        return hear_ping(p, data);
    default: /* PONG: we ask for none yet, and one that nobody asked for is ignored */
        return PEA_AGAIN;
    }
}

/* Bytes of payload that known types have. */
static const struct bounds {
    uint32_t least, most;
} bounds[] = {
    [PEA__CHUNK_HELLO] = {0, PEA__CONTROL_MAX},
    [PEA__CHUNK_ACCEPT] = {0, 0},
    [PEA__CHUNK_REJECT] = {2, 2 + PEA_TEXT_MAX},
    [PEA__CHUNK_DATA] = {0, PEA__CHUNK_MAX},
    [PEA__CHUNK_END] = {0, 0},
    [PEA__CHUNK_CLOSE] = {2, 2 + PEA_TEXT_MAX},
    [PEA__CHUNK_PING] = {8, 8},
    [PEA__CHUNK_PONG] = {8, 8},
};

/* A chunk's header says whether it may be here at all, before any of its payload is waited for. */
static pea_err header_check(pea_pipe *p, uint8_t type, size_t len)
{
    if (type == 0)
        return protocol_error(p, "a chunk of the reserved type 0");
    if (type > PEA__CHUNK_PONG && (type & MUST_UNDERSTAND_CHUNK) != 0)
        return protocol_error(p, "a chunk that must be understood and is not known here");
    if (type > PEA__CHUNK_PONG && len > PEA__UNKNOWN_MAX)
        return protocol_error(p, "an unknown chunk of more than 64 KiB");
    if (type <= PEA__CHUNK_PONG && (len < bounds[type].least || len > bounds[type].most))
        return protocol_error(p, "a chunk whose length its type cannot have");
    if (type != PEA__CHUNK_HELLO && (p->heard & PEA__HELLO) == 0)
        return protocol_error(p, "the peer's first chunk is not HELLO");
    if (type == PEA__CHUNK_DATA && (p->heard & PEA__ACCEPT) == 0)
        return protocol_error(p, "DATA before ACCEPT");
    if (type == PEA__CHUNK_DATA && (p->heard & PEA__END) != 0)
        return protocol_error(p, "DATA after END");
    return PEA_OK;
}

pea_err pea__chunk_next(pea_pipe *p, pea_event *event)
{
    pea_buf *plain = pea__pipe_plain(p);
    if (p->skip > 0) {
        size_t n = p->skip < plain->len ? p->skip : plain->len;
        pea_buf_consume(plain, n);
        p->skip -= (uint32_t)n;
        return p->skip > 0 ? PEA_MORE : PEA_AGAIN;
    }
    if (plain->len < PEA__CHUNK_HEADER)
        return PEA_MORE;
    uint8_t type = plain->data[0];
    size_t len = (size_t)pea__get_be(plain->data + 1, 3);
    pea_err err = header_check(p, type, len);
    if (err != PEA_OK)
        return err;
    if (type == PEA__CHUNK_DATA || type > PEA__CHUNK_PONG) {
        pea_buf_consume(plain, PEA__CHUNK_HEADER);
        if (type == PEA__CHUNK_DATA)
            p->left = len;
        else
            p->skip = (uint32_t)len;
        p->chunks_in += type == PEA__CHUNK_DATA;
        return PEA_AGAIN;
    }
    if (plain->len < PEA__CHUNK_HEADER + len)
        return PEA_MORE;
    const uint8_t *payload = plain->data + PEA__CHUNK_HEADER;
    pea_buf_consume(plain, PEA__CHUNK_HEADER + len);
    return hear(p, type, payload, len, event);
}
