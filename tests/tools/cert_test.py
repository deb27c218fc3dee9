# SPDX-License-Identifier: MIT
"""peapod keygen --root and peapod cert: certificates for Noise, what is said of them, and who is let in by one."""
import datetime
import os
import re
import stat
import subprocess

from command import PROGRAM, ToolTest, main

ROOT = r"root:[A-Za-z0-9+/]{43}="
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"


class Cert(ToolTest):
    def setUp(self):
        super().setUp()
        self.root = self.tool("keygen", "--root", "fleet.root")[0].strip()
        self.a = self.key("a.key")

    def issue(self, *args, out="a.cert", who="a.key"):
        return self.tool("cert", "issue", "--root", "fleet.root", "--out", out, *args, who)[0]

    def test_root(self):
        self.assertRegex(self.root, rf"\A{ROOT}\Z")
        self.assertEqual(stat.S_IMODE(os.stat(self.path("fleet.root")).st_mode), 0o600)
        self.assertIn("BEGIN PRIVATE KEY", self.read("fleet.root"))
        self.assertEqual(self.tool("id", "fleet.root")[0].strip(), self.root)
        self.fails(1, "exists already", "keygen", "--root", "fleet.root")
        self.fails(2, "one by one", "keygen", "--root", "--network", "x")
        self.fails(1, "X25519 is needed", "probe", "--key", "fleet.root", "--expect", self.a, "127.0.0.1:1")

    def test_what_it_says(self):
        out = self.issue("--name", "db-1", "--roles", "web,db", "--days", "2")
        self.assertRegex(out, rf"\Aname db-1\nroles db,web\nid {re.escape(self.a)}\nnot-before {TIME}\n"
                              rf"not-after {TIME}\nby {re.escape(self.root)}\n\Z")
        begin, end = (datetime.datetime.strptime(found, "%Y-%m-%dT%H:%M:%SZ") for found in re.findall(TIME, out))
        self.assertEqual(end - begin, datetime.timedelta(days=2, minutes=5))
        self.assertEqual(self.tool("cert", "show", "a.cert"), (out, ""))
        secret = self.read("fleet.root").splitlines()[1]
        self.assertNotIn(secret[24:], out + self.read("a.cert"))

    def test_two_keys_and_a_network(self):
        b = self.key("b.key")
        out = self.issue("--name", "x", "--next", b, "--network-name", "mesh", who=self.a)
        self.assertIn(f"\nid {self.a}\nnext {b}\nnetwork ", out)
        self.assertRegex(out, r"\nnetwork [0-9a-f]{64}\n")
        both, _ = self.tool("cert", "show", "a.cert", "a.cert")
        self.assertEqual(both, f"a.cert:\n{out}\na.cert:\n{out}")

    def test_wrong_use(self):
        issue = ["cert", "issue", "--root", "fleet.root", "--name", "x", "--out", "x.cert"]
        self.fails(2, "Say --root FILE", "cert", "issue", "--name", "x", "--out", "x.cert", "a.key")
        self.fails(2, "Say --name", "cert", "issue", "--root", "fleet.root", "--out", "x.cert", "a.key")
        self.fails(2, "Say --out", "cert", "issue", "--root", "fleet.root", "--name", "x", "a.key")
        self.fails(2, "an argument is missing", *issue)
        self.fails(2, "--days is from 1", *issue, "--days", "-1", "a.key")
        self.fails(2, "no key of Noise", *issue, "spki:sha256:" + "ab" * 32)
        self.fails(1, "Ed25519 is needed", "cert", "issue", "--root", "a.key", "--name", "x", "--out", "x.cert", "a.key")
        self.fails(1, "its name is none", "cert", "issue", "--root", "fleet.root", "--name", "X", "--out", "x.cert",
                   "a.key")
        self.fails(1, "these are no roles", *issue, "--roles", "a,a", "a.key")
        self.assertFalse(os.path.exists(self.path("x.cert")))
        self.issue("--name", "x")
        before = self.read("a.cert")
        self.fails(1, "exists already", "cert", "issue", "--root", "fleet.root", "--name", "y", "--out", "a.cert", "a.key")
        self.assertEqual(self.read("a.cert"), before)

    def test_none(self):
        self.fails(1, "this is no certificate for Noise", "cert", "show", "a.key")
        self.fails(1, "No such file", "cert", "show", "nothing")
        self.issue("--name", "x")
        text = self.read("a.cert")
        self.write("bent", text[:120] + ("A" if text[120] != "A" else "B") + text[121:])
        self.fails(1, "a certificate: ", "cert", "show", "bent")

    def test_trust_check(self):
        self.issue("--name", "web-1", "--roles", "web,admin")
        self.write("rules", f"{self.root} names=web-* roles=web\n")
        out, _ = self.tool("trust", "check", "rules", "a.cert")
        self.assertEqual(out, f"admitted\nrules:1: {self.root} names=web-* roles=web\nname web-1\nrole web\n")
        out, _ = self.tool("trust", "check", "rules", "a.cert", "--at", "2099-01-01", status=4)
        self.assertIn("the peer's certificate does not hold at this time", out)
        self.assertIn("no rule names this peer", self.tool("trust", "check", "rules", "a.key", status=4)[0])
        self.write("others", f"{self.root} names=db-*\ndeny {self.root} names=web-1\n")
        self.assertIn("a rule denies this peer", self.tool("trust", "check", "others", "a.cert", status=4)[0])

    def test_our_own(self):
        self.issue("--name", "web-1")
        self.key("b.key")
        probe = ["probe", "--expect", self.a, "--cert", "a.cert", "--key"]
        for says, args in (
            ("for another key", [*probe, "b.key"]),
            ("for another network", [*probe, "a.key", "--network-name", "mesh"]),
            ("no certificate for Noise", ["probe", "--expect", self.a, "--cert", "b.key", "--key", "b.key"]),
        ):
            _, err = self.tool(*args, "127.0.0.1:1", status=1)
            self.assertIn(says, err)
        self.fails(2, "say --key FILE too", "probe", "--cert", "a.cert", "127.0.0.1:1")

    def test_two_who_know_the_root(self):
        self.key("b.key")
        self.issue("--name", "a")
        self.issue("--name", "b", out="b.cert", who="b.key")
        self.write("rules", f"{self.root} names=*\n")
        server = self.serve(PROGRAM, "listen", "--key", "b.key", "--cert", "b.cert", "--trust", "rules", "127.0.0.1:0",
                            listens=r"listening on (\S+) as", stderr=subprocess.STDOUT)
        us = ["connect", "--key", "a.key", "--trust", "rules"]
        _, err = self.tool(*us, server.address, status=3, input="")
        self.assertIn("DENIED", err)
        server.process.stdin.close()  # it has nothing to say
        port = server.address.rsplit(":", 1)[1]
        _, err = self.tool(*us, "--cert", "a.cert", "localhost:" + port, status=4, input="")
        self.assertIn("its certificate is for b, and localhost was dialled", err)
        _, err = self.tool(*us, "--cert", "a.cert", server.address, input="hello\n")
        self.assertRegex(err, r"connected to noise:\S+ b, ")
        self.assertIn("hello", server.process.stdout.read())


if __name__ == "__main__":
    main()
