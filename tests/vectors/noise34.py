# SPDX-License-Identifier: MIT
"""The Noise Protocol Framework, revision 34, as far as test vectors need it: XX and XXpsk3 over 25519.

It exists to check peapod's C code by other means, and shares nothing with it. It is not for use in production: keys are
never wiped, and nothing is constant in time that Python and its libraries do not make so.
"""
import hashlib
import hmac

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

P25519 = 2**255 - 19
MAX_NONCE = 2**64 - 1
HASHES = {"SHA256": hashlib.sha256, "SHA512": hashlib.sha512, "BLAKE2b": hashlib.blake2b, "BLAKE2s": hashlib.blake2s}
# cipher name: the AEAD, and how the 64-bit counter is laid out behind 4 zero bytes of nonce
CIPHERS = {"ChaChaPoly": (ChaCha20Poly1305, "little"), "AESGCM": (AESGCM, "big")}
PATTERNS = {
    "XX": [["e"], ["e", "ee", "s", "es"], ["s", "se"]],
    "XXpsk3": [["e"], ["e", "ee", "s", "es"], ["s", "se", "psk"]],
}


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
        self.protocol, self.pattern = protocol, PATTERNS[pattern]
        self.psk = "psk" in pattern
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

    def __init__(self, protocol, initiator, static, ephemeral, prologue, psk=None):
        self.suite, self.initiator = Suite(protocol), initiator
        if self.suite.psk != (psk is not None):
            raise ValueError("a psk is given exactly where the pattern has one")
        self.ss = SymmetricState(self.suite)
        self.ss.mix_hash(prologue)
        self.s, self.e, self.psk = static, ephemeral, psk
        self.rs = self.re = None
        self.step = 0

    @property
    def done(self):
        return self.step == len(self.suite.pattern)

    def _mix(self, token):
        if token == "psk":
            self.ss.mix_key_and_hash(self.psk)
            return
        own, other = token if self.initiator else token[::-1]  # first letter: the initiator's key
        self.ss.mix_key(dh(getattr(self, own), getattr(self, "r" + other)))

    def _turn(self, writing):
        if self.done or (self.step % 2 == 0) != (writing == self.initiator):
            raise ValueError("not this side's turn")
        tokens = self.suite.pattern[self.step]
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
                self._mix(token)
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
                self._mix(token)
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


def run_vector(vector):
    """Runs one vector in the format of cacophony; raises where it does not hold."""
    sides = []
    for who in ("init", "resp"):
        psks = vector.get(who + "_psks") or [None]
        keys = [bytes.fromhex(vector[who + "_" + name]) for name in ("static", "ephemeral", "prologue")]
        sides.append(Handshake(vector["protocol_name"], who == "init", *keys, psk=psks[0] and bytes.fromhex(psks[0])))
    for number, message in enumerate(vector["messages"]):
        writer, reader = sides if number % 2 == 0 else sides[::-1]
        payload, expected = bytes.fromhex(message["payload"]), bytes.fromhex(message["ciphertext"])
        if isinstance(writer, Handshake):
            wire = writer.write(payload)
            got = reader.read(wire)
        else:
            wire = writer[0].seal(payload)
            got = reader[1].open(wire)
        if wire != expected or got != payload:
            raise AssertionError("%s: message %d differs" % (vector["protocol_name"], number))
        if isinstance(writer, Handshake) and writer.done:
            sides = [side.split() for side in sides]
            hashes = {bytes.fromhex(vector["handshake_hash"]), sides[0][2], sides[1][2]}
            if len(hashes) != 1 or sides[0][3] != sides[1][3]:
                raise AssertionError("%s: the handshake hash or the exporter differs" % vector["protocol_name"])
    if isinstance(sides[0], Handshake):
        raise AssertionError("%s: the handshake did not end" % vector["protocol_name"])
