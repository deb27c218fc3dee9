/* SPDX-License-Identifier: MIT */
/* What the commands of the `peapod` program share. A command is one file, one function and one line in the table of
 * main.c; the process runs one command and ends, so that options are static. */
#ifndef PEAPOD_TOOL_PRIV_H
#define PEAPOD_TOOL_PRIV_H

#include <peapod/peapod.h>
#include <popt.h>
#include <stdbool.h>

/* ---- Exit statuses: the same for every command, and documented in peapod(1) ---- */

typedef enum tool_exit {
    TOOL_OK = 0,
    TOOL_FAILED = 1,   /* a file, the network, a deadline: whatever has no status of its own */
    TOOL_USAGE = 2,    /* wrong use: nothing was done */
    TOOL_REJECTED = 3, /* the peer refused us */
    TOOL_REFUSED = 4   /* we refused the peer, or would */
} tool_exit;

/* ---- Commands ---- */

typedef struct tool_command {
    const char *name;
    const char *summary;               /* a few words for the list of commands */
    int (*run)(int argc, char **argv); /* argv[0]: the command's name as it shall be shown. Returns a tool_exit */
} tool_command;

/* Finds and runs the command that argv[1] names, for commands that have commands of their own; a NULL name ends the
 * table. --help, and whatever is none of them, lists them. */
int tool_dispatch(const tool_command *commands, int argc, char **argv);

int tool_keygen(int argc, char **argv);
int tool_id(int argc, char **argv);
int tool_cert(int argc, char **argv);
int tool_trust(int argc, char **argv);
int tool_probe(int argc, char **argv);
int tool_listen(int argc, char **argv);
int tool_connect(int argc, char **argv);
int tool_forward(int argc, char **argv);
int tool_mesh(int argc, char **argv);

/* ---- Options: options.c ---- */

/* Every option with a text is POPT_ARG_ARGV into one of these, NULL or ended by NULL, so that one that is given twice
 * is seen. One that may be given more than once has `val` TOOL_MANY. */
typedef const char **tool_texts;
#define TOOL_MANY 1

/* The first text, or NULL. */
const char *tool_text(tool_texts texts);

/* What a command is to its options. */
typedef struct tool_usage {
    const char *arguments;            /* behind the options: "FILE..." */
    const char *examples;             /* lines for --help, two blanks before each */
    const struct poptOption *options; /* without --help, which is added */
    int least, most;                  /* arguments; most < 0: any number */
} tool_usage;

/* Reads the options and leaves the arguments. True: go on, with *args ended by NULL (of the program's argv, or popt's;
 * good until tool_options_done()). False: return *status; help was printed, or what is wrong. */
bool tool_options(const tool_usage *usage, int argc, char **argv, const char *const **args, int *status);

/* Frees the texts that tool_options() put behind `options`, and what it keeps. */
void tool_options_done(const struct poptOption *options);

/* ---- What it says: say.c ---- */

/* The command that runs, for error lines; main.c and commands with commands of their own set it. */
void tool_name(const char *name);

/* "peapod keygen: TEXT" to stderr, one line, what a terminal would obey escaped. Returns status. */
int tool_fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same of what is no error. */
void tool_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same of an error of the library's: its sentence, with the line and column where it has them; `about` (a file, an
 * address; may be NULL) is put before it. Returns the status that goes with the code. */
int tool_fail_why(const char *about, const pea_error *why);

/* The same of a connection's end. */
int tool_fail_reason(const char *about, const pea_reason *reason);

/* The same of a dial, and who answered if it was he whom we refused. */
int tool_fail_dial(const char *address, const pea_conn_info *who, const pea_reason *reason);

/* Who came and was refused, and why; `all`: also who did not get as far as being judged. */
void tool_say_kept_out(const pea_conn_info *who, const pea_reason *reason, bool all);

/* The status of an error: TOOL_OK for PEA_OK and statuses, TOOL_REJECTED, TOOL_REFUSED, else TOOL_FAILED. */
int tool_status(pea_err err);

/* Who `what` stands for: an id as text, a file with a key, or one with a certificate. In id.c.
 * TOOL_OK | another status, and the error is printed */
int tool_identify(pea_peer *peer, const char *what);

/* Reads a file of certificates whole, whatever its mode: they are public. False: it cannot be read, or is too long.
 * What turns out to be something else is the caller's to wipe. */
#define TOOL_CERTIFICATE_MAX 131072u
bool tool_read_certificate(const char *file, uint8_t text[TOOL_CERTIFICATE_MAX], size_t *len);

/* "id ..." and "fingerprint ..." to stdout. */
void tool_show_peer(const pea_peer *peer);

/* "root root:...": by which rules name it. */
void tool_show_root(const pea_root *root);

/* "network-key ...": a fingerprint by which persons see that they have the same one. It gives nothing of it away. */
void tool_show_network_key(const uint8_t key[PEA_KEY_BYTES]);

/* ---- Who we are and whom we let in: security.c ---- */

/* What the options of tool_security_options hold; one of them is static for the command that runs. */
typedef struct tool_security_texts {
    tool_texts key, cert, trust, expect, known, network_name, network_key;
    int tls, noise;
} tool_security_texts;

extern tool_security_texts tool_security_said;

/* --key, --cert, --trust, --expect, --known, --network-name, --network-key, --tls, --noise. Include it by
 * TOOL_SECURITY_OPTIONS. */
extern const struct poptOption tool_security_options[];
#define TOOL_SECURITY_OPTIONS                                                                                \
    {                                                                                                        \
        NULL, '\0', POPT_ARG_INCLUDE_TABLE, (void *)(uintptr_t)tool_security_options, 0, "Who is who:", NULL \
    }

/* What they mean. */
typedef struct tool_security {
    pea_identity *identity;
    pea_peer me;
    pea_trust *trust; /* whom --trust and --expect let in */
    pea_peer expect;  /* the one --expect; kind none where there was none, or more than one */
    pea_chain *chain; /* of Noise or TLS, ready for a node */
} tool_security;

/* Loads what was said: the key, the rules, the chain. Whoever dials or listens needs a key, and --trust, --expect or
 * --known: else nobody would be let in, and that is said here. `mode`: of the chain.
 * TOOL_OK | another status, and the error is printed; nothing is to be freed then. */
int tool_security_open(tool_security *security, pea_mode mode);

/* The same without a chain. A stranger needs no key, and without one no rules: identity and trust may then be NULL. */
int tool_security_load(tool_security *security, pea_mode mode, bool stranger);

/* A chain of TLS or Noise with this identity, in the network that the options name. `trust` (may be NULL) has the roots
 * of TLS. TOOL_OK | another status, and the error is printed */
int tool_chain(pea_chain **chain, pea_identity *identity, pea_trust *trust, bool tls, pea_mode mode);

/* Frees it; all zero is allowed. */
void tool_security_close(tool_security *security);

#endif
