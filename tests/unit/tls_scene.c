/* SPDX-License-Identifier: MIT */
/* See tls_scene.h. */
#include "tls_scene.h"

#include <stdio.h>

pea_tls_version version;
bool own_records[2];
const int *ciphersuites;

pea_span slurp(const char *name)
{
    static char text[4][32768]; /* the last four */
    static unsigned turn;
    char path[512], *to = text[turn++ % 4];
    (void)snprintf(path, sizeof path, "%s/%s", PEA_TEST_CERTS, name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t len = fread(to, 1, sizeof text[0], file);
    (void)fclose(file);
    return (pea_span){(const uint8_t *)to, len};
}

pea_identity *load(const char *name)
{
    char crt[128], key[128];
    pea_identity *identity;
    pea_error why;
    (void)snprintf(crt, sizeof crt, "%s.crt", name);
    (void)snprintf(key, sizeof key, "%s.key", name);
    if (pea_identity_parse_certificate(&identity, slurp(crt), slurp(key), NULL, NULL, &why) != PEA_OK)
        fail_msg("%s: %s", name, why.text);
    return identity;
}

void side_open(ends *e, pea_side side, const side_opts *o)
{
    static const char *const usual[] = {"client", "server"};
    pea_error why;
    pea__tls *tls;
    pea_identity *identity =
        o->cert != NULL && o->cert[0] == '\0' ? NULL : load(o->cert != NULL ? o->cert : usual[side]);
    const char *roots = o->roots != NULL ? o->roots : "root.crt";
    pea_tls_opts opts = PEA_TLS_INIT;
    opts.identity = identity;
    opts.roots = roots[0] != '\0' ? slurp(roots) : (pea_span){NULL, 0};
    opts.lowest = opts.highest = version;
    opts.alpn = o->alpn;
    opts.server_only = o->server_only;
    opts.own_records = own_records[side];
    if (pea__tls_new(&tls, &opts, o->native, &why) != PEA_OK ||
        pea__tls_session_new(&e->s[side], tls, side, o->name, &why) != PEA_OK)
        fail_msg("%s", why.text);
    if (ciphersuites != NULL)
        mbedtls_ssl_conf_ciphersuites(&e->s[side]->context->config[side], ciphersuites);
    pea__tls_unref(tls); /* the session holds it */
    pea_identity_unref(identity);
}

void run(ends *e)
{
    e->result[0] = e->result[1] = PEA_MORE;
    for (unsigned round = 0, still = 0; still < 2 && round < 100; round++) {
        pea_side me = round % 2 == 0 ? PEA_INITIATOR : PEA_RESPONDER;
        size_t had = e->wire[!me].len, said = e->wire[me].len;
        if (e->result[me] != PEA_MORE && e->result[me] != PEA_AGAIN) {
            still++;
            continue;
        }
        e->result[me] = pea__tls_step(e->s[me], &e->wire[!me], &e->wire[me]);
        if (e->result[me] == PEA_AGAIN)
            e->asked[me] = true;
        bool moved = e->wire[!me].len != had || e->wire[me].len != said || e->result[me] != PEA_MORE;
        still = moved ? 0 : still + 1;
    }
}

void open_ends(ends *e, const side_opts *i, const side_opts *r)
{
    *e = (ends){.result = {PEA_MORE, PEA_MORE}};
    side_open(e, PEA_INITIATOR, i);
    side_open(e, PEA_RESPONDER, r);
    run(e);
}

void close_ends(ends *e)
{
    for (int side = 0; side < 2; side++) {
        if (e->t[side].ops != NULL)
            e->t[side].ops->destroy(e->t[side].self);
        else
            pea__tls_session_free(e->s[side]);
        pea_buf_free(&e->wire[side]);
    }
}

void yield_ends(ends *e)
{
    for (int side = 0; side < 2; side++) {
        if (e->result[side] != PEA_DONE)
            fail_msg("side %d: %s", side, pea__tls_sentence(e->s[side]));
        assert_true(e->asked[side]);
        pea__tls_yield(e->s[side], &e->t[side]);
    }
}

void open_pair(ends *e)
{
    const side_opts usual = {.native = true};
    open_ends(e, &usual, &usual);
    yield_ends(e);
}

pea_err unseal(ends *e, pea_side side, pea_buf *plain, size_t max)
{
    pea_buf reply = {0};
    pea_err err = e->t[side].ops->unseal(e->t[side].self, &e->wire[!side], plain, max, &reply);
    pea_err kept = pea_buf_append(&e->wire[side], reply.data, reply.len);
    pea_buf_free(&reply);
    check_ok(kept);
    return err;
}

void failure(const ends *e, pea_side side, char text[PEA_TEXT_MAX + 1])
{
    size_t len = PEA_TEXT_MAX;
    const pea_transform *t = &e->t[side];
    check_ok(t->ops->query(t->self, PEA_QUERY_FAILURE, (pea_span){NULL, 0}, text, &len));
    text[len] = '\0';
}
