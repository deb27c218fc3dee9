/* SPDX-License-Identifier: MIT */
/* Identities and key files: forms that are taken, forms that are refused with a sentence, files that are safe and files
 * that are not. */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "secure_priv.h"
#include "support/check.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* RFC 7748, section 6.1: Alice's and Bob's public keys, and Bob's secret one. */
#define BOB_SECRET "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"
#define BOB_PUBLIC "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
#define BOB_BASE64 "XasIfmJKikt54X+Lg4AO5m87sSkmGLb9HC+LJ/+I4Os="
#define BOB_DER "MC4CAQAwBQYDK2VuBCIEIF2rCH5iSopLeeF/i4OADuZvO7EpJhi2/Rwviyf/iODr"
#define BEGIN "-----BEGIN PRIVATE KEY-----\n"
#define END "-----END PRIVATE KEY-----\n"
#define BOB_PEM BEGIN BOB_DER "\n" END

static char folder[64];

static const char *in_folder(const char *name)
{
    static char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_file(const char *path, const char *text, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    assert_int_equal(close(fd), 0);
}

static void check_is_bob(const pea_identity *id)
{
    uint8_t want[32];
    pea_peer peer;
    assert_int_equal(sodium_hex2bin(want, 32, BOB_PUBLIC, 64, NULL, NULL, NULL), 0);
    pea_identity_peer(id, &peer);
    assert_int_equal(peer.kind, PEA_PEER_NOISE);
    check_bytes(peer.id, 32, want, 32);
    assert_string_equal(peer.name, "");
}

/* ---- Text ---- */

static void test_good_forms(void **state)
{
    static const char *const forms[] = {
        BOB_PEM,
        BEGIN BOB_DER "\n-----END PRIVATE KEY-----", /* no newline at the end */
        "-----BEGIN PRIVATE KEY-----\r\n" BOB_DER "\r\n-----END PRIVATE KEY-----\r\n",
        BEGIN "MC4CAQAwBQYDK2VuBCIEIF2rCH5iSopLeeF/i4OA\nDuZvO7EpJhi2/Rwviyf/iODr\n" END,
        "\n  " BOB_PEM "\n\n",
        BOB_BASE64,
        BOB_BASE64 "\n",
        " " BOB_BASE64 "\r\n",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(forms); i++) {
        pea_identity *id;
        check_ok(pea_identity_parse(&id, forms[i], strlen(forms[i]), NULL));
        check_is_bob(id);
        pea_identity_unref(id);
    }
}

static void test_bad_forms(void **state)
{
    static const struct {
        const char *text;
        pea_err err;
        uint32_t line;
        const char *says;
    } cases[] = {
        {"", PEA_E_FORMAT, 0, "empty"},
        {"\n \n", PEA_E_FORMAT, 0, "empty"},
        {"hello", PEA_E_FORMAT, 1, "neither"},
        {"\n\nhello", PEA_E_FORMAT, 3, "neither"},
        {"XasIfmJKikt54X+Lg4AO5m87sSkmGLb9HC+LJ/+I4Os", PEA_E_FORMAT, 1, "neither"},  /* padding is missing */
        {"XasIfmJKikt54X+Lg4AO5m87sSkmGLb9HC+LJ/+I4Ot=", PEA_E_FORMAT, 1, "neither"}, /* bits behind the end */
        {BOB_BASE64 "\n" BOB_BASE64, PEA_E_FORMAT, 1, "neither"},
        {"XasIfmJKikt54X+Lg4AO5m87sSkmGLb9HC+LJ/+I4OsA", PEA_E_FORMAT, 1, "neither"}, /* 33 bytes */
        {"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", PEA_E_INVALID, 0, "all zero"},
        {"[Interface]\nPrivateKey = " BOB_BASE64, PEA_E_FORMAT, 1, "neither"},
        {"noise:" BOB_BASE64, PEA_E_FORMAT, 1, "neither"},
        {"-----BEGIN ", PEA_E_FORMAT, 1, "neither"},
        {"-----BEGIN PRIVATE KEY", PEA_E_FORMAT, 1, "cut short"},
        {"-----BEGIN PRIVATE KEY-----", PEA_E_FORMAT, 1, "goes on"},
        {"-----BEGIN PRIVATE KEY----- x\n" BOB_DER "\n" END, PEA_E_FORMAT, 1, "goes on"},
        {BEGIN, PEA_E_FORMAT, 1, "goes on"},
        {BEGIN BOB_DER "\n", PEA_E_FORMAT, 2, "END line"},
        {BEGIN BOB_DER "\n" END "x", PEA_E_FORMAT, 4, "END line"},
        {BEGIN BOB_DER "\n" END BOB_PEM, PEA_E_FORMAT, 3, "base64"},
        {BEGIN BOB_DER END, PEA_E_FORMAT, 2, "END line"},
        {BEGIN "!" BOB_DER "\n" END, PEA_E_FORMAT, 2, "base64"},
        {BEGIN "Proc-Type: 4,ENCRYPTED\n\n" BOB_DER "\n" END, PEA_E_FORMAT, 2, "base64"},
        {BEGIN END, PEA_E_FORMAT, 0, "PKCS#8"},
        {BEGIN BOB_BASE64 "\n" END, PEA_E_FORMAT, 0, "PKCS#8"},
        {BEGIN "MC4CAQEwBQYDK2VuBCIEIF2rCH5iSopLeeF/i4OADuZvO7EpJhi2/Rwviyf/iODr\n" END, PEA_E_FORMAT, 0,
         "PKCS#8"},                                              /* version 1 */
        {BEGIN BOB_DER "AAAA\n" END, PEA_E_FORMAT, 0, "PKCS#8"}, /* more behind it */
        /* RFC 8410, section 10.3: an Ed25519 key, and its public key in an attribute. */
        {BEGIN "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n" END, PEA_E_UNSUPPORTED, 0,
         "Ed25519"},
        {BEGIN "MHICAQEwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/"
               "HU++"
               "CXqI9EdVhC\noB8wHQYKKoZIhvcNAQkJFDEPDA1DdXJkbGUgQ2hhaXJzgSEAGb9ECWmEzf6FQbrB\nZ9w7lshQhqowtrbLDFw4rXAxZ"
               "uE=\n" END,
         PEA_E_UNSUPPORTED, 0, "Ed25519"},
        {"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", PEA_E_UNSUPPORTED, 1,
         "encrypted"},
        {"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VuAyEA3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=\n-----END PUBLIC "
         "KEY-----\n",
         PEA_E_FORMAT, 1, "public"},
        {"-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n", PEA_E_UNSUPPORTED, 1, "PKCS#8"},
        {"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n", PEA_E_UNSUPPORTED, 1,
         "PKCS#8"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        pea_identity *id = NULL;
        pea_error why = {0};
        pea_err err = pea_identity_parse(&id, cases[i].text, strlen(cases[i].text), &why);
        if (err != cases[i].err || why.line != cases[i].line || strstr(why.text, cases[i].says) == NULL)
            fail_msg("case %zu: %s, line %u: %s", i, pea_err_name(err), (unsigned)why.line, why.text);
        assert_int_equal(why.code, err);
        assert_null(id);
        assert_null(strstr(why.text, "XasI")); /* no error repeats a key */
    }
}

/* Nothing that is cut short or changed is taken for another key without notice: each prefix, and each byte replaced. */
static void test_every_damage(void **state)
{
    char text[] = BOB_PEM;
    size_t len = strlen(text);
    (void)state;
    for (size_t n = 0; n + 1 < len; n++) {
        pea_identity *id;
        /* Exactly as long as it is: a read past the end is found. */
        char *part = malloc(n > 0 ? n : 1);
        memcpy(part, text, n);
        assert_true(pea_identity_parse(&id, part, n, NULL) < 0);
        free(part);
    }
    size_t key_begins = strlen(BEGIN) + 22; /* the base64 characters before it are all of the prefix */
    for (size_t at = 0; at < len - 1; at++) {
        pea_identity *id = NULL;
        char old = text[at];
        text[at] = '\0';
        assert_true(pea_identity_parse(&id, text, len, NULL) < 0);
        text[at] = old == 'B' ? 'C' : 'B';
        if (at < key_begins - 1 || at > strlen(BEGIN BOB_DER))
            assert_true(pea_identity_parse(&id, text, len, NULL) < 0);
        text[at] = old;
    }
    char *big = malloc(5000);
    memset(big, 'A', 5000);
    pea_identity *id;
    pea_error why;
    check_err(pea_identity_parse(&id, big, 5000, &why), PEA_E_FORMAT);
    assert_non_null(strstr(why.text, "longer"));
    free(big);
}

static void test_writer(void **state)
{
    uint8_t secret[32];
    char pem[PEA__PEM_BYTES];
    (void)state;
    assert_int_equal(sodium_hex2bin(secret, 32, BOB_SECRET, 64, NULL, NULL, NULL), 0);
    assert_int_equal(pea__keyfile_write(pem, PEA__KEY_X25519, secret), strlen(BOB_PEM));
    assert_string_equal(pem, BOB_PEM);
}

/* ---- Files ---- */

static void test_save_and_load(void **state)
{
    pea_identity *id, *again;
    pea_peer a, b;
    struct stat st;
    pea_error why;
    (void)state;
    mode_t old = umask(0);
    check_ok(pea_identity_generate(&id, NULL));
    check_ok(pea_identity_save(id, in_folder("new.key"), NULL));
    (void)umask(old);
    assert_int_equal(stat(in_folder("new.key"), &st), 0);
    assert_int_equal(st.st_mode, S_IFREG | 0600);
    assert_int_equal(st.st_nlink, 1); /* the temporary name is gone */
    check_ok(pea_identity_load(&again, in_folder("new.key"), NULL));
    pea_identity_peer(id, &a);
    pea_identity_peer(again, &b);
    assert_true(pea_peer_equal(&a, &b));
    /* Never twice, and what is there stays. */
    check_err(pea_identity_save(again, in_folder("new.key"), &why), PEA_E_EXISTS);
    assert_non_null(strstr(why.text, "new.key"));
    pea_identity_unref(again);
    check_ok(pea_identity_load(&again, in_folder("new.key"), NULL));
    pea_identity_unref(again);
    /* Nor through a link that leads nowhere. */
    assert_int_equal(symlink("nowhere", in_folder("dangling")), 0);
    check_err(pea_identity_save(id, in_folder("dangling"), &why), PEA_E_EXISTS);
    check_err(pea_identity_save(id, in_folder("no/such/folder"), &why), PEA_E_SYS);
    assert_int_equal(why.sys, ENOENT);
    pea_identity_unref(id);
}

static void test_save_here(void **state)
{
    char here[256];
    pea_identity *id;
    (void)state;
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(folder), 0);
    check_ok(pea_identity_generate(&id, NULL));
    pea_err err = pea_identity_save(id, "plain-name.key", NULL);
    assert_int_equal(chdir(here), 0);
    check_ok(err);
    pea_identity_unref(id);
    check_ok(pea_identity_load(&id, in_folder("plain-name.key"), NULL));
    pea_identity_unref(id);
}

static void test_modes(void **state)
{
    bool root = geteuid() == 0;
    (void)state;
    for (unsigned mode = 0; mode <= 0777; mode++) {
        char name[16];
        pea_identity *id = NULL;
        pea_error why;
        if ((mode & 0400) == 0)
            continue; /* root could read it all the same */
        (void)snprintf(name, sizeof name, "mode-%03o", mode);
        write_file(in_folder(name), BOB_PEM, (mode_t)mode);
        bool good =
            (mode & 0007) == 0 && (mode & 0030) == 0 && ((mode & 0040) == 0 || root); /* 0440 only where root owns it */
        check_err(pea_identity_load(&id, in_folder(name), &why), good ? PEA_OK : PEA_E_PERMISSION);
        if (!good)
            assert_non_null(strstr(why.text, "chmod"));
        pea_identity_unref(id);
        assert_int_equal(unlink(in_folder(name)), 0);
    }
}

static void test_owners(void **state)
{
    pea_identity *id = NULL;
    pea_error why;
    (void)state;
    if (geteuid() != 0)
        skip();
    write_file(in_folder("theirs"), BOB_PEM, 0600);
    assert_int_equal(chown(in_folder("theirs"), 12345, 12345), 0);
    check_err(pea_identity_load(&id, in_folder("theirs"), &why), PEA_E_PERMISSION);
    assert_non_null(strstr(why.text, "12345"));
    /* As that user: its own file is fine, group-readable only root's. */
    write_file(in_folder("roots"), BOB_PEM, 0440);
    assert_int_equal(chown(in_folder("roots"), 0, 12345), 0);
    assert_int_equal(chmod(folder, 0711), 0);
    assert_int_equal(setegid(12345), 0);
    assert_int_equal(seteuid(12345), 0);
    pea_err own = pea_identity_load(&id, in_folder("theirs"), &why);
    pea_identity *id2 = NULL;
    pea_err roots = pea_identity_load(&id2, in_folder("roots"), &why);
    int chmodded = chmod(in_folder("theirs"), 0640);
    pea_identity *id3 = NULL;
    pea_err group = pea_identity_load(&id3, in_folder("theirs"), &why);
    assert_int_equal(seteuid(0), 0);
    assert_int_equal(setegid(0), 0);
    assert_int_equal(chmodded, 0);
    check_ok(own);
    check_ok(roots);
    check_err(group, PEA_E_PERMISSION);
    pea_identity_unref(id);
    pea_identity_unref(id2);
}

static void test_odd_files(void **state)
{
    pea_identity *id = NULL;
    pea_error why;
    (void)state;
    check_err(pea_identity_load(&id, in_folder("missing"), &why), PEA_E_SYS);
    assert_int_equal(why.sys, ENOENT);
    assert_non_null(strstr(why.text, "missing"));
    check_err(pea_identity_load(&id, folder, &why), PEA_E_PERMISSION);
    assert_non_null(strstr(why.text, "regular"));
    assert_int_equal(mkfifo(in_folder("fifo"), 0600), 0);
    check_err(pea_identity_load(&id, in_folder("fifo"), &why), PEA_E_PERMISSION); /* and does not wait for a writer */
    check_err(pea_identity_load(&id, "/dev/null", &why), PEA_E_PERMISSION);
    write_file(in_folder("empty"), "", 0600);
    check_err(pea_identity_load(&id, in_folder("empty"), &why), PEA_E_FORMAT);
    assert_non_null(strstr(why.text, "empty:"));
    write_file(in_folder("target"), BOB_PEM, 0600);
    assert_int_equal(symlink("target", in_folder("link")), 0);
    check_ok(pea_identity_load(&id, in_folder("link"), NULL));
    check_is_bob(id);
    pea_identity_unref(id);
    char *big = malloc(6001);
    memset(big, 'A', 6000);
    big[6000] = '\0';
    write_file(in_folder("big"), big, 0600);
    free(big);
    check_err(pea_identity_load(&id, in_folder("big"), &why), PEA_E_FORMAT);
    assert_non_null(strstr(why.text, "longer"));
}

/* ---- openssl ---- */

/* The output of a command; its length, 0: it failed. */
static size_t run(const char *command, char *out, size_t size)
{
    FILE *pipe = popen(command, "r");
    if (pipe == NULL)
        return 0;
    size_t len = fread(out, 1, size - 1, pipe);
    out[len] = '\0';
    return pclose(pipe) == 0 ? len : 0;
}

static void test_openssl(void **state)
{
    char text[4096], command[512];
    pea_identity *id;
    uint8_t der[64];
    size_t der_len;
    (void)state;
    if (run("openssl genpkey -algorithm X25519 2>/dev/null", text, sizeof text) == 0)
        skip();
    for (int i = 0; i < 5; i++) {
        size_t len = run("openssl genpkey -algorithm X25519 2>/dev/null", text, sizeof text);
        check_ok(pea_identity_parse(&id, text, len, NULL));
        char name[24], path[128];
        (void)snprintf(name, sizeof name, "openssl-%d", i);
        (void)snprintf(path, sizeof path, "%s", in_folder(name));
        check_ok(pea_identity_save(id, path, NULL));
        char back[256];
        FILE *file = fopen(path, "r");
        assert_non_null(file);
        back[fread(back, 1, sizeof back - 1, file)] = '\0';
        (void)fclose(file);
        assert_string_equal(back, text); /* byte for byte what openssl wrote */
        (void)snprintf(command, sizeof command,
                       "openssl pkey -in %s -pubout 2>/dev/null | sed '/-----/d' | tr -d '\\n'", path);
        len = run(command, text, sizeof text);
        assert_int_equal(
            sodium_base642bin(der, sizeof der, text, len, NULL, &der_len, NULL, sodium_base64_VARIANT_ORIGINAL), 0);
        assert_int_equal(der_len, 44);
        pea_peer peer;
        pea_identity_peer(id, &peer);
        check_bytes(peer.id, 32, der + 12, 32);
        pea_identity_unref(id);
    }
    static const char *const others[] = {"-algorithm ED25519", "-algorithm X448",
                                         "-algorithm RSA -pkeyopt rsa_keygen_bits:2048",
                                         "-algorithm EC -pkeyopt ec_paramgen_curve:P-256"};
    static const char *const names[] = {"Ed25519", "X448", "RSA", "elliptic"};
    for (size_t i = 0; i < COUNT(others); i++) {
        pea_error why;
        (void)snprintf(command, sizeof command, "openssl genpkey %s 2>/dev/null", others[i]);
        size_t len = run(command, text, sizeof text);
        check_err(pea_identity_parse(&id, text, len, &why), PEA_E_UNSUPPORTED);
        assert_non_null(strstr(why.text, names[i]));
    }
    size_t len = run("openssl genpkey -algorithm X25519 -aes256 -pass pass:secret 2>/dev/null", text, sizeof text);
    check_err(pea_identity_parse(&id, text, len, NULL), PEA_E_UNSUPPORTED);
}

/* ---- What others see ---- */

static void test_names(void **state)
{
    pea_identity *id;
    pea_peer peer, none = {0};
    char text[PEA_PEER_TEXT_BYTES], print[PEA_FINGERPRINT_BYTES];
    uint8_t a[32], b[32], want[32];
    (void)state;
    check_ok(pea_identity_parse(&id, BOB_PEM, strlen(BOB_PEM), NULL));
    pea_identity_peer(id, &peer);
    assert_string_equal(pea_peer_format(&peer, text), "noise:3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=");
    /* printf noise:3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08= | b2sum -l 128 */
    assert_string_equal(pea_peer_fingerprint(&peer, print), "6198 a32c ecf8 82f2 ca14 8599 3838 1593");
    assert_string_not_equal(pea_peer_fingerprint(&none, text), print);
    /* Python: hashlib.blake2b(b"example", digest_size=32, key=b"peapod network id") */
    assert_int_equal(sodium_hex2bin(want, 32, "59d57493923a94ed390d601b9b4f2282d5576f94e0fad5b65bbd6456c6e9b5dc", 64,
                                    NULL, NULL, NULL),
                     0);
    check_ok(pea_network_id(a, "example", 7));
    check_bytes(a, 32, want, 32);
    check_ok(pea_network_id(b, "examplf", 7));
    assert_memory_not_equal(a, b, 32);
    check_err(pea_network_id(a, "", 0), PEA_E_INVALID);
    check_err(pea_network_id(a, NULL, 3), PEA_E_INVALID);
    assert_ptr_equal(pea_identity_ref(id), id);
    pea_identity_unref(id);
    pea_identity_unref(id);
    pea_identity_unref(NULL);
}

static void test_generate(void **state)
{
    pea_identity *a, *b;
    pea_peer pa, pb;
    uint8_t zero[32] = {0};
    (void)state;
    check_ok(pea_identity_generate(&a, NULL));
    check_ok(pea_identity_generate(&b, NULL));
    pea_identity_peer(a, &pa);
    pea_identity_peer(b, &pb);
    assert_false(pea_peer_equal(&pa, &pb));
    check_ok(pea__x25519_check(pa.id, NULL));
    pea_identity_unref(a);
    pea_identity_unref(b);
    check_err(pea_identity_from_secret(&a, zero, NULL), PEA_E_INVALID);
}

static int make_folder(void **state)
{
    const char *tmp = getenv("TMPDIR");
    (void)state;
    (void)snprintf(folder, sizeof folder, "%.40s/peapod-XXXXXX", tmp != NULL ? tmp : "/tmp");
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static int remove_folder(void **state)
{
    char command[128];
    (void)state;
    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

int main(void)
{
    if (pea__secure_init(NULL) != PEA_OK)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_forms), cmocka_unit_test(test_bad_forms), cmocka_unit_test(test_every_damage),
        cmocka_unit_test(test_writer),     cmocka_unit_test(test_save_here), cmocka_unit_test(test_modes),
        cmocka_unit_test(test_owners),     cmocka_unit_test(test_odd_files), cmocka_unit_test(test_openssl),
        cmocka_unit_test(test_names),      cmocka_unit_test(test_generate),  cmocka_unit_test(test_save_and_load),
    };
    return cmocka_run_group_tests_name("identities", tests, make_folder, remove_folder);
}
