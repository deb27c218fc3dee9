# SPDX-License-Identifier: MIT
"""What is measured: each workload makes the programs that are compared, has them run in turn, and makes rows of it."""
import itertools

from rows import PEERS_OF

SIZES = (16, 256, 4096, 32768, 1 << 20)
FAMILIES = (["plain"], ["noise", "noise-sodium", "noise-aes"], ["tls", "tls-mbedtls"])
PATIENT = 300  # seconds: thousands of connections of a slow peer


def oneway(bench, transports, size, connections=1, with_peers=True, seconds=None):
    """Transports of one family: they share peers and limits, and run in one round."""
    transports = [t for t in transports if t in bench.transports]
    if not transports:
        return
    arguments = [size, seconds or bench.seconds] + ([connections] if connections > 1 else [])
    raws = bench.raw("raw_oneway", transports, *arguments)
    peers = bench.peers(transports[0], "oneway", *arguments, size=size) if with_peers else {}
    samples = bench.alternate({t: bench.ours("oneway", t, *arguments) for t in transports} | raws | peers)
    for t in transports:
        limits = bench.raw("raw_oneway", [t])
        bench.row(("oneway", t, size, connections), "msg/s", samples, t, limits, peers, again=t != transports[0])


def many(bench, transport, size, connections):
    """For half the time, and beside the peers only at 256 bytes: there are many of these. A thousand handshakes of TLS
    take ten seconds, and so stand at that size alone."""
    usual = size == 256
    if usual or transport != "tls" or connections < 1000:
        oneway(bench, [transport], size, connections, with_peers=usual, seconds=bench.seconds / 2)


def pingpong(bench, transport, size=64):
    arguments = [size, bench.seconds]
    raws = bench.raw("raw_pingpong", [transport], *arguments)
    peers = bench.peers(transport, "pingpong", *arguments)
    samples = bench.alternate({"peapod": bench.ours("pingpong", transport, *arguments)} | raws | peers)
    for key in ("p50_us", "p99_us"):
        bench.row((f"pingpong-{key[:3]}", transport, size, 1), "us", samples, "peapod", raws, peers, key)


def samethread(bench, transport, size=64):
    """Both ends in one thread: no wake-up is in it."""
    arguments = [size, bench.seconds, "same"]
    raws = bench.raw("raw_pingpong", [transport], *arguments)
    samples = bench.alternate({"peapod": bench.ours("pingpong", transport, *arguments)} | raws)
    for key in ("p50_us", "p99_us"):
        bench.row((f"samethread-{key[:3]}", transport, size, 1), "us", samples, "peapod", raws, key=key)


def connect(bench, transport, inflight):
    """connections: how many are in the making at a time."""
    raws = {"raw x25519": bench.ours("raw_x25519", bench.seconds)} if transport == "noise" else {}
    peers = bench.peers(transport, "connect", inflight, bench.seconds)
    samples = bench.alternate({"peapod": bench.ours("connect", transport, inflight, bench.seconds)} | raws | peers)
    bench.row(("connect", transport, 1, inflight), "conn/s", samples, "peapod", raws, peers)


def openloop(bench, transport, size=64):
    """By schedule, at parts of peapod's own peak: each message is flushed by itself. The peers get the same rates."""
    peak = bench.alternate({"peapod": bench.ours("openloop", transport, size, 1e6, bench.seconds)})["peapod"].median()
    for part in (10, 50, 80):
        arguments = [size, int(peak * part / 100), bench.seconds]
        peers = bench.peers(transport, "openloop", *arguments)
        samples = bench.alternate({"peapod": bench.ours("openloop", transport, *arguments)} | peers)
        for key in ("p50_us", "p99_us", "p999_us"):
            bench.row((f"open{part}-{key[:-3]}", transport, size, 1), "us", samples, "peapod", [], peers, key)


def refuse(bench, what, inflight=16):
    raws = {"raw x25519": bench.ours("raw_x25519", bench.seconds)}
    samples = bench.alternate({"peapod": bench.ours("refuse", "noise", what, inflight, bench.seconds)} | raws)
    bench.row((what, "noise", 0, inflight), "conn/s", samples, "peapod", raws)


def gate(bench, inflight=16):
    """What comes to a network with a key, beside what comes to one without; all in one round."""
    samples = bench.alternate({f"gate-{what}": bench.ours("gate", "noise", what, inflight, bench.seconds)
                               for what in ("xx", "stranger", "recording")})
    for name in samples:
        bench.row((name, "noise", 0, inflight), "conn/s", samples, name)


def broadcast(bench, transport, receivers, size=1024):
    """The raw program has eight messages in a write. A thousand handshakes of TLS take ten seconds."""
    if transport == "tls" and receivers >= 1000:
        return
    raws = bench.raw("raw_oneway", [transport], size, bench.seconds, receivers, 8)
    peers = bench.peers(transport, "broadcast", size, receivers, bench.seconds)
    samples = bench.alternate({"peapod": bench.ours("broadcast", transport, size, receivers, bench.seconds)} | raws | peers)
    bench.row(("broadcast", transport, size, receivers), "msg/s", samples, "peapod", raws, peers)


def fanin(bench, transport, size=256, senders=100):
    """The numbers of workers run in one round: they are compared with each other."""
    samples = bench.alternate({f"fanin-{n}": bench.ours("fanin", transport, size, senders, n, bench.seconds) for n in (0, 1, 2)})
    for name in samples:
        bench.row((name, transport, size, senders), "msg/s", samples, name)


def node_rows(bench, count, name):
    samples = bench.alternate({"peapod": bench.ours("nodes", count)})
    for what, unit, key in (("memory", "KiB", "kib"), ("start", "us", "start_us"), ("stop", "us", "stop_us")):
        bench.row((f"{name}-{what}", "noise", 0, count), unit, samples, "peapod", key=key)


def nodes(bench):
    node_rows(bench, 2000, "node")


def brigade(bench, count=1000):
    peers = bench.peers("noise", "brigade", count)
    samples = bench.alternate({"peapod": ["build/release/examples/many_nodes", str(count)]} | peers)
    bench.row(("brigade", "noise", 0, count), "s", samples, "peapod", [], peers, key="bucket")


def idle(bench, transport, connections=9000):
    """One run: memory comes out the same each time."""
    peers = bench.peers(transport, "idle", connections)
    samples = bench.alternate({"peapod": bench.ours("idle", transport, connections)} | peers, runs=1, patience=PATIENT)
    bench.row(("idle", transport, 1, connections), "KiB", samples, "peapod", [], peers)


def pending(bench, transport, connections=9000):
    """Sockets that have said nothing yet."""
    samples = bench.alternate({"peapod": bench.ours("idle", transport, connections, "pending")}, runs=1)
    bench.row(("pending", transport, 0, connections), "KiB", samples, "peapod")


# ---- Growth

def growth(bench, transport, connections, size=256):
    """The same sixteen messages to each of ever more connections; what the raw program has more of is the kernel's."""
    raws = bench.raw("raw_oneway", [transport], size, bench.seconds, connections, 16)
    samples = bench.alternate({"peapod": bench.ours("broadcast", transport, size, connections, bench.seconds)} | raws)
    bench.row(("growth-message", transport, size, connections), "ns", samples, "peapod", raws, key="cpu_ns")
    bench.row(("growth-connect", transport, 0, connections), "us", samples, "peapod", key="cpu_us_connection")


def growth_memory(bench, transport, connections):
    samples = bench.alternate({"peapod": bench.ours("idle", transport, connections)}, runs=1, patience=PATIENT)
    bench.row(("growth-memory", transport, 1, connections), "KiB", samples, "peapod")


def busy(bench, transport, size=256, connections=9000):
    """One that is busy beside all the others, which rest; its limit is the same one alone."""
    alone = bench.ours("oneway", transport, size, bench.seconds)
    samples = bench.alternate({"peapod": [*alone, str(connections + 1), "1"], "alone": alone})
    bench.row(("busy-beside", transport, size, connections), "ns", samples, "peapod", ["alone"], key="cpu_ns")


def growth_nodes(bench, nodes):  # pylint: disable=redefined-outer-name
    node_rows(bench, nodes, "growth-node")


# ---- The parts of a run

def every(workload, **over):
    """A workload with every combination of transports and the rest."""
    def run_all(bench):
        for values in itertools.product(*over.values()):
            given = dict(zip(over, values))
            if given.get("transport", "plain") in bench.transports:
                bench.attempt(workload, **given)
    return run_all


def together(*parts):
    def run_all(bench):
        for part in parts:
            part(bench)
    return run_all


BOTH = ("plain", "noise")
WORKLOADS = {
    "oneway": every(oneway, size=SIZES, transports=FAMILIES),
    "connections": every(many, size=SIZES, connections=(10, 100, 1000), transport=PEERS_OF),
    "pingpong": together(every(pingpong, transport=PEERS_OF), every(samethread, transport=PEERS_OF)),
    "connect": every(connect, transport=PEERS_OF, inflight=(1, 16, 64)),
    "openloop": every(openloop, transport=PEERS_OF),
    "refuse": together(every(refuse, what=("stranger", "wrong-key")), gate),
    "broadcast": every(broadcast, transport=PEERS_OF, receivers=(100, 1000)),
    "fanin": every(fanin, transport=PEERS_OF),
    "nodes": every(nodes),
    "brigade": every(brigade),
    "idle": together(every(idle, transport=PEERS_OF), every(pending, transport=PEERS_OF)),
    "growth": together(every(growth, transport=BOTH, connections=(1, 10, 100, 1000, 3000, 9000)),
                       every(growth_memory, transport=BOTH, connections=(90, 900, 9000)),
                       every(growth_nodes, nodes=(10, 100, 1000, 2000)),
                       every(busy, transport=BOTH)),
}


def quick(bench):
    bench.raws = [raw for raw in bench.raws if raw != "aes-sodium" or "aes-libcrypto" not in bench.raws]  # it is slower
    every(oneway, size=SIZES[:4], transports=FAMILIES)(bench)
