/* SPDX-License-Identifier: MIT */
/* A client without a loop: says each line of its input, waits for the answer and prints it.
 *   sync_client ADDR KEYFILE ID            to this id and nobody else; for a key and an id see secure_handshake
 *   sync_client --lines ADDR KEYFILE ID    the same; messages are lines on the wire: embed_libev
 *   sync_client --plain ADDR               lines, and nobody proves anything: embed_libev_before
 * Exit status: 0 an orderly end, 3 the peer refused us, 4 we refused the peer, 5 no answer in time, 2 wrong use,
 * 1 anything else. */
#include <peapod/peapod.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_MS 5000 /* of each step */

static pea_error why;

static int status_of(pea_err err)
{
    return err == PEA_OK || err == PEA_EOF ? 0
           : err == PEA_E_REJECTED         ? 3
           : err == PEA_E_REFUSED          ? 4
           : err == PEA_E_TIMEOUT          ? 5
                                           : 1;
}

static void must(pea_err err, int status)
{
    if (err == PEA_OK)
        return;
    fprintf(stderr, "sync_client: %s\n", why.text[0] != '\0' ? why.text : pea_err_text(err));
    exit(status);
}

/* Both sides prove a key, and we talk to one peer only. */
static void authenticate(pea_chain *chain, const char *keyfile, const char *id, pea_peer *peer)
{
    pea_identity *me;
    must(pea_identity_load(&me, keyfile, &why), 1);
    must(pea_peer_parse(peer, id, &why), 2);
    must(pea_chain_noise(chain, PEA_NOISE(.identity = me), &why), 1);
    pea_identity_unref(me);
}

/* A line there, an answer back. */
static pea_err ask(pea_sync *sync, const char *line, size_t len)
{
    char text[4 * 1024 + 1]; /* an escaped byte takes four characters at most */
    const uint8_t *answer;
    size_t n;
    pea_err err = pea_sync_send(sync, line, len, TIMEOUT_MS);
    if (err == PEA_OK)
        err = pea_sync_receive(sync, &answer, &n, TIMEOUT_MS);
    if (err != PEA_OK)
        return err;
    pea_text_escape((const char *)answer, n < 1024 ? n : 1024, text, sizeof text);
    printf("%s\n", text);
    return PEA_OK;
}

int main(int argc, char **argv)
{
    bool plain = argc == 3 && strcmp(argv[1], "--plain") == 0, lines = argc == 5 && strcmp(argv[1], "--lines") == 0;
    char **args = argv + (plain || lines ? 2 : 1), *line = NULL, text[PEA_REASON_TEXT_BYTES];
    pea_chain *chain;
    pea_codec *codec = NULL; /* the default: a length before each message */
    pea_sync *sync;
    pea_peer peer = {.kind = PEA_PEER_NONE};
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!plain && !lines && argc != 4) {
        fprintf(stderr, "usage: sync_client [--lines] ADDR KEYFILE ID | --plain ADDR\n");
        return 2;
    }
    must(pea_chain_new(&chain, PEA_CHAIN(.mode = plain ? PEA_STREAM : PEA_NATIVE), &why), 1);
    if (plain)
        must(pea_chain_plain(chain), 1);
    else
        authenticate(chain, args[1], args[2], &peer);
    if (plain || lines)
        must(pea_codec_delimiter(&codec, NULL, &why), 1);
    pea_sync_opts *opts =
        PEA_SYNC(.chain = chain, .codec = codec, .expect = plain ? NULL : &peer, .timeout_ms = TIMEOUT_MS);
    pea_err err = pea_sync_connect(&sync, args[0], opts, &why);
    must(err, status_of(err));
    printf("connected %s\n", plain ? "nobody" : pea_peer_format(pea_sync_peer(sync), text));
    size_t room = 0;
    for (ssize_t len; err == PEA_OK && (len = getline(&line, &room, stdin)) > 0;)
        err = ask(sync, line, (size_t)len - (line[len - 1] == '\n'));
    if (pea_sync_reason(sync) != NULL)
        printf("closed: %s\n", pea_reason_format(pea_sync_reason(sync), text));
    else if (err != PEA_OK)
        printf("failed: %s\n", pea_err_text(err));
    pea_err end = pea_sync_close(sync, PEA_CODE_NORMAL, NULL, TIMEOUT_MS);
    free(line);
    pea_codec_unref(codec);
    pea_chain_unref(chain);
    return status_of(err != PEA_OK ? err : end);
}
