# SPDX-License-Identifier: MIT
"""The Noise Protocol Framework, revision 34, as far as test vectors need it: all patterns over 25519.

It exists to check peapod's C code by other means, and shares nothing with it. It is not for use in production: keys are
never wiped, and nothing is constant in time that Python and its libraries do not make so.
"""
import hashlib
import hmac
import json
import re

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

P25519 = 2**255 - 19
MAX_NONCE = 2**64 - 1
HASHES = {"SHA256": hashlib.sha256, "SHA512": hashlib.sha512, "BLAKE2b": hashlib.blake2b, "BLAKE2s": hashlib.blake2s}
# cipher name: the AEAD, and how the 64-bit counter is laid out behind 4 zero bytes of nonce
CIPHERS = {"ChaChaPoly": (ChaCha20Poly1305, "little"), "AESGCM": (AESGCM, "big")}
# As the specification writes them, sections 7.4, 7.5 and 18.1: ">" and "<" begin a message, what is before "..." is known.
PATTERNS = {
    name: text.split(" ")
    for name, text in (
        line.strip().split(": ")
        for line in """
            N: < s ... > e es
            K: > s < s ... > e es ss
            X: < s ... > e es s ss
            NN: > e < e ee
            KN: > s ... > e < e ee se
            NK: < s ... > e es < e ee
            KK: > s < s ... > e es ss < e ee se
            NX: > e < e ee s es
            KX: > s ... > e < e ee se s es
            XN: > e < e ee > s se
            IN: > e s < e ee se
            XK: < s ... > e es < e ee > s se
            IK: < s ... > e es s ss < e ee se
            XX: > e < e ee s es > s se
            IX: > e s < e ee se s es
            NK1: < s ... > e < e ee es
            NX1: > e < e ee s > es
            X1N: > e < e ee > s < se
            X1K: < s ... > e es < e ee > s < se
            XK1: < s ... > e < e ee es > s se
            X1K1: < s ... > e < e ee es > s < se
            X1X: > e < e ee s es > s < se
            XX1: > e < e ee s > es s se
            X1X1: > e < e ee s > es s < se
            K1N: > s ... > e < e ee > se
            K1K: > s < s ... > e es < e ee > se
            KK1: > s < s ... > e < e ee se es
            K1K1: > s < s ... > e < e ee es > se
            K1X: > s ... > e < e ee s es > se
            KX1: > s ... > e < e ee se s > es
            K1X1: > s ... > e < e ee s > se es
            I1N: > e s < e ee > se
            I1K: < s ... > e es s < e ee > se
            IK1: < s ... > e s < e ee se es
            I1K1: < s ... > e s < e ee es > se
            I1X: > e s < e ee s es > se
            IX1: > e s < e ee se s > es
            I1X1: > e s < e ee s > se es
            XXfallback: > e ... < e ee s es > s se
        """.strip().splitlines()
    )
}


def messages_of(words):
    """[(who, tokens)] of a list as above; who is ">" or "<"."""
    messages = []
    for word in words:
        if word in "<>":
            messages.append((word, []))
        else:
            messages[-1][1].append(word)
    return messages


def pattern_of(name):
    """"IKpsk1+psk2": pre-messages, messages, whether there are psks."""
    base = re.match("[A-Z0-9]+(fallback)?", name).group()
    modifiers = [part for part in name[len(base) :].split("+") if part]
    if base not in PATTERNS or any(re.fullmatch("psk[0-9]", part) is None for part in modifiers):
        raise ValueError("no such pattern: " + name)
    words = PATTERNS[base]
    split = words.index("...") if "..." in words else 0
    messages = messages_of(words[split + 1 if split else 0 :])
    for modifier in modifiers:
        place = int(modifier[3:])
        if place == 0:
            messages[0][1].insert(0, "psk")
        else:
            messages[place - 1][1].append("psk")
    return messages_of(words[:split]), messages, bool(modifiers)


class NoiseError(Exception):
    """The handshake or a record is wrong; in peapod this is a silent close."""


def public_key(private):
    key = X25519PrivateKey.from_private_bytes(private)
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def dh(private, public):
    try:
        return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError as err:
        raise NoiseError("Diffie-Hellman with a point of low order") from err


class Suite:
    """What a protocol name says: pattern, cipher and hash."""

    def __init__(self, protocol):
        prefix, pattern, curve, cipher, hash_name = protocol.split("_")
        if prefix != "Noise" or curve != "25519":
            raise ValueError("not a protocol of this file: " + protocol)
        self.protocol = protocol
        self.known, self.pattern, self.psk = pattern_of(pattern)
        self.one_way = len(self.pattern) == 1
        self.aead, self.order = CIPHERS[cipher]
        self.hash_new = HASHES[hash_name]
        self.hash_len = self.hash_new().digest_size

    def hash(self, data):
        return self.hash_new(data).digest()

    def hmac(self, key, data):
        return hmac.new(key, data, self.hash_new).digest()

    def hkdf(self, chaining_key, material, outputs):
        """Noise section 4.3: `outputs` values of hash_len bytes."""
        temp, value, result = self.hmac(chaining_key, material), b"", []
        for number in range(1, outputs + 1):
            value = self.hmac(temp, value + bytes([number]))
            result.append(value)
        return result

    def _nonce(self, number):
        return bytes(4) + number.to_bytes(8, self.order)

    def encrypt(self, key, number, ad, plain):
        return self.aead(key).encrypt(self._nonce(number), plain, ad)

    def decrypt(self, key, number, ad, sealed):
        try:
            return self.aead(key).decrypt(self._nonce(number), sealed, ad)
        except Exception as err:  # InvalidTag, or ValueError where it is shorter than a tag
            raise NoiseError("authentication failed") from err

    def rekey(self, key):
        """Noise section 11.3."""
        return self.encrypt(key, MAX_NONCE, b"", bytes(32))[:32]


class CipherState:
    """One direction of transport. rekey_every 0: never."""

    def __init__(self, suite, key, rekey_every=0):
        self.suite, self.key, self.number, self.rekey_every = suite, key, 0, rekey_every

    def _before(self):
        if self.number == MAX_NONCE:
            raise NoiseError("the key is used up")
        if self.rekey_every and self.number and self.number % self.rekey_every == 0:
            return self.suite.rekey(self.key)
        return self.key

    def seal(self, plain):
        self.key = self._before()
        sealed = self.suite.encrypt(self.key, self.number, b"", plain)
        self.number += 1
        return sealed

    def open(self, sealed):
        key = self._before()
        plain = self.suite.decrypt(key, self.number, b"", sealed)  # what fails changes nothing
        self.key, self.number = key, self.number + 1
        return plain


class SymmetricState:
    def __init__(self, suite):
        name = suite.protocol.encode("ascii")
        self.suite, self.key, self.number = suite, None, 0
        self.h = name.ljust(suite.hash_len, b"\0") if len(name) <= suite.hash_len else suite.hash(name)
        self.ck = self.h

    def mix_hash(self, data):
        self.h = self.suite.hash(self.h + data)

    def mix_key(self, material):
        self.ck, temp = self.suite.hkdf(self.ck, material, 2)
        self.key, self.number = temp[:32], 0

    def mix_key_and_hash(self, material):
        self.ck, temp_h, temp_k = self.suite.hkdf(self.ck, material, 3)
        self.mix_hash(temp_h)
        self.key, self.number = temp_k[:32], 0

    def encrypt_and_hash(self, plain):
        out = plain
        if self.key is not None:
            out = self.suite.encrypt(self.key, self.number, self.h, plain)
            self.number += 1
        self.mix_hash(out)
        return out

    def decrypt_and_hash(self, data):
        out = data
        if self.key is not None:
            out = self.suite.decrypt(self.key, self.number, self.h, data)
            self.number += 1
        self.mix_hash(data)
        return out


class Handshake:
    """One side. write() and read() alternate as the pattern says; after the last message split() is there."""

    suite_of = Suite

    def __init__(self, protocol, initiator, static, ephemeral, prologue, psk=None, remote=None, remote_ephemeral=None):
        self.suite, self.initiator = self.suite_of(protocol), initiator
        if self.suite.psk != (psk is not None):
            raise ValueError("a psk is given exactly where the pattern has one")
        self.ss = SymmetricState(self.suite)
        self.ss.mix_hash(prologue)
        self.s, self.e, self.psk = static, ephemeral, psk
        self.rs, self.re = remote, remote_ephemeral
        self.step = 0
        # by whom tokens are named: the one on the left, which after a fallback is not the one that begins
        self.left = initiator == (self.suite.pattern[0][0] == ">")
        for who, tokens in self.suite.known:
            for token in tokens:
                own = (who == ">") == self.left
                key = public_key(getattr(self, token)) if own else getattr(self, "r" + token)
                self.ss.mix_hash(key)
                if token == "e" and self.suite.psk:
                    self.ss.mix_key(key)

    @property
    def done(self):
        return self.step == len(self.suite.pattern)

    def _mix(self, token):
        if token == "psk":
            self.ss.mix_key_and_hash(self.psk)
            return
        own, other = token if self.left else token[::-1]  # first letter: the key of the one on the left
        self.ss.mix_key(dh(getattr(self, own), getattr(self, "r" + other)))

    def say(self, token):
        """What a token that is none of a key's puts into the message."""
        self._mix(token)
        return b""

    def hear(self, token, take):
        """The same for who reads; take(n): the next bytes."""
        self._mix(token)

    def _turn(self, writing):
        if self.done or (self.step % 2 == 0) != (writing == self.initiator):
            raise ValueError("not this side's turn")
        tokens = self.suite.pattern[self.step][1]
        self.step += 1
        return tokens

    def write(self, payload=b""):
        out = b""
        for token in self._turn(True):
            if token == "e":
                public = public_key(self.e)
                out += public
                self.ss.mix_hash(public)
                if self.suite.psk:
                    self.ss.mix_key(public)
            elif token == "s":
                out += self.ss.encrypt_and_hash(public_key(self.s))
            else:
                out += self.say(token)
        return out + self.ss.encrypt_and_hash(payload)

    def read(self, message):
        at = 0

        def take(count):
            nonlocal at
            if len(message) - at < count:
                raise NoiseError("handshake message %d is too short" % self.step)
            at += count
            return message[at - count : at]

        for token in self._turn(False):
            if token == "e":
                self.re = take(32)
                self.ss.mix_hash(self.re)
                if self.suite.psk:
                    self.ss.mix_key(self.re)
            elif token == "s":
                self.rs = self.ss.decrypt_and_hash(take(48 if self.ss.key is not None else 32))
                if int.from_bytes(self.rs, "little") >= P25519:
                    raise NoiseError("the static key is not canonical")
            else:
                self.hear(token, take)
        return self.ss.decrypt_and_hash(message[at:])

    def split(self, rekey_every=0):
        """(this side's sending state, its receiving state, binding, exporter secret)"""
        if not self.done:
            raise ValueError("the handshake is not complete")
        k1, k2, exporter = self.suite.hkdf(self.ss.ck, b"", 3)
        assert [k1, k2] == self.suite.hkdf(self.ss.ck, b"", 2)  # Split() of the specification asks for two
        first, second = (CipherState(self.suite, k[:32], rekey_every) for k in (k1, k2))
        send, receive = (first, second) if self.initiator else (second, first)
        return send, receive, self.ss.h, exporter


def sides_of(vector, kind=Handshake):
    """Both handshakes of a vector in the format of cacophony."""
    sides = []
    for who in ("init", "resp"):

        def get(name, of=who):
            value = vector.get(of + "_" + name)
            return None if value is None else bytes.fromhex(value)

        psks = vector.get(who + "_psks") or [None]
        sides.append(
            kind(
                vector["protocol_name"],
                who == "init",
                get("static"),
                get("ephemeral"),
                get("prologue"),
                psk=psks[0] and bytes.fromhex(psks[0]),
                remote=get("remote_static"),
                remote_ephemeral=get("remote_ephemeral"),
            )
        )
    return sides


def play(vector, payloads, sides=None):
    """The wire of each payload in turn, and the handshake hash; raises where the two sides do not agree."""
    sides, wires, binding = sides or sides_of(vector), [], None
    one_way = sides[0].suite.one_way
    for number, payload in enumerate(payloads):
        writer, reader = sides if number % 2 == 0 or one_way else sides[::-1]
        if isinstance(writer, Handshake):
            wire = writer.write(payload)
            got = reader.read(wire)
        else:
            wire = writer[0].seal(payload)
            got = reader[1].open(wire)
        if got != payload:
            raise AssertionError("%s: message %d differs" % (vector["protocol_name"], number))
        wires.append(wire)
        if isinstance(writer, Handshake) and writer.done:
            sides = [side.split() for side in sides]
            binding = sides[0][2]
            if sides[1][2] != binding or sides[0][3] != sides[1][3]:
                raise AssertionError("%s: the handshake hash or the exporter differs" % vector["protocol_name"])
    if binding is None:
        raise AssertionError("%s: the handshake did not end" % vector["protocol_name"])
    return wires, binding


def run_vector(vector):
    """Runs one vector in the format of cacophony; raises where it does not hold."""
    messages = vector["messages"]
    wires, binding = play(vector, [bytes.fromhex(message["payload"]) for message in messages])
    if [wire.hex() for wire in wires] != [message["ciphertext"] for message in messages]:
        raise AssertionError("%s: a message differs" % vector["protocol_name"])
    if binding.hex() != vector["handshake_hash"]:
        raise AssertionError("%s: the handshake hash differs" % vector["protocol_name"])


# ---- Vectors of our own, where nobody publishes any ----

# The handshake hashes of noise-c's tests/vector/noise-c-fallback.txt (MIT): each covers every byte that was said.
FALLBACK_HASHES = {
    "BLAKE2s": "54e424c6564898d6540f925faaa56516967c1b7847f4cac83016b6d1d318288a",
    "BLAKE2b": "9ca839672840ab3f239a4d1d7136ecde9b3cb8244c0fdc7d6c56f4e394144a54"
    "d28326d042ef30d8f253c977efce03d8f728686540672a9eac53dbf9b4c28b57",
    "SHA256": "ecabd6cfc98cb5d46b2abdc22bf2c3e8dc97e40fc019eff2da912db4f19266c6",
    "SHA512": "8a6cce86cce99ffcca5fa8ef912883823debb06721311b77ea64c2db7eba364d"
    "37f94f712dea812832b3515857296f028a9c8b2b5f44185b559f350a11849f82",
}
STATICS = (
    "e61ef9919cde45dd5f82166404bd08e38bceb5dfdfded0a34c8df7ed542214d1",
    "4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893",
)
EPHEMERALS = (
    "893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a",
    "bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b",
)
PSK = b"This is my Austrian perspective!".hex()
PAYLOADS = [b"Ludwig von Mises", b"Murray Rothbard", b"F. A. Hayek", b"Carl Menger", b"Jean-Baptiste Say"]


def vector_of(protocol):
    """A vector with the keys that cacophony and noise-c use."""
    suite = Suite(protocol)
    fallback = suite.pattern[0][0] == "<"
    prologue = (b"Prologue123" if fallback else b"John Galt").hex()
    alice, bob = ("resp", "init") if fallback else ("init", "resp")
    vector = {"protocol_name": protocol}
    tokens = {">": set(), "<": set()}
    for who, said in suite.pattern:
        tokens[who] |= set(said)
    for side, (name, arrow, peer) in enumerate(((alice, ">", bob), (bob, "<", alice))):
        vector[name + "_prologue"] = prologue
        vector[name + "_ephemeral"] = EPHEMERALS[side]
        known = [(who, token) for who, said in suite.known for token in said]
        if "s" in tokens[arrow] or (arrow, "s") in known:
            vector[name + "_static"] = STATICS[side]
        if (arrow, "s") in known:
            vector[peer + "_remote_static"] = public_key(bytes.fromhex(STATICS[side])).hex()
        if (arrow, "e") in known:
            vector[peer + "_remote_ephemeral"] = public_key(bytes.fromhex(EPHEMERALS[side])).hex()
        if suite.psk:
            vector[name + "_psks"] = [PSK]
    payloads = PAYLOADS[1:] if fallback else PAYLOADS  # the first one was said in the handshake that failed
    payloads = payloads[: len(suite.pattern) + 1]
    wires, binding = play(vector, payloads)
    vector["handshake_hash"] = binding.hex()
    vector["messages"] = [{"payload": p.hex(), "ciphertext": w.hex()} for p, w in zip(payloads, wires)]
    return vector


def more_vectors():
    """XXfallback, as noise-c has it, and psks where cacophony has none: each place of each pattern, all places at once."""
    names = []
    for pattern in PATTERNS:
        places = range(len(pattern_of(pattern)[1]) + 1)
        plus = "+" if pattern.endswith("fallback") else ""
        modifiers = ["psk%d" % place for place in places] + ["+".join("psk%d" % place for place in places)]
        names += [pattern + plus + modifier for modifier in modifiers]
    ciphers, hashes = sorted(CIPHERS), sorted(HASHES)
    vectors = [vector_of("Noise_XXfallback_25519_%s_%s" % (c, h)) for c in ciphers for h in hashes]
    for vector in vectors:
        cipher, name = vector["protocol_name"].split("_")[3:]
        if cipher == "ChaChaPoly" and vector["handshake_hash"] != FALLBACK_HASHES[name]:
            raise AssertionError(vector["protocol_name"] + " is not what noise-c makes of it")
    for number, name in enumerate(names):  # the suites take turns
        vectors.append(vector_of("Noise_%s_25519_%s_%s" % (name, ciphers[number % 2], hashes[number % 4])))
    return vectors


if __name__ == "__main__":
    print('{"vectors": [\n' + ",\n".join(json.dumps(vector) for vector in more_vectors()) + "\n]}")
