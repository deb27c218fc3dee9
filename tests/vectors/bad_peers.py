# SPDX-License-Identifier: MIT
"""Peers that break a rule of docs/wire.md, one rule each, and what has to be said to them.

They meet a responder of a plain chain, so that nothing hides what they say. What breaks a handshake is not here: see
the attacks of native.py, and the C tests.
"""
import hashlib

import peapod_wire as wire

NO_NETWORK = bytes(32)
NETWORK = hashlib.sha256(b"peapod test network").digest()
SHOWN = 8192  # bytes of a case that are written out; zeros behind them are counted

STRICT = {"application": "peapod.example", "versions": (2, 5)}


def bad_greetings():
    good = wire.greeting(NETWORK)
    for name, at, byte in (
        ("not peapod", 0, 0x16),
        ("another name", 6, 0x44),
        ("wire version 0", 7, 0),
        ("wire version 2", 7, 2),
        ("highest below its own", 8, 0),
        ("another network, first byte", 9, good[9] ^ 1),
        ("another network, last byte", 40, good[40] ^ 1),
    ):
        yield {"name": name, "greeting": (good[:at] + bytes([byte]) + good[at + 1 :]).hex(), "wrong": at}


def hello_of_initiator(**changes):
    """A good HELLO of the initiator with TLVs changed: t4=None leaves TLV 4 out."""
    value = {1: b"\x01", 2: NETWORK, 3: wire.greeting(NETWORK) * 2}
    value.update({int(name[1:], 16): change for name, change in changes.items()})
    return b"".join(wire.tlv(kind, data) for kind, data in sorted(value.items()) if data is not None)


def bad_hellos():
    """(name, HELLO payload, the code that the responder refuses with or None: it accepts)"""
    hello = hello_of_initiator
    good = hello()
    yield "only what is mandatory", good, None
    yield "an unknown TLV", hello(t8=b"?"), None
    yield "an unknown TLV that must be understood", hello(t8007=b""), wire.BAD_VERSION
    yield "wire version 2", hello(t1=b"\x02"), wire.BAD_VERSION
    yield "wire version 2, whose network id has 40 bytes", hello(t1=b"\x02", t2=bytes(40)), wire.BAD_VERSION
    yield "wire version of two bytes", hello(t1=b"\x00\x01"), wire.PROTO
    yield "no wire version", hello(t1=None), wire.PROTO
    yield "another network", hello(t2=NO_NETWORK), wire.BAD_NETWORK
    yield "a network id of 31 bytes", hello(t2=NETWORK[:31]), wire.PROTO
    yield "no network id", hello(t2=None), wire.PROTO
    yield "another transcript", hello(t3=wire.greeting(NETWORK) + wire.greeting(NETWORK, 2)), wire.PROTO
    yield "a transcript that goes on", hello(t3=wire.greeting(NETWORK) * 2 + bytes(8)), wire.PROTO
    yield "no transcript", hello(t3=None), wire.PROTO
    yield "the same application", hello(t4=b"peapod.example", t5=bytes([0, 0, 0, 5, 0, 0, 0, 9])), None
    yield "another application", hello(t4=b"peapod.examples"), wire.BAD_VERSION
    yield "an application without a name", hello(t4=b""), wire.PROTO
    yield "an application of 256 bytes", hello(t4=b"a" * 256), wire.PROTO
    yield "an application in Latin-1", hello(t4=b"caf\xe9"), wire.PROTO
    yield "versions that are too new", hello(t5=bytes([0, 0, 0, 6, 0, 0, 0, 9])), wire.BAD_VERSION
    yield "versions that are too old", hello(t5=bytes([0, 0, 0, 0, 0, 0, 0, 1])), wire.BAD_VERSION
    yield "versions upside down", hello(t5=bytes([0, 0, 0, 5, 0, 0, 0, 2])), wire.PROTO
    yield "capabilities of 4 bytes", hello(t6=bytes(4)), wire.PROTO
    yield "it replaces another connection", hello(t7=b""), None
    yield "it replaces, with a byte too many", hello(t7=b"x"), wire.PROTO
    yield "TLVs out of order", wire.tlv(2, NETWORK) + wire.tlv(1, b"\x01") + good[5 + 36 :], wire.PROTO
    yield "a TLV of type 0", hello(t0=b""), wire.PROTO
    yield "a TLV twice", wire.tlv(1, b"\x01") + good, wire.PROTO
    yield "a TLV cut short", good + wire.tlv(7, b"1234")[:-1], wire.PROTO
    yield "half a TLV header", good + b"\x00\x07\x00", wire.PROTO
    yield "empty", b"", wire.PROTO


def bad_chunks():
    """(name, what the initiator says after its greeting, whether the responder says ACCEPT, its code or None)"""
    chunk, hello = wire.chunk, wire.chunk(wire.HELLO, hello_of_initiator())
    opening, none = hello + chunk(wire.ACCEPT), None
    yield "a good opening", opening, True, none
    yield "DATA before HELLO", chunk(wire.DATA, wire.frame(b"x")), False, wire.PROTO
    yield "an unknown chunk before HELLO", chunk(0x20) + opening, False, wire.PROTO
    yield "ACCEPT before HELLO", chunk(wire.ACCEPT), False, wire.PROTO
    yield "HELLO twice", hello + hello, False, wire.PROTO
    yield "DATA before ACCEPT", hello + chunk(wire.DATA), False, wire.PROTO
    yield "PING before ACCEPT", hello + chunk(wire.PING, bytes(8)), False, wire.PROTO
    yield "CLOSE before ACCEPT", hello + chunk(wire.CLOSE, bytes(2)), False, wire.PROTO
    yield "ACCEPT with a payload", hello + chunk(wire.ACCEPT, b"!"), False, wire.PROTO
    yield "HELLO that claims 4,097 bytes", bytes([wire.HELLO, 0, 16, 1]), False, wire.PROTO
    full = hello_of_initiator(t9=bytes(4096 - len(hello)))
    yield "HELLO of 4,096 bytes", chunk(wire.HELLO, full) + chunk(wire.ACCEPT), True, none
    yield "an unknown chunk between HELLO and ACCEPT", hello + chunk(0x7F, b"?") + chunk(wire.ACCEPT), True, none
    yield "ACCEPT twice", opening + chunk(wire.ACCEPT), True, wire.PROTO
    yield "REJECT after ACCEPT", opening + chunk(wire.REJECT, bytes(2)), True, wire.PROTO
    yield "type 0", opening + chunk(0), True, wire.PROTO
    yield "an unknown type that must be understood", opening + chunk(0x80), True, wire.PROTO
    yield "an unknown type that claims 65,537 bytes", opening + bytes([9, 1, 0, 1]), True, wire.PROTO
    yield "an unknown type of 65,536 bytes", opening + chunk(9, bytes(65536)), True, none
    yield "a PONG that nobody asked for", opening + chunk(wire.PONG, bytes(8)), True, none
    yield "DATA of no bytes", opening + chunk(wire.DATA), True, none
    yield "PING of 7 bytes", opening + chunk(wire.PING, bytes(7)), True, wire.PROTO
    yield "END with a payload", opening + chunk(wire.END, b"!"), True, wire.PROTO
    yield "END twice", opening + chunk(wire.END) * 2, True, wire.PROTO
    yield "DATA after END", opening + chunk(wire.END) + chunk(wire.DATA), True, wire.PROTO
    yield "PING after END", opening + chunk(wire.END) + chunk(wire.PING, bytes(8)), True, none
    yield "CLOSE, then what nobody reads", opening + chunk(wire.CLOSE, bytes(2)) + chunk(0), True, none
    yield "END inside a message", opening + chunk(wire.DATA, bytes([0, 0, 0, 2, 1])) + chunk(wire.END), True, wire.PROTO
    yield "a message of 8 MiB and a byte", opening + chunk(wire.DATA, bytes([0, 128, 0, 1])), True, wire.TOO_BIG
    yield "CLOSE without a code", opening + chunk(wire.CLOSE, b"\x00"), True, wire.PROTO
    yield "CLOSE with 257 bytes of text", opening + chunk(wire.CLOSE, bytes(2) + b"a" * 257), True, wire.PROTO
    for name, text in (
        ("an overlong form", b"\xc0\x80"),
        ("a surrogate", b"\xed\xa0\x80"),
        ("beyond U+10FFFF", b"\xf4\x90\x80\x80"),
        ("cut short", b"\xe2\x82"),
        ("a stray byte", b"\x80"),
    ):
        yield "CLOSE with a text that is " + name, opening + chunk(wire.CLOSE, bytes(2) + text), True, wire.PROTO


def bad_peers():
    accept = wire.chunk(wire.ACCEPT)
    for name, hello, code in bad_hellos():
        yield "HELLO: " + name, wire.chunk(wire.HELLO, hello) + accept, code is None, code
    yield from bad_chunks()


def answer(data):
    """What a responder with STRICT says to bytes behind a good greeting: (whether ACCEPT, its code)."""
    side = wire.Side(False, network=NETWORK, protocol=None, half_close=True, **STRICT)
    side.feed(wire.greeting(NETWORK) + data)
    out = side.flush()[0][41:]
    accepted, code, at = False, None, 0
    while at < len(out):
        kind, size = out[at], int.from_bytes(out[at + 1 : at + 4], "big")
        accepted = accepted or kind == wire.ACCEPT
        if kind in (wire.REJECT, wire.CLOSE):
            code = int.from_bytes(out[at + 4 : at + 6], "big")
        at += 4 + size
    return accepted, code


def bad_peer_vectors():
    out = []
    for name, data, accepted, code in bad_peers():
        row = {"name": name, "accepted": accepted, "code": code}
        shown = data.rstrip(b"\0") if len(data) > SHOWN else data
        row["initiator"], row["zeros"] = shown.hex(), len(data) - len(shown)
        out.append(row)
    return out
