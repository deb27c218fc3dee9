/* SPDX-License-Identifier: MIT */
/* Certificates for Noise as objects: made by a root, or taken from bytes, text and files. How they are written is
 * cert_format.c's business, and whom they let in trust_root.c's. */
#include <sodium.h>
#include <stdatomic.h>
#include <string.h>

#include "buf_priv.h"
#include "cert_priv.h"
#include "err_priv.h"
#include "secure_priv.h"
#include "socket_priv.h"

struct pea_cert {
    atomic_uint refs;
    pea_cert_info info;
    size_t len;
    uint8_t bytes[];
};

/* ---- Life ---- */

/* Of bytes that were read, or made. */
static pea_err cert_new(pea_cert **cert, const pea_cert_info *info, pea_span bytes, pea_error *why)
{
    pea_cert *fresh = pea__alloc(sizeof *fresh + bytes.len);
    if (fresh == NULL)
        return pea__error(why, PEA_E_NOMEM, NULL);
    atomic_init(&fresh->refs, 1);
    fresh->info = *info;
    fresh->len = bytes.len;
    memcpy(fresh->bytes, bytes.data, bytes.len);
    *cert = fresh;
    return PEA_OK;
}

pea_cert *pea_cert_ref(pea_cert *cert)
{
    atomic_fetch_add_explicit(&cert->refs, 1, memory_order_relaxed);
    return cert;
}

void pea_cert_unref(pea_cert *cert)
{
    if (cert != NULL && atomic_fetch_sub_explicit(&cert->refs, 1, memory_order_acq_rel) == 1)
        pea__free(cert);
}

const pea_cert_info *pea_cert_says(const pea_cert *cert)
{
    return &cert->info;
}

pea_span pea_cert_bytes(const pea_cert *cert)
{
    return (pea_span){cert->bytes, cert->len};
}

bool pea_cert_is_for(const pea_cert *cert, const pea_identity *identity)
{
    const uint8_t *key = pea__identity_public(identity);
    return key != NULL && pea__cert_names_key(&cert->info, key);
}

/* ---- Making one ---- */

static pea_err take_options(pea_cert_info *info, const pea_cert_opts *o, pea_error *why)
{
    if (o->key == NULL || o->name == NULL)
        return pea__error(why, PEA_E_INVALID, "a certificate is for a key and a name: PEA_CERT(.key, .name)");
    if (strlen(o->name) > PEA_NAME_MAX)
        return pea__error(why, PEA_E_INVALID, "its name is longer than 255 bytes");
    if (o->not_after == 0)
        return pea__error(why, PEA_E_INVALID, "a certificate ends some time: PEA_CERT(.not_after)");
    if (o->network != NULL)
        memcpy(info->network, o->network, sizeof info->network);
    memcpy(info->key, o->key, sizeof info->key);
    info->has_next_key = o->next_key != NULL;
    if (o->next_key != NULL)
        memcpy(info->next_key, o->next_key, sizeof info->next_key);
    memcpy(info->name, o->name, strlen(o->name));
    if (o->roles != NULL && !pea__cert_sort_roles(info->roles, o->roles))
        return pea__error(why, PEA_E_INVALID,
                          "these are no roles: \"db,web\", of a-z, 0-9, '-', '.', '_' and '/', each "
                          "once, at most 63 bytes in all");
    info->not_before = o->not_before != 0 ? o->not_before : pea__wall_ms() / 1000 - PEA_CERT_EARLY_S;
    if (info->not_before < 0)
        info->not_before = 0;
    info->not_after = o->not_after;
    return PEA_OK;
}

pea_err pea_cert_issue(pea_cert **cert, const pea_root *root, const pea_cert_opts *opts, pea_error *why)
{
    pea_cert_opts o = PEA_CERT_INIT;
    pea_cert_info info = {.has_next_key = false};
    uint8_t bytes[PEA_CERT_MAX];
    const char *what = NULL;
    pea_err err = pea__options(&o, sizeof o, opts, why);
    if (err == PEA_OK)
        err = take_options(&info, &o, why);
    if (err != PEA_OK)
        return err;
    pea_root_public(root, info.root);
    if (pea__cert_check(&info, &what) != PEA_OK)
        return pea__error(why, PEA_E_INVALID, what);
    size_t len = pea__cert_write(bytes, &info);
    if (crypto_sign_detached(bytes + len, NULL, bytes, len, pea__root_secret(root)) != 0)
        return pea__error(why, PEA_E_CRYPTO, NULL); /* it never says so */
    return cert_new(cert, &info, (pea_span){bytes, len + PEA__SIGNATURE_BYTES}, why);
}

/* ---- Bytes and text ---- */

pea_err pea_cert_from_bytes(pea_cert **cert, pea_span bytes, pea_error *why)
{
    pea_cert_info info;
    const char *what = NULL;
    pea_err err = pea__secure_init(why);
    if (err != PEA_OK)
        return err;
    err = pea__cert_read(&info, bytes, &what);
    return err == PEA_OK ? cert_new(cert, &info, bytes, why) : pea__errorf(why, err, "a certificate: %s", what);
}

#define BEGIN "-----BEGIN PEAPOD CERTIFICATE-----\n"
#define END "-----END PEAPOD CERTIFICATE-----"
#define LINE_LETTERS 64u
#define TEXT_MAX 4096u /* of 1 KiB in base64, with some blanks around it */

pea_err pea_cert_format(const pea_cert *cert, pea_buf *out)
{
    char base64[sodium_base64_ENCODED_LEN(PEA_CERT_MAX, sodium_base64_VARIANT_ORIGINAL)];
    size_t had = out->len;
    (void)sodium_bin2base64(base64, sizeof base64, cert->bytes, cert->len, sodium_base64_VARIANT_ORIGINAL);
    pea_err err = pea_buf_append(out, BEGIN, sizeof BEGIN - 1);
    for (size_t at = 0, all = strlen(base64); err == PEA_OK && at < all; at += LINE_LETTERS) {
        err = pea_buf_append(out, base64 + at, all - at < LINE_LETTERS ? all - at : LINE_LETTERS);
        if (err == PEA_OK)
            err = pea_buf_append(out, "\n", 1);
    }
    if (err == PEA_OK)
        err = pea_buf_append(out, END "\n", sizeof END);
    if (err != PEA_OK)
        out->len = had;
    return err;
}

static bool begins(const char *at, const char *end, const char *with, size_t len)
{
    return (size_t)(end - at) >= len && memcmp(at, with, len) == 0;
}

pea_err pea_cert_parse(pea_cert **cert, const char *text, size_t len, pea_error *why)
{
    uint8_t bytes[PEA_CERT_MAX + 1];
    size_t n = 0;
    const char *at = text, *end = text + len, *stop = NULL;
    if (len > TEXT_MAX || (len > 0 && memchr(text, 0, len) != NULL))
        return pea__error(why, PEA_E_FORMAT,
                          "this is no certificate: it is longer than 4,096 bytes, or has a zero byte");
    (void)pea__key_text_trim(&at, &end, false);
    if (!begins(at, end, BEGIN, sizeof BEGIN - 2) || (size_t)(end - at) < sizeof BEGIN)
        return pea__text_error(why, PEA_E_FORMAT, text, at,
                               "this is no certificate for Noise: it begins -----BEGIN PEAPOD CERTIFICATE-----");
    at += sizeof BEGIN - 2;
    if ((size_t)(end - at) < sizeof END || memcmp(end - (sizeof END - 1), END, sizeof END - 1) != 0)
        return pea__text_error(why, PEA_E_FORMAT, text, end, "its last line is missing, or something follows it");
    end -= sizeof END - 1;
    if (*at != '\n' && *at != '\r')
        return pea__text_error(why, PEA_E_FORMAT, text, at, "its first line goes on behind the dashes");
    if (sodium_base642bin(bytes, sizeof bytes, at, (size_t)(end - at), "\r\n", &n, &stop,
                          sodium_base64_VARIANT_ORIGINAL) != 0 ||
        stop != end)
        return pea__text_error(why, PEA_E_FORMAT, text, stop != NULL ? stop : at,
                               "the base64 between its lines is broken");
    return pea_cert_from_bytes(cert, (pea_span){bytes, n}, why);
}

/* ---- Files ---- */

pea_err pea_cert_load(pea_cert **cert, const char *path, pea_error *why)
{
    char *text = NULL;
    size_t len = 0;
    pea_err err = pea__file_slurp(&text, &len, path, TEXT_MAX, false, why);
    if (err != PEA_OK)
        return err;
    err = pea_cert_parse(cert, text, len, why);
    if (err != PEA_OK)
        pea__name_file(why, path);
    sodium_free(text);
    return err;
}

pea_err pea_cert_save(const pea_cert *cert, const char *path, pea_error *why)
{
    pea_buf text = {0};
    pea_err err = pea_cert_format(cert, &text);
    if (err == PEA_OK)
        err = pea__file_save(path, (const char *)text.data, text.len, why);
    else
        (void)pea__error(why, err, NULL);
    pea_buf_free(&text);
    return err;
}
