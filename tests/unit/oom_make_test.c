/* SPDX-License-Identifier: MIT */
/* Every allocation of every constructor and loader fails once: it says PEA_E_NOMEM and nothing is left of it, or it had
 * no need of that memory; and the next call succeeds. What libsodium, mbedTLS and libev allocate of their own is not
 * among what fails. */
#include "support/check.h"

#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "peapod/address_book.h"
#include "peapod/chain.h"
#include "peapod/identity.h"
#include "peapod/node.h"
#include "peapod/pipe.h"
#include "peapod/topology.h"
#include "peapod/trust.h"
#include "support/faults.h"

static char folder[] = "/tmp/peapod-oom-XXXXXX";

static const char *in_folder(const char *name)
{
    static char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_file(const char *name, const char *text)
{
    FILE *f = fopen(in_folder(name), "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(in_folder(name), 0600), 0);
}

/* Makes one thing and, if that succeeds, takes it away again. */
typedef pea_err (*maker)(pea_error *why);

/* Returns how many allocations there were. */
static size_t fail_each(const char *name, maker make)
{
    size_t blocks = faults_blocks(), nth = 0;
    pea_error why;
    check_ok(make(&why)); /* what is made once in a process is there now */
    for (bool hit = true; hit; nth++) {
        why = (pea_error){.code = PEA_OK};
        faults_arm(nth);
        pea_err err = make(&why);
        hit = faults_disarm();
        if (err != PEA_OK && (err != PEA_E_NOMEM || !hit))
            fail_msg("%s: allocation %zu: %s: %s", name, nth, pea_err_name(err), why.text);
        if (faults_blocks() != blocks)
            fail_msg("%s: allocation %zu leaves %zu blocks", name, nth, faults_blocks() - blocks);
    }
    check_ok(make(&why));
    return nth - 1;
}

/* ---- secure/ ---- */

static pea_identity *key, *certified;

static pea_err generate(pea_error *why)
{
    pea_identity *made;
    pea_err err = pea_identity_generate(&made, why);
    if (err == PEA_OK)
        pea_identity_unref(made);
    return err;
}

static pea_err save_and_load(pea_error *why)
{
    pea_identity *made;
    const char *path = in_folder("key");
    (void)unlink(path);
    pea_err err = pea_identity_save(key, path, why);
    if (err != PEA_OK) {
        assert_int_not_equal(access(path, F_OK), 0); /* all of it or nothing */
        return err;
    }
    err = pea_identity_load(&made, path, why);
    if (err == PEA_OK)
        pea_identity_unref(made);
    return err;
}

static pea_err network_key(pea_error *why)
{
    static const uint8_t made[PEA_KEY_BYTES] = {1};
    uint8_t again[PEA_KEY_BYTES];
    const char *path = in_folder("network");
    (void)unlink(path);
    pea_err err = pea_network_key_save(made, path, why);
    if (err == PEA_OK)
        return pea_network_key_load(again, path, why);
    assert_int_not_equal(access(path, F_OK), 0);
    return err;
}

static pea_err new_noise(pea_error *why)
{
    pea_noise *made;
    pea_err err = pea_noise_new(&made, PEA_INITIATOR, PEA_NOISE(.identity = key), why);
    if (err == PEA_OK)
        pea_noise_free(made);
    return err;
}

static pea_err rules(pea_error *why)
{
    pea_trust *trust;
    pea_peer peer;
    pea_identity_peer(key, &peer);
    pea_err err = pea_trust_new(&trust);
    if (err != PEA_OK)
        return err;
    err = pea_trust_allow(trust, &peer, "somebody", "admin", why);
    if (err == PEA_OK)
        err = pea_trust_add(
            trust, "spki:sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff name=db", why);
    if (err == PEA_OK)
        err = pea_trust_deny(trust, &peer, why);
    pea_trust_unref(trust);
    return err;
}

/* A root, a certificate of it that is saved and loaded, a chain that shows it and a rule that knows the root. */
static pea_err certificates(pea_error *why)
{
    pea_root *root = NULL;
    pea_cert *cert = NULL, *loaded = NULL;
    pea_trust *trust = NULL;
    pea_chain *chain = NULL;
    pea_peer peer;
    uint8_t public_key[PEA_KEY_BYTES];
    char line[128], text[PEA_ROOT_TEXT_BYTES];
    pea_identity_peer(key, &peer);
    (void)unlink(in_folder("cert"));
    pea_err err = pea_root_generate(&root, why);
    if (err == PEA_OK)
        err = pea_cert_issue(&cert, root, PEA_CERT(.key = peer.id, .name = "a", .not_after = INT64_C(4000000000)), why);
    if (err == PEA_OK)
        err = pea_cert_save(cert, in_folder("cert"), why);
    if (err == PEA_OK)
        err = pea_cert_load(&loaded, in_folder("cert"), why);
    if (err == PEA_OK)
        err = pea_chain_new(&chain, NULL, why);
    if (err == PEA_OK)
        err = pea_chain_noise(chain, PEA_NOISE(.identity = key, .certificate = loaded), why);
    if (err == PEA_OK)
        err = pea_trust_new(&trust);
    if (err == PEA_OK) {
        pea_root_public(root, public_key);
        (void)snprintf(line, sizeof line, "%s names=a,b-* roles=c", pea_root_key_format(public_key, text));
        err = pea_trust_add(trust, line, why);
    }
    pea_trust_unref(trust);
    pea_chain_unref(chain);
    pea_cert_unref(loaded);
    pea_cert_unref(cert);
    pea_root_free(root);
    return err;
}

static pea_err rule_files(pea_error *why)
{
    pea_trust *trust;
    char line[PEA_PEER_TEXT_BYTES + 32], text[PEA_PEER_TEXT_BYTES];
    pea_peer peer;
    pea_identity_peer(key, &peer);
    (void)snprintf(line, sizeof line, "%s name=friend\n", pea_peer_format(&peer, text));
    write_file("peers", line);
    pea_err err = pea_trust_new(&trust);
    if (err != PEA_OK)
        return err;
    err = pea_trust_load(trust, in_folder("peers"), why);
    if (err == PEA_OK)
        err = pea_trust_reload(trust, why);
    if (err == PEA_OK)
        err = pea_trust_first_use(trust, in_folder("known"), why);
    if (err == PEA_OK)
        err = pea_trust_lint(in_folder("peers"), NULL, NULL);
    pea_trust_unref(trust);
    return err;
}

/* ---- handshake/ and core ---- */

static pea_err noise_chain(pea_error *why)
{
    static const uint8_t psk[32] = {1};
    pea_chain *chain;
    pea_err err = pea_chain_new(&chain, PEA_CHAIN(.mode = PEA_STREAM), why);
    if (err != PEA_OK)
        return err;
    err = pea_chain_noise(chain,
                          PEA_NOISE(.protocol = "Noise_XXpsk0+psk3_25519_ChaChaPoly_SHA256", .identity = key,
                                    .psk = psk, .more_psks = psk, .n_more_psks = 1, .prologue = {psk, sizeof psk}),
                          why);
    pea_chain_unref(chain);
    return err;
}

static pea_err native_chain_and_pipe(pea_error *why)
{
    pea_chain *chain;
    pea_pipe *pipe;
    pea_err err = pea_chain_new(&chain, PEA_CHAIN(.application = "oom"), why);
    if (err != PEA_OK)
        return err;
    err = pea_chain_noise(chain, PEA_NOISE(.identity = key), why);
    if (err == PEA_OK && (err = pea_pipe_new(&pipe, chain, PEA_PIPE(.name = "somebody"), why)) == PEA_OK)
        pea_pipe_free(pipe);
    pea_chain_unref(chain);
    return err;
}

static pea_err codecs(pea_error *why)
{
    pea_codec *codec;
    pea_err err = PEA_OK;
    for (int i = 0; i < 5 && err == PEA_OK; i++) {
        err = i == 0   ? pea_codec_length(&codec, PEA_LENGTH(.field = 2), why)
              : i == 1 ? pea_codec_varint(&codec, NULL, why)
              : i == 2 ? pea_codec_delimiter(&codec, NULL, why)
              : i == 3 ? pea_codec_fixed(&codec, 10, why)
                       : pea_codec_raw(&codec);
        if (err == PEA_OK)
            pea_codec_unref(codec);
    }
    return err;
}

static pea_err runtime_of(uint32_t workers, pea_error *why)
{
    static const pea_prefix exempt[] = {{.family = PEA_ADDR_IPV4, .bits = 8, .ip = {10}}};
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    pea_runtime *runtime;
    pea_chain *chain;
    pea_node *node;
    assert_non_null(loop);
    pea_err err = pea_runtime_new(&runtime, PEA_RUNTIME(.loop = loop, .workers = workers), why);
    if (err == PEA_OK) {
        err = pea_chain_new(&chain, NULL, why);
        if (err == PEA_OK) {
            check_ok(pea_chain_plain(chain));
            err = pea_node_new(&node, runtime,
                               PEA_NODE(.chain = chain, .name = "node", .exempt = exempt, .n_exempt = 1), why);
            if (err == PEA_OK)
                pea_node_free(node);
            pea_chain_unref(chain);
        }
        check_ok(pea_runtime_free(runtime));
    }
    ev_loop_destroy(loop);
    return err;
}

static pea_err runtime_alone(pea_error *why)
{
    return runtime_of(0, why);
}

static pea_err runtime_with_threads(pea_error *why)
{
    return runtime_of(2, why);
}

static pea_err own_loop(pea_error *why)
{
    pea_runtime *runtime;
    pea_err err = pea_runtime_new(&runtime, NULL, why);
    if (err == PEA_OK)
        check_ok(pea_runtime_free(runtime));
    return err;
}

/* ---- mesh/ ---- */

static pea_err book(pea_error *why)
{
    pea_book *made;
    pea_peer peer;
    pea_addr addr;
    pea_identity_peer(key, &peer);
    pea_err err = pea_book_new(&made, NULL, why);
    for (unsigned i = 0; i < 40 && err == PEA_OK; i++) {
        char text[PEA_ADDR_TEXT_BYTES];
        (void)snprintf(text, sizeof text, "127.0.0.1:%u", 1000 + i);
        check_ok(pea_addr_parse(&addr, text, NULL));
        peer.id[0] = (uint8_t)i;
        err = pea_book_add(made, i % 2 == 0 ? &peer : NULL, &addr, NULL, why);
        if (err != PEA_OK)
            pea_book_free(made);
    }
    if (err == PEA_OK)
        pea_book_free(made);
    return err;
}

static pea_err nothing(void *arg, size_t from, size_t to)
{
    (void)arg, (void)from, (void)to;
    return PEA_OK;
}

static pea_err random_shape(pea_error *why)
{
    return pea_topology_each(&(pea_topology){.shape = PEA_TOPOLOGY_RANDOM, .degree = 3}, 20, nothing, NULL, why);
}

/* ---- TLS ---- */

static const char certificate[] = PEA_TEST_CERTS "/self_a.crt", private_key[] = PEA_TEST_CERTS "/self_a.key";

static pea_err load_certificate(pea_error *why)
{
    pea_identity *made;
    pea_err err = pea_identity_load_certificate(&made, certificate, private_key, NULL, NULL, why);
    if (err == PEA_OK)
        pea_identity_unref(made);
    return err;
}

static pea_err tls_chain(pea_error *why)
{
    static const char *const alpn[] = {"one", "two", NULL};
    pea_chain *chain;
    char line[512];
    pea_trust *trust;
    pea_err err = pea_chain_new(&chain, PEA_CHAIN(.mode = PEA_STREAM), why);
    if (err != PEA_OK)
        return err;
    if ((err = pea_trust_new(&trust)) == PEA_OK) {
        (void)snprintf(line, sizeof line, "ca:%s/root.crt dns:*.example.org", PEA_TEST_CERTS);
        err = pea_trust_add(trust, line, why);
        if (err == PEA_OK)
            err = pea_chain_tls(chain, PEA_TLS(.identity = certified, .trust = trust, .alpn = alpn), why);
        pea_trust_unref(trust);
    }
    pea_chain_unref(chain);
    return err;
}

/* ---- All of them ---- */

typedef struct thing {
    const char *name;
    maker make;
    bool tls;
} thing;

static const thing things[] = {
    {"identity_generate", generate, false},
    {"identity_save, identity_load", save_and_load, false},
    {"network_key_save, network_key_load", network_key, false},
    {"noise_new", new_noise, false},
    {"trust_allow, trust_add, trust_deny", rules, false},
    {"root_generate, cert_issue, cert_save, cert_load", certificates, false},
    {"trust_load, trust_reload, trust_first_use, trust_lint", rule_files, false},
    {"chain_noise", noise_chain, false},
    {"chain_new, pipe_new", native_chain_and_pipe, false},
    {"codecs", codecs, false},
    {"runtime_new, node_new", runtime_alone, false},
    {"runtime_new with threads", runtime_with_threads, false},
    {"runtime_new with a loop of its own", own_loop, false},
    {"book_add", book, false},
    {"topology_each", random_shape, false},
    {"identity_load_certificate", load_certificate, true},
    {"chain_tls", tls_chain, true},
};

static void each_of_them(void **state)
{
    bool tls = strcmp(pea_tls_library(), "none") != 0;
    (void)state;
    check_ok(pea_identity_generate(&key, NULL));
    if (tls)
        check_ok(pea_identity_load_certificate(&certified, certificate, private_key, NULL, NULL, NULL));
    for (size_t i = 0; i < sizeof things / sizeof things[0]; i++) {
        if (things[i].tls && !tls)
            continue;
        size_t n = fail_each(things[i].name, things[i].make);
        print_message("%s: %zu allocations\n", things[i].name, n);
        assert_true(n > 0);
    }
    pea_identity_unref(key);
    pea_identity_unref(certified);
    assert_int_equal(faults_blocks(), 0);
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static int remove_folder(void **state)
{
    static const char *const files[] = {"key", "network", "peers", "known", "cert"};
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        (void)unlink(in_folder(files[i]));
    return rmdir(folder);
}

int main(void)
{
    faults_install();
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_of_them)};
    return cmocka_run_group_tests_name("oom_make", tests, make_folder, remove_folder);
}
