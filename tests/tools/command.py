# SPDX-License-Identifier: MIT
"""What tests of commands share that say something and end: run in a folder of their own. A test file is called as
   FILE_test.py PROGRAM FOLDER_OF_THE_EXAMPLES"""
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import unittest

DEADLINE = 60  # seconds: for what takes a moment, on the slowest machine
PROGRAM, EXAMPLES = (os.path.abspath(path) for path in sys.argv[1:3])
ENVIRONMENT = dict(os.environ, LC_ALL="C")
HAS_TLS = b"TLS: none" not in subprocess.run([PROGRAM, "--version"], capture_output=True, check=True).stdout


class Server:
    """A process that says on standard output where it listens."""

    def __init__(self, folder, argv, listens=r"listening (\S+)", **more):
        self.process = subprocess.Popen(argv, cwd=folder, env=ENVIRONMENT, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, bufsize=1, **more)
        watch = threading.Timer(DEADLINE, self.process.kill)
        watch.start()
        self.address = None
        for line in self.process.stdout:
            found = re.search(listens, line)
            if found:
                self.address = found.group(1)
                break
        watch.cancel()
        if self.address is None:
            raise AssertionError(f"{argv} did not start: {self.process.wait()}")

    def line(self):
        return self.process.stdout.readline().rstrip("\n")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        return status


class ToolTest(unittest.TestCase):
    """A test with a folder, in which the program runs."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="peapod-tool-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text, mode=0o600):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(self.path(name), mode)

    def read(self, name):
        with open(self.path(name), encoding="utf-8") as file:
            return file.read()

    def tool(self, *args, status=0, **more):
        """What it printed to standard output and standard error; it must end with this status."""
        ran = subprocess.run([PROGRAM, *args], cwd=self.folder, env=ENVIRONMENT, capture_output=True, text=True,
                             timeout=DEADLINE, **more)
        self.assertEqual(ran.returncode, status, f"peapod {' '.join(args)}\n{ran.stdout}{ran.stderr}")
        return ran.stdout, ran.stderr

    def fails(self, status, says, *args):
        """It ends with this status, and one line on standard error in which `says` is; nothing else is printed."""
        out, err = self.tool(*args, status=status)
        self.assertEqual(out, "")
        self.assertRegex(err, r"\Apeapod[a-z ]*: [^\n]*\n\Z")
        self.assertIn(says, err)

    def key(self, name):
        """Makes a key for Noise, and says its id."""
        return self.tool("keygen", name)[0].split()[1]

    def certificate(self, name, *options):
        """Makes NAME.crt and NAME.key, and says their id."""
        return self.tool("keygen", "--tls", "--cert", name + ".crt", *options, name + ".key")[0].split()[1]

    def serve(self, *argv, **more):
        server = Server(self.folder, argv, **more)
        self.addCleanup(server.stop)
        return server

    def example(self, name, *args):
        return self.serve(os.path.join(EXAMPLES, name), *args)


def main():
    unittest.main(argv=[sys.argv[0]])
