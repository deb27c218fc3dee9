/* SPDX-License-Identifier: MIT */
/* The rules of the greeting and the channel, one line each: what a peer says that was written by hand, what our
 * application hears of it, and what we answer. docs/wire.md has the rules; its sections stand beside the cases.
 * support/script.h has the words. Each line runs in one read, byte by byte, and cut in two everywhere. */
#include <stdio.h>

#include "support/check.h"
#include "support/faults.h"
#include "support/script.h"

static const uint8_t network[PEA_NETWORK_BYTES] = "a network of tests";

enum { HALF_CLOSE = 1, NAMED = 2, ONE_READ = 4 /* how reads fall changes what is right */ };

typedef struct rule {
    const char *name;
    pea_side side; /* ours */
    unsigned flags;
    const char *peer;   /* what it says */
    const char *events; /* what our application hears */
    const char *said;   /* what we say */
} rule;

#define R PEA_RESPONDER
#define I PEA_INITIATOR
#define PROTO_READING "closed PEA_E_PROTO reading 0008"
#define PROTO_HELLO "closed PEA_E_PROTO handshake 0008"
#define VERSION "closed PEA_E_NETWORK handshake 800b"
#define STRANGER "closed PEA_E_NETWORK handshake 0000"
#define CUT "closed PEA_E_TRUNCATED reading 0000"
#define CUT_EARLY "closed PEA_E_TRUNCATED peer 0000"
#define DATA_X "[04 00000001 'x' ] "

static const rule rules[] = {
    /* Section 2: the greeting. */
    {"greeting: a good one", R, 0, "G", "", "G "},
    {"greeting: byte 0", R, 0, "16", STRANGER, "."},
    {"greeting: byte 0 of HTTP", R, 0, "'GET / HTTP/1.1'", STRANGER, "."},
    {"greeting: byte 6", R, 0, "F1 'peapoD'", STRANGER, "."},
    {"greeting: version 0", R, 0, "F1 'peapod' 00", STRANGER, "."},
    {"greeting: version 2", R, 0, "F1 'peapod' 02", STRANGER, "."},
    {"greeting: highest below its own", R, 0, "F1 'peapod' 0100", STRANGER, "."},
    {"greeting: another network, first byte", R, 0, "F1 'peapod' 0101 'b'", STRANGER, "."},
    {"greeting: another network, last byte", R, 0, "F1 'peapod' 0101 'a network of tests' 00*12 01", STRANGER, "."},
    {"greeting: wrong, to an initiator", I, 0, "F1 'peapod' 0100", STRANGER, "G ."},
    {"greeting: none", R, 0, "!fin", CUT_EARLY, "."},
    {"greeting: half of one", R, 0, "F1 'pea' !fin", CUT_EARLY, "."},
    {"greeting: a higher version is bound, not acted upon", R, 0, "g h A", "ready ", "G H A "},
    {"greeting: a higher version that HELLO denies", R, 0, "g H A", PROTO_HELLO, "G H R0008 ."},
    {"greeting: a lower version than HELLO has heard of", R, 0, "G h A", PROTO_HELLO, "G H R0008 ."},
    {"greeting: a higher version, to an initiator", I, 0, "g h A", "ready ", "G H A "},

    /* Sections 6 and 7: the opening. */
    {"opening: a good one", R, 0, "G H A", "ready ", "G H A "},
    {"opening: HELLO alone is not answered", R, 0, "G H", "", "G "},
    {"opening: an initiator speaks after the greeting", I, 0, "G", "", "G H A "},
    {"opening: an initiator is READY after ACCEPT", I, 0, "G H A", "ready ", "G H A "},
    {"opening: an initiator waits for ACCEPT", I, 0, "G H", "", "G H A "},
    {"opening: DATA with ACCEPT", I, 0, "G H A " DATA_X, "ready m1:x ", "G H A "},
    {"opening: DATA with ACCEPT, to a responder", R, 0, "G H A " DATA_X, "ready m1:x ", "G H A "},
    {"opening: cut", R, 0, "G H !fin", CUT_EARLY, "G ."},
    {"opening: cut within HELLO", R, 0, "G 01000010 V !fin", CUT_EARLY, "G ."},
    {"opening: cut, to an initiator", I, 0, "G H !fin", CUT_EARLY, "G H A ."},
    {"HELLO: second", R, 0, "G H H", PROTO_READING, "G H R0008 ."},
    {"HELLO: after ACCEPT", R, 0, "G H A H", "ready " PROTO_READING, "G H A C0008 ."},
    {"HELLO: to an initiator, second", I, 0, "G H H", PROTO_READING, "G H A C0008 ."},
    {"HELLO: a bad one, to an initiator", I, 0, "G [01 V N ]", PROTO_HELLO, "G H A C0008 ."},
    {"HELLO: empty", R, 0, "G [01 ]", PROTO_HELLO, "G H R0008 ."},
    {"HELLO: no version", R, 0, "G [01 N T ]", PROTO_HELLO, "G H R0008 ."},
    {"HELLO: no network", R, 0, "G [01 V T ]", PROTO_HELLO, "G H R0008 ."},
    {"HELLO: no transcript", R, 0, "G [01 V N ]", PROTO_HELLO, "G H R0008 ."},
    {"HELLO: out of order", R, 0, "G [01 N V T ]", PROTO_HELLO, "G H R0008 ."},
    {"HELLO: a TLV twice", R, 0, "G [01 V V N T ]", PROTO_HELLO, "G H R0008 ."},
    {"HELLO: TLV 0", R, 0, "G [01 {0000 } V N T ]", PROTO_HELLO, "G H R0008 ."},
    {"HELLO: a TLV beyond the end", R, 0, "G [01 V N T 0007000100 0008000200 ]", PROTO_HELLO, "G H R0008 ."},
    {"HELLO: half a TLV's head", R, 0, "G [01 V N T 000700 ]", PROTO_HELLO, "G H R0008 ."},
    {"HELLO: version 2", R, 0, "G [01 {0001 02 } N T ]", VERSION, "G H R800b ."},
    {"HELLO: version 2, and all else new", R, 0, "G [01 {0001 02 } {0002 'short' } {8009 01 } ]", VERSION,
     "G H R800b ."},
    {"HELLO: a version of two bytes", R, 0, "G [01 {0001 0001 } N T ]", PROTO_HELLO, "G H R0008 ."},
    {"HELLO: another network", R, 0, "G [01 V {0002 00*31 } T ]", "closed PEA_E_NETWORK handshake 800c", "G H R800c ."},
    {"HELLO: another network, to an initiator", I, 0, "G [01 V {0002 00*31 } T ]",
     "closed PEA_E_NETWORK handshake 800c", "G H A C800c ."},
    {"HELLO: a network of 31 bytes", R, 0, "G [01 V {0002 00*30 } T ]", PROTO_HELLO, "G H R0008 ."},
    {"HELLO: another transcript", R, 0, "G [01 V N {0003 00*81 } ]", PROTO_HELLO, "G H R0008 ."},
    {"HELLO: a transcript that goes on", R, 0, "G [01 V N {0003 F1 'peapod' 0101 00*31 F1 'peapod' 0101 00*35 } ]",
     PROTO_HELLO, "G H R0008 ."},
    {"HELLO: an empty transcript", R, 0, "G [01 V N {0003 } ]", PROTO_HELLO, "G H R0008 ."},
    {"HELLO: an unknown TLV", R, 0, "G [01 V N T {0008 'what is this' } ] A", "ready ", "G H A "},
    {"HELLO: an unknown TLV of the highest number", R, 0, "G [01 V N T {7FFF } ] A", "ready ", "G H A "},
    {"HELLO: an unknown TLV that must be understood", R, 0, "G [01 V N T {8007 } ]", VERSION, "G H R800b ."},
    {"HELLO: another network, before what must be understood", R, 0, "G [01 V {0002 00*31 } T {8007 } ]",
     "closed PEA_E_NETWORK handshake 800c", "G H R800c ."},
    {"HELLO: another transcript, before what must be understood", R, 0, "G [01 V N {0003 } {8007 } ]", PROTO_HELLO,
     "G H R0008 ."},
    {"HELLO: must be understood, to an initiator", I, 0, "G [01 V N T {8007 } ]", VERSION, "G H A C800b ."},
    {"HELLO: it replaces another connection", R, 0, "G [01 V N T {0007 } ] A", "ready ", "G H A "},
    {"HELLO: a responder replaces nothing", I, 0, "G [01 V N T {0007 } ] A", "ready ", "G H A "},
    {"HELLO: it replaces, with a byte too many", R, 0, "G [01 V N T {0007 00 } ]", PROTO_HELLO, "G H R0008 ."},
    {"HELLO: 4,096 bytes", R, 0, "G [01 V N T {0008 00*3964 } ] A", "ready ", "G H A "},
    {"HELLO: claims 4,097 bytes", R, 0, "G 01001001", PROTO_READING, "G H R0008 ."},
    {"HELLO: an application that we do not name", R, 0, "G [01 V N T {0004 'other' } ] A", "ready ", "G H A "},
    {"HELLO: our application", R, NAMED, "G [01 V N T {0004 'tests' } ] A", "ready ", "G H A "},
    {"HELLO: our application, unnamed by the peer", R, NAMED, "G H A", "ready ", "G H A "},
    {"HELLO: another application", R, NAMED, "G [01 V N T {0004 'other' } ]", VERSION, "G H R800b ."},
    {"HELLO: an application that begins as ours", R, NAMED, "G [01 V N T {0004 'testsuite' } ]", VERSION,
     "G H R800b ."},
    {"HELLO: an application without a name", R, 0, "G [01 V N T {0004 } ]", PROTO_HELLO, "G H R0008 ."},
    {"HELLO: an application of 255 bytes", R, 0, "G [01 V N T {0004 'a' *254 } ] A", "ready ", "G H A "},
    {"HELLO: an application of 256 bytes", R, 0, "G [01 V N T {0004 'a' *255 } ]", PROTO_HELLO, "G H R0008 ."},
    {"HELLO: an application that is not UTF-8", R, 0, "G [01 V N T {0004 C3 } ]", PROTO_HELLO, "G H R0008 ."},
    {"HELLO: versions that touch ours at the top", R, NAMED, "G [01 V N T {0005 00000005 0000000A } ] A", "ready ",
     "G H A "},
    {"HELLO: versions that touch ours at the bottom", R, NAMED, "G [01 V N T {0005 00000001 00000002 } ] A", "ready ",
     "G H A "},
    {"HELLO: versions above ours", R, NAMED, "G [01 V N T {0005 00000006 0000000A } ]", VERSION, "G H R800b ."},
    {"HELLO: versions below ours", R, NAMED, "G [01 V N T {0005 00000000 00000001 } ]", VERSION, "G H R800b ."},
    {"HELLO: versions upside down", R, NAMED, "G [01 V N T {0005 00000004 00000003 } ]", PROTO_HELLO, "G H R0008 ."},
    {"HELLO: versions of 4 bytes", R, NAMED, "G [01 V N T {0005 00000004 } ]", PROTO_HELLO, "G H R0008 ."},
    {"HELLO: capabilities", R, 0, "G [01 V N T {0006 FFFFFFFFFFFFFFFF } ] A", "ready ", "G H A "},
    {"HELLO: capabilities of 7 bytes", R, 0, "G [01 V N T {0006 FFFFFFFFFFFFFF } ]", PROTO_HELLO, "G H R0008 ."},
    {"ACCEPT: before HELLO", R, 0, "G A", PROTO_READING, "G H R0008 ."},
    {"ACCEPT: second", R, 0, "G H A A", "ready " PROTO_READING, "G H A C0008 ."},
    {"ACCEPT: with a payload", R, 0, "G H [02 00 ]", PROTO_READING, "G H R0008 ."},
    {"ACCEPT: claims a payload, found by its header", R, 0, "G H 02000001", PROTO_READING, "G H R0008 ."},
    {"ACCEPT: to an initiator, with a payload", I, 0, "G H [02 00 ]", PROTO_READING, "G H A C0008 ."},
    {"REJECT: in place of ACCEPT", I, 0, "G !flush H [03 8002 'no' ]", "closed PEA_E_REJECTED peer 8002 no", "G H A ."},
    {"REJECT: without a text", I, 0, "G !flush H [03 0004 ]", "closed PEA_E_REJECTED peer 0004 ", "G H A ."},
    {"REJECT: of an application", I, 0, "G !flush H [03 4123 'mine' ]", "closed PEA_E_REJECTED peer 4123 mine",
     "G H A ."},
    {"REJECT: of an initiator", R, 0, "G !flush H [03 0003 'twice' ]", "closed PEA_E_REJECTED peer 0003 twice", "G ."},
    {"REJECT: what follows is discarded", I, 0, "G !flush H [03 8002 'no' ] " DATA_X "FF*40",
     "closed PEA_E_REJECTED peer 8002 no", "G H A ."},
    {"REJECT: before HELLO", I, 0, "G [03 8002 'no' ]", PROTO_READING, "G H A C0008 ."},
    {"REJECT: after ACCEPT", I, 0, "G H A [03 8002 'no' ]", "ready " PROTO_READING, "G H A C0008 ."},
    {"REJECT: without a code", I, 0, "G H [03 80 ]", PROTO_READING, "G H A C0008 ."},
    {"REJECT: of code NORMAL is still a refusal", I, 0, "G !flush H [03 0000 ]", "closed PEA_E_REJECTED peer 0000",
     "G H A ."},
    {"CLOSE: in place of ACCEPT", I, 0, "G H [06 0000 ]", PROTO_READING, "G H A C0008 ."},
    {"DATA: before HELLO", R, 0, "G " DATA_X, PROTO_READING, "G H R0008 ."},
    {"DATA: before ACCEPT", R, 0, "G H " DATA_X, PROTO_READING, "G H R0008 ."},
    {"DATA: before ACCEPT, to an initiator", I, 0, "G H " DATA_X, PROTO_READING, "G H A C0008 ."},
    {"END: before ACCEPT", R, 0, "G H [05 ]", PROTO_READING, "G H R0008 ."},
    {"PING: before ACCEPT", R, 0, "G H [07 00*7 ]", PROTO_READING, "G H R0008 ."},
    {"PONG: before ACCEPT", R, 0, "G H [08 00*7 ]", PROTO_READING, "G H R0008 ."},

    /* Sections 5 and 8: chunks. */
    {"type 0", R, 0, "G H A 00000000", "ready " PROTO_READING, "G H A C0008 ."},
    {"type 0: before HELLO", R, 0, "G 00000000", PROTO_READING, "G H R0008 ."},
    {"unknown type: skipped", R, 0, "G H A [09 'skip me' ] " DATA_X, "ready m1:x ", "G H A "},
    {"unknown type: 127, empty", R, 0, "G H A [7F ] " DATA_X, "ready m1:x ", "G H A "},
    {"unknown type: between HELLO and ACCEPT", R, 0, "G H [20 'skip me' ] A", "ready ", "G H A "},
    {"unknown type: before HELLO", R, 0, "G [20 'skip me' ] H A", PROTO_READING, "G H R0008 ."},
    {"unknown type: 65,536 bytes", R, ONE_READ, "G H A [30 00*65535 ] " DATA_X, "ready m1:x ", "G H A "},
    {"unknown type: claims 65,537 bytes", R, 0, "G H A 30010001", "ready " PROTO_READING, "G H A C0008 ."},
    {"unknown type: cut", R, 0, "G H A 30000005 'abc' !fin", "ready " CUT, "G H A ."},
    {"unknown type: after END", R, HALF_CLOSE, "G H A [05 ] [30 'skip me' ]", "ready end ", "G H A "},
    {"must be understood: 128", R, 0, "G H A 80000000", "ready " PROTO_READING, "G H A C0008 ."},
    {"must be understood: 255, before its payload", R, 0, "G H A FF000005", "ready " PROTO_READING, "G H A C0008 ."},
    {"too long: PING", R, 0, "G H A 07000009", "ready " PROTO_READING, "G H A C0008 ."},
    {"too long: PONG", R, 0, "G H A 08001001", "ready " PROTO_READING, "G H A C0008 ."},
    {"too long: END", R, 0, "G H A 05000001", "ready " PROTO_READING, "G H A C0008 ."},
    {"too long: CLOSE", R, 0, "G H A 06000103", "ready " PROTO_READING, "G H A C0008 ."},
    {"too short: CLOSE", R, 0, "G H A 06000001", "ready " PROTO_READING, "G H A C0008 ."},
    {"too long: REJECT", I, 0, "G H 03000103", PROTO_READING, "G H A C0008 ."},
    {"DATA: no bytes", R, 0, "G H A 04000000 04000000 " DATA_X, "ready m1:x ", "G H A "},
    {"DATA: an empty message", R, 0, "G H A [04 00000000 ]", "ready m0: ", "G H A "},
    {"DATA: two messages and a half in one, the rest in another", R, 0,
     "G H A [04 00000001 'a' 00000002 'bc' 000000 ] [04 03 'de' ] [04 'f' ]", "ready m1:a m2:bc m3:def ", "G H A "},
    {"DATA: a message in four chunks with others between", R, 0,
     "G H A [04 00 ] [09 'x' ] [04 0000 ] [04 ] [04 04 'a' ] [08 00*7 ] [04 'bcd' ] " DATA_X, "ready m4:abcd m1:x ",
     "G H A "},
    {"DATA: handed on before the chunk is whole", R, 0, "G H A 04FFFFFF 00000001 'x' 0000", "ready m1:x ", "G H A "},
    {"DATA: a message that is too big", R, 0, "G H A [04 00800001 ]", "ready closed PEA_E_TOO_BIG reading 0009",
     "G H A C0009 ."},
    {"DATA: too big, in pieces", R, 0, "G H A [04 0080 ] [04 0001 ]", "ready closed PEA_E_TOO_BIG reading 0009",
     "G H A C0009 ."},
    {"DATA: good ones before a bad one count", R, 0, "G H A [04 00000001 'x' FFFFFFFF ]",
     "ready m1:x closed PEA_E_TOO_BIG reading 0009", "G H A C0009 ."},
    {"DATA: cut", R, 0, "G H A " DATA_X "!fin", "ready m1:x " CUT, "G H A ."},
    {"DATA: cut within a message", R, 0, "G H A 04000005 00000001 !fin", "ready " CUT, "G H A ."},
    {"END: ends both directions", R, 0, "G H A [05 ]", "ready closed PEA_OK peer 0000", "G H A C0000 ."},
    {"END: what we have queued goes first", R, 0, "G H A !hold !send [05 ] !flush", "ready closed PEA_OK peer 0000",
     "G H A D000000026869 C0000 ."},
    {"END: after a message", R, 0, "G H A " DATA_X "[05 ]", "ready m1:x closed PEA_OK peer 0000", "G H A C0000 ."},
    {"END: half-close", R, HALF_CLOSE, "G H A [05 ] !send", "ready end ", "G H A D000000026869 "},
    {"END: half-close, then ours too; two ENDs are no end", R, HALF_CLOSE, "G H A [05 ] !send !end", "ready end ",
     "G H A D000000026869 E "},
    {"END: both, then CLOSE", R, HALF_CLOSE, "G H A !flush [05 ] !end [06 0000 ]", "ready end closed PEA_OK peer 0000",
     "G H A E ."},
    {"END: half-close, then FIN without CLOSE", R, HALF_CLOSE, "G H A [05 ] !fin", "ready end " CUT, "G H A ."},
    {"END: ours, then the peer's goes on", R, HALF_CLOSE, "G H A !end " DATA_X, "ready m1:x ", "G H A E "},
    {"END: ours, though the peer ends both; it answers CLOSE", R, 0, "G H A !end " DATA_X "[06 0000 ]",
     "ready m1:x closed PEA_OK peer 0000", "G H A E ."},
    {"END: second", R, HALF_CLOSE, "G H A [05 ] [05 ]", "ready end " PROTO_READING, "G H A C0008 ."},
    {"END: DATA after it", R, HALF_CLOSE, "G H A [05 ] " DATA_X, "ready end " PROTO_READING, "G H A C0008 ."},
    {"END: DATA of no bytes after it", R, HALF_CLOSE, "G H A [05 ] 04000000", "ready end " PROTO_READING,
     "G H A C0008 ."},
    {"END: PING after it", R, HALF_CLOSE, "G H A [05 ] [07 'pingpong' ]", "ready end ", "G H A Q70696e67706f6e67 "},
    {"END: within a message", R, HALF_CLOSE, "G H A [04 00000002 'x' ] [05 ]", "ready " PROTO_READING, "G H A C0008 ."},
    {"END: within a length", R, HALF_CLOSE, "G H A [04 00 ] [05 ]", "ready " PROTO_READING, "G H A C0008 ."},
    {"PING: answered", R, 0, "G H A [07 'pingpong' ]", "ready ", "G H A Q70696e67706f6e67 "},
    {"PING: two are two while we are heard", R, 0, "G H A [07 'pingpong' ] !flush [07 'PINGPONG' ]", "ready ",
     "G H A Q70696e67706f6e67 Q50494e47504f4e47 "},
    {"PING: the last replaces those before", R, ONE_READ, "G H A [07 'pingpong' ] [07 'PINGPONG' ]", "ready ",
     "G H A Q50494e47504f4e47 "},
    {"PING: at most one PONG is owed", R, 0, "G H A !hold [07 'pingpong' ] [07 00*7 ] [07 'PINGPONG' ] !flush",
     "ready ", "G H A Q50494e47504f4e47 "},
    {"PING: to an initiator", I, 0, "G H A [07 'pingpong' ]", "ready ", "G H A Q70696e67706f6e67 "},
    {"PONG: that nobody asked for", R, 0, "G H A [08 'pingpong' ] " DATA_X, "ready m1:x ", "G H A "},

    /* Section 10: the end. */
    {"CLOSE: NORMAL", R, 0, "G H A !flush [06 0000 'bye' ]", "ready closed PEA_OK peer 0000 bye", "G H A ."},
    {"CLOSE: SHUTDOWN", I, 0, "G H A !flush [06 0001 'later' ]", "ready closed PEA_OK peer 0001 later", "G H A ."},
    {"CLOSE: an error", R, 0, "G H A !flush [06 8005 'revoked' ]", "ready closed PEA_E_CLOSED peer 8005 revoked",
     "G H A ."},
    {"CLOSE: of an application", R, 0, "G H A !flush [06 7FFF ]", "ready closed PEA_E_CLOSED peer 7fff ", "G H A ."},
    {"CLOSE: a code without a name", R, 0, "G H A !flush [06 3000 ]", "ready closed PEA_E_CLOSED peer 3000 ",
     "G H A ."},
    {"CLOSE: messages before it count", R, 0, "G H A !flush " DATA_X "[06 0000 ]", "ready m1:x closed PEA_OK peer 0000",
     "G H A ."},
    {"CLOSE: what follows is discarded, unchecked", R, 0, "G H A !flush [06 0000 ] " DATA_X "FF*99",
     "ready closed PEA_OK peer 0000", "G H A ."},
    {"CLOSE: what we had queued is dropped", R, 0, "G H A !hold !send [06 0000 ] !flush",
     "ready closed PEA_OK peer 0000", "G H A ."},
    {"CLOSE: a message that was unfinished is told of", R, 0, "G H A !flush [04 00000002 'x' ] [06 0000 ]",
     "ready closed PEA_E_TRUNCATED peer 0000", "G H A ."},
    {"CLOSE: 256 bytes of text", R, ONE_READ, "G H A !flush [06 0000 'a' *255 ]", NULL, "G H A ."},
    {"CLOSE: 257 bytes of text", R, 0, "G H A [06 0000 'a' *256 ]", "ready " PROTO_READING, "G H A C0008 ."},
    {"CLOSE: umlauts", R, 0, "G H A !flush [06 0000 C3A4 E282AC F09F998F ]",
     "ready closed PEA_OK peer 0000 \xC3\xA4\xE2\x82\xAC\xF0\x9F\x99\x8F", "G H A ."},
    {"CLOSE: an overlong text", R, 0, "G H A [06 0000 C0AF ]", "ready " PROTO_READING, "G H A C0008 ."},
    {"CLOSE: an overlong text of 3 bytes", R, 0, "G H A [06 0000 E080AF ]", "ready " PROTO_READING, "G H A C0008 ."},
    {"CLOSE: a surrogate", R, 0, "G H A [06 0000 EDA080 ]", "ready " PROTO_READING, "G H A C0008 ."},
    {"CLOSE: beyond U+10FFFF", R, 0, "G H A [06 0000 F4908080 ]", "ready " PROTO_READING, "G H A C0008 ."},
    {"CLOSE: a text cut within a character", R, 0, "G H A [06 0000 E282 ]", "ready " PROTO_READING, "G H A C0008 ."},
    {"CLOSE: a stray byte", R, 0, "G H A [06 0000 80 ]", "ready " PROTO_READING, "G H A C0008 ."},
    {"our CLOSE", R, 0, "G H A !send !close", "ready closed PEA_OK user 0000", "G H A D000000026869 C0000 ."},
    {"our CLOSE: what comes is discarded", R, 0, "G H A !close " DATA_X "FF*99", "ready closed PEA_OK user 0000",
     "G H A C0000 ."},
    {"our CLOSE: two cross", R, 0, "G H A !flush !close [06 8005 'revoked' ]", "ready closed PEA_OK user 0000",
     "G H A C0000 ."},
    {"our CLOSE: after END", R, 0, "G H A !end !close", "ready closed PEA_OK user 0000", "G H A E C0000 ."},
    {"our CLOSE: before the opening, by a responder", R, 0, "G !close", "closed PEA_OK user 0000", "G H R0000 ."},
    {"our CLOSE: before the opening, by an initiator", I, 0, "G !close", "closed PEA_OK user 0000", "G H A C0000 ."},
    {"our CLOSE: before the greeting", I, 0, "!close", "closed PEA_OK user 0000", "G ."},
    {"our CLOSE: before the greeting, by a responder", R, 0, "!close", "closed PEA_OK user 0000", "."},
    {"FIN after READY", R, 0, "G H A !fin", "ready " CUT, "G H A ."},
    {"FIN within a chunk's head", R, 0, "G H A 0400 !fin", "ready " CUT, "G H A ."},
};

static void run_once(const rule *r, size_t number, script_cut cut, size_t at, size_t *bytes)
{
    pea_chain *chain;
    script_run run = {.side = r->side, .network = network, .cut = cut, .at = at};
    size_t blocks = faults_blocks();
    bool named = (r->flags & NAMED) != 0;
    check_ok(pea_chain_new(&chain,
                           PEA_CHAIN(.network = network, .application = named ? "tests" : NULL,
                                     .application_lowest = named ? 2 : 0, .application_highest = named ? 5 : 0),
                           NULL));
    check_ok(pea_chain_plain(chain));
    check_ok(
        pea_pipe_new(&run.pipe, chain, PEA_PIPE(.side = r->side, .half_close = (r->flags & HALF_CLOSE) != 0), NULL));
    script_play(&run, r->peer);
    bool right = (r->events == NULL || strcmp(run.events, r->events) == 0) && strcmp(run.said, r->said) == 0;
    if (!right)
        print_error("%zu: %s (cut %d at %zu)\n  events  %s\n  wanted  %s\n  said    %s\n  wanted  %s\n", number,
                    r->name, cut, at, run.events, r->events, run.said, r->said);
    assert_true(right);
    *bytes = run.bytes;
    pea_pipe_free(run.pipe);
    pea_chain_unref(chain);
    assert_int_equal(faults_blocks(), blocks);
}

static void run_rule(void **state)
{
    const rule *r = *state;
    size_t number = (size_t)(r - rules) + 1, bytes = 0;
    run_once(r, number, SCRIPT_WHOLE, 0, &bytes);
    if ((r->flags & ONE_READ) != 0)
        return;
    run_once(r, number, SCRIPT_BYTES, 0, &bytes);
    for (size_t at = 1; at < bytes; at++) {
        size_t again;
        run_once(r, number, SCRIPT_AT, at, &again);
    }
}

#define N_RULES (sizeof rules / sizeof rules[0])

int main(void)
{
    static struct CMUnitTest tests[N_RULES];
    static char names[N_RULES][96];
    faults_install();
    for (size_t i = 0; i < N_RULES; i++) {
        union {
            const rule *in;
            void *out;
        } state = {.in = &rules[i]};
        snprintf(names[i], sizeof names[i], "%zu. %s", i + 1, rules[i].name);
        tests[i] = (struct CMUnitTest){.name = names[i], .test_func = run_rule, .initial_state = state.out};
    }
    return _cmocka_run_group_tests("channel rules", tests, N_RULES, NULL, NULL);
}
