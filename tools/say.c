/* SPDX-License-Identifier: MIT */
/* What the tool says when something is wrong: one line that names what, and says what to do. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tool_priv.h"

#define LINE_MAX_BYTES 2048u /* two paths, and the longest sentence of the library's */

static char running[64];

void tool_name(const char *name)
{
    (void)snprintf(running, sizeof running, "%s", name);
}

static void say(const char *format, va_list arguments) __attribute__((format(printf, 1, 0)));

static void say(const char *format, va_list arguments)
{
    char text[LINE_MAX_BYTES], shown[4 * LINE_MAX_BYTES];
    (void)vsnprintf(text, sizeof text, format, arguments);
    (void)pea_text_escape(text, strlen(text), shown, sizeof shown); /* paths, and what peers say, may be anything */
    (void)fflush(stdout); /* in the order in which it happened, also where both are one file */
    (void)fprintf(stderr, "%s: %s\n", running, shown);
}

void tool_say(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say(format, arguments);
    va_end(arguments);
}

int tool_fail(int status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say(format, arguments);
    va_end(arguments);
    return status;
}

int tool_status(pea_err err)
{
    if (err >= 0)
        return TOOL_OK;
    return err == PEA_E_REJECTED ? TOOL_REJECTED : err == PEA_E_REFUSED ? TOOL_REFUSED : TOOL_FAILED;
}

int tool_fail_why(const char *about, const pea_error *why)
{
    const char *text = why->text[0] != '\0' ? why->text : pea_err_text(why->code);
    int status = tool_status(why->code);
    bool named = about == NULL || strstr(text, about) != NULL; /* many sentences name their file, with its line */
    if (!named && why->line > 0)
        return tool_fail(status, "%s:%u: %s", about, why->line, text);
    return named ? tool_fail(status, "%s", text) : tool_fail(status, "%s: %s", about, text);
}

int tool_fail_reason(const char *about, const pea_reason *reason)
{
    char text[PEA_REASON_TEXT_BYTES];
    (void)pea_reason_format(reason, text);
    return about != NULL ? tool_fail(tool_status(reason->err), "%s: %s", about, text)
                         : tool_fail(tool_status(reason->err), "%s", text);
}

void tool_say_kept_out(const pea_conn_info *who, const pea_reason *reason, bool all)
{
    char addr[PEA_ADDR_TEXT_BYTES], id[PEA_PEER_TEXT_BYTES], text[PEA_REASON_TEXT_BYTES];
    if (reason->err == PEA_E_REFUSED && who->peer.kind != PEA_PEER_NONE)
        tool_say("refused %s, %s: %s", pea_peer_format(&who->peer, id), pea_addr_format(&who->remote, addr),
                 reason->text);
    else if (all)
        tool_say("%s did not get in: %s", pea_addr_format(&who->remote, addr), pea_reason_format(reason, text));
}

int tool_fail_dial(const char *address, const pea_conn_info *who, const pea_reason *reason)
{
    char id[PEA_PEER_TEXT_BYTES];
    if (reason->err == PEA_E_REFUSED && who->peer.kind != PEA_PEER_NONE)
        return tool_fail(TOOL_REFUSED, "%s: we refused the peer: it is %s: %s", address,
                         pea_peer_format(&who->peer, id), reason->text);
    return tool_fail_reason(address, reason);
}

void tool_show_peer(const pea_peer *peer)
{
    char id[PEA_PEER_TEXT_BYTES], fingerprint[PEA_FINGERPRINT_BYTES];
    printf("id %s\n", pea_peer_format(peer, id));
    printf("fingerprint %s\n", pea_peer_fingerprint(peer, fingerprint));
}

void tool_show_root(const pea_root *root)
{
    uint8_t key[PEA_KEY_BYTES];
    char text[PEA_ROOT_TEXT_BYTES];
    pea_root_public(root, key);
    printf("%s\n", pea_root_key_format(key, text));
}

void tool_show_network_key(const uint8_t key[PEA_KEY_BYTES])
{
    char fingerprint[PEA_FINGERPRINT_BYTES];
    pea_peer hash = {.kind = PEA_PEER_OTHER};
    if (pea_network_id(hash.id, key, PEA_KEY_BYTES) == PEA_OK) /* a hash of 32 random bytes: nobody can go back */
        printf("network-key %s\n", pea_peer_fingerprint(&hash, fingerprint));
}
