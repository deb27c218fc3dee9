# SPDX-License-Identifier: MIT
"""The program `peapod`, run for real: keys in a temporary folder, processes, and what they say. What is waited for is a
line, never a moment."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

DEADLINE = 120  # seconds for what takes milliseconds, under a sanitizer on a busy machine too
PEAPOD = None  # the program: main() sets it


class Lines:
    """What a process says, line by line, as it comes."""

    def __init__(self, stream):
        self.lines, self.at, self.ended = [], 0, False
        self.changed = threading.Condition()
        self.stream = stream
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        for line in self.stream:
            with self.changed:
                self.lines.append(line.decode(errors="replace").rstrip("\n"))
                self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def wait(self, pattern):
        """The match of the first line from here on that the pattern is found in; the lines before it are done with."""
        until = time.monotonic() + DEADLINE
        with self.changed:
            while True:
                while self.at < len(self.lines):
                    line = self.lines[self.at]
                    self.at += 1
                    match = re.search(pattern, line)
                    if match:
                        return match
                if self.ended or not self.changed.wait(until - time.monotonic()):
                    raise AssertionError(f"nobody said {pattern!r}:\n" + "\n".join(self.lines))

    def all(self):
        self.thread.join(DEADLINE)
        return "\n".join(self.lines)


class Process:
    def __init__(self, args, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, **more):
        self.process = subprocess.Popen([PEAPOD, *args], stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, **more)
        self.stdin, self.stdout, self.pid = self.process.stdin, self.process.stdout, self.process.pid
        self.err = Lines(self.process.stderr)

    def says(self, pattern):
        return self.err.wait(pattern)

    def ends(self):
        """Its exit status, and all that it said."""
        status = self.process.wait(DEADLINE)
        return status, self.err.all()

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def kill(self):
        self.process.kill()

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for stream in (self.stdin, self.stdout):
            if stream is not None:
                stream.close()
        self.err.thread.join(DEADLINE)
        self.process.stderr.close()


class ToolTest(unittest.TestCase):
    """A folder, keys in it by name, and processes that do not outlive the test."""

    names = ("alice", "bob", "mallory")

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="peapod-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.ids = {}
        for name in self.names:
            said = subprocess.run([PEAPOD, "keygen", self.path(name)], stdout=subprocess.PIPE, check=True).stdout
            self.ids[name] = re.search(r"^id (\S+)$", said.decode(), re.M).group(1)

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, data):
        with open(self.path(name), "wb") as file:
            file.write(data if isinstance(data, bytes) else data.encode())
        return self.path(name)

    def read(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()

    def opened(self, name, mode):
        file = open(self.path(name), mode)
        self.addCleanup(file.close)
        return file

    def run_tool(self, *args, **more):
        process = Process(args, **more)
        self.addCleanup(process.close)
        return process

    def who(self, me, peer):
        return ["--key", self.path(me), "--expect", self.ids[peer]]

    def fails(self, process, status, text):
        """It ended with this status, and said why."""
        got, said = process.ends()
        self.assertEqual(got, status, said)
        self.assertIn(text, said)

    def succeeds(self, process):
        got, said = process.ends()
        self.assertEqual(got, 0, said)
        return said


def main():
    global PEAPOD
    PEAPOD = os.path.abspath(sys.argv.pop(1))
    unittest.main(module="__main__")
