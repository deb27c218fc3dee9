/* SPDX-License-Identifier: MIT */
/* The parser of authorized_peers files, and whom its rules match. What it takes, it takes the same way twice; what it
 * refuses has a line and a sentence, and left nothing behind. */
#include <stdlib.h>
#include <string.h>

#include "rules_priv.h"

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void found(void *arg, pea_log_level level, const pea_error *what)
{
    require(what->text[0] != '\0' && memchr(what->text, 0, sizeof what->text) != NULL);
    *(unsigned *)arg += level == PEA_LOG_ERROR;
}

/* Asks every rule about its own peer, from somewhere, vouched for by its own root. */
static void match_all(const pea__rules *rules)
{
    static const pea_name names[] = {{PEA_NAME_DNS, "db.mesh.example"}, {PEA_NAME_URI, "spiffe://mesh.example/db/1"}};
    pea_addr from;
    require(pea_addr_parse(&from, "10.1.2.3:4", NULL) == PEA_OK);
    for (size_t i = 0; i < rules->n; i++) {
        const pea__rule *r = rules->list[i];
        pea_vouch vouch = {.names = names, .n_names = 2};
        const char *name;
        require(r->line > (i > 0 ? rules->list[i - 1]->line : 0));
        require(r->by_name || pea__rules_find(rules, &r->peer) != NULL);
        require(memchr(r->peer.name, 0, sizeof r->peer.name) != NULL);
        require(!r->deny || (r->peer.name[0] == '\0' && r->peer.role[0] == '\0'));
        require(r->not_before < r->not_after);
        if (r->n_roots > 0)
            memcpy(vouch.root, r->roots[0], sizeof vouch.root);
        pea__match match = pea__rule_match(r, &(pea_candidate){.vouch = &vouch, .from = &from}, r->not_after, &name);
        require(match != PEA__YES); /* it does not hold any more */
        if (r->not_after != INT64_MAX)
            require(pea__rules_edge(rules, r->not_after - 1, INT64_MAX) <= r->not_after);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pea__rules *rules = NULL, *again = NULL;
    pea_error why = {.code = PEA_OK}, twice = {.code = PEA_OK};
    unsigned errors = 0;
    char *text = malloc(size + 1); /* not terminated: a length is given */
    require(text != NULL);
    if (size > 0)
        memcpy(text, data, size);
    const char *folder = "tests/fuzz/corpus"; /* an absolute name of a root's file leads where it leads */
    pea_err err = pea__rules_parse(&rules, text, size, folder, NULL, NULL, 0, &why);
    require(pea__rules_parse(&again, text, size, folder, NULL, NULL, 0, &twice) == err);
    require((pea__rules_parse(NULL, text, size, folder, found, &errors, 0, NULL) == PEA_OK) == (err == PEA_OK));
    free(text);
    require((errors == 0) == (err == PEA_OK));
    if (err != PEA_OK) {
        require(rules == NULL && again == NULL && why.code == err && why.text[0] != '\0');
        require(why.line == twice.line && why.column == twice.column && strcmp(why.text, twice.text) == 0);
        return 0;
    }
    require(rules->n == again->n && (rules->n > 0 || rules->nobody));
    match_all(rules);
    pea__rules_free(rules);
    pea__rules_free(again);
    return 0;
}
