#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes and checks the test vectors of native mode, wire version 1 (README.md beside this file says how to read them).

    native.py                   write native.json to standard output
    native.py --check FILE      compare FILE with what would be written
    native.py --self-test       published Noise vectors first, then the rules of docs/wire.md
    native.py --example         write the worked examples of docs/wire.md
    native.py --check-doc FILE  look for the worked examples in FILE

It needs Python 3.9 and the package `cryptography` (38 or later; Debian: python3-cryptography), and is deterministic.
"""
import hashlib
import json
import os
import sys

sys.dont_write_bytecode = True

import bad_peers  # noqa: E402
import noise34  # noqa: E402
import peapod_wire as wire  # noqa: E402
from bad_peers import NETWORK, NO_NETWORK  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
DEFAULT = "Noise_XX_25519_ChaChaPoly_BLAKE2b"
PSK = hashlib.sha256(b"peapod test psk").digest()
PLAIN_SHOWN = 4096  # longer plaintext is left out: it follows from what was sent
NOW_MS, WINDOW_MS = 1700000000123, 60000
MODULO = 251  # a prime, so that no power of two in the code can hide behind the pattern


def secret(label):
    """A private key that nobody has to keep secret."""
    return hashlib.sha256(b"peapod test key: " + label.encode()).digest()


def pattern(length):
    return bytes(at % MODULO for at in range(length))


class Conversation:
    """Two sides in memory; every flight of one is read by the other before the next is written."""

    def __init__(
        self, name, about, network=NO_NETWORK, protocol=DEFAULT, psk=None, stages=(), gate_window_ms=0, initiator=None,
        responder=None
    ):
        self.name, self.about = name, about
        self.common = {"network": network, "protocol": protocol, "psk": psk, "stages": list(stages)}
        self.common["gate_window_ms"] = gate_window_ms
        self.own = {"initiator": initiator or {}, "responder": responder or {}}
        self.sides, self.flights = {}, []
        for who, own in self.own.items():
            if protocol:
                own["static"], own["ephemeral"] = secret(who + " static"), secret(who + " ephemeral")
            self.sides[who] = wire.Side(who == "initiator", **self.common, **own)
        self.sides["initiator"].start()
        self._pump("initiator")

    def _pump(self, who, do=None):
        """Writes flights, turn by turn, until nobody has anything to say."""
        while True:
            data, parts = self.sides[who].flush()
            if not data:
                break
            self.flights.append({"from": who, "do": do, "wire": data, "parts": parts})
            who, do = ("responder" if who == "initiator" else "initiator"), None
            if not self.sides[who].done:
                self.sides[who].feed(data)

    def _messages_heard(self, who):
        return [event[1] for event in self.sides[who].events if event[0] == "message"]

    def send(self, who, *messages):
        """Messages that one flush takes; an int stands for that many bytes of the pattern."""
        payloads = [pattern(message) if isinstance(message, int) else message for message in messages]
        other = "responder" if who == "initiator" else "initiator"
        self.sides[who].send(payloads)
        self._pump(who, [{"send_pattern": m} if isinstance(m, int) else {"send": m.hex()} for m in messages])
        if self._messages_heard(other)[-len(payloads) :] != payloads:
            raise AssertionError("%s: a message did not arrive as it was sent" % self.name)

    def ping(self, who, payload):
        self.sides[who].ping(payload)
        self._pump(who, [{"ping": payload.hex()}])

    def end(self, who):
        self.sides[who].end()
        self._pump(who, [{"end": True}])

    def close(self, who, code=wire.NORMAL, text=""):
        self.sides[who].close(code, text)
        self._pump(who, [{"close": {"code": code, "text": text}}])

    def expect(self, who, *events):
        """Checks the kinds of events that a side saw, so that a scenario shows what its name says."""
        seen = [event[0] if event[0] not in ("close", "reject") else event for event in self.sides[who].events]
        if seen != list(events):
            raise AssertionError("%s: the %s saw %s" % (self.name, who, seen))

    # As JSON.

    def _side_json(self, who):
        own, out = self.own[who], {}
        for name in ("static", "ephemeral"):
            if name in own:
                out[name] = own[name].hex()
                out[name + "_public"] = noise34.public_key(own[name]).hex()
        out["application"] = own.get("application")
        out["application_lowest"], out["application_highest"] = own.get("versions") or (0, 0)
        out["capabilities"] = "%016x" % own.get("capabilities", 0)
        out["clock_ms"] = own.get("clock_ms", 0)
        out["half_close"] = own.get("half_close", False)
        out["refuse"] = dict(zip(("code", "text"), own["refuse"])) if "refuse" in own else None
        return out

    @staticmethod
    def _part_json(part):
        out = dict(part)
        if "plain" in out:
            out["plain_size"] = len(out["plain"])
            out["plain"] = out["plain"].hex() if len(out["plain"]) <= PLAIN_SHOWN else None
        return out

    @staticmethod
    def what(flight):
        """The flight in words, from its parts and not from the scenario, so that it cannot say another thing."""
        words, plain = [], b""
        for part in flight["parts"]:
            plain += part.get("plain", b"")
            if part["kind"] == "noise":
                words.append("noise message %d" % part["message"])
            elif part["kind"] == "stage":
                words.append("stage %d" % part["stage"])
            elif part["kind"] == "record":
                words.append("record %d" % part["number"])
            elif part["kind"] == "greeting":
                words.append("greeting")
        chunks = []
        while plain:
            size = 4 + int.from_bytes(plain[1:4], "big")
            chunks.append(wire.NAMES[plain[0]] + ("(%d bytes)" % (size - 4) if plain[0] == wire.DATA else ""))
            plain = plain[size:]
        return ", ".join(words) + ((": " if words else "") + ", ".join(chunks) if chunks else "")

    def to_json(self):
        first, second = self.sides["initiator"], self.sides["responder"]
        native = bool(self.common["protocol"])
        if native and (first.binding, first.exporter) != (second.binding, second.exporter):
            raise AssertionError(self.name + ": the two sides derived different secrets")
        if first.prologue() != second.prologue() or first.transcript() != second.transcript():
            raise AssertionError(self.name + ": the two sides saw different plaintext")
        return {
            "name": self.name,
            "about": self.about,
            "protocol": self.common["protocol"],
            "network": self.common["network"].hex(),
            "psk": self.common["psk"] and self.common["psk"].hex(),
            "gate_window_ms": self.common["gate_window_ms"],
            "stages": [{"initiator": a.hex(), "responder": b.hex()} for a, b in self.common["stages"]],
            "initiator": self._side_json("initiator"),
            "responder": self._side_json("responder"),
            "prologue": first.prologue().hex() if native else None,
            "transcript": first.transcript().hex(),
            "flights": [
                {
                    "from": flight["from"],
                    "what": self.what(flight),
                    "do": flight["do"] or [],
                    "wire": flight["wire"].hex(),
                    "parts": [self._part_json(part) for part in flight["parts"]],
                }
                for flight in self.flights
            ],
            "binding": first.binding.hex() if native else None,
            "exporter": first.exporter.hex() if native else None,
            "exported": exports(first.noise.suite, first.exporter) if native else [],
        }


def export(suite, exporter, label, length):
    """HKDF-Expand of RFC 5869 with the suite's hash."""
    out, value = b"", b""
    for number in range(1, -(-length // suite.hash_len) + 1):
        value = suite.hmac(exporter, value + label + bytes([number]))
        out += value
    return out[:length]


def with_context(label, context):
    """What pea_conn_export() makes of both: an empty context is none."""
    return label + b"\0" + context if context else label


def exports(suite, exporter):
    asked = [(b"", b"", 32)]
    asked += [(b"peapod test label", context, n) for context in (b"", b"a context", bytes(range(256))) for n in (16, 150)]
    return [
        {
            "label": label.hex(),
            "context": context.hex(),
            "length": n,
            "secret": export(suite, exporter, with_context(label, context), n).hex(),
        }
        for label, context, n in asked
    ]


# The scenarios.


def default_suite():
    c = Conversation("default", "the default suite, no network id: messages, pings, an end that the responder answers")
    c.send("initiator", b"", b"hello")
    c.send("responder", b"", b"howdy")
    c.send("initiator", 70000)
    c.ping("initiator", b"PINGPONG")
    c.ping("responder", pattern(8))
    c.end("initiator")
    c.expect("initiator", "hello", "ready", "message", "message", "pong", ("close", wire.NORMAL, ""))
    c.expect("responder", "hello", "ready", *["message"] * 3, "pong", "end")
    return c


def half_close():
    c = Conversation("half_close", "both sides may half-close: each says END, then the initiator closes with a text",
                     initiator={"half_close": True}, responder={"half_close": True})
    c.send("initiator", b"question")
    c.end("initiator")
    c.send("responder", b"answer")
    c.end("responder")
    c.close("initiator", wire.NORMAL, "good-bye \u2014 \u00e0 bient\u00f4t")
    c.expect("responder", "hello", "ready", "message", "end", ("close", 0, "good-bye \u2014 \u00e0 bient\u00f4t"))
    return c


def network_and_attributes():
    name = "peapod.example/\u00e4"
    c = Conversation("network_attributes", "a network id, and TLVs 4, 5 and 6 of HELLO on both sides", network=NETWORK,
                     initiator={"application": name, "versions": (1, 3), "capabilities": 5},
                     responder={"application": name, "versions": (3, 7), "capabilities": 1 << 63})
    c.send("responder", b"data of the responder")
    c.close("responder", wire.SHUTDOWN, "maintenance")
    c.expect("initiator", "hello", "ready", "message", ("close", wire.SHUTDOWN, "maintenance"))
    return c


def refusals():
    c = Conversation("reject_denied", "the responder's policy refuses the initiator's key", network=NETWORK,
                     responder={"refuse": (wire.DENIED, "not admitted")})
    c.expect("initiator", "hello", ("reject", wire.DENIED, "not admitted"))
    c.expect("responder")
    yield c
    c = Conversation("reject_by_initiator", "the initiator refuses in place of ACCEPT; the responder just ends",
                     initiator={"refuse": (wire.DUPLICATE, "connected already")})
    c.expect("initiator")
    c.expect("responder", "hello", ("reject", wire.DUPLICATE, "connected already"))
    yield c


def stages():
    two = [(b"LOGIN alice\r\n", b"+OK go on\r\n"), (b"UPGRADE\n", b"")]
    c = Conversation("stages", "two plaintext stages before Noise; the second is one-way, so message 1 comes with it",
                     network=NETWORK, stages=two)
    c.send("initiator", b"hello")
    c.close("initiator")
    c.expect("responder", "hello", "ready", "message", ("close", 0, ""))
    yield c
    c = Conversation("plain", "a plain chain: no stage, no transform", network=NETWORK, protocol=None)
    c.send("initiator", b"hello", b"", b"world")
    c.send("responder", b"howdy")
    c.close("initiator")
    c.expect("responder", "hello", "ready", *["message"] * 3, ("close", 0, ""))
    yield c
    c = Conversation("plain_stage", "a plain chain with one stage", protocol=None, stages=[(b"\x00\x01\x02", b"\xff")])
    c.send("responder", 300)
    c.close("responder", 0x4000 | 1234, "an application's own code")
    c.expect("initiator", "hello", "ready", "message", ("close", 0x44D2, "an application's own code"))
    yield c


def gates():
    protocol = DEFAULT.replace("XX", "XXpsk0")
    c = Conversation("network_key", "a network's key: message 1 has a tag", network=NETWORK, protocol=protocol, psk=PSK)
    c.send("initiator", b"hello")
    c.close("initiator")
    c.expect("responder", "hello", "ready", "message", ("close", 0, ""))
    yield c
    c = Conversation("network_key_dated", "message 1 says when it was made; the responder's clock is 2.5 s ahead",
                     network=NETWORK, protocol=protocol, psk=PSK, gate_window_ms=WINDOW_MS,
                     initiator={"clock_ms": NOW_MS}, responder={"clock_ms": NOW_MS + 2500})
    c.send("responder", b"hello")
    c.close("responder")
    c.expect("initiator", "hello", "ready", "message", ("close", 0, ""))
    yield c


def suites():
    protocol = DEFAULT.replace("XX", "XXpsk3")
    c = Conversation("psk", "a pre-shared key", network=NETWORK, protocol=protocol, psk=PSK)
    c.send("initiator", b"hello")
    c.close("initiator")
    c.expect("responder", "hello", "ready", "message", ("close", 0, ""))
    yield c
    for cipher in noise34.CIPHERS:
        for name in noise34.HASHES:
            c = Conversation("suite_%s_%s" % (cipher, name), "the opening: one record each way",
                             protocol="Noise_XX_25519_%s_%s" % (cipher, name))
            c.expect("initiator", "hello", "ready")
            yield c


def example():
    c = Conversation("example", "the worked example of docs/wire.md")
    c.send("initiator", b"hello")
    c.send("responder", b"hi")
    c.close("initiator", wire.NORMAL, "bye")
    c.expect("responder", "hello", "ready", "message", ("close", 0, "bye"))
    return c


def scenarios():
    yield from (default_suite(), half_close(), network_and_attributes())
    yield from refusals()
    yield from stages()
    yield from gates()
    yield from suites()
    yield example()


# First messages at a gate, apart: one responder hears them one after another, and remembers.

GATE = {"network": NETWORK, "protocol": DEFAULT.replace("XX", "XXpsk0"), "psk": PSK, "gate_window_ms": WINDOW_MS}


def first_flight(number, payload, psk=PSK):
    """What an initiator says first, with this payload in message 1."""
    static, ephemeral = secret("initiator static"), secret("gate ephemeral %d" % number)
    prologue = b"peapod" + wire.greeting(NETWORK)
    message = noise34.Handshake(GATE["protocol"], True, static, ephemeral, prologue, psk).write(payload)
    return wire.greeting(NETWORK) + len(message).to_bytes(2, "big") + message


def gate_cases():
    """(name, flight, whether it is answered)"""

    def dated(off, size=8):
        return wire.tlv(1, (NOW_MS + off).to_bytes(size, "big"))

    member = first_flight(0, dated(0))
    changed = member[:-1] + bytes([member[-1] ^ 1])
    yield "another key", first_flight(1, dated(0), bytes(32)), False
    yield "a bit is flipped", changed, False
    yield "a member", member, True
    yield "the same again", member, False
    yield "another one with the same time", first_flight(2, dated(0)), True
    yield "as old as may be", first_flight(3, dated(-WINDOW_MS)), True
    yield "a millisecond too old", first_flight(4, dated(-WINDOW_MS - 1)), False
    yield "as new as may be", first_flight(5, dated(WINDOW_MS)), True
    yield "a millisecond too new", first_flight(6, dated(WINDOW_MS + 1)), False
    yield "the end of time", first_flight(7, wire.tlv(1, b"\xff" * 8)), False
    yield "no time", first_flight(8, b""), False
    yield "a time of 7 bytes", first_flight(9, dated(0, 7)), False
    yield "a time of 9 bytes", first_flight(10, dated(0, 9)), False
    yield "a time, and what nobody knows", first_flight(11, dated(0) + wire.tlv(0x7FFF, b"?")), True
    yield "a time, and what must be understood", first_flight(12, dated(0) + wire.tlv(0x8000, b"")), False
    yield "two times", first_flight(13, dated(0) + dated(0)), False
    yield "the first one, at last", member, False


def gate_vectors():
    cases, seen = [], set()
    keys = {"static": secret("responder static"), "ephemeral": secret("responder ephemeral")}
    for name, flight, answered in gate_cases():
        side = wire.Side(False, stages=[], clock_ms=NOW_MS, seen=seen, **keys, **GATE)
        try:
            side.feed(flight)
            answer = side.flush()[0]
        except wire.Silent:
            answer = None
        if (answer is not None) != answered:
            raise AssertionError("gate: " + name)
        cases.append({"name": name, "initiator": flight.hex(), "answer": answer and answer.hex()})
    return {
        "network": NETWORK.hex(),
        "protocol": GATE["protocol"],
        "psk": PSK.hex(),
        "gate_window_ms": WINDOW_MS,
        "clock_ms": NOW_MS,
        "static": keys["static"].hex(),
        "ephemeral": keys["ephemeral"].hex(),
        "cases": cases,
    }


# Rekeying, apart.


def rekey_vectors():
    every, key, out = wire.REKEY_EVERY, secret("rekey"), []
    for cipher in noise34.CIPHERS:
        suite = noise34.Suite("Noise_XX_25519_%s_SHA256" % cipher)
        keys = [key, suite.rekey(key), suite.rekey(suite.rekey(key))]
        records = []
        for number in (0, 1, every - 1, every, every + 1, 2 * every - 1, 2 * every):
            rekeys = number // every
            sealed = suite.encrypt(keys[rekeys], number, b"", b"record")
            records.append({"number": number, "rekeys": rekeys, "plain": b"record".hex(), "ciphertext": sealed.hex()})
        out.append({"cipher": cipher, "every": every, "keys": [k.hex() for k in keys], "records": records})
    return out


def vectors():
    return {
        "about": "peapod's native mode, wire version 1 (docs/wire.md): made by native.py, explained by README.md",
        "wire_version": wire.VERSION,
        "scenarios": [conversation.to_json() for conversation in scenarios()],
        "gate": gate_vectors(),
        "rekey": rekey_vectors(),
        "bad_greetings": {"network": NETWORK.hex(), "cases": list(bad_peers.bad_greetings())},
        "bad_peers": {
            "network": NETWORK.hex(),
            "application": bad_peers.STRICT["application"],
            "application_lowest": bad_peers.STRICT["versions"][0],
            "application_highest": bad_peers.STRICT["versions"][1],
            "greeting": wire.greeting(NETWORK).hex(),
            "cases": bad_peers.bad_peer_vectors(),
        },
    }


def to_text(value):
    return json.dumps(value, indent=1, ensure_ascii=True) + "\n"


# The worked example.


def hex_lines(data, indent=4, width=32):
    return [" " * indent + data[at : at + width].hex(" ", -4) for at in range(0, len(data), width)]


def chunk_lines(plain):
    """The chunks of a record, HELLO down to its TLVs."""
    lines = []
    while plain:
        size = int.from_bytes(plain[1:4], "big")
        payload = plain[4 : 4 + size]
        lines += ["    %s: %s" % (wire.NAMES[plain[0]], plain[:4].hex(" ", 1))]
        if plain[0] == wire.HELLO:
            for kind, value in wire.read_tlvs(payload):
                lines += ["      TLV %d: %s" % (kind, wire.tlv(kind, value)[:4].hex(" ", 2))] + hex_lines(value, 8)
        else:
            lines += hex_lines(payload, 6)
        plain = plain[4 + size :]
    return lines


def part_lines(part, data):
    number = {"noise": part.get("message"), "record": part.get("number")}.get(part["kind"])
    name = "noise message" if part["kind"] == "noise" else part["kind"]
    name += "" if number is None else " %d" % number
    lines = ["  %s, %d bytes" % (name, len(data))] + hex_lines(data)
    if "plain" in part:
        lines += ["  its plaintext, %d bytes" % len(part["plain"])] + chunk_lines(part["plain"])
    return lines


def example_text():
    c = example()
    lines = ["```", "network id: 32 zero bytes; protocol: " + DEFAULT]
    for who in ("initiator", "responder"):
        for name in ("static", "ephemeral"):
            key = c.own[who][name]
            lines += ["%s's %s key, private" % (who, name)] + hex_lines(key)
            lines += ["  public"] + hex_lines(noise34.public_key(key))
    lines += ["prologue"] + hex_lines(c.sides["initiator"].prologue())
    for number, flight in enumerate(c.flights, 1):
        way = "I -> R" if flight["from"] == "initiator" else "R -> I"
        lines += ["", "flight %d, %s: %s" % (number, way, c.what(flight))]
        at = 0
        for part in flight["parts"]:
            lines += part_lines(part, flight["wire"][at : at + part["size"]])
            at += part["size"]
    side = c.sides["initiator"]
    lines += ["", "binding"] + hex_lines(side.binding) + ["exporter secret"] + hex_lines(side.exporter)
    lines += ['exported for the label "peapod test label", 16 bytes']
    lines += hex_lines(export(side.noise.suite, side.exporter, b"peapod test label", 16))
    return "\n".join(lines + ["```"]) + "\n"


def gate_example_text():
    """Message 1 of the scenario network_key_dated."""
    c = list(gates())[1]
    side, flight = c.sides["initiator"], c.flights[0]
    lines = ["```", "protocol: " + c.common["protocol"], "psk"] + hex_lines(c.common["psk"])
    lines += ["prologue"] + hex_lines(side.prologue())
    lines += ["initiator's ephemeral key, public"] + hex_lines(noise34.public_key(c.own["initiator"]["ephemeral"]))
    lines += ["payload, made at %d" % c.own["initiator"]["clock_ms"]]
    lines += hex_lines(wire.tlv(1, c.own["initiator"]["clock_ms"].to_bytes(8, "big")))
    lines += part_lines(flight["parts"][1], flight["wire"][41:])
    return "\n".join(lines + ["```"]) + "\n"


# The commands.


def opening(flip=None, **other):
    """(Whether the initiator gets READY, sizes of flights). flip: (flight, byte) where a bit changes; other: what the
    responder is set to otherwise."""
    same = {"network": NETWORK, "protocol": DEFAULT.replace("XX", "XXpsk3"), "psk": PSK, "stages": [(b"ask", b"tell")]}
    sides = []
    for who, more in (("initiator", {}), ("responder", other)):
        keys = {"static": secret(who + " static"), "ephemeral": secret(who + " ephemeral")}
        sides.append(wire.Side(who == "initiator", **{**same, **keys, **more}))
    flights = []
    try:
        sides[0].start()
        while (data := sides[len(flights) % 2].flush()[0]) and not sides[(len(flights) + 1) % 2].done:
            if flip and flip[0] == len(flights):
                data = data[: flip[1]] + bytes([data[flip[1]] ^ 2]) + data[flip[1] + 1 :]
            flights.append(len(data))
            sides[len(flights) % 2].feed(data)
    except wire.Silent:
        pass
    return ("ready",) in sides[0].events, flights


def test_attacks():
    """A bit flipped in any byte of the opening, or a setting that differs, leaves the initiator without connection."""
    ready, flights = opening()
    if not ready or len(flights) != 6:
        raise AssertionError("the opening that is attacked does not work")
    attacks = [{"flip": (flight, at)} for flight, size in enumerate(flights) for at in range(size)]
    attacks += [{"network": NO_NETWORK}, {"psk": bytes(32)}, {"stages": []}, {"stages": [(b"ask", b"tall")]}]
    attacks += [{"protocol": DEFAULT.replace("XX", "XXpsk3").replace(*pair)}
                for pair in (("BLAKE2b", "SHA512"), ("BLAKE2b", "SHA256"), ("ChaChaPoly", "AESGCM"))]
    attacks += [{"protocol": DEFAULT, "psk": None}, {"refuse": (wire.DENIED, "")}]
    for attack in attacks:
        if opening(**attack)[0]:
            raise AssertionError("the initiator is READY in spite of %s" % attack)
    return len(attacks)


def self_test():
    with open(os.path.join(HERE, "cacophony-25519.json"), encoding="ascii") as file:
        published = json.load(file)["vectors"]
    for vector in published:
        noise34.run_vector(vector)
    if len(published) != 472:
        raise AssertionError("472 published vectors are expected, %d are here" % len(published))
    with open(os.path.join(HERE, "noise-more.json"), encoding="ascii") as file:
        if json.load(file)["vectors"] != noise34.more_vectors():
            raise AssertionError("noise-more.json is not what noise34.py makes")
    cases = 0
    for case in bad_peers.bad_greetings():
        cases += 1
        if wire.check_greeting(bytes.fromhex(case["greeting"]), NETWORK) != case["wrong"]:
            raise AssertionError("greeting: " + case["name"])
    for name, data, accepted, code in bad_peers.bad_peers():
        cases += 1
        if bad_peers.answer(data) != (accepted, code):
            raise AssertionError("%s: got %s" % (name, bad_peers.answer(data)))
    for vector in rekey_vectors():
        suite = noise34.Suite("Noise_XX_25519_%s_SHA256" % vector["cipher"])
        state = noise34.CipherState(suite, bytes.fromhex(vector["keys"][0]), vector["every"])
        longhand = suite.aead(state.key).encrypt(bytes(4) + b"\xff" * 8, bytes(32), None)[:32]  # either byte order
        if longhand.hex() != vector["keys"][1]:
            raise AssertionError("%s: the first rekey" % vector["cipher"])
        for record in vector["records"]:
            if record["number"] % vector["every"] == 0:  # a jump over the records between changes no key
                state.number = record["number"]
                if state.seal(b"record").hex() != record["ciphertext"]:
                    raise AssertionError("%s: record %d" % (vector["cipher"], record["number"]))
                cases += 1
    cases += len(gate_vectors()["cases"])
    attacks = test_attacks()
    count = sum(len(conversation.to_json()["flights"]) for conversation in scenarios())
    print("%d published Noise vectors, %d rules, %d flights, %d attacks: all as they should be"
          % (len(published), cases, count, attacks))


def check(path):
    with open(path, encoding="ascii") as file:
        found = file.read()
    wanted = to_text(vectors())
    if found == wanted:
        print("%s is what native.py makes" % path)
        return 0
    pairs = list(zip(found.splitlines() + [""], wanted.splitlines() + [""]))
    line = next((number for number, (a, b) in enumerate(pairs, 1) if a != b), len(pairs))
    print("%s: line %d differs from what native.py makes" % (path, line), file=sys.stderr)
    return 1


def check_doc(path):
    with open(path, encoding="utf-8") as file:
        page = file.read()
    missing = [example for example in (example_text(), gate_example_text()) if example not in page]
    if not missing:
        print("%s has the worked examples" % path)
        return 0
    print("%s: a worked example is not what native.py --example makes" % path, file=sys.stderr)
    return 1


def main(args):
    if not args:
        sys.stdout.write(to_text(vectors()))
    elif args == ["--self-test"]:
        self_test()
    elif args == ["--example"]:
        sys.stdout.write(gate_example_text() + "\n" + example_text())
    elif len(args) == 2 and args[0] == "--check":
        return check(args[1])
    elif len(args) == 2 and args[0] == "--check-doc":
        return check_doc(args[1])
    else:
        print(__doc__, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
