# SPDX-License-Identifier: MIT
"""What peapod wants to be, and whether the rows of a run say that it is."""

MIB = 1 << 20
NAMES = {16: "16 B", 256: "256 B", 1024: "1 KiB", 4096: "4 KiB", 32768: "32 KiB", MIB: "1 MiB"}
ANY = 0.001  # allocations of a message: buffers that were taken once, by the messages of a run

# Messages one way: transport, beside whom, and the least part of their rate, by size.
RATES = [
    ("plain", "raw plain", {16: 0.75, 256: 0.85, 4096: 0.92, 32768: 0.95, MIB: 1.1}),
    ("plain", "pea2pea", {16: 1, 256: 1, 4096: 3, 32768: 1}),
    ("plain", "nng", {16: 1, 256: 1, 4096: 1, 32768: 1}),
    ("noise", "raw chachapoly-libcrypto", {16: 0.85, 256: 0.85, 4096: 0.85, 32768: 0.85, MIB: 0.85}),
    ("noise", "raw chachapoly-sodium", {256: 1.8, 4096: 1.8, 32768: 1.8, MIB: 1.8}),
    ("noise", "pea2pea+snow", {16: 80, 256: 14, 4096: 3.3, 32768: 2.3}),
    ("noise", "pea2pea+snow-ring", {16: 22, 256: 4.5, 4096: 2.2, 32768: 2.2}),
    ("noise", "zmq-curve", {16: 40, 256: 12, 32768: 2.5}),
    ("noise", "go-libp2p", {16: 2, 256: 2, 4096: 2, 32768: 2, MIB: 2}),
    ("tls", "libevent-openssl", {16: 1, 256: 1, 4096: 1, 32768: 1}),
]
# Other ratios: row, transport, size, connections, beside whom, at least or at most. "cpu" compares the CPU time.
RATIOS = [
    ("pingpong-p50", "plain", 64, 1, "raw plain", "<=", 1.05),
    ("pingpong-p50", "noise", 64, 1, "best limit", "<=", 1.10),
    ("open50-p99", "plain", 64, 1, "pea2pea", "<=", 0.5),
    ("open50-p99", "noise", 64, 1, "pea2pea+snow", "<=", 0.5),
    ("open50-p99", "noise", 64, 1, "zmq-curve", "<=", 0.5),
    ("connect", "noise", 1, 16, "raw x25519", ">=", 0.68),
    ("connect", "noise", 1, 16, "zmq-curve", ">=", 3),
    ("connect", "noise", 1, 16, "pea2pea+snow", ">=", 1.5),
    ("connect", "noise", 1, 16, "go-libp2p", ">=", 3.5),
    ("broadcast", "plain", 1024, 100, "pea2pea", ">=", 1.67),
    ("broadcast cpu", "plain", 1024, 100, "pea2pea", "<=", 0.6),
    ("broadcast", "plain", 1024, 1000, "pea2pea", ">=", 1.67),
    ("broadcast cpu", "plain", 1024, 1000, "pea2pea", "<=", 0.6),
    ("busy-beside", "plain", 256, 9000, "alone", "<=", 1.1),
    ("busy-beside", "noise", 256, 9000, "alone", "<=", 1.1),
]
# KiB of the listener for a connection that rests.
RESTING = {"plain": 0.75, "noise": 1, "tls": 2, "tls-mbedtls": 40}


def find(rows, name, transport, size, connections):
    what = (name, transport, size, connections)
    return next((r for r in rows if (r["name"], r["transport"], r["size"], r["connections"]) == what), None)


def part_of(row, other, by_cpu):
    """peapod's value (or CPU time) as a part of the other's."""
    if row is None:
        return None
    values, cpus = row["limits"] | row["peers"], row["limits_cpu_ns"] | row["peers_cpu_ns"]
    other = row["limit_by"] if other == "best limit" else other
    mine, theirs = (row["cpu_ns"], cpus.get(other)) if by_cpu else (row["peapod"], values.get(other))
    return mine / theirs if mine is not None and theirs else None


def of_ratios(rows):
    for transport, other, by_size in RATES:
        for size, least in by_size.items():
            row = find(rows, "oneway", transport, size, 1)
            yield f"oneway {transport} {NAMES[size]}, rate beside {other}", part_of(row, other, False), ">=", least
    for words, transport, size, connections, other, relation, bound in RATIOS:
        name, by_cpu = words.split()[0], words.endswith(" cpu")
        row = find(rows, name, transport, size, connections)
        what = "CPU time" if by_cpu or name == "busy-beside" else "time" if relation == "<=" else "rate"
        yield f"{name} {transport}, {connections} at once, {what} beside {other}", part_of(row, other, by_cpu), relation, bound


def of_counts(rows):
    for transport, most in RESTING.items():
        row = find(rows, "idle", transport, 1, 9000)
        yield f"idle {transport}, KiB a connection", row and row["peapod"], "<=", most
    for transport in RESTING:
        rates = [r for r in rows if r["name"] == "oneway" and r["transport"] == transport and r["connections"] == 1]
        for words, some in (("4 KiB or less", [r for r in rates if r["size"] <= 4096]), ("more", [r for r in rates if r["size"] > 4096])):
            worst = max(some, key=lambda r: r["allocs_per_message"], default=None)
            at = f", most at {NAMES[worst['size']]}" if worst else ""
            yield f"oneway {transport}, allocations a message of {words}{at}", worst and worst["allocs_per_message"], "<=", ANY
    for transport in RESTING:
        row = find(rows, "pingpong-p50", transport, 64, 1)
        yield f"pingpong {transport}, system calls that send, a flush", row and row.get("writes_per_flush"), "<=", 1


def summary(rows):
    """A line for each goal; those that no row answers are only counted."""
    asked = [(text, value, relation, bound) for goals in (of_ratios(rows), of_counts(rows)) for text, value, relation, bound in goals]
    lines, reached = [], 0
    for text, value, relation, bound in asked:
        if value is None:
            continue
        value = round(value, 3)
        good = value >= bound if relation == ">=" else value <= bound
        reached += good
        lines.append(f"{text:<72} {value:>8.4g}  {relation} {bound:<6g} {'reached' if good else 'short'}")
    unasked = len(asked) - len(lines)
    if lines:
        lines.insert(0, f"{'goal':<72} {'is':>8}  {'wanted':<9}")
        lines.append(f"goals: {reached} reached, {len(lines) - 1 - reached} short" + (f", {unasked} not measured" if unasked else ""))
    return lines
