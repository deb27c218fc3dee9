/* SPDX-License-Identifier: MIT */
/* A raw peer of native mode, written as text: what it says byte by byte, and what the pipe under test answered, as text
 * again. Tables of cases read so.
 *
 *   hex digits   bytes                          'text'      bytes of ASCII
 *   [TT ... ]    a chunk of type TT             {TTTT ... } a TLV
 *   *N           N more of the last byte        G g         a good greeting; one whose highest version is 2
 *   V N T t      TLVs 1, 2, 3; 3 with g in it   H h         a good HELLO; one for g
 *   A            ACCEPT
 * !send !end !close !fin !flush !hold         acts of the pipe's user: a message "hi", pea_pipe_end(),
 * pea_pipe_close(), the peer's FIN;
 *                                               takes output now; takes none until !flush
 */
#ifndef PEAPOD_TEST_SCRIPT_H
#define PEAPOD_TEST_SCRIPT_H

#include "peapod/pipe.h"

#define SCRIPT_TEXT_MAX 2048

typedef enum script_cut { SCRIPT_WHOLE, SCRIPT_BYTES, SCRIPT_AT } script_cut;

/* How to run one: the pipe's side decides whose greeting comes first in transcripts. */
typedef struct script_run {
    pea_pipe *pipe;
    pea_side side; /* of the pipe under test; the script is its peer */
    const uint8_t *network;
    script_cut cut;
    size_t at;                    /* SCRIPT_AT: no read goes across this byte */
    char events[SCRIPT_TEXT_MAX]; /* "ready m5:hello end closed PEA_E_PROTO reading 0008" */
    char said[SCRIPT_TEXT_MAX];   /* "G H A D00000000 R8002 C0008 E Q1122334455667788 ." : chunks, then '.' for FIN */
    size_t bytes;                 /* that the script said */
    bool closed;
} script_run;

/* Runs the script, then takes what is left of events and output. A pipe that waits for the peer's end gets it. */
void script_play(script_run *run, const char *script);

#endif
