# SPDX-License-Identifier: MIT
"""Runs programs in turn, and makes a row of what they printed."""
import os

from programs import PATIENCE, Failed, Hung, Samples, run
from table import line_of

BENCH = "build/release/bench"
PEERS = "build/bench-peers"

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
    "tls-mbedtls": ["aes-sodium", "aes-libcrypto"],
}
RAWS = sorted({raw for raws in LIMITS_OF.values() for raw in raws})
ALL_DO = ["oneway", "pingpong"]
MORE = ALL_DO + ["connect", "openloop"]
DONE_BY = {
    "pea2pea": MORE + ["idle", "broadcast"],
    "pea2pea+snow": MORE + ["idle", "broadcast", "brigade"],
    "pea2pea+snow-ring": MORE + ["idle", "broadcast", "brigade"],
    "zmq": MORE,
    "zmq-curve": MORE,
    "go-libp2p": MORE + ["idle"],
    "libevent": MORE + ["idle"],
    "libevent-openssl": MORE + ["idle"],
}
TOO_BIG_FOR = {"pea2pea+snow": 65519, "pea2pea+snow-ring": 65519}  # bytes of a message
COUNTS = ["cpu_ns_sender", "cpu_ns_receiver", "syscalls_per_message", "allocs_per_message"]


def family(transport):
    return transport.split("-")[0]


class Bench:
    """The rows of a run, and who is missing."""

    def __init__(self, options):
        self.runs = options.runs
        self.seconds = options.seconds
        self.rows = []
        self.failed = []
        self.silent = {}  # what is left out, and why
        self.hung = set()  # (peer, workload): it is not waited for again
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

    # ---- Programs: {name: command}

    def ours(self, program, *arguments):
        return [f"{BENCH}/{program}", *map(str, arguments)]

    def raw(self, program, transports, *arguments):
        """The raw programs that bound these transports."""
        wanted = [raw for raw in self.raws if any(raw in LIMITS_OF[t] for t in transports)]
        return {f"raw {raw}": self.ours(program, raw, *arguments) for raw in wanted}

    def peers(self, transport, workload, *arguments, size=0):
        """Those peers that are here and do this."""
        commands = {}
        for name in PEERS_OF.get(family(transport), []):
            path = os.path.join(PEERS, name)
            if size > TOO_BIG_FOR.get(name, size) or workload not in DONE_BY.get(name, ALL_DO) or (name, workload) in self.hung:
                continue
            if os.access(path, os.X_OK):
                commands[name] = [path, workload, *map(str, arguments)]
            else:
                self.silent[name] = "not installed: scripts/install-bench-peers"
        return commands

    def alternate(self, programs, runs=None, patience=PATIENCE):
        """Runs them in turn; returns {name: Samples}. Who fails or hangs is left out; peapod itself may not."""
        samples = {name: Samples() for name in programs}
        for _ in range(runs or self.runs):
            for name, command in programs.items():
                if name not in samples:
                    continue
                try:
                    samples[name].add(run(command, patience + 2 * self.seconds))
                except Failed as why:
                    is_peer = command[0].startswith(PEERS)
                    if not is_peer and not name.startswith("raw "):
                        raise
                    again = ""
                    if is_peer and isinstance(why, Hung):
                        self.hung.add((name, command[1]))
                        again = f", and not asked for {command[1]} again"
                    self.silent[" ".join([name, *command[1:]])] = f"{why}{again}"
                    del samples[name]
        return samples

    # ---- Rows

    def row(self, what, unit, samples, ours, limits=(), peers=(), key="figure", again=False):
        """Keeps and prints one row. `what`: name, transport, size, connections; the others name samples. Of several
        limits the best counts. `again`: the peers' lines stand above, and are not printed."""
        best = max if unit.endswith("/s") else min
        limits, peers = ([name for name in names if name in samples and key in samples[name].of] for names in (limits, peers))
        limit = best(limits, key=lambda name: samples[name].median(key), default=None)
        bound = samples[limit] if limit else Samples()
        mine = samples[ours]
        row = dict(zip(("name", "transport", "size", "connections"), what))
        row |= {"unit": unit, "peapod": mine.median(key), "limit": bound.median(key),
                "peers": {p: samples[p].median(key) for p in peers}}
        row |= {count: mine.median(count) for count in COUNTS}
        row |= {"runs": len(mine.of[key]), "cpu_ns": mine.cpu(), "spread": mine.spread(key),
                "limit_by": limit, "limit_spread": bound.spread(key),
                "limits": {name: samples[name].median(key) for name in limits},
                "limits_cpu_ns": {name: samples[name].cpu() for name in limits},
                "peers_spread": {p: samples[p].spread(key) for p in peers},
                "peers_cpu_ns": {p: samples[p].cpu() for p in peers}}
        if "writes_per_flush" in mine.of:
            row["writes_per_flush"] = mine.median("writes_per_flush")
        self.rows.append(row)
        shown = [ours] + ([limit] if limit else []) + ([] if again else peers)
        for number, name in enumerate(shown):
            print(line_of(row, "peapod" if number == 0 else name, samples[name], mine, key), flush=True)

    def attempt(self, workload, *arguments, **named):
        """One comparison that fails does not end the others."""
        try:
            workload(self, *arguments, **named)
        except Failed as why:
            self.failed.append(str(why))
            print(f"FAILED    {why}", flush=True)
