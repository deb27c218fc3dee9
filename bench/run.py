#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the programs of bench/ side by side, prints one table and writes build/bench.json: see docs/performance.md.

Programs that are compared run in turn, each as often as the others; medians are compared. A program prints lines of a
key and a value, and its figure alone on the last line."""
import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys

BENCH = "build/release/bench"
PEERS = "build/bench-peers"
PATIENCE = 600  # seconds that a program may take

# Each transport is compared with the peers that do the same, and with the raw programs that bound it.
PEERS_OF = {
    "plain": ["pea2pea", "zmq", "nng", "libevent"],
    "noise": ["pea2pea+snow", "pea2pea+snow-ring", "zmq-curve", "go-libp2p"],
    "tls": ["nng-tls", "libevent-openssl"],
}
LIMITS_OF = {
    "plain": ["plain"],
    "noise": ["chachapoly-sodium", "chachapoly-libcrypto"],
    "noise-sodium": ["chachapoly-sodium"],
    "noise-aes": ["aes-sodium", "aes-libcrypto"],
    "tls": ["aes-sodium", "aes-libcrypto"],
}
RAWS = sorted({raw for raws in LIMITS_OF.values() for raw in raws})
ALL_DO = ["oneway", "pingpong"]
RUST_DOES = ALL_DO + ["connect", "openloop", "idle", "broadcast"]
DONE_BY = {
    "pea2pea": RUST_DOES,
    "pea2pea+snow": RUST_DOES,
    "pea2pea+snow-ring": RUST_DOES,
    "zmq": ALL_DO + ["connect", "openloop"],
    "zmq-curve": ALL_DO + ["connect", "openloop"],
    "go-libp2p": ALL_DO + ["connect", "openloop", "idle"],
}
COUNTS = ["cpu_ns_sender", "cpu_ns_receiver", "syscalls_per_message", "allocs_per_message"]
TOO_BIG_FOR = {"pea2pea+snow": 65519, "pea2pea+snow-ring": 65519}  # bytes of a message


class Failed(Exception):
    """A program that did not print what it should."""


def family(transport):
    return transport.split("-")[0]


def run(command):
    """Runs a program once; returns what it printed, the figure as "figure"."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as why:
        raise Failed(f"{' '.join(command)}: {why}") from why
    said = {}
    for line in done.stdout.splitlines():
        words = line.split()
        if line.startswith("the bucket came back"):  # many_nodes speaks in sentences
            words = ["bucket", words[-2]]
        try:
            said[words[0] if len(words) == 2 else "figure"] = float(words[-1])
        except (ValueError, IndexError):
            pass
    if done.returncode != 0 or not said:
        last = (done.stderr.strip() or "it printed no figure").splitlines()[-1]
        raise Failed(f"{' '.join(command)}: {last}")
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
        both = [self.median("cpu_ns_sender"), self.median("cpu_ns_receiver")]
        return None if None in both else sum(both)


class Bench:
    """The rows of a run, and who is missing."""

    def __init__(self, options):
        self.runs = options.runs
        self.seconds = options.seconds
        self.rows = []
        self.silent = {}  # what is left out, and why
        self.transports = [name for name in LIMITS_OF if self.works("oneway", name)]
        self.raws = [name for name in RAWS if self.works("raw_oneway", name)]

    def works(self, program, name):
        """A build may lack a library, a CPU its instructions."""
        try:
            run([f"{BENCH}/{program}", name, "16", "0.01"])
        except Failed as why:
            self.silent[f"{program} {name}"] = str(why)
            return False
        return True

    def limits_of(self, transport):
        return [raw for raw in LIMITS_OF[transport] if raw in self.raws]

    def alternate(self, programs, runs=None):
        """{name: command} in turn; returns {name: Samples}. A peer that fails is left out; we may not fail."""
        samples = {name: Samples() for name in programs}
        for _ in range(runs or self.runs):
            for name, command in programs.items():
                if name not in samples:
                    continue
                try:
                    samples[name].add(run(command))
                except Failed as why:
                    if not command[0].startswith(PEERS):
                        raise
                    self.silent[" ".join([name, *command[1:]])] = str(why)
                    del samples[name]
        return samples

    def peers(self, transport, workload, arguments, size=0):
        """The commands of those peers that are here and do this."""
        commands = {}
        for name in PEERS_OF.get(family(transport), []):
            path = os.path.join(PEERS, name)
            if size > TOO_BIG_FOR.get(name, size) or workload not in DONE_BY.get(name, ALL_DO):
                continue
            if os.access(path, os.X_OK):
                commands[name] = [path, workload, *arguments]
            else:
                self.silent[name] = "not installed: scripts/install-bench-peers"
        return commands

    def row(self, what, unit, samples, ours, limits=(), peers=(), key="figure", again=False):
        """Keeps and prints one row. `what`: name, transport, size, connections; the others name samples. Of several
        limits the best counts. `again`: the peers' lines stand above, and are not printed."""
        best = max if unit.endswith("/s") else min
        limit = best((l for l in limits if key in samples[l].of), key=lambda l: samples[l].median(key), default=None)
        peers = [p for p in peers if p in samples and key in samples[p].of]
        bound = samples[limit] if limit else Samples()
        row = dict(zip(("name", "transport", "size", "connections"), what))
        row |= {"unit": unit, "peapod": samples[ours].median(key), "limit": bound.median(key),
                "peers": {p: samples[p].median(key) for p in peers}}
        row |= {count: samples[ours].median(count) for count in COUNTS}
        row |= {"runs": len(samples[ours].of[key]), "spread": samples[ours].spread(key), "limit_by": limit, "limit_spread": bound.spread(key),
                "limit_cpu_ns": bound.cpu(), "peers_spread": {p: samples[p].spread(key) for p in peers},
                "peers_cpu_ns": {p: samples[p].cpu() for p in peers}}
        self.rows.append(row)
        shown = [ours] + ([limit] if limit else []) + ([] if again else peers)
        for number, name in enumerate(shown):
            print(line_of(row, "peapod" if number == 0 else name, samples[name], samples[ours], key), flush=True)


# ---- The table: a line for each program

COLUMNS = (f"{'name':<14} {'transport':<12} {'bytes':>7} {'conns':>5} {'unit':<7}  {'program':<24} {'value':>8} {'ratio':>6} {'spread':>9}"
           f"  {'ns sender':>9} {'receiver':>8} {'ratio':>6}  {'syscalls':>8} {'allocs':>7}")


def short(value):
    """Four significant digits at most: 70.64 M, 134.2 k, 17.3."""
    if value is None:
        return ""
    for letter, unit in (("M", 1e6), ("k", 1e3)):
        if value >= unit:
            return f"{value / unit:.4g} {letter}"
    return f"{value:.4g}"


def ratio(better, other):
    """Above 1: peapod does better."""
    return f"{better / other:.2f}" if better and other else ""


def line_of(row, name, of, ours, key):
    value = of.median(key)
    more_is_better = row["unit"].endswith("/s")
    spread = of.spread(key)
    counted = [f"{of.median(c):.4f}" if of.median(c) is not None else "" for c in COUNTS[2:]]
    ratios = ["", ""]
    if of is not ours:
        ratios = [ratio(row["peapod"], value) if more_is_better else ratio(value, row["peapod"]), ratio(of.cpu(), ours.cpu())]
    return (f"{row['name']:<14} {row['transport']:<12} {row['size']:>7} {row['connections']:>5} {row['unit']:<7}  {name:<24}"
            f" {short(value):>8} {ratios[0]:>6} {spread[0]:.2f}-{spread[1]:.2f}  {short(of.median(COUNTS[0])):>9}"
            f" {short(of.median(COUNTS[1])):>8} {ratios[1]:>6}  {counted[0]:>8} {counted[1]:>7}").rstrip()


# ---- Workloads

FAMILIES = (["plain"], ["noise", "noise-sodium", "noise-aes"], ["tls"])


def oneway(bench, transports, size, connections=1):
    """Transports of one family: they share peers and limits, and run in one round."""
    transports = [t for t in transports if t in bench.transports]
    if not transports:
        return
    arguments = [str(size), str(bench.seconds)] + ([str(connections)] if connections > 1 else [])
    raws = {f"raw {raw}": [f"{BENCH}/raw_oneway", raw, *arguments] for raw in bench.raws if any(raw in LIMITS_OF[t] for t in transports)}
    peers = bench.peers(transports[0], "oneway", arguments, size)
    samples = bench.alternate({t: [f"{BENCH}/oneway", t, *arguments] for t in transports} | raws | peers)
    for t in transports:
        limits = [f"raw {raw}" for raw in bench.limits_of(t)]
        bench.row(("oneway", t, size, connections), "msg/s", samples, t, limits, peers, again=t != transports[0])


def pingpong(bench, transport, size=64):
    arguments = [str(size), str(bench.seconds)]
    raws = {f"raw {raw}": [f"{BENCH}/raw_pingpong", raw, *arguments] for raw in bench.limits_of(transport)}
    peers = bench.peers(transport, "pingpong", arguments)
    samples = bench.alternate({"peapod": [f"{BENCH}/pingpong", transport, *arguments]} | raws | peers)
    for key in ("p50_us", "p99_us"):
        bench.row((f"pingpong-{key[:3]}", transport, size, 1), "us", samples, "peapod", raws, peers, key)


def connect(bench, transport, inflight):
    """connections: how many are in the making at a time."""
    arguments = [str(inflight), str(bench.seconds)]
    raws = {"raw x25519": [f"{BENCH}/raw_x25519", str(bench.seconds)]} if transport == "noise" else {}
    peers = bench.peers(transport, "connect", arguments)
    samples = bench.alternate({"peapod": [f"{BENCH}/connect", transport, *arguments]} | raws | peers)
    bench.row(("connect", transport, 1, inflight), "conn/s", samples, "peapod", raws, peers)


def idle(bench, transport, connections=9000):
    """One run: memory comes out the same each time."""
    peers = bench.peers(transport, "idle", [str(connections)])
    samples = bench.alternate({"peapod": [f"{BENCH}/idle", transport, str(connections)]} | peers, runs=1)
    bench.row(("idle", transport, 1, connections), "KiB", samples, "peapod", [], peers)


def openloop(bench, transport, size=64):
    """By schedule, at parts of peapod's own peak: each message is flushed by itself. The peers get the same rates."""
    peak = bench.alternate({"peapod": [f"{BENCH}/openloop", transport, str(size), "1e6", str(bench.seconds)]})["peapod"].median()
    for part in (10, 50, 80):
        arguments = [str(size), str(int(peak * part / 100)), str(bench.seconds)]
        peers = bench.peers(transport, "openloop", arguments)
        samples = bench.alternate({"peapod": [f"{BENCH}/openloop", transport, *arguments]} | peers)
        for key in ("p50_us", "p99_us", "p999_us"):
            bench.row((f"open{part}-{key[:-3]}", transport, size, 1), "us", samples, "peapod", [], peers, key)


def refuse(bench, what, inflight=16):
    raws = {"raw x25519": [f"{BENCH}/raw_x25519", str(bench.seconds)]}
    samples = bench.alternate({"peapod": [f"{BENCH}/refuse", "noise", what, str(inflight), str(bench.seconds)]} | raws)
    bench.row((what, "noise", 0, inflight), "conn/s", samples, "peapod", raws)


def broadcast(bench, transport, receivers, size=1024):
    arguments = [str(size), str(receivers), str(bench.seconds)]
    peers = bench.peers(transport, "broadcast", arguments)
    samples = bench.alternate({"peapod": [f"{BENCH}/broadcast", transport, *arguments]} | peers)
    bench.row(("broadcast", transport, size, receivers), "msg/s", samples, "peapod", [], peers)


def fanin(bench, transport, size=256, senders=100):
    """The numbers of workers run in one round: they are compared with each other."""
    command = [f"{BENCH}/fanin", transport, str(size), str(senders)]
    samples = bench.alternate({f"fanin-{n}": [*command, str(n), str(bench.seconds)] for n in (0, 1, 2)})
    for name in samples:
        bench.row((name, transport, size, senders), "msg/s", samples, name)


def nodes(bench, count=2000):
    samples = bench.alternate({"peapod": [f"{BENCH}/nodes", str(count)]})
    for name, unit, key in (("node-memory", "KiB", "kib"), ("node-start", "us", "start_us"), ("node-stop", "us", "stop_us")):
        bench.row((name, "noise", 0, count), unit, samples, "peapod", key=key)


def brigade(bench, count=1000):
    samples = bench.alternate({"peapod": ["build/release/examples/many_nodes", str(count)]})
    bench.row(("brigade", "noise", 0, count), "s", samples, "peapod", key="bucket")


def all_of(workload, **over):
    """A workload with every combination of transports and the rest."""
    def run_all(bench):
        for values in itertools.product(*over.values()):
            given = dict(zip(over, values))
            if given.get("transport", "plain") in bench.transports:
                workload(bench, **given)
    return run_all


WORKLOADS = {
    "oneway": all_of(oneway, size=(16, 256, 4096, 32768, 1 << 20), transports=FAMILIES),
    "connections": all_of(oneway, size=[256], connections=(10, 100, 1000), transports=[[t] for t in PEERS_OF]),
    "pingpong": all_of(pingpong, transport=PEERS_OF),
    "connect": all_of(connect, transport=PEERS_OF, inflight=(1, 16, 64)),
    "openloop": all_of(openloop, transport=PEERS_OF),
    "refuse": all_of(refuse, what=("stranger", "wrong-key")),
    "broadcast": all_of(broadcast, transport=PEERS_OF, receivers=(100, 1000)),
    "fanin": all_of(fanin, transport=PEERS_OF),
    "nodes": nodes,
    "brigade": brigade,
    "idle": all_of(idle, transport=PEERS_OF),
}


def quick(bench):
    bench.raws = [raw for raw in bench.raws if raw != "aes-sodium" or "aes-libcrypto" not in bench.raws]  # it is slower
    all_of(oneway, size=(16, 256, 4096, 32768), transports=FAMILIES)(bench)


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench")
    parser.add_argument("what", nargs="?", choices=["full", "quick"], default="full")
    parser.add_argument("--only", choices=WORKLOADS, action="append", help="a part of the full bench; again for more")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.4)
    options = parser.parse_args()
    bench = Bench(options)
    print(COLUMNS)
    failed = False
    for workload in [quick] if options.what == "quick" else [WORKLOADS[name] for name in options.only or WORKLOADS]:
        try:
            workload(bench)
        except Failed as why:
            failed = True
            print(f"FAILED    {why}", flush=True)
    with open("build/bench.json", "w", encoding="utf-8") as out:
        json.dump(bench.rows, out, indent=1)
        out.write("\n")
    for name, why in bench.silent.items():
        print(f"left out  {name}: {why}")
    print(f"bench: medians of {options.runs} runs of {options.seconds} s each, in turn; spread: the least and the most, by the median;"
          " ratios of values and of CPU time: above 1 peapod does better. build/bench.json has it all")
    sys.exit(failed)


if __name__ == "__main__":
    main()
