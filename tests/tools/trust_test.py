# SPDX-License-Identifier: MIT
"""peapod trust: lint finds what is wrong, check says who is admitted and by which line."""
import unittest

from command import HAS_TLS, ToolTest, main


class Lint(ToolTest):
    def test_good_and_wrong(self):
        a = self.key("a.key")
        self.write("good", f"# one\n{a} name=a\n")
        self.assertEqual(self.tool("trust", "lint", "good"), ("good: good\n", ""))
        self.write("wrong", f"{a} rolle=x\n\nfoo\n")
        out, _ = self.tool("trust", "lint", "good", "wrong", status=1)
        lines = out.splitlines()
        self.assertEqual(lines[0], "good: good")
        self.assertRegex(lines[1], r"\Awrong:1:\d+: error: there is no such option")
        self.assertRegex(lines[2], r"\Awrong:3:1: error: ")
        self.assertEqual(len(lines), 3)

    def test_warnings(self):
        a = self.key("a.key")
        self.write("idle", f"{a}\n{a} name=again\n{a} not-after=1999-01-01T00:00:00Z\n")
        out, _ = self.tool("trust", "lint", "idle")
        self.assertIn("idle:2", out)
        self.assertIn(": warning: ", out)
        self.assertTrue(out.endswith("idle: good\n"))

    def test_files(self):
        self.write("open", "nobody\n", 0o666)
        out, _ = self.tool("trust", "lint", "open", "nothing", status=1)
        self.assertIn("chmod go-w", out)
        self.assertIn("No such file", out)
        self.fails(2, "an argument is missing", "trust", "lint")


class Check(ToolTest):
    def setUp(self):
        super().setUp()
        self.a, self.b, self.c = (self.key(name + ".key") for name in "abc")
        self.write("rules", f"# us\n{self.a} name=\"alice x\" role=admin from=10.0.0.0/8\n"
                            f"{self.b} name=bob not-after=2027-01-01T00:00:00Z\n"
                            f"deny {self.b} from=192.168.0.0/16\n")

    def says(self, status, *lines, args):
        out, err = self.tool("trust", "check", "rules", *args, status=status)
        self.assertEqual(err, "")
        said = out.splitlines()
        for line, wanted in zip(said, lines):
            self.assertTrue(line.startswith(wanted), f"wanted {wanted}, got {line}")
        self.assertEqual(len(said), len(lines))

    def test_admitted(self):
        lines = ["admitted", f"rules:2: {self.a} name=\"alice x\"", "name alice x", "role admin"]
        self.says(0, *lines, args=["a.key", "--from", "10.2.3.4"])
        self.says(0, *lines, args=[self.a, "-f", "10.2.3.4:5"])
        self.says(0, "admitted", "rules:3: ", "name bob", args=["b.key", "-f", "fd00::1", "--at", "2026-12-31"])
        self.says(0, "admitted", "rules:3: ", "name bob", args=["b.key", "-f", "[::1]:9", "-a", "2026-12-31T23:59:59Z"])

    def test_refused(self):
        self.says(4, "refused: the rule that names this peer is for other addresses; where the peer comes from is not",
                  "rules:2: ", args=["a.key"])
        self.says(4, "refused: the rule that names this peer is for other addresses", "rules:2: ",
                  args=["a.key", "--from", "11.0.0.1"])
        self.says(4, "refused: the rule that names this peer does not hold at this time", "rules:3: ",
                  args=["b.key", "--from", "1.2.3.4", "--at", "2027-01-01T00:00:00Z"])
        self.says(4, "refused: a rule denies this peer", "rules:4: deny", args=["b.key", "--from", "192.168.1.1"])
        self.says(4, "refused: no rule names this peer", args=["c.key"])

    def test_known(self):
        dial = ["c.key", "--dialled", "foo.example:1", "--known", "known"]
        self.fails(1, "known: No such file", "trust", "check", "rules", *dial)
        self.write("known", f"foo.example:1 {self.b}\n")
        self.says(4, "refused: the key of foo.example:1 HAS CHANGED", args=dial)
        dial[2] = "bar.example:1"
        self.says(0, "admitted: no rule names this peer", args=dial)
        self.assertEqual(self.read("known"), f"foo.example:1 {self.b}\n")
        self.fails(2, "say --dialled NAME too", "trust", "check", "rules", "c.key", "--known", "known")

    @unittest.skipUnless(HAS_TLS, "built without TLS")
    def test_certificate(self):
        t = self.certificate("t")
        self.write("rules", f"{t} name=t\n")
        self.says(0, "admitted", "rules:1: ", "name t", args=["t.crt"])
        self.write("rules", f"{self.a}\n")
        self.says(4, "refused: no rule names this peer", args=["t.crt"])

    @unittest.skipUnless(HAS_TLS, "built without TLS")
    def test_root(self):
        """A certificate that stands alone is its own root here."""
        self.certificate("t", "--name", "db.mesh.example")
        self.certificate("u", "--name", "db.mesh.example")
        self.write("rules", f"# by name\nca:t.crt dns:*.mesh.example role=db\n")
        self.says(0, "admitted", "rules:2: ca:t.crt dns:", "name db.mesh.example", "role db", args=["t.crt"])
        self.says(4, "refused: no rule names this peer", args=["u.crt"])
        self.write("rules", f"ca:t.crt dns:web.mesh.example\n")
        self.says(4, "refused: no rule names this peer", args=["t.crt"])

    def test_wrong_use(self):
        check = ["trust", "check", "rules", "c.key"]
        self.fails(2, "no time in UTC", *check, "--at", "2027-02-30")
        self.fails(2, "no time in UTC", *check, "--at", "2027-01-01T00:00:00")
        self.fails(2, "no time in UTC", *check, "--at", "yesterday")
        self.fails(2, "names are not resolved", *check, "--from", "example")
        self.fails(2, "--from is given twice", *check, "--from", "1.2.3.4", "--from", "1.2.3.5")
        self.fails(2, "--from: missing argument", *check, "--from")
        self.fails(2, "an argument is missing", "trust", "check", "rules")
        self.fails(1, "No such file", "trust", "check", "nothing", "c.key")
        self.fails(1, "neither a PEM", "trust", "check", "rules", "rules")
        self.fails(2, "there is no command 'nonsense'", "trust", "nonsense")
        self.write("rules", "foo\n")
        self.fails(1, "rules:1:1: ", *check)


if __name__ == "__main__":
    main()
