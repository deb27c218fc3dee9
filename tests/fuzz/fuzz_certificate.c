/* SPDX-License-Identifier: MIT */
/* What is read of certificates and keys before anything is verified. The first byte says what the rest is: the
 * extensions with their names, a certificate, or a private key. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "secure_priv.h"
#include "tls/certificate_priv.h"
#include "tls/private_key_priv.h"

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* Names are printable, ended by zero, and of a kind; those of an error are none. */
static void check_names(pea_err err, pea__certificate_names *names, const pea_error *why)
{
    require(err == PEA_OK || (err == PEA_E_FORMAT && names->n == 0 && names->list == NULL && why->text[0] != '\0'));
    require(names->n <= PEA__CERTIFICATE_NAMES_MAX);
    for (size_t i = 0; i < names->n; i++) {
        const pea_name *name = &names->list[i];
        size_t len = strlen(name->text);
        require(name->kind == PEA_NAME_DNS || name->kind == PEA_NAME_URI);
        require(len > 0 && len <= PEA__URI_MAX);
        for (size_t at = 0; at < len; at++)
            require(name->text[at] > 0x20 && name->text[at] < 0x7f);
    }
    pea__certificate_names_free(names);
}

static pea_err each(void *arg, pea_span der, const uint8_t id[PEA_ID_BYTES])
{
    mbedtls_x509_crt crt;
    pea__certificate_names names;
    pea_error why = {.code = PEA_OK};
    uint8_t again[PEA_ID_BYTES];
    (void)arg;
    mbedtls_x509_crt_init(&crt);
    require(pea__certificate_parse(&crt, der, NULL) == PEA_OK);
    pea__certificate_id(&crt, again);
    require(memcmp(id, again, sizeof again) == 0);
    (void)pea__certificate_is_ca(&crt);
    pea_err err = pea__certificate_names_read(&crt, &names, &why);
    check_names(err, &names, &why);
    mbedtls_x509_crt_free(&crt);
    return PEA_OK;
}

static size_t tell(void *arg, char *dst, size_t size)
{
    (void)arg, (void)size;
    memcpy(dst, "peapod", 6);
    return 6;
}

static void read_key(pea_span in)
{
    mbedtls_pk_context pk;
    pea__secret text;
    pea_error why = {.code = PEA_OK};
    require(pea__secret_new(&text, in.len + 1, &why) == PEA_OK);
    memcpy(text.data, in.data, in.len);
    text.data[in.len] = '\0';
    mbedtls_pk_init(&pk);
    pea_err err = pea__private_key_read(&pk, &text, &(pea__asker){tell, NULL}, &why);
    require(err == PEA_OK || (why.code == err && why.text[0] != '\0'));
    mbedtls_pk_free(&pk);
    sodium_free(text.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pea__certificate_names names;
    pea_error why = {.code = PEA_OK};
    if (size < 2 || pea__secure_init(NULL) != PEA_OK)
        return 0;
    pea_span in = {data + 1, size - 1};
    if (data[0] % 3 == 0)
        check_names(pea__extensions_names(in, &names, &why), &names, &why);
    else if (data[0] % 3 == 1)
        require(pea__certificates_each(in, each, NULL, &why) == PEA_OK || why.text[0] != '\0');
    else if (size <= 16384)
        read_key(in);
    return 0;
}
