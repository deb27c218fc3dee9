# SPDX-License-Identifier: MIT
"""Runs one program of bench/, and keeps what its runs printed."""
import os
import signal
import statistics
import subprocess

PATIENCE = 30  # seconds that a program may take, unless its workload says otherwise


class Failed(Exception):
    """A program that did not print what it should."""


class Hung(Failed):
    """A program that did not end in time."""


def finish(command, patience):
    """Runs a program and all that it starts; none of it outlives `patience`, or this program's own end."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               start_new_session=True)
    try:
        out, err = process.communicate(timeout=patience)
        return process.returncode, out, err
    except subprocess.TimeoutExpired as why:
        raise Hung(f"{' '.join(command)}: not done in {patience} s") from why
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def run(command, patience=PATIENCE):
    """Runs a program once; returns its keys and values, and the figure that stands alone as "figure"."""
    try:
        status, out, err = finish(command, patience)
    except OSError as why:
        raise Failed(f"{' '.join(command)}: {why}") from why
    said = {}
    for line in out.splitlines():
        words = line.split()
        if line.startswith("the bucket came back"):  # many_nodes speaks in sentences
            words = ["bucket", words[-2]]
        try:
            said[words[0] if len(words) == 2 else "figure"] = float(words[-1])
        except (ValueError, IndexError):
            pass
    if status != 0 or not said:
        last = (err.strip() or f"exit status {status}, and no figure").splitlines()[-1]
        raise Failed(f"{' '.join(command)}: {last}")
    if "cpu_ns_sender" in said and "cpu_ns_receiver" in said:
        said["cpu_ns"] = said["cpu_ns_sender"] + said["cpu_ns_receiver"]
    return said


class Samples:
    """What the runs of one program printed."""

    def __init__(self):
        self.of = {}

    def add(self, said):
        for key, value in said.items():
            self.of.setdefault(key, []).append(value)

    def median(self, key="figure"):
        return statistics.median(self.of[key]) if key in self.of else None

    def spread(self, key="figure"):
        """The least and the most, as parts of the median."""
        middle = self.median(key)
        return [round(f(self.of[key]) / middle, 2) if middle else 1 for f in (min, max)] if key in self.of else None

    def cpu(self):
        """Nanoseconds of both processes for one message."""
        return self.median("cpu_ns")
