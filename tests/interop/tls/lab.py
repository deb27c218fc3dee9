# SPDX-License-Identifier: MIT
"""What tests/interop/tls/run and tests/interop/tls/across have in common: cases that are counted, certificates made for
the occasion, and nodes (examples/tls) over them."""
import atexit
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile

from process import Late, Process

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
SERVER = "server.mesh.example"
counts = {"passed": 0, "failed": 0}


class Wrong(Exception):
    """A case did not go as it should."""


def die(text):
    print("interop/tls:", text, file=sys.stderr)
    sys.exit(2)


def expect(condition, text):
    if not condition:
        raise Wrong(text)


def failed(name, why):
    counts["failed"] += 1
    print(f"FAILED  {name}: {why}", flush=True)


def case(name, function, *arguments):
    """Runs one, and ends what it started. What a sanitizer has to say is a failure, whatever else happened."""
    try:
        note = function(*arguments)
        for process in Process.running:
            expect(not re.search("Sanitizer|runtime error", process.text), "a sanitizer spoke")
        counts["passed"] += 1
        print(f"ok      {name}{': ' + note if note else ''}", flush=True)
    except (Wrong, Late, BrokenPipeError, subprocess.TimeoutExpired) as error:
        failed(name, error)
        for process in Process.running:
            print(f"        {process.name}: " + process.text.replace("\n", "\n        "), flush=True)
    finally:
        Process.kill_all()


def finish():
    """The last line, and the exit status."""
    print(f"{counts['passed']} passed, {counts['failed']} failed")
    return 1 if counts["failed"] or not counts["passed"] else 0


class Side:
    """A command that is examples/tls, and the certificates as it sees them: it may begin with "chroot DIR"."""

    def __init__(self, command, certs=None):
        self.command = command
        self.options = []  # of peapod's, for all that follows
        self.root = command[command.index("chroot") + 1] if "chroot" in command else "/"
        self.certs = tempfile.mkdtemp(dir=os.path.join(self.root, "tmp"))
        atexit.register(shutil.rmtree, self.certs)
        if certs is None:
            subprocess.run([os.path.join(ROOT, "tests", "support", "certs"), self.certs], check=True)
        else:
            shutil.copytree(certs, self.certs, dirs_exist_ok=True)
        self.mesh = self.trust_file(f"ca:{self.seen(self.file('root.crt'))} dns:*.mesh.example\n")

    def file(self, name):
        return os.path.join(self.certs, name)

    def seen(self, path):
        """A path of ours as the command sees it."""
        return os.path.join("/", os.path.relpath(path, self.root))

    def trust_file(self, text):
        handle, path = tempfile.mkstemp(dir=self.certs)
        with os.fdopen(handle, "w") as file:
            file.write(text)
        return path

    def id(self, name):
        """spki:sha256:HEX of a certificate, as openssl computes it."""
        key = subprocess.run(["openssl", "x509", "-in", self.file(name + ".crt"), "-noout", "-pubkey"],
                             capture_output=True, check=True).stdout
        der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=key, capture_output=True,
                             check=True).stdout
        return "spki:sha256:" + hashlib.sha256(der).hexdigest()

    def _start(self, foreign, role, addr, cert, trust, *rest):
        files = [self.seen(path) for path in (self.file(cert + ".crt"), self.file(cert + ".key"), trust or self.mesh)]
        return Process("peapod", self.command + self.options + ["--foreign"] * foreign + [role, addr] + files + list(rest))

    def listen(self, cert="server", trust=None, foreign=True):
        node = self._start(foreign, "listen", "127.0.0.1:0", cert, trust)
        return node, int(node.wait_for(r"^listening 127\.0\.0\.1:(\d+)$")[1])

    def connect(self, port, cert="client", trust=None, foreign=True, name=SERVER):
        return self._start(foreign, "connect", f"127.0.0.1:{port}", cert, trust, *([name] if name else []))


def orderly(node, by):
    """An end that TLS authenticates, by the peer or the node, in the node's words."""
    line = node.wait_for(r"^closed: (.*)$")[1]
    want = {"peer": "peer: closed", "node": "shutdown: closed: the node shuts down"}[by]
    expect(line.startswith(want), f"the node says {line!r} of an orderly end by the {by}")


def node_ends(node, listens):
    if listens:
        node.signal()
    else:
        node.end_input()
    orderly(node, "node")
    expect(node.wait_end() == 0, "the node's exit status is not 0")
