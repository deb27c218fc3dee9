# SPDX-License-Identifier: MIT
"""peapod probe against nodes of ours, over Noise and TLS, and against whatever else people dial by mistake."""
import contextlib
import os
import socket
import ssl
import threading
import unittest

from command import HAS_TLS, ToolTest, main


class Stranger:
    """Accepts connections on loopback, and hands each to serve(socket) until the test is over."""

    def __init__(self, test, serve):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.kept = []
        self.serve = serve
        thread = threading.Thread(target=self.run, daemon=True)
        thread.start()
        test.addCleanup(self.stop)

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                conn, _ = self.listener.accept()
                self.kept.append(conn)
                with contextlib.suppress(OSError):
                    self.serve(conn)

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for conn in self.kept:
            conn.close()


class Probe(ToolTest):
    def probe(self, *args, status=0):
        """What was printed, as label and text; the times are looked at here."""
        out, err = self.tool("probe", *args, status=status)
        self.assertEqual(err, "")
        lines = [line.split(": ", 1) for line in out.splitlines()]
        times = [text for label, text in lines if label == "time"]
        self.assertRegex(times[0], r"\A\d+\.\d\d ms to connect\Z")
        for i, text in enumerate(times[1:]):
            whose = "ours" if i % 2 == 0 else "its answer"
            self.assertRegex(text, rf"\A\d+\.\d\d ms to flight {i + 1}, {whose} of \d+ bytes\Z")
        said = {label: text for label, text in lines if label != "time"}
        said["flights"] = len(times) - 1
        return said

    def setUp(self):
        super().setUp()
        self.a, self.b, self.c = (self.key(name + ".key") for name in "abc")

    # ---- peapod ----

    def noise(self):
        return self.example("secure_handshake", "listen", "127.0.0.1:0", "a.key", self.b).address

    def test_noise_stranger(self):
        said = self.probe(self.noise())
        self.assertEqual(said["speaks"], "peapod over Noise")
        self.assertEqual(said["who"], self.a)
        self.assertIn(said["fingerprint"], self.tool("id", "a.key")[0])
        self.assertRegex(said["its verdict"], "refuses a stranger .*: DENIED")
        self.assertNotIn("our rules", said)
        self.assertEqual(said["flights"], 4)

    def test_noise_admitted(self):
        said = self.probe(self.noise(), "--key", "b.key", "--expect", self.a)
        self.assertEqual(said["speaks"], "peapod over Noise, Noise_XX_25519_ChaChaPoly_BLAKE2b")
        self.assertEqual(said["our rules"], "admit it")
        self.assertEqual(said["its verdict"], "it admits us")

    def test_noise_refused(self):
        address = self.noise()
        self.write("rules", f"# us\n{self.a} name=a\n")
        said = self.probe(address, "--key", "c.key", "--trust", "rules", status=3)
        self.assertEqual(said["our rules"], "admit it (rules:2)")
        self.assertRegex(said["its verdict"], "it refuses us: DENIED")
        said = self.probe(address, "--key", "b.key", "--expect", self.b, status=4)
        self.assertRegex(said["our rules"], "refuse it: no rule names this peer")
        self.assertIn("before it knew us", said["its verdict"])
        self.assertEqual(said["flights"], 2)  # our key was not shown
        said = self.probe(address, "--expect", self.b, status=4)  # rules hold for strangers too
        self.assertIn("refuse it", said["our rules"])

    def test_noise_known(self):
        address = self.noise()
        self.write("known", f"{address} {self.c}\n")
        said = self.probe(address, "--key", "b.key", "--known", "known", status=4)
        self.assertIn("HAS CHANGED", said["our rules"])
        self.write("known", f"{address} {self.a}\n")
        said = self.probe(address, "--key", "b.key", "--known", "known")
        self.assertEqual(said["its verdict"], "it admits us")

    def test_another_network(self):
        address = self.noise()
        said = self.probe(address, "--network-name", "other", status=1)
        self.assertRegex(said["speaks"], "not a word: it hung up")
        self.assertIn("--network-name", said["hint"])
        self.tool("keygen", "--network", "n.key")
        said = self.probe(address, "--network-key", "n.key", status=1)
        self.assertIn("--network-key", said["hint"])

    @unittest.skipUnless(HAS_TLS, "built without TLS")
    def test_tls(self):
        t, u = self.certificate("t"), self.certificate("u")
        self.write("rules_t", f"{u} name=u\n")
        self.write("rules_u", f"{t} name=t\n")
        address = self.example("tls", "listen", "127.0.0.1:0", "t.crt", "t.key", "rules_t").address
        said = self.probe(address)
        self.assertEqual(said["speaks"], "peapod over TLS")
        self.assertEqual(said["who"], t)
        self.assertRegex(said["its verdict"], "refuses a stranger .*: DENIED")
        said = self.probe(address, "--tls", "--key", "u.key", "--cert", "u.crt", "--trust", "rules_u")
        self.assertRegex(said["speaks"], r"\Apeapod over TLS, TLS")
        self.assertEqual(said["our rules"], "admit it (rules_u:1)")
        self.assertEqual(said["its verdict"], "it admits us")
        said = self.probe(address, "--key", "b.key", "--expect", self.a, status=4)  # a key of the other kind
        self.assertEqual(said["speaks"], "peapod over TLS")

    # ---- others ----

    @unittest.skipUnless(HAS_TLS, "built without TLS")
    def test_plain_tls(self):
        t = self.certificate("t")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.path("t.crt"), self.path("t.key"))

        def serve(conn):
            conn.settimeout(60)
            with contextlib.suppress(OSError):
                tls = context.wrap_socket(conn, server_side=True)
                tls.recv(1)

        said = self.probe(Stranger(self, serve).address, status=1)
        self.assertRegex(said["speaks"], r"\ATLS, TLS.*does not know peapod")
        self.assertEqual(said["who"], t)

    def test_others(self):
        for words, looks in ((b"SSH-2.0-OpenSSH_9.2\r\n", "SSH"), (b"220 mail.example ESMTP\r\n", "SMTP or FTP"),
                             (b"HTTP/1.1 400 Bad Request\r\n\r\n", "HTTP"), (b"\x00\x01\x02\x1b[2J", "nothing that is")):
            def serve(conn, words=words):
                conn.sendall(words)
                conn.recv(100)
            said = self.probe(Stranger(self, serve).address, status=1)
            self.assertRegex(said["speaks"], "not peapod; it looks like " + looks)
            self.assertNotIn("\x1b", said["it said"])

    def test_who_waits_for_http(self):
        def serve(conn):
            if conn.recv(4) == b"GET ":
                conn.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
            else:
                conn.close()
        said = self.probe(Stranger(self, serve).address, status=1)
        self.assertRegex(said["speaks"], "it looks like HTTP")

    def test_who_hangs_up(self):
        said = self.probe(Stranger(self, lambda conn: conn.close()).address, status=1)
        self.assertRegex(said["speaks"], "not a word: it hung up")

    def test_who_is_silent(self):
        said = self.probe(Stranger(self, lambda conn: None).address, "--timeout", "0.2", status=1)
        self.assertRegex(said["speaks"], "not a word: it kept silent")

    def test_who_stops_in_the_middle(self):
        def serve(conn):
            conn.sendall(b"\xf1peapod")
        said = self.probe(Stranger(self, serve).address, "--timeout", "0.2", status=1)
        self.assertEqual(said["speaks"], "peapod over Noise")
        self.assertIn("stopped answering", said["its verdict"])

    def test_unix(self):
        path = self.path("socket")
        server = self.example("secure_handshake", "listen", "unix:" + path, "a.key", self.b)
        self.assertEqual(server.address, "unix:" + path)
        self.assertEqual(self.probe("unix:socket")["who"], self.a)
        self.fails(1, "No such file", "probe", "unix:nothing")

    def test_nothing(self):
        with socket.create_server(("127.0.0.1", 0)) as gone:
            address = "127.0.0.1:%d" % gone.getsockname()[1]
        self.fails(1, "nothing listens there", "probe", address)
        self.fails(1, "nothing listens there", "probe", "localhost:" + address.split(":")[1])

    # ---- wrong use ----

    def test_wrong_use(self):
        for address in ("here", "127.0.0.1", ":1", "a:b", "::1:9", "127.0.0.1:99999"):
            _, err = self.tool("probe", address, status=1 if address.endswith("99999") else 2)
            self.assertRegex(err, r"\Apeapod probe: [^\n]*\n\Z")
        self.fails(2, "an argument is missing", "probe")
        self.fails(2, "say to whom", "probe", "--key", "a.key", "127.0.0.1:1")
        self.fails(2, "exclude each other", "probe", "--tls", "--noise", "127.0.0.1:1")
        self.fails(2, "say --cert FILE", "probe", "--tls", "--key", "a.key", "127.0.0.1:1")
        self.fails(2, "--network-key is for Noise", "probe", "--tls", "--network-key", "n", "127.0.0.1:1")
        self.fails(2, "--network-name is empty", "probe", "--network-name", "", "127.0.0.1:1")
        self.fails(2, "--timeout is in seconds", "probe", "--timeout", "-1", "127.0.0.1:1")
        self.fails(2, "soon: a number is wanted", "probe", "--timeout", "soon", "127.0.0.1:1")
        self.fails(2, "--expect x", "probe", "--expect", "x", "127.0.0.1:1")
        spki = "spki:sha256:" + 64 * "0"
        self.fails(2, "is --tls meant?", "probe", "--expect", spki, "127.0.0.1:1")
        self.fails(2, "known by spki", "probe", "--tls", "--expect", self.a, "127.0.0.1:1")
        self.fails(1, "No such file", "probe", "--key", "nothing", "--expect", self.a, "127.0.0.1:1")
        os.chmod(self.path("b.key"), 0o644)
        self.fails(1, "chmod 600", "probe", "--key", "b.key", "--expect", self.a, "127.0.0.1:1")


if __name__ == "__main__":
    main()
