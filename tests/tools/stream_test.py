#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""peapod listen and connect: bytes arrive whole or it is said that they did not.

    stream_test.py PEAPOD [UNITTEST-ARGUMENT...]"""

import hashlib
import os
import pty
import re
import shutil
import socket
import subprocess
import unittest

import tool

BIG = 300 << 20
SOME = 20 << 20


def digest(path):
    of = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            of.update(block)
    return of.hexdigest()


class StreamTest(tool.ToolTest):
    def listens(self, *more, me="bob", peer="alice", **streams):
        """A listener, and where."""
        process = self.run_tool("listen", *self.who(me, peer), *more, "127.0.0.1:0", **streams)
        return process, process.says(r"listening on (\S+) as").group(1)

    def connects(self, address, *more, me="alice", peer="bob", **streams):
        return self.run_tool("connect", *self.who(me, peer), *more, address, **streams)

    def fill(self, name, size):
        """A file that does not compress, in little time: random blocks over and over, each with its number."""
        block = os.urandom(1 << 20)
        with open(self.path(name), "wb") as file:
            for i in range(0, size, len(block)):
                file.write((i.to_bytes(8, "big") + block)[: min(len(block), size - i)])
        return self.path(name)

    def same(self, one, other):
        self.assertEqual(digest(self.path(one)), digest(self.path(other)))


class Transfers(StreamTest):
    def carry(self, size, *more):
        self.fill("in", size)
        listener, address = self.listens(*more, stdout=self.opened("out", "wb"))
        self.succeeds(self.connects(address, *more, stdin=self.opened("in", "rb")))
        self.succeeds(listener)
        self.assertEqual(os.path.getsize(self.path("out")), size)
        self.same("in", "out")

    def test_nothing(self):
        self.carry(0)

    def test_a_byte(self):
        self.carry(1)

    def test_a_mebibyte(self):
        self.carry(1 << 20)

    def test_a_block_more_or_less(self):
        for size in (61439, 61440, 61441):
            self.carry(size)

    def test_hundreds_of_mebibytes(self):
        self.carry(BIG)

    def test_the_other_way(self):
        self.fill("in", SOME)
        listener, address = self.listens(stdin=self.opened("in", "rb"))
        self.succeeds(self.connects(address, stdout=self.opened("out", "wb")))
        self.succeeds(listener)
        self.same("in", "out")

    def test_both_ways_at_once(self):
        self.fill("in1", SOME)
        self.fill("in2", SOME + 12345)
        listener, address = self.listens(stdin=self.opened("in1", "rb"), stdout=self.opened("out2", "wb"))
        client = self.connects(address, stdin=self.opened("in2", "rb"), stdout=self.opened("out1", "wb"))
        self.succeeds(client)
        self.succeeds(listener)
        self.same("in1", "out1")
        self.same("in2", "out2")

    def test_pipes_and_a_reader_that_waits(self):
        self.fill("in", SOME)
        listener, address = self.listens(stdout=subprocess.PIPE)
        feeder = subprocess.Popen(["cat", self.path("in")], stdout=subprocess.PIPE)
        client = self.connects(address, stdin=feeder.stdout)
        feeder.stdout.close()
        client.says("connected to")
        got = hashlib.sha256()
        for block in iter(lambda: listener.stdout.read(4096), b""):
            got.update(block)
        self.succeeds(client)
        self.succeeds(listener)
        self.assertEqual(feeder.wait(tool.DEADLINE), 0)
        self.assertEqual(got.hexdigest(), digest(self.path("in")))

    def test_a_whole_process_group_shares_its_descriptors_unchanged(self):
        # whether a descriptor blocks belongs to everybody who has it
        reads, writes = os.pipe()
        listener, address = self.listens(stdin=reads, stdout=subprocess.PIPE)
        client = self.connects(address)
        client.says("connected to")
        self.assertTrue(os.get_blocking(reads) and os.get_blocking(writes))
        os.close(writes)
        os.close(reads)
        self.succeeds(client)
        self.succeeds(listener)

    def test_an_answer_after_the_end(self):
        self.fill("in", SOME)
        listener, address = self.listens("--exec", "sha256sum")
        client = self.connects(address, stdin=self.opened("in", "rb"), stdout=subprocess.PIPE)
        answer = client.stdout.read().decode().split()[0]
        self.succeeds(client)
        self.assertEqual(answer, digest(self.path("in")))
        listener.terminate()
        self.succeeds(listener)

    def test_a_person_at_the_terminal_does_not_hold_it_open(self):
        try:
            master, slave = pty.openpty()
        except OSError as why:  # /dev/pts is not mounted, as in a bare chroot
            self.skipTest(str(why))
        self.addCleanup(os.close, master)
        listener, address = self.listens(stdin=slave, stdout=self.opened("out", "wb"))
        os.close(slave)
        client = self.connects(address, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        os.write(master, b"typed\n")
        self.assertEqual(client.stdout.readline(), b"typed\n")
        client.stdin.write(b"hello")
        client.stdin.close()
        self.succeeds(client)
        self.succeeds(listener)
        self.assertEqual(self.read("out"), b"hello")

    def test_unix_sockets(self):
        listener = self.run_tool("listen", *self.who("bob", "alice"), "unix:" + self.path("socket"),
                                 stdout=self.opened("out", "wb"))
        address = listener.says(r"listening on (\S+) as").group(1)
        self.write("in", "by path")
        self.succeeds(self.connects(address, stdin=self.opened("in", "rb")))
        self.succeeds(listener)
        self.assertEqual(self.read("out"), b"by path")
        self.assertFalse(os.path.exists(self.path("socket")))


class Tls(StreamTest):
    def setUp(self):
        super().setUp()
        made = subprocess.run([tool.PEAPOD, "keygen", "--help"], stdout=subprocess.PIPE).stdout.decode()
        version = subprocess.run([tool.PEAPOD, "--version"], stdout=subprocess.PIPE).stdout.decode()
        if "--tls" not in made or "TLS: none" in version:
            self.skipTest("this build has no TLS")
        for name in ("alice", "bob"):
            os.remove(self.path(name))
            run = subprocess.run([tool.PEAPOD, "keygen", "--tls", "--cert", self.path(name + ".crt"), self.path(name)],
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.assertEqual(run.returncode, 0, run.stderr)
            self.ids[name] = [word for word in run.stdout.decode().split() if word.startswith("spki:")][0]

    def who(self, me, peer):
        return ["--tls", *super().who(me, peer), "--cert", self.path(me + ".crt")]

    def test_tls(self):
        for more in ([], ["--foreign"]):
            self.fill("in", SOME)
            listener, address = self.listens(*more, stdout=self.opened("out", "wb"))
            self.succeeds(self.connects(address, *more, stdin=self.opened("in", "rb")))
            self.succeeds(listener)
            self.same("in", "out")

    @unittest.skipUnless(shutil.which("openssl"), "there is no openssl command")
    def test_a_peer_that_others_wrote(self):
        listener, address = self.listens("--foreign", stdout=self.opened("out", "wb"))
        said = subprocess.run(["openssl", "s_client", "-connect", address, "-cert", self.path("alice.crt"), "-key", self.path("alice")],
                              input=b"hello from openssl\n", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        listener.says("connected to")
        self.assertEqual(listener.ends()[0], 0, said.stdout.decode())
        self.assertEqual(self.read("out"), b"hello from openssl\n")

    def test_a_foreign_peer_that_is_killed_is_no_end(self):
        listener, address = self.listens("--foreign", stdout=self.opened("out", "wb"))
        client = self.connects(address, "--foreign", stdin=subprocess.PIPE)
        listener.says("connected to")
        client.says("connected to")
        client.kill()
        self.fails(listener, 1, "cut short")


class Ends(StreamTest):
    def test_a_stranger_is_refused_and_a_friend_is_not(self):
        listener, address = self.listens(stdout=self.opened("out", "wb"))
        self.write("in", "from a friend")
        self.fails(self.connects(address, me="mallory"), 3, "the peer refused us")
        self.assertIn(self.ids["mallory"], listener.says(r"refused (\S+), ").string)
        self.succeeds(self.connects(address, stdin=self.opened("in", "rb")))
        self.succeeds(listener)
        self.assertEqual(self.read("out"), b"from a friend")

    def test_why_somebody_was_refused(self):
        rules = self.write("rules", f"{self.ids['alice']} not-after=2020-01-01T00:00:00Z\ndeny {self.ids['mallory']}\n")
        os.chmod(rules, 0o600)
        subprocess.run([tool.PEAPOD, "keygen", "--network", self.path("network")], stdout=subprocess.DEVNULL,
                       check=True)
        key = ["--network-key", self.path("network")]
        listener = self.run_tool("listen", "--key", self.path("bob"), "--trust", rules, *key, "127.0.0.1:0")
        address = listener.says(r"listening on (\S+) as").group(1)
        host, port = address.split(":")
        for me, why in (("alice", "does not hold at this time"), ("mallory", "a rule denies this peer")):
            self.fails(self.connects(address, *key, me=me), 3, "the peer refused us")
            listener.says(f"refused {re.escape(self.ids[me])}, .*: .*{why}")

        with socket.create_server((host, 0)) as recorder:  # whoever says again what a member said is no peer at all
            client = self.connects("%s:%d" % recorder.getsockname(), *key)
            with recorder.accept()[0] as taken:
                recording = taken.recv(4096)
            client.ends()
        for says in ("did not get in", "did not get in: .*it came before"):
            with socket.create_connection((host, int(port))) as replay:
                replay.sendall(recording)
                replay.shutdown(socket.SHUT_WR)
                while replay.recv(4096):
                    pass
            listener.says(says)

    def test_who_only_looks_in_begins_nothing(self):
        self.write("in", "for a friend")
        listener, address = self.listens(stdin=self.opened("in", "rb"))
        seen = subprocess.run([tool.PEAPOD, "probe", *self.who("alice", "bob"), address], stdout=subprocess.PIPE)
        self.assertEqual(seen.returncode, 0, seen.stdout)
        self.succeeds(self.connects(address, stdout=self.opened("out", "wb")))
        self.succeeds(listener)
        self.assertEqual(self.read("out"), b"for a friend")

    def test_another_listener_than_was_meant(self):
        _, address = self.listens(me="mallory")
        self.fails(self.connects(address, stdin=subprocess.DEVNULL), 4, self.ids["mallory"])

    def test_nobody_listens(self):
        self.fails(self.connects("unix:" + self.path("nobody")), 1, "No such file")

    def killed_sender(self):
        listener, address = self.listens(stdout=self.opened("out", "wb"))
        client = self.connects(address, stdin=subprocess.PIPE)
        client.stdin.write(b"the first half")
        client.stdin.flush()
        listener.says("connected to")
        client.says("connected to")
        return listener, client

    def test_a_sender_that_is_killed(self):
        listener, client = self.killed_sender()
        client.kill()
        self.fails(listener, 1, "what was received is cut short")

    def test_a_sender_that_is_told_to_end(self):
        listener, client = self.killed_sender()
        client.terminate()
        self.fails(listener, 1, "what was received is cut short")
        self.assertEqual(client.ends()[0], 1)

    def test_a_receiver_that_is_killed(self):
        listener, address = self.listens(stdout=subprocess.PIPE) # nobody reads: it cannot be finished
        self.fill("in", SOME)
        client = self.connects(address, stdin=self.opened("in", "rb"))
        client.says("connected to")
        listener.stdout.read(100000)
        listener.kill()
        self.assertEqual(client.ends()[0], 1)

    def test_a_receiver_that_is_told_to_end_though_nobody_reads(self):
        listener, address = self.listens(stdout=subprocess.PIPE)
        self.fill("in", SOME)
        client = self.connects(address, stdin=self.opened("in", "rb"))
        client.says("connected to")
        listener.stdout.read(100000)
        listener.terminate()
        self.fails(listener, 1, "what was received is cut short")
        self.assertEqual(client.ends()[0], 1)

    def test_an_output_that_is_full(self):
        with open("/dev/full", "wb") as full:
            listener, address = self.listens(stdout=full)
        self.write("in", "no room for it")
        client = self.connects(address, stdin=self.opened("in", "rb"))
        self.fails(client, 1, "the output could not be written")
        self.fails(listener, 1, "No space left on device")

    def test_an_output_that_nobody_reads_any_more(self):
        listener, address = self.listens(stdout=subprocess.PIPE)
        listener.stdout.close()
        self.write("in", "into the void")
        client = self.connects(address, stdin=self.opened("in", "rb"))
        self.fails(listener, 1, "Broken pipe")
        self.fails(client, 1, "the peer gave up")

    def test_an_input_that_cannot_be_read(self):
        listener, address = self.listens(stdout=self.opened("out", "wb"))
        folder = os.open(self.folder, os.O_RDONLY)
        client = self.connects(address, stdin=folder)
        os.close(folder)
        self.fails(client, 1, "Is a directory")
        self.fails(listener, 1, "the input could not be read")

    def test_descriptors_that_are_closed_never_become_sockets(self):
        def without(*numbers):
            return {"preexec_fn": lambda: [os.close(fd) for fd in numbers]}

        def serve():
            listener, address = self.listens("--exec", "echo a secret")
            return listener, ["connect", *self.who("alice", "bob"), address]

        for closed, text in ((0, "the input could not be read"), (1, "the output could not be written")):
            listener, connect = serve()
            self.fails(self.run_tool(*connect, **without(closed)), 1, text)
        listener, connect = serve()
        client = self.run_tool(*connect, **without(0, 1, 2))
        listener.says("connected to")
        listener.says("the peer gave up")
        self.fails(client, 1, "")
        self.fails(self.run_tool("--version", **without(1)), 1, "could not be written")

    def test_wrong_use(self):
        self.fails(self.run_tool("listen", "127.0.0.1:0"), 2, "--key")
        self.fails(self.run_tool("listen", *self.who("bob", "alice"), "nonsense"), 1, "nonsense")
        self.fails(self.run_tool("connect", *self.who("bob", "alice")), 2, "ADDR")


class Commands(StreamTest):
    def ask(self, address, data=b"", **more):
        self.write("request", data)
        client = self.connects(address, stdin=self.opened("request", "rb"), stdout=subprocess.PIPE, **more)
        answer = client.stdout.read()
        return client, answer

    def test_each_connection_has_a_command(self):
        listener, address = self.listens("--exec", 'read -r line; echo "$line to $PEAPOD_ID"')
        clients = []
        for i in range(8):
            self.write(f"request{i}", f"hello {i}\n")
            clients.append(self.connects(address, stdin=self.opened(f"request{i}", "rb"), stdout=subprocess.PIPE))
        for i, client in enumerate(clients):
            self.assertEqual(client.stdout.read().decode(), f"hello {i} to {self.ids['alice']}\n")
            self.succeeds(client)
        listener.terminate()
        self.succeeds(listener)

    def test_a_command_that_has_heard_enough(self):
        _, address = self.listens("--exec", "head -c 5")
        client, answer = self.ask(address, b"x" * SOME)
        self.assertEqual(answer, b"xxxxx")
        self.succeeds(client)

    def test_a_command_that_fails(self):
        listener, address = self.listens("--exec", "echo so far; exit 3")
        client, answer = self.ask(address)
        self.assertEqual(answer, b"so far\n") # what it said arrives
        self.fails(client, 1, "the command ended with status 3")
        listener.says("the command ended with status 3")
        listener.terminate()
        self.succeeds(listener)

    def test_a_command_does_not_take_half_of_it_for_all(self):
        mark = self.path("mark")
        os.mkfifo(mark)
        listener, address = self.listens(
            "--exec", f"trap 'echo told >{mark}; exit 1' TERM; echo ready; cat >/dev/null; echo all >{mark}")
        client = self.connects(address, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.assertEqual(client.stdout.readline(), b"ready\n")
        client.kill()
        self.assertEqual(self.read("mark"), b"told\n")
        listener.says("cut short")

    def test_the_dialling_side_may_have_one_too(self):
        listener, address = self.listens(stdin=self.opened_with("question"), stdout=self.opened("out", "wb"))
        self.succeeds(self.connects(address, "--exec", "tr a-z A-Z"))
        self.succeeds(listener)
        self.assertEqual(self.read("out"), b"QUESTION")

    def opened_with(self, text):
        self.write("text", text)
        return self.opened("text", "rb")


if __name__ == "__main__":
    tool.main()
