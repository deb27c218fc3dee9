# SPDX-License-Identifier: MIT
"""Makes noise-hfs.json: the hybrid patterns of "KEM-based Hybrid Forward Secrecy for Noise", revision 1, with ML-KEM-768.
ML-KEM is kyber-py's (pip install kyber-py), which is plain Python and no relation of libsodium's; Noise is noise34.py's.
  python3 tests/vectors/noise_hfs.py > tests/vectors/noise-hfs.json
  python3 tests/vectors/noise_hfs.py --check tests/vectors/noise-hfs.json
"""
import json
import sys

from kyber_py.ml_kem import ML_KEM_768

import noise34

KEM, PUBLIC, CIPHER, TAG = "MLKEM768", 1184, 1088, 16
SEEDS = {"init": bytes(range(64)), "resp": bytes(range(100, 132))}  # d and z of a key pair; m of an encapsulation


def hybrid(messages):
    """Section 5: e1 goes behind the first Diffie-Hellman of the first message, else behind e; ekem1 behind ee."""
    made = [(who, list(tokens)) for who, tokens in messages]
    first = made[0][1]
    dhs = [token for token in first if token in ("ee", "es", "se", "ss")]
    first.insert(first.index(dhs[0] if dhs else "e") + 1, "e1")
    answer = next(tokens for _, tokens in made if "ee" in tokens)
    answer.insert(answer.index("ee") + 1, "ekem1")
    return made


class Suite(noise34.Suite):
    def __init__(self, protocol):
        plain = protocol.replace("hfs+", "").replace("hfs", "").replace("+" + KEM, "")
        super().__init__(plain)
        self.protocol, self.pattern = protocol, hybrid(self.pattern)


class Handshake(noise34.Handshake):
    suite_of = Suite
    seed = kem_public = kem_secret = None

    def say(self, token):
        if token == "e1":
            self.kem_public, self.kem_secret = ML_KEM_768._keygen_internal(self.seed[:32], self.seed[32:])
            return self.ss.encrypt_and_hash(self.kem_public)
        if token == "ekem1":
            shared, cipher = ML_KEM_768._encaps_internal(self.kem_public, self.seed)
            said = self.ss.encrypt_and_hash(cipher)
            self.ss.mix_key(shared)
            return said
        return super().say(token)

    def hear(self, token, take):
        tag = TAG if self.ss.key is not None else 0
        if token == "e1":
            self.kem_public = self.ss.decrypt_and_hash(take(PUBLIC + tag))
        elif token == "ekem1":
            cipher = self.ss.decrypt_and_hash(take(CIPHER + tag))
            self.ss.mix_key(ML_KEM_768.decaps(self.kem_secret, cipher))
        else:
            super().hear(token, take)


def vector_of(name, suite):
    """As noise34.py's, with its keys, and the seeds above."""
    vector = noise34.vector_of("Noise_%s_25519_%s" % (name.replace("hfs+", "").replace("hfs", ""), suite))
    vector["protocol_name"] = "Noise_%s_25519+%s_%s" % (name, KEM, suite)
    payloads = [bytes.fromhex(message["payload"]) for message in vector["messages"]]
    sides = noise34.sides_of(vector, Handshake)
    for side, who in zip(sides, ("init", "resp")):
        side.seed = SEEDS[who]
        vector[who + "_kem_seed"] = SEEDS[who].hex()
    wires, binding = noise34.play(vector, payloads, sides)
    vector["handshake_hash"] = binding.hex()
    vector["messages"] = [{"payload": p.hex(), "ciphertext": w.hex()} for p, w in zip(payloads, wires)]
    return vector


def vectors():
    """Every interactive pattern, the suites in turn; XX with every suite; psks with XX and IK."""
    suites = ["%s_%s" % (c, h) for c in sorted(noise34.CIPHERS) for h in sorted(noise34.HASHES)]
    patterns = [name for name in noise34.PATTERNS if len(name) > 1 and not name.endswith("fallback")]
    made = [vector_of(name + "hfs", suites[number % 8]) for number, name in enumerate(patterns)]
    made += [vector_of("XXhfs", suite) for suite in suites]
    psks = ["XXhfs+psk0", "XXhfs+psk3", "XXhfs+psk0+psk1+psk2+psk3", "IKhfs+psk0", "IKhfs+psk1", "IKhfs+psk2"]
    return made + [vector_of(name, suites[number % 8]) for number, name in enumerate(psks)]


def main(arguments):
    text = '{"vectors": [\n' + ",\n".join(json.dumps(vector) for vector in vectors()) + "\n]}\n"
    if not arguments:
        sys.stdout.write(text)
        return 0
    with open(arguments[1], encoding="ascii") as file:
        same = file.read() == text
    print(arguments[1], "is" if same else "IS NOT", "what noise_hfs.py makes")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
