/* SPDX-License-Identifier: MIT */
/* The names in a certificate's subjectAltName (RFC 5280, section 4.2.1.6). mbedTLS 2.28 knows nothing of URIs, so the
 * extension is walked here, with every mbedTLS, as DER that a stranger wrote: each length is checked against what is
 * there. Whether anybody vouches for the names is not asked here. */
#include <string.h>

#include "buf_priv.h"
#include "certificate_priv.h"
#include "err_priv.h"

/* ---- DER: definite, shortest lengths; tags of one byte ---- */

enum { DER_BOOLEAN = 0x01, DER_OCTETS = 0x04, DER_OID = 0x06, DER_SEQUENCE = 0x30 };

/* GeneralName's choices, by their tags: context-specific, primitive. */
enum { NAME_DNS = 0x82, NAME_URI = 0x86 };

/* Takes one element off the front of `in`. False: it is not whole, or not DER. */
static bool take(pea_span *in, uint8_t *tag, pea_span *content)
{
    if (in->len < 2 || (in->data[0] & 0x1f) == 0x1f)
        return false;
    size_t header = 2, len = in->data[1];
    if (len >= 0x80) {
        size_t n = len & 0x7f;
        if (n == 0 || n > 3 || in->len - 2 < n) /* 16 MiB: more than any certificate */
            return false;
        len = 0;
        for (size_t i = 0; i < n; i++)
            len = len << 8 | in->data[2 + i];
        if (len < 0x80 || len >> (8 * (n - 1)) == 0)
            return false;
        header += n;
    }
    if (in->len - header < len)
        return false;
    *tag = in->data[0];
    *content = (pea_span){in->data + header, len};
    *in = (pea_span){in->data + header + len, in->len - header - len};
    return true;
}

static bool take_as(pea_span *in, uint8_t want, pea_span *content)
{
    uint8_t tag;
    return in->len > 0 && in->data[0] == want && take(in, &tag, content);
}

/* All of `in` is one element of this tag. */
static bool whole(pea_span in, uint8_t want, pea_span *content)
{
    return take_as(&in, want, content) && in.len == 0;
}

/* Finds the content of the one subjectAltName; empty: there is none. False: malformed. */
static bool find_names(pea_span extensions, pea_span *general_names)
{
    static const uint8_t oid_san[] = {0x55, 0x1d, 0x11}; /* 2.5.29.17 */
    pea_span list, extension, oid, critical, value;
    *general_names = (pea_span){NULL, 0};
    if (extensions.len == 0)
        return true;
    if (!whole(extensions, DER_SEQUENCE, &list))
        return false;
    while (list.len > 0) {
        if (!take_as(&list, DER_SEQUENCE, &extension) || !take_as(&extension, DER_OID, &oid))
            return false;
        (void)take_as(&extension, DER_BOOLEAN, &critical);
        if (!whole(extension, DER_OCTETS, &value))
            return false;
        if (oid.len != sizeof oid_san || memcmp(oid.data, oid_san, sizeof oid_san) != 0)
            continue;
        /* Two of them, or one that names nobody, are forbidden: RFC 5280, sections 4.2 and 4.2.1.6. */
        if (general_names->data != NULL || !whole(value, DER_SEQUENCE, general_names) || general_names->len == 0)
            return false;
    }
    return true;
}

/* ---- What a name may look like. Each check returns what is wrong, or NULL ---- */

static bool is_lower(uint8_t c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_letter(uint8_t c)
{
    return is_lower(c | 0x20);
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static const char *check_printable(pea_span name)
{
    for (size_t i = 0; i < name.len; i++)
        if (name.data[i] <= 0x20 || name.data[i] >= 0x7f)
            return "has a byte that is not printable ASCII";
    return NULL;
}

#define DNS_MAX 253u      /* RFC 1035, as text */
#define DNS_LABEL_MAX 63u /* RFC 1035 */

/* Letters, digits, '-' and '_' in labels; a '*' only as the whole first of several (RFC 6125, section 6.4.3). */
static const char *check_dns(pea_span name)
{
    const char *wrong = check_printable(name);
    if (wrong != NULL)
        return wrong;
    if (name.len == 0 || name.len > DNS_MAX)
        return "has not 1 to 253 bytes";
    size_t i = 0, label = 0;
    if (name.len > 2 && name.data[0] == '*' && name.data[1] == '.')
        i = 2;
    for (; i < name.len; i++) {
        uint8_t c = name.data[i];
        if (c == '.' && label == 0)
            return "has an empty label";
        if (c != '.' && !is_letter(c) && !is_digit(c) && c != '-' && c != '_')
            return c == '*' ? "has a wildcard that is not its whole first label" : "has a byte that no host name has";
        label = c == '.' ? 0 : label + 1;
        if (label > DNS_LABEL_MAX)
            return "has a label of more than 63 bytes";
    }
    return label == 0 ? "has an empty label" : NULL;
}

static bool is_spiffe(pea_span uri)
{
    static const char scheme[] = "spiffe://";
    if (uri.len < sizeof scheme - 1)
        return false;
    for (size_t i = 0; i < sizeof scheme - 1; i++)
        if ((is_letter(uri.data[i]) ? uri.data[i] | 0x20 : uri.data[i]) != (uint8_t)scheme[i])
            return false;
    return true;
}

/* One segment of a SPIFFE id's path, without its '/'. */
static bool segment_is_good(const uint8_t *segment, size_t len)
{
    size_t dots = 0;
    for (size_t i = 0; i < len; i++) {
        uint8_t c = segment[i];
        if (!is_letter(c) && !is_digit(c) && c != '.' && c != '-' && c != '_')
            return false;
        dots += c == '.';
    }
    return len > 0 && !(dots == len && len <= 2);
}

/* SPIFFE-ID, section 2: a lower-case trust domain, and a path without empty, "." and ".." segments. So a rule that ends
 * in an asterisk means what it seems to mean. */
static const char *check_spiffe(pea_span uri)
{
    size_t at = strlen("spiffe://"), domain = at;
    if (memcmp(uri.data, "spiffe", 6) != 0)
        return "has a scheme that is not all lower-case";
    while (at < uri.len && uri.data[at] != '/') {
        uint8_t c = uri.data[at++];
        if (!is_lower(c) && !is_digit(c) && c != '.' && c != '-' && c != '_')
            return "has a trust domain with a byte other than a-z, 0-9, '.', '-' and '_'";
    }
    if (at == domain || at - domain > 255)
        return "has a trust domain of not 1 to 255 bytes";
    while (at < uri.len) {
        const uint8_t *segment = uri.data + at + 1;
        const uint8_t *slash = memchr(segment, '/', uri.len - at - 1);
        size_t len = slash != NULL ? (size_t)(slash - segment) : uri.len - at - 1;
        if (!segment_is_good(segment, len))
            return "has a path segment that is empty, '.', '..', or of other bytes than a-z, A-Z, 0-9, '.', '-' and "
                   "'_'";
        at += 1 + len;
    }
    return NULL;
}

/* RFC 3986, section 3.1: a scheme, a colon, something. */
static const char *check_uri(pea_span uri)
{
    const char *wrong = check_printable(uri);
    if (wrong != NULL)
        return wrong;
    if (uri.len > PEA__URI_MAX)
        return "has more than 2,048 bytes";
    size_t at = 0;
    while (at < uri.len &&
           (is_letter(uri.data[at]) || (at > 0 && (is_digit(uri.data[at]) || memchr("+-.", uri.data[at], 3) != NULL))))
        at++;
    if (at == 0 || at + 1 >= uri.len || uri.data[at] != ':')
        return "has no scheme, or nothing behind it";
    return is_spiffe(uri) ? check_spiffe(uri) : NULL;
}

/* ---- The walk ---- */

/* What a first pass counts, so that a second one fills one allocation. */
typedef struct tally {
    size_t names, uris, spiffe, bytes;
} tally;

/* `wrong` is a sentence's end about a name; the name itself is a stranger's, and is shown escaped. */
static pea_err name_error(pea_error *why, const char *kind, pea_span name, const char *wrong)
{
    char shown[80];
    (void)pea_text_escape((const char *)name.data, name.len, shown, sizeof shown);
    return pea__errorf(why, PEA_E_FORMAT, "the certificate's %s \"%s\" %s", kind, shown, wrong);
}

/* Checks each name and counts. */
static pea_err count_names(pea_span general_names, tally *t, pea_error *why)
{
    while (general_names.len > 0) {
        uint8_t tag;
        pea_span name;
        if (!take(&general_names, &tag, &name) || (tag & 0xc0) != 0x80)
            return pea__error(why, PEA_E_FORMAT, "the certificate's subjectAltName is malformed");
        if (tag != NAME_DNS && tag != NAME_URI)
            continue;
        const char *wrong = tag == NAME_DNS ? check_dns(name) : check_uri(name);
        if (wrong != NULL)
            return name_error(why, tag == NAME_DNS ? "DNS name" : "URI", name, wrong);
        t->names++;
        t->uris += tag == NAME_URI;
        t->spiffe += tag == NAME_URI && is_spiffe(name);
        t->bytes += name.len + 1;
    }
    if (t->spiffe > 0 && t->uris > 1) /* X509-SVID, section 2 */
        return pea__error(why, PEA_E_FORMAT,
                          "the certificate has a SPIFFE id and another URI beside it, where only one may be");
    if (t->names > PEA__CERTIFICATE_NAMES_MAX)
        return pea__errorf(why, PEA_E_FORMAT, "the certificate has %zu names, and %d are allowed", t->names,
                           PEA__CERTIFICATE_NAMES_MAX);
    return PEA_OK;
}

/* Hosts are compared without regard to case, URIs with it. */
static void copy_names(pea_span general_names, const tally *t, pea_name *list)
{
    char *text = (char *)(list + t->names);
    uint8_t tag;
    pea_span name;
    for (size_t n = 0; n < t->names && take(&general_names, &tag, &name);) {
        if (tag != NAME_DNS && tag != NAME_URI)
            continue;
        list[n++] = (pea_name){tag == NAME_DNS ? PEA_NAME_DNS : PEA_NAME_URI, text};
        for (size_t i = 0; i < name.len; i++) {
            uint8_t c = name.data[i];
            *text++ = (char)(tag == NAME_DNS && is_letter(c) ? c | 0x20 : c);
        }
        *text++ = '\0';
    }
}

pea_err pea__extensions_names(pea_span extensions, pea__certificate_names *names, pea_error *why)
{
    pea_span general_names;
    tally t = {0};
    *names = (pea__certificate_names){0};
    if (!find_names(extensions, &general_names))
        return pea__error(why, PEA_E_FORMAT, "the certificate's extensions or its subjectAltName are malformed");
    pea_err err = count_names(general_names, &t, why);
    if (err != PEA_OK || t.names == 0)
        return err;
    pea_name *list = pea__alloc(t.names * sizeof *list + t.bytes);
    if (list == NULL)
        return pea__error(why, PEA_E_NOMEM, NULL);
    copy_names(general_names, &t, list);
    *names = (pea__certificate_names){list, t.names};
    return PEA_OK;
}

pea_err pea__certificate_names_read(const mbedtls_x509_crt *crt, pea__certificate_names *names, pea_error *why)
{
    return pea__extensions_names((pea_span){crt->v3_ext.p, crt->v3_ext.len}, names, why);
}

void pea__certificate_names_free(pea__certificate_names *names)
{
    pea__free(names->list);
    *names = (pea__certificate_names){0};
}
