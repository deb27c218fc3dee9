#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""peapod mesh: nodes that find each other by their files, and again after one was killed.

    mesh_test.py PEAPOD [UNITTEST-ARGUMENT...]"""

import json
import os
import subprocess

import tool


class MeshTest(tool.ToolTest):
    def setUp(self):
        super().setUp()
        self.nodes = {}

    def config(self, me, peers, *more):
        """Everybody has a socket's path of his own: no port is anybody's."""
        lines = [f"# {me}", f"key {me}", f"listen unix:{self.path(me)}.socket", *more]
        lines += [f"peer {self.ids[peer]}\tunix:{self.path(peer)}.socket  # {peer}" for peer in peers]
        return self.write(me + ".conf", "\n".join(lines) + "\n")

    def start(self, me, *more):
        node = self.run_tool("mesh", *more, self.path(me + ".conf"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        node.out = tool.Lines(node.stdout)
        self.nodes[me] = node
        return node

    def event(self, me, event, peer):
        """The next event of that kind about that peer, of a node that prints JSON."""
        while True:
            said = json.loads(self.nodes[me].out.wait(f'"event":"{event}"').string)
            if said.get("peer") == self.ids[peer]:
                return said

    def meets(self, me, *peers):
        missing = {self.ids[peer] for peer in peers}
        while missing:
            missing.discard(json.loads(self.nodes[me].out.wait('"event":"connected"').string)["peer"])

    def say(self, me, line):
        self.nodes[me].stdin.write(line)
        self.nodes[me].stdin.flush()

    def test_three_of_which_one_is_killed_and_comes_back(self):
        for me in self.names:
            self.config(me, [peer for peer in self.names if peer != me])
            self.start(me, "--json")
        for me in self.names:
            self.meets(me, *(peer for peer in self.names if peer != me))
        self.say("alice", b'hello "all"\\\n')
        for me in ("bob", "mallory"):
            self.assertEqual(self.event(me, "message", "alice")["text"], 'hello "all"\\')
        self.say("bob", b"\xff\xfe\n")
        self.assertEqual(self.event("mallory", "message", "bob")["base64"], "//4=")
        self.say("bob", "\x9b31m, \x7f and é\n".encode())  # what a terminal would obey, and what it would not
        self.assertIn('"text":"\\u009b31m, \\u007f and é"', self.nodes["mallory"].out.wait('"event":"message"').string)

        self.nodes["mallory"].kill()
        for me in ("alice", "bob"):
            self.event(me, "disconnected", "mallory")
        self.nodes["mallory"].process.wait()
        os.remove(self.path("mallory.socket"))
        self.start("mallory", "--json")
        for me in ("alice", "bob"):
            self.meets(me, "mallory")
        self.meets("mallory", "alice", "bob")
        self.say("mallory", b"back\n")
        for me in ("alice", "bob"):
            self.assertEqual(self.event(me, "message", "mallory")["text"], "back")

        self.nodes["mallory"].terminate()
        self.succeeds(self.nodes["mallory"])
        self.assertIn("SHUTDOWN", self.event("alice", "disconnected", "mallory")["reason"])
        for me in ("alice", "bob"):
            self.nodes[me].terminate()
            self.succeeds(self.nodes[me])
            self.assertFalse(os.path.exists(self.path(me + ".socket")))

    def test_lines_for_people(self):
        self.config("alice", ["bob"])
        self.write("rules", f"{self.ids['alice']} name=alice role=boss\n")
        os.chmod(self.path("rules"), 0o600)
        self.write("bob.conf", f"listen unix:{self.path('bob')}.socket\nkey bob\ntrust rules\n")
        bob = self.start("bob")
        bob.out.wait(f"^listening {self.ids['bob']} unix:".replace("+", r"\+"))
        alice = self.start("alice")
        alice.out.wait(r"^connected noise:\S+ unix:")
        bob.out.wait(r"^connected noise:\S+ name=alice unix:")
        self.say("alice", b"one\n" + b"x" * 70000 + b"\ntwo\x1b[31m\nthree")
        alice.stdin.close()  # the last line has no end, and the node goes on
        for line in ("one", r"two\\x1b\[31m", "three"):
            bob.out.wait(f"^message noise:.* name=alice: {line}$")
        alice.says("a line of more than 65536 bytes was left out")
        alice.terminate()
        self.succeeds(alice)
        bob.out.wait(r"^disconnected noise:\S+ name=alice unix:: peer")
        bob.terminate()
        self.succeeds(bob)

    def test_a_stranger_is_refused(self):
        self.config("alice", ["bob"])
        self.config("bob", ["mallory"])
        self.start("bob", "--json")
        self.nodes["bob"].out.wait("listening")
        self.start("alice", "--json")
        self.assertIn("refused us", self.event("alice", "failed", "bob")["reason"])
        self.event("bob", "refused", "alice")

    def test_files_that_are_wrong(self):
        good = f"key alice\npeer {self.ids['bob']} 127.0.0.1:1\n"
        for text, error in (
            ("", "there is no line 'key FILE'"),
            ("key alice\n", "there is nobody to meet"),
            (good + "\nlisten\n", ":4: wanted are two words"),
            (good + "kye bob\n", ":3: 'kye' is no word of this file"),
            (good + "key bob\n", ":3: this was said before"),
            (good + f"peer {self.ids['bob']}\n", ":3: wanted is: peer ID ADDR..."),
            (good + f"peer {self.ids['bob']} somewhere:1\n", ":3: "),
            (good + f"peer {self.ids['bob']} 127.0.0.1:1\n", ":3: "),
            (good + "peer noise:abc 127.0.0.1:2\n", ":3: "),
            (good + "\0", "it is too large, or no text"),
        ):
            self.write("wrong.conf", text)
            self.fails(self.run_tool("mesh", self.path("wrong.conf")), 2, error)
        self.fails(self.run_tool("mesh", self.path("none")), 1, "No such file")


if __name__ == "__main__":
    tool.main()
