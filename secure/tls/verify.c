/* SPDX-License-Identifier: MIT */
/* Is the peer's certificate good, and what follows from it: vouched for by a root, or a key that stands for itself.
 * The chain is built and its signatures are checked by mbedTLS; what is done here is to say what that means. */
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include <mbedtls/oid.h>

#include "session_priv.h"

static bool same(const mbedtls_x509_buf *a, const mbedtls_x509_buf *b)
{
    return a->len == b->len && sodium_memcmp(a->p, b->p, a->len) == 0;
}

/* Verified up to a root of ours. What else must be true of it? */
static void check_vouched(pea__tls_session *s, mbedtls_x509_crt *leaf, uint32_t *flags)
{
    pea__tls_verdict *v = &s->peer;
    v->vouched = true;
    if (pea__certificate_is_ca(leaf)) { /* who may sign for others must not be talked to as if it were one of them */
        v->a_ca = true;
        *flags |= MBEDTLS_X509_BADCERT_KEY_USAGE;
    }
    pea_err err = pea__certificate_names_read(leaf, &v->names, NULL);
    if (err == PEA_E_NOMEM)
        v->no_memory = true;
    else if (err != PEA_OK)
        v->bad_names = true;
    if (err != PEA_OK)
        *flags |= MBEDTLS_X509_BADCERT_OTHER;
    v->vouch.names = v->names.list;
    v->vouch.n_names = v->names.n;
    /* mbedTLS takes the subject's common name for a DNS name where there are no others. */
    if (s->name != NULL && (leaf->MBEDTLS_PRIVATE(ext_types) & MBEDTLS_X509_EXT_SUBJECT_ALT_NAME) == 0)
        *flags |= MBEDTLS_X509_BADCERT_CN_MISMATCH;
}

/* No root verifies it. It may yet be known by its key, if it comes alone: in a chain, somebody else's key could be
 * meant. */
static void check_alone(pea__tls_session *s, const mbedtls_x509_crt *leaf, bool chain_of_one, uint32_t *flags)
{
    pea__tls_verdict *v = &s->peer;
    if (!chain_of_one || leaf->next != NULL)
        return;
    if (pea__certificate_is_ca(leaf) && !same(&leaf->subject_raw, &leaf->issuer_raw)) {
        v->a_ca = true; /* an intermediate authority. Self-signed ones say cA by custom */
        *flags |= MBEDTLS_X509_BADCERT_KEY_USAGE;
        return;
    }
    v->alone = true;
    *flags &= ~(uint32_t)(MBEDTLS_X509_BADCERT_NOT_TRUSTED | MBEDTLS_X509_BADCERT_CN_MISMATCH);
}

int pea__tls_verify(void *session, mbedtls_x509_crt *crt, int depth, uint32_t *flags)
{
    pea__tls_session *s = session;
    pea__tls_verdict *v = &s->peer;
    if (v->known)
        return MBEDTLS_ERR_X509_FATAL_ERROR; /* a second certificate: there is no renegotiation */
    bool chain_of_one = !v->begun && depth == 0;
    if (!v->begun)
        pea__certificate_id(crt, v->vouch.root); /* a root, if the chain ends in one */
    v->begun = true;
    if (depth == 0) {
        pea__certificate_id(crt, v->id);
        v->known = true;
        bool anchored = ((v->flags | *flags) & MBEDTLS_X509_BADCERT_NOT_TRUSTED) == 0;
        if (anchored && s->context->has_roots)
            check_vouched(s, crt, flags);
        else
            check_alone(s, crt, chain_of_one, flags);
    }
    v->flags |= *flags;
    return v->no_memory ? MBEDTLS_ERR_X509_ALLOC_FAILED : 0;
}

/* ---- Words ---- */

static void add(char *text, size_t size, const char *what)
{
    size_t len = strlen(text);
    if (len < size)
        (void)snprintf(text + len, size - len, "%s%s", text[len - 1] == ':' ? " " : "; ", what);
}

void pea__tls_verify_text(char *text, size_t size, const pea__tls_session *session, uint32_t flags)
{
    static const struct {
        uint32_t flag;
        const char *what;
    } words[] = {
        {MBEDTLS_X509_BADCERT_MISSING, "it showed none"},
        {MBEDTLS_X509_BADCERT_EXPIRED, "it, or an authority above it, has expired"},
        {MBEDTLS_X509_BADCERT_FUTURE, "it, or an authority above it, is not yet valid"},
        {MBEDTLS_X509_BADCERT_NOT_TRUSTED, "not trusted: no configured root verifies it"},
        {MBEDTLS_X509_BADCERT_EXT_KEY_USAGE, "its extended key usage is wrong: it is not for this side of TLS"},
        {MBEDTLS_X509_BADCERT_BAD_MD, "it, or an authority above it, is signed over a weak hash"},
        {MBEDTLS_X509_BADCERT_BAD_PK, "it has a key, or a signature, of a kind that is not accepted"},
        {MBEDTLS_X509_BADCERT_BAD_KEY, "a key is too weak, or of a curve that is not accepted"},
    };
    const pea__tls_verdict *v = &session->peer;
    (void)snprintf(text, size, "the peer's certificate:");
    if (flags == UINT32_MAX) {
        add(text, size, "its chain is too long, or cannot be followed");
        return;
    }
    if ((flags & MBEDTLS_X509_BADCERT_CN_MISMATCH) != 0) {
        char name[PEA_TEXT_MAX / 2];
        (void)snprintf(name, sizeof name, "wrong name: it is not for %.100s",
                       session->name != NULL ? session->name : "?");
        add(text, size, name);
    }
    if (v->a_ca)
        add(text, size, "it is a certification authority's own (CA as leaf)");
    else if ((flags & MBEDTLS_X509_BADCERT_KEY_USAGE) != 0)
        add(text, size, "its key usage is wrong: it may not sign");
    if (v->bad_names)
        add(text, size, "its names cannot be read");
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if ((flags & words[i].flag) != 0)
            add(text, size, words[i].what);
    if (text[strlen(text) - 1] == ':')
        add(text, size, "it is not good");
}
