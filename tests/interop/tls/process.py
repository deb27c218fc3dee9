# SPDX-License-Identifier: MIT
"""Programs that run beside each other: what each prints is read as it comes, and whoever waits for a line waits for
that line, the program's end or a deadline, never for time to pass. Nothing of TLS is in here."""
import os
import re
import signal
import subprocess
import threading
import time

DEADLINE = 20  # seconds: what takes milliseconds here may take seconds on a machine that does other things


class Late(Exception):
    """What was waited for did not come. Its text says what, and what the program printed."""


class Process:
    """One program with pipes. Its standard output and error are one stream, as a person would see them."""

    running = []

    def __init__(self, name, argv, env=None):
        self.name, self.text, self.ended = name, "", False
        self.changed = threading.Condition()
        environment = dict(os.environ, LC_ALL="C", **(env or {}))
        self.child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                      env=environment)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        Process.running.append(self)

    def _read(self):
        while True:
            data = os.read(self.child.stdout.fileno(), 65536)
            with self.changed:
                self.text += data.decode(errors="replace")
                self.ended = not data
                self.changed.notify_all()
            if not data:
                return

    def _wait(self, done, what):
        deadline = time.monotonic() + DEADLINE
        with self.changed:
            while True:
                found = done()
                if found:
                    return found
                left = deadline - time.monotonic()
                if left <= 0 or self.ended:
                    ended = " and it ended" if self.ended else ""
                    raise Late(f"{self.name}: no {what}{ended}; it printed:\n{self.text}")
                self.changed.wait(left)

    def wait_for(self, pattern):
        """The match of a regular expression in the whole lines that were printed so far, once there is one."""
        return self._wait(lambda: re.search(pattern, self.text[:self.text.rfind("\n") + 1], re.M), repr(pattern))

    def say(self, text):
        self.child.stdin.write(text.encode())
        self.child.stdin.flush()

    def end_input(self):
        self.child.stdin.close()

    def signal(self, number=signal.SIGTERM):
        self.child.send_signal(number)

    def wait_end(self):
        """Its exit status, once all it printed was read."""
        try:
            status = self.child.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            raise Late(f"{self.name}: did not end; it printed:\n{self.text}") from None
        self.reader.join(DEADLINE)
        return status

    def port(self):
        """The loopback port where it listens, once it does: it was told 0, and not every program says what it got."""
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline and self.child.poll() is None:
            found = listening(self.child.pid)
            if found:
                return found
            time.sleep(0.01)  # the kernel has no event for this
        raise Late(f"{self.name}: does not listen; it printed:\n{self.text}")

    def kill(self):
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()
        self.reader.join(DEADLINE)
        for pipe in (self.child.stdin, self.child.stdout):
            try:
                pipe.close()
            except BrokenPipeError:
                pass

    @staticmethod
    def kill_all():
        while Process.running:
            Process.running.pop().kill()


def listening(pid):
    """The IPv4 TCP port at which a process listens, by Linux's /proc; None: not yet."""
    try:
        sockets = set()
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                sockets.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
            except FileNotFoundError:
                pass
        with open("/proc/net/tcp", encoding="ascii") as table:
            rows = [line.split() for line in table][1:]
    except FileNotFoundError:
        return None
    for row in rows:
        if row[3] == "0A" and f"socket:[{row[9]}]" in sockets:  # LISTEN
            return int(row[1].split(":")[1], 16)
    return None
