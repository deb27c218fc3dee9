/* SPDX-License-Identifier: MIT */
/* `peapod trust`: is a file of rules good, and what would it say of a peer? */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tool_priv.h"

/* ---- trust lint ---- */

static const struct poptOption lint_options[] = {
    POPT_TABLEEND,
};

static const tool_usage lint_usage = {
    .arguments = "FILE...",
    .examples = "  peapod trust lint authorized_peers\n"
                "      authorized_peers: good\n"
                "  peapod trust lint new && mv new authorized_peers     nodes take it within a second\n",
    .options = lint_options,
    .least = 1,
    .most = -1,
};

static void on_found(void *arg, pea_log_level level, const pea_error *what)
{
    const char *file = arg;
    char text[4 * PEA_ERROR_TEXT_BYTES];
    (void)pea_text_escape(what->text, strlen(what->text), text, sizeof text);
    printf("%s", file);
    if (what->line > 0)
        printf(":%u", what->line);
    if (what->column > 0)
        printf(":%u", what->column);
    printf(": %s: %s\n", pea_log_level_name(level), text);
}

static int lint(int argc, char **argv)
{
    const char *const *args;
    int status;
    if (!tool_options(&lint_usage, argc, argv, &args, &status))
        return status;
    for (; *args != NULL; args++) {
        pea_err err = pea_trust_lint(*args, on_found, (void *)(uintptr_t)*args);
        if (err == PEA_OK)
            printf("%s: good\n", *args);
        else
            status = TOOL_FAILED;
    }
    tool_options_done(lint_options);
    return status;
}

/* ---- trust check ---- */

static tool_texts said_from, said_at, said_dialled, said_known;

static const struct poptOption check_options[] = {
    {"from", 'f', POPT_ARG_ARGV, &said_from, 0, "the address that the peer comes from; else it is not known", "ADDR"},
    {"at", 'a', POPT_ARG_ARGV, &said_at, 0, "when, in UTC: 2027-01-01T00:00:00Z, or the day alone; else now", "TIME"},
    {"dialled", 'd', POPT_ARG_ARGV, &said_dialled, 0, "we dial it, by this name or address; else it comes to us",
     "NAME"},
    {"known", '\0', POPT_ARG_ARGV, &said_known, 0, "with --dialled: the file that remembers peers from their first use",
     "FILE"},
    POPT_TABLEEND,
};

static const tool_usage check_usage = {
    .arguments = "FILE PEER",
    .examples = "  peapod trust check authorized_peers noise:3p7b...=      an id\n"
                "  peapod trust check authorized_peers alice.key           whom a key or certificate stands for\n"
                "  peapod trust check rules alice.key --from 10.1.2.3 --at 2027-06-01\n"
                "      refused: the rule that names this peer does not hold at this time\n"
                "      rules:7: noise:3p7b...= name=alice not-after=2027-01-01T00:00:00Z\n",
    .options = check_options,
    .least = 2,
    .most = 2,
};

/* An address with its port, or without. */
static int read_from(pea_addr *from, const char *text)
{
    char with_port[PEA_ADDR_TEXT_BYTES];
    bool bare6 = text[0] != '[' && strchr(text, ':') != NULL && strchr(text, ':') != strrchr(text, ':');
    pea_error why = {.code = PEA_OK};
    int n = snprintf(with_port, sizeof with_port, bare6 ? "[%s]:1" : "%s:1", text);
    if (n > 0 && (size_t)n < sizeof with_port && pea_addr_parse(from, with_port, NULL) == PEA_OK)
        return TOOL_OK;
    if (pea_addr_parse(from, text, &why) == PEA_OK)
        return TOOL_OK;
    return tool_fail(TOOL_USAGE, "--from %s: %s", text, why.text);
}

static int read_at(int64_t *ms, const char *text)
{
    struct tm asked = {.tm_sec = 0}, got;
    int end = 0, n = sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2dZ%n", &asked.tm_year, &asked.tm_mon, &asked.tm_mday,
                            &asked.tm_hour, &asked.tm_min, &asked.tm_sec, &end);
    if (n == 3 && strlen(text) == 10)
        end = 10;
    asked.tm_year -= 1900;
    asked.tm_mon -= 1;
    struct tm copy = asked;
    time_t at = timegm(&copy);
    if ((n != 6 && n != 3) || (size_t)end != strlen(text) || asked.tm_year < 70 || gmtime_r(&at, &got) == NULL ||
        got.tm_mday != asked.tm_mday || got.tm_mon != asked.tm_mon || got.tm_hour != asked.tm_hour ||
        got.tm_min != asked.tm_min || got.tm_sec != asked.tm_sec)
        return tool_fail(TOOL_USAGE, "--at %s: this is no time in UTC as 2027-01-01T00:00:00Z", text);
    *ms = (int64_t)at * 1000;
    return TOOL_OK;
}

/* Who is asked about, and how it comes. */
typedef struct question {
    const char *who;
    pea_trust *trust;
    pea_addr from;
    pea_candidate candidate; /* may point to `from` */
} question;

static int read_candidate(question *q)
{
    const char *at = tool_text(said_at), *where = tool_text(said_from);
    pea_candidate *c = &q->candidate;
    int status = TOOL_OK;
    *c = (pea_candidate){.side = PEA_RESPONDER, .dialled = tool_text(said_dialled)};
    if (c->dialled != NULL)
        c->side = PEA_INITIATOR;
    else if (said_known != NULL)
        return tool_fail(TOOL_USAGE, "--known is for peers that we dial: say --dialled NAME too");
    if (at != NULL)
        status = read_at(&c->wall_ms, at);
    if (status == TOOL_OK && where != NULL) {
        status = read_from(&q->from, where);
        c->from = &q->from;
    }
    return status;
}

static int load(pea_trust **trust, const char *file)
{
    const char *known = tool_text(said_known);
    pea_error why = {.code = PEA_OK};
    if (pea_trust_new(trust) != PEA_OK)
        return tool_fail(TOOL_FAILED, "memory is exhausted");
    if (pea_trust_load(*trust, file, &why) != PEA_OK)
        return tool_fail_why(file, &why);
    if (known != NULL && access(known, F_OK) != 0) /* the library would make it */
        return tool_fail(TOOL_FAILED, "%s: %s", known, strerror(errno));
    if (known != NULL && pea_trust_first_use(*trust, known, &why) != PEA_OK)
        return tool_fail_why(known, &why);
    return TOOL_OK;
}

/* The rule as it is written, behind its file and line. */
static void show_line(const pea_trust_account *account)
{
    FILE *file = account->file != NULL ? fopen(account->file, "re") : NULL;
    char *line = NULL, shown[4096 + 1];
    size_t room = 0;
    ssize_t len = -1;
    uint32_t at = 0;
    while (file != NULL && at < account->line && (len = getline(&line, &room, file)) >= 0)
        at++;
    if (file != NULL && at == account->line && len > 0) {
        (void)pea_text_escape(line, (size_t)len - (line[len - 1] == '\n'), shown, sizeof shown);
        printf("%s:%u: %s\n", account->file, account->line, shown);
    }
    free(line);
    if (file != NULL)
        (void)fclose(file);
}

static void show_text(const char *what, const char *text)
{
    char shown[4 * (PEA_NAME_MAX + 1)];
    (void)pea_text_escape(text, strlen(text), shown, sizeof shown);
    if (shown[0] != '\0')
        printf("%s %s\n", what, shown);
}

/* Asks about the holder of a certificate for Noise. False: the file is none. */
static bool ask_member(const question *q, pea_peer *peer, pea_trust_account *account, pea_err *verdict)
{
    pea_cert *cert;
    if (pea_cert_load(&cert, q->who, NULL) != PEA_OK)
        return false;
    const pea_cert_info *says = pea_cert_says(cert);
    const pea_name name = {PEA_NAME_MEMBER, says->name};
    pea_vouch vouch = {.names = &name,
                       .n_names = 1,
                       .roles = says->roles[0] != '\0' ? says->roles : NULL,
                       .not_before_ms = says->not_before * 1000,
                       .not_after_ms = says->not_after * 1000};
    pea_candidate c = q->candidate;
    memcpy(vouch.root, says->root, sizeof vouch.root);
    c.vouch = &vouch;
    *peer = (pea_peer){.kind = PEA_PEER_NOISE};
    memcpy(peer->id, says->key, sizeof peer->id);
    *verdict = pea_trust_explain(q->trust, peer, &c, account);
    pea_cert_unref(cert);
    return true;
}

/* The same of TLS. */
static bool ask_certificate(const question *q, pea_peer *peer, pea_trust_account *account, pea_err *verdict)
{
    static uint8_t text[TOOL_CERTIFICATE_MAX];
    size_t len;
    bool is = tool_read_certificate(q->who, text, &len);
    if (is) {
        *verdict = pea_trust_explain_certificate(q->trust, (pea_span){text, len}, &q->candidate, peer, account, NULL);
        is = *verdict >= 0 || *verdict == PEA_E_REFUSED;
    }
    explicit_bzero(text, sizeof text);
    return is;
}

static int explain(const question *q)
{
    pea_trust_account account;
    pea_peer peer;
    pea_err verdict = PEA_OK;
    char text[4 * PEA_TEXT_MAX + 1];
    if (!ask_member(q, &peer, &account, &verdict) && !ask_certificate(q, &peer, &account, &verdict)) {
        int status = tool_identify(&peer, q->who);
        if (status != TOOL_OK)
            return status;
        verdict = pea_trust_explain(q->trust, &peer, &q->candidate, &account);
    }
    (void)pea_text_escape(account.text, strlen(account.text), text, sizeof text);
    bool unknown_place = account.ground == PEA_TRUST_ANOTHER_PLACE && q->candidate.from == NULL;
    if (verdict == PEA_OK)
        printf("admitted%s\n", account.ground == PEA_TRUST_FIRST_USE
                                   ? ": no rule names this peer, and nothing else is known of that name"
                                   : "");
    else
        printf("refused: %s%s\n", text,
               unknown_place ? "; where the peer comes from is not known: say --from ADDR" : "");
    show_line(&account);
    if (verdict == PEA_OK) {
        show_text("name", peer.name);
        show_text("role", peer.role);
    }
    return verdict == PEA_OK ? TOOL_OK : TOOL_REFUSED;
}

static int check(int argc, char **argv)
{
    const char *const *args;
    question q = {.trust = NULL};
    int status;
    if (!tool_options(&check_usage, argc, argv, &args, &status))
        return status;
    q.who = args[1];
    status = read_candidate(&q);
    if (status == TOOL_OK)
        status = load(&q.trust, args[0]);
    if (status == TOOL_OK)
        status = explain(&q);
    pea_trust_unref(q.trust);
    tool_options_done(check_options);
    return status;
}

/* ---- trust ---- */

static const tool_command commands[] = {
    {"lint", "say all that is wrong in files of rules, or hardly meant", lint},
    {"check", "say whether a peer would be let in, and by which line", check},
    {NULL, NULL, NULL},
};

int tool_trust(int argc, char **argv)
{
    return tool_dispatch(commands, argc, argv);
}
