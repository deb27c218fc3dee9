# SPDX-License-Identifier: MIT
"""Every bad certificate of tests/support/certs, shown to a node by a peer (Python's ssl, which shows nearly anything):
in both roles and each version of TLS the node refuses, and its reason names what is wrong."""
import re

import peers
from lab import case, expect

ROOT, PIN = "root", "pin"

EXPIRED, EARLY = "it, or an authority above it, has expired$", "it, or an authority above it, is not yet valid$"
UNTRUSTED = "not trusted: no configured root verifies it$"  # a chain
# It stands alone.
UNKNOWN = "not trusted: no configured root verifies it, and the policy does not let its key in by itself$"
NO_RULE = "no rule names this peer$"
WRONG_NAME = "wrong name: it is not for server.mesh.example$"
USAGE = "its key usage is wrong: it may not sign$"
EXTENDED = "its extended key usage is wrong: it is not for this side of TLS$"
A_CA = r"it is a certification authority's own \(CA as leaf\)$"
LONG = "its chain is too long, or cannot be followed$"
WEAK_KEY = "a key is too weak, or of a curve that is not accepted$"
WEAK_HASH = "it, or an authority above it, is signed over a weak hash$"
EXTENSION = "X509 - The extension tag or value is invalid"  # mbedTLS's words, while it reads the certificate
NONE = "it showed none$"

# Certificate, what the node goes by, the reason when a server shows it, the reason when a client shows it; GOOD: it is,
# there; None: nobody shows it there. The RSA ones stand beside others that OpenSSL has but does not show as a server of
# TLS 1.2.
GOOD = ""
TABLE = (
    ("bad_expired", ROOT, EXPIRED, EXPIRED),
    ("bad_not_yet", ROOT, EARLY, EARLY),
    ("bad_other_ca", ROOT, UNKNOWN, UNKNOWN),
    ("bad_forged", ROOT, UNKNOWN, UNKNOWN),
    ("bad_name", ROOT, WRONG_NAME, NO_RULE),
    ("bad_no_names", ROOT, WRONG_NAME, NO_RULE),
    ("bad_nul_name", ROOT, "its names cannot be read$", "its names cannot be read$"),
    ("bad_usage", ROOT, None, USAGE),
    ("bad_usage_rsa", ROOT, USAGE, USAGE),
    ("bad_eku", ROOT, EXTENDED, EXTENDED),
    ("bad_eku_server", ROOT, EXTENDED, GOOD),
    ("bad_eku_client", ROOT, GOOD, EXTENDED),
    ("bad_ca_leaf", ROOT, None, A_CA),
    ("bad_ca_leaf_rsa", ROOT, A_CA, A_CA),
    ("bad_unknown", ROOT, UNKNOWN, UNKNOWN),
    ("bad_unknown", PIN, NO_RULE, NO_RULE),
    ("bad_second", PIN, UNTRUSTED, UNTRUSTED),
    ("bad_second_named", PIN, UNTRUSTED, UNTRUSTED),
    ("bad_second_root", ROOT, UNTRUSTED, UNTRUSTED),
    ("bad_long", ROOT, LONG, LONG),
    ("bad_middle_expired", ROOT, EXPIRED, EXPIRED),
    ("bad_middle_leaf", ROOT, UNTRUSTED, UNTRUSTED),
    ("bad_middle_missing", ROOT, UNKNOWN, UNKNOWN),
    ("bad_path", ROOT, UNTRUSTED, UNTRUSTED),
    ("bad_rsa1024", ROOT, WEAK_KEY, WEAK_KEY),
    ("bad_sha1", ROOT, WEAK_HASH, WEAK_HASH),
    ("bad_critical", ROOT, EXTENSION, EXTENSION),
    ("-", ROOT, None, NONE),
)


def trust(lab, by):
    return lab.mesh if by == ROOT else lab.trust_file(lab.id("self_a") + " name=a\n")


def shown(lab, python, cert, by, role, version, reason):
    if role == "connect":
        node, port = lab.listen(trust=trust(lab, by))
        other = python.show(role, version, cert, port)
    else:
        other = python.show(role, version, cert)
        node = lab.connect(other.port(), trust=trust(lab, by), name=peers.SERVER if by == ROOT else None)
    if reason is GOOD:
        return "good here: " + node.wait_for(r"^connected \S+ (\S+)$")[1]
    line = node.wait_for(r"^(?:closed|rejected \S+|refused|connected): ?(.*)$")
    expect(line[0].startswith(("closed", "rejected")), f"the node says {line[0]!r}")
    expect(re.search(reason, line[1]), f"the node's reason is {line[1]!r}")
    expect("connected" not in node.text, "the node is connected")
    if role == "listen":
        expect(node.wait_end() in (1, 4), "the node's exit status is neither 1 nor 4")
    heard = other.wait_for(r"^(error|end|cut).*$")[0]
    expect(re.search("(?i)alert", heard), f"the peer hears {heard!r}")
    return f"{line[0]}  [the peer: {heard}]"


def run(lab):
    python = peers.Python(lab.certs)
    for cert, by, from_server, from_client in TABLE:
        for role, reason in (("listen", from_server), ("connect", from_client)):
            for version in lab.versions if reason is not None else ():
                who = "server" if role == "listen" else "client"
                case(f"a {who} shows {cert} (by {by}), TLS {version}", shown, lab, python, cert, by, role, version,
                     reason)
