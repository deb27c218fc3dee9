#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes and checks the vectors of certificates for Noise, from docs/certificates.md alone (README.md beside this file
says how to read them).

    certificates.py                 write certificates.json to standard output
    certificates.py --check FILE    compare FILE with what would be written, and read each certificate in it

It needs Python 3.9 and the package `cryptography` (38 or later; Debian: python3-cryptography), and is deterministic.
"""
import hashlib
import json
import re
import struct
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

MAGIC = b"peapod-cert-v1"
NETWORK, KEY, NEXT_KEY, NAME, ROLES, NOT_BEFORE, NOT_AFTER, ROOT = range(1, 9)
MAX, SIGNATURE = 1024, 64
FIELD = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
LAST_SECOND = 253402300799
WORD = re.compile(rb"[a-z0-9._/-]+\Z")


class Refused(Exception):
    """Why bytes are no certificate."""


def secret(label):
    """A private key that nobody has to keep secret."""
    return hashlib.sha256(b"peapod test key: " + label.encode()).digest()


def raw(public):
    return public.public_bytes(Encoding.Raw, PublicFormat.Raw)


def tlv(kind, value):
    return struct.pack(">HH", kind, len(value)) + value


def u64(number):
    return struct.pack(">Q", number)


def sign(root, body):
    return body + root.sign(body)


# ---- Reading, as the page says it ----


def low_order(key):
    """The Diffie-Hellman of such a point is zero, which cryptography refuses."""
    try:
        X25519PrivateKey.from_private_bytes(secret("any")).exchange(X25519PublicKey.from_public_bytes(key))
    except ValueError:
        return True
    return False


def check_key(key):
    if len(key) != 32 or int.from_bytes(key, "little") >= FIELD or low_order(key):
        raise Refused("a key is none of X25519")


def check_roles(value):
    roles = value.split(b",")
    if not 1 <= len(value) <= 63 or not all(WORD.match(role) for role in roles):
        raise Refused("roles")
    if any(a >= b for a, b in zip(roles, roles[1:])):
        raise Refused("roles are not sorted, or one is there twice")


def tlvs(data):
    found, before = {}, 0
    while data:
        if len(data) < 4:
            raise Refused("it ends inside a header")
        kind, size = struct.unpack(">HH", data[:4])
        if kind <= before or kind > ROOT or size > len(data) - 4:
            raise Refused("a TLV")
        found[kind], before, data = data[4 : 4 + size], kind, data[4 + size :]
    return found


def read(data):
    """What it says; Refused: it is none."""
    if len(data) > MAX or len(data) < len(MAGIC) + SIGNATURE or not data.startswith(MAGIC):
        raise Refused("size or magic")
    body, signature = data[:-SIGNATURE], data[-SIGNATURE:]
    found = tlvs(body[len(MAGIC) :])
    for kind, size in ((NETWORK, 32), (KEY, 32), (NOT_BEFORE, 8), (NOT_AFTER, 8), (ROOT, 32)):
        if len(found.get(kind, b"")) != size:
            raise Refused("something is missing, or of another size")
    check_key(found[KEY])
    if NEXT_KEY in found:
        check_key(found[NEXT_KEY])
        if found[NEXT_KEY] == found[KEY]:
            raise Refused("two keys are one")
    if not 1 <= len(found.get(NAME, b"")) <= 255 or not WORD.match(found[NAME]):
        raise Refused("name")
    if ROLES in found:
        check_roles(found[ROLES])
    begin, end = (struct.unpack(">Q", found[kind])[0] for kind in (NOT_BEFORE, NOT_AFTER))
    if begin >= end or end > LAST_SECOND:
        raise Refused("time")
    if int.from_bytes(signature[32:], "little") >= ORDER:
        raise Refused("S")
    try:
        Ed25519PublicKey.from_public_bytes(found[ROOT]).verify(signature, body)
    except (InvalidSignature, ValueError):
        raise Refused("signature") from None
    return found


# ---- Making ----

ROOT_KEY = Ed25519PrivateKey.from_private_bytes(secret("root"))
OTHER_ROOT = Ed25519PrivateKey.from_private_bytes(secret("other root"))
A, B = (raw(X25519PrivateKey.from_private_bytes(secret(name)).public_key()) for name in ("a", "b"))
A_NETWORK = hashlib.blake2b(b"test", digest_size=32, key=b"peapod network id").digest()


def values(network=bytes(32), key=A, next_key=None, name=b"db-1", roles=None, begin=1700000000, end=1800000000):
    wanted = {NETWORK: network, KEY: key, NEXT_KEY: next_key, NAME: name, ROLES: roles}
    wanted.update({NOT_BEFORE: u64(begin), NOT_AFTER: u64(end), ROOT: raw(ROOT_KEY.public_key())})
    return [(kind, value) for kind, value in wanted.items() if value is not None]


def body(items):
    return MAGIC + b"".join(tlv(kind, value) for kind, value in items)


def good_case(about, **what):
    items = values(**what)
    data = sign(ROOT_KEY, body(items))
    found = read(data)
    assert found == dict(items)
    return {
        "about": about,
        "root_secret": secret("root").hex(),
        "root": raw(ROOT_KEY.public_key()).hex(),
        "network": found[NETWORK].hex(),
        "key": found[KEY].hex(),
        "next_key": found[NEXT_KEY].hex() if NEXT_KEY in found else None,
        "name": found[NAME].decode(),
        "roles": found.get(ROLES, b"").decode(),
        "not_before": struct.unpack(">Q", found[NOT_BEFORE])[0],
        "not_after": struct.unpack(">Q", found[NOT_AFTER])[0],
        "certificate": data.hex(),
    }


def good():
    return [
        good_case("as small as can be", name=b"a", begin=0, end=1),
        good_case("a network and roles", network=A_NETWORK, roles=b"db,web"),
        good_case("both keys of a node that changes them", next_key=B, name=b"mesh.example/db-1_x", roles=b"a"),
        good_case("a role before those that it begins", roles=b"a,a-b,a/b,aa,b"),
        good_case("as large as can be", next_key=B, name=b"n" * 255, roles=b"r" * 31 + b"," + b"s" * 31, end=LAST_SECOND),
    ]


def with_order(data):
    """The same signature by a larger S: the order of the group added."""
    s = int.from_bytes(data[-32:], "little") + ORDER
    return data[:-32] + s.to_bytes(32, "little")


def bad_values():
    """Signed by the root, all of them: what they say is not what a certificate says."""
    items = values(roles=b"db,web", next_key=B)
    for kind in (NETWORK, KEY, NAME, NOT_BEFORE, NOT_AFTER):
        yield f"without TLV {kind}", body([item for item in items if item[0] != kind])
    for kind in range(1, 9):
        if kind not in (NAME, ROLES, ROOT):
            longer = [(k, v + b"\0" if k == kind else v) for k, v in items]
            yield f"TLV {kind} is a byte longer", body(longer)
            shorter = [(k, v[:-1] if k == kind else v) for k, v in items]
            yield f"TLV {kind} is a byte shorter", body(shorter)
    yield "two TLVs have changed places", body([items[1], items[0]] + items[2:])
    yield "a TLV is there twice", body([items[0]] + items)
    yield "type 0", body([(0, b"")] + items)
    yield "an unknown type", body(items + [(9, b"x")])
    yield "an unknown type that must be understood", body(items + [(0x8001, b"")])
    yield "a byte behind the last TLV", body(items) + b"\0"
    yield "a header behind the last TLV", body(items) + struct.pack(">HH", 9, 1)
    yield "no TLV", body([])
    yield "another version", body(items).replace(MAGIC, b"peapod-cert-v2", 1)
    yield "more than 1,024 bytes", body(values(name=b"n" * 900))
    for name, about in (
        (b"", "empty"),
        (b"n" * 256, "256 bytes"),
        (b"DB", "in capitals"),
        (b"a b", "with a blank"),
        (b"a,b", "with a comma"),
        (b"a*", "with an asterisk"),
        (b"a\0b", "with a zero byte"),
        (b"a\0", "that ends with a zero byte"),
        ("ä".encode(), "beyond ASCII"),
    ):
        yield f"a name: {about}", body(values(name=name))
    for roles, about in (
        (b"", "empty"),
        (b"r" * 64, "64 bytes"),
        (b",", "two empty ones"),
        (b"a,", "an empty one behind"),
        (b",a", "an empty one in front"),
        (b"b,a", "not sorted"),
        (b"a,a", "one is there twice"),
        (b"aa,a", "a longer one first"),
        (b"A", "in capitals"),
        (b"*", "an asterisk"),
        (b"a\0", "a zero byte"),
    ):
        yield f"roles: {about}", body(values(roles=roles))
    yield "it ends when it begins", body(values(begin=5, end=5))
    yield "it ends before it begins", body(values(begin=6, end=5))
    yield "it ends in the year 10000", body(values(end=LAST_SECOND + 1))
    yield "it ends never", body(values(end=2**64 - 1))
    yield "it begins at the end of all numbers", body(values(begin=2**64 - 1, end=2**64 - 1))
    yield "its key is not canonical", body(values(key=FIELD.to_bytes(32, "little")))
    yield "its key has the high bit", body(values(key=A[:31] + bytes([A[31] | 0x80])))
    yield "its key is zero", body(values(key=bytes(32)))
    yield "its key is one", body(values(key=bytes([1]) + bytes(31)))
    yield "its second key is not canonical", body(values(next_key=b"\xff" * 32))
    yield "its second key is zero", body(values(next_key=bytes(32)))
    yield "its two keys are one", body(values(next_key=A))


def bad():
    cases = [(about, sign(ROOT_KEY, data), "format") for about, data in bad_values()]
    whole = sign(ROOT_KEY, body(values()))
    cases.append(("nothing", b"", "format"))
    cases.append(("the magic alone", MAGIC, "format"))
    cases.append(("a signature alone", MAGIC + bytes(64), "format"))
    cases.append(("signed by another root than it names", sign(OTHER_ROOT, body(values())), "crypto"))
    cases.append(("S is not below the order of the group", with_order(whole), "crypto"))
    cases.append(("the signature is zero", whole[:-64] + bytes(64), "crypto"))
    # Roots of low order: by most of them R = A, S = 0 is a signature of one message in eight, or of all.
    identity = bytes([1]) + bytes(31)
    for root, about in (
        (identity, "the neutral point"),
        (bytes([1]) + bytes(30) + b"\x80", "the neutral point, not canonical"),
        ((FIELD + 1).to_bytes(32, "little"), "the neutral point, not canonical by its number"),
        (bytes(32), "a point of order 4"),
        ((FIELD - 1).to_bytes(32, "little"), "a point of order 2"),
        (b"\xff" * 32, "no point"),
    ):
        items = values()[:-1] + [(ROOT, root)]
        cases.append((f"its root is {about}", body(items) + identity + bytes(32), "crypto"))
    listed = []
    for about, data, kind in cases:
        try:
            read(data)
        except Refused:
            pass
        else:
            assert kind == "crypto" and "root is" in about, about  # OpenSSL takes some points of low order
        listed.append({"about": about, "error": kind, "certificate": data.hex()})
    return listed


def main():
    text = json.dumps({"good": good(), "bad": bad()}, indent=1) + "\n"
    if sys.argv[1:2] == ["--check"] and len(sys.argv) == 3:
        with open(sys.argv[2], encoding="utf-8") as file:
            same = file.read() == text
        print("certificates: " + ("the file is what the page says" if same else "FAILED: the file differs"))
        sys.exit(0 if same else 1)
    if len(sys.argv) > 1:
        sys.exit(__doc__)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
