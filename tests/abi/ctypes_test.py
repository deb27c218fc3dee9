#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The shared library as another language sees it: ctypes, the documented structs and nothing else. Pipes in memory,
then nodes whose runtime has no libev loop, under Python's own selectors.

    ctypes_test.py LIBPEAPOD_SO [REASON_TO_SKIP]"""

import ctypes
import os
import selectors
import socket
import sys
import threading
import time
import unittest
from ctypes import POINTER, Structure, Union, byref, c_bool, c_char, c_char_p, c_int, c_size_t, c_uint8, c_uint16
from ctypes import c_uint32, c_uint64, c_void_p

DEADLINE = 60  # seconds for what takes milliseconds
LIB = None  # the library, once it is loaded

# err.h, policy.h, pipe.h: the values that are used here.
OK, MORE, EOF = 0, 1, 5
E_INVALID, E_REFUSED, E_REJECTED, E_QUEUE_FULL, E_STATE = -1, -8, -9, -11, -13
CODE_NORMAL, CODE_SHUTDOWN, CODE_DENIED = 0, 1, 0x8002  # for ever
BY_USER, BY_PEER, BY_POLICY, BY_SHUTDOWN = 1, 2, 6, 8
INITIATOR, RESPONDER = 0, 1
READY, MESSAGE, DRAIN, END, CLOSED = 1, 2, 3, 4, 5
PEER_NOISE = 1

# ---- The structs of include/peapod, as a C compiler lays them out ----


class Error(Structure):
    _fields_ = [("code", c_int), ("sys", c_int), ("line", c_uint32), ("column", c_uint32), ("text", c_char * 256)]


class Reason(Structure):
    _fields_ = [
        ("origin", c_int),
        ("err", c_int),
        ("sys", c_int),
        ("code", c_uint16),
        ("stage", c_char_p),
        ("text", c_char * 257),
    ]


class Span(Structure):
    _fields_ = [("data", c_void_p), ("len", c_size_t)]


class Peer(Structure):
    _fields_ = [("kind", c_int), ("id", c_uint8 * 32), ("name", c_char * 256), ("role", c_char * 64)]


class AddrUnion(Union):
    _fields_ = [("ip", c_uint8 * 16), ("path", c_char * 104)]


class Addr(Structure):
    _fields_ = [
        ("family", c_uint8),
        ("path_len", c_uint8),
        ("port", c_uint16),
        ("scope", c_uint32),
        ("u", AddrUnion),
    ]


class Event(Structure):
    _fields_ = [("type", c_int), ("data", c_void_p), ("len", c_size_t), ("reason", POINTER(Reason))]


class Sized(Structure):
    """Options: the first field is the struct's size, and 0 is the default in every other."""

    def __init__(self, **fields):
        super().__init__(size=ctypes.sizeof(type(self)), **fields)


class ChainOpts(Sized):
    _fields_ = [
        ("size", c_size_t),
        ("mode", c_int),
        ("network", c_void_p),
        ("application", c_char_p),
        ("application_lowest", c_uint32),
        ("application_highest", c_uint32),
        ("capabilities", c_uint64),
    ]


class NoiseOpts(Sized):
    _fields_ = [
        ("size", c_size_t),
        ("protocol", c_char_p),
        ("identity", c_void_p),
        ("psk", c_void_p),
        ("prologue", Span),
        ("record_preserving", c_bool),
    ]


class PipeOpts(Sized):
    _fields_ = [
        ("size", c_size_t),
        ("side", c_int),
        ("codec", c_void_p),
        ("policy", c_void_p),
        ("remote", POINTER(Addr)),
        ("expect", POINTER(Peer)),
        ("name", c_char_p),
        ("high_water", c_uint32),
        ("low_water", c_uint32),
        ("half_close", c_bool),
    ]


class RuntimeOpts(Sized):
    _fields_ = [
        ("size", c_size_t),
        ("loop", c_void_p),
        ("memory_limit", c_uint64),
        ("mailbox_bytes", c_uint32),
        ("log", c_void_p),
        ("log_arg", c_void_p),
        ("log_level", c_int),
    ]


class ConnInfo(Structure):
    _fields_ = [
        ("id", c_uint64),
        ("side", c_int),
        ("state", c_int),
        ("local", Addr),
        ("remote", Addr),
        ("peer", Peer),
        ("messages_in", c_uint64),
        ("messages_out", c_uint64),
        ("bytes_in", c_uint64),
        ("bytes_out", c_uint64),
    ]


OnAccept = ctypes.CFUNCTYPE(c_int, c_void_p, POINTER(Addr), c_void_p)
OnConn = ctypes.CFUNCTYPE(None, c_void_p, c_void_p)
OnMessage = ctypes.CFUNCTYPE(None, c_void_p, c_void_p, c_size_t, c_void_p)
OnReason = ctypes.CFUNCTYPE(None, c_void_p, POINTER(Reason), c_void_p)
OnFailed = ctypes.CFUNCTYPE(None, c_void_p, POINTER(ConnInfo), POINTER(Reason), c_void_p)
OnSent = ctypes.CFUNCTYPE(None, c_void_p, c_int)
OnDone = ctypes.CFUNCTYPE(None, c_void_p)


class Callbacks(Structure):
    _fields_ = [
        ("on_accept", OnAccept),
        ("on_connect", OnConn),
        ("on_message", OnMessage),
        ("on_drain", OnConn),
        ("on_end", OnConn),
        ("on_closing", OnReason),
        ("on_disconnect", OnReason),
        ("on_connect_failed", OnFailed),
    ]


class NodeOpts(Sized):
    # The front of pea_node_opts: whoever knows fewer fields says a smaller size, and the rest is the default.
    _fields_ = [
        ("size", c_size_t),
        ("name", c_char_p),
        ("chain", c_void_p),
        ("codec", c_void_p),
        ("policy", c_void_p),
        ("on", POINTER(Callbacks)),
        ("on_size", c_size_t),
        ("user", c_void_p),
        ("max_connections", c_uint32),
        ("max_pending", c_uint32),
    ]


class DialOpts(Sized):
    _fields_ = [
        ("size", c_size_t),
        ("expect", POINTER(Peer)),
        ("name", c_char_p),
        ("chain", c_void_p),
        ("codec", c_void_p),
        ("user", c_void_p),
    ]


# ---- The functions: pea_err unless it is said ----

FUNCTIONS = {
    "pea_version_string": (c_char_p,),
    "pea_err_name": (c_char_p, c_int),
    "pea_identity_generate": (c_int, POINTER(c_void_p), POINTER(Error)),
    "pea_identity_peer": (None, c_void_p, POINTER(Peer)),
    "pea_identity_unref": (None, c_void_p),
    "pea_peer_format": (c_char_p, POINTER(Peer), c_char_p),
    "pea_peer_parse": (c_int, POINTER(Peer), c_char_p, POINTER(Error)),
    "pea_peer_equal": (c_bool, POINTER(Peer), POINTER(Peer)),
    "pea_trust_new": (c_int, POINTER(c_void_p)),
    "pea_trust_unref": (None, c_void_p),
    "pea_trust_allow": (c_int, c_void_p, POINTER(Peer), c_char_p, c_char_p, POINTER(Error)),
    "pea_trust_policy": (c_void_p, c_void_p),
    "pea_chain_new": (c_int, POINTER(c_void_p), POINTER(ChainOpts), POINTER(Error)),
    "pea_chain_noise": (c_int, c_void_p, POINTER(NoiseOpts), POINTER(Error)),
    "pea_chain_unref": (None, c_void_p),
    "pea_pipe_new": (c_int, POINTER(c_void_p), c_void_p, POINTER(PipeOpts), POINTER(Error)),
    "pea_pipe_free": (None, c_void_p),
    "pea_pipe_feed": (c_int, c_void_p, c_void_p, c_size_t, POINTER(c_size_t)),
    "pea_pipe_feed_end": (None, c_void_p),
    "pea_pipe_next": (c_int, c_void_p, POINTER(Event)),
    "pea_pipe_send": (c_int, c_void_p, c_char_p, c_size_t),
    "pea_pipe_output": (c_int, c_void_p, POINTER(Span)),
    "pea_pipe_sent": (None, c_void_p, c_size_t),
    "pea_pipe_close": (c_int, c_void_p, c_uint16, c_char_p),
    "pea_pipe_peer": (POINTER(Peer), c_void_p),
    "pea_pipe_refused": (POINTER(Peer), c_void_p),
    "pea_msg_new": (c_int, POINTER(c_void_p), c_char_p, c_size_t),
    "pea_msg_unref": (None, c_void_p),
    "pea_runtime_new": (c_int, POINTER(c_void_p), POINTER(RuntimeOpts), POINTER(Error)),
    "pea_runtime_free": (c_int, c_void_p),
    "pea_runtime_event_fd": (c_int, c_void_p),
    "pea_runtime_dispatch": (c_int, c_void_p),
    "pea_runtime_memory": (c_uint64, c_void_p),
    "pea_post_send": (c_int, c_void_p, c_uint64, c_void_p, OnSent, c_void_p),
    "pea_node_new": (c_int, POINTER(c_void_p), c_void_p, POINTER(NodeOpts), POINTER(Error)),
    "pea_node_free": (None, c_void_p),
    "pea_node_listen": (c_int, c_void_p, c_char_p, c_void_p, POINTER(c_void_p), POINTER(Error)),
    "pea_node_listen_addr": (POINTER(Addr), c_void_p),
    "pea_node_connect": (c_int, c_void_p, c_char_p, POINTER(DialOpts), POINTER(c_uint64), POINTER(Error)),
    "pea_node_shutdown": (c_int, c_void_p, c_uint32, OnDone, c_void_p),
    "pea_addr_format": (c_char_p, POINTER(Addr), c_char_p),
    "pea_conn_id": (c_uint64, c_void_p),
    "pea_conn_peer": (POINTER(Peer), c_void_p),
    "pea_conn_send": (c_int, c_void_p, c_char_p, c_size_t),
    "pea_conn_snapshot": (None, c_void_p, POINTER(ConnInfo)),
}


def load(path):
    lib = ctypes.CDLL(path)
    for name, (result, *arguments) in FUNCTIONS.items():
        function = getattr(lib, name)
        function.restype = result
        function.argtypes = arguments
    return lib


def must(err, why=None):
    if err != OK:
        raise AssertionError(LIB.pea_err_name(err).decode() + ": " + (why.text.decode() if why else ""))


def bytes_at(data, length):
    return ctypes.string_at(data, length) if length else b""


class Party:
    """A key, whom it trusts, and the chain that speaks for it."""

    def __init__(self):
        why = Error()
        self.identity, self.trust, self.chain = c_void_p(), c_void_p(), c_void_p()
        self.peer = Peer()
        must(LIB.pea_identity_generate(byref(self.identity), byref(why)), why)
        LIB.pea_identity_peer(self.identity, byref(self.peer))
        must(LIB.pea_trust_new(byref(self.trust)))
        must(LIB.pea_chain_new(byref(self.chain), byref(ChainOpts()), byref(why)), why)
        must(LIB.pea_chain_noise(self.chain, byref(NoiseOpts(identity=self.identity)), byref(why)), why)

    def allow(self, other, name, role):
        why = Error()
        must(LIB.pea_trust_allow(self.trust, byref(other.peer), name, role, byref(why)), why)

    def free(self):
        LIB.pea_chain_unref(self.chain)
        LIB.pea_trust_unref(self.trust)
        LIB.pea_identity_unref(self.identity)


# ---- Pipes ----


class Pipe:
    def __init__(self, party, side, expect=None):
        why = Error()
        self.pipe = c_void_p()
        opts = PipeOpts(side=side, policy=LIB.pea_trust_policy(party.trust))
        if expect is not None:
            opts.expect = ctypes.pointer(expect)
        must(LIB.pea_pipe_new(byref(self.pipe), party.chain, byref(opts), byref(why)), why)
        self.events, self.messages, self.ended = [], [], False
        self.next()

    def next(self):
        event = Event()
        while LIB.pea_pipe_next(self.pipe, byref(event)) == OK:
            if event.type == MESSAGE:
                self.messages.append(bytes_at(event.data, event.len))
            elif event.type == CLOSED:
                reason = event.reason.contents
                self.reason = (reason.origin, reason.err, reason.code)
            self.events.append(event.type)

    def feed(self, data):
        while data:
            lent = ctypes.create_string_buffer(data, len(data))
            taken = c_size_t()
            must(LIB.pea_pipe_feed(self.pipe, lent, len(data), byref(taken)))
            self.next()
            if CLOSED in self.events:
                return
            data = data[taken.value :]

    def flush(self, other):
        """Writes all there is to the other side. Whether it was anything."""
        span, moved = Span(), False
        while True:
            err = LIB.pea_pipe_output(self.pipe, byref(span))
            if err == EOF and not self.ended:
                self.ended = moved = True
                LIB.pea_pipe_feed_end(other.pipe)
                other.next()
            if err != OK:
                return moved
            data = bytes_at(span.data, span.len)
            LIB.pea_pipe_sent(self.pipe, span.len)
            self.next()
            other.feed(data)
            moved = True

    def send(self, data):
        return LIB.pea_pipe_send(self.pipe, data, len(data))

    def peer(self):
        return LIB.pea_pipe_peer(self.pipe).contents


def settle(a, b):
    while a.flush(b) | b.flush(a):
        pass


class Pipes(unittest.TestCase):
    def setUp(self):
        self.a, self.b = Party(), Party()
        self.a.allow(self.b, None, None)

    def tearDown(self):
        self.a.free()
        self.b.free()

    def test_messages_both_ways(self):
        self.b.allow(self.a, b"alice", b"admin")
        left, right = Pipe(self.a, INITIATOR, self.b.peer), Pipe(self.b, RESPONDER)
        self.assertEqual(left.send(b"too early"), E_STATE)
        settle(left, right)
        self.assertEqual((left.events, right.events), ([READY], [READY]))
        self.assertTrue(LIB.pea_peer_equal(byref(left.peer()), byref(self.b.peer)))
        self.assertEqual((right.peer().kind, right.peer().name, right.peer().role), (PEER_NOISE, b"alice", b"admin"))
        big = os.urandom(100000)
        for data in (b"hello", b"", big):
            must(left.send(data))
            must(right.send(data[::-1]))
            settle(left, right)
        self.assertEqual(right.messages, [b"hello", b"", big])
        self.assertEqual(left.messages, [b"olleh", b"", big[::-1]])
        while (err := left.send(big)) == OK:
            pass
        self.assertEqual(err, E_QUEUE_FULL)
        settle(left, right)
        self.assertIn(DRAIN, left.events)
        must(LIB.pea_pipe_close(left.pipe, CODE_NORMAL, b"bye"))
        settle(left, right)
        self.assertEqual((left.events[-1], right.events[-1]), (CLOSED, CLOSED))
        self.assertEqual(right.reason, (BY_PEER, OK, CODE_NORMAL))
        LIB.pea_pipe_free(left.pipe)
        LIB.pea_pipe_free(right.pipe)

    def test_a_refused_peer(self):
        left, right = Pipe(self.a, INITIATOR, self.b.peer), Pipe(self.b, RESPONDER)
        settle(left, right)
        self.assertEqual((left.events, right.events), ([CLOSED], [CLOSED]))
        self.assertEqual(right.reason[:2], (BY_POLICY, E_REFUSED))
        self.assertEqual(left.reason, (BY_PEER, E_REJECTED, CODE_DENIED))
        refused = LIB.pea_pipe_refused(right.pipe)
        self.assertTrue(LIB.pea_peer_equal(refused, byref(self.a.peer)))
        LIB.pea_pipe_free(left.pipe)
        LIB.pea_pipe_free(right.pipe)

    def test_errors_are_explained(self):
        why, pipe, peer = Error(), c_void_p(), Peer()
        newer = ctypes.create_string_buffer(b"\xff" * 4096)  # options of a library to come, all of them set
        opts = ctypes.cast(newer, POINTER(PipeOpts))
        opts.contents.size = 4096
        self.assertEqual(LIB.pea_pipe_new(byref(pipe), self.a.chain, opts, byref(why)), E_INVALID)
        self.assertTrue(why.text)
        self.assertLess(LIB.pea_peer_parse(byref(peer), b"noise:nonsense", byref(why)), 0)
        self.assertTrue(why.text)
        text = ctypes.create_string_buffer(96)
        LIB.pea_peer_format(byref(self.a.peer), text)
        must(LIB.pea_peer_parse(byref(peer), text.value, byref(why)), why)
        self.assertEqual(bytes(peer.id), bytes(self.a.peer.id))


# ---- Nodes ----


class Node:
    """A node with a runtime of its own, and what its callbacks saw. An exception in a callback is kept for the test."""

    def __init__(self, party, thread):
        why = Error()
        self.runtime, self.node = c_void_p(), c_void_p()
        self.conn, self.messages, self.ends, self.sent, self.wrong = None, [], [], [], []
        self.connects = self.done = 0
        self.thread, self.echo = thread, False
        self.callbacks = Callbacks(
            on_connect=OnConn(self.guard(self.on_connect)),
            on_message=OnMessage(self.guard(self.on_message)),
            on_disconnect=OnReason(self.guard(self.on_disconnect)),
            on_connect_failed=OnFailed(self.guard(self.on_failed)),
        )
        self.on_done = OnDone(self.guard(self.count_done))
        self.on_sent = OnSent(self.guard(lambda arg, err: self.sent.append(err)))
        must(LIB.pea_runtime_new(byref(self.runtime), byref(RuntimeOpts()), byref(why)), why)
        opts = NodeOpts(chain=party.chain, policy=LIB.pea_trust_policy(party.trust), name=b"python")
        opts.on = ctypes.pointer(self.callbacks)
        opts.on_size = ctypes.sizeof(Callbacks)
        must(LIB.pea_node_new(byref(self.node), self.runtime, byref(opts), byref(why)), why)

    def guard(self, function):
        def guarded(*arguments):
            try:
                assert threading.get_ident() == self.thread, "a callback on another thread"
                function(*arguments)
            except BaseException as error:
                self.wrong.append(error)

        return guarded

    def on_connect(self, conn, user):
        self.conn = conn
        self.connects += 1

    def on_message(self, conn, data, length, user):
        self.messages.append(bytes_at(data, length))
        assert LIB.pea_runtime_dispatch(self.runtime) == E_STATE  # not from inside
        if self.echo and self.messages[-1].startswith(b"echo"):
            must(LIB.pea_conn_send(conn, self.messages[-1], length))

    def on_disconnect(self, conn, reason, user):
        self.conn = None
        self.ends.append((reason.contents.origin, reason.contents.err, reason.contents.code))

    def on_failed(self, node, info, reason, user):
        why = reason.contents
        self.ends.append((why.origin, why.err, why.code, bytes(info.contents.peer.id)))

    def count_done(self, arg):
        self.done += 1

    def fd(self):
        return LIB.pea_runtime_event_fd(self.runtime)

    def listen(self):
        why = Error()
        must(LIB.pea_node_listen(self.node, b"127.0.0.1:0", None, None, byref(why)), why)
        text = ctypes.create_string_buffer(128)
        LIB.pea_addr_format(LIB.pea_node_listen_addr(self.node), text)
        return text.value

    def connect(self, addr, expect):
        why, number = Error(), c_uint64()
        opts = DialOpts()
        opts.expect = ctypes.pointer(expect)
        must(LIB.pea_node_connect(self.node, addr, byref(opts), byref(number), byref(why)), why)
        return number.value

    def free(self):
        LIB.pea_node_free(self.node)
        must(LIB.pea_runtime_free(self.runtime))


class Nodes(unittest.TestCase):
    def setUp(self):
        self.a, self.b = Party(), Party()
        self.a.allow(self.b, None, None)
        self.left, self.right = (Node(party, threading.get_ident()) for party in (self.a, self.b))
        self.selector = selectors.DefaultSelector()
        for node in (self.left, self.right):
            self.selector.register(node.fd(), selectors.EVENT_READ, node)

    def tearDown(self):
        self.selector.close()
        for node in (self.left, self.right):
            node.free()
            self.assertEqual(node.wrong, [])
        self.a.free()
        self.b.free()

    def wait(self, condition):
        until = time.monotonic() + DEADLINE
        while not condition():
            left = until - time.monotonic()
            self.assertGreater(left, 0, "waited in vain")
            for key, _ in self.selector.select(left):
                must(LIB.pea_runtime_dispatch(key.data.runtime))
            for node in (self.left, self.right):
                self.assertEqual(node.wrong, [])

    def test_messages_and_an_orderly_end(self):
        left, right = self.left, self.right
        self.b.allow(self.a, b"alice", None)
        right.echo = True
        number = left.connect(right.listen(), self.b.peer)
        self.wait(lambda: left.connects and right.connects)
        self.assertEqual(LIB.pea_conn_id(left.conn), number)
        self.assertEqual(LIB.pea_conn_peer(right.conn).contents.name, b"alice")
        for i in range(100):
            must(LIB.pea_conn_send(left.conn, b"echo %d" % i, len(b"echo %d" % i)))  # outside of dispatch
        self.wait(lambda: len(left.messages) == 100)
        self.assertEqual(left.messages, [b"echo %d" % i for i in range(100)])
        self.assertEqual(right.messages, left.messages)
        info = ConnInfo()
        LIB.pea_conn_snapshot(right.conn, byref(info))
        self.assertEqual((info.side, info.messages_in, info.messages_out), (RESPONDER, 100, 100))
        self.assertEqual(socket.inet_ntoa(bytes(info.remote.u.ip[:4])), "127.0.0.1")
        self.assertEqual(info.peer.name, b"alice")

        def post():
            msg = c_void_p()
            must(LIB.pea_msg_new(byref(msg), b"from a thread", 13))
            for _ in range(10):
                must(LIB.pea_post_send(left.runtime, number, msg, left.on_sent, None))
            LIB.pea_msg_unref(msg)

        thread = threading.Thread(target=post)
        thread.start()
        self.wait(lambda: len(right.messages) == 110 and len(left.sent) == 10)
        thread.join()
        self.assertEqual(left.sent, [OK] * 10)

        must(LIB.pea_node_shutdown(right.node, 0, right.on_done, None))
        self.wait(lambda: right.done == 1 and left.ends)
        self.assertEqual(left.ends, [(BY_PEER, OK, CODE_SHUTDOWN)])
        self.assertEqual(right.ends, [(BY_SHUTDOWN, OK, CODE_SHUTDOWN)])
        self.assertEqual(LIB.pea_runtime_memory(left.runtime), 0)

    def test_a_refused_peer(self):
        self.left.connect(self.right.listen(), self.b.peer)
        self.wait(lambda: self.left.ends and self.right.ends)
        self.assertEqual(self.left.ends[0][:3], (BY_PEER, E_REJECTED, CODE_DENIED))
        self.assertEqual(self.right.ends[0][1], E_REFUSED)
        self.assertEqual(self.right.ends[0][3], bytes(self.a.peer.id))
        self.assertEqual(self.left.connects + self.right.connects, 0)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        print("skipped:", " ".join(sys.argv[2:]))
        sys.exit(77)
    LIB = load(sys.argv[1])
    unittest.main(argv=sys.argv[:1], verbosity=2)
