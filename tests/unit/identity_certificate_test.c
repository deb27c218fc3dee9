/* SPDX-License-Identifier: MIT */
/* Certificates with their private keys as identities: every form in which they come, passphrases, and what is said
 * where something is wrong with them. What peers think of a certificate is tls_session_test.c's business. */
#include <mbedtls/x509_crt.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "peapod/tls.h"
#include "secure_priv.h"
#include "support/check.h"
#include "support/faults.h"

static const char *path_of(const char *name)
{
    static char path[2][512];
    static unsigned turn;
    turn = 1 - turn;
    (void)snprintf(path[turn], sizeof path[turn], "%s%s%s", name[0] == '/' ? "" : PEA_TEST_CERTS,
                   name[0] == '/' ? "" : "/", name);
    return path[turn];
}

static size_t file_read(const char *name, uint8_t *dst, size_t size)
{
    FILE *f = fopen(path_of(name), "r");
    assert_non_null(f);
    size_t len = fread(dst, 1, size, f);
    assert_int_equal(fclose(f), 0);
    assert_true(len < size);
    return len;
}

/* ---- Passphrases ---- */

typedef struct secret {
    const char *text;
    unsigned asked;
} secret;

static size_t tell(void *arg, char *dst, size_t size)
{
    secret *s = arg;
    s->asked++;
    size_t len = strlen(s->text);
    assert_true(len <= size);
    memcpy(dst, s->text, len);
    return len;
}

static size_t tell_too_much(void *arg, char *dst, size_t size)
{
    (void)arg, (void)dst;
    return size + 1;
}

static pea_err load(pea_identity **identity, const char *crt, const char *key, secret *s, pea_error *why)
{
    *why = (pea_error){.code = PEA_OK};
    *identity = NULL;
    return pea_identity_load_certificate(identity, path_of(crt), path_of(key), s != NULL ? tell : NULL, s, why);
}

/* ---- What is taken ---- */

static void every_form(void **state)
{
    static const struct {
        const char *crt, *key;
        bool encrypted;
    } rows[] = {
        {"server.crt", "server.key", false},
        {"server.der.crt", "server.der.key", false},
        {"server.crt", "server.sec1.key", false},
        {"server_p384.crt", "server_p384.key", false},
        {"server_p521.crt", "server_p521.key", false},
        {"server_rsa.crt", "server_rsa.key", false},
        {"server_rsa.crt", "server_rsa.der.key", false},
        {"server_rsa.crt", "server_rsa.pkcs1.key", false},
        {"server_chain.crt", "server_chain.key", false},
        {"self_ca.crt", "self_ca.key", false},
        {"server.crt", "server.aes.key", true},
        {"server.crt", "server.des3.key", true},
        {"server.crt", "server.aes.der.key", true},
        {"server_rsa.crt", "server_rsa.aes.key", true},
        {"server_rsa.crt", "server_rsa.legacy.key", true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        pea_identity *from_files, *from_memory;
        static uint8_t crt[16384], key[16384];
        pea_error why;
        secret s = {.text = "peapod"};
        size_t blocks = faults_blocks();
        if (load(&from_files, rows[i].crt, rows[i].key, &s, &why) != PEA_OK)
            fail_msg("%s, %s: %s", rows[i].crt, rows[i].key, why.text);
        assert_int_equal(s.asked, rows[i].encrypted ? 1 : 0);
        size_t crt_len = file_read(rows[i].crt, crt, sizeof crt), key_len = file_read(rows[i].key, key, sizeof key);
        check_ok(pea_identity_parse_certificate(&from_memory, (pea_span){crt, crt_len}, (pea_span){key, key_len}, tell,
                                                &s, &why));
        pea_peer a, b, c;
        pea_identity_peer(from_files, &a);
        pea_identity_peer(from_memory, &b);
        check_ok(pea_peer_from_certificate(&c, (pea_span){crt, crt_len}, &why));
        assert_true(pea_peer_equal(&a, &b) && pea_peer_equal(&a, &c));
        assert_int_equal(a.kind, PEA_PEER_SPKI);
        check_err(pea_identity_save(from_files, "/tmp/never", &why), PEA_E_UNSUPPORTED);
        pea_identity_unref(from_files);
        pea_identity_unref(from_memory);
        assert_int_equal(faults_blocks(), blocks);
    }
}

/* The id is the SHA-256 of the SubjectPublicKeyInfo, as mbedTLS finds it. */
static void who_it_is(void **state)
{
    mbedtls_x509_crt crt;
    uint8_t id[32];
    pea_identity *identity;
    pea_error why;
    pea_peer peer;
    (void)state;
    mbedtls_x509_crt_init(&crt);
    assert_int_equal(mbedtls_x509_crt_parse_file(&crt, path_of("server_chain.crt")), 0);
    assert_int_equal(crypto_hash_sha256(id, crt.pk_raw.p, crt.pk_raw.len), 0);
    check_ok(load(&identity, "server_chain.crt", "server_chain.key", NULL, &why));
    pea_identity_peer(identity, &peer);
    check_bytes(peer.id, sizeof peer.id, id, sizeof id);
    const pea_span *chain;
    assert_int_equal(pea__identity_chain(identity, &chain), 2);
    check_bytes(chain[0].data, chain[0].len, crt.raw.p, crt.raw.len);
    check_bytes(chain[1].data, chain[1].len, crt.next->raw.p, crt.next->raw.len);
    pea_identity_unref(identity);
    mbedtls_x509_crt_free(&crt);
}

/* ---- What is not ---- */

static void what_is_wrong(void **state)
{
    static const struct {
        const char *crt, *key, *passphrase; /* NULL: nobody to ask */
        pea_err err;
        const char *says;
    } rows[] = {
        {"server.crt", "client.key", NULL, PEA_E_INVALID, "not the first certificate's"},
        {"server.crt", "server.mismatch.key", NULL, PEA_E_INVALID, "not the first certificate's"},
        {"server.crt", "server_rsa.key", NULL, PEA_E_INVALID, "not the first certificate's"},
        {"bad_rsa1024.crt", "bad_rsa1024.key", NULL, PEA_E_INVALID, "1024 bits"},
        {"server.crt", "server.aes.key", NULL, PEA_E_INVALID, "nobody to ask"},
        {"server.crt", "server.aes.key", "", PEA_E_INVALID, "no passphrase was given"},
        {"server.crt", "server.aes.key", "wrong", PEA_E_INVALID, "passphrase"},
        {"server.crt", "server.des3.key", "wrong", PEA_E_INVALID, "passphrase"},
        {"server_rsa.crt", "server_rsa.legacy.key", "wrong", PEA_E_INVALID, "passphrase"},
        {"server.key", "server.key", NULL, PEA_E_FORMAT, "no CERTIFICATE"},
        {"server.crt", "server.crt", NULL, PEA_E_FORMAT, "no private key"},
        {"nowhere.crt", "server.key", NULL, PEA_E_SYS, "nowhere.crt"},
        {"server.crt", "nowhere.key", NULL, PEA_E_SYS, "nowhere.key"},
        {"/dev/null", "server.key", NULL, PEA_E_PERMISSION, "/dev/null"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        pea_identity *identity;
        pea_error why;
        secret s = {.text = rows[i].passphrase};
        size_t blocks = faults_blocks();
        pea_err err = load(&identity, rows[i].crt, rows[i].key, rows[i].passphrase != NULL ? &s : NULL, &why);
        if (err != rows[i].err || strstr(why.text, rows[i].says) == NULL)
            fail_msg("row %zu: %s: \"%s\"", i, pea_err_name(err), why.text);
        assert_int_equal(why.code, err);
        assert_null(identity);
        assert_int_equal(faults_blocks(), blocks);
    }
}

static void a_callback_that_says_too_much(void **state)
{
    pea_identity *identity;
    pea_error why;
    (void)state;
    check_err(pea_identity_load_certificate(&identity, path_of("server.crt"), path_of("server.aes.key"), tell_too_much,
                                            NULL, &why),
              PEA_E_INVALID);
    assert_non_null(strstr(why.text, "more than it was allowed to"));
}

/* Of every length, and with a byte changed: an error with a sentence, or what it was. */
static void cut_and_changed(const char *crt_file, const char *key_file, size_t step)
{
    static uint8_t crt[16384], key[16384], changed[16384];
    pea_identity *identity;
    pea_error why;
    secret s = {.text = "peapod"};
    size_t crt_len = file_read(crt_file, crt, sizeof crt), key_len = file_read(key_file, key, sizeof key);
    size_t blocks = faults_blocks();
    for (size_t len = 0; len + 2 < key_len; len += step) { /* PEM may do without its last newline */
        uint8_t *copy = malloc(len > 0 ? len : 1);
        assert_non_null(copy);
        memcpy(copy, key, len);
        why = (pea_error){.code = PEA_OK};
        pea_err err =
            pea_identity_parse_certificate(&identity, (pea_span){crt, crt_len}, (pea_span){copy, len}, tell, &s, &why);
        free(copy);
        if (err == PEA_OK || why.text[0] == '\0')
            fail_msg("%s of %zu bytes: %s \"%s\"", key_file, len, pea_err_name(err), why.text);
    }
    for (size_t at = 0; at < key_len; at += step) {
        memcpy(changed, key, key_len);
        changed[at] ^= 0x04;
        why = (pea_error){.code = PEA_OK};
        pea_err err = pea_identity_parse_certificate(&identity, (pea_span){crt, crt_len}, (pea_span){changed, key_len},
                                                     tell, &s, &why);
        if (err == PEA_OK)
            pea_identity_unref(identity); /* what was changed did not matter: a header, a comment */
        else
            assert_true(why.text[0] != '\0');
    }
    for (size_t len = 0; len + 2 < crt_len; len += step) {
        why = (pea_error){.code = PEA_OK};
        pea_err err =
            pea_identity_parse_certificate(&identity, (pea_span){crt, len}, (pea_span){key, key_len}, tell, &s, &why);
        if (err == PEA_OK || why.text[0] == '\0')
            fail_msg("%s of %zu bytes: %s \"%s\"", crt_file, len, pea_err_name(err), why.text);
    }
    assert_int_equal(faults_blocks(), blocks);
}

static void cut_short(void **state)
{
    (void)state;
    cut_and_changed("server.crt", "server.key", 1);
    cut_and_changed("server.der.crt", "server.der.key", 1);
    cut_and_changed("server.crt", "server.sec1.key", 7);
    cut_and_changed("server_rsa.crt", "server_rsa.der.key", 61);
}

static void noise_is_not_tls(void **state)
{
    pea_identity *noise, *tls;
    pea_error why;
    (void)state;
    check_ok(pea_identity_generate(&noise, NULL));
    assert_false(pea__identity_is_certificate(noise));
    check_ok(load(&tls, "server.crt", "server.key", NULL, &why));
    assert_true(pea__identity_is_certificate(tls));
    pea_identity_unref(noise);
    pea_identity_unref(tls);
}

/* ---- Whose files ---- */

static void safe_files_only(void **state)
{
    static uint8_t key[16384];
    pea_identity *identity;
    pea_error why;
    char file[] = "/tmp/peapod-key-XXXXXX";
    (void)state;
    size_t len = file_read("server.key", key, sizeof key);
    int fd = mkstemp(file);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, key, len), (ssize_t)len);
    assert_int_equal(fchmod(fd, 0600), 0);
    check_ok(load(&identity, "server.crt", file, NULL, &why));
    pea_identity_unref(identity);
    static const mode_t modes[] = {0604, 0660, 0610, 0644}; /* 0640 is allowed where the file is root's */
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        assert_int_equal(fchmod(fd, modes[i]), 0);
        check_err(load(&identity, "server.crt", file, NULL, &why), PEA_E_PERMISSION);
        assert_non_null(strstr(why.text, file));
    }
    assert_int_equal(close(fd) + unlink(file), 0);
}

/* ---- Made here ---- */

static void made_here(void **state)
{
    char folder[] = "/tmp/peapod-made-XXXXXX", crt[64], key[64], other[64];
    uint8_t text[4096];
    struct stat st;
    pea_error why;
    pea_identity *made, *again = NULL;
    pea_peer peer, same;
    (void)state;
    assert_non_null(mkdtemp(folder));
    (void)snprintf(crt, sizeof crt, "%s/a.crt", folder);
    (void)snprintf(key, sizeof key, "%s/a.key", folder);
    (void)snprintf(other, sizeof other, "%s/b.key", folder);
    check_ok(pea_identity_generate_certificate(&made, "db.mesh.example", 1, &why));
    check_ok(pea_identity_save_certificate(made, crt, key, &why));
    check_ok(load(&again, crt, key, NULL, &why));
    pea_identity_peer(made, &peer);
    pea_identity_peer(again, &same);
    assert_true(pea_peer_equal(&peer, &same));
    size_t len = file_read(crt, text, sizeof text);
    check_ok(pea_peer_from_certificate(&same, (pea_span){text, len}, &why));
    assert_true(pea_peer_equal(&peer, &same));
    mbedtls_x509_crt parsed;
    mbedtls_x509_crt_init(&parsed);
    text[len] = '\0';
    assert_int_equal(mbedtls_x509_crt_parse(&parsed, text, len + 1), 0);
    assert_int_equal(mbedtls_x509_time_is_past(&parsed.valid_to), 0);
    assert_int_equal(mbedtls_x509_time_is_future(&parsed.valid_from), 0);
    assert_int_equal(mbedtls_x509_crt_verify(&parsed, &parsed, NULL, "db.mesh.example", &(uint32_t){0}, NULL, NULL), 0);
    mbedtls_x509_crt_free(&parsed);
    check_err(pea_identity_save_certificate(made, crt, other, &why), PEA_E_EXISTS); /* both or neither */
    assert_int_equal(stat(other, &st), -1);
    check_err(pea_identity_save(made, other, &why), PEA_E_UNSUPPORTED);
    assert_int_equal(unlink(crt), 0);
    assert_int_equal(unlink(key), 0);
    pea_identity_unref(again);
    pea_identity_unref(made);
    check_ok(pea_identity_generate(&made, &why));
    check_err(pea_identity_save_certificate(made, crt, key, &why), PEA_E_UNSUPPORTED);
    pea_identity_unref(made);
    assert_int_equal(rmdir(folder), 0);
}

static void not_made(void **state)
{
    static const char *const names[] = {"", "A.example", "a..example", "a b", "*.example", ".a", "a.", "a,CN=b"};
    pea_error why;
    pea_identity *made = NULL;
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        check_err(pea_identity_generate_certificate(&made, names[i], 0, &why), PEA_E_INVALID);
    check_err(pea_identity_generate_certificate(&made, NULL, 36501, &why), PEA_E_INVALID);
    assert_null(made);
    char longest[254], label[65];
    memset(label, 'a', sizeof label);
    label[64] = '\0';
    check_err(pea_identity_generate_certificate(&made, label, 0, &why), PEA_E_INVALID);
    for (size_t i = 0; i < sizeof longest - 1; i++)
        longest[i] = i % 10 == 9 ? '.' : 'x';
    longest[253] = '\0';
    check_ok(pea_identity_generate_certificate(&made, longest, 36500, &why));
    pea_identity_unref(made);
    check_ok(pea_identity_generate_certificate(&made, NULL, 0, &why));
    pea_identity_unref(made);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form),      cmocka_unit_test(who_it_is),
        cmocka_unit_test(what_is_wrong),   cmocka_unit_test(a_callback_that_says_too_much),
        cmocka_unit_test(cut_short),       cmocka_unit_test(noise_is_not_tls),
        cmocka_unit_test(safe_files_only), cmocka_unit_test(made_here),
        cmocka_unit_test(not_made),
    };
    faults_install();
    return cmocka_run_group_tests_name("certificates as identities", tests, NULL, NULL);
}
