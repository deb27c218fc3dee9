/* SPDX-License-Identifier: MIT */
/* Handshake patterns as a table (Noise sections 7, 9, 10 and 18), and what follows from a row: the tokens of each
 * message, the keys that a side must have, and what its peer proves by which message. A pattern is data: no code here
 * knows what XX means. */
#include <string.h>

#include "noise_priv.h"

enum { E = PEA__E, S = PEA__S, EE = PEA__EE, ES = PEA__ES, SE = PEA__SE, SS = PEA__SS };

/* Whose static key the other side knows before the first message. */
enum { NONE = 0, I = 1u << PEA_INITIATOR, R = 1u << PEA_RESPONDER, BOTH = I | R };

/* clang-format off */
static const pea__pattern patterns[] = {
    /* name  known  -> initiator         <- responder          ->               <-    */
    /* One way: section 7.4 */
    {"N",    R,    {{E, ES}}},
    {"K",    BOTH, {{E, ES, SS}}},
    {"X",    R,    {{E, ES, S, SS}}},
    /* Interactive: section 7.5 */
    {"NN",   NONE, {{E},             {E, EE}}},
    {"NK",   R,    {{E, ES},         {E, EE}}},
    {"NX",   NONE, {{E},             {E, EE, S, ES}}},
    {"KN",   I,    {{E},             {E, EE, SE}}},
    {"KK",   BOTH, {{E, ES, SS},     {E, EE, SE}}},
    {"KX",   I,    {{E},             {E, EE, SE, S, ES}}},
    {"XN",   NONE, {{E},             {E, EE},             {S, SE}}},
    {"XK",   R,    {{E, ES},         {E, EE},             {S, SE}}},
    {"XX",   NONE, {{E},             {E, EE, S, ES},      {S, SE}}},
    {"IN",   NONE, {{E, S},          {E, EE, SE}}},
    {"IK",   R,    {{E, ES, S, SS},  {E, EE, SE}}},
    {"IX",   NONE, {{E, S},          {E, EE, SE, S, ES}}},
    /* Interactive, deferred: section 18.1 */
    {"NK1",  R,    {{E},             {E, EE, ES}}},
    {"NX1",  NONE, {{E},             {E, EE, S},          {ES}}},
    {"X1N",  NONE, {{E},             {E, EE},             {S},             {SE}}},
    {"X1K",  R,    {{E, ES},         {E, EE},             {S},             {SE}}},
    {"XK1",  R,    {{E},             {E, EE, ES},         {S, SE}}},
    {"X1K1", R,    {{E},             {E, EE, ES},         {S},             {SE}}},
    {"X1X",  NONE, {{E},             {E, EE, S, ES},      {S},             {SE}}},
    {"XX1",  NONE, {{E},             {E, EE, S},          {ES, S, SE}}},
    {"X1X1", NONE, {{E},             {E, EE, S},          {ES, S},         {SE}}},
    {"K1N",  I,    {{E},             {E, EE},             {SE}}},
    {"K1K",  BOTH, {{E, ES},         {E, EE},             {SE}}},
    {"KK1",  BOTH, {{E},             {E, EE, SE, ES}}},
    {"K1K1", BOTH, {{E},             {E, EE, ES},         {SE}}},
    {"K1X",  I,    {{E},             {E, EE, S, ES},      {SE}}},
    {"KX1",  I,    {{E},             {E, EE, SE, S},      {ES}}},
    {"K1X1", I,    {{E},             {E, EE, S},          {SE, ES}}},
    {"I1N",  NONE, {{E, S},          {E, EE},             {SE}}},
    {"I1K",  R,    {{E, ES, S},      {E, EE},             {SE}}},
    {"IK1",  R,    {{E, S},          {E, EE, SE, ES}}},
    {"I1K1", R,    {{E, S},          {E, EE, ES},         {SE}}},
    {"I1X",  NONE, {{E, S},          {E, EE, S, ES},      {SE}}},
    {"IX1",  NONE, {{E, S},          {E, EE, SE, S},      {ES}}},
    {"I1X1", NONE, {{E, S},          {E, EE, S},          {SE, ES}}},
};
/* clang-format on */

const pea__pattern *pea__pattern_find(pea_span name)
{
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++)
        if (strlen(patterns[i].name) == name.len && memcmp(patterns[i].name, name.data, name.len) == 0)
            return &patterns[i];
    return NULL;
}

/* ---- Messages ---- */

/* The row of a message: with fallback the first one has become a pre-message. NULL: past the last. */
static const uint8_t *row_of(const pea__protocol *protocol, unsigned message)
{
    unsigned row = message + (protocol->fallback ? 1 : 0);
    if (row >= PEA__PATTERN_MESSAGES || protocol->pattern->messages[row][0] == PEA__NO_TOKEN)
        return NULL;
    return protocol->pattern->messages[row];
}

unsigned pea__protocol_messages(const pea__protocol *protocol)
{
    unsigned n = 0;
    while (row_of(protocol, n) != NULL)
        n++;
    return n;
}

/* Where `hfs` adds tokens: its public key goes behind the first Diffie-Hellman of the first message, which encrypts it,
 * or else behind `e`; its ciphertext behind `ee`. (The table of that extension has KK and IN otherwise than its text,
 * which we and others follow.) */
static pea__token added_behind(const uint8_t *row, size_t i, unsigned message)
{
    if (row[i] == EE)
        return PEA__EKEM1;
    if (message > 0)
        return PEA__NO_TOKEN;
    size_t at = 0; /* the first Diffie-Hellman, or how many tokens there are */
    while (at < PEA__PATTERN_TOKENS && row[at] != PEA__NO_TOKEN && (row[at] < EE || row[at] > SS))
        at++;
    bool encrypted = at < PEA__PATTERN_TOKENS && row[at] != PEA__NO_TOKEN;
    return (encrypted ? i == at : row[i] == E) ? PEA__E1 : PEA__NO_TOKEN;
}

size_t pea__protocol_tokens(const pea__protocol *protocol, unsigned message, pea__token tokens[PEA__TOKENS_MAX])
{
    const uint8_t *row = row_of(protocol, message);
    size_t n = 0;
    if (row == NULL)
        return 0;
    if (message == 0 && (protocol->psks & PEA__PSK_AT(0)) != 0)
        tokens[n++] = PEA__PSK; /* psk0 goes before the first message's tokens */
    for (size_t i = 0; i < PEA__PATTERN_TOKENS && row[i] != PEA__NO_TOKEN; i++) {
        tokens[n++] = (pea__token)row[i];
        pea__token added = protocol->hfs ? added_behind(row, i, message) : PEA__NO_TOKEN;
        if (added != PEA__NO_TOKEN)
            tokens[n++] = added;
    }
    if ((protocol->psks & PEA__PSK_AT(message + 1)) != 0)
        tokens[n++] = PEA__PSK; /* psk1 and up go behind those of the first message and up */
    return n;
}

/* ---- What follows from them ---- */

bool pea__protocol_one_way(const pea__protocol *protocol)
{
    return !protocol->fallback && pea__protocol_messages(protocol) == 1;
}

pea_side pea__protocol_party(const pea__protocol *protocol, pea_side side)
{
    return (side == PEA_INITIATOR) != protocol->fallback ? PEA_INITIATOR : PEA_RESPONDER;
}

/* Whether a message of this side has the token. */
static bool says(const pea__protocol *protocol, pea_side side, uint8_t token)
{
    const uint8_t *row;
    for (unsigned message = (unsigned)side; (row = row_of(protocol, message)) != NULL; message += 2)
        if (memchr(row, token, PEA__PATTERN_TOKENS) != NULL)
            return true;
    return false;
}

bool pea__protocol_knows(const pea__protocol *protocol, pea_side side)
{
    pea_side peer = side == PEA_INITIATOR ? PEA_RESPONDER : PEA_INITIATOR;
    return (protocol->pattern->known & 1u << pea__protocol_party(protocol, peer)) != 0;
}

bool pea__protocol_needs_static(const pea__protocol *protocol, pea_side side)
{
    return (protocol->pattern->known & 1u << pea__protocol_party(protocol, side)) != 0 || says(protocol, side, S);
}

unsigned pea__protocol_proof(const pea__protocol *protocol, pea_side side)
{
    uint8_t proof = pea__protocol_party(protocol, side) == PEA_INITIATOR ? SE : ES;
    const uint8_t *row;
    if (pea__protocol_one_way(protocol)) /* one says nothing more, and the other one nothing at all */
        return PEA__NO_PROOF;
    for (unsigned message = 0; (row = row_of(protocol, message)) != NULL; message++)
        if (memchr(row, proof, PEA__PATTERN_TOKENS) != NULL) /* what this side says under it, now or next */
            return message % 2 == (unsigned)side ? message : message + 1;
    return PEA__NO_PROOF;
}
