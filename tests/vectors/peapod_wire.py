# SPDX-License-Identifier: MIT
"""One side of native mode, wire version 1, written from docs/wire.md alone: bytes go in, bytes and events come out.

It exists to make and to check test vectors. It has no sockets, no deadlines and no limits on memory, and is not for use
in production.
"""
import struct

from noise34 import Handshake, NoiseError

MAGIC = b"\xf1peapod"
VERSION = 1
REKEY_EVERY = 1 << 20
RECORD_PLAIN = 61440 - 2 - 16  # what peapod writes; 65,535 - 16 may be read
HANDSHAKE_MAX = 16384
CONTROL_MAX, SKIP_MAX, TEXT_MAX, DATA_MAX = 4096, 65536, 256, (1 << 24) - 1
MESSAGE_MAX = 8 << 20
HELLO, ACCEPT, REJECT, DATA, END, CLOSE, PING, PONG = range(1, 9)
NAMES = {1: "HELLO", 2: "ACCEPT", 3: "REJECT", 4: "DATA", 5: "END", 6: "CLOSE", 7: "PING", 8: "PONG"}
PERMANENT = 0x8000
NORMAL, SHUTDOWN, DENIED, DUPLICATE = 0, 1, 0x8002, 3
PROTO, TOO_BIG, BAD_VERSION, BAD_NETWORK = 8, 9, 0x800B, 0x800C


class Silent(Exception):
    """Ends a connection without a word."""


class Fault(Exception):
    """Ends a connection with a code, once the channel is open."""

    def __init__(self, code, text):
        super().__init__(text)
        self.code = code


def greeting(network, highest=VERSION):
    return MAGIC + bytes([VERSION, highest]) + network


def check_greeting(data, network):
    """How many bytes of `data`, at most 41, are those of a greeting; the next one, if there is one, is wrong."""
    for at, byte in enumerate(data[:41]):
        good = byte >= VERSION if at == 8 else byte == greeting(network)[at]
        if not good:
            return at
    return min(len(data), 41)


def tlv(kind, value):
    return struct.pack(">HH", kind, len(value)) + value


def read_tlvs(data):
    """[(type, value)], or None where the framing or the order is wrong."""
    out, at, last = [], 0, 0
    while at < len(data):
        if len(data) - at < 4:
            return None
        kind, size = struct.unpack_from(">HH", data, at)
        at += 4
        if len(data) - at < size or kind <= last:
            return None
        last = kind
        out.append((kind, data[at : at + size]))
        at += size
    return out


def chunk(kind, payload=b""):
    return bytes([kind]) + len(payload).to_bytes(3, "big") + payload


def with_code(code, text):
    return struct.pack(">H", code) + text.encode("utf-8")


def read_code(payload):
    if not 2 <= len(payload) <= 2 + TEXT_MAX:
        raise Fault(PROTO, "code and text have an impossible length")
    try:
        return struct.unpack(">H", payload[:2])[0], payload[2:].decode("utf-8")
    except UnicodeDecodeError as err:
        raise Fault(PROTO, "the text is not UTF-8") from err


def frame(message):
    """The length codec of a chain's messages."""
    return struct.pack(">I", len(message)) + message


def lengthed(*parts):
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


def check_hello(payload, own):
    """Raises Fault for the first rule that a HELLO breaks; `own` is what the receiver says in its own."""
    tlvs = read_tlvs(payload)
    if tlvs is None:
        raise Fault(PROTO, "HELLO: TLVs are out of order or cut short")
    got = dict(tlvs)
    if len(got.get(1, b"")) != 1:
        raise Fault(PROTO, "HELLO: no wire version")
    if got[1] != bytes([VERSION]):
        raise Fault(BAD_VERSION, "HELLO: another wire version")
    if len(got.get(2, b"")) != 32 or 3 not in got:
        raise Fault(PROTO, "HELLO: network id or transcript is missing or misshapen")
    if 4 in got and (not 1 <= len(got[4]) <= 255 or not is_utf8(got[4])):
        raise Fault(PROTO, "HELLO: the application's name is misshapen")
    if 5 in got and (len(got[5]) != 8 or got[5][:4] > got[5][4:]):
        raise Fault(PROTO, "HELLO: the version range is misshapen")
    if 6 in got and len(got[6]) != 8:
        raise Fault(PROTO, "HELLO: the capabilities are misshapen")
    if got.get(7):
        raise Fault(PROTO, "HELLO: replaces is misshapen")
    if got[2] != own[2]:
        raise Fault(BAD_NETWORK, "HELLO: another network")
    if got[3] != own[3]:
        raise Fault(PROTO, "HELLO: the plaintext before was changed on its way")
    if 4 in got and 4 in own and got[4] != own[4]:
        raise Fault(BAD_VERSION, "HELLO: another application")
    if 5 in got and 5 in own and (got[5][4:] < own[5][:4] or got[5][:4] > own[5][4:]):
        raise Fault(BAD_VERSION, "HELLO: no version of the application in common")
    if any(kind & 0x8000 for kind in got):
        raise Fault(BAD_VERSION, "HELLO: a TLV that must be understood is not")
    return got


def is_utf8(data):
    try:
        return data.decode("utf-8") is not None
    except UnicodeDecodeError:
        return False


class Side:
    """One end. opts: network, protocol (None: a plain chain), static, ephemeral, psk, stages [(initiator's bytes,
    responder's bytes)], application, versions (lowest, highest), capabilities, refuse (code, text), half_close,
    gate_window_ms, clock_ms, seen (a set of the ephemeral keys that other sides of this responder have taken)."""

    def __init__(self, initiator, **opts):
        self.initiator, self.opts = initiator, opts
        self.stages = opts.get("stages", [])
        self.stage, self.spoke = 0, False
        self.noise = self.sealer = self.opener = self.binding = self.exporter = None
        self.rx = self.plain = self.stream = self.queue = b""
        self.peer_greeting = None
        self.said, self.heard = set(), set()  # chunk types of the opening and the end
        self.opened = self.done = False
        self.out, self.parts, self.events = b"", [], []

    # What is written: bytes, and beside them what they are.

    def _put(self, kind, data, **more):
        self.out += data
        self.parts.append(dict(kind=kind, size=len(data), **more))

    def _say(self, kind, payload=b""):
        self.said.add(kind)
        self.queue += chunk(kind, payload)

    def flush(self):
        """Seals the queue; returns (bytes, parts) of this flight."""
        if self.queue and self.sealer is None:
            self._put("plain", self.queue, plain=self.queue)
            self.queue = b""
        while self.queue:
            piece, self.queue = self.queue[:RECORD_PLAIN], self.queue[RECORD_PLAIN:]
            number = self.sealer.number
            sealed = self.sealer.seal(piece)
            self._put("record", struct.pack(">H", len(sealed)) + sealed, number=number, plain=piece)
        out, parts, self.out, self.parts = self.out, self.parts, b"", []
        return out, parts

    # What an application does.

    def start(self):
        if self.initiator:
            self._put("greeting", greeting(self.opts["network"]))
            self._advance()

    def send(self, messages):
        data = b"".join(frame(message) for message in messages)
        assert ACCEPT in self.said and END not in self.said and len(data) <= DATA_MAX
        self._say(DATA, data)

    def ping(self, payload):
        self._say(PING, payload)

    def end(self):
        self._say(END)

    def close(self, code=NORMAL, text=""):
        self._say(CLOSE, with_code(code, text))
        self.done = True

    def feed(self, data):
        self.rx += data
        self._advance()

    # Layer by layer, from the greeting to the channel.

    def _advance(self):
        try:
            while not self.done and self._step():
                pass
        except Fault as fault:
            self._fail(fault)
        except NoiseError as err:
            raise Silent(str(err)) from err

    def _fail(self, fault):
        """A responder that did not yet say ACCEPT says HELLO, REJECT; everybody else has, and says CLOSE."""
        if ACCEPT in self.said:
            self._say(CLOSE, with_code(fault.code, str(fault)))
        else:
            if HELLO not in self.said:
                self._say(HELLO, self._hello())
            self._say(REJECT, with_code(fault.code, str(fault)))
        self.done = True

    def _step(self):
        """One thing that can be done now; False: more must be read first."""
        if self.peer_greeting is None and self.rx:
            return self._read_greeting()
        if self.stage < len(self.stages):
            return self._step_stage()
        if self.opts["protocol"] and self.sealer is None:
            return self._step_noise()
        if self.peer_greeting is None:
            return False
        return self._step_channel()

    def _read_greeting(self):
        good = check_greeting(self.rx, self.opts["network"])
        if good < min(len(self.rx), 41):
            raise Silent("byte %d of the greeting is wrong" % good)
        if good < 41:
            return False
        self.peer_greeting, self.rx = self.rx[:41], self.rx[41:]
        if not self.initiator:
            self._put("greeting", greeting(self.opts["network"]))
        return True

    def _may_speak(self):
        return self.initiator or self.peer_greeting is not None

    def _step_stage(self):
        """The stage of the vectors: the initiator says its bytes, then the responder says its own."""
        theirs, ours = self.stages[self.stage][:: -1 if self.initiator else 1]
        if self.initiator and not self.spoke:
            self.spoke = True
            if ours:
                self._put("stage", ours, stage=self.stage)
        if not self._may_speak() or (theirs and self.peer_greeting is None) or len(self.rx) < len(theirs):
            return False
        got, self.rx = self.rx[: len(theirs)], self.rx[len(theirs) :]
        if got != theirs:
            raise Silent("stage %d heard something else" % self.stage)
        if not self.initiator and ours:
            self._put("stage", ours, stage=self.stage)
        self.stage, self.spoke = self.stage + 1, False
        return True

    def _greetings(self):
        own = greeting(self.opts["network"])
        return (own, self.peer_greeting) if self.initiator else (self.peer_greeting, own)

    def prologue(self):
        return b"peapod" + self._greetings()[0] + b"".join(lengthed(*stage) for stage in self.stages)

    def _step_noise(self):
        if not self._may_speak():
            return False
        if self.noise is None:
            names = ("protocol", "static", "ephemeral")
            protocol, static, ephemeral = (self.opts[name] for name in names)
            psk = self.opts.get("psk")
            self.noise = Handshake(protocol, self.initiator, static, ephemeral, self.prologue(), psk)
        ours = (self.noise.step % 2 == 0) == self.initiator
        if ours:
            message = self.noise.write(self._payload())
            self._put("noise", struct.pack(">H", len(message)) + message, message=self.noise.step)
        elif not self._read_noise():
            return False
        if self.noise.done:
            self.sealer, self.opener, self.binding, self.exporter = self.noise.split(REKEY_EVERY)
        return True

    def _payload(self):
        if self.noise.step == 0 and self.opts.get("gate_window_ms"):
            return tlv(1, struct.pack(">Q", self.opts["clock_ms"]))
        return b""

    def _pass_gate(self, ephemeral, tlvs):
        """Section 3.5: of a message 1 under a psk, whose tag was right."""
        window = self.opts.get("gate_window_ms")
        if window and len(tlvs.get(1, b"")) != 8:
            raise Silent("message 1 does not say when it was made")
        if window and abs(struct.unpack(">Q", tlvs[1])[0] - self.opts["clock_ms"]) > window:
            raise Silent("message 1 was made at another time")
        seen = self.opts.get("seen", set())
        if ephemeral in seen:
            raise Silent("message 1 came before")
        seen.add(ephemeral)

    def _read_noise(self):
        if self.peer_greeting is None or len(self.rx) < 2:
            return False
        size = struct.unpack(">H", self.rx[:2])[0]
        if size > HANDSHAKE_MAX:
            raise Silent("a handshake message of %d bytes" % size)
        if len(self.rx) < 2 + size:
            return False
        tlvs = read_tlvs(self.noise.read(self.rx[2 : 2 + size]))
        if tlvs is None or any(kind & 0x8000 for kind, value in tlvs):
            raise Silent("the payload of a handshake message is misshapen or must be understood")
        if self.noise.step == 1 and "psk" in self.noise.suite.pattern[0][1]:
            self._pass_gate(self.rx[2:34], dict(tlvs))
        self.rx = self.rx[2 + size :]
        return True

    # The channel.

    def transcript(self):
        return b"".join(self._greetings()) + b"".join(lengthed(*stage) for stage in self.stages)

    def _own_tlvs(self):
        own = {1: bytes([VERSION]), 2: self.opts["network"], 3: self.transcript()}
        if self.opts.get("application"):
            own[4] = self.opts["application"].encode("utf-8")
        if self.opts.get("versions"):
            own[5] = struct.pack(">II", *self.opts["versions"])
        if self.opts.get("capabilities"):
            own[6] = struct.pack(">Q", self.opts["capabilities"])
        return own

    def _hello(self):
        return b"".join(tlv(kind, value) for kind, value in sorted(self._own_tlvs().items()))

    def _open_channel(self):
        self.opened = True
        refuse = self.opts.get("refuse")
        if self.initiator or refuse:
            self._say(HELLO, self._hello())
            if refuse:
                self._say(REJECT, with_code(*refuse))
                self.done = True
            else:
                self._say(ACCEPT)

    def _step_channel(self):
        if not self.opened:
            self._open_channel()
            return True
        if self._step_chunk():
            return True
        if self.sealer is None:
            self.plain, self.rx, moved = self.plain + self.rx, b"", bool(self.rx)
            return moved
        if len(self.rx) < 2:
            return False
        size = struct.unpack(">H", self.rx[:2])[0]
        if size < 16:
            raise Silent("a record shorter than its tag")
        if len(self.rx) < 2 + size:
            return False
        self.plain += self.opener.open(self.rx[2 : 2 + size])
        self.rx = self.rx[2 + size :]
        return True

    def _step_chunk(self):
        """DATA waits for its whole payload here, for brevity; a real receiver hands on what has come."""
        if len(self.plain) < 4:
            return False
        kind, size = self.plain[0], int.from_bytes(self.plain[1:4], "big")
        self._check_header(kind, size)
        if len(self.plain) < 4 + size:
            return False
        payload, self.plain = self.plain[4 : 4 + size], self.plain[4 + size :]
        if kind in NAMES:
            getattr(self, "_hear_" + NAMES[kind].lower())(payload)
            self.heard.add(kind)
        return True

    def _check_header(self, kind, size):
        if kind == 0 or (kind not in NAMES and kind & 0x80):
            raise Fault(PROTO, "an unknown chunk type, %d" % kind)
        if size > {True: CONTROL_MAX, False: SKIP_MAX}[kind in NAMES] and kind != DATA:
            raise Fault(PROTO, "a chunk of type %d is too long" % kind)
        if HELLO not in self.heard:
            allowed = kind == HELLO
        elif ACCEPT not in self.heard:
            allowed = kind in (ACCEPT, REJECT) or kind not in NAMES
        else:
            allowed = kind not in (HELLO, ACCEPT, REJECT) and not (END in self.heard and kind in (DATA, END))
        if not allowed:
            raise Fault(PROTO, "a chunk of type %d is out of order" % kind)
        if (kind in (ACCEPT, END) and size) or (kind in (PING, PONG) and size != 8):
            raise Fault(PROTO, "a chunk of type %d has a wrong length" % kind)

    def _hear_hello(self, payload):
        self.events.append(("hello", check_hello(payload, self._own_tlvs())))

    def _hear_accept(self, payload):
        if not self.initiator:
            self._say(HELLO, self._hello())
            self._say(ACCEPT)
        self.events.append(("ready",))

    def _hear_reject(self, payload):
        self.events.append(("reject",) + read_code(payload))
        self.done = True

    def _hear_close(self, payload):
        self.events.append(("close",) + read_code(payload))
        self.done = True

    def _hear_data(self, payload):
        self.stream += payload
        while len(self.stream) >= 4:
            size = struct.unpack(">I", self.stream[:4])[0]
            if size > MESSAGE_MAX:
                raise Fault(TOO_BIG, "a message is too big")
            if len(self.stream) < 4 + size:
                break
            self.events.append(("message", self.stream[4 : 4 + size]))
            self.stream = self.stream[4 + size :]

    def _hear_end(self, payload):
        if self.stream:
            raise Fault(PROTO, "END in the middle of a message")
        self.events.append(("end",))
        if not self.opts.get("half_close"):
            self.close()

    def _hear_ping(self, payload):
        self._say(PONG, payload)

    def _hear_pong(self, payload):
        self.events.append(("pong", payload))
