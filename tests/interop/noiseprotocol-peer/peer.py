#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""One side of a Noise connection over TCP, for peapod's interoperability tests: the same dialogue as peer.c, with
cryptography that peapod did not write. What is said is in ../README.md. Not a library, and not an example of
anything."""

import argparse
import itertools
import os
import socket
import struct
import sys
import threading

from noise.connection import Keypair, NoiseConnection
from noise.exceptions import NoiseInvalidMessage

MESSAGE_MAX = 8 << 20  # the most that a peer may ask us to hold
RECORD_MAX = 65535 - 16  # the most plaintext of one record
DEADLINE_S = 30  # a whole run takes seconds; this only keeps a peer that hangs from hanging the test

# In groups: all of a group is sent before the first echo is awaited, so that one record carries the end of one message
# and the start of the next. A group's echo must fit in the sockets' buffers, since neither side reads while it writes.
SIZES = {"stream": [[0, 1, 65519], [1000000]], "records": [[0], [1], [1000], [65519]]}


class PeerError(Exception):
    """The peer did what it may not do."""


class Channel:
    """Noise over a socket: every handshake message and every record has a length of 2 bytes before it."""

    def __init__(self, sock, options):
        self.sock = sock
        self.noise = noise = NoiseConnection.from_name(options.protocol.encode())
        if options.side == "connect":
            noise.set_as_initiator()
        else:
            noise.set_as_responder()
        noise.set_prologue(options.prologue)
        noise.set_keypair_from_private_bytes(Keypair.STATIC, options.static)
        if options.psk:
            noise.set_psks(psk=options.psk)
        if "rs" in noise.noise_protocol.pattern.get_required_keypairs(options.side == "connect"):
            noise.set_keypair_from_public_bytes(Keypair.REMOTE_STATIC, options.remote)
        noise.start_handshake()
        self.state = noise.noise_protocol.handshake_state  # the library lets go of it, and so of the peer's key
        ours = options.side == "connect"
        while not noise.handshake_finished:
            if ours:
                self.write_frame(noise.write_message())
            else:
                self.read_handshake(options.remote)
            ours = not ours

    def read_handshake(self, expected):
        message = self.read_frame()
        if message is None:
            raise PeerError("the stream ended during the handshake")
        payload = self.noise.read_message(message)
        if payload:
            raise PeerError(f"a handshake message carried {len(payload)} bytes that nobody asked for")
        # As soon as the peer's key is known, so that ours stays at home when it is the wrong one.
        if expected and self.remote() and self.remote() != expected:
            raise PeerError(f"the peer is {self.remote().hex()}, expected was {expected.hex()}")

    def remote(self):
        """None: the pattern shows none."""
        return getattr(self.state.rs, "public_bytes", None)

    def write_frame(self, body):
        self.sock.sendall(struct.pack(">H", len(body)) + body)

    def read_exactly(self, size):
        body = b""
        while len(body) < size:
            piece = self.sock.recv(size - len(body))
            if not piece:
                break
            body += piece
        return body

    def read_frame(self):
        """None: the stream ended between two frames."""
        length = self.read_exactly(2)
        if not length:
            return None
        body = self.read_exactly(*struct.unpack(">H", length)) if len(length) == 2 else b""
        if len(length) != 2 or len(body) != struct.unpack(">H", length)[0]:
            raise PeerError("the stream ended in a message")
        return body

    def write(self, plain):
        self.write_frame(self.noise.encrypt(plain))

    def read(self):
        """The next record's plaintext. None: the stream ended between two records."""
        record = self.read_frame()
        return None if record is None else self.noise.decrypt(record)


class Records:
    """One record is one message."""

    def __init__(self, channel):
        self.send, self.receive = channel.write, channel.read

    def flush(self):
        """Everything that was sent is on its way."""


class Stream:
    """Messages in a byte stream, each after a length of 4 bytes. The stream is cut into records of uneven sizes, the
    empty one among them, so that headers and payloads of messages fall apart in every way."""

    def __init__(self, channel):
        self.channel = channel
        self.unsent = self.unread = b""
        self.cuts = itertools.cycle([1, 2, 70, 0, RECORD_MAX, 4096, 30001])

    def send(self, message):
        self.unsent += struct.pack(">I", len(message)) + message

    def flush(self):
        at = 0
        while at < len(self.unsent):
            size = next(self.cuts)
            self.channel.write(self.unsent[at : at + size])
            at += size
        self.unsent = b""

    def receive(self):
        """None: the peer ended, between two messages."""
        while True:
            if len(self.unread) >= 4:
                size = struct.unpack(">I", self.unread[:4])[0]
                if size > MESSAGE_MAX:
                    raise PeerError(f"the peer announced a message of {size} bytes")
                if len(self.unread) >= 4 + size:
                    message, self.unread = self.unread[4 : 4 + size], self.unread[4 + size :]
                    return message
            plain = self.channel.read()
            if plain is None and self.unread:
                raise PeerError("the stream ended in a message")
            if plain is None:
                return None
            self.unread += plain


def payload(size):
    """The payload of a message of this length: both sides know it."""
    return bytes((i * 31 + size) & 255 for i in range(256)) * (size // 256) + bytes(
        (i * 31 + size) & 255 for i in range(size % 256)
    )


def ask(peer, channel, groups):
    """The side that dialled: sends, checks what comes back, then ends."""
    for group in groups:
        for size in group:
            peer.send(payload(size))
        peer.flush()
        for size in group:
            if peer.receive() != payload(size):
                raise PeerError(f"the echo of {size} bytes is not what was sent")
            print("ok", size)
    channel.sock.shutdown(socket.SHUT_WR)
    if peer.receive() is not None:
        raise PeerError("a message that nobody asked for came after the last echo")


def echo(peer):
    """The side that listened: what comes goes back, until the peer ends."""
    for message in iter(peer.receive, None):
        print("received", len(message))
        peer.send(message)
        peer.flush()
    print("ended")


def open_socket(options):
    host, port = options.addr.rsplit(":", 1)
    if options.side == "connect":
        return socket.create_connection((host, int(port)))
    with socket.create_server((host, int(port))) as listener:
        print("listening {}:{}".format(*listener.getsockname()), flush=True)
        return listener.accept()[0]


def give_up():
    print(f"noiseprotocol-peer: not finished after {DEADLINE_S} seconds", file=sys.stderr, flush=True)
    os._exit(1)


def main():
    parser = argparse.ArgumentParser(description="Says what peer.c says, over noiseprotocol.")
    parser.add_argument("side", choices=["listen", "connect"])
    parser.add_argument("addr", metavar="ADDR")
    parser.add_argument("--protocol", required=True)
    parser.add_argument("--static", required=True, type=bytes.fromhex)
    parser.add_argument("--remote", type=bytes.fromhex)
    parser.add_argument("--psk", type=bytes.fromhex)
    parser.add_argument("--prologue", default="")
    parser.add_argument("--mode", choices=SIZES, default="stream")
    options = parser.parse_args()
    clock = threading.Timer(DEADLINE_S, give_up)
    clock.daemon = True
    clock.start()
    try:
        sock = open_socket(options)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        channel = Channel(sock, options)
        print("remote", channel.remote().hex() if channel.remote() else "none")
        peer = (Stream if options.mode == "stream" else Records)(channel)
        if options.side == "connect":
            ask(peer, channel, SIZES[options.mode])
        else:
            echo(peer)
    except (PeerError, NoiseInvalidMessage, OSError) as error:
        print(f"noiseprotocol-peer: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
