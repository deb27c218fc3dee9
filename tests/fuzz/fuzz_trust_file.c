/* SPDX-License-Identifier: MIT */
/* Bytes as an authorized_peers file and as a first-use file, and what a trust then says of the peers in it: the same
 * twice. What is refused has a line and a sentence, and left nothing behind. */
#include <stdlib.h>

#include "policy_priv.h"
#include "rules_priv.h"

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void found(void *arg, pea_log_level level, const pea_error *what)
{
    *(unsigned *)arg += level == PEA_LOG_ERROR && what->text[0] != '\0';
}

/* A rule by itself, and all of them together, of its own peer: a rule that matches and denies is the last word. */
static void ask_about(const pea_policy *policy, const pea__rule *r, const pea_candidate *c)
{
    const char *name;
    pea_reason why = {.origin = PEA_BY_POLICY};
    pea_peer peer = r->peer, same = r->peer;
    peer.kind = same.kind = r->by_name ? PEA_PEER_SPKI : r->peer.kind;
    bool fits = pea__rule_match(r, c, c->wall_ms, &name) == PEA__YES;
    pea_err err = policy->ops->check(policy->self, &peer, c, &why);
    require(err == policy->ops->check(policy->self, &same, c, &why) && memcmp(&peer, &same, sizeof peer) == 0);
    require(err == PEA_OK || err == PEA_E_REFUSED);
    require(!fits || (r->deny ? err != PEA_OK : err == PEA_OK || strstr(why.text, "denies") != NULL));
}

/* Asks from somewhere and from nowhere, vouched for by the rule's own root, when it begins and when it has ended. */
static void ask_about_all(const pea_policy *policy, const pea__rules *rules)
{
    static const pea_name names[] = {{PEA_NAME_DNS, "db.mesh.example"},
                                     {PEA_NAME_URI, "spiffe://mesh.example/db/1"},
                                     {PEA_NAME_MEMBER, "web-1"},
                                     {PEA_NAME_MEMBER, "db.mesh.example"}};
    pea_addr from;
    require(pea_addr_parse(&from, "10.1.2.3:4", NULL) == PEA_OK);
    for (size_t i = 0; i < rules->n && i < 16; i++) {
        const pea__rule *r = rules->list[i];
        pea_vouch vouch = {.names = names, .n_names = 4, .roles = "admin,db,web"};
        require(r->by_name || pea__rules_find(rules, &r->peer) != NULL);
        if (r->n_roots > 0)
            memcpy(vouch.root, r->roots[0], sizeof vouch.root);
        for (int how = 0; how < 4; how++) {
            pea_candidate c = {.vouch = &vouch, .from = how % 2 == 0 ? &from : NULL};
            c.wall_ms = how > 1 ? r->not_after : r->not_before > 0 ? r->not_before : 1;
            ask_about(policy, r, &c);
        }
    }
}

static void try_rules(const char *text, size_t size)
{
    pea__rules *rules = NULL, *again = NULL;
    pea_error why = {.code = PEA_OK}, twice = {.code = PEA_OK};
    const char *folder = "tests/fuzz/corpus"; /* an absolute name of a root's file leads where it leads */
    unsigned errors = 0;
    pea_err err = pea__rules_parse(&rules, text, size, folder, NULL, NULL, 0, &why);
    require(pea__rules_parse(&again, text, size, folder, NULL, NULL, 0, &twice) == err);
    require((pea__rules_parse(NULL, text, size, folder, found, &errors, 0, NULL) == PEA_OK) == (err == PEA_OK));
    require((errors == 0) == (err == PEA_OK) && (rules == NULL) == (err != PEA_OK) && why.code == err);
    require(why.line == twice.line && why.column == twice.column && strcmp(why.text, twice.text) == 0);
    require(err == PEA_OK || (why.line >= 1 ? why.text[0] != '\0' : strncmp(why.text, "there is no rule", 16) == 0));
    if (err != PEA_OK)
        return;
    pea__rules_free(again);
    pea__trust_source *source = pea__alloc(sizeof *source);
    pea_trust *t = NULL;
    require(source != NULL && pea_trust_new(&t) == PEA_OK);
    pea__trust_swap(t, source, rules); /* both are the trust's now */
    ask_about_all(pea_trust_policy(t), rules);
    pea_trust_unref(t);
}

/* Of a peer that was seen but not proven, of whom nothing is written. The first line of a name stays. */
static void try_known_peers(const char *text, size_t size)
{
    pea__known_peers *known;
    pea_error why = {.code = PEA_OK};
    char said[PEA_TEXT_MAX + 1];
    const pea_peer nobody = {.kind = PEA_PEER_OTHER};
    require(pea__known_peers_new(&known, "known", NULL) == PEA_OK);
    pea_err err = pea__known_peers_parse(known, text, size, &why);
    require(err == PEA_OK || (err == PEA_E_FORMAT && why.code == err && why.line >= 1 && why.text[0] != '\0'));
    pea_err says = pea__known_peers_check(known, "a.example", &nobody, false, said, sizeof said);
    require((says == PEA_OK || says == PEA_E_REFUSED) && pea__known_peers_parse(known, text, size, &why) == err);
    require(pea__known_peers_check(known, "A.example", &nobody, false, said, sizeof said) == says);
    pea__known_peers_free(known);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    try_rules((const char *)data, size); /* not terminated: a length is given */
    try_known_peers((const char *)data, size);
    return 0;
}
