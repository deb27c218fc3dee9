#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""peapod forward: plain connections through authenticated ones, and what happens to one is nothing to the others.

    forward_test.py PEAPOD [UNITTEST-ARGUMENT...]"""

import hashlib
import os
import queue
import resource
import socket
import struct
import threading

import tool

MANY = 60
SOME = 3 << 20


class Service:
    """A plain service: each connection has a thread, and a function."""

    def __init__(self, serve, address=("127.0.0.1", 0)):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family)
        self.socket.bind(address)
        self.socket.listen(128)
        self.serve = serve
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                conn, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(conn,), daemon=True).start()

    def _serve(self, conn):
        with conn:
            try:
                self.serve(conn)
            except OSError:
                pass

    def address(self):
        name = self.socket.getsockname()
        return "unix:" + name if isinstance(name, str) else f"{name[0]}:{name[1]}"

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)  # wakes the thread
        except OSError:
            pass
        self.socket.close()


def read_all(conn):
    return b"".join(iter(lambda: conn.recv(65536), b""))


def echo(conn):
    for block in iter(lambda: conn.recv(65536), b""):
        conn.sendall(block)


def digest(conn):
    """Answers when the other side has ended."""
    conn.sendall(hashlib.sha256(read_all(conn)).hexdigest().encode())


class ForwardTest(tool.ToolTest):
    def service(self, serve, *address):
        service = Service(serve, *address)
        self.addCleanup(service.close)
        return service

    def tunnel(self, to, me="alice", listen="127.0.0.1:0", local="127.0.0.1:0", **more):
        """Both sides; where the plain one begins is self.local."""
        self.server = self.run_tool("forward", "-v", *self.who("bob", "alice"), "--listen", listen, "--to", to)
        outside = self.server.says(r"from peers on (\S+) to").group(1)
        self.client = self.run_tool("forward", "-v", *self.who(me, "bob"), "--from", local, "--connect", outside, **more)
        self.local = self.client.says(r"from (\S+) to the peer").group(1)

    def dial(self):
        if self.local.startswith("unix:"):
            conn = socket.socket(socket.AF_UNIX)
            conn.connect(self.local[5:])
        else:
            host, port = self.local.rsplit(":", 1)
            conn = socket.create_connection((host, int(port)))
        conn.settimeout(tool.DEADLINE)
        self.addCleanup(conn.close)
        return conn

    def ends(self):
        for process in (self.client, self.server):
            process.terminate()
            self.succeeds(process)

    def is_reset(self, conn):
        with self.assertRaises((ConnectionResetError, BrokenPipeError)):
            while conn.recv(65536):
                pass

    def test_many_at_once(self):
        self.tunnel(self.service(echo).address())
        failures = []

        def talk(seed):
            try:
                conn = self.dial()
                data = hashlib.shake_128(seed.to_bytes(4, "big")).digest(SOME // 10)
                sender = threading.Thread(target=lambda: (conn.sendall(data), conn.shutdown(socket.SHUT_WR)))
                sender.start()
                if read_all(conn) != data:
                    failures.append(f"{seed}: other bytes came back")
                sender.join()
            except OSError as error:
                failures.append(f"{seed}: {error}")

        threads = [threading.Thread(target=talk, args=(i,)) for i in range(MANY)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        self.ends()

    def test_a_client_that_ends_first_is_answered(self):
        self.tunnel(self.service(digest).address())
        data = os.urandom(SOME)
        conn = self.dial()
        conn.sendall(data)
        conn.shutdown(socket.SHUT_WR)
        self.assertEqual(read_all(conn).decode(), hashlib.sha256(data).hexdigest())
        self.client.says(r"connection \d+: ended")
        self.server.says(r"connection \d+: ended")
        self.ends()

    def test_a_service_that_ends_first_goes_on_listening(self):
        heard = queue.Queue()

        def greet(conn):
            conn.sendall(b"good day")
            conn.shutdown(socket.SHUT_WR)
            heard.put(read_all(conn))

        self.tunnel(self.service(greet).address())
        conn = self.dial()
        self.assertEqual(read_all(conn), b"good day")
        conn.sendall(b"thank you")
        conn.close()
        self.server.says(r"connection \d+: ended")
        self.assertEqual(heard.get(timeout=tool.DEADLINE), b"thank you")
        self.ends()

    def test_who_does_not_read_stops_the_other(self):
        may_read = threading.Event()
        got = []

        def wait(conn):
            may_read.wait(tool.DEADLINE)
            got.append(len(read_all(conn)))

        self.tunnel(self.service(wait).address())
        conn = self.dial()
        conn.settimeout(0.5)
        sent = 0
        try:
            while sent < (1 << 30):  # more than any buffer on the way: it stops long before
                sent += conn.send(b"x" * 65536)
        except socket.timeout:
            pass
        self.assertLess(sent, 1 << 30)
        may_read.set()
        conn.settimeout(tool.DEADLINE)
        conn.shutdown(socket.SHUT_WR)
        self.assertEqual(read_all(conn), b"")
        self.assertEqual(got, [sent])
        self.ends()

    def test_a_service_that_is_not_there(self):
        here = self.service(echo)
        alive = self.dial_through(here)
        here.close()  # only those that are connected are left
        self.is_reset(self.dial())
        self.server.says("the service at .* cannot be reached: Connection refused")
        self.client.says("the service cannot be reached")
        alive.sendall(b"still here")
        self.assertEqual(alive.recv(100), b"still here")
        self.ends()

    def dial_through(self, service):
        self.tunnel(service.address())
        conn = self.dial()
        conn.sendall(b"first")
        self.assertEqual(conn.recv(100), b"first")
        return conn

    def test_a_reset_stays_a_reset(self):
        resets = threading.Semaphore(0)

        def abort(conn):
            word = conn.recv(100)
            if word == b"abort":
                conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            try:
                read_all(conn)
            except ConnectionResetError:
                resets.release()

        self.tunnel(self.service(abort).address())
        conn = self.dial()
        conn.sendall(b"abort")
        self.is_reset(conn)
        conn = self.dial()
        conn.sendall(b"wait")
        self.server.says(r"connection \d+: with")
        self.server.says(r"connection \d+: with")
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        conn.close()
        self.assertTrue(resets.acquire(timeout=tool.DEADLINE))
        self.ends()

    def test_a_tunnel_that_dies_is_no_end(self):
        conn = self.dial_through(self.service(echo))
        self.server.kill()
        self.is_reset(conn)

    def test_a_stranger_is_refused(self):
        self.tunnel(self.service(echo).address(), me="mallory")
        self.is_reset(self.dial())
        self.client.says("the peer refused us")
        self.server.says("refused " + self.ids["mallory"].replace("+", r"\+"))
        self.ends()

    def test_unix_sockets_and_a_busy_queue(self):
        service = Service(echo, self.path("service"))
        service.socket.listen(0)  # dials have to be repeated
        self.addCleanup(service.close)
        self.tunnel(service.address(), listen="unix:" + self.path("outside"), local="unix:" + self.path("local"))
        conns = [self.dial() for _ in range(20)]
        for i, conn in enumerate(conns):
            conn.sendall(b"%d" % i)
        for i, conn in enumerate(conns):
            self.assertEqual(conn.recv(100), b"%d" % i)
        self.ends()
        self.assertFalse(os.path.exists(self.path("local")))
        self.assertFalse(os.path.exists(self.path("outside")))

    def test_more_at_once_than_there_are_descriptors(self):
        def few():
            resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))

        self.tunnel(self.service(echo).address(), preexec_fn=few)
        conns = [self.dial() for _ in range(60)]
        self.client.says("accepting rests")
        for i, conn in enumerate(conns):  # each is served once those before it have gone
            conn.sendall(b"%d" % i)
            self.assertEqual(conn.recv(100), b"%d" % i)
            conn.close()
        self.ends()

    def test_wrong_use(self):
        for args, text in (
            ([], "either --listen ADDR --to ADDR"),
            (["--listen", "127.0.0.1:0"], "--listen and --to go together"),
            (["--listen", "127.0.0.1:0", "--to", "x", "--from", "y"], "either"),
            (["--listen", "127.0.0.1:0", "--to", "nonsense"], "'nonsense' is no address"),
            (["--from", "unix:", "--connect", "127.0.0.1:1"], "unix:"),
        ):
            self.fails(self.run_tool("forward", *self.who("bob", "alice"), *args), 2, text)


if __name__ == "__main__":
    tool.main()
