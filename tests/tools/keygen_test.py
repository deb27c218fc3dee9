# SPDX-License-Identifier: MIT
"""peapod keygen and peapod id: keys of every kind, what is said of them, and that no secret ever is."""
import os
import re
import stat
import subprocess
import unittest

from command import ENVIRONMENT, HAS_TLS, PROGRAM, ToolTest, main

FINGERPRINT = r"([0-9a-f]{4} ){7}[0-9a-f]{4}"


class Keygen(ToolTest):
    def private_file(self, name):
        state = os.stat(self.path(name))
        self.assertEqual(stat.S_IMODE(state.st_mode), 0o600)
        return self.read(name)

    def no_secret(self, name, *printed):
        """Nothing of the file's base64 was printed."""
        for line in self.read(name).splitlines():
            if not line.startswith("-----"):
                for text in printed:
                    self.assertNotIn(line[:20], text)

    def test_noise(self):
        out, err = self.tool("keygen", "a.key")
        self.assertRegex(out, r"\Aid noise:[A-Za-z0-9+/]{43}=\nfingerprint " + FINGERPRINT + r"\n\Z")
        self.assertEqual(err, "")
        self.assertIn("BEGIN PRIVATE KEY", self.private_file("a.key"))
        again, _ = self.tool("id", "a.key")
        self.assertEqual(out, again)
        self.no_secret("a.key", out, again)

    def test_nothing_is_overwritten(self):
        self.key("a.key")
        before = self.read("a.key")
        self.fails(1, "exists already", "keygen", "a.key")
        self.fails(1, "exists already", "keygen", "--network", "a.key")
        self.assertEqual(self.read("a.key"), before)
        self.assertEqual(os.listdir(self.folder), ["a.key"])

    def test_network(self):
        out, _ = self.tool("keygen", "--network", "n.key")
        self.assertRegex(out, r"\Anetwork-key " + FINGERPRINT + r"\n\Z")
        self.assertIn("BEGIN PEAPOD NETWORK KEY", self.private_file("n.key"))
        again, _ = self.tool("id", "n.key")
        self.assertEqual(out, again)
        self.no_secret("n.key", out, again)
        self.assertNotEqual(self.tool("keygen", "--network", "m.key")[0], out)

    @unittest.skipUnless(HAS_TLS, "built without TLS")
    def test_tls(self):
        out, _ = self.tool("keygen", "--tls", "--cert", "a.crt", "--name", "a.example", "--days", "2", "a.key")
        self.assertRegex(out, r"\Aid spki:sha256:[0-9a-f]{64}\nfingerprint " + FINGERPRINT + r"\n\Z")
        self.private_file("a.key")
        self.assertEqual(self.tool("id", "a.crt")[0], out)
        self.no_secret("a.key", out)
        self.fails(1, "name the certificate", "id", "a.key")
        self.fails(1, "exists already", "keygen", "--tls", "--cert", "a.crt", "b.key")
        self.assertEqual(sorted(os.listdir(self.folder)), ["a.crt", "a.key"])
        self.fails(1, "host name in lower case", "keygen", "--tls", "--cert", "b.crt", "--name", "A b", "b.key")
        out, _ = self.tool("id", "-q", "a.crt")
        self.assertRegex(out, r"\Aspki:sha256:[0-9a-f]{64}\n\Z")

    @unittest.skipIf(HAS_TLS, "built with TLS")
    def test_without_tls(self):
        self.fails(1, "built without TLS", "keygen", "--tls", "--cert", "a.crt", "a.key")
        self.assertEqual(os.listdir(self.folder), [])

    def test_wrong_use(self):
        self.fails(2, "an argument is missing", "keygen")
        self.fails(2, "'b' is one argument too many", "keygen", "a", "b")
        self.fails(2, "--cert FILE", "keygen", "--tls", "a.key")
        self.fails(2, "go with --tls", "keygen", "--days", "3", "a.key")
        self.fails(2, "go with --tls", "keygen", "--name", "x", "a.key")
        self.fails(2, "one by one", "keygen", "--network", "--tls", "a.key")
        self.fails(2, "--days is from 1", "keygen", "--tls", "--cert", "a.crt", "--days", "-1", "a.key")
        self.fails(2, "--nonsense: unknown option", "keygen", "--nonsense", "a.key")
        self.fails(1, "No such file or directory", "keygen", "nowhere/a.key")
        self.assertEqual(os.listdir(self.folder), [])


class Id(ToolTest):
    def test_several(self):
        a, b = self.key("a.key"), self.key("b.key")
        out, _ = self.tool("id", "-q", "a.key", "b.key", a)
        self.assertEqual(out.split(), [a, b, a])
        out, _ = self.tool("id", "a.key", b)
        self.assertRegex(out, r"\Aa.key:\nid noise:.*\nfingerprint .*\n\n" + re.escape(b) + r":\nid noise:")
        out, err = self.tool("id", "-q", "nothing", "a.key", status=1)
        self.assertEqual(out.split(), [a])
        self.assertIn("nothing: No such file", err)

    def test_what_is_none(self):
        self.write("text", "hello\n")
        self.fails(1, "neither a PEM private key nor", "id", "text")
        self.write("empty", "")
        self.fails(1, "it is empty", "id", "empty")
        self.fails(1, "not a regular file", "id", ".")
        self.fails(2, "an argument is missing", "id")
        self.fails(1, "noise:abc: ", "id", "noise:abc")

    def test_a_key_that_others_can_read(self):
        self.key("a.key")
        os.chmod(self.path("a.key"), 0o644)
        self.fails(1, "chmod 600", "id", "a.key")

    def test_what_a_terminal_would_obey(self):
        _, err = self.tool("id", "\x1b[2Jx", status=1)
        self.assertIn("\\x1b[2Jx", err)
        self.assertNotIn("\x1b", err)

    def test_full_disk(self):
        a = self.key("a.key")
        with open("/dev/full", "w", encoding="ascii") as full:
            ran = subprocess.run([PROGRAM, "id", a], stdout=full, stderr=subprocess.PIPE, env=ENVIRONMENT, check=False)
        self.assertEqual(ran.returncode, 1)
        self.assertIn(b"No space left", ran.stderr)


if __name__ == "__main__":
    main()
