/* SPDX-License-Identifier: MIT */
/* What the policy says of the peer: when a stage asks, once more at READY, and again of whoever was let in when the
 * rules have changed. When it is asked of live connections that nobody reads from is the driver's affair (judge.c). */
#include <stdio.h>
#include <string.h>

#include "err_priv.h"
#include "pipe_state_priv.h"

/* Refuses for good. The sentence is for our own log: the peer is told DENIED at most, or that it was let in before. */
static pea_err refuse(pea_pipe *p, const char *why)
{
    p->verdict->refused = true;
    return pea__say_why(p, PEA_E_REFUSED, why);
}

static pea_err refused_by_policy(pea_pipe *p, const pea_reason *why)
{
    p->verdict->expired = (why->code & ~PEA_CODE_PERMANENT) == PEA_CODE_EXPIRED;
    return refuse(p, why->text[0] != '\0' ? why->text : "the policy does not admit this peer");
}

pea_err pea__verdict_fail(pea_pipe *p)
{
    if (!p->verdict->refused) /* it was not kept, which is nobody's word */
        return pea__pipe_fail(p, PEA_BY_POLICY, PEA_E_NOMEM, NULL);
    uint16_t code = p->verdict->expired ? PEA_CODE_EXPIRED : p->phase == PEA__OPEN ? PEA_CODE_REVOKED : PEA_CODE_DENIED;
    pea_reason reason = {.origin = PEA_BY_POLICY,
                         .err = PEA_E_REFUSED,
                         .code = (uint16_t)(code | PEA_CODE_PERMANENT),
                         .stage = pea__pipe_stage_name(p)};
    if (p->reason == NULL || p->reason->text[0] == '\0')
        pea__reason_say(&reason, pea_err_text(PEA_E_REFUSED));
    if (p->phase == PEA__OPEN)
        pea__tx_cut(p); /* what was queued was meant for somebody who was trusted */
    return pea__pipe_end(p, &reason, true);
}

/* ---- Waits ---- */

pea_ticket pea__wait_open(pea_pipe *p)
{
    p->wait++;
    p->answer = PEA_WAIT;
    return (pea_ticket){p->runtime_id, p->conn_id, p->wait};
}

bool pea__policy_waits(const pea_pipe *p)
{
    return p->verdict != NULL && p->verdict->asked && p->verdict->wait == p->wait;
}

bool pea__pipe_waits(const pea_pipe *p)
{
    if (p->answer != PEA_WAIT)
        return false;
    return p->phase == PEA__STAGES || ((p->phase == PEA__OPENING || p->phase == PEA__OPEN) && pea__policy_waits(p));
}

pea_err pea_pipe_resume(pea_pipe *p, pea_ticket ticket, pea_err verdict)
{
    if (ticket.runtime != p->runtime_id || ticket.conn != p->conn_id || ticket.wait != p->wait ||
        p->answer != PEA_WAIT || p->phase > PEA__OPEN || (p->phase == PEA__OPEN && !pea__policy_waits(p)))
        return PEA_E_STALE;
    p->answer = verdict == PEA_OK ? PEA_OK : verdict < 0 ? verdict : PEA_E_REFUSED;
    p->stage_poked = true;
    return PEA_OK;
}

/* ---- Who it is about ---- */

static bool is_about(const pea__verdict *v, const pea_peer *peer)
{
    return v->who.kind == peer->kind && memcmp(v->who.id, peer->id, PEA_ID_BYTES) == 0;
}

static void write_out(const pea__verdict *v, pea_peer *peer)
{
    *peer = (pea_peer){.kind = v->who.kind};
    memcpy(peer->id, v->who.id, sizeof peer->id);
    if (v->words == NULL)
        return;
    size_t len = strlen(v->words) + 1;
    memcpy(peer->name, v->words, len);
    memcpy(peer->role, v->words + len, strlen(v->words + len) + 1);
}

/* Keeps what is said of the peer now. PEA_OK | PEA_E_NOMEM: it is as before */
static pea_err keep_words(pea__verdict *v, const pea_peer *peer)
{
    size_t name = strnlen(peer->name, PEA_NAME_MAX), role = strnlen(peer->role, PEA_ROLE_MAX);
    char *words = NULL;
    if (name + role > 0) {
        words = pea__alloc(name + role + 2);
        if (words == NULL)
            return PEA_E_NOMEM;
        memcpy(words, peer->name, name);
        memcpy(words + name + 1, peer->role, role);
    }
    pea__free(v->words);
    v->words = words;
    return PEA_OK;
}

/* Whoever asked for it before sees what is true now. */
static void refresh(pea__verdict *v)
{
    if (v->whole != NULL)
        write_out(v, v->whole);
}

/* Who was in and is refused later is still who it was. */
static const pea__verdict *of_proven(const pea_pipe *p)
{
    const pea__verdict *v = p->verdict;
    return v != NULL && v->proven && (!v->refused || p->ready_told) ? v : NULL;
}

static const pea__verdict *of_refused(const pea_pipe *p)
{
    return p->verdict != NULL && p->verdict->refused ? p->verdict : NULL;
}

static bool copy(const pea__verdict *v, pea_peer *peer)
{
    if (v != NULL)
        write_out(v, peer);
    return v != NULL;
}

const pea__who *pea__pipe_who(const pea_pipe *p)
{
    const pea__verdict *v = of_proven(p);
    return v != NULL ? &v->who : NULL;
}

bool pea__pipe_copy_peer(const pea_pipe *p, pea_peer *peer)
{
    return copy(of_proven(p), peer);
}

bool pea__pipe_copy_refused(const pea_pipe *p, pea_peer *peer)
{
    return copy(of_refused(p), peer);
}

/* The peer at its full length, for who asks, until the end. Without memory for it it is somebody who is nobody: never
 * NULL, which says that none was proven, and never equal to anyone. */
static const pea_peer *whole(pea__verdict *v)
{
    static const pea_peer forgotten = {.kind = PEA_PEER_NONE};
    if (v->whole == NULL && (v->whole = pea__alloc(sizeof *v->whole)) != NULL)
        write_out(v, v->whole);
    return v->whole != NULL ? v->whole : &forgotten;
}

const pea_peer *pea_pipe_peer(const pea_pipe *p)
{
    return of_proven(p) != NULL ? whole(p->verdict) : NULL;
}

const pea_peer *pea_pipe_refused(const pea_pipe *p)
{
    return of_refused(p) != NULL ? whole(p->verdict) : NULL;
}

/* ---- Asking the policy ---- */

#define DIALLED_TEXT_BYTES 272 /* a host name of 253 bytes and a port, or an address */
_Static_assert(DIALLED_TEXT_BYTES >= PEA_ADDR_TEXT_BYTES, "an address must fit");

/* What this side dialled, for the policy. */
static const char *dialled(const pea_pipe *p, const pea_addr *remote, char text[DIALLED_TEXT_BYTES])
{
    if (p->side != PEA_INITIATOR || (p->name == NULL && p->remote == NULL))
        return NULL;
    if (p->name == NULL)
        return pea_addr_format(remote, text);
    if (!p->name_has_port)
        return p->name;
    (void)snprintf(text, DIALLED_TEXT_BYTES, "%s:%u", p->name, remote->port);
    return text;
}

/* What check() says of the peer. It is shown the peer as the stage knows it, without what an earlier rule gave it: a
 * role does not outlive its rule. PEA_E_NOMEM is no verdict. */
static pea_err check(pea_pipe *p, pea__verdict *v, pea_ticket ticket, pea_reason *why)
{
    char text[DIALLED_TEXT_BYTES];
    pea_addr remote = {.family = PEA_ADDR_NONE};
    if (p->remote != NULL)
        remote = pea__place_addr(p->remote);
    pea_candidate candidate = {.vouch = v->vouch,
                               .from = p->remote != NULL ? &remote : NULL,
                               .dialled = dialled(p, &remote, text),
                               .wall_ms = p->wall_ms,
                               .side = (pea_side)p->side,
                               .proven = v->proving,
                               .live = p->phase == PEA__OPEN,
                               .ticket = ticket};
    pea_peer peer = {.kind = v->who.kind};
    if (v->given != NULL)
        peer = *v->given;
    memcpy(peer.id, v->who.id, sizeof peer.id);
    *why = (pea_reason){.origin = PEA_BY_POLICY};
    p->judging = true;
    pea_err err = p->policy->ops->check(p->policy->self, &peer, &candidate, why);
    p->judging = false;
    if ((err == PEA_OK || err == PEA_WAIT) && keep_words(v, &peer) != PEA_OK)
        return PEA_E_NOMEM;
    refresh(v);
    return err;
}

/* Asks the policy about v->who, or takes the answer that came meanwhile. PEA_OK | PEA_WAIT | PEA_E_REFUSED |
 * PEA_E_NOMEM */
static pea_err policy_ask(pea_pipe *p, pea__verdict *v)
{
    uint64_t now = pea__policy_generation(p->policy);
    if (pea__policy_waits(p)) {
        if (p->answer == PEA_WAIT)
            return PEA_WAIT;
        bool yes = p->answer == PEA_OK;
        v->asked = false;
        p->answer = PEA_MORE;
        if (!yes)
            return refuse(p, "the policy's late answer was no");
        if (now == v->generation)
            return PEA_OK;
    }
    v->generation = now;
    v->asked = true;
    pea_ticket ticket = pea__wait_open(p);
    v->wait = ticket.wait;
    pea_reason why;
    pea_err err = check(p, v, ticket, &why);
    if (err == PEA_WAIT)
        return p->answer == PEA_WAIT ? PEA_WAIT : policy_ask(p, v); /* answered before check() returned */
    v->asked = false;
    p->answer = PEA_MORE;
    return err == PEA_OK || err == PEA_E_NOMEM ? err : refused_by_policy(p, &why);
}

static bool is_who(const pea__verdict *v, const pea__who *who)
{
    return who->kind != PEA_PEER_NONE && pea__who_equal(&v->who, who);
}

static bool is_us(const pea_pipe *p, const pea__verdict *v)
{
    if (p->chain->self.kind != PEA_PEER_NONE && is_about(v, &p->chain->self))
        return true;
    return p->flow->expected != NULL && is_who(v, &p->flow->expected->was_us);
}

static bool is_expected(const pea_pipe *p, const pea__verdict *v)
{
    return is_about(v, &p->flow->expected->peer) || is_who(v, &p->flow->expected->next);
}

/* The expectation, then the policy. */
static pea_err judge(pea_pipe *p, pea__verdict *v)
{
    if (is_us(p, v))
        return refuse(p, "the peer is this node itself, or has its identity");
    if (pea__pipe_expects(p) && !is_expected(p, v))
        return refuse(p, "the peer is not the one that was expected");
    if (p->policy != NULL)
        return policy_ask(p, v);
    return pea__pipe_expects(p) ? PEA_OK : refuse(p, "there is no policy, and no peer was expected");
}

/* ---- What stages say of the peer ---- */

static bool need_verdict(pea_pipe *p)
{
    return p->verdict != NULL || (p->verdict = pea__alloc(sizeof *p->verdict)) != NULL;
}

void pea__verdict_free(pea_pipe *p)
{
    if (p->verdict != NULL) {
        pea__free(p->verdict->vouch);
        pea__free(p->verdict->given);
        pea__free(p->verdict->words);
        pea__free(p->verdict->whole);
    }
    pea__free(p->verdict);
    p->verdict = NULL;
}

/* A copy in one piece: the struct, its names, their texts, its roles. */
static pea_vouch *copy_vouch(const pea_vouch *vouch)
{
    size_t roles = vouch->roles != NULL ? strlen(vouch->roles) + 1 : 0;
    size_t size = sizeof *vouch + vouch->n_names * sizeof *vouch->names + roles;
    for (size_t i = 0; i < vouch->n_names; i++)
        size += strlen(vouch->names[i].text) + 1;
    pea_vouch *copy = pea__alloc(size);
    if (copy == NULL)
        return NULL;
    pea_name *names = (pea_name *)(void *)(copy + 1);
    char *text = (char *)(names + vouch->n_names);
    for (size_t i = 0; i < vouch->n_names; i++) {
        size_t len = strlen(vouch->names[i].text) + 1;
        memcpy(text, vouch->names[i].text, len);
        names[i] = (pea_name){vouch->names[i].kind, text};
        text += len;
    }
    *copy = *vouch;
    copy->names = names;
    if (roles > 0)
        copy->roles = memcpy(text, vouch->roles, roles);
    return copy;
}

pea_err pea_stage_vouch(pea_stage_env *env, const pea_vouch *vouch)
{
    pea_pipe *p = env->pipe;
    pea_vouch *copy = vouch != NULL ? copy_vouch(vouch) : NULL;
    if (!need_verdict(p) || (vouch != NULL && copy == NULL)) {
        pea__free(copy);
        return PEA_E_NOMEM;
    }
    pea__free(p->verdict->vouch);
    p->verdict->vouch = copy;
    return PEA_OK;
}

/* The question is about another peer than before. What the stage itself says of it beside its key is kept: the policy's
 * word comes in its place, and may be taken back. */
static pea_err about(pea__verdict *v, const pea_peer *peer)
{
    pea_peer *given = NULL;
    if (peer->name[0] != '\0' || peer->role[0] != '\0') {
        given = pea__alloc(sizeof *given);
        if (given == NULL)
            return PEA_E_NOMEM;
        *given = *peer;
    }
    if (keep_words(v, peer) != PEA_OK) {
        pea__free(given);
        return PEA_E_NOMEM;
    }
    v->who = pea__who_of(peer);
    refresh(v);
    pea__free(v->given);
    v->given = given;
    v->asked = false;
    v->proving = false;
    v->pledged = false;
    return PEA_OK;
}

pea_err pea_stage_judge(pea_stage_env *env, const pea_peer *peer, pea_sight sight)
{
    pea_pipe *p = env->pipe;
    if (!need_verdict(p))
        return PEA_E_NOMEM;
    pea__verdict *v = p->verdict;
    if (v->refused)
        return PEA_E_REFUSED;
    if (peer == NULL || peer->kind == PEA_PEER_NONE)
        return refuse(p, "a stage asked about nobody");
    if ((v->proven || v->pledged) && !is_about(v, peer))
        return refuse(p, "a later stage proved another peer than an earlier one");
    if (!is_about(v, peer) && about(v, peer) != PEA_OK)
        return PEA_E_NOMEM;
    v->proving = v->proving || sight == PEA_PROVEN;
    pea_err err = judge(p, v);
    if (err == PEA_OK && sight == PEA_PROVEN)
        v->proven = true;
    return err;
}

/* ---- Proof by the first record ---- */

pea_err pea_stage_pledge(pea_stage_env *env, pea_side side)
{
    pea_pipe *p = env->pipe;
    pea__verdict *v = p->verdict;
    if (side == (pea_side)p->side) {
        p->proves_next = true;
        return PEA_OK;
    }
    if (v == NULL || v->refused || v->who.kind == PEA_PEER_NONE)
        return PEA_E_STATE;
    v->pledged = !v->proven;
    v->pledge_floor = (uint8_t)(p->top + 1);
    return PEA_OK;
}

bool pea__verdict_pledged(const pea_pipe *p)
{
    return p->verdict != NULL && p->verdict->pledged;
}

void pea__verdict_redeem(pea_pipe *p, size_t floor)
{
    pea__verdict *v = p->verdict;
    if (floor < v->pledge_floor)
        return;
    v->pledged = false;
    v->proven = v->proving = v->due = true;
}

/* ---- At READY ---- */

/* Whether this side may have a peer that proved nothing. */
static bool takes_anybody(const pea_pipe *p)
{
    return !pea__pipe_expects(p) && (p->chain->plain || (p->chain->terms[p->side].anonymous != NULL &&
                                                         p->policy != NULL && pea__policy_takes_anybody(p->policy)));
}

pea_err pea__verdict_due(pea_pipe *p)
{
    if ((p->verdict != NULL && (p->verdict->proven || p->verdict->pledged)) || takes_anybody(p))
        return PEA_OK;
    return pea__say_why(p, PEA_E_REFUSED,
                        pea__pipe_expects(p) ? "no stage proved that the peer is the expected one"
                                             : "no stage proved who the peer is, and the chain is not plain");
}

/* A verdict of an older generation is asked for again. PEA_OK | PEA_WAIT | PEA_E_REFUSED */
static pea_err verdict_confirm(pea_pipe *p)
{
    pea__verdict *v = p->verdict;
    if (v == NULL)
        return PEA_OK; /* a plain chain: nobody was named */
    if (v->refused)
        return PEA_E_REFUSED;
    if (p->policy == NULL || (!v->asked && !v->due && pea__policy_generation(p->policy) == v->generation))
        return PEA_OK;
    v->due = false;
    return policy_ask(p, v);
}

pea_err pea__verdict_settle(pea_pipe *p)
{
    pea_err err =
        pea__verdict_pledged(p) ? refuse(p, "nothing that the peer said has proven its key") : verdict_confirm(p);
    if (err == PEA_WAIT)
        return PEA_MORE;
    if (err != PEA_OK)
        return pea__verdict_fail(p);
    return p->phase == PEA__OPENING ? PEA_OK : PEA_AGAIN; /* the policy's own callback may have ended the pipe */
}

/* ---- Later ---- */

/* Whether the policy has been asked about somebody, and may be asked again. */
static bool may_change(const pea_pipe *p)
{
    const pea__verdict *v = p->verdict;
    return p->policy != NULL && v != NULL && !v->refused && v->who.kind != PEA_PEER_NONE && !p->judging;
}

/* Whether whoever is in may stay. `anyway`: asks though nothing seems to have changed. PEA_OK | PEA_WAIT | < 0: the
 * pipe has ended */
static pea_err judge_live(pea_pipe *p, bool anyway)
{
    pea__verdict *v = p->verdict;
    if (!may_change(p) || (!anyway && !v->asked && pea__policy_generation(p->policy) == v->generation))
        return PEA_OK;
    pea_err err = policy_ask(p, v);
    if (p->phase != PEA__OPEN)
        return PEA_E_STATE; /* the policy's own callback has ended it */
    if (err == PEA_OK || err == PEA_WAIT)
        return err;
    (void)pea__verdict_fail(p);
    return err;
}

/* Whether whoever is on his way in may go on. A refusal ends it. Else all is settled at READY, which opens the wait
 * where one is needed: a stage may be in the middle of one of its own. PEA_OK | < 0: the pipe has ended, or does so
 * next */
static pea_err judge_pending(pea_pipe *p, bool anyway)
{
    pea__verdict *v = p->verdict;
    if (!may_change(p))
        return PEA_OK;
    uint64_t now = pea__policy_generation(p->policy);
    if (!anyway && now == v->generation)
        return PEA_OK;
    uint8_t phase = p->phase;
    bool waits = pea__policy_waits(p) && p->answer == PEA_WAIT;
    pea_reason why;
    pea_err err = check(p, v, (pea_ticket){p->runtime_id, p->conn_id, waits ? v->wait : 0}, &why);
    if (p->phase != phase)
        return PEA_E_STATE;
    if (err == PEA_OK && !v->asked)
        v->generation = now;
    if (err == PEA_OK || err == PEA_WAIT)
        return PEA_OK;
    if (err != PEA_E_NOMEM)
        err = refused_by_policy(p, &why);
    if (err == PEA_E_NOMEM || !waits || phase != PEA__STAGES) {
        (void)pea__verdict_fail(p);
        return err;
    }
    v->asked = false; /* the stage waits for just this: it may have a way to tell the peer */
    p->answer = PEA_MORE;
    p->stage_poked = true;
    return err;
}

static pea_err judge_again(pea_pipe *p, bool anyway)
{
    if (p->phase == PEA__STAGES || p->phase == PEA__OPENING)
        return judge_pending(p, anyway);
    if (p->phase != PEA__OPEN)
        return PEA_OK;
    pea_err err = judge_live(p, anyway);
    p->judge_due = p->judge_due || err == PEA_WAIT; /* no message passes before the answer */
    return err;
}

pea_err pea__pipe_judge(pea_pipe *p)
{
    return judge_again(p, false);
}

void pea_pipe_judge(pea_pipe *p)
{
    (void)judge_again(p, true);
}

pea_err pea__verdict_keep(pea_pipe *p)
{
    pea_err err = judge_live(p, false);
    p->judge_due = err == PEA_WAIT;
    if (err == PEA_WAIT)
        return PEA_MORE;
    return err == PEA_OK ? PEA_OK : PEA_AGAIN;
}

void pea__pipe_revoke(pea_pipe *p, const char *why)
{
    if (p->phase != PEA__OPEN || p->verdict == NULL)
        return;
    (void)refuse(p, why);
    (void)pea__verdict_fail(p);
}
