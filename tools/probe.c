/* SPDX-License-Identifier: MIT */
/* `peapod probe`: what an endpoint speaks, who it is, whether it would let us in, and how long each flight took. It
 * tries peapod over Noise, peapod over TLS, plain TLS and a line of HTTP, as far as what came before leaves it open. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "probe_priv.h"

static tool_texts said_name;
static double timeout_s;

static const struct poptOption options[] = {
    TOOL_SECURITY_OPTIONS,
    {"name", '\0', POPT_ARG_ARGV, &said_name, 0, "the name that TLS asks for and checks; else the host of ADDR",
     "HOST"},
    {"timeout", 'T', POPT_ARG_DOUBLE, &timeout_s, 0, "how long each of at most five tries waits; else 3", "SECONDS"},
    POPT_TABLEEND,
};

static const tool_usage usage = {
    .arguments = "ADDR",
    .examples = "  peapod probe db.example:9000           as a stranger, with a key made for this\n"
                "  peapod probe db.example:9000 --key me.key --expect noise:3p7b...=\n"
                "                                         is it who we think, and does it let us in?\n"
                "  peapod probe [2001:db8::1]:443 --tls --key me.key --cert me.crt --trust authorized_peers\n",
    .options = options,
    .least = 1,
    .most = 1,
};

/* All that the words and the next try depend on. */
typedef struct probe {
    tool_security us;
    probe_target target;
    const char *name; /* for TLS */
    int timeout_ms;
    probe_result r; /* of the last try */
} probe;

/* ---- Words ---- */

static void show_bytes(const probe_result *r)
{
    char text[4 * 48 + 1];
    (void)pea_text_escape((const char *)r->first, r->n_first < 48 ? r->n_first : 48, text, sizeof text);
    printf("it said: %s%s\n", text, r->n_first > 48 ? "..." : "");
}

static void show_who(const probe_judge *j)
{
    char id[PEA_PEER_TEXT_BYTES], fingerprint[PEA_FINGERPRINT_BYTES];
    if (!j->met)
        return;
    printf("who: %s\n", pea_peer_format(&j->peer, id));
    printf("fingerprint: %s\n", pea_peer_fingerprint(&j->peer, fingerprint));
}

static void show_rules(const probe_judge *j)
{
    char text[4 * PEA_TEXT_MAX + 1];
    if (!j->met || j->trust == NULL)
        return;
    printf("our rules: ");
    if (j->verdict == PEA_OK)
        printf("admit it");
    else {
        (void)pea_text_escape(j->account.text, strlen(j->account.text), text, sizeof text);
        printf("refuse it: %s", text);
    }
    if (j->account.file != NULL)
        printf(" (%s:%u)", j->account.file, j->account.line);
    printf("\n");
}

static void show_times(const probe_result *r)
{
    printf("time: %.2f ms to connect\n", (double)r->connect_us / 1000);
    for (size_t i = 0; i < r->n_flights; i++)
        printf("time: %.2f ms to flight %zu, %s of %zu bytes\n", (double)r->flights[i].after_us / 1000, i + 1,
               r->flights[i].ours ? "ours" : "its answer", r->flights[i].bytes);
}

/* Whether it lets us in; the program's status. */
static int show_verdict(const probe *p, bool ours)
{
    const probe_result *r = &p->r;
    char text[4 * PEA_TEXT_MAX + 1], reason[PEA_REASON_TEXT_BYTES];
    const char *whom = ours ? "us" : "a stranger (--key FILE asks as ourselves)";
    (void)pea_text_escape(r->reason.text, strlen(r->reason.text), text, sizeof text);
    if (r->end == PROBE_READY) {
        printf("its verdict: it admits %s\n", ours ? "us" : "a stranger, so anybody");
        return TOOL_OK;
    }
    if (r->end == PROBE_CLOSED && r->reason.err == PEA_E_REJECTED) {
        printf("its verdict: it refuses %s: %s%s%s\n", whom, r->reason.code != 0 ? pea_code_name(r->reason.code) : "",
               r->reason.code != 0 && text[0] != '\0' ? ": " : "", text);
        return ours ? TOOL_REJECTED : TOOL_OK;
    }
    if (r->judge.met && r->judge.verdict != PEA_OK) {
        printf("its verdict: not known, as we refused it before it knew us\n");
        return TOOL_REFUSED;
    }
    if (r->end == PROBE_LATE)
        printf("its verdict: none in time: it stopped answering in the middle of the handshake\n");
    else
        printf("its verdict: the handshake failed: %s\n", pea_reason_format(&r->reason, reason));
    return r->end == PROBE_CLOSED ? tool_status(r->reason.err) : TOOL_FAILED;
}

static int show_peapod(const probe *p, bool tls, bool ours)
{
    const probe_result *r = &p->r;
    printf("speaks: peapod over %s%s%s\n", tls ? "TLS" : "Noise", r->cipher[0] != '\0' ? ", " : "", r->cipher);
    show_who(&r->judge);
    show_rules(&r->judge);
    return show_verdict(p, ours);
}

/* TLS that agreed on no peapod; p->r is of a try that did not ask for it. */
static int show_tls(const probe *p)
{
    const probe_result *r = &p->r;
    char reason[PEA_REASON_TEXT_BYTES];
    printf("speaks: TLS%s%s, and does not know peapod (ALPN " PEA_ALPN_NATIVE ")\n", r->cipher[0] != '\0' ? ", " : "",
           r->cipher);
    show_who(&r->judge);
    show_rules(&r->judge);
    if (r->end == PROBE_CLOSED)
        printf("%s\n", pea_reason_format(&r->reason, reason));
    return TOOL_FAILED;
}

static int show_other(const probe_result *r)
{
    const char *guess = probe_guess(r->first, r->n_first);
    printf("speaks: not peapod; it looks like %s\n", guess != NULL ? guess : "nothing that is known here");
    show_bytes(r);
    return TOOL_FAILED;
}

static int show_mute(const probe_result *r)
{
    printf("speaks: not a word: it %s whatever we said (peapod over Noise, TLS, HTTP)\n",
           r->end == PROBE_LATE ? "kept silent to" : "hung up on");
    printf("hint: so does a peapod node of another network (--network-name), one with another network key or none "
           "(--network-key), and one that is full or bans our address\n");
    return TOOL_FAILED;
}

static int nothing(const probe *p)
{
    const char *text = strerror(p->r.sys);
    if (p->r.sys == ETIMEDOUT)
        return tool_fail(TOOL_FAILED, "%s: no answer within %g s: a wrong address, or a firewall drops what we send",
                         p->target.text, p->timeout_ms / 1000.0);
    if (p->r.sys == ECONNREFUSED)
        return tool_fail(TOOL_FAILED, "%s: %s: nothing listens there", p->target.text, text);
    return tool_fail(TOOL_FAILED, "%s: %s", p->target.text, text);
}

/* ---- Tries ---- */

static bool has_own(const probe *p, bool tls)
{
    return p->us.identity != NULL && (p->us.me.kind == PEA_PEER_SPKI) == tls;
}

/* With our own key where it is of that kind, else with one that is made and forgotten. */
static int try_it(probe *p, bool tls, pea_mode mode)
{
    bool ours = has_own(p, tls);
    pea_error why = {.code = PEA_OK};
    pea_identity *identity = ours ? pea_identity_ref(p->us.identity) : NULL;
    pea_chain *chain = NULL;
    pea_err err = PEA_OK;
    if (!ours)
        err =
            tls ? pea_identity_generate_certificate(&identity, NULL, 1, &why) : pea_identity_generate(&identity, &why);
    int status = err == PEA_OK ? tool_chain(&chain, identity, p->us.trust, tls, mode) : tool_fail_why(NULL, &why);
    memset(&p->r, 0, sizeof p->r);
    p->r.judge.trust = p->us.trust;
    p->r.judge.dialled = p->name != NULL && p->name[0] != '\0' ? NULL : p->target.text;
    if (status == TOOL_OK)
        status = probe_try(&p->target, chain, p->name, p->timeout_ms, &p->r);
    pea_chain_unref(chain);
    pea_identity_unref(identity);
    return status;
}

/* ---- In turn ---- */

/* What a try found out. */
typedef enum probe_kind { KIND_NOTHING = 1, KIND_PEAPOD, KIND_TLS, KIND_OTHER, KIND_MUTE } probe_kind;

static probe_kind kind_of(const probe_result *r, bool tls)
{
    static const uint8_t magic[] = {0xF1, 'p', 'e', 'a', 'p', 'o', 'd'}; /* docs/wire.md */
    size_t n = r->n_first < sizeof magic ? r->n_first : sizeof magic;
    if (r->end == PROBE_NO_SOCKET)
        return KIND_NOTHING;
    if (r->end == PROBE_READY || r->judge.met || (!tls && n > 0 && memcmp(r->first, magic, n) == 0))
        return KIND_PEAPOD; /* TLS: whom we met has agreed on peapod/1 before */
    if (probe_is_tls(r->first, r->n_first))
        return KIND_TLS;
    return r->n_first > 0 ? KIND_OTHER : KIND_MUTE;
}

static bool have_tls(void)
{
    return strcmp(pea_tls_library(), "none") != 0;
}

/* TLS without peapod: who is it? The try before is kept where this one learns less. */
static int plain_tls(probe *p)
{
    probe_result before = p->r;
    if (!have_tls()) {
        printf("speaks: TLS, of which this build can say no more\n");
        return TOOL_FAILED;
    }
    int status = try_it(p, true, PEA_STREAM);
    if (status != TOOL_OK)
        return status;
    if (kind_of(&p->r, true) == KIND_MUTE || p->r.end == PROBE_NO_SOCKET)
        p->r = before;
    return show_tls(p);
}

static int last_words(probe *p)
{
    memset(&p->r, 0, sizeof p->r);
    probe_say(&p->target, "GET / HTTP/1.0\r\n\r\n", p->timeout_ms, &p->r);
    if (p->r.end == PROBE_NO_SOCKET)
        return nothing(p);
    return p->r.n_first > 0 ? show_other(&p->r) : show_mute(&p->r);
}

static int in_turn(probe *p)
{
    bool tls_seen = false;
    for (int i = 0; i < 2 && !tls_seen; i++) {
        bool tls = (i == 0) == (tool_security_said.tls != 0);
        if (tls && !have_tls())
            continue;
        int status = try_it(p, tls, PEA_NATIVE);
        if (status != TOOL_OK)
            return status;
        switch (kind_of(&p->r, tls)) {
        case KIND_NOTHING:
            return nothing(p);
        case KIND_PEAPOD:
            return show_peapod(p, tls, has_own(p, tls));
        case KIND_OTHER:
            return show_other(&p->r);
        case KIND_TLS:
            tls_seen = tls; /* as an answer to Noise it is a reason to ask for TLS */
            break;
        case KIND_MUTE:
            break;
        }
    }
    if (tls_seen || probe_is_tls(p->r.first, p->r.n_first))
        return plain_tls(p);
    return last_words(p);
}

int tool_probe(int argc, char **argv)
{
    static probe p; /* some kilobytes */
    const char *const *args;
    int status;
    if (!tool_options(&usage, argc, argv, &args, &status))
        return status;
    if (timeout_s < 0 || timeout_s > 3600)
        status = tool_fail(TOOL_USAGE, "--timeout is in seconds, up to 3600");
    p.timeout_ms = timeout_s > 0 ? (int)(timeout_s * 1000) : 3000;
    if (status == TOOL_OK)
        status = tool_security_load(&p.us, PEA_NATIVE, true);
    if (status == TOOL_OK)
        status = probe_resolve(&p.target, args[0], p.timeout_ms);
    if (status == TOOL_OK) {
        p.name = said_name != NULL ? tool_text(said_name) : p.target.name;
        status = in_turn(&p);
        if (p.r.end != PROBE_NO_SOCKET)
            show_times(&p.r);
    }
    tool_security_close(&p.us);
    tool_options_done(options);
    return status;
}
