#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the example embed_libuv with secure_handshake as its peers: one that it knows, and one that it does not.

    embed_libuv.py FOLDER_OF_THE_EXAMPLES"""

import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading

DEADLINE = 60  # seconds for one line: what takes milliseconds may take longer on a busy machine


class Program:
    """A child whose lines are awaited, never longer than the deadline."""

    def __init__(self, *command):
        self.lines = queue.Queue()
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self.collect, daemon=True).start()

    def collect(self):
        for line in self.child.stdout:
            self.lines.put(line.rstrip("\n"))

    def expect(self, start):
        line = self.lines.get(timeout=DEADLINE)
        assert line.startswith(start), f"{line!r} does not begin with {start!r}"
        return line[len(start) :].strip()

    def say(self, line):
        self.child.stdin.write(line + "\n")
        self.child.stdin.flush()

    def status(self):
        self.child.stdin.close()
        return self.child.wait(timeout=DEADLINE)


def main(examples):
    handshake = os.path.join(examples, "secure_handshake")
    children = []

    def run(*command):
        children.append(Program(*command))
        return children[-1]

    with tempfile.TemporaryDirectory() as folder:
        names = {name: os.path.join(folder, name) for name in ("service", "friend", "stranger")}
        ids = {name: run(handshake, "keygen", path).expect("id ") for name, path in names.items()}
        try:
            service = run(os.path.join(examples, "embed_libuv"), "127.0.0.1:0", names["service"], ids["friend"])
            addr = service.expect("listening ")

            friend = run(handshake, "connect", addr, names["friend"], ids["service"])
            friend.expect("id " + ids["friend"])
            friend.expect("connected " + ids["service"])
            for i in range(1, 4):
                friend.say("hello")
                answer = friend.expect("received ")
                assert f": {i}: 5 bytes of noise:" in answer, answer

            stranger = run(handshake, "connect", addr, names["stranger"], ids["service"])
            stranger.expect("id " + ids["stranger"])
            stranger.expect("refused: DENIED")
            assert stranger.status() == 3

            service.child.send_signal(signal.SIGTERM)
            friend.expect("closed: ")
            assert friend.status() == 0
            service.expect("served 3")
            assert service.status() == 0
        finally:
            for program in children:
                if program.child.poll() is None:
                    program.child.kill()
                    program.child.wait()


if __name__ == "__main__":
    main(sys.argv[1])
    print("1 passed, 0 failed")
